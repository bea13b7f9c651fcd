/* SPDX-License-Identifier: MIT */
/*
 * test_resync_trouble.c - client/resync.c: damage, and what happens meanwhile
 */
#include "tests/unit/staterig.h"

/*
 * ---- Damage ----
 */

/* Two snapshots, the older with its log. */
static void begin_with_two(struct state *ret_older)
{
	puts_of_all(200);
	event(RT_OP_DELETE, 5);
	snapshot();
	*ret_older = h.saved;
	puts_of_all(300);
	event(RT_OP_DELETE, 6);
	snapshot();
	put(1);
}

static void a_damaged_snapshot_is_given_up_for_the_other_one(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct state older;
	struct ringtail *r;

	begin_with_two(&older);
	flip_blocks(h.saved.seq, ALL_BLOCKS);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
	gives_state(r, &older);
	gives_changes(r, older.seq);
	assert_int_equal(rig_stats(r).resets, 2);

	/* One that does not even open is passed over at once. */
	t_ok(truncate(snapshot_file(h.saved.seq), 5000));
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

	h.pad = 8192;
	begin_with_two(&older);
	flip_blocks(h.saved.seq, 0); /* all but the first */
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
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
	flip_blocks(h.saved.seq, ALL_BLOCKS);
	flip_blocks(older.seq, ALL_BLOCKS);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
	t_is(next(r, &e), RINGTAIL_RESET);
	for (unsigned i = 0; i < 3; i++)
		t_is(next(r, &e), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(r), ".snap"));
	assert_non_null(strstr(ringtail_error(r), "damaged at byte"));

	flip_blocks(older.seq, ALL_BLOCKS);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
	gives_state(r, &older);

	t_ok(truncate(snapshot_file(older.seq), 100));
	t_ok(truncate(snapshot_file(h.saved.seq), 100));
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

	h.pad = 2000;
	begin_amid(5);
	whole = (uint8_t *)t_read_file(snapshot_file(h.saved.seq), &len);
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
		t_write_file(snapshot_file(h.saved.seq), bytes, kept);
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

	h.pad = 8192;
	begin_amid(5);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
	t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	t_ok(truncate(snapshot_file(h.saved.seq), 5000));
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

	h.pad = 8192;
	puts_of_all(200);
	snapshot();
	first = h.saved;
	put(2);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
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
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
	for (unsigned key = 0; key < N_KEYS; key++)
		t_is(next(r, &e), RINGTAIL_SNAPSHOT);
	begin_amid(5); /* what follows the first is neither in ring nor log */
	gives_state(r, &h.saved);
	gives_changes(r, h.saved.seq);
	assert_int_equal(rig_stats(r).resets, 2);
	assert_int_equal(rig_stats(r).start, h.saved.seq);
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
	rig_gap(r, 8, h.saved.seq - 7, h.saved.seq - h.log.oldest + 1,
		RINGTAIL_CAUSE_COMPACTED);
	gives_entries(r, &h.saved, 0, N_KEYS);
	assert_int_equal(rig_stats(r).gaps, 1);
	assert_int_equal(rig_stats(r).lost, h.saved.seq - 7);
}

static void cancel_stops_in_the_middle(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(5);
	r = rig_read(rig, from_state());
	t_is(next(r, &e), RINGTAIL_RESET);
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
	gives_state(r, &h.saved);
	assert_false(r->pollfd->armed);
	assert_int_equal(rig_stats(r).sleeps, 0);
	gives_changes(r, h.saved.seq);
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
			assert_true(
				is_put(&events[i], (unsigned)key, h.saved.keys[key]));
	}
	t_is(outcome, RINGTAIL_SNAPSHOT_END);
	assert_int_equal(key, N_KEYS);
	assert_int_equal(rig_stats(r).entries, N_KEYS);
}

static void a_state_beyond_the_end_is_all_there_is(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_options o = from_state();
	struct ringtail_event e;
	struct ringtail *r;

	begin_amid(5);
	o.until = h.saved.seq - 1;
	r = rig_read(rig, o);
	gives_state(r, &h.saved);
	t_is(next(r, &e), RINGTAIL_E_END);
	o.until = h.saved.seq + 2;
	r = rig_read(rig, o);
	gives_state(r, &h.saved);
	t_is(next(r, &e), RINGTAIL_EVENT);
	t_is(next(r, &e), RINGTAIL_EVENT);
	t_is(next(r, &e), RINGTAIL_E_END);
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
		TR(a_state_beyond_the_end_is_all_there_is),
	};

	return cmocka_run_group_tests_name("resync_trouble", tests, NULL, NULL);
}
