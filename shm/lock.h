/* SPDX-License-Identifier: MIT */
/*
 * lock.h - a file whose lock says who is the one
 */
#ifndef RINGTAIL_SHM_LOCK_H
#define RINGTAIL_SHM_LOCK_H

#include "shm/base.h"

/*
 * How long a lock that is held may still be let go of.  A process that was killed keeps
 * its files until the kernel has finished what it does for it, such as a sync: longer
 * is waited for one that is known to be dead already.
 */
#define RT_LOCK_UNKNOWN_NS UINT64_C(1000000000)
#define RT_LOCK_DYING_NS   UINT64_C(20000000000)

/*
 * How patient to be with the holder of the lock of the feed whose folder is @dir_fd, by
 * what its ring says: 0 if it lives.
 */
uint64_t rt_lock_patience(int dir_fd);

/*
 * Locks the file of @fd for as long as it is open; waits while @patience(@arg), asked
 * again and again, is more than what was waited.  0, RT_E_BUSY, or a negative errno.
 */
int rt_lock_take(int fd, uint64_t (*patience_ns)(const void *arg), const void *arg);

#endif
