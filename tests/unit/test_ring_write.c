/* SPDX-License-Identifier: MIT */
/*
 * test_ring_write.c - shm/ring_write.c: limits, wraps, the floor
 */
#include "tests/unit/rig.h"

#include <errno.h>

static uint8_t bytes[1 << 16];

static int put(struct rig *rig, size_t key_len, size_t value_len)
{
	return rt_writer_one(rig->w, RT_OP_PUT, 0, bytes, key_len, bytes, value_len);
}

static int add(struct rig *rig, size_t key_len, size_t value_len)
{
	return rt_writer_add(rig->w, RT_OP_PUT, 0, bytes, key_len, bytes, value_len);
}

/* The words of the ring that a refused event must leave as they were. */
struct before {
	uint64_t head, floor, next, pos;
};

static struct before now(const struct rig *rig)
{
	return (struct before){ rt_own64(&rig->w->hot->head),
				rt_own64(&rig->w->hot->floor), rig->w->next,
				rig->w->pos };
}

static void is_as_before(const struct rig *rig, struct before before)
{
	struct before after = now(rig);

	assert_memory_equal(&after, &before, sizeof(after));
}

/*
 * What must hold between any two transactions: the floor is the first of one, the
 * floor and all above is there, and no two events share a byte of payload.
 */
static void check_ring(const struct rig *rig)
{
	static uint8_t used[1 << 20];
	const struct rt_segment *s = &rig->w->segment;
	uint64_t head = rt_own64(&rig->w->hot->head);
	uint64_t floor = rt_own64(&rig->w->hot->floor);
	uint32_t index = 0;

	assert_true(s->geo.payload_size <= sizeof(used));
	assert_true(floor <= head + 1);
	memset(used, 0, s->geo.payload_size);
	for (uint64_t seq = floor; seq <= head; seq++) {
		struct rt_event ev;
		uint64_t at, len = 0;

		assert_int_equal(rt_ring_look(s, seq, &ev), RT_LOOK_EVENT);
		assert_int_equal(ev.txn_index, index);
		index = ev.txn_index + 1 == ev.txn_size ? 0 : index + 1;
		at = (uint64_t)ev.pos * RT_WORD % s->geo.payload_size;
		if (ev.key_len + ev.value_len > RT_INLINE_MAX)
			len = ev.value_len +
			      (ev.key_len > RT_INLINE_MAX ? ev.key_len : 0u);
		for (uint64_t i = at; i < at + len; i++) {
			assert_false(used[i]);
			used[i] = 1;
		}
	}
	assert_int_equal(index, 0);
}

/*
 * ---- Limits ----
 */

static void a_key_of_the_limit_fits_and_no_more(void **state)
{
	struct rig *rig = *state;
	struct before before;

	rig_open(rig);
	t_ok(put(rig, 128, 0));
	t_ok(put(rig, 1, 0));
	before = now(rig);
	t_is(put(rig, 129, 0), RT_E_TOO_BIG);
	t_is(put(rig, 0, 1), -EINVAL);
	t_is(put(rig, SIZE_MAX, 0), RT_E_TOO_BIG);
	is_as_before(rig, before);
}

static void a_value_of_the_limit_fits_and_no_more(void **state)
{
	struct rig *rig = *state;
	struct before before;

	rig->config.max_value = 100;
	rig_open(rig);
	t_ok(put(rig, 1, 100));
	before = now(rig);
	t_is(put(rig, 1, 101), RT_E_TOO_BIG);
	t_is(put(rig, 1, SIZE_MAX), RT_E_TOO_BIG);
	is_as_before(rig, before);
}

static void key_and_value_together_are_a_transactions_bytes(void **state)
{
	struct rig *rig = *state;
	struct before before;

	rig_open(rig);
	t_ok(put(rig, 1, 1023));
	t_ok(put(rig, 128, 896));
	before = now(rig);
	t_is(put(rig, 1, 1024), RT_E_TOO_BIG);
	t_is(put(rig, 128, 897), RT_E_TOO_BIG);
	is_as_before(rig, before);
}

