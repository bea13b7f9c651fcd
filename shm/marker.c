/* SPDX-License-Identifier: MIT */
#include "shm/marker.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"

static uint32_t marker_check(uint64_t seq, uint64_t epoch)
{
	uint8_t bytes[16];

	for (unsigned i = 0; i < 8; i++) {
		bytes[i] = (uint8_t)(seq >> (8 * i));
		bytes[8 + i] = (uint8_t)(epoch >> (8 * i));
	}
	return (uint32_t)XXH64(bytes, sizeof(bytes), 0);
}

static void hex_format(uint64_t value, unsigned digits, char *ret)
{
	for (unsigned i = 0; i < digits; i++)
		ret[i] = "0123456789abcdef"[(value >> (4 * (digits - 1 - i))) & 15];
}

static bool hex_parse(const char *text, unsigned digits, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < digits; i++) {
		char c = text[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a') + 10;
		else
			return false;
		value = value << 4 | digit;
	}
	*ret = value;
	return true;
}

void rt_marker_format(uint64_t seq, uint64_t epoch, char ret[RT_MARKER_LEN + 1])
{
	hex_format(seq, 16, ret);
	ret[16] = '-';
	hex_format(epoch, 16, ret + 17);
	ret[33] = '-';
	hex_format(marker_check(seq, epoch), 8, ret + 34);
	ret[RT_MARKER_LEN] = 0;
}

int rt_marker_parse(const char *text, size_t len, uint64_t *ret_seq,
		    uint64_t *ret_epoch)
{
	uint64_t seq, epoch, check;

	if (len != RT_MARKER_LEN || text[16] != '-' || text[33] != '-')
		return RT_E_MALFORMED;
	if (!hex_parse(text, 16, &seq) || !hex_parse(text + 17, 16, &epoch) ||
	    !hex_parse(text + 34, 8, &check))
		return RT_E_MALFORMED;
	if (check != marker_check(seq, epoch))
		return RT_E_MALFORMED;
	*ret_seq = seq;
	*ret_epoch = epoch;
	return 0;
}
