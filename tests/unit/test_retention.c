/* SPDX-License-Identifier: MIT */
/*
 * test_retention.c - when the daemon makes a snapshot, and what it then lets go
 *
 * The ticks are the test's; the clock is not waited for: what is to be old is made so.
 */
#define SESSION_FEEDS \
	strdup("--feed"), strdup("main,size=16K,segment=64K,snapshot_bytes=128K," \
				 "retain_bytes=256K")

#include "tests/unit/sessionrig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

static struct rt_retention *kept(void)
{
	return &feed()->retention;
}

/* @n puts of 100 bytes, with a few keys. */
static void put(unsigned n)
{
	static const char value[100] = "v";

	rt_feed_set_time(feed(), rt_now_ns(CLOCK_REALTIME));
	for (unsigned i = 0; i < n; i++) {
		char key[16];
		int len = snprintf(key, sizeof(key), "key%u", i % 50);

		t_ok(rt_feed_put(feed(), key, (size_t)len, value, sizeof(value), NULL));
		t_ok(rt_feed_flush(feed()));
	}
}

static void settle(void)
{
	while (kept()->job.stage == RT_SNAP_WAITING ||
	       kept()->job.stage == RT_SNAP_RUNNING)
		t_sleep_ms(1);
}

/* Ticks, and waits for the thread after each. */
static void tick(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		rt_feed_tick(feed());
		settle();
	}
}

/* So many changes, and a snapshot that has them. */
static void put_and_save(unsigned n)
{
	put(n);
	(void)rt_retention_ask(feed());
	tick(2);
}

static const char *log_file(uint64_t seq, const char *suffix)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "main/log/%020llu%s",
		       (unsigned long long)seq, suffix);
	return t_path(f.dir, name);
}

static mode_t access_of(const char *path)
{
	struct stat st;

	t_ok(stat(path, &st));
	return st.st_mode & 0777;
}

static void nothing_is_made_of_nothing(void **state)
{
	(void)state;
	tick(3);
	assert_int_equal(rt_retention_ask(feed()), 1);
	tick(2);
	assert_int_equal(kept()->answered, 1);
	assert_int_equal(kept()->n_made, 0);
	assert_int_equal(kept()->error[0], 0);
}

static void who_asks_gets_one(void **state)
{
	(void)state;
	put(10);
	tick(3);
	assert_int_equal(kept()->n_kept, 0); /* there is no reason yet */
	assert_int_equal(rt_retention_ask(feed()), 1);
	tick(2);
	assert_int_equal(kept()->answered, 1);
	assert_int_equal(kept()->newest, 10);
	assert_int_equal(kept()->n_entries, 10);
	assert_int_equal(access(log_file(10, ".snap"), F_OK), 0);
	put(5);
	(void)rt_retention_ask(feed());
	put(5);
	(void)rt_retention_ask(feed()); /* of what came after the first was begun */
	tick(4);
	assert_int_equal(kept()->answered, 3);
	assert_int_equal(kept()->newest, 20);
	assert_int_equal(kept()->n_kept, 2);
}

static void so_many_bytes_of_log_are_a_reason(void **state)
{
	(void)state;
	put(450); /* each takes some 180 bytes */
	tick(2);
	assert_int_equal(kept()->n_made, 0);
	put(450);
	tick(2);
	assert_int_equal(kept()->newest, 900);
	put(450);
	tick(2);
	assert_int_equal(kept()->newest, 900);
	put(450);
	tick(2);
	assert_int_equal(kept()->newest, 1800);
}

static void no_tick_is_waited_for(void **state)
{
	const struct rt_snap_job *job = &kept()->job;

	(void)state;
	put(500);
	rt_feed_tick(feed());
	assert_true(kept()->look_at > feed()->journal.log.n_since);
	put(10);
	assert_int_equal(job->stage, RT_SNAP_IDLE);
	while (feed()->journal.log.n_since < kept()->look_at)
		put(1);
	kept()->segment =
		feed()->journal.log.segment_first; /* that is another reason */
	rt_retention_look(feed());
	settle();
	assert_int_equal(job->stage, RT_SNAP_DONE);
	assert_int_equal(kept()->look_at, UINT64_MAX); /* not again for the same */
	rt_retention_look(feed());
	assert_int_equal(kept()->n_made, 1);
	assert_int_equal(kept()->look_at,
			 kept()->newest_since + (128 << 10) - 4 * kept()->file_size);
}

/*
 * A start reads the last one and the log behind it: together no more than the limit, or
 * half as much log as that; not for less log than twice what has to be copied, unless
 * it is not copied anyway; and not for more than half of what is kept.
 */
