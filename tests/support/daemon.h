/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - a ringtaild of the test's own, in a temporary folder
 *
 * It dies with the test.  Its log goes to a file that is printed when something goes
 * wrong.  Programs that use this need hiredis.
 */
#ifndef RINGTAIL_TESTS_SUPPORT_DAEMON_H
#define RINGTAIL_TESTS_SUPPORT_DAEMON_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

/* How long anything may take on a slow machine; a healthy one needs milliseconds. */
#define T_PATIENCE_MS 30000u

#define T_DAEMON_ARGS 32

struct t_daemon {
	int pid;                         /* 0 when not running */
	char *dir;                       /* --dir */
	char *socket;                    /* --socket */
	char *log;                       /* its stderr, appended at each start */
	const char *args[T_DAEMON_ARGS]; /* further ones, NULL at the end */
};

/* The programs as built; the test is skipped where they are not. */
const char *t_daemon_program(void);
const char *t_tool_program(void);

/*
 * Starts one with further arguments, which end with NULL and are kept, not copied:
 * t_daemon_start(&d, "--feed", "main,size=1M", NULL).  Returns when it accepts
 * connections.  Fails the test if it does not.
 */
void t_daemon_start(struct t_daemon *daemon, ...) __attribute__((sentinel));

/* Again, same folder and arguments. */
void t_daemon_restart(struct t_daemon *daemon);

/* Likewise, and does not wait until it is ready. */
void t_daemon_spawn(struct t_daemon *daemon);

/* As t_daemon_restart(), but its end is expected: returns its exit code. */
int t_daemon_refuses(struct t_daemon *daemon);

/* kill -9, and wait for its end. */
void t_daemon_kill(struct t_daemon *daemon);

/* SIGTERM; returns its exit code, or 1000 + signal. */
int t_daemon_stop(struct t_daemon *daemon);

/* Kills it if it runs, removes the folder.  For teardown. */
void t_daemon_drop(struct t_daemon *daemon);

/* Does its log contain @text? */
bool t_daemon_logged(const struct t_daemon *daemon, const char *text);

/* A connection; fails the test if there is none. */
redisContext *t_daemon_connect(const struct t_daemon *daemon);

/*
 * Sends a command (hiredis format) and compares the reply, written as: OK and other
 * states as they are, errors with '-' in front, integers in decimal, strings as they
 * are, nil as (nil), arrays as [a b c].
 */
void t_reply(redisContext *redis, const char *want, const char *format, ...);

/* The reply as such a text, to be freed. */
char *t_reply_text(const redisReply *reply);

#endif
