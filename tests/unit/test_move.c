/* SPDX-License-Identifier: MIT */
/*
 * test_move.c - shm/writer_move.c: a feed that moves while its writer goes on
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void move_to_mode(struct rig *rig, mode_t mode)
{
	rig->config.mode = mode;
	t_ok(rt_writer_move(rig->w, &rig->config, &rig->fault));
}

static void readers_follow_and_lose_nothing(void **state)
{
	struct rig *rig = *state;
	struct ringtail *behind, *caught_up;
	struct ringtail_stats stats = { .size = sizeof(stats) };
	struct ringtail_event event;

	rig_open(rig);
	rig_put(rig, 10);
	behind = rig_read(rig, rig_after(0));
	caught_up = rig_read(rig, rig_after(10));
	t_is(ringtail_next(caught_up, &event, 0), RINGTAIL_CAUGHT_UP);
	rig_next(behind, 1);

	move_to_mode(rig, 0600);
	rig_put(rig, 5);

	assert_int_equal(mode_of(rig->path), 0600);
	for (uint64_t seq = 2; seq <= 15; seq++)
		rig_next(behind, seq);
	for (uint64_t seq = 11; seq <= 15; seq++)
		rig_next(caught_up, seq);
	t_ok(ringtail_get_stats(behind, &stats));
	assert_int_equal(stats.moves, 1);
	assert_int_equal(stats.lost, 0);
	t_is(ringtail_next(behind, &event, 0), RINGTAIL_NOTHING);
}

static void what_is_known_of_the_feed_goes_along(void **state)
{
	struct rig *rig = *state;
	struct ringtail_info was = { .size = sizeof(was) }, is = { .size = sizeof(is) };
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 100); /* more than the ring holds */
	rig_txn(rig, 3);
	rt_store64(&rig->w->hot->synced_seq, 77);
	rt_store64(&rig->w->hot->trimmed, 5);
	rt_store64(&rig->w->hot->aged, 4);
	rt_store32(&rig->w->hot->durability, RT_STATE_CLOSED);
	r = rig_read(rig, rig_after(103));
	t_ok(ringtail_get_info(r, &was));
	move_to_mode(rig, 0600);
	rig_forget(rig, r);
	r = rig_read(rig, rig_after(103));
	t_ok(ringtail_get_info(r, &is));

	assert_int_not_equal(is.instance, was.instance);
	assert_int_equal(is.epoch, was.epoch);
	assert_int_equal(is.head, 103);
	assert_int_equal(is.oldest, was.oldest);
	assert_int_equal(is.oldest_time_ns, was.oldest_time_ns);
	assert_int_equal(is.opened_ns, was.opened_ns);
	assert_int_equal(is.n_writers, was.n_writers);
	assert_int_equal(is.n_txns, 101);
	assert_int_equal(is.synced_seq, 77);
	assert_int_equal(rt_load64(&rig->w->hot->trimmed), 5);
	assert_int_equal(rt_load64(&rig->w->hot->aged), 4);
	assert_int_equal(is.durability, was.durability);
	assert_int_equal(is.state, RINGTAIL_LIVE);
	assert_int_equal(is.writer_pid, getpid());
	assert_int_equal(is.beat_every_ns, RIG_BEAT_NS);
}

static void it_moves_to_another_size(void **state)
{
	static const uint32_t sizes[] = { 256, 64, 1024, 128 };
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	for (size_t i = 0; i < T_N(sizes); i++) {
		rig_put(rig, 20);
		rig->config.n_slots = sizes[i];
		t_ok(rt_writer_move(rig->w, &rig->config, &rig->fault));
		assert_int_equal(rig->w->segment.geo.n_slots, sizes[i]);
		rig_put(rig, 5);
		for (unsigned n = 0; n < 25; n++)
			rig_next(r, 25 * i + n + 1);
	}
}

/* Though the new ring has to begin behind a transaction that it cannot take. */
static void what_was_let_go_stays_so_in_a_smaller_ring(void **state)
{
	struct rig *rig = *state;

	rig->config.n_slots = 1024;
	rig->config.payload_size = 1 << 16;
	rig_open(rig);
	rig_put(rig, 10);
	rig_txn(rig, 100);
	rig_put(rig, 1);
	rt_store64(&rig->w->hot->trimmed, 8);
	rt_store64(&rig->w->hot->aged, 9);
	rig->config.n_slots = 64;
	rig->config.payload_size = 4096;
	t_ok(rt_writer_move(rig->w, &rig->config, &rig->fault));
	assert_int_equal(rt_load64(&rig->w->hot->floor), 111);
	assert_int_equal(rt_load64(&rig->w->hot->trimmed), 8);
	assert_int_equal(rt_load64(&rig->w->hot->aged), 9);
}

static void a_writer_that_holds_wakes_goes_on_to(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	rt_writer_set_time(rig->w, 12345);
	rt_writer_hold(rig->w);
	rig_put(rig, 3);
	move_to_mode(rig, 0600);
	assert_true(rig->w->holding);
	assert_int_equal(rig->w->fixed_ns, 12345);
	rig_put(rig, 3);
	rt_writer_release(rig->w);
	for (uint64_t seq = 1; seq <= 6; seq++)
		rig_next(r, seq);
}

