/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "daemon/command.h"

/*
 * ---- Times as arguments ------------------------------------------------------
 */

bool rt_until_word(struct rt_arg word, enum rt_until_kind *ret)
{
	static const char *const words[] = {
		[RT_UNTIL_EX] = "ex",
		[RT_UNTIL_PX] = "px",
		[RT_UNTIL_EXAT] = "exat",
		[RT_UNTIL_PXAT] = "pxat",
	};

	for (unsigned i = RT_UNTIL_EX; i < RT_N(words); i++)
		if (rt_arg_is(word, words[i])) {
			*ret = (enum rt_until_kind)i;
			return true;
		}
	return false;
}

static bool is_seconds(enum rt_until_kind kind)
{
	return kind == RT_UNTIL_EX || kind == RT_UNTIL_EXAT;
}

static int64_t base_of(const struct rt_session *session, enum rt_until_kind kind)
{
	return kind == RT_UNTIL_EX || kind == RT_UNTIL_PX
		       ? (int64_t)session->feed->now_ms
		       : 0;
}

static RT_COLD void bad_time(struct rt_session *session, const char *command)
{
	rt_session_error(session, "ERR invalid expire time in '%s' command", command);
}

/* The moment, in milliseconds; one of the past is fine.  False after an error reply. */
static bool moment(struct rt_session *session, const struct rt_until *until,
		   const char *command, int64_t *ret)
{
	int64_t at;

	if (!rt_arg_int(until->arg, &at)) {
		rt_session_error(session,
				 "ERR value is not an integer or out of range");
		return false;
	}
	if ((is_seconds(until->kind) && __builtin_mul_overflow(at, 1000, &at)) ||
	    __builtin_add_overflow(at, base_of(session, until->kind), &at)) {
		bad_time(session, command);
		return false;
	}
	*ret = at;
	return true;
}

bool rt_until_ms(struct rt_session *session, const struct rt_until *until,
		 const char *command, uint64_t *ret)
{
	int64_t given, at;

	if (!moment(session, until, command, &at))
		return false;
	if (!rt_arg_int(until->arg, &given) || given <= 0) {
		bad_time(session, command);
		return false;
	}
	*ret = (uint64_t)at;
	return true;
}

/*
 * ---- Deadlines ---------------------------------------------------------------
 */

static const struct rt_entry *find(const struct rt_session *session,
				   const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1);

	return rt_feed_get(session->feed, key.ptr, key.len);
}

/*
 * Gives the key of @entry another deadline, 0 for none, or deletes it if that is
 * over.  After an error reply, which takes the place of any since @start, false.
 */
static bool set_deadline(struct rt_session *session, const struct rt_entry *entry,
			 int64_t at, size_t start)
{
	struct rt_feed *feed = session->feed;
	struct rt_terms terms = rt_feed_terms(feed, entry);
	size_t key_len = entry->key_len, value_len = entry->value_len;
	int r;

	terms.deadline_ms = (uint64_t)at;
	if (at && at <= (int64_t)feed->now_ms)
		r = rt_feed_expire(feed, rt_entry_key(entry), key_len);
	else
		r = rt_feed_renew(feed, entry, &terms);
	if (r >= 0)
		return true;
	session->reply.buf.len = start;
	rt_change_refused(session, r, key_len, value_len);
	return false;
}

static void set_until(struct rt_session *session, const struct rt_request *request,
		      enum rt_until_kind kind, const char *command)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 3);
	struct rt_until until = { kind, rt_arg(request, 2) };
	struct rt_terms terms = { 0, NULL };
	int r;

	if (!rt_until_ms(session, &until, command, &terms.deadline_ms))
		return;
	terms.holder = rt_session_keeps(session, find(session, request));
	r = rt_feed_put_on(session->feed, key.ptr, key.len, value.ptr, value.len,
			   &terms);
	if (r < 0)
		rt_change_refused(session, r, key.len, value.len);
	else
		rt_reply_ok(&session->reply);
}

