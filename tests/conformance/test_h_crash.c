/* SPDX-License-Identifier: MIT */
/*
 * Writers that die, stop, and come again.
 */
#include "tests/support/waiter.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * ---- H1: killed between two puts ----
 */

static void h1_readers_go_on_where_the_dead_writer_ended(void **state)
{
	struct t_feed *feed = *state;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *attached, *resumed;

	t_feed_start(feed, (struct t_ring){ 0 });
	attached = t_open(feed, t_after(0));
	t_put(feed, "k", "1");
	t_drained(attached, "1:k=1;");
	t_ok(ringtail_marker(attached, marker));
	t_feed_kill(feed);
	t_drained(attached, "");
	assert_int_equal(ringtail_state(attached), RINGTAIL_DEAD);

	t_feed_start(feed, (struct t_ring){ 0 });
	assert_true(t_becomes(attached, RINGTAIL_LIVE));
	resumed = t_open(feed, t_after_marker(marker));
	t_put(feed, "k", "2");
	t_drained(attached, "2:k=2;");
	t_drained(resumed, "2:k=2;");
	assert_int_equal(t_info(attached).n_writers, 2);
	t_close(attached);
	t_close(resumed);
}

static void h1_so_do_they_after_a_close(void **state)
{
	struct t_feed *feed = *state;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *attached, *resumed;

	t_feed_start(feed, (struct t_ring){ 0 });
	attached = t_open(feed, t_after(0));
	t_put(feed, "k", "1");
	t_drained(attached, "1:k=1;");
	t_ok(ringtail_marker(attached, marker));
	t_feed_close(feed);

	t_feed_start(feed, (struct t_ring){ 0 });
	resumed = t_open(feed, t_after_marker(marker));
	t_put(feed, "k", "2");
	t_drained(attached, "2:k=2;");
	t_drained(resumed, "2:k=2;");
	t_close(attached);
	t_close(resumed);
}

/* A ring of another size is another file, and nobody notices. */
static void h1_readers_follow_into_a_ring_of_another_size(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;
	struct ringtail *attached;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64 });
	attached = t_open(feed, t_after(0));
	t_puts(feed, 20);
	t_next_is(attached, 1);
	t_feed_close(feed);

	t_feed_start(feed, (struct t_ring){ .n_slots = 256 });
	t_puts(feed, 20);
	for (uint64_t seq = 2; seq <= 40; seq++)
		t_next_is(attached, seq);
	t_is(ringtail_next(attached, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(t_stats(attached).moves, 1);
	assert_int_equal(t_info(attached).n_slots, 256);
	t_close(attached);
}

static void h1_the_writers_death_ends_every_wait(void **state)
{
	static struct t_waiter waiters[8];
	struct t_feed *feed = *state;
	uint64_t begun;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(waiters); i++) {
		struct ringtail *reader = t_open(feed, t_after(0));

		t_drained(reader, "caught-up");
		t_waiter_start(&waiters[i], reader, T_AGES_NS);
	}
	for (size_t i = 0; i < T_N(waiters); i++)
		assert_true(t_within_ms(60000, t_waiter_sleeps, &waiters[i]));
	begun = t_now_ns();
	t_feed_kill(feed);
	for (size_t i = 0; i < T_N(waiters); i++) {
		t_waiter_join(&waiters[i]);
		t_is(waiters[i].outcome, RINGTAIL_NOTHING);
		assert_int_equal(ringtail_state(waiters[i].reader), RINGTAIL_DEAD);
		t_close(waiters[i].reader);
	}
	assert_true(t_now_ns() - begun < 30000 * (uint64_t)T_MS);
	printf("# H1: death was known to %zu sleepers after %.3f ms\n", T_N(waiters),
	       (double)(t_now_ns() - begun) / 1e6);
}

/*
 * ---- H2: killed anywhere ----
 */

#define H2_SLOTS   256
#define H2_PAYLOAD 16384
#define H2_AHEAD   64 /* events; so the reader is never lapped */

/* Shared by the reader and each writer. */
struct board {
	_Atomic uint64_t position; /* of the reader */
	_Atomic uint64_t opened;   /* newest seq that this writer found */
	_Atomic bool is_open;
	const char *dir;
	uint32_t generation;
};

/* What an event says of itself; as many bytes behind it as @pad says. */
struct saying {
	uint32_t generation, index, size, pad;
	uint64_t seq;
};

static uint32_t pad_of(uint64_t seq)
{
	return (uint32_t)(seq * 7 % 100);
}

