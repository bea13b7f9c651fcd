/* SPDX-License-Identifier: MIT */
/*
 * batch.h - whole transactions as the bytes of one write, and back
 *
 * Pure: memory in, memory out.  Encoding is for the daemon; parsing is for everybody
 * who reads a log and believes nothing in it: even with a valid checksum every
 * length is checked against what holds it.
 */
#ifndef RINGTAIL_STORE_BATCH_H
#define RINGTAIL_STORE_BATCH_H

#include "store/format.h"

/*
 * ---- Encoding ----
 */

struct rt_batch {
	uint8_t *data; /* begins with room for struct rt_log_batch */
	size_t len, cap;
	uint64_t first_seq;
	uint64_t n_events;
	uint32_t n_txns;
	uint64_t last_ns;    /* time of its newest transaction */
	size_t txn_at;       /* where the open transaction begins; 0: none */
	uint32_t txn_events; /* in it so far */
};

/* Empties it; memory is kept. */
void rt_batch_reset(struct rt_batch *batch, uint64_t first_seq);
void rt_batch_fini(struct rt_batch *batch);

/* A transaction: begin, events, end; or abort, after which it was never there. */
int rt_batch_begin(struct rt_batch *batch); /* -ENOMEM */
/* @key_len: 1 .. 65535; @value_len: at most 4 GiB less 1. */
int rt_batch_add(struct rt_batch *batch, uint8_t op, uint8_t flags, const void *key,
		 size_t key_len, const void *value, size_t value_len); /* -ENOMEM */
/* What an event may have beside key and value. */
struct rt_extra {
	const struct rt_log_terms *terms; /* of a put; NULL: none */
	const void *prev;                 /* the value that it replaces */
	size_t prev_len;
};
/* @extra: NULL for none of it. */
int rt_batch_add_extra(struct rt_batch *batch, uint8_t op, uint8_t flags,
		       const void *key, size_t key_len, const void *value,
		       size_t value_len, const struct rt_extra *extra);
void rt_batch_end(struct rt_batch *batch, uint64_t time_ns); /* none without events */
void rt_batch_abort(struct rt_batch *batch);

bool rt_batch_is_empty(const struct rt_batch *batch);

/* Writes the header; data .. data + len is then what goes into the file. */
void rt_batch_seal(struct rt_batch *batch, uint64_t salt, uint64_t synced_seq);

/*
 * ---- Parsing ----
 */

/* An event in a batch; key, value, prev and ext point into it, one behind the other. */
struct rt_item {
	uint64_t seq;
	uint64_t time_ns;
	const uint8_t *key;
	const uint8_t *value;
	const uint8_t *prev;
	const uint8_t *ext;
	uint32_t value_len;
	uint32_t prev_len;
	uint32_t ext_len;
	uint16_t key_len;
	uint8_t op;
	uint8_t flags;
	uint32_t txn_index;
	uint32_t txn_size;
};

struct rt_batch_cursor {
	const uint8_t *at, *end; /* of the batch */
	const uint8_t *txn_end;
	uint64_t seq; /* of the next event */
	uint64_t time_ns;
	uint32_t txn_index, txn_size;
};

/* Is @data, of which @len bytes are there, a whole valid batch beginning with @seq? */
bool rt_batch_valid(const uint8_t *data, size_t len, uint64_t salt, uint64_t seq);

/* Plausible header, by itself: size and first seq; for deciding how much to read. */
bool rt_batch_header_valid(const struct rt_log_batch *header, uint64_t seq);

void rt_batch_open(const uint8_t *data, struct rt_batch_cursor *ret);

/* 1 an event, 0 the end, -1 nonsense. */
int rt_batch_next(struct rt_batch_cursor *cursor, struct rt_item *ret);

/* All zero if the event came with none. */
struct rt_log_terms rt_item_terms(const struct rt_item *item);

#endif
