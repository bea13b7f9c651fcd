/* SPDX-License-Identifier: MIT */
/*
 * cmd_dump.c - a segment of a log, or a snapshot, as lines of JSON
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "store/log_read.h"
#include "store/snapshot.h"
#include "tools/folder.h"
#include "tools/print.h"

static struct rt_out out;

/* The folder and the first seq that @file names. */
static int take_apart(const char *file, char folder[PATH_MAX], uint64_t *ret_seq)
{
	const char *slash = strrchr(file, '/');
	const char *name = slash ? slash + 1 : file;
	char expected[32];
	int n;

	*ret_seq = strtoull(name, NULL, 10);
	rt_segment_name(*ret_seq, ".log", expected);
	if (!*ret_seq || strcmp(name, expected) != 0)
		return -EINVAL;
	n = snprintf(folder, PATH_MAX, "%.*s", slash ? (int)(slash - file) + 1 : 1,
		     slash ? file : ".");
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static struct ringtail_event event_of(const struct rt_item *item)
{
	return (struct ringtail_event){
		.seq = item->seq,
		.rev = item->seq - item->txn_index + item->txn_size - 1,
		.time_ns = item->time_ns,
		.key = item->key,
		.value = item->value,
		.key_len = item->key_len,
		.value_len = item->value_len,
		.op = item->op,
		.flags = item->flags,
		.txn_index = item->txn_index,
		.txn_size = item->txn_size,
		.prev = item->prev,
		.prev_len = item->prev_len,
	};
}

/* What ends the life of a key. */
static const char *terms_text(uint64_t deadline_ms, bool bound, char ret[64])
{
	int len = 0;

	ret[0] = '\0';
	if (deadline_ms)
		len = snprintf(ret, 64, ",\"deadline_ms\":%" PRIu64, deadline_ms);
	if (bound)
		(void)snprintf(ret + len, 64 - (size_t)len, ",\"bound\":true");
	return ret;
}

/* 0, or -1 for nonsense under a valid checksum. */
static int print_batch(struct rt_print *print, const uint8_t *data)
{
	struct rt_batch_cursor cursor;
	struct rt_item item;
	int r;

	rt_batch_open(data, &cursor);
	while ((r = rt_batch_next(&cursor, &item)) == 1) {
		const struct ringtail_event event = event_of(&item);
		const struct rt_log_terms terms = rt_item_terms(&item);
		char text[64];

		print->more = terms_text(terms.deadline_ms,
					 terms.flags & RT_TERMS_BOUND, text);
		rt_print_event(print, &event, NULL);
	}
	return r;
}

/* Is there something behind the last batch?  1, 0, negative errno. */
static int has_more(const struct rt_log_reader *reader)
{
	uint8_t chunk[4096];
	off_t at = (off_t)reader->offset;
	ssize_t n;

	while ((n = pread(reader->fd, chunk, sizeof(chunk), at)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i])
				return 1;
		}
		at += n;
	}
	return n < 0 ? -errno : 0;
}

