/* SPDX-License-Identifier: MIT */
/*
 * bench_latency.c - from a commit to a spinning reader in another process
 *
 *	bench_latency [--samples=N] [--rounds=N] [--gap_us=N] [--value=BYTES]
 *
 * The neighbour is half the round trip of a word between the same two processes.
 */
#include "bench/bench_common.h"

#include <string.h>

#define FEED      "latency"
#define VALUE_MAX 4096
#define SKIP      64 /* samples at the beginning of a round that do not count */

struct shared {
	_Alignas(B_LINE) _Atomic uint64_t ping;
	_Alignas(B_LINE) _Atomic uint64_t pong;
	_Alignas(B_LINE) _Atomic uint64_t received; /* events of the feed */
	_Alignas(B_LINE) uint64_t samples;
	uint64_t rounds;
	uint64_t value_len;
	uint64_t gap;
	double ours[]; /* of the present round */
};

static void wait_for(_Atomic uint64_t *word, uint64_t value)
{
	while (atomic_load_explicit(word, memory_order_acquire) != value)
		b_pause();
}

static void wait_until(uint64_t ticks)
{
	while (b_ticks() < ticks)
		b_pause();
}

static void answer_pings(struct shared *s, uint64_t from)
{
	for (uint64_t i = from; i < from + s->samples; i++) {
		while (atomic_load_explicit(&s->ping, memory_order_acquire) != i)
			;
		atomic_store_explicit(&s->pong, i, memory_order_release);
	}
}

static void read_feed(struct shared *s, struct ringtail *reader)
{
	struct ringtail_event event;

	for (uint64_t i = 0; i < s->samples;) {
		int r = ringtail_next(reader, &event, RINGTAIL_FOREVER);
		uint64_t now = b_ticks(), sent;

		if (b_check(r, "next") != RINGTAIL_EVENT)
			continue;
		memcpy(&sent, event.value, sizeof(sent));
		s->ours[i++] = b_ns(now - sent);
		atomic_fetch_add_explicit(&s->received, 1, memory_order_release);
	}
}

static void reader_process(void *arg)
{
	struct shared *s = arg;
	struct ringtail *reader;

	b_pin(1);
	reader = b_reader(FEED, RINGTAIL_WAIT_SPIN, RINGTAIL_FD_AUTO);
	for (uint64_t r = 0; r < s->rounds; r++) {
		answer_pings(s, 1 + r * s->samples);
		read_feed(s, reader);
	}
	ringtail_close(reader);
}

static void raw_round(struct shared *s, uint64_t from, struct b_samples *ret)
{
	for (uint64_t i = from; i < from + s->samples; i++) {
		uint64_t begin;

		wait_until(b_ticks() + s->gap);
		begin = b_ticks();
		atomic_store_explicit(&s->ping, i, memory_order_release);
		while (atomic_load_explicit(&s->pong, memory_order_acquire) != i)
			;
		if (i >= from + SKIP)
			b_add(ret, b_ns(b_ticks() - begin) / 2);
	}
}

static void our_round(struct shared *s, struct ringtail_writer *writer, uint64_t before,
		      struct b_samples *ret)
{
	uint8_t value[VALUE_MAX] = { 0 };

	for (uint64_t i = 0; i < s->samples; i++) {
		uint64_t now;

		wait_until(b_ticks() + s->gap);
		now = b_ticks();
		memcpy(value, &now, sizeof(now));
		(void)b_check(
			ringtail_put(writer, "bench/01", 8, value, s->value_len, 0),
			"put");
	}
	wait_for(&s->received, before + s->samples);
	for (uint64_t i = SKIP; i < s->samples; i++)
		b_add(ret, s->ours[i]);
}

int main(int argc, char **argv)
{
	uint64_t samples = b_option(argc, argv, "--samples", 5000) + SKIP;
	uint64_t rounds = b_option(argc, argv, "--rounds", 7);
	struct shared *s = b_shared(sizeof(*s) + samples * sizeof(s->ours[0]));
	struct b_samples raw = { 0 }, ours = { 0 };
	struct b_pair p50 = { 0 }, p99 = { 0 };
	struct ringtail_writer *writer;
	int pid;

	s->samples = samples;
	s->rounds = rounds;
	s->value_len = b_option(argc, argv, "--value", 64) % (VALUE_MAX + 1);
	if (s->value_len < sizeof(uint64_t))
		s->value_len = sizeof(uint64_t);
	s->gap = b_ticks_of(b_option(argc, argv, "--gap_us", 100) * 1000);
	writer = b_writer(FEED, 65536, UINT64_C(8) << 20, RINGTAIL_CLOCK_COARSE);
	pid = b_spawn(reader_process, s);
	b_pin(0);
	for (uint64_t r = 0; r < rounds; r++) {
		b_clear(&raw);
		b_clear(&ours);
		raw_round(s, 1 + r * samples, &raw);
		our_round(s, writer, r * samples, &ours);
		b_pair_add(&p50, b_median(&raw), b_median(&ours));
		b_pair_add(&p99, b_quantile(&raw, 0.99), b_quantile(&ours, 0.99));
	}
	b_join(pid);
	b_report("one way to a spinning reader, p50", "ns", "raw handoff", &p50);
	b_report("one way to a spinning reader, p99", "ns", "raw handoff", &p99);
	ringtail_writer_close(writer);
	return 0;
}
