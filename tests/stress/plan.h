/* SPDX-License-Identifier: MIT */
/*
 * plan.h - events that follow from their seq, for tests that read what they wrote
 *
 * A cycle of transactions of all shapes: single events that fit into a slot, whose
 * value or whole lies in the payload, with and without a previous value, deletes,
 * messages, claims, transactions of several events up to the most that the smallest
 * ring takes.  Everything about an event follows from its seq and from which writer
 * published it, so whoever reads it can say whether it is whole.  Each writer begins a
 * cycle of its own, so that what it puts in the place of what another one left there is
 * of another shape.
 */
#ifndef RINGTAIL_TESTS_STRESS_PLAN_H
#define RINGTAIL_TESTS_STRESS_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "shm/ring.h"

#define PLAN_KEY_MAX   64u
#define PLAN_VALUE_MAX 1024u
#define PLAN_TIME_NS   UINT64_C(1700000000000000000) /* + the first seq of it */
#define PLAN_WRITERS   8u

/* The seq with which each writer begins. */
static uint64_t plan_base[PLAN_WRITERS] = { 1 };

/* What the transactions of a cycle are made of. */
enum plan_shape {
	PLAN_SMALL,   /* key and value in the slot */
	PLAN_VALUE,   /* key in the slot, value in the payload */
	PLAN_LONG,    /* both in the payload */
	PLAN_PREV,    /* with the value that it replaced */
	PLAN_CLAIM,   /* filled in place */
	PLAN_EMPTY,   /* a value of length 0 */
	PLAN_MESSAGE, /* likewise, a message */
	PLAN_DELETE,
	PLAN_LARGE, /* as large as the smallest ring takes */
	PLAN_MIXED, /* transactions: the shapes above in turn */
};

struct plan_txn {
	enum plan_shape shape;
	uint32_t n;
};

static const struct plan_txn plan_cycle[] = {
	{ PLAN_SMALL, 1 }, { PLAN_VALUE, 1 },   { PLAN_LONG, 1 },   { PLAN_MIXED, 3 },
	{ PLAN_EMPTY, 1 }, { PLAN_CLAIM, 1 },   { PLAN_SMALL, 16 }, { PLAN_DELETE, 1 },
	{ PLAN_LARGE, 1 }, { PLAN_MESSAGE, 1 }, { PLAN_VALUE, 2 },  { PLAN_SMALL, 1 },
	{ PLAN_MIXED, 7 }, { PLAN_PREV, 1 },    { PLAN_PREV, 2 },
};

struct plan_event {
	uint64_t seq;
	uint64_t time_ns;
	enum plan_shape shape;
	uint32_t txn_index;
	uint32_t txn_size;
	uint8_t op;
	uint8_t flags;
	uint32_t key_len;
	uint32_t value_len;
	uint32_t prev_len; /* in `value`, behind the value */
	uint8_t key[PLAN_KEY_MAX];
	uint8_t value[PLAN_VALUE_MAX];
};

static inline uint64_t plan_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint32_t plan_cycle_events(void)
{
	uint32_t n = 0;

	for (size_t i = 0; i < RT_N(plan_cycle); i++)
		n += plan_cycle[i].n;
	return n;
}

/* Where @seq stands in its cycle: which transaction, which place in it. */
static inline const struct plan_txn *plan_place(uint64_t seq, unsigned writer,
						uint32_t *ret_index)
{
	uint32_t left = (uint32_t)((seq - plan_base[writer]) % plan_cycle_events());
	const struct plan_txn *txn = plan_cycle;

	while (left >= txn->n)
		left -= (txn++)->n;
	*ret_index = left;
	return txn;
}

static inline uint64_t plan_first_of(uint64_t seq, unsigned writer)
{
	uint32_t index;

	(void)plan_place(seq, writer, &index);
	return seq - index;
}

static inline uint32_t plan_size_of(uint64_t seq, unsigned writer)
{
	uint32_t index;

	return plan_place(seq, writer, &index)->n;
}

/* Key lengths from 4, value lengths as the shape says; bytes from seq and @writer. */
static inline void plan_fill(struct plan_event *ev, unsigned writer)
{
	uint64_t mixed = plan_mix(ev->seq * 64 + writer);
	static const uint32_t value_len[] = {
		[PLAN_SMALL] = 12, [PLAN_VALUE] = 90,  [PLAN_LONG] = 60,
		[PLAN_PREV] = 30,  [PLAN_CLAIM] = 200, [PLAN_LARGE] = 990,
		[PLAN_MIXED] = 0,
	};
	bool is_long = ev->shape == PLAN_LONG;

	ev->key_len = is_long ? 40 : 6 + (uint32_t)(ev->seq % 6);
	memset(ev->key, 'a' + (int)(ev->seq % 26), sizeof(ev->key));
	ev->key[1] = '/';
	memcpy(ev->key + 2, &mixed, 4);
	ev->op = RT_OP_PUT;
	ev->flags = mixed & 1 ? RT_EVENT_CREATED : 0;
	if (ev->shape == PLAN_MESSAGE || ev->shape == PLAN_DELETE) {
		ev->op = ev->shape == PLAN_DELETE ? RT_OP_DELETE : RT_OP_MESSAGE;
		ev->flags = 0;
	}
	ev->value_len = ev->shape <= PLAN_CLAIM || ev->shape == PLAN_LARGE
				? value_len[ev->shape]
				: 0;
	if (ev->value_len > 12)
		ev->value_len += (uint32_t)(mixed >> 8) % 17;
	ev->prev_len = ev->shape == PLAN_PREV ? 50 : 0;
	for (uint32_t i = 0; i < ev->value_len + ev->prev_len; i++)
		ev->value[i] = (uint8_t)(mixed >> i % 8 * 8) ^ (uint8_t)i;
}

