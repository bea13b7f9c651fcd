/* SPDX-License-Identifier: MIT */
/*
 * Readers that the writer overtakes: told exactly what they missed, never more.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

static struct ringtail_options skipping(struct ringtail_options options)
{
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	return options;
}

static uint64_t oldest_of(const struct t_feed *feed)
{
	struct ringtail *reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	uint64_t oldest = t_info(reader).oldest;

	t_close(reader);
	return oldest;
}

/*
 * ---- C1, C2: history that was cut ----
 */

static void c1_the_oldest_event_is_reached_from_the_seq_before_it(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader = NULL;
	char number[32];
	uint64_t oldest;

	t_feed_start(feed, smallest);
	t_puts(feed, 100);
	oldest = oldest_of(feed);
	assert_in_range(oldest, 30, 41);

	reader = t_open(feed, t_after(oldest - 1));
	t_next_is(reader, oldest);
	t_close(reader);
	reader = t_open(feed, t_after(oldest));
	t_next_is(reader, oldest + 1);
	t_close(reader);
	for (uint64_t seq = 0; seq < oldest - 1; seq++) {
		reader = NULL;
		t_is(t_try_open(feed, t_after(seq), &reader), RINGTAIL_E_COMPACTED);
		(void)snprintf(number, sizeof(number), "%" PRIu64, oldest);
		assert_non_null(strstr(ringtail_error(NULL), number));
		assert_null(reader);
	}
}

static void c1_what_is_gone_at_the_start_is_a_gap_if_gaps_are_skipped(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_gap_info gap;
	struct ringtail_event event;
	struct ringtail *reader;
	uint64_t oldest;

	t_feed_start(feed, smallest);
	t_puts(feed, 100);
	oldest = oldest_of(feed);

	reader = t_open(feed, skipping(t_after(7)));
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_GAP);
	t_ok(ringtail_gap(reader, &gap));
	assert_int_equal(gap.first, 8);
	assert_int_equal(gap.count, oldest - 8);
	assert_int_equal(gap.skipped, 0);
	assert_int_equal(gap.cause, RINGTAIL_CAUSE_COMPACTED);
	for (uint64_t seq = oldest; seq <= 100; seq++)
		t_next_is(reader, seq);
	t_drained(reader, "");
	assert_int_equal(t_stats(reader).gaps, 1);
	t_close(reader);
}

static void c2_a_delete_can_be_the_oldest_event(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;
	struct ringtail *reader;
	uint64_t oldest;

	t_feed_start(feed, smallest);
	t_message(feed, "first", "1");
	/* Seqs 5, 9, 13 and so on are the deletes, and where the floor can stop. */
	for (int i = 0; i < 20; i++) {
		t_put(feed, "k", "1");
		t_put(feed, "k", "2");
		t_put(feed, "k", "3");
		t_delete(feed, "k");
	}
	oldest = oldest_of(feed);
	assert_int_equal(oldest % 4, 1);
	assert_true(oldest > 1);

	reader = t_open(feed, t_after(oldest - 1));
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, oldest);
	assert_int_equal(event.op, RINGTAIL_DELETE);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, oldest + 1);
	assert_int_equal(event.op, RINGTAIL_PUT);
	assert_memory_equal(event.value, "1", 1);
	t_close(reader);
}

/*
 * ---- C3: what the ring promises, and the floor ----
 */

/* With as many unread events as promised, each is delivered; at every alignment. */
static void promise_is_kept(struct t_feed *feed, size_t value_len, uint64_t n)
{
	static const uint8_t value[1024];
	struct ringtail *reader = t_open(feed, t_from(RINGTAIL_START_OLDEST));

	for (int round = 0; round < 40; round++) {
		uint64_t seq = ringtail_position(reader);
		uint64_t extra = (uint64_t)round % 3;

		for (uint64_t i = 0; i < n - extra; i++)
			t_ok(t_add(feed, RINGTAIL_PUT, "k", 1, value, value_len, 0));
		if (round == 0 && strcmp(t_drain(reader), "") == 0)
			fail_msg("nothing came");
		while (ringtail_position(reader) < seq + n - extra)
			t_next_is(reader, ringtail_position(reader) + 1);
	}
	assert_int_equal(t_stats(reader).lost, 0);
	t_close(reader);
}

