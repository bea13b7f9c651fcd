/* SPDX-License-Identifier: MIT */
/*
 * test_ring_read.c - shm/ring_read.c and shm/look.h: one slot, and places in the ring
 */
#include "tests/unit/rig.h"

#include <linux/futex.h>

#include "shm/look.h"

static struct rt_slot *slot_of(struct rig *rig, uint64_t seq)
{
	return &rig->map.slots[seq & (rig->map.geo.n_slots - 1)];
}

static enum rt_look look(struct rig *rig, uint64_t seq)
{
	struct rt_event ev;

	return rt_ring_look(&rig->map, seq, &ev);
}

static void a_seq_is_there_to_come_or_gone(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_put(rig, 70);
	(void)rig_map(rig);
	assert_int_equal(look(rig, 70), RT_LOOK_EVENT);
	assert_int_equal(look(rig, 10), RT_LOOK_EVENT);
	assert_int_equal(look(rig, 71), RT_LOOK_NOTHING);
	assert_int_equal(look(rig, 134), RT_LOOK_NOTHING);
	assert_int_equal(look(rig, UINT64_MAX), RT_LOOK_NOTHING);
	assert_int_equal(look(rig, 1), RT_LOOK_LAPPED);
	assert_int_equal(look(rig, 0), RT_LOOK_LAPPED);
	assert_true(rt_ring_intact(&rig->map, rt_load64(&rig->map.hot->floor)));
	assert_false(rt_ring_intact(&rig->map, rt_load64(&rig->map.hot->floor) - 1));
	assert_true(rt_ring_ready(&rig->map, 70));
	assert_false(rt_ring_ready(&rig->map, 71));
}

static void an_event_is_copied_as_it_is(void **state)
{
	struct rig *rig = *state;
	struct rt_event ev;
	char key[64];

	rig_open(rig);
	memset(key, 'q', sizeof(key));
	rt_writer_set_time(rig->w, 99);
	rt_writer_begin(rig->w);
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, RT_EVENT_CREATED, "key", 3, "value", 5));
	t_ok(rt_writer_add(rig->w, RT_OP_MESSAGE, 0, key, 24, key, 1));
	t_ok(rt_writer_add(rig->w, RT_OP_DELETE, RT_EVENT_EXPIRED, key, 25, NULL, 0));
	rt_writer_commit(rig->w);
	(void)rig_map(rig);

	assert_int_equal(rt_ring_look(&rig->map, 1, &ev), RT_LOOK_EVENT);
	assert_int_equal(ev.seq, 1);
	assert_int_equal(ev.time_ns, 99);
	assert_int_equal(ev.op, RT_OP_PUT);
	assert_int_equal(ev.flags, RT_EVENT_CREATED);
	assert_int_equal(ev.txn_index, 0);
	assert_int_equal(ev.txn_size, 3);
	assert_int_equal(ev.key_len, 3);
	assert_memory_equal(ev.key, "keyvalue", 8);
	assert_ptr_equal(ev.value, ev.key + 3);
	assert_int_equal(rt_ring_look(&rig->map, 2, &ev), RT_LOOK_EVENT);
	assert_memory_equal(ev.key, key, 24);
	assert_ptr_equal(ev.value, rig->map.payload);
	assert_int_equal(rt_ring_look(&rig->map, 3, &ev), RT_LOOK_EVENT);
	assert_ptr_equal(ev.key, rig->map.payload + 8);
	assert_memory_equal(ev.key, key, 25);
	assert_int_equal(ev.value_len, 0);
}

/* A member of the slot of seq 10 with a value that it cannot have. */
#define NONSENSE(member, value) \
	do { \
		struct rt_slot kept_; \
		memcpy(&kept_, slot_of(rig, 10), sizeof(kept_)); \
		slot_of(rig, 10)->member = (value); \
		assert_int_equal(look(rig, 10), RT_LOOK_CORRUPT); \
		rt_store64(&rig->map.hot->floor, 11); \
		assert_int_equal(look(rig, 10), RT_LOOK_LAPPED); \
		rt_store64(&rig->map.hot->floor, 1); \
		memcpy(slot_of(rig, 10), &kept_, sizeof(kept_)); \
		assert_int_equal(look(rig, 10), RT_LOOK_EVENT); \
	} while (0)

