/* SPDX-License-Identifier: MIT */
/*
 * test_resync_trouble.c - client/resync.c: damage, and what happens meanwhile
 */
#include "tests/unit/staterig.h"

#include <poll.h>
#include <sys/resource.h>

/*
 * ---- Damage ----
 */

/* Two snapshots, the older with its log. */
static void begin_with_two(struct state *ret_older)
{
	puts_of_all(200);
	event(RT_OP_DELETE, 5);
	snapshot();
	*ret_older = known.saved;
	puts_of_all(300);
	event(RT_OP_DELETE, 6);
	snapshot();
	put(1);
}

static void a_damaged_snapshot_is_given_up_for_the_other_one(void **state)
{
	struct rig *rig = begin(state);
	struct state older;
	struct ringtail *r;

	begin_with_two(&older);
	flip_blocks(known.saved.seq, ALL_BLOCKS);
	r = read_reset(rig);
	gives_state(r, &older);
	gives_changes(r, older.seq);
	assert_int_equal(rig_stats(r).resets, 2);

	/* One that does not even open is passed over at once. */
	t_ok(truncate(snapshot_file(known.saved.seq), 5000));
	r = rig_read(rig, from_state());
	gives_state(r, &older);
	assert_int_equal(rig_stats(r).resets, 1);
}

static void damage_in_the_middle_is_no_end(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct state older;
	struct ringtail *r;
	unsigned n = 0;
	int outcome;

	known.pad = 8192;
	begin_with_two(&older);
	flip_blocks(known.saved.seq, 0); /* all but the first */
	r = read_reset(rig);
	while ((outcome = next(r, &e)) == RINGTAIL_SNAPSHOT)
		n++;
	t_is(outcome, RINGTAIL_RESET);
	assert_in_range(n, 1, 20);
	gives_entries(r, &older, 0, N_KEYS);
	gives_changes(r, older.seq);
}

static void when_all_are_damaged_it_says_so_until_one_is_mended(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct state older;
	struct ringtail *r;

	begin_with_two(&older);
	flip_blocks(known.saved.seq, ALL_BLOCKS);
	flip_blocks(older.seq, ALL_BLOCKS);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_RESET);
	for (unsigned i = 0; i < 3; i++)
		t_is(next(r, &e), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(r), ".snap"));
	assert_non_null(strstr(ringtail_error(r), "damaged at byte"));

	flip_blocks(older.seq, ALL_BLOCKS);
	r = read_reset(rig);
	gives_state(r, &older);

	t_ok(truncate(snapshot_file(older.seq), 100));
	t_ok(truncate(snapshot_file(known.saved.seq), 100));
	t_is(rig_try(rig, from_state(), &r), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(NULL), ".snap"));
}

/* Reads to an end of some kind; how many entries came. */
static unsigned read_out(struct ringtail *r)
{
	struct ringtail_event e;
	unsigned n = 0, steps = 0;
	int outcome;

	do {
		outcome = next(r, &e);
		n += outcome == RINGTAIL_SNAPSHOT;
		assert_true(++steps < 10000);
	} while (outcome > 0 && outcome != RINGTAIL_SNAPSHOT_END);
	return n;
}

static void any_bytes_in_a_snapshot_are_no_crash(void **state)
{
	struct rig *rig = begin(state);
	struct t_random random = { 23 };
	size_t len;
	uint8_t *whole;

	known.pad = 2000;
	begin_amid(5);
	whole = (uint8_t *)t_read_file(snapshot_file(known.saved.seq), &len);
	for (unsigned i = 0; i < 300; i++) {
		AUTO_FREE uint8_t *bytes = malloc(len);
		size_t n = 1 + t_random_below(&random, 8), kept = len;
		struct ringtail *r;

		memcpy(bytes, whole, len);
		while (n--) {
			/* As often in header, index and footer as in what is between.
			 */
			size_t at = t_random_below(&random, len);

			if (t_random_below(&random, 3) == 0)
				at = t_random_below(&random, 200);
			else if (t_random_below(&random, 2) == 0)
				at = len - 1 - t_random_below(&random, 400);
			bytes[at] = (uint8_t)t_random64(&random);
		}
		if (t_random_below(&random, 4) == 0)
			kept = t_random_below(&random, len);
		t_write_file(snapshot_file(known.saved.seq), bytes, kept);
		if (rig_try(rig, from_state(), &r) < 0)
			continue;
		(void)read_out(r);
		ringtail_close(r);
	}
	free(whole);
}

