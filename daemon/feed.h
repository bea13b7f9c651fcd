/* SPDX-License-Identifier: MIT */
/*
 * feed.h - one feed as the daemon has it: its ring, and the newest value of each key
 *
 * feed.c has its changes, feed_open.c how it is opened, closed, and who may read it.
 *
 * Every change goes through here, and the ring and the table change together or not
 * at all.  A change outside begin and commit is a transaction of its own; within,
 * the table shows the changes at once, and abort takes them back.
 *
 *	session  --change-->  feed  --one, or begin add.. commit-->  journal
 *	                       |                                     (log, ring)
 *	                       +--> table (answers GET and its like)
 *
 * What was changed is in history after rt_feed_flush(), or when rt_feed_is_settled()
 * says so; replies to it, and to what has seen it, leave after that.
 */
#ifndef RINGTAIL_DAEMON_FEED_H
#define RINGTAIL_DAEMON_FEED_H

#include <limits.h>

#include "daemon/config.h"
#include "daemon/expiry.h"
#include "daemon/journal.h"
#include "daemon/loop.h"
#include "daemon/retention.h"
#include "store/table.h"

/* Beside those of the ring: a change would take the table over max_state. */
#define RT_FEED_E_FULL (-8000)
#define RT_FEED_E_LOG  (-8001) /* the log takes nothing now: journal.fault says why */

struct rt_renewal;

struct rt_undo {
	struct rt_entry *now; /* in the table; NULL: the key was deleted */
	struct rt_entry *was; /* out of the table, kept; NULL: the key was new */
};

struct rt_feed_counts {
	uint64_t puts, deletes, messages;
	uint64_t expired; /* of the deletes: those that nobody asked for */
};

struct rt_feed {
	const struct rt_feed_config *config;
	struct rt_writer *writer;   /* NULL: not served, `reason` says why */
	struct rt_renewal *renewal; /* a thread has what else is here; see renew.h */
	struct rt_journal journal;
	bool failed;     /* while it was served; what was not flushed then is lost */
	bool is_awaited; /* it will be served soon: who wants something of it is held */
	bool stuck;      /* the log took no deletes: again with the next tick */
	bool log_access_due;   /* the ring has moved, its log could not follow yet */
	uint64_t round;        /* the newest that has ended */
	uint64_t failed_round; /* the round when it did */
	struct rt_table table;
	struct rt_lives lives;   /* of those in the table that end by themselves */
	struct rt_holder *ended; /* holders whose keys are still to be deleted */
	uint64_t now_ms;         /* for deadlines; of rt_feed_set_time() */
	struct rt_undo *undo;
	size_t n_undo;
	size_t cap_undo;
	bool in_txn;
	bool keeps_prev; /* events carry the value that they replace */
	uid_t uid;       /* of the ring file */
	gid_t gid;
	mode_t mode;
	struct rt_feed_counts counts; /* since the daemon started */
	struct rt_feed_counts counts_at_begin;
	struct rt_retention retention;
	unsigned n_stale_syncs; /* of logs that were left; to be passed over */
	bool fetching;          /* pages of its log, or of one that was left */
	int stale_result;       /* of the last of those */
	uint64_t rebuilt_from;  /* oldest seq that the table was built from */
	unsigned ticks;
	char reason[512];
};

/*
 * Opens the ring and builds the table from what it holds.  A negative result leaves
 * a feed that is not served, with the reason in it; closing it is still due.  @feed is
 * all zero the first time.  @check_bytes: of old history, to be read for damage.
 * -ECANCELED soon after @cancel (NULL: none) has become true.
 */
int rt_feed_open(struct rt_feed *feed, const struct rt_config *config,
		 const struct rt_feed_config *feed_config, uint64_t check_bytes,
		 const _Atomic bool *cancel);
void rt_feed_close(struct rt_feed *feed);
/*
 * The same for a process that ends, but for its memory: to free some million keys takes
 * a second, and the kernel has them back at once.
 */
void rt_feed_leave(struct rt_feed *feed);

/* What was gathered is lost, and with it what the table knows: nothing more is served.
 */
RT_COLD void rt_feed_fail(struct rt_feed *feed);
/* Why it is not served: @text, without the name of the feed in front. */
void rt_feed_set_reason(struct rt_feed *feed, const char *text);

/* The folder of the log, by durability; empty: none. */
int rt_feed_log_path(const struct rt_config *config, const struct rt_feed_config *feed,
		     char ret[PATH_MAX]);

