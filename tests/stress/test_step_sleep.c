/* SPDX-License-Identifier: MIT */
/*
 * test_step_sleep.c - a commit at each instruction of who lies down, and the reverse
 *
 * A reader under ptrace(2) is stopped on its way to sleep, an event is committed, and
 * the reader is let go on; or the writer is stopped in a commit until the reader is
 * asleep.  Every sleep of the library ends after a second by itself, so whoever has
 * its event long before that was woken, or never slept.
 *
 *	test_stress_step_sleep [all]	every instruction, not a sample
 */
#include "tests/support/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ringtail.h>

#include "shm/order.h"
#include "tests/stress/step.h"

#define FEED        "steps"
#define TOO_LONG_NS UINT64_C(800000000)
#define LIMIT_NS    INT64_C(3000000000)
#define BLOCKED_NS  UINT64_C(3000000) /* in one instruction: it is asleep */

static bool every_instruction;

struct scene {
	char *dir;
	uint32_t wake_mode;
	bool filtered;
	_Atomic uint64_t *seen; /* by the reader; shared */
};

static struct ringtail_writer *open_writer(const struct scene *s)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer = NULL;

	options.dir = s->dir;
	options.n_slots = 64;
	options.payload_size = 4096;
	options.wake_mode = s->wake_mode;
	return ringtail_writer_open(FEED, &options, &writer) ? NULL : writer;
}

static struct ringtail *open_reader(const struct scene *s)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_filter filter = { RINGTAIL_FILTER_KEY, 0, "a/key", 5, NULL, 0 };
	struct ringtail *reader = NULL;
	struct ringtail_event event;

	options.dir = s->dir;
	options.filters = s->filtered ? &filter : NULL;
	options.n_filters = s->filtered;
	if (ringtail_open(FEED, &options, &reader) < 0 ||
	    ringtail_next(reader, &event, 0) != RINGTAIL_CAUGHT_UP)
		return NULL;
	return reader;
}

static int commit(struct ringtail_writer *writer)
{
	return ringtail_put(writer, "a/key", 5, "value", 5, 0);
}

static void scene_init(struct scene *s, uint32_t wake_mode, bool filtered)
{
	*s = (struct scene){ t_dir_new(), wake_mode, filtered, NULL };
	s->seen = mmap(NULL, sizeof(*s->seen), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s->seen != MAP_FAILED);
}

static void scene_fini(struct scene *s)
{
	(void)munmap(s->seen, sizeof(*s->seen));
	t_dir_drop(s->dir);
}

/* Is the process asleep in a system call, and does it stay so? */
static bool is_asleep(pid_t pid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (unsigned looks = 0; looks < 3; looks++) {
		char *text = t_read_file(path, NULL);
		const char *end = text ? strrchr(text, ')') : NULL;
		bool asleep = end && end[1] && end[2] == 'S';

		free(text);
		if (!asleep)
			return false;
		(void)usleep(200);
	}
	return true;
}

/*
 * ---- The reader is stepped ----
 */

static void lie_down(const void *arg)
{
	struct ringtail *reader = open_reader(arg);
	struct ringtail_event event;
	int r;

	if (!reader)
		_exit(1);
	step_stop();
	r = ringtail_next(reader, &event, LIMIT_NS);
	_exit(r == RINGTAIL_EVENT ? 0 : 2);
}

/* One instruction; false if it does not end, since it is a sleep. */
static bool step_unless_asleep(pid_t pid)
{
	uint64_t begun = t_now_ns();
	int status;

	assert_true(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (t_now_ns() - begun > BLOCKED_NS && is_asleep(pid))
			return false;
	}
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	return true;
}

/* The child goes on, in whatever state it is; its exit code. */
static int let_go(pid_t pid, bool stopped)
{
	int status;

	if (stopped)
		return step_finish(pid);
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSTOPPED(status) ? step_finish(pid) : WEXITSTATUS(status);
}

static void lie_down_everywhere(uint32_t wake_mode, bool filtered)
{
	unsigned stride = every_instruction ? 1 : 9, n;
	struct ringtail_writer *writer;
	uint64_t longest = 0;
	bool awake = true;
	struct scene s;

	scene_init(&s, wake_mode, filtered);
	writer = open_writer(&s);
	assert_non_null(writer);
	for (n = 0; awake; n += stride) {
		pid_t pid = step_start(lie_down, &s);
		uint64_t begun, took;
		int code;

		assert_true(pid);
		for (unsigned i = 0; i < n && awake; i++)
			awake = step_unless_asleep(pid);
		begun = t_now_ns();
		t_ok(commit(writer));
		code = let_go(pid, awake);
		took = t_now_ns() - begun;
		if (code || took > TOO_LONG_NS)
			print_error(
				"stopped behind %u instructions: %d after %llu ns\n", n,
				code, (unsigned long long)took);
		assert_int_equal(code, 0);
		assert_true(took < TOO_LONG_NS);
		longest = took > longest ? took : longest;
	}
	print_message("# asleep behind %u instructions; at most %llu ns\n", n,
		      (unsigned long long)longest);
	assert_true(n > 300);
	ringtail_writer_close(writer);
	scene_fini(&s);
}

