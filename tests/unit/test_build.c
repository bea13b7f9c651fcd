/* SPDX-License-Identifier: MIT */
/*
 * test_build.c - store/merge.c and store/build.c, against a plain model
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/build.h"
#include "store/log.h"
#include "store/log_read.h"

#define N_KEYS    600
#define KEY_MAX   40
#define VALUE_MAX 200
#define EPOCH     UINT64_C(0xe1)

/* The state of one key, kept as plainly as can be. */
struct plain {
	uint8_t key[KEY_MAX];
	uint16_t key_len;
	bool there;
	uint64_t seq, time_ns, deadline_ms;
	uint8_t flags;
	uint8_t value[VALUE_MAX];
	uint32_t value_len;
};

struct rig {
	char *dir;
	int dir_fd;
	struct rt_log log;
	struct rt_batch batch;
	struct rt_fault fault;
	struct t_random random;
	struct plain plain[N_KEYS];
	struct rt_build build;
	struct rt_built built;
	int fds;
};

static int by_key(const void *a, const void *b)
{
	const struct plain *x = a, *y = b;
	size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
	int c = memcmp(x->key, y->key, n);

	return c ? c : (int)x->key_len - (int)y->key_len;
}

/* Keys that begin alike, that are prefixes of each other, with 0x00 and 0xff. */
static void make_keys(struct rig *rig)
{
	static const uint8_t bytes[] = { 0, 0xff, '/', 'a', 'b' };
	size_t n = 0;

	while (n < N_KEYS) {
		struct plain *p = &rig->plain[n];
		size_t head = t_random_below(&rig->random, 3) * 9;
		size_t len = head + 1 + t_random_below(&rig->random, KEY_MAX - 18);
		size_t i;

		for (i = 0; i < len; i++)
			p->key[i] = i < head ? 'h'
					     : bytes[t_random_below(&rig->random,
								    sizeof(bytes))];
		p->key_len = (uint16_t)len;
		for (i = 0; i < n && by_key(&rig->plain[i], p) != 0; i++)
			;
		n += i == n;
	}
	qsort(rig->plain, N_KEYS, sizeof(rig->plain[0]), by_key);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	const struct rt_log_config config = {
		.name = "unit",
		.mode = RT_LOG_OS,
		.segment_size = UINT64_C(64) << 10,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.first_seq = 1,
		.epoch = EPOCH,
	};
	struct rt_log_report report;

	rig->fds = t_count_fds();
	rig->dir = t_dir_new();
	rig->dir_fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->random.state = 11;
	make_keys(rig);
	t_ok(rt_log_open(rig->dir, &config, NULL, NULL, &rig->fault, &report,
			 &rig->log));
	rig->build = (struct rt_build){
		.log_path = rig->dir,
		.out_dir_fd = rig->dir_fd,
		.name = "unit",
		.epoch = EPOCH,
		.budget = 64 << 20,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	int fds = rig->fds;

	rt_log_drop(&rig->log);
	rt_batch_fini(&rig->batch);
	(void)close(rig->dir_fd);
	t_dir_drop(rig->dir);
	free(rig);
	return t_count_fds() == fds ? 0 : -1;
}

/*
 * ---- Events ----
 */

static void change(struct rig *rig, uint64_t seq, uint64_t time_ns)
{
	struct t_random *random = &rig->random;
	struct plain *p = &rig->plain[t_random_below(random, N_KEYS)];
	struct rt_log_terms terms = { 0 };
	uint64_t what = t_random_below(random, 10);

	if (what == 9) {
		t_ok(rt_batch_add(&rig->batch, RT_OP_MESSAGE, 0, p->key, p->key_len,
				  "note", 4));
		return;
	}
	p->there = what > 2;
	if (!p->there) {
		t_ok(rt_batch_add(&rig->batch, RT_OP_DELETE, 0, p->key, p->key_len, "",
				  0));
		return;
	}
	p->seq = seq;
	p->time_ns = time_ns;
	p->value_len = (uint32_t)t_random_below(random, VALUE_MAX + 1);
	for (uint32_t i = 0; i < p->value_len; i++)
		p->value[i] = (uint8_t)t_random64(random);
	terms.deadline_ms = what == 8 ? seq * 3 : 0;
	terms.flags = what == 7 ? RT_TERMS_BOUND : 0;
	p->deadline_ms = terms.deadline_ms;
	p->flags = (uint8_t)terms.flags;
	t_ok(rt_batch_add_extra(
		&rig->batch, RT_OP_PUT, 0, p->key, p->key_len, p->value, p->value_len,
		&(struct rt_extra){ .terms = what >= 7 ? &terms : NULL }));
}

/* At least @n events, in transactions of 1 to 5, up to 4 of them at once. */
static void run(struct rig *rig, unsigned n)
{
	uint64_t end = rig->log.next + n;

	while (rig->log.next < end) {
		uint64_t seq = rig->log.next;
		uint64_t n_txns = 1 + t_random_below(&rig->random, 4);

		rt_batch_reset(&rig->batch, seq);
		for (uint64_t i = 0; i < n_txns; i++) {
			uint64_t size = 1 + t_random_below(&rig->random, 5);
			uint64_t time_ns = 1000 * seq;

			t_ok(rt_batch_begin(&rig->batch));
			for (uint64_t j = 0; j < size; j++)
				change(rig, seq++, time_ns);
			rt_batch_end(&rig->batch, time_ns);
		}
		t_ok(rt_log_append(&rig->log, &rig->batch, &rig->fault));
	}
}

static int build(struct rig *rig)
{
	rig->build.limit = rig->log.next - 1;
	rig->fault.text[0] = 0;
	return rt_snapshot_build(&rig->build, &rig->fault, &rig->built);
}

static void is_plain(const struct rt_state *got, const struct plain *p)
{
	assert_int_equal(got->key_len, p->key_len);
	assert_memory_equal(got->key, p->key, p->key_len);
	assert_int_equal(got->seq, p->seq);
	assert_int_equal(got->time_ns, p->time_ns);
	assert_int_equal(got->deadline_ms, p->deadline_ms);
	assert_int_equal(got->flags, p->flags);
	assert_int_equal(got->value_len, p->value_len);
	if (p->value_len)
		assert_memory_equal(got->value, p->value, p->value_len);
}

static void is_as_the_model(struct rig *rig, const char *file)
{
	struct rt_snapshot snapshot;
	struct rt_state got;
	uint64_t n = 0;

	t_ok(rt_snapshot_verify(rig->dir_fd, file, file, &rig->fault, NULL));
	t_ok(rt_snapshot_open(rig->dir_fd, file, file, &rig->fault, &snapshot));
	assert_int_equal(snapshot.header.seq, rig->log.next - 1);
	for (unsigned i = 0; i < N_KEYS; i++) {
		if (!rig->plain[i].there)
			continue;
		assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
		is_plain(&got, &rig->plain[i]);
		n++;
	}
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 0);
	assert_int_equal(n, rig->built.n_entries);
	rt_snapshot_close(&snapshot);
}

