/* SPDX-License-Identifier: MIT */
/*
 * Waiting, and what ends it.  Times are asserted only as "long before the timeout";
 * what they really were is printed.
 */
#include "tests/support/waiter.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define LONG_NS (30000 * T_MS) /* a timeout that nothing here should reach */

static const uint32_t strategies[] = { RINGTAIL_WAIT_SLEEP, RINGTAIL_WAIT_SPIN_SLEEP,
				       RINGTAIL_WAIT_SPIN };

static struct ringtail *open_waiting(const struct t_feed *feed, uint32_t wait)
{
	struct ringtail_options options = t_after(0);

	options.wait = wait;
	return t_open(feed, options);
}

/* Returns once the thread sleeps in its call (or has had its time to). */
static void start_waiting(struct t_waiter *w, struct ringtail *reader)
{
	t_waiter_start(w, reader, LONG_NS);
	(void)t_within_ms(200, t_waiter_sleeps, w); /* a spinning one never does */
}

/*
 * ---- F1: timeouts ----
 */

static void f1_a_timeout_of_zero_does_not_wait(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(strategies); i++) {
		struct ringtail *reader = open_waiting(feed, strategies[i]);
		uint64_t begun = t_now_ns();

		t_is(ringtail_next(reader, &event, RINGTAIL_FOREVER),
		     RINGTAIL_CAUGHT_UP);
		for (int j = 0; j < 1000; j++)
			t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
		assert_true(t_now_ns() - begun < 5000 * (uint64_t)T_MS);
		assert_int_equal(t_stats(reader).sleeps, 0);
		assert_int_equal(ringtail_position(reader), 0);
		t_close(reader);
	}
}

static void f1_a_timeout_is_waited_out_and_not_more(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(strategies); i++) {
		struct ringtail *reader = open_waiting(feed, strategies[i]);
		uint64_t begun, waited;

		t_drained(reader, "caught-up");
		begun = t_now_ns();
		t_is(ringtail_next(reader, &event, 500 * T_MS), RINGTAIL_NOTHING);
		waited = t_now_ns() - begun;
		assert_true(waited >= 500 * (uint64_t)T_MS);
		assert_true(waited < 20000 * (uint64_t)T_MS);
		printf("# F1: 500 ms took %.3f ms\n", (double)waited / 1e6);
		t_close(reader);
	}
}

static void f1_a_commit_ends_the_wait(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(strategies); i++) {
		struct ringtail *reader = open_waiting(feed, strategies[i]);
		uint64_t begun = t_now_ns(), seq = t_feed_seq(feed), committed;
		struct t_waiter w;

		while (ringtail_position(reader) < seq)
			t_next_is(reader, ringtail_position(reader) + 1);
		(void)t_drain(reader);
		start_waiting(&w, reader);
		committed = t_now_ns();
		t_put(feed, "k", "v");
		t_waiter_join(&w);
		t_is(w.outcome, RINGTAIL_EVENT);
		assert_int_equal(w.seq, seq + 1);
		assert_true(w.returned_ns - begun < 20000 * (uint64_t)T_MS);
		printf("# F1: woken %.3f ms after the commit\n",
		       w.returned_ns > committed
			       ? (double)(w.returned_ns - committed) / 1e6
			       : 0.0);
		t_close(reader);
	}
}

/* Poll says that there is something to read, long before its timeout. */
static void becomes_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int n;

	do /* arming may interrupt a blocking call once */
		n = poll(&poll_fd, 1, (int)(LONG_NS / T_MS));
	while (n < 0 && errno == EINTR);
	assert_int_equal(n, 1);
	assert_int_equal(poll_fd.revents, POLLIN);
}

/* Reads until the descriptor is armed again; it can be readable for nothing. */
static int read_armed(struct ringtail *reader, int fd, struct ringtail_event *event)
{
	int outcome;

	for (int tries = 0; tries < 1000; tries++) {
		becomes_readable(fd);
		outcome = ringtail_next(reader, event, 0);
		if (outcome != RINGTAIL_NOTHING)
			return outcome;
	}
	return RINGTAIL_NOTHING;
}

