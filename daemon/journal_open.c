/* SPDX-License-Identifier: MIT */
/*
 * How log and ring of a feed come to the same end: at start, whatever a crash left, and
 * whatever was asked for anew.
 */
#include "daemon/journal_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "daemon/preparer.h"
#include "daemon/syncer.h"
#include "shm/lock.h"
#include "store/log_read.h"

#define BEAT_NS UINT64_C(1000000000)

/*
 * ---- Opening ----
 */

/* Where a ring ends. */
struct end {
	uint64_t epoch;
	uint64_t oldest; /* 0: there is no ring */
	uint64_t head;
	uint64_t patience_ns;
	struct rt_geometry geo;
};

/* One event of the ring in the form of one of the log. */
static void item_of(const struct rt_event *event, struct rt_item *ret)
{
	*ret = (struct rt_item){
		.seq = event->seq,
		.time_ns = event->time_ns,
		.key = event->key,
		.value = event->value,
		.prev = event->value + event->value_len,
		.value_len = event->value_len,
		.prev_len = event->prev_len,
		.key_len = event->key_len,
		.op = event->op,
		.flags = event->flags,
		.txn_index = event->txn_index,
		.txn_size = event->txn_size,
	};
}

/* All events of the ring. */
static int visit_ring(const struct rt_journal *j,
		      int (*visit)(void *arg, const struct rt_item *item), void *arg,
		      struct rt_fault *fault)
{
	const struct rt_writer *writer = j->writer;
	uint64_t oldest, head;

