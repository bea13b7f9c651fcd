/* SPDX-License-Identifier: MIT */
/*
 * format.h - the bytes of the log
 *
 * Log format 2.  A log is a folder:
 *
 *	00000000000000000001.log   segments, named by their first seq in decimal
 *	00000000000000000001.idx   where in the segment which seq begins; a hint
 *	epochs                     the epochs of the feed and where each began; text
 *	state                      was it closed properly, and in which boot; text
 *	floor                      what counts as gone though it is there; text
 *	00000000000000001000.snap  the state as of an event; see snapshot.h
 *	lock                       held by its writer
 *
 * A segment:
 *
 *	     0  +--------------------------+
 *	        | struct rt_log_header     |  constant
 *	  4096  +--------------------------+
 *	        | batch                    |  struct rt_log_batch, then transactions:
 *	        |   event                  |    struct rt_log_alone, key, value; or
 *	        |   txn                    |    struct rt_log_txn, then its events:
 *	        |     event, event, ...    |      struct rt_log_event, key, value,
 *	        |   event, txn ...         |      previous value, extension
 *	        | batch ...                |
 *	        +--------------------------+  zeros up to the end of the file
 *
 * Everything is aligned to 8, with zeros, and in host order.  A batch is what one
 * write puts there, whole transactions, covered by one checksum; so either all of it is
 * valid or the write never finished.
 */
#ifndef RINGTAIL_STORE_FORMAT_H
#define RINGTAIL_STORE_FORMAT_H

#include "shm/base.h"
#include "shm/layout.h"

#define RT_LOG_MAGIC       UINT64_C(0x31676f4c6c696154) /* "TailLog1" in memory */
#define RT_LOG_BATCH_MAGIC UINT32_C(0x68637442)         /* "Btch" in memory */
#define RT_LOG_FORMAT      2u
#define RT_LOG_START       4096u /* offset of the first batch */

/* A batch is one write; also what a reader must have memory for. */
#define RT_LOG_BATCH_MAX (UINT64_C(1) << 32)

struct rt_log_header {
	uint64_t magic;       /* RT_LOG_MAGIC */
	uint32_t format;      /* RT_LOG_FORMAT */
	uint32_t header_size; /* sizeof(struct rt_log_header) */
	uint32_t incompat;    /* unknown bit: do not read this segment */
	uint32_t compat;      /* unknown bit: read on */
	uint64_t epoch;       /* of its first event */
	uint64_t first_seq;   /* = the file's name */
	uint64_t created_ns;  /* CLOCK_REALTIME */
	uint64_t salt;        /* seed of the checksums of its batches; random */
	char name[RT_NAME_MAX + 8];
	uint64_t check; /* XXH64 of all above */
};

struct rt_log_batch {
	uint32_t magic; /* RT_LOG_BATCH_MAGIC */
	uint32_t n_txns;
	uint64_t check; /* XXH3 of what follows, seeded with salt ^ n_txns */
	uint64_t size;  /* bytes, this header included */
	uint64_t first_seq;
	uint64_t n_events;
	uint64_t time_ns;    /* of its first transaction; CLOCK_REALTIME */
	uint64_t synced_seq; /* up to here everything was synced when it was written */
};

/* A transaction of one event with key and value only, as most are. */
struct rt_log_alone {
	uint32_t value_len;
	uint16_t key_len; /* not 0 */
	uint8_t op;
	uint8_t flags;
	uint32_t later_ns; /* than the batch's time_ns */
};

/* Any other, and what is later than that can say, or earlier. */
struct rt_log_txn {
	uint32_t n_events;
	uint16_t mark; /* 0: where an event that is alone has key_len */
	uint16_t reserved;
	uint64_t time_ns;
	uint64_t size; /* bytes, this header included */
};

struct rt_log_event {
	uint32_t value_len;
	uint32_t prev_len;
	uint16_t key_len;
	uint8_t op;       /* enum rt_op */
	uint8_t flags;    /* RT_EVENT_... */
	uint32_t ext_len; /* of a put: struct rt_log_terms; what is longer is skipped */
};

/* struct rt_log_terms.flags */
#define RT_TERMS_BOUND 1u /* to the connection that set it: gone with the daemon */

/* What ends the life of a key; a put without them has none and takes any away. */
struct rt_log_terms {
	uint64_t deadline_ms; /* CLOCK_REALTIME; 0: none */
	uint32_t flags;
	uint32_t reserved;
};

/* An entry of the index: a batch that begins with `seq` is at `offset`. */
struct rt_log_index {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t offset;
};

static_assert(sizeof(struct rt_log_header) == 136, "log format 2");
static_assert(sizeof(struct rt_log_batch) == 56, "log format 2");
static_assert(sizeof(struct rt_log_alone) == 12, "log format 2");
static_assert(offsetof(struct rt_log_alone, key_len) ==
		      offsetof(struct rt_log_txn, mark),
	      "which of both it is");
static_assert(sizeof(struct rt_log_txn) == 24, "log format 2");
static_assert(sizeof(struct rt_log_event) == 16, "log format 2");
static_assert(sizeof(struct rt_log_terms) == 16, "log format 2");
static_assert(sizeof(struct rt_log_index) == 24, "log format 2");
static_assert(offsetof(struct rt_log_batch, check) == 8, "log format 2");
static_assert(offsetof(struct rt_log_header, check) == 128, "log format 2");

#endif
