/* SPDX-License-Identifier: MIT */
/*
 * bench_stream.c - a writer at full speed and one reader that copies everything
 *
 *	bench_stream [--count=N] [--rounds=N] [--slots=N] [--value=BYTES]
 *
 * Nothing may be lost, so the writer of the benchmark, not the ring, waits for the
 * reader when it is half a ring ahead.  The neighbour is a bare stream: messages of the
 * same size in 16 MiB, a counter stored for each or for every 16, the same waiting.
 */
#include "bench/bench_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEED      "stream"
#define RAW_SIZE  (UINT64_C(16) << 20)
#define VALUE_MAX 1024
#define TELL      256 /* the reader says how far it is, every so many */

struct kind {
	const char *name;
	uint32_t per_txn;
	uint32_t batch; /* transactions a call; 0: ringtail_next() */
};

static const struct kind kinds[] = {
	{ "1 a transaction, next", 1, 0 },
	{ "1 a transaction, batches", 1, 64 },
	{ "16 a transaction, next", 16, 0 },
	{ "16 a transaction, batches", 16, 16 },
};

struct shared {
	_Alignas(B_LINE) _Atomic uint64_t head;
	_Alignas(B_LINE) _Atomic uint64_t done; /* by the reader, of this round */
	_Alignas(B_LINE) _Atomic uint32_t
		ready;       /* the half round the reader waits for */
	_Atomic uint32_t go; /* the one that the writer has begun */
	_Alignas(B_LINE) uint64_t count;
	uint64_t rounds;
	size_t value_len;
	size_t n_slots;
	uint64_t payload_size;
	const struct kind *kind;
	uint8_t ring[RAW_SIZE];
};

/* ---- the writer's side */

struct window {
	struct shared *s;
	uint64_t size;  /* messages ahead at most */
	uint64_t limit; /* of what has been read, plus size */
};

static void window_wait(struct window *window, uint64_t sent)
{
	while (sent > window->limit) {
		window->limit =
			window->size +
			atomic_load_explicit(&window->s->done, memory_order_acquire);
		b_pause();
	}
}

static void write_raw(struct shared *s, const uint8_t *value)
{
	uint64_t n = RAW_SIZE / VALUE_MAX * (VALUE_MAX / s->value_len);
	struct window window = { s, n / 2, 0 };
	uint32_t every = s->kind->per_txn;

	for (uint64_t i = 1; i <= s->count; i++) {
		window_wait(&window, i);
		memcpy(&s->ring[(i % n) * s->value_len], value, s->value_len);
		if (i % every == 0)
			atomic_store_explicit(&s->head, i, memory_order_release);
	}
	atomic_store_explicit(&s->head, s->count, memory_order_release);
}

static void write_ours(struct shared *s, struct ringtail_writer *writer,
		       const uint8_t *value)
{
	uint64_t n = s->payload_size / s->value_len;
	struct window window = { s, (n < s->n_slots ? n : s->n_slots) / 2, 0 };
	uint32_t per_txn = s->kind->per_txn;

	if (per_txn == 1) {
		for (uint64_t i = 1; i <= s->count; i++) {
			window_wait(&window, i);
			(void)b_check(ringtail_put(writer, "bench/01", 8, value,
						   s->value_len, 0),
				      "put");
		}
		return;
	}
	for (uint64_t i = 0; i < s->count; i += per_txn) {
		window_wait(&window, i + per_txn);
		(void)b_check(ringtail_begin(writer), "begin");
		for (uint32_t k = 0; k < per_txn; k++)
			(void)b_check(ringtail_add(writer, RINGTAIL_PUT, "bench/01", 8,
						   value, s->value_len, 0),
				      "add");
		(void)b_check(ringtail_commit(writer), "commit");
	}
}

/* ---- the reader's side */

static void tell(struct shared *s, uint64_t done)
{
	atomic_store_explicit(&s->done, done, memory_order_release);
}

static void read_raw(struct shared *s)
{
	uint64_t n = RAW_SIZE / VALUE_MAX * (VALUE_MAX / s->value_len);
	uint64_t head = 0;
	uint8_t copy[VALUE_MAX];

	for (uint64_t i = 1; i <= s->count; i++) {
		while (i > head)
			head = atomic_load_explicit(&s->head, memory_order_acquire);
		memcpy(copy, &s->ring[(i % n) * s->value_len], s->value_len);
		__asm__ volatile("" : : "r"(copy) : "memory");
		if (i % TELL == 0)
			tell(s, i);
	}
	tell(s, s->count);
}

