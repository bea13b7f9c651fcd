/* SPDX-License-Identifier: MIT */
#include "daemon/resp.h"

void rt_resp_init(struct rt_resp *resp, uint32_t max_query)
{
	*resp = (struct rt_resp){
		.cap_args = RT_RESP_ARGS_HELD,
		.max_query = max_query,
		.done = true,
	};
	resp->args = resp->held;
}

void rt_resp_fini(struct rt_resp *resp)
{
	if (resp->args != resp->held)
		free(resp->args);
	rt_resp_init(resp, resp->max_query);
}

static void restart(struct rt_resp *resp)
{
	if (RT_UNLIKELY(resp->args != resp->held))
		rt_resp_fini(resp);
	resp->n_args = 0;
	resp->n_wanted = 0;
	resp->at = 0;
	resp->bulk_len = -1;
	resp->done = false;
}

#define bad(resp, ...) \
	((void)snprintf((resp)->error, sizeof((resp)->error), __VA_ARGS__), RT_RESP_BAD)

RT_COLD static enum rt_resp_outcome too_large(struct rt_resp *resp)
{
	return bad(resp, "request is larger than %u bytes (max_query)",
		   resp->max_query);
}

static bool add_arg(struct rt_resp *resp, size_t at, size_t len)
{
	if (RT_UNLIKELY(resp->n_args == resp->cap_args)) {
		uint32_t cap = resp->cap_args * 2;
		bool held = resp->args == resp->held;
		struct rt_span *args;

		assert(cap > 0); /* it begins with what is held in place */
		args = realloc(held ? NULL : resp->args, cap * sizeof(*args));
		if (!args)
			return false;
		if (held)
			memcpy(args, resp->held, sizeof(resp->held));
		resp->args = args;
		resp->cap_args = cap;
	}
	resp->args[resp->n_args++] =
		(struct rt_span){ .at = (uint32_t)at, .len = (uint32_t)len };
	return true;
}

