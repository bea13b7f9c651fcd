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
	uint64_t time_ns;    /* of its first transaction */
	uint64_t last_ns;    /* of its newest */
	size_t txn_at;       /* where the open transaction begins; 0: none */
	uint32_t txn_events; /* in it so far */
};

/* Empties it; memory is kept, but for much that was not needed this time. */
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
/* All of that for one event without extras. */
int rt_batch_one(struct rt_batch *batch, uint8_t op, uint8_t flags, const void *key,
		 size_t key_len, const void *value, size_t value_len, uint64_t time_ns);
void rt_batch_abort(struct rt_batch *batch);

bool rt_batch_is_empty(const struct rt_batch *batch);

/* Writes the header; data .. data + len is then what goes into the file. */
void rt_batch_seal(struct rt_batch *batch, uint64_t salt, uint64_t synced_seq);

/*
 * ---- Parsing ----
 */

/* One member of a struct that lies at @at, by itself: a copy of all would wait for it.
 */
#define RT_MEMBER(type, member, at) \
	__extension__({ \
		__typeof__(((type *)0)->member) rt_member; \
		memcpy(&rt_member, (at) + offsetof(type, member), sizeof(rt_member)); \
		rt_member; \
	})

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
	uint64_t seq;               /* of the next event */
	uint64_t batch_ns, time_ns; /* of the batch, of the transaction */
	uint32_t txn_index, txn_size;
};

/* Is @data, of which @len bytes are there, a whole valid batch beginning with @seq? */
bool rt_batch_valid(const uint8_t *data, size_t len, uint64_t salt, uint64_t seq);

/* Plausible header, by itself: size and first seq; for deciding how much to read. */
bool rt_batch_header_valid(const struct rt_log_batch *header, uint64_t seq);

void rt_batch_open(const uint8_t *data, struct rt_batch_cursor *ret);

/* 1 an event, 0 the end, -1 nonsense. */
int rt_batch_next(struct rt_batch_cursor *cursor, struct rt_item *ret);

/*
 * The usual case at once: the next event, if it is alone.  Its size in the batch, for
 * rt_batch_pass(); 0 if it is not, or nonsense, which rt_batch_next() knows.  The
 * cursor stays.
 */
RT_INLINE size_t rt_batch_peek_alone(const struct rt_batch_cursor *cursor,
				     struct rt_item *ret)
{
	const uint8_t *at = cursor->at;
	size_t left = (size_t)(cursor->end - at), size;

	if (at != cursor->txn_end || cursor->txn_index != cursor->txn_size ||
	    left < sizeof(struct rt_log_alone))
		return 0;
	ret->value_len = RT_MEMBER(struct rt_log_alone, value_len, at);
	ret->key_len = RT_MEMBER(struct rt_log_alone, key_len, at);
	ret->op = RT_MEMBER(struct rt_log_alone, op, at);
	ret->flags = RT_MEMBER(struct rt_log_alone, flags, at);
	ret->time_ns = cursor->batch_ns + RT_MEMBER(struct rt_log_alone, later_ns, at);
	ret->key = at + sizeof(struct rt_log_alone);
	size = rt_round_up(sizeof(struct rt_log_alone) + ret->key_len +
				   (size_t)ret->value_len,
			   RT_WORD);
	if (!ret->key_len || size > left || ret->op < RT_OP_PUT ||
	    ret->op > RT_OP_MESSAGE)
		return 0;
	return size;
}

RT_INLINE void rt_batch_pass(struct rt_batch_cursor *cursor, size_t size)
{
	cursor->at += size;
	cursor->txn_end = cursor->at;
	cursor->seq++;
}

/* All zero if the event came with none. */
struct rt_log_terms rt_item_terms(const struct rt_item *item);

#endif
