/* SPDX-License-Identifier: MIT */
/*
 * Any bytes in old history, which the newest snapshot stands for: found by the daemon
 * at its start, or soon after it, and not by a reader some day.
 */
#include "tests/support/feed.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define MAIN      "main,size=64K,segment=256K,durability=os"
#define N_PUTS    2000u
#define VALUE_LEN 1000u
#define MAX_FILES 32u

struct rig {
	struct t_daemon daemon;
	char *data;
	char log[256]; /* folder */
	redisContext *redis;
	struct file {
		char path[300];
		uint64_t first_seq;
		off_t size;
	} files[MAX_FILES]; /* segments, oldest first */
	size_t n_files;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->data = t_dir_new();
	(void)snprintf(rig->log, sizeof(rig->log), "%s/main", rig->data);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	if (rig->redis)
		redisFree(rig->redis);
	t_daemon_drop(&rig->daemon);
	t_dir_drop(rig->data);
	free(rig);
	return 0;
}

static void connect_to(struct rig *rig)
{
	rig->redis = t_daemon_connect(&rig->daemon);
}

/* In small batches, so that a segment has many, and entries in its index. */
static void put(struct rig *rig, unsigned from, unsigned n)
{
	char value[VALUE_LEN];
	redisReply *reply;

	memset(value, 'v', sizeof(value));
	for (unsigned i = from; i < from + n; i++) {
		(void)redisAppendCommand(rig->redis, "SET k%u %u%b", i % 100, i, value,
					 sizeof(value));
		if (i % 10 != 9 && i != from + n - 1)
			continue;
		for (unsigned got = i - i % 10; got <= i; got++) {
			if (got < from)
				continue;
			assert_int_equal(redisGetReply(rig->redis, (void **)&reply),
					 REDIS_OK);
			assert_int_equal(reply->type, REDIS_REPLY_STATUS);
			freeReplyObject(reply);
		}
	}
}

/* A tool's exit code; what it says in *@ret, to be freed. */
static int tool(const struct rig *rig, char **ret, const char *words)
{
	return t_sh(ret, "%s --dir %s --socket %s %s", t_tool_program(),
		    rig->daemon.dir, rig->daemon.socket, words);
}

static int by_seq(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void list(struct rig *rig)
{
	DIR *dir = opendir(rig->log);
	struct dirent *entry;

	assert_non_null(dir);
	rig->n_files = 0;
	while ((entry = readdir(dir))) {
		struct file *file = &rig->files[rig->n_files];
		struct stat st;

		if (!strstr(entry->d_name, ".log"))
			continue;
		assert_in_range(rig->n_files, 0, MAX_FILES - 1);
		(void)snprintf(file->path, sizeof(file->path), "%s/%.30s", rig->log,
			       entry->d_name);
		assert_int_equal(stat(file->path, &st), 0);
		file->first_seq = strtoull(entry->d_name, NULL, 10);
		file->size = st.st_size;
		rig->n_files++;
	}
	(void)closedir(dir);
	qsort(rig->files, rig->n_files, sizeof(rig->files[0]), by_seq);
}

/* History of several segments, a snapshot at its end, some events above; then killed.
 */
static void begin_feeds(struct rig *rig, const char *first, const char *second)
{
	char *said = NULL;

	t_daemon_start(&rig->daemon, "--data", rig->data, "--feed", first, "--feed",
		       second, NULL);
	connect_to(rig);
	t_reply(rig->redis, "OK", "SELECT main");
	put(rig, 0, N_PUTS);
	assert_int_equal(tool(rig, &said, "snapshot main"), 0);
	free(said);
	put(rig, N_PUTS, 10);
	redisFree(rig->redis);
	rig->redis = NULL;
	t_daemon_kill(&rig->daemon);
	list(rig);
}

static void begin(struct rig *rig, const char *feed)
{
	begin_feeds(rig, feed, "other");
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in: %s", part, text);
}

/* The same, in many segments. */
static void begin_long(struct rig *rig, const char *feed)
{
	begin(rig, feed);
	assert_in_range(rig->n_files, 6, MAX_FILES);
}

/* The start serves the others, and says of this one: which file, where, what helps. */
static void is_refused_for(struct rig *rig, const char *path, uint64_t whole_from)
{
	char part[64];
	redisReply *reply;

	(void)truncate(rig->daemon.log, 0);
	t_daemon_restart(&rig->daemon);
	connect_to(rig);
	reply = redisCommand(rig->redis, "SELECT main");
	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_ERROR);
	has(reply->str, "feed 'main' is not served");
	has(reply->str, path);
	(void)snprintf(part, sizeof(part), "ringtail repair --drop-before=%" PRIu64 "'",
		       whole_from);
	has(reply->str, part);
	freeReplyObject(reply);
	assert_true(t_daemon_logged(&rig->daemon, path));
	t_reply(rig->redis, "OK", "SELECT other");
	t_reply(rig->redis, "OK", "SET k v");
	redisFree(rig->redis);
	rig->redis = NULL;
	t_daemon_kill(&rig->daemon);
}