static void follow_by_poll(struct t_feed *feed, uint32_t fd_mode)
{
	struct ringtail_options options = t_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct ringtail *reader, *other;
	uint64_t seq = t_feed_seq(feed);
	int fd;

	options.fd_mode = fd_mode;
	reader = t_open(feed, options);
	other = t_open(feed, options);
	fd = ringtail_fd(reader);
	if (fd == RINGTAIL_E_UNSUPPORTED) {
		printf("# this kernel has no futex operation in io_uring\n");
		t_close(reader);
		t_close(other);
		return;
	}
	assert_true(fd >= 0);
	t_drained(reader, "caught-up");
	t_drained(other, "caught-up");
	for (int i = 0; i < 200; i++) {
		t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
		t_put(feed, "k", "v");
		t_is(read_armed(reader, fd, &event), RINGTAIL_EVENT);
		assert_int_equal(event.seq, ++seq);
	}
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
	ringtail_cancel(reader);
	t_is(read_armed(reader, fd, &event), RINGTAIL_E_CANCELED);
	t_close(reader);
	while (ringtail_next(other, &event, 0) == RINGTAIL_EVENT)
		;
	fd = ringtail_fd(other);
	assert_true(fd >= 0);
	t_is(ringtail_next(other, &event, 0), RINGTAIL_NOTHING);
	t_feed_close(feed);
	t_is(read_armed(other, fd, &event), RINGTAIL_E_CLOSED);
	t_close(other);
}

static void f1_a_commit_makes_the_descriptor_readable(void **state)
{
	static const uint32_t modes[] = { RINGTAIL_FD_URING, RINGTAIL_FD_THREAD,
					  RINGTAIL_FD_AUTO };
	struct t_feed *feed = *state;

	for (size_t i = 0; i < T_N(modes); i++) {
		if (!feed->running)
			t_feed_start(feed, (struct t_ring){ 0 });
		follow_by_poll(feed, modes[i]);
	}
}

/*
 * ---- F2: no wake-up is lost ----
 */

struct ball {
	const char *dir;
	uint32_t wake_mode;
	unsigned rounds;
	uint32_t wait;
};

static int open_court(const struct ball *ball, const char *own, const char *other,
		      struct ringtail_writer **writer, struct ringtail **reader)
{
	struct ringtail_writer_options wo = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_options ro = t_after(0);
	int e;

	wo.dir = ball->dir;
	wo.n_slots = 64;
	wo.payload_size = 4096;
	wo.wake_mode = ball->wake_mode;
	e = ringtail_writer_open(own, &wo, writer);
	if (e)
		return e;
	ro.dir = ball->dir;
	ro.flags = RINGTAIL_WAIT_FOR_FEED;
	ro.open_timeout_ns = LONG_NS;
	ro.wait = ball->wait;
	return ringtail_open(other, &ro, reader);
}

/*
 * A sleep ends by itself after a second, so a wake-up that was lost looks like a wait
 * of that length.  So does a machine that stood still, which the canary tells.
 */
#define LOST_NS (900 * (uint64_t)T_MS)

struct canary {
	_Atomic bool done;
	uint64_t late_ns; /* most that a short pause took too long */
	pthread_t thread;
};

static void *pause_again_and_again(void *arg)
{
	struct canary *canary = arg;

	while (!canary->done) {
		uint64_t begun = t_now_ns(), took;

		t_sleep_ms(20);
		took = t_now_ns() - begun;
		canary->late_ns = took > canary->late_ns ? took : canary->late_ns;
	}
	return NULL;
}

/* Waits for the other side's n-th event, at most 5 s a time. */
static bool await(struct ringtail *reader, uint64_t n, uint64_t *longest)
{
	uint64_t begun = t_now_ns(), took;
	struct ringtail_event event;
	int outcome;

	do
		outcome = ringtail_next(reader, &event, 5000 * T_MS);
	while (outcome == RINGTAIL_CAUGHT_UP);
	took = t_now_ns() - begun;
	if (n > 1 && took > *longest) /* the first waits for the other to begin */
		*longest = took;
	return outcome == RINGTAIL_EVENT && event.seq == n;
}

static int rally(const struct ball *ball, struct ringtail_writer *writer,
		 struct ringtail *reader, bool serve)
{
	struct canary canary = { 0 };
	uint64_t longest = 0;
	int verdict = 0;

