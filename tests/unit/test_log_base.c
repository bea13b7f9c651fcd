/* SPDX-License-Identifier: MIT */
/*
 * test_log_base.c - a log that begins with a snapshot, and what was let go of it
 *
 * The events are by plan (logrig.h); a snapshot says only of which seq it is, by one
 * key whose value is that.
 */
#include "tests/unit/logrig.h"

#include "store/build.h"

struct base {
	unsigned n_begun;
	uint64_t seq, n_entries; /* of the newest begin */
	uint64_t n_states;       /* since */
	uint64_t told;           /* by the key */
};

static struct base base;

static int on_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	struct base *b = arg;

	*b = (struct base){ b->n_begun + 1, seq, n_entries, 0, 0 };
	return 0;
}

static int on_state(void *arg, const struct rt_state *state)
{
	struct base *b = arg;

	b->n_states++;
	memcpy(&b->told, state->value, sizeof(b->told));
	return 0;
}

static const struct rt_log_base callbacks = { on_begin, on_state, &base, UINT64_MAX };

/* Byte @at of a file becomes another. */
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

static const char *snapshot_path(const struct logrig *rig, uint64_t seq)
{
	char name[32];

	rt_snapshot_name(seq, name);
	return t_path(rig->path, name);
}

/* Opens it with its snapshots; events from @first on were visited, 0: none. */
static void begins_with(struct logrig *rig, uint64_t snapshot, uint64_t first)
{
	int r;

	base = (struct base){ 0 };
	rig->config.base = &callbacks;
	r = lr_try(rig);
	if (r < 0)
		print_error("%s\n", rig->fault.text);
	t_ok(r);
	assert_false(rig->wrong);
	assert_true(base.n_begun);
	assert_int_equal(base.seq, snapshot);
	assert_int_equal(base.told, snapshot);
	assert_int_equal(base.n_states, snapshot != 0);
	assert_int_equal(rig->report.base, snapshot);
	assert_int_equal(rig->first, first);
	assert_int_equal(rig->seen, first ? rig->log.next - 1 : 0);
}

/* A log of @n segments of 64 KiB, and two. */
static void fill(struct logrig *rig, size_t n)
{
	struct rt_segments s = { 0 };

	lr_open(rig);
	while (s.n < n) {
		rt_segments_fini(&s);
		lr_append(rig, 25);
		s = lr_segments(rig);
	}
	rt_segments_fini(&s);
	lr_append(rig, 5);
}

static void without_one_every_event_is_visited(void **state)
{
	struct logrig *rig = *state;

	fill(rig, 2);
	lr_drop(rig);
	begins_with(rig, 0, 1);
}

static void only_what_follows_is_visited(void **state)
{
	struct logrig *rig = *state;
	uint64_t bytes, next;

	fill(rig, 3);
	bytes = rig->log.n_bytes;
	next = rig->log.next;
	lr_snapshot(rig, lr_txn_first(next / 2) - 1, LR_EPOCH);
	lr_drop(rig);
	begins_with(rig, lr_txn_first(next / 2) - 1, lr_txn_first(next / 2));
	assert_int_equal(rig->log.n_bytes, bytes);
	assert_int_equal(rig->log.next, next);
	assert_int_equal(rig->log.oldest, 1);
	assert_in_range(rig->log.n_since, 1, bytes - 1);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	lr_append(rig, 10);
	lr_drop(rig);
	lr_snapshot(rig, rig->seen, LR_EPOCH);
	begins_with(rig, next - 1, next);
}

static void it_may_end_within_a_batch(void **state)
{
	struct logrig *rig = *state;

	lr_open(rig);
	lr_append(rig, 3); /* the second has 2 and 3, 4 to 6 */
	lr_snapshot(rig, 3, LR_EPOCH);
	lr_drop(rig);
	begins_with(rig, 3, 4);
}

static void nothing_may_follow(void **state)
{
	struct logrig *rig = *state;
	uint64_t next;

	fill(rig, 2);
	next = rig->log.next;
	lr_snapshot(rig, next - 1, LR_EPOCH);
	lr_drop(rig);
	begins_with(rig, next - 1, 0);
	assert_int_equal(rig->log.last_ns, lr_time(next - 1));
	lr_append(rig, 3);
	lr_drop(rig);
	begins_with(rig, next - 1, next);
}

