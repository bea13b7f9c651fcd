/* SPDX-License-Identifier: MIT */
/*
 * Where reading begins: now, after a seq, after a marker.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void b1_now_answers_at_once_and_brings_only_what_follows(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 9);

	struct ringtail *reader = t_open(feed, t_from(RINGTAIL_START_NOW));

	t_is(ringtail_next(reader, &event, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	assert_int_equal(ringtail_position(reader), 9);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
	t_put(feed, "k", "ten");
	t_drained(reader, "10:k=ten;");
	t_close(reader);
}

static void b2_after_a_seq_never_brings_that_seq(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 5);
	for (uint64_t after = 0; after < 5; after++) {
		struct ringtail *reader = t_open(feed, t_after(after));

		for (uint64_t seq = after + 1; seq <= 5; seq++)
			t_next_is(reader, seq);
		t_drained(reader, "");
		t_close(reader);
	}
}

static void b2_after_the_last_seq_waits_for_the_next_commit(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);

	struct ringtail *reader = t_open(feed, t_after(3));

	t_drained(reader, "caught-up");
	t_put(feed, "k", "four");
	t_next_is(reader, 4);
	t_drained(reader, "");
	t_close(reader);
}

static void b3_a_seq_above_the_newest_is_future_at_once(void **state)
{
	static const uint64_t seqs[] = { 4, 43, UINT64_MAX - 1, UINT64_MAX };
	struct t_feed *feed = *state;
	struct ringtail *reader = NULL;
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t epoch;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	t_feed_marker(feed, marker);
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));

	for (size_t i = 0; i < T_N(seqs); i++) {
		char number[32];

		t_is(t_try_open(feed, t_after(seqs[i]), &reader), RINGTAIL_E_FUTURE);
		(void)snprintf(number, sizeof(number), "%" PRIu64, seqs[i]);
		assert_non_null(strstr(ringtail_error(NULL), number));
		assert_non_null(strstr(ringtail_error(NULL), "3"));
		t_ok(ringtail_marker_format(seqs[i], epoch, marker));
		t_is(t_try_open(feed, t_after_marker(marker), &reader),
		     RINGTAIL_E_FUTURE);
	}
}

static void b3_a_start_in_the_future_can_be_waited_for(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = t_after(9);

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	options.flags = RINGTAIL_ALLOW_FUTURE;

	struct ringtail *reader = t_open(feed, options);

	t_drained(reader, "caught-up");
	for (int seq = 4; seq <= 9; seq++) {
		t_put(feed, "k", "before");
		t_drained(reader, "");
	}
	t_put(feed, "k", "wanted");
	t_drained(reader, "10:k=wanted;");
	assert_int_equal(t_stats(reader).start, 9);
	t_close(reader);

	options.seq = UINT64_MAX; /* nothing can follow it */
	t_is(t_try_open(feed, options, &reader), RINGTAIL_E_FUTURE);
}

static void is_malformed(const struct t_feed *feed, const char *marker)
{
	struct ringtail *reader = NULL;
	int e = t_try_open(feed, t_after_marker(marker), &reader);

	if (e != RINGTAIL_E_MALFORMED)
		fail_msg("marker '%s': %d", marker, e);
	assert_null(reader);
}

static void b4_a_marker_that_is_none_is_malformed(void **state)
{
	struct t_feed *feed = *state;
	char good[RINGTAIL_MARKER_SIZE], bad[RINGTAIL_MARKER_SIZE + 8];
	struct t_random random = { 4 };

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 9);
	t_feed_marker(feed, good);

	is_malformed(feed, "");
	is_malformed(feed, "0");
	is_malformed(feed, "9");
	for (size_t cut = 1; cut < sizeof(good); cut++) {
		(void)snprintf(bad, sizeof(bad), "%.*s", (int)(42 - cut), good);
		is_malformed(feed, bad);
	}
	(void)snprintf(bad, sizeof(bad), "%s0", good);
	is_malformed(feed, bad);
	(void)snprintf(bad, sizeof(bad), "%s\n", good);
	is_malformed(feed, bad);
	(void)snprintf(bad, sizeof(bad), " %s", good);
	is_malformed(feed, bad);
	for (unsigned bit = 0; bit < 8 * 42; bit++) {
		memcpy(bad, good, sizeof(good));
		bad[bit / 8] = (char)(bad[bit / 8] ^ (1 << bit % 8));
		is_malformed(feed, bad);
	}
	for (int i = 0; i < 1000; i++) {
		for (unsigned at = 0; at < 42; at++)
			bad[at] = at == 16 || at == 33
					  ? '-'
					  : "0123456789abcdef"[t_random_below(&random,
									      16)];
		bad[42] = 0;
		is_malformed(feed, bad);
	}

	struct ringtail *reader = t_open(feed, t_after_marker(good));

	t_drained(reader, "caught-up");
	t_close(reader);
}

static void b5_a_marker_of_another_epoch_is_another_epoch(void **state)
{
	static const uint64_t seqs[] = { 0, 1, 5, 6, 1000 };
	struct t_feed *feed = *state;
	struct ringtail *reader = NULL;
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t epoch;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 5);
	t_feed_marker(feed, marker);
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));

	for (size_t i = 0; i < T_N(seqs); i++) {
		char named[32];

		t_ok(ringtail_marker_format(seqs[i], epoch ^ 1, marker));
		t_is(t_try_open(feed, t_after_marker(marker), &reader),
		     RINGTAIL_E_EPOCH);
		(void)snprintf(named, sizeof(named), "%016" PRIx64, epoch ^ 1);
		assert_non_null(strstr(ringtail_error(NULL), named));
		(void)snprintf(named, sizeof(named), "%016" PRIx64, epoch);
		assert_non_null(strstr(ringtail_error(NULL), named));
	}
}

