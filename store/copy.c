/* SPDX-License-Identifier: MIT */
#include "store/copy.h"

#include <errno.h>

#include "store/build.h"

#define CHUNK (UINT64_C(256) << 10)
#define TRIM  4u /* chunks */

struct rt_copy_chunk {
	struct rt_copy_chunk *next;
	size_t used, cap; /* of bytes */
	uint8_t bytes[];
};

/* What stands before key and value; all of it begins at a multiple of 8. */
struct record {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t deadline_ms;
	uint32_t value_len;
	uint16_t key_len;
	uint8_t flags;
};

static void free_chunks(struct rt_copy_chunk *chunk)
{
	while (chunk) {
		struct rt_copy_chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
}

void rt_copy_fini(struct rt_copy *copy)
{
	free_chunks(copy->first);
	free_chunks(copy->spare);
	*copy = (struct rt_copy){ .first = NULL };
}

static struct rt_copy_chunk *new_chunk(struct rt_copy *copy, size_t size)
{
	struct rt_copy_chunk *chunk = copy->spare;
	size_t cap = rt_max(size, CHUNK);

	if (chunk && cap == CHUNK) {
		copy->spare = chunk->next;
	} else {
		chunk = malloc(sizeof(*chunk) + cap);
		if (!chunk)
			return NULL;
	}
	*chunk = (struct rt_copy_chunk){ .cap = cap };
	return chunk;
}

static uint8_t *take(struct rt_copy *copy, size_t size)
{
	struct rt_copy_chunk *chunk = copy->last;

	if (RT_UNLIKELY(!chunk || chunk->cap - chunk->used < size)) {
		chunk = new_chunk(copy, size);
		if (!chunk)
			return NULL;
		if (copy->last)
			copy->last->next = chunk;
		else
			copy->first = chunk;
		copy->last = chunk;
		copy->n_bytes += sizeof(*chunk) + chunk->cap;
	}
	chunk->used += size;
	return chunk->bytes + chunk->used - size;
}

RT_INLINE size_t size_of(size_t key_len, size_t value_len)
{
	return sizeof(struct record) + rt_round_up(key_len + value_len, RT_WORD);
}

int rt_copy_add(struct rt_copy *copy, const struct rt_state *state)
{
	uint8_t *at = take(copy, size_of(state->key_len, state->value_len));
	struct record record = {
		.seq = state->seq,
		.time_ns = state->time_ns,
		.deadline_ms = state->deadline_ms,
		.value_len = state->value_len,
		.key_len = state->key_len,
		.flags = state->flags,
	};

	if (RT_UNLIKELY(!at))
		return -ENOMEM;
	memcpy(at, &record, sizeof(record));
	at += sizeof(record);
	memcpy(at, state->key, state->key_len);
	if (state->value_len)
		memcpy(at + state->key_len, state->value, state->value_len);
	copy->n++;
	return 0;
}

/* The record at @at; the size of it. */
static size_t state_at(const uint8_t *at, struct rt_state *ret)
{
	struct record record;

	memcpy(&record, at, sizeof(record));
	*ret = (struct rt_state){
		.seq = record.seq,
		.time_ns = record.time_ns,
		.deadline_ms = record.deadline_ms,
		.key = at + sizeof(record),
		.value = at + sizeof(record) + record.key_len,
		.value_len = record.value_len,
		.key_len = record.key_len,
		.flags = record.flags,
	};
	return size_of(record.key_len, record.value_len);
}

int rt_copy_lend(const struct rt_copy *copy, struct rt_delta *ret)
{
	const struct rt_copy_chunk *chunk;
	int r = 0;

	for (chunk = copy->first; chunk && !r; chunk = chunk->next) {
		for (size_t at = 0; at < chunk->used && !r;) {
			struct rt_state state;

			at += state_at(chunk->bytes + at, &state);
			r = rt_delta_lend(ret, &state);
		}
	}
	return r;
}

void rt_copy_clear(struct rt_copy *copy)
{
	struct rt_copy_chunk *next, *chunk = copy->first;

	for (; chunk; chunk = next) {
		next = chunk->next;
		if (chunk->cap == CHUNK) {
			chunk->next = copy->spare;
			copy->spare = chunk;
		} else {
			free(chunk);
		}
	}
	*copy = (struct rt_copy){ .spare = copy->spare };
}

void rt_copy_trim(struct rt_copy *copy)
{
	for (unsigned i = 0; i < TRIM && copy->spare; i++) {
		struct rt_copy_chunk *chunk = copy->spare;

		copy->spare = chunk->next;
		free(chunk);
	}
}
