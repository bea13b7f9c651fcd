/* SPDX-License-Identifier: MIT */
/*
 * rig.h - a small ring, its writer and some readers, for the unit tests
 *
 * 64 slots and 4 KiB of payload unless a test asks for more: small enough that every
 * limit and every wrap is a few events away.  All in a folder of its own; the
 * teardown closes what is open and fails if a descriptor was leaked.
 */
#ifndef RINGTAIL_TESTS_UNIT_RIG_H
#define RINGTAIL_TESTS_UNIT_RIG_H

#include <ringtail.h>

#include "tests/support/t.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/reader.h"

#define RIG_READERS 64
#define RIG_FEED    "unit"
#define RIG_BEAT_NS UINT64_C(1000000000)

struct rig {
	char *dir;
	char path[256]; /* of the ring */
	struct rt_ring_config config;
	struct rt_writer *w;
	struct ringtail *readers[RIG_READERS];
	unsigned n_readers;
	struct rt_segment map; /* for forging: writable, apart from the writer's */
	struct rt_fault fault;
	int fds; /* open before the test */
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->fds = t_count_fds();
	rig->dir = t_dir_new();
	(void)snprintf(rig->path, sizeof(rig->path), "%s/" RIG_FEED "/ring", rig->dir);
	rig->map = RT_SEGMENT_NONE;
	rig->config = (struct rt_ring_config){
		.name = RIG_FEED,
		.n_slots = 64,
		.payload_size = 4096,
		.max_key = 128,
		.mode = 0640,
		.bell_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	int fds = rig->fds;

	for (unsigned i = 0; i < rig->n_readers; i++)
		ringtail_close(rig->readers[i]);
	rt_writer_close(rig->w);
	rt_segment_drop(&rig->map);
	t_dir_drop(rig->dir);
	free(rig);
	if (t_count_fds() == fds)
		return 0;
	print_error("%d descriptors leaked\n", t_count_fds() - fds);
	return -1;
}

/* Opens the writer as rig->config says. */
__attribute__((unused)) static void rig_open(struct rig *rig)
{
	t_ok(rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, &rig->fault,
			    &rig->w));
}

__attribute__((unused)) static void rig_close(struct rig *rig)
{
	rt_writer_close(rig->w);
	rig->w = NULL;
}

/* As if the writer had died. */
__attribute__((unused)) static void rig_drop(struct rig *rig)
{
	rt_writer_drop(rig->w);
	rig->w = NULL;
}

/* A second, writable mapping of the ring file that is there now. */
__attribute__((unused)) static struct rt_segment *rig_map(struct rig *rig)
{
	int fd = open(rig->path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	rt_segment_drop(&rig->map);
	t_ok(rt_segment_map(fd, true, rig->path, &rig->fault, &rig->map));
	(void)close(fd);
	return &rig->map;
}

/* Event @seq has this value wherever it is made here. */
__attribute__((unused)) static size_t rig_value(uint64_t seq, char ret[32])
{
	return (size_t)snprintf(ret, 32, "value %llu", (unsigned long long)seq);
}

/* @n transactions of one event. */
__attribute__((unused)) static void rig_put(struct rig *rig, unsigned n)
{
	char value[32];

	for (unsigned i = 0; i < n; i++)
		t_ok(rt_writer_one(rig->w, RT_OP_PUT, 0, "k", 1, value,
				   rig_value(rig->w->next, value)));
}

/* A transaction of @n events. */
__attribute__((unused)) static void rig_txn(struct rig *rig, unsigned n)
{
	char value[32];

	rt_writer_begin(rig->w);
	for (unsigned i = 0; i < n; i++)
		t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "k", 1, value,
				   rig_value(rig->w->next, value)));
	rt_writer_commit(rig->w);
}

/* One event with a value of @len bytes, all equal to its seq's low byte. */
__attribute__((unused)) static int rig_put_sized(struct rig *rig, size_t key_len,
						 size_t len)
{
	static char key[RT_KEY_MAX];
	static uint8_t value[1 << 16];

	assert_true(len <= sizeof(value));
	memset(key, 'k', key_len);
	memset(value, (int)(rig->w->next & 0xff), len);
	return rt_writer_one(rig->w, RT_OP_PUT, 0, key, key_len, value, len);
}

