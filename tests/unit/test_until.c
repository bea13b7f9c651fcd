/* SPDX-License-Identifier: MIT */
/*
 * test_until.c - readers that shall stop at a seq
 */
#include "tests/unit/rig.h"

#include <errno.h>

static struct ringtail *reader(struct rig *rig, uint64_t after, uint64_t until)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *r;

	options.start = RINGTAIL_START_AFTER_SEQ;
	options.seq = after;
	options.until = until;
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	t_ok(ringtail_open_path(rig->path, &options, &r));
	rig->readers[rig->n_readers++] = r;
	return r;
}

static int next(struct ringtail *r, uint64_t *ret_seq)
{
	struct ringtail_event event;
	int outcome = ringtail_next(r, &event, 0);

	*ret_seq = outcome == RINGTAIL_EVENT ? event.seq : 0;
	return outcome;
}

static void brings(struct ringtail *r, uint64_t seq)
{
	uint64_t got;

	assert_int_equal(next(r, &got), RINGTAIL_EVENT);
	assert_int_equal(got, seq);
}

static void has_ended(struct ringtail *r, uint64_t position)
{
	uint64_t unused;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(next(r, &unused), RINGTAIL_E_END);
	assert_int_equal(ringtail_position(r), position);
	assert_non_null(strstr(ringtail_error(r), "the end"));
}

static void it_ends_after_the_last_that_was_asked_for(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 3);
	r = reader(rig, 1, 3);
	brings(r, 2);
	brings(r, 3);
	has_ended(r, 3);
	rig_put(rig, 1);
	has_ended(r, 3);
}

static void it_waits_for_what_is_still_to_come(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	uint64_t unused;

	rig_open(rig);
	rig_put(rig, 1);
	r = reader(rig, 0, 2);
	brings(r, 1);
	assert_int_equal(next(r, &unused), RINGTAIL_NOTHING);
	rig_put(rig, 2);
	brings(r, 2);
	has_ended(r, 2);
}

static void an_empty_stretch_ends_at_once(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_put(rig, 3);
	has_ended(reader(rig, 2, 2), 2);
}

static void a_transaction_that_goes_beyond_it_is_not_begun(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	rig_txn(rig, 3);
	r = reader(rig, 0, 3);
	brings(r, 1);
	has_ended(r, 1);

	r = reader(rig, 0, 3);
	assert_int_equal(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(ringtail_borrow(r, &event, 0), RINGTAIL_E_END);
	has_ended(r, 1);

	r = reader(rig, 0, 4);
	for (uint64_t seq = 1; seq <= 4; seq++) {
		assert_int_equal(ringtail_borrow(r, &event, 0), RINGTAIL_EVENT);
		assert_int_equal(event.seq, seq);
	}
	assert_int_equal(ringtail_borrow(r, &event, 0), RINGTAIL_E_END);
	has_ended(r, 4);
}

static void a_batch_goes_to_the_end_and_not_beyond(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event events[16];
	uint8_t data[1024];
	struct ringtail_batch batch = { .events = events,
					.max_events = 16,
					.data = data,
					.data_size = sizeof(data) };
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 5);
	r = reader(rig, 0, 3);
	assert_int_equal(ringtail_next_batch(r, &batch, 0), RINGTAIL_EVENT);
	assert_int_equal(batch.n_events, 3);
	assert_int_equal(ringtail_next_batch(r, &batch, 0), RINGTAIL_E_END);
	has_ended(r, 3);
}

static void events_that_no_filter_matches_lead_to_it_too(void **state)
{
	struct rig *rig = *state;
	const struct ringtail_filter other = { .kind = RINGTAIL_FILTER_KEY,
					       .a = "x/y",
					       .a_len = 3 };
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 2);
	options.until = 4;
	options.filters = &other;
	options.n_filters = 1;
	t_ok(ringtail_open_path(rig->path, &options, &r));
	rig->readers[rig->n_readers++] = r;
	assert_int_equal(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	rig_put(rig, 2);
	assert_int_equal(ringtail_next(r, &event, 0), RINGTAIL_E_END);
	has_ended(r, 4);
}

struct sleeper {
	struct ringtail *reader;
	uint64_t ended_ns;
	int outcome;
};

static void *sleep_to_the_end(void *arg)
{
	struct sleeper *s = arg;
	struct ringtail_event event;

	s->outcome = ringtail_next(s->reader, &event, RINGTAIL_FOREVER);
	s->ended_ns = rt_now_ns(CLOCK_MONOTONIC);
	return NULL;
}

/* How long after the commit of the last that was asked for, which does not match. */
static uint64_t time_to_end(struct rig *rig)
{
	const struct ringtail_filter other = { .kind = RINGTAIL_FILTER_KEY,
					       .a = "x/y",
					       .a_len = 3 };
	struct ringtail_options options = rig_from(RINGTAIL_START_NOW);
	struct ringtail_event event;
	struct sleeper s = { 0 };
	pthread_t thread;
	uint64_t then;

	options.until = rig->w->next;
	options.filters = &other;
	options.n_filters = 1;
	s.reader = rig_read(rig, options);
	assert_int_equal(ringtail_next(s.reader, &event, 0), RINGTAIL_CAUGHT_UP);
	assert_int_equal(pthread_create(&thread, NULL, sleep_to_the_end, &s), 0);
	(void)usleep(50000); /* asleep by now, most likely */
	then = rt_now_ns(CLOCK_MONOTONIC);
	rig_put(rig, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s.outcome, RINGTAIL_E_END);
	return s.ended_ns - then;
}

/* It does not sleep on for a second; once in ten tries on the slowest machine. */
static void an_event_that_does_not_match_wakes_it_for_the_end(void **state)
{
	struct rig *rig = *state;
	uint64_t best = UINT64_MAX;

	rig_open(rig);
	rig_put(rig, 1);
	for (unsigned i = 0; i < 10 && best > RT_SLEEP_MAX_NS / 2; i++)
		best = rt_min(best, time_to_end(rig));
	assert_in_range(best, 0, RT_SLEEP_MAX_NS / 2);
}

static void a_gap_ends_there_too(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	struct ringtail_gap_info gap;
	struct ringtail_stats stats = { .size = sizeof(stats) };
	uint64_t unused;

	rig_open(rig);
	rig_put(rig, 2);
	r = reader(rig, 0, 5);
	brings(r, 1);
	rig_put(rig, 200);
	assert_int_equal(next(r, &unused), RINGTAIL_GAP);
	t_ok(ringtail_gap(r, &gap));
	assert_int_equal(gap.first, 2);
	assert_int_equal(gap.count, 4);
	has_ended(r, 5);
	t_ok(ringtail_get_stats(r, &stats));
	assert_int_equal(stats.lost, 4);
	assert_int_equal(stats.delivered, 1);

	r = reader(rig, 0, 5);
	assert_int_equal(next(r, &unused), RINGTAIL_GAP);
	t_ok(ringtail_gap(r, &gap));
	assert_int_equal(gap.first, 1);
	assert_int_equal(gap.count, 5);
	has_ended(r, 5);
}

static void an_end_before_the_start_is_refused(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 5);
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.seq = 4;
	options.until = 3;
	assert_int_equal(ringtail_open_path(rig->path, &options, &r), -EINVAL);
	assert_non_null(strstr(ringtail_error(NULL), "until"));

	options.start = RINGTAIL_START_MARKER;
	options.seq = 0;
	options.marker = marker;
	t_ok(ringtail_marker_format(4, rig->w->segment.geo.epoch, marker));
	assert_int_equal(ringtail_open_path(rig->path, &options, &r), -EINVAL);
	assert_non_null(strstr(ringtail_error(NULL), "until"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_ends_after_the_last_that_was_asked_for),
		T(it_waits_for_what_is_still_to_come),
		T(an_empty_stretch_ends_at_once),
		T(a_transaction_that_goes_beyond_it_is_not_begun),
		T(a_batch_goes_to_the_end_and_not_beyond),
		T(events_that_no_filter_matches_lead_to_it_too),
		T(an_event_that_does_not_match_wakes_it_for_the_end),
		T(a_gap_ends_there_too),
		T(an_end_before_the_start_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
