/* SPDX-License-Identifier: MIT */
/*
 * A marker in a file.  The new one is written beside the old one and renamed over it,
 * so a process that dies at any instruction leaves one of the two.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "client/reader.h"
#include "shm/marker.h"

#define LINE_MAX_LEN 64u /* more than any file with nothing but a marker has */

static bool is_marker(const char *text, size_t len)
{
	uint64_t seq, epoch;

	return rt_marker_parse(text, len, &seq, &epoch) == 0;
}

static int sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	int len = slash ? (int)(slash - path) : 1;

	/* "/cursor" is in "/", and "cursor" in ".". */
	(void)snprintf(folder, sizeof(folder), "%.*s", len ? len : 1,
		       slash ? path : ".");

	AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int write_line(const char *path, const char *marker, bool sync)
{
	char line[RT_MARKER_LEN + 1];
	ssize_t n;

	AUTO_CLOSE int fd =
		open(path,
		     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		     0666);

	if (fd < 0)
		return -errno;
	memcpy(line, marker, RT_MARKER_LEN);
	line[RT_MARKER_LEN] = '\n';
	n = write(fd, line, sizeof(line));
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(line))
		return -ENOSPC;
	return sync && fsync(fd) < 0 ? -errno : 0;
}

static int replace(const char *path, const char *marker, bool sync)
{
	char beside[PATH_MAX];
	int r = snprintf(beside, sizeof(beside), "%s.new", path);

	if (r < 0 || (size_t)r >= sizeof(beside))
		return -ENAMETOOLONG;
	r = write_line(beside, marker, sync);
	if (!r && rename(beside, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(beside); /* the next try would replace it anyway */
	if (!r && sync)
		r = sync_folder_of(path);
	return r;
}

int ringtail_cursor_store(const char *path, const char *marker, uint32_t flags)
{
	int r;

	if (flags & ~RINGTAIL_CURSOR_SYNC)
		return -EINVAL;
	if (!is_marker(marker, strlen(marker))) {
		rt_fault_set(rt_open_fault(), "cursor file %s: not stored: no marker",
			     path);
		return RINGTAIL_E_MALFORMED;
	}
	r = replace(path, marker, flags & RINGTAIL_CURSOR_SYNC);
	if (r < 0)
		rt_fault_set(rt_open_fault(), "cannot write cursor file %s: %s", path,
			     strerror(-r));
	return r;
}

static ssize_t read_line(const char *path, char *text, size_t size)
{
	/* Who gives us a pipe gets an error, not a wait for its writer. */
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size);

	return n < 0 ? -errno : n;
}

int ringtail_cursor_load(const char *path, char ret[RINGTAIL_MARKER_SIZE])
{
	char text[LINE_MAX_LEN];
	ssize_t n = read_line(path, text, sizeof(text));
	size_t len = n < 0 ? 0 : (size_t)n;

	if (n < 0) {
		rt_fault_set(rt_open_fault(), "cannot read cursor file %s: %s", path,
			     strerror((int)-n));
		return (int)n;
	}
	while (len && strchr(" \r\n", text[len - 1]) && text[len - 1])
		len--;
	if (n == sizeof(text) || !is_marker(text, len)) {
		rt_fault_set(rt_open_fault(),
			     "cursor file %s holds no marker%s; remove it to begin "
			     "without one",
			     path, n ? "" : ": it is empty");
		return RINGTAIL_E_MALFORMED;
	}
	memcpy(ret, text, RT_MARKER_LEN);
	ret[RT_MARKER_LEN] = '\0';
	return 0;
}
