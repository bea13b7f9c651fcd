/* SPDX-License-Identifier: MIT */
/*
 * layout.h - the bytes that the writer and its readers share
 *
 * Ring format 1, the file <dir>/<feed>/ring on tmpfs.  The writer maps it
 * read-write, every reader maps it read-only.  Integers are in host order: a
 * ring never leaves its machine.
 *
 *	     0  +------------------------------+
 *	        | header     struct rt_header  |  constant once `magic` is set
 *	  4096  +------------------------------+
 *	        | hot words  struct rt_hot     |  a 128-byte line for each group
 *	        |                              |  that changes together
 *	  8192  +------------------------------+
 *	        | slots      n_slots x 64      |  struct rt_slot; the event seq is
 *	        |                              |  in slot seq & (n_slots - 1)
 *	        +------------------------------+  rounded up to a page
 *	        | payload    payload_size      |  what does not fit into a slot;
 *	        |                              |  contiguous, aligned to 8
 *	        +------------------------------+  file_size
 *
 * Bell format 1, the file <dir>/<feed>/bell: one page, written by sleepers.
 *
 * Any change here is a new RT_FORMAT, or a bit in `incompat` (an old reader
 * must refuse) or in `compat` (an old reader may ignore it).
 */
#ifndef RINGTAIL_SHM_LAYOUT_H
#define RINGTAIL_SHM_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base.h"

#define RT_MAGIC      UINT64_C(0x31676e69526c6961) /* "ailRing1" in memory, LE */
#define RT_BELL_MAGIC UINT64_C(0x316c6c6542676e52) /* "RngBell1" in memory, LE */
#define RT_FORMAT     UINT32_C(1)

#define RT_PAGE       4096u
#define RT_LINE       128u /* two cache lines: the adjacent-line prefetcher */
#define RT_NAME_MAX   64u  /* longest name of a feed, in bytes */
#define RT_INLINE_MAX 24u  /* bytes of key and value that fit into a slot */
#define RT_WORD       8u   /* alignment and unit of the payload */

/* Limits of a ring; both sizes are powers of two. */
#define RT_SLOTS_MIN   64u
#define RT_SLOTS_MAX   (1u << 26)
#define RT_PAYLOAD_MIN 4096u
/* A slot counts payload words of 8 bytes in 32 bits, twice around. */
#define RT_PAYLOAD_MAX (UINT64_C(1) << 34)
#define RT_KEY_MAX     65535u
#define RT_STEPS       16u /* the floor moves a sixteenth of the ring at a time */
#define RT_TXN_SHARE   4u  /* a transaction is at most a quarter of the ring */

/* Topics: what part of the keys a sleeper cares about. */
#define RT_TOPICS       32u
#define RT_TOPIC_ANY    31u /* sleepers that care about more than a few topics */
#define RT_TOPIC_HASHED 31u /* keys hash to topics 0 .. 30 */

/* rt_hot.state */
enum rt_ring_state {
	RT_STATE_NEW = 0, /* no writer has opened it yet */
	RT_STATE_LIVE = 1,
	RT_STATE_CLOSED = 2, /* closed by its writer; another may go on */
	RT_STATE_RETIRED =
		3, /* replaced, or about to be, by another file of its name */
};

/* rt_header.wake_mode */
enum rt_wake {
	RT_WAKE_BELL =
		0, /* the writer makes system calls only for announced sleepers */
	RT_WAKE_ALWAYS = 1, /* the writer wakes at every commit and reads no bell */
};

/* rt_hot.barrier: who orders "publish" before "look at the bell" */
enum rt_barrier {
	RT_BARRIER_WRITER = 0,  /* the writer, by a full barrier in each commit */
	RT_BARRIER_SLEEPER = 1, /* the sleeper, by membarrier(2) once per sleep */
};

/* rt_slot.op */
enum rt_op {
	RT_OP_PUT = 1,
	RT_OP_DELETE = 2,
	RT_OP_MESSAGE = 3,
};

/* rt_slot.flags: a put whose key was new; a delete by the end of the key's time, not
 * by a publisher; and all that format 1 knows. */
#define RT_EVENT_CREATED 0x01u
#define RT_EVENT_EXPIRED 0x02u
#define RT_EVENT_FLAGS   0x03u

