package redact

import (
	"slices"
	"testing"
)

func TestEnv(t *testing.T) {
	for text, want := range map[string]string{
		"PATH=/bin:/usr/bin":                    "PATH=/bin:/usr/bin",
		"HOME=/root":                            "HOME=/root",
		"DB_PASSWORD=hunter2":                   "DB_PASSWORD=(hidden)",
		"MYSQL_PWD=x":                           "MYSQL_PWD=(hidden)",
		"PWD=/srv":                              "PWD=/srv",
		"OLDPWD=/":                              "OLDPWD=/",
		"AUTHOR=me":                             "AUTHOR=me",
		"api_key=1":                             "api_key=(hidden)",
		"SECRET_TOKEN=a=b":                      "SECRET_TOKEN=(hidden)",
		"EMPTY_PASSWORD=":                       "EMPTY_PASSWORD=",
		"URL=postgres://u:p@db/x":               "URL=postgres://u:(hidden)@db/x",
		"URL=http://db:80/x":                    "URL=http://db:80/x",
		"ID=AKIAIOSFODNN7EXAMPLE":               "ID=(hidden)",
		"T=eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJS": "T=(hidden)",
		"no assignment":                         "no assignment",
	} {
		if got := Env([]string{text}); got[0] != want {
			t.Errorf("%q becomes %q, want %q", text, got[0], want)
		}
	}
}

func TestArgs(t *testing.T) {
	got := Args([]string{"/usr/bin/app", "--password=x", "--password", "y", "--port", "80", "-H", "Authorization: Bearer z", "TOKEN=1", "--token", "--next", "redis://:p@h"})
	want := []string{"/usr/bin/app", "--password=(hidden)", "--password", "(hidden)", "--port", "80", "-H", "Authorization: (hidden)", "TOKEN=(hidden)", "--token", "--next", "redis://:(hidden)@h"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