static void nonsense_is_corrupt_unless_it_is_being_overwritten(void **state)
{
	struct rig *rig = *state;

	rig->config.max_key = 200;
	rig->config.max_value = 300;
	rig_open(rig);
	for (int i = 0; i < 20; i++)
		t_ok(rig_put_sized(rig, 1, 100));
	(void)rig_map(rig);

	NONSENSE(key_len, 0);
	NONSENSE(key_len, 201);
	NONSENSE(key_len, UINT16_MAX);
	NONSENSE(value_len, 301);
	NONSENSE(value_len, UINT32_MAX);
	NONSENSE(prev_len, 301);
	NONSENSE(prev_len, UINT32_MAX);
	NONSENSE(op, 0);
	NONSENSE(op, 4);
	NONSENSE(op, 255);
	NONSENSE(txn_size, 0);
	NONSENSE(txn_size, 17);
	NONSENSE(txn_size, UINT32_MAX);
	NONSENSE(txn_index, 1);
	NONSENSE(txn_index, UINT32_MAX);
	NONSENSE(pos, 4096 / 8 - 12);
	NONSENSE(pos, UINT32_MAX);
	NONSENSE(seq, 11);
	NONSENSE(seq, UINT64_MAX);
	slot_of(rig, 10)->pos = 4096 / 8 - 13; /* 100 bytes, to the end: fine */
	assert_int_equal(look(rig, 10), RT_LOOK_EVENT);
}

static void the_first_seqs_have_no_long_transaction_before_them(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	rig_put(rig, 3);
	(void)rig_map(rig);
	slot_of(rig, 2)->txn_size = 5;
	slot_of(rig, 2)->txn_index = 1;
	assert_int_equal(look(rig, 2), RT_LOOK_EVENT);
	slot_of(rig, 2)->txn_index = 2; /* it would begin at seq 0 */
	assert_int_equal(look(rig, 2), RT_LOOK_CORRUPT);
}

static void no_bytes_of_a_slot_lead_out_of_the_ring(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 5 };
	const uint8_t *base, *end;

	rig_open(rig);
	rig_put(rig, 20);
	(void)rig_map(rig);
	base = rig->map.base;
	end = base + rig->map.geo.file_size;
	for (int i = 0; i < 200000; i++) {
		struct rt_slot *slot = slot_of(rig, 10);
		struct rt_event ev;

		slot->pos = (uint32_t)t_random64(&random);
		slot->value_len = (uint32_t)(t_random64(&random) >>
					     (32 + t_random_below(&random, 32)));
		slot->prev_len = (uint32_t)(t_random64(&random) >>
					    (32 + t_random_below(&random, 32)));
		slot->key_len = (uint16_t)(t_random64(&random) >>
					   (48 + t_random_below(&random, 16)));
		if (rt_ring_look(&rig->map, 10, &ev) != RT_LOOK_EVENT)
			continue;
		assert_true(ev.key >= base && ev.key + ev.key_len <= end);
		assert_true(ev.value >= base &&
			    ev.value + ev.value_len + ev.prev_len <= end);
	}
}

/*
 * ---- Places ----
 */

static void bounds_are_oldest_and_head(void **state)
{
	struct rig *rig = *state;
	uint64_t oldest, head;

	rig_open(rig);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	assert_int_equal(oldest, 1);
	assert_int_equal(head, 0);
	rig_put(rig, 64);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	assert_int_equal(oldest, 1);
	assert_int_equal(head, 64);
	rig_put(rig, 1);
	rt_ring_bounds(&rig->w->segment, &oldest, &head);
	assert_int_equal(oldest, 5);
	assert_int_equal(head, 65);
}

