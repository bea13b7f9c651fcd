/* SPDX-License-Identifier: MIT */
/*
 * test_batch.c - store/batch.c
 */
#include "tests/unit/logrig.h"

#define SALT UINT64_C(77)

static int setup_batch(void **state)
{
	struct rt_batch *batch = calloc(1, sizeof(*batch));

	rt_batch_reset(batch, 1);
	*state = batch;
	return 0;
}

static int teardown_batch(void **state)
{
	rt_batch_fini(*state);
	free(*state);
	return 0;
}

#define TB(name) cmocka_unit_test_setup_teardown(name, setup_batch, teardown_batch)

/* By plan, seq by seq, to the end; the number of events, -1 for nonsense. */
static int read_back(const struct rt_batch *batch)
{
	struct rt_batch_cursor cursor;
	struct rt_item item;
	int n = 0, r;

	rt_batch_open(batch->data, &cursor);
	while ((r = rt_batch_next(&cursor, &item)) == 1) {
		if (!lr_is(&item, batch->first_seq + (uint64_t)n))
			return -1;
		n++;
	}
	return r < 0 ? r : n;
}

static void assert_items_equal(const struct rt_item *a, const struct rt_item *b)
{
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->key_len, b->key_len);
	assert_memory_equal(a->key, b->key, b->key_len);
	assert_int_equal(a->value_len, b->value_len);
	assert_memory_equal(a->value, b->value, b->value_len);
	assert_int_equal(a->prev_len, b->prev_len);
	assert_int_equal(a->ext_len, b->ext_len);
	assert_int_equal(a->txn_index, b->txn_index);
	assert_int_equal(a->txn_size, b->txn_size);
}

static void what_goes_in_comes_out(void **state)
{
	struct rt_batch *batch = *state;

	for (unsigned i = 0; i < 400; i++)
		lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);

	assert_true(rt_batch_valid(batch->data, batch->len, SALT, 1));
	assert_int_equal(read_back(batch), 1000);
	assert_int_equal(batch->n_events, 1000);
	assert_int_equal(batch->last_ns, lr_time(1000));
}

/* One event by the short way is the same event in fewer bytes. */
static void one_is_begin_add_end(void **state)
{
	struct rt_batch *batch = *state;
	struct rt_batch_cursor cursor, cursor_of_one;
	struct rt_item item, item_of_one;
	struct rt_batch one = { 0 };
	uint8_t bytes[64];
	int r;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	rt_batch_reset(&one, 1);
	for (unsigned key_len = 1; key_len < 20; key_len++) {
		for (unsigned value_len = 0; value_len < 20; value_len++) {
			t_ok(rt_batch_begin(batch));
			t_ok(rt_batch_add(batch, RT_OP_PUT, RT_EVENT_CREATED, bytes,
					  key_len, bytes, value_len));
			rt_batch_end(batch, 5 + key_len);
			t_ok(rt_batch_one(&one, RT_OP_PUT, RT_EVENT_CREATED, bytes,
					  key_len, bytes, value_len, 5 + key_len));
		}
	}
	rt_batch_seal(batch, SALT, 0);
	rt_batch_seal(&one, SALT, 0);
	assert_true(one.len < batch->len);
	assert_int_equal(one.n_events, batch->n_events);
	assert_int_equal(one.last_ns, batch->last_ns);

	rt_batch_open(batch->data, &cursor);
	rt_batch_open(one.data, &cursor_of_one);
	while ((r = rt_batch_next(&cursor, &item)) == 1) {
		assert_int_equal(rt_batch_next(&cursor_of_one, &item_of_one), 1);
		assert_items_equal(&item_of_one, &item);
	}
	assert_int_equal(r, 0);
	assert_int_equal(rt_batch_next(&cursor_of_one, &item_of_one), 0);
	rt_batch_fini(&one);
}

