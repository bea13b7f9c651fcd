/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "client/view.h"

static int stop(struct ringtail_view *view, int why, const char *text)
{
	rt_fault_set(&view->fault, "view of feed '%s': %s; it stays at seq %llu",
		     view->reader->segment.geo.name, text,
		     (unsigned long long)rt_load64(&view->seq));
	view->stop = why;
	return why;
}

/*
 * ---- Boundaries ----
 */

/* The reader is at the end of a transaction, and all of it is in the view. */
static void set_boundary(struct ringtail_view *view)
{
	const struct ringtail *r = view->reader;

	view->epoch = r->marker_epoch;
	view->marker_seq = r->marker_seq;
	if (view->threaded) {
		view->stats.size = sizeof(view->stats);
		(void)ringtail_get_stats(view->reader, &view->stats); /* fits */
	}
	/* seq_cst: whoever waits is announced before it looks at this, see
	 * ringtail_view_wait(). */
	atomic_store(&view->seq, r->position);
}

/* Events that do not match move the position too. */
static void follow_filtered(struct ringtail_view *view)
{
	if (view->filling || view->reader->position == rt_own64(&view->seq))
		return;
	rt_view_hold(view);
	set_boundary(view);
}

/*
 * ---- Transactions ----
 */

static void tell_step(struct ringtail_view *view, const struct rt_step *step)
{
	const struct ringtail_event *event = step->event;
	bool put = event->op == RINGTAIL_PUT;
	const struct ringtail_change change = {
		.op = event->op,
		.key = event->key,
		.key_len = event->key_len,
		.old_value = step->old_value,
		.old_len = step->old_len,
		.value = put ? event->value : NULL,
		.value_len = put ? event->value_len : 0,
		.seq = event->seq,
		.time_ns = event->time_ns,
	};

	view->on_change(view->arg, &change);
}

static void tell_steps(struct ringtail_view *view)
{
	for (size_t i = 0; view->on_change && i < view->state.n_steps; i++) {
		if (view->state.steps[i].changed)
			tell_step(view, &view->state.steps[i]);
	}
}

/* @seq: where the view is then. */
static int apply(struct ringtail_view *view, const struct ringtail_event *events,
		 size_t n, uint64_t seq)
{
	int e = rt_view_state_prepare(&view->state, events, n);

	if (e < 0)
		return stop(view, e, "no memory for what has changed");
	rt_view_state_commit(&view->state);
	if (view->on_change || view->on_txn) {
		/* Should memory run out for the next, it stays at this one. */
		view->epoch = view->reader->marker_epoch;
		view->marker_seq = seq;
		atomic_store(&view->seq, seq);
	}
	tell_steps(view);
	if (view->on_txn)
		view->on_txn(view->arg, seq);
	rt_view_state_done(&view->state);
	return 0;
}

/* Those who are told are told of one transaction at a time. */
static int apply_each(struct ringtail_view *view, const struct ringtail_event *events,
		      size_t n)
{
	for (size_t from = 0, i = 0; i < n; i++) {
		int e;

		if (i + 1 < n && events[i + 1].rev == events[from].rev)
			continue;
		e = apply(view, &events[from], i + 1 - from, events[i].rev);
		if (e < 0)
			return e;
		from = i + 1;
	}
	return 0;
}

static int take_events(struct ringtail_view *view, const struct ringtail_event *events,
		       size_t n)
{
	bool batch = events == view->batch.events;
	int e;

	rt_view_hold(view);
	if (view->on_change || view->on_txn)
		e = apply_each(view, events, n);
	else
		e = apply(view, events, n, events[n - 1].rev);
	if (e < 0)
		return e;
	set_boundary(view);
	return batch ? (int)view->batch.n_txns : 1;
}

/*
 * ---- States ----
 */

static int begin_state(struct ringtail_view *view)
{
	int e;

	rt_view_state_fini(&view->fresh);
	view->filling = true;
	e = rt_view_state_init(&view->fresh, rt_random64());
	return e < 0 ? stop(view, e, "no memory for a new state") : 0;
}

static int fill_state(struct ringtail_view *view, const struct ringtail_event *events,
		      size_t n)
{
	int e = rt_view_state_fill(&view->fresh, events, n);

	if (e == -ENOMEM)
		return stop(view, e, "no memory for its keys");
	if (e < 0)
		return stop(view, e, "the keys of a snapshot are not in order");
	return 0;
}

