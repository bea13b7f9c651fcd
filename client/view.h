/* SPDX-License-Identifier: MIT */
/*
 * view.h - a view from the inside, for the files of client/ only
 *
 *	view.c         opening, looking
 *	view_apply.c   from what the reader brings to the next boundary
 *	view_thread.c  the thread, its lock, waiting for a seq
 *	view_state.c   the keys
 *	view_order.c   their order
 *
 * A reader that starts from a snapshot, and does so again at each gap, feeds it.  What
 * it brings of a new state is gathered apart and takes the place of the old one as a
 * whole.
 *
 * The lock of a view with a thread is a pthread_rwlock that prefers writers: however
 * many threads look, the one writer gets its turn; and it holds the lock for a batch of
 * transactions at most, never while it reads or waits, so those who look get theirs.
 */
#ifndef RINGTAIL_CLIENT_VIEW_H
#define RINGTAIL_CLIENT_VIEW_H

#include <pthread.h>

#include "client/reader.h"
#include "client/view_state.h"

#define RT_VIEW_BATCH_EVENTS 256u
#define RT_VIEW_BATCH_DATA   (64u << 10)

struct ringtail_view {
	struct ringtail *reader;
	struct rt_view_state state; /* what everybody sees */
	struct rt_view_state fresh; /* a new one, not complete; or the old one, to go */
	bool filling;               /* a new one is begun */
	bool has_state;
	bool more;                   /* the newest fetch brought something */
	_Atomic uint64_t seq;        /* of the boundary ... */
	uint64_t epoch;              /* ... and its epoch */
	uint64_t marker_seq;         /* ... and what a marker says */
	struct ringtail_stats stats; /* as of the boundary, for a view with a thread */
	int stop;                    /* the view's own reason to stop; 0: none */
	struct rt_fault fault;
	struct ringtail_batch batch; /* in memory of its own */
	void (*on_change)(void *arg, const struct ringtail_change *change);
	void (*on_txn)(void *arg, uint64_t seq);
	void (*on_stop)(void *arg, int error);
	void *arg;

	bool threaded;
	bool held; /* the lock, by the thread */
	pthread_t thread;
	pthread_rwlock_t lock;
	pthread_mutex_t order_lock; /* those who look together settle the order */
	_Atomic uint32_t closing;

	pthread_mutex_t wait_lock; /* for what follows */
	pthread_cond_t moved;
	_Atomic uint32_t n_waiting;
	uint64_t wanted; /* the lowest seq that is waited for; UINT64_MAX: none */
	int ended;       /* why the thread did; 0: it runs */
};

/*
 * Waits up to @timeout_ns for something, and applies it and what else is there, up to
 * @max boundaries; how many there were, or a negative error.
 */
int rt_view_advance(struct ringtail_view *view, int64_t timeout_ns, unsigned max);

void rt_view_thread_init(struct ringtail_view *view);
/* Negative errno with a text. */
int rt_view_thread_start(struct ringtail_view *view);
void rt_view_thread_end(struct ringtail_view *view); /* the thread, if there is one */
void rt_view_thread_fini(struct ringtail_view *view);

/* The thread is about to change what others see, or has done so. */
void rt_view_hold(struct ringtail_view *view);
void rt_view_release(struct ringtail_view *view);

#endif
