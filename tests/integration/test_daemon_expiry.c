/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_expiry.c - keys of a real daemon that end by themselves: when, whether
 *                        it is killed meanwhile, and what others notice
 */
#include "tests/support/t.h"

#include <ringtail.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define MS UINT64_C(1000000)

static struct t_daemon d;
static struct ringtail *reader;
static char *data;

static int setup(void **state)
{
	*state = &d;
	d = (struct t_daemon){ .pid = 0 };
	reader = NULL;
	data = t_dir_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ringtail_close(reader);
	t_daemon_drop(&d);
	t_dir_drop(data);
	return 0;
}

static void start(const char *feed)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;

	t_daemon_start(&d, "--data", data, "--feed", feed, NULL);
	options.dir = d.dir;
	options.start = RINGTAIL_START_OLDEST;
	t_ok(ringtail_open("main", &options, &reader));
}

/* Waits for it, whatever the reader has to say before: that the writer died. */
static void wait_for(struct ringtail_event *event)
{
	uint64_t begin = t_now_ns();
	int r;

	do
		r = ringtail_next(reader, event, 1000 * (int64_t)MS);
	while ((r == RINGTAIL_NOTHING || r == RINGTAIL_CAUGHT_UP) &&
	       t_now_ns() - begin < T_PATIENCE_MS * MS);
	t_is(r, RINGTAIL_EVENT);
}

/* The next event, which must be as given; '!': it expired.  Its time. */
static uint64_t next_is(const char *want)
{
	struct ringtail_event event;
	char text[128];

	wait_for(&event);
	(void)snprintf(text, sizeof(text), "%s%s %.*s %u/%u",
		       event.op == RINGTAIL_PUT ? "put" : "delete",
		       event.flags & RINGTAIL_EXPIRED ? "!" : "", (int)event.key_len,
		       (const char *)event.key, event.txn_index, event.txn_size);
	assert_string_equal(text, want);
	return event.time_ns;
}

static void nothing_for_ms(unsigned ms)
{
	struct ringtail_event event;

	t_is(ringtail_next(reader, &event, (int64_t)(ms * MS)), RINGTAIL_NOTHING);
}

/* The tick comes once a second; what is below half of that was not it. */
static void a_key_ends_soon_after_its_deadline_and_not_before(void **state)
{
	redisContext *redis;

	(void)state;
	start("main,size=1M");
	redis = t_daemon_connect(&d);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t from, to;

		/* The later one is asked for first, and the alarm moves. */
		t_reply(redis, "OK", "SET later v PX 350");
		t_reply(redis, "OK", "SET k v PX 100");
		(void)next_is("put later 0/1");
		from = next_is("put k 0/1");
		to = next_is("delete! k 0/1");
		assert_true(to / MS - from / MS >= 100);
		assert_true(to / MS - from / MS < 300);
		(void)next_is("delete! later 0/1");
	}
	redisFree(redis);
}

static unsigned n_waits(void)
{
	char *text;
	unsigned n = 0;

	t_ok(t_sh(&text,
		  "grep -o '^voluntary_ctxt_switches:.*' "
		  "/proc/%d/task/%d/status | grep -o '[0-9]*$'",
		  d.pid, d.pid));
	n = (unsigned)strtoul(text, NULL, 10);
	free(text);
	return n;
}

static void deadlines_to_come_wake_nobody(void **state)
{
	redisContext *redis;
	unsigned before;

	(void)state;
	start("main,size=1M");
	redis = t_daemon_connect(&d);
	t_reply(redis, "OK", "SET never v PXAT 9223372036854775807");
	t_sleep_ms(100);
	before = n_waits();
	t_sleep_ms(1500);
	assert_true(n_waits() - before <= 6);
	t_reply(redis, "OK", "SET k v EX 1000");
	t_reply(redis, "OK", "SET k v EX 2000");
	t_sleep_ms(100);
	before = n_waits();
	t_sleep_ms(1500);
	assert_true(n_waits() - before <= 6);
	redisFree(redis);
}

/* A client that binds b and c, and ends as the script of shell says. */
static void end_by(const char *script)
{
	t_ok(t_sh(NULL, "socket=%s; %s", d.socket, script));
	(void)next_is("put b 0/2");
	(void)next_is("put c 1/2");
	(void)next_is("delete! c 0/2");
	(void)next_is("delete! b 1/2");
}

#define BIND_BOTH "echo MULTI; echo SET b v BIND; echo SET c v BIND; echo EXEC; "

