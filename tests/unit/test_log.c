/* SPDX-License-Identifier: MIT */
/*
 * test_log.c - store/log.c: append, roll, fail, cut
 */
#include "tests/unit/logrig.h"

#include <sys/stat.h>

/*
 * ---- Faults ----
 */

enum fault_kind {
	WRITE = 0,
	SYNC = 1,
	RESERVE = 2
};

static struct {
	int error[3];    /* of the next calls ... */
	int times[3];    /* ... so many; and then ... */
	int after[3];    /* ... only when so many have been good */
	size_t short_by; /* bytes that a write takes at most; 0: all */
	unsigned calls[3];
} faults;

static int fault_of(enum fault_kind kind)
{
	faults.calls[kind]++;
	if (faults.after[kind]) {
		faults.after[kind]--;
		return 0;
	}
	if (!faults.times[kind])
		return 0;
	faults.times[kind]--;
	errno = faults.error[kind];
	return -1;
}

static void fail_next(enum fault_kind kind, int error, int times, int after)
{
	faults.error[kind] = error;
	faults.times[kind] = times;
	faults.after[kind] = after;
}

static ssize_t faulty_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	if (fault_of(WRITE) < 0)
		return -1;
	if (faults.short_by && len > faults.short_by)
		len = faults.short_by;
	return pwrite(fd, buf, len, at);
}

static int faulty_fdatasync(int fd)
{
	return fault_of(SYNC) < 0 ? -1 : fdatasync(fd);
}

static int faulty_fallocate(int fd, int mode, off_t at, off_t len)
{
	return fault_of(RESERVE) < 0 ? -1 : fallocate(fd, mode, at, len);
}

static const struct rt_log_io faulty_io = {
	.pwrite = faulty_pwrite,
	.fdatasync = faulty_fdatasync,
	.fallocate = faulty_fallocate,
};

static void open_faulty(struct logrig *rig, uint32_t mode)
{
	memset(&faults, 0, sizeof(faults));
	rig->config.io = &faulty_io;
	rig->config.mode = mode;
	lr_open(rig);
}

/* So many segments that things can be removed. */
static void fill(struct logrig *rig, unsigned n_segments)
{
	struct rt_segments s;
	size_t n = 0;

	while (n < n_segments) {
		lr_append(rig, 25);
		s = lr_segments(rig);
		n = s.n;
		rt_segments_fini(&s);
	}
}

/* Closed and opened again: exactly up to @last. */
static void assert_holds(struct logrig *rig, uint64_t last)
{
	memset(&faults, 0, sizeof(faults));
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rig->seen, last);
	assert_int_equal(rig->log.next, last + 1);
}

static void nothing_is_counted_when_a_write_fails(void **state)
{
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EFBIG };
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 3);
	for (unsigned i = 0; i < T_N(errors); i++) {
		uint64_t next = rig->log.next, offset = rig->log.offset;
		uint64_t bytes = rig->log.n_bytes, last_ns = rig->log.last_ns;

		fail_next(WRITE, errors[i], 1, 0);
		t_is(lr_try_append(rig, 5), -errors[i]);
		assert_non_null(strstr(rig->fault.text, "feed 'unit'"));
		assert_non_null(strstr(rig->fault.text, strerror(errors[i])));
		assert_int_equal(rig->log.next, next);
		assert_int_equal(rig->log.offset, offset);
		assert_int_equal(rig->log.n_bytes, bytes);
		assert_int_equal(rig->log.last_ns, last_ns);
		assert_false(rig->log.failed);
		t_ok(lr_try_append(rig, 1));
		assert_true(rig->log.offset > offset);
	}
	assert_holds(rig, rig->log.next - 1);
}

