/* SPDX-License-Identifier: MIT */
/*
 * ringtail.h - follow, and write, a change feed of this host
 *
 * A feed is a named sequence of events with one writer.  Every event has a seq:
 * 1, 2, 3 and so on without holes, never used twice.  Consecutive events form a
 * transaction, which becomes visible as a whole.  The newest events are in a
 * ring in shared memory that every reader maps read-only; nothing that a reader
 * does costs the writer or another reader anything.
 *
 * A program that follows a feed opens a reader and calls ringtail_next() in a
 * loop.  What that returns is one of enum ringtail_outcome, or a negative error
 * for which ringtail_strerror() and ringtail_error() have texts.
 *
 * Threads.  Calls on different readers and writers never disturb each other.
 * On one reader one call at a time, except ringtail_cancel(), which any thread
 * and any signal handler may call at any moment between open and close.  On one
 * writer one call at a time.  Views are told about below.  No other call is
 * async-signal-safe.
 *
 * fork().  A reader or writer belongs to the process that opened it; a child
 * may only close a reader.
 *
 * The library starts no thread for a reader unless RINGTAIL_FD_THREAD is asked
 * for or needed, one for each view that asks for it, one for all writers of the
 * process, installs no signal handler, prints nothing and never exits.
 */
#ifndef RINGTAIL_H
#define RINGTAIL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RINGTAIL_API __attribute__((visibility("default")))

/* Version of this header; ringtail_version() is that of the library. */
#define RINGTAIL_VERSION "0.1.0"

/* A feed's name: 1 to 64 of A-Z a-z 0-9 . _ - and no '.' or '-' in front. */
#define RINGTAIL_NAME_MAX 64

/* A marker as text: 42 characters and a terminating zero. */
#define RINGTAIL_MARKER_SIZE 43

/* Wait without end, wherever a timeout in nanoseconds is taken. */
#define RINGTAIL_FOREVER INT64_C(-1)

/* What a call that reads came back with; errors are negative. */
enum ringtail_outcome {
	RINGTAIL_NOTHING = 0,   /* nothing new within the timeout; position unmoved */
	RINGTAIL_EVENT = 1,     /* an event, or a transaction, or a batch */
	RINGTAIL_GAP = 2,       /* events were missed; ringtail_gap() says which */
	RINGTAIL_CAUGHT_UP = 3, /* answer of a first call that found nothing newer */
	RINGTAIL_RESET = 4, /* forget everything: a snapshot follows, from its begin;
			     * ringtail_gap() says why, if it is not the start */
	RINGTAIL_SNAPSHOT =
		5, /* entries of the snapshot: event->seq is the last change */
	RINGTAIL_SNAPSHOT_END =
		6, /* the state as of ringtail_position() is complete; changes follow */
};

/*
 * Errors of this library; others are negative errno values.  "final": every
 * later read of the reader gives the same.
 */
enum ringtail_errors {
	RINGTAIL_E_MALFORMED = -4096, /* not a marker: wrong length, form or check */
	RINGTAIL_E_EPOCH = -4097,     /* the marker belongs to another history */
	RINGTAIL_E_COMPACTED = -4098, /* what follows the position is no longer held */
	RINGTAIL_E_FUTURE = -4099,    /* the position is above the newest event */
	RINGTAIL_E_LAPPED = -4100, /* overtaken by the writer (policy `error`); final */
	RINGTAIL_E_CLOSED = -4101, /* closed by its writer, all has been read; final */
	RINGTAIL_E_CANCELED = -4102, /* by ringtail_cancel(); final */
	RINGTAIL_E_CORRUPT = -4103,  /* a file's content makes no sense; final */
	RINGTAIL_E_VERSION = -4104,  /* made by a newer or foreign ringtail */
	RINGTAIL_E_NO_FEED = -4105,  /* no such feed */
	RINGTAIL_E_TOO_BIG = -4106,  /* over a limit of the feed; nothing was changed */
	RINGTAIL_E_BUSY = -4107,     /* the feed has a writer already */
	RINGTAIL_E_NO_SPACE = -4108, /* the file system cannot hold the ring */
	RINGTAIL_E_OVERRUN = -4109,  /* borrowed memory has been overwritten since */
	RINGTAIL_E_RETIRED =
		-4110, /* replaced, and there is no path to its successor; final */
	RINGTAIL_E_UNSUPPORTED =
		-4111, /* needs what this feed or version does not have */
	RINGTAIL_E_NO_SNAPSHOT =
		-4112, /* the state is not held: no snapshot, and history was cut */
	RINGTAIL_E_END = -4113, /* everything up to options.until was read; final */
};

enum ringtail_op {
	RINGTAIL_PUT = 1,
	RINGTAIL_DELETE = 2,
	RINGTAIL_MESSAGE = 3, /* delivered, never part of the state */
};

/* ringtail_event.flags */
#define RINGTAIL_CREATED 0x01u /* put: the key was new */
#define RINGTAIL_EXPIRED 0x02u /* delete: its time was over */
/* The last delivered event of its transaction; after ringtail_borrow(), which does
 * not look ahead, the last event of it. */
#define RINGTAIL_LAST 0x100u

/*
 * An event.  @key, @value and @prev point into memory of the reader that stays as it
 * is until the next read call (or, after ringtail_borrow(), into the ring).
 * None ends with a zero byte.
 */
struct ringtail_event {
	uint64_t seq;
	uint64_t rev;     /* seq of the last event of its transaction */
	uint64_t time_ns; /* CLOCK_REALTIME; never goes back within a feed */
	const void *key;
	const void *value;
	size_t key_len;   /* bytes */
	size_t value_len; /* bytes */
	uint32_t op;      /* enum ringtail_op */
	uint32_t flags;
	uint32_t txn_index; /* place in its transaction, from 0 */
	uint32_t txn_size;  /* events in its transaction, filtered ones too */
	const void *prev; /* the value that it replaced, of feeds that keep those; NULL
			   * when prev_len is 0 */
	size_t prev_len;  /* bytes; 0 also if there was none, see RINGTAIL_CREATED */
};

/* ringtail_gap_info.cause */
enum ringtail_cause {
	RINGTAIL_CAUSE_LAPPED = 1,    /* overtaken by the writer */
	RINGTAIL_CAUSE_COMPACTED = 2, /* gone before the reader asked for it */
	RINGTAIL_CAUSE_EPOCH = 3,     /* another history began */
	RINGTAIL_CAUSE_EXPIRED = 4,   /* older than the feed keeps events */
};

