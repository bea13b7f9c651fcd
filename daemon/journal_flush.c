/* SPDX-License-Identifier: MIT */
/*
 * The way of what was gathered: into the log, then into the ring.
 */
#include "daemon/journal_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "daemon/log.h"
#include "daemon/preparer.h"
#include "daemon/syncer.h"

/* Bytes of log, for `os`; fewer where a segment ends, and at least ... */
#define SYNC_EVERY (UINT64_C(8) << 20)
#define SYNC_LEAST (UINT64_C(256) << 10)

/* Zeros that are written ahead of the log: at once, and for each byte of it; not for
 * large batches, of which a sync takes its time for the data. */
#define PREPARE_FIRST (UINT64_C(4) << 20)
#define PREPARE_PART  2u
#define PREPARE_EVERY (UINT64_C(128) << 10)
#define PREPARE_MAX   (UINT64_C(16) << 10)

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

static void count_sync(struct rt_journal *j, uint64_t duration_ns)
{
	j->sync_ns = duration_ns;
	j->synced_at_ns = rt_now_ns(CLOCK_REALTIME);
	j->n_syncs++;
	rt_journal_show(j);
}

/*
 * ---- Room ----
 */

/* For a batch that begins the next segment, without waiting for anybody. */
static uint64_t room_in_next(const struct rt_journal *j)
{
	uint64_t prepared = j->is_preparing ? rt_preparer_reserved(j->preparer) : 0;

	return rt_min(prepared ? prepared - RT_LOG_START : rt_log_reserved(&j->log),
		      RT_BATCH_MAX);
}

uint64_t rt_journal_room_left(const struct rt_journal *j)
{
	if (j->is_rolling)
		return room_in_next(j);
	/* What is in flight has its place already. */
	return j->log.fd < 0 ? 0 : j->log.segment_end - j->log.offset - j->flight_bytes;
}

/* Tells once that there is no room, and once that there is again. */
static int say_room(struct rt_journal *j, int r)
{
	if (r < 0 && !j->out_of_space)
		rt_log(RT_LOG_ERROR, "%s; publishers are refused until it works again",
		       j->fault.text);
	if (r >= 0 && j->out_of_space)
		rt_log(RT_LOG_INFO, "feed '%s': there is room for its log again",
		       j->config->name);
	j->out_of_space = r < 0;
	return r;
}

static bool fits(const struct rt_log *log, uint64_t size)
{
	return log->fd >= 0 && size <= log->segment_end - log->offset;
}

/* The next segment is needed: as far as it has been prepared. */
static void take_prepared(struct rt_journal *j)
{
	int fd;
	uint64_t size = rt_preparer_take(j->preparer, &fd);

	j->is_preparing = false;
	if (size)
		rt_log_adopt_spare(&j->log, fd, size);
}

/*
 * Of the next segment.  Where zeros matter, what has to do without should be over soon:
 * so the first one of a feed is short, and those that follow twice as long each.
 */
static uint64_t next_size(const struct rt_journal *j)
{
	uint64_t size = j->log.config.segment_size;

	if (!j->syncer)
		return size;
	return rt_min(size, rt_max(PREPARE_FIRST,
				   j->log.fd < 0 ? 0 : 2 * j->log.segment_end));
}

/* It is time for the next one when there is none, it is a short one, or half of it is
 * in use. */
static void prepare_next(struct rt_journal *j)
{
	if (j->log.fd >= 0 && j->log.segment_end >= j->log.config.segment_size &&
	    j->log.offset < j->log.segment_end / 2)
		return;
	j->is_preparing = true;
	j->to_prepare = 0;
	rt_preparer_begin(j->preparer, next_size(j));
	if (j->syncer)
		rt_preparer_allow(j->preparer, PREPARE_FIRST);
}

/* The log has become longer by a batch of @size bytes. */
static void prepare_more(struct rt_journal *j, uint64_t size)
{
	if (j->preparer && !j->is_preparing)
		prepare_next(j);
	if (!j->is_preparing || !j->syncer || size >= PREPARE_MAX)
		return;
	j->to_prepare += PREPARE_PART * size;
	if (j->to_prepare < PREPARE_EVERY)
		return;
	rt_preparer_allow(j->preparer, j->to_prepare);
	j->to_prepare = 0;
}

/* Room for a batch of @size bytes; nothing may be in flight. */
static int place(struct rt_journal *j, uint64_t size, int *ret_fd, uint64_t *ret_offset)
{
	int r;

	if (j->is_preparing && !fits(&j->log, size) && !j->log.failed)
		take_prepared(j);
	r = say_room(j, rt_log_place(&j->log, size, &j->fault, ret_fd, ret_offset));
	if (!r)
		j->is_rolling = false;
	return r;
}

/*
 * Room for a batch of @size bytes, in a new segment if it has to be.  That has to wait
 * for a sync of the one before; if the loop can do it, what gathers waits and nobody
 * else.  Nothing may be in flight.
 */
