/* SPDX-License-Identifier: MIT */
/*
 * bench_view.c - opening a view of many keys
 *
 *	bench_view [--count=N] [--rounds=N] [--value=BYTES] [--cpu=1]
 *
 * The snapshot is in the page cache; keys of 24 bytes, values of 64.  The neighbour
 * reads the same file in pieces of 1 MiB, takes its word for everything, and inserts
 * the same keys and values into the same kind of table, made of the right size at once.
 * What both allocated is freed outside of the time that counts.  Then, how fast a view
 * follows changes of random keys.
 */
#include "bench/bench_common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/build.h"
#include "store/log.h"
#include "store/table.h"

#define FEED      "view"
#define PIECE     ((size_t)1 << 20)
#define KEY_SIZE  24
#define VALUE_MAX 1024
#define PER_WRITE 512u
#define CHANGES   200000u

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

/* Seqs in an order that is not that of the keys. */
static void key_of(uint64_t n, char key[KEY_SIZE + 1])
{
	(void)snprintf(key, KEY_SIZE + 1, "key/%020llu",
		       (unsigned long long)(n * UINT64_C(11400714819323198485)));
}

/* ---- writing: the log, the ring with the same seqs, the snapshot */

static void write_log(struct rt_log *log, uint64_t from, uint64_t to)
{
	static uint8_t value[VALUE_MAX];
	struct rt_batch batch = { 0 };
	struct rt_fault fault = { "" };
	char key[KEY_SIZE + 1];

	for (uint64_t seq = from; seq <= to;) {
		rt_batch_reset(&batch, seq);
		for (unsigned i = 0; i < PER_WRITE && seq <= to; i++, seq++) {
			key_of(seq % count, key);
			memcpy(value, &seq, sizeof(seq));
			(void)b_check(rt_batch_begin(&batch), "no memory");
			(void)b_check(rt_batch_add(&batch, RT_OP_PUT, 0, key, KEY_SIZE,
						   value, value_len),
				      "no memory");
			rt_batch_end(&batch, seq);
		}
		(void)b_check(rt_log_append(log, &batch, &fault), fault.text);
	}
	rt_batch_fini(&batch);
}

static void write_ring(struct ringtail_writer *writer, uint64_t from, uint64_t to)
{
	static uint8_t value[VALUE_MAX];
	char key[KEY_SIZE + 1];

	for (uint64_t seq = from; seq <= to; seq++) {
		key_of(seq % count, key);
		memcpy(value, &seq, sizeof(seq));
		(void)b_check(ringtail_put(writer, key, KEY_SIZE, value, value_len, 0),
			      "put");
	}
}

static void open_log(uint64_t epoch, struct rt_log *ret)
{
	const struct rt_log_config config = {
		.name = FEED,
		.mode = RT_LOG_MEMORY,
		.segment_size = UINT64_C(64) << 20,
		.file_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.epoch = epoch,
	};
	struct rt_log_report report;
	struct rt_fault fault = { "" };

	(void)b_check(rt_log_open(log_path, &config, NULL, NULL, &fault, &report, ret),
		      fault.text);
}

