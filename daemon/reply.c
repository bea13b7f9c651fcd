/* SPDX-License-Identifier: MIT */
#include "daemon/reply.h"

#include <stdarg.h>

/* "Xvalue\r\n" */
static void number(struct rt_reply *reply, char type, uint64_t value, bool negative)
{
	char text[24], *at = text + sizeof(text);

	*--at = '\n';
	*--at = '\r';
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	if (negative)
		*--at = '-';
	*--at = type;
	(void)rt_buf_add(&reply->buf, at, (size_t)(text + sizeof(text) - at));
}

void rt_reply_status(struct rt_reply *reply, const char *text)
{
	(void)rt_buf_add(&reply->buf, "+", 1);
	(void)rt_buf_add(&reply->buf, text, strlen(text));
	(void)rt_buf_add(&reply->buf, "\r\n", 2);
}

void rt_reply_int(struct rt_reply *reply, int64_t value)
{
	number(reply, ':', value < 0 ? 0 - (uint64_t)value : (uint64_t)value,
	       value < 0);
}

void rt_reply_bulk(struct rt_reply *reply, const void *bytes, size_t len)
{
	number(reply, '$', len, false);
	(void)rt_buf_add(&reply->buf, bytes, len);
	(void)rt_buf_add(&reply->buf, "\r\n", 2);
}

void rt_reply_text(struct rt_reply *reply, const char *text)
{
	rt_reply_bulk(reply, text, strlen(text));
}

void rt_reply_verbatim(struct rt_reply *reply, const void *bytes, size_t len)
{
	if (reply->version < 3) {
		rt_reply_bulk(reply, bytes, len);
		return;
	}
	number(reply, '=', len + 4, false);
	(void)rt_buf_add(&reply->buf, "txt:", 4);
	(void)rt_buf_add(&reply->buf, bytes, len);
	(void)rt_buf_add(&reply->buf, "\r\n", 2);
}

void rt_reply_null(struct rt_reply *reply)
{
	if (reply->version < 3)
		rt_reply_literal(reply, "$-1\r\n");
	else
		rt_reply_literal(reply, "_\r\n");
}

void rt_reply_null_array(struct rt_reply *reply)
{
	if (reply->version < 3)
		rt_reply_literal(reply, "*-1\r\n");
	else
		rt_reply_literal(reply, "_\r\n");
}

void rt_reply_array(struct rt_reply *reply, size_t n)
{
	number(reply, '*', n, false);
}

void rt_reply_map(struct rt_reply *reply, size_t n)
{
	if (reply->version < 3)
		number(reply, '*', n * 2, false);
	else
		number(reply, '%', n, false);
}

void rt_reply_error(struct rt_reply *reply, const char *format, ...)
{
	char text[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if ((size_t)len >= sizeof(text))
		len = (int)sizeof(text) - 1;
	for (int i = 0; i < len; i++)
		if ((uint8_t)text[i] < ' ' || text[i] == 127)
			text[i] = ' ';
	(void)rt_buf_add(&reply->buf, "-", 1);
	(void)rt_buf_add(&reply->buf, text, (size_t)len);
	(void)rt_buf_add(&reply->buf, "\r\n", 2);
}
