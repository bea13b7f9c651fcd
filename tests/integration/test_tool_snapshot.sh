#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_snapshot.sh - ringtail backup, and verify and dump of snapshots; what verify
#                         says of folders that are no log, or not all of one
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

data=$work/data
log=$data/main
copy=$work/copy
daemon_start --data "$data" --feed main,size=1M,segment=64K

# As the log is now, without those who use it.
copy_log()
{
	rm -rf "$copy"
	cp -r "$log" "$copy"
}

# The lines of a snapshot but the first, which says when and where.
entries()
{
	tool dump "$1" | tail -n +2
}

lines 1 3000 | tool load main 2>/dev/null

echo "# what is no log, or not all of one"
mkdir "$work/empty"
ends 1 tool verify "$work/empty"
mentions "holds no log"
ends 1 tool backup "$work/empty" "$work/none"
for gone in epochs state; do
	copy_log
	tool verify "$copy" >/dev/null
	rm "$copy/$gone"
	ends 1 tool verify "$copy"
	mentions "copy/$gone: missing"
	echo "what is this" >"$copy/$gone"
	ends 1 tool verify "$copy"
	mentions "copy/$gone: "
done
copy_log
echo "what is this" >"$copy/floor"
ends 1 tool verify "$copy"
mentions "copy/floor: damaged"
rm "$copy/floor"
: >"$copy/epochs"
ends 1 tool verify "$copy"
mentions "copy/epochs: damaged"

echo "# a backup of a feed"
told=$(tool backup main "$work/backup")
[[ $told == "feed 'main' as of seq 3000: 3000 keys, "* ]] || fail "$told"
same 600 "$(stat -c %a "$work/backup")" "mode of a backup"
head=$(tool dump "$work/backup" | head -n 1)
[[ $head == '{"snapshot":{"feed":"main","epoch":"'* ]] || fail "$head"
same 3000 "$(number seq "$head")" "its seq"
same 3000 "$(number keys "$head")" "its keys"
same 3000 "$(entries "$work/backup" | wc -l)" "its entries"
entries "$work/backup" | sed -E 's/.*"key":"([^"]*)".*/\1/' | LC_ALL=C sort -c -u ||
	fail "the entries are not in the order of their keys"
ends 1 tool backup main "$work/backup"
mentions "exists"
tool put main key17 changed
[[ $(tool backup main "$work/backup" --force --json) == *'"seq":3001,"keys":3000,'* ]] ||
	fail "backup --force"
[[ $(entries "$work/backup") == *'"seq":3001,"key":"key17","value":"changed"'* ]] ||
	fail "the newest value is not in the backup"
ends 1 tool backup --force main "$work/empty"
mentions "$work/empty is a folder; name a file in it"
ends 1 tool backup main "$work/nowhere/backup"
mentions "No such file"
ends 2 tool backup main
ends 1 tool backup none "$work/none"

echo "# a backup of a log that nobody writes"
ends 1 tool backup "$log" "$work/other"
mentions "being written"
copy_log
tool backup "$copy" "$work/other" >/dev/null
diff <(entries "$work/other") <(entries "$work/backup") >&2 ||
	fail "the backup of a copy is not that of the feed"

