/* SPDX-License-Identifier: MIT */
/*
 * test_views.c - F7, and what a program sees of a feed through a view
 */
#include "tests/support/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct ringtail_view *open_view(const struct t_feed *feed, uint32_t flags)
{
	struct ringtail_view_options v = RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail_options o = RINGTAIL_OPTIONS_INIT;
	struct ringtail_view *view;

	o.dir = feed->dir;
	v.flags = flags;
	t_ok(ringtail_view_open(T_FEED, &o, &v, &view));
	return view;
}

static bool has(struct ringtail_view *view, const char *key, const char *value)
{
	struct ringtail_view_entry entry;
	bool is_so;

	ringtail_view_lock(view);
	is_so = ringtail_view_get(view, key, strlen(key), &entry) == 1 &&
		entry.value_len == strlen(value) &&
		!memcmp(entry.value, value, entry.value_len);
	ringtail_view_unlock(view);
	return is_so;
}

struct waiter {
	struct ringtail_view *view;
	uint64_t seq;
	int64_t timeout_ns;
	pthread_t thread;
	_Atomic int tid;
	int result;
};

static void *wait_for_seq(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->tid, (int)gettid());
	w->result = ringtail_view_wait(w->view, w->seq, w->timeout_ns);
	return NULL;
}

static bool is_waiting(void *arg)
{
	struct waiter *w = arg;
	int tid = atomic_load(&w->tid);

	return tid && t_is_asleep(&tid);
}

/* There already, reached later, not reached in time. */
static void wait_in_three_ways(struct t_feed *feed, uint32_t flags)
{
	struct ringtail_view *view;
	struct waiter w = { .seq = 3, .timeout_ns = T_AGES_NS };
	uint64_t begun;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 2);
	view = open_view(feed, flags);
	t_is(ringtail_view_wait(view, 2, T_AGES_NS), RINGTAIL_VIEW_ALREADY);
	t_is(ringtail_view_wait(view, 1, 0), RINGTAIL_VIEW_ALREADY);

	begun = t_now_ns();
	t_is(ringtail_view_wait(view, 3, 20 * T_MS), RINGTAIL_VIEW_TIMED_OUT);
	assert_true(t_now_ns() - begun >= 20 * (uint64_t)T_MS);
	t_is(ringtail_view_wait(view, 3, 0), RINGTAIL_VIEW_TIMED_OUT);
	assert_int_equal(ringtail_view_seq(view), 2);

	w.view = view;
	assert_int_equal(pthread_create(&w.thread, NULL, wait_for_seq, &w), 0);
	assert_true(t_within_ms(30000, is_waiting, &w));
	t_put(feed, "k", "new");
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	t_is(w.result, RINGTAIL_VIEW_REACHED);
	assert_true(has(view, "k", "new"));
	t_is(ringtail_view_wait(view, 3, 0), RINGTAIL_VIEW_ALREADY);
	ringtail_view_close(view);
}

static void f7_waiting_for_a_seq_has_three_results(void **state)
{
	wait_in_three_ways(*state, 0);
}

static void f7_waiting_for_a_seq_of_a_thread_has_three_results(void **state)
{
	wait_in_three_ways(*state, RINGTAIL_VIEW_THREAD);
}

/* A program that writes and then looks finds what it has written. */
static void what_was_written_is_seen_after_waiting_for_it(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_view *view;

	t_feed_start(feed, (struct t_ring){ 0 });
	view = open_view(feed, RINGTAIL_VIEW_THREAD);
	for (unsigned i = 0; i < 500; i++) {
		char text[16], marker[RINGTAIL_MARKER_SIZE];
		uint64_t seq;

		(void)snprintf(text, sizeof(text), "%u", i);
		t_put(feed, "key", text);
		t_feed_marker(feed, marker);
		t_ok(ringtail_marker_parse(marker, &seq, NULL));
		assert_true(ringtail_view_wait(view, seq, T_AGES_NS) > 0);
		assert_true(has(view, "key", text));
	}
	ringtail_view_close(view);
}

static void a_view_stays_when_its_feed_ends(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_view *polled, *threaded;

	t_feed_start(feed, (struct t_ring){ 0 });
	polled = open_view(feed, 0);
	threaded = open_view(feed, RINGTAIL_VIEW_THREAD);
	t_put(feed, "a", "1");
	t_feed_close(feed);
	t_is(ringtail_view_wait(threaded, 1, T_AGES_NS) > 0, 1);
	t_is(ringtail_view_wait(threaded, 2, T_AGES_NS), RINGTAIL_E_CLOSED);
	t_is(ringtail_view_wait(polled, 1, T_AGES_NS), RINGTAIL_VIEW_REACHED);
	t_is(ringtail_view_wait(polled, 2, T_AGES_NS), RINGTAIL_E_CLOSED);
	t_is(ringtail_view_poll(polled, T_AGES_NS), RINGTAIL_E_CLOSED);
	assert_true(has(polled, "a", "1"));
	assert_true(has(threaded, "a", "1"));
	ringtail_view_close(polled);
	ringtail_view_close(threaded);
}

/* A daemon that is killed is not the end of a view. */
static void a_view_goes_on_after_a_crash(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_view *polled, *threaded;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "a", "1");
	polled = open_view(feed, 0);
	threaded = open_view(feed, RINGTAIL_VIEW_THREAD);
	t_feed_kill(feed);
	t_is(ringtail_view_wait(polled, 2, 20 * T_MS), RINGTAIL_VIEW_TIMED_OUT);
	t_is(ringtail_view_wait(threaded, 2, 20 * T_MS), RINGTAIL_VIEW_TIMED_OUT);
	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "a", "2");
	assert_true(ringtail_view_wait(polled, 2, T_AGES_NS) > 0);
	assert_true(ringtail_view_wait(threaded, 2, T_AGES_NS) > 0);
	assert_true(has(polled, "a", "2"));
	assert_true(has(threaded, "a", "2"));
	ringtail_view_close(polled);
	ringtail_view_close(threaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_LOG(f7_waiting_for_a_seq_has_three_results),
		T_LOG(f7_waiting_for_a_seq_of_a_thread_has_three_results),
		T_LOG(what_was_written_is_seen_after_waiting_for_it),
		T_LOG(a_view_stays_when_its_feed_ends),
		T_LOG(a_view_goes_on_after_a_crash),
	};

	return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
