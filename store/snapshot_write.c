/* SPDX-License-Identifier: MIT */
#include "store/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/file.h"

#define PUSH_EVERY (UINT64_C(4) << 20)

static int fail(const struct rt_snapshot_writer *writer, struct rt_fault *fault,
		const char *what, int r)
{
	rt_fault_set(fault, "feed '%s': cannot %s the snapshot %s: %s",
		     writer->header.name, what, writer->file, strerror(-r));
	return r;
}

static int write_all(const struct rt_snapshot_writer *writer, const void *data,
		     size_t len, uint64_t at)
{
	return rt_file_write(writer->config.io, writer->fd, data, len, at);
}

/* Room for @more bytes behind @len. */
static int grow(uint8_t **data, size_t len, size_t *cap, size_t more)
{
	size_t want = *cap ? *cap : RT_SNAP_BLOCK_FULL + 4096;
	void *grown;

	if (len + more <= *cap)
		return 0;
	while (want < len + more)
		want *= 2;
	grown = realloc(*data, want);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*cap = want;
	return 0;
}

static int open_tmp(struct rt_snapshot_writer *writer)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	const char *rest;
	uint64_t seq;
	int fd;

	/* A name that only an unfinished snapshot can have. */
	if (rt_snapshot_parse(writer->file, &seq, &rest) && !*rest)
		(void)unlinkat(writer->dir_fd, writer->tmp, 0); /* of a crash */
	fd = openat(writer->dir_fd, writer->tmp, flags, 0600);
	if (fd < 0)
		return -errno;
	writer->fd = fd;
	return 0;
}

static void make_header(struct rt_snapshot_writer *writer)
{
	const struct rt_snapshot_config *config = &writer->config;

	writer->header = (struct rt_snap_header){
		.magic = RT_SNAP_MAGIC,
		.format = RT_SNAP_FORMAT,
		.header_size = sizeof(struct rt_snap_header),
		.epoch = config->epoch,
		.seq = config->seq,
		.time_ns = config->time_ns,
		.created_ns = rt_now_ns(CLOCK_REALTIME),
		.salt = rt_random64(),
	};
	(void)snprintf(writer->header.name, RT_NAME_MAX + 1, "%s", config->name);
	writer->header.check = XXH64(
		&writer->header, offsetof(struct rt_snap_header, check), RT_SNAP_MAGIC);
}

int rt_snapshot_create(int dir_fd, const char *file,
		       const struct rt_snapshot_config *config, struct rt_fault *fault,
		       struct rt_snapshot_writer *ret)
{
	uint8_t page[RT_SNAP_START] = { 0 };
	int r = 0;

