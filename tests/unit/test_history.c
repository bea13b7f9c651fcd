/* SPDX-License-Identifier: MIT */
/*
 * test_history.c - client/history.c: a small ring with a log behind it
 */
#include "tests/unit/backedrig.h"

#include <errno.h>
#include <stdatomic.h>

#define TH(name) cmocka_unit_test_setup_teardown(name, setup_backed, teardown_backed)

/*
 * ---- Writing ----
 */

static const char *key_of(uint64_t seq)
{
	return seq % 10 ? "k" : "ten/key";
}

/* A batch of @n_txns transactions of @size events each into the log only. */
static int log_only(unsigned n_txns, unsigned size)
{
	char value[32];

	rt_batch_reset(&h.batch, h.log.next);
	for (unsigned i = 0; i < n_txns; i++) {
		uint64_t first = h.log.next + i * size;

		if (size == 1) {
			if (rt_batch_one(&h.batch, RT_OP_PUT, 0, key_of(first),
					 strlen(key_of(first)), value,
					 rig_value(first, value), time_of(first)) < 0)
				return -ENOMEM;
			continue;
		}
		if (rt_batch_begin(&h.batch) < 0)
			return -ENOMEM;
		for (uint64_t seq = first; seq < first + size; seq++)
			if (rt_batch_add(&h.batch, RT_OP_PUT, 0, key_of(seq),
					 strlen(key_of(seq)), value,
					 rig_value(seq, value)) < 0)
				return -ENOMEM;
		rt_batch_end(&h.batch, time_of(first));
	}
	return rt_log_append(&h.log, &h.batch, &h.fault);
}

/* And then into the ring, as far as @until. */
static int ring_until(uint64_t until, unsigned size)
{
	struct rt_writer *w = h.rig->w;
	char value[32];
	int r = 0;

	while (w->next <= until && !r) {
		rt_writer_set_time(w, time_of(w->next));
		rt_writer_begin(w);
		for (unsigned i = 0; i < size && !r; i++)
			r = rt_writer_add(w, RT_OP_PUT, 0, key_of(w->next),
					  strlen(key_of(w->next)), value,
					  rig_value(w->next, value));
		rt_writer_commit(w);
	}
	return r;
}

static int try_commit(unsigned n_txns, unsigned size)
{
	int r = log_only(n_txns, size);

	return r < 0 ? r : ring_until(h.log.next - 1, size);
}

static void commit(unsigned n_txns, unsigned size)
{
	t_ok(try_commit(n_txns, size));
}

/* @n events in batches of some. */
static void commit_many(unsigned n)
{
	while (n) {
		unsigned now = n < 17 ? n : 17;

		commit(now, 1);
		n -= now;
	}
}

/*
 * ---- Reading ----
 */

static bool is_event(const struct ringtail_event *event, uint64_t seq)
{
	const char *key = key_of(seq);
	char value[32];
	size_t len = rig_value(seq, value);

	return event->seq == seq && event->key_len == strlen(key) &&
	       memcmp(event->key, key, event->key_len) == 0 &&
	       event->value_len == len && memcmp(event->value, value, len) == 0 &&
	       event->time_ns == time_of(event->seq - event->txn_index);
}

static void next_is(struct ringtail *r, uint64_t seq)
{
	struct ringtail_event event;
	int outcome = ringtail_next(r, &event, 0);

	if (outcome != RINGTAIL_EVENT)
		print_error("seq %llu: %s\n", (unsigned long long)seq,
			    ringtail_error(r));
	t_is(outcome, RINGTAIL_EVENT);
	assert_true(is_event(&event, seq));
}

/* Everything from @from to @to, and then nothing. */
static void drain(struct ringtail *r, uint64_t from, uint64_t to)
{
	struct ringtail_event event;
	int outcome;

	for (uint64_t seq = from; seq <= to; seq++)
		next_is(r, seq);
	outcome = ringtail_next(r, &event, 0);
	if (outcome == RINGTAIL_CAUGHT_UP)
		outcome = ringtail_next(r, &event, 0);
	t_is(outcome, RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).lost, 0);
	assert_int_equal(ringtail_position(r), to);
}

