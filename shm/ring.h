/* SPDX-License-Identifier: MIT */
/*
 * ring.h - the contract of the ring: one writer, any number of readers
 *
 * Who may call what: everything named rt_writer_* from the one thread that owns
 * the writer; everything named rt_ring_* from any process that has mapped the
 * segment, and it never stores to it.
 *
 * The writer's stores, in order, for a transaction of events f .. l, and what a
 * reader (R) and a next writer (S) see after each:
 *
 *   1. floor = first of a transaction above everything that will be reused
 *	  R: who stands below is lapped and gives up; S: the same floor or higher
 *   2. payload, slots f .. l without their seq words
 *	  R: slots still carry older seqs, so "nothing new"; a copy of an old event
 *	  from there fails the check of the floor afterwards; S: nothing
 *   3. seq words of f+1 .. l
 *	  R: waits at f, whose seq word is old, or joins at head + 1 = f; S: clears
 *	  them, since f is not published
 *   4. seq word of f
 *	  R: sees the whole transaction; S: finds it by looking forward from head
 *   5. head = l
 *	  R: late joiners start after l; S: nothing to repair
 *   6. wake-ups (bell.h)
 *	  R: sleepers of the topics go on; S: wakes everybody once when it starts
 */
#ifndef RINGTAIL_SHM_RING_H
#define RINGTAIL_SHM_RING_H

#include <time.h>

#include "shm/base.h"
#include "shm/bell.h"
#include "shm/keeper.h"
#include "shm/layout.h"
#include "shm/order.h"
#include "shm/segment.h"

/*
 * ---- Writer -----------------------------------------------------------------
 */

/* rt_writer_open() flags */
#define RT_WRITER_NEW_EPOCH 0x1u /* begin a new history even if one is there */
#define RT_WRITER_ANEW      0x8u /* a ring that is damaged is no obstacle */
#define RT_WRITER_PRECISE   0x2u /* CLOCK_REALTIME, not its coarse twin */
#define RT_WRITER_SELF_BEAT \
	0x4u /* the caller calls rt_writer_beat() each beat_every_ns */

struct rt_writer {
	/* read and written by each commit */
	uint64_t next;     /* seq of the next event */
	uint64_t pos;      /* next free payload byte, counted from the ring's start */
	uint64_t next_max; /* while next <= this, neither the floor nor a sleeper ... */
	uint64_t pos_max;  /* ... and while pos <= this, has to move */
	uint64_t last_ns;  /* time of the newest transaction */
	uint64_t fixed_ns; /* rt_writer_set_time(); 0: read the clock */
	uint64_t n_bytes;
	uint64_t n_txns;
	struct rt_slot *slots;
	uint8_t *payload;
	struct rt_hot *hot;
	struct rt_bell *bell; /* NULL: RT_WAKE_ALWAYS */
	uint64_t slot_mask;
	uint64_t payload_mask;
	uint64_t max_txn_bytes;
	uint32_t max_txn_events;
	uint32_t max_key;
	uint32_t max_value;
	bool in_txn;
	bool fence;   /* a full barrier before looking at the bell */
	bool always;  /* RT_WAKE_ALWAYS */
	bool holding; /* wake-ups wait for rt_writer_release() */
	bool sweep;   /* a shared bell: tell the keeper of each commit */
	clockid_t clock;
	/* the open transaction: events first .. next - 1, bytes so far */
	uint64_t txn_first;
	uint64_t txn_bytes;
	uint64_t txn_pos; /* pos at its begin, for abort */
	/* rarely used */
	uint64_t floor;
	uint64_t quarter_seq; /* sleepers of all topics are woken at these: they must */
	uint64_t quarter_pos; /* not be lapped asleep by topics that are not theirs */
	uint64_t wakes, wake_calls;
	uint32_t held; /* topics that were committed for while holding */
	bool self_beat;
	uint64_t beat_every_ns;
	struct rt_keeper_slot *keeper;
	struct rt_segment segment;
	int lock_fd;
	int dir_fd; /* of the feed's own folder */
	uint64_t bell_id;
	uint64_t bell_ino; /* of the file that is mapped */
	struct rt_ring_config config;
	char name[RT_NAME_MAX + 8];
};

/*
 * Creates the feed <dir>/<config->name>, or goes on with what is there: recovers
 * the last published transaction, clears what a dead writer left behind it, moves
 * to a ring of another size if @config asks for one.  @dir and the feed's folder
 * are made as needed.  Errors: RT_E_BUSY, RT_E_NO_SPACE, RT_E_CORRUPT, RT_E_VERSION,
 * -EINVAL, and what the system calls give; @fault says it in words.
 */
