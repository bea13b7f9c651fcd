/* SPDX-License-Identifier: MIT */
/*
 * test_view_state.c - client/view_state.c and view_order.c
 *
 * Against a plain list of keys, with memory that is refused now and then.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/view_state.h"
#include "tests/support/no_memory.h"

#define N_KEYS    300u
#define TXN_MAX   6u
#define VALUE_MAX 120u
#define ROUNDS    20000u

/*
 * ---- The plain list ----
 */

struct plain {
	bool there;
	uint64_t seq;
	size_t len;
	uint8_t value[VALUE_MAX];
};

struct world {
	struct rt_view_state state;
	struct plain keys[N_KEYS];
	struct t_random random;
	uint64_t seq;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->random.state = t_now_ns();
	print_message("# seed %llu\n", (unsigned long long)w->random.state);
	*state = w;
	return rt_view_state_init(&w->state, 42);
}

static int teardown(void **state)
{
	struct world *w = *state;

	t_calls_left = -1;
	rt_view_state_fini(&w->state);
	free(w);
	return 0;
}

/* Some keys begin with others; some have bytes above 127. */
static size_t key_of(unsigned i, char key[32])
{
	static const char *const kinds[] = { "", "a", "a/", "b/long key that goes on/",
					     "\xff" };

	return (size_t)snprintf(key, 32, "%s%u", kinds[i % 5], i / 5);
}

struct txn {
	struct ringtail_event events[TXN_MAX];
	unsigned keys[TXN_MAX];
	char key_bytes[TXN_MAX][32];
	uint8_t values[TXN_MAX][VALUE_MAX];
	size_t n;
};

/* Keys come from a few, so that there are often the same ones in a transaction. */
static void make_txn(struct world *w, struct txn *txn)
{
	unsigned from = (unsigned)t_random_below(&w->random, N_KEYS);
	unsigned spread = t_random_below(&w->random, 2) ? 3 : N_KEYS;

	txn->n = 1 + (size_t)t_random_below(&w->random, TXN_MAX);
	for (size_t i = 0; i < txn->n; i++) {
		struct ringtail_event *event = &txn->events[i];
		unsigned key =
			(from + (unsigned)t_random_below(&w->random, spread)) % N_KEYS;

		txn->keys[i] = key;
		for (unsigned k = 0; k < VALUE_MAX; k++)
			txn->values[i][k] = (uint8_t)t_random64(&w->random);
		*event = (struct ringtail_event){
			.seq = w->seq + 1 + i,
			.rev = w->seq + txn->n,
			.key = txn->key_bytes[i],
			.key_len = key_of(key, txn->key_bytes[i]),
			.op = t_random_below(&w->random, 3) ? RINGTAIL_PUT
							    : RINGTAIL_DELETE,
		};
		if (!t_random_below(&w->random, 20))
			event->op = RINGTAIL_MESSAGE;
		if (event->op == RINGTAIL_DELETE)
			continue;
		event->value = txn->values[i];
		event->value_len = (size_t)t_random_below(&w->random, VALUE_MAX);
	}
}

/* One event to the plain list; the step must have seen the same. */
static void do_plainly(struct world *w, const struct txn *txn, size_t i)
{
	const struct ringtail_event *event = &txn->events[i];
	const struct rt_step *step = &w->state.steps[i];
	struct plain *plain = &w->keys[txn->keys[i]];

	if (event->op == RINGTAIL_MESSAGE) {
		assert_false(step->changed);
		return;
	}
	assert_int_equal(step->changed, event->op == RINGTAIL_PUT || plain->there);
	assert_int_equal(step->had_old, plain->there);
	if (plain->there) {
		assert_int_equal(step->old_len, plain->len);
		assert_memory_equal(step->old_value, plain->value, plain->len);
	}
	plain->there = event->op == RINGTAIL_PUT;
	plain->seq = event->seq;
	plain->len = event->value_len;
	if (event->value_len)
		memcpy(plain->value, event->value, event->value_len);
}