	rt_ring_bounds(&writer->segment, &oldest, &head);
	for (uint64_t seq = oldest; seq <= head; seq++) {
		struct rt_event event;
		struct rt_item item;
		int r;

		if (rt_ring_look(&writer->segment, seq, &event) != RT_LOOK_EVENT) {
			rt_fault_set(fault,
				     "feed '%s': the ring is damaged at seq %llu; move "
				     "its folder away to begin a new history",
				     writer->name, (unsigned long long)seq);
			return RT_E_CORRUPT;
		}
		item_of(&event, &item);
		r = rt_is_canceled(j->cancel) ? -ECANCELED : visit(arg, &item);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of the events from @from on, the first that begins a transaction. */
static int begin_of_txn(const struct rt_journal *j, const char *log_path, uint64_t from,
			uint64_t *ret, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	struct rt_batch_cursor cursor;
	const uint8_t *data;
	struct rt_item item;
	int r = rt_log_reader_open(log_path, fault, &reader);

	*ret = j->log.next;
	if (!r)
		r = rt_log_reader_seek(&reader, from, fault);
	while (!r &&
	       (r = rt_log_reader_next(&reader, j->log.next - 1, fault, &data)) == 1) {
		rt_batch_open(data, &cursor);
		while (rt_batch_next(&cursor, &item) == 1) {
			if (item.seq >= from && !item.txn_index) {
				*ret = item.seq;
				return 0;
			}
		}
		r = 0;
	}
	return r < 0 ? r : 0;
}

/* First seq that a new ring should hold: it is filled with what comes after. */
static int refill_from(const struct rt_journal *j, const char *log_path,
		       uint64_t n_slots, uint64_t *ret, struct rt_fault *fault)
{
	uint64_t oldest = rt_log_oldest(&j->log);

	*ret = rt_max(rt_max(oldest, j->log.next > n_slots ? j->log.next - n_slots : 1),
		      j->too_big_for_ring + 1);
	if (*ret == oldest || *ret >= j->log.next)
		return 0;
	return begin_of_txn(j, log_path, *ret, ret, fault);
}

/* The newest part of the log into the ring, from where the ring ends. */
static int refill(struct rt_journal *j, const char *log_path, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	uint64_t from = rt_writer_head(j->writer) + 1;
	const uint8_t *data;
	int r;

	if (from == j->log.next)
		return 0;
	r = rt_log_reader_open(log_path, fault, &reader);
	if (!r)
		r = rt_log_reader_seek(&reader, from, fault);
	while (!r &&
	       (r = rt_log_reader_next(&reader, j->log.next - 1, fault, &data)) == 1) {
		r = rt_is_canceled(j->cancel) ? -ECANCELED
					      : rt_journal_play(j, data, from);
	}
	return r < 0 ? r : 0;
}

struct filling {
	struct rt_journal *journal;
	const char *log_path;
	struct rt_fault *fault;
};

/* For a ring that is being made. */
static int fill(struct rt_writer *writer, void *arg)
{
	const struct filling *f = arg;
	int r;

	f->journal->writer = writer;
	r = refill(f->journal, f->log_path, f->fault);
	f->journal->writer = NULL;
	return r;
}

/* As the settings say, and for every key that is held. */
static struct rt_ring_config wanted_ring(const struct rt_journal *j)
{
	struct rt_ring_config ring = rt_config_ring(j->config);

	ring.max_key = j->max_key;
	return ring;
}

/* Or of the size that it has, until the log has all of it. */
static struct rt_ring_config ring_config(const struct rt_journal *j)
{
	struct rt_ring_config ring = wanted_ring(j);

	if (j->as_it_is) {
		ring.n_slots = j->as_it_is->n_slots;
		ring.payload_size = j->as_it_is->payload_size;
		ring.max_key = (uint32_t)rt_max(j->as_it_is->max_key, j->max_key);
		ring.max_value = j->as_it_is->max_value;
	}
	return ring;
}

/*
 * The ring, as it is or from the log at @log_path.  What turns out to be too big for it
 * now is in the log only, and the ring begins behind that.
 */
static int open_ring(struct rt_journal *j, const char *dir, const char *log_path,
		     unsigned flags, struct rt_fault *fault)
{
	struct rt_ring_config ring = ring_config(j);
	struct filling filling = { j, log_path, fault };
	uint64_t too_big;
	int r;

	do {
		too_big = j->too_big_for_ring;
		if (log_path) {
			ring.epoch = j->log.epoch;
			ring.fill = fill;
			ring.fill_arg = &filling;
			r = refill_from(j, log_path, ring.n_slots, &ring.first_seq,
					fault);
			if (r < 0)
				return r;
		}
		r = rt_writer_open(dir, &ring,
				   RT_WRITER_PRECISE | RT_WRITER_SELF_BEAT | flags,
				   BEAT_NS, fault, &j->writer);
	} while (r == RT_E_TOO_BIG && too_big != j->too_big_for_ring);
	return r;
}

static int open_log(struct rt_journal *j, const char *path, const struct end *ring_end,
		    int (*visit)(void *arg, const struct rt_item *item), void *arg,
		    const struct rt_log_base *base, struct rt_fault *fault)
{
	const struct rt_ring_config ring = rt_config_ring(j->config);
	const struct rt_log_config config = {
		.name = j->config->name,
		.mode = (uint32_t)j->config->durability,
		.segment_size = j->config->segment_size,
		.file_mode = ring.mode,
		.uid = ring.uid,
		.gid = ring.gid,
		.first_seq = ring_end->oldest, /* it takes over what is there */
		.epoch = ring_end->epoch,
		.patience_ns = ring_end->patience_ns,
		.base = base,
	};
	struct rt_log_report report;
	int r = rt_log_open(path, &config, visit, arg, fault, &report, &j->log);

	if (r < 0)
		return r;
	j->has_log = true;
	j->log.config.base = NULL; /* of the caller, and for this only */
	if (report.bad_snapshot.text[0])
		rt_log(RT_LOG_WARNING, "feed '%s': %s; began without it",
		       j->config->name, report.bad_snapshot.text);
	if (report.cut_bytes)
		rt_log(RT_LOG_WARNING,
		       "feed '%s': cut an unfinished write of %llu bytes at the end of "
		       "its "
		       "log, after seq %llu",
		       j->config->name, (unsigned long long)report.cut_bytes,
		       (unsigned long long)j->log.next - 1);
	if (report.new_epoch)
		rt_log(RT_LOG_WARNING,
		       "feed '%s': not everything that was visible may have survived: "
		       "a "
		       "new epoch begins after seq %llu",
		       j->config->name, (unsigned long long)j->log.next - 1);
	return 0;
}

/* Where a reader looks for the log: beside the ring, or behind a link there. */
static int link_log(const struct rt_journal *j, const char *log_path)
{
	char target[PATH_MAX];
	int dir_fd = j->writer->dir_fd;
	int r;

	if (j->config->durability == RT_LOG_MEMORY)
		return 0; /* it is there itself */
	(void)unlinkat(dir_fd, ".log.new", 0);
	if (!realpath(log_path, target) || symlinkat(target, dir_fd, ".log.new") < 0)
		return -errno;
	r = renameat(dir_fd, ".log.new", dir_fd, "log") < 0 ? -errno : 0;
	if (r == -EISDIR) { /* of a time when it was kept in memory */
		(void)renameat(dir_fd, "log", dir_fd, "log.old");
		r = renameat(dir_fd, ".log.new", dir_fd, "log") < 0 ? -errno : 0;
	}
	return r;
}

/* A feed without a log must not show one of the past. */
static void unlink_log(const struct rt_journal *j)
{
	if (unlinkat(j->writer->dir_fd, "log", 0) < 0 && errno == EISDIR &&
	    renameat(j->writer->dir_fd, "log", j->writer->dir_fd, "log.old") == 0)
		rt_log(RT_LOG_WARNING,
		       "feed '%s': keeps no log now; moved its log to log.old",
		       j->config->name);
}

/* What the ring knows of its end, without taking it over; zeros if there is none. */
static void peek_ring(const char *dir, const char *name, struct end *ret)
{
	AUTO(rt_segment_drop) struct rt_segment segment = RT_SEGMENT_NONE;
	char path[PATH_MAX];

	*ret = (struct end){ .patience_ns = RT_LOCK_UNKNOWN_NS };
	(void)snprintf(path, sizeof(path), "%s/%s/ring", dir, name);

	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || rt_segment_map(fd, false, path, NULL, &segment) < 0)
		return;
	rt_ring_bounds(&segment, &ret->oldest, &ret->head);
	ret->epoch = segment.geo.epoch;
	ret->geo = segment.geo;
	if (rt_load32(&segment.hot->life) & FUTEX_OWNER_DIED)
		ret->patience_ns = RT_LOCK_DYING_NS;
}

/* The ring, as the log wants it: of its epoch, and not beyond its end. */
static int open_ring_of_log(struct rt_journal *j, const char *dir, const char *log_path,
			    struct rt_fault *fault)
{
	int r = open_ring(j, dir, log_path, 0, fault);

