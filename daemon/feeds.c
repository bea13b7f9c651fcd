/* SPDX-License-Identifier: MIT */
/*
 * The feeds of the daemon: opened at start, and those that could not be again and
 * again, in case the reason goes away: another writer, a full disk, a folder that is
 * missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "daemon/log.h"
#include "daemon/renew.h"
#include "daemon/server.h"
#include "daemon/session.h"

#define FIRST_WAIT_NS UINT64_C(1000000000)
#define MAX_WAIT_NS   UINT64_C(60000000000)
#define TRIES_MAX     8u  /* that go on at once */
#define WAIT_SHARE    20u /* a try may be much work: at most such a part of the time */

/* What does not go away by itself; a signal has it tried again all the same. */
static bool is_lasting(int error)
{
	return error == RT_E_CORRUPT || error == RT_E_VERSION || error == -EINVAL;
}

/* A lock file that somebody holds; opening the feed would wait a while for that. */
static bool is_held(const char *folder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/lock", folder);

	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool is_busy(const struct rt_config *config, const struct rt_feed_config *feed)
{
	char ring[PATH_MAX], log[PATH_MAX];

	(void)snprintf(ring, sizeof(ring), "%s/%s", config->dir, feed->name);
	return is_held(ring) ||
	       (rt_feed_log_path(config, feed, log) == 0 && log[0] && is_held(log));
}

/* What an opened feed needs to be served, or to be closed if @r says that it is not. */
static int settle_in(struct rt_server *server, struct rt_feed *feed, int r)
{
	/* Amid a run as well, this round is the first that it can lose. */
	if (server->loop)
		feed->round = server->round - 1;
	if (!r) {
		rt_retention_open(feed, &server->snapshotter);
		r = server->loop ? rt_feed_detach(feed, server->wake_fd, server->loop)
				 : 0;
		if (r < 0)
			rt_feed_set_reason(feed, strerror(-r));
	}
	if (r < 0) {
		if (!feed->failed && server->stopping)
			rt_feed_leave(feed);
		else if (!feed->failed)
			rt_feed_close(feed); /* its locks are for the next try */
		return r;
	}
	rt_log(RT_LOG_INFO, "feed '%s': at seq %llu, %zu keys from seq %llu on",
	       feed->config->name, (unsigned long long)rt_feed_seq(feed), feed->table.n,
	       (unsigned long long)feed->rebuilt_from);
	return 0;
}

/* When to try again what has failed with @error, after a try that took @took_ns. */
static void plan(struct rt_retry *retry, int error, uint64_t took_ns)
{
	retry->wait_ns = retry->wait_ns ? retry->wait_ns * 2 : FIRST_WAIT_NS;
	retry->wait_ns = rt_min(retry->wait_ns, MAX_WAIT_NS);
	retry->at_ns = is_lasting(error)
			       ? 0
			       : rt_now_ns(CLOCK_MONOTONIC) +
					 rt_max(retry->wait_ns, took_ns * WAIT_SHARE);
}

/* It was tried: what came of it, after how long. */
static void conclude(struct rt_server *server, unsigned i, int r, uint64_t took_ns)
{
	struct rt_retry *retry = &server->retries[i];
	bool first = !retry->wait_ns;

	if (r >= 0 || server->feeds[i].failed) {
		*retry = (struct rt_retry){ 0 };
		return;
	}
	if (r == -ECANCELED) {
		rt_log(RT_LOG_INFO, "feed '%s': %s", server->config->feeds[i].name,
		       server->feeds[i].reason);
		return;
	}
	/* For another writer it was waiting, which the next try does not. */
	plan(retry, r, r == RT_E_BUSY ? 0 : took_ns);
	rt_log(first ? RT_LOG_ERROR : RT_LOG_WARNING, "feed '%s' is not served: %s; %s",
	       server->config->feeds[i].name, server->feeds[i].reason,
	       retry->at_ns ? "trying again from time to time, and on SIGHUP"
			    : "SIGHUP has it tried again");
}

/* Reads at most @check_bytes of its old history; returns how much that was. */
static uint64_t try_open(struct rt_server *server, unsigned i, uint64_t check_bytes)
{
	uint64_t begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	struct rt_feed *feed = &server->feeds[i];
	int r = rt_feed_open(feed, server->config, &server->config->feeds[i],
			     check_bytes, NULL);

	r = settle_in(server, feed, r);
	conclude(server, i, r, rt_now_ns(CLOCK_MONOTONIC) - begun_ns);
	return r < 0 ? check_bytes : feed->journal.log.unchecked.n_read;
}

int rt_feeds_adopt(struct rt_server *server, struct rt_feed *feed, int error,
		   uint64_t took_ns)
{
	unsigned i = (unsigned)(feed - server->feeds);

	error = settle_in(server, feed, error);
	conclude(server, i, error, took_ns);
	rt_sessions_judge(server, feed);
	return error < 0 ? error : 0;
}

/*
 * Nobody is served before all feeds are open, so all together read as much of their old
 * history as one alone would: the one that may read most.  Each has its share of that,
 * and of what those before it left.
 */
static void open_all(struct rt_server *server)
{
	const struct rt_config *config = server->config;
	uint64_t left = 0;

	for (unsigned i = 0; i < config->n_feeds; i++)
		left = rt_max(left, config->feeds[i].start_check);
	for (unsigned i = 0; i < config->n_feeds; i++)
		left -= try_open(server, i,
				 rt_min(config->feeds[i].start_check,
					left / (config->n_feeds - i)));
}

int rt_feeds_open(struct rt_server *server)
{
	unsigned n = server->config->n_feeds;

	server->feeds = calloc(n, sizeof(*server->feeds));
	server->retries = calloc(n, sizeof(*server->retries));
	if (!server->feeds || !server->retries)
		return -ENOMEM;
	open_all(server);
	return rt_feeds_served(server) ? 0 : -ENOENT;
}

unsigned rt_feeds_served(const struct rt_server *server)
{
	unsigned n = 0;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		n += server->feeds[i].writer != NULL;
	return n;
}

void rt_feeds_retry(struct rt_server *server, bool all)
{
	uint64_t now_ns = rt_now_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < server->config->n_feeds && !server->stopping; i++) {
		struct rt_retry *retry = &server->retries[i];
		struct rt_feed *feed = &server->feeds[i];

		if (!retry->wait_ns || feed->renewal ||
		    (!all && (!retry->at_ns || now_ns < retry->at_ns)))
			continue;
		if (is_busy(server->config, &server->config->feeds[i])) {
			plan(retry, RT_E_BUSY, 0);
			continue;
		}
		retry->at_ns = now_ns; /* with the next tick, if not now */
		if (server->n_renewals >= TRIES_MAX)
			continue;
		rt_feed_close(feed);
		if (rt_renew_open(server, feed) < 0)
			plan(retry, -EAGAIN, 0);
	}
}
