/* SPDX-License-Identifier: MIT */
/*
 * cmd_repair.c - give up what follows an event, or what is before one, so that a
 *                damaged log is one again
 */
#include <inttypes.h>

#include "store/log.h"
#include "store/log_read.h"
#include "store/snapshot.h"
#include "tools/folder.h"

static const char *text_of(const struct rt_fault *fault, int error)
{
	return fault->text[0] ? fault->text : ringtail_strerror(error);
}

static int count_segments(const char *path, size_t *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	int r = rt_log_reader_open(path, NULL, &reader);

	if (!r)
		r = rt_segments_list(reader.dir_fd, &segments);
	*ret = segments.n;
	return r;
}

/* How far behind @seq events can be read. */
static uint64_t last_readable(const char *path, uint64_t seq)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	const uint8_t *data;

	if (rt_log_reader_open(path, NULL, &reader) < 0 ||
	    rt_log_reader_seek(&reader, seq + 1, NULL) < 0)
		return seq;
	while (rt_log_reader_next(&reader, UINT64_MAX, NULL, &data) == 1)
		;
	return rt_max(seq, reader.next - 1);
}

/* Of what the log may not even have. */
static bool has_snapshot_after(const char *path, uint64_t seq)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	uint64_t newest = 0;
	size_t n = 0;

	return rt_log_reader_open(path, NULL, &reader) == 0 &&
	       rt_snapshots_list(reader.dir_fd, &newest, 1, &n) == 0 && n &&
	       newest > seq;
}

/* Is there something to drop?  GO_ON, or an exit code after a message. */
#define GO_ON (-1)

static int look(const char *path, uint64_t seq)
{
	struct rt_fault fault = { "" };
	struct rt_log_report report = { 0 };
	int r = rt_log_verify(path, &fault, &report);

	if (r < 0) {
		rt_say("%s", text_of(&fault, r));
		return GO_ON; /* which is what this command is for */
	}
	if (seq + 1 > report.next) {
		rt_say("%s: seq %" PRIu64
		       " is not there: the log ends with seq %" PRIu64,
		       path, seq, report.next ? report.next - 1 : 0);
		return RT_EXIT_FAILED;
	}
	if (seq + 1 == report.next && !has_snapshot_after(path, seq)) {
		printf("nothing follows seq %" PRIu64 "; nothing was changed\n", seq);
		return RT_EXIT_DONE;
	}
	return GO_ON;
}

static int repair(const char *path, uint64_t seq)
{
	uint64_t last = last_readable(path, seq);
	struct rt_fault fault = { "" };
	size_t before = 0, after = 0;
	int r = count_segments(path, &before);

	if (!r)
		r = rt_log_repair(path, seq, &fault);
	if (r < 0) {
		rt_say("not repaired: %s", text_of(&fault, r));
		return RT_EXIT_FAILED;
	}
	(void)count_segments(path, &after);
	printf("dropped everything after seq %" PRIu64, seq);
	if (last > seq)
		printf(": seq %" PRIu64 " to %" PRIu64 ", and what could not be read",
		       seq + 1, last);
	else
		printf(": nothing of it could be read");
	printf("; %zu of %zu segments went\n", before - after, before);
	printf("the next start begins a new epoch: markers up to seq %" PRIu64
	       " stay good\n",
	       seq);
	return RT_EXIT_DONE;
}

/*
 * ---- From the other end ----
 */

static uint64_t oldest_of(const char *path)
{
	struct rt_segments segments = { 0 };
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	uint64_t seq = 0;

	if (!rt_log_reader_open(path, NULL, &reader) &&
	    !rt_segments_list(reader.dir_fd, &segments) && segments.n)
		seq = segments.first_seqs[0];
	rt_segments_fini(&segments);
	return seq;
}

/* What has to go, if it was not said.  GO_ON, or an exit code after a message. */
static int find_before(const char *path, uint64_t *ret)
{
	struct rt_fault fault = { "" };
	int r = rt_log_find_before(path, &fault, ret);

	if (r < 0) {
		rt_say("not repaired: %s", text_of(&fault, r));
		return RT_EXIT_FAILED;
	}
	if (*ret) {
		rt_say("%s", fault.text);
		return GO_ON;
	}
	printf("nothing that a good snapshot has the state of is damaged; nothing was "
	       "changed\n");
	return RT_EXIT_DONE;
}

static int repair_before(const char *path, bool given, uint64_t seq)
{
	struct rt_fault fault = { "" };
	size_t before = 0, after = 0;
	int r, code = given ? GO_ON : find_before(path, &seq);

	if (code != GO_ON)
		return code;
	if (seq <= oldest_of(path)) {
		printf("nothing is before seq %" PRIu64 "; nothing was changed\n", seq);
		return RT_EXIT_DONE;
	}
	r = count_segments(path, &before);
	if (!r)
		r = rt_log_drop_before(path, seq, &fault);
	if (r < 0) {
		rt_say("not repaired: %s", text_of(&fault, r));
		return RT_EXIT_FAILED;
	}
	(void)count_segments(path, &after);
	printf("dropped everything before seq %" PRIu64 "; %zu of %zu segments went\n",
	       seq, before - after, before);
	printf("the state and the epoch stay: markers from seq %" PRIu64
	       " on stay good\n",
	       seq - 1);
	return RT_EXIT_DONE;
}

enum {
	OPTION_DROP_AFTER = RT_OPTION_OWN,
	OPTION_DROP_BEFORE,
};

static const struct rt_option options[] = {
	{ OPTION_DROP_AFTER, "drop-after", "SEQ", "the last event to keep" },
	{ OPTION_DROP_BEFORE, "drop-before", "[=SEQ]",
	  "the first event to keep, if a snapshot has the state\n"
	  "of before; without SEQ as little goes as will do" },
	{ 0 },
};

static int run(struct rt_tool *tool)
{
	const char *where = NULL;
	char path[PATH_MAX];
	uint64_t seq = 0;
	bool given = false;
	int id, way = 0, code;

	while ((id = rt_tool_next(tool)) != RT_ARGS_END) {
		const char *value = tool->args.value;

		if (id == OPTION_DROP_AFTER || id == OPTION_DROP_BEFORE) {
			if (way)
				rt_usage(tool, "it drops from one end at a time");
			way = id;
			given = value;
			if (given && rt_parse_u64(value, &seq) < 0)
				rt_usage(tool, "--drop-%s takes a seq, not '%s'",
					 way == OPTION_DROP_AFTER ? "after" : "before",
					 value);
		} else if (!where) {
			where = value;
		} else {
			rt_usage(tool, "too many words: '%s'", value);
		}
	}
	if (!where || !way)
		rt_usage(tool, "it takes FEED or DIR, and --drop-after SEQ or "
			       "--drop-before[=SEQ]");
	code = rt_tool_log_folder(tool, where, path);
	if (code)
		return code;
	if (way == OPTION_DROP_BEFORE) {
		code = repair_before(path, given, seq);
	} else {
		code = look(path, seq);
		if (code == GO_ON)
			code = repair(path, seq);
	}
	return fflush(stdout) ? RT_EXIT_FAILED : code;
}

const struct rt_command rt_cmd_repair = {
	.name = "repair",
	.synopsis = "FEED|DIR",
	.summary = "drop what is damaged of a log: its end, or its past",
	.options = options,
	.notes = "Refuses while the log has a writer.  What is dropped is gone for "
		 "good:\n"
		 "copy the folder first.  'ringtail verify' says which SEQ it takes\n",
	.run = run,
};
