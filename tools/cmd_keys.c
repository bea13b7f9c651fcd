/* SPDX-License-Identifier: MIT */
/*
 * cmd_keys.c - get, put, del, publish: single keys, by way of the daemon
 */
#include <errno.h>
#include <fcntl.h>

#include "tools/conn.h"
#include "tools/out.h"

enum {
	OPTION_JSON = RT_OPTION_OWN,
	OPTION_RAW,
};

static struct rt_out out;

static int finish(void)
{
	const int r = rt_out_flush(&out);

	if (!r || r == -EPIPE)
		return RT_EXIT_DONE;
	rt_say("cannot write: %s", strerror(-r));
	return RT_EXIT_FAILED;
}

static const struct rt_option get_options[] = {
	{ OPTION_JSON, "json", NULL, "print {\"key\":...,\"value\":...}" },
	{ OPTION_RAW, "raw", NULL,
	  "print the bytes alone, without a newline after them" },
	{ 0 },
};

static int run_get(struct rt_tool *tool)
{
	const char *words[2];
	bool json = false, raw = false;
	int n = 0, id;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		if (id == OPTION_JSON)
			json = true;
		else if (id == OPTION_RAW)
			raw = true;
		else if (n < 2)
			words[n++] = tool->args.value;
		else
			rt_usage(tool, "too many words");
	}
	if (n < 2)
		rt_usage(tool, "which feed, and which key?");
	if (json && raw)
		rt_usage(tool, "--json and --raw contradict each other");

	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	const char *command[] = { "GET", words[1] };
	int r = rt_conn_open(tool, words[0], &conn);

	if (!r)
		r = rt_conn_command(conn, 2, command, NULL, &reply);
	if (r)
		return r;
	if (reply->type != REDIS_REPLY_STRING) {
		rt_say("no key '%s' in feed '%s'", words[1], words[0]);
		return RT_EXIT_FAILED;
	}
	rt_out_init(&out, STDOUT_FILENO);
	if (json) {
		rt_out_text(&out, "{");
		rt_out_json_member(&out, "key", words[1], strlen(words[1]));
		rt_out_text(&out, ",");
		rt_out_json_member(&out, "value", reply->str, reply->len);
		rt_out_text(&out, "}\n");
	} else {
		rt_out_bytes(&out, reply->str, reply->len);
		rt_out_text(&out, raw ? "" : "\n");
	}
	return finish();
}

/* All of standard input, for a value of '-'. */
static int read_stdin(char **ret, size_t *ret_len)
{
	AUTO_FREE char *buf = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		if (len == size) {
			size = size ? size * 2 : 65536;
			char *larger = realloc(buf, size);

			if (!larger)
				return -ENOMEM;
			buf = larger;
		}
		const ssize_t n = read(STDIN_FILENO, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	*ret = rt_take_ptr(&buf);
	*ret_len = len;
	return 0;
}

/* SET and PUBLISH: a key and a value. */
static int send_pair(struct rt_tool *tool, const char *verb)
{
	const char *words[3];
	AUTO_FREE char *input = NULL;

	rt_tool_words(tool, 0, NULL, words, 3, 3);

	const char *command[] = { verb, words[1], words[2] };
	size_t lens[] = { strlen(verb), strlen(words[1]), strlen(words[2]) };

	if (!strcmp(words[2], "-")) {
		const int r = read_stdin(&input, &lens[2]);

		if (r < 0) {
			rt_say("cannot read standard input: %s", strerror(-r));
			return RT_EXIT_FAILED;
		}
		command[2] = input;
	}

	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	const int r = rt_conn_open(tool, words[0], &conn);

	return r ? r : rt_conn_command(conn, 3, command, lens, &reply);
}

static int run_put(struct rt_tool *tool)
{
	return send_pair(tool, "SET");
}

static int run_publish(struct rt_tool *tool)
{
	return send_pair(tool, "PUBLISH");
}

static const struct rt_option del_options[] = {
	{ OPTION_JSON, "json", NULL, "print {\"deleted\":N}" },
	{ 0 },
};

#define MAX_KEYS 4096

static int run_del(struct rt_tool *tool)
{
	const char *words[1 + MAX_KEYS];
	bool json = false;
	const int n = rt_tool_words(tool, OPTION_JSON, &json, words, 2, 1 + MAX_KEYS);
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	int r = rt_conn_open(tool, words[0], &conn);

	words[0] = "DEL";
	if (!r)
		r = rt_conn_command(conn, n, words, NULL, &reply);
	if (r)
		return r;
	if (reply->integer < n - 1)
		rt_say("note: %lld of %d keys were not there", n - 1 - reply->integer,
		       n - 1);
	if (!json)
		return RT_EXIT_DONE;
	rt_out_init(&out, STDOUT_FILENO);
	rt_out_format(&out, "{\"deleted\":%lld}\n", reply->integer);
	return finish();
}

const struct rt_command rt_cmd_get = {
	.name = "get",
	.synopsis = "FEED KEY",
	.summary = "print the value of a key",
	.options = get_options,
	.run = run_get,
};

const struct rt_command rt_cmd_put = {
	.name = "put",
	.synopsis = "FEED KEY VALUE",
	.summary = "set a key; VALUE '-' is read from standard input",
	.run = run_put,
};

const struct rt_command rt_cmd_del = {
	.name = "del",
	.synopsis = "FEED KEY...",
	.summary = "delete keys, all in one transaction",
	.options = del_options,
	.run = run_del,
};

const struct rt_command rt_cmd_publish = {
	.name = "publish",
	.synopsis = "FEED KEY VALUE",
	.summary = "send a message: delivered, but not kept as a value",
	.run = run_publish,
};
