#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_example_state.sh - examples/state_reader.c goes on, or is given the state
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

reader=
begin()
{
	"$RINGTAIL_BUILD_ROOT/examples/state_reader" main "$work/cursor" \
		>"$work/out" 2>"$work/err" </dev/null &
	reader=$!
}

shows()
{
	grep -qxF -- "$1" "$work/out"
}

# keeps SEQ: is that its place?
keeps()
{
	[ "$(head -c 16 "$work/cursor" 2>/dev/null)" = "$(printf %016x "$1")" ]
}

# ends LAST SEQ WANT: when LAST was shown and its place kept, which follows, it is killed,
# and has shown WANT
ends()
{
	within_patience shows "$1" || fail "no '$1': $(cat "$work/out" "$work/err")"
	within_patience keeps "$2" || fail "not at $2: $(cat "$work/cursor" "$work/err")"
	kill -9 $reader
	wait $reader || true
	same "$3" "$(cat "$work/out")" "what state_reader printed"
}

daemon_start --feed main,size=64K
tool put main seat/7c Ada
tool put main seat/4a Bob
tool put main seat/7c Eve

begin
ends 'that was all as of seq 3' 3 "forget everything
there is seat/4a = Bob
there is seat/7c = Eve
that was all as of seq 3"

tool del main seat/4a
begin
tool put main seat/4a Ann
ends 'now seat/4a = Ann' 5 "gone seat/4a
now seat/4a = Ann"

# Away for longer than history is kept.
tool put main seat/4a Joe
tool put main seat/4b Kim
tool snapshot main >/dev/null
tool trim main 7 >/dev/null
begin
ends 'that was all as of seq 7' 7 "forget everything
there is seat/4a = Joe
there is seat/4b = Kim
there is seat/7c = Eve
that was all as of seq 7"

begin
daemon_end TERM
code=0
wait $reader || code=$?
same 0 $code "exit code of state_reader"
grep -q '^end: .*closed' "$work/err" || fail "it said no end: $(cat "$work/err")"
