/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "daemon/command.h"

/*
 * ---- Changes -----------------------------------------------------------------
 */

enum set_flags {
	SET_NX = 1,
	SET_XX = 2,
	SET_GET = 4,
	SET_KEEPTTL = 8,
	SET_BIND = 16,
};

struct set_options {
	unsigned flags;
	struct rt_until until;
};

/* One of the words behind SET key value; returns how many arguments it takes, or 0. */
static uint32_t set_option(const struct rt_request *request, uint32_t i,
			   struct set_options *options)
{
	struct rt_arg word = rt_arg(request, i);
	enum rt_until_kind kind;

	if (rt_arg_is(word, "nx") && !(options->flags & SET_XX)) {
		options->flags |= SET_NX;
	} else if (rt_arg_is(word, "xx") && !(options->flags & SET_NX)) {
		options->flags |= SET_XX;
	} else if (rt_arg_is(word, "get")) {
		options->flags |= SET_GET;
	} else if (rt_arg_is(word, "bind")) {
		options->flags |= SET_BIND;
	} else if (rt_arg_is(word, "keepttl") && !options->until.kind) {
		options->flags |= SET_KEEPTTL;
	} else if (rt_until_word(word, &kind) && i + 1 < request->n &&
		   !(options->flags & SET_KEEPTTL) &&
		   (!options->until.kind || options->until.kind == kind)) {
		options->until = (struct rt_until){ kind, rt_arg(request, i + 1) };
		return 2;
	} else {
		return 0;
	}
	return 1;
}

/* False after an error reply. */
static bool set_options(struct rt_session *session, const struct rt_request *request,
			struct set_options *ret)
{
	for (uint32_t i = 3; i < request->n;) {
		uint32_t n = set_option(request, i, ret);

		if (!n) {
			rt_session_error(session, "ERR syntax error");
			return false;
		}
		i += n;
	}
	return true;
}

/* What a key will be put with; false after an error reply. */
static bool set_terms(struct rt_session *session, const struct set_options *options,
		      const struct rt_entry *entry, struct rt_terms *ret)
{
	if (entry && options->flags & SET_KEEPTTL)
		ret->deadline_ms = rt_feed_terms(session->feed, entry).deadline_ms;
	ret->holder = options->flags & SET_BIND ? rt_session_holder_new(session)
						: rt_session_keeps(session, entry);
	if (options->flags & SET_BIND && !ret->holder) {
		rt_change_refused(session, -ENOMEM, 0, 0);
		return false;
	}
	return true;
}

static void reply_value(struct rt_session *session, const struct rt_entry *entry)
{
	if (entry)
		rt_reply_bulk(&session->reply, rt_entry_value(entry), entry->value_len);
	else
		rt_reply_null(&session->reply);
}

static void set_with_options(struct rt_session *session,
			     const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	size_t start = session->reply.buf.len;
	struct set_options options = { .flags = 0 };
	struct rt_terms terms = { 0, NULL };
	const struct rt_entry *entry;
	unsigned flags;
	bool wanted;
	int r = 0;

	if (!set_options(session, request, &options) ||
	    (options.until.kind &&
	     !rt_until_ms(session, &options.until, "set", &terms.deadline_ms)))
		return;
	flags = options.flags;
	if (flags & SET_GET && !session->may_read) {
		rt_session_error(session, "NOPERM SET with GET reads feed '%s'",
				 session->feed->config->name);
		return;
	}
	entry = rt_feed_get(session->feed, key.ptr, key.len);
	wanted = flags & SET_NX ? !entry : flags & SET_XX ? !!entry : true;
	if (wanted && !set_terms(session, &options, entry, &terms))
		return;
	if (flags & SET_GET)
		reply_value(session, entry); /* before it is replaced */
	if (wanted)
		r = rt_feed_put_on(session->feed, key.ptr, key.len, value.ptr,
				   value.len, &terms);
	if (r < 0) {
		session->reply.buf.len = start;
		rt_change_refused(session, r, key.len, value.len);
	} else if (!(flags & SET_GET)) {
		if (wanted)
			rt_reply_ok(&session->reply);
		else
			rt_reply_null(&session->reply);
	}
}