struct rt_header {
	_Atomic uint64_t magic; /* RT_MAGIC; stored last, with release */
	uint32_t format;        /* RT_FORMAT */
	uint32_t header_size;   /* sizeof(struct rt_header) */
	uint32_t incompat;      /* unknown bit: do not read this ring */
	uint32_t compat;        /* unknown bit: read on */
	uint64_t file_size;     /* bytes */
	uint64_t hot_offset;    /* bytes from the start of the file, as those below */
	uint64_t slots_offset;
	uint64_t payload_offset;
	uint64_t payload_size; /* bytes; a power of two */
	uint32_t n_slots;      /* a power of two */
	uint32_t slot_size;    /* sizeof(struct rt_slot) */
	uint32_t max_key;      /* bytes */
	uint32_t max_value;    /* bytes */
	uint32_t max_txn_events;
	uint32_t wake_mode;         /* enum rt_wake */
	uint64_t max_txn_bytes;     /* keys and values of one transaction together */
	uint64_t epoch;             /* names the history that the seqs belong to */
	uint64_t instance;          /* names this file; random */
	uint64_t first_seq;         /* the first seq that was published here */
	uint64_t created_ns;        /* CLOCK_REALTIME */
	char name[RT_NAME_MAX + 8]; /* of the feed; zero-padded */
	uint64_t check;             /* XXH64 of all above, `magic` taken as RT_MAGIC */
};

/*
 * Words that change while the feed lives.  Only the writer stores here, and the
 * kernel in `life` when the writer dies.
 */
struct rt_hot {
	_Atomic uint64_t head; /* last seq of the last committed transaction; 0 none */
	uint8_t pad0[RT_LINE - 8];

	/* Lowest seq that is certainly not being overwritten; always the first
	 * of a transaction, or head + 1. */
	_Atomic uint64_t floor;
	uint8_t pad1[RT_LINE - 8];

	_Atomic uint32_t state;         /* enum rt_ring_state */
	_Atomic uint32_t barrier;       /* enum rt_barrier */
	_Atomic uint64_t heartbeat_ns;  /* CLOCK_MONOTONIC of the last sign of life */
	_Atomic uint64_t beat_every_ns; /* how often the writer promises one; 0 never */
	_Atomic uint64_t sweep_every_ns; /* how often it wakes unasked; 0 never */
	_Atomic uint64_t bell_id;        /* names the bell file in use; 0 none */
	_Atomic uint64_t successor;  /* instance of the ring that replaced this one */
	_Atomic uint32_t writer_pid; /* in the writer's pid namespace; to show only */
	uint32_t pad2_word;
	_Atomic uint64_t opened_ns; /* CLOCK_REALTIME at which the writer opened it */
	uint8_t pad2[RT_LINE - 64];

	/* Counters; brought up to date at floor steps and heartbeats. */
	_Atomic uint64_t n_txns;
	_Atomic uint64_t n_bytes;      /* keys and values */
	_Atomic uint64_t n_wakes;      /* sleepers woken */
	_Atomic uint64_t n_wake_calls; /* system calls made for that */
	_Atomic uint64_t n_sweeps;
	_Atomic uint64_t n_writers; /* how many writers this file has had */

	/* About the log that the writer keeps beside it, to show only. */
	_Atomic uint64_t n_syncs;      /* of this writer */
	_Atomic uint64_t sync_ns;      /* how long the newest took */
	_Atomic uint64_t synced_at_ns; /* CLOCK_REALTIME of its end; 0 none */
	_Atomic uint64_t synced_seq;   /* up to here everything is on disk */
	_Atomic uint32_t durability;   /* enum rt_log_mode; 0: no log */
	uint32_t pad3_word;

	/* Why what is older than the floor went, beside being overwritten: everything
	 * below these was let go by a trim, or for its age.  0 in rings of a writer
	 * that does not know them. */
	_Atomic uint64_t trimmed;
	_Atomic uint64_t aged;

	/* Segments of the log in which the writer has found damage. */
	_Atomic uint64_t log_damage;
	uint8_t pad3[RT_LINE - 112];

	/* Futex and robust-list word: thread id of the writer's keeper and
	 * FUTEX_WAITERS; FUTEX_OWNER_DIED is set by the kernel when it dies. */
	_Atomic uint32_t life;
	uint8_t pad4[RT_LINE - 4];

	_Atomic uint32_t wakes[RT_TOPICS]; /* futex words, one for each topic */
};

/*
 * One event.  Key and value lie in the slot while key, value and previous value
 * together fit into `bytes`; else the key stays here if it fits, and the rest
 * lies in the payload at `pos`, in the order key, value, previous value.
 */
