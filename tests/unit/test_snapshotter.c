/* SPDX-License-Identifier: MIT */
/*
 * test_snapshotter.c - the place among threads of the one that makes snapshots
 *
 * Its jobs stop in their first write until a test lets them go on.
 */
#define SESSION_FEEDS \
	strdup("--feed"), strdup("main,size=16K,segment=64K,snapshot_bytes=128K," \
				 "retain_bytes=0")

#include "tests/unit/sessionrig.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NS_PER_S  UINT64_C(1000000000)
#define LONG_MS   10000
#define WRONG     90 /* what a child says that could not do its part ... */
#define NO_LIMIT  91 /* ... or be given the limit that it is about */
#define NICENESS  10
#define AT_POLICY 41 /* in /proc/PID/stat */

static _Atomic unsigned n_inside;
static _Atomic bool is_open, wants_other, saw_other;

static ssize_t waiting_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	n_inside++;
	for (unsigned ms = 0; ms < LONG_MS && !is_open; ms++) {
		t_sleep_ms(1);
		if (!wants_other || sched_getscheduler(0) != SCHED_OTHER)
			continue;
		saw_other = true;
		break;
	}
	return pwrite(fd, buf, len, at);
}

static const struct rt_log_io waiting_io = { waiting_pwrite, fdatasync, NULL };

static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

static void put(unsigned n)
{
	static const char value[100] = "v";

	rt_feed_set_time(feed(), rt_now_ns(CLOCK_REALTIME));
	for (unsigned i = 0; i < n; i++) {
		t_ok(rt_feed_put(feed(), "key", 3, value, sizeof(value), NULL));
		t_ok(rt_feed_flush(feed()));
	}
}

/* A snapshot of the feed, beside those that it has itself. */
static struct rt_snap_job job_to(const char *file)
{
	const struct rt_log *log = &feed()->journal.log;

	return (struct rt_snap_job){
		.log_path = strdup(log->what),
		.build = {
			.log_path = log->what,
			.out_dir_fd = fcntl(log->dir_fd, F_DUPFD_CLOEXEC, 3),
			.out_file = file,
			.name = "main",
			.epoch = log->epoch,
			.limit = rt_writer_head(feed()->writer),
			.file_mode = 0600,
			.uid = (uid_t)-1,
			.gid = (gid_t)-1,
			.io = &waiting_io,
		},
	};
}

static bool is_inside(void *arg)
{
	(void)arg;
	return n_inside > 0;
}

/* A job has begun to write, since the last one ended. */
static bool has_begun(void)
{
	return t_within_ms(LONG_MS, is_inside, NULL);
}

static bool is_done(void *arg)
{
	return ((struct rt_snap_job *)arg)->stage == RT_SNAP_DONE;
}

static void ends(struct rt_snap_job *job)
{
	is_open = true;
	assert_true(t_within_ms(LONG_MS, is_done, job));
	is_open = false;
	n_inside = 0;
	assert_int_equal(job->result, 0);
	rt_snap_job_clear(job);
}

/* As the kernel says it; -1: it does not. */
static int policy_of(const struct rt_snapshotter *s)
{
	char path[64], *text, *at;
	int policy = -1;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)s->tid);
	text = t_read_file(path, NULL);
	at = text ? strrchr(text, ')') : NULL;
	for (unsigned i = 2; at && i < AT_POLICY; i++)
		at = strchr(at + 1, ' ');
	if (at)
		policy = atoi(at);
	free(text);
	return policy;
}

static bool is_other(void *arg)
{
	return policy_of(arg) == SCHED_OTHER;
}

static bool is_idle(void *arg)
{
	const struct rt_snapshotter *s = arg;

	/* Where this process may not, it never is. */
	return policy_of(s) == (s->may_idle ? SCHED_IDLE : SCHED_OTHER);
}

static void begin_test(struct rt_snapshotter *s)
{
	n_inside = 0;
	is_open = wants_other = saw_other = false;
	rt_snapshotter_init(s);
	put(10);
}

