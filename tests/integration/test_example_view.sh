#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_example_view.sh - examples/view.c shows a state and its changes
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

shows()
{
	grep -qxF -- "$1" "$work/out"
}

daemon_start --feed main,size=64K
tool put main seat/7c Ada
tool put main seat/4a Bob
tool put main other x
timeout 60 "$RINGTAIL_BUILD_ROOT/examples/view" main seat/ >"$work/out" 2>"$work/err" \
	</dev/null &
view=$!
within_patience shows '2 keys at seq 3' || fail "view: $(cat "$work/out" "$work/err")"
tool put main seat/4a Eve
tool put main other y
tool del main seat/7c
within_patience shows 'seat/7c: Ada -> ' || fail "view: $(cat "$work/out" "$work/err")"
daemon_end TERM
code=0
wait $view || code=$?
same 0 $code "exit code of view"
same "seat/4a = Bob
seat/7c = Ada
2 keys at seq 3
seat/4a: Bob -> Eve
seat/7c: Ada -> " "$(cat "$work/out")" "what view printed"
grep -q '^end: .*closed' "$work/err" || fail "view said no end: $(cat "$work/err")"
