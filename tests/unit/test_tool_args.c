/* SPDX-License-Identifier: MIT */
/*
 * test_tool_args.c - tools/args.c and units.c
 */
#include "tests/support/t.h"

#include <errno.h>
#include <string.h>

#include "tools/args.h"
#include "tools/progress.h"
#include "tools/units.h"

enum {
	DIR = 1,
	HELP,
	COUNT,
	RANGE,
	JSON,
};

static const struct rt_option common[] = {
	{ DIR, "dir", "DIR", "" },
	{ HELP, "help", NULL, "" },
	{ 0 },
};

static const struct rt_option own[] = {
	{ COUNT, "count", "N", "" },
	{ RANGE, "range", "A B", "" },
	{ JSON, "json", NULL, "" },
	{ 0 },
};

#define ARGS(...) \
	{ \
		.words = (char *[]){ __VA_ARGS__ }, \
		.n_words = (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)), \
		.common = common, .options = own \
	}

static char w_feed[] = "feed", w_json[] = "--json", w_dir[] = "--dir", w_x[] = "x",
	    w_count_is[] = "--count=5", w_range[] = "--range", w_a[] = "-a", w_b[] = "",
	    w_dashes[] = "--", w_dash[] = "-", w_no[] = "--nope", w_h[] = "-h",
	    w_json_is[] = "--json=1", w_range_is[] = "--range=k";

static void options_stand_anywhere(void **state)
{
	struct rt_args args = ARGS(w_json, w_feed, w_dir, w_x, w_count_is, w_dash, w_h);

	(void)state;
	assert_int_equal(rt_args_next(&args), JSON);
	assert_int_equal(rt_args_next(&args), RT_ARGS_WORD);
	assert_string_equal(args.value, "feed");
	assert_int_equal(rt_args_next(&args), DIR);
	assert_string_equal(args.value, "x");
	assert_int_equal(rt_args_next(&args), COUNT);
	assert_string_equal(args.value, "5");
	assert_int_equal(rt_args_next(&args), RT_ARGS_WORD);
	assert_string_equal(args.value, "-");
	assert_int_equal(rt_args_next(&args), HELP);
	assert_int_equal(rt_args_next(&args), RT_ARGS_END);
	assert_int_equal(rt_args_next(&args), RT_ARGS_END);
}

static void a_range_takes_two_words(void **state)
{
	struct rt_args args = ARGS(w_range, w_a, w_b, w_range_is, w_x);

	(void)state;
	assert_int_equal(rt_args_next(&args), RANGE);
	assert_string_equal(args.value, "-a");
	assert_string_equal(args.value2, "");
	assert_int_equal(rt_args_next(&args), RANGE);
	assert_string_equal(args.value, "k");
	assert_string_equal(args.value2, "x");
}

static void two_dashes_end_the_options(void **state)
{
	struct rt_args args = ARGS(w_dashes, w_json, w_dashes);

	(void)state;
	assert_int_equal(rt_args_next(&args), RT_ARGS_WORD);
	assert_string_equal(args.value, "--json");
	assert_int_equal(rt_args_next(&args), RT_ARGS_WORD);
	assert_string_equal(args.value, "--");
}

static void what_is_wrong_is_named(void **state)
{
	struct rt_args unknown = ARGS(w_no), missing = ARGS(w_range, w_a),
		       needless = ARGS(w_json_is), single = ARGS(w_a);

	(void)state;
	assert_int_equal(rt_args_next(&unknown), RT_ARGS_BAD);
	assert_non_null(strstr(unknown.fault.text, "'--nope'"));
	assert_int_equal(rt_args_next(&missing), RT_ARGS_BAD);
	assert_non_null(strstr(missing.fault.text, "--range needs A B"));
	assert_int_equal(rt_args_next(&needless), RT_ARGS_BAD);
	assert_non_null(strstr(needless.fault.text, "--json takes no value"));
	assert_int_equal(rt_args_next(&single), RT_ARGS_BAD);
}

static void numbers_are_whole_texts(void **state)
{
	static const char *const bad[] = { "",   "x",  "1x",  "-1",
					   "+1", " 1", "1.0", "18446744073709551616" };
	uint64_t value = 1;

	(void)state;
	t_ok(rt_parse_u64("18446744073709551615", &value));
	assert_true(value == UINT64_MAX);
	t_ok(rt_parse_u64("007", &value));
	assert_int_equal(value, 7);
	for (size_t i = 0; i < T_N(bad); i++)
		if (rt_parse_u64(bad[i], &value) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
}

static void seconds_may_have_a_fraction(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "5", INT64_C(5000000000) },
		{ "0.25", 250000000 },
		{ ".5", 500000000 },
		{ "1.", 1000000000 },
		{ "0.0000000019", 1 },
		{ "9223372035", INT64_C(9223372035000000000) },
	};
	static const char *const bad[] = {
		"",    ".",          "-1",
		"1s",  "1.x",        "1..2",
		"1e3", "9223372037", "99999999999999999999999999"
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < T_N(good); i++) {
		t_ok(rt_parse_seconds(good[i].text, &ns));
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < T_N(bad); i++)
		if (rt_parse_seconds(bad[i], &ns) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
}

static void numbers_have_units_for_people(void **state)
{
	(void)state;
	assert_string_equal(rt_size_words(0).text, "0 B");
	assert_string_equal(rt_size_words(1536).text, "1.5 KiB");
	assert_string_equal(rt_size_words(8 << 20).text, "8 MiB");
	assert_string_equal(rt_size_words(UINT64_MAX).text, "16384 PiB");
	assert_string_equal(rt_span_words(999).text, "999 ns");
	assert_string_equal(rt_span_words(1500).text, "1.5 us");
	assert_string_equal(rt_span_words(UINT64_C(4200000000)).text, "4.2 s");
	assert_string_equal(rt_span_words(UINT64_C(200000000000)).text, "3 min 20 s");
	assert_string_equal(rt_span_words(UINT64_C(7200000000000)).text, "2 h");
	assert_string_equal(rt_span_words(UINT64_C(90000000000000)).text, "1 d 1 h");
	assert_string_equal(rt_count_words(999).text, "999");
	assert_string_equal(rt_count_words(1234567).text, "1.23M");
}

static void progress_fits_the_terminal(void **state)
{
	char line[256];

	(void)state;
	rt_progress_line(line, sizeof(line), 79, 500, 1000, 100, INT64_C(2000000000));
	assert_string_equal(line, "[###############               ]  50%  "
				  "100 events  500 B  50/s  2 s left");
	rt_progress_line(line, sizeof(line), 79, 500, 0, 100, INT64_C(2000000000));
	assert_string_equal(line, "100 events  500 B  50/s");
	for (int width = 1; width < 200; width++) {
		rt_progress_line(line, sizeof(line), width, UINT64_MAX / 2, UINT64_MAX,
				 UINT64_MAX, 1);
		if (strchr(line, '['))
			assert_true((int)strlen(line) <= width);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(options_stand_anywhere),        T0(a_range_takes_two_words),
		T0(two_dashes_end_the_options),    T0(what_is_wrong_is_named),
		T0(numbers_are_whole_texts),       T0(seconds_may_have_a_fraction),
		T0(numbers_have_units_for_people), T0(progress_fits_the_terminal),
	};

	return cmocka_run_group_tests_name("tool_args", tests, NULL, NULL);
}
