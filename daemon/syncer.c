/* SPDX-License-Identifier: MIT */
#include "daemon/syncer.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "daemon/slice.h"
#include "shm/segment.h"
#include "shm/thread.h"

/* The disk has nothing to do while it waits for a processor; it needs one for some ten
 * microseconds at a time.  The shortest there is. */
#define SLICE_NS UINT64_C(100000)

struct rt_syncer {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t offered; /* or the end */
	pthread_cond_t done;
	int wake_fd;
	bool ending; /* this and the counters are changed with the mutex held */
	bool failed;
	/* Of all that ever were; job number n is in jobs[n % RT_SYNCS_MAX]. */
	uint64_t n_offered;
	uint64_t n_begun;
	_Atomic uint64_t n_done;
	uint64_t n_ended; /* the owner's */
	/* The owner's but from begun to done. */
	struct rt_sync_job jobs[RT_SYNCS_MAX];
};

static struct rt_sync_job *job_at(struct rt_syncer *syncer, uint64_t n)
{
	return &syncer->jobs[n % RT_SYNCS_MAX];
}

static void run(struct rt_sync_job *job)
{
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC);

	rt_batch_seal(job->batch, job->salt, job->synced_seq);
	job->result = rt_log_write(job->log, job->fd, job->batch, job->offset,
				   &job->sync_failed);
	job->duration_ns = rt_now_ns(CLOCK_MONOTONIC) - begun;
}

/* The next job, begun; NULL at the end.  With the mutex held. */
static struct rt_sync_job *begin_next(struct rt_syncer *syncer)
{
	while (syncer->failed || syncer->n_begun == syncer->n_offered) {
		if (syncer->ending)
			return NULL;
		(void)pthread_cond_wait(&syncer->offered, &syncer->mutex);
	}
	return job_at(syncer, syncer->n_begun++);
}

static void *work(void *arg)
{
	struct rt_syncer *syncer = arg;
	struct rt_sync_job *job;

	rt_slice_set(SLICE_NS);
	(void)pthread_mutex_lock(&syncer->mutex); /* of a kind that cannot fail */
	while ((job = begin_next(syncer))) {
		(void)pthread_mutex_unlock(&syncer->mutex);
		run(job);
		(void)pthread_mutex_lock(&syncer->mutex);
		syncer->failed |= job->result < 0;
		/* pairs with the acquire in rt_syncer_n_done() */
		atomic_fetch_add_explicit(&syncer->n_done, 1, memory_order_release);
		(void)pthread_cond_signal(&syncer->done);
		(void)pthread_mutex_unlock(&syncer->mutex);
		/* Fails only when it is full: then a wake is due already. */
		(void)eventfd_write(syncer->wake_fd, 1);
		(void)pthread_mutex_lock(&syncer->mutex);
	}
	(void)pthread_mutex_unlock(&syncer->mutex);
	return NULL;
}

int rt_syncer_open(int wake_fd, struct rt_syncer **ret)
{
	struct rt_syncer *syncer = calloc(1, sizeof(*syncer));
	int r;

	if (!syncer)
		return -ENOMEM;
	syncer->wake_fd = wake_fd;
	(void)pthread_mutex_init(&syncer->mutex, NULL); /* cannot fail on Linux */
	(void)pthread_cond_init(&syncer->offered, NULL);
	(void)pthread_cond_init(&syncer->done, NULL);
	r = rt_thread_start(&syncer->thread, work, syncer);
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
	(void)pthread_mutex_lock(&syncer->mutex);
	syncer->ending = true;
	(void)pthread_cond_signal(&syncer->offered);
	(void)pthread_mutex_unlock(&syncer->mutex);
	(void)pthread_join(syncer->thread, NULL); /* it is there, and not joined yet */
	(void)pthread_cond_destroy(&syncer->offered);
	(void)pthread_cond_destroy(&syncer->done);
	(void)pthread_mutex_destroy(&syncer->mutex);
	free(syncer);
}

void rt_syncer_offer(struct rt_syncer *syncer, const struct rt_sync_job *job)
{
	assert(syncer->n_offered - syncer->n_ended < RT_SYNCS_MAX);
	*job_at(syncer, syncer->n_offered) = *job;
	(void)pthread_mutex_lock(&syncer->mutex);
	syncer->n_offered++;
	(void)pthread_cond_signal(&syncer->offered);
	(void)pthread_mutex_unlock(&syncer->mutex);
}

bool rt_syncer_retract(struct rt_syncer *syncer)
{
	bool can;

	(void)pthread_mutex_lock(&syncer->mutex);
	can = syncer->n_begun < syncer->n_offered;
	syncer->n_offered -= can;
	(void)pthread_mutex_unlock(&syncer->mutex);
	return can;
}

unsigned rt_syncer_n_done(const struct rt_syncer *syncer)
{
	return (unsigned)(atomic_load_explicit(&syncer->n_done, memory_order_acquire) -
			  syncer->n_ended);
}

void rt_syncer_end(struct rt_syncer *syncer, struct rt_sync_job *ret)
{
	assert(syncer->n_ended < syncer->n_offered);
	if (!rt_syncer_n_done(syncer)) {
		(void)pthread_mutex_lock(&syncer->mutex);
		while (!rt_syncer_n_done(syncer))
			(void)pthread_cond_wait(&syncer->done, &syncer->mutex);
		(void)pthread_mutex_unlock(&syncer->mutex);
	}
	*ret = *job_at(syncer, syncer->n_ended++);
}
