/* SPDX-License-Identifier: MIT */
/*
 * bench_consumers.c RINGTAILD - consumers that start at once, and what that costs
 * others
 *
 *	bench_consumers RINGTAILD [--consumers=N] [--keys=N] [--rounds=N] [--ms=N]
 *
 * A hundred processes on two processors open a view of the whole state, and again and
 * again, while one publisher commits as fast as the daemon lets it.  The neighbour is
 * the same with as many processes that only use their processor and do not touch the
 * feed; rounds in turn.  The daemon makes snapshots because of what is published; who
 * asks for the state must not make it build more.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench_common.h"
#include "bench/bench_daemon.h"

#define FEED        "main"
#define PIPELINE    32u
#define COMMAND     "*3\r\n$3\r\nSET\r\n$24\r\nconsumers/key/%010u\r\n$64\r\n%064u\r\n"
#define COMMAND_LEN 116u
#define REPLY_LEN   5u
#define MAX         1024u

struct shared {
	_Atomic uint32_t go, stop;
	_Atomic uint64_t published;
	_Atomic uint64_t opened;  /* views, by all */
	_Atomic uint32_t started; /* consumers that had the state once ... */
	_Atomic uint64_t all_ns;  /* ... and when the last of them had */
	_Atomic uint32_t failed;
};

static struct shared *shared;
static char socket_path[100];
static int daemon_pid;
static uint64_t n_consumers, n_keys, window_ms;

static void clean_up(void)
{
	b_daemon_stop(daemon_pid);
}

static int fail(const char *what)
{
	perror(what);
	exit(1);
}

static void start_daemon(const char *path)
{
	daemon_pid = b_daemon_start(path, socket_path, FEED ",durability=memory", NULL);
}

/* ---- The publisher ---- */

static void exchange(int fd, unsigned from)
{
	char commands[PIPELINE * (COMMAND_LEN + 1)], replies[PIPELINE * REPLY_LEN];
	size_t len = 0;

	for (unsigned i = 0; i < PIPELINE; i++)
		len += (size_t)snprintf(commands + len, sizeof(commands) - len, COMMAND,
					(unsigned)((from + i) % n_keys), from + i);
	if (send(fd, commands, len, MSG_NOSIGNAL) != (ssize_t)len ||
	    recv(fd, replies, sizeof(replies), MSG_WAITALL) != sizeof(replies) ||
	    replies[0] != '+')
		(void)fail("SET");
}

static void load(void)
{
	int fd = b_daemon_connect(socket_path);

	for (unsigned n = 0; n < n_keys; n += PIPELINE)
		exchange(fd, n);
	(void)close(fd);
}

static void publish(void *unused)
{
	int fd = b_daemon_connect(socket_path);
	unsigned n = 0;

	(void)unused;
	while (!atomic_load(&shared->go))
		(void)usleep(500);
	for (; !atomic_load(&shared->stop); n += PIPELINE) {
		exchange(fd, n * 7919);
		atomic_fetch_add(&shared->published, PIPELINE);
	}
	(void)close(fd);
}

/* ---- Those who use the processors ---- */

static void be_busy(void *unused)
{
	volatile uint64_t x = 1;

	(void)unused;
	while (!atomic_load(&shared->go))
		(void)usleep(500);
	while (!atomic_load(&shared->stop)) {
		for (unsigned i = 0; i < 100000; i++)
			x = x * UINT64_C(6364136223846793005) + 1;
	}
}

static void consume(void *unused)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	bool first = true;

	(void)unused;
	options.dir = b_dir();
	while (!atomic_load(&shared->go))
		(void)usleep(500);
	while (!atomic_load(&shared->stop)) {
		struct ringtail_view *view;

		if (ringtail_view_open(FEED, &options, NULL, &view) < 0) {
			(void)fprintf(stderr, "%s\n", ringtail_error(NULL));
			atomic_store(&shared->failed, 1);
			_exit(1);
		}
		if (ringtail_view_count(view) != n_keys)
			atomic_store(&shared->failed, 1);
		atomic_fetch_add(&shared->opened, 1);
		if (first && atomic_fetch_add(&shared->started, 1) + 1 == n_consumers)
			atomic_store(&shared->all_ns, b_clock_ns());
		first = false;
		ringtail_view_close(view);
	}
}

/* ---- A round ---- */

