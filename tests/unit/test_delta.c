/* SPDX-License-Identifier: MIT */
/*
 * test_delta.c - store/delta.c: what changed, by key
 */
#include "tests/support/no_memory.h"
#include "tests/support/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/segment.h"
#include "store/build.h"

#define N_KEYS    1000
#define VALUE_MAX 300

/* What a key has to be like; the value is all of one byte. */
struct plain {
	char key[16];
	uint64_t seq;
	uint32_t value_len;
	uint8_t fill;
	bool known, deleted;
};

struct fixture {
	struct rt_delta delta;
	struct t_random random;
	struct plain plain[N_KEYS]; /* in the order of their keys */
	uint64_t seq;
	size_t n; /* keys that were changed */
};

static uint8_t values[256][VALUE_MAX];

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .random = { 7 } };
	for (unsigned i = 0; i < N_KEYS; i++)
		(void)snprintf(f.plain[i].key, sizeof(f.plain[i].key), "key/%06u", i);
	for (unsigned i = 0; i < 256; i++)
		memset(values[i], (int)i, VALUE_MAX);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	t_calls_left = -1;
	rt_delta_fini(&f->delta);
	return 0;
}

/* The next event of a log: any change of any key, or a message. */
static struct rt_item any_item(struct fixture *f)
{
	struct plain *p = &f->plain[t_random_below(&f->random, N_KEYS)];
	struct rt_item item = {
		.seq = ++f->seq,
		.time_ns = f->seq * 10,
		.key = (const uint8_t *)p->key,
		.key_len = (uint16_t)strlen(p->key),
		.op = (uint8_t)(RT_OP_PUT + t_random_below(&f->random, 3)),
	};

	if (item.op == RT_OP_MESSAGE)
		return item;
	f->n += !p->known;
	p->known = true;
	p->seq = f->seq;
	p->deleted = item.op == RT_OP_DELETE;
	p->fill = (uint8_t)f->seq;
	p->value_len = p->deleted ? 0 : (uint32_t)t_random_below(&f->random, VALUE_MAX);
	item.value = values[p->fill];
	item.value_len = p->value_len;
	return item;
}

static void add_events(struct fixture *f, unsigned n)
{
	struct rt_item items[100];

	while (n) {
		unsigned some = 1 + (unsigned)t_random_below(&f->random, RT_N(items));

		some = some < n ? some : n;
		for (unsigned i = 0; i < some; i++)
			items[i] = any_item(f);
		t_ok(rt_delta_add(&f->delta, items, some));
		n -= some;
	}
}

static void is_as_the_model(struct fixture *f)
{
	size_t at = 0;

	rt_delta_sort(&f->delta);
	assert_int_equal(f->delta.n, f->n);
	for (unsigned i = 0; i < N_KEYS; i++) {
		const struct plain *p = &f->plain[i];
		const struct rt_state *got;

		if (!p->known)
			continue;
		got = rt_delta_at(&f->delta, at++);
		assert_int_equal(got->key_len, strlen(p->key));
		assert_memory_equal(got->key, p->key, got->key_len);
		assert_int_equal(got->seq, p->seq);
		assert_int_equal(got->time_ns, 10 * p->seq);
		assert_int_equal(got->deleted, p->deleted);
		assert_int_equal(got->value_len, p->value_len);
		if (p->value_len)
			assert_memory_equal(got->value, values[p->fill], p->value_len);
	}
	assert_int_equal(at, f->n);
}

static struct rt_state put_of(const char *key, const void *value, size_t len)
{
	return (struct rt_state){
		.seq = 1,
		.key = (const uint8_t *)key,
		.key_len = (uint16_t)strlen(key),
		.value = value,
		.value_len = (uint32_t)len,
	};
}

static void of_each_key_the_newest_change_counts(void **state)
{
	struct fixture *f = *state;

	for (unsigned again = 0; again < 50; again++) {
		add_events(f, 1 + (unsigned)t_random_below(&f->random, 1000));
		is_as_the_model(f); /* what was sorted can be added to */
	}
}

static void it_does_not_matter_how_many_come_at_once(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 5000; i++) {
		struct rt_item item = any_item(f);

		t_ok(rt_delta_add(&f->delta, &item, 1));
	}
	t_ok(rt_delta_add(&f->delta, NULL, 0));
	is_as_the_model(f);
}

static void keys_that_hardly_differ_are_sorted(void **state)
{
	struct fixture *f = *state;
	uint8_t key[4000] = { 0 };

	/* Zeros of every length: each is the begin of the next. */
	for (unsigned i = 0; i < 4000; i++) {
		struct rt_state put = {
			.seq = 1 + i,
			.key = key,
			.key_len = (uint16_t)(1 + i * 7 % 4000),
		};

		t_ok(rt_delta_set(&f->delta, &put));
	}
	rt_delta_sort(&f->delta);
	assert_int_equal(f->delta.n, 4000);
	for (unsigned i = 0; i < 4000; i++)
		assert_int_equal(rt_delta_at(&f->delta, i)->key_len, i + 1);
}

static void all_are_given_one_after_the_other(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	assert_null(rt_delta_next(&f->delta));
	add_events(f, 3000);
	rt_delta_sort(&f->delta);
	for (const struct rt_state *got; (got = rt_delta_next(&f->delta)); n++)
		assert_ptr_equal(got, rt_delta_at(&f->delta, n));
	assert_int_equal(n, f->n);
	rt_delta_sort(&f->delta); /* begins anew */
	assert_ptr_equal(rt_delta_next(&f->delta), rt_delta_at(&f->delta, 0));
}

