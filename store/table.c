/* SPDX-License-Identifier: MIT */
#include "store/table.h"

#include <errno.h>
#include <xxhash.h>

#include "shm/order.h"

#define N_FIRST  64u  /* buckets of a new table */
#define N_STEP   16u  /* old buckets that move with each change */
#define N_SPARSE 128u /* likewise when it shrinks: nearly all of them are empty */
#define N_BLOCK  512u /* places */
#define AHEAD    12u  /* of which the entries are asked for, in a walk */
#define LINE     64u  /* bytes that memory comes in */

/* Of key and value, what is asked for ahead; more of them comes as it is used. */
#define EXPECTED_MAX (4u * LINE)

int rt_table_init(struct rt_table *table, uint64_t seed)
{
	*table = (struct rt_table){
		.seed = seed,
		.buckets = calloc(N_FIRST, sizeof(struct rt_entry *)),
		.n_buckets = N_FIRST,
	};
	return table->buckets ? 0 : -ENOMEM;
}

static void free_buckets(struct rt_entry **buckets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rt_entry *next;

		for (struct rt_entry *entry = buckets[i]; entry; entry = next) {
			next = entry->next;
			free(entry);
		}
	}
	free(buckets);
}

void rt_table_fini(struct rt_table *table)
{
	if (table->buckets)
		free_buckets(table->buckets, table->n_buckets);
	free_buckets(table->old, table->n_old);
	for (uint32_t i = 0; i < table->n_blocks; i++)
		free(table->places[i]);
	free(table->places);
	*table = (struct rt_table){ .seed = table->seed };
}

uint64_t rt_table_hash(const struct rt_table *table, const void *key, size_t len)
{
	return XXH3_64bits_withSeed(key, len, table->seed);
}

/* The bucket that an entry of this hash is in, if it is in the table. */
RT_INLINE struct rt_entry **bucket_of(const struct rt_table *table, uint64_t hash)
{
	if (RT_UNLIKELY(table->old)) {
		size_t i = hash & (table->n_old - 1);

		if (i >= table->moved)
			return &table->old[i];
	}
	return &table->buckets[hash & (table->n_buckets - 1)];
}

/* With a barrier, or GCC takes functions that only do this for ones without effect. */
RT_INLINE void expect(const void *at)
{
	__builtin_prefetch(at);
	rt_compiler_barrier();
}

void rt_table_expect_bucket(const struct rt_table *table, uint64_t hash)
{
	expect(bucket_of(table, hash));
}

RT_INLINE void expect_entry(const struct rt_table *table, uint64_t hash)
{
	const struct rt_entry *entry = *bucket_of(table, hash);

	if (!entry)
		return;
	expect(entry);
	expect(entry->bytes);
}

/* The lines behind the one that @at is in, as far as @end. */
RT_INLINE void expect_lines(const uint8_t *at, const uint8_t *end)
{
	for (at += LINE - ((uintptr_t)at & (LINE - 1)); at < end; at += LINE)
		expect(at);
}

/* An entry has come: the rest of it, or the next one if it is of another key. */
RT_INLINE void expect_rest(const struct rt_table *table, uint64_t hash)
{
	const struct rt_entry *entry = *bucket_of(table, hash);

	if (!entry)
		return;
	if (RT_LIKELY(entry->hash == hash)) {
		size_t len = entry->key_len + (size_t)entry->value_len;

		expect_lines(entry->bytes, entry->bytes + rt_min(len, EXPECTED_MAX));
	} else if (entry->next) {
		entry = entry->next;
		expect(entry);
		expect_lines((const uint8_t *)entry, entry->bytes + 2 * LINE);
	}
}

void rt_table_expect(const struct rt_table *table, const uint64_t *hashes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rt_table_expect_bucket(table, hashes[i]);
	for (size_t i = 0; i < n; i++)
		expect_entry(table, hashes[i]);
	for (size_t i = 0; i < n; i++)
		expect_rest(table, hashes[i]);
}

struct rt_entry *rt_table_find(const struct rt_table *table, uint64_t hash,
			       const void *key, size_t len)
{
	struct rt_entry *entry;

	for (entry = *bucket_of(table, hash); entry; entry = entry->next)
		if (entry->hash == hash && entry->key_len == len &&
		    !memcmp(entry->bytes, key, len))
			return entry;
	return NULL;
}

