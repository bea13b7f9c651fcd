/* SPDX-License-Identifier: MIT */
/*
 * window.h - writing a segment by storing to memory
 *
 * Most of what a pwrite(2) of a batch costs is not the copy but the pages of the file:
 * each is found or allocated, put under the file and made ready for the disk.  A window
 * maps the segment, and somebody else has the pages ahead of the log made ready
 * (madvise(2), MADV_POPULATE_WRITE), so that the writer only copies:
 *
 *	.... mapped no more .... | stored to | ready | asked for | not yet ....
 *	                     left^     offset^       ^ready      ^asked
 *
 * To whoever reads the file, and to what a crash of the process leaves, there is no
 * difference.  The disk has been promised: only for files whose blocks are reserved, on
 * file systems where a store to those cannot fail.  What is not ready is written by
 * pwrite(2), and whatever goes wrong here means no more than that it always is.
 *
 * For small batches only: of a large one the call is a small part, and whoever makes
 * its pages ready has to do that on some processor while the log grows fast.
 *
 * Pages behind the log are let go early: a sync of the file write-protects those that
 * are mapped, one by one, and interrupts the writer for each.
 *
 * One thread at a time; rt_window_fault() is for a handler of SIGBUS on that thread.
 */
#ifndef RINGTAIL_STORE_WINDOW_H
#define RINGTAIL_STORE_WINDOW_H

#include <sys/uio.h>

#include "store/file.h"

#define RT_WINDOW_LEAST (UINT64_C(64) << 10) /* bytes to have ready ahead, */
#define RT_WINDOW_MOST  (UINT64_C(1) << 20)  /* more each time it was not enough */
#define RT_WINDOW_BATCH (UINT64_C(2) << 10)  /* larger ones are written */

struct rt_window {
	uint8_t *map; /* from the first byte of the file; NULL: none */
	uint64_t size;
	uint64_t left;
	uint64_t ready;
	uint64_t asked; /* more than ready: somebody is about it */
	uint64_t ahead;
	bool is_used;       /* for the newest batch, or would have been */
	bool unfit;         /* this file is to have none */
	volatile bool torn; /* somebody truncated the file under it */
};

/*
 * With a log that goes on at @offset of @fd and has room up to @end: which pages to
 * make ready now?  False if none; else rt_window_got() is called when that was done,
 * with its result.  Lets go of pages that are behind.
 */
bool rt_window_wants(struct rt_window *window, int fd, uint64_t offset, uint64_t end,
		     struct iovec *ret);

/* A late answer for a window that was closed is passed over. */
void rt_window_got(struct rt_window *window, int result);

/* Is a batch of @len bytes at @offset to be stored?  Else it is to be written. */
bool rt_window_takes(struct rt_window *window, uint64_t offset, size_t len);

/* Stores there; -EIO if the file has lost that part meanwhile. */
int rt_window_store(struct rt_window *window, const struct rt_log_io *io, int fd,
		    const void *data, size_t len, uint64_t offset);

/* The file is left; the next one may have a window. */
void rt_window_close(struct rt_window *window);

/*
 * Async-signal-safe.  If @addr is in the window, puts private memory in its place, so
 * that the interrupted store goes on, notes that it is torn, and returns true.
 */
bool rt_window_fault(struct rt_window *window, const void *addr);

#endif