static int find_room(struct rt_journal *j, uint64_t size)
{
	const struct rt_log *log = &j->log;
	uint64_t offset;
	int fd;
	int r;

	if (fits(log, size) || !j->has_loop || log->config.mode != RT_LOG_OS ||
	    !log->unsynced || log->failed)
		return place(j, size, &fd, &offset);
	r = say_room(j, rt_log_reserve(&j->log, size, &j->fault));
	j->is_rolling |= !r; /* what gathers may have been for a new one already */
	return r;
}

/*
 * ---- Into history ----
 */

/* A batch is in the log as the mode promises: now it may be seen. */
static void show(struct rt_journal *j, const struct rt_batch *batch)
{
	int r = rt_journal_play(j, batch->data, batch->first_seq);

	assert(!r); /* every limit was checked when it was gathered */
	(void)r;
	j->n_settled++;
}

static int lose(struct rt_journal *j, int error)
{
	j->n_settled++;
	j->broken = true;
	return error;
}

/* The oldest that is in flight is waited for and becomes visible. */
static int land(struct rt_journal *j)
{
	struct rt_flight *flight = rt_journal_flight(j, 0);
	struct rt_sync_job job;

	rt_syncer_end(j->syncer, &job);
	j->first_flight++;
	j->n_flights--;
	j->flight_bytes -= flight->batch.len;
	if (job.result < 0) {
		/* The one behind it is not begun any more. */
		if (j->n_flights && rt_syncer_retract(j->syncer))
			j->n_flights = 0;
		(void)rt_log_unwrote(&j->log, job.result, job.sync_failed, &j->fault);
		return lose(j, job.result);
	}
	rt_log_wrote(&j->log, &flight->batch);
	count_sync(j, job.duration_ns);
	prepare_more(j, flight->batch.len);
	show(j, &flight->batch);
	j->settled_round = flight->round;
	return 0;
}

static int land_all(struct rt_journal *j)
{
	int r = 0;

	while (!r && j->n_flights)
		r = land(j);
	j->has_offer &= j->n_flights > 0;
	return r;
}

/*
 * What was gathered takes off, and the next batch begins.  It holds all changes up to
 * @round, and is the first in flight or fits in behind the other.
 */
static int take_off(struct rt_journal *j, uint64_t round)
{
	struct rt_flight *flight = rt_journal_flight(j, j->n_flights);
	struct rt_batch next = flight->batch;
	struct rt_sync_job job = {
		.log = &j->log,
		.batch = &flight->batch,
		.fd = j->log.fd,
		.offset = j->log.offset + j->flight_bytes,
	};
	int r = j->n_flights ? 0 : place(j, j->batch.len, &job.fd, &job.offset);

	if (r < 0)
		return lose(j, r);
	job.salt = j->log.salt;
	job.synced_seq = j->log.synced;
	rt_batch_reset(&next, j->batch.first_seq + j->batch.n_events);
	flight->batch = j->batch;
	flight->round = round;
	j->batch = next;
	j->flight_bytes += flight->batch.len;
	j->n_flights++;
	rt_syncer_offer(j->syncer, &job);
	return 0;
}

/* May what was gathered take off now? */
static bool can_take_off(const struct rt_journal *j)
{
	if (rt_batch_is_empty(&j->batch) || j->n_flights == RT_N(j->flights))
		return false;
	return !j->n_flights ||
	       (!j->is_rolling && j->batch.len <= rt_journal_room_left(j));
}

/* What was offered and has not begun goes on gathering. */
static void take_back(struct rt_journal *j)
{
	struct rt_flight *flight;
	struct rt_batch empty = j->batch;

	if (!j->has_offer || !rt_batch_is_empty(&empty))
		return;
	j->has_offer = false;
	if (!rt_syncer_retract(j->syncer))
		return;
	flight = rt_journal_flight(j, --j->n_flights);
	j->batch = flight->batch;
	j->flight_bytes -= j->batch.len;
	flight->batch = empty;
}

/* What was gathered is written by us; nothing is in flight. */
static int append(struct rt_journal *j)
{
	uint64_t begun_ns;
	int r;

	if (rt_batch_is_empty(&j->batch))
		return 0;
	if (j->preparer && !fits(&j->log, j->batch.len)) {
		uint64_t offset;
		int fd;

		r = place(j, j->batch.len, &fd, &offset);
		if (r < 0)
			return lose(j, r);
	}
	begun_ns = j->log.config.mode == RT_LOG_DISK ? rt_now_ns(CLOCK_MONOTONIC) : 0;
	r = rt_log_append(&j->log, &j->batch, &j->fault);
	j->is_rolling = false;
	if (r < 0)
		return lose(j, r);
	if (begun_ns) /* with the write, which is part of the price */
		count_sync(j, rt_now_ns(CLOCK_MONOTONIC) - begun_ns);
	prepare_more(j, j->batch.len);
	show(j, &j->batch);
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
	take_back(j);
	r = land_all(j);
	return r < 0 ? r : append(j);
}

int rt_journal_settle(struct rt_journal *j)
{
	unsigned n = j->n_flights ? rt_syncer_n_done(j->syncer) : 0;

	while (n--) {
		int r = land(j);

		if (r < 0)
			return r;
	}
	if (!j->syncer || j->n_flights || j->in_txn || rt_batch_is_empty(&j->batch))
		return 0;
	return take_off(j, j->round);
}

