/* SPDX-License-Identifier: MIT */
/*
 * test_follow.c - readers and a feed that moves to another ring file
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Closes the writer and opens one with a ring of @n_slots. */
static void move(struct rig *rig, uint32_t n_slots)
{
	rig_close(rig);
	rig->config.n_slots = n_slots;
	rig_open(rig);
}

static void all_that_the_ring_held_is_in_the_next_one(void **state)
{
	struct rig *rig = *state;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 10);
	rig_txn(rig, 16);
	move(rig, 256);

	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 26);
	t_ok(ringtail_get_info(r, &info));
	assert_int_equal(info.n_slots, 256);
	assert_int_equal(info.head, 26);
	assert_int_equal(info.oldest, 1);
	assert_int_equal(info.n_writers, 2);
	assert_int_equal(info.n_txns, 11);
}

static void times_epoch_and_kinds_move_along(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t epoch;

	rig_open(rig);
	epoch = rig->w->segment.geo.epoch;
	rt_writer_set_time(rig->w, 1000);
	t_ok(rt_writer_one(rig->w, RT_OP_PUT, RT_EVENT_CREATED, "a", 1, "v", 1));
	rt_writer_set_time(rig->w, 2000);
	t_ok(rt_writer_one(rig->w, RT_OP_DELETE, RT_EVENT_EXPIRED, "a", 1, NULL, 0));
	move(rig, 128);
	assert_true(rig->w->segment.geo.epoch == epoch);

	r = rig_read(rig, rig_after(0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.time_ns, 1000);
	assert_int_equal(event.flags, RINGTAIL_CREATED | RINGTAIL_LAST);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.time_ns, 2000);
	assert_int_equal(event.op, RINGTAIL_DELETE);
}

static void readers_drain_the_old_ring_and_go_on_in_the_new_one(void **state)
{
	struct rig *rig = *state;
	struct ringtail *ahead, *behind;

	rig_open(rig);
	rig_put(rig, 5);
	ahead = rig_read(rig, rig_after(0));
	behind = rig_read(rig, rig_after(0));
	rig_drain(ahead, 1, 5);
	rig_next(behind, 1);
	rig_drop(rig);
	rig->config.payload_size = 8192;
	rig_open(rig);
	rig_put(rig, 3);

	rig_drain(ahead, 6, 8);
	rig_drain(behind, 2, 8);
	assert_int_equal(rig_stats(ahead).moves, 1);
	assert_int_equal(rig_stats(behind).lost, 0);
}

static void several_hops_are_one_to_the_reader(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	uint64_t seq = 2;

	rig_open(rig);
	rig_put(rig, 2);
	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 2);
	for (uint32_t n_slots = 128; n_slots <= 1024; n_slots *= 2) {
		move(rig, n_slots);
		rig_put(rig, 2);
		seq += 2;
	}

	rig_drain(r, 3, seq);
	assert_int_equal(rig_stats(r).moves, 1);
}

/* Where the reader stood is not held any more, and nothing else is in that slot. */
static void a_hop_into_a_ring_that_began_later_is_a_gap(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *skips, *stops;

	rig->config.n_slots = 256;
	rig_open(rig);
	rig_put(rig, 2);
	skips = rig_read(rig, rig_skip(0));
	stops = rig_read(rig, rig_after(0));
	rig_drain(skips, 1, 2);
	rig_drain(stops, 1, 2);
	move(rig, 512);
	rig_put(rig, 30);
	rig_txn(rig, 100); /* 33 .. 132, too many for the next ring */
	move(rig, 64);
	rig_put(rig, 2);

	t_is(ringtail_next(skips, &event, 0), RINGTAIL_GAP);
	rig_gap(skips, 3, 130, 0, RINGTAIL_CAUSE_LAPPED);
	rig_drain(skips, 133, 134);
	assert_int_equal(rig_stats(skips).lost, 130);
	t_is(ringtail_next(stops, &event, 0), RINGTAIL_E_LAPPED);
	rig_gap(stops, 3, 130, 0, RINGTAIL_CAUSE_LAPPED);
}

static void a_smaller_ring_keeps_the_newest_without_a_hole(void **state)
{
	struct rig *rig = *state;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *r;

	rig->config.n_slots = 256;
	rig_open(rig);
	rig_put(rig, 10);
	rig_txn(rig, 64); /* 11 .. 74 */
	rig_put(rig, 5);  /* .. 79 */
	move(rig, 64);

	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	t_ok(ringtail_get_info(r, &info));
	assert_int_equal(info.oldest, 75);
	assert_int_equal(info.head, 79);
	rig_drain(r, 75, 79);
	t_is(rig_try(rig, rig_after(73), &r), RINGTAIL_E_COMPACTED);
	r = rig_read(rig, rig_after(74));
	rig_drain(r, 75, 79);
	rig_put(rig, 1);
	rig_next(r, 80);
}

