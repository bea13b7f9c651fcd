/* SPDX-License-Identifier: MIT */
/*
 * folder.h - where the log of a feed is, for commands that look at it without a daemon
 */
#ifndef RINGTAIL_TOOLS_FOLDER_H
#define RINGTAIL_TOOLS_FOLDER_H

#include <limits.h>

#include "tools/tool.h"

/*
 * @where: the name of a feed; or, with a '/' in it, a folder with segments, or one in
 * which there is such a folder named log.  0, or an exit code after a message.
 */
int rt_tool_log_folder(struct rt_tool *tool, const char *where, char ret[PATH_MAX]);

#endif
