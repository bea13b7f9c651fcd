/* SPDX-License-Identifier: MIT */
/*
 * order.h - every load and store of a word that two processes share
 *
 * Nothing else in the project touches shared words.  The rules:
 *
 *  - a word that the other side polls is stored with release and loaded with
 *    acquire;
 *  - bytes that may be overwritten while they are read (slots, payload) are
 *    copied by rt_copy_in() and rt_copy_out(); the reader then asks whether it
 *    was overtaken.  Every store of rt_copy_in() stays behind earlier release
 *    stores (the floor) and every load of rt_copy_out() before later acquire
 *    loads (the floor again).
 *
 * On x86-64 plain stores stay in order among themselves, and so do plain loads
 * (Intel SDM vol. 3, 9.2.2), non-temporal ones aside: the copies are therefore
 * loops of our own, never memcpy(), which switches to non-temporal stores for
 * large sizes.  Elsewhere, and under ThreadSanitizer, which does not model
 * fences, each word is copied by an atomic.
 */
#ifndef RINGTAIL_SHM_ORDER_H
#define RINGTAIL_SHM_ORDER_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "shm/base.h"

#if defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RT_TSAN 1
#endif
#endif
#ifndef RT_TSAN
#define RT_TSAN 0
#endif

#if defined(__x86_64__) && !RT_TSAN
#define RT_PLAIN_COPY 1
#else
#define RT_PLAIN_COPY 0
#endif

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	      "atomics must work across address spaces");

RT_INLINE uint64_t rt_load64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

RT_INLINE uint32_t rt_load32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

/* For a word of which this process is the only writer. */
RT_INLINE uint64_t rt_own64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

