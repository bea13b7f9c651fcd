#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The log cannot be written, synced or read: what publishers, readers and the other
# feeds of the daemon see of it.
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

data=$work/data
faults=$work/faults
mkdir "$data" "$faults"

# at FEED COMMAND...: by redis-cli
at()
{
	local feed=$1

	shift
	printf 'SELECT %s\n%s\n' "$feed" "$*" | redis-cli -s "$RINGTAIL_SOCKET" | tail -n +2
}

# holds TEXT PART...: every part is in it, in any order
holds()
{
	local text=$1 part

	shift
	for part in "$@"; do
		[[ $text == *"$part"* ]] || fail "not in '$text': $part"
	done
}

# Everything that readers can see of a feed, "key value" lines
seen()
{
	tool watch "$1" --from 0 --until "$(head_of "$1")" --json |
		sed 's/.*"key":"\([^"]*\)".*"value":"\([^"]*\)".*/\1 \2/'
}

head_of()
{
	tool info "$1" --json | sed -n 's/.*"head": *\([0-9]*\).*/\1/p' | head -n 1
}

trap 'umount "$data" 2>/dev/null || true; clean_up' EXIT

begins()
{
	echo "# $*"
}

# --- A disk that is full ------------------------------------------------------

disk_full()
{
	local answer i n=0 value before

	begins "disk full: refused with a reason, nothing shown, goes on by itself"
	mount -t tmpfs -o size=1536K,mode=0755 none "$data" 2>/dev/null || {
		echo "# left out: cannot mount a tmpfs here"
		return 0
	}
	value=$(head -c 4000 /dev/zero | tr '\0' v)
	head -c 512K /dev/zero >"$data/ballast"
	daemon_start --data "$data" --feed full,segment=256K,size=64K --feed free,durability=none
	for ((i = 0; i < 400; i++)); do
		answer=$(at full SET "k$i" "$value")
		[ "$answer" = OK ] || break
		n=$((n + 1))
	done
	[ $n -gt 100 ] || fail "full after $n puts already"
	[ $n -lt 400 ] || fail "never full"
	holds "$answer" "feed 'full'" "No space left on device"
	same "$n" "$(head_of full)" "head after the disk was full"
	before=$(seen full | wc -l)
	same "$n" "$before" "events that a reader gets"

	answer=$(printf 'SELECT full\nMULTI\nSET a 1\nSET b %s\nEXEC\n' "$value" |
		redis-cli -s "$RINGTAIL_SOCKET" | grep . | tail -n 1)
	holds "$answer" "feed 'full'" "No space left on device"
	same "" "$(at full GET a)" "a value of a refused transaction"
	for ((i = 0; i < 200; i++)); do # what is too little for a large one
		[ "$(at full SET small v)" = OK ] || break
		n=$((n + 1))
	done
	answer=$(printf 'SELECT full\nDEL k0 k1\nPING\n' | redis-cli -s "$RINGTAIL_SOCKET" |
		grep . | tail -n +2)
	same 2 "$(wc -l <<<"$answer")" "answers to a DEL that is refused, and a PING"
	holds "$answer" "feed 'full'" "No space left on device" PONG
	same OK "$(at free SET k v)" "another feed"
	same "$n" "$(head_of full)" "head after a refused transaction"
	same 1 "$(grep -c 'publishers are refused' "$daemon_log")" "times that it was logged"

	rm "$data/ballast"
	same OK "$(at full SET again "$value")" "with room again"
	grep -q "there is room for its log again" "$daemon_log" || fail "not logged"
	same $((n + 1)) "$(head_of full)" "head with room again"
	daemon_kill
	daemon_restart
	same "$value" "$(at full GET again)" "after kill -9"
	same $((n + 1)) "$(seen full | wc -l)" "events after kill -9"
	daemon_stop
	same 0 "$daemon_code" "its exit code"
	umount "$data"
}

# --- Calls that fail ----------------------------------------------------------

