/* SPDX-License-Identifier: MIT */
#include "tests/support/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * ---- The feed ----
 */

int t_feed_setup(void **state)
{
	static struct t_feed feed;
	const struct t_publisher *by = *state;

	feed = (struct t_feed){ .by = by, .fds = t_count_fds(), .channel = -1 };
	feed.dir = t_dir_new();
	*state = &feed;
	return 0;
}

int t_feed_teardown(void **state)
{
	struct t_feed *feed = *state;
	int fds;

	if (feed->running && feed->by->kill)
		feed->by->kill(feed);
	else if (feed->running)
		feed->by->close(feed);
#ifdef T_HAVE_DAEMON
	if (feed->daemon.dir) {
		feed->dir = NULL;
		t_daemon_drop(&feed->daemon);
	}
#endif
	t_dir_drop(feed->dir);
	fds = t_count_fds();
	if (fds != feed->fds)
		print_error("%d descriptors open, %d before the test\n", fds,
			    feed->fds);
	return fds == feed->fds ? 0 : -1;
}

void t_feed_start(struct t_feed *feed, struct t_ring ring)
{
	assert_false(feed->running);
	feed->ring = (struct t_ring){
		.n_slots = ring.n_slots ? ring.n_slots : 1024,
		.payload_size = ring.payload_size ? ring.payload_size : 65536,
		.max_key = ring.max_key ? ring.max_key : 1024,
		.max_value = ring.max_value,
		.wake_mode = ring.wake_mode,
		.beat_ms = ring.beat_ms ? ring.beat_ms : 1000,
	};
	feed->by->start(feed);
	feed->running = true;
	feed->in_txn = false;
}

void t_feed_close(struct t_feed *feed)
{
	assert_true(feed->running);
	feed->by->close(feed);
	feed->running = false;
}

void t_feed_kill(struct t_feed *feed)
{
	assert_true(feed->running);
	feed->by->kill(feed);
	feed->running = false;
}

int t_feed_pid(const struct t_feed *feed)
{
#ifdef T_HAVE_DAEMON
	if (feed->daemon.pid)
		return feed->daemon.pid;
#endif
	return feed->pid;
}

int t_add(struct t_feed *feed, uint32_t op, const void *key, size_t key_len,
	  const void *value, size_t value_len, uint32_t flags)
{
	return feed->by->add(feed, op, key, key_len, value, value_len, flags);
}

void t_put(struct t_feed *feed, const char *key, const char *value)
{
	t_ok(t_add(feed, RINGTAIL_PUT, key, strlen(key), value, strlen(value), 0));
}

void t_delete(struct t_feed *feed, const char *key)
{
	t_ok(t_add(feed, RINGTAIL_DELETE, key, strlen(key), NULL, 0, 0));
}

void t_message(struct t_feed *feed, const char *key, const char *value)
{
	t_ok(t_add(feed, RINGTAIL_MESSAGE, key, strlen(key), value, strlen(value), 0));
}

void t_begin(struct t_feed *feed)
{
	t_ok(feed->by->begin(feed));
	feed->in_txn = true;
}

void t_commit(struct t_feed *feed)
{
	feed->in_txn = false;
	t_ok(feed->by->commit(feed));
}

void t_abort(struct t_feed *feed)
{
	feed->in_txn = false;
	t_ok(feed->by->abort(feed));
}

void t_puts(struct t_feed *feed, unsigned n)
{
	char value[16];

	for (unsigned i = 1; i <= n; i++) {
		(void)snprintf(value, sizeof(value), "%u", i);
		t_put(feed, "k", value);
	}
}

size_t t_value(uint64_t seq, uint8_t value[T_VALUE_MAX])
{
	struct t_random random = { seq };
	size_t len = t_random_below(&random, T_VALUE_MAX + 1);

	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)(seq * 31 + i * (1 + seq % 7));
	return len;
}

bool t_is_value(const void *value, size_t len, uint64_t seq)
{
	uint8_t want[T_VALUE_MAX];
	size_t want_len = t_value(seq, want);

	return len == want_len && memcmp(value, want, len) == 0;
}

void t_put_value(struct t_feed *feed, uint64_t seq)
{
	uint8_t value[T_VALUE_MAX];

	t_ok(t_add(feed, RINGTAIL_PUT, "key", 3, value, t_value(seq, value), 0));
}

uint64_t t_feed_seq(struct t_feed *feed)
{
	return feed->by->seq(feed);
}

void t_feed_marker(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE])
{
	feed->by->marker(feed, ret);
}

const char *t_feed_file(const struct t_feed *feed, const char *name)
{
	char relative[128];

	(void)snprintf(relative, sizeof(relative), "%s/%s", T_FEED, name);
	return t_path(feed->dir, relative);
}

/*
 * ---- Readers ----
 */

struct ringtail_options t_from(uint32_t start)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;

	options.start = start;
	return options;
}

struct ringtail_options t_after(uint64_t seq)
{
	struct ringtail_options options = t_from(RINGTAIL_START_AFTER_SEQ);

	options.seq = seq;
	return options;
}

