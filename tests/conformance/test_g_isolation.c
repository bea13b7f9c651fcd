/* SPDX-License-Identifier: MIT */
/*
 * Readers do not disturb the writer or each other, and every account adds up.
 */
#include "tests/support/feed.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * ---- G1: stopped readers ----
 */

#define N_STOPPED 50
#define N_PUTS    20000
#define N_ROUNDS  5

struct group {
	const struct t_feed *feed;
	_Atomic int ready;
};

/* In a child: follows until it is killed. */
static int follow(void *arg)
{
	struct group *group = arg;
	struct ringtail_options options = t_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct ringtail *reader;

	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	if (t_try_open(group->feed, options, &reader) ||
	    ringtail_next(reader, &event, 0) != RINGTAIL_CAUGHT_UP)
		return 1;
	group->ready++;
	while (ringtail_next(reader, &event, RINGTAIL_FOREVER) >= 0)
		;
	return 0;
}

static bool all_ready(void *arg)
{
	return ((struct group *)arg)->ready == N_STOPPED;
}

static void put_many(struct t_feed *feed)
{
#ifdef T_HAVE_DAEMON
	if (feed->redis) {
		for (unsigned i = 0; i < N_PUTS; i++)
			(void)redisAppendCommand(feed->redis, "SET key value-%u", i);
		for (unsigned i = 0; i < N_PUTS; i++) {
			redisReply *reply = NULL;

			assert_int_equal(redisGetReply(feed->redis, (void **)&reply),
					 REDIS_OK);
			assert_int_equal(reply->type, REDIS_REPLY_STATUS);
			freeReplyObject(reply);
		}
		return;
	}
#endif
	t_puts(feed, N_PUTS);
}

/* The least that a round of puts costs the writer, in processor time. */
static uint64_t cost(struct t_feed *feed)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < N_ROUNDS; i++) {
		uint64_t before = t_cpu_ns(t_feed_pid(feed)), used;

		put_many(feed);
		used = t_cpu_ns(t_feed_pid(feed)) - before;
		least = used < least ? used : least;
	}
	return least;
}

static uint64_t memory_of(int pid)
{
	char path[64], *text;
	unsigned long pages = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	text = t_read_file(path, NULL);
	assert_non_null(text);
	assert_int_equal(sscanf(text, "%*u %lu", &pages), 1);
	free(text);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void g1_stopped_readers_cost_the_writer_nothing(void **state)
{
	struct t_feed *feed = *state;
	struct group *group = mmap(NULL, sizeof(*group), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t alone, beside, memory_alone, memory_beside;
	int pids[N_STOPPED];

	assert_true(group != MAP_FAILED);
	group->feed = feed;
	t_feed_start(feed, (struct t_ring){ .n_slots = 64 });
	put_many(feed);
	alone = cost(feed);
	memory_alone = memory_of(t_feed_pid(feed));

	for (int i = 0; i < N_STOPPED; i++)
		pids[i] = t_spawn(follow, group);
	assert_true(t_within_ms(60000, all_ready, group));
	for (int i = 0; i < N_STOPPED; i++)
		(void)kill(pids[i], SIGSTOP);
	beside = cost(feed);
	memory_beside = memory_of(t_feed_pid(feed));
	for (int i = 0; i < N_STOPPED; i++) {
		(void)kill(pids[i], SIGKILL);
		assert_int_equal(t_join(pids[i]), 1000 + SIGKILL);
	}

	printf("# G1: %u puts: %.2f ms of processor alone, %.2f beside %d stopped "
	       "readers\n",
	       N_PUTS, (double)alone / 1e6, (double)beside / 1e6, N_STOPPED);
	/* In truth equal; the clock of a busy machine is not that exact. */
	assert_true(beside < 2 * alone + 10 * (uint64_t)T_MS);
	assert_true(memory_beside < memory_alone + 1024 * 1024);
	(void)munmap(group, sizeof(*group));
}

/*
 * ---- G2: slow readers ----
 */

static void g2_many_slow_readers_each_get_everything(void **state)
{
	static struct ringtail *readers[256];
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(readers); i++)
		readers[i] = t_open(feed, t_after(0));
	for (unsigned put = 1; put <= 64; put++) {
		t_put(feed, "k", "v");
		if (put % 4)
			continue;
		for (size_t i = 0; i < T_N(readers); i++)
			t_next_is(readers[i], ringtail_position(readers[i]) + 1);
	}
	for (size_t i = 0; i < T_N(readers); i++) {
		while (ringtail_position(readers[i]) < 64)
			t_next_is(readers[i], ringtail_position(readers[i]) + 1);
		t_drained(readers[i], "");
		assert_int_equal(t_stats(readers[i]).delivered, 64);
		t_close(readers[i]);
	}
}

/*
 * ---- G3: accounts ----
 */

static void g3_asking_changes_no_account(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_stats before, after;
	struct ringtail_options options = t_after(0);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64, .payload_size = 4096 });
	t_puts(feed, 10);
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	reader = t_open(feed, options);
	t_next_is(reader, 1);
	t_puts(feed, 200); /* lapped, and does not know it yet */
	before = t_stats(reader);
	for (int i = 0; i < 100; i++) {
		t_close(t_open(feed, options));
		(void)t_info(reader);
		(void)t_stats(reader);
		t_ok(ringtail_marker(reader, marker));
		(void)ringtail_state(reader);
	}
	after = t_stats(reader);
	assert_memory_equal(&before, &after, offsetof(struct ringtail_stats, lag_ns));
	assert_int_equal(after.lost, 0);
	assert_int_equal(after.position, 1);
	assert_int_equal(after.room_events, 0);
	t_close(reader);
}