struct rt_slot {
	_Atomic uint64_t seq; /* stored last; that of the first of a transaction
			       * after those of all others */
	uint64_t time_ns;     /* CLOCK_REALTIME; equal in a transaction, never back */
	uint32_t pos;         /* in words since the ring was made, modulo 2^32 */
	uint32_t value_len;
	uint16_t key_len;
	uint8_t op;         /* enum rt_op */
	uint8_t flags;      /* RT_EVENT_... */
	uint32_t prev_len;  /* of the value that this event replaced; 0 if not kept */
	uint32_t txn_index; /* 0 .. txn_size - 1 */
	uint32_t txn_size;
	uint8_t bytes[RT_INLINE_MAX];
};

struct rt_bell {
	_Atomic uint64_t magic; /* RT_BELL_MAGIC */
	uint64_t id;            /* = rt_hot.bell_id while this bell is in use */
	uint8_t pad0[RT_LINE - 16];
	_Atomic uint32_t bits; /* bit t: somebody sleeps on topic t */
	uint8_t pad1[RT_PAGE - RT_LINE - 4];
};

#define RT_AT(type, member, offset) \
	static_assert(offsetof(struct type, member) == (offset), "ring format 1")
#define RT_SIZE(type, size) \
	static_assert(sizeof(struct type) == (size), "ring format 1")

RT_AT(rt_header, magic, 0);
RT_AT(rt_header, format, 8);
RT_AT(rt_header, header_size, 12);
RT_AT(rt_header, incompat, 16);
RT_AT(rt_header, compat, 20);
RT_AT(rt_header, file_size, 24);
RT_AT(rt_header, hot_offset, 32);
RT_AT(rt_header, slots_offset, 40);
RT_AT(rt_header, payload_offset, 48);
RT_AT(rt_header, payload_size, 56);
RT_AT(rt_header, n_slots, 64);
RT_AT(rt_header, slot_size, 68);
RT_AT(rt_header, max_key, 72);
RT_AT(rt_header, max_value, 76);
RT_AT(rt_header, max_txn_events, 80);
RT_AT(rt_header, wake_mode, 84);
RT_AT(rt_header, max_txn_bytes, 88);
RT_AT(rt_header, epoch, 96);
RT_AT(rt_header, instance, 104);
RT_AT(rt_header, first_seq, 112);
RT_AT(rt_header, created_ns, 120);
RT_AT(rt_header, name, 128);
RT_AT(rt_header, check, 200);
RT_SIZE(rt_header, 208);

RT_AT(rt_hot, head, 0);
RT_AT(rt_hot, floor, 128);
RT_AT(rt_hot, state, 256);
RT_AT(rt_hot, barrier, 260);
RT_AT(rt_hot, heartbeat_ns, 264);
RT_AT(rt_hot, beat_every_ns, 272);
RT_AT(rt_hot, sweep_every_ns, 280);
RT_AT(rt_hot, bell_id, 288);
RT_AT(rt_hot, successor, 296);
RT_AT(rt_hot, writer_pid, 304);
RT_AT(rt_hot, opened_ns, 312);
RT_AT(rt_hot, n_txns, 384);
RT_AT(rt_hot, n_writers, 424);
RT_AT(rt_hot, n_syncs, 432);
RT_AT(rt_hot, synced_seq, 456);
RT_AT(rt_hot, durability, 464);
RT_AT(rt_hot, trimmed, 472);
RT_AT(rt_hot, aged, 480);
RT_AT(rt_hot, log_damage, 488);
RT_AT(rt_hot, life, 512);
RT_AT(rt_hot, wakes, 640);
RT_SIZE(rt_hot, 768);

RT_AT(rt_slot, seq, 0);
RT_AT(rt_slot, time_ns, 8);
RT_AT(rt_slot, pos, 16);
RT_AT(rt_slot, value_len, 20);
RT_AT(rt_slot, key_len, 24);
RT_AT(rt_slot, op, 26);
RT_AT(rt_slot, flags, 27);
RT_AT(rt_slot, prev_len, 28);
RT_AT(rt_slot, txn_index, 32);
RT_AT(rt_slot, txn_size, 36);
RT_AT(rt_slot, bytes, 40);
RT_SIZE(rt_slot, 64);

RT_AT(rt_bell, id, 8);
RT_AT(rt_bell, bits, RT_LINE);
RT_SIZE(rt_bell, RT_PAGE);

#endif
