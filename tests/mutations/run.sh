#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh [NAME...] - plant faults, one at a time, which the tests must find
#
# A fault is a patch of the sources; its head says what it does and which tests have to
# fail then, as "Caught-by: SUITE/PROGRAM:TEST".  Each is put into a copy of the tree,
# which is built, and these tests are run.  Wrong is: a test that passes, a fault that
# does not compile, a patch that does not apply any more, and a test that fails without
# any fault.  NAME picks patches.  JOBS, ROOT and TMPDIR can be set.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${ROOT:-$(cd "$here/../.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tree=$tmp/tree
build=$tmp/build
jobs=${JOBS:-$(nproc)}
failed=0

for program in meson ninja patch; do
	command -v "$program" >/dev/null || {
		echo "SKIP: no $program here"
		exit 77
	}
done

wrong()
{
	printf 'WRONG  %-24s %s\n' "$1" "$2"
	[ ! -f "${3-}" ] || tail -n 20 "$3" | sed 's/^/    /'
	failed=$((failed + 1))
}

copy_tree()
{
	mkdir "$tree" || return
	(cd "$root" && { git ls-files -z --cached --others --exclude-standard 2>/dev/null || find . -type f -print0; } |
		while IFS= read -r -d '' file; do
			[ ! -e "$file" ] || printf '%s\0' "$file"
		done | tar -c --null -T -) | tar -x -C "$tree"
	meson setup "$build" "$tree" -Dtools=disabled -Dman=disabled \
		-Dbench=false -Dexamples=false >"$tmp/setup.log" 2>&1
}

# What a patch says about itself.
title()
{
	head -n 1 "$1"
}
caught_by()
{
	sed -n 's/^Caught-by: //p' "$1"
}

# program SUITE/PROGRAM:TEST: the name of its executable
program()
{
	local place=${1%%:*}

	echo "tests/test_${place%/*}_${place#*/}"
}

# run PROGRAM: its TAP output in a file of the same name; what it needs is built
run()
{
	RINGTAIL_SOURCE_ROOT=$tree RINGTAIL_BUILD_ROOT=$build CMOCKA_MESSAGE_OUTPUT=TAP \
		RINGTAIL_TEST_DAEMON=$build/daemon/ringtaild \
		timeout -k 5 60 "$build/$1" >"$tmp/${1##*/}.out" 2>&1
	echo "# exit $?" >>"$tmp/${1##*/}.out"
}

# failed_in CASE: did the run of its program fail it, or end before it could pass it?
failed_in()
{
	local out test=${1#*:}

	out=$tmp/$(basename "$(program "$1")").out
	grep -qE "^not ok [0-9]+ - $test( |\$)" "$out" && return 0
	! grep -qE "^ok [0-9]+ - $test( |\$)" "$out" && grep -qE '^# exit (124|13[0-9])$' "$out"
}

# programs CASE...: each once
programs()
{
	local it

	for it in "$@"; do
		program "$it"
	done | sort -u
}

# try CASE...: builds and runs all that the cases need
try()
{
	local needed it

	mapfile -t needed < <(programs "$@")
	ninja -C "$build" -j "$jobs" "${needed[@]}" daemon/ringtaild >"$tmp/build.log" 2>&1 || return
	for it in "${needed[@]}"; do
		run "$it"
	done
}

# Without a fault every named test passes; this also finds names that do not exist.
sound()
{
	local cases it passed=0

	mapfile -t cases < <(for it in "$@"; do caught_by "$it"; done | sort -u)
	try "${cases[@]}" || {
		wrong "(no fault)" "does not build" "$tmp/build.log"
		return 1
	}
	for it in "${cases[@]}"; do
		local out

		out=$tmp/$(basename "$(program "$it")").out
		if grep -q '# SKIP' "$out"; then
			echo "SKIP: $it cannot run here"
			exit 77
		fi
		if grep -qE "^ok [0-9]+ - ${it#*:}( |\$)" "$out"; then
			passed=$((passed + 1))
		else
			wrong "(no fault)" "$it does not pass" "$out"
		fi
	done
	[ $passed -eq ${#cases[@]} ]
}

plant()
{
	local file=$1 name cases it
	local -i missed=0

	name=$(basename "$file" .patch)
	mapfile -t cases < <(caught_by "$file")
	if [ ${#cases[@]} -eq 0 ]; then
		wrong "$name" "names no test"
		return
	fi
	if ! patch -d "$tree" -p1 -F0 -s --dry-run <"$file" >"$tmp/patch.log" 2>&1; then
		wrong "$name" "does not apply any more" "$tmp/patch.log"
		return
	fi
	patch -d "$tree" -p1 -F0 -s <"$file"
	if try "${cases[@]}"; then
		for it in "${cases[@]}"; do
			failed_in "$it" || {
				wrong "$name" "passes $it: $(title "$file")"
				missed+=1
			}
		done
		[ $missed -gt 0 ] || printf 'caught %-24s %s\n' "$name" "$(title "$file")"
	else
		wrong "$name" "does not build" "$tmp/build.log"
	fi
	patch -d "$tree" -p1 -F0 -s -R <"$file"
}

patches=()
if [ $# -gt 0 ]; then
	for name in "$@"; do
		patches+=("$here/$name.patch")
	done
else
	patches=("$here"/*.patch)
fi
copy_tree || {
	wrong "(no fault)" "cannot be copied and configured" "$tmp/setup.log"
	exit 1
}
if sound "${patches[@]}"; then
	for file in "${patches[@]}"; do
		plant "$file"
	done
fi
echo "${#patches[@]} faults, $failed wrong"
[ $failed -eq 0 ]
