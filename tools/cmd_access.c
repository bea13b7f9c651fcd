/* SPDX-License-Identifier: MIT */
/*
 * cmd_access.c - who may read a feed: chmod and chown
 */
#include "tools/conn.h"

/* Words as the coreutils have them: what first, then whose. */
static int change(struct rt_tool *tool, const char *command)
{
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	const char *given[2];
	int r;

	rt_tool_words(tool, 0, NULL, given, 2, 2);
	r = rt_conn_dial(tool, given[1], &conn);
	if (!r) {
		const char *words[] = { command, given[1], given[0] };

		r = rt_conn_command(conn, 3, words, NULL, &reply);
	}
	return r;
}

static int run_chmod(struct rt_tool *tool)
{
	return change(tool, "RINGTAIL.CHMOD");
}

static int run_chown(struct rt_tool *tool)
{
	return change(tool, "RINGTAIL.CHOWN");
}

#define NOTES \
	"The feed moves to a new ring file: readers that may open it follow and " \
	"lose\n" \
	"nothing, others get \"permission denied\".  Log and snapshots follow.  For " \
	"root\n" \
	"and the daemon's user.  A restart, or SIGHUP, brings back what is " \
	"configured\n"

const struct rt_command rt_cmd_chmod = {
	.name = "chmod",
	.synopsis = "MODE FEED",
	.summary = "change the mode of a feed that is being served",
	.notes = NOTES,
	.run = run_chmod,
};

const struct rt_command rt_cmd_chown = {
	.name = "chown",
	.synopsis = "OWNER[:GROUP] FEED",
	.summary = "change the owner of a feed that is being served",
	.notes = NOTES,
	.run = run_chown,
};
