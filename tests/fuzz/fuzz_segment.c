/* SPDX-License-Identifier: MIT */
/*
 * fuzz_segment.c - page 0 with changes, and files of any size
 *
 * The first byte of an input: bit 0 repairs the checksum after the changes, the rest
 * says how far the size of the file is from what page 0 says.  What follows are
 * changes (patches.h) to the header of a small ring.  A header that is accepted must
 * describe parts that lie within the file, one behind the other.
 */
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "tests/fuzz/patches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header_init(struct rt_header *ret)
{
	*ret = (struct rt_header){
		.magic = RT_MAGIC,
		.format = RT_FORMAT,
		.header_size = sizeof(*ret),
		.file_size = 2 * RT_PAGE + 64 * sizeof(struct rt_slot) + 4096,
		.hot_offset = RT_PAGE,
		.slots_offset = 2 * RT_PAGE,
		.payload_offset = 2 * RT_PAGE + 64 * sizeof(struct rt_slot),
		.payload_size = 4096,
		.n_slots = 64,
		.slot_size = sizeof(struct rt_slot),
		.max_key = 64,
		.max_value = 1024,
		.max_txn_events = 64 / RT_TXN_SHARE,
		.max_txn_bytes = 4096 / RT_TXN_SHARE,
		.epoch = 7,
		.instance = 8,
		.first_seq = 1,
		.name = "feed",
	};
}

static void repair_check(struct rt_header *h)
{
	h->check =
		XXH64((const uint8_t *)h + sizeof(h->magic),
		      offsetof(struct rt_header, check) - sizeof(h->magic), RT_MAGIC);
}

/* Page by page, as the layout draws it. */
static bool makes_sense(const struct rt_geometry *geo, uint64_t file_size)
{
	uint64_t slots_end = geo->slots_offset + geo->n_slots * sizeof(struct rt_slot);

	return geo->file_size <= file_size && rt_is_pow2(geo->n_slots) &&
	       rt_is_pow2(geo->payload_size) && geo->slots_offset >= 2 * RT_PAGE &&
	       slots_end <= geo->payload_offset &&
	       geo->payload_offset <= geo->file_size &&
	       geo->payload_size <= geo->file_size - geo->payload_offset &&
	       geo->max_key && geo->max_key <= geo->payload_size &&
	       geo->max_value <= geo->payload_size && geo->max_txn_events &&
	       geo->max_txn_events <= geo->n_slots &&
	       geo->max_txn_bytes <= geo->payload_size && geo->epoch &&
	       geo->first_seq && rt_name_valid(geo->name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rt_fault fault = { "" };
	struct rt_geometry geo;
	struct rt_header h;
	uint64_t file_size;
	int r;

	if (!size)
		return 0;
	header_init(&h);
	repair_check(&h);
	file_size = h.file_size + (data[0] & 0x7eu) - ((data[0] & 0x80u) << 6);
	patch_all((uint8_t *)&h, sizeof(h), data + 1, size - 1);
	if (data[0] & 1)
		repair_check(&h);
	r = rt_header_check(&h, file_size, "fuzz", &fault, &geo);
	if (!r && !makes_sense(&geo, file_size))
		abort();
	if (r && (strncmp(fault.text, "fuzz: ", 6) != 0 ||
		  (r != RT_E_CORRUPT && r != RT_E_VERSION)))
		abort();
	return 0;
}
