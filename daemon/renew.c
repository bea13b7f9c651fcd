/* SPDX-License-Identifier: MIT */
#include "daemon/renew.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "daemon/log.h"
#include "daemon/release.h"
#include "daemon/renew_parts.h"
#include "daemon/session.h"
#include "daemon/slice.h"
#include "shm/thread.h"

static struct rt_renewal *new_renewal(struct rt_server *server, struct rt_feed *feed,
				      enum rt_renew_kind kind)
{
	struct rt_renewal *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->server = server;
	r->feed = feed;
	r->kind = kind;
	r->lock_fd = -1;
	r->begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	return r;
}

static void free_renewal(struct rt_renewal *r)
{
	free(r->own.undo); /* what was over before it was opened has used it */
	free(r->path);
	free(r);
}

/*
 * ---- Handing over ------------------------------------------------------------
 */

static int refuse(const struct rt_feed *feed, const char *why, struct rt_fault *fault)
{
	rt_fault_set(fault, "feed '%s' %s; nothing was changed", feed->config->name,
		     why);
	return -EINVAL;
}

/* All of it is history, as far as it will ever be, and those who waited know. */
static int settle(struct rt_renewal *r, struct rt_fault *fault)
{
	struct rt_feed *feed = r->feed;
	int error = rt_feed_log_path(r->server->config, feed->config, r->log_path);

	if (error < 0)
		return refuse(feed, "has a path that is too long for its log", fault);
	if (!r->log_path[0])
		return refuse(feed,
			      "keeps no log, and so no state that could outlive "
			      "its ring (durability)",
			      fault);
	if (rt_feed_flush(feed) < 0) {
		rt_fault_set(fault, "%s", feed->reason);
		return -EIO;
	}
	/* What was lost is known as lost only as long as the feed is the old one. */
	rt_release_all(r->server);
	return 0;
}

/* What the thread has is nowhere else. */
static void hand_over(struct rt_renewal *r)
{
	struct rt_feed *feed = r->feed;

	/* Of pages that are made ready the loop is told, and not the thread. */
	rt_window_close(&feed->journal.log.window);
	rt_copying_end(feed); /* the loop's, as are other copies */
	r->own = (struct rt_feed){
		.config = feed->config,
		.writer = feed->writer,
		.journal = feed->journal,
		.failed = feed->failed,
		.failed_round = feed->failed_round,
		.table = feed->table,
		.lives = feed->lives,
		.keeps_prev = feed->keeps_prev,
		.rebuilt_from = feed->rebuilt_from,
	};
	memcpy(r->own.reason, feed->reason, sizeof(feed->reason));
	r->asked = feed->retention.asked;
	r->n_settled = feed->journal.n_settled;
	r->time_ns = feed->writer ? feed->journal.time_ns : 0;
	feed->n_stale_syncs += feed->journal.has_log && feed->journal.sync_fd >= 0;
	feed->stale_result = 0;
	feed->writer = NULL;
	feed->failed = false;
	feed->journal = (struct rt_journal){
		.log = RT_LOG_NONE,
		.sync_fd = -1,
		.n_settled = r->n_settled,
	};
	feed->table = (struct rt_table){ .n = 0 };
	feed->lives = (struct rt_lives){ .n = 0 };
	if (r->kind != RT_RENEW_OPEN)
		rt_feed_set_reason(feed, r->kind == RT_RENEW_RESET
						 ? "it is being reset"
						 : "it is being restored");
	feed->is_awaited = r->kind != RT_RENEW_OPEN;
	feed->renewal = r;
	r->server->n_renewals++;
}

static void *run(void *arg)
{
	struct rt_renewal *r = arg;
	int wake_fd = r->server->wake_fd;

	rt_slice_set(RT_SLICE_USUAL);
	rt_renewal_work(r);
	atomic_store(&r->done, true);
	/* Fails only when it is full: then a wake is due already. */
	(void)eventfd_write(wake_fd, 1);
	return NULL;
}

/*
 * ---- Taking back -------------------------------------------------------------
 */

/* What there is of the feed is what the thread leaves. */
static void take(struct rt_renewal *r)
{
	struct rt_feed *feed = r->feed, *own = &r->own;

	feed->renewal = NULL;
	feed->is_awaited = false;
	r->server->n_renewals--;
	feed->writer = own->writer;
	feed->journal = own->journal;
	feed->failed = own->failed;
	feed->failed_round = own->failed_round;
	feed->table = own->table;
	feed->lives = own->lives;
	feed->rebuilt_from = own->rebuilt_from;
	memcpy(feed->reason, own->reason, sizeof(feed->reason));
}

/* It is as it was. */
static void give_back(struct rt_renewal *r)
{
	struct rt_feed *feed = r->feed;

	take(r);
	if (!feed->journal.has_log || feed->journal.sync_fd < 0)
		return;
	/* It may have been synced meanwhile. */
	if (feed->n_stale_syncs)
		feed->n_stale_syncs--;
	else
		rt_feed_sync_end(feed, feed->stale_result);
}

/* Connections hold nothing in it any more, and what they watched has changed. */
static void forget_sessions(struct rt_renewal *r)
{
	for (struct rt_session *s = r->server->sessions; s; s = s->next)
		rt_session_forget(s, r->feed);
}

