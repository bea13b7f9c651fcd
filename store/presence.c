/* SPDX-License-Identifier: MIT */
#include "store/presence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"

#define TRIES 5 /* of reading a record that is just being written */

/*
 * ---- Records ----
 */

bool rt_presence_name_valid(const char *name)
{
	size_t len = strnlen(name, RT_PRESENCE_NAME + 1);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	return len && len <= RT_PRESENCE_NAME;
}

static uint64_t sum_of(const struct rt_presence_record *record)
{
	return XXH64(record, offsetof(struct rt_presence_record, check),
		     RT_PRESENCE_MAGIC);
}

void rt_presence_seal(struct rt_presence_record *record)
{
	record->magic = RT_PRESENCE_MAGIC;
	record->format = RT_PRESENCE_FORMAT;
	record->size = sizeof(*record);
	record->check = sum_of(record);
}

int rt_presence_parse(const void *bytes, size_t len, struct rt_presence_record *ret)
{
	struct rt_presence_record record;

	if (len != sizeof(record))
		return RT_E_CORRUPT;
	memcpy(&record, bytes, sizeof(record));
	if (record.magic != RT_PRESENCE_MAGIC || record.check != sum_of(&record))
		return RT_E_CORRUPT;
	if (record.format != RT_PRESENCE_FORMAT || record.size != sizeof(record))
		return RT_E_VERSION;
	if (record.name[RT_PRESENCE_NAME] || record.boot[sizeof(record.boot) - 1] ||
	    !rt_presence_name_valid(record.name) ||
	    record.state < RT_PRESENCE_RUNNING || record.state > RT_PRESENCE_ENDED)
		return RT_E_CORRUPT;
	*ret = record;
	return 0;
}

/*
 * ---- Files ----
 */

static bool take_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

int rt_presence_make(int dir_fd, struct rt_presence_record *record, char ret_name[40])
{
	AUTO_CLOSE int fd = -1;
	int r = 0;

	(void)snprintf(ret_name, 40, "%u-%016llx", record->pid,
		       (unsigned long long)rt_random64());
	fd = openat(dir_fd, ret_name,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	rt_presence_seal(record);
	/* The umask may have taken from the mode what tools of others need. */
	if (!take_lock(fd) || fchmod(fd, 0644) < 0)
		r = -errno;
	else if (pwrite(fd, record, sizeof(*record), 0) != sizeof(*record))
		r = errno ? -errno : -EIO;
	if (r < 0) {
		(void)unlinkat(dir_fd, ret_name, 0);
		return r;
	}
	return rt_take_fd(&fd);
}

/* Opened so that no kind of file can hold us up. */
static int open_entry(int dir_fd, const char *name, struct stat *st)
{
	AUTO_CLOSE int fd =
		openat(dir_fd, name,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return errno == ELOOP ? RT_E_CORRUPT : -errno;
	if (fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? rt_take_fd(&fd) : RT_E_CORRUPT;
}

/* Does somebody hold it for writing?  A lock for reading, which anybody may put on
 * it, says nothing. */
static bool is_locked(int fd)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}

int rt_presence_look(int dir_fd, const char *name, struct rt_presence *ret)
{
	struct rt_presence made = { .alive = false };
	uint8_t bytes[sizeof(made.record) + 1];
	struct stat st = { 0 };
	AUTO_CLOSE int fd = open_entry(dir_fd, name, &st);
	int r = RT_E_CORRUPT;

	if (fd < 0)
		return fd;
	if (st.st_size != (off_t)sizeof(made.record))
		return RT_E_CORRUPT;
	for (unsigned i = 0; i < TRIES && r < 0; i++) {
		ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

		r = n < 0 ? -errno : rt_presence_parse(bytes, (size_t)n, &made.record);
	}
	if (r < 0)
		return r;
	made.uid = st.st_uid;
	made.alive = is_locked(fd);
	*ret = made;
	return 0;
}

static bool is_young(const struct stat *st)
{
	uint64_t now = rt_now_ns(CLOCK_REALTIME) / 1000000000u;
	uint64_t made = (uint64_t)st->st_mtim.tv_sec;

	return now < made + RT_PRESENCE_GRACE;
}

bool rt_presence_is_stale(int dir_fd, const char *name)
{
	struct stat st = { 0 };
	AUTO_CLOSE int fd = open_entry(dir_fd, name, &st);

	return fd >= 0 && !is_young(&st) && !is_locked(fd);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

unsigned rt_presence_sweep(int feed_fd, unsigned max)
{
	int fd = openat(feed_fd, RT_PRESENCE_FOLDER,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	unsigned n = 0;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return 0;
	}
	while (max-- && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    rt_presence_is_stale(fd, entry->d_name) &&
		    unlinkat(fd, entry->d_name, 0) == 0)
			n++;
	return n;
}
