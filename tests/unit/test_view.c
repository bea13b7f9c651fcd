/* SPDX-License-Identifier: MIT */
/*
 * test_view.c - client/view*.c: views of a small ring with a log and snapshots
 */
#include "tests/unit/staterig.h"

#include <poll.h>

#include "client/view.h"
#include "tests/support/no_memory.h"

#define AGES_NS (INT64_C(60000) * 1000000)

/*
 * What the callbacks of a view said, and the state that follows from that.
 */
struct follower {
	struct ringtail_view *view; /* NULL until it is open */
	struct state state;         /* by what was told */
	unsigned n_changes, n_txns, n_initial, n_resynced;
	unsigned n_deletes; /* of those */
	bool wrong;
	_Atomic int stopped;
};

static struct follower f;
static struct ringtail_view *views[4];
static unsigned n_views;

static int setup_views(void **state)
{
	f = (struct follower){ .view = NULL };
	n_views = 0;
	return setup_known(state);
}

static int teardown_views(void **state)
{
	t_calls_left = -1;
	while (n_views)
		ringtail_view_close(views[--n_views]);
	return teardown_backed(state);
}

#define TV(name) cmocka_unit_test_setup_teardown(name, setup_views, teardown_views)

static unsigned number_of(const void *key)
{
	const char *text = key;

	return (unsigned)(text[1] - '0') * 10 + (unsigned)(text[5] - '0');
}

/* Is that the value that the event of @seq had?  0: there is none. */
static bool is_value_of(const void *value, size_t len, uint64_t seq)
{
	static _Thread_local uint8_t want[1 << 16];

	if (!seq)
		return !value && !len;
	return value && value_of(seq, want) == len && !memcmp(value, want, len);
}

/* The events of a transaction have the time of its first. */
static bool is_time_of(uint64_t time_ns, uint64_t seq)
{
	return time_ns <= time_of(seq) && time_ns + 10000 > time_of(seq);
}

static bool shows(struct ringtail_view *view, const struct state *state, bool seq_too)
{
	size_t n = 0;

	for (unsigned key = 0; key < N_KEYS; key++) {
		struct ringtail_view_entry entry = { .seq = 0 };
		char text[16];
		size_t len = key_of(key, text);
		int there = ringtail_view_get(view, text, len, &entry);

		n += state->keys[key] != 0;
		if (there != (state->keys[key] != 0) || entry.seq != state->keys[key] ||
		    !is_value_of(entry.value, entry.value_len, entry.seq) ||
		    (there && !is_time_of(entry.time_ns, entry.seq)))
			return false;
	}
	return ringtail_view_count(view) == n &&
	       (!seq_too || ringtail_view_seq(view) == state->seq);
}

static void on_change(void *unused, const struct ringtail_change *change)
{
	unsigned key = number_of(change->key);
	bool put = change->op == RINGTAIL_PUT;
	bool resynced = change->flags & RINGTAIL_VIEW_RESYNCED;

	(void)unused;
	f.n_changes++;
	f.n_deletes += !put && resynced;
	f.n_initial += change->flags & RINGTAIL_VIEW_INITIAL;
	f.n_resynced += resynced;
	if (!is_value_of(change->old_value, change->old_len, f.state.keys[key]) ||
	    !is_value_of(change->value, change->value_len, put ? change->seq : 0) ||
	    (!put && resynced && (change->seq || change->time_ns)) ||
	    ((put || !resynced) && !is_time_of(change->time_ns, change->seq)))
		f.wrong = true;
	f.state.keys[key] = put ? change->seq : 0;
}

static int count_visits(void *n, const struct ringtail_view_entry *entry)
{
	(void)entry;
	(*(unsigned *)n)++;
	return 0;
}

/* What was told is what the view shows, in a callback as well. */
static void on_txn(void *unused, uint64_t seq)
{
	unsigned n = 0;

	(void)unused;
	f.n_txns++;
	f.state.seq = seq;
	if (!f.view)
		return;
	if (!shows(f.view, &f.state, true) ||
	    ringtail_view_each(f.view, NULL, 0, count_visits, &n) ||
	    n != ringtail_view_count(f.view))
		f.wrong = true;
}

static void on_stop(void *unused, int error)
{
	(void)unused;
	atomic_store(&f.stopped, error);
}

