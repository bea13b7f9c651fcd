/* SPDX-License-Identifier: MIT */
/*
 * test_log_check.c - what a snapshot stands for: looked at all the same, and let go of
 */
#include "tests/unit/logrig.h"

#include <xxhash.h>

#include "store/build.h"

#define N_SEGMENTS 6u
#define SEGMENT    (UINT64_C(256) << 10) /* has entries in its index */

static int on_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	(void)arg;
	(void)seq;
	(void)n_entries;
	return 0;
}

static int on_state(void *arg, const struct rt_state *state)
{
	(void)arg;
	(void)state;
	return 0;
}

static struct rt_log_base callbacks = { on_begin, on_state, NULL, 0 };

static const char *snapshot_path(const struct logrig *rig, uint64_t seq)
{
	char name[32];

	rt_snapshot_name(seq, name);
	return t_path(rig->path, name);
}

static void spoil(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Segments with a snapshot behind the begin of the last; their first seqs. */
static struct rt_segments fill(struct logrig *rig)
{
	struct rt_segments s = { 0 };

	rig->config.segment_size = SEGMENT;
	lr_open(rig);
	while (s.n < N_SEGMENTS) {
		rt_segments_fini(&s);
		lr_append(rig, 100);
		s = lr_segments(rig);
	}
	lr_append(rig, 5);
	lr_snapshot(rig, lr_txn_first(s.first_seqs[N_SEGMENTS - 1] + 20) - 1, LR_EPOCH);
	lr_append(rig, 5);
	lr_close(rig);
	callbacks.check_bytes = 0;
	rig->config.base = &callbacks;
	return s;
}

static bool says(const struct logrig *rig, const char *text)
{
	if (strstr(rig->fault.text, text))
		return true;
	print_error("no '%s' in: %s\n", text, rig->fault.text);
	return false;
}

/* The open fails for segment @at, and says what to drop. */
static void is_refused(struct logrig *rig, const struct rt_segments *s, size_t at)
{
	char text[64];

	t_is(lr_try(rig), RT_E_CORRUPT);
	rt_segment_name(s->first_seqs[at], ".log", text);
	assert_true(says(rig, text));
	(void)snprintf(text, sizeof(text), "--drop-before=%llu'",
		       (unsigned long long)s->first_seqs[at + 1]);
	assert_true(says(rig, text));
}

static void every_byte_is_read_if_there_is_time(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);

	callbacks.check_bytes = UINT64_MAX;
	t_ok(lr_try(rig));
	assert_int_equal(rig->log.unchecked.below, 0);
	lr_close(rig);
	for (size_t i = 0; i + 1 < s.n; i++) {
		const char *path = lr_segment(rig, s.first_seqs[i], ".log");
		off_t size = size_of(path);

		for (off_t at = RT_LOG_START; at < size; at += size / 7) {
			spoil(path, at);
			is_refused(rig, &s, i);
			assert_true(says(rig, "damaged at byte "));
			spoil(path, at);
		}
	}
	t_ok(lr_try(rig));
	rt_segments_fini(&s);
}

static void the_newest_damage_is_the_one_that_is_told(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);

	callbacks.check_bytes = UINT64_MAX;
	spoil(lr_segment(rig, s.first_seqs[0], ".log"), RT_LOG_START + 500);
	spoil(lr_segment(rig, s.first_seqs[3], ".log"), RT_LOG_START + 500);
	spoil(lr_segment(rig, s.first_seqs[2], ".log"), 8); /* its header */
	is_refused(rig, &s, 3);
	rt_segments_fini(&s);
}

