/* SPDX-License-Identifier: MIT */
#include "tools/print.h"

#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

#define DIM    "\033[2m"
#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define CYAN   "\033[36m"
#define PLAIN  "\033[0m"

#define LITERAL(out, text) rt_out_bytes((out), (text), sizeof(text) - 1)

const char *rt_op_name(uint32_t op)
{
	switch (op) {
	case RINGTAIL_PUT:
		return "put";
	case RINGTAIL_DELETE:
		return "delete";
	case RINGTAIL_MESSAGE:
		return "message";
	default:
		return "unknown";
	}
}

const char *rt_state_name(uint32_t state)
{
	switch (state) {
	case RINGTAIL_LIVE:
		return "live";
	case RINGTAIL_STALLED:
		return "stalled";
	case RINGTAIL_DEAD:
		return "dead";
	case RINGTAIL_CLOSED:
		return "closed";
	default:
		return "unknown";
	}
}

const char *rt_cause_name(uint32_t cause)
{
	switch (cause) {
	case RINGTAIL_CAUSE_LAPPED:
		return "lapped";
	case RINGTAIL_CAUSE_COMPACTED:
		return "compacted";
	case RINGTAIL_CAUSE_EPOCH:
		return "epoch";
	case RINGTAIL_CAUSE_EXPIRED:
		return "expired";
	default:
		return "unknown";
	}
}

static int local_day(time_t seconds)
{
	struct tm tm;

	if (!localtime_r(&seconds, &tm))
		return 0;
	return tm.tm_year * 1000 + tm.tm_yday;
}

void rt_print_init(struct rt_print *print, struct rt_out *out)
{
	*print = (struct rt_print){ .out = out, .day = local_day(time(NULL)) };
}

/* @entry: of a snapshot, which does not say whether a key was new. */
static void print_json_event(struct rt_print *print, const struct ringtail_event *event,
			     const char *marker, bool entry)
{
	struct rt_out *out = print->out;

	LITERAL(out, "{\"seq\":");
	rt_out_u64(out, event->seq);
	LITERAL(out, ",\"rev\":");
	rt_out_u64(out, event->rev);
	LITERAL(out, ",\"op\":\"");
	rt_out_text(out, rt_op_name(event->op));
	LITERAL(out, "\",");
	rt_out_json_member(out, "key", event->key, event->key_len);
	if (event->op != RINGTAIL_DELETE) {
		LITERAL(out, ",");
		rt_out_json_member(out, "value", event->value, event->value_len);
	}
	if (event->prev_len) {
		LITERAL(out, ",");
		rt_out_json_member(out, "prev", event->prev, event->prev_len);
	}
	LITERAL(out, ",\"time_ns\":");
	rt_out_u64(out, event->time_ns);
	if (event->op == RINGTAIL_PUT && (event->flags & RINGTAIL_CREATED))
		LITERAL(out, ",\"created\":true");
	else if (event->op == RINGTAIL_PUT && !entry)
		LITERAL(out, ",\"created\":false");
	if (event->op == RINGTAIL_DELETE && (event->flags & RINGTAIL_EXPIRED))
		LITERAL(out, ",\"expired\":true");
	if (marker) {
		LITERAL(out, ",\"marker\":\"");
		rt_out_text(out, marker);
		LITERAL(out, "\"");
	}
	if (print->more)
		rt_out_text(out, print->more);
	LITERAL(out, "}\n");
}

static void paint(struct rt_print *print, const char *color)
{
	if (print->color)
		rt_out_text(print->out, color);
}

/* The time of day; a line of its own when it is not the day of the line before. */
static void print_time(struct rt_print *print, uint64_t time_ns)
{
	const uint64_t seconds = time_ns / NS_PER_S;
	const time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds == print->clock_s && print->clock[0])
		return;
	if (!localtime_r(&t, &tm))
		tm = (struct tm){ .tm_year = 0 };
	if (tm.tm_year * 1000 + tm.tm_yday != print->day) {
		char text[32];

		print->day = tm.tm_year * 1000 + tm.tm_yday;
		(void)strftime(text, sizeof(text), "-- %Y-%m-%d\n", &tm);
		rt_out_text(print->out, text);
	}
	print->clock_s = seconds;
	(void)strftime(print->clock, sizeof(print->clock), "%H:%M:%S", &tm);
}

static const char *op_color(uint32_t op)
{
	return op == RINGTAIL_PUT ? GREEN : op == RINGTAIL_DELETE ? RED : CYAN;
}

static const char *op_text(const struct ringtail_event *event)
{
	if (event->op == RINGTAIL_PUT && (event->flags & RINGTAIL_CREATED))
		return "put+";
	if (event->op == RINGTAIL_DELETE && (event->flags & RINGTAIL_EXPIRED))
		return "expire";
	return rt_op_name(event->op);
}

