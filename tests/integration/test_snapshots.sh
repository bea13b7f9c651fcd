#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The daemon's snapshots: that it starts from them, that nothing which they do not cover
# is let go, and that no failure to make one costs more than disk space.
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

data=$work/data
faults=$work/faults
mkdir "$data" "$faults"
# shellcheck disable=SC2154 # of daemon.sh
trap 'umount -l "$work/small" 2>/dev/null || true; clean_up' EXIT

begins()
{
	echo "# $*"
}

# afresh ARGUMENT...: a daemon that knows nothing
afresh()
{
	[ -z "$daemon_pid" ] || daemon_stop
	rm -rf "$RINGTAIL_DIR" "${data:?}"/*
	: >"$daemon_log"
	daemon_start "$@"
}

# Everything that GET and TTL would say, in order
state()
{
	redis KEYS '*' | sort | sed 's/.*/ECHO &\nGET &\nPEXPIRETIME &/' | redis
}

# In the log, or without one in the ring
oldest()
{
	field log_oldest | grep . || field oldest
}

# field NAME: of INFO
field()
{
	redis INFO feeds | tr -d '\r' | tr , '\n' | sed -n "s/^$1=//p" | head -n 1
}

# fill FIRST LAST [VALUE]: keys of these numbers
fill()
{
	seq "$1" "$2" | sed "s/.*/SET k& ${3:-v}&/" | redis >/dev/null
}

# The rule: the oldest event is at most one above the oldest snapshot.
keeps_rule()
{
	local log snap

	log=$(cd "$1" && printf '%s\n' *.log | head -n 1)
	snap=$(cd "$1" && printf '%s\n' *.snap | head -n 1)
	log=$(sed 's/^0*//; s/\..*//' <<<"$log")
	[ "$log" != "*" ] && [ "$log" -gt 1 ] || return 0
	[ "$snap" != '*.snap' ] || return 1
	snap=$(sed 's/^0*//; s/\..*//' <<<"$snap")
	[ "$log" -le $((snap + 1)) ]
}

# --- Starting from a snapshot -------------------------------------------------

same_state()
{
	local before

	begins "the state after kill -9 is what it was: $*"
	afresh --data "$data" --feed "main,size=64K,segment=64K,$1"
	fill 1 1500
	redis DEL k1 k2 k3 >/dev/null
	redis SET k2 again >/dev/null
	redis SET long x PXAT 4000000000000 >/dev/null
	redis SET short x PX 300 >/dev/null
	redis SET bound x BIND >/dev/null # gone with its connection
	same "" "$(redis GET bound)" "a key that was bound"
	tool snapshot main >/dev/null
	redis DEL k4 >/dev/null
	redis SET k1 anew >/dev/null
	redis PERSIST long >/dev/null
	redis SET later x PXAT 4000000000001 >/dev/null
	sleep 0.3
	before=$(state)
	same "" "$(redis GET short)" "a key whose time is over"
	daemon_kill
	daemon_restart
	same "$before" "$(state)" "state"
	same 1500 "$(redis DBSIZE)" "number of keys"
	tool snapshot main >/dev/null
	daemon_stop
	daemon_restart
	same "$before" "$(state)" "state after a clean stop, with nothing after the snapshot"
	tool verify main >/dev/null || fail "the log is not whole"
}

expires_while_away()
{
	local client

	begins "what ends while no daemon runs has ended when the next one does"
	afresh --data "$data" --feed main,size=64K
	fill 1 10
	redis SET short x PX 400 >/dev/null
	(printf 'SET bound x BIND\nPING\n'; sleep 60) | redis >/dev/null &
	client=$!
	within_patience redis_has bound || fail "not bound"
	tool snapshot main >/dev/null
	daemon_kill
	sleep 0.5
	daemon_restart
	same 10 "$(redis DBSIZE)" "keys"
	same 2 "$(tool watch main --from oldest --timeout 0 --json | grep -c '"expired":true')" \
		"deletes of what ended"
	kill "$client" 2>/dev/null || true # the newest job is the daemon
}

redis_has()
{
	[ "$(redis EXISTS "$1")" = 1 ]
}

# --- The rule -----------------------------------------------------------------

keeps_snapshots()
{
	[ "$(find "$RINGTAIL_DIR/main/log" -name '*.snap' | wc -l)" = "$1" ]
}

