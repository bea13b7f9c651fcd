/* SPDX-License-Identifier: MIT */
/*
 * test_daemon.c - ringtaild as a process: start, stop, death, limits, bad company
 */
#include "tests/support/t.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ringtail.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/daemon.h"

static struct t_daemon d;

static int setup(void **state)
{
	*state = &d;
	d = (struct t_daemon){ .pid = 0 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	t_daemon_drop(&d);
	return 0;
}

static int connect_raw(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", d.socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Reads until the daemon closes; returns what came, at most @cap - 1 bytes of it. */
static size_t read_to_end(int fd, char *text, size_t cap)
{
	size_t n = 0;

	for (;;) {
		char rest[4096];
		ssize_t got = n + 1 < cap ? recv(fd, text + n, cap - 1 - n, 0)
					  : recv(fd, rest, sizeof(rest), 0);

		if (got < 0 && errno == ECONNRESET)
			got = 0;
		assert_true(got >= 0);
		if (!got)
			break;
		if (n + 1 < cap)
			n += (size_t)got;
	}
	text[n] = 0;
	return n;
}

static void ping(void)
{
	redisContext *redis = t_daemon_connect(&d);

	t_reply(redis, "PONG", "PING");
	redisFree(redis);
}

static char *ask(redisContext *redis, const char *command)
{
	redisReply *reply = redisCommand(redis, command);
	char *text;

	assert_non_null(reply);
	text = strdup(reply->str ? reply->str : "");
	freeReplyObject(reply);
	return text;
}

static int count_fds_of(int pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static bool has_few_fds(void *arg)
{
	return count_fds_of(d.pid) <= *(int *)arg;
}

static struct ringtail *follow(const char *feed)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader;

	options.dir = d.dir;
	options.start = RINGTAIL_START_OLDEST;
	t_ok(ringtail_open(feed, &options, &reader));
	return reader;
}

/*
 * ---- Start and end -----------------------------------------------------------
 */

static void it_ends_when_told_and_leaves_feeds_closed(void **state)
{
	struct ringtail *reader;
	struct ringtail_event event;
	redisContext *redis;

	(void)state;
	t_daemon_start(&d, NULL);
	redis = t_daemon_connect(&d);
	t_reply(redis, "OK", "SET k v");
	reader = follow("main");

	assert_int_equal(t_daemon_stop(&d), 0);

	assert_int_equal(access(d.socket, F_OK), -1);
	assert_int_equal(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_E_CLOSED);
	ringtail_close(reader);
	redisFree(redis);
}

static void killed_and_started_again_it_goes_on(void **state)
{
	struct ringtail *reader;
	struct ringtail_event event;
	redisContext *redis;

	(void)state;
	t_daemon_start(&d, NULL);
	redis = t_daemon_connect(&d);
	t_reply(redis, "OK", "SET k 1");
	reader = follow("main");
	assert_int_equal(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	t_daemon_kill(&d);
	redisFree(redis);

	t_daemon_restart(&d); /* and replaces the socket that was left */
	redis = t_daemon_connect(&d);
	t_reply(redis, "1", "GET k");
	t_reply(redis, "OK", "SET k 2");
	assert_int_equal(ringtail_next(reader, &event, RINGTAIL_FOREVER),
			 RINGTAIL_EVENT);
	assert_int_equal(event.seq, 2);
	assert_int_equal(event.flags & RINGTAIL_CREATED, 0);
	ringtail_close(reader);
	redisFree(redis);
}

static void a_second_one_is_refused(void **state)
{
	char *text;

	(void)state;
	t_daemon_start(&d, NULL);
	assert_int_equal(t_sh(&text, "%s --dir %s --socket %s/other.sock",
			      t_daemon_program(), d.dir, d.dir),
			 1);
	assert_non_null(strstr(text, "feed 'main'"));
	assert_non_null(strstr(text, "no feed can be served"));
	free(text);
	assert_int_equal(t_sh(&text, "%s --dir %s/other --socket %s",
			      t_daemon_program(), d.dir, d.socket),
			 1);
	assert_non_null(strstr(text, "another process listens there"));
	free(text);
	ping();
}

static void a_file_in_the_place_of_the_socket_stays(void **state)
{
	char *text;

	(void)state;
	t_daemon_start(&d, NULL);
	assert_int_equal(t_sh(&text,
			      "echo precious > %s/file; %s --dir %s/b --socket %s/file",
			      d.dir, t_daemon_program(), d.dir, d.dir),
			 1);
	assert_non_null(strstr(text, "no socket is there"));
	free(text);
	assert_int_equal(access(t_path(d.dir, "b"), F_OK), -1); /* nothing was begun */
	assert_int_equal(t_sh(NULL, "grep -q precious %s/file", d.dir), 0);
}

static void a_damaged_feed_stops_no_other(void **state)
{
	redisContext *redis;
	char *text;

	(void)state;
	t_daemon_start(&d, "--feed", "good,durability=none", "--feed",
		       "bad,durability=none", NULL);
	redis = t_daemon_connect(&d);
	t_reply(redis, "OK", "SET k v");
	redisFree(redis);
	assert_int_equal(t_daemon_stop(&d), 0);
	assert_int_equal(
		t_sh(NULL,
		     "dd if=/dev/urandom of=%s/bad/ring bs=4096 count=1 conv=notrunc",
		     d.dir),
		0);

	t_daemon_restart(&d);
	assert_true(t_daemon_logged(&d, "feed 'bad' is not served: "));
	redis = t_daemon_connect(&d);
	t_reply(redis, "v", "GET k");
	text = ask(redis, "SELECT bad");
	assert_non_null(strstr(text, "feed 'bad' is not served: "));
	assert_null(strstr(text, "feed 'bad': ")); /* named once */
	free(text);
	redisFree(redis);
}

static void wrong_usage_has_its_own_exit_code(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(t_sh(&text, "%s --feed a,size=3", t_daemon_program()), 2);
	assert_non_null(
		strstr(text, "ringtaild: --feed a: size: 3 is not a power of two"));
	free(text);
	assert_int_equal(t_sh(&text, "%s --dir /d --check-config", t_daemon_program()),
			 0);
	assert_non_null(strstr(text, "[feed main]"));
	free(text);
	assert_int_equal(t_sh(NULL, "%s --help > /dev/full", t_daemon_program()), 1);
}

static void sighup_without_news_changes_nothing(void **state)
{
	(void)state;
	t_daemon_start(&d, NULL);
	(void)kill(d.pid, SIGHUP);
	ping();
	while (!t_daemon_logged(&d, "SIGHUP: settings were read again"))
		t_sleep_ms(1);
	ping();
}

/* Pairs of keys that are always equal, until the daemon is told to end. */
static int publish_pairs(void *arg)
{
	redisContext *redis = redisConnectUnix(d.socket);
	bool started = false;

	(void)arg;
	(void)signal(SIGPIPE, SIG_IGN); /* the daemon ends before this does */
	for (int i = 0; redis && !redis->err; i++) {
		redisReply *reply = redisCommand(redis, "MSET a %d b %d", i, i);

		if (reply)
			started = true;
		freeReplyObject(reply);
	}
	return started ? 0 : 1;
}

static void an_end_leaves_no_half_transaction(void **state)
{
	struct ringtail *reader;
	struct ringtail_event event;
	int publisher, r;
	uint64_t n = 0;

	(void)state;
	t_daemon_start(&d, "--feed", "main,size=16M", NULL);
	reader = follow("main");
	assert_int_equal(ringtail_next(reader, &event, 0), RINGTAIL_CAUGHT_UP);
	publisher = t_spawn(publish_pairs, NULL);
	assert_int_equal(ringtail_next(reader, &event, RINGTAIL_FOREVER),
			 RINGTAIL_EVENT);
	t_sleep_ms(50);
	assert_int_equal(t_daemon_stop(&d), 0);
	assert_int_equal(t_join(publisher), 0);

	do {
		n++;
		assert_int_equal(event.seq, n);
		assert_int_equal(event.txn_size, 2);
		assert_int_equal(event.txn_index, (n - 1) % 2);
	} while ((r = ringtail_next(reader, &event, 0)) == RINGTAIL_EVENT);
	t_is(r, RINGTAIL_E_CLOSED);
	assert_int_equal(n % 2, 0);
	ringtail_close(reader);
}

/*
 * ---- Clients -----------------------------------------------------------------
 */

static void a_pipeline_is_answered_in_order(void **state)
{
	redisContext *redis;
	const int n = 20000;

	(void)state;
	t_daemon_start(&d, NULL);
	redis = t_daemon_connect(&d);
	for (int i = 0; i < n; i++) {
		assert_int_equal(redisAppendCommand(redis, "SET k%d v%d", i % 1000, i),
				 REDIS_OK);
		assert_int_equal(redisAppendCommand(redis, "GET k%d", i % 1000),
				 REDIS_OK);
	}
	for (int i = 0; i < n; i++) {
		char want[16];
		void *reply;

		assert_int_equal(redisGetReply(redis, &reply), REDIS_OK);
		assert_string_equal(((redisReply *)reply)->str, "OK");
		freeReplyObject(reply);
		assert_int_equal(redisGetReply(redis, &reply), REDIS_OK);
		(void)snprintf(want, sizeof(want), "v%d", i);
		assert_string_equal(((redisReply *)reply)->str, want);
		freeReplyObject(reply);
	}
	redisFree(redis);
}

static void large_values_come_back_whole(void **state)
{
	const size_t len = 1500000;
	char *value = malloc(len);
	struct t_random random = { 5 };
	redisContext *redis;

	(void)state;
	for (size_t i = 0; i < len; i++)
		value[i] = (char)t_random64(&random);
	t_daemon_start(&d, "--feed", "main,size=16M", NULL);
	redis = t_daemon_connect(&d);
	for (int i = 0; i < 20; i++) {
		redisReply *reply;

		value[0] = (char)i;
		t_reply(redis, "OK", "SET k%d %b", i % 3, value, len);
		reply = redisCommand(redis, "GET k%d", i % 3);
		assert_int_equal(reply->len, len);
		assert_memory_equal(reply->str, value, len);
		freeReplyObject(reply);
	}
	redisFree(redis);
	free(value);
}

static void one_client_too_many_is_told(void **state)
{
	redisContext *first, *second;
	char text[256];
	int fd;

	(void)state;
	t_daemon_start(&d, "--max-clients", "2", NULL);
	first = t_daemon_connect(&d);
	t_reply(first, "PONG", "PING");
	second = t_daemon_connect(&d);
	t_reply(second, "PONG", "PING");
	fd = connect_raw();
	(void)read_to_end(fd, text, sizeof(text));
	assert_string_equal(text, "-ERR max number of clients reached\r\n");
	(void)close(fd);
	t_reply(first, "PONG", "PING");

	redisFree(second);
	do {
		second = t_daemon_connect(&d);
		(void)snprintf(text, sizeof(text), "%s",
			       redisAppendCommand(second, "PING") == REDIS_OK ? ""
									      : "x");
		{
			void *reply = NULL;

			if (redisGetReply(second, &reply) == REDIS_OK && reply &&
			    ((redisReply *)reply)->type == REDIS_REPLY_STATUS)
				(void)snprintf(text, sizeof(text), "%s",
					       ((redisReply *)reply)->str);
			freeReplyObject(reply);
		}
		redisFree(second);
	} while (strcmp(text, "PONG"));
	redisFree(first);
}

static void who_takes_no_replies_is_closed(void **state)
{
	static char value[16384];
	redisContext *other;
	int fd;

	(void)state;
	t_daemon_start(&d, "--max-pending-out", "256K", NULL);
	other = t_daemon_connect(&d);
	memset(value, 'x', sizeof(value) - 1);
	t_reply(other, "OK", "SET k %s", value);
	fd = connect_raw();
	while (send(fd, "GET k\r\n", 7, MSG_NOSIGNAL) > 0)
		;
	assert_true(errno == EPIPE || errno == ECONNRESET);
	(void)close(fd);
	assert_true(t_daemon_logged(&d, "bytes of replies that it does not take"));
	t_reply(other, "PONG", "PING");
	redisFree(other);
}

static void a_request_too_long_is_told_and_closed(void **state)
{
	static const char start[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\n";
	char text[256];
	int fd;

	(void)state;
	t_daemon_start(&d, "--max-query", "8K", NULL);
	fd = connect_raw();
	assert_int_equal(send(fd, start, sizeof(start) - 1, MSG_NOSIGNAL),
			 sizeof(start) - 1);
	(void)read_to_end(fd, text, sizeof(text));
	assert_string_equal(text,
			    "-ERR request is larger than 8192 bytes (max_query)\r\n");
	(void)close(fd);
	assert_true(t_daemon_logged(&d, "request is larger than 8192 bytes"));
	ping();
}

static void half_closed_clients_get_their_replies(void **state)
{
	char text[256];
	int fd;

	(void)state;
	t_daemon_start(&d, NULL);
	fd = connect_raw();
	assert_int_equal(send(fd, "SET k v\r\nGET k\r\nPI", 18, MSG_NOSIGNAL), 18);
	(void)shutdown(fd, SHUT_WR);
	(void)read_to_end(fd, text, sizeof(text));
	assert_string_equal(text, "+OK\r\n$1\r\nv\r\n");
	(void)close(fd);
}

static void bad_company_is_not_noticed(void **state)
{
	struct t_random random = { 11 };
	redisContext *other;
	int fds_before;

	(void)state;
	t_daemon_start(&d, "--max-query", "64K", NULL);
	other = t_daemon_connect(&d);
	t_reply(other, "OK", "SET k v");
	fds_before = count_fds_of(d.pid);
	for (int i = 0; i < 500; i++) {
		static const char *const starts[] = { "", "*", "*3\r\n$", "SET \"",
						      "MULTI\r\n*1" };
		const char *start = starts[t_random_below(&random, T_N(starts))];
		uint8_t bytes[2000];
		size_t len = t_random_below(&random, sizeof(bytes));
		int fd = connect_raw();

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)t_random64(&random);
		(void)send(fd, start, strlen(start), MSG_NOSIGNAL);
		(void)send(fd, bytes, len, MSG_NOSIGNAL);
		if (i % 2)
			(void)shutdown(fd, SHUT_WR);
		(void)close(fd);
		if (i % 50 == 0)
			t_reply(other, "v", "GET k");
	}
	t_reply(other, "v", "GET k");
	assert_true(t_within_ms(T_PATIENCE_MS, has_few_fds, &fds_before));
	redisFree(other);
}

static char refused[] = "NOPERM user", allowed[] = "OK";

static int ask_as_nobody(void *arg)
{
	const char *want = arg;
	redisContext *redis;
	redisReply *reply;
	int ret;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 3;
	redis = redisConnectUnix(d.socket);
	if (!redis || redis->err)
		return 4;
	reply = redisCommand(redis, "SET k nobody");
	ret = reply && reply->str && !strncmp(reply->str, want, strlen(want)) ? 0 : 5;
	freeReplyObject(reply);
	redisFree(redis);
	return ret;
}

static void another_user_may_publish_only_if_allowed(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("not root: nobody else to be\n");
		return;
	}
	t_daemon_start(&d, "--socket-mode", "0666", "--feed", "main,size=1M", NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	assert_int_equal(t_in_child(ask_as_nobody, refused), 0);
	assert_int_equal(t_daemon_stop(&d), 0);
	d.args[3] = "main,size=1M,publish_users=65534";
	t_daemon_restart(&d);
	assert_int_equal(t_in_child(ask_as_nobody, allowed), 0);
}

static void a_truncated_bell_harms_nobody(void **state)
{
	struct ringtail_event event;
	struct ringtail *reader;
	redisContext *redis;

	(void)state;
	t_daemon_start(&d, NULL);
	redis = t_daemon_connect(&d);
	t_reply(redis, "OK", "SET k v");
	assert_int_equal(truncate(t_path(d.dir, "main/bell"), 0), 0);
	for (int i = 0; i < 100; i++)
		t_reply(redis, "OK", "SET k %d", i);
	reader = follow("main");
	for (int i = 0; i < 101; i++)
		assert_int_equal(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	while (!t_daemon_logged(&d, "its bell was damaged"))
		t_sleep_ms(5);
	t_reply(redis, "OK", "SET k last");
	assert_int_equal(ringtail_next(reader, &event, RINGTAIL_FOREVER),
			 RINGTAIL_EVENT);
	ringtail_close(reader);
	redisFree(redis);
}

static unsigned long wakes_of(int pid)
{
	char path[64], *text, *at;
	unsigned long n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = t_read_file(path, NULL);
	at = strstr(text, "\nvoluntary_ctxt_switches:");
	n = strtoul(at + 25, NULL, 10);
	free(text);
	return n;
}

static void idle_it_wakes_once_a_second(void **state)
{
	unsigned long before, after;

	(void)state;
	t_daemon_start(&d, NULL);
	ping();
	t_sleep_ms(500);
	before = wakes_of(d.pid);
	t_sleep_ms(3000);
	after = wakes_of(d.pid);
	/* A late sleep here may see more ticks, never many more. */
	assert_in_range(after - before, 0, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_ends_when_told_and_leaves_feeds_closed),
		T(killed_and_started_again_it_goes_on),
		T(a_second_one_is_refused),
		T(a_file_in_the_place_of_the_socket_stays),
		T(a_damaged_feed_stops_no_other),
		T(wrong_usage_has_its_own_exit_code),
		T(sighup_without_news_changes_nothing),
		T(an_end_leaves_no_half_transaction),
		T(a_pipeline_is_answered_in_order),
		T(large_values_come_back_whole),
		T(one_client_too_many_is_told),
		T(who_takes_no_replies_is_closed),
		T(a_request_too_long_is_told_and_closed),
		T(half_closed_clients_get_their_replies),
		T(bad_company_is_not_noticed),
		T(another_user_may_publish_only_if_allowed),
		T(a_truncated_bell_harms_nobody),
		T(idle_it_wakes_once_a_second),
	};

	(void)t_daemon_program();
	return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
