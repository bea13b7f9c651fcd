/* SPDX-License-Identifier: MIT */
/*
 * Who may read the files of a log.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store/log.h"

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* What readers open that is not for everybody: not the lock, not the lists. */
static bool is_for_readers(const char *name)
{
	static const char *const suffixes[] = { ".log", ".idx", ".snap" };
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < RT_N(suffixes); i++)
		if (!strcmp(dot, suffixes[i]))
			return true;
	return false;
}

static int give(const struct rt_log *log, const char *name, struct rt_fault *fault)
{
	const struct rt_log_config *config = &log->config;
	int r = 0;

	/* The folder is the writer's own: nobody else puts a link there. */
	if ((config->uid != (uid_t)-1 || config->gid != (gid_t)-1) &&
	    fchownat(log->dir_fd, name, config->uid, config->gid, AT_SYMLINK_NOFOLLOW) <
		    0)
		r = -errno;
	else if (fchmodat(log->dir_fd, name, config->file_mode, 0) < 0)
		r = -errno;
	if (r == -ENOENT)
		return 0; /* cut meanwhile */
	if (r < 0)
		rt_fault_set(fault, "%s/%s: cannot change who may read it: %s",
			     log->what, name, strerror(-r));
	return r;
}

int rt_log_give_files(const struct rt_log *log, struct rt_fault *fault)
{
	int fd = openat(log->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int first = 0;

	if (!dir) {
		first = -errno;
		rt_fault_set(fault, "%s: %s", log->what, strerror(-first));
		if (fd >= 0)
			(void)close(fd);
		return first;
	}
	while ((entry = readdir(dir))) {
		int r = is_for_readers(entry->d_name)
				? give(log, entry->d_name, first ? NULL : fault)
				: 0;

		first = first ? first : r;
	}
	return first;
}

int rt_log_set_access(struct rt_log *log, mode_t mode, uid_t uid, gid_t gid,
		      struct rt_fault *fault)
{
	int r, e;

	log->config.file_mode = mode;
	log->config.uid = uid;
	log->config.gid = gid;
	r = rt_log_roll(log, fault);
	e = rt_log_give_files(log, r ? NULL : fault);
	return r ? r : e;
}
