/* SPDX-License-Identifier: MIT */
/*
 * bell.h - sleep until a topic has news; wake who sleeps
 *
 * The futex words are in the ring (rt_hot.wakes), which readers cannot write.
 * Sleepers announce themselves in the bell, a page of its own.  The order of both
 * sides is what makes a lost wake-up impossible:
 *
 *	sleeper				writer
 *	v = wakes[t]			publish
 *	set bit t in the bell		barrier, or none if sleepers have it
 *	barrier				load the bell; if bit t is set:
 *	look at the ring again		    clear bit t
 *	sleep while wakes[t] == v	    wakes[t] += 1
 *					    FUTEX_WAKE wakes[t]
 *
 * Each pair of store and load is ordered by one of the barriers, so either the
 * sleeper's second look finds the event, or the writer finds the bit; and since
 * the word moves after the bit is cleared, a bit that is set again belongs to a
 * sleeper who read the new value or whose sleep ends at once.  tests/model/
 * checks this, and that each change of the order loses a wake-up.
 *
 * A word for each topic, with futex_waitv(2), rather than one word and a bitset:
 * a sleeper can then also wait for `life` and for its private cancel word, so
 * neither death nor cancellation can fall between a look and the sleep.
 */
#ifndef RINGTAIL_SHM_BELL_H
#define RINGTAIL_SHM_BELL_H

#include <linux/futex.h>

#include "shm/base.h"
#include "shm/layout.h"
#include "shm/order.h"

#define RT_SLEEP_MAX_NS UINT64_C(1000000000) /* a sleeper looks up once a second */
#define RT_POLL_NS      UINT64_C(1000000) /* ... or so often, if nobody can wake it */
#define RT_WAKE_INLINE  4 /* sleepers of a topic that a commit wakes by itself */
#define RT_SLEEP_TOPICS 8 /* more than so many topics: RT_TOPIC_ANY */
#define RT_SLEEP_WORDS  (RT_SLEEP_TOPICS + 2) /* topics, life, cancel */

/*
 * Is the file of @fd the bell named @id?  Read, not mapped: those who may write a
 * bell can truncate it at any moment.
 */
bool rt_bell_is(int fd, uint64_t id);

/* The topic of a key: a hash of what precedes its first '/'; 0 .. 30. */
uint32_t rt_topic(const void *key, size_t len);

/*
 * A sleeper's side.  @bell may be NULL: nobody can be told, the caller bounds its
 * sleep.  Ringing is done by a system call (FUTEX_WAKE_OP), so that a bell that
 * somebody truncated is an error here and not a SIGBUS: -EFAULT.
 */
struct rt_sleeper {
	const struct rt_hot *hot;
	struct rt_bell *bell;
	const _Atomic uint32_t
		*cancel;    /* private word, 0 until canceled; may be NULL */
	uint32_t topics;    /* bit mask; what to announce and wait for */
	bool always;        /* RT_WAKE_ALWAYS: no bell is needed */
	bool no_waitv;      /* kernel or sandbox without futex_waitv(2) */
	bool no_membarrier; /* likewise */
	uint32_t seen_life;
	uint32_t seen[RT_TOPICS]; /* values of the words, by rt_sleeper_arm() */
};

/* Reduces @topics to what a sleeper waits on: at most RT_SLEEP_TOPICS, or ANY. */
uint32_t rt_sleep_topics(uint32_t topics);

/*
 * The futexes of an armed sleeper as futex_waitv(2) and io_uring take them: cancel,
 * life, topics.  Returns how many; @ret has room for RT_SLEEP_WORDS.
 */
unsigned rt_sleeper_words(const struct rt_sleeper *sleeper, struct futex_waitv *ret);

/*
 * First half of going to sleep: remember the words, ring, barrier.  The caller
 * then looks at the ring again, and only if there is still nothing sleeps.
 * Returns 0; or 1 when it could not announce itself (the bell is missing or
 * truncated, no membarrier), so that only short sleeps are safe.
 */
int rt_sleeper_arm(struct rt_sleeper *sleeper);

/*
 * Second half: sleep until a word has moved, at most @timeout_ns.  Returns 0 when
 * woken or something had moved, -ETIMEDOUT, -EINTR.
 */
int rt_sleeper_wait(struct rt_sleeper *sleeper, uint64_t timeout_ns);

/* Wakes everybody who sleeps on `life`; works on a read-only mapping. */
void rt_wake_life(const struct rt_hot *hot);

/* Wakes everybody who sleeps on a word of wakes[]; after it was moved. */
void rt_wake_word(const _Atomic uint32_t *word);

/* Wakes whoever sleeps on a private word, such as a cancel word. */
void rt_wake_private(const _Atomic uint32_t *word);

/* membarrier(2): may the writer leave its barrier to the sleepers? */
bool rt_barrier_register(void);
bool rt_barrier_sleeper(void);

#endif