static uint64_t read_next(struct ringtail *reader)
{
	struct ringtail_event event;
	int r = b_check(ringtail_next(reader, &event, RINGTAIL_FOREVER), "next");

	return r == RINGTAIL_EVENT;
}

static uint64_t read_batch(struct ringtail *reader, struct ringtail_batch *batch)
{
	int r = b_check(ringtail_next_batch(reader, batch, RINGTAIL_FOREVER), "batch");

	return r == RINGTAIL_EVENT ? batch->n_events : 0;
}

static void read_ours(struct shared *s, struct ringtail *reader,
		      struct ringtail_batch *batch)
{
	uint64_t told = 0;

	for (uint64_t i = 0; i < s->count;) {
		i += batch->max_txns ? read_batch(reader, batch) : read_next(reader);
		if (i - told >= TELL) {
			tell(s, i);
			told = i;
		}
	}
	tell(s, s->count);
}

static void await(struct shared *s, uint32_t turn)
{
	atomic_store(&s->ready, turn);
	while (atomic_load(&s->go) != turn)
		b_pause();
}

static void reader_process(void *arg)
{
	struct shared *s = arg;
	uint32_t turn = 0;
	struct ringtail *reader;
	struct ringtail_batch batch = {
		.max_events = 1024,
		.data_size = 1024 * (VALUE_MAX + 64),
		.max_txns = s->kind->batch,
	};

	b_pin(1);
	batch.events = malloc(batch.max_events * sizeof(*batch.events));
	batch.data = malloc(batch.data_size);
	if (!batch.events || !batch.data)
		abort();
	reader = b_reader(FEED, RINGTAIL_WAIT_SPIN, RINGTAIL_FD_AUTO);
	for (uint64_t r = 0; r < s->rounds; r++) {
		await(s, ++turn);
		read_raw(s);
		await(s, ++turn);
		read_ours(s, reader, &batch);
	}
	ringtail_close(reader);
	free(batch.events);
	free(batch.data);
}

/* Millions a second of one round, of ours if there is a @writer. */
static double run_round(struct shared *s, uint32_t turn, struct ringtail_writer *writer)
{
	uint8_t value[VALUE_MAX];
	uint64_t begin;

	memset(value, 'v', sizeof(value));
	while (atomic_load(&s->ready) != turn)
		b_pause();
	atomic_store(&s->head, 0);
	atomic_store(&s->done, 0);
	atomic_store(&s->go, turn);
	begin = b_ticks();
	if (writer)
		write_ours(s, writer, value);
	else
		write_raw(s, value);
	while (atomic_load(&s->done) != s->count)
		b_pause();
	return (double)s->count * 1000 / b_ns(b_ticks() - begin);
}

static void run_kind(struct shared *s, const struct kind *kind,
		     struct ringtail_writer *writer)
{
	struct b_pair pair = { 0 };
	uint32_t turn = 0;
	int pid;

	s->kind = kind;
	atomic_store(&s->ready, 0);
	atomic_store(&s->go, 0);
	pid = b_spawn(reader_process, s);
	for (uint64_t r = 0; r < s->rounds; r++) {
		double raw = run_round(s, ++turn, NULL);

		b_pair_add(&pair, raw, run_round(s, ++turn, writer));
	}
	b_join(pid);
	b_report(kind->name, "M/s", "raw stream", &pair);
}

int main(int argc, char **argv)
{
	struct shared *s = b_shared(sizeof(*s));
	struct ringtail_writer *writer;

	s->count = b_option(argc, argv, "--count", 4000000) / 16 * 16;
	s->rounds = b_option(argc, argv, "--rounds", 5);
	s->value_len = (size_t)b_option(argc, argv, "--value", 64);
	if (s->value_len < 1 || s->value_len > VALUE_MAX)
		s->value_len = 64;
	s->n_slots = (size_t)b_option(argc, argv, "--slots", 65536);
	s->payload_size = s->n_slots * 128;
	writer = b_writer(FEED, (uint32_t)s->n_slots, s->payload_size,
			  RINGTAIL_CLOCK_COARSE);
	b_pin(0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_kind(s, &kinds[i], writer);
		(void)fflush(stdout);
	}
	ringtail_writer_close(writer);
	return 0;
}