/* A clock that was set back, or a batch of some seconds: then the time is whole. */
static void one_comes_at_any_time(void **state)
{
	static const uint64_t times[] = {
		LR_TIME,
		LR_TIME + 1,
		LR_TIME + UINT32_MAX,
		LR_TIME + 1 + UINT32_MAX,
		LR_TIME - 1,
		0,
		UINT64_MAX,
		LR_TIME,
	};
	struct rt_batch *batch = *state;
	struct rt_batch_cursor cursor;
	struct rt_log_batch header;
	struct rt_item item;

	for (size_t i = 0; i < RT_N(times); i++)
		t_ok(rt_batch_one(batch, RT_OP_PUT, 0, "key", 3, &i, sizeof(i),
				  times[i]));
	rt_batch_seal(batch, SALT, 0);
	assert_true(rt_batch_valid(batch->data, batch->len, SALT, 1));
	memcpy(&header, batch->data, sizeof(header));
	assert_int_equal(header.time_ns, times[0]);
	rt_batch_open(batch->data, &cursor);
	for (size_t i = 0; i < RT_N(times); i++) {
		assert_int_equal(rt_batch_next(&cursor, &item), 1);
		assert_int_equal(item.time_ns, times[i]);
		assert_memory_equal(item.value, &i, sizeof(i));
	}
	assert_int_equal(rt_batch_next(&cursor, &item), 0);
}

static void every_length_of_key_and_value(void **state)
{
	struct rt_batch *batch = *state;
	struct rt_batch_cursor cursor;
	struct rt_item item;
	static char bytes[65535];

	memset(bytes, 'b', sizeof(bytes));
	t_ok(rt_batch_begin(batch));
	for (size_t i = 1; i < 40; i++)
		t_ok(rt_batch_add(batch, RT_OP_PUT, 1, bytes, i, bytes, 40 - i));
	t_ok(rt_batch_add(batch, RT_OP_DELETE, 2, bytes, sizeof(bytes), NULL, 0));
	rt_batch_end(batch, 5);
	rt_batch_seal(batch, SALT, 0);

	rt_batch_open(batch->data, &cursor);
	for (size_t i = 1; i < 40; i++) {
		assert_int_equal(rt_batch_next(&cursor, &item), 1);
		assert_int_equal(item.key_len, i);
		assert_int_equal(item.value_len, 40 - i);
		assert_memory_equal(item.key, bytes, i);
		assert_memory_equal(item.value, bytes, 40 - i);
		assert_int_equal(item.flags, 1);
	}
	assert_int_equal(rt_batch_next(&cursor, &item), 1);
	assert_int_equal(item.key_len, 65535);
	assert_int_equal(item.value_len, 0);
	assert_int_equal(item.op, RT_OP_DELETE);
	assert_int_equal(rt_batch_next(&cursor, &item), 0);
	assert_int_equal(rt_batch_next(&cursor, &item), 0);
}

static void terms_come_with_their_event_only(void **state)
{
	const struct rt_log_terms terms = { .deadline_ms = 1234567890123,
					    .flags = RT_TERMS_BOUND };
	const struct rt_extra extra = { .terms = &terms };
	struct rt_batch *batch = *state;
	struct rt_batch_cursor cursor;
	struct rt_item item;

	t_ok(rt_batch_begin(batch));
	for (size_t i = 1; i < 20; i++) {
		t_ok(rt_batch_add_extra(batch, RT_OP_PUT, 0, "key", 3,
					"0123456789012345678", i, &extra));
		t_ok(rt_batch_add(batch, RT_OP_PUT, 0, "k", 1, "v", 1));
	}
	rt_batch_end(batch, 5);
	rt_batch_seal(batch, SALT, 0);

	rt_batch_open(batch->data, &cursor);
	for (size_t i = 1; i < 20; i++) {
		struct rt_log_terms got;

		assert_int_equal(rt_batch_next(&cursor, &item), 1);
		got = rt_item_terms(&item);
		assert_int_equal(item.value_len, i);
		assert_memory_equal(item.value, "0123456789012345678", i);
		assert_memory_equal(&got, &terms, sizeof(terms));
		assert_int_equal(rt_batch_next(&cursor, &item), 1);
		got = rt_item_terms(&item);
		assert_int_equal(item.ext_len, 0);
		assert_int_equal(got.deadline_ms, 0);
		assert_int_equal(got.flags, 0);
	}
	assert_int_equal(rt_batch_next(&cursor, &item), 0);
}

