/* SPDX-License-Identifier: MIT */
/*
 * test_snapshot_state.c [ROUNDS [SEED]] - is a snapshot what the log says?
 *
 * A daemon makes one after the other, of a table that changes while it is copied: keys
 * come, change and go, by themselves as well, and the table grows and shrinks.  It is
 * killed at random moments.  What is there then is compared with the events up to its
 * seq, read from the first one on, in everything that a snapshot has of a key.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/log_read.h"
#include "store/snapshot.h"
#include "tests/support/daemon.h"

#define N_KEYS    2000u
#define VALUE_MAX 60u
#define AT_ONCE   50u

struct plain {
	bool there;
	uint64_t seq, time_ns, deadline_ms;
	uint32_t value_len;
	uint8_t value[VALUE_MAX];
};

static struct plain keys[N_KEYS]; /* as of event `seq` */
static uint64_t seq;
static unsigned n_compared;
static int publishers[2];
static struct t_daemon d;
static char data[] = "/var/tmp/rt-test-XXXXXX";
static char folder[64];
static unsigned n_rounds = 10;
static uint64_t seed;
static struct t_random dice;

/*
 * ---- Publishing ----
 */

static void send_one(redisContext *c, struct t_random *random, unsigned n_wanted)
{
	unsigned key = (unsigned)t_random_below(random, N_KEYS);
	uint64_t kind = t_random_below(random, 20);
	char value[VALUE_MAX];
	size_t len = t_random_below(random, VALUE_MAX);

	memset(value, 'a' + (int)(kind + key) % 26, sizeof(value));
	if (key >= n_wanted || kind == 0)
		(void)redisAppendCommand(c, "DEL k%05u", key);
	else if (kind == 1)
		(void)redisAppendCommand(c, "SET k%05u %b PX %u", key, value, len,
					 1 + (unsigned)t_random_below(random, 50));
	else
		(void)redisAppendCommand(c, "SET k%05u %b", key, value, len);
}

/* 0, or the connection is gone. */
static int exchange(redisContext *c, struct t_random *random, unsigned n_wanted)
{
	bool txn = t_random_below(random, 8) == 0;
	unsigned n = AT_ONCE + 2 * txn;
	int r = 0;

	if (txn)
		(void)redisAppendCommand(c, "MULTI");
	for (unsigned i = 0; i < AT_ONCE; i++)
		send_one(c, random, n_wanted);
	if (txn)
		(void)redisAppendCommand(c, "EXEC");
	for (unsigned i = 0; i < n && !r; i++) {
		void *reply = NULL;

		r = redisGetReply(c, &reply);
		freeReplyObject(reply);
	}
	return r;
}

static int publish(void *arg)
{
	struct t_random random = { *(uint64_t *)arg };
	unsigned n_wanted = N_KEYS;

	for (;;) {
		redisContext *c = redisConnectUnix(d.socket);

		while (c && !c->err && exchange(c, &random, n_wanted) == 0)
			if (t_random_below(&random, 200) == 0)
				n_wanted = t_random_below(&random, 2) ? N_KEYS : 100;
		if (c)
			redisFree(c);
		t_sleep_ms(1);
	}
	return 0;
}

/*
 * ---- Comparing ----
 */

static struct plain *plain_of(const uint8_t *key, size_t len)
{
	char text[8] = "";

	assert_int_equal(len, 6);
	memcpy(text, key + 1, 5);
	assert_in_range(atoi(text), 0, N_KEYS - 1);
	return &keys[atoi(text)];
}

static void apply(const struct rt_item *item)
{
	struct plain *p = plain_of(item->key, item->key_len);

	*p = (struct plain){ .there = item->op == RT_OP_PUT };
	if (!p->there)
		return;
	assert_true(item->value_len <= VALUE_MAX);
	p->seq = item->seq;
	p->time_ns = item->time_ns;
	p->deadline_ms = rt_item_terms(item).deadline_ms;
	p->value_len = item->value_len;
	memcpy(p->value, item->value, item->value_len);
}

