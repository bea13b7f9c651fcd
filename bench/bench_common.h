/* SPDX-License-Identifier: MIT */
/*
 * bench_common.h - what the benchmarks share
 *
 * The rules: writer on one processor, reader on another; each figure beside a raw
 * neighbour measured in the same run, A B A B; medians of rounds, and the ratio
 * round by round, since the machine moves.  One line a figure:
 *
 *	name  value unit  ratio to NEIGHBOUR
 */
#ifndef RINGTAIL_BENCH_BENCH_COMMON_H
#define RINGTAIL_BENCH_BENCH_COMMON_H

#include <ringtail.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define B_LINE 128u /* what two processors hand over at a time, with its neighbour */

/* Ticks of the cheapest clock that is the same on all processors. */
static inline uint64_t b_ticks(void)
{
#if defined(__x86_64__)
	/* Not before the loads and stores in front of it have been done. */
	uint32_t low, high;

	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high) : : "rcx", "memory");
	return (uint64_t)high << 32 | low;
#else
	extern uint64_t b_clock_ns(void);

	return b_clock_ns();
#endif
}

static inline void b_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

uint64_t b_clock_ns(void);        /* CLOCK_MONOTONIC */
double b_ns(uint64_t ticks);      /* ticks as nanoseconds */
uint64_t b_ticks_of(uint64_t ns); /* and back */

/* Pins the calling thread to the n-th processor that it may use, if there is one. */
void b_pin(unsigned n);
/* Likewise the first thread of a process, 0 the calling one. */
void b_pin_process(int pid, unsigned n);
/* Any of the processors again. */
void b_unpin_process(int pid);
unsigned b_processors(void);

/* Memory for @size bytes that a forked child shares. */
void *b_shared(size_t size);

/* A folder on tmpfs that goes away at exit. */
const char *b_dir(void);

/* Ends the program with the text if @result is an error. */
int b_check(int result, const char *what);

/*
 * Forks a process that runs @fn, and dies with this one; b_join() ends the program if
 * it failed.
 */
int b_spawn(void (*fn)(void *arg), void *arg);
void b_join(int pid);

/* Samples of one kind, or one value for each round. */
struct b_samples {
	double *values;
	size_t n, cap;
};

void b_add(struct b_samples *samples, double value);
void b_clear(struct b_samples *samples);
double b_quantile(struct b_samples *samples, double q); /* sorts */
double b_median(struct b_samples *samples);

/* Rounds of a figure and of its raw neighbour. */
struct b_pair {
	struct b_samples raw, ours;
};

void b_pair_add(struct b_pair *pair, double raw, double ours);

/* Prints a figure, and beside it its neighbour and the median of the rounds' ratios. */
void b_report(const char *name, const char *unit, const char *neighbour,
	      struct b_pair *pair);
void b_report_alone(const char *name, const char *unit, double value);

/* "--name=NUMBER" among the arguments, or @otherwise. */
uint64_t b_option(int argc, char **argv, const char *name, uint64_t otherwise);

/* A writer, and a reader of feed @name in b_dir(). */
struct ringtail_writer *b_writer(const char *name, uint32_t n_slots,
				 uint64_t payload_size, uint32_t clock);
struct ringtail *b_reader(const char *name, uint32_t wait, uint32_t fd_mode);

#endif
