/* SPDX-License-Identifier: MIT */
/*
 * cmd_trim.c - let the oldest part of a log go
 */
#include <time.h>

#include "tools/conn.h"
#include "tools/snapshot.h"

#define LOOK_EVERY_NS 20000000

/* Where history begins, and where it will as soon as a snapshot covers the rest. */
static int ask(redisContext *conn, const char *seq, long long *ret_now,
	       long long *ret_then)
{
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = { "RINGTAIL.TRIM", seq };
	int r = rt_conn_command(conn, 2, words, NULL, &reply);

	if (r)
		return r;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER ||
	    reply->element[1]->type != REDIS_REPLY_INTEGER) {
		rt_say("the daemon's answer makes no sense");
		return RT_EXIT_FAILED;
	}
	*ret_now = reply->element[0]->integer;
	*ret_then = reply->element[1]->integer;
	return 0;
}

static int run(struct rt_tool *tool)
{
	const struct timespec pause = { .tv_nsec = LOOK_EVERY_NS };
	AUTO_CONN redisContext *conn = NULL;
	const char *given[2];
	long long now = 0, then = 0;
	uint64_t seq;
	int r;

	rt_tool_words(tool, 0, NULL, given, 2, 2);
	if (rt_parse_u64(given[1], &seq) < 0)
		rt_usage(tool, "it takes a seq, not '%s'", given[1]);
	r = rt_conn_open(tool, given[0], &conn);
	if (!r)
		r = ask(conn, given[1], &now, &then);
	while (!r && now < then) {
		/* A snapshot is being made; if that fails, its error says why. */
		r = rt_snapshot_wait(conn, 0);
		if (!r)
			r = ask(conn, given[1], &now, &then);
		if (!r && now < then)
			(void)nanosleep(&pause, NULL); /* shorter is no harm */
	}
	if (r)
		return r;
	printf("the oldest event is seq %lld\n", now);
	return fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_trim = {
	.name = "trim",
	.synopsis = "FEED SEQ",
	.summary = "let go of what came before an event",
	.notes = "Ring and log begin with SEQ then, or with the first event of its\n"
		 "transaction; the state of all keys stays in a snapshot, which is "
		 "made\n"
		 "first if none covers what goes\n",
	.run = run,
};
