/* SPDX-License-Identifier: MIT */
/*
 * test_filter.c - client/filter.c, and filters together with transactions
 */
#include "tests/unit/rig.h"

#include <errno.h>

#define KEY(text) \
	{ \
		RINGTAIL_FILTER_KEY, 0, (text), sizeof(text) - 1, NULL, 0 \
	}
#define PREFIX(text) \
	{ \
		RINGTAIL_FILTER_PREFIX, 0, (text), sizeof(text) - 1, NULL, 0 \
	}
#define RANGE(from, to) \
	{ \
		RINGTAIL_FILTER_RANGE, 0, (from), sizeof(from) - 1, (to), \
			sizeof(to) - 1 \
	}

static bool wants(const struct ringtail_filter *filters, size_t n, const char *key,
		  size_t len)
{
	struct rt_filters made;
	bool yes;

	t_ok(rt_filters_init(filters, n, 0, NULL, &made));
	yes = rt_filters_match(&made, RT_OP_PUT, (const uint8_t *)key, len);
	rt_filters_fini(&made);
	rt_filters_fini(&made);
	return yes;
}

#define WANTS(filter, key) wants(&(filter), 1, (key), sizeof(key) - 1)

static void a_key_matches_itself_alone(void **state)
{
	const struct ringtail_filter f = KEY("foo");

	(void)state;
	assert_true(WANTS(f, "foo"));
	assert_false(WANTS(f, "fo"));
	assert_false(WANTS(f, "foobar"));
	assert_false(WANTS(f, "fop"));
	assert_false(WANTS(f, "foo\0"));
}

static void a_prefix_matches_what_begins_with_it(void **state)
{
	const struct ringtail_filter foo = PREFIX("foo");
	const struct ringtail_filter high = PREFIX("\xff\xff");
	const struct ringtail_filter zero = PREFIX("\0");
	const struct ringtail_filter all = { .kind = RINGTAIL_FILTER_PREFIX };

	(void)state;
	assert_true(WANTS(foo, "foo"));
	assert_true(WANTS(foo, "foobar"));
	assert_false(WANTS(foo, "fo"));
	assert_false(WANTS(foo, "fop"));
	assert_true(WANTS(high, "\xff\xff\0"));
	assert_false(WANTS(high, "\xff"));
	assert_true(WANTS(zero, "\0a"));
	assert_false(WANTS(zero, "a"));
	assert_true(WANTS(all, "anything"));
}

static void a_range_has_its_lower_end_and_not_its_upper(void **state)
{
	const struct ringtail_filter f = RANGE("b", "d");
	const struct ringtail_filter open_above = {
		RINGTAIL_FILTER_RANGE, 0, "b", 1, NULL, 0
	};
	const struct ringtail_filter open_below = {
		RINGTAIL_FILTER_RANGE, 0, NULL, 0, "d", 1
	};

	(void)state;
	assert_false(WANTS(f, "a\xff"));
	assert_true(WANTS(f, "b"));
	assert_true(WANTS(f, "b\0"));
	assert_true(WANTS(f, "c\xff\xff"));
	assert_false(WANTS(f, "d"));
	assert_false(WANTS(f, "d\0"));
	assert_true(WANTS(open_above, "\xff\xff"));
	assert_false(WANTS(open_above, "a"));
	assert_true(WANTS(open_below, "\0"));
	assert_false(WANTS(open_below, "d"));
}

static void bytes_compare_without_sign(void **state)
{
	const struct ringtail_filter f = RANGE("\x7f", "\x81");

	(void)state;
	assert_true(WANTS(f, "\x80"));
	assert_false(WANTS(f, "\x01"));
	assert_false(WANTS(f, "\xff"));
}

