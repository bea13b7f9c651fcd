/* SPDX-License-Identifier: MIT */
/*
 * test_ending.c - daemon/feed.c, cmd_expiry.c and session.c: keys that end by
 * themselves
 *
 * Without a socket and without a clock: the test says what time it is.  What happened
 * is read back from the ring.
 */
#include "tests/support/t.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/command.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "shm/ring.h"

struct fixture {
	struct rt_config config;
	struct rt_server server;
	struct rt_session *session;
	char *dir;
	uint64_t now_ms;
	char text[8192];
};

static struct fixture f;

static const struct rt_peer root = { .uid = 0 };

static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

static void open_server(void)
{
	t_ok(rt_server_open(&f.server, &f.config));
	f.session = rt_session_new(&f.server, &root);
	f.now_ms = rt_max(f.now_ms, feed()->now_ms);
}

/* A feed of 128 slots, with a log or without. */
static void begin(const char *durability)
{
	char dir[128], data[128], one[160];
	char program[] = "ringtaild", option[] = "--feed";
	char *argv[] = { program, dir, data, option, one };
	struct rt_fault fault = { "" };

	rt_log_init(RT_LOG_ERROR);
	f = (struct fixture){ .dir = t_dir_new() };
	(void)snprintf(dir, sizeof(dir), "--dir=%s/shm", f.dir);
	(void)snprintf(data, sizeof(data), "--data=%s/data", f.dir);
	(void)snprintf(one, sizeof(one),
		       "small,size=16K,max_key=100,max_value=1500,max_state=64K,"
		       "durability=%s",
		       durability);
	t_ok(t_sh(NULL, "mkdir %s/shm %s/data", f.dir, f.dir));
	if (rt_config_load(&f.config, T_N(argv), argv, &fault) != RT_CONFIG_RUN)
		fail_msg("%s", fault.text);
	open_server();
}

static int setup_ring(void **state)
{
	(void)state;
	begin("none");
	return 0;
}

static int setup_log(void **state)
{
	(void)state;
	begin("os");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt_server_close(&f.server);
	rt_config_fini(&f.config);
	t_dir_drop(f.dir);
	return 0;
}

/* Everything is let go as kill -9 would: nothing is flushed, closed or deleted. */
static void crash(void)
{
	rt_journal_close(&feed()->journal, false);
	feed()->writer = NULL;
	rt_server_close(&f.server);
}

static void end_session(struct rt_session *session)
{
	rt_session_free(session);
	rt_feed_sweep(feed());
	t_ok(rt_feed_flush(feed()));
}

/* Time goes on, up to where a round of the loop begins. */
static void wait_ms(uint64_t ms)
{
	f.now_ms += ms;
	rt_feed_set_time(feed(), f.now_ms * 1000000);
}

static void sweep(void)
{
	rt_feed_sweep(feed());
	t_ok(rt_feed_flush(feed()));
}

static const char *ask_as(struct rt_session *session, const char *lines)
{
	struct rt_buf *out = &session->reply.buf;
	size_t len = strlen(lines);
	uint8_t *copy = malloc(len + 1);

	memcpy(copy, lines, len);
	rt_session_input(session, copy, len);
	free(copy);
	t_ok(rt_feed_flush(feed()));
	assert_true(out->len < sizeof(f.text));
	if (out->len)
		memcpy(f.text, out->data, out->len);
	f.text[out->len] = 0;
	out->len = 0;
	return f.text;
}

static const char *ask(const char *lines)
{
	return ask_as(f.session, lines);
}

static void begins(const char *text, const char *want)
{
	if (strncmp(text, want, strlen(want)))
		fail_msg("'%s' does not begin with '%s'", text, want);
}

static uint64_t head(void)
{
	return rt_writer_head(feed()->writer);
}

/* Event @seq as "op flags key=value index/size"; '!': expired. */
static const char *event_text(uint64_t seq)
{
	struct rt_event event;

	if (rt_ring_look(&feed()->writer->segment, seq, &event) != RT_LOOK_EVENT)
		return "none";
	(void)snprintf(f.text, sizeof(f.text), "%s%s%s %.*s=%.*s %u/%u",
		       event.op == RT_OP_PUT      ? "put"
		       : event.op == RT_OP_DELETE ? "delete"
						  : "message",
		       event.flags & RT_EVENT_CREATED ? "+" : "",
		       event.flags & RT_EVENT_EXPIRED ? "!" : "", (int)event.key_len,
		       (const char *)event.key, (int)event.value_len,
		       (const char *)event.value, event.txn_index, event.txn_size);
	return f.text;
}