static void check_key(const struct world *w, unsigned i)
{
	const struct plain *plain = &w->keys[i];
	char key[32];
	size_t len = key_of(i, key);
	const struct rt_entry *entry = rt_view_state_find(&w->state, key, len);

	assert_int_equal(entry != NULL, plain->there);
	if (!entry)
		return;
	assert_int_equal(entry->life, 0);
	assert_int_equal(entry->seq, plain->seq);
	assert_int_equal(entry->value_len, plain->len);
	assert_memory_equal(rt_entry_value(entry), plain->value, plain->len);
}

static size_t count(const struct world *w)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_KEYS; i++)
		n += w->keys[i].there;
	return n;
}

static void check_all(const struct world *w)
{
	for (unsigned i = 0; i < N_KEYS; i++)
		check_key(w, i);
	assert_int_equal(w->state.table.n, count(w));
}

static void check_order(struct world *w)
{
	const struct rt_order *order = &w->state.order;
	int e;

	while ((e = rt_order_settle(&w->state.order, &w->state.table)) == -ENOMEM)
		t_calls_left = -1;
	assert_int_equal(e, 0);
	assert_true(rt_order_is_settled(order));
	assert_int_equal(order->n, count(w));
	for (size_t i = 0; i < order->n; i++) {
		const struct rt_entry *entry = order->entries[i];

		assert_ptr_equal(rt_view_state_find(&w->state, rt_entry_key(entry),
						    entry->key_len),
				 entry);
		assert_true(!i ||
			    rt_entry_compare(order->entries[i - 1], rt_entry_key(entry),
					     entry->key_len) < 0);
		assert_int_equal(
			rt_order_find(order, rt_entry_key(entry), entry->key_len), i);
	}
	assert_int_equal(rt_order_find(order, "", 0), 0);
	assert_int_equal(rt_order_find(order, "\xff\xff", 2), order->n);
}

static void one_txn(struct world *w)
{
	struct txn txn;
	int e;

	make_txn(w, &txn);
	e = rt_view_state_prepare(&w->state, txn.events, txn.n);
	if (e) {
		/* Nothing has happened, and it can be done again. */
		assert_int_equal(e, -ENOMEM);
		for (size_t i = 0; i < txn.n; i++)
			check_key(w, txn.keys[i]);
		assert_int_equal(w->state.table.n, count(w));
		t_calls_left = -1;
		t_ok(rt_view_state_prepare(&w->state, txn.events, txn.n));
	}
	rt_view_state_commit(&w->state);
	for (size_t i = 0; i < txn.n; i++)
		do_plainly(w, &txn, i);
	for (size_t i = 0; i < txn.n; i++)
		check_key(w, txn.keys[i]);
	rt_view_state_done(&w->state);
	w->seq += txn.n;
}

static void transactions_happen_whole_or_not_at_all(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned often = i % 4096 < 2048 ? 8 : 400;

		if (!t_random_below(&w->random, 4))
			t_calls_left = (long)t_random_below(&w->random, 8);
		one_txn(w);
		if (!t_random_below(&w->random, often))
			check_order(w);
		if (!t_random_below(&w->random, 100))
			check_all(w);
	}
	t_calls_left = -1;
	check_all(w);
	check_order(w);
	assert_true(t_n_refused > 100 || !t_can_refuse());
}

static void an_empty_value_is_a_value(void **state)
{
	struct world *w = *state;
	const struct ringtail_event event = {
		.seq = 1, .op = RINGTAIL_PUT, .key = "k", .key_len = 1, .value = ""
	};

	for (unsigned i = 0; i < 2; i++) {
		t_ok(rt_view_state_prepare(&w->state, &event, 1));
		rt_view_state_commit(&w->state);
		assert_int_equal(w->state.steps[0].had_old, i);
		assert_int_equal(w->state.steps[0].old_value != NULL, i);
		rt_view_state_done(&w->state);
	}
}

/*
 * ---- Whole states ----
 */

