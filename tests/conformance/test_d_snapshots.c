/* SPDX-License-Identifier: MIT */
/*
 * The cases of snapshots: the state first, and then every change after it.  Where that
 * makes sense each is read twice, by the library and by `ringtail watch --json`.
 */
#include "tests/support/feed.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define MAX_TEXT 65536

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

static char text[MAX_TEXT];

/*
 * ---- What a reader is given, in short -------------------------------------------
 *
 * "reset;a=1@5 b=2@9 end 10;11:a=3 12:-b;" and how it ended, unless that is nothing.
 */

static void write_event(FILE *out, const struct ringtail_event *e, bool entry)
{
	static const char *const signs[] = { "?", "", "-", "!" };

	if (!entry)
		(void)fprintf(out, "%" PRIu64 ":", e->seq);
	(void)fprintf(out, "%s%.*s", signs[e->op & 3], (int)e->key_len,
		      (const char *)e->key);
	if (e->op != RINGTAIL_DELETE)
		(void)fprintf(out, "=%.*s", (int)e->value_len, (const char *)e->value);
	if (entry)
		(void)fprintf(out, "@%" PRIu64 " ", e->seq);
	else
		(void)fputs(e->flags & RINGTAIL_LAST ? ";" : " ", out);
}

static int write_next(FILE *out, struct ringtail *reader)
{
	struct ringtail_event e;
	int outcome = ringtail_next(reader, &e, 0);

	assert_true(t_accounts_add_up(reader));
	if (outcome == RINGTAIL_EVENT || outcome == RINGTAIL_SNAPSHOT)
		write_event(out, &e, outcome == RINGTAIL_SNAPSHOT);
	else if (outcome == RINGTAIL_RESET)
		(void)fputs("reset;", out);
	else if (outcome == RINGTAIL_SNAPSHOT_END)
		(void)fprintf(out, "end %" PRIu64 ";", e.seq);
	else if (outcome < 0)
		(void)fprintf(out, "error %d", outcome);
	return outcome;
}

static const char *read_all(struct ringtail *reader)
{
	FILE *out = fmemopen(text, sizeof(text), "w");
	int outcome;

	text[0] = 0;
	do {
		outcome = write_next(out, reader);
	} while (outcome > 0);
	(void)fclose(out);
	return text;
}

static void gives(struct ringtail *reader, const char *want)
{
	assert_string_equal(read_all(reader), want);
}

static uint64_t number(const json_t *line, const char *member)
{
	const json_t *value = json_object_get(line, member);

	assert_true(json_is_integer(value));
	return (uint64_t)json_integer_value(value);
}

static void write_line(FILE *out, const json_t *line, bool *in_state)
{
	const char *snapshot = json_string_value(json_object_get(line, "snapshot"));
	const char *op = json_string_value(json_object_get(line, "op"));
	const char *key = json_string_value(json_object_get(line, "key"));
	const char *value = json_string_value(json_object_get(line, "value"));
	struct ringtail_event e = { .op = RINGTAIL_PUT };

	if (snapshot) {
		*in_state = !strcmp(snapshot, "begin");
		if (*in_state)
			(void)fputs("reset;", out);
		else
			(void)fprintf(out, "end %" PRIu64 ";", number(line, "seq"));
		return;
	}
	if (!op || !key)
		fail_msg("no event: %s", json_dumps(line, 0));
	if (!strcmp(op, "delete"))
		e.op = RINGTAIL_DELETE;
	if (!strcmp(op, "message"))
		e.op = RINGTAIL_MESSAGE;
	e.seq = number(line, "seq");
	e.key = key;
	e.key_len = strlen(key);
	e.value = value;
	e.value_len = value ? strlen(value) : 0;
	e.flags = json_object_get(line, "marker") ? RINGTAIL_LAST : 0;
	if (*in_state)
		assert_null(json_object_get(line, "created"));
	write_event(out, &e, *in_state);
}

/* Everything that is there now, as a script sees it. */
static void watch_prints(const struct t_feed *feed, const char *words, const char *want)
{
	char *printed = NULL, *state = NULL;
	FILE *out = fmemopen(text, sizeof(text), "w");
	bool in_state = false;

	(void)t_sh(&printed,
		   "exec '%s' --dir '%s' watch " T_FEED " --json --timeout 0 %s",
		   t_tool_program(), feed->dir, words);
	text[0] = 0;
	for (char *at = strtok_r(printed, "\n", &state); at;
	     at = strtok_r(NULL, "\n", &state)) {
		json_t *line = json_loads(at, 0, NULL);

		assert_non_null(line);
		write_line(out, line, &in_state);
		json_decref(line);
	}
	(void)fclose(out);
	free(printed);
	assert_string_equal(text, want);
}

