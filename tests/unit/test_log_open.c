/* SPDX-License-Identifier: MIT */
/*
 * test_log_open.c - store/log_open.c: what recovery makes of what it finds
 */
#include "tests/unit/logrig.h"

/* Where each batch of the segment ends, and the seq it ends with. */
struct ends {
	size_t offset[128];
	uint64_t seq[128];
	unsigned n;
};

static void note_end(struct logrig *rig, struct ends *ends)
{
	ends->offset[ends->n] = rig->log.offset;
	ends->seq[ends->n++] = rig->log.next - 1;
}

/* @n batches; where each ended. */
static struct ends append_noting(struct logrig *rig, unsigned n)
{
	struct ends ends = { 0 };

	for (unsigned i = 0; i < n; i++) {
		t_ok(lr_try_append(rig, i % 4 + 1));
		note_end(rig, &ends);
	}
	return ends;
}

/* The last seq of the batches that lie within @len bytes. */
static uint64_t last_within(const struct ends *ends, size_t len)
{
	uint64_t seq = 0;

	for (unsigned i = 0; i < ends->n && ends->offset[i] <= len; i++)
		seq = ends->seq[i];
	return seq;
}

/* A copy of the first segment's content as far as it is used. */
static char *used_part(struct logrig *rig, size_t *ret)
{
	char *data = t_read_file(lr_segment(rig, 1, ".log"), ret);

	assert_non_null(data);
	*ret = rig->log.offset;
	return data;
}

static void a_new_log_begins_as_it_was_asked_to(void **state)
{
	struct logrig *rig = *state;

	rig->config.first_seq = 31;
	lr_open(rig);
	assert_true(rig->report.created);
	assert_int_equal(rig->log.next, 31);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	lr_append(rig, 3);
	lr_close(rig);
	rig->config.first_seq = 1;
	rig->config.epoch = 0;
	lr_open(rig);

	assert_false(rig->report.created);
	assert_false(rig->report.new_epoch);
	assert_int_equal(rig->first, 31);
	assert_int_equal(rig->log.oldest, 31);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(rig->log.last_ns, lr_time(rig->seen));
}

static void an_empty_one_is_opened_again(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->log.next, 1);
	lr_append(rig, 1);
	assert_int_equal(rig->log.next, 2);
}

/* Cut at each byte: the longest run of whole batches, and it goes on from there. */
static void every_prefix_recovers_to_its_whole_batches(void **state)
{
	struct logrig *rig = *state;
	struct ends ends;
	size_t used;
	char *data;

	lr_open(rig);
	ends = append_noting(rig, 8);
	data = used_part(rig, &used);
	lr_drop(rig);
	for (size_t len = RT_LOG_START; len <= used; len++) {
		uint64_t last = last_within(&ends, len);

		t_write_file(lr_segment(rig, 1, ".log"), data, len);
		lr_open(rig);
		assert_int_equal(rig->seen, last);
		assert_int_equal(rig->log.next, last + 1);
		if (len % 13 == 0) {
			t_ok(lr_try_append(rig, 2));
			lr_drop(rig);
			lr_open(rig);
			assert_true(rig->seen > last);
		}
		lr_drop(rig);
		for (uint64_t seq = 2; seq < 60; seq++)
			(void)unlink(lr_segment(rig, seq, ".log"));
	}
	free(data);
}

/* The same with zeros behind, as a segment has them that was allocated. */
static void every_prefix_in_an_allocated_segment(void **state)
{
	struct logrig *rig = *state;
	struct ends ends;
	size_t used;
	char *data, *part;

	lr_open(rig);
	ends = append_noting(rig, 5);
	data = used_part(rig, &used);
	part = calloc(1, 65536);
	lr_drop(rig);
	for (size_t len = RT_LOG_START; len <= used; len++) {
		size_t at = RT_LOG_START, whole = len, tail = len;
		uint64_t last;

		while (whole < used && !data[whole])
			whole++; /* zeros may be those of the batch */
		last = last_within(&ends, whole);
		for (unsigned i = 0; i < ends.n && ends.offset[i] <= whole; i++)
			at = ends.offset[i];
		while (tail > at && !data[tail - 1])
			tail--;
		memset(part, 0, 65536);
		memcpy(part, data, len);
		t_write_file(lr_segment(rig, 1, ".log"), part, 65536);
		lr_open(rig);
		assert_int_equal(rig->seen, last);
		assert_int_equal(rig->report.cut_bytes, tail > at ? tail - at : 0);
		lr_drop(rig);
	}
	free(part);
	free(data);
}

