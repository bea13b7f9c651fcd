/* SPDX-License-Identifier: MIT */
#include "daemon/feed.h"

#include <errno.h>
#include <limits.h>

#include "daemon/log.h"
#include "store/presence.h"

#define PRESENCE_TICKS 10u   /* seconds between two looks for what readers left */
#define ACCESS_TICKS   60u   /* between two tries; each begins a segment */
#define PRESENCE_MAX   1024u /* files that are looked at then */
#define NS_PER_MS      UINT64_C(1000000)
#define UNDO_KEEP      4096u /* room for undoing that stays between transactions */
#define ENTRY_OVERHEAD \
	(sizeof(struct rt_entry) + 24) /* what a key costs beside its bytes */
#define LIFE_OVERHEAD (sizeof(struct rt_life) + sizeof(struct rt_due)) /* its terms */
#define SWEEP_MAX     4096u /* keys that are due and deleted in one round */

/*
 * ---- Changes -----------------------------------------------------------------
 */

RT_INLINE bool is_over(const struct rt_feed *feed, const struct rt_entry *entry)
{
	const struct rt_life *life = rt_life_of(&feed->lives, entry);

	return RT_UNLIKELY(life) &&
	       ((life->deadline_ms && life->deadline_ms <= feed->now_ms) ||
		(life->holder && life->holder->ended));
}

bool rt_feed_is_over(const struct rt_feed *feed, const struct rt_entry *entry)
{
	return is_over(feed, entry);
}

struct rt_terms rt_feed_terms(const struct rt_feed *feed, const struct rt_entry *entry)
{
	const struct rt_life *life = rt_life_of(&feed->lives, entry);

	return life ? (struct rt_terms){ life->deadline_ms, life->holder }
		    : (struct rt_terms){ 0, NULL };
}

struct rt_state rt_feed_state(const struct rt_feed *feed, const struct rt_entry *entry)
{
	struct rt_terms terms = rt_feed_terms(feed, entry);

	return (struct rt_state){
		.seq = entry->seq,
		.time_ns = entry->time_ns,
		.deadline_ms = terms.deadline_ms,
		.key = rt_entry_key(entry),
		.value = rt_entry_value(entry),
		.value_len = entry->value_len,
		.key_len = entry->key_len,
		.flags = terms.holder ? RT_TERMS_BOUND : 0,
	};
}

const struct rt_entry *rt_feed_get(const struct rt_feed *feed, const void *key,
				   size_t len)
{
	const struct rt_entry *entry = rt_table_find(
		&feed->table, rt_table_hash(&feed->table, key, len), key, len);

	return entry && !is_over(feed, entry) ? entry : NULL;
}

static bool is_full(const struct rt_feed *feed, size_t more)
{
	return feed->table.n_bytes + feed->table.n * ENTRY_OVERHEAD +
		       feed->lives.n * LIFE_OVERHEAD + more >
	       feed->config->max_state;
}

RT_COLD void rt_feed_fail(struct rt_feed *feed)
{
	feed->failed = true;
	feed->failed_round = feed->round + 1;
	rt_copying_close(feed);
	feed->writer = NULL;
	rt_feed_set_reason(feed, feed->journal.fault.text);
	rt_log(RT_LOG_ERROR, "%s; the feed is not served any more",
	       feed->journal.fault.text);
}

/* Is there room in the log for one more event?  @rest_len: values, new and previous. */
RT_INLINE int room(struct rt_feed *feed, size_t key_len, size_t rest_len)
{
	if (RT_LIKELY(rt_journal_room(&feed->journal, key_len, rest_len) == 0))
		return 0;
	if (feed->journal.broken)
		rt_feed_fail(feed); /* the flush that was to make room has failed */
	return RT_FEED_E_LOG;
}

/* A change, as a transaction of its own or as part of the one begun. */
RT_INLINE int emit(struct rt_feed *feed, uint8_t op, uint8_t flags, const void *key,
		   size_t key_len, const void *value, size_t value_len,
		   const struct rt_extra *extra)
{
	if (RT_UNLIKELY(feed->in_txn))
		return rt_journal_add(&feed->journal, op, flags, key, key_len, value,
				      value_len, extra);
	return rt_journal_one(&feed->journal, op, flags, key, key_len, value, value_len,
			      extra);
}