struct ringtail_options t_after_marker(const char *marker)
{
	struct ringtail_options options = t_from(RINGTAIL_START_MARKER);

	options.marker = marker;
	return options;
}

int t_try_open(const struct t_feed *feed, struct ringtail_options options,
	       struct ringtail **ret)
{
	options.dir = feed->dir;
	return ringtail_open(T_FEED, &options, ret);
}

struct ringtail *t_open(const struct t_feed *feed, struct ringtail_options options)
{
	struct ringtail *reader = NULL;
	int e = t_try_open(feed, options, &reader);

	if (e)
		fail_msg("cannot open: %d: %s", e, ringtail_error(NULL));
	return reader;
}

static void write_event(FILE *out, const struct ringtail_event *event)
{
	static const char *const signs[] = { "?", "", "-", "!" };

	(void)fprintf(out, "%" PRIu64 ":%s%.*s", event->seq,
		      event->op < T_N(signs) ? signs[event->op] : "?",
		      (int)event->key_len, (const char *)event->key);
	if (event->op != RINGTAIL_DELETE)
		(void)fprintf(out, "=%.*s", (int)event->value_len,
			      (const char *)event->value);
	else if (event->value_len)
		(void)fputs("=?", out);
	(void)fputs(event->flags & RINGTAIL_LAST ? ";" : " ", out);
}

static void write_outcome(FILE *out, struct ringtail *reader, int outcome)
{
	struct ringtail_gap_info gap;

	if (outcome == RINGTAIL_CAUGHT_UP)
		(void)fputs("caught-up", out);
	else if (outcome == RINGTAIL_GAP && !ringtail_gap(reader, &gap))
		(void)fprintf(out, "gap %" PRIu64 "+%" PRIu64 "/%" PRIu64, gap.first,
			      gap.count, gap.skipped);
	else if (outcome < 0)
		(void)fprintf(out, "error %d", outcome);
	else if (outcome != RINGTAIL_NOTHING)
		(void)fprintf(out, "outcome %d", outcome);
}

const char *t_drain(struct ringtail *reader)
{
	static char text[65536];
	FILE *out = fmemopen(text, sizeof(text), "w");
	struct ringtail_event event;
	int outcome;

	if (!out)
		abort();
	text[0] = 0;
	while ((outcome = ringtail_next(reader, &event, 0)) == RINGTAIL_EVENT)
		write_event(out, &event);
	write_outcome(out, reader, outcome);
	(void)fclose(out);
	return text;
}

void t_drained(struct ringtail *reader, const char *want)
{
	assert_string_equal(t_drain(reader), want);
	assert_true(t_accounts_add_up(reader));
}

void t_next_is(struct ringtail *reader, uint64_t seq)
{
	struct ringtail_event event;

	t_is(ringtail_next(reader, &event, T_AGES_NS), RINGTAIL_EVENT);
	assert_int_equal(event.seq, seq);
}

struct ringtail_stats t_stats(struct ringtail *reader)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };

	t_ok(ringtail_get_stats(reader, &stats));
	return stats;
}

struct ringtail_info t_info(struct ringtail *reader)
{
	struct ringtail_info info = { .size = sizeof(info) };

	t_ok(ringtail_get_info(reader, &info));
	return info;
}

bool t_accounts_add_up(struct ringtail *reader)
{
	struct ringtail_stats s = { .size = sizeof(s) };
	bool fine = ringtail_get_stats(reader, &s) == 0 &&
		    s.position == ringtail_position(reader) && s.position >= s.start &&
		    s.delivered + s.filtered + s.lost == s.position - s.start;

	if (!fine)
		print_error("accounts: %" PRIu64 " delivered + %" PRIu64
			    " filtered + %" PRIu64 " lost, from %" PRIu64 " to %" PRIu64
			    "\n",
			    s.delivered, s.filtered, s.lost, s.start, s.position);
	return fine;
}

void t_close(struct ringtail *reader)
{
	bool fine = t_accounts_add_up(reader);

	ringtail_close(reader);
	assert_true(fine);
}

/*
 * ---- Processes ----
 */

/* State and processor time are behind the name, which ends with the last ')'. */
static char *stat_of(int id)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", id);
	return t_read_file(path, NULL);
}

bool t_is_asleep(void *id)
{
	char *text = stat_of(*(int *)id);
	const char *end = text ? strrchr(text, ')') : NULL;
	bool asleep = end && end[1] && end[2] == 'S';

	free(text);
	return asleep;
}

struct wanted_state {
	struct ringtail *reader;
	enum ringtail_state state;
};

static bool is_in_state(void *arg)
{
	struct wanted_state *wanted = arg;

	return ringtail_state(wanted->reader) == (int)wanted->state;
}

bool t_becomes(struct ringtail *reader, enum ringtail_state state)
{
	struct wanted_state wanted = { reader, state };

	return t_within_ms(60000, is_in_state, &wanted);
}

uint64_t t_cpu_ns(int pid)
{
	struct timespec used = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0)
		(void)clock_gettime(clock, &used);
	return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
