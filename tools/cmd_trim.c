/* SPDX-License-Identifier: MIT */
/*
 * cmd_trim.c - let the oldest part of a log go
 */
#include "tools/conn.h"

static int run(struct rt_tool *tool)
{
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	const char *given[2];
	uint64_t seq;
	int r;

	rt_tool_words(tool, 0, NULL, given, 2, 2);
	if (rt_parse_u64(given[1], &seq) < 0)
		rt_usage(tool, "it takes a seq, not '%s'", given[1]);
	r = rt_conn_open(tool, given[0], &conn);
	if (!r) {
		const char *words[] = { "RINGTAIL.TRIM", given[1] };

		r = rt_conn_command(conn, 2, words, NULL, &reply);
	}
	if (r)
		return r;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER ||
	    reply->element[1]->type != REDIS_REPLY_INTEGER) {
		rt_say("the daemon's answer makes no sense");
		return RT_EXIT_FAILED;
	}
	printf("%lld segment%s dropped; the log begins with seq %lld\n",
	       reply->element[0]->integer, reply->element[0]->integer == 1 ? "" : "s",
	       reply->element[1]->integer);
	return fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_trim = {
	.name = "trim",
	.synopsis = "FEED SEQ",
	.summary = "drop what the log has before an event",
	.notes = "Whole segments go, those with nothing from SEQ on.  A key whose last "
		 "change\n"
		 "goes with them is no longer known after a restart of the daemon\n",
	.run = run,
};
