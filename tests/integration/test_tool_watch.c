/* SPDX-License-Identifier: MIT */
/*
 * test_tool_watch.c - `ringtail watch`, `info` and `ls` beside an embedded writer
 */
#include "tests/support/t.h"

#include <fcntl.h>
#include <jansson.h>
#include <ringtail.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 30000u

struct fixture {
	char *dir;
	struct ringtail_writer *writer;
};

static const char *tool;

static int setup(void **state)
{
	static struct fixture f;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;

	f.dir = t_dir_new();
	options.dir = f.dir;
	options.n_slots = 64;
	options.payload_size = 65536;
	t_ok(ringtail_writer_open("feed", &options, &f.writer));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ringtail_writer_close(f->writer);
	t_dir_drop(f->dir);
	return 0;
}

static void put(struct fixture *f, const char *key, const char *value)
{
	t_ok(ringtail_put(f->writer, key, strlen(key), value, strlen(value), 0));
}

static void put_many(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++)
		put(f, "key", "value");
}

/* A transaction of put a, delete b, put c. */
static void three(struct fixture *f)
{
	t_ok(ringtail_begin(f->writer));
	t_ok(ringtail_add(f->writer, RINGTAIL_PUT, "a", 1, "1", 1, RINGTAIL_CREATED));
	t_ok(ringtail_add(f->writer, RINGTAIL_DELETE, "b", 1, NULL, 0, 0));
	t_ok(ringtail_add(f->writer, RINGTAIL_PUT, "c", 1, "3", 1, 0));
	t_ok(ringtail_commit(f->writer));
}

/* Exit code; *@ret is what went to standard output, or to both if @words ask. */
static int run(struct fixture *f, char **ret, const char *words)
{
	return t_sh(ret, "exec '%s' --dir '%s' %s", tool, f->dir, words);
}

static void gives(struct fixture *f, const char *words, int want_code, const char *want)
{
	char *got;
	const int code = run(f, &got, words);

	if (code != want_code || strcmp(got, want) != 0)
		fail_msg("%s: exit %d, printed '%s', not exit %d, '%s'", words, code,
			 got, want_code, want);
	free(got);
}

/* Exit code and a part of what was printed. */
static void says(struct fixture *f, const char *words, int want_code, const char *want)
{
	char *got;
	const int code = run(f, &got, words);

	if (code != want_code || !strstr(got, want))
		fail_msg("%s: exit %d, printed '%s', not exit %d, '%s'", words, code,
			 got, want_code, want);
	free(got);
}

