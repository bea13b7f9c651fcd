/* SPDX-License-Identifier: MIT */
/*
 * history.h - the usual event of the log without a detour by the buffer
 *
 * Where it lies in the reader's window: valid until the next call that reads.
 */
#ifndef RINGTAIL_CLIENT_HISTORY_H
#define RINGTAIL_CLIENT_HISTORY_H

#include "client/reader.h"

/*
 * Describes the next event if it is at hand, committed, wanted and a transaction of its
 * own.  What rt_reader_log_pass() wants to know then; 0 if anything is not as usual.
 */
RT_INLINE size_t rt_reader_log_peek(const struct ringtail *r,
				    struct ringtail_event *ret)
{
	const struct rt_batch_cursor *cursor = &r->log_at;
	struct rt_item item;
	size_t size;

	if (cursor->seq != r->next || cursor->seq > r->log_head ||
	    RT_UNLIKELY(cursor->seq < r->let_go))
		return 0;
	size = rt_batch_peek_alone(cursor, &item);
	if (!size)
		return 0;
	if (!r->filters.all &&
	    !rt_filters_match(&r->filters, item.op, item.key, item.key_len))
		return 0;
	ret->seq = cursor->seq;
	ret->rev = cursor->seq;
	ret->time_ns = item.time_ns;
	ret->key = item.key;
	ret->value = item.key + item.key_len;
	ret->prev = NULL;
	ret->key_len = item.key_len;
	ret->value_len = item.value_len;
	ret->prev_len = 0;
	ret->op = item.op;
	ret->flags = item.flags | RINGTAIL_LAST;
	ret->txn_index = 0;
	ret->txn_size = 1;
	return size;
}

/* It is delivered. */
RT_INLINE void rt_reader_log_pass(struct ringtail *r, size_t size)
{
	uint64_t seq = r->next;

	rt_batch_pass(&r->log_at, size);
	r->next = seq + 1;
	r->position = seq;
	r->marker_seq = seq;
	r->delivered++;
}

/* The next batch, if the newest is used up and it is there. */
bool rt_reader_log_more(struct ringtail *r);

#endif
