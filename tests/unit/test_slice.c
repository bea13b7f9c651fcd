/* SPDX-License-Identifier: MIT */
/*
 * test_slice.c - daemon/slice.c, and the thread that syncs
 *
 * What a slice does to who runs when is the scheduler's, and shown by
 * bench/bench_disk.c.
 */
#include "tests/support/t.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/slice.h"
#include "daemon/syncer.h"

#define SHORT   UINT64_C(100000)
#define LONGER  UINT64_C(700000)
#define TRIES   2000u
#define WAIT_US 1000u

static id_t own_tid(void)
{
	return (id_t)syscall(SYS_gettid);
}

/* In a thread of its own: who is not root may not take a nice value back. */
static bool holds_in_thread(void *(*run)(void *arg))
{
	bool holds = false;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, &holds), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return holds;
}

static void *set_with_nice(void *holds)
{
	uint64_t usual = rt_slice_get(0);
	int nice = getpriority(PRIO_PROCESS, 0) + 1;
	bool ok = setpriority(PRIO_PROCESS, own_tid(), nice) == 0;

	nice = getpriority(PRIO_PROCESS, own_tid());
	rt_slice_set(LONGER);
	ok &= rt_slice_get(0) == LONGER;
	rt_slice_set(SHORT);
	ok &= rt_slice_get(0) == SHORT;
	rt_slice_set(RT_SLICE_USUAL);
	ok &= rt_slice_get(0) == usual;
	rt_slice_set(SHORT);
	*(bool *)holds = ok && getpriority(PRIO_PROCESS, own_tid()) == nice &&
			 sched_getscheduler(0) == SCHED_OTHER;
	return NULL;
}

static void it_is_as_set_and_nice_stays(void **state)
{
	uint64_t before = rt_slice_get(0);

	(void)state;
	assert_true(holds_in_thread(set_with_nice));
	assert_int_equal(rt_slice_get(0), before);
}

static void *set_while_idle(void *holds)
{
	const struct sched_param none = { .sched_priority = 0 };
	bool ok = sched_setscheduler(0, SCHED_IDLE, &none) == 0;

	rt_slice_set(SHORT);
	*(bool *)holds = ok && sched_getscheduler(0) == SCHED_IDLE && !rt_slice_get(0);
	return NULL;
}

static void another_policy_stays(void **state)
{
	(void)state;
	assert_true(holds_in_thread(set_while_idle));
}

static unsigned count_threads_with(uint64_t ns)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	unsigned n = 0;

	assert_non_null(tasks);
	while ((entry = readdir(tasks)))
		n += atoi(entry->d_name) > 0 &&
		     rt_slice_get((pid_t)atoi(entry->d_name)) == ns;
	(void)closedir(tasks);
	return n;
}

static void the_thread_that_syncs_has_the_shortest(void **state)
{
	int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct rt_syncer *syncer;
	unsigned tries = TRIES;

	(void)state;
	assert_true(wake_fd >= 0);
	assert_int_equal(count_threads_with(SHORT), 0);
	t_ok(rt_syncer_open(wake_fd, &syncer));
	/* As soon as it runs. */
	while (!count_threads_with(SHORT) && --tries)
		(void)usleep(WAIT_US);
	assert_int_equal(count_threads_with(SHORT), 1);
	rt_syncer_close(syncer);
	(void)close(wake_fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T0(it_is_as_set_and_nice_stays),
		T0(another_policy_stays),
		T0(the_thread_that_syncs_has_the_shortest),
	};

	if (!rt_slice_get(0))
		t_skip_all("this kernel knows no slices (before Linux 6.12), or this "
			   "process is not of SCHED_OTHER");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