/* At once only what is alone, with key and value only; the rest by the long way. */
static void the_usual_is_had_at_once(void **state)
{
	static const struct rt_log_terms terms = { .deadline_ms = 5 };
	static const struct rt_extra extra = { .terms = &terms };
	struct rt_batch *batch = *state;
	struct rt_batch_cursor cursor;
	struct rt_item item = { .key = NULL };
	size_t size;

	t_ok(rt_batch_one(batch, RT_OP_PUT, 0, "key", 3, "value", 5, 7));
	t_ok(rt_batch_begin(batch));
	t_ok(rt_batch_add(batch, RT_OP_DELETE, 0, "a", 1, NULL, 0));
	t_ok(rt_batch_add(batch, RT_OP_DELETE, 0, "b", 1, NULL, 0));
	rt_batch_end(batch, 8);
	t_ok(rt_batch_begin(batch));
	t_ok(rt_batch_add_extra(batch, RT_OP_PUT, 0, "k", 1, "v", 1, &extra));
	rt_batch_end(batch, 9);
	rt_batch_seal(batch, SALT, 0);

	rt_batch_open(batch->data, &cursor);
	size = rt_batch_peek_alone(&cursor, &item);
	assert_int_not_equal(size, 0);
	assert_non_null(item.key);
	assert_memory_equal(item.key, "keyvalue", 8);
	assert_int_equal(item.value_len, 5);
	assert_int_equal(item.time_ns, 7);
	rt_batch_pass(&cursor, size);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rt_batch_peek_alone(&cursor, &item), 0);
		assert_int_equal(rt_batch_next(&cursor, &item), 1);
		assert_int_equal(item.seq, 2 + i);
	}
	assert_int_equal(rt_batch_peek_alone(&cursor, &item), 0);
	assert_int_equal(rt_batch_next(&cursor, &item), 0);
}

static void an_aborted_transaction_was_never_there(void **state)
{
	struct rt_batch *batch = *state;
	size_t len;

	lr_add_txn(batch);
	len = batch->len;
	t_ok(rt_batch_begin(batch));
	t_ok(rt_batch_add(batch, RT_OP_PUT, 0, "x", 1, "y", 1));
	rt_batch_abort(batch);
	assert_int_equal(batch->len, len);
	t_ok(rt_batch_begin(batch));
	rt_batch_end(batch, 1); /* without events: none */
	assert_int_equal(batch->len, len);
	lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);

	assert_int_equal(read_back(batch), 3);
}

static void memory_is_kept_and_nothing_of_its_content(void **state)
{
	struct rt_batch *batch = *state;

	assert_true(rt_batch_is_empty(batch));
	for (unsigned i = 0; i < 4000; i++)
		lr_add_txn(batch);
	rt_batch_reset(batch, 11);
	assert_true(rt_batch_is_empty(batch));
	lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 10);

	assert_true(rt_batch_valid(batch->data, batch->len, SALT, 11));
	assert_int_equal(read_back(batch), 1);
}

static void another_seq_or_salt_is_another_batch(void **state)
{
	struct rt_batch *batch = *state;

	lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);

	assert_true(rt_batch_valid(batch->data, batch->len, SALT, 1));
	assert_false(rt_batch_valid(batch->data, batch->len, SALT + 1, 1));
	assert_false(rt_batch_valid(batch->data, batch->len, SALT, 2));
	assert_false(rt_batch_valid(batch->data, 0, SALT, 1));
}

static void every_flipped_bit_is_found(void **state)
{
	struct rt_batch *batch = *state;

	for (unsigned i = 0; i < 5; i++)
		lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);
	for (size_t bit = 0; bit < batch->len * 8; bit++) {
		batch->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(rt_batch_valid(batch->data, batch->len, SALT, 1));
		batch->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(rt_batch_valid(batch->data, batch->len, SALT, 1));
}

