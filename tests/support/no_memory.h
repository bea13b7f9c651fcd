/* SPDX-License-Identifier: MIT */
/*
 * no_memory.h - memory that runs out when a test says so; in one file of a program
 *
 * Takes the place of malloc() and its like in the whole program.  Not with sanitizers
 * or valgrind, which do the same: nothing is refused then, and t_can_refuse() says so.
 */
#ifndef RINGTAIL_TESTS_SUPPORT_NO_MEMORY_H
#define RINGTAIL_TESTS_SUPPORT_NO_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static long t_calls_left = -1; /* until one is refused; -1: none is */
__attribute__((unused)) static unsigned t_n_refused;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define T_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define T_SANITIZED
#endif
#endif

#ifndef T_SANITIZED
/* glibc's own names for them. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static bool t_is_refused(void)
{
	if (t_calls_left < 0 || t_calls_left--)
		return false;
	t_n_refused++;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return t_is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return t_is_refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return t_is_refused() ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
	return t_is_refused() ? NULL : __libc_realloc(old, n * size);
}
#endif

__attribute__((unused)) static bool t_can_refuse(void)
{
	void *(*volatile call)(size_t size) = malloc; /* as others do, not inlined */
	void *got;

	t_calls_left = 0;
	got = call(1);
	t_calls_left = -1;
	free(got);
	return !got;
}

/* Of a list of tests: left out where it would see nothing. */
#define T_IF_REFUSED(...) \
	(t_can_refuse() ? (struct CMUnitTest)__VA_ARGS__ : (struct CMUnitTest){ NULL })

#endif
