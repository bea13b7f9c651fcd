/* SPDX-License-Identifier: MIT */
/*
 * H5: a consumer that stores its marker with its effects, killed at random, and a
 * daemon that is killed now and then: every effect exactly once.
 */
#include "tests/support/t.h"

#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define ROUNDS 400u

extern char **environ;

static struct t_daemon daemon_;
static char data[256], database[256];
static uint64_t n_events;

static int setup(void **state)
{
	char *dir = t_dir_new();

	*state = dir;
	(void)snprintf(data, sizeof(data), "%s/data", dir);
	(void)snprintf(database, sizeof(database), "%s/effects.db", dir);
	n_events = 0;
	t_daemon_start(&daemon_, "--data", data, "--feed", "main,size=8K,segment=64K",
		       NULL);
	return 0;
}

static int teardown(void **state)
{
	t_daemon_drop(&daemon_);
	t_dir_drop(*state);
	return 0;
}

/* What the event has is known by its seq. */
static void publish(redisContext *redis, struct t_random *random)
{
	uint64_t n = 1 + t_random_below(random, 5);

	t_reply(redis, "OK", "MULTI");
	for (uint64_t i = 0; i < n; i++) {
		n_events++;
		t_reply(redis, "QUEUED", "SET key/%d value/%d", (int)(n_events % 17),
			(int)n_events);
	}
	freeReplyObject(redisCommand(redis, "EXEC"));
}

static pid_t consume(uint64_t last)
{
	char program[4096], dir[4096], end[24];
	char *argv[] = { program, (char[]){ "main" }, database, end, NULL };
	char *env[] = { dir, NULL, NULL };
	pid_t pid;

	(void)snprintf(program, sizeof(program), "%s/examples/exactly_once",
		       t_build_root());
	(void)snprintf(dir, sizeof(dir), "RINGTAIL_DIR=%s", daemon_.dir);
	(void)snprintf(end, sizeof(end), "%" PRIu64, last);
	for (char **e = environ; *e; e++) {
		if (!strncmp(*e, "LD_LIBRARY_PATH=", 16))
			env[1] = *e;
	}
	assert_int_equal(posix_spawn(&pid, program, NULL, NULL, argv, env), 0);
	return pid;
}

static int killed(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int64_t ask(sqlite3 *db, const char *question)
{
	sqlite3_stmt *query = NULL;
	int64_t answer;

	assert_int_equal(sqlite3_prepare_v2(db, question, -1, &query, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(query), SQLITE_ROW);
	answer = sqlite3_column_int64(query, 0);
	sqlite3_finalize(query);
	return answer;
}

static void look_at_effects(void)
{
	const int64_t n = (int64_t)n_events;
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
	assert_int_equal(ask(db, "SELECT count(*) FROM effects"), n);
	assert_int_equal(ask(db, "SELECT count(DISTINCT seq) FROM effects"), n);
	assert_int_equal(ask(db, "SELECT min(seq) FROM effects"), 1);
	assert_int_equal(ask(db, "SELECT max(seq) FROM effects"), n);
	assert_int_equal(ask(db, "SELECT sum(n) FROM counts"), n);
	assert_int_equal(ask(db, "SELECT count(*) FROM effects WHERE "
				 "CAST(value AS TEXT) = 'value/' || seq"),
			 n);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void h5_every_effect_is_there_once(void **state)
{
	struct t_random random = { t_now_ns() };
	redisContext *redis = t_daemon_connect(&daemon_);
	uint64_t seed = random.state;
	unsigned alive = 0;
	int status;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		pid_t pid = consume(UINT64_MAX);
		uint64_t n = t_random_below(&random, 40);

		/* Until it is at it, and then some more. */
		t_sleep_ms((unsigned)t_random_below(&random, 4));
		for (uint64_t i = 0; i < n; i++)
			publish(redis, &random);
		if (round % 50 == 49) {
			t_daemon_kill(&daemon_);
			t_daemon_restart(&daemon_);
			redisFree(redis);
			redis = t_daemon_connect(&daemon_);
		}
		status = killed(pid);
		alive += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	redisFree(redis);
	if (alive != ROUNDS)
		print_error("seed %" PRIu64 ": the consumer ended by itself\n", seed);
	assert_int_equal(alive, ROUNDS);
	assert_int_equal(waitpid(consume(n_events), &status, 0) > 0, 1);
	assert_int_equal(status, 0);
	look_at_effects();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(h5_every_effect_is_there_once),
	};

	return cmocka_run_group_tests_name("h_effects", tests, NULL, NULL);
}