static int try_view(const struct rig *rig, struct ringtail_options o,
		    struct ringtail_view_options v, struct ringtail_view **ret)
{
	o.dir = rig->dir;
	return ringtail_view_open(RIG_FEED, &o, &v, ret);
}

static struct ringtail_view *open_view(const struct rig *rig, struct ringtail_options o,
				       struct ringtail_view_options v)
{
	struct ringtail_view *view;

	t_ok(try_view(rig, o, v, &view));
	views[n_views++] = view;
	return view;
}

static struct ringtail_view_options plain(void)
{
	return (struct ringtail_view_options)RINGTAIL_VIEW_OPTIONS_INIT;
}

static struct ringtail_view_options telling(uint32_t flags)
{
	struct ringtail_view_options v = RINGTAIL_VIEW_OPTIONS_INIT;

	v.flags = flags;
	v.on_change = on_change;
	v.on_txn = on_txn;
	v.on_stop = flags & RINGTAIL_VIEW_THREAD ? on_stop : NULL;
	return v;
}

static struct ringtail_options defaults(void)
{
	return rig_from(RINGTAIL_START_NOW);
}

/* A view whose callbacks are checked. */
static struct ringtail_view *open_told(const struct rig *rig)
{
	return f.view = open_view(rig, defaults(), telling(0));
}

static void poll_all(struct ringtail_view *view)
{
	int r;

	while ((r = ringtail_view_poll(view, 0)) > 0)
		;
	t_is(r, 0);
}

static void is_now(struct ringtail_view *view)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t seq, epoch;

	assert_true(shows(view, &known.now, true));
	t_ok(ringtail_view_marker(view, marker));
	t_ok(ringtail_marker_parse(marker, &seq, &epoch));
	assert_int_equal(seq, known.now.seq);
	assert_int_equal(epoch, h.rig->w->segment.geo.epoch);
	t_ok(ringtail_view_get_stats(view, &stats));
	assert_int_equal(stats.position, known.now.seq);
	assert_int_equal(stats.delivered + stats.filtered + stats.lost,
			 stats.position - stats.start);
}

static void told_all(void)
{
	assert_false(f.wrong);
	assert_memory_equal(f.state.keys, known.now.keys, sizeof(known.now.keys));
}

/* A transaction of several events, in the log first; op 0 ends it. */
struct part {
	uint8_t op;
	unsigned key;
};

static void txn(const struct part *parts)
{
	uint64_t first = h.log.next, seq = first;
	uint8_t value[64];
	char text[16];

	rt_batch_reset(&h.batch, first);
	t_ok(rt_batch_begin(&h.batch));
	rt_writer_begin(h.rig->w);
	for (; parts->op; parts++, seq++) {
		size_t key_len = key_of(parts->key, text);
		size_t len = parts->op == RT_OP_DELETE ? 0 : value_of(seq, value);

		t_ok(rt_batch_add(&h.batch, parts->op, 0, text, key_len, value, len));
		t_ok(rt_writer_add(h.rig->w, parts->op, 0, text, key_len, value, len));
		known.now.keys[parts->key] = parts->op == RT_OP_PUT ? seq : 0;
	}
	rt_batch_end(&h.batch, time_of(first));
	t_ok(rt_log_append(&h.log, &h.batch, &h.fault));
	rt_writer_set_time(h.rig->w, time_of(first));
	rt_writer_commit(h.rig->w);
	known.now.seq = seq - 1;
}

/*
 * ---- Keeping up ----
 */

static void it_begins_with_the_present_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	puts_of_all(250);
	event(RT_OP_DELETE, 7);
	snapshot();
	puts_of_all(5);
	event(RT_OP_DELETE, 8);
	view = open_told(rig);
	is_now(view);
	told_all();
	assert_int_equal(f.n_initial, N_KEYS - 1);
	assert_int_equal(f.n_changes, N_KEYS - 1 + 6);
	assert_int_equal(f.n_txns, 1 + 6);
	t_is(ringtail_view_poll(view, 0), 0);
}

static void it_follows_every_change(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view = open_told(rig);

	is_now(view);
	for (unsigned i = 0; i < 300; i++) {
		known.pad = i % 7 * 5;
		event(i % 3 ? RT_OP_PUT : RT_OP_DELETE, i * i % N_KEYS);
		if (i % 5)
			poll_all(view);
	}
	known.pad = 0;
}

