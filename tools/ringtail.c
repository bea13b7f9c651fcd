/* SPDX-License-Identifier: MIT */
/*
 * ringtail - look at, follow and feed the change feeds of this host
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>

#include "tools/tool.h"

static const struct rt_option common_options[] = {
	{ RT_OPTION_DIR, "dir", "DIR", "where the feeds are, else $RINGTAIL_DIR" },
	{ RT_OPTION_SOCKET, "socket", "PATH", "the daemon's, else $RINGTAIL_SOCKET" },
	{ RT_OPTION_HELP, "help", NULL, "print this, or the help of a command" },
	{ RT_OPTION_VERSION, "version", NULL, "print the version" },
	{ 0 },
};

static const struct rt_command *const commands[] = {
	&rt_cmd_ls,     &rt_cmd_info,     &rt_cmd_readers, &rt_cmd_watch,
	&rt_cmd_get,    &rt_cmd_put,      &rt_cmd_del,     &rt_cmd_publish,
	&rt_cmd_load,   &rt_cmd_snapshot, &rt_cmd_trim,    &rt_cmd_verify,
	&rt_cmd_repair, &rt_cmd_dump,     &rt_cmd_backup,  &rt_cmd_restore,
	&rt_cmd_reset,  &rt_cmd_chmod,    &rt_cmd_chown,
};

void rt_say(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void)fputs("ringtail: ", stderr);
	(void)vfprintf(stderr, format, list);
	(void)fputc('\n', stderr);
	va_end(list);
}

void rt_usage(struct rt_tool *tool, const char *format, ...)
{
	const char *name = tool->command ? tool->command->name : "";
	va_list list;

	va_start(list, format);
	(void)fprintf(stderr, "ringtail%s%s: ", *name ? " " : "", name);
	(void)vfprintf(stderr, format, list);
	(void)fprintf(stderr, "\ntry 'ringtail %s%s--help'\n", name, *name ? " " : "");
	va_end(list);
	exit(RT_EXIT_USAGE);
}

static void print_help(FILE *file)
{
	(void)fprintf(file,
		      "usage: ringtail [--dir DIR] [--socket PATH] COMMAND [WORDS AND "
		      "OPTIONS]\n\n"
		      "Look at, follow and feed the change feeds of this host.\n\n");
	for (size_t i = 0; i < RT_N(commands); i++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s %s", commands[i]->name,
			       commands[i]->synopsis);
		(void)fprintf(file, "  %-26s%s\n", left, commands[i]->summary);
	}
	(void)fputc('\n', file);
	rt_args_help(file, common_options);
	(void)fprintf(file, "\n'ringtail COMMAND --help' says more; ringtail(1) says "
			    "everything.\n");
}

static void print_command_help(const struct rt_command *command)
{
	printf("usage: ringtail %s %s%s\n\n", command->name,
	       command->options ? "[OPTIONS] " : "", command->synopsis);
	printf("  %s\n", command->summary);
	if (command->options) {
		printf("\n");
		rt_args_help(stdout, command->options);
	}
	if (command->notes)
		printf("\n%s", command->notes);
}

static void help_and_exit(const struct rt_command *command)
{
	if (command)
		print_command_help(command);
	else
		print_help(stdout);
	exit(fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE);
}

static void version_and_exit(void)
{
	printf("ringtail %s (library %s)\n", RT_VERSION, ringtail_version());
	exit(fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE);
}

int rt_tool_next(struct rt_tool *tool)
{
	for (;;) {
		const int id = rt_args_next(&tool->args);

		if (id == RT_OPTION_DIR)
			tool->dir = tool->args.value;
		else if (id == RT_OPTION_SOCKET)
			tool->socket = tool->args.value;
		else if (id == RT_OPTION_HELP)
			help_and_exit(tool->command);
		else if (id == RT_OPTION_VERSION)
			version_and_exit();
		else if (id == RT_ARGS_BAD)
			rt_usage(tool, "%s", tool->args.fault.text);
		else
			return id;
	}
}

int rt_tool_words(struct rt_tool *tool, int json_id, bool *ret_json, const char **words,
		  int min, int max)
{
	int n = 0, id;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		if (id != RT_ARGS_WORD && id == json_id)
			*ret_json = true;
		else if (n < max)
			words[n++] = tool->args.value;
		else
			rt_usage(tool, "too many words: '%s'", tool->args.value);
	}
	if (n < min)
		rt_usage(tool, "too few words: it takes %s", tool->command->synopsis);
	return n;
}

const char *rt_tool_dir(struct rt_tool *tool)
{
	static char path[4096];
	const char *dir = tool->dir ? tool->dir : getenv("RINGTAIL_DIR");

	if (dir && *dir)
		return dir;
	if (geteuid() == 0)
		return "/dev/shm/ringtail";
	dir = getenv("XDG_RUNTIME_DIR");
	if (!dir || !*dir) {
		rt_say("where are the feeds? neither --dir nor RINGTAIL_DIR nor "
		       "XDG_RUNTIME_DIR says so");
		return NULL;
	}
	(void)snprintf(path, sizeof(path), "%s/ringtail", dir);
	return path;
}

int rt_tool_open(struct rt_tool *tool, const char *feed,
		 struct ringtail_options *options, struct ringtail **ret)
{
	options->dir = tool->dir;
	if (strchr(feed, '/'))
		return ringtail_open_path(feed, options, ret);
	return ringtail_open(feed, options, ret);
}

static const char *open_hint(const struct rt_tool *tool, int error)
{
	if (error == RINGTAIL_E_NO_FEED)
		return "; 'ringtail ls' shows what there is";
	if (error == -EACCES)
		return "; the feed's mode, owner and group say who may read it";
	if (tool->command != &rt_cmd_watch)
		return "";
	if (error == RINGTAIL_E_FUTURE)
		return "; --wait-future waits for it";
	if (error == RINGTAIL_E_COMPACTED)
		return "; --from oldest or --on-gap skip goes on with what is held, "
		       "--on-gap resync with the state";
	return "";
}

/* @text without "@name: " in front, which the message has already. */
static const char *without(const char *text, const char *name)
{
	const size_t len = strlen(name);

	return !strncmp(text, name, len) && !strncmp(text + len, ": ", 2)
		       ? text + len + 2
		       : text;
}

