/* SPDX-License-Identifier: MIT */
/*
 * test_window.c - a log that is written by storing to memory
 */
#include "tests/unit/logrig.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE    4096u
#define SEGMENT (UINT64_C(1) << 20)

static struct {
	unsigned n_stores, n_writes;
} io_calls;

static ssize_t count_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	io_calls.n_writes++;
	return pwrite(fd, buf, len, at);
}

static void count_store(int fd, void *to, const void *from, size_t len, off_t at)
{
	(void)fd;
	(void)at;
	io_calls.n_stores++;
	memcpy(to, from, len);
}

static const struct rt_log_io counting = {
	.pwrite = count_pwrite,
	.fdatasync = fdatasync,
	.fallocate = fallocate,
	.store = count_store,
};

static void open_counting(struct logrig *rig, uint32_t mode)
{
	memset(&io_calls, 0, sizeof(io_calls));
	rig->config.mode = mode;
	rig->config.segment_size = SEGMENT;
	rig->config.io = &counting;
	lr_open(rig);
}

/* One that has asked for pages, and has them not yet. */
static struct iovec open_asking(struct logrig *rig)
{
	struct iovec pages;

	open_counting(rig, RT_LOG_OS);
	lr_append(rig, 1);
	assert_true(rt_log_wants_pages(&rig->log, &pages));
	return pages;
}

/* Whoever opens it after a crash finds all of it. */
static void all_is_history(struct logrig *rig)
{
	uint64_t next = rig->log.next;

	lr_drop(rig);
	rig->config.io = NULL;
	lr_open(rig);
	assert_int_equal(rig->seen + 1, next);
}

/* Readers, and whoever opens the log after a crash, find what was stored. */
static void what_is_stored_is_history(void **state)
{
	struct logrig *rig = *state;
	unsigned n;

	open_counting(rig, RT_LOG_OS);
	lr_append(rig, 1);
	assert_true(lr_fetch(&rig->log) > 0);
	n = io_calls.n_writes;
	for (unsigned i = 0; i < 50; i++) {
		lr_append(rig, 5);
		(void)lr_fetch(&rig->log);
	}
	assert_int_equal(io_calls.n_stores, 250);
	assert_int_equal(io_calls.n_writes, n);
	lr_drop(rig);
	rig->config.io = NULL;
	lr_open(rig);
	assert_true(rig->seen > 250);
	t_ok(rt_log_verify(rig->path, &rig->fault, &rig->report));
}

/* Each segment has one of its own; what is not ready is written. */
static void segments_follow_each_other(void **state)
{
	struct logrig *rig = *state;
	uint64_t first = 0;

	open_counting(rig, RT_LOG_MEMORY);
	for (unsigned i = 0; i < 6000; i++) {
		t_ok(lr_try_append(rig, 1 + i % 8));
		if (!first)
			first = rig->log.segment_first;
		if (i % 3)
			(void)lr_fetch(&rig->log);
	}
	assert_true(rig->log.segment_first > first);
	assert_true(io_calls.n_stores > 3000);
	assert_true(io_calls.n_writes > 2);
	all_is_history(rig);
}

/* Pages are asked for ahead of the log, one request at a time, more when it was late.
 */
static void pages_are_asked_for_ahead(void **state)
{
	struct logrig *rig = *state;
	struct rt_log *log = &rig->log;
	struct iovec pages = open_asking(rig), more;

	assert_int_equal((uintptr_t)pages.iov_base % PAGE, 0);
	assert_true(pages.iov_len >= RT_WINDOW_LEAST);
	assert_false(rt_log_wants_pages(log, &more));

	/* Late: written meanwhile, and twice as much the next time. */
	lr_append(rig, 1);
	assert_int_equal(io_calls.n_stores, 0);
	rt_window_got(&log->window, 0);
	assert_int_equal(log->window.ahead, 2 * RT_WINDOW_LEAST);
	do
		lr_append(rig, 1);
	while (!rt_log_wants_pages(log, &more));
	assert_true(io_calls.n_stores > 0);
	assert_ptr_equal(more.iov_base, (uint8_t *)pages.iov_base + pages.iov_len);
	rt_window_got(&log->window, 0);
	assert_true(log->window.ready >= log->offset + 2 * RT_WINDOW_LEAST);
	assert_false(rt_log_wants_pages(log, &more));

	/* To the end of the segment, and not beyond. */
	log->window.ahead = 2 * SEGMENT;
	assert_true(rt_log_wants_pages(log, &more));
	assert_ptr_equal((uint8_t *)more.iov_base + more.iov_len,
			 log->window.map + log->segment_end);
	rt_window_got(&log->window, 0);
	assert_false(rt_log_wants_pages(log, &more));
}