int rt_writer_open(const char *dir, const struct rt_ring_config *config, unsigned flags,
		   uint64_t beat_every_ns, struct rt_fault *fault,
		   struct rt_writer **ret);

/* Closes the feed (readers drain and learn of it) and frees @writer; NULL is fine. */
void rt_writer_close(struct rt_writer *writer);

/*
 * Lets go without closing, as a crash would, but for the lock, which is released.
 * For tests, and for a successor process that takes over.
 */
void rt_writer_drop(struct rt_writer *writer);

/*
 * Moves the feed to a new ring file, as @config asks for it: with another size, owner,
 * group or mode.  The lock is kept; name, epoch and seqs go on.  Readers that may open
 * the new file follow and lose nothing that it holds; others end with -EACCES.  Not
 * within a transaction.  The memory of both rings is needed for a moment.
 *
 * Negative, and nothing was changed: as rt_writer_open(); -EINVAL another wake mode.
 * The bell follows; if it cannot, it is the next rt_writer_bell_check() that moves it,
 * and sleepers may be late by a sweep until then.
 */
int rt_writer_move(struct rt_writer *writer, const struct rt_ring_config *config,
		   struct rt_fault *fault);

/* 0 reads the clock at each commit; times never go back. */
void rt_writer_set_time(struct rt_writer *writer, uint64_t time_ns);

/* Heartbeat and counters; for RT_WRITER_SELF_BEAT. */
void rt_writer_beat(struct rt_writer *writer);

/*
 * A new bell when somebody truncated or removed the one in use; returns 1 if it was
 * renewed, 0 if it was fine.  The caller of a shared bell calls this each beat and
 * after a SIGBUS, whose handler is rt_writer_bell_fault().
 */
int rt_writer_bell_check(struct rt_writer *writer);

/*
 * Async-signal-safe.  If @addr is in the bell of @writer, puts a private page of
 * zeros in its place, so that the interrupted load goes on, and returns true.
 */
bool rt_writer_bell_fault(struct rt_writer *writer, const void *addr);

/* One event as a transaction of its own.  0, RT_E_TOO_BIG, -EINVAL. */
int rt_writer_one(struct rt_writer *writer, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len);

/* The same with both packed, for callers that know them to be valid together. */
RT_INLINE uint32_t rt_kind(uint8_t op, uint8_t flags)
{
	return (uint32_t)op << 16 | (uint32_t)flags << 24;
}
int rt_writer_one_kind(struct rt_writer *writer, uint32_t kind, const void *key,
		       size_t key_len, const void *value, size_t value_len);

/* A transaction.  Nothing is visible before commit; abort is always possible. */
void rt_writer_begin(struct rt_writer *writer);
int rt_writer_add(struct rt_writer *writer, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len);
/* As add, with the value that the event replaces; it counts as the value does. */
int rt_writer_add_prev(struct rt_writer *writer, uint8_t op, uint8_t flags,
		       const void *key, size_t key_len, const void *value,
		       size_t value_len, const void *prev, size_t prev_len);
/* A transaction of one such event. */
int rt_writer_one_prev(struct rt_writer *writer, uint8_t op, uint8_t flags,
		       const void *key, size_t key_len, const void *value,
		       size_t value_len, const void *prev, size_t prev_len);
/* As add, a put, with the value left for the caller to fill until commit. */
int rt_writer_claim(struct rt_writer *writer, uint8_t flags, const void *key,
		    size_t key_len, size_t value_len, void **ret);
void rt_writer_commit(struct rt_writer *writer);
void rt_writer_abort(struct rt_writer *writer);

/* For rt_writer_open(), when next, pos and floor are known. */
void rt_writer_init_limits(struct rt_writer *writer);

/* Seq of the newest committed event. */
RT_INLINE uint64_t rt_writer_head(const struct rt_writer *writer)
{
	return (writer->in_txn ? writer->txn_first : writer->next) - 1;
}

/*
 * Between the two, commits are visible at once but wake nobody: one barrier and one
 * look at the bell then serve a whole batch of them.  For what is over in a moment.
 */
void rt_writer_hold(struct rt_writer *writer);
void rt_writer_release(struct rt_writer *writer);

