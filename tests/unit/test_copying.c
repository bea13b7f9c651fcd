/* SPDX-License-Identifier: MIT */
/*
 * test_copying.c - snapshots of a table that changes while it is copied
 *
 * Against a plain model: what is in a snapshot has to be what events up to its seq say,
 * to the last byte.  The rounds of the loop are the test's.
 */
#define SESSION_FEEDS \
	strdup("--feed"), strdup("main,size=64K,segment=256K,retain_bytes=0," \
				 "snapshot_bytes=1T,snapshot_age=0")

#include "tests/unit/sessionrig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define N_KEYS    3000u
#define VALUE_MAX 120u
#define TXN_MAX   8u
#define FIRST_NS  UINT64_C(2000000000000000000) /* of the test's own time */
#define NS_PER_MS UINT64_C(1000000)
#define LONG_MS   10000

struct plain {
	bool there, bound;
	uint64_t seq, time_ns, deadline_ms;
	uint32_t value_len;
	uint8_t value[VALUE_MAX];
};

struct model {
	struct plain keys[N_KEYS];
	uint64_t seq;
};

static struct model now, as_of; /* as_of: what the snapshot is to be of */
static struct t_random dice;
static struct rt_holder *holder;
static uint64_t time_ns;

static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

static struct rt_retention *kept(void)
{
	return &feed()->retention;
}

/*
 * ---- Changes, and what they are to come to ----
 */

static size_t key_of(unsigned number, char ret[16])
{
	return (size_t)snprintf(ret, 16, "k%05u", number);
}

static void was_put(struct plain *p, uint64_t deadline_ms, bool bound)
{
	p->there = true;
	p->bound = bound;
	p->seq = now.seq = rt_feed_seq(feed());
	p->time_ns = time_ns;
	p->deadline_ms = deadline_ms;
}

/* Of any kind; its value mostly is as long as the one before. */
static void put(unsigned number)
{
	struct plain *p = &now.keys[number];
	uint64_t kind = t_random_below(&dice, 12);
	struct rt_terms terms = { 0 };
	char key[16];
	size_t len = key_of(number, key);

	if (!p->there || kind < 3)
		p->value_len = (uint32_t)t_random_below(&dice, VALUE_MAX + 1);
	for (uint32_t i = 0; i < p->value_len; i += 16)
		p->value[i] = (uint8_t)t_random64(&dice);
	if (kind == 10)
		terms.deadline_ms =
			time_ns / NS_PER_MS + 1 + t_random_below(&dice, 2000);
	if (kind == 11)
		terms.holder = holder;
	t_ok(rt_feed_put_on(feed(), key, len, p->value, p->value_len,
			    kind >= 10 ? &terms : NULL));
	was_put(p, terms.deadline_ms, terms.holder);
}

static void delete (unsigned number)
{
	char key[16];
	size_t len = key_of(number, key);

	t_is(rt_feed_delete(feed(), key, len), now.keys[number].there);
	now.keys[number].there = false;
	now.seq = rt_feed_seq(feed());
}

/* Keys up to @n_wanted there are to be put, those above to go. */
static void change(unsigned number, unsigned n_wanted)
{
	if (number >= n_wanted || t_random_below(&dice, 20) == 0)
		delete (number);
	else
		put(number);
}

static unsigned any(void)
{
	return (unsigned)t_random_below(&dice, N_KEYS);
}

static void transact(unsigned n_wanted)
{
	struct plain was[TXN_MAX];
	unsigned numbers[TXN_MAX], n = 1 + (unsigned)t_random_below(&dice, TXN_MAX);
	uint64_t seq = now.seq;

	rt_feed_begin(feed());
	for (unsigned i = 0; i < n; i++) {
		numbers[i] = any();
		was[i] = now.keys[numbers[i]];
		change(numbers[i], n_wanted);
	}
	if (t_random_below(&dice, 2)) {
		t_ok(rt_feed_commit(feed()));
		return;
	}
	rt_feed_abort(feed());
	while (n-- > 0)
		now.keys[numbers[n]] = was[n];
	now.seq = seq;
	assert_int_equal(rt_feed_seq(feed()), seq);
}

/* Time goes on; what is over goes. */
static void pass(void)
{
	uint64_t now_ms;

	time_ns += (1 + t_random_below(&dice, 3)) * NS_PER_MS;
	now_ms = time_ns / NS_PER_MS;
	rt_feed_set_time(feed(), time_ns);
	if (t_random_below(&dice, 200) == 0) {
		rt_feed_end(feed(), holder);
		holder = rt_feed_holder(feed());
		for (unsigned i = 0; i < N_KEYS; i++)
			now.keys[i].there &= !now.keys[i].bound;
	}
	rt_feed_sweep(feed());
	for (unsigned i = 0; i < N_KEYS; i++)
		now.keys[i].there &=
			!now.keys[i].deadline_ms || now.keys[i].deadline_ms > now_ms;
	now.seq = rt_feed_seq(feed());
}

