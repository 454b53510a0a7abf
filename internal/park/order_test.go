package park

import (
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// composed is a container of a Compose project, which is named as its service.
func composed(name, dependsOn string) docker.Container {
	return docker.Container{ID: name, Name: name, Labels: map[string]string{
		composeProject: "shop", composeService: name, composeDependsOn: dependsOn,
	}}
}

func plain(name string) docker.Container { return docker.Container{ID: name, Name: name} }

func TestOrder(t *testing.T) {
	sharing := plain("agent")
	sharing.NetworkMode = "container:db"
	elsewhere := composed("db", "")
	elsewhere.Labels[composeProject] = "other"
	for name, test := range map[string]struct {
		containers []docker.Container
		first      []string
		want       string
	}{
		"as they come":      {[]docker.Container{plain("b"), plain("a")}, nil, "b; a"},
		"by the file":       {[]docker.Container{plain("web"), plain("x"), plain("db")}, []string{"db", "gone", "web"}, "x; db; web"},
		"by compose":        {[]docker.Container{composed("web", "db:service_healthy:false,cache:service_started:true"), composed("db", ""), composed("cache", "db:service_started:false")}, nil, "db; cache; web"},
		"of another shop":   {[]docker.Container{composed("web", "db:service_started:false"), elsewhere}, nil, "web; db"},
		"shared namespace":  {[]docker.Container{composed("web", "db:service_started:false"), composed("db", ""), sharing}, nil, "db, agent; web"},
		"owner comes later": {[]docker.Container{sharing, plain("x"), plain("db")}, nil, "x; agent, db"},
		"in a circle":       {[]docker.Container{composed("a", "b:service_started:false"), composed("b", "a:service_started:false")}, nil, ""},
		"against the file":  {[]docker.Container{composed("a", "b:service_started:false"), composed("b", "")}, []string{"a", "b"}, ""},
	} {
		list, err := Order(test.containers, test.first)
		var got []string
		for _, u := range list {
			got = append(got, u.String())
		}
		if got := strings.Join(got, "; "); got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
	}
}
