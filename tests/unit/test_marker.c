/* SPDX-License-Identifier: MIT */
/*
 * test_marker.c - shm/marker.c, and the public calls that are only a name for it
 */
#include "tests/support/t.h"

#include <ringtail.h>
#include <string.h>

#include "shm/marker.h"

static void a_marker_says_what_was_put_in(void **state)
{
	static const uint64_t values[] = { 0,          1,
					   1000,       UINT64_C(0x9f86d081884c7d65),
					   UINT64_MAX, UINT64_C(1) << 63 };

	(void)state;
	for (size_t i = 0; i < T_N(values); i++) {
		for (size_t j = 0; j < T_N(values); j++) {
			char text[RINGTAIL_MARKER_SIZE];
			uint64_t seq, epoch;

			t_ok(ringtail_marker_format(values[i], values[j], text));
			assert_int_equal(strlen(text), 42);
			t_ok(ringtail_marker_parse(text, &seq, &epoch));
			assert_true(seq == values[i] && epoch == values[j]);
		}
	}
}

/* The form is a promise: stored markers outlive this version. */
static void the_form_of_a_marker_stays(void **state)
{
	char text[RINGTAIL_MARKER_SIZE];

	(void)state;
	t_ok(ringtail_marker_format(1000, UINT64_C(0x9f86d081884c7d65), text));
	assert_string_equal(text, "00000000000003e8-9f86d081884c7d65-35c221e4");
}

static void markers_of_an_epoch_sort_by_seq(void **state)
{
	char before[RINGTAIL_MARKER_SIZE], text[RINGTAIL_MARKER_SIZE];

	(void)state;
	t_ok(ringtail_marker_format(0, 7, before));
	for (uint64_t seq = 1; seq; seq <<= 1) {
		t_ok(ringtail_marker_format(seq, 7, text));
		assert_true(strcmp(before, text) < 0);
		memcpy(before, text, sizeof(text));
	}
}

static void every_changed_bit_is_noticed(void **state)
{
	char text[RINGTAIL_MARKER_SIZE];

	(void)state;
	t_ok(ringtail_marker_format(123456, UINT64_C(0xfedcba9876543210), text));
	for (size_t i = 0; i < 42; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] = (char)((unsigned char)text[i] ^ 1u << bit);
			t_is(ringtail_marker_parse(text, NULL, NULL),
			     RINGTAIL_E_MALFORMED);
			text[i] = (char)((unsigned char)text[i] ^ 1u << bit);
		}
	}
	t_ok(ringtail_marker_parse(text, NULL, NULL));
}

static void every_other_length_is_malformed(void **state)
{
	char text[RINGTAIL_MARKER_SIZE + 1];
	uint64_t seq = 5, epoch = 6;

	(void)state;
	t_ok(ringtail_marker_format(1, 2, text));
	text[42] = '0';
	text[43] = 0;
	t_is(ringtail_marker_parse(text, &seq, &epoch), RINGTAIL_E_MALFORMED);
	for (size_t len = 42; len--;) {
		text[len] = 0;
		t_is(ringtail_marker_parse(text, &seq, &epoch), RINGTAIL_E_MALFORMED);
		t_is(rt_marker_parse(text, len, &seq, &epoch), RINGTAIL_E_MALFORMED);
	}
	t_is(ringtail_marker_parse(NULL, &seq, &epoch), RINGTAIL_E_MALFORMED);
	assert_true(seq == 5 && epoch == 6);
}

static void upper_case_and_blanks_are_malformed(void **state)
{
	char text[RINGTAIL_MARKER_SIZE];

	(void)state;
	t_ok(ringtail_marker_format(0xabc, 2, text));
	assert_non_null(strstr(text, "abc"));
	text[13] = 'A';
	t_is(ringtail_marker_parse(text, NULL, NULL), RINGTAIL_E_MALFORMED);
	text[13] = 'a';
	text[0] = ' ';
	t_is(ringtail_marker_parse(text, NULL, NULL), RINGTAIL_E_MALFORMED);
	text[0] = '+';
	t_is(ringtail_marker_parse(text, NULL, NULL), RINGTAIL_E_MALFORMED);
}

static void no_terminating_zero_is_needed_inside(void **state)
{
	char text[RINGTAIL_MARKER_SIZE + 4];
	uint64_t seq, epoch;

	(void)state;
	t_ok(ringtail_marker_format(9, 8, text));
	memset(text + 42, 'x', 4);
	t_ok(rt_marker_parse(text, 42, &seq, &epoch));
	assert_int_equal(seq, 9);
	assert_int_equal(epoch, 8);
	t_is(rt_marker_parse(text, 43, &seq, &epoch), RINGTAIL_E_MALFORMED);
	t_is(rt_marker_parse(text, SIZE_MAX, &seq, &epoch), RINGTAIL_E_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(a_marker_says_what_was_put_in),
		T0(the_form_of_a_marker_stays),
		T0(markers_of_an_epoch_sort_by_seq),
		T0(every_changed_bit_is_noticed),
		T0(every_other_length_is_malformed),
		T0(upper_case_and_blanks_are_malformed),
		T0(no_terminating_zero_is_needed_inside),
	};

	return cmocka_run_group_tests_name("marker", tests, NULL, NULL);
}
