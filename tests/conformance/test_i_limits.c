/* SPDX-License-Identifier: MIT */
/*
 * Limits: what is just allowed, and what is one byte too much.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

static uint8_t bytes[70000];

/* A transaction of @n puts with such keys and values; 0, or why it was refused. */
static int publish(struct t_feed *feed, size_t n, size_t key_len, size_t value_len)
{
	int refused = 0;

	memset(bytes, (int)('a' + t_feed_seq(feed) % 26), sizeof(bytes));
	t_begin(feed);
	for (size_t i = 0; i < n && !refused; i++)
		refused =
			t_add(feed, RINGTAIL_PUT, bytes, key_len, bytes, value_len, 0);
	feed->in_txn = false;
	if (!refused)
		return feed->by->commit(feed);
	t_ok(feed->by->abort(feed));
	return refused;
}

/* The newest transaction is that one. */
static void is_there(struct ringtail *reader, size_t n, size_t key_len,
		     size_t value_len)
{
	const struct ringtail_event *events;
	uint64_t position = ringtail_position(reader);
	size_t n_events;

	memset(bytes, (int)('a' + position % 26), sizeof(bytes));
	t_is(ringtail_next_txn(reader, &events, &n_events, 0), RINGTAIL_EVENT);
	assert_int_equal(n_events, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(events[i].seq, position + i + 1);
		assert_int_equal(events[i].key_len, key_len);
		assert_int_equal(events[i].value_len, value_len);
		assert_memory_equal(events[i].key, bytes, key_len);
		assert_memory_equal(events[i].value, bytes, value_len);
	}
}

static void nothing_happened(struct t_feed *feed, struct ringtail *reader, uint64_t seq)
{
	struct ringtail_event event;

	assert_int_equal(t_feed_seq(feed), seq);
	assert_int_equal(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(ringtail_position(reader), seq);
}

/* Exactly the limit, and one more, at many places of the ring. */
static void limit_is_exact(struct t_feed *feed, size_t n, size_t key_len,
			   size_t value_len, size_t more_events, size_t more_key,
			   size_t more_value)
{
	struct ringtail *reader = t_open(feed, t_from(RINGTAIL_START_NOW));

	t_drained(reader, "caught-up");
	for (size_t round = 0; round < 60; round++) {
		uint64_t seq;

		t_ok(publish(feed, 1 + round % 3, 1 + round % 30, round * 7 % 100));
		is_there(reader, 1 + round % 3, 1 + round % 30, round * 7 % 100);
		t_ok(publish(feed, n, key_len, value_len));
		is_there(reader, n, key_len, value_len);
		seq = t_feed_seq(feed);
		t_is(publish(feed, n + more_events, key_len + more_key,
			     value_len + more_value),
		     RINGTAIL_E_TOO_BIG);
		nothing_happened(feed, reader, seq);
	}
	t_close(reader);
}

static void i1_a_transaction_of_exactly_the_limit_is_accepted(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	struct ringtail_info info;

	t_feed_start(feed, smallest);
	reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	info = t_info(reader);
	t_close(reader);
	assert_int_equal(info.max_txn_events, 16);
	assert_int_equal(info.max_txn_bytes, 1024);

	limit_is_exact(feed, info.max_txn_events, 3, 1, 1, 0, 0);
	limit_is_exact(feed, 1, 24, info.max_txn_bytes - 24, 0, 0, 1);
	limit_is_exact(feed, 1, 25, info.max_txn_bytes - 25, 0, 0, 1);
	limit_is_exact(feed, 4, 6, info.max_txn_bytes / 4 - 6, 0, 0, 1);
	limit_is_exact(feed, 8, 100, info.max_txn_bytes / 8 - 100, 0, 0, 1);
	/* Full in both ways, each event with some bytes to round up. */
	limit_is_exact(feed, 16, 25, info.max_txn_bytes / 16 - 25, 1, 0, 0);
}

static void i1_keys_and_values_have_limits_of_their_own(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	struct ringtail_info info;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64,
					    .payload_size = 4096,
					    .max_key = 50,
					    .max_value = 200 });
	reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	info = t_info(reader);
	t_close(reader);
	assert_int_equal(info.max_key, 50);
	assert_int_equal(info.max_value, 200);
	limit_is_exact(feed, 1, 50, 10, 0, 1, 0);
	limit_is_exact(feed, 1, 10, 200, 0, 0, 1);
	limit_is_exact(feed, 4, 50, 200, 0, 1, 0);
}

