/* SPDX-License-Identifier: MIT */
/*
 * What changed, sorted; and merged over what was.
 */
#include <errno.h>

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

/* Where a state lies, and eight bytes of its key: comparing seldom needs the rest. */
struct rt_delta_ref {
	uint64_t prefix;
	uint64_t index;
};

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

static int grow(struct rt_delta *delta)
{
	const size_t each = sizeof(*delta->states) + sizeof(*delta->refs);
	size_t cap = delta->cap ? delta->cap + delta->cap / 2 : 64;
	void *grown;

	if (delta->n < delta->cap)
		return 0;
	grown = reallocarray(delta->states, cap, sizeof(*delta->states));
	if (!grown)
		return -ENOMEM;
	delta->states = grown;
	grown = reallocarray(delta->refs, cap, sizeof(*delta->refs));
	if (!grown)
		return -ENOMEM;
	delta->refs = grown;
	delta->n_bytes += (cap - delta->cap) * each;
	delta->cap = cap;
	return 0;
}

void rt_delta_fini(struct rt_delta *delta)
{
	while (delta->arena) {
		struct rt_arena *next = delta->arena->next;

		free(delta->arena);
		delta->arena = next;
	}
	free(delta->states);
	free(delta->refs);
	*delta = (struct rt_delta){ 0 };
}

int rt_delta_set(struct rt_delta *delta, const struct rt_state *state)
{
	size_t value_len = state->deleted ? 0 : state->value_len;
	struct rt_state *to;
	uint8_t *bytes;
	int r = grow(delta);

	if (r < 0)
		return r;
	bytes = take(delta, state->key_len + value_len);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, state->key, state->key_len);
	if (value_len)
		memcpy(bytes + state->key_len, state->value, value_len);
	to = &delta->states[delta->n++];
	*to = *state;
	to->key = bytes;
	to->value = bytes + state->key_len;
	to->value_len = (uint32_t)value_len;
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

int rt_delta_add(struct rt_delta *delta, const struct rt_item *item)
{
	struct rt_state state = {
		.seq = item->seq,
		.time_ns = item->time_ns,
		.key = item->key,
		.key_len = item->key_len,
		.deleted = item->op == RT_OP_DELETE,
	};

	if (item->op == RT_OP_MESSAGE)
		return 0;
	if (!state.deleted) {
		struct rt_log_terms terms = rt_item_terms(item);

		state.value = item->value;
		state.value_len = item->value_len;
		state.deadline_ms = terms.deadline_ms;
		state.flags = terms.flags & RT_TERMS_BOUND;
	}
	return rt_delta_set(delta, &state);
}

/*
 * ---- Sorting ----
 */

#define FEW       12  /* not worth another level */
#define MANY      512 /* worth counting digits */
#define LEVEL_MAX 6
#define OVER      (UINT64_C(1) << 63) /* in an index: a newer change of the key follows */

struct sorting {
	const struct rt_state *states;
	struct rt_delta_ref *spare; /* room for as many; NULL: there was no memory */
};

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
	const struct rt_delta_ref *x = a, *y = b;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int by_key(const void *a, const void *b, void *ctx)
{
	const struct rt_delta_ref *x = a, *y = b;
	const struct rt_state *states = ctx;
	const struct rt_state *s = &states[x->index], *t = &states[y->index];
	int c = rt_key_compare(s->key, s->key_len, t->key, t->key_len);

	return c ? c : x->index < y->index ? -1 : x->index > y->index;
}

/* One pass over all, which leaves alone what the digit at @shift has in common. */
static void sort_digit(struct rt_delta_ref *to, const struct rt_delta_ref *from,
		       size_t n, unsigned shift, const size_t counts[256])
{
	size_t starts[256], at = 0;

	for (unsigned i = 0; i < 256; i++) {
		starts[i] = at;
		at += counts[i];
	}
	for (size_t i = 0; i < n; i++)
		to[starts[from[i].prefix >> shift & 255]++] = from[i];
}

