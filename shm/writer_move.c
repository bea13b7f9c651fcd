/* SPDX-License-Identifier: MIT */
/*
 * Rings that are made: for a feed that begins, and for one that moves from the ring it
 * has to another.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "shm/writer_parts.h"

void rt_writer_adopt(struct rt_writer *w, const struct rt_segment *segment)
{
	w->segment = *segment;
	w->slots = segment->slots;
	w->payload = segment->payload;
	w->hot = segment->hot;
	w->slot_mask = segment->geo.n_slots - 1;
	w->payload_mask = segment->geo.payload_size - 1;
	w->max_txn_bytes = segment->geo.max_txn_bytes;
	w->max_txn_events = segment->geo.max_txn_events;
	w->max_key = segment->geo.max_key;
	w->max_value = segment->geo.max_value;
	w->always = segment->geo.wake_mode == RT_WAKE_ALWAYS;
	w->n_txns = rt_own64(&w->hot->n_txns);
	w->n_bytes = rt_own64(&w->hot->n_bytes);
	w->wakes = rt_own64(&w->hot->n_wakes);
	w->wake_calls = rt_own64(&w->hot->n_wake_calls);
}

/* A ring of its own under a name that no reader looks for. */
static int make_ring(struct rt_writer *w, uint64_t epoch, uint64_t head,
		     struct rt_fault *fault)
{
	struct rt_segment segment;
	int r = rt_segment_create(w->dir_fd, RT_RING_TMP_NAME, &w->config, epoch, head,
				  fault, &segment);

	if (r < 0)
		return r;
	rt_writer_adopt(w, &segment);
	w->next = head + 1;
	w->floor = head + 1;
	w->pos = 0;
	return 0;
}

static int publish_ring(struct rt_writer *w, struct rt_fault *fault)
{
	if (renameat(w->dir_fd, RT_RING_TMP_NAME, w->dir_fd, RT_RING_NAME) < 0)
		return rt_writer_fail(fault, w->name, "publish its ring", -errno);
	return 0;
}

/* For a ring that is being made: nobody can look yet, so nothing needs to be woken. */
static void be_quiet(struct rt_writer *w, struct rt_bell *quiet)
{
	w->bell = quiet;
	w->always = false;
	w->fence = false;
	w->sweep = false;
	w->quarter_seq = UINT64_MAX;
	w->quarter_pos = UINT64_MAX;
}

static void end_quiet(struct rt_writer *w)
{
	rt_writer_set_time(w, 0);
	w->bell = NULL;
	w->always = w->segment.geo.wake_mode == RT_WAKE_ALWAYS;
}

/* What a ring that would begin empty is to hold. */
static int fill_ring(struct rt_writer *w, struct rt_fault *fault)
{
	static struct rt_bell quiet;
	int r;

	if (!w->config.fill)
		return 0;
	rt_fault_set(fault, "feed '%s': cannot fill its ring", w->name);
	rt_writer_init_limits(w);
	be_quiet(w, &quiet);
	r = w->config.fill(w, w->config.fill_arg);
	end_quiet(w);
	return r;
}

/* Head of a ring that begins: one below the first seq it was asked for. */
static uint64_t first_head(const struct rt_writer *w)
{
	return w->config.first_seq ? w->config.first_seq - 1 : 0;
}

/* A ring that nobody has seen yet, with what it is to hold. */
static int make_filled(struct rt_writer *w, uint64_t epoch, struct rt_fault *fault)
{
	int r = make_ring(w, epoch, first_head(w), fault);

	return r < 0 ? r : fill_ring(w, fault);
}

/*
 * Takes over one transaction of the old ring.  One that the new ring cannot take
 * empties it: what is older cannot be kept without a hole.
 */
static int carry_txn(struct rt_writer *w, const struct rt_segment *old, uint64_t first,
		     uint32_t n)
{
	struct rt_event ev = { .seq = 0 };

	rt_writer_begin(w);
	for (uint32_t i = 0; i < n; i++) {
		int r = -EINVAL;

		if (rt_ring_look(old, first + i, &ev) == RT_LOOK_EVENT)
			r = rt_writer_add(w, ev.op, ev.flags, ev.key, ev.key_len,
					  ev.value, ev.value_len);
		if (r < 0) {
			rt_writer_abort(w);
			return r;
		}
	}
	rt_writer_set_time(w, ev.time_ns);
	rt_writer_commit(w);
	return 0;
}

