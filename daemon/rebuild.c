/* SPDX-License-Identifier: MIT */
#include "daemon/rebuild.h"

#include <errno.h>

#define RESERVE_MAX (UINT64_C(1) << 26)

/* Connections of the past are gone: what was bound to any of them is over. */
static int apply_terms(struct rt_feed *feed, struct rt_entry *entry,
		       const struct rt_item *item)
{
	struct rt_log_terms terms = rt_item_terms(item);
	bool bound = terms.flags & RT_TERMS_BOUND;
	int r;

	if (!terms.deadline_ms && !bound)
		return 0;
	if (bound && !feed->ended) {
		struct rt_holder *holder = rt_feed_holder(feed);

		if (!holder)
			return -ENOMEM;
		rt_feed_end(feed, holder);
	}
	r = rt_lives_add(&feed->lives, entry, terms.deadline_ms,
			 bound ? feed->ended : NULL);
	if (!r)
		rt_lives_wake(&feed->lives, entry);
	return r;
}

static int apply_put(struct rt_feed *feed, uint64_t hash, const struct rt_item *item)
{
	struct rt_entry *entry =
		rt_table_find(&feed->table, hash, item->key, item->key_len);

	if (entry && !entry->life && rt_entry_takes(entry, item->value_len)) {
		rt_table_set(&feed->table, entry, item->value, item->value_len);
	} else {
		entry = rt_entry_new(hash, item->key, item->key_len, item->value,
				     item->value_len);
		if (!entry)
			return -ENOMEM;
		rt_lives_free(&feed->lives, rt_table_insert(&feed->table, entry));
	}
	entry->seq = item->seq;
	entry->time_ns = item->time_ns;
	return RT_UNLIKELY(item->ext_len) ? apply_terms(feed, entry, item) : 0;
}

static int apply(struct rt_feed *feed, uint64_t hash, const struct rt_item *item)
{
	struct rt_entry *entry;

	if (item->op == RT_OP_PUT)
		return apply_put(feed, hash, item);
	if (item->op != RT_OP_DELETE)
		return 0;
	entry = rt_table_find(&feed->table, hash, item->key, item->key_len);
	if (entry) {
		rt_table_remove(&feed->table, entry);
		rt_lives_free(&feed->lives, entry);
	}
	return 0;
}

int rt_rebuild_end(struct rt_rebuild *rebuild)
{
	size_t n = rebuild->n;
	int r = 0;

	rebuild->n = 0;
	rt_table_expect(&rebuild->feed->table, rebuild->hashes, n);
	for (size_t i = 0; i < n && !r; i++)
		r = apply(rebuild->feed, rebuild->hashes[i], &rebuild->queue[i].item);
	return r;
}

/* With bytes of its own: those of @item go with its batch. */
static void enqueue(struct rt_rebuild *rebuild, uint64_t hash,
		    const struct rt_item *item)
{
	size_t i = rebuild->n++;
	uint8_t *bytes = rebuild->queue[i].bytes;

	rebuild->hashes[i] = hash;
	rebuild->queue[i].item = *item;
	rebuild->queue[i].item.key = bytes;
	rebuild->queue[i].item.value = bytes + item->key_len;
	memcpy(bytes, item->key, item->key_len);
	if (item->value_len)
		memcpy(bytes + item->key_len, item->value, item->value_len);
}

int rt_rebuild_event(void *arg, const struct rt_item *item)
{
	struct rt_rebuild *rebuild = arg;
	struct rt_feed *feed = rebuild->feed;
	uint64_t hash = rt_table_hash(&feed->table, item->key, item->key_len);
	int r = 0;

	if (!feed->rebuilt_from)
		feed->rebuilt_from = item->seq;
	if (item->op == RT_OP_PUT)
		rt_journal_holds(&feed->journal, item->key_len);
	if (RT_UNLIKELY(item->ext_len ||
			item->key_len + (uint64_t)item->value_len > RT_REBUILD_SMALL)) {
		r = rt_rebuild_end(rebuild);
		return r < 0 ? r : apply(feed, hash, item);
	}
	if (rebuild->n == RT_REBUILD_AHEAD)
		r = rt_rebuild_end(rebuild);
	if (!r)
		enqueue(rebuild, hash, item);
	return r;
}

int rt_rebuild_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	struct rt_rebuild *rebuild = arg;
	struct rt_feed *feed = rebuild->feed;
	int r;

	rebuild->n = 0;
	feed->journal.max_key = (uint32_t)feed->config->max_key;
	rt_feed_forget(feed);
	r = rt_table_init(&feed->table, feed->table.seed);
	if (r < 0)
		return r;
	/* A count that makes no sense shows when the entries are read. */
	(void)rt_table_reserve(&feed->table, rt_min(n_entries, RESERVE_MAX));
	feed->rebuilt_from = seq ? 1 : 0;
	return 0;
}

int rt_rebuild_state(void *arg, const struct rt_state *state)
{
	struct rt_log_terms terms = {
		.deadline_ms = state->deadline_ms,
		.flags = state->flags & RT_TERMS_BOUND,
	};
	bool ends = terms.deadline_ms || terms.flags;
	struct rt_item item = {
		.seq = state->seq,
		.time_ns = state->time_ns,
		.key = state->key,
		.value = state->value,
		.ext = ends ? (const uint8_t *)&terms : NULL,
		.value_len = state->value_len,
		.ext_len = ends ? sizeof(terms) : 0,
		.key_len = state->key_len,
		.op = RT_OP_PUT,
	};

	return rt_rebuild_event(arg, &item);
}