int rt_journal_pass_on(struct rt_journal *j)
{
	take_back(j);
	return rt_syncer_n_done(j->syncer) < j->n_flights ? 0 : rt_journal_settle(j);
}

/* Is what gathers for a segment that begins when the loop has synced? */
static bool waits_for_sync(const struct rt_journal *j)
{
	return j->is_rolling && j->log.unsynced && !j->log.failed;
}

/*
 * A segment ends behind what is in flight.  If the next one is reserved, what gathers
 * is for that, and nobody waits for the disk.
 */
static bool begin_rolling(struct rt_journal *j, size_t need)
{
	if (!j->n_flights || j->log.failed || j->batch.len >= RT_BATCH_MAX ||
	    j->batch.len + need > room_in_next(j))
		return false;
	j->is_rolling = true;
	return true;
}

int rt_journal_make_room(struct rt_journal *j, size_t need)
{
	bool is_open = j->batch.txn_at;
	int r = 0;

	/* A full one: the thread begins with it as soon as it can. */
	if (j->syncer && !is_open && can_take_off(j))
		r = take_off(j, j->round);
	if (r < 0)
		return r;
	if ((j->n_flights || waits_for_sync(j)) && j->batch.len < RT_BATCH_MAX &&
	    j->batch.len + need <= rt_journal_room_left(j))
		return 0;
	if (begin_rolling(j, need))
		return 0;
	r = is_open ? land_all(j) : rt_journal_flush(j);
	return r < 0 ? r : find_room(j, j->batch.len + need);
}

int rt_journal_push(struct rt_journal *j, uint64_t round, bool wait)
{
	int r;

	j->round = round;
	if (waits_for_sync(j))
		return 0; /* comes again when that has been synced */
	wait &= !j->n_flights && j->batch.len < RT_BATCH_SMALL &&
		j->sync_ns < RT_FAST_NS;
	if (!j->syncer || wait)
		return rt_journal_flush(j);
	r = rt_journal_settle(j);
	if (r < 0 || !can_take_off(j))
		return r;
	r = take_off(j, round);
	j->has_offer = j->n_flights > 1;
	return r;
}

int rt_journal_detach(struct rt_journal *j, int wake_fd)
{
	int r;

	j->has_loop = true;
	if (!j->has_log || j->preparer || j->log.config.mode == RT_LOG_OS)
		return 0;
	r = j->log.config.mode == RT_LOG_DISK ? rt_syncer_open(wake_fd, &j->syncer) : 0;
	if (!r)
		r = rt_preparer_open(&j->log, &j->preparer);
	if (!r)
		prepare_next(j);
	return r;
}

/*
 * ---- Syncing now and then ----
 */

/* Whoever needs the next segment waits for what is left to sync of this one. */
static uint64_t sync_every(const struct rt_log *log)
{
	uint64_t left = log->segment_end - log->offset;

	return rt_min(rt_max(left / 2, SYNC_LEAST), SYNC_EVERY);
}

bool rt_journal_wants_sync(const struct rt_journal *j)
{
	return j->has_log && j->log.config.mode == RT_LOG_OS && j->log.unsynced &&
	       j->sync_fd < 0 &&
	       (j->is_rolling || j->log.n_since - j->sync_from >= sync_every(&j->log));
}

bool rt_journal_wants_pages(struct rt_journal *j, struct iovec *ret)
{
	return j->has_log && j->has_loop && rt_log_wants_pages(&j->log, ret);
}

void rt_journal_got_pages(struct rt_journal *j, int result)
{
	rt_window_got(&j->log.window, result);
}

int rt_journal_sync_begin(struct rt_journal *j)
{
	if (!j->has_log || !j->log.unsynced || j->log.failed || j->sync_fd >= 0 ||
	    j->log.config.mode != RT_LOG_OS)
		return -1;
	/* A descriptor of its own: the segment may be left meanwhile. */
	j->sync_fd = fcntl(j->log.fd, F_DUPFD_CLOEXEC, 3);
	if (j->sync_fd < 0) {
		if (j->is_rolling)                             /* somebody waits */
			(void)rt_log_sync(&j->log, &j->fault); /* says so in `failed` */
		return -1;
	}
	j->sync_seq = j->log.next - 1;
	j->sync_begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	j->sync_from = j->log.n_since;
	return j->sync_fd;
}

int rt_journal_sync_end(struct rt_journal *j, int result)
{
	rt_close_fd(&j->sync_fd);
	j->sync_fd = -1;
	if (result < 0) {
		j->log.failed = true;
		j->n_settled++; /* what waited for it never will, which is as final */
		rt_fault_set(&j->fault, "feed '%s': cannot sync its log in %s: %s",
			     j->config->name, j->log.what, strerror(-result));
		return result;
	}
	j->log.synced = rt_max(j->log.synced, j->sync_seq);
	j->log.unsynced = j->log.synced + 1 < j->log.next;
	count_sync(j, rt_now_ns(CLOCK_MONOTONIC) - j->sync_begun_ns);
	return 0;
}