static void a_commit_at_any_moment_of_lying_down_is_seen(void **state)
{
	(void)state;
	lie_down_everywhere(RINGTAIL_WAKE_BELL, false);
}

static void a_commit_without_a_bell_is_seen(void **state)
{
	(void)state;
	lie_down_everywhere(RINGTAIL_WAKE_ALWAYS, false);
}

static void a_commit_of_the_topic_is_seen(void **state)
{
	(void)state;
	lie_down_everywhere(RINGTAIL_WAKE_BELL, true);
}

/*
 * ---- The writer is stepped ----
 */

/* In a child: counts what it gets, and sleeps in between. */
static int keep_reading(void *arg)
{
	const struct scene *s = arg;
	struct ringtail *reader = open_reader(s);
	struct ringtail_event event;

	while (reader && ringtail_next(reader, &event, LIMIT_NS) == RINGTAIL_EVENT)
		rt_store64(s->seen, event.seq);
	return 1;
}

/* In the traced child: a commit that is stepped, and another one. */
static void commit_twice(const void *arg)
{
	struct ringtail_writer *writer = open_writer(arg);

	if (!writer)
		_exit(1);
	step_stop();
	if (commit(writer) != 0)
		_exit(2);
	step_stop();
	if (commit(writer) != 0)
		_exit(3);
	step_stop();
	_exit(0);
}

static bool wait_asleep(pid_t pid)
{
	uint64_t begun = t_now_ns();

	while (!is_asleep(pid) && t_now_ns() - begun < TOO_LONG_NS)
		;
	return t_now_ns() - begun < TOO_LONG_NS;
}

/* How long it takes until the reader has seen @seq. */
static uint64_t until_seen(const struct scene *s, uint64_t seq)
{
	uint64_t begun = t_now_ns(), took = 0;

	while (rt_load64(s->seen) < seq && took < TOO_LONG_NS)
		took = t_now_ns() - begun;
	return took;
}

/* Stops the first commit behind @n instructions; false if it ended before. */
static bool stop_in_commit(struct scene *s, unsigned n, uint64_t *longest)
{
	pid_t writer = step_start(commit_twice, s);
	pid_t reader = t_spawn(keep_reading, s);
	enum step at = STEP_DONE;
	uint64_t took;
	bool reached;
	int status;

	assert_true(writer);
	assert_true(wait_asleep(reader));
	for (unsigned i = 0; i < n && at == STEP_DONE; i++)
		at = step(writer, PTRACE_SINGLESTEP);
	reached = at == STEP_DONE;
	/* Maybe it was woken; then it lies down again, beside the stopped writer. */
	assert_true(wait_asleep(reader));
	while (at == STEP_DONE) {
		assert_true(ptrace(PTRACE_CONT, writer, NULL, NULL) == 0);
		at = waitpid(writer, &status, 0) == writer && WIFSTOPPED(status)
			     ? STEP_AT_END
			     : STEP_FAILED;
	}
	took = until_seen(s, 1);
	if (took < TOO_LONG_NS && wait_asleep(reader)) {
		uint64_t again;

		assert_true(ptrace(PTRACE_CONT, writer, NULL, NULL) == 0);
		again = until_seen(s, 2);
		took = took > again ? took : again;
		(void)waitpid(writer, &status, 0);
	}
	*longest = took > *longest ? took : *longest;
	step_kill(writer);
	(void)kill(reader, SIGKILL);
	(void)t_join(reader);
	assert_int_equal(at, STEP_AT_END);
	return reached;
}

static void commit_everywhere(uint32_t wake_mode, bool filtered)
{
	unsigned stride = every_instruction ? 1 : 7, n, last = 0;
	uint64_t longest = 0;
	bool more = true;

	for (n = 1; more && longest < TOO_LONG_NS; n += stride) {
		struct scene s;

		scene_init(&s, wake_mode, filtered);
		more = stop_in_commit(&s, n, &longest);
		scene_fini(&s);
		last = n;
	}
	print_message("# up to %u instructions; at most %llu ns\n", last,
		      (unsigned long long)longest);
	assert_true(last > 100);
	assert_true(longest < TOO_LONG_NS);
}

static void who_sleeps_in_the_middle_of_a_commit_is_woken(void **state)
{
	(void)state;
	commit_everywhere(RINGTAIL_WAKE_BELL, false);
}

static void who_sleeps_on_a_topic_is_woken(void **state)
{
	(void)state;
	commit_everywhere(RINGTAIL_WAKE_BELL, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T0(a_commit_at_any_moment_of_lying_down_is_seen),
		T0(a_commit_without_a_bell_is_seen),
		T0(a_commit_of_the_topic_is_seen),
		T0(who_sleeps_in_the_middle_of_a_commit_is_woken),
		T0(who_sleeps_on_a_topic_is_woken),
	};

	every_instruction = argc > 1 && strcmp(argv[1], "all") == 0;
	if (!step_permitted())
		t_skip_all("no single-stepping here: ptrace(2) is not permitted");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
