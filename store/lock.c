/* SPDX-License-Identifier: MIT */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>

#include "shm/lock.h"

#define LOCK_NAME "lock"

static uint64_t as_given(const void *patience_ns)
{
	return *(const uint64_t *)patience_ns;
}

int rt_log_lock(int dir_fd, bool make, uint64_t patience_ns)
{
	/* For its own user alone: whoever can open it can keep a writer out. */
	AUTO_CLOSE int fd =
		openat(dir_fd, LOCK_NAME,
		       O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = rt_lock_take(fd, as_given, &patience_ns);
	return r < 0 ? r : rt_take_fd(&fd);
}
