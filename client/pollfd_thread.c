/* SPDX-License-Identifier: MIT */
/*
 * Threads that sleep in futex_waitv(2) for readers that poll, and write an eventfd
 * for each that would have been woken.  One thread serves as many readers as
 * futex_waitv(2) has room for words; with more readers there are more threads.
 * After a fork() the child begins without any; all it may do with what it inherited
 * is to close it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "client/pollfd.h"
#include "shm/segment.h"
#include "shm/thread.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define READERS_PER_THREAD ((FUTEX_WAITV_MAX - 1) / RT_SLEEP_WORDS)

struct helper;

struct thread_pollfd {
	struct rt_pollfd base;
	struct helper *helper;
	unsigned generation; /* of the process that opened it */
	struct thread_pollfd *next;
	/* while asleep; under the helper's lock */
	bool asleep;
	unsigned n_words;
	struct futex_waitv words[RT_SLEEP_WORDS];
	uint64_t deadline_ns;
};

struct helper {
	pthread_t thread;
	pthread_mutex_t lock;
	struct thread_pollfd *readers;
	unsigned n_readers;
	_Atomic uint32_t kick; /* futex: the set of sleepers has changed */
	bool stop;
	struct helper *next;
};

static pthread_mutex_t helpers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct helper *helpers;
static unsigned generation; /* forks that led to this process */

static void kick(struct helper *helper)
{
	(void)atomic_fetch_add(&helper->kick, 1);
	rt_wake_private(&helper->kick);
}

static bool has_moved(const struct futex_waitv *word)
{
	return rt_load32((const _Atomic uint32_t *)(uintptr_t)word->uaddr) != word->val;
}

static bool is_due(const struct thread_pollfd *p, uint64_t now)
{
	if (now >= p->deadline_ns)
		return true;
	for (unsigned i = 0; i < p->n_words; i++) {
		if (has_moved(&p->words[i]))
			return true;
	}
	return false;
}

static void tell(struct thread_pollfd *p)
{
	(void)eventfd_write(p->base.fd, 1); /* fails only when it is readable already */
	p->asleep = false;
}

/* Tells who is due; gathers the words of the rest.  Returns how many words. */
static unsigned gather(struct helper *helper, struct futex_waitv *words,
		       uint64_t *deadline)
{
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);
	unsigned n = 0;

	words[n++] = (struct futex_waitv){
		.val = rt_load32(&helper->kick),
		.uaddr = (uintptr_t)&helper->kick,
		.flags = FUTEX_32 | FUTEX_PRIVATE_FLAG,
	};
	*deadline = now + RT_SLEEP_MAX_NS * 60;
	for (struct thread_pollfd *p = helper->readers; p; p = p->next) {
		if (p->asleep && is_due(p, now))
			tell(p);
		if (!p->asleep)
			continue;
		memcpy(&words[n], p->words, p->n_words * sizeof(*words));
		n += p->n_words;
		*deadline = rt_min(*deadline, p->deadline_ns);
	}
	return n;
}

/* The kernel cannot wait for these words (ENOSYS, a sandbox): look often instead. */
static void doze(void)
{
	struct timespec pause = { .tv_nsec = (long)RT_POLL_NS };

	(void)nanosleep(&pause, NULL);
}