static void a_key_ends_at_its_deadline(void **state)
{
	(void)state;
	(void)ask("SET k v PX 1000\r\nSET other v\r\n");
	assert_int_equal(rt_feed_next_ms(feed()), f.now_ms + 1000);
	wait_ms(999);
	sweep();
	assert_string_equal(ask("GET k\r\nPTTL k\r\n"), "$1\r\nv\r\n:1\r\n");
	wait_ms(1);
	assert_string_equal(ask("GET k\r\nEXISTS k\r\nTTL k\r\nKEYS *\r\n"),
			    "$-1\r\n:0\r\n:-2\r\n*1\r\n$5\r\nother\r\n");
	assert_int_equal(head(), 2);
	sweep();
	assert_string_equal(event_text(3), "delete! k= 0/1");
	assert_int_equal(rt_feed_next_ms(feed()), UINT64_MAX);
	wait_ms(5000);
	sweep();
	assert_int_equal(head(), 3);
	assert_int_equal(feed()->counts.expired, 1);
}

static void deadlines_change_by_puts_that_readers_see(void **state)
{
	(void)state;
	(void)ask("SET k v\r\nEXPIRE k 10\r\nEXPIRE k 20\r\nPERSIST k\r\nPERSIST "
		  "k\r\n");
	assert_string_equal(event_text(2), "put k=v 0/1");
	assert_int_equal(head(), 4);
	assert_int_equal(rt_feed_next_ms(feed()), UINT64_MAX);
	(void)ask("EXPIRE k -1\r\n");
	assert_string_equal(event_text(5), "delete! k= 0/1");
}

static void keys_due_together_are_one_transaction(void **state)
{
	(void)state;
	(void)ask("SET a 1 PX 100\r\nSET b 1 PX 300\r\nSET c 1 PX 200\r\nSET d 1 PX "
		  "301\r\n");
	wait_ms(300);
	sweep();
	assert_string_equal(event_text(5), "delete! a= 0/3");
	assert_string_equal(event_text(6), "delete! c= 1/3");
	assert_string_equal(event_text(7), "delete! b= 2/3");
	assert_int_equal(head(), 7);
}

/* 32 events are a quarter of 128 slots. */
static void more_than_a_transaction_holds_are_several(void **state)
{
	char line[64];

	(void)state;
	for (unsigned i = 0; i < 70; i++) {
		(void)snprintf(line, sizeof(line), "SET key:%u v PX 100\r\n", i);
		(void)ask(line);
	}
	wait_ms(100);
	sweep();
	assert_int_equal(head(), 140);
	(void)event_text(71 + 31);
	assert_non_null(strstr(f.text, " 31/32"));
	(void)event_text(140);
	assert_non_null(strstr(f.text, " 5/6"));
	assert_string_equal(ask("DBSIZE\r\n"), ":0\r\n");
}

static void a_key_is_new_again_after_its_time(void **state)
{
	(void)state;
	(void)ask("SET k v PX 100\r\n");
	wait_ms(100);
	assert_string_equal(ask("SET k w XX\r\nSET k w NX\r\nTTL k\r\n"),
			    "$-1\r\n+OK\r\n:-1\r\n");
	assert_string_equal(event_text(2), "delete! k= 0/1");
	assert_string_equal(event_text(3), "put+ k=w 0/1");
	(void)ask("PEXPIRE k 100\r\n");
	wait_ms(100);
	assert_string_equal(ask("DEL k\r\n"), ":0\r\n");
	assert_string_equal(event_text(5), "delete! k= 0/1");
}

static void what_is_aborted_leaves_ends_as_they_were(void **state)
{
	struct rt_session *publisher = rt_session_new(&f.server, &root);
	char lines[2048] = "MULTI\r\nPERSIST k\r\nSET k w EX 9\r\nDEL k\r\nSET b mine "
			   "BIND\r\nEXPIRE b 3\r\nSET new x PX 1\r\n";

	(void)state;
	(void)ask_as(publisher, "SET b v BIND\r\n");
	(void)ask("SET k v PX 100\r\n");
	for (unsigned i = 0; i < 32; i++)
		strcat(lines, "SET much x\r\n");
	strcat(lines, "EXEC\r\n");
	assert_non_null(strstr(ask(lines), "-ERR transaction is too large"));

	assert_string_equal(ask("GET k\r\nPTTL k\r\nPTTL b\r\n"),
			    "$1\r\nv\r\n:100\r\n:-1\r\n");
	assert_int_equal(feed()->lives.n, 2);
	end_session(publisher);
	assert_string_equal(event_text(3), "delete! b= 0/1");
	wait_ms(100);
	sweep();
	assert_string_equal(event_text(4), "delete! k= 0/1");
	assert_int_equal(head(), 4);
}

