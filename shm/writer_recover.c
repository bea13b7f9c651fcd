/* SPDX-License-Identifier: MIT */
/*
 * Recovery of what a dead writer left in its ring.
 */
#include <errno.h>
#include <inttypes.h>

#include "shm/writer_parts.h"

int rt_writer_damaged(const struct rt_writer *w, struct rt_fault *fault,
		      const char *what, uint64_t seq)
{
	rt_fault_set(fault,
		     "feed '%s': its ring is damaged: %s at seq %" PRIu64
		     "; remove the file '%s' in its folder to begin a new history",
		     w->name, what, seq, RT_RING_NAME);
	return RT_E_CORRUPT;
}

/* Is the transaction that begins at @seq published?  Its size; 0 no; -1 nonsense. */
static int64_t published_at(const struct rt_writer *w, uint64_t seq)
{
	struct rt_event ev;
	enum rt_look look = rt_ring_look(&w->segment, seq, &ev);

	if (look == RT_LOOK_NOTHING)
		return 0;
	if (look != RT_LOOK_EVENT || ev.txn_index)
		return -1;
	for (uint32_t i = 1; i < ev.txn_size; i++) {
		struct rt_event next;

		if (rt_ring_look(&w->segment, seq + i, &next) != RT_LOOK_EVENT ||
		    next.txn_index != i || next.txn_size != ev.txn_size)
			return -1;
	}
	return ev.txn_size;
}

/*
 * Seq words of events that were never published would come to life as soon as the
 * one before them is: they go before anything else is stored.
 */
static void clear_beyond(struct rt_writer *w, uint64_t head)
{
	for (uint64_t i = 1; i <= w->segment.geo.max_txn_events; i++) {
		struct rt_slot *slot = &w->slots[(head + i) & w->slot_mask];

		if (rt_own64(&slot->seq) > head)
			rt_store64(&slot->seq, 0);
	}
}

/*
 * Stores, in order: seq words beyond the end become 0, head becomes the last
 * published seq.  A reader sees no change but head; a successor that comes after
 * any of the stores does the same again.
 */
int rt_writer_recover(struct rt_writer *w, struct rt_fault *fault)
{
	uint64_t head = rt_own64(&w->hot->head);
	uint64_t first_seq = w->segment.geo.first_seq;
	uint64_t nonsense;
	struct rt_event ev;
	int64_t n;

	w->floor = rt_own64(&w->hot->floor);
	if (head > UINT64_MAX / 2 || head + 1 < first_seq)
		return rt_writer_damaged(w, fault, "head is out of range", head);
	if (head >= first_seq &&
	    (rt_ring_look(&w->segment, head, &ev) != RT_LOOK_EVENT ||
	     ev.txn_index + 1 != ev.txn_size)) {
		/* Everything may lie below the floor; the slot is then still there. */
		return rt_writer_damaged(w, fault, "the newest event makes no sense",
					 head);
	}
	while ((n = published_at(w, head + 1)) > 0)
		head += (uint64_t)n;
	if (n < 0)
		return rt_writer_damaged(w, fault, "an event makes no sense", head + 1);
	if (w->floor < first_seq || w->floor > head + 1 ||
	    (w->floor <= head && head - w->floor > w->slot_mask))
		return rt_writer_damaged(w, fault, "floor is out of range", w->floor);
	nonsense = rt_ring_nonsense(&w->segment, w->floor, head);
	if (nonsense)
		return rt_writer_damaged(w, fault, "an event makes no sense", nonsense);

	clear_beyond(w, head);
	rt_store64(&w->hot->head, head);
	w->next = head + 1;
	if (head >= first_seq) {
		const struct rt_slot *last = &w->slots[head & w->slot_mask];
		uint64_t total =
			(uint64_t)last->key_len + last->value_len + last->prev_len;
		uint64_t in_slot = last->key_len <= RT_INLINE_MAX ? last->key_len : 0;
		uint64_t need = total <= RT_INLINE_MAX
					? 0
					: rt_round_up(total - in_slot, RT_WORD);

		/* Counted on from 2^32 words, so that older positions stay positive. */
		w->pos = (UINT64_C(1) << 32) * RT_WORD + (uint64_t)last->pos * RT_WORD +
			 need;
		w->last_ns = last->time_ns;
	}
	return 0;
}
