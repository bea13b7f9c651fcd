/* SPDX-License-Identifier: MIT */
/*
 * test_table.c - store/table.c
 */
#include "tests/support/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/table.h"

static int setup(void **state)
{
	static struct rt_table table;

	*state = &table;
	return rt_table_init(&table, 42);
}

static int teardown(void **state)
{
	rt_table_fini(*state);
	return 0;
}

static struct rt_entry *find(const struct rt_table *table, const char *key)
{
	return rt_table_find(table, rt_table_hash(table, key, strlen(key)), key,
			     strlen(key));
}

static void put(struct rt_table *table, const char *key, const char *value)
{
	struct rt_entry *entry = rt_entry_new(rt_table_hash(table, key, strlen(key)),
					      key, strlen(key), value, strlen(value));

	assert_non_null(entry);
	free(rt_table_insert(table, entry));
}

static void put_number(struct rt_table *table, unsigned n)
{
	char key[16];

	(void)snprintf(key, sizeof(key), "key%u", n);
	put(table, key, key + 3);
}

static struct rt_entry *find_number(const struct rt_table *table, unsigned n)
{
	char key[16];

	(void)snprintf(key, sizeof(key), "key%u", n);
	return find(table, key);
}

static void remove_number(struct rt_table *table, unsigned n)
{
	struct rt_entry *entry = find_number(table, n);

	assert_non_null(entry);
	rt_table_remove(table, entry);
	free(entry);
}

static void what_is_put_in_is_found(void **state)
{
	struct rt_table *table = *state;
	const struct rt_entry *entry;

	put(table, "a", "one");
	put(table, "b", "");

	entry = find(table, "a");
	assert_int_equal(entry->value_len, 3);
	assert_memory_equal(rt_entry_value(entry), "one", 3);
	assert_int_equal(find(table, "b")->value_len, 0);
	assert_null(find(table, "c"));
	assert_null(find(table, ""));
	assert_int_equal(table->n, 2);
	assert_int_equal(table->n_bytes, 5);
}

static void an_entry_takes_the_place_of_another(void **state)
{
	struct rt_table *table = *state;
	struct rt_entry *entry, *was;

	put(table, "a", "one");
	entry = rt_entry_new(rt_table_hash(table, "a", 1), "a", 1, "three", 5);
	was = rt_table_insert(table, entry);
	assert_memory_equal(rt_entry_value(was), "one", 3);
	free(was);
	assert_ptr_equal(find(table, "a"), entry);
	assert_int_equal(table->n, 1);
	assert_int_equal(table->n_bytes, 6);
	rt_table_set(table, entry, "12", 2);
	assert_int_equal(table->n_bytes, 3);
	assert_true(rt_entry_takes(entry, 5));
	assert_false(rt_entry_takes(entry, 6));
}

static void it_grows_and_shrinks_with_its_entries(void **state)
{
	struct rt_table *table = *state;
	const unsigned n = 50000;

	for (unsigned i = 0; i < n; i++) {
		put_number(table, i);
		assert_non_null(find_number(table, i / 2));
	}
	assert_int_equal(table->n, n);
	assert_true(table->n_buckets >= n);
	for (unsigned i = 0; i < n; i++)
		assert_non_null(find_number(table, i));
	for (unsigned i = 0; i < n; i++) {
		remove_number(table, i);
		assert_null(find_number(table, i));
		if (i + 1 < n)
			assert_non_null(find_number(table, n - 1));
	}
	assert_int_equal(table->n, 0);
	assert_int_equal(table->n_bytes, 0);
	assert_true(table->n_buckets < 1000);
}

struct seen {
	uint8_t *times;
	unsigned n;
};

static void see(void *ctx, const struct rt_entry *entry)
{
	struct seen *seen = ctx;
	char text[16] = "";
	unsigned number;

	memcpy(text, entry->bytes + 3, entry->key_len - 3);
	number = (unsigned)strtoul(text, NULL, 10);
	assert_true(number < seen->n);
	if (seen->times[number] < 255)
		seen->times[number]++;
}

static void a_walk_sees_each_entry_once_when_nothing_changes(void **state)
{
	struct rt_table *table = *state;
	struct seen seen = { calloc(1000, 1), 1000 };
	uint64_t cursor = 0;

	for (unsigned i = 0; i < 1000; i++)
		put_number(table, i);
	while (table->old) { /* moves with each change: until it is at rest */
		put_number(table, 0);
	}
	do {
		cursor = rt_table_walk(table, cursor, see, &seen);
	} while (cursor);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(seen.times[i], 1);
	free(seen.times);
}

/* The first entries stay; thousands come and go in waves, so that the size changes. */
static void a_walk_misses_nothing_that_stays(void **state)
{
	struct rt_table *table = *state;
	const unsigned stay = 100, most = 1500;
	struct t_random random = { 7 };
	unsigned high = stay, to = stay;

	for (unsigned i = 0; i < stay; i++)
		put_number(table, i);
	for (unsigned round = 0; round < 4; round++) {
		struct seen seen = { calloc(most, 1), most };
		uint64_t cursor = 0;

		do {
			if (high == to)
				to = stay +
				     (unsigned)t_random_below(&random, most - stay);
			if (t_random_below(&random, 1000) == 0)
				to = t_random_below(&random, 2) ? stay : most;
			for (unsigned i = 0; i < 20 && high < to; i++)
				put_number(table, high++);
			for (unsigned i = 0; i < 20 && high > to; i++)
				remove_number(table, --high);
			cursor = rt_table_walk(table, cursor, see, &seen);
		} while (cursor);
		for (unsigned i = 0; i < stay; i++)
			assert_true(seen.times[i] >= 1);
		free(seen.times);
	}
}

