/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_renew.c - a feed that is reset or restored while others are used: who
 *                       waits and who does not, and what is left when the daemon ends
 *                       in the middle of it
 */
#include "tests/integration/diskrig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* The new folder is made, and not yet in place; or it is, and not yet opened. */
#define PREPARING "/main.new/"
#define SWAPPED   "/main/"

/* The renewal that @other asks for stops at the first sync of such a file. */
static void begin_renewal(const char *where, const char *command)
{
	end_fault("held");
	begin_fault("hold", where);
	assert_int_equal(redisAppendCommand(other, command), REDIS_OK);
	send_now(other);
	wait_until_held();
}

static void begin_reset(const char *where)
{
	begin_renewal(where, "RINGTAIL.RESET main");
}

/* Nothing has come within a while. */
static void is_silent(redisContext *redis)
{
	char byte;

	t_sleep_ms(50);
	assert_int_equal(recv(redis->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
}

static void send_text(redisContext *redis, const char *text)
{
	assert_int_equal(send(redis->fd, text, strlen(text), MSG_NOSIGNAL),
			 (ssize_t)strlen(text));
}

static char *backup_of_old(void)
{
	char *said = NULL, *backup = strdup(t_path(faults, "backup"));

	(void)redisAppendCommand(other, "RINGTAIL.RESET main");
	expect(other, "[seq 1");
	assert_int_equal(t_sh(&said, "cp %s/main/*.snap %s", data, backup), 0);
	free(said);
	return backup;
}

static void other_feeds_go_on(void **state)
{
	redisContext *late;

	(void)state;
	start();
	begin_reset(PREPARING);
	t_reply(one, "PONG", "PING");
	t_reply(one, "OK", "SELECT more");
	t_reply(one, "OK", "SET k v");
	t_reply(one, "v", "GET k");
	late = t_daemon_connect(&d);
	(void)redisAppendCommand(late, "RINGTAIL.FEEDS");
	expect(late, "[[name main index 0 state not served reason it is being reset]");
	t_reply(late, "OK", "SELECT more");
	t_reply(late, "OK", "SELECT main");
	(void)redisAppendCommand(late, "GET k");
	send_now(late);
	is_silent(late);
	is_silent(other);
	end_fault("hold");
	expect(other, "[seq 1 keys 1");
	expect(late, "old");
	redisFree(late);
}

static void what_waits_is_done_in_order(void **state)
{
	(void)state;
	start();
	t_reply(one, "OK", "WATCH k");
	begin_reset(PREPARING);
	/* Lines are unquoted where they lie; the last one comes in two pieces. */
	send_text(one, "PING\r\nMULTI\r\nSET a \"x \\\"y\\\"\"\r\nGET k\r\nEXEC\r\n"
		       "*5\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\nc\r\n$0\r\n"
		       "\r\nSELECT more\r\nGET a\r\nSELECT main\r\nGET 'a");
	expect(one, "PONG");
	expect(one, "OK"); /* of MULTI */
	is_silent(one);
	send_text(one, "'\r\nMGET b c\r\n");
	is_silent(one);
	end_fault("hold");
	expect(other, "[seq 1");
	expect(one, "QUEUED");
	expect(one, "QUEUED");
	expect(one, "[OK old]");
	expect(one, "OK"); /* of MSET */
	expect(one, "OK");
	expect(one, "(nil)");
	expect(one, "OK");
	expect(one, "x \"y\"");
	expect(one, "[1 ]");
}

static void what_is_no_request_is_said_in_its_turn(void **state)
{
	void *reply = NULL;

	(void)state;
	start();
	begin_reset(PREPARING);
	send_text(one, "SET a 1\r\nSET b \"2\" \"\r\n");
	is_silent(one);
	end_fault("hold");
	expect(other, "[seq 1");
	expect(one, "OK");
	expect(one, "-ERR Protocol error");
	assert_int_equal(redisGetReply(one, &reply), REDIS_ERR);
	t_reply(other, "(nil)", "GET b");
}

static void watched_keys_are_those_of_the_new_history(void **state)
{
	char *backup;

	(void)state;
	start();
	backup = backup_of_old();
	t_reply(one, "OK", "WATCH k");
	t_reply(one, "OK", "SELECT more");
	begin_fault("hold", PREPARING);
	end_fault("held");
	(void)redisAppendCommand(other, "RINGTAIL.RESTORE main %s", backup);
	send_now(other);
	wait_until_held();
	t_reply(one, "OK", "MULTI");
	t_reply(one, "QUEUED", "SET x y");
	(void)redisAppendCommand(one, "EXEC");
	send_now(one);
	is_silent(one);
	end_fault("hold");
	expect(other, "[seq 1 keys 1");
	expect(one, "(nil)");
	free(backup);
}

static void one_after_the_other(void **state)
{
	char *backup;

	(void)state;
	start();
	backup = backup_of_old();
	t_reply(one, "OK", "SET k new");
	begin_reset(PREPARING);
	(void)redisAppendCommand(other, "GET k");
	(void)redisAppendCommand(one, "RINGTAIL.RESTORE main %s", backup);
	(void)redisAppendCommand(one, "GET k");
	(void)redisAppendCommand(one, "RINGTAIL.CHMOD main 0644");
	(void)redisAppendCommand(one, "RINGTAIL.RESTORE main /nonexistent/file");
	(void)redisAppendCommand(one, "SET k newest");
	send_now(other);
	send_now(one);
	is_silent(one);
	end_fault("hold");
	expect(one, "[seq 2 keys 1");
	expect(one, "old");
	expect(one, "OK");
	expect(one, "-ERR /nonexistent/file");
	expect(one, "OK");
	expect(other, "[seq 2 keys 1");
	expect(other, ""); /* before or after the restore */
	free(backup);
}

/* More than is taken in for a client that waits: it is not closed for that. */
static void a_long_pipeline_waits_outside(void **state)
{
	static const char set[] = "SET key some-value-that-is-not-short\r\n";
	const unsigned n = 400000;
	unsigned sent = 0, answered = 0;
	size_t part = 0;
	char text[65536];

	(void)state;
	start();
	begin_reset(PREPARING);
	assert_int_equal(fcntl(one->fd, F_SETFL, O_NONBLOCK), 0);
	for (unsigned idle = 0; sent < n && idle < 100;) {
		ssize_t r =
			send(one->fd, set + part, sizeof(set) - 1 - part, MSG_NOSIGNAL);

		if (r < 0) {
			assert_int_equal(errno, EAGAIN);
			t_sleep_ms(1);
			idle++;
			continue;
		}
		part += (size_t)r;
		if (part == sizeof(set) - 1) {
			part = 0;
			sent++;
		}
	}
	assert_true(sent < n);
	assert_int_equal(fcntl(one->fd, F_SETFL, 0), 0);
	end_fault("hold");
	expect(other, "[seq 1");
	send_text(one, set + part);
	sent++;
	while (answered < sent) {
		ssize_t r = recv(one->fd, text, sizeof(text), 0);

		assert_true(r > 0);
		for (ssize_t i = 0; i < r; i++)
			answered += text[i] == '+';
	}
	t_reply(other, "2", "DBSIZE");
}

static bool is_last(void *arg)
{
	redisReply *reply = redisCommand(one, "GET k");
	bool yes = reply && reply->str && !strcmp(reply->str, "last");

	(void)arg;
	freeReplyObject(reply);
	return yes;
}

static bool is_not_bound(void *arg)
{
	redisReply *reply = redisCommand(one, "EXISTS bound");
	bool yes = reply && reply->type == REDIS_REPLY_INTEGER && !reply->integer;

	(void)arg;
	freeReplyObject(reply);
	return yes;
}

/* What they have sent is done all the same, and what is bound to them is over. */
static void those_who_leave_meanwhile(void **state)
{
	(void)state;
	start();
	t_reply(one, "OK", "SET bound x BIND");
	begin_reset(PREPARING);
	(void)redisAppendCommand(one, "SET k last");
	send_now(one);
	t_sleep_ms(50);
	redisFree(one);
	redisFree(other);
	one = t_daemon_connect(&d);
	other = NULL;
	t_reply(one, "PONG", "PING");
	end_fault("hold");
	assert_true(t_within_ms(T_PATIENCE_MS, is_last, NULL));
	assert_true(t_within_ms(T_PATIENCE_MS, is_not_bound, NULL));
}

/* Nothing more comes, and that is known before it goes on, or after. */
static void an_end_behind_a_command(void **state)
{
	void *reply = NULL;

	(void)state;
	start();
	begin_reset(PREPARING);
	send_text(one, "SET k last\r\nGET k\r\n");
	assert_int_equal(shutdown(one->fd, SHUT_WR), 0);
	is_silent(one);
	end_fault("hold");
	expect(one, "OK");
	expect(one, "last");
	assert_int_equal(redisGetReply(one, &reply), REDIS_ERR);
}

static void settings_are_read_when_it_is_done(void **state)
{
	(void)state;
	start();
	begin_reset(PREPARING);
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	t_sleep_ms(50);
	assert_false(t_daemon_logged(&d, "settings were read again"));
	end_fault("hold");
	expect(other, "[seq 1");
	t_reply(one, "old", "GET k");
	assert_true(t_daemon_logged(&d, "settings were read again"));
}

static bool has_new_folder(void)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/main.new", data);
	return access(path, F_OK) == 0;
}

static void is_whole(void)
{
	t_daemon_restart(&d);
	assert_false(has_new_folder());
	redisFree(one);
	one = t_daemon_connect(&d);
	t_reply(one, "old", "GET k");
	t_reply(one, "[1]", "RINGTAIL.SEQ k");
	t_reply(one, "OK", "SET k new");
	t_reply(one, "[2]", "RINGTAIL.SEQ k");
}

static void killed_while_the_new_folder_is_made(void **state)
{
	(void)state;
	start();
	begin_reset(PREPARING);
	(void)redisAppendCommand(one, "SET k lost");
	send_now(one);
	t_daemon_kill(&d);
	assert_true(has_new_folder());
	is_whole();
}

static void killed_before_the_new_folder_is_opened(void **state)
{
	(void)state;
	start();
	begin_reset(SWAPPED);
	(void)redisAppendCommand(one, "SET k lost");
	send_now(one);
	t_daemon_kill(&d);
	assert_true(has_new_folder()); /* the old one */
	is_whole();
}

/* It is told to end meanwhile: what is not in place yet never will be. */
static void ends(const char *where, unsigned after_ms)
{
	pid_t pid;

	start();
	begin_reset(where);
	(void)redisAppendCommand(one, "SET k lost");
	send_now(one);
	pid = fork();
	if (!pid) {
		t_sleep_ms(after_ms);
		end_fault("hold");
		_exit(0);
	}
	assert_int_equal(t_daemon_stop(&d), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(has_new_folder());
}

static void ended_while_the_new_folder_is_made(void **state)
{
	(void)state;
	ends(PREPARING, 200);
	expect(other, "-ERR feed 'main' is about to be closed");
	is_whole();
}

static void ended_before_the_new_folder_is_opened(void **state)
{
	(void)state;
	ends(SWAPPED, 200);
	expect(other, "[seq 1");
	is_whole();
}

/* Clients have had their two seconds by then. */
static void ended_long_before_the_new_folder_is_opened(void **state)
{
	void *reply = NULL;

	(void)state;
	ends(SWAPPED, 4000);
	assert_int_equal(redisGetReply(other, &reply), REDIS_ERR);
	is_whole();
}

/* Its log cannot be read for a while; when it can, it takes a while. */
static void begin_opening(const char *fault)
{
	char *said = NULL;

	start();
	assert_int_equal(t_daemon_stop(&d), 0);
	assert_int_equal(t_sh(&said, "cd %s && mv main away && echo >main", data), 0);
	free(said);
	use_disk();
	t_daemon_restart(&d);
	(void)unsetenv("LD_PRELOAD");
	redisFree(one);
	redisFree(other);
	one = t_daemon_connect(&d);
	other = t_daemon_connect(&d);
	begin_fault(fault, SWAPPED);
	assert_int_equal(t_sh(&said, "cd %s && rm main && mv away main", data), 0);
	free(said);
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	wait_until_held();
}

static void one_that_is_opened_later(void **state)
{
	(void)state;
	begin_opening("hold");
	(void)redisAppendCommand(one, "GET k");
	expect(one, "-ERR feed 'main' is not served");
	t_reply(one, "OK", "SELECT more");
	t_reply(one, "OK", "SET k v");
	(void)redisAppendCommand(other, "RINGTAIL.RESET main");
	send_now(other);
	is_silent(other);
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	end_fault("hold");
	expect(other, "[seq 1 keys 1");
	t_reply(other, "old", "GET k");
}

static bool is_closing(void *arg)
{
	(void)arg;
	return t_daemon_logged(&d, "SIGTERM: closing");
}

/* It goes on when the daemon knows. */
static void ends_while_it_reads(void)
{
	(void)truncate(d.log, 0);
	assert_int_equal(kill(d.pid, SIGTERM), 0);
	assert_true(t_within_ms(T_PATIENCE_MS, is_closing, NULL));
	end_fault("hold_read");
	assert_int_equal(t_daemon_stop(&d), 0);
}

/* It is not read to its end before. */
static void one_that_is_being_opened_when_the_end_comes(void **state)
{
	(void)state;
	begin_opening("hold_read");
	ends_while_it_reads();
	assert_true(t_daemon_logged(&d, "feed 'main': it was not opened any more"));
	is_whole();
}

/* But a new history is: who asked for it is told of it. */
static void one_that_is_restored_when_the_end_comes(void **state)
{
	char *backup;

	(void)state;
	start();
	backup = backup_of_old();
	begin_fault("hold_read", SWAPPED);
	(void)redisAppendCommand(other, "RINGTAIL.RESTORE main %s", backup);
	send_now(other);
	wait_until_held();
	ends_while_it_reads();
	expect(other, "[seq 1 keys 1");
	is_whole();
	free(backup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(other_feeds_go_on),
		T(what_waits_is_done_in_order),
		T(what_is_no_request_is_said_in_its_turn),
		T(watched_keys_are_those_of_the_new_history),
		T(one_after_the_other),
		T(a_long_pipeline_waits_outside),
		T(those_who_leave_meanwhile),
		T(an_end_behind_a_command),
		T(settings_are_read_when_it_is_done),
		T(killed_while_the_new_folder_is_made),
		T(killed_before_the_new_folder_is_opened),
		T(ended_while_the_new_folder_is_made),
		T(ended_before_the_new_folder_is_opened),
		T(ended_long_before_the_new_folder_is_opened),
		T(one_that_is_opened_later),
		T(one_that_is_being_opened_when_the_end_comes),
		T(one_that_is_restored_when_the_end_comes),
	};

	RUN_ON_DISK("daemon_renew", tests);
}
