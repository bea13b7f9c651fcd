/* SPDX-License-Identifier: MIT */
#include "tools/history.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/log_read.h"
#include "store/snapshot.h"

#define LISTED 8 /* snapshots that are looked at */

/* Beside the ring, or where a link there leads. */
static bool find(struct rt_tool *tool, const char *feed, char ret[PATH_MAX])
{
	const char *slash = strrchr(feed, '/');
	const char *dir = slash ? NULL : rt_tool_dir(tool);
	char path[PATH_MAX];
	int n;

	if (slash)
		n = snprintf(path, sizeof(path), "%.*slog", (int)(slash - feed) + 1,
			     feed);
	else if (dir)
		n = snprintf(path, sizeof(path), "%s/%s/log", dir, feed);
	else
		return false;
	return n >= 0 && (size_t)n < sizeof(path) && realpath(path, ret);
}

static void add_sizes(int dir_fd, const struct rt_segments *segments,
		      struct rt_history *ret)
{
	static const char *const suffixes[] = { ".log", ".idx" };

	for (size_t i = 0; i < segments->n * RT_N(suffixes); i++) {
		struct stat st;
		char name[32];

		rt_segment_name(segments->first_seqs[i / RT_N(suffixes)],
				suffixes[i % RT_N(suffixes)], name);
		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			ret->n_bytes += (uint64_t)st.st_blocks * 512;
	}
	ret->n_segments = segments->n;
}

/* Those that open, whatever they are of; the newest of them in @ret. */
static void look_at_snapshots(int dir_fd, struct rt_history *ret)
{
	uint64_t seqs[LISTED];
	size_t n = 0;

	if (rt_snapshots_list(dir_fd, seqs, RT_N(seqs), &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;
		char name[32];

		rt_snapshot_name(seqs[i], name);
		if (rt_snapshot_open(dir_fd, name, name, NULL, &snapshot) < 0 ||
		    ret->n_snapshots++)
			continue;
		ret->snapshot_seq = snapshot.header.seq;
		ret->snapshot_ns = snapshot.header.created_ns;
		ret->snapshot_keys = snapshot.footer.n_entries;
		ret->snapshot_bytes = snapshot.file_size;
	}
}

void rt_history_look(struct rt_tool *tool, const char *feed, struct rt_history *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	struct rt_batch_cursor cursor;
	struct rt_item item;
	uint64_t oldest = 0;
	const uint8_t *data;

	*ret = (struct rt_history){ 0 };
	if (!find(tool, feed, ret->path)) {
		ret->path[0] = '\0';
		return;
	}
	ret->error = rt_log_reader_open(ret->path, NULL, &reader);
	if (!ret->error)
		ret->error = rt_segments_list(reader.dir_fd, &segments);
	if (ret->error)
		return;
	add_sizes(reader.dir_fd, &segments, ret);
	look_at_snapshots(reader.dir_fd, ret);
	if (!segments.n)
		return;
	ret->error = rt_log_reader_oldest(&reader, &oldest);
	if (!ret->error)
		ret->error = rt_log_reader_seek(&reader, oldest, NULL);
	if (ret->error || rt_log_reader_step(&reader, &data) != 1)
		return;
	rt_batch_open(data, &cursor);
	while (rt_batch_next(&cursor, &item) == 1) {
		if (item.seq == oldest) {
			ret->oldest = oldest;
			ret->oldest_time_ns = item.time_ns;
			return;
		}
	}
}
