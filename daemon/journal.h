/* SPDX-License-Identifier: MIT */
/*
 * journal.h - the way of a change from the feed into history
 *
 *	one, or begin add.. commit  -->  batch  --flush-->  log  -->  ring
 *
 * Without a log (durability none) changes go to the ring at once.  With one they are
 * gathered, and nothing is in the ring before it is in the log as the mode promises:
 * written for `memory` and `os`, synced for `disk`.  A push ends each round of the
 * event loop, so that whatever came in together shares a write and a sync.
 *
 * For `disk` a thread (syncer.h) writes and syncs a batch while the next one gathers:
 *
 *	gathering  --push, or the one before is done-->  in flight  --settle-->  ring
 *
 * A batch behind another in flight is there so that the disk need not wait for us; as
 * long as it has not begun it is taken back for whatever else comes.  What has not
 * settled is seen by nobody.  Rounds say what has: see rt_journal_is_settled().
 *
 * For `os` the loop syncs meanwhile.  A segment must be on disk before the next one
 * begins, so a batch for a new one waits for that, and for nothing else.
 */
#ifndef RINGTAIL_DAEMON_JOURNAL_H
#define RINGTAIL_DAEMON_JOURNAL_H

#include "daemon/config.h"
#include "shm/ring.h"
#include "store/log.h"

struct rt_preparer;
struct rt_syncer;

/* A batch that is with the syncer. */
struct rt_flight {
	struct rt_batch batch;
	uint64_t round; /* all changes up to it are in history when it has landed */
};

struct rt_journal {
	struct rt_writer *writer;
	const struct rt_feed_config *config;
	bool has_log;
	bool in_txn;
	struct rt_log log;
	struct rt_batch batch;       /* gathering */
	struct rt_flight flights[2]; /* with the syncer; see rt_journal_flight() */
	unsigned n_flights;
	unsigned first_flight;
	uint64_t flight_bytes;
	struct rt_syncer *syncer;     /* NULL: batches are written by the caller */
	struct rt_preparer *preparer; /* of segments to come, or NULL */
	uint64_t to_prepare;          /* bytes that it has not been told of */
	bool has_loop;                /* there is somebody who syncs for `os` */
	bool has_offer;               /* the newest may be taken back */
	bool is_preparing;            /* the preparer has begun */
	bool is_rolling;        /* what gathers is for a segment that has to wait */
	bool broken;            /* a batch was lost: nothing more is taken */
	uint64_t round;         /* the newest that has ended */
	uint64_t settled_round; /* what was changed up to it is in history */
	uint64_t n_settled;     /* batches that are in history, or were lost */
	uint64_t time_ns;       /* of the commits to come */
	uint64_t txn_bytes; /* keys, values and previous ones of the open transaction */
	int sync_fd;        /* being synced by the loop; -1: none */
	uint64_t sync_seq;
	uint64_t sync_from; /* log.n_since when the newest one began */
	uint64_t n_syncs;
	uint64_t sync_ns; /* how long the newest took */
	uint64_t synced_at_ns;
	uint64_t sync_begun_ns;
	uint32_t max_key; /* as the settings say, or the longest that it was opened with
			   */
	const struct rt_geometry *as_it_is; /* while it is opened: see ring_config() */
	const _Atomic bool *cancel;         /* likewise; NULL: none */
	uint64_t too_big_for_ring;          /* seq of the newest such event; 0: none */
	bool out_of_space;                  /* said so already */
	struct rt_fault fault;              /* the newest failure */
};

/*
 * Opens log (folder @log_path; NULL: none) and ring of a feed and brings both to the
 * same end.  @visit is called for each event that is held, oldest first, but for those
 * that a snapshot stands for, which goes to @base.
 */
int rt_journal_open(struct rt_journal *journal, const char *dir, const char *log_path,
		    const struct rt_feed_config *config,
		    int (*visit)(void *arg, const struct rt_item *item), void *arg,
		    const struct rt_log_base *base, struct rt_fault *fault);

/*
 * From its callbacks, for each key that comes into the state: the ring has to take the
 * event that deletes it.
 */
