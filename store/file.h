/* SPDX-License-Identifier: MIT */
/*
 * file.h - what everything does that reads and writes the files of a log
 */
#ifndef RINGTAIL_STORE_FILE_H
#define RINGTAIL_STORE_FILE_H

#include <sys/types.h>

#include "shm/base.h"

/* System calls that a test may want to fail.  Each as its namesake. */
struct rt_log_io {
	ssize_t (*pwrite)(int fd, const void *buf, size_t len, off_t at);
	int (*fdatasync)(int fd);
	int (*fallocate)(int fd, int mode, off_t at, off_t len);
	/* memcpy(3) to where that part of @fd is mapped; NULL: it never is. */
	void (*store)(int fd, void *to, const void *from, size_t len, off_t at);
};

/* @io, or the real ones if it is NULL. */
const struct rt_log_io *rt_io_of(const struct rt_log_io *io);

/* All of it; negative errno. */
int rt_file_write(const struct rt_log_io *io, int fd, const void *data, size_t len,
		  uint64_t at);

/* Bytes that are free on the file system of @fd, with those that are @reserved for root
 * or without; UINT64_MAX if it does not say. */
uint64_t rt_file_free(int fd, bool reserved);

/* Room for @size bytes, if the file system can promise that; negative errno. */
int rt_file_reserve(const struct rt_log_io *io, int fd, uint64_t size);

/*
 * A new file @name with that much room, in place of one that has the name.  Its
 * descriptor; a negative errno, and then there is none.
 */
int rt_file_make(const struct rt_log_io *io, int dir_fd, const char *name,
		 uint64_t size);

/* The data is on disk; negative errno. */
int rt_file_sync(const struct rt_log_io *io, int fd);

/* Who may read it.  (uid_t)-1 and (gid_t)-1: as created. */
int rt_file_set_access(int fd, mode_t mode, uid_t uid, gid_t gid);

/* How many bytes there were, less than @len only at the end; negative errno. */
ssize_t rt_file_read(int fd, void *to, size_t len, uint64_t at);

#endif