echo "# snapshots are verified"
snapshot=00000000000000003001.snap
rm -f "$copy"/*.snap
cp "$work/backup" "$copy/$snapshot"
[[ $(tool verify "$copy") == *"snapshots  1, the newest as of seq 3001"* ]] ||
	fail "$(tool verify "$copy")"
same 3001 "$(number snapshot_seq "$(tool verify "$copy" --json)")" "snapshot_seq"
cp "$work/backup" "$copy/00000000000000002999.snap"
ends 1 tool verify "$copy"
mentions "2999.snap: it is as of seq 3001"
rm "$copy/00000000000000002999.snap"
printf x | dd of="$copy/$snapshot" bs=1 seek=9000 conv=notrunc status=none
ends 1 tool verify "$copy"
mentions "$snapshot: damaged at byte 4096"
[[ $(tool verify "$copy" --json 2>/dev/null) == \
	*'"valid":false,"damage":"'*"$snapshot"* ]] ||
	fail "verify --json of a damaged snapshot"
ends 1 tool dump "$copy/$snapshot"
mentions "damaged at byte 4096"
truncate -s 100 "$copy/$snapshot"
ends 1 tool dump "$copy/$snapshot"
mentions "truncated"
ends 1 tool dump "$work/none.snap"
mentions "No such file"
ends 1 tool dump "$work/nothing"
mentions "$work/nothing: No such file"
echo nothing >"$work/nothing"
ends 2 tool dump "$work/nothing"
mentions "no snapshot"

echo "# damage that a snapshot covers"
copy_log
cp "$work/backup" "$copy/$snapshot"
printf x | dd of="$copy/00000000000000000001.log" bs=1 seek=9000 conv=notrunc status=none
ends 1 tool verify "$copy"
mentions "damaged at byte"
next=$(cd "$copy" && printf '%s\n' *.log | sed -n '2s/^0*\([0-9]*\).*/\1/p')
mentions "'ringtail repair --drop-before=$next' lets go of what is damaged"
mentions "'ringtail trim FEED $next' while the feed is served"
ends 1 tool repair "$copy" --drop-before=9999
mentions "its newest good snapshot is of seq 3001"
ends 2 tool repair "$copy" --drop-before --drop-after 5
ends 2 tool repair "$copy" --drop-before=x
cp -r "$copy" "$copy.2"
told=$(tool repair "$copy.2" --drop-before="$next")
[[ $told == "dropped everything before seq $next; 1 of "*"markers from seq $((next - 1)) on "* ]] ||
	fail "$told"
tool verify "$copy.2" >/dev/null
told=$(tool repair "$copy.2" --drop-before)
[[ $told == "nothing that a good snapshot has"* ]] || fail "$told"
told=$(tool repair "$copy.2" --drop-before="$next")
[[ $told == "nothing is before seq $next; "* ]] || fail "$told"
printf x | dd of="$(printf '%s\n' "$copy"/*.log | sed -n 2p)" bs=1 seek=9000 conv=notrunc status=none
next=$(cd "$copy" && printf '%s\n' *.log | sed -n '3s/^0*\([0-9]*\).*/\1/p')
told=$(tool repair "$copy" --drop-before 2>/dev/null)
[[ $told == "dropped everything before seq $next; 2 of "* ]] || fail "as little as will do: $told"
tool verify "$copy" >/dev/null
cp "$log"/*.log "$copy"
printf x | dd of="$copy/00000000000000000001.log" bs=1 seek=9000 conv=notrunc status=none
rm "$copy/$snapshot"
ends 1 tool verify "$copy"
[[ $said != *"drop-before"* ]] || fail "advice without a snapshot: $said"
ends 1 tool repair "$copy" --drop-before="$next"
mentions "no snapshot that is good"

echo "# what ends the life of a key is printed"
redis -n 0 SET lease x PX 86400000 >/dev/null
redis -n 0 SET mine x BIND >/dev/null
tool dump "$(find "$log" -name '*.log' | sort | tail -n 1)" >"$work/newest"
grep -Eq '"key":"lease",.*,"deadline_ms":[0-9]{13}}' "$work/newest" || fail "no deadline_ms"
grep -Eq '"key":"mine",.*,"bound":true}' "$work/newest" || fail "no bound"
grep -q '"key":"key17",.*"created":false}' "$work/newest" || fail "terms without reason"
tool backup main "$work/backup" --force >/dev/null
[[ $(entries "$work/backup") == *'"key":"lease",'*'"deadline_ms":'* ]] ||
	fail "no deadline_ms in a snapshot"
echo "# done"