static void *help(void *arg)
{
	struct helper *helper = arg;
	struct futex_waitv words[FUTEX_WAITV_MAX];

	for (;;) {
		struct timespec until;
		uint64_t deadline;
		unsigned n;
		bool stop;

		(void)pthread_mutex_lock(&helper->lock);
		n = gather(helper, words, &deadline);
		stop = helper->stop;
		(void)pthread_mutex_unlock(&helper->lock);
		if (stop)
			return NULL;
		until.tv_sec = (time_t)(deadline / 1000000000u);
		until.tv_nsec = (long)(deadline % 1000000000u);
		if (syscall(SYS_futex_waitv, words, n, 0, &until, CLOCK_MONOTONIC) <
			    0 &&
		    errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
			doze();
	}
}

static struct helper *start_helper(void)
{
	struct helper *helper = calloc(1, sizeof(*helper));

	if (!helper)
		return NULL;
	(void)pthread_mutex_init(&helper->lock, NULL);
	if (rt_thread_start(&helper->thread, help, helper) < 0) {
		free(helper);
		return NULL;
	}
	(void)pthread_setname_np(helper->thread, "ringtail-poll");
	helper->next = helpers;
	helpers = helper;
	return helper;
}

static void stop_helper(struct helper *helper)
{
	struct helper **at = &helpers;

	while (*at != helper)
		at = &(*at)->next;
	*at = helper->next;
	(void)pthread_mutex_lock(&helper->lock);
	helper->stop = true;
	(void)pthread_mutex_unlock(&helper->lock);
	kick(helper);
	(void)pthread_join(helper->thread, NULL);
	(void)pthread_mutex_destroy(&helper->lock);
	free(helper);
}

static void before_fork(void)
{
	(void)pthread_mutex_lock(&helpers_lock);
	for (struct helper *helper = helpers; helper; helper = helper->next)
		(void)pthread_mutex_lock(&helper->lock);
}

static void after_fork(void)
{
	for (struct helper *helper = helpers; helper; helper = helper->next)
		(void)pthread_mutex_unlock(&helper->lock);
	(void)pthread_mutex_unlock(&helpers_lock);
}

static void after_fork_in_child(void)
{
	generation++;
	after_fork();
	while (helpers) {
		struct helper *helper = helpers;

		helpers = helper->next;
		free(helper); /* its thread is the parent's */
	}
}

static void mind_forks(void)
{
	/* Fails only for want of memory; then children are not cared for. */
	(void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static int join_helper(struct thread_pollfd *p)
{
	static pthread_once_t minded = PTHREAD_ONCE_INIT;
	struct helper *helper;

	(void)pthread_once(&minded, mind_forks);
	(void)pthread_mutex_lock(&helpers_lock);
	p->generation = generation;
	for (helper = helpers; helper; helper = helper->next) {
		if (helper->n_readers < READERS_PER_THREAD)
			break;
	}
	if (!helper)
		helper = start_helper();
	if (helper) {
		(void)pthread_mutex_lock(&helper->lock);
		p->helper = helper;
		p->next = helper->readers;
		helper->readers = p;
		helper->n_readers++;
		(void)pthread_mutex_unlock(&helper->lock);
	}
	(void)pthread_mutex_unlock(&helpers_lock);
	return helper ? 0 : -EAGAIN;
}

static int arm(struct rt_pollfd *pollfd, const struct rt_sleeper *sleeper,
	       uint64_t timeout_ns)
{
	struct thread_pollfd *p = (struct thread_pollfd *)pollfd;

	(void)pthread_mutex_lock(&p->helper->lock);
	p->n_words = rt_sleeper_words(sleeper, p->words);
	p->deadline_ns = rt_now_ns(CLOCK_MONOTONIC) + timeout_ns;
	p->asleep = true;
	(void)pthread_mutex_unlock(&p->helper->lock);
	pollfd->armed = true;
	kick(p->helper);
	return 0;
}

static bool drain(struct rt_pollfd *pollfd)
{
	eventfd_t count;

	return eventfd_read(pollfd->fd, &count) == 0;
}

static void disarm(struct rt_pollfd *pollfd)
{
	struct thread_pollfd *p = (struct thread_pollfd *)pollfd;

	/* The words are looked at under the lock only; the kernel keeps no addresses.
	 */
	(void)pthread_mutex_lock(&p->helper->lock);
	p->asleep = false;
	(void)pthread_mutex_unlock(&p->helper->lock);
	kick(p->helper);
	(void)drain(pollfd);
}

static void leave_helper(struct thread_pollfd *p)
{
	struct helper *helper = p->helper;

	(void)pthread_mutex_lock(&helpers_lock);
	(void)pthread_mutex_lock(&helper->lock);
	for (struct thread_pollfd **at = &helper->readers; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	helper->n_readers--;
	(void)pthread_mutex_unlock(&helper->lock);
	if (!helper->n_readers)
		stop_helper(helper);
	else
		kick(helper); /* it must not wait on words that are about to go */
	(void)pthread_mutex_unlock(&helpers_lock);
}

static void close_thread(struct rt_pollfd *pollfd)
{
	struct thread_pollfd *p = (struct thread_pollfd *)pollfd;

	if (p->generation == generation)
		leave_helper(p);
	(void)close(pollfd->fd);
	free(p);
}

static const struct rt_pollfd_ops thread_ops = {
	.arm = arm,
	.drain = drain,
	.disarm = disarm,
	.close = close_thread,
};

int rt_pollfd_thread_open(struct rt_pollfd **ret)
{
	AUTO_FREE struct thread_pollfd *p = calloc(1, sizeof(*p));
	int e;

	if (!p)
		return -ENOMEM;
	p->base.ops = &thread_ops;
	p->base.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->base.fd < 0)
		return -errno;
	e = join_helper(p);
	if (e < 0) {
		(void)close(p->base.fd);
		return e;
	}
	*ret = &p->base;
	p = NULL;
	return 0;
}