static const char *name_of(uint64_t seq)
{
	static char name[32];

	rt_snapshot_name(seq, name);
	return name;
}

static size_t count(struct rig *rig)
{
	uint64_t seqs[16];
	size_t n;

	t_ok(rt_snapshots_list(rig->dir_fd, seqs, 16, &n));
	return n;
}

static void each_snapshot_is_the_state_of_the_model(void **state)
{
	struct rig *rig = *state;

	for (unsigned round = 0; round < 30; round++) {
		run(rig, 1 + (unsigned)t_random_below(&rig->random, 700));
		t_ok(build(rig));
		assert_int_equal(rig->built.seq, rig->log.next - 1);
		is_as_the_model(rig, name_of(rig->log.next - 1));
		/* What is below the one before the newest is not needed any more. */
		if (round % 7 == 6) {
			assert_true(rt_log_drop_below(&rig->log, rig->built.seq) >= 0);
			assert_true(rt_snapshots_prune(rig->dir_fd) >= 0);
			assert_int_equal(count(rig), 2);
		}
	}
}

static void copy_all(struct rig *rig, struct rt_copy *copy)
{
	rt_copy_clear(copy);
	for (unsigned i = 0; i < N_KEYS; i++) {
		const struct plain *p = &rig->plain[i];
		const struct rt_state state = {
			.seq = p->seq,
			.time_ns = p->time_ns,
			.deadline_ms = p->deadline_ms,
			.key = p->key,
			.key_len = p->key_len,
			.value = p->value,
			.value_len = p->value_len,
			.flags = p->flags,
		};

		if (p->there)
			t_ok(rt_copy_add(copy, &state));
	}
	copy->seq = rig->log.next - 1;
	copy->time_ns = 1000 * copy->seq;
}

