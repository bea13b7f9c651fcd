/* SPDX-License-Identifier: MIT */
/*
 * test_syncer.c - daemon/syncer.c and batches in flight (journal_flush.c)
 */
#include "tests/unit/feedrig.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_batch_is_seen_when_it_has_settled),
		T(the_next_gathers_meanwhile),
		T(a_round_has_settled_when_all_of_it_has),
		T(a_flush_waits_for_all),
		T(who_is_alone_is_served_at_once),
		T(the_end_waits_for_what_is_in_flight),
		T(a_drop_waits_as_well),
		T(what_waits_for_the_disk_goes_on_gathering),
		T(the_disk_does_not_wait_for_us),
		T(full_batches_stay_on_their_way),
		T(what_is_behind_a_failure_is_not_written),
		T(access_that_is_due_waits_for_what_is_in_flight),
	};

	return cmocka_run_group_tests_name("syncer", tests, NULL, NULL);
}