/* The seqs of the JSON lines that were printed, as text: "1 2 3". */
static void seqs(struct fixture *f, const char *words, int want_code, const char *want)
{
	char *got, list[4096] = "";
	const int code = run(f, &got, words);
	size_t len = 0;

	for (char *line = strtok(got, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *object = json_loads(line, 0, NULL);

		if (!object)
			fail_msg("%s: not JSON: %s", words, line);
		len += (size_t)snprintf(
			list + len, sizeof(list) - len, "%s%lld", len ? " " : "",
			json_integer_value(json_object_get(object, "seq")));
		json_decref(object);
	}
	if (code != want_code || strcmp(list, want) != 0)
		fail_msg("%s: exit %d, seqs '%s', not exit %d, '%s'", words, code, list,
			 want_code, want);
	free(got);
}

static char *marker_at(struct fixture *f, uint64_t seq)
{
	static char marker[RINGTAIL_MARKER_SIZE];

	t_ok(ringtail_marker_format(seq, ringtail_writer_epoch(f->writer), marker));
	return marker;
}

static void json_has_what_was_written(void **state)
{
	struct fixture *f = *state;
	char *got;

	three(f);
	t_ok(ringtail_message(f->writer, "\xff", 1, "hi", 2));
	assert_int_equal(run(f, &got, "watch feed --from 0 --json --count 4"), 0);

	json_t *lines[4];
	char *line = strtok(got, "\n");

	for (size_t i = 0; i < 4; i++, line = strtok(NULL, "\n")) {
		assert_non_null(line);
		lines[i] = json_loads(line, 0, NULL);
		assert_non_null(lines[i]);
		assert_int_equal(json_integer_value(json_object_get(lines[i], "seq")),
				 i + 1);
		assert_int_equal(json_integer_value(json_object_get(lines[i], "rev")),
				 i < 3 ? 3 : 4);
		assert_true(json_integer_value(json_object_get(lines[i], "time_ns")) >
			    0);
	}
	assert_null(line);
	assert_true(json_is_true(json_object_get(lines[0], "created")));
	assert_null(json_object_get(lines[0], "marker"));
	assert_null(json_object_get(lines[1], "value"));
	assert_null(json_object_get(lines[1], "created"));
	assert_string_equal(json_string_value(json_object_get(lines[1], "op")),
			    "delete");
	assert_true(json_is_false(json_object_get(lines[2], "created")));
	assert_string_equal(json_string_value(json_object_get(lines[2], "marker")),
			    marker_at(f, 3));
	assert_string_equal(json_string_value(json_object_get(lines[3], "key_b64")),
			    "/w==");
	assert_string_equal(json_string_value(json_object_get(lines[3], "op")),
			    "message");
	assert_string_equal(json_string_value(json_object_get(lines[3], "marker")),
			    marker_at(f, 4));
	for (size_t i = 0; i < 4; i++)
		json_decref(lines[i]);
	free(got);
}

static void every_place_to_start_is_one(void **state)
{
	struct fixture *f = *state;
	char words[200];

	put_many(f, 5);
	seqs(f, "watch feed --json --timeout 0", 5, "");
	seqs(f, "watch feed --json --timeout 0 --from now", 5, "");
	seqs(f, "watch feed --json --timeout 0 --from oldest", 5, "1 2 3 4 5");
	seqs(f, "watch feed --json --timeout 0 --from 0", 5, "1 2 3 4 5");
	seqs(f, "watch feed --json --timeout 0 --from 3", 5, "4 5");
	seqs(f, "watch feed --json --timeout 0 --from 5", 5, "");
	seqs(f, "--socket x watch --json feed --timeout=0 --from=-1h", 5, "1 2 3 4 5");
	seqs(f, "watch feed --json --timeout 0 --from 2101-01-01", 5, "");
	(void)snprintf(words, sizeof(words), "watch feed --json --timeout 0 --from %s",
		       marker_at(f, 2));
	seqs(f, words, 5, "3 4 5");
	(void)snprintf(words, sizeof(words),
		       "watch %s/feed/ring --json --timeout 0 --from 4", f->dir);
	seqs(f, words, 5, "5");
}

static void what_is_no_place_is_an_error(void **state)
{
	struct fixture *f = *state;
	char words[200], marker[RINGTAIL_MARKER_SIZE];

	put_many(f, 5);
	says(f, "watch feed --from 6 2>&1", 1, "future");
	says(f, "watch feed --from 45 2>&1", 1, "future");
	says(f, "watch feed --from 18446744073709551615 2>&1", 1, "future");
	says(f, "watch feed --from '' 2>&1", 1, "malformed marker");
	says(f, "watch feed --from snapshot 2>&1", 1, "snapshot");
	says(f, "watch feed --from 0 --on-gap resync 2>&1", 1, "snapshot");
	says(f, "watch feed --from sometimes 2>&1", 2, "expected now, oldest");
	for (int i = 0; i < RINGTAIL_MARKER_SIZE - 1; i++) {
		memcpy(marker, marker_at(f, 3), sizeof(marker));
		marker[i] = (char)(marker[i] ^ 1 << i % 7);
		if (marker[i] == '\'')
			continue; /* the shell would not pass it on */
		(void)snprintf(words, sizeof(words), "watch feed --from '%s' 2>&1",
			       marker);
		says(f, words, 1, "malformed marker");
	}
	t_ok(ringtail_marker_format(3, ringtail_writer_epoch(f->writer) ^ 1, marker));
	(void)snprintf(words, sizeof(words), "watch feed --from %s 2>&1", marker);
	says(f, words, 1, "epoch");
}

static void bad_words_are_exit_2(void **state)
{
	static const char *const words[] = {
		"",
		"frobnicate",
		"watch",
		"watch feed feed",
		"watch feed --count",
		"watch feed --count -1",
		"watch feed --until x",
		"watch feed --timeout soon",
		"watch feed --op get",
		"watch feed --on-gap panic",
		"watch feed --range b a",
		"watch feed --range a a",
		"watch feed --json=yes",
		"watch feed -j",
		"watch .feed",
		"watch feed --json --raw",
		"get feed key --json --raw",
		"info",
		"ls feed",
		"put feed key",
		"load feed --txn 0",
		"load feed --format xml",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < T_N(words); i++) {
		char line[100];

		(void)snprintf(line, sizeof(line), "%s 2>&1", words[i]);
		says(f, line, 2, "ringtail");
	}
}

static void filters_add_up(void **state)
{
	struct fixture *f = *state;

	put(f, "abc", "");
	put(f, "b/1", "");
	put(f, "c", "");
	put(f, "d", "");
	t_ok(ringtail_delete(f->writer, "abc", 3, 0));
	t_ok(ringtail_message(f->writer, "abc", 3, "", 0));
	seqs(f,
	     "watch feed --json --from 0 --timeout 0 --prefix ab --prefix a --key abc",
	     5, "1 5 6");
	seqs(f, "watch feed --json --from 0 --timeout 0 --prefix b/ --key d", 5, "2 4");
	seqs(f, "watch feed --json --from 0 --timeout 0 --range b d", 5, "2 3");
	seqs(f, "watch feed --json --from 0 --timeout 0 --range c ''", 5, "3 4");
	seqs(f, "watch feed --json --from 0 --timeout 0 --op delete", 5, "5");
	seqs(f, "watch feed --json --from 0 --timeout 0 --op message --op delete", 5,
	     "5 6");
	seqs(f, "watch feed --json --from 0 --timeout 0 --prefix a --op put", 5, "1");
	seqs(f, "watch feed --json --from 0 --timeout 0 --prefix ''", 5, "1 2 3 4 5 6");
}

static void it_ends_where_it_is_told(void **state)
{
	struct fixture *f = *state;

	put_many(f, 4);
	three(f);
	seqs(f, "watch feed --json --from 0 --count 2", 0, "1 2");
	seqs(f, "watch feed --json --from 0 --count 0", 0, "");
	seqs(f, "watch feed --json --from 0 --until 3", 0, "1 2 3");
	seqs(f, "watch feed --json --from 0 --until 5", 0, "1 2 3 4");
	seqs(f, "watch feed --json --from 0 --until 7", 0, "1 2 3 4 5 6 7");
	seqs(f, "watch feed --json --from 3 --until 3", 0, "");
	seqs(f, "watch feed --json --until 3", 0, "");
	seqs(f, "watch feed --json --from 0 --until 4 --prefix nothing", 0, "");
	seqs(f, "watch feed --json --from 0 --until 6 --key c", 0, "");
	seqs(f, "watch feed --json --from 0 --until 8 --timeout 0.05 --key c", 5, "7");
}

/*
 * The tool in a child, its output in a pipe, or nowhere if @ret_out is NULL; returns
 * the pid.
 */
static int spawn(struct fixture *f, FILE **ret_out, char *const *words)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

	const int pid = fork();

	if (!pid) {
		(void)dup2(ret_out ? ends[1] : open("/dev/null", O_WRONLY),
			   STDOUT_FILENO);
		(void)setenv("RINGTAIL_DIR", f->dir, 1);
		(void)execv(tool, words);
		_exit(126);
	}
	assert_true(pid > 0);
	close(ends[1]);
	if (!ret_out) {
		close(ends[0]);
		return pid;
	}
	*ret_out = fdopen(ends[0], "r");
	assert_non_null(*ret_out);
	return pid;
}