/* In a child: transactions of all sizes until it is killed. */
static int write_until_killed(void *arg)
{
	struct board *board = arg;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer;
	struct t_random random = { board->generation };

	options.dir = board->dir;
	options.n_slots = H2_SLOTS;
	options.payload_size = H2_PAYLOAD;
	if (ringtail_writer_open(T_FEED, &options, &writer))
		return 1;
	board->opened = ringtail_writer_seq(writer);
	board->is_open = true;
	for (;;) {
		uint64_t seq = ringtail_writer_seq(writer);
		uint32_t n = 1 + (uint32_t)t_random_below(&random, 16);

		while (seq > board->position + H2_AHEAD)
			;
		if (t_random_below(&random, 8) == 0) {
			/* One that is begun, and dropped. */
			(void)ringtail_begin(writer);
			(void)ringtail_add(writer, RINGTAIL_PUT, "no", 2, "no", 2, 0);
			ringtail_abort(writer);
		}
		(void)ringtail_begin(writer);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t value[sizeof(struct saying) + 100];
			struct saying saying = { board->generation, i, n,
						 pad_of(seq + 1), seq + 1 };

			seq++;
			memcpy(value, &saying, sizeof(saying));
			memset(value + sizeof(saying), (int)(seq & 0xff), saying.pad);
			if (ringtail_add(writer, RINGTAIL_PUT, "k", 1, value,
					 sizeof(saying) + saying.pad, 0))
				return 2;
		}
		(void)ringtail_commit(writer);
	}
}

/* Does the event say what it should, and of which writer is it? */
static uint32_t generation_of(const struct ringtail_event *event)
{
	const uint8_t *value = event->value;
	struct saying s;

	assert_true(event->value_len >= sizeof(s));
	memcpy(&s, value, sizeof(s));
	assert_int_equal(s.seq, event->seq);
	assert_int_equal(s.index, event->txn_index);
	assert_int_equal(s.size, event->txn_size);
	assert_int_equal(s.pad, pad_of(event->seq));
	assert_int_equal(event->value_len, sizeof(s) + s.pad);
	for (uint32_t i = 0; i < s.pad; i++)
		assert_int_equal(value[sizeof(s) + i], event->seq & 0xff);
	return s.generation;
}

/* Reads a transaction; true if there was one.  All of it is of one writer. */
static bool read_txn(struct ringtail *reader, struct board *board, uint32_t generation,
		     int64_t timeout_ns)
{
	const struct ringtail_event *events;
	uint64_t position = ringtail_position(reader);
	size_t n = 0;
	int outcome = ringtail_next_txn(reader, &events, &n, timeout_ns);

	if (outcome == RINGTAIL_NOTHING || outcome == RINGTAIL_CAUGHT_UP)
		return false;
	t_is(outcome, RINGTAIL_EVENT);
	assert_int_equal(n, events[0].txn_size);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(events[i].seq, position + i + 1);
		assert_int_equal(generation_of(&events[i]), generation);
	}
	board->position = ringtail_position(reader);
	return true;
}

static void h2_a_writer_killed_anywhere_leaves_whole_transactions(void **state)
{
	struct t_feed *feed = *state;
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct t_random random = { t_now_ns() };
	struct ringtail *reader;

	printf("# H2: seed %" PRIu64 "\n", random.state);
	assert_true(board != MAP_FAILED);
	t_feed_start(feed, (struct t_ring){ .n_slots = H2_SLOTS,
					    .payload_size = H2_PAYLOAD });
	reader = t_open(feed, t_after(0));
	t_drained(reader, "caught-up");
	t_feed_kill(feed);
	board->dir = feed->dir;

	for (uint32_t generation = 1; generation <= 400; generation++) {
		uint64_t txns =
			t_random_below(&random, 4) ? t_random_below(&random, 100) : 0;
		uint64_t delay_ns = t_random_below(&random, txns ? 20000 : 1500000);
		uint64_t before = ringtail_position(reader);
		int pid;

		board->generation = generation;
		board->is_open = false;
		pid = t_spawn(write_until_killed, board);
		while (txns) /* or it is killed while it opens */
			txns -= read_txn(reader, board, generation, T_MS);
		for (uint64_t end = t_now_ns() + delay_ns; t_now_ns() < end;)
			;
		(void)kill(pid, SIGKILL);
		assert_int_equal(t_join(pid), 1000 + SIGKILL);
		while (read_txn(reader, board, generation, 0))
			;
		/* It found what we had seen, and nothing came out of nowhere. */
		if (board->is_open)
			assert_int_equal(board->opened, before);
		else
			assert_int_equal(ringtail_position(reader), before);
		assert_true(t_accounts_add_up(reader));
	}
	printf("# H2: %" PRIu64 " events of 400 writers\n", ringtail_position(reader));

	/* A last writer, and a reader that comes new: the same end. */
	t_feed_start(feed, (struct t_ring){ .n_slots = H2_SLOTS,
					    .payload_size = H2_PAYLOAD });
	assert_int_equal(t_feed_seq(feed), ringtail_position(reader));
	assert_string_equal(t_drain(reader), "");
	t_put(feed, "k", "end");
	t_next_is(reader, t_feed_seq(feed));
	assert_int_equal(t_stats(reader).lost, 0);
	t_close(reader);
	(void)munmap(board, sizeof(*board));
}

