/* SPDX-License-Identifier: MIT */
/*
 * cmd_snapshot.c - have a snapshot made, and wait for it
 */
#include <time.h>

#include "tools/snapshot.h"
#include "tools/units.h"

#define LOOK_EVERY_NS 20000000

static void take_pair(const char *name, const redisReply *value,
		      struct rt_snapshot_status *ret)
{
	const struct {
		const char *name;
		long long *to;
	} numbers[] = {
		{ "asked", &ret->asked }, { "answered", &ret->answered },
		{ "seq", &ret->seq },     { "keys", &ret->keys },
		{ "bytes", &ret->bytes }, { "duration_us", &ret->duration_us },
	};

	if (value->type == REDIS_REPLY_STRING && !strcmp(name, "state"))
		ret->running = !strcmp(value->str, "running");
	if (value->type == REDIS_REPLY_STRING && !strcmp(name, "error"))
		(void)snprintf(ret->error, sizeof(ret->error), "%s", value->str);
	for (size_t i = 0; i < RT_N(numbers); i++)
		if (value->type == REDIS_REPLY_INTEGER &&
		    !strcmp(name, numbers[i].name))
			*numbers[i].to = value->integer;
}

int rt_snapshot_ask(redisContext *conn, bool look, struct rt_snapshot_status *ret)
{
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = { "RINGTAIL.SNAPSHOT", "STATUS" };
	int r = rt_conn_command(conn, look ? 2 : 1, words, NULL, &reply);

	if (r)
		return r;
	*ret = (struct rt_snapshot_status){ 0 };
	if (reply->type != REDIS_REPLY_ARRAY) {
		rt_say("the daemon's answer makes no sense");
		return RT_EXIT_FAILED;
	}
	for (size_t i = 0; i + 1 < reply->elements; i += 2)
		if (reply->element[i]->type == REDIS_REPLY_STRING)
			take_pair(reply->element[i]->str, reply->element[i + 1], ret);
	return 0;
}

static int wait_for(redisContext *conn, long long number,
		    struct rt_snapshot_status *ret)
{
	const struct timespec pause = { .tv_nsec = LOOK_EVERY_NS };
	int r;

	while (!(r = rt_snapshot_ask(conn, true, ret)) &&
	       (number ? ret->answered < number : ret->running))
		(void)nanosleep(&pause, NULL); /* shorter is no harm */
	if (!r && ret->error[0]) {
		rt_say("no snapshot: %s", ret->error);
		return RT_EXIT_FAILED;
	}
	return r;
}

int rt_snapshot_wait(redisContext *conn, long long number)
{
	struct rt_snapshot_status unused;

	return wait_for(conn, number, &unused);
}

static int run(struct rt_tool *tool)
{
	AUTO_CONN redisContext *conn = NULL;
	struct rt_snapshot_status status;
	const char *feed;
	int r;

	rt_tool_words(tool, 0, NULL, &feed, 1, 1);
	r = rt_conn_open(tool, feed, &conn);
	if (!r)
		r = rt_snapshot_ask(conn, false, &status);
	if (!r)
		r = wait_for(conn, status.asked, &status);
	if (r)
		return r;
	printf("seq %lld: %lld key%s, %s, in %s\n", status.seq, status.keys,
	       status.keys == 1 ? "" : "s", rt_size_words((uint64_t)status.bytes).text,
	       rt_span_words((uint64_t)status.duration_us * 1000).text);
	return fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_snapshot = {
	.name = "snapshot",
	.synopsis = "FEED",
	.summary = "have the daemon make a snapshot now",
	.notes = "Waits for it, and says of which seq it is, its keys, size and how "
		 "long it\n"
		 "took.  One that was damaged is replaced\n",
	.run = run,
};
