/* SPDX-License-Identifier: MIT */
/*
 * test_syncer.c - daemon/syncer.c and the way of batches in journal_flush.c
 *
 * A feed with its thread (`disk`) or its syncs (`os`), without loop and sessions:
 * rounds are made by hand.  What is in flight may land at any moment, so nothing here
 * asks whether it has not yet, but where a gate holds the disk.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/feed.h"
#include "daemon/log.h"
#include "daemon/preparer.h"
#include "daemon/server.h"

struct fixture {
	struct rt_config config;
	struct rt_server server;
	char *dir;
	int wake_fd;
	uint64_t round;
};

static struct fixture f;

static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

static uint64_t head(void)
{
	return rt_writer_head(feed()->writer);
}

static void open_server(void)
{
	t_ok(rt_server_open(&f.server, &f.config));
	f.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f.wake_fd >= 0);
	t_ok(rt_feed_detach(feed(), f.wake_fd, NULL));
}

static void close_server(void)
{
	rt_server_close(&f.server);
	(void)close(f.wake_fd);
}

/* The disk, as the test wants it. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_shut; /* writes wait */
	int sync_error;
	int reserve_error;
	unsigned n_writes;
} disk = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static ssize_t write_when_open(int fd, const void *buf, size_t len, off_t at)
{
	(void)pthread_mutex_lock(&disk.mutex);
	disk.n_writes++;
	(void)pthread_cond_broadcast(&disk.changed);
	while (disk.is_shut)
		(void)pthread_cond_wait(&disk.changed, &disk.mutex);
	(void)pthread_mutex_unlock(&disk.mutex);
	return pwrite(fd, buf, len, at);
}

static int sync_or_fail(int fd)
{
	errno = disk.sync_error;
	return disk.sync_error ? -1 : fdatasync(fd);
}

static int reserve_or_fail(int fd, int mode, off_t at, off_t len)
{
	errno = disk.reserve_error;
	return disk.reserve_error ? -1 : fallocate(fd, mode, at, len);
}

static const struct rt_log_io disk_io = {
	.pwrite = write_when_open,
	.fdatasync = sync_or_fail,
	.fallocate = reserve_or_fail,
};

static void open_disk(void)
{
	(void)pthread_mutex_lock(&disk.mutex);
	disk.is_shut = false;
	(void)pthread_cond_broadcast(&disk.changed);
	(void)pthread_mutex_unlock(&disk.mutex);
}

/* Until the thread has begun that many. */
static void wait_for_writes(unsigned n)
{
	(void)pthread_mutex_lock(&disk.mutex);
	while (disk.n_writes < n)
		(void)pthread_cond_wait(&disk.changed, &disk.mutex);
	(void)pthread_mutex_unlock(&disk.mutex);
}

static int setup_mode(const char *mode, const char *segment)
{
	char dir[128], data[128], one[64];
	char program[] = "ringtaild", option[] = "--feed";
	char *argv[] = { program, dir, data, option, one };
	struct rt_fault fault = { "" };

	rt_log_init(RT_LOG_ERROR);
	f = (struct fixture){ .dir = t_dir_new() };
	disk.sync_error = disk.reserve_error = 0;
	(void)snprintf(one, sizeof(one), "f,size=4M,segment=%s,durability=%s", segment,
		       mode);
	(void)snprintf(dir, sizeof(dir), "--dir=%s/shm", f.dir);
	(void)snprintf(data, sizeof(data), "--data=%s/data", f.dir);
	t_ok(t_sh(NULL, "mkdir %s/shm %s/data", f.dir, f.dir));
	if (rt_config_load(&f.config, T_N(argv), argv, &fault) != RT_CONFIG_RUN)
		fail_msg("%s", fault.text);
	open_server();
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_mode("disk", "64K");
}

static int setup_os(void **state)
{
	(void)state;
	return setup_mode("os", "64K");
}

static int setup_large(void **state)
{
	(void)state;
	return setup_mode("os", "8M");
}

static int setup_whole(void **state)
{
	(void)state;
	return setup_mode("disk", "16M");
}

static int setup_memory(void **state)
{
	(void)state;
	return setup_mode("memory", "64K");
}

static int teardown(void **state)
{
	(void)state;
	open_disk(); /* else the end waits for it */
	close_server();
	rt_config_fini(&f.config);
	t_dir_drop(f.dir);
	return 0;
}

