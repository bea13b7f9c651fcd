/* SPDX-License-Identifier: MIT */
/*
 * expiry.h - which keys end by themselves: at a deadline, or with their holder
 *
 * Most keys do neither and cost nothing here.  One that does has a life: its
 * deadline, in a heap with the earliest on top, and its holder, the connection that
 * it is bound to, in a list.
 *
 *	               add              wake
 *	   no life  -------->  asleep  ------->  awake: in the heap and the list
 *	            <--------          <-------
 *	               drop             sleep
 *
 * A life is asleep while its entry is out of the table but may come back, by the
 * abort of a transaction; waking cannot fail.  Pure; knows no clock.
 */
#ifndef RINGTAIL_DAEMON_EXPIRY_H
#define RINGTAIL_DAEMON_EXPIRY_H

#include "store/table.h"

struct rt_feed;

/* Whose keys end together; memory of its owner. */
struct rt_holder {
	struct rt_holder *next; /* of the same owner */
	struct rt_feed *feed;
	size_t n;       /* keys */
	uint32_t first; /* 1 + the place of their newest life; 0: none */
	bool ended;     /* they are over, and are being deleted */
};

struct rt_life {
	struct rt_entry *entry;
	uint64_t deadline_ms;     /* CLOCK_REALTIME; 0: none */
	struct rt_holder *holder; /* NULL: none */
	uint32_t due_at;          /* 1 + place in the heap; 0: not in it */
	uint32_t next, prev;      /* of the holder, or the next free one; 1 + place */
	bool awake;
};

struct rt_due {
	uint64_t deadline_ms;
	uint32_t at; /* the life's place */
};

struct rt_lives {
	struct rt_life *all;
	struct rt_due *due; /* the heap; has room for all */
	uint32_t cap;
	uint32_t used; /* places that were in use at some time */
	uint32_t free; /* 1 + the first of those that are free again */
	uint32_t n;    /* lives */
	uint32_t n_due;
};

void rt_lives_fini(struct rt_lives *lives);

/* 0, or -ENOMEM.  @deadline_ms 0 and @holder NULL: none. */
int rt_lives_add(struct rt_lives *lives, struct rt_entry *entry, uint64_t deadline_ms,
		 struct rt_holder *holder);

/* These three do nothing for an entry without a life. */
void rt_lives_wake(struct rt_lives *lives, struct rt_entry *entry);
void rt_lives_sleep(struct rt_lives *lives, struct rt_entry *entry);
void rt_lives_drop(struct rt_lives *lives, struct rt_entry *entry);
/* ... and the entry; NULL is fine. */
void rt_lives_free(struct rt_lives *lives, struct rt_entry *entry);

/* NULL: it has none. */
RT_INLINE const struct rt_life *rt_life_of(const struct rt_lives *lives,
					   const struct rt_entry *entry)
{
	return RT_UNLIKELY(entry->life) ? &lives->all[entry->life - 1] : NULL;
}

/* The earliest deadline; UINT64_MAX if there is none. */
uint64_t rt_lives_next_ms(const struct rt_lives *lives);

/* An entry whose deadline is not after @now_ms, the earliest of them; or NULL. */
struct rt_entry *rt_lives_due(const struct rt_lives *lives, uint64_t now_ms);

/* One of the holder's entries; NULL if it has none. */
struct rt_entry *rt_lives_held(const struct rt_lives *lives,
			       const struct rt_holder *holder);

#endif