/* On to event @to. */
static void read_log(uint64_t to)
{
	struct rt_fault fault = { "" };
	struct rt_log_reader reader;
	const uint8_t *batch;

	t_ok(rt_log_reader_open(folder, &fault, &reader));
	t_ok(seq < to ? rt_log_reader_seek(&reader, seq + 1, &fault) : 0);
	while (seq < to) {
		struct rt_batch_cursor cursor;
		struct rt_item item;

		t_is(rt_log_reader_next(&reader, to, &fault, &batch), 1);
		rt_batch_open(batch, &cursor);
		while (rt_batch_next(&cursor, &item) == 1) {
			if (item.seq <= seq || item.seq > to)
				continue;
			apply(&item);
			seq = item.seq;
		}
	}
	rt_log_reader_close(&reader);
}

static void is_plain(const struct rt_state *got, const struct plain *p)
{
	assert_ptr_equal(plain_of(got->key, got->key_len), p);
	assert_int_equal(got->seq, p->seq);
	assert_int_equal(got->time_ns, p->time_ns);
	assert_int_equal(got->deadline_ms, p->deadline_ms);
	assert_int_equal(got->flags, 0);
	assert_int_equal(got->value_len, p->value_len);
	if (p->value_len)
		assert_memory_equal(got->value, p->value, p->value_len);
}

static void compare(int dir_fd, uint64_t of)
{
	struct rt_snapshot snapshot;
	struct rt_fault fault;
	struct rt_state got;
	char name[32];

	read_log(of);
	rt_snapshot_name(of, name);
	t_ok(rt_snapshot_open(dir_fd, name, name, &fault, &snapshot));
	assert_int_equal(snapshot.header.seq, of);
	for (unsigned i = 0; i < N_KEYS; i++) {
		if (!keys[i].there)
			continue;
		assert_int_equal(rt_snapshot_next(&snapshot, &fault, &got), 1);
		is_plain(&got, &keys[i]);
	}
	assert_int_equal(rt_snapshot_next(&snapshot, &fault, &got), 0);
	rt_snapshot_close(&snapshot);
	n_compared++;
}

/* Those that are new; the list begins with the newest. */
static void compare_all(void)
{
	int dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t seqs[8];
	size_t n = 0;

	t_ok(rt_snapshots_list(dir_fd, seqs, T_N(seqs), &n));
	while (n-- > 0)
		if (seqs[n] > seq)
			compare(dir_fd, seqs[n]);
	(void)close(dir_fd);
}

static void end_publishers(void)
{
	for (unsigned i = 0; i < T_N(publishers); i++) {
		if (publishers[i] <= 0)
			continue;
		(void)kill(publishers[i], SIGKILL);
		(void)t_join(publishers[i]);
		publishers[i] = 0;
	}
}

static void each_snapshot_is_what_its_log_says(void **state)
{
	(void)state;
	t_daemon_start(&d, "--data", data, "--feed",
		       "f,size=256K,segment=256K,durability=os,retain_bytes=0,"
		       "snapshot_bytes=1M",
		       NULL);
	for (unsigned i = 0; i < T_N(publishers); i++) {
		uint64_t own = seed + i;

		publishers[i] = t_spawn(publish, &own);
	}
	for (unsigned i = 0; i < n_rounds; i++) {
		(void)usleep(100000 + (useconds_t)t_random_below(&dice, 300000));
		t_daemon_kill(&d);
		(void)unlink(d.socket);
		compare_all();
		t_daemon_restart(&d);
	}
	end_publishers();
	assert_int_equal(t_daemon_stop(&d), 0);
	compare_all();
	assert_true(n_compared >= n_rounds / 2);
}

static int setup(void **state)
{
	*state = NULL;
	if (!mkdtemp(data))
		return -1;
	(void)snprintf(folder, sizeof(folder), "%s/f", data);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	end_publishers();
	t_daemon_drop(&d);
	t_dir_drop(strdup(data));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(each_snapshot_is_what_its_log_says),
	};

	(void)t_daemon_program();
	if (argc > 1)
		n_rounds = (unsigned)strtoul(argv[1], NULL, 10);
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : t_now_ns();
	dice.state = seed;
	print_message("# %u rounds, seed %" PRIu64 "\n", n_rounds, seed);
	return cmocka_run_group_tests_name("snapshot_state", tests, NULL, NULL);
}
