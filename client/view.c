/* SPDX-License-Identifier: MIT */
#include "client/view.h"

#include <errno.h>

#define POLL_MAX 4096u /* boundaries of a poll: it ends, however much there comes */

/*
 * ---- Opening ----
 */

static int invalid(const char *what)
{
	rt_fault_set(rt_open_fault(), "invalid options of a view: %s", what);
	return -EINVAL;
}

/* A view decides itself where it begins, what it does at a gap, and that it goes on. */
static int check_options(const struct ringtail_options *o,
			 const struct ringtail_view_options *v)
{
	if (o->size != sizeof(*o))
		return invalid("size is not that of this version's struct; begin with "
			       "RINGTAIL_OPTIONS_INIT");
	if (v->size != sizeof(*v))
		return invalid("size of the view's is not that of this version's "
			       "struct; begin with RINGTAIL_VIEW_OPTIONS_INIT");
	if (v->flags & ~RINGTAIL_VIEW_THREAD || v->reserved)
		return invalid("unknown flags");
	if (v->on_stop && !(v->flags & RINGTAIL_VIEW_THREAD))
		return invalid("on_stop is set, but flags lack RINGTAIL_VIEW_THREAD");
	if (o->start || o->seq || o->marker || o->time_ns)
		return invalid("it begins with the present state; start, seq, marker "
			       "and time_ns must be unset");
	if (o->on_gap)
		return invalid("it gets the state anew after a gap; on_gap must be "
			       "unset");
	if (o->ops)
		return invalid("it needs puts and deletes; ops must be unset");
	if (o->until)
		return invalid("it has no end; until must be unset");
	return 0;
}

static int open_reader(const char *feed, const struct ringtail_options *options,
		       struct ringtail **ret)
{
	struct ringtail_options o = *options;

	o.start = RINGTAIL_START_SNAPSHOT;
	o.on_gap = RINGTAIL_ON_GAP_RESYNC;
	o.ops = RINGTAIL_OPS_PUT | RINGTAIL_OPS_DELETE;
	return ringtail_open(feed, &o, ret);
}

static int init_batch(struct ringtail_batch *batch)
{
	*batch = (struct ringtail_batch){
		.events = calloc(RT_VIEW_BATCH_EVENTS, sizeof(struct ringtail_event)),
		.max_events = RT_VIEW_BATCH_EVENTS,
		.data = malloc(RT_VIEW_BATCH_DATA),
		.data_size = RT_VIEW_BATCH_DATA,
	};
	return batch->events && batch->data ? 0 : -ENOMEM;
}

/* The state, and what has come since. */
static int load(struct ringtail_view *view)
{
	uint64_t oldest, head;
	int r = 0;

	while (r >= 0 && !view->has_state)
		r = rt_view_advance(view, RINGTAIL_FOREVER, 1);
	if (r < 0) {
		rt_fault_set(rt_open_fault(), "%s", ringtail_view_error(view));
		return r;
	}
	rt_ring_bounds(&view->reader->segment, &oldest, &head);
	while (r > 0 && rt_own64(&view->seq) < head)
		r = rt_view_advance(view, 0, POLL_MAX);
	return 0; /* what stopped it then stops the next poll as well */
}

static void close_view(struct ringtail_view **view)
{
	ringtail_view_close(*view);
}

static int no_memory(void)
{
	rt_fault_set(rt_open_fault(), "no memory for a view");
	return -ENOMEM;
}

static int open_view(struct ringtail *reader, const struct ringtail_view_options *o,
		     struct ringtail_view **ret)
{
	AUTO(close_view) struct ringtail_view *view = calloc(1, sizeof(*view));
	int e;

	if (!view) {
		ringtail_close(reader);
		return no_memory();
	}
	view->reader = reader;
	view->on_change = o->on_change;
	view->on_txn = o->on_txn;
	view->on_stop = o->on_stop;
	view->arg = o->arg;
	rt_view_thread_init(view);
	if (init_batch(&view->batch) < 0 ||
	    rt_view_state_init(&view->state, rt_random64()) < 0)
		return no_memory();
	e = load(view);
	if (!e && (o->flags & RINGTAIL_VIEW_THREAD))
		e = rt_view_thread_start(view);
	if (e < 0)
		return e;
	*ret = rt_take_ptr(&view);
	return 0;
}

