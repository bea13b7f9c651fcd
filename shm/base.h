/* SPDX-License-Identifier: MIT */
/*
 * base.h - what every file needs: scoped ownership, branch hints, bounds
 *
 * Not a place for anything that knows about feeds.
 */
#ifndef RINGTAIL_SHM_BASE_H
#define RINGTAIL_SHM_BASE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RT_LIKELY(x)   __builtin_expect(!!(x), 1)
#define RT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define RT_INLINE      static inline __attribute__((always_inline))
#define RT_COLD        __attribute__((cold, noinline))
#define RT_N(array)    (sizeof(array) / sizeof((array)[0]))

/* One resource, declared and initialised together, released at scope's end. */
#define AUTO(fn)   __attribute__((cleanup(fn)))
#define AUTO_CLOSE AUTO(rt_close_fd)
#define AUTO_FREE  AUTO(rt_free_ptr)

static inline void rt_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing to do about it at scope's end */
}

static inline void rt_free_ptr(void *ptr)
{
	free(*(void **)ptr);
}

/* Hands a descriptor over: the cleanup above then leaves it alone. */
static inline int rt_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void *rt_take_ptr(void *ptr)
{
	void *taken = *(void **)ptr;

	*(void **)ptr = NULL;
	return taken;
}

RT_INLINE uint64_t rt_round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) & ~(to - 1); /* @to is a power of two */
}

RT_INLINE uint64_t rt_round_down(uint64_t value, uint64_t to)
{
	return value & ~(to - 1); /* likewise */
}

/* Has another thread said that what is being done is wanted no more?  NULL: it cannot.
 */
RT_INLINE bool rt_is_canceled(const _Atomic bool *cancel)
{
	return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

RT_INLINE bool rt_is_pow2(uint64_t value)
{
	return value && !(value & (value - 1));
}

RT_INLINE uint64_t rt_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

RT_INLINE uint64_t rt_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * The text of the newest refusal: what, where, and what to do about it.  The
 * code travels as the return value; whoever reports it prints this text.
 */
struct rt_fault {
	char text[512];
};

#define rt_fault_set(fault, ...) \
	do { \
		struct rt_fault *rt_fault_ = (fault); \
		if (rt_fault_) \
			(void)snprintf(rt_fault_->text, sizeof(rt_fault_->text), \
				       __VA_ARGS__); \
	} while (0)

#endif