void rt_cmd_setex(struct rt_session *session, const struct rt_request *request)
{
	set_until(session, request, RT_UNTIL_EX, "setex");
}

void rt_cmd_psetex(struct rt_session *session, const struct rt_request *request)
{
	set_until(session, request, RT_UNTIL_PX, "psetex");
}

/* EXPIRE and its like: under which conditions. */
enum {
	ONLY_NX = 1,
	ONLY_XX = 2,
	ONLY_GT = 4,
	ONLY_LT = 8,
};

static bool expire_options(struct rt_session *session, const struct rt_request *request,
			   unsigned *ret)
{
	unsigned only = 0;

	for (uint32_t i = 3; i < request->n; i++) {
		struct rt_arg word = rt_arg(request, i);

		if (rt_arg_is(word, "nx")) {
			only |= ONLY_NX;
		} else if (rt_arg_is(word, "xx")) {
			only |= ONLY_XX;
		} else if (rt_arg_is(word, "gt")) {
			only |= ONLY_GT;
		} else if (rt_arg_is(word, "lt")) {
			only |= ONLY_LT;
		} else {
			rt_session_error(session, "ERR Unsupported option %.*s",
					 (int)rt_min(word.len, 128),
					 (const char *)word.ptr);
			return false;
		}
	}
	*ret = only;
	if (only & ONLY_NX && only & ~(unsigned)ONLY_NX)
		rt_session_error(session, "ERR NX and XX, GT or LT options at the same "
					  "time are not compatible");
	else if (only & ONLY_GT && only & ONLY_LT)
		rt_session_error(session, "ERR GT and LT options at the same time are "
					  "not compatible");
	else
		return true;
	return false;
}

/* A key without a deadline has one after all others. */
static bool allows(unsigned only, uint64_t had, int64_t at)
{
	bool later = had && at > 0 && (uint64_t)at > had;
	bool sooner = !had || at < 0 || (uint64_t)at < had;

	return !(only & ONLY_NX && had) && !(only & ONLY_XX && !had) &&
	       !(only & ONLY_GT && !later) && !(only & ONLY_LT && !sooner);
}

static void expire(struct rt_session *session, const struct rt_request *request,
		   enum rt_until_kind kind, const char *command)
{
	struct rt_until until = { kind, rt_arg(request, 2) };
	const struct rt_entry *entry;
	unsigned only;
	int64_t at;

	if (!expire_options(session, request, &only) ||
	    !moment(session, &until, command, &at))
		return;
	entry = find(session, request);
	if (!entry ||
	    !allows(only, rt_feed_terms(session->feed, entry).deadline_ms, at))
		rt_reply_int(&session->reply, 0);
	else if (set_deadline(session, entry, at ? at : -1,
			      session->reply.buf.len)) /* the year 1970 is over */
		rt_reply_int(&session->reply, 1);
}

void rt_cmd_expire(struct rt_session *session, const struct rt_request *request)
{
	expire(session, request, RT_UNTIL_EX, "expire");
}

void rt_cmd_pexpire(struct rt_session *session, const struct rt_request *request)
{
	expire(session, request, RT_UNTIL_PX, "pexpire");
}

void rt_cmd_expireat(struct rt_session *session, const struct rt_request *request)
{
	expire(session, request, RT_UNTIL_EXAT, "expireat");
}

void rt_cmd_pexpireat(struct rt_session *session, const struct rt_request *request)
{
	expire(session, request, RT_UNTIL_PXAT, "pexpireat");
}

void rt_cmd_persist(struct rt_session *session, const struct rt_request *request)
{
	const struct rt_entry *entry = find(session, request);

	if (!entry || !rt_feed_terms(session->feed, entry).deadline_ms)
		rt_reply_int(&session->reply, 0);
	else if (set_deadline(session, entry, 0, session->reply.buf.len))
		rt_reply_int(&session->reply, 1);
}

