/* SPDX-License-Identifier: MIT */
/*
 * log_check.h - the segments of which a snapshot has everything
 *
 *	                             base.next
 *	oldest                          |
 *	  | segment | segment | segment | segment with events above the snapshot
 *	  '- ends --'--- every byte ----'
 *	            <------ order -------
 *
 * Who begins with the snapshot does not need them, but readers do.  From the newest to
 * the oldest: so what is above the first damage that is found is whole, and it is
 * enough to drop what is below.
 */
#ifndef RINGTAIL_STORE_LOG_CHECK_H
#define RINGTAIL_STORE_LOG_CHECK_H

#include "store/log_read.h"
#include "store/state.h"

/* What the segments of a log have in common. */
struct rt_kind {
	char name[RT_NAME_MAX + 8]; /* of the feed; empty: that of the first one */
	struct rt_epoch *epochs;    /* none: not looked at */
	size_t n_epochs;
};

/* Reads the epochs, if they can be. */
int rt_kind_read(struct rt_kind *kind, int dir_fd);
void rt_kind_fini(struct rt_kind *kind);

/* Is the segment that @reader is in one of the same feed, and of its time? */
int rt_kind_check(struct rt_kind *kind, const struct rt_log_reader *reader,
		  struct rt_fault *fault);

/* How far a check is; zeros: there is nothing to be checked. */
struct rt_log_check {
	uint64_t below;      /* segments that end before this seq are not checked yet */
	uint64_t next;       /* amid one: the seq of its next batch; 0: not begun */
	uint64_t offset;     /* and where that is */
	uint64_t whole_from; /* after damage was found: from here on all is whole */
	uint64_t n_read;     /* bytes, at the start */
};

/*
 * At the start: all segments that end before @below, one of @segments, are there, of
 * this kind, and each ends where the next one begins; and the newest @max_bytes of them
 * are read, or a little more.  What is left is in @ret_rest, whole segments.  @cancel
 * may be NULL.
 * RT_E_CORRUPT with file, offset and what was expected, and ret_rest->whole_from; the
 * same for what cannot be read for other reasons than a lack of memory or descriptors.
 */
int rt_log_check_below(const char *path, struct rt_kind *kind,
		       const struct rt_segments *segments, uint64_t below,
		       uint64_t max_bytes, const _Atomic bool *cancel,
		       struct rt_fault *fault, struct rt_log_check *ret_rest);

/*
 * Later: reads on, about @max_bytes.  1 there is more, 0 all is read, -ECANCELED.
 * Another negative result is damage, as above, or what kept a segment from being read;
 * the next call goes on with the segment before it.  Segments may be removed meanwhile,
 * the oldest first.
 */
int rt_log_check_on(const char *path, struct rt_log_check *check, uint64_t max_bytes,
		    const _Atomic bool *cancel, struct rt_fault *fault);

/*
 * Behind damage that @reader is at: on to the first batch at or before @seq from which
 * valid ones go on up to @seq at least.  1; 0 there is none, -ENOMEM or another errno;
 * the reader is anywhere then.
 */
int rt_log_pass_damage(struct rt_log_reader *reader, uint64_t seq);

#endif