static void a_snapshot_that_is_cut_while_it_is_read(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	known.pad = 8192;
	begin_amid(5);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	t_ok(truncate(snapshot_file(known.saved.seq), 5000));
	assert_in_range(read_out(r), 0, N_KEYS - 2);
	t_is(next(r, &e), RINGTAIL_E_CORRUPT);
}

/*
 * ---- Meanwhile ----
 */

static void a_snapshot_that_is_removed_while_it_is_read(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;
	struct state first;

	known.pad = 8192;
	puts_of_all(200);
	snapshot();
	first = known.saved;
	put(2);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	snapshot();
	assert_int_equal(unlink(snapshot_file(first.seq)), 0);
	gives_entries(r, &first, 1, N_KEYS);
	gives_changes(r, first.seq);
}

static void a_state_that_history_has_left_behind_is_begun_anew(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(5);
	r = read_reset(rig);
	for (unsigned key = 0; key < N_KEYS; key++)
		t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	begin_amid(5); /* what follows the first is neither in ring nor log */
	gives_state(r, &known.saved);
	gives_changes(r, known.saved.seq);
	assert_int_equal(rig_stats(r).resets, 2);
	assert_int_equal(rig_stats(r).start, known.saved.seq);
}

static void the_gap_of_a_state_that_was_begun_anew_is_one(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(5);
	r = rig_read(rig, resyncing(7));
	t_is(next(r, &e), RINGTAIL_RESET);
	for (unsigned key = 0; key < N_KEYS; key++)
		t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	begin_amid(5);
	t_is(next(r, &e), RINGTAIL_RESET);
	rig_gap(r, 8, known.saved.seq - 7, known.saved.seq - h.log.oldest + 1,
		RINGTAIL_CAUSE_COMPACTED);
	gives_entries(r, &known.saved, 0, N_KEYS);
	assert_int_equal(rig_stats(r).gaps, 1);
	assert_int_equal(rig_stats(r).lost, known.saved.seq - 7);
}

static void cancel_stops_in_the_middle(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(5);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	ringtail_cancel(r);
	t_is(next(r, &e), RINGTAIL_E_CANCELED);
	t_is(next(r, &e), RINGTAIL_E_CANCELED);
	assert_int_equal(marker_seq(r), 0);
}

static void a_state_never_arms_the_descriptor(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r;

	begin_amid(0);
	r = rig_read(rig, from_state());
	assert_true(ringtail_fd(r) >= 0);
	gives_state(r, &known.saved);
	assert_false(r->pollfd->armed);
	assert_int_equal(rig_stats(r).sleeps, 0);
	gives_changes(r, known.saved.seq);
	assert_true(r->pollfd->armed);
}

static void a_batch_that_holds_no_entry_says_what_it_takes(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event events[3];
	uint8_t data[64];
	struct ringtail_batch batch = {
		.events = events, .max_events = 3, .data = data, .data_size = 10
	};
	struct ringtail *r;
	uint64_t key = 0;
	int outcome;

	puts_of_all(N_KEYS);
	snapshot();
	r = rig_read(rig, from_state());
	t_is(ringtail_next_batch(r, &batch, 0), RINGTAIL_RESET);
	t_is(ringtail_next_batch(r, &batch, 0), -EMSGSIZE);
	assert_int_equal(batch.need_events, 1);
	assert_in_range(batch.need_data, 11, 64);
	batch.data_size = sizeof(data);
	while ((outcome = ringtail_next_batch(r, &batch, 0)) == RINGTAIL_SNAPSHOT) {
		assert_in_range(batch.n_events, 1, 3);
		for (size_t i = 0; i < batch.n_events; i++, key++)
			assert_true(is_put(&events[i], (unsigned)key,
					   known.saved.keys[key]));
	}
	t_is(outcome, RINGTAIL_SNAPSHOT_END);
	assert_int_equal(key, N_KEYS);
	assert_int_equal(rig_stats(r).entries, N_KEYS);
}