static void is_refused(struct rig *rig, size_t at)
{
	is_refused_for(rig, rig->files[at].path, rig->files[at + 1].first_seq);
}

static void is_served(struct rig *rig)
{
	t_daemon_restart(&rig->daemon);
	connect_to(rig);
	t_reply(rig->redis, "100", "DBSIZE");
}

static int open_after(const struct rig *rig, uint64_t seq, struct ringtail **ret)
{
	struct ringtail_options options = t_after(seq);

	options.dir = rig->daemon.dir;
	return ringtail_open("main", &options, ret);
}

/* Reads on; the outcome that is no event, and the newest seq before it. */
static int read_on(struct ringtail *reader, uint64_t *seq)
{
	struct ringtail_event event;
	int outcome;

	while ((outcome = ringtail_next(reader, &event, 0)) == RINGTAIL_EVENT) {
		assert_int_equal(event.seq, *seq + 1);
		*seq = event.seq;
	}
	return outcome;
}

static void i3_damage_below_a_snapshot_is_found_at_the_start(void **state)
{
	struct rig *rig = *state;

	begin_long(rig, MAIN);
	for (size_t i = 0; i + 2 < rig->n_files; i += 3) {
		const struct file *file = &rig->files[i];

		for (off_t at = 4096 + 100; at < file->size; at += 200000) {
			flip(file->path, at);
			is_refused(rig, i);
			flip(file->path, at);
		}
	}
	is_served(rig);
}

static void i3_so_it_is_in_the_segment_of_the_snapshot(void **state)
{
	struct rig *rig = *state;
	char words[300], *said = NULL;
	struct ringtail *reader;
	uint64_t seq;

	begin(rig, "main,size=64K,durability=os");
	assert_int_equal(rig->n_files, 1);
	flip(rig->files[0].path, 4096 + 50000);
	(void)truncate(rig->daemon.log, 0);
	t_daemon_restart(&rig->daemon);
	assert_true(t_daemon_logged(&rig->daemon, "damaged at byte"));
	assert_true(t_daemon_logged(&rig->daemon, "the snapshot of seq 2000 has the "
						  "state"));
	t_daemon_kill(&rig->daemon);
	(void)snprintf(words, sizeof(words), "repair %s --drop-before", rig->log);
	assert_int_equal(tool(rig, &said, words), 0);
	free(said);

	is_served(rig);
	list(rig);
	assert_int_equal(rig->n_files, 1);
	seq = rig->files[0].first_seq - 1;
	assert_in_range(seq, 40, 100);
	t_ok(open_after(rig, seq, &reader));
	t_is(read_on(reader, &seq), RINGTAIL_NOTHING);
	assert_int_equal(seq, N_PUTS + 10);
	put(rig, N_PUTS + 10, 1);
	t_is(read_on(reader, &seq), RINGTAIL_NOTHING);
	assert_int_equal(seq, N_PUTS + 11);
	ringtail_close(reader);
}