#ifdef T_HAVE_DAEMON
/* Sends transactions of three events that name their writer, without waiting. */
static void append_txns(struct t_feed *feed, unsigned generation, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		(void)redisAppendCommand(feed->redis, "MULTI");
		for (unsigned j = 0; j < 3; j++)
			(void)redisAppendCommand(feed->redis, "SET k%u %u:%u", j,
						 generation, i);
		(void)redisAppendCommand(feed->redis, "EXEC");
	}
}

/* Starts sending, kills, and returns how many transactions were answered. */
static unsigned send_and_kill(struct t_feed *feed, uint64_t delay_us)
{
	unsigned answered = 0;
	void *reply = NULL;
	int done = 0;

	while (!done && redisBufferWrite(feed->redis, &done) == REDIS_OK)
		;
	for (uint64_t end = t_now_ns() + 1000 * delay_us; t_now_ns() < end;)
		;
	(void)kill(feed->daemon.pid, SIGKILL);
	(void)t_join(feed->daemon.pid);
	feed->daemon.pid = 0;
	while (redisGetReply(feed->redis, &reply) == REDIS_OK && reply) {
		answered += ((redisReply *)reply)->type == REDIS_REPLY_ARRAY;
		freeReplyObject(reply);
		reply = NULL;
	}
	redisFree(feed->redis);
	feed->redis = NULL;
	feed->running = false;
	return answered;
}

/* The transactions of this writer after @seen, each whole; and nothing else. */
static unsigned read_of(struct ringtail *reader, unsigned generation, unsigned seen)
{
	const struct ringtail_event *events;
	char want[32];
	size_t n;

	while (ringtail_next_txn(reader, &events, &n, 0) == RINGTAIL_EVENT) {
		assert_int_equal(n, 3);
		(void)snprintf(want, sizeof(want), "%u:%u", generation, ++seen);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(events[i].value_len, strlen(want));
			assert_memory_equal(events[i].value, want, strlen(want));
		}
	}
	return seen;
}

static void h2_a_ringtaild_killed_anywhere_leaves_whole_transactions(void **state)
{
	struct t_feed *feed = *state;
	struct t_random random = { t_now_ns() };
	struct ringtail *reader = NULL;
	unsigned partly = 0;

	printf("# H2: seed %" PRIu64 "\n", random.state);
	t_feed_start(feed, (struct t_ring){ .n_slots = 2048 });
	reader = t_open(feed, t_after(0));
	t_drained(reader, "caught-up");
	for (unsigned generation = 1; generation <= 60; generation++) {
		uint64_t before = ringtail_position(reader);
		unsigned answered, seen, more;

		append_txns(feed, generation, 600);
		answered = send_and_kill(feed, t_random_below(&random, 1000));
		seen = read_of(reader, generation, 0);
		t_feed_start(feed, (struct t_ring){ .n_slots = 2048 });
		/* What was in the log already comes now; without one there is no more.
		 */
		more = read_of(reader, generation, seen);
		if (feed->by == &t_daemon_publisher)
			assert_int_equal(more, seen);
		assert_true(answered <= seen && seen <= more);
		assert_int_equal(ringtail_position(reader), before + 3 * more);
		assert_int_equal(ringtail_position(reader), t_feed_seq(feed));
		partly += more > 0 && more < 600;
	}
	printf("# H2: %u of 60 died on the way\n", partly);
	t_close(reader);
}
#endif

/*
 * ---- H3: one writer at a time ----
 */

