/* SPDX-License-Identifier: MIT */
/*
 * test_waking.c - sleepers and commits, until a wake-up would have been lost
 *
 * Every sleep of the library ends after a second by itself, so a lost wake-up shows
 * as a wait of about that long: no wait may come near it.
 *
 *	test_stress_waking [SEED [ROUNDS]]
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringtail.h>

#include "shm/layout.h"
#include "shm/order.h"
#include "shm/segment.h"

#define LIMIT_NS    INT64_C(5000000000)
#define TOO_LONG_NS UINT64_C(900000000)
#define SLEEPERS    12
#define LATE        60000 /* turns of a loop: some balls come back late */

static uint64_t seed;
static unsigned rounds = 100000;

/* How long the waits of one side were. */
struct waits {
	uint64_t longest_ns;
	uint64_t sum_ns;
	uint64_t n;
	uint64_t sleeps;
	unsigned late; /* longer than TOO_LONG_NS */
};

struct game {
	const char *dir;
	uint32_t wake_mode;
	uint32_t bell_mode;
	unsigned rounds;
	unsigned forgiven; /* late balls: of a side that a busy third kept from running
			    */
	bool filtered;     /* readers want one topic of several */
	bool spinning;     /* one side spins: it answers while the other lies down */
	struct waits *waits; /* of both sides; shared */
};

static struct ringtail_writer *open_writer(const struct game *g, const char *feed)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer = NULL;

	options.dir = g->dir;
	options.n_slots = 1024;
	options.payload_size = 65536;
	options.wake_mode = g->wake_mode;
	options.bell_mode = g->bell_mode;
	if (ringtail_writer_open(feed, &options, &writer) < 0)
		(void)fprintf(stderr, "%s: %s\n", feed, ringtail_error(NULL));
	return writer;
}

static struct ringtail *open_reader(const struct game *g, const char *feed, bool spins)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_filter filter = {
		RINGTAIL_FILTER_PREFIX, 0, "ball/", 5, NULL, 0
	};
	struct ringtail *reader = NULL;

	options.dir = g->dir;
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = LIMIT_NS;
	options.wait = spins ? RINGTAIL_WAIT_SPIN : RINGTAIL_WAIT_SLEEP;
	options.filters = g->filtered ? &filter : NULL;
	options.n_filters = g->filtered;
	if (ringtail_open(feed, &options, &reader) < 0)
		(void)fprintf(stderr, "%s: %s\n", feed, ringtail_error(NULL));
	return reader;
}

/* Waits for the ball with number @round. */
static bool catch (struct ringtail *reader, unsigned round, unsigned forgiven,
		   struct waits *waits)
{
	struct ringtail_event event;
	uint64_t begun = t_now_ns(), took;
	unsigned got = 0;
	int r;

	do
		r = ringtail_next(reader, &event, LIMIT_NS);
	while (r == RINGTAIL_CAUGHT_UP ||
	       (r == RINGTAIL_EVENT && memcmp(event.key, "ball/", 5) != 0));
	took = t_now_ns() - begun;
	if (r == RINGTAIL_EVENT && event.value_len == sizeof(got))
		memcpy(&got, event.value, sizeof(got));
	waits->longest_ns = took > waits->longest_ns ? took : waits->longest_ns;
	waits->sum_ns += took;
	waits->n++;
	waits->late += took >= TOO_LONG_NS;
	if (r == RINGTAIL_EVENT && got == round && waits->late <= forgiven)
		return true;
	(void)fprintf(stderr, "round %u: %d, ball %u after %" PRIu64 " ns (%s)\n",
		      round, r, got, took, ringtail_error(reader));
	return false;
}

/* A ball, now and then beside others that the reader may not want. */
static bool serve(struct ringtail_writer *writer, unsigned round,
		  struct t_random *random, unsigned dither)
{
	uint64_t chance = t_random_below(random, 16);

