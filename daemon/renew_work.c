/* SPDX-License-Identifier: MIT */
/*
 * How a history begins anew: what takes time, in a thread that has the feed for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>

#include "daemon/log.h"
#include "daemon/renew_parts.h"
#include "store/lock.h"

#define BEAT_EVERY_NS  UINT64_C(500000000)
#define MXFAST_DEFAULT (64 * (int)sizeof(size_t) / 4) /* of mallopt(3) */

static int refuse(struct rt_renewal *r, const char *why)
{
	rt_fault_set(&r->fault, "feed '%s' %s; nothing was changed",
		     r->own.config->name, why);
	return -EINVAL;
}

/* Whoever looks at the feed sees that its writer is at work. */
static int go_on(void *arg)
{
	struct rt_renewal *r = arg;
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);

	if (r->cancel) {
		(void)refuse(r, "is about to be closed, as the daemon ends");
		return -ECANCELED;
	}
	if (r->own.journal.writer && now - r->beaten_ns >= BEAT_EVERY_NS) {
		rt_writer_beat(r->own.journal.writer);
		r->beaten_ns = now;
	}
	return 0;
}

/* What the new log begins with. */
static void set_snapshot(struct rt_renewal *r, uint64_t seq, uint64_t time_ns)
{
	const struct rt_ring_config ring = rt_config_ring(r->own.config);

	r->renew.log_path = r->log_path;
	r->renew.max_key = ring.payload_size / RT_TXN_SHARE;
	r->renew.go_on = go_on;
	r->renew.go_on_arg = r;
	r->renew.snapshot = (struct rt_snapshot_config){
		.name = r->own.config->name,
		.seq = seq,
		.time_ns = time_ns,
		.file_mode = ring.mode,
		.uid = ring.uid,
		.gid = ring.gid,
		.sync = r->own.config->durability != RT_LOG_MEMORY,
	};
}

/* Whoever made snapshots of it, or syncs it, has done so for the last time. */
static void let_go(struct rt_renewal *r)
{
	rt_retention_close(r->feed);
	/* Not closed: it goes on, elsewhere. */
	rt_journal_close(&r->own.journal, false);
	r->own.writer = NULL;
}

/*
 * Small pieces that are freed are gathered and then joined all at once, under a lock
 * for which the loop would have to wait, a third of a second for a million.  So they
 * are not gathered meanwhile.
 */
static void forget(struct rt_feed *feed)
{
	(void)mallopt(M_MXFAST, 0); /* known to be right, as below */
	rt_feed_forget(feed);
	(void)mallopt(M_MXFAST, MXFAST_DEFAULT);
}

/*
 * All of it is read again, from the folder.  To the end, if it is a new history: who
 * asked for it is told what became of it.
 */
static void open_again(struct rt_renewal *r)
{
	forget(&r->own);
	rt_close_fd(&r->lock_fd);
	r->lock_fd = -1; /* its journal takes it */
	r->opened = rt_feed_open(&r->own, r->server->config, r->own.config,
				 r->own.config->start_check,
				 r->kind == RT_RENEW_OPEN ? &r->cancel : NULL);
	r->reopened = r->rebuilt = true;
}

/*
 * ---- Reset -------------------------------------------------------------------
 */

struct lending {
	const struct rt_feed *feed;
	struct rt_delta delta;
	int result;
};

static void lend(void *arg, const struct rt_entry *entry)
{
	struct lending *l = arg;
	struct rt_state state = rt_feed_state(l->feed, entry);

	if (!l->result)
		l->result = rt_delta_lend(&l->delta, &state);
}

/* The table, in order of keys, into the new folder. */
static int prepare_table(struct rt_renewal *r)
{
	struct lending l = { .feed = &r->own };
	struct rt_merge merge;
	uint64_t cursor = 0;
	int result;

	do {
		cursor = rt_table_walk(&r->own.table, cursor, lend, &l);
	} while (cursor && !l.result);
	result = l.result;
	if (!result)
		result = go_on(r);
	if (!result) {
		rt_delta_sort(&l.delta);
		rt_merge_begin(&merge, NULL, &l.delta);
		result = rt_renew_prepare(&r->renew, &merge, &r->fault);
	}
	rt_delta_fini(&l.delta);
	return result;
}

/* The table has it all already. */
static int ignore_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	(void)arg;
	(void)seq;
	(void)n_entries;
	return 0;
}

static int note_state(void *arg, const struct rt_state *state)
{
	struct rt_feed *own = arg;

	rt_journal_holds(&own->journal, state->key_len);
	return 0;
}

static int ignore_event(void *arg, const struct rt_item *item)
{
	(void)arg;
	(void)item;
	return 0;
}