/*
 * Events @first .. @first + @count - 1 are not delivered.  The last @skipped of
 * them were still held when the reader noticed, and given up on purpose: going
 * on right behind a fast writer would only be the next gap, or a snapshot stands for
 * them.  With RINGTAIL_CAUSE_EPOCH @count is 0: seqs of two histories do not compare.
 */
struct ringtail_gap_info {
	uint64_t first;
	uint64_t count;
	uint64_t skipped;
	uint32_t cause; /* enum ringtail_cause */
	uint32_t reserved;
};

/* ringtail_options.start */
enum ringtail_start {
	RINGTAIL_START_NOW = 0,    /* only what is committed from now on */
	RINGTAIL_START_OLDEST = 1, /* the oldest event that is held */
	RINGTAIL_START_AFTER_SEQ =
		2,                 /* everything after @seq; 0 is the very beginning */
	RINGTAIL_START_MARKER = 3, /* everything after @marker */
	RINGTAIL_START_TIME = 4, /* everything with time_ns >= @time_ns; a time to come
				  * is now, one before the oldest event the oldest */
	RINGTAIL_START_SNAPSHOT = 5, /* the present state, then changes */
};

/* ringtail_options.on_gap */
enum ringtail_on_gap {
	RINGTAIL_ON_GAP_ERROR = 0,  /* stop with an error; nothing is ever skipped */
	RINGTAIL_ON_GAP_SKIP = 1,   /* report the gap (RINGTAIL_GAP) and go on */
	RINGTAIL_ON_GAP_RESYNC = 2, /* start again from a snapshot */
};

/* ringtail_options.wait */
enum ringtail_wait {
	RINGTAIL_WAIT_SLEEP = 0,      /* sleep at once: least processor time */
	RINGTAIL_WAIT_SPIN_SLEEP = 1, /* spin for spin_ns, then sleep */
	RINGTAIL_WAIT_SPIN = 2, /* never sleep: least latency, a whole processor */
};

/* ringtail_options.fd_mode */
enum ringtail_fd_mode {
	RINGTAIL_FD_AUTO = 0,  /* io_uring where the kernel can, else a thread */
	RINGTAIL_FD_URING = 1, /* io_uring (Linux 6.7), else ringtail_fd() fails */
	RINGTAIL_FD_THREAD =
		2, /* a helper thread, shared by a dozen readers of the process */
};

/* ringtail_filter.kind */
enum ringtail_filter_kind {
	RINGTAIL_FILTER_KEY = 1,    /* key equals a */
	RINGTAIL_FILTER_PREFIX = 2, /* key begins with a; an empty a matches all */
	RINGTAIL_FILTER_RANGE = 3,  /* a <= key < b, by bytes; b_len 0: no upper end */
};

/* ringtail_options.ops: which kinds of events; 0 means all */
#define RINGTAIL_OPS_PUT     0x1u
#define RINGTAIL_OPS_DELETE  0x2u
#define RINGTAIL_OPS_MESSAGE 0x4u

struct ringtail_filter {
	uint32_t kind; /* enum ringtail_filter_kind */
	uint32_t reserved;
	const void *a;
	size_t a_len;
	const void *b; /* RINGTAIL_FILTER_RANGE only, else NULL */
	size_t b_len;
};

/* ringtail_options.flags */
#define RINGTAIL_WAIT_FOR_FEED 0x1u /* open waits for it, up to open_timeout_ns */
#define RINGTAIL_ALLOW_FUTURE  0x2u /* a start above the newest event waits for it */

/*
 * How to open a reader.  Begin with RINGTAIL_OPTIONS_INIT, which fills in size
 * and defaults, and set what differs; members are only ever added at the end.
 */
struct ringtail_options {
	size_t size;     /* sizeof(struct ringtail_options) */
	const char *dir; /* NULL: $RINGTAIL_DIR, else /dev/shm/ringtail for root, else
			  * $XDG_RUNTIME_DIR/ringtail */
	uint32_t flags;
	uint32_t start; /* enum ringtail_start */
	uint64_t seq;
	const char *marker;
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint32_t on_gap;  /* enum ringtail_on_gap */
	uint32_t wait;    /* enum ringtail_wait */
	uint64_t spin_ns; /* with RINGTAIL_WAIT_SPIN_SLEEP; 20 us by default */
	uint32_t fd_mode; /* enum ringtail_fd_mode */
	uint32_t ops;     /* RINGTAIL_OPS_... or 0 */
	const struct ringtail_filter *filters; /* a union; copied */
	size_t n_filters;                      /* 0: everything; 4096 at most */
	int64_t open_timeout_ns;               /* with RINGTAIL_WAIT_FOR_FEED */
	int bell_fd; /* ringtail_open_fd(): the feed's bell, opened read-write, or -1 */
	uint32_t reserved;
	uint64_t until; /* 0: no end; else RINGTAIL_E_END once everything up to this seq
			 * was read; a transaction that goes beyond it is not begun,
			 * and a state is as of it or older, or there is none:
			 * RINGTAIL_E_NO_SNAPSHOT */
	const char *presence; /* NULL: be invisible; else a name to be seen under, of
			       * 1 to 64 bytes without control characters, by
			       * `ringtail readers`; if that cannot be,
			       * ringtail_error() of the reader says why */
};

#define RINGTAIL_OPTIONS_INIT \
	{ \
		sizeof(struct ringtail_options), NULL, 0, RINGTAIL_START_NOW, 0, NULL, \
			0, RINGTAIL_ON_GAP_ERROR, RINGTAIL_WAIT_SLEEP, 20000, \
			RINGTAIL_FD_AUTO, 0, NULL, 0, 0, -1, 0, 0, NULL \
	}

/* ringtail_info.state and ringtail_state() */
enum ringtail_state {
	RINGTAIL_LIVE = 1, /* has a writer that shows signs of life */
	RINGTAIL_STALLED =
		2, /* has a writer whose heartbeat is late: stopped or starved */
	RINGTAIL_DEAD = 3,   /* its writer died without closing; another may go on */
	RINGTAIL_CLOSED = 4, /* closed by its writer; another may go on */
};

/* ringtail_info.durability: what a commit has survived when it is visible */
enum ringtail_durability {
	RINGTAIL_DURABILITY_NONE = 0,   /* the feed has no log */
	RINGTAIL_DURABILITY_MEMORY = 1, /* in a log in memory: the writer's death */
	RINGTAIL_DURABILITY_OS = 2,   /* every process's; a power cut, after a second */
	RINGTAIL_DURABILITY_DISK = 3, /* a power cut */
};

