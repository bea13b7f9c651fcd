/* SPDX-License-Identifier: MIT */
#include "daemon/server.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/log.h"
#include "daemon/release.h"
#include "daemon/renew.h"
#include "daemon/session.h"
#include "daemon/systemd.h"

#define ALONE_ROUNDS 16u
#define QUICK_NS     UINT64_C(100000)
#define LINGER_NS    UINT64_C(30000)
#define CLOSE_TICKS  5u /* seconds that a client has to take its last replies */
#define STOP_TICKS   2u /* likewise when the daemon ends */

/*
 * ---- Feeds -------------------------------------------------------------------
 */

int rt_server_open(struct rt_server *server, struct rt_config *config)
{
	*server = (struct rt_server){ .config = config, .wake_fd = -1 };
	server->now_ns = server->started_ns = rt_now_ns(CLOCK_REALTIME);
	rt_snapshotter_init(&server->snapshotter);
	return rt_feeds_open(server);
}

int rt_server_attach(struct rt_server *server, struct rt_loop *loop)
{
	int r = 0;

	server->loop = loop;
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->wake_fd < 0)
		return -errno;
	rt_loop_watch(loop, server->wake_fd);
	for (unsigned i = 0; i < server->config->n_feeds && !r; i++)
		r = rt_feed_detach(&server->feeds[i], server->wake_fd, loop);
	return r;
}

void rt_server_leave(struct rt_server *server)
{
	while (server->sessions)
		rt_session_free(server->sessions);
	rt_renewals_end(server);
	/* All of them first: the thread has one at a time. */
	for (unsigned i = 0; server->feeds && i < server->config->n_feeds; i++)
		rt_retention_cancel(&server->feeds[i]);
	for (unsigned i = 0; server->feeds && i < server->config->n_feeds; i++) {
		server->feeds[i].journal.log.close_file = NULL; /* the loop is gone */
		rt_feed_leave(&server->feeds[i]);
	}
	rt_snapshotter_fini(&server->snapshotter);
	rt_close_fd(&server->wake_fd);
	server->wake_fd = -1;
}

