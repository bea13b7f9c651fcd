/* SPDX-License-Identifier: MIT */
/*
 * test_tool_when.c - tools/when.c
 */
#include "tests/support/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/when.h"

#define NOW UINT64_C(1769848200000000000) /* 2026-01-31T08:30:00Z */

static struct ringtail_options parse(const char *text)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct rt_fault fault = { "" };

	if (rt_when_parse(text, NOW, &options, &fault) < 0)
		fail_msg("'%s': %s", text, fault.text);
	return options;
}

static void words_and_numbers_are_places(void **state)
{
	(void)state;
	assert_int_equal(parse("now").start, RINGTAIL_START_NOW);
	assert_int_equal(parse("oldest").start, RINGTAIL_START_OLDEST);
	assert_int_equal(parse("snapshot").start, RINGTAIL_START_SNAPSHOT);
	assert_int_equal(parse("0").start, RINGTAIL_START_AFTER_SEQ);
	assert_int_equal(parse("1700").seq, 1700);
	assert_int_equal(parse("18446744073709551615").seq, UINT64_MAX);
}

static void times_are_read_exactly(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{ "2026-01-31T08:30:00Z", NOW },
		{ "2026-01-31t08:30:00z", NOW },
		{ "2026-01-31 08:30Z", NOW },
		{ "2026-01-31T09:30:00+01:00", NOW },
		{ "2026-01-31T03:00:00-05:30", NOW },
		{ "2026-01-31T08:30:00.5Z", NOW + 500000000 },
		{ "2026-01-31T08:30:00.123456789123Z", NOW + 123456789 },
		{ "2024-02-29T00:00:00Z", UINT64_C(1709164800000000000) },
		{ "1970-01-01T00:00:00Z", 0 },
		{ "@1769848200", NOW },
		{ "@1769848200.000000001", NOW + 1 },
		{ "@.5", 500000000 },
		{ "-30s", NOW - UINT64_C(30000000000) },
		{ "-250ms", NOW - UINT64_C(250000000) },
		{ "-5m", NOW - UINT64_C(300000000000) },
		{ "-2h", NOW - UINT64_C(7200000000000) },
		{ "-1d", NOW - UINT64_C(86400000000000) },
		{ "-99999999d", 0 }, /* before the epoch: from the beginning */
	};

	(void)state;
	for (size_t i = 0; i < T_N(cases); i++) {
		const struct ringtail_options options = parse(cases[i].text);

		if (options.start != RINGTAIL_START_TIME ||
		    options.time_ns != cases[i].ns)
			fail_msg("'%s' is %llu", cases[i].text,
				 (unsigned long long)options.time_ns);
	}
}

static void a_time_without_zone_is_local(void **state)
{
	(void)state;
	setenv("TZ", "EAT-3", 1); /* three hours east */
	tzset();

	assert_int_equal(parse("2026-01-31T11:30:00").time_ns, NOW);
	assert_int_equal(parse("2026-01-31T11:30").time_ns, NOW);
	assert_int_equal(parse("2026-01-31").time_ns,
			 NOW - UINT64_C(41400) * 1000000000); /* 11 h 30 min */
}

static void what_may_be_a_marker_is_left_to_the_library(void **state)
{
	static const char *const texts[] = {
		"00000000000003e8-9f86d081884c7d65-a1b2c3d4",
		"00000000000003e8-9f86d081884c7d65-a1b2c3d",
		"00000000000003e8-9f86d081884c7d65-a1b2c3d44",
		"00000000000003e8-9f86d081884c7d65-a1b2c3dq",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"00000000000003e:-9f86d081884c7d65-a1b2c3d4",
		"0000 000000003e8-9f86d081884c7d65-a1b2c3d4",
		"",
	};

	(void)state;
	for (size_t i = 0; i < T_N(texts); i++) {
		const struct ringtail_options options = parse(texts[i]);

		assert_int_equal(options.start, RINGTAIL_START_MARKER);
		assert_string_equal(options.marker, texts[i]);
	}
}

static void anything_else_is_refused_with_what_was_expected(void **state)
{
	static const char *const texts[] = {
		"later",
		"NOW",
		"-5",
		"-s",
		"5s",
		"-5w",
		"@",
		"@x",
		"@1.2.3",
		"2026-02-30T00:00Z",
		"2026-13-01",
		"2026-1-1",
		"2026-01-31T24:00:00Z",
		"2026-01-31T08:30:0Z",
		"2026-01-31T08:30:00+1",
		"2026-01-31T08:30:00ZZ",
		"2026-01-31X",
		"1e3",
		"18446744073709551616",
		" 5",
		"0x10",
	};

	(void)state;
	for (size_t i = 0; i < T_N(texts); i++) {
		struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
		struct rt_fault fault = { "" };

		if (rt_when_parse(texts[i], NOW, &options, &fault) != -EINVAL)
			fail_msg("'%s' was taken for start %u", texts[i],
				 options.start);
		assert_non_null(strstr(fault.text, texts[i]));
		assert_non_null(strstr(fault.text, "expected now, oldest"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(words_and_numbers_are_places),
		T0(times_are_read_exactly),
		T0(a_time_without_zone_is_local),
		T0(what_may_be_a_marker_is_left_to_the_library),
		T0(anything_else_is_refused_with_what_was_expected),
	};

	return cmocka_run_group_tests_name("tool_when", tests, NULL, NULL);
}
