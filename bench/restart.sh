#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# restart.sh RINGTAILD [ROUNDS [REQUESTS]] - from kill -9 to the next put
#
# A million keys and a log of about 1 GiB in the page cache.  Timed from the start of
# the new daemon until it has answered a PING and accepted a SET.
set -euo pipefail

ringtaild=${1:?path of ringtaild}
rounds=${2:-3}
requests=${3:-7000000}

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
size=$(du -sm --apparent-size "$data" | cut -f1)
for _ in $(seq "$rounds"); do
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
	begun=$EPOCHREALTIME
	start
	ready
	awk "BEGIN { print $EPOCHREALTIME - $begun }" >>"$dir/times"
done
awk -v keys="$keys" -v size="$size" -v s="$(sort -n "$dir/times" | sed -n "$(((rounds + 1) / 2))p")" \
	'BEGIN { printf "%-34s %10.3f s      %d keys, log of %d MiB\n",
	"restart after kill -9", s, keys, size }'