/* Both of them. */
static void show(const struct t_feed *feed, struct ringtail_options options,
		 const char *words, const char *want)
{
	struct ringtail *reader = t_open(feed, options);

	gives(reader, want);
	t_close(reader);
	watch_prints(feed, words, want);
}

static struct ringtail_options from_state(void)
{
	return t_from(RINGTAIL_START_SNAPSHOT);
}

static struct ringtail_options resyncing(uint64_t after)
{
	struct ringtail_options options = t_after(after);

	options.on_gap = RINGTAIL_ON_GAP_RESYNC;
	return options;
}

/*
 * ---- The daemon -------------------------------------------------------------------
 */

static uint64_t status_of(struct t_feed *feed, const char *command, const char *name)
{
	redisReply *reply = redisCommand(feed->redis, command);
	uint64_t number = UINT64_MAX;

	assert_non_null(reply);
	if (reply->type == REDIS_REPLY_ERROR)
		fail_msg("%s: %s", command, reply->str);
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		if (!strcmp(reply->element[i]->str, name))
			number = (uint64_t)reply->element[i + 1]->integer;
	}
	freeReplyObject(reply);
	assert_true(number != UINT64_MAX);
	return number;
}

static uint64_t status(struct t_feed *feed, const char *name)
{
	return status_of(feed, "RINGTAIL.SNAPSHOT STATUS", name);
}

/* One as of now; its seq. */
static uint64_t snapshot(struct t_feed *feed)
{
	uint64_t asked = status_of(feed, "RINGTAIL.SNAPSHOT", "asked");

	while (status(feed, "answered") < asked)
		t_sleep_ms(1);
	assert_int_equal(status(feed, "seq"), t_feed_seq(feed));
	return status(feed, "seq");
}

/* So that nothing below @seq is held. */
static void trim(struct t_feed *feed, uint64_t seq)
{
	uint64_t oldest;

	do {
		redisReply *reply = redisCommand(feed->redis, "RINGTAIL.TRIM %llu",
						 (unsigned long long)seq);

		assert_non_null(reply);
		assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
		oldest = (uint64_t)reply->element[0]->integer;
		freeReplyObject(reply);
	} while (oldest < seq);
}

/* Calls @act with the path of each snapshot; how many there were. */
static unsigned each_snapshot(const struct t_feed *feed, int (*act)(const char *path))
{
	const char *folder = t_feed_file(feed, "log");
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".snap"))
			continue;
		n++;
		t_ok(act(t_path(folder, entry->d_name)));
	}
	(void)closedir(dir);
	return n;
}

static int cut_in_half(const char *path)
{
	return truncate(path, 4200);
}

/* Keys k0 .. k9, each @n times; the values are seqs. */
static void put_keys(struct t_feed *feed, unsigned n)
{
	for (unsigned i = 0; i < n * 10; i++) {
		char key[8], value[24];

		(void)snprintf(key, sizeof(key), "k%u", i % 10);
		(void)snprintf(value, sizeof(value), "%" PRIu64, t_feed_seq(feed) + 1);
		t_put(feed, key, value);
	}
}

/* "k0=991@991 k1=..." of the ten newest seqs up to @seq. */
static const char *keys_at(uint64_t seq)
{
	static char made[512];
	size_t len = 0;

	for (unsigned i = 0; i < 10; i++)
		len += (size_t)snprintf(made + len, sizeof(made) - len,
					"k%u=%" PRIu64 "@%" PRIu64 " ", i, seq - 9 + i,
					seq - 9 + i);
	return made;
}

/*
 * ---- D -----------------------------------------------------------------------------
 */

static void d1_an_empty_feed_is_an_empty_state(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	show(feed, from_state(), "--from snapshot", "reset;end 0;");
	reader = t_open(feed, from_state());
	gives(reader, "reset;end 0;");
	t_put(feed, "a", "1");
	gives(reader, "1:a=1;");
	t_close(reader);
}

static void d2_the_state_and_then_exactly_what_follows(void **state)
{
	struct t_feed *feed = *state;
	char want[1024];
	size_t len;

	t_feed_start(feed, smallest);
	put_keys(feed, 100);
	assert_int_equal(snapshot(feed), 1000);
	len = (size_t)snprintf(want, sizeof(want), "reset;%send 1000;", keys_at(1000));
	show(feed, from_state(), "--from snapshot", want);
	put_keys(feed, 1);
	for (unsigned i = 0; i < 10; i++)
		len += (size_t)snprintf(want + len, sizeof(want) - len, "%u:k%u=%u;",
					1001 + i, i, 1001 + i);
	show(feed, from_state(), "--from snapshot", want);
}

