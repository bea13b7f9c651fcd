/* SPDX-License-Identifier: MIT */
/*
 * test_next_batch.c - ringtail_next_batch() and ringtail_next_txn()
 */
#include "tests/unit/rig.h"

#include <errno.h>

struct memory {
	struct ringtail_event events[128];
	uint8_t data[4096];
};

static struct memory memory;

static struct ringtail_batch batch_of(size_t max_events, size_t data_size,
				      size_t max_txns)
{
	return (struct ringtail_batch){ .events = memory.events,
					.max_events = max_events,
					.data = memory.data,
					.data_size = data_size,
					.max_txns = max_txns };
}

static void a_batch_takes_as_many_transactions_as_fit(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(10, sizeof(memory.data), 0);
	struct ringtail *r;

	rig_open(rig);
	for (int i = 0; i < 5; i++)
		rig_txn(rig, 4);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 8);
	assert_int_equal(b.n_txns, 2);
	for (uint64_t i = 0; i < 8; i++)
		rig_is(&memory.events[i], i + 1);
	assert_int_equal(memory.events[3].flags, RINGTAIL_LAST);
	assert_int_equal(memory.events[4].flags, 0);
	assert_int_equal(ringtail_position(r), 8);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 4);
	rig_is(&memory.events[3], 20);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_NOTHING);
	assert_int_equal(b.n_events, 0);
	assert_int_equal(b.n_txns, 0);
}

static void no_more_transactions_than_asked_for(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(128, sizeof(memory.data), 4);
	struct ringtail *r;

	rig_open(rig);
	for (int i = 0; i < 10; i++)
		rig_txn(rig, 3);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_txns, 4);
	assert_int_equal(b.n_events, 12);
	b.max_txns = 1;
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 3);
	rig_is(&memory.events[0], 13);
}

static void what_fits_exactly_fits(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b;
	struct ringtail *r;

	rig_open(rig);
	rt_writer_begin(rig->w);
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "abc", 3, "defgh", 5));
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "i", 1, "", 0));
	rt_writer_commit(rig->w);
	r = rig_read(rig, rig_after(0));

	b = batch_of(2, 8, 0);
	t_is(ringtail_next_batch(r, &b, 0), -EMSGSIZE);
	assert_int_equal(b.need_events, 2);
	assert_int_equal(b.need_data, 9);
	assert_int_equal(b.n_events, 0);
	assert_int_equal(ringtail_position(r), 0);
	b = batch_of(1, 9, 0);
	t_is(ringtail_next_batch(r, &b, 0), -EMSGSIZE);
	assert_int_equal(b.need_events, 2);
	assert_int_equal(rig_stats(r).delivered, 0);
	b = batch_of(2, 9, 0);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 2);
	assert_memory_equal(memory.data, "abcdefghi", 9);
	assert_int_equal(memory.events[1].value_len, 0);
	assert_int_equal(rig_stats(r).delivered, 2);
}

/* It is fetched and waits in the reader: another call may take it too. */
static void what_did_not_fit_is_not_lost(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(5, sizeof(memory.data), 0);
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	for (int i = 0; i < 3; i++)
		rig_txn(rig, 3);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 3);
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 3);
	rig_is(&events[0], 4);
	b.max_events = 2;
	t_is(ringtail_next_batch(r, &b, 0), -EMSGSIZE);
	assert_int_equal(b.need_events, 3);
	rig_next(r, 7);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 2);
	rig_is(&memory.events[0], 8);
}

static void a_batch_needs_room_for_an_event(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(0, 100, 0);
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_batch(r, &b, 0), -EINVAL);
	b = batch_of(1, 100, 0);
	b.events = NULL;
	t_is(ringtail_next_batch(r, &b, 0), -EINVAL);
	b = batch_of(1, 100, 0);
	b.data = NULL;
	t_is(ringtail_next_batch(r, &b, 0), -EINVAL);
	b.data_size = 0;
	t_is(ringtail_next_batch(r, &b, 0), -EMSGSIZE);
	assert_int_equal(b.need_data, 8);
	rig_next(r, 1);
}

static void the_first_batch_answers_at_once_too(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(4, 100, 0);
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_batch(r, &b, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next_batch(r, &b, 100000), RINGTAIL_NOTHING);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_txn(r, &events, &n, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next_txn(r, &events, &n, 100000), RINGTAIL_NOTHING);
}

static void a_transaction_comes_whole(void **state)
{
	struct rig *rig = *state;
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	for (unsigned size = 1; size <= 16; size++) {
		uint64_t first = rt_writer_head(rig->w) + 1;

		rig_txn(rig, size);
		t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
		assert_int_equal(n, size);
		for (size_t i = 0; i < n; i++) {
			rig_is(&events[i], first + i);
			assert_int_equal(events[i].txn_index, i);
			assert_int_equal(events[i].flags,
					 i + 1 == n ? RINGTAIL_LAST : 0);
			assert_true(events[i].time_ns == events[0].time_ns);
		}
	}
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_NOTHING);
}

static void what_was_delivered_of_it_is_not_repeated(void **state)
{
	struct rig *rig = *state;
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	rig_txn(rig, 5);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	rig_next(r, 2);
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 3);
	rig_is(&events[0], 3);
	r = rig_read(rig, rig_after(3)); /* or by where it began */
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 2);
	rig_is(&events[0], 4);
	assert_int_equal(events[0].txn_index, 3);
}

static void a_gap_ends_a_batch_and_is_told_by_the_next(void **state)
{
	struct rig *rig = *state;
	struct ringtail_batch b = batch_of(2, 100, 0);
	struct ringtail *r;
	uint64_t floor;

	rig_open(rig);
	rig_put(rig, 10);
	r = rig_read(rig, rig_skip(0));
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	rig_put(rig, 60);
	floor = rt_own64(&rig->w->hot->floor);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	assert_int_equal(b.n_events, 1); /* fetched before, and did not fit */
	rig_is(&memory.events[0], 3);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_GAP);
	assert_int_equal(b.n_events, 0);
	rig_gap(r, 4, floor - 4, 0, RINGTAIL_CAUSE_LAPPED);
	t_is(ringtail_next_batch(r, &b, 0), RINGTAIL_EVENT);
	rig_is(&memory.events[0], floor);
	(void)rig_stats(r);
}

/* The rest of it is in the reader, whatever the writer does. */
static void a_transaction_that_was_begun_survives_a_lap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 6);
	r = rig_read(rig, rig_skip(0));
	rig_next(r, 1);
	rig_put(rig, 100);
	for (uint64_t seq = 2; seq <= 6; seq++)
		rig_next(r, seq);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	assert_int_equal(rig_stats(r).delivered, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_batch_takes_as_many_transactions_as_fit),
		T(no_more_transactions_than_asked_for),
		T(what_fits_exactly_fits),
		T(what_did_not_fit_is_not_lost),
		T(a_batch_needs_room_for_an_event),
		T(the_first_batch_answers_at_once_too),
		T(a_transaction_comes_whole),
		T(what_was_delivered_of_it_is_not_repeated),
		T(a_gap_ends_a_batch_and_is_told_by_the_next),
		T(a_transaction_that_was_begun_survives_a_lap),
	};

	return cmocka_run_group_tests_name("next_batch", tests, NULL, NULL);
}
