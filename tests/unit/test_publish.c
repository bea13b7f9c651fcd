/* SPDX-License-Identifier: MIT */
/*
 * test_publish.c - daemon/cmd_change.c: conditions, deleting by prefix, previous values
 */

/* `kept` carries previous values; 64 slots and 4 KiB of payload: 16 events and 1 KiB in
 * a transaction. */
#define SESSION_FEEDS \
	strdup("--feed"), strdup("small,size=16K,durability=none,max_key=100"), \
		strdup("--feed"), \
		strdup("kept,slots=64,payload=4K,durability=none,prev_value=yes," \
		       "max_key=100,max_value=900"), \
		strdup("--feed"), \
		strdup("logged,size=16K,durability=memory,prev_value=yes,max_key=100")

#include "tests/unit/sessionrig.h"

static void is(const char *text, const char *want)
{
	if (strcmp(text, want) != 0)
		fail_msg("'%s' is not '%s'", text, want);
}

static void has(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("'%s' has no '%s'", text, want);
}

/*
 * ---- Conditions ----
 */

static void nx_and_xx_answer_as_redis_does(void **state)
{
	(void)state;
	is(ask("SET k v XX\r\nSET k v NX\r\nSET k w NX\r\nSET k w XX\r\n"),
	   "$-1\r\n+OK\r\n$-1\r\n+OK\r\n");
	is(ask("SET k x NX GET\r\nGET k\r\nSETNX k y\r\nSETNX n y\r\n"),
	   "$1\r\nw\r\n$1\r\nw\r\n:0\r\n:1\r\n");
	is(ask("MSETNX a 1 n 2\r\nMSETNX a 1 b 2\r\nEXISTS a b\r\n"),
	   ":0\r\n:1\r\n:2\r\n");
	assert_int_equal(head(0), 5);
}

static void a_change_can_depend_on_the_last_one(void **state)
{
	(void)state;
	is(ask("RINGTAIL.SEQ k other\r\n"), "*2\r\n:0\r\n:0\r\n");
	is(ask("SET k 1 IFSEQ 0\r\nSET other 1\r\nSET k 2 IFSEQ 1\r\n"),
	   "+OK\r\n+OK\r\n+OK\r\n");
	is(ask("RINGTAIL.SEQ k other none\r\n"), "*3\r\n:3\r\n:2\r\n:0\r\n");
	is(ask("SET k 3 IFSEQ 1\r\n"), "-CONFLICT key 'k' is at seq 3, not 1\r\n");
	is(ask("SET k 3 IFSEQ 0\r\n"), "-CONFLICT key 'k' is at seq 3, not 0\r\n");
	is(ask("SET none 3 IFSEQ 7\r\n"), "-CONFLICT there is no key 'none'\r\n");
	is(ask("RINGTAIL.DEL k IFSEQ 2\r\n"),
	   "-CONFLICT key 'k' is at seq 3, not 2\r\n");
	is(ask("GET k\r\n"), "$1\r\n2\r\n");
	assert_int_equal(head(0), 3);
	is(ask("RINGTAIL.DEL k IFSEQ 3\r\nRINGTAIL.DEL k IFSEQ 0\r\n"), ":1\r\n:0\r\n");
	assert_int_equal(head(0), 4);
}

static void conditions_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	is(ask("SET k v NX XX\r\n"), "-ERR syntax error\r\n");
	is(ask("SET k v NX IFSEQ 1\r\n"), "-ERR syntax error\r\n");
	is(ask("SET k v IFSEQ\r\n"), "-ERR syntax error\r\n");
	is(ask("RINGTAIL.DEL k UNLESS 1\r\n"), "-ERR syntax error\r\n");
	has(ask("SET k v IFSEQ -1\r\n"), "-ERR the seq behind IFSEQ");
	has(ask("SET k v IFSEQ many\r\n"), "-ERR the seq behind IFSEQ");
	has(ask("RINGTAIL.DEL k IFSEQ x\r\n"), "-ERR the seq behind IFSEQ");
	assert_int_equal(head(0), 0);
}

/* What the reply to EXEC begins with when this is queued between two changes. */
static void discards(const char *command, const char *why)
{
	char lines[256];
	uint64_t before = head(0);

	(void)snprintf(lines, sizeof(lines),
		       "MULTI\r\nSET first 1\r\nDEL k\r\nSET k again\r\n%s\r\nSET last "
		       "1\r\n",
		       command);
	(void)ask(lines);
	(void)ask("EXEC\r\n");
	begins(f.text, *why == '-' ? why : "-EXECABORT Transaction discarded");
	has(f.text, why);
	assert_int_equal(head(0), before);
	assert_string_equal(event_text(before + 1), "none");
	is(ask("MGET first k last\r\nDBSIZE\r\n"),
	   "*3\r\n$-1\r\n$3\r\nold\r\n$-1\r\n:1\r\n");
	is(ask("RINGTAIL.SEQ k\r\n"), "*1\r\n:1\r\n");
}

