#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# log_ingest.sh RINGTAILD [ROUNDS [REQUESTS]] - what keeping a log costs publishers
#
# One daemon, a feed without a log and two with one; SET in turn, medians, and the
# ratio to none round by round: of the rate that the publishers get, and of the processor
# time that the daemon's loop takes for each, which is the limit of what it could take.
# redis-benchmark reads all replies that are there before it sends more, so on two
# processors it and the daemon wait for each other in turns; the rate has that in it.
# $RINGTAIL_BENCH_DISK is where the log of `os` lies.
set -euo pipefail

ringtaild=${1:?path of ringtaild}
rounds=${2:-5}
requests=${3:-1000000}

dir=$(mktemp -d /dev/shm/rt-bench-XXXXXX)
data=$(mktemp -d "${RINGTAIL_BENCH_DISK:-/var/tmp}/rt-bench-XXXXXX")
pid=

clean_up()
{
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir" "$data"
}
trap clean_up EXIT

for program in redis-benchmark redis-cli; do
	command -v $program >/dev/null || { echo "skipped: no $program here"; exit 77; }
done

"$ringtaild" --dir "$dir/feeds" --data "$data" --socket "$dir/socket" \
	--feed none,durability=none --feed memory,durability=memory,retain_bytes=256M \
	--feed os,durability=os,retain_bytes=256M >"$dir/log" 2>&1 &
pid=$!
for _ in $(seq 500); do
	[ "$(redis-cli -s "$dir/socket" PING 2>/dev/null)" != PONG ] || break
	sleep 0.02
done

# rate NUMBER: requests a second into that feed
rate()
{
	redis-benchmark -s "$dir/socket" --dbnum "$1" -t set -d 64 -r 100000 -q -c 50 -P 32 \
		-n "$requests" 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^SET: \([0-9.]*\) requests per second.*/\1/p' | tail -n 1
}

# Nanoseconds that the thread of the loop has run
ran()
{
	cut -d' ' -f1 "/proc/$pid/task/$pid/schedstat"
}

# measure MODE NUMBER: a round of it, into the files of the mode
measure()
{
	local before

	before=$(ran)
	rate "$2" >>"$dir/$1"
	echo $((($(ran) - before) / requests)) >>"$dir/$1.ns"
}

# compare MODE SUFFIX: its rounds by those of none
compare()
{
	paste "$dir/$1$2" "$dir/none$2" | awk '{ print $1 / $2 }'
}

median()
{
	sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'
}

for number in 0 1 2; do
	rate $number >/dev/null # the keys exist from here on
done
for _ in $(seq "$rounds"); do
	measure none 0
	measure memory 1
	measure os 2
done
for mode in memory os; do
	awk -v name="SET, log kept in $mode" -v ours="$(median <"$dir/$mode")" \
		-v none="$(median <"$dir/none")" -v ratio="$(compare $mode "" | median)" \
		'BEGIN { printf "%-34s %10.3f M/s    ratio %5.2f to no log %.3f\n",
		name, ours / 1e6, ratio, none / 1e6 }'
	awk -v name="  processor time of the loop" -v ours="$(median <"$dir/$mode.ns")" \
		-v none="$(median <"$dir/none.ns")" -v ratio="$(compare $mode .ns | median)" \
		'BEGIN { printf "%-34s %10.0f ns     ratio %5.2f to no log %.0f\n",
		name, ours, ratio, none }'
done
