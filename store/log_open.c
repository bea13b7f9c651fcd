/* SPDX-License-Identifier: MIT */
/*
 * From what is in the folder to a log that can be appended to: walk everything, cut
 * what was never finished, refuse what is damaged.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "store/log.h"
#include "store/log_read.h"
#include "store/state.h"

#define SCAN_SIZE (UINT64_C(1) << 20)

struct walk {
	struct rt_log_reader reader;
	struct rt_segments segments;
	int (*visit)(void *arg, const struct rt_item *item);
	void *arg;
	enum rt_stop stop;
	uint64_t n_events;
	uint64_t n_bytes;
	uint64_t last_ns;
	uint64_t synced;
};

static int damaged(const struct walk *walk, struct rt_fault *fault, const char *what)
{
	char name[32];

	rt_segment_name(walk->reader.header.first_seq, ".log", name);
	rt_fault_set(
		fault,
		"%s/%s: damaged at byte %" PRIu64 ": %s, expected a batch that begins "
		"with seq %" PRIu64 "; restore the file, or drop what follows with "
		"'ringtail repair --drop-after %" PRIu64 "'",
		walk->reader.what, name, walk->reader.offset, what, walk->reader.next,
		walk->reader.next - 1);
	return RT_E_CORRUPT;
}

static int walk_batch(struct walk *walk, const uint8_t *data, struct rt_fault *fault)
{
	struct rt_log_batch header;
	struct rt_batch_cursor cursor;
	struct rt_item item;
	int r;

	memcpy(&header, data, sizeof(header));
	rt_batch_open(data, &cursor);
	while ((r = rt_batch_next(&cursor, &item)) == 1) {
		if (walk->visit) {
			int e = walk->visit(walk->arg, &item);

			if (e < 0)
				return e;
		}
		walk->last_ns = item.time_ns;
	}
	if (r < 0 || cursor.seq != header.first_seq + header.n_events) {
		walk->reader.offset -= header.size;
		walk->reader.next = header.first_seq;
		return damaged(walk, fault,
			       "a batch with a valid checksum makes no sense");
	}
	walk->n_events += header.n_events;
	walk->synced = rt_max(walk->synced, header.synced_seq);
	return 0;
}

/*
 * Is there a valid batch behind the end?  Returns 1 and the seq up to which its writer
 * had synced; 0; negative errno.
 */
