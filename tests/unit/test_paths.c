/* SPDX-License-Identifier: MIT */
/*
 * test_paths.c - client/paths.c: which folder holds the feeds
 */
#include "tests/support/t.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/reader.h"

static int setup(void **state)
{
	(void)state;
	(void)unsetenv("RINGTAIL_DIR");
	(void)unsetenv("XDG_RUNTIME_DIR");
	return 0;
}

static int teardown(void **state)
{
	return setup(state);
}

static void is(const char *dir, const char *want)
{
	char got[PATH_MAX];

	t_ok(rt_default_dir(dir, got, sizeof(got), NULL));
	assert_string_equal(got, want);
}

static void an_option_comes_first(void **state)
{
	(void)state;
	(void)setenv("RINGTAIL_DIR", "/from/environment", 1);
	is("/from/option", "/from/option");
	is("relative", "relative");
}

static void then_the_environment(void **state)
{
	(void)state;
	(void)setenv("RINGTAIL_DIR", "/from/environment", 1);
	(void)setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	is(NULL, "/from/environment");
	is("", "/from/environment");
}

static int choose_as_nobody(void *arg)
{
	char got[PATH_MAX];
	struct rt_fault fault = { "" };

	(void)arg;
	if (geteuid() == 0 && setuid(65534) < 0)
		return 1;
	if (rt_default_dir(NULL, got, sizeof(got), &fault) != -ENOENT ||
	    !strstr(fault.text, "RINGTAIL_DIR"))
		return 2;
	(void)setenv("RINGTAIL_DIR", "", 1);
	(void)setenv("XDG_RUNTIME_DIR", "", 1);
	if (rt_default_dir(NULL, got, sizeof(got), &fault) != -ENOENT)
		return 3;
	(void)setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	if (rt_default_dir(NULL, got, sizeof(got), &fault) != 0)
		return 4;
	return strcmp(got, "/run/user/1/ringtail") ? 5 : 0;
}

static void then_what_depends_on_the_user(void **state)
{
	(void)state;
	if (geteuid() == 0)
		is(NULL, "/dev/shm/ringtail");
	assert_int_equal(t_in_child(choose_as_nobody, NULL), 0);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	struct rt_fault fault = { "" };
	char got[16];

	(void)state;
	t_ok(rt_default_dir("123456789012345", got, sizeof(got), &fault));
	t_is(rt_default_dir("1234567890123456", got, sizeof(got), &fault),
	     -ENAMETOOLONG);
	assert_true(*fault.text != 0);
}

static void opening_by_name_uses_it(void **state)
{
	struct ringtail_writer_options wo = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *w;
	struct ringtail *r;
	char *dir = t_dir_new();
	char longest[PATH_MAX + 10];
	struct ringtail_options o = RINGTAIL_OPTIONS_INIT;

	(void)state;
	wo.n_slots = 64;
	wo.payload_size = 4096;
	(void)setenv("RINGTAIL_DIR", dir, 1);
	t_is(ringtail_writer_open("feed", &wo, &w), 0);
	t_ok(ringtail_open("feed", NULL, &r));
	ringtail_close(r);
	o.dir = "/nowhere";
	t_is(ringtail_open("feed", &o, &r), RINGTAIL_E_NO_FEED);
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	o.dir = longest;
	t_is(ringtail_open("feed", &o, &r), -ENAMETOOLONG);
	ringtail_writer_close(w);
	t_dir_drop(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_option_comes_first),         T(then_the_environment),
		T(then_what_depends_on_the_user), T(a_path_that_is_too_long_is_refused),
		T(opening_by_name_uses_it),
	};

	return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