static void d3_what_is_committed_meanwhile_comes_once(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event e;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	t_put(feed, "a", "1");
	t_put(feed, "b", "2");
	(void)snapshot(feed);
	reader = t_open(feed, from_state());
	t_is(ringtail_next(reader, &e, 0), RINGTAIL_RESET);
	t_is(ringtail_next(reader, &e, 0), RINGTAIL_SNAPSHOT);
	t_puts(feed, 5);
	(void)snapshot(feed);
	gives(reader, "b=2@2 end 2;3:k=1;4:k=2;5:k=3;6:k=4;7:k=5;");
	t_puts(feed, 5);
	gives(reader, "8:k=1;9:k=2;10:k=3;11:k=4;12:k=5;");
	t_close(reader);

	/* And with no keys. */
	t_delete(feed, "a");
	t_delete(feed, "b");
	t_delete(feed, "k");
	(void)snapshot(feed);
	reader = t_open(feed, from_state());
	t_is(ringtail_next(reader, &e, 0), RINGTAIL_RESET);
	t_puts(feed, 2);
	gives(reader, "end 15;16:k=1;17:k=2;");
	t_puts(feed, 1);
	gives(reader, "18:k=1;");
	t_close(reader);
}

static void d3_more_than_the_ring_holds_meanwhile(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_event e;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	put_keys(feed, 10);
	(void)snapshot(feed);
	reader = t_open(feed, from_state());
	t_is(ringtail_next(reader, &e, 0), RINGTAIL_RESET);
	put_keys(feed, 100);
	(void)snapshot(feed);
	for (unsigned i = 0; i < 10; i++)
		t_is(ringtail_next(reader, &e, 0), RINGTAIL_SNAPSHOT);
	t_is(ringtail_next(reader, &e, 0), RINGTAIL_SNAPSHOT_END);
	assert_int_equal(e.seq, 100);
	for (uint64_t seq = 101; seq <= 1100; seq++)
		t_next_is(reader, seq);
	t_drained(reader, "");
	t_close(reader);
}

static void d4_framing_only_when_going_on_is_not_possible(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = resyncing(18);
	char foreign[RINGTAIL_MARKER_SIZE], words[128], want[1024];
	struct ringtail_gap_info gap;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	put_keys(feed, 2);
	show(feed, options, "--from 18 --on-gap resync", "19:k8=19;20:k9=20;");
	(void)snapshot(feed);
	trim(feed, 15);
	show(feed, options, "--from 18 --on-gap resync", "19:k8=19;20:k9=20;");
	(void)snprintf(want, sizeof(want), "reset;%send 20;", keys_at(20));
	show(feed, resyncing(3), "--from 3 --on-gap resync", want);

	reader = t_open(feed, resyncing(3));
	gives(reader, want);
	t_ok(ringtail_gap(reader, &gap));
	assert_int_equal(gap.first, 4);
	assert_int_equal(gap.count, 17);
	assert_int_equal(gap.skipped, 6);
	assert_int_equal(gap.cause, RINGTAIL_CAUSE_COMPACTED);
	t_close(reader);

	/* Of another history, below and above what there is. */
	for (uint64_t seq = 5; seq <= 50; seq += 45) {
		t_ok(ringtail_marker_format(seq, 77, foreign));
		options = t_after_marker(foreign);
		t_is(t_try_open(feed, options, &reader), RINGTAIL_E_EPOCH);
		options.on_gap = RINGTAIL_ON_GAP_RESYNC;
		(void)snprintf(words, sizeof(words), "--from %s --on-gap resync",
			       foreign);
		show(feed, options, words, want);
	}
}