static void messages_are_not_of_the_state(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view = open_told(rig);

	put(1);
	event(RT_OP_MESSAGE, 1);
	event(RT_OP_MESSAGE, 2);
	poll_all(view);
	is_now(view);
	told_all();
	assert_int_equal(f.n_changes, 1);
}

static void a_transaction_is_in_it_whole(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	put(1);
	put(2);
	view = open_view(rig, defaults(), plain());
	txn((const struct part[]){ { RT_OP_PUT, 1 },
				   { RT_OP_DELETE, 1 },
				   { RT_OP_PUT, 3 },
				   { RT_OP_DELETE, 2 },
				   { RT_OP_PUT, 2 },
				   { RT_OP_DELETE, 9 },
				   { 0, 0 } });
	t_is(ringtail_view_poll(view, 0), 1);
	assert_int_equal(ringtail_view_seq(view), 8);
	assert_int_equal(ringtail_view_count(view), 2);
	t_is(ringtail_view_get(view, "g0/k01", 6, NULL), 0);
	t_is(ringtail_view_get(view, "g0/k02", 6, NULL), 1);
	t_is(ringtail_view_get(view, "g0/k03", 6, NULL), 1);
}

static int note_key(void *arg, const struct ringtail_view_entry *entry)
{
	char *text = arg;

	(void)snprintf(text + strlen(text), 200 - strlen(text), "%.*s ",
		       (int)entry->key_len, (const char *)entry->key);
	return strstr(text, "g3/k05") ? 77 : 0;
}

static void a_walk_is_in_order_of_keys(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view = open_view(rig, defaults(), plain());
	char text[200] = "";
	unsigned n = 0;

	for (unsigned i = 0; i < N_KEYS; i++)
		put(i * 37 % N_KEYS);
	event(RT_OP_DELETE, 31);
	poll_all(view);
	t_is(ringtail_view_each(view, "g3/", 3, note_key, text), 77);
	assert_string_equal(text, "g3/k00 g3/k02 g3/k03 g3/k04 g3/k05 ");
	t_ok(ringtail_view_each(view, NULL, 0, count_visits, &n));
	assert_int_equal(n, N_KEYS - 1);
	n = 0;
	t_ok(ringtail_view_each(view, "g9/k09", 6, count_visits, &n));
	assert_int_equal(n, 1);
	t_ok(ringtail_view_each(view, "gx", 2, count_visits, &n));
	t_ok(ringtail_view_each(view, "a", 1, count_visits, &n));
	assert_int_equal(n, 1);
}

static void a_view_of_a_prefix(void **state)
{
	struct rig *rig = begin(state);
	const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
						.a = "g3/",
						.a_len = 3 };
	struct ringtail_options o = defaults();
	struct ringtail_view *view;

	puts_of_all(150);
	snapshot();
	o.filters = &filter;
	o.n_filters = 1;
	view = open_view(rig, o, plain());
	assert_int_equal(ringtail_view_count(view), 10);
	put(50);
	put(35);
	put(51);
	poll_all(view);
	assert_int_equal(ringtail_view_count(view), 10);
	assert_int_equal(ringtail_view_seq(view), known.now.seq);
	t_is(ringtail_view_get(view, "g5/k00", 6, NULL), 0);
}

