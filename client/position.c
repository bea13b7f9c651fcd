/* SPDX-License-Identifier: MIT */
/*
 * Every seq between start and position is delivered, filtered or lost, and each is
 * counted in one place of this file.
 */
#include <errno.h>
#include <inttypes.h>

#include "client/reader.h"

int rt_reader_stop(struct ringtail *r, int why)
{
	if (r->stop)
		return r->stop;
	r->stop = why;
	if (r->presence)
		rt_presence_write(r, RT_PRESENCE_ENDED);
	return r->stop;
}

int rt_reader_canceled(struct ringtail *r)
{
	if (!r->stop)
		rt_fault_set(&r->fault, "feed '%s': canceled", r->segment.geo.name);
	return rt_reader_stop(r, RINGTAIL_E_CANCELED);
}

/*
 * ---- Accounts ----
 */

void rt_reader_filtered(struct ringtail *r, uint64_t n)
{
	r->filtered += n;
	r->position += n;
}

void rt_reader_delivered(struct ringtail *r, uint64_t seq)
{
	rt_reader_filtered(r, seq - r->position - 1);
	r->delivered++;
	r->position = seq;
}

void rt_reader_txn_end(struct ringtail *r, uint64_t last)
{
	rt_reader_filtered(r, last - r->position);
	r->marker_seq = last;
}

static void lose(struct ringtail *r, const struct ringtail_gap_info *gap)
{
	r->gap = *gap;
	r->lost += gap->count;
	r->gaps++;
	r->position += gap->count;
	r->next = r->position + 1;
	r->marker_seq = r->position;
	if (r->presence)
		rt_presence_write(r, RT_PRESENCE_RUNNING);
}

int rt_reader_ended(struct ringtail *r)
{
	if (!r->stop)
		rt_fault_set(&r->fault,
			     "feed '%s': the end: everything up to seq %" PRIu64
			     " has been read, and no more was asked for",
			     r->segment.geo.name, r->until);
	return rt_reader_stop(r, RINGTAIL_E_END);
}

/*
 * ---- Gaps ----
 */

/*
 * Where to go on after a lap.  The floor keeps the most; but who was lapped again
 * before half of what the ring holds was read is too slow for that, and goes on
 * half a ring ahead, or every event would become a gap.
 */
static uint64_t resume_at(const struct ringtail *r, uint64_t oldest, uint64_t head)
{
	bool again = r->resumed_at && r->next - r->resumed_at < (head - oldest + 1) / 2;

	if (!again)
		return oldest;
	/* Half of another moment; in a ring that makes sense never above this one's. */
	return rt_min(rt_max(rt_ring_half(&r->segment), oldest), head + 1);
}

static bool is_fresh(const struct ringtail *r)
{
	return r->start_kind == RINGTAIL_START_OLDEST && !r->answered &&
	       r->position == r->start;
}

/* Nothing was promised yet but "the oldest there is": that is another one now. */
static int restart_at(struct ringtail *r, uint64_t seq)
{
	r->start = seq - 1;
	r->position = seq - 1;
	r->marker_seq = seq - 1;
	r->next = seq;
	r->resumed_at = seq;
	return RINGTAIL_NOTHING;
}

/* Gone for good from @first on: by policy an error, or a gap up to @at. */
static int gap(struct ringtail *r, uint64_t at, uint64_t oldest, uint32_t cause)
{
	struct ringtail_gap_info gap = {
		.first = r->next,
		.cause = cause,
	};

	/* What nobody asked for is not missed. */
	if (at > r->until)
		at = r->until + 1;
	oldest = rt_min(oldest, at);
	gap.count = at - r->next;
	gap.skipped = at - oldest;
	if (r->on_gap == RINGTAIL_ON_GAP_RESYNC)
		return rt_reader_resync(r, cause);
	if (r->leaves_gaps && r->on_gap == RINGTAIL_ON_GAP_SKIP)
		return RINGTAIL_GAP;
	if (r->on_gap == RINGTAIL_ON_GAP_SKIP) {
		lose(r, &gap);
		r->resumed_at = at;
		return RINGTAIL_GAP;
	}
	r->gap = gap;
	if (cause == RINGTAIL_CAUSE_LAPPED)
		return rt_reader_stop(r, RINGTAIL_E_LAPPED);
	return rt_reader_stop(r, RINGTAIL_E_COMPACTED);
}

