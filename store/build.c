/* SPDX-License-Identifier: MIT */
/*
 * A snapshot from the newest one that can be used and the log behind it.
 */
#include "store/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "store/log.h"
#include "store/log_read.h"

#define LIST_MAX     64 /* of snapshots that are looked at */
#define AGAIN_MAX    8  /* files can go while they are looked for */
#define CANCEL_EVERY 1024

/*
 * ---- Which there are ----
 */

/* 1; 0 it is not of this history, or gone; negative: it cannot be used. */
static int try_one(int dir_fd, const char *what, uint64_t seq, uint64_t epoch,
		   struct rt_fault *fault, struct rt_snapshot *ret)
{
	AUTO(rt_snapshot_close) struct rt_snapshot s = RT_SNAPSHOT_NONE;
	AUTO_FREE char *shown = NULL;
	char name[32];
	int r;

	rt_snapshot_name(seq, name);
	if (asprintf(&shown, "%s/%s", what, name) < 0) {
		shown = NULL;
		return -ENOMEM;
	}
	r = rt_snapshot_open(dir_fd, name, shown, fault, &s);
	if (r == -ENOENT)
		return 0;
	if (!r && s.header.seq != seq) {
		rt_fault_set(fault,
			     "%s: damaged at byte %zu: it is as of seq %" PRIu64
			     ", its name says %" PRIu64,
			     shown, offsetof(struct rt_snap_header, seq), s.header.seq,
			     seq);
		r = RT_E_CORRUPT;
	}
	if (r < 0)
		return r;
	r = rt_log_same_history(dir_fd, s.header.epoch, seq, epoch);
	if (r < 0) {
		rt_fault_set(fault, "%s/epochs: damaged or unreadable", what);
		return r == RT_E_EPOCH ? 0 : r;
	}
	*ret = s;
	s = RT_SNAPSHOT_NONE;
	return 1;
}

int rt_snapshot_newest(int dir_fd, const char *what, uint64_t epoch, uint64_t limit,
		       struct rt_fault *fault, struct rt_snapshot *ret)
{
	uint64_t seqs[LIST_MAX];
	struct rt_fault text;
	size_t n;
	int worst = 0;
	int r = rt_snapshots_list(dir_fd, seqs, LIST_MAX, &n);

	if (r < 0) {
		rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		if (seqs[i] > limit)
			continue;
		r = try_one(dir_fd, what, seqs[i], epoch, worst ? &text : fault, ret);
		if (r > 0)
			return r;
		if (r < 0 && !worst)
			worst = r;
	}
	return worst;
}

/* The name of a snapshot that was being made. */
static bool is_unfinished(const char *name)
{
	const char *rest;
	uint64_t seq;

	return rt_snapshot_parse(name, &seq, &rest) && strcmp(rest, ".new") == 0;
}

static void remove_unfinished(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		rt_close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (is_unfinished(entry->d_name))
			(void)unlinkat(dir_fd, entry->d_name, 0); /* else next time */
	}
	(void)closedir(dir);
}

int rt_snapshots_prune(int dir_fd)
{
	uint64_t seqs[LIST_MAX];
	size_t n;
	char name[32];
	int gone = 0;
	int r = rt_snapshots_list(dir_fd, seqs, LIST_MAX, &n);

	if (r < 0)
		return r;
	for (size_t i = RT_SNAPSHOTS_KEPT; i < n; i++) {
		rt_snapshot_name(seqs[i], name);
		if (unlinkat(dir_fd, name, 0) == 0)
			gone++;
		else if (errno != ENOENT)
			r = -errno;
	}
	remove_unfinished(dir_fd);
	return r < 0 ? r : gone;
}

/*
 * ---- Building ----
 */

struct builder {
	const struct rt_build *build;
	struct rt_fault *fault;
	struct rt_log_reader log;
	struct rt_snapshot old; /* what the next step begins with */
	bool has_old;
	bool bad_old;         /* it is damaged, and that showed only now */
	struct rt_delta base; /* what a copy lends, in place of an old one */
	struct rt_delta delta;
	uint64_t seq; /* up to here everything is in `old` and `delta` */
	uint64_t time_ns;
	struct rt_built built;
};