/*
 * ---- Snapshots that cannot be had ----
 */

/* One that is as of nothing, too. */
static void a_damaged_snapshot_of_an_empty_feed_is_an_error(void **state)
{
	struct rig *rig = begin(state);
	struct state empty = { 0 };
	struct ringtail_event e;
	struct ringtail *r;

	known.pad = 100;
	empty.keys[3] = 1;
	write_snapshot(EPOCH, &empty);
	flip_blocks(0, ALL_BLOCKS);
	put(1);
	r = read_reset(rig);
	t_is(next(r, &e), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(r), "ringtail snapshot " RIG_FEED));
}

/* The checksum of a batch is right, but there are fewer events than it says. */
static void a_log_that_says_it_has_more_than_it_has_is_an_error(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r;

	put(1);
	r = read_reset(rig);
	rt_batch_reset(&h.batch, 2);
	t_ok(rt_batch_one(&h.batch, RT_OP_PUT, 0, "k", 1, "v", 1, time_of(2)));
	h.batch.n_events = 3;
	t_ok(rt_log_append(&h.log, &h.batch, &h.fault));
	for (unsigned i = 0; i < 3; i++)
		rig_put(rig, 1);
	t_is(rig_try(rig, from_state(), &r), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(NULL), "makes no sense"));
}

/* An overtaken reader of a feed whose log is about to be replaced. */
static struct ringtail *between_two_histories(struct rig *rig)
{
	struct ringtail *r = rig_read(rig, resyncing(0));
	struct ringtail_event e;

	puts_of_all(100);
	t_is(next(r, &e), RINGTAIL_EVENT);
	t_ok(rename(h.path, t_path(rig->dir, "away")));
	puts_of_all(500);
	rt_reader_leave_log(r);
	return r;
}

static void while_there_is_no_history_nobody_is_held(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = between_two_histories(rig);
	uint64_t first = ringtail_position(r);
	struct ringtail_event e;

	for (unsigned i = 0; i < 100; i++)
		t_is(next(r, &e), RINGTAIL_NOTHING);
	t_is(ringtail_next(r, &e, 5000000), RINGTAIL_NOTHING);
	t_is(ringtail_borrow(r, &e, 0), RINGTAIL_NOTHING);
	assert_int_equal(ringtail_position(r), first);
	assert_int_equal(rig_stats(r).resets, 0);

	/* A snapshot of what was written meanwhile. */
	t_ok(rename(t_path(rig->dir, "away"), h.path));
	snapshot();
	trim(known.saved.seq + 1);
	t_is(ringtail_next(r, &e, RINGTAIL_FOREVER), RINGTAIL_RESET);
	gives_entries(r, &known.saved, 0, N_KEYS);
	gives_changes(r, known.saved.seq);
}

static void a_history_that_never_comes_is_an_error(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = between_two_histories(rig);
	struct ringtail_event e;

	t_is(next(r, &e), RINGTAIL_NOTHING);
	assert_true(r->resync.give_up_ns > 1);
	r->resync.give_up_ns = 1; /* as if it were that late */
	t_is(ringtail_next(r, &e, RINGTAIL_FOREVER), RINGTAIL_E_UNSUPPORTED);
	assert_non_null(strstr(ringtail_error(r), "snapshots"));
	t_is(next(r, &e), RINGTAIL_E_UNSUPPORTED);
}

