/* SPDX-License-Identifier: MIT */
/*
 * Order, and transactions that are seen whole.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * ---- A1: many readers ----
 */

#define N_READERS 100
#define N_TXNS    1000

struct follower {
	const struct t_feed *feed;
	unsigned delay_us;
	const char *failed; /* NULL: it saw everything */
	uint64_t seen;
	pthread_t thread;
};

static const char *follow(struct follower *f)
{
	struct ringtail *reader;
	struct ringtail_event event;
	const char *failed = NULL;

	usleep(f->delay_us); /* the random moment at which it joins */
	if (t_try_open(f->feed, t_from(RINGTAIL_START_OLDEST), &reader))
		return "cannot open";
	while (!failed && f->seen < N_TXNS) {
		int outcome = ringtail_next(reader, &event, T_AGES_NS);

		if (outcome == RINGTAIL_EVENT && event.seq != ++f->seen)
			failed = "a hole, or an event twice";
		else if (outcome != RINGTAIL_EVENT && outcome != RINGTAIL_CAUGHT_UP)
			failed = "the last one did not come";
	}
	if (!failed && ringtail_next(reader, &event, 0) != RINGTAIL_NOTHING)
		failed = "something came after the last one";
	if (!failed && !t_accounts_add_up(reader))
		failed = "accounts";
	ringtail_close(reader);
	return failed;
}

static void *follower(void *arg)
{
	struct follower *f = arg;

	f->failed = follow(f);
	return NULL;
}

static void a1_a_hundred_readers_see_contiguous_seqs(void **state)
{
	static struct follower followers[N_READERS];
	struct t_feed *feed = *state;
	struct t_random random = { 0xa1 };

	t_feed_start(feed, (struct t_ring){ .n_slots = 2048 });
	for (unsigned i = 0; i < N_READERS; i++) {
		followers[i] = (struct follower){
			.feed = feed,
			.delay_us = (unsigned)t_random_below(&random, 200000),
		};
		assert_int_equal(pthread_create(&followers[i].thread, NULL, follower,
						&followers[i]),
				 0);
	}
	for (unsigned i = 1; i <= N_TXNS; i++) {
		if (t_random_below(&random, 4) == 0)
			usleep((unsigned)t_random_below(&random, 800));
		t_put(feed, "key", "value");
	}
	for (unsigned i = 0; i < N_READERS; i++) {
		assert_int_equal(pthread_join(followers[i].thread, NULL), 0);
		if (followers[i].failed)
			fail_msg("reader %u, after %" PRIu64 ": %s", i,
				 followers[i].seen, followers[i].failed);
	}
}

/*
 * ---- A2 to A4: transactions ----
 */

static void put_four(struct t_feed *feed)
{
	t_begin(feed);
	t_put(feed, "a", "1");
	t_put(feed, "b", "2");
	t_put(feed, "c", "3");
	t_put(feed, "d", "4");
	t_commit(feed);
}

static void a2_transactions_come_whole_with_one_time(void **state)
{
	struct t_feed *feed = *state;
	const struct ringtail_event *events;
	uint64_t last_ns = 0;
	size_t n;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int i = 0; i < 3; i++)
		put_four(feed);

	struct ringtail *reader = t_open(feed, t_after(0));

	for (uint64_t txn = 0; txn < 3; txn++) {
		t_is(ringtail_next_txn(reader, &events, &n, 0), RINGTAIL_EVENT);
		assert_int_equal(n, 4);
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(events[i].seq, 4 * txn + i + 1);
			assert_int_equal(events[i].rev, 4 * txn + 4);
			assert_int_equal(events[i].time_ns, events[0].time_ns);
			assert_int_equal(events[i].txn_index, i);
			assert_int_equal(events[i].txn_size, 4);
			assert_int_equal(events[i].flags & RINGTAIL_LAST,
					 i == 3 ? RINGTAIL_LAST : 0);
		}
		assert_true(events[0].time_ns >= last_ns);
		last_ns = events[0].time_ns;
		assert_int_equal(ringtail_position(reader), 4 * txn + 4);
	}
	for (int i = 0; i < 3; i++) {
		t_is(ringtail_next_txn(reader, &events, &n, 0), RINGTAIL_NOTHING);
		assert_int_equal(ringtail_position(reader), 12);
	}
	t_close(reader);
}