	if (pthread_create(&canary.thread, NULL, pause_again_and_again, &canary))
		return 7;
	for (unsigned i = 1; i <= ball->rounds && !verdict; i++) {
		if (!serve && !await(reader, i, &longest))
			verdict = 2;
		else if (ringtail_put(writer, "k", 1, &i, sizeof(i), 0))
			verdict = 3;
		else if (serve && !await(reader, i, &longest))
			verdict = 4;
	}
	canary.done = true;
	(void)pthread_join(canary.thread, NULL);
	if (!verdict && longest > LOST_NS && canary.late_ns < LOST_NS / 3)
		verdict = 6;
	return verdict;
}

static int play(const struct ball *ball, const char *own, const char *other, bool serve)
{
	struct ringtail_writer *writer = NULL;
	struct ringtail *reader = NULL;
	int verdict;

	if (open_court(ball, own, other, &writer, &reader))
		return 1;
	verdict = rally(ball, writer, reader, serve);
	if (!verdict && !t_accounts_add_up(reader))
		verdict = 5;
	ringtail_close(reader);
	ringtail_writer_close(writer);
	return verdict;
}

static int play_back(void *arg)
{
	return play(arg, "pong", "ping", false);
}

static void ping_pong(struct t_feed *feed, uint32_t wake_mode, uint32_t wait)
{
	struct ball ball = { feed->dir, wake_mode, 50000, wait };
	uint64_t begun = t_now_ns();
	int pid = t_spawn(play_back, &ball);
	int here = play(&ball, "ping", "pong", true);

	assert_int_equal(here, 0);
	assert_int_equal(t_join(pid), 0);
	printf("# F2: %u commits in %.3f s\n", 2 * ball.rounds,
	       (double)(t_now_ns() - begun) / 1e9);
}

static void f2_ping_pong_by_the_bell_loses_no_wake_up(void **state)
{
	ping_pong(*state, RINGTAIL_WAKE_BELL, RINGTAIL_WAIT_SLEEP);
}

static void f2_ping_pong_by_waking_always_loses_no_wake_up(void **state)
{
	ping_pong(*state, RINGTAIL_WAKE_ALWAYS, RINGTAIL_WAIT_SLEEP);
}

static void f2_ping_pong_with_spinning_loses_no_wake_up(void **state)
{
	ping_pong(*state, RINGTAIL_WAKE_BELL, RINGTAIL_WAIT_SPIN_SLEEP);
}

/*
 * ---- F3: not woken for nothing ----
 */

static void f3_commits_while_the_reader_is_busy_are_one_wake_up_at_most(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_stats before, after;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ .n_slots = 2048 });

	struct ringtail *reader = t_open(feed, t_after(0));

	t_drained(reader, "caught-up");
	t_is(ringtail_next(reader, &event, 1 * T_MS), RINGTAIL_NOTHING);
	before = t_stats(reader);
	t_puts(feed, 1000);
	for (uint64_t seq = 1; seq <= 1000; seq++)
		t_next_is(reader, seq);
	t_is(ringtail_next(reader, &event, 300 * T_MS), RINGTAIL_NOTHING);
	after = t_stats(reader);
	/* A sweep that was under way when the last commit came may wake once more. */
	assert_in_range(after.spurious_wakes - before.spurious_wakes, 0,
			feed->by == &t_embedded ? 1 : 2);
	assert_in_range(t_info(reader).n_wake_calls, 0,
			feed->by == &t_embedded ? 2 : 2000);
	t_close(reader);
}

static int count_maps(void)
{
	char *text = t_read_file("/proc/self/maps", NULL);
	int n = 0;

	for (const char *at = text; at && (at = strchr(at, '\n')); at++)
		n++;
	free(text);
	return n;
}

static void f3_opens_and_closes_leave_nothing_behind(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = t_after(0);
	struct ringtail_event event;
	int fds, maps;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64, .payload_size = 4096 });
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	t_close(t_open(feed, options));
	fds = t_count_fds();
	maps = count_maps();
	for (int i = 0; i < 5000; i++) {
		struct ringtail *reader = t_open(feed, options);

		t_put(feed, "k", "v");
		assert_true(ringtail_next(reader, &event, T_AGES_NS) > 0);
		if (i % 50 == 0) {
			while (ringtail_next(reader, &event, 0) > 0)
				;
			t_is(ringtail_next(reader, &event, 1), RINGTAIL_NOTHING);
			assert_true(ringtail_fd(reader) >= 0);
			t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
		}
		t_close(reader);
	}
	assert_int_equal(t_count_fds(), fds);
	assert_in_range(count_maps(), maps - 4, maps + 4); /* the heap's own */
}