static void a_descriptor_says_when_to_poll(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view = open_view(rig, defaults(), plain());
	struct pollfd p = { .fd = ringtail_view_fd(view), .events = POLLIN };

	assert_true(p.fd >= 0);
	poll_all(view);
	assert_int_equal(poll(&p, 1, 0), 0);
	put(1);
	while (poll(&p, 1, 30000) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(p.revents, POLLIN);
	poll_all(view);
	is_now(view);
}

/*
 * ---- States anew ----
 */

/* History goes on and is cut, so that the view cannot follow. */
static void leave_behind(void)
{
	event(RT_OP_DELETE, 5);
	puts_of_many();
	event(RT_OP_DELETE, 5);
	event(RT_OP_DELETE, 66);
	snapshot();
	trim(known.saved.seq + 1);
}

static void what_was_missed_is_told_by_comparing(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	puts_of_all(N_KEYS);
	view = open_told(rig);
	leave_behind();
	put(3);
	assert_int_equal(ringtail_view_seq(view), N_KEYS);
	poll_all(view);
	is_now(view);
	told_all();
	assert_int_equal(f.n_resynced, N_KEYS);
	assert_int_equal(f.n_deletes, 2);
	leave_behind();
	poll_all(view);
	is_now(view);
	told_all();
}

static void without_callbacks_too(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;
	unsigned n = 0;

	puts_of_all(N_KEYS);
	view = open_view(rig, defaults(), plain());
	leave_behind();
	poll_all(view);
	is_now(view);
	t_ok(ringtail_view_each(view, NULL, 0, count_visits, &n));
	assert_int_equal(n, N_KEYS - 2);
}

static void a_damaged_snapshot_leaves_it_as_it_was(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;
	int r;

	known.pad = 2000; /* several blocks */
	puts_of_all(N_KEYS);
	view = open_told(rig);
	leave_behind();
	flip_blocks(known.saved.seq, 0);
	do
		r = ringtail_view_poll(view, 0); /* what it can still follow */
	while (r > 0);
	t_is(r, RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_view_error(view), ".snap"));
	assert_true(shows(view, &f.state, true));
	assert_false(f.wrong);
	assert_int_equal(f.n_resynced, 0);
	t_is(ringtail_view_poll(view, 0), RINGTAIL_E_CORRUPT);
	known.pad = 0;
}

/*
 * ---- Errors ----
 */

static void options_that_it_decides_itself_are_refused(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view_options v = RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail_view *view;
	struct ringtail_options o;

	o = rig_from(RINGTAIL_START_OLDEST);
	t_is(try_view(rig, o, v, &view), -EINVAL);
	assert_non_null(strstr(ringtail_error(NULL), "start"));
	o = defaults();
	o.on_gap = RINGTAIL_ON_GAP_SKIP;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	o = defaults();
	o.ops = RINGTAIL_OPS_PUT;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	o = defaults();
	o.until = 7;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	o = defaults();
	o.size--;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	o = defaults();
	v.on_stop = on_stop;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	v = plain();
	v.flags = 2;
	t_is(try_view(rig, o, v, &view), -EINVAL);
	v = plain();
	v.size++;
	t_is(try_view(rig, o, v, &view), -EINVAL);
}

static void feeds_without_a_state_are_refused(void **state)
{
	struct rig *rig = *state;
	struct ringtail_view *view;

	t_is(try_view(rig, defaults(), plain(), &view), RINGTAIL_E_NO_FEED);
	rig_open(rig);
	rig_put(rig, 3);
	t_is(try_view(rig, defaults(), plain(), &view), RINGTAIL_E_UNSUPPORTED);
	assert_non_null(strstr(ringtail_view_error(NULL), "durability"));
}

static void history_that_was_cut_without_a_snapshot_is_refused(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	begin_amid(0);
	assert_int_equal(unlink(snapshot_file(known.saved.seq)), 0);
	t_is(try_view(rig, defaults(), plain(), &view), RINGTAIL_E_NO_SNAPSHOT);
}

static void a_closed_feed_can_be_looked_at(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	puts_of_all(N_KEYS);
	snapshot();
	put(4);
	view = open_view(rig, defaults(), plain());
	event(RT_OP_MESSAGE, 4);
	rig_close(rig);
	t_is(ringtail_view_poll(view, 0), RINGTAIL_E_CLOSED);
	assert_true(shows(view, &known.now, true));
	view = open_view(rig, defaults(), plain());
	assert_true(shows(view, &known.now, true));
	t_is(ringtail_view_poll(view, 0), RINGTAIL_E_CLOSED);
	t_is(ringtail_view_poll(view, 0), RINGTAIL_E_CLOSED);
	t_is(ringtail_view_wait(view, known.now.seq, 0), RINGTAIL_VIEW_ALREADY);
	t_is(ringtail_view_wait(view, known.now.seq + 1, AGES_NS), RINGTAIL_E_CLOSED);
	assert_true(shows(view, &known.now, true));
}

static uint64_t marker_seq_of(struct ringtail_view *view)
{
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t seq;

	t_ok(ringtail_view_marker(view, marker));
	t_ok(ringtail_marker_parse(marker, &seq, NULL));
	return seq;
}