static void a3_a_transaction_keeps_its_order(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "a", "0");
	t_begin(feed);
	t_put(feed, "b", "1");
	t_delete(feed, "a");
	t_put(feed, "c", "2");
	t_commit(feed);
	reader = t_open(feed, t_after(0));
	t_drained(reader, "1:a=0;2:b=1 3:-a 4:c=2;");

	t_begin(feed);
	t_put(feed, "k", "1");
	t_put(feed, "k", "2");
	t_message(feed, "k", "said");
	t_put(feed, "k", "3");
	t_commit(feed);
	t_drained(reader, "5:k=1 6:k=2 7:!k=said 8:k=3;");
	t_close(reader);
}

static void a4_a_batch_never_splits_a_transaction(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event events[64];
	char data[256];
	uint64_t seq = 0;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int i = 0; i < 10; i++)
		put_four(feed);

	struct ringtail *reader = t_open(feed, t_after(0));

	for (int call = 0; call < 3; call++) {
		size_t txns = call < 2 ? 4 : 2;
		struct ringtail_batch batch = {
			.events = events,
			.max_events = 64,
			.data = data,
			.data_size = sizeof(data),
			.max_txns = 4,
		};

		t_is(ringtail_next_batch(reader, &batch, 0), RINGTAIL_EVENT);
		assert_int_equal(batch.n_txns, txns);
		assert_int_equal(batch.n_events, 4 * txns);
		for (size_t i = 0; i < batch.n_events; i++) {
			assert_int_equal(events[i].seq, ++seq);
			assert_int_equal(events[i].txn_index, i % 4);
			assert_memory_equal(events[i].key, &"abcd"[i % 4], 1);
			assert_memory_equal(events[i].value, &"1234"[i % 4], 1);
		}
		assert_int_equal(ringtail_position(reader), seq);
		assert_true(t_accounts_add_up(reader));
	}
	t_close(reader);
}

static void a4_a_batch_takes_what_fits_and_no_half(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event events[64];
	char data[256];

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int i = 0; i < 3; i++)
		put_four(feed);
	for (size_t room = 4; room <= 12; room++) {
		struct ringtail *reader = t_open(feed, t_after(0));
		struct ringtail_batch batch = {
			.events = events,
			.max_events = room,
			.data = data,
			.data_size = sizeof(data),
		};

		t_is(ringtail_next_batch(reader, &batch, 0), RINGTAIL_EVENT);
		assert_int_equal(batch.n_events, room / 4 * 4);
		assert_int_equal(ringtail_position(reader), room / 4 * 4);
		t_close(reader);
	}
}

static void a4_a_buffer_that_is_too_small_is_told_what_it_takes(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event events[8];
	char data[4096], value[700];

	memset(value, 'v', sizeof(value));
	t_feed_start(feed, (struct t_ring){ 0 });
	t_begin(feed);
	for (int i = 0; i < 4; i++)
		t_ok(t_add(feed, RINGTAIL_PUT, "key", 3, value, sizeof(value), 0));
	t_commit(feed);

	struct ringtail *reader = t_open(feed, t_after(0));
	struct ringtail_batch batch = {
		.events = events, .max_events = 3, .data = data, .data_size = 100
	};

	for (int i = 0; i < 3; i++) {
		t_is(ringtail_next_batch(reader, &batch, 0), -EMSGSIZE);
		assert_int_equal(batch.need_events, 4);
		assert_int_equal(batch.need_data, 4 * (3 + sizeof(value)));
		assert_int_equal(ringtail_position(reader), 0);
		assert_true(t_accounts_add_up(reader));
	}
	batch.max_events = 4;
	batch.data_size = batch.need_data - 1;
	t_is(ringtail_next_batch(reader, &batch, 0), -EMSGSIZE);
	batch.data_size = batch.need_data;
	t_is(ringtail_next_batch(reader, &batch, 0), RINGTAIL_EVENT);
	assert_int_equal(batch.n_events, 4);
	for (int i = 0; i < 4; i++)
		assert_memory_equal(events[i].value, value, sizeof(value));
	assert_int_equal(ringtail_position(reader), 4);
	t_close(reader);
}

/*
 * ---- A5 to A7 ----
 */

