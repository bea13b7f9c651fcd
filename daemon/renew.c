/* SPDX-License-Identifier: MIT */
#include "daemon/renew.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "daemon/log.h"
#include "daemon/release.h"
#include "daemon/session.h"
#include "daemon/systemd.h"
#include "store/lock.h"
#include "store/renew.h"

#define BEAT_EVERY_NS UINT64_C(500000000)

/* A feed on its way from one history to the next. */
struct change {
	struct rt_server *server;
	struct rt_feed *feed;
	struct rt_fault *fault;
	char log_path[PATH_MAX];
	struct rt_renew renew;
	int lock_fd;        /* of a log that is not open; -1: none */
	uint64_t asked;     /* requests for snapshots: those who wait go on */
	uint64_t n_settled; /* batches so far: those who wait count on it */
	uint64_t time_ns;   /* of the newest event so far */
};

static int refuse(const struct change *c, const char *why)
{
	rt_fault_set(c->fault, "feed '%s' %s; nothing was changed",
		     c->feed->config->name, why);
	return -EINVAL;
}

static int begin_change(struct change *c)
{
	struct rt_feed *feed = c->feed;
	int r = rt_feed_log_path(c->server->config, feed->config, c->log_path);

	if (r < 0)
		return refuse(c, "has a path that is too long for its log");
	if (!c->log_path[0])
		return refuse(c, "keeps no log, and so no state that could outlive "
				 "its ring (durability)");
	if (rt_feed_flush(feed) < 0) {
		rt_fault_set(c->fault, "%s", feed->reason);
		return -EIO;
	}
	/* What was lost is known as lost only as long as the feed is the old one. */
	rt_release_all(c->server);
	c->n_settled = feed->journal.n_settled;
	if (!feed->writer)
		return 0;
	c->time_ns = feed->journal.time_ns;
	c->asked = feed->retention.asked;
	return 0;
}

/* Whoever looks at feeds, or at the daemon, sees that it is at work. */
static void beat(void *arg)
{
	struct rt_server *server = arg;
	static uint64_t beaten_ns;
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);

	if (now - beaten_ns < BEAT_EVERY_NS)
		return;
	beaten_ns = now;
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		if (server->feeds[i].journal.writer)
			rt_writer_beat(server->feeds[i].journal.writer);
	rt_notify_alive();
}

/* What the new log begins with. */
static void set_snapshot(struct change *c, uint64_t seq, uint64_t time_ns)
{
	const struct rt_ring_config ring = rt_config_ring(c->feed->config);

	c->renew.log_path = c->log_path;
	c->renew.alive = beat;
	c->renew.alive_arg = c->server;
	c->renew.snapshot = (struct rt_snapshot_config){
		.name = c->feed->config->name,
		.seq = seq,
		.time_ns = time_ns,
		.file_mode = ring.mode,
		.uid = ring.uid,
		.gid = ring.gid,
		.sync = c->feed->config->durability != RT_LOG_MEMORY,
	};
}

/* Whoever made snapshots of it, or syncs it, has done so for the last time. */
static void let_go(struct change *c)
{
	struct rt_feed *feed = c->feed;

	rt_retention_close(feed);
	if (feed->journal.sync_fd >= 0)
		feed->n_stale_syncs++;
	/* Not closed: it goes on, elsewhere. */
	rt_journal_close(&feed->journal, false);
	feed->writer = NULL;
}

/* It is served again, by whatever its folder has now. */
static void take_up(struct change *c)
{
	struct rt_feed *feed = c->feed;

	feed->retention.asked = feed->retention.answered = c->asked;
	feed->journal.time_ns = rt_max(feed->journal.time_ns, c->time_ns);
	feed->journal.n_settled += c->n_settled;
	rt_feed_set_time(feed, c->server->now_ns);
}

static void end_change(struct change *c)
{
	rt_close_fd(&c->lock_fd);
	if (c->renew.log_path)
		rt_renew_clean(c->log_path);
}

