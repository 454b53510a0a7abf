package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const (
	schemaFile  = "../../docs/checkpointctl.schema.json"
	exampleFile = "../../configs/checkpointctl.yaml"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leaves collects the keys of a schema as a file would have them, with their
// defaults.
func leaves(s *jsonschema.Schema, prefix string, out map[string]any) {
	for s.Ref != nil {
		if s.Default != nil {
			out[prefix] = *s.Default
		}
		s = s.Ref
	}
	switch {
	case len(s.Properties) > 0:
		for name, p := range s.Properties {
			leaves(p, strings.TrimPrefix(prefix+"."+name, "."), out)
		}
	case s.Items2020 != nil && len(s.Items2020.Properties) > 0:
		leaves(s.Items2020, prefix+"[]", out)
	case s.AdditionalProperties != nil && s.AdditionalProperties != false:
		if each, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			leaves(each, prefix+"[]", out)
		}
	case out[prefix] == nil:
		out[prefix] = nil
		if s.Default != nil {
			out[prefix] = *s.Default
		}
	}
}

// The schema has the keys that a file may have, no others, and their defaults.
func TestSchemaHoldsEveryKeyAndDefault(t *testing.T) {
	inSchema := map[string]any{}
	leaves(schema(t), "", inSchema)
	sections := keys()
	for key := range inSchema {
		if !sections[key] {
			t.Errorf("%s: in the schema, but no setting", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sections)) {
		_, listed := inSchema[key]
		if section := slices.ContainsFunc(slices.Collect(maps.Keys(inSchema)), func(k string) bool {
			return strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[")
		}); !listed && !section {
			t.Errorf("%s: not in the schema", key)
		}
	}
	for key, want := range Defaults() {
		if got := inSchema[key]; fmt.Sprint(got) != fmt.Sprint(want) && key != "mounts.rules" && key != "batches" {
			t.Errorf("%s: schema says %v, default is %v", key, got, want)
		}
	}
}

// example is the shipped file with the batch in its comment made real.
func example(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	head, batch, ok := strings.Cut(string(data), "#   - name: nightly\n")
	if !ok {
		t.Fatal("no batch in the comment")
	}
	batch = strings.ReplaceAll("\n#   - name: nightly\n"+strings.TrimSuffix(batch, "batches: []\n"), "\n#", "\n")
	return head + "batches:" + batch
}

func validate(t *testing.T, text string) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return schema(t).Validate(doc)
}

// What the schema refuses, Load refuses, and the example is right for both.
func TestSchemaAndLoadAgree(t *testing.T) {
	text := example(t)
	if err := validate(t, text); err != nil {
		t.Errorf("schema: %v", err)
	}
	s, err := new(Loader).Load(write(t, text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Batches) != 1 || s.Batches[0].Keep.KeepDaily != 7 || s.For(s.Batches[0], "db-1").PreDump.MaxDowntime == 0 {
		t.Errorf("batches: %+v", s.Batches)
	}
	for _, change := range [][2]string{
		{"log_level: warning", "log_level: loud"},
		{"leave_running: true", "leave_runing: true"},
		{"leave_running: true", "leave_running: maybe"},
		{"network_lock: auto", "network_lock: door"},
		{"max_rounds: 8", "max_rounds: 0"},
		{"timeout: 30s", "timeout: soon"},
		{"keep_last: 0", "keep_last: -1"},
		{"files: refuse", "files: ask"},
		{"rules: []", "rules: [{path: /x, action: drop}]"},
		{"rules: []", "rules: [{action: dump}]"},
		{"name: nightly", "name: ../x"},
		{"compose_project: shop", "project: shop"},
		{"compose_project: shop", "names: {}"},
		{"{pre_dump: auto}", "{pre_dump: perhaps}"},
		{"concurrency: 2", "concurrency: -2"},
		{"keep_daily: 7", "keep_dayly: 7"},
	} {
		bad := strings.Replace(text, change[0], change[1], 1)
		if bad == text {
			t.Fatalf("nothing to change: %s", change[0])
		}
		if validate(t, bad) == nil {
			t.Errorf("schema takes %s", change[1])
		}
		s, err := new(Loader).Load(write(t, bad), nil)
		if err == nil {
			err = s.CheckNames(func(name string) error {
				if strings.Contains(name, "/") {
					return ErrInvalid
				}
				return nil
			})
		}
		if err == nil {
			t.Errorf("Load takes %s", change[1])
		}
	}
}
