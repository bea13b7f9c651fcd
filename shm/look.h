/* SPDX-License-Identifier: MIT */
/*
 * look.h - one slot as a reader sees it, copied and checked
 *
 * Inline, since a reader does this for every event.  Everything computes with the
 * private geometry; what is loaded here can change at the next moment, and whoever
 * made something of it asks rt_ring_intact() before believing it.
 */
#ifndef RINGTAIL_SHM_LOOK_H
#define RINGTAIL_SHM_LOOK_H

#include "shm/ring.h"

RT_INLINE const struct rt_slot *rt_slot_of(const struct rt_segment *segment,
					   uint64_t seq)
{
	return &segment->slots[seq & (segment->geo.n_slots - 1)];
}

/* One 8-byte word of a slot, as it is at this moment. */
RT_INLINE uint64_t rt_slot_word(const struct rt_slot *slot, unsigned index)
{
	return rt_load64((const _Atomic uint64_t *)(const void *)slot + index);
}

/* Unpacks words 1 .. 4; slots are little-endian. */
RT_INLINE void rt_slot_unpack(const struct rt_slot *slot, uint64_t seq,
			      struct rt_event *ret)
{
	uint64_t place = rt_slot_word(slot, 2);
	uint64_t shape = rt_slot_word(slot, 3);
	uint64_t txn = rt_slot_word(slot, 4);

	ret->seq = seq;
	ret->time_ns = rt_slot_word(slot, 1);
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
RT_INLINE bool rt_slot_locate(const struct rt_segment *segment,
			      const struct rt_slot *slot, struct rt_event *ev)
{
	const struct rt_geometry *geo = &segment->geo;
	uint64_t total = (uint64_t)ev->key_len + ev->value_len + ev->prev_len;

	if ((uint32_t)ev->key_len - 1 >= geo->max_key ||
	    ev->value_len > geo->max_value ||
	    (unsigned)ev->op - RT_OP_PUT > RT_OP_MESSAGE - RT_OP_PUT ||
	    ev->prev_len > geo->max_value)
		return false;
	if (ev->txn_size - 1 >= geo->max_txn_events || ev->txn_index >= ev->txn_size ||
	    ev->seq <= ev->txn_index)
		return false;

	ev->key = slot->bytes;
	if (total <= RT_INLINE_MAX) {
		ev->value = slot->bytes + ev->key_len;
		return true;
	}

	uint64_t offset = (uint64_t)ev->pos * RT_WORD & (geo->payload_size - 1);

	ev->value = segment->payload + offset;
	if (RT_LIKELY(ev->key_len <= RT_INLINE_MAX))
		return offset + total - ev->key_len <= geo->payload_size;
	ev->key = ev->value;
	ev->value += ev->key_len;
	return offset + total <= geo->payload_size;
}

/* What it means that seq @found, or nonsense, is in the slot of @seq; never an event.
 */
enum rt_look rt_ring_no_event(const struct rt_segment *segment, uint64_t seq,
			      uint64_t found);

RT_INLINE enum rt_look rt_ring_look_at(const struct rt_segment *segment, uint64_t seq,
				       struct rt_event *ret)
{
	const struct rt_slot *slot = rt_slot_of(segment, seq);
	uint64_t found = rt_load64(&slot->seq);

	if (RT_LIKELY(found == seq)) {
		rt_slot_unpack(slot, seq, ret);
		if (RT_LIKELY(rt_slot_locate(segment, slot, ret)))
			return RT_LOOK_EVENT;
	}

	enum rt_look look = rt_ring_no_event(segment, seq, found);

	if (look == RT_LOOK_EVENT)
		__builtin_unreachable();
	return look;
}

#endif
