/* SPDX-License-Identifier: MIT */
#include "tests/support/t.h"

#include "tests/support/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program(const char *variable, const char *name)
{
	const char *path = getenv(variable);
	char reason[128];

	if (path && access(path, X_OK) == 0)
		return path;
	(void)snprintf(reason, sizeof(reason), "%s is not built (%s)", name, variable);
	t_skip_all(reason);
}

const char *t_daemon_program(void)
{
	return program("RINGTAIL_TEST_DAEMON", "ringtaild");
}

const char *t_tool_program(void)
{
	return program("RINGTAIL_TEST_TOOL", "ringtail");
}

/* In the child: never returns. */
static void become_daemon(const struct t_daemon *daemon, const char *path)
{
	const char *argv[T_DAEMON_ARGS + 6] = { path, "--dir", daemon->dir, "--socket",
						daemon->socket };
	int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDONLY);

	if (log < 0 || null < 0)
		_exit(127);
	(void)dup2(null, 0);
	(void)dup2(log, 1);
	(void)dup2(log, 2);
	(void)close_range(3, ~0u, 0);
	for (int i = 0; daemon->args[i]; i++)
		argv[5 + i] = daemon->args[i];
	(void)execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

void t_daemon_spawn(struct t_daemon *daemon)
{
	const char *path = t_daemon_program();
	pid_t parent = getpid();
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		become_daemon(daemon, path);
	}
	daemon->pid = pid;
}

static bool ended(struct t_daemon *daemon, int *ret)
{
	int status = 0;

	if (waitpid(daemon->pid, &status, WNOHANG) != daemon->pid)
		return false;
	*ret = WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
	daemon->pid = 0;
	return true;
}

/*
 * Answers it?  A connection alone proves nothing: the kernel may go on listening for
 * a daemon that was killed, until its io_uring is taken down.
 */
static bool accepts(const struct t_daemon *daemon)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char reply;
	bool answered;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		       daemon->socket);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	answered = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		   send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
		   recv(fd, &reply, 1, 0) == 1;
	(void)close(fd);
	return answered;
}

#define LOG_SHOWN 8192u /* bytes of its end; print_error() would take far less */

static void print_log(const struct t_daemon *daemon)
{
	size_t len = 0;
	char *text = t_read_file(daemon->log, &len);

	(void)fprintf(stderr, "--- end of the log of ringtaild\n%s---\n",
		      !text             ? "(none)\n"
		      : len > LOG_SHOWN ? text + len - LOG_SHOWN
					: text);
	free(text);
}

static void wait_until_ready(struct t_daemon *daemon)
{
	uint64_t end = t_now_ns() + T_PATIENCE_MS * UINT64_C(1000000);
	int code;

	while (!accepts(daemon)) {
		if (ended(daemon, &code)) {
			print_log(daemon);
			fail_msg("ringtaild ended with %d instead of starting", code);
		}
		if (t_now_ns() > end) {
			print_log(daemon);
			fail_msg("ringtaild did not start in time");
		}
		t_sleep_ms(1);
	}
}

void t_daemon_start(struct t_daemon *daemon, ...)
{
	va_list args;
	int n = 0;

	*daemon = (struct t_daemon){ .dir = t_dir_new() };
	daemon->socket = strdup(t_path(daemon->dir, "ringtail.sock"));
	daemon->log = strdup(t_path(daemon->dir, "ringtaild.log"));
	va_start(args, daemon);
	while ((daemon->args[n] = va_arg(args, const char *)))
		assert_true(++n < T_DAEMON_ARGS);
	va_end(args);
	t_daemon_restart(daemon);
}

void t_daemon_restart(struct t_daemon *daemon)
{
	assert_int_equal(daemon->pid, 0);
	t_daemon_spawn(daemon);
	wait_until_ready(daemon);
}

int t_daemon_refuses(struct t_daemon *daemon)
{
	uint64_t end = t_now_ns() + T_PATIENCE_MS * UINT64_C(1000000);
	int code;

	t_daemon_spawn(daemon);
	while (!ended(daemon, &code)) {
		if (t_now_ns() > end)
			fail_msg("ringtaild started, or hangs");
		t_sleep_ms(1);
	}
	return code;
}

void t_daemon_kill(struct t_daemon *daemon)
{
	assert_true(daemon->pid > 0);
	(void)kill(daemon->pid, SIGKILL);
	assert_int_equal(t_join(daemon->pid), 1000 + SIGKILL);
	daemon->pid = 0;
}

int t_daemon_stop(struct t_daemon *daemon)
{
	uint64_t end = t_now_ns() + T_PATIENCE_MS * UINT64_C(1000000);
	int code;

	assert_true(daemon->pid > 0);
	(void)kill(daemon->pid, SIGTERM);
	while (!ended(daemon, &code)) {
		if (t_now_ns() > end) {
			print_log(daemon);
			fail_msg("ringtaild did not end on SIGTERM");
		}
		t_sleep_ms(1);
	}
	return code;
}

void t_daemon_drop(struct t_daemon *daemon)
{
	if (daemon->pid > 0) {
		(void)kill(daemon->pid, SIGKILL);
		(void)t_join(daemon->pid);
	}
	t_dir_drop(daemon->dir);
	free(daemon->socket);
	free(daemon->log);
	*daemon = (struct t_daemon){ .pid = 0 };
}

bool t_daemon_logged(const struct t_daemon *daemon, const char *text)
{
	char *log = t_read_file(daemon->log, NULL);
	bool found = log && strstr(log, text);

	free(log);
	return found;
}

redisContext *t_daemon_connect(const struct t_daemon *daemon)
{
	struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
	redisContext *redis = redisConnectUnixWithTimeout(daemon->socket, patience);

	if (!redis || redis->err) {
		print_log(daemon);
		fail_msg("no connection: %s", redis ? redis->errstr : "no memory");
	}
	(void)redisSetTimeout(redis, patience);
	return redis;
}

static void write_reply(FILE *out, const redisReply *reply)
{
	switch (reply->type) {
	case REDIS_REPLY_ERROR:
		(void)fputc('-', out);
		__attribute__((fallthrough));
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_STRING:
		(void)fwrite(reply->str, 1, reply->len, out);
		break;
	case REDIS_REPLY_INTEGER:
		(void)fprintf(out, "%lld", reply->integer);
		break;
	case REDIS_REPLY_NIL:
		(void)fputs("(nil)", out);
		break;
	default:
		(void)fputc('[', out);
		for (size_t i = 0; i < reply->elements; i++) {
			if (i)
				(void)fputc(' ', out);
			write_reply(out,
				    reply->element[i]); /* NOLINT: as deep as it is */
		}
		(void)fputc(']', out);
	}
}

char *t_reply_text(const redisReply *reply)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort();
	write_reply(out, reply);
	(void)fclose(out);
	return text;
}

void t_reply(redisContext *redis, const char *want, const char *format, ...)
{
	redisReply *reply;
	va_list args;
	char *text;

	va_start(args, format);
	reply = redisvCommand(redis, format, args);
	va_end(args);
	if (!reply)
		fail_msg("%s: %s", format, redis->errstr);
	text = t_reply_text(reply);
	freeReplyObject(reply);
	if (strcmp(text, want) != 0)
		fail_msg("%s: replied %s, not %s", format, text, want);
	free(text);
}
