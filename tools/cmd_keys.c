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
	OPTION_SEQ,
	OPTION_NX,
	OPTION_XX,
	OPTION_IF_SEQ,
	OPTION_PREFIX,
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
	{ OPTION_SEQ, "seq", NULL, "print the seq that set it, for put --if-seq" },
	{ 0 },
};

struct get {
	const char *words[2]; /* feed, key */
	bool json, raw, seq;
};

static void parse_get(struct rt_tool *tool, struct get *ret)
{
	int n = 0, id;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		if (id == OPTION_JSON)
			ret->json = true;
		else if (id == OPTION_RAW)
			ret->raw = true;
		else if (id == OPTION_SEQ)
			ret->seq = true;
		else if (n < 2)
			ret->words[n++] = tool->args.value;
		else
			rt_usage(tool, "too many words");
	}
	if (n < 2)
		rt_usage(tool, "which feed, and which key?");
	if (ret->raw && (ret->json || ret->seq))
		rt_usage(tool, "--raw and --%s contradict each other",
			 ret->json ? "json" : "seq");
}

static void print_got(const struct get *get, const redisReply *reply)
{
	const bool seq = reply->type == REDIS_REPLY_ARRAY;
	const char *key = get->words[1];

	rt_out_init(&out, STDOUT_FILENO);
	if (get->json) {
		rt_out_text(&out, "{");
		rt_out_json_member(&out, "key", key, strlen(key));
		if (seq)
			rt_out_format(&out, ",\"seq\":%lld",
				      reply->element[0]->integer);
		else
			rt_out_text(&out, ",");
		if (!seq)
			rt_out_json_member(&out, "value", reply->str, reply->len);
		rt_out_text(&out, "}\n");
	} else if (seq) {
		rt_out_format(&out, "%lld\n", reply->element[0]->integer);
	} else {
		rt_out_bytes(&out, reply->str, reply->len);
		rt_out_text(&out, get->raw ? "" : "\n");
	}
}

static int run_get(struct rt_tool *tool)
{
	struct get get = { .json = false };

	parse_get(tool, &get);

	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	const char *command[] = { get.seq ? "RINGTAIL.SEQ" : "GET", get.words[1] };
	int r = rt_conn_open(tool, get.words[0], &conn);

	if (!r)
		r = rt_conn_command(conn, 2, command, NULL, &reply);
	if (r)
		return r;
	/* The seq of a key that is not there is 0, which is an answer. */
	if (reply->type != REDIS_REPLY_STRING &&
	    !(reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)) {
		rt_say("no key '%s' in feed '%s'", get.words[1], get.words[0]);
		return RT_EXIT_FAILED;
	}
	print_got(&get, reply);
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

/*
 * ---- put, publish ----
 */

static const struct rt_option put_options[] = {
	{ OPTION_NX, "nx", NULL, "only if there is no such key" },
	{ OPTION_XX, "xx", NULL, "only if there is one" },
	{ OPTION_IF_SEQ, "if-seq", "N",
	  "only if it was last set by seq N; 0: as --nx" },
	{ 0 },
};

struct put {
	const char *words[3]; /* feed, key, value */
	int condition;        /* an option's id; 0: none */
	const char *seq;
};

static void take_condition(struct rt_tool *tool, struct put *put, int id)
{
	uint64_t unused;

	if (put->condition && put->condition != id)
		rt_usage(tool, "--nx, --xx and --if-seq contradict each other");
	put->condition = id;
	if (id != OPTION_IF_SEQ)
		return;
	put->seq = tool->args.value;
	if (rt_parse_u64(put->seq, &unused) < 0)
		rt_usage(tool, "--if-seq takes a number, not '%s'", put->seq);
}

static void parse_put(struct rt_tool *tool, struct put *ret)
{
	int n = 0, id;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		if (id != RT_ARGS_WORD)
			take_condition(tool, ret, id);
		else if (n < 3)
			ret->words[n++] = tool->args.value;
		else
			rt_usage(tool, "too many words: '%s'", tool->args.value);
	}
	if (n < 3)
		rt_usage(tool, "too few words: it takes %s", tool->command->synopsis);
}

/* What it adds to SET; how many words. */
static int condition_words(const struct put *put, const char **ret)
{
	if (!put->condition)
		return 0;
	ret[0] = put->condition == OPTION_NX   ? "NX"
		 : put->condition == OPTION_XX ? "XX"
					       : "IFSEQ";
	ret[1] = put->seq;
	return put->seq ? 2 : 1;
}

