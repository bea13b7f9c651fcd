/* SPDX-License-Identifier: MIT */
#include "tools/conn.h"

#include <errno.h>
#include <limits.h>

static int socket_path(struct rt_tool *tool, char *ret, size_t size)
{
	const char *path = tool->socket ? tool->socket : getenv("RINGTAIL_SOCKET");
	int n;

	if (path && *path) {
		n = snprintf(ret, size, "%s", path);
	} else {
		const char *dir = rt_tool_dir(tool);

		if (!dir)
			return -ENOENT;
		n = snprintf(ret, size, "%s/ringtail.sock", dir);
	}
	if (n >= 0 && (size_t)n < size)
		return 0;
	rt_say("the path of the daemon's socket is too long");
	return -ENAMETOOLONG;
}

static int connect_failed(const char *path, const redisContext *conn)
{
	const char *why = conn ? conn->errstr : strerror(ENOMEM);
	const char *hint = "";

	if (conn && conn->err == REDIS_ERR_IO &&
	    (errno == ENOENT || errno == ECONNREFUSED))
		hint = "; is ringtaild running? (--socket and --dir say where)";
	else if (conn && conn->err == REDIS_ERR_IO && errno == EACCES)
		hint = "; the daemon's socket_mode says who may connect";
	rt_say("cannot connect to the daemon at %s: %s%s", path, why, hint);
	return RT_EXIT_FAILED;
}

int rt_conn_dial(struct rt_tool *tool, const char *feed, redisContext **ret)
{
	AUTO_CONN redisContext *conn = NULL;
	char path[PATH_MAX];

	if (strchr(feed, '/'))
		rt_usage(tool, "'%s' is a path; %s needs the name of a feed", feed,
			 tool->command->name);
	if (socket_path(tool, path, sizeof(path)) < 0)
		return RT_EXIT_FAILED;
	conn = redisConnectUnix(path);
	if (!conn || conn->err)
		return connect_failed(path, conn);
	*ret = rt_take_ptr(&conn);
	return 0;
}

int rt_conn_open(struct rt_tool *tool, const char *feed, redisContext **ret)
{
	const char *words[] = { "SELECT", feed };
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	int r = rt_conn_dial(tool, feed, &conn);

	if (!r)
		r = rt_conn_command(conn, 2, words, NULL, &reply);
	if (!r)
		*ret = rt_take_ptr(&conn);
	return r;
}

const char *rt_reply_text(const redisReply *reply)
{
	return strncmp(reply->str, "ERR ", 4) ? reply->str : reply->str + 4;
}

int rt_conn_command(redisContext *conn, int n, const char **words, const size_t *lens,
		    redisReply **ret)
{
	AUTO_REPLY redisReply *reply = redisCommandArgv(conn, n, words, lens);

	if (!reply) {
		rt_say("lost the connection to the daemon: %s", conn->errstr);
		return RT_EXIT_FAILED;
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		rt_say("%s", rt_reply_text(reply));
		return RT_EXIT_FAILED;
	}
	*ret = rt_take_ptr(&reply);
	return 0;
}
