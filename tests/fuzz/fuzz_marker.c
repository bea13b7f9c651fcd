/* SPDX-License-Identifier: MIT */
/*
 * fuzz_marker.c - any bytes as a marker
 *
 * What is accepted is exactly what the same seq and epoch give as text again, and
 * both ways to ask agree.
 */
#include <stdlib.h>
#include <string.h>

#include <ringtail.h>

#include "shm/marker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seq = 1, epoch = 2, seq2 = 3, epoch2 = 4;
	char text[RT_MARKER_LEN + 1];
	char *copy = malloc(size + 1);
	int e = rt_marker_parse((const char *)data, size, &seq, &epoch);
	int e2;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	copy[size] = 0;
	e2 = ringtail_marker_parse(copy, &seq2, &epoch2);
	if (strlen(copy) == size && e != e2)
		abort();
	free(copy);
	if (e < 0) {
		if (e != RINGTAIL_E_MALFORMED || seq != 1 || epoch != 2)
			abort();
		return 0;
	}
	rt_marker_format(seq, epoch, text);
	if (size != RT_MARKER_LEN || memcmp(text, data, size) != 0)
		abort();
	return 0;
}
