/* SPDX-License-Identifier: MIT */
/*
 * test_support.c - tests/support/t.c
 */
#include "tests/support/t.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int returns_its_argument(void *arg)
{
	return *(int *)arg;
}

static int kills_itself(void *arg)
{
	(void)arg;
	(void)raise(SIGKILL);
	return 0;
}

static void a_child_gives_its_verdict_or_its_signal(void **state)
{
	int seven = 7;

	(void)state;
	assert_int_equal(t_in_child(returns_its_argument, &seven), 7);
	assert_int_equal(t_in_child(kills_itself, NULL), 1000 + SIGKILL);
}

static void a_folder_goes_with_all_that_is_in_it(void **state)
{
	char *dir = t_dir_new();
	char *copy = strdup(dir);

	(void)state;
	t_write_file(t_path(dir, "file"), "text", 4);
	assert_int_equal(
		t_sh(NULL, "mkdir -p '%s/a/b' && ln -s / '%s/a/link'", dir, dir), 0);
	t_dir_drop(dir);

	assert_int_not_equal(access(copy, F_OK), 0);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	free(copy);
}

static void a_command_gives_its_code_and_both_outputs(void **state)
{
	char *text = NULL;

	(void)state;
	assert_int_equal(t_sh(&text, "echo one; echo two >&2; exit %d", 3), 3);
	assert_string_equal(text, "one\ntwo\n");
	free(text);
}

static void random_numbers_repeat_with_their_seed(void **state)
{
	struct t_random a = { 42 }, b = { 42 }, c = { 43 };

	(void)state;
	assert_true(t_random64(&a) == t_random64(&b));
	assert_true(t_random64(&a) != t_random64(&c));
	for (int i = 0; i < 1000; i++)
		assert_true(t_random_below(&a, 10) < 10);
}

static void descriptors_are_counted(void **state)
{
	int n = t_count_fds();
	int fd = dup(1);

	(void)state;
	assert_int_equal(t_count_fds(), n + 1);
	(void)close(fd);
	assert_int_equal(t_count_fds(), n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(a_child_gives_its_verdict_or_its_signal),
		T0(a_folder_goes_with_all_that_is_in_it),
		T0(a_command_gives_its_code_and_both_outputs),
		T0(random_numbers_repeat_with_their_seed),
		T0(descriptors_are_counted),
	};

	return cmocka_run_group_tests_name("support", tests, NULL, NULL);
}