static void say(const struct change *c, const char *what)
{
	rt_log(RT_LOG_WARNING,
	       "feed '%s': %s: epoch %016llx begins after seq %llu, with %zu keys",
	       c->feed->config->name, what,
	       (unsigned long long)c->feed->journal.log.epoch,
	       (unsigned long long)rt_feed_seq(c->feed), c->feed->table.n);
}

/* Connections hold nothing in it any more, and what they watched has changed. */
static void forget_sessions(struct change *c)
{
	for (struct rt_session *s = c->server->sessions; s; s = s->next)
		rt_session_forget(s, c->feed);
}

/* All of it is read again, from the folder. */
static int open_again(struct change *c)
{
	struct rt_feed *feed = c->feed;
	struct rt_feed_counts counts = feed->counts;
	int r;

	rt_feed_forget(feed);
	free(feed->undo);
	rt_close_fd(&c->lock_fd);
	c->lock_fd = -1; /* its journal takes it */
	r = rt_feeds_open_again(c->server, feed);
	feed->counts = counts;
	if (r < 0)
		rt_fault_set(c->fault, "feed '%s': %.400s", feed->config->name,
			     feed->reason);
	else
		take_up(c);
	return r;
}

/*
 * ---- Reset -------------------------------------------------------------------
 */

struct lending {
	const struct rt_feed *feed;
	struct rt_delta delta;
	int result;
};

static void lend(void *arg, const struct rt_entry *entry)
{
	struct lending *l = arg;
	struct rt_state state = rt_feed_state(l->feed, entry);

	if (!l->result)
		l->result = rt_delta_lend(&l->delta, &state);
}

/* The table, in order of keys, into the new folder. */
static int prepare_table(struct change *c)
{
	struct lending l = { .feed = c->feed };
	struct rt_merge merge;
	uint64_t cursor = 0;
	int r;

	do {
		cursor = rt_table_walk(&c->feed->table, cursor, lend, &l);
	} while (cursor && !l.result);
	r = l.result;
	if (!r) {
		beat(c->server);
		rt_delta_sort(&l.delta);
		rt_merge_begin(&merge, NULL, &l.delta);
		r = rt_renew_prepare(&c->renew, &merge, c->fault);
	}
	rt_delta_fini(&l.delta);
	return r;
}

/* The table has it all already. */
static int ignore_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	(void)arg;
	(void)seq;
	(void)n_entries;
	return 0;
}

static int ignore_state(void *arg, const struct rt_state *state)
{
	(void)arg;
	(void)state;
	return 0;
}

static int ignore_event(void *arg, const struct rt_item *item)
{
	(void)arg;
	(void)item;
	return 0;
}

/* The table stays, and so do the connections that hold keys in it. */
static int reopen_journal(struct change *c, struct rt_fault *fault)
{
	static const struct rt_log_base base = { ignore_begin, ignore_state, NULL };
	struct rt_feed *feed = c->feed;
	int r = rt_journal_open(&feed->journal, c->server->config->dir, c->log_path,
				feed->config, ignore_event, NULL, &base, fault);

	if (r < 0)
		return r;
	feed->writer = feed->journal.writer;
	r = rt_feed_detach(feed, c->server->wake_fd);
	if (r < 0) {
		rt_fault_set(fault, "%s", strerror(-r));
		rt_journal_close(&feed->journal, false);
		feed->writer = NULL;
	}
	return r;
}

/* If that fails, it is opened as at start, now or, as the server plans it, later. */
static int reopen(struct change *c)
{
	struct rt_feed *feed = c->feed;
	struct rt_fault fault = { "out of memory" };

	if (reopen_journal(c, &fault) < 0) {
		rt_feed_set_reason(feed, fault.text);
		rt_log(RT_LOG_ERROR, "feed '%s' was not opened after its reset: %s",
		       feed->config->name, feed->reason);
		forget_sessions(c);
		return open_again(c);
	}
	rt_retention_open(feed, &c->server->snapshotter);
	take_up(c);
	return 0;
}

