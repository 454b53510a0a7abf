#!/usr/bin/env bash
# Prints an apt source, in deb822 form, for another suite of this machine's own
# distribution: its first source of the running suite, with the name replaced.
#
#   scripts/suite-source.sh SUITE
set -euo pipefail

suite=$1
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
for f in /etc/apt/sources.list.d/*.sources; do
	[ -s "$f" ] || continue
	# -updates and -security may not exist for the other suite.
	stanza=$(awk -v RS= -v c="$codename" '$0 ~ "Suites:[^\n]*" c && $0 !~ "security" {print; exit}' "$f" |
		sed -E "s/^Suites:.*/Suites: $suite/; /^#/d")
	[ -z "$stanza" ] || { printf '%s\n' "$stanza"; exit 0; }
done
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[ -s "$f" ] || continue
	line=$(grep -E "^deb +(\[[^]]*\] +)?[^ ]+ +$codename +" "$f" | head -n 1) || continue
	signed=$(sed -nE 's/.*signed-by=([^] ]+).*/\1/p' <<<"$line")
	read -r _ uri _ components < <(sed -E 's/\[[^]]*\]//' <<<"$line")
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n' "$uri" "$suite" "$components"
	[ -z "$signed" ] || printf 'Signed-By: %s\n' "$signed"
	exit 0
done
echo "suite-source: found no apt source for $codename to derive $suite from" >&2
exit 1
