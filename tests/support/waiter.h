/* SPDX-License-Identifier: MIT */
/*
 * waiter.h - a thread in one call that reads
 */
#ifndef RINGTAIL_TESTS_SUPPORT_WAITER_H
#define RINGTAIL_TESTS_SUPPORT_WAITER_H

#include "tests/support/feed.h"

#include <pthread.h>
#include <unistd.h>

struct t_waiter {
	struct ringtail *reader;
	int64_t timeout_ns;
	_Atomic int tid;
	pthread_t thread;
	int outcome;
	uint64_t seq, returned_ns;
};

static inline void *t_waiter_run(void *arg)
{
	struct t_waiter *w = arg;
	struct ringtail_event event = { 0 };

	w->tid = gettid();
	w->outcome = ringtail_next(w->reader, &event, w->timeout_ns);
	w->returned_ns = t_now_ns();
	w->seq = event.seq;
	return NULL;
}

static inline void t_waiter_start(struct t_waiter *w, struct ringtail *reader,
				  int64_t timeout_ns)
{
	*w = (struct t_waiter){ .reader = reader, .timeout_ns = timeout_ns };
	assert_int_equal(pthread_create(&w->thread, NULL, t_waiter_run, w), 0);
}

/* For t_within_ms(). */
static inline bool t_waiter_sleeps(void *arg)
{
	struct t_waiter *w = arg;
	int tid = w->tid;

	return tid && t_is_asleep(&tid);
}

static inline void t_waiter_join(struct t_waiter *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
}

#endif