struct ended {
	int pid;
	int status;
};

static bool has_ended(void *arg)
{
	struct ended *e = arg;

	return waitpid(e->pid, &e->status, WNOHANG) == e->pid;
}

/* Of a child that ends by itself, or is killed when that takes too long. */
static int exit_code(int pid)
{
	struct ended e = { .pid = pid };

	if (!t_within_ms(PATIENCE_MS, has_ended, &e)) {
		(void)kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &e.status, 0), pid);
	}
	return WIFEXITED(e.status) ? WEXITSTATUS(e.status) : 1000 + WTERMSIG(e.status);
}

static void a_filtered_until_is_reached_while_waiting(void **state)
{
	struct fixture *f = *state;
	char *const words[] = { (char[]){ "ringtail" }, (char[]){ "watch" },
				(char[]){ "feed" },     (char[]){ "--until" },
				(char[]){ "3" },        (char[]){ "--prefix" },
				(char[]){ "other/" },   (char[]){ "--timeout" },
				(char[]){ "1000" },     NULL };

	put(f, "x", "");

	/* The events come when the tool sleeps, and are of a topic that it does not
	 * want. */
	const int pid = spawn(f, NULL, words);

	t_sleep_ms(100);
	put(f, "x", "");
	put(f, "x", "");
	assert_int_equal(exit_code(pid), 0);
}