static void every_shorter_one_is_invalid(void **state)
{
	struct rt_batch *batch = *state;
	uint8_t *exact;

	for (unsigned i = 0; i < 5; i++)
		lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);
	for (size_t len = 0; len < batch->len; len++) {
		exact = malloc(len + !len); /* so that a byte too many is seen */
		memcpy(exact, batch->data, len);
		assert_false(rt_batch_valid(exact, len, SALT, 1));
		free(exact);
	}
}

static struct rt_log_batch header_of(const struct rt_batch *batch)
{
	struct rt_log_batch header;

	memcpy(&header, batch->data, sizeof(header));
	return header;
}

static void headers_without_sense_are_none(void **state)
{
	struct rt_batch *batch = *state;
	struct rt_log_batch good, h;

	lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);
	good = header_of(batch);
	assert_true(rt_batch_header_valid(&good, 1));
	h = good, h.size = 0;
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.size = sizeof(h);
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.size++;
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.size = RT_LOG_BATCH_MAX + 8;
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.n_events = 0;
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.n_txns = 0;
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.n_txns = 2; /* more than events */
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.n_events = h.size; /* more than fit */
	assert_false(rt_batch_header_valid(&h, 1));
	h = good, h.first_seq = UINT64_MAX; /* seqs that wrap */
	assert_false(rt_batch_header_valid(&h, UINT64_MAX));
}

/* Whatever lengths say, the cursor stays within the batch and comes to an end. */
static void lengths_that_lie_are_nonsense(void **state)
{
	struct rt_batch *batch = *state;
	struct t_random random = { 1 };
	struct rt_batch_cursor cursor;
	struct rt_item item;
	unsigned bad = 0;

	for (unsigned i = 0; i < 4; i++)
		lr_add_txn(batch);
	rt_batch_seal(batch, SALT, 0);
	for (unsigned round = 0; round < 20000; round++) {
		size_t from = sizeof(struct rt_log_batch);
		size_t at = from + t_random_below(&random, batch->len - from);
		uint8_t *copy = malloc(batch->len);
		unsigned n = 0;
		int r;

		memcpy(copy, batch->data, batch->len);
		copy[at] = (uint8_t)t_random64(&random);
		rt_batch_open(copy, &cursor);
		while ((r = rt_batch_next(&cursor, &item)) == 1) {
			assert_true(item.key >= copy && item.key_len);
			assert_true(item.prev + item.prev_len <= copy + batch->len);
			assert_in_range(++n, 1, 1000);
		}
		bad += r < 0;
		free(copy);
	}
	assert_true(bad > 100);
}

static void memory_of_a_busy_moment_goes_again(void **state)
{
	static const char value[1 << 20];
	struct rt_batch *batch = *state;

	rt_batch_reset(batch, 1);
	for (unsigned i = 0; i < 20; i++)
		t_ok(rt_batch_one(batch, RT_OP_PUT, 0, "k", 1, value, sizeof(value),
				  1));
	rt_batch_reset(batch, 21);
	assert_true(batch->cap > 20 * sizeof(value)); /* there may be as much again */
	t_ok(rt_batch_one(batch, RT_OP_PUT, 0, "k", 1, "v", 1, 1));
	rt_batch_reset(batch, 22);
	assert_int_equal(batch->cap, 0);
	t_ok(rt_batch_one(batch, RT_OP_PUT, 0, "k", 1, "v", 1, 1));
	assert_int_equal(batch->first_seq, 22);
	assert_int_equal(batch->n_events, 1);
	rt_batch_reset(batch, 23);
	assert_true(batch->cap > 0); /* a little is kept */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TB(what_goes_in_comes_out),
		TB(one_is_begin_add_end),
		TB(one_comes_at_any_time),
		TB(every_length_of_key_and_value),
		TB(terms_come_with_their_event_only),
		TB(the_usual_is_had_at_once),
		TB(an_aborted_transaction_was_never_there),
		TB(memory_is_kept_and_nothing_of_its_content),
		TB(another_seq_or_salt_is_another_batch),
		TB(every_flipped_bit_is_found),
		TB(every_shorter_one_is_invalid),
		TB(headers_without_sense_are_none),
		TB(lengths_that_lie_are_nonsense),
		TB(memory_of_a_busy_moment_goes_again),
	};

	(void)setup;
	(void)teardown;
	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