static void the_limit_leaves_the_oldest(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	struct rt_log_check check;

	callbacks.check_bytes =
		(uint64_t)size_of(lr_segment(rig, s.first_seqs[4], ".log")) +
		(uint64_t)size_of(lr_segment(rig, s.first_seqs[3], ".log"));
	spoil(lr_segment(rig, s.first_seqs[3], ".log"), RT_LOG_START + 50);
	is_refused(rig, &s, 3);
	spoil(lr_segment(rig, s.first_seqs[3], ".log"), RT_LOG_START + 50);
	spoil(lr_segment(rig, s.first_seqs[2], ".log"), RT_LOG_START + 50);
	t_ok(lr_try(rig));
	check = rig->log.unchecked;
	assert_int_equal(check.below, s.first_seqs[3]);
	t_is(rt_log_check_on(rig->path, &check, UINT64_MAX, NULL, &rig->fault),
	     RT_E_CORRUPT);
	assert_true(says(rig, "damaged at byte 4096"));
	assert_int_equal(check.whole_from, s.first_seqs[3]);
	assert_int_equal(check.below, s.first_seqs[2]);
	t_is(rt_log_check_on(rig->path, &check, UINT64_MAX, NULL, &rig->fault), 0);
	assert_int_equal(check.below, 0);
	rt_segments_fini(&s);
}

/* Of one that is larger than what may be read. */
static void the_newest_bytes_of_a_segment_are_read(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	const size_t newest = N_SEGMENTS - 2;
	char path[300];
	off_t size;

	(void)snprintf(path, sizeof(path), "%s",
		       lr_segment(rig, s.first_seqs[newest], ".log"));
	size = size_of(path);
	callbacks.check_bytes = (uint64_t)size / 2;
	spoil(path, size * 6 / 10);
	is_refused(rig, &s, newest);
	assert_true(says(rig, "damaged at byte "));
	spoil(path, size * 6 / 10);

	spoil(path, RT_LOG_START + 50);
	t_ok(lr_try(rig));
	assert_int_equal(rig->log.unchecked.n_read, size / 2);
	assert_int_equal(rig->log.unchecked.below, s.first_seqs[newest + 1]);
	lr_close(rig);
	callbacks.check_bytes = (uint64_t)size;
	is_refused(rig, &s, newest);
	rt_segments_fini(&s);
}

/* The header of a batch that is none. */
static const struct rt_log_batch fake = {
	.magic = RT_LOG_BATCH_MAGIC,
	.n_txns = 1,
	.size = 4096,
	.first_seq = 5,
	.n_events = 1,
	.time_ns = 7,
};

/* In values, one of which is where a batch could be: at which byte of the segment. */
static uint64_t append_fake(struct logrig *rig)
{
	const char *path = lr_segment(rig, 1, ".log");
	uint64_t found = 0;
	char *bytes;
	size_t len;

	rt_batch_reset(&rig->batch, rig->log.next);
	t_ok(rt_batch_begin(&rig->batch));
	for (size_t i = 0; i < 10; i++) /* and the plan goes on behind it */
		t_ok(rt_batch_add(&rig->batch, RT_OP_PUT, 0, "longkeys",
				  1 + i % RT_WORD, &fake, sizeof(fake)));
	rt_batch_end(&rig->batch, LR_TIME);
	t_ok(rt_log_append(&rig->log, &rig->batch, &rig->fault));
	bytes = t_read_file(path, &len);
	for (uint64_t at = RT_LOG_START; at + sizeof(fake) <= len; at += RT_WORD)
		if (!memcmp(bytes + at, &fake, sizeof(fake)))
			found = at;
	free(bytes);
	assert_int_not_equal(found, 0);
	return found;
}

static void an_index_that_lies_is_no_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_index lie = { .seq = fake.first_seq, .time_ns = fake.time_ns };
	const char *index;

	lr_open(rig);
	lie.offset = append_fake(rig);
	while (rig->log.segment_first == 1)
		lr_append(rig, 1);
	lr_append(rig, 2);
	lr_snapshot(rig, rig->log.next - 1, LR_EPOCH);
	lr_close(rig);
	index = lr_segment(rig, 1, ".idx");
	t_write_file(index, &lie, sizeof(lie));
	rig->config.base = &callbacks;
	callbacks.check_bytes = 1000;
	t_ok(lr_try(rig));
	assert_int_equal(rig->log.unchecked.n_read, 1000);
}