/* What a feed is and holds, at one moment.  Sizes in bytes. */
struct ringtail_info {
	size_t size; /* set to sizeof(struct ringtail_info) before the call */
	char name[RINGTAIL_NAME_MAX + 8];
	uint64_t epoch;
	uint64_t instance; /* names the ring file */
	uint64_t created_ns;
	uint64_t file_size;
	uint64_t n_slots;
	uint64_t payload_size;
	uint64_t max_key;
	uint64_t max_value;
	uint64_t max_txn_events;
	uint64_t max_txn_bytes; /* keys and values of one transaction together */
	/* The ring promises to hold so many events, and payload of so many bytes,
	 * whichever is less; less a transaction if those are long, and less what
	 * a value does not find room for at the end of the payload. */
	uint64_t holds_events;
	uint64_t holds_bytes;
	uint64_t head;             /* newest seq; 0 if none */
	uint64_t oldest;           /* oldest seq held; head + 1 if none */
	uint64_t oldest_time_ns;   /* 0 if none */
	uint64_t head_time_ns;     /* 0 if none */
	uint32_t state;            /* enum ringtail_state */
	uint32_t writer_pid;       /* in the writer's pid namespace; 0 if none */
	uint64_t opened_ns;        /* when the writer opened it */
	uint64_t heartbeat_age_ns; /* CLOCK_MONOTONIC */
	uint64_t beat_every_ns;    /* 0: the writer promises no heartbeats */
	uint64_t sweep_every_ns;   /* 0: the writer never wakes unasked */
	uint32_t wake_always;      /* 1: wakes at every commit; 0: by the bell */
	uint32_t writer_barrier; /* 1: a full barrier in each commit; 0: sleepers pay */
	uint64_t n_txns;         /* these five may be up to a heartbeat old */
	uint64_t n_bytes;
	uint64_t n_wakes;
	uint64_t n_wake_calls;
	uint64_t n_sweeps;
	uint64_t n_writers; /* writers that this ring file has had */
	uint32_t format;
	uint32_t compat;
	uint32_t durability; /* enum ringtail_durability */
	uint32_t reserved;
	uint64_t n_syncs;      /* of the log, by this writer */
	uint64_t sync_ns;      /* how long the newest took */
	uint64_t synced_at_ns; /* when it was over; 0: there was none */
	uint64_t synced_seq;   /* everything up to here is on disk */
	uint64_t log_damage;   /* segments of the log that were found to be damaged */
};

/*
 * Counters of one reader.  delivered + filtered + lost == position - start, always.
 * A state that a reader starts from, or of another history than before, is where start
 * is from its end on, and these three begin at 0; any other counts what it stands in
 * for as lost, in one gap.
 */
struct ringtail_stats {
	size_t size;       /* set to sizeof(struct ringtail_stats) before the call */
	uint64_t start;    /* the seq after which reading began */
	uint64_t position; /* everything up to and including it is accounted for */
	uint64_t delivered;
	uint64_t filtered;
	uint64_t lost;
	uint64_t gaps;
	uint64_t lag_events;  /* head - position */
	uint64_t lag_bytes;   /* payload memory between position and head */
	uint64_t lag_ns;      /* age of the oldest event not yet read; 0 if none */
	uint64_t room_events; /* that can be committed before this reader is lapped */
	uint64_t room_bytes;  /* of payload, likewise */
	uint64_t sleeps;      /* times it slept */
	uint64_t spurious_wakes; /* times it woke for nothing */
	uint64_t moves;          /* to a successor ring */
	uint64_t resets;         /* times the state was given anew, by a snapshot */
	uint64_t entries;        /* of snapshots that were delivered */
};

struct ringtail;        /* a reader */
struct ringtail_writer; /* an embedded writer */

/*
 * ---- Reading ------------------------------------------------------------
 */

/**
 * ringtail_open() - open a feed by its name
 * @feed: name of the feed
 * @options: how; NULL means all defaults: from now on, stop at a gap, sleep
 * @ret: the reader
 *
 * Maps <dir>/<feed>/ring read-only; no connection to a daemon is made.
 *
 * Return:    0, or a negative error; *@ret is set only on 0.
 * Errors:    RINGTAIL_E_NO_FEED; -EACCES; -EINVAL a bad name, option or filter;
 *            RINGTAIL_E_MALFORMED, _EPOCH, _FUTURE, _COMPACTED (policy `error`
 *            only) for the start; RINGTAIL_E_CORRUPT, _VERSION for the file;
 *            RINGTAIL_E_UNSUPPORTED a start or policy that needs snapshots, of a feed
 *            without a log; RINGTAIL_E_NO_SNAPSHOT there is none, or none that is
 *            not beyond until;
 *            -ENOMEM; -EMFILE.  ringtail_error(NULL) has the text.
 * Ownership: the reader is the caller's; nothing of @options is kept.
 * Threads:   any.
 * Cost:      some system calls; O(log n) in the ring's size.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_open(const char *feed, const struct ringtail_options *options,
			       struct ringtail **ret);

/**
 * ringtail_open_path() - open a feed by the path of its ring file
 * @path: the file, as in /dev/shm/ringtail/prices/ring
 * @options: as for ringtail_open(); dir is ignored
 * @ret: the reader
 *
 * Return, Errors, Ownership, Threads, Cost: as ringtail_open().
 * Since:     0.1
 */
RINGTAIL_API int ringtail_open_path(const char *path,
				    const struct ringtail_options *options,
				    struct ringtail **ret);