/* What was before it is not looked at: there may be a hole. */
static void a_copy_and_the_log_behind_it_are_a_snapshot(void **state)
{
	struct rig *rig = *state;
	struct rt_copy copy = { .first = NULL };

	run(rig, 3000);
	assert_true(rt_log_drop_below(&rig->log, rig->log.next) > 0);
	rig->build.budget = 0;
	rig->build.copy = &copy;
	for (unsigned round = 0; round < 30; round++) {
		copy_all(rig, &copy);
		if (round % 4)
			run(rig, 1 + (unsigned)t_random_below(&rig->random, 400));
		t_ok(build(rig));
		assert_int_equal(rig->built.n_events, rig->log.next - 1 - copy.seq);
		is_as_the_model(rig, name_of(rig->log.next - 1));
		assert_true(rt_snapshots_prune(rig->dir_fd) >= 0);
	}
	rt_copy_fini(&copy);
}

static void a_copy_has_room_for_whatever_there_is(void **state)
{
	struct rig *rig = *state;
	static const uint8_t large[700 << 10];
	const uint32_t part = sizeof(large) / 10;
	struct rt_copy copy = { .seq = 1 };
	struct rt_delta delta = { 0 };
	struct rt_state got = { .key_len = 1 };

	(void)rig;
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 10; i++) {
			got.seq = i;
			got.key = (const uint8_t *)"0123456789" + i;
			got.value = large;
			got.value_len = i * part + 1;
			t_ok(rt_copy_add(&copy, &got));
		}
		assert_true(copy.n_bytes >= sizeof(large) * 4);
		t_ok(rt_copy_lend(&copy, &delta));
		assert_int_equal(delta.n, 10);
		rt_delta_sort(&delta);
		for (uint32_t i = 0; i < 10; i++) {
			const struct rt_state *put = rt_delta_at(&delta, i);

			assert_int_equal(put->seq, i);
			assert_int_equal(put->value_len, i * part + 1);
		}
		rt_delta_fini(&delta);
		rt_copy_clear(&copy);
		assert_int_equal(copy.n, 0);
		assert_int_equal(copy.n_bytes, 0);
	}
	rt_copy_fini(&copy);
}

static void an_empty_log_gives_an_empty_snapshot(void **state)
{
	struct rig *rig = *state;

	t_ok(build(rig));
	assert_int_equal(rig->built.n_entries, 0);
	is_as_the_model(rig, name_of(0));
}

