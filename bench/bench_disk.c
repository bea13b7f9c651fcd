/* SPDX-License-Identifier: MIT */
/*
 * bench_disk.c RINGTAILD - durability `disk` beside bare write and fdatasync
 *
 * One publisher that waits for each answer, and many with commands in flight whose
 * commits share a sync, with small values and with larger.  The neighbour writes as
 * many bytes at once as the daemon did, into a file reserved as its segments are, and
 * syncs; rounds in turn. $RINGTAIL_BENCH_DISK is where both files lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench_common.h"
#include "bench/bench_daemon.h"

#define N_PUBLISHERS 64u
#define SEGMENT      (UINT64_C(64) << 20)
#define START        4096u /* of the first batch in a segment */
#define COMMAND      "*3\r\n$3\r\nSET\r\n$8\r\nkey%05u\r\n$64\r\n%064u\r\n"
#define COMMAND_LEN  98u
#define REPLY_LEN    5u

static char data[] = "rt-bench-XXXXXX";
static char bare_path[64], socket_path[64];
static int daemon_pid;

static void clean_up(void)
{
	char command[128];

	b_daemon_stop(daemon_pid);
	(void)snprintf(command, sizeof(command), "rm -rf %s", data);
	if (system(command) != 0)
		(void)fprintf(stderr, "%s stays\n", data);
}

static int fail(const char *what)
{
	perror(what);
	exit(1);
}

static void start_daemon(const char *path)
{
	daemon_pid = b_daemon_start(path, socket_path,
				    "main,durability=disk,segment=64M", data);
}

/* ---- One at a time ---- */

static void exchange(int fd, const char *command)
{
	char reply[REPLY_LEN];

	if (send(fd, command, COMMAND_LEN, MSG_NOSIGNAL) != COMMAND_LEN ||
	    recv(fd, reply, sizeof(reply), MSG_WAITALL) != REPLY_LEN || reply[0] != '+')
		(void)fail("SET");
}

static double publish_p50(int fd, unsigned n)
{
	struct b_samples samples = { .n = 0 };
	char command[COMMAND_LEN + 1];

	for (unsigned i = 0; i < n; i++) {
		uint64_t begun;

		(void)snprintf(command, sizeof(command), COMMAND, i % 1000, i);
		begun = b_clock_ns();
		exchange(fd, command);
		b_add(&samples, (double)(b_clock_ns() - begun) / 1000);
	}
	return b_median(&samples);
}

static int open_bare(void)
{
	static const char header[START];
	int fd = open(bare_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || fallocate(fd, 0, 0, SEGMENT) < 0 ||
	    pwrite(fd, header, sizeof(header), 0) != sizeof(header) || fsync(fd) < 0)
		(void)fail(bare_path);
	return fd;
}

static double bare_p50(int fd, uint64_t *at, size_t size, unsigned n)
{
	struct b_samples samples = { .n = 0 };
	char *bytes = malloc(size);

	if (!bytes)
		return fail("memory");
	memset(bytes, 'x', size);
	for (unsigned i = 0; i < n; i++) {
		uint64_t begun = b_clock_ns();

		if (*at + size > SEGMENT)
			*at = START;
		if (pwrite(fd, bytes, size, (off_t)*at) != (ssize_t)size ||
		    fdatasync(fd) < 0)
			(void)fail("write");
		*at += size;
		b_add(&samples, (double)(b_clock_ns() - begun) / 1000);
	}
	free(bytes);
	return b_median(&samples);
}

/* ---- Many ---- */

struct kind {
	const char *name;
	unsigned value_len;
	unsigned in_flight; /* commands of each publisher */
};

static const struct kind kinds[] = {
	{ "log, disk, 64 publishers", 64, 16 },
	{ "log, disk, the same, 1 KiB", 1024, 16 },
	{ "log, disk, the same, 16 KiB", 16384, 4 },
};

static char *commands[N_PUBLISHERS];
static size_t commands_len;

/* Made before, so that they cost nothing while the clock runs. */
static void make_commands(const struct kind *kind)
{
	size_t cap = kind->in_flight * (size_t)(kind->value_len + 64);

	for (unsigned i = 0; i < N_PUBLISHERS; i++) {
		free(commands[i]);
		commands[i] = malloc(cap);
		if (!commands[i])
			(void)fail("memory");
		commands_len = 0;
		for (unsigned k = 0; k < kind->in_flight; k++)
			commands_len += (size_t)snprintf(
				commands[i] + commands_len, cap - commands_len,
				"*3\r\n$3\r\nSET\r\n$8\r\nkey%05u\r\n$%u\r\n%0*u\r\n",
				i * kind->in_flight + k, kind->value_len,
				(int)kind->value_len, k);
	}
}

static void send_some(int fd, unsigned publisher)
{
	if (send(fd, commands[publisher], commands_len, MSG_NOSIGNAL) !=
	    (ssize_t)commands_len)
		(void)fail("send");
}

