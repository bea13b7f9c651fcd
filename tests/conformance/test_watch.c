/* SPDX-License-Identifier: MIT */
/*
 * The cases once more as a script sees them, through `ringtail watch --json`.
 */
#include "tests/support/feed.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define MAX_TEXT 65536

/* Exit codes, as the manual has them. */
enum {
	DONE = 0,
	FAILED = 1,
	USAGE = 2,
	GAP = 3,
	CLOSED = 4,
	TIMED_OUT = 5
};

static const struct t_ring smallest = { .n_slots = 64, .payload_size = 4096 };

static uint64_t number(const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	if (!json_is_integer(value))
		fail_msg("no number '%s' in a line", member);
	return (uint64_t)json_integer_value(value);
}

static const char *text_of(const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	return json_is_string(value) ? json_string_value(value) : NULL;
}

/* An event as t_drain() writes it; what a line must have is checked. */
static void write_event(FILE *out, const json_t *line)
{
	const char *op = text_of(line, "op"), *key = text_of(line, "key");
	const char *value = text_of(line, "value"), *marker = text_of(line, "marker");
	uint64_t seq = number(line, "seq"), rev = number(line, "rev");
	uint64_t marker_seq = 0;

	assert_non_null(op);
	assert_non_null(key);
	assert_true(number(line, "time_ns") > UINT64_C(1600000000000000000));
	assert_true(rev >= seq);
	if (marker) {
		t_ok(ringtail_marker_parse(marker, &marker_seq, NULL));
		assert_int_equal(marker_seq, rev);
	}
	(void)fprintf(out, "%" PRIu64 ":%s%s", seq,
		      !strcmp(op, "delete")    ? "-"
		      : !strcmp(op, "message") ? "!"
		      : !strcmp(op, "put")     ? ""
					       : "?",
		      key);
	if (value)
		(void)fprintf(out, "=%s", value);
	(void)fputs(marker ? ";" : " ", out);
}

static void write_line(FILE *out, const json_t *line)
{
	const json_t *gap = json_object_get(line, "gap");

	if (gap)
		(void)fprintf(out, "gap %" PRIu64 "+%" PRIu64 " %s;",
			      number(gap, "first"), number(gap, "count"),
			      text_of(gap, "cause"));
	else if (text_of(line, "state"))
		(void)fprintf(out, "%s;", text_of(line, "state"));
	else
		write_event(out, line);
}

/* Lines of JSON in short; what else was printed follows as it is. */
static const char *in_short(char *printed)
{
	static char text[MAX_TEXT];
	FILE *out = fmemopen(text, sizeof(text), "w");
	char *state = NULL;

	assert_non_null(out);
	text[0] = 0;
	for (char *at = strtok_r(printed, "\n", &state); at;
	     at = strtok_r(NULL, "\n", &state)) {
		json_t *line = json_loads(at, 0, NULL);

		if (line)
			write_line(out, line);
		else
			(void)fputs(at, out);
		json_decref(line);
	}
	(void)fclose(out);
	return text;
}

static char *run(const struct t_feed *feed, const char *words, bool errors, int *ret)
{
	char *printed = NULL;

	*ret = t_sh(&printed, "exec '%s' --dir '%s' watch " T_FEED " --json %s%s",
		    t_tool_program(), feed->dir, words, errors ? "" : " 2>/dev/null");
	return printed;
}

/* What a watch prints in short, and how it ends. */
static void watch(const struct t_feed *feed, const char *words, int code,
		  const char *want)
{
	int exited;
	char *printed = run(feed, words, false, &exited);
	const char *got = in_short(printed);

	if (exited != code || strcmp(got, want) != 0)
		fail_msg("watch %s: exit %d, %s\nnot exit %d, %s", words, exited, got,
			 code, want);
	free(printed);
}

/* It fails, and what it says contains @part. */
static void refuses(const struct t_feed *feed, const char *words, int code,
		    const char *part)
{
	int exited;
	char *printed = run(feed, words, true, &exited);

	if (exited != code || !strstr(printed, part))
		fail_msg("watch %s: exit %d, %s\nnot exit %d, %s", words, exited,
			 printed, code, part);
	free(printed);
}

static const char *from(const char *marker, const char *more)
{
	static char words[512];

	(void)snprintf(words, sizeof(words), "--from %s %s", marker, more);
	return words;
}

/*
 * ---- A, B ----
 */

static void a2_a3_watch_shows_whole_transactions_in_order(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "a", "0");
	t_begin(feed);
	t_put(feed, "b", "1");
	t_delete(feed, "a");
	t_put(feed, "c", "2");
	t_commit(feed);
	t_message(feed, "m", "3");

	watch(feed, "--from 0 --count 5", DONE, "1:a=0;2:b=1 3:-a 4:c=2;5:!m=3;");
	watch(feed, "--from oldest --until 4", DONE, "1:a=0;2:b=1 3:-a 4:c=2;");
	watch(feed, "--from oldest --timeout 0.05", TIMED_OUT,
	      "1:a=0;2:b=1 3:-a 4:c=2;5:!m=3;");
}

