/* SPDX-License-Identifier: MIT */
/*
 * test_session.c - daemon/session.c, command.c and feed.c: a client without a socket
 *
 * What it does to the ring is read back from the ring.
 */
/* Two feeds: `small`, of 128 slots and 8 KiB of payload, and `other`. */
#define SESSION_FEEDS \
	strdup("--feed"), \
		strdup("small,size=16K,max_key=100,max_value=1500," \
		       "max_state=8K,mode=0640,publish_users=77,durability=none"), \
		strdup("--feed"), strdup("other,size=8K,mode=0644,durability=none")

#include "tests/unit/sessionrig.h"

static void a_change_is_an_event(void **state)
{
	(void)state;
	assert_string_equal(ask("SET k one\r\nSET k two\r\nDEL k\r\nSET k three\r\n"),
			    "+OK\r\n+OK\r\n:1\r\n+OK\r\n");
	assert_string_equal(ask("PUBLISH c hello\r\n"), ":0\r\n");
	assert_string_equal(event_text(1), "put+ k=one 0/1");
	assert_string_equal(event_text(2), "put k=two 0/1");
	assert_string_equal(event_text(3), "delete k= 0/1");
	assert_string_equal(event_text(4), "put+ k=three 0/1");
	assert_string_equal(event_text(5), "message c=hello 0/1");
	assert_string_equal(ask("EXISTS c\r\n"), ":0\r\n");
}

static void what_changes_nothing_is_no_event(void **state)
{
	(void)state;
	(void)ask("SET k v\r\n");
	(void)ask("DEL none\r\nSET k w NX\r\nSET none w XX\r\nSETNX k w\r\nGET k\r\n"
		  "MULTI\r\nEXEC\r\nMULTI\r\nDEL none\r\nEXEC\r\nMULTI\r\nSET k "
		  "x\r\nDISCARD\r\n");
	assert_int_equal(head(0), 1);
}

static void a_transaction_is_one(void **state)
{
	(void)state;
	(void)ask("MULTI\r\nSET a 1\r\nMSET b 2 c 3\r\nDEL a none\r\nPUBLISH m "
		  "x\r\nEXEC\r\n");
	assert_string_equal(event_text(1), "put+ a=1 0/5");
	assert_string_equal(event_text(2), "put+ b=2 1/5");
	assert_string_equal(event_text(3), "put+ c=3 2/5");
	assert_string_equal(event_text(4), "delete a= 3/5");
	assert_string_equal(event_text(5), "message m=x 4/5");
	(void)ask("MSET b 4 b 5\r\n");
	assert_string_equal(event_text(6), "put b=4 0/2");
	assert_string_equal(event_text(7), "put b=5 1/2");
	(void)ask("DEL b c none\r\n");
	assert_string_equal(event_text(9), "delete c= 1/2");
	assert_int_equal(head(0), 9);
}

/* 33 events are one more than a quarter of 128 slots. */
static void too_much_for_a_transaction_changes_nothing(void **state)
{
	char lines[4096] = "MULTI\r\nSET a changed\r\nDEL b\r\nSET d new\r\n";
	size_t len = strlen(lines);

	(void)state;
	(void)ask("MSET a old b old\r\n");
	for (int i = 0; i < 30; i++)
		len += (size_t)snprintf(lines + len, sizeof(lines) - len,
					"SET x%d 1\r\n", i);
	(void)ask(lines);
	begins(ask("EXEC\r\n"),
	       "-ERR transaction is too large: feed 'small' takes 32 events");
	assert_string_equal(ask("MGET a b d x0\r\nDBSIZE\r\n"),
			    "*4\r\n$3\r\nold\r\n$3\r\nold\r\n$-1\r\n$-1\r\n:2\r\n");
	assert_int_equal(head(0), 2);
	assert_int_equal(f.server.feeds[0].counts.puts, 2);
	assert_string_equal(event_text(3), "none");

	(void)ask("SET a next\r\n");
	assert_string_equal(event_text(3), "put a=next 0/1");
}

