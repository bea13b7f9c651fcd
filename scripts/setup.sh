#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# setup.sh WHAT... - install what is missing to build, try, test or check Ringtail
#
#	build	compiler, meson, libraries
#	try	what quickstart.sh shows it with
#	test	what the tests run
#	check	a second compiler, sanitizers, linters: what .ci/run needs
#
# Knows Debian 12 and relatives that have the same packages.  Says nothing and
# changes nothing when nothing is missing.  Uses sudo when not root.
set -euo pipefail

# A package, or command:package where another source of the command will do.
BUILD="gcc:gcc libc6-dev meson:meson ninja:ninja-build pkg-config:pkg-config
	liburing-dev libxxhash-dev libinih-dev libhiredis-dev libjansson-dev
	libsystemd-dev scdoc:scdoc"
TRY="redis-cli:redis-tools"
TEST="libcmocka-dev libsqlite3-dev g++:g++ redis-cli:redis-tools redis-server:redis-server strace:strace
	spin:spin git:git node:nodejs npm:npm"
CHECK="clang:clang clang-tidy:clang-tidy clang-format:clang-format libclang-rt-dev
	llvm-symbolizer:llvm valgrind:valgrind shellcheck:shellcheck codespell:codespell
	abidiff:abigail-tools"

usage()
{
	sed -n '4,14s/^# \{0,1\}//p' "$0"
	exit 2
}

installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints the packages that are missing of those given.
missing()
{
	local want

	for want in "$@"; do
		case $want in
		*:*) command -v "${want%%:*}" >/dev/null 2>&1 || echo "${want#*:}" ;;
		*) installed "$want" || echo "$want" ;;
		esac
	done
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Debian starts a service as soon as its package is there; the tests want the
# program of redis-server, not a server on this machine's port 6379.
POLICY=/usr/sbin/policy-rc.d
policy_made=

hold_services()
{
	if [ ! -e $POLICY ]; then
		policy_made=1
		printf '#!/bin/sh\nexit 101\n' | as_root tee $POLICY >/dev/null
		as_root chmod 755 $POLICY
	fi
}

release_services()
{
	[ -z "$policy_made" ] || as_root rm -f $POLICY
}

install()
{
	log=$(mktemp) # not local: the trap outlives this function
	trap 'release_services; rm -f "$log"' EXIT
	hold_services
	echo "setup: installing $*"
	if ! { as_root apt-get update -qq &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
			--no-install-recommends -o Dpkg::Use-Pty=0 "$@"; } \
		</dev/null >"$log" 2>&1; then
		cat "$log" >&2
		echo "setup: could not install: $*" >&2
		exit 1
	fi
	case " $* " in
	*" redis-server "*)
		# Not started now, and not at the next boot either.
		! command -v systemctl >/dev/null 2>&1 ||
			as_root systemctl disable -q redis-server 2>/dev/null || true
		echo "setup: redis-server is there for the tests; its service is off"
		;;
	esac
}

[ $# -gt 0 ] || usage
want=
for part in "$@"; do
	case $part in
	build) want="$want $BUILD" ;;
	try) want="$want $TRY" ;;
	test) want="$want $TEST" ;;
	check) want="$want $CHECK" ;;
	*) usage ;;
	esac
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: not a Debian system; needed are, by the names of Debian:" >&2
	printf "%s\n" "$want" | tr -s "[:space:]" " " >&2
	exit 0
fi

# shellcheck disable=SC2086 # lists of words
packages=$(missing $want | sort -u)
# shellcheck disable=SC2086
[ -z "$packages" ] || install $packages