__attribute__((unused)) static bool rig_is_sized(const struct ringtail_event *event,
						 size_t key_len, size_t len)
{
	const uint8_t *value = event->value;
	const char *key = event->key;

	if (event->key_len != key_len || event->value_len != len)
		return false;
	for (size_t i = 0; i < key_len; i++) {
		if (key[i] != 'k')
			return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (value[i] != (event->seq & 0xff))
			return false;
	}
	return true;
}

/* Keeps @r so that the teardown closes it. */
__attribute__((unused)) static struct ringtail *rig_keep(struct rig *rig,
							 struct ringtail *r)
{
	assert_true(rig->n_readers < RIG_READERS);
	rig->readers[rig->n_readers++] = r;
	return r;
}

__attribute__((unused)) static void rig_forget(struct rig *rig, struct ringtail *r)
{
	for (unsigned i = 0; i < rig->n_readers; i++) {
		if (rig->readers[i] == r)
			rig->readers[i] = rig->readers[--rig->n_readers];
	}
	ringtail_close(r);
}

__attribute__((unused)) static struct ringtail_options rig_from(uint32_t start)
{
	struct ringtail_options o = RINGTAIL_OPTIONS_INIT;

	o.start = start;
	return o;
}

__attribute__((unused)) static struct ringtail_options rig_after(uint64_t seq)
{
	struct ringtail_options o = rig_from(RINGTAIL_START_AFTER_SEQ);

	o.seq = seq;
	return o;
}

/* After @seq, reporting gaps. */
__attribute__((unused)) static struct ringtail_options rig_skip(uint64_t seq)
{
	struct ringtail_options o = rig_after(seq);

	o.on_gap = RINGTAIL_ON_GAP_SKIP;
	return o;
}

__attribute__((unused)) static int rig_try(struct rig *rig, struct ringtail_options o,
					   struct ringtail **ret)
{
	o.dir = rig->dir;
	return ringtail_open(RIG_FEED, &o, ret);
}

__attribute__((unused)) static struct ringtail *rig_read(struct rig *rig,
							 struct ringtail_options o)
{
	struct ringtail *r;

	t_ok(rig_try(rig, o, &r));
	return rig_keep(rig, r);
}

/* The next event is @seq, made by rig_put() or rig_txn(). */
__attribute__((unused)) static void rig_is(const struct ringtail_event *event,
					   uint64_t seq)
{
	char value[32];
	size_t len = rig_value(seq, value);

	assert_int_equal(event->seq, seq);
	assert_int_equal(event->key_len, 1);
	assert_memory_equal(event->key, "k", 1);
	assert_int_equal(event->value_len, len);
	assert_memory_equal(event->value, value, len);
}

__attribute__((unused)) static void rig_next(struct ringtail *r, uint64_t seq)
{
	struct ringtail_event event;

	t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	rig_is(&event, seq);
}

/* Events @from to @to, then nothing; the first call's "caught up" does not count. */
__attribute__((unused)) static void rig_drain(struct ringtail *r, uint64_t from,
					      uint64_t to)
{
	struct ringtail_event event;
	int outcome;

	for (uint64_t seq = from; seq <= to; seq++)
		rig_next(r, seq);
	outcome = ringtail_next(r, &event, 0);
	if (outcome == RINGTAIL_CAUGHT_UP)
		outcome = ringtail_next(r, &event, 0);
	t_is(outcome, RINGTAIL_NOTHING);
}

__attribute__((unused)) static void rig_gap(struct ringtail *r, uint64_t first,
					    uint64_t count, uint64_t skipped,
					    uint32_t cause)
{
	struct ringtail_gap_info gap;

	t_ok(ringtail_gap(r, &gap));
	assert_int_equal(gap.first, first);
	assert_int_equal(gap.count, count);
	assert_int_equal(gap.skipped, skipped);
	assert_int_equal(gap.cause, cause);
}

__attribute__((unused)) static struct ringtail_stats rig_stats(struct ringtail *r)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };

	t_ok(ringtail_get_stats(r, &stats));
	assert_int_equal(stats.delivered + stats.filtered + stats.lost,
			 stats.position - stats.start);
	return stats;
}

