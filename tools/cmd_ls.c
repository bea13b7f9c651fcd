/* SPDX-License-Identifier: MIT */
/*
 * cmd_ls.c - the feeds of a directory, the broken ones too
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "tools/out.h"
#include "tools/print.h"
#include "tools/tool.h"
#include "tools/units.h"

static struct rt_out out;

enum {
	OPTION_JSON = RT_OPTION_OWN,
};

static const struct rt_option options[] = {
	{ OPTION_JSON, "json", NULL, "one JSON object a line for each feed" },
	{ 0 },
};

/* 0 and the facts, or a negative error with the library's text. */
static int look(const char *dir, const char *name, struct ringtail_info *ret,
		const char **ret_text)
{
	struct ringtail_options how = RINGTAIL_OPTIONS_INIT;
	AUTO_READER struct ringtail *reader = NULL;
	int r;

	how.dir = dir;
	r = ringtail_open(name, &how, &reader);
	if (r < 0) {
		const char *text = ringtail_error(NULL);

		*ret_text = text && *text ? text : ringtail_strerror(r);
		return r;
	}
	r = ringtail_get_info(reader, ret);
	if (r < 0)
		*ret_text = ringtail_strerror(r);
	return r;
}

static void say_json(const char *name, const struct ringtail_info *info,
		     const char *text)
{
	rt_out_text(&out, "{");
	rt_out_json_member(&out, "name", name, strlen(name));
	if (text) {
		rt_out_text(&out, ",\"error\":");
		rt_out_json_string(&out, text, strlen(text));
	} else {
		rt_out_format(&out,
			      ",\"state\":\"%s\",\"head\":%" PRIu64
			      ",\"oldest\":%" PRIu64 ",\"held\":%" PRIu64
			      ",\"head_time_ns\":%" PRIu64 ",\"file_size\":%" PRIu64,
			      rt_state_name(info->state), info->head, info->oldest,
			      info->head + 1 - info->oldest, info->head_time_ns,
			      info->file_size);
	}
	rt_out_text(&out, "}\n");
}

static void say(const char *name, const struct ringtail_info *info, const char *text)
{
	struct timespec now;

	rt_out_escaped(&out, name, strlen(name));
	rt_out_format(&out, "%*s ", (int)(strlen(name) < 24 ? 24 - strlen(name) : 0),
		      "");
	if (text) {
		rt_out_text(&out, "error    ");
		rt_out_escaped(&out, text, strlen(text));
		rt_out_text(&out, "\n");
		return;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */

	const uint64_t now_ns =
		(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	const uint64_t age =
		now_ns > info->head_time_ns ? now_ns - info->head_time_ns : 0;

	rt_out_format(&out, "%-8s %12" PRIu64 " %12" PRIu64 " %10s  %s\n",
		      rt_state_name(info->state), info->head,
		      info->head + 1 - info->oldest,
		      rt_size_words(info->file_size).text,
		      info->head ? rt_span_words(age).text : "-");
}

/* What may not be looked at is shown too, with that as its error. */
static bool has_ring(int dir_fd, const char *name)
{
	char path[300];

	if (snprintf(path, sizeof(path), "%s/ring", name) >= (int)sizeof(path))
		return false;
	return !faccessat(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) || errno == EACCES;
}

static int list(const char *dir, bool json)
{
	struct dirent **entries;
	const int n = scandir(dir, &entries, NULL, alphasort);
	AUTO_CLOSE int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int shown = 0;

	if (n < 0) {
		rt_say("cannot list %s: %s%s", dir, strerror(errno),
		       errno == ENOENT ? "; has ringtaild run? (--dir says where)"
				       : "");
		return -1;
	}
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		struct ringtail_info info = { .size = sizeof(info) };
		const char *text = NULL;

		if (name[0] != '.' && dir_fd >= 0 && has_ring(dir_fd, name)) {
			(void)look(dir, name, &info, &text); /* @text says it */
			if (!shown++ && !json)
				rt_out_format(&out, "%-24s %-8s %12s %12s %10s  %s\n",
					      "FEED", "STATE", "HEAD", "HELD", "SIZE",
					      "NEWEST");
			(json ? say_json : say)(name, &info, text);
		}
		free(entries[i]);
	}
	free(entries);
	return shown;
}

static int run(struct rt_tool *tool)
{
	const char *word;
	bool json = false;

	rt_tool_words(tool, OPTION_JSON, &json, &word, 0, 0);

	const char *dir = rt_tool_dir(tool);

	rt_out_init(&out, STDOUT_FILENO);

	const int n = dir ? list(dir, json) : -1;

	if (n < 0)
		return RT_EXIT_FAILED;
	if (!n && !json)
		rt_say("no feeds in %s", dir);

	const int r = rt_out_flush(&out);

	if (!r || r == -EPIPE)
		return RT_EXIT_DONE;
	rt_say("cannot write: %s", strerror(-r));
	return RT_EXIT_FAILED;
}

const struct rt_command rt_cmd_ls = {
	.name = "ls",
	.synopsis = "",
	.summary = "list the feeds",
	.options = options,
	.run = run,
};
