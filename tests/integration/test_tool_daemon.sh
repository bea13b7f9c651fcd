#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_daemon.sh - ringtail get, put, del, publish and load, with a daemon
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

daemon_start --feed main,size=1M --feed copy,size=1M --feed kept,size=1M,prev_value=yes

# events FEED AFTER: what came after that seq, as "op key value" lines
events()
{
	(tool watch "$1" --from "$2" --timeout 0 --json || true) |
		sed -E 's/.*"op":"([a-z]*)","key":"([^"]*)"(,"value":"([^"]*)")?.*/\1 \2 \4/; s/ $//'
}

echo "# single keys"
tool put main key value
same value "$(tool get main key)" get
same '{"key":"key","value":"value"}' "$(tool get --json main key)" "get --json"
printf 'a\0\xff' | tool put main bytes -
same 6100ff "$(tool get main bytes --raw | od -An -tx1 | tr -d ' \n')" "get --raw"
same '{"key":"bytes","value_b64":"YQD/"}' "$(tool get main bytes --json)" "get of bytes"
tool put main -- -k ''
same '' "$(tool get main -- -k)" "get of an empty value"
tool publish main topic hello
same '{"deleted":1}' "$(tool del main key missing --json 2>/dev/null)" "del --json"
ends 1 tool get main key
mentions "no key 'key' in feed 'main'"
ends 1 tool get main topic
same "put key value
put -k
message topic hello
delete key" "$(events main 0 | grep -v bytes)" "events of single keys"

echo "# on condition, and by prefix"
tool put main cond one --nx
ends 1 tool put main cond two --nx
mentions "key 'cond' of feed 'main' is there"
tool put --xx main cond two
ends 1 tool put main none two --xx
mentions "no key 'none' in feed 'main'"
seq=$(tool get --seq main cond)
same "$(head_of main)" "$seq" "get --seq"
same "{\"key\":\"cond\",\"seq\":$seq}" "$(tool get --seq --json main cond)" "get --seq --json"
same 0 "$(tool get --seq main none)" "get --seq of no key"
tool put main cond three --if-seq "$seq"
ends 1 tool put main cond four --if-seq "$seq"
mentions "CONFLICT key 'cond' is at seq $((seq + 1)), not $seq"
ends 1 tool del main cond --if-seq "$seq"
mentions "CONFLICT key 'cond'"
same three "$(tool get main cond)" "get after a conflict"
tool del main cond --if-seq $((seq + 1))
ends 1 tool get main cond
for i in 1 2 3; do tool put main "pre/$i" v; done
same '{"deleted":3}' "$(tool del main --prefix pre/ --json)" "del --prefix"
ends 0 tool del main --prefix pre/
mentions "no key begins with 'pre/'"
ends 2 tool del main --prefix pre/ key
ends 2 tool del main
ends 2 tool put main k v --nx --xx
ends 2 tool put main k v --if-seq x
ends 2 tool del main a b --if-seq 3
ends 2 tool get main k --raw --seq

echo "# what a change replaced"
tool put kept key one
printf 'a\0\xff' | tool put kept key -
tool del kept key
same '"prev":"one"
"prev_b64":"YQD/"' "$(tool watch kept --from 0 --timeout 0 --json | grep -o '"prev[^,]*')" "prev in JSON"
same 2 "$(tool watch kept --from 0 --timeout 0 | grep -c ' was ')" "prev in lines"

echo "# what cannot be done"
ends 1 tool put nowhere key value
mentions nowhere
ends 2 tool put "$RINGTAIL_DIR/main/ring" key value
ends 1 tool --socket /nowhere/socket get main key
mentions "cannot connect to the daemon at /nowhere/socket"
ends 1 tool put main "$(printf '%05000d' 1)" value
mentions max_key

echo "# lines of text"
at=$(head_of main)
printf 'a\t1\nb\t2 \t3\n\na\t4' | tool load main 2>/dev/null
same "put a 1
put b 2 \\t3
put a 4" "$(events main "$at")" "load of lines"

at=$(head_of main)
printf 'a\t1\nb\t2\na\t3\nc\t4\n' | tool load main --txn 3 2>/dev/null
same "$((at + 3)) $((at + 3)) $((at + 3)) $((at + 4))" \
	"$(tool watch main --from "$at" --count 4 --json |
		sed -E 's/.*"rev":([0-9]+).*/\1/' | xargs)" "transactions of 3"

echo "# a recording, loaded elsewhere, is the same"
same '{"deleted":2}' "$(tool del main a b --json)" "del of two keys"
tool watch main --from 0 --timeout 0 --json --states >"$work/main.json" || true
tool load copy "$work/main.json" --txn rev 2>/dev/null
without_time()
{
	sed -E 's/,"time_ns":[0-9]+//; s/,"marker":"[^"]*"//; /"state"/d' "$1"
}
(tool watch copy --from 0 --timeout 0 --json || true) >"$work/copy.json"
same "$(without_time "$work/main.json")" "$(without_time "$work/copy.json")" "the copy"

echo "# errors name the line, and nothing after them is sent"
at=$(head_of main)
printf 'a\t1\nnonsense\nb\t2\n' >"$work/lines"
ends 1 tool load main "$work/lines"
mentions "line 2: no tab"
same "put a 1" "$(events main "$at")" "events before a bad line"
at=$(head_of main)
ends 1 tool load main "$work/lines" --txn 10
same "" "$(events main "$at")" "events of an unfinished transaction"
ends 1 tool load main "$work/lines" --keep-going
mentions "1 line made no sense"
same "put a 1
put b 2" "$(events main "$at")" "events around a bad line"

printf 'a\t1\n%05000d\t2\nb\t3\n' 1 >"$work/lines"
at=$(head_of main)
ends 1 tool load main "$work/lines" --keep-going
mentions "line 2: "
mentions max_key
same "put a 1
put b 3" "$(events main "$at")" "events around a refusal"
at=$(head_of main)
ends 1 tool load main "$work/lines" --txn 3
mentions "lines 1 to 3: "
same "" "$(events main "$at")" "events of a refused transaction"
printf '{"op":"delete","key":"a"}\n{"key":"%05000d","value":""}\n' 1 >"$work/lines"
ends 1 tool load main "$work/lines" --txn 2
mentions "lines 1 to 2: "
mentions max_key
same "" "$(events main "$at")" "events of a refused MULTI"

echo "# many"
seq 100000 | sed 's/.*/many\/&\tvalue &/' >"$work/lines"
at=$(head_of main)
same '{"events":100000,"transactions":100000,' \
	"$(tool load main "$work/lines" --json | cut -d , -f 1,2)," "summary"
same "$((at + 100000))" "$(head_of main)" "head after many"
same "value 77777" "$(tool get main many/77777)" "one of many"
tool load main "$work/lines" --txn 777 2>/dev/null
same "$((at + 200000))" "$(head_of main)" "head after many in transactions"

echo "# the daemon dies under a load"
(while cat "$work/lines"; do :; done) 2>/dev/null | tool load main 2>"$work/said" &
loader=$!
at=$(head_of main)
more() { [ "$(head_of main)" -gt "$at" ]; }
within_patience more || fail "the load does not begin"
daemon_kill
code=0
wait $loader || code=$?
same 1 $code "exit of a load whose daemon died"
grep -q 'lost the connection' "$work/said" || fail "$(cat "$work/said")"
echo "# done"