static void a_transaction_of_the_limit_fits_and_no_more(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	rt_writer_begin(rig->w);
	for (int i = 0; i < 16; i++)
		t_ok(add(rig, 1, 0));
	t_is(add(rig, 1, 0), RT_E_TOO_BIG);
	assert_int_equal(rt_writer_head(rig->w), 0);
	rt_writer_commit(rig->w);
	assert_int_equal(rt_writer_head(rig->w), 16);

	rt_writer_begin(rig->w);
	t_ok(add(rig, 24, 1000));
	t_is(add(rig, 1, 0), RT_E_TOO_BIG);
	rt_writer_commit(rig->w);
	rt_writer_begin(rig->w);
	for (int i = 0; i < 8; i++)
		t_ok(add(rig, 28, 100));
	t_is(add(rig, 1, 0), RT_E_TOO_BIG);
	rt_writer_commit(rig->w);
	check_ring(rig);

	for (uint64_t seq = 1; seq <= 25; seq++) {
		struct ringtail_event event;

		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.seq, seq);
		assert_int_equal(event.rev, seq <= 16 ? 16 : seq == 17 ? 17 : 25);
	}
}

static void whether_it_would_fit_can_be_asked(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	t_ok(rt_writer_fits(rig->w, 16, 1024));
	t_is(rt_writer_fits(rig->w, 17, 1024), RT_E_TOO_BIG);
	t_is(rt_writer_fits(rig->w, 16, 1025), RT_E_TOO_BIG);
	t_is(rt_writer_fits(rig->w, UINT64_MAX, UINT64_MAX), RT_E_TOO_BIG);
}

static void whether_an_event_would_be_taken_can_be_asked(void **state)
{
	struct rig *rig = *state;
	struct rt_writer *w;

	rig->config.max_value = 100;
	rig_open(rig);
	w = rig->w;
	t_ok(rt_writer_accepts(w, RT_OP_PUT, RT_EVENT_CREATED, 128, 100, 0));
	t_is(rt_writer_accepts(w, RT_OP_PUT, 0, 129, 0, 0), RT_E_TOO_BIG);
	t_is(rt_writer_accepts(w, RT_OP_PUT, 0, 1, 101, 0), RT_E_TOO_BIG);
	t_is(rt_writer_accepts(w, RT_OP_PUT, 0, 0, 1, 0), -EINVAL);
	t_is(rt_writer_accepts(w, RT_OP_PUT, 8, 1, 1, 0), -EINVAL);
	t_is(rt_writer_accepts(w, RT_OP_DELETE, 0, 1, 1, 0), -EINVAL);
	t_is(rt_writer_accepts(w, 9, 0, 1, 1, 0), -EINVAL);
	t_ok(rt_writer_accepts(w, RT_OP_DELETE, 0, 1, 0, 100));
	t_is(rt_writer_accepts(w, RT_OP_DELETE, 0, 1, 0, 101), RT_E_TOO_BIG);
}

