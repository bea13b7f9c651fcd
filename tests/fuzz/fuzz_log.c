/* SPDX-License-Identifier: MIT */
/*
 * fuzz_log.c - a segment of a log with changes, its index, and the text files beside it
 *
 * The first byte of an input: bit 0 repairs all checksums after the changes, bits 1 to
 * 3 say to which file they are made, bit 4 that it was left in another boot.  What
 * follows are changes (patches.h).  Whatever is there: recovery and verification agree,
 * what was recovered is found again, and readers get seqs without holes or an error.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/log.h"
#include "store/log_read.h"
#include "tests/fuzz/patches.h"

#define N_BATCHES 5
#define FILE_MAX  16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
	"00000000000000000001.log",
	"00000000000000000001.idx",
	"epochs",
	"state",
};

static char dir[64];
static uint8_t files[4][FILE_MAX];
static size_t lens[4];
static size_t batch_at[N_BATCHES + 1];

static const struct rt_log_config config = {
	.name = "fuzz",
	.mode = RT_LOG_MEMORY,
	.segment_size = 8192,
	.file_mode = 0600,
	.uid = (uid_t)-1,
	.gid = (gid_t)-1,
	.epoch = 7,
};

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static const char *path_of(unsigned i)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
	return path;
}

static void clean_up(void)
{
	char lock[128];

	(void)snprintf(lock, sizeof(lock), "%s/lock", dir);
	(void)unlink(lock);
	for (unsigned i = 0; i < RT_N(names); i++)
		(void)unlink(path_of(i));
	(void)rmdir(dir);
}

static void add_batch(struct rt_log *log, unsigned n)
{
	struct rt_batch batch = { 0 };

	rt_batch_reset(&batch, log->next);
	for (unsigned i = 0; i <= n; i++) {
		must(rt_batch_begin(&batch) == 0);
		must(rt_batch_add(&batch, RT_OP_PUT, 0, "key", 3, "value", i) == 0);
		must(rt_batch_add(&batch, RT_OP_DELETE, 0, "other", 5, "", 0) == 0);
		rt_batch_end(&batch, log->next * 100);
		must(rt_batch_one(&batch, RT_OP_PUT, 0, "alone", 5, "value", 5,
				  log->next * 100 + i) == 0);
	}
	must(rt_log_append(log, &batch, NULL) == 0);
	rt_batch_fini(&batch);
}

/* What is then changed, once. */
static void make_original(void)
{
	struct rt_log_report report;
	struct rt_log_index entries[N_BATCHES];
	struct rt_log log;

	(void)snprintf(dir, sizeof(dir), "/dev/shm/fuzz_log.XXXXXX");
	must(mkdtemp(dir));
	must(rt_log_open(dir, &config, NULL, NULL, NULL, &report, &log) == 0);
	for (unsigned i = 0; i < N_BATCHES; i++) {
		uint64_t seq = log.next;

		add_batch(&log, i);
		batch_at[i + 1] = log.offset;
		batch_at[i] = i ? batch_at[i] : RT_LOG_START;
		entries[i] = (struct rt_log_index){ seq, seq * 100, batch_at[i] };
	}
	rt_log_drop(&log);
	for (unsigned i = 0; i < RT_N(names); i++) {
		FILE *file = fopen(path_of(i), "rbe");

		must(file);
		lens[i] = fread(files[i], 1, FILE_MAX, file);
		(void)fclose(file);
	}
	memcpy(files[1], entries, sizeof(entries));
	lens[1] = sizeof(entries);
	(void)atexit(clean_up);
}

static void repair_checks(uint8_t *segment)
{
	struct rt_log_header header;

	memcpy(&header, segment, sizeof(header));
	header.check =
		XXH64(segment, offsetof(struct rt_log_header, check), RT_LOG_MAGIC);
	memcpy(segment, &header, sizeof(header));
	for (unsigned i = 0; i < N_BATCHES; i++) {
		uint8_t *at = segment + batch_at[i];
		struct rt_log_batch batch;

		memcpy(&batch, at, sizeof(batch));
		if (batch.size < sizeof(batch) || batch.size > lens[0] - batch_at[i])
			continue;
		batch.check = XXH3_64bits_withSeed(at + 16, batch.size - 16,
						   header.salt ^ batch.n_txns);
		memcpy(at, &batch, sizeof(batch));
	}
}