static void one_that_is_there_is_not_made_again(void **state)
{
	struct rig *rig = *state;
	struct stat first, second;

	run(rig, 300);
	t_ok(build(rig));
	assert_int_equal(stat(t_path(rig->dir, name_of(rig->built.seq)), &first), 0);
	t_ok(build(rig));
	assert_int_equal(stat(t_path(rig->dir, name_of(rig->built.seq)), &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(rig->built.n_steps, 0);
	assert_true(rig->built.n_entries > 0);
}

static void many_steps_give_what_one_gives(void **state)
{
	struct rig *rig = *state;
	char *bytes, *again;
	size_t len, len_again;

	run(rig, 20000);
	rig->build.out_file = "once";
	t_ok(build(rig));
	assert_int_equal(rig->built.n_steps, 1);
	is_as_the_model(rig, "once");

	rig->build.budget = 100 << 10;
	rig->build.out_file = "steps";
	t_ok(build(rig));
	assert_true(rig->built.n_steps > 3);
	is_as_the_model(rig, "steps");
	assert_int_not_equal(access(t_path(rig->dir, "steps.part"), F_OK), 0);
	assert_int_equal(count(rig), 0);

	rig->build.out_file = NULL;
	rig->build.sync = true;
	t_ok(build(rig));
	assert_true(rig->built.n_steps > 3);
	is_as_the_model(rig, name_of(rig->built.seq));
	assert_true(count(rig) <= 3);

	bytes = t_read_file(t_path(rig->dir, "once"), &len);
	again = t_read_file(t_path(rig->dir, name_of(rig->built.seq)), &len_again);
	assert_int_equal(len, len_again);
	free(bytes);
	free(again);
}

static void memory_is_bounded_by_the_budget_not_by_the_state(void **state)
{
	struct rig *rig = *state;

	run(rig, 30000);
	rig->build.budget = 256 << 10;
	t_ok(build(rig));
	/* Delta and one transaction; a window of log and of snapshot; a block. */
	assert_true(rig->built.peak_bytes > 256 << 10);
	assert_true(rig->built.peak_bytes < (256 << 10) + (3 << 20));
}

static void what_is_changed_again_and_again_needs_no_file(void **state)
{
	struct rig *rig = *state;

	run(rig, 20000);
	rig->build.budget = 800 << 10; /* for all keys, though not for all changes */
	t_ok(build(rig));
	assert_int_equal(rig->built.n_steps, 1);
	assert_true(rig->built.peak_bytes < 2 * (800 << 10) + (3 << 20));
	is_as_the_model(rig, name_of(rig->built.seq));
}

static void a_damaged_snapshot_is_passed_over(void **state)
{
	struct rig *rig = *state;
	uint64_t seq;
	int fd;

	run(rig, 3000);
	t_ok(build(rig));
	run(rig, 3000);
	t_ok(build(rig));
	seq = rig->built.seq;
	run(rig, 10);

	/* In a block: found while it is read.  Then in the footer: found at once. */
	fd = open(t_path(rig->dir, name_of(seq)), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "damage", 6, 4096 + 100), 6);
	rig->build.out_file = "first";
	t_ok(build(rig));
	is_as_the_model(rig, "first");
	assert_int_equal(ftruncate(fd, (off_t)rig->built.file_size / 2), 0);
	rig->build.out_file = "second";
	t_ok(build(rig));
	is_as_the_model(rig, "second");
	(void)close(fd);
}

/* Two keys of the newest change places, with a checksum that is right. */
static void one_that_is_out_of_order_is_passed_over(void **state)
{
	const size_t checked = offsetof(struct rt_snap_block, size);
	struct rig *rig = *state;
	struct rt_snap_header header;
	struct rt_snap_block block;
	struct rt_snap_entry entry;
	AUTO_FREE char *bytes = NULL;
	char *at;
	size_t len;

	run(rig, 3000);
	t_ok(build(rig));
	run(rig, 10);
	t_ok(build(rig));
	bytes = t_read_file(t_path(rig->dir, name_of(rig->built.seq)), &len);
	at = bytes + RT_SNAP_START;
	memcpy(&header, bytes, sizeof(header));
	memcpy(&block, at, sizeof(block));
	memcpy(&entry, at + sizeof(block), sizeof(entry));
	memset(at + sizeof(block) + sizeof(entry), 0xff, entry.key_len);
	block.check =
		XXH3_64bits_withSeed(at + checked, block.size - checked, header.salt);
	memcpy(at, &block, sizeof(block));
	t_write_file(t_path(rig->dir, name_of(rig->built.seq)), bytes, len);
	run(rig, 10);
	t_ok(build(rig));
	is_as_the_model(rig, name_of(rig->built.seq));
}

/* What a step leaves beside a backup does not cost a file of the same name. */
static void a_file_that_is_there_is_kept_by_steps_too(void **state)
{
	struct rig *rig = *state;
	AUTO_FREE char *kept = NULL;
	size_t len;

	run(rig, 3000);
	rig->build.budget = 100 << 10;
	rig->build.out_file = "backup";
	rig->build.keep = true;
	t_write_file(t_path(rig->dir, "backup.part"), "mine", 4);
	t_is(build(rig), -EEXIST);
	assert_non_null(strstr(rig->fault.text, "backup.part"));
	kept = t_read_file(t_path(rig->dir, "backup.part"), &len);
	assert_int_equal(len, 4);
	assert_int_equal(unlink(t_path(rig->dir, "backup.part")), 0);
	t_ok(build(rig));
	assert_true(rig->built.n_steps > 1);
	is_as_the_model(rig, "backup");
	assert_int_equal(access(t_path(rig->dir, "backup.part"), F_OK), -1);
}

static void without_a_usable_snapshot_and_the_begin_it_is_refused(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot newest;
	uint64_t seq;

	run(rig, 3000);
	t_ok(build(rig));
	seq = rig->built.seq;
	run(rig, 3000);
	assert_true(rt_log_drop_below(&rig->log, seq) > 0);
	assert_int_equal(truncate(t_path(rig->dir, name_of(seq)), 5000), 0);
	t_is(build(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, name_of(seq)));

	assert_int_equal(unlink(t_path(rig->dir, name_of(seq))), 0);
	t_is(build(rig), RT_E_NO_SNAPSHOT);
	assert_non_null(strstr(rig->fault.text, "unit"));
	t_is(rt_snapshot_newest(rig->dir_fd, rig->dir, EPOCH, 6000, NULL, &newest), 0);
}

/* Its checksum is right, but it has less than it says. */
static void a_batch_that_lies_is_an_error(void **state)
{
	static const uint8_t value[200];
	struct rig *rig = *state;

	run(rig, 100);
	rt_batch_reset(&rig->batch, rig->log.next);
	t_ok(rt_batch_begin(&rig->batch));
	t_ok(rt_batch_add(&rig->batch, RT_OP_PUT, 0, "k", 1, value, sizeof(value)));
	rt_batch_end(&rig->batch, 5);
	rig->batch.n_events = 3;
	t_ok(rt_log_append(&rig->log, &rig->batch, &rig->fault));
	t_is(build(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "makes no sense"));
	assert_int_equal(count(rig), 0);
}

static void with_all_damaged_the_log_alone_may_do(void **state)
{
	struct rig *rig = *state;

	run(rig, 1000);
	t_ok(build(rig));
	assert_int_equal(truncate(t_path(rig->dir, name_of(rig->built.seq)), 5000), 0);
	run(rig, 1000);
	t_ok(build(rig));
	is_as_the_model(rig, name_of(rig->built.seq));
}

static void one_of_another_history_is_not_used(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot newest = RT_SNAPSHOT_NONE;
	uint64_t first;

	run(rig, 500);
	t_ok(build(rig));
	first = rig->built.seq;
	run(rig, 500);
	rig->build.epoch = 0xbad; /* of which the log knows nothing */
	t_ok(build(rig));
	rig->build.epoch = EPOCH;
	t_is(rt_snapshot_newest(rig->dir_fd, rig->dir, EPOCH, 5000, NULL, &newest), 1);
	assert_int_equal(newest.header.seq, first);
	rt_snapshot_close(&newest);

	/* A new epoch goes on from it: it is good up to where that began. */
	t_ok(rt_log_new_epoch(&rig->log, 0xe2, NULL));
	t_is(rt_snapshot_newest(rig->dir_fd, rig->dir, 0xe2, 5000, NULL, &newest), 1);
	assert_int_equal(newest.header.seq, first);
	rt_snapshot_close(&newest);
	t_is(rt_snapshot_newest(rig->dir_fd, rig->dir, EPOCH, first - 1, NULL, &newest),
	     0);
}

static void a_name_that_does_not_fit_is_damage(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot newest;

	run(rig, 50);
	t_ok(build(rig));
	assert_int_equal(renameat(rig->dir_fd, name_of(rig->built.seq), rig->dir_fd,
				  "00000000000000000001.snap"),
			 0);
	t_is(rt_snapshot_newest(rig->dir_fd, rig->dir, EPOCH, 5000, &rig->fault,
				&newest),
	     RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "its name says 1"));
}

