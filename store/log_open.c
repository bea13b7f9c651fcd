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
#include "store/log_walk.h"

#define VERIFY_AGAIN 8

int rt_log_verify(const char *path, struct rt_fault *fault,
		  struct rt_log_report *report)
{
	/* Segments can be removed meanwhile, if somebody is writing the log. */
	for (unsigned again = 0;; again++) {
		AUTO(rt_walk_end)
		struct rt_walk walk = { .reader = { .dir_fd = -1, .fd = -1 } };
		int r = rt_walk_all(&walk, path, fault);

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

static int adopt_last(struct rt_log *log, const struct rt_walk *walk,
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

static void remove_stillborn(const struct rt_log *log, const struct rt_walk *walk)
{
	char name[32];

	if (!walk->stillborn)
		return;
	rt_segment_name(walk->stillborn, ".log", name);
	(void)unlinkat(log->dir_fd, name, 0); /* else the next one replaces it */
}

static int adopt_segments(struct rt_log *log, const struct rt_walk *walk,
			  struct rt_fault *fault)
{
	int r;

	log->next = walk->reader.next;
	log->oldest = walk->segments.first_seqs[0];
	log->n_bytes = walk->n_bytes;
	remove_stillborn(log, walk);
	/* Who may read the feed may have changed since; its files follow if they can.
	 */
	(void)rt_log_give_files(log, NULL);
	r = adopt_last(log, walk, fault);
	if (r < 0)
		return r;
	if (log->config.mode != RT_LOG_MEMORY && fdatasync(log->fd) < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: cannot sync: %s", log->what, strerror(-r));
	}
	return r;
}

static int adopt(struct rt_log *log, const struct rt_walk *walk, struct rt_fault *fault,
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
	report->created = !walk->segments.n && !walk->has_base;
	report->base = walk->base_seq;
	report->bad_snapshot = walk->bad_snapshot;
	if (report->created) {
		log->next = rt_max(log->config.first_seq, 1);
		log->synced = log->next - 1;
		return rt_log_new_epoch(
			log, log->config.epoch ? log->config.epoch : rt_random64(),
			fault);
	}
	r = walk->segments.n ? adopt_segments(log, walk, fault) : 0;
	if (r < 0)
		return r;
	if (!walk->segments.n)
		log->next = walk->base_seq + 1;
	log->last_ns = rt_max(walk->last_ns, walk->base_ns);
	log->synced = log->next - 1;
	log->n_since = walk->n_since;
	log->unchecked = walk->check;
	report->new_epoch = walk->stop == RT_STOP_CUT || walk->stop == RT_STOP_BOOT ||
			    !n || (walk->closed_at && walk->closed_at != log->next);
	if (report->new_epoch)
		return rt_log_new_epoch(log, rt_random64(), fault);
	log->epoch = epochs[n - 1].epoch;
	log->epoch_first = epochs[n - 1].first_seq;
	return 0;
}

/* What was let go, and snapshots of a future that is none. */
static int adopt_rest(struct rt_log *log, const struct rt_walk *walk, bool created,
		      struct rt_fault *fault)
{
	int r = rt_floor_read(log->dir_fd, &log->floor);

	if (r < 0) {
		rt_fault_set(fault,
			     "%s/floor: damaged or unreadable, expected two numbers; "
			     "remove it to show everything that the log holds",
			     log->what);
		return r;
	}
	log->floor.trimmed = rt_min(log->floor.trimmed, log->next);
	log->floor.aged = rt_min(log->floor.aged, log->next);
	/* Beside a log that begins nothing says that they are of no use. */
	return walk->base && !created
		       ? rt_log_drop_snapshots(log->dir_fd, log->next - 1)
		       : 0;
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
	AUTO(rt_walk_end)
	struct rt_walk walk = {
		.reader = { .dir_fd = -1, .fd = -1 },
		.visit = visit,
		.arg = arg,
		.base = config->base,
	};
	AUTO(rt_log_drop) struct rt_log log = RT_LOG_NONE;
	AUTO_CLOSE int lock_fd = -1;
	int r = make_folder(path, config, fault);

	(void)snprintf(walk.kind.name, sizeof(walk.kind.name), "%s", config->name);

	if (!r)
		r = lock_log(path, config, fault, &lock_fd);
	if (!r)
		r = rt_walk_all(&walk, path, fault);
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
		r = adopt_rest(&log, &walk, report->created, fault);
	if (!r)
		r = note_open(&log, fault);
	if (r < 0)
		return r;
	(void)unlinkat(log.dir_fd, RT_LOG_SPARE_NAME, 0); /* a crash may leave one */
	(void)unlinkat(log.dir_fd, RT_LOG_NEXT_NAME, 0);
	*ret = log;
	log = RT_LOG_NONE;
	return 0;
}
