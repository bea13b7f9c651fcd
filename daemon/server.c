/* SPDX-License-Identifier: MIT */
#include "daemon/server.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/systemd.h"

#define CLOSE_TICKS 5u /* seconds that a client has to take its last replies */
#define STOP_TICKS  2u /* likewise when the daemon ends */

/*
 * ---- Feeds -------------------------------------------------------------------
 */

int rt_server_open(struct rt_server *server, const struct rt_config *config)
{
	*server = (struct rt_server){ .config = config };
	server->now_ns = server->started_ns = rt_now_ns(CLOCK_REALTIME);
	server->feeds = calloc(config->n_feeds, sizeof(*server->feeds));
	if (!server->feeds)
		return -ENOMEM;
	for (unsigned i = 0; i < config->n_feeds; i++) {
		struct rt_feed *feed = &server->feeds[i];

		if (rt_feed_open(feed, config, &config->feeds[i]) < 0) {
			rt_log(RT_LOG_ERROR, "feed '%s' is not served: %s",
			       config->feeds[i].name, feed->reason);
			continue;
		}
		server->n_served++;
		rt_log(RT_LOG_INFO, "feed '%s': at seq %llu, %zu keys from seq %llu on",
		       config->feeds[i].name, (unsigned long long)rt_feed_seq(feed),
		       feed->table.n, (unsigned long long)feed->rebuilt_from);
	}
	return server->n_served ? 0 : -ENOENT;
}

void rt_server_close(struct rt_server *server)
{
	while (server->sessions)
		rt_session_free(server->sessions);
	for (unsigned i = 0; server->feeds && i < server->config->n_feeds; i++)
		rt_feed_close(&server->feeds[i]);
	free(server->feeds);
	server->feeds = NULL;
}

struct rt_feed *rt_server_feed(struct rt_server *server, const uint8_t *name,
			       size_t len)
{
	int64_t number;

	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		const char *known = server->config->feeds[i].name;

		if (strlen(known) == len && !memcmp(known, name, len))
			return &server->feeds[i];
	}
	if (!rt_parse_int(name, len, &number) || number < 0 ||
	    number >= server->config->n_feeds)
		return NULL;
	return &server->feeds[number];
}

/*
 * ---- Sessions ----------------------------------------------------------------
 */

static void mark_dirty(struct rt_session *session)
{
	if (session->dirty)
		return;
	session->dirty = true;
	session->next_dirty = session->server->dirty;
	session->server->dirty = session;
}

/* Sends what there is; ends what is to end. */
static void flush(struct rt_session *session)
{
	struct rt_server *server = session->server;
	struct rt_buf *out = &session->reply.buf;

	if (session->conn.shut)
		return;
	if (session->broken) {
		rt_loop_shut(server->loop, &session->conn);
		return;
	}
	if (session->conn.sending)
		return;
	if (out->len) {
		server->stats.bytes_out += out->len;
		rt_loop_send(server->loop, &session->conn, out);
		out->limit = server->config->max_pending_out - session->conn.out.len;
	} else if (session->closing) {
		rt_loop_shut(server->loop, &session->conn);
	}
}

static void refuse(struct rt_server *server, int fd)
{
	static const char text[] = "-ERR max number of clients reached\r\n";

	server->stats.refused++;
	rt_log_client(RT_LOG_WARNING,
		      "refused a client: %u are connected (max_clients)",
		      server->n_sessions);
	/* The buffer of a new socket is empty: this does not block. */
	if (send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		rt_log_client(RT_LOG_DEBUG, "could not tell it: %s", strerror(errno));
	(void)close(fd); /* a socket of no further use */
}

static void on_begin(void *ctx)
{
	struct rt_server *server = ctx;

	server->now_ns = rt_now_ns(CLOCK_REALTIME);
	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		rt_feed_set_time(&server->feeds[i], server->now_ns);
		rt_feed_sweep(&server->feeds[i]);
	}
}

static void on_accepted(void *ctx, int fd)
{
	struct rt_server *server = ctx;
	struct rt_session *session;
	struct rt_peer peer;

	if (server->stopping || rt_peer_of(fd, &peer) < 0) {
		(void)close(fd); /* a socket of no further use */
		return;
	}
	if (server->n_sessions >= server->config->max_clients) {
		refuse(server, fd);
		return;
	}
	session = rt_session_new(server, &peer);
	if (!session) {
		refuse(server, fd);
		return;
	}
	server->stats.accepted++;
	rt_log(RT_LOG_DEBUG, "client %llu: uid %u, pid %d",
	       (unsigned long long)session->id, peer.uid, peer.pid);
	rt_loop_start(server->loop, &session->conn, fd);
}

