/* SPDX-License-Identifier: MIT */
/*
 * test_log_full.c - a log on a real file system that is full
 *
 * On a small tmpfs of its own, in a mount namespace of its own.
 */
#include "tests/unit/logrig.h"

#include <sched.h>
#include <sys/mount.h>

#define DISK_SIZE "size=1m"

/* A file that takes all the room there is. */
static void fill_up(struct logrig *rig)
{
	static const char bytes[4096];
	int fd = open(t_path(rig->dir, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		continue;
	(void)close(fd);
}

static void make_room(struct logrig *rig)
{
	assert_int_equal(unlink(t_path(rig->dir, "filler")), 0);
}

static int setup_disk(void **state)
{
	int r = setup(state);
	struct logrig *rig = *state;

	return r < 0 ? r : mount("tmpfs", rig->dir, "tmpfs", 0, DISK_SIZE);
}

static int teardown_disk(void **state)
{
	struct logrig *rig = *state;

	lr_drop(rig);
	(void)umount2(rig->dir, MNT_DETACH);
	return teardown(state);
}

#define TD(name) cmocka_unit_test_setup_teardown(name, setup_disk, teardown_disk)

static void until_it_is_full(struct logrig *rig)
{
	int r;

	while ((r = lr_try_append(rig, 20)) == 0)
		continue;
	t_is(r, -ENOSPC);
	assert_non_null(strstr(rig->fault.text, "feed 'unit'"));
	assert_non_null(strstr(rig->fault.text, strerror(ENOSPC)));
	assert_false(rig->log.failed);
}

static void a_full_disk_refuses_and_room_is_used(void **state)
{
	struct logrig *rig = *state;
	uint64_t last;

	rig->config.mode = RT_LOG_DISK;
	lr_open(rig);
	lr_append(rig, 5);
	fill_up(rig);
	until_it_is_full(rig);
	last = rig->log.next - 1;
	t_is(lr_try_append(rig, 20), -ENOSPC);
	make_room(rig);
	t_ok(lr_try_append(rig, 20));
	lr_append(rig, 50);
	assert_true(rig->log.next > last);
	last = rig->log.next - 1;
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->seen, last);
}

static void a_log_that_fills_the_disk_itself(void **state)
{
	struct logrig *rig = *state;
	uint64_t last;

	lr_open(rig);
	until_it_is_full(rig);
	last = rig->log.next - 1;
	assert_true(rt_log_drop_below(&rig->log, last / 2) > 0);
	t_ok(lr_try_append(rig, 20));
	last = rig->log.next - 1;
	lr_close(rig);
	lr_open(rig);
	assert_int_equal(rig->seen, last);
}

static int cannot_reserve(int fd, int mode, off_t at, off_t len)
{
	(void)fd, (void)mode, (void)at, (void)len;
	errno = EOPNOTSUPP;
	return -1;
}

/* Where space cannot be reserved, a write can be the one to find none: in its middle.
 */
static void full_in_the_middle_of_a_write(void **state)
{
	static const struct rt_log_io io = {
		.pwrite = pwrite,
		.fdatasync = fdatasync,
		.fallocate = cannot_reserve,
	};
	struct logrig *rig = *state;
	uint64_t last;

	rig->config.io = &io;
	lr_open(rig);
	lr_append(rig, 2);
	fill_up(rig);
	until_it_is_full(rig);
	last = rig->log.next - 1;
	lr_drop(rig);
	lr_open(rig); /* as if it had died there */
	assert_int_equal(rig->seen, last);
	make_room(rig);
	lr_append(rig, 30);
	last = rig->log.next - 1;
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->seen, last);
}

/* No room for the text that a log needs before it is one. */
static void a_disk_that_is_full_from_the_start(void **state)
{
	struct logrig *rig = *state;

	fill_up(rig);
	assert_true(lr_try(rig) < 0);
	make_room(rig);
	lr_open(rig);
	lr_append(rig, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TD(a_full_disk_refuses_and_room_is_used),
		TD(a_log_that_fills_the_disk_itself),
		TD(full_in_the_middle_of_a_write),
		TD(a_disk_that_is_full_from_the_start),
	};

	if (unshare(getuid() ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
		t_skip_all("no mount namespace of our own");
	return cmocka_run_group_tests_name("log_full", tests, NULL, NULL);
}