int rt_tool_open_failed(struct rt_tool *tool, const char *feed, int error)
{
	const char *text = ringtail_error(NULL);
	char name[512];

	if (!text || !*text)
		text = ringtail_strerror(error);
	(void)snprintf(name, sizeof(name), strchr(feed, '/') ? "%s" : "feed '%s'",
		       feed);
	rt_say("cannot open %s: %s%s", name, without(text, name),
	       open_hint(tool, error));
	if (error == RINGTAIL_E_COMPACTED)
		return RT_EXIT_GAP;
	return error == -EINVAL ? RT_EXIT_USAGE : RT_EXIT_FAILED;
}

static const struct rt_command *find_command(const char *name)
{
	for (size_t i = 0; i < RT_N(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct rt_tool tool = {
		.args = { .words = argv,
			  .n_words = argc,
			  .at = 1,
			  .common = common_options },
	};

	/* A reader of our output that went away is an error of write(), not a death. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (rt_tool_next(&tool) == RT_ARGS_END) {
		print_help(stderr);
		return RT_EXIT_USAGE;
	}

	const char *name = tool.args.value;

	if (!strcmp(name, "help")) {
		const int id = rt_tool_next(&tool);

		help_and_exit(id == RT_ARGS_WORD ? find_command(tool.args.value)
						 : NULL);
	}
	tool.command = find_command(name);
	if (!tool.command)
		rt_usage(&tool, "there is no command '%s'", name);
	tool.args.options = tool.command->options;
	return tool.command->run(&tool);
}
