# SPDX-License-Identifier: MIT
# Completion of ringtail(1) for bash: commands, their options, feeds, keys of choices.
# shellcheck shell=bash disable=SC2207

# The words before the command decide where the feeds are.
_ringtail_common()
{
	local i
	common=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--dir | --socket) common+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
		esac
	done
}

_ringtail_feeds()
{
	ringtail "${common[@]}" ls --json 2>/dev/null |
		sed -n 's/^{"name":"\([A-Za-z0-9._-]*\)".*/\1/p'
}

_ringtail_options()
{
	ringtail "$@" --help 2>/dev/null | grep -oE '^  --[a-z-]+' | tr -d ' '
}

_ringtail()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local commands="ls info readers watch get put del publish load snapshot trim verify repair dump backup restore reset chmod chown"
	local common command="" n_words=0 i
	COMPREPLY=()
	_ringtail_common

	# The command, and how many words after it are no options.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--dir | --socket | --from | --until | --count | --prefix | --key | --op | \
			--on-gap | --cursor | --timeout | --wait | --txn | --format | --drop-after | --if-seq | --presence)
			i=$((i + 1)) ;;
		--range) i=$((i + 2)) ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			else
				n_words=$((n_words + 1))
			fi
			;;
		esac
	done

	case $prev in
	--dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--socket | --cursor) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--from) COMPREPLY=($(compgen -W "now oldest snapshot" -- "$cur")); return ;;
	--op) COMPREPLY=($(compgen -W "put delete message" -- "$cur")); return ;;
	--on-gap) COMPREPLY=($(compgen -W "error skip resync" -- "$cur")); return ;;
	--format) COMPREPLY=($(compgen -W "tab json" -- "$cur")); return ;;
	--until | --count | --prefix | --key | --range | --timeout | --wait | --txn | --drop-after | --if-seq | --presence) return ;;
	esac

	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$(_ringtail_options "$command") --dir --socket --help" \
			-- "$cur"))
	elif [ -z "$command" ]; then
		COMPREPLY=($(compgen -W "$commands" -- "$cur"))
	elif [ "$command" = dump ]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	elif [[ $command == ch* ]]; then
		[ "$n_words" = 1 ] && COMPREPLY=($(compgen -W "$(_ringtail_feeds)" -- "$cur"))
	elif [ "$command" != ls ] && [ "$n_words" = 0 ]; then
		COMPREPLY=($(compgen -W "$(_ringtail_feeds)" -- "$cur"))
	elif [[ $command == @(load|backup|restore) ]] && [ "$n_words" = 1 ]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}

complete -F _ringtail ringtail