static void what_is_missing_is_exit_3_or_a_line(void **state)
{
	struct fixture *f = *state;
	struct ringtail_options how = RINGTAIL_OPTIONS_INIT;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *reader;
	char want[300];

	put_many(f, 1000);
	how.dir = f->dir;
	t_ok(ringtail_open("feed", &how, &reader));
	t_ok(ringtail_get_info(reader, &info));
	ringtail_close(reader);

	(void)snprintf(want, sizeof(want), "%llu", (unsigned long long)info.oldest);
	says(f, "watch feed --from 0 2>&1", 3, want);
	says(f, "watch feed --from 0 2>&1", 3, "compacted");
	seqs(f, "watch feed --from 0 --json 2>/dev/null", 3, "");
	(void)snprintf(
		want, sizeof(want),
		"{\"gap\":{\"first\":1,\"count\":%llu,\"cause\":\"compacted\"}}\n",
		(unsigned long long)info.oldest - 1);
	gives(f, "watch feed --from 0 --on-gap skip --json --timeout 0 | head -n 1", 0,
	      want);
	says(f, "watch feed --from 0 --on-gap skip --timeout 0", 5, "-- gap: ");
	(void)snprintf(want, sizeof(want), "watch feed --from %llu --json --count 1",
		       (unsigned long long)info.oldest - 1);

	char first[24];

	(void)snprintf(first, sizeof(first), "%llu", (unsigned long long)info.oldest);
	seqs(f, want, 0, first);
}

static void a_closed_feed_is_drained_first(void **state)
{
	struct fixture *f = *state;

	put_many(f, 3);
	ringtail_writer_close(f->writer);
	f->writer = NULL;
	seqs(f, "watch feed --from 0 --json 2>/dev/null", 4, "1 2 3");
	says(f, "watch feed --from 0 2>&1 >/dev/null", 4, "closed");
	gives(f, "watch feed --from 3 --json --states 2>/dev/null", 4,
	      "{\"state\":\"caught-up\",\"seq\":3}\n{\"state\":\"closed\",\"seq\":3}"
	      "\n");
	seqs(f, "watch feed --from 0 --until 3 --json", 0, "1 2 3");
}

