/* SPDX-License-Identifier: MIT */
/*
 * staterig.h - a small ring with a log and snapshots behind it, whose state is known
 */
#ifndef RINGTAIL_TESTS_UNIT_STATERIG_H
#define RINGTAIL_TESTS_UNIT_STATERIG_H

#include "tests/unit/backedrig.h"

#include <errno.h>
#include <sys/stat.h>

#include "store/build.h"

#define N_KEYS 100u /* g0/k00 .. g9/k09, in order */

struct state {
	uint64_t seq;
	uint64_t keys[N_KEYS]; /* seq of the put; 0: it is not there */
};

static struct {
	size_t pad; /* behind each value */
	struct state now, saved;
} known;

__attribute__((unused)) static int setup_known(void **state)
{
	int r = setup_backed(state);

	memset(&known, 0, sizeof(known));
	h.rig->config.payload_size = 1 << 18;
	return r;
}

#define TR(name) cmocka_unit_test_setup_teardown(name, setup_known, teardown_backed)

/*
 * ---- Writing ----
 */

__attribute__((unused)) static size_t key_of(unsigned key, char ret[16])
{
	return (size_t)snprintf(ret, 16, "g%u/k%02u", key / 10 % 10, key % 10);
}

__attribute__((unused)) static size_t value_of(uint64_t seq, uint8_t *ret)
{
	size_t len = rig_value(seq, (char *)ret);

	memset(ret + len, 'p', known.pad);
	return len + known.pad;
}

/* An event as a transaction of its own, in the log first. */
__attribute__((unused)) static void event(uint8_t op, unsigned key)
{
	static uint8_t value[1 << 16];
	uint64_t seq = h.log.next;
	size_t len = op == RT_OP_DELETE ? 0 : value_of(seq, value);
	char text[16];
	size_t key_len = key_of(key, text);

	rt_batch_reset(&h.batch, seq);
	t_ok(rt_batch_begin(&h.batch));
	t_ok(rt_batch_add(&h.batch, op, 0, text, key_len, value, len));
	rt_batch_end(&h.batch, time_of(seq));
	t_ok(rt_log_append(&h.log, &h.batch, &h.fault));
	rt_writer_set_time(h.rig->w, time_of(seq));
	t_ok(rt_writer_one(h.rig->w, op, 0, text, key_len, value, len));
	known.now.seq = seq;
	if (op != RT_OP_MESSAGE)
		known.now.keys[key] = op == RT_OP_PUT ? seq : 0;
}

__attribute__((unused)) static void put(unsigned key)
{
	event(RT_OP_PUT, key);
}

/* @n puts of all keys in turn. */
__attribute__((unused)) static void puts_of_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put((unsigned)(h.log.next % N_KEYS));
}

/* So many that ring and the log's older segments are left behind. */
__attribute__((unused)) static void puts_of_many(void)
{
	puts_of_all(3000);
}

