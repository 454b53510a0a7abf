#!/bin/sh
# Puts the rows on stdin, below HEAD, between the lines that mark the table NAME
# in a document: table.sh NAME DOCUMENT HEAD
set -eu
awk -v head="$3" -v rows="$(cat)" -v begin="<!-- $1: begin -->" -v end="<!-- $1: end -->" '
	index($0, begin) { print; print head; line = head; gsub(/[^|]+/, "---", line); print line; print rows; skip = 1 }
	index($0, end) { skip = 0 }
	!skip' "$2" >"$2.new"
mv "$2.new" "$2"
