/* SPDX-License-Identifier: MIT */
/*
 * What changed, over what was.
 */
#include "store/build.h"

void rt_merge_begin(struct rt_merge *merge, struct rt_snapshot *old,
		    struct rt_delta *delta)
{
	*merge = (struct rt_merge){ .old = old, .delta = delta };
	if (delta)
		delta->at = 0;
}

void rt_merge_begin_on(struct rt_merge *merge, struct rt_delta *base,
		       struct rt_delta *delta)
{
	rt_merge_begin(merge, NULL, delta);
	merge->base = base;
	base->at = 0;
}

int rt_merge_seek(struct rt_merge *merge, const uint8_t *key, size_t len,
		  struct rt_fault *fault)
{
	struct rt_delta *delta = merge->delta;
	size_t low = 0, high = delta ? delta->n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rt_state *state = rt_delta_at(delta, middle);

		if (rt_key_compare(state->key, state->key_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (delta)
		delta->at = low;
	merge->has_ahead = false;
	merge->old_over = false;
	return merge->old ? rt_snapshot_seek(merge->old, key, len, fault) : 0;
}

static int next_of_base(struct rt_delta *base, struct rt_state *ret)
{
	const struct rt_state *state = rt_delta_next(base);

	if (state)
		*ret = *state;
	return state != NULL;
}

/* The old entry that comes next; only when it is needed, since its memory moves on. */
static int look_ahead(struct rt_merge *merge, struct rt_fault *fault)
{
	int r;

	if ((!merge->old && !merge->base) || merge->has_ahead || merge->old_over)
		return 0;
	r = merge->base ? next_of_base(merge->base, &merge->ahead)
			: rt_snapshot_next(merge->old, fault, &merge->ahead);
	merge->has_ahead = r == 1;
	merge->old_over = r == 0;
	return r < 0 ? r : 0;
}

int rt_merge_next(struct rt_merge *merge, struct rt_fault *fault, struct rt_state *ret)
{
	struct rt_delta *delta = merge->delta;

	for (;;) {
		const struct rt_state *change = delta && delta->at < delta->n
							? rt_delta_at(delta, delta->at)
							: NULL;
		int r = look_ahead(merge, fault);
		int c;

		if (r < 0)
			return r;
		if (!change && !merge->has_ahead)
			return 0;
		c = !change ? -1
		    : !merge->has_ahead
			    ? 1
			    : rt_key_compare(merge->ahead.key, merge->ahead.key_len,
					     change->key, change->key_len);
		if (c <= 0)
			merge->has_ahead = false;
		if (c < 0) {
			*ret = merge->ahead;
			return 1;
		}
		change = rt_delta_next(delta);
		if (!change->deleted) {
			*ret = *change;
			return 1;
		}
	}
}