static void d4_a_new_history_is_given_as_a_state(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *strict, *reader;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_gap_info gap;
	struct ringtail_stats stats;
	struct ringtail_event e;
	int outcome;

	t_feed_start(feed, smallest);
	put_keys(feed, 3);
	t_feed_marker(feed, marker);
	reader = t_open(feed, resyncing(25));
	strict = t_open(feed, t_after(30));
	gives(reader, "26:k5=26;27:k6=27;28:k7=28;29:k8=29;30:k9=30;");
	t_drained(strict, "caught-up");
	freeReplyObject(redisCommand(feed->redis, "RINGTAIL.RESET " T_FEED));

	while ((outcome = ringtail_next(reader, &e, T_AGES_NS)) == RINGTAIL_NOTHING)
		;
	t_is(outcome, RINGTAIL_RESET);
	t_ok(ringtail_gap(reader, &gap));
	assert_int_equal(gap.cause, RINGTAIL_CAUSE_EPOCH);
	assert_int_equal(gap.count, 0);
	assert_true(strstr(read_all(reader), "end 30;"));
	t_put(feed, "a", "new");
	gives(reader, "31:a=new;");
	stats = t_stats(reader);
	assert_int_equal(stats.start, 30);
	assert_int_equal(stats.delivered, 1);
	assert_int_equal(stats.lost, 0);
	t_close(reader);

	while ((outcome = ringtail_next(strict, &e, T_AGES_NS)) == RINGTAIL_NOTHING)
		;
	t_is(outcome, RINGTAIL_E_EPOCH);
	t_close(strict);
	t_is(t_try_open(feed, t_after_marker(marker), &reader), RINGTAIL_E_EPOCH);
}

static void d5_a_hundred_readers_share_what_there_is(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *readers[100];
	uint64_t asked, seq;

	t_feed_start(feed, smallest);
	put_keys(feed, 50);
	seq = snapshot(feed);
	asked = status(feed, "asked");
	put_keys(feed, 1);
	for (unsigned i = 0; i < 100; i++)
		readers[i] = t_open(feed, from_state());
	for (unsigned i = 0; i < 100; i++) {
		const char *got = read_all(readers[i]);

		assert_non_null(strstr(got, "end 500;501:k0=501;"));
		assert_non_null(strstr(got, "510:k9=510;"));
		t_close(readers[i]);
	}
	assert_int_equal(status(feed, "seq"), seq);
	assert_int_equal(status(feed, "asked"), asked);
}

static void d6_a_state_of_some_keys(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
					  .a = "b/",
					  .a_len = 2 };
	struct ringtail_options options = from_state();

	t_feed_start(feed, smallest);
	t_put(feed, "a/1", "x");
	t_put(feed, "b/1", "x");
	t_put(feed, "b/2", "x");
	t_put(feed, "b/3", "x");
	t_put(feed, "c/1", "x");
	t_delete(feed, "b/2");
	t_delete(feed, "b/3");
	t_put(feed, "b/3", "y"); /* 8 */
	t_message(feed, "b/4", "m");
	(void)snapshot(feed);
	options.filters = &filter;
	options.n_filters = 1;
	show(feed, options, "--from snapshot --prefix b/",
	     "reset;b/1=x@2 b/3=y@8 end 9;");
	show(feed, from_state(), "--from snapshot",
	     "reset;a/1=x@1 b/1=x@2 b/3=y@8 c/1=x@5 end 9;");
	filter.a = "none";
	filter.a_len = 4;
	show(feed, options, "--from snapshot --prefix none", "reset;end 9;");
	filter.kind = RINGTAIL_FILTER_KEY;
	filter.a = "c/1";
	filter.a_len = 3;
	show(feed, options, "--from snapshot --key c/1", "reset;c/1=x@5 end 9;");
	options.n_filters = 0;
	options.ops = RINGTAIL_OPS_DELETE;
	show(feed, options, "--from snapshot --op delete", "reset;end 9;");
}

static void d7_damaged_or_missing_is_said_and_mended(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	char want[1024];

	t_feed_start(feed, smallest);
	put_keys(feed, 2);
	(void)snapshot(feed);
	trim(feed, 15);
	assert_in_range(each_snapshot(feed, cut_in_half), 1, 2);
	t_is(t_try_open(feed, from_state(), &reader), RINGTAIL_E_CORRUPT);
	assert_non_null(strstr(ringtail_error(NULL), ".snap"));
	t_is(t_try_open(feed, resyncing(3), &reader), RINGTAIL_E_CORRUPT);

	put_keys(feed, 1); /* another seq, so another file */
	(void)snapshot(feed);
	(void)snprintf(want, sizeof(want), "reset;%send 30;", keys_at(30));
	show(feed, from_state(), "--from snapshot", want);

	(void)each_snapshot(feed, unlink);
	t_is(t_try_open(feed, from_state(), &reader), RINGTAIL_E_NO_SNAPSHOT);
	put_keys(feed, 1);
	(void)snapshot(feed);
	(void)snprintf(want, sizeof(want), "reset;%send 40;", keys_at(40));
	show(feed, from_state(), "--from snapshot", want);
}

