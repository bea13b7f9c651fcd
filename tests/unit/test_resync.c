/* SPDX-License-Identifier: MIT */
/*
 * test_resync.c - client/resync.c: the state first, and then its changes
 */
#include "tests/unit/staterig.h"

/*
 * ---- From the state ----
 */

static void an_empty_feed_has_an_empty_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, from_state());

	gives_state(r, &known.now);
	put(3);
	gives_changes(r, 0);
}

static void the_newest_snapshot_and_then_what_came_after_it(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_gap_info gap;
	struct ringtail_stats stats;
	struct ringtail *r;

	puts_of_all(250);
	event(RT_OP_DELETE, 7);
	event(RT_OP_MESSAGE, 7);
	put(8);
	snapshot();
	put(9);
	event(RT_OP_DELETE, 8);
	r = rig_read(rig, from_state());
	put(10);
	gives_state(r, &known.saved);
	stats = rig_stats(r);
	assert_int_equal(stats.start, known.saved.seq);
	assert_int_equal(stats.resets, 1);
	assert_int_equal(stats.entries, N_KEYS - 1);
	assert_int_equal(stats.delivered, 0);
	assert_int_equal(stats.gaps, 0);
	t_is(ringtail_gap(r, &gap), -ENOENT);
	gives_changes(r, known.saved.seq);
}

static void what_comes_while_it_is_read_is_delivered_once(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(3);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	assert_true(is_put(&e, 0, known.saved.keys[0]));
	puts_of_all(500); /* more than the ring holds */
	gives_entries(r, &known.saved, 1, N_KEYS);
	gives_changes(r, known.saved.seq);
}

static void without_a_snapshot_the_whole_log_is_merged(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = from_state();
	const struct ringtail_filter one = { .kind = RINGTAIL_FILTER_PREFIX,
					     .a = "g3/",
					     .a_len = 3 };
	struct ringtail_event e;
	struct ringtail *r;
	struct state then;

	puts_of_all(1000);
	event(RT_OP_DELETE, 42);
	then = known.now;
	r = rig_read(rig, o);
	put(42);
	gives_state(r, &then);
	gives_changes(r, then.seq);

	o.filters = &one;
	o.n_filters = 1;
	r = rig_read(rig, o);
	t_is(next(r, &e), RINGTAIL_RESET);
	gives_entries(r, &known.now, 30, 40);
}

static void no_snapshot_and_a_log_that_was_cut_is_an_error(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r;

	begin_amid(0);
	assert_int_equal(unlink(snapshot_file(known.saved.seq)), 0);
	t_is(rig_try(rig, from_state(), &r), RINGTAIL_E_NO_SNAPSHOT);
	assert_non_null(strstr(ringtail_error(NULL), "ringtail snapshot " RIG_FEED));
}

static void a_feed_without_a_log_is_not_supported(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = resyncing(0);
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 3);
	t_is(rig_try(rig, from_state(), &r), RINGTAIL_E_UNSUPPORTED);
	assert_non_null(strstr(ringtail_error(NULL), "durability"));
	t_is(rig_try(rig, o, &r), RINGTAIL_E_UNSUPPORTED);

	AUTO_CLOSE int fd = open(rig->path, O_RDONLY | O_CLOEXEC);

	t_is(ringtail_open_fd(fd, &o, &r), RINGTAIL_E_UNSUPPORTED);
	assert_non_null(strstr(ringtail_error(NULL), "name or path"));
}

/*
 * ---- Filters ----
 */

static struct ringtail *filtered(struct rig *rig, const struct ringtail_filter *filters,
				 size_t n)
{
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct ringtail *r;

	o.filters = filters;
	o.n_filters = n;
	r = rig_read(rig, o);
	t_is(next(r, &e), RINGTAIL_RESET);
	return r;
}

