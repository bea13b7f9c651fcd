/* SPDX-License-Identifier: MIT */
/*
 * buffer.h - the transaction that is being delivered
 *
 * Copied whole before its first event is handed out, so that it is delivered whole
 * whatever the writer does meanwhile.
 */
#ifndef RINGTAIL_CLIENT_BUFFER_H
#define RINGTAIL_CLIENT_BUFFER_H

#include <ringtail.h>

#include "shm/look.h"

struct rt_buffer {
	struct ringtail_event *events; /* those that match the filters */
	size_t n, at;                  /* how many; the next to hand out */
	size_t cap;
	uint8_t *data; /* their keys, values and previous values */
	size_t data_cap;
	uint64_t last; /* seq of the last event of the transaction */
};

/* Room for @n events and @size bytes; what was in it is gone.  -ENOMEM. */
int rt_buffer_grow(struct rt_buffer *buffer, size_t n, size_t size);

RT_INLINE int rt_buffer_reserve(struct rt_buffer *buffer, size_t n, size_t size)
{
	if (RT_UNLIKELY(n > buffer->cap || size > buffer->data_cap))
		return rt_buffer_grow(buffer, n, size);
	return 0;
}

/* Bytes that an event takes in the buffer: each part aligned. */
RT_INLINE size_t rt_buffer_room(const struct rt_event *ev)
{
	return rt_round_up(ev->key_len, RT_WORD) + rt_round_up(ev->value_len, RT_WORD) +
	       rt_round_up(ev->prev_len, RT_WORD);
}

/* For rt_event_copy_alone(). */
RT_INLINE size_t rt_buffer_room_alone(const struct rt_event *ev)
{
	return RT_INLINE_MAX + rt_buffer_room(ev);
}

/* What it points to is still in the ring. */
RT_INLINE void rt_event_describe(const struct rt_event *ev, struct ringtail_event *ret)
{
	ret->seq = ev->seq;
	ret->rev = ev->seq - ev->txn_index + ev->txn_size - 1;
	ret->time_ns = ev->time_ns;
	ret->key = ev->key;
	ret->value = ev->value;
	ret->key_len = ev->key_len;
	ret->value_len = ev->value_len;
	ret->op = ev->op;
	ret->flags = ev->flags;
	ret->txn_index = ev->txn_index;
	ret->txn_size = ev->txn_size;
	ret->prev = RT_UNLIKELY(ev->prev_len) ? ev->value + ev->value_len : NULL;
	ret->prev_len = ev->prev_len;
}

/* Copies what it points to, so far in the ring, to @to; returns what follows. */
RT_INLINE uint8_t *rt_event_copy(struct ringtail_event *event, uint8_t *to)
{
	rt_copy_out(to, event->key, event->key_len);
	event->key = to;
	to += rt_round_up(event->key_len, RT_WORD);
	rt_copy_out(to, event->value, event->value_len);
	event->value = to;
	to += rt_round_up(event->value_len, RT_WORD);
	if (RT_LIKELY(!event->prev_len))
		return to;
	rt_copy_out(to, event->prev, event->prev_len);
	event->prev = to;
	return to + rt_round_up(event->prev_len, RT_WORD);
}

/*
 * The same for one event alone in the buffer, which has room for it and a slot's
 * bytes.  Those are copied all, used or not: that takes no branch.
 */
RT_INLINE void rt_event_copy_alone(struct ringtail_event *event,
				   const struct rt_event *ev, uint8_t *to)
{
	if (RT_UNLIKELY(ev->key_len > RT_INLINE_MAX || ev->prev_len)) {
		(void)rt_event_copy(event, to);
		return;
	}
	rt_copy_out_short(to, ev->key, RT_INLINE_MAX);
	event->key = to;
	/* By the lengths: the payload begins where the bytes of the last slot end. */
	if ((size_t)ev->key_len + ev->value_len <= RT_INLINE_MAX &&
	    ev->value == ev->key + ev->key_len) {
		event->value = to + ev->key_len;
		return;
	}
	rt_copy_out(to + RT_INLINE_MAX, ev->value, ev->value_len);
	event->value = to + RT_INLINE_MAX;
}

#endif
