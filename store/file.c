/* SPDX-License-Identifier: MIT */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

const struct rt_log_io *rt_io_of(const struct rt_log_io *io)
{
	static const struct rt_log_io real = {
		.pwrite = pwrite,
		.fdatasync = fdatasync,
		.fallocate = fallocate,
	};

	return io ? io : &real;
}

int rt_file_write(const struct rt_log_io *io, int fd, const void *data, size_t len,
		  uint64_t at)
{
	const uint8_t *from = data;

	while (len) {
		ssize_t n = rt_io_of(io)->pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ENOSPC;
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

uint64_t rt_file_free(int fd, bool reserved)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) < 0 || !st.f_blocks)
		return UINT64_MAX;
	return (uint64_t)(reserved ? st.f_bfree : st.f_bavail) * st.f_frsize;
}

/* Tried all the same, it would take what there is until it finds that it is not enough,
 * and whoever writes on this disk meanwhile would fail as well. */
static bool is_hopeless(int fd, uint64_t size)
{
	uint64_t left = rt_file_free(fd, true);
	struct stat st;

	if (size <= left || fstat(fd, &st) < 0)
		return false;
	return size - left > (uint64_t)st.st_blocks * 512;
}

int rt_file_reserve(const struct rt_log_io *io, int fd, uint64_t size)
{
	int r;

	if (is_hopeless(fd, size))
		return -ENOSPC;
	do {
		r = rt_io_of(io)->fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
	} while (r == -EINTR);
	if (r == -EOPNOTSUPP) /* then writes can meet a full disk; that is handled */
		r = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	return r;
}

int rt_file_make(const struct rt_log_io *io, int dir_fd, const char *name,
		 uint64_t size)
{
	int r;

	(void)unlinkat(dir_fd, name, 0);

	AUTO_CLOSE int fd =
		openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	r = rt_file_reserve(io, fd, size);
	if (r < 0) {
		(void)unlinkat(dir_fd, name, 0);
		return r;
	}
	return rt_take_fd(&fd);
}

int rt_file_sync(const struct rt_log_io *io, int fd)
{
	int r;

	do {
		r = rt_io_of(io)->fdatasync(fd) < 0 ? -errno : 0;
	} while (r == -EINTR); /* interrupted before it was over, not failed */
	return r;
}

int rt_file_set_access(int fd, mode_t mode, uid_t uid, gid_t gid)
{
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

ssize_t rt_file_read(int fd, void *to, size_t len, uint64_t at)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n =
			pread(fd, (uint8_t *)to + have, len - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}
