#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A log and a ring that do not know of each other: which of them goes on, and that
# nothing of either is lost on the way.
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

data=$work/data
feed=main,size=64K,segment=64K

at()
{
	redis-cli -s "$RINGTAIL_SOCKET" "$@"
}

# fill FIRST LAST: keys of these numbers
fill()
{
	seq "$1" "$2" | sed 's/.*/SET k& v&/' | at >/dev/null
}

# How many events are read from the very beginning, and nothing is missing
n_events()
{
	tool watch main --from 0 --until "$1" --json | grep -c '"op":"put"'
}

echo "# a log is begun with what the ring holds"
daemon_start --feed "$feed,durability=none"
fill 1 3
daemon_stop
daemon_start --data "$data" --feed "$feed"
same v2 "$(at GET k2)" "a key of the time before the log"
same 3 "$(n_events 3)" "events of the time before the log"
fill 4 1500
daemon_stop

echo "# a ring that went on without its log gives it what it lacks"
daemon_start --feed "$feed,durability=none"
at SET x 1 >/dev/null
daemon_stop
daemon_start --data "$data" --feed "$feed"
same 1501 "$(n_events 1501)" "events of ring and log together"
same 1501 "$(at DBSIZE)" "keys of both"
daemon_stop

echo "# a hole between the two is for a human to judge"
daemon_start --feed "$feed,durability=none"
fill 1 1500
daemon_stop
daemon_start --data "$data" --feed "$feed" --feed other
grep -q "its log in $data/main ends at seq 1501 and its ring begins at" "$daemon_log" ||
	fail "the hole is not told"
same OK "$(at -n 1 SET a b)" "the other feed"
daemon_stop
[ -e "$data/main/00000000000000000001.log" ] || fail "the log is gone"

echo "# a log that was closed properly and lost its end is damaged"
rm -r "$RINGTAIL_DIR/main"
last=$(find "$data/main" -name '*.log' | sort | tail -n 1)
end=$(LC_ALL=C grep -obUaP '[^\x00]' "$last" | tail -n 1 | cut -d : -f 1)
printf '\377' | dd of="$last" bs=1 seek="$end" conv=notrunc 2>/dev/null
: >"$daemon_log"
daemon_start --data "$data" --feed "$feed" --feed other
grep -q "it was closed at seq 1501 and ends at 1500" "$daemon_log" ||
	fail "the lost end is not told"
daemon_stop
tool verify "$data/main" >/dev/null 2>&1 && fail "verify calls it whole"

echo "# who may read the ring may read the log, and nobody else"
rm -rf "$data/main" "$RINGTAIL_DIR/main"
daemon_start --data "$data" --feed "$feed,mode=0644"
fill 1 2000
daemon_stop
daemon_start --data "$data" --feed "$feed,mode=0600"
same 0 "$(find "$data/main" -name '*.log' -perm /0077 | wc -l)" "segments open to others"
daemon_stop

echo "# a log in memory is none that was left elsewhere"
rm -rf "$RINGTAIL_DIR/main" "$data"
daemon_start --data "$data" --feed "$feed"
fill 1 3
daemon_stop
files=$(cd "$data/main" && find . | sort)
daemon_start --feed "$feed,durability=memory"
fill 4 6
same 6 "$(n_events 6)" "events of before and after"
[ ! -L "$RINGTAIL_DIR/main/log" ] || fail "the link is still there"
[ -d "$RINGTAIL_DIR/main/log" ] || fail "there is no log in memory"
same "$files" "$(cd "$data/main" && find . | sort)" "the log that was left"
daemon_stop
daemon_start --feed "$feed,durability=memory"
same 6 "$(at DBSIZE)" "keys of a log in memory"
daemon_stop
