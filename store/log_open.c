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
#include "store/lock.h"
#include "store/log.h"
#include "store/log_read.h"
#include "store/state.h"

#define SCAN_SIZE    (UINT64_C(1) << 20)
#define VERIFY_AGAIN 8

struct walk {
	struct rt_log_reader reader;
	struct rt_segments segments;
	int (*visit)(void *arg, const struct rt_item *item);
	void *arg;
	enum rt_stop stop;
	uint64_t n_events;
	uint64_t n_bytes;
	uint64_t last_ns;
	uint64_t tail;      /* bytes of what is behind the last batch */
	uint64_t looked_at; /* offset at which it was found to be damaged */
	uint64_t stillborn; /* first seq of a last segment that is none; 0: no such */
	char name[RT_NAME_MAX + 8]; /* of the feed; empty: not known yet */
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
	return 0;
}

static ssize_t read_at(int fd, uint8_t *to, size_t len, uint64_t at)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(fd, to + have, len - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Bytes from @from up to the last one in the file that is not zero. */
static int measure_tail(int fd, uint64_t from, uint64_t *ret)
{
	AUTO_FREE uint8_t *chunk = malloc(SCAN_SIZE);
	uint64_t at = from;
	ssize_t n;

	if (!chunk)
		return -ENOMEM;
	*ret = 0;
	while ((n = read_at(fd, chunk, SCAN_SIZE, at)) > 0) {
		ssize_t last = n;

		while (last && !chunk[last - 1])
			last--;
		if (last)
			*ret = at + (uint64_t)last - from;
		at += (uint64_t)n;
	}
	return (int)n;
}

/* Is the batch that has @header at @at whole and valid?  1, 0, negative errno. */
static int is_batch_at(const struct walk *walk, const struct rt_log_batch *header,
		       uint64_t at, uint64_t end)
{
	const struct rt_log_reader *reader = &walk->reader;
	AUTO_FREE uint8_t *data = NULL;
	ssize_t n;

	if (header->magic != RT_LOG_BATCH_MAGIC || header->first_seq < reader->next ||
	    !rt_batch_header_valid(header, header->first_seq) || at > end ||
	    header->size > end - at)
		return 0;
	data = malloc(header->size);
	if (!data)
		return -ENOMEM;
	n = read_at(reader->fd, data, header->size, at);
	if (n < 0)
		return (int)n;
	return rt_batch_valid(data, (size_t)n, reader->header.salt, header->first_seq);
}

/*
 * Is there a valid batch in the @len bytes behind the end?  Returns 1 and the seq up
 * to which the last one's writer had synced; 0; negative errno.  What looks like
 * batches without end is not worth reading again and again: that counts as damage.
 */
static int find_later(const struct walk *walk, uint64_t len, uint64_t *ret_synced)
{
	AUTO_FREE uint8_t *chunk = malloc(SCAN_SIZE);
	uint64_t from = walk->reader.offset, end = from + len, looked = 0;
	struct rt_log_batch header;
	int found = 0;
	struct stat st;
	uint64_t i;

	if (!chunk)
		return -ENOMEM;
	if (fstat(walk->reader.fd, &st) < 0)
		return -errno;
	for (uint64_t at = from + RT_WORD; at < end; at += i) {
		ssize_t n = read_at(walk->reader.fd, chunk, SCAN_SIZE, at);

		if (n < (ssize_t)sizeof(header))
			return n < 0 ? (int)n : found;
		for (i = 0; i + sizeof(header) <= (uint64_t)n;) {
			int r;

			memcpy(&header, chunk + i, sizeof(header));
			r = is_batch_at(walk, &header, at + i, (uint64_t)st.st_size);
			if (r < 0)
				return r;
			if (header.magic == RT_LOG_BATCH_MAGIC)
				looked += rt_min(header.size, len);
			if (looked / 16 > len) {
				*ret_synced = UINT64_MAX;
				return 1;
			}
			if (r)
				*ret_synced = rt_max(*ret_synced, header.synced_seq);
			found |= r;
			i += r ? header.size : RT_WORD;
		}
	}
	return found;
}

/*
 * The last segment ends where no valid batch is.  That is how a write looks that
 * never finished; but not if something valid follows, unless the machine went down
 * and what is invalid had not been synced.  1: somebody may be writing, look again.
 */
static int check_tail(struct walk *walk, struct rt_fault *fault)
{
	bool again = walk->looked_at == walk->reader.offset;
	uint64_t synced = 0;
	int r = measure_tail(walk->reader.fd, walk->reader.offset, &walk->tail);

	if (!r && walk->tail)
		r = find_later(walk, walk->tail, &synced);
	if (r <= 0)
		return r;
	if ((walk->stop == RT_STOP_BOOT || walk->stop == RT_STOP_BOOT_SYNCED) &&
	    synced < walk->reader.next)
		return 0;
	walk->looked_at = walk->reader.offset;
	return again ? damaged(walk, fault, "no valid batch, though one follows later")
		     : 1;
}

/* The end of a segment that is not the last: exactly where the next one begins. */
static int check_end(struct walk *walk, uint64_t next, struct rt_fault *fault)
{
	const struct rt_log_reader *reader = &walk->reader;
	char name[32];
	uint64_t tail;
	int r;

	if (reader->next == next)
		return 0;
	r = measure_tail(reader->fd, reader->offset, &tail);
	if (r < 0)
		return r;
	if (tail)
		return damaged(walk, fault, "no valid batch");
	rt_segment_name(reader->header.first_seq, ".log", name);
	rt_fault_set(fault,
		     "%s/%s: damaged at byte %" PRIu64 ": it ends before seq %" PRIu64
		     ", but the next segment begins with seq %" PRIu64
		     "; restore what is missing, or drop what follows with 'ringtail "
		     "repair --drop-after %" PRIu64 "'",
		     reader->what, name, reader->offset, reader->next, next,
		     reader->next - 1);
	return RT_E_CORRUPT;
}

/* Is the segment one of the same feed? */
static int check_name(struct walk *walk, struct rt_fault *fault)
{
	const struct rt_log_header *header = &walk->reader.header;
	char name[32];

	if (!walk->name[0])
		memcpy(walk->name, header->name, sizeof(walk->name));
	if (strcmp(walk->name, header->name) == 0)
		return 0;
	rt_segment_name(header->first_seq, ".log", name);
	rt_fault_set(fault, "%s/%s: is of feed '%s', expected '%s'", walk->reader.what,
		     name, header->name, walk->name);
	return RT_E_CORRUPT;
}

static int walk_batches(struct walk *walk, struct rt_fault *fault)
{
	const uint8_t *data;
	int r;

	while ((r = rt_log_reader_step(&walk->reader, &data)) == 1) {
		r = walk_batch(walk, data, fault);
		if (r < 0)
			return r;
	}
	if (r < 0)
		rt_fault_set(fault, "%s: cannot read: %s", walk->reader.what,
			     strerror(-r));
	return r;
}

static int walk_segment(struct walk *walk, size_t at, struct rt_fault *fault)
{
	struct rt_log_reader *reader = &walk->reader;
	int r = rt_log_reader_enter(reader, walk->segments.first_seqs[at], fault);

	if (!r)
		r = check_name(walk, fault);
	if (r < 0)
		return r;
	do {
		r = walk_batches(walk, fault);
		if (!r)
			r = at + 1 < walk->segments.n
				    ? check_end(walk, walk->segments.first_seqs[at + 1],
						fault)
				    : check_tail(walk, fault);
	} while (r > 0);
	walk->n_bytes += reader->offset;
	return r;
}

/* A segment whose making was cut short by the machine: nothing is in it. */
static bool is_stillborn(const struct walk *walk, uint64_t first_seq)
{
	uint64_t used;
	char name[32];

	rt_segment_name(first_seq, ".log", name);

	AUTO_CLOSE int fd = openat(walk->reader.dir_fd, name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd >= 0 && measure_tail(fd, 0, &used) == 0 && !used;
}

static void end_walk(struct walk *walk)
{
	rt_log_reader_close(&walk->reader);
	rt_segments_fini(&walk->segments);
}

static int walk_all(struct walk *walk, const char *path, struct rt_fault *fault)
{
	uint64_t last, closed_at;
	int r = rt_log_reader_open(path, fault, &walk->reader);

	if (r < 0)
		return r;
	r = rt_state_read(walk->reader.dir_fd, &walk->stop, &closed_at);
	if (r < 0) {
		rt_fault_set(fault, "%s/state: cannot be read", path);
		return r;
	}
	r = rt_segments_list(walk->reader.dir_fd, &walk->segments);
	if (r < 0)
		return r;
	last = walk->segments.n ? walk->segments.first_seqs[walk->segments.n - 1] : 0;
	if (walk->segments.n > 1 && walk->stop >= RT_STOP_BOOT &&
	    is_stillborn(walk, last)) {
		walk->stillborn = last;
		walk->segments.n--;
	}
	for (size_t i = 0; i < walk->segments.n; i++) {
		r = walk_segment(walk, i, fault);
		if (r < 0)
			return r;
	}
	if (closed_at && walk->segments.n && walk->reader.next != closed_at) {
		rt_fault_set(fault,
			     "%s: damaged: it was closed at seq %" PRIu64
			     " and ends at %" PRIu64
			     "; restore it, or go on without the rest with "
			     "'ringtail repair --drop-after %" PRIu64 "'",
			     path, closed_at - 1, walk->reader.next - 1,
			     walk->reader.next - 1);
		return RT_E_CORRUPT;
	}
	return 0;
}

int rt_log_verify(const char *path, struct rt_fault *fault,
		  struct rt_log_report *report)
{
	/* Segments can be removed meanwhile, if somebody is writing the log. */
	for (unsigned again = 0;; again++) {
		AUTO(end_walk)
		struct walk walk = { .reader = { .dir_fd = -1, .fd = -1 } };
		int r = walk_all(&walk, path, fault);

		if (r == -ENOENT && again < VERIFY_AGAIN)
			continue;
		*report = (struct rt_log_report){
			.n_events = walk.n_events,
			.cut_bytes = walk.tail,
			.oldest = walk.segments.n ? walk.segments.first_seqs[0] : 0,
			.next = walk.reader.next,
			.n_bytes = walk.n_bytes,
			.n_segments = walk.segments.n,
		};
		return r;
	}
}

/*
 * ---- Open ----
 */

/* Searchable for all, whatever the umask: its files have modes of their own. */
static int make_one(const char *path, const char *name, struct rt_fault *fault)
{
	int r = mkdir(path, 0755) == 0 ? chmod(path, 0755) : errno == EEXIST ? 0 : -1;

	if (r < 0) {
		r = -errno;
		rt_fault_set(fault, "feed '%s': cannot make the folder %.300s: %s",
			     name, path, strerror(-r));
	}
	return r;
}

static int make_folder(const char *path, const struct rt_log_config *config,
		       struct rt_fault *fault)
{
	char parent[PATH_MAX];
	char *slash;
	int r = 0;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = 0;
		r = rt_make_folders(parent);
		if (r < 0) {
			rt_fault_set(fault,
				     "feed '%s': cannot make the folder %.300s: %s",
				     config->name, parent, strerror(-r));
			return r;
		}
	}
	return make_one(path, config->name, fault);
}

/* What the index says of batches that were cut, or half of an entry. */
static void trim_index(const struct rt_log *log)
{
	struct rt_log_index entry;
	off_t keep = 0;

	while (pread(log->idx_fd, &entry, sizeof(entry), keep) ==
		       (ssize_t)sizeof(entry) &&
	       entry.offset < log->offset)
		keep += (off_t)sizeof(entry);
	(void)ftruncate(log->idx_fd, keep); /* a hint: else a seek takes longer */
}

static int adopt_last(struct rt_log *log, const struct walk *walk,
		      struct rt_fault *fault)
{
	struct stat st;
	char name[32];
	int r;

	log->segment_first = walk->reader.header.first_seq;
	log->salt = walk->reader.header.salt;
	log->offset = walk->reader.offset;
	rt_segment_name(log->segment_first, ".log", name);
	log->fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* Bytes behind the last batch become zeros again, which is what they are read
	 * as. */
	if (log->fd < 0 || fstat(log->fd, &st) < 0 ||
	    (walk->tail &&
	     (ftruncate(log->fd, (off_t)log->offset) < 0 || fstat(log->fd, &st) < 0))) {
		r = -errno;
		rt_fault_set(fault, "%s/%s: %s", log->what, name, strerror(-r));
		return r;
	}
	/* What was given back when it was finished or cut stays so: it is full then. */
	log->segment_end = (uint64_t)st.st_size;
	log->indexed_at = log->offset;
	rt_segment_name(log->segment_first, ".idx", name);
	log->idx_fd = openat(log->dir_fd, name,
			     O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (log->idx_fd >= 0)
		trim_index(log);
	return 0;
}

static void remove_stillborn(const struct rt_log *log, const struct walk *walk)
{
	char name[32];

	if (!walk->stillborn)
		return;
	rt_segment_name(walk->stillborn, ".log", name);
	(void)unlinkat(log->dir_fd, name, 0); /* else the next one replaces it */
}

/* Who may read the feed may have changed since; its segments follow. */
static void set_modes(const struct rt_log *log, const struct walk *walk)
{
	const struct rt_log_config *config = &log->config;
	static const char *const suffixes[] = { ".log", ".idx" };
	char name[32];

	for (size_t i = 0; i < 2 * walk->segments.n; i++) {
		rt_segment_name(walk->segments.first_seqs[i / 2], suffixes[i % 2],
				name);
		/* An index may be missing; a segment was opened a moment ago. */
		(void)fchmodat(log->dir_fd, name, config->file_mode, 0);
		if (config->uid != (uid_t)-1 || config->gid != (gid_t)-1)
			(void)fchownat(log->dir_fd, name, config->uid, config->gid,
				       AT_SYMLINK_NOFOLLOW);
	}
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
	report->cut_bytes = walk->tail;
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
	remove_stillborn(log, walk);
	set_modes(log, walk);
	r = adopt_last(log, walk, fault);
	if (r < 0)
		return r;
	if (log->config.mode != RT_LOG_MEMORY && fdatasync(log->fd) < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: cannot sync: %s", log->what, strerror(-r));
		return r;
	}
	log->synced = log->next - 1;
	report->new_epoch =
		walk->stop == RT_STOP_CUT || walk->stop == RT_STOP_BOOT || !n;
	if (report->new_epoch)
		return rt_log_new_epoch(log, rt_random64(), fault);
	log->epoch = epochs[n - 1].epoch;
	log->epoch_first = epochs[n - 1].first_seq;
	return 0;
}

static int note_open(const struct rt_log *log, struct rt_fault *fault)
{
	bool disk = log->config.mode == RT_LOG_DISK;
	int r = rt_state_write(log->dir_fd, disk ? "synced" : "open", 0);

	if (r < 0)
		rt_fault_set(fault, "%s/state: cannot be written: %s", log->what,
			     strerror(-r));
	return r;
}

/* Before anything is looked at: what looks unfinished may be being written. */
static int lock_log(const char *path, const struct rt_log_config *config,
		    struct rt_fault *fault, int *ret_fd)
{
	AUTO_CLOSE int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_fd < 0 ? -errno : rt_log_lock(dir_fd, true, config->patience_ns);

	if (r == RT_E_BUSY)
		rt_fault_set(fault, "feed '%s': its log in %.300s has a writer already",
			     config->name, path);
	else if (r < 0)
		rt_fault_set(fault, "feed '%s': cannot lock its log in %.300s: %s",
			     config->name, path, strerror(-r));
	if (r < 0)
		return r;
	*ret_fd = r;
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
	AUTO(rt_log_drop) struct rt_log log = RT_LOG_NONE;
	AUTO_CLOSE int lock_fd = -1;
	int r = make_folder(path, config, fault);

	(void)snprintf(walk.name, sizeof(walk.name), "%s", config->name);

	if (!r)
		r = lock_log(path, config, fault, &lock_fd);
	if (!r)
		r = walk_all(&walk, path, fault);
	if (r < 0)
		return r;
	log.config = *config;
	(void)snprintf(log.name, sizeof(log.name), "%s", config->name);
	log.config.name = NULL; /* of the caller; ours is log.name */
	log.what = strdup(path);
	log.lock_fd = rt_take_fd(&lock_fd);
	log.dir_fd = fcntl(walk.reader.dir_fd, F_DUPFD_CLOEXEC, 3);
	if (!log.what || log.dir_fd < 0) {
		r = log.what ? -errno : -ENOMEM;
		rt_close_fd(&log.lock_fd);
		return r;
	}
	*report = (struct rt_log_report){ 0 };
	r = adopt(&log, &walk, fault, report);
	if (!r)
		r = note_open(&log, fault);
	if (r < 0)
		return r;
	*ret = log;
	log = RT_LOG_NONE;
	return 0;
}

/*
 * ---- Repair ----
 */

/* The offset behind @seq in the segment the walk is in; -EINVAL if it is in a batch. */
static int find_end(struct rt_log_reader *reader, const struct rt_segments *segments,
		    uint64_t seq, struct rt_fault *fault)
{
	const uint8_t *data;
	int r;

	if (segments->n && seq + 1 == segments->first_seqs[0]) {
		/* Nothing stays; the segment, if it is one, says where to go on. */
		(void)rt_log_reader_enter(reader, seq + 1, NULL);
		return 0;
	}
	r = rt_log_reader_seek(reader, seq, fault);
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

/* While a log is repaired. */
static int keep_writers_out(const struct rt_log_reader *reader, struct rt_fault *fault,
			    int *ret_fd)
{
	int r = rt_log_lock(reader->dir_fd, false, 0);

	if (r == RT_E_BUSY)
		rt_fault_set(fault, "%s: somebody is writing it; stop the daemon first",
			     reader->what);
	else if (r < 0 && r != -ENOENT)
		rt_fault_set(fault, "%s: cannot lock it: %s", reader->what,
			     strerror(-r));
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	*ret_fd = r;
	return 0;
}

int rt_log_repair(const char *path, uint64_t seq, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	AUTO_CLOSE int lock_fd = -1;
	char name[32];
	int r = rt_log_reader_open(path, fault, &reader);

	if (!r)
		r = keep_writers_out(&reader, fault, &lock_fd);
	if (!r)
		r = rt_segments_list(reader.dir_fd, &segments);
	if (!r)
		r = find_end(&reader, &segments, seq, fault);
	if (r < 0)
		return r;
	/* First the mark: whoever opens a log that is half cut begins a new epoch. */
	r = rt_state_write(reader.dir_fd, "cut", 0);
	if (r < 0)
		return r;
	for (size_t i = segments.n;
	     i-- && segments.first_seqs[i] > reader.header.first_seq;) {
		rt_segment_name(segments.first_seqs[i], ".log", name);
		if (unlinkat(reader.dir_fd, name, 0) < 0)
			return -errno;
		rt_segment_name(segments.first_seqs[i], ".idx", name);
		(void)unlinkat(reader.dir_fd, name, 0);
	}
	if (reader.fd < 0)
		return fsync(reader.dir_fd) < 0 ? -errno : 0;
	rt_segment_name(reader.header.first_seq, ".log", name);

	AUTO_CLOSE int fd =
		openat(reader.dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || ftruncate(fd, (off_t)reader.offset) < 0 || fsync(fd) < 0 ||
	    fsync(reader.dir_fd) < 0)
		return -errno;
	return 0;
}