struct rt_entry *rt_entry_new(uint64_t hash, const void *key, size_t key_len,
			      const void *value, size_t value_len)
{
	size_t size = offsetof(struct rt_entry, bytes) + key_len + value_len;
	struct rt_entry *entry = malloc(rt_max(size, sizeof(*entry)));

	if (!entry)
		return NULL;
	*entry = (struct rt_entry){
		.hash = hash,
		.key_len = (uint16_t)key_len,
		.value_len = (uint32_t)value_len,
		.value_cap = (uint32_t)value_len,
	};
	memcpy(entry->bytes, key, key_len);
	if (value_len)
		memcpy(entry->bytes + key_len, value, value_len);
	return entry;
}

void rt_table_set(struct rt_table *table, struct rt_entry *entry, const void *value,
		  size_t value_len)
{
	table->n_bytes += value_len - entry->value_len;
	if (value_len)
		memcpy(entry->bytes + entry->key_len, value, value_len);
	entry->value_len = (uint32_t)value_len;
}

static void move_bucket(struct rt_table *table)
{
	struct rt_entry *next, *entry = table->old[table->moved];

	table->old[table->moved++] = NULL;
	for (; entry; entry = next) {
		struct rt_entry **to =
			&table->buckets[entry->hash & (table->n_buckets - 1)];

		next = entry->next;
		entry->next = *to;
		*to = entry;
	}
}

/* Moves some of the old buckets; begins to grow or shrink when it is time. */
static void tend(struct rt_table *table, bool removed)
{
	size_t n = table->n_buckets;
	struct rt_entry **buckets;

	if (table->old) {
		unsigned step = table->n_old > n ? N_SPARSE : N_STEP;

		for (unsigned i = 0; i < step && table->moved < table->n_old; i++)
			move_bucket(table);
		if (table->moved == table->n_old) {
			free(table->old);
			table->old = NULL;
			table->n_old = 0;
		}
		return;
	}
	if (RT_LIKELY(table->n <= n / 2 &&
		      (!removed || n == N_FIRST || table->n >= n / 16)))
		return;
	n = table->n > n / 2 ? n * 2 : n / 2;
	buckets = calloc(n, sizeof(struct rt_entry *));
	if (!buckets)
		return;
	table->old = table->buckets;
	table->n_old = table->n_buckets;
	table->moved = 0;
	table->buckets = buckets;
	table->n_buckets = n;
}

int rt_table_reserve(struct rt_table *table, size_t n)
{
	size_t n_buckets = table->n_buckets;
	struct rt_entry **buckets;

	while (n_buckets / 2 < n)
		n_buckets *= 2;
	if (n_buckets == table->n_buckets)
		return 0;
	buckets = calloc(n_buckets, sizeof(struct rt_entry *));
	if (!buckets)
		return -ENOMEM;
	while (table->old)
		tend(table, false);
	table->old = table->buckets;
	table->n_old = table->n_buckets;
	table->moved = 0;
	table->buckets = buckets;
	table->n_buckets = n_buckets;
	while (table->old)
		tend(table, false);
	return 0;
}

/*
 * ---- Places ----
 */

static union rt_place *place_at(const struct rt_table *table, uint32_t i)
{
	return &table->places[i / N_BLOCK][i % N_BLOCK];
}

/* One block more; their list grows by doubling, when their number is a power of two. */
static bool add_block(struct rt_table *table)
{
	uint32_t n = table->n_blocks;
	union rt_place **blocks = table->places;

	if (n >= UINT32_MAX / N_BLOCK)
		return false;
	if (!(n & (n - 1))) {
		blocks = reallocarray(blocks, n ? 2 * (size_t)n : 1,
				      sizeof(union rt_place *));
		if (!blocks)
			return false;
		table->places = blocks;
	}
	blocks[n] = malloc(N_BLOCK * sizeof(**blocks));
	if (!blocks[n])
		return false;
	table->n_blocks++;
	return true;
}

/* The one that was free last, so that changes that are taken back leave no trace. */
static void take_place(struct rt_table *table, struct rt_entry *entry)
{
	uint32_t at = table->free_place;

	if (at) {
		table->free_place = (uint32_t)(place_at(table, at - 1)->free >> 1);
	} else if (table->n_places < table->n_blocks * N_BLOCK || add_block(table)) {
		at = ++table->n_places;
	} else {
		entry->place = 0;
		table->n_unplaced++;
		return;
	}
	entry->place = at;
	place_at(table, at - 1)->entry = entry;
}