/* What one round of the loop may bring. */
static void one_round(unsigned n_wanted)
{
	uint64_t n = t_random_below(&dice, 30);

	pass();
	for (uint64_t i = 0; i < n; i++) {
		if (t_random_below(&dice, 8) == 0)
			transact(n_wanted);
		else
			change(any(), n_wanted);
	}
	t_ok(rt_feed_message(feed(), "k00001", 6, "of no state", 11));
	now.seq = rt_feed_seq(feed());
	t_ok(rt_feed_flush(feed()));
}

static bool is_worth_it(void)
{
	return rt_copying_pays(feed(),
			       feed()->journal.log.n_since - kept()->newest_since);
}

/*
 * ---- What a snapshot has ----
 */

static void is_key(const struct rt_state *got, unsigned number)
{
	const struct plain *p = &as_of.keys[number];
	char key[16];
	size_t len = key_of(number, key);

	assert_int_equal(got->key_len, len);
	assert_memory_equal(got->key, key, len);
	assert_int_equal(got->seq, p->seq);
	assert_int_equal(got->time_ns, p->time_ns);
	assert_int_equal(got->deadline_ms, p->deadline_ms);
	assert_int_equal(got->flags, p->bound ? RT_TERMS_BOUND : 0);
	assert_int_equal(got->value_len, p->value_len);
	if (p->value_len)
		assert_memory_equal(got->value, p->value, p->value_len);
}

static void is_as_the_model(void)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	const struct rt_log *log = &feed()->journal.log;
	struct rt_fault fault;
	struct rt_state got;
	char name[32];

	rt_snapshot_name(as_of.seq, name);
	t_ok(rt_snapshot_open(log->dir_fd, name, name, &fault, &snapshot));
	assert_int_equal(snapshot.header.seq, as_of.seq);
	for (unsigned i = 0; i < N_KEYS; i++) {
		if (!as_of.keys[i].there)
			continue;
		assert_int_equal(rt_snapshot_next(&snapshot, &fault, &got), 1);
		is_key(&got, i);
	}
	assert_int_equal(rt_snapshot_next(&snapshot, &fault, &got), 0);
}

static bool is_made(void *arg)
{
	(void)arg;
	if (kept()->job.stage == RT_SNAP_DONE)
		rt_feed_tick(feed());
	return kept()->newest == as_of.seq;
}

/* What was copied is with the thread, or even done; the model is as of it. */
static void gets_made(void)
{
	assert_true(t_within_ms(LONG_MS, is_made, NULL));
	assert_string_equal(kept()->error, "");
	is_as_the_model();
}

static void begin_test(uint64_t seed)
{
	dice.state = seed;
	time_ns = FIRST_NS;
	now = (struct model){ .seq = 0 };
	holder = rt_feed_holder(feed());
}

static void end_test(void)
{
	rt_feed_end(feed(), holder);
}

/* Keys, and more log than a copy takes. */
static void fill(unsigned n_keys)
{
	do {
		pass();
		for (unsigned i = 0; i < n_keys; i++)
			put(i);
		t_ok(rt_feed_flush(feed()));
	} while (!is_worth_it());
}

/*
 * ---- Tests ----
 */

/* The table grows, shrinks, and stays as it is, under one copy after the other. */
static void each_snapshot_is_what_the_log_says(void **state)
{
	unsigned n_wanted = 1000;
	uint64_t n_rounds = 0, n_events = 0, begun;

	(void)state;
	begin_test(17);
	f.server.snapshotter.n_copying = 20; /* others: small steps */
	fill(500);
	for (unsigned i = 0; i < 40; i++) {
		while (!is_worth_it())
			one_round(n_wanted);
		if (i % 3)
			n_wanted = i % 2 ? 150 : N_KEYS;
		(void)rt_retention_ask(feed());
		begun = now.seq;
		assert_int_equal(kept()->copying.stage, RT_COPYING_WALKING);
		while (kept()->copying.stage) {
			as_of = now;
			one_round(n_wanted);
			n_rounds++;
		}
		n_events += as_of.seq - begun;
		gets_made();
	}
	f.server.snapshotter.n_copying -= 20;
	assert_int_equal(f.server.snapshotter.n_copying, 0);
	assert_true(n_rounds > 40 * 5);
	assert_true(n_events > 40 * 50);
	end_test();
}

static void it_begins_again_with_what_it_has_let_go(void **state)
{
	struct rt_copy *copy = &kept()->copying.copy;

	(void)state;
	begin_test(1);
	fill(2000);
	(void)rt_retention_ask(feed());
	assert_int_equal(kept()->copying.stage, RT_COPYING_WALKING);
	while (kept()->copying.stage)
		rt_retention_look(feed());
	as_of = now;
	gets_made();
	assert_non_null(copy->spare);
	assert_null(copy->first);
	for (unsigned i = 0; i < 2; i++)
		rt_feed_tick(feed());
	assert_null(copy->spare); /* it was the last one for a while */
	end_test();
}

static void begin_copy(void)
{
	fill(2000);
	(void)rt_retention_ask(feed());
	assert_int_equal(kept()->copying.stage, RT_COPYING_WALKING);
	assert_int_equal(f.server.snapshotter.n_copying, 1);
	assert_true(rt_retention_goes_on(kept()));
}

