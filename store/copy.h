/* SPDX-License-Identifier: MIT */
/*
 * copy.h - states of a table, for somebody else to make a snapshot of
 *
 * In chunks, one behind the other: nothing that was copied is moved, and a chunk that
 * was used is used again, since memory that is new to the process costs more than the
 * copy.
 */
#ifndef RINGTAIL_STORE_COPY_H
#define RINGTAIL_STORE_COPY_H

#include "store/snapshot.h"

struct rt_delta;

struct rt_copy {
	struct rt_copy_chunk *first, *last;
	struct rt_copy_chunk *spare;
	size_t n;         /* states */
	size_t n_bytes;   /* of memory, spare chunks aside */
	uint64_t seq;     /* the newest event of which a state may be */
	uint64_t time_ns; /* of the event that the snapshot is to be as of */
};

void rt_copy_fini(struct rt_copy *copy);

/* 0, or -ENOMEM. */
int rt_copy_add(struct rt_copy *copy, const struct rt_state *state);

/* All of it into @ret, as they came; keys and values stay here.  -ENOMEM. */
int rt_copy_lend(const struct rt_copy *copy, struct rt_delta *ret);

/* Empties it.  The chunks are spare then; some of them go with each trim. */
void rt_copy_clear(struct rt_copy *copy);
void rt_copy_trim(struct rt_copy *copy);

#endif
