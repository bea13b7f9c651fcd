/* SPDX-License-Identifier: MIT */
/*
 * test_ring.c - a writer and its readers at the same time, on one mapping
 *
 * The readers use the writer's own mapping: ThreadSanitizer sees no race between two
 * mappings of one file.  The ring is small, so that readers are lapped all the time,
 * some of them on purpose in the middle of a copy.
 *
 *	test_stress_ring [SEED [SECONDS]]
 */
#include "tests/support/t.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "shm/ring.h"
#include "tests/stress/plan.h"

#define READERS       3
#define LAPS_AT_LEAST 20

static uint64_t seed;
static unsigned seconds = 3;

struct arena {
	struct rt_writer *writer;
	_Atomic uint32_t stop;
	uint64_t until_ns;
};

struct watcher {
	pthread_t thread;
	struct arena *arena;
	struct t_random random;
	unsigned naps; /* every so many events; 0 never */
	uint64_t delivered, lost, laps, torn, last;
	char failure[200];
};

#define FAIL(w, ...) (void)snprintf((w)->failure, sizeof((w)->failure), __VA_ARGS__)

/* What was copied of an event while the writer went on. */
struct copied {
	uint8_t key[PLAN_KEY_MAX];
	uint8_t value[PLAN_VALUE_MAX + 64];
	uint8_t prev[PLAN_VALUE_MAX];
};

static bool copy(const struct rt_event *ev, struct copied *ret)
{
	if (ev->key_len > sizeof(ret->key) || ev->value_len > sizeof(ret->value) ||
	    ev->prev_len > sizeof(ret->prev))
		return false;
	rt_copy_out(ret->key, ev->key, ev->key_len);
	rt_copy_out(ret->value, ev->value, ev->value_len);
	rt_copy_out(ret->prev, ev->value + ev->value_len, ev->prev_len);
	return true;
}

static void nap(struct watcher *w)
{
	if (w->naps && t_random_below(&w->random, w->naps) == 0)
		(void)sched_yield();
}

/* Takes event @seq if it can be had; 1 taken, 0 not there, -1 lapped, -2 wrong. */
static int take(struct watcher *w, const struct rt_segment *segment, uint64_t seq)
{
	struct plan_event wanted;
	struct copied copied;
	struct rt_event ev;
	const char *what = "lengths";
	enum rt_look look = rt_ring_look(segment, seq, &ev);

	if (look == RT_LOOK_NOTHING)
		return 0;
	if (look == RT_LOOK_LAPPED)
		return -1;
	nap(w);
	if (look == RT_LOOK_EVENT && copy(&ev, &copied))
		what = NULL;
	if (!what) {
		plan_event(seq, 0, &wanted);
		what = ev.txn_index != wanted.txn_index ||
				       ev.txn_size != wanted.txn_size
			       ? "place in its transaction"
			       : plan_differs(&wanted, ev.time_ns, ev.op, ev.flags,
					      copied.key, ev.key_len, copied.value,
					      ev.value_len, copied.prev, ev.prev_len);
	}
	if (!rt_ring_intact(segment, seq)) {
		w->torn += what != NULL;
		return -1;
	}
	if (!what)
		return 1;
	FAIL(w, "seq %" PRIu64 " is believed, its %s is wrong", seq, what);
	return -2;
}

/* Where to go on after a lap: the first of a transaction, unless lapped again by then.
 */
static uint64_t resume(struct watcher *w, const struct rt_segment *segment,
		       uint64_t seq)
{
	uint64_t oldest, head, at;

	do {
		rt_ring_bounds(segment, &oldest, &head);
		at = t_random_below(&w->random, 2) ? oldest : rt_ring_half(segment);
	} while (!rt_ring_intact(segment, at));
	if (plan_first_of(at, 0) == at && at > seq)
		return at;
	FAIL(w, "lapped at %" PRIu64 ": goes on at %" PRIu64, seq, at);
	return seq;
}