# fails CALL MODE WHAT
fails()
{
	local call=$1 mode=$2 what=$3 answer

	begins "$call fails, durability $mode: that feed stops, the others go on"
	rm -rf "$RINGTAIL_DIR" "$data"
	: >"$daemon_log"
	T_FAILING_DISK=$faults LD_PRELOAD=$RINGTAIL_TEST_FAILING_DISK \
		daemon_start --data "$data" --feed "bad,durability=$mode" \
		--feed "good,durability=$mode"
	same OK "$(at bad SET k 1)" "before"
	echo "$data/bad/" >"$faults/$call"
	answer=$(at bad SET k 2)
	holds "$answer" "feed 'bad'" "cannot $what" "Input/output error" \
		"what was not answered may be lost"
	rm "$faults/$call" # it works again, but who knows what is lost
	answer=$(at bad SET k 3)
	holds "$answer" "feed 'bad' is not served" "cannot $what"
	same 1 "$(head_of bad)" "what was not logged is not shown"
	same "k 1" "$(seen bad)" "what a reader gets"
	same OK "$(at good SET k v)" "another feed"
	grep -q "not served any more" "$daemon_log" || fail "not logged"
	daemon_kill
	daemon_restart
	same 1 "$(at bad GET k)" "after the restart"
	same "k 1" "$(seen bad)" "history after the restart"
	same OK "$(at bad SET k 4)" "a put after the restart"
	daemon_stop
}

# --- A sync that takes its time -----------------------------------------------

# hold FEED: its syncs do not end until let_go; those of a segment to come do
hold()
{
	rm -f "$faults/held"
	echo "$data/$1/0" >"$faults/hold"
}

is_held()
{
	[ -e "$faults/held" ]
}

let_go()
{
	rm "$faults/hold"
}

# later NAME COMMAND...: at feed slow, in the background; what it says is in $work/NAME
later()
{
	local name=$1

	shift
	{ at slow "$@" >"$work/$name.part"; mv "$work/$name.part" "$work/$name"; } &
}

# said NAME WANT
said()
{
	within_patience test -e "$work/$1" || fail "$1 was never answered"
	same "$2" "$(cat "$work/$1")" "what $1 was told"
	rm "$work/$1"
}

# shows FEED HEAD
shows()
{
	[ "$(head_of "$1")" = "$2" ]
}

start_slow()
{
	rm -rf "$RINGTAIL_DIR" "$data"
	: >"$daemon_log"
	T_FAILING_DISK=$faults LD_PRELOAD=$RINGTAIL_TEST_FAILING_DISK \
		daemon_start --data "$data" --feed slow,durability=disk \
		--feed other,durability=disk --feed free,durability=none \
		--max-pending-out 4M
	same OK "$(at slow SET k 1)" "before"
}

slow_sync()
{
	local i value

	begins "a slow sync: nobody sees or is told what is not on the disk; others go on"
	start_slow
	hold slow
	later first SET k 2
	within_patience is_held || fail "the sync was never begun"
	later second SET k 3
	later reader GET k
	later several "$(printf 'MULTI\nSET a 1\nSET b 2\nEXEC\nGET a')"
	for i in 1 2 3 4 5; do
		same OK "$(at free SET k "$i")" "a feed without a log"
		same OK "$(at other SET k "$i")" "another feed on the disk"
	done
	sleep 0.2 # a wrong answer would have come
	same 1 "$(head_of slow)" "what is not synced is not shown"
	for i in first second reader several; do
		[ ! -e "$work/$i" ] || fail "$i was told: $(cat "$work/$i")"
	done
	let_go
	said first OK
	said second OK
	said several "$(printf 'OK\nQUEUED\nQUEUED\nOK\nOK\n1')"
	within_patience test -e "$work/reader" || fail "the reader was never answered"
	rm "$work/reader"
	same 5 "$(head_of slow)" "head afterwards"
	same 3 "$(at slow GET k)" "the newest"

	begins "a pipeline of many batches meanwhile: others go on"
	hold slow
	value=$(head -c 1000 /dev/zero | tr '\0' v)
	for ((i = 0; i < 4000; i++)); do
		printf 'SET p%d %s\r\n' "$i" "$value"
	done >"$work/pipeline"
	redis --pipe <"$work/pipeline" >"$work/piped" 2>&1 &
	within_patience is_held || fail "the sync was never begun"
	for i in 1 2 3 4 5; do
		same OK "$(at free SET k "$i")" "a feed without a log"
	done
	same 5 "$(head_of slow)" "what is not synced is not shown"
	let_go
	wait $! || fail "the pipeline: $(cat "$work/piped")"
	grep -q "errors: 0, replies: 4000" "$work/piped" || fail "$(cat "$work/piped")"
	same 4005 "$(head_of slow)" "head after the pipeline"

	begins "a client that is gone before its sync is done"
	hold slow
	redis SET k gone >/dev/null &
	within_patience is_held || fail "the sync was never begun"
	kill -9 $!
	wait $! 2>/dev/null || true
	same OK "$(at free SET k 6)" "another client"
	let_go
	within_patience shows slow 4006 || fail "its change is lost"
	same gone "$(at slow GET k)" "what it had set"

	begins "many replies that wait for the disk do not close a client"
	value=$(head -c 50 /dev/zero | tr '\0' v)
	{
		printf 'SET k 1\r\n'
		for ((i = 0; i < 100000; i++)); do
			printf 'PING %s\r\n' "$value"
		done
	} >"$work/pipeline"
	hold slow
	redis --pipe <"$work/pipeline" >"$work/piped" 2>&1 &
	within_patience is_held || fail "the sync was never begun"
	sleep 0.5 # all of it would have come
	let_go
	wait $! || fail "the pipeline: $(cat "$work/piped")"
	grep -q "errors: 0, replies: 100001" "$work/piped" || fail "$(cat "$work/piped")"

	begins "the end of the daemon waits for a sync"
	hold slow
	later last SET k 4
	within_patience is_held || fail "the sync was never begun"
	kill -TERM "$daemon_pid"
	sleep 0.1
	kill -0 "$daemon_pid" || fail "it ended with a write in flight"
	sleep 3.5 # more than a client has to take what it is told then
	let_go
	wait "$daemon_pid" || fail "exit code $?"
	said last OK
	daemon_restart
	same 4 "$(at slow GET k)" "after the restart"
	daemon_stop
}

