/* SPDX-License-Identifier: MIT */
/*
 * bench_snapshot.c RINGTAILD - commits while a million keys are written to a snapshot
 *
 * 200 000 puts a second come in, 20 at a time, each 24 bytes of key and 64 of value.
 * Timed is how long those 20 take until the last is answered: with one snapshot after
 * the other being made meanwhile, and beside it without any.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench_common.h"
#include "bench/bench_daemon.h"

#define COMMAND     "SET k%023u %064u\r\n"
#define COMMAND_LEN 95
#define REPLY_LEN   5 /* +OK */
#define AT_ONCE     20
#define LOAD        500
#define EVERY_NS    UINT64_C(100000)

static char socket_path[108];
static pid_t daemon_pid;
static unsigned n_keys;

struct snapshots {
	_Atomic int running; /* 0: the thread is to end */
	unsigned n;
	uint64_t duration_us, peak_bytes, keys, failures;
};

static int fail(const char *what)
{
	(void)fprintf(stderr, "bench_snapshot: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void start_daemon(const char *path)
{
	daemon_pid = b_daemon_start(path, socket_path,
				    "main,size=64M,durability=memory,retain_bytes=0,"
				    "segment=64M,snapshot_bytes=1T,snapshot_age=0",
				    NULL);
}

static void end_daemon(void)
{
	b_daemon_stop(daemon_pid);
}

/* ---- Publishing ---- */

static void exchange(int fd, const char *commands, unsigned n)
{
	static char replies[LOAD * REPLY_LEN];
	size_t len = (size_t)n * COMMAND_LEN;

	if (send(fd, commands, len, MSG_NOSIGNAL) != (ssize_t)len ||
	    recv(fd, replies, (size_t)n * REPLY_LEN, MSG_WAITALL) !=
		    (ssize_t)n * REPLY_LEN ||
	    memchr(replies, '-', (size_t)n * REPLY_LEN))
		(void)fail("SET");
}

static void load_keys(int fd)
{
	static char commands[LOAD * COMMAND_LEN + 1];

	for (unsigned key = 0; key < n_keys;) {
		unsigned n = 0;

		for (; n < LOAD && key < n_keys; n++, key++)
			(void)snprintf(commands + n * COMMAND_LEN, COMMAND_LEN + 1,
				       COMMAND, key, key);
		exchange(fd, commands, n);
	}
}

static void sleep_until(uint64_t ns)
{
	const struct timespec at = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* The p99 of a while, in microseconds; what is late does not make others late. */
static double publish(int fd, uint64_t for_ns, double *ret_rate)
{
	static char commands[AT_ONCE * COMMAND_LEN + 1];
	static unsigned random = 1;
	struct b_samples samples = { .n = 0 };
	uint64_t begun = b_clock_ns(), due = begun, now = begun, n = 0;
	double p99;

	while (now - begun < for_ns) {
		for (unsigned i = 0; i < AT_ONCE; i++) {
			random = random * 1664525 + 1013904223;
			(void)snprintf(commands + i * COMMAND_LEN, COMMAND_LEN + 1,
				       COMMAND, random % n_keys, random);
		}
		due += EVERY_NS;
		sleep_until(due);
		now = b_clock_ns();
		exchange(fd, commands, AT_ONCE);
		b_add(&samples, (double)(b_clock_ns() - now) / 1000);
		now = b_clock_ns();
		if (now > due + 10 * EVERY_NS)
			due = now;
		n += AT_ONCE;
	}
	*ret_rate = (double)n * 1e9 / (double)(now - begun);
	p99 = b_quantile(&samples, 0.99);
	b_clear(&samples);
	return p99;
}

/* ---- Snapshots ---- */

static uint64_t field(const char *reply, const char *name)
{
	const char *at = strstr(reply, name);

	at = at ? strchr(at, ':') : NULL;
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void ask(int fd, const char *command, char reply[4096])
{
	size_t have = 0;
	ssize_t n;

	if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
		(void)fail("RINGTAIL.SNAPSHOT");
	/* "error" and its value are the last of it. */
	do {
		n = recv(fd, reply + have, 4095 - have, 0);
		if (n <= 0 || reply[0] == '-')
			(void)fail("RINGTAIL.SNAPSHOT");
		have += (size_t)n;
		reply[have] = 0;
	} while (!strstr(reply, "error\r\n") ||
		 !strstr(strstr(reply, "error"), "\r\n$") ||
		 strcmp(reply + have - 2, "\r\n") != 0);
}

static void *make_snapshots(void *arg)
{
	struct snapshots *made = arg;
	char reply[4096];
	int fd = b_daemon_connect(socket_path);

	while (made->running) {
		ask(fd, "RINGTAIL.SNAPSHOT\r\n", reply);
		do {
			(void)usleep(5000);
			ask(fd, "RINGTAIL.SNAPSHOT STATUS\r\n", reply);
		} while (field(reply, "answered") < field(reply, "asked"));
		made->n++;
		made->keys = field(reply, "keys");
		made->failures = field(reply, "failures");
		if (field(reply, "duration_us") > made->duration_us)
			made->duration_us = field(reply, "duration_us");
		if (field(reply, "peak_bytes") > made->peak_bytes)
			made->peak_bytes = field(reply, "peak_bytes");
	}
	(void)close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned rounds = (unsigned)b_option(argc, argv, "rounds", 3);
	uint64_t for_ns = b_option(argc, argv, "seconds", 4) * 1000000000;
	struct snapshots made = { .n = 0 };
	struct b_pair p99 = { 0 };
	double rate = 0;
	int fd;

	n_keys = (unsigned)b_option(argc, argv, "keys", 1000000);
	if (argc < 2 || argv[1][0] == '-')
		return fail("bench_snapshot RINGTAILD [--rounds=N] [--seconds=N]");
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", b_dir());
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	start_daemon(argv[1]);
	(void)atexit(end_daemon);
	fd = b_daemon_connect(socket_path);
	load_keys(fd);
	(void)publish(fd, for_ns / 4, &rate);
	for (unsigned i = 0; i < rounds; i++) {
		double raw = publish(fd, for_ns, &rate);
		pthread_t thread;

		made.running = 1;
		if (pthread_create(&thread, NULL, make_snapshots, &made) != 0)
			return fail("pthread_create");
		b_pair_add(&p99, raw, publish(fd, for_ns, &rate));
		made.running = 0;
		(void)pthread_join(thread, NULL);
	}
	b_report("p99 of 20 puts, snapshotting", "us", "without", &p99);
	b_report_alone("  puts", "/s", rate);
	b_report_alone("  snapshots made", "", made.n);
	b_report_alone("  keys in each", "", (double)made.keys);
	b_report_alone("  longest took", "ms", (double)made.duration_us / 1000);
	b_report_alone("  memory for it, at most", "MiB",
		       (double)made.peak_bytes / (1 << 20));
	return made.failures ? 1 : 0;
}
