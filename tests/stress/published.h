/* SPDX-License-Identifier: MIT */
/*
 * published.h - transactions that are sent to a daemon, and found again in its feed
 *
 * What is sent goes into a queue; a recorder, which reads every event from the first
 * on, takes it out again, and fails the test if it is not the next that was sent.
 * Between them come only deletes of keys whose time was over.  So the history is right,
 * and it is not the views that say so.
 */
#ifndef RINGTAIL_TESTS_STRESS_PUBLISHED_H
#define RINGTAIL_TESTS_STRESS_PUBLISHED_H

#include "tests/support/t.h"

#include <inttypes.h>

#include "tests/stress/history.h"
#include "tests/support/daemon.h"

#define FEED       "main"
#define PATIENCE   (INT64_C(1000000) * T_PATIENCE_MS)
#define COMMANDS   6u
#define EVENTS_MAX 64u

enum kind {
	SET,
	SET_FOR_A_WHILE,
	SET_BOUND,
	DEL,
	DEL_PREFIX,
	MESSAGE
};

struct command {
	enum kind kind;
	unsigned key;   /* of a prefix: its group */
	uint64_t value; /* what the value is made of */
};

/* One transaction, if it has any effect. */
struct op {
	struct command commands[COMMANDS];
	unsigned n;
	bool discard;
	bool acked;
};

struct want {
	uint32_t op;
	unsigned key;
	uint64_t value;
};

static struct t_daemon d;
static redisContext *redis;
static uint64_t seed;
static struct t_random dice;
static unsigned step;

static struct h_history history;
/* Keys that may go by themselves: at their time, or with the connection. */
static bool timed[H_KEYS], bound[H_KEYS];
static struct ringtail *recorder;
static struct op *ops; /* sent and not recorded yet: from first_op */
static size_t n_ops, first_op, ops_cap;
static uint64_t n_values;

#define wrong(...) \
	do { \
		print_error(__VA_ARGS__); \
		fail_msg("step %u; again with --seed=%" PRIu64, step, seed); \
	} while (0)

static uint64_t below(uint64_t limit)
{
	return t_random_below(&dice, limit);
}

static size_t value_of(uint64_t n, uint8_t value[H_VALUE_MAX])
{
	uint64_t h = h_mix(n);
	size_t len = h % 8 ? (h >> 8) % 40 : (h >> 8) % H_VALUE_MAX;

	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)h_mix(n + i);
	return len;
}

static struct op random_op(void)
{
	struct op op = { .n = 1 };
	static const enum kind kinds[] = {
		SET,       SET,     SET,       SET, SET, DEL, DEL, SET_FOR_A_WHILE,
		SET_BOUND, MESSAGE, DEL_PREFIX
	};

	if (!below(3))
		op.n = 2 + (unsigned)below(COMMANDS - 1);
	op.discard = !below(20);
	for (unsigned i = 0; i < op.n; i++)
		op.commands[i] = (struct command){
			.kind = kinds[below(below(6) ? 7 : T_N(kinds))],
			.key = (unsigned)below(H_KEYS),
			.value = ++n_values,
		};
	return op;
}

static void send_command(const struct command *c)
{
	static const char *const groups[] = { "a/", "ab/", "b/" };
	uint8_t value[H_VALUE_MAX];
	size_t len = value_of(c->value, value);
	char key[H_KEY_MAX];

	(void)h_key(c->key, key);
	switch (c->kind) {
	case SET:
		(void)redisAppendCommand(redis, "SET %s %b", key, value, len);
		break;
	case SET_FOR_A_WHILE:
		(void)redisAppendCommand(redis, "SET %s %b PX %d", key, value, len,
					 1 + (int)(c->value % 50));
		break;
	case SET_BOUND:
		(void)redisAppendCommand(redis, "SET %s %b BIND", key, value, len);
		break;
	case DEL:
		(void)redisAppendCommand(redis, "DEL %s", key);
		break;
	case DEL_PREFIX:
		(void)redisAppendCommand(redis, "RINGTAIL.DELPREFIX %s",
					 groups[c->key % 3]);
		break;
	default:
		(void)redisAppendCommand(redis, "PUBLISH %s %b", key, value, len);
	}
}

/* Returns how many replies there will be. */
static unsigned send_op(const struct op *op)
{
	bool multi = op->n > 1 || op->discard;

	if (multi)
		(void)redisAppendCommand(redis, "MULTI");
	for (unsigned i = 0; i < op->n; i++)
		send_command(&op->commands[i]);
	if (multi)
		(void)redisAppendCommand(redis, op->discard ? "DISCARD" : "EXEC");
	return op->n + (multi ? 2 : 0);
}

static void take_replies(unsigned n)
{
	while (n--) {
		redisReply *reply = NULL;

		if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
			wrong("the daemon does not answer: %s\n", redis->errstr);
		if (reply->type == REDIS_REPLY_ERROR)
			wrong("refused: %s\n", reply->str);
		freeReplyObject(reply);
	}
}

static struct op *queue_op(struct op op)
{
	if (first_op == n_ops)
		first_op = n_ops = 0;
	if (n_ops == ops_cap) {
		ops_cap = ops_cap * 2 + 64;
		ops = realloc(ops, ops_cap * sizeof(*ops));
		assert_non_null(ops);
	}
	ops[n_ops] = op;
	return &ops[n_ops++];
}

