/* SPDX-License-Identifier: MIT */
#include "store/window.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/*
 * Where blocks that are reserved stay what a store goes to, and if they are reserved.
 * Else a new one may be needed, for a hole, a copy or a checksum, and a full disk would
 * be a SIGBUS.
 */
static bool is_fit(int fd)
{
	struct statfs fs;
	struct stat st;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
		fs.f_type == TMPFS_MAGIC) &&
	       fstat(fd, &st) == 0 && st.st_blocks * 512 >= st.st_size;
}

static bool open_map(struct rt_window *w, int fd, uint64_t size)
{
	void *map = MAP_FAILED;

	if (is_fit(fd))
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	w->unfit = map == MAP_FAILED;
	if (w->unfit)
		return false;
	w->map = map;
	w->size = size;
	return true;
}

/* They stay in memory, as part of the file. */
static void let_go(struct rt_window *w, uint64_t end)
{
	if (end > w->left)
		(void)madvise(w->map + w->left, end - w->left, MADV_DONTNEED);
	w->left = rt_max(w->left, end);
}

bool rt_window_wants(struct rt_window *w, int fd, uint64_t offset, uint64_t end,
		     struct iovec *ret)
{
	uint64_t page, from, to;

	w->ahead = rt_max(w->ahead, RT_WINDOW_LEAST);
	if (!w->is_used || w->unfit || w->asked > w->ready || offset >= end ||
	    w->ready >= rt_min(offset + w->ahead / 2, end))
		return false;
	page = page_size();
	end = rt_round_up(end, page);
	if (!w->map && !open_map(w, fd, end))
		return false;
	let_go(w, rt_round_down(offset, page));
	from = rt_max(w->ready, w->left);
	to = rt_min(rt_round_up(offset + w->ahead, page), end);
	if (to <= from)
		return false;
	w->asked = to;
	*ret = (struct iovec){ w->map + from, to - from };
	return true;
}

void rt_window_got(struct rt_window *w, int result)
{
	if (w->asked <= w->ready)
		return;
	if (result >= 0) {
		w->ready = w->asked;
		return;
	}
	w->asked = w->ready; /* and again */
	if (result == -EINTR || result == -EAGAIN)
		return;
	rt_window_close(w);
	w->unfit = true;
}

bool rt_window_takes(struct rt_window *w, uint64_t offset, size_t len)
{
	w->is_used = len <= RT_WINDOW_BATCH;
	if (RT_LIKELY(w->is_used && w->map && offset + len <= w->ready))
		return true;
	if (w->is_used && w->map)
		w->ahead = rt_min(2 * w->ahead, RT_WINDOW_MOST);
	return false;
}

int rt_window_store(struct rt_window *w, const struct rt_log_io *io, int fd,
		    const void *data, size_t len, uint64_t offset)
{
	if (io)
		io->store(fd, w->map + offset, data, len, (off_t)offset);
	else
		memcpy(w->map + offset, data, len);
	return w->torn ? -EIO : 0;
}

/*
 * What was asked for may still be under way: then it is refused, or makes pages ready
 * of what comes to be there next, which harms nobody.
 */
void rt_window_close(struct rt_window *w)
{
	if (w->map)
		(void)munmap(w->map, w->size);
	*w = (struct rt_window){ .ahead = w->ahead, .is_used = w->is_used };
}

bool rt_window_fault(struct rt_window *w, const void *addr)
{
	const uint8_t *at = addr;

	if (!w->map || at < w->map || at >= w->map + w->size)
		return false;
	w->torn = true;
	return mmap(w->map, w->size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		    0) != MAP_FAILED;
}
