/* SPDX-License-Identifier: MIT */
/*
 * The cases of lapping and of filters where ringtaild keeps a log: history reaches
 * beyond the ring, and a reader may be as slow as it likes.
 */
#include "tests/support/feed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

/* Puts of t_value() up to seq @last, many on their way at once. */
static void put_values(struct t_feed *feed, uint64_t from, uint64_t last)
{
	for (uint64_t seq = from; seq <= last; seq++) {
		uint8_t value[T_VALUE_MAX];
		size_t len = t_value(seq, value);

		(void)redisAppendCommand(feed->redis, "SET key %b", value, len);
	}
	for (uint64_t seq = from; seq <= last; seq++) {
		redisReply *reply = NULL;

		assert_int_equal(redisGetReply(feed->redis, (void **)&reply), REDIS_OK);
		assert_int_equal(reply->type, REDIS_REPLY_STATUS);
		freeReplyObject(reply);
	}
}

/* Lets go of what is below @seq, once a snapshot covers it; the oldest that stays. */
static uint64_t trim(struct t_feed *feed, uint64_t seq)
{
	uint64_t oldest, then;

	do {
		redisReply *reply = redisCommand(feed->redis, "RINGTAIL.TRIM %llu",
						 (unsigned long long)seq);

		assert_non_null(reply);
		if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
			fail_msg("RINGTAIL.TRIM: %s", reply->str ? reply->str : "?");
		oldest = (uint64_t)reply->element[0]->integer;
		then = (uint64_t)reply->element[1]->integer;
		freeReplyObject(reply);
		if (oldest < then)
			t_sleep_ms(1);
	} while (oldest < then);
	return oldest;
}

static void reads_on(struct ringtail *reader, uint64_t last)
{
	while (ringtail_position(reader) < last) {
		uint64_t seq = ringtail_position(reader) + 1;
		struct ringtail_event event;

		t_is(ringtail_next(reader, &event, T_AGES_NS), RINGTAIL_EVENT);
		assert_int_equal(event.seq, seq);
		assert_true(t_is_value(event.value, event.value_len, seq));
	}
	t_drained(reader, "");
}

static void c1_history_begins_where_it_was_cut(void **state)
{
	const uint64_t last = 5000;
	struct t_feed *feed = *state;
	struct ringtail *reader = NULL;
	char number[32];
	uint64_t oldest;

	t_feed_start(feed, smallest);
	put_values(feed, 1, last);
	reader = t_open(feed, t_after(0));
	reads_on(reader, last);
	t_close(reader);

	oldest = trim(feed, 3000);
	assert_int_equal(oldest, 3000);
	assert_int_equal(trim(feed, 3000), oldest);
	assert_int_equal(trim(feed, 1), oldest);
	(void)snprintf(number, sizeof(number), "%" PRIu64, oldest);

	reader = t_open(feed, t_after(oldest - 1));
	reads_on(reader, last);
	t_close(reader);
	reader = t_open(feed, t_after(oldest));
	reads_on(reader, last);
	t_close(reader);
	reader = t_open(feed, t_from(RINGTAIL_START_OLDEST));
	assert_int_equal(ringtail_position(reader), oldest - 1);
	reads_on(reader, last);
	t_close(reader);
	t_is(t_try_open(feed, t_after(oldest - 2), &reader), RINGTAIL_E_COMPACTED);
	assert_non_null(strstr(ringtail_error(NULL), number));
	t_is(t_try_open(feed, t_after(0), &reader), RINGTAIL_E_COMPACTED);
	assert_non_null(strstr(ringtail_error(NULL), number));
}

static void c1_what_is_not_there_yet_is_not_cut(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	redisReply *reply;

	t_feed_start(feed, smallest);
	put_values(feed, 1, 100);
	reply = redisCommand(feed->redis, "RINGTAIL.TRIM 101");
	assert_int_equal(reply->type, REDIS_REPLY_ERROR);
	freeReplyObject(reply);
	reader = t_open(feed, t_after(0));
	reads_on(reader, 100);
	t_close(reader);
}

