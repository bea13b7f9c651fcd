/* SPDX-License-Identifier: MIT */
/*
 * test_wait.c - client/wait.c: spinning, sleeping, cancel, close
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sys/time.h>

#define MS INT64_C(1000000)

static const uint32_t waits[] = { RINGTAIL_WAIT_SLEEP, RINGTAIL_WAIT_SPIN_SLEEP,
				  RINGTAIL_WAIT_SPIN };

/* A reader of what comes, past its first answer, that waits in this way. */
static struct ringtail *waiting(struct rig *rig, uint32_t wait)
{
	struct ringtail_options o = rig_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct ringtail *r;

	o.wait = wait;
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	return r;
}

static void a_timeout_is_kept(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;

	rig_open(rig);
	for (size_t i = 0; i < T_N(waits); i++) {
		struct ringtail *r = waiting(rig, waits[i]);
		uint64_t began = t_now_ns();

		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
		t_is(ringtail_next(r, &event, 1), RINGTAIL_NOTHING);
		assert_true(t_now_ns() - began < 500 * MS);
		began = t_now_ns();
		t_is(ringtail_next(r, &event, 20 * MS), RINGTAIL_NOTHING);
		assert_in_range(t_now_ns() - began, 20 * MS, 500 * MS);
		assert_int_equal(ringtail_position(r), 0);
	}
}

static void a_reader_that_has_an_event_does_not_wait(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 3);
	for (size_t i = 0; i < T_N(waits); i++) {
		struct ringtail_options o = rig_after(0);

		o.wait = waits[i];
		r = rig_read(rig, o);
		for (int n = 0; n < 3; n++)
			t_is(ringtail_next(r, &event, RINGTAIL_FOREVER),
			     RINGTAIL_EVENT);
		assert_int_equal(rig_stats(r).sleeps, 0);
	}
}

/* One that waits in each way, all at the same time. */
static void begin_all(struct rig *rig, struct rig_sleeper *s)
{
	for (size_t i = 0; i < T_N(waits); i++) {
		struct ringtail *r = waiting(rig, waits[i]);

		if (waits[i] == RINGTAIL_WAIT_SPIN) {
			s[i] = (struct rig_sleeper){ .r = r };
			assert_int_equal(
				pthread_create(&s[i].thread, NULL, rig_sleep, &s[i]),
				0);
		} else {
			rig_sleep_begin(&s[i], r);
		}
	}
}

/* How long it took until all had ended. */
static uint64_t end_all(struct rig_sleeper *s, int want)
{
	uint64_t began = t_now_ns();

	for (size_t i = 0; i < T_N(waits); i++)
		t_is(rig_sleep_end(&s[i]), want);
	return t_now_ns() - began;
}

/*
 * Whom nobody wakes looks up after a second, each time.  A slow machine is as late now
 * and then, but not as often as it is tried here.
 */
static void are_woken(struct rig *rig, uint64_t (*once)(struct rig *rig))
{
	for (unsigned attempt = 0; attempt < 20; attempt++) {
		uint64_t took = once(rig);

		while (rig->n_readers)
			rig_forget(rig, rig->readers[0]);
		rig_close(rig);
		if (took < UINT64_C(700000000))
			return;
	}
	fail_msg("each of 20 times it took most of a second");
}

static uint64_t commit_to_all(struct rig *rig)
{
	struct rig_sleeper s[T_N(waits)];
	uint64_t took;

	rig_open(rig);
	begin_all(rig, s);
	rig_put(rig, 1);
	took = end_all(s, RINGTAIL_EVENT);
	for (size_t i = 0; i < T_N(waits); i++)
		rig_is(&s[i].event, rt_writer_head(rig->w));
	return took;
}

static void a_commit_ends_every_way_to_wait(void **state)
{
	are_woken(*state, commit_to_all);
}

static uint64_t close_under_all(struct rig *rig)
{
	struct rig_sleeper s[T_N(waits)];

	rig_open(rig);
	begin_all(rig, s);
	rig_close(rig);
	return end_all(s, RINGTAIL_E_CLOSED);
}

static void close_ends_every_way_to_wait(void **state)
{
	are_woken(*state, close_under_all);
}

static uint64_t cancel_all(struct rig *rig)
{
	struct rig_sleeper s[T_N(waits)];

	rig_open(rig);
	begin_all(rig, s);
	for (size_t i = 0; i < T_N(waits); i++)
		ringtail_cancel(s[i].r);
	return end_all(s, RINGTAIL_E_CANCELED);
}

static void cancel_ends_every_way_to_wait(void **state)
{
	are_woken(*state, cancel_all);
}

static uint64_t die_under_all(struct rig *rig)
{
	struct rig_sleeper s[T_N(waits)];
	struct rig_child child;
	uint64_t took;

	rig_child_begin(rig, &child);
	begin_all(rig, s);
	rig_child_end(&child, SIGKILL);
	took = end_all(s, RINGTAIL_NOTHING);
	for (size_t i = 0; i < T_N(waits); i++)
		assert_int_equal(ringtail_state(s[i].r), RINGTAIL_DEAD);
	return took;
}

static void death_ends_every_way_to_wait(void **state)
{
	are_woken(*state, die_under_all);
}

