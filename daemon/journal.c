/* SPDX-License-Identifier: MIT */
#include "daemon/journal_parts.h"

#include <errno.h>

#include "daemon/log.h"
#include "daemon/syncer.h"

/*
 * ---- Changes ----
 */

uint64_t rt_journal_seq(const struct rt_journal *j)
{
	if (!j->has_log)
		return j->writer->next - 1;
	return j->batch.first_seq + j->batch.n_events +
	       (j->batch.txn_at ? j->batch.txn_events : 0) - 1;
}

int rt_journal_room(struct rt_journal *j, size_t key_len, size_t rest_len)
{
	size_t need = sizeof(struct rt_log_txn) + sizeof(struct rt_log_event) +
		      rt_round_up(key_len + rest_len, RT_WORD) +
		      sizeof(struct rt_log_terms);

	if (!j->has_log)
		return 0;
	if (j->n_flights && !j->batch.txn_at) {
		int r = rt_journal_pass_on(j);

		if (r < 0)
			return r;
	}
	if (j->in_txn)
		return 0; /* a transaction is placed as a whole, by its commit */
	if (RT_LIKELY(j->batch.len + need <= rt_journal_room_left(j) &&
		      j->batch.len < RT_BATCH_FULL))
		return 0;
	return rt_journal_make_room(j, need);
}

RT_INLINE size_t prev_len_of(const struct rt_extra *extra)
{
	return RT_UNLIKELY(extra) ? extra->prev_len : 0;
}

static int gather(struct rt_journal *j, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len,
		  const struct rt_extra *extra)
{
	int r = rt_writer_accepts(j->writer, op, flags, key_len, value_len,
				  prev_len_of(extra));

	return r < 0 ? r
		     : rt_batch_add_extra(&j->batch, op, flags, key, key_len, value,
					  value_len, extra);
}

int rt_journal_one(struct rt_journal *j, uint8_t op, uint8_t flags, const void *key,
		   size_t key_len, const void *value, size_t value_len,
		   const struct rt_extra *extra)
{
	int r;

	if (!j->has_log && RT_UNLIKELY(prev_len_of(extra)))
		return rt_writer_one_prev(j->writer, op, flags, key, key_len, value,
					  value_len, extra->prev, extra->prev_len);
	if (!j->has_log)
		return rt_writer_one(j->writer, op, flags, key, key_len, value,
				     value_len);
	if (RT_LIKELY(!extra)) {
		r = rt_writer_accepts(j->writer, op, flags, key_len, value_len, 0);
		return r < 0 ? r
			     : rt_batch_one(&j->batch, op, flags, key, key_len, value,
					    value_len, j->time_ns);
	}
	r = rt_batch_begin(&j->batch);
	if (r < 0)
		return r;
	r = gather(j, op, flags, key, key_len, value, value_len, extra);
	if (r < 0)
		rt_batch_abort(&j->batch);
	else
		rt_batch_end(&j->batch, j->time_ns);
	return r;
}

void rt_journal_begin(struct rt_journal *j)
{
	j->in_txn = true;
	j->txn_bytes = 0;
	if (!j->has_log)
		rt_writer_begin(j->writer);
}

int rt_journal_add(struct rt_journal *j, uint8_t op, uint8_t flags, const void *key,
		   size_t key_len, const void *value, size_t value_len,
		   const struct rt_extra *extra)
{
	uint64_t n = j->batch.txn_at ? j->batch.txn_events : 0;
	uint64_t bytes = j->txn_bytes + key_len + value_len + prev_len_of(extra);
	int r;

	if (!j->has_log)
		return rt_writer_add_prev(j->writer, op, flags, key, key_len, value,
					  value_len, extra ? extra->prev : NULL,
					  prev_len_of(extra));
	if (rt_writer_fits(j->writer, n + 1, bytes) < 0)
		return RT_E_TOO_BIG;
	if (!j->batch.txn_at) {
		r = rt_batch_begin(&j->batch);
		if (r < 0)
			return r;
	}
	r = gather(j, op, flags, key, key_len, value, value_len, extra);
	if (!r)
		j->txn_bytes = bytes;
	return r;
}

int rt_journal_commit(struct rt_journal *j)
{
	if (!j->has_log) {
		rt_writer_commit(j->writer);
	} else if (j->batch.txn_at) {
		int r = j->batch.len <= rt_journal_room_left(j)
				? 0
				: rt_journal_make_room(j, 0);

		if (r < 0)
			return r;
		rt_batch_end(&j->batch, j->time_ns);
	}
	j->in_txn = false;
	return 0;
}

void rt_journal_abort(struct rt_journal *j)
{
	j->in_txn = false;
	if (j->has_log)
		rt_batch_abort(&j->batch);
	else
		rt_writer_abort(j->writer);
}

/*
 * ---- Access ----
 */

int rt_journal_set_access(struct rt_journal *j, mode_t mode, uid_t uid, gid_t gid)
{
	struct rt_ring_config ring = j->writer->config;
	int r = rt_journal_flush(j); /* nothing may be on its way to the log */

	if (r < 0)
		return r;

	ring.mode = mode;
	ring.uid = uid;
	ring.gid = gid;
	r = rt_writer_move(j->writer, &ring, &j->fault);
	if (r < 0 || !j->has_log)
		return r;
	return rt_log_set_access(&j->log, mode, uid, gid, &j->fault);
}
