/* SPDX-License-Identifier: MIT */
/*
 * log.h - the log from its writer's side: open and recover, append, cut, close
 *
 * One writer at a time; whoever holds the lock of the feed.  What a crash leaves at
 * each point of an append:
 *
 *	while a batch is written	bytes that are no valid batch: cut by the next
 *	written, not yet in the ring	a valid batch: it becomes part of the history
 *	segment made, nothing in it	an empty segment: used
 *	segment made, header torn	no valid header and it is the last: removed
 *
 * Batches are made by the caller (batch.h).  The caller may write them by itself,
 * asynchronously: rt_log_place() says where, rt_log_wrote() that it is done.
 */
#ifndef RINGTAIL_STORE_LOG_H
#define RINGTAIL_STORE_LOG_H

#include "store/batch.h"
#include "store/file.h"
#include "store/log_check.h"
#include "store/state.h"
#include "store/window.h"

struct rt_state;

/* When a write counts as done. */
enum rt_log_mode {
	RT_LOG_MEMORY = 1, /* the folder is on tmpfs beside the ring */
	RT_LOG_OS = 2,     /* in the page cache; synced by rt_log_sync() now and then */
	RT_LOG_DISK = 3,   /* synced before it is visible */
};

/* Of a segment that has not begun, and of one that somebody else prepares. */
#define RT_LOG_SPARE_NAME  ".segment.new"
#define RT_LOG_NEXT_NAME   ".segment.next"
#define RT_LOG_SEGMENT_MIN (UINT64_C(64) << 10)
#define RT_LOG_SEGMENT_MAX (UINT64_C(1) << 32)
#define RT_LOG_INDEX_EVERY (UINT64_C(64) << 10) /* bytes between two index entries */

/*
 * How an open takes over the state from a snapshot, instead of the events up to its
 * seq.  Each returns a negative errno to stop.
 */
struct rt_log_base {
	/* Forget everything.  The state as of @seq follows, @n_entries of it; with 0
	 * and 0 nothing does. */
	int (*begin)(void *arg, uint64_t seq, uint64_t n_entries);
	int (*state)(void *arg, const struct rt_state *state);
	void *arg;
	uint64_t check_bytes;       /* to be read of what the snapshot stands for */
	const _Atomic bool *cancel; /* once it is true: -ECANCELED; NULL: never */
};

struct rt_log_config {
	const char *name;      /* of the feed */
	uint32_t mode;         /* enum rt_log_mode */
	uint64_t segment_size; /* bytes */
	mode_t file_mode;      /* of its files; the folder is searchable for all */
	uid_t uid;             /* owner; (uid_t)-1: as created */
	gid_t gid;
	uint64_t first_seq;         /* where a log begins that is not there yet */
	uint64_t epoch;             /* of a log that is not there yet; 0: random */
	uint64_t patience_ns;       /* how long to wait for a writer that is dying */
	const struct rt_log_io *io; /* NULL: the real ones */
	const struct rt_log_base *base; /* NULL: snapshots are not looked at */
};

/* What recovery found. */
struct rt_log_report {
	uint64_t cut_bytes; /* of an unfinished write at the end */
	uint64_t n_events;
	bool new_epoch; /* unclean stop in another boot, with events that were lost
			   maybe */
	bool created;
	uint64_t base; /* seq of the snapshot that was taken over; 0: there was none */
	/* A snapshot that was no good, with the reason.  It was left as it is, unless
	 * it is of an event that the log does not have. */
	struct rt_fault bad_snapshot; /* empty: all are good */
	/* of rt_log_verify(): */
	uint64_t oldest;  /* first seq of the oldest segment; 0: there is none */
	uint64_t next;    /* seq of the event to come */
	uint64_t n_bytes; /* of all segments, as far as used */
	size_t n_segments;
};