/* They are not visited, and damage is found all the same; test_log_check.c has more. */
static void segments_below_have_to_be_whole(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	fill(rig, 3);
	s = lr_segments(rig);
	lr_snapshot(rig, s.first_seqs[2] - 1, LR_EPOCH);
	lr_drop(rig);
	begins_with(rig, s.first_seqs[2] - 1, s.first_seqs[2]);
	lr_drop(rig);
	spoil(lr_segment(rig, 1, ".log"), RT_LOG_START + 100);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "repair --drop-before"));
	rt_segments_fini(&s);
}

/*
 * ---- Given up ----
 */

struct giving_up {
	_Atomic bool cancel;
	uint64_t at; /* the call that says so */
	uint64_t n_calls, n_later;
};

static int call(struct giving_up *g)
{
	g->n_later += g->cancel;
	if (g->n_calls++ == g->at)
		g->cancel = true;
	return 0;
}

static int call_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	(void)seq;
	(void)n_entries;
	return call(arg);
}

static int call_state(void *arg, const struct rt_state *state)
{
	(void)state;
	return call(arg);
}

static int call_event(void *arg, const struct rt_item *item)
{
	(void)item;
	return call(arg);
}

static int open_until(struct logrig *rig, uint64_t at, struct giving_up *g)
{
	const struct rt_log_base until = { call_begin, call_state, g, UINT64_MAX,
					   &g->cancel };

	*g = (struct giving_up){ .at = at };
	rig->config.base = &until;
	return rt_log_open(rig->path, &rig->config, call_event, g, &rig->fault,
			   &rig->report, &rig->log);
}

static void it_can_be_given_up_at_any_time(void **state)
{
	struct logrig *rig = *state;
	struct giving_up g;
	uint64_t next, total;

	fill(rig, 5);
	next = rig->log.next;
	lr_snapshot(rig, lr_txn_first(next / 2) - 1, LR_EPOCH);
	lr_close(rig);
	t_ok(open_until(rig, UINT64_MAX, &g));
	lr_close(rig);
	total = g.n_calls;
	assert_int_equal(total, 2 + next - lr_txn_first(next / 2));
	/* In the last case what is before the snapshot is left to be read. */
	for (unsigned part = 0; part <= 20; part++) {
		uint64_t at = (total - 1) * part / 20;

		t_is(open_until(rig, at, &g), -ECANCELED);
		assert_int_equal(g.n_calls, at + 1 + g.n_later);
		assert_in_range(g.n_later, 0, at ? 20 : 0); /* those of a batch */
	}
	/* As it was. */
	t_ok(open_until(rig, UINT64_MAX, &g));
	assert_int_equal(g.n_calls, total);
	assert_int_equal(rig->log.next, next);
	assert_false(rig->report.new_epoch);
	assert_int_equal(rig->report.cut_bytes, 0);
}

static void a_log_may_be_a_snapshot_alone(void **state)
{
	struct logrig *rig = *state;
	uint64_t last;

	fill(rig, 1);
	last = rig->log.next - 1;
	lr_snapshot(rig, last, LR_EPOCH);
	lr_drop(rig);
	assert_int_equal(unlink(lr_segment(rig, 1, ".log")), 0);
	begins_with(rig, last, 0);
	assert_false(rig->report.created);
	assert_int_equal(rig->log.next, last + 1);
	assert_int_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(rt_log_oldest(&rig->log), last + 1);
	lr_append(rig, 3);
	lr_close(rig);
	begins_with(rig, last, last + 1);
	/* Closed further on than anything that is there: a new epoch. */
	lr_close(rig);
	assert_int_equal(unlink(lr_segment(rig, last + 1, ".log")), 0);
	begins_with(rig, last, 0);
	assert_int_not_equal(rig->log.epoch, LR_EPOCH);
}

static void one_that_is_damaged_is_passed_over(void **state)
{
	struct logrig *rig = *state;
	uint64_t first, second;

	fill(rig, 2);
	first = lr_txn_first(rig->log.next / 3) - 1;
	second = lr_txn_first(rig->log.next / 2) - 1;
	lr_snapshot(rig, first, LR_EPOCH);
	lr_snapshot(rig, second, LR_EPOCH);
	lr_drop(rig);
	spoil(snapshot_path(rig, second), RT_SNAP_START + 80);
	begins_with(rig, first, first + 1);
	assert_non_null(strstr(rig->report.bad_snapshot.text, "damaged"));
	lr_drop(rig);
	spoil(snapshot_path(rig, second), 8); /* its header too */
	begins_with(rig, first, first + 1);
	assert_non_null(strstr(rig->report.bad_snapshot.text, ".snap"));
	lr_drop(rig);
	spoil(snapshot_path(rig, first), 8);
	begins_with(rig, 0, 1);
}

