#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_renew.sh - ringtail backup, restore and reset: the state is that of the
#                      file, seq goes on in a new epoch, and readers move over
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

data=$work/data
watchers=()

epoch_of()
{
	tool info "$1" --json | sed -E 's/.*"epoch":"([0-9a-f]+)".*/\1/'
}

# state FEED: every key with its value, as a consumer gets it that begins now
state()
{
	(tool watch "$1" --from snapshot --timeout 0 --json || true) |
		sed -nE 's/.*"key":"([^"]*)","value":"([^"]*)".*/\1=\2/p' | LC_ALL=C sort
}

# saved FEED: the same by its files
saved()
{
	tool backup "$1" "$work/saved" --force >/dev/null
	tool dump "$work/saved" | tail -n +2
}

# has_line FILE TEXT
has_line()
{
	grep -qF -- "$2" "$1"
}

# comes FILE TEXT
comes()
{
	within_patience has_line "$1" "$2" || fail "no '$2' in: $(tail -n 5 "$1")"
}

# watch FILE ARGUMENTS: in the background, from now on, until the script ends
watch()
{
	local to=$1

	shift
	: >"$to"
	"$RINGTAIL_TEST_TOOL" watch --json --states "$@" >"$to" 2>&1 </dev/null &
	watchers+=($!)
	comes "$to" '"caught-up"'
}

