/* SPDX-License-Identifier: MIT */
#include "tools/out.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>

#include "tools/text.h"

void rt_out_init(struct rt_out *out, int fd)
{
	out->fd = fd;
	out->error = 0;
	out->len = 0;
}

/* The other end may have made the descriptor non-blocking. */
static void wait_writable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

	(void)poll(&poll_fd, 1, -1); /* whatever it says, the write is tried again */
}

static void write_all(struct rt_out *out, const char *bytes, size_t len)
{
	while (len && !out->error) {
		const ssize_t n = write(out->fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			wait_writable(out->fd);
		} else if (errno != EINTR) {
			out->error = -errno;
		}
	}
}

int rt_out_flush(struct rt_out *out)
{
	write_all(out, out->buf, out->len);
	out->len = 0;
	return out->error;
}

/* Room for @len bytes, which must be less than the buffer. */
static char *reserve(struct rt_out *out, size_t len)
{
	if (RT_UNLIKELY(out->len + len > sizeof(out->buf)))
		(void)rt_out_flush(out); /* the error stays in @out */
	return out->buf + out->len;
}

void rt_out_bytes(struct rt_out *out, const void *bytes, size_t len)
{
	if (RT_UNLIKELY(len > sizeof(out->buf) / 2)) {
		(void)rt_out_flush(out); /* the error stays in @out */
		write_all(out, bytes, len);
		return;
	}
	memcpy(reserve(out, len), bytes, len);
	out->len += len;
}

void rt_out_text(struct rt_out *out, const char *text)
{
	rt_out_bytes(out, text, strlen(text));
}

void rt_out_u64(struct rt_out *out, uint64_t value)
{
	char digits[20];
	char *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	rt_out_bytes(out, at, (size_t)(digits + sizeof(digits) - at));
}

void rt_out_format(struct rt_out *out, const char *format, ...)
{
	char text[512];
	va_list list;

	va_start(list, format);
	const int n = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (n > 0)
		rt_out_bytes(out, text, rt_min((uint64_t)n, sizeof(text) - 1));
}

/* The first byte of @b .. @end that JSON wants escaped. */
static const uint8_t *plain_until(const uint8_t *b, const uint8_t *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;

	while (end - b >= 8) {
		uint64_t word;

		memcpy(&word, b, sizeof(word));

		/* Exact when no byte is above 0x7f; else the slow loop decides. */
		const uint64_t quote = word ^ (ones * '"'),
			       slash = word ^ (ones * '\\');
		const uint64_t found = ((word - ones * 0x20) | (quote - ones) |
					(slash - ones) | word) &
				       high;

		if (found)
			break;
		b += 8;
	}
	while (b < end && *b >= 0x20 && *b != '"' && *b != '\\')
		b++;
	return b;
}

static void json_escape(struct rt_out *out, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	char *at = reserve(out, 2);

	for (const char *pair = letters; *pair; pair += 2) {
		if ((uint8_t)*pair != byte)
			continue;
		at[0] = '\\';
		at[1] = pair[1];
		out->len += 2;
		return;
	}
	rt_out_text(out, "\\u00");
	rt_out_bytes(out, &hex[byte >> 4], 1);
	rt_out_bytes(out, &hex[byte & 15], 1);
}

void rt_out_json_string(struct rt_out *out, const void *bytes, size_t len)
{
	const uint8_t *b = bytes, *end = b + len;

	rt_out_bytes(out, "\"", 1);
	while (b < end) {
		const uint8_t *stop = plain_until(b, end);

		rt_out_bytes(out, b, (size_t)(stop - b));
		if (stop < end)
			json_escape(out, *stop++);
		b = stop;
	}
	rt_out_bytes(out, "\"", 1);
}

static void base64(struct rt_out *out, const uint8_t *bytes, size_t len)
{
	const size_t step = 3072;

	for (size_t at = 0; at < len; at += step) {
		const size_t n = rt_min(step, len - at);
		char *room = reserve(out, RT_BASE64_SIZE(step));

		out->len += rt_base64_encode(bytes + at, n, room);
	}
}

void rt_out_json_member(struct rt_out *out, const char *name, const void *bytes,
			size_t len)
{
	rt_out_bytes(out, "\"", 1);
	rt_out_text(out, name);
	if (RT_LIKELY(rt_utf8_valid(bytes, len))) {
		rt_out_bytes(out, "\":", 2);
		rt_out_json_string(out, bytes, len);
		return;
	}
	rt_out_text(out, "_b64\":\"");
	base64(out, bytes, len);
	rt_out_bytes(out, "\"", 1);
}

/* C0, DEL, C1 and the characters that turn the direction of text. */
static bool is_control(const uint8_t *b, size_t n)
{
	if (n == 1)
		return b[0] < 0x20 || b[0] == 0x7f;
	if (n == 2)
		return b[0] == 0xc2 && b[1] < 0xa0;
	if (n == 3 && b[0] == 0xe2)
		return (b[1] == 0x80 && (b[2] >= 0xa8 && b[2] <= 0xae)) ||
		       (b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9);
	return false;
}

static void escape_byte(struct rt_out *out, uint8_t byte)
{
	if (byte == '\n')
		rt_out_text(out, "\\n");
	else if (byte == '\t')
		rt_out_text(out, "\\t");
	else if (byte == '\r')
		rt_out_text(out, "\\r");
	else
		rt_out_format(out, "\\x%02x", byte);
}

void rt_out_escaped(struct rt_out *out, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	while (len) {
		const size_t n = rt_utf8_char(b, len);

		if (n == 1 && *b == '\\')
			rt_out_text(out, "\\\\");
		else if (n && !is_control(b, n))
			rt_out_bytes(out, b, n);
		else
			for (size_t i = 0; i < (n ? n : 1); i++)
				escape_byte(out, b[i]);
		b += n ? n : 1;
		len -= n ? n : 1;
	}
}
