# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# common.sh - what the lint scripts share; sourced.  Every script reports all that it
# finds with say() and ends with verdict().
set -euo pipefail

cd "${RINGTAIL_SOURCE_ROOT:-$(dirname "$0")/../..}"
complaints=0

say()
{
	echo "$*"
	complaints=$((complaints + 1))
}

# Files of the project by patterns of git: those it knows, or all in a source package.
sources()
{
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
			while read -r file; do [ ! -f "$file" ] || echo "$file"; done
	else
		local pattern

		for pattern in "$@"; do
			find . -path './build*' -prune -o -type f -path "./$pattern" -print |
				sed 's|^\./||'
		done
	fi
}

verdict()
{
	[ $complaints -eq 0 ] || { echo "$complaints complaints"; exit 1; }
	exit 0
}