/* The newest events of the old ring, as many as the new one holds. */
static int carry_over(struct rt_writer *w, const struct rt_segment *old, uint64_t from,
		      uint64_t head, struct rt_fault *fault)
{
	struct rt_event ev;

	for (uint64_t seq = from; seq <= head; seq += ev.txn_size) {
		if (rt_ring_look(old, seq, &ev) != RT_LOOK_EVENT || ev.txn_index)
			return rt_writer_damaged(w, fault, "an event makes no sense",
						 seq);
		if (carry_txn(w, old, seq, ev.txn_size) < 0) {
			uint64_t epoch = w->segment.geo.epoch;
			int r;

			rt_segment_drop(&w->segment);
			r = make_ring(w, epoch, seq + ev.txn_size - 1, fault);
			if (r < 0)
				return r;
			rt_writer_init_limits(w);
			be_quiet(w, w->bell);
		}
	}
	return 0;
}

/* From here on readers look for the successor at the ring's name. */
static void retire(struct rt_segment *old, uint64_t successor)
{
	rt_store64(&old->hot->successor, successor);
	rt_store32(&old->hot->state, RT_STATE_RETIRED);
}

/*
 * Moves the feed from @old, recovered already, to a new file.  Readers see: the old
 * ring retired, while the name still leads to it, so that they look again; the new
 * file under the name; a wake-up.  A writer that dies after the first leaves a ring
 * that the next one takes up as if it had never been retired; one that dies after
 * the second leaves nobody behind, since the old ring says where to look.
 */
int rt_writer_replace(struct rt_writer *w, bool new_epoch, struct rt_fault *fault)
{
	AUTO(rt_segment_drop) struct rt_segment old = w->segment;
	static struct rt_bell quiet;
	uint64_t head = w->next - 1;
	uint64_t from = w->floor;
	uint64_t epoch = new_epoch ? w->config.epoch : old.geo.epoch;
	uint64_t last_ns = w->last_ns;
	uint32_t state;
	int r;

	w->segment = RT_SEGMENT_NONE;
	if (!epoch)
		epoch = rt_random64();
	r = new_epoch ? make_filled(w, epoch, fault)
		      : make_ring(w, epoch, from - 1, fault);
	if (!r && !new_epoch) {
		rt_writer_init_limits(w);
		be_quiet(w, &quiet);
		w->last_ns = 0; /* what is carried keeps its own times */
		r = carry_over(w, &old, from, head, fault);
		end_quiet(w);
		w->last_ns = last_ns;
	}
	if (r < 0)
		return r;
	rt_store64(&w->hot->n_writers, rt_own64(&old.hot->n_writers));
	rt_store64(&w->hot->n_txns, w->n_txns = rt_own64(&old.hot->n_txns));
	rt_store64(&w->hot->n_bytes, w->n_bytes = rt_own64(&old.hot->n_bytes));
	state = rt_load32(&old.hot->state);
	retire(&old, w->segment.geo.instance);
	r = publish_ring(w, fault);
	if (r < 0) {
		rt_store32(&old.hot->state, state);
		return r;
	}
	rt_writer_wake_everybody(old.hot);
	return 0;
}

int rt_writer_begin_ring(struct rt_writer *w, struct rt_fault *fault)
{
	uint64_t epoch = w->config.epoch ? w->config.epoch : rt_random64();
	int r = make_filled(w, epoch, fault);

	return r < 0 ? r : publish_ring(w, fault);
}

int rt_writer_begin_anew(struct rt_writer *w, struct rt_fault *fault)
{
	AUTO(rt_segment_drop) struct rt_segment old = w->segment;
	int r;

	w->segment = RT_SEGMENT_NONE;
	r = rt_writer_begin_ring(w, fault);
	if (!r && old.base) {
		retire(&old, w->segment.geo.instance);
		rt_writer_wake_everybody(old.hot);
	}
	return r;
}
