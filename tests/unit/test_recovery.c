/* SPDX-License-Identifier: MIT */
/*
 * test_recovery.c - shm/writer_recover.c: what the next writer makes of a ring
 *
 * The state in which a writer died is made by hand, store by store as drawn in
 * shm/ring.h.
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/stat.h>

static struct rt_slot *slot_of(struct rig *rig, uint64_t seq)
{
	return &rig->map.slots[seq & (rig->map.geo.n_slots - 1)];
}

/* Stores all of an event but its seq word: step 2. */
static void forge(struct rig *rig, uint64_t seq, uint32_t index, uint32_t size)
{
	struct rt_slot *slot = slot_of(rig, seq);
	char value[32];
	size_t len = rig_value(seq, value);

	slot->time_ns = 1;
	slot->pos = 0;
	slot->value_len = (uint32_t)len;
	slot->key_len = 1;
	slot->op = RT_OP_PUT;
	slot->flags = 0;
	slot->prev_len = 0;
	slot->txn_index = index;
	slot->txn_size = size;
	slot->bytes[0] = 'k';
	memcpy(slot->bytes + 1, value, len);
}

static void seq_word(struct rig *rig, uint64_t seq)
{
	rt_store64(&slot_of(rig, seq)->seq, seq);
}

/* A ring with @n events whose writer is dead. */
static void dead_after(struct rig *rig, unsigned n)
{
	rig_open(rig);
	rig_put(rig, n);
	(void)rig_map(rig);
	rig_drop(rig);
}

static int reopen(struct rig *rig)
{
	return rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, &rig->fault,
			      &rig->w);
}

static void a_closed_feed_goes_on_where_it_was(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	uint64_t epoch, instance;

	rig_open(rig);
	rig_put(rig, 5);
	epoch = rig->w->segment.geo.epoch;
	instance = rig->w->segment.geo.instance;
	rig_close(rig);
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 5);
	assert_true(rig->w->segment.geo.epoch == epoch);
	assert_true(rig->w->segment.geo.instance == instance);
	r = rig_read(rig, rig_after(0));
	rig_put(rig, 1);
	rig_drain(r, 1, 6);
}

/* Death after step 3: all but the first have their seq words. */
static void unpublished_events_never_come_to_life(void **state)
{
	for (uint32_t size = 2; size <= 16; size++) {
		struct rig *rig = *state;
		struct ringtail *r;

		dead_after(rig, 3);
		r = rig_read(rig, rig_after(0));
		rig_drain(r, 1, 3);
		for (uint32_t i = size; i--;) {
			forge(rig, 4 + i, i, size);
			if (i)
				seq_word(rig, 4 + i);
		}
		rig_drain(r, 4, 3); /* nothing */
		rig_open(rig);
		assert_int_equal(rt_writer_head(rig->w), 3);
		for (uint64_t seq = 4; seq <= 30; seq++) {
			rig_put(rig, 1);
			rig_drain(r, seq, seq);
		}
		rig_forget(rig, r);
		rig_close(rig);
		assert_int_equal(unlink(rig->path), 0);
	}
}

/* Death after step 4: readers have it already. */
static void what_is_published_counts_though_head_does_not_say_so(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	dead_after(rig, 3);
	r = rig_read(rig, rig_after(0));
	for (uint32_t i = 5; i--;) {
		forge(rig, 4 + i, i, 5);
		seq_word(rig, 4 + i);
	}
	rig_drain(r, 1, 8);
	assert_int_equal(rt_load64(&rig->map.hot->head), 3);
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 8);
	assert_int_equal(rt_load64(&rig->map.hot->head), 8);
	rig_put(rig, 1);
	rig_drain(r, 9, 9);
}

static void the_first_transaction_of_a_feed_can_be_the_last_too(void **state)
{
	struct rig *rig = *state;

	dead_after(rig, 0);
	for (uint32_t i = 3; i--;) {
		forge(rig, 1 + i, i, 3);
		seq_word(rig, 1 + i);
	}
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 3);
	rig_close(rig);
	assert_int_equal(unlink(rig->path), 0);

	dead_after(rig, 0);
	forge(rig, 2, 1, 3);
	seq_word(rig, 2);
	forge(rig, 3, 2, 3);
	seq_word(rig, 3);
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 0);
	assert_int_equal(rt_load64(&slot_of(rig, 2)->seq), 0);
}

