/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - the thread that does for the writers of a process what they must not
 *
 * One thread for all writers of the process.  It owns a robust-list entry for the
 * `life` word of each ring, so that the kernel marks them within a moment of the
 * process's death; it wakes sleepers that a commit left to it; it sweeps; and it
 * beats for those writers that asked for it.  It starts with the first writer and
 * ends with the last.  A forked child begins without any of this, and lets go of the
 * descriptors that hold locks, or a writer would outlive its process in its children.
 */
#ifndef RINGTAIL_SHM_KEEPER_H
#define RINGTAIL_SHM_KEEPER_H

#include "shm/base.h"
#include "shm/layout.h"

struct rt_keeper_slot; /* one kept ring */

struct rt_keeping {
	int ring_fd;            /* to map the page of hot words a second time */
	int lock_fd;            /* a forked child must hold neither of the two */
	struct rt_hot *hot;     /* the writer's own mapping */
	uint64_t beat_every_ns; /* 0: the writer beats by itself */
	bool sweep;             /* wake unasked, a millisecond after commits */
};

/*
 * Begins to keep a ring: `life` then holds the keeper's thread id.  Errors: -ENOMEM,
 * -EAGAIN no thread.
 */
int rt_keeper_add(const struct rt_keeping *keeping, struct rt_keeper_slot **ret);

/* Ends it: `life` becomes 0, and all who slept on it are woken. */
void rt_keeper_remove(struct rt_keeper_slot *slot);

/* Leaves waking the rest of the sleepers on @topics to the keeper. */
void rt_keeper_wake(struct rt_keeper_slot *slot, uint32_t topics);

/* Says that something was committed for @topics; the sweep then wakes them too. */
void rt_keeper_note(struct rt_keeper_slot *slot, uint32_t topics);

#endif
