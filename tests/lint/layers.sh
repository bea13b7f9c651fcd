#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# layers.sh - a folder includes only what stands below it
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

# folder: what its quoted includes may begin with, as an extended regular expression
rules="
shm      ^shm/
store    ^(store|shm)/
client   ^(client|store|shm)/
daemon   ^(daemon|store|shm)/
tools    ^(tools|store|shm)/
bench    ^(bench|store|shm)/
examples ^\$
"

# includes FOLDER: "file:line:what" for each include; quotes or angles stay on
includes()
{
	sources "$1/*.c" "$1/*.h" "$1/*.cpp" |
		xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include' |
		sed -E 's/^([^:]*:[0-9]*):[[:space:]]*#[[:space:]]*include[[:space:]]*/\1 /' || true
}

while read -r folder allowed; do
	[ -n "$folder" ] || continue
	while read -r where what _; do
		case $what in
		\"*) name=${what#\"}; name=${name%\"} ;;
		*) continue ;;
		esac
		[[ $name =~ $allowed ]] || say "$where: $folder must not include \"$name\""
		[ -f "$name" ] || say "$where: \"$name\" is not a path from the top"
	done < <(includes "$folder")
done <<<"$rules"

# The public header as a program sees it: everywhere but below the library.
while read -r where what _; do
	[ "$what" != "<ringtail.h>" ] || say "$where: shm must not know <ringtail.h>"
done < <(includes shm)

# One file of the daemon and one of the library know liburing.
knows_uring()
{
	[ "$1" = daemon/loop.c ] || [ "$1" = client/pollfd_uring.c ]
}

for folder in shm store client daemon tools examples; do
	while read -r where what _; do
		[ "$what" != "<liburing.h>" ] || knows_uring "${where%:*}" ||
			say "$where: <liburing.h> belongs to daemon/loop.c and client/pollfd_uring.c"
	done < <(includes "$folder")
done

# Shared words are touched through shm/order.h alone.
while read -r line; do
	say "$line: atomics stand in shm/order.h"
done < <(sources 'shm/*.c' 'store/*.c' 'client/*.c' 'daemon/*.c' |
	xargs -r grep -nHoE '\batomic_thread_fence\b|\bvolatile\b.*_Atomic' || true)

verdict