/*
 * Lets go of everything before event @seq: the floor moves to the first of its
 * transaction, behind the newest event if it is above that, and never back.  Not within
 * a transaction.  Returns the floor.
 */
uint64_t rt_writer_forget(struct rt_writer *writer, uint64_t seq);

/* Would this event by itself be taken?  0, RT_E_TOO_BIG, -EINVAL. */
int rt_writer_accepts(const struct rt_writer *writer, uint8_t op, uint8_t flags,
		      size_t key_len, size_t value_len, size_t prev_len);

/*
 * Would a transaction fit?  For those who must know before they begin: 0, or
 * RT_E_TOO_BIG.  @n_bytes is the sum of all keys, values and previous values.
 */
int rt_writer_fits(const struct rt_writer *writer, uint64_t n_events, uint64_t n_bytes);

/*
 * ---- Reader ------------------------------------------------------------------
 */

#define RT_SEQ_MAX (UINT64_MAX / 2) /* no feed gets so far; a head above is damage */

/* A slot, copied and checked: lengths and place lie within the ring. */
struct rt_event {
	uint64_t seq;
	uint64_t time_ns;
	uint32_t value_len;
	uint32_t prev_len;
	uint32_t txn_index;
	uint32_t txn_size;
	uint16_t key_len;
	uint8_t op;
	uint8_t flags;
	uint32_t pos;
	const uint8_t *key;   /* in the slot or the payload: may be overwritten */
	const uint8_t *value; /* likewise; the previous value follows it */
};

/* Outcomes of rt_ring_look(); never forwarded. */
enum rt_look {
	RT_LOOK_EVENT = 1, /* there; believe it only if rt_ring_intact() afterwards */
	RT_LOOK_NOTHING = 0,
	RT_LOOK_LAPPED = 2,
	RT_LOOK_CORRUPT = 3, /* maybe: stable only if rt_ring_intact() still holds */
};

/* Is everything from @seq on still as it was when it was published? */
RT_INLINE bool rt_ring_intact(const struct rt_segment *segment, uint64_t seq)
{
	return seq >= rt_load64(&segment->hot->floor);
}

RT_INLINE bool rt_ring_ready(const struct rt_segment *segment, uint64_t seq)
{
	return rt_load64(&segment->slots[seq & (segment->geo.n_slots - 1)].seq) == seq;
}

/* Looks at event @seq where it lies.  Pure but for the loads. */
enum rt_look rt_ring_look(const struct rt_segment *segment, uint64_t seq,
			  struct rt_event *ret);

/*
 * Oldest seq that is held and the first of its transaction (head + 1 if none), and
 * head, both as of one moment.  A head above RT_SEQ_MAX, which is damage, is given as
 * the one after that.
 */
void rt_ring_bounds(const struct rt_segment *segment, uint64_t *ret_oldest,
		    uint64_t *ret_head);

/*
 * Can the words that the writer keeps changing be what a writer stores?  For those who
 * are about to stop, or to give events up, because of them.
 */
bool rt_ring_makes_sense(const struct rt_segment *segment);

/*
 * Where to go on after a lap: the first of a transaction at least half a ring
 * (slots or payload, whichever comes first) above the floor; head + 1 at most.
 */
uint64_t rt_ring_half(const struct rt_segment *segment);

/*
 * First seq from @seq up to @last that makes no sense where it is, 0 if all do: whole
 * transactions, with payloads in order and within one turn of the payload.
 */
uint64_t rt_ring_nonsense(const struct rt_segment *segment, uint64_t seq,
			  uint64_t last);

/* First seq >= @from that is the first of its transaction, at most head + 1. */
uint64_t rt_ring_align(const struct rt_segment *segment, uint64_t seq);

/* First event with time_ns >= @time_ns, as the first of its transaction; head + 1 if
 * none. */
uint64_t rt_ring_at_time(const struct rt_segment *segment, uint64_t time_ns);

/* Payload bytes in use from event @seq (held) to the newest; 0 when @seq is gone. */
uint64_t rt_ring_bytes_from(const struct rt_segment *segment, uint64_t seq);

/* Bytes of payload that an event takes. */
uint64_t rt_ring_payload_of(const struct rt_event *ev);

/* enum rt_ring_state of the writer as a reader can tell it. */
enum rt_liveness {
	RT_LIVE = 1,
	RT_STALLED = 2,
	RT_DEAD = 3,
	RT_CLOSED = 4,
};
enum rt_liveness rt_ring_liveness(const struct rt_segment *segment);

#endif