/* The event @seq, as writer @writer publishes it. */
static inline void plan_event(uint64_t seq, unsigned writer, struct plan_event *ret)
{
	const struct plan_txn *txn = plan_place(seq, writer, &ret->txn_index);

	ret->seq = seq;
	ret->time_ns = PLAN_TIME_NS + seq - ret->txn_index;
	ret->txn_size = txn->n;
	ret->shape = txn->shape != PLAN_MIXED ? txn->shape
					      : (enum plan_shape)(seq % PLAN_LARGE);
	plan_fill(ret, writer);
}

/*
 * ---- Writing ----
 */

static inline int plan_add(struct rt_writer *w, const struct plan_event *ev)
{
	void *room;
	int r;

	if (ev->shape == PLAN_PREV)
		return rt_writer_add_prev(w, ev->op, ev->flags, ev->key, ev->key_len,
					  ev->value, ev->value_len,
					  ev->value + ev->value_len, ev->prev_len);
	if (ev->shape != PLAN_CLAIM)
		return rt_writer_add(w, ev->op, ev->flags, ev->key, ev->key_len,
				     ev->value, ev->value_len);
	r = rt_writer_claim(w, ev->flags, ev->key, ev->key_len, ev->value_len, &room);
	if (!r)
		rt_copy_in(room, ev->value, ev->value_len);
	return r;
}

/*
 * Commits the transaction that begins with @events[0].  Before each one of
 * several something else is begun and dropped.
 */
static inline int plan_commit(struct rt_writer *w, const struct plan_event *events)
{
	const struct plan_event *ev = &events[0];
	int r = 0;

	rt_writer_set_time(w, ev->time_ns);
	if (ev->txn_size == 1 && ev->shape == PLAN_PREV)
		return rt_writer_one_prev(w, ev->op, ev->flags, ev->key, ev->key_len,
					  ev->value, ev->value_len,
					  ev->value + ev->value_len, ev->prev_len);
	if (ev->txn_size == 1 && ev->shape != PLAN_CLAIM)
		return rt_writer_one(w, ev->op, ev->flags, ev->key, ev->key_len,
				     ev->value, ev->value_len);
	rt_writer_begin(w);
	r = plan_add(w, &events[ev->txn_size - 1]);
	rt_writer_abort(w);
	rt_writer_begin(w);
	for (uint32_t i = 0; i < ev->txn_size && !r; i++)
		r = plan_add(w, &events[i]);
	if (r)
		rt_writer_abort(w);
	else
		rt_writer_commit(w);
	return r;
}

/* Transactions up to the one that holds @last, without keeping them. */
static inline int plan_commit_to(struct rt_writer *w, uint64_t last, unsigned writer)
{
	static struct plan_event events[32];

	while (rt_writer_head(w) < last) {
		uint64_t first = rt_writer_head(w) + 1;
		uint32_t n = plan_size_of(first, writer);
		int r;

		for (uint32_t i = 0; i < n; i++)
			plan_event(first + i, writer, &events[i]);
		r = plan_commit(w, events);
		if (r)
			return r;
	}
	return 0;
}

/*
 * ---- Reading ----
 */

/* What is wrong with what was read, in words; NULL if it is as it should be. */
static inline const char *plan_differs(const struct plan_event *ev, uint64_t time_ns,
				       uint32_t op, uint32_t flags, const void *key,
				       size_t key_len, const void *value,
				       size_t value_len, const void *prev,
				       size_t prev_len)
{
	if (op != ev->op || flags != ev->flags)
		return "op or flags";
	if (time_ns != ev->time_ns)
		return "time";
	if (key_len != ev->key_len || memcmp(key, ev->key, key_len) != 0)
		return "key";
	if (value_len != ev->value_len ||
	    (value_len && memcmp(value, ev->value, value_len)))
		return "value";
	if (prev_len != ev->prev_len ||
	    (prev_len && memcmp(prev, ev->value + value_len, prev_len)))
		return "previous value";
	return NULL;
}

#endif
