/* SPDX-License-Identifier: MIT */
#include "shm/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <time.h>

#include "shm/layout.h"
#include "shm/segment.h"

uint64_t rt_lock_patience(int dir_fd)
{
	AUTO_CLOSE int fd =
		openat(dir_fd, "ring", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint32_t life;

	if (fd < 0 || pread(fd, &life, sizeof(life),
			    RT_PAGE + offsetof(struct rt_hot, life)) != sizeof(life))
		return RT_LOCK_UNKNOWN_NS;
	return life & FUTEX_OWNER_DIED ? RT_LOCK_DYING_NS : 0;
}

static int try_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? RT_E_BUSY : -errno;
}

int rt_lock_take(int fd, uint64_t (*patience_ns)(const void *arg), const void *arg)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC);
	int r;

	while ((r = try_lock(fd)) == RT_E_BUSY &&
	       rt_now_ns(CLOCK_MONOTONIC) - begun < patience_ns(arg))
		(void)nanosleep(&pause, NULL); /* cut short: looks sooner */
	return r;
}
