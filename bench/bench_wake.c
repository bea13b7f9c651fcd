/* SPDX-License-Identifier: MIT */
/*
 * bench_wake.c - from a commit to a reader that sleeps in another process
 *
 *	bench_wake [--samples=N] [--rounds=N] [--gap_us=N]
 *
 * Asleep in ringtail_next(), or in epoll_wait() with each kind of descriptor.  The
 * neighbour is a bare futex between the same two processes.
 */
#include "bench/bench_common.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FEED "wake"
#define SKIP 8 /* samples at the beginning of a round that do not count */

struct kind {
	const char *name;
	int fd_mode; /* -1: ringtail_next() itself sleeps */
};

static const struct kind kinds[] = {
	{ "wake a reader", -1 },
	{ "wake epoll_wait, io_uring", RINGTAIL_FD_URING },
	{ "wake epoll_wait, helper thread", RINGTAIL_FD_THREAD },
};

struct shared {
	_Alignas(B_LINE) _Atomic uint32_t word; /* the raw futex */
	_Alignas(B_LINE) _Atomic uint64_t sent;
	_Alignas(B_LINE) _Atomic uint64_t received;
	_Alignas(B_LINE) uint64_t samples;
	uint64_t rounds;
	uint64_t gap;
	const struct kind *kind;
	double times[];
};

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	(void)syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void note(struct shared *s, uint64_t i, uint64_t sent, uint64_t now)
{
	s->times[i] = b_ns(now - sent);
	atomic_fetch_add_explicit(&s->received, 1, memory_order_release);
}

/* @seen: how often the word has moved before; it starts at 0 with the process. */
static void sleep_raw(struct shared *s, uint32_t seen)
{
	for (uint64_t i = 0; i < s->samples; i++) {
		uint32_t now;

		while ((now = atomic_load_explicit(&s->word, memory_order_acquire)) ==
		       seen)
			futex(&s->word, FUTEX_WAIT, seen);
		note(s, i, atomic_load_explicit(&s->sent, memory_order_relaxed),
		     b_ticks());
		seen = now;
	}
}

/* Waits for events in epoll until ringtail_next() has one. */
static int next_by_epoll(int epoll_fd, struct ringtail *reader,
			 struct ringtail_event *event)
{
	struct epoll_event ready;
	int r;

	while ((r = ringtail_next(reader, event, 0)) == RINGTAIL_NOTHING)
		if (epoll_wait(epoll_fd, &ready, 1, -1) < 0 && errno != EINTR)
			return -errno;
	return r;
}

static void sleep_ours(struct shared *s, struct ringtail *reader, int epoll_fd)
{
	struct ringtail_event event;

	for (uint64_t i = 0; i < s->samples;) {
		uint64_t sent, now;
		int r = epoll_fd < 0 ? ringtail_next(reader, &event, RINGTAIL_FOREVER)
				     : next_by_epoll(epoll_fd, reader, &event);

		now = b_ticks();
		if (b_check(r, "next") != RINGTAIL_EVENT)
			continue;
		memcpy(&sent, event.value, sizeof(sent));
		note(s, i++, sent, now);
	}
}

static void reader_process(void *arg)
{
	struct shared *s = arg;
	int mode = s->kind->fd_mode, epoll_fd = -1;
	struct ringtail *reader;

	b_pin(1);
	reader = b_reader(FEED, RINGTAIL_WAIT_SLEEP,
			  mode < 0 ? RINGTAIL_FD_AUTO : (uint32_t)mode);
	if (mode >= 0) {
		struct epoll_event in = { .events = EPOLLIN };
		int fd = b_check(ringtail_fd(reader), "ringtail_fd");

		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		(void)b_check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &in), "epoll_ctl");
	}
	for (uint64_t r = 0; r < s->rounds; r++) {
		sleep_raw(s, (uint32_t)(r * s->samples));
		sleep_ours(s, reader, epoll_fd);
	}
	ringtail_close(reader);
}

/* Long enough for the other side to have taken the last one and gone to sleep. */
static void let_it_sleep(struct shared *s, uint64_t received)
{
	uint64_t due = b_ticks() + s->gap;

	while (atomic_load_explicit(&s->received, memory_order_acquire) < received ||
	       b_ticks() < due)
		b_pause();
}

/* One round of @send, from when @before have been received in all. */
static double run_round(struct shared *s, uint64_t before,
			struct ringtail_writer *writer,
			void (*send)(struct shared *s, struct ringtail_writer *writer))
{
	struct b_samples times = { 0 };

	for (uint64_t i = 0; i < s->samples; i++) {
		let_it_sleep(s, before + i);
		send(s, writer);
	}
	let_it_sleep(s, before + s->samples);
	for (uint64_t i = SKIP; i < s->samples; i++)
		b_add(&times, s->times[i]);
	return b_median(&times); /* the few samples stay: the program is short */
}

static void send_raw(struct shared *s, struct ringtail_writer *writer)
{
	(void)writer;
	atomic_store_explicit(&s->sent, b_ticks(), memory_order_relaxed);
	atomic_fetch_add_explicit(&s->word, 1, memory_order_release);
	futex(&s->word, FUTEX_WAKE, 1);
}

static void send_ours(struct shared *s, struct ringtail_writer *writer)
{
	uint8_t value[64] = { 0 };
	uint64_t now = b_ticks();

	(void)s;
	memcpy(value, &now, sizeof(now));
	(void)b_check(ringtail_put(writer, "bench/01", 8, value, sizeof(value), 0),
		      "put");
}

static void run_kind(struct shared *s, const struct kind *kind,
		     struct ringtail_writer *writer)
{
	struct b_pair p50 = { 0 };
	int pid;

	s->kind = kind;
	atomic_store(&s->received, 0);
	atomic_store(&s->word, 0);
	pid = b_spawn(reader_process, s);
	for (uint64_t r = 0; r < s->rounds; r++) {
		double raw = run_round(s, 2 * r * s->samples, writer, send_raw);

		b_pair_add(&p50, raw / 1000,
			   run_round(s, (2 * r + 1) * s->samples, writer, send_ours) /
				   1000);
	}
	b_join(pid);
	b_report(kind->name, "us", "raw futex", &p50);
}

int main(int argc, char **argv)
{
	uint64_t samples = b_option(argc, argv, "--samples", 500) + SKIP;
	struct shared *s = b_shared(sizeof(*s) + samples * sizeof(s->times[0]));
	struct ringtail_writer *writer;

	s->samples = samples;
	s->rounds = b_option(argc, argv, "--rounds", 5);
	s->gap = b_ticks_of(b_option(argc, argv, "--gap_us", 300) * 1000);
	writer = b_writer(FEED, 65536, UINT64_C(8) << 20, RINGTAIL_CLOCK_COARSE);
	b_pin(0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_kind(s, &kinds[i], writer);
		(void)fflush(stdout);
	}
	ringtail_writer_close(writer);
	return 0;
}