/* Not an unfinished write: somebody has seen what is missing. */
static void i3_a_log_that_ends_before_its_snapshot_is_damaged(void **state)
{
	struct rig *rig = *state;
	char words[600], *said = NULL;

	begin(rig, "main,size=64K,durability=os");
	assert_int_equal(truncate(rig->files[0].path, 1000000), 0);
	(void)truncate(rig->daemon.log, 0);
	t_daemon_restart(&rig->daemon);
	assert_true(t_daemon_logged(&rig->daemon, "feed 'main' is not served"));
	assert_true(
		t_daemon_logged(&rig->daemon, "its newest snapshot is of seq 2000"));
	t_daemon_kill(&rig->daemon);
	(void)snprintf(words, sizeof(words), "restore %s %s/%s", rig->log, rig->log,
		       "00000000000000002000.snap");
	assert_int_equal(tool(rig, &said, words), 0);
	free(said);
	is_served(rig);
	put(rig, 2000, 1);
}

static void i3_nothing_newer_is_lost_by_what_helps(void **state)
{
	struct rig *rig = *state;
	struct ringtail *reader = NULL;
	char words[300], marker[RINGTAIL_MARKER_SIZE], *said = NULL;
	redisReply *reply;
	uint64_t seq;

	begin_long(rig, MAIN);
	is_served(rig);
	reply = redisCommand(rig->redis, "RINGTAIL.MARKER");
	(void)snprintf(marker, sizeof(marker), "%s", reply->str);
	freeReplyObject(reply);
	redisFree(rig->redis);
	rig->redis = NULL;
	t_daemon_kill(&rig->daemon);
	flip(rig->files[1].path, 9000);
	is_refused(rig, 1);
	(void)snprintf(words, sizeof(words), "repair %s --drop-before", rig->log);
	assert_int_equal(tool(rig, &said, words), 0);
	has(said, "dropped everything before seq ");
	free(said);

	is_served(rig);
	t_reply(rig->redis, marker, "RINGTAIL.MARKER");
	t_is(open_after(rig, rig->files[2].first_seq - 2, &reader),
	     RINGTAIL_E_COMPACTED);
	seq = rig->files[2].first_seq - 1;
	t_ok(open_after(rig, seq, &reader));
	t_is(read_on(reader, &seq), RINGTAIL_NOTHING);
	assert_int_equal(seq, N_PUTS + 10);
	put(rig, N_PUTS + 10, 1);
	t_is(read_on(reader, &seq), RINGTAIL_NOTHING);
	assert_int_equal(seq, N_PUTS + 11);
	ringtail_close(reader);
}

/* Whatever the size, and though nothing is read of it. */
static void i3_a_segment_that_is_gone_cut_or_another_is_found_at_the_start(void **state)
{
	struct rig *rig = *state;
	char away[310], copy[2 * 4096];
	int fd;

	begin_long(rig, MAIN ",start_check=0");
	for (size_t i = 1; i + 2 < rig->n_files; i += 3) {
		const struct file *file = &rig->files[i];

		(void)snprintf(away, sizeof(away), "%s.away", file->path);
		assert_int_equal(rename(file->path, away), 0);
		is_refused_for(rig, rig->files[i - 1].path,
			       rig->files[i + 1].first_seq);
		assert_int_equal(rename(away, file->path), 0);
	}
	assert_int_equal(truncate(rig->files[2].path, rig->files[2].size - 16), 0);
	is_refused(rig, 2);
	assert_int_equal(truncate(rig->files[2].path, 50), 0);
	is_refused(rig, 2);

	/* That of another place, under its name. */
	fd = open(rig->files[3].path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, copy, sizeof(copy), 0), sizeof(copy));
	(void)close(fd);
	t_write_file(rig->files[2].path, copy, sizeof(copy));
	is_refused(rig, 2);
}

static bool info_says(const struct rig *rig, const char *part)
{
	redisReply *reply = redisCommand(rig->redis, "INFO feeds");
	const char *line = reply ? strstr(reply->str, "name=main,") : NULL;
	const char *found = line ? strstr(line, part) : NULL;
	bool says = found && !memchr(line, '\n', (size_t)(found - line));

	freeReplyObject(reply);
	return says;
}

static bool was_checked(void *rig)
{
	return info_says(rig, "log_check=done");
}

static bool is_forgotten(void *rig)
{
	return info_says(rig, "log_damage=0");
}