static void a_large_mset_changes_nothing_either(void **state)
{
	char lines[4096] = "MSET a changed";
	size_t len = strlen(lines);

	(void)state;
	(void)ask("SET a old\r\n");
	for (int i = 0; i < 40; i++)
		len += (size_t)snprintf(lines + len, sizeof(lines) - len, " x%d 1", i);
	(void)snprintf(lines + len, sizeof(lines) - len, "\r\n");
	begins(ask(lines), "-ERR transaction is too large");
	assert_string_equal(ask("GET a\r\nDBSIZE\r\n"), "$3\r\nold\r\n:1\r\n");
	assert_int_equal(head(0), 1);
}

/* It is kept as another kind of request, which may be larger than one may be. */
static void a_long_line_that_has_to_wait(void **state)
{
	char line[4096] = "DEL";

	(void)state;
	for (size_t len = strlen(line); len + 16 < sizeof(line); len += 2)
		(void)snprintf(line + len, sizeof(line) - len, " x");
	(void)strncat(line, "\r\nPING\r\n", 16);
	(void)ask("SET x 1\r\n");
	f.server.feeds[0].is_awaited = true;
	f.server.n_renewals++;
	assert_string_equal(ask(line), "");
	assert_true(f.session->held);
	f.server.n_renewals--;
	f.server.feeds[0].is_awaited = false;
	rt_session_resume(f.session);
	assert_string_equal(ask("PING\r\n"), ":1\r\n+PONG\r\n+PONG\r\n");
	assert_int_equal(f.session->resp.max_query, 8 << 10);
}

static void limits_are_named(void **state)
{
	char lines[4096], long_text[2000];

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	(void)snprintf(lines, sizeof(lines), "SET %.101s v\r\n", long_text);
	assert_string_equal(ask(lines),
			    "-ERR key is 101 bytes long, the limit of feed 'small' "
			    "is 100 (max_key)\r\n");
	(void)snprintf(lines, sizeof(lines), "WATCH k %.101s\r\n", long_text);
	begins(ask(lines), "-ERR key is 101 bytes long");
	assert_int_equal(f.session->n_watches, 0);
	(void)snprintf(lines, sizeof(lines), "SET k %.1501s\r\n", long_text);
	assert_string_equal(ask(lines),
			    "-ERR value is 1501 bytes long, the limit of feed "
			    "'small' is 1500 (max_value)\r\n");
	begins(ask("SET \"\" v\r\n"),
	       "-ERR a key of feed 'small' has 1 to 100 bytes, not 0");
	(void)snprintf(lines, sizeof(lines), "SET %.100s %.1500s\r\n", long_text,
		       long_text);
	assert_string_equal(ask(lines), "+OK\r\n");
	(void)snprintf(lines, sizeof(lines),
		       "MULTI\r\nSET k %.1501s\r\nSET k v\r\nEXEC\r\n", long_text);
	(void)ask(lines);
	begins(strstr(f.text, "-ERR"), "-ERR value is 1501 bytes long");
	assert_non_null(
		strstr(f.text, "-EXECABORT Transaction discarded because of previous"));
	assert_int_equal(head(0), 1);
}

static void state_has_a_limit(void **state)
{
	char lines[4096], long_text[1500];
	int n = 0;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	do {
		(void)snprintf(lines, sizeof(lines), "SET k%d %.1200s\r\n", n++,
			       long_text);
	} while (!strcmp(ask(lines), "+OK\r\n"));
	begins(f.text, "-OOM feed 'small' holds ");
	assert_int_equal(n, 7);
	assert_int_equal(head(0), 6);
	/* Less is always possible, and makes room for one. */
	assert_string_equal(ask("SET k0 v\r\nDEL k1\r\n"), "+OK\r\n:1\r\n");
	assert_string_equal(ask(lines), "+OK\r\n");
	(void)snprintf(
		lines, sizeof(lines),
		"MULTI\r\nSET a 1\r\nSET b %.600s\r\nSET c %.600s\r\nSET d %.600s\r\n",
		long_text, long_text, long_text);
	(void)ask(lines);
	begins(ask("EXEC\r\n"), "-OOM");
	assert_string_equal(ask("EXISTS a b c d\r\n"), ":0\r\n");
}