	if (r == RT_E_CORRUPT || r == RT_E_VERSION) {
		rt_log(RT_LOG_WARNING, "%s; making it anew from the log", fault->text);
		return open_ring(j, dir, log_path, RT_WRITER_NEW_EPOCH | RT_WRITER_ANEW,
				 fault);
	}
	if (r < 0 || j->writer->segment.geo.epoch == j->log.epoch)
		return r;
	rt_writer_drop(j->writer);
	j->writer = NULL;
	return open_ring(j, dir, log_path, RT_WRITER_NEW_EPOCH, fault);
}

static int add_item(struct rt_batch *batch, const struct rt_item *item)
{
	const struct rt_extra extra = { .prev = item->prev,
					.prev_len = item->prev_len };

	return rt_batch_add_extra(batch, item->op, item->flags, item->key,
				  item->key_len, item->value, item->value_len, &extra);
}

/* One transaction that only the ring has, to @visit and into the batch. */
static int take_over(struct rt_journal *j, const struct rt_event *first,
		     int (*visit)(void *arg, const struct rt_item *item), void *arg)
{
	struct rt_event event;
	struct rt_item item;
	int r = rt_batch_begin(&j->batch);

	for (uint32_t i = 0; i < first->txn_size && !r; i++) {
		if (rt_ring_look(&j->writer->segment, first->seq + i, &event) !=
		    RT_LOOK_EVENT)
			return RT_E_CORRUPT;
		item_of(&event, &item);
		r = visit(arg, &item);
		if (r >= 0)
			r = add_item(&j->batch, &item);
	}
	if (!r)
		rt_batch_end(&j->batch, first->time_ns);
	return r;
}

/* Ends the batch; what follows begins the next. */
static int append_taken(struct rt_journal *j, uint64_t next, struct rt_fault *fault)
{
	int r = rt_batch_is_empty(&j->batch) ? 0
					     : rt_log_append(&j->log, &j->batch, fault);

	rt_batch_reset(&j->batch, next);
	return r;
}

/*
 * The ring is ahead of the log: of a time without one, or with another.  The log takes
 * over what it lacks; if there is a hole between the two, that is for a human to judge.
 */
static int follow_ring(struct rt_journal *j,
		       int (*visit)(void *arg, const struct rt_item *item), void *arg,
		       struct rt_fault *fault)
{
	uint64_t oldest, head, seq = j->log.next;
	struct rt_event event;
	int r = 0;

