/* SPDX-License-Identifier: MIT */
/*
 * diskrig.h - a daemon with two feeds on a disk that is slow and fails when told to, as
 *             tests/support/failing_disk.c has it, and two clients
 */
#ifndef RINGTAIL_TESTS_INTEGRATION_DISKRIG_H
#define RINGTAIL_TESTS_INTEGRATION_DISKRIG_H

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

static void use_disk(void)
{
	(void)setenv("T_FAILING_DISK", faults, 1);
	(void)setenv("LD_PRELOAD", getenv("RINGTAIL_TEST_FAILING_DISK"), 1);
}

static void start(void)
{
	use_disk();
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

#define RUN_ON_DISK(name, tests) \
	do { \
		if (!getenv("RINGTAIL_TEST_FAILING_DISK")) \
			t_skip_all("no disk that fails: a sanitizer has to be " \
				   "loaded first"); \
		return cmocka_run_group_tests_name(name, tests, NULL, NULL); \
	} while (0)

#endif
