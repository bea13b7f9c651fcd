/* SPDX-License-Identifier: MIT */
#include "tests/support/t.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *in_words(int code)
{
	if (code >= 0)
		return "no error";
	return code > -4096 ? strerror(-code) : "see enum ringtail_errors";
}

void t_ok_at(int result, const char *call, const char *file, int line)
{
	t_is_at(result, 0, call, file, line);
}

void t_is_at(int result, int want, const char *call, const char *file, int line)
{
	if (result == want)
		return;
	print_error("%s\n  returned %d (%s), not %d (%s)\n", call, result,
		    in_words(result), want, in_words(want));
	_fail(file, line);
}

void t_skip_all(const char *reason)
{
	const char *output = getenv("CMOCKA_MESSAGE_OUTPUT");

	if (output && !strcmp(output, "TAP")) {
		printf("1..0 # SKIP %s\n", reason);
		exit(0);
	}
	printf("skipped: %s\n", reason);
	exit(77);
}

const char *t_source_root(void)
{
	return getenv("RINGTAIL_SOURCE_ROOT");
}

const char *t_build_root(void)
{
	return getenv("RINGTAIL_BUILD_ROOT");
}

char *t_dir_new(void)
{
	const char *parent = getenv("TMPDIR");
	char *dir = NULL;

	if (!parent)
		parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	if (asprintf(&dir, "%s/rt-test-XXXXXX", parent) < 0 || !mkdtemp(dir)) {
		perror("a folder for the test");
		abort();
	}
	return dir;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path); /* what stays is seen in the temporary folder */
	return 0;
}

void t_dir_drop(char *dir)
{
	if (!dir)
		return;
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}

const char *t_path(const char *dir, const char *name)
{
	static char paths[8][4096];
	static unsigned turn;
	char *path = paths[turn++ % T_N(paths)];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

int t_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n - 3; /* ".", ".." and the one just used */
}

int t_spawn(int (*fn)(void *arg), void *arg)
{
	pid_t parent = getpid();
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(255);
	_exit(fn(arg));
}

int t_join(int pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

int t_in_child(int (*fn)(void *arg), void *arg)
{
	int pid = t_spawn(fn, arg);

	return pid < 0 ? -errno : t_join(pid);
}

uint64_t t_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void t_sleep_ms(unsigned ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

bool t_within_ms(unsigned ms, bool (*done)(void *arg), void *arg)
{
	uint64_t end = t_now_ns() + (uint64_t)ms * 1000000u;

	while (!done(arg)) {
		if (t_now_ns() >= end)
			return done(arg);
		t_sleep_ms(1);
	}
	return true;
}

static char *read_all(FILE *file, size_t *ret_len)
{
	char *text = NULL;
	size_t size = 0, len = 0;

	do {
		size = size ? 2 * size : 4096;
		text = realloc(text, size + 1);
		if (!text)
			abort();
		len += fread(text + len, 1, size - len, file);
	} while (len == size);
	text[len] = 0;
	if (ret_len)
		*ret_len = len;
	return text;
}

int t_sh(char **ret, const char *format, ...)
{
	char *command = NULL, *line = NULL, *text;
	va_list args;
	FILE *pipe;
	int status;

	va_start(args, format);
	status = vasprintf(&command, format, args);
	va_end(args);
	if (status < 0 || asprintf(&line, "exec 2>&1 </dev/null\n%s", command) < 0)
		abort();
	pipe = popen(line, "re"); /* NOLINT: commands come from the tests alone */
	free(command);
	free(line);
	if (!pipe)
		return -errno;
	text = read_all(pipe, NULL);
	status = pclose(pipe);
	if (ret)
		*ret = text;
	else
		free(text);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

char *t_read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "re");
	char *text;

	if (!file)
		return NULL;
	text = read_all(file, ret_len);
	(void)fclose(file);
	return text;
}

void t_write_file(const char *path, const void *data, size_t len)
{
	FILE *file = fopen(path, "we");

	if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0) {
		perror(path);
		abort();
	}
}

/* splitmix64 */
uint64_t t_random64(struct t_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t t_random_below(struct t_random *random, uint64_t bound)
{
	return bound ? t_random64(random) % bound : 0;
}
