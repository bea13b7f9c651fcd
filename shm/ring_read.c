/* SPDX-License-Identifier: MIT */
#include "shm/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>

/* A heartbeat is late when so many are missing. */
#define LATE_BEATS 3

#define BOUNDS_TRIES 1000

/* One 8-byte word of a slot, as it is at this moment. */
static uint64_t slot_word(const struct rt_slot *slot, unsigned index)
{
	return rt_load64((const _Atomic uint64_t *)(const void *)slot + index);
}

static const struct rt_slot *slot_of(const struct rt_segment *segment, uint64_t seq)
{
	return &segment->slots[seq & (segment->geo.n_slots - 1)];
}

/* Unpacks words 1 .. 4; the layout is little-endian (see layout.h). */
static void unpack(const struct rt_slot *slot, uint64_t seq, struct rt_event *ret)
{
	uint64_t place = slot_word(slot, 2);
	uint64_t shape = slot_word(slot, 3);
	uint64_t txn = slot_word(slot, 4);

	ret->seq = seq;
	ret->time_ns = slot_word(slot, 1);
	ret->pos = (uint32_t)place;
	ret->value_len = (uint32_t)(place >> 32);
	ret->key_len = (uint16_t)shape;
	ret->op = (uint8_t)(shape >> 16);
	ret->flags = (uint8_t)(shape >> 24);
	ret->prev_len = (uint32_t)(shape >> 32);
	ret->txn_index = (uint32_t)txn;
	ret->txn_size = (uint32_t)(txn >> 32);
}

/* Finds key and value; false if they do not lie where they can lie. */
static bool locate(const struct rt_segment *segment, const struct rt_slot *slot,
		   struct rt_event *ev)
{
	const struct rt_geometry *geo = &segment->geo;
	uint64_t total = (uint64_t)ev->key_len + ev->value_len + ev->prev_len;

	if (!ev->key_len || ev->key_len > geo->max_key ||
	    ev->value_len > geo->max_value || ev->op < RT_OP_PUT ||
	    ev->op > RT_OP_MESSAGE || ev->prev_len > geo->max_value)
		return false;
	if (!ev->txn_size || ev->txn_size > geo->max_txn_events ||
	    ev->txn_index >= ev->txn_size || ev->seq <= ev->txn_index)
		return false;

	if (total <= RT_INLINE_MAX) {
		ev->key = slot->bytes;
		ev->value = slot->bytes + ev->key_len;
		return true;
	}

	uint64_t offset = (uint64_t)ev->pos * RT_WORD & (geo->payload_size - 1);
	bool key_in_slot = ev->key_len <= RT_INLINE_MAX;

	if (offset + total - (key_in_slot ? ev->key_len : 0) > geo->payload_size)
		return false;
	ev->key = key_in_slot ? slot->bytes : segment->payload + offset;
	ev->value = segment->payload + offset + (key_in_slot ? 0 : ev->key_len);
	return true;
}

enum rt_look rt_ring_look(const struct rt_segment *segment, uint64_t seq,
			  struct rt_event *ret)
{
	const struct rt_slot *slot = slot_of(segment, seq);
	uint64_t found = rt_load64(&slot->seq);

	if (RT_UNLIKELY(found != seq)) {
		if (found < seq)
			return RT_LOOK_NOTHING;
		/* The floor was stored before the newer seq that is here now. */
		return rt_ring_intact(segment, seq) ? RT_LOOK_CORRUPT : RT_LOOK_LAPPED;
	}
	unpack(slot, seq, ret);
	if (RT_UNLIKELY(!locate(segment, slot, ret)))
		return rt_ring_intact(segment, seq) ? RT_LOOK_CORRUPT : RT_LOOK_LAPPED;
	return RT_LOOK_EVENT;
}

void rt_ring_bounds(const struct rt_segment *segment, uint64_t *ret_oldest,
		    uint64_t *ret_head)
{
	uint64_t head, floor;
	unsigned tries = 0;

	/* The floor of a moment at which head was what it is.  That fails only if a
	 * ring's worth was committed in between, or for ever if the ring is damaged. */
	do {
		head = rt_load64(&segment->hot->head);
		floor = rt_load64(&segment->hot->floor);
	} while (floor > head + 1 && ++tries < BOUNDS_TRIES);

	uint64_t oldest = rt_max(floor, segment->geo.first_seq);

	*ret_head = head;
	*ret_oldest = oldest > head ? head + 1 : oldest;
}

