/* SPDX-License-Identifier: MIT */
#include "tools/text.h"

#include <errno.h>

static bool continues(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

size_t rt_utf8_char(const uint8_t *b, size_t len)
{
	if (b[0] < 0x80)
		return 1;
	if (b[0] < 0xc2 || b[0] > 0xf4 || len < 2 || !continues(b[1]))
		return 0;
	if (b[0] < 0xe0)
		return 2;
	if (len < 3 || !continues(b[2]))
		return 0;
	if (b[0] < 0xf0) {
		if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f))
			return 0;
		return 3;
	}
	if (len < 4 || !continues(b[3]))
		return 0;
	if ((b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
		return 0;
	return 4;
}

bool rt_utf8_valid(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	while (len) {
		uint64_t word;

		if (len >= sizeof(word)) {
			memcpy(&word, b, sizeof(word));
			if (!(word & UINT64_C(0x8080808080808080))) {
				b += sizeof(word);
				len -= sizeof(word);
				continue;
			}
		}

		const size_t n = rt_utf8_char(b, len);

		if (!n)
			return false;
		b += n;
		len -= n;
	}
	return true;
}

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t rt_base64_encode(const void *bytes, size_t len, char *ret)
{
	const uint8_t *b = bytes;
	char *at = ret;

	for (; len >= 3; b += 3, len -= 3) {
		*at++ = alphabet[b[0] >> 2];
		*at++ = alphabet[(b[0] & 3) << 4 | b[1] >> 4];
		*at++ = alphabet[(b[1] & 15) << 2 | b[2] >> 6];
		*at++ = alphabet[b[2] & 63];
	}
	if (len) {
		const uint8_t second = len == 2 ? b[1] : 0;

		*at++ = alphabet[b[0] >> 2];
		*at++ = alphabet[(b[0] & 3) << 4 | second >> 4];
		*at++ = len == 2 ? alphabet[(second & 15) << 2] : '=';
		*at++ = '=';
	}
	return (size_t)(at - ret);
}

static int sextet(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

int64_t rt_base64_decode(const char *text, size_t len, void *ret)
{
	uint8_t *at = ret;

	if (len % 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		const bool final = i + 4 == len;
		const int pad = !final               ? 0
				: text[i + 2] == '=' ? 2
						     : text[i + 3] == '=';
		int value = 0;

		for (int k = 0; k < 4; k++) {
			const int six = k >= 4 - pad ? 0 : sextet(text[i + (size_t)k]);

			if (six < 0 || (k >= 4 - pad && text[i + (size_t)k] != '='))
				return -EINVAL;
			value = value << 6 | six;
		}
		*at++ = (uint8_t)(value >> 16);
		if (pad < 2)
			*at++ = (uint8_t)(value >> 8);
		if (pad < 1)
			*at++ = (uint8_t)value;
	}
	return at - (uint8_t *)ret;
}