static void short_writes_and_interrupts_are_gone_on_with(void **state)
{
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_DISK);
	faults.short_by = 7;
	lr_append(rig, 5);
	faults.short_by = 0;
	for (unsigned i = 0; i < 3; i++) {
		fail_next(WRITE, EINTR, 3, 0);
		fail_next(SYNC, EINTR, 2, 0);
		t_ok(lr_try_append(rig, 1));
	}
	assert_false(rig->log.failed);
	fail_next(RESERVE, EINTR, 2, 0);
	fill(rig, 2);
	assert_holds(rig, rig->log.next - 1);
}

/* The longer batch got there in part, or whole; the shorter one after it is true. */
static void leftovers_of_a_failed_write_stay_dead(void **state)
{
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 2);
	for (int parts = 0; parts < 12; parts++) {
		faults.short_by = 64;
		fail_next(WRITE, ENOSPC, 2, parts); /* also what should clear it */
		t_is(lr_try_append(rig, 8), -ENOSPC);
		memset(&faults, 0, sizeof(faults));
		t_ok(lr_try_append(rig, 1));
		if (parts % 3 == 0)
			assert_holds(rig, rig->log.next - 1);
	}
	assert_holds(rig, rig->log.next - 1);
}

static ssize_t lying_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t n = pwrite(fd, buf, len, at);

	if (fault_of(WRITE) == 0)
		return n;
	return -1;
}

/* The write is there and its answer was an error: no history either. */
static void a_write_that_failed_is_no_history(void **state)
{
	static const struct rt_log_io lying_io = {
		.pwrite = lying_pwrite,
		.fdatasync = faulty_fdatasync,
		.fallocate = faulty_fallocate,
	};
	struct logrig *rig = *state;
	uint64_t last;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 2);
	last = rig->log.next - 1;
	rig->log.config.io = &lying_io;
	fail_next(WRITE, EIO, 1, 0);
	t_is(lr_try_append(rig, 3), -EIO);
	rig->config.io = NULL;
	assert_holds(rig, last);
}

static void a_failed_sync_is_final(void **state)
{
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_DISK);
	lr_append(rig, 2);
	fail_next(SYNC, EIO, 1, 0);
	t_is(lr_try_append(rig, 1), -EIO);
	assert_true(rig->log.failed);
	faults.calls[SYNC] = faults.calls[WRITE] = 0;
	for (unsigned i = 0; i < 3; i++) {
		t_is(lr_try_append(rig, 1), -EIO);
		assert_non_null(strstr(rig->fault.text, "failed to sync"));
	}
	assert_int_equal(faults.calls[SYNC] + faults.calls[WRITE], 0);
	assert_int_equal(rig->log.next, 7); /* after batches of 1 and 2 transactions */
}

static void a_failed_sync_now_and_then_is_final_too(void **state)
{
	struct logrig *rig = *state;
	char *text;
	size_t len;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 2);
	fail_next(SYNC, EIO, 1, 0);
	t_is(rt_log_sync(&rig->log, &rig->fault), -EIO);
	assert_true(rig->log.failed);
	t_is(lr_try_append(rig, 1), -EIO);
	t_ok(rt_log_close(&rig->log, &rig->fault)); /* and is not called clean */
	text = t_read_file(t_path(rig->path, "state"), &len);
	assert_int_equal(strncmp(text, "open ", 5), 0);
	free(text);
}

static void a_sync_that_fails_while_rolling(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 1);
	while (rig->log.offset + 1000 < rig->log.segment_end)
		t_ok(lr_try_append(rig, 4));
	fail_next(SYNC, EIO, 1, 0);
	t_is(lr_try_append(rig, 40), -EIO);
	assert_true(rig->log.failed);
	s = lr_segments(rig);
	assert_int_equal(s.n, 1);
	rt_segments_fini(&s);
}

