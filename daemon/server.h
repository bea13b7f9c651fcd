/* SPDX-License-Identifier: MIT */
/*
 * server.h - the daemon: feeds, sessions, and what binds them to the loop
 *
 * One thread owns everything here.  Sessions know the server for its feeds, limits
 * and counters; what reaches the network goes through server.c alone.
 */
#ifndef RINGTAIL_DAEMON_SERVER_H
#define RINGTAIL_DAEMON_SERVER_H

#include "daemon/config.h"
#include "daemon/feed.h"
#include "daemon/loop.h"

struct rt_session;

struct rt_stats {
	uint64_t commands;
	uint64_t accepted;
	uint64_t refused;          /* over max_clients, or no memory */
	uint64_t closed_for_cause; /* over a limit, or not the protocol */
	uint64_t bytes_in;
	uint64_t bytes_out;
};

/* Of a feed that could not be opened: when to try it again. */
struct rt_retry {
	uint64_t wait_ns; /* since the last try, at least; 0: it was opened */
	uint64_t at_ns;   /* CLOCK_MONOTONIC; 0: not by itself */
};

struct rt_server {
	struct rt_config *config; /* a reload changes what can be changed */
	struct rt_feed *feeds;    /* as many as config->n_feeds */
	struct rt_retry *retries; /* likewise */
	struct rt_snapshotter snapshotter;
	struct rt_loop *loop; /* NULL in tests of what needs none */
	struct rt_session *sessions;
	struct rt_session *dirty;  /* those with something to send or to end */
	struct rt_session *parked; /* those whose replies wait for a feed */
	int wake_fd;               /* counts what the threads of feeds have done */
	uint64_t n_settled; /* batches of all feeds, when the parked were looked at */
	uint64_t round;
	uint64_t synced_ns;   /* when its round last waited for a disk */
	uint64_t newest_id;   /* the session that sent something last ... */
	uint64_t alone_since; /* ... and since when no other has */
	unsigned n_sessions;
	unsigned n_renewals; /* feeds that are being renewed */
	bool reload_due;     /* as soon as none is */
	uint64_t next_id;
	uint64_t now_ns;     /* CLOCK_REALTIME as of this round */
	uint64_t started_ns; /* CLOCK_REALTIME */
	bool stopping;
	struct rt_stats stats;
};

/* Opens the feeds; negative, with everything logged, if none can be served. */
int rt_server_open(struct rt_server *server, struct rt_config *config);
/*
 * feeds.c: opens all feeds, -ENOENT if none can be; and again those that could not be,
 * when it is time for that, or now (@all).  One that failed while it was served is
 * for a restart: what became of its log has to be looked at.
 */
int rt_feeds_open(struct rt_server *server);
void rt_feeds_retry(struct rt_server *server, bool all);
unsigned rt_feeds_served(const struct rt_server *server); /* their number */
/*
 * One that was opened by somebody else, @error being what came of it, after @took_ns.
 * 0, or its reason says why it is not served, and it is tried again as those are.
 */
int rt_feeds_adopt(struct rt_server *server, struct rt_feed *feed, int error,
		   uint64_t took_ns);

/* Before rt_loop_run(). */
int rt_server_attach(struct rt_server *server, struct rt_loop *loop);
void rt_server_close(struct rt_server *server);
/* The same, as rt_feed_leave(); @server stays, so that its memory is not lost. */
void rt_server_leave(struct rt_server *server);

/*
 * Reads the settings again, as they were given at start.  Who may read and publish
 * changes at once; what else has changed is logged as waiting for a restart.
 */
void rt_server_reload(struct rt_server *server);

/*
 * Changes who may read a feed, for sessions too, until a restart or a reload.  Negative
 * with a text.
 */
int rt_server_set_access(struct rt_server *server, struct rt_feed *feed,
			 struct rt_access access, struct rt_fault *fault);

/* What the loop calls, with the server as context; a signal ends it. */
extern const struct rt_loop_ops rt_server_ops;

/* The feed of this name, or number; NULL if there is none. */
struct rt_feed *rt_server_feed(struct rt_server *server, const uint8_t *name,
			       size_t len);

#endif