static void bounds_of_a_damaged_ring_end_too(void **state)
{
	struct rig *rig = *state;
	uint64_t oldest, head;

	rig_open(rig);
	rig_put(rig, 5);
	(void)rig_map(rig);
	rt_store64(&rig->map.hot->floor, UINT64_MAX);
	rt_ring_bounds(&rig->map, &oldest, &head);
	assert_int_equal(oldest, 6);
	assert_int_equal(head, 5);
	rt_store64(&rig->map.hot->floor, 0);
	rt_ring_bounds(&rig->map, &oldest, &head);
	assert_int_equal(oldest, 1);
	rt_store64(&rig->map.hot->head, UINT64_MAX);
	rt_ring_bounds(&rig->map, &oldest, &head);
	assert_int_equal(oldest, 1);
	assert_int_equal(head, RT_SEQ_MAX + 1);
	rt_store64(&rig->map.hot->head, 5);
	rt_store64(&rig->map.hot->floor, 1);
}

static void aligning_goes_to_the_next_first(void **state)
{
	struct rig *rig = *state;
	const struct rt_segment *s;

	rig_open(rig);
	rig_put(rig, 2);
	rig_txn(rig, 5); /* 3 .. 7 */
	rig_put(rig, 1);
	s = &rig->w->segment;
	assert_int_equal(rt_ring_align(s, 1), 1);
	assert_int_equal(rt_ring_align(s, 3), 3);
	for (uint64_t seq = 4; seq <= 7; seq++)
		assert_int_equal(rt_ring_align(s, seq), 8);
	assert_int_equal(rt_ring_align(s, 8), 8);
	assert_int_equal(rt_ring_align(s, 9), 9);
}

static void a_time_is_found_as_the_first_of_its_transaction(void **state)
{
	struct rig *rig = *state;
	const struct rt_segment *s;

	rig_open(rig);
	s = &rig->w->segment;
	assert_int_equal(rt_ring_at_time(s, 0), 1);
	for (uint64_t i = 1; i <= 60; i++) {
		rt_writer_set_time(rig->w, i / 2 * 100);
		rig_txn(rig, 3); /* two transactions of each time, but for time 0 */
	}
	for (uint64_t time = 0; time <= 3000; time += 50) {
		uint64_t oldest, head, want = 0;
		struct rt_event ev;

		rt_ring_bounds(s, &oldest, &head);
		for (want = oldest; want <= head; want++) {
			assert_int_equal(rt_ring_look(s, want, &ev), RT_LOOK_EVENT);
			if (ev.time_ns >= time)
				break;
		}
		assert_int_equal(rt_ring_at_time(s, time), want);
	}
	assert_int_equal(rt_ring_at_time(s, UINT64_MAX), 181);
}

static void half_a_ring_is_half_of_slots_or_payload(void **state)
{
	struct rig *rig = *state;
	const struct rt_segment *s;
	uint64_t oldest, head, half;

	rig_open(rig);
	s = &rig->w->segment;
	assert_int_equal(rt_ring_half(s), 1);
	rig_put(rig, 300);
	rt_ring_bounds(s, &oldest, &head);
	assert_in_range(rt_ring_half(s) - oldest, 32, 40);
	for (int i = 0; i < 100; i++)
		t_ok(rig_put_sized(rig, 1, 400)); /* ten fill the payload */
	rt_ring_bounds(s, &oldest, &head);
	half = rt_ring_half(s);
	assert_in_range(half - oldest, 5, 7);
	for (int i = 0; i < 30; i++)
		rig_txn(rig, 7);
	half = rt_ring_half(s);
	assert_int_equal(rt_ring_align(s, half), half);
	rt_ring_bounds(s, &oldest, &head);
	assert_in_range(half - oldest, 32, 46);
}

