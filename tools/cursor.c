/* SPDX-License-Identifier: MIT */
#include "tools/cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

static ssize_t read_some(const char *path, char *buf, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;

	const ssize_t n = read(fd, buf, size);

	return n < 0 ? -errno : n;
}

int rt_cursor_load(const char *path, char ret[RINGTAIL_MARKER_SIZE],
		   struct rt_fault *fault)
{
	char text[RINGTAIL_MARKER_SIZE + 16];
	ssize_t n = read_some(path, text, sizeof(text) - 1);

	if (n < 0) {
		rt_fault_set(fault, "cannot read cursor file %s: %s", path,
			     strerror((int)-n));
		return (int)n;
	}
	text[n] = '\0';
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
		text[--n] = '\0';
	if (!n)
		return 0;
	if (strlen(text) + 1 != RINGTAIL_MARKER_SIZE ||
	    ringtail_marker_parse(text, NULL, NULL) < 0) {
		rt_fault_set(fault,
			     "cursor file %s holds no marker; remove it to begin where "
			     "--from says",
			     path);
		return RINGTAIL_E_MALFORMED;
	}
	memcpy(ret, text, RINGTAIL_MARKER_SIZE);
	return 1;
}

static int write_new(const char *path, const char *marker)
{
	char line[RINGTAIL_MARKER_SIZE + 1];
	const int len = snprintf(line, sizeof(line), "%s\n", marker);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		return -errno;

	const ssize_t n = write(fd, line, (size_t)len);

	if (n < 0)
		return -errno;
	return n == len ? 0 : -ENOSPC;
}

int rt_cursor_store(const char *path, const char *marker, struct rt_fault *fault)
{
	char beside[PATH_MAX];
	int r = -ENAMETOOLONG;

	if (snprintf(beside, sizeof(beside), "%s.new", path) < (int)sizeof(beside))
		r = write_new(beside, marker);
	if (!r && rename(beside, path) < 0)
		r = -errno;
	if (r < 0)
		rt_fault_set(fault, "cannot write cursor file %s: %s", path,
			     strerror(-r));
	return r;
}
