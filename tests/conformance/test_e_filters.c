/* SPDX-License-Identifier: MIT */
/*
 * Filters, and the kinds of events.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ringtail_filter filter(uint32_t kind, const char *a, const char *b)
{
	return (struct ringtail_filter){
		.kind = kind,
		.a = a,
		.a_len = strlen(a),
		.b = b,
		.b_len = b ? strlen(b) : 0,
	};
}

static struct ringtail_filter key(const char *a)
{
	return filter(RINGTAIL_FILTER_KEY, a, NULL);
}

static struct ringtail_filter prefix(const char *a)
{
	return filter(RINGTAIL_FILTER_PREFIX, a, NULL);
}

static struct ringtail_filter range(const char *a, const char *b)
{
	return filter(RINGTAIL_FILTER_RANGE, a, b);
}

static struct ringtail *open_with(const struct t_feed *feed,
				  const struct ringtail_filter *filters, size_t n)
{
	struct ringtail_options options = t_after(0);

	options.filters = filters;
	options.n_filters = n;
	return t_open(feed, options);
}

/* From the beginning of the feed, with one filter: what is seen. */
static void sees(const struct t_feed *feed, struct ringtail_filter one,
		 const char *want)
{
	struct ringtail *reader = open_with(feed, &one, 1);

	t_drained(reader, want);
	t_close(reader);
}

/*
 * ---- E1 to E3: what matches ----
 */

static void e1_a_prefix_matches_what_begins_with_it(void **state)
{
	struct t_feed *feed = *state;
	static const char *const keys[] = { "foo", "foobar", "fo", "fop", "fon" };

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(keys); i++)
		t_put(feed, keys[i], "v");

	sees(feed, prefix("foo"), "1:foo=v;2:foobar=v;");
}

static void e1_keys_are_bytes(void **state)
{
	struct t_feed *feed = *state;
	static const struct {
		const char *bytes;
		size_t len;
	} keys[] = {
		{ "\x00", 1 },         { "\xff", 1 },     { "\xff\xff", 2 },
		{ "\xff\xff\x00", 3 }, { "\xff\xfe", 2 }, { "\x00\x00", 2 },
	};
	static const struct {
		const char *bytes;
		size_t len;
		unsigned want; /* bit for each key */
	} prefixes[] = {
		{ "\xff\xff", 2, 0x0c }, { "\x00", 1, 0x21 }, { "\xff", 1, 0x1e },
		{ "\x00\x00", 2, 0x20 }, { "", 0, 0x3f },     { "\x01", 1, 0 },
	};

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(keys); i++)
		t_ok(t_add(feed, RINGTAIL_PUT, keys[i].bytes, keys[i].len, "v", 1, 0));

	for (size_t i = 0; i < T_N(prefixes); i++) {
		struct ringtail_filter one = {
			.kind = RINGTAIL_FILTER_PREFIX,
			.a = prefixes[i].bytes,
			.a_len = prefixes[i].len,
		};
		struct ringtail *reader = open_with(feed, &one, 1);
		struct ringtail_event event;
		unsigned seen = 0;

		while (ringtail_next(reader, &event, 0) == RINGTAIL_EVENT)
			seen |= 1u << (event.seq - 1);
		assert_int_equal(seen, prefixes[i].want);
		assert_int_equal(ringtail_position(reader), T_N(keys));
		t_close(reader);
	}
}

static void e2_an_empty_range_is_invalid(void **state)
{
	struct t_feed *feed = *state;
	static const char *const bounds[][2] = {
		{ "b", "a" },
		{ "a", "a" },
		{ "ab", "a" },
		{ "\xff", "\x01" },
	};
	struct ringtail_options options = t_after(0);
	struct ringtail *reader = NULL;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(bounds); i++) {
		struct ringtail_filter filters[] = {
			prefix("fine"), range(bounds[i][0], bounds[i][1])
		};

		options.filters = filters;
		options.n_filters = 2;
		t_is(t_try_open(feed, options, &reader), -EINVAL);
		assert_non_null(strstr(ringtail_error(NULL), "filter 1"));
	}
}

