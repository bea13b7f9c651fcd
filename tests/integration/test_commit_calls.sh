#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_commit_calls.sh - a commit makes no system call while nobody sleeps
set -euo pipefail

out=$(mktemp)
trap 'rm -f "$out"' EXIT

# calls N: system calls of the thread that commits N events
calls()
{
	strace -o "$out" "$RINGTAIL_BUILD_ROOT/bench/bench_commit" --quiet=1 --count="$1" >&2
	wc -l <"$out"
}

command -v strace >/dev/null || { echo "skipped: strace is missing"; exit 77; }
strace -o "$out" true 2>/dev/null || { echo "skipped: strace may not trace here"; exit 77; }

few=$(calls 1000)
many=$(calls 201000)
echo "$few calls with 1000 commits, $many with 201000"
[ $((many - few)) -lt 20 ]