static void commands_between_multi_and_exec_have_a_limit(void **state)
{
	char lines[2048], long_text[1500];

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	(void)snprintf(lines, sizeof(lines), "SET k %.1400s\r\n", long_text);
	(void)ask("MULTI\r\n");
	for (int i = 0; i < 5; i++)
		assert_string_equal(ask(lines), "+QUEUED\r\n");
	begins(ask(lines),
	       "-ERR commands between MULTI and EXEC are limited to 8192 bytes");
	begins(ask("EXEC\r\n"), "-EXECABORT");
	assert_int_equal(head(0), 0);
	assert_int_equal(f.session->queue.len, 0);
}

static void a_long_request_ends_the_session(void **state)
{
	(void)state;
	begins(ask("PING\r\n*1\r\n$9000\r\nx"),
	       "+PONG\r\n-ERR request is larger than 8192");
	assert_true(f.session->closing);
	assert_string_equal(ask("PING\r\n"), "");
}

static void replies_that_nobody_takes_end_the_session(void **state)
{
	char value[1600];

	(void)state;
	memset(value, 'x', sizeof(value));
	memcpy(value, "SET k ", 6);
	memcpy(value + 1400, "\r\n", 3);
	(void)ask(value);
	for (int i = 0; i < 60 && !f.session->closing; i++)
		send_bytes(f.session, "GET k\r\n", 7);
	assert_true(f.session->closing);
	assert_true(f.session->broken);
	assert_true(f.session->reply.buf.cap == 0);
	assert_int_equal(f.server.stats.closed_for_cause, 1);
}

static void any_split_of_the_bytes_is_the_same(void **state)
{
	static const char bytes[] =
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv1\r\nGET k\r\n"
		"MULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\nEXEC\r\nGET k\r\n";
	static const char want[] =
		"+OK\r\n$2\r\nv1\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n$-1\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof(bytes); cut++) {
		send_bytes(f.session, bytes, cut);
		send_bytes(f.session, bytes + cut, sizeof(bytes) - 1 - cut);
		assert_string_equal(ask(""), want);
		assert_int_equal(f.session->in.len, 0);
	}
}

/* What a pipeline may have: words, a key, and a value or other words behind it. */
struct form {
	const char *words;
	const char *key; /* without its number; NULL: none */
	bool value;
	const char *more;
};

static const struct form forms[] = {
	{ "SET ", "k", true, "" },
	{ "SET ", "new", true, "" },
	{ "MSET ", "new", true, " new1 x new2 y new3 z" },
	{ "SETNX ", "k", true, "" },
	{ "MSET ", "k", true, " k1 x k2 y k3 z" },
	{ "GET ", "k", false, "" },
	{ "MGET ", "k", false, " k1 k2 k3 k4 k5 k6 k7 k0 k1 k2 k3 k4 k5 k6 k7 k0 k1" },
	{ "EXISTS ", "k", false, " k1 k2" },
	{ "RINGTAIL.SEQ ", "k", false, " k1" },
	{ "DEL ", "k", false, "" },
	{ "DEL ", "new", false, "" },
	{ "DEL ", "k", false, " k1 k2 k3 k4 k5" },
	{ "RINGTAIL.DELPREFIX ", "new", false, "" },
	{ "RINGTAIL.DELPREFIX \"\"", NULL, false, "" },
	{ "FLUSHALL", NULL, false, "" },
	{ "SELECT other", NULL, false, "" },
	{ "SELECT small", NULL, false, "" },
	{ "MULTI", NULL, false, "" },
	{ "EXEC", NULL, false, "" },
	{ "EXEC", NULL, false, "" },
	{ "DISCARD", NULL, false, "" },
};

