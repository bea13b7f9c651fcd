/* SPDX-License-Identifier: MIT */
/*
 * lock.h - one writer of a log at a time
 *
 * The lock of the feed excludes writers of one ring; this one also those that have
 * their rings elsewhere and the log in common, and whoever repairs it.
 */
#ifndef RINGTAIL_STORE_LOCK_H
#define RINGTAIL_STORE_LOCK_H

#include "shm/base.h"

/*
 * Locks the log in folder @dir_fd; waits for a process that is just dying, @patience_ns
 * long.  @make: the file, if it is not there; else -ENOENT, and nobody writes the log.
 * A descriptor that holds the lock while it is open; RT_E_BUSY; negative errno.
 */
int rt_log_lock(int dir_fd, bool make, uint64_t patience_ns);

#endif
