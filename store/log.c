/* SPDX-License-Identifier: MIT */
#include "store/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/log_read.h"
#include "store/snapshot.h"

static int fail(const struct rt_log *log, struct rt_fault *fault, const char *what,
		int r)
{
	rt_fault_set(fault, "feed '%s': cannot %s in %s: %s", log->name, what,
		     log->what, strerror(-r));
	return r;
}

static bool is_synced(const struct rt_log *log)
{
	return log->config.mode != RT_LOG_MEMORY;
}

/*
 * ---- Segments ----
 */

static int give_access(const struct rt_log *log, int fd)
{
	return rt_file_set_access(fd, log->config.file_mode, log->config.uid,
				  log->config.gid);
}

static int write_header(struct rt_log *log, int fd, uint64_t salt)
{
	union {
		struct rt_log_header header;
		uint8_t bytes[RT_LOG_START];
	} page = {
		.header = {
			.magic = RT_LOG_MAGIC,
			.format = RT_LOG_FORMAT,
			.header_size = sizeof(struct rt_log_header),
			.epoch = log->epoch,
			.first_seq = log->next,
			.created_ns = rt_now_ns(CLOCK_REALTIME),
			.salt = salt,
		},
	};

	memcpy(page.header.name, log->name, strlen(log->name));
	page.header.check = XXH64(&page.header, offsetof(struct rt_log_header, check),
				  RT_LOG_MAGIC);
	return rt_file_write(log->config.io, fd, page.bytes, sizeof(page.bytes), 0);
}

static void open_index(struct rt_log *log)
{
	char name[32];

	rt_segment_name(log->segment_first, ".idx", name);
	rt_close_fd(&log->idx_fd);
	log->idx_fd =
		openat(log->dir_fd, name,
		       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->idx_fd >= 0)
		(void)give_access(log, log->idx_fd); /* then readers seek without it */
	log->indexed_at = log->offset;
}

/* Memory of the disk for a segment, under no name that counts. */
static int make_spare(struct rt_log *log, uint64_t size)
{
	int fd = rt_file_make(log->config.io, log->dir_fd, RT_LOG_SPARE_NAME, size);

	if (fd < 0)
		return fd;
	log->spare_fd = fd;
	log->spare_size = size;
	return 0;
}

static void drop_spare(struct rt_log *log)
{
	if (log->spare_fd < 0)
		return;
	(void)unlinkat(log->dir_fd, RT_LOG_SPARE_NAME, 0);
	rt_close_fd(&log->spare_fd);
	log->spare_fd = -1;
}

/* A spare one for @size bytes, header included; if there is no room it is as it was. */
static int need_spare(struct rt_log *log, uint64_t size)
{
	int r;

	if (log->spare_fd < 0)
		return make_spare(log, rt_max(log->config.segment_size, size));
	if (log->spare_size >= size)
		return 0;
	r = rt_file_reserve(log->config.io, log->spare_fd, size);
	if (r < 0) {
		/* Part of it may have been found; if it stays it does no harm. */
		(void)ftruncate(log->spare_fd, (off_t)log->spare_size);
		return r;
	}
	log->spare_size = size;
	return 0;
}

int rt_log_reserve(struct rt_log *log, uint64_t size, struct rt_fault *fault)
{
	int r = need_spare(log, RT_LOG_START + size);

	return r < 0 ? fail(log, fault, "reserve a segment", r) : 0;
}

void rt_log_adopt_spare(struct rt_log *log, int fd, uint64_t size)
{
	drop_spare(log);
	if (renameat(log->dir_fd, RT_LOG_NEXT_NAME, log->dir_fd, RT_LOG_SPARE_NAME) <
	    0) {
		(void)close(fd); /* another is made when it is needed */
		return;
	}
	log->spare_fd = fd;
	log->spare_size = size;
}

/* A whole segment under its name, or nothing. */
static int make_segment(struct rt_log *log, uint64_t size, int *ret_fd)
{
	uint64_t salt = rt_random64();
	char name[32];
	bool named = false;
	int r = need_spare(log, size);

	if (r < 0)
		return r;

	AUTO_CLOSE int fd = log->spare_fd;

	log->spare_fd = -1;
	rt_segment_name(log->next, ".log", name);
	r = write_header(log, fd, salt);
	if (!r)
		r = give_access(log, fd);
	if (!r && is_synced(log))
		r = rt_file_sync(log->config.io, fd);
	if (!r) {
		r = renameat(log->dir_fd, RT_LOG_SPARE_NAME, log->dir_fd, name) < 0
			    ? -errno
			    : 0;
		named = !r;
	}
	if (!r && is_synced(log) && fsync(log->dir_fd) < 0) {
		r = -errno;
		/* The one before had that name if nothing was in it: it has none now.
		 */
		log->failed |= log->fd >= 0 && log->segment_first == log->next;
	}
	if (r < 0) {
		/* Under its name it would be a hole as soon as the old one grows. */
		(void)unlinkat(log->dir_fd, named ? name : RT_LOG_SPARE_NAME, 0);
		return r;
	}
	log->salt = salt;
	*ret_fd = rt_take_fd(&fd);
	return 0;
}