/* Each of these says two things at once, or nothing that there is. */
static void e2_options_that_contradict_each_other_are_invalid(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options wrong[16];
	struct ringtail_filter filters[] = { key(""), prefix("p"), key("k"), key("k"),
					     key("k") };
	struct ringtail *reader = NULL;
	char marker[RINGTAIL_MARKER_SIZE];
	unsigned n = 0;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	t_feed_marker(feed, marker);
	filters[1].b = "q";
	filters[1].b_len = 1;
	filters[2].kind = 9;
	filters[3].a = NULL;

	wrong[n] = t_from(RINGTAIL_START_NOW);
	wrong[n++].seq = 1;
	wrong[n] = t_from(RINGTAIL_START_OLDEST);
	wrong[n++].marker = marker;
	wrong[n] = t_after(1);
	wrong[n++].time_ns = 1;
	wrong[n++] = t_from(RINGTAIL_START_MARKER);
	wrong[n++] = t_from(77);
	wrong[n] = t_after(0);
	wrong[n++].open_timeout_ns = 1;
	wrong[n] = t_after(0);
	wrong[n++].on_gap = 77;
	wrong[n] = t_after(0);
	wrong[n++].ops = 0x80;
	wrong[n] = t_after(0);
	wrong[n++].flags = 0x8000;
	wrong[n] = t_after(0);
	wrong[n++].wait = 77;
	wrong[n] = t_after(0);
	wrong[n++].size = 7;
	for (unsigned i = 0; i < 4; i++) {
		wrong[n] = t_after(0);
		wrong[n].filters = &filters[i];
		wrong[n++].n_filters = 1;
	}
	assert_true(n <= T_N(wrong));
	for (unsigned i = 0; i < n; i++) {
		int e = t_try_open(feed, wrong[i], &reader);

		if (e != -EINVAL)
			fail_msg("options %u: %d", i, e);
		assert_true(strlen(ringtail_error(NULL)) > 10);
	}
}

static void e3_overlapping_filters_bring_each_event_once(void **state)
{
	struct t_feed *feed = *state;
	const struct ringtail_filter orders[][4] = {
		{ prefix("abc"), prefix("ab"), prefix("a"), key("abc") },
		{ prefix("a"), prefix("ab"), prefix("abc"), key("abc") },
		{ prefix("ab"), key("abc"), prefix("abc"), prefix("a") },
		{ range("a", "b"), prefix("a"), key("abc"), range("ab", "ac") },
	};

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "abcd", "1");
	t_put(feed, "abc", "2");
	t_put(feed, "ab", "3");
	t_put(feed, "b", "4");
	t_put(feed, "a", "5");

	for (size_t i = 0; i < T_N(orders); i++) {
		struct ringtail *reader = open_with(feed, orders[i], 4);

		t_drained(reader, "1:abcd=1;2:abc=2;3:ab=3;5:a=5;");
		t_close(reader);
	}
}

/*
 * ---- E4, E5: what does not match ----
 */

static void e4_a_thousand_misses_move_the_position(void **state)
{
	struct t_feed *feed = *state;
	const struct ringtail_filter wanted = key("wanted");
	struct ringtail_event event;
	char marker[RINGTAIL_MARKER_SIZE], theirs[RINGTAIL_MARKER_SIZE];
	char early[RINGTAIL_MARKER_SIZE];
	struct ringtail *other = NULL;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64, .payload_size = 4096 });

	struct ringtail *reader = open_with(feed, &wanted, 1);

	t_drained(reader, "caught-up");
	for (int i = 0; i < 20; i++) {
		t_puts(feed, 50);
		t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
		if (i == 15)
			t_ok(ringtail_marker(reader, early));
	}
	assert_int_equal(ringtail_position(reader), 1000);
	assert_int_equal(t_stats(reader).filtered, 1000);
	t_ok(ringtail_marker(reader, marker));
	t_feed_marker(feed, theirs);
	assert_string_equal(marker, theirs);
	t_close(reader);

	/* History up to 960 or so is gone; the marker was moved past it. */
	t_put(feed, "wanted", "v");
	reader = t_open(feed, t_after_marker(marker));
	assert_true(t_info(reader).oldest > 900);
	t_drained(reader, "1001:wanted=v;");
	t_close(reader);
	t_is(t_try_open(feed, t_after_marker(early), &other), RINGTAIL_E_COMPACTED);
}

static void e5_only_the_kinds_that_were_asked_for(void **state)
{
	struct t_feed *feed = *state;
	static const struct {
		uint32_t ops;
		const char *want;
	} cases[] = {
		{ RINGTAIL_OPS_PUT, "1:a=1;3:b=3;" },
		{ RINGTAIL_OPS_DELETE, "4:-a;" },
		{ RINGTAIL_OPS_MESSAGE, "2:!m=2;" },
		{ RINGTAIL_OPS_PUT | RINGTAIL_OPS_DELETE, "1:a=1;3:b=3;4:-a;" },
		{ 0, "1:a=1;2:!m=2;3:b=3;4:-a;" },
	};

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "a", "1");
	t_message(feed, "m", "2");
	t_put(feed, "b", "3");
	t_delete(feed, "a");

	for (size_t i = 0; i < T_N(cases); i++) {
		struct ringtail_options options = t_after(0);
		struct ringtail *reader;

		options.ops = cases[i].ops;
		reader = t_open(feed, options);
		t_drained(reader, cases[i].want);
		assert_int_equal(ringtail_position(reader), 4);
		t_close(reader);
	}
}

/*
 * ---- E6, E7: kinds of events ----
 */

