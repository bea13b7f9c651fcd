/* SPDX-License-Identifier: MIT */
#include "shm/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "shm/bell.h"
#include "shm/order.h"
#include "shm/segment.h"
#include "shm/thread.h"

#define SWEEP_NS UINT64_C(1000000)

/*
 * The kernel finds the word of a robust-list entry at a fixed distance from the
 * entry, one distance for the whole list.  So each kept ring gets two pages side by
 * side: a private one with the entry, and a second mapping of the ring's hot words;
 * then `life` is always one page behind its entry, and no pointer is ever shared.
 */
struct entry_page {
	uint8_t pad[offsetof(struct rt_hot, life)];
	struct robust_list entry;
	uint8_t rest[RT_PAGE - offsetof(struct rt_hot, life) -
		     sizeof(struct robust_list)];
};
static_assert(sizeof(struct entry_page) == RT_PAGE, "an entry page is a page");

struct rt_keeper_slot {
	struct entry_page *pages; /* and the hot page behind it */
	struct rt_hot *hot;
	int fds[2]; /* with the writer's locks */
	uint64_t beat_every_ns;
	uint64_t beaten_ns;
	struct rt_keeper_slot *next;
	_Atomic uint32_t noted;  /* topics with commits since the last sweep */
	_Atomic uint32_t wanted; /* topics whose remaining sleepers are to be woken */
};

static struct {
	pthread_mutex_t life_lock; /* held while the thread is started or joined */
	pthread_mutex_t lock;      /* of the list of slots */
	pthread_t thread;
	struct rt_keeper_slot *slots;
	struct robust_list_head robust; /* only the keeper's thread owns it */
	uint32_t tid;
	_Atomic uint32_t kick; /* futex the thread sleeps on */
	_Atomic uint32_t idle; /* 1 while nobody but a kick would make it look */
	_Atomic uint32_t started;
	bool stop;
} keeper = {
	.life_lock = PTHREAD_MUTEX_INITIALIZER,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
	struct timespec relative = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &relative, NULL, 0);
}

