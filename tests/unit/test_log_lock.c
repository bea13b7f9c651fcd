/* SPDX-License-Identifier: MIT */
/*
 * test_log_lock.c - one writer of a log at a time, and nobody repairs it meanwhile
 */
#include "tests/unit/logrig.h"

#include <signal.h>

#include "store/lock.h"

static void a_second_writer_is_refused_and_changes_nothing(void **state)
{
	struct logrig *rig = *state;
	struct rt_log second = RT_LOG_NONE;
	struct rt_log_report report;
	size_t len;

	lr_open(rig);
	lr_append(rig, 10);

	/* As a write that is on its way looks to others. */
	assert_int_equal(pwrite(rig->log.fd, "begun", 5, (off_t)rig->log.offset), 5);
	t_is(rt_log_open(rig->path, &rig->config, NULL, NULL, &rig->fault, &report,
			 &second),
	     RT_E_BUSY);
	assert_non_null(strstr(rig->fault.text, "has a writer already"));

	char *bytes = t_read_file(lr_segment(rig, 1, ".log"), &len);

	assert_true(len > rig->log.offset + 5);
	assert_memory_equal(bytes + rig->log.offset, "begun", 5);
	free(bytes);
	lr_drop(rig);
	lr_open(rig);
}

static void repair_waits_for_nobody(void **state)
{
	struct logrig *rig = *state;
	uint64_t last;

	lr_open(rig);
	lr_append(rig, 5);
	last = rig->log.next - 1;
	lr_append(rig, 5);
	t_is(rt_log_repair(rig->path, last, &rig->fault), RT_E_BUSY);
	assert_non_null(strstr(rig->fault.text, "somebody is writing it"));
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->log.epoch, LR_EPOCH); /* nothing was cut */
	assert_true(rig->seen > last);
	lr_drop(rig);
	t_ok(rt_log_repair(rig->path, last, &rig->fault));
	lr_open(rig);
	assert_int_equal(rig->seen, last);
}

static int hold(void *arg)
{
	int dir_fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0 || rt_log_lock(dir_fd, false, 0) < 0)
		return 1;
	t_sleep_ms(300);
	return 0;
}

static bool is_held(void *arg)
{
	int dir_fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = rt_log_lock(dir_fd, false, 0);

	(void)close(dir_fd);
	if (fd >= 0)
		(void)close(fd);
	return fd == RT_E_BUSY;
}

static void a_dying_writer_is_waited_for(void **state)
{
	struct logrig *rig = *state;
	int pid;

	lr_open(rig);
	lr_drop(rig);
	pid = t_spawn(hold, rig->path);
	assert_true(t_within_ms(10000, is_held, rig->path));
	t_is(lr_try(rig), RT_E_BUSY);
	rig->config.patience_ns = UINT64_C(30000000000);
	lr_open(rig);
	assert_int_equal(t_join(pid), 0);
}

static void a_killed_writer_holds_nothing(void **state)
{
	struct logrig *rig = *state;
	int pid;

	lr_open(rig);
	lr_drop(rig);
	pid = t_spawn(hold, rig->path);
	assert_true(t_within_ms(10000, is_held, rig->path));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(t_join(pid), 1000 + SIGKILL);
	lr_open(rig);
}

static void the_lock_is_for_its_user_alone(void **state)
{
	struct logrig *rig = *state;
	struct stat st;

	lr_open(rig);
	assert_int_equal(stat(t_path(rig->path, "lock"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A log that was never locked: repair does not make the file, which root might own. */
static void repair_makes_no_lock(void **state)
{
	struct logrig *rig = *state;
	uint64_t last;

	lr_open(rig);
	lr_append(rig, 5);
	last = rig->log.next - 1;
	lr_append(rig, 5);
	lr_drop(rig);
	assert_int_equal(unlink(t_path(rig->path, "lock")), 0);
	t_ok(rt_log_repair(rig->path, last, &rig->fault));
	assert_int_equal(access(t_path(rig->path, "lock"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_second_writer_is_refused_and_changes_nothing),
		T(repair_waits_for_nobody),
		T(a_dying_writer_is_waited_for),
		T(a_killed_writer_holds_nothing),
		T(the_lock_is_for_its_user_alone),
		T(repair_makes_no_lock),
	};

	return cmocka_run_group_tests_name("log_lock", tests, NULL, NULL);
}