/**
 * ringtail_open_fd() - open a feed by a descriptor of its ring file
 * @fd: open for reading
 * @options: as for ringtail_open(); dir is ignored, bell_fd is used
 * @ret: the reader
 *
 * For processes that cannot see the file system of the writer, such as
 * containers that are handed the descriptor.  Such a reader cannot follow the
 * feed into a successor ring (RINGTAIL_E_RETIRED); without bell_fd it wakes up
 * every millisecond while it waits, unless the writer sweeps.
 *
 * Return, Errors, Threads, Cost: as ringtail_open().
 * Ownership: @fd and bell_fd stay the caller's and may be closed at once.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_open_fd(int fd, const struct ringtail_options *options,
				  struct ringtail **ret);

/**
 * ringtail_close() - close a reader
 * @reader: may be NULL
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: frees @reader and all memory that its events point to.
 * Threads:   no other call on @reader may run or follow, ringtail_cancel() included.
 * Cost:      some system calls.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_close(struct ringtail *reader);

/**
 * ringtail_next() - the next event
 * @reader: a reader
 * @event: set on RINGTAIL_EVENT, RINGTAIL_SNAPSHOT and RINGTAIL_SNAPSHOT_END (seq)
 * @timeout_ns: how long to wait when there is nothing: 0 not at all,
 *         RINGTAIL_FOREVER without end
 *
 * A state, where one is delivered, is RINGTAIL_RESET, RINGTAIL_SNAPSHOT for each key
 * that the filters match, in the order of keys and with op RINGTAIL_PUT, and
 * RINGTAIL_SNAPSHOT_END with the seq s that it is as of; then come s + 1 and on. Should
 * it be found damaged, or take so long that s + 1 is not held any more, it begins anew
 * with another RINGTAIL_RESET; if that can only be an older state, the counters start
 * from that one.  Once begun a state does not wait for anything.  Before its
 * RINGTAIL_RESET, while a new history is being put in the place of an old one, there is
 * RINGTAIL_NOTHING, at the end of the timeout as ever; after five seconds of it comes
 * RINGTAIL_E_UNSUPPORTED.  Until the end of a state the position, the marker and the
 * counters are what they were before.
 *
 * Events come in order of seq, each once, never torn, and only from whole
 * transactions.  The first call never waits: it brings an event, or says
 * RINGTAIL_CAUGHT_UP.  RINGTAIL_NOTHING before the timeout is over says, once, that
 * the writer died (see ringtail_state()); another call waits for the next writer.
 *
 * Return:    enum ringtail_outcome, or a negative error.
 * Errors:    RINGTAIL_E_CANCELED, _CLOSED, _LAPPED, _COMPACTED, _CORRUPT, _RETIRED,
 *            _EPOCH (the feed was made anew), _END, _NO_SNAPSHOT, _UNSUPPORTED (its
 *            log is gone, and with it all states), all final; -EACCES the successor
 *            ring may not be read, final; -ENOMEM, -EMFILE, -ENFILE the position stays.
 * Ownership: what @event points to is the reader's, valid until the next read
 *            call or ringtail_close().
 * Threads:   one call at a time on a reader.
 * Cost:      with an event ready: a copy of it, no system call, no lock.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_next(struct ringtail *reader, struct ringtail_event *event,
			       int64_t timeout_ns);

/**
 * ringtail_next_txn() - the next transaction
 * @reader: a reader
 * @ret_events: the events of it that match the filters, at least one
 * @ret_n: how many
 * @timeout_ns: as for ringtail_next()
 *
 * What ringtail_next() has already delivered of a transaction is not repeated.
 * RINGTAIL_SNAPSHOT: as many entries as lie in memory; they are not copied.  With
 * RINGTAIL_RESET and RINGTAIL_SNAPSHOT_END nothing is set: see ringtail_position().
 *
 * Return, Errors, Threads, Cost: as ringtail_next().
 * Ownership: the array and what it points to are the reader's, valid until the
 *            next read call or ringtail_close().
 * Since:     0.1
 */
RINGTAIL_API int ringtail_next_txn(struct ringtail *reader,
				   const struct ringtail_event **ret_events,
				   size_t *ret_n, int64_t timeout_ns);

/*
 * A batch in the caller's memory: @events describes, @data holds keys, values and
 * previous values.
 */
struct ringtail_batch {
	struct ringtail_event *events;
	size_t max_events;
	void *data;
	size_t data_size; /* bytes */
	size_t max_txns;  /* 0: as many as fit */
	/* set by ringtail_next_batch(): */
	size_t n_events;
	size_t n_txns;
	size_t need_events; /* with -EMSGSIZE: what the next transaction needs */
	size_t need_data;
};

/**
 * ringtail_next_batch() - as many whole transactions as fit
 * @reader: a reader
 * @batch: where to put them
 * @timeout_ns: as for ringtail_next(); waits only for the first event
 *
 * Return:    as ringtail_next().  RINGTAIL_EVENT: at least one transaction with at
 *            least one event that matches.  RINGTAIL_SNAPSHOT: entries, each of which
 *            counts as a transaction here.
 * Errors:    those of ringtail_next(); -EMSGSIZE not even one transaction fits:
 *            need_events and need_data say what it takes, the position is unmoved;
 *            -EINVAL no room for any event.
 * Ownership: everything is the caller's.
 * Threads:   one call at a time on a reader.
 * Cost:      a copy of each event; one check for being overtaken a transaction.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_next_batch(struct ringtail *reader,
				     struct ringtail_batch *batch, int64_t timeout_ns);

/**
 * ringtail_borrow() - the next event, without copying it
 * @reader: a reader
 * @event: on RINGTAIL_EVENT its key and value point into the ring itself
 * @timeout_ns: as for ringtail_next()
 *
 * The writer may overwrite what @event points to at any moment: use it, then
 * ask ringtail_borrow_valid(), and believe what was made of it only if that is
 * 0.  Treat the bytes as hostile until then: they can change between two looks.
 * Lengths are checked and do not change.  The reader moves on by the next read
 * call; a gap that it meets there begins after the borrowed event.  Events of a
 * transaction are lent one by one: whether it was seen whole is known when the
 * last of them was valid.
 *
 * Return, Errors, Threads: as ringtail_next().
 * Ownership: the ring's; not to be used after the next read call.
 * Cost:      no copy, no system call, no lock.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_borrow(struct ringtail *reader, struct ringtail_event *event,
				 int64_t timeout_ns);

/**
 * ringtail_borrow_valid() - was the borrowed event intact until now?
 * @reader: the reader of the newest ringtail_borrow()
 *
 * Return:    0 intact; RINGTAIL_E_OVERRUN what was read of it is worthless.  The
 *            event then counts as lost, and the gap that the next call reports
 *            begins with it.
 * Errors:    -EINVAL nothing is borrowed.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a reader.
 * Cost:      one load.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_borrow_valid(struct ringtail *reader);

/**
 * ringtail_gap() - the gap that the newest RINGTAIL_GAP or RINGTAIL_RESET, or
 * RINGTAIL_E_LAPPED, _COMPACTED or _EPOCH, was about
 * @reader: a reader
 * @ret: the gap
 *
 * Return:    0.
 * Errors:    -ENOENT there was none.
 * Ownership: a copy.
 * Threads:   one call at a time on a reader.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_gap(const struct ringtail *reader,
			      struct ringtail_gap_info *ret);

/**
 * ringtail_position() - the seq up to which everything is handled
 * @reader: a reader
 *
 * Filtered events are moved over.  In the middle of a transaction it is the
 * seq of the event delivered last.
 *
 * Return:    the seq.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a reader.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API uint64_t ringtail_position(const struct ringtail *reader);

/**
 * ringtail_marker() - the position as text, to go on from later
 * @reader: a reader
 * @ret: a string of 42 characters that sorts by seq
 *
 * A marker stands for whole transactions: in the middle of one it is the
 * marker of the transaction before.
 *
 * Return:    0.
 * Errors:    none.
 * Ownership: a copy.
 * Threads:   one call at a time on a reader.
 * Cost:      formatting, no system call.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_marker(const struct ringtail *reader,
				 char ret[RINGTAIL_MARKER_SIZE]);

/**
 * ringtail_marker_parse() - what a marker says
 * @marker: text
 * @ret_seq: seq; may be NULL
 * @ret_epoch: epoch; may be NULL
 *
 * Return:    0.
 * Errors:    RINGTAIL_E_MALFORMED.
 * Ownership: nothing changes hands.
 * Threads:   any.
 * Cost:      none to speak of.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_marker_parse(const char *marker, uint64_t *ret_seq,
				       uint64_t *ret_epoch);

/**
 * ringtail_marker_format() - the marker of a seq and an epoch
 * @seq: seq of the last event of a transaction, or 0
 * @epoch: of the feed
 * @ret: the text
 *
 * Return:    0.
 * Errors:    none.
 * Ownership: a copy.
 * Threads:   any.
 * Cost:      none to speak of.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_marker_format(uint64_t seq, uint64_t epoch,
					char ret[RINGTAIL_MARKER_SIZE]);

/* ringtail_cursor_store() flags */
#define RINGTAIL_CURSOR_SYNC 0x1u /* return when it survives a power cut */

