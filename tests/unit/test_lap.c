/* SPDX-License-Identifier: MIT */
/*
 * test_lap.c - laps, gaps and accounts; rings whose bytes make no sense
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <linux/futex.h>

static uint64_t floor_of(const struct rig *rig)
{
	return rt_own64(&rig->w->hot->floor);
}

static struct rt_slot *slot_of(struct rig *rig, uint64_t seq)
{
	return &rig->map.slots[seq & (rig->map.geo.n_slots - 1)];
}

static void the_event_at_the_floor_is_delivered(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	for (unsigned i = 0; i < 40; i++) {
		struct ringtail *r;
		uint64_t floor;

		rig_put(rig, 7);
		floor = floor_of(rig);
		r = rig_read(rig, rig_after(floor - 1));
		rig_drain(r, floor, rt_writer_head(rig->w));
		rig_forget(rig, r);
	}
}

/* Wherever a reader stands when the floor passes it: one gap, from its next event. */
static void a_gap_begins_at_the_first_that_was_missed(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;

	rig_open(rig);
	for (uint64_t at = 0; at < 64; at++) {
		struct ringtail *r;
		uint64_t begun = rt_writer_head(rig->w);

		rig_put(rig, 64);
		r = rig_read(rig, rig_skip(begun + 4));
		rig_next(r, begun + 5);
		while (floor_of(rig) <= begun + 6 + at)
			rig_put(rig, 1);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
		rig_gap(r, begun + 6, floor_of(rig) - begun - 6, 0,
			RINGTAIL_CAUSE_LAPPED);
		rig_drain(r, floor_of(rig), rt_writer_head(rig->w));
		assert_int_equal(rig_stats(r).gaps, 1);
		rig_forget(rig, r);
	}
}

static void the_policy_error_stops_and_says_what_is_missing(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail_gap_info gap;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	t_is(ringtail_gap(r, &gap), -ENOENT);
	rig_put(rig, 100);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_LAPPED);
	rig_gap(r, 2, floor_of(rig) - 2, 0, RINGTAIL_CAUSE_LAPPED);
	rig_put(rig, 100);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_LAPPED);
	ringtail_cancel(r);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_LAPPED);
	assert_int_equal(ringtail_position(r), 1);
	assert_int_equal(rig_stats(r).lost, 0);
}

/* Going on right behind a fast writer would be a gap for every event. */
static void who_is_lapped_again_at_once_goes_on_half_a_ring_ahead(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail_gap_info gap;
	struct ringtail *r;
	uint64_t written = 70;
	unsigned gaps = 0;

	rig_open(rig);
	rig_put(rig, 70);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	rig_forget(rig, r);
	r = rig_read(rig, rig_skip(0));
	while (written < 2000) {
		int outcome = ringtail_next(r, &event, 0);

		if (outcome == RINGTAIL_GAP) {
			gaps++;
			t_ok(ringtail_gap(r, &gap));
			if (gaps > 2)
				assert_true(gap.skipped > 0);
		} else {
			t_is(outcome, RINGTAIL_EVENT);
		}
		rig_put(rig, 10);
		written += 10;
	}
	assert_in_range(gaps, 2, written / 32 + 2);
	while (ringtail_next(r, &event, 0) > 0)
		;
	assert_int_equal(ringtail_position(r), written);
	(void)rig_stats(r);
}

static void skipped_events_are_the_last_of_the_gap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail_gap_info gap;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 70);
	r = rig_read(rig, rig_skip(20));
	rig_next(r, 21);
	rig_put(rig, 64);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP); /* to the floor */
	rig_put(rig, 64);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP); /* half a ring above it */
	t_ok(ringtail_gap(r, &gap));
	assert_int_equal(gap.first + gap.count - gap.skipped, floor_of(rig));
	assert_in_range(gap.skipped, 32, 44);
	rig_next(r, gap.first + gap.count);
	assert_int_equal(rig_stats(r).gaps, 2);
}

