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

static_assert(offsetof(struct rt_copy_chunk, bytes) % RT_WORD == 0 &&
		      sizeof(struct rt_state) % RT_WORD == 0,
	      "states lie where they may");

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

/* A state, its key and its value; all of it begins at a multiple of 8. */
RT_INLINE size_t size_of(size_t key_len, size_t value_len)
{
	return sizeof(struct rt_state) + rt_round_up(key_len + value_len, RT_WORD);
}

int rt_copy_add(struct rt_copy *copy, const struct rt_state *state)
{
	uint8_t *at = take(copy, size_of(state->key_len, state->value_len));
	struct rt_state *to = (struct rt_state *)(void *)at;

	if (RT_UNLIKELY(!at))
		return -ENOMEM;
	at += sizeof(*to);
	*to = *state;
	to->key = at;
	to->value = at + state->key_len;
	memcpy(at, state->key, state->key_len);
	if (state->value_len)
		memcpy(at + state->key_len, state->value, state->value_len);
	copy->n++;
	return 0;
}

int rt_copy_lend(const struct rt_copy *copy, struct rt_delta *ret)
{
	const struct rt_copy_chunk *chunk;
	int r = 0;

	for (chunk = copy->first; chunk && !r; chunk = chunk->next) {
		for (size_t at = 0; at < chunk->used && !r;) {
			const struct rt_state *state =
				(const void *)(chunk->bytes + at);

			r = rt_delta_point(ret, state);
			at += size_of(state->key_len, state->value_len);
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
