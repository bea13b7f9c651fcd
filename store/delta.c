/* SPDX-License-Identifier: MIT */
/*
 * What changed: found by a hash of its key while it is gathered, and sorted after that.
 *
 *	place --> state --> key, in the arena
 *	                --> value, in the arena, behind how much may be there
 */
#include <errno.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/build.h"

/*
 * ---- Memory ----
 */

#define CHUNK_FIRST (UINT64_C(16) << 10)
#define CHUNK_MOST  (UINT64_C(1) << 20)

/* Chunks, newest first; freed all at once. */
struct rt_arena {
	struct rt_arena *next;
	size_t used, cap;
	uint8_t bytes[];
};

/* A state, and eight bytes of its key: comparing seldom needs the rest. */
struct delta_ref {
	uint64_t prefix;
	const struct rt_state *state;
};

/* Where to look for a key. */
struct place {
	uint32_t hash;
	uint32_t at; /* 1 + index of the state; 0: free */
};

/* A delta needs the ones or the others. */
#define PLACES_EACH 2u
static_assert(PLACES_EACH * sizeof(struct place) == sizeof(struct delta_ref),
	      "one room for both");
#define STATES_MAX (UINT32_MAX / PLACES_EACH)

#define EACH (sizeof(struct rt_state) + sizeof(struct delta_ref))

static uint8_t *take(struct rt_delta *delta, size_t size)
{
	struct rt_arena *arena = delta->arena;
	uint8_t *taken;

	if (!arena || arena->cap - arena->used < size) {
		uint64_t cap = arena ? rt_min(2 * arena->cap, CHUNK_MOST) : CHUNK_FIRST;

		cap = rt_max(cap, size);
		arena = malloc(sizeof(*arena) + cap);
		if (!arena)
			return NULL;
		arena->next = delta->arena;
		arena->used = 0;
		arena->cap = cap;
		delta->arena = arena;
		delta->n_bytes += sizeof(*arena) + cap;
	}
	taken = arena->bytes + arena->used;
	arena->used += size;
	return taken;
}

void rt_delta_fini(struct rt_delta *delta)
{
	while (delta->arena) {
		struct rt_arena *next = delta->arena->next;

		free(delta->arena);
		delta->arena = next;
	}
	free(delta->states);
	free(delta->room);
	*delta = (struct rt_delta){ 0 };
}

/*
 * ---- The index ----
 */

static size_t n_places(const struct rt_delta *delta)
{
	return PLACES_EACH * delta->cap;
}

/* Keys are chosen by publishers, so the hash has a seed that they do not know. */
static uint32_t hash_of(const struct rt_delta *delta, const uint8_t *key, size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(key, len, delta->seed);
}

/*
 * In the order of hashes: so all that moves to more places goes from the first to the
 * last of both.
 */
static size_t first_place(uint32_t hash, size_t n)
{
	return (size_t)((uint64_t)hash * n >> 32);
}

static size_t next_place(size_t i, size_t n)
{
	return i + 1 == n ? 0 : i + 1;
}

static void put_place(struct place *places, size_t n, struct place place)
{
	size_t i = first_place(place.hash, n);

	while (places[i].at)
		i = next_place(i, n);
	places[i] = place;
}

static void move_places(const struct rt_delta *delta, struct place *to, size_t n)
{
	const struct place *from = delta->room;

	for (size_t i = 0; delta->n_indexed && i < n_places(delta); i++) {
		if (from[i].at)
			put_place(to, n, from[i]);
	}
}

/* Room for one more. */
static int grow(struct rt_delta *delta)
{
	size_t cap = delta->cap ? 2 * delta->cap : 64;
	void *states, *room;

	if (delta->n < delta->cap)
		return 0;
	if (cap > STATES_MAX)
		return -ENOMEM;
	states = reallocarray(delta->states, cap, sizeof(*delta->states));
	if (!states)
		return -ENOMEM;
	delta->states = states;
	room = calloc(cap, sizeof(struct delta_ref));
	if (!room)
		return -ENOMEM;
	move_places(delta, room, PLACES_EACH * cap);
	free(delta->room);
	delta->room = room;
	delta->n_bytes += (cap - delta->cap) * EACH;
	delta->cap = cap;
	return 0;
}

/* Makes an index of all there is, and room for one more. */
static int prepare(struct rt_delta *delta)
{
	int r = grow(delta);

	/* What was lent does not say how long a value may become. */
	assert(!delta->n || delta->arena);
	if (r < 0 || (delta->n_indexed == delta->n && delta->n))
		return r;
	if (!delta->seed)
		delta->seed = rt_random64();
	delta->sorted = false;
	if (!delta->n_indexed)
		memset(delta->room, 0, n_places(delta) * sizeof(struct place));
	for (; delta->n_indexed < delta->n; delta->n_indexed++) {
		const struct rt_state *state = &delta->states[delta->n_indexed];
		struct place place = {
			.hash = hash_of(delta, state->key, state->key_len),
			.at = (uint32_t)delta->n_indexed + 1,
		};

		put_place(delta->room, n_places(delta), place);
	}
	return 0;
}