/* Death after step 1, or in step 2. */
static void a_floor_that_moved_ahead_stays_there(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	dead_after(rig, 64);
	assert_int_equal(rt_load64(&rig->map.hot->floor), 1);
	rt_store64(&rig->map.hot->floor, 9);
	for (uint64_t seq = 65; seq <= 68; seq++) {
		uint64_t old = seq - 64;

		forge(rig, seq, (uint32_t)(seq - 65), 4);
		assert_int_equal(rt_load64(&slot_of(rig, seq)->seq), old);
	}
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 64);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	rig_drain(r, 9, 64);
	rig_put(rig, 1);
	rig_drain(r, 65, 65);
	rig_put(rig, 60);
	assert_true(rt_load64(&rig->map.hot->floor) > 60);
}

static void an_open_transaction_dies_with_its_writer(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	for (unsigned i = 0; i < 100; i++) {
		rig_open(rig);
		rig_put(rig, 1);
		rt_writer_begin(rig->w);
		for (unsigned n = 0; n < i % 17; n++)
			t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "x", 1,
					   "0123456789012345678901234567890", 31));
		rig_drop(rig);
	}
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 100);
	r = rig_read(rig, rig_after(70));
	rig_drain(r, 71, 100);
}

/* Payload after a recovery goes on behind the newest event's, wherever that is. */
static void payload_is_not_reused_too_early_after_a_recovery(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 3 };
	struct ringtail *r;
	struct ringtail_event event;
	uint64_t behind = 0;

	rig_open(rig);
	for (int i = 0; i < 600; i++) {
		size_t key_len = 1 + t_random_below(&random, 60);
		size_t len = t_random_below(&random, 500);
		uint64_t head;

		t_ok(rig_put_sized(rig, key_len, len));
		if (i % 3 == 0) {
			rig_drop(rig);
			rig_open(rig);
		}
		rt_ring_bounds(&rig->w->segment, &behind, &head);
		r = rig_read(rig, rig_after(behind - 1));
		for (uint64_t seq = behind; seq <= head; seq++) {
			t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
			assert_true(
				rig_is_sized(&event, event.key_len, event.value_len));
		}
		rig_forget(rig, r);
	}
}

static void a_successor_that_dies_at_once_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	dead_after(rig, 70);
	for (int i = 0; i < 20; i++) {
		rig_open(rig);
		rig_drop(rig);
	}
	rig_open(rig);
	r = rig_read(rig, rig_after(20));
	rig_drain(r, 21, 70);
	assert_int_equal(rt_load64(&rig->map.hot->n_writers), 22);
}

/*
 * ---- Damage ----
 */

static void is_refused(struct rig *rig, const char *word)
{
	size_t before_len, after_len;
	char *before = t_read_file(rig->path, &before_len);
	char *after;

	rig->fault.text[0] = 0;
	t_is(reopen(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, word));
	assert_non_null(strstr(rig->fault.text, RIG_FEED));
	after = t_read_file(rig->path, &after_len);
	assert_int_equal(before_len, after_len);
	assert_memory_equal(before, after, after_len);
	free(before);
	free(after);
}

static void a_head_that_cannot_be_is_refused(void **state)
{
	struct rig *rig = *state;
	static const uint64_t heads[] = { 9,         11, 64, 1000, UINT64_MAX / 2 + 1,
					  UINT64_MAX };

	dead_after(rig, 10);
	for (size_t i = 0; i < T_N(heads); i++) {
		rt_store64(&rig->map.hot->head, heads[i]);
		if (heads[i] == 9) { /* the event after it is there, so it counts */
			t_ok(reopen(rig));
			assert_int_equal(rt_writer_head(rig->w), 10);
			rig_drop(rig);
			continue;
		}
		is_refused(rig, "seq");
	}
}