static void accounts_add_up_through_everything(void **state)
{
	static const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_KEY,
						       .a = "yes",
						       .a_len = 3 };
	struct rig *rig = *state;
	struct ringtail_options o = rig_skip(0);
	struct t_random random = { 21 };
	struct ringtail_event out[20];
	uint8_t data[2000];
	struct ringtail *r;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = rig_read(rig, o);
	for (int i = 0; i < 3000; i++) {
		struct ringtail_batch b = {
			out, 20, data, sizeof(data), 3, 0, 0, 0, 0
		};
		const struct ringtail_event *events;
		unsigned n = (unsigned)t_random_below(&random, 17);
		size_t n_events;

		rt_writer_begin(rig->w);
		while (n--) {
			bool yes = t_random_below(&random, 2);

			t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, yes ? "yes" : "no",
					   yes ? 3 : 2, "", 0));
		}
		rt_writer_commit(rig->w);
		switch (t_random_below(&random, 6)) {
		case 0:
			(void)ringtail_next(r, out, 0);
			break;
		case 1:
			(void)ringtail_next_txn(r, &events, &n_events, 0);
			break;
		case 2:
			(void)ringtail_next_batch(r, &b, 0);
			break;
		case 3:
			(void)ringtail_borrow(r, out, 0);
			break;
		case 4:
			(void)ringtail_borrow_valid(r);
			break;
		default:
			while (ringtail_next(r, out, 0) > 0)
				;
			break;
		}
		(void)rig_stats(r);
		assert_true(ringtail_position(r) <= rt_writer_head(rig->w));
	}
	while (ringtail_next(r, out, 0) > 0)
		;
	assert_int_equal(ringtail_position(r), rt_writer_head(rig->w));
	assert_true(rig_stats(r).gaps > 3);
	assert_true(rig_stats(r).delivered > 300);
}

static void lag_is_what_is_not_read_yet(void **state)
{
	struct rig *rig = *state;
	struct ringtail_stats stats;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	stats = rig_stats(r);
	assert_int_equal(stats.lag_events, 0);
	assert_int_equal(stats.lag_ns, 0);
	assert_int_equal(stats.room_events, 60);
	assert_int_equal(stats.room_bytes, 3840);
	for (int i = 0; i < 10; i++)
		t_ok(rig_put_sized(rig, 1, 100));
	stats = rig_stats(r);
	assert_int_equal(stats.lag_events, 10);
	assert_int_equal(stats.lag_bytes, 1040);
	assert_int_equal(stats.room_events, 50);
	assert_int_equal(stats.room_bytes, 2800);
	assert_in_range(stats.lag_ns, 1, UINT64_C(10000000000));
	rig_put(rig, 100);
	stats = rig_stats(r);
	assert_int_equal(stats.lag_events, 110);
	assert_int_equal(stats.room_events, 0);
	assert_int_equal(stats.lost, 0); /* asking changes nothing */
	stats.size = 8;
	t_is(ringtail_get_stats(r, &stats), -EINVAL);
}

static void information_is_about_the_feed(void **state)
{
	struct rig *rig = *state;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_ok(ringtail_get_info(r, &info));
	assert_string_equal(info.name, RIG_FEED);
	assert_int_equal(info.head, 0);
	assert_int_equal(info.oldest, 1);
	assert_int_equal(info.oldest_time_ns, 0);
	rt_writer_set_time(rig->w, 100);
	rig_put(rig, 10);
	rt_writer_set_time(rig->w, 200);
	rig_put(rig, 60);
	t_ok(ringtail_get_info(r, &info));
	assert_int_equal(info.head, 70);
	assert_int_equal(info.oldest, floor_of(rig));
	assert_int_equal(info.oldest_time_ns, 100);
	assert_int_equal(info.head_time_ns, 200);
	assert_int_equal(info.holds_events, 60);
	assert_int_equal(info.holds_bytes, 3840);
	assert_int_equal(info.n_txns, 70);
	assert_int_equal(info.format, RT_FORMAT);
	assert_int_equal(info.file_size, 4 * RT_PAGE);
	assert_int_equal(info.state, RINGTAIL_LIVE);
	assert_in_range(info.heartbeat_age_ns, 0, UINT64_C(10000000000));
	assert_true(info.epoch == rig->w->segment.geo.epoch);
	info.size--;
	t_is(ringtail_get_info(r, &info), -EINVAL);
}

/*
 * ---- Bytes that make no sense ----
 */

