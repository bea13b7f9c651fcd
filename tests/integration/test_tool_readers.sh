#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_readers.sh - ringtail readers, of readers that live, sleep, stop and are gone
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

daemon_start --feed main,size=1M

# field NAME READER: of the JSON line of that reader
field()
{
	tool readers main --json | grep "\"name\":\"$2\"" |
		sed -E "s/.*\"$1\":\"?([^,\"}]*).*/\1/"
}

is()
{
	[ "$(field "$1" "$2")" = "$3" ]
}

echo "# nobody"
said=$(tool readers main 2>&1)
[[ $said == *"no reader of main lets itself be seen"* ]] || fail "$said"
same "" "$(tool readers main --json)" "nobody, as JSON"
code=0
tool readers nix >/dev/null 2>&1 || code=$?
same 1 "$code" "a feed that is not there"

echo "# one that sleeps"
tool put main a 1
"$RINGTAIL_TEST_TOOL" watch main --from 0 --presence "one two" >"$work/out" 2>&1 </dev/null &
reader=$!
within_patience is state "one two" sleeping || fail "$(tool readers main --json)"
within_patience is position "one two" 1 || fail "$(tool readers main --json)"
same "$reader" "$(field pid "one two")" "its pid"
same "$(id -un)" "$(field user "one two")" "its user"
same 0 "$(field lag_events "one two")" "its lag"
[[ $(tool readers main) == *NAME*PID*USER*STATE*"one two"*"$reader"*sleeping* ]] ||
	fail "$(tool readers main)"

echo "# one that is stopped"
kill -STOP "$reader"
within_patience is state "one two" stopped || fail "$(tool readers main --json)"
for key in b c d; do tool put main $key 1; done
same 3 "$(field lag_events "one two")" "the lag of who is stopped"
[ "$(field lag_ns "one two")" -gt 0 ] || fail "its lag in time"
kill -CONT "$reader"
within_patience is position "one two" 4 || fail "$(tool readers main --json)"

echo "# the feed moves"
tool chmod 0600 main
tool put main e 1
within_patience is position "one two" 5 || fail "$(tool readers main --json)"
same 1 "$(field moves "one two")" "moves"

echo "# what is hostile is counted"
folder=$RINGTAIL_DIR/main/readers
mkfifo "$folder/fifo"
ln -s /dev/zero "$folder/link"
head -c 256 /dev/urandom >"$folder/noise"
: >"$folder/$'\e[31m'"
same '{"skipped":4}' "$(tool readers main --json | tail -n 1)" "hostile files"
[[ $(tool readers main 2>&1) == *"4 other files"* ]] || fail "$(tool readers main 2>&1)"

echo "# one that is gone"
kill -9 "$reader"
wait "$reader" 2>/dev/null || true
within_patience is state "one two" stale || fail "$(tool readers main --json)"
find "$folder" -name "$reader-*" -exec touch -d @1000 {} +
[[ $(tool readers main) == *stale* ]] || fail "not shown once more"
[[ $(tool readers main --json) != *"one two"* ]] || fail "not removed"

echo "# one that ends"
tool watch main --from 0 --count 2 --presence brief >/dev/null
same '{"skipped":4}' "$(tool readers main --json)" "after its end"
