/* SPDX-License-Identifier: MIT */
/*
 * test_step_read.c - a reader stopped at each of its instructions, and lapped there
 *
 * The reader is a child under ptrace(2).  It is run up to an instruction within a
 * call that reads; then the writer goes once round the ring and further; then the call
 * is let go on.  It hands out what was published, whole, or tells of a gap.
 *
 *	test_stress_step_read [all]	every instruction, not a sample
 */
#include "tests/support/t.h"

#include <inttypes.h>
#include <stdlib.h>

#include <ringtail.h>

#include "shm/ring.h"
#include "tests/stress/plan.h"
#include "tests/stress/step.h"

#define FEED     "steps"
#define LAP      130 /* events: twice round */
#define DATA_MAX 8192

static bool every_instruction;

/* What the child ends with. */
enum verdict {
	WHOLE = 10, /* the whole transaction, as it was published */
	GAP,        /* a gap that begins with it */
	MIXED,      /* neither */
	REFUSED,    /* an error */
};

struct call {
	const char *dir;
	uint64_t first; /* of the transaction that is read */
	uint32_t n;
	enum verdict (*read)(struct ringtail *reader, const struct call *call);
};

static bool is_event(const struct ringtail_event *ev, uint64_t seq)
{
	struct plan_event wanted;

	plan_event(seq, 0, &wanted);
	return ev->seq == seq && ev->txn_index == wanted.txn_index &&
	       ev->txn_size == wanted.txn_size &&
	       !plan_differs(&wanted, ev->time_ns, ev->op, ev->flags & ~RINGTAIL_LAST,
			     ev->key, ev->key_len, ev->value, ev->value_len, ev->prev,
			     ev->prev_len);
}

/* It must begin where the reader stands, and the event behind it must be there. */
static enum verdict check_gap(struct ringtail *reader, const struct call *call)
{
	struct ringtail_gap_info gap;
	struct ringtail_event ev;

	if (ringtail_gap(reader, &gap) != 0 || gap.first != call->first ||
	    gap.count < call->n)
		return MIXED;
	if (ringtail_next(reader, &ev, 0) != RINGTAIL_EVENT)
		return MIXED;
	return is_event(&ev, gap.first + gap.count) && !ev.txn_index ? GAP : MIXED;
}

static enum verdict no_event(struct ringtail *reader, const struct call *call, int r)
{
	return r == RINGTAIL_GAP ? check_gap(reader, call) : REFUSED;
}

/*
 * ---- The calls, each with a stop before and behind ----
 */

static enum verdict by_next(struct ringtail *reader, const struct call *call)
{
	struct ringtail_event ev;
	int r;

	step_stop();
	r = ringtail_next(reader, &ev, 0);
	step_stop();
	for (uint32_t i = 0; i < call->n; i++) {
		if (r != RINGTAIL_EVENT)
			return i ? MIXED : no_event(reader, call, r);
		if (!is_event(&ev, call->first + i))
			return MIXED;
		if (i + 1 < call->n)
			r = ringtail_next(reader, &ev, 0);
	}
	return WHOLE;
}

static enum verdict by_txn(struct ringtail *reader, const struct call *call)
{
	const struct ringtail_event *events;
	size_t n = 0;
	int r;

	step_stop();
	r = ringtail_next_txn(reader, &events, &n, 0);
	step_stop();
	if (r != RINGTAIL_EVENT)
		return no_event(reader, call, r);
	for (uint32_t i = 0; i < n; i++) {
		if (!is_event(&events[i], call->first + i))
			return MIXED;
	}
	return n == call->n ? WHOLE : MIXED;
}

static enum verdict by_batch(struct ringtail *reader, const struct call *call)
{
	static struct ringtail_event events[32];
	static uint8_t data[DATA_MAX];
	struct ringtail_batch batch = { .events = events,
					.max_events = 32,
					.data = data,
					.data_size = sizeof(data),
					.max_txns = 1 };
	int r;

	step_stop();
	r = ringtail_next_batch(reader, &batch, 0);
	step_stop();
	if (r != RINGTAIL_EVENT)
		return no_event(reader, call, r);
	for (uint32_t i = 0; i < batch.n_events; i++) {
		if (!is_event(&events[i], call->first + i))
			return MIXED;
	}
	return batch.n_events == call->n ? WHOLE : MIXED;
}

/* Whatever was seen counts only if the loan is valid afterwards. */
static enum verdict by_loan(struct ringtail *reader, const struct call *call)
{
	static uint8_t data[DATA_MAX];
	struct ringtail_event ev;
	uint8_t *to = data;
	int r, valid = 0;

	step_stop();
	r = ringtail_borrow(reader, &ev, 0);
	if (r == RINGTAIL_EVENT) {
		memcpy(to, ev.key, ev.key_len);
		ev.key = to;
		to += ev.key_len;
		memcpy(to, ev.value, ev.value_len);
		ev.value = to;
		to += ev.value_len;
		if (ev.prev_len)
			memcpy(to, ev.prev, ev.prev_len);
		ev.prev = to;
		valid = ringtail_borrow_valid(reader);
	}
	step_stop();
	if (r != RINGTAIL_EVENT)
		return no_event(reader, call, r);
	if (valid == RINGTAIL_E_OVERRUN)
		return no_event(reader, call, ringtail_borrow(reader, &ev, 0));
	return is_event(&ev, call->first) ? WHOLE : MIXED;
}