static int find_later(struct walk *walk, uint64_t *ret_synced)
{
	const struct rt_log_reader *reader = &walk->reader;
	AUTO_FREE uint8_t *rest = NULL;
	struct rt_log_batch header;
	struct stat st;
	uint64_t len;
	ssize_t n;

	if (fstat(reader->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size <= reader->offset)
		return 0;
	len = (uint64_t)st.st_size - reader->offset;
	rest = malloc(len);
	if (!rest)
		return -ENOMEM;
	n = pread(reader->fd, rest, len, (off_t)reader->offset);
	if (n < 0)
		return -errno;
	for (uint64_t at = RT_WORD; at + sizeof(header) <= (uint64_t)n; at += RT_WORD) {
		memcpy(&header.magic, rest + at, sizeof(header.magic));
		if (header.magic != RT_LOG_BATCH_MAGIC)
			continue;
		memcpy(&header, rest + at, sizeof(header));
		if (header.first_seq < reader->next ||
		    !rt_batch_valid(rest + at, (size_t)n - at, reader->header.salt,
				    header.first_seq))
			continue;
		*ret_synced = header.synced_seq;
		return 1;
	}
	return 0;
}

/*
 * The last segment ends where no valid batch is.  That is how a write looks that
 * never finished; but not if something valid follows, unless the machine went down
 * and what is invalid had not been synced.
 */
static int check_tail(struct walk *walk, struct rt_fault *fault)
{
	uint64_t synced = 0;
	int r = find_later(walk, &synced);

	if (r < 0)
		return r;
	if (r && (walk->stop != RT_STOP_BOOT || synced >= walk->reader.next))
		return damaged(walk, fault, "no valid batch, though one follows later");
	return 0;
}

static int walk_segment(struct walk *walk, size_t at, struct rt_fault *fault)
{
	struct rt_log_reader *reader = &walk->reader;
	uint64_t expected = reader->next;
	const uint8_t *data;
	int r = rt_log_reader_enter(reader, walk->segments.first_seqs[at], fault);

	if (r < 0)
		return r;
	if (at && reader->next != expected) {
		rt_fault_set(
			fault,
			"%s: a hole: seq %" PRIu64 " to %" PRIu64
			" are in no segment; restore the file, or drop what follows "
			"with 'ringtail repair --drop-after %" PRIu64 "'",
			reader->what, expected, reader->next - 1, expected - 1);
		return RT_E_CORRUPT;
	}
	while ((r = rt_log_reader_step(reader, &data)) == 1) {
		r = walk_batch(walk, data, fault);
		if (r < 0)
			return r;
	}
	if (r < 0) {
		rt_fault_set(fault, "%s: cannot read: %s", reader->what, strerror(-r));
		return r;
	}
	walk->n_bytes += reader->offset;
	if (at + 1 < walk->segments.n)
		return reader->next == walk->segments.first_seqs[at + 1]
			       ? 0
			       : damaged(walk, fault, "no valid batch");
	return check_tail(walk, fault);
}

/* A segment whose making was cut short by the machine: no header at all. */
static bool is_stillborn(const struct walk *walk, uint64_t first_seq)
{
	uint8_t page[sizeof(struct rt_log_header)] = { 0 }, zeros[sizeof(page)] = { 0 };
	char name[32];

	rt_segment_name(first_seq, ".log", name);

	AUTO_CLOSE int fd =
		openat(walk->reader.dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && pread(fd, page, sizeof(page), 0) >= 0 &&
	       memcmp(page, zeros, sizeof(page)) == 0;
}

static void end_walk(struct walk *walk)
{
	rt_log_reader_close(&walk->reader);
	rt_segments_fini(&walk->segments);
}

static int walk_all(struct walk *walk, const char *path, struct rt_fault *fault)
{
	int r = rt_log_reader_open(path, fault, &walk->reader);

	if (r < 0)
		return r;
	r = rt_state_read(walk->reader.dir_fd, &walk->stop);
	if (r < 0) {
		rt_fault_set(fault, "%s/state: cannot be read", path);
		return r;
	}
	r = rt_segments_list(walk->reader.dir_fd, &walk->segments);
	if (r < 0)
		return r;
	if (walk->segments.n > 1 && walk->stop == RT_STOP_BOOT &&
	    is_stillborn(walk, walk->segments.first_seqs[walk->segments.n - 1]))
		walk->segments.n--;
	for (size_t i = 0; i < walk->segments.n; i++) {
		r = walk_segment(walk, i, fault);
		if (r < 0)
			return r;
	}
	return 0;
}

int rt_log_verify(const char *path, struct rt_fault *fault,
		  struct rt_log_report *report)
{
	AUTO(end_walk) struct walk walk = { .reader = { .dir_fd = -1, .fd = -1 } };
	int r = walk_all(&walk, path, fault);

	if (r < 0)
		return r;
	*report = (struct rt_log_report){ .n_events = walk.n_events };
	return 0;
}

/*
 * ---- Open ----
 */

static int make_folder(const char *path, const struct rt_log_config *config,
		       struct rt_fault *fault)
{
	char parent[PATH_MAX];
	char *slash;
	int r;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = 0;
		if (mkdir(parent, 0755) < 0 && errno != EEXIST) {
			r = -errno;
			rt_fault_set(fault,
				     "feed '%s': cannot make the folder %.300s: %s",
				     config->name, parent, strerror(-r));
			return r;
		}
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		r = -errno;
		rt_fault_set(fault, "feed '%s': cannot make the folder %s: %s",
			     config->name, path, strerror(-r));
		return r;
	}
	return 0;
}

/* Bytes behind the last batch become zeros again, which is what they are read as. */
static int cut_tail(struct rt_log *log, uint64_t *ret_cut, struct rt_fault *fault)
{
	uint8_t page[4096];
	struct stat st;
	uint64_t dirty = 0;

	if (fstat(log->fd, &st) < 0)
		return -errno;
	for (uint64_t at = log->offset; at < (uint64_t)st.st_size;) {
		ssize_t n = pread(log->fd, page, sizeof(page), (off_t)at);

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			if (page[i])
				dirty = at + (uint64_t)i + 1 - log->offset;
		}
		at += (uint64_t)n;
	}
	*ret_cut = dirty;
	if (!dirty)
		return 0;
	if (ftruncate(log->fd, (off_t)log->offset) < 0) {
		rt_fault_set(fault, "%s: cannot cut an unfinished write: %s", log->what,
			     strerror(errno));
		return -errno;
	}
	return 0;
}

static int adopt_last(struct rt_log *log, const struct walk *walk,
		      struct rt_fault *fault, struct rt_log_report *report)
{
	struct stat st;
	char name[32];
	int r;

	log->segment_first = walk->reader.header.first_seq;
	log->salt = walk->reader.header.salt;
	log->offset = walk->reader.offset;
	rt_segment_name(log->segment_first, ".log", name);
	log->fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (log->fd < 0) {
		r = -errno;
		rt_fault_set(fault, "%s/%s: %s", log->what, name, strerror(-r));
		return r;
	}
	r = cut_tail(log, &report->cut_bytes, fault);
	if (r < 0)
		return r;
	if (fstat(log->fd, &st) < 0)
		return -errno;
	/* What was given back when it was finished or cut stays so: it is full then. */
	log->segment_end = (uint64_t)st.st_size;
	log->indexed_at = log->offset;
	rt_segment_name(log->segment_first, ".idx", name);
	log->idx_fd =
		openat(log->dir_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	return 0;
}

static int adopt(struct rt_log *log, const struct walk *walk, struct rt_fault *fault,
		 struct rt_log_report *report)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(log->dir_fd, &epochs, &n);

