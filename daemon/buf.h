/* SPDX-License-Identifier: MIT */
/*
 * buf.h - bytes that grow up to a limit
 *
 * What a client can make the daemon keep is in one of these, so each has a limit.
 * An append that would pass it, or finds no memory, changes nothing and sets
 * `overflow`, which stays: writers append without asking and look once at the end.
 */
#ifndef RINGTAIL_DAEMON_BUF_H
#define RINGTAIL_DAEMON_BUF_H

#include "shm/base.h"

#define RT_BUF_FIRST 4096u /* first allocation */
#define RT_BUF_KEEP \
	65536u /* an empty buffer larger than this gives its memory back \
		*/

struct rt_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t limit;
	bool overflow;
};

/* Of rt_buf_room(). */
RT_COLD bool rt_buf_grow(struct rt_buf *buf, size_t more);

/* Room for @more bytes at data + len; NULL when there is none. */
RT_INLINE uint8_t *rt_buf_room(struct rt_buf *buf, size_t more)
{
	if (RT_UNLIKELY(buf->cap - buf->len < more) && !rt_buf_grow(buf, more))
		return NULL;
	return buf->data + buf->len;
}

RT_INLINE bool rt_buf_add(struct rt_buf *buf, const void *bytes, size_t len)
{
	uint8_t *room = rt_buf_room(buf, len);

	if (RT_UNLIKELY(!room))
		return false;
	if (len)
		memcpy(room, bytes, len);
	buf->len += len;
	return true;
}

/* Drops the first @len bytes. */
static inline void rt_buf_shift(struct rt_buf *buf, size_t len)
{
	buf->len -= len;
	if (buf->len)
		memmove(buf->data, buf->data + len, buf->len);
}

static inline void rt_buf_free(struct rt_buf *buf)
{
	free(buf->data);
	*buf = (struct rt_buf){ .limit = buf->limit };
}

/* Empties it; memory stays unless it is much. */
static inline void rt_buf_clear(struct rt_buf *buf)
{
	buf->len = 0;
	if (RT_UNLIKELY(buf->cap > RT_BUF_KEEP))
		rt_buf_free(buf);
}

#endif