/* The log comes behind the ring, here as a link to another folder. */
static void d7_a_feed_that_is_waited_for_has_its_state(void **state)
{
	struct t_feed *feed = *state;
	struct t_daemon *daemon = &feed->daemon;
	struct ringtail_options options = from_state();
	char spec[] = T_FEED ",size=64K";
	struct ringtail *reader;

	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = T_AGES_NS;
	daemon->dir = feed->dir;
	daemon->socket = strdup(t_path(feed->dir, "ringtail.sock"));
	daemon->log = strdup(t_path(feed->dir, "ringtaild.log"));
	daemon->args[0] = "--feed";
	daemon->args[1] = spec;
	daemon->args[2] = "--data";
	daemon->args[3] = strdup(t_path(feed->dir, "data"));
	for (unsigned i = 0; i < 5; i++) {
		t_daemon_spawn(daemon);
		reader = t_open(feed, options);
		gives(reader, "reset;end 0;");
		t_close(reader);
		t_daemon_kill(daemon);
		assert_int_equal(t_sh(NULL, "rm -r '%s/" T_FEED "' '%s/data'",
				      feed->dir, feed->dir),
				 0);
	}
	free((char *)(uintptr_t)daemon->args[3]);
	daemon->args[3] = NULL;
}

static void h1_a_restart_is_no_reason_for_a_state(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_options options;

	t_feed_start(feed, smallest);
	t_put(feed, "a", "1");
	reader = t_open(feed, resyncing(0));
	gives(reader, "1:a=1;");
	t_ok(ringtail_marker(reader, marker));
	t_feed_kill(feed);
	t_feed_start(feed, smallest);
	t_put(feed, "a", "2");
	while (ringtail_position(reader) < 2) {
		struct ringtail_event e;
		int outcome = ringtail_next(reader, &e, T_AGES_NS);

		assert_true(outcome == RINGTAIL_EVENT || outcome == RINGTAIL_NOTHING);
	}
	assert_int_equal(t_stats(reader).resets, 0);
	t_close(reader);
	options = t_after_marker(marker);
	options.on_gap = RINGTAIL_ON_GAP_RESYNC;
	reader = t_open(feed, options);
	gives(reader, "2:a=2;");
	t_close(reader);
}

/*
 * ---- B, C under the policy resync ---------------------------------------------------
 */

static void b_bad_starts_are_errors_under_resync_too(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = resyncing(6);
	struct ringtail *reader;
	char marker[RINGTAIL_MARKER_SIZE];

	t_feed_start(feed, smallest);
	t_puts(feed, 5);
	t_is(t_try_open(feed, options, &reader), RINGTAIL_E_FUTURE);
	t_feed_marker(feed, marker);
	marker[5] ^= 1;
	options = t_after_marker(marker);
	options.on_gap = RINGTAIL_ON_GAP_RESYNC;
	t_is(t_try_open(feed, options, &reader), RINGTAIL_E_MALFORMED);
}

static void c1_one_below_the_oldest_is_a_state(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail *reader;

	t_feed_start(feed, smallest);
	put_keys(feed, 50);
	(void)snapshot(feed);
	trim(feed, 401);
	for (uint64_t after = 399; after <= 401; after++) {
		reader = t_open(feed, resyncing(after));
		if (after == 399) {
			assert_non_null(strstr(read_all(reader), "reset;k0="));
			assert_int_equal(ringtail_position(reader), 500);
		}
		for (uint64_t seq = after + 1; after > 399 && seq <= 500; seq++)
			t_next_is(reader, seq);
		t_drained(reader, "");
		t_close(reader);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_LOG(d1_an_empty_feed_is_an_empty_state),
		T_LOG(d2_the_state_and_then_exactly_what_follows),
		T_LOG(d3_what_is_committed_meanwhile_comes_once),
		T_LOG(d3_more_than_the_ring_holds_meanwhile),
		T_LOG(d4_framing_only_when_going_on_is_not_possible),
		T_LOG(d4_a_new_history_is_given_as_a_state),
		T_LOG(d5_a_hundred_readers_share_what_there_is),
		T_LOG(d6_a_state_of_some_keys),
		T_LOG(d7_damaged_or_missing_is_said_and_mended),
		T_LOG(d7_a_feed_that_is_waited_for_has_its_state),
		T_LOG(h1_a_restart_is_no_reason_for_a_state),
		T_LOG(b_bad_starts_are_errors_under_resync_too),
		T_LOG(c1_one_below_the_oldest_is_a_state),
	};

	return cmocka_run_group_tests_name("d_snapshots", tests, NULL, NULL);
}