	rt_ring_bounds(&j->writer->segment, &oldest, &head);
	if (seq < oldest) {
		rt_fault_set(
			fault,
			"feed '%s': its log in %s ends at seq %llu and its ring begins "
			"at %llu: restore the log, or move its folder away to begin "
			"one "
			"with what the ring holds",
			j->config->name, j->log.what, (unsigned long long)seq - 1,
			(unsigned long long)oldest);
		return RT_E_CORRUPT;
	}
	rt_log(RT_LOG_INFO,
	       "feed '%s': its log takes over seq %llu to %llu from the ring",
	       j->config->name, (unsigned long long)seq, (unsigned long long)head);
	rt_batch_reset(&j->batch, seq);
	while (seq <= head && !r) {
		if (rt_ring_look(&j->writer->segment, seq, &event) != RT_LOOK_EVENT ||
		    event.txn_index) {
			rt_fault_set(fault,
				     "feed '%s': its log ends at seq %llu, in the "
				     "middle of a "
				     "transaction of its ring, or the ring is damaged "
				     "there; "
				     "move the log's folder away to begin a new one",
				     j->config->name, (unsigned long long)seq - 1);
			return RT_E_CORRUPT;
		}
		r = take_over(j, &event, visit, arg);
		seq += event.txn_size;
		if (!r && j->batch.len >= RT_BATCH_FULL)
			r = append_taken(j, seq, fault);
	}
	return r < 0 ? r : append_taken(j, seq, fault);
}

/* The ring at the end of the log. */
static int catch_up(struct rt_journal *j, const char *dir, const char *log_path,
		    struct rt_fault *fault)
{
	int r = refill(j, log_path, fault);

	if (r != RT_E_TOO_BIG)
		return r;
	rt_log(RT_LOG_WARNING,
	       "feed '%s': what ends at seq %llu is too big for its ring, which begins "
	       "behind it now",
	       j->config->name, (unsigned long long)j->too_big_for_ring);
	rt_writer_drop(j->writer);
	j->writer = NULL;
	return open_ring(j, dir, log_path, RT_WRITER_NEW_EPOCH, fault);
}

static uint64_t patience_with(const void *dir_fd)
{
	return rt_lock_patience(*(const int *)dir_fd);
}

/*
 * A log in memory is beside the ring, where a link may be from a time when it was
 * elsewhere: that log is another.  Not the link of a writer that is still there.
 */
static int leave_link(const struct rt_journal *j, const char *dir, const char *log_path,
		      struct rt_fault *fault)
{
	const char *name = j->config->name;
	char path[PATH_MAX];
	struct stat st;
	int r;