/* By prefix; what is alike stays in its order. */
static void sort_prefixes(const struct sorting *s, struct rt_delta_ref *refs, size_t n)
{
	size_t counts[8][256];
	struct rt_delta_ref *from = refs, *to = s->spare;

	if (n < MANY || !s->spare) {
		qsort(refs, n, sizeof(*refs), by_prefix);
		return;
	}
	memset(counts, 0, sizeof(counts));
	for (size_t i = 0; i < n; i++) {
		for (unsigned digit = 0; digit < 8; digit++)
			counts[digit][refs[i].prefix >> 8 * digit & 255]++;
	}
	for (unsigned digit = 0; digit < 8; digit++) {
		struct rt_delta_ref *swap = from;

		if (counts[digit][from[0].prefix >> 8 * digit & 255] == n)
			continue; /* the same in all */
		sort_digit(to, from, n, 8 * digit, counts[digit]);
		from = to;
		to = swap;
	}
	if (from != refs)
		memcpy(refs, from, n * sizeof(*refs));
}

/* How far the keys from @depth on are the same; all of them, if *@ret_same. */
static size_t common_length(const struct rt_state *states,
			    const struct rt_delta_ref *refs, size_t n, size_t depth,
			    bool *ret_same)
{
	const struct rt_state *first = &states[refs[0].index];
	size_t len = first->key_len - depth;

	*ret_same = true;
	for (size_t i = 1; i < n; i++) {
		const struct rt_state *state = &states[refs[i].index];
		size_t left = state->key_len - depth, same = 0;

		*ret_same = *ret_same && state->key_len == first->key_len;
		len = rt_min(len, left);
		while (same < len &&
		       first->key[depth + same] == state->key[depth + same])
			same++;
		len = same;
	}
	*ret_same = *ret_same && len == first->key_len - depth;
	return len;
}

static bool is_same_key(const struct rt_state *a, const struct rt_state *b)
{
	return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

/* Without further ado; of one key the newest is the last. */
static void sort_few(const struct sorting *s, struct rt_delta_ref *refs, size_t n)
{
	const struct rt_state *states = s->states;

	qsort_r(refs, n, sizeof(*refs), by_key, (void *)(uintptr_t)states);
	for (size_t i = 0; i + 1 < n; i++) {
		if (is_same_key(&states[refs[i].index], &states[refs[i + 1].index]))
			refs[i].index |= OVER;
	}
}

/*
 * By eight bytes behind what all have in common; then what is still alike, by the
 * eight that differ there.  The keys are the same up to @depth, and what is of one key
 * is in the order in which it came.
 */
static void sort_refs(const struct sorting *s, struct rt_delta_ref *refs, size_t n,
		      size_t depth, unsigned level)
{
	bool same;

	if (n <= FEW || level == LEVEL_MAX) {
		sort_few(s, refs, n);
		return;
	}
	depth += common_length(s->states, refs, n, depth, &same);
	if (same) {
		for (size_t i = 0; i + 1 < n; i++)
			refs[i].index |= OVER;
		return;
	}
	for (size_t i = 0; i < n; i++)
		refs[i].prefix = prefix_at(&s->states[refs[i].index], depth);
	sort_prefixes(s, refs, n);
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && refs[to].prefix == refs[from].prefix;)
			to++;
		if (to - from > 1)
			sort_refs(s, refs + from, to - from, depth, level + 1);
	}
}

/* Each state to where its reference is, in place; marks stay. */
static void arrange(struct rt_state *states, struct rt_delta_ref *refs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rt_state first = states[i];
		size_t at = i;

		while ((refs[at].index & ~OVER) != i) {
			size_t from = refs[at].index & ~OVER;

			states[at] = states[from];
			refs[at].index = at | (refs[at].index & OVER);
			at = from;
		}
		states[at] = first;
		refs[at].index = at | (refs[at].index & OVER);
	}
}

