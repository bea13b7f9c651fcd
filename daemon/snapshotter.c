/* SPDX-License-Identifier: MIT */
#include "daemon/snapshotter.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/slice.h"
#include "shm/segment.h"
#include "shm/thread.h"

#define NICENESS   10
#define NICEST     19                   /* there is nothing beyond */
#define CHECK_PART (UINT64_C(64) << 20) /* bytes; others wait so long at most */

/*
 * ---- One job -----------------------------------------------------------------
 */

static int go_on(void *arg)
{
	return rt_is_canceled(arg) ? -ECANCELED : 0;
}

int rt_snapshot_vet(int dir_fd, const char *log_path, uint64_t seq,
		    _Atomic bool *cancel, struct rt_fault *fault)
{
	AUTO_FREE char *path = NULL;
	struct rt_snapshot unused;
	char name[32];
	int r;

	rt_snapshot_name(seq, name);
	if (asprintf(&path, "%s/%s", log_path, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = rt_snapshot_verify_while(dir_fd, name, path, go_on, cancel, fault, &unused);
	if (!r)
		return 1;
	if (r != RT_E_CORRUPT && r != -EIO)
		return r;
	return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static void remove_damaged(struct rt_snap_job *job)
{
	uint64_t seqs[RT_SNAPSHOTS_KEPT + 1];
	int dir_fd = job->build.out_dir_fd;
	size_t n = 0;

	if (rt_snapshots_list(dir_fd, seqs, RT_N(seqs), &n) < 0)
		return; /* the build meets it again */
	for (size_t i = 0; i < n && !job->cancel; i++)
		job->n_removed += !rt_snapshot_vet(dir_fd, job->log_path, seqs[i],
						   &job->cancel, &job->fault);
}

void rt_snap_job_run(struct rt_snap_job *job)
{
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC);

	rt_fault_set(&job->fault, "out of memory");
	if (job->vet) {
		job->result =
			rt_snapshot_vet(job->build.out_dir_fd, job->log_path,
					job->build.limit, &job->cancel, &job->fault);
		return;
	}
	if (job->check) {
		job->result = rt_log_check_on(job->log_path, &job->rest, CHECK_PART,
					      &job->cancel, &job->fault);
		return;
	}
	if (job->verify)
		remove_damaged(job);
	job->result = rt_snapshot_build(&job->build, &job->fault, &job->built);
	if (job->result >= 0)
		(void)rt_snapshots_prune(job->build.out_dir_fd); /* with the next one */
	job->duration_ns = rt_now_ns(CLOCK_MONOTONIC) - begun;
}

void rt_snap_job_clear(struct rt_snap_job *job)
{
	rt_copy_fini(&job->copy);
	if (job->log_path)
		rt_close_fd(&job->build.out_dir_fd);
	free(job->log_path);
	*job = (struct rt_snap_job){ .next = NULL };
}

/*
 * ---- Its place among threads -------------------------------------------------
 */

static void set_policy(const struct rt_snapshotter *s, int policy)
{
	const struct sched_param none = { .sched_priority = 0 };

	/* Refused: then it stays as it is, which is good enough. */
	if (s->may_idle)
		(void)sched_setscheduler(s->tid, policy, &none);
}

/*
 * To leave SCHED_IDLE the kernel asks for what it takes to have a nice value back.
 * That can be tried without harm, and there are too many reasons for a refusal to know
 * them all.
 */
static bool may_come_back(id_t tid)
{
	int nice = getpriority(PRIO_PROCESS, tid);

	return nice < NICEST && setpriority(PRIO_PROCESS, tid, nice + 1) == 0 &&
	       setpriority(PRIO_PROCESS, tid, nice) == 0;
}

/* Commits come first.  Of this thread only, whatever POSIX says of nice values. */
static void introduce(struct rt_snapshotter *s)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	bool may_idle;

	rt_slice_set(RT_SLICE_USUAL); /* not as the loop, which begins it */
	(void)setpriority(PRIO_PROCESS, (id_t)tid, NICENESS);
	may_idle = may_come_back((id_t)tid);
	(void)pthread_mutex_lock(&s->lock); /* cannot fail, as those below */
	s->tid = tid;
	s->may_idle = may_idle;
	(void)pthread_mutex_unlock(&s->lock);
}

/* By the thread; never with the lock, for which others might then wait. */
static void step_back(const struct rt_snapshotter *s)
{
	if (atomic_load(&s->hurried))
		return;
	set_policy(s, SCHED_IDLE);
	if (atomic_load(&s->hurried)) /* meanwhile */
		set_policy(s, SCHED_OTHER);
}

/* By whoever waits, with the lock. */
static void hurry(struct rt_snapshotter *s)
{
	atomic_store(&s->hurried, true);
	set_policy(s, SCHED_OTHER);
}

/*
 * ---- The thread --------------------------------------------------------------
 */

static bool has_urgent(const struct rt_snap_job *job)
{
	while (job && !job->urgent)
		job = job->next;
	return job;
}

static struct rt_snap_job *next_job(struct rt_snapshotter *s)
{
	struct rt_snap_job *job = NULL;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->first && !s->ending)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	if (s->first) {
		job = s->first;
		atomic_store(&s->hurried, has_urgent(job));
		s->first = job->next;
		atomic_store(&job->stage, RT_SNAP_RUNNING);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return job;
}

static void *run(void *arg)
{
	struct rt_snapshotter *s = arg;
	struct rt_snap_job *job;

	introduce(s);
	while ((job = next_job(s))) {
		step_back(s);
		if (job->cancel)
			job->result = -ECANCELED;
		else
			rt_snap_job_run(job);
		set_policy(s, SCHED_OTHER);
		(void)pthread_mutex_lock(&s->lock);
		atomic_store(&job->stage, RT_SNAP_DONE);
		(void)pthread_cond_broadcast(&s->changed);
		(void)pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

void rt_snapshotter_init(struct rt_snapshotter *s)
{
	*s = (struct rt_snapshotter){
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
}

void rt_snapshotter_fini(struct rt_snapshotter *s)
{
	if (!s->started)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->ending = true;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL); /* it is joinable, and nobody else does */
	s->started = false;
}

static int start(struct rt_snapshotter *s)
{
	int r = s->started ? 0 : rt_thread_start(&s->thread, run, s);

	s->started |= !r;
	return r;
}

int rt_snapshotter_submit(struct rt_snapshotter *s, struct rt_snap_job *job)
{
	int r = start(s);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&s->lock);
	job->next = NULL;
	atomic_store(&job->stage, RT_SNAP_WAITING);
	if (s->first)
		s->last->next = job;
	else
		s->first = job;
	s->last = job;
	if (job->urgent)
		hurry(s);
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

static bool is_to_do(const struct rt_snap_job *job)
{
	uint32_t stage = atomic_load(&job->stage);

	return stage == RT_SNAP_WAITING || stage == RT_SNAP_RUNNING;
}

void rt_snapshotter_hurry(struct rt_snapshotter *s, struct rt_snap_job *job)
{
	(void)pthread_mutex_lock(&s->lock);
	if (is_to_do(job)) {
		job->urgent = true;
		hurry(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* Out of the queue, if it is in there. */
static void take_back(struct rt_snapshotter *s, struct rt_snap_job *job)
{
	struct rt_snap_job *before = NULL;

	for (struct rt_snap_job *it = s->first; it; before = it, it = it->next) {
		if (it != job)
			continue;
		if (before)
			before->next = job->next;
		else
			s->first = job->next;
		if (s->last == job)
			s->last = before;
		job->result = -ECANCELED;
		atomic_store(&job->stage, RT_SNAP_DONE);
		return;
	}
}

void rt_snapshotter_cancel(struct rt_snapshotter *s, struct rt_snap_job *job)
{
	atomic_store(&job->cancel, true);
	(void)pthread_mutex_lock(&s->lock);
	take_back(s, job); /* what runs for another feed is not waited for */
	if (is_to_do(job))
		hurry(s);
	while (atomic_load(&job->stage) == RT_SNAP_RUNNING)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
}
