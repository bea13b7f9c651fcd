#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# idle.sh RINGTAILD RINGTAIL [SECONDS] - what a daemon and ten sleeping readers use
#
# Processor time in ticks of the kernel (10 ms) and system calls, over 5 s.
set -euo pipefail

ringtaild=${1:?path of ringtaild}
ringtail=${2:?path of ringtail}
seconds=${3:-5}

dir=$(mktemp -d /dev/shm/rt-bench-XXXXXX)
pids=()

clean_up()
{
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap clean_up EXIT

export RINGTAIL_DIR=$dir/feeds RINGTAIL_SOCKET=$dir/socket
"$ringtaild" --dir "$RINGTAIL_DIR" --socket "$RINGTAIL_SOCKET" --feed main 2>"$dir/log" &
daemon=$!
pids+=("$daemon")
for _ in $(seq 500); do
	[ ! -S "$RINGTAIL_SOCKET" ] || break
	sleep 0.02
done
readers=()
for _ in $(seq 10); do
	"$ringtail" watch main --json >/dev/null &
	readers+=($!)
done
pids+=("${readers[@]}")
sleep 1

# ticks PID...: user and system time of all threads
ticks()
{
	local pid

	for pid in "$@"; do
		cut -d ')' -f 2- "/proc/$pid/stat"
	done | awk '{ sum += $12 + $13 } END { print sum }'
}

before=$(ticks $daemon)
readers_before=$(ticks "${readers[@]}")
sleep "$seconds"
printf '%-34s %10d ticks in %s s\n' "idle daemon" $(($(ticks $daemon) - before)) "$seconds"
printf '%-34s %10d ticks in %s s\n' "ten sleeping readers" \
	$(($(ticks "${readers[@]}") - readers_before)) "$seconds"

# calls PID...: system calls of all threads in that time
calls()
{
	local list=() pid

	for pid in "$@"; do
		list+=(-p "$pid")
	done
	timeout -s INT "$seconds" strace -f -c -o "$dir/calls" "${list[@]}" 2>/dev/null || true
	awk '$NF == "total" { print ($4 ~ /^[0-9]+$/) ? $4 : $3; found = 1 }
		END { if (!found) print 0 }' "$dir/calls"
}

if command -v strace >/dev/null; then
	printf '%-34s %10d calls in %s s\n' "idle daemon" "$(calls $daemon)" "$seconds"
	printf '%-34s %10d calls in %s s\n' "ten sleeping readers" "$(calls "${readers[@]}")" \
		"$seconds"
fi
