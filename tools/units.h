/* SPDX-License-Identifier: MIT */
/*
 * units.h - numbers for people
 */
#ifndef RINGTAIL_TOOLS_UNITS_H
#define RINGTAIL_TOOLS_UNITS_H

#include "shm/base.h"

struct rt_words {
	char text[40];
};

/* 512 B, 64 KiB, 1.5 MiB */
struct rt_words rt_size_words(uint64_t bytes);

/* 850 us, 12.3 ms, 4.2 s, 3 min 20 s, 5 h 12 min, 3 d 4 h */
struct rt_words rt_span_words(uint64_t ns);

/* 999, 12.3k, 4.56M; for rates and counts in narrow places */
struct rt_words rt_count_words(double count);

/* Local time, as in 2026-01-31 08:30:00.123 +0100 */
struct rt_words rt_time_words(uint64_t time_ns);

#endif