/* Whether it dies before a wait or in it makes no difference. */
static void a_death_before_the_wait_is_news_too(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r[T_N(waits)], *late;

	rig_open(rig);
	for (size_t i = 0; i < T_N(waits); i++)
		r[i] = waiting(rig, waits[i]);
	rig_drop(rig);
	for (size_t i = 0; i < T_N(waits); i++) {
		uint64_t began = t_now_ns();

		t_is(ringtail_next(r[i], &event, 5000 * MS), RINGTAIL_NOTHING);
		assert_true(t_now_ns() - began < 4000 * MS);
		began = t_now_ns();
		t_is(ringtail_next(r[i], &event, 10 * MS), RINGTAIL_NOTHING);
		assert_true(t_now_ns() - began >= UINT64_C(10000000)); /* once */
	}
	late = waiting(rig, RINGTAIL_WAIT_SLEEP);
	assert_int_equal(ringtail_state(late), RINGTAIL_DEAD);
	t_is(ringtail_next(late, &event, 10 * MS), RINGTAIL_NOTHING);
	assert_true(rig_stats(late).sleeps > 0);
}

static void a_spinner_makes_no_sleep(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = waiting(rig, RINGTAIL_WAIT_SPIN);
	t_is(ringtail_next(r, &event, 2 * MS), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).sleeps, 0);
	r = waiting(rig, RINGTAIL_WAIT_SLEEP);
	t_is(ringtail_next(r, &event, 2 * MS), RINGTAIL_NOTHING);
	assert_true(rig_stats(r).sleeps > 0);
}

/*
 * ---- Cancel ----
 */

static void after_cancel_there_is_nothing_more(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 3);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	ringtail_cancel(r);
	ringtail_cancel(r);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CANCELED);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CANCELED);
	assert_non_null(strstr(ringtail_error(r), "canceled"));
	rig_close(rig);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CANCELED);
	assert_int_equal(rig_stats(r).delivered, 1);
	r = rig_read(rig, rig_after(0));
	ringtail_cancel(r); /* before the first call */
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CANCELED);
}

static struct ringtail *to_cancel;

static void on_alarm(int number)
{
	int before = errno;

	(void)number;
	errno = 12345;
	ringtail_cancel(to_cancel);
	if (errno != 12345)
		abort();
	errno = before;
}

static void a_signal_handler_can_cancel(void **state)
{
	struct rig *rig = *state;
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct itimerval soon = { .it_value = { .tv_usec = 10000 } };
	struct ringtail_event event;

	rig_open(rig);
	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	for (size_t i = 0; i < T_N(waits); i++) {
		uint64_t began = t_now_ns();

		to_cancel = waiting(rig, waits[i]);
		assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
		t_is(ringtail_next(to_cancel, &event, RINGTAIL_FOREVER),
		     RINGTAIL_E_CANCELED);
		assert_true(t_now_ns() - began < 500 * MS);
	}
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

static void on_nothing(int number)
{
	(void)number;
}

static void other_signals_do_not_end_a_wait(void **state)
{
	struct rig *rig = *state;
	struct sigaction action = { .sa_handler = on_nothing }, old;
	struct itimerval often = { .it_interval = { .tv_usec = 2000 },
				   .it_value = { .tv_usec = 2000 } };
	struct itimerval never = { 0 };
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t began;

	rig_open(rig);
	r = waiting(rig, RINGTAIL_WAIT_SLEEP);
	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	began = t_now_ns();
	t_is(ringtail_next(r, &event, 30 * MS), RINGTAIL_NOTHING);
	assert_true(t_now_ns() - began >= UINT64_C(30000000));
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

/*
 * ---- Close ----
 */

static void a_closed_feed_is_drained_first(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 5);
	r = rig_read(rig, rig_after(0));
	rig_close(rig);
	assert_int_equal(ringtail_state(r), RINGTAIL_CLOSED);
	for (uint64_t seq = 1; seq <= 5; seq++)
		rig_next(r, seq);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CLOSED);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CLOSED);
	ringtail_cancel(r);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CLOSED);
	/* It is the end for this reader, not for the feed. */
	rig_open(rig);
	rig_put(rig, 1);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CLOSED);
	rig_drain(rig_read(rig, rig_after(5)), 6, 6);
}

static void a_reader_that_did_not_look_misses_a_close(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	rig_close(rig);
	rig_open(rig);
	rig_put(rig, 1);
	rig_drain(r, 2, 2);
}

static void a_dead_feed_goes_on_with_its_next_writer(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	for (uint64_t seq = 2; seq < 10; seq++) {
		rig_drop(rig);
		rig_drain(r, seq, seq - 1); /* nothing */
		rig_open(rig);
		rig_put(rig, 1);
		rig_drain(r, seq, seq);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_timeout_is_kept),
		T(a_reader_that_has_an_event_does_not_wait),
		T(a_commit_ends_every_way_to_wait),
		T(close_ends_every_way_to_wait),
		T(cancel_ends_every_way_to_wait),
		T(death_ends_every_way_to_wait),
		T(a_death_before_the_wait_is_news_too),
		T(a_spinner_makes_no_sleep),
		T(after_cancel_there_is_nothing_more),
		T(a_signal_handler_can_cancel),
		T(other_signals_do_not_end_a_wait),
		T(a_closed_feed_is_drained_first),
		T(a_reader_that_did_not_look_misses_a_close),
		T(a_dead_feed_goes_on_with_its_next_writer),
	};

	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
