/* SPDX-License-Identifier: MIT */
/*
 * syncer.h - a thread that writes and syncs the batches of a log
 *
 *	 offer                the thread begins            ... has done it
 *	------->  offered  ----------------------->  busy  ---------------->  done
 *	             |                                                          |
 *	             +---- retract: it can be added to                      end +
 *
 * Two at most are with it, so that the disk has the next one at once while its owner
 * has not looked at the one before.  They are begun in their order, each when the one
 * before is on disk, and none once one has failed.  All calls are for one thread, the
 * owner's; from offer to end the batch and the log's newest segment are left alone.
 */
#ifndef RINGTAIL_DAEMON_SYNCER_H
#define RINGTAIL_DAEMON_SYNCER_H

#include "store/log.h"

#define RT_SYNCS_MAX 2u

struct rt_syncer;

struct rt_sync_job {
	const struct rt_log *log;
	struct rt_batch *batch; /* is sealed with the next two */
	uint64_t salt;
	uint64_t synced_seq;
	int fd; /* as rt_log_place() says */
	uint64_t offset;
	/* what came of it, once it is done: see rt_log_write() */
	int result;
	bool sync_failed;
	uint64_t duration_ns; /* of write and sync */
};

/* @wake_fd: an eventfd that counts each batch that is done; stays the caller's. */
int rt_syncer_open(int wake_fd, struct rt_syncer **ret);
/* Waits for what is with it; outcomes are lost.  NULL is fine. */
void rt_syncer_close(struct rt_syncer *syncer);

/* Fewer than RT_SYNCS_MAX are with it. */
void rt_syncer_offer(struct rt_syncer *syncer, const struct rt_sync_job *job);

/* Takes the newest back, if it has not begun: was that so? */
bool rt_syncer_retract(struct rt_syncer *syncer);

/* How many are done, not having been ended?  Does not wait. */
unsigned rt_syncer_n_done(const struct rt_syncer *syncer);

/* Waits for the oldest; @ret is the job with what came of it.  Not when there is none.
 */
void rt_syncer_end(struct rt_syncer *syncer, struct rt_sync_job *ret);

#endif
