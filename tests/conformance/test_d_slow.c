/* SPDX-License-Identifier: MIT */
/*
 * Readers for which history is always gone too early, each at a speed of its own.
 */
#include "tests/support/feed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

/*
 * Event @seq puts key "s<seq % 50>" with the value @seq; so what a state must be
 * follows from the seq that it is as of.
 */
#define N_S    50u
#define N_PUTS 60000u

struct slow {
	struct ringtail *reader;
	unsigned pause_us; /* after each hundred of anything */
	uint64_t resets;
	uint64_t seen[N_S];
	char wrong[200];
	pthread_t thread;
};

static void is_wrong(struct slow *slow, const char *what, uint64_t seq)
{
	if (!slow->wrong[0])
		(void)snprintf(slow->wrong, sizeof(slow->wrong), "%s, seq %" PRIu64,
			       what, seq);
}

static bool is_right_event(const struct ringtail_event *e)
{
	char want[48], got[48];

	(void)snprintf(want, sizeof(want), "s%" PRIu64 "=%" PRIu64, e->seq % N_S,
		       e->seq);
	(void)snprintf(got, sizeof(got), "%.*s=%.*s", (int)e->key_len,
		       (const char *)e->key, (int)e->value_len, (const char *)e->value);
	return strcmp(want, got) == 0;
}

/* The newest put of each key, up to @seq. */
static bool is_right_state(const struct slow *slow, uint64_t seq)
{
	for (uint64_t s = seq; s && s + N_S > seq; s--) {
		if (slow->seen[s % N_S] != s)
			return false;
	}
	return true;
}

static void take(struct slow *slow, int outcome, const struct ringtail_event *e,
		 uint64_t before)
{
	if (outcome == RINGTAIL_RESET) {
		slow->resets++;
		memset(slow->seen, 0, sizeof(slow->seen));
		return;
	}
	if (outcome == RINGTAIL_SNAPSHOT_END) {
		if (e->seq < before || !is_right_state(slow, e->seq))
			is_wrong(slow, "no such state", e->seq);
		return;
	}
	if (outcome != RINGTAIL_EVENT && outcome != RINGTAIL_SNAPSHOT)
		return;
	if (outcome == RINGTAIL_EVENT && e->seq != before + 1)
		is_wrong(slow, "not the next event", e->seq);
	if (!is_right_event(e))
		is_wrong(slow, "not that event", e->seq);
	slow->seen[e->seq % N_S] = e->seq;
}

static void *read_slowly(void *arg)
{
	struct slow *slow = arg;
	struct ringtail_event e;

	for (unsigned i = 1; !slow->wrong[0]; i++) {
		uint64_t before = ringtail_position(slow->reader);
		int outcome;

		if (before == N_PUTS)
			break;
		outcome = ringtail_next(slow->reader, &e, T_AGES_NS);
		if (outcome < 0)
			is_wrong(slow, ringtail_error(slow->reader), before);
		else
			take(slow, outcome, &e, before);
		if (!t_accounts_add_up(slow->reader))
			is_wrong(slow, "accounts", before);
		if (i % 100 == 0 && slow->pause_us)
			(void)usleep(slow->pause_us);
	}
	return NULL;
}

static void put_numbers(struct t_feed *feed, uint64_t from, uint64_t to)
{
	for (uint64_t seq = from; seq <= to; seq++)
		(void)redisAppendCommand(feed->redis, "SET s%llu %llu",
					 (unsigned long long)(seq % N_S),
					 (unsigned long long)seq);
	for (uint64_t seq = from; seq <= to; seq++) {
		redisReply *reply = NULL;

		assert_int_equal(redisGetReply(feed->redis, (void **)&reply), REDIS_OK);
		assert_int_equal(reply->type, REDIS_REPLY_STATUS);
		freeReplyObject(reply);
	}
}

/* History is cut all the time, right behind the newest event. */
static void c8_who_is_far_too_slow_is_given_right_states(void **state)
{
	struct t_feed *feed = *state;
	struct slow slows[3] = { { .pause_us = 0 },
				 { .pause_us = 2000 },
				 { .pause_us = 10000 } };
	uint64_t resets = 0;

	t_feed_start(feed, smallest);
	for (unsigned i = 0; i < 3; i++) {
		struct ringtail_options options = t_from(RINGTAIL_START_SNAPSHOT);

		options.on_gap = RINGTAIL_ON_GAP_RESYNC;
		slows[i].reader = t_open(feed, options);
		assert_int_equal(
			pthread_create(&slows[i].thread, NULL, read_slowly, &slows[i]),
			0);
	}
	for (uint64_t seq = 1; seq <= N_PUTS; seq += 500) {
		put_numbers(feed, seq, seq + 499);
		freeReplyObject(redisCommand(feed->redis, "RINGTAIL.TRIM %llu",
					     (unsigned long long)seq + 490));
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(slows[i].thread, NULL), 0);
		if (slows[i].wrong[0])
			fail_msg("reader %u: %s", i, slows[i].wrong);
		resets += slows[i].resets;
		t_close(slows[i].reader);
	}
	assert_true(resets >= 3); /* how many more is a matter of speed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_LOG(c8_who_is_far_too_slow_is_given_right_states),
	};

	return cmocka_run_group_tests_name("d_slow", tests, NULL, NULL);
}