static void a_cursor_goes_on_where_the_last_run_ended(void **state)
{
	struct fixture *f = *state;
	char words[300];

	put_many(f, 3);
	(void)snprintf(words, sizeof(words),
		       "watch feed --json --from oldest --timeout 0 --cursor %s/cursor",
		       f->dir);
	seqs(f, words, 5, "1 2 3");
	seqs(f, words, 5, "");
	put_many(f, 2);
	seqs(f, words, 5, "4 5");

	size_t len;
	char *cursor = t_read_file(t_path(f->dir, "cursor"), &len);

	cursor[strcspn(cursor, "\n")] = '\0';
	assert_string_equal(cursor, marker_at(f, 5));
	free(cursor);
}

static void a_cursor_moves_over_what_a_filter_hides(void **state)
{
	struct fixture *f = *state;
	char words[300];
	size_t len;

	put_many(f, 40);
	(void)snprintf(words, sizeof(words),
		       "watch feed --json --from oldest --key no --timeout 0 --cursor "
		       "%s/cursor",
		       f->dir);
	seqs(f, words, 5, "");

	char *cursor = t_read_file(t_path(f->dir, "cursor"), &len);

	assert_int_equal(strncmp(cursor, marker_at(f, 40), RINGTAIL_MARKER_SIZE - 1),
			 0);
	free(cursor);
}

static void a_cursor_stands_for_whole_transactions(void **state)
{
	struct fixture *f = *state;
	char words[300];

	put_many(f, 1);
	three(f);
	(void)snprintf(words, sizeof(words),
		       "watch feed --json --from oldest --count 3 --cursor %s/cursor",
		       f->dir);
	seqs(f, words, 0, "1 2 3");
	seqs(f, words, 0, "2 3 4");
}

static void a_start_to_come_is_not_caught_up(void **state)
{
	struct fixture *f = *state;

	put_many(f, 5);
	says(f,
	     "watch feed --from 45 --wait-future --states --timeout 0.3 --json | wc -l",
	     0, "0\n");
	says(f, "watch feed --from 5 --wait-future --states --timeout 0.3 --json", 5,
	     "{\"state\":\"caught-up\",\"seq\":5}");
}

static void an_end_before_the_start_is_a_mistake(void **state)
{
	struct fixture *f = *state;

	put_many(f, 5);
	says(f, "watch feed --from 4 --until 3 2>&1", 2, "--until 3 is below --from 4");
}

static void a_bad_cursor_is_named(void **state)
{
	struct fixture *f = *state;
	char words[400];

	put_many(f, 5);
	(void)snprintf(words, sizeof(words), "watch feed --cursor %s/cursor 2>&1",
		       f->dir);
	t_write_file(t_path(f->dir, "cursor"), "nonsense", 8);
	says(f, words, 1, "/cursor holds no marker");
	t_write_file(t_path(f->dir, "cursor"), "", 0);
	says(f, words, 1, "/cursor holds no marker: it is empty");
	(void)snprintf(words, sizeof(words),
		       "watch feed --timeout 0 --cursor %s/no/cursor 2>&1", f->dir);
	says(f, words, 1, "cannot write cursor file");

	/* Before anything is printed, and once. */
	(void)snprintf(words, sizeof(words),
		       "watch feed --from oldest --count 1 --cursor %s/no/cursor 2>&1 |"
		       " wc -l",
		       f->dir);
	says(f, words, 0, "1\n");
	t_ok(mkfifo(t_path(f->dir, "fifo"), 0600));
	(void)snprintf(words, sizeof(words),
		       "watch feed --from oldest --count 1 --cursor %s/fifo 2>&1",
		       f->dir);
	says(f, words, 1, "no regular file");
	says(f, "watch feed --from oldest --count 1 2>&1 >/dev/full | wc -l", 0, "1\n");
}

