/* SPDX-License-Identifier: MIT */
/*
 * marker.h - a position in a history, as text
 *
 *	00000000000003e8-9f86d081884c7d65-a1b2c3d4
 *	seq              epoch            check
 *
 * Lower-case hexadecimal, fixed width, so that markers of an epoch sort by seq.  The
 * check is the low half of XXH64 over seq and epoch as 16 little-endian bytes.  Pure.
 */
#ifndef RINGTAIL_SHM_MARKER_H
#define RINGTAIL_SHM_MARKER_H

#include "shm/base.h"

#define RT_MARKER_LEN 42u

void rt_marker_format(uint64_t seq, uint64_t epoch, char ret[RT_MARKER_LEN + 1]);

/* 0, or RT_E_MALFORMED with nothing set.  @len bytes, no terminating zero needed. */
int rt_marker_parse(const char *text, size_t len, uint64_t *ret_seq,
		    uint64_t *ret_epoch);

#endif