slow_failure()
{
	local name answer

	begins "a slow sync that fails: all who wait are told"
	start_slow
	hold slow
	later first SET k 2
	within_patience is_held || fail "the sync was never begun"
	later second SET k 3
	later reader GET k
	sleep 0.1 # both are with the daemon now, mostly
	echo "$data/slow/" >"$faults/fdatasync"
	let_go
	for name in first second reader; do
		within_patience test -e "$work/$name" || fail "$name was never answered"
		answer=$(cat "$work/$name")
		holds "$answer" "feed 'slow'" "cannot sync" "Input/output error"
		rm "$work/$name"
	done
	rm "$faults/fdatasync"
	same 1 "$(head_of slow)" "what is not synced is not shown"
	same OK "$(at other SET k v)" "another feed"
	daemon_kill
	daemon_restart
	same "k 1" "$(seen slow)" "history after the restart"
	daemon_stop
}

# --- A log that is damaged ----------------------------------------------------

damaged()
{
	local file answer i

	begins "a damaged log: not served, with the place and a way out"
	rm -rf "$RINGTAIL_DIR" "$data"
	: >"$daemon_log"
	daemon_start --data "$data" --feed bad,durability=os --feed good,durability=os
	for i in 1 2 3 4 5; do
		same OK "$(at bad SET "k$i" "value-$i")" "a put"
		same OK "$(at good SET "k$i" "value-$i")" "a put"
	done
	daemon_kill
	file=$data/bad/00000000000000000001.log
	i=$(grep -abo value-3 "$file" | cut -d: -f1)
	printf X | dd of="$file" bs=1 seek="$i" conv=notrunc status=none

	daemon_restart
	answer=$(at bad SET k v)
	holds "$answer" "feed 'bad' is not served" "$file" "damaged at byte" "expected" \
		"seq 3" "ringtail repair"
	grep -q "feed 'bad' is not served: $file" "$daemon_log" || fail "not logged"
	same value-5 "$(at good GET k5)" "another feed"
	same OK "$(at good SET k6 v)" "a put into another feed"
	daemon_stop
	same X "$(dd if="$file" bs=1 skip="$i" count=1 status=none)" "the file is as it was"
}

# --- A log that somebody cuts -------------------------------------------------

cut_short()
{
	local mode=$1 file=$data/bad/00000000000000000001.log answer i

	begins "the segment that is written is truncated: that feed stops, others go on ($mode)"
	rm -rf "$RINGTAIL_DIR" "$data"
	: >"$daemon_log"
	daemon_start --data "$data" --feed "bad,durability=$mode" --feed good,durability=os
	for i in 1 2 3; do
		same OK "$(at bad SET "k$i" v)" "a put"
	done
	truncate -s 4096 "$file"
	answer=$(at bad SET k4 v)
	holds "$answer" "feed 'bad'" "segment that was cut"
	same 3 "$(head_of bad)" "what was not logged is not shown"
	same OK "$(at good SET k v)" "another feed"
	daemon_stop
	same 0 "$daemon_code" "its exit code"
}

disk_full
cut_short os
cut_short disk
if [ -n "${RINGTAIL_TEST_FAILING_DISK:-}" ]; then
	fails pwrite os write
	fails pwrite disk write
	fails fdatasync disk sync
	slow_sync
	slow_failure
fi
damaged