static void it_is_for_as_much_log_as_a_start_has_time_for(void **state)
{
	static const struct {
		uint64_t file_size, keys, most, retain, due; /* MiB */
	} cases[] = {
		{ 0, 0, 192, 0, 192 },    { 12, 0, 192, 0, 144 },
		{ 36, 0, 192, 0, 48 },    { 40, 0, 192, 0, 48 },
		{ 100, 0, 192, 0, 50 },   { 384, 0, 192, 0, 192 },
		{ 1000, 0, 192, 0, 192 }, { 100, 0, 1000, 0, 600 },
		{ 250, 0, 1000, 0, 250 }, { 4, 0, 20, 0, 5 },
		{ 12, 60, 192, 0, 144 },  { 36, 31, 192, 0, 62 },
		{ 36, 64, 192, 0, 128 },  { 36, 65, 192, 0, 48 },
		{ 36, 40, 64, 0, 64 },    { 12, 0, 192, 256, 128 },
		{ 12, 0, 192, 400, 144 }, { 12, 0, 192, 8, 4 },
		{ 36, 60, 192, 64, 32 },
	};
	struct rt_feed_config config = *feed()->config;
	const struct rt_feed_config *own = feed()->config;
	uint64_t *since = &feed()->journal.log.n_since, was = *since;
	struct rt_table *table = &feed()->table;
	size_t n_bytes, n;

	(void)state;
	put(10);
	feed()->config = &config;
	n_bytes = table->n_bytes;
	n = table->n;
	for (size_t i = 0; i < T_N(cases); i++) {
		table->n = 0;
		table->n_bytes = cases[i].keys << 20;
		kept()->file_size = cases[i].file_size << 20;
		config.snapshot_bytes = cases[i].most << 20;
		config.retain_bytes = cases[i].retain << 20;
		*since = kept()->newest_since + (cases[i].due << 20) - 1;
		assert_false(rt_retention_is_due(feed()));
		++*since;
		assert_true(rt_retention_is_due(feed()));
		*since += rt_min(2 * cases[i].due, UINT64_C(48)) << 20;
		--*since;
		assert_false(rt_retention_is_urgent(feed()));
		++*since;
		assert_true(rt_retention_is_urgent(feed()));
	}
	table->n_bytes = n_bytes;
	table->n = n;
	*since = was;
	feed()->config = own;
}

/* Whatever is wanted less than a segment: no more can go because of one. */
static void it_is_for_a_segment_at_least(void **state)
{
	struct rt_feed_config config = *feed()->config;
	const struct rt_feed_config *own = feed()->config;
	uint64_t *since = &feed()->journal.log.n_since, was = *since;

	(void)state;
	put(10);
	config.retain_bytes = 1;
	feed()->config = &config;
	*since = kept()->newest_since + (64 << 10) - 1;
	assert_false(rt_retention_is_due(feed()));
	++*since;
	assert_true(rt_retention_is_due(feed()));
	*since = was;
	feed()->config = own;
}

/* One that is not much smaller, or larger than there is memory for, is not copied. */
static void a_copy_is_made_of_what_is_small(void **state)
{
	struct rt_table *table = &feed()->table;
	size_t n_bytes;

	(void)state;
	put(50);
	n_bytes = table->n_bytes;
	assert_true(rt_copying_pays(feed(), 1 << 20));
	assert_true(rt_copying_pays(feed(), rt_copying_worth(feed())));
	assert_false(rt_copying_pays(feed(), rt_copying_worth(feed()) - 1));
	table->n_unplaced = 1;
	assert_false(rt_copying_pays(feed(), 1 << 20));
	table->n_unplaced = 0;
	table->n_bytes = 63 << 20;
	assert_true(rt_copying_pays(feed(), 1 << 30));
	table->n_bytes = 64 << 20;
	assert_false(rt_copying_pays(feed(), 1 << 30));
	table->n_bytes = n_bytes;
}

static void age_is_one_if_anything_changed(void **state)
{
	(void)state;
	put(10);
	kept()->opened_ns -= 3601 * NS_PER_S;
	tick(2);
	assert_int_equal(kept()->newest, 10);
	kept()->created_ns -= 3601 * NS_PER_S;
	tick(2);
	assert_int_equal(kept()->n_made, 1);
	put(1);
	tick(2);
	assert_int_equal(kept()->newest, 11);
}

static void nothing_goes_that_is_not_covered(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint64_t oldest;

		put(200);
		rt_feed_tick(feed());
		oldest = rt_log_oldest(&feed()->journal.log);
		assert_true(oldest == 1 || oldest <= kept()->oldest + 1);
		tick(1);
	}
	tick(3);
	assert_true(rt_log_oldest(&feed()->journal.log) > 1);
	assert_true(feed()->journal.log.n_bytes < 512 << 10);
	assert_int_equal(kept()->n_kept, 2);
}

