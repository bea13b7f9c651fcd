#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_daemon_clients.sh - redis-cli and redis-benchmark, as people use them
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

command -v redis-cli redis-benchmark >/dev/null || { echo "skipped: redis-tools is missing"; exit 77; }

daemon_start --feed main,size=1M --feed prices,size=64K

# One command a call, in both versions of the protocol.
same OK "$(redis SET greeting 'hello world')" "SET"
same 'hello world' "$(redis GET greeting)" "GET"
same 'hello world' "$(redis -3 GET greeting)" "GET in version 3"
same 1 "$(redis EXISTS greeting)" "EXISTS"
same 'ERR wrong number of arguments for '"'get'"' command' "$(redis GET)" "an error"
same 1 "$(redis -n 1 SET usd 1.1 >/dev/null; redis -n 1 DBSIZE)" "the second feed by -n"
same 1 "$(redis DBSIZE)" "the first feed"

# A session by standard input, with a transaction.
same $'OK\nOK\nQUEUED\nQUEUED\nOK\nOK\ntwo' "$(redis <<-'END'
	SELECT prices
	MULTI
	SET one two
	SET three "four five"
	EXEC
	GET one
	END
)" "a session"

# Mass insertion.
for i in $(seq 5000); do
	# shellcheck disable=SC2016 # the protocol has dollars
	printf '*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$%d\r\n%d\r\n' $((4 + ${#i})) "$i" ${#i} "$i"
done >"$work/commands"
redis --pipe <"$work/commands" >"$work/piped" || fail "redis-cli --pipe: $(cat "$work/piped")"
grep -q 'errors: 0, replies: 5000' "$work/piped" || fail "redis-cli --pipe: $(cat "$work/piped")"
same 4711 "$(redis GET key:4711)" "a key that was piped in"
same 5001 "$(redis --scan | sort -u | wc -l)" "redis-cli --scan"
same 1000 "$(redis --scan --pattern 'key:4???' | sort -u | wc -l)" "redis-cli --scan --pattern"

# What the tools look at by themselves.
redis INFO | grep -q '^redis_version:7' || fail "INFO has no redis_version"
redis INFO feeds | grep -q '^feed1:name=prices,state=live,' || fail "INFO has no feeds"
redis COMMAND >"$work/commands" || fail "COMMAND"
redis CLIENT LIST | grep -q 'cmd=client' || fail "CLIENT LIST"

benchmark()
{
	redis-benchmark -s "$RINGTAIL_SOCKET" "$@" >"$work/benchmark" 2>&1 ||
		fail "redis-benchmark $*: $(tail -3 "$work/benchmark")"
	! grep -iE 'error|warning' "$work/benchmark" || fail "redis-benchmark $*"
}

before=$(redis RINGTAIL.FEEDS | sed -n 8p)
benchmark -q -t set -n 20000 -r 1000 -P 16 -c 20 -d 64
benchmark -q -t ping,get,mset -n 5000 -r 1000 -c 20
same $((before + 20000 + 50000)) "$(redis RINGTAIL.FEEDS | sed -n 8p)" "events of redis-benchmark"

daemon_stop
same 0 "$daemon_code" "the exit code"