static void a_state_has_only_what_the_filters_match(void **state)
{
	struct rig *rig = begin(state);
	const struct ringtail_filter prefix = {
		RINGTAIL_FILTER_PREFIX, 0, "g4/", 3, NULL, 0
	};
	const struct ringtail_filter range = {
		RINGTAIL_FILTER_RANGE, 0, "g2/k05", 6, "g3/k02", 6
	};
	const struct ringtail_filter none = {
		RINGTAIL_FILTER_PREFIX, 0, "x", 1, NULL, 0
	};
	const struct ringtail_filter key = {
		RINGTAIL_FILTER_KEY, 0, "g9/k09", 6, NULL, 0
	};
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(0);
	gives_entries(filtered(rig, &prefix, 1), &known.saved, 40, 50);
	gives_entries(filtered(rig, &range, 1), &known.saved, 25, 32);
	gives_entries(filtered(rig, &none, 1), &known.saved, 0, 0);
	gives_entries(filtered(rig, &key, 1), &known.saved, 99, 100);

	o.ops = RINGTAIL_OPS_DELETE;
	r = rig_read(rig, o);
	t_is(next(r, &e), RINGTAIL_RESET);
	gives_entries(r, &known.saved, 0, 0);
}

static void overlapping_filters_give_each_entry_once(void **state)
{
	struct rig *rig = begin(state);
	const struct ringtail_filter filters[] = {
		{ RINGTAIL_FILTER_KEY, 0, "g9/k01", 6, NULL, 0 },
		{ RINGTAIL_FILTER_PREFIX, 0, "g1/k0", 5, NULL, 0 },
		{ RINGTAIL_FILTER_PREFIX, 0, "g1/", 3, NULL, 0 },
		{ RINGTAIL_FILTER_KEY, 0, "g1/k03", 6, NULL, 0 },
		{ RINGTAIL_FILTER_KEY, 0, "g5/k00", 6, NULL, 0 },
	};
	struct state only = { 0 };

	begin_amid(0);
	only.seq = known.saved.seq;
	for (unsigned key = 0; key < N_KEYS; key++) {
		if (key / 10 == 1 || key == 91 || key == 50)
			only.keys[key] = known.saved.keys[key];
	}
	gives_entries(filtered(rig, filters, 5), &only, 0, N_KEYS);
}

/* So they can be damaged. */
static void blocks_that_cannot_match_are_not_read(void **state)
{
	struct rig *rig = begin(state);
	/* Of 8 KiB each: nine in a block, the last block is that of g9/k09. */
	const struct ringtail_filter last = {
		RINGTAIL_FILTER_KEY, 0, "g9/k09", 6, NULL, 0
	};
	const struct ringtail_filter first = {
		RINGTAIL_FILTER_PREFIX, 0, "g0/k00", 6, NULL, 0
	};

	known.pad = 8192;
	puts_of_all(N_KEYS);
	snapshot();
	flip_blocks(known.saved.seq, 0);
	gives_entries(filtered(rig, &first, 1), &known.saved, 0, 1);
	flip_blocks(known.saved.seq, 0);
	flip_blocks(known.saved.seq, 12);
	gives_entries(filtered(rig, &last, 1), &known.saved, 99, 100);
}

/*
 * ---- Resync ----
 */

static void a_resume_that_is_possible_gets_no_state(void **state)
{
	struct rig *rig = begin(state);

	begin_amid(200);
	gives_changes(rig_read(rig, resyncing(known.saved.seq + 3)),
		      known.saved.seq + 3);
	gives_changes(rig_read(rig, resyncing(known.saved.seq)), known.saved.seq);
}

static void compacted_at_the_start(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_stats stats;
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(200);
	r = rig_read(rig, resyncing(5));
	assert_int_equal(marker_seq(r), 5);
	t_is(next(r, &e), RINGTAIL_RESET);
	rig_gap(r, 6, known.saved.seq - 5, known.saved.seq - h.log.oldest + 1,
		RINGTAIL_CAUSE_COMPACTED);
	gives_entries(r, &known.saved, 0, N_KEYS);
	stats = rig_stats(r);
	assert_int_equal(stats.start, 5);
	assert_int_equal(stats.lost, known.saved.seq - 5);
	assert_int_equal(stats.gaps, 1);
	gives_changes(r, known.saved.seq);
}