/*
 * ---- F4: cancel ----
 */

static void stays_canceled(struct ringtail *reader)
{
	const struct ringtail_event *events;
	struct ringtail_event event;
	size_t n;

	for (int i = 0; i < 3; i++) {
		t_is(ringtail_next(reader, &event, 0), RINGTAIL_E_CANCELED);
		t_is(ringtail_next(reader, &event, LONG_NS), RINGTAIL_E_CANCELED);
		t_is(ringtail_next_txn(reader, &events, &n, 0), RINGTAIL_E_CANCELED);
		t_is(ringtail_borrow(reader, &event, 0), RINGTAIL_E_CANCELED);
	}
}

static void f4_cancel_from_another_thread_ends_the_wait(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (size_t i = 0; i < T_N(strategies); i++) {
		struct ringtail *reader = open_waiting(feed, strategies[i]);
		uint64_t begun;
		struct t_waiter w;

		(void)t_drain(reader);
		start_waiting(&w, reader);
		begun = t_now_ns();
		ringtail_cancel(reader);
		t_waiter_join(&w);
		t_is(w.outcome, RINGTAIL_E_CANCELED);
		printf("# F4: canceled after %.3f ms\n",
		       (double)(w.returned_ns - begun) / 1e6);
		t_put(feed, "k", "v"); /* and what comes later is not seen */
		stays_canceled(reader);
		t_close(reader);
	}
}

static void f4_cancel_may_come_before_the_wait(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	reader = t_open(feed, t_after(0));
	t_next_is(reader, 1);
	ringtail_cancel(reader);
	stays_canceled(reader);
	assert_int_equal(ringtail_position(reader), 1);
	t_close(reader);
}

static struct ringtail *canceled_by_signal;
static _Atomic int signals;

static void on_alarm(int number)
{
	(void)number;
	signals++;
	ringtail_cancel(canceled_by_signal);
}

static void f4_cancel_from_a_signal_handler_ends_the_wait(void **state)
{
	struct t_feed *feed = *state;
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int restart = 0; restart < 2; restart++) {
		struct itimerval timer = { .it_value = { .tv_usec = 500000 } };
		uint64_t begun = t_now_ns();

		canceled_by_signal = t_open(feed, t_after(0));
		t_drained(canceled_by_signal, "caught-up");
		action.sa_flags = restart ? SA_RESTART : 0;
		signals = 0;
		assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
		assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
		t_is(ringtail_next(canceled_by_signal, &event, LONG_NS),
		     RINGTAIL_E_CANCELED);
		assert_int_equal(signals, 1);
		assert_true(t_now_ns() - begun < 20000 * (uint64_t)T_MS);
		assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
		stays_canceled(canceled_by_signal);
		t_close(canceled_by_signal);
	}
}

static void f4_the_first_reason_to_stop_stays(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ .n_slots = 64, .payload_size = 4096 });

	struct ringtail *lapped = t_open(feed, t_after(0));
	struct ringtail *canceled = t_open(feed, t_after(0));

	ringtail_cancel(canceled);
	t_is(ringtail_next(canceled, &event, 0), RINGTAIL_E_CANCELED);
	t_puts(feed, 200);
	t_is(ringtail_next(lapped, &event, 0), RINGTAIL_E_LAPPED);
	ringtail_cancel(lapped);
	t_is(ringtail_next(lapped, &event, 0), RINGTAIL_E_LAPPED);
	t_is(ringtail_next(lapped, &event, LONG_NS), RINGTAIL_E_LAPPED);
	t_feed_close(feed);
	t_is(ringtail_next(lapped, &event, 0), RINGTAIL_E_LAPPED);
	t_is(ringtail_next(canceled, &event, 0), RINGTAIL_E_CANCELED);
	t_close(lapped);
	t_close(canceled);
}

/*
 * ---- F5, F6: close, and before the beginning ----
 */