/* Every key and what ends it, as if there had been none; the table is none then. */
void rt_feed_forget(struct rt_feed *feed);

/* What a key is put with. */
struct rt_terms {
	uint64_t deadline_ms;     /* 0: none */
	struct rt_holder *holder; /* NULL: not bound */
};

/* NULL: no such key, or its time is over. */
const struct rt_entry *rt_feed_get(const struct rt_feed *feed, const void *key,
				   size_t len);

/* Is the entry still in the table only because nobody has deleted it yet? */
bool rt_feed_is_over(const struct rt_feed *feed, const struct rt_entry *entry);

/* All zero if it has none. */
struct rt_terms rt_feed_terms(const struct rt_feed *feed, const struct rt_entry *entry);

/* The entry as a snapshot has it; key and value stay where they are. */
struct rt_state rt_feed_state(const struct rt_feed *feed, const struct rt_entry *entry);

/*
 * The three changes.  Errors: RT_E_TOO_BIG, RT_FEED_E_FULL, RT_FEED_E_LOG, -EINVAL an
 * empty key, -ENOMEM; nothing was changed then.  Delete: 1, or 0 when there is no such
 * key.  A put takes a deadline away, and a binding, unless that is to @by.
 */
int rt_feed_put(struct rt_feed *feed, const void *key, size_t key_len,
		const void *value, size_t value_len, struct rt_holder *by);
int rt_feed_delete(struct rt_feed *feed, const void *key, size_t key_len);
int rt_feed_message(struct rt_feed *feed, const void *key, size_t key_len,
		    const void *value, size_t value_len);

/* A put with terms of its own. */
int rt_feed_put_on(struct rt_feed *feed, const void *key, size_t key_len,
		   const void *value, size_t value_len, const struct rt_terms *terms);
/* A put of the value that @entry, of the table, has already. */
int rt_feed_renew(struct rt_feed *feed, const struct rt_entry *entry,
		  const struct rt_terms *terms);
/* A delete, with the flag of those that nobody asked for. */
int rt_feed_expire(struct rt_feed *feed, const void *key, size_t key_len);

/* A holder for keys of the feed; NULL without memory. */
struct rt_holder *rt_feed_holder(struct rt_feed *feed);
/* Its keys are over; takes the holder.  rt_feed_sweep() deletes them. */
void rt_feed_end(struct rt_feed *feed, struct rt_holder *holder);

/*
 * Deletes what is over: the keys of a holder, or those that are due together, in as few
 * transactions as hold them.  When that is much, only some of it; rt_feed_next_ms()
 * says when to go on.  Not within a transaction.
 */
void rt_feed_sweep(struct rt_feed *feed);
uint64_t rt_feed_next_ms(const struct rt_feed *feed); /* 0: now; UINT64_MAX: never */

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

/* The same by the way, for the server: see journal.h.  @loop, or NULL, closes files. */
int rt_feed_detach(struct rt_feed *feed, int wake_fd, struct rt_loop *loop);
void rt_feed_settle(struct rt_feed *feed); /* at the begin of a round */
/* Has it waited for a disk? */
bool rt_feed_push(struct rt_feed *feed, uint64_t round, bool wait);

/* Is what was changed up to the end of that round in history?  If not, will it be? */
bool rt_feed_is_settled(const struct rt_feed *feed, uint64_t round);
bool rt_feed_is_lost(const struct rt_feed *feed, uint64_t round);

/* For the loop: a descriptor that wants a sync, or -1; and what came of it. */
int rt_feed_sync_begin(struct rt_feed *feed, bool anyway);
void rt_feed_sync_end(struct rt_feed *feed, int result);
/* Likewise pages of its log that are wanted. */
bool rt_feed_fetch_begin(struct rt_feed *feed, struct iovec *ret);
void rt_feed_fetch_end(struct rt_feed *feed, int result);

/* Who may read it; (uid_t)-1 and (gid_t)-1: as it is. */
struct rt_access {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/*
 * The feed moves to a ring file of that access, and its log follows.  Not within a
 * transaction.  Negative with a text in @fault.
 */
int rt_feed_set_access(struct rt_feed *feed, struct rt_access access,
		       struct rt_fault *fault);

/* What of that the log could not follow is tried again. */
void rt_feed_give_log(struct rt_feed *feed);

/* Once a second: heartbeat, a new bell if somebody broke it, what is kept. */
void rt_feed_tick(struct rt_feed *feed);

#endif
