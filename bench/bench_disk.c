/* SPDX-License-Identifier: MIT */
/*
 * bench_disk.c RINGTAILD - durability `disk` beside bare write and fdatasync
 *
 * One publisher that waits for each answer; some that do, whose commits share a sync;
 * and many with commands in flight, with small values and with larger.  The neighbour
 * writes as many bytes at once as the daemon did and syncs, rounds in turn: into files
 * that are reserved, one after the other as a log has its segments, and, which is the
 * limit of the disk, over one that has been written before.  One thread publishes, so
 * where batches become large the processors are the limit, and not the disk.
 *
 * The publisher that is alone is measured on one processor as well, and on each in
 * turn: a sync takes a quarter longer on one that has not the interrupts of the disk.
 *
 * $RINGTAIL_BENCH_DISK is where all files lie; they take 10 GB.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
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
#define START        4096u        /* of the first batch in a segment */
#define ROUND_MAX    (200u << 20) /* bytes of values */
#define COMMAND      "*3\r\n$3\r\nSET\r\n$8\r\nkey%05u\r\n$64\r\n%064u\r\n"
#define COMMAND_LEN  98u
#define REPLY_LEN    5u

static char data[] = "rt-bench-XXXXXX";
static char socket_path[64];
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

/* What is written beside the daemon. */
struct bare {
	int fd;
	bool is_written; /* before: over and over; else each is a new file */
	unsigned n_files;
	uint64_t at;
};

/* Those before stay: to write where the disk has never been takes twice as long as
 * where something was removed, and a log that grows has to. */
static void begin_bare(struct bare *bare)
{
	char path[64];

	bare->at = START;
	if (bare->is_written)
		return;
	if (bare->n_files)
		(void)close(bare->fd);
	(void)snprintf(path, sizeof(path), "%s/reserved-%u", data, bare->n_files++);
	bare->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (bare->fd < 0 || fallocate(bare->fd, 0, 0, SEGMENT) < 0 ||
	    fsync(bare->fd) < 0)
		(void)fail(path);
}

/* In small pieces, as large folios are slow to write back in part. */
static void write_all(int fd)
{
	static const char zeros[16384];

	for (uint64_t at = 0; at < SEGMENT; at += sizeof(zeros))
		if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != sizeof(zeros))
			(void)fail("write");
	if (fsync(fd) < 0)
		(void)fail("sync");
}

static struct bare open_reserved(void)
{
	struct bare bare = { .fd = -1 };

	begin_bare(&bare);
	return bare;
}

static struct bare open_written(void)
{
	struct bare bare = { .is_written = true };
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/written", data);
	bare.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (bare.fd < 0)
		(void)fail(path);
	write_all(bare.fd);
	begin_bare(&bare);
	return bare;
}

static double bare_p50(struct bare *bare, size_t size, unsigned n)
{
	struct b_samples samples = { .n = 0 };
	char *bytes = malloc(size);

	if (!bytes)
		return fail("memory");
	memset(bytes, 'x', size);
	for (unsigned i = 0; i < n; i++) {
		uint64_t begun = b_clock_ns();

		if (bare->at + size > SEGMENT)
			begin_bare(bare);
		if (pwrite(bare->fd, bytes, size, (off_t)bare->at) != (ssize_t)size ||
		    fdatasync(bare->fd) < 0)
			(void)fail("write");
		bare->at += size;
		b_add(&samples, (double)(b_clock_ns() - begun) / 1000);
	}
	free(bytes);
	return b_median(&samples);
}

/* ---- Many ---- */

struct kind {
	const char *name;
	unsigned n_publishers;
	unsigned in_flight; /* commands of each */
	unsigned value_len;
};