static void a_damaged_slot_is_an_error_with_its_place(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 10);
	(void)rig_map(rig);
	slot_of(rig, 4)->op = 99;
	r = rig_read(rig, rig_skip(0));
	for (uint64_t seq = 1; seq <= 3; seq++)
		rig_next(r, seq);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(r), "seq 4"));
	assert_non_null(strstr(ringtail_error(r), rig->path));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_E_CORRUPT);
}

static void a_transaction_with_a_hole_is_damaged(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 5);
	(void)rig_map(rig);
	rt_store64(&slot_of(rig, 3)->seq, 0);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	rt_store64(&slot_of(rig, 3)->seq, 3);
	slot_of(rig, 3)->txn_size = 4;
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	slot_of(rig, 3)->txn_size = 5;
	slot_of(rig, 3)->txn_index = 1;
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
}

/* Each event fits, all together are more than a transaction may have. */
static void a_transaction_of_too_many_bytes_is_damaged(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 16);
	(void)rig_map(rig);
	for (uint64_t seq = 1; seq <= 16; seq++) {
		slot_of(rig, seq)->pos = 0;
		slot_of(rig, seq)->value_len = 1000;
	}
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CORRUPT);
	assert_true(r->buffer.data_cap < 4096);
}

static void hot_words_that_make_no_sense_end_in_an_error(void **state)
{
	static const uint64_t values[] = { 0,
					   1,
					   9,
					   10,
					   11,
					   12,
					   64,
					   100,
					   UINT64_MAX / 2,
					   UINT64_MAX,
					   UINT64_MAX - 1,
					   UINT64_C(1) << 32 };
	struct rig *rig = *state;
	struct ringtail_event event;

	rig_open(rig);
	rig_put(rig, 10);
	(void)rig_map(rig);
	for (size_t i = 0; i < T_N(values); i++) {
		for (size_t k = 0; k < T_N(values); k++) {
			for (uint32_t start = 0; start < 3; start++) {
				struct ringtail_options o = rig_from(start);
				struct ringtail_stats stats = { sizeof(stats) };
				struct ringtail_info info = { sizeof(info) };
				struct ringtail *r;
				int outcome = 0;

				o.on_gap = RINGTAIL_ON_GAP_SKIP;
				rt_store64(&rig->map.hot->head, values[i]);
				rt_store64(&rig->map.hot->floor, values[k]);
				if (rig_try(rig, o, &r) < 0)
					continue;
				for (int n = 0; n < 100 && outcome >= 0; n++)
					outcome = ringtail_next(r, &event, 0);
				t_ok(ringtail_get_stats(r, &stats));
				t_ok(ringtail_get_info(r, &info));
				assert_true(stats.position >= stats.start);
				assert_int_equal(stats.delivered + stats.filtered +
							 stats.lost,
						 stats.position - stats.start);
				ringtail_close(r);
			}
		}
	}
	rt_store64(&rig->map.hot->head, 10);
	rt_store64(&rig->map.hot->floor, 1);
}

static void an_unknown_state_is_no_crash(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	(void)rig_map(rig);
	r = rig_read(rig, rig_after(0));
	rt_store32(&rig->map.hot->state, 77);
	assert_true(ringtail_next(r, &event, 0) < 0);
	assert_in_range(ringtail_state(r), RINGTAIL_LIVE, RINGTAIL_CLOSED);
	rt_store32(&rig->map.hot->state, RT_STATE_LIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_event_at_the_floor_is_delivered),
		T(a_gap_begins_at_the_first_that_was_missed),
		T(the_policy_error_stops_and_says_what_is_missing),
		T(who_is_lapped_again_at_once_goes_on_half_a_ring_ahead),
		T(skipped_events_are_the_last_of_the_gap),
		T(accounts_add_up_through_everything),
		T(lag_is_what_is_not_read_yet),
		T(information_is_about_the_feed),
		T(a_damaged_slot_is_an_error_with_its_place),
		T(a_transaction_with_a_hole_is_damaged),
		T(a_transaction_of_too_many_bytes_is_damaged),
		T(hot_words_that_make_no_sense_end_in_an_error),
		T(an_unknown_state_is_no_crash),
	};

	return cmocka_run_group_tests_name("lap", tests, NULL, NULL);
}