static void i1_single_events_that_are_too_big_change_nothing(void **state)
{
	static const size_t lens[] = { 1024, 1025, 4096, 65536 };
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	reader = t_open(feed, t_after(0));
	t_drained(reader, "caught-up");
	for (size_t i = 0; i < T_N(lens); i++) {
		t_is(t_add(feed, RINGTAIL_PUT, "k", 1, bytes, lens[i], 0),
		     RINGTAIL_E_TOO_BIG);
		t_is(t_add(feed, RINGTAIL_MESSAGE, "k", 1, bytes, lens[i], 0),
		     RINGTAIL_E_TOO_BIG);
		if (lens[i] > 1024)
			t_is(t_add(feed, RINGTAIL_PUT, bytes, lens[i], "v", 1, 0),
			     RINGTAIL_E_TOO_BIG);
		nothing_happened(feed, reader, i);
		t_put(feed, "k", "v");
		t_next_is(reader, i + 1);
	}
	t_close(reader);
}

/* An embedded writer may go on with a transaction from which an event was refused. */
static void i1_a_refused_event_leaves_its_transaction_as_it_was(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	void *room;

	t_feed_start(feed, smallest);
	reader = t_open(feed, t_after(0));
	t_begin(feed);
	t_put(feed, "a", "1");
	t_is(t_add(feed, RINGTAIL_PUT, "b", 1, bytes, 1023, 0), RINGTAIL_E_TOO_BIG);
	t_is(t_add(feed, RINGTAIL_PUT, "", 0, "v", 1, 0), -EINVAL);
	t_is(t_add(feed, RINGTAIL_DELETE, "d", 1, "v", 1, 0), -EINVAL);
	t_is(t_add(feed, 9, "d", 1, "v", 1, 0), -EINVAL);
	t_is(t_add(feed, RINGTAIL_PUT, "d", 1, "v", 1, RINGTAIL_EXPIRED), -EINVAL);
	t_is(ringtail_claim(feed->writer, "c", 1, 1022, 0, &room), RINGTAIL_E_TOO_BIG);
	t_ok(ringtail_claim(feed->writer, "c", 1, 40, 0, &room));
	memset(room, 'c', 40);
	t_put(feed, "e", "2");
	t_commit(feed);
	t_drained(reader, "1:a=1 2:c=cccccccccccccccccccccccccccccccccccccccc 3:e=2;");
	t_close(reader);
}

/*
 * ---- I2: sizes that are none ----
 */

static void i2_senseless_sizes_are_invalid(void **state)
{
	static const struct {
		uint64_t payload_size;
		uint32_t n_slots, max_key, max_value;
		const char *names; /* what the text is about */
	} cases[] = {
		{ 4096, 1, 0, 0, "slots" },
		{ 4096, 32, 0, 0, "slots" },
		{ 4096, 63, 0, 0, "slots" },
		{ 4096, 65, 0, 0, "slots" },
		{ 4096, 1u << 27, 0, 0, "slots" },
		{ 4096, UINT32_MAX, 0, 0, "slots" },
		{ 1, 64, 0, 0, "payload" },
		{ 2048, 64, 0, 0, "payload" },
		{ 4095, 64, 0, 0, "payload" },
		{ 4097, 64, 0, 0, "payload" },
		{ 12288, 64, 0, 0, "payload" },
		{ UINT64_C(1) << 35, 64, 0, 0, "payload" },
		{ UINT64_MAX, 64, 0, 0, "payload" },
		{ 4096, 64, 65536, 0, "key" },
		{ 4096, 64, UINT32_MAX, 0, "key" },
		{ 4096, 64, 0, 1025, "value" },
		{ 4096, 64, 0, UINT32_MAX, "value" },
	};
	struct t_feed *feed = *state;

	for (size_t i = 0; i < T_N(cases); i++) {
		struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
		struct ringtail_writer *writer = NULL;
		int e;

		options.dir = feed->dir;
		options.n_slots = cases[i].n_slots;
		options.payload_size = cases[i].payload_size;
		options.max_key = cases[i].max_key;
		options.max_value = cases[i].max_value;
		e = ringtail_writer_open(T_FEED, &options, &writer);
		if (e != -EINVAL || !strstr(ringtail_error(NULL), cases[i].names))
			fail_msg("case %zu: %d: %s", i, e, ringtail_error(NULL));
		assert_null(writer);
	}
	assert_int_not_equal(access(t_feed_file(feed, "ring"), F_OK), 0);
}

