/* SPDX-License-Identifier: MIT */
/*
 * cmd_info.c - everything that a feed says about itself, with its meaning
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "tools/history.h"
#include "tools/out.h"
#include "tools/print.h"
#include "tools/tool.h"
#include "tools/units.h"

static struct rt_out out;

static uint64_t real_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t age_of(uint64_t time_ns, uint64_t now_ns)
{
	return now_ns > time_ns ? now_ns - time_ns : 0;
}

__attribute__((format(printf, 2, 3))) static void row(const char *name,
						      const char *format, ...)
{
	char text[PATH_MAX];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	rt_out_format(&out, "  %-13s %s\n", name, text);
}

static const char *state_meaning(uint32_t state)
{
	switch (state) {
	case RINGTAIL_LIVE:
		return "it has a writer that shows signs of life";
	case RINGTAIL_STALLED:
		return "its writer's heartbeat is late: stopped or starved";
	case RINGTAIL_DEAD:
		return "its writer died without closing; another may go on";
	case RINGTAIL_CLOSED:
		return "closed by its writer; another may go on";
	default:
		return "";
	}
}

static void say_writer(const struct ringtail_info *info)
{
	row("state", "%s: %s", rt_state_name(info->state), state_meaning(info->state));
	if (info->writer_pid && info->state != RINGTAIL_CLOSED)
		row("writer", "pid %u, since %s ago; writer %" PRIu64 " of this ring",
		    info->writer_pid,
		    rt_span_words(age_of(info->opened_ns, real_ns())).text,
		    info->n_writers);
	if (info->beat_every_ns)
		row("heartbeat", "%s ago; promised every %s",
		    rt_span_words(info->heartbeat_age_ns).text,
		    rt_span_words(info->beat_every_ns).text);
	else
		row("heartbeat", "none promised");
}

static void say_events(const struct ringtail_info *info)
{
	const uint64_t now = real_ns();
	const uint64_t held = info->head + 1 - info->oldest;

	if (!info->head) {
		row("events", "none yet");
		return;
	}
	if (info->head_time_ns)
		row("head", "seq %" PRIu64 ", %s ago", info->head,
		    rt_span_words(age_of(info->head_time_ns, now)).text);
	else
		row("head", "seq %" PRIu64 ", not held any more", info->head);
	if (held)
		row("oldest", "seq %" PRIu64 ", %s ago (%s)", info->oldest,
		    rt_span_words(age_of(info->oldest_time_ns, now)).text,
		    rt_time_words(info->oldest_time_ns).text);
	row("held now", "%" PRIu64 " event%s", held, held == 1 ? "" : "s");
	row("counted", "%" PRIu64 " transaction%s, %s of keys and values", info->n_txns,
	    info->n_txns == 1 ? "" : "s", rt_size_words(info->n_bytes).text);
}

static const char *durability_name(uint32_t durability)
{
	static const char *const names[] = { "none", "memory", "os", "disk" };

	return durability < RT_N(names) ? names[durability] : "unknown";
}

static const char *durability_meaning(uint32_t durability)
{
	switch (durability) {
	case RINGTAIL_DURABILITY_NONE:
		return "no log: what leaves the ring is gone";
	case RINGTAIL_DURABILITY_MEMORY:
		return "a log in memory: it does not survive this boot";
	case RINGTAIL_DURABILITY_OS:
		return "written before it is visible, on disk within a second";
	case RINGTAIL_DURABILITY_DISK:
		return "on disk before it is visible";
	default:
		return "";
	}
}

static void say_log(const struct ringtail_info *info, const struct rt_history *history)
{
	const uint64_t now = real_ns();

	row("durability", "%s: %s", durability_name(info->durability),
	    durability_meaning(info->durability));
	if (!history->path[0])
		return;
	row("log", "%s", history->path);
	if (history->error)
		row("log holds", "not known: %s", ringtail_strerror(history->error));
	else
		row("log holds", "%s in %zu segment%s",
		    rt_size_words(history->n_bytes).text, history->n_segments,
		    history->n_segments == 1 ? "" : "s");
	if (history->oldest)
		row("log oldest", "seq %" PRIu64 ", %s ago (%s)", history->oldest,
		    rt_span_words(age_of(history->oldest_time_ns, now)).text,
		    rt_time_words(history->oldest_time_ns).text);
	if (history->n_snapshots)
		row("snapshot",
		    "of seq %" PRIu64 ", made %s ago: %" PRIu64 " key%s, %s; %zu kept",
		    history->snapshot_seq,
		    rt_span_words(age_of(history->snapshot_ns, now)).text,
		    history->snapshot_keys, history->snapshot_keys == 1 ? "" : "s",
		    rt_size_words(history->snapshot_bytes).text, history->n_snapshots);
	else if (!history->error)
		row("snapshot", "none yet");
	if (info->log_damage)
		row("log damage",
		    "in %" PRIu64 " segment%s, which readers do not get through: see "
		    "'ringtail verify'",
		    info->log_damage, info->log_damage == 1 ? "" : "s");
	if (info->synced_at_ns)
		row("log synced",
		    "up to seq %" PRIu64 ", %s ago, in %s; %" PRIu64 " time%s so far",
		    info->synced_seq,
		    rt_span_words(age_of(info->synced_at_ns, now)).text,
		    rt_span_words(info->sync_ns).text, info->n_syncs,
		    info->n_syncs == 1 ? "" : "s");
}

static void say_ring(const struct ringtail_info *info)
{
	row("holds",
	    "the newest %" PRIu64 " events or %s of payload, whichever is less",
	    info->holds_events, rt_size_words(info->holds_bytes).text);
	row("ring", "%s: %" PRIu64 " slots, %s of payload; format %u",
	    rt_size_words(info->file_size).text, info->n_slots,
	    rt_size_words(info->payload_size).text, info->format);
	row("limits", "key %s, value %s, transaction %" PRIu64 " events and %s",
	    rt_size_words(info->max_key).text, rt_size_words(info->max_value).text,
	    info->max_txn_events, rt_size_words(info->max_txn_bytes).text);
	row("made", "%s", rt_time_words(info->created_ns).text);
}

static void say_waking(const struct ringtail_info *info)
{
	row("wakes", "%s; %" PRIu64 " sleepers woken by %" PRIu64 " calls",
	    info->wake_always ? "at every commit" : "whoever rang the bell",
	    info->n_wakes, info->n_wake_calls);
	if (info->sweep_every_ns)
		row("sweeps",
		    "wakes unasked within %s of a commit; %" PRIu64 " times so far",
		    rt_span_words(info->sweep_every_ns).text, info->n_sweeps);
	row("barrier", "%s",
	    info->writer_barrier ? "the writer's, in each commit"
				 : "the sleepers', once per sleep");
}

static void say(const struct ringtail_info *info, const char *marker,
		const struct rt_history *history)
{
	rt_out_escaped(&out, info->name, strlen(info->name));
	rt_out_text(&out, "\n");
	say_writer(info);
	say_events(info);
	row("marker", "%s", marker);
	row("epoch", "%016" PRIx64, info->epoch);
	say_log(info, history);
	say_ring(info);
	say_waking(info);
}

static void member(const char *name, uint64_t value)
{
	rt_out_format(&out, ",\"%s\":%" PRIu64, name, value);
}

static void say_log_json(const struct ringtail_info *info,
			 const struct rt_history *history)
{
	rt_out_format(&out, ",\"durability\":\"%s\"",
		      durability_name(info->durability));
	member("synced", info->synced_seq);
	member("synced_at_ns", info->synced_at_ns);
	member("sync_ns", info->sync_ns);
	member("syncs", info->n_syncs);
	member("log_damage", info->log_damage);
	if (!history->path[0])
		return;
	rt_out_text(&out, ",");
	rt_out_json_member(&out, "log", history->path, strlen(history->path));
	if (history->error)
		return;
	member("log_bytes", history->n_bytes);
	member("log_segments", history->n_segments);
	member("log_oldest", history->oldest);
	member("log_oldest_time_ns", history->oldest_time_ns);
	member("snapshots", history->n_snapshots);
	member("snapshot_seq", history->snapshot_seq);
	member("snapshot_time_ns", history->snapshot_ns);
	member("snapshot_keys", history->snapshot_keys);
	member("snapshot_bytes", history->snapshot_bytes);
}

static void say_json(const struct ringtail_info *info, const char *marker,
		     const struct rt_history *history)
{
	rt_out_text(&out, "{");
	rt_out_json_member(&out, "name", info->name, strlen(info->name));
	rt_out_format(&out, ",\"state\":\"%s\"", rt_state_name(info->state));
	member("head", info->head);
	member("oldest", info->oldest);
	member("head_time_ns", info->head_time_ns);
	member("oldest_time_ns", info->oldest_time_ns);
	rt_out_format(&out, ",\"marker\":\"%s\"", marker);
	rt_out_format(&out, ",\"epoch\":\"%016" PRIx64 "\"", info->epoch);
	rt_out_format(&out, ",\"instance\":\"%016" PRIx64 "\"", info->instance);
	member("writer_pid", info->writer_pid);
	member("opened_ns", info->opened_ns);
	member("heartbeat_age_ns", info->heartbeat_age_ns);
	member("beat_every_ns", info->beat_every_ns);
	member("sweep_every_ns", info->sweep_every_ns);
	member("holds_events", info->holds_events);
	member("holds_bytes", info->holds_bytes);
	member("file_size", info->file_size);
	member("slots", info->n_slots);
	member("payload_size", info->payload_size);
	member("max_key", info->max_key);
	member("max_value", info->max_value);
	member("max_txn_events", info->max_txn_events);
	member("max_txn_bytes", info->max_txn_bytes);
	rt_out_format(&out, ",\"wake\":\"%s\"", info->wake_always ? "always" : "bell");
	rt_out_format(&out, ",\"barrier\":\"%s\"",
		      info->writer_barrier ? "writer" : "sleeper");
	member("transactions", info->n_txns);
	member("bytes", info->n_bytes);
	member("wakes", info->n_wakes);
	member("wake_calls", info->n_wake_calls);
	member("sweeps", info->n_sweeps);
	member("writers", info->n_writers);
	member("created_ns", info->created_ns);
	member("format", info->format);
	member("compat", info->compat);
	say_log_json(info, history);
	rt_out_text(&out, "}\n");
}

enum {
	OPTION_JSON = RT_OPTION_OWN,
};

static const struct rt_option options[] = {
	{ OPTION_JSON, "json", NULL,
	  "one JSON object; times and spans in ns, sizes in bytes" },
	{ 0 },
};

static int run(struct rt_tool *tool)
{
	struct ringtail_options how = RINGTAIL_OPTIONS_INIT;
	struct ringtail_info info = { .size = sizeof(info) };
	struct rt_history history;
	char marker[RINGTAIL_MARKER_SIZE];
	AUTO_READER struct ringtail *reader = NULL;
	const char *feed;
	bool json = false;

	rt_tool_words(tool, OPTION_JSON, &json, &feed, 1, 1);

	int r = rt_tool_open(tool, feed, &how, &reader);

	if (r < 0)
		return rt_tool_open_failed(tool, feed, r);
	r = ringtail_get_info(reader, &info);
	if (!r)
		r = ringtail_marker_format(info.head, info.epoch, marker);
	if (r < 0) {
		rt_say("cannot look at feed '%s': %s", feed, ringtail_strerror(r));
		return RT_EXIT_FAILED;
	}
	rt_history_look(tool, feed, &history);
	rt_out_init(&out, STDOUT_FILENO);
	if (json)
		say_json(&info, marker, &history);
	else
		say(&info, marker, &history);
	r = rt_out_flush(&out);
	if (!r || r == -EPIPE)
		return RT_EXIT_DONE;
	rt_say("cannot write: %s", strerror(-r));
	return RT_EXIT_FAILED;
}

const struct rt_command rt_cmd_info = {
	.name = "info",
	.synopsis = "FEED",
	.summary = "what a feed is, what it holds, how its writer does",
	.options = options,
	.run = run,
};
