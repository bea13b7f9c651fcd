/* SPDX-License-Identifier: MIT */
/*
 * fuzz_batch.c - a batch of the log with changes
 *
 * The first byte of an input: bit 0 repairs the checksum after the changes.  What
 * follows are changes (patches.h) to a batch of transactions of 1, 2 and 3 events, and
 * one alone.  A batch that is accepted must be read to an end within its bytes, in
 * order of seq.
 */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store/batch.h"
#include "tests/fuzz/patches.h"

#define SALT  UINT64_C(77)
#define FIRST UINT64_C(41)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

/* In memory of just its size: a sanitizer sees each byte too many. */
static uint8_t *make_batch(size_t *ret_len)
{
	struct rt_batch batch = { 0 };
	uint8_t *made;

	rt_batch_reset(&batch, FIRST);
	for (unsigned n = 1; n <= 3; n++) {
		must(rt_batch_begin(&batch) == 0);
		for (unsigned i = 0; i < n; i++)
			must(rt_batch_add(&batch, RT_OP_PUT, 0, "some key", 2 + i,
					  "and a value", 3 + n + i) == 0);
		rt_batch_end(&batch, 1000 * n);
	}
	must(rt_batch_one(&batch, RT_OP_PUT, 1, "alone", 5, "value", 5, 4000) == 0);
	rt_batch_seal(&batch, SALT, FIRST - 1);
	made = malloc(batch.len);
	must(made);
	memcpy(made, batch.data, batch.len);
	*ret_len = batch.len;
	rt_batch_fini(&batch);
	return made;
}

static void repair_check(uint8_t *bytes, size_t len)
{
	struct rt_log_batch header;

	memcpy(&header, bytes, sizeof(header));
	if (header.size < sizeof(header) || header.size > len)
		return;
	header.check = XXH3_64bits_withSeed(bytes + 16, header.size - 16,
					    SALT ^ header.n_txns);
	memcpy(bytes, &header, sizeof(header));
}

/* What the short way says must be what the long way says. */
static void peek_is_next(const struct rt_batch_cursor *cursor)
{
	struct rt_batch_cursor slow = *cursor, fast = *cursor;
	struct rt_item peeked, item;
	size_t size = rt_batch_peek_alone(&fast, &peeked);

	if (!size)
		return;
	rt_batch_pass(&fast, size);
	must(rt_batch_next(&slow, &item) == 1);
	must(fast.at == slow.at && fast.seq == slow.seq && item.txn_size == 1);
	must(fast.txn_end == slow.txn_end && slow.at == slow.txn_end);
	must(peeked.key == item.key && peeked.key_len == item.key_len);
	must(peeked.value_len == item.value_len && !item.prev_len && !item.ext_len);
	must(peeked.op == item.op && peeked.flags == item.flags);
	must(peeked.time_ns == item.time_ns);
}

static void read_it(const uint8_t *bytes, size_t len)
{
	struct rt_batch_cursor cursor;
	struct rt_item item;
	uint64_t seq = FIRST;
	uint64_t sum = 0;

	rt_batch_open(bytes, &cursor);
	for (peek_is_next(&cursor); rt_batch_next(&cursor, &item) == 1;
	     peek_is_next(&cursor)) {
		must(item.seq == seq++);
		must(item.key_len && item.txn_index < item.txn_size);
		must(item.key > bytes && item.prev + item.prev_len <= bytes + len);
		for (size_t i = 0; i < item.key_len; i++)
			sum += item.key[i];
		for (size_t i = 0; i < item.value_len; i++)
			sum += item.value[i];
		must(seq - FIRST <= len / sizeof(struct rt_log_event));
	}
	(void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes;
	size_t len;

	if (!size)
		return 0;
	bytes = make_batch(&len);
	patch_all(bytes, len, data + 1, size - 1);
	if (data[0] & 1)
		repair_check(bytes, len);
	if (rt_batch_valid(bytes, len, SALT, FIRST))
		read_it(bytes, len);
	free(bytes);
	return 0;
}
