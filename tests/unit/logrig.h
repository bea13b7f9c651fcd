/* SPDX-License-Identifier: MIT */
/*
 * logrig.h - a log made by plan, for the unit tests of store/
 *
 * What event a seq has, and where transactions begin, follows from the seq alone.  So
 * whatever is read back, from any place, can be compared.
 */
#ifndef RINGTAIL_TESTS_UNIT_LOGRIG_H
#define RINGTAIL_TESTS_UNIT_LOGRIG_H

#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/segment.h"
#include "store/log.h"
#include "store/log_read.h"
#include "store/snapshot.h"
#include "store/state.h"

#define LR_EPOCH UINT64_C(0xe1)
#define LR_TIME  UINT64_C(1700000000000000000)

struct logrig {
	char *dir;
	char path[256]; /* of the log */
	struct rt_log_config config;
	struct rt_log log;
	struct rt_batch batch;
	struct rt_fault fault;
	struct rt_log_report report;
	uint64_t first, seen; /* of the events that the newest open visited; 0: none */
	bool wrong;           /* one of them was not by plan */
	int fds;
};

/*
 * ---- The plan ----
 */

__attribute__((unused)) static uint64_t lr_hash(uint64_t seq)
{
	seq *= UINT64_C(0x9e3779b97f4a7c15);
	return seq ^ seq >> 29;
}

/* Transactions of 1 to 4 events, in steps of 10 seqs: 1 2 3 4. */
__attribute__((unused)) static uint32_t lr_txn_size(uint64_t first)
{
	static const uint8_t sizes[] = { 1, 2, 0, 3, 0, 0, 4, 0, 0, 0 };

	return sizes[(first - 1) % 10];
}

__attribute__((unused)) static uint64_t lr_txn_first(uint64_t seq)
{
	static const uint8_t back[] = { 0, 0, 1, 0, 1, 2, 0, 1, 2, 3 };

	return seq - back[(seq - 1) % 10];
}

__attribute__((unused)) static uint64_t lr_time(uint64_t seq)
{
	return LR_TIME + lr_txn_first(seq) * 1000;
}

__attribute__((unused)) static size_t lr_key(uint64_t seq, char ret[32])
{
	return (size_t)snprintf(ret, 32, "k%u/%u", (unsigned)(seq % 3),
				(unsigned)(lr_hash(seq) % 1000));
}

__attribute__((unused)) static size_t lr_value(uint64_t seq, uint8_t ret[64])
{
	size_t len = lr_hash(seq) % 65;

	for (size_t i = 0; i < len; i++)
		ret[i] = (uint8_t)(seq * 31 + i);
	return len;
}

__attribute__((unused)) static uint8_t lr_op(uint64_t seq)
{
	return seq % 7 ? RT_OP_PUT : RT_OP_MESSAGE;
}

__attribute__((unused)) static bool lr_is(const struct rt_item *item, uint64_t seq)
{
	uint64_t first = lr_txn_first(seq);
	uint8_t value[64];
	char key[32];
	size_t key_len = lr_key(seq, key), value_len = lr_value(seq, value);

	return item->seq == seq && item->time_ns == lr_time(seq) &&
	       item->op == lr_op(seq) && item->key_len == key_len &&
	       memcmp(item->key, key, key_len) == 0 && item->value_len == value_len &&
	       memcmp(item->value, value, value_len) == 0 &&
	       item->txn_index == seq - first && item->txn_size == lr_txn_size(first);
}

/* One transaction, which begins where the batch ends. */
__attribute__((unused)) static void lr_add_txn(struct rt_batch *batch)
{
	uint64_t first = batch->first_seq + batch->n_events;
	uint32_t size = lr_txn_size(first);
	uint8_t value[64];
	char key[32];

	if (size == 1) {
		t_ok(rt_batch_one(batch, lr_op(first), 0, key, lr_key(first, key),
				  value, lr_value(first, value), lr_time(first)));
		return;
	}
	t_ok(rt_batch_begin(batch));
	for (uint64_t seq = first; seq < first + size; seq++)
		t_ok(rt_batch_add(batch, lr_op(seq), 0, key, lr_key(seq, key), value,
				  lr_value(seq, value)));
	rt_batch_end(batch, lr_time(first));
}

/*
 * ---- A log ----
 */

__attribute__((unused)) static int lr_visit(void *arg, const struct rt_item *item)
{
	struct logrig *rig = arg;

	if (!rig->seen)
		rig->first = item->seq;
	else if (item->seq != rig->seen + 1)
		rig->wrong = true;
	rig->seen = item->seq;
	if (!lr_is(item, item->seq))
		rig->wrong = true;
	return 0;
}

/* Opens it; what it held is in first, seen and report. */
__attribute__((unused)) static int lr_try(struct logrig *rig)
{
	rig->first = rig->seen = 0;
	rig->wrong = false;
	rig->fault.text[0] = 0;
	return rt_log_open(rig->path, &rig->config, lr_visit, rig, &rig->fault,
			   &rig->report, &rig->log);
}

__attribute__((unused)) static void lr_open(struct logrig *rig)
{
	int r = lr_try(rig);

	if (r < 0)
		print_error("%s\n", rig->fault.text);
	t_ok(r);
	assert_false(rig->wrong);
	assert_int_equal(rig->report.n_events,
			 rig->seen ? rig->seen - rig->first + 1 : 0);
}