static void with_none_that_is_good_the_log_has_to_be_whole(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	fill(rig, 3);
	s = lr_segments(rig);
	lr_snapshot(rig, s.first_seqs[1], LR_EPOCH);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1]), 1);
	lr_drop(rig);
	spoil(snapshot_path(rig, s.first_seqs[1]), 8);
	rig->config.base = &callbacks;
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, ".snap"));
	assert_non_null(strstr(rig->fault.text, "no snapshot has the state of before"));
	assert_int_equal(unlink(snapshot_path(rig, s.first_seqs[1])), 0);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "no snapshot has the state of before"));
	assert_non_null(strstr(rig->fault.text, "ringtail restore"));
	lr_snapshot(rig, s.first_seqs[1], LR_EPOCH);
	begins_with(rig, s.first_seqs[1], s.first_seqs[1] + 1);
	rt_segments_fini(&s);
}

/* Without events nothing else knows the state: a log like that never begins anew. */
static void one_that_stands_alone_has_to_be_good(void **state)
{
	struct logrig *rig = *state;
	const char *path;
	uint64_t last;

	fill(rig, 1);
	last = rig->log.next - 1;
	lr_snapshot(rig, last, LR_EPOCH);
	lr_close(rig);
	assert_int_equal(unlink(lr_segment(rig, 1, ".log")), 0);
	rig->config.base = &callbacks;
	path = snapshot_path(rig, last);
	for (unsigned i = 0; i < 2; i++) {
		const off_t at = i ? 8 : RT_SNAP_START + 80;

		spoil(path, at);
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, ".snap"));
		assert_non_null(strstr(rig->fault.text, "restore the file"));
		assert_int_equal(access(path, F_OK), 0);
		spoil(path, at);
	}
	begins_with(rig, last, 0);
	lr_close(rig);
	assert_int_equal(unlink(path), 0);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "neither a snapshot nor an event"));

	lr_snapshot(rig, last, LR_EPOCH + 1);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "another history"));
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(t_path(rig->path, "epochs")), 0);
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_int_equal(access(path, F_OK), 0);
}

/* It was begun with what a ring held; nothing was cut from it. */
static void one_that_began_later_is_whole(void **state)
{
	struct logrig *rig = *state;

	rig->config.first_seq = 31;
	fill(rig, 1);
	lr_close(rig);
	rig->config.base = &callbacks;
	begins_with(rig, 0, 31);
}

static void one_that_was_never_written_begins_again(void **state)
{
	struct logrig *rig = *state;

	rig->config.first_seq = 500;
	rig->config.base = &callbacks;
	lr_open(rig);
	lr_close(rig);
	begins_with(rig, 0, 0);
	assert_true(rig->report.created);
	assert_int_equal(rig->log.next, 500);
}

static void a_hole_behind_it_is_damage(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;

	fill(rig, 3);
	s = lr_segments(rig);
	lr_snapshot(rig, s.first_seqs[1] - 3, LR_EPOCH);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1]), 1);
	lr_drop(rig);
	rig->config.base = &callbacks;
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "oldest event"));
	rt_segments_fini(&s);
}

static void one_of_another_history_is_none(void **state)
{
	struct logrig *rig = *state;

	fill(rig, 1);
	lr_snapshot(rig, 20, LR_EPOCH + 1);
	lr_drop(rig);
	begins_with(rig, 0, 1);
}

/* As a repair leaves it that dies before it has removed all of them. */
static void one_of_a_future_that_is_none_goes(void **state)
{
	struct logrig *rig = *state;
	uint64_t next;

	fill(rig, 2);
	next = rig->log.next;
	lr_snapshot(rig, 20, LR_EPOCH);
	lr_snapshot(rig, next + 9, LR_EPOCH);
	lr_drop(rig);
	lr_left(rig, "cut", false);
	begins_with(rig, 20, 21);
	assert_int_equal(base.n_begun, 2); /* it was tried */
	assert_int_equal(access(snapshot_path(rig, next + 9), F_OK), -1);
	assert_int_equal(access(snapshot_path(rig, 20), F_OK), 0);
}

/* Else the log had it, and has lost it since, however it was left. */
static void a_log_that_ends_before_it_is_damaged(void **state)
{
	static const char *const words[] = { "open", "synced" };
	struct logrig *rig = *state;
	uint64_t next, last;
	off_t size;

	fill(rig, 2);
	next = rig->log.next;
	last = rig->log.segment_first;
	size = (off_t)rig->log.offset;
	lr_snapshot(rig, 20, LR_EPOCH);
	lr_snapshot(rig, next - 1, LR_EPOCH);
	lr_drop(rig);
	assert_int_equal(truncate(lr_segment(rig, last, ".log"), size - 30), 0);
	rig->config.base = &callbacks;
	for (unsigned i = 0; i < 4; i++) {
		lr_left(rig, words[i / 2], i % 2);
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "its newest snapshot is of "));
		assert_non_null(strstr(rig->fault.text, "--drop-after"));
		assert_int_equal(access(snapshot_path(rig, next - 1), F_OK), 0);
	}
	t_ok(rt_log_repair(rig->path,
			   strtoull(strstr(rig->fault.text, "--drop-after ") +
					    strlen("--drop-after "),
				    NULL, 10),
			   &rig->fault));
	begins_with(rig, 20, 21);
}

/* Nothing of it can be read, and there is more than one way out. */
static void a_segment_without_a_header(void **state)
{
	struct logrig *rig = *state;
	uint64_t next, last;

	fill(rig, 2);
	next = rig->log.next;
	last = rig->log.segment_first;
	lr_snapshot(rig, 20, LR_EPOCH);
	lr_snapshot(rig, next - 1, LR_EPOCH);
	lr_drop(rig);
	spoil(lr_segment(rig, last, ".log"), 40);
	rig->config.base = &callbacks;
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "damaged at byte"));
	assert_non_null(strstr(rig->fault.text, "'ringtail restore' of "));
	assert_non_null(strstr(rig->fault.text, "--drop-after "));
	t_ok(unlink(snapshot_path(rig, next - 1)));
	t_is(lr_try(rig), RT_E_CORRUPT);
	assert_null(strstr(rig->fault.text, "'ringtail restore' of "));
	t_ok(rt_log_repair(rig->path,
			   strtoull(strstr(rig->fault.text, "--drop-after ") +
					    strlen("--drop-after "),
				    NULL, 10),
			   &rig->fault));
	begins_with(rig, 20, 21);
	assert_int_equal(rig->log.next, last);
}

static void repair_drops_those_above(void **state)
{
	struct logrig *rig = *state;

	fill(rig, 1);
	lr_snapshot(rig, 1, LR_EPOCH);
	lr_snapshot(rig, rig->log.next - 1, LR_EPOCH);
	lr_close(rig);
	t_ok(rt_log_repair(rig->path, 1, &rig->fault));
	begins_with(rig, 1, 0);
	assert_int_equal(rig->log.next, 2);
	assert_int_not_equal(rig->log.epoch, LR_EPOCH);
	assert_int_equal(access(snapshot_path(rig, base.seq + 1), F_OK), -1);
}

static void repair_keeps_what_the_state_needs(void **state)
{
	struct logrig *rig = *state;
	struct rt_segments s;
	uint64_t below, seq, last;

	fill(rig, 3);
	s = lr_segments(rig);
	last = rig->log.next - 1;
	below = s.first_seqs[2] - 1;
	seq = last;
	lr_snapshot(rig, seq, LR_EPOCH);
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[1]), 1);
	lr_close(rig);
	t_is(rt_log_repair(rig->path, below, &rig->fault), RT_E_NO_SNAPSHOT);
	assert_non_null(strstr(rig->fault.text, "the lowest that works"));
	begins_with(rig, seq, 0);
	assert_int_equal(rig->log.epoch, LR_EPOCH); /* nothing was changed */
	/* One that cannot be read is none. */
	lr_snapshot(rig, below, LR_EPOCH);
	lr_close(rig);
	spoil(snapshot_path(rig, below), 24);
	t_is(rt_log_repair(rig->path, below, &rig->fault), RT_E_CORRUPT);
	spoil(snapshot_path(rig, below), 24);
	t_ok(rt_log_repair(rig->path, below, &rig->fault));
	begins_with(rig, below, 0);
	assert_int_equal(rig->log.next, below + 1);
	rt_segments_fini(&s);
}

