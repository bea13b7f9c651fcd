/* SPDX-License-Identifier: MIT */
/*
 * test_pollfd.c - client/pollfd*.c: both kinds of descriptors
 *
 * Each test runs with an io_uring, where the kernel has what that takes, and with the
 * helper threads.
 */
#include "tests/unit/rig.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>

#define MANY 60 /* more than one helper thread can serve */

static uint32_t mode; /* of the descriptors in this run */

/* Is it readable within @ms?  Arming can interrupt a poll once. */
static bool is_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t end = t_now_ns() + (uint64_t)ms * 1000000u;

	for (;;) {
		int n = poll(&p, 1, ms);

		if (n >= 0)
			return n == 1;
		if (errno != EINTR || t_now_ns() > end)
			return false;
	}
}

static struct ringtail *read_all(struct rig *rig, struct ringtail_options o)
{
	o.fd_mode = mode;
	return rig_read(rig, o);
}

/* A reader of what comes, with its descriptor armed. */
static struct ringtail *armed(struct rig *rig)
{
	struct ringtail *r = read_all(rig, rig_from(RINGTAIL_START_NOW));
	struct ringtail_event event;
	int fd = ringtail_fd(r);

	assert_true(fd >= 0);
	assert_int_equal(ringtail_fd(r), fd);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	return r;
}

/* What a loop of poll() and reads does: to the first outcome that is something. */
static int wait_for(struct ringtail *r, struct ringtail_event *event)
{
	uint64_t end = t_now_ns() + 5000000000u;
	int outcome;

	while (!(outcome = ringtail_next(r, event, 0)) && t_now_ns() < end)
		(void)is_readable(ringtail_fd(r), 5000);
	return outcome;
}

static void it_is_readable_at_an_event_and_not_before(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = armed(rig);
	assert_false(is_readable(ringtail_fd(r), 20));
	for (uint64_t seq = 1; seq <= 5; seq++) {
		rig_put(rig, 1);
		assert_true(is_readable(ringtail_fd(r), 900));
		rig_next(r, seq);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
		assert_false(is_readable(ringtail_fd(r), 5));
	}
}

static void an_event_before_it_is_armed_is_not_missed(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = armed(rig);
	rig_put(rig, 1);
	rig_next(r, 1);
	rig_put(rig, 1); /* the descriptor was not armed again yet */
	rig_next(r, 2);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	rig_put(rig, 1);
	assert_true(is_readable(ringtail_fd(r), 900));
	rig_next(r, 3);
}

static void close_and_cancel_make_it_readable(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *canceled, *closed;

	rig_open(rig);
	canceled = armed(rig);
	closed = armed(rig);
	ringtail_cancel(canceled);
	assert_true(is_readable(ringtail_fd(canceled), 900));
	t_is(ringtail_next(canceled, &event, 0), RINGTAIL_E_CANCELED);
	assert_false(is_readable(ringtail_fd(closed), 0));
	rig_close(rig);
	assert_true(is_readable(ringtail_fd(closed), 900));
	t_is(ringtail_next(closed, &event, 0), RINGTAIL_E_CLOSED);
}

static bool all_know(struct ringtail **r, bool *knows, unsigned n)
{
	bool all = true;

	for (unsigned i = 0; i < n; i++) {
		struct ringtail_event event;

		if (!knows[i] && is_readable(ringtail_fd(r[i]), 0)) {
			knows[i] = true;
			(void)ringtail_next(r[i], &event, 0);
		}
		all &= knows[i];
	}
	return all;
}

/* How long it took until all knew of it. */
static uint64_t die_under_all(struct rig *rig)
{
	struct ringtail *r[16];
	bool knows[16] = { false };
	struct rig_child child;
	uint64_t began;

	rig_child_begin(rig, &child);
	for (unsigned i = 0; i < T_N(r); i++)
		r[i] = armed(rig);
	rig_child_end(&child, SIGKILL);

	began = t_now_ns();
	while (!all_know(r, knows, T_N(r)))
		t_sleep_ms(1);
	assert_int_equal(ringtail_state(r[3]), RINGTAIL_DEAD);
	while (rig->n_readers)
		rig_forget(rig, rig->readers[0]);
	return t_now_ns() - began;
}

/* Who is not told looks up after a second; a slow machine is not as late each time. */
static void the_death_of_the_writer_makes_all_readable(void **state)
{
	for (unsigned attempt = 0; attempt < 20; attempt++)
		if (die_under_all(*state) < UINT64_C(700000000))
			return;
	fail_msg("each of 20 times it took most of a second");
}