static void b1_b2_watch_begins_after_a_seq_or_now(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 4);
	watch(feed, "--from now --timeout 0.05", TIMED_OUT, "");
	watch(feed, "--timeout 0.05", TIMED_OUT, "");
	watch(feed, "--from 4 --timeout 0.05", TIMED_OUT, "");
	watch(feed, "--from 3 --count 1", DONE, "4:k=4;");
	watch(feed, "--from 1 --until 3", DONE, "2:k=2;3:k=3;");
	watch(feed, "--from now --states --timeout 0.05", TIMED_OUT, "caught-up;");
}

static void b3_b4_b5_watch_tells_bad_starts_apart(void **state)
{
	struct t_feed *feed = *state;
	char marker[RINGTAIL_MARKER_SIZE];
	uint64_t epoch;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	t_feed_marker(feed, marker);
	t_ok(ringtail_marker_parse(marker, NULL, &epoch));

	refuses(feed, "--from 4", FAILED, "future");
	refuses(feed, "--from 43", FAILED, "future");
	refuses(feed, "--from 18446744073709551615", FAILED, "future");
	watch(feed, from(marker, "--timeout 0.05"), TIMED_OUT, "");
	t_put(feed, "k", "next");
	watch(feed, from(marker, "--count 1"), DONE, "4:k=next;");

	marker[41] = marker[41] == '0' ? '1' : '0';
	refuses(feed, from(marker, "--timeout 5"), FAILED, "malformed");
	t_ok(ringtail_marker_format(2, epoch ^ 1, marker));
	refuses(feed, from(marker, "--timeout 5"), FAILED, "epoch");
	t_ok(ringtail_marker_format(2000, epoch ^ 1, marker));
	refuses(feed, from(marker, "--timeout 5"), FAILED, "epoch");
}

static void b6_b7_watch_gives_markers_that_go_on(void **state)
{
	struct t_feed *feed = *state;
	char *cursor = strdup(t_path(feed->dir, "cursor"));
	char words[512];

	t_feed_start(feed, (struct t_ring){ 0 });
	for (int i = 0; i < 5; i++) {
		char want[64];

		(void)snprintf(words, sizeof(words),
			       "--cursor '%s' --from 0 --count 2 --timeout 20", cursor);
		t_begin(feed);
		t_put(feed, "a", "1");
		t_put(feed, "b", "2");
		t_commit(feed);
		(void)snprintf(want, sizeof(want), "%d:a=1 %d:b=2;", 2 * i + 1,
			       2 * i + 2);
		watch(feed, words, DONE, want);
	}
	free(cursor);
}

/*
 * ---- C ----
 */

static void c1_c3_watch_says_what_is_gone(void **state)
{
	struct t_feed *feed = *state;
	char words[128], want[128];
	struct ringtail *reader;
	uint64_t oldest;

	t_feed_start(feed, smallest);
	t_puts(feed, 100);
	reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	oldest = t_info(reader).oldest;
	t_close(reader);

	(void)snprintf(want, sizeof(want), "%" PRIu64, oldest);
	refuses(feed, "--from 0", GAP, want);
	(void)snprintf(words, sizeof(words), "--from %" PRIu64, oldest - 2);
	refuses(feed, words, GAP, want);
	(void)snprintf(words, sizeof(words), "--from %" PRIu64 " --count 1",
		       oldest - 1);
	(void)snprintf(want, sizeof(want), "%" PRIu64 ":k=%" PRIu64 ";", oldest,
		       oldest);
	watch(feed, words, DONE, want);
	(void)snprintf(want, sizeof(want),
		       "gap 1+%" PRIu64 " compacted;%" PRIu64 ":k=%" PRIu64 ";",
		       oldest - 1, oldest, oldest);
	watch(feed, "--from 0 --on-gap skip --count 1", DONE, want);
}

/*
 * ---- E ----
 */

static void e1_to_e8_watch_filters(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "/foo/a", "1");
	t_put(feed, "/foo/b", "2");
	t_delete(feed, "/foo/a");
	t_begin(feed);
	t_put(feed, "/foo/a", "4");
	t_delete(feed, "/foo/b");
	t_commit(feed);
	t_put(feed, "/foo/c", "6");
	t_put(feed, "/foo/bar", "7");
	t_put(feed, "/foo/baz", "8");

	watch(feed, "--from 0 --until 8 --range /foo/a /foo/b", DONE,
	      "1:/foo/a=1;3:-/foo/a;4:/foo/a=4;");
	watch(feed, "--from 0 --until 8 --prefix /foo/b", DONE,
	      "2:/foo/b=2;5:-/foo/b;7:/foo/bar=7;8:/foo/baz=8;");
	watch(feed, "--from 0 --until 8 --key /foo/c", DONE, "6:/foo/c=6;");
	watch(feed, "--from 0 --until 8 --key /foo/c --prefix /foo/c --prefix /f", DONE,
	      "1:/foo/a=1;2:/foo/b=2;3:-/foo/a;4:/foo/a=4 5:-/foo/b;6:/foo/c=6;"
	      "7:/foo/bar=7;8:/foo/baz=8;");
	watch(feed, "--from 0 --until 8 --op delete", DONE, "3:-/foo/a;5:-/foo/b;");
	watch(feed, "--from 0 --until 8 --op put --prefix /foo/b", DONE,
	      "2:/foo/b=2;7:/foo/bar=7;8:/foo/baz=8;");
	watch(feed, "--from 0 --until 8 --key nothing", DONE, "");
	refuses(feed, "--from 0 --range b a", USAGE, "range");
	refuses(feed, "--from 0 --range a a", USAGE, "range");
	refuses(feed, "--from 0 --op update", USAGE, "op");
	refuses(feed, "--from 0 --on-gap ignore", USAGE, "on-gap");
}

