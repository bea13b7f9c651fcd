/* SPDX-License-Identifier: MIT */
/*
 * tool.h - what the commands of `ringtail` share: exit codes, errors, places
 */
#ifndef RINGTAIL_TOOLS_TOOL_H
#define RINGTAIL_TOOLS_TOOL_H

#include <ringtail.h>

#include "shm/base.h"
#include "tools/args.h"

/* What scripts go by; described in ringtail(1). */
enum rt_exit {
	RT_EXIT_DONE = 0,
	RT_EXIT_FAILED = 1,
	RT_EXIT_USAGE = 2,
	RT_EXIT_GAP = 3,
	RT_EXIT_CLOSED = 4,
	RT_EXIT_TIMEOUT = 5,
};

/* Options of every command; those of a command begin at RT_OPTION_OWN. */
enum rt_common_option {
	RT_OPTION_DIR = 1,
	RT_OPTION_SOCKET,
	RT_OPTION_HELP,
	RT_OPTION_VERSION,
	RT_OPTION_OWN = 16,
};

struct rt_tool {
	const char *dir;    /* --dir; NULL: by the environment */
	const char *socket; /* --socket; NULL: by the environment */
	const struct rt_command *command;
	struct rt_args args;
};

struct rt_command {
	const char *name;
	const char *synopsis; /* the words after the name */
	const char *summary;  /* one line */
	const struct rt_option *options;
	const char *notes; /* after the options in the help; may be NULL */
	int (*run)(struct rt_tool *tool);
};

extern const struct rt_command rt_cmd_ls, rt_cmd_info, rt_cmd_watch, rt_cmd_get,
	rt_cmd_put, rt_cmd_del, rt_cmd_publish, rt_cmd_load, rt_cmd_verify,
	rt_cmd_repair, rt_cmd_dump, rt_cmd_trim, rt_cmd_snapshot, rt_cmd_backup,
	rt_cmd_restore, rt_cmd_reset, rt_cmd_chmod, rt_cmd_chown, rt_cmd_readers;

/*
 * The next word or option of the command, with the common ones dealt with: an id
 * >= RT_OPTION_OWN, RT_ARGS_WORD, or RT_ARGS_END.  Exits after --help, --version
 * and bad usage.
 */
int rt_tool_next(struct rt_tool *tool);

/*
 * All words of a command that has no options but --json (@ret_json may be NULL if it
 * has not even that).  Returns their number, which is within @min .. @max.
 */
int rt_tool_words(struct rt_tool *tool, int json_id, bool *ret_json, const char **words,
		  int min, int max);

/* Prints "ringtail: ..." to stderr. */
__attribute__((format(printf, 1, 2))) void rt_say(const char *format, ...);

/* Likewise, points to --help, and exits. */
__attribute__((format(printf, 2, 3), noreturn)) void rt_usage(struct rt_tool *tool,
							      const char *format, ...);

/* The directory of the feeds, or NULL after a message. */
const char *rt_tool_dir(struct rt_tool *tool);

/* Opens by name, or by path if @feed has a '/'.  As ringtail_open(). */
int rt_tool_open(struct rt_tool *tool, const char *feed,
		 struct ringtail_options *options, struct ringtail **ret);

/* Says why @feed could not be opened, with what to do about it, and gives the exit
 * code. */
int rt_tool_open_failed(struct rt_tool *tool, const char *feed, int error);

static inline void rt_close_reader(struct ringtail **reader)
{
	ringtail_close(*reader);
}
#define AUTO_READER AUTO(rt_close_reader)

#endif
