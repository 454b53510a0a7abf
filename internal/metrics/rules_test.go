package metrics

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

var metric = regexp.MustCompile(`\bcheckpointctl_\w+`)

// Alerts on metrics that do not exist would never fire.
func TestAlertRules(t *testing.T) {
	text, err := os.ReadFile("../../configs/prometheus/checkpointctl.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			seen++
			names := metric.FindAllString(r.Expr, -1)
			if r.Alert == "" || len(names) == 0 || r.Annotations["summary"] == "" {
				t.Errorf("rule %+v", r)
			}
			for _, name := range names {
				if !slices.Contains(Names(), name) {
					t.Errorf("%s: there is no metric %s", r.Alert, name)
				}
			}
		}
	}
	if seen < 3 {
		t.Errorf("%d rules", seen)
	}
}

func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := metric.FindAllString(string(text), -1)
	slices.Sort(found)
	if found = slices.Compact(found); !slices.Equal(found, Names()) {
		t.Errorf("docs/metrics.md has %v, written are %v", found, Names())
	}
}