/* Key number @i of some; its value is the number. */
static void put(unsigned i)
{
	char key[16], value[16];

	(void)snprintf(key, sizeof(key), "key%u", i % 100);
	(void)snprintf(value, sizeof(value), "%u", i);
	t_ok(rt_feed_put(feed(), key, strlen(key), value, strlen(value), NULL));
}

/* Event 1 has passed: a segment has begun. */
static void shut_disk(void)
{
	put(1);
	t_ok(rt_feed_flush(feed()));
	feed()->journal.log.config.io = &disk_io;
	(void)pthread_mutex_lock(&disk.mutex);
	disk.is_shut = true;
	disk.n_writes = 0;
	(void)pthread_mutex_unlock(&disk.mutex);
}

static void push(void)
{
	(void)rt_feed_push(feed(), ++f.round, false);
}

/* What a loop does: sleeps until something has been done, and takes it in. */
static void wait_for(uint64_t round)
{
	while (!rt_feed_is_settled(feed(), round)) {
		struct pollfd poll_fd = { .fd = f.wake_fd, .events = POLLIN };
		eventfd_t n;

		assert_int_equal(poll(&poll_fd, 1, 30000), 1);
		t_ok(eventfd_read(f.wake_fd, &n));
		rt_feed_settle(feed());
	}
}

static void a_batch_is_seen_when_it_has_settled(void **state)
{
	(void)state;
	put(1);
	assert_false(rt_feed_is_settled(feed(), 1));
	assert_int_equal(head(), 0);
	push();
	assert_int_equal(head(), 0); /* nobody has taken it in */
	assert_false(rt_feed_is_settled(feed(), 1));
	wait_for(1);
	assert_int_equal(head(), 1);
	assert_int_equal(feed()->journal.log.synced, 1);
	assert_int_equal(feed()->journal.n_syncs, 1);
}

static void the_next_gathers_meanwhile(void **state)
{
	(void)state;
	shut_disk();
	put(2);
	push();
	put(3);
	put(4);
	assert_int_equal(rt_feed_seq(feed()), 4);
	assert_int_equal(feed()->journal.n_flights, 1);
	assert_int_equal(feed()->journal.batch.n_events, 2);
	open_disk();
	wait_for(1);
	assert_int_equal(head(), 2);
	/* It went off with the one before, and has no end of a round to wait for. */
	assert_int_equal(feed()->journal.n_flights, 1);
	push();
	wait_for(2);
	assert_int_equal(head(), 4);
}

/* What took off in the middle of a round is not all of it. */
static void a_round_has_settled_when_all_of_it_has(void **state)
{
	(void)state;
	shut_disk();
	put(2);
	push();
	put(3);
	open_disk();
	wait_for(1); /* and the next took off */
	put(4);
	while (head() < 3) {
		struct pollfd poll_fd = { .fd = f.wake_fd, .events = POLLIN };

		assert_int_equal(poll(&poll_fd, 1, 30000), 1);
		rt_feed_settle(feed());
	}
	assert_false(rt_feed_is_settled(feed(), 2));
	push();
	wait_for(2);
	assert_int_equal(head(), 4);
}

static void a_flush_waits_for_all(void **state)
{
	(void)state;
	put(1);
	push();
	put(2);
	t_ok(rt_feed_flush(feed()));
	assert_int_equal(head(), 2);
	assert_false(feed()->journal.n_flights);
	assert_true(rt_feed_is_settled(feed(), UINT64_MAX));
	t_ok(rt_feed_flush(feed()));
	put(3);
	push();
	wait_for(f.round);
	assert_int_equal(head(), 3);
}

static void who_is_alone_is_served_at_once(void **state)
{
	(void)state;
	put(1);
	assert_true(rt_feed_push(feed(), ++f.round, true));
	assert_int_equal(head(), 1);
	put(2);
	push();
	put(3);
	/* But not in front of what is on its way. */
	assert_false(rt_feed_push(feed(), ++f.round, true) && head() < 2);
	wait_for(f.round);
	assert_int_equal(head(), 3);
}

/* Ten segments, and batches that are larger than what is left of one. */
static void segments_end_in_flight(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 15000; i++) {
		put(i);
		if (i % 150 == 149)
			push();
		rt_feed_settle(feed());
	}
	push();
	wait_for(f.round);
	assert_int_equal(head(), 15000);
	assert_true(feed()->journal.log.segment_first > 12500);
	close_server();
	open_server();
	assert_int_equal(head(), 15000);
	assert_int_equal(feed()->table.n, 100);
}