/**
 * ringtail_cursor_store() - keep a marker in a file
 * @path: the file, made or replaced
 * @marker: what ringtail_marker() gave
 * @flags: RINGTAIL_CURSOR_SYNC or 0
 *
 * Writes @path.new and renames it: whoever looks, also after a crash, finds the old
 * marker or the new one.  Store it after the effects of what it stands for: then a
 * consumer that dies repeats some of them and leaves none out.  A file has one owner
 * at a time.
 *
 * Return:    0.
 * Errors:    RINGTAIL_E_MALFORMED @marker is none; -EINVAL an unknown flag; negative
 *            errno of the file system, after which @path holds the old marker, or
 *            with RINGTAIL_CURSOR_SYNC maybe the new one.  ringtail_error(NULL) has
 *            the text.
 * Ownership: nothing changes hands.
 * Threads:   any; one call at a time on a path.
 * Cost:      four system calls; with RINGTAIL_CURSOR_SYNC two syncs.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_cursor_store(const char *path, const char *marker,
				       uint32_t flags);

/**
 * ringtail_cursor_load() - the marker in a file
 * @path: the file
 * @ret: the marker, for ringtail_options.marker; set only on 0
 *
 * Return:    0.
 * Errors:    -ENOENT there is no such file; RINGTAIL_E_MALFORMED it holds something
 *            else than a marker, or nothing; negative errno of the file system.
 *            ringtail_error(NULL) has the text, with the file's name.
 * Ownership: a copy.
 * Threads:   any.
 * Cost:      three system calls.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_cursor_load(const char *path, char ret[RINGTAIL_MARKER_SIZE]);

/**
 * ringtail_fd() - a descriptor to poll for new events
 * @reader: a reader
 *
 * From the first call on, a read call that returns RINGTAIL_NOTHING with a
 * timeout of 0 arms the descriptor: it becomes readable at the next event, at
 * close, cancel and the writer's death.  So: poll for POLLIN, then call
 * ringtail_next(reader, &event, 0) until it returns RINGTAIL_NOTHING.  It can be
 * readable for nothing.  Nothing but poll, select and epoll may be done with it.
 *
 * With io_uring (see fd_mode) the kernel interrupts the thread that armed it:
 * a blocking call of that thread, epoll_wait() above all, can return EINTR
 * once.  Arm from the thread that polls, and treat EINTR as "go round again".
 * The helper thread has no such effect and costs one more switch of threads.
 *
 * Return:    the descriptor.
 * Errors:    RINGTAIL_E_UNSUPPORTED the kernel has no futex operation in io_uring
 *            and fd_mode is RINGTAIL_FD_URING; -EMFILE; -ENOMEM; -EAGAIN.
 * Ownership: the reader's; gone with ringtail_close().
 * Threads:   one call at a time on a reader.
 * Cost:      arming is one system call.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_fd(struct ringtail *reader);

/**
 * ringtail_cancel() - make the reader stop
 * @reader: a reader
 *
 * A read call that waits returns RINGTAIL_E_CANCELED at once, and so does every
 * later one.  If the reader had already stopped for another reason, that one
 * stays.
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   any thread, and any signal handler, while @reader is open.
 * Cost:      a system call.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_cancel(struct ringtail *reader);

/**
 * ringtail_state() - how the writer does
 * @reader: a reader
 *
 * Return:    enum ringtail_state.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a reader.
 * Cost:      up to two system calls.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_state(struct ringtail *reader);

/**
 * ringtail_get_info() - what the feed is and holds
 * @reader: a reader
 * @info: size set by the caller, the rest by the call
 *
 * Return:    0.
 * Errors:    -EINVAL a size that this library does not know.
 * Ownership: a copy.
 * Threads:   one call at a time on a reader.
 * Cost:      some loads, up to two system calls.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_get_info(struct ringtail *reader, struct ringtail_info *info);

/**
 * ringtail_get_stats() - counters and lag of a reader
 * @reader: a reader
 * @stats: size set by the caller, the rest by the call
 *
 * Return:    0.
 * Errors:    -EINVAL a size that this library does not know.
 * Ownership: a copy.
 * Threads:   one call at a time on a reader.
 * Cost:      some loads.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_get_stats(struct ringtail *reader,
				    struct ringtail_stats *stats);

/**
 * ringtail_error() - the newest error in words, with names and numbers
 * @reader: a reader, or NULL for the newest open, or call about a cursor, that failed
 *          in this thread
 *
 * Return:    a text; empty if there was no error.
 * Errors:    none.
 * Ownership: the library's; valid until the next call on @reader, or the next open
 *            or call about a cursor in this thread.
 * Threads:   one call at a time on a reader.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API const char *ringtail_error(const struct ringtail *reader);

/**
 * ringtail_strerror() - an error code in words
 * @code: a negative return value of any call
 *
 * Return:    a text that names the error.
 * Errors:    none.
 * Ownership: constant, or of this thread until its next call.
 * Threads:   any.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API const char *ringtail_strerror(int code);

/**
 * ringtail_version() - version of the library
 *
 * Return:    a text, as in 0.1.0.
 * Errors:    none.
 * Ownership: constant.
 * Threads:   any.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API const char *ringtail_version(void);

/*
 * ---- A view: the state of a feed, kept up to date ------------------------
 *
 * A view is a replica, in the memory of this process, of the keys that its filters
 * match.  It begins with the present state, follows every change, and gets the state
 * anew by itself when history was cut, was begun anew, or overtook it.  Whoever looks
 * finds it at the end of a transaction, never in the middle of one.
 *
 *	without RINGTAIL_VIEW_THREAD	ringtail_view_poll() brings it up to date; one
 *					call at a time on a view
 *	with it				a thread of its own does, and any thread may
 *					look, between ringtail_view_lock() and _unlock()
 *
 * What stops a view leaves it as it was at its newest boundary, to be looked at.
 */

