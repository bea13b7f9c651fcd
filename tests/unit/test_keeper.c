/* SPDX-License-Identifier: MIT */
/*
 * test_keeper.c - shm/keeper.c: death, beats, sweeps, and what forks make of them
 */
#include "tests/unit/rig.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SLEEPERS 6 /* more than a commit wakes by itself */

static int n_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = -2;

	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* A thread that was joined can be in its folder a moment longer. */
static bool has_threads(void *n)
{
	return n_threads() == *(int *)n;
}

static uint32_t life_of(struct rig *rig)
{
	return rt_load32(&rig->map.hot->life);
}

static void life_names_the_keeper_while_a_writer_is_open(void **state)
{
	struct rig *rig = *state;
	uint32_t life;
	char path[64];

	rig_open(rig);
	(void)rig_map(rig);
	life = life_of(rig);
	assert_true(life & FUTEX_WAITERS);
	(void)snprintf(path, sizeof(path), "/proc/self/task/%u", life & FUTEX_TID_MASK);
	assert_int_equal(access(path, F_OK), 0);
	rig_close(rig);
	assert_int_equal(life_of(rig), 0);
}

static void a_dropped_writer_looks_like_a_dead_one(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	(void)rig_map(rig);
	rig_drop(rig);
	assert_int_equal(life_of(rig) & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_DEAD);
	rig_open(rig);
	assert_int_equal(life_of(rig) & FUTEX_OWNER_DIED, 0);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_LIVE);
}

static void one_thread_keeps_all_writers_of_the_process(void **state)
{
	struct rig *rig = *state;
	struct rt_ring_config config = rig->config;
	struct rt_writer *second, *third;
	int before = n_threads();

	rig_open(rig);
	assert_int_equal(n_threads(), before + 1);
	config.name = "second";
	t_ok(rt_writer_open(rig->dir, &config, 0, RIG_BEAT_NS, NULL, &second));
	config.name = "third";
	t_ok(rt_writer_open(rig->dir, &config, 0, RIG_BEAT_NS, NULL, &third));
	assert_int_equal(n_threads(), before + 1);
	assert_int_equal(rt_load32(&second->hot->life), rt_load32(&third->hot->life));

	/* From the middle, the end and the start of the list. */
	rt_writer_close(second);
	assert_int_equal(rt_load32(&third->hot->life), rt_load32(&rig->w->hot->life));
	rt_writer_close(third);
	assert_int_equal(n_threads(), before + 1);
	rig_close(rig);
	assert_true(t_within_ms(2000, has_threads, &before));
}

struct beat {
	const struct rt_hot *hot;
	uint64_t seen_ns;
};

static bool has_beaten(void *arg)
{
	const struct beat *beat = arg;

	return rt_load64(&beat->hot->heartbeat_ns) > beat->seen_ns;
}

static bool beats(const struct rt_writer *w)
{
	struct beat beat = { w->hot, rt_load64(&w->hot->heartbeat_ns) };

	return t_within_ms(2000, has_beaten, &beat);
}

static void beats_come_by_themselves_if_asked_for(void **state)
{
	struct rig *rig = *state;

	t_ok(rt_writer_open(rig->dir, &rig->config, 0, 1000000, NULL, &rig->w));
	assert_int_equal(rt_load64(&rig->w->hot->beat_every_ns), 1000000);
	assert_true(beats(rig->w));
	assert_true(beats(rig->w));
}

static void a_writer_that_beats_by_itself_is_left_alone(void **state)
{
	struct rig *rig = *state;
	uint64_t before;

	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_SELF_BEAT, 1000000, NULL,
			    &rig->w));
	before = rt_load64(&rig->w->hot->heartbeat_ns);
	t_sleep_ms(10);
	assert_true(rt_load64(&rig->w->hot->heartbeat_ns) == before);
	rt_writer_beat(rig->w);
	assert_true(rt_load64(&rig->w->hot->heartbeat_ns) > before);
}

static void sleep_all(struct rig *rig, struct rig_sleeper *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct ringtail *r = rig_read(rig, rig_from(RINGTAIL_START_NOW));
		struct ringtail_event event;

		t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
		rig_sleep_begin(&s[i], r);
	}
}