static void a_transaction_that_begins_a_segment(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 500; i++)
		put(i);
	push();
	rt_feed_begin(feed());
	for (unsigned i = 0; i < 2000; i++)
		put(i);
	t_ok(rt_feed_commit(feed()));
	push();
	wait_for(f.round);
	assert_int_equal(head(), 2500);
	assert_int_equal(feed()->journal.log.segment_first, 501);
}

static void the_end_waits_for_what_is_in_flight(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		put(2 * i - 1);
		push();
		put(2 * i);
		close_server();
		open_server();
		f.round = 0;
		assert_int_equal(head(), 2 * i);
	}
}

/* As a crash leaves it: what was in flight may be there or not, but nothing else is. */
static void a_drop_waits_as_well(void **state)
{
	(void)state;
	put(1);
	push();
	put(2);
	rt_journal_close(&feed()->journal, false);
	feed()->writer = NULL;
	close_server();
	open_server();
	assert_int_equal(head(), 1);
}

/* The thread looks at what is behind another only when that is done. */
static void what_waits_for_the_disk_goes_on_gathering(void **state)
{
	(void)state;
	shut_disk();
	put(2);
	push();
	wait_for_writes(1);
	put(3);
	push();
	assert_int_equal(feed()->journal.n_flights, 2);
	put(4);
	assert_int_equal(feed()->journal.n_flights, 1);
	assert_int_equal(feed()->journal.batch.n_events, 2);
	push();
	open_disk();
	wait_for(f.round);
	assert_int_equal(head(), 4);
	assert_int_equal(feed()->journal.n_syncs, 3);
}

static void the_disk_does_not_wait_for_us(void **state)
{
	(void)state;
	shut_disk();
	put(2);
	push();
	wait_for_writes(1);
	put(3);
	push();
	open_disk();
	wait_for_writes(2); /* though nobody has looked at the first */
	assert_int_equal(head(), 1);
	put(4);
	push();
	wait_for(f.round);
	assert_int_equal(head(), 4);
}

static void full_batches_stay_on_their_way(void **state)
{
	(void)state;
	shut_disk();
	put(2);
	push();
	wait_for_writes(1);
	rt_feed_begin(feed());
	for (unsigned i = 3; i <= 900; i++) /* most of the segment */
		put(i);
	t_ok(rt_feed_commit(feed()));
	open_disk();
	for (unsigned i = 901; i <= 2000; i++)
		put(i);
	push();
	wait_for(f.round);
	assert_int_equal(head(), 2000);
}

/* Once it has failed, nothing may be on the disk that was not before. */
static void what_is_behind_a_failure_is_not_written(void **state)
{
	(void)state;
	shut_disk();
	disk.sync_error = EIO;
	put(2);
	push();
	wait_for_writes(1);
	put(3);
	push();
	open_disk();
	while (feed()->writer) {
		struct pollfd poll_fd = { .fd = f.wake_fd, .events = POLLIN };

		assert_int_equal(poll(&poll_fd, 1, 30000), 1);
		rt_feed_settle(feed());
	}
	assert_true(rt_feed_is_lost(feed(), f.round));
	assert_false(rt_feed_is_lost(feed(), 0));
	disk.sync_error = 0;
	close_server();
	open_server();
	assert_int_equal(head(), 1);
}

/* What a tick does when the ring has moved and the log could not follow. */
static void access_that_is_due_waits_for_what_is_in_flight(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		put(2 * i - 1);
		push();
		put(2 * i);
		rt_feed_give_log(feed());
		push();
		wait_for(f.round);
		assert_int_equal(head(), 2 * i);
	}
	close_server();
	open_server();
	assert_int_equal(head(), 40);
}

/*
 * ---- A new segment with `os` ----
 */

/* Fills the first segment until something has to wait for the second. */
static void fill_segment(void)
{
	for (unsigned i = 0; !feed()->journal.is_rolling; i++) {
		put(i);
		if (i % 10 == 9 && !feed()->journal.is_rolling)
			push();
	}
}

static void a_new_segment_waits_for_a_sync_and_publishers_go_on(void **state)
{
	uint64_t before, last;
	int fd;

	(void)state;
	fill_segment();
	before = head();
	for (unsigned i = 0; i < 100; i++)
		put(i);
	last = rt_feed_seq(feed());
	push();
	assert_int_equal(head(), before); /* not synced: not begun, not seen */
	assert_int_equal(feed()->journal.log.segment_first, 1);
	assert_false(rt_feed_is_settled(feed(), f.round));
	fd = rt_feed_sync_begin(feed(), false);
	assert_true(fd >= 0);
	push();
	assert_int_equal(head(), before);
	t_ok(fdatasync(fd));
	rt_feed_sync_end(feed(), 0);
	push();
	assert_int_equal(head(), last);
	assert_int_equal(feed()->journal.log.segment_first, before + 1);
	assert_true(rt_feed_is_settled(feed(), f.round));
}