static void a_lapped_reader_goes_to_the_log_and_returns(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));

	commit_many(5000);
	next_is(r, 1);
	assert_true(r->in_log);
	drain(r, 2, 5000);
	assert_false(r->in_log);
	commit_many(10);
	drain(r, 5001, 5010);
	assert_false(r->in_log); /* these were in the ring */
	commit_many(1000);
	drain(r, 5011, 6010);
	assert_int_equal(rig_stats(r).delivered, 6010);
	assert_int_equal(rig_stats(r).gaps, 0);
}

static void transactions_stay_whole(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));
	const struct ringtail_event *events;
	uint64_t seq = 1;
	size_t n;

	for (unsigned i = 0; i < 100; i++)
		commit(3, 4);
	while (seq <= 1200) {
		t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
		assert_int_equal(n, 4);
		for (unsigned i = 0; i < 4; i++) {
			assert_true(is_event(&events[i], seq));
			assert_int_equal(events[i].rev, seq + 3 - i);
			assert_int_equal(events[i].txn_index, i);
			assert_int_equal(!!(events[i].flags & RINGTAIL_LAST), i == 3);
			seq++;
		}
	}
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).delivered, 1200);
}

/* Reads by one of the calls; the last seq, 0 for a mistake. */
static uint64_t read_some(struct ringtail *r, unsigned how, uint64_t last)
{
	static _Thread_local struct ringtail_event events[64];
	static _Thread_local uint8_t data[4096];
	const struct ringtail_event *txn;
	struct ringtail_batch batch = {
		.events = events,
		.max_events = 64,
		.data = data,
		.data_size = sizeof(data),
		.max_txns = 1 + how / 4 % 8,
	};
	size_t n = 0;
	int outcome;

	switch (how % 4) {
	case 0:
		outcome = ringtail_next(r, &events[0], 0);
		txn = events, n = 1;
		break;
	case 1:
		outcome = ringtail_next_txn(r, &txn, &n, 0);
		break;
	case 2:
		outcome = ringtail_next_batch(r, &batch, 0);
		txn = events, n = batch.n_events;
		break;
	default:
		outcome = ringtail_borrow(r, &events[0], 0);
		txn = events, n = 1;
	}
	if (outcome == RINGTAIL_NOTHING || outcome == RINGTAIL_CAUGHT_UP)
		return last;
	if (outcome != RINGTAIL_EVENT)
		return 0;
	bool right = true;

	for (size_t i = 0; i < n; i++)
		right = right && is_event(&txn[i], last + 1 + i);
	/* Asked after the look: what was overwritten meanwhile comes once more. */
	if (how % 4 == 3 && ringtail_borrow_valid(r) < 0)
		return last;
	return right ? last + n : 0;
}

/* Bursts and readers of all speeds, by all calls mixed: never a gap. */
static void no_gap_at_any_speed_by_any_call(void **state)
{
	struct rig *rig = begin(state);
	struct t_random random = { 17 };
	struct ringtail *readers[6];
	uint64_t lasts[6] = { 0 };

	for (unsigned i = 0; i < 6; i++)
		readers[i] = rig_read(rig, rig_after(0));
	for (unsigned round = 0; round < 2000; round++) {
		unsigned size = 1 + (unsigned)t_random_below(&random, 5);

		if (t_random_below(&random, 10) == 0)
			commit(1 + (unsigned)t_random_below(&random, 60), size);
		else
			commit(1 + (unsigned)t_random_below(&random, 3), size);
		for (unsigned i = 0; i < 6; i++) {
			unsigned n = (unsigned)t_random_below(&random, 4u << i);

			while (n--) {
				unsigned how = (unsigned)t_random64(&random);

				if (i < 4)
					how = how / 4 * 4 + i; /* one call each */
				lasts[i] =
					read_some(readers[i], how & 0xffff, lasts[i]);
				if (!lasts[i] && round)
					print_error("reader %u, round %u: %s\n", i,
						    round, ringtail_error(readers[i]));
				assert_true(lasts[i] || !ringtail_position(readers[i]));
			}
			assert_int_equal(rig_stats(readers[i]).lost, 0);
		}
	}
	for (unsigned i = 0; i < 6; i++) {
		while (lasts[i] < h.log.next - 1) {
			lasts[i] = read_some(readers[i], i, lasts[i]);
			assert_true(lasts[i]);
		}
		assert_int_equal(rig_stats(readers[i]).gaps, 0);
		assert_int_equal(ringtail_position(readers[i]), h.log.next - 1);
	}
}

