/* SPDX-License-Identifier: MIT */
/*
 * patches.h - an input as changes to bytes that are otherwise in order
 *
 * Any bytes at all would hardly get past the first check.  An input is a sequence of
 * changes: two bytes for the place, little-endian, one for how many bytes (1 .. 8,
 * modulo 8), and these bytes.
 */
#ifndef RINGTAIL_TESTS_FUZZ_PATCHES_H
#define RINGTAIL_TESTS_FUZZ_PATCHES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PATCH_HEAD 3u

/* Applies what is in @data to @bytes; a place beyond @len counts modulo it. */
static inline void patch_all(uint8_t *bytes, size_t len, const uint8_t *data,
			     size_t size)
{
	while (size > PATCH_HEAD) {
		size_t at = (size_t)(data[0] | data[1] << 8) % len;
		size_t n = 1 + data[2] % 8u;

		data += PATCH_HEAD;
		size -= PATCH_HEAD;
		n = n < size ? n : size;
		n = n < len - at ? n : len - at;
		memcpy(bytes + at, data, n);
		data += n;
		size -= n;
	}
}

#endif
