/* SPDX-License-Identifier: MIT */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "shm/segment.h"

#define LOCK_NAME "lock"

static int try_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? RT_E_BUSY : -errno;
}

int rt_log_lock(int dir_fd, bool make, uint64_t patience_ns)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC);
	int r;

	/* For its own user alone: whoever can open it can keep a writer out. */
	AUTO_CLOSE int fd =
		openat(dir_fd, LOCK_NAME,
		       O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);

	if (fd < 0)
		return -errno;
	while ((r = try_lock(fd)) == RT_E_BUSY &&
	       rt_now_ns(CLOCK_MONOTONIC) - begun < patience_ns)
		(void)nanosleep(&pause, NULL); /* cut short: looks sooner */
	return r < 0 ? r : rt_take_fd(&fd);
}
