/* SPDX-License-Identifier: MIT */
#include "shm/look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>

/* A heartbeat is late when so many are missing. */
#define LATE_BEATS 3

#define BOUNDS_TRIES 1000

enum rt_look rt_ring_no_event(const struct rt_segment *segment, uint64_t seq,
			      uint64_t found)
{
	if (found < seq)
		return RT_LOOK_NOTHING;
	/* The floor was stored before the newer seq, or the nonsense, that is here. */
	return rt_ring_intact(segment, seq) ? RT_LOOK_CORRUPT : RT_LOOK_LAPPED;
}

enum rt_look rt_ring_look(const struct rt_segment *segment, uint64_t seq,
			  struct rt_event *ret)
{
	return rt_ring_look_at(segment, seq, ret);
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

	/* Of a damaged ring; so counting on from it never comes round to 0. */
	head = rt_min(head, RT_SEQ_MAX + 1);

	uint64_t oldest = rt_max(floor, segment->geo.first_seq);

	*ret_head = head;
	*ret_oldest = oldest > head ? head + 1 : oldest;
}

bool rt_ring_makes_sense(const struct rt_segment *segment)
{
	const struct rt_geometry *geo = &segment->geo;
	const struct rt_hot *hot = segment->hot;

	for (unsigned tries = 0; tries < BOUNDS_TRIES; tries++) {
		uint64_t floor = rt_load64(&hot->floor);
		uint64_t let_go =
			rt_max(rt_load64(&hot->trimmed), rt_load64(&hot->aged));
		uint64_t head = rt_load64(&hot->head);

		if (floor != rt_load64(&hot->floor))
			continue; /* as of different moments */
		return head <= RT_SEQ_MAX && floor >= geo->first_seq &&
		       floor <= head + 1 && head + 1 - floor <= geo->n_slots &&
		       let_go <= head + 1 && rt_load32(&hot->state) <= RT_STATE_RETIRED;
	}
	return true; /* somebody is busy with it */
}

uint64_t rt_ring_align(const struct rt_segment *segment, uint64_t seq)
{
	struct rt_event ev;

	if (rt_ring_look(segment, seq, &ev) != RT_LOOK_EVENT || !ev.txn_index)
		return seq;
	return seq - ev.txn_index + ev.txn_size;
}

uint64_t rt_ring_nonsense(const struct rt_segment *segment, uint64_t seq, uint64_t last)
{
	uint32_t index = 0, size = 0, begin = 0, before = 0;
	bool first = true;

	for (; seq <= last; seq++) {
		struct rt_event ev;

		if (rt_ring_look(segment, seq, &ev) != RT_LOOK_EVENT ||
		    ev.txn_index != index || (index && ev.txn_size != size) ||
		    ev.txn_size - index > last - seq + 1)
			return seq;
		size = ev.txn_size;
		index = index + 1 < size ? index + 1 : 0;
		if (first)
			begin = ev.pos;
		first = false;

		uint32_t offset = ev.pos - begin; /* modulo 2^32, as positions are */

		if (offset < before || offset > segment->geo.payload_size / RT_WORD)
			return seq;
		before = offset;
	}
	return 0;
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

uint64_t rt_ring_payload_of(const struct rt_event *ev)
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
	       rt_ring_payload_of(&newest);
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
	if (state == RT_STATE_RETIRED)
		return RT_LIVE; /* in another file; how it does is known there */
	if (state == RT_STATE_NEW)
		return is_locked(segment) ? RT_LIVE : RT_DEAD;
	if (rt_load32(&hot->life) & FUTEX_OWNER_DIED)
		return RT_DEAD;
	if (!every || now < beaten || now - beaten < LATE_BEATS * every)
		return RT_LIVE;
	return is_locked(segment) ? RT_STALLED : RT_DEAD;
}