/* Its place; if it is not there, the free one where it would be. */
static struct place *find(const struct rt_delta *delta, uint32_t hash,
			  const uint8_t *key, size_t len)
{
	struct place *places = delta->room;
	size_t n = n_places(delta), i;

	for (i = first_place(hash, n); places[i].at; i = next_place(i, n)) {
		const struct rt_state *state = &delta->states[places[i].at - 1];

		if (places[i].hash == hash && state->key_len == len &&
		    memcmp(state->key, key, len) == 0)
			break;
	}
	return &places[i];
}

/* Likewise, without a look at keys: NULL, or most probably the one. */
static const struct rt_state *guess(const struct rt_delta *delta, uint32_t hash)
{
	const struct place *places = delta->room;
	size_t n = n_places(delta), i = first_place(hash, n);

	while (places[i].at && places[i].hash != hash)
		i = next_place(i, n);
	return places[i].at ? &delta->states[places[i].at - 1] : NULL;
}

/*
 * ---- Gathering ----
 */

/* How many bytes of value a place in the arena takes; these stand before it. */
typedef uint32_t value_room;

static void put_value(struct rt_state *to, uint8_t *at, value_room room,
		      const struct rt_state *from)
{
	memcpy(at, &room, sizeof(room));
	at += sizeof(room);
	if (from->value_len)
		memcpy(at, from->value, from->value_len);
	to->value = at;
}

static size_t value_size(const struct rt_state *state)
{
	return state->deleted ? 0 : sizeof(value_room) + state->value_len;
}

int rt_delta_append(struct rt_delta *delta, const struct rt_state *state)
{
	struct rt_state *to;
	uint8_t *bytes;
	int r = grow(delta);

	if (r < 0)
		return r;
	bytes = take(delta, state->key_len + value_size(state));
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, state->key, state->key_len);
	to = &delta->states[delta->n++];
	*to = *state;
	to->key = bytes;
	if (state->deleted) {
		to->value = NULL;
		to->value_len = 0;
	} else {
		put_value(to, bytes + state->key_len, state->value_len, state);
	}
	delta->sorted = false;
	return 0;
}

/*
 * Where it was, if it fits; else where there is half as much room again, so that what
 * it leaves behind while it grows and grows is less than twice its size.
 */
static int replace_value(struct rt_delta *delta, struct rt_state *to,
			 const struct rt_state *from)
{
	uint8_t *at =
		to->value ? (uint8_t *)(uintptr_t)to->value - sizeof(value_room) : NULL;
	value_room room = 0;

	if (at)
		memcpy(&room, at, sizeof(room));
	if (!at || room < from->value_len) {
		uint64_t more = rt_min(room + (uint64_t)room / 2, UINT32_MAX);

		room = (value_room)rt_max(more, from->value_len);
		at = take(delta, sizeof(room) + room);
		if (!at)
			return -ENOMEM;
	}
	put_value(to, at, room, from);
	to->value_len = from->value_len;
	return 0;
}

static int replace(struct rt_delta *delta, struct rt_state *to,
		   const struct rt_state *from)
{
	int r = from->deleted ? 0 : replace_value(delta, to, from);

	if (r < 0)
		return r;
	if (from->deleted)
		to->value_len = 0;
	to->seq = from->seq;
	to->time_ns = from->time_ns;
	to->deadline_ms = from->deadline_ms;
	to->flags = from->flags;
	to->deleted = from->deleted;
	return 0;
}

static int set_hashed(struct rt_delta *delta, const struct rt_state *state,
		      uint32_t hash)
{
	struct place *place = find(delta, hash, state->key, state->key_len);
	int r;

	if (place->at)
		return replace(delta, &delta->states[place->at - 1], state);
	r = rt_delta_append(delta, state); /* there is room for it */
	if (r < 0)
		return r;
	*place = (struct place){ .hash = hash, .at = (uint32_t)delta->n };
	delta->n_indexed = delta->n;
	return 0;
}

int rt_delta_set(struct rt_delta *delta, const struct rt_state *state)
{
	int r = prepare(delta);

	if (r < 0)
		return r;
	return set_hashed(delta, state, hash_of(delta, state->key, state->key_len));
}