static void several_are_a_union_in_any_order(void **state)
{
	const struct ringtail_filter a[] = { KEY("zz"), PREFIX("ab"), KEY("q"),
					     RANGE("m", "n"), KEY("a") };
	const struct ringtail_filter b[] = { KEY("a"), RANGE("m", "n"), KEY("q"),
					     PREFIX("ab"), KEY("zz") };
	static const char *const keys[] = { "a", "ab", "abc", "b", "m", "mm",
					    "n", "q",  "qq",  "z", "zz" };

	(void)state;
	for (size_t i = 0; i < T_N(keys); i++) {
		bool want = strchr("m", keys[i][0]) || !strncmp(keys[i], "ab", 2) ||
			    !strcmp(keys[i], "a") || !strcmp(keys[i], "q") ||
			    !strcmp(keys[i], "zz");

		assert_int_equal(wants(a, T_N(a), keys[i], strlen(keys[i])), want);
		assert_int_equal(wants(b, T_N(b), keys[i], strlen(keys[i])), want);
	}
}

/* Against a plain walk over all of them. */
static void many_keys_are_found_as_few_are(void **state)
{
	static char texts[4096][8];
	static struct ringtail_filter filters[4096];
	struct rt_filters made;

	(void)state;
	for (size_t i = 0; i < T_N(filters); i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%zu",
			       i * 7919 % 4096 * 2 + 1);
		filters[i] =
			(struct ringtail_filter){ RINGTAIL_FILTER_KEY, 0,    texts[i],
						  strlen(texts[i]),    NULL, 0 };
	}
	t_ok(rt_filters_init(filters, T_N(filters), 0, NULL, &made));
	for (unsigned i = 0; i < 8192; i++) {
		char key[16];
		int len = snprintf(key, sizeof(key), "%u", i);

		assert_int_equal(
			rt_filters_match(&made, RT_OP_PUT, (uint8_t *)key, (size_t)len),
			i % 2);
	}
	rt_filters_fini(&made);
}

static void is_invalid(struct ringtail_filter f, const char *word)
{
	struct rt_fault fault = { "" };
	struct rt_filters made;

	t_is(rt_filters_init(&f, 1, 0, &fault, &made), -EINVAL);
	assert_non_null(strstr(fault.text, word));
}

static void what_contradicts_itself_is_invalid(void **state)
{
	struct ringtail_filter f = KEY("a");
	const struct ringtail_filter inverted = RANGE("b", "a");
	const struct ringtail_filter empty = RANGE("a", "a");
	const struct ringtail_filter longer = RANGE("ab", "a");
	const struct ringtail_filter no_key = { .kind = RINGTAIL_FILTER_KEY };
	struct rt_filters made;

	(void)state;
	is_invalid(inverted, "range");
	is_invalid(empty, "range");
	is_invalid(longer, "range");
	is_invalid(no_key, "empty key");
	f.kind = 0;
	is_invalid(f, "kind");
	f.kind = 4;
	is_invalid(f, "kind");
	f.kind = RINGTAIL_FILTER_KEY;
	f.reserved = 1;
	is_invalid(f, "filter 0");
	f.reserved = 0;
	f.b = "b";
	is_invalid(f, "upper");
	f.b = NULL;
	f.b_len = 1;
	is_invalid(f, "length");
	f.b_len = 0;
	f.a = NULL;
	is_invalid(f, "length");
	t_is(rt_filters_init(NULL, 1, 0, NULL, &made), -EINVAL);
	t_is(rt_filters_init(&inverted, 4097, 0, NULL, &made), -EINVAL);
	t_is(rt_filters_init(NULL, 0, 8, NULL, &made), -EINVAL);
	t_ok(rt_filters_init(NULL, 0, 7, NULL, &made));
	rt_filters_fini(&made);
}

static void operations_are_chosen_apart_from_keys(void **state)
{
	struct rt_filters made;

	(void)state;
	for (uint32_t ops = 0; ops < 8; ops++) {
		t_ok(rt_filters_init(NULL, 0, ops, NULL, &made));
		for (uint8_t op = RT_OP_PUT; op <= RT_OP_MESSAGE; op++)
			assert_int_equal(
				rt_filters_match(&made, op, (const uint8_t *)"k", 1),
				!ops || ops & 1u << (op - 1));
		assert_int_equal(made.all, ops == 0 || ops == 7);
		rt_filters_fini(&made);
	}
}

static uint32_t topics_of(const struct ringtail_filter *filters, size_t n)
{
	struct rt_filters made;
	uint32_t topics;

	t_ok(rt_filters_init(filters, n, 0, NULL, &made));
	topics = made.topics;
	rt_filters_fini(&made);
	return topics;
}

