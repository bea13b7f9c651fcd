/* SPDX-License-Identifier: MIT */
/*
 * From a reader that knows nothing, or nothing any more, to one that has the state and
 * reads on right behind it.  No process is asked: snapshots are files in the folder of
 * the log, and the newest that can be used is taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "client/reader.h"

/* Each time the daemon has made a snapshot, and cut the log, between two looks. */
#define AGAIN_MAX 16

/* A daemon that begins a new history needs milliseconds between its log and its ring.
 */
#define MOVE_MAX_NS UINT64_C(5000000000)

static void close_source(struct rt_resync *s)
{
	rt_snapshot_close(&s->file);
	rt_delta_fini(&s->delta);
	s->file = RT_SNAPSHOT_NONE;
	s->delta = (struct rt_delta){ 0 };
	s->over = false;
	s->skips = false;
	s->bound = (struct rt_bytes){ 0 };
}

void rt_resync_fini(struct rt_resync *s)
{
	close_source(s);
	*s = (struct rt_resync){ .file = RT_SNAPSHOT_NONE };
}

/*
 * ---- Choosing ----
 */

static int unsupported(struct ringtail *r)
{
	if (r->path && rt_load32(&r->segment.hot->durability))
		rt_fault_set(&r->fault,
			     "feed '%s': its log, and so its snapshots, cannot be read "
			     "beside %s",
			     r->segment.geo.name, r->path);
	else if (r->path)
		rt_fault_set(&r->fault,
			     "feed '%s': it has no snapshots, since it keeps no log; "
			     "serve it with another durability than none",
			     r->segment.geo.name);
	else
		rt_fault_set(&r->fault,
			     "feed '%s': a reader that was given a descriptor finds no "
			     "snapshots; open it by its name or path",
			     r->segment.geo.name);
	return RINGTAIL_E_UNSUPPORTED;
}

static bool is_bad(const struct rt_resync *s, uint64_t seq)
{
	return s->has_bad && seq >= s->bad_low && seq <= s->bad_high;
}

/* It stays an error where the log could stand in: damage shall be seen. */
static int all_damaged(struct ringtail *r, const struct rt_fault *damage)
{
	const struct rt_fault copy = *damage;

	rt_fault_set(
		&r->fault,
		"%.380s; no snapshot can be used, 'ringtail snapshot %s' makes one",
		copy.text, r->segment.geo.name);
	return RINGTAIL_E_CORRUPT;
}

/*
 * The newest snapshot at or below @limit that is not known to be damaged: 1; 0 there is
 * none; negative.
 */
static int open_newest(struct ringtail *r, uint64_t limit)
{
	struct rt_resync *s = &r->resync;
	uint64_t epoch = r->segment.geo.epoch;
	int e = rt_snapshot_newest(r->log.dir_fd, r->log.what, epoch, limit, &r->fault,
				   &s->file);

	s->has_bad = s->has_bad && s->bad_epoch == epoch;
	if (e == 1 && is_bad(s, s->file.header.seq)) {
		close_source(s);
		e = s->bad_low ? rt_snapshot_newest(r->log.dir_fd, r->log.what, epoch,
						    s->bad_low - 1, &r->fault, &s->file)
			       : 0;
	}
	if (rt_passes(e))
		return e;
	if (e == RINGTAIL_E_CORRUPT || (e != 1 && s->has_bad))
		return all_damaged(r, s->has_bad ? &s->damage : &r->fault);
	if (e == 1) {
		s->seq = s->file.header.seq;
		s->time_ns = s->file.header.time_ns;
	}
	return e;
}

static int senseless_batch(struct ringtail *r)
{
	rt_fault_set(&r->fault,
		     "%s: damaged: a batch before seq %" PRIu64 " makes no sense "
		     "although its checksum is right",
		     r->log.what, r->log.next);
	return RINGTAIL_E_CORRUPT;
}