static const struct kind kinds[] = {
	{ "4 publishers, 64 B", 4, 1, 64 },
	{ "16 publishers, 64 B", 16, 1, 64 },
	{ "16 publishers, 1 KiB", 16, 1, 1024 },
	{ "64 publishers, 64 B", 64, 1, 64 },
	{ "64 publishers, 1 KiB", 64, 1, 1024 },
	{ "64 x 16 in flight, 64 B", 64, 16, 64 },
	{ "64 x 16 in flight, 1 KiB", 64, 16, 1024 },
	{ "64 x 4 in flight, 16 KiB", 64, 4, 16384 },
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
static void publish_many(const int *fds, const struct kind *kind, unsigned n_rounds)
{
	unsigned in_flight = kind->in_flight, n = kind->n_publishers, open_ones = n;
	unsigned due[N_PUBLISHERS], rounds[N_PUBLISHERS];
	struct pollfd polls[N_PUBLISHERS];

	for (unsigned i = 0; i < n; i++) {
		polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		due[i] = in_flight * REPLY_LEN;
		rounds[i] = n_rounds;
		send_some(fds[i], i);
	}
	while (open_ones && poll(polls, n, -1) > 0) {
		for (unsigned i = 0; i < n; i++) {
			char replies[64 * REPLY_LEN];
			ssize_t len;

			if (!(polls[i].revents & POLLIN))
				continue;
			len = recv(fds[i], replies,
				   due[i] < sizeof(replies) ? due[i] : sizeof(replies),
				   0);
			if (len <= 0 || memchr(replies, '-', (size_t)len))
				(void)fail("replies (is the disk full?)");
			due[i] -= (unsigned)len;
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

static struct many many_rate(const int *fds, const struct kind *kind, unsigned n_rounds)
{
	uint64_t bytes, batches, bytes_before, batches_before, begun, ns;

	measure_log(&bytes_before, &batches_before);
	begun = b_clock_ns();
	publish_many(fds, kind, n_rounds);
	ns = b_clock_ns() - begun;
	measure_log(&bytes, &batches);
	bytes -= bytes_before;
	batches -= batches_before;
	if (!batches)
		batches = 1; /* nothing came: a rate of 0 */
	return (struct many){ (double)bytes * 1000 / (double)ns, bytes / batches };
}

static double bare_rate(struct bare *bare, size_t size, unsigned n)
{
	uint64_t begun = b_clock_ns();

	(void)bare_p50(bare, size, n);
	return (double)size * n * 1000 / (double)(b_clock_ns() - begun);
}

/* As many batches as there are writes beside it, about. */
static unsigned rounds_of(const struct kind *kind, unsigned n)
{
	unsigned n_commands = kind->n_publishers * kind->in_flight;
	unsigned n_bytes = n_commands * kind->value_len;

	if (!n_bytes)
		return 0;
	n = n * 256 / n_commands + n / 3;
	return n < ROUND_MAX / n_bytes ? n : ROUND_MAX / n_bytes;
}

static void run_kind(const struct kind *kind, const int *fds, struct bare bares[2],
		     unsigned rounds, unsigned n)
{
	unsigned n_rounds = rounds_of(kind, n);
	struct b_pair reserved = { 0 }, written = { 0 };
	size_t size = 0;

	make_commands(kind);
	for (unsigned i = 0; i < rounds; i++) {
		struct many many = many_rate(fds, kind, n_rounds);

		size = many.batch;
		b_pair_add(&reserved, bare_rate(&bares[0], size, n), many.rate);
		b_pair_add(&written, bare_rate(&bares[1], size, n), many.rate);
	}
	b_report(kind->name, "MB/s", "write+fdatasync", &reserved);
	b_report("  the same", "MB/s", "overwrite+fdatasync", &written);
	b_report_alone("  bytes in a write", "B", (double)size);
}

static void run_one(int fd, struct bare bares[2], unsigned rounds, unsigned n,
		    bool pinned)
{
	struct b_pair reserved = { 0 }, written = { 0 };
	size_t size = 1;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t bytes, batches;
		double ours;

		if (pinned) {
			b_pin(i % b_processors());
			b_pin_process(daemon_pid, i % b_processors());
		}
		ours = publish_p50(fd, n);
		if (!i) {
			measure_log(&bytes, &batches);
			size = batches ? bytes / batches : 1;
		}
		b_pair_add(&reserved, bare_p50(&bares[0], size, n), ours);
		b_pair_add(&written, bare_p50(&bares[1], size, n), ours);
	}
	b_unpin_process(0);
	b_unpin_process(daemon_pid);
	b_report(pinned ? "  all on one processor" : "one publisher, 64 B, p50", "us",
		 "write+fdatasync", &reserved);
	b_report("  the same", "us", "overwrite+fdatasync", &written);
}

int main(int argc, char **argv)
{
	unsigned rounds = (unsigned)b_option(argc, argv, "--rounds", 7);
	unsigned n = (unsigned)b_option(argc, argv, "--n", 300);
	const char *disk = getenv("RINGTAIL_BENCH_DISK");
	char *program = argc < 2 ? NULL : realpath(argv[1], NULL);
	int fds[N_PUBLISHERS];
	struct bare bares[2];

	if (!program || chdir(disk ? disk : "/var/tmp") < 0 || !mkdtemp(data))
		return fail("bench_disk RINGTAILD [--rounds=N] [--n=N]");
	(void)b_dir(); /* goes away after the daemon */
	(void)atexit(clean_up);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", data);
	start_daemon(program);
	free(program);
	for (unsigned i = 0; i < N_PUBLISHERS; i++)
		fds[i] = b_daemon_connect(socket_path);
	bares[0] = open_reserved();
	bares[1] = open_written();
	run_one(fds[0], bares, rounds, n, false);
	run_one(fds[0], bares, rounds, n, true);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		run_kind(&kinds[k], fds, bares, rounds, n);
	return 0;
}