static void a_borrowed_transaction_is_finished_from_the_log(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	commit(2, 4);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		t_is(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
		assert_true(is_event(&event, seq));
	}
	commit_many(500);
	t_is(ringtail_borrow_valid(r), RINGTAIL_E_OVERRUN);
	for (uint64_t seq = 2; seq <= 508; seq++) { /* 2 once more: it was not valid */
		t_is(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
		assert_true(is_event(&event, seq));
		if (seq <= 8) {
			assert_int_equal(event.txn_index, (seq - 1) % 4);
			assert_int_equal(!!(event.flags & RINGTAIL_LAST), seq % 4 == 0);
		}
		t_ok(ringtail_borrow_valid(r));
	}
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).delivered, 508);
}

/*
 * ---- What is not committed ----
 */

static void what_the_ring_does_not_have_yet_is_not_delivered(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	commit_many(1000);
	t_ok(log_only(10, 2)); /* 1001 .. 1020, one batch */
	drain(r, 1, 1000);
	t_ok(ring_until(1006, 2));
	drain(r, 1001, 1006);
	t_ok(ring_until(1020, 2));
	drain(r, 1007, 1020);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
}

/* Half of a batch committed, and the reader comes by the log. */
static void a_batch_is_left_where_the_ring_ends(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r;

	commit_many(100);
	t_ok(log_only(200, 2)); /* 101 .. 500 */
	t_ok(ring_until(400, 2));
	r = rig_read(rig, rig_after(0));
	drain(r, 1, 400);
	t_ok(ring_until(500, 2));
	drain(r, 401, 500);
}

/*
 * ---- Where to start ----
 */

static void every_start_is_found_in_the_log(void **state)
{
	struct rig *rig = begin(state);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_options o;

	commit(300, 3); /* 1 .. 900 */
	for (uint64_t seq = 0; seq < 900; seq += 71) {
		o = rig_after(seq);
		drain(rig_read(rig, o), seq + 1, 900);
		o = rig_from(RINGTAIL_START_MARKER);
		t_ok(ringtail_marker_format(seq, EPOCH, marker));
		o.marker = marker;
		drain(rig_read(rig, o), seq + 1, 900);
		o = rig_from(RINGTAIL_START_TIME);
		o.time_ns = time_of(seq / 3 * 3 + 1);
		drain(rig_read(rig, o), seq / 3 * 3 + 1, 900);
		o.time_ns++;
		if (seq < 897)
			drain(rig_read(rig, o), seq / 3 * 3 + 4, 900);
	}
	drain(rig_read(rig, rig_from(RINGTAIL_START_OLDEST)), 1, 900);
	o = rig_from(RINGTAIL_START_TIME);
	o.time_ns = 1;
	drain(rig_read(rig, o), 1, 900);
}

/* The segments before the one that holds @seq go; the oldest seq then. */
static uint64_t trim(uint64_t seq)
{
	assert_true(rt_log_drop_below(&h.log, seq) >= 0);
	return h.log.oldest;
}

static void a_trimmed_log_says_what_is_its_oldest(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o;
	struct ringtail_event event;
	struct ringtail *r;
	char text[32];
	uint64_t oldest;

	commit_many(6000);
	oldest = trim(4000);
	assert_in_range(oldest, 2, 4000);
	(void)snprintf(text, sizeof(text), "%u", (unsigned)oldest);
	drain(rig_read(rig, rig_after(oldest - 1)), oldest, 6000);
	drain(rig_read(rig, rig_after(oldest)), oldest + 1, 6000);
	drain(rig_read(rig, rig_from(RINGTAIL_START_OLDEST)), oldest, 6000);
	t_is(rig_try(rig, rig_after(oldest - 2), &r), RINGTAIL_E_COMPACTED);
	assert_non_null(strstr(ringtail_error(NULL), text));
	o = rig_skip(oldest - 2);
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, oldest - 1, 1, 0, RINGTAIL_CAUSE_COMPACTED);
	for (uint64_t seq = oldest; seq <= 6000; seq++)
		next_is(r, seq);
	assert_int_equal(rig_stats(r).lost, 1);
}

