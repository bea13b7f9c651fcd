/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_lost.c - a real daemon on a disk that is slow and fails: who is told what
 *                      of changes that several connections wait for
 */
#include "tests/support/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

static struct t_daemon d;
static char *data, *faults;
static redisContext *one, *other;

static int setup(void **state)
{
	*state = &d;
	d = (struct t_daemon){ .pid = 0 };
	data = t_dir_new();
	faults = t_dir_new();
	one = other = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (one)
		redisFree(one);
	if (other)
		redisFree(other);
	t_daemon_drop(&d);
	t_dir_drop(data);
	t_dir_drop(faults);
	return 0;
}

/* On a disk as tests/support/failing_disk.c has it. */
static void start(void)
{
	(void)setenv("T_FAILING_DISK", faults, 1);
	(void)setenv("LD_PRELOAD", getenv("RINGTAIL_TEST_FAILING_DISK"), 1);
	t_daemon_start(&d, "--data", data, "--feed", "main,durability=disk", "--feed",
		       "more,durability=memory", NULL);
	(void)unsetenv("LD_PRELOAD");
	one = t_daemon_connect(&d);
	other = t_daemon_connect(&d);
	t_reply(one, "OK", "SET k old"); /* what begins a segment is not for a thread */
}

/* From now on @call is as @fault says for files whose path has @part in it. */
static void begin_fault(const char *fault, const char *part)
{
	t_write_file(t_path(faults, fault), part, strlen(part));
}

static void end_fault(const char *fault)
{
	(void)unlink(t_path(faults, fault));
}

static bool is_held(void *arg)
{
	(void)arg;
	return access(t_path(faults, "held"), F_OK) == 0;
}

static void wait_until_held(void)
{
	assert_true(t_within_ms(T_PATIENCE_MS, is_held, NULL));
}

/* Sends what was appended. */
static void send_now(redisContext *redis)
{
	int done = 0;

	while (!done)
		assert_int_equal(redisBufferWrite(redis, &done), REDIS_OK);
}

static void expect(redisContext *redis, const char *begin)
{
	struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
	void *reply = NULL;
	char *text;

	assert_int_equal(redisSetTimeout(redis, patience), REDIS_OK);
	if (redisGetReply(redis, &reply) != REDIS_OK)
		fail_msg("no reply: %s", redis->errstr);
	text = t_reply_text(reply);
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("'%s' does not begin with '%s'", text, begin);
	free(text);
	freeReplyObject(reply);
}

/* A change that waits for its sync. */
static void set_held(redisContext *redis, const char *value)
{
	end_fault("held");
	begin_fault("hold", "/main/");
	assert_int_equal(redisAppendCommand(redis, "SET k %s", value), REDIS_OK);
	send_now(redis);
	wait_until_held();
}

static void those_who_wait_are_told_before_a_reset(void **state)
{
	(void)state;
	start();
	set_held(one, "1");
	/* One batch goes from one count and comes to the other: the sum is the same. */
	(void)redisAppendCommand(other, "SELECT more");
	(void)redisAppendCommand(other, "SET k v");
	(void)redisAppendCommand(other, "RINGTAIL.RESET main");
	send_now(other);
	t_sleep_ms(50);
	end_fault("hold");
	expect(one, "OK");
	expect(other, "OK");
	expect(other, "OK");
	expect(other, "[seq 2");
}

static void what_has_landed_is_told_before_a_loss(void **state)
{
	(void)state;
	start();
	set_held(one, "1");
	(void)redisAppendCommand(one, "SET k 2");
	send_now(one);
	t_sleep_ms(50); /* it waits behind the first one, mostly */
	begin_fault("pwrite", "/main/");
	(void)redisAppendCommand(other, "RINGTAIL.CHMOD main 0644");
	send_now(other);
	t_sleep_ms(50);
	end_fault("hold");
	expect(one, "OK");
	expect(one, "-ERR feed 'main'");
	expect(other, "-ERR feed 'main'");
}

static void a_restore_does_not_make_lost_changes_good(void **state)
{
	char backup[256];
	char *said = NULL;

	(void)state;
	start();
	(void)redisAppendCommand(other, "RINGTAIL.RESET main");
	send_now(other);
	expect(other, "[seq 1");
	(void)snprintf(backup, sizeof(backup), "%s/backup", faults);
	assert_int_equal(t_sh(&said, "cp %s/main/*.snap %s", data, backup), 0);
	free(said);
	t_reply(one, "OK", "SET k newer"); /* in the segment that fails */
	set_held(one, "lost");
	begin_fault("fdatasync", "/main/00000000000000000002.log");
	/* The first one meets the failure, the other one comes in the same round. */
	(void)redisAppendCommand(other, "RINGTAIL.CHMOD main 0644");
	(void)redisAppendCommand(other, "RINGTAIL.RESTORE main %s", backup);
	send_now(other);
	t_sleep_ms(50);
	end_fault("hold");
	expect(one, "-ERR feed 'main'");
	expect(other, "-ERR feed 'main'");
	expect(other, "[seq ");
	redisFree(one);
	one = t_daemon_connect(&d);
	t_reply(one, "old", "GET k");
}

static void a_snapshot_whose_flush_fails_stops_that_feed_alone(void **state)
{
	char *said = NULL;

	(void)state;
	start();
	(void)redisAppendCommand(other, "RINGTAIL.RESET main");
	send_now(other);
	expect(other, "[seq 1");
	t_reply(one, "OK", "SET k newer");
	/* Without one the next is made from memory, all of which goes to disk first. */
	assert_int_equal(t_sh(&said, "rm %s/main/*.snap", data), 0);
	free(said);
	set_held(one, "lost");
	begin_fault("fdatasync", "/main/");
	(void)redisAppendCommand(other, "RINGTAIL.SNAPSHOT");
	send_now(other);
	t_sleep_ms(50); /* the thread has found that there is none, mostly */
	(void)redisAppendCommand(other, "PING");
	send_now(other);
	t_sleep_ms(50);
	end_fault("hold");
	expect(one, "-ERR feed 'main'");
	redisFree(one);
	one = t_daemon_connect(&d);
	t_reply(one, "OK", "SELECT more");
	t_reply(one, "OK", "SET k v");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(those_who_wait_are_told_before_a_reset),
		T(what_has_landed_is_told_before_a_loss),
		T(a_restore_does_not_make_lost_changes_good),
		T(a_snapshot_whose_flush_fails_stops_that_feed_alone),
	};

	if (!getenv("RINGTAIL_TEST_FAILING_DISK"))
		t_skip_all("no disk that fails: a sanitizer has to be loaded first");
	return cmocka_run_group_tests_name("daemon_lost", tests, NULL, NULL);
}