static void what_cannot_be_made_is_tried_again(void **state)
{
	uint64_t retry_ns;

	(void)state;
	put(1000);
	assert_int_equal(mkdir(log_file(1000, ".snap.new"), 0700), 0);
	assert_int_equal(mkdir(t_path(log_file(1000, ".snap.new"), "x"), 0700), 0);
	tick(2);
	assert_int_equal(kept()->n_failed, 1);
	assert_non_null(strstr(kept()->error, ".snap"));
	retry_ns = kept()->retry_ns;
	assert_true(retry_ns > rt_now_ns(CLOCK_MONOTONIC));
	tick(5);
	assert_int_equal(kept()->n_failed, 1); /* not yet */
	kept()->retry_ns = 0;
	tick(2);
	assert_int_equal(kept()->n_failed, 2);
	assert_int_equal(kept()->backoff_ns, 2 * NS_PER_S);
	for (int i = 0; i < 8; i++) {
		kept()->retry_ns = 0;
		tick(2);
	}
	assert_int_equal(kept()->backoff_ns, 60 * NS_PER_S);
	assert_int_equal(rt_log_oldest(&feed()->journal.log), 1);

	assert_int_equal(rmdir(t_path(log_file(1000, ".snap.new"), "x")), 0);
	assert_int_equal(rmdir(log_file(1000, ".snap.new")), 0);
	(void)rt_retention_ask(feed()); /* who asks does not wait */
	tick(2);
	assert_int_equal(kept()->newest, 1000);
	assert_int_equal(kept()->error[0], 0);
	assert_int_equal(kept()->backoff_ns, 0);
}

/* What it flushes for a snapshot is lost, and damage went with the same tick. */
static void a_log_that_fails_amid_a_tick(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	put(100);
	kept()->checking.n_damaged = 1;
	kept()->from_table = true;
	t_ok(rt_feed_put(feed(), "k", 1, "v", 1, NULL));
	assert_true(dup2(fd, feed()->journal.log.fd) >= 0);
	t_ok(close(fd));
	(void)rt_retention_ask(feed());
	assert_null(feed()->writer);
	assert_int_equal(kept()->n_made, 0);
}

static void a_trim_waits_for_one(void **state)
{
	uint64_t then;

	(void)state;
	put(100);
	t_is(rt_retention_trim(feed(), 50, &then), 0);
	assert_int_equal(then, 50);
	assert_int_equal(rt_retention_oldest(feed()), 1);
	tick(2);
	assert_int_equal(rt_retention_oldest(feed()), 50);
	assert_int_equal(kept()->newest, 100);
	t_is(rt_retention_trim(feed(), 60, &then), 1); /* that covers it too */
	assert_int_equal(then, 60);
	t_is(rt_retention_trim(feed(), 10, &then), 1);
	assert_int_equal(then, 60);
}

static void what_is_of_this_round_can_be_trimmed_to(void **state)
{
	(void)state;
	put(10);
	/* The array is of the oldest event now, and then. */
	assert_string_equal(ask("SET a 1\r\nSET b 1\r\nRINGTAIL.TRIM 12\r\n"),
			    "+OK\r\n+OK\r\n*2\r\n:1\r\n:12\r\n");
	tick(2);
	assert_int_equal(rt_retention_oldest(feed()), 12);
}

static void snapshots_below_what_is_let_go_go(void **state)
{
	uint64_t then;

	(void)state;
	put_and_save(10);
	put_and_save(10);
	assert_int_equal(kept()->n_kept, 2);
	t_is(rt_retention_trim(feed(), 11, &then), 1);
	assert_int_equal(kept()->n_kept, 2); /* 11 goes on from 10 */
	t_is(rt_retention_trim(feed(), 12, &then), 1);
	assert_int_equal(kept()->n_kept, 1);
	assert_int_equal(kept()->oldest, 20);
}

static void what_files_do_not_give_memory_does(void **state)
{
	uint64_t then;

	(void)state;
	put(100);
	t_is(rt_retention_trim(feed(), 90, &then), 0);
	tick(2);
	assert_int_equal(unlink(log_file(100, ".snap")), 0);
	put(10);
	(void)rt_retention_ask(feed());
	/* What is of the round in which it is taken is in it, and its seq says so. */
	(void)ask("SET key1 new\r\n");
	tick(3);
	assert_int_equal(kept()->newest, 111);
	assert_int_equal(kept()->n_entries, 50);
	assert_int_equal(kept()->error[0], 0);
}

