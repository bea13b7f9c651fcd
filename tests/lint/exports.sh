#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# exports.sh LIBRARY ARCHIVE - header, version script, library and manual name the
# same functions, each fully described; the archive defines no stray names
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

header=client/include/ringtail.h
in_header=$(tr '\n' ' ' <$header | grep -oE 'RINGTAIL_API [^;(]*\(' |
	grep -oE 'ringtail_[a-z0-9_]+\($' | tr -d '(' | sort)
in_map=$(grep -oE '\bringtail_[a-z0-9_]+' client/ringtail.map | sort)
in_library=$(nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)

compare()
{
	local difference

	difference=$(diff <(echo "$2") <(echo "$4") | grep '^[<>]' || true)
	[ -z "$difference" ] || say "only in $1 (<) or only in $3 (>):"$'\n'"$difference"
}

[ -n "$in_header" ] || say "no function found in $header"
compare "$header" "$in_header" client/ringtail.map "$in_map"
compare "$header" "$in_header" "$1" "$in_library"

# Name of each function with those of the six words that its comment lacks.
described=$(awk '
	/^\/\*\*/ { comment = ""; inside = 1 }
	inside { comment = comment $0 "\n" }
	/\*\// { inside = 0 }
	/^RINGTAIL_API/ {
		match($0, /ringtail_[a-z0-9_]+\(/)
		name = substr($0, RSTART, RLENGTH - 1)
		lacks = ""
		n = split("Return Errors Ownership Threads Cost Since", words, " ")
		for (i = 1; i <= n; i++)
			if (comment !~ ("\n \\* ([A-Z][a-z]+, )*" words[i] "(, [A-Z][a-z]+)*:"))
				lacks = lacks " " words[i]
		if (comment !~ ("^/\\*\\*\n \\* " name "\\(\\) "))
			lacks = lacks " its-name"
		print name lacks
		comment = ""
	}' $header)
while read -r name lacks; do
	[ -z "$lacks" ] || say "$header: the comment of $name() lacks: $lacks"
	grep -q "$name" man/ringtail.3.scd || say "man/ringtail.3.scd does not know $name()"
done <<<"$described"
compare "$header" "$in_header" "the described functions" \
	"$(cut -d ' ' -f 1 <<<"$described" | sort)"

if [ -f "$2" ]; then
	stray=$(nm --defined-only -g "$2" 2>/dev/null |
		awk 'NF == 3 && $3 !~ /^(rt_|ringtail_|__)/ { print $3 }')
	[ -z "$stray" ] || say "$2 defines names of nobody's:"$'\n'"$stray"
fi

verdict
