/* SPDX-License-Identifier: MIT */
/*
 * test_step_move.c - a writer that moves its feed while it goes on, killed on the way
 *
 * Between any two of its system calls: an attached reader goes on with the next writer
 * and loses nothing, whichever of the two rings that one finds.
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <signal.h>

#include "tests/stress/step.h"

#define EVENTS 40u

struct job {
	struct rig *rig;
	bool resize;
};

/* In the child. */
static void move(const void *arg)
{
	const struct job *job = arg;
	struct rig *rig = job->rig;

	if (rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, &rig->fault,
			   &rig->w) < 0)
		_exit(1);
	rig_put(rig, EVENTS);
	step_stop();
	rig->config.mode = 0600;
	if (job->resize)
		rig->config.n_slots = 256;
	if (rt_writer_move(rig->w, &rig->config, &rig->fault) < 0)
		_exit(2);
	rig_put(rig, 3);
	step_stop();
	_exit(0);
}

/* Everything up to the newest event, one after the other. */
static bool reads_all(struct ringtail *r, uint64_t from, uint64_t to)
{
	struct ringtail_event event;
	char value[32];

	for (uint64_t seq = from; seq <= to; seq++) {
		int outcome;

		do
			outcome = ringtail_next(r, &event, INT64_C(3000000000));
		while (outcome == RINGTAIL_CAUGHT_UP || outcome == RINGTAIL_NOTHING);
		if (outcome != RINGTAIL_EVENT || event.seq != seq ||
		    event.value_len != rig_value(seq, value) ||
		    memcmp(event.value, value, event.value_len) != 0) {
			print_error("at seq %llu: %d, %s\n", (unsigned long long)seq,
				    outcome, ringtail_error(r));
			return false;
		}
	}
	return true;
}

/* Killed at its system call stop @n; false when it has got to its end before. */
static bool kill_at(struct rig *rig, bool resize, int n)
{
	struct job job = { rig, resize };
	pid_t pid = step_start(move, &job);
	enum step at = STEP_DONE;
	struct ringtail *r;

	assert_true(pid > 0);
	r = rig_read(rig, rig_after(0));
	assert_true(reads_all(r, 1, EVENTS - 10)); /* and has some to read yet */
	while (n-- && at == STEP_DONE)
		at = step(pid, PTRACE_SYSCALL);
	step_kill(pid);
	assert_int_not_equal(at, STEP_FAILED);

	rig_open(rig);
	assert_true(rt_writer_head(rig->w) >= EVENTS);
	rig_put(rig, 3);
	assert_true(reads_all(r, EVENTS - 9, rt_writer_head(rig->w)));
	assert_int_equal(rig_stats(r).lost, 0);
	assert_int_equal(access(t_path(rig->dir, RIG_FEED "/.ring.new"), F_OK), -1);
	rig_forget(rig, r);
	rig_close(rig);
	return at == STEP_DONE;
}

static void kill_everywhere(bool resize)
{
	void *state;
	unsigned kills = 0;
	bool more = true;

	for (int n = 1; more; n++, kills++) {
		assert_int_equal(setup(&state), 0);
		more = kill_at(state, resize, n);
		assert_int_equal(teardown(&state), 0);
	}
	print_message("# %u kills\n", kills);
	assert_true(kills > 20);
}

static void to_a_ring_of_the_same_size(void **state)
{
	(void)state;
	kill_everywhere(false);
}

static void to_a_larger_ring(void **state)
{
	(void)state;
	kill_everywhere(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(to_a_ring_of_the_same_size),
		T0(to_a_larger_ring),
	};

	if (!step_permitted())
		t_skip_all("no single-stepping here: ptrace(2) is not permitted");
	return cmocka_run_group_tests_name("step_move", tests, NULL, NULL);
}
