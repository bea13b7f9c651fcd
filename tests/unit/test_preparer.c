/* SPDX-License-Identifier: MIT */
/*
 * test_preparer.c - daemon/preparer.c, and what the log makes of it
 */
#include "tests/unit/logrig.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "daemon/preparer.h"

#define SIZE (UINT64_C(1) << 20)

/* What the thread has done. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	uint64_t n_bytes;
	size_t largest; /* write */
	unsigned n_syncs, n_reserved;
	int reserve_error;
	bool is_shut; /* syncs wait */
} done = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static ssize_t count_write(int fd, const void *buf, size_t len, off_t at)
{
	(void)pthread_mutex_lock(&done.mutex);
	done.n_bytes += len;
	done.largest = len > done.largest ? len : done.largest;
	(void)pthread_mutex_unlock(&done.mutex);
	return pwrite(fd, buf, len, at);
}

static int count_sync(int fd)
{
	(void)pthread_mutex_lock(&done.mutex);
	done.n_syncs++;
	(void)pthread_cond_broadcast(&done.changed);
	while (done.is_shut)
		(void)pthread_cond_wait(&done.changed, &done.mutex);
	(void)pthread_mutex_unlock(&done.mutex);
	return fdatasync(fd);
}

static int count_reserve(int fd, int mode, off_t at, off_t len)
{
	int error;

	(void)pthread_mutex_lock(&done.mutex);
	done.n_reserved++;
	error = done.reserve_error;
	(void)pthread_cond_broadcast(&done.changed);
	(void)pthread_mutex_unlock(&done.mutex);
	errno = error;
	return error ? -1 : fallocate(fd, mode, at, len);
}

static const struct rt_log_io counting_io = {
	.pwrite = count_write,
	.fdatasync = count_sync,
	.fallocate = count_reserve,
};

static void wait_for(unsigned n_reserved, unsigned n_syncs)
{
	(void)pthread_mutex_lock(&done.mutex);
	while (done.n_reserved < n_reserved || done.n_syncs < n_syncs)
		(void)pthread_cond_wait(&done.changed, &done.mutex);
	(void)pthread_mutex_unlock(&done.mutex);
}

static void set_shut(bool is_shut)
{
	(void)pthread_mutex_lock(&done.mutex);
	done.is_shut = is_shut;
	(void)pthread_cond_broadcast(&done.changed);
	(void)pthread_mutex_unlock(&done.mutex);
}

static struct rt_preparer *start(struct logrig *rig)
{
	struct rt_preparer *preparer;

	rig->config.mode = RT_LOG_DISK;
	rig->config.segment_size = SIZE;
	rig->config.io = &counting_io;
	lr_open(rig);
	done.n_bytes = done.largest = 0;
	done.n_syncs = done.n_reserved = 0;
	done.reserve_error = 0;
	t_ok(rt_preparer_open(&rig->log, &preparer));
	rt_preparer_begin(preparer, SIZE);
	return preparer;
}

static bool has(const struct logrig *rig, const char *name)
{
	return faccessat(rig->log.dir_fd, name, F_OK, 0) == 0;
}

static void zeros_are_written_as_far_as_allowed(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	struct stat st;
	int fd;

	wait_for(1, 0);
	rt_preparer_allow(preparer, SIZE / 2);
	wait_for(1, 2);
	rt_preparer_allow(preparer, 1000); /* too little for another step */
	(void)usleep(50000);               /* which it would begin meanwhile */
	assert_int_equal(rt_preparer_take(preparer, &fd), SIZE);
	assert_int_equal(done.n_bytes, SIZE / 2);
	assert_in_range(done.largest, 1, 64 << 10); /* in small pieces */
	t_ok(fstat(fd, &st));
	assert_int_equal(st.st_size, SIZE);
	assert_true((uint64_t)st.st_blocks * 512 >= SIZE);
	(void)close(fd);
	rt_preparer_close(preparer);
}

static void all_of_it_and_not_more(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	int fd;

	rt_preparer_allow(preparer, 100 * SIZE);
	wait_for(1, 4);
	assert_int_equal(rt_preparer_take(preparer, &fd), SIZE);
	assert_int_equal(done.n_bytes, SIZE);
	assert_int_equal(done.n_syncs, 4);
	(void)close(fd);
	rt_preparer_close(preparer);
}