void rt_cmd_set(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r;

	if (RT_UNLIKELY(request->n > 3)) {
		set_with_options(session, request);
		return;
	}
	r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
			rt_session_holder(session));
	if (RT_LIKELY(!r))
		rt_reply_ok(&session->reply);
	else
		rt_change_refused(session, r, key.len, value.len);
}

void rt_cmd_setnx(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r;

	if (rt_feed_get(session->feed, key.ptr, key.len)) {
		rt_reply_int(&session->reply, 0);
		return;
	}
	r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
			rt_session_holder(session));
	if (r < 0)
		rt_change_refused(session, r, key.len, value.len);
	else
		rt_reply_int(&session->reply, 1);
}

void rt_begin_several(struct rt_session *session)
{
	if (!session->in_exec)
		rt_feed_begin(session->feed);
}

bool rt_end_several(struct rt_session *session, bool fine)
{
	if (session->in_exec)
		return fine; /* a refusal takes all of the EXEC back */
	if (!fine)
		rt_feed_abort(session->feed);
	else if (rt_feed_commit(session->feed) < 0) {
		rt_change_refused(session, RT_FEED_E_LOG, 0, 0);
		return false;
	}
	return fine;
}

void rt_cmd_mset(struct rt_session *session, const struct rt_request *request)
{
	int r = 0;

	if (!(request->n & 1)) {
		rt_wrong_arity(session, "mset");
		return;
	}
	rt_begin_several(session);
	for (uint32_t i = 1; i < request->n && !r; i += 2) {
		struct rt_arg key = rt_arg(request, i), value = rt_arg(request, i + 1);

		r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
				rt_session_holder(session));
		if (r < 0)
			rt_change_refused(session, r, key.len, value.len);
	}
	if (rt_end_several(session, !r))
		rt_reply_ok(&session->reply);
}

void rt_cmd_del(struct rt_session *session, const struct rt_request *request)
{
	bool several = request->n > 2;
	int64_t n = 0;
	int r = 0;

	if (several)
		rt_begin_several(session);
	for (uint32_t i = 1; i < request->n && r >= 0; i++) {
		struct rt_arg key = rt_arg(request, i);

		r = rt_feed_delete(session->feed, key.ptr, key.len);
		if (r < 0)
			rt_change_refused(session, r, key.len, 0);
		else
			n += r;
	}
	if (several)
		rt_end_several(session, r >= 0);
	if (r >= 0)
		rt_reply_int(&session->reply, n);
}

/* Nobody is connected who could receive it: those who follow the feed are not known. */
void rt_cmd_publish(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r = rt_feed_message(session->feed, key.ptr, key.len, value.ptr, value.len);

	if (r < 0)
		rt_change_refused(session, r, key.len, value.len);
	else
		rt_reply_int(&session->reply, 0);
}

void rt_cmd_flush(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 0);

	rt_session_error(
		session,
		"ERR %.*s is not supported: a feed is a history; delete keys with "
		"DEL, which those who follow it will see",
		(int)name.len, (const char *)name.ptr);
}

/*
 * ---- Questions ---------------------------------------------------------------
 */

static const struct rt_entry *find(const struct rt_session *session,
				   const struct rt_request *request, uint32_t i)
{
	struct rt_arg key = rt_arg(request, i);

	return rt_feed_get(session->feed, key.ptr, key.len);
}

void rt_cmd_get(struct rt_session *session, const struct rt_request *request)
{
	reply_value(session, find(session, request, 1));
}

void rt_cmd_mget(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_array(&session->reply, request->n - 1);
	for (uint32_t i = 1; i < request->n; i++)
		reply_value(session, find(session, request, i));
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
