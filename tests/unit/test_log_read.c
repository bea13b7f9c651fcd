/* SPDX-License-Identifier: MIT */
/*
 * test_log_read.c - store/log_read.c: to any seq, past everything that moves
 */
#include "tests/unit/logrig.h"

#include <pthread.h>
#include <stdatomic.h>

static struct rt_log_reader open_reader(struct logrig *rig)
{
	struct rt_log_reader reader;

	t_ok(rt_log_reader_open(rig->path, &rig->fault, &reader));
	return reader;
}

/* Some segments with an index each. */
static void fill(struct logrig *rig, uint64_t n_events)
{
	lr_open(rig);
	while (rig->log.next <= n_events)
		lr_append(rig, 1);
}

static void set_up_large(struct logrig *rig)
{
	rig->config.segment_size = UINT64_C(512) << 10;
	fill(rig, 20000);
}

/* At @seq, and from there on everything. */
static void seek_and_read(struct logrig *rig, uint64_t seq, uint64_t events)
{
	struct rt_log_reader reader = open_reader(rig);
	uint64_t limit =
		seq + events < rig->log.next ? seq + events - 1 : rig->log.next - 1;
	bool wrong = false;
	uint64_t last;

	t_ok(rt_log_reader_seek(&reader, seq, &rig->fault));
	assert_true(reader.next <= seq);
	last = lr_read_all(&reader, seq, limit, &wrong);
	assert_true(last >= limit && last < rig->log.next);
	assert_false(wrong);
	rt_log_reader_close(&reader);
}

static void every_seq_can_be_sought(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	const uint8_t *data;

	fill(rig, 3000);
	reader = open_reader(rig);
	for (uint64_t seq = 1; seq < rig->log.next; seq++) {
		struct rt_log_batch header;

		t_ok(rt_log_reader_seek(&reader, seq, &rig->fault));
		assert_int_equal(
			rt_log_reader_next(&reader, rig->log.next - 1, NULL, &data), 1);
		memcpy(&header, data, sizeof(header));
		assert_in_range(seq, header.first_seq,
				header.first_seq + header.n_events - 1);
	}
	/* What comes next can be waited for; what is beyond that cannot. */
	t_ok(rt_log_reader_seek(&reader, rig->log.next, &rig->fault));
	t_is(rt_log_reader_next(&reader, rig->log.next - 1, NULL, &data), 0);
	assert_true(rt_log_reader_seek(&reader, rig->log.next + 5, &rig->fault) < 0);
	rt_log_reader_close(&reader);
}

static void everything_from_anywhere(void **state)
{
	struct logrig *rig = *state;
	struct t_random random = { 3 };

	set_up_large(rig);
	seek_and_read(rig, 1, UINT32_MAX);
	for (unsigned i = 0; i < 100; i++)
		seek_and_read(rig, 1 + t_random_below(&random, rig->log.next - 1),
			      3000);
}

static void nothing_beyond_the_limit(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	bool wrong = false;

	fill(rig, 1000);
	reader = open_reader(rig);
	t_ok(rt_log_reader_seek(&reader, 1, &rig->fault));
	for (uint64_t limit = 0; limit < 990; limit += 7) {
		(void)lr_read_all(&reader, reader.next, limit, &wrong);
		assert_true(reader.next > limit && reader.next <= limit + 20);
	}
	assert_false(wrong);
	rt_log_reader_close(&reader);
}

static void what_is_older_than_the_log_is_compacted(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	uint64_t oldest;

	rig->config.first_seq = 1001;
	fill(rig, 1200);
	reader = open_reader(rig);
	t_is(rt_log_reader_seek(&reader, 1000, &rig->fault), RT_E_COMPACTED);
	assert_non_null(strstr(rig->fault.text, "1001"));
	t_is(rt_log_reader_seek(&reader, 0, &rig->fault), RT_E_COMPACTED);
	t_ok(rt_log_reader_oldest(&reader, &oldest));
	assert_int_equal(oldest, 1001);
	t_ok(rt_log_reader_seek(&reader, 1001, &rig->fault));
	rt_log_reader_close(&reader);
}

static void no_folder_and_no_segment(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	uint64_t oldest = 7;

	t_is(rt_log_reader_open(rig->path, &rig->fault, &reader), RT_E_NO_FEED);
	lr_open(rig);
	reader = open_reader(rig);
	t_ok(rt_log_reader_oldest(&reader, &oldest));
	assert_int_equal(oldest, 0);
	t_is(rt_log_reader_seek(&reader, 1, &rig->fault), RT_E_COMPACTED);
	t_is(rt_log_reader_seek_time(&reader, 1, &rig->fault), RT_E_COMPACTED);
	rt_log_reader_close(&reader);
}

