/* SPDX-License-Identifier: MIT */
/*
 * test_resp.c - daemon/resp.c and daemon/reply.c
 */
#include "tests/support/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reply.h"
#include "daemon/resp.h"

#define MAX_QUERY 100000u

/* What a run over some bytes gave, as text: [a|b] requests, . empties, !error. */
struct transcript {
	char text[4096];
	size_t len;
	size_t unused; /* bytes of an incomplete request at the end */
};

static void note(struct transcript *t, const char *bytes, size_t len)
{
	assert_true(t->len + len < sizeof(t->text));
	memcpy(t->text + t->len, bytes, len);
	t->len += len;
	t->text[t->len] = 0;
}

static void note_request(struct transcript *t, const struct rt_resp *resp,
			 const uint8_t *buf)
{
	note(t, "[", 1);
	for (uint32_t i = 0; i < resp->n_args; i++) {
		if (i)
			note(t, "|", 1);
		note(t, (const char *)buf + resp->args[i].at, resp->args[i].len);
	}
	note(t, "]", 1);
}

/* Feeds @len bytes, @piece at a time, each time with what was left before. */
static void run(struct transcript *t, const char *bytes, size_t len, size_t piece)
{
	struct rt_resp resp;
	uint8_t *buf = malloc(len + 1);
	size_t start = 0, have = 0;
	bool bad = false;

	*t = (struct transcript){ .len = 0 };
	memcpy(buf, bytes, len);
	rt_resp_init(&resp, MAX_QUERY);
	while (have < len && !bad) {
		have = have + piece < len ? have + piece : len;
		while (start < have) {
			size_t used = 0;
			enum rt_resp_outcome r =
				rt_resp_parse(&resp, buf + start, have - start, &used);

			if (r == RT_RESP_MORE)
				break;
			bad = r == RT_RESP_BAD;
			if (bad) {
				note(t, "!", 1);
				note(t, resp.error, strlen(resp.error));
				break;
			}
			if (r == RT_RESP_REQUEST)
				note_request(t, &resp, buf + start);
			else
				note(t, ".", 1);
			assert_true(used && used <= have - start);
			start += used;
		}
	}
	t->unused = len - start;
	rt_resp_fini(&resp);
	free(buf);
}

static void gives(const char *bytes, size_t len, const char *want)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 100000 };

	for (size_t i = 0; i < T_N(pieces); i++) {
		struct transcript t;

		run(&t, bytes, len, pieces[i]);
		assert_string_equal(t.text, want);
	}
}

#define GIVES(bytes, want) gives(bytes, sizeof(bytes) - 1, want)

static void arrays_are_taken_apart(void **state)
{
	(void)state;
	GIVES("*1\r\n$4\r\nPING\r\n", "[PING]");
	GIVES("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "[SET|k|]");
	GIVES("*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", "[ECHO|\r\n\r\n]");
	GIVES("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*0\r\n", "[PING][PING].");
	GIVES("*-1\r\n*1\r\n$1\r\na\r\n", ".[a]");
	GIVES("*10\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n"
	      "$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$10\r\n0123456789\r\n",
	      "[x|x|x|x|x|x|x|x|x|0123456789]");
}

static void lines_are_taken_apart(void **state)
{
	(void)state;
	GIVES("PING\r\n", "[PING]");
	GIVES("PING\n\r\n  \r\nPING\r\n", "[PING]..[PING]");
	GIVES("  SET   k\tv  \r\n", "[SET|k|v]");
	GIVES("SET k \"a b\"\r\n", "[SET|k|a b]");
	GIVES("SET k 'a b' ''\r\n", "[SET|k|a b|]");
	GIVES("SET k \"\\x41\\x4\\n\\\"\\\\\"\r\n", "[SET|k|Ax4\n\"\\]");
	GIVES("SET k 'it\\'s \\n'\r\n", "[SET|k|it's \\n]");
	GIVES("SET k a\"b c\"\r\n", "[SET|k|ab c]");
}

static void half_a_request_waits(void **state)
{
	static const char whole[] = "*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n";
	struct transcript t;

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		run(&t, whole, len, len ? len : 1);
		assert_string_equal(t.text, "");
		assert_int_equal(t.unused, len);
	}
}