/*
 * What the event of a change to @was carries of it.  Nothing if that is over the
 * limits, which only those of the past can have allowed: no change could ever replace
 * it.
 */
RT_INLINE struct rt_extra extra_of(const struct rt_feed *feed,
				   const struct rt_entry *was)
{
	struct rt_extra extra = { NULL, NULL, 0 };

	if (RT_LIKELY(!feed->keeps_prev) || !was ||
	    was->value_len > feed->writer->max_value ||
	    rt_writer_fits(feed->writer, 1, (uint64_t)was->key_len + was->value_len) <
		    0)
		return extra;
	extra.prev = rt_entry_value(was);
	extra.prev_len = was->value_len;
	return extra;
}

uint64_t rt_feed_seq(const struct rt_feed *feed)
{
	return rt_journal_seq(&feed->journal);
}

/* The entry is what emit() has just let out. */
RT_INLINE void stamp(const struct rt_feed *feed, struct rt_entry *entry)
{
	entry->seq = rt_journal_seq(&feed->journal);
	entry->time_ns = feed->journal.time_ns;
}

static bool undo_room(struct rt_feed *feed)
{
	size_t cap = feed->cap_undo ? feed->cap_undo * 2 : 64;
	struct rt_undo *undo;

	if (!feed->in_txn || feed->n_undo < feed->cap_undo)
		return true;
	undo = realloc(feed->undo, cap * sizeof(*undo));
	if (!undo)
		return false;
	feed->undo = undo;
	feed->cap_undo = cap;
	return true;
}

/* The table has changed: what was there is kept for abort, or freed. */
static void changed(struct rt_feed *feed, struct rt_entry *now, struct rt_entry *was)
{
	if (was)
		rt_lives_sleep(&feed->lives, was);
	if (now)
		rt_lives_wake(&feed->lives, now);
	if (feed->in_txn)
		feed->undo[feed->n_undo++] = (struct rt_undo){ now, was };
	else
		rt_lives_free(&feed->lives, was);
}

/* Gives an entry its terms, if there are any; those for the log are set then too. */
static int set_terms(struct rt_feed *feed, struct rt_entry *entry,
		     const struct rt_terms *terms, struct rt_log_terms *log,
		     struct rt_extra *extra)
{
	int r;

	if (RT_LIKELY(!terms || (!terms->deadline_ms && !terms->holder)))
		return 0;
	r = rt_lives_add(&feed->lives, entry, terms->deadline_ms, terms->holder);
	if (r < 0)
		return r;
	*log = (struct rt_log_terms){
		.deadline_ms = terms->deadline_ms,
		.flags = terms->holder ? RT_TERMS_BOUND : 0,
	};
	extra->terms = log;
	return 0;
}

/* A put that needs an entry of its own. */
static int put_entry(struct rt_feed *feed, uint64_t hash, const struct rt_entry *was,
		     const void *key, size_t key_len, const void *value,
		     size_t value_len, const struct rt_terms *terms)
{
	uint8_t flags = was ? 0 : (uint8_t)RT_EVENT_CREATED;
	struct rt_extra extra = extra_of(feed, was);
	struct rt_log_terms log;
	struct rt_entry *entry;
	int r;

	if (!undo_room(feed))
		return -ENOMEM;
	entry = rt_entry_new(hash, key, key_len, value, value_len);
	if (!entry)
		return -ENOMEM;
	r = set_terms(feed, entry, terms, &log, &extra);
	if (!r)
		r = emit(feed, RT_OP_PUT, flags, key, key_len, value, value_len,
			 &extra);
	if (r < 0) {
		rt_lives_free(&feed->lives, entry);
		return r;
	}
	stamp(feed, entry);
	changed(feed, entry, rt_table_insert(&feed->table, entry));
	return 0;
}

/* Takes an entry out, with an event. */
static int take_out(struct rt_feed *feed, struct rt_entry *entry, uint8_t flags)
{
	const uint8_t *key = rt_entry_key(entry);
	struct rt_extra extra = extra_of(feed, entry);
	int r;

	if (!undo_room(feed))
		return -ENOMEM;
	r = room(feed, entry->key_len, extra.prev_len);
	if (r < 0)
		return r;
	r = emit(feed, RT_OP_DELETE, flags, key, entry->key_len, NULL, 0, &extra);
	if (r < 0)
		return r;
	rt_table_remove(&feed->table, entry);
	changed(feed, NULL, entry);
	feed->counts.deletes++;
	feed->counts.expired += flags == RT_EVENT_EXPIRED;
	return 1;
}