	if (chance == 2)
		dither = LATE; /* so that the other side does sleep */
	for (uint64_t i = t_random_below(random, dither); i; i--)
		rt_compiler_barrier(); /* so that the moment is another one each time */
	if (chance == 0 && ringtail_put(writer, "noise/a", 7, "x", 1, 0) < 0)
		return false;
	if (ringtail_put(writer, "ball/1", 6, &round, sizeof(round), 0) < 0)
		return false;
	return chance != 1 || ringtail_put(writer, "other/b", 7, "x", 1, 0) == 0;
}

static int play(const struct game *g, const char *own, const char *other, bool begins)
{
	struct ringtail_writer *writer = open_writer(g, own);
	bool spins = g->spinning && !begins;
	struct ringtail *reader = writer ? open_reader(g, other, spins) : NULL;
	struct t_random random = { seed + begins };
	unsigned dither = spins ? 10000 : 300;
	bool fine = reader;

	for (unsigned round = 1; round <= g->rounds && fine; round++) {
		if (begins)
			fine = serve(writer, round, &random, dither);
		fine = fine && catch (reader, round, g->forgiven, &g->waits[begins]);
		if (!begins)
			fine = fine && serve(writer, round, &random, dither);
	}
	if (fine) {
		struct ringtail_stats stats = { .size = sizeof(stats) };

		(void)ringtail_get_stats(reader, &stats);
		g->waits[begins].sleeps = stats.sleeps;
	}
	ringtail_close(reader);
	ringtail_writer_close(writer);
	return !fine;
}

