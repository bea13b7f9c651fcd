/* SPDX-License-Identifier: MIT */
/*
 * test_tool_lines.c - tools/lines.c
 */
#include "tests/support/t.h"

#include <errno.h>
#include <ringtail.h>
#include <string.h>

#include "tools/lines.h"

static struct rt_lines lines;
static struct rt_fault fault;

static int setup(void **state)
{
	(void)state;
	rt_lines_init(&lines, RT_FORMAT_AUTO);
	fault.text[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt_lines_fini(&lines);
	return 0;
}

static int parse(const char *line, struct rt_load_event *ret)
{
	return rt_lines_parse(&lines, line, strlen(line), ret, &fault);
}

static void is_event(const char *line, uint32_t op, const char *key, const char *value)
{
	struct rt_load_event event;

	if (parse(line, &event) != RT_LINE_EVENT)
		fail_msg("'%s': %s", line, fault.text);
	assert_int_equal(event.op, op);
	assert_int_equal(event.key_len, strlen(key));
	assert_memory_equal(event.key, key, event.key_len);
	assert_int_equal(event.value_len, strlen(value));
	if (event.value_len)
		assert_memory_equal(event.value, value, event.value_len);
}

static void a_tab_parts_key_and_value(void **state)
{
	struct rt_load_event event;

	(void)state;
	is_event("k\tv", RINGTAIL_PUT, "k", "v");
	is_event("k\t", RINGTAIL_PUT, "k", "");
	is_event("k\ta\tb \\n", RINGTAIL_PUT, "k", "a\tb \\n");
	is_event("{\"k\"\tv", RINGTAIL_PUT, "{\"k\"", "v");
	assert_int_equal(parse("", &event), RT_LINE_NONE);
	assert_int_equal(parse("no tab", &event), -EINVAL);
	assert_int_equal(parse("\tv", &event), -EINVAL);
}

static void json_has_every_op_and_any_bytes(void **state)
{
	(void)state;
	is_event("{\"key\":\"k\",\"value\":\"v\"}", RINGTAIL_PUT, "k", "v");
	is_event("{\"op\":\"put\",\"key_b64\":\"/w==\",\"value_b64\":\"\"}",
		 RINGTAIL_PUT, "\xff", "");
	is_event("{\"op\":\"delete\",\"key\":\"k\"}", RINGTAIL_DELETE, "k", "");
	is_event("{\"op\":\"message\",\"key\":\"k\",\"value\":\"\\u00e9\\n\"}",
		 RINGTAIL_MESSAGE, "k", "\xc3\xa9\n");
	is_event("{\"seq\":4,\"rev\":4,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\","
		 "\"time_ns\":5,\"created\":true,\"marker\":\"m\"}",
		 RINGTAIL_PUT, "k", "v");
}

static void zero_bytes_survive_json(void **state)
{
	struct rt_load_event event;

	(void)state;
	assert_int_equal(parse("{\"key\":\"a\\u0000b\",\"value\":\"\\u0000\"}", &event),
			 RT_LINE_EVENT);
	assert_int_equal(event.key_len, 3);
	assert_memory_equal(event.key, "a\0b", 3);
	assert_int_equal(event.value_len, 1);
}

static void rev_groups_lines(void **state)
{
	struct rt_load_event event;

	(void)state;
	assert_int_equal(parse("{\"rev\":12,\"key\":\"k\",\"value\":\"v\"}", &event),
			 RT_LINE_EVENT);
	assert_int_equal(event.rev, 12);
	assert_int_equal(parse("{\"key\":\"k\",\"value\":\"v\"}", &event),
			 RT_LINE_EVENT);
	assert_int_equal(event.rev, 0);
}

static void lines_about_other_things_are_passed_over(void **state)
{
	struct rt_load_event event;

	(void)state;
	assert_int_equal(parse("{\"state\":\"caught-up\",\"seq\":3}", &event),
			 RT_LINE_NONE);
	assert_int_equal(parse("{\"snapshot\":\"begin\"}", &event), RT_LINE_NONE);
	assert_int_equal(
		parse("{\"gap\":{\"first\":1,\"count\":2,\"cause\":\"lapped\"}}",
		      &event),
		RT_LINE_GAP);
	assert_int_equal(parse("", &event), RT_LINE_NONE);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *line, *text;
	} cases[] = {
		{ "{", "not JSON" },
		{ "{} x", "not JSON" },
		{ "[1]", "not a JSON object" },
		{ "{}", "no key" },
		{ "{\"key\":\"\",\"value\":\"v\"}", "the key is empty" },
		{ "{\"key\":5,\"value\":\"v\"}", "key is not a string" },
		{ "{\"key\":\"k\"}", "no value" },
		{ "{\"key\":\"k\",\"value\":null}", "value is not a string" },
		{ "{\"key\":\"k\",\"key_b64\":\"aw==\",\"value\":\"v\"}",
		  "both key and key_b64" },
		{ "{\"key\":\"k\",\"value_b64\":\"v\"}", "value_b64 is not base64" },
		{ "{\"op\":\"set\",\"key\":\"k\",\"value\":\"v\"}", "op is none of" },
		{ "{\"op\":1,\"key\":\"k\",\"value\":\"v\"}", "op is none of" },
		{ "{\"op\":\"delete\",\"key\":\"k\",\"value\":\"v\"}",
		  "a delete has no value" },
		{ "{\"key\":\"k\",\"key\":\"l\",\"value\":\"v\"}", "not JSON" },
		{ "{\"key\":\"\xff\",\"value\":\"v\"}", "not JSON" },
	};
	struct rt_load_event event;

	(void)state;
	for (size_t i = 0; i < T_N(cases); i++) {
		lines.format = RT_FORMAT_JSON;
		if (parse(cases[i].line, &event) != -EINVAL)
			fail_msg("'%s' was taken", cases[i].line);
		if (!strstr(fault.text, cases[i].text))
			fail_msg("'%s': %s", cases[i].line, fault.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_tab_parts_key_and_value),
		T(json_has_every_op_and_any_bytes),
		T(zero_bytes_survive_json),
		T(rev_groups_lines),
		T(lines_about_other_things_are_passed_over),
		T(what_is_wrong_is_named),
	};

	return cmocka_run_group_tests_name("tool_lines", tests, NULL, NULL);
}