/* SET and PUBLISH: a key and a value. */
static int send_pair(struct rt_tool *tool, const char *verb)
{
	struct put put = { .seq = NULL };
	AUTO_FREE char *input = NULL;
	int n = 3, r;

	parse_put(tool, &put);

	const char *command[5] = { verb, put.words[1], put.words[2] };
	size_t lens[5] = { strlen(verb), strlen(put.words[1]), strlen(put.words[2]) };

	if (!strcmp(put.words[2], "-")) {
		r = read_stdin(&input, &lens[2]);
		if (r < 0) {
			rt_say("cannot read standard input: %s", strerror(-r));
			return RT_EXIT_FAILED;
		}
		command[2] = input;
	}
	n += condition_words(&put, &command[3]);
	for (int i = 3; i < n; i++)
		lens[i] = strlen(command[i]);

	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;

	r = rt_conn_open(tool, put.words[0], &conn);
	if (!r)
		r = rt_conn_command(conn, n, command, lens, &reply);
	if (r || reply->type != REDIS_REPLY_NIL)
		return r;
	rt_say(put.condition == OPTION_NX ? "key '%s' of feed '%s' is there: not set"
					  : "no key '%s' in feed '%s': not set",
	       put.words[1], put.words[0]);
	return RT_EXIT_FAILED;
}

static int run_put(struct rt_tool *tool)
{
	return send_pair(tool, "SET");
}

static int run_publish(struct rt_tool *tool)
{
	return send_pair(tool, "PUBLISH");
}

/*
 * ---- del ----
 */

static const struct rt_option del_options[] = {
	{ OPTION_JSON, "json", NULL, "print {\"deleted\":N}" },
	{ OPTION_PREFIX, "prefix", "P", "all keys that begin with P; '': all keys" },
	{ OPTION_IF_SEQ, "if-seq", "N", "one key, only if it was last set by seq N" },
	{ 0 },
};

#define MAX_KEYS 4096

struct del {
	const char *words[1 + MAX_KEYS]; /* feed, keys */
	int n;                           /* words */
	bool json;
	const char *prefix, *seq;
};

static void parse_del(struct rt_tool *tool, struct del *ret)
{
	uint64_t unused;
	int id;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		if (id == OPTION_JSON)
			ret->json = true;
		else if (id == OPTION_PREFIX)
			ret->prefix = tool->args.value;
		else if (id == OPTION_IF_SEQ)
			ret->seq = tool->args.value;
		else if (ret->n <= MAX_KEYS)
			ret->words[ret->n++] = tool->args.value;
		else
			rt_usage(tool, "more than %d keys", MAX_KEYS);
	}
	if (!ret->n)
		rt_usage(tool, "too few words: it takes %s", tool->command->synopsis);
	if (ret->prefix && (ret->n > 1 || ret->seq))
		rt_usage(tool, "--prefix takes neither keys nor --if-seq beside it");
	if (!ret->prefix && ret->n < 2)
		rt_usage(tool, "which keys?");
	if (ret->seq && ret->n != 2)
		rt_usage(tool, "--if-seq goes with one key");
	if (ret->seq && rt_parse_u64(ret->seq, &unused) < 0)
		rt_usage(tool, "--if-seq takes a number, not '%s'", ret->seq);
}

static int send_del(redisContext *conn, struct del *del, redisReply **ret)
{
	const char *by_prefix[] = { "RINGTAIL.DELPREFIX", del->prefix };
	const char *by_seq[] = { "RINGTAIL.DEL", del->words[1], "IFSEQ", del->seq };

	if (del->prefix)
		return rt_conn_command(conn, 2, by_prefix, NULL, ret);
	if (del->seq)
		return rt_conn_command(conn, 4, by_seq, NULL, ret);
	del->words[0] = "DEL";
	return rt_conn_command(conn, del->n, del->words, NULL, ret);
}

static int run_del(struct rt_tool *tool)
{
	static struct del del;
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	int r;

	parse_del(tool, &del);
	r = rt_conn_open(tool, del.words[0], &conn);
	if (!r)
		r = send_del(conn, &del, &reply);
	if (r)
		return r;
	if (del.prefix && !reply->integer)
		rt_say("note: no key begins with '%s'", del.prefix);
	else if (reply->integer < del.n - 1)
		rt_say("note: %lld of %d keys were not there",
		       del.n - 1 - reply->integer, del.n - 1);
	if (!del.json)
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
	.options = put_options,
	.run = run_put,
};

const struct rt_command rt_cmd_del = {
	.name = "del",
	.synopsis = "FEED [KEY...]",
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
