#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# redis.sh RINGTAILD [ROUNDS [REQUESTS]] - SET through a socket, beside redis-server
#
# Both on a Unix socket, neither keeping anything on a disk; rounds in turn, medians.
# The bytes are those of redis-benchmark: 64-byte values, 100000 keys.
set -euo pipefail

ringtaild=${1:?path of ringtaild}
rounds=${2:-5}
requests=${3:-2000000}

dir=$(mktemp -d /dev/shm/rt-bench-XXXXXX)
pids=()

clean_up()
{
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap clean_up EXIT

for program in redis-server redis-benchmark redis-cli; do
	command -v $program >/dev/null || { echo "skipped: no $program here"; exit 77; }
done

redis-server --port 0 --unixsocket "$dir/redis" --save '' --appendonly no \
	--daemonize no --dir "$dir" >"$dir/redis.log" 2>&1 &
pids+=($!)
"$ringtaild" --dir "$dir/feeds" --socket "$dir/ringtail" --feed main,durability=none \
	>"$dir/ringtaild.log" 2>&1 &
pids+=($!)
for name in redis ringtail; do
	for _ in $(seq 500); do
		[ "$(redis-cli -s "$dir/$name" PING 2>/dev/null)" != PONG ] || continue 2
		sleep 0.02
	done
	cat "$dir"/*.log
	echo "redis.sh: $name does not answer" >&2
	exit 1
done

# rate NAME OPTION...: requests a second
rate()
{
	local name=$1

	shift
	redis-benchmark -s "$dir/$name" -t set -d 64 -r 100000 -q "$@" 2>/dev/null |
		tr '\r' '\n' | sed -n 's/^SET: \([0-9.]*\) requests per second.*/\1/p' |
		tail -n 1
}

median()
{
	sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'
}

# compare NAME OPTION...
compare()
{
	local what=$1 ours="$dir/ours" theirs="$dir/theirs" ratios="$dir/ratios" a b

	shift
	rm -f "$ours" "$theirs" "$ratios"
	for _ in $(seq "$rounds"); do
		a=$(rate redis "$@")
		b=$(rate ringtail "$@")
		if [ -z "$a" ] || [ -z "$b" ]; then
			echo "redis.sh: no rate measured" >&2
			exit 1
		fi
		echo "$a" >>"$theirs"
		echo "$b" >>"$ours"
		awk "BEGIN { print $b / $a }" >>"$ratios"
	done
	awk -v name="$what" -v ours="$(median <"$ours")" -v theirs="$(median <"$theirs")" \
		-v ratio="$(median <"$ratios")" 'BEGIN { printf \
		"%-34s %10.3f M/s    ratio %5.2f to redis-server %.3f\n",
		name, ours / 1e6, ratio, theirs / 1e6 }'
}

compare "SET, 50 clients, 32 in flight" -c 50 -P 32 -n "$requests"
compare "SET, 50 clients, one by one" -c 50 -P 1 -n $((requests / 8))
compare "SET, one client, one by one" -c 1 -P 1 -n $((requests / 64))
