/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "client/reader.h"

int ringtail_state(struct ringtail *r)
{
	return (int)rt_ring_liveness(&r->segment);
}

static void fill_geometry(const struct rt_geometry *geo, struct ringtail_info *info)
{
	memcpy(info->name, geo->name, sizeof(info->name));
	info->epoch = geo->epoch;
	info->instance = geo->instance;
	info->created_ns = geo->created_ns;
	info->file_size = geo->file_size;
	info->n_slots = geo->n_slots;
	info->payload_size = geo->payload_size;
	info->max_key = geo->max_key;
	info->max_value = geo->max_value;
	info->max_txn_events = geo->max_txn_events;
	info->max_txn_bytes = geo->max_txn_bytes;
	info->holds_events = rt_holds_events(geo->n_slots);
	info->holds_bytes = rt_holds_bytes(geo->payload_size);
	info->wake_always = geo->wake_mode == RT_WAKE_ALWAYS;
	info->format = RT_FORMAT;
	info->compat = geo->compat;
}

/* Time of event @seq; 0 when it is gone. */
static uint64_t time_of(const struct rt_segment *segment, uint64_t seq)
{
	struct rt_event ev;

	if (rt_ring_look(segment, seq, &ev) != RT_LOOK_EVENT ||
	    !rt_ring_intact(segment, seq))
		return 0;
	return ev.time_ns;
}

int ringtail_get_info(struct ringtail *r, struct ringtail_info *info)
{
	const struct rt_hot *hot = r->segment.hot;
	struct ringtail_info made = { .size = sizeof(made) };
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC);
	uint64_t beaten = rt_load64(&hot->heartbeat_ns);

	if (info->size != sizeof(*info))
		return -EINVAL;
	fill_geometry(&r->segment.geo, &made);
	rt_ring_bounds(&r->segment, &made.oldest, &made.head);
	if (made.oldest <= made.head) {
		made.oldest_time_ns = time_of(&r->segment, made.oldest);
		made.head_time_ns = time_of(&r->segment, made.head);
	}
	made.state = (uint32_t)ringtail_state(r);
	made.writer_pid = rt_load32(&hot->writer_pid);
	made.opened_ns = rt_load64(&hot->opened_ns);
	made.heartbeat_age_ns = now > beaten ? now - beaten : 0;
	made.beat_every_ns = rt_load64(&hot->beat_every_ns);
	made.sweep_every_ns = rt_load64(&hot->sweep_every_ns);
	made.writer_barrier = rt_load32(&hot->barrier) == RT_BARRIER_WRITER;
	made.n_txns = rt_load64(&hot->n_txns);
	made.n_bytes = rt_load64(&hot->n_bytes);
	made.n_wakes = rt_load64(&hot->n_wakes);
	made.n_wake_calls = rt_load64(&hot->n_wake_calls);
	made.n_sweeps = rt_load64(&hot->n_sweeps);
	made.n_writers = rt_load64(&hot->n_writers);
	made.durability = rt_load32(&hot->durability);
	made.n_syncs = rt_load64(&hot->n_syncs);
	made.sync_ns = rt_load64(&hot->sync_ns);
	made.synced_at_ns = rt_load64(&hot->synced_at_ns);
	made.synced_seq = rt_load64(&hot->synced_seq);
	made.log_damage = rt_load64(&hot->log_damage);
	*info = made;
	return 0;
}

static void fill_lag(const struct ringtail *r, uint64_t position,
		     struct ringtail_stats *stats)
{
	const struct rt_geometry *geo = &r->segment.geo;
	uint64_t oldest, head, time_ns, now, used;

	rt_ring_bounds(&r->segment, &oldest, &head);
	stats->lag_events = head > position ? head - position : 0;
	stats->room_events = rt_holds_events(geo->n_slots);
	stats->room_bytes = rt_holds_bytes(geo->payload_size);
	if (!stats->lag_events)
		return;
	if (position + 1 < oldest) {
		stats->room_events = 0;
		stats->room_bytes = 0;
	} else {
		used = rt_ring_bytes_from(&r->segment, position + 1);
		stats->lag_bytes = used;
		stats->room_events -= rt_min(stats->room_events, stats->lag_events);
		stats->room_bytes -= rt_min(stats->room_bytes, used);
	}
	time_ns = time_of(&r->segment, rt_max(position + 1, oldest));
	now = rt_now_ns(CLOCK_REALTIME);
	if (time_ns && now > time_ns)
		stats->lag_ns = now - time_ns;
}

int ringtail_get_stats(struct ringtail *r, struct ringtail_stats *stats)
{
	struct ringtail_stats made = { .size = sizeof(made) };
	bool lent = r->lent && !r->overrun;

	if (stats->size != sizeof(*stats))
		return -EINVAL;
	made.start = r->start;
	made.position = ringtail_position(r);
	made.delivered = r->delivered + lent;
	made.filtered = r->filtered;
	made.lost = r->lost;
	made.gaps = r->gaps;
	made.sleeps = r->sleeps;
	made.spurious_wakes = r->spurious;
	made.moves = r->moves;
	made.resets = r->resets;
	made.entries = r->entries;
	fill_lag(r, made.position, &made);
	*stats = made;
	return 0;
}
