/* SPDX-License-Identifier: MIT */
/*
 * bench_catchup.c - a reader that comes late and reads the log
 *
 *	bench_catchup [--count=N] [--rounds=N] [--value=BYTES] [--slots=N] [--cpu=1]
 *
 * The log is in the page cache; keys of 8 bytes, values of 64.  The neighbour is a bare
 * loop that reads the same files in pieces of 1 MiB and adds up their words: what
 * reading costs if nothing is looked at.  With --cpu=1 only the time of the processor
 * counts, for machines that have other things to do.  Then, how long it takes to open a
 * reader anywhere in the log.  Last, what it costs the writer: log and ring, batches of
 * 100, its rate with a reader on another processor that catches up all the time beside
 * its rate without, rounds in turn.
 */
#include "bench/bench_common.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/log.h"

#define FEED      "catchup"
#define PIECE     (UINT64_C(1) << 20)
#define KEY_SIZE  8
#define VALUE_MAX 1024
#define OPENS     200

struct kind {
	const char *name;
	unsigned per_txn;
	unsigned per_batch; /* transactions of a write */
	unsigned call;      /* transactions a call; 0: ringtail_next() */
};

static const struct kind kinds[] = {
	{ "writes of 1000, next", 1, 1000, 0 },
	{ "writes of 1000, batches", 1, 1000, 256 },
	{ "16 a transaction, batches", 16, 60, 16 },
	{ "writes of 1, next", 1, 1, 0 },
	{ "writes of 1, batches", 1, 1, 256 },
};

static uint64_t count;
static size_t value_len;
static bool cpu_only;
static char log_path[256];

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(cpu_only ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
			    &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t epoch_of_feed(void)
{
	struct ringtail *reader = b_reader(FEED, RINGTAIL_WAIT_SPIN, 0);
	struct ringtail_info info = { .size = sizeof(info) };

	(void)b_check(ringtail_get_info(reader, &info), "no information");
	ringtail_close(reader);
	return info.epoch;
}

/* ---- writing: the log, then the ring */

static void fill_batch(struct rt_batch *batch, const struct kind *kind, uint64_t first)
{
	static uint8_t value[VALUE_MAX];
	uint64_t seq = first;

	rt_batch_reset(batch, first);
	for (unsigned i = 0; i < kind->per_batch && seq <= count; i++) {
		if (kind->per_txn == 1) {
			memcpy(value, &seq, sizeof(seq));
			(void)b_check(rt_batch_one(batch, RT_OP_PUT, 0, &seq, KEY_SIZE,
						   value, value_len, seq),
				      "no memory");
			seq++;
			continue;
		}
		(void)b_check(rt_batch_begin(batch), "no memory");
		for (unsigned n = 0; n < kind->per_txn; n++, seq++) {
			memcpy(value, &seq, sizeof(seq));
			(void)b_check(rt_batch_add(batch, RT_OP_PUT, 0, &seq, KEY_SIZE,
						   value, value_len),
				      "no memory");
		}
		rt_batch_end(batch, seq);
	}
}

static struct rt_log_config log_config(uint64_t epoch)
{
	return (struct rt_log_config){
		.name = FEED,
		.mode = RT_LOG_MEMORY,
		.segment_size = UINT64_C(64) << 20,
		.file_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.epoch = epoch,
	};
}

static void write_log(const struct kind *kind, uint64_t epoch)
{
	const struct rt_log_config config = log_config(epoch);
	struct rt_log_report report;
	struct rt_batch batch = { 0 };
	struct rt_fault fault = { "" };
	struct rt_log log;

	(void)b_check(rt_log_open(log_path, &config, NULL, NULL, &fault, &report, &log),
		      fault.text);
	while (log.next <= count) {
		fill_batch(&batch, kind, log.next);
		(void)b_check(rt_log_append(&log, &batch, &fault), fault.text);
	}
	rt_batch_fini(&batch);
	(void)b_check(rt_log_close(&log, &fault), fault.text);
}

/* The ring has the same seqs, and holds but the newest of them. */
static void write_ring(struct ringtail_writer *writer, const struct kind *kind)
{
	static uint8_t value[VALUE_MAX];

	for (uint64_t seq = 1; seq <= count;) {
		(void)b_check(ringtail_begin(writer), "begin");
		for (unsigned n = 0; n < kind->per_txn; n++, seq++) {
			memcpy(value, &seq, sizeof(seq));
			(void)b_check(ringtail_add(writer, RINGTAIL_PUT, &seq, KEY_SIZE,
						   value, value_len, 0),
				      "put");
		}
		(void)b_check(ringtail_commit(writer), "commit");
	}
}

/* ---- reading */

/* Bytes of all segments; their words added up. */
static uint64_t read_bare(uint64_t *ret_bytes)
{
	static uint64_t piece[PIECE / sizeof(uint64_t)];
	DIR *folder = opendir(log_path);
	const struct dirent *entry;
	uint64_t sum = 0, bytes = 0;

	while (folder && (entry = readdir(folder))) {
		ssize_t n;
		int fd;

		if (!strstr(entry->d_name, ".log"))
			continue;
		fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
		for (off_t at = 0; (n = pread(fd, piece, sizeof(piece), at)) > 0;
		     at += n) {
			for (size_t i = 0; i < (size_t)n / sizeof(piece[0]); i++)
				sum += piece[i];
			bytes += (uint64_t)n;
		}
		(void)close(fd);
	}
	if (folder)
		(void)closedir(folder);
	*ret_bytes = bytes;
	return sum;
}

static struct ringtail *open_after(uint64_t seq)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader = NULL;

	options.dir = b_dir();
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.seq = seq;
	(void)b_check(ringtail_open(FEED, &options, &reader), "cannot open a reader");
	return reader;
}