/* Damages a block, and nothing that is looked at when it is opened. */
static void damage(uint64_t seq)
{
	int fd = open(log_file(seq, ".snap"), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "\xa5\x5a", 2, 4096 + 80), 2);
	(void)close(fd);
}

static void nothing_goes_because_of_a_damaged_one(void **state)
{
	uint64_t then = 0;

	(void)state;
	put_and_save(10);
	put_and_save(10);
	damage(20);
	put(1);
	t_is(rt_retention_trim(feed(), 15, &then), 0);
	assert_int_equal(access(log_file(20, ".snap"), F_OK), -1);
	assert_int_equal(rt_log_oldest(&feed()->journal.log), 1);
	tick(3);
	assert_int_equal(kept()->newest, 21);
	assert_int_equal(rt_retention_oldest(feed()), 15);
}

/* As many keys as make a snapshot that the loop does not read itself. */
static void large_ones_are_read_by_the_thread(void **state)
{
	static const char value[200] = "v";

	(void)state;
	rt_feed_set_time(feed(), rt_now_ns(CLOCK_REALTIME));
	for (unsigned i = 0; i < 6000; i++) {
		t_ok(rt_feed_put(feed(), &i, sizeof(i), value, sizeof(value), NULL));
		t_ok(rt_feed_flush(feed()));
	}
	(void)rt_retention_ask(feed());
	settle();
	damage(6000);
	tick(1); /* retain_bytes would have some go */
	assert_int_equal(kept()->newest, 6000);
	tick(1);
	assert_int_equal(kept()->n_kept, 0);
	assert_int_equal(rt_log_oldest(&feed()->journal.log), 1);
	tick(3);
	assert_int_equal(kept()->newest, 6000);
	assert_int_equal(kept()->verified, 6000);
	assert_true(rt_log_oldest(&feed()->journal.log) > 1);
}

/* The ring moves; its log has no place for a segment that is for the same readers. */
static void a_log_follows_its_ring_later(void **state)
{
	const struct rt_access access = { 0600, (uid_t)-1, (gid_t)-1 };
	struct rt_fault fault;

	(void)state;
	put(10);
	assert_int_equal(mkdir(log_file(11, ".log"), 0700), 0);
	assert_true(rt_server_set_access(&f.server, feed(), access, &fault) < 0);
	assert_int_equal(feed()->mode, 0600);
	assert_int_equal(feed()->config->mode, 0600); /* for an open to come */
	assert_true(feed()->log_access_due);
	assert_int_equal(rmdir(log_file(11, ".log")), 0);
	tick(61);
	assert_false(feed()->log_access_due);
	put(1);
	assert_int_equal(access_of(log_file(11, ".log")), 0600);
}

/* Of another feed a job runs, for as long as it likes. */
static void what_waits_is_canceled_without_waiting(void **state)
{
	struct rt_snap_job a = { .next = NULL }, b = { .next = NULL };
	struct rt_snapshotter s;

	(void)state;
	rt_snapshotter_init(&s);
	s.started = true; /* nobody is there to take one */
	t_ok(rt_snapshotter_submit(&s, &a));
	t_ok(rt_snapshotter_submit(&s, &b));
	rt_snapshotter_cancel(&s, &b);
	assert_int_equal(b.stage, RT_SNAP_DONE);
	assert_int_equal(b.result, -ECANCELED);
	assert_ptr_equal(s.last, &a);
	rt_snap_job_clear(&b);
	t_ok(rt_snapshotter_submit(&s, &b));
	rt_snapshotter_cancel(&s, &a);
	assert_ptr_equal(s.first, &b);
	rt_snapshotter_cancel(&s, &b);
	assert_null(s.first);
	assert_null(s.last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_made_of_nothing),
		T(who_asks_gets_one),
		T(so_many_bytes_of_log_are_a_reason),
		T(no_tick_is_waited_for),
		T(it_is_for_as_much_log_as_a_start_has_time_for),
		T(it_is_for_a_segment_at_least),
		T(a_copy_is_made_of_what_is_small),
		T(age_is_one_if_anything_changed),
		T(nothing_goes_that_is_not_covered),
		T(what_cannot_be_made_is_tried_again),
		T(a_log_that_fails_amid_a_tick),
		T(a_trim_waits_for_one),
		T(what_is_of_this_round_can_be_trimmed_to),
		T(snapshots_below_what_is_let_go_go),
		T(what_files_do_not_give_memory_does),
		T(nothing_goes_because_of_a_damaged_one),
		T(large_ones_are_read_by_the_thread),
		T(a_log_follows_its_ring_later),
		T(what_waits_is_canceled_without_waiting),
	};

	return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