/* The events of the operation as things are; returns how many. */
static unsigned simulate(const struct op *op, struct want want[EVENTS_MAX])
{
	struct h_state state = history.now;
	unsigned n = 0;

	for (unsigned i = 0; i < op->n && !op->discard; i++) {
		const struct command *c = &op->commands[i];
		uint8_t bytes[H_VALUE_MAX];
		uint64_t value = h_value_digest(bytes, value_of(c->value, bytes));

		for (unsigned key = 0; key < H_KEYS; key++) {
			bool of_prefix =
				c->kind == DEL_PREFIX && key / 16 == c->key % 3;

			if (key != c->key && !of_prefix)
				continue;
			if (c->kind == DEL_PREFIX && !of_prefix)
				continue;
			if ((c->kind == DEL || of_prefix) && !state.keys[key].seq)
				continue;
			want[n].op = c->kind == MESSAGE            ? RINGTAIL_MESSAGE
				     : c->kind == DEL || of_prefix ? RINGTAIL_DELETE
								   : RINGTAIL_PUT;
			want[n].key = key;
			want[n].value = want[n].op == RINGTAIL_DELETE ? 0 : value;
			if (want[n].op != RINGTAIL_MESSAGE)
				state.keys[key].seq = want[n].op == RINGTAIL_PUT;
			n++;
		}
	}
	return n;
}

/*
 * ---- The recorder ----
 */

static bool is_end_of_keys(const struct ringtail_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned key = h_number(events[i].key, events[i].key_len);

		if (!(events[i].flags & RINGTAIL_EXPIRED) || key == H_KEYS ||
		    !(timed[key] || bound[key]) || !history.now.keys[key].seq)
			return false;
	}
	return true;
}

static bool is_wanted(const struct ringtail_event *event, const struct want *want)
{
	return event->op == want->op &&
	       h_number(event->key, event->key_len) == want->key &&
	       (event->op == RINGTAIL_DELETE ||
		h_value_digest(event->value, event->value_len) == want->value);
}

/* Has the next of what was sent an effect?  Those without any are done. */
static unsigned next_op(struct want want[EVENTS_MAX])
{
	unsigned n = 0;

	while (first_op < n_ops && !(n = simulate(&ops[first_op], want)))
		first_op++;
	return n;
}

static void note_mortals(const struct op *op)
{
	for (unsigned i = 0; i < op->n; i++) {
		const struct command *c = &op->commands[i];

		if (c->kind > SET_BOUND)
			continue;
		timed[c->key] = c->kind == SET_FOR_A_WHILE;
		bound[c->key] |= c->kind == SET_BOUND;
	}
	for (unsigned key = 0; key < H_KEYS; key++)
		bound[key] = bound[key] && history.now.keys[key].seq;
}

static void record(const struct ringtail_event *events, size_t n)
{
	struct want want[EVENTS_MAX];
	bool ended = is_end_of_keys(events, n);
	unsigned n_want;

	if (events[0].seq != history.seq + 1 || events[0].txn_size != n)
		wrong("the recorder has a hole at seq %" PRIu64 "\n", events[0].seq);
	if (!ended) {
		n_want = next_op(want);
		if (n_want != n)
			wrong("a transaction of %zu events at seq %" PRIu64
			      ", %u were sent\n",
			      n, events[0].seq, n_want);
		for (unsigned i = 0; i < n; i++) {
			if (!is_wanted(&events[i], &want[i]))
				wrong("seq %" PRIu64 " is not what was sent\n",
				      events[i].seq);
		}
	}
	for (size_t i = 0; i < n; i++)
		assert_true(h_apply(&history.now, &events[i]));
	if (!ended)
		note_mortals(&ops[first_op++]);
	h_record(&history, events[n - 1].seq);
}

static struct ringtail_options from(void)
{
	struct ringtail_options o = RINGTAIL_OPTIONS_INIT;

	o.dir = d.dir;
	return o;
}

static void open_recorder(void)
{
	struct ringtail_options o = from();

	ringtail_close(recorder);
	o.start = RINGTAIL_START_AFTER_SEQ;
	o.seq = history.seq;
	if (ringtail_open(FEED, &o, &recorder) < 0)
		wrong("the recorder: %s\n", ringtail_error(NULL));
}

/* All there is; up to @seq even if it has to wait. */
static void record_up_to(uint64_t seq)
{
	const struct ringtail_event *events;
	uint64_t end = t_now_ns() + (uint64_t)PATIENCE;
	size_t n;
	int r;

	for (;;) {
		r = ringtail_next_txn(recorder, &events, &n,
				      history.seq < seq ? 10000000 : 0);
		if (r == RINGTAIL_EVENT)
			record(events, n);
		else if (r == RINGTAIL_E_EPOCH)
			open_recorder(); /* it has read all of the one before */
		else if (r < 0 && r != RINGTAIL_E_CLOSED)
			wrong("the recorder: %s\n", ringtail_error(recorder));
		else if (history.seq >= seq)
			break;
		else if (t_now_ns() > end || r < 0)
			wrong("the recorder is at seq %" PRIu64 " of %" PRIu64 "\n",
			      history.seq, seq);
	}
}

static uint64_t head(void)
{
	struct ringtail_info info = { .size = sizeof(info) };

	t_ok(ringtail_get_info(recorder, &info));
	return info.head;
}

/* What was acknowledged has been recorded, or had no effect; what was not, may. */
static void settle(void)
{
	struct want want[EVENTS_MAX];

	record_up_to(head());
	while (next_op(want) && !ops[first_op].acked)
		first_op++;
	if (first_op < n_ops)
		wrong("what was acknowledged is not there\n");
}

#endif