static void it_runs_where_nothing_else_does(void **state)
{
	struct rt_snapshotter s;
	struct rt_snap_job job;

	(void)state;
	begin_test(&s);
	job = job_to("one");

	t_ok(rt_snapshotter_submit(&s, &job));
	assert_true(has_begun());
	assert_true(is_idle(&s));
	assert_true(getpriority(PRIO_PROCESS, (id_t)s.tid) >= NICENESS);
	ends(&job);
	assert_true(is_other(&s)); /* between jobs, when it has the lock at times */
	rt_snapshotter_fini(&s);
}

static void who_waits_makes_it_an_ordinary_one(void **state)
{
	struct rt_snapshotter s;
	struct rt_snap_job job;

	(void)state;
	begin_test(&s);
	job = job_to("one");

	t_ok(rt_snapshotter_submit(&s, &job));
	assert_true(has_begun());
	rt_snapshotter_hurry(&s, &job);
	assert_true(is_other(&s));
	assert_true(getpriority(PRIO_PROCESS, (id_t)s.tid) >= NICENESS);
	ends(&job);
	rt_snapshotter_hurry(&s, &job); /* too late */
	assert_false(job.urgent);

	/* The next one is another matter. */
	job = job_to("two");
	t_ok(rt_snapshotter_submit(&s, &job));
	assert_true(has_begun());
	assert_true(is_idle(&s));
	ends(&job);
	rt_snapshotter_fini(&s);
}

static void what_is_urgent_waits_for_nobody(void **state)
{
	struct rt_snapshotter s;
	struct rt_snap_job first, second, third;

	(void)state;
	begin_test(&s);
	first = job_to("first");
	second = job_to("second");
	third = job_to("third");
	third.urgent = true;

	t_ok(rt_snapshotter_submit(&s, &first));
	t_ok(rt_snapshotter_submit(&s, &second));
	assert_true(has_begun());
	assert_true(is_idle(&s));
	t_ok(rt_snapshotter_submit(&s, &third));
	assert_true(is_other(&s));
	is_open = true;
	assert_true(t_within_ms(LONG_MS, is_done, &first));
	ends(&second);
	ends(&third);
	rt_snap_job_clear(&first);

	first = job_to("fourth");
	first.urgent = true;
	t_ok(rt_snapshotter_submit(&s, &first));
	assert_true(has_begun());
	assert_true(is_other(&s));
	ends(&first);
	rt_snapshotter_fini(&s);
}

static void what_is_canceled_ends_soon(void **state)
{
	struct rt_snapshotter s;
	struct rt_snap_job job;

	(void)state;
	begin_test(&s);
	job = job_to("one");
	t_ok(rt_snapshotter_submit(&s, &job));
	assert_true(has_begun());
	assert_true(is_idle(&s));

	wants_other = true;
	rt_snapshotter_cancel(&s, &job); /* waits */
	assert_true(saw_other);
	rt_snap_job_clear(&job);
	rt_snapshotter_fini(&s);
}

/*
 * ---- What the kernel allows ----
 */

static int lose_privilege(unsigned nice_limit)
{
	const struct rlimit limit = { nice_limit, nice_limit };
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	if (setrlimit(RLIMIT_NICE, &limit) < 0)
		return NO_LIMIT;
	if (syscall(SYS_capget, &header, caps) < 0)
		return WRONG;
	caps[0].effective &= ~(UINT32_C(1) << CAP_SYS_NICE);
	caps[0].permitted &= ~(UINT32_C(1) << CAP_SYS_NICE);
	return syscall(SYS_capset, &header, caps) < 0 ? WRONG : 0;
}

/* The policy of a job, and the one of it when it is hurried. */
static int see_policies(void)
{
	struct rt_snapshotter s;
	struct rt_snap_job job;
	int before, after;

	begin_test(&s);
	job = job_to("child");
	if (rt_snapshotter_submit(&s, &job) < 0 || !has_begun())
		return WRONG;
	before = policy_of(&s);
	rt_snapshotter_hurry(&s, &job);
	after = policy_of(&s);
	is_open = true;
	if (!t_within_ms(LONG_MS, is_done, &job))
		return WRONG;
	rt_snap_job_clear(&job);
	rt_snapshotter_fini(&s);
	return before * 10 + after;
}