/* Written all the same, there would be a hole in history, and damage with it. */
static void cut_takes_no_more(struct logrig *rig, uint32_t mode)
{
	uint64_t next;

	rig->config.mode = mode;
	lr_open(rig);
	lr_append(rig, 3);
	next = rig->log.next;
	assert_int_equal(ftruncate(rig->log.fd, RT_LOG_START), 0);
	t_is(lr_try_append(rig, 1), -EIO);
	assert_non_null(strstr(rig->fault.text, "segment that was cut"));
	assert_true(rig->log.failed);
	assert_int_equal(rig->log.next, next);
}

static void a_segment_that_was_cut_takes_no_more(void **state)
{
	cut_takes_no_more(*state, RT_LOG_OS);
}

static void nor_does_one_that_is_synced(void **state)
{
	cut_takes_no_more(*state, RT_LOG_DISK);
}

/* No room for a segment: later there is, and nothing was left behind. */
static void no_room_for_a_segment(void **state)
{
	static const enum fault_kind kinds[] = { RESERVE, WRITE, SYNC };
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_OS);
	lr_append(rig, 1);
	for (unsigned i = 0; i < T_N(kinds); i++) {
		struct rt_segments before, after;
		uint64_t next;

		while (rig->log.offset + 1000 < rig->log.segment_end)
			t_ok(lr_try_append(rig, 4));
		t_ok(rt_log_sync(&rig->log, &rig->fault));
		next = rig->log.next;
		before = lr_segments(rig);
		fail_next(kinds[i], ENOSPC, 1, 0);
		t_is(lr_try_append(rig, 40), -ENOSPC);
		assert_non_null(strstr(rig->fault.text, "begin a segment"));
		after = lr_segments(rig);
		assert_int_equal(after.n, before.n);
		assert_int_equal(access(t_path(rig->path, ".segment.new"), F_OK), -1);
		assert_int_equal(rig->log.next, next);
		assert_false(rig->log.failed);
		t_ok(lr_try_append(rig, 1)); /* for which there is room in the old */
		t_ok(lr_try_append(rig, 40));
		rt_segments_fini(&before);
		rt_segments_fini(&after);
	}
	assert_holds(rig, rig->log.next - 1);
}

static void a_file_system_that_cannot_reserve(void **state)
{
	struct logrig *rig = *state;

	open_faulty(rig, RT_LOG_OS);
	fail_next(RESERVE, EOPNOTSUPP, 1000, 0);
	lr_append(rig, 500);
	assert_holds(rig, rig->log.next - 1);
}

/*
 * ---- Segments ----
 */

static void segments_are_filled_to_the_byte(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;
	static uint8_t value[65536];
	size_t fixed = sizeof(struct rt_log_batch) + sizeof(struct rt_log_txn) +
		       sizeof(struct rt_log_event) + 8;
	uint64_t room;
	struct stat st;

	lr_open(rig);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned part = 0; part < 2; part++) {
			room = (rig->config.segment_size - RT_LOG_START) / 2;
			rt_batch_reset(&rig->batch, rig->log.next);
			t_ok(rt_batch_begin(&rig->batch));
			t_ok(rt_batch_add(&rig->batch, RT_OP_PUT, 0, "12345678", 8,
					  value, room - fixed));
			rt_batch_end(&rig->batch, 1);
			assert_int_equal(rig->batch.len, room);
			t_ok(rt_log_append(&rig->log, &rig->batch, &rig->fault));
		}
		assert_int_equal(rig->log.offset, rig->log.segment_end);
	}
	s = lr_segments(rig);
	assert_int_equal(s.n, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(s.first_seqs[i], 1 + 2 * i);
		assert_int_equal(stat(lr_segment(rig, 1 + 2 * i, ".log"), &st), 0);
		assert_int_equal(st.st_size, rig->config.segment_size);
	}
	rt_segments_fini(&s);
	assert_int_equal(rig->log.n_bytes, 3 * rig->config.segment_size);
}

