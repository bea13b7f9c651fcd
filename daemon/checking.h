/* SPDX-License-Identifier: MIT */
/*
 * checking.h - what a start has left of old history is read while the feed is served
 *
 *	a part  --snapshotter-->  whole, or damaged: said, counted  -->  the part before
 *
 * Once for each opening, by the snapshotter's thread, a part a second.  Damage there
 * stops nothing: a snapshot and what is newer are the state, and only readers that go
 * back that far would notice.
 */
#ifndef RINGTAIL_DAEMON_CHECKING_H
#define RINGTAIL_DAEMON_CHECKING_H

#include "daemon/snapshotter.h"

struct rt_feed;

struct rt_checking {
	struct rt_snapshotter *snapshotter; /* NULL: nothing is checked */
	struct rt_snap_job job;
	struct rt_log_check rest; /* what is not checked yet */
	uint64_t next_ns;         /* CLOCK_MONOTONIC; not before */
	uint64_t n_damaged;       /* segments, as long as they are held */
	uint64_t whole_from;      /* what is damaged is below */
};

/* As those of retention.h, from which they are called. */
void rt_checking_open(struct rt_feed *feed, struct rt_snapshotter *snapshotter);
void rt_checking_tick(struct rt_feed *feed);
void rt_checking_cancel(struct rt_feed *feed);
void rt_checking_close(struct rt_feed *feed);

#endif
