/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_publish.c - a real daemon: conditions under rivalry, deleting by prefix,
 *                         previous values on every way into and out of history
 */
#include "tests/support/t.h"

#include <ringtail.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

static struct t_daemon d;
static redisContext *redis;
static char *data;

static int setup(void **state)
{
	*state = &d;
	d = (struct t_daemon){ .pid = 0 };
	redis = NULL;
	data = t_dir_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (redis)
		redisFree(redis);
	t_daemon_drop(&d);
	t_dir_drop(data);
	return 0;
}

static void connect_again(void)
{
	if (redis)
		redisFree(redis);
	redis = t_daemon_connect(&d);
}

static void restart(bool killed)
{
	if (killed)
		t_daemon_kill(&d);
	else
		assert_int_equal(t_daemon_stop(&d), 0);
	t_daemon_restart(&d);
	connect_again();
}

static struct ringtail *read_from(uint64_t seq)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader;

	options.dir = d.dir;
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.seq = seq;
	t_ok(ringtail_open("main", &options, &reader));
	return reader;
}

/*
 * ---- Conditions ----
 */

/* Adds 1 to the number that a key has, by compare and set, @n times. */
static int count_up(void *arg)
{
	redisContext *own = t_daemon_connect(&d);
	int n = *(int *)arg;

	while (n) {
		redisReply *seq = redisCommand(own, "RINGTAIL.SEQ n");
		redisReply *value = redisCommand(own, "GET n");
		redisReply *reply;

		if (!seq || !value || seq->type != REDIS_REPLY_ARRAY)
			return 1;
		reply = redisCommand(own, "SET n %d IFSEQ %lld",
				     value->str ? atoi(value->str) + 1 : 1,
				     seq->element[0]->integer);
		if (!reply)
			return 1;
		if (reply->type == REDIS_REPLY_STATUS)
			n--;
		else if (strncmp(reply->str, "CONFLICT ", 9) != 0)
			return 1;
		freeReplyObject(seq);
		freeReplyObject(value);
		freeReplyObject(reply);
	}
	redisFree(own);
	return 0;
}

static void rivals_lose_no_change(void **state)
{
	int n = 200, pids[4];

	(void)state;
	t_daemon_start(&d, "--feed", "main,size=1M", NULL);
	connect_again();
	for (unsigned i = 0; i < T_N(pids); i++)
		pids[i] = t_spawn(count_up, &n);
	for (unsigned i = 0; i < T_N(pids); i++)
		assert_int_equal(t_join(pids[i]), 0);
	t_reply(redis, "800", "GET n");
	t_reply(redis, "[800]", "RINGTAIL.SEQ n"); /* and no seq was used in vain */
}

static void the_seq_of_a_key_outlives_the_daemon(void **state)
{
	(void)state;
	t_daemon_start(&d, "--data", data, "--feed", "main,size=1M", NULL);
	connect_again();
	t_reply(redis, "OK", "MSET a 1 b 2 c 3");
	t_reply(redis, "OK", "SET b 4");
	for (int killed = 0; killed <= 1; killed++) {
		restart(killed);
		t_reply(redis, "[1 4 3 0]", "RINGTAIL.SEQ a b c d");
		t_reply(redis, "-CONFLICT key 'b' is at seq 4, not 2",
			"SET b 5 IFSEQ 2");
	}
	t_reply(redis, "OK", "SET b 5 IFSEQ 4");
	t_reply(redis, "[5]", "RINGTAIL.SEQ b");
}

/* No event of it is in ring or log, and its seqs are those of the next. */
static void a_discarded_transaction_was_never_there(void **state)
{
	struct ringtail_event event;
	struct ringtail *reader;

	(void)state;
	t_daemon_start(&d, "--data", data, "--feed", "main,size=1M", NULL);
	connect_again();
	t_reply(redis, "OK", "SET k v");
	t_reply(redis, "OK", "MULTI");
	t_reply(redis, "QUEUED", "SET a 1");
	t_reply(redis, "QUEUED", "RINGTAIL.DELPREFIX k");
	t_reply(redis, "QUEUED", "SET new 1 XX");
	t_reply(redis,
		"-EXECABORT Transaction discarded because of a condition: there is no "
		"key 'new'",
		"EXEC");
	t_reply(redis, "OK", "SET k w");
	restart(true);
	reader = read_from(1);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_EVENT);
	assert_int_equal(event.seq, 2);
	assert_memory_equal(event.value, "w", 1);
	t_is(ringtail_next(reader, &event, 0), RINGTAIL_NOTHING);
	ringtail_close(reader);
	t_reply(redis, "1", "DBSIZE");
}

static void a_prefix_goes_in_one_transaction(void **state)
{
	const struct ringtail_event *events;
	struct ringtail *reader;
	size_t n;

	(void)state;
	t_daemon_start(&d, "--feed", "main,size=1M", NULL);
	connect_again();
	for (unsigned i = 0; i < 500; i++)
		t_reply(redis, "OK", "SET p%03u v", i);
	t_reply(redis, "OK", "SET q v");
	t_reply(redis, "500", "RINGTAIL.DELPREFIX p");
	t_reply(redis, "1", "DBSIZE");
	reader = read_from(501);
	t_is(ringtail_next_txn(reader, &events, &n, 0), RINGTAIL_EVENT);
	assert_int_equal(n, 500);
	for (size_t i = 0; i < n; i++) {
		char key[8];

		(void)snprintf(key, sizeof(key), "p%03u", (unsigned)i);
		assert_int_equal(events[i].op, RINGTAIL_DELETE);
		assert_memory_equal(events[i].key, key, 4);
	}
	ringtail_close(reader);
	t_reply(redis, "1", "RINGTAIL.DELPREFIX %b", "", (size_t)0);
	t_reply(redis, "0", "DBSIZE");
}