static void write_all(unsigned which, const uint8_t *data, size_t size, bool repair,
		      bool other_boot)
{
	uint8_t bytes[FILE_MAX];

	for (unsigned i = 0; i < RT_N(names); i++) {
		FILE *file = fopen(path_of(i), "wbe");

		memcpy(bytes, files[i], lens[i]);
		if (i == 3 && other_boot)
			bytes[10] ^= 1;
		if (i == which)
			patch_all(bytes, lens[i], data, size);
		if (!i && repair)
			repair_checks(bytes);
		must(file && fwrite(bytes, 1, lens[i], file) == lens[i]);
		must(fclose(file) == 0);
	}
}

static int visit(void *arg, const struct rt_item *item)
{
	uint64_t *last = arg;

	must(item->seq == *last + 1);
	*last = item->seq;
	return 0;
}

/* From @seq on, by seek or by time: no hole. */
static void read_from(uint64_t seq, bool by_time)
{
	struct rt_log_reader reader;
	struct rt_batch_cursor cursor;
	struct rt_item item;
	const uint8_t *batch;
	uint64_t next = 0;

	must(rt_log_reader_open(dir, NULL, &reader) == 0);
	if ((by_time ? rt_log_reader_seek_time(&reader, seq, NULL)
		     : rt_log_reader_seek(&reader, seq, NULL)) == 0) {
		must(by_time || reader.next <= seq);
		while (rt_log_reader_next(&reader, 1000, NULL, &batch) == 1) {
			rt_batch_open(batch, &cursor);
			must(!next || cursor.seq == next);
			while (rt_batch_next(&cursor, &item) == 1)
				must(item.seq < 1000000);
			next = reader.next;
		}
	}
	rt_log_reader_close(&reader);
}

/* Behind what is damaged is a batch that was asked for, or nothing. */
static void pass_damage(uint64_t seq)
{
	struct rt_log_reader reader;
	const uint8_t *batch;

	must(rt_log_reader_open(dir, NULL, &reader) == 0);
	if (rt_log_reader_enter(&reader, 1, NULL) == 0) {
		while (rt_log_reader_step(&reader, &batch) == 1)
			;
		if (rt_log_pass_damage(&reader, seq) == 1) {
			must(reader.next <= seq);
			must(rt_log_reader_step(&reader, &batch) == 1);
		}
	}
	rt_log_reader_close(&reader);
}

/* In small parts, as if there were a segment behind it: it comes to an end. */
static void check_on(void)
{
	struct rt_log_check check = { .below = 1000 };
	unsigned n = 0;

	while (rt_log_check_on(dir, &check, 64, NULL, NULL))
		must(n++ < 1000);
	must(!check.below);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t last = 0, again = 0;
	struct rt_log_report report;
	struct rt_log log;
	int verified, opened;

	if (!size)
		return 0;
	if (!dir[0])
		make_original();
	write_all((data[0] >> 1) % RT_N(names), data + 1, size - 1, data[0] & 1,
		  data[0] & 16);
	for (uint64_t seq = 0; seq < 40; seq += 3)
		read_from(seq, false);
	read_from(500, true);
	read_from(0, true);
	for (uint64_t seq = 2; seq < 40; seq += 7)
		pass_damage(seq);
	check_on();
	verified = rt_log_verify(dir, NULL, &report);
	opened = rt_log_open(dir, &config, visit, &last, NULL, &report, &log);
	must(opened < 0 || !verified);
	if (opened < 0)
		return 0;
	must(log.next == last + 1);
	rt_log_drop(&log);
	must(rt_log_open(dir, &config, visit, &again, NULL, &report, &log) == 0);
	must(again == last && !report.cut_bytes && !report.new_epoch);
	rt_log_drop(&log);
	return 0;
}
