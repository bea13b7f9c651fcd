/* SPDX-License-Identifier: MIT */
/*
 * history.h - what there is in a log, without reading it
 */
#ifndef RINGTAIL_TOOLS_HISTORY_H
#define RINGTAIL_TOOLS_HISTORY_H

#include <limits.h>

#include "tools/tool.h"

struct rt_history {
	char path[PATH_MAX]; /* of the folder; empty: there is no log */
	uint64_t n_bytes;    /* that it takes on its file system, reserved ones too */
	size_t n_segments;
	uint64_t oldest;         /* seq; 0: no event is in it */
	uint64_t oldest_time_ns; /* CLOCK_REALTIME; 0 likewise */
	size_t n_snapshots;      /* those that can be read; the newest of them: */
	uint64_t snapshot_seq;
	uint64_t snapshot_ns; /* when it was made, CLOCK_REALTIME */
	uint64_t snapshot_keys;
	uint64_t snapshot_bytes;
	int error; /* why nothing is known of it; 0 */
};

/* The log beside the ring of @feed, a name or the path of a ring. */
void rt_history_look(struct rt_tool *tool, const char *feed, struct rt_history *ret);

#endif
