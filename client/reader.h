/* SPDX-License-Identifier: MIT */
/*
 * reader.h - a reader from the inside, for the files of client/ only
 *
 *	open.c      options and where to start
 *	position.c  what is handled: events and gaps
 *	follow.c    nothing is there: the end, or a successor ring to move to
 *	history.c   what only the log still holds
 *	resync.c    the state from a snapshot
 *	read.c      the calls that read
 *	wait.c      spinning and sleeping
 *	pollfd*.c   a descriptor instead of sleeping
 *	inspect.c   information and statistics
 *	presence.c  being seen
 *
 * A view is built on a reader; see view.h.
 */
#ifndef RINGTAIL_CLIENT_READER_H
#define RINGTAIL_CLIENT_READER_H

#include <errno.h>
#include <ringtail.h>

#include "client/buffer.h"
#include "client/filter.h"
#include "client/pollfd.h"
#include "client/presence.h"
#include "client/resync.h"
#include "shm/marker.h"
#include "shm/ring.h"
#include "store/log.h"
#include "store/log_read.h"

struct ringtail {
	/* used by each read */
	struct rt_segment segment;
	uint64_t next;     /* the seq to look at next; everything below is fetched */
	uint64_t position; /* everything up to it is handed out, filtered or lost */
	uint64_t until;    /* nothing above it is wanted; UINT64_MAX: no end */
	uint64_t delivered;
	struct rt_buffer buffer;
	int stop;       /* the first reason to stop; 0 while there is none */
	bool answered;  /* the first call has been; no gap, no state is to be told */
	bool direct;    /* ... and there is neither an end to look for nor a presence */
	bool borrowed;  /* the newest call was a borrow that brought an event */
	bool lent;      /* event `next` is borrowed ... */
	bool overrun;   /* ... and was found overwritten */
	bool lent_last; /* ... and is the last of its transaction */
	struct rt_filters filters;

	bool in_log;      /* reading the log; else the ring */
	bool log_open;    /* `log` is */
	bool log_foreign; /* what was found is of another history */
	bool had_log;     /* there was one, so there will be */
	struct rt_log_reader log;
	struct rt_batch_cursor log_at; /* what is left of its newest batch */
	uint64_t log_head; /* head, as it was when it was last needed there */
	uint64_t let_go;   /* likewise: below it nothing counts as held */
	struct rt_resync resync;

	uint64_t start;
	uint64_t marker_seq;   /* position at the end of the newest whole transaction */
	uint64_t marker_epoch; /* of the history that it belongs to */
	uint64_t resets, entries;
	uint64_t state_ns; /* time of the newest state */
	uint64_t filtered, lost, gaps, sleeps, spurious, moves;
	uint64_t resumed_at; /* where reading went on after the newest lap; 0: never */
	struct ringtail_gap_info gap; /* the newest; count 0: none yet */
	bool gap_due;                 /* found at open, to be told by the first call */
	bool leaves_gaps;             /* in a batch: to the next call */
	uint32_t start_kind;          /* enum ringtail_start */
	uint32_t on_gap;
	uint32_t wait;
	uint64_t spin_ns;

	char *path; /* of the ring file; NULL: opened by descriptor */
	struct rt_bell *bell;
	uint64_t bell_id; /* of the bell that is mapped, or that cannot be */
	struct rt_sleeper sleeper;
	uint32_t relayed_life; /* the writer's death that was passed on */
	bool death_due;        /* ... and ends the wait of this call, or the next */
	uint64_t looked_ns;    /* ... when the path was looked at last (coarse clock) */
	_Atomic uint32_t cancel;
	_Atomic uint64_t wanted; /* a position that ends a wait; 0: none */
	struct rt_pollfd *pollfd;
	struct rt_presence_keeper *presence; /* NULL: it is not seen */
	uint32_t fd_mode;
	struct rt_fault fault;
};

/* Is it a lack that passes?  The reader does not stop for it; the next call tries
 * again. */
RT_INLINE bool rt_passes(int e)
{
	return e == -ENOMEM || e == -EMFILE || e == -ENFILE;
}

/* When a wait ends that begins now; UINT64_MAX: never. */
RT_INLINE uint64_t rt_deadline(uint64_t now, int64_t timeout_ns)
{
	uint64_t end;

	if (timeout_ns < 0 || __builtin_add_overflow(now, (uint64_t)timeout_ns, &end))
		return UINT64_MAX;
	return end;
}

RT_INLINE bool rt_reader_wants(const struct ringtail *r, const struct rt_event *ev)
{
	return r->filters.all ||
	       rt_filters_match(&r->filters, ev->op, ev->key, ev->key_len);
}

/* Records the first reason to stop and returns it; its text is set by the caller. */
int rt_reader_stop(struct ringtail *r, int why);
int rt_reader_canceled(struct ringtail *r);

/*
 * Fetches the next transaction that matches into the buffer, moving over those that
 * do not.  RINGTAIL_EVENT, RINGTAIL_NOTHING, RINGTAIL_GAP or a negative error.
 */
int rt_reader_fetch(struct ringtail *r);

/* As above, for one event that stays where it is. */
int rt_reader_lend(struct ringtail *r, struct ringtail_event *event);

