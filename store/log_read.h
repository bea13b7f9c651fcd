/* SPDX-License-Identifier: MIT */
/*
 * log_read.h - read a log that somebody else is writing
 *
 * By large preads into memory of the reader: a segment that is cut, trimmed or
 * damaged meanwhile is an error return, never a SIGBUS.  Nothing here stores to a
 * file.  A reader is for one thread.
 */
#ifndef RINGTAIL_STORE_LOG_READ_H
#define RINGTAIL_STORE_LOG_READ_H

#include "store/batch.h"

/* Segments of a log, sorted by first seq. */
struct rt_segments {
	uint64_t *first_seqs;
	size_t n;
};

/* Lists what is in the folder now.  Files of other names are not looked at. */
int rt_segments_list(int dir_fd, struct rt_segments *ret);
void rt_segments_fini(struct rt_segments *segments);
void rt_segment_name(uint64_t first_seq, const char *suffix, char ret[32]);

/* Opens and checks a segment; RT_E_CORRUPT, RT_E_VERSION, -ENOENT.  @what: shown. */
int rt_segment_open(int dir_fd, uint64_t first_seq, const char *what,
		    struct rt_fault *fault, struct rt_log_header *ret_header,
		    int *ret_fd);

struct rt_log_reader {
	int dir_fd;
	char *what; /* path of the folder, for texts */
	int fd;     /* of the segment that is being read; -1 none */
	struct rt_log_header header;
	uint64_t next;   /* seq that the next batch begins with */
	uint64_t offset; /* of it in the segment */
	uint8_t *window; /* bytes of the segment from window_at on */
	size_t window_cap, window_len;
	uint64_t window_at;
};

/* @path: the log's folder.  RT_E_NO_FEED when there is none; -EACCES; ... */
int rt_log_reader_open(const char *path, struct rt_fault *fault,
		       struct rt_log_reader *ret);
void rt_log_reader_close(struct rt_log_reader *reader);

/*
 * For those who walk a log by themselves: into a segment; and a step to its next batch,
 * 1, or 0 when there is no valid one at reader->offset.
 */
int rt_log_reader_enter(struct rt_log_reader *reader, uint64_t first_seq,
			struct rt_fault *fault);
int rt_log_reader_step(struct rt_log_reader *reader, const uint8_t **ret);

/*
 * Within a segment that was just entered: on to the batch that holds @seq, by the index
 * if there is a good one.  1; 0 the valid batches end before it, where reader->offset
 * and reader->next are then.
 */
int rt_log_reader_find(struct rt_log_reader *reader, uint64_t seq,
		       struct rt_fault *fault);

/*
 * Likewise, on to the last batch that the index has at or before byte @offset: whether
 * it moved.  What is there was not looked at.
 */
bool rt_log_reader_skip(struct rt_log_reader *reader, uint64_t offset);

/* Oldest seq in the log that counts (state.h: floor); 0 when it has no segment. */
int rt_log_reader_oldest(struct rt_log_reader *reader, uint64_t *ret);

/*
 * Goes to the batch that holds @seq.  RT_E_COMPACTED when it is older than the log,
 * RT_E_CORRUPT.  Cost: an open, the index, and at most a stretch of the segment
 * between two index entries.
 */
int rt_log_reader_seek(struct rt_log_reader *reader, uint64_t seq,
		       struct rt_fault *fault);

/* First batch with an event at or after @time_ns; sets the seq it begins with. */
int rt_log_reader_seek_time(struct rt_log_reader *reader, uint64_t time_ns,
			    struct rt_fault *fault);

/*
 * The next batch, checked, whole in memory until the next call.  1; 0 there is none
 * that begins at or below @limit, which is what is known to be committed;
 * RT_E_COMPACTED it was removed meanwhile; RT_E_CORRUPT with file and offset.
 */
int rt_log_reader_next(struct rt_log_reader *reader, uint64_t limit,
		       struct rt_fault *fault, const uint8_t **ret);

#endif
