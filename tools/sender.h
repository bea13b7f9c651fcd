/* SPDX-License-Identifier: MIT */
/*
 * sender.h - many transactions on their way to the daemon at once
 *
 * Requests are written and replies are read as the socket takes and gives them, so
 * neither side ever waits for the other with full buffers.  What is in flight is
 * bounded.  After the first refusal nothing more is sent, unless told otherwise;
 * what was in flight then may still be committed, and is counted if it was.
 */
#ifndef RINGTAIL_TOOLS_SENDER_H
#define RINGTAIL_TOOLS_SENDER_H

#include <hiredis/hiredis.h>

#include "tools/lines.h"

#define RT_SENDER_REQUESTS 4096u /* in flight; a power of two */

struct rt_request {
	uint64_t first_line;
	uint64_t last_line;
	uint32_t n_events;
	uint32_t n_replies; /* still to come */
	bool refused;
};

struct rt_part {
	size_t end; /* in args */
	uint32_t op;
};

struct rt_sender {
	redisContext *conn;
	bool keep_going;
	/* the transaction being gathered */
	char *args; /* keys and values as RESP strings */
	size_t args_len, args_size;
	struct rt_part *parts; /* one for each event */
	size_t n_parts, parts_size;
	bool only_puts;
	uint64_t first_line, last_line;
	/* what waits to be written */
	char *out;
	size_t out_at, out_len, out_size;
	/* what waits for replies: requests head .. tail - 1 */
	struct rt_request flight[RT_SENDER_REQUESTS];
	uint64_t head, tail;
	/* outcomes */
	uint64_t committed_events;
	uint64_t committed_txns;
	uint64_t refused_txns;
	uint64_t said; /* refusals that were printed */
};

void rt_sender_init(struct rt_sender *sender, redisContext *conn, bool keep_going);
void rt_sender_fini(struct rt_sender *sender);

/*
 * All of these return 0, or a negative error after a message: -ENOMEM, or whatever
 * befell the connection.
 */

/* Adds an event to the transaction. */
int rt_sender_add(struct rt_sender *sender, const struct rt_load_event *event,
		  uint64_t line);

/* Puts the transaction on its way; waits for replies if too much is in flight. */
int rt_sender_commit(struct rt_sender *sender);

/* Forgets the transaction that is being gathered. */
void rt_sender_abort(struct rt_sender *sender);

/* Waits until all has been answered. */
int rt_sender_drain(struct rt_sender *sender);

/* Has the daemon refused something, so that no more shall be sent? */
static inline bool rt_sender_stopped(const struct rt_sender *sender)
{
	return sender->refused_txns && !sender->keep_going;
}

#endif
