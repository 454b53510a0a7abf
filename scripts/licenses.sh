#!/bin/sh
# Prints the licenses of the Go modules that are in the programs, which have to go
# along with these.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-$(command -v go || echo /usr/local/go/bin/go)}
"$go" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
	while read -r module version dir; do
		printf '\n%s %s\n\n' "$module" "$version"
		files=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
		[ -n "$files" ] || { echo "licenses: $module has none" >&2; exit 1; }
		echo "$files" | xargs cat
	done
