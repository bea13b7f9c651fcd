#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_log.sh - ringtail verify, repair, dump, trim and info, on the log of a daemon
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

data=$work/data
log=$data/main
daemon_start --data "$data" --feed main,size=1M,segment=64K \
	--feed bare,size=1M,durability=none

verified()
{
	number "$1" "$(tool verify "${2:-main}" --json)"
}

echo "# a whole log"
lines 1 3000 | tool load main 2>/dev/null
same 3000 "$(verified events)" "events"
same 1 "$(verified oldest)" "oldest"
same 3000 "$(verified newest "$log")" "newest, by folder"
same 3000 "$(verified newest "$RINGTAIL_DIR/main")" "newest, by the folder of the feed"
[ "$(verified segments)" -ge 3 ] || fail "one segment does not make a test"
[[ $(tool verify main) == *"3000, seq 1 to 3000"*"all of it is valid"* ]] ||
	fail "$(tool verify main)"
ends 1 tool verify bare
mentions "has no log"
ends 1 tool verify "$work/nowhere"
mentions "No such file"

echo "# what info says"
info=$(tool info main --json)
[[ $info == *'"durability":"os"'*"\"log\":\"$log\""* ]] || fail "$info"
same 1 "$(number log_oldest "$info")" "info: log_oldest"
same "$(verified segments)" "$(number log_segments "$info")" "info: log_segments"
[ "$(number log_bytes "$info")" -ge "$(verified bytes)" ] || fail "info: log_bytes: $info"
[ "$(number log_oldest_time_ns "$info")" = "$(number oldest_time_ns "$info")" ] ||
	fail "info: log_oldest_time_ns: $info"
synced() { [ "$(number synced "$(tool info main --json)")" = 3000 ]; }
within_patience synced || fail "never synced: $(tool info main)"
info=$(tool info main --json)
[ "$(number syncs "$info")" -ge 1 ] || fail "info: syncs: $info"
[ "$(number sync_ns "$info")" -ge 1 ] ||
	fail "info: syncs: $info"
[ "$(number synced_at_ns "$info")" -ge "$(number head_time_ns "$info")" ] ||
	fail "info: synced_at_ns: $info"
[[ $(tool info main) == *"durability    os: "*"$log"*"log synced    up to seq 3000"* ]] ||
	fail "$(tool info main)"
[[ $(tool info bare) == *"durability    none: "* && $(tool info bare) != *"log holds"* ]] ||
	fail "$(tool info bare)"

echo "# segments, printed, are what a reader gets"
segments() { ls "$log"/*.log; }
for file in $(segments); do tool dump "$file"; done >"$work/dumped"
(tool watch main --from oldest --timeout 0 --json || true) | sed -E 's/,"marker":"[^"]*"//' \
	>"$work/watched"
diff "$work/watched" "$work/dumped" >&2 || fail "dump and watch differ"
cp "$(segments | head -n 1)" "$work/copy.log"
ends 2 tool dump "$work/copy.log"
mentions "20 digits"
ends 1 tool dump "$log/00000000000000099999.log"
mentions "No such file"

echo "# trimming"
second=$(segments | sed -n 2p | sed -E 's/.*\/0*([0-9]+)\.log/\1/')
third=$(segments | sed -n 3p | sed -E 's/.*\/0*([0-9]+)\.log/\1/')
same 3 "$(segments | head -n 3 | wc -l)" "segments"
same "the oldest event is seq $((second - 1))" \
	"$(tool trim main $((second - 1)))" "trim within the first segment"
same 1 "$(verified oldest)" "the segment stays"
same "the oldest event is seq $second" \
	"$(tool trim main "$second")" "trim at the second segment"
same "$second" "$(verified oldest)" "the first is gone"
same "the oldest event is seq $third" "$(tool trim main "$third")" "trim at the third"
same "the oldest event is seq $third" "$(tool trim main "$third")" "trim once more"
same "the oldest event is seq $third" "$(tool trim main 0)" "never back"
same "$third" "$(number oldest "$(tool info main --json)")" "info: oldest"
same "$third" "$(number log_oldest "$(tool info main --json)")" "info: log_oldest"
ends 1 tool trim main 3001
mentions "seq 3001 is not there yet"
mentions 3000
same "$third" "$(verified oldest)" "oldest after a refusal"
ends 2 tool trim main x
ends 1 tool trim bare 0
mentions "has no log to trim"
same value\ 3000 "$(tool get main key3000)" "a key after trimming"
tool trim main 3000 >/dev/null
same 1 "$(segments | wc -l)" "the newest segment stays"
lines 3001 6000 | tool load main 2>/dev/null
same 6000 "$(verified newest)" "newest after trimming"

echo "# what was trimmed stays gone, and seq goes on"
oldest=$(verified oldest)
daemon_kill
daemon_restart
same "$oldest" "$(verified oldest)" "oldest after a restart"
same 3000 "$(number oldest "$(tool info main --json)")" "info: oldest after a restart"
same "value 1" "$(tool get main key1)" "a key whose last change was trimmed"
same "value 6000" "$(tool get main key6000)" "a key whose last change is held"
tool put main another one
same 6001 "$(verified newest)" "newest after a restart"

echo "# repair: not while somebody writes"
ends 1 tool repair main --drop-after 6000
mentions "somebody is writing"
same 6001 "$(verified newest)" "newest after a refusal"
marker=$(redis -n 0 RINGTAIL.MARKER)
lines 6002 9000 | tool load main 2>/dev/null
daemon_kill
ends 1 tool repair "$log" --drop-after 9001
mentions "the log ends with seq 9000"
[[ $(tool repair "$log" --drop-after 9000) == "nothing follows seq 9000"* ]] ||
	fail "repair of nothing"
ends 2 tool repair "$log"
ends 2 tool repair "$log" --drop-after x

echo "# damage in the middle: the feed does not start, others do"
victim=$(segments | tail -n 2 | head -n 1)
printf 'xxxx' | dd of="$victim" bs=1 seek=20000 conv=notrunc status=none
ends 1 tool verify "$log"
mentions "damaged at byte"
mentions "$(basename "$victim")"
keep=$(sed -E 's/.*--drop-after ([0-9]+).*/\1/' <<<"$said")
[[ $(tool verify "$log" --json 2>/dev/null) == *'"valid":false,"damage":"'* ]] ||
	fail "verify --json of a damaged log"
ends 1 tool dump "$victim"
mentions "unfinished or damaged"
daemon_restart
ends 1 tool put main key value
mentions "not served"
mentions "ringtail repair --drop-after $keep"
tool put bare key value
daemon_kill

echo "# repaired: up to there it is as it was, in a new epoch"
told=$(tool repair "$log" --drop-after "$keep")
[[ $told == "dropped everything after seq $keep"* ]] || fail "$told"
same "$keep" "$(verified newest "$log")" "newest after repair"
daemon_restart
same "value $keep" "$(tool get main "key$keep")" "the last key that stayed"
ends 1 tool get main key9000
same 2 "$(verified epochs)" "epochs"
tool put main after repair
same $((keep + 1)) "$(verified newest)" "seq goes on after the last that stayed"
same 6002 "$( (tool watch main --from "$marker" --count 1 --json || true) |
	sed -E 's/.*"seq":([0-9]+).*/\1/')" "a marker from before the cut"
echo "# done"