static void c4_a_slow_reader_misses_nothing(void **state)
{
	struct t_feed *feed = *state;
	struct t_random random = { 0xc41 };
	struct ringtail *reader;
	uint64_t seq = 0;

	t_feed_start(feed, smallest);
	reader = t_open(feed, t_after(0)); /* which stops at a gap */
	t_drained(reader, "caught-up");
	while (seq < 30000) {
		uint64_t burst = 1 + t_random_below(&random, 300);
		uint64_t n = t_random_below(&random, 300);

		put_values(feed, seq + 1, seq + burst);
		seq += burst;
		n = ringtail_position(reader) + n;
		while (ringtail_position(reader) < (n < seq ? n : seq)) {
			uint64_t next = ringtail_position(reader) + 1;
			struct ringtail_event event;

			t_is(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
			assert_int_equal(event.seq, next);
			assert_true(t_is_value(event.value, event.value_len, next));
		}
		assert_true(t_accounts_add_up(reader));
	}
	reads_on(reader, seq);
	assert_int_equal(t_stats(reader).gaps, 0);
	t_close(reader);
}

struct slow_reader {
	const struct t_feed *feed;
	const _Atomic uint64_t *last; /* 0: not known yet */
	unsigned pause_us;            /* at times */
	uint64_t seen;
	int wrong; /* an outcome that must not be; 0: none */
	pthread_t thread;
};

static int read_slowly(struct slow_reader *slow, struct ringtail *reader)
{
	struct ringtail_event event;

	for (;;) {
		uint64_t last = *slow->last;
		int outcome;

		if (last && slow->seen == last)
			return t_accounts_add_up(reader) ? 0 : 100;
		outcome = ringtail_next(reader, &event, 10 * T_MS);
		if (outcome == RINGTAIL_NOTHING || outcome == RINGTAIL_CAUGHT_UP)
			continue;
		if (outcome != RINGTAIL_EVENT)
			return outcome;
		if (event.seq != ++slow->seen ||
		    !t_is_value(event.value, event.value_len, event.seq))
			return 101;
		if (slow->pause_us && event.seq % 500 == 0)
			usleep(slow->pause_us);
	}
}

static void *slow_thread(void *arg)
{
	struct slow_reader *slow = arg;
	struct ringtail *reader;

	slow->wrong = t_try_open(slow->feed, t_after(0), &reader);
	if (!slow->wrong) {
		slow->wrong = read_slowly(slow, reader);
		ringtail_close(reader);
	}
	return NULL;
}

static void c7_slow_readers_have_no_gap_at_all(void **state)
{
	static struct slow_reader readers[4];
	static _Atomic uint64_t last;
	struct t_feed *feed = *state;
	uint64_t end, seq = 0;

	last = 0;
	t_feed_start(feed, (struct t_ring){ .n_slots = 128, .payload_size = 8192 });
	for (unsigned i = 0; i < T_N(readers); i++) {
		readers[i] = (struct slow_reader){ .feed = feed,
						   .last = &last,
						   .pause_us = i * i * 500 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, slow_thread,
						&readers[i]),
				 0);
	}
	end = t_now_ns() + 2000 * (uint64_t)T_MS;
	while (t_now_ns() < end && seq < 400000) {
		put_values(feed, seq + 1, seq + 200);
		seq += 200;
	}
	last = seq;
	for (unsigned i = 0; i < T_N(readers); i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_int_equal(readers[i].wrong, 0);
		assert_int_equal(readers[i].seen, seq);
	}
	printf("# C7: %" PRIu64 " events, no gap\n", seq);
}

static void e4_a_marker_moved_past_what_is_cut_still_works(void **state)
{
	const struct ringtail_filter wanted = { .kind = RINGTAIL_FILTER_KEY,
						.a = "wanted",
						.a_len = 6 };
	struct ringtail_options options = t_after(0);
	struct t_feed *feed = *state;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_event event;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	options.filters = &wanted;
	options.n_filters = 1;
	reader = t_open(feed, options);
	put_values(feed, 1, 1000);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_CAUGHT_UP);
	assert_int_equal(ringtail_position(reader), 1000);
	assert_int_equal(t_stats(reader).filtered, 1000);
	t_ok(ringtail_marker(reader, marker));
	t_close(reader);

	assert_true(trim(feed, 990) > 1);
	t_put(feed, "wanted", "v");
	reader = t_open(feed, t_after_marker(marker));
	t_drained(reader, "1001:wanted=v;");
	t_close(reader);
	t_is(t_try_open(feed, t_after(0), &reader), RINGTAIL_E_COMPACTED);
}

static void h1_all_of_history_is_there_after_a_crash(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *attached, *late;

	t_feed_start(feed, smallest);
	attached = t_open(feed, t_after(0));
	t_drained(attached, "caught-up");
	for (uint64_t n = 0; n < 5; n++) {
		put_values(feed, 1 + 1000 * n, 1000 + 1000 * n);
		t_feed_kill(feed);
		late = t_open(feed, t_after(0)); /* with no writer there */
		reads_on(late, 1000 + 1000 * n);
		t_feed_start(feed, smallest);
		assert_int_equal(t_feed_seq(feed), 1000 + 1000 * n);
		t_close(late);
	}
	reads_on(attached, 5000);
	assert_int_equal(t_stats(attached).gaps, 0);
	t_close(attached);
}

/*
 * ---- I3: damaged logs ----
 */

#define N_DAMAGED 400
#define I3_LAST   2000

