/* SPDX-License-Identifier: MIT */
/*
 * conn.h - a connection to the daemon, for commands that change a feed
 */
#ifndef RINGTAIL_TOOLS_CONN_H
#define RINGTAIL_TOOLS_CONN_H

#include <hiredis/hiredis.h>

#include "tools/tool.h"

/*
 * Connects and selects @feed.  Returns 0 and the connection, or an exit code after a
 * message.
 */
int rt_conn_open(struct rt_tool *tool, const char *feed, redisContext **ret);

/* Only connects: for feeds that are not served.  @feed is checked to be a name. */
int rt_conn_dial(struct rt_tool *tool, const char *feed, redisContext **ret);

/*
 * One command and its reply.  Returns 0 and the reply, or an exit code after a
 * message, which for an error reply is the daemon's text.
 */
int rt_conn_command(redisContext *conn, int n, const char **words, const size_t *lens,
		    redisReply **ret);

/* The text of an error reply without its code word, when that is only "ERR". */
const char *rt_reply_text(const redisReply *reply);

static inline void rt_close_conn(redisContext **conn)
{
	if (*conn)
		redisFree(*conn);
}

static inline void rt_free_reply(redisReply **reply)
{
	if (*reply)
		freeReplyObject(*reply);
}

#define AUTO_CONN  AUTO(rt_close_conn)
#define AUTO_REPLY AUTO(rt_free_reply)

#endif