int ringtail_view_open(const char *feed, const struct ringtail_options *options,
		       const struct ringtail_view_options *view_options,
		       struct ringtail_view **ret)
{
	static const struct ringtail_options defaults = RINGTAIL_OPTIONS_INIT;
	static const struct ringtail_view_options view_defaults =
		RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail *reader;
	int e;

	if (!options)
		options = &defaults;
	if (!view_options)
		view_options = &view_defaults;
	e = check_options(options, view_options);
	if (!e)
		e = open_reader(feed, options, &reader);
	return e < 0 ? e : open_view(reader, view_options, ret);
}

void ringtail_view_close(struct ringtail_view *view)
{
	if (!view)
		return;
	rt_view_thread_end(view);
	rt_view_state_fini(&view->state);
	rt_view_state_fini(&view->fresh);
	rt_view_thread_fini(view);
	ringtail_close(view->reader);
	free(view->batch.events);
	free(view->batch.data);
	free(view);
}

/*
 * ---- Keeping up ----
 */

int ringtail_view_poll(struct ringtail_view *view, int64_t timeout_ns)
{
	return view->threaded ? -EINVAL : rt_view_advance(view, timeout_ns, POLL_MAX);
}

int ringtail_view_fd(struct ringtail_view *view)
{
	return view->threaded ? -EINVAL : ringtail_fd(view->reader);
}

void ringtail_view_cancel(struct ringtail_view *view)
{
	ringtail_cancel(view->reader);
}

/*
 * ---- Looking ----
 */

static void describe(const struct rt_entry *entry, struct ringtail_view_entry *ret)
{
	*ret = (struct ringtail_view_entry){
		.key = rt_entry_key(entry),
		.value = rt_entry_value(entry),
		.key_len = entry->key_len,
		.value_len = entry->value_len,
		.seq = entry->seq,
		.time_ns = entry->time_ns,
	};
}

int ringtail_view_get(struct ringtail_view *view, const void *key, size_t key_len,
		      struct ringtail_view_entry *ret)
{
	const struct rt_entry *entry = rt_view_state_find(&view->state, key, key_len);

	if (!entry)
		return 0;
	if (ret)
		describe(entry, ret);
	return 1;
}

static int settle(struct ringtail_view *view)
{
	int e;

	(void)pthread_mutex_lock(&view->order_lock); /* cannot fail: it is ours */
	e = rt_order_settle(&view->state.order, &view->state.table);
	(void)pthread_mutex_unlock(&view->order_lock);
	return e;
}

int ringtail_view_each(struct ringtail_view *view, const void *prefix,
		       size_t prefix_len,
		       int (*visit)(void *arg, const struct ringtail_view_entry *entry),
		       void *arg)
{
	const struct rt_order *order = &view->state.order;
	int r = settle(view);

	if (r < 0)
		return r;
	for (size_t i = rt_order_find(order, prefix, prefix_len); !r && i < order->n;
	     i++) {
		const struct rt_entry *entry = order->entries[i];
		struct ringtail_view_entry shown;

		if (entry->key_len < prefix_len ||
		    (prefix_len &&
		     memcmp(rt_entry_key(entry), prefix, prefix_len) != 0))
			break;
		describe(entry, &shown);
		r = visit(arg, &shown);
	}
	return r;
}

size_t ringtail_view_count(struct ringtail_view *view)
{
	return view->state.table.n;
}

uint64_t ringtail_view_seq(struct ringtail_view *view)
{
	return rt_load64(&view->seq);
}

int ringtail_view_marker(struct ringtail_view *view, char ret[RINGTAIL_MARKER_SIZE])
{
	return ringtail_marker_format(view->marker_seq, view->epoch, ret);
}

int ringtail_view_get_stats(struct ringtail_view *view, struct ringtail_stats *stats)
{
	if (!view->threaded)
		return ringtail_get_stats(view->reader, stats);
	if (stats->size != sizeof(*stats))
		return -EINVAL;
	*stats = view->stats;
	return 0;
}
