#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test.sh [TEST...] - install what is missing, build, run all suites of minutes
#
# Arguments are names of tests, or options of `meson test`, as in
#	./test.sh --suite unit
#	./test.sh marker -v
# BUILD_DIR says where to build (default: build).  The planted faults of
# tests/mutations take longer: meson test -C build --setup all.
set -euo pipefail
cd "$(dirname "$0")"

build=${BUILD_DIR:-build}

./scripts/setup.sh build test
if [ ! -f "$build/build.ninja" ]; then
	meson setup "$build" >/dev/null || { cat "$build/meson-logs/meson-log.txt"; exit 1; } >&2
fi
ninja --quiet -C "$build"
exec meson test -C "$build" --no-rebuild --print-errorlogs --setup minutes "$@"