/* Trimmed after the reader was opened, before it read: still the oldest. */
static void the_oldest_is_that_of_the_first_read(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r;
	uint64_t oldest;

	commit_many(6000);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	rt_log_reader_close(&r->log); /* it holds no segment open */
	r->log_open = r->in_log = false;
	oldest = trim(4000);
	drain(r, oldest, 6000);
}

/*
 * ---- Filters ----
 */

/* E4: a marker taken where nothing matched is as good as any. */
static void a_marker_taken_amid_what_is_filtered(void **state)
{
	struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_KEY,
					  .a = "none",
					  .a_len = 4 };
	struct rig *rig = begin(state);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;

	commit_many(3000);
	o.filters = &filter;
	o.n_filters = 1;
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	assert_int_equal(rig_stats(r).filtered, 3000);
	t_ok(ringtail_marker(r, marker));
	assert_true(trim(2990) > 1);
	commit_many(300);
	o = rig_from(RINGTAIL_START_MARKER);
	o.marker = marker;
	drain(rig_read(rig, o), 3001, 3300);
}

static void what_matches_is_found_in_the_log_too(void **state)
{
	struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
					  .a = "ten/",
					  .a_len = 4 };
	struct ringtail_options o = rig_after(5);
	struct rig *rig = begin(state);
	struct ringtail_event event;
	struct ringtail *r;

	commit(1000, 4);
	o.filters = &filter;
	o.n_filters = 1;
	r = rig_read(rig, o);
	for (uint64_t seq = 10; seq <= 4000; seq += 10) {
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_true(is_event(&event, seq));
		assert_true(event.flags & RINGTAIL_LAST);
		(void)rig_stats(r);
	}
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).delivered, 400);
	assert_int_equal(rig_stats(r).filtered, 3595);
}

static void cancel_reaches_a_reader_that_filters(void **state)
{
	struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_KEY,
					  .a = "none",
					  .a_len = 4 };
	struct ringtail_options o = rig_after(0);
	struct rig *rig = begin(state);
	struct ringtail *r;

	commit_many(3000);
	o.filters = &filter;
	o.n_filters = 1;
	r = rig_read(rig, o);
	ringtail_cancel(r);
	t_is(rt_reader_fetch(r), RINGTAIL_E_CANCELED);
	assert_true(ringtail_position(r) < 3000);
}

/*
 * ---- Epochs ----
 */

static void markers_of_an_older_epoch(void **state)
{
	struct rig *rig = begin(state);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_options o;
	struct ringtail *r;

	commit_many(500);
	t_ok(rt_log_new_epoch(&h.log, 0xe2, &h.fault));
	rig_close(rig);
	rig->config.epoch = 0xe2;
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_NEW_EPOCH, RIG_BEAT_NS,
			    &rig->fault, &rig->w));
	assert_int_equal(rig->w->segment.geo.epoch, 0xe2);
	t_ok(ring_until(500, 1)); /* refilled, as far as it holds them */
	commit_many(500);
	o = rig_from(RINGTAIL_START_MARKER);
	o.marker = marker;
	for (uint64_t seq = 0; seq <= 500; seq += 50) {
		t_ok(ringtail_marker_format(seq, EPOCH, marker));
		drain(rig_read(rig, o), seq + 1, 1000);
	}
	t_ok(ringtail_marker_format(501, EPOCH, marker));
	t_is(rig_try(rig, o, &r), RINGTAIL_E_EPOCH);
	t_ok(ringtail_marker_format(1, 0xe3, marker));
	t_is(rig_try(rig, o, &r), RINGTAIL_E_EPOCH);
	t_ok(ringtail_marker_format(700, 0xe2, marker));
	drain(rig_read(rig, o), 701, 1000);
}