static void i3_damage_that_a_start_leaves_is_found_while_it_is_served(void **state)
{
	struct rig *rig = *state;
	struct ringtail *reader = NULL;
	char words[100], *said = NULL;
	uint64_t seq = 0;

	begin_long(rig, MAIN ",start_check=0");
	flip(rig->files[0].path, 9000);
	flip(rig->files[2].path, 9000);
	is_served(rig);
	assert_true(t_within_ms(T_PATIENCE_MS, was_checked, rig));
	assert_true(t_daemon_logged(&rig->daemon, rig->files[0].path));
	assert_true(t_daemon_logged(&rig->daemon, rig->files[2].path));
	assert_true(t_daemon_logged(&rig->daemon, "damaged at byte"));
	(void)snprintf(words, sizeof(words), "trim main %" PRIu64,
		       rig->files[3].first_seq);
	assert_true(t_daemon_logged(&rig->daemon, words));
	assert_true(info_says(rig, "log_damage=2,"));
	assert_int_equal(tool(rig, &said, "info main --json"), 0);
	has(said, "\"log_damage\":2");
	free(said);
	assert_int_equal(tool(rig, &said, "info main"), 0);
	has(said, "log damage    in 2 segments");
	free(said);

	/* What is served is right; who goes back that far is told. */
	put(rig, N_PUTS + 10, 1);
	t_ok(open_after(rig, 0, &reader));
	t_is(read_on(reader, &seq), RINGTAIL_E_CORRUPT);
	has(ringtail_error(reader), "damaged at byte");
	ringtail_close(reader);

	assert_int_equal(tool(rig, &said, words), 0);
	free(said);
	seq = rig->files[3].first_seq - 1;
	t_ok(open_after(rig, seq, &reader));
	t_is(read_on(reader, &seq), RINGTAIL_NOTHING);
	assert_int_equal(seq, N_PUTS + 11);
	ringtail_close(reader);
	assert_true(t_within_ms(T_PATIENCE_MS, is_forgotten, rig));
}

/* Which is not the first to be served because of another's history. */
static void i3_feeds_share_what_a_start_reads(void **state)
{
	struct rig *rig = *state;

	begin_feeds(rig, MAIN ",start_check=3M", "other,start_check=0");
	flip(rig->files[rig->n_files - 3].path, 9000);
	is_refused(rig, rig->n_files - 3);
	flip(rig->files[rig->n_files - 3].path, 9000);

	flip(rig->files[0].path, 9000);
	is_served(rig);
	assert_true(t_within_ms(T_PATIENCE_MS, was_checked, rig));
	assert_true(info_says(rig, "log_damage=1,"));
}

static void i3_what_one_feed_does_not_need_is_for_the_next(void **state)
{
	struct rig *rig = *state;

	begin_feeds(rig, "other,start_check=0", MAIN ",start_check=3M");
	flip(rig->files[0].path, 9000);
	is_refused(rig, 0);
}

static void i3_whole_history_is_not_called_damaged(void **state)
{
	struct rig *rig = *state;

	begin_long(rig, MAIN ",start_check=0");
	for (int i = 0; i < 2; i++) {
		is_served(rig);
		assert_true(t_within_ms(T_PATIENCE_MS, was_checked, rig));
		assert_true(is_forgotten(rig));
		assert_false(t_daemon_logged(&rig->daemon, "damaged at byte"));
		redisFree(rig->redis);
		rig->redis = NULL;
		t_daemon_kill(&rig->daemon);
	}
	is_served(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(i3_damage_below_a_snapshot_is_found_at_the_start),
		T(i3_so_it_is_in_the_segment_of_the_snapshot),
		T(i3_a_log_that_ends_before_its_snapshot_is_damaged),
		T(i3_nothing_newer_is_lost_by_what_helps),
		T(i3_a_segment_that_is_gone_cut_or_another_is_found_at_the_start),
		T(i3_damage_that_a_start_leaves_is_found_while_it_is_served),
		T(i3_feeds_share_what_a_start_reads),
		T(i3_what_one_feed_does_not_need_is_for_the_next),
		T(i3_whole_history_is_not_called_damaged),
	};

	return cmocka_run_group_tests_name("conformance I, old history", tests, NULL,
					   NULL);
}
