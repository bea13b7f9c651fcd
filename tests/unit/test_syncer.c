/* SPDX-License-Identifier: MIT */
/*
 * test_syncer.c - daemon/syncer.c and the flight of batches in journal.c
 *
 * A feed with durability disk and its thread, without loop and sessions: rounds are
 * made by hand.  What is in flight may land at any moment, so nothing here asks whether
 * it has not yet.
 */
#include "tests/support/t.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/feed.h"
#include "daemon/log.h"
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
	t_ok(rt_feed_detach(feed(), f.wake_fd));
}

static void close_server(void)
{
	rt_server_close(&f.server);
	(void)close(f.wake_fd);
}

static int setup(void **state)
{
	char dir[128], data[128], one[] = "f,size=4M,segment=64K,durability=disk";
	char program[] = "ringtaild", option[] = "--feed";
	char *argv[] = { program, dir, data, option, one };
	struct rt_fault fault = { "" };

	(void)state;
	rt_log_init(RT_LOG_ERROR);
	f = (struct fixture){ .dir = t_dir_new() };
	(void)snprintf(dir, sizeof(dir), "--dir=%s/shm", f.dir);
	(void)snprintf(data, sizeof(data), "--data=%s/data", f.dir);
	t_ok(t_sh(NULL, "mkdir %s/shm %s/data", f.dir, f.dir));
	if (rt_config_load(&f.config, T_N(argv), argv, &fault) != RT_CONFIG_RUN)
		fail_msg("%s", fault.text);
	open_server();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
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
	put(1);
	push();
	put(2);
	put(3);
	assert_int_equal(rt_feed_seq(feed()), 3);
	assert_true(feed()->journal.in_flight);
	assert_int_equal(feed()->journal.flight.n_events, 1);
	assert_int_equal(feed()->journal.batch.n_events, 2);
	wait_for(1);
	assert_int_equal(head(), 1);
	/* It went off with the one before, and has no end of a round to wait for. */
	assert_false(rt_feed_is_settled(feed(), 2));
	assert_true(feed()->journal.in_flight);
	push();
	wait_for(2);
	assert_int_equal(head(), 3);
}

static void a_flush_waits_for_all(void **state)
{
	(void)state;
	put(1);
	push();
	put(2);
	t_ok(rt_feed_flush(feed()));
	assert_int_equal(head(), 2);
	assert_false(feed()->journal.in_flight);
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
	for (unsigned i = 0; i < 12000; i++) {
		put(i);
		if (i % 150 == 149)
			push();
		rt_feed_settle(feed());
	}
	push();
	wait_for(f.round);
	assert_int_equal(head(), 12000);
	assert_true(feed()->journal.log.segment_first > 10000);
	close_server();
	open_server();
	assert_int_equal(head(), 12000);
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

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_batch_is_seen_when_it_has_settled),
		T(the_next_gathers_meanwhile),
		T(a_flush_waits_for_all),
		T(who_is_alone_is_served_at_once),
		T(segments_end_in_flight),
		T(a_transaction_that_begins_a_segment),
		T(the_end_waits_for_what_is_in_flight),
		T(a_drop_waits_as_well),
	};

	return cmocka_run_group_tests_name("syncer", tests, NULL, NULL);
}