static void who_knows_the_first_part_of_its_keys_waits_for_it(void **state)
{
	const struct ringtail_filter key = KEY("web/a");
	const struct ringtail_filter whole = PREFIX("web/");
	const struct ringtail_filter part = PREFIX("web");
	const struct ringtail_filter range = RANGE("web/a", "web/b");
	const struct ringtail_filter two[] = { KEY("a"), KEY("b") };
	struct ringtail_filter nine[9];
	static const char digits[] = "abcdefghijklmnop";
	uint32_t any = 1u << RT_TOPIC_ANY;
	uint32_t web = 1u << rt_topic("web", 3);

	(void)state;
	assert_int_equal(topics_of(&key, 1), web);
	assert_int_equal(topics_of(&whole, 1), web);
	assert_int_equal(topics_of(&part, 1), any);
	assert_int_equal(topics_of(&range, 1), any);
	assert_int_equal(topics_of(NULL, 0), any);
	assert_int_equal(topics_of(two, 2),
			 1u << rt_topic("a", 1) | 1u << rt_topic("b", 1));
	for (size_t i = 0, at = 0; i < 9; at++) {
		uint32_t bit = 1u << rt_topic(&digits[at], 1);
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen |= bit == 1u << rt_topic(nine[k].a, 1);
		if (!seen)
			nine[i++] = (struct ringtail_filter){
				RINGTAIL_FILTER_KEY, 0, &digits[at], 1, NULL, 0
			};
	}
	assert_int_equal(topics_of(nine, 9), any);
	assert_int_not_equal(topics_of(nine, 8), any);
}

/*
 * ---- With transactions ----
 */

static struct ringtail *read_prefix(struct rig *rig, const char *prefix)
{
	static struct ringtail_filter filter;
	struct ringtail_options o = rig_after(0);

	filter = (struct ringtail_filter){ RINGTAIL_FILTER_PREFIX, 0,    prefix,
					   strlen(prefix),         NULL, 0 };
	o.filters = &filter;
	o.n_filters = 1;
	return rig_read(rig, o);
}

/* Puts these keys, each one letter, as a transaction. */
static void txn(struct rig *rig, const char *keys)
{
	rt_writer_begin(rig->w);
	for (; *keys; keys++)
		t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, keys, 1, "", 0));
	rt_writer_commit(rig->w);
}

static uint64_t marker_of(struct ringtail *r)
{
	char text[RINGTAIL_MARKER_SIZE];
	uint64_t seq;

	t_ok(ringtail_marker(r, text));
	t_ok(ringtail_marker_parse(text, &seq, NULL));
	return seq;
}

static void the_last_that_is_delivered_is_marked_last(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	txn(rig, "xaxaax"); /* 1 .. 6 */
	txn(rig, "xxx");    /* 7 .. 9 */
	txn(rig, "ax");     /* 10, 11 */
	r = read_prefix(rig, "a");

	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 2);
	assert_int_equal(event.flags, 0);
	assert_int_equal(event.rev, 6);
	assert_int_equal(event.txn_index, 1);
	assert_int_equal(event.txn_size, 6);
	assert_int_equal(ringtail_position(r), 2);
	assert_int_equal(marker_of(r), 0);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 4);
	assert_int_equal(ringtail_position(r), 4);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 5);
	assert_int_equal(event.flags, RINGTAIL_LAST);
	assert_int_equal(ringtail_position(r), 6);
	assert_int_equal(marker_of(r), 6);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 10);
	assert_int_equal(event.flags, RINGTAIL_LAST);
	assert_int_equal(marker_of(r), 11);
	assert_int_equal(rig_stats(r).filtered, 7);
}

static void a_filtered_transaction_moves_position_and_marker(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_options o = rig_from(RINGTAIL_START_MARKER);

	rig_open(rig);
	r = read_prefix(rig, "a");
	for (int i = 0; i < 20; i++) {
		txn(rig, "xyz");
		t_is(ringtail_next(r, &event, 0),
		     i ? RINGTAIL_NOTHING : RINGTAIL_CAUGHT_UP);
	}
	assert_int_equal(ringtail_position(r), 60);
	t_ok(ringtail_marker(r, marker));
	rig_put(rig, 10);
	o.marker = marker;
	r = rig_read(rig, o);
	rig_drain(r, 61, 70);
}