static uint64_t first_word(const struct ringtail_event *event)
{
	uint64_t word;

	memcpy(&word, event->value, sizeof(word));
	return word;
}

static uint64_t read_ours(const struct kind *kind)
{
	static struct ringtail_event events[4096];
	static uint8_t data[4096 * 256];
	struct ringtail_batch batch = {
		.events = events,
		.max_events = 4096,
		.data = data,
		.data_size = sizeof(data),
		.max_txns = kind->call,
	};
	struct ringtail *reader = open_after(0);
	uint64_t seq = 0, sum = 0;

	while (seq < count) {
		int outcome = kind->call ? ringtail_next_batch(reader, &batch, 0)
					 : ringtail_next(reader, &events[0], 0);
		size_t n = kind->call ? batch.n_events : 1;

		if (b_check(outcome, "read") != RINGTAIL_EVENT)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (events[i].seq != ++seq)
				(void)b_check(-1, "an event is missing");
			sum += first_word(&events[i]);
		}
	}
	ringtail_close(reader);
	if (sum != count * (count + 1) / 2)
		(void)b_check(-1, "values are wrong");
	return sum;
}

static double per_second(uint64_t ns)
{
	return (double)count * 1e3 / (double)ns; /* millions */
}

static void run_kind(const struct kind *kind, uint64_t rounds, uint64_t epoch)
{
	struct b_pair pair = { 0 };
	uint64_t sum = 0, bytes = 0;
	char name[64], command[320];

	write_log(kind, epoch);
	for (uint64_t i = 0; i <= rounds; i++) {
		uint64_t begun = now_ns(), bare, ours;

		sum += read_bare(&bytes);
		bare = now_ns() - begun;
		begun = now_ns();
		(void)read_ours(kind);
		ours = now_ns() - begun;
		if (i) /* the first is for the caches */
			b_pair_add(&pair, per_second(bare), per_second(ours));
	}
	(void)snprintf(name, sizeof(name), "catch up, %s", kind->name);
	b_report(name, "M/s", sum ? "bare pread and sum" : "nothing", &pair);
	(void)snprintf(command, sizeof(command), "rm -r '%s'", log_path);
	(void)b_check(system(command), command);
}

/* Anywhere in a log of a seq at a time. */
static void run_opens(uint64_t epoch)
{
	struct b_samples samples = { 0 };
	uint64_t seq = 1;

	write_log(&kinds[0], epoch);
	for (unsigned i = 0; i < OPENS; i++) {
		uint64_t begun = now_ns();

		seq = seq * UINT64_C(6364136223846793005) + 1442695040888963407;
		ringtail_close(open_after((seq >> 33) % count));
		b_add(&samples, (double)(now_ns() - begun) / 1e3);
	}
	b_report_alone("open anywhere in the log, p50", "us",
		       b_quantile(&samples, 0.5));
	b_report_alone("open anywhere in the log, p99", "us",
		       b_quantile(&samples, 0.99));
}

