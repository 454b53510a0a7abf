package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/config"
)

func TestPluginArgs(t *testing.T) {
	for _, test := range []struct{ given, want []string }{
		{[]string{"checkpointctl"}, []string{}},
		{[]string{"checkpointctl", "list", "-q"}, []string{"list", "-q"}},
		{[]string{"-H", "unix:///x", "-D", "checkpointctl", "rm", "-H"}, []string{"--docker-host", "unix:///x", "--log-level", "debug", "rm", "-H"}},
		{[]string{"--log-level=warn", "--context", "default", "checkpointctl", "check"}, []string{"--log-level", "warn", "check"}},
		{[]string{"help", "checkpointctl", "list"}, []string{"help", "list"}},
		{[]string{"__complete", "checkpointctl", "list", ""}, []string{"__complete", "list", ""}},
		{[]string{"__complete", "-H", "unix:///x", "checkpointctl", "list", ""}, []string{"__complete", "--docker-host", "unix:///x", "list", ""}},
	} {
		got, err := pluginArgs(test.given)
		if err != nil || !slices.Equal(got, test.want) || got == nil {
			t.Errorf("%q became %q, %v", test.given, got, err)
		}
	}
	for _, bad := range [][]string{nil, {"list"}, {"--frobnicate", "checkpointctl"}} {
		if got, err := pluginArgs(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
	for _, refused := range [][]string{{"--context", "far", "checkpointctl"}, {"--tlsverify", "checkpointctl"}, {"-H", "a", "-H", "b", "checkpointctl"}} {
		if _, err := pluginArgs(refused); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%q: %v", refused, err)
		}
	}
}

func TestPluginMetadata(t *testing.T) {
	var out, errOut bytes.Buffer
	code := run(context.Background(), []string{"/x/docker-checkpointctl", "docker-cli-plugin-metadata"}, &out, &errOut)
	var m map[string]string
	if err := json.Unmarshal(out.Bytes(), &m); err != nil || code != 0 || m["SchemaVersion"] != "0.1.0" || m["Vendor"] == "" || m["Version"] != Version {
		t.Errorf("%d, %s%s, %v", code, &out, &errOut, err)
	}
}
