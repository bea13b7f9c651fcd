#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# headers.sh COMPILER... - every header compiles alone, with a guard made of its path
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

while read -r header; do
	"$@" -std=gnu17 -D_GNU_SOURCE -I. -Iclient/include -Wall -Wextra -Werror \
		-Wno-unused-function -fsyntax-only -x c "$header" ||
		say "$header does not compile alone"
	guard=RINGTAIL_$(echo "${header%.h}" | tr 'a-z/.-' 'A-Z___')_H
	[ "$header" != client/include/ringtail.h ] || guard=RINGTAIL_H
	grep -q "^#define $guard\$" "$header" || say "$header: its guard is not $guard"
done < <(sources '*.h')

verdict
