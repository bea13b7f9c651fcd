/* SPDX-License-Identifier: MIT */
/*
 * history.h - what a feed of few keys was at the end of each of its transactions
 *
 * The plain model that views are compared with: a list of keys, and a digest of it for
 * each seq that ends a transaction, for all keys and for those that begin with "a/".
 * Not to be used by two threads at once.
 */
#ifndef RINGTAIL_TESTS_STRESS_HISTORY_H
#define RINGTAIL_TESTS_STRESS_HISTORY_H

#include <ringtail.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define H_KEYS      48u
#define H_PREFIX    "a/"
#define H_KEY_MAX   16u
#define H_VALUE_MAX 400u

struct h_key {
	uint64_t seq; /* of its put; 0: it is not there */
	uint64_t value;
};

struct h_state {
	struct h_key keys[H_KEYS];
};

struct h_moment {
	uint64_t all, part; /* digests */
	bool end;           /* of a transaction */
};

struct h_history {
	struct h_state now;
	struct h_moment *moments; /* by seq */
	uint64_t cap;
	uint64_t seq; /* the newest that was recorded */
};

/* Number 0 .. H_KEYS - 1 in order of the keys' bytes. */
static inline size_t h_key(unsigned number, char ret[H_KEY_MAX])
{
	static const char *const groups[] = { "a/", "ab/", "b/" };

	return (size_t)snprintf(ret, H_KEY_MAX, "%s%02u", groups[number / 16 % 3],
				number % 16);
}

/* H_KEYS: it is none of ours. */
static inline unsigned h_number(const void *key, size_t len)
{
	char want[H_KEY_MAX];

	for (unsigned i = 0; i < H_KEYS; i++) {
		if (h_key(i, want) == len && !memcmp(want, key, len))
			return i;
	}
	return H_KEYS;
}

static inline bool h_is_part(unsigned number)
{
	return number < 16;
}

static inline uint64_t h_mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

static inline uint64_t h_value_digest(const void *value, size_t len)
{
	const uint8_t *bytes = value;
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return h_mix(h) | 1;
}

/* Digests of keys add up to that of a state, in any order. */
static inline uint64_t h_digest(unsigned number, uint64_t seq, uint64_t value)
{
	return seq ? h_mix(value ^ h_mix(seq * H_KEYS + number)) : 0;
}

static inline struct h_moment h_moment_of(const struct h_state *state)
{
	struct h_moment moment = { .end = true };

	for (unsigned i = 0; i < H_KEYS; i++) {
		uint64_t d = h_digest(i, state->keys[i].seq, state->keys[i].value);

		moment.all += d;
		moment.part += h_is_part(i) ? d : 0;
	}
	return moment;
}

/* False if the key is none of ours. */
static inline bool h_apply(struct h_state *state, const struct ringtail_event *event)
{
	unsigned number = h_number(event->key, event->key_len);

	if (event->op == RINGTAIL_MESSAGE)
		return true;
	if (number == H_KEYS)
		return false;
	state->keys[number] = (struct h_key){ 0 };
	if (event->op == RINGTAIL_PUT)
		state->keys[number] = (struct h_key){
			.seq = event->seq,
			.value = h_value_digest(event->value, event->value_len),
		};
	return true;
}

/* The state after the transaction that ends with @seq. */
static inline void h_record(struct h_history *history, uint64_t seq)
{
	if (seq >= history->cap) {
		uint64_t cap = seq * 2 + 1024;

		history->moments =
			realloc(history->moments, cap * sizeof(struct h_moment));
		if (!history->moments)
			abort();
		memset(history->moments + history->cap, 0,
		       (cap - history->cap) * sizeof(struct h_moment));
		history->cap = cap;
	}
	history->moments[seq] = h_moment_of(&history->now);
	history->seq = seq;
}

#endif