static void a_head_below_the_first_of_the_file_is_refused(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_txn(rig, 16);
	rig_close(rig);
	rig->config.n_slots = 128;
	rig_open(rig);
	(void)rig_map(rig);
	rig_drop(rig);
	assert_int_equal(rig->map.geo.first_seq, 1);
	rt_store64(&rig->map.hot->head, 5); /* in the middle of a transaction */
	is_refused(rig, "newest event");
}

static void a_floor_that_cannot_be_is_refused(void **state)
{
	struct rig *rig = *state;
	static const uint64_t floors[] = { 0, 12, 5000, UINT64_MAX };

	dead_after(rig, 10);
	for (size_t i = 0; i < T_N(floors); i++) {
		rt_store64(&rig->map.hot->floor, floors[i]);
		is_refused(rig, "floor");
	}
	rt_store64(&rig->map.hot->floor, 11);
	t_ok(reopen(rig));
}

static void a_floor_too_far_below_head_is_refused(void **state)
{
	struct rig *rig = *state;

	dead_after(rig, 200);
	rt_store64(&rig->map.hot->floor, 100);
	is_refused(rig, "floor");
}

static void half_a_published_transaction_is_refused(void **state)
{
	struct rig *rig = *state;

	dead_after(rig, 10);
	for (uint32_t i = 0; i < 4; i++)
		forge(rig, 11 + i, i, 4);
	seq_word(rig, 11);
	seq_word(rig, 12);
	seq_word(rig, 14);
	is_refused(rig, "seq 11");
}

static void nonsense_in_the_newest_slot_is_refused(void **state)
{
	struct rig *rig = *state;

	dead_after(rig, 10);
	slot_of(rig, 10)->op = 77;
	is_refused(rig, "newest event");
	slot_of(rig, 10)->op = RT_OP_PUT;
	slot_of(rig, 10)->value_len = 1 << 20;
	is_refused(rig, "newest event");
}

/*
 * A floor in the middle of a transaction, or payload that a hostile position claims:
 * the writer counts with both.
 */
static void slots_that_contradict_each_other_do_no_harm(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 11 };

	for (int i = 0; i < 300; i++) {
		uint64_t seq;

		dead_after(rig, 64);
		seq = 1 + t_random_below(&random, 64);
		switch (t_random_below(&random, 4)) {
		case 0:
			slot_of(rig, seq)->pos = (uint32_t)t_random64(&random);
			break;
		case 1:
			slot_of(rig, seq)->txn_index = (uint32_t)t_random64(&random);
			break;
		case 2:
			slot_of(rig, seq)->txn_size = (uint32_t)t_random64(&random);
			break;
		default:
			rt_store64(&slot_of(rig, seq)->seq, t_random64(&random));
			break;
		}
		if (reopen(rig) == 0) {
			for (int n = 0; n < 300; n++)
				t_ok(rig_put_sized(rig, 1,
						   t_random_below(&random, 90)));
			rig_close(rig);
		}
		assert_int_equal(unlink(rig->path), 0);
	}
}

/*
 * ---- Who may ----
 */

static void a_second_writer_is_refused(void **state)
{
	struct rig *rig = *state;
	struct rt_writer *second = NULL;

	rig_open(rig);
	t_is(rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, &rig->fault,
			    &second),
	     RT_E_BUSY);
	assert_null(second);
	assert_non_null(strstr(rig->fault.text, RIG_FEED));
	rig_put(rig, 1);
	rig_close(rig);
	rig_open(rig);
}

static void the_ring_of_another_feed_is_refused(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_close(rig);
	assert_int_equal(t_sh(NULL, "mkdir '%s/other' && cp '%s' '%s/other/ring'",
			      rig->dir, rig->path, rig->dir),
			 0);
	rig->config.name = "other";
	t_is(reopen(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "other"));
}