/*
 * ---- F, H ----
 */

static void f5_watch_ends_when_the_feed_is_closed(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 2);
	t_feed_close(feed);
	watch(feed, "--from 0", CLOSED, "1:k=1;2:k=2;");
	watch(feed, "--from 0 --states", CLOSED, "1:k=1;2:k=2;caught-up;closed;");
	watch(feed, "--from now", CLOSED, "");
}

static void f6_watch_of_no_feed_fails_or_waits(void **state)
{
	struct t_feed *feed = *state;

	refuses(feed, "--from 0", FAILED, "no such feed");
	refuses(feed, "--from 0 --wait 0.05", TIMED_OUT, "no such feed");
}

struct until {
	const struct t_feed *feed;
	char words[64];
	const char *want;
};

/* In a child: the watch ends by itself with what it should have seen. */
static int watch_until(void *arg)
{
	const struct until *u = arg;
	int exited;
	char *printed = run(u->feed, u->words, true, &exited);

	return exited != DONE ? 100 + exited : strcmp(in_short(printed), u->want) != 0;
}

static void f7_watch_until_a_seq_that_is_there_comes_or_does_not(void **state)
{
	struct t_feed *feed = *state;
	struct until later = { feed, "--from 3 --until 6 --timeout 60",
			       "4:k=4;5:k=5;6:k=6;" };
	struct until filtered = { feed, "--from 3 --until 6 --key x --timeout 60", "" };
	int pids[2];

	t_feed_start(feed, (struct t_ring){ 0 });
	t_puts(feed, 3);
	watch(feed, "--from 0 --until 3", DONE, "1:k=1;2:k=2;3:k=3;");
	watch(feed, "--from 0 --until 2", DONE, "1:k=1;2:k=2;");
	watch(feed, "--from 3 --until 3", DONE, "");
	watch(feed, "--from 0 --until 4 --timeout 0.05", TIMED_OUT,
	      "1:k=1;2:k=2;3:k=3;");

	pids[0] = t_spawn(watch_until, &later);
	pids[1] = t_spawn(watch_until, &filtered);
	t_put(feed, "k", "4");
	t_put(feed, "k", "5");
	t_put(feed, "k", "6");
	t_put(feed, "k", "7");
	assert_int_equal(t_join(pids[0]), 0);
	assert_int_equal(t_join(pids[1]), 0);
}

static void h1_watch_goes_on_after_a_crash(void **state)
{
	struct t_feed *feed = *state;
	struct until attached = { feed, "--from 0 --until 2 --timeout 60",
				  "1:k=1;2:k=2;" };
	char marker[RINGTAIL_MARKER_SIZE];
	int pid;

	t_feed_start(feed, (struct t_ring){ 0 });
	pid = t_spawn(watch_until, &attached);
	t_put(feed, "k", "1");
	t_feed_marker(feed, marker);
	t_feed_kill(feed);
	watch(feed, from(marker, "--states | head -n 2"), DONE, "caught-up;dead;");
	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "2");
	watch(feed, from(marker, "--count 1"), DONE, "2:k=2;");
	assert_int_equal(t_join(pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(a2_a3_watch_shows_whole_transactions_in_order),
		T_BOTH(b1_b2_watch_begins_after_a_seq_or_now),
		T_BOTH(b3_b4_b5_watch_tells_bad_starts_apart),
		T_BOTH(b6_b7_watch_gives_markers_that_go_on),
		T_BOTH(c1_c3_watch_says_what_is_gone),
		T_BOTH(e1_to_e8_watch_filters),
		T_BOTH(f5_watch_ends_when_the_feed_is_closed),
		T_EMBEDDED(f6_watch_of_no_feed_fails_or_waits),
		T_BOTH(f7_watch_until_a_seq_that_is_there_comes_or_does_not),
		T_KILLABLE(h1_watch_goes_on_after_a_crash),
	};

	(void)t_tool_program(); /* or the program is skipped */
	return cmocka_run_group_tests_name("conformance, ringtail watch", tests, NULL,
					   NULL);
}
