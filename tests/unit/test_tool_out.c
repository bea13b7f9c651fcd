/* SPDX-License-Identifier: MIT */
/*
 * test_tool_out.c - tools/out.c, text.c, print.c: what is printed, byte by byte
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <ringtail.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/out.h"
#include "tools/print.h"
#include "tools/text.h"

static struct rt_out out;

static int setup(void **state)
{
	(void)state;
	rt_out_init(&out, -1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return 0;
}

static void printed(const char *want)
{
	out.buf[out.len] = '\0';
	assert_string_equal(out.buf, want);
	out.len = 0;
}

static void utf8_is_checked_as_the_standard_says(void **state)
{
	static const char *const good[] = { "",
					    "abc",
					    "\xc3\xa9",
					    "\xe2\x82\xac",
					    "\xf0\x9f\x90\x9a",
					    "\xef\xbf\xbf",
					    "\xf4\x8f\xbf\xbf",
					    "\xed\x9f\xbf" };
	static const char *const bad[] = {
		"\x80",
		"\xc3",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe2\x82",
		"\xe0\x9f\xbf",
		"\xed\xa0\x80",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80",
		"abcdefgh\xff",
		"abcdefghi\xe2\x82",
	};

	(void)state;
	for (size_t i = 0; i < T_N(good); i++)
		if (!rt_utf8_valid(good[i], strlen(good[i])))
			fail_msg("good text %zu was refused", i);
	for (size_t i = 0; i < T_N(bad); i++)
		if (rt_utf8_valid(bad[i], strlen(bad[i])))
			fail_msg("bad text %zu was taken", i);
}

static void base64_goes_both_ways(void **state)
{
	static const char *const pairs[][2] = {
		{ "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" },
	};

	(void)state;
	for (size_t i = 0; i < T_N(pairs); i++) {
		char text[16], back[16];
		const size_t len = strlen(pairs[i][0]);
		const size_t n = rt_base64_encode(pairs[i][0], len, text);

		assert_int_equal(n, strlen(pairs[i][1]));
		assert_memory_equal(text, pairs[i][1], n);
		assert_int_equal(rt_base64_decode(text, n, back), len);
		assert_memory_equal(back, pairs[i][0], len);
	}
}

static void bad_base64_is_refused(void **state)
{
	static const char *const texts[] = { "Z",    "Zg=",   "Zg",    "=g==",
					     "Z===", "====",  "Zm9v=", "Zg==Zg==",
					     "Zm 9", "Zm9\n", "Z=9v",  "Zm-_" };
	char back[16];

	(void)state;
	for (size_t i = 0; i < T_N(texts); i++)
		if (rt_base64_decode(texts[i], strlen(texts[i]), back) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
}

static void json_strings_are_escaped(void **state)
{
	static const char bytes[] = "a\"b\\c\n\r\t\b\f\x01\x1f\x7f\0z";

	(void)state;
	rt_out_json_string(&out, bytes, sizeof(bytes) - 1);
	printed("\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\\u0000z\"");
	rt_out_json_string(&out, "", 0);
	printed("\"\"");
	rt_out_json_string(&out, "0123456789\"0123456789abcdef\\", 28);
	printed("\"0123456789\\\"0123456789abcdef\\\\\"");
}

/* Any bytes must come back from a JSON parser as they went in. */
static void json_comes_back_as_it_was(void **state)
{
	struct t_random random = { 7 };

	(void)state;
	for (int round = 0; round < 5000; round++) {
		const size_t len = t_random_below(&random, 60);
		const bool ascii = round & 1;
		char bytes[60], line[600], back[60];

		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)(t_random64(&random) & (ascii ? 0x7f : 0xff));
		rt_out_text(&out, "{");
		rt_out_json_member(&out, "key", bytes, len);
		rt_out_text(&out, "}");
		memcpy(line, out.buf, out.len);

		json_t *object = json_loadb(line, out.len, JSON_ALLOW_NUL, NULL);
		const json_t *plain = json_object_get(object, "key");
		const json_t *coded = json_object_get(object, "key_b64");

		out.len = 0;
		assert_non_null(object);
		assert_int_equal(plain != NULL, rt_utf8_valid(bytes, len));
		if (plain) {
			assert_int_equal(json_string_length(plain), len);
			assert_memory_equal(json_string_value(plain), bytes, len);
		} else {
			assert_int_equal(rt_base64_decode(json_string_value(coded),
							  json_string_length(coded),
							  back),
					 len);
			assert_memory_equal(back, bytes, len);
		}
		json_decref(object);
	}
}