static void a_batch_larger_than_a_segment_gets_its_own(void **state)
{
	struct logrig *rig = *state;
	uint64_t first;

	lr_open(rig);
	lr_append(rig, 1);
	first = rig->log.next;
	t_ok(lr_try_append(rig, 4000));
	assert_int_equal(rig->log.segment_first, first);
	assert_true(rig->log.segment_end > rig->config.segment_size);
	t_ok(lr_try_append(rig, 1));
	assert_true(rig->log.segment_first > first);
	assert_holds(rig, rig->log.next - 1);
}

static void a_batch_of_gigabytes_is_refused(void **state)
{
	struct logrig *rig = *state;
	uint64_t offset;
	int fd;

	lr_open(rig);
	t_is(rt_log_place(&rig->log, RT_LOG_BATCH_MAX + 8, &rig->fault, &fd, &offset),
	     -EMSGSIZE);
	t_ok(lr_try_append(rig, 1));
}

static uint64_t bytes_on_disk(struct logrig *rig)
{
	struct rt_segments s = lr_segments(rig);
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i + 1 < s.n; i++) {
		assert_int_equal(stat(lr_segment(rig, s.first_seqs[i], ".log"), &st),
				 0);
		sum += (uint64_t)st.st_size;
	}
	rt_segments_fini(&s);
	return sum + rig->log.offset;
}

static void drop_below_never_takes_what_is_needed(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	lr_open(rig);
	fill(rig, 6);
	s = lr_segments(rig);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	assert_int_equal(rt_log_drop_below(&rig->log, 0), 0);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1] - 1), 0);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1]), 1);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1]), 0);
	assert_int_equal(rig->log.oldest, s.first_seqs[1]);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[3] + 1), 2);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	assert_int_equal(rt_log_drop_below(&rig->log, UINT64_MAX), (int)s.n - 4);
	assert_int_equal(rig->log.oldest, s.first_seqs[s.n - 1]);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	assert_int_equal(access(lr_segment(rig, s.first_seqs[0], ".idx"), F_OK), -1);
	assert_holds(rig, rig->log.next - 1);
	assert_int_equal(rig->first, s.first_seqs[s.n - 1]);
	rt_segments_fini(&s);
}

static void retention_by_bytes(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	lr_open(rig);
	fill(rig, 8);
	s = lr_segments(rig);
	assert_int_equal(rt_log_retain(&rig->log, 0, 0, UINT64_MAX), 0);
	assert_int_equal(rt_log_retain(&rig->log, 1, 0, 1), 0); /* all must stay */
	assert_int_equal(rt_log_retain(&rig->log, 1, 0, s.first_seqs[2] + 1), 2);
	assert_true(rt_log_retain(&rig->log, 200 << 10, 0, UINT64_MAX) > 0);
	assert_true(rig->log.n_bytes <= 200 << 10);
	assert_true(rig->log.n_bytes > (200 - 65) << 10);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	assert_true(rt_log_retain(&rig->log, 1, 0, UINT64_MAX) > 0);
	assert_int_equal(rig->log.oldest, rig->log.segment_first);
	assert_holds(rig, rig->log.next - 1);
	rt_segments_fini(&s);
}

static void retention_by_age(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	lr_open(rig);
	fill(rig, 3);
	t_sleep_ms(300);
	lr_append(rig, 25);
	fill(rig, 6);
	s = lr_segments(rig);
	assert_int_equal(
		rt_log_retain(&rig->log, 0, UINT64_C(100000000000), UINT64_MAX), 0);
	/* The third was still being written a moment ago. */
	assert_int_equal(rt_log_retain(&rig->log, 0, UINT64_C(250000000), UINT64_MAX),
			 2);
	assert_int_equal(rig->log.oldest, s.first_seqs[2]);
	rt_segments_fini(&s);
}

