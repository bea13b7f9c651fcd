/* SPDX-License-Identifier: MIT */
/*
 * Everything that is in the folder of a log, from its state on: what was never finished
 * at the end is measured, what is damaged is refused.
 */
#include "store/log_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "store/build.h"

#define SCAN_SIZE (UINT64_C(1) << 20)

#define BEFORE_HINT \
	"since the snapshot of seq %" PRIu64 " has the state, drop what is before " \
	"with 'ringtail repair --drop-before=%" PRIu64 "'"

/* Is what the snapshot does not have whole all the same?  Then what is before may go.
 */
static bool is_passable(struct rt_walk *walk, uint64_t *ret)
{
	if (!walk->has_base || walk->reader.next > walk->base_seq ||
	    rt_log_pass_damage(&walk->reader, walk->base_seq + 1) != 1)
		return false;
	*ret = walk->reader.next;
	return true;
}

/* The reader stands there, and elsewhere afterwards. */
static int damaged(struct rt_walk *walk, struct rt_fault *fault, const char *what)
{
	uint64_t next = walk->reader.next, at = walk->reader.offset, whole_from;
	struct rt_fault helps;
	char name[32];

	if (is_passable(walk, &whole_from))
		rt_fault_set(&helps, BEFORE_HINT, walk->base_seq, whole_from);
	else
		rt_fault_set(&helps,
			     "drop what follows with 'ringtail repair --drop-after "
			     "%" PRIu64 "'",
			     next - 1);
	rt_segment_name(walk->reader.header.first_seq, ".log", name);
	rt_fault_set(fault,
		     "%.250s/%s: damaged at byte %" PRIu64
		     ": %s, expected a batch that begins with seq %" PRIu64
		     "; restore the file, or %.130s",
		     walk->reader.what, name, at, what, next, helps.text);
	return RT_E_CORRUPT;
}

