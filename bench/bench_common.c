/* SPDX-License-Identifier: MIT */
#include "bench/bench_common.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	(void)fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

uint64_t b_clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double ns_per_tick(void)
{
	static double ratio;

	if (ratio == 0) {
		uint64_t ns = b_clock_ns(), ticks = b_ticks();

		while (b_clock_ns() - ns < 20000000)
			;
		ratio = (double)(b_clock_ns() - ns) / (double)(b_ticks() - ticks);
	}
	return ratio;
}

double b_ns(uint64_t ticks)
{
	return (double)ticks * ns_per_tick();
}

uint64_t b_ticks_of(uint64_t ns)
{
	return (uint64_t)((double)ns / ns_per_tick());
}

/* At first; a child of a pinned process has it too. */
static const cpu_set_t *allowed(void)
{
	static cpu_set_t at_first;

	if (CPU_COUNT(&at_first) == 0)
		(void)sched_getaffinity(0, sizeof(at_first), &at_first);
	return &at_first;
}

unsigned b_processors(void)
{
	int n = CPU_COUNT(allowed());

	return n ? (unsigned)n : 1;
}

void b_pin_process(int pid, unsigned n)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, allowed()) && n-- == 0) {
			CPU_SET(cpu, &one);
			(void)sched_setaffinity(pid, sizeof(one), &one);
			return;
		}
	(void)fprintf(stderr, "bench: one processor only, figures mean little\n");
}

void b_pin(unsigned n)
{
	b_pin_process(0, n);
}

void b_unpin_process(int pid)
{
	(void)sched_setaffinity(pid, sizeof(cpu_set_t), allowed());
}

void *b_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		die("no memory");
	return memory;
}

static char dir[64];
static pid_t dir_owner;

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path); /* the folder is temporary anyway */
	return 0;
}

static void remove_dir(void)
{
	if (getpid() == dir_owner)
		(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *b_dir(void)
{
	if (!dir[0]) {
		(void)snprintf(dir, sizeof(dir), "/dev/shm/rt-bench-XXXXXX");
		if (!mkdtemp(dir))
			die("cannot make a folder in /dev/shm");
		dir_owner = getpid();
		(void)atexit(remove_dir);
	}
	return dir;
}

int b_check(int result, const char *what)
{
	if (result < 0) {
		(void)fprintf(stderr, "bench: %s: %s %s\n", what,
			      ringtail_strerror(result), ringtail_error(NULL));
		exit(1);
	}
	return result;
}

int b_spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	(void)ns_per_tick(); /* measured once, for both */
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("cannot fork");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(arg);
		_exit(0);
	}
	return pid;
}

void b_join(int pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		die("the other process failed");
}

void b_add(struct b_samples *samples, double value)
{
	if (samples->n == samples->cap) {
		samples->cap = samples->cap ? 2 * samples->cap : 64;
		samples->values = realloc(samples->values,
					  samples->cap * sizeof(*samples->values));
		if (!samples->values)
			die("no memory");
	}
	samples->values[samples->n++] = value;
}

void b_clear(struct b_samples *samples)
{
	samples->n = 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double b_quantile(struct b_samples *samples, double q)
{
	if (samples->n == 0)
		return 0;
	qsort(samples->values, samples->n, sizeof(*samples->values), by_value);
	return samples->values[(size_t)(q * (double)(samples->n - 1) + 0.5)];
}

double b_median(struct b_samples *samples)
{
	return b_quantile(samples, 0.5);
}

void b_pair_add(struct b_pair *pair, double raw, double ours)
{
	b_add(&pair->raw, raw);
	b_add(&pair->ours, ours);
}

void b_report(const char *name, const char *unit, const char *neighbour,
	      struct b_pair *pair)
{
	struct b_samples ratios = { 0 };

	for (size_t i = 0; i < pair->ours.n; i++)
		b_add(&ratios, pair->ours.values[i] / pair->raw.values[i]);
	printf("%-34s %10.2f %-6s ratio %5.2f (%.2f .. %.2f) to %s %.2f\n", name,
	       b_median(&pair->ours), unit, b_median(&ratios), b_quantile(&ratios, 0),
	       b_quantile(&ratios, 1), neighbour, b_median(&pair->raw));
	free(ratios.values);
}

void b_report_alone(const char *name, const char *unit, double value)
{
	printf("%-34s %10.2f %-6s\n", name, value, unit);
}

uint64_t b_option(int argc, char **argv, const char *name, uint64_t otherwise)
{
	size_t len = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, len) && argv[i][len] == '=')
			return strtoull(argv[i] + len + 1, NULL, 10);
	return otherwise;
}

struct ringtail_writer *b_writer(const char *name, uint32_t n_slots,
				 uint64_t payload_size, uint32_t clock)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer = NULL;

	options.dir = b_dir();
	options.n_slots = n_slots;
	options.payload_size = payload_size;
	options.clock = clock;
	(void)b_check(ringtail_writer_open(name, &options, &writer),
		      "cannot open a writer");
	return writer;
}

struct ringtail *b_reader(const char *name, uint32_t wait, uint32_t fd_mode)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader = NULL;

	options.dir = b_dir();
	options.wait = wait;
	options.fd_mode = fd_mode;
	options.start = RINGTAIL_START_NOW;
	(void)b_check(ringtail_open(name, &options, &reader), "cannot open a reader");
	return reader;
}