/* Wherever memory runs out: it is at a boundary and stops, or goes on later. */
static void run_out_of_memory(struct ringtail_view *view, unsigned *n_stopped)
{
	int r;

	do
		r = ringtail_view_poll(view, 0);
	while (r > 0);
	t_calls_left = -1;
	if (r)
		t_is(r, -ENOMEM);
	assert_true(shows(view, &f.state, true));
	assert_int_equal(marker_seq_of(view), f.state.seq);
	r = ringtail_view_poll(view, 0);
	if (r >= 0) {
		poll_all(view);
		is_now(view);
		told_all();
	} else {
		t_is(r, -ENOMEM);
		assert_true(shows(view, &f.state, true));
		(*n_stopped)++;
	}
	assert_false(f.wrong);
}

static void without_memory_it_stays_at_a_boundary(void **state)
{
	struct rig *rig = begin(state);
	unsigned n_stopped = 0;

	puts_of_all(N_KEYS);
	for (long calls = 0; calls < 180; calls++) {
		struct ringtail_view *view;

		f = (struct follower){ .view = NULL };
		view = open_told(rig);
		txn((const struct part[]){ { RT_OP_PUT, 1 },
					   { RT_OP_DELETE, 2 },
					   { RT_OP_PUT, 2 },
					   { RT_OP_PUT, 1 },
					   { 0, 0 } });
		if (calls >= 20) {
			leave_behind();
			put(5);
			put(66);
		}
		t_calls_left = calls % 20 + (calls >= 20 ? calls / 2 : 0);
		run_out_of_memory(view, &n_stopped);
		ringtail_view_close(views[--n_views]);
	}
	assert_true(n_stopped > 50);
}

static void without_memory_it_is_not_opened(void **state)
{
	struct rig *rig = begin(state);
	unsigned n_refused = 0;

	puts_of_all(N_KEYS);
	snapshot();
	for (long calls = 0; calls < 200; calls++) {
		struct ringtail_view *view;
		int r;

		f = (struct follower){ .view = NULL };
		t_calls_left = calls;
		r = try_view(rig, defaults(), telling(0), &view);
		t_calls_left = -1;
		n_refused += r != 0;
		if (r) {
			t_is(r, -ENOMEM);
			continue;
		}
		views[n_views++] = view;
		is_now(view);
		ringtail_view_close(views[--n_views]);
	}
	assert_true(n_refused > 100);
}

/*
 * ---- Waiting ----
 */

static void waiting_by_polls_has_three_results(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	put(1);
	view = open_view(rig, defaults(), plain());
	t_is(ringtail_view_wait(view, 1, AGES_NS), RINGTAIL_VIEW_ALREADY);
	t_is(ringtail_view_wait(view, 2, 0), RINGTAIL_VIEW_TIMED_OUT);
	t_is(ringtail_view_wait(view, 2, 2000000), RINGTAIL_VIEW_TIMED_OUT);
	put(2);
	event(RT_OP_MESSAGE, 1);
	t_is(ringtail_view_wait(view, 3, AGES_NS), RINGTAIL_VIEW_REACHED);
	t_is(ringtail_view_wait(view, 3, 0), RINGTAIL_VIEW_ALREADY);
	is_now(view);
	ringtail_view_cancel(view);
	t_is(ringtail_view_wait(view, 4, AGES_NS), RINGTAIL_E_CANCELED);
	t_is(ringtail_view_wait(view, 3, AGES_NS), RINGTAIL_VIEW_ALREADY);
	t_is(ringtail_view_poll(view, AGES_NS), RINGTAIL_E_CANCELED);
}

struct waiter {
	struct ringtail_view *view;
	uint64_t seq;
	pthread_t thread;
	int result;
};

static void *wait_for_seq(void *arg)
{
	struct waiter *w = arg;

	w->result = ringtail_view_wait(w->view, w->seq, AGES_NS);
	return NULL;
}

static void begin_wait(struct waiter *w, struct ringtail_view *view, uint64_t seq)
{
	*w = (struct waiter){ .view = view, .seq = seq, .result = -1 };
	assert_int_equal(pthread_create(&w->thread, NULL, wait_for_seq, w), 0);
}

static void ends_with(struct waiter *w, int result)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	t_is(w->result, result);
}

