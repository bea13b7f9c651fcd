/* SPDX-License-Identifier: MIT */
/*
 * test_expiry.c - daemon/expiry.c
 */
#include "tests/support/t.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/expiry.h"

#define N 2000u

struct fixture {
	struct rt_lives lives;
	struct rt_entry *entries[N];
	uint64_t deadlines[N]; /* as it should be; 0: none, or asleep */
};

static struct fixture f;

static int setup(void **state)
{
	(void)state;
	f = (struct fixture){ .lives = { 0 } };
	for (unsigned i = 0; i < N; i++)
		f.entries[i] = rt_entry_new(i, &i, sizeof(i), NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt_lives_fini(&f.lives);
	for (unsigned i = 0; i < N; i++)
		free(f.entries[i]);
	return 0;
}

static void add(unsigned i, uint64_t deadline, struct rt_holder *holder)
{
	t_ok(rt_lives_add(&f.lives, f.entries[i], deadline, holder));
	rt_lives_wake(&f.lives, f.entries[i]);
	f.deadlines[i] = deadline;
}

static void drop(unsigned i)
{
	rt_lives_drop(&f.lives, f.entries[i]);
	f.deadlines[i] = 0;
}

/* What is on top must be as early as the earliest that there is. */
static void check_top(void)
{
	uint64_t earliest = UINT64_MAX;

	for (unsigned i = 0; i < N; i++)
		if (f.deadlines[i])
			earliest = rt_min(earliest, f.deadlines[i]);
	assert_true(rt_lives_next_ms(&f.lives) == earliest);
}

static void most_keys_have_no_life(void **state)
{
	(void)state;
	assert_null(rt_life_of(&f.lives, f.entries[0]));
	assert_null(rt_lives_due(&f.lives, UINT64_MAX));
	assert_true(rt_lives_next_ms(&f.lives) == UINT64_MAX);
	rt_lives_wake(&f.lives, f.entries[0]);
	rt_lives_sleep(&f.lives, f.entries[0]);
	rt_lives_drop(&f.lives, f.entries[0]);
	assert_int_equal(f.lives.n, 0);
}

static void what_is_due_comes_out_in_order(void **state)
{
	struct t_random random = { 11 };
	uint64_t last = 0;
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		add(i, 1 + t_random_below(&random, N), NULL);
	assert_null(rt_lives_due(&f.lives, 0));
	for (uint64_t now = 1; now <= N; now++) {
		struct rt_entry *entry;

		while ((entry = rt_lives_due(&f.lives, now))) {
			unsigned i = (unsigned)entry->hash;

			assert_ptr_equal(entry, f.entries[i]);
			assert_true(f.deadlines[i] >= last && f.deadlines[i] <= now);
			last = f.deadlines[i];
			drop(i);
			n++;
		}
		assert_true(rt_lives_next_ms(&f.lives) > now);
	}
	assert_int_equal(n, N);
	assert_int_equal(f.lives.n, 0);
	assert_int_equal(f.lives.cap, 0);
}

static void the_earliest_is_known_whatever_comes_and_goes(void **state)
{
	struct t_random random = { 12 };

	(void)state;
	for (unsigned round = 0; round < 5000; round++) {
		unsigned i = (unsigned)t_random_below(&random, 100);

		if (f.deadlines[i])
			drop(i);
		else
			add(i, 1 + t_random_below(&random, 50), NULL);
		check_top();
	}
	for (unsigned i = 0; i < 100; i++)
		if (f.deadlines[i])
			drop(i);
	assert_int_equal(f.lives.n_due, 0);
}

static void a_life_asleep_is_not_due_and_not_held(void **state)
{
	struct rt_holder holder = { .first = 0 };

	(void)state;
	add(0, 5, &holder);
	add(1, 9, &holder);
	rt_lives_sleep(&f.lives, f.entries[0]);
	rt_lives_sleep(&f.lives, f.entries[0]);
	assert_int_equal(holder.n, 1);
	assert_true(rt_lives_next_ms(&f.lives) == 9);
	assert_int_equal(rt_life_of(&f.lives, f.entries[0])->deadline_ms, 5);
	rt_lives_wake(&f.lives, f.entries[0]);
	assert_int_equal(holder.n, 2);
	assert_ptr_equal(rt_lives_due(&f.lives, 5), f.entries[0]);
	rt_lives_sleep(&f.lives, f.entries[1]);
	drop(1);
	drop(0);
	assert_int_equal(holder.n, 0);
	assert_null(rt_lives_held(&f.lives, &holder));
}

static void holders_do_not_mix(void **state)
{
	struct t_random random = { 13 };
	struct rt_holder holders[3] = { { .first = 0 } };
	unsigned of[N];
	size_t n[3] = { 0 };

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		of[i] = (unsigned)t_random_below(&random, 3);
		add(i, 0, &holders[of[i]]);
		n[of[i]]++;
	}
	for (unsigned i = 0; i < N; i += 3) {
		drop(i);
		n[of[i]]--;
	}
	assert_true(rt_lives_next_ms(&f.lives) == UINT64_MAX);
	for (unsigned h = 0; h < 3; h++) {
		const struct rt_entry *entry;

		assert_int_equal(holders[h].n, n[h]);
		while ((entry = rt_lives_held(&f.lives, &holders[h]))) {
			assert_int_equal(of[entry->hash], h);
			drop((unsigned)entry->hash);
			n[h]--;
		}
		assert_int_equal(n[h], 0);
	}
	assert_int_equal(f.lives.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(most_keys_have_no_life),
		T(what_is_due_comes_out_in_order),
		T(the_earliest_is_known_whatever_comes_and_goes),
		T(a_life_asleep_is_not_due_and_not_held),
		T(holders_do_not_mix),
	};

	return cmocka_run_group_tests_name("expiry", tests, NULL, NULL);
}