/*
 * A writer in a process of its own, which can be killed and stopped.
 */
struct rig_child {
	struct rig *rig;
	int pid;
	int commands[2], answers[2];
};

__attribute__((unused)) static int rig_child_run(void *arg)
{
	struct rig_child *child = arg;
	struct rt_writer *w;
	uint64_t beat = UINT64_C(20000000);
	char command;
	int r = rt_writer_open(child->rig->dir, &child->rig->config, 0, beat, NULL, &w);

	(void)close(child->commands[1]);
	(void)close(child->answers[0]);
	if (write(child->answers[1], &r, sizeof(r)) != sizeof(r) || r < 0)
		return 1;
	while (read(child->commands[0], &command, 1) == 1) {
		char value[32];

		r = rt_writer_one(w, RT_OP_PUT, 0, "k", 1, value,
				  rig_value(w->next, value));
		if (write(child->answers[1], &r, sizeof(r)) != sizeof(r))
			return 1;
	}
	rt_writer_close(w);
	return 0;
}

__attribute__((unused)) static void rig_child_begin(struct rig *rig,
						    struct rig_child *child)
{
	int answer = -1;

	*child = (struct rig_child){ .rig = rig };
	assert_int_equal(pipe2(child->commands, O_CLOEXEC), 0);
	assert_int_equal(pipe2(child->answers, O_CLOEXEC), 0);
	child->pid = t_spawn(rig_child_run, child);
	(void)close(child->commands[0]);
	(void)close(child->answers[1]);
	assert_int_equal(read(child->answers[0], &answer, sizeof(answer)),
			 sizeof(answer));
	t_ok(answer);
}

__attribute__((unused)) static void rig_child_put(struct rig_child *child)
{
	int answer = -1;

	assert_int_equal(write(child->commands[1], "p", 1), 1);
	assert_int_equal(read(child->answers[0], &answer, sizeof(answer)),
			 sizeof(answer));
	t_ok(answer);
}

/* Kills it with @signal, or with 0 has it close the feed. */
__attribute__((unused)) static void rig_child_end(struct rig_child *child, int signal)
{
	if (signal)
		(void)kill(child->pid, signal);
	(void)close(child->commands[1]);
	assert_int_equal(t_join(child->pid), signal ? 1000 + signal : 0);
	(void)close(child->answers[0]);
}

/* A thread that reads one event for ever and says how that ended. */
struct rig_sleeper {
	pthread_t thread;
	struct ringtail *r;
	struct ringtail_event event;
	_Atomic int tid;
	_Atomic int outcome;
	uint64_t done_ns;
};

__attribute__((unused)) static void *rig_sleep(void *arg)
{
	struct rig_sleeper *s = arg;

	atomic_store(&s->tid, (int)gettid());
	atomic_store(&s->outcome, ringtail_next(s->r, &s->event, RINGTAIL_FOREVER));
	s->done_ns = t_now_ns();
	return NULL;
}

/* Is the thread in a system call that sleeps? */
__attribute__((unused)) static bool rig_is_asleep(void *arg)
{
	struct rig_sleeper *s = arg;
	char path[64], stat[256], *state;
	int tid = atomic_load(&s->tid);
	FILE *file;
	bool asleep;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = tid ? fopen(path, "re") : NULL;
	if (!file)
		return false;
	state = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
	asleep = state && state[1] && state[2] == 'S';
	(void)fclose(file);
	return asleep;
}

/* Starts a thread that reads from @r and returns when it is asleep. */
__attribute__((unused)) static void rig_sleep_begin(struct rig_sleeper *s,
						    struct ringtail *r)
{
	*s = (struct rig_sleeper){ .r = r };
	assert_int_equal(pthread_create(&s->thread, NULL, rig_sleep, s), 0);
	if (t_within_ms(30000, rig_is_asleep, s))
		return;
	/* It must not outlive the test. */
	ringtail_cancel(r);
	(void)pthread_join(s->thread, NULL);
	print_error("a reader that should sleep came back with %d\n",
		    atomic_load(&s->outcome));
	fail();
}

__attribute__((unused)) static int rig_sleep_end(struct rig_sleeper *s)
{
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	return atomic_load(&s->outcome);
}

#endif
