/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <time.h>

#include "client/view.h"
#include "shm/thread.h"

/*
 * The thread looks up so often by itself, so that the seq of a view whose filters match
 * nothing is not old.  A reader's sleep ends as often anyway.
 */
#define LOOK_UP_NS    INT64_C(1000000000)
#define KICK_FIRST_NS UINT64_C(1000000)
#define KICK_LAST_NS  UINT64_C(64000000)
#define TXNS_AT_ONCE  64u
#define PAUSE_NS      50000000
#define TRIES_MAX     200u /* ten seconds in a row */

/*
 * ---- The lock ----
 */

void rt_view_hold(struct ringtail_view *view)
{
	if (!view->threaded || view->held)
		return;
	(void)pthread_rwlock_wrlock(&view->lock); /* the thread does not hold it */
	view->held = true;
}

void rt_view_release(struct ringtail_view *view)
{
	if (!view->held)
		return;
	view->held = false;
	(void)pthread_rwlock_unlock(&view->lock);
}

void ringtail_view_lock(struct ringtail_view *view)
{
	/* Fails only for as many who look as there cannot be. */
	if (view->threaded)
		(void)pthread_rwlock_rdlock(&view->lock);
}

void ringtail_view_unlock(struct ringtail_view *view)
{
	if (view->threaded)
		(void)pthread_rwlock_unlock(&view->lock);
}

/*
 * ---- The thread ----
 */

/* Wakes those who wait, if what they wait for is there, or never will be. */
static void tell_waiting(struct ringtail_view *view)
{
	/* Pairs with the increment in wait_for_thread(): either it sees our seq, or we
	 * see it. */
	if (!atomic_load(&view->n_waiting))
		return;
	(void)pthread_mutex_lock(&view->wait_lock);
	if (view->ended || atomic_load(&view->seq) >= view->wanted) {
		view->wanted = UINT64_MAX; /* who is left says it again */
		rt_store64(&view->reader->wanted, 0);
		(void)pthread_cond_broadcast(&view->moved);
	}
	(void)pthread_mutex_unlock(&view->wait_lock);
}

static void end(struct ringtail_view *view, int why)
{
	(void)pthread_mutex_lock(&view->wait_lock);
	if (!view->stop)
		rt_fault_set(&view->fault, "%s", ringtail_error(view->reader));
	view->ended = why;
	(void)pthread_cond_broadcast(&view->moved);
	(void)pthread_mutex_unlock(&view->wait_lock);
	if (view->on_stop && !rt_load32(&view->closing))
		view->on_stop(view->arg, why);
}

/* A lack of memory or descriptors of the process may pass, if it is not the view's. */
static bool may_try_again(const struct ringtail_view *view, int r, unsigned *n_tries)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };

	if (view->stop || !rt_passes(r) || (*n_tries)++ == TRIES_MAX)
		return false;
	(void)nanosleep(&pause, NULL); /* signals are not for this thread */
	return true;
}

static void *keep_up(void *arg)
{
	struct ringtail_view *view = arg;
	unsigned n_tries = 0;
	int r;

	do {
		r = rt_view_advance(view, LOOK_UP_NS, TXNS_AT_ONCE);
		tell_waiting(view);
		if (r >= 0)
			n_tries = 0;
	} while (r >= 0 || may_try_again(view, r, &n_tries));
	end(view, r);
	return NULL;
}