static void leave_place(struct rt_table *table, const struct rt_entry *entry)
{
	if (!entry->place) {
		table->n_unplaced--;
		return;
	}
	place_at(table, entry->place - 1)->free = (uintptr_t)table->free_place << 1 | 1;
	table->free_place = entry->place;
}

static void hand_place_on(struct rt_table *table, const struct rt_entry *was,
			  struct rt_entry *now)
{
	now->place = was->place;
	if (now->place)
		place_at(table, now->place - 1)->entry = now;
}

struct rt_entry *rt_table_insert(struct rt_table *table, struct rt_entry *entry)
{
	struct rt_entry **at, *there;

	tend(table, false);
	at = bucket_of(table, entry->hash);
	for (there = *at; there; at = &there->next, there = *at)
		if (there->hash == entry->hash && there->key_len == entry->key_len &&
		    !memcmp(there->bytes, entry->bytes, entry->key_len))
			break;
	if (there) {
		entry->next = there->next;
		there->next = NULL;
		table->n_bytes -= there->value_len;
		table->n_bytes += entry->value_len;
		hand_place_on(table, there, entry);
	} else {
		at = bucket_of(table, entry->hash);
		entry->next = *at;
		table->n++;
		take_place(table, entry);
		table->n_bytes += entry->key_len + (size_t)entry->value_len;
	}
	*at = entry;
	return there;
}

void rt_table_remove(struct rt_table *table, struct rt_entry *entry)
{
	struct rt_entry **at = bucket_of(table, entry->hash);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	entry->next = NULL;
	leave_place(table, entry);
	table->n--;
	table->n_bytes -= entry->key_len + (size_t)entry->value_len;
	tend(table, true);
}

static uint64_t reverse(uint64_t bits)
{
	bits = (bits >> 1 & UINT64_C(0x5555555555555555)) |
	       (bits & UINT64_C(0x5555555555555555)) << 1;
	bits = (bits >> 2 & UINT64_C(0x3333333333333333)) |
	       (bits & UINT64_C(0x3333333333333333)) << 2;
	bits = (bits >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) |
	       (bits & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
	return __builtin_bswap64(bits);
}

/* Adds one to the bits of @cursor under @mask, the highest of them first. */
static uint64_t advance(uint64_t cursor, uint64_t mask)
{
	return reverse(reverse(cursor | ~mask) + 1);
}

static void visit_bucket(const struct rt_entry *entry,
			 void (*visit)(void *ctx, const struct rt_entry *entry),
			 void *ctx)
{
	for (; entry; entry = entry->next)
		visit(ctx, entry);
}

/*
 * Buckets are taken in the order of their reversed numbers, so that the buckets that
 * one splits into, or merges with, when the table changes its size are neighbours:
 * what was passed stays passed.
 */
uint64_t rt_table_walk(const struct rt_table *table, uint64_t cursor,
		       void (*visit)(void *ctx, const struct rt_entry *entry),
		       void *ctx)
{
	struct rt_entry **few, **many;
	uint64_t small, large;

	if (!table->old) {
		small = table->n_buckets - 1;
		visit_bucket(table->buckets[cursor & small], visit, ctx);
		return advance(cursor, small);
	}
	small = rt_min(table->n_buckets, table->n_old) - 1;
	large = rt_max(table->n_buckets, table->n_old) - 1;
	few = table->n_old - 1 == small ? table->old : table->buckets;
	many = few == table->old ? table->buckets : table->old;
	visit_bucket(few[cursor & small], visit, ctx);
	do {
		visit_bucket(many[cursor & large], visit, ctx);
		cursor = advance(cursor, large);
	} while (cursor & (small ^ large));
	return cursor;
}

/* Of what may be a free one. */
static const struct rt_entry *entry_at(const struct rt_table *table, uint32_t i)
{
	const union rt_place *place = place_at(table, i);

	return place->free & 1 ? NULL : place->entry;
}

uint32_t rt_table_walk_places(const struct rt_table *table, uint32_t from, uint32_t to,
			      bool (*visit)(void *ctx, const struct rt_entry *entry),
			      void *ctx)
{
	for (uint32_t i = from; i < to; i++) {
		const struct rt_entry *entry = entry_at(table, i);
		const struct rt_entry *ahead =
			to - i > AHEAD ? entry_at(table, i + AHEAD) : NULL;

		if (ahead) {
			__builtin_prefetch(ahead);
			__builtin_prefetch((const uint8_t *)ahead + 64);
			__builtin_prefetch((const uint8_t *)ahead + 128);
		}
		if (entry && !visit(ctx, entry))
			return i + 1;
	}
	return to;
}