static void on_received(void *ctx, struct rt_conn *conn, uint8_t *bytes, size_t len)
{
	struct rt_session *session = (struct rt_session *)conn;

	(void)ctx;
	rt_session_input(session, bytes, len);
	if (session->reply.buf.len || session->closing)
		mark_dirty(session);
}

static void on_ended(void *ctx, struct rt_conn *conn, int error)
{
	struct rt_session *session = (struct rt_session *)conn;

	(void)ctx;
	session->closing = true;
	session->broken |= error < 0;
	mark_dirty(session);
}

static void on_sent(void *ctx, struct rt_conn *conn)
{
	struct rt_session *session = (struct rt_session *)conn;
	struct rt_server *server = ctx;

	session->reply.buf.limit = server->config->max_pending_out;
	if (session->reply.buf.len || session->closing)
		mark_dirty(session);
}

static void on_gone(void *ctx, struct rt_conn *conn)
{
	struct rt_server *server = ctx;

	rt_session_free((struct rt_session *)conn);
	if (server->stopping && !server->n_sessions)
		rt_loop_stop(server->loop);
}

/* Those who do not take their last replies in time are left. */
static void end_overdue(struct rt_server *server)
{
	unsigned ticks = server->stopping ? STOP_TICKS : CLOSE_TICKS;

	for (struct rt_session *s = server->sessions; s; s = s->next)
		if (s->closing && s->close_ticks++ >= ticks) {
			s->broken = true;
			mark_dirty(s);
		}
}

static void on_synced(void *ctx, void *arg, int result)
{
	(void)ctx;
	rt_feed_sync_end(arg, result);
}

static void begin_syncs(struct rt_server *server)
{
	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		struct rt_feed *feed = &server->feeds[i];
		int fd = rt_feed_sync_begin(feed);

		if (fd >= 0)
			rt_loop_sync(server->loop, fd, feed);
	}
}

static void on_tick(void *ctx)
{
	struct rt_server *server = ctx;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		rt_feed_tick(&server->feeds[i]);
	begin_syncs(server);
	end_overdue(server);
	rt_log_tick();
	rt_notify_alive();
}

static void on_signalled(void *ctx, int signo)
{
	struct rt_server *server = ctx;

	if (signo == SIGHUP) {
		rt_log(RT_LOG_WARNING,
		       "SIGHUP: settings are read at start only; restart");
		return;
	}
	if (server->stopping)
		return;
	server->stopping = true;
	rt_log(RT_LOG_INFO, "%s: closing", signo == SIGINT ? "SIGINT" : "SIGTERM");
	rt_loop_deafen(server->loop);
	for (struct rt_session *s = server->sessions; s; s = s->next) {
		s->closing = true;
		mark_dirty(s);
	}
}

/* Replies to changes that did not come to be are not sent. */
static void settle_changes(struct rt_session *session)
{
	struct rt_feed *feed = session->changed;

	session->changed = NULL;
	if (RT_LIKELY(!feed || !feed->failed))
		return;
	rt_buf_clear(&session->reply.buf);
	rt_reply_error(&session->reply,
		       "ERR feed '%s': %s; what was not answered is not "
		       "committed",
		       feed->config->name, feed->reason);
	rt_session_close(session, "its changes could not be logged");
}

/* Keys that end with their connections go with the changes of this round. */
static void end_bound(struct rt_server *server)
{
	for (struct rt_session *s = server->dirty; s; s = s->next_dirty)
		if (s->closing)
			rt_session_let_go(s);
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		if (server->feeds[i].ended)
			rt_feed_sweep(&server->feeds[i]);
}

/* Wakes for the next deadline, and for what was too much for one round. */
static void set_alarm(struct rt_server *server)
{
	uint64_t next_ms = UINT64_MAX;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		next_ms = rt_min(next_ms, rt_feed_next_ms(&server->feeds[i]));
	if (next_ms != UINT64_MAX)
		rt_loop_alarm(server->loop, next_ms);
}

static void on_round(void *ctx)
{
	struct rt_server *server = ctx;
	struct rt_session *session = server->dirty;

	end_bound(server);
	server->dirty = NULL;
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		(void)rt_feed_flush(
			&server->feeds[i]); /* who is concerned is told below */
	set_alarm(server);
	while (session) {
		struct rt_session *next = session->next_dirty;

		session->dirty = false;
		settle_changes(session);
		flush(session);
		session = next;
	}
	if (server->stopping && !server->n_sessions)
		rt_loop_stop(server->loop);
}

const struct rt_loop_ops rt_server_ops = {
	.begin = on_begin,
	.accepted = on_accepted,
	.received = on_received,
	.ended = on_ended,
	.sent = on_sent,
	.gone = on_gone,
	.tick = on_tick,
	.signalled = on_signalled,
	.synced = on_synced,
	.round = on_round,
};
