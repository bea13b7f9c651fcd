/* SPDX-License-Identifier: MIT */
#include "client/view_order.h"

#include <errno.h>

#define FEW 64u /* changes that are kept whatever the size */

/* `life` is the daemon's; here it says that the entry has left the table. */
#define GONE 1u

static void die(struct rt_order *order, struct rt_entry *entry)
{
	entry->next = order->dead;
	order->dead = entry;
}

/* Takes out what is gone; returns how many stay. */
static size_t drop_gone(struct rt_order *order, struct rt_entry **entries, size_t n)
{
	size_t stay = 0;

	for (size_t i = 0; i < n; i++) {
		if (entries[i]->life == GONE)
			die(order, entries[i]);
		else
			entries[stay++] = entries[i];
	}
	return stay;
}

/* From now on there is no order, until somebody asks for it. */
static void forget(struct rt_order *order)
{
	if (order->n_gone) {
		(void)drop_gone(order, order->entries, order->n);
		(void)drop_gone(order, order->added, order->n_added);
	}
	free(order->entries);
	free(order->added);
	*order = (struct rt_order){ .dead = order->dead };
}

void rt_order_fini(struct rt_order *order)
{
	forget(order);
	rt_order_bury(order);
}

void rt_order_bury(struct rt_order *order)
{
	struct rt_entry *next;

	for (struct rt_entry *entry = order->dead; entry; entry = next) {
		next = entry->next;
		free(entry);
	}
	order->dead = NULL;
}

static bool is_full(struct rt_entry ***list, size_t n, size_t *cap)
{
	struct rt_entry **more;
	size_t want = n ? n * 2 : FEW;

	if (RT_LIKELY(n < *cap))
		return false;
	more = reallocarray(*list, want, sizeof(struct rt_entry *));
	if (!more)
		return true;
	*list = more;
	*cap = want;
	return false;
}

int rt_order_append(struct rt_order *order, struct rt_entry *entry)
{
	if (is_full(&order->entries, order->n, &order->cap))
		return -ENOMEM;
	order->entries[order->n++] = entry;
	order->kept = true;
	return 0;
}

static bool is_worth_keeping(const struct rt_order *order)
{
	return order->n_added + order->n_gone <= FEW + order->n / 2;
}

void rt_order_add(struct rt_order *order, struct rt_entry *entry)
{
	if (!order->kept)
		return;
	if (!is_worth_keeping(order) ||
	    is_full(&order->added, order->n_added, &order->added_cap)) {
		forget(order);
		return;
	}
	order->added[order->n_added++] = entry;
}

void rt_order_remove(struct rt_order *order, struct rt_entry *entry)
{
	if (!order->kept) {
		die(order, entry);
		return;
	}
	entry->life = GONE;
	order->n_gone++;
	if (!is_worth_keeping(order))
		forget(order);
}

static int compare(const struct rt_entry *a, const struct rt_entry *b)
{
	return rt_entry_compare(a, rt_entry_key(b), b->key_len);
}

static int compare_places(const void *a, const void *b)
{
	return compare(*(struct rt_entry *const *)a, *(struct rt_entry *const *)b);
}

static void gather(void *order, const struct rt_entry *entry)
{
	struct rt_order *o = order;

	/* The table is ours as well; it only promises not to change what it shows. */
	o->entries[o->n++] = (struct rt_entry *)(uintptr_t)entry;
}

static int make(struct rt_order *order, const struct rt_table *table)
{
	struct rt_entry **entries = calloc(table->n + 1, sizeof(struct rt_entry *));
	uint64_t cursor = 0;

	if (!entries)
		return -ENOMEM;
	order->entries = entries;
	order->cap = table->n + 1;
	do {
		cursor = rt_table_walk(table, cursor, gather, order);
	} while (cursor);
	qsort(entries, order->n, sizeof(struct rt_entry *), compare_places);
	order->kept = true;
	return 0;
}

/* From behind, into the room that was made at the end. */
static void merge(struct rt_order *order)
{
	size_t i = order->n, k = order->n_added, to = i + k;

	order->n = to;
	while (k) {
		if (i && compare(order->entries[i - 1], order->added[k - 1]) > 0)
			order->entries[--to] = order->entries[--i];
		else
			order->entries[--to] = order->added[--k];
	}
	order->n_added = 0;
}

int rt_order_settle(struct rt_order *order, const struct rt_table *table)
{
	if (!order->kept)
		return make(order, table);
	if (order->n + order->n_added > order->cap) {
		size_t want = order->n + order->n_added;
		struct rt_entry **more =
			reallocarray(order->entries, want, sizeof(struct rt_entry *));

		if (!more)
			return -ENOMEM;
		order->entries = more;
		order->cap = want;
	}
	if (order->n_gone) {
		order->n = drop_gone(order, order->entries, order->n);
		order->n_added = drop_gone(order, order->added, order->n_added);
		order->n_gone = 0;
	}
	if (order->n_added) {
		qsort(order->added, order->n_added, sizeof(struct rt_entry *),
		      compare_places);
		merge(order);
	}
	return 0;
}

size_t rt_order_find(const struct rt_order *order, const void *key, size_t len)
{
	size_t low = 0, high = len ? order->n : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct rt_entry *entry = order->entries[mid];

		if (rt_entry_compare(entry, key, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