bool rt_parse_int(const uint8_t *text, size_t len, int64_t *ret)
{
	bool negative = len && text[0] == '-';
	uint64_t value = 0, max = (uint64_t)INT64_MAX + negative;
	size_t i = negative;

	if (i == len || len > 20 || (text[i] == '0' && len > 1))
		return false;
	for (; i < len; i++) {
		uint64_t digit = (uint64_t)text[i] - '0';

		if (digit > 9 || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*ret = (int64_t)(negative ? 0 - value : value);
	return true;
}

/*
 * The number in a line "Xnumber\r\n" that starts at @at with its X.  Returns 1 with
 * *@ret_end behind the line, 0 when the line is incomplete, -1 when no number is
 * there or the line cannot be one.
 */
static int number_line(const uint8_t *buf, size_t len, size_t at, int64_t *ret,
		       size_t *ret_end)
{
	size_t end = at + 1;

	/* The usual one: few digits, all there. */
	if (RT_LIKELY(len - at > 4 && (uint8_t)(buf[at + 1] - '1') < 9)) {
		int64_t value = 0;

		while (end < len && end < at + 8 && (uint8_t)(buf[end] - '0') < 10)
			value = value * 10 + (buf[end++] - '0');
		if (RT_LIKELY(end + 1 < len && buf[end] == '\r')) {
			*ret = value;
			*ret_end = end + 2;
			return 1;
		}
		end = at + 1;
	}
	while (end < len && buf[end] != '\r')
		if (++end - at > 32)
			return -1;
	if (end + 1 >= len)
		return 0;
	if (!rt_parse_int(buf + at + 1, end - at - 1, ret))
		return -1;
	*ret_end = end + 2;
	return 1;
}

/* One argument of an array: its length, then its bytes. */
static enum rt_resp_outcome parse_bulk(struct rt_resp *resp, const uint8_t *buf,
				       size_t len)
{
	size_t at = resp->at;

	if (resp->bulk_len < 0) {
		int64_t bulk_len = 0;
		int r;

		if (at >= len)
			return RT_RESP_MORE;
		if (buf[at] != '$')
			return bad(resp, "Protocol error: expected '$', got '%c'",
				   buf[at] >= ' ' && buf[at] < 127 ? buf[at] : '?');
		r = number_line(buf, len, at, &bulk_len, &at);
		if (!r)
			return RT_RESP_MORE;
		if (r < 0 || bulk_len < 0 || bulk_len > INT64_C(512) << 20)
			return bad(resp, "Protocol error: invalid bulk length");
		if (at + (uint64_t)bulk_len + 2 > resp->max_query)
			return too_large(resp);
		resp->bulk_len = bulk_len;
		resp->at = (uint32_t)at;
	}
	if (len - at < (size_t)resp->bulk_len + 2)
		return RT_RESP_MORE;
	if (!add_arg(resp, at, (size_t)resp->bulk_len))
		return bad(resp, "out of memory");
	/* Like Redis, no look at the two bytes that end the argument. */
	resp->at = (uint32_t)(at + (size_t)resp->bulk_len + 2);
	resp->bulk_len = -1;
	return RT_RESP_REQUEST;
}

static enum rt_resp_outcome parse_array(struct rt_resp *resp, const uint8_t *buf,
					size_t len)
{
	if (!resp->n_wanted) {
		int64_t n = 0;
		size_t end = 0;
		int r = number_line(buf, len, 0, &n, &end);

		if (!r)
			return RT_RESP_MORE;
		if (r < 0 || n > RT_RESP_ARGS_MAX)
			return bad(resp, "Protocol error: invalid multibulk length");
		resp->at = (uint32_t)end;
		if (n <= 0)
			return RT_RESP_EMPTY;
		resp->n_wanted = (uint32_t)n;
	}
	while (resp->n_args < resp->n_wanted) {
		enum rt_resp_outcome r = parse_bulk(resp, buf, len);

		if (r != RT_RESP_REQUEST)
			return r;
	}
	return RT_RESP_REQUEST;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0;
}

/*
 * What a backslash within double quotes stands for: *@at is behind the backslash
 * and moves over what was read.
 */
static uint8_t unescape(const uint8_t *line, size_t len, size_t *at)
{
	uint8_t c = line[(*at)++];

	if (c == 'x' && len - *at >= 2 && hex_digit(line[*at]) >= 0 &&
	    hex_digit(line[*at + 1]) >= 0) {
		*at += 2;
		return (uint8_t)(hex_digit(line[*at - 2]) * 16 +
				 hex_digit(line[*at - 1]));
	}
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	default:
		return c;
	}
}

/*
 * A quoted part from behind its opening @quote at *@at, written to *@to.  False when
 * it does not end, or ends in the middle of a word.
 */
static bool unquote(uint8_t *line, size_t len, uint8_t quote, size_t *at, size_t *to)
{
	while (*at < len) {
		uint8_t c = line[(*at)++];

		if (c == quote)
			return *at == len || is_blank(line[*at]);
		if (c == '\\' && quote == '"' && *at < len)
			c = unescape(line, len, at);
		else if (c == '\\' && *at < len && line[*at] == '\'')
			c = line[(*at)++];
		line[(*to)++] = c;
	}
	return false;
}

static enum rt_resp_outcome split_line(struct rt_resp *resp, uint8_t *line, size_t len)
{
	size_t at = 0;

	for (;;) {
		size_t start, to;

		while (at < len && is_blank(line[at]))
			at++;
		if (at == len)
			break;
		start = to = at;
		while (at < len && !is_blank(line[at])) {
			uint8_t c = line[at++];

			if (c != '"' && c != '\'')
				line[to++] = c;
			else if (!unquote(line, len, c, &at, &to))
				return bad(
					resp,
					"Protocol error: unbalanced quotes in request");
		}
		if (!add_arg(resp, start, to - start))
			return bad(resp, "out of memory");
	}
	return resp->n_args ? RT_RESP_REQUEST : RT_RESP_EMPTY;
}

static enum rt_resp_outcome parse_line(struct rt_resp *resp, uint8_t *buf, size_t len)
{
	const uint8_t *newline = memchr(buf + resp->at, '\n', len - resp->at);
	size_t line_len;

	line_len = newline ? (size_t)(newline - buf) : len;
	if (line_len > rt_min(RT_RESP_INLINE_MAX, resp->max_query))
		return bad(resp, "Protocol error: too big inline request");
	resp->at = (uint32_t)(newline ? line_len + 1 : len);
	if (!newline)
		return RT_RESP_MORE;
	return split_line(resp, buf, line_len);
}

/*
 * The number of up to three digits in the line that starts at @at; returns what is
 * behind the line, or NULL if that takes a closer look.
 */
RT_INLINE const uint8_t *small_number(const uint8_t *at, const uint8_t *end,
				      uint32_t *ret)
{
	uint32_t value, digit;

	if (RT_UNLIKELY(end - at < 6))
		return NULL;
	value = at[1] - (uint32_t)'0';
	if (RT_UNLIKELY(value - 1 > 8))
		return NULL;
	at += 2;
	for (unsigned i = 0; i < 2 && (digit = *at - (uint32_t)'0') <= 9; i++, at++)
		value = value * 10 + digit;
	*ret = value;
	return RT_LIKELY(*at == '\r') ? at + 2 : NULL;
}

/* A request as most are: an array of a few short strings that are all there. */
static bool parse_usual(struct rt_resp *resp, const uint8_t *buf, size_t len)
{
	const uint8_t *end = buf + len, *at;
	uint32_t n;

	at = small_number(buf, end, &n);
	if (!at || n > RT_RESP_ARGS_HELD)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t arg_len;

		if (at >= end || *at != '$')
			return false;
		at = small_number(at, end, &arg_len);
		if (!at || (size_t)(end - at) < (size_t)arg_len + 2)
			return false;
		resp->held[i] = (struct rt_span){ (uint32_t)(at - buf), arg_len };
		at += arg_len + 2;
	}
	if ((size_t)(at - buf) > resp->max_query)
		return false;
	resp->n_args = n;
	resp->at = (uint32_t)(at - buf);
	return true;
}

enum rt_resp_outcome rt_resp_parse(struct rt_resp *resp, uint8_t *buf, size_t len,
				   size_t *ret_used)
{
	bool begins = resp->done;
	enum rt_resp_outcome r;

	if (begins)
		restart(resp);
	if (!len)
		return RT_RESP_MORE;
	if (buf[0] != '*')
		r = parse_line(resp, buf, len);
	else if (RT_LIKELY(begins) && parse_usual(resp, buf, len))
		r = RT_RESP_REQUEST;
	else
		r = parse_array(resp, buf, len);
	if (r == RT_RESP_REQUEST || r == RT_RESP_EMPTY) {
		resp->done = true;
		*ret_used = resp->at;
	}
	return r;
}