static void who_polls_is_woken_to_look_again(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = between_two_histories(rig);
	struct pollfd p = { .fd = ringtail_fd(r), .events = POLLIN };
	struct ringtail_event e;

	t_is(next(r, &e), RINGTAIL_NOTHING);
	assert_true(r->pollfd->armed);
	assert_int_equal(poll(&p, 1, -1), 1);
	t_is(next(r, &e), RINGTAIL_NOTHING);
}

static void a_cancel_ends_the_wait_for_a_history(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = between_two_histories(rig);
	struct ringtail_event e;

	t_is(next(r, &e), RINGTAIL_NOTHING);
	ringtail_cancel(r);
	t_is(ringtail_next(r, &e, RINGTAIL_FOREVER), RINGTAIL_E_CANCELED);
}

/* The number that the next descriptor gets. */
static rlim_t next_fd(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	(void)close(fd);
	return (rlim_t)fd;
}

/* Which call will fail is not known, so all of them are tried. */
static void want_of_descriptors_is_no_other_history(void **state)
{
	struct rig *rig = begin(state);
	struct rlimit normal, few;
	struct ringtail *readers[12];
	struct ringtail_event e;
	unsigned n_failed = 0;

	put(1);
	for (unsigned i = 0; i < 12; i++) {
		readers[i] = rig_read(rig, resyncing(0));
		t_is(next(readers[i], &e), RINGTAIL_EVENT);
	}
	begin_epoch(rig, EPOCH + 1);
	put(2);
	t_ok(getrlimit(RLIMIT_NOFILE, &normal));
	few = normal;
	for (unsigned i = 0; i < 12; i++) {
		int outcome;

		if (i % 2)
			rt_reader_leave_log(readers[i]);
		few.rlim_cur = next_fd() + i / 2;
		t_ok(setrlimit(RLIMIT_NOFILE, &few));
		outcome = ringtail_next(readers[i], &e, 0);
		t_ok(setrlimit(RLIMIT_NOFILE, &normal));
		n_failed += outcome == -EMFILE;
		if (outcome == -EMFILE)
			outcome = ringtail_next(readers[i], &e, 0);
		t_is(outcome, RINGTAIL_EVENT);
		assert_int_equal(e.seq, 2);
		assert_int_equal(rig_stats(readers[i]).resets, 0);
	}
	assert_true(n_failed > 1);
}

/*
 * ---- Held after all ----
 */

static void what_is_held_after_all_is_read_on(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail *r = rig_read(rig, resyncing(0));
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_event e;
	uint64_t epoch;

	puts_of_all(10);
	snapshot();
	for (uint64_t seq = 1; seq <= 10; seq++)
		t_is(next(r, &e), RINGTAIL_EVENT);
	begin_epoch(rig, EPOCH + 1);
	t_is(rt_reader_resync(r, RINGTAIL_CAUSE_COMPACTED), RINGTAIL_NOTHING);
	assert_int_equal(r->resync.phase, RT_RESYNC_NONE);
	assert_true(ringtail_fd(r) >= 0);
	t_is(next(r, &e), RINGTAIL_NOTHING); /* it is no first call */
	assert_true(r->pollfd->armed);
	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));
	assert_int_equal(epoch, EPOCH + 1);
	put(1);
	t_is(next(r, &e), RINGTAIL_EVENT);
	assert_int_equal(e.seq, 11);
}

/* Who was told to forget everything gets a state, though it be an older one. */
static void after_a_reset_there_is_a_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_stats stats;
	struct ringtail_event e;
	struct state older;
	struct ringtail *r;

	puts_of_all(20);
	snapshot();
	older = known.saved;
	puts_of_all(20);
	r = rig_read(rig, resyncing(0));
	for (uint64_t seq = 1; seq <= 30; seq++)
		t_is(next(r, &e), RINGTAIL_EVENT);
	snapshot();
	flip_blocks(known.saved.seq, ALL_BLOCKS);
	t_is(rt_reader_resync(r, RINGTAIL_CAUSE_COMPACTED), RINGTAIL_RESET);
	gives_state(r, &older);
	stats = rig_stats(r);
	assert_int_equal(stats.start, older.seq);
	assert_int_equal(stats.delivered, 0);
	assert_int_equal(stats.lost, 0);
	gives_changes(r, older.seq);
}