/* Asked again after a signal; never again where it does not work. */
static void an_answer_may_be_a_refusal(void **state)
{
	struct logrig *rig = *state;
	struct rt_log *log = &rig->log;
	struct iovec pages = open_asking(rig);

	rt_window_got(&log->window, -EINTR);
	assert_true(rt_log_wants_pages(log, &pages));
	rt_window_got(&log->window, -EINVAL);
	assert_false(rt_log_wants_pages(log, &pages));
	assert_null(log->window.map);
	lr_append(rig, 10);
	assert_int_equal(io_calls.n_stores, 0);

	/* Another segment, another try. */
	t_ok(rt_log_roll(log, &rig->fault));
	assert_true(lr_fetch(log) > 0);
	lr_append(rig, 1);
	assert_int_equal(io_calls.n_stores, 1);
	all_is_history(rig);
}

/* An answer that comes when the segment has been left is not one for the next. */
static void a_late_answer_is_passed_over(void **state)
{
	struct logrig *rig = *state;
	struct rt_log *log = &rig->log;
	struct iovec pages = open_asking(rig);

	t_ok(rt_log_roll(log, &rig->fault));
	rt_window_got(&log->window, 0);
	lr_append(rig, 1);
	assert_int_equal(io_calls.n_stores, 0);
	rt_window_got(&log->window, -EINVAL);
	assert_true(rt_log_wants_pages(log, &pages));
}

/* Then nothing is asked for either, until there are small ones again. */
static void large_batches_are_written(void **state)
{
	struct logrig *rig = *state;
	struct iovec pages;
	unsigned n;

	open_counting(rig, RT_LOG_OS);
	lr_append(rig, 1);
	assert_true(lr_fetch(&rig->log) > 0);
	n = io_calls.n_writes;
	for (unsigned i = 0; i < 20; i++)
		t_ok(lr_try_append(rig, 60));
	assert_true(rig->batch.len > RT_WINDOW_BATCH);
	assert_int_equal(io_calls.n_writes, n + 20);
	assert_int_equal(io_calls.n_stores, 0);
	assert_false(rt_log_wants_pages(&rig->log, &pages));
	lr_append(rig, 1);
	assert_true(lr_fetch(&rig->log) > 0);
	lr_append(rig, 1);
	assert_int_equal(io_calls.n_stores, 1);
}

/* Not for a log that syncs each batch, nor with a layer that cannot store. */
static void who_has_none(void **state)
{
	struct logrig *rig = *state;
	struct iovec pages;
	struct rt_log_io no_store = counting;

	open_counting(rig, RT_LOG_DISK);
	lr_append(rig, 1);
	assert_false(rt_log_wants_pages(&rig->log, &pages));
	lr_close(rig);
	no_store.store = NULL;
	rig->config.mode = RT_LOG_OS;
	rig->config.io = &no_store;
	lr_open(rig);
	lr_append(rig, 1);
	assert_false(rt_log_wants_pages(&rig->log, &pages));
}

/* A file with holes could need a block when there is none. */
static void blocks_have_to_be_reserved(void **state)
{
	struct logrig *rig = *state;
	int fd = open(t_path(rig->dir, "holes"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct rt_window window = { .is_used = true };
	struct iovec pages;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SEGMENT), 0);
	assert_false(rt_window_wants(&window, fd, 0, SEGMENT, &pages));
	assert_true(window.unfit);
	(void)close(fd);
}

static struct rt_log *faulty;

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (!rt_window_fault(&faulty->window, info->si_addr))
		(void)signal(signo, SIG_DFL);
}

/* Somebody truncates the segment: an error, and nothing more is accepted. */
static void a_segment_may_be_cut_under_it(void **state)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct logrig *rig = *state;
	struct rt_log *log = &rig->log;

	open_counting(rig, RT_LOG_OS);
	lr_append(rig, 1);
	assert_true(lr_fetch(&rig->log) > 0);
	faulty = log;
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
	assert_int_equal(ftruncate(log->fd, PAGE), 0);
	t_is(lr_try_append(rig, 1), -EIO);
	assert_true(log->failed);
	assert_non_null(strstr(rig->fault.text, "segment that was cut"));
	t_is(lr_try_append(rig, 1), -EIO);
	assert_true(signal(SIGBUS, SIG_DFL) != SIG_ERR);
}

/* Does the kernel (5.14) do it, for a file that tests make? */
static bool has_windows(void)
{
	char *dir = t_dir_new();
	int fd = open(t_path(dir, "probe"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct rt_window window = { .is_used = true };
	struct iovec pages;
	bool has = fd >= 0 && fallocate(fd, 0, 0, SEGMENT) == 0 &&
		   rt_window_wants(&window, fd, 0, SEGMENT, &pages) &&
		   madvise(pages.iov_base, pages.iov_len, MADV_POPULATE_WRITE) == 0;

	rt_window_close(&window);
	if (fd >= 0)
		(void)close(fd);
	t_dir_drop(dir);
	return has;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_stored_is_history),
		T(segments_follow_each_other),
		T(pages_are_asked_for_ahead),
		T(an_answer_may_be_a_refusal),
		T(a_late_answer_is_passed_over),
		T(large_batches_are_written),
		T(who_has_none),
		T(blocks_have_to_be_reserved),
		T(a_segment_may_be_cut_under_it),
	};

	if (!has_windows())
		t_skip_all("no pages of this file system, or by this kernel, can be "
			   "made ready");
	return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