static void a_check_goes_on_where_it_was(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	struct rt_log_check check, was;
	_Atomic bool cancel = true;
	unsigned n = 0;
	int r;

	t_ok(lr_try(rig));
	check = rig->log.unchecked;
	assert_int_equal(check.below, s.first_seqs[N_SEGMENTS - 1]);
	was = check;
	t_is(rt_log_check_on(rig->path, &check, 1, &cancel, &rig->fault), -ECANCELED);
	assert_memory_equal(&check, &was, sizeof(check));
	cancel = false;
	while ((r = rt_log_check_on(rig->path, &check, 10000, &cancel, &rig->fault)) ==
	       1)
		n++;
	t_is(r, 0);
	assert_in_range(n, (N_SEGMENTS - 1) * SEGMENT / 20000,
			(N_SEGMENTS - 1) * SEGMENT / 5000);

	/* Two of them are damaged, in the middle; each is found, once. */
	spoil(lr_segment(rig, s.first_seqs[1], ".log"), SEGMENT / 2);
	spoil(lr_segment(rig, s.first_seqs[2], ".log"), SEGMENT / 2);
	check = was;
	n = 0;
	while ((r = rt_log_check_on(rig->path, &check, 10000, &cancel, &rig->fault)))
		if (r < 0)
			assert_int_equal(check.whole_from, s.first_seqs[3 - n++]);
	assert_int_equal(n, 2);
	rt_segments_fini(&s);
}

static void what_is_removed_meanwhile_is_no_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	struct rt_log_check check;

	t_ok(lr_try(rig));
	check = rig->log.unchecked;
	t_is(rt_log_check_on(rig->path, &check, SEGMENT * 3 / 2, NULL, &rig->fault), 1);
	assert_int_not_equal(check.next, 0);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[2]), 2);
	t_is(rt_log_check_on(rig->path, &check, 1, NULL, &rig->fault), 1);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[5]), 3);
	t_is(rt_log_check_on(rig->path, &check, UINT64_MAX, NULL, &rig->fault), 0);
	rt_segments_fini(&s);
}

