/* SPDX-License-Identifier: MIT */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "shm/segment.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static void close_file(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

/* *@ret is NULL when there is no such file. */
static int open_text(int dir_fd, const char *name, FILE **ret)
{
	AUTO_CLOSE int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	*ret = NULL;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	*ret = fdopen(fd, "r");
	if (!*ret)
		return -errno;
	(void)rt_take_fd(&fd);
	return 0;
}

/*
 * All of it, under its name or not at all.  @sync: so after a power cut too; @name_too:
 * and it is the new one then.
 */
static int replace_text(int dir_fd, const char *name, const char *text, size_t len,
			bool sync, bool name_too)
{
	char tmp[64];

	(void)snprintf(tmp, sizeof(tmp), ".%s.new", name);

	AUTO_CLOSE int fd =
		openat(dir_fd, tmp,
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	ssize_t n;

	/* For all readers, whatever the umask: it says nothing but numbers. */
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -ENOSPC;
	if ((sync && fdatasync(fd) < 0) || renameat(dir_fd, tmp, dir_fd, name) < 0 ||
	    (name_too && fsync(dir_fd) < 0))
		return -errno;
	return 0;
}

int rt_epochs_read(int dir_fd, struct rt_epoch **ret, size_t *ret_n)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	AUTO(close_file) FILE *file = NULL;
	uint64_t epoch, first;
	size_t n = 0;
	int r = open_text(dir_fd, "epochs", &file);

	if (r < 0)
		return r;
	epochs = calloc(RT_EPOCHS_MAX, sizeof(*epochs));
	if (!epochs)
		return -ENOMEM;
	while (file &&
	       (r = fscanf(file, "%16" SCNx64 " %" SCNu64, &epoch, &first)) == 2) {
		if (!epoch || n == RT_EPOCHS_MAX ||
		    (n && first <= epochs[n - 1].first_seq))
			return RT_E_CORRUPT;
		epochs[n++] = (struct rt_epoch){ epoch, first };
	}
	if (file && r != EOF)
		return RT_E_CORRUPT;
	*ret = rt_take_ptr(&epochs);
	*ret_n = n;
	return 0;
}

int rt_epochs_write(int dir_fd, const struct rt_epoch *epochs, size_t n)
{
	AUTO_FREE char *text = malloc(n * 40 + 1);
	size_t len = 0;

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "%016" PRIx64 " %" PRIu64 "\n",
				       epochs[i].epoch, epochs[i].first_seq);
	return replace_text(dir_fd, "epochs", text, len, true, true);
}

void rt_boot_id(char ret[RT_BOOT_ID_SIZE])
{
	AUTO(close_file) FILE *file = fopen(BOOT_ID, "re");

	if (!file || fscanf(file, "%36s", ret) != 1)
		(void)strcpy(ret, "unknown");
}

int rt_state_read(int dir_fd, enum rt_stop *ret, uint64_t *ret_next)
{
	char word[16] = "", boot[RT_BOOT_ID_SIZE] = "", now[RT_BOOT_ID_SIZE];
	AUTO(close_file) FILE *file = NULL;
	int r = open_text(dir_fd, "state", &file);

	if (r < 0)
		return r;
	*ret = RT_STOP_NONE;
	*ret_next = 0;
	if (!file)
		return 0;
	if (fscanf(file, "%15s %36s %" SCNu64, word, boot, ret_next) < 2)
		return RT_E_CORRUPT;
	rt_boot_id(now);
	if (strcmp(word, "clean") == 0)
		*ret = RT_STOP_CLEAN;
	else if (strcmp(word, "cut") == 0)
		*ret = RT_STOP_CUT;
	else if (strcmp(word, "open") != 0 && strcmp(word, "synced") != 0)
		return RT_E_CORRUPT;
	else if (strcmp(boot, now) == 0)
		*ret = RT_STOP_CRASH;
	else
		*ret = word[0] == 'o' ? RT_STOP_BOOT : RT_STOP_BOOT_SYNCED;
	return 0;
}

int rt_state_write(int dir_fd, const char *word, uint64_t next)
{
	char boot[RT_BOOT_ID_SIZE], text[96], there[sizeof(text)];
	ssize_t len;
	int n;

	rt_boot_id(boot);
	n = next ? snprintf(text, sizeof(text), "%s %s %" PRIu64 "\n", word, boot, next)
		 : snprintf(text, sizeof(text), "%s %s\n", word, boot);

	/* After a crash it says so already, and the disk may be full. */
	AUTO_CLOSE int fd =
		openat(dir_fd, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	len = fd < 0 ? -1 : read(fd, there, sizeof(there));
	if (len == n && memcmp(there, text, (size_t)n) == 0)
		return fsync(fd) < 0 || fsync(dir_fd) < 0 ? -errno : 0;
	return replace_text(dir_fd, "state", text, (size_t)n, true, true);
}

int rt_floor_read(int dir_fd, struct rt_floor *ret)
{
	AUTO(close_file) FILE *file = NULL;
	struct rt_floor floor = { 0 };
	int r = open_text(dir_fd, "floor", &file);

	if (r < 0)
		return r;
	if (file &&
	    fscanf(file, "%" SCNu64 " %" SCNu64, &floor.trimmed, &floor.aged) != 2)
		return RT_E_CORRUPT;
	*ret = floor;
	return 0;
}

int rt_floor_write(int dir_fd, const struct rt_floor *floor, bool sync, bool name_too)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 "\n",
			 floor->trimmed, floor->aged);

	return replace_text(dir_fd, "floor", text, (size_t)n, sync, name_too);
}