struct damaged_log {
	const struct t_feed *feed;
	char files[16][300];
	size_t n_files;
	uint64_t seed;
};

static void list_log(const struct t_feed *feed, struct damaged_log *d)
{
	char *names, *state = NULL;

	assert_int_equal(t_sh(&names, "find '%s' -type f", t_feed_file(feed, "log")),
			 0);
	for (char *at = strtok_r(names, "\n", &state); at && d->n_files < 16;
	     at = strtok_r(NULL, "\n", &state))
		(void)snprintf(d->files[d->n_files++], sizeof(d->files[0]), "%s", at);
	free(names);
	assert_true(d->n_files > 2);
}

/* Reads all; what comes is right, and what does not has a reason with a name. */
static int read_damaged(const struct damaged_log *d, unsigned *refused)
{
	struct ringtail *reader;
	struct ringtail_event event;
	int outcome = t_try_open(d->feed, t_after(0), &reader);
	uint64_t seq = 0;

	*refused += outcome != 0;
	if (outcome)
		return strlen(ringtail_error(NULL)) > 10 ? 0 : 1;
	while ((outcome = ringtail_next(reader, &event, 0)) == RINGTAIL_EVENT)
		if (event.seq != ++seq ||
		    !t_is_value(event.value, event.value_len, seq))
			return 2;
	*refused += outcome < 0;
	if (outcome >= 0 && outcome != RINGTAIL_NOTHING)
		return 3;
	if (outcome == RINGTAIL_NOTHING && seq != I3_LAST)
		return 4; /* silently less than there is */
	if (outcome == RINGTAIL_E_CORRUPT &&
	    !strstr(ringtail_error(reader), d->feed->dir))
		return 5;
	if (!t_accounts_add_up(reader))
		return 6;
	ringtail_close(reader);
	return 0;
}

static size_t damage(struct t_random *random, uint8_t *bytes, size_t len)
{
	size_t at = t_random_below(random, len);

	switch (t_random_below(random, 5)) {
	case 0:
		return at; /* cut */
	case 1:
		memset(bytes + at, 0, len - at < 4096 ? len - at : 4096);
		return len;
	case 2:
		memset(bytes + at, 0xff, len - at < 8 ? len - at : 8);
		return len;
	case 3:
		for (size_t i = at; i < len && i < at + 64; i++)
			bytes[i] = (uint8_t)t_random64(random);
		return len;
	default:
		bytes[at] ^= (uint8_t)(1u << t_random_below(random, 8));
		return len;
	}
}

/* In a child: file after file, damage after damage. */
static int read_all_damaged(void *arg)
{
	const struct damaged_log *d = arg;
	struct t_random random = { d->seed };
	unsigned refused = 0;
	int wrong = 0;

	(void)alarm(100); /* who needs so long loops */
	for (int i = 0; i < N_DAMAGED && !wrong; i++) {
		const char *path = d->files[t_random_below(&random, d->n_files)];
		size_t len = 0;
		uint8_t *good = (uint8_t *)t_read_file(path, &len);
		uint8_t *bad = malloc(len + 1);

		if (!good || !bad)
			return 7;
		memcpy(bad, good, len);
		t_write_file(path, bad, len ? damage(&random, bad, len) : 0);
		wrong = read_damaged(d, &refused);
		if (wrong)
			print_error("verdict %d: %s, damage %d\n", wrong, path, i);
		t_write_file(path, good, len);
		free(good);
		free(bad);
	}
	if (wrong || refused < N_DAMAGED / 10)
		return wrong ? wrong : 8;
	refused = 0;
	wrong = read_damaged(d, &refused);
	return wrong ? wrong : refused ? 9 : 0; /* whole again */
}

static void i3_a_damaged_log_is_an_error_that_names_it(void **state)
{
	struct t_feed *feed = *state;
	struct damaged_log d = { .feed = feed, .seed = t_now_ns() };

	t_feed_start(feed, smallest);
	put_values(feed, 1, I3_LAST);
	list_log(feed, &d);
	printf("# I3: seed %" PRIu64 ", %zu files\n", d.seed, d.n_files);
	t_feed_kill(feed);
	assert_int_equal(t_in_child(read_all_damaged, &d), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_LOG(c1_history_begins_where_it_was_cut),
		T_LOG(c1_what_is_not_there_yet_is_not_cut),
		T_LOG(c4_a_slow_reader_misses_nothing),
		T_LOG(c7_slow_readers_have_no_gap_at_all),
		T_LOG(e4_a_marker_moved_past_what_is_cut_still_works),
		T_LOG(h1_all_of_history_is_there_after_a_crash),
		T_LOG(i3_a_damaged_log_is_an_error_that_names_it),
	};

	return cmocka_run_group_tests_name("conformance, history", tests, NULL, NULL);
}
