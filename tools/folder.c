/* SPDX-License-Identifier: MIT */
#include "tools/folder.h"

#include <errno.h>
#include <sys/stat.h>

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int too_long(void)
{
	rt_say("the path is too long");
	return RT_EXIT_FAILED;
}

static int folder_of_feed(struct rt_tool *tool, const char *feed, char ret[PATH_MAX])
{
	const char *dir = rt_tool_dir(tool);
	int n;

	if (!dir)
		return RT_EXIT_FAILED;
	n = snprintf(ret, PATH_MAX, "%s/%s/log", dir, feed);
	if (n < 0 || n >= PATH_MAX)
		return too_long();
	if (is_folder(ret))
		return 0;
	rt_say("feed '%s' has no log at %s; one that is not being served has it in "
	       "the folder of data: give that, as in ./data/%s",
	       feed, ret, feed);
	return RT_EXIT_FAILED;
}

int rt_tool_log_folder(struct rt_tool *tool, const char *where, char ret[PATH_MAX])
{
	int n;

	if (!strchr(where, '/'))
		return folder_of_feed(tool, where, ret);
	n = snprintf(ret, PATH_MAX, "%s/log", where);
	if (n >= 0 && n < PATH_MAX && is_folder(ret))
		return 0;
	n = snprintf(ret, PATH_MAX, "%s", where);
	if (n < 0 || n >= PATH_MAX)
		return too_long();
	if (is_folder(ret))
		return 0;
	rt_say("%s: %s", where, strerror(errno ? errno : ENOTDIR));
	return RT_EXIT_FAILED;
}
