package park

import (
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// Labels that docker compose sets. dependsOn is a list of SERVICE:CONDITION:RESTART.
const (
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeDependsOn = "com.docker.compose.depends_on"
)

// Unit is containers that share namespaces, or one container.
type Unit []docker.Container

func (u Unit) String() string {
	var names []string
	for _, c := range u {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// Order returns the containers so that a unit comes after those that it depends on:
// by Compose's depends_on, and by the names in first, each of which comes after those
// before it. Units that do not depend on each other are in the order of containers.
// It is an error if units depend on each other in a circle.
func Order(containers []docker.Container, first []string) ([]Unit, error) {
	list, circle := restore.Sorted(units(containers), func(a, b Unit) bool { return a.dependsOn(b, first) })
	if circle != nil {
		return nil, fmt.Errorf("%s depend on each other in a circle", names(circle))
	}
	return list, nil
}

func names(units []Unit) string {
	var list []string
	for _, u := range units {
		list = append(list, u.String())
	}
	return strings.Join(list, ", ")
}

// units puts containers together that share namespaces, directly or not.
func units(containers []docker.Container) []Unit {
	var list []Unit
	for _, c := range containers {
		joined := Unit{c}
		list = slices.DeleteFunc(list, func(u Unit) bool {
			shares := slices.ContainsFunc(u, func(other docker.Container) bool {
				return restore.Needs(c, other) || restore.Needs(other, c)
			})
			if shares {
				joined = append(slices.Clone(u), joined...)
			}
			return shares
		})
		list = append(list, joined)
	}
	return list
}

func (u Unit) dependsOn(other Unit, first []string) bool {
	if u[0].ID == other[0].ID {
		return false
	}
	for _, c := range u {
		for _, o := range other {
			at := slices.Index(first, o.Name)
			if composes(c, o) || at >= 0 && at < slices.Index(first, c.Name) {
				return true
			}
		}
	}
	return false
}

// composes says whether a names the service of b in depends_on.
func composes(a, b docker.Container) bool {
	project := a.Labels[composeProject]
	if project == "" || project != b.Labels[composeProject] {
		return false
	}
	for _, entry := range strings.Split(a.Labels[composeDependsOn], ",") {
		service, _, _ := strings.Cut(entry, ":")
		if service != "" && service == b.Labels[composeService] {
			return true
		}
	}
	return false
}