/* By each of the calls. */
static int read_by(struct ringtail *r, unsigned how, uint64_t *seq)
{
	struct ringtail_event e = { 0 }, events[8];
	static uint8_t data[4096];
	const struct ringtail_event *txn = &e;
	struct ringtail_batch batch = { .events = events,
					.max_events = 8,
					.data = data,
					.data_size = sizeof(data) };
	size_t n = 1;
	int outcome;

	if (how == 0)
		outcome = ringtail_next(r, &e, 0);
	else if (how == 1)
		outcome = ringtail_next_txn(r, &txn, &n, 0);
	else if (how == 2)
		outcome = ringtail_borrow(r, &e, 0);
	else
		outcome = ringtail_next_batch(r, &batch, 0);
	if (how == 3)
		txn = events, n = batch.n_events;
	if (outcome == RINGTAIL_EVENT)
		*seq = txn[n - 1].seq;
	if (outcome == RINGTAIL_SNAPSHOT) {
		if (how == 2)
			t_ok(ringtail_borrow_valid(r));
		for (size_t i = 0; i < n; i++, *seq += 1)
			assert_true(is_put(&txn[i], (unsigned)*seq,
					   known.saved.keys[*seq]));
	}
	(void)rig_stats(r);
	return outcome;
}

static void compacted_while_reading_by_any_call(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *readers[4];
	uint64_t seq = 0;

	puts_of_all(10);
	for (unsigned how = 0; how < 4; how++) {
		readers[how] = rig_read(rig, resyncing(0));
		t_is(read_by(readers[how], how, &seq), RINGTAIL_EVENT);
	}
	begin_amid(10);
	for (unsigned how = 0; how < 4; how++) {
		struct ringtail *r = readers[how];
		uint64_t position = ringtail_position(r);
		struct ringtail_gap_info gap;
		int outcome;

		while ((outcome = read_by(r, how, &seq)) == RINGTAIL_EVENT)
			position = seq;
		t_is(outcome, RINGTAIL_RESET);
		t_ok(ringtail_gap(r, &gap));
		assert_int_equal(gap.first, position + 1);
		assert_int_equal(gap.count, known.saved.seq - position);
		assert_int_equal(gap.cause, RINGTAIL_CAUSE_COMPACTED);
		seq = 0;
		while ((outcome = read_by(r, how, &seq)) == RINGTAIL_SNAPSHOT)
			assert_int_equal(ringtail_position(r), position);
		t_is(outcome, RINGTAIL_SNAPSHOT_END);
		assert_int_equal(seq, N_KEYS);
		assert_int_equal(ringtail_position(r), known.saved.seq);
		assert_int_equal(rig_stats(r).lost, gap.count);
		while ((outcome = read_by(r, how, &seq)) == RINGTAIL_EVENT)
			;
		t_is(outcome, RINGTAIL_NOTHING);
		assert_int_equal(seq, known.now.seq);
	}
}

static void a_marker_of_another_history(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = rig_from(RINGTAIL_START_MARKER);
	char marker[RINGTAIL_MARKER_SIZE], now[RINGTAIL_MARKER_SIZE];
	struct ringtail_stats stats;
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(20);
	t_ok(ringtail_marker_format(known.now.seq + 1000, EPOCH + 1, marker));
	o.marker = marker;
	t_is(rig_try(rig, o, &r), RINGTAIL_E_EPOCH);
	o.on_gap = RINGTAIL_ON_GAP_RESYNC;
	r = rig_read(rig, o);
	t_is(next(r, &e), RINGTAIL_RESET);
	rig_gap(r, known.now.seq + 1001, 0, 0, RINGTAIL_CAUSE_EPOCH);
	t_ok(ringtail_marker(r, now));
	assert_string_equal(now, marker); /* still good for nothing else */
	gives_entries(r, &known.saved, 0, N_KEYS);
	stats = rig_stats(r);
	assert_int_equal(stats.start, known.saved.seq);
	assert_int_equal(stats.lost, 0);
	gives_changes(r, known.saved.seq);
}

/* The log in the new epoch first, then the ring, as a daemon does it. */

/*
 * ---- Let go ----
 */

/* As a daemon does it: first what makes it last, then why, then the ring. */
static void let_go(uint64_t trimmed, uint64_t aged)
{
	const struct rt_floor floor = { trimmed, aged };

	t_ok(rt_log_set_floor(&h.log, &floor, &h.fault));
	rt_store64(&h.rig->w->hot->trimmed, trimmed);
	rt_store64(&h.rig->w->hot->aged, aged);
	(void)rt_writer_forget(h.rig->w, rt_max(trimmed, aged));
}

