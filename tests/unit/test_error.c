/* SPDX-License-Identifier: MIT */
/*
 * test_error.c - client/error.c: a text for every error
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <limits.h>

static void every_error_has_a_text_of_its_own(void **state)
{
	const char *seen[16];

	(void)state;
	for (int i = 0; i < 16; i++) {
		seen[i] = ringtail_strerror(RINGTAIL_E_MALFORMED - i);
		assert_true(strlen(seen[i]) > 3);
		assert_null(strstr(seen[i], "nknown"));
		for (int k = 0; k < i; k++)
			assert_string_not_equal(seen[i], seen[k]);
	}
	assert_int_equal(RINGTAIL_E_UNSUPPORTED, RINGTAIL_E_MALFORMED - 15);
}

static void errno_values_are_those_of_the_system(void **state)
{
	(void)state;
	assert_string_equal(ringtail_strerror(-EACCES), strerror(EACCES));
	assert_string_equal(ringtail_strerror(-EINVAL), strerror(EINVAL));
	assert_string_equal(ringtail_strerror(-EMSGSIZE), strerror(EMSGSIZE));
}

static void anything_else_has_a_text_too(void **state)
{
	static const int codes[] = { 0,     1,       INT_MAX, -999,       -4095,
				     -4112, -100000, INT_MIN, INT_MIN + 1 };

	(void)state;
	for (size_t i = 0; i < T_N(codes); i++)
		assert_true(strlen(ringtail_strerror(codes[i])) > 3);
}

static void *open_nothing(void *arg)
{
	struct ringtail *r;

	if (*ringtail_error(NULL))
		return arg; /* of another thread */
	(void)ringtail_open_path("/nowhere/of/this/thread", NULL, &r);
	return strstr(ringtail_error(NULL), "of/this/thread") ? NULL : arg;
}

static void the_text_of_a_failed_open_is_that_of_the_thread(void **state)
{
	struct ringtail *r;
	pthread_t thread;
	void *failed;

	t_is(ringtail_open_path("/nowhere/else", NULL, &r), RINGTAIL_E_NO_FEED);
	assert_int_equal(pthread_create(&thread, NULL, open_nothing, state), 0);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_non_null(strstr(ringtail_error(NULL), "/nowhere/else"));
}

static void the_text_of_a_reader_is_its_own(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *lapped, *fine;

	rig_open(rig);
	rig_put(rig, 1);
	lapped = rig_read(rig, rig_after(0));
	rig_next(lapped, 1);
	rig_put(rig, 100);
	fine = rig_read(rig, rig_after(100));
	assert_string_equal(ringtail_error(lapped), "");
	t_is(ringtail_next(lapped, &event, 0), RINGTAIL_E_LAPPED);
	assert_non_null(strstr(ringtail_error(lapped), "events 2 to "));
	assert_non_null(strstr(ringtail_error(lapped), RIG_FEED));
	assert_string_equal(ringtail_error(fine), "");
}

static void the_version_is_that_of_the_header(void **state)
{
	(void)state;
	assert_string_equal(ringtail_version(), RINGTAIL_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(every_error_has_a_text_of_its_own),
		T0(errno_values_are_those_of_the_system),
		T0(anything_else_has_a_text_too),
		T0(the_text_of_a_failed_open_is_that_of_the_thread),
		T(the_text_of_a_reader_is_its_own),
		T0(the_version_is_that_of_the_header),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