	if (j->config->durability != RT_LOG_MEMORY || lstat(log_path, &st) < 0 ||
	    !S_ISLNK(st.st_mode))
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);

	AUTO_CLOSE int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int lock_fd =
		openat(dir_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	r = lock_fd < 0 ? 0 : rt_lock_take(lock_fd, patience_with, &dir_fd);
	if (r == RT_E_BUSY) {
		rt_fault_set(fault,
			     "feed '%s' has a writer already; only one at a time may "
			     "write it",
			     name);
		return r;
	}
	if (r < 0 || unlink(log_path) < 0) {
		r = r < 0 ? r : -errno;
		rt_fault_set(fault, "feed '%s': cannot remove the link %s: %s", name,
			     log_path, strerror(-r));
		return r;
	}
	rt_log(RT_LOG_INFO,
	       "feed '%s': its log is in memory now; leaves the one of before", name);
	return 0;
}

/* Would the ring that the settings ask for hold less than the one that is there? */
static bool is_smaller(const struct rt_journal *j, const struct rt_geometry *there)
{
	const struct rt_ring_config ring = wanted_ring(j);

	return ring.n_slots < there->n_slots ||
	       ring.payload_size < there->payload_size ||
	       ring.max_key < there->max_key ||
	       (ring.max_value && ring.max_value < there->max_value);
}

/* The log has what the ring held: now it may become what the settings ask for. */
static int fit_ring(struct rt_journal *j, struct rt_fault *fault)
{
	const struct rt_ring_config ring = wanted_ring(j);

	return rt_writer_move(j->writer, &ring, fault);
}

/*
 * A ring that takes no event of a key that is held would keep it for ever: a lower
 * max_key has to wait until there is none.
 */
static int check_keys(const struct rt_journal *j, struct rt_fault *fault)
{
	const struct rt_ring_config ring = wanted_ring(j);

	if (j->max_key <= j->config->max_key)
		return 0;
	if (rt_config_check(&ring, NULL) < 0) {
		rt_fault_set(
			fault,
			"feed '%s': its log has a key of %u bytes, and keys have a "
			"quarter of the payload at most: set size or payload so "
			"that it is %u bytes or more",
			j->config->name, j->max_key, j->max_key * RT_TXN_SHARE);
		return -EINVAL;
	}
	rt_log(RT_LOG_WARNING,
	       "feed '%s': its log has a key of %u bytes, so max_key is that and not "
	       "%llu; delete such keys, take a snapshot, and start again",
	       j->config->name, j->max_key, (unsigned long long)j->config->max_key);
	return 0;
}

static int open_both(struct rt_journal *j, const char *dir, const char *log_path,
		     int (*visit)(void *arg, const struct rt_item *item), void *arg,
		     const struct rt_log_base *base, struct rt_fault *fault)
{
	struct end ring_end;
	int r;

	r = leave_link(j, dir, log_path, fault);
	if (r < 0)
		return r;
	peek_ring(dir, j->config->name, &ring_end);
	r = open_log(j, log_path, &ring_end, visit, arg, base, fault);
	if (!r)
		r = check_keys(j, fault);
	if (!r && ring_end.oldest && ring_end.head >= j->log.next &&
	    is_smaller(j, &ring_end.geo))
		j->as_it_is = &ring_end.geo;
	if (!r)
		r = open_ring_of_log(j, dir, log_path, fault);
	if (!r)
		r = rt_writer_head(j->writer) < j->log.next
			    ? catch_up(j, dir, log_path, fault)
			    : follow_ring(j, visit, arg, fault);
	if (!r && j->as_it_is)
		r = fit_ring(j, fault);
	j->as_it_is = NULL;
	if (r < 0)
		return r;
	r = link_log(j, log_path);
	if (r < 0)
		rt_fault_set(fault,
			     "feed '%s': cannot link its log beside its ring: %s",
			     j->config->name, strerror(-r));
	return r;
}

int rt_journal_open(struct rt_journal *j, const char *dir, const char *log_path,
		    const struct rt_feed_config *config,
		    int (*visit)(void *arg, const struct rt_item *item), void *arg,
		    const struct rt_log_base *base, struct rt_fault *fault)
{
	int r;

	*j = (struct rt_journal){
		.config = config,
		.log = RT_LOG_NONE,
		.sync_fd = -1,
		.max_key = (uint32_t)config->max_key,
		.cancel = base->cancel,
	};
	if (log_path) {
		r = open_both(j, dir, log_path, visit, arg, base, fault);
	} else {
		r = open_ring(j, dir, NULL, 0, fault);
		if (!r)
			r = visit_ring(j, visit, arg, fault);
		if (!r)
			unlink_log(j);
	}
	j->cancel = NULL;
	if (r < 0) {
		/* The log is as whole as it was found, and says so to the next. */
		if (j->has_log)
			(void)rt_log_close(&j->log, NULL);
		rt_journal_close(j, false);
		return r;
	}
	rt_writer_set_time(j->writer, 0);
	rt_batch_reset(&j->batch, rt_writer_head(j->writer) + 1);
	rt_journal_show(j);
	return 0;
}

static void close_log(struct rt_journal *j)
{
	bool synced = rt_journal_is_synced(j) && !j->log.failed;
	uint64_t last = j->log.next - 1;
	struct rt_fault fault;

	if (rt_log_close(&j->log, &fault) < 0)
		rt_log(RT_LOG_ERROR, "%s", fault.text);
	else if (synced && j->writer)
		rt_store64(&j->writer->hot->synced_seq, last);
}

void rt_journal_close(struct rt_journal *j, bool closed)
{
	rt_close_fd(&j->sync_fd);
	j->sync_fd = -1;
	rt_syncer_close(j->syncer);
	j->syncer = NULL;
	rt_preparer_close(j->preparer);
	j->preparer = NULL;
	j->is_preparing = false;
	if (closed && j->has_log)
		close_log(j);
	rt_log_drop(&j->log);
	rt_batch_fini(&j->batch);
	for (unsigned i = 0; i < RT_N(j->flights); i++)
		rt_batch_fini(&j->flights[i].batch);
	if (closed)
		rt_writer_close(j->writer);
	else
		rt_writer_drop(j->writer);
	j->writer = NULL;
	j->has_log = false;
}

/*
 * ---- Looking back ----
 */

int rt_journal_begin_of(struct rt_journal *j, uint64_t seq, uint64_t *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	struct rt_batch_cursor cursor;
	const uint8_t *data = NULL; /* set whenever there is a batch */
	struct rt_item item;
	int r = rt_log_reader_open(j->log.what, &j->fault, &reader);

	if (!r)
		r = rt_log_reader_seek(&reader, seq, &j->fault);
	if (!r)
		r = rt_log_reader_next(&reader, seq, &j->fault, &data);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	rt_batch_open(data, &cursor);
	while (rt_batch_next(&cursor, &item) == 1) {
		if (item.seq == seq) {
			*ret = seq - item.txn_index;
			return 0;
		}
	}
	return -ENOENT;
}

int rt_journal_at_time(struct rt_journal *j, uint64_t time_ns, uint64_t *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	struct rt_batch_cursor cursor;
	const uint8_t *data;
	struct rt_item item;
	int r = rt_log_reader_open(j->log.what, &j->fault, &reader);

	if (!r)
		r = rt_log_reader_seek_time(&reader, time_ns, &j->fault);
	while (!r && (r = rt_log_reader_next(&reader, j->log.next - 1, &j->fault,
					     &data)) == 1) {
		rt_batch_open(data, &cursor);
		while (rt_batch_next(&cursor, &item) == 1) {
			if (item.time_ns >= time_ns) {
				*ret = item.seq;
				return 1;
			}
		}
		r = 0;
	}
	return r;
}