/* What the table has of a key: a value whose time is over is deleted first. */
RT_INLINE int look_up(struct rt_feed *feed, uint64_t hash, const void *key,
		      size_t key_len, struct rt_entry **ret)
{
	*ret = rt_table_find(&feed->table, hash, key, key_len);
	if (RT_UNLIKELY(*ret && is_over(feed, *ret))) {
		int r = take_out(feed, *ret, RT_EVENT_EXPIRED);

		*ret = NULL;
		return r < 0 ? r : 0;
	}
	return 0;
}

/* @terms: NULL for none. */
RT_INLINE int put(struct rt_feed *feed, uint64_t hash, struct rt_entry *entry,
		  const void *key, size_t key_len, const void *value, size_t value_len,
		  const struct rt_terms *terms)
{
	size_t before = entry ? entry->value_len : 0;
	size_t more = entry ? value_len : key_len + value_len + ENTRY_OVERHEAD;
	int r;

	if (RT_UNLIKELY(terms) && (!entry || !entry->life))
		more += LIFE_OVERHEAD;
	if (RT_UNLIKELY(value_len > UINT32_MAX))
		return RT_E_TOO_BIG;
	if (RT_UNLIKELY(more > before && is_full(feed, more - before)))
		return RT_FEED_E_FULL;
	r = room(feed, key_len, value_len + extra_of(feed, entry).prev_len);
	if (RT_UNLIKELY(r < 0))
		return r;
	if (RT_LIKELY(entry && !entry->life && !terms && !feed->in_txn &&
		      rt_entry_takes(entry, value_len))) {
		struct rt_extra extra = extra_of(feed, entry);

		r = emit(feed, RT_OP_PUT, 0, key, key_len, value, value_len,
			 RT_UNLIKELY(extra.prev_len) ? &extra : NULL);
		if (r < 0)
			return r;
		rt_table_set(&feed->table, entry, value, value_len);
		stamp(feed, entry);
	} else {
		r = put_entry(feed, hash, entry, key, key_len, value, value_len, terms);
		if (r < 0)
			return r;
	}
	feed->counts.puts++;
	return 0;
}

int rt_feed_put(struct rt_feed *feed, const void *key, size_t key_len,
		const void *value, size_t value_len, struct rt_holder *by)
{
	uint64_t hash = rt_table_hash(&feed->table, key, key_len);
	struct rt_terms terms = { .holder = by };
	struct rt_entry *entry;
	int r = look_up(feed, hash, key, key_len, &entry);

	if (RT_UNLIKELY(r < 0))
		return r;
	if (RT_UNLIKELY(entry && entry->life && by &&
			rt_life_of(&feed->lives, entry)->holder == by))
		return put(feed, hash, entry, key, key_len, value, value_len, &terms);
	return put(feed, hash, entry, key, key_len, value, value_len, NULL);
}

int rt_feed_put_on(struct rt_feed *feed, const void *key, size_t key_len,
		   const void *value, size_t value_len, const struct rt_terms *terms)
{
	uint64_t hash = rt_table_hash(&feed->table, key, key_len);
	struct rt_entry *entry;
	int r = look_up(feed, hash, key, key_len, &entry);

	return r < 0 ? r
		     : put(feed, hash, entry, key, key_len, value, value_len, terms);
}

int rt_feed_renew(struct rt_feed *feed, const struct rt_entry *entry,
		  const struct rt_terms *terms)
{
	/* The old entry lives until the new one has been made from it. */
	return rt_feed_put_on(feed, rt_entry_key(entry), entry->key_len,
			      rt_entry_value(entry), entry->value_len, terms);
}

static int delete_key(struct rt_feed *feed, const void *key, size_t key_len,
		      uint8_t flags)
{
	uint64_t hash = rt_table_hash(&feed->table, key, key_len);
	struct rt_entry *entry;
	int r = look_up(feed, hash, key, key_len, &entry);

	return r < 0 || !entry ? r : take_out(feed, entry, flags);
}