uint32_t rt_reader_cause(const struct ringtail *r, uint64_t oldest, uint32_t otherwise)
{
	uint64_t trimmed = rt_load64(&r->segment.hot->trimmed);
	uint64_t aged = rt_load64(&r->segment.hot->aged);

	/* The oldest is the first of its transaction, which can be below these. */
	if (rt_max(trimmed, aged) < oldest)
		return otherwise;
	return aged >= trimmed ? RINGTAIL_CAUSE_EXPIRED : RINGTAIL_CAUSE_COMPACTED;
}

const char *rt_reader_gone(uint32_t cause)
{
	return cause == RINGTAIL_CAUSE_EXPIRED ? "compacted by age" : "compacted";
}

int rt_reader_compacted(struct ringtail *r)
{
	uint64_t oldest, head, in_log;
	uint32_t cause;

	r->in_log = false;
	rt_ring_bounds(&r->segment, &oldest, &head);
	if (rt_reader_oldest_in_log(r, &in_log) == 0)
		oldest = rt_min(oldest, in_log);
	if (oldest <= r->next)
		return RINGTAIL_NOTHING; /* it is in the ring after all */
	if (is_fresh(r))
		return restart_at(r, oldest);
	cause = rt_reader_cause(r, oldest, RINGTAIL_CAUSE_COMPACTED);
	rt_fault_set(&r->fault,
		     "feed '%s': %s: events %" PRIu64 " to %" PRIu64
		     " are no longer held (oldest %" PRIu64 ", newest %" PRIu64 ")",
		     r->segment.geo.name, rt_reader_gone(cause), r->next, oldest - 1,
		     oldest, head);
	return gap(r, oldest, oldest, cause);
}

static int corrupt(struct ringtail *r, uint64_t seq)
{
	rt_fault_set(&r->fault, "%s: damaged: slot of seq %" PRIu64 " makes no sense",
		     r->path ? r->path : r->segment.geo.name, seq);
	return rt_reader_stop(r, RINGTAIL_E_CORRUPT);
}

int rt_reader_senseless(struct ringtail *r)
{
	const struct rt_hot *hot = r->segment.hot;

	rt_fault_set(
		&r->fault,
		"%s: damaged: what the writer says at byte %u makes no sense: head "
		"%" PRIu64 ", floor %" PRIu64 ", state %u",
		r->path ? r->path : r->segment.geo.name, RT_PAGE, rt_load64(&hot->head),
		rt_load64(&hot->floor), rt_load32(&hot->state));
	return rt_reader_stop(r, RINGTAIL_E_CORRUPT);
}

static int lapped_without_log(struct ringtail *r)
{
	bool fresh = is_fresh(r);
	uint64_t oldest, head, at;

	rt_ring_bounds(&r->segment, &oldest, &head);
	/* The floor is above all that was ever committed, or that ever can be. */
	if (oldest <= r->next || head > RT_SEQ_MAX)
		return corrupt(r, r->next);
	if (rt_reader_cause(r, oldest, RINGTAIL_CAUSE_LAPPED) != RINGTAIL_CAUSE_LAPPED)
		return rt_reader_compacted(r);
	at = fresh || r->on_gap == RINGTAIL_ON_GAP_SKIP ? resume_at(r, oldest, head)
							: oldest;
	if (fresh)
		return restart_at(r, at);
	rt_fault_set(&r->fault,
		     "feed '%s': lapped: events %" PRIu64 " to %" PRIu64
		     " were overwritten unread (oldest held %" PRIu64
		     ", newest %" PRIu64 ")",
		     r->segment.geo.name, r->next, oldest - 1, oldest, head);
	return gap(r, at, oldest, RINGTAIL_CAUSE_LAPPED);
}

int rt_reader_lapped(struct ringtail *r)
{
	int e;

	if (!rt_ring_makes_sense(&r->segment))
		return rt_reader_senseless(r);
	e = rt_reader_enter_log(r, r->next, &r->fault);
	if (!e)
		return RINGTAIL_NOTHING;
	if (e == RINGTAIL_E_COMPACTED)
		return rt_reader_compacted(r);
	if (rt_passes(e))
		return e;
	return e == -ENOENT ? lapped_without_log(r) : rt_reader_stop(r, e);
}