void rt_view_thread_init(struct ringtail_view *view)
{
	pthread_rwlockattr_t prefer;
	pthread_condattr_t clock;

	/* None of these allocates, or fails, here. */
	(void)pthread_rwlockattr_init(&prefer);
	(void)pthread_rwlockattr_setkind_np(
		&prefer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	(void)pthread_rwlock_init(&view->lock, &prefer);
	(void)pthread_rwlockattr_destroy(&prefer);
	(void)pthread_mutex_init(&view->order_lock, NULL);
	(void)pthread_mutex_init(&view->wait_lock, NULL);
	(void)pthread_condattr_init(&clock);
	(void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&view->moved, &clock);
	(void)pthread_condattr_destroy(&clock);
	view->wanted = UINT64_MAX;
}

void rt_view_thread_fini(struct ringtail_view *view)
{
	(void)pthread_rwlock_destroy(&view->lock);
	(void)pthread_mutex_destroy(&view->order_lock);
	(void)pthread_mutex_destroy(&view->wait_lock);
	(void)pthread_cond_destroy(&view->moved);
}

int rt_view_thread_start(struct ringtail_view *view)
{
	int r;

	view->stats.size = sizeof(view->stats);
	(void)ringtail_get_stats(view->reader, &view->stats); /* the size is right */
	view->threaded = true;
	r = rt_thread_start(&view->thread, keep_up, view);
	if (!r)
		return 0;
	view->threaded = false;
	rt_fault_set(rt_open_fault(), "no thread for a view of feed '%s': %s",
		     view->reader->segment.geo.name, strerror(-r));
	return r;
}

void rt_view_thread_end(struct ringtail_view *view)
{
	if (!view->threaded)
		return;
	rt_store32(&view->closing, 1);
	ringtail_cancel(view->reader);
	(void)pthread_join(view->thread, NULL);
	view->threaded = false;
}

/*
 * ---- Waiting ----
 */

static void sleep_until(struct ringtail_view *view, uint64_t deadline)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline / 1000000000u),
		.tv_nsec = (long)(deadline % 1000000000u),
	};

	(void)pthread_cond_timedwait(&view->moved, &view->wait_lock, &until);
}

/*
 * A seq whose event does not match the filters changes nothing that the thread would
 * notice: so the reader is told which position is wanted, and to look once more.  It
 * may be on its way to sleep and miss that, so it is told again.
 */
static void want(struct ringtail_view *view, uint64_t seq)
{
	view->wanted = rt_min(view->wanted, seq);
	rt_store64(&view->reader->wanted, view->wanted);
	rt_wake_private(&view->reader->cancel);
}

static int wait_for_thread(struct ringtail_view *view, uint64_t seq, uint64_t deadline)
{
	uint64_t pause = KICK_FIRST_NS;

	while (atomic_load(&view->seq) < seq) {
		uint64_t now = rt_now_ns(CLOCK_MONOTONIC);

		if (view->ended)
			return view->ended;
		if (now >= deadline)
			return RINGTAIL_VIEW_TIMED_OUT;
		want(view, seq);
		sleep_until(view, rt_min(deadline, now + pause));
		pause = rt_min(pause * 2, KICK_LAST_NS);
	}
	return RINGTAIL_VIEW_REACHED;
}

static int wait_threaded(struct ringtail_view *view, uint64_t seq, uint64_t deadline)
{
	int r;

	(void)pthread_mutex_lock(&view->wait_lock);
	atomic_fetch_add(&view->n_waiting, 1);
	r = wait_for_thread(view, seq, deadline);
	if (atomic_fetch_sub(&view->n_waiting, 1) == 1) {
		view->wanted = UINT64_MAX;
		rt_store64(&view->reader->wanted, 0);
	}
	(void)pthread_mutex_unlock(&view->wait_lock);
	return r;
}

static int wait_polling(struct ringtail_view *view, uint64_t seq, uint64_t deadline)
{
	int r = 0;

	rt_store64(&view->reader->wanted, seq);
	for (;;) {
		uint64_t now = rt_now_ns(CLOCK_MONOTONIC);
		int64_t left = deadline == UINT64_MAX ? RINGTAIL_FOREVER
			       : now < deadline       ? (int64_t)(deadline - now)
						      : 0;

		r = rt_view_advance(view, left, 1);
		if (rt_own64(&view->seq) >= seq)
			r = RINGTAIL_VIEW_REACHED;
		else if (r >= 0 && (left || r > 0))
			continue;
		break;
	}
	rt_store64(&view->reader->wanted, 0);
	return r;
}

int ringtail_view_wait(struct ringtail_view *view, uint64_t seq, int64_t timeout_ns)
{
	if (atomic_load(&view->seq) >= seq)
		return RINGTAIL_VIEW_ALREADY;
	if (view->threaded)
		return wait_threaded(
			view, seq, rt_deadline(rt_now_ns(CLOCK_MONOTONIC), timeout_ns));
	return wait_polling(view, seq,
			    rt_deadline(rt_now_ns(CLOCK_MONOTONIC), timeout_ns));
}

const char *ringtail_view_error(const struct ringtail_view *view)
{
	if (!view)
		return ringtail_error(NULL);
	/* The reader's text is the thread's to change while it runs. */
	return view->stop || view->threaded ? view->fault.text
					    : ringtail_error(view->reader);
}