/* In the child: the transaction before, and then the one that matters. */
static void work(const void *arg)
{
	const struct call *call = arg;
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	uint64_t before = plan_first_of(call->first - 1, 0);
	struct ringtail *reader;
	struct ringtail_event ev;
	enum verdict verdict;

	options.dir = call->dir;
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.seq = before - 1;
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	if (ringtail_open(FEED, &options, &reader) < 0)
		_exit(REFUSED);
	for (uint64_t seq = before; seq < call->first; seq++) {
		if (ringtail_next(reader, &ev, 0) != RINGTAIL_EVENT ||
		    !is_event(&ev, seq))
			_exit(REFUSED);
	}
	verdict = call->read(reader, call);
	_exit((int)verdict);
}

/*
 * ---- The writer ----
 */

struct bench {
	char *dir;
	struct rt_writer *writer;
	unsigned whole, gaps, stops;
};

/* Commits until the newest transaction is one of @shape and @n events; its first. */
static uint64_t commit_until(struct bench *b, enum plan_shape shape, uint32_t n)
{
	for (;;) {
		uint64_t first = rt_writer_head(b->writer) + 1;
		uint32_t index;
		const struct plan_txn *txn = plan_place(first, 0, &index);

		assert_int_equal(plan_commit_to(b->writer, first, 0), 0);
		if (txn->shape == shape && txn->n == n)
			return first;
	}
}

/* Stops the reader behind @n instructions; false if the call ended before. */
static bool stop_at(struct bench *b, struct call *call, unsigned n, int *ret)
{
	pid_t pid = step_start(work, call);
	enum step at = STEP_DONE;

	assert_true(pid);
	for (unsigned i = 0; i < n && at == STEP_DONE; i++)
		at = step(pid, PTRACE_SINGLESTEP);
	assert_int_not_equal(at, STEP_FAILED);
	assert_int_equal(plan_commit_to(b->writer, rt_writer_head(b->writer) + LAP, 0),
			 0);
	*ret = step_finish(pid);
	return at == STEP_DONE;
}

static void read_everywhere(struct bench *b, enum plan_shape shape, uint32_t n_events,
			    enum verdict (*read)(struct ringtail *,
						 const struct call *))
{
	unsigned stride = every_instruction ? 1 : 1 + n_events * 4;
	struct call call = { b->dir, 0, n_events, read };
	bool more = true;

	for (unsigned n = 1; more; n += stride) {
		int verdict;

		call.first = commit_until(b, shape, n_events);
		more = stop_at(b, &call, n, &verdict);
		if (verdict != WHOLE && verdict != GAP)
			print_error("seq %" PRIu64
				    ", stopped behind %u instructions: %d\n",
				    call.first, n, verdict);
		assert_true(verdict == WHOLE || verdict == GAP);
		b->whole += verdict == WHOLE;
		b->gaps += verdict == GAP;
		b->stops++;
	}
}

static void each_shape(enum verdict (*read)(struct ringtail *, const struct call *),
		       bool with_txns)
{
	struct rt_ring_config config = {
		.name = FEED,
		.n_slots = 64,
		.payload_size = 4096,
		.max_key = PLAN_KEY_MAX,
		.mode = 0640,
		.bell_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct bench b = { .dir = t_dir_new() };

	t_ok(rt_writer_open(b.dir, &config, 0, UINT64_C(1000000000), NULL, &b.writer));
	assert_int_equal(plan_commit_to(b.writer, LAP, 0), 0);
	read_everywhere(&b, PLAN_SMALL, 1, read);
	read_everywhere(&b, PLAN_VALUE, 1, read);
	read_everywhere(&b, PLAN_LONG, 1, read);
	read_everywhere(&b, PLAN_PREV, 1, read);
	read_everywhere(&b, PLAN_LARGE, 1, read);
	if (with_txns) {
		read_everywhere(&b, PLAN_MIXED, 3, read);
		read_everywhere(&b, PLAN_SMALL, 16, read);
	}
	print_message("# stopped at %u instructions: %u whole, %u gaps\n", b.stops,
		      b.whole, b.gaps);
	assert_true(b.whole > 0 && b.gaps > 0);
	rt_writer_close(b.writer);
	t_dir_drop(b.dir);
}

static void next_is_whole_or_a_gap(void **state)
{
	(void)state;
	each_shape(by_next, true);
}

static void next_txn_is_whole_or_a_gap(void **state)
{
	(void)state;
	each_shape(by_txn, true);
}

static void a_batch_is_whole_or_a_gap(void **state)
{
	(void)state;
	each_shape(by_batch, true);
}

static void a_loan_is_valid_or_a_gap(void **state)
{
	(void)state;
	each_shape(by_loan, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T0(next_is_whole_or_a_gap),
		T0(next_txn_is_whole_or_a_gap),
		T0(a_batch_is_whole_or_a_gap),
		T0(a_loan_is_valid_or_a_gap),
	};

	every_instruction = argc > 1 && strcmp(argv[1], "all") == 0;
	if (!step_permitted())
		t_skip_all("no single-stepping here: ptrace(2) is not permitted");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
