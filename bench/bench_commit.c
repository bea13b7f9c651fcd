/* SPDX-License-Identifier: MIT */
/*
 * bench_commit.c - what a commit of one event costs when nobody sleeps
 *
 *	bench_commit [--count=N] [--rounds=N] [--value=BYTES] [--quiet=1]
 *
 * The neighbour stores the same bytes, a slot's worth beside a payload, and a counter,
 * into a ring of the same size.  --quiet=1 commits N events once and prints nothing:
 * under strace it shows the system calls of a commit.
 */
#include "bench/bench_common.h"

#include <stdbool.h>
#include <string.h>

#define N_SLOTS      65536u
#define PAYLOAD_SIZE (UINT64_C(8) << 20)
#define KEY          "bench/01"
#define KEY_LEN      (sizeof(KEY) - 1)
#define VALUE_MAX    4096

static uint8_t value[VALUE_MAX];

/* As a ring would be without any promise: slot, payload, counter. */
struct raw_slot {
	uint64_t seq, time_ns, pos, lengths;
	uint8_t key[24];
	uint64_t spare;
};

struct raw_ring {
	_Alignas(B_LINE) _Atomic uint64_t head;
	_Alignas(B_LINE) struct raw_slot slots[N_SLOTS];
	uint8_t payload[PAYLOAD_SIZE];
};

static double raw_round(struct raw_ring *ring, uint64_t count, size_t len)
{
	uint64_t begin = b_ticks(), pos = 0;

	for (uint64_t seq = 1; seq <= count; seq++) {
		struct raw_slot *slot = &ring->slots[seq & (N_SLOTS - 1)];

		if (pos + len > PAYLOAD_SIZE)
			pos = 0;
		memcpy(&ring->payload[pos], value, len);
		slot->time_ns = begin;
		slot->pos = pos;
		slot->lengths = len << 16 | KEY_LEN;
		memcpy(slot->key, KEY, KEY_LEN);
		pos += (len + 7) & ~UINT64_C(7);
		__atomic_store_n(&slot->seq, seq, __ATOMIC_RELEASE);
		atomic_store_explicit(&ring->head, seq, memory_order_release);
	}
	return b_ns(b_ticks() - begin) / (double)count;
}

static double our_round(struct ringtail_writer *writer, uint64_t count, size_t len)
{
	uint64_t begin = b_ticks();

	for (uint64_t i = 0; i < count; i++)
		(void)b_check(ringtail_put(writer, KEY, KEY_LEN, value, len, 0), "put");
	return b_ns(b_ticks() - begin) / (double)count;
}

static const struct {
	const char *name;
	uint32_t clock;
	bool fixed;
} variants[] = {
	{ "commit, coarse clock", RINGTAIL_CLOCK_COARSE, false },
	{ "commit, precise clock", RINGTAIL_CLOCK_PRECISE, false },
	{ "commit, time given", RINGTAIL_CLOCK_COARSE, true },
};

int main(int argc, char **argv)
{
	uint64_t count = b_option(argc, argv, "--count", 1000000);
	uint64_t rounds = b_option(argc, argv, "--rounds", 7);
	size_t len = (size_t)b_option(argc, argv, "--value", 64) % (VALUE_MAX + 1);
	bool quiet = b_option(argc, argv, "--quiet", 0) != 0;
	struct raw_ring *ring = b_shared(sizeof(*ring));

	b_pin(0);
	memset(value, 'v', sizeof(value));
	for (size_t v = 0; v < (quiet ? 1 : sizeof(variants) / sizeof(variants[0]));
	     v++) {
		struct ringtail_writer *writer =
			b_writer("commit", N_SLOTS, PAYLOAD_SIZE, variants[v].clock);
		struct b_pair pair = { 0 };

		if (variants[v].fixed)
			ringtail_writer_set_time(writer, UINT64_C(2000000000000000000));
		(void)our_round(writer, count, len); /* first touch of each page */
		for (uint64_t r = 0; !quiet && r < rounds; r++) {
			double raw = raw_round(ring, count, len);

			b_pair_add(&pair, raw, our_round(writer, count, len));
		}
		if (!quiet)
			b_report(variants[v].name, "ns", "raw stores", &pair);
		ringtail_writer_close(writer);
	}
	return 0;
}