static size_t add_random_command(struct t_random *random, char *to, size_t size)
{
	static const char digits[] = " 0123456789012345678901234567890123456789";
	const struct form *form = &forms[t_random_below(random, T_N(forms))];
	int value_len = 2 + (int)t_random_below(random, sizeof(digits) - 2);
	char key[16] = "";

	/* Enough new ones for the table to grow. */
	if (form->key)
		(void)snprintf(key, sizeof(key), "%s%u", form->key,
			       (unsigned)t_random_below(
				       random, strcmp(form->key, "k") ? 100 : 8));
	return (size_t)snprintf(to, size, "%s%s%.*s%s\r\n", form->words, key,
				form->value ? value_len : 0, digits, form->more);
}

/* All replies to the same pipelines, sent whole or command by command. */
static char *run_pipelines(bool one_by_one)
{
	struct t_random random = { 5 };
	char *all = calloc(1, 1 << 21);
	size_t len = 0;

	for (unsigned round = 0; round < 200; round++) {
		char lines[8192] = "";
		size_t at = 0;

		for (unsigned n = 1 + round % 80; n; n--) {
			size_t from = at;

			at += add_random_command(&random, lines + at,
						 sizeof(lines) - at);
			if (one_by_one)
				len += (size_t)sprintf(all + len, "%s",
						       ask(lines + from));
		}
		if (!one_by_one)
			len += (size_t)sprintf(all + len, "%s", ask(lines));
	}
	return all;
}

static void a_pipeline_is_the_same_as_one_by_one(void **state)
{
	char *want = run_pipelines(true), *got;
	uint64_t heads[] = { head(0), head(1) };

	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup(state), 0);
	got = run_pipelines(false);
	assert_string_equal(got, want);
	assert_int_equal(head(0), heads[0]);
	assert_int_equal(head(1), heads[1]);
	free(want);
	free(got);
}

/* The first feed is being renewed, or is not any more. */
static void set_awaited(bool awaited)
{
	f.server.n_renewals = awaited;
	f.server.feeds[0].is_awaited = awaited;
	if (!awaited && f.session->held)
		rt_session_resume(f.session);
}

static void a_hold_anywhere_is_the_same(void **state)
{
	static const char bytes[] =
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv1\r\nPING\r\n"
		"SET \"a b\" 'x'\r\nGET k\r\nMULTI\r\nDEL k\r\nEXEC\r\n"
		"*6\r\n$4\r\nMGET\r\n$3\r\na b\r\n$1\r\n1\r\n$0\r\n\r\n"
		"$1\r\n2\r\n$1\r\nk\r\nDEL 'a b'\r\n";
	static const char want[] =
		"+OK\r\n+PONG\r\n+OK\r\n$2\r\nv1\r\n+OK\r\n+QUEUED\r\n"
		"*1\r\n:1\r\n*5\r\n$1\r\nx\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n"
		":1\r\n";
	char got[sizeof(want) + 256];

	(void)state;
	for (size_t cut = 0; cut < sizeof(bytes); cut++) {
		send_bytes(f.session, bytes, cut);
		set_awaited(true);
		for (size_t i = cut; i < sizeof(bytes) - 1; i += 7)
			send_bytes(f.session, bytes + i,
				   rt_min(sizeof(bytes) - 1 - i, 7));
		if (cut == 0)
			assert_string_equal(ask(""), "");
		(void)snprintf(got, sizeof(got), "%s", ask(""));
		set_awaited(false);
		(void)strncat(got, ask(""), sizeof(got) - strlen(got) - 1);
		assert_string_equal(got, want);
		assert_false(f.session->held);
	}
}

