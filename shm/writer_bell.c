/* SPDX-License-Identifier: MIT */
/*
 * The files of the bell: the one that is there, a new one, one that somebody broke.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/writer_parts.h"

#define BELL_NAME     "bell"
#define BELL_TMP_NAME ".bell.new"

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static int make_bell(struct rt_writer *w, struct rt_fault *fault)
{
	const struct rt_ring_config *config = &w->config;

	(void)unlinkat(w->dir_fd, BELL_TMP_NAME, 0);

	AUTO_CLOSE int fd = openat(w->dir_fd, BELL_TMP_NAME,
				   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return rt_writer_fail(fault, w->name, "create its bell", -errno);
	if (fallocate(fd, 0, 0, sizeof(struct rt_bell)) < 0)
		return rt_writer_fail(fault, w->name, "reserve its bell", -errno);
	if ((config->uid != (uid_t)-1 || config->gid != (gid_t)-1) &&
	    fchown(fd, config->uid, config->gid) < 0)
		return rt_writer_fail(fault, w->name, "give its bell to its owner",
				      -errno);
	if (fchmod(fd, config->bell_mode) < 0)
		return rt_writer_fail(fault, w->name, "set the mode of its bell",
				      -errno);

	/* Over an older bell's address if there is one: a SIGBUS handler may look. */
	struct rt_bell *bell =
		mmap(w->bell, sizeof(*bell), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE | (w->bell ? MAP_FIXED : 0), fd, 0);

	if (bell == MAP_FAILED)
		return rt_writer_fail(fault, w->name, "map its bell", -errno);
	bell->id = rt_random64();
	rt_store64(&bell->magic, RT_BELL_MAGIC);
	w->bell = bell;
	w->bell_id = bell->id;
	w->bell_ino = inode_of(fd);
	if (renameat(w->dir_fd, BELL_TMP_NAME, w->dir_fd, BELL_NAME) < 0)
		return rt_writer_fail(fault, w->name, "publish its bell", -errno);
	return 0;
}

static bool bell_is_whole(const struct rt_writer *w, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == sizeof(struct rt_bell) &&
	       (st.st_mode & 07777) == w->config.bell_mode &&
	       (w->config.uid == (uid_t)-1 || w->config.uid == st.st_uid) &&
	       (w->config.gid == (gid_t)-1 || w->config.gid == st.st_gid);
}

/* The bell that is there, since sleepers of the last writer may have rung it. */
static bool reuse_bell(struct rt_writer *w)
{
	uint64_t id = rt_own64(&w->hot->bell_id);
	AUTO_CLOSE int fd =
		openat(w->dir_fd, BELL_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || !bell_is_whole(w, fd) || !rt_bell_is(fd, id))
		return false;

	struct rt_bell *bell = mmap(NULL, sizeof(*bell), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_POPULATE, fd, 0);

	if (bell == MAP_FAILED)
		return false;
	w->bell = bell;
	w->bell_id = id;
	w->bell_ino = inode_of(fd);
	return true;
}

int rt_writer_open_bell(struct rt_writer *w, struct rt_fault *fault)
{
	int r;

	if (w->always) {
		rt_store64(&w->hot->bell_id, 0);
		return 0;
	}
	if (!reuse_bell(w)) {
		r = make_bell(w, fault);
		if (r < 0)
			return r;
	}
	rt_store64(&w->hot->bell_id, w->bell_id);
	return 0;
}

void rt_writer_wake_everybody(struct rt_hot *hot)
{
	for (unsigned topic = 0; topic < RT_TOPICS; topic++) {
		(void)rt_add32(&hot->wakes[topic], 1);
		rt_wake_word(&hot->wakes[topic]);
	}
	rt_wake_life(hot);
}

static bool is_in_place(const struct rt_writer *w)
{
	AUTO_CLOSE int fd =
		openat(w->dir_fd, BELL_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && bell_is_whole(w, fd) && inode_of(fd) == w->bell_ino &&
	       w->bell->id == w->bell_id;
}

int rt_writer_renew_bell(struct rt_writer *w, struct rt_fault *fault)
{
	int r;

	if (is_in_place(w))
		return 0;
	r = make_bell(w, fault);
	if (r < 0)
		return r;
	rt_store64(&w->hot->bell_id, w->bell_id);
	rt_writer_wake_everybody(w->hot);
	return 1;
}

int rt_writer_bell_check(struct rt_writer *w)
{
	return w->bell ? rt_writer_renew_bell(w, NULL) : 0;
}

bool rt_writer_bell_fault(struct rt_writer *w, const void *addr)
{
	const uint8_t *bell = (const uint8_t *)w->bell;
	const uint8_t *at = addr;

	if (!bell || at < bell || at >= bell + sizeof(struct rt_bell))
		return false;
	return mmap(w->bell, sizeof(struct rt_bell), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}