/* What was allocated and not used goes back; the segment is complete. */
static void finish_segment(struct rt_log *log)
{
	if (log->fd < 0)
		return;
	rt_window_close(&log->window);
	(void)ftruncate(log->fd,
			(off_t)log->offset); /* else zeros stay behind its end */
	(void)close(log->fd);
	log->fd = -1;
}

static int roll(struct rt_log *log, uint64_t batch_size, struct rt_fault *fault)
{
	int fd = -1;
	int r;

	/* What is in the old one has to be on disk before the new one says it is. */
	if (log->fd >= 0 && log->unsynced) {
		r = rt_log_sync(log, fault);
		if (r < 0)
			return r;
	}
	r = make_segment(log, RT_LOG_START + batch_size, &fd);
	if (r < 0)
		return fail(log, fault, "begin a segment", r);
	if (log->fd >= 0 && log->segment_first == log->next)
		log->n_bytes -= RT_LOG_START; /* nothing was in it; it is replaced */
	finish_segment(log);
	log->fd = fd;
	log->segment_first = log->next;
	log->segment_end = log->spare_size; /* which it was */
	log->offset = RT_LOG_START;
	log->n_bytes += RT_LOG_START;
	if (!log->oldest)
		log->oldest = log->next;
	open_index(log);
	return 0;
}

int rt_log_roll(struct rt_log *log, struct rt_fault *fault)
{
	return log->fd < 0 ? 0
			   : roll(log, 0, fault); /* else the next batch begins one */
}

/*
 * ---- Appending ----
 */

int rt_log_place(struct rt_log *log, uint64_t size, struct rt_fault *fault, int *ret_fd,
		 uint64_t *ret_offset)
{
	if (log->failed) {
		rt_fault_set(
			fault,
			"feed '%s': its log in %s failed to sync and accepts nothing "
			"more; check the disk and restart",
			log->name, log->what);
		return -EIO;
	}
	if (size > RT_LOG_BATCH_MAX) {
		rt_fault_set(fault, "feed '%s': %" PRIu64 " bytes are too many at once",
			     log->name, size);
		return -EMSGSIZE;
	}
	if (log->fd < 0 || log->offset + size > log->segment_end) {
		int r = roll(log, size, fault);

		if (r < 0)
			return r;
	}
	*ret_fd = log->fd;
	*ret_offset = log->offset;
	return 0;
}

static void note_index(struct rt_log *log, const struct rt_batch *batch)
{
	struct rt_log_index entry = {
		.seq = batch->first_seq,
		.time_ns = batch->time_ns,
		.offset = log->offset,
	};

	if (log->idx_fd < 0 || log->offset - log->indexed_at < RT_LOG_INDEX_EVERY)
		return;
	/* A hint: without it a seek takes longer. */
	if (write(log->idx_fd, &entry, sizeof(entry)) == (ssize_t)sizeof(entry))
		log->indexed_at = log->offset;
}

void rt_log_wrote(struct rt_log *log, const struct rt_batch *batch)
{
	note_index(log, batch);
	log->offset += batch->len;
	log->n_bytes += batch->len;
	log->n_since += batch->len;
	log->next += batch->n_events;
	log->last_ns = batch->last_ns;
	if (log->config.mode == RT_LOG_DISK)
		log->synced = log->next - 1;
	else
		log->unsynced = log->config.mode == RT_LOG_OS;
}

/* Has somebody truncated the segment, all of which was reserved, below byte @end? */
static bool is_cut(int fd, uint64_t end)
{
	struct statx st;

	/* Only its size: who asks for times makes the next write note a new one on the
	 * disk, and a sync waits for that. */
	return statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st) == 0 && st.stx_size < end;
}