/* @n arguments of @len bytes; returns how long the request is. */
static size_t build(char *to, unsigned n, unsigned len)
{
	size_t at = (size_t)sprintf(to, "*%u\r\n", n);

	for (unsigned i = 0; i < n; i++) {
		at += (size_t)sprintf(to + at, "$%u\r\n", len);
		memset(to + at, (int)('a' + i), len);
		memcpy(to + at + len, "\r\n", 2);
		at += len + 2;
	}
	return at;
}

/* The outcome of @len bytes that come at once, with none behind them. */
static enum rt_resp_outcome outcome(struct rt_resp *resp, uint32_t max_query,
				    const char *bytes, size_t len)
{
	uint8_t *buf = malloc(len);
	enum rt_resp_outcome r;
	size_t used = 0;

	memcpy(buf, bytes, len);
	rt_resp_init(resp, max_query);
	r = rt_resp_parse(resp, buf, len, &used);
	assert_int_equal(used, r == RT_RESP_REQUEST ? len : 0);
	for (uint32_t i = 0; i < resp->n_args && r == RT_RESP_REQUEST; i++) {
		assert_true(resp->args[i].len > 0);
		assert_int_equal(buf[resp->args[i].at], 'a' + i);
		assert_memory_equal(&buf[resp->args[i].at + resp->args[i].len], "\r\n",
				    2);
	}
	assert_true(resp->n_args <= resp->cap_args);
	free(buf);
	return r;
}

static void a_request_is_one_with_its_last_byte(void **state)
{
	static const unsigned lens[] = { 1, 9, 10, 99, 100, 999, 1000 };
	static const unsigned ns[] = { 1, 3, 8, 9, 10 };
	char bytes[16384];
	struct rt_resp resp;

	(void)state;
	for (unsigned i = 0; i < T_N(lens) * T_N(ns); i++) {
		unsigned n = ns[i % T_N(ns)], len = lens[i / T_N(ns)];
		size_t size = build(bytes, n, len);

		for (size_t cut = 1; cut < size; cut += cut < 64 ? 1 : 7) {
			assert_int_equal(outcome(&resp, MAX_QUERY, bytes, cut),
					 RT_RESP_MORE);
			rt_resp_fini(&resp);
		}
		for (size_t cut = size - 1; cut && cut + 10 > size; cut--) {
			assert_int_equal(outcome(&resp, MAX_QUERY, bytes, cut),
					 RT_RESP_MORE);
			rt_resp_fini(&resp);
		}
		assert_int_equal(outcome(&resp, (uint32_t)size, bytes, size),
				 RT_RESP_REQUEST);
		assert_int_equal(resp.n_args, n);
		assert_int_equal(resp.args[n - 1].len, len);
		rt_resp_fini(&resp);
		assert_int_equal(outcome(&resp, (uint32_t)size - 1, bytes, size),
				 RT_RESP_BAD);
		rt_resp_fini(&resp);
	}
}

static void what_is_not_the_protocol_is_refused(void **state)
{
	(void)state;
	GIVES("*2\r\n$1\r\na\r\n#1\r\nb\r\n", "!Protocol error: expected '$', got '#'");
	GIVES("*2\r\n$1\r\na\r\n$01\r\nb\r\n", "!Protocol error: invalid bulk length");
	GIVES("*01\r\n$1\r\na\r\n", "!Protocol error: invalid multibulk length");
	GIVES("*x\r\n", "!Protocol error: invalid multibulk length");
	GIVES("*9999999\r\n", "!Protocol error: invalid multibulk length");
	GIVES("*12345678901234567890123456789012345",
	      "!Protocol error: invalid multibulk length");
	GIVES("*1\r\nPING\r\n", "!Protocol error: expected '$', got 'P'");
	GIVES("*1\r\n\x01\r\n", "!Protocol error: expected '$', got '?'");
	GIVES("*1\r\n$-1\r\n", "!Protocol error: invalid bulk length");
	GIVES("*1\r\n$1x\r\n", "!Protocol error: invalid bulk length");
	GIVES("*1\r\n$18446744073709551617\r\n",
	      "!Protocol error: invalid bulk length");
	GIVES("SET \"a\r\n", "!Protocol error: unbalanced quotes in request");
	GIVES("SET \"a\"b\r\n", "!Protocol error: unbalanced quotes in request");
	GIVES("SET 'a\\\r\n", "!Protocol error: unbalanced quotes in request");
}