static int open_another(const struct t_feed *feed, struct ringtail_writer **ret)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;

	options.dir = feed->dir;
	options.n_slots = feed->ring.n_slots;
	options.payload_size = feed->ring.payload_size;
	return ringtail_writer_open(T_FEED, &options, ret);
}

static int try_open_another(void *feed)
{
	struct ringtail_writer *writer;
	int e = open_another(feed, &writer);

	return e == RINGTAIL_E_BUSY ? 1 : e ? 2 : 0;
}

/* A process that gets the number of a dead one; 0 if that is not allowed here. */
static int squat(int pid)
{
	pid_t tid = pid;
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&tid,
		.set_tid_size = 1,
	};
	long child = syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		for (;;)
			(void)pause();
	}
	return child > 0 ? (int)child : 0;
}

static void h3_a_second_writer_is_refused_until_the_first_is_dead(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_writer *writer = NULL;
	struct ringtail *reader;
	int pid, squatter;

	t_feed_start(feed, (struct t_ring){ 0 });
	reader = t_open(feed, t_after(0));
	t_put(feed, "k", "1");
	t_is(open_another(feed, &writer), RINGTAIL_E_BUSY);
	assert_non_null(strstr(ringtail_error(NULL), T_FEED));
	assert_int_equal(t_in_child(try_open_another, feed), 1);
	t_put(feed, "k", "2"); /* the refused ones changed nothing */
	t_drained(reader, "1:k=1;2:k=2;");

	pid = t_feed_pid(feed);
	t_feed_kill(feed);
	squatter = squat(pid);
	printf("# H3: pid %d %s\n", pid,
	       squatter ? "is in use again" : "cannot be given to another here");
	t_ok(open_another(feed, &writer));
	assert_true(t_becomes(reader, RINGTAIL_LIVE));
	t_ok(ringtail_put(writer, "k", 1, "3", 1, 0));
	t_drained(reader, "3:k=3;");
	ringtail_writer_close(writer);
	if (squatter) {
		(void)kill(squatter, SIGKILL);
		(void)t_join(squatter);
	}

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "4");
	t_drained(reader, "4:k=4;");
	t_close(reader);
}

/*
 * ---- H4: stopped ----
 */

static void h4_a_stopped_writer_is_stalled_not_dead(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ .beat_ms = 50 });
	reader = t_open(feed, t_after(0));
	t_put(feed, "k", "1");
	assert_true(t_becomes(reader, RINGTAIL_LIVE));

	(void)kill(t_feed_pid(feed), SIGSTOP);
	assert_true(t_becomes(reader, RINGTAIL_STALLED));
	t_drained(reader, "1:k=1;");
	assert_true(t_info(reader).heartbeat_age_ns >=
		    3 * t_info(reader).beat_every_ns);
	t_drained(reader, "");

	(void)kill(t_feed_pid(feed), SIGCONT);
	assert_true(t_becomes(reader, RINGTAIL_LIVE));
	t_put(feed, "k", "2");
	t_drained(reader, "2:k=2;");
	assert_int_equal(t_stats(reader).lost, 0);

	(void)kill(t_feed_pid(feed), SIGSTOP); /* and a stopped one can be killed */
	t_feed_kill(feed);
	assert_int_equal(ringtail_state(reader), RINGTAIL_DEAD);
	t_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_KILLABLE(h1_readers_go_on_where_the_dead_writer_ended),
		T_KILLABLE(h1_so_do_they_after_a_close),
		T_KILLABLE(h1_readers_follow_into_a_ring_of_another_size),
		T_KILLABLE(h1_the_writers_death_ends_every_wait),
		T_BY(h2_a_writer_killed_anywhere_leaves_whole_transactions, t_child,
		     " (embedded)"),
#ifdef T_HAVE_DAEMON
		T_DAEMON(h2_a_ringtaild_killed_anywhere_leaves_whole_transactions),
		T_LOG(h1_readers_go_on_where_the_dead_writer_ended),
		T_LOG(h1_so_do_they_after_a_close),
		T_LOG(h1_readers_follow_into_a_ring_of_another_size),
		T_LOG(h1_the_writers_death_ends_every_wait),
		T_LOG(h2_a_ringtaild_killed_anywhere_leaves_whole_transactions),
#endif
		T_KILLABLE(h3_a_second_writer_is_refused_until_the_first_is_dead),
		T_KILLABLE(h4_a_stopped_writer_is_stalled_not_dead),
	};

	return cmocka_run_group_tests_name("conformance H", tests, NULL, NULL);
}