int rt_feed_reset(struct rt_server *server, struct rt_feed *feed,
		  struct rt_fault *fault)
{
	AUTO(end_change)
	struct change c = { server, feed, fault, .lock_fd = -1 };
	int r, opened;

	if (!feed->writer) {
		rt_fault_set(fault, "feed '%s' is not served: %.400s",
			     feed->config->name, feed->reason);
		return -EIO;
	}
	r = begin_change(&c);
	if (r < 0)
		return r;
	set_snapshot(&c, rt_feed_seq(feed), feed->writer->last_ns);
	r = prepare_table(&c);
	if (r < 0)
		return r;
	let_go(&c);
	r = rt_renew_swap(&c.renew, fault);
	opened = reopen(&c); /* the old one, if that has failed */
	if (!r && !opened)
		say(&c, "reset");
	return r < 0 ? r : opened;
}

/*
 * ---- Restore -----------------------------------------------------------------
 */

/* Nobody else may be at a log that we have not open. */
static int lock_log(struct change *c)
{
	AUTO_CLOSE int dir_fd = open(c->log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir_fd < 0)
		return errno == ENOENT ? 0
				       : refuse(c, "has a log that cannot be opened");
	r = rt_log_lock(dir_fd, true, 0);
	if (r < 0)
		return refuse(c, r == RT_E_BUSY
					 ? "has a log that another process writes"
					 : "has a log that cannot be locked");
	c->lock_fd = r;
	return 0;
}

/* The seq after which the new history begins: no less than any there ever was. */
static int find_seq(struct change *c, uint64_t *ret)
{
	AUTO(rt_segment_drop) struct rt_segment segment = RT_SEGMENT_NONE;
	char path[PATH_MAX];
	uint64_t oldest, head;
	int r;

	if (c->feed->journal.writer) {
		*ret = rt_feed_seq(c->feed);
		return 0;
	}
	r = lock_log(c);
	if (r < 0)
		return r;
	r = rt_renew_head(c->log_path, ret);
	if (r < 0)
		return refuse(c, "has a log that cannot be read");
	(void)snprintf(path, sizeof(path), "%s/%s/ring", c->server->config->dir,
		       c->feed->config->name);

	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || rt_segment_map(fd, false, path, NULL, &segment) < 0)
		return 0;
	rt_ring_bounds(&segment, &oldest, &head);
	*ret = rt_max(*ret, head);
	return 0;
}

static int go_on(void *server)
{
	beat(server);
	return 0;
}

static int prepare_file(struct change *c, const char *path)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	struct rt_merge merge;
	uint64_t seq = 0;
	int r = rt_snapshot_verify_while(AT_FDCWD, path, path, go_on, c->server,
					 c->fault, NULL);

	if (!r)
		r = rt_snapshot_open(AT_FDCWD, path, path, c->fault, &snapshot);
	if (!r)
		r = find_seq(c, &seq);
	if (r < 0)
		return r;
	set_snapshot(c, rt_max(seq, snapshot.header.seq),
		     rt_max(snapshot.header.time_ns, c->time_ns));
	c->renew.drop_bound = true;
	rt_merge_begin(&merge, &snapshot, NULL);
	return rt_renew_prepare(&c->renew, &merge, c->fault);
}

int rt_feed_restore(struct rt_server *server, struct rt_feed *feed, const char *path,
		    struct rt_fault *fault)
{
	AUTO(end_change)
	struct change c = { server, feed, fault, .lock_fd = -1 };
	bool was_open = feed->journal.writer;
	int r = begin_change(&c), opened = 0;

	if (!r)
		r = prepare_file(&c, path);
	if (r < 0)
		return r;
	if (was_open)
		let_go(&c);
	r = rt_renew_swap(&c.renew, fault);
	if (!r || was_open) {
		forget_sessions(&c);
		opened = open_again(&c); /* the old one, if that has failed */
	}
	if (!r && !opened)
		say(&c, "restored");
	return r < 0 ? r : opened;
}
