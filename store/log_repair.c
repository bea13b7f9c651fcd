/* SPDX-License-Identifier: MIT */
/*
 * Going back: everything after an event is dropped, and a new epoch is due.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "shm/segment.h"
#include "store/build.h"
#include "store/lock.h"
#include "store/log.h"
#include "store/log_read.h"

#define LIST_MAX 64 /* of snapshots that are looked at */

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

/* Is there one at or below @seq from which the state can be had?  1, 0, negative. */
static int has_snapshot(const struct rt_log_reader *reader, uint64_t seq,
			struct rt_fault *fault)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(reader->dir_fd, &epochs, &n);

	if (r < 0 || !n) {
		rt_fault_set(fault, "%s/epochs: damaged or unreadable", reader->what);
		return r < 0 ? r : RT_E_CORRUPT;
	}
	return rt_snapshot_newest(reader->dir_fd, reader->what, epochs[n - 1].epoch,
				  seq, fault, &snapshot);
}

/*
 * A log that does not begin with seq 1 has its state from snapshots.  Those above @seq
 * go; so one has to stay, or the state of the rest would be lost without a word.
 */
static int check_state(const struct rt_log_reader *reader,
		       const struct rt_segments *segments, uint64_t seq,
		       struct rt_fault *fault)
{
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
	r = has_snapshot(reader, seq, fault);
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