void rt_server_close(struct rt_server *server)
{
	rt_server_leave(server);
	for (unsigned i = 0; server->feeds && i < server->config->n_feeds; i++)
		rt_feed_close(&server->feeds[i]);
	free(server->feeds);
	free(server->retries);
	server->feeds = NULL;
	server->retries = NULL;
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

/* Those that waited for a feed, or for a reply of it. */
static void resume_held(struct rt_server *server)
{
	for (struct rt_session *s = server->sessions; s; s = s->next) {
		if (!s->held || s->renewal)
			continue;
		rt_session_resume(s);
		if (!s->held)
			rt_loop_resume(server->loop, &s->conn);
		mark_dirty(s);
	}
}

/* As far as no thread looks at them. */
static void reload(struct rt_server *server)
{
	server->reload_due = server->n_renewals;
	if (server->reload_due)
		return;
	rt_server_reload(server);
	rt_feeds_retry(server, true);
}

static void on_begin(void *ctx)
{
	struct rt_server *server = ctx;
	unsigned n_renewed;

	server->now_ns = rt_now_ns(CLOCK_REALTIME);
	server->round++;
	n_renewed = rt_renewals_take(server);
	if (RT_UNLIKELY(n_renewed && server->reload_due))
		reload(server);
	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		rt_feed_settle(&server->feeds[i]);
		rt_feed_set_time(&server->feeds[i], server->now_ns);
		rt_feed_sweep(&server->feeds[i]);
	}
	if (RT_UNLIKELY(n_renewed))
		resume_held(server);
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
	if (server->n_sessions >= rt_config_clients(server->config)) {
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
	struct rt_server *server = ctx;

	if (session->id != server->newest_id) {
		server->newest_id = session->id;
		server->alone_since = server->round;
	}
	rt_release_relieve(session);
	rt_session_input(session, bytes, len);
	if (RT_UNLIKELY(session->held))
		rt_loop_pause(server->loop, conn);
	if (session->reply.buf.len || session->closing)
		mark_dirty(session);
}

static void on_ended(void *ctx, struct rt_conn *conn, int error)
{
	struct rt_session *session = (struct rt_session *)conn;

	(void)ctx;
	if (session->held && !error) { /* what it has sent is still to be done */
		session->ended = true;
		return;
	}
	session->closing = true;
	session->broken |= error < 0;
	mark_dirty(session);
}

static void on_sent(void *ctx, struct rt_conn *conn)
{
	struct rt_session *session = (struct rt_session *)conn;

	(void)ctx;
	mark_dirty(session); /* there may be more, or it can have an end */
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

/* Those of feeds that want it; of all, if it is time @anyway. */
static void begin_syncs(struct rt_server *server, bool anyway)
{
	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		struct rt_feed *feed = &server->feeds[i];
		int fd = rt_feed_sync_begin(feed, anyway);

		if (fd >= 0)
			rt_loop_sync(server->loop, fd, feed);
	}
}

static void on_fetched(void *ctx, void *arg, int result)
{
	(void)ctx;
	rt_feed_fetch_end(arg, result);
}

static void begin_fetches(struct rt_server *server)
{
	for (unsigned i = 0; i < server->config->n_feeds; i++) {
		struct rt_feed *feed = &server->feeds[i];
		struct iovec pages;

		if (rt_feed_fetch_begin(feed, &pages))
			rt_loop_fetch(server->loop, &pages, feed);
	}
}

static void on_tick(void *ctx)
{
	struct rt_server *server = ctx;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		rt_feed_tick(&server->feeds[i]);
	rt_feeds_retry(server, false);
	begin_syncs(server, true);
	end_overdue(server);
	rt_log_tick();
	rt_notify_alive();
}

static void on_signalled(void *ctx, int signo)
{
	struct rt_server *server = ctx;

	if (signo == SIGHUP) {
		reload(server);
		return;
	}
	if (server->stopping)
		return;
	server->stopping = true;
	rt_log(RT_LOG_INFO, "%s: closing", signo == SIGINT ? "SIGINT" : "SIGTERM");
	rt_loop_deafen(server->loop);
	rt_renewals_cancel(server);
	/* Last replies have two seconds, and do not spend them waiting for a disk. */
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		(void)rt_feed_flush(&server->feeds[i]); /* who fails is told */
	for (struct rt_session *s = server->sessions; s; s = s->next) {
		s->closing = true;
		mark_dirty(s);
	}
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

/* Those that waited for what has settled or was lost. */
static void release_parked(struct rt_server *server)
{
	struct rt_session *session = server->parked;
	uint64_t n_settled = 0;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		n_settled += server->feeds[i].journal.n_settled;
	if (n_settled == server->n_settled)
		return;
	server->n_settled = n_settled;
	while (session) {
		struct rt_session *next = session->next_parked;

		rt_release(session);
		session = next;
	}
}

/*
 * Has one client been the only one for a while?  It is served faster without a thread,
 * and nobody else has to wait meanwhile.
 */
static bool is_alone(const struct rt_server *server)
{
	return server->round - server->alone_since >= ALONE_ROUNDS;
}

/*
 * A client that waits for each sync, and then has its next command ready: to sleep for
 * it would take longer than it does.
 */
static void expect_next(struct rt_server *server)
{
	bool quick = server->now_ns - server->synced_ns < QUICK_NS;

	server->synced_ns = rt_now_ns(CLOCK_REALTIME);
	if (quick)
		rt_loop_linger(server->loop, LINGER_NS);
}

/* Copies are made in rounds, and those need not wait for anybody.  If the count of
 * wakes is full, one is to come. */
static void copy_on(struct rt_server *server)
{
	bool goes_on = false;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		goes_on |= rt_retention_goes_on(&server->feeds[i].retention);
	if (RT_UNLIKELY(goes_on))
		(void)eventfd_write(server->wake_fd, 1);
}

static void on_round(void *ctx)
{
	struct rt_server *server = ctx;
	struct rt_session *session = server->dirty;
	bool waited = false;

	end_bound(server);
	server->dirty = NULL;
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		waited |= rt_feed_push(&server->feeds[i], server->round,
				       is_alone(server));
	begin_syncs(server, false);
	begin_fetches(server);
	set_alarm(server);
	while (session) {
		struct rt_session *next = session->next_dirty;

		session->dirty = false;
		rt_release(session);
		session = next;
	}
	release_parked(server);
	if (waited)
		expect_next(server);
	copy_on(server);
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
	.fetched = on_fetched,
	.round = on_round,
};