int rt_log_write(const struct rt_log *log, int fd, const struct rt_batch *batch,
		 uint64_t offset, bool *ret_sync_failed)
{
	int r;

	/* A write would make it longer again, behind a hole in history. */
	*ret_sync_failed = is_cut(fd, offset + batch->len);
	if (*ret_sync_failed)
		return -EIO;
	r = rt_file_write(log->config.io, fd, batch->data, batch->len, offset);
	if (r < 0 || log->config.mode != RT_LOG_DISK)
		return r;
	r = rt_file_sync(log->config.io, fd);
	*ret_sync_failed = r < 0;
	return r;
}

int rt_log_unwrote(struct rt_log *log, int error, bool sync_failed,
		   struct rt_fault *fault)
{
	static const uint8_t none[sizeof(struct rt_log_batch)];
	bool cut = log->window.torn || is_cut(log->fd, log->offset + sizeof(none));

	log->failed |= sync_failed;
	/* A batch that got there whole after all would be history to the next who
	 * opens the log.  If this fails too, it is, as if the answer had been lost. */
	(void)rt_file_write(log->config.io, log->fd, none, sizeof(none), log->offset);
	return fail(log, fault,
		    cut           ? "go on with a segment that was cut"
		    : sync_failed ? "sync"
				  : "write",
		    error);
}

bool rt_log_wants_pages(struct rt_log *log, struct iovec *ret)
{
	if (log->fd < 0 || log->failed || log->config.mode == RT_LOG_DISK ||
	    (log->config.io && !log->config.io->store))
		return false;
	return rt_window_wants(&log->window, log->fd, log->offset, log->segment_end,
			       ret);
}

/* By whichever way is open; a window that is torn is as bad as a failed sync. */
static int put(struct rt_log *log, int fd, const struct rt_batch *batch,
	       uint64_t offset, bool *ret_sync_failed)
{
	int r;

	if (!rt_window_takes(&log->window, offset, batch->len))
		return rt_log_write(log, fd, batch, offset, ret_sync_failed);
	r = rt_window_store(&log->window, log->config.io, fd, batch->data, batch->len,
			    offset);
	*ret_sync_failed = r < 0;
	return r;
}

int rt_log_append(struct rt_log *log, struct rt_batch *batch, struct rt_fault *fault)
{
	bool sync_failed;
	uint64_t offset;
	int fd;
	int r = rt_log_place(log, batch->len, fault, &fd, &offset);

	if (r < 0)
		return r;
	rt_batch_seal(batch, log->salt, log->synced);
	r = put(log, fd, batch, offset, &sync_failed);
	if (r < 0)
		return rt_log_unwrote(log, r, sync_failed, fault);
	rt_log_wrote(log, batch);
	return 0;
}

int rt_log_sync(struct rt_log *log, struct rt_fault *fault)
{
	uint64_t last = log->next - 1;
	int r;

	if (!log->unsynced || log->fd < 0)
		return 0;
	r = rt_file_sync(log->config.io, log->fd);
	if (r < 0) {
		/* The kernel may have dropped the pages: another try would lie. */
		log->failed = true;
		return fail(log, fault, "sync", r);
	}
	log->synced = last;
	log->unsynced = false;
	return 0;
}

/*
 * ---- Cutting ----
 */