/* Its keys are others, and so is what ends them. */
static void take_rebuilt(struct rt_renewal *r)
{
	struct rt_feed *feed = r->feed, *own = &r->own;

	forget_sessions(r);
	rt_feed_forget(feed); /* what was bound to those who are gone */
	take(r);
	feed->ended = own->ended;
	for (struct rt_holder *holder = feed->ended; holder; holder = holder->next)
		holder->feed = feed;
	feed->uid = own->uid;
	feed->gid = own->gid;
	feed->mode = own->mode;
	feed->now_ms = own->now_ms;
	feed->stuck = own->stuck;
	feed->log_access_due = false;
}

/* It is served again, by whatever its folder has now; or not, as its reason says. */
static int take_up(struct rt_renewal *r)
{
	struct rt_server *server = r->server;
	struct rt_feed *feed = r->feed;
	int opened;

	if (r->rebuilt)
		take_rebuilt(r);
	else
		take(r);
	if (r->kind != RT_RENEW_OPEN)
		server->retries[feed - server->feeds] = (struct rt_retry){ 0 };
	opened = rt_feeds_adopt(server, feed, r->opened,
				rt_now_ns(CLOCK_MONOTONIC) - r->begun_ns);
	feed->journal.n_settled += r->n_settled;
	if (opened < 0) {
		rt_fault_set(&r->fault, "feed '%s': %.400s", feed->config->name,
			     feed->reason);
		forget_sessions(r);
		return opened;
	}
	feed->retention.asked = feed->retention.answered = r->asked;
	feed->journal.time_ns = rt_max(feed->journal.time_ns, r->time_ns);
	return 0;
}

static void say(const struct rt_renewal *r)
{
	rt_log(RT_LOG_WARNING,
	       "feed '%s': %s: epoch %016llx begins after seq %llu, with %zu keys",
	       r->feed->config->name,
	       r->kind == RT_RENEW_RESTORE ? "restored" : "reset",
	       (unsigned long long)r->feed->journal.log.epoch,
	       (unsigned long long)rt_feed_seq(r->feed), r->feed->table.n);
}

static void finish(struct rt_renewal *r)
{
	int opened = 0;

	(void)pthread_join(r->thread, NULL); /* it is joinable, and nobody else does */
	if (r->reopened)
		opened = take_up(r);
	else
		give_back(r);
	if (r->kind != RT_RENEW_OPEN && !r->result && !opened)
		say(r);
	if (r->asker) {
		r->asker->renewal = NULL;
		r->tell(r->asker, r->feed, r->result || opened ? &r->fault : NULL);
	}
	free_renewal(r);
}

/*
 * ---- For the loop ------------------------------------------------------------
 */

/* If there is no thread, it is as it was. */
static int hand_to_thread(struct rt_renewal *r)
{
	int error;

	hand_over(r);
	error = rt_thread_start(&r->thread, run, r);
	if (error < 0)
		give_back(r);
	return error;
}

int rt_renew_begin(struct rt_session *asker, struct rt_feed *feed, const char *path,
		   rt_renewed *tell, struct rt_fault *fault)
{
	struct rt_renewal *r;
	int error;

	if (!path && !feed->writer) {
		rt_fault_set(fault, "feed '%s' is not served: %.400s",
			     feed->config->name, feed->reason);
		return -EIO;
	}
	r = new_renewal(asker->server, feed, path ? RT_RENEW_RESTORE : RT_RENEW_RESET);
	if (!r)
		return -ENOMEM;
	r->path = path ? strdup(path) : NULL;
	error = path && !r->path ? -ENOMEM : settle(r, fault);
	if (!error) {
		error = hand_to_thread(r);
		if (error < 0)
			rt_fault_set(fault, "no thread for it: %s", strerror(-error));
	}
	if (error < 0) {
		free_renewal(r);
		return error;
	}
	r->tell = tell;
	r->asker = asker;
	asker->renewal = r;
	rt_session_hold(asker, NULL);
	return 0;
}

int rt_renew_open(struct rt_server *server, struct rt_feed *feed)
{
	struct rt_renewal *r = new_renewal(server, feed, RT_RENEW_OPEN);
	int error = r ? hand_to_thread(r) : -ENOMEM;

	if (r && error < 0)
		free_renewal(r);
	return error;
}

void rt_renewal_forget(struct rt_renewal *renewal)
{
	renewal->asker = NULL;
}

unsigned rt_renewals_take(struct rt_server *server)
{
	unsigned n = 0;

	for (unsigned i = 0; server->n_renewals && i < server->config->n_feeds; i++) {
		struct rt_renewal *renewal = server->feeds[i].renewal;

		if (!renewal || !atomic_load(&renewal->done))
			continue;
		finish(renewal);
		n++;
	}
	return n;
}

void rt_renewals_cancel(struct rt_server *server)
{
	for (unsigned i = 0; server->n_renewals && i < server->config->n_feeds; i++)
		if (server->feeds[i].renewal)
			atomic_store(&server->feeds[i].renewal->cancel, true);
}

void rt_renewals_end(struct rt_server *server)
{
	rt_renewals_cancel(server);
	for (unsigned i = 0; server->n_renewals && i < server->config->n_feeds; i++)
		if (server->feeds[i].renewal)
			finish(server->feeds[i].renewal); /* which waits */
}