static struct ringtail_options of_group_3(void)
{
	static const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
						       .a = "g3/",
						       .a_len = 3 };
	struct ringtail_options o = defaults();

	o.filters = &filter;
	o.n_filters = 1;
	return o;
}

static bool all_wait(void *view)
{
	return atomic_load(&((struct ringtail_view *)view)->n_waiting) == 5;
}

static void wait_for_a_thread(struct rig *rig, struct ringtail_options o)
{
	struct ringtail_view_options v = RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail_view *view;
	struct waiter waiters[5];
	uint64_t begin_seq;

	puts_of_all(N_KEYS);
	v.flags = RINGTAIL_VIEW_THREAD;
	view = open_view(rig, o, v);
	begin_seq = known.now.seq;
	t_is(ringtail_view_wait(view, begin_seq, AGES_NS), RINGTAIL_VIEW_ALREADY);
	t_is(ringtail_view_wait(view, begin_seq + 1, 0), RINGTAIL_VIEW_TIMED_OUT);
	t_is(ringtail_view_wait(view, begin_seq + 1, 3000000), RINGTAIL_VIEW_TIMED_OUT);
	for (unsigned i = 0; i < 5; i++)
		begin_wait(&waiters[i], view, begin_seq + 1 + i * 3);
	assert_true(t_within_ms(30000, all_wait, view));
	for (unsigned i = 0; i < 9; i++) {
		put(i * 3 % N_KEYS); /* also what does not match */
		t_sleep_ms(1);
	}
	for (unsigned i = 0; i < 3; i++)
		ends_with(&waiters[i], RINGTAIL_VIEW_REACHED);
	ringtail_view_cancel(view);
	for (unsigned i = 3; i < 5; i++)
		ends_with(&waiters[i], RINGTAIL_E_CANCELED);
	assert_true(ringtail_view_seq(view) >= begin_seq + 7);
	assert_non_null(strstr(ringtail_view_error(view), "canceled"));
}

static void waiting_for_a_thread_has_three_results(void **state)
{
	wait_for_a_thread(begin(state), defaults());
}

static void what_does_not_match_is_waited_for_as_well(void **state)
{
	wait_for_a_thread(begin(state), of_group_3());
}

static void a_spinning_view_can_be_waited_for(void **state)
{
	struct ringtail_options o = of_group_3();

	o.wait = RINGTAIL_WAIT_SPIN;
	wait_for_a_thread(begin(state), o);
}

static void a_poll_waits_for_what_does_not_match(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;
	struct waiter w;

	put(1);
	view = open_view(rig, of_group_3(), plain());
	begin_wait(&w, view, 3);
	t_sleep_ms(5);
	put(55);
	put(56);
	ends_with(&w, RINGTAIL_VIEW_REACHED);
}

/*
 * ---- A thread of its own ----
 */

static bool has_stopped(void *unused)
{
	(void)unused;
	return atomic_load(&f.stopped) != 0;
}

static void a_thread_keeps_it_up_to_date(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	puts_of_all(N_KEYS);
	view = open_view(rig, defaults(), telling(RINGTAIL_VIEW_THREAD));
	t_is(ringtail_view_poll(view, 0), -EINVAL);
	t_is(ringtail_view_fd(view), -EINVAL);
	puts_of_all(20);
	event(RT_OP_DELETE, 5);
	assert_true(ringtail_view_wait(view, known.now.seq, AGES_NS) > 0);
	ringtail_view_lock(view);
	is_now(view);
	told_all();
	ringtail_view_unlock(view);
	rig_close(rig);
	assert_true(t_within_ms(30000, has_stopped, NULL));
	t_is(f.stopped, RINGTAIL_E_CLOSED);
	t_is(ringtail_view_wait(view, known.now.seq + 1, AGES_NS), RINGTAIL_E_CLOSED);
	assert_non_null(strstr(ringtail_view_error(view), "closed"));
	assert_true(shows(view, &known.now, true));
}

static void a_thread_gets_the_state_anew(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view *view;

	puts_of_all(N_KEYS);
	view = open_view(rig, defaults(), telling(RINGTAIL_VIEW_THREAD));
	/* Held, it cannot follow, and then it is too late. */
	ringtail_view_lock(view);
	put(1);
	t_sleep_ms(5);
	leave_behind();
	ringtail_view_unlock(view);
	assert_true(ringtail_view_wait(view, known.now.seq, AGES_NS) > 0);
	ringtail_view_lock(view);
	is_now(view);
	told_all();
	ringtail_view_unlock(view);
	ringtail_view_close(view);
	n_views--;
	assert_int_equal(f.stopped, 0);
}

