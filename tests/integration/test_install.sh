#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_install.sh COMPILER... - what is installed is complete, and a program can be
# built with it
set -euo pipefail

dir=$(mktemp -d "${TMPDIR:-/tmp}/rt-test-XXXXXX")
trap 'rm -rf "$dir"' EXIT

fail()
{
	echo "FAILED: $*"
	exit 1
}

meson install -C "$RINGTAIL_BUILD_ROOT" --no-rebuild --destdir "$dir/root" >"$dir/log" 2>&1 ||
	{ cat "$dir/log"; fail "meson install"; }

one()
{
	find "$dir/root" -path "*$1" | head -n 1 | grep . || fail "$1 is not installed"
}

prefix=$(dirname "$(dirname "$(one /include/ringtail.h)")")
pc=$(one /pkgconfig/ringtail.pc)
one /libringtail.so >/dev/null
one /libringtail.a >/dev/null
LD_LIBRARY_PATH=$(dirname "$(one /libringtail.so)")
export LD_LIBRARY_PATH
for program in ringtail ringtaild; do
	"$(one "bin/$program")" --version >"$dir/version" || fail "$program --version"
	grep -q '[0-9]\.[0-9]' "$dir/version" || fail "$program says no version"
done
one /bash-completion/completions/ringtail >/dev/null
one /systemd/system/ringtaild.service >/dev/null
if command -v scdoc >/dev/null; then
	for page in ringtail.1 ringtail.3 ringtail_next.3 ringtaild.conf.5 ringtail.7 \
		ringtaild.8; do
		[ -e "$(one "/man/man${page##*.}/$page")" ] || fail "$page leads nowhere"
	done
fi

# As a user would: the header and the library by pkg-config alone.
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
flags=$(pkg-config --define-variable=prefix="$prefix" --cflags --libs ringtail)
# shellcheck disable=SC2086 # a list of words
"$@" -o "$dir/hello" "$RINGTAIL_SOURCE_ROOT/examples/hello_reader.c" $flags ||
	fail "hello_reader.c does not build with $flags"
code=0
RINGTAIL_DIR=$dir/none "$dir/hello" 2>"$dir/err" || code=$?
{ [ $code -eq 1 ] && grep -q '^end: ' "$dir/err"; } || fail "hello ended with $code"
