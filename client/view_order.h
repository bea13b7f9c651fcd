/* SPDX-License-Identifier: MIT */
/*
 * view_order.h - the entries of a table in the order of their keys
 *
 * An array for walks, kept beside the table that owns what is found by hash.  New
 * entries wait in a list until somebody walks; those that left the table stay, marked,
 * until then.  When so much has changed that to sort everything costs no more, nothing
 * is kept at all, so who never walks pays next to nothing.
 *
 * An entry that left the table is freed by rt_order_bury(), then or at a later one:
 * callbacks still show it, and may walk.
 */
#ifndef RINGTAIL_CLIENT_VIEW_ORDER_H
#define RINGTAIL_CLIENT_VIEW_ORDER_H

#include "store/snapshot.h"
#include "store/table.h"

struct rt_order {
	struct rt_entry **entries; /* by key; those that are gone among them */
	size_t n, cap;
	struct rt_entry **added; /* in no order */
	size_t n_added, added_cap;
	size_t n_gone;         /* of both */
	struct rt_entry *dead; /* linked; in neither */
	bool kept;             /* else `entries` is to be made from the table */
};

/* The entry's key against another, as memcmp() orders them, the shorter one first. */
RT_INLINE int rt_entry_compare(const struct rt_entry *entry, const void *key,
			       size_t len)
{
	return rt_key_compare(rt_entry_key(entry), entry->key_len, key, len);
}

/* Frees what left the table; the other entries are the table's. */
void rt_order_fini(struct rt_order *order);

/* The next in order; -ENOMEM. */
int rt_order_append(struct rt_order *order, struct rt_entry *entry);

/* The table got @entry. */
void rt_order_add(struct rt_order *order, struct rt_entry *entry);

/* The table lost @entry. */
void rt_order_remove(struct rt_order *order, struct rt_entry *entry);
void rt_order_bury(struct rt_order *order);

/* Does rt_order_settle() have something to do? */
RT_INLINE bool rt_order_is_settled(const struct rt_order *order)
{
	return order->kept && !order->n_added && !order->n_gone;
}

/* Brings `entries` up to date; -ENOMEM: nothing is lost, try again. */
int rt_order_settle(struct rt_order *order, const struct rt_table *table);

/* The first place of a settled order whose key is not below @key. */
size_t rt_order_find(const struct rt_order *order, const void *key, size_t len);

#endif