static void i2_names_that_are_none_are_invalid(void **state)
{
	static const char *const names[] = { "",        ".",        "..",   "-x",
					     ".hidden", "a/b",      "../x", "a b",
					     "a\n",     "\xc3\xa9", "a\x01" };
	struct t_feed *feed = *state;
	char longest[RINGTAIL_NAME_MAX + 2];
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_options from = RINGTAIL_OPTIONS_INIT;
	struct ringtail_writer *writer = NULL;
	struct ringtail *reader = NULL;

	options.dir = feed->dir;
	options.n_slots = 64;
	options.payload_size = 4096;
	from.dir = feed->dir;
	for (size_t i = 0; i < T_N(names); i++) {
		t_is(ringtail_writer_open(names[i], &options, &writer), -EINVAL);
		t_is(ringtail_open(names[i], &from, &reader), -EINVAL);
	}
	t_is(ringtail_writer_open(NULL, &options, &writer), -EINVAL);
	t_is(ringtail_open(NULL, &from, &reader), -EINVAL);

	memset(longest, 'n', sizeof(longest));
	longest[RINGTAIL_NAME_MAX + 1] = 0;
	t_is(ringtail_writer_open(longest, &options, &writer), -EINVAL);
	longest[RINGTAIL_NAME_MAX] = 0;
	t_ok(ringtail_writer_open(longest, &options, &writer));
	t_ok(ringtail_open(longest, &from, &reader));
	ringtail_close(reader);
	ringtail_writer_close(writer);
}

#ifdef T_HAVE_DAEMON
static void i2_ringtaild_refuses_senseless_sizes_at_the_start(void **state)
{
	static const struct {
		const char *spec, *names;
	} cases[] = {
		{ "main,size=0", "size" },
		{ "main,size=1", "size" },
		{ "main,size=100000", "size" },
		{ "main,size=-1", "size" },
		{ "main,size=64Q", "size" },
		{ "main,size=99999999999999999999", "size" },
		{ "main,size=", "size" },
		{ "main,slots=63", "slots" },
		{ "main,slots=32", "slots" },
		{ "main,slots=134217728", "slots" },
		{ "main,payload=2048", "payload" },
		{ "main,payload=5000", "payload" },
		{ "main,payload=32G", "payload" },
		{ "main,max_key=0", "max_key" },
		{ "main,max_key=65536", "max_key" },
		{ "main,payload=4K,max_value=1025", "value" },
		{ "main,nonsense=1", "nonsense" },
		{ "..,size=1M", "feed" },
	};
	struct t_feed *feed = *state;

	for (size_t i = 0; i < T_N(cases); i++) {
		struct t_daemon *d = &feed->daemon;
		int code;

		if (!d->dir) {
			d->dir = feed->dir;
			d->socket = strdup(t_path(d->dir, "ringtail.sock"));
			d->log = strdup(t_path(d->dir, "ringtaild.log"));
			d->args[0] = "--feed";
		}
		(void)remove(d->log);
		d->args[1] = cases[i].spec;
		code = t_daemon_refuses(d);
		if (code != 2 || !t_daemon_logged(d, cases[i].names))
			fail_msg("%s: exit %d", cases[i].spec, code);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(i1_a_transaction_of_exactly_the_limit_is_accepted),
		T_BOTH(i1_keys_and_values_have_limits_of_their_own),
		T_BOTH(i1_single_events_that_are_too_big_change_nothing),
		T_EMBEDDED(i1_a_refused_event_leaves_its_transaction_as_it_was),
		T_EMBEDDED(i2_senseless_sizes_are_invalid),
		T_EMBEDDED(i2_names_that_are_none_are_invalid),
#ifdef T_HAVE_DAEMON
		T_DAEMON(i2_ringtaild_refuses_senseless_sizes_at_the_start),
#endif
	};

	return cmocka_run_group_tests_name("conformance I, limits", tests, NULL, NULL);
}