static void a_flush_does_not_wait_for_the_loop(void **state)
{
	uint64_t last;

	(void)state;
	fill_segment();
	last = rt_feed_seq(feed());
	t_ok(rt_feed_flush(feed()));
	assert_int_equal(head(), last);
	assert_true(feed()->journal.log.segment_first > 1);
	close_server();
	open_server();
	assert_int_equal(head(), last);
}

static void a_transaction_waits_as_well(void **state)
{
	int fd;

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		put(i);
	push();
	rt_feed_begin(feed());
	for (unsigned i = 0; i < 2000; i++) /* more than a segment */
		put(i);
	t_ok(rt_feed_commit(feed()));
	push();
	assert_int_equal(head(), 500);
	fd = rt_feed_sync_begin(feed(), false);
	assert_true(fd >= 0);
	rt_feed_sync_end(feed(), fdatasync(fd));
	push();
	assert_int_equal(head(), 2500);
	assert_int_equal(feed()->journal.log.segment_first, 501);
}

static void what_waits_for_a_sync_that_fails_is_lost(void **state)
{
	uint64_t before;

	(void)state;
	fill_segment();
	before = head();
	push();
	assert_true(rt_feed_sync_begin(feed(), false) >= 0);
	rt_feed_sync_end(feed(), -EIO);
	assert_null(feed()->writer);
	assert_true(rt_feed_is_lost(feed(), f.round));
	close_server();
	open_server();
	assert_int_equal(head(), before);
}

/* The disk takes as long as it takes, and a busy publisher is faster. */
static void more_than_is_written_at_once_waits_as_well(void **state)
{
	static char value[60000];
	uint64_t before, last;
	int fd;

	(void)state;
	while (!feed()->journal.is_rolling)
		t_ok(rt_feed_put(feed(), "k", 1, value, sizeof(value), NULL));
	before = head();
	feed()->journal.log.config.io = &disk_io;
	disk.sync_error = EIO; /* of who does not wait for the loop */
	for (unsigned i = 0; i < 80; i++) {
		t_ok(rt_feed_put(feed(), "k", 1, value, sizeof(value), NULL));
		if (i % 8 == 7)
			push();
	}
	last = rt_feed_seq(feed());
	assert_int_equal(head(), before);
	disk.sync_error = 0;
	fd = rt_feed_sync_begin(feed(), false);
	assert_true(fd >= 0);
	rt_feed_sync_end(feed(), fdatasync(fd));
	push();
	assert_int_equal(head(), last);
	assert_int_equal(feed()->journal.log.segment_first, before + 1);
}

/* The loop looks at those who wait when the count of what has settled has changed. */
static void who_waits_is_told_of_a_sync_that_fails(void **state)
{
	uint64_t before;

	(void)state;
	fill_segment();
	put(1);
	push();
	before = feed()->journal.n_settled;
	assert_true(rt_feed_sync_begin(feed(), false) >= 0);
	rt_feed_sync_end(feed(), -EIO);
	assert_true(rt_feed_is_lost(feed(), f.round));
	assert_true(feed()->journal.n_settled > before);
}

/* What has been promised room keeps it, though there is none for what comes then. */
static void what_is_reserved_stays_so_if_more_cannot_be(void **state)
{
	uint64_t last;
	int fd;

	(void)state;
	fill_segment();
	put(1);
	last = rt_feed_seq(feed());
	feed()->journal.log.config.io = &disk_io;
	disk.reserve_error = ENOSPC;
	rt_feed_begin(feed());
	for (unsigned i = 0; i < 4000; i++) /* more than a segment */
		put(i);
	assert_int_equal(rt_feed_commit(feed()), RT_FEED_E_LOG);
	assert_non_null(feed()->writer);
	assert_int_equal(rt_feed_seq(feed()), last);
	push();
	fd = rt_feed_sync_begin(feed(), false);
	if (fd >= 0)
		rt_feed_sync_end(feed(), fdatasync(fd));
	push();
	assert_non_null(feed()->writer);
	assert_int_equal(head(), last);
}

