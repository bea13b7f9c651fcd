/* SPDX-License-Identifier: MIT */
/*
 * ringtaild as a publisher: requests go over its socket, by hiredis.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The least there is: segments of a log come and go in a test. */
#define SEGMENT_SIZE 65536u

/* A refusal for its size says which limit was passed. */
static int result_of(redisContext *redis, redisReply *reply)
{
	int result = 0;

	if (!reply)
		fail_msg("ringtaild does not answer: %s", redis->errstr);
	if (reply->type == REDIS_REPLY_ERROR) {
		result = strstr(reply->str, "limit") || strstr(reply->str, "too large")
				 ? RINGTAIL_E_TOO_BIG
				 : -EINVAL;
		if (!strncmp(reply->str, "EXECABORT", 9))
			result = RINGTAIL_E_TOO_BIG;
	}
	freeReplyObject(reply);
	return result;
}

static int command(struct t_feed *feed, const char *text)
{
	return result_of(feed->redis, redisCommand(feed->redis, text));
}

static void start_with(struct t_feed *feed, const char *durability)
{
	const struct t_ring *ring = &feed->ring;
	int n = snprintf(feed->spec, sizeof(feed->spec),
			 "%s,slots=%u,payload=%u,max_key=%u,max_value=%u,wake=%s,"
			 "segment=%u,durability=%s,retain_bytes=0",
			 T_FEED, ring->n_slots, ring->payload_size, ring->max_key,
			 ring->max_value,
			 ring->wake_mode == RINGTAIL_WAKE_ALWAYS ? "always" : "bell",
			 SEGMENT_SIZE, durability);

	assert_true(n > 0 && (size_t)n < sizeof(feed->spec));
	if (!feed->daemon.dir) {
		/* In the folder that readers already may wait for. */
		feed->daemon.dir = feed->dir;
		feed->daemon.socket = strdup(t_path(feed->dir, "ringtail.sock"));
		feed->daemon.log = strdup(t_path(feed->dir, "ringtaild.log"));
		feed->daemon.args[0] = "--feed";
		feed->daemon.args[1] = feed->spec;
	}
	t_daemon_restart(&feed->daemon);
	feed->redis = t_daemon_connect(&feed->daemon);
}

static void daemon_start(struct t_feed *feed)
{
	start_with(feed, "none");
}

static void logging_start(struct t_feed *feed)
{
	start_with(feed, "memory");
}

static int daemon_begin(struct t_feed *feed)
{
	return command(feed, "MULTI");
}

static int daemon_add(struct t_feed *feed, uint32_t op, const void *key, size_t key_len,
		      const void *value, size_t value_len, uint32_t flags)
{
	static const char *const names[] = { "", "SET", "DEL", "PUBLISH" };
	const char *argv[] = { names[op], key, value_len ? value : "" };
	size_t lens[] = { strlen(names[op]), key_len, value_len };
	int argc = op == RINGTAIL_DELETE ? 2 : 3;

	(void)flags; /* ringtaild knows which keys are new */
	return result_of(feed->redis, redisCommandArgv(feed->redis, argc, argv, lens));
}

static int daemon_commit(struct t_feed *feed)
{
	return command(feed, "EXEC");
}

static int daemon_abort(struct t_feed *feed)
{
	return command(feed, "DISCARD");
}

static void daemon_marker(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE])
{
	redisReply *reply = redisCommand(feed->redis, "RINGTAIL.MARKER");

	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_STRING);
	assert_int_equal(reply->len, RINGTAIL_MARKER_SIZE - 1);
	memcpy(ret, reply->str, RINGTAIL_MARKER_SIZE);
	freeReplyObject(reply);
}

static uint64_t daemon_seq(struct t_feed *feed)
{
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t seq = 0;

	daemon_marker(feed, marker);
	t_ok(ringtail_marker_parse(marker, &seq, NULL));
	return seq;
}

static void daemon_close(struct t_feed *feed)
{
	redisFree(feed->redis);
	feed->redis = NULL;
	assert_int_equal(t_daemon_stop(&feed->daemon), 0);
}

static void daemon_kill(struct t_feed *feed)
{
	redisFree(feed->redis);
	feed->redis = NULL;
	t_daemon_kill(&feed->daemon);
}

const struct t_publisher t_daemon_publisher = {
	.name = "daemon",
	.start = daemon_start,
	.begin = daemon_begin,
	.add = daemon_add,
	.commit = daemon_commit,
	.abort = daemon_abort,
	.seq = daemon_seq,
	.marker = daemon_marker,
	.close = daemon_close,
	.kill = daemon_kill,
};

const struct t_publisher t_logging_publisher = {
	.name = "daemon with a log",
	.start = logging_start,
	.begin = daemon_begin,
	.add = daemon_add,
	.commit = daemon_commit,
	.abort = daemon_abort,
	.seq = daemon_seq,
	.marker = daemon_marker,
	.close = daemon_close,
	.kill = daemon_kill,
};
