#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# readme.sh - the example of the README is examples/hello_reader.c
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

quoted=$(awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md)
compiled=$(grep -v '^/\* SPDX' examples/hello_reader.c)
[ -n "$quoted" ] || say "README.md quotes no program"
diff <(echo "$quoted") <(echo "$compiled") ||
	say "README.md (<) and examples/hello_reader.c (>) differ"

# Every file that a document links to is there.
while IFS=: read -r file link; do
	[ -e "$(dirname "$file")/$link" ] || say "$file links to $link, which is not there"
done < <(sources '*.md' | xargs -r grep -oHE '\]\([^)#:]+\)' | sed -E 's/:\]\((.*)\)/:\1/')

verdict