/* What a look that did not find a whole event means for the reader. */
static int no_event(struct ringtail *r, enum rt_look look, uint64_t seq)
{
	switch (look) {
	case RT_LOOK_NOTHING:
		return RINGTAIL_NOTHING;
	case RT_LOOK_LAPPED:
		return rt_reader_lapped(r);
	default:
		return corrupt(r, seq);
	}
}

/*
 * ---- Fetching ----
 */

/*
 * In the middle of a transaction only below head: there, later events can carry
 * their seq before the first one does, and of a dead writer they always do.
 */
static bool is_published(const struct ringtail *r, const struct rt_event *ev)
{
	return !ev->txn_index || ev->seq <= rt_load64(&r->segment.hot->head);
}

static int grow_events(struct rt_buffer *buffer, size_t n)
{
	n = rt_max(n, buffer->cap * 2);

	void *grown = realloc(buffer->events, n * sizeof(*buffer->events));

	if (!grown)
		return -ENOMEM;
	buffer->events = grown;
	buffer->cap = n;
	return 0;
}

static int grow_data(struct rt_buffer *buffer, size_t size)
{
	uint8_t *grown;

	size = rt_round_up(size + size / 2, 64);
	grown = aligned_alloc(64, size);
	if (!grown)
		return -ENOMEM;
	free(buffer->data); /* nothing in it is in use while fetching */
	buffer->data = grown;
	buffer->data_cap = size;
	return 0;
}

int rt_buffer_grow(struct rt_buffer *buffer, size_t n, size_t size)
{
	int e = n > buffer->cap ? grow_events(buffer, n) : 0;

	return !e && size > buffer->data_cap ? grow_data(buffer, size) : e;
}

/*
 * Describes the rest of the transaction that begins with @ev, without copying:
 * the events that match, pointing into the ring.  Returns the bytes they need.
 */
static int64_t describe_txn(struct ringtail *r, struct rt_event *ev, enum rt_look *look)
{
	struct rt_buffer *buffer = &r->buffer;
	uint32_t size = ev->txn_size;
	uint32_t index = ev->txn_index;
	uint64_t left = r->segment.geo.max_txn_bytes;
	int64_t bytes = 0;
	int e = rt_buffer_reserve(buffer, size - index, 0);

	if (e < 0)
		return e;
	for (;;) {
		uint64_t own = (uint64_t)ev->key_len + ev->value_len + ev->prev_len;

		if (own > left) {
			/* Or a lap; in either case not worth the memory. */
			*look = RT_LOOK_CORRUPT;
			return bytes;
		}
		left -= own;
		if (rt_reader_wants(r, ev)) {
			rt_event_describe(ev, &buffer->events[buffer->n++]);
			bytes += (int64_t)rt_buffer_room(ev);
		}
		if (++index == size)
			return bytes;
		*look = rt_ring_look(&r->segment, ev->seq + 1, ev);
		if (*look == RT_LOOK_EVENT &&
		    (ev->txn_index != index || ev->txn_size != size))
			*look = RT_LOOK_CORRUPT;
		if (*look == RT_LOOK_NOTHING)
			*look = RT_LOOK_CORRUPT; /* its first event is published */
		if (*look != RT_LOOK_EVENT)
			return bytes;
	}
}

/* A transaction of more than one event, or the rest of one. */
static int fetch_txn(struct ringtail *r, struct rt_event *ev)
{
	struct rt_buffer *buffer = &r->buffer;
	enum rt_look look = RT_LOOK_EVENT;
	uint64_t last = ev->seq - ev->txn_index + ev->txn_size - 1;
	int64_t bytes;
	int e;

	if (!is_published(r, ev))
		return RINGTAIL_NOTHING;
	bytes = describe_txn(r, ev, &look);
	if (bytes < 0)
		return (int)bytes;
	if (look == RT_LOOK_EVENT) {
		e = rt_buffer_reserve(buffer, buffer->n, (size_t)bytes);
		if (e < 0)
			return e;

		uint8_t *to = buffer->data;

		for (size_t i = 0; i < buffer->n; i++)
			to = rt_event_copy(&buffer->events[i], to);
	}
	/* The floor is always at the first of a transaction, so this is for all of it.
	 */
	if (!rt_ring_intact(&r->segment, r->next))
		return rt_reader_lapped(r);
	if (look != RT_LOOK_EVENT)
		return corrupt(r, r->next);
	if (last > r->until)
		return rt_reader_ended(r);
	buffer->last = last;
	r->next = last + 1;
	if (buffer->n)
		return RINGTAIL_EVENT;
	rt_reader_txn_end(r, last);
	return RINGTAIL_NOTHING;
}