static void only_what_needs_the_feed_waits(void **state)
{
	(void)state;
	set_awaited(true);
	assert_string_equal(ask("SELECT other\r\nSET k v\r\nGET k\r\n"),
			    "+OK\r\n+OK\r\n$1\r\nv\r\n");
	assert_string_equal(ask("SELECT small\r\nINFO nothing\r\nGET k\r\nPING\r\n"),
			    "+OK\r\n$0\r\n\r\n");
	assert_true(f.session->held);
	set_awaited(false);
	assert_string_equal(ask(""), "$-1\r\n+PONG\r\n");
	set_awaited(true);
	assert_string_equal(ask("SET k v\r\nGET \"k\r\nPING\r\n"), "");
	assert_false(f.session->closing);
	set_awaited(false);
	begins(ask(""), "+OK\r\n-ERR Protocol error");
	assert_true(f.session->closing);
}

static void feeds_are_selected_by_name_and_number(void **state)
{
	(void)state;
	assert_string_equal(
		ask("SET k small\r\nSELECT other\r\nGET k\r\nSET k other\r\n"
		    "SELECT 0\r\nGET k\r\nSELECT 1\r\nGET k\r\n"),
		"+OK\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n$5\r\nsmall\r\n+OK\r\n"
		"$5\r\nother\r\n");
	assert_int_equal(head(0), 1);
	assert_int_equal(head(1), 1);
	begins(ask("SELECT nosuch\r\n"),
	       "-ERR no feed 'nosuch'; RINGTAIL.FEEDS lists them");
	begins(ask("MULTI\r\nSELECT 0\r\nEXEC\r\n"),
	       "+OK\r\n-ERR Command not allowed inside a transaction\r\n-EXECABORT");
}