static int by_key(const void *a, const void *b)
{
	const struct ringtail_event *x = a, *y = b;
	int order = memcmp(x->key, y->key,
			   x->key_len < y->key_len ? x->key_len : y->key_len);

	return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

/* The plain list as entries of a snapshot. */
static size_t as_snapshot(struct world *w, struct ringtail_event events[N_KEYS],
			  char keys[N_KEYS][32])
{
	size_t n = 0;

	for (unsigned i = 0; i < N_KEYS; i++) {
		if (!w->keys[i].there)
			continue;
		events[n++] = (struct ringtail_event){
			.seq = w->keys[i].seq,
			.op = RINGTAIL_PUT,
			.key = keys[i],
			.key_len = key_of(i, keys[i]),
			.value = w->keys[i].value,
			.value_len = w->keys[i].len,
		};
	}
	qsort(events, n, sizeof(*events), by_key);
	return n;
}

static void refill(struct world *w, struct rt_view_state *state)
{
	static struct ringtail_event events[N_KEYS];
	static char keys[N_KEYS][32];
	size_t n = as_snapshot(w, events, keys);
	size_t half = n / 2;

	t_ok(rt_view_state_init(state, 7));
	t_ok(rt_view_state_fill(state, events, half));
	t_ok(rt_view_state_fill(state, events + half, n - half));
	t_ok(rt_view_state_filled(state));
}

static void a_filled_state_is_complete(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 500; i++)
		one_txn(w);
	rt_view_state_fini(&w->state);
	refill(w, &w->state);
	check_all(w);
	check_order(w);
	for (unsigned i = 0; i < 500; i++)
		one_txn(w);
	check_all(w);
	check_order(w);
}

static void keys_out_of_order_are_refused(void **state)
{
	struct world *w = *state;
	struct ringtail_event events[] = {
		{ .op = RINGTAIL_PUT, .key = "b", .key_len = 1 },
		{ .op = RINGTAIL_PUT, .key = "a", .key_len = 1 },
	};

	t_is(rt_view_state_fill(&w->state, events, 2), RINGTAIL_E_CORRUPT);
	t_is(rt_view_state_fill(&w->state, events, 1), RINGTAIL_E_CORRUPT);
}

struct difference {
	struct world *was, *now;
	unsigned n;
};

static void tell(void *arg, const struct rt_entry *was, const struct rt_entry *now)
{
	struct difference *d = arg;
	const struct rt_entry *either = now ? now : was;

	d->n++;
	assert_ptr_equal(was, rt_view_state_find(&d->was->state, rt_entry_key(either),
						 either->key_len));
	assert_ptr_equal(now, rt_view_state_find(&d->now->state, rt_entry_key(either),
						 either->key_len));
}

static void what_differs_between_two_states_is_told(void **state)
{
	struct world *w = *state;
	struct world *was = calloc(1, sizeof(*was)), *none = calloc(1, sizeof(*none));
	struct difference d = { .was = was, .now = w };
	unsigned n = 0;

	for (unsigned i = 0; i < 500; i++)
		one_txn(w);
	refill(w, &was->state);
	memcpy(was->keys, w->keys, sizeof(w->keys));
	for (unsigned i = 0; i < 20; i++)
		one_txn(w);
	check_order(w);
	rt_view_state_compare(&was->state, &w->state, tell, &d);
	for (unsigned i = 0; i < N_KEYS; i++) {
		const struct plain *a = &was->keys[i], *b = &w->keys[i];

		n += a->there != b->there || (a->there && a->seq != b->seq);
	}
	assert_int_equal(d.n, n);
	assert_true(n > 0);
	/* Without a state before, everything is new. */
	t_ok(rt_view_state_init(&none->state, 1));
	d = (struct difference){ .was = none, .now = was };
	rt_view_state_compare(NULL, &was->state, tell, &d);
	assert_int_equal(d.n, was->state.table.n);
	rt_view_state_fini(&none->state);
	free(none);
	rt_view_state_fini(&was->state);
	free(was);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(transactions_happen_whole_or_not_at_all),
		T(an_empty_value_is_a_value),
		T(a_filled_state_is_complete),
		T(keys_out_of_order_are_refused),
		T(what_differs_between_two_states_is_told),
	};

	return cmocka_run_group_tests_name("view_state", tests, NULL, NULL);
}
