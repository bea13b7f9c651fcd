/* SPDX-License-Identifier: MIT */
/*
 * reply.h - replies of the Redis protocol, versions 2 and 3
 *
 * Appends to a buffer that belongs to one client.  Version 3 differs where it has a
 * form of its own for "nothing", maps and text; the client chose with HELLO.
 */
#ifndef RINGTAIL_DAEMON_REPLY_H
#define RINGTAIL_DAEMON_REPLY_H

#include "daemon/buf.h"

struct rt_reply {
	struct rt_buf buf;
	uint8_t version; /* 2 or 3 */
};

/* A literal, with its line end. */
#define rt_reply_literal(reply, text) \
	((void)rt_buf_add(&(reply)->buf, text, sizeof(text) - 1))

RT_INLINE void rt_reply_ok(struct rt_reply *reply)
{
	rt_reply_literal(reply, "+OK\r\n");
}

void rt_reply_status(struct rt_reply *reply, const char *text);
void rt_reply_int(struct rt_reply *reply, int64_t value);
void rt_reply_bulk(struct rt_reply *reply, const void *bytes, size_t len);
void rt_reply_text(struct rt_reply *reply, const char *text); /* a bulk */
/* Text for people: a verbatim string in version 3. */
void rt_reply_verbatim(struct rt_reply *reply, const void *bytes, size_t len);
void rt_reply_null(struct rt_reply *reply);
void rt_reply_null_array(struct rt_reply *reply);
void rt_reply_array(struct rt_reply *reply, size_t n);
/* @n pairs follow. */
void rt_reply_map(struct rt_reply *reply, size_t n);

/* The text begins with the code in capitals; control characters become blanks. */
RT_COLD void rt_reply_error(struct rt_reply *reply, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
