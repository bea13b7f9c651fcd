/* SPDX-License-Identifier: MIT */
/*
 * log_walk.h - a pass over everything that is in the folder of a log
 *
 *	snapshot  -->  config.base		segments  -->  visit
 *
 * The newest good snapshot, if anybody asks for one, stands for the events up to its
 * seq; segments that hold nothing above are checked (log_check.h), and not visited.
 */
#ifndef RINGTAIL_STORE_LOG_WALK_H
#define RINGTAIL_STORE_LOG_WALK_H

#include "store/log.h"

struct rt_walk {
	struct rt_log_reader reader;
	struct rt_segments segments;
	int (*visit)(void *arg, const struct rt_item *item);
	void *arg;
	enum rt_stop stop;
	uint64_t n_events;
	uint64_t n_bytes;
	uint64_t last_ns;
	uint64_t tail;      /* bytes of what is behind the last batch */
	uint64_t closed_at; /* seq that was to come when it was closed; 0: it was not */
	uint64_t looked_at; /* offset at which it was found to be damaged */
	uint64_t stillborn; /* first seq of a last segment that is none; 0: no such */
	const struct rt_log_base *base; /* NULL: every event is visited */
	bool has_base;
	uint64_t begin;    /* seq at which the log began; a later oldest one was cut */
	uint64_t base_seq; /* events above it are visited */
	uint64_t base_ns;  /* time of that event */
	uint64_t n_since;  /* bytes of batches that are not wholly below */
	struct rt_fault bad_snapshot;
	struct rt_kind kind;       /* its name: not known yet if it is empty */
	struct rt_log_check check; /* what is left of that */
};

/* RT_E_CORRUPT with the first damage, and what @visit and the like return. */
int rt_walk_all(struct rt_walk *walk, const char *path, struct rt_fault *fault);
void rt_walk_end(struct rt_walk *walk);

#endif