/* The header of a segment says something else, with a checksum that is right. */
static void forge(struct logrig *rig, uint64_t first_seq, const char *name,
		  uint64_t epoch)
{
	struct rt_log_header header;
	int fd = open(lr_segment(rig, first_seq, ".log"), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	(void)snprintf(header.name, sizeof(header.name), "%s", name);
	header.epoch = epoch;
	header.check =
		XXH64(&header, offsetof(struct rt_log_header, check), RT_LOG_MAGIC);
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	(void)close(fd);
}

static void without_time_it_is_there_and_goes_on(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	char path[300], away[310];
	off_t size;

	t_ok(lr_try(rig));
	lr_close(rig);
	for (size_t i = 1; i + 1 < s.n; i++) {
		(void)snprintf(path, sizeof(path), "%s",
			       lr_segment(rig, s.first_seqs[i], ".log"));
		(void)snprintf(away, sizeof(away), "%s.away", path);
		assert_int_equal(rename(path, away), 0);
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_true(says(rig, "the next segment begins with seq "));
		assert_int_equal(rename(away, path), 0);

		forge(rig, s.first_seqs[i], "other", LR_EPOCH);
		is_refused(rig, &s, i);
		assert_true(says(rig, "is of feed 'other'"));
		forge(rig, s.first_seqs[i], "unit", LR_EPOCH + 1);
		is_refused(rig, &s, i);
		assert_true(says(rig, "epoch"));
		forge(rig, s.first_seqs[i], "unit", LR_EPOCH);
	}
	(void)snprintf(path, sizeof(path), "%s",
		       lr_segment(rig, s.first_seqs[2], ".log"));
	size = size_of(path);
	assert_int_equal(truncate(path, size - 8), 0);
	is_refused(rig, &s, 2);
	assert_int_equal(truncate(path, size / 2), 0);
	is_refused(rig, &s, 2);
	assert_int_equal(truncate(path, 100), 0);
	is_refused(rig, &s, 2);
	rt_segments_fini(&s);
}

/* The index is a hint: what lies is not believed, and none is as good. */
static void without_an_index_it_takes_longer(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	const char *path = lr_segment(rig, s.first_seqs[1], ".idx");

	assert_int_equal(unlink(path), 0);
	t_ok(lr_try(rig));
	lr_close(rig);
	spoil(lr_segment(rig, s.first_seqs[2], ".idx"),
	      size_of(lr_segment(rig, s.first_seqs[2], ".idx")) - 8);
	t_ok(lr_try(rig));
	rt_segments_fini(&s);
}

/* An epoch that ended before anything happened leaves a segment that is of it. */
static void an_epoch_without_events_is_none(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	uint64_t first;

	rt_segments_fini(&s);
	t_ok(lr_try(rig));
	t_ok(rt_log_new_epoch(&rig->log, 7, &rig->fault));
	t_ok(rt_log_roll(&rig->log, &rig->fault));
	first = rig->log.next;
	t_ok(rt_log_new_epoch(&rig->log, 8, &rig->fault));
	lr_append(rig, 1500);
	lr_snapshot(rig, rig->log.next - 1, LR_EPOCH);
	lr_close(rig);
	callbacks.check_bytes = UINT64_MAX;
	t_ok(lr_try(rig));
	lr_close(rig);
	/* But the one of before may well have one. */
	forge(rig, first, "unit", LR_EPOCH);
	t_ok(lr_try(rig));
	lr_close(rig);
	/* And what began before any that is known is of any. */
	t_write_file(t_path(rig->path, "epochs"), "", 0);
	t_ok(lr_try(rig));
}

/*
 * ---- Repair ----
 */

static void what_is_damaged_below_can_be_dropped(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	struct rt_log_reader reader;
	struct rt_segments left;
	bool wrong = false;
	uint64_t last;

	callbacks.check_bytes = UINT64_MAX;
	spoil(lr_segment(rig, s.first_seqs[2], ".log"), RT_LOG_START + 50);
	is_refused(rig, &s, 2);
	lr_snapshot(rig, s.first_seqs[2], LR_EPOCH); /* one that is of no use then */
	t_ok(rt_log_drop_before(rig->path, s.first_seqs[3], &rig->fault));
	left = lr_segments(rig);
	assert_int_equal(left.n, 3);
	assert_int_equal(left.first_seqs[0], s.first_seqs[3]);
	assert_int_equal(access(lr_segment(rig, s.first_seqs[2], ".idx"), F_OK), -1);
	assert_int_equal(access(snapshot_path(rig, s.first_seqs[2]), F_OK), -1);
	t_ok(lr_try(rig));
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(rt_log_oldest(&rig->log), s.first_seqs[3]);
	last = rig->log.next - 1;
	t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
	t_is(rt_log_reader_seek(&reader, s.first_seqs[3] - 1, &rig->fault),
	     RT_E_COMPACTED);
	t_ok(rt_log_reader_seek(&reader, s.first_seqs[3], &rig->fault));
	assert_int_equal(lr_read_all(&reader, s.first_seqs[3], last, &wrong), last);
	assert_false(wrong);
	rt_log_reader_close(&reader);
	lr_append(rig, 1);
	rt_segments_fini(&left);
	rt_segments_fini(&s);
}

/*
 * A log of one segment, with an index or one that is too short for that; a snapshot in
 * its middle, and damage at @at.  Its seqs: of the snapshot, and the one to come.
 */
static void one_segment(struct logrig *rig, unsigned n, off_t at, uint64_t *ret_seq,
			uint64_t *ret_next)
{
	rig->config.segment_size = SEGMENT;
	rig->config.base = &callbacks;
	lr_open(rig);
	lr_append(rig, n);
	*ret_seq = rig->log.next - 1;
	lr_snapshot(rig, *ret_seq, LR_EPOCH);
	lr_append(rig, n);
	*ret_next = rig->log.next;
	lr_close(rig);
	spoil(lr_segment(rig, 1, ".log"), at);
}

static uint64_t told_before(const struct logrig *rig)
{
	const char *at = strstr(rig->fault.text, "--drop-before=");

	return at ? strtoull(at + strlen("--drop-before="), NULL, 10) : 0;
}

static void damage_below_it_in_its_own_segment_can_be_dropped(void **state)
{
	struct logrig *rig = *state;
	static const unsigned sizes[] = { 20, 200 };
	uint64_t seq, next, from, told;

	for (size_t i = 0; i < T_N(sizes); i++) {
		struct rt_log_reader reader;
		bool wrong = false;

		one_segment(rig, sizes[i], RT_LOG_START + 700, &seq, &next);
		t_is(lr_try(rig), RT_E_CORRUPT);
		from = told_before(rig);
		assert_in_range(from, 2, seq / 2);
		t_ok(rt_log_find_before(rig->path, &rig->fault, &told));
		assert_int_equal(told, from);
		assert_true(says(rig, "damaged at byte "));
		t_ok(rt_log_drop_before(rig->path, from, &rig->fault));
		t_ok(rt_log_find_before(rig->path, &rig->fault, &told));
		assert_int_equal(told, 0);
		t_ok(lr_try(rig));
		assert_false(rig->wrong);
		assert_int_equal(rig->first, seq + 1);
		assert_int_equal(rig->seen, next - 1);
		assert_int_equal(rig->log.next, next);
		assert_int_equal(rig->log.epoch, LR_EPOCH);
		assert_int_equal(rt_log_oldest(&rig->log), from);
		lr_append(rig, 3);
		t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
		t_ok(rt_log_reader_seek(&reader, from, &rig->fault));
		next = rig->log.next;
		assert_int_equal(lr_read_all(&reader, from, next - 1, &wrong),
				 next - 1);
		assert_false(wrong);
		rt_log_reader_close(&reader);
		lr_close(rig);
		t_ok(lr_try(rig));
		lr_drop(rig);
		t_dir_drop(rig->dir);
		rig->dir = t_dir_new();
		(void)snprintf(rig->path, sizeof(rig->path), "%s/log", rig->dir);
		rig->config.base = NULL;
	}
}

/* The least that goes is what is before the newest of the damage. */
static void two_damages_in_its_own_segment(void **state)
{
	struct logrig *rig = *state;
	uint64_t seq, next, first;

	one_segment(rig, 200, RT_LOG_START + 700, &seq, &next);
	t_is(lr_try(rig), RT_E_CORRUPT);
	first = told_before(rig);
	spoil(lr_segment(rig, 1, ".log"), RT_LOG_START + 20000);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_in_range(told_before(rig), first + 1, seq);
	t_is(rt_log_drop_before(rig->path, seq + 2, &rig->fault), RT_E_NO_SNAPSHOT);
	t_ok(rt_log_drop_before(rig->path, seq + 1,
				&rig->fault)); /* more than needed */
	t_ok(lr_try(rig));
	assert_int_equal(rig->seen, next - 1);
	assert_int_equal(rt_log_oldest(&rig->log), seq + 1);
}

/* Where the batch that begins with @seq is in the first segment. */
static off_t offset_of(const struct logrig *rig, uint64_t seq)
{
	size_t len, at = RT_LOG_START;
	char *bytes = t_read_file(lr_segment(rig, 1, ".log"), &len);
	struct rt_log_batch header;

	do {
		assert_true(at + sizeof(header) <= len);
		memcpy(&header, bytes + at, sizeof(header));
		at += RT_WORD;
	} while (header.magic != RT_LOG_BATCH_MAGIC || header.first_seq != seq);
	free(bytes);
	return (off_t)(at - RT_WORD);
}

/* A header that looks well is no batch: what is kept begins with a whole one. */
static void what_is_damaged_itself_is_not_kept(void **state)
{
	struct logrig *rig = *state;
	uint64_t seq, next, first, second, told;

	one_segment(rig, 20, RT_LOG_START + 700, &seq, &next);
	t_is(lr_try(rig), RT_E_CORRUPT);
	first = told_before(rig);
	spoil(lr_segment(rig, 1, ".log"),
	      offset_of(rig, first) + (off_t)sizeof(struct rt_log_batch) + 24);
	t_is(lr_try(rig), RT_E_CORRUPT);
	second = told_before(rig);
	assert_in_range(second, first + 1, seq);
	t_is(rt_log_drop_before(rig->path, first, &rig->fault), -EINVAL);
	assert_true(says(rig, "cannot be read"));
	t_ok(rt_log_find_before(rig->path, &rig->fault, &told));
	assert_int_equal(told, second);
	t_ok(rt_log_drop_before(rig->path, second, &rig->fault));
	t_ok(lr_try(rig));
	assert_int_equal(rig->seen, next - 1);
}

static void what_no_snapshot_has_is_dropped_from_the_other_end(void **state)
{
	struct logrig *rig = *state;
	uint64_t seq, next;
	off_t size;

	one_segment(rig, 200, RT_LOG_START + 700, &seq, &next);
	spoil(lr_segment(rig, 1, ".log"), RT_LOG_START + 700);
	t_ok(lr_try(rig));
	size = (off_t)rig->log.offset;
	lr_close(rig);
	spoil(lr_segment(rig, 1, ".log"), size * 3 / 4);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_true(says(rig, "--drop-after"));
	spoil(lr_segment(rig, 1, ".log"), size * 3 / 4);
	/* Or if the snapshot is no good. */
	spoil(lr_segment(rig, 1, ".log"), RT_LOG_START + 700);
	spoil(snapshot_path(rig, seq), RT_SNAP_START + 70);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_true(says(rig, "--drop-after"));
}

static void harm(struct logrig *rig, struct t_random *random, uint64_t first_seq)
{
	char path[300];
	uint8_t junk[3000];
	off_t size, at;
	size_t len = 1 + t_random_below(random, sizeof(junk));
	int fd;

	(void)snprintf(path, sizeof(path), "%s", lr_segment(rig, first_seq, ".log"));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) /* removed already */
		return;
	size = size_of(path);
	at = (off_t)t_random_below(random, (uint64_t)size + 1);
	for (size_t i = 0; i < len; i++)
		junk[i] = (uint8_t)t_random64(random);
	switch (t_random_below(random, 5)) {
	case 0:
		assert_int_equal(unlink(path), 0);
		break;
	case 1:
		assert_int_equal(ftruncate(fd, at), 0);
		break;
	case 2:
		memset(junk, 0, sizeof(junk));
		assert_int_equal(pwrite(fd, junk, len, at), len);
		break;
	case 3: /* one batch, or more, once again */
		len = (size_t)pread(fd, junk, len, at);
		at = (off_t)t_random_below(random, (uint64_t)size + 1);
		assert_int_equal(pwrite(fd, junk, len, at), len);
		break;
	default:
		assert_int_equal(pwrite(fd, junk, len, at), len);
		break;
	}
	(void)close(fd);
}

