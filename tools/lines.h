/* SPDX-License-Identifier: MIT */
/*
 * lines.h - lines of a file to load, as events
 *
 * tab:  KEY TAB VALUE, both as they are up to the end of the line; a put
 * json: an object with op (put if missing), key or key_b64, value or value_b64, and
 *       rev, which may group lines into transactions; what else is in it is ignored.
 *       Lines about gaps, states and snapshots are none of our events and passed
 *       over, so that what `ringtail watch --json` printed can be loaded.
 */
#ifndef RINGTAIL_TOOLS_LINES_H
#define RINGTAIL_TOOLS_LINES_H

#include <jansson.h>

#include "shm/base.h"

enum rt_format {
	RT_FORMAT_AUTO = 0, /* json if the first line begins with '{' */
	RT_FORMAT_TAB,
	RT_FORMAT_JSON,
};

/* Outcomes of rt_lines_parse() that are no errors. */
enum rt_line {
	RT_LINE_EVENT = 1,
	RT_LINE_NONE = 0, /* empty, or about something else than an event */
	RT_LINE_GAP = 2,  /* says that events are missing here */
};

struct rt_load_event {
	uint32_t op; /* enum ringtail_op */
	const char *key;
	const char *value;
	size_t key_len;
	size_t value_len;
	uint64_t rev; /* 0: not said */
};

struct rt_lines {
	enum rt_format format;
	json_t *object;   /* of the newest line */
	char *decoded[2]; /* from base64: key, value */
};

void rt_lines_init(struct rt_lines *lines, enum rt_format format);
void rt_lines_fini(struct rt_lines *lines);

/*
 * One line without its newline.  @ret points into it and into @lines, until the next
 * call.  enum rt_line; -EINVAL with a text; -ENOMEM.
 */
int rt_lines_parse(struct rt_lines *lines, const char *line, size_t len,
		   struct rt_load_event *ret, struct rt_fault *fault);

#endif
