/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "daemon/command.h"

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
		rt_reply_entry(session, entry); /* before it is replaced */
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
