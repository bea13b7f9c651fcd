/* SPDX-License-Identifier: MIT */
#include "daemon/session.h"

#include <stdarg.h>

#include "daemon/command.h"
#include "daemon/log.h"
#include "daemon/release.h"
#include "daemon/renew.h"

#define IN_SLACK   131072u /* what may come in one piece behind an incomplete request */
#define KEPT_SLACK (4u * RT_RESP_INLINE_MAX) /* a line takes more as an array */
#define HELD_SLACK \
	(UINT64_C(8) << 20) /* what was on its way already, until a peer stops */

struct rt_session *rt_session_new(struct rt_server *server, const struct rt_peer *peer)
{
	struct rt_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->conn.fd = -1;
	session->server = server;
	session->peer = *peer;
	session->id = ++server->next_id;
	session->since_ns = session->active_ns = server->now_ns;
	session->reply.version = 2;
	session->reply.buf.limit = server->config->max_pending_out;
	session->in.limit = server->config->max_query + IN_SLACK;
	session->queue.limit = server->config->max_query;
	rt_resp_init(&session->resp, (uint32_t)server->config->max_query);
	rt_session_select(session, &server->feeds[0]);
	session->next = server->sessions;
	session->at = &server->sessions;
	if (session->next)
		session->next->at = &session->next;
	server->sessions = session;
	server->n_sessions++;
	return session;
}

void rt_session_free(struct rt_session *session)
{
	*session->at = session->next;
	if (session->next)
		session->next->at = session->at;
	session->server->n_sessions--;
	rt_session_let_go(session);
	rt_multi_reset(session);
	if (session->renewal)
		rt_renewal_forget(session->renewal);
	rt_resp_fini(&session->resp);
	rt_release_forget(session);
	rt_buf_free(&session->reply.buf);
	rt_buf_free(&session->parked);
	rt_buf_free(&session->in);
	rt_buf_free(&session->queue);
	free(session);
}

struct rt_holder *rt_session_holder_new(struct rt_session *session)
{
	struct rt_holder *holder = rt_session_holder(session);

	if (holder)
		return holder;
	holder = rt_feed_holder(session->feed);
	if (!holder)
		return NULL;
	holder->next = session->holders;
	session->holders = holder;
	return holder;
}

struct rt_holder *rt_session_keeps(const struct rt_session *session,
				   const struct rt_entry *entry)
{
	struct rt_holder *holder = rt_session_holder(session);

	if (!holder || !entry || rt_feed_terms(session->feed, entry).holder != holder)
		return NULL;
	return holder;
}

void rt_session_let_go(struct rt_session *session)
{
	while (session->holders) {
		struct rt_holder *holder = session->holders;

		session->holders = holder->next;
		rt_feed_end(holder->feed, holder);
	}
}

bool rt_session_may_read(const struct rt_session *session, const struct rt_feed *feed)
{
	return rt_may_publish(&session->peer, feed->config) ||
	       rt_may_read(&session->peer, feed->uid, feed->gid, feed->mode);
}

void rt_session_forget(struct rt_session *session, const struct rt_feed *feed)
{
	struct rt_holder **at = &session->holders;

	while (*at) {
		struct rt_holder *holder = *at;

		if (holder->feed == feed) {
			*at = holder->next;
			free(holder);
		} else {
			at = &holder->next;
		}
	}
	for (uint32_t i = 0; i < session->n_watches; i++)
		if (session->watches[i].feed == feed)
			session->watches[i].seq = UINT64_MAX; /* as no key has */
}

void rt_sessions_judge(struct rt_server *server, const struct rt_feed *feed)
{
	for (struct rt_session *s = server->sessions; s; s = s->next)
		if (!feed || s->feed == feed)
			rt_session_select(s, s->feed);
}

void rt_session_select(struct rt_session *session, struct rt_feed *feed)
{
	session->feed = feed;
	session->may_publish = rt_may_publish(&session->peer, feed->config);
	session->may_read = rt_session_may_read(session, feed);
}

void rt_session_close(struct rt_session *session, const char *format, ...)
{
	char reason[256], who[128];
	va_list args;

	if (session->closing)
		return;
	va_start(args, format);
	(void)vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	session->closing = true;
	session->server->stats.closed_for_cause++;
	rt_log_client(RT_LOG_WARNING, "closed client %llu (%s, pid %d): %s",
		      (unsigned long long)session->id,
		      rt_peer_text(&session->peer, who, sizeof(who)), session->peer.pid,
		      reason);
}

/*
 * Requests are taken apart some ahead of being run, so that the memory of their keys
 * comes at once: a pipeline waits once for many.
 */
#define AHEAD      32u
#define AHEAD_ARGS 4u /* of a request that can wait; others are run alone */

static_assert(AHEAD_ARGS <= RT_RESP_ARGS_HELD, "so many are always there to copy");

struct ahead {
	unsigned n;
	struct rt_request requests[AHEAD];
	struct rt_span spans[AHEAD][AHEAD_ARGS];
};

static void expect_keys(const struct rt_session *session, const struct ahead *ahead)
{
	const struct rt_table *table = &session->feed->table;
	uint64_t hashes[AHEAD];

	for (unsigned i = 0; i < ahead->n; i++) {
		struct rt_arg key =
			rt_arg(&ahead->requests[i], ahead->requests[i].n > 1);

		hashes[i] = rt_table_hash(table, key.ptr, key.len);
	}
	rt_table_expect(table, hashes, ahead->n);
}

