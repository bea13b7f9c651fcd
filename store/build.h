/* SPDX-License-Identifier: MIT */
/*
 * build.h - a new snapshot from an old one and the events since
 *
 *	old snapshot, or a copy  --.
 *	                            merge --> new snapshot, or a reader, or a backup
 *	log -------------> delta --'
 *
 * A delta gathers what events change; its memory is bounded by the keys they are of,
 * never by how many they are, or by the state.  Nothing here knows rings or processes.
 */
#ifndef RINGTAIL_STORE_BUILD_H
#define RINGTAIL_STORE_BUILD_H

#include "store/copy.h"
#include "store/snapshot.h"

/* What changed, by key: the newest change of each. */
struct rt_delta {
	struct rt_state *states; /* as they came; keys and values in `arena`; or NULL */
	void *room;              /* for `cap` references, or twice as many places */
	size_t n, cap;
	size_t n_indexed; /* of them; 0: `room` has no index */
	uint64_t seed;    /* of the index; 0: none was made yet */
	struct rt_arena *arena;
	size_t n_bytes; /* of memory in use */
	size_t at;      /* while it is merged */
	bool sorted;    /* the references say how; there is no index then */
};

#define RT_DELTA_GROUP 32u /* items at once, for the best */

void rt_delta_fini(struct rt_delta *delta);
/*
 * Puts, deletes (also of a key that is not there) and messages, which are nothing, in
 * the order in which they came.  -ENOMEM: some of them may be in it.
 */
int rt_delta_add(struct rt_delta *delta, const struct rt_item *items, size_t n);
/* The same for a state that is known as such. */
int rt_delta_set(struct rt_delta *delta, const struct rt_state *state);
/* Likewise, for a key that is known not to be in it, which is not looked for. */
int rt_delta_append(struct rt_delta *delta, const struct rt_state *state);
/* As append, but key and value stay where they are, and have to; without any of those
 * above. */
int rt_delta_lend(struct rt_delta *delta, const struct rt_state *state);
/* Not even the state is copied; without any other of those. */
int rt_delta_point(struct rt_delta *delta, const struct rt_state *state);
/* For those below.  What is added to it after that makes it unsorted again. */
void rt_delta_sort(struct rt_delta *delta);
/* The states in the order of their keys, by number. */
const struct rt_state *rt_delta_at(const struct rt_delta *delta, size_t i);
/* Or one after the other, from `at` on; NULL at the end. */
const struct rt_state *rt_delta_next(struct rt_delta *delta);

/*
 * Gives back the memory of values that were replaced by longer or shorter ones, if that
 * is most of it; unsorted again.  -ENOMEM: all is as it was.  Not for what was lent.
 */
int rt_delta_shrink(struct rt_delta *delta);

/* @old with @delta, sorted, over it, in order of keys.  @old: NULL for none. */
struct rt_merge {
	struct rt_snapshot *old;
	struct rt_delta *base; /* in place of an old one */
	struct rt_delta *delta;
	struct rt_state ahead; /* of the old, not given yet */
	bool has_ahead, old_over;
};

void rt_merge_begin(struct rt_merge *merge, struct rt_snapshot *old,
		    struct rt_delta *delta);
/* The same over states, sorted, none deleted and each of another key. */
void rt_merge_begin_on(struct rt_merge *merge, struct rt_delta *base,
		       struct rt_delta *delta);
/* From the first key that is not below @key on; not with a base. */
int rt_merge_seek(struct rt_merge *merge, const uint8_t *key, size_t len,
		  struct rt_fault *fault);
/* 1, 0 at the end, negative.  What it points to stays until the next call. */
int rt_merge_next(struct rt_merge *merge, struct rt_fault *fault, struct rt_state *ret);

/*
 * The newest snapshot of the log folder that opens and belongs to @epoch's history, at
 * or below @limit.  1; 0 there is none; RT_E_CORRUPT, RT_E_VERSION, ...: there are
 * some, none can be used, with what is wrong with the newest.  What is damaged within
 * its blocks is found when they are read.
 */
int rt_snapshot_newest(int dir_fd, const char *what, uint64_t epoch, uint64_t limit,
		       struct rt_fault *fault, struct rt_snapshot *ret);

/* A snapshot to be made. */
struct rt_build {
	const char *log_path; /* the folder of the log */
	int out_dir_fd;       /* where the file goes ... */
	const char *out_file; /* ... and its name; NULL: as a snapshot of its seq */
	const char *name;     /* of the feed */
	uint64_t epoch;
	uint64_t limit; /* the newest seq that is committed; the end of a transaction */
	size_t budget;  /* bytes of delta; more events than that make several steps; 0:
			   any */
	/* All states that are not of events behind copy->seq, instead of a snapshot;
	 * NULL. */
	const struct rt_copy *copy;
	uint64_t synced; /* with a copy: up to here the disk has the log */
	mode_t file_mode;
	uid_t uid;
	gid_t gid;
	bool sync;
	bool keep;                  /* as in struct rt_snapshot_config */
	const struct rt_log_io *io; /* of what is written; NULL: the real ones */
	const _Atomic bool *cancel; /* NULL: none; true: -ECANCELED soon */
};

struct rt_built {
	uint64_t seq;
	uint64_t n_entries;
	uint64_t file_size;
	uint64_t n_bytes;  /* of all keys and values */
	uint64_t n_events; /* that were merged */
	uint32_t n_steps;  /* files that were written */
	size_t peak_bytes; /* of memory: delta, indexes and buffers */
};

/*
 * Makes the snapshot as of @build->limit; nothing is made if there is one already.
 * Each step but the last that is a snapshot by itself prunes those before it; after the
 * last the caller does, rt_snapshots_prune().
 * RT_E_NO_SNAPSHOT: history does not reach back to a snapshot, or to the begin.
 */
int rt_snapshot_build(const struct rt_build *build, struct rt_fault *fault,
		      struct rt_built *ret);

/* Removes all but the newest RT_SNAPSHOTS_KEPT, and what was never finished; how many
 * snapshots went.  For who makes them, while none is being made. */
int rt_snapshots_prune(int dir_fd);

#endif