static void memory_follows_keys_not_events(void **state)
{
	struct fixture *f = *state;
	size_t before;

	add_events(f, 100000);
	before = f->delta.n_bytes;
	assert_true(before < (size_t)N_KEYS * 4 * VALUE_MAX);
	add_events(f, 300000);
	assert_true(f->delta.n_bytes <= before + before / 8);
	is_as_the_model(f);
}

static void a_value_that_grows_leaves_little_behind(void **state)
{
	enum {
		LONGEST = 20000
	};
	static uint8_t value[LONGEST];
	struct fixture *f = *state;
	const struct rt_state *got;

	for (unsigned i = 0; i < LONGEST; i++) {
		struct rt_state put = put_of("key", value, i + 1);

		value[i] = (uint8_t)(i * 7);
		t_ok(rt_delta_set(&f->delta, &put));
	}
	assert_true(f->delta.n_bytes < 16 * (size_t)LONGEST);
	rt_delta_sort(&f->delta);
	got = rt_delta_at(&f->delta, 0);
	assert_int_equal(got->value_len, LONGEST);
	assert_memory_equal(got->value, value, LONGEST);
}

static void what_was_replaced_is_given_back(void **state)
{
	static uint8_t large[20000];
	struct fixture *f = *state;
	size_t before;

	for (unsigned i = 0; i < N_KEYS; i++) {
		struct rt_state put = put_of(f->plain[i].key, large, sizeof(large));

		t_ok(rt_delta_set(&f->delta, &put));
	}
	before = f->delta.n_bytes;
	t_ok(rt_delta_shrink(&f->delta));
	assert_int_equal(f->delta.n_bytes, before); /* all of it counts */
	f->n = N_KEYS;
	for (unsigned i = 0; i < N_KEYS; i++) {
		struct plain *p = &f->plain[i];
		struct rt_state put = put_of(p->key, values[0], i % 50);

		p->known = true;
		p->seq = 1;
		p->value_len = i % 50;
		put.time_ns = 10;
		put.deleted = p->deleted = i % 50 == 0;
		t_ok(rt_delta_set(&f->delta, &put));
	}
	assert_int_equal(f->delta.n_bytes, before);
	t_ok(rt_delta_shrink(&f->delta));
	assert_true(f->delta.n_bytes < before / 10);
	is_as_the_model(f);
	add_events(f, 10000);
	is_as_the_model(f);
}

static void what_was_appended_is_found(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = N_KEYS; i--;) {
		struct plain *p = &f->plain[i];
		struct rt_state put = put_of(p->key, values[5], 20);

		put.time_ns = 10;
		p->known = true;
		p->seq = 1;
		p->fill = 5;
		p->value_len = 20;
		t_ok(rt_delta_append(&f->delta, &put));
	}
	f->seq = 1;
	f->n = N_KEYS;
	add_events(f, 500);
	assert_int_equal(f->delta.n, N_KEYS);
	is_as_the_model(f);
}

static void what_is_lent_stays_where_it_is(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = N_KEYS; i--;) {
		struct rt_state put = put_of(f->plain[i].key, values[i % 256], 9);

		t_ok(rt_delta_lend(&f->delta, &put));
	}
	rt_delta_sort(&f->delta);
	for (unsigned i = 0; i < N_KEYS; i++) {
		const struct rt_state *got = rt_delta_at(&f->delta, i);

		assert_ptr_equal(got->key, f->plain[i].key);
		assert_ptr_equal(got->value, values[i % 256]);
	}
}

/* So that nobody can choose keys that meet each other. */
static void each_has_a_seed_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct rt_state put = put_of("key", "", 0);
	uint64_t first;

	t_ok(rt_delta_set(&f->delta, &put));
	first = f->delta.seed;
	rt_delta_fini(&f->delta);
	t_ok(rt_delta_set(&f->delta, &put));
	assert_int_not_equal(first, 0);
	assert_int_not_equal(first, f->delta.seed);
}

static void without_memory_it_stays_what_it_was(void **state)
{
	struct fixture *f = *state;
	unsigned refused = 0;

	for (unsigned i = 0; i < 20000; i++) {
		struct rt_item item = any_item(f);
		int r;

		t_calls_left = 0;
		r = rt_delta_add(&f->delta, &item, 1);
		t_calls_left = -1;
		if (!r)
			continue;
		assert_int_equal(r, -ENOMEM);
		refused++;
		t_calls_left = 1;
		r = rt_delta_add(&f->delta, &item, 1); /* some need two */
		t_calls_left = -1;
		if (r == -ENOMEM)
			t_ok(rt_delta_add(&f->delta, &item, 1));
	}
	assert_true(refused > 8);
	is_as_the_model(f);
	t_calls_left = 0;
	assert_true(rt_delta_shrink(&f->delta) <= 0);
	t_calls_left = -1;
	is_as_the_model(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(of_each_key_the_newest_change_counts),
		T(it_does_not_matter_how_many_come_at_once),
		T(keys_that_hardly_differ_are_sorted),
		T(all_are_given_one_after_the_other),
		T(memory_follows_keys_not_events),
		T(a_value_that_grows_leaves_little_behind),
		T(what_was_replaced_is_given_back),
		T(what_was_appended_is_found),
		T(what_is_lent_stays_where_it_is),
		T(each_has_a_seed_of_its_own),
		T_IF_REFUSED(T(without_memory_it_stays_what_it_was)),
	};

	return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