/* Whatever happens to what a snapshot stands for: as long as it says what helps, it is
 * done, and at last nothing newer is lost. */
static void what_is_advised_helps(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	struct t_random random = { t_now_ns() };
	uint64_t last = lr_txn_first(s.first_seqs[N_SEGMENTS - 1] + 20), next;
	char copy[300];

	printf("# seed %llu\n", (unsigned long long)random.state);
	(void)snprintf(copy, sizeof(copy), "%s/copy", rig->dir);
	assert_int_equal(t_sh(NULL, "cp -r %s %s", rig->path, copy), 0);
	t_ok(lr_try(rig));
	next = rig->log.next;
	lr_close(rig);
	callbacks.check_bytes = UINT64_MAX;
	for (unsigned round = 0; round < 60; round++) {
		int r;

		assert_int_equal(t_sh(NULL, "rm -r %s && cp -r %s %s", rig->path, copy,
				      rig->path),
				 0);
		for (uint64_t n = 1 + t_random_below(&random, 4); n--;)
			harm(rig, &random,
			     s.first_seqs[t_random_below(&random, N_SEGMENTS - 1)]);
		for (unsigned n = 0; (r = lr_try(rig)) < 0 && n < 2; n++) {
			uint64_t told = told_before(rig);

			if (!told)
				fail_msg("round %u: no advice: %s", round,
					 rig->fault.text);
			t_ok(rt_log_drop_before(rig->path, told, &rig->fault));
		}
		if (r < 0)
			fail_msg("round %u: no help: %s", round, rig->fault.text);
		assert_int_equal(rig->log.next, next);
		assert_int_equal(rig->first, last);
		assert_int_equal(rig->log.epoch, LR_EPOCH);
		lr_close(rig);
	}
	rt_segments_fini(&s);
}