static int walk_batch(struct rt_walk *walk, const uint8_t *data, struct rt_fault *fault)
{
	struct rt_log_batch header;
	struct rt_batch_cursor cursor;
	struct rt_item item;
	int r;

	memcpy(&header, data, sizeof(header));
	walk->n_events += header.n_events;
	if (walk->has_base && header.first_seq + header.n_events - 1 <= walk->base_seq)
		return 0; /* its checksum is right, and more is not needed of it */
	walk->n_since += header.size;
	rt_batch_open(data, &cursor);
	while ((r = rt_batch_next(&cursor, &item)) == 1) {
		if (walk->visit && item.seq > walk->base_seq) {
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
	return 0;
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
	while ((n = rt_file_read(fd, chunk, SCAN_SIZE, at)) > 0) {
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
static int is_batch_at(const struct rt_walk *walk, const struct rt_log_batch *header,
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
	n = rt_file_read(reader->fd, data, header->size, at);
	if (n < 0)
		return (int)n;
	return rt_batch_valid(data, (size_t)n, reader->header.salt, header->first_seq);
}

/*
 * Is there a valid batch in the @len bytes behind the end?  Returns 1 and the seq up
 * to which the last one's writer had synced; 0; negative errno.  What looks like
 * batches without end is not worth reading again and again: that counts as damage.
 */
static int find_later(const struct rt_walk *walk, uint64_t len, uint64_t *ret_synced)
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
		ssize_t n = rt_file_read(walk->reader.fd, chunk, SCAN_SIZE, at);

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
static int check_tail(struct rt_walk *walk, struct rt_fault *fault)
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
static int check_end(struct rt_walk *walk, uint64_t next, struct rt_fault *fault)
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

static bool is_canceled(const struct rt_walk *walk)
{
	return walk->base && rt_is_canceled(walk->base->cancel);
}

static int walk_batches(struct rt_walk *walk, struct rt_fault *fault)
{
	const uint8_t *data;
	int r;

	while ((r = rt_log_reader_step(&walk->reader, &data)) == 1) {
		r = is_canceled(walk) ? -ECANCELED : walk_batch(walk, data, fault);
		if (r < 0)
			return r;
	}
	if (r < 0)
		rt_fault_set(fault, "%s: cannot read: %s", walk->reader.what,
			     strerror(-r));
	return r;
}

/* Nothing can be read of the segment that begins with @first_seq: what helps. */
static int unusable(const struct rt_walk *walk, uint64_t first_seq,
		    struct rt_fault *fault)
{
	const struct rt_fault found = *fault;
	struct rt_fault state = { "" };
	char name[32];

	rt_snapshot_name(walk->base_seq, name);
	if (walk->has_base && walk->base_seq >= first_seq)
		rt_fault_set(&state,
			     "take over the state with 'ringtail restore' of "
			     "%s, or ",
			     name);
	rt_fault_set(fault,
		     "%.250s; restore the file, or %.100sdrop it and what follows with "
		     "'ringtail repair --drop-after %" PRIu64 "'",
		     found.text, state.text, first_seq - 1);
	return RT_E_CORRUPT;
}

static int walk_segment(struct rt_walk *walk, size_t at, struct rt_fault *fault)
{
	const uint64_t first_seq = walk->segments.first_seqs[at];
	struct rt_log_reader *reader = &walk->reader;
	int r = rt_log_reader_enter(reader, first_seq, fault);

	if (!r)
		r = rt_kind_check(&walk->kind, reader, fault);
	if (r == RT_E_CORRUPT && fault)
		return unusable(walk, first_seq, fault);
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
static bool is_stillborn(const struct rt_walk *walk, uint64_t first_seq)
{
	uint64_t used;
	char name[32];

	rt_segment_name(first_seq, ".log", name);

	AUTO_CLOSE int fd = openat(walk->reader.dir_fd, name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd >= 0 && measure_tail(fd, 0, &used) == 0 && !used;
}

void rt_walk_end(struct rt_walk *walk)
{
	rt_log_reader_close(&walk->reader);
	rt_segments_fini(&walk->segments);
	rt_kind_fini(&walk->kind);
}

/*
 * ---- The state from a snapshot ----
 */

static int load_base(struct rt_walk *walk, struct rt_snapshot *snapshot,
		     struct rt_fault *fault)
{
	const struct rt_log_base *base = walk->base;
	struct rt_state state;
	int r = base->begin(base->arg, snapshot->header.seq,
			    snapshot->footer.n_entries);

	if (!r)
		r = rt_snapshot_seek(snapshot, NULL, 0, fault);
	while (!r && (r = rt_snapshot_next(snapshot, fault, &state)) == 1)
		r = is_canceled(walk) ? -ECANCELED : base->state(base->arg, &state);
	if (r < 0)
		return r;
	walk->has_base = true;
	walk->base_seq = snapshot->header.seq;
	walk->base_ns = snapshot->header.time_ns;
	return 0;
}

static void note_bad(struct rt_walk *walk, const struct rt_fault *fault)
{
	if (!walk->bad_snapshot.text[0])
		walk->bad_snapshot = *fault;
}

/* The newest one was passed over: why is not known here, but which. */
static void note_passed(struct rt_walk *walk, uint64_t limit, uint64_t taken)
{
	uint64_t seqs[RT_SNAPSHOTS_KEPT];
	struct rt_fault fault;
	char name[32];
	size_t n = 0;

	if (rt_snapshots_list(walk->reader.dir_fd, seqs, RT_N(seqs), &n) < 0 || !n ||
	    seqs[0] > limit || seqs[0] == taken)
		return;
	rt_snapshot_name(seqs[0], name);
	rt_fault_set(&fault, "%s/%s: damaged, or of another history", walk->reader.what,
		     name);
	note_bad(walk, &fault);
}

/*
 * Neither a snapshot nor a segment: a log that begins.  But not if there are snapshots,
 * whatever is wrong with them, or if it says itself that it had more.
 */
static int check_nothing(const struct rt_walk *walk, struct rt_fault *fault)
{
	const char *what = walk->reader.what, *why = walk->bad_snapshot.text;
	char name[32];
	uint64_t seq = 0;
	size_t n = 0;
	int r = rt_snapshots_list(walk->reader.dir_fd, &seq, 1, &n);

	if (r < 0 || (!n && walk->closed_at <= 1)) {
		if (r < 0)
			rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	rt_snapshot_name(seq, name);
	if (!n)
		rt_fault_set(fault,
			     "%s: it was closed after seq %" PRIu64
			     ", and has neither a snapshot nor an event: restore what "
			     "is missing, or move the folder away to begin anew",
			     what, walk->closed_at - 1);
	else if (why[0])
		rt_fault_set(fault,
			     "%.300s; and the log has no event: restore the file, or "
			     "move the folder away to begin anew",
			     why);
	else
		rt_fault_set(fault,
			     "%s/%s: of another history than %s/epochs knows, and the "
			     "log has no event: restore the files, or move the folder "
			     "away to begin anew",
			     what, name, what);
	return RT_E_CORRUPT;
}

#define WAYS_OUT \
	": put back what is missing, or give the feed the state of a backup with " \
	"'ringtail restore', or move the folder away to begin anew"

/* Without a snapshot the events have to be all there, or the state is not. */
static int check_no_base(const struct rt_walk *walk, struct rt_fault *fault)
{
	const char *what = walk->reader.what, *why = walk->bad_snapshot.text;
	uint64_t oldest;

	if (!walk->segments.n)
		return check_nothing(walk, fault);
	oldest = walk->segments.first_seqs[0];
	if (oldest > walk->begin)
		rt_fault_set(fault,
			     "%.200s%s: its oldest event is of seq %" PRIu64
			     ", and no snapshot has the state of before" WAYS_OUT,
			     why[0] ? why : what, why[0] ? "; and the log is cut" : "",
			     oldest);
	else if (why[0] && oldest != 1)
		rt_fault_set(fault,
			     "%.300s; and the log begins with seq %" PRIu64
			     ": restore the file, or remove it to go on with what the "
			     "log holds",
			     why, oldest);
	else
		return 0;
	return RT_E_CORRUPT;
}

/* Not damage, but the system, or who takes the state over. */
static int no_base(const struct rt_walk *walk, const struct rt_fault *inner, int error,
		   struct rt_fault *fault)
{
	if (inner->text[0])
		rt_fault_set(fault, "%s", inner->text);
	else
		rt_fault_set(fault, "%s: cannot take over a snapshot: %s",
			     walk->reader.what, strerror(-error));
	return error;
}

/* The newest snapshot at or below @limit that is whole, if there is any. */
static int take_base(struct rt_walk *walk, uint64_t epoch, uint64_t limit,
		     struct rt_fault *fault)
{
	const struct rt_log_base *base = walk->base;
	struct rt_fault inner = { 0 };
	int r;

	walk->has_base = false;
	walk->base_seq = 0;
	for (;;) {
		AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;

		r = rt_snapshot_newest(walk->reader.dir_fd, walk->reader.what, epoch,
				       limit, &inner, &snapshot);
		if (r <= 0)
			break;
		note_passed(walk, limit, snapshot.header.seq);
		r = load_base(walk, &snapshot, &inner);
		if (r != RT_E_CORRUPT)
			return r < 0 ? no_base(walk, &inner, r, fault) : 0;
		note_bad(walk, &inner);
		if (!snapshot.header.seq) {
			r = 0;
			break;
		}
		limit = snapshot.header.seq - 1;
	}
	if (r == RT_E_CORRUPT || r == RT_E_VERSION) {
		note_bad(walk, &inner);
		r = 0;
	}
	if (r < 0)
		return no_base(walk, &inner, r, fault);
	r = check_no_base(walk, fault);
	return r < 0 ? r : base->begin(base->arg, 0, 0);
}

static int find_base(struct rt_walk *walk, uint64_t limit, struct rt_fault *fault)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r;

	if (!walk->base)
		return 0;
	r = rt_epochs_read(walk->reader.dir_fd, &epochs, &n);
	if (r < 0) {
		rt_fault_set(fault, "%s/epochs: damaged or unreadable",
			     walk->reader.what);
		return r;
	}
	walk->begin = n ? epochs[0].first_seq : UINT64_MAX;
	if (!n) { /* then nothing says which history a snapshot is of */
		r = check_no_base(walk, fault);
		return r < 0 ? r : walk->base->begin(walk->base->arg, 0, 0);
	}
	r = take_base(walk, epochs[n - 1].epoch, limit, fault);
	if (r < 0 || !walk->has_base || !walk->segments.n ||
	    walk->segments.first_seqs[0] <= walk->base_seq + 1)
		return r;
	rt_fault_set(fault,
		     "%s: its newest snapshot is of seq %" PRIu64
		     ", and its oldest event of seq %" PRIu64 WAYS_OUT,
		     walk->reader.what, walk->base_seq, walk->segments.first_seqs[0]);
	return RT_E_CORRUPT;
}

/* A segment of which the snapshot has everything: checked when all else is well. */
static int pass_segment(struct rt_walk *walk, size_t at, struct rt_fault *fault)
{
	struct stat st;
	char name[32];
	int r;

	rt_segment_name(walk->segments.first_seqs[at], ".log", name);
	if (fstatat(walk->reader.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		r = -errno;
		rt_fault_set(fault, "%s/%s: %s", walk->reader.what, name, strerror(-r));
		return r;
	}
	walk->n_bytes += (uint64_t)st.st_size;
	return 0;
}

/* Seq at which the segment begins that has the event behind the snapshot's, or would.
 */
static uint64_t first_above(const struct rt_walk *walk)
{
	size_t at = walk->segments.n;

	while (at && walk->segments.first_seqs[at - 1] > walk->base_seq + 1)
		at--;
	return at ? walk->segments.first_seqs[at - 1] : 0;
}

/* What readers go back to.  With the snapshot the state does not depend on it. */
static int check_below(struct rt_walk *walk, struct rt_fault *fault)
{
	struct rt_fault found = { "" };
	int r = rt_log_check_below(walk->reader.what, &walk->kind, &walk->segments,
				   first_above(walk), walk->base->check_bytes,
				   walk->base->cancel, &found, &walk->check);

	if (r < 0 && !walk->check.whole_from)
		rt_fault_set(fault, "%s: %s", walk->reader.what, strerror(-r));
	else if (r < 0)
		rt_fault_set(fault, "%.300s; restore the file, or " BEFORE_HINT,
			     found.text, walk->base_seq, walk->check.whole_from);
	return r;
}

static int walk_segments(struct rt_walk *walk, struct rt_fault *fault)
{
	const uint64_t *first_seqs = walk->segments.first_seqs;
	int r = 0;

	walk->n_events = 0;
	walk->n_bytes = 0;
	walk->n_since = 0;
	for (size_t i = 0; i < walk->segments.n && !r; i++) {
		bool below = walk->has_base && i + 1 < walk->segments.n &&
			     first_seqs[i + 1] <= walk->base_seq + 1;

		r = below ? pass_segment(walk, i, fault) : walk_segment(walk, i, fault);
	}
	return r;
}

/* It had what the snapshot stands for, which is on disk before that. */
static int ends_too_early(const struct rt_walk *walk, struct rt_fault *fault)
{
	char name[32];

	rt_snapshot_name(walk->base_seq, name);
	rt_fault_set(fault,
		     "%.150s: damaged: it ends with seq %" PRIu64
		     ", and its newest snapshot is of seq %" PRIu64
		     "; restore what is missing, or take over the state with 'ringtail "
		     "restore' of %s, or go on without both with 'ringtail repair "
		     "--drop-after %" PRIu64 "'",
		     walk->reader.what, walk->reader.next - 1, walk->base_seq, name,
		     walk->reader.next - 1);
	return RT_E_CORRUPT;
}

/*
 * Snapshot and segments.  A repair that was cut short leaves snapshots of what the log
 * does not have any more; that shows at the end of the log only.
 */
static int walk_from_base(struct rt_walk *walk, struct rt_fault *fault)
{
	uint64_t limit = UINT64_MAX / 2;
	struct rt_fault text;
	int r;

	for (;;) {
		r = find_base(walk, limit, fault);
		if (!r)
			r = walk_segments(walk, fault);
		if (r < 0 || !walk->has_base || !walk->segments.n ||
		    walk->reader.next > walk->base_seq)
			return r;
		if (walk->stop != RT_STOP_CUT)
			return ends_too_early(walk, fault);
		rt_fault_set(&text,
			     "a snapshot of seq %" PRIu64
			     ", though the log ends with %" PRIu64,
			     walk->base_seq, walk->reader.next - 1);
		note_bad(walk, &text);
		limit = walk->reader.next - 1;
	}
}

int rt_log_drop_snapshots(int dir_fd, uint64_t seq)
{
	uint64_t seqs[64];
	char name[32];
	size_t n = 0;
	int r = rt_snapshots_list(dir_fd, seqs, RT_N(seqs), &n);

	for (size_t i = 0; !r && i < n && seqs[i] > seq; i++) {
		rt_snapshot_name(seqs[i], name);
		if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int rt_walk_all(struct rt_walk *walk, const char *path, struct rt_fault *fault)
{
	uint64_t last;
	int r = rt_log_reader_open(path, fault, &walk->reader);

	if (r < 0)
		return r;
	r = rt_state_read(walk->reader.dir_fd, &walk->stop, &walk->closed_at);
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
	r = rt_kind_read(&walk->kind, walk->reader.dir_fd);
	if (!r)
		r = walk_from_base(walk, fault);
	if (r < 0)
		return r;
	if (walk->closed_at && walk->segments.n &&
	    walk->reader.next != walk->closed_at) {
		rt_fault_set(fault,
			     "%s: damaged: it was closed at seq %" PRIu64
			     " and ends at %" PRIu64
			     "; restore it, or go on without the rest with "
			     "'ringtail repair --drop-after %" PRIu64 "'",
			     path, walk->closed_at - 1, walk->reader.next - 1,
			     walk->reader.next - 1);
		return RT_E_CORRUPT;
	}
	return walk->has_base ? check_below(walk, fault) : 0;
}
