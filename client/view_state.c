/* SPDX-License-Identifier: MIT */
#include "client/view_state.h"

#include <errno.h>

#define AHEAD 16u /* keys whose memory is asked for before it is used */

/* rt_entry.life while a transaction is prepared: some step of it takes it out. */
#define LEAVES 2u

int rt_view_state_init(struct rt_view_state *state, uint64_t seed)
{
	*state = (struct rt_view_state){ .n_steps = 0 };
	return rt_table_init(&state->table, seed);
}

void rt_view_state_fini(struct rt_view_state *state)
{
	for (size_t i = 0; state->filling && i < state->order.n; i++)
		free(state->order.entries[i]);
	rt_order_fini(&state->order);
	rt_table_fini(&state->table);
	free(state->steps);
	free(state->scratch);
	*state = (struct rt_view_state){ .n_steps = 0 };
}

struct rt_entry *rt_view_state_find(const struct rt_view_state *state, const void *key,
				    size_t len)
{
	return rt_table_find(&state->table, rt_table_hash(&state->table, key, len), key,
			     len);
}

static struct rt_entry *make_entry(const struct ringtail_event *event, uint64_t hash)
{
	struct rt_entry *entry = rt_entry_new(hash, event->key, event->key_len,
					      event->value, event->value_len);

	if (!entry)
		return NULL;
	entry->seq = event->seq;
	entry->time_ns = event->time_ns;
	return entry;
}

/*
 * ---- A state as a whole ----
 */

static bool is_next(const struct rt_order *order, const struct ringtail_event *event)
{
	return !order->n || rt_entry_compare(order->entries[order->n - 1], event->key,
					     event->key_len) < 0;
}

/* Nothing is in the table until all is there: it is then made of the right size. */
int rt_view_state_fill(struct rt_view_state *state, const struct ringtail_event *events,
		       size_t n)
{
	state->filling = true;
	for (size_t i = 0; i < n; i++) {
		struct rt_entry *entry;

		if (!is_next(&state->order, &events[i]))
			return RINGTAIL_E_CORRUPT;
		entry = make_entry(
			&events[i],
			rt_table_hash(&state->table, events[i].key, events[i].key_len));
		if (!entry)
			return -ENOMEM;
		if (rt_order_append(&state->order, entry) < 0) {
			free(entry);
			return -ENOMEM;
		}
	}
	return 0;
}

int rt_view_state_filled(struct rt_view_state *state)
{
	struct rt_order *order = &state->order;
	int e = rt_table_reserve(&state->table, order->n);

	if (e < 0)
		return e;
	for (size_t i = 0; i < order->n; i++) {
		if (i + AHEAD < order->n)
			rt_table_expect_bucket(&state->table,
					       order->entries[i + AHEAD]->hash);
		(void)rt_table_insert(&state->table, order->entries[i]);
	}
	order->kept = true;
	state->filling = false;
	return 0;
}

void rt_view_state_compare(const struct rt_view_state *was,
			   const struct rt_view_state *now,
			   void (*tell)(void *arg, const struct rt_entry *was,
					const struct rt_entry *now),
			   void *arg)
{
	const struct rt_order *a = was ? &was->order : NULL, *b = &now->order;
	size_t i = 0, k = 0;

	while ((a && i < a->n) || k < b->n) {
		struct rt_entry *old = a && i < a->n ? a->entries[i] : NULL;
		struct rt_entry *new = k < b->n ? b->entries[k] : NULL;
		int order =
			!old   ? 1
			: !new ? -1
			       : rt_entry_compare(old, rt_entry_key(new), new->key_len);

		i += order <= 0;
		k += order >= 0;
		if (order < 0)
			tell(arg, old, NULL);
		else if (order > 0)
			tell(arg, NULL, new);
		else if (old->seq != new->seq || old->value_len != new->value_len ||
			 memcmp(rt_entry_value(old), rt_entry_value(new),
				new->value_len) != 0)
			tell(arg, old, new);
	}
}

/*
 * ---- A transaction ----
 */

static int reserve_steps(struct rt_view_state *state, size_t n)
{
	struct rt_step *steps;

	if (RT_LIKELY(n <= state->steps_cap))
		return 0;
	steps = reallocarray(state->steps, n, sizeof(struct rt_step));
	if (!steps)
		return -ENOMEM;
	state->steps = steps;
	state->steps_cap = n;
	return 0;
}

static int reserve_scratch(struct rt_view_state *state, size_t size)
{
	uint8_t *scratch;

	if (RT_LIKELY(size <= state->scratch_cap))
		return 0;
	size = rt_max(size, state->scratch_cap * 2);
	scratch = realloc(state->scratch, size);
	if (!scratch)
		return -ENOMEM;
	state->scratch = scratch;
	state->scratch_cap = size;
	return 0;
}