/* With so much after the transaction that the floor of the new ring has to move. */
static void a_ring_that_always_wakes_can_become_smaller_too(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig->config.n_slots = 256;
	rig->config.wake_mode = RT_WAKE_ALWAYS;
	rig_open(rig);
	rig_txn(rig, 64);
	rig_put(rig, 150);
	move(rig, 64);

	r = rig_read(rig, rig_from(RINGTAIL_START_OLDEST));
	assert_true(ringtail_position(r) > 64);
	rig_drain(r, ringtail_position(r) + 1, 214);
}

static void an_empty_feed_moves_too(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	move(rig, 128);
	rig_put(rig, 1);
	rig_next(r, 1);
}

static void the_old_file_is_gone_from_the_folder(void **state)
{
	struct rig *rig = *state;
	struct stat before, after;

	rig_open(rig);
	assert_int_equal(stat(rig->path, &before), 0);
	move(rig, 128);
	assert_int_equal(stat(rig->path, &after), 0);
	assert_true(before.st_ino != after.st_ino);
	assert_int_not_equal(access(t_path(rig->dir, RIG_FEED "/.ring.new"), F_OK), 0);
}

static void filters_move_along(void **state)
{
	static const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
						       .a = "a/",
						       .a_len = 2 };
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;

	o.filters = &filter;
	o.n_filters = 1;
	rig_open(rig);
	r = rig_read(rig, o);
	rig_put(rig, 3);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	move(rig, 128);
	rig_put(rig, 2);
	t_ok(rt_writer_one(rig->w, RT_OP_PUT, 0, "a/b", 3, "", 0));

	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 6);
	assert_int_equal(rig_stats(r).filtered, 5);
}

static void who_has_only_a_descriptor_cannot_follow(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;
	int fd;

	rig_open(rig);
	rig_put(rig, 2);
	fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	t_ok(ringtail_open_fd(fd, &o, &r));
	(void)close(fd);
	(void)rig_keep(rig, r);
	rig_next(r, 1);
	move(rig, 128);
	rig_put(rig, 1);

	rig_next(r, 2);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_RETIRED);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_RETIRED);
	assert_non_null(strstr(ringtail_error(r), RIG_FEED));
}

static void a_new_history_is_no_successor(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t epoch;

	rig_open(rig);
	epoch = rig->w->segment.geo.epoch;
	rig_put(rig, 2);
	r = rig_read(rig, rig_after(0));
	rig_close(rig);
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_NEW_EPOCH, RIG_BEAT_NS,
			    NULL, &rig->w));
	assert_true(rig->w->segment.geo.epoch != epoch);
	assert_int_equal(rt_writer_head(rig->w), 0);
	rig_put(rig, 1);

	rig_next(r, 1);
	rig_next(r, 2);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_EPOCH);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_EPOCH);
}

static void what_is_no_ring_is_waited_out(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	rt_writer_drop(rig->w); /* as if it had died */
	rig->w = NULL;
	t_ok(unlink(rig->path));
	t_write_file(rig->path, "no ring", 7);

	/* At first the news of the death; then it looks at the path at each sleep. */
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	t_is(ringtail_next(r, &event, 1100000000), RINGTAIL_NOTHING);
	rig->config.epoch = r->segment.geo.epoch;
	rig->config.first_seq = 2;
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w));
	rig_put(rig, 1);
	t_is(ringtail_next(r, &event, 5000000000), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 2);
}

/* As the user nobody, whom the new file's mode shuts out. */
static int follow_as_nobody(void *arg)
{
	struct rig *rig = arg;
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;
	bool told;

	o.dir = rig->dir;
	if (setgid(65534) < 0 || setuid(65534) < 0 ||
	    ringtail_open(RIG_FEED, &o, &r) < 0 ||
	    ringtail_next(r, &event, 0) != RINGTAIL_EVENT)
		return 1;
	if (write(rig->map.fd, "x", 1) != 1)
		return 2;
	for (int i = 0; i < 2; i++) {
		int outcome;

		do { /* nothing but the news that the writer died */
			outcome = ringtail_next(r, &event, RINGTAIL_FOREVER);
		} while (outcome == RINGTAIL_NOTHING);
		if (outcome != -EACCES)
			return 3;
	}
	told = strstr(ringtail_error(r), rig->path) != NULL;
	ringtail_close(r);
	return told ? 0 : 4;
}

static void who_may_not_open_the_next_ring_is_told(void **state)
{
	struct rig *rig = *state;
	struct rig child;
	int ends[2], pid;
	char byte;

	if (geteuid() != 0)
		return; /* only root can be somebody else */
	assert_int_equal(chmod(rig->dir, 0755), 0);
	rig->config.mode = 0644;
	rig_open(rig);
	rig_put(rig, 1);
	assert_int_equal(pipe(ends), 0);
	child = *rig;
	child.map.fd = ends[1];
	pid = t_spawn(follow_as_nobody, &child);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
	rig_drop(rig);
	rig->config.mode = 0600;
	rig_open(rig);

	assert_int_equal(t_join(pid), 0);
}

static void want_of_descriptors_passes(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r, *another;
	struct rlimit limit, none;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	move(rig, 128);
	rig_put(rig, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), -EMFILE);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), -EMFILE);
	t_is(rig_try(rig, rig_after(0), &another), -EMFILE);
	t_is(ringtail_fd(r), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	rig_next(r, 2);
}

