/* SPDX-License-Identifier: MIT */
/*
 * cmd_verify.c - read all of a log and its snapshots, and believe nothing in them
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "store/log.h"
#include "store/log_read.h"
#include "store/snapshot.h"
#include "store/state.h"
#include "tools/folder.h"
#include "tools/out.h"
#include "tools/units.h"

static struct rt_out out;

/* What was found; `damage` has the first of it, the rest is only said. */
struct verdict {
	const char *path;
	int dir_fd;
	struct rt_log_report log;
	size_t n_epochs;
	uint64_t epoch; /* the newest; 0: not known */
	uint64_t begin; /* seq at which the log began; 0: not known */
	size_t n_snapshots, n_valid;
	uint64_t newest_snapshot, snapshot_bytes; /* of those that are valid */
	struct rt_fault damage;
};

#define SNAPSHOTS_MAX 64

static void note(struct verdict *v, int error, const struct rt_fault *fault)
{
	const char *text = fault->text[0] ? fault->text : strerror(-error);

	rt_say("%s", text);
	if (!v->damage.text[0])
		rt_fault_set(&v->damage, "%s", text);
}

static bool has_file(const struct verdict *v, const char *name)
{
	return faccessat(v->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void check_epochs(struct verdict *v)
{
	AUTO_FREE struct rt_epoch *epochs = NULL;
	struct rt_fault fault = { "" };
	int r = rt_epochs_read(v->dir_fd, &epochs, &v->n_epochs);

	if (r < 0)
		rt_fault_set(&fault, "%s/epochs: damaged or unreadable", v->path);
	else if (!v->n_epochs && !has_file(v, "epochs"))
		rt_fault_set(&fault,
			     "%s/epochs: missing; the next start begins a new epoch, "
			     "and no marker from before is good any more",
			     v->path);
	else if (!v->n_epochs)
		rt_fault_set(&fault, "%s/epochs: damaged: it has no epoch", v->path);
	else if (v->log.next && epochs[v->n_epochs - 1].first_seq > v->log.next)
		rt_fault_set(&fault,
			     "%s/epochs: damaged: an epoch begins with seq %" PRIu64
			     ", but the log ends with seq %" PRIu64,
			     v->path, epochs[v->n_epochs - 1].first_seq,
			     v->log.next - 1);
	if (fault.text[0])
		note(v, r, &fault);
	if (r < 0 || !v->n_epochs)
		return;
	v->epoch = epochs[v->n_epochs - 1].epoch;
	v->begin = epochs[0].first_seq;
}

static void check_state(struct verdict *v)
{
	struct rt_fault fault = { "" };
	struct rt_floor floor;
	enum rt_stop stop;
	uint64_t next;
	int r = rt_floor_read(v->dir_fd, &floor);

	if (r < 0) {
		rt_fault_set(&fault, "%s/floor: damaged or unreadable", v->path);
		note(v, r, &fault);
	}

	/* A damaged one was found with the segments. */
	if (rt_state_read(v->dir_fd, &stop, &next) < 0 || stop != RT_STOP_NONE)
		return;
	rt_fault_set(&fault,
		     "%s/state: missing; how the log was left is not known, so what "
		     "was lost at its end would not be noticed",
		     v->path);
	note(v, 0, &fault);
}

/* 0; negative with a text: the whole of the file, and whether it belongs here. */
static int check_snapshot(struct verdict *v, uint64_t seq, struct rt_fault *fault)
{
	AUTO_FREE char *what = NULL;
	struct rt_snapshot found;
	char name[32];
	int r;

	rt_snapshot_name(seq, name);
	if (asprintf(&what, "%s/%s", v->path, name) < 0) {
		what = NULL;
		return -ENOMEM;
	}
	r = rt_snapshot_verify(v->dir_fd, name, what, fault, &found);
	if (r < 0)
		return r;
	if (found.header.seq != seq)
		rt_fault_set(fault, "%s: it is as of seq %" PRIu64 ", not of its name",
			     what, found.header.seq);
	else if (v->log.next && seq >= v->log.next)
		rt_fault_set(fault, "%s: the log ends before it, with seq %" PRIu64,
			     what, v->log.next - 1);
	else if (v->epoch &&
		 rt_log_same_history(v->dir_fd, found.header.epoch, seq, v->epoch) < 0)
		rt_fault_set(fault, "%s: its epoch %016" PRIx64 " is not the log's",
			     what, found.header.epoch);
	if (fault->text[0])
		return RINGTAIL_E_CORRUPT;
	v->snapshot_bytes += found.file_size;
	v->newest_snapshot = rt_max(v->newest_snapshot, seq);
	v->n_valid++;
	return 0;
}

/* What a consumer that begins now has to have. */
static void check_rule(struct verdict *v, uint64_t newest_seen)
{
	struct rt_fault fault = { "" };
	uint64_t newest;
	size_t n;

	/* A log from its begin on is the state by itself. */
	if (!v->log.n_segments || v->log.oldest <= v->newest_snapshot + 1 ||
	    (!v->n_snapshots && (!v->begin || v->log.oldest <= v->begin)))
		return;
	/* Or has the log been cut meanwhile, since there is another one now? */
	if (rt_snapshots_list(v->dir_fd, &newest, 1, &n) == 0 && n &&
	    newest > newest_seen)
		return;
	rt_fault_set(&fault,
		     "%s: the state of before seq %" PRIu64
		     ", its oldest event, is missing: there is no valid snapshot that "
		     "the log goes on from; put it back, or give the feed the state of "
		     "a backup with 'ringtail restore'",
		     v->path, v->log.oldest);
	note(v, 0, &fault);
}

static void check_snapshots(struct verdict *v, const uint64_t *seqs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rt_fault fault = { "" };
		int r = check_snapshot(v, seqs[i], &fault);

		if (r == -ENOENT)
			continue; /* removed meanwhile: there is a newer one */
		v->n_snapshots++;
		if (r < 0)
			note(v, r, &fault);
	}
	check_rule(v, n ? seqs[0] : 0);
}

/* Is there a good snapshot above the damage?  Then less has to go. */
static void advise(const struct verdict *v)
{
	struct rt_fault unused;
	uint64_t seq = 0;

	if (!v->n_valid || rt_log_find_before(v->path, &unused, &seq) < 0 || !seq)
		return;
	rt_say("%s: the snapshot of seq %" PRIu64
	       " has the state of that; 'ringtail repair --drop-before=%" PRIu64
	       "' lets go of what is damaged, or 'ringtail trim FEED %" PRIu64
	       "' while the feed is served",
	       v->path, v->newest_snapshot, seq, seq);
}

/* Is it the folder of a log at all? */
static bool is_log(const struct verdict *v, size_t n_snapshots)
{
	return v->log.n_segments || n_snapshots || has_file(v, "epochs") ||
	       has_file(v, "state");
}

static void verify(struct verdict *v)
{
	uint64_t seqs[SNAPSHOTS_MAX];
	struct rt_fault fault = { "" };
	size_t n = 0;
	/* First, so that what is listed is not ahead of the log that is read then. */
	int r = rt_snapshots_list(v->dir_fd, seqs, SNAPSHOTS_MAX, &n);

	if (r < 0)
		note(v, r, &fault);
	r = rt_log_verify(v->path, &fault, &v->log);
	if (r < 0) {
		note(v, r, &fault);
		v->log = (struct rt_log_report){ 0 }; /* it did not get to the end */
	}
	if (!r && !is_log(v, n)) {
		rt_fault_set(&fault,
			     "%s: holds no log: no segment, no snapshot, no epochs",
			     v->path);
		note(v, 0, &fault);
		return;
	}
	if (!r) {
		check_epochs(v);
		check_state(v);
	}
	check_snapshots(v, seqs, n);
	if (r == RINGTAIL_E_CORRUPT)
		advise(v);
}

static void say(const struct verdict *v)
{
	const struct rt_log_report *report = &v->log;

	rt_out_format(&out, "%s\n", v->path);
	if (report->n_events)
		rt_out_format(&out,
			      "  events     %" PRIu64 ", seq %" PRIu64 " to %" PRIu64
			      "\n",
			      report->n_events, report->oldest, report->next - 1);
	else
		rt_out_text(&out, "  events     none\n");
	rt_out_format(&out, "  segments   %zu, %s\n", report->n_segments,
		      rt_size_words(report->n_bytes).text);
	if (v->n_snapshots)
		rt_out_format(&out,
			      "  snapshots  %zu, the newest as of seq %" PRIu64
			      ", %s\n",
			      v->n_snapshots, v->newest_snapshot,
			      rt_size_words(v->snapshot_bytes).text);
	else
		rt_out_text(&out, "  snapshots  none\n");
	rt_out_format(&out, "  epochs     %zu\n", v->n_epochs);
	if (report->cut_bytes)
		rt_out_format(
			&out,
			"  unfinished %s behind the last event: being written, or "
			"cut by the next start\n",
			rt_size_words(report->cut_bytes).text);
	rt_out_text(&out, "  all of it is valid\n");
}

static void say_json(const struct verdict *v)
{
	const struct rt_log_report *report = &v->log;

	rt_out_text(&out, "{");
	rt_out_json_member(&out, "log", v->path, strlen(v->path));
	rt_out_format(&out,
		      ",\"valid\":true,\"events\":%" PRIu64 ",\"oldest\":%" PRIu64
		      ",\"newest\":%" PRIu64,
		      report->n_events, report->oldest,
		      report->next ? report->next - 1 : 0);
	rt_out_format(&out,
		      ",\"segments\":%zu,\"bytes\":%" PRIu64 ",\"unfinished\":%" PRIu64
		      ",\"epochs\":%zu",
		      report->n_segments, report->n_bytes, report->cut_bytes,
		      v->n_epochs);
	rt_out_format(&out,
		      ",\"snapshots\":%zu,\"snapshot_seq\":%" PRIu64
		      ",\"snapshot_bytes\":%" PRIu64 "}\n",
		      v->n_snapshots, v->newest_snapshot, v->snapshot_bytes);
}

static void say_damage(const struct verdict *v)
{
	rt_out_text(&out, "{");
	rt_out_json_member(&out, "log", v->path, strlen(v->path));
	rt_out_text(&out, ",\"valid\":false,");
	rt_out_json_member(&out, "damage", v->damage.text, strlen(v->damage.text));
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
	struct verdict verdict = { .dir_fd = -1 };
	char path[PATH_MAX];
	const char *where;
	bool json = false, valid;
	int code;

	rt_tool_words(tool, OPTION_JSON, &json, &where, 1, 1);
	code = rt_tool_log_folder(tool, where, path);
	if (code)
		return code;
	verdict.path = path;

	AUTO_CLOSE int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0) {
		rt_say("%s: %s", path, strerror(errno));
		return RT_EXIT_FAILED;
	}
	verdict.dir_fd = dir_fd;
	verify(&verdict);
	valid = !verdict.damage.text[0];
	rt_out_init(&out, STDOUT_FILENO);
	if (json && valid)
		say_json(&verdict);
	else if (json)
		say_damage(&verdict);
	else if (valid)
		say(&verdict);
	code = rt_out_flush(&out);
	if (code && code != -EPIPE)
		rt_say("cannot write: %s", strerror(-code));
	return !valid || (code && code != -EPIPE) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_verify = {
	.name = "verify",
	.synopsis = "FEED|DIR",
	.summary = "check all of a log and its snapshots",
	.options = options,
	.notes = "DIR: a folder with segments, or one with such a folder 'log' in it.\n"
		 "Changes nothing; the feed may be in use.  Exit: 0 valid, 1 not\n",
	.run = run,
};
