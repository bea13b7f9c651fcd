/* SPDX-License-Identifier: MIT */
/*
 * when.h - the places where watching can start, as words
 */
#ifndef RINGTAIL_TOOLS_WHEN_H
#define RINGTAIL_TOOLS_WHEN_H

#include <ringtail.h>

#include "shm/base.h"

/*
 * Understands now, oldest, snapshot, a seq, a marker (not checked further), and a
 * time: RFC 3339 (local unless it says Z or an offset; 'T' or a blank; the time of
 * day or its seconds may be missing), @UNIX[.FRACTION], or a span before @now_ns as
 * in -30s, with ms, s, m, h, d.  Sets start and seq, marker or time_ns of @options.
 * Returns 0; -EINVAL with a text of what was expected.
 */
int rt_when_parse(const char *text, uint64_t now_ns, struct ringtail_options *options,
		  struct rt_fault *fault);

#endif