/* A full disk is noticed before anything waits for it. */
static void a_segment_that_cannot_be_reserved_is_an_error_at_once(void **state)
{
	char key[] = "k", value[] = "v";
	uint64_t before;
	int r = 0;

	(void)state;
	put(1);
	t_ok(rt_feed_flush(feed()));
	feed()->journal.log.config.io = &disk_io;
	disk.reserve_error = ENOSPC;
	for (unsigned i = 0; !r; i++)
		r = rt_feed_put(feed(), key, 1, value, 1, NULL);
	assert_int_equal(r, RT_FEED_E_LOG);
	assert_non_null(strstr(feed()->journal.fault.text, "No space"));
	before = head(); /* what came before is in history */
	assert_true(before > 100);
	assert_int_equal(rt_feed_seq(feed()), before);
	disk.reserve_error = 0;
	put(1);
	t_ok(rt_feed_flush(feed()));
	assert_int_equal(head(), before + 1);
}

/* Bytes that are logged until a sync is wanted. */
static uint64_t until_sync_is_wanted(void)
{
	const struct rt_journal *journal = &feed()->journal;
	uint64_t from = journal->log.n_since;
	char value[10000];

	memset(value, 'v', sizeof(value));
	for (unsigned i = 0; i < 1000 && !rt_journal_wants_sync(journal); i++) {
		t_ok(rt_feed_put(feed(), "k", 1, value, sizeof(value), NULL));
		t_ok(rt_feed_flush(feed()));
	}
	assert_true(rt_journal_wants_sync(journal));
	return journal->log.n_since - from;
}

/* And more often where the segment ends, which must not wait for much. */
static void much_is_synced_early(void **state)
{
	const struct rt_log *log = &feed()->journal.log;
	uint64_t n, before = UINT64_MAX, first;

	(void)state;
	put(1);
	push();
	first = log->segment_first;
	assert_true(log->unsynced);
	assert_int_equal(rt_feed_sync_begin(feed(), false), -1);
	while ((n = until_sync_is_wanted()) > (UINT64_C(300) << 10)) {
		int fd = rt_feed_sync_begin(feed(), false);

		assert_int_equal(log->segment_first, first);
		assert_true(fd >= 0 && n < before);
		before = n;
		rt_feed_sync_end(feed(), fdatasync(fd));
	}
	assert_true(log->segment_end - log->offset < (UINT64_C(600) << 10));
}

static bool is_prepared(void)
{
	return faccessat(feed()->journal.log.dir_fd, RT_LOG_NEXT_NAME, F_OK, 0) == 0;
}

/* Not before it may soon be of use: it takes room. */
static void the_next_segment_is_made_when_half_is_used(void **state)
{
	const struct rt_log *log = &feed()->journal.log;
	uint64_t first;
	unsigned i = 0;

	(void)state;
	put(i++);
	t_ok(rt_feed_flush(feed()));
	first = log->segment_first;
	while (log->offset + 1000 < log->segment_end / 2) {
		assert_false(is_prepared());
		put(i++);
		t_ok(rt_feed_flush(feed()));
	}
	while (!is_prepared()) {
		put(i++);
		t_ok(rt_feed_flush(feed()));
		(void)usleep(1000);
	}
	assert_int_equal(log->segment_first, first);
	while (log->segment_first == first) {
		put(i++);
		t_ok(rt_feed_flush(feed()));
	}
	assert_false(is_prepared());
	assert_int_equal(log->segment_end, RT_LOG_SEGMENT_MIN);
	assert_int_equal(head(), i);
}

static void put_page(void)
{
	static char value[4096];

	t_ok(rt_feed_put(feed(), "key", 3, value, sizeof(value), NULL));
}

static void put_pages(unsigned n)
{
	while (n--)
		put_page();
	t_ok(rt_feed_flush(feed()));
}

/* A sync is dear where there are none, so that has to be over soon. */
static void the_first_segments_are_short(void **state)
{
	const struct rt_log *log = &feed()->journal.log;
	uint64_t first, end;

	(void)state;
	put_pages(1);
	end = log->segment_end;
	assert_int_equal(end, 4 << 20);
	while (end < 16 << 20) {
		first = log->segment_first;
		while (log->segment_first == first)
			put_pages(2);
		assert_int_equal(log->segment_end, 2 * end);
		end = log->segment_end;
	}
	assert_int_equal(log->synced + 1, log->next);
}

