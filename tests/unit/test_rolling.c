/* SPDX-License-Identifier: MIT */
/*
 * test_rolling.c - where a segment ends, and when `os` is synced (journal_flush.c)
 */
#include "tests/unit/feedrig.h"

#include "daemon/preparer.h"

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

/* A sync is dear where there are no zeros, so that has to be over soon. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(segments_end_in_flight),
		T(a_transaction_that_begins_a_segment),
		T(the_next_segment_is_made_when_half_is_used),
		TS(the_next_segment_is_made_when_half_is_used, setup_memory),
		TS(the_first_segments_are_short, setup_whole),
		TS(a_segment_ends_behind_what_is_in_flight, setup_whole),
		TS(a_transaction_goes_on_in_the_next_segment, setup_whole),
		TS(the_one_after_a_cut_is_not_shorter_than_the_first, setup_whole),
		TS(a_new_segment_waits_for_a_sync_and_publishers_go_on, setup_os),
		TS(a_flush_does_not_wait_for_the_loop, setup_os),
		TS(a_transaction_waits_as_well, setup_os),
		TS(what_waits_for_a_sync_that_fails_is_lost, setup_os),
		TS(more_than_is_written_at_once_waits_as_well, setup_large),
		TS(who_waits_is_told_of_a_sync_that_fails, setup_os),
		TS(what_is_reserved_stays_so_if_more_cannot_be, setup_os),
		TS(a_segment_that_cannot_be_reserved_is_an_error_at_once, setup_os),
		TS(much_is_synced_early, setup_large),
	};

	return cmocka_run_group_tests_name("rolling", tests, NULL, NULL);
}
