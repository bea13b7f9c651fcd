/* SPDX-License-Identifier: MIT */
#include "daemon/feed.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "daemon/log.h"

#define UNDO_KEEP 4096u /* room for undoing that stays between transactions */
#define ENTRY_OVERHEAD \
	(sizeof(struct rt_entry) + 24) /* what a key costs beside its bytes */

/*
 * ---- Opening -----------------------------------------------------------------
 */

/* One event of the past, applied to the table. */
static int replay(void *arg, const struct rt_item *item)
{
	struct rt_feed *feed = arg;
	uint64_t hash = rt_table_hash(&feed->table, item->key, item->key_len);
	struct rt_entry *entry;

	if (!feed->rebuilt_from)
		feed->rebuilt_from = item->seq;
	switch (item->op) {
	case RT_OP_PUT:
		entry = rt_entry_new(hash, item->key, item->key_len, item->value,
				     item->value_len);
		if (!entry)
			return -ENOMEM;
		entry->seq = item->seq;
		free(rt_table_insert(&feed->table, entry));
		break;
	case RT_OP_DELETE:
		entry = rt_table_find(&feed->table, hash, item->key, item->key_len);
		if (entry) {
			rt_table_remove(&feed->table, entry);
			free(entry);
		}
		break;
	default:
		break;
	}
	return 0;
}

/* The folder of the log, by durability; empty: none. */
static int log_path(const struct rt_config *config, const struct rt_feed_config *feed,
		    char ret[PATH_MAX])
{
	int n = 0;

	ret[0] = 0;
	if (feed->durability == RT_LOG_MEMORY)
		n = snprintf(ret, PATH_MAX, "%s/%s/log", config->dir, feed->name);
	else if (feed->durability != RT_DURABILITY_NONE)
		n = snprintf(ret, PATH_MAX, "%s/%s", config->data, feed->name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static void see_owner(struct rt_feed *feed)
{
	struct stat st;

	if (fstat(feed->writer->segment.fd, &st) < 0)
		return; /* then nobody but root and publishers may read */
	feed->uid = st.st_uid;
	feed->gid = st.st_gid;
	feed->mode = st.st_mode & 0777;
}

int rt_feed_open(struct rt_feed *feed, const struct rt_config *config,
		 const struct rt_feed_config *feed_config)
{
	struct rt_fault fault = { "out of memory" };
	char path[PATH_MAX];
	int r;

	*feed = (struct rt_feed){ .config = feed_config,
				  .uid = (uid_t)-1,
				  .gid = (gid_t)-1 };
	r = rt_table_init(&feed->table, rt_random64());
	if (!r)
		r = log_path(config, feed_config, path);
	if (!r)
		r = rt_journal_open(&feed->journal, config->dir, path[0] ? path : NULL,
				    feed_config, replay, feed, &fault);
	if (r < 0) {
		(void)snprintf(feed->reason, sizeof(feed->reason), "%s", fault.text);
		return r;
	}
	feed->writer = feed->journal.writer;
	if (!feed->rebuilt_from)
		feed->rebuilt_from = rt_feed_seq(feed) + 1;
	see_owner(feed);
	return 0;
}

void rt_feed_close(struct rt_feed *feed)
{
	if (feed->in_txn)
		rt_feed_abort(feed);
	if (feed->writer)
		(void)rt_feed_flush(feed); /* a failure is logged there */
	if (feed->journal.writer)
		rt_journal_close(&feed->journal, true);
	feed->writer = NULL;
	rt_table_fini(&feed->table);
	free(feed->undo);
	feed->undo = NULL;
}

/*
 * ---- Changes -----------------------------------------------------------------
 */

const struct rt_entry *rt_feed_get(const struct rt_feed *feed, const void *key,
				   size_t len)
{
	return rt_table_find(&feed->table, rt_table_hash(&feed->table, key, len), key,
			     len);
}

static bool is_over(const struct rt_feed *feed, size_t more)
{
	return feed->table.n_bytes + feed->table.n * ENTRY_OVERHEAD + more >
	       feed->config->max_state;
}

/* What was gathered is lost, and with it what the table knows: nothing more is served.
 */
static RT_COLD void fail(struct rt_feed *feed)
{
	feed->failed = true;
	feed->writer = NULL;
	(void)snprintf(feed->reason, sizeof(feed->reason), "%s",
		       feed->journal.fault.text);
	rt_log(RT_LOG_ERROR, "%s; the feed is not served any more", feed->reason);
}

/* Is there room in the log for one more event? */
RT_INLINE int room(struct rt_feed *feed, size_t key_len, size_t value_len)
{
	if (RT_LIKELY(rt_journal_room(&feed->journal, key_len, value_len) == 0))
		return 0;
	if (!rt_batch_is_empty(&feed->journal.batch))
		fail(feed); /* the flush that was to make room has failed */
	return RT_FEED_E_LOG;
}

/* A change, as a transaction of its own or as part of the one begun. */
RT_INLINE int emit(struct rt_feed *feed, uint8_t op, uint8_t flags, const void *key,
		   size_t key_len, const void *value, size_t value_len)
{
	if (RT_UNLIKELY(feed->in_txn))
		return rt_journal_add(&feed->journal, op, flags, key, key_len, value,
				      value_len);
	return rt_journal_one(&feed->journal, op, flags, key, key_len, value,
			      value_len);
}

uint64_t rt_feed_seq(const struct rt_feed *feed)
{
	return rt_journal_seq(&feed->journal);
}

/* Seq of what emit() has just let out. */
RT_INLINE uint64_t emitted(const struct rt_feed *feed)
{
	return rt_journal_seq(&feed->journal);
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
	if (feed->in_txn)
		feed->undo[feed->n_undo++] = (struct rt_undo){ now, was };
	else
		free(was);
}

/* A put that needs an entry of its own. */
static int put_entry(struct rt_feed *feed, uint64_t hash, const struct rt_entry *was,
		     const void *key, size_t key_len, const void *value,
		     size_t value_len)
{
	uint8_t flags = was ? 0 : (uint8_t)RT_EVENT_CREATED;
	struct rt_entry *entry;
	int r;

	if (!undo_room(feed))
		return -ENOMEM;
	entry = rt_entry_new(hash, key, key_len, value, value_len);
	if (!entry)
		return -ENOMEM;
	r = emit(feed, RT_OP_PUT, flags, key, key_len, value, value_len);
	if (r < 0) {
		free(entry);
		return r;
	}
	entry->seq = emitted(feed);
	changed(feed, entry, rt_table_insert(&feed->table, entry));
	return 0;
}

int rt_feed_put(struct rt_feed *feed, const void *key, size_t key_len,
		const void *value, size_t value_len)
{
	uint64_t hash = rt_table_hash(&feed->table, key, key_len);
	struct rt_entry *entry = rt_table_find(&feed->table, hash, key, key_len);
	size_t before = entry ? entry->value_len : 0;
	size_t more = entry ? value_len : key_len + value_len + ENTRY_OVERHEAD;
	int r;

	if (RT_UNLIKELY(value_len > UINT32_MAX))
		return RT_E_TOO_BIG;
	if (RT_UNLIKELY(more > before && is_over(feed, more - before)))
		return RT_FEED_E_FULL;
	r = room(feed, key_len, value_len);
	if (RT_UNLIKELY(r < 0))
		return r;
	if (RT_LIKELY(entry && !feed->in_txn && rt_entry_takes(entry, value_len))) {
		r = emit(feed, RT_OP_PUT, 0, key, key_len, value, value_len);
		if (r < 0)
			return r;
		rt_table_set(&feed->table, entry, value, value_len);
		entry->seq = emitted(feed);
	} else {
		r = put_entry(feed, hash, entry, key, key_len, value, value_len);
		if (r < 0)
			return r;
	}
	feed->counts.puts++;
	return 0;
}

int rt_feed_delete(struct rt_feed *feed, const void *key, size_t key_len)
{
	uint64_t hash = rt_table_hash(&feed->table, key, key_len);
	struct rt_entry *entry = rt_table_find(&feed->table, hash, key, key_len);
	int r;

	if (!entry)
		return 0;
	if (!undo_room(feed))
		return -ENOMEM;
	r = room(feed, key_len, 0);
	if (r < 0)
		return r;
	r = emit(feed, RT_OP_DELETE, 0, key, key_len, NULL, 0);
	if (r < 0)
		return r;
	rt_table_remove(&feed->table, entry);
	changed(feed, NULL, entry);
	feed->counts.deletes++;
	return 1;
}

int rt_feed_message(struct rt_feed *feed, const void *key, size_t key_len,
		    const void *value, size_t value_len)
{
	int r = room(feed, key_len, value_len);

	if (!r)
		r = emit(feed, RT_OP_MESSAGE, 0, key, key_len, value, value_len);
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
		return RT_FEED_E_LOG;
	}
	for (size_t i = 0; i < feed->n_undo; i++)
		free(feed->undo[i].was);
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
			free(undo.now);
		}
		if (undo.was)
			(void)rt_table_insert(&feed->table,
					      undo.was); /* was taken out */
	}
	end_txn(feed);
}