/* The newest snapshot's seq. */
static uint64_t newest_snapshot(void)
{
	char path[256];
	uint64_t newest = 0;
	const struct dirent *entry;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/" FEED "/log", b_dir());
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char *end;
		uint64_t seq = strtoull(entry->d_name, &end, 10);

		if (!strcmp(end, ".snap") && seq > newest)
			newest = seq;
	}
	if (dir)
		(void)closedir(dir);
	return newest;
}

/* Time that the daemon's thread which commits has had a processor; 0: not known. */
static double daemon_cpu_s(void)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", daemon_pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%llu", &ns) != 1)
		ns = 0;
	if (file)
		(void)fclose(file);
	return (double)ns / 1e9;
}

struct round {
	double rate;      /* commits a second */
	double per_cpu_s; /* commits for each second of a processor */
	unsigned n_snapshots;
	double all_ms; /* until each consumer had the state */
	double opens;  /* a second */
};

static struct round run(void (*what)(void *unused))
{
	int pids[MAX] = { 0 }, publisher;
	uint64_t snapshot, begun, before;
	double cpu_s;
	struct round round = { 0 };

	*shared = (struct shared){ 0 };
	publisher = b_spawn(publish, NULL);
	for (unsigned i = 0; i < n_consumers; i++)
		pids[i] = b_spawn(what, NULL);
	(void)usleep(200000);
	snapshot = newest_snapshot();
	cpu_s = daemon_cpu_s();
	begun = b_clock_ns();
	before = atomic_load(&shared->published);
	atomic_store(&shared->go, 1);
	while (b_clock_ns() - begun < window_ms * 1000000) {
		uint64_t now = newest_snapshot();

		round.n_snapshots += now != snapshot;
		snapshot = now;
		(void)usleep(5000);
	}
	round.rate = (double)(atomic_load(&shared->published) - before) * 1e9 /
		     (double)(b_clock_ns() - begun);
	cpu_s = daemon_cpu_s() - cpu_s;
	if (cpu_s > 0)
		round.per_cpu_s =
			(double)(atomic_load(&shared->published) - before) / cpu_s;
	round.opens = (double)atomic_load(&shared->opened) * 1e9 /
		      (double)(b_clock_ns() - begun);
	atomic_store(&shared->stop, 1);
	b_join(publisher);
	for (unsigned i = 0; i < n_consumers; i++)
		b_join(pids[i]);
	if (atomic_load(&shared->failed))
		(void)b_check(-1, "a consumer did not get the state");
	if (atomic_load(&shared->all_ns))
		round.all_ms = (double)(atomic_load(&shared->all_ns) - begun) / 1e6;
	return round;
}

int main(int argc, char **argv)
{
	uint64_t rounds = b_option(argc, argv, "--rounds", 5);
	struct b_samples all = { 0 }, opens = { 0 }, built = { 0 }, built_busy = { 0 };
	struct b_pair pair = { 0 }, per_cpu = { 0 };

	if (argc < 2) {
		(void)fprintf(stderr, "usage: bench_consumers RINGTAILD\n");
		return 2;
	}
	n_consumers = b_option(argc, argv, "--consumers", 100);
	n_keys = b_option(argc, argv, "--keys", 100000) / PIPELINE * PIPELINE;
	window_ms = b_option(argc, argv, "--ms", 6000);
	if (n_consumers > MAX || !n_keys) {
		(void)fprintf(stderr, "1024 consumers at most, and 32 keys at least\n");
		return 2;
	}
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", b_dir());
	shared = b_shared(sizeof(*shared));
	start_daemon(argv[1]);
	(void)atexit(clean_up);
	load();
	for (uint64_t i = 0; i < rounds; i++) {
		struct round busy = run(be_busy), ours = run(consume);

		b_pair_add(&pair, busy.rate / 1e3, ours.rate / 1e3);
		b_pair_add(&per_cpu, busy.per_cpu_s / 1e3, ours.per_cpu_s / 1e3);
		b_add(&built_busy, busy.n_snapshots);
		b_add(&built, ours.n_snapshots);
		b_add(&opens, ours.opens);
		if (ours.all_ms > 0)
			b_add(&all, ours.all_ms);
	}
	b_report("commits beside consumers that start", "k/s", "busy processes", &pair);
	b_report("... a second of the daemon's own", "k/s", "busy processes", &per_cpu);
	b_report_alone("states that were opened", "/s", b_median(&opens));
	if (all.n)
		b_report_alone("until each had the state once", "ms", b_median(&all));
	b_report_alone("snapshots built meanwhile", "", b_median(&built));
	b_report_alone("... beside busy processes", "", b_median(&built_busy));
	return 0;
}
