/* SPDX-License-Identifier: MIT */
/*
 * fuzz_slot.c - slots and hot words of any content, looked at one by one
 *
 * The parts of a small ring, each in memory of its own, so that a sanitizer sees what
 * is read beyond them.  An input is changes (patches.h), first to the hot words, then
 * to the slots; a byte of 0xff stands between.  Nothing may be read outside, and every
 * search must end.
 */
#include <stdlib.h>

#include "shm/ring.h"
#include "tests/fuzz/patches.h"

#define N_SLOTS      64u
#define PAYLOAD_SIZE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void segment_init(struct rt_segment *ret)
{
	*ret = (struct rt_segment){
		.hot = aligned_alloc(RT_LINE,
				     rt_round_up(sizeof(struct rt_hot), RT_LINE)),
		.slots = calloc(N_SLOTS, sizeof(struct rt_slot)),
		.payload = calloc(1, PAYLOAD_SIZE),
		.fd = -1,
		.geo = { .n_slots = N_SLOTS,
			 .payload_size = PAYLOAD_SIZE,
			 .max_txn_bytes = PAYLOAD_SIZE / RT_TXN_SHARE,
			 .max_txn_events = N_SLOTS / RT_TXN_SHARE,
			 .max_key = 64,
			 .max_value = PAYLOAD_SIZE / RT_TXN_SHARE,
			 .epoch = 1,
			 .instance = 2,
			 .first_seq = 1,
			 .name = "feed" },
	};
	if (!ret->hot || !ret->slots || !ret->payload)
		abort();
	memset(ret->hot, 0, sizeof(*ret->hot));
	ret->hot->head = 70;
	ret->hot->floor = 11;
	ret->hot->state = RT_STATE_LIVE;
	for (uint64_t seq = 11; seq <= 70; seq++) {
		ret->slots[seq % N_SLOTS] = (struct rt_slot){
			.seq = seq,
			.time_ns = seq * 1000,
			.pos = (uint32_t)seq * 4,
			.value_len = seq % 2 ? 5 : 30,
			.key_len = 4,
			.op = RT_OP_PUT,
			.txn_size = 1,
		};
	}
}

static void segment_fini(struct rt_segment *segment)
{
	free(segment->hot);
	free(segment->slots);
	free(segment->payload);
}

/* As a reader would, after which the bytes are gone. */
static uint64_t read_bytes(const struct rt_event *ev)
{
	uint8_t copy[2 * PAYLOAD_SIZE];
	uint64_t sum = 0;

	if ((size_t)ev->key_len + ev->value_len > sizeof(copy))
		abort();
	rt_copy_out(copy, ev->key, ev->key_len);
	rt_copy_out(copy + ev->key_len, ev->value, ev->value_len);
	for (size_t i = 0; i < (size_t)ev->key_len + ev->value_len; i++)
		sum = sum * 31 + copy[i];
	return sum;
}

static void look_at_all(const struct rt_segment *segment)
{
	uint64_t head = rt_load64(&segment->hot->head);
	uint64_t seqs[] = {
		0, 1, 10, 11, 70, 71, head, head + 1, head + 64, UINT64_MAX
	};
	uint64_t sink = 0;
	struct rt_event ev;

	for (uint64_t seq = 0; seq < 2 * N_SLOTS; seq++) {
		if (rt_ring_look(segment, seq, &ev) == RT_LOOK_EVENT)
			sink += read_bytes(&ev);
	}
	for (size_t i = 0; i < RT_N(seqs); i++) {
		if (rt_ring_look(segment, seqs[i], &ev) == RT_LOOK_EVENT)
			sink += read_bytes(&ev);
		sink += rt_ring_align(segment, seqs[i]);
		sink += rt_ring_bytes_from(segment, seqs[i]);
		sink += rt_ring_at_time(segment, seqs[i] * 1000);
		sink += rt_ring_intact(segment, seqs[i]) +
			rt_ring_ready(segment, seqs[i]);
	}
	sink += rt_ring_half(segment);
	__asm__ volatile("" : : "r"(sink)); /* or nobody would look */
}

static void search_ends(const struct rt_segment *segment)
{
	uint64_t oldest, head;

	rt_ring_bounds(segment, &oldest, &head);
	if (oldest > head + 1 && head != UINT64_MAX)
		abort();
	if (rt_ring_half(segment) > head + 1 && head != UINT64_MAX)
		abort();
	(void)rt_ring_liveness(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *cut = size ? memchr(data, 0xff, size) : NULL;
	size_t n = cut ? (size_t)(cut - data) : size;
	struct rt_segment segment;

	segment_init(&segment);
	patch_all((uint8_t *)segment.hot, sizeof(*segment.hot), data, n);
	if (cut)
		patch_all((uint8_t *)segment.slots, N_SLOTS * sizeof(struct rt_slot),
			  cut + 1, size - n - 1);
	look_at_all(&segment);
	search_ends(&segment);
	segment_fini(&segment);
	return 0;
}
