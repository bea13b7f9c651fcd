/* SPDX-License-Identifier: MIT */
#include "daemon/release.h"

/*
 * ---- Gates ----
 */

static bool is_open(const struct rt_server *server, const struct rt_gate *gate)
{
	if (RT_LIKELY(!gate->many))
		return !gate->feed || rt_feed_is_settled(gate->feed, gate->round);
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		if (!rt_feed_is_settled(&server->feeds[i], gate->round))
			return false;
	return true;
}

/* The feed for which it never opens; NULL if it will. */
static const struct rt_feed *lost_feed(const struct rt_server *server,
				       const struct rt_gate *gate)
{
	if (RT_LIKELY(!gate->many))
		return gate->feed && rt_feed_is_lost(gate->feed, gate->round)
			       ? gate->feed
			       : NULL;
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		if (rt_feed_is_lost(&server->feeds[i], gate->round))
			return &server->feeds[i];
	return NULL;
}

/*
 * Replies to changes that did not come to be are not sent.  With them go those that
 * wait with or behind them, and may be to changes of other feeds that did.
 */
static RT_COLD void lose(struct rt_session *session, const struct rt_feed *feed)
{
	rt_buf_clear(&session->reply.buf);
	session->reply_gate = (struct rt_gate){ NULL };
	rt_reply_error(&session->reply,
		       "ERR feed '%s': %s; what was not answered may be lost",
		       feed->config->name, feed->reason);
	rt_session_close(session, "its changes could not be logged");
}

/*
 * ---- On the way out ----
 */

void rt_release_forget(struct rt_session *session)
{
	if (!session->parked_at)
		return;
	*session->parked_at = session->next_parked;
	if (session->next_parked)
		session->next_parked->parked_at = session->parked_at;
	session->parked_at = NULL;
}

static void remember(struct rt_session *session)
{
	struct rt_server *server = session->server;

	if (session->parked_at)
		return;
	session->next_parked = server->parked;
	session->parked_at = &server->parked;
	if (session->next_parked)
		session->next_parked->parked_at = &session->next_parked;
	server->parked = session;
}

static void park(struct rt_session *session)
{
	struct rt_buf empty = session->parked;

	session->parked = session->reply.buf;
	session->reply.buf = empty;
	session->parked_gate = session->reply_gate;
	session->reply_gate = (struct rt_gate){ NULL };
	remember(session);
}

static RT_COLD void drop_parked(struct rt_session *session)
{
	rt_buf_free(&session->parked);
	session->parked_gate = (struct rt_gate){ NULL };
	rt_release_forget(session);
}

static void set_limit(struct rt_session *session)
{
	const struct rt_conn *conn = &session->conn;
	size_t max = session->server->config->max_pending_out;
	size_t pending = session->parked.len + (conn->sending ? conn->out.len : 0);

	session->reply.buf.limit = max - rt_min(pending, max);
}

/* @out may leave: now, or when what is on its way is out. */
static void let_out(struct rt_session *session, struct rt_buf *out)
{
	if (session->conn.sending)
		return;
	session->server->stats.bytes_out += out->len;
	rt_loop_send(session->server->loop, &session->conn, out);
}

static void release(struct rt_session *session)
{
	const struct rt_server *server = session->server;
	struct rt_buf *reply = &session->reply.buf;

	if (session->parked.len && is_open(server, &session->parked_gate)) {
		rt_release_forget(session);
		/* Once open it stays so, whatever becomes of the feed. */
		session->parked_gate = (struct rt_gate){ NULL };
		let_out(session, &session->parked);
	}
	if (session->parked.len || !reply->len)
		return;
	if (!is_open(server, &session->reply_gate)) {
		park(session);
	} else {
		session->reply_gate = (struct rt_gate){ NULL };
		let_out(session, reply);
	}
}

void rt_release(struct rt_session *session)
{
	const struct rt_server *server = session->server;
	const struct rt_feed *lost = NULL;

	if (session->conn.shut)
		return;
	if (session->broken) {
		rt_loop_shut(server->loop, &session->conn);
		return;
	}
	if (RT_UNLIKELY(session->parked.len)) {
		lost = lost_feed(server, &session->parked_gate);
		if (lost)
			drop_parked(session);
	}
	if (!lost && session->reply.buf.len)
		lost = lost_feed(server, &session->reply_gate);
	if (RT_UNLIKELY(lost))
		lose(session, lost);
	release(session);
	set_limit(session);
	if (session->closing && !session->conn.sending && !session->parked.len &&
	    !session->reply.buf.len && !session->renewal)
		rt_loop_shut(server->loop, &session->conn);
}

void rt_release_all(struct rt_server *server)
{
	struct rt_session *session = server->loop ? server->sessions : NULL;

	for (; session; session = session->next)
		rt_release(session);
}

void rt_release_relieve(struct rt_session *session)
{
	const struct rt_server *server = session->server;
	size_t pending = session->parked.len + session->reply.buf.len;

	if (RT_LIKELY(pending <= server->config->max_pending_out / 2))
		return;
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		(void)rt_feed_flush(&server->feeds[i]); /* who fails is told below */
	rt_release(session);
}