/*
 * In a child with a feed of its own: it is made before there is any thread, as else it
 * could not have threads everywhere.
 */
static int policies(void *arg)
{
	void *state;
	int result = lose_privilege(*(unsigned *)arg);

	if (result)
		return result;
	if (setup(&state) < 0)
		return WRONG;
	result = see_policies();
	return teardown(&state) < 0 ? WRONG : result;
}

static void where_there_was_no_way_back_it_does_not_go(void **state)
{
	unsigned nice_limit = 0;

	(void)state;
	assert_int_equal(t_in_child(policies, &nice_limit),
			 SCHED_OTHER * 10 + SCHED_OTHER);
}

static void its_nice_value_is_all_that_it_needs(void **state)
{
	unsigned nice_limit = 20 - NICENESS;
	int policies_were;

	(void)state;
	policies_were = t_in_child(policies, &nice_limit);
	if (policies_were != NO_LIMIT)
		assert_int_equal(policies_were, SCHED_IDLE * 10 + SCHED_OTHER);
}

/*
 * ---- Who is in a hurry ----
 */

/* Has the feed's job behind one that stays until the test has seen enough. */
static void occupy(struct rt_snap_job *job)
{
	struct rt_snapshotter *s = &f.server.snapshotter;

	n_inside = 0;
	is_open = wants_other = false;
	put(10);
	*job = job_to("one");
	t_ok(rt_snapshotter_submit(s, job));
	assert_true(has_begun());
	assert_true(is_idle(s));
}

static void leave(struct rt_snap_job *job)
{
	ends(job);
	assert_true(t_within_ms(LONG_MS, is_done, &feed()->retention.job));
	rt_feed_tick(feed());
	assert_int_equal(feed()->retention.n_made, 1);
}

static void who_asks_is_in_a_hurry(void **state)
{
	struct rt_snap_job other;

	(void)state;
	occupy(&other);
	rt_feed_tick(feed());
	assert_true(is_idle(&f.server.snapshotter));
	(void)rt_retention_ask(feed());
	assert_true(is_other(&f.server.snapshotter));
	leave(&other);
}

static void who_trims_is_in_a_hurry(void **state)
{
	struct rt_snap_job other;
	uint64_t to;

	(void)state;
	occupy(&other);
	assert_int_equal(rt_retention_trim(feed(), 5, &to), 0);
	assert_true(is_other(&f.server.snapshotter));
	leave(&other);
}

static void what_is_due_has_time_but_not_for_ever(void **state)
{
	struct rt_snap_job other;

	(void)state;
	occupy(&other);
	put(1000); /* each takes some 200 bytes */
	rt_feed_tick(feed());
	assert_int_equal(feed()->retention.job.stage, RT_SNAP_WAITING);
	rt_feed_tick(feed());
	assert_true(is_idle(&f.server.snapshotter));
	feed()->retention.begun_ns -= 2 * NS_PER_S;
	rt_feed_tick(feed());
	assert_true(is_other(&f.server.snapshotter));
	leave(&other);
}

static void a_log_that_is_far_too_large_does_not_wait(void **state)
{
	struct rt_snap_job other;
	struct rt_feed_config config;

	(void)state;
	occupy(&other);
	put(1000);
	config = *feed()->config;
	config.retain_bytes = 64 << 10;
	feed()->config = &config;
	rt_feed_tick(feed());
	assert_true(is_other(&f.server.snapshotter));
	leave(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* These first: none of the others has begun a thread. */
		T0(where_there_was_no_way_back_it_does_not_go),
		T0(its_nice_value_is_all_that_it_needs),
		T(it_runs_where_nothing_else_does),
		T(who_waits_makes_it_an_ordinary_one),
		T(what_is_urgent_waits_for_nobody),
		T(what_is_canceled_ends_soon),
		T(who_asks_is_in_a_hurry),
		T(who_trims_is_in_a_hurry),
		T(what_is_due_has_time_but_not_for_ever),
		T(a_log_that_is_far_too_large_does_not_wait),
	};

	return cmocka_run_group_tests_name("snapshotter", tests, NULL, NULL);
}