/* The usual case: a transaction of one event. */
RT_INLINE int fetch_one(struct ringtail *r, const struct rt_event *ev)
{
	struct rt_buffer *buffer = &r->buffer;
	bool wanted = rt_reader_wants(r, ev);

	if (wanted) {
		int e = rt_buffer_reserve(buffer, 1, rt_buffer_room_alone(ev));

		if (RT_UNLIKELY(e < 0))
			return e;
		rt_event_describe(ev, &buffer->events[0]);
		rt_event_copy_alone(&buffer->events[0], ev, buffer->data);
	}
	if (RT_UNLIKELY(!rt_ring_intact(&r->segment, ev->seq)))
		return rt_reader_lapped(r);
	r->next = ev->seq + 1;
	if (wanted) {
		buffer->n = 1;
		buffer->last = ev->seq;
		return RINGTAIL_EVENT;
	}
	rt_reader_txn_end(r, ev->seq);
	return RINGTAIL_NOTHING;
}

/* From the ring only; RINGTAIL_NOTHING with `next` moved or in_log set: go on. */
static int fetch_from_ring(struct ringtail *r)
{
	struct rt_event ev;
	enum rt_look look = rt_ring_look_at(&r->segment, r->next, &ev);

	r->buffer.n = 0;
	r->buffer.at = 0;
	if (RT_UNLIKELY(look != RT_LOOK_EVENT))
		return no_event(r, look, r->next);
	if (RT_LIKELY(ev.txn_size == 1))
		return fetch_one(r, &ev);
	return fetch_txn(r, &ev);
}

int rt_reader_fetch(struct ringtail *r)
{
	/* So that events that are filtered faster than they come do not hold us here.
	 */
	uint64_t end = UINT64_MAX;

	for (;;) {
		bool was_in_log = r->in_log;
		uint64_t before = r->next;
		int outcome;

		if (RT_UNLIKELY(before > r->until))
			return rt_reader_ended(r);
		outcome = was_in_log ? rt_reader_fetch_log(r) : fetch_from_ring(r);
		if (RT_LIKELY(outcome == RINGTAIL_EVENT))
			return outcome;
		r->buffer.n = 0; /* described, but not to be believed */
		if (outcome != RINGTAIL_NOTHING || RT_UNLIKELY(r->resync.phase))
			return outcome;
		if (r->next == before && r->in_log == was_in_log)
			return RINGTAIL_NOTHING;
		if (end == UINT64_MAX)
			end = rt_load64(&r->segment.hot->head);
		if (r->next > end && !r->in_log && r->next <= r->until)
			return RINGTAIL_NOTHING;
	}
}

int rt_reader_lend(struct ringtail *r, struct ringtail_event *event)
{
	uint64_t end = rt_load64(&r->segment.hot->head);
	struct rt_event ev;

	for (;;) {
		if (RT_UNLIKELY(r->next > r->until))
			return rt_reader_ended(r);

		enum rt_look look = rt_ring_look(&r->segment, r->next, &ev);
		uint64_t before = r->next;
		bool wanted = look == RT_LOOK_EVENT && rt_reader_wants(r, &ev);

		if (look == RT_LOOK_EVENT && !rt_ring_intact(&r->segment, r->next))
			look = RT_LOOK_LAPPED;
		if (look == RT_LOOK_EVENT && !is_published(r, &ev))
			look = RT_LOOK_NOTHING;
		if (look != RT_LOOK_EVENT) {
			int outcome = no_event(r, look, r->next);

			if (outcome != RINGTAIL_NOTHING || r->next == before)
				return outcome;
			continue;
		}
		if (RT_UNLIKELY(ev.seq - ev.txn_index + ev.txn_size - 1 > r->until))
			return rt_reader_ended(r);
		if (wanted) {
			rt_event_describe(&ev, event);
			r->lent_last = event->seq == event->rev;
			if (r->lent_last)
				event->flags |= RINGTAIL_LAST;
			r->lent = true;
			return RINGTAIL_EVENT;
		}
		rt_reader_filtered(r, 1);
		if (ev.txn_index + 1 == ev.txn_size)
			r->marker_seq = r->position;
		r->next++;
		if (r->next > end && r->next <= r->until)
			return RINGTAIL_NOTHING;
	}
}
