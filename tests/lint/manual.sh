#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# manual.sh PROGRAM PAGE - every flag, command and variable that --help names is in
# the manual, and --help fits a terminal
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

program=$1
page=$2

[ -f "$page" ] || { say "$page is missing"; verdict; }

check()
{
	local text max=$(($# ? 24 : 40)) # the list of commands is longer

	text=$("$program" "$@" --help 2>&1 </dev/null) || say "$* --help ends with $?"
	[ "$(wc -l <<<"$text")" -le $max ] || say "$* --help has more than $max lines"
	[ "$(wc -L <<<"$text")" -le 80 ] || say "$* --help has a line of more than 80 columns"
	while read -r flag; do
		grep -qE -- "$flag\b" <(sed 's/\\//g' "$page") || say "$page: no $flag ($* --help)"
	done < <(grep -oE -- '(^|[^-A-Za-z0-9])--[a-z][a-z0-9-]+' <<<"$text" |
		grep -oE -- '--[a-z][a-z0-9-]+' | sort -u)
}

check
# Commands: words indented in the help of the program, each with a help of its own.
for command in $("$program" --help | grep -oE '^  [a-z]{2,}\b' | tr -d ' ' | sort -u); do
	"$program" "$command" --help >/dev/null 2>&1 || continue
	check "$command"
	grep -q -- "$command" "$page" || say "$page: no command $command"
done

verdict