/*
 * ---- Access ----
 */

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Who has a segment open may go on reading it: so nothing new comes into it. */
static void access_changes_for_what_is_there_and_what_comes(void **state)
{
	struct logrig *rig = *state;
	struct stat st;

	lr_open(rig);
	lr_append(rig, 5);
	t_write_file(t_path(rig->path, "00000000000000000005.snap"), "x", 1);
	t_ok(rt_log_set_access(&rig->log, 0604, (uid_t)-1, (gid_t)-1, &rig->fault));
	assert_int_equal(mode_of(lr_segment(rig, 1, ".log")), 0604);
	assert_int_equal(mode_of(lr_segment(rig, 1, ".idx")), 0604);
	assert_int_equal(mode_of(lr_segment(rig, 5, ".snap")), 0604);
	assert_int_equal(mode_of(t_path(rig->path, "epochs")), 0644);
	assert_int_equal(mode_of(t_path(rig->path, "lock")), 0600);
	assert_int_equal(stat(lr_segment(rig, 1, ".log"), &st), 0);
	lr_append(rig, 5);
	assert_int_equal(mode_of(lr_segment(rig, rig->log.segment_first, ".log")),
			 0604);
	{
		off_t size = st.st_size;

		assert_int_equal(stat(lr_segment(rig, 1, ".log"), &st), 0);
		assert_int_equal(st.st_size, size);
	}
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	t_ok(unlink(lr_segment(rig, 5, ".snap")));
	assert_holds(rig, rig->log.next - 1);
}

/* The newest segment is empty: another one takes its place. */
static void access_changes_again_and_again(void **state)
{
	struct logrig *rig = *state;
	uint64_t ino;
	struct stat st;

	lr_open(rig);
	lr_append(rig, 5);
	t_ok(rt_log_set_access(&rig->log, 0604, (uid_t)-1, (gid_t)-1, &rig->fault));
	assert_int_equal(stat(lr_segment(rig, rig->log.segment_first, ".log"), &st), 0);
	ino = st.st_ino;
	t_ok(rt_log_set_access(&rig->log, 0640, (uid_t)-1, (gid_t)-1, &rig->fault));
	assert_int_equal(stat(lr_segment(rig, rig->log.segment_first, ".log"), &st), 0);
	assert_int_not_equal(st.st_ino, ino);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	lr_append(rig, 5);
	assert_int_equal(rig->log.n_bytes, bytes_on_disk(rig));
	assert_holds(rig, rig->log.next - 1);
}

/*
 * ---- Epochs ----
 */

static void epochs_are_good_below_their_end(void **state)
{
	struct logrig *rig = *state;
	uint64_t first, second;

	lr_open(rig);
	lr_append(rig, 3);
	first = rig->log.next;
	t_ok(rt_log_new_epoch(&rig->log, 0xe2, &rig->fault));
	lr_append(rig, 3);
	second = rig->log.next;
	t_ok(rt_log_new_epoch(&rig->log, 0xe3, &rig->fault));
	lr_append(rig, 1);
	for (unsigned round = 0; round < 2; round++) {
		int dir = rig->log.dir_fd;

		t_ok(rt_log_same_history(dir, LR_EPOCH, 0, 0xe3));
		t_ok(rt_log_same_history(dir, LR_EPOCH, first - 1, 0xe3));
		t_is(rt_log_same_history(dir, LR_EPOCH, first, 0xe3), RT_E_EPOCH);
		t_ok(rt_log_same_history(dir, 0xe2, second - 1, 0xe3));
		t_is(rt_log_same_history(dir, 0xe2, second, 0xe3), RT_E_EPOCH);
		t_ok(rt_log_same_history(dir, 0xe3, UINT64_MAX, 0xe3));
		t_is(rt_log_same_history(dir, 0xe4, 1, 0xe3), RT_E_EPOCH);
		t_ok(rt_log_has_epoch(dir, 0xe2));
		t_is(rt_log_has_epoch(dir, 0xe4), RT_E_EPOCH);
		lr_close(rig);
		lr_open(rig);
		assert_int_equal(rig->log.epoch, 0xe3);
		assert_int_equal(rig->log.epoch_first, second);
	}
}