static void c3_what_the_ring_promises_to_hold_it_holds(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	struct ringtail_info info;

	t_feed_start(feed, smallest);
	reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	info = t_info(reader);
	t_close(reader);

	assert_int_equal(info.holds_events, 60);
	promise_is_kept(feed, 1, info.holds_events);
	/* By bytes: 8 of payload for each event, 64, 256 and what divides nothing. */
	promise_is_kept(feed, 64, info.holds_bytes / 64 - 1);
	promise_is_kept(feed, 256, info.holds_bytes / 256 - 1);
	promise_is_kept(feed, 1000, (info.holds_bytes - 1000) / 1000);
}

static void c3_a_gap_begins_at_the_first_unread_and_ends_at_the_floor(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	char want[64];
	uint64_t oldest;

	t_feed_start(feed, smallest);
	for (unsigned unread = 0; unread < 150; unread += 7) {
		uint64_t from = t_feed_seq(feed);

		reader = t_open(feed, skipping(t_after(from)));
		t_puts(feed, unread);
		oldest = oldest_of(feed);
		if (unread && oldest > from + 1) {
			(void)snprintf(want, sizeof(want),
				       "gap %" PRIu64 "+%" PRIu64 "/0", from + 1,
				       oldest - from - 1);
			assert_string_equal(t_drain(reader), want);
			t_next_is(reader, oldest); /* the event at the floor itself */
		}
		while (ringtail_position(reader) < from + unread)
			t_next_is(reader, ringtail_position(reader) + 1);
		t_close(reader);
	}
}

static void c3_by_default_a_gap_stops_the_reader(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_gap_info gap;
	struct ringtail_event event;
	uint64_t oldest;

	t_feed_start(feed, smallest);
	t_puts(feed, 3);

	struct ringtail *reader = t_open(feed, t_after(0));

	t_next_is(reader, 1);
	t_puts(feed, 100);
	oldest = oldest_of(feed);
	for (int again = 0; again < 3; again++) {
		t_is(ringtail_next(reader, &event, T_AGES_NS), RINGTAIL_E_LAPPED);
		t_ok(ringtail_gap(reader, &gap));
		assert_int_equal(gap.first, 2);
		assert_int_equal(gap.count, oldest - 2);
		assert_int_equal(ringtail_position(reader), 1);
	}
	assert_int_equal(t_stats(reader).lost, 0); /* nothing was given up */
	t_close(reader);
}

static void c3_events_above_the_floor_are_skipped_only_by_name(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_gap_info gap;
	struct ringtail_event event;
	struct ringtail *reader;
	uint64_t oldest, read = 0;

	t_feed_start(feed, smallest);
	reader = t_open(feed, skipping(t_after(0)));
	t_puts(feed, 100);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_GAP);
	t_ok(ringtail_gap(reader, &gap));
	assert_int_equal(gap.skipped, 0);

	for (int lap = 0; lap < 20; lap++) {
		t_next_is(reader, ringtail_position(reader) + 1);
		read++;
		t_puts(feed, 100);
		oldest = oldest_of(feed);
		t_is(ringtail_next(reader, &event, 0), RINGTAIL_GAP);
		t_ok(ringtail_gap(reader, &gap));
		/* What is not said to be skipped was below the floor. */
		assert_int_equal(gap.first + gap.count - gap.skipped, oldest);
		assert_true(gap.skipped > 0);
		assert_int_equal(gap.cause, RINGTAIL_CAUSE_LAPPED);
	}
	assert_int_equal(t_stats(reader).delivered, read);
	t_close(reader);
}

/*
 * ---- C4: what is delivered and what is lost is everything ----
 */

struct tally {
	uint64_t next, delivered, lost, gaps;
};

/* What one outcome means; false if it cannot be. */
static bool count(struct ringtail *reader, int outcome,
		  const struct ringtail_event *event, struct tally *tally)
{
	struct ringtail_gap_info gap;

	switch (outcome) {
	case RINGTAIL_EVENT:
		tally->delivered++;
		return event->seq == tally->next++ &&
		       t_is_value(event->value, event->value_len, event->seq);
	case RINGTAIL_GAP:
		if (ringtail_gap(reader, &gap) || gap.first != tally->next ||
		    !gap.count || gap.skipped >= gap.count)
			return false;
		tally->gaps++;
		tally->lost += gap.count;
		tally->next += gap.count;
		return true;
	default:
		return outcome == RINGTAIL_NOTHING || outcome == RINGTAIL_CAUGHT_UP;
	}
}