struct ringtail_view;

/* ringtail_change.flags */
#define RINGTAIL_VIEW_INITIAL 0x1u /* of the state that the view began with */
#define RINGTAIL_VIEW_RESYNCED \
	0x2u /* found by comparing with a new state; a delete of \
	      * this kind has seq and time 0 */

/* A key as the view has it. */
struct ringtail_view_entry {
	const void *key;
	const void *value;
	size_t key_len;
	size_t value_len;
	uint64_t seq; /* of the put that set the value */
	uint64_t time_ns;
};

/* A change of one key.  What it points to is valid during the callback. */
struct ringtail_change {
	uint32_t op;    /* RINGTAIL_PUT or RINGTAIL_DELETE */
	uint32_t flags; /* RINGTAIL_VIEW_... */
	const void *key;
	size_t key_len;
	const void *old_value; /* NULL: the key was not there */
	size_t old_len;
	const void *value; /* NULL: it is not there now */
	size_t value_len;
	uint64_t seq;
	uint64_t time_ns;
};

/* ringtail_view_options.flags */
#define RINGTAIL_VIEW_THREAD 0x1u /* keep it up to date by a thread of its own */

/* How to open a view.  Begin with RINGTAIL_VIEW_OPTIONS_INIT. */
struct ringtail_view_options {
	size_t size; /* sizeof(struct ringtail_view_options) */
	uint32_t flags;
	uint32_t reserved;
	/*
	 * For each change, in order; and after the last change of each transaction, or
	 * of a state.  May be NULL.  Both are called when all of the transaction, or
	 * state, is in the view and nothing behind it: by ringtail_view_poll(), or by
	 * the view's thread with the view locked; for what is there at the begin by
	 * ringtail_view_open() before it returns.  They may look at the view and cancel
	 * it, and must not poll, wait, lock or close it.
	 */
	void (*on_change)(void *arg, const struct ringtail_change *change);
	void (*on_txn)(void *arg, uint64_t seq);
	/* With RINGTAIL_VIEW_THREAD: the thread has stopped for good, and why; not when
	 * ringtail_view_close() stops it.  May be NULL; must not close the view. */
	void (*on_stop)(void *arg, int error);
	void *arg;
};

#define RINGTAIL_VIEW_OPTIONS_INIT \
	{ \
		sizeof(struct ringtail_view_options), 0, 0, NULL, NULL, NULL, NULL \
	}

/* Outcomes of ringtail_view_wait(). */
enum ringtail_view_waited {
	RINGTAIL_VIEW_TIMED_OUT = 0, /* it is not there yet */
	RINGTAIL_VIEW_REACHED = 1,   /* it got there while we waited */
	RINGTAIL_VIEW_ALREADY = 2,   /* it was there already */
};

/**
 * ringtail_view_open() - open a view
 * @feed: name of the feed
 * @options: dir, filters, wait, presence, fd_mode, and how to wait for a feed that is
 *         not there; start, ops, on_gap and until must be as RINGTAIL_OPTIONS_INIT
 *         leaves them.  NULL: all defaults
 * @view_options: NULL: all defaults
 * @ret: the view, with the present state in it
 *
 * Return:    0, or a negative error; *@ret is set only on 0.
 * Errors:    as ringtail_open() and ringtail_next() with policy `resync`;
 *            RINGTAIL_E_NO_SNAPSHOT; RINGTAIL_E_UNSUPPORTED the feed keeps no log, so
 *            its state is not held; -EAGAIN no thread.  ringtail_error(NULL) has the
 *            text.
 * Ownership: the view is the caller's; nothing of the options is kept.
 * Threads:   any.
 * Cost:      reads the whole state once, and what was committed since its snapshot.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_open(const char *feed,
				    const struct ringtail_options *options,
				    const struct ringtail_view_options *view_options,
				    struct ringtail_view **ret);

/**
 * ringtail_view_close() - close a view
 * @view: may be NULL
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: frees @view and what its entries point to.
 * Threads:   no other call on @view may run or follow; not from a callback.
 * Cost:      ends the thread, frees the table.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_view_close(struct ringtail_view *view);

/**
 * ringtail_view_poll() - apply what has come
 * @view: a view without RINGTAIL_VIEW_THREAD
 * @timeout_ns: how long to wait for the first transaction; as for ringtail_next()
 *
 * It ends when there is nothing more, or after some thousand transactions: there may be
 * more unless it returned 0.
 *
 * Return:    the number of transactions and states that were applied; 0 none came.
 * Errors:    those of ringtail_next() with policy `resync`; -ENOMEM no memory for what
 *            has changed, final; -EINVAL the view has a thread.  The view stays as it
 *            was.
 * Ownership: what earlier lookups returned is not valid any more.
 * Threads:   one call at a time on a view.
 * Cost:      no system call while there is something to apply.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_poll(struct ringtail_view *view, int64_t timeout_ns);

/**
 * ringtail_view_fd() - a descriptor to poll
 * @view: a view without RINGTAIL_VIEW_THREAD
 *
 * From the first call on it is armed by each ringtail_view_poll(view, 0) that returns
 * 0; so call this before the poll after which you wait.
 *
 * Return:    the descriptor; see ringtail_fd().
 * Errors:    as ringtail_fd(); -EINVAL the view has a thread.
 * Ownership: the view's.
 * Threads:   one call at a time on a view.
 * Cost:      as ringtail_fd().
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_fd(struct ringtail_view *view);

/**
 * ringtail_view_cancel() - make the view stop
 * @view: a view
 *
 * Polls and waits return RINGTAIL_E_CANCELED, and its thread ends.
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   any thread, and any signal handler, while @view is open.
 * Cost:      a system call.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_view_cancel(struct ringtail_view *view);

/**
 * ringtail_view_lock() - keep the view as it is
 * @view: a view; one without RINGTAIL_VIEW_THREAD needs no lock, and has none
 *
 * Threads that look share the lock.  The view's thread takes it once for each batch of
 * transactions and comes before those who ask after it has; so neither keeps the other
 * out for long, but whoever looks for long keeps the view back.
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: what is looked up stays valid until ringtail_view_unlock().
 * Threads:   any that has not locked it; not from a callback.
 * Cost:      a lock that lookups share.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_view_lock(struct ringtail_view *view);

/**
 * ringtail_view_unlock() - let the view go on
 * @view: a view that this thread has locked
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   as ringtail_view_lock().
 * Cost:      likewise.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_view_unlock(struct ringtail_view *view);

/**
 * ringtail_view_get() - the value of a key
 * @view: a view, locked if it has a thread
 * @key: bytes
 * @key_len: their number
 * @ret: the entry; may be NULL
 *
 * Return:    1; 0 there is no such key.
 * Errors:    none.
 * Ownership: the view's; valid until the next poll, or unlock.
 * Threads:   as said above.
 * Cost:      a hash lookup.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_get(struct ringtail_view *view, const void *key,
				   size_t key_len, struct ringtail_view_entry *ret);

/**
 * ringtail_view_each() - visit the keys with a prefix, in their order
 * @view: a view, locked if it has a thread
 * @prefix: bytes; NULL with @prefix_len 0: all keys
 * @prefix_len: their number
 * @visit: called for each; what it returns, if not 0, ends the walk; it may look, and
 *         must not poll
 * @arg: for @visit
 *
 * Return:    0, or what @visit returned.
 * Errors:    -ENOMEM.
 * Ownership: as ringtail_view_get().
 * Threads:   as said above.
 * Cost:      O(log n) and the keys visited; the first walk after keys came or went puts
 *            those in order, and after many did so, all.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_each(
	struct ringtail_view *view, const void *prefix, size_t prefix_len,
	int (*visit)(void *arg, const struct ringtail_view_entry *entry), void *arg);

/**
 * ringtail_view_count() - how many keys there are
 * @view: a view, locked if it has a thread
 *
 * Return:    their number.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   as said above.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API size_t ringtail_view_count(struct ringtail_view *view);

/**
 * ringtail_view_seq() - the seq that the view stands for
 * @view: a view
 *
 * Events that do not match its filters count when the view has looked at them, which
 * may be a second later; ringtail_view_wait() makes it look.
 *
 * Return:    everything up to it is in the view.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   any.
 * Cost:      a load.
 * Since:     0.1
 */