/* The calls that search, whose answers are out of date at once. */
static bool search(struct watcher *w, const struct rt_segment *segment)
{
	uint64_t oldest, head, at;

	rt_ring_bounds(segment, &oldest, &head);
	at = rt_ring_align(segment,
			   oldest + t_random_below(&w->random, head - oldest + 1));
	if (rt_ring_intact(segment, at) && at <= head && plan_first_of(at, 0) != at) {
		FAIL(w, "align gives %" PRIu64, at);
		return false;
	}
	at = rt_ring_at_time(segment, PLAN_TIME_NS + head / 3);
	(void)rt_ring_bytes_from(segment, at);
	return true;
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	const struct rt_segment *segment = &w->arena->writer->segment;
	uint64_t seq = 1;
	bool more = true;

	while (more && !w->failure[0]) {
		more = !rt_load32(&w->arena->stop);

		int r = take(w, segment, seq);

		if (r == 1) {
			seq++;
			w->delivered++;
		} else if (r == -1) {
			uint64_t at = resume(w, segment, seq);

			w->lost += at - seq;
			w->laps++;
			seq = at;
		}
		if (r == 1 || r == -1)
			more = true; /* to the end, when the writer has stopped */
		if (seq % 64 == 0 && !search(w, segment))
			break;
	}
	w->last = seq - 1;
	return NULL;
}

static void *write_all(void *arg)
{
	struct arena *arena = arg;

	while (t_now_ns() < arena->until_ns) {
		if (plan_commit_to(arena->writer, rt_writer_head(arena->writer) + 400,
				   0) < 0)
			abort();
	}
	rt_store32(&arena->stop, 1);
	return NULL;
}

static void run(uint32_t n_slots, uint64_t payload_size, bool must_lap)
{
	AUTO_FREE char *dir = t_dir_new();
	struct rt_ring_config config = {
		.name = "arena",
		.n_slots = n_slots,
		.payload_size = payload_size,
		.max_key = PLAN_KEY_MAX,
		.mode = 0640,
		.bell_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct arena arena = { .until_ns =
				       t_now_ns() + seconds * UINT64_C(1000000000) };
	struct watcher watchers[READERS] = { 0 };
	uint64_t laps = 0, delivered = 0, torn = 0;
	pthread_t thread;

	t_ok(rt_writer_open(dir, &config, 0, UINT64_C(1000000000), NULL,
			    &arena.writer));
	for (unsigned i = 0; i < READERS; i++) {
		watchers[i].arena = &arena;
		watchers[i].random.state = seed + i;
		watchers[i].naps = i * 20;
		t_ok(pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]));
	}
	t_ok(pthread_create(&thread, NULL, write_all, &arena));
	t_ok(pthread_join(thread, NULL));
	for (unsigned i = 0; i < READERS; i++) {
		struct watcher *w = &watchers[i];

		t_ok(pthread_join(w->thread, NULL));
		if (w->failure[0])
			print_error("reader %u: %s\n", i, w->failure);
		assert_int_equal(w->failure[0], 0);
		assert_int_equal(w->last, rt_writer_head(arena.writer));
		assert_int_equal(w->delivered + w->lost, w->last);
		laps += w->laps;
		delivered += w->delivered;
		torn += w->torn;
	}
	print_message("# %" PRIu64 " events, %" PRIu64 " read, %" PRIu64
		      " laps, %" PRIu64 " copies torn and refused\n",
		      rt_writer_head(arena.writer), delivered, laps, torn);
	assert_true(delivered > 0);
	assert_true(!must_lap || laps >= LAPS_AT_LEAST);
	rt_writer_close(arena.writer);
	t_dir_drop(rt_take_ptr(&dir));
}

static void the_smallest_ring_laps_its_readers(void **state)
{
	(void)state;
	run(64, 4096, true);
}

static void slots_run_out_before_the_payload(void **state)
{
	(void)state;
	run(64, 65536, true);
}

static void the_payload_runs_out_before_the_slots(void **state)
{
	(void)state;
	run(1024, 4096, true);
}

static void a_larger_ring(void **state)
{
	(void)state;
	run(8192, 1u << 20, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T0(the_smallest_ring_laps_its_readers),
		T0(slots_run_out_before_the_payload),
		T0(the_payload_runs_out_before_the_slots),
		T0(a_larger_ring),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : rt_random64();
	if (argc > 2)
		seconds = (unsigned)strtoul(argv[2], NULL, 0);
	print_message("# seed %" PRIu64 ", %u s each\n", seed, seconds);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