RT_INLINE void rt_store64(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

RT_INLINE void rt_store32(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

RT_INLINE uint32_t rt_add32(_Atomic uint32_t *word, uint32_t value)
{
	return atomic_fetch_add_explicit(word, value, memory_order_seq_cst);
}

RT_INLINE uint32_t rt_or32(_Atomic uint32_t *word, uint32_t bits)
{
	return atomic_fetch_or_explicit(word, bits, memory_order_seq_cst);
}

RT_INLINE uint32_t rt_clear32(_Atomic uint32_t *word, uint32_t bits)
{
	return atomic_fetch_and_explicit(word, ~bits, memory_order_seq_cst);
}

/* Keeps the compiler, not the processor, from moving accesses across. */
RT_INLINE void rt_compiler_barrier(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * Orders an earlier store before a later load, on the processor too.  An
 * exchange of a local word instead of a fence: cheaper than mfence on x86-64.
 */
RT_INLINE void rt_full_barrier(void)
{
#if defined(__x86_64__)
	_Atomic uint32_t local = 0;

	(void)atomic_exchange_explicit(&local, 1, memory_order_seq_cst);
	rt_compiler_barrier();
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

#if RT_PLAIN_COPY
typedef uint64_t rt_vec __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t rt_u64_any __attribute__((aligned(1), may_alias));
typedef uint32_t rt_u32_any __attribute__((aligned(1), may_alias));

/* Up to 32 bytes: two accesses that overlap where they must, so there is no loop. */
RT_INLINE void rt_copy_short(uint8_t *d, const uint8_t *s, size_t len)
{
	if (len >= 16) {
		rt_vec a = *(const rt_vec *)s;
		rt_vec b = *(const rt_vec *)(s + len - 16);

		*(rt_vec *)d = a;
		*(rt_vec *)(d + len - 16) = b;
	} else if (len >= 8) {
		uint64_t a = *(const rt_u64_any *)s;
		uint64_t b = *(const rt_u64_any *)(s + len - 8);

		*(rt_u64_any *)d = a;
		*(rt_u64_any *)(d + len - 8) = b;
	} else if (len >= 4) {
		uint32_t a = *(const rt_u32_any *)s;
		uint32_t b = *(const rt_u32_any *)(s + len - 4);

		*(rt_u32_any *)d = a;
		*(rt_u32_any *)(d + len - 4) = b;
	} else if (len) {
		uint8_t a = s[0];
		uint8_t b = s[len / 2];
		uint8_t c = s[len - 1];

		d[0] = a;
		d[len / 2] = b;
		d[len - 1] = c;
	}
}

/* Copies exactly @len bytes in both directions. */
RT_INLINE void rt_copy_plain(void *to, const void *from, size_t len)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	while (len >= 64) {
		rt_vec a = *(const rt_vec *)s;
		rt_vec b = *(const rt_vec *)(s + 16);
		rt_vec c = *(const rt_vec *)(s + 32);
		rt_vec e = *(const rt_vec *)(s + 48);

		*(rt_vec *)d = a;
		*(rt_vec *)(d + 16) = b;
		*(rt_vec *)(d + 32) = c;
		*(rt_vec *)(d + 48) = e;
		s += 64;
		d += 64;
		len -= 64;
		rt_compiler_barrier(); /* or the loop becomes memcpy() */
	}
	if (!len)
		return;
	if (len > 32) {
		rt_vec a = *(const rt_vec *)s;
		rt_vec b = *(const rt_vec *)(s + 16);

		*(rt_vec *)d = a;
		*(rt_vec *)(d + 16) = b;
		s += 32;
		d += 32;
		len -= 32;
	}
	rt_copy_short(d, s, len);
}
#else
/*
 * Shared bytes by words: @shared is aligned to 8 or the bytes before it up to
 * the alignment belong to the same event, so rewriting them is harmless.
 */
static inline void rt_copy_word_in(uint8_t *shared, const uint8_t *from, size_t len)
{
	/* Single bytes only at ragged ends; atomics of one byte order too. */
	for (size_t i = 0; i < len; i++)
		atomic_store_explicit((_Atomic uint8_t *)(shared + i), from[i],
				      memory_order_release);
}

static inline void rt_copy_word_out(uint8_t *to, const uint8_t *shared, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = atomic_load_explicit((const _Atomic uint8_t *)(shared + i),
					     memory_order_acquire);
}
#endif

/* Stores private bytes to where readers may be looking. */
RT_INLINE void rt_copy_in(void *shared, const void *from, size_t len)
{
#if RT_PLAIN_COPY
	rt_compiler_barrier();
	rt_copy_plain(shared, from, len);
	rt_compiler_barrier();
#else
	uint8_t *d = shared;
	const uint8_t *s = from;
	size_t head = rt_min(-(uintptr_t)d & 7, len);

	rt_copy_word_in(d, s, head);
	for (d += head, s += head, len -= head; len >= 8; d += 8, s += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, s, 8);
		atomic_store_explicit((_Atomic uint64_t *)(void *)d, word,
				      memory_order_release);
	}
	rt_copy_word_in(d, s, len);
#endif
}

/*
 * Copies bytes that the writer may be overwriting at this moment.  A torn copy
 * is a wrong value, never undefined behaviour; the caller asks afterwards.
 */
RT_INLINE void rt_copy_out(void *to, const void *shared, size_t len)
{
#if RT_PLAIN_COPY
	rt_compiler_barrier();
	rt_copy_plain(to, shared, len);
	rt_compiler_barrier();
#else
	uint8_t *d = to;
	const uint8_t *s = shared;
	size_t head = rt_min(-(uintptr_t)s & 7, len);

	rt_copy_word_out(d, s, head);
	for (d += head, s += head, len -= head; len >= 8; d += 8, s += 8, len -= 8) {
		uint64_t word =
			atomic_load_explicit((const _Atomic uint64_t *)(const void *)s,
					     memory_order_acquire);

		memcpy(d, &word, 8);
	}
	rt_copy_word_out(d, s, len);
#endif
}

/* The same for what is known to be at most 32 bytes. */
RT_INLINE void rt_copy_in_short(void *shared, const void *from, size_t len)
{
#if RT_PLAIN_COPY
	rt_compiler_barrier();
	rt_copy_short(shared, from, len);
	rt_compiler_barrier();
#else
	rt_copy_in(shared, from, len);
#endif
}

RT_INLINE void rt_copy_out_short(void *to, const void *shared, size_t len)
{
#if RT_PLAIN_COPY
	rt_compiler_barrier();
	rt_copy_short(to, shared, len);
	rt_compiler_barrier();
#else
	rt_copy_out(to, shared, len);
#endif
}

#endif
