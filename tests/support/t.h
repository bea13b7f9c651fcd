/* SPDX-License-Identifier: MIT */
/*
 * t.h - what every test includes
 *
 * cmocka with the four headers it wants first, and the few things that tests need
 * besides.  Asserts leave a test by longjmp(), so they stand only in the thread and
 * process of the test itself; children and threads return a verdict.
 *
 * cmocka 1.1.5 calls a skipped test failed in its TAP output: do not use skip().
 * What cannot run here is a program of its own that begins with t_skip_all().
 */
#ifndef RINGTAIL_TESTS_SUPPORT_T_H
#define RINGTAIL_TESTS_SUPPORT_T_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A test with the file's setup() and teardown(); T0: one that needs neither. */
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T0(name) cmocka_unit_test(name)

#define T_N(array) (sizeof(array) / sizeof((array)[0]))

/* The call must return 0, or this says what it returned, in words. */
#define t_ok(call) t_ok_at((call), #call, __FILE__, __LINE__)
void t_ok_at(int result, const char *call, const char *file, int line);

/* As assert_int_equal() with the errors of ringtail.h shown in words. */
#define t_is(call, want) t_is_at((call), (want), #call, __FILE__, __LINE__)
void t_is_at(int result, int want, const char *call, const char *file, int line);

/* Says why and ends the program as skipped. */
__attribute__((noreturn)) void t_skip_all(const char *reason);

/* Where the files under test are, from the build; NULL if not built. */
const char *t_source_root(void);
const char *t_build_root(void);

/* A new empty folder on tmpfs (in $TMPDIR if that is set); free with t_dir_drop(). */
char *t_dir_new(void);
/* Removes it and all that is in it; NULL is fine. */
void t_dir_drop(char *dir);
/* "dir/name", in one of a few static buffers: for use at once. */
const char *t_path(const char *dir, const char *name);

/* Open descriptors of this process. */
int t_count_fds(void);

/*
 * Runs @fn in a child.  Returns what it returned (0 .. 255), or 1000 + the signal
 * that ended it.
 */
int t_in_child(int (*fn)(void *arg), void *arg);

/* A child that goes on; it dies with this process.  t_join() as t_in_child(). */
int t_spawn(int (*fn)(void *arg), void *arg);
int t_join(int pid);

uint64_t t_now_ns(void); /* CLOCK_MONOTONIC */
void t_sleep_ms(unsigned ms);

/* Asks @done every millisecond, @ms long; returns its last answer. */
bool t_within_ms(unsigned ms, bool (*done)(void *arg), void *arg);

/*
 * Runs a shell command.  Returns its exit code (1000 + signal) and in *@ret what it
 * printed, both streams together, to be freed; @ret may be NULL.
 */
int t_sh(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads a whole file, with a zero byte behind it; NULL if it cannot. */
char *t_read_file(const char *path, size_t *ret_len);
void t_write_file(const char *path, const void *data, size_t len);

/* Numbers that look random and repeat with their seed. */
struct t_random {
	uint64_t state;
};
uint64_t t_random64(struct t_random *random);
uint64_t t_random_below(struct t_random *random, uint64_t bound);

#endif