static void b5_a_new_history_is_another_epoch(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_event event;
	struct ringtail *reader = NULL;
	char marker[RINGTAIL_MARKER_SIZE];

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 5);
	t_feed_marker(feed, marker);

	struct ringtail *attached = t_open(feed, t_from(RINGTAIL_START_OLDEST));

	t_feed_close(feed);
	options.dir = feed->dir;
	options.flags = RINGTAIL_WRITER_NEW_EPOCH;
	options.n_slots = 1024;
	options.payload_size = 65536;
	t_ok(ringtail_writer_open(T_FEED, &options, &feed->writer));
	feed->running = true;
	t_puts(feed, 5);

	t_is(t_try_open(feed, t_after_marker(marker), &reader), RINGTAIL_E_EPOCH);
	for (uint64_t seq = 1; seq <= 5; seq++)
		t_next_is(attached, seq);
	t_is(ringtail_next(attached, &event, T_AGES_NS), RINGTAIL_E_EPOCH);
	t_is(ringtail_next(attached, &event, T_AGES_NS), RINGTAIL_E_EPOCH);
	t_close(attached);
}

static void b6_two_readers_from_one_marker_see_the_same(void **state)
{
	struct t_feed *feed = *state;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *readers[2];
	struct t_random random = { 6 };

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 7);
	t_feed_marker(feed, marker);
	for (int i = 0; i < 40; i++) {
		uint64_t n = 1 + t_random_below(&random, 4);

		t_begin(feed);
		for (uint64_t j = 0; j < n; j++)
			t_put(feed, "key", "value");
		t_commit(feed);
	}
	for (int i = 0; i < 2; i++)
		readers[i] = t_open(feed, t_after_marker(marker));
	for (;;) {
		char markers[2][RINGTAIL_MARKER_SIZE];
		struct ringtail_event events[2];
		int outcomes[2];

		for (int i = 0; i < 2; i++) {
			outcomes[i] = ringtail_next(readers[i], &events[i], 0);
			t_ok(ringtail_marker(readers[i], markers[i]));
		}
		assert_int_equal(outcomes[0], outcomes[1]);
		assert_string_equal(markers[0], markers[1]);
		if (outcomes[0] == RINGTAIL_NOTHING)
			break;
		t_is(outcomes[0], RINGTAIL_EVENT);
		assert_int_equal(events[0].seq, events[1].seq);
		assert_int_equal(events[0].rev, events[1].rev);
		assert_int_equal(events[0].time_ns, events[1].time_ns);
		assert_int_equal(events[0].flags, events[1].flags);
	}
	assert_int_equal(ringtail_position(readers[0]), t_feed_seq(feed));
	t_close(readers[0]);
	t_close(readers[1]);
}

static void b7_the_marker_of_an_event_is_that_of_the_publisher(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	reader = t_open(feed, t_from(RINGTAIL_START_OLDEST));
	for (uint64_t seq = 1; seq <= 10; seq++) {
		char theirs[RINGTAIL_MARKER_SIZE], ours[RINGTAIL_MARKER_SIZE];

		t_put(feed, "k", "v");
		t_feed_marker(feed, theirs);
		if (seq == 1)
			t_drained(reader, "1:k=v;");
		else
			t_next_is(reader, seq);
		t_ok(ringtail_marker(reader, ours));
		assert_string_equal(ours, theirs);
		assert_int_equal(strlen(ours), 42);
	}
	t_close(reader);
}

static void b7_inside_a_transaction_the_marker_is_of_the_one_before(void **state)
{
	struct t_feed *feed = *state;
	char before[RINGTAIL_MARKER_SIZE], after[RINGTAIL_MARKER_SIZE];
	char marker[RINGTAIL_MARKER_SIZE];

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "v");
	t_feed_marker(feed, before);
	t_begin(feed);
	t_put(feed, "a", "1");
	t_put(feed, "b", "2");
	t_put(feed, "c", "3");
	t_commit(feed);
	t_feed_marker(feed, after);
	assert_true(strcmp(before, after) < 0);

	struct ringtail *reader = t_open(feed, t_after(1));

	for (uint64_t seq = 2; seq <= 4; seq++) {
		t_next_is(reader, seq);
		t_ok(ringtail_marker(reader, marker));
		assert_string_equal(marker, seq < 4 ? before : after);
	}
	t_close(reader);
	reader = t_open(feed, t_after_marker(before));
	t_drained(reader, "2:a=1 3:b=2 4:c=3;");
	t_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_EACH(b1_now_answers_at_once_and_brings_only_what_follows),
		T_EACH(b2_after_a_seq_never_brings_that_seq),
		T_EACH(b2_after_the_last_seq_waits_for_the_next_commit),
		T_EACH(b3_a_seq_above_the_newest_is_future_at_once),
		T_EACH(b3_a_start_in_the_future_can_be_waited_for),
		T_EACH(b4_a_marker_that_is_none_is_malformed),
		T_EACH(b5_a_marker_of_another_epoch_is_another_epoch),
		T_EMBEDDED(b5_a_new_history_is_another_epoch),
		T_EACH(b6_two_readers_from_one_marker_see_the_same),
		T_EACH(b7_the_marker_of_an_event_is_that_of_the_publisher),
		T_EACH(b7_inside_a_transaction_the_marker_is_of_the_one_before),
	};

	return cmocka_run_group_tests_name("conformance B", tests, NULL, NULL);
}