/*
 * The table stays, and so do the connections that hold keys in it.  If that fails, it
 * is opened as at start, now or, as the server plans it, later.
 */
static void reopen(struct rt_renewal *r)
{
	struct rt_feed *own = &r->own;
	const struct rt_log_base base = { ignore_begin, note_state, own };
	struct rt_fault fault = { "out of memory" };

	if (rt_journal_open(&own->journal, r->server->config->dir, r->log_path,
			    own->config, ignore_event, NULL, &base, &fault) < 0) {
		rt_log(RT_LOG_ERROR, "feed '%s' was not opened after its reset: %s",
		       own->config->name, fault.text);
		open_again(r);
		return;
	}
	own->writer = own->journal.writer;
	r->reopened = true;
}

static void reset(struct rt_renewal *r)
{
	set_snapshot(r, rt_feed_seq(&r->own), r->own.writer->last_ns);
	r->result = prepare_table(r);
	if (!r->result)
		r->result = go_on(r); /* not from here on */
	if (r->result < 0)
		return;
	let_go(r);
	r->result = rt_renew_swap(&r->renew, &r->fault);
	reopen(r); /* the old one, if that has failed */
}

/*
 * ---- Restore -----------------------------------------------------------------
 */

/* Nobody else may be at a log that we have not open. */
static int lock_log(struct rt_renewal *r)
{
	AUTO_CLOSE int dir_fd = open(r->log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (dir_fd < 0)
		return errno == ENOENT ? 0
				       : refuse(r, "has a log that cannot be opened");
	fd = rt_log_lock(dir_fd, true, 0);
	if (fd < 0)
		return refuse(r, fd == RT_E_BUSY
					 ? "has a log that another process writes"
					 : "has a log that cannot be locked");
	r->lock_fd = fd;
	return 0;
}

/* The seq after which the new history begins: no less than any there ever was. */
static int find_seq(struct rt_renewal *r, uint64_t *ret)
{
	AUTO(rt_segment_drop) struct rt_segment segment = RT_SEGMENT_NONE;
	char path[PATH_MAX];
	uint64_t oldest, head;
	int result;

	if (r->own.journal.writer) {
		*ret = rt_feed_seq(&r->own);
		return 0;
	}
	result = lock_log(r);
	if (result < 0)
		return result;
	result = rt_renew_head(r->log_path, ret);
	if (result < 0)
		return refuse(r, "has a log that cannot be read");
	(void)snprintf(path, sizeof(path), "%s/%s/ring", r->server->config->dir,
		       r->own.config->name);

	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || rt_segment_map(fd, false, path, NULL, &segment) < 0)
		return 0;
	rt_ring_bounds(&segment, &oldest, &head);
	*ret = rt_max(*ret, head);
	return 0;
}

static int prepare_file(struct rt_renewal *r)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	struct rt_merge merge;
	uint64_t seq = 0;
	int result = rt_snapshot_verify_while(AT_FDCWD, r->path, r->path, go_on, r,
					      &r->fault, NULL);

	if (!result)
		result = rt_snapshot_open(AT_FDCWD, r->path, r->path, &r->fault,
					  &snapshot);
	if (!result)
		result = find_seq(r, &seq);
	if (result < 0)
		return result;
	set_snapshot(r, rt_max(seq, snapshot.header.seq),
		     rt_max(snapshot.header.time_ns, r->time_ns));
	r->renew.drop_bound = true;
	rt_merge_begin(&merge, &snapshot, NULL);
	return rt_renew_prepare(&r->renew, &merge, &r->fault);
}

static void restore(struct rt_renewal *r)
{
	bool was_open = r->own.journal.writer;

	r->result = prepare_file(r);
	if (!r->result)
		r->result = go_on(r); /* not from here on */
	if (r->result < 0)
		return;
	if (was_open)
		let_go(r);
	r->result = rt_renew_swap(&r->renew, &r->fault);
	if (!r->result || was_open)
		open_again(r); /* the old one, if that has failed */
}

/*
 * ---- The thread --------------------------------------------------------------
 */

static _Thread_local struct rt_renewal *at_work;

struct rt_writer *rt_renewal_writer(void)
{
	return at_work ? at_work->own.journal.writer : NULL;
}

void rt_renewal_work(struct rt_renewal *r)
{
	at_work = r;
	rt_fault_set(&r->fault, "out of memory");
	switch (r->kind) {
	case RT_RENEW_RESET:
		reset(r);
		break;
	case RT_RENEW_RESTORE:
		restore(r);
		break;
	case RT_RENEW_OPEN:
		open_again(r);
		break;
	}
	rt_close_fd(&r->lock_fd);
	r->lock_fd = -1;
	if (r->renew.log_path)
		rt_renew_clean(r->log_path);
}
