/* SPDX-License-Identifier: MIT */
/*
 * test_renew.c - store/renew.c: the old log or the new one, whatever happens
 */
#include "tests/unit/logrig.h"

#include "store/renew.h"

#define NEW_EPOCH UINT64_C(0xe2)
#define N_KEYS    50

struct keys {
	uint64_t n, seq;
	bool wrong;
};

static int take_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	*(struct keys *)arg = (struct keys){ .seq = seq };
	(void)n_entries;
	return 0;
}

static int take_state(void *arg, const struct rt_state *state)
{
	struct keys *keys = arg;
	char key[16];

	(void)snprintf(key, sizeof(key), "key%02u", (unsigned)keys->n++);
	keys->wrong |= state->key_len != 5 || memcmp(state->key, key, 5) != 0;
	return 0;
}

/* Opens the log; with the snapshot that is in it. */
static struct keys open_log(struct logrig *rig)
{
	struct keys keys = { 0 };
	const struct rt_log_base base = { take_begin, take_state, &keys };

	rig->config.base = &base;
	lr_open(rig);
	rig->config.base = NULL;
	assert_false(keys.wrong);
	return keys;
}

static struct rt_renew plan(const struct logrig *rig, uint64_t seq)
{
	return (struct rt_renew){
		.log_path = rig->path,
		.snapshot = {
			.name = "unit",
			.epoch = NEW_EPOCH,
			.seq = seq,
			.time_ns = 5,
			.file_mode = 0640,
			.uid = (uid_t)-1,
			.gid = (gid_t)-1,
			.sync = true,
		},
	};
}

static int prepare(struct logrig *rig, struct rt_renew *renew)
{
	struct rt_delta delta = { 0 };
	struct rt_merge merge;
	char key[16];
	int r;

	for (unsigned i = 0; i < N_KEYS; i++) {
		struct rt_state state = {
			.seq = 1 + i,
			.key = (uint8_t *)key,
			.key_len = (uint16_t)snprintf(key, sizeof(key), "key%02u", i),
			.flags = (uint8_t)(i < 40 ? 0 : RT_TERMS_BOUND),
		};

		t_ok(rt_delta_set(&delta, &state));
	}
	rt_delta_sort(&delta);
	rt_merge_begin(&merge, NULL, &delta);
	rig->fault.text[0] = 0;
	r = rt_renew_prepare(renew, &merge, &rig->fault);
	rt_delta_fini(&delta);
	return r;
}

static void make_log(struct logrig *rig)
{
	lr_open(rig);
	lr_append(rig, 20);
	lr_drop(rig);
}

static const char *new_path(const struct logrig *rig)
{
	static char path[300];

	(void)snprintf(path, sizeof(path), "%s.new", rig->path);
	return path;
}

static void is_old(struct logrig *rig, uint64_t head)
{
	struct keys keys = open_log(rig);

	assert_int_equal(keys.n, 0);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(rig->log.next, head + 1);
	assert_int_equal(rig->seen, head);
	lr_drop(rig);
}

static void is_new(struct logrig *rig, uint64_t seq, unsigned n_keys)
{
	struct keys keys = open_log(rig);

	assert_int_equal(keys.n, n_keys);
	assert_int_equal(keys.seq, seq);
	assert_int_equal(rig->log.epoch, NEW_EPOCH);
	assert_int_equal(rig->log.next, seq + 1);
	assert_int_equal(rig->seen, 0);
	lr_drop(rig);
}

static uint64_t head_of(struct logrig *rig)
{
	uint64_t head;

	t_ok(rt_renew_head(rig->path, &head));
	return head;
}

static void until_it_is_swapped_the_old_one_is_there(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew;
	uint64_t head;

	make_log(rig);
	head = head_of(rig);
	assert_true(head > 40);
	renew = plan(rig, head + 100);
	t_ok(prepare(rig, &renew));
	is_old(rig, head);
	/* What a crash leaves there is no obstacle, whatever it is. */
	t_write_file(t_path(new_path(rig), "00000000000000000700.snap.new"), "x", 1);
	t_ok(prepare(rig, &renew));
	is_old(rig, head);
	rt_renew_clean(rig->path);
	assert_int_equal(access(new_path(rig), F_OK), -1);
	is_old(rig, head);
}