static void one_that_fails_discards_the_transaction(void **state)
{
	(void)state;
	(void)ask("SET k old\r\n");
	discards("SET k v NX", "key 'k' is there");
	discards("SET k v NX GET", "key 'k' is there");
	discards("SET none v XX", "there is no key 'none'");
	discards("SET k v IFSEQ 1", "key 'k' is at seq 4, not 1");
	discards("SET none v IFSEQ 2", "there is no key 'none'");
	discards("SET k v IFSEQ x", "-ERR the seq behind IFSEQ");
	discards("SETNX k v", "key 'k' is there");
	discards("MSETNX new v k v", "key 'k' is there");
	discards("RINGTAIL.DEL k IFSEQ 9", "key 'k' is at seq 4, not 9");
	/* And the next is not touched by it. */
	is(ask("MULTI\r\nSET k v IFSEQ 1\r\nSET new v NX\r\nEXEC\r\n"),
	   "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
	assert_string_equal(event_text(2), "put k=v 0/2");
	assert_int_equal(head(0), 3);
}

static void a_watch_still_watches(void **state)
{
	struct rt_session *other = rt_session_new(&f.server, &root);

	(void)state;
	(void)ask("SET k v\r\nWATCH k\r\nMULTI\r\nSET k w IFSEQ 1\r\n");
	(void)ask_as(other, "SET k x\r\n");
	is(ask("EXEC\r\n"), "*-1\r\n");
	(void)ask("WATCH k\r\nMULTI\r\nSET k w IFSEQ 1\r\n");
	is(ask("EXEC\r\n"), "-EXECABORT Transaction discarded because of a condition: "
			    "key 'k' is at seq 2, not 1\r\n");
}

static void a_key_that_is_over_is_none(void **state)
{
	(void)state;
	f.server.now_ns = UINT64_C(1000000000000);
	rt_feed_set_time(&f.server.feeds[0], f.server.now_ns);
	is(ask("SET k v PX 100\r\nRINGTAIL.SEQ k\r\n"), "+OK\r\n*1\r\n:1\r\n");
	rt_feed_set_time(&f.server.feeds[0], f.server.now_ns + 200000000);
	is(ask("RINGTAIL.SEQ k\r\nSET k w IFSEQ 1\r\nSET k w NX\r\n"),
	   "*1\r\n:0\r\n-CONFLICT there is no key 'k'\r\n+OK\r\n");
	assert_string_equal(event_text(3), "put+ k=w 0/1");
}

/*
 * ---- Deleting by prefix ----
 */

static void keys_of_a_prefix_go_in_one_transaction(void **state)
{
	(void)state;
	(void)ask("MSET a 1 b/2 1 b/1 1 b 1 b/ 1 c 1\r\n");
	is(ask("RINGTAIL.DELPREFIX b/\r\n"), ":3\r\n");
	assert_string_equal(event_text(7), "delete b/= 0/3");
	assert_string_equal(event_text(8), "delete b/1= 1/3");
	assert_string_equal(event_text(9), "delete b/2= 2/3");
	is(ask("RINGTAIL.DELPREFIX b/\r\n"), ":0\r\n");
	assert_int_equal(head(0), 9);
	is(ask("*2\r\n$18\r\nRINGTAIL.DELPREFIX\r\n$0\r\n\r\nDBSIZE\r\n"),
	   ":3\r\n:0\r\n");
	assert_int_equal(head(0), 12);
}

/* 32 events are what a transaction of the feed takes. */
static void too_many_for_a_transaction_stay(void **state)
{
	char line[64];

	(void)state;
	for (int i = 0; i < 33; i++) {
		(void)snprintf(line, sizeof(line), "SET p%02d v\r\n", i);
		(void)ask(line);
	}
	begins(ask("RINGTAIL.DELPREFIX p\r\n"),
	       "-ERR 33 keys begin with 'p', 99 bytes to delete: feed 'small' takes "
	       "32 events and 2048 bytes in one transaction; nothing was deleted");
	is(ask("DBSIZE\r\n"), ":33\r\n");
	assert_int_equal(head(0), 33);
	is(ask("RINGTAIL.DELPREFIX p0\r\nRINGTAIL.DELPREFIX p\r\n"), ":10\r\n:23\r\n");
}

static void it_is_one_command_of_a_transaction(void **state)
{
	char line[64];

	(void)state;
	(void)ask("MSET p1 v p2 v q v\r\n");
	is(ask("MULTI\r\nSET p3 v\r\nRINGTAIL.DELPREFIX p\r\nSET q w\r\nEXEC\r\n"),
	   "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:3\r\n+OK\r\n");
	assert_string_equal(event_text(8), "put q=w 4/5");
	for (int i = 0; i < 33; i++) {
		(void)snprintf(line, sizeof(line), "SET p%02d v\r\n", i);
		(void)ask(line);
	}
	(void)ask("MULTI\r\nSET q x\r\nRINGTAIL.DELPREFIX p\r\n");
	begins(ask("EXEC\r\n"), "-ERR 33 keys begin with 'p'");
	is(ask("GET q\r\n"), "$1\r\nw\r\n");
	(void)ask("DEL p00\r\nMULTI\r\nSET q x\r\nRINGTAIL.DELPREFIX p\r\n");
	begins(ask("EXEC\r\n"), "-ERR transaction is too large");
	is(ask("GET q\r\nDBSIZE\r\n"), "$1\r\nw\r\n:33\r\n");
}

/*
 * ---- Previous values ----
 */

/* Event @seq of a feed as "value<previous value". */
static const char *change_text(unsigned feed, uint64_t seq)
{
	struct rt_event event;

	if (rt_ring_look(&f.server.feeds[feed].writer->segment, seq, &event) !=
	    RT_LOOK_EVENT)
		return "none";
	(void)snprintf(f.text, sizeof(f.text), "%.*s=%.*s<%.*s%s", (int)event.key_len,
		       (const char *)event.key, (int)event.value_len,
		       (const char *)event.value, (int)event.prev_len,
		       (const char *)event.value + event.value_len,
		       event.flags & RT_EVENT_EXPIRED ? " expired" : "");
	return f.text;
}

static void changes_carry_what_they_replace(void **state)
{
	(void)state;
	for (unsigned feed = 1; feed <= 2; feed++) {
		struct rt_feed *kept = &f.server.feeds[feed];
		uint64_t now = UINT64_C(1000000000000);

		(void)ask(feed == 1 ? "SELECT kept\r\n" : "SELECT logged\r\n");
		rt_feed_set_time(kept, now);
		(void)ask(
			"SET k one\r\nSET k two\r\nSET k a-longer-value-than-before\r\n"
			"DEL k\r\nPUBLISH k m\r\n");
		(void)ask("MULTI\r\nSET k 1\r\nSET k 22\r\nDEL k\r\nEXEC\r\n");
		(void)ask("SET k v PX 100\r\nPEXPIRE k 50\r\n");
		rt_feed_set_time(kept, now + 60000000);
		rt_feed_sweep(kept);
		t_ok(rt_feed_flush(kept));
		is(change_text(feed, 1), "k=one<");
		is(change_text(feed, 2), "k=two<one");
		is(change_text(feed, 3), "k=a-longer-value-than-before<two");
		is(change_text(feed, 4), "k=<a-longer-value-than-before");
		is(change_text(feed, 5), "k=m<");
		is(change_text(feed, 6), "k=1<");
		is(change_text(feed, 7), "k=22<1");
		is(change_text(feed, 8), "k=<22");
		is(change_text(feed, 9), "k=v<");
		is(change_text(feed, 10), "k=v<v");
		is(change_text(feed, 11), "k=<v expired");
	}
	(void)ask("SELECT small\r\nSET k one\r\nSET k two\r\nDEL k\r\n");
	is(change_text(0, 2), "k=two<");
	is(change_text(0, 3), "k=<");
}

/* 1 KiB in a transaction, of which each value may have 900 bytes. */
static void they_count_in_the_limit_of_a_transaction(void **state)
{
	char line[2048], value[901];

	(void)state;
	memset(value, 'x', 900);
	value[900] = 0;
	(void)snprintf(line, sizeof(line), "SET key %s\r\n", value);
	(void)ask("SELECT kept\r\n");
	is(ask(line), "+OK\r\n");
	begins(ask(line), "-ERR transaction is too large: feed 'kept' takes 16 events "
			  "and 1024 bytes of keys and values, replaced ones too "
			  "(prev_value), in one");
	assert_int_equal(head(1), 1);
	is(ask("SET key short\r\n"), "+OK\r\n");
	is(ask(line), "+OK\r\n");
	is(ask("DEL key\r\n"), ":1\r\n");
	assert_int_equal(head(1), 4);
	value[600] = 0;
	(void)snprintf(line, sizeof(line), "MSET p1 %s\r\nMSET p2 %s\r\n", value,
		       value);
	(void)ask(line);
	begins(ask("RINGTAIL.DELPREFIX p\r\n"),
	       "-ERR 2 keys begin with 'p', 1204 bytes to delete: feed 'kept' takes 16 "
	       "events and 1024 bytes");
	assert_int_equal(head(1), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nx_and_xx_answer_as_redis_does),
		T(a_change_can_depend_on_the_last_one),
		T(conditions_that_make_no_sense_are_refused),
		T(one_that_fails_discards_the_transaction),
		T(a_watch_still_watches),
		T(a_key_that_is_over_is_none),
		T(keys_of_a_prefix_go_in_one_transaction),
		T(too_many_for_a_transaction_stay),
		T(it_is_one_command_of_a_transaction),
		T(changes_carry_what_they_replace),
		T(they_count_in_the_limit_of_a_transaction),
	};

	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
