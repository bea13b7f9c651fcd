/* SPDX-License-Identifier: MIT */
/*
 * Reading what the ring no longer holds: the log, without asking its writer.
 *
 * A reader goes to the log when it is lapped or starts further back, and into the
 * ring again when it has caught up, or is so near that it will not be lapped at once.
 * Only what is at or below head is delivered: the log may hold more, which is not
 * committed yet.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#include "client/history.h"

int rt_reader_find_log(struct ringtail *r, struct rt_fault *fault)
{
	const char *slash = r->path ? strrchr(r->path, '/') : NULL;
	char path[PATH_MAX];
	int n, e;

	if (r->log_open)
		return 0;
	r->log_foreign = false;
	if (!r->path)
		return -ENOENT;
	n = snprintf(path, sizeof(path), "%.*slog",
		     slash ? (int)(slash - r->path) + 1 : 0, r->path);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENOENT;
	e = rt_log_reader_open(path, fault, &r->log);
	if (e < 0)
		return e == -EACCES || rt_passes(e) ? e : -ENOENT;
	e = rt_log_has_epoch(r->log.dir_fd, r->segment.geo.epoch);
	if (e < 0) {
		rt_fault_set(fault, "%.400s/epochs: %s", path, ringtail_strerror(e));
		rt_log_reader_close(&r->log);
		r->log_foreign = e == RINGTAIL_E_EPOCH;
		/* One that was left here by another history is none. */
		return e == -EACCES || rt_passes(e) ? e : -ENOENT;
	}
	r->log_open = true;
	r->had_log = true;
	return 0;
}

bool rt_reader_has_log(struct ringtail *r)
{
	struct rt_fault unused;

	return rt_reader_find_log(r, &unused) == 0;
}

/* It is looked for again when it is needed. */
void rt_reader_leave_log(struct ringtail *r)
{
	if (r->log_open)
		rt_log_reader_close(&r->log);
	r->log_open = false;
	r->in_log = false;
}

int rt_reader_oldest_in_log(struct ringtail *r, uint64_t *ret)
{
	int e = rt_reader_has_log(r) ? rt_log_reader_oldest(&r->log, ret) : -ENOENT;

	return !e && !*ret ? -ENOENT : e;
}

int rt_reader_enter_log(struct ringtail *r, uint64_t seq, struct rt_fault *fault)
{
	int e = rt_reader_find_log(r, fault);

	if (!e)
		e = rt_log_reader_seek(&r->log, seq, fault);
	/* To who skips what cannot be had, a log that may not be read is none. */
	if (e == -EACCES && r->on_gap == RINGTAIL_ON_GAP_SKIP)
		return -ENOENT;
	if (e < 0)
		return e;
	r->in_log = true;
	r->log_at = (struct rt_batch_cursor){ 0 };
	return 0;
}

int rt_reader_seek_log_time(struct ringtail *r, uint64_t time_ns, uint64_t *ret)
{
	uint64_t head = rt_load64(&r->segment.hot->head);
	struct rt_batch_cursor cursor;
	struct rt_fault *fault = rt_open_fault();
	const uint8_t *data;
	struct rt_item item;
	int e;

	if (!rt_reader_has_log(r))
		return -ENOENT;
	e = rt_log_reader_seek_time(&r->log, time_ns, fault);
	while (!e && (e = rt_log_reader_next(&r->log, head, fault, &data)) == 1) {
		rt_batch_open(data, &cursor);
		while (rt_batch_next(&cursor, &item) == 1) {
			if (item.time_ns >= time_ns) {
				/* The log may still hold what was let go. */
				e = rt_log_reader_oldest(&r->log, ret);
				*ret = rt_max(*ret, item.seq);
				return e;
			}
		}
		e = 0;
	}
	return e < 0 ? e : -ENOENT;
}

int rt_reader_compare_history(struct ringtail *r, uint64_t epoch, uint64_t seq,
			      uint64_t current)
{
	int e;

	if (epoch == current)
		return 0;
	e = rt_reader_find_log(r, &r->fault);
	if (e < 0)
		return rt_passes(e) ? e : RINGTAIL_E_EPOCH; /* no log, no connection */
	e = rt_log_same_history(r->log.dir_fd, epoch, seq, current);
	if (e < 0 && e != RINGTAIL_E_EPOCH)
		rt_fault_set(&r->fault, "%s/epochs: %s", r->log.what,
			     ringtail_strerror(e));
	return e;
}

int rt_reader_same_history(struct ringtail *r, uint64_t epoch, uint64_t seq)
{
	return rt_reader_compare_history(r, epoch, seq, r->segment.geo.epoch);
}

/* @txn_size apart: two words just stored each by itself are slow to load as one. */
static void describe(const struct rt_item *item, uint32_t txn_size,
		     struct ringtail_event *ret)
{
	ret->seq = item->seq;
	ret->rev = item->seq - item->txn_index + txn_size - 1;
	ret->time_ns = item->time_ns;
	ret->key = item->key;
	ret->value = item->value;
	ret->key_len = item->key_len;
	ret->value_len = item->value_len;
	ret->op = item->op;
	ret->flags = item->flags;
	ret->txn_index = item->txn_index;
	ret->txn_size = txn_size;
	ret->prev = RT_UNLIKELY(item->prev_len) ? item->prev : NULL;
	ret->prev_len = item->prev_len;
}