static void tell_difference(void *arg, const struct rt_entry *was,
			    const struct rt_entry *now)
{
	struct ringtail_view *view = arg;
	const struct rt_entry *either = now ? now : was;
	const struct ringtail_change change = {
		.op = now ? RINGTAIL_PUT : RINGTAIL_DELETE,
		.flags = view->has_state ? RINGTAIL_VIEW_RESYNCED
					 : RINGTAIL_VIEW_INITIAL,
		.key = rt_entry_key(either),
		.key_len = either->key_len,
		.old_value = was ? rt_entry_value(was) : NULL,
		.old_len = was ? was->value_len : 0,
		.value = now ? rt_entry_value(now) : NULL,
		.value_len = now ? now->value_len : 0,
		.seq = now ? now->seq : 0,
		.time_ns = now ? now->time_ns : 0,
	};

	view->on_change(view->arg, &change);
}

/* The new state takes the place of the old one, which is `fresh` from then on. */
static void swap(struct ringtail_view *view)
{
	struct rt_view_state old = view->state;

	view->state = view->fresh;
	view->fresh = old;
	view->filling = false;
}

/* Whatever can fail comes first. */
static int complete_state(struct ringtail_view *view)
{
	int e = rt_view_state_filled(&view->fresh);

	if (!e && view->has_state && view->on_change) {
		(void)pthread_mutex_lock(&view->order_lock);
		e = rt_order_settle(&view->state.order, &view->state.table);
		(void)pthread_mutex_unlock(&view->order_lock);
	}
	if (e < 0)
		return stop(view, e, "no memory for a new state");
	rt_view_hold(view);
	swap(view);
	set_boundary(view);
	if (view->on_change)
		rt_view_state_compare(view->has_state ? &view->fresh : NULL,
				      &view->state, tell_difference, view);
	view->has_state = true;
	if (view->on_txn)
		view->on_txn(view->arg, rt_own64(&view->seq));
	rt_view_release(view);
	rt_view_state_fini(&view->fresh);
	return 1;
}

/*
 * ---- What the reader brings ----
 */

/* One transaction where it lies; then, if there is more, many at once. */
static int fetch(struct ringtail_view *view, int64_t timeout_ns,
		 const struct ringtail_event **ret_events, size_t *ret_n)
{
	int outcome = -EMSGSIZE;

	if (view->more && !view->filling) {
		outcome = ringtail_next_batch(view->reader, &view->batch, 0);
		*ret_events = view->batch.events;
		*ret_n = view->batch.n_events;
	}
	if (outcome == -EMSGSIZE)
		outcome = ringtail_next_txn(view->reader, ret_events, ret_n,
					    view->more ? 0 : timeout_ns);
	view->more = outcome > 0;
	return outcome;
}

/* How many boundaries were passed; it is at one unless that is 0. */
static int take(struct ringtail_view *view, int outcome,
		const struct ringtail_event *events, size_t n)
{
	switch (outcome) {
	case RINGTAIL_EVENT:
		return take_events(view, events, n);
	case RINGTAIL_RESET:
		return begin_state(view);
	case RINGTAIL_SNAPSHOT:
		return fill_state(view, events, n);
	case RINGTAIL_SNAPSHOT_END:
		return complete_state(view);
	default: /* a gap: a new state follows */
		return 0;
	}
}

int rt_view_advance(struct ringtail_view *view, int64_t timeout_ns, unsigned max)
{
	unsigned n = 0;
	int r = view->stop;

	view->more = false;
	while (r >= 0 && n < max) {
		const struct ringtail_event *events = NULL;
		size_t n_events = 0;
		int outcome = fetch(view, timeout_ns, &events, &n_events);

		r = outcome;
		if (outcome <= 0 || outcome == RINGTAIL_CAUGHT_UP) {
			follow_filtered(view); /* also up to the end of a feed */
			break;
		}
		r = take(view, outcome, events, n_events);
		rt_view_release(view);
		n += r > 0 ? (unsigned)r : 0;
	}
	rt_view_release(view);
	return n || r > 0 ? (int)n : r; /* what stopped it is said again */
}