static void a_feed_that_is_not_served_says_why(void **state)
{
	struct rt_feed *other = &f.server.feeds[1];

	(void)state;
	rt_journal_close(&other->journal, true);
	other->writer = NULL;
	(void)snprintf(other->reason, sizeof(other->reason), "its ring is damaged");
	assert_string_equal(ask("SELECT other\r\n"),
			    "-ERR feed 'other' is not served: its ring is damaged\r\n");
	rt_session_select(f.session, other);
	assert_string_equal(ask("SET k v\r\nGET k\r\n"),
			    "-ERR feed 'other' is not served: its ring is damaged\r\n"
			    "-ERR feed 'other' is not served: its ring is damaged\r\n");
	begins(ask("MULTI\r\nPING\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*1\r\n+PONG");
	assert_non_null(
		strstr(ask("INFO feeds\r\n"), "feed1:name=other,state=not-served"));
	assert_non_null(strstr(ask("RINGTAIL.FEEDS\r\n"), "its ring is damaged"));
}

static void rights_are_those_of_the_peer(void **state)
{
	const struct rt_peer listed = { .uid = 77, .gid = 4000001 };
	const struct rt_peer other = { .uid = 4000000, .gid = 4000001 };
	struct rt_session *session;

	(void)state;
	session = rt_session_new(&f.server, &listed);
	assert_string_equal(ask_as(session, "SET k v\r\nGET k\r\n"),
			    "+OK\r\n$1\r\nv\r\n");
	begins(ask_as(session, "SELECT other\r\nSET k v\r\n"), "+OK\r\n-NOPERM ");
	assert_string_equal(ask_as(session, "GET k\r\n"), "$-1\r\n"); /* mode 0644 */
	rt_session_free(session);

	session = rt_session_new(&f.server, &other);
	assert_string_equal(
		ask_as(session, "SET k v\r\n"),
		"-NOPERM uid 4000000 may not publish to feed 'small'; allow it "
		"with publish_users or publish_groups\r\n");
	begins(ask_as(session, "GET k\r\n"),
	       "-NOPERM uid 4000000 may not read feed 'small'");
	begins(ask_as(session, "MULTI\r\nSET k w\r\nEXEC\r\n"),
	       "+OK\r\n-NOPERM uid 4000000 may not publish");
	assert_string_equal(ask_as(session, "PING\r\n"), "+PONG\r\n");
	/* Nor is it told how far the feed is, or why it is not served. */
	begins(ask_as(session, "RINGTAIL.FEEDS\r\n"),
	       "*2\r\n*6\r\n$4\r\nname\r\n$5\r\nsmall\r\n$5\r\nindex\r\n:0\r\n"
	       "$5\r\nstate\r\n$4\r\nlive\r\n*16\r\n");
	assert_non_null(strstr(ask_as(session, "INFO feeds\r\n"),
			       "feed0:name=small,state=live\r\nfeed1:name=other,"
			       "state=live,seq="));
	assert_null(strstr(ask_as(session, "INFO keyspace\r\n"), "db0"));
	rt_journal_close(&f.server.feeds[0].journal, true);
	f.server.feeds[0].writer = NULL;
	assert_string_equal(ask_as(session, "GET k\r\n"),
			    "-ERR feed 'small' is not served\r\n");
	rt_session_free(session);
}

/* Not as Redis, which does the rest of it: all or nothing. */
static void an_error_within_exec_takes_it_back(void **state)
{
	uint64_t before;

	(void)state;
	(void)ask("SET a old\r\n");
	before = head(0);
	(void)ask("MULTI\r\nSET a new\r\nSET b x WRONG\r\nSET c x\r\n");
	assert_string_equal(ask("EXEC\r\n"), "-ERR syntax error\r\n");
	assert_string_equal(ask("MGET a b c\r\n"), "*3\r\n$3\r\nold\r\n$-1\r\n$-1\r\n");
	assert_int_equal(head(0), before);
}

static void exec_is_answered_when_it_is_history(void **state)
{
	struct rt_session *rival = rt_session_new(&f.server, &root);
	const struct rt_gate *gate = &f.session->reply_gate;

	(void)state;
	(void)ask("WATCH k\r\nMULTI\r\nSET k v\r\n");
	f.session->reply_gate = (struct rt_gate){ NULL };
	f.server.round += 10;
	assert_string_equal(ask("EXEC\r\n"), "*1\r\n+OK\r\n");
	assert_ptr_equal(gate->feed, &f.server.feeds[0]);
	assert_int_equal(gate->round, f.server.round);

	(void)ask("WATCH k\r\nMULTI\r\n");
	(void)ask_as(rival, "SET k theirs\r\n");
	f.session->reply_gate = (struct rt_gate){ NULL };
	f.server.round += 10;
	assert_string_equal(ask("EXEC\r\n"), "*-1\r\n");
	assert_ptr_equal(gate->feed, &f.server.feeds[0]);
	assert_int_equal(gate->round, f.server.round);
	rt_session_free(rival);
}

static void exec_looks_at_feed_and_rights_again(void **state)
{
	struct rt_feed *feed = &f.server.feeds[0];
	struct rt_writer *writer = feed->writer;

	(void)state;
	(void)ask("SET k v\r\nMULTI\r\nSET k w\r\n");
	f.session->may_publish = false;
	begins(ask("EXEC\r\n"), "-NOPERM ");
	f.session->may_publish = true;
	(void)ask("MULTI\r\nPING\r\nRINGTAIL.DELPREFIX k\r\nSET k w\r\n");
	feed->writer = NULL;
	begins(ask("EXEC\r\n"), "-ERR feed 'small' is not served");
	feed->writer = writer;
	assert_string_equal(ask("GET k\r\n"), "$1\r\nv\r\n");
	assert_int_equal(head(0), 1);
}

static void a_watched_key_that_changes_fails_exec(void **state)
{
	struct rt_session *rival = rt_session_new(&f.server, &root);

	(void)state;
	(void)ask("SET k v\r\nWATCH k none\r\nMULTI\r\nSET k mine\r\n");
	(void)ask_as(rival, "SET k theirs\r\n");
	assert_string_equal(ask("EXEC\r\nGET k\r\n"), "*-1\r\n$6\r\ntheirs\r\n");
	(void)ask("WATCH k\r\nMULTI\r\nSET k mine\r\n");
	(void)ask_as(rival, "SET unrelated x\r\n");
	assert_string_equal(ask("EXEC\r\n"), "*1\r\n+OK\r\n");
	(void)ask("WATCH new\r\n");
	(void)ask_as(rival, "SET new x\r\n");
	assert_string_equal(ask("MULTI\r\nEXEC\r\n"), "+OK\r\n*-1\r\n");
	rt_session_free(rival);
}

static void the_marker_is_that_of_the_ring(void **state)
{
	const struct rt_writer *writer = f.server.feeds[0].writer;
	char marker[RT_MARKER_LEN + 1], want[64];

	(void)state;
	(void)ask("SET k v\r\n");
	rt_marker_format(1, writer->segment.geo.epoch, marker);
	(void)snprintf(want, sizeof(want), "$42\r\n%s\r\n", marker);
	assert_string_equal(ask("RINGTAIL.MARKER\r\n"), want);
}

static void a_restart_finds_what_the_ring_holds(void **state)
{
	(void)state;
	(void)ask("SET first x\r\nSET a 1\r\nSET b 2\r\nDEL a\r\nMSET c 3 d 4\r\n");
	rt_server_close(&f.server);
	t_ok(rt_server_open(&f.server, &f.config));
	f.session = rt_session_new(&f.server, &root);
	assert_string_equal(
		ask("MGET first a b c d\r\nDBSIZE\r\n"),
		"*5\r\n$1\r\nx\r\n$-1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n:4\r\n");
	for (int i = 0; i < 200; i++)
		(void)ask("SET k v\r\n");
	rt_server_close(&f.server);
	t_ok(rt_server_open(&f.server, &f.config));
	f.session = rt_session_new(&f.server, &root);
	assert_string_equal(ask("GET first\r\nGET k\r\n"), "$-1\r\n$1\r\nv\r\n");
	assert_int_equal(head(0), 206);
}

static void a_scan_finds_every_key(void **state)
{
	char lines[128];
	unsigned found = 0;
	const char *cursor = "0";
	char next[32] = "";

	(void)state;
	for (int i = 0; i < 60; i++) {
		(void)snprintf(lines, sizeof(lines), "SET key:%d v\r\n", i);
		(void)ask(lines);
	}
	do {
		const char *at;

		(void)snprintf(lines, sizeof(lines), "SCAN %s MATCH key:* COUNT 7\r\n",
			       cursor);
		(void)ask(lines);
		assert_int_equal(sscanf(f.text, "*2\r\n$%*d\r\n%31[0-9]", next), 1);
		for (at = f.text; (at = strstr(at, "key:")); at++)
			found++;
		cursor = next;
	} while (strcmp(cursor, "0"));
	assert_true(found >= 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_change_is_an_event),
		T(what_changes_nothing_is_no_event),
		T(a_transaction_is_one),
		T(too_much_for_a_transaction_changes_nothing),
		T(a_large_mset_changes_nothing_either),
		T(a_long_line_that_has_to_wait),
		T(limits_are_named),
		T(state_has_a_limit),
		T(commands_between_multi_and_exec_have_a_limit),
		T(a_long_request_ends_the_session),
		T(replies_that_nobody_takes_end_the_session),
		T(any_split_of_the_bytes_is_the_same),
		T(a_pipeline_is_the_same_as_one_by_one),
		T(a_hold_anywhere_is_the_same),
		T(only_what_needs_the_feed_waits),
		T(feeds_are_selected_by_name_and_number),
		T(a_feed_that_is_not_served_says_why),
		T(rights_are_those_of_the_peer),
		T(an_error_within_exec_takes_it_back),
		T(exec_is_answered_when_it_is_history),
		T(exec_looks_at_feed_and_rights_again),
		T(a_watched_key_that_changes_fails_exec),
		T(the_marker_is_that_of_the_ring),
		T(a_restart_finds_what_the_ring_holds),
		T(a_scan_finds_every_key),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
