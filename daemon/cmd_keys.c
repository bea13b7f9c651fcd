/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"

/*
 * ---- Questions ---------------------------------------------------------------
 */

void rt_reply_entry(struct rt_session *session, const struct rt_entry *entry)
{
	if (entry)
		rt_reply_bulk(&session->reply, rt_entry_value(entry), entry->value_len);
	else
		rt_reply_null(&session->reply);
}

static const struct rt_entry *find(const struct rt_session *session,
				   const struct rt_request *request, uint32_t i)
{
	struct rt_arg key = rt_arg(request, i);

	rt_expect_keys(session, request, i, 1);
	return rt_feed_get(session->feed, key.ptr, key.len);
}

void rt_cmd_get(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_entry(session, find(session, request, 1));
}

void rt_cmd_mget(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_array(&session->reply, request->n - 1);
	for (uint32_t i = 1; i < request->n; i++)
		rt_reply_entry(session, find(session, request, i));
}

/* What IFSEQ compares with. */
void rt_cmd_ringtail_seq(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_array(&session->reply, request->n - 1);
	for (uint32_t i = 1; i < request->n; i++) {
		const struct rt_entry *entry = find(session, request, i);

		rt_reply_int(&session->reply, entry ? (int64_t)entry->seq : 0);
	}
}

void rt_cmd_exists(struct rt_session *session, const struct rt_request *request)
{
	int64_t n = 0;

	for (uint32_t i = 1; i < request->n; i++)
		n += find(session, request, i) != NULL;
	rt_reply_int(&session->reply, n);
}

void rt_cmd_strlen(struct rt_session *session, const struct rt_request *request)
{
	const struct rt_entry *entry = find(session, request, 1);

	rt_reply_int(&session->reply, entry ? entry->value_len : 0);
}

void rt_cmd_type(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_status(&session->reply, find(session, request, 1) ? "string" : "none");
}

void rt_cmd_dbsize(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_reply_int(&session->reply, (int64_t)session->feed->table.n);
}

/*
 * ---- KEYS and SCAN -----------------------------------------------------------
 */

#define PATTERN_MAX 512u   /* bytes: a longer one would only keep the daemon busy */
#define SCAN_MAX    10000u /* keys that one SCAN looks at, more or less */

/* Keys that match, as replies in a buffer of their own: their number comes first. */
struct matching {
	const struct rt_feed *feed;
	struct rt_reply found;
	size_t n;
	size_t looked_at;
	const uint8_t *pattern; /* NULL: all */
	size_t pattern_len;
};

static void match(void *ctx, const struct rt_entry *entry)
{
	struct matching *m = ctx;

	m->looked_at++;
	if (rt_feed_is_over(m->feed, entry))
		return;
	if (m->pattern && !rt_glob_match(m->pattern, m->pattern_len,
					 rt_entry_key(entry), entry->key_len))
		return;
	rt_reply_bulk(&m->found, rt_entry_key(entry), entry->key_len);
	m->n++;
}

static bool pattern_fits(struct rt_session *session, struct rt_arg pattern)
{
	if (pattern.len <= PATTERN_MAX)
		return true;
	rt_session_error(session, "ERR a pattern has %u bytes at most", PATTERN_MAX);
	return false;
}

static void reply_matching(struct rt_session *session, struct matching *m)
{
	rt_reply_array(&session->reply, m->n);
	(void)rt_buf_add(&session->reply.buf, m->found.buf.data, m->found.buf.len);
}

void rt_cmd_keys(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg pattern = rt_arg(request, 1);
	struct matching m = {
		.feed = session->feed,
		.found = { .buf.limit = session->reply.buf.limit / 2 },
		.pattern = pattern.ptr,
		.pattern_len = pattern.len,
	};
	uint64_t cursor = 0;

	if (!pattern_fits(session, pattern))
		return;
	do {
		cursor = rt_table_walk(&session->feed->table, cursor, match, &m);
	} while (cursor && !m.found.buf.overflow);
	if (m.found.buf.overflow)
		rt_session_error(session,
				 "ERR the keys are more than %zu bytes; use SCAN",
				 m.found.buf.limit);
	else
		reply_matching(session, &m);
	rt_buf_free(&m.found.buf);
}

struct scan {
	int64_t cursor;
	int64_t count;
	struct rt_arg pattern;
	bool none; /* TYPE of something that no key is */
};

static bool scan_options(struct rt_session *session, const struct rt_request *request,
			 struct scan *ret)
{
	struct scan scan = { .count = 10 };

	if (!rt_arg_int(rt_arg(request, 1), &scan.cursor)) {
		rt_session_error(session, "ERR invalid cursor");
		return false;
	}
	for (uint32_t i = 2; i < request->n; i += 2) {
		struct rt_arg word = rt_arg(request, i), value;

		if (i + 1 == request->n) {
			rt_session_error(session, "ERR syntax error");
			return false;
		}
		value = rt_arg(request, i + 1);
		if (rt_arg_is(word, "match")) {
			scan.pattern = value;
		} else if (rt_arg_is(word, "type")) {
			scan.none = !rt_arg_is(value, "string");
		} else if (!rt_arg_is(word, "count")) {
			rt_session_error(session, "ERR syntax error");
			return false;
		} else if (!rt_arg_int(value, &scan.count)) {
			rt_session_error(session,
					 "ERR value is not an integer or out of range");
			return false;
		} else if (scan.count < 1) {
			rt_session_error(session, "ERR syntax error");
			return false;
		}
	}
	*ret = scan;
	return true;
}

void rt_cmd_scan(struct rt_session *session, const struct rt_request *request)
{
	struct matching m = {
		.feed = session->feed,
		.found = { .buf.limit = session->reply.buf.limit / 2 },
	};
	struct scan scan;
	char text[24];
	uint64_t cursor;
	size_t count, steps = 0;

	if (!scan_options(session, request, &scan) ||
	    !pattern_fits(session, scan.pattern))
		return;
	m.pattern = scan.pattern.ptr;
	m.pattern_len = scan.pattern.len;
	cursor = (uint64_t)scan.cursor;
	count = rt_min((uint64_t)scan.count, SCAN_MAX);
	do {
		cursor = rt_table_walk(&session->feed->table, cursor, match, &m);
	} while (cursor && m.looked_at < count && ++steps < count * 10 &&
		 !m.found.buf.overflow);
	if (m.found.buf.overflow) {
		rt_session_error(session,
				 "ERR too many keys for a reply; use a lower COUNT");
	} else {
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)cursor);
		rt_reply_array(&session->reply, 2);
		rt_reply_text(&session->reply, text);
		if (scan.none)
			rt_reply_array(&session->reply, 0);
		else
			reply_matching(session, &m);
	}
	rt_buf_free(&m.found.buf);
}