end_watchers()
{
	[ ${#watchers[@]} = 0 ] || kill "${watchers[@]}" 2>/dev/null || true
	[ ${#watchers[@]} = 0 ] || wait "${watchers[@]}" 2>/dev/null || true
	watchers=()
}
trap 'end_watchers; clean_up' EXIT

# renewed FEED: everything there is to check when a feed goes through it
renewed()
{
	local feed=$1 head epoch marker

	echo "# $feed: reset"
	lines 1 500 | tool load "$feed" 2>/dev/null
	tool del "$feed" key7
	state "$feed" >"$work/before"
	same 499 "$(wc -l <"$work/before")" "keys before"
	head=$(head_of "$feed")
	epoch=$(epoch_of "$feed")
	marker=$(tool info "$feed" --json | sed -E 's/.*"marker":"([^"]+)".*/\1/')
	watch "$work/resync" "$feed" --on-gap resync
	watch "$work/error" "$feed"
	tool put "$feed" first one
	comes "$work/resync" '"key":"first"'
	comes "$work/error" '"key":"first"'
	ends 2 tool reset "$feed"
	mentions "--yes"
	ends 1 tool reset nosuch --yes
	[[ $(tool reset "$feed" --yes) == "$feed reset: 500 keys; a new history begins after seq $((head + 1))" ]] ||
		fail "what reset says"
	[ "$(epoch_of "$feed")" != "$epoch" ] || fail "the same epoch after a reset"
	same $((head + 1)) "$(head_of "$feed")" "head after a reset"
	same "one" "$(tool get "$feed" first)" "a value after a reset"
	tool put "$feed" second two
	same $((head + 2)) "$(head_of "$feed")" "seq goes on"
	state "$feed" >"$work/after"
	diff <(cat "$work/before" <(printf 'first=one\nsecond=two\n') | LC_ALL=C sort) \
		"$work/after" >&2 || fail "another state after a reset"
	ends 1 tool watch "$feed" --from "$marker" --count 1
	mentions "epoch"
	comes "$work/resync" '"key":"second","value":"two"'
	comes "$work/error" epoch
	! has_line "$work/error" '"key":"second"' || fail "an event of another epoch"
	end_watchers

	echo "# $feed: what a reset leaves is a whole feed"
	daemon_kill
	daemon_restart
	diff <(state "$feed") "$work/after" >&2 || fail "another state after a restart"
	same $((head + 2)) "$(head_of "$feed")" "head after a restart"

	echo "# $feed: restore"
	tool backup "$feed" "$work/$feed.backup" >/dev/null
	head=$(head_of "$feed")
	lines 400 900 | tool load "$feed" 2>/dev/null
	redis -n "$2" DEL key1 key2 key3 >/dev/null
	watch "$work/resync" "$feed" --on-gap resync
	tool put "$feed" third three
	comes "$work/resync" '"key":"third"'
	head=$(head_of "$feed")
	epoch=$(epoch_of "$feed")
	[[ $(tool restore "$feed" "$work/$feed.backup") == "$feed restored: 501 keys; "*" seq $head" ]] ||
		fail "what restore says"
	diff <(state "$feed") "$work/after" >&2 || fail "another state than that of the file"
	[ "$(epoch_of "$feed")" != "$epoch" ] || fail "the same epoch after a restore"
	same "value 1" "$(tool get "$feed" key1)" "a key that was deleted"
	ends 1 tool get "$feed" third
	tool put "$feed" fourth four
	same $((head + 1)) "$(head_of "$feed")" "seq goes on after a restore"
	comes "$work/resync" '"key":"fourth","value":"four"'
	has_line "$work/resync" '"key":"key1","value":"value 1"' || fail "no state in between"
	end_watchers
	daemon_kill
	daemon_restart
	diff <(state "$feed") <(cat "$work/after" <(echo fourth=four) | LC_ALL=C sort) >&2 ||
		fail "another state after a restore and a restart"
}

daemon_start --data "$data" --feed disk,size=1M,segment=64K,durability=disk \
	--feed os,size=1M,segment=64K --feed memory,size=1M,durability=memory \
	--feed bare,size=1M,durability=none
renewed disk 0
renewed os 1
renewed memory 2

echo "# what cannot be"
ends 1 tool reset bare --yes
mentions "durability"
ends 1 tool restore bare "$work/os.backup"
mentions "durability"
ends 1 tool restore os "$work/nowhere"
mentions "No such file"
state os >"$work/before"
cp "$work/os.backup" "$work/broken"
printf x | dd of="$work/broken" bs=1 seek=9000 conv=notrunc status=none
ends 1 tool restore os "$work/broken"
mentions "broken: damaged at byte"
head -c 5000 "$work/os.backup" >"$work/broken"
ends 1 tool restore os "$work/broken"
mentions "broken: "
ends 1 redis -e -n 1 RINGTAIL.RESTORE os broken
[[ $(redis -n 1 RINGTAIL.RESTORE os broken) == *"whole path"* ]] || fail "a relative path"
diff <(state os) "$work/before" >&2 || fail "a refusal changed the state"

echo "# the state of another feed"
tool restore memory "$work/os.backup" >/dev/null
tool backup memory "$work/cloned" >/dev/null
diff <(tool dump "$work/cloned" | tail -n +2) <(tool dump "$work/os.backup" | tail -n +2) >&2 ||
	fail "a feed from the backup of another"

echo "# watched keys have changed, bound ones are over"
coproc client { redis -n 1; }
ask()
{
	echo "$*" >&"${client[1]}"
	read -r -t "$PATIENCE" got <&"${client[0]}"
}
ask SET bound x BIND
ask WATCH key1
tool restore os "$work/os.backup" >/dev/null
ask MULTI
ask SET key1 other
ask EXEC
same "" "$got" "EXEC after a restore"
ask SET bound y BIND
same OK "$got" "a key bound again"
same y "$(tool get os bound)" "its value"
ask RINGTAIL.BIND key2
tool reset os --yes >/dev/null
same y "$(tool get os bound)" "a bound key after a reset"
eval "exec ${client[1]}>&-"
# The shell forgets the number when it has noticed the end.
[ -z "${client_PID:-}" ] || wait "$client_PID" 2>/dev/null || true
gone() { ! tool get os bound; }
within_patience gone || fail "a key outlives its connection"
ends 1 tool get os key2

echo "# killed at any moment: the old feed or the new one, whole"
lines 1 20000 | tool load disk 2>/dev/null
tool backup disk "$work/many" >/dev/null
tool put disk after it
saved disk >"$work/old"
grep -v '"key":"after"' "$work/old" >"$work/new"
for round in 1 2 3 4 5 6 7 8; do
	head=$(head_of disk)
	if [ $((round % 2)) = 0 ]; then
		tool reset disk --yes >/dev/null 2>&1 </dev/null &
	else
		tool restore disk "$work/many" >/dev/null 2>&1 </dev/null &
	fi
	asker=$!
	sleep "0.0$((round * 7 % 50 + 10))"
	daemon_kill
	wait $asker || true
	daemon_restart
	! compgen -G "$data/*.new" >/dev/null || fail "something was left: $(ls "$data")"
	saved disk >"$work/now"
	cmp -s "$work/now" "$work/old" || cmp -s "$work/now" "$work/new" ||
		fail "round $round: neither the old state nor the new one"
	[ "$(head_of disk)" -ge "$head" ] || fail "round $round: seq went back"
	cp "$work/now" "$work/old"
	grep -v '"key":"after"' "$work/old" >"$work/new"
	tool verify disk >/dev/null || fail "round $round"
done
tool reset disk --yes >/dev/null
cmp <(saved disk) "$work/old" || fail "another state after the last reset"
! compgen -G "$data/*.new" >/dev/null || fail "something was left: $(ls "$data")"

echo "# readers that are busy, while somebody publishes and snapshots are made"
# fold FILE: the state that a consumer has who got all of it
fold()
{
	awk '/"snapshot":"begin"/ { split("", values); next }
		match($0, /"key":"[^"]*"/) {
			key = substr($0, RSTART + 7, RLENGTH - 8)
			if (/"op":"delete"/) { delete values[key]; next }
			match($0, /"value":"[^"]*"/)
			values[key] = substr($0, RSTART + 9, RLENGTH - 10)
		}
		END { for (key in values) print key "=" values[key] }' "$1" | LC_ALL=C sort
}
watch "$work/busy" memory --from snapshot --on-gap resync
for round in 1 2 3 4 5 6; do
	lines $((round * 500)) $((round * 500 + 3000)) | tool load memory >/dev/null 2>&1 &
	loader=$!
	tool snapshot memory >/dev/null &
	snapper=$!
	if [ $((round % 3)) = 0 ]; then
		tool restore memory "$work/os.backup" >/dev/null
	else
		tool reset memory --yes >/dev/null
	fi
	wait $loader || fail "round $round: a publisher was refused"
	wait $snapper || fail "round $round: no snapshot"
	tool put memory "round $round" over
done
comes "$work/busy" '"key":"round 6"'
saved memory | sed -E 's/.*"key":"([^"]*)","value":"([^"]*)".*/\1=\2/' |
	LC_ALL=C sort >"$work/now"
diff <(fold "$work/busy") "$work/now" >&2 || fail "a reader that was busy has another state"
end_watchers

echo "# what is over by then is not restored"
redis -n 1 SET brief x PX 1000 >/dev/null
tool backup os "$work/brief" >/dev/null
is_over() { ! tool get os brief >/dev/null 2>&1; }
within_patience is_over || fail "a key outlives its time"
tool restore os "$work/brief" >/dev/null
ends 1 tool get os brief
daemon_stop
same 0 "$daemon_code" "exit of a daemon that has restored feeds"
daemon_restart

echo "# a log that is damaged, and one of a daemon that does not run"
tool put os last one
daemon_kill
victim=$(find "$data/os" -name '*.log' | sort | tail -n 1)
printf 'xxxx' | dd of="$victim" bs=1 seek=4100 conv=notrunc status=none
cp "$victim" "$work/victim"
printf 'Btch' | dd of="$victim" bs=1 seek=50000 conv=notrunc status=none
rm -f "$data"/os/*.snap
daemon_restart
ends 1 tool get os key1
mentions "not served"
tool restore os "$work/os.backup" >/dev/null
diff <(state os) "$work/after" >&2 || fail "a damaged feed after a restore"
tool put os more yes
ends 1 tool restore "$data/os" "$work/os.backup"
mentions "being written"
head=$(head_of os)
daemon_end TERM
rm -rf "$RINGTAIL_DIR"
[[ $(tool restore "$data/os" "$work/os.backup") == "os restored: 501 keys; "*" seq $head" ]] ||
	fail "what a restore without a daemon says"
daemon_restart
diff <(state os) "$work/after" >&2 || fail "a restore without a daemon"
same "$head" "$(head_of os)" "head after a restore without a daemon"
! compgen -G "$data/*.new" >/dev/null || fail "something was left: $(ls "$data")"
echo "# done"
