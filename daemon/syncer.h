/* SPDX-License-Identifier: MIT */
/*
 * syncer.h - a thread that writes and syncs one batch of a log
 *
 *	            rt_syncer_begin()            the thread has done it
 *	   idle  --------------------->  busy  ------------------------>  done
 *	     ^                                                             |
 *	     +------------------  rt_syncer_end()  ------------------------+
 *
 * So that the next batch can be gathered while one is on its way to the disk.  All
 *calls are for one thread, the owner's; between begin and end the batch and the log's
 *newest segment are left alone.
 */
#ifndef RINGTAIL_DAEMON_SYNCER_H
#define RINGTAIL_DAEMON_SYNCER_H

#include "store/log.h"

struct rt_syncer;

/* @wake_fd: an eventfd that counts each batch that is done; stays the caller's. */
int rt_syncer_open(int wake_fd, struct rt_syncer **ret);
/* Waits for what is busy; its outcome is lost.  NULL is fine. */
void rt_syncer_close(struct rt_syncer *syncer);

/* Idle only; as rt_log_write(). */
void rt_syncer_begin(struct rt_syncer *syncer, const struct rt_log *log, int fd,
		     const struct rt_batch *batch, uint64_t offset);

/* Is it done?  Does not wait. */
bool rt_syncer_is_done(const struct rt_syncer *syncer);

/* Waits for it; the outcome is as that of rt_log_write().  Not when idle. */
int rt_syncer_end(struct rt_syncer *syncer, bool *ret_sync_failed);

#endif