/* Nothing is changed by a refusal. */
static void refuses(struct logrig *rig, uint64_t seq, int error, const char *text)
{
	struct rt_segments before = lr_segments(rig), after;

	rig->fault.text[0] = 0;
	t_is(rt_log_drop_before(rig->path, seq, &rig->fault), error);
	assert_true(says(rig, text));
	after = lr_segments(rig);
	assert_int_equal(before.n, after.n);
	assert_int_equal(access(t_path(rig->path, "floor"), F_OK), -1);
	rt_segments_fini(&before);
	rt_segments_fini(&after);
}

static void the_state_is_never_dropped(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s = fill(rig);
	uint64_t seq = lr_txn_first(s.first_seqs[N_SEGMENTS - 1] + 20) - 1, within;
	char text[64];

	t_ok(lr_try(rig));
	refuses(rig, s.first_seqs[2], RT_E_BUSY, "somebody is writing it");
	lr_close(rig);
	within = s.first_seqs[2] + 1;
	while (lr_txn_first(within) == within)
		within++;
	(void)snprintf(text, sizeof(text), "begins with seq %llu",
		       (unsigned long long)s.first_seqs[2]);
	refuses(rig, within, -EINVAL, text);
	(void)snprintf(text, sizeof(text), "its newest good snapshot is of seq %llu",
		       (unsigned long long)seq);
	refuses(rig, seq + 2, RT_E_NO_SNAPSHOT, text);
	refuses(rig, UINT64_MAX, RT_E_NO_SNAPSHOT, text);

	/* One that is as of an earlier event works for less. */
	lr_snapshot(rig, s.first_seqs[1] + 5, LR_EPOCH);
	spoil(snapshot_path(rig, seq), RT_SNAP_START + 70); /* in a block */
	(void)snprintf(text, sizeof(text), "its newest good snapshot is of seq %llu",
		       (unsigned long long)s.first_seqs[1] + 5);
	refuses(rig, s.first_seqs[2], RT_E_NO_SNAPSHOT, text);
	/* Of what the log does not have it says nothing. */
	lr_snapshot(rig, seq + 100000, LR_EPOCH);
	refuses(rig, s.first_seqs[2], RT_E_NO_SNAPSHOT, text);
	assert_int_equal(unlink(snapshot_path(rig, seq)), 0);
	assert_int_equal(unlink(snapshot_path(rig, s.first_seqs[1] + 5)), 0);
	refuses(rig, s.first_seqs[1], RT_E_NO_SNAPSHOT, "no snapshot that is good");
	rt_segments_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_byte_is_read_if_there_is_time),
		T(the_newest_damage_is_the_one_that_is_told),
		T(the_limit_leaves_the_oldest),
		T(the_newest_bytes_of_a_segment_are_read),
		T(an_index_that_lies_is_no_damage),
		T(a_check_goes_on_where_it_was),
		T(what_is_removed_meanwhile_is_no_damage),
		T(without_time_it_is_there_and_goes_on),
		T(without_an_index_it_takes_longer),
		T(an_epoch_without_events_is_none),
		T(what_is_damaged_below_can_be_dropped),
		T(damage_below_it_in_its_own_segment_can_be_dropped),
		T(two_damages_in_its_own_segment),
		T(what_is_damaged_itself_is_not_kept),
		T(what_no_snapshot_has_is_dropped_from_the_other_end),
		T(what_is_advised_helps),
		T(the_state_is_never_dropped),
	};

	return cmocka_run_group_tests_name("log_check", tests, NULL, NULL);
}