static void bound_keys_end_with_their_connection(void **state)
{
	struct rt_session *publisher = rt_session_new(&f.server, &root);

	(void)state;
	assert_string_equal(ask_as(publisher, "MSET a 1 b 2 c 3\r\nSET d 4 BIND\r\n"
					      "RINGTAIL.BIND a b none b\r\n"),
			    "+OK\r\n+OK\r\n:3\r\n");
	assert_string_equal(event_text(5), "put a=1 0/2");
	assert_string_equal(event_text(6), "put b=2 1/2");
	end_session(publisher);
	assert_string_equal(event_text(7), "delete! b= 0/3");
	assert_string_equal(event_text(9), "delete! d= 2/3");
	assert_int_equal(head(), 9);
	assert_string_equal(ask("MGET a b c d\r\n"),
			    "*4\r\n$-1\r\n$-1\r\n$1\r\n3\r\n$-1\r\n");
	assert_int_equal(rt_feed_next_ms(feed()), UINT64_MAX);
}

static void a_binding_is_kept_taken_over_and_given_up(void **state)
{
	struct rt_session *first = rt_session_new(&f.server, &root);
	struct rt_session *second = rt_session_new(&f.server, &root);

	(void)state;
	(void)ask_as(first, "SET own 1 BIND\r\nSET own 2\r\nSET own 3 EX 100\r\nMSET "
			    "own 4\r\nSETEX own 100 5\r\n");
	(void)ask_as(first, "SET gone 1 BIND\r\nSET moved 1 BIND\r\nSET free 1 "
			    "BIND\r\nSET del 1 BIND\r\nSET kept 1 BIND\r\n");
	(void)ask_as(second, "SET gone 2\r\nRINGTAIL.BIND moved\r\nDEL del\r\nSET "
			     "del 2\r\nEXPIRE kept 100\r\n");
	assert_string_equal(ask_as(second, "RINGTAIL.UNBIND free kept\r\n"), ":0\r\n");
	assert_string_equal(ask_as(first, "RINGTAIL.UNBIND free moved gone\r\n"),
			    ":1\r\n");
	end_session(first);
	assert_string_equal(ask("MGET own gone moved free del kept\r\n"),
			    "*6\r\n$-1\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n2\r\n"
			    "$-1\r\n");
	end_session(second);
	assert_string_equal(ask("KEYS mo*\r\nDBSIZE\r\n"), "*0\r\n:3\r\n");
	assert_int_equal(feed()->lives.n, 0);
}

static void terms_outlive_the_daemon_by_the_log(void **state)
{
	struct rt_session *publisher = rt_session_new(&f.server, &root);
	uint64_t at;

	(void)state;
	(void)ask_as(publisher, "SET b1 v BIND\r\nSET b2 v BIND\r\nSET b3 v "
				"BIND\r\nRINGTAIL.UNBIND b3\r\n");
	(void)ask("SET past v PX 1\r\nSET k v EX 1000\r\nSET p v EX 1000\r\nPERSIST "
		  "p\r\nSET r v PX 1\r\nSET r v\r\n");
	at = head();
	t_ok(t_sh(NULL, "sleep 0.01"));
	crash();
	open_server();

	assert_string_equal(ask("MGET b1 b2 b3 past k p r\r\n"),
			    "*7\r\n$-1\r\n$-1\r\n$1\r\nv\r\n$-1\r\n$1\r\nv\r\n$1\r\n"
			    "v\r\n$1\r\nv\r\n");
	(void)event_text(at + 1);
	assert_non_null(strstr(f.text, "delete! b"));
	assert_non_null(strstr(f.text, " 0/2"));
	assert_string_equal(event_text(at + 3), "delete! past= 0/1");
	assert_int_equal(head(), at + 3);
	/* The daemon that starts again reads the real clock. */
	assert_in_range(atoi(ask("TTL k\r\n") + 1), 1, 1000);
	assert_string_equal(ask("TTL p\r\nTTL b3\r\nTTL r\r\n"),
			    ":-1\r\n:-1\r\n:-1\r\n");

	rt_server_close(&f.server);
	open_server();
	assert_int_equal(head(), at + 3);
	wait_ms(1000000);
	sweep();
	assert_string_equal(event_text(at + 4), "delete! k= 0/1");
}