static void an_epoch_in_which_nothing_was_is_forgotten(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 3);
	t_ok(rt_log_new_epoch(&rig->log, 0xe2, &rig->fault));
	t_ok(rt_log_new_epoch(&rig->log, 0xe3, &rig->fault));
	t_is(rt_log_same_history(rig->log.dir_fd, 0xe2, 1, 0xe3), RT_E_EPOCH);
	t_ok(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, 1, 0xe3));
}

/* More than the list has room for: the oldest go. */
static void epochs_without_end(void **state)
{
	struct logrig *rig = *state;
	struct rt_epoch *epochs = calloc(RT_EPOCHS_MAX, sizeof(*epochs));
	size_t n;

	rig->config.first_seq = 100001;
	lr_open(rig);
	for (unsigned i = 0; i < RT_EPOCHS_MAX; i++)
		epochs[i] = (struct rt_epoch){ i + 1, i + 1 };
	t_ok(rt_epochs_write(rig->log.dir_fd, epochs, RT_EPOCHS_MAX));
	free(epochs);
	t_ok(rt_log_new_epoch(&rig->log, 0xeeee, &rig->fault));
	t_ok(rt_epochs_read(rig->log.dir_fd, &epochs, &n));
	assert_int_equal(n, RT_EPOCHS_MAX);
	assert_int_equal(epochs[0].epoch, 2);
	assert_int_equal(epochs[n - 1].epoch, 0xeeee);
	assert_int_equal(epochs[n - 1].first_seq, 100001);
	free(epochs);
}

/*
 * ---- The two text files ----
 */

static void epochs_that_make_no_sense_are_damage(void **state)
{
	static const char *const texts[] = {
		"zz\n",       "1\n",        "1 2 3\n", "0 1\n",
		"1 5\n2 5\n", "1 5\n2 4\n", "-- 1\n",  "1 1\nx",
	};
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 1);
	lr_close(rig);
	for (unsigned i = 0; i < T_N(texts); i++) {
		t_write_file(t_path(rig->path, "epochs"), texts[i], strlen(texts[i]));
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "/epochs"));
	}
	assert_int_equal(unlink(t_path(rig->path, "epochs")), 0);
	lr_open(rig);
	assert_true(rig->report.new_epoch);
}

static void a_state_that_makes_no_sense_is_damage(void **state)
{
	static const char *const texts[] = { "", "open", "maybe x\n", "\n\n" };
	struct logrig *rig = *state;

	lr_open(rig);
	lr_close(rig);
	for (unsigned i = 0; i < T_N(texts); i++) {
		t_write_file(t_path(rig->path, "state"), texts[i], strlen(texts[i]));
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "/state"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_counted_when_a_write_fails),
		T(short_writes_and_interrupts_are_gone_on_with),
		T(leftovers_of_a_failed_write_stay_dead),
		T(a_write_that_failed_is_no_history),
		T(a_failed_sync_is_final),
		T(a_failed_sync_now_and_then_is_final_too),
		T(a_sync_that_fails_while_rolling),
		T(a_segment_that_was_cut_takes_no_more),
		T(nor_does_one_that_is_synced),
		T(no_room_for_a_segment),
		T(a_file_system_that_cannot_reserve),
		T(segments_are_filled_to_the_byte),
		T(a_batch_larger_than_a_segment_gets_its_own),
		T(a_batch_of_gigabytes_is_refused),
		T(drop_below_never_takes_what_is_needed),
		T(retention_by_bytes),
		T(retention_by_age),
		T(access_changes_for_what_is_there_and_what_comes),
		T(access_changes_again_and_again),
		T(epochs_are_good_below_their_end),
		T(an_epoch_in_which_nothing_was_is_forgotten),
		T(epochs_without_end),
		T(epochs_that_make_no_sense_are_damage),
		T(a_state_that_makes_no_sense_is_damage),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