struct rt_log {
	struct rt_log_config config;
	char name[RT_NAME_MAX + 8];
	char *what; /* path of the folder, for texts */
	int dir_fd;
	int lock_fd; /* holds the lock while it is open */
	int fd;      /* of the newest segment */
	int idx_fd;  /* of its index; -1: none, which only costs time */
	uint64_t salt;
	uint64_t segment_first; /* first seq of it */
	uint64_t segment_end;   /* its size, allocated */
	uint64_t offset;        /* where the next batch goes */
	uint64_t indexed_at;    /* offset of the newest index entry */
	uint64_t next;          /* seq of the next event */
	uint64_t oldest;        /* first seq of the oldest segment */
	uint64_t epoch;
	uint64_t epoch_first; /* seq at which it began */
	uint64_t last_ns;     /* time of the newest event */
	uint64_t n_bytes;     /* in all segments, as far as used */
	uint64_t n_since;     /* bytes of batches since it was opened, and of those that
			       * were found above the snapshot */
	struct rt_floor floor;
	struct rt_log_check unchecked; /* what the open left of it, see log_check.h */
	int spare_fd;                  /* of a segment made for later; -1: none */
	uint64_t spare_size;           /* allocated, and not more than is needed then */
	struct rt_window window;       /* of the newest segment */
	uint64_t synced; /* seq up to which everything is known to be on disk */
	/* Closes a segment that was removed, which frees its blocks; NULL: at once. */
	void (*close_file)(void *arg, int fd);
	void *close_arg;
	bool failed; /* a sync failed: nothing more is accepted */
	bool unsynced;
};

#define RT_LOG_NONE \
	((struct rt_log){ \
		.fd = -1, .idx_fd = -1, .dir_fd = -1, .lock_fd = -1, .spare_fd = -1 })

/*
 * Opens the log in folder @path, made if needed, and recovers it.  @visit is called
 * for each event in order, but for those that a snapshot stands for (config.base); it
 * returns a negative errno to stop.  RT_E_CORRUPT with
 * file, offset, what was expected and what can be done: also of segments that a
 * snapshot stands for, of which base.check_bytes are read, the newest first, and of
 * the rest whether it is there.  RT_E_BUSY: it has a writer.
 */
int rt_log_open(const char *path, const struct rt_log_config *config,
		int (*visit)(void *arg, const struct rt_item *item), void *arg,
		struct rt_fault *fault, struct rt_log_report *report,
		struct rt_log *ret);

/* Syncs, notes that the stop was clean, closes.  For a crash: rt_log_drop(). */
int rt_log_close(struct rt_log *log, struct rt_fault *fault);
void rt_log_drop(struct rt_log *log);

/*
 * Where a sealed batch of @size bytes goes; makes a new segment if this one is full.
 * -ENOSPC and others, with a text; nothing is changed then.
 */
int rt_log_place(struct rt_log *log, uint64_t size, struct rt_fault *fault, int *ret_fd,
		 uint64_t *ret_offset);

/*
 * Makes sure that the next segment can begin, and with a batch of @size bytes, whatever
 * the disk is filled with until then.  Negative, with a text: nothing is changed.
 */
int rt_log_reserve(struct rt_log *log, uint64_t size, struct rt_fault *fault);

/*
 * The same with a file that was prepared under RT_LOG_NEXT_NAME: @fd, which is the
 * log's from now on, of @size bytes that are reserved.
 */
void rt_log_adopt_spare(struct rt_log *log, int fd, uint64_t size);

/* Bytes of batches that a reserved segment takes; 0 if there is none. */
RT_INLINE uint64_t rt_log_reserved(const struct rt_log *log)
{
	return log->spare_fd < 0 ? 0 : log->spare_size - RT_LOG_START;
}

/* The batch is there (and synced, if the mode says so). */
void rt_log_wrote(struct rt_log *log, const struct rt_batch *batch);

/*
 * Writes a sealed batch there, and syncs it if the mode says so.  Looks at nothing that
 * changes, so another thread may do it.  0, or a negative errno and whether it was the
 * sync that failed; a segment that somebody truncated is as bad as that.
 */
int rt_log_write(const struct rt_log *log, int fd, const struct rt_batch *batch,
		 uint64_t offset, bool *ret_sync_failed);

/*
 * That has failed: nothing of the batch may come to life later, and after a failed sync
 * nothing more is accepted.  Returns @error, with a text.
 */
int rt_log_unwrote(struct rt_log *log, int error, bool sync_failed,
		   struct rt_fault *fault);

/*
 * Which pages of the newest segment to make ready for what comes, see window.h; what
 * was done is for rt_window_got().
 */