static void end_builder(struct builder *b)
{
	rt_log_reader_close(&b->log);
	rt_snapshot_close(&b->old);
	rt_delta_fini(&b->base);
	rt_delta_fini(&b->delta);
}

static int canceled(const struct builder *b)
{
	const struct rt_build *build = b->build;

	if (!rt_is_canceled(build->cancel))
		return 0;
	rt_fault_set(b->fault, "feed '%s': the snapshot was canceled", build->name);
	return -ECANCELED;
}

static int no_snapshot(const struct builder *b, uint64_t oldest)
{
	rt_fault_set(b->fault,
		     "feed '%s': there is no snapshot in %s that its log goes on from: "
		     "the state is known up to seq %" PRIu64
		     ", the oldest event kept is seq %" PRIu64,
		     b->build->name, b->build->log_path, b->seq, oldest);
	return RT_E_NO_SNAPSHOT;
}

/* The snapshot to begin with, at or below @limit; without one, the log from 1 on. */
static int find_old(struct builder *b, uint64_t limit)
{
	uint64_t oldest = 0;
	int r = rt_snapshot_newest(b->log.dir_fd, b->build->log_path, b->build->epoch,
				   limit, b->fault, &b->old);
	int e = rt_log_reader_oldest(&b->log, &oldest);

	if (e < 0)
		return e;
	b->has_old = r == 1;
	b->seq = r == 1 ? b->old.header.seq : 0;
	b->time_ns = r == 1 ? b->old.header.time_ns : 0;
	if (b->seq == b->build->limit || (oldest && oldest <= b->seq + 1))
		return 0;
	return r < 0 ? r : no_snapshot(b, oldest);
}

/* The log goes on behind the events that the copy may have. */
static int begin_with_copy(struct builder *b)
{
	const struct rt_copy *copy = b->build->copy;

	b->seq = copy->seq;
	b->time_ns = copy->time_ns;
	return rt_copy_lend(copy, &b->base);
}

static int add_items(struct builder *b, const struct rt_item *items, size_t n)
{
	if (!n)
		return 0;
	b->seq = items[n - 1].seq;
	b->time_ns = items[n - 1].time_ns;
	b->built.n_events += n;
	return rt_delta_add(&b->delta, items, n);
}

/* Adds what the batch has up to the limit.  Ends of transactions are ends of batches.
 */
static int add_batch(struct builder *b, const uint8_t *data)
{
	struct rt_item items[RT_DELTA_GROUP];
	struct rt_batch_cursor cursor;
	size_t n = 0;
	int r;

	rt_batch_open(data, &cursor);
	while ((r = rt_batch_next(&cursor, &items[n])) == 1) {
		if (items[n].seq <= b->seq)
			continue;
		if (items[n].seq > b->build->limit)
			return add_items(b, items, n);
		if (++n < RT_N(items))
			continue;
		r = add_items(b, items, n);
		if (r < 0)
			return r;
		n = 0;
	}
	if (!r && cursor.seq == b->log.next)
		return add_items(b, items, n);
	rt_fault_set(b->fault,
		     "%s: a batch before seq %" PRIu64
		     " with a valid checksum makes no sense",
		     b->log.what, b->log.next);
	return RT_E_CORRUPT;
}

/* What is committed is in the log; else this would go on without end. */
static int no_progress(const struct builder *b)
{
	rt_fault_set(b->fault,
		     "%s: damaged: there is nothing behind seq %" PRIu64
		     ", expected everything up to %" PRIu64,
		     b->log.what, b->seq, b->build->limit);
	return RT_E_CORRUPT;
}

/* Is there no room for more?  Not if most of it is what was changed again since. */
static int is_full(struct builder *b)
{
	const size_t before = b->delta.n_bytes, budget = b->build->budget;
	int r;

	if (!budget || before < budget)
		return 0;
	r = rt_delta_shrink(&b->delta);
	if (r < 0)
		return r;
	if (b->delta.n_bytes != before)
		b->built.peak_bytes =
			rt_max(b->built.peak_bytes, before + b->delta.n_bytes);
	return b->delta.n_bytes > budget / 2;
}