static void it_stops_when_it_is_canceled(void **state)
{
	struct rig *rig = *state;
	_Atomic bool cancel = true;

	run(rig, 500);
	rig->build.cancel = &cancel;
	t_is(build(rig), -ECANCELED);
	assert_int_equal(count(rig), 0);
	cancel = false;
	t_ok(build(rig));
}

static void a_limit_ends_it(void **state)
{
	struct rig *rig = *state;
	uint64_t seq;

	run(rig, 500);
	seq = rig->log.next - 1;
	t_ok(build(rig));
	run(rig, 500);
	rig->build.limit = seq;
	rig->build.out_file = "then";
	t_ok(rt_snapshot_build(&rig->build, NULL, &rig->built));
	assert_int_equal(rig->built.seq, seq);
	assert_int_equal(rig->built.n_events, 0);

	/* More than there is, is damage: somebody says that it was committed. */
	rig->build.limit = rig->log.next + 5;
	t_is(rt_snapshot_build(&rig->build, &rig->fault, &rig->built), RT_E_CORRUPT);
}

static ssize_t full_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	if (at < 4096)
		return pwrite(fd, buf, len, at);
	errno = ENOSPC;
	return -1;
}

static void a_full_disk_is_an_error_that_passes(void **state)
{
	static const struct rt_log_io full = { full_pwrite, fdatasync, NULL };
	struct rig *rig = *state;

	run(rig, 500);
	rig->build.io = &full;
	t_is(build(rig), -ENOSPC);
	assert_non_null(strstr(rig->fault.text, "No space"));
	assert_int_not_equal(
		access(t_path(rig->dir, "00000000000000000500.snap.new"), F_OK), 0);
	rig->build.io = NULL;
	t_ok(build(rig));
	is_as_the_model(rig, name_of(rig->built.seq));
}

