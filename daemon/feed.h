/* SPDX-License-Identifier: MIT */
/*
 * feed.h - one feed as the daemon has it: its ring, and the newest value of each key
 *
 * Every change goes through here, and the ring and the table change together or not
 * at all.  A change outside begin and commit is a transaction of its own; within,
 * the table shows the changes at once, and abort takes them back.
 *
 *	session  --change-->  feed  --one, or begin add.. commit-->  journal
 *	                       |                                     (log, ring)
 *	                       +--> table (answers GET and its like)
 *
 * What was changed is in history after rt_feed_flush(); replies to it, and to what
 * has seen it, leave after that.
 */
#ifndef RINGTAIL_DAEMON_FEED_H
#define RINGTAIL_DAEMON_FEED_H

#include "daemon/config.h"
#include "daemon/journal.h"
#include "daemon/table.h"

/* Beside those of the ring: a change would take the table over max_state. */
#define RT_FEED_E_FULL (-8000)
#define RT_FEED_E_LOG  (-8001) /* the log takes nothing now: journal.fault says why */

struct rt_undo {
	struct rt_entry *now; /* in the table; NULL: the key was deleted */
	struct rt_entry *was; /* out of the table, kept; NULL: the key was new */
};

struct rt_feed_counts {
	uint64_t puts, deletes, messages;
};

struct rt_feed {
	const struct rt_feed_config *config;
	struct rt_writer *writer; /* NULL: not served, `reason` says why */
	struct rt_journal journal;
	bool failed; /* while it was served; what was not flushed then is lost */
	struct rt_table table;
	struct rt_undo *undo;
	size_t n_undo;
	size_t cap_undo;
	bool in_txn;
	uid_t uid; /* of the ring file */
	gid_t gid;
	mode_t mode;
	struct rt_feed_counts counts; /* since the daemon started */
	struct rt_feed_counts counts_at_begin;
	uint64_t rebuilt_from; /* oldest seq that the table was built from */
	char reason[512];
};

/*
 * Opens the ring and builds the table from what it holds.  A negative result leaves
 * a feed that is not served, with the reason in it; closing it is still due.
 */
int rt_feed_open(struct rt_feed *feed, const struct rt_config *config,
		 const struct rt_feed_config *feed_config);
void rt_feed_close(struct rt_feed *feed);

/* NULL: no such key. */
const struct rt_entry *rt_feed_get(const struct rt_feed *feed, const void *key,
				   size_t len);

/*
 * The three changes.  Errors: RT_E_TOO_BIG, RT_FEED_E_FULL, RT_FEED_E_LOG, -EINVAL an
 * empty key, -ENOMEM; nothing was changed then.  Delete: 1, or 0 when there is no such
 * key.
 */
int rt_feed_put(struct rt_feed *feed, const void *key, size_t key_len,
		const void *value, size_t value_len);
int rt_feed_delete(struct rt_feed *feed, const void *key, size_t key_len);
int rt_feed_message(struct rt_feed *feed, const void *key, size_t key_len,
		    const void *value, size_t value_len);

void rt_feed_begin(struct rt_feed *feed);
/* Negative: there is no room for it in the log; it was aborted. */
int rt_feed_commit(struct rt_feed *feed);
void rt_feed_abort(struct rt_feed *feed);

/* The time of the commits to come; at the begin of a batch of input. */
void rt_feed_set_time(struct rt_feed *feed, uint64_t time_ns);

/* Seq of the newest committed event, flushed or not. */
uint64_t rt_feed_seq(const struct rt_feed *feed);

/*
 * Everything that was committed is as safe as the feed promises, and visible.
 * Negative: it is not and will not be; the feed is not served any more.
 */
int rt_feed_flush(struct rt_feed *feed);

/* For the loop: a descriptor that wants a sync, or -1; and what came of it. */
int rt_feed_sync_begin(struct rt_feed *feed);
void rt_feed_sync_end(struct rt_feed *feed, int result);

/* Once a second: heartbeat, a new bell if somebody broke it. */
void rt_feed_tick(struct rt_feed *feed);

#endif
