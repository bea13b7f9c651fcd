/* SPDX-License-Identifier: MIT */
/*
 * test_prev.c - events that carry the value they replaced: ring, reader, successor ring
 *
 * The bytes of an event follow from its seq, so whatever is delivered can be compared.
 */
#include "tests/unit/rig.h"

#include <errno.h>

static const size_t key_lens[] = { 1, 8, 23, 24, 25, 60 };
static const size_t value_lens[] = { 0, 1, 15, 16, 24, 200 };
static const size_t prev_lens[] = { 0, 1, 8, 24, 150 };

#define N_SHAPES (T_N(key_lens) * T_N(value_lens) * T_N(prev_lens))

struct shape {
	size_t key, value, prev;
};

static struct shape shape_of(uint64_t seq)
{
	size_t i = (seq - 1) % N_SHAPES;

	return (struct shape){
		key_lens[i % T_N(key_lens)],
		value_lens[i / T_N(key_lens) % T_N(value_lens)],
		prev_lens[i / T_N(key_lens) / T_N(value_lens)],
	};
}

static const uint8_t *bytes_of(uint64_t seq, uint8_t salt, uint8_t ret[256])
{
	for (size_t i = 0; i < 256; i++)
		ret[i] = (uint8_t)(seq * 31 + salt + i);
	return ret;
}

static int add_shaped(struct rig *rig)
{
	uint64_t seq = rig->w->next;
	struct shape s = shape_of(seq);
	uint8_t key[256], value[256], prev[256];

	return rt_writer_add_prev(rig->w, RT_OP_PUT, 0, bytes_of(seq, 1, key), s.key,
				  bytes_of(seq, 2, value), s.value,
				  bytes_of(seq, 3, prev), s.prev);
}

/* Transactions of 1, 2, 3, 1 .. events, @n_txns of them. */
static void write_shaped(struct rig *rig, unsigned n_txns)
{
	for (unsigned i = 0; i < n_txns; i++) {
		rt_writer_begin(rig->w);
		for (unsigned k = 0; k <= i % 3; k++)
			t_ok(add_shaped(rig));
		rt_writer_commit(rig->w);
	}
}

static void is_shaped(const struct ringtail_event *event, uint64_t seq)
{
	struct shape s = shape_of(seq);
	uint8_t want[256];

	assert_int_equal(event->seq, seq);
	assert_int_equal(event->key_len, s.key);
	assert_int_equal(event->value_len, s.value);
	assert_int_equal(event->prev_len, s.prev);
	assert_memory_equal(event->key, bytes_of(seq, 1, want), s.key);
	assert_memory_equal(event->value, bytes_of(seq, 2, want), s.value);
	if (s.prev)
		assert_memory_equal(event->prev, bytes_of(seq, 3, want), s.prev);
	else
		assert_null(event->prev);
}

static uint64_t read_next(struct ringtail *r, uint64_t seq)
{
	struct ringtail_event event;

	while (ringtail_next(r, &event, 0) == RINGTAIL_EVENT)
		is_shaped(&event, seq++);
	return seq;
}

static uint64_t read_txns(struct ringtail *r, uint64_t seq)
{
	const struct ringtail_event *events;
	size_t n;

	while (ringtail_next_txn(r, &events, &n, 0) == RINGTAIL_EVENT)
		for (size_t i = 0; i < n; i++)
			is_shaped(&events[i], seq++);
	return seq;
}

static uint64_t read_batches(struct ringtail *r, uint64_t seq)
{
	static struct ringtail_event events[16];
	static uint8_t data[2048];
	struct ringtail_batch batch = { .events = events,
					.max_events = T_N(events),
					.data = data,
					.data_size = sizeof(data) };

	while (ringtail_next_batch(r, &batch, 0) == RINGTAIL_EVENT)
		for (size_t i = 0; i < batch.n_events; i++)
			is_shaped(&events[i], seq++);
	return seq;
}

static uint64_t borrow_all(struct ringtail *r, uint64_t seq)
{
	struct ringtail_event event;

	while (ringtail_borrow(r, &event, 0) == RINGTAIL_EVENT) {
		is_shaped(&event, seq++);
		t_ok(ringtail_borrow_valid(r));
	}
	return seq;
}

/* Every shape, by every call, around the ring and again. */
static void every_call_delivers_it(void **state)
{
	static uint64_t (*const calls[])(struct ringtail *,
					 uint64_t) = { read_next, read_txns,
						       read_batches, borrow_all };
	struct rig *rig = *state;
	struct ringtail *readers[T_N(calls)];
	uint64_t seqs[T_N(calls)];

	rig->config.payload_size = 16384;
	rig_open(rig);
	for (size_t i = 0; i < T_N(calls); i++) {
		struct ringtail_event event;

		readers[i] = rig_read(rig, rig_after(0));
		t_is(ringtail_next(readers[i], &event, 0), RINGTAIL_CAUGHT_UP);
		seqs[i] = 1;
	}
	while (rig->w->next < 2 * N_SHAPES) {
		write_shaped(rig, 6);
		for (size_t i = 0; i < T_N(calls); i++) {
			seqs[i] = calls[i](readers[i], seqs[i]);
			assert_int_equal(seqs[i], rig->w->next);
		}
	}
}

