# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# daemon.sh - for shell tests: a ringtaild of the test's own.  Source it:
#
#	. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"
#	daemon_start --feed main,size=1M
#	tool put main key value
#
# Sets and exports RINGTAIL_DIR and RINGTAIL_SOCKET; $daemon_pid, $daemon_log.
# Everything ends and goes away with the script.

set -euo pipefail

[ -x "${RINGTAIL_TEST_DAEMON:-}" ] || { echo "skipped: ringtaild is not built"; exit 77; }

PATIENCE=30 # seconds that anything may take on a slow machine
work=$(mktemp -d "${TMPDIR:-/dev/shm}/rt-test-XXXXXX")
export RINGTAIL_DIR=$work/feeds RINGTAIL_SOCKET=$work/socket
daemon_log=$work/ringtaild.log
daemon_pid=
daemon_args=()

fail()
{
	echo "FAILED: $*"
	[ ! -s "$daemon_log" ] || sed 's/^/ringtaild: /' "$daemon_log"
	exit 1
}

# same WANT GOT WHAT
same()
{
	[ "$1" = "$2" ] || fail "$3: wanted '$1', got '$2'"
}

# Asks a command every 10 ms until it succeeds.
within_patience()
{
	local end=$((SECONDS + PATIENCE))

	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.01
	done
}

answers()
{
	[ "$(redis-cli -s "$RINGTAIL_SOCKET" PING 2>/dev/null)" = PONG ]
}

daemon_restart()
{
	"$RINGTAIL_TEST_DAEMON" --dir "$RINGTAIL_DIR" --socket "$RINGTAIL_SOCKET" \
		"${daemon_args[@]}" >>"$daemon_log" 2>&1 </dev/null &
	daemon_pid=$!
	within_patience answers_or_ended
	kill -0 "$daemon_pid" 2>/dev/null || fail "ringtaild did not start"
}

answers_or_ended()
{
	answers || ! kill -0 "$daemon_pid" 2>/dev/null
}

daemon_start()
{
	daemon_args=("$@")
	daemon_restart
}

# daemon_end SIGNAL: sets $daemon_code
daemon_end()
{
	daemon_code=0
	kill -s "$1" "$daemon_pid"
	# shellcheck disable=SC2034 # for the caller
	wait "$daemon_pid" 2>/dev/null || daemon_code=$?
	daemon_pid=
}

daemon_kill()
{
	daemon_end KILL
}

daemon_stop()
{
	daemon_end TERM
}

tool()
{
	"$RINGTAIL_TEST_TOOL" "$@"
}

redis()
{
	redis-cli -s "$RINGTAIL_SOCKET" "$@"
}

clean_up()
{
	local jobs

	jobs=$(jobs -p)
	# shellcheck disable=SC2086 # a list of numbers
	[ -z "$jobs" ] || kill -9 $jobs 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT
