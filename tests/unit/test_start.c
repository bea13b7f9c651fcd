/* SPDX-License-Identifier: MIT */
/*
 * test_start.c - client/open.c: options, and where reading begins
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sys/stat.h>

static int try_open(struct rig *rig, struct ringtail_options o)
{
	struct ringtail *r = NULL;
	int e = rig_try(rig, o, &r);

	if (e < 0) {
		assert_null(r);
		assert_true(*ringtail_error(NULL) != 0);
		return e;
	}
	ringtail_close(r);
	return e;
}

#define REFUSED(member, value) \
	do { \
		struct ringtail_options o_ = RINGTAIL_OPTIONS_INIT; \
		o_.member = (value); \
		t_is(try_open(rig, o_), -EINVAL); \
	} while (0)

static void unknown_options_are_refused(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	REFUSED(size, 0);
	REFUSED(size, sizeof(struct ringtail_options) + 8);
	REFUSED(flags, 4);
	REFUSED(start, 6);
	REFUSED(on_gap, 3);
	REFUSED(wait, 3);
	REFUSED(fd_mode, 3);
	REFUSED(ops, 8);
	REFUSED(reserved, 1);
	REFUSED(n_filters, 1);
	assert_non_null(strstr(ringtail_error(NULL), "filters is NULL"));
	REFUSED(bell_fd, 0);
	assert_non_null(strstr(ringtail_error(NULL), "bell_fd is for"));
}

static void options_that_contradict_each_other_are_refused(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	REFUSED(seq, 1);
	REFUSED(marker, "x");
	REFUSED(time_ns, 1);
	REFUSED(open_timeout_ns, 1);
	REFUSED(open_timeout_ns, -2);
	REFUSED(start, RINGTAIL_START_MARKER);
}

static void now_is_after_the_newest(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 9);
	r = rig_read(rig, rig_from(RINGTAIL_START_NOW));
	assert_int_equal(ringtail_position(r), 9);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_CAUGHT_UP);
	rig_put(rig, 1);
	rig_next(r, 10);
	t_ok(ringtail_open(
		RIG_FEED,
		&(struct ringtail_options){ .size = sizeof(struct ringtail_options),
					    .dir = rig->dir,
					    .bell_fd = -1 },
		&r));
	assert_int_equal(ringtail_position(rig_keep(rig, r)), 10);
}

static void oldest_is_the_first_that_is_held(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	rig_txn(rig, 10);
	rig_put(rig, 60);
	rig_drain(rig_read(rig, rig_from(RINGTAIL_START_OLDEST)), 11, 70);
	/* What was the oldest at open is gone: begin at what is it now, not a gap. */
	rig_drain(r, 11, 70);
	assert_int_equal(rig_stats(r).lost, 0);
	assert_int_equal(rig_stats(r).start, 10);
}

static void after_a_seq_is_after_it(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_put(rig, 20);
	for (uint64_t seq = 0; seq <= 20; seq++)
		rig_drain(rig_read(rig, rig_after(seq)), seq + 1, 20);
	t_is(try_open(rig, rig_after(21)), RINGTAIL_E_FUTURE);
	assert_non_null(strstr(ringtail_error(NULL), "21"));
	assert_non_null(strstr(ringtail_error(NULL), "20"));
	t_is(try_open(rig, rig_after(60)), RINGTAIL_E_FUTURE);
	t_is(try_open(rig, rig_after(UINT64_MAX)), RINGTAIL_E_FUTURE);
}

static void what_is_no_longer_held_is_compacted(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t oldest, head;

	rig_open(rig);
	rig_put(rig, 100);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	rig_drain(rig_read(rig, rig_after(oldest - 1)), oldest, head);
	t_is(try_open(rig, rig_after(oldest - 2)), RINGTAIL_E_COMPACTED);
	t_is(try_open(rig, rig_after(0)), RINGTAIL_E_COMPACTED);

	r = rig_read(rig, rig_skip(7));
	assert_int_equal(rig_stats(r).lost, oldest - 8);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, 8, oldest - 8, 0, RINGTAIL_CAUSE_COMPACTED);
	rig_drain(r, oldest, head);
	assert_int_equal(rig_stats(r).gaps, 1);
	assert_int_equal(rig_stats(r).start, 7);
}

static void who_allows_it_waits_for_the_future(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(9);
	struct ringtail_event event;
	struct ringtail *r;

	o.flags = RINGTAIL_ALLOW_FUTURE;
	rig_open(rig);
	rig_put(rig, 3);
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	for (int i = 4; i <= 9; i++) {
		rig_put(rig, 1);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	}
	assert_int_equal(rig_stats(r).lag_events, 0);
	rig_put(rig, 1);
	rig_next(r, 10);
	o.seq = UINT64_MAX;
	t_is(try_open(rig, o), RINGTAIL_E_FUTURE);
}

/* Later events of it can be in their slots before it is published. */
static void a_future_in_the_middle_of_a_transaction_waits_for_all_of_it(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(6);
	struct ringtail_event event;
	struct ringtail *r;

	o.flags = RINGTAIL_ALLOW_FUTURE;
	rig_open(rig);
	rig_put(rig, 3);
	r = rig_read(rig, o);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	(void)rig_map(rig);
	rig_txn(rig, 6); /* 4 .. 9 */
	rt_store64(&rig->map.hot->head, 3);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	t_is(ringtail_borrow(r, &event, 0), RINGTAIL_NOTHING);
	rt_store64(&rig->map.hot->head, 9);
	rig_drain(r, 7, 9);
}

static void a_future_that_is_lapped_is_a_gap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_skip(9);
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t oldest, head;

	o.flags = RINGTAIL_ALLOW_FUTURE;
	rig_open(rig);
	r = rig_read(rig, o);
	rig_put(rig, 200);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	rig_gap(r, 10, oldest - 10, 0, RINGTAIL_CAUSE_LAPPED);
	rig_drain(r, oldest, head);
}

static void a_marker_goes_on_where_it_was_given(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_from(RINGTAIL_START_MARKER);
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *r;

	rig_open(rig);
	rig_txn(rig, 3);
	rig_txn(rig, 3);
	r = rig_read(rig, rig_after(0));
	for (uint64_t seq = 1; seq <= 6; seq++) {
		rig_next(r, seq);
		t_ok(ringtail_marker(r, marker));
		o.marker = marker;
		rig_drain(rig_read(rig, o), seq < 3 ? 1 : seq < 6 ? 4 : 7, 6);
	}
}

static void four_kinds_of_wrong_markers_are_four_errors(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_from(RINGTAIL_START_MARKER);
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t epoch;

	rig_open(rig);
	rig_put(rig, 100);
	epoch = rig->w->segment.geo.epoch;
	o.marker = marker;
	t_ok(ringtail_marker_format(100, epoch, marker));
	t_ok(try_open(rig, o));
	marker[3] = marker[3] == '0' ? '1' : '0';
	t_is(try_open(rig, o), RINGTAIL_E_MALFORMED);
	marker[3] = 0;
	t_is(try_open(rig, o), RINGTAIL_E_MALFORMED);
	marker[0] = 0;
	t_is(try_open(rig, o), RINGTAIL_E_MALFORMED);
	t_ok(ringtail_marker_format(100, epoch ^ 1, marker));
	t_is(try_open(rig, o), RINGTAIL_E_EPOCH);
	t_ok(ringtail_marker_format(1000, epoch ^ 1, marker));
	t_is(try_open(rig, o), RINGTAIL_E_EPOCH);
	t_ok(ringtail_marker_format(1, epoch, marker));
	t_is(try_open(rig, o), RINGTAIL_E_COMPACTED);
	t_ok(ringtail_marker_format(101, epoch, marker));
	t_is(try_open(rig, o), RINGTAIL_E_FUTURE);
	t_ok(ringtail_marker_format(UINT64_MAX, epoch, marker));
	o.flags = RINGTAIL_ALLOW_FUTURE;
	t_is(try_open(rig, o), RINGTAIL_E_FUTURE);
}

static void a_time_begins_with_the_first_at_or_after_it(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_from(RINGTAIL_START_TIME);

	rig_open(rig);
	for (uint64_t i = 1; i <= 10; i++) {
		rt_writer_set_time(rig->w, 100 * i);
		rig_txn(rig, 2);
	}
	for (uint64_t i = 1; i <= 10; i++) {
		o.time_ns = 100 * i;
		rig_drain(rig_read(rig, o), 2 * i - 1, 20);
		o.time_ns = 100 * i - 99;
		rig_drain(rig_read(rig, o), 2 * i - 1, 20);
		o.time_ns = 100 * i + 1;
		rig_drain(rig_read(rig, o), 2 * i + 1, 20);
	}
	o.time_ns = 0;
	rig_drain(rig_read(rig, o), 1, 20);
	o.time_ns = UINT64_MAX;
	rig_drain(rig_read(rig, o), 21, 20);
}

/*
 * ---- Which file ----
 */

static void no_feed_is_told_from_no_access(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail *r = NULL;

	t_is(try_open(rig, o), RINGTAIL_E_NO_FEED);
	assert_non_null(strstr(ringtail_error(NULL), rig->path));
	t_is(ringtail_open_path(t_path(rig->dir, "none"), &o, &r), RINGTAIL_E_NO_FEED);
	t_write_file(t_path(rig->dir, "file"), "", 0);
	t_is(ringtail_open_path(t_path(rig->dir, "file/ring"), &o, &r),
	     RINGTAIL_E_NO_FEED);
	t_is(ringtail_open_path(t_path(rig->dir, "file"), &o, &r), RINGTAIL_E_CORRUPT);
	t_is(ringtail_open_path(rig->dir, &o, &r), RINGTAIL_E_CORRUPT);
	assert_int_equal(mkfifo(t_path(rig->dir, "fifo"), 0600), 0);
	t_is(ringtail_open_path(t_path(rig->dir, "fifo"), &o, &r), RINGTAIL_E_CORRUPT);
	t_is(ringtail_open_fd(-1, &o, &r), -EBADF);
	assert_null(r);
}

static int open_as_nobody(void *arg)
{
	struct rig *rig = arg;
	struct ringtail_options o = rig_after(0);
	struct ringtail *r;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	return rig_try(rig, o, &r) == -EACCES ? 0 : 2;
}

static void who_may_not_read_it_is_told(void **state)
{
	struct rig *rig = *state;

	if (geteuid() != 0)
		return; /* only root can be somebody else */
	assert_int_equal(chmod(rig->dir, 0755), 0);
	rig_open(rig);
	assert_int_equal(t_in_child(open_as_nobody, rig), 0);
}

static void by_name_path_and_descriptor_it_is_the_same(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail *r;
	int fd;

	rig_open(rig);
	rig_put(rig, 3);
	rig_drain(rig_read(rig, o), 1, 3);
	t_ok(ringtail_open_path(rig->path, &o, &r));
	rig_drain(rig_keep(rig, r), 1, 3);
	fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	t_ok(ringtail_open_fd(fd, &o, &r));
	(void)close(fd);
	rig_drain(rig_keep(rig, r), 1, 3);
	assert_int_equal(fcntl(r->segment.fd, F_GETFD), FD_CLOEXEC);
	t_ok(ringtail_open_path(rig->path, NULL, &r));
	assert_int_equal(ringtail_position(rig_keep(rig, r)), 3);
}

static void a_bad_name_is_refused(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail *r = NULL;

	o.dir = rig->dir;
	t_is(ringtail_open("../" RIG_FEED, &o, &r), -EINVAL);
	t_is(ringtail_open("", &o, &r), -EINVAL);
	t_is(ringtail_open(NULL, &o, &r), -EINVAL);
	assert_null(r);
}

static void *open_late(void *arg)
{
	struct rig *rig = arg;

	t_sleep_ms(15);
	return rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, NULL, &rig->w)
		       ? arg
		       : NULL;
}

static void who_wants_to_waits_for_the_feed(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail *r;
	pthread_t thread;
	void *failed;
	uint64_t began = t_now_ns();

	o.flags = RINGTAIL_WAIT_FOR_FEED;
	o.open_timeout_ns = 30000000;
	t_is(try_open(rig, o), RINGTAIL_E_NO_FEED);
	assert_in_range(t_now_ns() - began, 30000000, 500000000);
	o.open_timeout_ns = 0;
	t_is(try_open(rig, o), RINGTAIL_E_NO_FEED);

	o.open_timeout_ns = RINGTAIL_FOREVER;
	assert_int_equal(pthread_create(&thread, NULL, open_late, rig), 0);
	r = rig_read(rig, o);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	rig_put(rig, 1);
	rig_next(r, 1);
}

static void nothing_is_left_open_of_a_reader_that_was_refused(void **state)
{
	struct rig *rig = *state;
	int before;

	rig_open(rig);
	before = t_count_fds();
	for (int i = 0; i < 5; i++) {
		t_is(try_open(rig, rig_after(9)), RINGTAIL_E_FUTURE);
		t_is(try_open(rig, (struct ringtail_options){ 0 }), -EINVAL);
	}
	assert_int_equal(t_count_fds(), before);
	ringtail_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unknown_options_are_refused),
		T(options_that_contradict_each_other_are_refused),
		T(now_is_after_the_newest),
		T(oldest_is_the_first_that_is_held),
		T(after_a_seq_is_after_it),
		T(what_is_no_longer_held_is_compacted),
		T(who_allows_it_waits_for_the_future),
		T(a_future_in_the_middle_of_a_transaction_waits_for_all_of_it),
		T(a_future_that_is_lapped_is_a_gap),
		T(a_marker_goes_on_where_it_was_given),
		T(four_kinds_of_wrong_markers_are_four_errors),
		T(a_time_begins_with_the_first_at_or_after_it),
		T(no_feed_is_told_from_no_access),
		T(who_may_not_read_it_is_told),
		T(by_name_path_and_descriptor_it_is_the_same),
		T(a_bad_name_is_refused),
		T(who_wants_to_waits_for_the_feed),
		T(nothing_is_left_open_of_a_reader_that_was_refused),
	};

	return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