static void a_header_that_is_cut_is_damage(void **state)
{
	struct logrig *rig = *state;
	size_t used;
	char *data;

	lr_open(rig);
	lr_append(rig, 1);
	data = used_part(rig, &used);
	lr_drop(rig);
	for (size_t len = 0; len < sizeof(struct rt_log_header); len++) {
		t_write_file(lr_segment(rig, 1, ".log"), data, len);
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "00000000000000000001.log"));
	}
	free(data);
}

/*
 * A flip is found by recovery, and then file and offset are named; or it is in the last
 * batch, which then looks like a write that never finished, and is reported as cut; or
 * in bytes that mean nothing.
 */
static void every_flipped_bit_is_found(void **state)
{
	struct logrig *rig = *state;
	struct t_random random = { 7 };
	size_t used, last_at;
	struct ends ends;
	char *data, *part;

	lr_open(rig);
	ends = append_noting(rig, 10);
	last_at = ends.offset[8];
	data = used_part(rig, &used);
	part = malloc(used);
	lr_drop(rig);
	for (unsigned round = 0; round < 3000; round++) {
		size_t bit = t_random_below(&random, used * 8);
		size_t at = bit / 8;
		int r;

		memcpy(part, data, used);
		part[at] = (char)(part[at] ^ 1 << bit % 8);
		t_write_file(lr_segment(rig, 1, ".log"), part, used);
		r = lr_try(rig);
		assert_false(rig->wrong);
		if (at < sizeof(struct rt_log_header)) {
			assert_true(r == RT_E_CORRUPT || r == RT_E_VERSION);
		} else if (at < RT_LOG_START) {
			t_ok(r);
			assert_int_equal(rig->seen, ends.seq[9]);
		} else if (at < last_at) {
			t_is(r, RT_E_CORRUPT);
			assert_non_null(strstr(rig->fault.text, "damaged at byte"));
		} else {
			t_ok(r);
			assert_int_equal(rig->seen, ends.seq[8]);
			assert_true(rig->report.cut_bytes > 0);
		}
		lr_drop(rig);
	}
	free(part);
	free(data);
}

static void damage_is_named_with_place_and_remedy(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_report report;
	struct rt_fault fault;
	struct ends ends;
	char text[64];
	size_t used;
	char *data;

	lr_open(rig);
	ends = append_noting(rig, 6);
	data = used_part(rig, &used);
	lr_close(rig);
	data[ends.offset[2] + 70] ^= 1;
	t_write_file(lr_segment(rig, 1, ".log"), data, used);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "/00000000000000000001.log"));
	(void)snprintf(text, sizeof(text), "at byte %zu", ends.offset[2]);
	assert_non_null(strstr(rig->fault.text, text));
	(void)snprintf(text, sizeof(text), "seq %u", (unsigned)ends.seq[2] + 1);
	assert_non_null(strstr(rig->fault.text, text));
	(void)snprintf(text, sizeof(text), "--drop-after %u", (unsigned)ends.seq[2]);
	assert_non_null(strstr(rig->fault.text, text));
	t_is(rt_log_verify(rig->path, &fault, &report), RT_E_CORRUPT);
	assert_string_equal(fault.text, rig->fault.text);
	free(data);
}

static void verify_tells_what_recovery_would_cut(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_report report;
	struct ends ends;
	size_t used;
	char *data;

	lr_open(rig);
	ends = append_noting(rig, 6);
	t_ok(rt_log_verify(rig->path, &rig->fault, &report));
	assert_int_equal(report.n_events, ends.seq[5]);
	assert_int_equal(report.cut_bytes, 0);
	data = used_part(rig, &used);
	lr_drop(rig);
	t_write_file(lr_segment(rig, 1, ".log"), data, used - 1);
	t_ok(rt_log_verify(rig->path, &rig->fault, &report));
	assert_int_equal(report.n_events, ends.seq[4]);
	assert_true(report.cut_bytes > 0);
	free(data);
}