static void g3_accounts_add_up_after_every_call(void **state)
{
	struct t_feed *feed = *state;
	const struct ringtail_filter odd = { .kind = RINGTAIL_FILTER_KEY,
					     .a = "o",
					     .a_len = 1 };
	struct t_random random = { 0x63 };
	struct ringtail_options options = t_after(0);
	struct ringtail_event events[40];
	struct ringtail *reader;
	char data[4096];
	uint64_t delivered = 0, lost = 0;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64, .payload_size = 4096 });
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	options.filters = &odd;
	options.n_filters = 1;
	reader = t_open(feed, options);
	for (int i = 0; i < 3000; i++) {
		struct ringtail_batch batch = { .events = events,
						.max_events = T_N(events),
						.data = data,
						.data_size = sizeof(data) };
		const struct ringtail_event *txn;
		struct ringtail_gap_info gap;
		int outcome = 0;
		size_t n = 0;

		if (t_random_below(&random, 3) == 0) {
			for (uint64_t txns = t_random_below(&random, 20); txns--;) {
				t_begin(feed);
				for (uint64_t m = 1 + t_random_below(&random, 4); m--;)
					t_put(feed, m & 1 ? "o" : "e", "value");
				t_commit(feed);
			}
		}
		switch (t_random_below(&random, 4)) {
		case 0:
			outcome = ringtail_next(reader, &events[0], 0);
			n = 1;
			break;
		case 1:
			outcome = ringtail_next_txn(reader, &txn, &n, 0);
			break;
		case 2:
			outcome = ringtail_next_batch(reader, &batch, 0);
			n = batch.n_events;
			break;
		default:
			outcome = ringtail_borrow(reader, &events[0], 0);
			n = outcome == RINGTAIL_EVENT;
			if (n && t_random_below(&random, 2))
				t_ok(ringtail_borrow_valid(reader));
			break;
		}
		assert_true(outcome >= 0);
		if (outcome == RINGTAIL_EVENT)
			delivered += n;
		if (outcome == RINGTAIL_GAP) {
			t_ok(ringtail_gap(reader, &gap));
			lost += gap.count;
		}
		assert_true(t_accounts_add_up(reader));
		assert_int_equal(t_stats(reader).delivered, delivered);
		assert_int_equal(t_stats(reader).lost, lost);
	}
	assert_true(lost > 0);
	assert_true(t_stats(reader).filtered > 0);
	t_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_KILLABLE(g1_stopped_readers_cost_the_writer_nothing),
		T_BOTH(g2_many_slow_readers_each_get_everything),
		T_BOTH(g3_asking_changes_no_account),
		T_BOTH(g3_accounts_add_up_after_every_call),
	};

	return cmocka_run_group_tests_name("conformance G", tests, NULL, NULL);
}