static void what_is_no_ring_is_refused_and_left_alone(void **state)
{
	struct rig *rig = *state;
	struct stat st;

	rig_open(rig);
	rig_close(rig);
	t_write_file(rig->path, "precious", 8);
	t_is(reopen(rig), RT_E_CORRUPT);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(unlink(rig->path), 0);
	assert_int_equal(symlink("/etc/passwd", rig->path), 0);
	assert_true(reopen(rig) < 0);
	assert_int_equal(unlink(rig->path), 0);
	t_ok(reopen(rig));
}

static void a_folder_that_cannot_be_made_is_said(void **state)
{
	struct rig *rig = *state;
	struct rt_writer *w;

	t_write_file(t_path(rig->dir, "file"), "", 0);
	t_is(rt_writer_open(t_path(rig->dir, "file"), &rig->config, 0, RIG_BEAT_NS,
			    &rig->fault, &w),
	     -ENOTDIR);
	assert_non_null(strstr(rig->fault.text, rig->dir));
	/* Those above it are made with it. */
	t_ok(rt_writer_open(t_path(rig->dir, "a/b/c"), &rig->config, 0, RIG_BEAT_NS,
			    &rig->fault, &w));
	rt_writer_close(w);
}

static void nothing_is_left_open_of_a_writer_that_was_refused(void **state)
{
	struct rig *rig = *state;
	int before;

	dead_after(rig, 10);
	rt_store64(&rig->map.hot->floor, 0);
	before = t_count_fds();
	for (int i = 0; i < 5; i++)
		t_is(reopen(rig), RT_E_CORRUPT);
	assert_int_equal(t_count_fds(), before);
	rt_store64(&rig->map.hot->floor, 1);
	t_ok(reopen(rig)); /* the lock was let go */
}

static void files_have_the_modes_that_were_asked_for(void **state)
{
	struct rig *rig = *state;
	struct stat st;
	mode_t old = umask(077);

	rig->config.mode = 0644;
	rig->config.bell_mode = 0622;
	rig_open(rig);
	(void)umask(old);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/bell"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0622);
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/lock"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fcntl(rig->w->lock_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(rig->w->dir_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(rig->w->segment.fd, F_GETFD), FD_CLOEXEC);
}

static void an_owner_that_was_asked_for_is_set(void **state)
{
	struct rig *rig = *state;
	struct stat st;

	if (geteuid() != 0)
		return; /* only root can give files away */
	rig->config.uid = 65534;
	rig->config.gid = 65533;
	rig_open(rig);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_gid, 65533);
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/bell"), &st), 0);
	assert_int_equal(st.st_uid, 65534);
	rig_put(rig, 2);
	rig_close(rig);
	rig->config.gid = 65532; /* access is revoked by a new file */
	rig_open(rig);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_gid, 65532);
	assert_int_equal(rt_writer_head(rig->w), 2);
}

static void another_epoch_can_be_named(void **state)
{
	struct rig *rig = *state;

	rig->config.epoch = 4711;
	rig_open(rig);
	assert_int_equal(rig->w->segment.geo.epoch, 4711);
	rig_put(rig, 2);
	rig_close(rig);
	rig->config.epoch = 4712; /* a feed that goes on keeps its own */
	rig_open(rig);
	assert_int_equal(rig->w->segment.geo.epoch, 4711);
	rig_close(rig);
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_NEW_EPOCH, RIG_BEAT_NS,
			    NULL, &rig->w));
	assert_int_equal(rig->w->segment.geo.epoch, 4712);
	assert_int_equal(rt_writer_head(rig->w), 0);
}

/*
 * ---- Rings that begin ----
 */

static void a_feed_can_begin_at_another_seq(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig->config.first_seq = 1000;
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 999);
	r = rig_read(rig, rig_after(999));
	t_is(rig_try(rig, rig_after(998), &r), RINGTAIL_E_COMPACTED);
	t_is(rig_try(rig, rig_after(0), &r), RINGTAIL_E_COMPACTED);
	t_is(rig_try(rig, rig_after(1000), &r), RINGTAIL_E_FUTURE);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	rig_put(rig, 2);
	rig_drain(r, 1000, 1001);
	rig_close(rig);
	rig->config.first_seq = 5000; /* of a feed that begins, not of this one */
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 1001);
}

