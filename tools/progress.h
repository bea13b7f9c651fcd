/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a line on the terminal that says how far a load has come
 */
#ifndef RINGTAIL_TOOLS_PROGRESS_H
#define RINGTAIL_TOOLS_PROGRESS_H

#include "shm/base.h"

struct rt_progress {
	bool shown;           /* stderr is a terminal */
	uint64_t total_bytes; /* of input; 0: not known */
	int64_t begun_ns;     /* CLOCK_MONOTONIC */
	int64_t next_ns;      /* when to draw again */
};

void rt_progress_begin(struct rt_progress *progress, uint64_t total_bytes);

/* Cheap; draws a few times a second. */
void rt_progress_at(struct rt_progress *progress, uint64_t bytes, uint64_t events);

/* Clears the line; returns the nanoseconds since the begin. */
int64_t rt_progress_end(struct rt_progress *progress);

/* The line itself, without moves of the cursor, in @width columns.  Pure. */
void rt_progress_line(char *ret, size_t size, int width, uint64_t bytes,
		      uint64_t total_bytes, uint64_t events, int64_t elapsed_ns);

#endif
