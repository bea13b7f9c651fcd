/* SPDX-License-Identifier: MIT */
#include "tools/lines.h"

#include <errno.h>
#include <ringtail.h>

#include "tools/text.h"

void rt_lines_init(struct rt_lines *lines, enum rt_format format)
{
	*lines = (struct rt_lines){ .format = format };
}

static void forget(struct rt_lines *lines)
{
	json_decref(lines->object);
	lines->object = NULL;
	for (size_t i = 0; i < RT_N(lines->decoded); i++) {
		free(lines->decoded[i]);
		lines->decoded[i] = NULL;
	}
}

void rt_lines_fini(struct rt_lines *lines)
{
	forget(lines);
}

static int parse_tab(const char *line, size_t len, struct rt_load_event *ret,
		     struct rt_fault *fault)
{
	const char *tab = memchr(line, '\t', len);

	if (!tab) {
		rt_fault_set(fault, "no tab between key and value");
		return -EINVAL;
	}
	if (tab == line) {
		rt_fault_set(fault, "the key is empty");
		return -EINVAL;
	}
	*ret = (struct rt_load_event){
		.op = RINGTAIL_PUT,
		.key = line,
		.key_len = (size_t)(tab - line),
		.value = tab + 1,
		.value_len = len - (size_t)(tab - line) - 1,
	};
	return RT_LINE_EVENT;
}

/* The bytes of member @name or @name_b64; 0 if there is neither, 1 if there is one. */
static int take_bytes(struct rt_lines *lines, int which, const char *name,
		      const char *name_b64, const char **ret, size_t *ret_len,
		      struct rt_fault *fault)
{
	const json_t *plain = json_object_get(lines->object, name);
	const json_t *coded = json_object_get(lines->object, name_b64);

	if (plain && coded) {
		rt_fault_set(fault, "both %s and %s", name, name_b64);
		return -EINVAL;
	}
	if (!plain && !coded)
		return 0;
	if (!json_is_string(plain ? plain : coded)) {
		rt_fault_set(fault, "%s is not a string", plain ? name : name_b64);
		return -EINVAL;
	}
	if (plain) {
		*ret = json_string_value(plain);
		*ret_len = json_string_length(plain);
		return 1;
	}

	const size_t len = json_string_length(coded);

	lines->decoded[which] = malloc(len / 4 * 3 + 1);
	if (!lines->decoded[which])
		return -ENOMEM;

	const int64_t n =
		rt_base64_decode(json_string_value(coded), len, lines->decoded[which]);

	if (n < 0) {
		rt_fault_set(fault, "%s is not base64", name_b64);
		return -EINVAL;
	}
	*ret = lines->decoded[which];
	*ret_len = (size_t)n;
	return 1;
}

static int take_op(const json_t *object, uint32_t *ret, struct rt_fault *fault)
{
	const json_t *member = json_object_get(object, "op");
	const char *op = json_string_value(member);

	if (!member || (op && !strcmp(op, "put")))
		*ret = RINGTAIL_PUT;
	else if (op && !strcmp(op, "delete"))
		*ret = RINGTAIL_DELETE;
	else if (op && !strcmp(op, "message"))
		*ret = RINGTAIL_MESSAGE;
	else {
		rt_fault_set(fault, "op is none of put, delete, message");
		return -EINVAL;
	}
	return 0;
}

static int no_event(const json_t *object)
{
	if (json_object_get(object, "gap"))
		return RT_LINE_GAP;
	return json_object_get(object, "state") || json_object_get(object, "snapshot")
		       ? RT_LINE_NONE
		       : -EINVAL;
}

static int take_event(struct rt_lines *lines, struct rt_load_event *ret,
		      struct rt_fault *fault)
{
	struct rt_load_event event = { 0 };
	int r = take_op(lines->object, &event.op, fault);

	if (r < 0)
		return r;
	r = take_bytes(lines, 0, "key", "key_b64", &event.key, &event.key_len, fault);
	if (r < 0)
		return r;
	if (!r) {
		r = no_event(lines->object);
		if (r < 0)
			rt_fault_set(fault, "no key");
		return r;
	}
	if (!event.key_len) {
		rt_fault_set(fault, "the key is empty");
		return -EINVAL;
	}
	r = take_bytes(lines, 1, "value", "value_b64", &event.value, &event.value_len,
		       fault);
	if (r < 0)
		return r;
	if (r != (event.op != RINGTAIL_DELETE)) {
		rt_fault_set(fault, r ? "a delete has no value" : "no value");
		return -EINVAL;
	}

	const json_t *rev = json_object_get(lines->object, "rev");

	if (json_is_integer(rev) && json_integer_value(rev) > 0)
		event.rev = (uint64_t)json_integer_value(rev);
	*ret = event;
	return RT_LINE_EVENT;
}

static int parse_json(struct rt_lines *lines, const char *line, size_t len,
		      struct rt_load_event *ret, struct rt_fault *fault)
{
	json_error_t error;

	lines->object =
		json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (!lines->object) {
		rt_fault_set(fault, "not JSON: %s at column %d", error.text,
			     error.column);
		return -EINVAL;
	}
	if (!json_is_object(lines->object)) {
		rt_fault_set(fault, "not a JSON object");
		return -EINVAL;
	}
	return take_event(lines, ret, fault);
}

int rt_lines_parse(struct rt_lines *lines, const char *line, size_t len,
		   struct rt_load_event *ret, struct rt_fault *fault)
{
	if (!len)
		return RT_LINE_NONE;
	if (lines->format == RT_FORMAT_AUTO)
		lines->format = line[0] == '{' ? RT_FORMAT_JSON : RT_FORMAT_TAB;
	if (lines->format == RT_FORMAT_TAB)
		return parse_tab(line, len, ret, fault);
	forget(lines);
	return parse_json(lines, line, len, ret, fault);
}