__attribute__((unused)) static void snapshot(void)
{
	AUTO_CLOSE int dir = open(h.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct rt_build build = {
		.log_path = h.path,
		.out_dir_fd = dir,
		.name = RIG_FEED,
		.epoch = h.rig->w->segment.geo.epoch,
		.limit = rt_writer_head(h.rig->w),
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct rt_built built;

	t_ok(rt_snapshot_build(&build, &h.fault, &built));
	assert_int_equal(built.seq, rt_writer_head(h.rig->w));
	known.saved = known.now;
}

__attribute__((unused)) static const char *snapshot_file(uint64_t seq)
{
	char name[32];

	rt_snapshot_name(seq, name);
	return t_path(h.path, name);
}

/* The log's segments below @seq go; it must have an effect. */
__attribute__((unused)) static void trim(uint64_t seq)
{
	uint64_t oldest = h.log.oldest;

	assert_true(rt_log_drop_below(&h.log, seq) >= 0);
	assert_true(h.log.oldest > oldest);
}

/* History that begins somewhere, a snapshot, and @n events more. */
__attribute__((unused)) static void begin_amid(unsigned n)
{
	puts_of_many();
	snapshot();
	trim(known.saved.seq + 1);
	puts_of_all(n);
}

/* Flips a byte of each block of a snapshot, or back. */
__attribute__((unused)) static void flip_blocks(uint64_t seq, uint64_t keep)
{
	AUTO(rt_snapshot_close) struct rt_snapshot s = RT_SNAPSHOT_NONE;
	AUTO_CLOSE int dir = open(h.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = open(snapshot_file(seq), O_RDWR | O_CLOEXEC);
	char name[32];

	rt_snapshot_name(seq, name);
	t_ok(rt_snapshot_open(dir, name, name, &h.fault, &s));
	for (uint64_t i = 0; i < s.footer.n_blocks; i++) {
		off_t at = (off_t)s.blocks[i]->offset + 100;
		uint8_t byte;

		if (i == keep)
			continue;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
}

#define ALL_BLOCKS UINT64_MAX

/* In the log first, then by a ring of its own, as a daemon does it. */
__attribute__((unused)) static void begin_epoch(struct rig *rig, uint64_t epoch)
{
	rig_close(rig);
	t_ok(rt_log_new_epoch(&h.log, epoch, &h.fault));
	rig->config.epoch = epoch;
	rig->config.first_seq = h.log.next;
	t_ok(rt_writer_open(rig->dir, &rig->config, RT_WRITER_NEW_EPOCH, RIG_BEAT_NS,
			    &rig->fault, &rig->w));
	assert_int_equal(rig->w->segment.geo.epoch, epoch);
}

__attribute__((unused)) static void write_snapshot(uint64_t epoch,
						   const struct state *what)
{
	AUTO_CLOSE int dir = open(h.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct rt_snapshot_config config = { .name = RIG_FEED,
						   .epoch = epoch,
						   .seq = what->seq,
						   .time_ns = time_of(what->seq),
						   .file_mode = 0640,
						   .uid = (uid_t)-1,
						   .gid = (gid_t)-1 };
	struct rt_snapshot_writer writer;
	char name[32];

	rt_snapshot_name(what->seq, name);
	t_ok(rt_snapshot_create(dir, name, &config, &h.fault, &writer));
	for (unsigned key = 0; key < N_KEYS; key++) {
		static uint8_t value[1 << 16];
		char text[16];
		struct rt_state entry = {
			.seq = what->keys[key],
			.time_ns = time_of(what->keys[key]),
			.key = (const uint8_t *)text,
			.key_len = (uint16_t)key_of(key, text),
			.value = value,
			.value_len = (uint32_t)value_of(what->keys[key], value),
		};

		if (entry.seq)
			t_ok(rt_snapshot_put(&writer, &entry, &h.fault));
	}
	t_ok(rt_snapshot_finish(&writer, &h.fault));
	rt_snapshot_discard(&writer);
}

/*
 * ---- Reading ----
 */

__attribute__((unused)) static bool is_put(const struct ringtail_event *e, unsigned key,
					   uint64_t seq)
{
	static uint8_t value[1 << 16];
	char text[16];
	size_t key_len = key_of(key, text), len = value_of(seq, value);

	return e->op == RINGTAIL_PUT && e->seq == seq && e->rev == seq &&
	       e->time_ns == time_of(seq) && e->txn_index == 0 && e->txn_size == 1 &&
	       e->key_len == key_len && !memcmp(e->key, text, key_len) &&
	       e->value_len == len && !memcmp(e->value, value, len) && !e->prev_len;
}

__attribute__((unused)) static int next(struct ringtail *r, struct ringtail_event *e)
{
	int outcome = ringtail_next(r, e, 0);

	(void)rig_stats(r); /* which add up at every moment */
	return outcome;
}

__attribute__((unused)) static uint64_t marker_seq(struct ringtail *r)
{
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t seq;

	t_ok(ringtail_marker(r, marker));
	t_ok(ringtail_marker_parse(marker, &seq, NULL));
	return seq;
}

/* The entries of @state with keys from @from up to @to, after the reset; its end. */
__attribute__((unused)) static void gives_entries(struct ringtail *r,
						  const struct state *state,
						  unsigned from, unsigned to)
{
	uint64_t before = ringtail_position(r);
	struct ringtail_event e;

	for (unsigned key = from; key < to; key++) {
		if (!state->keys[key])
			continue;
		t_is(next(r, &e), RINGTAIL_SNAPSHOT);
		assert_true(is_put(&e, key, state->keys[key]));
		assert_int_equal(ringtail_position(r), before);
		assert_int_equal(marker_seq(r), before);
	}
	t_is(next(r, &e), RINGTAIL_SNAPSHOT_END);
	assert_int_equal(e.seq, state->seq);
	assert_int_equal(ringtail_position(r), state->seq);
	assert_int_equal(marker_seq(r), state->seq);
}

__attribute__((unused)) static void gives_state(struct ringtail *r,
						const struct state *state)
{
	struct ringtail_event e;

	t_is(next(r, &e), RINGTAIL_RESET);
	gives_entries(r, state, 0, N_KEYS);
}

/* And then the changes up to now. */
__attribute__((unused)) static void gives_changes(struct ringtail *r, uint64_t after)
{
	struct ringtail_event e;

	for (uint64_t seq = after + 1; seq <= known.now.seq; seq++) {
		t_is(next(r, &e), RINGTAIL_EVENT);
		assert_int_equal(e.seq, seq);
	}
	t_is(next(r, &e), RINGTAIL_NOTHING);
}

__attribute__((unused)) static struct ringtail_options from_state(void)
{
	return rig_from(RINGTAIL_START_SNAPSHOT);
}

/* Begins with the state, and is given that it does. */
__attribute__((unused)) static struct ringtail *read_reset(struct rig *rig)
{
	struct ringtail *r = rig_read(rig, from_state());
	struct ringtail_event e;

	t_is(next(r, &e), RINGTAIL_RESET);
	return r;
}

__attribute__((unused)) static struct ringtail_options resyncing(uint64_t after)
{
	struct ringtail_options o = rig_after(after);

	o.on_gap = RINGTAIL_ON_GAP_RESYNC;
	return o;
}

#endif
