/* SPDX-License-Identifier: MIT */
/*
 * test_borrow.c - ringtail_borrow(), alone and mixed with the calls that copy
 */
#include "tests/unit/rig.h"

#include <errno.h>

static bool is_in_ring(const struct ringtail *r, const void *at)
{
	const uint8_t *base = r->segment.base;
	const uint8_t *byte = at;

	return byte >= base && byte < base + r->segment.geo.file_size;
}

static void borrow(struct ringtail *r, uint64_t seq)
{
	struct ringtail_event event;

	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
	rig_is(&event, seq);
}

/* Puts until the floor is above @seq. */
static void lap(struct rig *rig, uint64_t seq)
{
	while (rt_own64(&rig->w->hot->floor) <= seq)
		rig_put(rig, 1);
}

static void a_borrowed_event_lies_in_the_ring(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_ok(rig_put_sized(rig, 3, 4));
	t_ok(rig_put_sized(rig, 3, 400));
	t_ok(rig_put_sized(rig, 50, 400));

	for (size_t key_len = 3, len = 4, i = 0; i < 3; i++) {
		t_is(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
		assert_true(is_in_ring(r, event.key));
		assert_true(is_in_ring(r, event.value));
		assert_true(rig_is_sized(&event, key_len, len));
		t_ok(ringtail_borrow_valid(r));
		len = 400;
		key_len = i ? 50 : 3;
	}
}

static void the_first_borrow_answers_at_once(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_borrow(r, &event, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_borrow_valid(r), -EINVAL);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	rig_put(rig, 1);
	borrow(r, 1);
}

static void nothing_borrowed_is_nothing_to_ask_about(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 2);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_borrow_valid(r), -EINVAL);
	rig_next(r, 1);
	t_is(ringtail_borrow_valid(r), -EINVAL);
	borrow(r, 2);
	t_ok(ringtail_borrow_valid(r));
	t_ok(ringtail_borrow_valid(r));
}

static void an_overwritten_loan_is_lost_and_begins_the_gap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t floor;

	rig_open(rig);
	rig_put(rig, 3);
	r = rig_read(rig, rig_skip(1));
	borrow(r, 2);
	assert_int_equal(ringtail_position(r), 2);
	lap(rig, 2);
	floor = rt_own64(&rig->w->hot->floor);

	t_is(ringtail_borrow_valid(r), RINGTAIL_E_OVERRUN);
	t_is(ringtail_borrow_valid(r), RINGTAIL_E_OVERRUN);
	assert_int_equal(ringtail_position(r), 1);
	assert_int_equal(rig_stats(r).delivered, 0);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, 2, floor - 2, 0, RINGTAIL_CAUSE_LAPPED);
	borrow(r, floor);
	(void)rig_stats(r);
}

static void a_loan_nobody_asked_about_counts_as_delivered(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 3);
	r = rig_read(rig, rig_skip(1));
	borrow(r, 2);
	lap(rig, 2);

	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, 3, rt_own64(&rig->w->hot->floor) - 3, 0, RINGTAIL_CAUSE_LAPPED);
	assert_int_equal(rig_stats(r).delivered, 1);
}

static void an_overrun_under_the_policy_error_is_a_lap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 3);
	r = rig_read(rig, rig_after(1));
	borrow(r, 2);
	lap(rig, 2);
	t_is(ringtail_borrow_valid(r), RINGTAIL_E_OVERRUN);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_E_LAPPED);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_LAPPED);
	assert_int_equal(rig_stats(r).lost, 0);
}

static void loans_and_copies_take_turns(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event out[8], event;
	uint8_t data[256];
	struct ringtail_batch batch = { out, 8, data, sizeof(data), 1, 0, 0, 0, 0 };
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	rig_txn(rig, 5); /* 1 .. 5 */
	rig_put(rig, 1); /* 6 */
	rig_txn(rig, 3); /* 7 .. 9 */
	rig_txn(rig, 2); /* 10, 11 */

	borrow(r, 1);
	rig_next(r, 2);
	borrow(r, 3); /* copied already */
	t_ok(ringtail_borrow_valid(r));
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 2);
	rig_is(&events[0], 4);
	rig_is(&events[1], 5);
	borrow(r, 6);
	borrow(r, 7);
	t_is(ringtail_next_batch(r, &batch, 0), RINGTAIL_EVENT);
	assert_int_equal(batch.n_events, 2);
	rig_is(&out[0], 8);
	rig_is(&out[1], 9);
	assert_int_equal(out[1].flags, RINGTAIL_LAST);
	rig_next(r, 10);
	borrow(r, 11);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).delivered, 11);
}

