/* SPDX-License-Identifier: MIT */
/*
 * cmd_dump.c - a segment of a log as lines of JSON
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "store/log_read.h"
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
	};
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

static int run(struct rt_tool *tool)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	struct rt_fault fault = { "" };
	char folder[PATH_MAX];
	uint64_t first_seq;
	const char *file;
	int r;

	rt_tool_words(tool, 0, NULL, &file, 1, 1);
	if (take_apart(file, folder, &first_seq) < 0)
		rt_usage(tool, "'%s' is not named as a segment, by 20 digits and .log",
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
	.summary = "print a segment of a log as JSON, one event a line",
	.run = run,
};