/* A log that another history left in the folder is not this one's. */
static void a_log_of_another_history_is_none(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	open_log();
	t_ok(log_only(2000, 1));
	rig->config.epoch = 0xe7;
	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_ok(ring_until(1000, 1));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_LAPPED);
	t_is(rig_try(rig, rig_after(0), &r), RINGTAIL_E_COMPACTED);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_true(event.seq > 900);
}

/*
 * ---- Damage ----
 */

static void flip(uint64_t first, size_t at)
{
	char name[32];
	char *data;
	size_t len;

	rt_segment_name(first, ".log", name);
	data = t_read_file(t_path(h.path, name), &len);
	assert_non_null(data);
	assert_true(at < len);
	data[at] ^= 1;
	t_write_file(t_path(h.path, name), data, len);
	free(data);
}

static void damage_under_a_reader_is_named(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;
	uint64_t at, seq = 2;
	char text[64];
	int outcome;

	commit_many(1000);
	next_is(r, 1);
	at = h.log.offset;
	commit_many(1000);
	(void)snprintf(text, sizeof(text), "at byte %u", (unsigned)at);
	flip(1, at + 100);
	r->log.window_len = 0; /* what it has in memory is from before */
	while ((outcome = ringtail_next(r, &event, 0)) == RINGTAIL_EVENT) {
		assert_true(is_event(&event, seq));
		seq++;
	}
	t_is(outcome, RINGTAIL_E_CORRUPT);
	assert_int_equal(seq, 1001);
	assert_non_null(strstr(ringtail_error(r), "00000000000000000001.log"));
	assert_non_null(strstr(ringtail_error(r), text));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	assert_int_equal(rig_stats(r).delivered, 1000);
	/* Who begins behind it has nothing to do with it. */
	drain(rig_read(rig, rig_after(1950)), 1951, 2000);
	t_is(rig_try(rig, rig_after(1001), &r), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(NULL), text));
}

/* A checksum that is right over a count that is not. */
static void a_batch_that_lies_is_damage(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t seq = 1;
	int outcome;

	commit_many(100);
	t_ok(log_only(10, 1)); /* 101 .. 110, which shall seem to be 101 .. 112 */
	h.batch.n_events += 2;
	rt_batch_seal(&h.batch, h.log.salt, 0);
	assert_int_equal(pwrite(h.log.fd, h.batch.data, h.batch.len,
				(off_t)(h.log.offset - h.batch.len)),
			 (ssize_t)h.batch.len);
	h.log.next += 2;
	t_ok(log_only(500, 1));
	t_ok(ring_until(600, 1));
	r = rig_read(rig, rig_after(0));
	while ((outcome = ringtail_next(r, &event, 0)) == RINGTAIL_EVENT) {
		assert_true(is_event(&event, seq));
		seq++;
	}
	t_is(outcome, RINGTAIL_E_CORRUPT);
	assert_int_equal(seq, 111);
	assert_int_equal(rig_stats(r).delivered, 110);
}

static void segments_removed_under_a_reader(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *strict = rig_read(rig, rig_after(0));
	struct ringtail *r = rig_read(rig, rig_skip(0));
	struct ringtail_event event;
	uint64_t oldest, seq = 2;
	int outcome;

	commit_many(8000);
	next_is(strict, 1);
	next_is(r, 1);
	oldest = trim(6000);
	assert_true(oldest > 2000);
	while ((outcome = ringtail_next(r, &event, 0)) == RINGTAIL_EVENT)
		assert_true(is_event(&event, seq++)); /* what it has open */
	t_is(outcome, RINGTAIL_GAP);
	rig_gap(r, seq, oldest - seq, 0, RINGTAIL_CAUSE_COMPACTED);
	for (uint64_t s = oldest; s <= 8000; s++)
		next_is(r, s);
	assert_int_equal(rig_stats(r).lost, oldest - seq);
	assert_int_equal(rig_stats(r).gaps, 1);
	for (uint64_t s = 2; s < seq; s++)
		next_is(strict, s);
	t_is(ringtail_next(strict, &event, 0), RINGTAIL_E_COMPACTED);
	t_is(ringtail_next(strict, &event, 0), RINGTAIL_E_COMPACTED);
}