/* A writer that dies when the old ring is retired and the new one not yet there. */
static void a_move_that_stops_half_way_is_waited_out(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 1);
	(void)rig_map(rig);
	rig_drop(rig);
	rt_store32(&rig->map.hot->state, RT_STATE_RETIRED);
	for (int i = 0; i < 5; i++)
		t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	rig_open(rig);
	rig_put(rig, 1);
	rig_drain(r, 2, 2);
	assert_int_equal(rig_stats(r).moves, 0);
}

/* The death of the old ring's writer is no news to who found the new one. */
static void a_death_on_the_way_is_not_told_in_the_new_ring(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	uint64_t began;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 1);
	(void)rig_map(rig);
	rig_drop(rig);
	rig->config.n_slots = 128;
	rig_open(rig);
	rt_store32(&rig->map.hot->state, RT_STATE_LIVE);
	rt_store32(&rig->map.hot->life, FUTEX_OWNER_DIED);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
	assert_int_equal(rig_stats(r).moves, 1);
	began = t_now_ns();
	t_is(ringtail_next(r, &event, INT64_C(10000000)), RINGTAIL_NOTHING);
	assert_true(t_now_ns() - began >= 10000000);
}

static void a_reader_on_the_way_is_not_told_that_the_writer_is_dead(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 2);
	r = rig_read(rig, rig_after(0));
	rig_next(r, 1);
	rig_drop(rig);
	assert_int_equal(ringtail_state(r), RINGTAIL_DEAD);
	rig->config.n_slots = 128;
	rig_open(rig);
	assert_int_equal(ringtail_state(r), RINGTAIL_LIVE);
}

static void a_sleeper_follows_at_once(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	r = rig_read(rig, rig_after(0));
	rig_drain(r, 1, 1);
	rig_sleep_begin(&s, r);
	move(rig, 128);
	rig_put(rig, 1);
	if (rig_sleep_end(&s) == RINGTAIL_E_CLOSED)
		return; /* it saw the close that came before */
	t_is(s.outcome, RINGTAIL_EVENT);
	rig_is(&s.event, 2);
}

/* One that begins in place of a killed one whose file is gone: the old says nothing. */
static void open_anew(struct rig *rig, uint64_t epoch)
{
	(void)unlink(rig->path);
	rig->config.epoch = epoch;
	rig->config.first_seq = 1;
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_ANEW, RIG_BEAT_NS, NULL,
			    &rig->w));
	rig_put(rig, 1);
}

static int poll_for(struct ringtail *r, struct ringtail_event *event)
{
	uint64_t end = t_now_ns() + UINT64_C(20000000000);
	int outcome;

	while (!(outcome = ringtail_next(r, event, 0)) && t_now_ns() < end)
		;
	return outcome;
}

/* ... to those who never sleep, and have been told of the death already. */
static void a_replaced_file_is_found_without_sleeping(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = rig_after(0);
	struct ringtail *polls, *spins;
	struct ringtail_event event;
	uint64_t epoch;

	rig_open(rig);
	epoch = rig->w->segment.geo.epoch;
	polls = rig_read(rig, o);
	o.wait = RINGTAIL_WAIT_SPIN;
	spins = rig_read(rig, o);
	t_is(ringtail_next(polls, &event, 0), RINGTAIL_CAUGHT_UP);
	t_is(ringtail_next(spins, &event, 0), RINGTAIL_CAUGHT_UP);
	rig_drop(rig);
	t_is(ringtail_next(polls, &event, 0), RINGTAIL_NOTHING);
	t_is(ringtail_next(polls, &event, 0), RINGTAIL_NOTHING);
	t_is(ringtail_next(spins, &event, RINGTAIL_FOREVER), RINGTAIL_NOTHING);
	open_anew(rig, epoch);

	t_is(poll_for(polls, &event), RINGTAIL_EVENT);
	rig_is(&event, 1);
	t_is(ringtail_next(spins, &event, INT64_C(20000000000)), RINGTAIL_EVENT);
	rig_is(&event, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_that_the_ring_held_is_in_the_next_one),
		T(times_epoch_and_kinds_move_along),
		T(readers_drain_the_old_ring_and_go_on_in_the_new_one),
		T(several_hops_are_one_to_the_reader),
		T(a_hop_into_a_ring_that_began_later_is_a_gap),
		T(a_smaller_ring_keeps_the_newest_without_a_hole),
		T(a_ring_that_always_wakes_can_become_smaller_too),
		T(an_empty_feed_moves_too),
		T(the_old_file_is_gone_from_the_folder),
		T(filters_move_along),
		T(who_has_only_a_descriptor_cannot_follow),
		T(a_new_history_is_no_successor),
		T(what_is_no_ring_is_waited_out),
		T(who_may_not_open_the_next_ring_is_told),
		T(want_of_descriptors_passes),
		T(a_move_that_stops_half_way_is_waited_out),
		T(a_death_on_the_way_is_not_told_in_the_new_ring),
		T(a_reader_on_the_way_is_not_told_that_the_writer_is_dead),
		T(a_sleeper_follows_at_once),
		T(a_replaced_file_is_found_without_sleeping),
	};

	return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