static void e6_created_says_that_the_key_was_new(void **state)
{
	struct t_feed *feed = *state;
	static const bool created[] = { true, false, false, true };
	static const uint32_t ops[] = { RINGTAIL_PUT, RINGTAIL_PUT, RINGTAIL_DELETE,
					RINGTAIL_PUT };
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(ops); i++)
		t_ok(t_add(feed, ops[i], "k", 1, "v", ops[i] == RINGTAIL_PUT,
			   created[i] ? RINGTAIL_CREATED : 0));

	struct ringtail *reader = t_open(feed, t_after(0));

	for (size_t i = 0; i < T_N(ops); i++) {
		t_is(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.op, ops[i]);
		assert_int_equal(event.flags & RINGTAIL_CREATED,
				 created[i] ? RINGTAIL_CREATED : 0);
		assert_int_equal(event.value_len, ops[i] == RINGTAIL_PUT);
	}
	t_close(reader);
}

static void e7_an_empty_or_equal_value_is_an_event(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "");
	t_put(feed, "k", "same");
	t_put(feed, "k", "same");
	t_message(feed, "m", "");

	struct ringtail *reader = t_open(feed, t_after(0));

	t_drained(reader, "1:k=;2:k=same;3:k=same;4:!m=;");
	t_close(reader);
}

#ifdef T_HAVE_DAEMON
/* An embedded writer keeps no state: what it is told to delete is deleted. */
static void e7_deleting_what_is_not_there_is_no_event(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	reader = t_open(feed, t_after(0));
	t_drained(reader, "caught-up");
	t_delete(feed, "k");
	t_reply(feed->redis, "0", "DEL a b c");
	t_message(feed, "k", "no state");
	t_delete(feed, "k");
	t_drained(reader, "1:!k=no state;");

	t_put(feed, "k", "v");
	t_reply(feed->redis, "1", "DEL a k c k");
	t_reply(feed->redis, "0", "DEL k");
	t_drained(reader, "2:k=v;3:-k;");
	assert_int_equal(t_feed_seq(feed), 3);
	t_close(reader);
}
#endif

/*
 * ---- E8: all together ----
 */

static void e8_ranges_prefixes_and_keys_see_their_own(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "/foo/a", "1");
	t_put(feed, "/foo/b", "2");
	t_delete(feed, "/foo/a");
	t_begin(feed);
	t_put(feed, "/foo/a", "4");
	t_delete(feed, "/foo/b");
	t_commit(feed);
	t_put(feed, "/foo/c", "6");
	t_put(feed, "/foo/bar", "7");
	t_put(feed, "/foo/baz", "8");

	sees(feed, range("/foo/a", "/foo/b"), "1:/foo/a=1;3:-/foo/a;4:/foo/a=4;");
	sees(feed, prefix("/foo/b"), "2:/foo/b=2;5:-/foo/b;7:/foo/bar=7;8:/foo/baz=8;");
	sees(feed, key("/foo/c"), "6:/foo/c=6;");
	sees(feed, range("/foo/bas", ""), "6:/foo/c=6;8:/foo/baz=8;");
	sees(feed, range("", "/foo/b"), "1:/foo/a=1;3:-/foo/a;4:/foo/a=4;");
	sees(feed, key("/foo"), "caught-up");
}

/* Filters narrow a sleeper's topics: whatever they are, its event wakes it. */
static void e8_a_filtered_reader_follows_live(void **state)
{
	struct t_feed *feed = *state;
	const struct ringtail_filter filters[] = { prefix("foo/"), key("bar"),
						   range("x", "y") };
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	reader = open_with(feed, filters, 3);
	t_drained(reader, "caught-up");
	for (int i = 0; i < 100; i++) {
		t_put(feed, "foo", "no");
		t_put(feed, "foo/1", "yes");
		t_put(feed, "bar/1", "no");
		t_put(feed, "bar", "yes");
		t_put(feed, "y", "no");
		t_put(feed, "x/1", "yes");
		for (int j = 0; j < 3; j++) {
			struct ringtail_event event;

			t_is(ringtail_next(reader, &event, T_AGES_NS), RINGTAIL_EVENT);
			assert_memory_equal(event.value, "yes", 3);
		}
	}
	t_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_EACH(e1_a_prefix_matches_what_begins_with_it),
		T_EACH(e1_keys_are_bytes),
		T_EACH(e2_an_empty_range_is_invalid),
		T_EACH(e2_options_that_contradict_each_other_are_invalid),
		T_EACH(e3_overlapping_filters_bring_each_event_once),
		T_BOTH(e4_a_thousand_misses_move_the_position),
		T_EACH(e5_only_the_kinds_that_were_asked_for),
		T_EACH(e6_created_says_that_the_key_was_new),
		T_EACH(e7_an_empty_or_equal_value_is_an_event),
#ifdef T_HAVE_DAEMON
		T_DAEMON(e7_deleting_what_is_not_there_is_no_event),
#endif
		T_EACH(e8_ranges_prefixes_and_keys_see_their_own),
		T_EACH(e8_a_filtered_reader_follows_live),
	};

	return cmocka_run_group_tests_name("conformance E", tests, NULL, NULL);
}