/* Names of what was synced, one after the other. */
static char synced[4096];

static int noting_fdatasync(int fd)
{
	char link[64], path[512];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -1;
	path[n] = 0;
	(void)strncat(synced, strrchr(path, '/') + 1,
		      sizeof(synced) - strlen(synced) - 1);
	(void)strncat(synced, " ", sizeof(synced) - strlen(synced) - 1);
	return fdatasync(fd);
}

static void what_it_is_made_from_is_on_disk_first(void **state)
{
	static const struct rt_log_io noting = { pwrite, noting_fdatasync, NULL };
	struct rig *rig = *state;
	char want[256];
	uint64_t seq;

	run(rig, 100);
	t_ok(build(rig));
	run(rig, 2000);
	rig->build.sync = true;
	rig->build.io = &noting;
	synced[0] = 0;
	t_ok(build(rig));
	seq = rig->built.seq;
	/* All that it has read: here that is every segment there is. */
	(void)snprintf(want, sizeof(want), "00000000000000000001.log ");
	assert_memory_equal(synced, want, strlen(want));
	(void)snprintf(want, sizeof(want), "%020llu.log %s.new ",
		       (unsigned long long)rig->log.segment_first, name_of(seq));
	assert_true(rig->log.segment_first > 1);
	assert_non_null(strstr(synced, want));
	assert_string_equal(strstr(synced, want), want);
}

static int failing_fdatasync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