int rt_feed_delete(struct rt_feed *feed, const void *key, size_t key_len)
{
	return delete_key(feed, key, key_len, 0);
}

int rt_feed_expire(struct rt_feed *feed, const void *key, size_t key_len)
{
	return delete_key(feed, key, key_len, RT_EVENT_EXPIRED);
}

int rt_feed_message(struct rt_feed *feed, const void *key, size_t key_len,
		    const void *value, size_t value_len)
{
	int r = room(feed, key_len, value_len);

	if (!r)
		r = emit(feed, RT_OP_MESSAGE, 0, key, key_len, value, value_len, NULL);
	if (!r)
		feed->counts.messages++;
	return r;
}

/*
 * ---- Transactions ------------------------------------------------------------
 */

void rt_feed_begin(struct rt_feed *feed)
{
	rt_journal_begin(&feed->journal);
	feed->in_txn = true;
	feed->counts_at_begin = feed->counts;
}

static void end_txn(struct rt_feed *feed)
{
	feed->in_txn = false;
	feed->n_undo = 0;
	if (feed->cap_undo > UNDO_KEEP) {
		free(feed->undo);
		feed->undo = NULL;
		feed->cap_undo = 0;
	}
}

int rt_feed_commit(struct rt_feed *feed)
{
	if (rt_journal_commit(&feed->journal) < 0) {
		rt_feed_abort(feed);
		if (feed->journal.broken)
			rt_feed_fail(feed);
		return RT_FEED_E_LOG;
	}
	for (size_t i = 0; i < feed->n_undo; i++)
		rt_lives_free(&feed->lives, feed->undo[i].was);
	end_txn(feed);
	return 0;
}

void rt_feed_abort(struct rt_feed *feed)
{
	rt_journal_abort(&feed->journal);
	feed->counts = feed->counts_at_begin;
	while (feed->n_undo) {
		struct rt_undo undo = feed->undo[--feed->n_undo];

		if (undo.now) {
			rt_table_remove(&feed->table, undo.now);
			rt_lives_free(&feed->lives, undo.now);
		}
		if (undo.was) {
			(void)rt_table_insert(&feed->table,
					      undo.was); /* was taken out */
			rt_lives_wake(&feed->lives, undo.was);
		}
	}
	end_txn(feed);
}

/*
 * ---- What ends by itself -----------------------------------------------------
 */

void rt_feed_end(struct rt_feed *feed, struct rt_holder *holder)
{
	holder->ended = true;
	holder->next = feed->ended;
	feed->ended = holder;
}

/* One transaction of keys that are over, of one holder or due; their number. */
static int sweep_once(struct rt_feed *feed, const struct rt_holder *holder)
{
	unsigned max = holder ? UINT_MAX : SWEEP_MAX;
	int n = 0, r = 0;

	rt_feed_begin(feed);
	while (r >= 0 && (unsigned)n < max) {
		struct rt_entry *entry =
			holder ? rt_lives_held(&feed->lives, holder)
			       : rt_lives_due(&feed->lives, feed->now_ms);

		if (!entry)
			break;
		r = take_out(feed, entry, RT_EVENT_EXPIRED);
		if (r >= 0)
			n++;
	}
	/* Full: the rest is for another one. */
	if (r < 0 && !(r == RT_E_TOO_BIG && n)) {
		rt_feed_abort(feed);
		return r;
	}
	r = rt_feed_commit(feed);
	return r < 0 ? r : n;
}

void rt_feed_sweep(struct rt_feed *feed)
{
	unsigned n = 0;

	while (n < SWEEP_MAX && rt_feed_next_ms(feed) <= feed->now_ms) {
		struct rt_holder *holder = feed->ended;
		int r;

		if (holder && !holder->n) {
			feed->ended = holder->next;
			free(holder);
			continue;
		}
		r = sweep_once(feed, holder);
		if (r < 0)
			feed->stuck = true;
		else
			n += (unsigned)r;
	}
}

uint64_t rt_feed_next_ms(const struct rt_feed *feed)
{
	if (!feed->writer || feed->stuck)
		return UINT64_MAX;
	return feed->ended ? 0 : rt_lives_next_ms(&feed->lives);
}