under_load()
{
	local end publisher before i=0

	begins "under load, with little to be kept, the rule holds at every moment"
	afresh --feed main,size=64K,segment=64K,retain_bytes=256K,snapshot_bytes=128K
	until [ -e "$work/enough" ]; do
		fill 1 2000 "$((i++))-"
	done &
	publisher=$!
	end=$((SECONDS + 4))
	while [ $SECONDS -lt $end ]; do
		keeps_rule "$RINGTAIL_DIR/main/log" || fail "the rule is broken:
$(ls "$RINGTAIL_DIR/main/log")"
	done
	touch "$work/enough"
	wait $publisher
	[ "$(oldest)" -gt 2001 ] || fail "nothing was let go: $(ls "$RINGTAIL_DIR/main/log")"
	# The third is there for a moment, when one has just been made.
	within_patience keeps_snapshots 2 || fail "$(ls "$RINGTAIL_DIR/main/log")"
	before=$(state)
	daemon_kill
	daemon_restart
	same "$before" "$(state)" "state after it"
}

small_memory()
{
	local i value

	begins "the default fits into little memory"
	mkdir -p "$work/small"
	mount -t tmpfs -o size=64M,mode=0755 none "$work/small" 2>/dev/null || {
		echo "# left out: cannot mount a tmpfs here"
		return 0
	}
	[ -z "$daemon_pid" ] || daemon_stop
	RINGTAIL_DIR=$work/small/feeds daemon_start --feed main
	value=$(head -c 1000 /dev/zero | tr '\0' v)
	for i in $(seq 20); do
		same 5000 "$(for _ in 1 2 3 4 5; do seq 1 1000; done |
			sed "s/.*/SET k& $i-$value/" | redis | grep -c OK)" \
			"puts that were taken"
		within_patience kept_within 40000000 || fail "too much is kept: $(field log_bytes)"
	done
	[ "$(field snapshots)" = 2 ] || fail "no snapshots: $(redis INFO feeds)"
	daemon_stop
	umount "$work/small"
}

kept_within()
{
	[ "$(field log_bytes)" -le "$1" ]
}

no_room()
{
	local value before

	begins "no room for a snapshot: told, history kept, made when there is room"
	mkdir -p "$work/small"
	mount -t tmpfs -o size=2M,mode=0755 none "$work/small" 2>/dev/null || {
		echo "# left out: cannot mount a tmpfs here"
		return 0
	}
	[ -z "$daemon_pid" ] || daemon_stop
	rm -rf "$RINGTAIL_DIR"
	: >"$daemon_log"
	value=$(head -c 1000 /dev/zero | tr '\0' v)
	head -c 1200K /dev/zero >"$work/small/ballast"
	daemon_start --data "$work/small" \
		--feed main,size=64K,segment=64K,retain_bytes=128K,snapshot_bytes=64K
	seq 1 400 | sed "s/.*/SET k& $value/" | redis >/dev/null
	if tool snapshot main 2>"$work/said"; then
		fail "a snapshot was made: $(ls -l "$work/small/main")"
	fi
	grep -q "No space left on device" "$work/said" || fail "$(cat "$work/said")"
	same 0 "$(find "$work/small" -name '*.new' | wc -l)" "parts of a snapshot left"
	keeps_rule "$work/small/main" || fail "the rule is broken: $(ls "$work/small/main")"
	same OK "$(redis SET k1 small)" "a put"
	before=$(state)
	rm "$work/small/ballast"
	within_patience tool snapshot main || fail "none was made when there was room"
	grep -q "snapshots are made again" "$daemon_log" || fail "not logged"
	daemon_kill
	daemon_restart
	same "$before" "$(state)" "state"
	daemon_stop
	umount "$work/small"
}

# --- Failures -----------------------------------------------------------------