static void what_cannot_be_is_refused_and_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct rt_ring_config config;
	uint64_t instance;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 3);
	instance = rig->w->segment.geo.instance;
	r = rig_read(rig, rig_after(0));
	config = rig->config;
	config.n_slots = 100;
	t_is(rt_writer_move(rig->w, &config, &rig->fault), -EINVAL);
	assert_non_null(strstr(rig->fault.text, "slots=100"));
	config = rig->config;
	config.wake_mode = RT_WAKE_ALWAYS;
	t_is(rt_writer_move(rig->w, &config, &rig->fault), -EINVAL);
	config = rig->config;
	config.mode = 0600;
	rt_writer_begin(rig->w);
	t_is(rt_writer_move(rig->w, &config, &rig->fault), -EINVAL);
	rt_writer_abort(rig->w);
	/* The new ring cannot get its name: that of a folder. */
	t_ok(unlink(rig->path));
	t_ok(mkdir(rig->path, 0700));
	t_is(rt_writer_move(rig->w, &config, &rig->fault), -EISDIR);
	t_ok(rmdir(rig->path));

	assert_int_equal(rig->w->segment.geo.instance, instance);
	assert_int_equal(access(t_path(rig->dir, RIG_FEED "/.ring.new"), F_OK), -1);
	rig_put(rig, 1);
	for (uint64_t seq = 1; seq <= 4; seq++)
		rig_next(r, seq);
	t_is(ringtail_state(r), RINGTAIL_LIVE);
}

static void the_bell_gets_the_mode_that_is_asked_for(void **state)
{
	const char *bell;
	struct rig *rig = *state;

	rig->config.bell_mode = 0600;
	rig_open(rig);
	bell = t_path(rig->dir, RIG_FEED "/bell");
	assert_int_equal(mode_of(bell), 0600);
	rig->config.bell_mode = 0620;
	t_ok(rt_writer_move(rig->w, &rig->config, &rig->fault));
	assert_int_equal(mode_of(bell), 0620);
	assert_int_equal(rt_load64(&rig->w->hot->bell_id), rig->w->bell_id);
}

struct sleeper {
	struct ringtail *r;
	_Atomic uint64_t last;
	_Atomic int outcome;
};

static void *sleep_and_read(void *arg)
{
	struct sleeper *s = arg;
	struct ringtail_event event;

	do {
		s->outcome = ringtail_next(s->r, &event, INT64_C(30000000000));
		if (s->outcome == RINGTAIL_EVENT)
			s->last = event.seq;
	} while (s->outcome == RINGTAIL_CAUGHT_UP ||
		 (s->outcome == RINGTAIL_EVENT && s->last < 2000));
	return NULL;
}

/* Sleepers of the old ring are woken by the move, those of the new by commits. */
static void sleepers_come_along(void **state)
{
	struct rig *rig = *state;
	struct sleeper s = { .last = 0 };
	pthread_t thread;

	rig_open(rig);
	s.r = rig_read(rig, rig_after(0));
	assert_int_equal(pthread_create(&thread, NULL, sleep_and_read, &s), 0);
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned n = 0; n < 50; n++) {
			rig_put(rig, 1);
			if (n % 10 == 0)
				usleep(100);
		}
		while (s.last < rig->w->next - 1 && s.outcome >= 0)
			usleep(100);
		usleep(500);
		move_to_mode(rig, i % 2 ? 0640 : 0600);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	t_is(s.outcome, RINGTAIL_EVENT);
	assert_int_equal(s.last, 2000);
}

static int move_and_die(void *arg)
{
	struct rig *rig = arg;

	if (rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, &rig->fault,
			   &rig->w) < 0)
		return 1;
	rig_put(rig, 5);
	rig->config.mode = 0600;
	if (rt_writer_move(rig->w, &rig->config, &rig->fault) < 0)
		return 2;
	rig_put(rig, 5);
	(void)kill(getpid(), SIGKILL);
	return 3;
}

/* The kernel marks the ring that it has now. */
static void the_death_of_a_writer_that_moved_is_seen(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	struct ringtail_event event;

	assert_int_equal(t_in_child(move_and_die, rig), 1000 + SIGKILL);
	r = rig_read(rig, rig_after(0));
	for (uint64_t seq = 1; seq <= 10; seq++)
		rig_next(r, seq);
	t_is(ringtail_state(r), RINGTAIL_DEAD);
	rig_open(rig);
	rig_put(rig, 1);
	rig_next(r, 11);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(readers_follow_and_lose_nothing),
		T(what_is_known_of_the_feed_goes_along),
		T(it_moves_to_another_size),
		T(what_was_let_go_stays_so_in_a_smaller_ring),
		T(a_writer_that_holds_wakes_goes_on_to),
		T(what_cannot_be_is_refused_and_changes_nothing),
		T(the_bell_gets_the_mode_that_is_asked_for),
		T(sleepers_come_along),
		T(the_death_of_a_writer_that_moved_is_seen),
	};

	return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
