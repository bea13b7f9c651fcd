# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# tool.sh - for tests of ringtail in shell: a daemon of the test's own (daemon.sh), and
#           what the tool says of it.  Source it instead of daemon.sh.
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

[ -x "${RINGTAIL_TEST_TOOL:-}" ] || { echo "skipped: ringtail is not built"; exit 77; }

# ends CODE COMMAND...: sets $said, what went to standard error
ends()
{
	local want=$1 code=0

	shift
	said=$("$@" 2>&1 >/dev/null) || code=$?
	same "$want" "$code" "exit of $* ($said)"
}

# mentions TEXT: $said has it
mentions()
{
	[[ $said == *"$1"* ]] || fail "wanted '$1' in: $said"
}

# number NAME JSON
number()
{
	sed -E "s/.*\"$1\":([0-9]+).*/\1/" <<<"$2"
}

# head_of FEED: seq of its newest event
head_of()
{
	number head "$(tool info "$1" --json)"
}

# lines FROM TO: key and value with a tab, for load
lines()
{
	seq "$1" "$2" | sed 's/.*/key&\tvalue &/'
}
