/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_keys.c - keys that are longer than max_key is now: they can still go
 */
#include "tests/support/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define LONG_KEY  "a-key-that-is-no-longer-allowed"
#define BEFORE    "main,durability=os,size=64K,max_key=4K"
#define NOW       "main,durability=os,size=64K,max_key=10"
#define SMALL     "main,durability=os,size=8K,max_key=10" /* keys of 1K at most */
#define HUGE_SIZE 2000

static struct t_daemon d;
static redisContext *redis;
static char *data;
static char huge[HUGE_SIZE + 1];

static int setup(void **state)
{
	*state = &d;
	d = (struct t_daemon){ .pid = 0 };
	data = t_dir_new();
	memset(huge, 'h', HUGE_SIZE);
	t_daemon_start(&d, "--data", data, "--feed", BEFORE, NULL);
	redis = t_daemon_connect(&d);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	redisFree(redis);
	t_daemon_drop(&d);
	t_dir_drop(data);
	return 0;
}

/* Another start, with other settings; @stop: the one of before ends properly. */
static void start_as(const char *feed, bool stop)
{
	redisFree(redis);
	if (stop)
		assert_int_equal(t_daemon_stop(&d), 0);
	else
		t_daemon_kill(&d);
	d.args[3] = feed;
	t_daemon_restart(&d);
	redis = t_daemon_connect(&d);
}

/* A snapshot of it now; its path, to be freed. */
static char *snapshot(void)
{
	char *path = NULL, *said = NULL;

	assert_int_equal(t_sh(&said, "%s --dir %s --socket %s snapshot main",
			      t_tool_program(), d.dir, d.socket),
			 0);
	free(said);
	assert_int_equal(t_sh(&path, "ls %s/main/*.snap | tail -1", data), 0);
	path[strcspn(path, "\n")] = 0;
	return path;
}

static void put_long_key(void)
{
	t_reply(redis, "OK", "SET k v");
	t_reply(redis, "OK", "SET " LONG_KEY " v");
}

/* The limit is the longest there is, and that may be deleted. */
static void is_held(void)
{
	t_reply(redis, "v", "GET " LONG_KEY);
	t_reply(redis,
		"-ERR key is 32 bytes long, the limit of feed 'main' is 31 (max_key)",
		"SET " LONG_KEY "s v");
	assert_true(t_daemon_logged(&d, "its log has a key of 31 bytes, so max_key is "
					"that and not 10"));
}

static void is_as_asked(void)
{
	t_reply(redis,
		"-ERR key is 11 bytes long, the limit of feed 'main' is 10 "
		"(max_key)",
		"SET 12345678901 v");
	t_reply(redis, "v", "GET k");
}

static void lowered(bool stop, bool with_snapshot)
{
	put_long_key();
	if (with_snapshot)
		free(snapshot());
	start_as(NOW, stop);
	is_held();
	t_reply(redis, "1", "DEL " LONG_KEY);
	t_reply(redis, "1", "DBSIZE");
	free(snapshot());
	start_as(NOW, stop);
	is_as_asked();
}

static void a_longer_key_of_events_can_be_deleted(void **state)
{
	(void)state;
	lowered(false, false);
}

static void a_longer_key_of_a_snapshot_can_be_deleted(void **state)
{
	(void)state;
	lowered(true, true);
}

static void all_keys_can_be_deleted(void **state)
{
	(void)state;
	put_long_key();
	start_as(NOW, true);
	t_reply(redis, "2", "RINGTAIL.DELPREFIX %s", "");
	t_reply(redis, "0", "DBSIZE");
}

static void a_longer_key_ends_when_it_is_over(void **state)
{
	(void)state;
	put_long_key();
	t_reply(redis, "OK", "SET " LONG_KEY "/timed v PX 1");
	t_reply(redis, "OK", "SET " LONG_KEY "/bound v BIND");
	start_as(NOW, false);
	t_reply(redis, "2", "DBSIZE");
	t_reply(redis, "(nil)", "GET " LONG_KEY "/bound");
	t_reply(redis, "1", "PEXPIRE " LONG_KEY " 1");
	t_sleep_ms(5);
	t_reply(redis, "0", "EXISTS " LONG_KEY);
	t_reply(redis, "1", "DBSIZE");
}

static void a_reset_keeps_them(void **state)
{
	(void)state;
	put_long_key();
	start_as(NOW, true);
	freeReplyObject(redisCommand(redis, "RINGTAIL.RESET main"));
	is_held();
	t_reply(redis, "1", "DEL " LONG_KEY);
}

static void a_restore_brings_them_back(void **state)
{
	char *file, *said = NULL;

	(void)state;
	put_long_key();
	file = snapshot();
	assert_int_equal(t_sh(&said, "cp %s %s/backup", file, data), 0);
	free(said);
	free(file);
	t_reply(redis, "1", "DEL " LONG_KEY);
	free(snapshot());
	start_as(NOW, true);
	is_as_asked();
	freeReplyObject(redisCommand(redis, "RINGTAIL.RESTORE main %s/backup", data));
	is_held();
	t_reply(redis, "2", "RINGTAIL.DELPREFIX %s", "");
}

/* No ring of that size can take it. */
static void a_key_that_is_far_too_long_is_refused(void **state)
{
	char *file, *said = NULL;
	redisReply *reply;

	(void)state;
	t_reply(redis, "OK", "SET k v");
	t_reply(redis, "OK", "SET %s v", huge);
	file = snapshot();
	assert_int_equal(t_sh(&said, "cp %s %s/backup", file, data), 0);
	free(said);
	free(file);
	d.args[4] = "--feed";
	d.args[5] = "other,durability=os";
	start_as(SMALL, true);
	reply = redisCommand(redis, "GET k");
	assert_non_null(strstr(reply->str, "not served: its log has a key of 2000 "
					   "bytes, and keys have a quarter of the "
					   "payload at most: set size or payload so "
					   "that it is 8000 bytes or more"));
	freeReplyObject(reply);

	start_as(NOW, true);
	t_reply(redis, "1", "DEL %s", huge);
	free(snapshot());
	start_as(SMALL, true);
	reply = redisCommand(redis, "RINGTAIL.RESTORE main %s/backup", data);
	assert_int_equal(reply->type, REDIS_REPLY_ERROR);
	assert_non_null(strstr(reply->str, "a key of 2000 bytes, and 1024 is"));
	assert_non_null(strstr(reply->str, "nothing was changed"));
	freeReplyObject(reply);
	is_as_asked();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_longer_key_of_events_can_be_deleted),
		T(a_longer_key_of_a_snapshot_can_be_deleted),
		T(all_keys_can_be_deleted),
		T(a_longer_key_ends_when_it_is_over),
		T(a_reset_keeps_them),
		T(a_restore_brings_them_back),
		T(a_key_that_is_far_too_long_is_refused),
	};

	return cmocka_run_group_tests_name("daemon keys", tests, NULL, NULL);
}