RT_INLINE void rt_journal_holds(struct rt_journal *journal, uint16_t key_len)
{
	if (RT_UNLIKELY(key_len > journal->max_key))
		journal->max_key = key_len;
}

/* @closed: as a clean stop; else as a crash would leave it. */
void rt_journal_close(struct rt_journal *journal, bool closed);

/*
 * Is there room for one more event, @rest_len being its value and previous value?  0;
 * -ENOSPC or what else the log says, with the text in `fault`; nothing is changed then
 * and a later try may work.
 */
int rt_journal_room(struct rt_journal *journal, size_t key_len, size_t rest_len);

/*
 * After rt_journal_room().  0, RT_E_TOO_BIG, -EINVAL, -ENOMEM: nothing was changed.
 * @extra: NULL for none; terms go into the log only.
 */
int rt_journal_one(struct rt_journal *journal, uint8_t op, uint8_t flags,
		   const void *key, size_t key_len, const void *value, size_t value_len,
		   const struct rt_extra *extra);
void rt_journal_begin(struct rt_journal *journal);
int rt_journal_add(struct rt_journal *journal, uint8_t op, uint8_t flags,
		   const void *key, size_t key_len, const void *value, size_t value_len,
		   const struct rt_extra *extra);
/* Negative as rt_journal_room(): the transaction is then still open, to be aborted. */
int rt_journal_commit(struct rt_journal *journal);
void rt_journal_abort(struct rt_journal *journal);

/* Seq of the newest event, committed or not. */
uint64_t rt_journal_seq(const struct rt_journal *journal);

/*
 * Everything gathered goes to the log and then to the ring, now.  Negative: it did not,
 * and what was gathered is lost; nothing of it was visible.  The feed has to stop, as
 * `broken` says.
 */
int rt_journal_flush(struct rt_journal *journal);

/*
 * From now on there is a loop, which ends rounds and syncs when it is asked to.  For
 * `disk` a thread begins to write and sync.  @wake_fd: an eventfd that says when there
 * is something for rt_journal_settle().
 */
int rt_journal_detach(struct rt_journal *journal, int wake_fd);

/* Takes in what the thread has done, without waiting.  Negative as rt_journal_flush().
 */
int rt_journal_settle(struct rt_journal *journal);

/*
 * Round @round is over.  What was gathered begins its way: it is there on return
 * without a thread, or if @wait is set, nothing is in flight, the batch is small and
 * the disk was fast the last time; else when it settles.
 */
int rt_journal_push(struct rt_journal *journal, uint64_t round, bool wait);

/* Is everything that was changed up to the end of that round in history? */
RT_INLINE bool rt_journal_is_settled(const struct rt_journal *journal, uint64_t round)
{
	return round <= journal->settled_round ||
	       (!journal->n_flights && !journal->batch.n_txns);
}

/* Is there so much to sync for `os`, or somebody who waits, that it should not wait? */
bool rt_journal_wants_sync(const struct rt_journal *journal);
/* For the loop: a descriptor to sync now, or -1; and what came of it. */
int rt_journal_sync_begin(struct rt_journal *journal);
int rt_journal_sync_end(struct rt_journal *journal, int result);

/* Likewise pages of the log to be made ready for it, see store/window.h. */
bool rt_journal_wants_pages(struct rt_journal *journal, struct iovec *ret);
void rt_journal_got_pages(struct rt_journal *journal, int result);

/* Seq of the first event of the transaction that @seq, in the log, belongs to. */
int rt_journal_begin_of(struct rt_journal *journal, uint64_t seq, uint64_t *ret);

/*
 * Of the events in the log, the first that is not older than @time_ns: 1; 0 there is
 * none; negative.
 */
int rt_journal_at_time(struct rt_journal *journal, uint64_t time_ns, uint64_t *ret);

/*
 * Who may read ring and log, from now on: the feed moves to a new ring file.  0;
 * negative, with the text in `fault`: nothing was changed if that of the ring was not.
 */
int rt_journal_set_access(struct rt_journal *journal, mode_t mode, uid_t uid,
			  gid_t gid);

#endif
