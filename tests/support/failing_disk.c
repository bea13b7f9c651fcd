/* SPDX-License-Identifier: MIT */
/*
 * failing_disk.c - to be preloaded: a disk that fails when told to
 *
 * As long as the file $T_FAILING_DISK/pwrite (or fdatasync) exists, that call fails
 * with EIO for files whose path contains what is in it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static bool is_to_fail(const char *call, int fd)
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
	if (is_to_fail("pwrite", fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd, data, len, at);
}

int fdatasync(int fd)
{
	int (*real)(int fd);

	*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	if (is_to_fail("fdatasync", fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd);
}
