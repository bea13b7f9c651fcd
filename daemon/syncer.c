/* SPDX-License-Identifier: MIT */
#include "daemon/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

enum state {
	IDLE,
	BUSY,
	DONE,
	ENDING,
};

struct rt_syncer {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	_Atomic int state; /* enum state; stored with the mutex held */
	int wake_fd;
	/* what is to be done; the thread's while busy */
	const struct rt_log *log;
	const struct rt_batch *batch;
	uint64_t offset;
	int fd;
	/* what came of it; the owner's when done */
	int result;
	bool sync_failed;
};

static void move_to(struct rt_syncer *syncer, enum state state)
{
	(void)pthread_mutex_lock(&syncer->mutex); /* of a kind that cannot fail */
	atomic_store_explicit(&syncer->state, state, memory_order_release);
	(void)pthread_cond_broadcast(&syncer->changed);
	(void)pthread_mutex_unlock(&syncer->mutex);
}

/* Sleeps while it is in @state; returns the one that followed. */
static enum state wait_while(struct rt_syncer *syncer, enum state state)
{
	enum state now;

	(void)pthread_mutex_lock(&syncer->mutex);
	while ((now = (enum state)atomic_load_explicit(&syncer->state,
						       memory_order_relaxed)) == state)
		(void)pthread_cond_wait(&syncer->changed, &syncer->mutex);
	(void)pthread_mutex_unlock(&syncer->mutex);
	return now;
}

static void *work(void *arg)
{
	struct rt_syncer *syncer = arg;
	enum state state = IDLE;

	for (;;) {
		/* A batch that is done stays so until its owner has looked at it. */
		do {
			state = wait_while(syncer, state);
			if (state == ENDING)
				return NULL;
		} while (state != BUSY);
		syncer->result = rt_log_write(syncer->log, syncer->fd, syncer->batch,
					      syncer->offset, &syncer->sync_failed);
		move_to(syncer, DONE);
		/* Fails only when it is full: then a wake is due already. */
		(void)eventfd_write(syncer->wake_fd, 1);
		state = DONE;
	}
}

/* With all signals blocked: they are the loop's. */
static int start_thread(struct rt_syncer *syncer)
{
	sigset_t all, before;
	int e;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* cannot fail */
	e = pthread_create(&syncer->thread, NULL, work, syncer);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -e;
}

int rt_syncer_open(int wake_fd, struct rt_syncer **ret)
{
	struct rt_syncer *syncer = calloc(1, sizeof(*syncer));
	int r;

	if (!syncer)
		return -ENOMEM;
	syncer->wake_fd = wake_fd;
	(void)pthread_mutex_init(&syncer->mutex, NULL); /* cannot fail on Linux */
	(void)pthread_cond_init(&syncer->changed, NULL);
	r = start_thread(syncer);
	if (r < 0) {
		free(syncer);
		return r;
	}
	*ret = syncer;
	return 0;
}

void rt_syncer_close(struct rt_syncer *syncer)
{
	if (!syncer)
		return;
	(void)wait_while(syncer, BUSY);
	move_to(syncer, ENDING);
	(void)pthread_join(syncer->thread, NULL); /* it is there, and not joined yet */
	(void)pthread_cond_destroy(&syncer->changed);
	(void)pthread_mutex_destroy(&syncer->mutex);
	free(syncer);
}

void rt_syncer_begin(struct rt_syncer *syncer, const struct rt_log *log, int fd,
		     const struct rt_batch *batch, uint64_t offset)
{
	assert(syncer->state == IDLE);
	syncer->log = log;
	syncer->batch = batch;
	syncer->offset = offset;
	syncer->fd = fd;
	move_to(syncer, BUSY);
}

bool rt_syncer_is_done(const struct rt_syncer *syncer)
{
	return atomic_load_explicit(&syncer->state, memory_order_acquire) == DONE;
}

int rt_syncer_end(struct rt_syncer *syncer, bool *ret_sync_failed)
{
	assert(syncer->state != IDLE);
	(void)wait_while(syncer, BUSY);
	*ret_sync_failed = syncer->sync_failed;
	atomic_store_explicit(&syncer->state, IDLE, memory_order_relaxed);
	return syncer->result;
}