static void one_alone_is_as_one_of_a_transaction(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	struct rt_event ev;

	rig->config.payload_size = 16384;
	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	for (unsigned i = 0; i < 20; i++) {
		uint64_t seq = rig->w->next;
		struct shape s = shape_of(seq * 13);
		uint8_t key[256], value[256], prev[256];
		struct ringtail_event event;

		t_ok(rt_writer_one_prev(rig->w, RT_OP_PUT, 0, bytes_of(seq, 1, key),
					s.key, bytes_of(seq, 2, value), s.value,
					bytes_of(seq, 3, prev), s.prev));
		assert_int_equal(rt_ring_look(&rig->w->segment, seq, &ev),
				 RT_LOOK_EVENT);
		assert_int_equal(ev.txn_size, 1);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.prev_len, s.prev);
		if (s.prev)
			assert_memory_equal(event.prev, prev, s.prev);
	}
}

/* 4 KiB of payload: a transaction has at most 1 KiB. */
static void it_counts_in_the_limits(void **state)
{
	static const uint8_t zeros[1100];
	struct rig *rig = *state;
	uint64_t next, pos;
	struct rt_writer *w;

	rig->config.max_value = 1000;
	rig_open(rig);
	w = rig->w;
	next = w->next;
	pos = w->pos;
	t_is(rt_writer_one_prev(w, RT_OP_PUT, 0, "key", 3, zeros, 500, zeros, 522),
	     RT_E_TOO_BIG);
	t_is(rt_writer_one_prev(w, RT_OP_DELETE, 0, "key", 3, NULL, 0, zeros, 1001),
	     RT_E_TOO_BIG);
	assert_int_equal(w->next, next);
	assert_int_equal(w->pos, pos);
	t_ok(rt_writer_one_prev(w, RT_OP_PUT, 0, "key", 3, zeros, 500, zeros, 521));
	t_ok(rt_writer_one_prev(w, RT_OP_DELETE, 0, "key", 3, NULL, 0, zeros, 1000));
	rt_writer_begin(w);
	t_ok(rt_writer_add_prev(w, RT_OP_PUT, 0, "a", 1, "b", 1, zeros, 510));
	t_is(rt_writer_add_prev(w, RT_OP_PUT, 0, "a", 1, "b", 1, zeros, 511),
	     RT_E_TOO_BIG);
	t_ok(rt_writer_add_prev(w, RT_OP_PUT, 0, "a", 1, "b", 1, zeros, 510));
	rt_writer_commit(w);
}

static void a_batch_needs_room_for_it(void **state)
{
	struct ringtail_event events[1];
	uint8_t data[64];
	struct ringtail_batch batch = {
		.events = events, .max_events = 1, .data = data, .data_size = 9
	};
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	t_ok(rt_writer_one_prev(rig->w, RT_OP_PUT, 0, "key", 3, "new", 3, "prev", 4));
	t_is(ringtail_next_batch(r, &batch, 0), -EMSGSIZE);
	assert_int_equal(batch.need_data, 10);
	batch.data_size = 10;
	t_is(ringtail_next_batch(r, &batch, 0), RINGTAIL_EVENT);
	assert_int_equal(events[0].prev_len, 4);
	assert_memory_equal(events[0].prev, "prev", 4);
}

static void a_ring_of_another_size_takes_it_over(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig->config.payload_size = 16384;
	rig_open(rig);
	write_shaped(rig, 24);
	r = rig_read(rig, rig_after(0));
	rig_close(rig);
	rig->config.payload_size = 32768;
	rig_open(rig);
	assert_int_equal(read_next(r, 1), rig->w->next);
	r = rig_read(rig, rig_after(0));
	assert_int_equal(read_txns(r, 1), rig->w->next);
}

static void those_without_have_none(void **state)
{
	struct ringtail_event event = { .prev_len = 99, .prev = &event };
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	rig_put(rig, 2);
	for (int i = 0; i < 2; i++) {
		event.prev_len = 99;
		event.prev = &event;
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.prev_len, 0);
		assert_null(event.prev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_call_delivers_it),
		T(one_alone_is_as_one_of_a_transaction),
		T(it_counts_in_the_limits),
		T(a_batch_needs_room_for_it),
		T(a_ring_of_another_size_takes_it_over),
		T(those_without_have_none),
	};

	return cmocka_run_group_tests_name("prev", tests, NULL, NULL);
}
