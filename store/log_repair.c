/* SPDX-License-Identifier: MIT */
/*
 * What is damaged is given up: everything after an event, and a new epoch is due; or
 * everything before one, of which a snapshot has the state.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/build.h"
#include "store/lock.h"
#include "store/log.h"
#include "store/log_read.h"

#define LIST_MAX 64 /* of snapshots that are looked at */
#define CHUNK    (UINT64_C(1) << 20)
#define TMP_NAME ".segment.new"

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

/* The newest at or below @seq that opens and is of this history: 1, 0, negative. */
static int newest_snapshot(const struct rt_log_reader *reader, uint64_t seq,
			   struct rt_fault *fault, struct rt_snapshot *ret)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(reader->dir_fd, &epochs, &n);

	if (r < 0 || !n) {
		rt_fault_set(fault, "%s/epochs: damaged or unreadable", reader->what);
		return r < 0 ? r : RT_E_CORRUPT;
	}
	return rt_snapshot_newest(reader->dir_fd, reader->what, epochs[n - 1].epoch,
				  seq, fault, ret);
}

/*
 * A log that does not begin with seq 1 has its state from snapshots.  Those above @seq
 * go; so one has to stay, or the state of the rest would be lost without a word.
 */
static int check_state(const struct rt_log_reader *reader,
		       const struct rt_segments *segments, uint64_t seq,
		       struct rt_fault *fault)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	uint64_t seqs[LIST_MAX], lowest = 0;
	size_t n = 0;
	int r;

	if (segments->n && segments->first_seqs[0] == 1)
		return 0;
	r = rt_snapshots_list(reader->dir_fd, seqs, RT_N(seqs), &n);
	if (r < 0) {
		rt_fault_set(fault, "%s: %s", reader->what, strerror(-r));
		return r;
	}
	for (size_t i = 0; i < n && seqs[i] > seq; i++)
		lowest = seqs[i];
	if (!lowest) /* none goes */
		return 0;
	r = newest_snapshot(reader, seq, fault, &snapshot);
	if (r == 1)
		return 0;
	if (!r) {
		rt_fault_set(fault,
			     "%s: without what follows seq %" PRIu64
			     " its state would be lost, since its oldest snapshot is "
			     "of seq %" PRIu64 "; the lowest that works: %" PRIu64,
			     reader->what, seq, lowest, lowest);
		return RT_E_NO_SNAPSHOT;
	}
	return r;
}

/* The segment that begins with @first_seq, and its index.  Negative errno. */
static int remove_segment(int dir_fd, uint64_t first_seq)
{
	char name[32];

	rt_segment_name(first_seq, ".log", name);
	if (unlinkat(dir_fd, name, 0) < 0)
		return -errno;
	rt_segment_name(first_seq, ".idx", name);
	(void)unlinkat(dir_fd, name, 0); /* a hint that leads nowhere */
	return 0;
}

/* The log at @path and its segments, with no writer as long as @ret_lock_fd is open. */
static int take_over(const char *path, struct rt_log_reader *reader,
		     struct rt_segments *segments, int *ret_lock_fd,
		     struct rt_fault *fault)
{
	int r = rt_log_reader_open(path, fault, reader);

	if (!r)
		r = keep_writers_out(reader, fault, ret_lock_fd);
	return r ? r : rt_segments_list(reader->dir_fd, segments);
}