void rt_feed_set_time(struct rt_feed *feed, uint64_t time_ns)
{
	if (!feed->writer)
		return;
	feed->journal.time_ns = rt_max(time_ns, feed->writer->last_ns);
	if (!feed->journal.has_log) {
		rt_writer_set_time(feed->writer, time_ns);
		rt_writer_hold(feed->writer); /* until the flush of this round */
	}
}

int rt_feed_flush(struct rt_feed *feed)
{
	int r = feed->writer ? rt_journal_flush(&feed->journal) : 0;

	if (r < 0)
		fail(feed);
	return r;
}

int rt_feed_sync_begin(struct rt_feed *feed)
{
	return feed->writer ? rt_journal_sync_begin(&feed->journal) : -1;
}

void rt_feed_sync_end(struct rt_feed *feed, int result)
{
	if (rt_journal_sync_end(&feed->journal, result) < 0 && feed->writer)
		fail(feed);
}

void rt_feed_tick(struct rt_feed *feed)
{
	struct rt_writer *writer = feed->journal.writer;

	if (!writer)
		return;
	rt_writer_beat(writer);
	if (rt_writer_bell_check(writer) > 0)
		rt_log(RT_LOG_WARNING,
		       "feed '%s': its bell was damaged; made a new one",
		       feed->config->name);
	if (feed->writer)
		rt_journal_retain(&feed->journal);
}