static void kick(void)
{
	(void)rt_add32(&keeper.kick, 1);
	(void)syscall(SYS_futex, &keeper.kick, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void wake_all(struct rt_hot *hot, uint32_t topics)
{
	for (; topics; topics &= topics - 1) {
		_Atomic uint32_t *word = &hot->wakes[__builtin_ctz(topics)];

		(void)rt_add32(word, 1);
		rt_wake_word(word);
	}
}

/* Returns the topics swept; *ret_next is lowered to when the ring wants its next beat.
 */
static uint32_t serve(struct rt_keeper_slot *slot, uint64_t now, bool sweep,
		      uint64_t *ret_next)
{
	uint32_t noted = sweep ? atomic_exchange(&slot->noted, 0) : 0;
	uint32_t wanted = atomic_exchange(&slot->wanted, 0);

	if (noted) {
		wake_all(slot->hot, noted);
		rt_store64(&slot->hot->n_sweeps, rt_own64(&slot->hot->n_sweeps) + 1);
	}
	wake_all(slot->hot, wanted & ~noted);
	if (slot->beat_every_ns) {
		if (now - slot->beaten_ns >= slot->beat_every_ns) {
			rt_store64(&slot->hot->heartbeat_ns, now);
			slot->beaten_ns = now;
		}
		*ret_next = rt_min(*ret_next, slot->beaten_ns + slot->beat_every_ns);
	}
	return noted;
}

/* One look at all rings; returns how long the thread may sleep. */
static uint64_t round_of_all(uint64_t *swept_ns)
{
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);
	uint64_t next = UINT64_MAX;
	bool sweep = now - *swept_ns >= SWEEP_NS;
	uint32_t swept = 0;
	uint32_t noted = 0;

	for (struct rt_keeper_slot *slot = keeper.slots; slot; slot = slot->next) {
		swept |= serve(slot, now, sweep, &next);
		noted |= rt_load32(&slot->noted);
	}
	if (sweep && swept)
		*swept_ns = now;
	if (swept || noted) {
		/* Commits go on: look again in a millisecond, kicked or not. */
		rt_store32(&keeper.idle, 0);
		return SWEEP_NS;
	}
	return next == UINT64_MAX ? 3600 * UINT64_C(1000000000) : next - now;
}

static void *keep(void *unused)
{
	uint64_t swept_ns = 0;

	keeper.robust = (struct robust_list_head){
		.list = { .next = &keeper.robust.list },
		.futex_offset = RT_PAGE,
	};
	(void)syscall(SYS_set_robust_list, &keeper.robust, sizeof(keeper.robust));
	keeper.tid = (uint32_t)syscall(SYS_gettid);
	rt_store32(&keeper.started, 1);
	(void)syscall(SYS_futex, &keeper.started, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);

	for (;;) {
		uint32_t seen = rt_load32(&keeper.kick);
		uint64_t sleep_ns;

		/* Pairs with the or in rt_keeper_note(): either it sees idle and
		 * kicks, or the round below sees its topics. */
		(void)atomic_exchange(&keeper.idle, 1);
		(void)pthread_mutex_lock(&keeper.lock);
		if (keeper.stop) {
			(void)pthread_mutex_unlock(&keeper.lock);
			return unused;
		}
		sleep_ns = round_of_all(&swept_ns);
		(void)pthread_mutex_unlock(&keeper.lock);
		futex_wait(&keeper.kick, seen, sleep_ns);
	}
}

static int start_thread(void)
{
	int r;

	keeper.stop = false;
	rt_store32(&keeper.started, 0);
	r = rt_thread_start(&keeper.thread, keep, NULL);
	if (r < 0)
		return r;
	(void)pthread_setname_np(keeper.thread, "ringtail-keeper");
	while (!rt_load32(&keeper.started))
		futex_wait(&keeper.started, 0, UINT64_C(1000000000));
	return 0;
}

static struct entry_page *map_pages(int ring_fd)
{
	uint8_t *pages = mmap(NULL, 2 * RT_PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	if (mmap(pages + RT_PAGE, RT_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, ring_fd, RT_PAGE) == MAP_FAILED) {
		(void)munmap(pages, 2 * RT_PAGE);
		return NULL;
	}
	return (struct entry_page *)(void *)pages;
}

static _Atomic uint32_t *life_of(struct rt_keeper_slot *slot)
{
	return &((struct rt_hot *)(void *)((uint8_t *)slot->pages + RT_PAGE))->life;
}

/*
 * Links the entry by a single store, so that the list is whole at whatever
 * instruction the process dies; only then does `life` name the thread.
 */
static void link_slot(struct rt_keeper_slot *slot)
{
	slot->pages->entry.next = keeper.robust.list.next;
	rt_compiler_barrier();
	keeper.robust.list.next = &slot->pages->entry;
	rt_compiler_barrier();
	rt_store32(life_of(slot), keeper.tid | FUTEX_WAITERS);
	slot->next = keeper.slots;
	keeper.slots = slot;
}

static void unlink_slot(struct rt_keeper_slot *slot)
{
	struct robust_list *entry = &keeper.robust.list;

	rt_store32(life_of(slot), 0);
	while (entry->next != &slot->pages->entry)
		entry = entry->next;
	entry->next = slot->pages->entry.next;
	for (struct rt_keeper_slot **at = &keeper.slots; *at; at = &(*at)->next) {
		if (*at == slot) {
			*at = slot->next;
			break;
		}
	}
}

/*
 * ---- fork() ----
 */

static void before_fork(void)
{
	(void)pthread_mutex_lock(&keeper.life_lock);
	(void)pthread_mutex_lock(&keeper.lock);
}

static void after_fork(void)
{
	(void)pthread_mutex_unlock(&keeper.lock);
	(void)pthread_mutex_unlock(&keeper.life_lock);
}

/* The numbers stay taken: the child's copies of the writers still name them. */
static void after_fork_in_child(void)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (struct rt_keeper_slot *slot = keeper.slots; slot; slot = slot->next) {
		for (size_t i = 0; i < RT_N(slot->fds); i++) {
			if (nothing < 0 || dup3(nothing, slot->fds[i], O_CLOEXEC) < 0)
				(void)close(slot->fds[i]);
		}
	}
	if (nothing >= 0)
		(void)close(nothing);
	keeper.slots = NULL;
	after_fork();
}

static void mind_forks(void)
{
	/* Fails only for want of memory; then children are not cared for. */
	(void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

int rt_keeper_add(const struct rt_keeping *keeping, struct rt_keeper_slot **ret)
{
	static pthread_once_t minded = PTHREAD_ONCE_INIT;
	AUTO_FREE struct rt_keeper_slot *slot = calloc(1, sizeof(*slot));
	int r = 0;

	if (!slot)
		return -ENOMEM;
	slot->pages = map_pages(keeping->ring_fd);
	if (!slot->pages)
		return -ENOMEM;
	slot->hot = keeping->hot;
	slot->fds[0] = keeping->lock_fd;
	slot->fds[1] = keeping->ring_fd;
	slot->beat_every_ns = keeping->beat_every_ns;
	(void)pthread_once(&minded, mind_forks);

	(void)pthread_mutex_lock(&keeper.life_lock);
	if (!keeper.slots)
		r = start_thread();
	if (!r) {
		(void)pthread_mutex_lock(&keeper.lock);
		link_slot(slot);
		(void)pthread_mutex_unlock(&keeper.lock);
	}
	(void)pthread_mutex_unlock(&keeper.life_lock);
	if (r < 0) {
		(void)munmap(slot->pages, 2 * RT_PAGE);
		return r;
	}
	kick(); /* a beat may be due earlier than the thread thinks */
	*ret = rt_take_ptr(&slot);
	return 0;
}

void rt_keeper_remove(struct rt_keeper_slot *slot)
{
	bool last;

	(void)pthread_mutex_lock(&keeper.life_lock);
	(void)pthread_mutex_lock(&keeper.lock);
	unlink_slot(slot);
	last = !keeper.slots;
	keeper.stop = last;
	(void)pthread_mutex_unlock(&keeper.lock);
	rt_wake_life(slot->hot);
	if (last) {
		kick();
		(void)pthread_join(keeper.thread, NULL);
	}
	(void)pthread_mutex_unlock(&keeper.life_lock);
	(void)munmap(slot->pages, 2 * RT_PAGE);
	free(slot);
}

void rt_keeper_wake(struct rt_keeper_slot *slot, uint32_t topics)
{
	(void)rt_or32(&slot->wanted, topics);
	kick();
}

void rt_keeper_note(struct rt_keeper_slot *slot, uint32_t topics)
{
	if ((rt_load32(&slot->noted) & topics) == topics)
		return;
	(void)rt_or32(&slot->noted, topics);
	/* Not an acquire, which could come before the or. */
	if (atomic_load(&keeper.idle) && atomic_exchange(&keeper.idle, 0))
		kick();
}