static void many_readers_are_all_told(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r[MANY];
	uint64_t end;

	rig_open(rig);
	for (unsigned i = 0; i < MANY; i++)
		r[i] = armed(rig);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		rig_put(rig, 1);
		end = t_now_ns() + 900000000;
		for (unsigned i = 0; i < MANY; i++) {
			struct ringtail_event event;

			assert_true(is_readable(ringtail_fd(r[i]), 900));
			rig_next(r[i], seq);
			t_is(ringtail_next(r[i], &event, 0), RINGTAIL_NOTHING);
		}
		assert_true(t_now_ns() < end);
	}
	/* Some go, from everywhere in the lists; the others go on. */
	for (unsigned i = 0; i < MANY; i += 3)
		rig_forget(rig, r[i]);
	rig_put(rig, 1);
	for (unsigned i = 0; i < MANY; i++) {
		if (i % 3 == 0)
			continue;
		assert_true(is_readable(ringtail_fd(r[i]), 900));
		rig_next(r[i], 4);
	}
}

static void an_uninteresting_event_lets_it_be(void **state)
{
	static const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_KEY,
						       .a = "other",
						       .a_len = 5 };
	struct rig *rig = *state;
	struct ringtail_options o = rig_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct ringtail *r;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = read_all(rig, o);
	assert_true(ringtail_fd(r) >= 0);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	rig_put(rig, 5);
	assert_false(is_readable(ringtail_fd(r), 20));
	t_ok(rt_writer_one(rig->w, RT_OP_PUT, 0, "other", 5, "", 0));
	assert_true(is_readable(ringtail_fd(r), 900));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 6);
}

static void it_moves_to_another_ring_with_its_reader(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r, *other;

	rig_open(rig);
	r = armed(rig);
	other = armed(rig);
	for (uint32_t n_slots = 128; n_slots <= 512; n_slots *= 2) {
		uint64_t seq = n_slots / 128 == 1 ? 1 : n_slots / 128 == 2 ? 2 : 3;

		rig_drop(rig);
		rig->config.n_slots = n_slots;
		rig_open(rig);
		rig_put(rig, 1);
		t_is(wait_for(r, &event), RINGTAIL_EVENT);
		rig_is(&event, seq);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
		t_is(wait_for(other, &event), RINGTAIL_EVENT);
		rig_is(&event, seq);
		t_is(ringtail_next(other, &event, 0), RINGTAIL_NOTHING);
	}
	assert_int_equal(rig_stats(r).moves, 3);
}

/* Killed, and its file replaced: the ring that is waited on will never say so. */
static void it_is_readable_again_when_the_file_was_replaced(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	int outcome;

	rig_open(rig);
	r = armed(rig);
	rig->config.epoch = rig->w->segment.geo.epoch;
	rig->config.first_seq = 1;
	rig_drop(rig);
	assert_true(is_readable(ringtail_fd(r), 20000));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	(void)unlink(rig->path);
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w));
	rig_put(rig, 1);

	/* It never reads unless it is readable. */
	do {
		assert_true(is_readable(ringtail_fd(r), 20000));
		outcome = ringtail_next(r, &event, 0);
	} while (outcome == RINGTAIL_NOTHING && rig_stats(r).sleeps < 20);
	t_is(outcome, RINGTAIL_EVENT);
	rig_is(&event, 1);
}

/* Moves while it is armed, by a reader that looks before anything woke it. */
static void it_lets_go_of_the_ring_that_its_reader_leaves(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct rt_segment next;
	struct ringtail *r;
	int dir_fd;

	rig_open(rig);
	(void)rig_map(rig);
	r = armed(rig);
	dir_fd = open(t_path(rig->dir, RIG_FEED), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t_ok(rt_segment_create(dir_fd, "next", &rig->config, rig->map.geo.epoch, 0,
			       NULL, &next));
	rt_store32(&next.hot->state, RT_STATE_LIVE);
	assert_int_equal(renameat(dir_fd, "next", dir_fd, "ring"), 0);
	(void)close(dir_fd);
	rt_store32(&rig->map.hot->state, RT_STATE_RETIRED);

	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).moves, 1);
	(void)rt_add32(&next.hot->wakes[RT_TOPIC_ANY], 1);
	rt_wake_word(&next.hot->wakes[RT_TOPIC_ANY]);
	assert_true(is_readable(ringtail_fd(r), 500));
	rt_segment_drop(&next);
}

/* What it waits for is then looked at often, whatever it was armed for before. */
static void who_cannot_announce_itself_is_readable_soon(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = armed(rig);
	rig_put(rig, 1);
	assert_true(is_readable(ringtail_fd(r), 900));
	rig_next(r, 1);
	r->sleeper.no_membarrier = true;
	for (int i = 0; i < 20; i++) {
		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
		assert_true(is_readable(ringtail_fd(r), 200));
	}
}

static void sleeping_and_polling_take_turns(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	r = armed(rig);
	for (uint64_t seq = 1; seq <= 6; seq += 2) {
		rig_sleep_begin(&s, r);
		rig_put(rig, 1);
		t_is(rig_sleep_end(&s), RINGTAIL_EVENT);
		rig_is(&s.event, seq);
		while (ringtail_next(r, &event, 0) == RINGTAIL_NOTHING &&
		       is_readable(ringtail_fd(r), 0))
			;
		rig_put(rig, 1);
		t_is(wait_for(r, &event), RINGTAIL_EVENT);
		rig_is(&event, seq + 1);
	}
}