void rt_feed_set_time(struct rt_feed *feed, uint64_t time_ns)
{
	if (!feed->writer)
		return;
	rt_retention_look(feed);
	if (!feed->writer)
		return; /* a flush within has failed */
	feed->now_ms = time_ns / NS_PER_MS;
	/* What is on its way to the ring is older as well. */
	feed->journal.time_ns =
		rt_max(rt_max(time_ns, feed->writer->last_ns), feed->journal.time_ns);
	if (!feed->journal.has_log) {
		rt_writer_set_time(feed->writer, time_ns);
		rt_writer_hold(feed->writer); /* until the flush of this round */
	}
}

int rt_feed_flush(struct rt_feed *feed)
{
	int r = feed->writer ? rt_journal_flush(&feed->journal) : 0;

	if (r < 0)
		rt_feed_fail(feed);
	return r;
}

static void close_by_loop(void *loop, int fd)
{
	rt_loop_close_file(loop, fd);
}

int rt_feed_detach(struct rt_feed *feed, int wake_fd, struct rt_loop *loop)
{
	if (!feed->writer)
		return 0;
	feed->journal.log.close_file = loop ? close_by_loop : NULL;
	feed->journal.log.close_arg = loop;
	return rt_journal_detach(&feed->journal, wake_fd);
}

void rt_feed_settle(struct rt_feed *feed)
{
	if (RT_LIKELY(!feed->writer || !feed->journal.n_flights))
		return;
	if (rt_journal_settle(&feed->journal) < 0) {
		rt_feed_fail(feed);
		feed->failed_round = feed->round; /* this one has nothing yet */
	}
}

bool rt_feed_push(struct rt_feed *feed, uint64_t round, bool wait)
{
	uint64_t before = feed->journal.n_syncs;

	feed->round = round;
	if (feed->writer && rt_journal_push(&feed->journal, round, wait) < 0) {
		rt_feed_fail(feed);
		feed->failed_round = round;
	}
	return wait && feed->journal.n_syncs != before;
}

bool rt_feed_is_settled(const struct rt_feed *feed, uint64_t round)
{
	if (RT_UNLIKELY(feed->failed))
		return round <= feed->journal.settled_round ||
		       round > feed->failed_round;
	return rt_journal_is_settled(&feed->journal, round);
}

bool rt_feed_is_lost(const struct rt_feed *feed, uint64_t round)
{
	return feed->failed && !rt_feed_is_settled(feed, round);
}

int rt_feed_sync_begin(struct rt_feed *feed, bool anyway)
{
	/* Which of two is over could not be told. */
	if (!feed->writer || feed->n_stale_syncs ||
	    (!anyway && !rt_journal_wants_sync(&feed->journal)))
		return -1;
	return rt_journal_sync_begin(&feed->journal);
}

void rt_feed_sync_end(struct rt_feed *feed, int result)
{
	if (feed->n_stale_syncs) {
		feed->n_stale_syncs--;
		feed->stale_result = result;
	} else if (feed->journal.sync_fd >= 0 &&
		   rt_journal_sync_end(&feed->journal, result) < 0 && feed->writer) {
		rt_feed_fail(feed);
	}
}

bool rt_feed_fetch_begin(struct rt_feed *feed, struct iovec *ret)
{
	if (!feed->writer || feed->fetching)
		return false;
	feed->fetching = rt_journal_wants_pages(&feed->journal, ret);
	return feed->fetching;
}

void rt_feed_fetch_end(struct rt_feed *feed, int result)
{
	feed->fetching = false;
	if (feed->writer)
		rt_journal_got_pages(&feed->journal, result);
}

void rt_feed_tick(struct rt_feed *feed)
{
	struct rt_writer *writer = feed->journal.writer;

	feed->stuck = false;
	if (!writer)
		return;
	rt_writer_beat(writer);
	if (++feed->ticks % PRESENCE_TICKS == 0)
		(void)rt_presence_sweep(writer->dir_fd, PRESENCE_MAX);
	if (rt_writer_bell_check(writer) > 0)
		rt_log(RT_LOG_WARNING,
		       "feed '%s': its bell was damaged; made a new one",
		       feed->config->name);
	if (feed->log_access_due && feed->writer && feed->ticks % ACCESS_TICKS == 0)
		rt_feed_give_log(feed);
	rt_copying_tick(feed);
	rt_retention_tick(feed);
}