RINGTAIL_API uint64_t ringtail_view_seq(struct ringtail_view *view);

/**
 * ringtail_view_marker() - the same as a marker
 * @view: a view, locked if it has a thread
 * @ret: the marker
 *
 * Return:    0.
 * Errors:    none.
 * Ownership: a copy.
 * Threads:   as said above.
 * Cost:      formatting.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_marker(struct ringtail_view *view,
				      char ret[RINGTAIL_MARKER_SIZE]);

/**
 * ringtail_view_wait() - wait until the view has a seq
 * @view: a view
 * @seq: to be reached
 * @timeout_ns: how long; as for ringtail_next()
 *
 * So a program sees what it has written: it takes the seq of its write, from the reply
 * or from a marker, and waits for it.
 *
 * Return:    enum ringtail_view_waited, or the error that stopped the view.
 * Errors:    as ringtail_view_poll(), which it does for a view without a thread.
 * Ownership: as ringtail_view_poll().
 * Threads:   any for a view with a thread; not locked, not from a callback.
 * Cost:      sleeps.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_wait(struct ringtail_view *view, uint64_t seq,
				    int64_t timeout_ns);

/**
 * ringtail_view_get_stats() - counters and lag of the view's reader
 * @view: a view, locked if it has a thread
 * @stats: size set by the caller, the rest by the call
 *
 * For a view with a thread they are those of its newest boundary.
 *
 * Return:    0.
 * Errors:    -EINVAL a size that this library does not know.
 * Ownership: a copy.
 * Threads:   as said above.
 * Cost:      some loads.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_view_get_stats(struct ringtail_view *view,
					 struct ringtail_stats *stats);

/**
 * ringtail_view_error() - the newest error of the view in words
 * @view: a view; NULL as for ringtail_error()
 *
 * Return:    a text; empty if there was none, or as long as its thread runs.
 * Errors:    none.
 * Ownership: the view's; valid until the next call on it.
 * Threads:   one call at a time on a view; with a thread, after it has stopped: a wait
 *            or on_stop says so.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API const char *ringtail_view_error(const struct ringtail_view *view);

/*
 * ---- Writing a feed from within a process -------------------------------
 */

/* ringtail_writer_options.wake_mode */
enum ringtail_wake_mode {
	RINGTAIL_WAKE_BELL = 0,   /* a system call only when somebody sleeps */
	RINGTAIL_WAKE_ALWAYS = 1, /* one at every commit; trusts no reader */
};

/* ringtail_writer_options.clock */
enum ringtail_clock {
	RINGTAIL_CLOCK_COARSE = 0,  /* of the kernel's tick: 1 to 4 ms, 3 ns a commit */
	RINGTAIL_CLOCK_PRECISE = 1, /* about 25 ns a commit */
};

/* ringtail_writer_options.flags */
#define RINGTAIL_WRITER_NEW_EPOCH 0x1u /* begin a new history even if one is there */

/* How to open a writer.  Begin with RINGTAIL_WRITER_OPTIONS_INIT. */
struct ringtail_writer_options {
	size_t size;     /* sizeof(struct ringtail_writer_options) */
	const char *dir; /* as in struct ringtail_options */
	uint32_t flags;
	uint32_t n_slots;      /* power of two, 64 .. 2^26; 0: 65536 */
	uint64_t payload_size; /* bytes; power of two, 4 KiB .. 16 GiB; 0: 8 MiB */
	uint32_t max_key;      /* bytes, 1 .. 65535; 0: 1024 */
	uint32_t max_value;    /* bytes; 0: as much as a transaction may have */
	uint32_t mode;         /* of the ring file; 0: 0640 */
	uint32_t bell_mode;    /* of the bell: readers that may write it can sleep long.
				* 0: 0600, the writer's own user */
	uint32_t wake_mode;    /* enum ringtail_wake_mode */
	uint32_t clock;        /* enum ringtail_clock */
	uint32_t beat_ms;      /* a heartbeat every so many ms; 0: 1000 */
	uint32_t reserved;
};

