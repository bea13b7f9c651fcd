/* SPDX-License-Identifier: MIT */
#include "daemon/preparer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/slice.h"
#include "shm/thread.h"

#define PIECE (UINT64_C(16) << 10)  /* of zeros in one write */
#define STEP  (UINT64_C(256) << 10) /* ... before they are synced */

struct rt_preparer {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* for both sides */
	const struct rt_log_io *io;
	int dir_fd;
	bool ending;   /* all below is changed with the mutex held */
	bool busy;     /* the thread is at it, without the mutex */
	bool failed;   /* nothing more is tried with this one */
	uint64_t size; /* of the one to make; 0: idle */
	uint64_t allowed;
	uint64_t done; /* bytes that were written */
	int fd;        /* -1: not made yet */
};

static int make(const struct rt_preparer *p, uint64_t size)
{
	(void)unlinkat(p->dir_fd, RT_LOG_NEXT_NAME, 0);
	/* Half of the room is for snapshots, without which nothing of the log can go,
	 * and for feeds that have more need of it. */
	if (rt_file_free(p->dir_fd, false) / 2 < size)
		return -ENOSPC;
	/* If it fails, who needs it tries again, and says what is wrong. */
	return rt_file_make(p->io, p->dir_fd, RT_LOG_NEXT_NAME, size);
}

static int write_zeros(const struct rt_preparer *p, uint64_t from, uint64_t to)
{
	static const uint8_t zeros[PIECE];
	int r = 0;

	while (!r && from < to) {
		size_t len = rt_min(to - from, sizeof(zeros));

		r = rt_file_write(p->io, p->fd, zeros, len, from);
		from += len;
	}
	return r ? r : rt_file_sync(p->io, p->fd);
}

/* One step, without the mutex. */
static void work_on(struct rt_preparer *p)
{
	uint64_t to = rt_min(p->done + STEP, p->size);
	int fd = p->fd, r = 0;

	p->busy = true;
	(void)pthread_mutex_unlock(&p->mutex); /* of a kind that cannot fail */
	if (fd < 0)
		fd = make(p, p->size);
	else
		r = write_zeros(p, p->done, to);
	(void)pthread_mutex_lock(&p->mutex);
	p->busy = false;
	p->failed = fd < 0 || r < 0;
	if (p->fd >= 0 && !r)
		p->done = to;
	p->fd = fd < 0 ? -1 : fd;
	(void)pthread_cond_broadcast(&p->changed);
}

static bool has_work(const struct rt_preparer *p)
{
	if (!p->size || p->failed)
		return false;
	return p->fd < 0 ||
	       (p->done < p->size && p->allowed >= rt_min(p->done + STEP, p->size));
}

static void *work(void *arg)
{
	struct rt_preparer *p = arg;

	rt_slice_set(RT_SLICE_USUAL);
	(void)pthread_mutex_lock(&p->mutex);
	while (!p->ending) {
		if (has_work(p))
			work_on(p);
		else
			(void)pthread_cond_wait(&p->changed, &p->mutex);
	}
	(void)pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static void free_preparer(struct rt_preparer *p)
{
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->mutex);
	rt_close_fd(&p->dir_fd);
	free(p);
}

int rt_preparer_open(const struct rt_log *log, struct rt_preparer **ret)
{
	struct rt_preparer *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->fd = -1;
	p->io = log->config.io;
	(void)pthread_mutex_init(&p->mutex, NULL); /* cannot fail on Linux */
	(void)pthread_cond_init(&p->changed, NULL);
	p->dir_fd = fcntl(log->dir_fd, F_DUPFD_CLOEXEC, 3);
	r = p->dir_fd < 0 ? -errno : rt_thread_start(&p->thread, work, p);
	if (r < 0) {
		free_preparer(p);
		return r;
	}
	*ret = p;
	return 0;
}

void rt_preparer_close(struct rt_preparer *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->mutex);
	p->ending = true;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->mutex);
	(void)pthread_join(p->thread, NULL); /* it is there, and not joined yet */
	if (p->fd >= 0)
		(void)unlinkat(p->dir_fd, RT_LOG_NEXT_NAME, 0); /* else the next does */
	rt_close_fd(&p->fd);
	free_preparer(p);
}

void rt_preparer_begin(struct rt_preparer *p, uint64_t size)
{
	(void)pthread_mutex_lock(&p->mutex);
	assert(!p->size);
	p->size = size;
	p->failed = false;
	p->done = p->allowed = 0;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->mutex);
}

void rt_preparer_allow(struct rt_preparer *p, uint64_t n_bytes)
{
	(void)pthread_mutex_lock(&p->mutex);
	p->allowed += n_bytes;
	if (has_work(p))
		(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->mutex);
}

static uint64_t reserved(const struct rt_preparer *p)
{
	return p->fd < 0 ? 0 : p->size;
}

uint64_t rt_preparer_reserved(struct rt_preparer *p)
{
	uint64_t size;

	(void)pthread_mutex_lock(&p->mutex);
	size = reserved(p);
	(void)pthread_mutex_unlock(&p->mutex);
	return size;
}

uint64_t rt_preparer_take(struct rt_preparer *p, int *ret_fd)
{
	uint64_t size;

	(void)pthread_mutex_lock(&p->mutex);
	p->allowed = 0;
	while (p->busy || (p->fd < 0 && !p->failed))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	size = reserved(p);
	*ret_fd = p->fd;
	p->fd = -1;
	p->size = 0;
	(void)pthread_mutex_unlock(&p->mutex);
	return size;
}
