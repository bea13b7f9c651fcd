/* SPDX-License-Identifier: MIT */
#include "tools/history.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/log_read.h"

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

void rt_history_look(struct rt_tool *tool, const char *feed, struct rt_history *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	struct rt_log_batch batch;
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
	if (!segments.n)
		return;
	ret->error = rt_log_reader_enter(&reader, segments.first_seqs[0], NULL);
	if (ret->error || rt_log_reader_step(&reader, &data) != 1)
		return;
	memcpy(&batch, data, sizeof(batch));
	ret->oldest = batch.first_seq;
	ret->oldest_time_ns = batch.time_ns;
}
