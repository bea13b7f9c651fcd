/* SPDX-License-Identifier: MIT */
/*
 * cmd_verify.c - read all of a log and believe nothing in it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "store/log.h"
#include "store/state.h"
#include "tools/folder.h"
#include "tools/out.h"
#include "tools/units.h"

static struct rt_out out;

static int count_epochs(const char *path, size_t *ret, struct rt_fault *fault)
{
	AUTO_CLOSE int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE struct rt_epoch *epochs = NULL;
	int r = dir_fd < 0 ? -errno : rt_epochs_read(dir_fd, &epochs, ret);

	if (r < 0)
		rt_fault_set(fault, "%.400s/epochs: damaged or unreadable", path);
	return r;
}

static void say(const char *path, const struct rt_log_report *report, size_t n_epochs)
{
	rt_out_format(&out, "%s\n", path);
	if (report->n_events)
		rt_out_format(&out,
			      "  events     %" PRIu64 ", seq %" PRIu64 " to %" PRIu64
			      "\n",
			      report->n_events, report->oldest, report->next - 1);
	else
		rt_out_text(&out, "  events     none\n");
	rt_out_format(&out, "  segments   %zu, %s\n", report->n_segments,
		      rt_size_words(report->n_bytes).text);
	rt_out_format(&out, "  epochs     %zu\n", n_epochs);
	if (report->cut_bytes)
		rt_out_format(
			&out,
			"  unfinished %s behind the last event: being written, or "
			"cut by the next start\n",
			rt_size_words(report->cut_bytes).text);
	rt_out_text(&out, "  all of it is valid\n");
}

static void say_json(const char *path, const struct rt_log_report *report,
		     size_t n_epochs)
{
	rt_out_text(&out, "{");
	rt_out_json_member(&out, "log", path, strlen(path));
	rt_out_format(&out,
		      ",\"valid\":true,\"events\":%" PRIu64 ",\"oldest\":%" PRIu64
		      ",\"newest\":%" PRIu64,
		      report->n_events, report->oldest,
		      report->next ? report->next - 1 : 0);
	rt_out_format(&out,
		      ",\"segments\":%zu,\"bytes\":%" PRIu64 ",\"unfinished\":%" PRIu64
		      ",\"epochs\":%zu}\n",
		      report->n_segments, report->n_bytes, report->cut_bytes, n_epochs);
}

static void say_damage(const char *path, const char *text)
{
	rt_out_text(&out, "{");
	rt_out_json_member(&out, "log", path, strlen(path));
	rt_out_text(&out, ",\"valid\":false,");
	rt_out_json_member(&out, "damage", text, strlen(text));
	rt_out_text(&out, "}\n");
}

enum {
	OPTION_JSON = RT_OPTION_OWN,
};

static const struct rt_option options[] = {
	{ OPTION_JSON, "json", NULL, "one JSON object; sizes in bytes" },
	{ 0 },
};

static int run(struct rt_tool *tool)
{
	struct rt_fault fault = { "" };
	struct rt_log_report report = { 0 };
	char path[PATH_MAX];
	const char *where;
	size_t n_epochs = 0;
	bool json = false;
	int r, code;

	rt_tool_words(tool, OPTION_JSON, &json, &where, 1, 1);
	code = rt_tool_log_folder(tool, where, path);
	if (code)
		return code;
	rt_out_init(&out, STDOUT_FILENO);
	r = rt_log_verify(path, &fault, &report);
	if (!r)
		r = count_epochs(path, &n_epochs, &fault);
	if (r < 0) {
		const char *text = fault.text[0] ? fault.text : strerror(-r);

		rt_say("%s", text);
		if (json)
			say_damage(path, text);
	} else if (json) {
		say_json(path, &report, n_epochs);
	} else {
		say(path, &report, n_epochs);
	}
	code = rt_out_flush(&out);
	if (code && code != -EPIPE)
		rt_say("cannot write: %s", strerror(-code));
	return r < 0 || (code && code != -EPIPE) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_verify = {
	.name = "verify",
	.synopsis = "FEED|DIR",
	.summary = "read all of a log and check it",
	.options = options,
	.notes = "DIR: a folder with segments, or one with such a folder 'log' in it.\n"
		 "Changes nothing; the feed may be in use.  Exit: 0 valid, 1 not\n",
	.run = run,
};