static void what_is_let_go_is_gone_at_once_and_says_why(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *by_error, *by_skip, *by_resync, *r;
	struct ringtail_event e;
	uint64_t at;

	puts_of_many();
	snapshot();
	puts_of_all(1000);
	by_error = rig_read(rig, rig_after(known.saved.seq));
	by_skip = rig_read(rig, rig_skip(known.saved.seq));
	by_resync = rig_read(rig, resyncing(known.saved.seq));
	t_is(next(by_error, &e), RINGTAIL_EVENT);
	t_is(next(by_skip, &e), RINGTAIL_EVENT);
	t_is(next(by_resync, &e), RINGTAIL_EVENT);
	assert_true(by_skip->in_log); /* in a segment that stays */
	at = ringtail_position(by_skip);

	snapshot();
	let_go(0, known.saved.seq - 9);
	t_is(next(by_skip, &e), RINGTAIL_GAP);
	rig_gap(by_skip, at + 1, known.saved.seq - 10 - at, 0, RINGTAIL_CAUSE_EXPIRED);
	t_is(next(by_skip, &e), RINGTAIL_EVENT);
	assert_int_equal(e.seq, known.saved.seq - 9);

	t_is(next(by_error, &e), RINGTAIL_E_COMPACTED);
	assert_non_null(strstr(ringtail_error(by_error), "by age"));

	t_is(next(by_resync, &e), RINGTAIL_RESET);
	rig_gap(by_resync, at + 1, known.saved.seq - at, 10, RINGTAIL_CAUSE_EXPIRED);
	gives_entries(by_resync, &known.saved, 0, N_KEYS);

	let_go(known.saved.seq - 4, known.saved.seq - 9);
	r = rig_read(rig, rig_skip(5));
	t_is(next(r, &e), RINGTAIL_GAP);
	rig_gap(r, 6, known.saved.seq - 10, 0, RINGTAIL_CAUSE_COMPACTED);
	t_is(next(r, &e), RINGTAIL_EVENT);
	assert_int_equal(e.seq, known.saved.seq - 4);
}

/*
 * ---- A new history ----
 */

/*
 * History as if the log had been lost: another folder in its place, which begins in
 * another epoch with this state.
 */
static void begin_anew(struct rig *rig, uint64_t epoch, const struct state *what)
{
	struct rt_log_report report;

	rt_log_drop(&h.log);
	t_ok(rename(h.path, t_path(rig->dir, "old")));
	/* Not closed, which sleepers would be told of. */
	rig_drop(rig);
	h.config.epoch = epoch;
	h.config.first_seq = what->seq + 1;
	t_ok(rt_log_open(h.path, &h.config, NULL, NULL, &h.fault, &report, &h.log));
	write_snapshot(epoch, what); /* before anybody can come for it */
	rig->config.epoch = epoch;
	rig->config.first_seq = what->seq + 1;
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_NEW_EPOCH, RIG_BEAT_NS,
			    &rig->fault, &rig->w));
	assert_int_equal(rt_writer_head(rig->w), what->seq);
}

static void who_continues_a_history_gets_no_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, resyncing(0));
	struct ringtail_event e;

	puts_of_all(10);
	t_is(next(r, &e), RINGTAIL_EVENT);
	begin_epoch(rig, EPOCH + 1);
	known.now.seq = 10;
	for (uint64_t seq = 2; seq <= 10; seq++) {
		t_is(next(r, &e), RINGTAIL_EVENT);
		assert_int_equal(e.seq, seq);
	}
	t_is(next(r, &e), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).moves, 1);
	assert_int_equal(rig_stats(r).resets, 0);
}

static void a_new_history_is_read_from_its_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = resyncing(0);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_stats stats;
	struct ringtail_event e;
	struct ringtail *r;
	uint64_t epoch;

	o.presence = "seen";
	r = rig_read(rig, o);
	puts_of_all(50);
	for (uint64_t seq = 1; seq <= 20; seq++)
		t_is(next(r, &e), RINGTAIL_EVENT);
	known.saved = known.now;
	known.saved.seq = 1000;
	begin_anew(rig, EPOCH + 5, &known.saved);
	put(3);
	/* The old ring is read to its end first. */
	for (uint64_t seq = 21; seq <= 50; seq++) {
		t_is(next(r, &e), RINGTAIL_EVENT);
		assert_int_equal(e.seq, seq);
	}
	t_is(next(r, &e), RINGTAIL_RESET);
	rig_gap(r, 51, 0, 0, RINGTAIL_CAUSE_EPOCH);
	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));
	assert_int_equal(epoch, EPOCH); /* its seq means nothing in the new one */
	assert_non_null(r->presence);
	rt_presence_write(r, RT_PRESENCE_RUNNING);
	assert_int_equal(r->presence->record.epoch, EPOCH); /* nor does the position */
	assert_int_equal(r->presence->record.position, 50);
	gives_entries(r, &known.saved, 0, N_KEYS);
	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));
	assert_int_equal(epoch, EPOCH + 5);
	stats = rig_stats(r);
	assert_int_equal(stats.start, 1000);
	assert_int_equal(stats.position, 1000);
	assert_int_equal(stats.delivered, 0);
	gives_changes(r, 1000);
}

