/* SPDX-License-Identifier: MIT */
#include "daemon/expiry.h"

#include <errno.h>

#define N_FIRST 64u

void rt_lives_fini(struct rt_lives *lives)
{
	free(lives->all);
	free(lives->due);
	*lives = (struct rt_lives){ .cap = 0 };
}

/*
 * ---- The heap ----------------------------------------------------------------
 */

static void set_due(struct rt_lives *lives, uint32_t i, struct rt_due due)
{
	lives->due[i] = due;
	lives->all[due.at].due_at = i + 1;
}

/* Puts @due where @i is free, or above. */
static void sift_up(struct rt_lives *lives, uint32_t i, struct rt_due due)
{
	while (i) {
		uint32_t above = (i - 1) / 2;

		if (lives->due[above].deadline_ms <= due.deadline_ms)
			break;
		set_due(lives, i, lives->due[above]);
		i = above;
	}
	set_due(lives, i, due);
}

/* Likewise, or below. */
static void sift_down(struct rt_lives *lives, uint32_t i, struct rt_due due)
{
	for (;;) {
		uint64_t below = 2 * (uint64_t)i + 1;

		if (below >= lives->n_due)
			break;
		if (below + 1 < lives->n_due &&
		    lives->due[below + 1].deadline_ms < lives->due[below].deadline_ms)
			below++;
		if (lives->due[below].deadline_ms >= due.deadline_ms)
			break;
		set_due(lives, i, lives->due[below]);
		i = (uint32_t)below;
	}
	set_due(lives, i, due);
}

static void heap_remove(struct rt_lives *lives, struct rt_life *life)
{
	uint32_t i = life->due_at - 1;
	struct rt_due last = lives->due[--lives->n_due];

	life->due_at = 0;
	if (i == lives->n_due)
		return;
	if (i && lives->due[(i - 1) / 2].deadline_ms > last.deadline_ms)
		sift_up(lives, i, last);
	else
		sift_down(lives, i, last);
}

/*
 * ---- The list of a holder ----------------------------------------------------
 */

static void list_add(struct rt_lives *lives, uint32_t at)
{
	struct rt_life *life = &lives->all[at];

	life->prev = 0;
	life->next = life->holder->first;
	if (life->next)
		lives->all[life->next - 1].prev = at + 1;
	life->holder->first = at + 1;
	life->holder->n++;
}

static void list_remove(struct rt_lives *lives, struct rt_life *life)
{
	if (life->prev)
		lives->all[life->prev - 1].next = life->next;
	else
		life->holder->first = life->next;
	if (life->next)
		lives->all[life->next - 1].prev = life->prev;
	life->holder->n--;
}

/*
 * ---- Lives -------------------------------------------------------------------
 */

static bool grow(struct rt_lives *lives)
{
	uint32_t cap = lives->cap ? lives->cap * 2 : N_FIRST;
	struct rt_life *all;
	struct rt_due *due;

	if (cap > UINT32_MAX / 2)
		return false;
	all = realloc(lives->all, cap * sizeof(*all));
	if (!all)
		return false;
	lives->all = all;
	due = realloc(lives->due, cap * sizeof(*due));
	if (!due)
		return false;
	lives->due = due;
	lives->cap = cap;
	return true;
}

int rt_lives_add(struct rt_lives *lives, struct rt_entry *entry, uint64_t deadline_ms,
		 struct rt_holder *holder)
{
	uint32_t at;

	assert(!entry->life);
	if (lives->free) {
		at = lives->free - 1;
		lives->free = lives->all[at].next;
	} else {
		if (lives->used == lives->cap && !grow(lives))
			return -ENOMEM;
		at = lives->used++;
	}
	lives->all[at] = (struct rt_life){
		.entry = entry,
		.deadline_ms = deadline_ms,
		.holder = holder,
	};
	lives->n++;
	entry->life = at + 1;
	return 0;
}

void rt_lives_wake(struct rt_lives *lives, struct rt_entry *entry)
{
	struct rt_life *life;

	if (!entry->life)
		return;
	life = &lives->all[entry->life - 1];
	assert(!life->awake);
	life->awake = true;
	if (life->deadline_ms)
		sift_up(lives, lives->n_due++,
			(struct rt_due){ life->deadline_ms, entry->life - 1 });
	if (life->holder)
		list_add(lives, entry->life - 1);
}

void rt_lives_sleep(struct rt_lives *lives, struct rt_entry *entry)
{
	struct rt_life *life;

	if (!entry->life)
		return;
	life = &lives->all[entry->life - 1];
	if (!life->awake)
		return;
	life->awake = false;
	if (life->due_at)
		heap_remove(lives, life);
	if (life->holder)
		list_remove(lives, life);
}

void rt_lives_drop(struct rt_lives *lives, struct rt_entry *entry)
{
	uint32_t life = entry->life;

	if (!life)
		return;
	rt_lives_sleep(lives, entry);
	entry->life = 0;
	lives->all[life - 1] = (struct rt_life){ .next = lives->free };
	lives->free = life;
	if (!--lives->n)
		rt_lives_fini(lives); /* what many once needed */
}

void rt_lives_free(struct rt_lives *lives, struct rt_entry *entry)
{
	if (!entry)
		return;
	rt_lives_drop(lives, entry);
	free(entry);
}

uint64_t rt_lives_next_ms(const struct rt_lives *lives)
{
	return lives->n_due ? lives->due[0].deadline_ms : UINT64_MAX;
}

struct rt_entry *rt_lives_due(const struct rt_lives *lives, uint64_t now_ms)
{
	return rt_lives_next_ms(lives) <= now_ms && lives->n_due
		       ? lives->all[lives->due[0].at].entry
		       : NULL;
}

struct rt_entry *rt_lives_held(const struct rt_lives *lives,
			       const struct rt_holder *holder)
{
	return holder->first ? lives->all[holder->first - 1].entry : NULL;
}