static bool see_all(void *ctx, const struct rt_entry *entry)
{
	see(ctx, entry);
	return true;
}

/* The first entries stay, and keep their places, while others come and go. */
static void a_walk_over_places_sees_what_stays_once(void **state)
{
	struct rt_table *table = *state;
	const unsigned stay = 3000, most = 6000;
	struct seen seen = { calloc(most, 1), most };
	struct t_random random = { 7 };
	uint32_t at = 0, end;

	for (unsigned i = 0; i < most; i++)
		put_number(table, i % 2 ? i / 2 : stay + i / 2);
	end = table->n_places;
	while (at < end) {
		for (unsigned i = 0; i < 20; i++) {
			unsigned n =
				stay + (unsigned)t_random_below(&random, most - stay);

			if (find_number(table, n))
				remove_number(table, n);
			else
				put_number(table, n);
		}
		put_number(table, (unsigned)t_random_below(&random, stay));
		at = rt_table_walk_places(table, at, at + 10 < end ? at + 10 : end,
					  see_all, &seen);
	}
	for (unsigned i = 0; i < stay; i++)
		assert_int_equal(seen.times[i], 1);
	assert_int_equal(table->n_unplaced, 0);
	assert_true(table->n_places <= most + 1);
	free(seen.times);
}

static bool see_one(void *ctx, const struct rt_entry *entry)
{
	see(ctx, entry);
	return false;
}

static void it_ends_as_soon_as_it_is_enough(void **state)
{
	struct rt_table *table = *state;
	struct seen seen = { calloc(10, 1), 10 };

	for (unsigned i = 0; i < 10; i++)
		put_number(table, i);
	remove_number(table, 1);
	assert_int_equal(rt_table_walk_places(table, 0, 10, see_one, &seen), 1);
	assert_int_equal(rt_table_walk_places(table, 1, 10, see_one, &seen), 3);
	assert_int_equal(seen.times[0], 1);
	assert_int_equal(seen.times[2], 1);
	assert_int_equal(seen.times[3], 0);
	free(seen.times);
}

#define CHANGES 40

/* Changes, and then all of them taken back, the last first. */
static void what_is_put_back_is_where_it_was(void **state)
{
	struct rt_table *table = *state;
	struct rt_entry *taken[CHANGES], *first[20];
	struct t_random random = { 9 };

	for (unsigned i = 0; i < 20; i++) {
		put_number(table, i);
		first[i] = find_number(table, i);
	}
	for (unsigned round = 0; round < 200; round++) {
		unsigned number[CHANGES];
		uint32_t places[20];

		for (unsigned i = 0; i < 20; i++)
			places[i] = first[i]->place;
		for (unsigned i = 0; i < CHANGES; i++) {
			number[i] = (unsigned)t_random_below(&random, 30);
			taken[i] = find_number(table, number[i]);
			if (taken[i])
				rt_table_remove(table, taken[i]);
			else
				put_number(table, number[i]);
		}
		for (unsigned i = CHANGES; i-- > 0;) {
			if (taken[i])
				(void)rt_table_insert(table, taken[i]); /* NULL */
			else
				remove_number(table, number[i]);
		}
		for (unsigned i = 0; i < 20; i++) {
			assert_ptr_equal(find_number(table, i), first[i]);
			assert_int_equal(first[i]->place, places[i]);
		}
		assert_int_equal(table->n, 20);
	}
}

static void room_that_was_made_is_not_made_again(void **state)
{
	struct rt_table *table = *state;
	struct rt_entry **buckets;

	for (unsigned i = 0; i < 100; i++)
		put_number(table, i);
	t_ok(rt_table_reserve(table, 5000));
	buckets = table->buckets;
	for (unsigned i = 100; i < 5000; i++)
		put_number(table, i);
	assert_ptr_equal(table->buckets, buckets);
	assert_null(table->old);
	for (unsigned i = 0; i < 5000; i++)
		assert_non_null(find_number(table, i));
	t_ok(rt_table_reserve(table, 10));
	assert_ptr_equal(table->buckets, buckets);
}

/* Whether they are there or not, at rest or while it moves, short or long. */
static void to_ask_ahead_changes_nothing(void **state)
{
	struct rt_table *table = *state;
	uint64_t hashes[64];
	char value[1001];
	bool moved = false;

	memset(value, 'v', 1000);
	value[1000] = 0;
	for (unsigned n = 0; n < 3000; n++) {
		for (unsigned i = 0; i < T_N(hashes); i++) {
			char key[16];
			int len = snprintf(key, sizeof(key), "key%u", n + i * 7);

			hashes[i] = rt_table_hash(table, key, (size_t)len);
		}
		rt_table_expect(table, hashes, n % (T_N(hashes) + 1));
		assert_int_equal(table->n, n);
		put_number(table, n);
		if (n % 3 == 0) {
			value[n % 1000] = 0;
			put(table, "key0", value);
			value[n % 1000] = 'v';
		}
		moved |= table->old != NULL;
	}
	assert_true(moved);
	for (unsigned i = 0; i < 3000; i++)
		assert_non_null(find_number(table, i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_put_in_is_found),
		T(an_entry_takes_the_place_of_another),
		T(it_grows_and_shrinks_with_its_entries),
		T(a_walk_sees_each_entry_once_when_nothing_changes),
		T(a_walk_misses_nothing_that_stays),
		T(a_walk_over_places_sees_what_stays_once),
		T(it_ends_as_soon_as_it_is_enough),
		T(what_is_put_back_is_where_it_was),
		T(room_that_was_made_is_not_made_again),
		T(to_ask_ahead_changes_nothing),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