/* The transactions up to @limit: 0; 1: one that goes beyond it was met. */
static int add_batch(struct ringtail *r, const uint8_t *data, uint64_t limit)
{
	struct rt_resync *s = &r->resync;
	struct rt_item items[RT_DELTA_GROUP], *item = items;
	struct rt_batch_cursor cursor;
	bool over = false;
	int e, added;

	rt_batch_open(data, &cursor);
	while ((e = rt_batch_next(&cursor, item)) == 1) {
		over = item->seq - item->txn_index + cursor.txn_size - 1 > limit;
		if (over)
			break;
		s->seq = item->seq;
		s->time_ns = item->time_ns;
		if (item->op == RT_OP_MESSAGE ||
		    !rt_filters_match(&r->filters, RT_OP_PUT, item->key, item->key_len))
			continue;
		if (++item < items + RT_N(items))
			continue;
		added = rt_delta_add(&s->delta, items, RT_N(items));
		if (added < 0)
			return added;
		item = items;
	}
	added = rt_delta_add(&s->delta, items, (size_t)(item - items));
	if (added < 0 || over)
		return added < 0 ? added : 1;
	/* It has to end as its header said it would. */
	return !e && cursor.seq == r->log.next ? 0 : senseless_batch(r);
}

/* No snapshot was ever made, so the log must have everything. */
static int merge_log(struct ringtail *r, uint64_t limit)
{
	struct rt_resync *s = &r->resync;
	const uint8_t *data;
	int e = limit ? rt_log_reader_seek(&r->log, 1, &r->fault) : 0;

	s->seq = 0;
	s->time_ns = 0;
	while (!e && s->seq < limit) {
		if (rt_load32(&r->cancel))
			return rt_reader_canceled(r);
		e = rt_log_reader_next(&r->log, limit, &r->fault, &data);
		if (e <= 0)
			break;
		e = add_batch(r, data, limit);
	}
	if (e >= 0)
		rt_delta_sort(&s->delta);
	return e < 0 ? e : 0;
}

/* Will @seq be read next, from ring or log?  0; RINGTAIL_E_COMPACTED; ... */
static int go_on_with(struct ringtail *r, uint64_t seq)
{
	uint64_t oldest, head;

	r->in_log = false;
	if (seq > r->until)
		return 0; /* nothing will */
	rt_ring_bounds(&r->segment, &oldest, &head);
	return seq >= oldest ? 0 : rt_reader_enter_log(r, seq, &r->fault);
}

static int no_snapshot(struct ringtail *r)
{
	uint64_t oldest = 0;

	(void)rt_reader_oldest_in_log(r, &oldest); /* only for the text */
	if (r->until < rt_load64(&r->segment.hot->head))
		rt_fault_set(&r->fault,
			     "feed '%s': no snapshot at or below seq %" PRIu64
			     ", the end that was asked for, and the oldest event held "
			     "is seq %" PRIu64 "; a later end, or none, has a state",
			     r->segment.geo.name, r->until, oldest);
	else
		rt_fault_set(
			&r->fault,
			"feed '%s': no snapshot that history goes on from, and the "
			"oldest event held is seq %" PRIu64
			"; 'ringtail snapshot %s' makes one",
			r->segment.geo.name, oldest, r->segment.geo.name);
	return RINGTAIL_E_NO_SNAPSHOT;
}

/*
 * No log, though the ring says that there is one, or there was one before: a new
 * history begins, whose log takes the place of the old one's before its ring does.
 */
static bool is_between_histories(const struct ringtail *r)
{
	return r->had_log ||
	       (r->log_foreign &&
		rt_load32(&r->segment.hot->durability) != RINGTAIL_DURABILITY_NONE);
}

