#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# quickstart.sh - see Ringtail at work on this machine, in about ten seconds
#
# Installs what is missing (Debian 12), builds, starts a daemon in a temporary place,
# feeds it this machine's package list and live figures, and watches them arrive.
# Leaves nothing behind but what was installed and the folder build-quickstart/.
set -euo pipefail
cd "$(dirname "$0")"

build="build-quickstart"
seconds=5

./scripts/setup.sh build try

echo "building in $build/ ..."
if [ ! -f $build/build.ninja ]; then
	meson setup $build -Dtests=disabled -Dman=disabled -Dbench=false -Dexamples=false \
		-Ddaemon=enabled -Dtools=enabled >/dev/null || {
		cat $build/meson-logs/meson-log.txt
		exit 1
	} >&2
fi
ninja --quiet -C $build
PATH=$PWD/$build/daemon:$PWD/$build/tools:$PATH

place=$(mktemp -d "${TMPDIR:-/tmp}/ringtail-XXXXXX")
[ ! -w /dev/shm ] || { rmdir "$place"; place=$(mktemp -d /dev/shm/ringtail-XXXXXX); }
export RINGTAIL_DIR=$place/feeds RINGTAIL_SOCKET=$place/socket
pids=()

clean_up()
{
	trap - EXIT
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

heading()
{
	printf '\n\033[1m%s\033[0m\n' "$*"
}
[ -t 1 ] || heading() { printf '\n%s\n' "$*"; }

heading "A daemon with one feed, 'main'"
echo "ringtaild --dir $RINGTAIL_DIR --socket $RINGTAIL_SOCKET --feed main,size=32M"
ringtaild --dir "$RINGTAIL_DIR" --socket "$RINGTAIL_SOCKET" --feed main,size=32M \
	2>"$place/log" &
pids+=($!)
for _ in $(seq 500); do
	[ "$(redis-cli -s "$RINGTAIL_SOCKET" PING 2>/dev/null || true)" != PONG ] || break
	kill -0 "${pids[0]}" 2>/dev/null || { cat "$place/log" >&2; exit 1; }
	sleep 0.02
done

heading "This machine's packages, a key each"
dpkg-query -W -f='package/${binary:Package}\t${Version}, ${Installed-Size} kB, ${Section}\n' |
	ringtail load main
echo "\$ ringtail get main package/bash"
ringtail get main package/bash || true

# One transaction every 100 ms: load, free memory, bytes of each interface.
live_values()
{
	local line name rest

	printf 'MSET live/load %s' "$(cut -d ' ' -f 1 /proc/loadavg)"
	while read -r name rest _; do
		[ "$name" != MemAvailable: ] || printf ' live/memory-kB %s' "$rest"
	done </proc/meminfo
	while IFS=: read -r name line; do
		[ -n "$line" ] || continue # the two lines of titles
		read -r rest _ <<<"$line"
		printf ' live/%s-bytes %s' "${name// /}" "$rest"
	done </proc/net/dev
	echo
}

publish()
{
	local end=$((SECONDS + seconds))

	while [ $SECONDS -lt $end ]; do
		live_values
		sleep 0.1
	done | redis-cli -s "$RINGTAIL_SOCKET" >/dev/null
}

# Shows every eighth transaction, with its age when this script has its first line.
show()
{
	local line now age rev=0 events=0 transactions=0
	local number='":([0-9]+)' text='":"([^"]*)"'
	local form="\"seq$number,\"rev$number.*\"key$text.*\"value$text.*\"time_ns$number"

	printf '%9s  %-24s %-18s %s\n' seq key value 'age on arrival'
	while read -r line; do
		now=${EPOCHREALTIME/[.,]/}
		[[ $line =~ $form ]] || continue
		events=$((events + 1))
		age="     in the same transaction"
		if [ "${BASH_REMATCH[2]}" != "$rev" ]; then
			rev=${BASH_REMATCH[2]}
			transactions=$((transactions + 1))
			printf -v age '%6d us' $((now - BASH_REMATCH[5] / 1000))
		fi
		[ $((transactions % 8)) -eq 1 ] || continue
		printf '%9s  %-24s %-18s %s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}" \
			"${BASH_REMATCH[4]}" "$age"
	done
	echo "$events events in $transactions transactions"
}

heading "Live values, published by redis-cli, followed through shared memory"
echo "\$ ringtail watch main --prefix live/ --json"
ringtail watch main --prefix live/ --json --timeout 1.5 > >(show) &
watcher=$!
pids+=("$watcher")
sleep 0.2
publish
wait "$watcher" || true # 5: nothing came for a while, which is the end here
sleep 0.1

heading "Who comes now: the state first, then its changes"
echo "\$ ringtail snapshot main"
ringtail snapshot main
echo "\$ ringtail watch main --from snapshot --prefix live/ --timeout 0.2"
ringtail watch main --from snapshot --prefix live/ --timeout 0.2 | tail -n 5 || true

heading "What the feed says about itself"
echo "\$ ringtail info main"
ringtail info main

heading "What to try next"
socket=/dev/shm/ringtail/ringtail.sock
[ "$(id -u)" -eq 0 ] || socket="\$XDG_RUNTIME_DIR/ringtail/ringtail.sock"
cat <<END
  In one terminal     $PWD/$build/daemon/ringtaild
  in another          redis-cli -s $socket SET greeting hello
  in a third          $PWD/$build/tools/ringtail watch main --from oldest
  kill -9 the daemon, start it again: the watcher goes on.
  A reader of your own: examples/hello_reader.c; the tests: ./test.sh
END
