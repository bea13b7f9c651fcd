#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# restart.sh RINGTAILD [ROUNDS [REQUESTS]] - from kill -9 to the next put
#
# A million keys and a log of about 1 GiB in the page cache.  Timed from the start of
# the new daemon until it has answered a PING and accepted a SET: killed in the middle of
# all that load, when the newest snapshot is far behind; and with one that is not.
set -euo pipefail

ringtaild=${1:?path of ringtaild}
rounds=${2:-3}
requests=${3:-8200000}

dir=$(mktemp -d /dev/shm/rt-bench-XXXXXX)
data=$(mktemp -d "${RINGTAIL_BENCH_DISK:-/var/tmp}/rt-bench-XXXXXX")
pid=

clean_up()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir" "$data"
}
trap clean_up EXIT

for program in redis-benchmark redis-cli; do
	command -v $program >/dev/null || { echo "skipped: no $program here"; exit 77; }
done

start()
{
	rm -f "$dir/socket"
	"$ringtaild" --dir "$dir/feeds" --data "$data" --socket "$dir/socket" \
		--feed main,durability=os >>"$dir/log" 2>&1 &
	pid=$!
}

ready()
{
	until [ -S "$dir/socket" ] &&
		[ "$(printf 'PING\nSET now 1\n' | redis-cli -s "$dir/socket" 2>/dev/null)" = $'PONG\nOK' ]; do
		kill -0 "$pid" || { cat "$dir/log"; exit 1; }
		sleep 0.005
	done
}

start
ready
redis-benchmark -s "$dir/socket" -t set -d 100 -r 1000000 -q -c 50 -P 32 -n "$requests" \
	>/dev/null 2>&1
keys=$(redis-cli -s "$dir/socket" DBSIZE)
size=$(du -sm --apparent-size "$data"/main/*.log | awk '{ n += $1 } END { print n }')

snapshot()
{
	redis-cli -s "$dir/socket" RINGTAIL.SNAPSHOT >/dev/null
	until redis-cli -s "$dir/socket" RINGTAIL.SNAPSHOT STATUS | grep -q idle; do
		sleep 0.1
	done
}

# measure NAME ROUNDS
measure()
{
	: >"$dir/times"
	for _ in $(seq "$2"); do
		kill -9 "$pid"
		wait "$pid" 2>/dev/null || true
		begun=$EPOCHREALTIME
		start
		ready
		awk "BEGIN { print $EPOCHREALTIME - $begun }" >>"$dir/times"
	done
	awk -v name="$1" -v keys="$keys" -v size="$size" \
		-v s="$(sort -n "$dir/times" | sed -n "$((($2 + 1) / 2))p")" \
		'BEGIN { printf "%-34s %10.3f s      %d keys, log of %d MiB\n",
		name, s, keys, size }'
}

measure "restart after kill -9 under load" 1
snapshot
measure "restart after kill -9" "$rounds"