/* A source of entries behind which history goes on. */
static int choose_source(struct ringtail *r)
{
	for (unsigned again = 0;; again++) {
		/* What lies beyond the end was not asked for. */
		uint64_t limit = rt_min(rt_load64(&r->segment.hot->head), r->until);
		int e;

		close_source(&r->resync);
		e = rt_reader_find_log(r, &r->fault);
		if (e == -ENOENT && is_between_histories(r))
			return RINGTAIL_E_EPOCH;
		if (e < 0)
			return e == -ENOENT ? unsupported(r) : e;
		e = open_newest(r, limit);
		if (!e)
			e = merge_log(r, limit);
		if (e >= 0)
			e = go_on_with(r, r->resync.seq + 1);
		if (e != RINGTAIL_E_COMPACTED && e != -ENOENT)
			return e;
		/* Cut meanwhile?  Then there is a newer snapshot. */
		if (again == AGAIN_MAX)
			return no_snapshot(r);
	}
}

/*
 * Is what was counted of no use any more?  Seqs of two histories do not compare; and
 * who was told to forget everything gets what follows an older state once more.
 */
static bool counts_anew(const struct ringtail *r)
{
	const struct rt_resync *s = &r->resync;

	return s->fresh || s->foreign || s->seq < r->position;
}

/* Of what the reader asked for but did not get, all up to the snapshot is missing. */
static void note_gap(struct ringtail *r)
{
	const struct rt_resync *s = &r->resync;
	uint64_t first = r->position + 1, oldest, head, in_log;

	r->gap = (struct ringtail_gap_info){ 0 };
	if (s->fresh)
		return;
	r->gap.first = first;
	r->gap.cause = s->cause;
	if (counts_anew(r))
		return;
	rt_ring_bounds(&r->segment, &oldest, &head);
	if (rt_reader_oldest_in_log(r, &in_log) == 0)
		oldest = rt_min(oldest, in_log);
	oldest = rt_max(oldest, first);
	r->gap.count = s->seq - r->position;
	r->gap.skipped = oldest <= s->seq ? s->seq - oldest + 1 : 0;
}

/* Lack of memory or descriptors passes: the next call tries again. */
static int cannot_choose(struct ringtail *r, int e)
{
	close_source(&r->resync);
	r->resync.phase = RT_RESYNC_WANTED;
	if (rt_passes(e))
		return e;
	return rt_reader_stop(r, e);
}

/*
 * By the ring and the log that are there now.  RINGTAIL_E_EPOCH: they are about to be
 * replaced, and it is not yet time to give up.
 */
static int find_source(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	uint64_t now;
	int e;

	rt_reader_leave_log(r); /* the folder may be another by now */
	e = rt_reader_renew(r);
	if (!e)
		e = choose_source(r);
	if (e != RINGTAIL_E_EPOCH) {
		s->give_up_ns = 0;
		return e;
	}
	now = rt_now_ns(CLOCK_MONOTONIC);
	if (!s->give_up_ns)
		s->give_up_ns = now + MOVE_MAX_NS;
	return now < s->give_up_ns ? e : unsupported(r);
}

/* Is it the history that was read before?  0; RINGTAIL_E_EPOCH; what else there is. */
static int compare_history(struct ringtail *r)
{
	return r->resync.fresh
		       ? 0
		       : rt_reader_same_history(r, r->marker_epoch, r->position);
}

/* What was gone is held after all, so there is no need to begin anew. */
static int go_on(struct ringtail *r)
{
	bool answered = r->resync.answered;
	int e = go_on_with(r, r->next);

	if (e < 0)
		return e;
	r->marker_epoch = r->segment.geo.epoch;
	rt_resync_fini(&r->resync);
	if (answered)
		rt_reader_answered(r);
	return 0;
}

/*
 * 0: a snapshot is chosen; or, with phase NONE, none was needed; or, with phase WANTED,
 * there will soon be one.
 */
static int choose(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;

	r->in_log = false;
	for (unsigned again = 0;; again++) {
		int e = rt_load32(&r->cancel) ? rt_reader_canceled(r) : find_source(r);

		if (e == RINGTAIL_E_EPOCH) {
			close_source(s);
			return 0;
		}
		if (e >= 0)
			e = compare_history(r);
		s->foreign = e == RINGTAIL_E_EPOCH;
		if (e < 0 && !s->foreign)
			return cannot_choose(r, e);
		if (s->foreign)
			s->cause = RINGTAIL_CAUSE_EPOCH;
		if (s->fresh || s->foreign || s->told || s->seq > r->position)
			break;
		e = go_on(r);
		if (!e)
			return 0;
		/* Cut meanwhile?  Then there is a newer snapshot. */
		if ((e != RINGTAIL_E_COMPACTED && e != -ENOENT) || again == AGAIN_MAX)
			return cannot_choose(r, e);
	}
	note_gap(r);
	s->phase = RT_RESYNC_CHOSEN;
	return 0;
}