int rt_delta_point(struct rt_delta *delta, const struct rt_state *state)
{
	struct delta_ref *refs = delta->room;

	assert(!delta->states);
	if (delta->n == delta->cap) {
		size_t cap = delta->cap ? 2 * delta->cap : 64;

		refs = reallocarray(refs, cap, sizeof(*refs));
		if (!refs)
			return -ENOMEM;
		delta->n_bytes += (cap - delta->cap) * sizeof(*refs);
		delta->room = refs;
		delta->cap = cap;
	}
	refs[delta->n++].state = state;
	delta->sorted = false;
	return 0;
}

int rt_delta_lend(struct rt_delta *delta, const struct rt_state *state)
{
	int r = grow(delta);

	if (r < 0)
		return r;
	delta->states[delta->n++] = *state;
	delta->sorted = false;
	return 0;
}

static struct rt_state state_of(const struct rt_item *item)
{
	struct rt_state state = {
		.seq = item->seq,
		.time_ns = item->time_ns,
		.key = item->key,
		.key_len = item->key_len,
		.deleted = item->op == RT_OP_DELETE,
	};

	if (!state.deleted) {
		struct rt_log_terms terms = rt_item_terms(item);

		state.value = item->value;
		state.value_len = item->value_len;
		state.deadline_ms = terms.deadline_ms;
		state.flags = terms.flags & RT_TERMS_BOUND;
	}
	return state;
}

/*
 * Both ends of it: what is longer than two lines takes its time anyway.  Inline, or gcc
 * takes it for a function without any effect.
 */
RT_INLINE void expect_bytes(const void *at, size_t len)
{
	if (!len)
		return;
	__builtin_prefetch(at, 1);
	__builtin_prefetch((const uint8_t *)at + len - 1, 1);
}

/*
 * Asks for the memory in which the keys will be looked up: first the places of all,
 * then their states, then what these point to.
 */
static void expect(const struct rt_delta *delta, const struct rt_item *items, size_t n,
		   uint32_t hashes[RT_DELTA_GROUP])
{
	const struct place *places = delta->room;
	const struct rt_state *states[RT_DELTA_GROUP];

	for (size_t i = 0; i < n; i++) {
		hashes[i] = hash_of(delta, items[i].key, items[i].key_len);
		__builtin_prefetch(&places[first_place(hashes[i], n_places(delta))], 1);
	}
	for (size_t i = 0; i < n; i++) {
		states[i] = guess(delta, hashes[i]);
		if (states[i])
			expect_bytes(states[i], sizeof(*states[i]));
	}
	for (size_t i = 0; i < n; i++) {
		if (!states[i])
			continue;
		expect_bytes(states[i]->key, states[i]->key_len);
		expect_bytes(states[i]->value, states[i]->value_len);
	}
}

static int add_group(struct rt_delta *delta, const struct rt_item *items, size_t n)
{
	uint32_t hashes[RT_DELTA_GROUP];
	int r = prepare(delta);

	if (!r)
		expect(delta, items, n, hashes);
	for (size_t i = 0; !r && i < n; i++) {
		struct rt_state state;

		if (items[i].op == RT_OP_MESSAGE)
			continue;
		state = state_of(&items[i]);
		r = prepare(delta);
		if (!r)
			r = set_hashed(delta, &state, hashes[i]);
	}
	return r;
}

int rt_delta_add(struct rt_delta *delta, const struct rt_item *items, size_t n)
{
	int r = 0;

	for (size_t from = 0; !r && from < n; from += RT_DELTA_GROUP)
		r = add_group(delta, items + from,
			      rt_min(n - from, (size_t)RT_DELTA_GROUP));
	return r;
}

int rt_delta_shrink(struct rt_delta *delta)
{
	AUTO(rt_delta_fini) struct rt_delta made = { 0 };
	size_t n_bytes = 0;

	for (size_t i = 0; i < delta->n; i++)
		n_bytes +=
			EACH + delta->states[i].key_len + value_size(&delta->states[i]);
	if (n_bytes > delta->n_bytes / 2)
		return 0;
	for (size_t i = 0; i < delta->n; i++) {
		int r = rt_delta_append(&made, &delta->states[i]);

		if (r < 0)
			return r;
	}
	rt_delta_fini(delta);
	*delta = made;
	made = (struct rt_delta){ 0 };
	return 0;
}

/*
 * ---- Sorting ----
 */

#define FEW       12  /* not worth another level */
#define MANY      512 /* worth counting digits */
#define LEVEL_MAX 6
#define AHEAD     8u /* states, to be in the cache when it is their turn */

/* Eight bytes of the key from @depth on, in an order that numbers have. */
static uint64_t prefix_at(const struct rt_state *state, size_t depth)
{
	uint64_t prefix = 0;

	if (state->key_len >= depth + sizeof(prefix))
		memcpy(&prefix, state->key + depth, sizeof(prefix));
	else if (state->key_len > depth)
		memcpy(&prefix, state->key + depth, state->key_len - depth);
	return __builtin_bswap64(prefix);
}