static void what_is_no_event_is_refused(void **state)
{
	struct rig *rig = *state;
	struct before before;

	rig_open(rig);
	before = now(rig);
	t_is(rt_writer_one(rig->w, 0, 0, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_one(rig->w, 4, 0, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_one(rig->w, 255, 0, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_one(rig->w, RT_OP_PUT, 4, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_one(rig->w, RT_OP_DELETE, 0, "k", 1, "v", 1), -EINVAL);
	rt_writer_begin(rig->w);
	t_is(rt_writer_one(rig->w, RT_OP_PUT, 0, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_add(rig->w, 4, 0, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_add(rig->w, RT_OP_PUT, 0x80, "k", 1, "", 0), -EINVAL);
	t_is(rt_writer_add(rig->w, RT_OP_DELETE, 0, "k", 1, "v", 1), -EINVAL);
	t_is(rt_writer_add(rig->w, RT_OP_PUT, 0, "", 0, "v", 1), -EINVAL);
	rt_writer_commit(rig->w);
	is_as_before(rig, before);
}

/*
 * ---- Transactions ----
 */

static void an_empty_transaction_uses_no_seq(void **state)
{
	struct rig *rig = *state;
	struct before before;

	rig_open(rig);
	rig_put(rig, 3);
	before = now(rig);
	rt_writer_begin(rig->w);
	rt_writer_commit(rig->w);
	rt_writer_begin(rig->w);
	rt_writer_abort(rig->w);
	rt_writer_abort(rig->w);
	is_as_before(rig, before);
	assert_int_equal(rt_load64(&rig->w->hot->n_txns), 3);
	rig_put(rig, 1);
	assert_int_equal(rt_writer_head(rig->w), 4);
}

static void what_is_aborted_never_was(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	for (unsigned i = 1; i <= 200; i++) {
		struct before before = now(rig);

		rt_writer_begin(rig->w);
		for (unsigned n = 0; n < i % 17; n++)
			t_ok(add(rig, 1, i % 64));
		rt_writer_abort(rig->w);
		assert_int_equal(rig->w->next, before.next);
		assert_int_equal(rig->w->pos, before.pos);
		assert_int_equal(rt_writer_head(rig->w), i - 1);
		check_ring(rig);
		rig_put(rig, 1);
		rig_next(r, i);
	}
}

static void nothing_is_seen_of_an_open_transaction(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	rt_writer_begin(rig->w);
	t_ok(add(rig, 1, 1));
	t_ok(add(rig, 1, 1));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rt_writer_head(rig->w), 0);
	rt_writer_commit(rig->w);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.rev, 2);
}

static void a_claimed_value_is_filled_in_place(void **state)
{
	static const size_t key_lens[] = { 1, 23, 24, 25, 100 };
	static const size_t lens[] = { 0, 1, 8, 23, 24, 300 };
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	for (size_t i = 0; i < T_N(key_lens); i++) {
		for (size_t j = 0; j < T_N(lens); j++) {
			uint8_t *room = NULL;

			memset(bytes, 'k', sizeof(bytes));
			rt_writer_begin(rig->w);
			t_ok(rt_writer_claim(rig->w, RT_EVENT_CREATED, bytes,
					     key_lens[i], lens[j], (void **)&room));
			assert_non_null(room);
			memset(room, (int)(rig->w->txn_first & 0xff), lens[j]);
			rt_writer_commit(rig->w);
			t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
			assert_true(rig_is_sized(&event, key_lens[i], lens[j]));
			assert_int_equal(event.flags, RINGTAIL_CREATED | RINGTAIL_LAST);
		}
	}
}

static void a_claim_over_a_limit_gives_no_room(void **state)
{
	struct rig *rig = *state;
	void *room = rig;

	rig_open(rig);
	rt_writer_begin(rig->w);
	t_is(rt_writer_claim(rig->w, 0, "k", 1, 1024, &room), RT_E_TOO_BIG);
	t_is(rt_writer_claim(rig->w, 0, "", 0, 10, &room), -EINVAL);
	t_is(rt_writer_claim(rig->w, 0x10, "k", 1, 10, &room), -EINVAL);
	assert_ptr_equal(room, rig);
	t_ok(rt_writer_claim(rig->w, 0, "k", 1, 1023, &room));
	t_is(rt_writer_claim(rig->w, 0, "k", 1, 0, &room), RT_E_TOO_BIG);
	rt_writer_commit(rig->w);
}

/*
 * ---- Around and around ----
 */

static void events_of_all_sizes_wrap_well(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 7 };
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	for (int i = 0; i < 5000; i++) {
		size_t key_len = 1 + t_random_below(&random, 40);
		size_t len = t_random_below(&random, 4) ? t_random_below(&random, 100)
							: t_random_below(&random, 980);

		t_ok(rig_put_sized(rig, key_len, len));
		check_ring(rig);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_true(rig_is_sized(&event, key_len, len));
	}
}

static void transactions_of_all_sizes_wrap_well(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 8 };
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_CAUGHT_UP);
	for (int i = 0; i < 2000; i++) {
		unsigned want = 1 + (unsigned)t_random_below(&random, 16);
		size_t left = 1024 - want; /* the keys */

		rt_writer_begin(rig->w);
		for (unsigned k = 1; k <= want; k++) {
			size_t len = k == want ? left
					       : t_random_below(&random, left / 2 + 1);

			memset(bytes, (int)(rig->w->next & 0xff), len);
			bytes[sizeof(bytes) - 1] = 'k';
			t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0,
					   &bytes[sizeof(bytes) - 1], 1, bytes, len));
			left -= len;
		}
		rt_writer_commit(rig->w);
		check_ring(rig);
		t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
		assert_int_equal(n, want);
		for (size_t k = 0; k < n; k++)
			assert_true(rig_is_sized(&events[k], 1, events[k].value_len));
	}
}

/* Many times around, and at every place of the ring. */
static void the_largest_transactions_fit_everywhere(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	memset(bytes, 'k', sizeof(bytes));
	for (unsigned i = 0; i < 300; i++) {
		t_ok(put(rig, 1, 8 * (i % 70)));
		rt_writer_begin(rig->w);
		for (unsigned k = 0; k < 16; k++)
			t_ok(add(rig, 25 + k % 3, 39 - k % 3)); /* 64 bytes each */
		t_is(add(rig, 1, 0), RT_E_TOO_BIG);
		rt_writer_commit(rig->w);
		check_ring(rig);
		rt_writer_begin(rig->w);
		t_ok(add(rig, 1, 1023));
		rt_writer_commit(rig->w);
		check_ring(rig);
	}
}