/* The first batch with an event at or after the time; by the batch before at most. */
static uint64_t first_at(struct logrig *rig, uint64_t time_ns)
{
	struct rt_log_reader reader = open_reader(rig);
	struct rt_batch_cursor cursor;
	struct rt_item item;
	const uint8_t *data;
	uint64_t found = 0;

	t_ok(rt_log_reader_seek_time(&reader, time_ns, &rig->fault));
	while (!found &&
	       rt_log_reader_next(&reader, rig->log.next - 1, NULL, &data) == 1) {
		rt_batch_open(data, &cursor);
		while (!found && rt_batch_next(&cursor, &item) == 1) {
			if (item.time_ns >= time_ns)
				found = item.seq;
		}
	}
	rt_log_reader_close(&reader);
	return found;
}

static void times_are_found(void **state)
{
	struct logrig *rig = *state;
	struct t_random random = { 5 };

	set_up_large(rig);
	assert_int_equal(first_at(rig, 0), 1);
	assert_int_equal(first_at(rig, 1), 1);
	assert_int_equal(first_at(rig, lr_time(rig->log.next - 1) + 1), 0);
	for (unsigned i = 0; i < 300; i++) {
		uint64_t seq = 1 + t_random_below(&random, rig->log.next - 1);
		uint64_t first = lr_txn_first(seq);

		assert_int_equal(first_at(rig, lr_time(seq)), first);
		assert_int_equal(first_at(rig, lr_time(seq) + 1),
				 first + lr_txn_size(first) < rig->log.next
					 ? first + lr_txn_size(first)
					 : 0);
	}
}

/*
 * ---- The index is a hint ----
 */

static void damage_indexes(struct logrig *rig, struct t_random *random, unsigned how)
{
	struct rt_segments s = lr_segments(rig);

	for (size_t i = 0; i < s.n; i++) {
		char path[300];
		size_t len;
		char *data;

		(void)snprintf(path, sizeof(path), "%s",
			       lr_segment(rig, s.first_seqs[i], ".idx"));
		data = t_read_file(path, &len);
		assert_non_null(data);
		switch (how) {
		case 0:
			len = 0;
			break;
		case 1:
			len -= len ? 5 : 0;
			break;
		case 2: /* noise */
			for (size_t at = 0; at < len; at++)
				data[at] = (char)t_random64(random);
			break;
		case 3: /* each offset moved to that of the next entry */
			for (size_t at = 0; at + 48 <= len; at += 24)
				memcpy(data + at + 16, data + at + 40, 8);
			break;
		case 4: /* backwards */
			for (size_t at = 0; at + 24 <= len / 2; at += 24) {
				char entry[24];

				memcpy(entry, data + at, 24);
				memcpy(data + at, data + len - 24 - at, 24);
				memcpy(data + len - 24 - at, entry, 24);
			}
			break;
		default: /* offsets without sense */
			for (size_t at = 0; at + 24 <= len; at += 24)
				memset(data + at + 16, (int)how, 8);
		}
		t_write_file(path, data, len);
		if (how == 255)
			(void)unlink(path);
		free(data);
	}
	rt_segments_fini(&s);
}

static void whatever_the_index_says_seeks_are_right(void **state)
{
	static const unsigned hows[] = { 0, 1, 2, 3, 4, 8, 128, 255 };
	struct logrig *rig = *state;
	struct t_random random = { 11 };
	struct stat st;

	set_up_large(rig);
	assert_int_equal(stat(lr_segment(rig, 1, ".idx"), &st), 0);
	assert_true(st.st_size >= 4 * 24); /* else there is nothing to lie about */
	for (unsigned i = 0; i < T_N(hows); i++) {
		damage_indexes(rig, &random, hows[i]);
		for (unsigned n = 0; n < 30; n++) {
			uint64_t seq = 1 + t_random_below(&random, rig->log.next - 1);

			seek_and_read(rig, seq, 50);
			assert_int_equal(first_at(rig, lr_time(seq)),
					 lr_txn_first(seq));
		}
	}
}