static void remove_segment(struct rt_log *log, uint64_t first_seq)
{
	struct stat st;
	char name[32];
	int fd = -1;

	rt_segment_name(first_seq, ".log", name);
	if (fstatat(log->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		log->n_bytes -= rt_min(log->n_bytes, (uint64_t)st.st_size);
	if (log->close_file)
		fd = openat(log->dir_fd, name,
			    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	(void)unlinkat(log->dir_fd, name, 0); /* a reader that has it open goes on */
	if (fd >= 0)
		log->close_file(log->close_arg, fd);
	rt_segment_name(first_seq, ".idx", name);
	(void)unlinkat(log->dir_fd, name, 0);
}

int rt_log_drop_below(struct rt_log *log, uint64_t seq)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	int n = 0;
	int r = rt_segments_list(log->dir_fd, &segments);

	if (r < 0)
		return r;
	for (size_t i = 0; i + 1 < segments.n && segments.first_seqs[i + 1] <= seq;
	     i++) {
		remove_segment(log, segments.first_seqs[i]);
		log->oldest = segments.first_seqs[i + 1];
		n++;
	}
	/* What is gone does not come back with a power cut. */
	if (n && is_synced(log) && fsync(log->dir_fd) < 0)
		return -errno;
	return n;
}

int rt_log_set_floor(struct rt_log *log, const struct rt_floor *floor,
		     struct rt_fault *fault)
{
	struct rt_floor higher = {
		.trimmed = rt_max(log->floor.trimmed, floor->trimmed),
		.aged = rt_max(log->floor.aged, floor->aged),
	};
	int r;

	if (higher.trimmed == log->floor.trimmed && higher.aged == log->floor.aged)
		return 0;
	/* What went for its age goes again by itself: the one before would do too. */
	r = rt_floor_write(log->dir_fd, &higher, is_synced(log),
			   is_synced(log) && higher.trimmed != log->floor.trimmed);
	if (r < 0)
		return fail(log, fault, "write the floor", r);
	log->floor = higher;
	return 0;
}

/* When the segment after @first_seq began, so when this one ended. */
static uint64_t begun_ns(const struct rt_log *log, uint64_t first_seq)
{
	struct rt_log_header header;
	int fd;

	if (rt_segment_open(log->dir_fd, first_seq, log->what, NULL, &header, &fd) < 0)
		return UINT64_MAX;
	(void)close(fd);
	return header.created_ns;
}

int rt_log_retain(struct rt_log *log, uint64_t max_bytes, uint64_t max_age_ns,
		  uint64_t keep_from)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	uint64_t now = rt_now_ns(CLOCK_REALTIME);
	int n = 0;
	int r = rt_segments_list(log->dir_fd, &segments);

	if (r < 0)
		return r;
	for (size_t i = 0;
	     i + 1 < segments.n && segments.first_seqs[i + 1] <= keep_from; i++) {
		uint64_t ended = max_age_ns ? begun_ns(log, segments.first_seqs[i + 1])
					    : UINT64_MAX;
		bool too_old = max_age_ns && ended < now && now - ended > max_age_ns;
		bool too_many = max_bytes && log->n_bytes > max_bytes;

		if (!too_old && !too_many)
			break;
		remove_segment(log, segments.first_seqs[i]);
		log->oldest = segments.first_seqs[i + 1];
		n++;
	}
	return n;
}

int rt_log_new_epoch(struct rt_log *log, uint64_t epoch, struct rt_fault *fault)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(log->dir_fd, &epochs, &n);

	if (r < 0)
		return fail(log, fault, "read the epochs", r);
	/* Epochs of which nothing is left name nothing any more. */
	while (n && epochs[n - 1].first_seq >= log->next)
		n--;
	if (!epochs)
		epochs = calloc(1, sizeof(*epochs));
	if (!epochs)
		return -ENOMEM;
	if (n == RT_EPOCHS_MAX) {
		memmove(epochs, epochs + 1, (n - 1) * sizeof(*epochs));
		n--;
	}
	epochs[n++] = (struct rt_epoch){ epoch, log->next };
	r = rt_epochs_write(log->dir_fd, epochs, n);
	if (r < 0)
		return fail(log, fault, "write the epochs", r);
	log->epoch = epoch;
	log->epoch_first = log->next;
	return 0;
}

int rt_log_same_history(int dir_fd, uint64_t epoch, uint64_t seq, uint64_t current)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0, at = 0;
	int r;

	if (epoch == current)
		return 0;
	r = rt_epochs_read(dir_fd, &epochs, &n);
	if (r < 0)
		return r;
	while (at < n && epochs[at].epoch != epoch)
		at++;
	/* What came before the next epoch began is common to both. */
	return at + 1 < n && seq < epochs[at + 1].first_seq ? 0 : RT_E_EPOCH;
}

int rt_log_has_epoch(int dir_fd, uint64_t epoch)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(dir_fd, &epochs, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (epochs[i].epoch == epoch)
			return 0;
	}
	return RT_E_EPOCH;
}

/*
 * ---- Leaving ----
 */

void rt_log_drop(struct rt_log *log)
{
	if (!log->what)
		return;
	drop_spare(log);
	rt_window_close(&log->window);
	rt_close_fd(&log->fd);
	rt_close_fd(&log->idx_fd);
	(void)close(log->dir_fd);
	rt_close_fd(&log->lock_fd); /* last: then another may begin */
	free(log->what);
	*log = RT_LOG_NONE;
}

/* Where it goes on; 0 if nothing is there from which that would be known. */
static uint64_t next_if_known(const struct rt_log *log)
{
	uint64_t seq;
	size_t n = 0;

	if (!log->oldest && (rt_snapshots_list(log->dir_fd, &seq, 1, &n) < 0 || !n))
		return 0;
	return log->next;
}

int rt_log_close(struct rt_log *log, struct rt_fault *fault)
{
	int r = 0;

	if (!log->what)
		return 0;
	if (!log->failed) {
		r = rt_log_sync(log, fault);
		if (!r)
			r = rt_state_write(log->dir_fd, "clean", next_if_known(log));
	}
	rt_log_drop(log);
	return r;
}