static void f5_after_a_close_readers_drain_and_then_know(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event event;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 20);

	struct ringtail *reader = t_open(feed, t_after(0));

	t_next_is(reader, 1);
	t_feed_close(feed);
	assert_int_equal(ringtail_state(reader), RINGTAIL_CLOSED);
	for (uint64_t seq = 2; seq <= 20; seq++)
		t_next_is(reader, seq);
	for (int i = 0; i < 3; i++)
		t_is(ringtail_next(reader, &event, LONG_NS), RINGTAIL_E_CLOSED);
	ringtail_cancel(reader);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_E_CLOSED);
	t_close(reader);

	reader = t_open(feed, t_after(18)); /* what it held can still be read */
	t_next_is(reader, 19);
	t_next_is(reader, 20);
	t_is(ringtail_next(reader, &event, LONG_NS), RINGTAIL_E_CLOSED);
	t_close(reader);
}

static void f5_a_close_ends_the_wait(void **state)
{
	struct t_feed *feed = *state;

	for (size_t i = 0; i < T_N(strategies); i++) {
		struct ringtail *reader;
		uint64_t begun;
		struct t_waiter w;

		t_feed_start(feed, (struct t_ring){ 0 });
		reader = open_waiting(feed, strategies[i]);
		(void)t_drain(reader);
		start_waiting(&w, reader);
		begun = t_now_ns();
		t_feed_close(feed);
		t_waiter_join(&w);
		t_is(w.outcome, RINGTAIL_E_CLOSED);
		assert_true(w.returned_ns < begun + 20000 * (uint64_t)T_MS);
		t_close(reader);
	}
}

struct opener {
	const struct t_feed *feed;
	const char *dir;
	struct ringtail *reader;
	int result;
	pthread_t thread;
};

static void *open_when_there(void *arg)
{
	struct opener *o = arg;
	struct ringtail_options options = t_after(0);

	options.dir = o->dir;
	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = LONG_NS;
	o->result = ringtail_open(T_FEED, &options, &o->reader);
	return NULL;
}

static void f6_before_there_is_a_feed(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = t_after(0);
	struct opener opener = { .feed = feed };
	struct ringtail *reader = NULL;
	uint64_t begun = t_now_ns();

	t_is(t_try_open(feed, options, &reader), RINGTAIL_E_NO_FEED);
	assert_non_null(strstr(ringtail_error(NULL), T_FEED));
	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = 50 * T_MS;
	t_is(t_try_open(feed, options, &reader), RINGTAIL_E_NO_FEED);
	assert_true(t_now_ns() - begun >= 50 * (uint64_t)T_MS);
	assert_null(reader);

	opener.dir = feed->dir;
	assert_int_equal(pthread_create(&opener.thread, NULL, open_when_there, &opener),
			 0);
	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "v");
	assert_int_equal(pthread_join(opener.thread, NULL), 0);
	t_ok(opener.result);
	t_next_is(opener.reader, 1);
	t_close(opener.reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(f1_a_timeout_of_zero_does_not_wait),
		T_BOTH(f1_a_timeout_is_waited_out_and_not_more),
		T_BOTH(f1_a_commit_ends_the_wait),
		T_BOTH(f1_a_commit_makes_the_descriptor_readable),
		T_EMBEDDED(f2_ping_pong_by_the_bell_loses_no_wake_up),
		T_EMBEDDED(f2_ping_pong_by_waking_always_loses_no_wake_up),
		T_EMBEDDED(f2_ping_pong_with_spinning_loses_no_wake_up),
		T_BOTH(f3_commits_while_the_reader_is_busy_are_one_wake_up_at_most),
		T_BOTH(f3_opens_and_closes_leave_nothing_behind),
		T_BOTH(f4_cancel_from_another_thread_ends_the_wait),
		T_BOTH(f4_cancel_may_come_before_the_wait),
		T_BOTH(f4_cancel_from_a_signal_handler_ends_the_wait),
		T_BOTH(f4_the_first_reason_to_stop_stays),
		T_BOTH(f5_after_a_close_readers_drain_and_then_know),
		T_BOTH(f5_a_close_ends_the_wait),
		T_BOTH(f6_before_there_is_a_feed),
	};

	return cmocka_run_group_tests_name("conformance F", tests, NULL, NULL);
}