static void a_loan_moves_position_and_marker_as_a_copy_does(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *copied, *lent;
	char a[RINGTAIL_MARKER_SIZE], b[RINGTAIL_MARKER_SIZE];

	rig_open(rig);
	copied = rig_read(rig, rig_after(0));
	lent = rig_read(rig, rig_after(0));
	rig_put(rig, 1);
	rig_txn(rig, 3);
	rig_put(rig, 1);

	for (uint64_t seq = 1; seq <= 5; seq++) {
		t_is(ringtail_next(copied, &event, 0), RINGTAIL_EVENT);
		borrow(lent, seq);
		assert_int_equal(ringtail_position(lent), ringtail_position(copied));
		t_ok(ringtail_marker(copied, a));
		t_ok(ringtail_marker(lent, b));
		assert_string_equal(a, b);
		assert_int_equal(rig_stats(lent).delivered, seq);
		assert_int_equal(rig_stats(lent).lag_events,
				 rig_stats(copied).lag_events);
	}
}

static void loans_pass_over_what_the_filter_does_not_want(void **state)
{
	static const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_KEY,
						       .a = "yes",
						       .a_len = 3 };
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t seq;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = rig_read(rig, o);
	rig_put(rig, 2);
	rt_writer_begin(rig->w);
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "no", 2, "", 0));
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "yes", 3, "", 0));
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "no", 2, "", 0));
	rt_writer_commit(rig->w);
	rig_put(rig, 2);

	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 4);
	assert_int_equal(event.rev, 5);
	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, &seq, NULL));
	assert_int_equal(seq, 2);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(ringtail_position(r), 7);
	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, &seq, NULL));
	assert_int_equal(seq, 7);
	assert_int_equal(rig_stats(r).filtered, 6);
}

/* The first look at the new ring is made on the way, by a fetch. */
static void a_loan_from_the_next_ring_is_described(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	borrow(r, 1);
	rig_close(rig);
	rig->config.n_slots = 128;
	rig_open(rig);
	rig_txn(rig, 2);

	memset(&event, 0, sizeof(event));
	borrow(r, 2);
	t_ok(ringtail_borrow_valid(r));
	borrow(r, 3);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).moves, 1);
}

static void after_cancel_nothing_is_lent(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 3);
	r = rig_read(rig, rig_after(0));
	borrow(r, 1);
	ringtail_cancel(r);
	t_ok(ringtail_borrow_valid(r));
	t_is(ringtail_borrow(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CANCELED);
	t_is(ringtail_borrow_valid(r), -EINVAL);
	assert_int_equal(rig_stats(r).delivered, 1);
}

static void what_was_lent_of_a_closed_feed_is_valid_to_the_end(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 2);
	r = rig_read(rig, rig_after(0));
	rig_close(rig);
	borrow(r, 1);
	borrow(r, 2);
	t_ok(ringtail_borrow_valid(r));
	t_is(ringtail_borrow(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CLOSED);
	t_is(ringtail_borrow(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_borrowed_event_lies_in_the_ring),
		T(the_first_borrow_answers_at_once),
		T(nothing_borrowed_is_nothing_to_ask_about),
		T(an_overwritten_loan_is_lost_and_begins_the_gap),
		T(a_loan_nobody_asked_about_counts_as_delivered),
		T(an_overrun_under_the_policy_error_is_a_lap),
		T(loans_and_copies_take_turns),
		T(a_loan_moves_position_and_marker_as_a_copy_does),
		T(loans_pass_over_what_the_filter_does_not_want),
		T(a_loan_from_the_next_ring_is_described),
		T(after_cancel_nothing_is_lent),
		T(what_was_lent_of_a_closed_feed_is_valid_to_the_end),
	};

	return cmocka_run_group_tests_name("borrow", tests, NULL, NULL);
}