struct follower {
	struct ringtail *reader;
	_Atomic uint64_t position;
	_Atomic bool done;
	unsigned resets;
	const char *wrong;
};

/* Reads until the state and what follows it in the new history have come. */
static void *follow(void *arg)
{
	struct follower *f = arg;
	struct ringtail_event e;
	uint64_t last = 0;
	bool in_state = false;

	while (!f->wrong && !(f->resets && !in_state && last == 1003)) {
		int outcome = ringtail_next(f->reader, &e, RINGTAIL_FOREVER);

		if (outcome == RINGTAIL_RESET) {
			in_state = true;
			f->resets++;
		} else if (outcome == RINGTAIL_SNAPSHOT_END) {
			in_state = false;
			last = e.seq;
		} else if (outcome == RINGTAIL_EVENT) {
			if (in_state || e.seq != last + 1)
				f->wrong = "an event that does not follow";
			last = e.seq;
		} else if (outcome < 0) {
			f->wrong = ringtail_error(f->reader);
		}
		rt_store64(&f->position, last);
	}
	return NULL;
}

static void followed_through_a_new_history(struct rig *rig, unsigned before)
{
	struct follower f = { .reader = rig_read(rig, resyncing(0)) };
	struct state then;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, follow, &f), 0);
	puts_of_all(before);
	then = known.now;
	then.seq = 1000;
	begin_anew(rig, EPOCH + 5, &then);
	for (unsigned i = 0; i < 3; i++)
		put(i);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (f.wrong)
		fail_msg("%s", f.wrong);
	assert_int_equal(f.resets, 1);
	assert_int_equal(rig_stats(f.reader).start, 1000);
	assert_int_equal(rig_stats(f.reader).delivered, 3);
}

static void a_new_history_reaches_who_sleeps(void **state)
{
	followed_through_a_new_history(begin(state), 1);
}

static void a_new_history_reaches_who_is_busy(void **state)
{
	followed_through_a_new_history(begin(state), 900);
}

static void the_other_policies_are_told_of_a_new_history(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, rig_skip(0));
	struct ringtail_event e;

	put(1);
	known.now.seq = 1000;
	begin_anew(rig, EPOCH + 5, &known.now);
	t_is(next(r, &e), RINGTAIL_EVENT);
	t_is(next(r, &e), RINGTAIL_E_EPOCH);
	rig_gap(r, 2, 0, 0, RINGTAIL_CAUSE_EPOCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TR(an_empty_feed_has_an_empty_state),
		TR(the_newest_snapshot_and_then_what_came_after_it),
		TR(what_comes_while_it_is_read_is_delivered_once),
		TR(without_a_snapshot_the_whole_log_is_merged),
		TR(no_snapshot_and_a_log_that_was_cut_is_an_error),
		TR(a_feed_without_a_log_is_not_supported),
		TR(a_state_has_only_what_the_filters_match),
		TR(overlapping_filters_give_each_entry_once),
		TR(blocks_that_cannot_match_are_not_read),
		TR(a_resume_that_is_possible_gets_no_state),
		TR(compacted_at_the_start),
		TR(compacted_while_reading_by_any_call),
		TR(a_marker_of_another_history),
		TR(what_is_let_go_is_gone_at_once_and_says_why),
		TR(who_continues_a_history_gets_no_state),
		TR(a_new_history_is_read_from_its_state),
		TR(a_new_history_reaches_who_sleeps),
		TR(a_new_history_reaches_who_is_busy),
		TR(the_other_policies_are_told_of_a_new_history),
	};

	return cmocka_run_group_tests_name("resync", tests, NULL, NULL);
}