/* seq, time of day, place in a transaction of several, op, key, value. */
static void print_line(struct rt_print *print, const struct ringtail_event *event)
{
	struct rt_out *out = print->out;
	char place[24] = "";

	print_time(print, event->time_ns);
	if (event->txn_size > 1)
		(void)snprintf(place, sizeof(place), "%u/%u", event->txn_index + 1,
			       event->txn_size);
	paint(print, DIM);
	rt_out_format(out, "%8llu  %s.%06llu %5s ", (unsigned long long)event->seq,
		      print->clock,
		      (unsigned long long)(event->time_ns % NS_PER_S / 1000), place);
	paint(print, PLAIN);
	paint(print, op_color(event->op));
	rt_out_format(out, "%-8s", op_text(event));
	paint(print, PLAIN);
	rt_out_escaped(out, event->key, event->key_len);
	if (event->op != RINGTAIL_DELETE) {
		LITERAL(out, "  ");
		if (print->raw)
			rt_out_bytes(out, event->value, event->value_len);
		else
			rt_out_escaped(out, event->value, event->value_len);
	}
	if (event->prev_len && !print->raw) {
		paint(print, DIM);
		LITERAL(out, "  was ");
		rt_out_escaped(out, event->prev, event->prev_len);
		paint(print, PLAIN);
	}
	LITERAL(out, "\n");
}

void rt_print_event(struct rt_print *print, const struct ringtail_event *event,
		    const char *marker)
{
	if (print->json)
		print_json_event(print, event, marker, false);
	else
		print_line(print, event);
}

void rt_print_entry(struct rt_print *print, const struct ringtail_event *event)
{
	if (print->json)
		print_json_event(print, event, NULL, true);
	else
		print_line(print, event);
}

static void print_json_gap(struct rt_out *out, const struct ringtail_gap_info *gap)
{
	LITERAL(out, "{\"gap\":{\"first\":");
	rt_out_u64(out, gap->first);
	LITERAL(out, ",\"count\":");
	rt_out_u64(out, gap->count);
	LITERAL(out, ",\"cause\":\"");
	rt_out_text(out, rt_cause_name(gap->cause));
	LITERAL(out, "\"");
	if (gap->skipped) {
		LITERAL(out, ",\"skipped\":");
		rt_out_u64(out, gap->skipped);
	}
	LITERAL(out, "}}\n");
}

void rt_print_gap(struct rt_print *print, const struct ringtail_gap_info *gap)
{
	if (print->json) {
		print_json_gap(print->out, gap);
		return;
	}
	paint(print, YELLOW);
	rt_out_format(print->out, "-- gap: %llu events from seq %llu on missed (%s)",
		      (unsigned long long)gap->count, (unsigned long long)gap->first,
		      rt_cause_name(gap->cause));
	if (gap->skipped)
		rt_out_format(print->out,
			      ", the last %llu of them skipped to get ahead",
			      (unsigned long long)gap->skipped);
	paint(print, PLAIN);
	LITERAL(print->out, "\n");
}

void rt_print_state(struct rt_print *print, const char *state, uint64_t seq)
{
	const unsigned long long n = seq;

	if (print->json)
		rt_out_format(print->out, "{\"state\":\"%s\",\"seq\":%llu}\n", state,
			      n);
	else
		rt_out_format(print->out, "-- %s at seq %llu\n", state, n);
}

void rt_print_snapshot_begin(struct rt_print *print,
			     const struct ringtail_gap_info *gap)
{
	const char *cause = gap ? rt_cause_name(gap->cause) : "";
	const unsigned long long first = gap ? gap->first : 0;
	const unsigned long long count = gap ? gap->count : 0;

	rt_out_text(print->out,
		    print->json ? "{\"snapshot\":\"begin\"" : "-- snapshot begins");
	if (gap && print->json)
		rt_out_format(print->out, ",\"cause\":\"%s\"", cause);
	if (gap && !print->json)
		rt_out_format(print->out, " (%s)", cause);
	if (count && print->json)
		rt_out_format(print->out, ",\"first\":%llu,\"count\":%llu", first,
			      count);
	if (count && !print->json)
		rt_out_format(print->out,
			      ": it stands for what was missed, %llu from seq %llu on",
			      count, first);
	rt_out_text(print->out, print->json ? "}\n" : "\n");
}

void rt_print_snapshot_end(struct rt_print *print, uint64_t seq)
{
	const unsigned long long n = seq;

	if (print->json)
		rt_out_format(print->out, "{\"snapshot\":\"end\",\"seq\":%llu}\n", n);
	else
		rt_out_format(print->out, "-- snapshot ends at seq %llu\n", n);
}