/*
 * ---- Segments ----
 */

/* Some segments, closed; where they begin. */
static struct rt_segments some_segments(struct logrig *rig)
{
	struct rt_segments segments;

	lr_open(rig);
	while ((segments = lr_segments(rig)).n < 4) {
		rt_segments_fini(&segments);
		lr_append(rig, 20);
	}
	lr_close(rig);
	return segments;
}

static void a_missing_segment_is_a_hole(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);

	assert_int_equal(unlink(lr_segment(rig, s.first_seqs[1], ".log")), 0);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "but the next segment begins with"));
	rt_segments_fini(&s);
}

static void the_oldest_may_be_missing(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);

	assert_int_equal(unlink(lr_segment(rig, s.first_seqs[0], ".log")), 0);
	lr_open(rig);
	assert_int_equal(rig->first, s.first_seqs[1]);
	assert_int_equal(rig->log.oldest, s.first_seqs[1]);
	rt_segments_fini(&s);
}

static void an_empty_segment_is_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);

	for (size_t i = 0; i < s.n; i++) {
		char path[300];
		size_t len;
		char *data;

		(void)snprintf(path, sizeof(path), "%s",
			       lr_segment(rig, s.first_seqs[i], ".log"));
		data = t_read_file(path, &len);
		t_write_file(path, "", 0);
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, path));
		t_write_file(path, data, len);
		free(data);
	}
	lr_open(rig);
	rt_segments_fini(&s);
}

static void a_renamed_segment_is_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);
	char from[300];

	(void)snprintf(from, sizeof(from), "%s",
		       lr_segment(rig, s.first_seqs[1], ".log"));
	assert_int_equal(rename(from, lr_segment(rig, s.first_seqs[1] + 1, ".log")), 0);
	t_is(lr_try(rig), RT_E_CORRUPT);
	rt_segments_fini(&s);
}

static void a_segment_of_another_feed_is_damage(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 2);
	lr_close(rig);
	rig->config.name = "other";
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "'unit'"));
}

static void set_header(struct logrig *rig, void (*change)(struct rt_log_header *header))
{
	size_t len;
	char *data = t_read_file(lr_segment(rig, 1, ".log"), &len);
	struct rt_log_header header;

	memcpy(&header, data, sizeof(header));
	change(&header);
	memcpy(data, &header, sizeof(header));
	t_write_file(lr_segment(rig, 1, ".log"), data, len);
	free(data);
}

static void swap_magic(struct rt_log_header *header)
{
	header->magic = __builtin_bswap64(header->magic);
}

static void newer_format(struct rt_log_header *header)
{
	header->format++;
}

static void unknown_feature(struct rt_log_header *header)
{
	header->incompat = 4;
}

static void no_magic(struct rt_log_header *header)
{
	header->magic = 0;
}

static void other_versions_are_refused(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 1);
	lr_close(rig);
	set_header(rig, swap_magic);
	t_is(lr_try(rig), RT_E_VERSION);
	assert_non_null(strstr(rig->fault.text, "byte order"));
	set_header(rig, swap_magic);
	set_header(rig, newer_format);
	t_is(lr_try(rig), RT_E_VERSION);
	assert_non_null(strstr(rig->fault.text, "format 3"));
	set_header(rig, unknown_feature);
	t_is(lr_try(rig), RT_E_VERSION);
	set_header(rig, no_magic);
	t_is(lr_try(rig), RT_E_CORRUPT);
}

