/* SPDX-License-Identifier: MIT */
/*
 * cmd_backup.c - the state of a feed in one file, made from its log without the daemon
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "store/build.h"
#include "store/lock.h"
#include "store/log.h"
#include "store/log_read.h"
#include "store/state.h"
#include "tools/folder.h"
#include "tools/out.h"
#include "tools/units.h"

#define BUDGET (UINT64_C(64) << 20) /* memory for what changed since the snapshot */

static struct rt_out out;

/* What is to be saved. */
struct source {
	char log[PATH_MAX];
	char name[RT_NAME_MAX + 8];
	uint64_t epoch;
	uint64_t head;
};

static int failed(const struct rt_fault *fault, int error)
{
	rt_say("no backup: %s",
	       fault->text[0] ? fault->text : ringtail_strerror(error));
	return RT_EXIT_FAILED;
}

/* Of a feed that has a ring: what is visible there is what is saved. */
static int ask_ring(struct rt_tool *tool, const char *feed, struct source *ret)
{
	struct ringtail_options how = RINGTAIL_OPTIONS_INIT;
	struct ringtail_info info = { .size = sizeof(info) };
	AUTO_READER struct ringtail *reader = NULL;
	struct rt_fault none = { "" };
	int r = rt_tool_open(tool, feed, &how, &reader);

	if (r < 0)
		return rt_tool_open_failed(tool, feed, r);
	r = ringtail_get_info(reader, &info);
	if (r < 0)
		return failed(&none, r);
	(void)snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	ret->epoch = info.epoch;
	ret->head = info.head;
	return RT_EXIT_DONE;
}

/* Whose log it is, by its newest segment or snapshot. */
static int read_name(int dir_fd, struct source *ret, struct rt_fault *fault)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	struct rt_log_header header;
	int fd = -1;
	int r = rt_segments_list(dir_fd, &segments);

	if (!r && segments.n) {
		r = rt_segment_open(dir_fd, segments.first_seqs[segments.n - 1],
				    ret->log, fault, &header, &fd);
		if (!r)
			memcpy(ret->name, header.name, sizeof(ret->name));
		rt_close_fd(&fd);
		return r;
	}
	if (!r)
		r = rt_snapshot_newest(dir_fd, ret->log, ret->epoch, UINT64_MAX, fault,
				       &snapshot);
	if (r == 1) {
		memcpy(ret->name, snapshot.header.name, sizeof(ret->name));
		ret->head = snapshot.header.seq;
	} else if (!r) {
		rt_fault_set(fault, "%.400s: holds no log", ret->log);
	}
	return r == 1 ? 0 : r ? r : RINGTAIL_E_CORRUPT;
}

static int read_epoch(int dir_fd, struct source *ret, struct rt_fault *fault)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	size_t n = 0;
	int r = rt_epochs_read(dir_fd, &epochs, &n);

	if (!r && n) {
		ret->epoch = epochs[n - 1].epoch;
		return 0;
	}
	rt_fault_set(fault, "%.400s/epochs: missing, damaged or unreadable", ret->log);
	return r ? r : RINGTAIL_E_CORRUPT;
}

