#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_tool_completion.sh - what bash offers after the words of a ringtail command
# shellcheck source=tests/support/tool.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/tool.sh"

daemon_start --feed alpha,size=1M --feed beta,size=1M
ringtail() { tool "$@"; }
# shellcheck source=tools/ringtail.bash
. "$RINGTAIL_SOURCE_ROOT/tools/ringtail.bash"

# offers WANT WORD...: after these words, of which the last is being typed
offers()
{
	local want=$1

	shift
	COMP_WORDS=(ringtail "$@")
	# shellcheck disable=SC2034 # the completion reads it
	COMP_CWORD=$#
	COMPREPLY=()
	_ringtail
	same "$want" "${COMPREPLY[*]}" "after '$*'"
}

offers "ls info readers watch get put del publish load snapshot trim verify repair dump backup restore reset chmod chown" ""
offers "put publish" p
offers "alpha beta" watch ""
offers "alpha" watch a
offers "alpha beta" --dir "$RINGTAIL_DIR" watch ""
offers "alpha beta" watch --range a b ""
offers "" watch alpha ""
offers "now oldest snapshot" watch alpha --from ""
offers "--from" watch alpha --fr
offers "skip" watch alpha --on-gap s
offers "tab json" load alpha --format ""
offers "" ls ""
offers "alpha beta" verify ""
offers "" repair alpha --drop-after ""

# Every option that a command's help names is offered.
for command in ls info watch get del load verify repair backup reset; do
	while read -r flag; do
		COMP_WORDS=(ringtail "$command" "$flag")
		COMP_CWORD=2
		_ringtail
		[[ " ${COMPREPLY[*]} " == *" $flag "* ]] || fail "no $flag after $command"
	done < <(tool "$command" --help | grep -oE '^  --[a-z-]+' | tr -d ' ')
done
