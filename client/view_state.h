/* SPDX-License-Identifier: MIT */
/*
 * view_state.h - the keys of a view and what transactions do to them
 *
 * Knows neither readers nor threads.  A transaction is taken in two steps, of which the
 * first can fail and changes nothing, and the second cannot fail.
 */
#ifndef RINGTAIL_CLIENT_VIEW_STATE_H
#define RINGTAIL_CLIENT_VIEW_STATE_H

#include <ringtail.h>

#include "client/view_order.h"

/* What an event does. */
struct rt_step {
	const struct ringtail_event *event;
	uint64_t hash;          /* of its key */
	struct rt_entry *entry; /* new, or the one that takes the value; NULL: delete */
	bool in_place;
	bool changed; /* done, and the key is or was there */
	bool had_old;
	const uint8_t *old_value;
	size_t old_len;
};

struct rt_view_state {
	struct rt_table table;
	struct rt_order order;
	bool filling;          /* the entries are in the order alone */
	struct rt_step *steps; /* of the transactions that are being taken */
	size_t n_steps, steps_cap;
	uint8_t *scratch; /* values that are replaced in place */
	size_t scratch_cap;
};

/* -ENOMEM */
int rt_view_state_init(struct rt_view_state *state, uint64_t seed);
void rt_view_state_fini(struct rt_view_state *state);

/*
 * Entries of a snapshot, in order of their keys, into an empty state; found by hash
 * only after rt_view_state_filled().  -ENOMEM; RINGTAIL_E_CORRUPT they are not in
 * order.
 */
int rt_view_state_fill(struct rt_view_state *state, const struct ringtail_event *events,
		       size_t n);
int rt_view_state_filled(struct rt_view_state *state);

/*
 * One transaction or more, all of it: -ENOMEM and nothing has changed, or 0; then it
 * happens by rt_view_state_commit().  What `steps` point to stays until
 * rt_view_state_done().
 */
int rt_view_state_prepare(struct rt_view_state *state,
			  const struct ringtail_event *events, size_t n);
void rt_view_state_commit(struct rt_view_state *state);
void rt_view_state_done(struct rt_view_state *state);

struct rt_entry *rt_view_state_find(const struct rt_view_state *state, const void *key,
				    size_t len);

/*
 * What is different in @now, both with their orders settled: puts and deletes, in order
 * of keys.  @was NULL: everything is new.
 */
void rt_view_state_compare(const struct rt_view_state *was,
			   const struct rt_view_state *now,
			   void (*tell)(void *arg, const struct rt_entry *was,
					const struct rt_entry *now),
			   void *arg);

#endif