static void a_clean_stop_ends_what_is_bound(void **state)
{
	(void)state;
	(void)ask("SET b v BIND\r\nSET k v\r\n");
	rt_server_close(&f.server);
	open_server();
	assert_string_equal(event_text(3), "delete! b= 0/1");
	assert_int_equal(head(), 3);
}

static void without_a_log_terms_end_with_the_daemon(void **state)
{
	(void)state;
	(void)ask("SET b v BIND\r\nSET k v PX 100\r\n");
	crash();
	open_server();
	wait_ms(100);
	sweep();
	assert_string_equal(ask("MGET b k\r\nTTL k\r\n"),
			    "*2\r\n$1\r\nv\r\n$1\r\nv\r\n:-1\r\n");
	assert_int_equal(head(), 2);
}

/* Files may not grow for a while, and the log needs a new one. */
static void what_the_log_does_not_take_is_over_all_the_same(void **state)
{
	struct rt_session *publisher = rt_session_new(&f.server, &root);
	struct rlimit limit;

	(void)state;
	(void)ask_as(publisher, "SET b v BIND\r\nSET b2 v BIND\r\n");
	(void)ask("SET k v PX 100\r\n");
	t_ok(getrlimit(RLIMIT_FSIZE, &limit));
	(void)signal(SIGXFSZ, SIG_IGN);
	t_ok(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 1, limit.rlim_max }));
	feed()->journal.log.segment_end = feed()->journal.log.offset;
	end_session(publisher);
	wait_ms(100);
	sweep();

	assert_int_equal(head(), 3);
	assert_string_equal(ask("MGET b b2 k\r\nKEYS *\r\n"),
			    "*3\r\n$-1\r\n$-1\r\n$-1\r\n*0\r\n");
	assert_int_equal(rt_feed_next_ms(feed()), UINT64_MAX); /* no hurry */
	begins(ask("SET k w\r\n"), "-ERR ");
	rt_feed_tick(feed());
	sweep();
	assert_int_equal(rt_feed_next_ms(feed()), UINT64_MAX);

	t_ok(setrlimit(RLIMIT_FSIZE, &limit));
	rt_feed_tick(feed());
	sweep();
	assert_string_equal(event_text(4), "delete! b2= 0/2");
	assert_string_equal(event_text(5), "delete! b= 1/2");
	assert_string_equal(event_text(6), "delete! k= 0/1");
	assert_int_equal(head(), 6);
}

static void terms_count_as_state(void **state)
{
	char line[64];
	unsigned plain = 0, timed = 0;

	(void)state;
	do
		(void)snprintf(line, sizeof(line), "SET p:%u v\r\n", plain++);
	while (!strcmp(ask(line), "+OK\r\n"));
	while (plain) {
		(void)snprintf(line, sizeof(line), "DEL p:%u\r\n", --plain);
		(void)ask(line);
		timed++;
	}
	plain = timed;
	timed = 0;
	do
		(void)snprintf(line, sizeof(line), "SET p:%u v EX 9\r\n", timed++);
	while (!strcmp(ask(line), "+OK\r\n"));
	assert_non_null(strstr(f.text, "-OOM"));
	assert_true(timed < plain && timed > plain / 4);
	assert_int_equal(feed()->lives.n, timed - 1);
}

#define TR(name) cmocka_unit_test_setup_teardown(name, setup_ring, teardown)
#define TL(name) cmocka_unit_test_setup_teardown(name, setup_log, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TR(a_key_ends_at_its_deadline),
		TL(a_key_ends_at_its_deadline),
		TR(deadlines_change_by_puts_that_readers_see),
		TR(keys_due_together_are_one_transaction),
		TL(keys_due_together_are_one_transaction),
		TR(more_than_a_transaction_holds_are_several),
		TL(more_than_a_transaction_holds_are_several),
		TR(a_key_is_new_again_after_its_time),
		TL(a_key_is_new_again_after_its_time),
		TR(what_is_aborted_leaves_ends_as_they_were),
		TL(what_is_aborted_leaves_ends_as_they_were),
		TR(bound_keys_end_with_their_connection),
		TL(bound_keys_end_with_their_connection),
		TR(a_binding_is_kept_taken_over_and_given_up),
		TL(a_binding_is_kept_taken_over_and_given_up),
		TL(terms_outlive_the_daemon_by_the_log),
		TL(a_clean_stop_ends_what_is_bound),
		TR(a_clean_stop_ends_what_is_bound),
		TL(what_the_log_does_not_take_is_over_all_the_same),
		TR(without_a_log_terms_end_with_the_daemon),
		TR(terms_count_as_state),
	};

	return cmocka_run_group_tests_name("ending", tests, NULL, NULL);
}