static void bytes_are_those_from_a_held_seq_on(void **state)
{
	struct rig *rig = *state;
	const struct rt_segment *s;

	rig_open(rig);
	s = &rig->w->segment;
	assert_int_equal(rt_ring_bytes_from(s, 1), 0);
	rig_put(rig, 1);
	assert_int_equal(rt_ring_bytes_from(s, 1), 0); /* in the slot */
	t_ok(rig_put_sized(rig, 1, 100));              /* 104 */
	t_ok(rig_put_sized(rig, 30, 33));              /* 64 */
	t_ok(rig_put_sized(rig, 24, 1));               /* 8 */
	assert_int_equal(rt_ring_bytes_from(s, 1), 176);
	assert_int_equal(rt_ring_bytes_from(s, 2), 176);
	assert_int_equal(rt_ring_bytes_from(s, 3), 72);
	assert_int_equal(rt_ring_bytes_from(s, 4), 8);
	assert_int_equal(rt_ring_bytes_from(s, 5), 0);
	assert_int_equal(rt_ring_bytes_from(s, 0), 0);
	assert_int_equal(rt_ring_bytes_from(s, UINT64_MAX), 0);
}

/*
 * ---- Liveness ----
 */

static void the_writer_is_live_closed_or_dead(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	(void)rig_map(rig);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_LIVE);
	rig_close(rig);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_CLOSED);
	rig_open(rig);
	rig_drop(rig);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_DEAD);
}

static void a_late_heartbeat_is_stalled_while_the_lock_is_held(void **state)
{
	struct rig *rig = *state;
	enum rt_liveness liveness;
	uint64_t now;

	rig_open(rig);
	(void)rig_map(rig);
	do { /* until it was asked soon enough after it was set */
		now = rt_now_ns(CLOCK_MONOTONIC);
		rt_store64(&rig->map.hot->heartbeat_ns, now - 2 * RIG_BEAT_NS);
		liveness = rt_ring_liveness(&rig->map);
	} while (rt_now_ns(CLOCK_MONOTONIC) - now > RIG_BEAT_NS / 2);
	assert_int_equal(liveness, RT_LIVE);
	rt_store64(&rig->map.hot->heartbeat_ns, now - 3 * RIG_BEAT_NS);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_STALLED);
	rt_store64(&rig->map.hot->beat_every_ns, 0); /* it promised none */
	assert_int_equal(rt_ring_liveness(&rig->map), RT_LIVE);
	rt_store64(&rig->map.hot->beat_every_ns, RIG_BEAT_NS);
	rig_drop(rig);
	rt_store32(&rig->map.hot->life, 0); /* no mark of the death was made */
	rt_store64(&rig->map.hot->heartbeat_ns, now - 3 * RIG_BEAT_NS);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_DEAD);
}

/* Any reader can put a read lock on the ring. */
static void a_readers_lock_is_not_taken_for_the_writers(void **state)
{
	struct rig *rig = *state;
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd;

	rig_open(rig);
	(void)rig_map(rig);
	rig_drop(rig);
	fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	rt_store32(&rig->map.hot->life, 0);
	rt_store64(&rig->map.hot->heartbeat_ns, 1);
	assert_int_equal(rt_ring_liveness(&rig->map), RT_DEAD);
	rig_open(rig); /* and keeps no writer out */
	assert_int_equal(rt_ring_liveness(&rig->map), RT_LIVE);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_seq_is_there_to_come_or_gone),
		T(an_event_is_copied_as_it_is),
		T(nonsense_is_corrupt_unless_it_is_being_overwritten),
		T(the_first_seqs_have_no_long_transaction_before_them),
		T(no_bytes_of_a_slot_lead_out_of_the_ring),
		T(bounds_are_oldest_and_head),
		T(bounds_of_a_damaged_ring_end_too),
		T(aligning_goes_to_the_next_first),
		T(a_time_is_found_as_the_first_of_its_transaction),
		T(half_a_ring_is_half_of_slots_or_payload),
		T(bytes_are_those_from_a_held_seq_on),
		T(the_writer_is_live_closed_or_dead),
		T(a_late_heartbeat_is_stalled_while_the_lock_is_held),
		T(a_readers_lock_is_not_taken_for_the_writers),
	};

	return cmocka_run_group_tests_name("ring_read", tests, NULL, NULL);
}