void rt_cmd_getex(struct rt_session *session, const struct rt_request *request)
{
	size_t start = session->reply.buf.len;
	struct rt_until until = { RT_UNTIL_NONE, { NULL, 0 } };
	const struct rt_entry *entry;
	bool persist = request->n == 3 && rt_arg_is(rt_arg(request, 2), "persist");
	uint64_t at = 0;

	if (request->n == 4 && rt_until_word(rt_arg(request, 2), &until.kind))
		until.arg = rt_arg(request, 3);
	if (request->n > 2 && !persist && !until.kind) {
		rt_session_error(session, "ERR syntax error");
		return;
	}
	entry = find(session, request);
	if (!entry) {
		rt_reply_null(&session->reply);
		return;
	}
	if (until.kind && !rt_until_ms(session, &until, "getex", &at))
		return;
	rt_reply_bulk(&session->reply, rt_entry_value(entry), entry->value_len);
	if (until.kind || (persist && rt_feed_terms(session->feed, entry).deadline_ms))
		(void)set_deadline(session, entry, (int64_t)at, start); /* it replies */
}

/* -2 no such key, -1 it does not expire. */
static void reply_time(struct rt_session *session, const struct rt_request *request,
		       bool seconds, bool absolute)
{
	const struct rt_entry *entry = find(session, request);
	uint64_t at = entry ? rt_feed_terms(session->feed, entry).deadline_ms : 0;

	if (at && !absolute)
		at -= session->feed->now_ms; /* or it would be over */
	if (!entry || !at)
		rt_reply_int(&session->reply, entry ? -1 : -2);
	else
		rt_reply_int(&session->reply,
			     (int64_t)(seconds ? (at + 500) / 1000 : at));
}

void rt_cmd_ttl(struct rt_session *session, const struct rt_request *request)
{
	reply_time(session, request, true, false);
}

void rt_cmd_pttl(struct rt_session *session, const struct rt_request *request)
{
	reply_time(session, request, false, false);
}

void rt_cmd_expiretime(struct rt_session *session, const struct rt_request *request)
{
	reply_time(session, request, true, true);
}

void rt_cmd_pexpiretime(struct rt_session *session, const struct rt_request *request)
{
	reply_time(session, request, false, true);
}

/*
 * ---- Bindings ----------------------------------------------------------------
 */

/* Binds the key to the session, or to none; 1 if there is such a key, or negative. */
static int bind_key(struct rt_session *session, struct rt_arg key,
		    struct rt_holder *from, struct rt_holder *to)
{
	const struct rt_entry *entry = rt_feed_get(session->feed, key.ptr, key.len);
	struct rt_terms terms;
	int r;

	if (!entry)
		return 0;
	terms = rt_feed_terms(session->feed, entry);
	if (terms.holder == to)
		return to != NULL;
	if (!to && terms.holder != from)
		return 0;
	terms.holder = to;
	r = rt_feed_renew(session->feed, entry, &terms);
	if (r < 0)
		rt_change_refused(session, r, key.len, entry->value_len);
	return r < 0 ? r : 1;
}

static void bind_keys(struct rt_session *session, const struct rt_request *request,
		      struct rt_holder *from, struct rt_holder *to)
{
	int64_t n = 0;
	int r = 0;

	rt_begin_several(session);
	for (uint32_t i = 1; i < request->n && r >= 0; i++) {
		r = bind_key(session, rt_arg(request, i), from, to);
		n += r;
	}
	if (rt_end_several(session, r >= 0))
		rt_reply_int(&session->reply, n);
}

void rt_cmd_ringtail_bind(struct rt_session *session, const struct rt_request *request)
{
	struct rt_holder *holder = rt_session_holder_new(session);

	if (!holder)
		rt_change_refused(session, -ENOMEM, 0, 0);
	else
		bind_keys(session, request, NULL, holder);
}

void rt_cmd_ringtail_unbind(struct rt_session *session,
			    const struct rt_request *request)
{
	struct rt_holder *holder = rt_session_holder(session);

	if (holder)
		bind_keys(session, request, holder, NULL);
	else
		rt_reply_int(&session->reply, 0);
}
