/* SPDX-License-Identifier: MIT */
#include "daemon/buf.h"

bool rt_buf_grow(struct rt_buf *buf, size_t more)
{
	size_t need, cap = buf->cap ? buf->cap : RT_BUF_FIRST;
	uint8_t *data;

	if (__builtin_add_overflow(buf->len, more, &need) || need > buf->limit) {
		buf->overflow = true;
		return false;
	}
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	data = realloc(buf->data, cap);
	if (!data) {
		buf->overflow = true;
		return false;
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}