/*
 * ---- Previous values ----
 */

#define N_KEYS 7u
#define N_SEQS 3000u

static size_t value_of(uint64_t seq, char ret[256])
{
	size_t len = seq * 7919 % 200;

	if (seq % 13 == 0) /* a delete */
		return 0;
	memset(ret, 'a' + (int)(seq % 26), len);
	return len;
}

/* Event @seq changes key seq % N_KEYS, which seq - N_KEYS has changed before. */
static void change(uint64_t seq)
{
	char value[256];
	size_t len = value_of(seq, value);

	if (seq % 13)
		t_reply(redis, "OK", "SET k%u %b", (unsigned)(seq % N_KEYS), value,
			len);
	else
		t_reply(redis, "1", "DEL k%u", (unsigned)(seq % N_KEYS));
}

static void is_right(const struct ringtail_event *event, uint64_t seq)
{
	char value[256], prev[256];
	uint64_t before = seq > N_KEYS ? seq - N_KEYS : 0;
	size_t len = value_of(seq, value);
	size_t prev_len = before && before % 13 ? value_of(before, prev) : 0;

	assert_int_equal(event->seq, seq);
	assert_int_equal(event->value_len, len);
	assert_memory_equal(event->value, value, len);
	assert_int_equal(event->prev_len, prev_len);
	if (prev_len)
		assert_memory_equal(event->prev, prev, prev_len);
}

/* Everything up to @last, by the three calls that copy. */
static void all_is_right(uint64_t last)
{
	static uint8_t memory[65536];
	static struct ringtail_event events[64];
	struct ringtail_batch batch = { .events = events,
					.max_events = T_N(events),
					.data = memory,
					.data_size = sizeof(memory) };
	struct ringtail *readers[] = { read_from(0), read_from(0), read_from(0) };
	uint64_t seq = 0;

	while (seq < last) {
		const struct ringtail_event *txn;
		size_t n;

		t_is(ringtail_next_batch(readers[0], &batch, 0), RINGTAIL_EVENT);
		for (size_t i = 0; i < batch.n_events; i++) {
			struct ringtail_event event;

			is_right(&events[i], ++seq);
			t_is(ringtail_next(readers[1], &event, 0), RINGTAIL_EVENT);
			is_right(&event, seq);
			t_is(ringtail_next_txn(readers[2], &txn, &n, 0),
			     RINGTAIL_EVENT);
			is_right(txn, seq);
		}
	}
	for (size_t i = 0; i < T_N(readers); i++)
		ringtail_close(readers[i]);
}

static void remove_ring(void)
{
	(void)unlink(t_path(t_path(d.dir, "main"), "ring"));
}

static void history_has_them_wherever_it_is(void **state)
{
	(void)state;
	/* The ring holds less than 128 of them: most is read from the log. */
	t_daemon_start(&d, "--data", data, "--feed",
		       "main,slots=128,payload=16K,prev_value=yes,segment=64K", NULL);
	connect_again();
	for (uint64_t seq = 1; seq <= N_SEQS / 3; seq++)
		change(seq);
	all_is_right(N_SEQS / 3);
	restart(true);
	for (uint64_t seq = N_SEQS / 3 + 1; seq <= N_SEQS * 2 / 3; seq++)
		change(seq);
	all_is_right(N_SEQS * 2 / 3);
	/* The ring is made anew, from the log. */
	assert_int_equal(t_daemon_stop(&d), 0);
	remove_ring();
	t_daemon_restart(&d);
	connect_again();
	all_is_right(N_SEQS * 2 / 3);
	for (uint64_t seq = N_SEQS * 2 / 3 + 1; seq <= N_SEQS; seq++)
		change(seq);
	all_is_right(N_SEQS);
}

/* From a ring without a log into a log, and into rings of other sizes. */
static void they_move_with_their_events(void **state)
{
	(void)state;
	t_daemon_start(&d, "--data", data, "--feed",
		       "main,slots=1024,payload=256K,prev_value=yes,durability=none",
		       NULL);
	connect_again();
	for (uint64_t seq = 1; seq <= 300; seq++)
		change(seq);
	all_is_right(300);
	assert_int_equal(t_daemon_stop(&d), 0);
	d.args[3] = "main,slots=2048,payload=256K,prev_value=yes,durability=none";
	t_daemon_restart(&d);
	connect_again();
	all_is_right(300);
	assert_int_equal(t_daemon_stop(&d), 0);
	d.args[3] = "main,slots=128,payload=8K,prev_value=yes,durability=os";
	t_daemon_restart(&d);
	connect_again();
	/* The log took over all that the ring had before that became smaller. */
	all_is_right(300);
	assert_int_equal(t_daemon_stop(&d), 0);
	remove_ring();
	t_daemon_restart(&d);
	connect_again();
	all_is_right(300);
	for (uint64_t seq = 301; seq <= 600; seq++)
		change(seq);
	all_is_right(600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rivals_lose_no_change),
		T(the_seq_of_a_key_outlives_the_daemon),
		T(a_discarded_transaction_was_never_there),
		T(a_prefix_goes_in_one_transaction),
		T(history_has_them_wherever_it_is),
		T(they_move_with_their_events),
	};

	(void)t_daemon_program();
	return cmocka_run_group_tests_name("daemon_publish", tests, NULL, NULL);
}
