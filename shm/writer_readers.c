/* SPDX-License-Identifier: MIT */
/*
 * The folder in which readers make the files by which they let themselves be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "shm/writer_parts.h"

/* Who may read the ring may make files, and not touch those of others. */
static mode_t mode_for(mode_t ring)
{
	return (mode_t)(S_ISVTX | 0700 | (ring & 0040 ? 0070 : 0) |
			(ring & 0004 ? 0007 : 0));
}

void rt_writer_open_readers(struct rt_writer *w)
{
	struct stat ring, there;

	/* Nothing of the feed depends on it: if it fails, nobody is seen. */
	(void)mkdirat(w->dir_fd, RT_READERS_NAME, 0700);

	AUTO_CLOSE int fd = openat(w->dir_fd, RT_READERS_NAME,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(w->segment.fd, &ring) < 0 || fstat(fd, &there) < 0)
		return;
	if (there.st_uid != ring.st_uid || there.st_gid != ring.st_gid)
		(void)fchown(fd, ring.st_uid, ring.st_gid);
	(void)fchmod(fd, mode_for(ring.st_mode));
}
