/* SPDX-License-Identifier: MIT */
/*
 * test_cursor.c - markers in files: whole ones, or the one before
 */
#include "tests/support/t.h"

#include <errno.h>
#include <ringtail.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = t_dir_new();
	return 0;
}

static int teardown(void **state)
{
	t_dir_drop(*state);
	return 0;
}

static const char *marker_of(uint64_t seq)
{
	static char text[RINGTAIL_MARKER_SIZE];

	t_ok(ringtail_marker_format(seq, 77, text));
	return text;
}

static uint64_t seq_in(const char *path)
{
	char text[RINGTAIL_MARKER_SIZE];
	uint64_t seq, epoch;

	t_ok(ringtail_cursor_load(path, text));
	t_ok(ringtail_marker_parse(text, &seq, &epoch));
	assert_int_equal(epoch, 77);
	return seq;
}

static void what_was_stored_is_loaded(void **state)
{
	static const uint32_t flags[] = { 0, RINGTAIL_CURSOR_SYNC };
	const char *path = t_path(*state, "cursor");

	for (uint64_t seq = 1; seq <= 4; seq++) {
		t_ok(ringtail_cursor_store(path, marker_of(seq), flags[seq % 2]));
		assert_int_equal(seq_in(path), seq);
	}
	assert_int_equal(access(t_path(*state, "cursor.new"), F_OK), -1);
}

static void a_file_is_a_line_of_text(void **state)
{
	const char *path = t_path(*state, "cursor");
	size_t len;

	t_ok(ringtail_cursor_store(path, marker_of(9), 0));

	char *text = t_read_file(path, &len);

	assert_int_equal(len, RINGTAIL_MARKER_SIZE);
	assert_int_equal(text[len - 1], '\n');
	text[len - 1] = '\0';
	assert_string_equal(text, marker_of(9));
	free(text);
}

/* Made by an editor, or by echo -n, or on another system. */
static void white_space_behind_it_is_no_matter(void **state)
{
	static const char *const ends[] = { "", "\n", "\r\n", " \n\n" };
	const char *path = t_path(*state, "cursor");

	for (size_t i = 0; i < T_N(ends); i++) {
		char text[80];
		int n = snprintf(text, sizeof(text), "%s%s", marker_of(i), ends[i]);

		t_write_file(path, text, (size_t)n);
		assert_int_equal(seq_in(path), i);
	}
}

static void no_file_is_none(void **state)
{
	char text[RINGTAIL_MARKER_SIZE] = "as it was";

	t_is(ringtail_cursor_load(t_path(*state, "none"), text), -ENOENT);
	assert_string_equal(text, "as it was");
}

static void anything_else_is_malformed_and_named(void **state)
{
	const char *path = t_path(*state, "cursor");
	char bad[8][100];
	size_t len[8];

	for (size_t i = 0; i < T_N(bad); i++)
		len[i] = (size_t)snprintf(bad[i], sizeof(bad[i]), "%s", marker_of(5));
	len[0] = 0;                        /* empty */
	bad[1][3] ^= 1;                    /* a bit flipped */
	len[2]--;                          /* one short */
	bad[3][len[3]++] = '0';            /* one long */
	bad[4][0] = '\0';                  /* a zero byte in front */
	memset(bad[5] + len[5], '\n', 50); /* more than a line */
	len[5] += 50;
	memmove(bad[6] + 1, bad[6], len[6]++); /* not in front */
	bad[6][0] = ' ';
	memset(bad[7] + len[7], 0, 4); /* zeros behind */
	len[7] += 4;
	for (size_t i = 0; i < T_N(bad); i++) {
		char text[RINGTAIL_MARKER_SIZE] = "as it was";

		t_write_file(path, bad[i], len[i]);
		t_is(ringtail_cursor_load(path, text), RINGTAIL_E_MALFORMED);
		assert_string_equal(text, "as it was");
		assert_non_null(strstr(ringtail_error(NULL), path));
	}
}