/* Nothing of a kind that would have us wait, or look elsewhere. */
static void what_is_no_file_is_an_error(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_close(rig);
	assert_int_equal(mkfifo(lr_segment(rig, 1, ".log"), 0600), 0);
	assert_true(lr_try(rig) < 0);
	assert_int_equal(unlink(lr_segment(rig, 1, ".log")), 0);
	assert_int_equal(mkdir(lr_segment(rig, 1, ".log"), 0700), 0);
	assert_true(lr_try(rig) < 0);
	assert_int_equal(rmdir(lr_segment(rig, 1, ".log")), 0);
	assert_int_equal(symlink("/etc/passwd", lr_segment(rig, 1, ".log")), 0);
	assert_true(lr_try(rig) < 0);
	assert_int_equal(unlink(lr_segment(rig, 1, ".log")), 0);
	assert_int_equal(unlink(t_path(rig->path, "epochs")), 0);
	assert_int_equal(mkfifo(t_path(rig->path, "epochs"), 0600), 0);
	lr_open(rig); /* it says nothing, as a file that is missing */
}

/* A size of gigabytes in a small file costs no memory. */
static void a_huge_length_is_not_believed(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_batch header;
	struct rt_log_reader reader;
	const uint8_t *batch;
	struct ends ends;
	size_t used;
	char *data;

	lr_open(rig);
	ends = append_noting(rig, 3);
	data = used_part(rig, &used);
	lr_drop(rig);
	memcpy(&header, data + ends.offset[1], sizeof(header));
	header.size = RT_LOG_BATCH_MAX;
	header.n_events = 1000;
	memcpy(data + ends.offset[1], &header, sizeof(header));
	t_write_file(lr_segment(rig, 1, ".log"), data, used);
	t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
	t_ok(rt_log_reader_seek(&reader, ends.seq[1] + 1, &rig->fault));
	t_is(rt_log_reader_next(&reader, UINT64_MAX, &rig->fault, &batch),
	     RT_E_CORRUPT);
	assert_true(reader.window_cap <= 2 << 20);
	rt_log_reader_close(&reader);
	lr_open(rig);
	assert_int_equal(rig->seen, ends.seq[1]);
	free(data);
}

/* A valid checksum is no reason to believe what it covers. */
static void a_valid_batch_that_lies_is_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_batch header;

	lr_open(rig);
	lr_append(rig, 2);
	lr_gather(rig, 4);
	rig->batch.n_events += 2;
	rt_batch_seal(&rig->batch, rig->log.salt, 0);
	memcpy(&header, rig->batch.data, sizeof(header));
	assert_int_equal(pwrite(rig->log.fd, rig->batch.data, rig->batch.len,
				(off_t)rig->log.offset),
			 (ssize_t)rig->batch.len);
	lr_drop(rig);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "makes no sense"));
}

/* Headers within headers, each of them claiming the rest of the file. */
static void nested_headers_do_not_take_for_ever(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_batch header = { .magic = RT_LOG_BATCH_MAGIC,
				       .n_txns = 1,
				       .n_events = 1 };
	size_t len = 8 << 20, used;
	char *data;
	uint64_t begun;

	lr_open(rig);
	lr_append(rig, 1);
	data = used_part(rig, &used);
	lr_drop(rig);
	data = realloc(data, len);
	for (size_t at = used + 8; at + sizeof(header) <= len; at += sizeof(header)) {
		header.first_seq = 2;
		header.size = len - at - (len - at) % 8;
		memcpy(data + at, &header, sizeof(header));
	}
	memset(data + used, 0, 8);
	t_write_file(lr_segment(rig, 1, ".log"), data, len);
	begun = t_now_ns();
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_true(t_now_ns() - begun < UINT64_C(20000000000));
	free(data);
}

/*
 * ---- The machine went down ----
 */

static void other_boot_with_all_batches(void **state)
{
	struct logrig *rig = *state;
	uint64_t last, epoch;

	lr_open(rig);
	lr_append(rig, 5);
	last = rig->log.next - 1;
	lr_drop(rig);
	lr_left(rig, "open", true);
	lr_open(rig);
	assert_int_equal(rig->seen, last);
	assert_true(rig->report.new_epoch);
	assert_int_not_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(rig->log.epoch_first, last + 1);
	epoch = rig->log.epoch;
	t_ok(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, last, epoch));
	t_is(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, last + 1, epoch),
	     RT_E_EPOCH);
}