/* Of a log without a ring: all that is in it.  Nobody may be writing it. */
static int ask_log(struct source *ret)
{
	AUTO_CLOSE int dir_fd = open(ret->log, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int lock_fd = -1;
	struct rt_log_report report = { 0 };
	struct rt_fault fault = { "" };
	int r = dir_fd < 0 ? -errno : rt_log_lock(dir_fd, false, 0);

	if (r == RINGTAIL_E_BUSY) {
		rt_say("no backup: %s is being written; give the name of the feed",
		       ret->log);
		return RT_EXIT_FAILED;
	}
	if (r >= 0)
		lock_fd = r;
	r = dir_fd < 0 ? r : rt_log_verify(ret->log, &fault, &report);
	ret->head = report.next ? report.next - 1 : 0;
	if (!r)
		r = read_epoch(dir_fd, ret, &fault);
	if (!r)
		r = read_name(dir_fd, ret, &fault);
	return r < 0 ? failed(&fault, r) : RT_EXIT_DONE;
}

/* The folder of @file, open, and where its name begins. */
static int open_folder(const char *file, const char **ret_name)
{
	const char *slash = strrchr(file, '/');
	char folder[PATH_MAX];
	int n = snprintf(folder, sizeof(folder), "%.*s",
			 slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
	int fd;

	if (n < 0 || (size_t)n >= sizeof(folder))
		return -ENAMETOOLONG;
	*ret_name = slash ? slash + 1 : file;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int say(const struct source *source, const char *file,
	       const struct rt_built *built, bool json)
{
	int r;

	rt_out_init(&out, STDOUT_FILENO);
	if (json) {
		rt_out_text(&out, "{");
		rt_out_json_member(&out, "feed", source->name, strlen(source->name));
		rt_out_text(&out, ",");
		rt_out_json_member(&out, "file", file, strlen(file));
		rt_out_format(&out,
			      ",\"epoch\":\"%016" PRIx64 "\",\"seq\":%" PRIu64
			      ",\"keys\":%" PRIu64 ",\"bytes\":%" PRIu64
			      ",\"file_bytes\":%" PRIu64 "}\n",
			      source->epoch, built->seq, built->n_entries,
			      built->n_bytes, built->file_size);
	} else {
		rt_out_format(&out,
			      "feed '%s' as of seq %" PRIu64 ": %" PRIu64
			      " key%s, %s; %s in ",
			      source->name, built->seq, built->n_entries,
			      built->n_entries == 1 ? "" : "s",
			      rt_size_words(built->n_bytes).text,
			      rt_size_words(built->file_size).text);
		rt_out_text(&out, file);
		rt_out_text(&out, "\n");
	}
	r = rt_out_flush(&out);
	if (!r || r == -EPIPE)
		return RT_EXIT_DONE;
	rt_say("cannot write: %s", strerror(-r));
	return RT_EXIT_FAILED;
}

static int back_up(const struct source *source, const char *file, bool force, bool json)
{
	struct rt_build build = {
		.log_path = source->log,
		.name = source->name,
		.epoch = source->epoch,
		.limit = source->head,
		.budget = BUDGET,
		.file_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.sync = true,
		.keep = !force,
	};
	struct rt_fault fault = { "" };
	struct rt_built built;
	struct stat st;
	int r;

	AUTO_CLOSE int dir_fd = open_folder(file, &build.out_file);

	if (dir_fd < 0) {
		rt_say("no backup: cannot open the folder of %s: %s", file,
		       strerror(-dir_fd));
		return RT_EXIT_FAILED;
	}
	build.out_dir_fd = dir_fd;
	if (fstatat(dir_fd, build.out_file, &st, 0) == 0 && S_ISDIR(st.st_mode)) {
		rt_say("no backup: %s is a folder; name a file in it", file);
		return RT_EXIT_FAILED;
	}
	if (!force && faccessat(dir_fd, build.out_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		r = -EEXIST;
	else
		r = rt_snapshot_build(&build, &fault, &built);
	if (r == -EEXIST && !fault.text[0])
		rt_fault_set(&fault, "%.400s exists; --force replaces it", file);
	return r < 0 ? failed(&fault, r) : say(source, file, &built, json);
}

enum {
	OPTION_FORCE = RT_OPTION_OWN,
	OPTION_JSON,
};

static const struct rt_option options[] = {
	{ OPTION_FORCE, "force", NULL, "replace FILE if it exists" },
	{ OPTION_JSON, "json", NULL, "one JSON object; sizes in bytes" },
	{ 0 },
};

static int run(struct rt_tool *tool)
{
	const char *words[2] = { NULL, NULL };
	struct source source = { .log = "" };
	bool force = false, json = false;
	int n = 0, id, code;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		force |= id == OPTION_FORCE;
		json |= id == OPTION_JSON;
		if (id == RT_ARGS_WORD && n == 2)
			rt_usage(tool, "too many words: '%s'", tool->args.value);
		if (id == RT_ARGS_WORD)
			words[n++] = tool->args.value;
	}
	if (n < 2)
		rt_usage(tool, "too few words: it takes %s", tool->command->synopsis);
	code = rt_tool_log_folder(tool, words[0], source.log);
	if (!code)
		code = strchr(words[0], '/') ? ask_log(&source)
					     : ask_ring(tool, words[0], &source);
	return code ? code : back_up(&source, words[1], force, json);
}

const struct rt_command rt_cmd_backup = {
	.name = "backup",
	.synopsis = "FEED|DIR FILE",
	.summary = "save the state of a feed in one file",
	.options = options,
	.notes = "Asks no daemon: the newest snapshot and the log since are merged.  "
		 "DIR: "
		 "the\nfolder of a log that nobody writes.  'ringtail restore' takes "
		 "FILE\n",
	.run = run,
};