/* Where a marker taken after the batch would begin. */
static void a_gap_behind_a_batch_is_not_accounted_for_before_it_is_told(void **state)
{
	static struct ringtail_event events[64];
	static uint8_t data[4096];
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_skip(0));
	struct ringtail_batch b = { events, 64, data, sizeof(data), 0, 0, 0, 0, 0 };
	uint64_t oldest, seq = 0;
	int outcome;

	commit_many(8000);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	seq = events[b.n_events - 1].seq;
	oldest = trim(6000);
	while ((outcome = ringtail_next_batch(r, &b, 0)) == RINGTAIL_EVENT) {
		for (size_t i = 0; i < b.n_events; i++)
			assert_true(is_event(&events[i], ++seq));
		assert_int_equal(ringtail_position(r), seq);
		assert_int_equal(rig_stats(r).lost, 0);
	}
	t_is(outcome, RINGTAIL_GAP);
	rig_gap(r, seq + 1, oldest - seq - 1, 0, RINGTAIL_CAUSE_COMPACTED);
	assert_int_equal(rig_stats(r).gaps, 1);
	for (uint64_t s = oldest; s <= 8000; s++)
		next_is(r, s);
}

static void a_log_that_is_gone_altogether(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_skip(0));
	struct ringtail_event event;
	uint64_t last = 0;
	int outcome;

	commit_many(3000);
	next_is(r, 1);
	assert_int_equal(t_sh(NULL, "rm -r '%s'", h.path), 0);
	while ((outcome = ringtail_next(r, &event, 0)) > 0) {
		if (outcome == RINGTAIL_EVENT) {
			assert_true(is_event(&event, event.seq));
			last = event.seq;
		}
		(void)rig_stats(r);
	}
	t_is(outcome, RINGTAIL_NOTHING);
	assert_int_equal(last, 3000);
	assert_int_equal(rig_stats(r).gaps, 1);
}

/*
 * ---- Life ----
 */

static void a_closed_feed_is_drained_from_the_log(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	commit_many(2000);
	rig_close(rig);
	for (uint64_t seq = 1; seq <= 2000; seq++)
		next_is(r, seq);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CLOSED);
}

/* Cut behind the writer's back: neither of the two has what comes next. */
static void a_log_that_ends_below_the_ring_is_damage(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = rig_skip(0);
	struct ringtail_event event;
	struct ringtail *r, *late;

	commit(20, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	t_ok(ring_until(300, 1));

	(void)alarm(20); /* rather than for ever */
	for (uint64_t seq = 2; seq <= 20; seq++) {
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.seq, seq);
	}
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(r), "seq 21"));
	o.seq = 30;
	if (rig_try(rig, o, &late) == 0) {
		(void)rig_keep(rig, late);
		assert_true(ringtail_next(late, &event, 0) < 0);
	}
	(void)alarm(0);
}

/* The ring says that it is overwritten and never was committed, both at once. */
static void a_head_below_its_floor_is_no_endless_way(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event event;
	struct ringtail *r;

	commit_many(3000);
	r = rig_read(rig, rig_after(0));
	for (uint64_t seq = 1; seq <= 100; seq++)
		next_is(r, seq);
	(void)rig_map(rig);
	rt_store64(&rig->map.hot->head, 50);
	(void)alarm(20); /* rather than for ever */
	for (int i = 0; i < 200; i++)
		(void)ringtail_next(r, &event, 0);
	assert_true(ringtail_next(r, &event, 0) <= 0);
	(void)alarm(0);
	rt_store64(&rig->map.hot->head, 3000);
}