/* A part of the log, as much as the budget allows.  1 there is more; 0 it was all. */
static int gather(struct builder *b)
{
	const struct rt_build *build = b->build;
	const uint8_t *data;
	int r = 0;

	if (b->seq < build->limit)
		r = rt_log_reader_seek(&b->log, b->seq + 1, b->fault);
	while (!r && b->seq < build->limit) {
		uint64_t before = b->seq;

		r = canceled(b);
		if (!r)
			r = rt_log_reader_next(&b->log, build->limit, b->fault, &data);
		if (r < 0)
			break;
		r = r ? add_batch(b, data) : 0;
		if (!r && b->seq == before)
			r = no_progress(b);
		if (!r)
			r = is_full(b);
	}
	return r < 0 ? r : b->seq < build->limit;
}

/*
 * Syncs what the log has of events @from to @to, before a snapshot is made of them: a
 * power cut that leaves the snapshot must not leave it ahead of its log.
 */
static int sync_log(int dir_fd, const struct rt_build *build, uint64_t from,
		    uint64_t to, struct rt_fault *fault)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	struct rt_log_header header;
	int r;

	if (!build->sync || build->out_file || to < from)
		return 0; /* elsewhere it is no part of the log */
	r = rt_segments_list(dir_fd, &segments);
	for (size_t i = 0; !r && i < segments.n; i++) {
		int fd = -1;

		if (segments.first_seqs[i] > to ||
		    (i + 1 < segments.n && segments.first_seqs[i + 1] <= from))
			continue;
		r = rt_segment_open(dir_fd, segments.first_seqs[i], build->log_path,
				    fault, &header, &fd);
		if (r == -ENOENT) {
			r = 0; /* removed: so it was not needed any more */
			continue;
		}
		if (!r && (r = rt_file_sync(build->io, fd)) < 0) {
			rt_fault_set(fault, "%s: cannot sync: %s", build->log_path,
				     strerror(-r));
		}
		rt_close_fd(&fd);
	}
	return r;
}

static size_t memory_of(const struct builder *b,
			const struct rt_snapshot_writer *writer)
{
	size_t old = b->has_old ? b->old.footer.index_size + b->old.window_cap +
					  b->old.footer.n_blocks * sizeof(void *)
				: 0;
	size_t copy = b->build->copy ? b->build->copy->n_bytes : 0;

	return b->delta.n_bytes + b->base.n_bytes + copy + b->log.window_cap + old +
	       writer->block_cap + writer->index_cap;
}

/* 1; negative.  What changed is in order; so what is not comes from the old one. */
static int put_merged(struct builder *b, struct rt_snapshot_writer *writer,
		      const struct rt_state *state)
{
	int r = rt_snapshot_put(writer, state, b->fault);

	if (r == -EINVAL && b->has_old) {
		rt_fault_set(b->fault, "%s: damaged: its keys are out of order",
			     b->old.what);
		b->bad_old = true;
		return RT_E_CORRUPT;
	}
	return r < 0 ? r : 1;
}

static int write_merged(struct builder *b, struct rt_snapshot_writer *writer)
{
	struct rt_merge merge;
	struct rt_state state;
	int r = 1;

	if (b->build->copy)
		rt_merge_begin_on(&merge, &b->base, &b->delta);
	else
		rt_merge_begin(&merge, b->has_old ? &b->old : NULL, &b->delta);
	for (uint64_t n = 0; r == 1; n++) {
		r = n % CANCEL_EVERY ? 0 : canceled(b);
		if (!r)
			r = rt_merge_next(&merge, b->fault, &state);
		b->bad_old = r == RT_E_CORRUPT;
		if (r == 1)
			r = put_merged(b, writer, &state);
	}
	b->built.peak_bytes = rt_max(b->built.peak_bytes, memory_of(b, writer));
	return r;
}

