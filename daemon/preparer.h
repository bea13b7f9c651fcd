/* SPDX-License-Identifier: MIT */
/*
 * preparer.h - a thread that makes the next segment of a log ready
 *
 * To reserve it takes time: on tmpfs all its memory is found then.  For `disk` it is
 * written as well: the first write to a block that was only reserved makes the file
 * system note that it is in use, and a sync has to wait for that note, twice to five
 * times as long as for a block that has been written before.  So the thread writes
 * zeros, well before the log gets there; in small pieces, since a large folio takes
 * longer to write back when a few bytes of it have changed.  What has become of the
 * segment when it is needed is good: where zeros are lacking a sync takes longer.  On a
 * disk that is nearly full, with no room for two, none is made.
 *
 *	idle  --begin-->  making, as far as rt_preparer_allow() says  --take-->  idle
 *
 * All calls are for one thread, the owner's.
 */
#ifndef RINGTAIL_DAEMON_PREPARER_H
#define RINGTAIL_DAEMON_PREPARER_H

#include "store/log.h"

struct rt_preparer;

/* For the log's folder. */
int rt_preparer_open(const struct rt_log *log, struct rt_preparer **ret);
/* What was made goes.  NULL is fine. */
void rt_preparer_close(struct rt_preparer *preparer);

/* Begins with a segment of @size bytes.  Idle only. */
void rt_preparer_begin(struct rt_preparer *preparer, uint64_t size);

/* @n_bytes more may be written. */
void rt_preparer_allow(struct rt_preparer *preparer, uint64_t n_bytes);

/* How much is reserved: all of it, or 0 as long as nothing is.  Does not wait. */
uint64_t rt_preparer_reserved(struct rt_preparer *preparer);

/*
 * Waits until it is reserved, or for a write that is under way, and hands over what
 * there is, with its name RT_LOG_NEXT_NAME: its size, and a descriptor; 0 if it could
 * not be made.
 */
uint64_t rt_preparer_take(struct rt_preparer *preparer, int *ret_fd);

#endif
