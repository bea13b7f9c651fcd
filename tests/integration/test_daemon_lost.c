/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_lost.c - a real daemon on a disk that is slow and fails: who is told what
 *                      of changes that several connections wait for
 */
#include "tests/integration/diskrig.h"

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

/* A segment with nothing in it is replaced by the next, of the same name. */
static void nothing_is_written_where_nobody_finds_it(void **state)
{
	redisReply *reply;
	char *said = NULL;
	bool taken;

	(void)state;
	start();
	t_reply(one, "OK", "RINGTAIL.CHMOD main 0644");
	begin_fault("fsync", "/main");
	(void)redisAppendCommand(other, "RINGTAIL.CHMOD main 0640");
	send_now(other);
	expect(other, "-ERR feed 'main'");
	end_fault("fsync");
	reply = redisCommand(one, "SET k new");
	assert_non_null(reply);
	taken = reply->type == REDIS_REPLY_STATUS;
	freeReplyObject(reply);
	t_daemon_kill(&d);
	assert_int_equal(t_sh(&said, "rm -r %s/main", d.dir), 0); /* else it helps */
	free(said);
	t_daemon_restart(&d);
	redisFree(one);
	one = t_daemon_connect(&d);
	t_reply(one, taken ? "new" : "old", "GET k");
	t_reply(one, "OK", "SET k newest");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(those_who_wait_are_told_before_a_reset),
		T(what_has_landed_is_told_before_a_loss),
		T(a_restore_does_not_make_lost_changes_good),
		T(a_snapshot_whose_flush_fails_stops_that_feed_alone),
		T(nothing_is_written_where_nobody_finds_it),
	};

	RUN_ON_DISK("daemon_lost", tests);
}
