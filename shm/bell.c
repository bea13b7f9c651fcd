/* SPDX-License-Identifier: MIT */
#include "shm/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

bool rt_bell_is(int fd, uint64_t id)
{
	uint64_t head[2]; /* magic and id */

	static_assert(offsetof(struct rt_bell, id) == sizeof(head[0]), "side by side");
	return id && pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       head[0] == RT_BELL_MAGIC && head[1] == id;
}

/*
 * ---- Topics ----
 *
 * Eight bytes at a time, since each event that is committed has one.  What is behind
 * the first '/', or the end, counts as zeros.
 */

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* The bytes of @word before the first '/'; *@ret_ends if there is one. */
static uint64_t before_slash(uint64_t word, bool *ret_ends)
{
	uint64_t other = word ^ EACH_BYTE * '/';
	/* The lowest bit set is that of the first byte of @other that is zero
	 * (graphics.stanford.edu/~seander/bithacks.html#ZeroInWord). */
	uint64_t zeros = (other - EACH_BYTE) & ~other & EACH_BYTE << 7;

	*ret_ends = zeros;
	return zeros ? word & (((zeros & -zeros) >> 7) - 1) : word;
}

static uint64_t load_few(const uint8_t *bytes, size_t len)
{
	uint64_t word = 0;
	uint32_t first, last;

	if (len >= sizeof(first)) {
		memcpy(&first, bytes, sizeof(first));
		memcpy(&last, bytes + len - sizeof(last), sizeof(last));
		return first | (uint64_t)last << 8 * (len - sizeof(last));
	}
	for (size_t i = 0; i < len; i++)
		word |= (uint64_t)bytes[i] << 8 * i;
	return word;
}

/* 2^64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4). */
static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

uint32_t rt_topic(const void *key, size_t len)
{
	const uint8_t *bytes = key;
	uint64_t hash = 0, word;
	bool ends = false;

	for (; len >= sizeof(word) && !ends; bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = mix(hash, before_slash(word, &ends));
		len -= sizeof(word);
	}
	if (!ends)
		hash = mix(hash, before_slash(load_few(bytes, len), &ends));
	return (uint32_t)(hash >> 32) % RT_TOPIC_HASHED;
}

uint32_t rt_sleep_topics(uint32_t topics)
{
	if (topics & 1u << RT_TOPIC_ANY || __builtin_popcount(topics) > RT_SLEEP_TOPICS)
		return 1u << RT_TOPIC_ANY;
	return topics;
}

/* Sets bit @topic of the bell.  The kernel also wakes who waits on it: nobody. */
static int ring(struct rt_bell *bell, unsigned topic)
{
	/* As the macro FUTEX_OP() packs it, without its signed shifts. */
	uint32_t op =
		(uint32_t)(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT) << 28 | topic << 12;

	if (syscall(SYS_futex, &bell->bits, FUTEX_WAKE_OP, 0, 0, &bell->bits, op) < 0)
		return -errno;
	return 0;
}

/*
 * Rings and orders; true if from now on a commit that matters is sure to wake us.
 * Pairs with the writer's barrier between publishing and its look at the bell.
 */
static bool announce(const struct rt_sleeper *sleeper)
{
	bool rung = sleeper->bell;

	for (uint32_t left = sleeper->topics; left && rung; left &= left - 1)
		rung = ring(sleeper->bell, (unsigned)__builtin_ctz(left)) == 0;
	rt_full_barrier();
	if (rung && rt_load32(&sleeper->hot->barrier) == RT_BARRIER_SLEEPER)
		rung = !sleeper->no_membarrier && rt_barrier_sleeper();
	return rung;
}