static void large_values_pass_through_the_buffer(void **state)
{
	const size_t len = 1000000;
	char *dir = t_dir_new(), *value = malloc(len);
	size_t got_len;

	(void)state;
	assert_non_null(value);
	memset(value, 'x', len);
	value[len / 2] = '\n';
	value[len - 1] = '\xff';

	const int fd = open(t_path(dir, "out"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	rt_out_init(&out, fd);
	rt_out_text(&out, "[");
	rt_out_json_string(&out, value, len - 1);
	rt_out_text(&out, ",{");
	rt_out_json_member(&out, "v", value, len);
	rt_out_text(&out, "}]");
	t_ok(rt_out_flush(&out));
	close(fd);

	char *got = t_read_file(t_path(dir, "out"), &got_len);
	json_t *list = json_loadb(got, got_len, 0, NULL);
	const json_t *coded = json_object_get(json_array_get(list, 1), "v_b64");

	assert_int_equal(json_string_length(json_array_get(list, 0)), len - 1);
	assert_int_equal(json_string_length(coded), RT_BASE64_SIZE(len));
	json_decref(list);
	free(got);
	free(value);
	t_dir_drop(dir);
}

static void the_first_error_stays(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	close(ends[1]);
	rt_out_init(&out, ends[0]); /* not open for writing */
	rt_out_text(&out, "x");
	assert_int_equal(rt_out_flush(&out), -EBADF);
	rt_out_text(&out, "y");
	assert_int_equal(rt_out_flush(&out), -EBADF);
	close(ends[0]);
}

static void no_value_can_drive_the_terminal(void **state)
{
	static const char bytes[] = "a\x1b[2Jb\\\xff\xc2\x9b\xe2\x80\xae\xc3\xa9\n";

	(void)state;
	rt_out_escaped(&out, bytes, sizeof(bytes) - 1);
	printed("a\\x1b[2Jb\\\\\\xff\\xc2\\x9b\\xe2\\x80\\xae\xc3\xa9\\n");
}

static const struct ringtail_event an_event = {
	.seq = 7,
	.rev = 8,
	.time_ns = UINT64_C(1769848200000000123),
	.key = "k\"",
	.key_len = 2,
	.value = "\xff",
	.value_len = 1,
	.op = RINGTAIL_PUT,
	.flags = RINGTAIL_CREATED,
	.txn_index = 0,
	.txn_size = 2,
};

static void events_as_json_have_their_members_in_order(void **state)
{
	struct ringtail_event event = an_event;
	struct rt_print print;

	(void)state;
	rt_print_init(&print, &out);
	print.json = true;

	rt_print_event(&print, &event, NULL);
	printed("{\"seq\":7,\"rev\":8,\"op\":\"put\",\"key\":\"k\\\"\",\"value_b64\":"
		"\"/w==\","
		"\"time_ns\":1769848200000000123,\"created\":true}\n");

	event.flags = RINGTAIL_LAST;
	event.value_len = 0;
	rt_print_event(&print, &event, "M");
	printed("{\"seq\":7,\"rev\":8,\"op\":\"put\",\"key\":\"k\\\"\",\"value\":\"\","
		"\"time_ns\":1769848200000000123,\"created\":false,\"marker\":\"M\"}"
		"\n");

	event.op = RINGTAIL_DELETE;
	rt_print_event(&print, &event, NULL);
	printed("{\"seq\":7,\"rev\":8,\"op\":\"delete\",\"key\":\"k\\\"\","
		"\"time_ns\":1769848200000000123}\n");

	event.flags = RINGTAIL_EXPIRED;
	rt_print_event(&print, &event, NULL);
	printed("{\"seq\":7,\"rev\":8,\"op\":\"delete\",\"key\":\"k\\\"\","
		"\"time_ns\":1769848200000000123,\"expired\":true}\n");

	event.op = RINGTAIL_MESSAGE;
	event.flags = 0;
	rt_print_event(&print, &event, NULL);
	printed("{\"seq\":7,\"rev\":8,\"op\":\"message\",\"key\":\"k\\\"\",\"value\":"
		"\"\","
		"\"time_ns\":1769848200000000123}\n");
}

static void other_lines_as_json(void **state)
{
	struct ringtail_gap_info gap = { .first = 5,
					 .count = 10,
					 .cause = RINGTAIL_CAUSE_LAPPED };
	struct rt_print print;

	(void)state;
	rt_print_init(&print, &out);
	print.json = true;

	rt_print_gap(&print, &gap);
	printed("{\"gap\":{\"first\":5,\"count\":10,\"cause\":\"lapped\"}}\n");
	gap.skipped = 3;
	gap.cause = RINGTAIL_CAUSE_COMPACTED;
	rt_print_gap(&print, &gap);
	printed("{\"gap\":{\"first\":5,\"count\":10,\"cause\":\"compacted\","
		"\"skipped\":3}}\n");
	rt_print_state(&print, "caught-up", 9);
	printed("{\"state\":\"caught-up\",\"seq\":9}\n");
	rt_print_snapshot_begin(&print, NULL);
	printed("{\"snapshot\":\"begin\"}\n");
	gap.cause = RINGTAIL_CAUSE_EPOCH;
	gap.count = 0;
	rt_print_snapshot_begin(&print, &gap);
	printed("{\"snapshot\":\"begin\",\"cause\":\"epoch\"}\n");
	gap.cause = RINGTAIL_CAUSE_COMPACTED;
	gap.first = 6;
	gap.count = 3;
	rt_print_snapshot_begin(&print, &gap);
	printed("{\"snapshot\":\"begin\",\"cause\":\"compacted\",\"first\":6,"
		"\"count\":3}\n");
	rt_print_snapshot_end(&print, 12);
	printed("{\"snapshot\":\"end\",\"seq\":12}\n");
}

static void people_get_a_line_in_columns(void **state)
{
	struct ringtail_event event = an_event;
	struct rt_print print;

	(void)state;
	setenv("TZ", "UTC", 1);
	rt_print_init(&print, &out);

	rt_print_event(&print, &event, NULL);
	printed("-- 2026-01-31\n"
		"       7  08:30:00.000000   1/2 put+    k\"  \\xff\n");
	event.seq = 8;
	event.txn_size = 1;
	event.op = RINGTAIL_DELETE;
	rt_print_event(&print, &event, NULL);
	printed("       8  08:30:00.000000       delete  k\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(utf8_is_checked_as_the_standard_says),
		T(base64_goes_both_ways),
		T(bad_base64_is_refused),
		T(json_strings_are_escaped),
		T(json_comes_back_as_it_was),
		T(large_values_pass_through_the_buffer),
		T(the_first_error_stays),
		T(no_value_can_drive_the_terminal),
		T(events_as_json_have_their_members_in_order),
		T(other_lines_as_json),
		T(people_get_a_line_in_columns),
	};

	return cmocka_run_group_tests_name("tool_out", tests, NULL, NULL);
}