/* What to do when nothing is there: closed, canceled, moved on?  As rt_reader_fetch().
 */
int rt_reader_idle(struct ringtail *r);

/* To the ring that the feed has now, of whatever history; 0, or negative. */
int rt_reader_renew(struct ringtail *r);

/* Did the feed get another ring file without telling?  RINGTAIL_NOTHING if not. */
int rt_reader_check_path(struct ringtail *r);

/* What the ring does not hold any more.  RINGTAIL_NOTHING: it goes on in the log. */
int rt_reader_lapped(struct ringtail *r);

/* What the writer says of its ring cannot be: RINGTAIL_E_CORRUPT, with a text. */
int rt_reader_senseless(struct ringtail *r);

/*
 * What the position needs is held neither by the ring nor by the log: by policy an
 * error or a gap.
 */
int rt_reader_compacted(struct ringtail *r);

/* The first call has been, and what it had to tell. */
void rt_reader_answered(struct ringtail *r);

/* ---- resync.c ---- */

/*
 * Begins with a state again, since what follows the position is not held (@cause: enum
 * ringtail_cause).  RINGTAIL_RESET; RINGTAIL_NOTHING: there is no need, or, with
 * resync.phase set, it has to be waited for; or negative.
 */
int rt_reader_resync(struct ringtail *r, uint32_t cause);

/* The same for an open: 0, with RINGTAIL_RESET due.  @cause 0: a start from the state.
 */
int rt_reader_resync_open(struct ringtail *r, uint32_t cause);

/* RINGTAIL_E_UNSUPPORTED, with a text for the open, if there can be no snapshots. */
int rt_reader_can_resync(struct ringtail *r);

/*
 * With resync.phase set, in place of rt_reader_fetch(): RINGTAIL_RESET;
 * RINGTAIL_SNAPSHOT with entries in the buffer; RINGTAIL_SNAPSHOT_END.
 * RINGTAIL_NOTHING with phase NONE: go on fetching; with phase WANTED: the state cannot
 * be read yet, as a daemon is about to begin a new history.  Ask again soon.
 */
int rt_reader_resync_next(struct ringtail *r);

void rt_resync_fini(struct rt_resync *resync);

/*
 * Why what is older than @oldest is not held: let go by the writer for its age, or by a
 * trim; else @otherwise.  enum ringtail_cause.
 */
uint32_t rt_reader_cause(const struct ringtail *r, uint64_t oldest, uint32_t otherwise);
const char *rt_reader_gone(uint32_t cause); /* in words */

/* ---- history.c; all of it does nothing but say -ENOENT for a feed without a log ----
 */

bool rt_reader_has_log(struct ringtail *r);
/* 0; -ENOENT there is none; -EACCES it may not be read, with a text; what passes. */
int rt_reader_find_log(struct ringtail *r, struct rt_fault *fault);
void rt_reader_leave_log(struct ringtail *r);
int rt_reader_oldest_in_log(struct ringtail *r, uint64_t *ret);

/* Goes on in the log, with @seq.  RT_E_COMPACTED, RT_E_CORRUPT and others. */
int rt_reader_enter_log(struct ringtail *r, uint64_t seq, struct rt_fault *fault);

/* The seq of the first event at or after @time_ns. */
int rt_reader_seek_log_time(struct ringtail *r, uint64_t time_ns, uint64_t *ret);

/*
 * 0: what @epoch called @seq is still that in @current, or in the ring's epoch;
 * RINGTAIL_E_EPOCH it is not; anything else, with a text: that cannot be said.
 */
int rt_reader_compare_history(struct ringtail *r, uint64_t epoch, uint64_t seq,
			      uint64_t current);
int rt_reader_same_history(struct ringtail *r, uint64_t epoch, uint64_t seq);

/* As rt_reader_fetch(); RINGTAIL_NOTHING with in_log cleared: go on in the ring. */
int rt_reader_fetch_log(struct ringtail *r);

/* Everything up to `until` was read, or what follows goes beyond it: stops. */
int rt_reader_ended(struct ringtail *r);

/* Accounts for the @n events after the position. */
void rt_reader_filtered(struct ringtail *r, uint64_t n);
void rt_reader_delivered(struct ringtail *r, uint64_t seq);
void rt_reader_txn_end(struct ringtail *r, uint64_t last);

/* The bell of the feed, mapped; NULL if there is none or it may not be written. */
void rt_reader_map_bell(struct ringtail *r);
void rt_reader_use_bell(struct ringtail *r, int fd);
void rt_reader_drop_bell(struct ringtail *r);

/* Announces and remembers; 0 or 1 as rt_sleeper_arm(). */
int rt_reader_arm(struct ringtail *r);

/*
 * Waits for @try to return something else than RINGTAIL_NOTHING, at most
 * @timeout_ns, by the reader's strategy.
 */
int rt_reader_wait(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		   void *arg, int64_t timeout_ns);

/* $RINGTAIL_DIR, or the default; -ENOENT with a text when there is none. */
int rt_default_dir(const char *dir, char *ret, size_t size, struct rt_fault *fault);

/* The text that ringtail_error(NULL) shows in this thread. */
struct rt_fault *rt_open_fault(void);

#endif
