/* SPDX-License-Identifier: MIT */
/*
 * test_writer.c - client/writer.c: the embedded writer by its public face
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sys/stat.h>

static struct ringtail_writer_options options(const struct rig *rig)
{
	struct ringtail_writer_options o = RINGTAIL_WRITER_OPTIONS_INIT;

	o.dir = rig->dir;
	o.n_slots = 64;
	o.payload_size = 4096;
	o.max_key = 128;
	return o;
}

/* The rig then closes it. */
static struct ringtail_writer *open_writer(struct rig *rig,
					   struct ringtail_writer_options o)
{
	struct ringtail_writer *w;

	t_ok(ringtail_writer_open(RIG_FEED, &o, &w));
	rig->w = (struct rt_writer *)(void *)w;
	return w;
}

static void defaults_are_those_of_the_header(void **state)
{
	struct rig *rig = *state;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail_writer_options o = RINGTAIL_WRITER_OPTIONS_INIT;
	struct stat st;

	o.dir = rig->dir;
	(void)open_writer(rig, o);
	t_ok(ringtail_get_info(rig_read(rig, rig_after(0)), &info));
	assert_int_equal(info.n_slots, 65536);
	assert_int_equal(info.payload_size, 8 << 20);
	assert_int_equal(info.max_key, 1024);
	assert_int_equal(info.max_value, 2 << 20);
	assert_int_equal(info.max_txn_events, 16384);
	assert_int_equal(info.max_txn_bytes, 2 << 20);
	assert_int_equal(info.holds_events, 61440);
	assert_int_equal(info.beat_every_ns, 1000000000);
	assert_int_equal(info.sweep_every_ns, 0);
	assert_int_equal(info.wake_always, 0);
	assert_int_equal(info.writer_pid, getpid());
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/bell"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

#define REFUSED(member, value) \
	do { \
		struct ringtail_writer_options o_ = options(rig); \
		struct ringtail_writer *w_ = NULL; \
		o_.member = (value); \
		t_is(ringtail_writer_open(RIG_FEED, &o_, &w_), -EINVAL); \
		assert_null(w_); \
		assert_true(*ringtail_error(NULL) != 0); \
	} while (0)

static void options_out_of_range_are_refused(void **state)
{
	struct rig *rig = *state;

	REFUSED(size, 0);
	REFUSED(size, sizeof(struct ringtail_writer_options) - 8);
	REFUSED(size, sizeof(struct ringtail_writer_options) + 8);
	REFUSED(flags, 2);
	REFUSED(reserved, 1);
	REFUSED(n_slots, 1);
	REFUSED(n_slots, 63);
	REFUSED(n_slots, 1u << 27);
	REFUSED(payload_size, 1);
	REFUSED(payload_size, 5000);
	REFUSED(payload_size, UINT64_C(1) << 35);
	REFUSED(max_key, 1025);
	REFUSED(max_key, 65536);
	REFUSED(max_value, 1025);
	REFUSED(mode, 01000);
	REFUSED(bell_mode, 04000);
	REFUSED(wake_mode, 2);
	REFUSED(clock, 2);
	assert_int_not_equal(access(rig->path, F_OK), 0);
}

static void a_bad_name_is_refused(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer_options o = options(rig);
	struct ringtail_writer *w = NULL;

	t_is(ringtail_writer_open("a/b", &o, &w), -EINVAL);
	t_is(ringtail_writer_open("", &o, &w), -EINVAL);
	t_is(ringtail_writer_open("..", &o, &w), -EINVAL);
	t_is(ringtail_writer_open(NULL, &o, &w), -EINVAL);
	assert_null(w);
}

static void a_feed_has_one_writer(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer_options o = options(rig);
	struct ringtail_writer *second = NULL;

	(void)open_writer(rig, o);
	t_is(ringtail_writer_open(RIG_FEED, &o, &second), RINGTAIL_E_BUSY);
	assert_null(second);
	assert_non_null(strstr(ringtail_error(NULL), RIG_FEED));
}

static void single_events_are_transactions(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	assert_int_equal(ringtail_writer_seq(w), 0);
	t_ok(ringtail_put(w, "a", 1, "1", 1, RINGTAIL_CREATED));
	t_ok(ringtail_put(w, "a", 1, NULL, 0, 0));
	t_ok(ringtail_delete(w, "a", 1, RINGTAIL_EXPIRED));
	t_ok(ringtail_delete(w, "a", 1, 0));
	t_ok(ringtail_message(w, "a", 1, "m", 1));
	assert_int_equal(ringtail_writer_seq(w), 5);

	for (uint64_t seq = 1; seq <= 5; seq++) {
		static const uint32_t ops[] = { 0,
						RINGTAIL_PUT,
						RINGTAIL_PUT,
						RINGTAIL_DELETE,
						RINGTAIL_DELETE,
						RINGTAIL_MESSAGE };
		static const uint32_t flags[] = { 0, RINGTAIL_CREATED, 0,
						  RINGTAIL_EXPIRED };

		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.op, ops[seq]);
		assert_int_equal(event.flags,
				 (seq < 4 ? flags[seq] : 0) | RINGTAIL_LAST);
		assert_int_equal(event.rev, seq);
		assert_int_equal(event.txn_size, 1);
	}
}