static void a_request_over_the_limit_is_refused_at_once(void **state)
{
	(void)state;
	GIVES("*1\r\n$99999\r\n", "!request is larger than 100000 bytes (max_query)");
	GIVES("*1\r\n$536870912\r\n",
	      "!request is larger than 100000 bytes (max_query)");
}

static void a_line_over_the_limit_is_refused(void **state)
{
	struct transcript t;
	char *line = malloc(70000);

	(void)state;
	memset(line, 'x', 70000);
	run(&t, line, 70000, 16384);
	assert_string_equal(t.text, "!Protocol error: too big inline request");
	line[65535] = '\n';
	run(&t, line, 65000, 16384);
	assert_string_equal(t.text, "");
	free(line);
}

static void numbers_are_read_as_redis_reads_them(void **state)
{
	static const struct {
		const char *text;
		bool fine;
		int64_t value;
	} cases[] = {
		{ "0", true, 0 },
		{ "7", true, 7 },
		{ "-7", true, -7 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 },
		{ "-9223372036854775809", false, 0 },
		{ "99999999999999999999", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ "+1", false, 0 },
		{ "01", false, 0 },
		{ "-0", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "1a", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < T_N(cases); i++) {
		int64_t value = 0;
		bool fine = rt_parse_int((const uint8_t *)cases[i].text,
					 strlen(cases[i].text), &value);

		assert_int_equal(fine, cases[i].fine);
		assert_true(value == cases[i].value);
	}
}

static void reply_is(struct rt_reply *reply, const char *want)
{
	assert_int_equal(reply->buf.len, strlen(want));
	assert_memory_equal(reply->buf.data, want, strlen(want));
	rt_buf_clear(&reply->buf);
}

static void replies_have_the_form_of_their_version(void **state)
{
	struct rt_reply reply = { .buf.limit = 10000, .version = 2 };

	(void)state;
	rt_reply_int(&reply, INT64_MIN);
	rt_reply_int(&reply, 0);
	reply_is(&reply, ":-9223372036854775808\r\n:0\r\n");
	rt_reply_bulk(&reply, "a\0b", 3);
	assert_memory_equal(reply.buf.data, "$3\r\na\0b\r\n", 9);
	rt_buf_clear(&reply.buf);
	rt_reply_error(&reply, "ERR %s", "two\r\nlines");
	reply_is(&reply, "-ERR two  lines\r\n");
	rt_reply_map(&reply, 2);
	rt_reply_null(&reply);
	rt_reply_null_array(&reply);
	rt_reply_verbatim(&reply, "text", 4);
	reply_is(&reply, "*4\r\n$-1\r\n*-1\r\n$4\r\ntext\r\n");

	reply.version = 3;
	rt_reply_map(&reply, 2);
	rt_reply_null(&reply);
	rt_reply_null_array(&reply);
	rt_reply_verbatim(&reply, "text", 4);
	reply_is(&reply, "%2\r\n_\r\n_\r\n=8\r\ntxt:text\r\n");
	rt_buf_free(&reply.buf);
}

static void a_buffer_stops_at_its_limit(void **state)
{
	struct rt_buf buf = { .limit = 5000 };
	uint8_t bytes[4000] = { 1 };
	volatile size_t absurd = SIZE_MAX - 10;

	(void)state;
	assert_true(rt_buf_add(&buf, bytes, 4000));
	assert_false(rt_buf_add(&buf, bytes, 4000));
	assert_true(buf.overflow);
	assert_int_equal(buf.len, 4000);
	assert_true(rt_buf_add(&buf, bytes, 1000));
	assert_false(rt_buf_add(&buf, bytes, absurd));
	rt_buf_shift(&buf, 4999);
	assert_int_equal(buf.len, 1);
	rt_buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(arrays_are_taken_apart),
		T0(lines_are_taken_apart),
		T0(half_a_request_waits),
		T0(a_request_is_one_with_its_last_byte),
		T0(what_is_not_the_protocol_is_refused),
		T0(a_request_over_the_limit_is_refused_at_once),
		T0(a_line_over_the_limit_is_refused),
		T0(numbers_are_read_as_redis_reads_them),
		T0(replies_have_the_form_of_their_version),
		T0(a_buffer_stops_at_its_limit),
	};

	return cmocka_run_group_tests_name("resp", tests, NULL, NULL);
}