/* ---- beside a writer */

#define BESIDE_NS  UINT64_C(200000000)
#define KEEP       UINT64_C(2000000) /* events of log */
#define PER_APPEND 100

/* As fast as it can, again and again, from the oldest event on. */
static void catch_up_for_ever(void *unused)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;

	(void)unused;
	b_pin(1);
	options.dir = b_dir();
	options.start = RINGTAIL_START_OLDEST;
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	for (;;) {
		struct ringtail *reader = NULL;
		struct ringtail_event event;

		(void)b_check(ringtail_open(FEED, &options, &reader), "open");
		for (uint64_t i = 0; i < KEEP / 2; i++) {
			int outcome = ringtail_next(reader, &event, 0);

			if (b_check(outcome, "read") == RINGTAIL_NOTHING)
				break;
		}
		ringtail_close(reader);
	}
}

/* Commits for a while; millions a second. */
static double commit_rate(struct rt_log *log, struct ringtail_writer *writer)
{
	static const struct kind kind = { "", 1, PER_APPEND, 0 };
	static uint8_t value[VALUE_MAX];
	uint64_t first = log->next, begun = now_ns(), ns;
	struct rt_batch batch = { 0 };
	struct rt_fault fault = { "" };

	do {
		count = log->next + PER_APPEND - 1;
		fill_batch(&batch, &kind, log->next);
		(void)b_check(rt_log_append(log, &batch, &fault), fault.text);
		for (uint64_t seq = batch.first_seq; seq <= count; seq++) {
			memcpy(value, &seq, sizeof(seq));
			(void)b_check(ringtail_put(writer, &seq, KEY_SIZE, value,
						   value_len, 0),
				      "put");
		}
		ns = now_ns() - begun;
	} while (ns < BESIDE_NS);
	rt_batch_fini(&batch);
	if (log->next > KEEP)
		(void)rt_log_drop_below(log, log->next - KEEP);
	return (double)(log->next - first) * 1e3 / (double)ns;
}

static void run_beside(struct ringtail_writer *writer, uint64_t epoch, uint64_t rounds)
{
	struct rt_log_config config = log_config(epoch);
	struct rt_log_report report;
	struct rt_fault fault = { "" };
	struct b_pair pair = { 0 };
	struct rt_log log;

	(void)b_check(rt_log_open(log_path, &config, NULL, NULL, &fault, &report, &log),
		      fault.text);
	for (uint64_t i = 0; i <= 3 * rounds; i++) {
		double alone = commit_rate(&log, writer), beside;
		int pid = b_spawn(catch_up_for_ever, NULL);

		(void)usleep(10000); /* it is at work */
		beside = commit_rate(&log, writer);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		if (i)
			b_pair_add(&pair, alone, beside);
	}
	b_report("commits beside a reader of the log", "M/s", "commits alone", &pair);
	(void)b_check(rt_log_close(&log, &fault), fault.text);
}

int main(int argc, char **argv)
{
	uint64_t rounds = b_option(argc, argv, "--rounds", 5);
	uint64_t slots = b_option(argc, argv, "--slots", 4096), epoch;
	struct ringtail_writer *writer;

	count = b_option(argc, argv, "--count", 2000000) / 16 * 16;
	value_len = (size_t)b_option(argc, argv, "--value", 64);
	if (value_len < sizeof(uint64_t) || value_len > VALUE_MAX)
		value_len = 64;
	cpu_only = b_option(argc, argv, "--cpu", 0);
	writer = b_writer(FEED, (uint32_t)slots, slots * 128, RINGTAIL_CLOCK_COARSE);
	(void)snprintf(log_path, sizeof(log_path), "%s/" FEED "/log", b_dir());
	epoch = epoch_of_feed();
	b_pin(0);
	write_ring(writer, &kinds[2]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_kind(&kinds[i], rounds, epoch);
		(void)fflush(stdout);
	}
	run_opens(epoch);
	run_beside(writer, epoch, rounds);
	ringtail_writer_close(writer);
	return 0;
}
