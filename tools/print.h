/* SPDX-License-Identifier: MIT */
/*
 * print.h - what `ringtail watch` prints, for programs and for people
 *
 * For programs: JSON, one object a line.  Of an event, in this order: seq, rev, op,
 * key or key_b64, value or value_b64 (not of a delete), time_ns, created (of a put, but
 * not of a snapshot's), expired (of a delete, when true), prev or prev_b64 (if the feed
 * keeps it), marker (on the last of a transaction).
 */
#ifndef RINGTAIL_TOOLS_PRINT_H
#define RINGTAIL_TOOLS_PRINT_H

#include <ringtail.h>

#include "tools/out.h"

struct rt_print {
	struct rt_out *out;
	bool json;
	bool raw;         /* people's values as they are */
	bool color;       /* people's lines */
	const char *more; /* members for the end of a JSON object, each with its comma;
			   * may be NULL */
	/* of people's times: the second that `clock` is the text of, and its day */
	uint64_t clock_s;
	int day;
	char clock[16];
};

void rt_print_init(struct rt_print *print, struct rt_out *out);

/* @marker: NULL, or the text to put on this event. */
void rt_print_event(struct rt_print *print, const struct ringtail_event *event,
		    const char *marker);
void rt_print_gap(struct rt_print *print, const struct ringtail_gap_info *gap);
void rt_print_state(struct rt_print *print, const char *state, uint64_t seq);
/* @gap: what it stands in for; NULL: nothing was missed. */
void rt_print_snapshot_begin(struct rt_print *print,
			     const struct ringtail_gap_info *gap);
void rt_print_entry(struct rt_print *print, const struct ringtail_event *event);
void rt_print_snapshot_end(struct rt_print *print, uint64_t seq);

const char *rt_op_name(uint32_t op);
const char *rt_state_name(uint32_t state);
const char *rt_cause_name(uint32_t cause);

#endif