static void synced_before_visible_needs_no_new_epoch(void **state)
{
	struct logrig *rig = *state;

	rig->config.mode = RT_LOG_DISK;
	lr_open(rig);
	lr_append(rig, 5);
	lr_drop(rig);
	lr_left(rig, "synced", true);
	lr_open(rig);
	assert_false(rig->report.new_epoch);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
}

/* What was lost was lost in the mode of then, not in that of now. */
static void the_mode_may_have_been_changed_since(void **state)
{
	struct logrig *rig = *state;
	char *text;
	size_t len;

	rig->config.mode = RT_LOG_DISK;
	lr_open(rig);
	text = t_read_file(t_path(rig->path, "state"), &len);
	assert_int_equal(strncmp(text, "synced ", 7), 0);
	free(text);
	lr_drop(rig);
	rig->config.mode = RT_LOG_OS;
	lr_open(rig);
	text = t_read_file(t_path(rig->path, "state"), &len);
	assert_int_equal(strncmp(text, "open ", 5), 0);
	free(text);
	lr_append(rig, 2);
	lr_drop(rig);
	lr_left(rig, "open", true);
	rig->config.mode = RT_LOG_DISK;
	lr_open(rig);
	assert_true(rig->report.new_epoch);
}

static void zero_batch(struct logrig *rig, const struct ends *ends, unsigned i)
{
	size_t len, from = ends->offset[i - 1];
	char *data = t_read_file(lr_segment(rig, 1, ".log"), &len);

	memset(data + from, 0, ends->offset[i] - from);
	t_write_file(lr_segment(rig, 1, ".log"), data, len);
	free(data);
}

/* Not synced, and the disk took a later one first. */
static void a_hole_after_the_last_sync_is_cut(void **state)
{
	struct logrig *rig = *state;
	struct ends ends;

	lr_open(rig);
	ends = append_noting(rig, 6);
	lr_drop(rig);
	zero_batch(rig, &ends, 3);
	t_is(lr_try(rig), RT_E_CORRUPT); /* in this boot it was not that */
	lr_left(rig, "open", true);
	lr_open(rig);
	assert_int_equal(rig->seen, ends.seq[2]);
	assert_true(rig->report.cut_bytes > 0);
	assert_true(rig->report.new_epoch);
	t_ok(lr_try_append(rig, 3)); /* what was cut does not come to life */
	lr_drop(rig);
	lr_open(rig);
	assert_true(rig->seen > ends.seq[2]);
}

static void a_hole_before_the_last_sync_is_damage(void **state)
{
	struct logrig *rig = *state;
	struct ends ends;

	lr_open(rig);
	ends = append_noting(rig, 4);
	t_ok(rt_log_sync(&rig->log, &rig->fault));
	t_ok(lr_try_append(rig, 1));
	lr_drop(rig);
	zero_batch(rig, &ends, 2);
	lr_left(rig, "open", true);
	t_is(lr_try(rig), RT_E_CORRUPT);
}

static void a_stillborn_segment_is_removed(void **state)
{
	struct logrig *rig = *state;
	static const char zeros[8192];
	char path[300];
	uint64_t next;

	lr_open(rig);
	lr_append(rig, 5);
	next = rig->log.next;
	lr_drop(rig);
	(void)snprintf(path, sizeof(path), "%s", lr_segment(rig, next, ".log"));
	t_write_file(path, zeros, sizeof(zeros));
	t_is(lr_try(rig), RT_E_CORRUPT);
	lr_left(rig, "open", true);
	lr_open(rig);
	assert_int_equal(rig->log.next, next);
	assert_int_equal(access(path, F_OK), -1);
	t_ok(lr_try_append(rig, 1));
	lr_close(rig);
	lr_open(rig);
}

/*
 * ---- Repair ----
 */

static void repair_cuts_and_begins_an_epoch(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);
	uint64_t cut = s.first_seqs[2] - 1, epoch;

	t_ok(rt_log_repair(rig->path, cut, &rig->fault));
	lr_open(rig);
	epoch = rig->log.epoch;
	assert_int_equal(rig->seen, cut);
	assert_true(rig->report.new_epoch);
	assert_int_not_equal(epoch, LR_EPOCH);
	t_ok(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, cut, epoch));
	t_is(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, cut + 1, epoch),
	     RT_E_EPOCH);
	lr_append(rig, 30);
	lr_close(rig);
	lr_open(rig);
	assert_int_equal(rig->log.epoch, epoch);
	rt_segments_fini(&s);
}