no_snapshot()
{
	local call before

	for call in pwrite fdatasync; do
		begins "no snapshot can be written ($call): told, retried, nothing is let go"
		[ -z "$daemon_pid" ] || daemon_stop
		rm -rf "$RINGTAIL_DIR" "${data:?}"/*
		: >"$daemon_log"
		echo ".snap" >"$faults/$call"
		T_FAILING_DISK=$faults LD_PRELOAD=$RINGTAIL_TEST_FAILING_DISK \
			daemon_start --data "$data" --feed \
			main,size=64K,segment=64K,retain_bytes=128K,snapshot_bytes=64K
		fill 1 9000
		if tool snapshot main 2>"$work/said"; then
			fail "a snapshot was made"
		fi
		grep -q "Input/output error" "$work/said" || fail "$(cat "$work/said")"
		[ "$(field snapshot_failures)" -ge 1 ] || fail "not counted"
		within_patience tried_again || fail "not tried again"
		same 1 "$(oldest)" "oldest event"
		same 1 "$(grep -c 'no snapshot' "$daemon_log")" "times that it was logged"
		same OK "$(redis SET still works)" "a put"
		before=$(redis DBSIZE)
		rm "$faults/$call"
		within_patience cut || fail "nothing was let go when it worked again"
		grep -q "snapshots are made again" "$daemon_log" || fail "not logged"
		daemon_kill
		daemon_restart
		same "$before" "$(redis DBSIZE)" "keys"
	done
}

tried_again()
{
	[ "$(field snapshot_failures)" -ge 2 ]
}

cut()
{
	redis SET still more >/dev/null
	[ "$(oldest)" -gt 1 ]
}

killed_while_writing()
{
	local i before

	begins "killed while a snapshot is written"
	afresh --data "$data" --feed main,size=64K,segment=64K,retain_bytes=256K
	fill 1 20000
	for i in 1 2 3 4 5 6; do
		fill 1 2000 "$i-"
		before=$(redis GET k2000)
		redis RINGTAIL.SNAPSHOT >/dev/null
		sleep "0.0$((i * 7 % 10))"
		daemon_kill
		daemon_restart
		same 20000 "$(redis DBSIZE)" "keys in round $i"
		same "$before" "$(redis GET k2000)" "a value in round $i"
		keeps_rule "$data/main" || fail "the rule is broken: $(ls "$data/main")"
	done
	tool snapshot main >/dev/null
	same 0 "$(find "$data/main" -name '*.snap.new' | wc -l)" "unfinished ones"
}

# What all events since the very first make of the keys
replay()
{
	tool watch main --from 0 --until "$1" --json |
		sed -n 's/.*"op":"\(put\|delete\)".*"key":"\([^"]*\)"/\1 \2 /p' |
		sed 's/"value":"\([^"]*\)"/ \1 /' |
		awk '{ if ($1 == "put") a[$2] = $4; else delete a[$2] }
			END { for (k in a) print k, a[k] }' | sort
}

keys_and_values()
{
	redis KEYS '*' | sort | sed 's/.*/GET &/' | redis |
		paste -d ' ' <(redis KEYS '*' | sort) - | sort
}

some_changes()
{
	awk -v seed="$1" 'BEGIN {
		srand(seed)
		for (i = 0; i < 400; i++) {
			k = "k" int(rand() * 300)
			if (rand() < 0.2)
				print "DEL", k
			else if (rand() < 0.1)
				printf "MULTI\nSET %s t%d\nSET %sx t%d\nDEL %sy\nEXEC\n", k, i, k, i, k
			else
				print "SET", k, "v" seed "-" i
		}
	}'
}

changes_without_end()
{
	local seed=$1

	until [ -e "$work/enough" ]; do
		some_changes "$seed" | redis >/dev/null 2>&1 || true
		seed=$((seed + 10))
	done
}

killed_anywhere()
{
	local i n=0 publisher seq

	begins "killed anywhere: the state from a snapshot is what all events make of it"
	afresh --feed main,size=64K,segment=64K,retain_bytes=0,snapshot_bytes=64K
	for i in 1 2 3 4 5 6; do
		rm -f "$work/enough"
		changes_without_end "$i" &
		publisher=$!
		sleep "0.$((i * 13 % 7 + 1))"
		daemon_kill
		touch "$work/enough"
		wait $publisher
		daemon_restart
		seq=$(field seq)
		[ "$seq" -gt 100 ] || fail "only $seq events in round $i"
		same "$(replay "$seq")" "$(keys_and_values)" "state at seq $seq"
		n=$((n + $(field snapshots)))
	done
	[ "$n" -gt 0 ] || fail "no snapshot was made meanwhile"
}