static void c4_a_slow_reader_accounts_for_every_event(void **state)
{
	struct t_feed *feed = *state;
	const uint64_t total = feed->by == &t_embedded ? 100000 : 20000;
	struct t_random random = { 0xc4 };
	struct tally tally = { .next = 1 };
	struct ringtail_event event;
	struct ringtail *reader;
	uint64_t seq = 0;
	int outcome;

	t_feed_start(feed, (struct t_ring){ .n_slots = 128, .payload_size = 8192 });
	reader = t_open(feed, skipping(t_after(0)));
	while (seq < total) {
		uint64_t burst = 1 + t_random_below(&random, 200);

		while (burst-- && seq < total)
			t_put_value(feed, ++seq);
		for (uint64_t n = t_random_below(&random, 50); n--;)
			assert_true(count(reader, ringtail_next(reader, &event, 0),
					  &event, &tally));
	}
	while ((outcome = ringtail_next(reader, &event, 0)) != RINGTAIL_NOTHING)
		assert_true(count(reader, outcome, &event, &tally));

	struct ringtail_stats stats = t_stats(reader);

	assert_int_equal(tally.delivered + tally.lost, total);
	assert_int_equal(stats.delivered, tally.delivered);
	assert_int_equal(stats.lost, tally.lost);
	assert_int_equal(stats.gaps, tally.gaps);
	assert_true(tally.gaps > 10);
	t_close(reader);
}

/*
 * ---- C5: overtaken in the middle of an event ----
 */