static void nonsense_is_not_stored(void **state)
{
	const char *path = t_path(*state, "cursor");

	t_ok(ringtail_cursor_store(path, marker_of(3), 0));
	t_is(ringtail_cursor_store(path, "nonsense", 0), RINGTAIL_E_MALFORMED);
	t_is(ringtail_cursor_store(path, "", 0), RINGTAIL_E_MALFORMED);
	t_is(ringtail_cursor_store(path, marker_of(4), 2), -EINVAL);
	assert_int_equal(seq_in(path), 3);
}

static void a_failed_store_leaves_the_old_one(void **state)
{
	const char *path = t_path(*state, "cursor");

	t_ok(ringtail_cursor_store(path, marker_of(3), 0));
	/* The name to write under is taken by a folder. */
	assert_int_equal(mkdir(t_path(*state, "cursor.new"), 0700), 0);
	t_is(ringtail_cursor_store(path, marker_of(4), 0), -EISDIR);
	assert_non_null(strstr(ringtail_error(NULL), path));
	assert_int_equal(seq_in(path), 3);
	t_is(ringtail_cursor_store(t_path(*state, "no/cursor"), marker_of(4), 0),
	     -ENOENT);
}

static void a_path_without_a_slash_is_here(void **state)
{
	char before[4096];

	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(*state), 0);
	t_ok(ringtail_cursor_store("cursor", marker_of(8), RINGTAIL_CURSOR_SYNC));
	assert_int_equal(seq_in("cursor"), 8);
	assert_int_equal(chdir(before), 0);
}

struct job {
	char path[4096];
	uint64_t seq;
};

static int store_for_ever(void *arg)
{
	const struct job *job = arg;

	for (uint64_t seq = job->seq + 1;; seq++) {
		char text[RINGTAIL_MARKER_SIZE];

		(void)ringtail_marker_format(seq, 77, text);
		if (ringtail_cursor_store(job->path, text, 0) < 0)
			return 1;
	}
}

/* Whoever looks, and whoever comes after a kill, finds a whole one, never an older. */
static void a_kill_leaves_a_whole_one(void **state)
{
	struct job job = { .seq = 0 };

	(void)snprintf(job.path, sizeof(job.path), "%s/cursor", (const char *)*state);
	t_ok(ringtail_cursor_store(job.path, marker_of(0), 0));
	/* More, where a child has to wait for its turn longer than it may live. */
	for (unsigned round = 0; round < 20 || (!job.seq && round < 1000); round++) {
		int pid = t_spawn(store_for_ever, &job);
		uint64_t seq = job.seq;

		for (unsigned look = 0; look < 50 * (round + 1); look++) {
			uint64_t now = seq_in(job.path);

			assert_true(now >= seq);
			seq = now;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(t_join(pid), 1000 + SIGKILL);
		job.seq = seq_in(job.path);
		assert_true(job.seq >= seq);
	}
	assert_true(job.seq > 0);
}

static void nothing_stays_open(void **state)
{
	const char *path = t_path(*state, "cursor");
	char text[RINGTAIL_MARKER_SIZE];
	int before = t_count_fds();

	(void)ringtail_cursor_load(path, text);
	(void)ringtail_cursor_store(path, marker_of(1), RINGTAIL_CURSOR_SYNC);
	(void)ringtail_cursor_load(path, text);
	(void)ringtail_cursor_store(path, "nonsense", 0);
	(void)ringtail_cursor_store(t_path(*state, "no/cursor"), marker_of(1), 0);
	assert_int_equal(t_count_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_stored_is_loaded),
		T(a_file_is_a_line_of_text),
		T(white_space_behind_it_is_no_matter),
		T(no_file_is_none),
		T(anything_else_is_malformed_and_named),
		T(nonsense_is_not_stored),
		T(a_failed_store_leaves_the_old_one),
		T(a_path_without_a_slash_is_here),
		T(a_kill_leaves_a_whole_one),
		T(nothing_stays_open),
	};

	return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