	if (r < 0) {
		rt_fault_set(fault, "%s/epochs: damaged or unreadable", log->what);
		return r;
	}
	report->n_events = walk->n_events;
	report->created = !walk->segments.n;
	if (!walk->segments.n) {
		log->next = rt_max(log->config.first_seq, 1);
		log->synced = log->next - 1;
		return rt_log_new_epoch(
			log, log->config.epoch ? log->config.epoch : rt_random64(),
			fault);
	}
	log->next = walk->reader.next;
	log->oldest = walk->segments.first_seqs[0];
	log->n_bytes = walk->n_bytes;
	log->last_ns = walk->last_ns;
	r = adopt_last(log, walk, fault, report);
	if (r < 0)
		return r;
	if (log->config.mode != RT_LOG_MEMORY && fdatasync(log->fd) < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: cannot sync: %s", log->what, strerror(-r));
		return r;
	}
	log->synced = log->next - 1;
	report->new_epoch =
		walk->stop == RT_STOP_CUT ||
		(walk->stop == RT_STOP_BOOT && log->config.mode == RT_LOG_OS) || !n;
	if (report->new_epoch)
		return rt_log_new_epoch(log, rt_random64(), fault);
	log->epoch = epochs[n - 1].epoch;
	log->epoch_first = epochs[n - 1].first_seq;
	return 0;
}

int rt_log_open(const char *path, const struct rt_log_config *config,
		int (*visit)(void *arg, const struct rt_item *item), void *arg,
		struct rt_fault *fault, struct rt_log_report *report,
		struct rt_log *ret)
{
	AUTO(end_walk)
	struct walk walk = {
		.reader = { .dir_fd = -1, .fd = -1 },
		.visit = visit,
		.arg = arg,
	};
	AUTO(rt_log_drop) struct rt_log log = { .fd = -1, .idx_fd = -1, .dir_fd = -1 };
	int r = make_folder(path, config, fault);

	if (r < 0)
		return r;
	r = walk_all(&walk, path, fault);
	if (r < 0)
		return r;
	log.config = *config;
	(void)snprintf(log.name, sizeof(log.name), "%s", config->name);
	log.config.name = NULL; /* of the caller; ours is log.name */
	log.what = strdup(path);
	log.dir_fd = fcntl(walk.reader.dir_fd, F_DUPFD_CLOEXEC, 3);
	if (!log.what || log.dir_fd < 0)
		return log.what ? -errno : -ENOMEM;
	*report = (struct rt_log_report){ 0 };
	r = adopt(&log, &walk, fault, report);
	if (!r)
		r = rt_state_write(log.dir_fd, "open");
	if (r < 0)
		return r;
	*ret = log;
	log = (struct rt_log){ .fd = -1, .idx_fd = -1, .dir_fd = -1 };
	return 0;
}

/*
 * ---- Repair ----
 */

/* The offset behind @seq in the segment the walk is in; -EINVAL if it is in a batch. */
static int find_end(struct rt_log_reader *reader, uint64_t seq, struct rt_fault *fault)
{
	const uint8_t *data;
	int r = rt_log_reader_seek(reader, seq, fault);

	if (r < 0)
		return r;
	r = rt_log_reader_step(reader, &data);
	if (r <= 0 || reader->next != seq + 1) {
		rt_fault_set(fault,
			     "%s: seq %" PRIu64
			     " is not the last of what was written at "
			     "once; the next that is: %" PRIu64,
			     reader->what, seq, reader->next - 1);
		return -EINVAL;
	}
	return 0;
}

int rt_log_repair(const char *path, uint64_t seq, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	char name[32];
	int r = rt_log_reader_open(path, fault, &reader);

	if (!r)
		r = rt_segments_list(reader.dir_fd, &segments);
	if (!r)
		r = find_end(&reader, seq, fault);
	if (r < 0)
		return r;
	/* First the mark: whoever opens a log that is half cut begins a new epoch. */
	r = rt_state_write(reader.dir_fd, "cut");
	if (r < 0)
		return r;
	for (size_t i = segments.n; i-- && segments.first_seqs[i] > seq;) {
		rt_segment_name(segments.first_seqs[i], ".log", name);
		if (unlinkat(reader.dir_fd, name, 0) < 0)
			return -errno;
		rt_segment_name(segments.first_seqs[i], ".idx", name);
		(void)unlinkat(reader.dir_fd, name, 0);
	}
	rt_segment_name(reader.header.first_seq, ".log", name);

	AUTO_CLOSE int fd =
		openat(reader.dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || ftruncate(fd, (off_t)reader.offset) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}