int rt_log_repair(const char *path, uint64_t seq, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	AUTO_CLOSE int lock_fd = -1;
	char name[32];
	int r = take_over(path, &reader, &segments, &lock_fd, fault);

	if (!r)
		r = find_end(&reader, &segments, seq, fault);
	if (!r)
		r = check_state(&reader, &segments, seq, fault);
	if (r < 0)
		return r;
	/* First the mark: whoever opens a log that is half cut begins a new epoch. */
	r = rt_state_write(reader.dir_fd, "cut", 0);
	if (!r)
		r = rt_log_drop_snapshots(reader.dir_fd, seq);
	if (r < 0)
		return r;
	for (size_t i = segments.n;
	     i-- && segments.first_seqs[i] > reader.header.first_seq;) {
		r = remove_segment(reader.dir_fd, segments.first_seqs[i]);
		if (r < 0)
			return r;
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

/*
 * ---- From the other end ----
 */

static void go_to_end(struct rt_log_reader *reader)
{
	const uint8_t *data;

	while (rt_log_reader_step(reader, &data) == 1)
		;
}

/*
 * The seq to come, as far as the newest segment can be read: also behind damage, if a
 * snapshot stands for what is damaged.
 */
static uint64_t end_of(struct rt_log_reader *reader, const struct rt_segments *segments)
{
	uint64_t last = segments->n ? segments->first_seqs[segments->n - 1] : 0;
	uint64_t seqs[LIST_MAX], next, offset;
	size_t n = 0;

	if (!last || rt_log_reader_enter(reader, last, NULL) < 0)
		return last;
	go_to_end(reader);
	next = reader->next;
	offset = reader->offset;
	if (rt_snapshots_list(reader->dir_fd, seqs, RT_N(seqs), &n) < 0)
		return next;
	for (size_t i = 0; i < n && seqs[i] >= next; i++) {
		if (rt_log_pass_damage(reader, seqs[i] + 1) == 1) {
			go_to_end(reader);
			return reader->next;
		}
		reader->next = next;
		reader->offset = offset;
	}
	return next;
}

/* All of the newest snapshots is read, until one is good.  Its seq in @ret, 1; 0, ...
 */
static int good_snapshot(const struct rt_log_reader *reader, uint64_t limit,
			 struct rt_fault *fault, uint64_t *ret)
{
	AUTO_FREE char *what = NULL;
	char name[32];
	int r;

	for (;; limit = *ret - 1) {
		AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;

		r = newest_snapshot(reader, limit, fault, &snapshot);
		if (r <= 0)
			return r;
		*ret = snapshot.header.seq;
		rt_snapshot_name(*ret, name);
		free(what);
		if (asprintf(&what, "%s/%s", reader->what, name) < 0) {
			what = NULL;
			return -ENOMEM;
		}
		r = rt_snapshot_verify(reader->dir_fd, name, what, fault, NULL);
		if (!r)
			return 1;
		if (!*ret)
			return r;
	}
}

/* Of those that the log has the events of. */
static int newest_good(struct rt_log_reader *reader, const struct rt_segments *segments,
		       struct rt_fault *fault, uint64_t *ret)
{
	uint64_t end = end_of(reader, segments);

	return end ? good_snapshot(reader, end - 1, fault, ret) : 0;
}

/* The newest segment that begins at or before @seq; 0: there is none. */
static uint64_t segment_at(const struct rt_segments *segments, uint64_t seq)
{
	size_t at = segments->n;

	while (at && segments->first_seqs[at - 1] > seq)
		at--;
	return at ? segments->first_seqs[at - 1] : 0;
}

/* To the batch that begins with @seq, over damage if need be.  -EINVAL: there is none.
 */
static int go_to(struct rt_log_reader *reader, const struct rt_segments *segments,
		 uint64_t seq, struct rt_fault *fault)
{
	const uint64_t first_seq = segment_at(segments, seq);
	const uint8_t *data;
	int r = first_seq ? rt_log_reader_enter(reader, first_seq, fault) : -EINVAL;

	if (!r)
		r = rt_log_reader_find(reader, seq, fault);
	while (!r && reader->next < seq && (r = rt_log_pass_damage(reader, seq)) == 1)
		while (reader->next < seq &&
		       (r = rt_log_reader_step(reader, &data)) == 1)
			;
	if (r < 0 && r != -EINVAL)
		return r;
	if (reader->next == seq)
		return 0;
	rt_fault_set(fault,
		     "%s: seq %" PRIu64
		     " is not the first of what was written at once, or cannot be "
		     "read; the segment that has it begins with seq %" PRIu64,
		     reader->what, seq, first_seq);
	return -EINVAL;
}

/* The state of before @seq has to be there, and a batch that begins with it. */
static int check_before(struct rt_log_reader *reader,
			const struct rt_segments *segments, uint64_t seq,
			struct rt_fault *fault)
{
	uint64_t snapshot = 0;
	int r = newest_good(reader, segments, fault, &snapshot);

	if (r < 0)
		return r;
	if (!r) {
		rt_fault_set(fault,
			     "%s: without what is before seq %" PRIu64
			     " its state would be lost, since it has no snapshot that "
			     "is good",
			     reader->what, seq);
		return RT_E_NO_SNAPSHOT;
	}
	if (seq > snapshot + 1) {
		rt_fault_set(fault,
			     "%s: without what is before seq %" PRIu64
			     " its state would be lost, since its newest good snapshot "
			     "is of seq %" PRIu64,
			     reader->what, seq, snapshot);
		return RT_E_NO_SNAPSHOT;
	}
	return go_to(reader, segments, seq, fault);
}

/* The epoch that the event @seq is of; what the segment says if that is not known. */
static uint64_t epoch_of(const struct rt_log_reader *reader, uint64_t seq)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;

	if (rt_epochs_read(reader->dir_fd, &epochs, &n) < 0)
		n = 0;
	while (n && epochs[n - 1].first_seq > seq)
		n--;
	return n ? epochs[n - 1].epoch : reader->header.epoch;
}

/* Everything from where @reader is, also what is no batch. */
static int copy_rest(const struct rt_log_reader *reader, int fd)
{
	AUTO_FREE uint8_t *chunk = malloc(CHUNK);
	uint64_t from = reader->offset, to = RT_LOG_START;
	ssize_t n;
	int r = chunk ? 0 : -ENOMEM;

	while (!r && (n = rt_file_read(reader->fd, chunk, CHUNK, from)) != 0) {
		if (n < 0)
			return (int)n;
		r = rt_file_write(NULL, fd, chunk, (size_t)n, to);
		from += (uint64_t)n;
		to += (uint64_t)n;
	}
	return r;
}

static int write_rest(const struct rt_log_reader *reader, int fd)
{
	union {
		struct rt_log_header header;
		uint8_t bytes[RT_LOG_START];
	} page = { .header = reader->header };
	struct stat st;
	int r = fstat(reader->fd, &st) < 0 ? -errno : 0;

	page.header.first_seq = reader->next;
	page.header.epoch = epoch_of(reader, reader->next);
	page.header.check = XXH64(&page.header, offsetof(struct rt_log_header, check),
				  RT_LOG_MAGIC);
	if (!r)
		r = rt_file_write(NULL, fd, page.bytes, sizeof(page.bytes), 0);
	if (!r)
		r = copy_rest(reader, fd);
	if (!r)
		r = rt_file_set_access(fd, st.st_mode & 0777, st.st_uid, st.st_gid);
	return !r && fsync(fd) < 0 ? -errno : r;
}

/* What @reader is in becomes a segment that begins where it is. */
static int split(const struct rt_log_reader *reader)
{
	char name[32];
	int r;

	(void)unlinkat(reader->dir_fd, TMP_NAME, 0); /* of a crash */

	AUTO_CLOSE int fd = openat(reader->dir_fd, TMP_NAME,
				   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	r = write_rest(reader, fd);
	rt_segment_name(reader->next, ".log", name);
	if (!r && renameat(reader->dir_fd, TMP_NAME, reader->dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(reader->dir_fd, TMP_NAME, 0); /* else the next does */
	return !r && fsync(reader->dir_fd) < 0 ? -errno : r;
}

/* Snapshots that nothing goes on from any more. */
static int drop_snapshots_before(int dir_fd, uint64_t seq)
{
	uint64_t seqs[LIST_MAX];
	char name[32];
	size_t n = 0;
	int r = rt_snapshots_list(dir_fd, seqs, RT_N(seqs), &n);

	for (size_t i = 0; i < n && !r; i++) {
		if (seqs[i] + 1 >= seq)
			continue;
		rt_snapshot_name(seqs[i], name);
		if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

/* As a trim does: what counts as gone comes first. */
static int drop_before(const struct rt_log_reader *reader,
		       const struct rt_segments *segments, uint64_t seq)
{
	struct rt_floor floor = { 0 };
	int r = rt_floor_read(reader->dir_fd, &floor);

	if (r == RT_E_CORRUPT)
		r = 0; /* nothing that could be kept */
	if (!r && reader->header.first_seq != seq)
		r = split(reader);
	if (r < 0)
		return r;
	floor.trimmed = rt_max(floor.trimmed, seq);
	r = rt_floor_write(reader->dir_fd, &floor, true, true);
	if (!r)
		r = drop_snapshots_before(reader->dir_fd, seq);
	for (size_t i = 0; i < segments->n && segments->first_seqs[i] < seq && !r; i++)
		r = remove_segment(reader->dir_fd, segments->first_seqs[i]);
	return !r && fsync(reader->dir_fd) < 0 ? -errno : r;
}

int rt_log_drop_before(const char *path, uint64_t seq, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	AUTO_CLOSE int lock_fd = -1;
	int r = take_over(path, &reader, &segments, &lock_fd, fault);

	if (!r)
		r = check_before(&reader, &segments, seq, fault);
	return r < 0 ? r : drop_before(&reader, &segments, seq);
}

/*
 * The segment that also has what follows the snapshot, up to there.  1 it is damaged,
 * and *@ret is where to go on; 0 it is not; negative.
 */
static int check_amid(struct rt_log_reader *reader, const struct rt_segments *segments,
		      uint64_t snapshot, struct rt_fault *fault, uint64_t *ret)
{
	const uint64_t first_seq = segment_at(segments, snapshot + 1);
	const uint8_t *data;
	char name[32];
	int r = first_seq ? rt_log_reader_enter(reader, first_seq, fault) : -ENOENT;

	while (!r && reader->next <= snapshot) {
		r = rt_log_reader_step(reader, &data);
		if (r <= 0)
			break;
		r = 0;
	}
	if (r < 0 || reader->next > snapshot)
		return r == -ENOENT ? 0 : r;
	rt_segment_name(first_seq, ".log", name);
	rt_fault_set(fault,
		     "%s/%s: damaged at byte %" PRIu64
		     ": no valid batch, expected one that begins with seq %" PRIu64,
		     reader->what, name, reader->offset, reader->next);
	r = rt_log_pass_damage(reader, snapshot + 1);
	*ret = r == 1 ? reader->next : 0;
	return r ? r : RT_E_CORRUPT;
}

int rt_log_find_before(const char *path, struct rt_fault *fault, uint64_t *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	AUTO(rt_kind_fini) struct rt_kind kind = { .n_epochs = 0 };
	struct rt_log_check check = { 0 };
	uint64_t snapshot = 0;
	int r = rt_log_reader_open(path, fault, &reader);

	*ret = 0;
	if (!r)
		r = rt_segments_list(reader.dir_fd, &segments);
	if (!r)
		r = rt_kind_read(&kind, reader.dir_fd);
	if (!r)
		r = newest_good(&reader, &segments, fault, &snapshot);
	if (r == 1)
		r = check_amid(&reader, &segments, snapshot, fault, ret);
	else if (!r)
		return 0;
	if (r)
		return r < 0 ? r : 0;
	r = rt_log_check_below(path, &kind, &segments,
			       segment_at(&segments, snapshot + 1), UINT64_MAX, NULL,
			       fault, &check);
	*ret = check.whole_from;
	return r < 0 && !*ret ? r : 0;
}
