/* SPDX-License-Identifier: MIT */
/*
 * How a feed is opened and closed, and who may read it.
 */
#include "daemon/feed.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "daemon/rebuild.h"
#include "store/renew.h"

#define NS_PER_MS UINT64_C(1000000)

struct rt_holder *rt_feed_holder(struct rt_feed *feed)
{
	struct rt_holder *holder = calloc(1, sizeof(*holder));

	if (holder)
		holder->feed = feed;
	return holder;
}

int rt_feed_log_path(const struct rt_config *config, const struct rt_feed_config *feed,
		     char ret[PATH_MAX])
{
	int n = 0;

	ret[0] = 0;
	if (feed->durability == RT_LOG_MEMORY)
		n = snprintf(ret, PATH_MAX, "%s/%s/log", config->dir, feed->name);
	else if (feed->durability != RT_DURABILITY_NONE)
		n = snprintf(ret, PATH_MAX, "%s/%s", config->data, feed->name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Before anybody can see it: what ended while no daemon ran. */
static int sweep_past(struct rt_feed *feed)
{
	uint64_t now_ns = rt_now_ns(CLOCK_REALTIME);

	feed->now_ms = now_ns / NS_PER_MS;
	if (rt_feed_next_ms(feed) > feed->now_ms)
		return 0;
	rt_feed_set_time(feed, now_ns);
	while (rt_feed_next_ms(feed) <= feed->now_ms)
		rt_feed_sweep(feed);
	return rt_feed_flush(feed);
}

static void see_owner(struct rt_feed *feed)
{
	struct stat st;

	if (fstat(feed->writer->segment.fd, &st) < 0)
		return; /* then nobody but root and publishers may read */
	feed->uid = st.st_uid;
	feed->gid = st.st_gid;
	feed->mode = st.st_mode & 0777;
}

void rt_feed_set_reason(struct rt_feed *feed, const char *text)
{
	char name[RT_NAME_MAX + 16];
	int len = snprintf(name, sizeof(name), "feed '%s': ", feed->config->name);

	if (len > 0 && !strncmp(text, name, (size_t)len))
		text += len;
	(void)snprintf(feed->reason, sizeof(feed->reason), "%s", text);
}

int rt_feed_open(struct rt_feed *feed, const struct rt_config *config,
		 const struct rt_feed_config *feed_config, uint64_t check_bytes,
		 const _Atomic bool *cancel)
{
	struct rt_rebuild rebuild = { .feed = feed };
	const struct rt_log_base base = { rt_rebuild_begin, rt_rebuild_state, &rebuild,
					  check_bytes, cancel };
	struct rt_fault fault = { "out of memory" };
	char path[PATH_MAX] = "";
	int r;

	*feed = (struct rt_feed){ .config = feed_config,
				  .keeps_prev = feed_config->prev_value,
				  .uid = (uid_t)-1,
				  .gid = (gid_t)-1,
				  .n_stale_syncs = feed->n_stale_syncs,
				  .fetching = feed->fetching };
	r = rt_table_init(&feed->table, rt_random64());
	if (!r)
		r = rt_feed_log_path(config, feed_config, path);
	if (!r)
		r = rt_journal_open(&feed->journal, config->dir, path[0] ? path : NULL,
				    feed_config, rt_rebuild_event, &rebuild, &base,
				    &fault);
	if (!r)
		r = rt_rebuild_end(&rebuild);
	if (r < 0) {
		rt_feed_set_reason(feed, r == -ECANCELED
						 ? "it was not opened any more, since "
						   "the daemon ends"
						 : fault.text);
		return r;
	}
	if (path[0])
		rt_renew_clean(path); /* of a crash amid a reset or a restore */
	feed->writer = feed->journal.writer;
	if (!feed->rebuilt_from)
		feed->rebuilt_from = rt_feed_seq(feed) + 1;
	see_owner(feed);
	return sweep_past(feed);
}

static void free_holders(struct rt_feed *feed)
{
	while (feed->ended) {
		struct rt_holder *holder = feed->ended;

		feed->ended = holder->next;
		free(holder);
	}
}

void rt_feed_forget(struct rt_feed *feed)
{
	rt_table_fini(&feed->table);
	rt_lives_fini(&feed->lives);
	free_holders(feed);
}

void rt_feed_leave(struct rt_feed *feed)
{
	rt_retention_close(feed);
	if (feed->in_txn)
		rt_feed_abort(feed);
	while (!rt_feed_next_ms(feed))
		rt_feed_sweep(feed);
	if (feed->writer)
		(void)rt_feed_flush(feed); /* a failure is logged there */
	if (feed->journal.writer) {
		feed->n_stale_syncs += feed->journal.sync_fd >= 0;
		rt_journal_close(&feed->journal, true);
	}
	feed->writer = NULL;
}

void rt_feed_close(struct rt_feed *feed)
{
	rt_feed_leave(feed);
	rt_feed_forget(feed);
	free(feed->undo);
	feed->undo = NULL;
}

void rt_feed_give_log(struct rt_feed *feed)
{
	struct rt_fault fault;

	if (rt_feed_flush(feed) < 0) /* nothing may be on its way to the log */
		return;
	if (rt_log_set_access(&feed->journal.log, feed->mode, feed->uid, feed->gid,
			      &fault) < 0)
		return; /* said when it was asked for */
	feed->log_access_due = false;
	rt_log(RT_LOG_INFO, "feed '%s': its log may be read as its ring is",
	       feed->config->name);
}

int rt_feed_set_access(struct rt_feed *feed, struct rt_access access,
		       struct rt_fault *fault)
{
	int r;

	if (!feed->writer) {
		rt_fault_set(fault, "feed '%s' is not served: %.400s",
			     feed->config->name, feed->reason);
		return -ENOENT;
	}
	if (geteuid() && (access.mode & 0600) != 0600) {
		rt_fault_set(fault,
			     "feed '%s': with mode %04o the daemon could not open it "
			     "again: its owner has to read and write, as with 0640",
			     feed->config->name, access.mode);
		return -EINVAL;
	}
	/* A new file would be that of the daemon's user, if it is not given away. */
	if (access.uid == (uid_t)-1)
		access.uid = feed->uid;
	if (access.gid == (gid_t)-1)
		access.gid = feed->gid;
	rt_retention_cancel(feed);
	r = rt_journal_set_access(&feed->journal, access.mode, access.uid, access.gid);
	if (feed->journal.broken)
		rt_feed_fail(feed);
	else
		see_owner(feed);
	feed->log_access_due = r < 0 && feed->writer && feed->journal.has_log &&
			       feed->mode == access.mode && feed->uid == access.uid &&
			       feed->gid == access.gid;
	if (r < 0) {
		*fault = feed->journal.fault;
		return r;
	}
	rt_log(RT_LOG_INFO,
	       "feed '%s': moved to a ring of mode %04o, user %u, group %u",
	       feed->config->name, feed->mode, feed->uid, feed->gid);
	return 0;
}