static void wait_until_reserved(void)
{
	while (!rt_preparer_reserved(feed()->journal.preparer))
		(void)usleep(1000);
}

/* A disk that takes its time keeps nobody from changing something. */
static void a_segment_ends_behind_what_is_in_flight(void **state)
{
	const struct rt_journal *journal = &feed()->journal;

	(void)state;
	shut_disk();
	wait_until_reserved();
	for (unsigned i = 0; i < 1500; i++) {
		put_page();
		if (i % 4 == 3)
			push();
	}
	assert_true(journal->is_rolling);
	assert_int_equal(head(), 1);
	open_disk();
	wait_for(f.round);
	assert_false(journal->is_rolling);
	assert_int_equal(head(), 1501);
	assert_int_not_equal(journal->log.segment_first, 1);
	close_server();
	open_server();
	assert_int_equal(head(), 1501);
}

static void a_transaction_goes_on_in_the_next_segment(void **state)
{
	const struct rt_journal *journal = &feed()->journal;
	unsigned n = 0;

	(void)state;
	shut_disk();
	wait_until_reserved();
	put_page();
	push();
	while (!journal->is_rolling) {
		rt_feed_begin(feed());
		for (unsigned i = 0; i < 100; i++, n++)
			put_page();
		t_ok(rt_feed_commit(feed()));
	}
	rt_feed_begin(feed());
	put_page();
	rt_feed_abort(feed()); /* nor does that take anything with it */
	push();
	open_disk();
	wait_for(f.round);
	assert_int_equal(head(), 2 + n);
	assert_int_not_equal(journal->log.segment_first, 1);
	close_server();
	open_server();
	assert_int_equal(head(), 2 + n);
}

/* As by a start that finds a tail. */
static void the_one_after_a_cut_is_not_shorter_than_the_first(void **state)
{
	(void)state;
	put_pages(1);
	t_ok(t_sh(NULL, "truncate -s %llu %s/data/f/*.log",
		  (unsigned long long)feed()->journal.log.offset, f.dir));
	close_server();
	open_server();
	put_pages(1);
	assert_int_equal(feed()->journal.log.segment_end, 4 << 20);
	assert_int_equal(head(), 2);
}

#define TO(name) cmocka_unit_test_setup_teardown(name, setup_os, teardown)
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_batch_is_seen_when_it_has_settled),
		T(the_next_gathers_meanwhile),
		T(a_round_has_settled_when_all_of_it_has),
		T(a_flush_waits_for_all),
		T(who_is_alone_is_served_at_once),
		T(segments_end_in_flight),
		T(a_transaction_that_begins_a_segment),
		T(the_end_waits_for_what_is_in_flight),
		T(a_drop_waits_as_well),
		T(what_waits_for_the_disk_goes_on_gathering),
		T(the_disk_does_not_wait_for_us),
		T(full_batches_stay_on_their_way),
		T(what_is_behind_a_failure_is_not_written),
		T(access_that_is_due_waits_for_what_is_in_flight),
		T(the_next_segment_is_made_when_half_is_used),
		cmocka_unit_test_setup_teardown(
			the_next_segment_is_made_when_half_is_used, setup_memory,
			teardown),
		cmocka_unit_test_setup_teardown(the_first_segments_are_short,
						setup_whole, teardown),
		cmocka_unit_test_setup_teardown(a_segment_ends_behind_what_is_in_flight,
						setup_whole, teardown),
		cmocka_unit_test_setup_teardown(
			a_transaction_goes_on_in_the_next_segment, setup_whole,
			teardown),
		cmocka_unit_test_setup_teardown(
			the_one_after_a_cut_is_not_shorter_than_the_first, setup_whole,
			teardown),
		TO(a_new_segment_waits_for_a_sync_and_publishers_go_on),
		TO(a_flush_does_not_wait_for_the_loop),
		TO(a_transaction_waits_as_well),
		TO(what_waits_for_a_sync_that_fails_is_lost),
		cmocka_unit_test_setup_teardown(
			more_than_is_written_at_once_waits_as_well, setup_large,
			teardown),
		TO(who_waits_is_told_of_a_sync_that_fails),
		TO(what_is_reserved_stays_so_if_more_cannot_be),
		TO(a_segment_that_cannot_be_reserved_is_an_error_at_once),
		cmocka_unit_test_setup_teardown(much_is_synced_early, setup_large,
						teardown),
	};

	return cmocka_run_group_tests_name("syncer", tests, NULL, NULL);
}