repaired()
{
	local before file

	begins "snapshots that are gone or damaged are made anew"
	afresh --data "$data" --feed main,size=64K,segment=64K
	fill 1 3000
	tool trim main 2000 >/dev/null
	same 2000 "$(oldest)" "oldest event"
	before=$(state)
	rm "$data"/main/*.snap
	tool snapshot main >/dev/null || fail "not made anew"
	grep -q "made from memory" "$daemon_log" || fail "not said"
	daemon_kill
	daemon_restart
	same "$before" "$(state)" "state from the new one"
	for file in "$data"/main/*.snap; do
		printf 'xxxx' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
	done
	tool snapshot main >/dev/null || fail "not made anew after damage"
	grep -q "removed 1 damaged" "$daemon_log" || fail "the damage is not said"
	daemon_kill
	daemon_restart
	same "$before" "$(state)" "state from the repaired one"

	begins "the other one stands in for one that is damaged"
	redis SET k1 other >/dev/null
	tool snapshot main >/dev/null
	before=$(state)
	daemon_kill
	file=$(printf '%s\n' "$data"/main/*.snap | tail -n 1)
	printf 'xxxx' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
	daemon_restart
	same "$before" "$(state)" "state"
	grep -q "began without it" "$daemon_log" || fail "not said"

	begins "with all of them damaged the feed is not served"
	daemon_kill
	for file in "$data"/main/*.snap; do
		printf 'xxxx' | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	done
	daemon_args+=(--feed other)
	daemon_restart
	grep -q "feed 'main' is not served: .*\.snap.*put back what is missing" "$daemon_log" ||
		fail "not said"
	daemon_stop

	begins "nor with all of them gone, since what was cut is in none"
	rm "$data"/main/*.snap
	: >"$daemon_log"
	daemon_restart
	grep -q "feed 'main' is not served: .*its oldest event is of seq [0-9]*, and no \
snapshot has the state of before: .*ringtail restore" "$daemon_log" || fail "not said"
	daemon_stop
	file=$(tool verify "$data/main" 2>&1) && fail "verify calls it valid"
	[[ $file == *"the state of before seq "*", its oldest event, is missing"* ]] ||
		fail "verify: $file"

	begins "nor after a reset, whose state is in its snapshot only"
	afresh --data "$data" --feed main,size=64K,segment=64K --feed other
	fill 1 10
	tool reset main --yes >/dev/null
	fill 11 12
	daemon_kill
	rm "$data"/main/*.snap
	: >"$daemon_log"
	daemon_restart
	grep -q "feed 'main' is not served: .*no snapshot has the state" "$daemon_log" ||
		fail "not said"
	tool verify "$data/main" >/dev/null 2>&1 && fail "verify calls it valid"
	daemon_stop
}

# --- Letting go ---------------------------------------------------------------

trims()
{
	begins "a trim is exact, lasts, and never goes back"
	afresh --data "$data" --feed main,size=64K,segment=64K
	fill 1 500
	printf 'MULTI\nSET a 1\nSET b 1\nSET c 1\nEXEC\n' | redis >/dev/null # 501 to 503
	fill 504 2000
	same "the oldest event is seq 100" "$(tool trim main 100)" "in the log"
	same "the oldest event is seq 501" "$(tool trim main 502)" "in a transaction"
	same "the oldest event is seq 501" "$(tool trim main 1)" "back"
	same 501 "$(oldest)" "info"
	tool trim main 2001 2>/dev/null && fail "a seq to come was taken"
	same 501 "$(oldest)" "info after a refusal"
	if tool watch main --from 499 --timeout 0 >/dev/null 2>"$work/said"; then
		fail "a reader got what was let go"
	fi
	grep -q "compacted.*oldest held is 501" "$work/said" || fail "$(cat "$work/said")"
	same 1500 "$(tool watch main --from 500 --timeout 0 --json | grep -c '"op":"put"')" \
		"events that are held"
	daemon_kill
	daemon_restart
	same 501 "$(oldest)" "info after kill -9"
	same 2000 "$(redis DBSIZE)" "keys"
	same "the oldest event is seq 2000" "$(tool trim main 2000)" "up to the newest"
	same v1 "$(redis GET k1)" "a key of long ago"
}

ages()
{
	local feed

	for feed in main,size=64K,max_age=1 main,size=64K,max_age=1,durability=none; do
		begins "events go with their age, keys stay: $feed"
		afresh --feed "$feed"
		fill 1 100
		within_patience aged || fail "nothing went: $(tool info main)"
		same 101 "$(oldest)" "oldest event"
		fill 101 110
		tool watch main --from 50 --on-gap skip --timeout 0 --json >"$work/said" || true
		grep -q '"cause":"expired"' "$work/said" || fail "no cause: $(cat "$work/said")"
		same 110 "$(redis DBSIZE)" "keys"
	done
	afresh --feed main,size=64K,max_age=1
	fill 1 100
	within_patience aged || fail "nothing went: $(tool info main)"
	daemon_kill
	daemon_restart
	same 100 "$(redis DBSIZE)" "keys after a restart"
	same 101 "$(oldest)" "oldest event after a restart"
}

aged()
{
	[ "$(oldest)" = 101 ]
}

same_state durability=os
same_state durability=memory
expires_while_away
under_load
small_memory
no_room
if [ -n "${RINGTAIL_TEST_FAILING_DISK:-}" ]; then
	no_snapshot
fi
killed_while_writing
killed_anywhere
repaired
trims
ages