#define RINGTAIL_WRITER_OPTIONS_INIT \
	{ \
		sizeof(struct ringtail_writer_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, \
			0, 0, 0 \
	}

/**
 * ringtail_writer_open() - create a feed, or go on with one
 * @feed: name
 * @options: how; NULL means all defaults
 * @ret: the writer
 *
 * A feed that a writer closed, or died on, is continued: same epoch, next seq,
 * readers stay attached.  If the options ask for another size than it has, it
 * moves to a new ring and attached readers follow.
 *
 * A bell that others may write (bell_mode) can be truncated by them, which is a
 * SIGBUS in the writer; a daemon handles that, an embedded writer should keep
 * the bell to its own user or use RINGTAIL_WAKE_ALWAYS.
 *
 * Return:    0, or a negative error; *@ret is set only on 0.
 * Errors:    RINGTAIL_E_BUSY the feed has a writer; RINGTAIL_E_NO_SPACE; -EINVAL a
 *            bad name or size; RINGTAIL_E_CORRUPT, _VERSION the ring that is there
 *            cannot be continued; -EACCES.  ringtail_error(NULL) has the text.
 * Ownership: the writer is the caller's; nothing of @options is kept.
 * Threads:   any.
 * Cost:      some system calls; reserves all memory of the ring.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_writer_open(const char *feed,
				      const struct ringtail_writer_options *options,
				      struct ringtail_writer **ret);

/**
 * ringtail_writer_close() - close the feed, or let go of it
 * @writer: may be NULL
 *
 * Readers drain what is there and then get RINGTAIL_E_CLOSED.  A transaction
 * that was begun and not committed is dropped.
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: frees @writer.
 * Threads:   no other call on @writer may run or follow.
 * Cost:      some system calls.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_writer_close(struct ringtail_writer *writer);

/**
 * ringtail_put() - commit a put, a transaction of its own
 * @writer: a writer with no transaction begun
 * @key: bytes, at least one
 * @key_len: their number
 * @value: bytes
 * @value_len: their number; 0 is a value too
 * @flags: RINGTAIL_CREATED or 0
 *
 * Return:    0: readers can see it, and sleepers that wait for it have been woken.
 * Errors:    -EINVAL an empty key, no value but a length, an unknown flag, or a
 *            transaction is begun;
 *            RINGTAIL_E_TOO_BIG over a limit, nothing was changed.
 * Ownership: both are copied.
 * Threads:   one call at a time on a writer.
 * Cost:      a copy; no system call unless somebody sleeps.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_put(struct ringtail_writer *writer, const void *key,
			      size_t key_len, const void *value, size_t value_len,
			      uint32_t flags);

/**
 * ringtail_delete() - commit a delete, a transaction of its own
 * @writer: a writer with no transaction begun
 * @key: bytes, at least one
 * @key_len: their number
 * @flags: RINGTAIL_EXPIRED or 0
 *
 * Return, Errors, Ownership, Threads, Cost: as ringtail_put().
 * Since:     0.1
 */
RINGTAIL_API int ringtail_delete(struct ringtail_writer *writer, const void *key,
				 size_t key_len, uint32_t flags);

/**
 * ringtail_message() - commit a message, a transaction of its own
 * @writer: a writer with no transaction begun
 * @key: bytes, at least one
 * @key_len: their number
 * @value: bytes
 * @value_len: their number
 *
 * Return, Errors, Ownership, Threads, Cost: as ringtail_put().
 * Since:     0.1
 */
RINGTAIL_API int ringtail_message(struct ringtail_writer *writer, const void *key,
				  size_t key_len, const void *value, size_t value_len);

/**
 * ringtail_begin() - begin a transaction
 * @writer: a writer
 *
 * Return:    0.
 * Errors:    -EINVAL one is begun already.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_begin(struct ringtail_writer *writer);

/**
 * ringtail_add() - add an event to the transaction
 * @writer: a writer with a transaction begun
 * @op: enum ringtail_op
 * @key: bytes, at least one
 * @key_len: their number
 * @value: bytes; none for a delete
 * @value_len: their number
 * @flags: RINGTAIL_CREATED, RINGTAIL_EXPIRED or 0
 *
 * Return:    0.
 * Errors:    -EINVAL; RINGTAIL_E_TOO_BIG: this event is not added, the transaction
 *            stays as it was.
 * Ownership: both are copied.
 * Threads:   one call at a time on a writer.
 * Cost:      a copy.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_add(struct ringtail_writer *writer, uint32_t op,
			      const void *key, size_t key_len, const void *value,
			      size_t value_len, uint32_t flags);

/**
 * ringtail_claim() - add a put whose value the caller fills in place
 * @writer: a writer with a transaction begun
 * @key: bytes, at least one
 * @key_len: their number
 * @value_len: room for the value, in bytes
 * @flags: RINGTAIL_CREATED or 0
 * @ret: the room, in the ring itself; not aligned to anything
 *
 * Return:    0.
 * Errors:    as ringtail_add(); *@ret is set only on 0.
 * Ownership: the room is the caller's to fill until ringtail_commit().
 * Threads:   one call at a time on a writer.
 * Cost:      no copy of the value.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_claim(struct ringtail_writer *writer, const void *key,
				size_t key_len, size_t value_len, uint32_t flags,
				void **ret);

/**
 * ringtail_commit() - make the transaction visible, all of it at once
 * @writer: a writer with a transaction begun
 *
 * An empty transaction uses no seq and wakes nobody.
 *
 * Return:    0.
 * Errors:    -EINVAL none is begun.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      no system call unless somebody sleeps.
 * Since:     0.1
 */
RINGTAIL_API int ringtail_commit(struct ringtail_writer *writer);

/**
 * ringtail_abort() - drop the transaction
 * @writer: a writer; nothing happens if none is begun
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_abort(struct ringtail_writer *writer);

/**
 * ringtail_writer_set_time() - the time of the commits to come
 * @writer: a writer
 * @time_ns: CLOCK_REALTIME; 0: read the clock at each commit again
 *
 * For callers that know the time, or commit many times at one.  A time before
 * that of the newest event counts as that one's.
 *
 * Return:    nothing.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API void ringtail_writer_set_time(struct ringtail_writer *writer,
					   uint64_t time_ns);

/**
 * ringtail_writer_seq() - seq of the newest committed event
 * @writer: a writer
 *
 * Return:    the seq; 0 if there is none.
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API uint64_t ringtail_writer_seq(const struct ringtail_writer *writer);

/**
 * ringtail_writer_epoch() - epoch of the feed
 * @writer: a writer
 *
 * Return:    the epoch; with a seq it makes a marker, see ringtail_marker_format().
 * Errors:    none.
 * Ownership: nothing changes hands.
 * Threads:   one call at a time on a writer.
 * Cost:      none.
 * Since:     0.1
 */
RINGTAIL_API uint64_t ringtail_writer_epoch(const struct ringtail_writer *writer);

#ifdef __cplusplus
}
#endif

#endif
