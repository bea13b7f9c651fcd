#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_feeds_again.sh - feeds that could not be opened are served when they can be
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

data=$work/data

at()
{
	redis-cli -s "$RINGTAIL_SOCKET" "$@"
}

# put FEED: a change to it succeeds
put()
{
	tool put "$1" k v 2>/dev/null
}

echo "# a folder that cannot be one"
mkdir "$data"
echo nonsense >"$data/second"
daemon_start --data "$data" --feed first,size=64K --feed second,size=64K
grep -q "feed 'second' is not served: .*; trying again" "$daemon_log" || fail "it is not told"
same OK "$(at SET k v)" "the other feed"
put second && fail "a feed without a log is served"
rm "$data/second"
within_patience put second || fail "it was not tried again"
same v "$(tool get second k)" "get of a feed that came later"
daemon_stop

echo "# a connection that had selected it may use it"
rm -rf "$data/second"
echo nonsense >"$data/second"
daemon_start --data "$data" --feed second,size=64K --feed first,size=64K
coproc client { exec redis-cli -s "$RINGTAIL_SOCKET" --raw; }
# shellcheck disable=SC2154 # of the coprocess
client_pid=$client_PID
# first by default
echo "SET k w" >&"${client[1]}"
read -r line <&"${client[0]}"
[[ $line == *"is not served"* ]] || fail "a feed without a log took '$line'"
rm "$data/second"
within_patience put second || fail "it was not tried again"
echo "SET k x" >&"${client[1]}"
while read -r line <&"${client[0]}"; do
	[ -z "$line" ] || break
done
same OK "$line" "a change by the connection of before"
kill -0 "$client_pid" || fail "the connection of before has ended"
kill "$client_pid"
wait "$client_pid" 2>/dev/null || true
daemon_stop

echo "# who may read it is as the settings say when it is served"
mode_of()
{
	stat -c %a "$RINGTAIL_DIR/second/ring"
}

settings()
{
	printf '[feed first]\nsize = 64K\n[feed second]\nsize = 64K\nmode = %s\n' "$1" \
		>"$work/settings"
}

rm -rf "${RINGTAIL_DIR:?}" "$data"
mkdir "$data"
echo nonsense >"$data/second"
settings 0644
daemon_start --data "$data" --config "$work/settings"
settings 0600
kill -HUP "$daemon_pid"
within_patience grep -q "SIGHUP: settings were read again" "$daemon_log" || fail "not read"
rm "$data/second"
within_patience put second || fail "it was not tried again"
same 600 "$(mode_of)" "the mode of its ring"
daemon_stop

echo "# another writer"
daemon_start --feed first,size=64K
first_pid=$daemon_pid first_socket=$RINGTAIL_SOCKET
RINGTAIL_SOCKET=$work/socket2
daemon_start --feed own,size=64K --feed first,size=64K
put first && fail "a feed has two writers"
put own || fail "the other feed is not served"
kill -9 "$first_pid"
wait "$first_pid" 2>/dev/null || true
within_patience put first || fail "it was not taken over"
daemon_stop
RINGTAIL_SOCKET=$first_socket

echo "# damage is for a human, who says when it is mended"
rm -r "${RINGTAIL_DIR:?}"
: >"$daemon_log"
daemon_start --feed first,size=64K --feed second,size=64K,durability=none
put second
daemon_stop
head -c 4096 /dev/urandom | dd of="$RINGTAIL_DIR/second/ring" conv=notrunc 2>/dev/null
daemon_restart
grep -q "feed 'second' is not served: .*; SIGHUP has it tried again" "$daemon_log" ||
	fail "SIGHUP is not told"
rm "$RINGTAIL_DIR/second/ring"
kill -HUP "$daemon_pid"
within_patience put second || fail "SIGHUP had it not tried"
daemon_stop

echo "# SIGHUP: it is opened as the settings say then"
cat >"$work/config" <<EOF
data = $data
[feed first]
size = 64K
[feed second]
size = 64K
mode = 0600
EOF
rm -rf "${RINGTAIL_DIR:?}" "$data"
mkdir "$data"
echo nonsense >"$data/second"
daemon_start --config "$work/config"
sed -i 's/mode = 0600/mode = 0640/' "$work/config"
rm "$data/second"
kill -HUP "$daemon_pid"
within_patience put second || fail "SIGHUP had it not tried"
same 640 "$(stat -c %a "$RINGTAIL_DIR/second/ring")" "the mode of its ring"
daemon_stop
