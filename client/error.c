/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <ringtail.h>

#include "client/reader.h"

static _Thread_local struct rt_fault open_fault;

static const struct {
	int code;
	const char *text;
} texts[] = {
	{ RINGTAIL_E_MALFORMED, "malformed marker" },
	{ RINGTAIL_E_EPOCH, "other epoch: the feed's history was begun anew" },
	{ RINGTAIL_E_COMPACTED, "compacted: what follows is no longer held" },
	{ RINGTAIL_E_FUTURE, "future: above the newest event" },
	{ RINGTAIL_E_LAPPED, "lapped: overtaken by the writer" },
	{ RINGTAIL_E_CLOSED, "closed by its writer" },
	{ RINGTAIL_E_CANCELED, "canceled" },
	{ RINGTAIL_E_CORRUPT, "damaged file" },
	{ RINGTAIL_E_VERSION, "made by a newer or foreign version" },
	{ RINGTAIL_E_NO_FEED, "no such feed" },
	{ RINGTAIL_E_TOO_BIG, "too big: over a limit of the feed" },
	{ RINGTAIL_E_BUSY, "busy: the feed has a writer already" },
	{ RINGTAIL_E_NO_SPACE, "no space for the ring" },
	{ RINGTAIL_E_OVERRUN, "overrun: borrowed memory was overwritten" },
	{ RINGTAIL_E_RETIRED,
	  "retired: the feed moved to where this reader cannot follow" },
	{ RINGTAIL_E_UNSUPPORTED, "not supported" },
	{ RINGTAIL_E_NO_SNAPSHOT, "no snapshot: the feed's state is not held" },
	{ RINGTAIL_E_END, "end: everything that was asked for has been read" },
};

const char *ringtail_strerror(int code)
{
	static _Thread_local char text[128];

	for (size_t i = 0; i < RT_N(texts); i++) {
		if (texts[i].code == code)
			return texts[i].text;
	}
	if (code >= 0)
		return "no error";
	return strerror_r(code < -INT_MAX ? INT_MAX : -code, text, sizeof(text));
}

struct rt_fault *rt_open_fault(void)
{
	return &open_fault;
}

const char *ringtail_error(const struct ringtail *reader)
{
	return reader ? reader->fault.text : open_fault.text;
}

const char *ringtail_version(void)
{
	return RT_VERSION;
}
