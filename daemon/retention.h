/* SPDX-License-Identifier: MIT */
/*
 * retention.h - what of its past a feed keeps: snapshots, and the history after them
 *
 *	  gone        let go, segment not removed yet        held
 *	--------|--------------------------------------|--------------->
 *	      oldest segment          floor           ^
 *	                                 oldest snapshot kept: never below the floor - 1
 *
 * The rule: the oldest event that is held is at most one above the seq of the oldest
 * snapshot that is kept; without a snapshot nothing is ever let go.  So a snapshot
 * and the history after it are always the whole state.  Whoever wants to let go of
 * something - the limits of bytes and age, max_age, a trim - waits for a snapshot that
 * covers it, and one is made because of that.  Before anything goes
 * because of a snapshot all of it was read once.
 *
 * Everything here belongs to the event loop.
 */
#ifndef RINGTAIL_DAEMON_RETENTION_H
#define RINGTAIL_DAEMON_RETENTION_H

#include "daemon/checking.h"
#include "daemon/copying.h"

struct rt_feed;

struct rt_retention {
	struct rt_snapshotter *snapshotter; /* NULL: none are made, nothing is cut */
	struct rt_snap_job job;
	struct rt_copying copying; /* for a job to come */
	uint64_t n_since;          /* of the log as of the job, or of the newest one */
	uint64_t newest_since;
	uint64_t begun_ns;  /* the job; CLOCK_MONOTONIC */
	uint64_t opened_ns; /* CLOCK_REALTIME */
	uint64_t segment;   /* the log's newest when it was last looked at */
	uint64_t look_at;   /* log.n_since when it is to be looked at again */

	/* the snapshots that are there and open */
	unsigned n_kept;
	uint64_t newest, oldest; /* their seqs */
	uint64_t verified;       /* the one of which every byte was read; UINT64_MAX */
	bool vet;                /* the newest is to be, by the thread */
	uint64_t n_entries;      /* of the newest, as those below */
	uint64_t file_size;
	uint64_t created_ns;

	/* how it went so far */
	uint64_t n_made, n_failed;
	uint64_t duration_ns; /* of the last that was made */
	uint64_t peak_bytes;  /* of memory for it */
	uint64_t n_events;    /* that it merged */
	uint64_t asked;       /* the number of the newest request */
	uint64_t answered;    /* requests up to this one are settled */
	uint64_t answers;     /* what the job that runs will settle */
	bool from_table; /* files do not give the state: the next one is from memory */
	bool failing;    /* said so already */
	bool floor_failing; /* likewise, of what is to be let go */
	uint64_t retry_ns;  /* CLOCK_MONOTONIC; not before */
	uint64_t backoff_ns;
	char error[320]; /* of the newest attempt; empty: it worked */

	/* what is to be let go as soon as a snapshot covers it: everything below */
	uint64_t trim_to;
	uint64_t age_to;

	struct rt_checking checking; /* of what is kept */
};

/* After its journal was opened.  @snapshotter: NULL as above. */
void rt_retention_open(struct rt_feed *feed, struct rt_snapshotter *snapshotter);
/* Before its journal, or the folder of its log, goes: cancels and waits. */
void rt_retention_close(struct rt_feed *feed);

/* Once a second: takes what the thread has done, lets go, begins what is due. */
void rt_retention_tick(struct rt_feed *feed);

/* The same where there is something to do; for each round of the loop. */
void rt_retention_look(struct rt_feed *feed);

/* Is the next part of a copy to be made soon, whether anything comes or not? */
RT_INLINE bool rt_retention_goes_on(const struct rt_retention *keep)
{
	return keep->copying.stage == RT_COPYING_WALKING;
}

/* Asks for a snapshot of what is there now; its number. */
uint64_t rt_retention_ask(struct rt_feed *feed);

/*
 * Lets go of everything before event @seq, or before the first of its transaction: as
 * soon as it may.  The seq up to which that will be in @ret, and whether it is already
 * (1) or waits for a snapshot (0).  Negative, with a text in the journal's fault.
 */
int rt_retention_trim(struct rt_feed *feed, uint64_t seq, uint64_t *ret);

/*
 * Cancels a snapshot in the making, without waiting: who may read the feed has changed,
 * or all is about to be closed.  It is due again with the next look.
 */
void rt_retention_cancel(struct rt_feed *feed);

/* Is it time for a snapshot? */
bool rt_retention_is_due(const struct rt_feed *feed);

/* log.n_since when it will be, for the bytes alone. */
uint64_t rt_retention_due_at(const struct rt_feed *feed);

/*
 * Does somebody wait for it, does memory, or a disk, fill up without it, or will a
 * start take much longer than it should?
 */
bool rt_retention_is_urgent(const struct rt_feed *feed);

/* Oldest event that is held; the one to come if there is none. */
uint64_t rt_retention_oldest(const struct rt_feed *feed);

#endif