bool rt_log_wants_pages(struct rt_log *log, struct iovec *ret);

/* Seal, place, write, sync if the mode says so, and count: all of an append. */
int rt_log_append(struct rt_log *log, struct rt_batch *batch, struct rt_fault *fault);

/*
 * Who may read its files, from now on and of those that are there, snapshots too.  A
 * new segment begins, since who has the one that is written open goes on reading it; so
 * no write may be in flight.  Negative, with a text that names the file; what could be
 * changed was.
 */
int rt_log_set_access(struct rt_log *log, mode_t mode, uid_t uid, gid_t gid,
		      struct rt_fault *fault);

/* Gives the files that are there the access that the configuration says. */
int rt_log_give_files(const struct rt_log *log, struct rt_fault *fault);

/* Begins a new segment. */
int rt_log_roll(struct rt_log *log, struct rt_fault *fault);

/* For RT_LOG_OS.  A failed sync is final: see `failed`. */
int rt_log_sync(struct rt_log *log, struct rt_fault *fault);

/*
 * Removes segments wholly below @seq; never the newest.  Returns how many went.
 */
int rt_log_drop_below(struct rt_log *log, uint64_t seq);

/*
 * Applies the limits: total bytes (0: none) and age (0: none), never beyond @keep_from,
 * the oldest seq that must stay.  Returns how many segments went.
 */
int rt_log_retain(struct rt_log *log, uint64_t max_bytes, uint64_t max_age_ns,
		  uint64_t keep_from);

/* Oldest seq that is held and counts; the seq to come if there is none. */
RT_INLINE uint64_t rt_log_oldest(const struct rt_log *log)
{
	uint64_t oldest = log->oldest ? log->oldest : log->next;

	return rt_min(rt_max(oldest, rt_floor_seq(&log->floor)), log->next);
}

/*
 * Events below @floor count as gone from now on, also after a restart: never less than
 * before.  Segments wholly below go with the next rt_log_drop_below().
 */
int rt_log_set_floor(struct rt_log *log, const struct rt_floor *floor,
		     struct rt_fault *fault);

/* Begins a new epoch with the next event; the list of epochs is on disk first. */
int rt_log_new_epoch(struct rt_log *log, uint64_t epoch, struct rt_fault *fault);

/*
 * Checks everything without changing anything; counts into @report.  RT_E_CORRUPT with
 * the first damage.
 */
int rt_log_verify(const char *path, struct rt_fault *fault,
		  struct rt_log_report *report);

/*
 * Drops everything after @seq (the last event of a transaction); the rest stays.  The
 * next open begins a new epoch.  RT_E_BUSY: somebody writes the log.
 * RT_E_NO_SNAPSHOT: the log does not begin with seq 1, and every snapshot is of a
 * later event; with the lowest seq that works.
 */
int rt_log_repair(const char *path, uint64_t seq, struct rt_fault *fault);

/*
 * Drops everything before @seq, the first of a batch; the epoch stays, and what is
 * before counts as trimmed.  RT_E_BUSY as above; RT_E_NO_SNAPSHOT: there is no snapshot
 * with every byte in place that has the state of before; -EINVAL: no batch that can be
 * read begins with it.  Amid a segment, room for what stays of it is needed.
 */
int rt_log_drop_before(const char *path, uint64_t seq, struct rt_fault *fault);

/*
 * The lowest seq from which on all is whole that the newest good snapshot stands for,
 * with the damage in @fault: that is the one to drop before.  *@ret is 0 if nothing of
 * it is damaged, or no snapshot is good.
 */
int rt_log_find_before(const char *path, struct rt_fault *fault, uint64_t *ret);

/* Removes snapshots above @seq: of what the log does not have. */
int rt_log_drop_snapshots(int dir_fd, uint64_t seq);

/*
 * The epochs of a log: is what @epoch called @seq still what the log has there?
 * 0 yes; RT_E_EPOCH no; negative errno.
 */
int rt_log_same_history(int dir_fd, uint64_t epoch, uint64_t seq, uint64_t current);

/* 0: @epoch is one of the log's; RT_E_EPOCH it is not; negative errno. */
int rt_log_has_epoch(int dir_fd, uint64_t epoch);

#endif