static int fill_with_events(struct rt_writer *w, void *arg)
{
	char value[32];
	int r = 0;

	for (unsigned n = *(unsigned *)arg; n && !r; n--) {
		rt_writer_set_time(w, w->next * 10);
		r = rt_writer_one(w, RT_OP_PUT, 0, "k", 1, value,
				  rig_value(w->next, value));
	}
	return r;
}

static void a_ring_can_begin_with_what_it_is_to_hold(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	unsigned n = 300; /* several times around */

	rig->config.fill = fill_with_events;
	rig->config.fill_arg = &n;
	rig->config.wake_mode = RT_WAKE_ALWAYS;
	rig_open(rig);
	r = rig_read(rig, rig_after(250));
	rig_drain(r, 251, 300);
	rig_put(rig, 1);
	rig_drain(r, 301, 301);
	rig_close(rig);
	rig_open(rig); /* there is one: it is not filled again */
	assert_int_equal(rt_writer_head(rig->w), 301);
}

static int fail_to_fill(struct rt_writer *w, void *arg)
{
	(void)fill_with_events(w, arg);
	return -EIO;
}

static void of_a_ring_that_cannot_be_filled_nothing_is_left(void **state)
{
	struct rig *rig = *state;
	unsigned n = 3;

	rig->config.fill = fail_to_fill;
	rig->config.fill_arg = &n;
	t_is(reopen(rig), -EIO);
	assert_int_not_equal(access(rig->path, F_OK), 0);
	assert_int_not_equal(access(t_path(rig->dir, RIG_FEED "/.ring.new"), F_OK), 0);
	rig->config.fill = NULL;
	t_ok(reopen(rig));
	assert_int_equal(rt_writer_head(rig->w), 0);
}

static void who_asks_for_it_begins_anew_over_damage(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t epoch;

	dead_after(rig, 10);
	epoch = rig->map.geo.epoch;
	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 10);
	slot_of(rig, 10)->op = 77;
	is_refused(rig, "newest event");
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w));
	assert_int_equal(rt_writer_head(rig->w), 0);
	assert_true(rig->w->segment.geo.epoch != epoch);
	rig_put(rig, 1);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_EPOCH);
	rig_close(rig);
	t_write_file(rig->path, "no ring", 7);
	t_is(reopen(rig), RT_E_CORRUPT);
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w));
	rig_close(rig);
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w)); /* nothing is wrong: it goes on */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_closed_feed_goes_on_where_it_was),
		T(unpublished_events_never_come_to_life),
		T(what_is_published_counts_though_head_does_not_say_so),
		T(the_first_transaction_of_a_feed_can_be_the_last_too),
		T(a_floor_that_moved_ahead_stays_there),
		T(an_open_transaction_dies_with_its_writer),
		T(payload_is_not_reused_too_early_after_a_recovery),
		T(a_successor_that_dies_at_once_changes_nothing),
		T(a_head_that_cannot_be_is_refused),
		T(a_head_below_the_first_of_the_file_is_refused),
		T(a_floor_that_cannot_be_is_refused),
		T(a_floor_too_far_below_head_is_refused),
		T(half_a_published_transaction_is_refused),
		T(nonsense_in_the_newest_slot_is_refused),
		T(slots_that_contradict_each_other_do_no_harm),
		T(a_second_writer_is_refused),
		T(the_ring_of_another_feed_is_refused),
		T(what_is_no_ring_is_refused_and_left_alone),
		T(a_folder_that_cannot_be_made_is_said),
		T(nothing_is_left_open_of_a_writer_that_was_refused),
		T(files_have_the_modes_that_were_asked_for),
		T(an_owner_that_was_asked_for_is_set),
		T(another_epoch_can_be_named),
		T(a_feed_can_begin_at_another_seq),
		T(a_ring_can_begin_with_what_it_is_to_hold),
		T(of_a_ring_that_cannot_be_filled_nothing_is_left),
		T(who_asks_for_it_begins_anew_over_damage),
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