static void repair_in_the_middle_of_a_segment(void **state)
{
	struct logrig *rig = *state;
	struct ends ends;
	size_t used;
	char *data;

	lr_open(rig);
	ends = append_noting(rig, 9);
	data = used_part(rig, &used);
	lr_close(rig);
	data[ends.offset[5] + 60] ^= 4;
	t_write_file(lr_segment(rig, 1, ".log"), data, used);
	free(data);
	t_is(lr_try(rig), RT_E_CORRUPT);
	t_is(rt_log_repair(rig->path, ends.seq[5] - 1, &rig->fault), -EINVAL);
	t_is(rt_log_repair(rig->path, ends.seq[5] + 9, &rig->fault), RT_E_CORRUPT);
	t_is(lr_try(rig), RT_E_CORRUPT); /* neither changed anything */
	t_ok(rt_log_repair(rig->path, ends.seq[5], &rig->fault));
	lr_open(rig);
	assert_int_equal(rig->seen, ends.seq[5]);
	assert_int_equal(rig->report.cut_bytes, 0);
}

/* Damage in the very first batch: the remedy that was named works. */
static void repair_that_leaves_nothing(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = some_segments(rig);
	uint64_t first = s.first_seqs[1];

	assert_int_equal(unlink(lr_segment(rig, s.first_seqs[0], ".log")), 0);
	t_ok(rt_log_repair(rig->path, first - 1, &rig->fault));
	lr_open(rig);
	assert_int_equal(rig->seen, 0);
	assert_int_equal(rig->log.next, first); /* seqs go on */
	assert_true(rig->report.new_epoch);
	lr_append(rig, 1);
	lr_close(rig);
	t_write_file(lr_segment(rig, first, ".log"), "x", 1);
	t_ok(rt_log_repair(rig->path, first - 1, &rig->fault));
	lr_open(rig);
	assert_true(rig->report.created);
	rt_segments_fini(&s);
}

static void files_have_the_mode_that_was_asked_for(void **state)
{
	struct logrig *rig = *state;
	mode_t mask = umask(077);
	struct stat st;

	lr_open(rig);
	lr_append(rig, 1);
	(void)umask(mask);
	assert_int_equal(stat(lr_segment(rig, 1, ".log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(lr_segment(rig, 1, ".idx"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(t_path(rig->path, "epochs"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_log_begins_as_it_was_asked_to),
		T(an_empty_one_is_opened_again),
		T(every_prefix_recovers_to_its_whole_batches),
		T(every_prefix_in_an_allocated_segment),
		T(a_header_that_is_cut_is_damage),
		T(every_flipped_bit_is_found),
		T(damage_is_named_with_place_and_remedy),
		T(verify_tells_what_recovery_would_cut),
		T(a_missing_segment_is_a_hole),
		T(the_oldest_may_be_missing),
		T(an_empty_segment_is_damage),
		T(a_renamed_segment_is_damage),
		T(a_segment_of_another_feed_is_damage),
		T(other_versions_are_refused),
		T(what_is_no_file_is_an_error),
		T(a_huge_length_is_not_believed),
		T(a_valid_batch_that_lies_is_damage),
		T(nested_headers_do_not_take_for_ever),
		T(other_boot_with_all_batches),
		T(synced_before_visible_needs_no_new_epoch),
		T(the_mode_may_have_been_changed_since),
		T(a_hole_after_the_last_sync_is_cut),
		T(a_hole_before_the_last_sync_is_damage),
		T(a_stillborn_segment_is_removed),
		T(repair_cuts_and_begins_an_epoch),
		T(repair_in_the_middle_of_a_segment),
		T(repair_that_leaves_nothing),
		T(files_have_the_mode_that_was_asked_for),
	};

	return cmocka_run_group_tests_name("log_open", tests, NULL, NULL);
}