static int by_prefix(const void *a, const void *b)
{
	const struct delta_ref *x = a, *y = b;

	return x->prefix < y->prefix ? -1 : x->prefix > y->prefix;
}

static int by_key(const void *a, const void *b)
{
	const struct delta_ref *x = a, *y = b;
	const struct rt_state *s = x->state, *t = y->state;

	return rt_key_compare(s->key, s->key_len, t->key, t->key_len);
}

/* One pass over all, which leaves alone what the digit at @shift has in common. */
static void sort_digit(struct delta_ref *to, const struct delta_ref *from, size_t n,
		       unsigned shift, const size_t counts[256])
{
	size_t starts[256], at = 0;

	for (unsigned i = 0; i < 256; i++) {
		starts[i] = at;
		at += counts[i];
	}
	for (size_t i = 0; i < n; i++)
		to[starts[from[i].prefix >> shift & 255]++] = from[i];
}

/* @spare: room for as many; NULL: there was no memory. */
static void sort_prefixes(struct delta_ref *refs, size_t n, struct delta_ref *spare)
{
	size_t counts[8][256];
	struct delta_ref *from = refs, *to = spare;

	if (n < MANY || !spare) {
		qsort(refs, n, sizeof(*refs), by_prefix);
		return;
	}
	memset(counts, 0, sizeof(counts));
	for (size_t i = 0; i < n; i++) {
		for (unsigned digit = 0; digit < 8; digit++)
			counts[digit][refs[i].prefix >> 8 * digit & 255]++;
	}
	for (unsigned digit = 0; digit < 8; digit++) {
		struct delta_ref *swap = from;

		if (counts[digit][from[0].prefix >> 8 * digit & 255] == n)
			continue; /* the same in all */
		sort_digit(to, from, n, 8 * digit, counts[digit]);
		from = to;
		to = swap;
	}
	if (from != refs)
		memcpy(refs, from, n * sizeof(*refs));
}

/* How far the keys from @depth on are the same. */
static size_t common_length(const struct delta_ref *refs, size_t n, size_t depth)
{
	const struct rt_state *first = refs[0].state;
	size_t len = first->key_len - depth;

	for (size_t i = 1; i < n; i++) {
		const struct rt_state *state = refs[i].state;
		size_t same = 0;

		len = rt_min(len, state->key_len - depth);
		while (same < len &&
		       first->key[depth + same] == state->key[depth + same])
			same++;
		len = same;
	}
	return len;
}

/*
 * By eight bytes behind what all have in common; then what is still alike, by the
 * eight that differ there.  The keys are the same up to @depth.
 */
static void sort_refs(struct delta_ref *refs, size_t n, struct delta_ref *spare,
		      size_t depth, unsigned level)
{
	if (n <= FEW || level == LEVEL_MAX) {
		qsort(refs, n, sizeof(*refs), by_key);
		return;
	}
	depth += common_length(refs, n, depth);
	for (size_t i = 0; i < n; i++)
		refs[i].prefix = prefix_at(refs[i].state, depth);
	sort_prefixes(refs, n, spare);
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && refs[to].prefix == refs[from].prefix;)
			to++;
		if (to - from > 1)
			sort_refs(refs + from, to - from, spare, depth, level + 1);
	}
}

void rt_delta_sort(struct rt_delta *delta)
{
	struct delta_ref *refs = delta->room;
	const size_t n = delta->n;

	delta->at = 0;
	if (delta->sorted || !n)
		return;

	AUTO_FREE struct delta_ref *spare =
		n < MANY ? NULL : reallocarray(NULL, n, sizeof(*spare));

	delta->n_indexed = 0;
	for (size_t i = 0; delta->states && i < n; i++)
		refs[i].state = &delta->states[i];
	sort_refs(refs, n, spare, 0, 0);
	delta->sorted = true;
}

const struct rt_state *rt_delta_at(const struct rt_delta *delta, size_t i)
{
	const struct delta_ref *refs = delta->room;

	assert(delta->sorted && i < delta->n);
	return refs[i].state;
}

/* What comes next, after some more: states are not in the order of their keys. */
static void look_forward(const struct rt_delta *delta)
{
	if (delta->n - delta->at > 2 * AHEAD)
		__builtin_prefetch(rt_delta_at(delta, delta->at + 2 * AHEAD));
	if (delta->n - delta->at > AHEAD)
		__builtin_prefetch(rt_delta_at(delta, delta->at + AHEAD)->key);
}

const struct rt_state *rt_delta_next(struct rt_delta *delta)
{
	if (delta->at == delta->n)
		return NULL;
	look_forward(delta);
	return rt_delta_at(delta, delta->at++);
}