static int write_file(struct builder *b, const char *file, bool last)
{
	const struct rt_build *build = b->build;
	struct rt_snapshot_config config = {
		.name = build->name,
		.epoch = build->epoch,
		.seq = b->seq,
		.time_ns = b->time_ns,
		.file_mode = build->file_mode,
		.uid = build->uid,
		.gid = build->gid,
		.sync = build->sync,
		/* What a step leaves beside a backup is in nobody's way either. */
		.keep = build->keep && (last || build->out_file),
		.io = build->io,
	};
	AUTO(rt_snapshot_discard) struct rt_snapshot_writer writer;
	uint64_t synced = b->has_old ? b->old.header.seq : build->synced;
	int r = rt_snapshot_create(build->out_dir_fd, file, &config, b->fault, &writer);

	if (!r)
		r = write_merged(b, &writer);
	if (!r)
		r = sync_log(b->log.dir_fd, build, synced + 1, b->seq, b->fault);
	if (!r)
		r = rt_snapshot_finish(&writer, b->fault);
	b->built.n_steps++;
	b->built.n_entries = writer.n_entries;
	b->built.n_bytes = writer.n_bytes;
	b->built.file_size = rt_snapshot_size(&writer);
	return r;
}

/* What was written is what the next step begins with. */
static int take_over(struct builder *b, const char *file)
{
	const struct rt_build *build = b->build;
	char what[512];
	int r;

	rt_delta_fini(&b->delta);
	rt_snapshot_close(&b->old);
	b->has_old = false;
	(void)snprintf(what, sizeof(what), "%s", file);
	r = rt_snapshot_open(build->out_dir_fd, file, what, b->fault, &b->old);
	b->has_old = !r;
	if (build->out_file)
		(void)unlinkat(build->out_dir_fd, file, 0); /* it stays open */
	else if (!r)
		(void)rt_snapshots_prune(build->out_dir_fd); /* else at the end */
	return r;
}

/* One file: of what has been gathered so far. */
static int write_step(struct builder *b, bool last)
{
	const struct rt_build *build = b->build;
	char name[256];
	int r;

	if (!build->out_file)
		rt_snapshot_name(b->seq, name);
	else if (snprintf(name, sizeof(name), "%s%s", build->out_file,
			  last ? "" : ".part") >= (int)sizeof(name))
		return -ENAMETOOLONG;
	rt_delta_sort(&b->base);
	rt_delta_sort(&b->delta);
	r = write_file(b, name, last);
	return r < 0 || last ? r : take_over(b, name);
}

static int build_all(struct builder *b, uint64_t limit)
{
	int more = 1;
	int r = rt_log_reader_open(b->build->log_path, b->fault, &b->log);

	if (!r)
		r = b->build->copy ? begin_with_copy(b) : find_old(b, limit);
	if (r < 0)
		return r;
	if (b->has_old && b->seq == b->build->limit && !b->build->out_file) {
		b->built.n_entries = b->old.footer.n_entries;
		b->built.n_bytes = b->old.footer.n_bytes;
		b->built.file_size = b->old.file_size;
		return 0; /* there is one already */
	}
	while (more) {
		more = gather(b);
		if (more < 0)
			return more;
		r = write_step(b, !more);
		if (r < 0)
			return r;
	}
	return 0;
}

int rt_snapshot_build(const struct rt_build *build, struct rt_fault *fault,
		      struct rt_built *ret)
{
	uint64_t limit = build->limit;
	uint32_t again = 0;

	for (;;) {
		AUTO(end_builder)
		struct builder b = {
			.build = build,
			.fault = fault,
			.log = { .dir_fd = -1, .fd = -1 },
			.old = RT_SNAPSHOT_NONE,
		};
		int r = build_all(&b, limit);

		if (!r) {
			b.built.seq = b.seq;
			*ret = b.built;
			return 0;
		}
		/* Damage that showed only when it was read: an older one may do. */
		if (b.bad_old && b.old.header.seq)
			limit = b.old.header.seq - 1;
		else if (r != RT_E_COMPACTED)
			return r;
		/* The log was cut meanwhile: then there is a newer snapshot. */
		if (again++ == AGAIN_MAX)
			return r;
	}
}