/*
 * ---- What was let go ----
 */

static void what_is_let_go_is_compacted(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	uint64_t oldest, last;
	bool wrong = false;

	fill(rig, 2);
	last = rig->log.next - 1;
	t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
	t_ok(rt_log_reader_oldest(&reader, &oldest));
	assert_int_equal(oldest, 1);
	t_ok(rt_log_set_floor(&rig->log, &(struct rt_floor){ .trimmed = 21 },
			      &rig->fault));
	assert_int_equal(rt_log_oldest(&rig->log), 21);
	t_ok(rt_log_reader_oldest(&reader, &oldest));
	assert_int_equal(oldest, 21);
	t_is(rt_log_reader_seek(&reader, 20, &rig->fault), RT_E_COMPACTED);
	assert_non_null(strstr(rig->fault.text, "oldest held is 21"));
	t_ok(rt_log_reader_seek(&reader, 21, &rig->fault));
	assert_int_equal(lr_read_all(&reader, 21, last, &wrong), last);
	assert_false(wrong);

	/* Never back, and the higher of the two counts. */
	t_ok(rt_log_set_floor(&rig->log, &(struct rt_floor){ .trimmed = 11 },
			      &rig->fault));
	assert_int_equal(rt_log_oldest(&rig->log), 21);
	t_ok(rt_log_set_floor(&rig->log, &(struct rt_floor){ .aged = 31 },
			      &rig->fault));
	assert_int_equal(rt_log_oldest(&rig->log), 31);
	t_is(rt_log_reader_seek(&reader, 30, &rig->fault), RT_E_COMPACTED);
	rt_log_reader_close(&reader);

	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rt_log_oldest(&rig->log), 31);
	assert_int_equal(rig->log.floor.trimmed, 21);
}

static void all_of_it_may_be_let_go(void **state)
{
	struct logrig *rig = *state;
	struct rt_floor floor;

	fill(rig, 1);
	floor = (struct rt_floor){ .trimmed = rig->log.next };
	t_ok(rt_log_set_floor(&rig->log, &floor, &rig->fault));
	lr_drop(rig);
	lr_open(rig);
	assert_int_equal(rt_log_oldest(&rig->log), floor.trimmed);
	lr_append(rig, 2);
	assert_int_equal(rt_log_oldest(&rig->log), floor.trimmed);
}

static void a_floor_that_is_none_is_told(void **state)
{
	static const char *const bad[] = { "", "x", "12", "-", "1 x" };
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	uint64_t oldest;

	fill(rig, 1);
	lr_drop(rig);
	for (size_t i = 0; i < T_N(bad); i++) {
		t_write_file(t_path(rig->path, "floor"), bad[i], strlen(bad[i]));
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "floor: damaged"));
		/* Readers have what is there. */
		t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
		t_ok(rt_log_reader_oldest(&reader, &oldest));
		assert_int_equal(oldest, 1);
		t_ok(rt_log_reader_seek(&reader, 1, &rig->fault));
		rt_log_reader_close(&reader);
	}
	/* One above the end is what a repair may leave. */
	t_write_file(t_path(rig->path, "floor"), "99999 0\n", 8);
	lr_open(rig);
	assert_int_equal(rt_log_oldest(&rig->log), rig->log.next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_one_every_event_is_visited),
		T(only_what_follows_is_visited),
		T(it_may_end_within_a_batch),
		T(nothing_may_follow),
		T(segments_below_have_to_be_whole),
		T(it_can_be_given_up_at_any_time),
		T(a_log_may_be_a_snapshot_alone),
		T(one_that_is_damaged_is_passed_over),
		T(with_none_that_is_good_the_log_has_to_be_whole),
		T(one_that_stands_alone_has_to_be_good),
		T(one_that_began_later_is_whole),
		T(one_that_was_never_written_begins_again),
		T(a_hole_behind_it_is_damage),
		T(one_of_another_history_is_none),
		T(one_of_a_future_that_is_none_goes),
		T(a_log_that_ends_before_it_is_damaged),
		T(a_segment_without_a_header),
		T(repair_drops_those_above),
		T(repair_keeps_what_the_state_needs),
		T(what_is_let_go_is_compacted),
		T(all_of_it_may_be_let_go),
		T(a_floor_that_is_none_is_told),
	};

	return cmocka_run_group_tests_name("log_base", tests, NULL, NULL);
}