static void a_client_that_ends_however_takes_its_keys_along(void **state)
{
	(void)state;
	start("main,size=1M");
	end_by("(" BIND_BOTH ") | redis-cli -s $socket >/dev/null");
	end_by("(" BIND_BOTH
	       " echo QUIT; sleep 0.2) | redis-cli -s $socket >/dev/null");
	end_by("(" BIND_BOTH " sleep 1) | redis-cli -s $socket >/dev/null & "
	       "sleep 0.3; kill -9 $!");
	/* Closed by the daemon, for cause. */
	end_by("python3 -c 'import socket,sys\n"
	       "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
	       "s.sendall(b\"MULTI\\r\\nSET b v BIND\\r\\nSET c v "
	       "BIND\\r\\nEXEC\\r\\n*x\\r\\n\")\n"
	       "while s.recv(100): pass' $socket");
	nothing_for_ms(50);
}

static void a_killed_daemon_ends_keys_at_its_next_start(void **state)
{
	redisContext *redis, *publisher;

	(void)state;
	start("main,size=1M,durability=os");
	publisher = t_daemon_connect(&d);
	redis = t_daemon_connect(&d);
	t_reply(publisher, "OK", "SET bound v BIND");
	t_reply(redis, "OK", "SET soon v PX 200");
	t_reply(redis, "OK", "SET late v EX 100");
	t_reply(redis, "OK", "SET free v");
	t_daemon_kill(&d);
	t_sleep_ms(250);
	t_daemon_restart(&d);
	redisFree(publisher);
	redisFree(redis);
	(void)next_is("put bound 0/1");
	(void)next_is("put soon 0/1");
	(void)next_is("put late 0/1");
	(void)next_is("put free 0/1");
	(void)next_is("delete! bound 0/1");
	(void)next_is("delete! soon 0/1");
	redis = t_daemon_connect(&d);
	t_reply(redis, "[(nil) (nil) v v]", "MGET bound soon late free");
	t_reply(redis, "1", "PEXPIRE late 100 LT"); /* it has its deadline still */
	(void)next_is("put late 0/1");
	(void)next_is("delete! late 0/1");
	nothing_for_ms(50);
	redisFree(redis);
}

#define N_MANY 100000u

static void set_many(redisContext *redis, const char *format, unsigned n)
{
	void *reply;

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(redisAppendCommand(redis, format, i), REDIS_OK);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(redisGetReply(redis, &reply), REDIS_OK);
		freeReplyObject(reply);
	}
}

/* Asks until no key is left; the longest that an answer took. */
static uint64_t ask_until_empty(redisContext *redis)
{
	uint64_t longest = 0, begin = t_now_ns();
	long long n = 1;

	while (n) {
		uint64_t from = t_now_ns();
		redisReply *reply = redisCommand(redis, "DBSIZE");

		assert_non_null(reply);
		n = reply->integer;
		freeReplyObject(reply);
		if (t_now_ns() - from > longest)
			longest = t_now_ns() - from;
		assert_true(t_now_ns() - begin < T_PATIENCE_MS * MS);
	}
	return longest;
}

static void expect_deletes(unsigned n)
{
	struct ringtail_event event;

	for (unsigned i = 0; i < n;) {
		wait_for(&event);
		if (event.op != RINGTAIL_DELETE)
			continue;
		assert_true(event.flags & RINGTAIL_EXPIRED);
		i++;
	}
}

static void many_that_end_at_once_hold_nobody_up(void **state)
{
	redisContext *redis, *other;
	uint64_t longest;
	char format[64];

	(void)state;
	start("main,size=64M,durability=os");
	redis = t_daemon_connect(&d);
	other = t_daemon_connect(&d);
	(void)snprintf(format, sizeof(format), "SET key:%%u value PXAT %llu",
		       (unsigned long long)time(NULL) * 1000 + 2000);
	set_many(redis, format, N_MANY);
	longest = ask_until_empty(other);
	print_message("# due at once: the longest answer took %.1f ms\n",
		      (double)longest / (double)MS);
	assert_true(longest < 1500 * MS);
	expect_deletes(N_MANY);

	set_many(redis, "SET key:%u value BIND", N_MANY);
	redisFree(redis);
	longest = ask_until_empty(other);
	print_message("# bound to one client: the longest answer took %.1f ms\n",
		      (double)longest / (double)MS);
	assert_true(longest < 1500 * MS);
	expect_deletes(N_MANY);
	redisFree(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_key_ends_soon_after_its_deadline_and_not_before),
		T(deadlines_to_come_wake_nobody),
		T(a_client_that_ends_however_takes_its_keys_along),
		T(a_killed_daemon_ends_keys_at_its_next_start),
		T(many_that_end_at_once_hold_nobody_up),
	};

	(void)t_daemon_program();
	return cmocka_run_group_tests_name("daemon_expiry", tests, NULL, NULL);
}