/* Its path. */
static const char *write_snapshot(uint64_t epoch)
{
	static char path[320];
	struct rt_fault fault = { "" };
	struct rt_built built;
	const struct rt_build build = {
		.log_path = log_path,
		.out_dir_fd = open(log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.name = FEED,
		.epoch = epoch,
		.limit = count,
		.budget = (size_t)1 << 30,
		.file_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	char name[32];

	(void)b_check(rt_snapshot_build(&build, &fault, &built), fault.text);
	(void)close(build.out_dir_fd);
	rt_snapshot_name(count, name);
	(void)snprintf(path, sizeof(path), "%s/%s", log_path, name);
	return path;
}

/* ---- the neighbour */

static void insert(struct rt_table *table, const uint8_t *at)
{
	struct rt_snap_entry head;
	const uint8_t *key = at + sizeof(head);
	struct rt_entry *entry;

	memcpy(&head, at, sizeof(head));
	entry = rt_entry_new(rt_table_hash(table, key, head.key_len), key, head.key_len,
			     key + head.key_len, head.value_len);
	if (!entry)
		(void)b_check(-1, "no memory");
	entry->seq = head.seq;
	entry->time_ns = head.time_ns;
	free(rt_table_insert(table, entry));
}

/* The blocks that are whole in @piece; returns their bytes. */
static size_t insert_blocks(struct rt_table *table, const uint8_t *piece, size_t len)
{
	struct rt_snap_block block;
	size_t done = 0;

	while (len - done >= sizeof(block)) {
		const uint8_t *at = piece + done + sizeof(block);

		memcpy(&block, piece + done, sizeof(block));
		if (block.magic != RT_SNAP_BLOCK_MAGIC || block.size > len - done)
			break;
		for (uint32_t i = 0; i < block.n_entries; i++) {
			struct rt_snap_entry head;

			memcpy(&head, at, sizeof(head));
			insert(table, at);
			at += rt_round_up(sizeof(head) + head.key_len + head.value_len,
					  8);
		}
		done += block.size;
	}
	return done;
}

static uint64_t run_bare(const char *path)
{
	static uint8_t piece[PIECE];
	uint64_t begun = now_ns(), took;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t at = RT_SNAP_START;
	struct rt_table table;
	ssize_t n;

	(void)b_check(rt_table_init(&table, 1), "no memory");
	(void)b_check(rt_table_reserve(&table, count), "no memory");
	while ((n = pread(fd, piece, sizeof(piece), at)) > 0) {
		size_t done = insert_blocks(&table, piece, (size_t)n);

		if (!done)
			break; /* what follows is no block */
		at += (off_t)done;
	}
	took = now_ns() - begun;
	if (table.n != count)
		(void)b_check(-1, "the neighbour lacks keys");
	(void)close(fd);
	rt_table_fini(&table);
	return took;
}

/* ---- a view */

static struct ringtail_view *open_view(void)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_view *view = NULL;

	options.dir = b_dir();
	if (ringtail_view_open(FEED, &options, NULL, &view) < 0)
		(void)b_check(-1, ringtail_error(NULL));
	return view;
}

static uint64_t run_ours(void)
{
	uint64_t begun = now_ns(), took;
	struct ringtail_view *view = open_view();

	took = now_ns() - begun;
	if (ringtail_view_count(view) != count)
		(void)b_check(-1, "the view lacks keys");
	ringtail_view_close(view);
	return took;
}

static int visit(void *sum, const struct ringtail_view_entry *entry)
{
	*(uint64_t *)sum += entry->seq;
	return 0;
}

/* Values of random keys change, all of one length: first without looking, then looks.
 */
static void run_changes(struct ringtail_writer *writer, uint64_t slots, uint64_t *head)
{
	struct ringtail_view *view = open_view();
	struct b_samples samples = { 0 };
	uint64_t sum = 0, begun;

	begun = now_ns();
	(void)b_check(ringtail_view_each(view, NULL, 0, visit, &sum), "walk");
	b_report_alone("view, walk of all keys in order", "ns/key",
		       (double)(now_ns() - begun) / (double)count);
	for (uint64_t n = 0, some = slots / 2; n < CHANGES; n += some) {
		write_ring(writer, *head + 1, *head + some);
		*head += some;
		begun = now_ns();
		while (ringtail_view_seq(view) < *head)
			(void)b_check(ringtail_view_poll(view, 0), "poll");
		b_add(&samples, (double)(now_ns() - begun) / (double)some);
	}
	b_report_alone("view, a change of a random key", "ns", b_median(&samples));
	ringtail_view_close(view);
}

static uint64_t epoch_of_feed(void)
{
	struct ringtail *reader = b_reader(FEED, RINGTAIL_WAIT_SPIN, 0);
	struct ringtail_info info = { .size = sizeof(info) };

	(void)b_check(ringtail_get_info(reader, &info), "no information");
	ringtail_close(reader);
	return info.epoch;
}

int main(int argc, char **argv)
{
	uint64_t rounds = b_option(argc, argv, "--rounds", 7);
	uint64_t slots = 65536, epoch, head;
	struct ringtail_writer *writer;
	struct b_pair pair = { 0 };
	struct rt_fault fault = { "" };
	const char *path;
	struct rt_log log;

	head = count = b_option(argc, argv, "--count", 1000000);
	value_len = (size_t)b_option(argc, argv, "--value", 64);
	if (value_len < sizeof(uint64_t) || value_len > VALUE_MAX)
		value_len = 64;
	cpu_only = b_option(argc, argv, "--cpu", 0);
	writer = b_writer(FEED, (uint32_t)slots, slots * 128, RINGTAIL_CLOCK_COARSE);
	(void)snprintf(log_path, sizeof(log_path), "%s/" FEED "/log", b_dir());
	epoch = epoch_of_feed();
	b_pin(0);
	open_log(epoch, &log);
	write_log(&log, 1, count);
	write_ring(writer, 1, count);
	path = write_snapshot(epoch);
	for (uint64_t i = 0; i <= rounds; i++) {
		uint64_t bare = run_bare(path), ours = run_ours();

		if (i) /* the first is for the caches */
			b_pair_add(&pair, (double)bare / 1e6, (double)ours / 1e6);
	}
	b_report("open a view", "ms", "bare pread and insert", &pair);
	run_changes(writer, slots, &head);
	(void)b_check(rt_log_close(&log, &fault), fault.text);
	ringtail_writer_close(writer);
	return 0;
}
