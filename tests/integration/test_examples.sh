#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_examples.sh - the examples do what they say
set -euo pipefail

bin=$RINGTAIL_BUILD_ROOT/examples
dir=$(mktemp -d "${TMPDIR:-/dev/shm}/rt-test-XXXXXX")
trap 'rm -rf "$dir"' EXIT
export RINGTAIL_DIR=$dir

fail()
{
	echo "FAILED: $*"
	exit 1
}

# holds TEXT WHAT: the output of the command before has a line TEXT
holds()
{
	grep -qxF -- "$1" "$dir/out" || { cat "$dir/out"; fail "no line '$1' from $2"; }
}

# A closed feed: its readers drain it and end.
timeout 60 "$bin/embedded_writer" main >"$dir/out" || fail "embedded_writer: $?"
marker=$(sed -n 's/^committed up to seq 4, marker //p' "$dir/out")
[ ${#marker} -eq 42 ] || fail "embedded_writer printed no marker: $(cat "$dir/out")"

timeout 60 "$bin/hello_reader" >"$dir/out" 2>"$dir/err" || fail "hello_reader: $?"
holds 'seat/4a = Ada' hello_reader
holds 'seat/7c = Ada' hello_reader
grep -q '^end: ' "$dir/err" || fail "hello_reader said no end"

timeout 60 "$bin/epoll_reader" main >"$dir/out" 2>/dev/null || fail "epoll_reader: $?"
printf '%s\n' '1 seat/4a' '2 seat/4a' '3 seat/7c' '4 picture' >"$dir/want"
diff "$dir/want" "$dir/out" || fail "epoll_reader"

if [ -x "$bin/reader" ]; then
	timeout 60 "$bin/reader" main seat/ >"$dir/out" || fail "reader: $?"
	printf '%s\n' '+seat/4a (3 bytes)' '-seat/4a (0 bytes)' '+seat/7c (3 bytes)' \
		"go on after $marker" >"$dir/want"
	diff "$dir/want" "$dir/out" || fail "reader.cpp"
	timeout 60 "$bin/reader" main '' "$marker" >"$dir/out" || fail "reader with a marker"
	holds "go on after $marker" "reader.cpp from a marker"
	[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "reader.cpp delivered what was handled"
fi