static void wrong_flags_and_keys_are_refused(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));

	t_is(ringtail_put(w, "a", 1, "", 0, RINGTAIL_EXPIRED), -EINVAL);
	t_is(ringtail_put(w, "a", 1, "", 0, 0x100), -EINVAL);
	t_is(ringtail_put(w, "", 0, "", 0, 0), -EINVAL);
	t_is(ringtail_put(w, "a", 1, NULL, 1, 0), -EINVAL);
	t_is(ringtail_message(w, "a", 1, NULL, 1), -EINVAL);
	t_is(ringtail_delete(w, "a", 1, RINGTAIL_CREATED), -EINVAL);
	t_is(ringtail_delete(w, "", 0, 0), -EINVAL);
	t_is(ringtail_message(w, "", 0, "", 0), -EINVAL);
	assert_int_equal(ringtail_writer_seq(w), 0);
}

static void over_a_limit_nothing_is_changed(void **state)
{
	static const char bytes[2000];
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));

	t_ok(ringtail_put(w, bytes, 128, bytes, 896, 0));
	t_is(ringtail_put(w, bytes, 129, bytes, 0, 0), RINGTAIL_E_TOO_BIG);
	t_is(ringtail_put(w, bytes, 1, bytes, 1024, 0), RINGTAIL_E_TOO_BIG);
	t_is(ringtail_delete(w, bytes, 129, 0), RINGTAIL_E_TOO_BIG);
	t_is(ringtail_message(w, bytes, 1, bytes, 1024), RINGTAIL_E_TOO_BIG);
	assert_int_equal(ringtail_writer_seq(w), 1);
}

static void a_transaction_is_begun_once_and_ended_once(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	void *room = NULL;

	t_is(ringtail_commit(w), -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_PUT, "a", 1, "", 0, 0), -EINVAL);
	t_is(ringtail_claim(w, "a", 1, 10, 0, &room), -EINVAL);
	ringtail_abort(w);
	t_ok(ringtail_begin(w));
	t_is(ringtail_begin(w), -EINVAL);
	t_is(ringtail_put(w, "a", 1, "", 0, 0), -EINVAL);
	t_is(ringtail_delete(w, "a", 1, 0), -EINVAL);
	t_is(ringtail_message(w, "a", 1, "", 0), -EINVAL);
	t_ok(ringtail_commit(w));
	t_is(ringtail_commit(w), -EINVAL);
	t_ok(ringtail_begin(w));
	ringtail_abort(w);
	t_is(ringtail_commit(w), -EINVAL);
	assert_null(room);
	assert_int_equal(ringtail_writer_seq(w), 0);
}

static void what_goes_into_a_transaction_is_checked(void **state)
{
	static const char bytes[2000];
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *r = rig_read(rig, rig_after(0));
	const struct ringtail_event *events;
	void *room = NULL;
	size_t n;

	t_ok(ringtail_begin(w));
	t_is(ringtail_add(w, 0, "a", 1, "", 0, 0), -EINVAL);
	t_is(ringtail_add(w, 4, "a", 1, "", 0, 0), -EINVAL);
	t_is(ringtail_add(w, 257, "a", 1, "", 0, 0), -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_PUT, "a", 1, "", 0, RINGTAIL_EXPIRED), -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_DELETE, "a", 1, "", 0, RINGTAIL_CREATED),
	     -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_DELETE, "a", 1, "v", 1, 0), -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_MESSAGE, "a", 1, "", 0, RINGTAIL_CREATED),
	     -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_PUT, "", 0, "", 0, 0), -EINVAL);
	t_is(ringtail_add(w, RINGTAIL_PUT, bytes, 129, "", 0, 0), RINGTAIL_E_TOO_BIG);
	t_is(ringtail_claim(w, "a", 1, 10, RINGTAIL_EXPIRED, &room), -EINVAL);
	t_is(ringtail_claim(w, "a", 1, 1024, 0, &room), RINGTAIL_E_TOO_BIG);
	assert_null(room);
	t_ok(ringtail_add(w, RINGTAIL_PUT, "a", 1, "1", 1, RINGTAIL_CREATED));
	t_ok(ringtail_add(w, RINGTAIL_DELETE, "b", 1, NULL, 0, RINGTAIL_EXPIRED));
	t_ok(ringtail_add(w, RINGTAIL_MESSAGE, "c", 1, "3", 1, 0));
	t_ok(ringtail_claim(w, "d", 1, 40, RINGTAIL_CREATED, &room));
	memset(room, 'd', 40);
	assert_int_equal(ringtail_writer_seq(w), 0);
	t_ok(ringtail_commit(w));
	assert_int_equal(ringtail_writer_seq(w), 4);

	t_is(ringtail_next_txn(r, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 4);
	assert_int_equal(events[3].value_len, 40);
	assert_memory_equal(events[3].value, "dddddddd", 8);
}

static void the_caller_may_reuse_its_buffers_at_once(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *a = rig_read(rig, rig_after(0));
	struct ringtail *b = rig_read(rig, rig_after(0));
	struct ringtail_event event;
	char buffer[100];

	for (int i = 0; i < 3; i++) {
		memset(buffer, 'a' + i, sizeof(buffer));
		t_ok(ringtail_put(w, buffer, 30, buffer, sizeof(buffer), 0));
	}
	memset(buffer, 0, sizeof(buffer));
	for (int i = 0; i < 3; i++) {
		char want[100];

		memset(want, 'a' + i, sizeof(want));
		t_is(ringtail_next(a, &event, 0), RINGTAIL_EVENT);
		assert_memory_equal(event.value, want, sizeof(want));
		t_is(ringtail_next(b, &event, 0), RINGTAIL_EVENT);
		assert_memory_equal(event.value, want, sizeof(want));
		assert_memory_equal(event.key, want, 30);
	}
}

static void closing_drops_what_is_open_and_takes_null(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	t_ok(ringtail_put(w, "k", 1, "value 1", 7, 0));
	t_ok(ringtail_begin(w));
	t_ok(ringtail_add(w, RINGTAIL_PUT, "lost", 4, "", 0, 0));
	ringtail_writer_close(w);
	rig->w = NULL;
	ringtail_writer_close(NULL);
	rig_next(r, 1);
	t_is(ringtail_next(r, &event, RINGTAIL_FOREVER), RINGTAIL_E_CLOSED);
	assert_non_null(strstr(ringtail_error(r), "seq 1"));
}

static void seq_and_epoch_make_the_readers_marker(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *r = rig_read(rig, rig_after(0));
	char by_writer[RINGTAIL_MARKER_SIZE], by_reader[RINGTAIL_MARKER_SIZE];
	struct ringtail_event event;

	for (int i = 0; i < 10; i++) {
		t_ok(ringtail_put(w, "k", 1, "", 0, 0));
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
		t_ok(ringtail_marker_format(ringtail_writer_seq(w),
					    ringtail_writer_epoch(w), by_writer));
		t_ok(ringtail_marker(r, by_reader));
		assert_string_equal(by_writer, by_reader);
	}
}

static void a_new_epoch_begins_at_one(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer_options o = options(rig);
	struct ringtail_writer *w = open_writer(rig, o);
	uint64_t epoch = ringtail_writer_epoch(w);

	t_ok(ringtail_put(w, "k", 1, "", 0, 0));
	rig_close(rig);
	w = open_writer(rig, o);
	assert_true(ringtail_writer_epoch(w) == epoch);
	assert_int_equal(ringtail_writer_seq(w), 1);
	rig_close(rig);
	o.flags = RINGTAIL_WRITER_NEW_EPOCH;
	w = open_writer(rig, o);
	assert_true(ringtail_writer_epoch(w) != epoch);
	assert_int_equal(ringtail_writer_seq(w), 0);
}

static void a_set_time_is_that_of_the_commits_to_come(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer *w = open_writer(rig, options(rig));
	struct ringtail *r = rig_read(rig, rig_after(0));
	struct ringtail_event event;

	ringtail_writer_set_time(w, 777);
	t_ok(ringtail_put(w, "k", 1, "", 0, 0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.time_ns, 777);
	ringtail_writer_set_time(w, 0);
	t_ok(ringtail_put(w, "k", 1, "", 0, 0));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	assert_true(event.time_ns > UINT64_C(1500000000000000000));
}

static void beats_are_as_asked(void **state)
{
	struct rig *rig = *state;
	struct ringtail_writer_options o = options(rig);
	struct ringtail_info info = { .size = sizeof(info) };

	o.beat_ms = 50;
	o.wake_mode = RINGTAIL_WAKE_ALWAYS;
	(void)open_writer(rig, o);
	t_ok(ringtail_get_info(rig_read(rig, rig_after(0)), &info));
	assert_int_equal(info.beat_every_ns, 50000000);
	assert_int_equal(info.wake_always, 1);
	assert_int_equal(info.state, RINGTAIL_LIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(defaults_are_those_of_the_header),
		T(options_out_of_range_are_refused),
		T(a_bad_name_is_refused),
		T(a_feed_has_one_writer),
		T(single_events_are_transactions),
		T(wrong_flags_and_keys_are_refused),
		T(over_a_limit_nothing_is_changed),
		T(a_transaction_is_begun_once_and_ended_once),
		T(what_goes_into_a_transaction_is_checked),
		T(the_caller_may_reuse_its_buffers_at_once),
		T(closing_drops_what_is_open_and_takes_null),
		T(seq_and_epoch_make_the_readers_marker),
		T(a_new_epoch_begins_at_one),
		T(a_set_time_is_that_of_the_commits_to_come),
		T(beats_are_as_asked),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
