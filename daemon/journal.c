/* SPDX-License-Identifier: MIT */
#include "daemon/journal_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "daemon/log.h"
#include "daemon/syncer.h"

/*
 * ---- Into the ring ----
 */

/* The usual ones up to one that is not, if there is any; or to the end. */
static int play_alone(struct rt_writer *w, struct rt_batch_cursor *cursor)
{
	struct rt_item item;
	size_t size;
	int r = 0;

	while (!r && (size = rt_batch_peek_alone(cursor, &item))) {
		rt_writer_set_time(w, item.time_ns);
		r = rt_writer_one(w, item.op, item.flags, item.key, item.key_len,
				  item.key + item.key_len, item.value_len);
		if (!r)
			rt_batch_pass(cursor, size);
	}
	return r;
}

static int play_item(struct rt_writer *w, const struct rt_item *item)
{
	int r;

	rt_writer_set_time(w, item->time_ns);
	if (RT_LIKELY(item->txn_size == 1 && !item->prev_len))
		return rt_writer_one(w, item->op, item->flags, item->key, item->key_len,
				     item->value, item->value_len);
	if (!item->txn_index)
		rt_writer_begin(w);
	r = rt_writer_add_prev(w, item->op, item->flags, item->key, item->key_len,
			       item->value, item->value_len, item->prev,
			       item->prev_len);
	if (r < 0)
		rt_writer_abort(w);
	else if (item->txn_index + 1 == item->txn_size)
		rt_writer_commit(w);
	return r;
}

int rt_journal_play(struct rt_journal *j, const uint8_t *data, uint64_t from)
{
	struct rt_writer *w = j->writer;
	struct rt_batch_cursor cursor;
	struct rt_item item;
	int r = 0;

	rt_writer_hold(w);
	rt_batch_open(data, &cursor);
	for (;;) {
		/* What it refuses is met again below. */
		if (cursor.seq >= from)
			(void)play_alone(w, &cursor);
		if (r || rt_batch_next(&cursor, &item) != 1)
			break;
		if (item.seq < from)
			continue;
		r = play_item(w, &item);
		if (r < 0)
			j->too_big_for_ring =
				item.seq - item.txn_index + item.txn_size - 1;
	}
	rt_writer_release(w);
	return r;
}

/*
 * ---- What readers are shown ----
 */

bool rt_journal_is_synced(const struct rt_journal *j)
{
	return j->has_log && j->log.config.mode != RT_LOG_MEMORY;
}

void rt_journal_show(const struct rt_journal *j)
{
	struct rt_hot *hot = j->writer->hot;

	rt_store64(&hot->n_syncs, j->n_syncs);
	rt_store64(&hot->sync_ns, j->sync_ns);
	rt_store64(&hot->synced_at_ns, j->synced_at_ns);
	rt_store64(&hot->synced_seq, rt_journal_is_synced(j) ? j->log.synced : 0);
	rt_store32(&hot->durability, j->has_log ? j->log.config.mode : 0);
}

static void count_sync(struct rt_journal *j, uint64_t begun_ns)
{
	j->sync_ns = rt_now_ns(CLOCK_MONOTONIC) - begun_ns;
	j->synced_at_ns = rt_now_ns(CLOCK_REALTIME);
	j->n_syncs++;
	rt_journal_show(j);
}

/*
 * ---- Room ----
 */

uint64_t rt_journal_seq(const struct rt_journal *j)
{
	if (!j->has_log)
		return j->writer->next - 1;
	return j->batch.first_seq + j->batch.n_events +
	       (j->batch.txn_at ? j->batch.txn_events : 0) - 1;
}

/* What is in flight has its place already. */
static uint64_t room_of(const struct rt_journal *j)
{
	uint64_t end = j->log.offset + (j->in_flight ? j->flight.len : 0);

	return j->log.fd < 0 ? 0 : j->log.segment_end - end;
}

/* Room for a batch of @size bytes; nothing may be in flight. */
static int place(struct rt_journal *j, uint64_t size, int *ret_fd, uint64_t *ret_offset)
{
	int r = rt_log_place(&j->log, size, &j->fault, ret_fd, ret_offset);

	if (r < 0 && !j->out_of_space)
		rt_log(RT_LOG_ERROR, "%s; publishers are refused until it works again",
		       j->fault.text);
	if (r >= 0 && j->out_of_space)
		rt_log(RT_LOG_INFO, "feed '%s': there is room for its log again",
		       j->config->name);
	j->out_of_space = r < 0;
	return r;
}

/*
 * ---- Into history ----
 */

/* A batch is in the log as the mode promises: now it may be seen. */
static void show(struct rt_journal *j, const struct rt_batch *batch, uint64_t begun_ns)
{
	int r;

	if (j->log.config.mode == RT_LOG_DISK)
		count_sync(j,
			   begun_ns); /* with the write, which is part of the price */
	r = rt_journal_play(j, batch->data, batch->first_seq);
	assert(!r); /* every limit was checked when it was gathered */
	(void)r;
}

static int lose(struct rt_journal *j, int error)
{
	j->broken = true;
	return error;
}

/* What is in flight is waited for and becomes visible. */
static int land(struct rt_journal *j)
{
	bool sync_failed;
	int r;

	if (!j->in_flight)
		return 0;
	r = rt_syncer_end(j->syncer, &sync_failed);
	j->in_flight = false;
	j->n_settled++;
	if (r < 0) {
		(void)rt_log_unwrote(&j->log, r, sync_failed, &j->fault);
		return lose(j, r);
	}
	rt_log_wrote(&j->log, &j->flight);
	show(j, &j->flight, j->flight_begun_ns);
	j->settled_round = j->flight_round;
	return 0;
}