static void without_that_there_is_none(void **state)
{
	static const struct rt_log_io broken = { pwrite, failing_fdatasync, NULL };
	struct rig *rig = *state;

	run(rig, 100);
	rig->build.sync = true;
	rig->build.io = &broken;
	t_is(build(rig), -EIO);
	assert_non_null(strstr(rig->fault.text, "cannot sync"));
	assert_int_equal(count(rig), 0);
}

static void pruning_keeps_two_and_removes_what_was_not_finished(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 4; i++) {
		run(rig, 10);
		t_ok(build(rig));
	}
	t_write_file(t_path(rig->dir, "00000000000000000500.snap.new"), "half", 4);
	t_write_file(t_path(rig->dir, "mine.snap.new"), "mine", 4);
	assert_int_equal(rt_snapshots_prune(rig->dir_fd), 2);
	assert_int_equal(count(rig), 2);
	assert_int_not_equal(
		access(t_path(rig->dir, "00000000000000000500.snap.new"), F_OK), 0);
	assert_int_equal(access(t_path(rig->dir, "mine.snap.new"), F_OK), 0);
	is_as_the_model(rig, name_of(rig->built.seq));
}

/*
 * ---- Merging ----
 */

static void a_merge_begins_where_it_is_told(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot old;
	struct rt_delta delta = { 0 };
	struct rt_merge merge;
	struct rt_state got;
	unsigned n = 0;

	run(rig, 2000);
	t_ok(build(rig));
	t_ok(rt_snapshot_open(rig->dir_fd, name_of(rig->built.seq), "old", NULL, &old));
	for (unsigned i = 0; i < N_KEYS; i += 3) {
		struct plain *p = &rig->plain[i];
		struct rt_state put = {
			.seq = p->seq = 9000 + i,
			.key = p->key,
			.key_len = p->key_len,
			.deleted = i % 2,
		};

		p->there = !put.deleted;
		p->value_len = 0;
		p->time_ns = p->deadline_ms = p->flags = 0;
		t_ok(rt_delta_set(&delta, &put));
	}
	rt_delta_sort(&delta);
	rt_merge_begin(&merge, &old, &delta);
	for (unsigned from = 0; from < N_KEYS; from += 17) {
		unsigned i = from;

		t_ok(rt_merge_seek(&merge, rig->plain[from].key,
				   rig->plain[from].key_len, NULL));
		for (unsigned k = 0; k < 30; k++) {
			while (i < N_KEYS && !rig->plain[i].there)
				i++;
			assert_int_equal(rt_merge_next(&merge, NULL, &got), i < N_KEYS);
			if (i == N_KEYS)
				break;
			is_plain(&got, &rig->plain[i++]);
			n++;
		}
	}
	assert_true(n > 500);
	rt_snapshot_close(&old);
	rt_delta_fini(&delta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_snapshot_is_the_state_of_the_model),
		T(a_copy_and_the_log_behind_it_are_a_snapshot),
		T(a_copy_has_room_for_whatever_there_is),
		T(an_empty_log_gives_an_empty_snapshot),
		T(one_that_is_there_is_not_made_again),
		T(many_steps_give_what_one_gives),
		T(memory_is_bounded_by_the_budget_not_by_the_state),
		T(what_is_changed_again_and_again_needs_no_file),
		T(a_damaged_snapshot_is_passed_over),
		T(without_a_usable_snapshot_and_the_begin_it_is_refused),
		T(one_that_is_out_of_order_is_passed_over),
		T(a_file_that_is_there_is_kept_by_steps_too),
		T(a_batch_that_lies_is_an_error),
		T(with_all_damaged_the_log_alone_may_do),
		T(one_of_another_history_is_not_used),
		T(a_name_that_does_not_fit_is_damage),
		T(it_stops_when_it_is_canceled),
		T(a_limit_ends_it),
		T(a_full_disk_is_an_error_that_passes),
		T(what_it_is_made_from_is_on_disk_first),
		T(without_that_there_is_none),
		T(pruning_keeps_two_and_removes_what_was_not_finished),
		T(a_merge_begins_where_it_is_told),
	};

	return cmocka_run_group_tests_name("build", tests, NULL, NULL);
}