static void another_ring_while_reading_the_log(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_after(0));

	commit_many(2000);
	for (uint64_t seq = 1; seq <= 100; seq++)
		next_is(r, seq);
	rig_close(rig);
	rig->config.n_slots = 256;
	rig_open(rig);
	commit_many(2000);
	for (uint64_t seq = 101; seq <= 2000; seq++)
		next_is(r, seq);
	drain(r, 2001, 4000);
	assert_int_equal(rig_stats(r).moves, 1);
}

struct running {
	struct ringtail *r;
	_Atomic uint64_t committed;
	_Atomic bool over;
	uint64_t seed, last;
	bool wrong;
};

static void *run_reader(void *arg)
{
	struct running *run = arg;
	struct t_random random = { run->seed };

	for (;;) {
		bool over = atomic_load(&run->over);
		uint64_t until = atomic_load(&run->committed);

		for (unsigned i = 0; i < 2000 && run->last < until; i++) {
			uint64_t last =
				read_some(run->r, (unsigned)(run->seed % 4), run->last);

			if (!last && run->last) {
				run->wrong = true;
				return NULL;
			}
			run->last = last;
		}
		if (over && run->last >= until)
			return NULL;
		if (!over && t_random_below(&random, 4) == 0)
			t_sleep_ms(
				(unsigned)t_random_below(&random, 1 + run->seed * 2));
	}
}

/* C7: a writer at full speed, readers that pause; nothing is ever missing. */
static void no_gap_beside_a_writer(void **state)
{
	struct rig *rig = begin(state);
	uint64_t until = t_now_ns() + UINT64_C(2000000000);
	struct t_random random = { 23 };
	struct running runs[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		runs[i] = (struct running){ .r = rig_read(rig, rig_after(0)),
					    .seed = 4 + i };
		assert_int_equal(
			pthread_create(&threads[i], NULL, run_reader, &runs[i]), 0);
	}
	while (t_now_ns() < until) {
		if (try_commit(1 + (unsigned)t_random_below(&random, 30),
			       1 + (unsigned)t_random_below(&random, 4)) < 0)
			break;
		for (unsigned i = 0; i < 4; i++)
			atomic_store(&runs[i].committed, h.log.next - 1);
		if (t_random_below(&random, 50) == 0)
			t_sleep_ms(1); /* a chance to catch up */
	}
	for (unsigned i = 0; i < 4; i++)
		atomic_store(&runs[i].over, true);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		if (runs[i].wrong)
			print_error("reader %u after %llu: %s\n", i,
				    (unsigned long long)runs[i].last,
				    ringtail_error(runs[i].r));
		assert_false(runs[i].wrong);
		assert_int_equal(runs[i].last, h.log.next - 1);
		assert_int_equal(rig_stats(runs[i].r).lost, 0);
		assert_int_equal(rig_stats(runs[i].r).delivered, h.log.next - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TH(a_lapped_reader_goes_to_the_log_and_returns),
		TH(transactions_stay_whole),
		TH(no_gap_at_any_speed_by_any_call),
		TH(a_borrowed_transaction_is_finished_from_the_log),
		TH(what_the_ring_does_not_have_yet_is_not_delivered),
		TH(a_batch_is_left_where_the_ring_ends),
		TH(every_start_is_found_in_the_log),
		TH(a_trimmed_log_says_what_is_its_oldest),
		TH(the_oldest_is_that_of_the_first_read),
		TH(a_marker_taken_amid_what_is_filtered),
		TH(what_matches_is_found_in_the_log_too),
		TH(cancel_reaches_a_reader_that_filters),
		TH(markers_of_an_older_epoch),
		TH(a_log_of_another_history_is_none),
		TH(damage_under_a_reader_is_named),
		TH(a_batch_that_lies_is_damage),
		TH(segments_removed_under_a_reader),
		TH(a_gap_behind_a_batch_is_not_accounted_for_before_it_is_told),
		TH(a_log_that_is_gone_altogether),
		TH(a_closed_feed_is_drained_from_the_log),
		TH(a_log_that_ends_below_the_ring_is_damage),
		TH(a_head_below_its_floor_is_no_endless_way),
		TH(another_ring_while_reading_the_log),
		TH(no_gap_beside_a_writer),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