static void a_signal_ends_it_in_good_order(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct fixture *f = *state;
	char cursor[100], line[400];
	size_t len;

	(void)snprintf(cursor, sizeof(cursor), "%s/cursor", f->dir);
	for (size_t i = 0; i < T_N(signals); i++) {
		char *const words[] = { (char[]){ "ringtail" },
					(char[]){ "watch" },
					(char[]){ "feed" },
					(char[]){ "--from" },
					(char[]){ "0" },
					(char[]){ "--cursor" },
					cursor,
					NULL };
		FILE *out;

		put(f, "key", "value");

		const int pid = spawn(f, &out, words);

		assert_non_null(fgets(line, sizeof(line), out));
		assert_int_equal(kill(pid, signals[i]), 0);
		assert_int_equal(exit_code(pid), 0);
		fclose(out);

		char *text = t_read_file(cursor, &len);

		assert_int_equal(
			strncmp(text, marker_at(f, i + 1), RINGTAIL_MARKER_SIZE - 1),
			0);
		free(text);
	}
}

static void it_notices_that_nobody_reads(void **state)
{
	struct fixture *f = *state;
	char *const words[] = { (char[]){ "ringtail" }, (char[]){ "watch" },
				(char[]){ "feed" },     (char[]){ "--from" },
				(char[]){ "0" },        (char[]){ "--timeout" },
				(char[]){ "1000" },     NULL };
	char line[400];
	FILE *out;

	put(f, "key", "value");

	const int pid = spawn(f, &out, words);

	assert_non_null(fgets(line, sizeof(line), out));
	t_sleep_ms(50); /* it waits now */
	fclose(out);
	assert_int_equal(exit_code(pid), 0); /* though no event comes */
}

static void events_come_at_once(void **state)
{
	struct fixture *f = *state;
	char *const words[] = { (char[]){ "ringtail" }, (char[]){ "watch" },
				(char[]){ "feed" },     (char[]){ "--states" },
				(char[]){ "--json" },   NULL };
	char line[400];
	FILE *out;
	const int pid = spawn(f, &out, words);

	assert_non_null(fgets(line, sizeof(line), out)); /* caught-up */
	for (int i = 0; i < 100; i++) {
		put(f, "key", "value");
		assert_non_null(fgets(line, sizeof(line), out));
		assert_non_null(strstr(line, "\"key\":\"key\""));
	}
	ringtail_writer_close(f->writer);
	f->writer = NULL;
	assert_non_null(fgets(line, sizeof(line), out));
	assert_non_null(strstr(line, "{\"state\":\"closed\""));
	assert_int_equal(exit_code(pid), 4);
	fclose(out);
}

static void it_can_wait_for_the_feed(void **state)
{
	struct fixture *f = *state;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer;
	char *const words[] = { (char[]){ "ringtail" }, (char[]){ "watch" },
				(char[]){ "late" },     (char[]){ "--wait" },
				(char[]){ "30" },       (char[]){ "--from" },
				(char[]){ "0" },        (char[]){ "--count" },
				(char[]){ "1" },        NULL };
	char line[400];
	FILE *out;

	says(f, "watch late 2>&1", 1, "no such feed");
	says(f, "watch late --wait 0.1 2>&1", 5, "no such feed");

	const int pid = spawn(f, &out, words);

	t_sleep_ms(50);
	options.dir = f->dir;
	t_ok(ringtail_writer_open("late", &options, &writer));
	t_ok(ringtail_put(writer, "k", 1, "v", 1, 0));
	assert_non_null(fgets(line, sizeof(line), out));
	assert_int_equal(exit_code(pid), 0);
	fclose(out);
	ringtail_writer_close(writer);
}

static void it_can_wait_for_a_seq(void **state)
{
	struct fixture *f = *state;
	char *const words[] = { (char[]){ "ringtail" },
				(char[]){ "watch" },
				(char[]){ "feed" },
				(char[]){ "--from" },
				(char[]){ "9" },
				(char[]){ "--count" },
				(char[]){ "1" },
				(char[]){ "--json" },
				(char[]){ "--wait-future" },
				NULL };
	char line[400];
	FILE *out;

	put_many(f, 3);

	const int pid = spawn(f, &out, words);

	t_sleep_ms(20);
	put_many(f, 12);
	assert_non_null(fgets(line, sizeof(line), out));
	assert_non_null(strstr(line, "{\"seq\":10,"));
	assert_int_equal(exit_code(pid), 0);
	fclose(out);
}