/* As if the writer had died. */
__attribute__((unused)) static void lr_drop(struct logrig *rig)
{
	rt_log_drop(&rig->log);
}

__attribute__((unused)) static void lr_close(struct logrig *rig)
{
	t_ok(rt_log_close(&rig->log, &rig->fault));
}

/* What the kernel's worker does for a daemon.  How many bytes were asked for. */
__attribute__((unused)) static size_t lr_fetch(struct rt_log *log)
{
	struct iovec pages;

	if (!rt_log_wants_pages(log, &pages))
		return 0;
	rt_window_got(&log->window,
		      madvise(pages.iov_base, pages.iov_len, MADV_POPULATE_WRITE) < 0
			      ? -errno
			      : 0);
	return pages.iov_len;
}

/* A batch of @n_txns transactions for the log's end. */
__attribute__((unused)) static void lr_gather(struct logrig *rig, unsigned n_txns)
{
	rt_batch_reset(&rig->batch, rig->log.next);
	for (unsigned i = 0; i < n_txns; i++)
		lr_add_txn(&rig->batch);
}

__attribute__((unused)) static int lr_try_append(struct logrig *rig, unsigned n_txns)
{
	lr_gather(rig, n_txns);
	return rt_log_append(&rig->log, &rig->batch, &rig->fault);
}

/* @n batches of 1, 2, 3 .. 5, 1 .. transactions. */
__attribute__((unused)) static void lr_append(struct logrig *rig, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t_ok(lr_try_append(rig, i % 5 + 1));
}

__attribute__((unused)) static const char *lr_segment(const struct logrig *rig,
						      uint64_t first,
						      const char *suffix)
{
	char name[32];

	rt_segment_name(first, suffix, name);
	return t_path(rig->path, name);
}

/* A snapshot as of @seq, whose only key says so. */
__attribute__((unused)) static void lr_snapshot(struct logrig *rig, uint64_t seq,
						uint64_t epoch)
{
	const struct rt_snapshot_config config = {
		.name = "unit",
		.epoch = epoch,
		.seq = seq,
		.time_ns = lr_time(seq),
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	const struct rt_state state = {
		.seq = seq,
		.key = (const uint8_t *)"seq",
		.key_len = 3,
		.value = (const uint8_t *)&seq,
		.value_len = sizeof(seq),
	};
	struct rt_snapshot_writer writer;
	char name[32];
	int fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	rt_snapshot_name(seq, name);
	t_ok(rt_snapshot_create(fd, name, &config, &rig->fault, &writer));
	t_ok(rt_snapshot_put(&writer, &state, &rig->fault));
	t_ok(rt_snapshot_finish(&writer, &rig->fault));
	rt_snapshot_discard(&writer);
	(void)close(fd);
}

/* The seqs at which the segments begin that are there now. */
__attribute__((unused)) static struct rt_segments lr_segments(struct logrig *rig)
{
	struct rt_segments segments = { 0 };
	int fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	t_ok(rt_segments_list(fd, &segments));
	(void)close(fd);
	return segments;
}

/* As if it had been left in this way, in another boot if @boot says so. */
__attribute__((unused)) static void lr_left(struct logrig *rig, const char *word,
					    bool other_boot)
{
	char text[128], boot[64] = "00000000-0000-0000-0000-000000000000";
	FILE *file = other_boot ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");

	if (file) {
		assert_int_equal(fscanf(file, "%63s", boot), 1);
		(void)fclose(file);
	}
	(void)snprintf(text, sizeof(text), "%s %s\n", word, boot);
	t_write_file(t_path(rig->path, "state"), text, strlen(text));
}

/* Everything from @from on, by plan, as a reader gets it; the last seq. */
__attribute__((unused)) static uint64_t lr_read_all(struct rt_log_reader *reader,
						    uint64_t from, uint64_t limit,
						    bool *wrong)
{
	struct rt_batch_cursor cursor;
	struct rt_item item;
	const uint8_t *data;
	uint64_t last = from - 1;

	while (rt_log_reader_next(reader, limit, NULL, &data) == 1) {
		int r;

		rt_batch_open(data, &cursor);
		while ((r = rt_batch_next(&cursor, &item)) == 1) {
			if (item.seq < from)
				continue;
			if (item.seq != last + 1 || !lr_is(&item, item.seq))
				*wrong = true;
			last = item.seq;
		}
		if (r < 0)
			*wrong = true;
	}
	return last;
}

static int setup(void **state)
{
	struct logrig *rig = calloc(1, sizeof(*rig));

	rig->fds = t_count_fds();
	rig->dir = t_dir_new();
	(void)snprintf(rig->path, sizeof(rig->path), "%s/log", rig->dir);
	rig->log = RT_LOG_NONE;
	rig->config = (struct rt_log_config){
		.name = "unit",
		.mode = RT_LOG_OS,
		.segment_size = UINT64_C(64) << 10,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.first_seq = 1,
		.epoch = LR_EPOCH,
	};
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct logrig *rig = *state;
	int fds = rig->fds;

	rt_log_drop(&rig->log);
	rt_batch_fini(&rig->batch);
	t_dir_drop(rig->dir);
	free(rig);
	if (t_count_fds() == fds)
		return 0;
	print_error("%d descriptors leaked\n", t_count_fds() - fds);
	return -1;
}

#endif
