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
	/* Sizes in the payload are counted in 32 bits, rounded up. */
	w->max_txn_bytes = rt_min(segment->geo.max_txn_bytes, UINT32_MAX - 7);
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
			r = rt_writer_add_prev(w, ev.op, ev.flags, ev.key, ev.key_len,
					       ev.value, ev.value_len,
					       ev.value + ev.value_len, ev.prev_len);
		if (r < 0) {
			rt_writer_abort(w);
			return r;
		}
	}
	rt_writer_set_time(w, ev.time_ns);
	rt_writer_commit(w);
	return 0;
}

/* Another in place of the one that is being made, with what was noted in that. */
static int empty_ring(struct rt_writer *w, uint64_t head, struct rt_fault *fault)
{
	uint64_t trimmed = rt_load64(&w->hot->trimmed), aged = rt_load64(&w->hot->aged);
	uint64_t epoch = w->segment.geo.epoch;
	int r;

	rt_segment_drop(&w->segment);
	r = make_ring(w, epoch, head, fault);
	if (r < 0)
		return r;
	rt_store64(&w->hot->trimmed, trimmed);
	rt_store64(&w->hot->aged, aged);
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
			int r = empty_ring(w, seq + ev.txn_size - 1, fault);

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

/* What is known of the feed beside its events goes on in the new file. */
static void carry_words(struct rt_writer *w, const struct rt_hot *old)
{
	struct rt_hot *hot = w->hot;

	rt_store64(&hot->n_writers, rt_load64(&old->n_writers));
	rt_store64(&hot->n_txns, w->n_txns = rt_load64(&old->n_txns));
	rt_store64(&hot->n_bytes, w->n_bytes = rt_load64(&old->n_bytes));
}

/* The same of a writer that goes on without a break: what a start begins anew. */
static void carry_life(struct rt_writer *w, const struct rt_writer *was)
{
	const struct rt_hot *old = was->hot;
	struct rt_hot *hot = w->hot;

	w->bell = was->bell;
	w->sweep = was->sweep;
	w->fixed_ns = was->fixed_ns;
	w->held = 0; /* everybody will be woken */
	rt_store64(&hot->n_txns, w->n_txns = was->n_txns);
	rt_store64(&hot->n_bytes, w->n_bytes = was->n_bytes);
	rt_store64(&hot->n_wakes, w->wakes = was->wakes);
	rt_store64(&hot->n_wake_calls, w->wake_calls = was->wake_calls);
	rt_store64(&hot->bell_id, was->bell_id);
	rt_store64(&hot->opened_ns, rt_load64(&old->opened_ns));
	rt_store64(&hot->n_sweeps, rt_load64(&old->n_sweeps));
	rt_store64(&hot->n_syncs, rt_load64(&old->n_syncs));
	rt_store64(&hot->sync_ns, rt_load64(&old->sync_ns));
	rt_store64(&hot->synced_at_ns, rt_load64(&old->synced_at_ns));
	rt_store64(&hot->synced_seq, rt_load64(&old->synced_seq));
	rt_store32(&hot->durability, rt_load32(&old->durability));
	rt_store64(&hot->log_damage, rt_load64(&old->log_damage));
}

/* Can every byte of the old ring mean in the new one what it meant there? */
static bool is_alike(const struct rt_geometry *old, const struct rt_geometry *new)
{
	return old->n_slots == new->n_slots && old->payload_size == new->payload_size &&
	       old->max_key <= new->max_key && old->max_value <= new->max_value;
}

/* The events of @old, of the same size: all that is held, where it is. */
static void copy_over(struct rt_writer *w, const struct rt_segment *old,
		      const struct rt_writer *was)
{
	const struct rt_geometry *geo = &old->geo;

	/* Nobody can see the new one yet, and nobody else stores to the old. */
	memcpy((void *)w->slots, old->slots, geo->n_slots * sizeof(struct rt_slot));
	memcpy(w->payload, old->payload, geo->payload_size);
	w->next = was->next;
	w->floor = was->floor;
	w->pos = was->pos;
	rt_store64(&w->hot->head, w->next - 1);
}

/* A new ring of @epoch with what @was, which is not touched, has in @old. */
static int make_successor(struct rt_writer *w, const struct rt_writer *was,
			  const struct rt_segment *old, uint64_t epoch,
			  struct rt_fault *fault)
{
	static struct rt_bell quiet;
	int r = make_ring(w, epoch, was->floor - 1, fault);

	if (r < 0)
		return r;
	rt_store64(&w->hot->trimmed, rt_load64(&old->hot->trimmed));
	rt_store64(&w->hot->aged, rt_load64(&old->hot->aged));
	if (is_alike(&old->geo, &w->segment.geo)) {
		copy_over(w, old, was);
		return 0;
	}
	rt_writer_init_limits(w);
	be_quiet(w, &quiet);
	w->last_ns = 0; /* what is carried keeps its own times */
	r = carry_over(w, old, was->floor, was->next - 1, fault);
	end_quiet(w);
	w->last_ns = was->last_ns;
	return r;
}

/*
 * The new ring, complete, takes the place of the old one.  Readers see: the old ring
 * retired, while the name still leads to it, so that they look again; the new file
 * under the name; a wake-up.  A writer that dies after the first leaves a ring that the
 * next one takes up as if it had never been retired; one that dies after the second
 * leaves nobody behind, since the old ring says where to look.
 */
static int take_its_place(struct rt_writer *w, struct rt_segment *old,
			  struct rt_fault *fault)
{
	uint32_t state = rt_load32(&old->hot->state);
	int r;

	retire(old, w->segment.geo.instance);
	r = publish_ring(w, fault);
	if (r < 0) {
		rt_store32(&old->hot->state, state);
		return r;
	}
	rt_writer_wake_everybody(old->hot);
	return 0;
}

int rt_writer_replace(struct rt_writer *w, bool new_epoch, struct rt_fault *fault)
{
	AUTO(rt_segment_drop) struct rt_segment old = w->segment;
	struct rt_writer was = *w;
	uint64_t epoch = new_epoch ? w->config.epoch : old.geo.epoch;
	int r;

	w->segment = RT_SEGMENT_NONE;
	if (!epoch)
		epoch = rt_random64();
	r = new_epoch ? make_filled(w, epoch, fault)
		      : make_successor(w, &was, &old, epoch, fault);
	if (r < 0)
		return r;
	carry_words(w, old.hot);
	return take_its_place(w, &old, fault);
}

/* The ring that was made, and its keeper, go; the writer stays with the old one. */
static void give_up(struct rt_writer *w)
{
	if (w->keeper)
		rt_keeper_remove(w->keeper);
	rt_segment_drop(&w->segment);
	(void)unlinkat(w->dir_fd, RT_RING_TMP_NAME, 0); /* it may not be there yet */
}

/*
 * While the new ring is made the old one is the feed, and a failure leaves it as it
 * was. The new one has everything of a ring that lives before anybody can see it: its
 * own entry in the list of the keeper, the lock, heartbeat and state.  A writer that
 * dies on the way has both marked by the kernel.
 */
int rt_writer_move(struct rt_writer *w, const struct rt_ring_config *config,
		   struct rt_fault *fault)
{
	struct rt_writer new = *w;
	int r;

	if (w->in_txn || config->wake_mode != w->config.wake_mode)
		return rt_writer_fail(fault, w->name, "move its ring", -EINVAL);
	new.config = *config;
	new.config.name = w->name;
	new.segment = RT_SEGMENT_NONE;
	new.keeper = NULL;
	r = make_successor(&new, w, &w->segment, w->segment.geo.epoch, fault);
	if (!r) {
		carry_words(&new, w->hot);
		carry_life(&new, w);
		rt_writer_init_limits(&new);
		r = rt_writer_start(&new, fault);
	}
	if (!r)
		r = take_its_place(&new, &w->segment, fault);
	if (r < 0) {
		give_up(&new);
		return r;
	}
	rt_keeper_remove(w->keeper);
	rt_segment_drop(&w->segment);
	*w = new;
	rt_writer_open_readers(w);
	/* For those who may read now; if that fails, the next beat tries again. */
	(void)rt_writer_bell_check(w);
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