static void a_floor_above_the_head_is_damage(void **state)
{
	const uint64_t head = 94;
	struct fixture *f = *state;

	put_many(f, 200);
	ringtail_writer_close(f->writer);
	f->writer = NULL;

	const int fd = open(t_path(f->dir, "feed/ring"), O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, &head, sizeof(head), 4096), sizeof(head));
	close(fd);
	says(f, "watch feed --from 0 --on-gap skip --timeout 1 2>&1", 1, "damaged");
	says(f, "watch feed --from 94 --timeout 1 2>&1", 1, "damaged");
	says(f, "info feed 2>&1", 1, "damaged");
}

static void info_says_what_the_feed_is(void **state)
{
	struct fixture *f = *state;
	char *got;

	put_many(f, 5);
	assert_int_equal(run(f, &got, "info feed --json"), 0);

	json_t *info = json_loads(got, 0, NULL);

	assert_non_null(info);
	assert_string_equal(json_string_value(json_object_get(info, "name")), "feed");
	assert_string_equal(json_string_value(json_object_get(info, "state")), "live");
	assert_int_equal(json_integer_value(json_object_get(info, "head")), 5);
	assert_int_equal(json_integer_value(json_object_get(info, "oldest")), 1);
	assert_int_equal(json_integer_value(json_object_get(info, "slots")), 64);
	assert_int_equal(json_integer_value(json_object_get(info, "holds_events")), 60);
	assert_int_equal(json_integer_value(json_object_get(info, "writer_pid")),
			 getpid());
	assert_string_equal(json_string_value(json_object_get(info, "marker")),
			    marker_at(f, 5));
	json_decref(info);
	free(got);
	says(f, "info feed", 0, "live: ");
	says(f, "info no 2>&1", 1, "no such feed");
}

static void ls_shows_broken_rings_too(void **state)
{
	struct fixture *f = *state;

	put_many(f, 5);
	assert_int_equal(t_sh(NULL,
			      "mkdir '%s/bad' '%s/none' && echo x > '%s/bad/ring'",
			      f->dir, f->dir, f->dir),
			 0);
	says(f, "ls --json", 0, "{\"name\":\"bad\",\"error\":\"");
	says(f, "ls --json", 0, "{\"name\":\"feed\",\"state\":\"live\",\"head\":5,");
	says(f, "ls", 0, "bad ");
	says(f, "ls | wc -l", 0, "3\n");
	says(f, "ls --dir /nowhere 2>&1", 1, "cannot list /nowhere");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(json_has_what_was_written),
		T(every_place_to_start_is_one),
		T(what_is_no_place_is_an_error),
		T(bad_words_are_exit_2),
		T(filters_add_up),
		T(it_ends_where_it_is_told),
		T(a_filtered_until_is_reached_while_waiting),
		T(what_is_missing_is_exit_3_or_a_line),
		T(a_closed_feed_is_drained_first),
		T(a_cursor_goes_on_where_the_last_run_ended),
		T(a_cursor_moves_over_what_a_filter_hides),
		T(a_cursor_stands_for_whole_transactions),
		T(a_bad_cursor_is_named),
		T(a_start_to_come_is_not_caught_up),
		T(an_end_before_the_start_is_a_mistake),
		T(a_signal_ends_it_in_good_order),
		T(it_notices_that_nobody_reads),
		T(events_come_at_once),
		T(it_can_wait_for_the_feed),
		T(it_can_wait_for_a_seq),
		T(a_floor_above_the_head_is_damage),
		T(info_says_what_the_feed_is),
		T(ls_shows_broken_rings_too),
	};

	tool = getenv("RINGTAIL_TEST_TOOL");
	if (!tool)
		t_skip_all("the ringtail program is not built");
	return cmocka_run_group_tests_name("tool_watch", tests, NULL, NULL);
}
