/* SPDX-License-Identifier: MIT */
/*
 * test_reader.c - client/position.c and the calls of client/read.c that copy
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sys/mman.h>

/*
 * ---- One event after the other ----
 */

static void the_first_call_answers_at_once(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_from(RINGTAIL_START_NOW));

	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	rig_put(rig, 1);
	rig_next(r, 1);
}

static void an_event_is_described_in_full(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rt_writer_set_time(rig->w, 1234567890123456789u);
	rt_writer_begin(rig->w);
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, RT_EVENT_CREATED, "a", 1, "x", 1));
	t_ok(rt_writer_add(rig->w, RT_OP_DELETE, RT_EVENT_EXPIRED, "bb", 2, NULL, 0));
	t_ok(rt_writer_add(rig->w, RT_OP_MESSAGE, 0, "ccc", 3, "", 0));
	rt_writer_commit(rig->w);
	r = rig_read(rig, rig_after(0));

	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 1);
	assert_int_equal(event.rev, 3);
	assert_true(event.time_ns == 1234567890123456789u);
	assert_int_equal(event.op, RINGTAIL_PUT);
	assert_int_equal(event.flags, RINGTAIL_CREATED);
	assert_int_equal(event.txn_index, 0);
	assert_int_equal(event.txn_size, 3);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.rev, 3);
	assert_int_equal(event.op, RINGTAIL_DELETE);
	assert_int_equal(event.flags, RINGTAIL_EXPIRED);
	assert_int_equal(event.key_len, 2);
	assert_int_equal(event.value_len, 0);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.op, RINGTAIL_MESSAGE);
	assert_int_equal(event.flags, RINGTAIL_LAST);
	assert_int_equal(event.txn_index, 2);
}

/* What is copied grows and shrinks by single bytes, by both ways in. */
static void values_of_every_size_arrive_whole(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig->config.max_key = 40;
	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	for (size_t key_len = 1; key_len <= 40; key_len += key_len < 22 ? 7 : 1) {
		for (size_t len = 0; len + key_len <= 1024; len += 1 + len / 40) {
			t_ok(rig_put_sized(rig, key_len, len));
			t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
			assert_true(rig_is_sized(&event, key_len, len));
		}
	}
}

/* The buffer fits the greater one exactly: what grows must grow before the copy. */
static void a_value_a_little_larger_than_the_last_one_has_room(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;

	rig_open(rig);
	for (size_t first = 24; first < 600; first += 8) {
		struct ringtail *r = rig_read(rig, rig_after(rt_writer_head(rig->w)));
		size_t cap;

		t_ok(rig_put_sized(rig, 1, first));
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		for (cap = r->buffer.data_cap; cap > r->buffer.data_cap - 32; cap--) {
			t_ok(rig_put_sized(rig, 1, cap));
			t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
			assert_true(rig_is_sized(&event, 1, cap));
			if (r->buffer.data_cap > cap + 64)
				break;
		}
		rig_forget(rig, r);
	}
}

/* The bytes of the last slot end where the payload begins. */
static void the_last_slot_and_the_first_payload_are_not_one(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	rig_put(rig, 62);
	rig_drain(r, 1, 62);
	t_ok(rig_put_sized(rig, 24, 100));

	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_true(rig_is_sized(&event, 24, 100));
}

/*
 * ---- Laps ----
 */

/* Puts until the floor is just above @seq, which is still in its slot then. */
static void put_until_lapped(struct rig *rig, uint64_t seq)
{
	while (rt_own64(&rig->w->hot->floor) <= seq)
		rig_put(rig, 1);
	assert_true(rt_ring_ready(&rig->w->segment, seq));
}

static void a_lapped_transaction_is_not_handed_out_later(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t floor;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_skip(0));
	rig_next(r, 1);
	rig_txn(rig, 3);
	put_until_lapped(rig, 2);
	floor = rt_own64(&rig->w->hot->floor);

	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, 2, floor - 2, 0, RINGTAIL_CAUSE_LAPPED);
	rig_drain(r, floor, rt_writer_head(rig->w));
	(void)rig_stats(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_call_answers_at_once),
		T(an_event_is_described_in_full),
		T(values_of_every_size_arrive_whole),
		T(a_value_a_little_larger_than_the_last_one_has_room),
		T(the_last_slot_and_the_first_payload_are_not_one),
		T(a_lapped_transaction_is_not_handed_out_later),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