uint64_t rt_ring_align(const struct rt_segment *segment, uint64_t seq)
{
	struct rt_event ev;

	if (rt_ring_look(segment, seq, &ev) != RT_LOOK_EVENT || !ev.txn_index)
		return seq;
	return seq - ev.txn_index + ev.txn_size;
}

/*
 * First seq in (oldest, head + 1] for which @reached says yes, by bisection; a slot
 * that was overwritten meanwhile counts as no, since what it held lay too far back.
 */
static uint64_t bisect(const struct rt_segment *segment,
		       bool (*reached)(const struct rt_event *ev, uint64_t arg),
		       uint64_t arg)
{
	uint64_t low, high, head;
	struct rt_event ev;

	rt_ring_bounds(segment, &low, &head);
	for (high = head + 1; low < high;) {
		uint64_t middle = low + (high - low) / 2;

		if (rt_ring_look(segment, middle, &ev) == RT_LOOK_EVENT &&
		    reached(&ev, arg))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool is_at_time(const struct rt_event *ev, uint64_t time_ns)
{
	return ev->time_ns >= time_ns;
}

/* @pos: 32-bit word position, modulo 2^32; nothing held is further apart than 2^31. */
static bool is_at_pos(const struct rt_event *ev, uint64_t pos)
{
	return (int32_t)(ev->pos - (uint32_t)pos) >= 0;
}

uint64_t rt_ring_at_time(const struct rt_segment *segment, uint64_t time_ns)
{
	/* All events of a transaction have one time, so this is the first of one. */
	return bisect(segment, is_at_time, time_ns);
}

uint64_t rt_ring_half(const struct rt_segment *segment)
{
	const struct rt_geometry *geo = &segment->geo;
	uint64_t oldest, head, target;
	struct rt_event ev;

	rt_ring_bounds(segment, &oldest, &head);
	target = oldest + geo->n_slots / 2 + geo->n_slots / RT_STEPS;
	if (rt_ring_look(segment, oldest, &ev) == RT_LOOK_EVENT) {
		uint64_t words =
			(geo->payload_size / 2 + geo->payload_size / RT_STEPS) /
			RT_WORD;

		target = rt_min(target, bisect(segment, is_at_pos,
					       (uint32_t)(ev.pos + (uint32_t)words)));
	}
	return rt_min(rt_ring_align(segment, rt_min(target, head + 1)), head + 1);
}

static uint64_t payload_of(const struct rt_event *ev)
{
	uint64_t total = (uint64_t)ev->key_len + ev->value_len + ev->prev_len;

	if (total <= RT_INLINE_MAX)
		return 0;
	return rt_round_up(total - (ev->key_len <= RT_INLINE_MAX ? ev->key_len : 0),
			   RT_WORD);
}

uint64_t rt_ring_bytes_from(const struct rt_segment *segment, uint64_t seq)
{
	struct rt_event from, newest;
	uint64_t oldest, head;

	rt_ring_bounds(segment, &oldest, &head);
	if (seq < oldest || seq > head ||
	    rt_ring_look(segment, seq, &from) != RT_LOOK_EVENT ||
	    rt_ring_look(segment, head, &newest) != RT_LOOK_EVENT)
		return 0;
	return (uint64_t)(uint32_t)(newest.pos - from.pos) * RT_WORD +
	       payload_of(&newest);
}

/* Does anybody hold the writer's lock?  A lock of another reader is no answer. */
static bool is_locked(const struct rt_segment *segment)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fcntl(segment->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}

enum rt_liveness rt_ring_liveness(const struct rt_segment *segment)
{
	const struct rt_hot *hot = segment->hot;
	uint32_t state = rt_load32(&hot->state);
	uint64_t every = rt_load64(&hot->beat_every_ns);
	uint64_t beaten = rt_load64(&hot->heartbeat_ns);
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);

	if (state == RT_STATE_CLOSED)
		return RT_CLOSED;
	if (state == RT_STATE_NEW)
		return is_locked(segment) ? RT_LIVE : RT_DEAD;
	if (rt_load32(&hot->life) & FUTEX_OWNER_DIED)
		return RT_DEAD;
	if (!every || now < beaten || now - beaten < LATE_BEATS * every)
		return RT_LIVE;
	return is_locked(segment) ? RT_STALLED : RT_DEAD;
}