static struct rt_entry *find(const struct rt_view_state *state,
			     const struct rt_step *step)
{
	return rt_table_find(&state->table, step->hash, step->event->key,
			     step->event->key_len);
}

/*
 * The entry that is there takes the value, if that fits and if no step takes it out
 * before or after; else a new one is made.
 */
static int prepare_step(struct rt_view_state *state, struct rt_step *step,
			size_t *scratch)
{
	const struct ringtail_event *event = step->event;
	struct rt_entry *there;

	if (event->op == RINGTAIL_MESSAGE)
		return 0;
	there = find(state, step);
	if (event->op == RINGTAIL_PUT && there && !there->life &&
	    rt_entry_takes(there, event->value_len)) {
		*scratch += there->value_cap;
		step->entry = there;
		step->in_place = true;
		return 0;
	}
	if (there)
		there->life = LEAVES;
	if (event->op != RINGTAIL_PUT)
		return 0;
	step->entry = make_entry(event, step->hash);
	return step->entry ? 0 : -ENOMEM;
}

/* Some steps at once, so that the memory of their keys comes at once. */
static void look_ahead(struct rt_view_state *state, const struct ringtail_event *events,
		       size_t n)
{
	struct rt_step *steps = &state->steps[state->n_steps];
	uint64_t hashes[AHEAD];

	for (size_t i = 0; i < n; i++) {
		hashes[i] =
			rt_table_hash(&state->table, events[i].key, events[i].key_len);
		steps[i] = (struct rt_step){ .event = &events[i], .hash = hashes[i] };
	}
	if (n > 1)
		rt_table_expect(&state->table, hashes, n);
}

static int prepare_steps(struct rt_view_state *state,
			 const struct ringtail_event *events, size_t n)
{
	size_t scratch = 0;

	for (size_t i = 0; i < n; i += AHEAD) {
		size_t some = rt_min(n - i, AHEAD);

		look_ahead(state, &events[i], some);
		for (size_t k = 0; k < some; k++) {
			int e = prepare_step(state, &state->steps[state->n_steps++],
					     &scratch);

			if (e < 0)
				return e;
		}
	}
	return reserve_scratch(state, scratch);
}

/* Nothing leaves the table, nothing comes. */
static void undo_prepare(struct rt_view_state *state)
{
	for (size_t i = 0; i < state->n_steps; i++) {
		struct rt_step *step = &state->steps[i];
		struct rt_entry *there = find(state, step);

		if (there)
			there->life = 0;
		if (!step->in_place)
			free(step->entry);
	}
	state->n_steps = 0;
}

int rt_view_state_prepare(struct rt_view_state *state,
			  const struct ringtail_event *events, size_t n)
{
	int e = reserve_steps(state, n);

	if (e < 0)
		return e;
	state->n_steps = 0;
	e = prepare_steps(state, events, n);
	if (e < 0)
		undo_prepare(state);
	return e;
}

/* An old value of no bytes is one, wherever it is. */
static void keep_old(struct rt_step *step, const uint8_t *value, size_t len)
{
	step->had_old = true;
	step->old_value = value ? value : (const uint8_t *)"";
	step->old_len = len;
}

static void leave(struct rt_view_state *state, struct rt_step *step,
		  struct rt_entry *old)
{
	keep_old(step, rt_entry_value(old), old->value_len);
	rt_order_remove(&state->order, old);
}

static void put_in_place(struct rt_view_state *state, struct rt_step *step,
			 uint8_t *scratch)
{
	struct rt_entry *entry = step->entry;

	if (entry->value_len)
		memcpy(scratch, rt_entry_value(entry), entry->value_len);
	keep_old(step, scratch, entry->value_len);
	rt_table_set(&state->table, entry, step->event->value, step->event->value_len);
	entry->seq = step->event->seq;
	entry->time_ns = step->event->time_ns;
}

static void put_new(struct rt_view_state *state, struct rt_step *step)
{
	struct rt_entry *old = rt_table_insert(&state->table, step->entry);

	if (old)
		leave(state, step, old);
	rt_order_add(&state->order, step->entry);
}

static bool delete_key(struct rt_view_state *state, struct rt_step *step)
{
	struct rt_entry *old = find(state, step);

	if (!old)
		return false;
	rt_table_remove(&state->table, old);
	leave(state, step, old);
	return true;
}

void rt_view_state_commit(struct rt_view_state *state)
{
	uint8_t *scratch = state->scratch;

	for (size_t i = 0; i < state->n_steps; i++) {
		struct rt_step *step = &state->steps[i];

		step->changed = true;
		if (step->in_place) {
			put_in_place(state, step, scratch);
			scratch += step->old_len;
		} else if (step->entry) {
			put_new(state, step);
		} else {
			step->changed = step->event->op == RINGTAIL_DELETE &&
					delete_key(state, step);
		}
	}
}

void rt_view_state_done(struct rt_view_state *state)
{
	state->n_steps = 0;
	rt_order_bury(&state->order);
}