/* The kernel wakes one; that one wakes the rest. */
static void a_killed_writer_wakes_all_who_sleep(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s[SLEEPERS];
	struct rig_child child;
	uint64_t killed_ns;

	rig_child_begin(rig, &child);
	(void)rig_map(rig);
	sleep_all(rig, s, SLEEPERS);
	killed_ns = t_now_ns();
	rig_child_end(&child, SIGKILL);

	for (unsigned i = 0; i < SLEEPERS; i++) {
		t_is(rig_sleep_end(&s[i]), RINGTAIL_NOTHING);
		assert_int_equal(ringtail_state(s[i].r), RINGTAIL_DEAD);
		assert_true(s[i].done_ns - killed_ns < 500000000);
	}
	assert_int_equal(life_of(rig) & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
}

static void after_a_death_readers_wait_for_the_next_writer(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s[SLEEPERS];
	struct rig_child child;

	rig_child_begin(rig, &child);
	rig_child_put(&child);
	rig_child_end(&child, SIGKILL);
	sleep_all(rig, s, SLEEPERS);
	rig_open(rig);
	rig_put(rig, 1);

	for (unsigned i = 0; i < SLEEPERS; i++) {
		t_is(rig_sleep_end(&s[i]), RINGTAIL_EVENT);
		rig_is(&s[i].event, 2);
		assert_int_equal(ringtail_state(s[i].r), RINGTAIL_LIVE);
	}
}

static bool is_stalled(void *r)
{
	return ringtail_state(r) == RINGTAIL_STALLED;
}

static bool is_live(void *r)
{
	return ringtail_state(r) == RINGTAIL_LIVE;
}

static void a_stopped_writer_is_stalled_and_not_dead(void **state)
{
	struct rig *rig = *state;
	struct rig_child child;
	struct ringtail *r;

	rig_child_begin(rig, &child);
	r = rig_read(rig, rig_after(0));
	assert_int_equal(ringtail_state(r), RINGTAIL_LIVE);
	assert_int_equal(kill(child.pid, SIGSTOP), 0);
	assert_true(t_within_ms(2000, is_stalled, r));
	assert_int_equal(kill(child.pid, SIGCONT), 0);
	assert_true(t_within_ms(2000, is_live, r));
	rig_child_put(&child);
	rig_next(r, 1);
	rig_child_end(&child, 0);
	assert_int_equal(ringtail_state(r), RINGTAIL_CLOSED);
}

static void who_a_commit_does_not_wake_itself_the_keeper_wakes(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s[SLEEPERS];
	uint64_t began_ns;

	rig_open(rig);
	sleep_all(rig, s, SLEEPERS);
	began_ns = t_now_ns();
	rig_put(rig, 1);
	for (unsigned i = 0; i < SLEEPERS; i++) {
		t_is(rig_sleep_end(&s[i]), RINGTAIL_EVENT);
		assert_true(s[i].done_ns - began_ns < 500000000);
	}
}

static bool has_swept(void *arg)
{
	const struct rt_writer *w = arg;

	return rt_load64(&w->hot->n_sweeps) > 0;
}

/* Somebody hostile clears what the sleepers rang. */
static void a_sweep_wakes_who_was_cheated_of_the_bell(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s[SLEEPERS];
	uint64_t began_ns;

	rig->config.bell_mode = 0666;
	rig_open(rig);
	assert_int_equal(rt_load64(&rig->w->hot->sweep_every_ns), 1000000);
	sleep_all(rig, s, SLEEPERS);
	(void)rt_clear32(&rig->w->bell->bits, UINT32_MAX);
	began_ns = t_now_ns();
	rig_put(rig, 1);
	for (unsigned i = 0; i < SLEEPERS; i++) {
		t_is(rig_sleep_end(&s[i]), RINGTAIL_EVENT);
		assert_true(s[i].done_ns - began_ns < 500000000);
	}
	assert_true(t_within_ms(2000, has_swept, rig->w));
}

static void a_bell_of_ones_own_is_not_swept(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	assert_int_equal(rt_load64(&rig->w->hot->sweep_every_ns), 0);
	rig_put(rig, 10);
	t_sleep_ms(3);
	assert_int_equal(rt_load64(&rig->w->hot->n_sweeps), 0);
}

/*
 * ---- fork() ----
 */

static int open_beside_the_parents(void *arg)
{
	struct rig *rig = arg;
	struct rt_ring_config config = rig->config;
	struct rt_writer *w;
	char path[64];

	config.name = "child";
	if (rt_writer_open(rig->dir, &config, 0, 1000000, NULL, &w) < 0)
		return 1;
	(void)snprintf(path, sizeof(path), "/proc/self/task/%u",
		       rt_load32(&w->hot->life) & FUTEX_TID_MASK);
	if (access(path, F_OK) != 0)
		return 2;
	if (!beats(w))
		return 3;
	rt_writer_close(w);
	return 0;
}

static void a_child_can_have_writers_of_its_own(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 20; i++) {
		rig_open(rig);
		assert_int_equal(t_in_child(open_beside_the_parents, rig), 0);
		rig_close(rig);
	}
}

/* Opens a writer, leaves a child behind that only waits, and dies. */
static int leave_a_child_behind(void *arg)
{
	struct rig *rig = arg;
	struct rt_writer *w;
	int pid;

	if (rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, NULL, &w) < 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	if (write(rig->map.fd, &pid, sizeof(pid)) != sizeof(pid))
		return 2;
	(void)raise(SIGKILL);
	return 3;
}

static void the_lock_is_gone_when_the_writer_is_though_a_child_lives(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	struct rig arg;
	int ends[2], left = 0, opened;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	arg = *rig;
	arg.map.fd = ends[1];
	assert_int_equal(t_in_child(leave_a_child_behind, &arg), 1000 + SIGKILL);
	assert_int_equal(read(ends[0], &left, sizeof(left)), sizeof(left));
	(void)close(ends[0]);
	(void)close(ends[1]);
	r = rig_read(rig, rig_after(0));
	assert_int_equal(ringtail_state(r), RINGTAIL_DEAD);

	opened = rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, NULL, &rig->w);
	(void)kill(left, SIGKILL);
	t_ok(opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(life_names_the_keeper_while_a_writer_is_open),
		T(a_dropped_writer_looks_like_a_dead_one),
		T(one_thread_keeps_all_writers_of_the_process),
		T(beats_come_by_themselves_if_asked_for),
		T(a_writer_that_beats_by_itself_is_left_alone),
		T(a_killed_writer_wakes_all_who_sleep),
		T(after_a_death_readers_wait_for_the_next_writer),
		T(a_stopped_writer_is_stalled_and_not_dead),
		T(who_a_commit_does_not_wake_itself_the_keeper_wakes),
		T(a_sweep_wakes_who_was_cheated_of_the_bell),
		T(a_bell_of_ones_own_is_not_swept),
		T(a_child_can_have_writers_of_its_own),
		T(the_lock_is_gone_when_the_writer_is_though_a_child_lives),
	};

	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
