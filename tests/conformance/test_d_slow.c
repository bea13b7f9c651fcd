/* SPDX-License-Identifier: MIT */
/*
 * Readers for which history is always gone too early, each at a speed of its own.
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

/* So that nothing below @seq is held. */
static void trim(struct t_feed *feed, uint64_t seq)
{
	uint64_t oldest;

	do {
		redisReply *reply = redisCommand(feed->redis, "RINGTAIL.TRIM %llu",
						 (unsigned long long)seq);

		assert_non_null(reply);
		assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
		oldest = (uint64_t)reply->element[0]->integer;
		freeReplyObject(reply);
	} while (oldest < seq);
}

/* What the keys x0 .. x7 were after each seq; 0: not there, else the value. */
#define N_X   8u
#define N_SEQ 6000u

struct history {
	uint32_t values[N_SEQ + 1][N_X];
	uint64_t last;
};

static void change_one(struct t_feed *feed, struct history *h, struct t_random *random)
{
	uint32_t *now = h->values[h->last + 1];
	unsigned x = (unsigned)t_random_below(random, N_X);
	char key[8], value[16];

	memcpy(now, h->values[h->last], sizeof(h->values[0]));
	(void)snprintf(key, sizeof(key), "x%u", x);
	h->last++;
	if (now[x] && t_random_below(random, 3) == 0) {
		t_delete(feed, key);
		now[x] = 0;
		return;
	}
	now[x] = (uint32_t)h->last;
	(void)snprintf(value, sizeof(value), "%u", now[x]);
	t_put(feed, key, value);
}

/* One step of a reader that keeps a replica; false when there is nothing. */
static bool step(struct ringtail *reader, uint32_t replica[N_X],
		 const struct history *h)
{
	struct ringtail_event e;
	int outcome = ringtail_next(reader, &e, 0);
	unsigned x;

	assert_true(t_accounts_add_up(reader));
	if (outcome == RINGTAIL_RESET)
		memset(replica, 0, N_X * sizeof(*replica));
	if (outcome == RINGTAIL_EVENT || outcome == RINGTAIL_SNAPSHOT) {
		x = (unsigned)(((const char *)e.key)[1] - '0');
		replica[x] = e.op == RINGTAIL_PUT ? (uint32_t)e.seq : 0;
	}
	if (outcome == RINGTAIL_EVENT || outcome == RINGTAIL_SNAPSHOT_END)
		assert_memory_equal(replica, h->values[ringtail_position(reader)],
				    sizeof(h->values[0]));
	if (outcome < 0)
		fail_msg("%s", ringtail_error(reader));
	return outcome != RINGTAIL_NOTHING && outcome != RINGTAIL_CAUGHT_UP;
}

static void c7_a_replica_is_right_through_writes_trims_and_laps(void **state)
{
	struct t_feed *feed = *state;
	struct history *h = calloc(1, sizeof(*h));
	struct t_random random = { 0xd8 };
	uint32_t replicas[3][N_X] = { 0 };
	struct ringtail *readers[3];
	uint64_t resets = 0;

	t_feed_start(feed, smallest);
	for (unsigned i = 0; i < 3; i++) {
		struct ringtail_options options = t_from(RINGTAIL_START_SNAPSHOT);

		options.on_gap = RINGTAIL_ON_GAP_RESYNC;
		readers[i] = t_open(feed, options);
	}
	while (h->last + 200 < N_SEQ) {
		uint64_t n = 1 + t_random_below(&random, 200);

		while (n--)
			change_one(feed, h, &random);
		if (h->last > 20 && t_random_below(&random, 6) == 0)
			trim(feed, h->last - t_random_below(&random, 20));
		for (unsigned i = 0; i < 3; i++) {
			n = t_random_below(&random, 100u << i);
			while (n-- && step(readers[i], replicas[i], h))
				;
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		while (step(readers[i], replicas[i], h))
			;
		assert_int_equal(ringtail_position(readers[i]), h->last);
		resets += t_stats(readers[i]).resets;
		t_close(readers[i]);
	}
	assert_true(resets > 5); /* or nothing was tested */
	free(h);
}

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
		T_LOG(c7_a_replica_is_right_through_writes_trims_and_laps),
		T_LOG(c8_who_is_far_too_slow_is_given_right_states),
	};

	return cmocka_run_group_tests_name("d_slow", tests, NULL, NULL);
}