static void it_is_not_inherited_across_exec(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = armed(rig);
	assert_int_equal(fcntl(ringtail_fd(r), F_GETFD), FD_CLOEXEC);
}

static int close_inherited(void *r)
{
	(void)alarm(5); /* rather than for ever */
	ringtail_close(r);
	return 0;
}

static void a_child_may_close_it(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r, *other;

	rig_open(rig);
	r = armed(rig);
	for (int i = 0; i < 5; i++)
		assert_int_equal(t_in_child(close_inherited, r), 0);
	other = armed(rig);
	assert_int_equal(t_in_child(close_inherited, r), 0);
	assert_int_equal(t_in_child(close_inherited, other), 0);
	rig_put(rig, 1);
	t_is(wait_for(r, &event), RINGTAIL_EVENT);
	rig_is(&event, 1);
}

static int poll_in_a_child(void *arg)
{
	struct rig *rig = arg;
	struct ringtail_options o = rig_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct ringtail *r;

	o.fd_mode = mode;
	if (rig_try(rig, o, &r) < 0 || ringtail_fd(r) < 0 ||
	    ringtail_next(r, &event, 0) != RINGTAIL_CAUGHT_UP ||
	    ringtail_next(r, &event, 0) != RINGTAIL_NOTHING)
		return 1;
	if (write(rig->map.fd, "x", 1) != 1)
		return 2;
	if (!is_readable(ringtail_fd(r), 900) ||
	    ringtail_next(r, &event, 0) != RINGTAIL_EVENT)
		return 3;
	ringtail_close(r);
	return 0;
}

static void a_child_can_poll_readers_of_its_own(void **state)
{
	struct rig *rig = *state;
	struct rig child;
	int ends[2], pid;
	char byte;

	rig_open(rig);
	(void)armed(rig);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = *rig;
	child.map.fd = ends[1];
	pid = t_spawn(poll_in_a_child, &child);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	rig_put(rig, 1);
	assert_int_equal(t_join(pid), 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static int n_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = -2;

	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static bool has_threads(void *n)
{
	return n_threads() == *(int *)n;
}

static void helper_threads_come_and_go_with_their_readers(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r[MANY];
	int before;

	mode = RINGTAIL_FD_THREAD;
	rig_open(rig);
	before = n_threads();
	for (unsigned i = 0; i < MANY; i++)
		r[i] = armed(rig);
	assert_in_range(n_threads(), before + 2, before + 10);
	for (unsigned i = 0; i < MANY; i++)
		rig_forget(rig, r[i]);
	assert_true(t_within_ms(2000, has_threads, &before));
}

static void the_automatic_mode_gives_one_or_the_other(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	mode = RINGTAIL_FD_AUTO;
	rig_open(rig);
	r = armed(rig);
	rig_put(rig, 1);
	t_is(wait_for(r, &event), RINGTAIL_EVENT);
}

static int setup_uring(void **state)
{
	mode = RINGTAIL_FD_URING;
	return setup(state);
}

static int setup_thread(void **state)
{
	mode = RINGTAIL_FD_THREAD;
	return setup(state);
}

#define URING(test) \
	{ \
#test " (io_uring)", test, setup_uring, teardown, NULL \
	}
#define THREAD(test) \
	{ \
#test " (thread)", test, setup_thread, teardown, NULL \
	}
#define BOTH(KIND) \
	KIND(it_is_readable_at_an_event_and_not_before), \
		KIND(an_event_before_it_is_armed_is_not_missed), \
		KIND(close_and_cancel_make_it_readable), \
		KIND(the_death_of_the_writer_makes_all_readable), \
		KIND(many_readers_are_all_told), \
		KIND(an_uninteresting_event_lets_it_be), \
		KIND(it_moves_to_another_ring_with_its_reader), \
		KIND(it_is_readable_again_when_the_file_was_replaced), \
		KIND(it_lets_go_of_the_ring_that_its_reader_leaves), \
		KIND(who_cannot_announce_itself_is_readable_soon), \
		KIND(sleeping_and_polling_take_turns), \
		KIND(it_is_not_inherited_across_exec), KIND(a_child_may_close_it), \
		KIND(a_child_can_poll_readers_of_its_own)

static bool has_uring(void)
{
	struct rt_pollfd *probe;

	if (rt_pollfd_open(RINGTAIL_FD_URING, &probe) < 0)
		return false;
	rt_pollfd_close(probe);
	return true;
}

int main(void)
{
	const struct CMUnitTest thread[] = {
		BOTH(THREAD),
		T(helper_threads_come_and_go_with_their_readers),
		T(the_automatic_mode_gives_one_or_the_other),
	};
	const struct CMUnitTest both[] = {
		BOTH(URING),
		BOTH(THREAD),
		T(helper_threads_come_and_go_with_their_readers),
		T(the_automatic_mode_gives_one_or_the_other),
	};

	if (has_uring())
		return cmocka_run_group_tests_name("pollfd", both, NULL, NULL);
	print_message("# no io_uring with futex waits here: threads only\n");
	return cmocka_run_group_tests_name("pollfd", thread, NULL, NULL);
}