/*
 * ---- Entries ----
 */

static void describe(const struct rt_state *state, struct ringtail_event *ret)
{
	*ret = (struct ringtail_event){
		.seq = state->seq,
		.rev = state->seq,
		.time_ns = state->time_ns,
		.key = state->key,
		.value = state->value,
		.key_len = state->key_len,
		.value_len = state->value_len,
		.op = RINGTAIL_PUT,
		.txn_size = 1,
	};
}

/* Is the bound in a block that has not been read yet? */
static bool is_in_other_block(const struct rt_resync *s)
{
	const struct rt_snap_index *next;

	if (s->file.number >= s->file.footer.n_blocks)
		return false;
	next = s->file.blocks[s->file.number];
	return rt_key_compare((const uint8_t *)(next + 1), next->key_len, s->bound.at,
			      s->bound.len) <= 0;
}

/* Is it one to deliver?  If not, where could the next be? */
static bool is_wanted(struct ringtail *r, const struct rt_state *state)
{
	struct rt_resync *s = &r->resync;

	if (r->filters.any_key)
		return true;
	if (s->bound.at &&
	    rt_key_compare(state->key, state->key_len, s->bound.at, s->bound.len) < 0)
		return false;
	if (rt_filters_match(&r->filters, RT_OP_PUT, state->key, state->key_len))
		return true;
	if (!rt_filters_next(&r->filters, state->key, state->key_len, &s->bound))
		s->over = true;
	else
		s->skips = is_in_other_block(s);
	return false;
}

/* Before the first entry: to the first key that can match. */
static void begin_entries(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;

	s->over = !(r->filters.ops & RINGTAIL_OPS_PUT);
	if (!r->filters.any_key && rt_filters_next(&r->filters, NULL, 0, &s->bound))
		s->skips = true;
}

static int next_of_file(struct ringtail *r, struct rt_state *ret)
{
	struct rt_resync *s = &r->resync;
	int e = 0;

	if (s->skips)
		e = rt_snapshot_seek(&s->file, s->bound.at, s->bound.len, &r->fault);
	s->skips = false;
	if (e >= 0)
		e = rt_snapshot_next(&s->file, &r->fault, ret);
	if (!e)
		s->over = true;
	return e;
}

/* What lies in one block, since the next takes its place. */
static int fill_from_file(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	struct rt_buffer *buffer = &r->buffer;

	while (!s->over && (!buffer->n || (rt_snapshot_left(&s->file) && !s->skips))) {
		struct rt_state state;
		int e = rt_buffer_reserve(buffer, buffer->n + 1, 0);

		if (e < 0)
			return buffer->n ? 0 : e;
		e = next_of_file(r, &state);
		if (e < 0)
			return e;
		if (e && is_wanted(r, &state))
			describe(&state, &buffer->events[buffer->n++]);
	}
	return 0;
}

#define DELTA_STEP 1024u

static int fill_from_delta(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	const struct rt_state *state;
	int e = rt_buffer_reserve(&r->buffer, DELTA_STEP, 0);

	if (e < 0)
		return e;
	while (!s->over && r->buffer.n < DELTA_STEP) {
		state = rt_delta_next(&s->delta);
		s->over = !state;
		if (state && !state->deleted)
			describe(state, &r->buffer.events[r->buffer.n++]);
	}
	return 0;
}