/* The log takes over the file: what it appends is found again. */
static void a_prepared_segment_is_the_next(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	struct stat prepared, used;
	uint64_t size, next;
	int fd;

	rt_preparer_allow(preparer, SIZE / 2);
	wait_for(1, 2);
	size = rt_preparer_take(preparer, &fd);
	t_ok(fstat(fd, &prepared));
	rt_log_adopt_spare(&rig->log, fd, size);
	assert_false(has(rig, RT_LOG_NEXT_NAME));
	rt_preparer_begin(preparer, SIZE); /* the one behind it is no trouble */
	lr_append(rig, 25);
	t_ok(fstat(rig->log.fd, &used));
	assert_int_equal(used.st_ino, prepared.st_ino);
	assert_false(has(rig, RT_LOG_SPARE_NAME));
	rt_preparer_close(preparer);
	assert_false(has(rig, RT_LOG_NEXT_NAME));
	next = rig->log.next;
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->log.next, next);
}

/* Whoever needs it waits for the step in hand, not for all. */
static void it_can_be_taken_early(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	int fd;

	set_shut(true);
	rt_preparer_allow(preparer, SIZE);
	wait_for(1, 1);
	set_shut(false);
	assert_int_equal(rt_preparer_take(preparer, &fd), SIZE);
	assert_int_equal(done.n_bytes % (SIZE / 4), 0);
	(void)close(fd);
	rt_preparer_begin(preparer, SIZE);
	rt_preparer_close(preparer); /* or never */
}

static void what_cannot_be_reserved_is_left_to_the_log(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	int fd;

	wait_for(1, 0);
	assert_int_equal(rt_preparer_take(preparer, &fd), SIZE);
	(void)close(fd);
	done.reserve_error = ENOSPC;
	rt_preparer_begin(preparer, SIZE);
	rt_preparer_allow(preparer, SIZE);
	wait_for(2, 0);
	assert_int_equal(rt_preparer_take(preparer, &fd), 0);
	assert_false(has(rig, RT_LOG_NEXT_NAME));
	done.reserve_error = 0;
	lr_append(rig, 25);
	rt_preparer_close(preparer);
}

/* The last of the space is not for what may be needed later. */
static void nothing_is_prepared_on_a_disk_that_is_nearly_full(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	int fd;

	wait_for(1, 0);
	assert_int_equal(rt_preparer_take(preparer, &fd), SIZE);
	(void)close(fd);
	done.reserve_error = ENOSPC; /* as it is tried without a look */
	rt_preparer_begin(preparer, rt_file_free(rig->log.dir_fd, false) / 4 * 3);
	(void)usleep(50000); /* which it would begin meanwhile */
	assert_int_equal(rt_preparer_take(preparer, &fd), 0);
	assert_int_equal(done.n_reserved, 1);
	rt_preparer_close(preparer);
}

/* To try would fill the disk for as long as it takes, and others would fail. */
static void what_is_more_than_the_disk_has_is_not_tried(void **state)
{
	struct logrig *rig = *state;
	struct rt_preparer *preparer = start(rig);
	uint64_t left = rt_file_free(rig->log.dir_fd, true);

	wait_for(1, 0);
	rt_preparer_close(preparer);
	if (left == UINT64_MAX)
		skip();           /* a file system that does not say */
	done.reserve_error = EIO; /* as it is tried all the same */
	assert_int_equal(rt_log_reserve(&rig->log, 2 * left, &rig->fault), -ENOSPC);
	assert_non_null(strstr(rig->fault.text, "No space"));
	assert_int_equal(done.n_reserved, 1);
	done.reserve_error = 0;
	t_ok(rt_log_reserve(&rig->log, SIZE, &rig->fault));
}

/* As a crash leaves them. */
static void leftovers_go_with_the_next_start(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 25);
	t_ok(rt_log_reserve(&rig->log, 1, &rig->fault));
	assert_true(has(rig, RT_LOG_SPARE_NAME));
	lr_drop(rig);
	t_ok(t_sh(NULL, "touch %s/" RT_LOG_SPARE_NAME " %s/" RT_LOG_NEXT_NAME,
		  rig->path, rig->path));
	lr_open(rig);
	assert_false(has(rig, RT_LOG_SPARE_NAME));
	assert_false(has(rig, RT_LOG_NEXT_NAME));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(zeros_are_written_as_far_as_allowed),
		T(all_of_it_and_not_more),
		T(a_prepared_segment_is_the_next),
		T(it_can_be_taken_early),
		T(what_cannot_be_reserved_is_left_to_the_log),
		T(nothing_is_prepared_on_a_disk_that_is_nearly_full),
		T(what_is_more_than_the_disk_has_is_not_tried),
		T(leftovers_go_with_the_next_start),
	};

	return cmocka_run_group_tests_name("preparer", tests, NULL, NULL);
}