/* Each has @in_flight commands on the way; sends the next when all are answered. */
static void publish_many(int *fds, unsigned in_flight, unsigned n_rounds)
{
	struct pollfd polls[N_PUBLISHERS];
	unsigned due[N_PUBLISHERS], rounds[N_PUBLISHERS], open_ones = N_PUBLISHERS;

	for (unsigned i = 0; i < N_PUBLISHERS; i++) {
		polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		due[i] = in_flight * REPLY_LEN;
		rounds[i] = n_rounds;
		send_some(fds[i], i);
	}
	while (open_ones && poll(polls, N_PUBLISHERS, -1) > 0) {
		for (unsigned i = 0; i < N_PUBLISHERS; i++) {
			char replies[64 * REPLY_LEN];
			ssize_t n;

			if (!(polls[i].revents & POLLIN))
				continue;
			n = recv(fds[i], replies,
				 due[i] < sizeof(replies) ? due[i] : sizeof(replies),
				 0);
			if (n <= 0 || memchr(replies, '-', (size_t)n))
				(void)fail("replies");
			due[i] -= (unsigned)n;
			if (due[i])
				continue;
			if (!--rounds[i]) {
				polls[i].fd = -1;
				open_ones--;
				continue;
			}
			due[i] = in_flight * REPLY_LEN;
			send_some(fds[i], i);
		}
	}
}

/* Bytes in the log, and in how many batches, over all segments. */
static void measure_log(uint64_t *ret_bytes, uint64_t *ret_batches)
{
	char command[256];
	uint64_t head[7];
	char path[512];
	FILE *list;

	*ret_bytes = *ret_batches = 0;
	(void)snprintf(command, sizeof(command), "ls %s/main/*.log", data);
	list = popen(command, "re");
	while (list && fgets(path, sizeof(path), list)) {
		uint64_t at = START;
		int fd;

		path[strcspn(path, "\n")] = 0;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		while (fd >= 0 &&
		       pread(fd, head, sizeof(head), (off_t)at) == sizeof(head) &&
		       head[0]) {
			at += head[2];
			*ret_bytes += head[2];
			++*ret_batches;
		}
		(void)close(fd);
	}
	if (list)
		(void)pclose(list);
}

struct many {
	double rate; /* MB/s of log */
	size_t batch;
};

static struct many many_rate(int *fds, unsigned in_flight, unsigned n_rounds)
{
	uint64_t bytes, batches, bytes_before, batches_before, begun, ns;

	measure_log(&bytes_before, &batches_before);
	begun = b_clock_ns();
	publish_many(fds, in_flight, n_rounds);
	ns = b_clock_ns() - begun;
	measure_log(&bytes, &batches);
	bytes -= bytes_before;
	batches -= batches_before;
	if (!batches)
		batches = 1; /* nothing came: a rate of 0 */
	return (struct many){ (double)bytes * 1000 / (double)ns, bytes / batches };
}

static double bare_rate(int fd, uint64_t *at, size_t size, unsigned n)
{
	uint64_t begun = b_clock_ns();

	(void)bare_p50(fd, at, size, n);
	return (double)size * n * 1000 / (double)(b_clock_ns() - begun);
}

int main(int argc, char **argv)
{
	unsigned rounds = (unsigned)b_option(argc, argv, "rounds", 7);
	unsigned n = (unsigned)b_option(argc, argv, "n", 300);
	const char *disk = getenv("RINGTAIL_BENCH_DISK");
	struct b_pair latency = { 0 };
	uint64_t at = START;
	int fds[N_PUBLISHERS];
	size_t size = 0;
	int bare;

	if (argc < 2 || argv[1][0] == '-' || chdir(disk ? disk : "/var/tmp") < 0 ||
	    !mkdtemp(data))
		return fail("bench_disk RINGTAILD [--rounds=N] [--n=N]");
	(void)b_dir(); /* goes away after the daemon */
	(void)atexit(clean_up);
	(void)snprintf(bare_path, sizeof(bare_path), "%s/bare", data);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", data);
	start_daemon(argv[1]);
	for (unsigned i = 0; i < N_PUBLISHERS; i++)
		fds[i] = b_daemon_connect(socket_path);
	bare = open_bare();
	for (unsigned i = 0; i < rounds; i++) {
		double ours = publish_p50(fds[0], n);
		uint64_t bytes, batches;

		if (!i) {
			measure_log(&bytes, &batches);
			size = bytes / batches;
		}
		b_pair_add(&latency, bare_p50(bare, &at, size, n), ours);
	}
	b_report("SET, disk, one publisher, p50", "us", "write+fdatasync", &latency);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const struct kind *kind = &kinds[k];
		struct b_pair rate = { 0 };

		make_commands(kind);
		for (unsigned i = 0; i < rounds; i++) {
			struct many many = many_rate(fds, kind->in_flight, n / 4 + 1);

			size = many.batch;
			b_pair_add(&rate, bare_rate(bare, &at, size, n), many.rate);
		}
		b_report(kind->name, "MB/s", "write+fdatasync", &rate);
		b_report_alone("  bytes in a write", "B", (double)size);
	}
	return 0;
}