/* A slot counts words in 32 bits; a ring lives longer than that. */
static void positions_wrap_at_32_bits_unnoticed(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 9 };
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig->w->pos = (UINT64_C(1) << 32) * RT_WORD - 8192;
	rt_writer_init_limits(rig->w);
	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	for (int i = 0; i < 500; i++) {
		size_t len = t_random_below(&random, 200);

		t_ok(rig_put_sized(rig, 1, len));
		check_ring(rig);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_true(rig_is_sized(&event, 1, len));
		(void)rt_ring_half(&rig->w->segment);
		assert_true(rt_ring_bytes_from(&rig->w->segment,
					       rt_own64(&rig->w->hot->floor)) <= 4096);
		if (i % 50 == 49) {
			rig_drop(rig);
			rig_open(rig);
			check_ring(rig);
		}
	}
}

/*
 * ---- The floor ----
 */

static void what_the_ring_promises_to_hold_it_holds(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	for (uint64_t head = 1; head <= 300; head++) {
		uint64_t oldest = head > 60 ? head - 60 : 0;
		struct ringtail *r;

		rig_put(rig, 1);
		r = rig_read(rig, rig_after(oldest));
		rig_drain(r, oldest + 1, head);
		rig_forget(rig, r);
	}
}

static void so_it_is_with_transactions_of_a_step(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		struct rig *rig = *state;
		uint64_t head = 0;

		rig_open(rig);
		for (unsigned i = 1; i <= 100; i++) {
			uint64_t held, oldest;

			rig_txn(rig, n);
			head += n;
			rt_ring_bounds(&rig->w->segment, &oldest, &held);
			assert_int_equal(held, head);
			if (head > 64)
				assert_true(head + 1 - oldest >= 60 - 60 % n);
			check_ring(rig);
		}
		rig_close(rig);
		assert_int_equal(unlink(rig->path), 0);
	}
}

static void payload_is_held_to_a_sixteenth_too(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	memset(bytes, 'v', sizeof(bytes));
	for (unsigned i = 1; i <= 300; i++) {
		uint64_t oldest, head;

		t_ok(put(rig, 1, 128)); /* 32 fill the payload, 30 are promised */
		rt_ring_bounds(&rig->w->segment, &oldest, &head);
		if (i > 32)
			assert_true(head + 1 - oldest >= 30);
		else
			assert_int_equal(oldest, 1);
		check_ring(rig);
	}
}

static void the_floor_moves_in_steps(void **state)
{
	struct rig *rig = *state;
	uint64_t floor = 1, moves = 0;

	rig_open(rig);
	for (unsigned i = 0; i < 640; i++) {
		uint64_t to;

		rig_put(rig, 1);
		to = rt_own64(&rig->w->hot->floor);
		assert_true(to >= floor);
		moves += to != floor;
		floor = to;
	}
	assert_in_range(moves, 100, 150);
}

/*
 * ---- Times and counters ----
 */

static uint64_t time_of(struct rig *rig, uint64_t seq)
{
	struct rt_event ev;

	assert_int_equal(rt_ring_look(&rig->w->segment, seq, &ev), RT_LOOK_EVENT);
	return ev.time_ns;
}

static void times_never_go_back(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rt_writer_set_time(rig->w, 5000);
	rig_put(rig, 1);
	rt_writer_set_time(rig->w, 4000);
	rig_put(rig, 1);
	rt_writer_set_time(rig->w, 6000);
	rig_txn(rig, 3);
	assert_int_equal(time_of(rig, 1), 5000);
	assert_int_equal(time_of(rig, 2), 5000);
	assert_int_equal(time_of(rig, 3), 6000);
	assert_int_equal(time_of(rig, 5), 6000);
	rig_drop(rig);
	rig_open(rig);
	rt_writer_set_time(rig->w, 10);
	rig_put(rig, 1);
	assert_int_equal(time_of(rig, 6), 6000);
}