int rt_sleeper_arm(struct rt_sleeper *sleeper)
{

	sleeper->seen_life = rt_load32(&sleeper->hot->life);
	for (uint32_t left = sleeper->topics; left; left &= left - 1) {
		unsigned topic = (unsigned)__builtin_ctz(left);

		sleeper->seen[topic] = rt_load32(&sleeper->hot->wakes[topic]);
	}
	if (sleeper->always)
		return 0;
	/* A writer that sweeps wakes the unannounced too, a moment later. */
	return announce(sleeper) || rt_load64(&sleeper->hot->sweep_every_ns) ? 0 : 1;
}

static void deadline_in(uint64_t timeout_ns, struct timespec *ret)
{
	(void)clock_gettime(CLOCK_MONOTONIC, ret); /* cannot fail */
	ret->tv_sec += (time_t)(timeout_ns / 1000000000u);
	ret->tv_nsec += (long)(timeout_ns % 1000000000u);
	if (ret->tv_nsec >= 1000000000) {
		ret->tv_sec++;
		ret->tv_nsec -= 1000000000;
	}
}

static void wait_on(struct futex_waitv *waiter, const _Atomic uint32_t *word,
		    uint32_t value, uint32_t flags)
{
	*waiter = (struct futex_waitv){
		.val = value,
		.uaddr = (uintptr_t)word,
		.flags = FUTEX_32 | flags,
	};
}

unsigned rt_sleeper_words(const struct rt_sleeper *sleeper, struct futex_waitv *ret)
{
	unsigned n = 0;

	if (sleeper->cancel)
		wait_on(&ret[n++], sleeper->cancel, 0, FUTEX_PRIVATE_FLAG);
	wait_on(&ret[n++], &sleeper->hot->life, sleeper->seen_life, 0);
	for (uint32_t left = sleeper->topics; left; left &= left - 1) {
		unsigned topic = (unsigned)__builtin_ctz(left);

		wait_on(&ret[n++], &sleeper->hot->wakes[topic], sleeper->seen[topic],
			0);
	}
	return n;
}

/* Without futex_waitv(2): one word only, so the caller's look-ups must be frequent. */
static int wait_one(const struct rt_sleeper *sleeper, uint64_t timeout_ns)
{
	unsigned topic = (unsigned)__builtin_ctz(sleeper->topics);
	uint64_t bounded = rt_min(timeout_ns, 10 * RT_POLL_NS);
	struct timespec relative = { .tv_nsec = (long)bounded };

	if (sleeper->topics & (sleeper->topics - 1))
		relative.tv_nsec = (long)rt_min(bounded, RT_POLL_NS);
	if (syscall(SYS_futex, &sleeper->hot->wakes[topic], FUTEX_WAIT,
		    sleeper->seen[topic], &relative, NULL, 0) < 0 &&
	    errno != EAGAIN)
		return -errno;
	return 0;
}

int rt_sleeper_wait(struct rt_sleeper *sleeper, uint64_t timeout_ns)
{
	struct futex_waitv waiters[RT_SLEEP_WORDS];
	struct timespec deadline;
	unsigned n;

	if (sleeper->cancel && rt_load32(sleeper->cancel))
		return 0;
	if (sleeper->no_waitv)
		return wait_one(sleeper, timeout_ns);
	n = rt_sleeper_words(sleeper, waiters);
	deadline_in(timeout_ns, &deadline);
	if (syscall(SYS_futex_waitv, waiters, n, 0, &deadline, CLOCK_MONOTONIC) < 0 &&
	    errno != EAGAIN) {
		if (errno == ETIMEDOUT || errno == EINTR)
			return -errno;
		sleeper->no_waitv = true; /* ENOSYS, EPERM of a sandbox, ... */
		return wait_one(sleeper, timeout_ns);
	}
	return 0;
}

void rt_wake_word(const _Atomic uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void rt_wake_life(const struct rt_hot *hot)
{
	rt_wake_word(&hot->life);
}

void rt_wake_private(const _Atomic uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL,
		      NULL, 0);
}

bool rt_barrier_register(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0,
		       0) == 0;
}

bool rt_barrier_sleeper(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}