/* An index that leads to a header which is only the bytes of a value. */
static void a_forged_index_leads_nowhere(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_index entry = { .seq = 3, .time_ns = 4 };
	const uint8_t *data;
	struct rt_log_batch header = {
		.magic = RT_LOG_BATCH_MAGIC,
		.n_txns = 1,
		.size = 128,
		.first_seq = 3,
		.n_events = 5,
		.time_ns = 4,
	};

	lr_open(rig);
	for (unsigned i = 0; i < 8; i++) {
		rt_batch_reset(&rig->batch, rig->log.next);
		t_ok(rt_batch_begin(&rig->batch));
		t_ok(rt_batch_add(&rig->batch, RT_OP_PUT, 0, "12345678", 8, &header,
				  sizeof(header)));
		rt_batch_end(&rig->batch, 1);
		entry.offset = rig->log.offset + sizeof(struct rt_log_batch) +
			       sizeof(struct rt_log_txn) + sizeof(struct rt_log_event) +
			       8;
		t_ok(rt_log_append(&rig->log, &rig->batch, &rig->fault));
	}
	t_write_file(lr_segment(rig, 1, ".idx"), &entry, sizeof(entry));
	for (uint64_t seq = 1; seq <= 8; seq++) {
		struct rt_log_reader reader = open_reader(rig);

		t_ok(rt_log_reader_seek(&reader, seq, &rig->fault));
		assert_int_equal(reader.next, seq);
		assert_int_equal(rt_log_reader_next(&reader, 8, &rig->fault, &data), 1);
		rt_log_reader_close(&reader);
	}
}

/* What was cut is gone from the index too, or seeks would be slow for ever. */
static void the_index_is_cut_with_the_log(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_index entry;
	uint64_t cut = 0, offset;
	char *data;
	size_t len;

	rig->config.segment_size = UINT64_C(4) << 20;
	fill(rig, 12000);
	offset = rig->log.offset;
	for (uint64_t seq = 0; !cut; seq++) {
		struct rt_log_reader reader = open_reader(rig);

		t_ok(rt_log_reader_seek(&reader, 5000 + seq, &rig->fault));
		cut = reader.next == 5000 + seq ? reader.next - 1 : 0;
		rt_log_reader_close(&reader);
	}
	lr_close(rig);
	t_ok(rt_log_repair(rig->path, cut, &rig->fault));
	lr_open(rig);
	data = t_read_file(lr_segment(rig, 1, ".idx"), &len);
	assert_true(len >= sizeof(entry) && len % sizeof(entry) == 0);
	memcpy(&entry, data + len - sizeof(entry), sizeof(entry));
	assert_true(entry.seq <= cut && entry.offset < offset);
	free(data);
}

/*
 * ---- Beside a writer ----
 */

static void a_reader_goes_on_from_segment_to_segment(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	bool wrong = false;

	lr_open(rig);
	lr_append(rig, 1);
	reader = open_reader(rig);
	t_ok(rt_log_reader_seek(&reader, 1, &rig->fault));
	for (unsigned i = 0; i < 1000; i++) {
		lr_append(rig, 1);
		assert_int_equal(
			lr_read_all(&reader, reader.next, rig->log.next - 1, &wrong),
			rig->log.next - 1);
	}
	assert_false(wrong);
	assert_true(rig->log.segment_first > 1);
	rt_log_reader_close(&reader);
}

static void what_is_open_is_finished_then_it_is_compacted(void **state)
{
	struct logrig *rig = *state;
	struct rt_log_reader reader;
	struct rt_segments s;
	const uint8_t *data;
	bool wrong = false;

	fill(rig, 6000);
	s = lr_segments(rig);
	assert_true(s.n >= 4);
	reader = open_reader(rig);
	t_ok(rt_log_reader_seek(&reader, 1, &rig->fault));
	assert_int_equal(rt_log_drop_below(&rig->log, s.first_seqs[2]), 2);
	assert_int_equal(lr_read_all(&reader, 1, rig->log.next - 1, &wrong),
			 s.first_seqs[1] - 1);
	assert_false(wrong);
	t_is(rt_log_reader_next(&reader, rig->log.next - 1, &rig->fault, &data),
	     RT_E_COMPACTED);
	rt_log_reader_close(&reader);
	rt_segments_fini(&s);
}

struct beside {
	struct logrig *rig;
	_Atomic uint64_t committed;
	_Atomic uint64_t kept; /* everything from here on stays */
	_Atomic bool over;
	uint64_t delivered, compactions;
	bool wrong;
};