static int dump(struct rt_log_reader *reader, const char *file)
{
	struct rt_print print;
	const uint8_t *data;
	int r;

	rt_out_init(&out, STDOUT_FILENO);
	rt_print_init(&print, &out);
	print.json = true;
	while ((r = rt_log_reader_step(reader, &data)) == 1 && !out.error) {
		if (print_batch(&print, data) < 0) {
			r = RINGTAIL_E_CORRUPT;
			break;
		}
	}
	if (!r && !out.error)
		r = has_more(reader);
	const int flushed = rt_out_flush(&out);

	if (flushed == -EPIPE)
		return RT_EXIT_DONE;
	if (flushed < 0)
		rt_say("cannot write: %s", strerror(-flushed));
	else if (r == 1)
		rt_say("%s: what follows seq %" PRIu64 " at byte %" PRIu64
		       " is unfinished or damaged",
		       file, reader->next - 1, reader->offset);
	else if (r < 0)
		rt_say("%s: at byte %" PRIu64 ": %s", file, reader->offset,
		       ringtail_strerror(r));
	return flushed < 0 || r ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

/*
 * ---- Snapshots ----
 */

/* By its name, or by what it begins with: a backup may be called anything. */
static bool is_snapshot(const char *file)
{
	const size_t len = strlen(file);
	uint64_t magic = 0;
	AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && pread(fd, &magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
	    (magic == RT_SNAP_MAGIC || magic == __builtin_bswap64(RT_SNAP_MAGIC)))
		return true;
	return len > 5 && strcmp(file + len - 5, ".snap") == 0;
}

static void print_header(const struct rt_snapshot *snapshot)
{
	const struct rt_snap_header *header = &snapshot->header;

	rt_out_text(&out, "{\"snapshot\":{");
	rt_out_json_member(&out, "feed", header->name, strlen(header->name));
	rt_out_format(&out,
		      ",\"epoch\":\"%016" PRIx64 "\",\"seq\":%" PRIu64
		      ",\"time_ns\":%" PRIu64 ",\"created_ns\":%" PRIu64
		      ",\"keys\":%" PRIu64 ",\"bytes\":%" PRIu64 "}}\n",
		      header->epoch, header->seq, header->time_ns, header->created_ns,
		      snapshot->footer.n_entries, snapshot->footer.n_bytes);
}

static void print_state(const struct rt_state *state)
{
	char text[64];

	rt_out_format(&out, "{\"seq\":%" PRIu64 ",", state->seq);
	rt_out_json_member(&out, "key", state->key, state->key_len);
	rt_out_text(&out, ",");
	rt_out_json_member(&out, "value", state->value, state->value_len);
	rt_out_format(
		&out, ",\"time_ns\":%" PRIu64 "%s}\n", state->time_ns,
		terms_text(state->deadline_ms, state->flags & RT_TERMS_BOUND, text));
}

static int dump_snapshot(const char *file)
{
	AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
	struct rt_fault fault = { "" };
	struct rt_state state;
	int r = rt_snapshot_open(AT_FDCWD, file, file, &fault, &snapshot);

	rt_out_init(&out, STDOUT_FILENO);
	if (!r) {
		print_header(&snapshot);
		while ((r = rt_snapshot_next(&snapshot, &fault, &state)) == 1 &&
		       !out.error)
			print_state(&state);
	}
	const int flushed = rt_out_flush(&out);

	if (flushed == -EPIPE)
		return RT_EXIT_DONE;
	if (flushed < 0)
		rt_say("cannot write: %s", strerror(-flushed));
	else if (r < 0)
		rt_say("%s", fault.text[0] ? fault.text : ringtail_strerror(r));
	return flushed < 0 || r < 0 ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

static int run(struct rt_tool *tool)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	struct rt_fault fault = { "" };
	char folder[PATH_MAX];
	uint64_t first_seq;
	const char *file;
	int r;

	rt_tool_words(tool, 0, NULL, &file, 1, 1);
	if (is_snapshot(file))
		return dump_snapshot(file);
	if (access(file, F_OK) < 0) {
		rt_say("%s: %s", file, strerror(errno));
		return RT_EXIT_FAILED;
	}
	if (take_apart(file, folder, &first_seq) < 0)
		rt_usage(tool,
			 "'%s' is no snapshot, and not named as a segment, by 20 "
			 "digits and .log",
			 file);
	r = rt_log_reader_open(folder, &fault, &reader);
	if (!r)
		r = rt_log_reader_enter(&reader, first_seq, &fault);
	if (r < 0) {
		rt_say("%s", fault.text[0] ? fault.text : ringtail_strerror(r));
		return RT_EXIT_FAILED;
	}
	return dump(&reader, file);
}

const struct rt_command rt_cmd_dump = {
	.name = "dump",
	.synopsis = "FILE",
	.summary = "print a segment of a log, or a snapshot, as JSON",
	.notes = "FILE: a segment, named by 20 digits and .log; a snapshot or a "
		 "backup\n",
	.run = run,
};