void rt_delta_sort(struct rt_delta *delta)
{
	struct rt_delta_ref *refs = delta->refs;
	struct rt_state *states = delta->states;
	size_t n = 0;

	delta->at = 0;
	if (delta->sorted || !delta->n)
		return;

	AUTO_FREE struct rt_delta_ref *spare =
		delta->n < MANY ? NULL : reallocarray(NULL, delta->n, sizeof(*spare));
	const struct sorting sorting = { states, spare };

	for (size_t i = 0; i < delta->n; i++)
		refs[i] = (struct rt_delta_ref){ .index = i };
	sort_refs(&sorting, refs, delta->n, 0, 0);
	arrange(states, refs, delta->n);
	for (size_t i = 0; i < delta->n; i++) {
		if (!(refs[i].index & OVER))
			states[n++] = states[i];
	}
	delta->n = n;
	delta->sorted = true;
}

int rt_delta_shrink(struct rt_delta *delta)
{
	AUTO(rt_delta_fini) struct rt_delta made = { 0 };
	size_t n_bytes = 0;

	rt_delta_sort(delta);
	for (size_t i = 0; i < delta->n; i++)
		n_bytes += sizeof(struct rt_state) + sizeof(struct rt_delta_ref) +
			   delta->states[i].key_len + delta->states[i].value_len;
	if (n_bytes > delta->n_bytes / 2)
		return 0;
	for (size_t i = 0; i < delta->n; i++) {
		int r = rt_delta_set(&made, &delta->states[i]);

		if (r < 0)
			return r;
	}
	rt_delta_fini(delta);
	*delta = made;
	delta->sorted = true;
	made = (struct rt_delta){ 0 };
	return 0;
}

/*
 * ---- Merging ----
 */

void rt_merge_begin(struct rt_merge *merge, struct rt_snapshot *old,
		    struct rt_delta *delta)
{
	*merge = (struct rt_merge){ .old = old, .delta = delta };
	if (delta)
		delta->at = 0;
}

int rt_merge_seek(struct rt_merge *merge, const uint8_t *key, size_t len,
		  struct rt_fault *fault)
{
	struct rt_delta *delta = merge->delta;
	size_t low = 0, high = delta ? delta->n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rt_state *state = &delta->states[middle];

		if (rt_key_compare(state->key, state->key_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (delta)
		delta->at = low;
	merge->has_ahead = false;
	merge->old_over = false;
	return merge->old ? rt_snapshot_seek(merge->old, key, len, fault) : 0;
}

/* The old entry that comes next; only when it is needed, since its memory moves on. */
static int look_ahead(struct rt_merge *merge, struct rt_fault *fault)
{
	int r;

	if (!merge->old || merge->has_ahead || merge->old_over)
		return 0;
	r = rt_snapshot_next(merge->old, fault, &merge->ahead);
	merge->has_ahead = r == 1;
	merge->old_over = r == 0;
	return r < 0 ? r : 0;
}

int rt_merge_next(struct rt_merge *merge, struct rt_fault *fault, struct rt_state *ret)
{
	struct rt_delta *delta = merge->delta;

	for (;;) {
		const struct rt_state *change = delta && delta->at < delta->n
							? &delta->states[delta->at]
							: NULL;
		int r = look_ahead(merge, fault);
		int c;

		if (r < 0)
			return r;
		if (!change && !merge->has_ahead)
			return 0;
		c = !change ? -1
		    : !merge->has_ahead
			    ? 1
			    : rt_key_compare(merge->ahead.key, merge->ahead.key_len,
					     change->key, change->key_len);
		if (c <= 0)
			merge->has_ahead = false;
		if (c < 0) {
			*ret = merge->ahead;
			return 1;
		}
		delta->at++;
		if (!change->deleted) {
			*ret = *change;
			return 1;
		}
	}
}