/*
 * ---- An end ----
 */

static void a_state_is_never_beyond_the_end(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct state older;
	struct ringtail *r;

	begin_with_two(&older);
	o.until = known.saved.seq - 1;
	r = rig_read(rig, o);
	gives_state(r, &older);
	for (uint64_t seq = older.seq + 1; seq <= o.until; seq++)
		t_is(next(r, &e), RINGTAIL_EVENT);
	t_is(next(r, &e), RINGTAIL_E_END);

	/* Not even what follows it need be held. */
	o.until = older.seq;
	r = rig_read(rig, o);
	gives_state(r, &older);
	t_is(next(r, &e), RINGTAIL_E_END);

	o.until = known.saved.seq + 1;
	r = rig_read(rig, o);
	gives_state(r, &known.saved);
	t_is(next(r, &e), RINGTAIL_EVENT);
	t_is(next(r, &e), RINGTAIL_E_END);
}

static void without_a_snapshot_it_is_as_of_the_end(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct state then;
	struct ringtail *r;

	puts_of_all(10);
	then = known.now;
	puts_of_all(10);
	o.until = then.seq;
	r = rig_read(rig, o);
	gives_state(r, &then);
	t_is(next(r, &e), RINGTAIL_E_END);
}

static void an_end_that_no_snapshot_reaches_down_to_is_refused(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct ringtail *r;

	put(1);
	o.until = 7;
	r = rig_read(rig, o);
	gives_state(r, &known.now);
	begin_amid(5);
	t_is(rig_try(rig, o, &r), RINGTAIL_E_NO_SNAPSHOT);
	assert_non_null(strstr(ringtail_error(NULL), "at or below seq 7"));

	/* Nor does a gap end with a state that is of later. */
	o = resyncing(0);
	o.until = known.saved.seq + 5;
	r = rig_read(rig, o);
	t_is(next(r, &e), RINGTAIL_RESET);
	rig_gap(r, 1, known.saved.seq, known.saved.seq - h.log.oldest + 1,
		RINGTAIL_CAUSE_COMPACTED);
	o.until = known.saved.seq - 1;
	t_is(rig_try(rig, o, &r), RINGTAIL_E_NO_SNAPSHOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TR(a_damaged_snapshot_is_given_up_for_the_other_one),
		TR(damage_in_the_middle_is_no_end),
		TR(when_all_are_damaged_it_says_so_until_one_is_mended),
		TR(any_bytes_in_a_snapshot_are_no_crash),
		TR(a_snapshot_that_is_cut_while_it_is_read),
		TR(a_snapshot_that_is_removed_while_it_is_read),
		TR(a_state_that_history_has_left_behind_is_begun_anew),
		TR(the_gap_of_a_state_that_was_begun_anew_is_one),
		TR(cancel_stops_in_the_middle),
		TR(a_state_never_arms_the_descriptor),
		TR(a_batch_that_holds_no_entry_says_what_it_takes),
		TR(a_damaged_snapshot_of_an_empty_feed_is_an_error),
		TR(a_log_that_says_it_has_more_than_it_has_is_an_error),
		TR(while_there_is_no_history_nobody_is_held),
		TR(a_history_that_never_comes_is_an_error),
		TR(who_polls_is_woken_to_look_again),
		TR(a_cancel_ends_the_wait_for_a_history),
		TR(want_of_descriptors_is_no_other_history),
		TR(what_is_held_after_all_is_read_on),
		TR(after_a_reset_there_is_a_state),
		TR(a_state_is_never_beyond_the_end),
		TR(without_a_snapshot_it_is_as_of_the_end),
		TR(an_end_that_no_snapshot_reaches_down_to_is_refused),
	};

	return cmocka_run_group_tests_name("resync_trouble", tests, NULL, NULL);
}
