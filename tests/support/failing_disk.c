/* SPDX-License-Identifier: MIT */
/*
 * failing_disk.c - to be preloaded: a disk that fails when told to
 *
 * As long as the file $T_FAILING_DISK/pwrite (or fdatasync, fsync) exists, that call
 * fails with EIO for files whose path contains what is in it.  As long as hold is
 * there, fdatasync() of such files does not go on; it makes the file held to say so.
 * hold_read is the same for pread().  It is of no kind that anybody knows, so that logs
 * are written by pwrite.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static size_t read_line(const char *path, char *text, size_t cap)
{
	FILE *file = fopen(path, "re");
	size_t n = file ? fread(text, 1, cap - 1, file) : 0;

	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	if (file)
		(void)fclose(file);
	return n;
}

static bool is_meant(const char *call, int fd)
{
	const char *dir = getenv("T_FAILING_DISK");
	char path[4096], part[256], name[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/nonexistent", call);
	if (!read_line(path, part, sizeof(part)))
		return false;
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = 0;
	return strstr(path, part);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
	ssize_t (*real)(int fd, const void *data, size_t len, off_t at);

	*(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
	if (is_meant("pwrite", fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd, data, len, at);
}

int fstatfs64(int fd, struct statfs64 *ret);
int fstatfs64(int fd, struct statfs64 *ret)
{
	int (*real)(int fd, struct statfs64 *ret);
	int r;

	*(void **)&real = dlsym(RTLD_NEXT, "fstatfs64");
	r = real(fd, ret);
	ret->f_type = 0;
	return r;
}

static void hold(const char *fault, int fd)
{
	const char *dir = getenv("T_FAILING_DISK");
	char path[4096];

	while (is_meant(fault, fd)) {
		(void)snprintf(path, sizeof(path), "%s/held", dir);
		(void)close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		(void)usleep(1000);
	}
}

ssize_t pread64(int fd, void *data, size_t len, off_t at);
ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
	ssize_t (*real)(int fd, void *data, size_t len, off_t at);

	*(void **)&real = dlsym(RTLD_NEXT, "pread64");
	hold("hold_read", fd);
	return real(fd, data, len, at);
}

int fdatasync(int fd)
{
	int (*real)(int fd);

	*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	hold("hold", fd);
	if (is_meant("fdatasync", fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd);
}

int fsync(int fd)
{
	int (*real)(int fd);

	*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	if (is_meant("fsync", fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd);
}