/* Reads on and on; after a compaction, from the oldest. */
static void *read_beside(void *arg)
{
	struct beside *b = arg;
	struct rt_log_reader reader;
	uint64_t next = 1;

	if (rt_log_reader_open(b->rig->path, NULL, &reader) < 0) {
		b->wrong = true;
		return NULL;
	}
	for (;;) {
		bool over = atomic_load(&b->over);
		uint64_t limit = atomic_load(&b->committed);
		uint64_t last, kept;
		const uint8_t *data;
		int r = rt_log_reader_seek(&reader, next, NULL);

		if (!r) {
			last = lr_read_all(&reader, next, limit, &b->wrong);
			b->delivered += last + 1 - next;
			next = last + 1;
			r = next > limit
				    ? 0
				    : rt_log_reader_next(&reader, limit, NULL, &data);
		}
		kept = atomic_load(&b->kept);
		if (r == RT_E_COMPACTED || r == -ENOENT) {
			b->compactions++;
			b->wrong = b->wrong || next >= kept; /* that was not gone */
			(void)rt_log_reader_oldest(&reader, &next);
		} else if (r < 0) {
			b->wrong = true;
		}
		if (b->wrong || (over && next > limit))
			break;
	}
	rt_log_reader_close(&reader);
	return NULL;
}

static void beside_a_writer_that_rolls_and_drops(void **state)
{
	struct logrig *rig = *state;
	struct beside besides[2] = { { .rig = rig }, { .rig = rig } };
	uint64_t until = t_now_ns() + UINT64_C(2000000000);
	pthread_t threads[2];

	rig->config.mode = RT_LOG_MEMORY;
	lr_open(rig);
	lr_append(rig, 1);
	for (unsigned i = 0; i < 2; i++) {
		besides[i].committed = rig->log.next - 1;
		besides[i].kept = 1;
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_beside, &besides[i]), 0);
	}
	while (t_now_ns() < until) {
		uint64_t keep;

		for (unsigned n = 0; n < 40; n++) {
			t_ok(lr_try_append(rig, n % 7 + 1));
			for (unsigned i = 0; i < 2; i++)
				atomic_store(&besides[i].committed, rig->log.next - 1);
		}
		keep = rig->log.next > 3000 ? rig->log.next - 3000 : 1;
		for (unsigned i = 0; i < 2; i++)
			atomic_store(&besides[i].kept, keep);
		assert_true(rt_log_drop_below(&rig->log, keep) >= 0);
	}
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&besides[i].over, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(besides[i].wrong);
		assert_true(besides[i].delivered > 1000);
	}
}

/* A check of what is being written finds nothing that is not there. */
static void *verify_beside(void *arg)
{
	struct beside *b = arg;
	struct rt_log_report report;
	struct rt_fault fault;

	while (!atomic_load(&b->over)) {
		int r = rt_log_verify(b->rig->path, &fault, &report);

		if (r < 0 && r != -ENOENT) {
			print_error("%d %s\n", r, fault.text);
			b->wrong = true;
		}
		b->delivered++;
	}
	return NULL;
}

static void verify_beside_a_writer(void **state)
{
	struct logrig *rig = *state;
	struct beside beside = { .rig = rig };
	uint64_t until = t_now_ns() + UINT64_C(1500000000);
	pthread_t thread;

	rig->config.mode = RT_LOG_MEMORY;
	lr_open(rig);
	lr_append(rig, 1);
	assert_int_equal(pthread_create(&thread, NULL, verify_beside, &beside), 0);
	while (t_now_ns() < until) {
		for (unsigned n = 0; n < 40; n++)
			t_ok(lr_try_append(rig, n % 7 + 1));
		if (rig->log.next > 20000)
			assert_true(rt_log_drop_below(&rig->log,
						      rig->log.next - 20000) >= 0);
	}
	atomic_store(&beside.over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(beside.wrong);
	assert_true(beside.delivered > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_seq_can_be_sought),
		T(everything_from_anywhere),
		T(nothing_beyond_the_limit),
		T(what_is_older_than_the_log_is_compacted),
		T(no_folder_and_no_segment),
		T(times_are_found),
		T(whatever_the_index_says_seeks_are_right),
		T(a_forged_index_leads_nowhere),
		T(the_index_is_cut_with_the_log),
		T(a_reader_goes_on_from_segment_to_segment),
		T(what_is_open_is_finished_then_it_is_compacted),
		T(beside_a_writer_that_rolls_and_drops),
		T(verify_beside_a_writer),
	};

	return cmocka_run_group_tests_name("log_read", tests, NULL, NULL);
}