static int damaged(struct ringtail *r)
{
	rt_fault_set(&r->fault,
		     "%s: damaged: the batch with seq %" PRIu64
		     " makes no sense although its "
		     "checksum is right",
		     r->log.what, r->next);
	return rt_reader_stop(r, RINGTAIL_E_CORRUPT);
}

/* What of the log counts: up to what is committed, and not below what was let go. */
static void look_at_ring(struct ringtail *r)
{
	const struct rt_hot *hot = r->segment.hot;

	r->log_head = rt_load64(&hot->head);
	r->let_go = rt_max(rt_load64(&hot->trimmed), rt_load64(&hot->aged));
}

/* The next batch; RINGTAIL_EVENT if there is one. */
static int next_batch(struct ringtail *r)
{
	const uint8_t *data;
	int e;

	if (rt_load32(&r->cancel))
		return rt_reader_canceled(
			r); /* filters can move over a lot in a call */
	look_at_ring(r);
	e = rt_log_reader_next(&r->log, r->log_head, &r->fault, &data);
	if (e == 1) {
		rt_batch_open(data, &r->log_at);
		return RINGTAIL_EVENT;
	}
	if (!e)
		return RINGTAIL_NOTHING;
	if (e == RINGTAIL_E_COMPACTED || e == -ENOENT)
		return rt_reader_compacted(r);
	return rt_reader_stop(r, e);
}

/* Is what the batch has next committed?  The log is always ahead of the ring. */
static bool is_committed(struct ringtail *r)
{
	if (RT_UNLIKELY(r->log_at.seq > r->log_head))
		r->log_head = rt_load64(&r->segment.hot->head);
	return r->log_at.seq <= r->log_head;
}

/* Not held any more, though its segment is still there?  The log has the last word. */
static bool is_let_go(struct ringtail *r, uint64_t seq)
{
	uint64_t oldest;

	r->let_go = 0;
	return rt_reader_oldest_in_log(r, &oldest) == 0 && seq < oldest;
}

/* One transaction of the batch into the buffer, or the rest of one. */
static int take_txn(struct ringtail *r)
{
	struct rt_batch_cursor *cursor = &r->log_at;
	struct rt_buffer *buffer = &r->buffer;
	struct rt_item item;
	int e;

	if (!is_committed(r))
		return RINGTAIL_NOTHING;
	do {
		e = rt_batch_next(cursor, &item);
		if (e < 0 || (!e && cursor->at && cursor->seq != r->log.next))
			return damaged(r);
		if (!e)
			return RINGTAIL_NOTHING;
		if (item.seq < r->next)
			continue; /* sought into the middle of a batch */
		if (item.seq - item.txn_index + cursor->txn_size - 1 > r->until)
			return rt_reader_ended(r);
		e = rt_buffer_reserve(buffer, buffer->n + 1, 0);
		if (e < 0) {
			r->in_log = false; /* found again by the next call */
			return e;
		}
		if (r->filters.all ||
		    rt_filters_match(&r->filters, item.op, item.key, item.key_len))
			describe(&item, cursor->txn_size, &buffer->events[buffer->n++]);
	} while (item.seq < r->next || item.txn_index + 1 < item.txn_size);
	if (RT_UNLIKELY(item.seq < r->let_go) && is_let_go(r, item.seq))
		return rt_reader_compacted(r);
	buffer->last = item.seq;
	r->next = item.seq + 1;
	if (buffer->n)
		return RINGTAIL_EVENT;
	rt_reader_txn_end(r, buffer->last);
	return RINGTAIL_NOTHING;
}

/* Near enough to the newest that the ring will hold it for a while? */
static bool may_leave(struct ringtail *r)
{
	uint64_t oldest, head;

	rt_ring_bounds(&r->segment, &oldest, &head);
	return r->next > head ||
	       (head - r->next < r->segment.geo.n_slots && r->next >= oldest &&
		r->next >= rt_ring_half(&r->segment));
}

/* Whatever else there is to say is met again by rt_reader_fetch_log(). */
bool rt_reader_log_more(struct ringtail *r)
{
	const struct rt_batch_cursor *cursor = &r->log_at;
	const uint8_t *data;

	/* The batch has to end as its header said it would. */
	if (cursor->at != cursor->end || cursor->txn_index != cursor->txn_size ||
	    cursor->seq != r->log.next || may_leave(r))
		return false;
	look_at_ring(r);
	if (rt_log_reader_next(&r->log, r->log_head, &r->fault, &data) != 1)
		return false;
	rt_batch_open(data, &r->log_at);
	return true;
}

int rt_reader_fetch_log(struct ringtail *r)
{
	for (;;) {
		uint64_t before = r->next;
		int outcome;

		r->buffer.n = 0;
		r->buffer.at = 0;
		outcome = take_txn(r);
		if (outcome != RINGTAIL_NOTHING)
			return outcome;
		if (!r->in_log)
			return outcome; /* it is in the ring after all */
		if (r->next != before)
			continue; /* a transaction of which nothing matches */
		if (may_leave(r)) {
			r->in_log = false;
			return RINGTAIL_NOTHING;
		}
		outcome = next_batch(r);
		if (outcome == RINGTAIL_NOTHING)
			r->in_log = false;
		if (outcome != RINGTAIL_EVENT)
			return outcome;
	}
}
