/* SPDX-License-Identifier: MIT */
/*
 * copying.h - a copy of a feed's table for a snapshot, in steps between those of
 * publishers
 *
 *	none --begin--> walking --step, step, ..--> walked --take--> none
 *
 * To read an event takes some 200 ns, to copy an entry some 30.  So where the state is
 * much smaller than what was logged since the last snapshot, the loop copies a part of
 * its table in each round, and a thread makes a snapshot of that and of the few events
 * that came meanwhile (store/build.h).
 *
 * Why that is exact.  Let S0 be the newest event that the table has when the walk
 * begins, S1 any event that ends a transaction and is not older than the newest that
 * the table has when the walk ends.  The copy keeps entries whose seq is at most S0;
 * the events of (S0, S1] are laid over it, in order.  Now take any key:
 *
 * - An event of (S0, S1] puts or deletes it.  The newest of these says everything of
 *   the key as of S1 - value, seq, time, what ends it, or that it is gone - and
 *   whatever the copy has of it is covered.
 * - None does.  Every change of the table is an event: it gives an entry its seq, or
 *   takes it out.  So as of S1 the key has what it had as of S0.  If that is an entry,
 *   it was in the table, unchanged, at every step; it kept its place (store/table.h),
 *   which was in use at the begin; the walk comes by each of those places, once; and
 *   its seq is at most S0: the copy has it, once.  If it is none, an entry that the
 *   walk saw would have been put later: by an event behind S1, and so behind S0, and
 *   not kept.
 *
 * When the table grows or shrinks, entries change their buckets, not their places.  No
 * step is amid a transaction, and one that is aborted has put every entry back where it
 * was, as it was, before the next step.  S0 and S1 are ends of transactions; S1 is in
 * history when it is used, and with it S0, which need not have been when it was noted.
 * That the log has (S0, S1] is the rule of retention.h: nothing goes that no snapshot
 * covers, and the newest one is of an event before S0.
 *
 * The memory of a copy stays with the feed for the next one, and goes by and by when
 * there is none.  Everything here belongs to the event loop.
 */
#ifndef RINGTAIL_DAEMON_COPYING_H
#define RINGTAIL_DAEMON_COPYING_H

#include "store/copy.h"

struct rt_feed;

enum rt_copying_stage {
	RT_COPYING_NONE = 0,
	RT_COPYING_WALKING = 1,
	RT_COPYING_WALKED = 2,
};

struct rt_copying {
	enum rt_copying_stage stage;
	bool recent;         /* one has begun since the last tick */
	struct rt_copy copy; /* copy.seq: S0 */
	uint32_t at, end;    /* places */
	uint64_t until;      /* S1 is not below it */
	uint64_t n_since;    /* of the log, when the newest step was made */
	uint64_t begun_ns;   /* CLOCK_MONOTONIC */
	uint64_t left;       /* of the step; see copying.c */
	int result;
};

/* Is there memory for a copy, and of so many bytes of log is one better than these? */
bool rt_copying_is_small(const struct rt_feed *feed);
uint64_t rt_copying_worth(const struct rt_feed *feed);
/* Is one better than to read @n_bytes of log? */
bool rt_copying_pays(const struct rt_feed *feed, uint64_t n_bytes);

/*
 * Begins.  The other one copies all at once, whatever its size, and leaves nothing to
 * the log: everything has to be in history.  -EAGAIN amid a transaction, -ENOMEM.
 */
int rt_copying_begin(struct rt_feed *feed);
int rt_copying_at_once(struct rt_feed *feed);

/* A step, if there is one to make: 1 none is left; 0; -ENOMEM.  Not amid a transaction.
 */
int rt_copying_step(struct rt_feed *feed);

/*
 * The copy, the caller's from now on, if all that it has is in history: 1, else 0.  To
 * be given back when it was used.
 */
int rt_copying_take(struct rt_feed *feed, struct rt_copy *ret, uint64_t *ret_ns);
void rt_copying_give_back(struct rt_feed *feed, struct rt_copy *copy);

/* Whatever there is of a copy is of no use any more. */
void rt_copying_end(struct rt_feed *feed);
/* The same, and its memory goes. */
void rt_copying_close(struct rt_feed *feed);

/* Once a second. */
void rt_copying_tick(struct rt_feed *feed);

#endif