static void only_what_matches_is_in_a_transaction_or_batch(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event out[8];
	uint8_t data[64];
	struct ringtail_batch batch = { out, 8, data, sizeof(data), 0, 0, 0, 0, 0 };
	const struct ringtail_event *events;
	struct ringtail *r;
	size_t n;

	rig_open(rig);
	txn(rig, "xaxaax");
	txn(rig, "xxx");
	txn(rig, "ax");
	txn(rig, "xx");
	r = read_prefix(rig, "a");
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 3);
	assert_int_equal(events[0].flags, 0);
	assert_int_equal(events[2].seq, 5);
	assert_int_equal(events[2].flags, RINGTAIL_LAST);
	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 1);
	assert_int_equal(events[0].seq, 10);

	r = read_prefix(rig, "a");
	t_is(ringtail_next_batch(r, &batch, 0), RINGTAIL_EVENT);
	assert_int_equal(batch.n_events, 4);
	assert_int_equal(batch.n_txns, 2);
	assert_int_equal(out[3].seq, 10);
	assert_int_equal(out[2].flags, RINGTAIL_LAST);
	t_is(ringtail_next_batch(r, &batch, 0), RINGTAIL_NOTHING);
	assert_int_equal(ringtail_position(r), 13);
	assert_int_equal(batch.n_events, 0);
}

static void a_sleeper_is_left_asleep_by_other_topics(void **state)
{
	static const struct ringtail_filter filter = KEY("mine/x");
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct rig_sleeper s;
	struct ringtail *r;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &s.event, 0), RINGTAIL_CAUGHT_UP);
	rig_sleep_begin(&s, r);
	rig_put(rig, 10);
	t_ok(rt_writer_one(rig->w, RT_OP_PUT, 0, "mine/x", 6, "", 0));
	t_is(rig_sleep_end(&s), RINGTAIL_EVENT);
	assert_int_equal(s.event.seq, 11);
	if (r->sleeper.no_waitv)
		return; /* then sleeps are short */
	assert_int_equal(rig_stats(r).sleeps, 1);
	assert_int_equal(rig_stats(r).spurious_wakes, 0);
}

/* Or it would be lapped asleep by what it does not care for. */
static void a_sleeper_of_a_quiet_topic_is_woken_each_quarter(void **state)
{
	static const struct ringtail_filter filter = KEY("mine/x");
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct rig_sleeper s;
	struct ringtail *r;
	uint64_t position = 0;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &s.event, 0), RINGTAIL_CAUGHT_UP);
	rig_sleep_begin(&s, r);
	for (unsigned i = 0; i < 200; i++) {
		rig_put(rig, 1);
		if (i % 4 == 3)
			assert_true(t_within_ms(900, rig_is_asleep, &s));
		if (i % 4 == 3)
			t_sleep_ms(1);
	}
	t_ok(rt_writer_one(rig->w, RT_OP_PUT, 0, "mine/x", 6, "", 0));
	t_is(rig_sleep_end(&s), RINGTAIL_EVENT);
	assert_int_equal(s.event.seq, 201);
	position = ringtail_position(r);
	assert_int_equal(position, 201);
	assert_int_equal(rig_stats(r).lost, 0);
	assert_int_equal(rig_stats(r).filtered, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(a_key_matches_itself_alone),
		T0(a_prefix_matches_what_begins_with_it),
		T0(a_range_has_its_lower_end_and_not_its_upper),
		T0(bytes_compare_without_sign),
		T0(several_are_a_union_in_any_order),
		T0(many_keys_are_found_as_few_are),
		T0(what_contradicts_itself_is_invalid),
		T0(operations_are_chosen_apart_from_keys),
		T0(who_knows_the_first_part_of_its_keys_waits_for_it),
		T(the_last_that_is_delivered_is_marked_last),
		T(a_filtered_transaction_moves_position_and_marker),
		T(only_what_matches_is_in_a_transaction_or_batch),
		T(a_sleeper_is_left_asleep_by_other_topics),
		T(a_sleeper_of_a_quiet_topic_is_woken_each_quarter),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