/*
 * Threads that look while keys 1 and 2 change together, or are deleted, and all
 * states come anew now and then.
 */
struct looker {
	struct ringtail_view *view;
	pthread_t thread;
	_Atomic bool *over;
	uint64_t n;
	bool wrong;
};

static void *look_often(void *arg)
{
	struct looker *l = arg;

	while (!atomic_load(l->over)) {
		struct ringtail_view_entry a = { .seq = 0 }, b = { .seq = 0 };
		unsigned n = 0;

		ringtail_view_lock(l->view);
		(void)ringtail_view_get(l->view, "g0/k01", 6, &a);
		(void)ringtail_view_get(l->view, "g0/k02", 6, &b);
		if ((a.seq ? a.seq + 1 : 0) != b.seq ||
		    !is_value_of(b.value, b.value_len, b.seq) ||
		    ringtail_view_each(l->view, NULL, 0, count_visits, &n) ||
		    n != ringtail_view_count(l->view))
			l->wrong = true;
		l->n++;
		ringtail_view_unlock(l->view);
	}
	return NULL;
}

static void who_looks_sees_whole_transactions(void **state)
{
	struct rig *rig = begin(state);
	struct ringtail_view_options v = plain();
	struct looker lookers[3];
	_Atomic bool over = false;

	v.flags = RINGTAIL_VIEW_THREAD;
	puts_of_all(N_KEYS);
	txn((const struct part[]){ { RT_OP_PUT, 1 }, { RT_OP_PUT, 2 }, { 0, 0 } });
	for (unsigned i = 0; i < 3; i++) {
		lookers[i] = (struct looker){
			.view = i ? lookers[0].view : open_view(rig, defaults(), v),
			.over = &over,
		};
		assert_int_equal(pthread_create(&lookers[i].thread, NULL, look_often,
						&lookers[i]),
				 0);
	}
	for (unsigned i = 0; i < 3000; i++) {
		if (i % 3)
			txn((const struct part[]){
				{ RT_OP_PUT, 1 }, { RT_OP_PUT, 2 }, { 0, 0 } });
		else
			txn((const struct part[]){
				{ RT_OP_DELETE, 1 }, { RT_OP_DELETE, 2 }, { 0, 0 } });
		put(10 + i % 80);
		if (i % 500 == 499) {
			snapshot();
			(void)rt_log_drop_below(&h.log, known.saved.seq + 1);
		}
	}
	assert_true(ringtail_view_wait(lookers[0].view, known.now.seq, AGES_NS) > 0);
	atomic_store(&over, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(lookers[i].thread, NULL), 0);
		assert_false(lookers[i].wrong);
		assert_true(lookers[i].n > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TV(it_begins_with_the_present_state),
		TV(it_follows_every_change),
		TV(messages_are_not_of_the_state),
		TV(a_transaction_is_in_it_whole),
		TV(a_walk_is_in_order_of_keys),
		TV(a_view_of_a_prefix),
		TV(a_descriptor_says_when_to_poll),
		TV(what_was_missed_is_told_by_comparing),
		TV(without_callbacks_too),
		TV(a_damaged_snapshot_leaves_it_as_it_was),
		TV(options_that_it_decides_itself_are_refused),
		TV(feeds_without_a_state_are_refused),
		TV(history_that_was_cut_without_a_snapshot_is_refused),
		TV(a_closed_feed_can_be_looked_at),
		T_IF_REFUSED(TV(without_memory_it_stays_at_a_boundary)),
		T_IF_REFUSED(TV(without_memory_it_is_not_opened)),
		TV(waiting_by_polls_has_three_results),
		TV(waiting_for_a_thread_has_three_results),
		TV(what_does_not_match_is_waited_for_as_well),
		TV(a_spinning_view_can_be_waited_for),
		TV(a_poll_waits_for_what_does_not_match),
		TV(a_thread_keeps_it_up_to_date),
		TV(a_thread_gets_the_state_anew),
		TV(who_looks_sees_whole_transactions),
	};

	return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
