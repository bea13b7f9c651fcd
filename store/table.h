/* SPDX-License-Identifier: MIT */
/*
 * table.h - the newest value of each key, in memory
 *
 * A hash table of entries that are linked into buckets.  It grows and shrinks a few
 * buckets at a time, with the changes made to it, so no single call ever moves the
 * whole of it.  A walk by cursor sees every entry that was there from its begin to
 * its end, whatever changes meanwhile; some it may see twice.
 *
 * Beside that each entry has a place, a number, from when it is put in until it is
 * taken out; one that replaces another has the same.  Entries lie in memory nearly in
 * the order of their places, so a walk over these takes a quarter of the time, and sees
 * each once. What is taken out and put back, the last first, has the place that it had.
 *
 * Not for the hot words of a ring and not shared: one thread owns a table.
 */
#ifndef RINGTAIL_STORE_TABLE_H
#define RINGTAIL_STORE_TABLE_H

#include "shm/base.h"

struct rt_entry {
	struct rt_entry *next; /* in its bucket */
	uint64_t hash;
	uint64_t seq;     /* of the event that set the value */
	uint64_t time_ns; /* of that event */
	uint32_t value_len;
	uint32_t value_cap;
	uint32_t life;  /* 1 + its place among the lives of its feed; 0: none */
	uint32_t place; /* 1 + its place in the table; 0: none */
	uint16_t key_len;
	uint8_t bytes[]; /* key, then value */
};

union rt_place {
	struct rt_entry *entry;
	uintptr_t free; /* odd: twice the one that was free before, as below, and 1 */
};

struct rt_table {
	struct rt_entry **buckets; /* a power of two */
	struct rt_entry **old;     /* while it moves: buckets below `moved` are empty */
	size_t n_buckets;
	size_t n_old;
	size_t moved;
	size_t n;       /* entries */
	size_t n_bytes; /* of all keys and values */
	uint64_t seed;
	union rt_place **places; /* in blocks */
	uint32_t n_blocks;
	uint32_t n_places;   /* that were in use at some time */
	uint32_t free_place; /* 1 + the newest that is free; 0: none */
	size_t n_unplaced; /* entries, for want of memory: a walk over places lacks them
			    */
};

RT_INLINE const uint8_t *rt_entry_key(const struct rt_entry *entry)
{
	return entry->bytes;
}

RT_INLINE const uint8_t *rt_entry_value(const struct rt_entry *entry)
{
	return entry->bytes + entry->key_len;
}

/* 0, or -ENOMEM. */
int rt_table_init(struct rt_table *table, uint64_t seed);
void rt_table_fini(struct rt_table *table);

/* Buckets for @n entries at once, instead of by and by; -ENOMEM: as before. */
int rt_table_reserve(struct rt_table *table, size_t n);

uint64_t rt_table_hash(const struct rt_table *table, const void *key, size_t len);

/*
 * For a caller that knows several keys ahead: asks for the memory in which they will
 * be looked up and changed, and waits for that of all of them together.
 */
void rt_table_expect(const struct rt_table *table, const uint64_t *hashes, size_t n);

/* For one that comes later, and is put there: its bucket is all that is needed. */
void rt_table_expect_bucket(const struct rt_table *table, uint64_t hash);

/* NULL if there is none. */
struct rt_entry *rt_table_find(const struct rt_table *table, uint64_t hash,
			       const void *key, size_t len);

/* An entry that is in no table yet; NULL without memory.  Freed by free(). */
struct rt_entry *rt_entry_new(uint64_t hash, const void *key, size_t key_len,
			      const void *value, size_t value_len);

/* Would a value of this length go into the entry, without much waste? */
RT_INLINE bool rt_entry_takes(const struct rt_entry *entry, size_t value_len)
{
	return value_len <= entry->value_cap && value_len >= entry->value_cap / 4;
}

/* Replaces the value of an entry that takes it. */
void rt_table_set(struct rt_table *table, struct rt_entry *entry, const void *value,
		  size_t value_len);

/*
 * Puts @entry in; returns the one with its key that was there, now the caller's, or
 * NULL.  Cannot fail: a table that finds no memory to grow gets slower instead.
 */
struct rt_entry *rt_table_insert(struct rt_table *table, struct rt_entry *entry);

/* Takes an entry out; it is the caller's then. */
void rt_table_remove(struct rt_table *table, struct rt_entry *entry);

/*
 * One step of a walk: calls @visit for the entries of a bucket or two and returns
 * the cursor of the next step; 0 begins, and 0 means that all have been seen.
 * @visit must not change the table.
 */
uint64_t rt_table_walk(const struct rt_table *table, uint64_t cursor,
		       void (*visit)(void *ctx, const struct rt_entry *entry),
		       void *ctx);

/*
 * Calls @visit for the entries at places from @from to below @to, which is at most
 * table->n_places, until it says that it is enough.  The place to go on with.
 */
uint32_t rt_table_walk_places(const struct rt_table *table, uint32_t from, uint32_t to,
			      bool (*visit)(void *ctx, const struct rt_entry *entry),
			      void *ctx);

#endif