static void c5_what_was_borrowed_and_overwritten_is_a_gap(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_gap_info gap;
	struct ringtail_event event;
	struct ringtail *reader;
	uint64_t seq = 0;

	t_feed_start(feed, smallest);
	reader = t_open(feed, skipping(t_after(0)));
	while (seq < 10)
		t_put_value(feed, ++seq);
	for (uint64_t i = 1; i <= 4; i++) {
		t_is(ringtail_borrow(reader, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.seq, i);
		assert_true(t_is_value(event.value, event.value_len, i));
		t_ok(ringtail_borrow_valid(reader));
		assert_true(t_accounts_add_up(reader));
	}
	t_is(ringtail_borrow(reader, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 5);
	while (seq < 200)
		t_put_value(feed, ++seq);
	t_is(ringtail_borrow_valid(reader), RINGTAIL_E_OVERRUN);
	t_is(ringtail_borrow_valid(reader), RINGTAIL_E_OVERRUN);
	assert_int_equal(ringtail_position(reader), 4);
	assert_true(t_accounts_add_up(reader));

	t_is(ringtail_borrow(reader, &event, 0), RINGTAIL_GAP);
	t_ok(ringtail_gap(reader, &gap));
	assert_int_equal(gap.first, 5);
	t_is(ringtail_borrow_valid(reader), -EINVAL);
	for (uint64_t i = gap.first + gap.count; i <= 200; i++) {
		t_is(ringtail_borrow(reader, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.seq, i);
	}
	t_close(reader);
}

/* Shared between the test and its children. */
struct board {
	_Atomic uint64_t last; /* the newest event there will be; 0: not known */
	_Atomic uint64_t delivered, lost, gaps;
	_Atomic bool opened;
};

struct child {
	const struct t_feed *feed;
	struct board *board;
};

static struct board *board_new(void)
{
	void *at = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(at != MAP_FAILED);
	return at;
}

/* In a child: reads all, as fast as it can, by copying and by borrowing. */
static int check_every_value(void *arg)
{
	const struct child *child = arg;
	struct ringtail_options options = skipping(t_after(0));
	struct tally tally = { .next = 1 };
	struct ringtail *reader;
	uint64_t last = 0;

	if (t_try_open(child->feed, options, &reader))
		return 2;
	child->board->opened = true;
	while (!last || tally.next <= last) {
		struct ringtail_event event;
		int outcome = ringtail_next(reader, &event, 1 * T_MS);

		if (!count(reader, outcome, &event, &tally))
			return 3;
		last = child->board->last;
	}
	child->board->delivered = tally.delivered;
	child->board->lost = tally.lost;
	child->board->gaps = tally.gaps;
	return t_accounts_add_up(reader) ? 0 : 4;
}

static bool is_stopped(void *pid)
{
	char path[64], *text;
	const char *end;
	bool stopped;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", *(int *)pid);
	text = t_read_file(path, NULL);
	end = text ? strrchr(text, ')') : NULL;
	stopped = end && end[1] && end[2] == 'T';
	free(text);
	return stopped;
}

static bool is_open(void *arg)
{
	return ((struct board *)arg)->opened;
}

static void c5_a_reader_stopped_anywhere_never_sees_mixed_bytes(void **state)
{
	struct t_feed *feed = *state;
	struct board *board = board_new();
	struct child child = { feed, board };
	struct t_random random = { 0xc5 };
	uint64_t seq = 0;
	int pid;

	t_feed_start(feed, smallest);
	pid = t_spawn(check_every_value, &child);
	assert_true(t_within_ms(60000, is_open, board));
	for (int stops = 0; stops < 300; stops++) {
		uint64_t n = t_random_below(&random, 2000);

		while (n--)
			t_put_value(feed, ++seq);
		(void)kill(pid, SIGSTOP);
		if (!t_within_ms(60000, is_stopped, &pid))
			fail_msg("the reader ended: %d", t_join(pid));
		for (int i = 0; i < 100; i++)
			t_put_value(feed, ++seq);
		(void)kill(pid, SIGCONT);
	}
	board->last = seq;
	assert_int_equal(t_join(pid), 0);
	assert_int_equal(board->delivered + board->lost, seq);
	assert_true(board->gaps > 0);
	assert_true(board->delivered > 0);
	(void)munmap(board, sizeof(*board));
}

/*
 * ---- C6: joining in the middle ----
 */

static void c6_oldest_is_always_the_first_of_a_transaction(void **state)
{
	struct t_feed *feed = *state;
	struct t_random random = { 0xc6 };

	t_feed_start(feed, smallest);
	for (int i = 0; i < 500; i++) {
		uint64_t n = 1 + t_random_below(&random, 9);

		t_begin(feed);
		while (n--)
			t_put(feed, "k", "v");
		t_commit(feed);

		struct ringtail *reader = t_open(feed, t_from(RINGTAIL_START_OLDEST));
		uint64_t oldest = t_info(reader).oldest;
		const struct ringtail_event *events;
		size_t n_events = 0;

		t_is(ringtail_next_txn(reader, &events, &n_events, 0), RINGTAIL_EVENT);
		assert_int_equal(events[0].seq, oldest);
		assert_int_equal(events[0].txn_index, 0);
		assert_int_equal(n_events, events[0].txn_size);
		t_close(reader);
	}
}

/* In a child: transactions of every size, for ever. */
static int write_for_ever(void *arg)
{
	const struct t_feed *feed = arg;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer;
	struct t_random random = { 66 };

	options.dir = feed->dir;
	options.n_slots = 64;
	options.payload_size = 4096;
	if (ringtail_writer_open(T_FEED, &options, &writer))
		return 1;
	for (;;) {
		uint64_t n = 1 + t_random_below(&random, 16);

		(void)ringtail_begin(writer);
		for (uint64_t i = 0; i < n; i++)
			(void)ringtail_add(writer, RINGTAIL_PUT, "k", 1, &i, sizeof(i),
					   0);
		(void)ringtail_commit(writer);
	}
	return 0;
}

static void c6_oldest_is_aligned_while_the_writer_laps_the_ring(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = skipping(t_from(RINGTAIL_START_OLDEST));
	struct ringtail *reader = NULL;
	int pid = t_spawn(write_for_ever, feed);

	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = T_AGES_NS;
	for (int i = 0; i < 3000; i++) {
		const struct ringtail_event *events;
		bool caught_up = false;
		size_t n = 0;
		int outcome;

		t_ok(t_try_open(feed, options, &reader));
		do { /* a gap only after it had caught up, which is its start then */
			outcome = ringtail_next_txn(reader, &events, &n, T_AGES_NS);
			assert_true(outcome != RINGTAIL_GAP || caught_up);
			caught_up |= outcome == RINGTAIL_CAUGHT_UP;
		} while (outcome == RINGTAIL_CAUGHT_UP || outcome == RINGTAIL_GAP);
		t_is(outcome, RINGTAIL_EVENT);
		assert_int_equal(events[0].txn_index, 0);
		assert_int_equal(n, events[0].txn_size);
		for (size_t j = 0; j < n; j++)
			assert_memory_equal(events[j].value, (&(uint64_t){ j }),
					    sizeof(uint64_t));
		t_close(reader);
	}
	(void)kill(pid, SIGKILL);
	(void)t_join(pid);
}

/*
 * ---- C7, C8: all at once, and much too slow ----
 */

struct slow_reader {
	const struct t_feed *feed;
	const struct board *board;
	unsigned work; /* loads between two events */
	struct tally tally;
	bool failed;
	pthread_t thread;
};

static void *read_slowly(void *arg)
{
	struct slow_reader *slow = arg;
	struct ringtail_options options = skipping(t_after(0));
	struct ringtail *reader;

	slow->failed = true;
	slow->tally.next = 1;
	if (t_try_open(slow->feed, options, &reader))
		return NULL;
	for (;;) {
		uint64_t last = slow->board->last;
		struct ringtail_event event;

		if (last && slow->tally.next > last)
			break;
		if (!count(reader, ringtail_next(reader, &event, 10 * T_MS), &event,
			   &slow->tally))
			return NULL;
		for (unsigned i = 0; i < slow->work; i++)
			(void)atomic_load(&slow->board->last);
	}
	slow->failed = !t_accounts_add_up(reader);
	ringtail_close(reader);
	return NULL;
}

static void c7_slow_readers_have_no_silent_gap(void **state)
{
	struct t_feed *feed = *state;
	struct slow_reader readers[4];
	struct board *board = board_new();
	struct t_random random = { 0xc7 };
	uint64_t end, seq = 0;

	t_feed_start(feed, (struct t_ring){ .n_slots = 256, .payload_size = 16384 });
	for (unsigned i = 0; i < T_N(readers); i++) {
		readers[i] = (struct slow_reader){ .feed = feed,
						   .board = board,
						   .work = i * i * i * 100 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_slowly,
						&readers[i]),
				 0);
	}
	end = t_now_ns() + 2000 * (uint64_t)T_MS;
	while (t_now_ns() < end) {
		uint64_t burst = 1 + t_random_below(&random, 100);

		if (t_random_below(&random, 10) == 0)
			t_sleep_ms(1);
		t_begin(feed);
		for (uint64_t i = t_random_below(&random, 5) + 1; i--;)
			t_put_value(feed, ++seq);
		t_commit(feed);
		while (burst--)
			t_put_value(feed, ++seq);
	}
	board->last = seq;
	for (unsigned i = 0; i < T_N(readers); i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_false(readers[i].failed);
		assert_int_equal(readers[i].tally.delivered + readers[i].tally.lost,
				 seq);
		printf("# C7: of %" PRIu64 " events %" PRIu64 " delivered, %" PRIu64
		       " gaps\n",
		       seq, readers[i].tally.delivered, readers[i].tally.gaps);
	}
	(void)munmap(board, sizeof(*board));
}

static void gaps_are_few(struct t_feed *feed, size_t value_len, uint64_t half_ring)
{
	static const uint8_t value[256];
	const uint64_t from = t_feed_seq(feed);
	const uint64_t written = 10000;
	struct ringtail *reader = t_open(feed, skipping(t_after(from)));
	struct ringtail_event event;

	for (uint64_t i = 1; i <= written; i++) {
		t_ok(t_add(feed, RINGTAIL_PUT, "k", 1, value, value_len, 0));
		if (i % 10 == 0)
			(void)ringtail_next(reader, &event, 0);
	}

	struct ringtail_stats stats = t_stats(reader);

	assert_true(stats.gaps > 1);
	if (stats.gaps > written / half_ring)
		fail_msg("%" PRIu64 " gaps in %" PRIu64
			 " events, half a ring is %" PRIu64,
			 stats.gaps, written, half_ring);
	t_close(reader);
}

static void c8_ten_times_too_slow_is_at_most_a_gap_each_half_ring(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, smallest);
	gaps_are_few(feed, 1, 32);
	gaps_are_few(feed, 128, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(c1_the_oldest_event_is_reached_from_the_seq_before_it),
		T_BOTH(c1_what_is_gone_at_the_start_is_a_gap_if_gaps_are_skipped),
		T_BOTH(c2_a_delete_can_be_the_oldest_event),
		T_BOTH(c3_what_the_ring_promises_to_hold_it_holds),
		T_BOTH(c3_a_gap_begins_at_the_first_unread_and_ends_at_the_floor),
		T_BOTH(c3_by_default_a_gap_stops_the_reader),
		T_BOTH(c3_events_above_the_floor_are_skipped_only_by_name),
		T_BOTH(c4_a_slow_reader_accounts_for_every_event),
		T_BOTH(c5_what_was_borrowed_and_overwritten_is_a_gap),
		T_EMBEDDED(c5_a_reader_stopped_anywhere_never_sees_mixed_bytes),
		T_BOTH(c6_oldest_is_always_the_first_of_a_transaction),
		T_EMBEDDED(c6_oldest_is_aligned_while_the_writer_laps_the_ring),
		T_EMBEDDED(c7_slow_readers_have_no_silent_gap),
		T_BOTH(c8_ten_times_too_slow_is_at_most_a_gap_each_half_ring),
	};

	return cmocka_run_group_tests_name("conformance C", tests, NULL, NULL);
}
