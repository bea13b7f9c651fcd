/* SPDX-License-Identifier: MIT */
/*
 * fuzz_presence.c - any bytes as what a reader says of itself
 *
 * As they are, and with a checksum that is right, so that what is behind it is looked
 * at too.  What is accepted can be printed: its texts end.
 */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/presence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int try(const void *bytes, size_t len)
{
	struct rt_presence_record record;
	int r = rt_presence_parse(bytes, len, &record);

	if (r < 0) {
		if (r != RT_E_CORRUPT && r != RT_E_VERSION)
			abort();
		return r;
	}
	if (strnlen(record.name, sizeof(record.name)) > RT_PRESENCE_NAME ||
	    !rt_presence_name_valid(record.name) ||
	    strnlen(record.boot, sizeof(record.boot)) == sizeof(record.boot) ||
	    record.state < RT_PRESENCE_RUNNING || record.state > RT_PRESENCE_ENDED)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rt_presence_record record = { .magic = 0 };
	uint8_t *copy = malloc(size ? size : 1); /* so that reading beyond is seen */

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	(void)try(copy, size);
	free(copy);

	memcpy(&record, data, size < sizeof(record) ? size : sizeof(record));
	rt_presence_seal(&record);
	(void)try(&record, sizeof(record));
	record.format++;
	record.check = XXH64(&record, offsetof(struct rt_presence_record, check),
			     RT_PRESENCE_MAGIC);
	if (try(&record, sizeof(record)) != RT_E_VERSION)
		abort();
	return 0;
}