static void without_a_set_time_the_clock_is_read(void **state)
{
	struct rig *rig = *state;
	uint64_t tick = 20000000;

	for (unsigned flags = 0; flags <= RT_WRITER_PRECISE;
	     flags += RT_WRITER_PRECISE) {
		uint64_t before = rt_now_ns(CLOCK_REALTIME);

		t_ok(rt_writer_open(rig->dir, &rig->config, flags, RIG_BEAT_NS, NULL,
				    &rig->w));
		rt_writer_set_time(rig->w, 1);
		rt_writer_set_time(rig->w, 0);
		rig_put(rig, 1);
		assert_in_range(time_of(rig, rt_writer_head(rig->w)), before - tick,
				rt_now_ns(CLOCK_REALTIME));
		rig_close(rig);
	}
}

static void counters_count_transactions_and_bytes(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	t_ok(put(rig, 3, 4));
	rt_writer_begin(rig->w);
	t_ok(add(rig, 1, 2));
	t_ok(add(rig, 3, 100));
	rt_writer_commit(rig->w);
	assert_int_equal(rt_load64(&rig->w->hot->n_txns), 2);
	assert_int_equal(rt_load64(&rig->w->hot->n_bytes), 113);
	assert_int_equal(rt_load64(&rig->w->hot->n_writers), 1);
	rig_close(rig);
	rig_open(rig);
	t_ok(put(rig, 1, 0));
	assert_int_equal(rt_load64(&rig->w->hot->n_txns), 3);
	assert_int_equal(rt_load64(&rig->w->hot->n_bytes), 114);
	assert_int_equal(rt_load64(&rig->w->hot->n_writers), 2);
}

/* What a reader that is somewhere in the ring learns of it. */
static bool is_held(struct rig *rig, uint64_t seq)
{
	struct rt_event event;

	return rt_ring_look(&rig->w->segment, seq, &event) == RT_LOOK_EVENT &&
	       rt_ring_intact(&rig->w->segment, seq);
}

static void what_is_let_go_is_gone(void **state)
{
	struct rig *rig = *state;
	uint64_t oldest, head;

	rig_open(rig);
	rig_put(rig, 4);
	rt_writer_begin(rig->w);
	for (int i = 0; i < 3; i++)
		t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "k", 1, "v", 1));
	rt_writer_commit(rig->w); /* 5 to 7 */
	rig_put(rig, 3);
	assert_int_equal(rt_writer_forget(rig->w, 3), 3);
	assert_false(is_held(rig, 2));
	assert_true(is_held(rig, 3));
	assert_int_equal(rt_writer_forget(rig->w, 2), 3); /* never back */
	assert_int_equal(rt_writer_forget(rig->w, 7), 5); /* the first of it */
	assert_true(is_held(rig, 5));
	assert_int_equal(rt_writer_forget(rig->w, 99), 11);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	assert_int_equal(oldest, 11);
	assert_int_equal(head, 10);
	assert_int_equal(rt_writer_forget(rig->w, 11), 11);
	rig_put(rig, 200); /* and on it goes, around the ring */
	assert_true(is_held(rig, 210));
	assert_int_equal(rt_writer_forget(rig->w, 205), 205);
	rig_drop(rig);
	rig_open(rig);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	assert_int_equal(oldest, 205);
	assert_int_equal(head, 210);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_key_of_the_limit_fits_and_no_more),
		T(a_value_of_the_limit_fits_and_no_more),
		T(key_and_value_together_are_a_transactions_bytes),
		T(a_transaction_of_the_limit_fits_and_no_more),
		T(whether_it_would_fit_can_be_asked),
		T(whether_an_event_would_be_taken_can_be_asked),
		T(what_is_no_event_is_refused),
		T(an_empty_transaction_uses_no_seq),
		T(what_is_aborted_never_was),
		T(nothing_is_seen_of_an_open_transaction),
		T(a_claimed_value_is_filled_in_place),
		T(a_claim_over_a_limit_gives_no_room),
		T(events_of_all_sizes_wrap_well),
		T(transactions_of_all_sizes_wrap_well),
		T(the_largest_transactions_fit_everywhere),
		T(positions_wrap_at_32_bits_unnoticed),
		T(what_the_ring_promises_to_hold_it_holds),
		T(so_it_is_with_transactions_of_a_step),
		T(payload_is_held_to_a_sixteenth_too),
		T(the_floor_moves_in_steps),
		T(what_is_let_go_is_gone),
		T(times_never_go_back),
		T(without_a_set_time_the_clock_is_read),
		T(counters_count_transactions_and_bytes),
	};

	return cmocka_run_group_tests_name("ring_write", tests, NULL, NULL);
}