static void a5_what_comes_while_reading_follows_in_order(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 10);
	reader = t_open(feed, t_after(0));
	for (uint64_t seq = 1; seq <= 20; seq++) {
		if (seq <= 10)
			t_put(feed, "more", "v");
		t_next_is(reader, seq);
	}
	t_drained(reader, "");
	t_close(reader);
}

static void a6_the_publishers_buffers_are_its_own_again(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *readers[2];
	static const size_t lens[] = { 1, 20, 100, 1000 };
	char key[64], value[1000];

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int i = 0; i < 2; i++)
		readers[i] = t_open(feed, t_after(0));
	for (size_t i = 0; i < T_N(lens); i++) {
		memset(key, 'k', sizeof(key));
		memset(value, 'v', sizeof(value));
		t_begin(feed);
		t_ok(t_add(feed, RINGTAIL_PUT, key, sizeof(key), value, lens[i], 0));
		memset(key, 'X', sizeof(key));
		memset(value, 'X', sizeof(value));
		t_commit(feed);
	}
	for (int i = 0; i < 2; i++) {
		for (size_t j = 0; j < T_N(lens); j++) {
			struct ringtail_event event;

			t_is(ringtail_next(readers[i], &event, 0), RINGTAIL_EVENT);
			memset(key, 'k', sizeof(key));
			memset(value, 'v', sizeof(value));
			assert_int_equal(event.key_len, sizeof(key));
			assert_int_equal(event.value_len, lens[j]);
			assert_memory_equal(event.key, key, sizeof(key));
			assert_memory_equal(event.value, value, lens[j]);
		}
		t_close(readers[i]);
	}
}

struct sleeper {
	struct ringtail *reader;
	_Atomic int tid;
	int outcome;
	uint64_t seq;
	pthread_t thread;
};

static void *sleep_for_one(void *arg)
{
	struct sleeper *s = arg;
	struct ringtail_event event = { 0 };

	s->tid = gettid();
	s->outcome = ringtail_next(s->reader, &event, T_AGES_NS);
	s->seq = event.seq;
	return NULL;
}

static bool sleeps(void *arg)
{
	struct sleeper *s = arg;
	int tid = s->tid;

	return tid && t_is_asleep(&tid);
}

static void a7_empty_and_discarded_transactions_do_not_exist(void **state)
{
	struct t_feed *feed = *state;
	struct sleeper s = { 0 };

	t_feed_start(feed, (struct t_ring){ 0 });
	s.reader = t_open(feed, t_after(0));
	t_drained(s.reader, "caught-up");
	assert_int_equal(pthread_create(&s.thread, NULL, sleep_for_one, &s), 0);
	assert_true(t_within_ms(60000, sleeps, &s));

	for (int i = 0; i < 5; i++) {
		t_begin(feed);
		t_commit(feed);
		t_begin(feed);
		t_abort(feed);
		t_begin(feed);
		t_put(feed, "discarded", "v");
		t_put(feed, "discarded", "a value that does not fit into a slot");
		t_abort(feed);
	}
	assert_int_equal(t_feed_seq(feed), 0);
	t_put(feed, "k", "v");

	assert_int_equal(pthread_join(s.thread, NULL), 0);
	t_is(s.outcome, RINGTAIL_EVENT);
	assert_int_equal(s.seq, 1);
	assert_int_equal(t_stats(s.reader).spurious_wakes, 0);
	assert_int_equal(t_feed_seq(feed), 1);
	t_drained(s.reader, "");
	t_close(s.reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_EACH(a1_a_hundred_readers_see_contiguous_seqs),
		T_EACH(a2_transactions_come_whole_with_one_time),
		T_EACH(a3_a_transaction_keeps_its_order),
		T_EACH(a4_a_batch_never_splits_a_transaction),
		T_EACH(a4_a_batch_takes_what_fits_and_no_half),
		T_EACH(a4_a_buffer_that_is_too_small_is_told_what_it_takes),
		T_EACH(a5_what_comes_while_reading_follows_in_order),
		T_EACH(a6_the_publishers_buffers_are_its_own_again),
		T_EACH(a7_empty_and_discarded_transactions_do_not_exist),
	};

	return cmocka_run_group_tests_name("conformance A", tests, NULL, NULL);
}