	*ret = (struct rt_snapshot_writer){
		.config = *config,
		.dir_fd = -1,
		.fd = -1,
		.offset = RT_SNAP_START,
	};
	make_header(ret);
	ret->config.name = NULL; /* of the caller; ours is in the header */
	(void)snprintf(ret->file, sizeof(ret->file), "%s", file);
	if (snprintf(ret->tmp, sizeof(ret->tmp), "%s.new", file) >=
	    (int)sizeof(ret->tmp))
		return fail(ret, fault, "name", -ENAMETOOLONG);
	ret->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	if (ret->dir_fd < 0)
		return fail(ret, fault, "make", -errno);
	if (config->keep && faccessat(dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return fail(ret, fault, "make", -EEXIST);
	r = open_tmp(ret);
	if (r == -EEXIST) {
		rt_fault_set(fault,
			     "feed '%s': %s is there already; remove it if nobody is "
			     "writing it",
			     ret->header.name, ret->tmp);
		return r;
	}
	if (r < 0)
		return fail(ret, fault, "make", r);
	memcpy(page, &ret->header, sizeof(ret->header));
	r = write_all(ret, page, sizeof(page), 0);
	return r < 0 ? fail(ret, fault, "write", r) : 0;
}

/* The index says where a block is, and the key that it begins with. */
static int note_block(struct rt_snapshot_writer *writer, const struct rt_state *first)
{
	struct rt_snap_index entry = {
		.offset = writer->offset,
		.key_len = first->key_len,
	};
	size_t used = sizeof(entry) + first->key_len;
	size_t size = rt_round_up(used, RT_WORD);
	int r = grow(&writer->index, writer->index_len, &writer->index_cap, size);
	uint8_t *to;

	if (r < 0)
		return r;
	to = writer->index + writer->index_len;
	memcpy(to, &entry, sizeof(entry));
	memcpy(to + sizeof(entry), first->key, first->key_len);
	memset(to + used, 0, size - used);
	writer->index_at = writer->index_len;
	writer->index_len += size;
	return 0;
}

/*
 * Lets the disk begin early, and is never far ahead of it: then the sync at the end is
 * not one long wait, and what others write is not behind all of this.
 */
static int push(struct rt_snapshot_writer *writer)
{
	const unsigned wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			      SYNC_FILE_RANGE_WAIT_AFTER;
	off_t from = (off_t)writer->pushed_from, to = (off_t)writer->pushed_to;

	if (!writer->config.sync || writer->offset - writer->pushed_to < PUSH_EVERY)
		return 0;
	/* A hint: the sync at the end is what counts. */
	(void)sync_file_range(writer->fd, to, (off_t)writer->offset - to,
			      SYNC_FILE_RANGE_WRITE);
	writer->pushed_from = writer->pushed_to;
	writer->pushed_to = writer->offset;
	/* An error that is told here is not told again by that. */
	if (to > from && sync_file_range(writer->fd, from, to - from, wait) < 0 &&
	    errno != ENOSYS && errno != EINVAL && errno != ESPIPE)
		return -errno;
	return 0;
}

static int write_block(struct rt_snapshot_writer *writer)
{
	const size_t checked = offsetof(struct rt_snap_block, size);
	struct rt_snap_block header = {
		.magic = RT_SNAP_BLOCK_MAGIC,
		.n_entries = writer->block_entries,
		.size = writer->block_len,
		.number = writer->n_blocks,
	};
	uint64_t n = writer->block_entries;
	int r;

	memcpy(writer->block, &header, sizeof(header));
	header.check = XXH3_64bits_withSeed(writer->block + checked,
					    writer->block_len - checked,
					    writer->header.salt ^ header.number);
	memcpy(writer->block, &header, sizeof(header));
	r = write_all(writer, writer->block, writer->block_len, writer->offset);
	if (r < 0)
		return r;
	memcpy(writer->index + writer->index_at +
		       offsetof(struct rt_snap_index, n_entries),
	       &n, sizeof(n));
	writer->offset += writer->block_len;
	writer->n_blocks++;
	writer->n_entries += n;
	writer->block_len = 0;
	writer->block_entries = 0;
	return push(writer);
}

static int add_entry(struct rt_snapshot_writer *writer, const struct rt_state *state)
{
	struct rt_snap_entry entry = {
		.seq = state->seq,
		.time_ns = state->time_ns,
		.deadline_ms = state->deadline_ms,
		.value_len = state->value_len,
		.key_len = state->key_len,
		.flags = state->flags,
	};
	size_t used = sizeof(entry) + state->key_len + (size_t)state->value_len;
	size_t size = rt_round_up(used, RT_WORD);
	size_t at =
		writer->block_len ? writer->block_len : sizeof(struct rt_snap_block);
	int r = grow(&writer->block, at, &writer->block_cap, size);
	uint8_t *to;

	if (!r && !writer->block_len)
		r = note_block(writer, state);
	if (r < 0)
		return r;
	to = writer->block + at;
	memcpy(to, &entry, sizeof(entry));
	memcpy(to + sizeof(entry), state->key, state->key_len);
	if (state->value_len)
		memcpy(to + sizeof(entry) + state->key_len, state->value,
		       state->value_len);
	memset(to + used, 0, size - used);
	writer->last_at = at + sizeof(entry);
	writer->last_len = state->key_len;
	writer->block_len = at + size;
	writer->block_entries++;
	writer->n_bytes += state->key_len + (uint64_t)state->value_len;
	return 0;
}

int rt_snapshot_put(struct rt_snapshot_writer *writer, const struct rt_state *state,
		    struct rt_fault *fault)
{
	int r;

	/* What a block held stays in its memory until the next entry is added. */
	if (!state->key_len || state->deleted ||
	    (writer->last_len &&
	     rt_key_compare(writer->block + writer->last_at, writer->last_len,
			    state->key, state->key_len) >= 0)) {
		rt_fault_set(fault,
			     "feed '%s': snapshot %s: a key that is out of order",
			     writer->header.name, writer->file);
		return -EINVAL;
	}
	r = add_entry(writer, state);
	if (!r && writer->block_len >= RT_SNAP_BLOCK_FULL)
		r = write_block(writer);
	return r < 0 ? fail(writer, fault, "write", r) : 0;
}

static int write_end(struct rt_snapshot_writer *writer)
{
	static const uint8_t none[1];
	uint64_t salt = writer->header.salt;
	struct rt_snap_footer footer = {
		.magic = RT_SNAP_FOOTER_MAGIC,
		.index_offset = writer->offset,
		.index_size = writer->index_len,
		.index_check = XXH3_64bits_withSeed(
			writer->index ? writer->index : none, writer->index_len, salt),
		.n_blocks = writer->n_blocks,
		.n_entries = writer->n_entries,
		.n_bytes = writer->n_bytes,
	};
	int r = write_all(writer, writer->index, writer->index_len, writer->offset);

	if (r < 0)
		return r;
	footer.check = XXH3_64bits_withSeed(
		&footer, offsetof(struct rt_snap_footer, check), salt);
	return write_all(writer, &footer, sizeof(footer),
			 writer->offset + writer->index_len);
}

static int give_name(struct rt_snapshot_writer *writer)
{
	unsigned flags = writer->config.keep ? RENAME_NOREPLACE : 0;

	if (renameat2(writer->dir_fd, writer->tmp, writer->dir_fd, writer->file,
		      flags) < 0)
		return -errno;
	writer->tmp[0] = 0;
	return writer->config.sync && fsync(writer->dir_fd) < 0 ? -errno : 0;
}

int rt_snapshot_finish(struct rt_snapshot_writer *writer, struct rt_fault *fault)
{
	int r = writer->block_len ? write_block(writer) : 0;

	if (!r)
		r = write_end(writer);
	if (!r)
		r = rt_file_set_access(writer->fd, writer->config.file_mode,
				       writer->config.uid, writer->config.gid);
	if (r < 0)
		return fail(writer, fault, "write", r);
	if (writer->config.sync)
		r = rt_file_sync(writer->config.io, writer->fd);
	if (r < 0)
		return fail(writer, fault, "sync", r);
	r = give_name(writer);
	return r < 0 ? fail(writer, fault, "name", r) : 0;
}

void rt_snapshot_discard(struct rt_snapshot_writer *writer)
{
	if (writer->fd >= 0) {
		(void)close(writer->fd); /* finished, or not wanted */
		if (writer->tmp[0])
			(void)unlinkat(writer->dir_fd, writer->tmp, 0);
	}
	rt_close_fd(&writer->dir_fd);
	free(writer->block);
	free(writer->index);
	*writer = (struct rt_snapshot_writer){ .dir_fd = -1, .fd = -1 };
}
