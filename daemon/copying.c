/* SPDX-License-Identifier: MIT */
#include "daemon/copying.h"

#include <errno.h>

#include "daemon/feed.h"
#include "store/build.h"

/*
 * How much a step copies: bytes of entries, each with what it costs beside those.  Some
 * 8 us; and several entries for each event that came since the last step, or there
 * would be more of them to read in the end than the copy saves.
 */
#define STEP_BYTES  (UINT64_C(32) << 10)
#define EACH_BYTES  128u
#define TIMES_LOG   6u
#define PLACES_MOST 8192u /* most of them may be free */

#define SIZE_MOST      (UINT64_C(64) << 20)
#define TIMES_ITS_SIZE 2u /* so much log is worth it */

/* Bytes that it takes, with what is made of it. */
static uint64_t size_of(const struct rt_feed *feed)
{
	return feed->table.n_bytes +
	       feed->table.n * (sizeof(struct rt_entry) + sizeof(struct rt_state));
}

bool rt_copying_is_small(const struct rt_feed *feed)
{
	return size_of(feed) <= SIZE_MOST && !feed->table.n_unplaced;
}

uint64_t rt_copying_worth(const struct rt_feed *feed)
{
	return TIMES_ITS_SIZE * size_of(feed);
}

bool rt_copying_pays(const struct rt_feed *feed, uint64_t n_bytes)
{
	return rt_copying_is_small(feed) && rt_copying_worth(feed) <= n_bytes;
}

static struct rt_snapshotter *snapshotter(const struct rt_feed *feed)
{
	return feed->retention.snapshotter;
}

int rt_copying_begin(struct rt_feed *feed)
{
	struct rt_copying *c = &feed->retention.copying;

	if (feed->in_txn)
		return -EAGAIN;
	c->stage = RT_COPYING_WALKING;
	c->recent = true;
	c->at = 0;
	c->end = feed->table.n_places;
	c->copy.seq = rt_feed_seq(feed);
	c->n_since = feed->journal.log.n_since;
	c->begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	snapshotter(feed)->n_copying++;
	return 0;
}

static int add(struct rt_feed *feed, const struct rt_entry *entry)
{
	struct rt_state state = rt_feed_state(feed, entry);

	return rt_copy_add(&feed->retention.copying.copy, &state);
}

static void add_any(void *arg, const struct rt_entry *entry)
{
	struct rt_feed *feed = arg;
	struct rt_copying *c = &feed->retention.copying;

	if (!c->result)
		c->result = add(feed, entry);
}

int rt_copying_at_once(struct rt_feed *feed)
{
	struct rt_copying *c = &feed->retention.copying;
	int r = rt_copying_begin(feed);
	uint64_t cursor = 0;

	if (r < 0)
		return r;
	c->result = 0;
	/* By buckets: there may be entries without a place. */
	do {
		cursor = rt_table_walk(&feed->table, cursor, add_any, feed);
	} while (cursor && !c->result);
	c->until = c->copy.seq;
	c->stage = RT_COPYING_WALKED;
	if (c->result < 0)
		rt_copying_end(feed);
	return c->result;
}

/* Is there to be more in this step? */
static bool add_old(void *arg, const struct rt_entry *entry)
{
	struct rt_feed *feed = arg;
	struct rt_copying *c = &feed->retention.copying;
	uint64_t cost = EACH_BYTES + entry->key_len + entry->value_len;

	if (entry->seq <= c->copy.seq)
		c->result = add(feed, entry);
	c->left -= rt_min(cost, c->left);
	return c->left && !c->result;
}

static uint64_t step_bytes(const struct rt_feed *feed)
{
	const struct rt_copying *c = &feed->retention.copying;

	return rt_max(STEP_BYTES / snapshotter(feed)->n_copying,
		      TIMES_LOG * (feed->journal.log.n_since - c->n_since));
}

int rt_copying_step(struct rt_feed *feed)
{
	struct rt_copying *c = &feed->retention.copying;
	uint32_t to = (uint32_t)rt_min((uint64_t)c->at + PLACES_MOST, c->end);

	if (c->stage != RT_COPYING_WALKING)
		return 1;
	c->result = 0;
	c->left = step_bytes(feed);
	c->n_since = feed->journal.log.n_since;
	c->at = rt_table_walk_places(&feed->table, c->at, to, add_old, feed);
	if (c->result < 0) {
		rt_copying_end(feed);
		return c->result;
	}
	if (c->at < c->end)
		return 0;
	c->until = rt_feed_seq(feed);
	c->stage = RT_COPYING_WALKED;
	return 1;
}

int rt_copying_take(struct rt_feed *feed, struct rt_copy *ret, uint64_t *ret_ns)
{
	struct rt_copying *c = &feed->retention.copying;

	if (rt_writer_head(feed->writer) < c->until)
		return 0;
	*ret = c->copy;
	ret->time_ns = feed->writer->last_ns;
	*ret_ns = rt_now_ns(CLOCK_MONOTONIC) - c->begun_ns;
	c->copy = (struct rt_copy){ .first = NULL };
	rt_copying_end(feed);
	return 1;
}

void rt_copying_give_back(struct rt_feed *feed, struct rt_copy *copy)
{
	rt_copy_clear(copy);
	rt_copy_fini(&feed->retention.copying.copy);
	feed->retention.copying.copy = *copy;
	*copy = (struct rt_copy){ .first = NULL };
}

void rt_copying_end(struct rt_feed *feed)
{
	struct rt_copying *c = &feed->retention.copying;

	if (c->stage == RT_COPYING_NONE)
		return;
	c->stage = RT_COPYING_NONE;
	rt_copy_clear(&c->copy);
	snapshotter(feed)->n_copying--;
}

void rt_copying_close(struct rt_feed *feed)
{
	rt_copying_end(feed);
	rt_copy_fini(&feed->retention.copying.copy);
}

void rt_copying_tick(struct rt_feed *feed)
{
	struct rt_copying *c = &feed->retention.copying;

	if (c->stage == RT_COPYING_NONE && !c->recent)
		rt_copy_trim(&c->copy);
	c->recent = false;
}