static int answer(void *arg)
{
	return play(arg, "pong", "ping", false);
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static void ping_pong(struct game *g, int (*disturb)(void *arg))
{
	char *dir = t_dir_new();
	uint64_t sleeps = 0;
	int pid, disturber = 0, r;

	g->dir = dir;
	g->waits = shared_memory(2 * sizeof(struct waits));
	pid = t_spawn(answer, g);
	if (disturb)
		disturber = t_spawn(disturb, g);
	r = play(g, "ping", "pong", true);
	if (r)
		(void)kill(pid, SIGKILL);
	assert_int_equal(t_join(pid) + r, 0);
	if (disturber) {
		(void)kill(disturber, SIGKILL);
		(void)t_join(disturber);
	}
	for (unsigned i = 0; i < 2; i++) {
		print_message("# %" PRIu64 " waits, %" PRIu64 " sleeps, %" PRIu64
			      " ns on average, %" PRIu64 " ns at most\n",
			      g->waits[i].n, g->waits[i].sleeps,
			      g->waits[i].sum_ns / g->waits[i].n,
			      g->waits[i].longest_ns);
		assert_true(g->waits[i].late <= g->forgiven);
		sleeps += g->waits[i].sleeps;
	}
	assert_true(sleeps > g->rounds / 100); /* else nothing was shown */
	(void)munmap(g->waits, 2 * sizeof(struct waits));
	t_dir_drop(dir);
}

static void no_wake_up_is_lost_by_the_bell(void **state)
{
	struct game game = { .wake_mode = RINGTAIL_WAKE_BELL, .rounds = rounds };

	(void)state;
	ping_pong(&game, NULL);
}

static void no_wake_up_is_lost_without_a_bell(void **state)
{
	struct game game = { .wake_mode = RINGTAIL_WAKE_ALWAYS, .rounds = rounds };

	(void)state;
	ping_pong(&game, NULL);
}

static void no_wake_up_is_lost_by_topic(void **state)
{
	struct game game = { .rounds = rounds / 2, .filtered = true };

	(void)state;
	ping_pong(&game, NULL);
}

/* The answer comes at any moment between the first look and the sleep. */
static void no_wake_up_is_lost_while_lying_down(void **state)
{
	struct game game = { .rounds = rounds, .spinning = true };

	(void)state;
	ping_pong(&game, NULL);
}

/* Clears what sleepers set, as fast as it can. */
static int silence(void *arg)
{
	const struct game *g = arg;
	struct rt_bell *bells[2] = { NULL, NULL };
	const char *names[2] = { "ping/bell", "pong/bell" };

	for (unsigned i = 0; i < 2; i++) {
		int fd = -1;

		while ((fd = open(t_path(g->dir, names[i]), O_RDWR | O_CLOEXEC)) < 0)
			t_sleep_ms(1);
		bells[i] = mmap(NULL, sizeof(*bells[i]), PROT_READ | PROT_WRITE,
				MAP_SHARED, fd, 0);
		if (bells[i] == MAP_FAILED)
			return 1;
	}
	for (;;) {
		for (unsigned i = 0; i < 20000; i++)
			rt_store32(&bells[i & 1]->bits, 0);
		(void)sched_yield(); /* it shall be hostile, not the only one to run */
	}
}

static void a_hostile_bell_costs_a_sweep(void **state)
{
	struct game game = { .bell_mode = 0666, .rounds = rounds / 50, .forgiven = 3 };

	(void)state;
	ping_pong(&game, silence);
}

/*
 * ---- Many sleepers ----
 */

struct crowd {
	struct game game;
	_Atomic uint32_t *reached; /* by each sleeper; shared */
	unsigned number;
};

static int sleep_in_the_crowd(void *arg)
{
	const struct crowd *c = arg;
	struct ringtail *reader = open_reader(&c->game, "crowd", false);
	struct waits waits = { 0 };

	for (unsigned round = 1; round <= c->game.rounds; round++) {
		if (!reader || !catch (reader, round, 0, &waits))
			return 1;
		rt_store32(&c->reached[c->number], round);
	}
	ringtail_close(reader);
	return 0;
}

/* How long it takes until everybody has seen @round; TOO_LONG_NS at most. */
static uint64_t until_all(const struct crowd *c, unsigned round)
{
	uint64_t begun = t_now_ns(), took = 0;

	for (unsigned i = 0; i < SLEEPERS; i++) {
		while (rt_load32(&c->reached[i]) < round && took < TOO_LONG_NS) {
			(void)sched_yield();
			took = t_now_ns() - begun;
		}
	}
	return took;
}

/* More than a commit wakes by itself: the rest is the keeper's. */
static void a_crowd_is_woken_to_the_last(void **state)
{
	char *dir = t_dir_new();
	struct crowd crowd = { .game = { .dir = dir, .rounds = rounds / 50 } };
	struct crowd each[SLEEPERS];
	struct ringtail_writer *writer = open_writer(&crowd.game, "crowd");
	struct t_random random = { seed };
	uint64_t longest = 0;
	int pids[SLEEPERS];

	(void)state;
	assert_non_null(writer);
	crowd.reached = shared_memory(SLEEPERS * sizeof(*crowd.reached));
	for (unsigned i = 0; i < SLEEPERS; i++) {
		each[i] = crowd;
		each[i].number = i;
		pids[i] = t_spawn(sleep_in_the_crowd, &each[i]);
	}
	for (unsigned round = 1; round <= crowd.game.rounds && longest < TOO_LONG_NS;
	     round++) {
		uint64_t took;

		assert_true(serve(writer, round, &random, 300));
		took = until_all(&crowd, round);
		longest = took > longest ? took : longest;
	}
	for (unsigned i = 0; i < SLEEPERS; i++) {
		if (longest >= TOO_LONG_NS)
			(void)kill(pids[i], SIGKILL);
		assert_true(t_join(pids[i]) == 0 || longest >= TOO_LONG_NS);
	}
	print_message("# %u rounds of %u sleepers, %" PRIu64 " ns at most\n",
		      crowd.game.rounds, SLEEPERS, longest);
	assert_true(longest < TOO_LONG_NS);
	ringtail_writer_close(writer);
	(void)munmap(crowd.reached, SLEEPERS * sizeof(*crowd.reached));
	t_dir_drop(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T0(no_wake_up_is_lost_by_the_bell),
		T0(no_wake_up_is_lost_without_a_bell),
		T0(no_wake_up_is_lost_by_topic),
		T0(no_wake_up_is_lost_while_lying_down),
		T0(a_hostile_bell_costs_a_sweep),
		T0(a_crowd_is_woken_to_the_last),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : rt_random64();
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 0);
	print_message("# seed %" PRIu64 ", %u rounds\n", seed, rounds);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