static void run_ahead(struct rt_session *session, struct ahead *ahead)
{
	if (ahead->n > 1 && session->feed->writer)
		expect_keys(session, ahead);
	for (unsigned i = 0; i < ahead->n && !session->closing; i++)
		rt_command_dispatch(session, &ahead->requests[i]);
	ahead->n = 0;
}

/* Takes a request in; one that is too long for that is run at once. */
static void take(struct rt_session *session, struct ahead *ahead,
		 const struct rt_request *request)
{
	struct rt_span *spans = ahead->spans[ahead->n];

	if (RT_UNLIKELY(request->n > AHEAD_ARGS)) {
		run_ahead(session, ahead);
		if (!session->closing)
			rt_command_dispatch(session, request);
		return;
	}
	memcpy(spans, request->args, sizeof(ahead->spans[0]));
	ahead->requests[ahead->n++] =
		(struct rt_request){ request->base, spans, request->n };
	if (ahead->n == AHEAD)
		run_ahead(session, ahead);
}

/* Runs the requests in @buf; returns how much of it was used. */
static size_t run_requests(struct rt_session *session, uint8_t *buf, size_t len)
{
	struct rt_resp *resp = &session->resp;
	enum rt_resp_outcome outcome = RT_RESP_EMPTY;
	struct ahead ahead;
	size_t used = 0;

	ahead.n = 0;
	while (used < len && !session->closing && !session->held) {
		size_t n = 0;

		outcome = rt_resp_parse(resp, buf + used, len - used, &n);
		if (outcome == RT_RESP_MORE || outcome == RT_RESP_BAD)
			break;
		if (outcome == RT_RESP_REQUEST) {
			struct rt_request request = { buf + used, resp->args,
						      resp->n_args };

			take(session, &ahead, &request);
		}
		used += n;
	}
	run_ahead(session, &ahead);
	if (RT_UNLIKELY(outcome == RT_RESP_BAD && session->held)) {
		/* Said in its turn; what is bad may have been unquoted in part. */
		(void)rt_buf_add(&session->in, "*?\r\n", 4);
		return len;
	}
	if (outcome == RT_RESP_BAD && !session->closing) {
		rt_reply_error(&session->reply, "ERR %s", resp->error);
		rt_session_close(session, "%s", resp->error);
	}
	return used;
}

static void drop_pending(struct rt_session *session)
{
	rt_session_close(session,
			 "more than %llu bytes of replies that it does not take "
			 "(max_pending_out)",
			 (unsigned long long)session->server->config->max_pending_out);
	session->broken = true;
	rt_buf_free(&session->reply.buf);
	rt_buf_free(&session->in);
}

/* Runs what is in @bytes; what is left of it is put behind what is held. */
static void run_input(struct rt_session *session, uint8_t *bytes, size_t len)
{
	size_t used = run_requests(session, bytes, len);

	if (RT_UNLIKELY(used < len && !session->closing))
		(void)rt_buf_add(&session->in, bytes + used, len - used);
}

/* The same with what had come before; a request that is held takes its place. */
static void run_kept(struct rt_session *session)
{
	struct rt_buf in = session->in;
	size_t used;

	session->in = (struct rt_buf){ .limit = in.limit };
	used = run_requests(session, in.data, in.len);
	if (RT_UNLIKELY(session->held)) {
		(void)rt_buf_add(&session->in, in.data + used, in.len - used);
		rt_buf_free(&in);
		return;
	}
	rt_buf_shift(&in, used);
	if (!in.len)
		rt_buf_clear(&in);
	session->in = in;
}

/* What cannot be taken ends it. */
static void check_limits(struct rt_session *session)
{
	if (RT_UNLIKELY(session->in.overflow)) {
		rt_reply_error(&session->reply, "ERR no memory for the request");
		rt_session_close(session, "no memory for its request");
	}
	if (RT_UNLIKELY(session->reply.buf.overflow))
		drop_pending(session);
}

void rt_session_input(struct rt_session *session, uint8_t *bytes, size_t len)
{
	if (session->closing)
		return;
	session->server->stats.bytes_in += len;
	if (RT_UNLIKELY(session->held))
		(void)rt_buf_add(&session->in, bytes, len);
	else if (RT_LIKELY(!session->in.len))
		run_input(session, bytes, len);
	else if (rt_buf_add(&session->in, bytes, len))
		run_kept(session);
	check_limits(session);
}

/*
 * ---- Held --------------------------------------------------------------------
 */

/* As an array of strings, whatever it came as: a line was unquoted where it lay. */
static void keep_request(struct rt_buf *buf, const struct rt_request *request)
{
	rt_text(buf, "*%u\r\n", request->n);
	for (uint32_t i = 0; i < request->n; i++) {
		struct rt_arg arg = rt_arg(request, i);

		rt_text(buf, "$%zu\r\n", arg.len);
		(void)rt_buf_add(buf, arg.ptr, arg.len);
		rt_text(buf, "\r\n");
	}
}

void rt_session_hold(struct rt_session *session, const struct rt_request *request)
{
	session->held = true;
	session->in.limit = session->server->config->max_query + IN_SLACK + HELD_SLACK;
	if (request)
		keep_request(&session->in, request);
}

void rt_session_resume(struct rt_session *session)
{
	session->held = false;
	session->in.limit = session->server->config->max_query + IN_SLACK;
	if (session->closing)
		return;
	/* The start of a request is looked at again, behind those that were kept. */
	rt_resp_fini(&session->resp);
	session->resp.max_query += KEPT_SLACK;
	if (session->in.len)
		run_kept(session);
	session->resp.max_query -= KEPT_SLACK;
	check_limits(session);
	session->closing |= session->ended && !session->held;
}