static void has_ended(void)
{
	assert_int_equal(kept()->copying.stage, RT_COPYING_NONE);
	assert_int_equal(f.server.snapshotter.n_copying, 0);
	assert_false(rt_retention_goes_on(kept()));
	assert_int_equal(kept()->job.stage, RT_SNAP_IDLE);
}

static void what_cancels_a_snapshot_ends_its_copy(void **state)
{
	(void)state;
	begin_test(2);
	begin_copy();
	rt_retention_cancel(feed());
	has_ended();
	rt_feed_tick(feed()); /* it is still wanted */
	assert_int_equal(kept()->copying.stage, RT_COPYING_WALKING);
	end_test();
}

static void so_does_a_log_that_fails(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	begin_test(3);
	begin_copy();
	assert_true(dup2(fd, feed()->journal.log.fd) >= 0);
	t_ok(close(fd));
	put(1);
	assert_true(rt_feed_flush(feed()) < 0);
	has_ended();
	end_test();
}

static void and_the_end_of_its_feed(void **state)
{
	(void)state;
	begin_test(4);
	begin_copy();
	end_test();
	rt_feed_close(feed());
	assert_int_equal(kept()->copying.stage, RT_COPYING_NONE);
	assert_int_equal(f.server.snapshotter.n_copying, 0);
	assert_null(kept()->copying.copy.first);
	assert_null(kept()->copying.copy.spare);
}

static void no_step_is_amid_a_transaction(void **state)
{
	uint32_t at;

	(void)state;
	begin_test(5);
	begin_copy();
	at = kept()->copying.at;
	rt_feed_begin(feed());
	put(1);
	rt_retention_look(feed());
	assert_int_equal(kept()->copying.at, at);
	rt_feed_abort(feed());
	rt_retention_look(feed());
	assert_true(kept()->copying.at > at);
	end_test();
}

static void nothing_is_made_of_what_may_still_be_lost(void **state)
{
	(void)state;
	begin_test(6);
	begin_copy();
	put(1);
	while (kept()->copying.stage == RT_COPYING_WALKING)
		rt_retention_look(feed());
	assert_int_equal(kept()->copying.stage, RT_COPYING_WALKED);
	assert_false(rt_retention_goes_on(kept())); /* there is nothing to be done */
	rt_retention_look(feed());
	assert_int_equal(kept()->job.stage, RT_SNAP_IDLE);
	t_ok(rt_feed_flush(feed()));
	as_of = now;
	rt_retention_look(feed());
	assert_int_equal(kept()->copying.stage, RT_COPYING_NONE);
	gets_made();
	end_test();
}

static void who_asks_meanwhile_is_answered_by_it(void **state)
{
	(void)state;
	begin_test(7);
	begin_copy();
	assert_string_equal(ask("RINGTAIL.SNAPSHOT STATUS\r\n"), f.text);
	assert_non_null(strstr(f.text, "running"));
	assert_int_equal(rt_retention_ask(feed()), 2);
	while (kept()->copying.stage)
		rt_retention_look(feed());
	as_of = now;
	gets_made();
	assert_int_equal(kept()->answered, 2);
	end_test();
}

static void a_step_is_short_for_many_and_longer_for_many_events(void **state)
{
	uint32_t at;

	(void)state;
	begin_test(8);
	f.server.snapshotter.n_copying = 9;
	fill(N_KEYS);
	(void)rt_retention_ask(feed());
	at = kept()->copying.at;
	assert_in_range(at, 1, 100);
	for (unsigned i = 0; i < 300; i++)
		put(i);
	t_ok(rt_feed_flush(feed()));
	rt_retention_look(feed());
	assert_in_range(kept()->copying.at, at + 300, N_KEYS);
	f.server.snapshotter.n_copying -= 9;
	end_test();
}

static void what_the_log_lacks_memory_gives(void **state)
{
	const struct rt_log *log = &feed()->journal.log;
	off_t at;

	(void)state;
	begin_test(9);
	begin_copy();
	at = (off_t)log->offset;
	for (unsigned i = 0; i < 10; i++)
		put(i);
	t_ok(rt_feed_flush(feed()));
	assert_true(at > 0);
	assert_int_equal(pwrite(log->fd, "\xa5\x5a", 2, at + 80), 2);
	while (kept()->copying.stage)
		rt_retention_look(feed());
	as_of = now;
	gets_made();
	end_test();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_snapshot_is_what_the_log_says),
		T(it_begins_again_with_what_it_has_let_go),
		T(what_cancels_a_snapshot_ends_its_copy),
		T(so_does_a_log_that_fails),
		T(and_the_end_of_its_feed),
		T(no_step_is_amid_a_transaction),
		T(nothing_is_made_of_what_may_still_be_lost),
		T(who_asks_meanwhile_is_answered_by_it),
		T(a_step_is_short_for_many_and_longer_for_many_events),
		T(what_the_log_lacks_memory_gives),
	};

	return cmocka_run_group_tests_name("copying", tests, NULL, NULL);
}