/* What was gathered takes off, and the next batch begins; nothing is in flight. */
static int take_off(struct rt_journal *j)
{
	struct rt_batch next = j->flight;
	uint64_t offset;
	int fd;
	int r;

	if (rt_batch_is_empty(&j->batch))
		return 0;
	r = place(j, j->batch.len, &fd, &offset);
	if (r < 0)
		return lose(j, r);
	rt_batch_seal(&j->batch, j->log.salt, j->log.synced);
	rt_batch_reset(&next, j->batch.first_seq + j->batch.n_events);
	j->flight = j->batch;
	j->batch = next;
	j->flight_begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	j->flight_round = j->round;
	j->in_flight = true;
	rt_syncer_begin(j->syncer, &j->log, fd, &j->flight, offset);
	return 0;
}

/* What was gathered is written by us; nothing is in flight. */
static int append(struct rt_journal *j)
{
	uint64_t begun_ns;
	int r;

	if (rt_batch_is_empty(&j->batch))
		return 0;
	begun_ns = j->log.config.mode == RT_LOG_DISK ? rt_now_ns(CLOCK_MONOTONIC) : 0;
	r = rt_log_append(&j->log, &j->batch, &j->fault);
	j->n_settled++;
	if (r < 0)
		return lose(j, r);
	show(j, &j->batch, begun_ns);
	rt_batch_reset(&j->batch, j->batch.first_seq + j->batch.n_events);
	j->settled_round = j->round;
	return 0;
}

int rt_journal_flush(struct rt_journal *j)
{
	int r;

	if (!j->has_log) {
		rt_writer_release(j->writer);
		return 0;
	}
	r = land(j);
	return r < 0 ? r : append(j);
}

int rt_journal_settle(struct rt_journal *j)
{
	int r;

	if (!j->in_flight || !rt_syncer_is_done(j->syncer))
		return 0;
	r = land(j);
	return r < 0 || j->in_txn ? r : take_off(j);
}

int rt_journal_push(struct rt_journal *j, uint64_t round, bool wait)
{
	int r;

	j->round = round;
	wait &= !j->in_flight && j->batch.len < RT_BATCH_SMALL &&
		j->sync_ns < RT_FAST_NS;
	if (!j->syncer || wait)
		return rt_journal_flush(j);
	r = rt_journal_settle(j);
	return r < 0 || j->in_flight ? r : take_off(j);
}

int rt_journal_detach(struct rt_journal *j, int wake_fd)
{
	if (!j->has_log || j->log.config.mode != RT_LOG_DISK || j->syncer)
		return 0;
	return rt_syncer_open(wake_fd, &j->syncer);
}

/*
 * ---- Changes ----
 */

/* Room for @need bytes more, when there is none or the batch is large. */
static RT_COLD int make_room(struct rt_journal *j, size_t need)
{
	uint64_t offset;
	int fd;
	int r;

	/* The thread takes what there is, or does when it is done: nobody has to wait.
	 */
	if (j->syncer && !j->in_flight && j->batch.len <= room_of(j)) {
		r = take_off(j);
		if (r < 0)
			return r;
	}
	if (j->in_flight && j->batch.len < RT_BATCH_MAX &&
	    j->batch.len + need <= room_of(j))
		return 0;
	r = rt_journal_flush(j);
	return r < 0 ? r : place(j, sizeof(struct rt_log_batch) + need, &fd, &offset);
}

int rt_journal_room(struct rt_journal *j, size_t key_len, size_t rest_len)
{
	size_t need = sizeof(struct rt_log_txn) + sizeof(struct rt_log_event) +
		      rt_round_up(key_len + rest_len, RT_WORD) +
		      sizeof(struct rt_log_terms);

	if (!j->has_log || j->in_txn)
		return 0; /* a transaction is placed as a whole, by its commit */
	if (RT_LIKELY(j->batch.len + need <= room_of(j) &&
		      j->batch.len < RT_BATCH_FULL))
		return 0;
	return make_room(j, need);
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
	uint64_t offset;
	int fd;
	int r = 0;

	if (!j->has_log) {
		rt_writer_commit(j->writer);
	} else if (j->batch.txn_at) {
		if (j->batch.len > room_of(j))
			r = land(j);
		if (!r && j->batch.len > room_of(j))
			r = place(j, j->batch.len, &fd, &offset);
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
 * ---- Syncing now and then ----
 */

int rt_journal_sync_begin(struct rt_journal *j)
{
	if (!j->has_log || !j->log.unsynced || j->log.failed || j->sync_fd >= 0 ||
	    j->log.config.mode != RT_LOG_OS)
		return -1;
	/* A descriptor of its own: the segment may be left meanwhile. */
	j->sync_fd = fcntl(j->log.fd, F_DUPFD_CLOEXEC, 3);
	j->sync_seq = j->log.next - 1;
	j->sync_begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	return j->sync_fd;
}

int rt_journal_sync_end(struct rt_journal *j, int result)
{
	rt_close_fd(&j->sync_fd);
	j->sync_fd = -1;
	if (result < 0) {
		j->log.failed = true;
		rt_fault_set(&j->fault, "feed '%s': cannot sync its log in %s: %s",
			     j->config->name, j->log.what, strerror(-result));
		return result;
	}
	j->log.synced = rt_max(j->log.synced, j->sync_seq);
	j->log.unsynced = j->log.synced + 1 < j->log.next;
	count_sync(j, j->sync_begun_ns);
	return 0;
}

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