static void then_it_is_the_new_one(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew;
	uint64_t head;

	make_log(rig);
	head = head_of(rig);
	renew = plan(rig, head + 100);
	t_ok(prepare(rig, &renew));
	t_ok(rt_renew_swap(&renew, &rig->fault));
	is_new(rig, head + 100, N_KEYS);
	assert_int_equal(access(t_path(new_path(rig), "epochs"), F_OK), 0);
	rt_renew_clean(rig->path);
	assert_int_equal(access(new_path(rig), F_OK), -1);
	is_new(rig, head + 100, N_KEYS);

	/* And goes on as any other; the epoch of before is none of its own. */
	assert_int_equal(head_of(rig), head + 100);
	(void)open_log(rig);
	assert_int_equal(rig->log.next, head + 101);
	t_is(rt_log_same_history(rig->log.dir_fd, LR_EPOCH, 1, NEW_EPOCH), RT_E_EPOCH);
	t_is(rt_log_same_history(rig->log.dir_fd, NEW_EPOCH, head + 100, NEW_EPOCH), 0);
}

static void keys_of_connections_can_be_left_out(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew = plan(rig, 1000);

	make_log(rig);
	renew.drop_bound = true;
	t_ok(prepare(rig, &renew));
	assert_int_equal(renew.n_entries, 40);
	t_ok(rt_renew_swap(&renew, &rig->fault));
	is_new(rig, 1000, 40);
	rt_renew_clean(rig->path);
}

static void a_seq_that_is_none_is_refused(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew = plan(rig, UINT64_MAX - 1);

	make_log(rig);
	t_is(prepare(rig, &renew), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "18446744073709551614"));
	assert_int_equal(access(new_path(rig), F_OK), -1);
}

static void without_an_old_one_it_is_made(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew = plan(rig, 7);

	assert_int_equal(head_of(rig), 0);
	t_ok(prepare(rig, &renew));
	t_ok(rt_renew_swap(&renew, &rig->fault));
	is_new(rig, 7, N_KEYS);
	assert_int_equal(access(new_path(rig), F_OK), -1);
}

static void what_is_no_part_of_a_log_stays(void **state)
{
	struct logrig *rig = *state;
	struct rt_renew renew = plan(rig, 1000);

	make_log(rig);
	t_write_file(t_path(rig->path, "notes"), "mine", 4);
	t_ok(prepare(rig, &renew));
	t_ok(rt_renew_swap(&renew, &rig->fault));
	rt_renew_clean(rig->path);
	assert_int_equal(access(t_path(new_path(rig), "notes"), F_OK), 0);
	assert_int_equal(access(t_path(new_path(rig), "epochs"), F_OK), -1);
	/* Then there is no room for the next one, which says so. */
	t_is(prepare(rig, &renew), -EEXIST);
	assert_non_null(strstr(rig->fault.text, "log.new"));
	is_new(rig, 1000, N_KEYS);
}

static ssize_t full_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	(void)fd;
	(void)buf;
	(void)len;
	(void)at;
	errno = ENOSPC;
	return -1;
}

static void a_full_disk_changes_nothing(void **state)
{
	static const struct rt_log_io full = { full_pwrite, fdatasync, NULL };
	struct logrig *rig = *state;
	struct rt_renew renew = plan(rig, 1000);
	uint64_t head;

	make_log(rig);
	head = head_of(rig);
	renew.snapshot.io = &full;
	t_is(prepare(rig, &renew), -ENOSPC);
	assert_int_equal(access(new_path(rig), F_OK), -1);
	is_old(rig, head);
}

static void the_head_of_a_damaged_log_is_what_anything_says(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments segments;
	uint64_t head, last;
	int fd;

	lr_open(rig);
	lr_append(rig, 300);
	lr_drop(rig);
	head = head_of(rig);
	segments = lr_segments(rig);
	assert_true(segments.n > 1);
	last = segments.first_seqs[segments.n - 1];
	rt_segments_fini(&segments);

	fd = open(lr_segment(rig, last, ".log"), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "damage", 6, 4096), 6);
	assert_int_equal(head_of(rig), last - 1);
	assert_int_equal(pwrite(fd, "damage", 6, 0), 6);
	assert_int_equal(head_of(rig), last - 1);
	(void)close(fd);
	t_write_file(t_path(rig->path, "00000000000000009000.snap"), "x", 1);
	assert_int_equal(head_of(rig), 9000);
	/* Nothing that could be one: then seqs would soon end. */
	t_write_file(t_path(rig->path, "18446744073709551615.snap"), "x", 1);
	assert_true(head_of(rig) < head + 9000);
	t_write_file(t_path(rig->path, "epochs"), "garbage", 7);
	t_write_file(t_path(rig->path, "state"), "garbage", 7);
	assert_true(head_of(rig) < head + 9000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(until_it_is_swapped_the_old_one_is_there),
		T(then_it_is_the_new_one),
		T(keys_of_connections_can_be_left_out),
		T(a_seq_that_is_none_is_refused),
		T(without_an_old_one_it_is_made),
		T(what_is_no_part_of_a_log_stays),
		T(a_full_disk_changes_nothing),
		T(the_head_of_a_damaged_log_is_what_anything_says),
	};

	return cmocka_run_group_tests_name("renew", tests, NULL, NULL);
}
