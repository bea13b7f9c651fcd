#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# words.sh - nothing left for later, no paths of one machine, a licence in each file
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

# Letters in brackets so that this file does not find itself.
later='\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b'
machine='(^|[^A-Za-z0-9_.])/(hom[e]|wor[k]|Use[r]s|roo[t])/'

find_words()
{
	while read -r line; do
		say "$line"
	done < <(sources | grep -vE '^(tests/fuzz/corpus/|LICENSE)' |
		xargs -r grep -nHIE "$1" || true)
}

find_words "$later"
find_words "$machine"

while read -r file; do
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
		say "$file: no SPDX line at its top"
done < <(sources '*.c' '*.h' '*.cpp' '*.sh' '*.pml')

while read -r line; do
	say "$line: white space at the end"
done < <(sources '*.c' '*.h' '*.cpp' '*.sh' '*.build' '*.scd' |
	xargs -r grep -nHE '[[:space:]]+$' | cut -d : -f 1,2 || true)

while read -r file; do
	[ -x "$file" ] || say "$file begins with #! and may not be run"
done < <(sources '*.sh' '.ci/run' | while read -r file; do
	head -c 2 "$file" | grep -q '^#!' && echo "$file"; done || true)

verdict
