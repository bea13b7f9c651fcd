/* SPDX-License-Identifier: MIT */
/*
 * renew.h - a log that begins anew, with a state and without a past
 *
 *	<folder>.new	made complete: a list of one epoch, one snapshot, no segment
 *	<folder>	swapped for it in one step; what was there goes then
 *
 * So whatever dies at any moment leaves the old log or the new one, whole, and maybe a
 * <folder>.new to be removed.  The caller keeps writers out meanwhile.
 */
#ifndef RINGTAIL_STORE_RENEW_H
#define RINGTAIL_STORE_RENEW_H

#include "store/build.h"

struct rt_renew {
	const char *log_path;
	/* What the snapshot shall say; events go on behind its seq, in its epoch, which
	 * is a random one if it is 0. */
	struct rt_snapshot_config snapshot;
	uint64_t max_key;   /* with a longer one it fails; 0: with none */
	bool drop_bound;    /* leaves out keys that are bound to connections */
	uint64_t n_entries; /* of the new snapshot, once it is prepared */
	/* Called every now and then while it is prepared, and negative to give up;
	 * NULL: not. */
	int (*go_on)(void *arg);
	void *go_on_arg;
};

/* Makes <folder>.new with what @state gives.  Nothing is left of it if that fails. */
int rt_renew_prepare(struct rt_renew *renew, struct rt_merge *state,
		     struct rt_fault *fault);

/* Swaps the two.  If it fails, all is as it was, <folder>.new too. */
int rt_renew_swap(const struct rt_renew *renew, struct rt_fault *fault);

/* Removes <folder>.new: what was, or what is not to be.  Files that are no part of a
 * log stay. */
void rt_renew_clean(const char *log_path);

/* The highest seq that anything in the log speaks of, whatever its state. */
int rt_renew_head(const char *log_path, uint64_t *ret);

#endif