/* It is remembered, so that the search for another does not find it again. */
static int damaged(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;

	s->bad_low = s->has_bad ? rt_min(s->bad_low, s->seq) : s->seq;
	s->bad_high = s->has_bad ? rt_max(s->bad_high, s->seq) : s->seq;
	s->bad_epoch = r->segment.geo.epoch;
	s->has_bad = true;
	s->damage = r->fault;
	s->phase = RT_RESYNC_WANTED;
	return rt_reader_resync_next(r);
}

/*
 * ---- The end ----
 */

static void settle_accounts(struct ringtail *r)
{
	const struct rt_resync *s = &r->resync;

	if (counts_anew(r)) {
		r->start = s->seq;
		r->delivered = 0;
		r->filtered = 0;
		r->lost = 0;
	} else {
		r->lost += s->seq - r->position;
		r->gaps++;
	}
	r->position = s->seq;
	r->next = s->seq + 1;
	r->marker_seq = s->seq;
	r->marker_epoch = r->segment.geo.epoch;
	r->resumed_at = r->next;
}

static int end(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	int e = go_on_with(r, s->seq + 1);

	if (e == RINGTAIL_E_COMPACTED || e == -ENOENT) {
		/* Reading took so long that history was cut above it. */
		s->phase = RT_RESYNC_WANTED;
		return rt_reader_resync_next(r);
	}
	if (rt_passes(e))
		return e;
	if (e < 0)
		return rt_reader_stop(r, e);
	settle_accounts(r);
	r->state_ns = s->time_ns;
	rt_resync_fini(s);
	rt_reader_answered(r);
	return RINGTAIL_SNAPSHOT_END;
}

static int next_entries(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	int e;

	if (r->buffer.at < r->buffer.n)
		return RINGTAIL_SNAPSHOT;
	r->buffer.n = 0;
	r->buffer.at = 0;
	e = s->file.fd >= 0 ? fill_from_file(r) : fill_from_delta(r);
	if (r->buffer.n && (e >= 0 || e == -ENOMEM))
		return RINGTAIL_SNAPSHOT;
	r->buffer.n = 0;
	if (e == -ENOMEM) {
		s->phase = RT_RESYNC_WANTED; /* the place in it may be lost */
		return e;
	}
	return e < 0 ? damaged(r) : end(r);
}

int rt_reader_resync_next(struct ringtail *r)
{
	struct rt_resync *s = &r->resync;
	int e;

	if (s->phase == RT_RESYNC_ENTRIES)
		return next_entries(r);
	if (s->phase == RT_RESYNC_WANTED) {
		e = choose(r);
		if (e < 0 || s->phase != RT_RESYNC_CHOSEN)
			return e;
	}
	s->phase = RT_RESYNC_ENTRIES;
	s->told = true;
	r->resets++;
	r->buffer.n = 0;
	r->buffer.at = 0;
	begin_entries(r);
	return RINGTAIL_RESET;
}

static void want(struct ringtail *r, uint32_t cause)
{
	rt_resync_fini(&r->resync);
	r->resync.phase = RT_RESYNC_WANTED;
	r->resync.answered = r->answered;
	r->resync.cause = cause;
	r->resync.fresh = !cause;
	r->answered = false;
	r->direct = false;
}

int rt_reader_resync(struct ringtail *r, uint32_t cause)
{
	if (r->leaves_gaps)
		return RINGTAIL_RESET; /* of the next call, which meets it again */
	if (!r->resync.phase)
		want(r, cause);
	return rt_reader_resync_next(r);
}

int rt_reader_resync_open(struct ringtail *r, uint32_t cause)
{
	const struct timespec pause = { .tv_nsec = RT_POLL_NS };
	int e;

	want(r, cause);
	while (!(e = choose(r)) && r->resync.phase == RT_RESYNC_WANTED)
		(void)nanosleep(&pause, NULL); /* cut short: look sooner */
	if (e < 0)
		*rt_open_fault() = r->fault;
	return e;
}

int rt_reader_can_resync(struct ringtail *r)
{
	int e = rt_reader_find_log(r, &r->fault);

	if (e == -ENOENT)
		e = unsupported(r);
	if (e < 0)
		*rt_open_fault() = r->fault;
	return e;
}
