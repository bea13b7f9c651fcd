/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - the state of a feed as of one seq, in a file that never changes
 *
 * Snapshot format 1.  <log folder>/<seq in 20 digits>.snap:
 *
 *	     0  +--------------------------+
 *	        | struct rt_snap_header    |
 *	  4096  +--------------------------+
 *	        | block                    |  struct rt_snap_block, then entries in
 *	        |   entry, entry, ...      |  order of their keys: struct rt_snap_entry,
 *	        | block ...                |  key, value, padding
 *	        +--------------------------+
 *	        | index                    |  for each block: struct rt_snap_index and
 *	        |                          |  the key that it begins with, padding
 *	        +--------------------------+
 *	        | struct rt_snap_footer    |
 *	        +--------------------------+  the end of the file
 *
 * Everything is aligned to 8 and in host order.  Keys are ordered as memcmp() orders
 * them, a shorter one before what it begins.  A file appears under its name by rename,
 * complete and as safe as its log is; it is read by preads, so one that is cut
 * meanwhile is an error return.  Whoever has it open can finish when it is removed.
 */
#ifndef RINGTAIL_STORE_SNAPSHOT_H
#define RINGTAIL_STORE_SNAPSHOT_H

#include <sys/types.h>

#include "store/batch.h"

struct rt_log_io;

#define RT_SNAP_MAGIC        UINT64_C(0x3170616e536c6154) /* "TalSnap1" in memory */
#define RT_SNAP_BLOCK_MAGIC  UINT32_C(0x6b636c42)         /* "Blck" in memory */
#define RT_SNAP_FOOTER_MAGIC UINT64_C(0x31646e456e536c54)
#define RT_SNAP_FORMAT       1u
#define RT_SNAP_START        4096u
#define RT_SNAP_BLOCK_FULL \
	(64u << 10) /* a block ends with the entry that passes it \
		     */
#define RT_SNAPSHOTS_KEPT 2u

struct rt_snap_header {
	uint64_t magic;
	uint32_t format;
	uint32_t header_size;
	uint32_t incompat;
	uint32_t compat;
	uint64_t epoch;
	uint64_t seq;        /* the state after this event; the end of a transaction */
	uint64_t time_ns;    /* of that event; 0: there was none */
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint64_t salt;       /* seed of the checksums; random */
	char name[RT_NAME_MAX + 8];
	uint64_t check; /* XXH64 of all above, seeded with the magic */
};

struct rt_snap_block {
	uint32_t magic;
	uint32_t n_entries;
	uint64_t check;  /* XXH3 of what follows in it, seeded with salt ^ number */
	uint64_t size;   /* bytes, this header included */
	uint64_t number; /* from 0 */
};

struct rt_snap_entry {
	uint64_t seq; /* of the put that set the value */
	uint64_t time_ns;
	uint64_t deadline_ms; /* as struct rt_log_terms */
	uint32_t value_len;
	uint16_t key_len;
	uint8_t flags; /* RT_TERMS_BOUND */
	uint8_t reserved;
};

struct rt_snap_index {
	uint64_t offset; /* of the block */
	uint64_t n_entries;
	uint32_t key_len;
	uint32_t reserved;
};

struct rt_snap_footer {
	uint64_t magic;
	uint64_t index_offset;
	uint64_t index_size;
	uint64_t index_check; /* XXH3 of the index, seeded with salt */
	uint64_t n_blocks;
	uint64_t n_entries;
	uint64_t n_bytes; /* of all keys and values */
	uint64_t check;   /* XXH3 of all above, seeded with salt */
};

static_assert(sizeof(struct rt_snap_header) == 144, "snapshot format 1");
static_assert(sizeof(struct rt_snap_block) == 32, "snapshot format 1");
static_assert(sizeof(struct rt_snap_entry) == 32, "snapshot format 1");
static_assert(sizeof(struct rt_snap_index) == 24, "snapshot format 1");
static_assert(sizeof(struct rt_snap_footer) == 64, "snapshot format 1");

/* One key, as it is kept; key and value point into memory of who made it. */
struct rt_state {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t deadline_ms;
	const uint8_t *key;
	const uint8_t *value;
	uint32_t value_len;
	uint16_t key_len;
	uint8_t flags;
	bool deleted; /* only in what is to be merged: the key is gone */
};

/* The order of keys: <0, 0, >0 as memcmp(). */
RT_INLINE int rt_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b,
			     size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/*
 * ---- Which there are ----
 */

void rt_snapshot_name(uint64_t seq, char ret[32]);

/* Does it begin as the name of a snapshot?  @ret_rest is what follows: "" if it is one,
 * ".new" if it was never finished. */
bool rt_snapshot_parse(const char *name, uint64_t *ret_seq, const char **ret_rest);

/* The newest @cap of the folder, newest first, by their names alone. */
int rt_snapshots_list(int dir_fd, uint64_t *ret_seqs, size_t cap, size_t *ret_n);

/*
 * ---- Writing ----
 */

struct rt_snapshot_config {
	const char *name; /* of the feed */
	uint64_t epoch;
	uint64_t seq;
	uint64_t time_ns;
	mode_t file_mode;
	uid_t uid; /* (uid_t)-1: as created */
	gid_t gid;
	bool sync; /* on disk, with its name, before finish returns */
	bool keep; /* a file of that name: -EEXIST, instead of replacing it */
	const struct rt_log_io *io; /* NULL: the real ones */
};

struct rt_snapshot_writer {
	struct rt_snapshot_config config;
	struct rt_snap_header header;
	int dir_fd; /* of its own */
	int fd;
	char file[256];
	char tmp[256];
	uint8_t *block; /* being filled */
	size_t block_len, block_cap;
	uint32_t block_entries;
	size_t last_at, last_len; /* the newest key; in the block, or where it was */
	uint8_t *index;
	size_t index_len, index_cap;
	size_t index_at;                 /* what it says of the block */
	uint64_t pushed_from, pushed_to; /* the disk has it, or was told of it */
	uint64_t offset;                 /* of the block in the file */
	uint64_t n_blocks, n_entries, n_bytes;
};

/*
 * Begins <@file>.new in the folder; finish renames it to @file.  What fails gives a
 * text that names the file; discard is then still due, and leaves the folder as it was.
 * Only if nothing but the sync of the folder failed, the file has its name already.
 */
int rt_snapshot_create(int dir_fd, const char *file,
		       const struct rt_snapshot_config *config, struct rt_fault *fault,
		       struct rt_snapshot_writer *ret);
/* In order of keys; -EINVAL if not. */
int rt_snapshot_put(struct rt_snapshot_writer *writer, const struct rt_state *state,
		    struct rt_fault *fault);
int rt_snapshot_finish(struct rt_snapshot_writer *writer, struct rt_fault *fault);

/* Of the file, once it is finished. */
RT_INLINE uint64_t rt_snapshot_size(const struct rt_snapshot_writer *writer)
{
	return writer->offset + writer->index_len + sizeof(struct rt_snap_footer);
}

void rt_snapshot_discard(struct rt_snapshot_writer *writer);

/*
 * ---- Reading ----
 */

struct rt_snapshot {
	char *what; /* path or name of the file, for texts */
	int fd;
	struct rt_snap_header header;
	struct rt_snap_footer footer;
	uint64_t file_size;
	uint8_t *index;
	const struct rt_snap_index **blocks; /* of the index, by number */
	uint8_t *window;                     /* blocks as they are in the file */
	size_t window_cap, window_len;
	uint64_t window_at; /* offset of it in the file */
	uint64_t number;    /* of the block that comes next */
	const uint8_t *at, *block_end;
	uint32_t left; /* entries of the block that have not been given */
};

#define RT_SNAPSHOT_NONE ((struct rt_snapshot){ .fd = -1 })

/*
 * Opens and checks header, its page, footer and index.  @what: shown in texts.
 * RT_E_CORRUPT and RT_E_VERSION with file, offset and what was expected; -ENOENT; ...
 */
int rt_snapshot_open(int dir_fd, const char *file, const char *what,
		     struct rt_fault *fault, struct rt_snapshot *ret);
void rt_snapshot_close(struct rt_snapshot *snapshot);

/* Goes to the first entry whose key is not below @key (len 0: the first). */
int rt_snapshot_seek(struct rt_snapshot *snapshot, const uint8_t *key, size_t len,
		     struct rt_fault *fault);

/*
 * The next entry: 1; 0 there is none; RT_E_CORRUPT.  What it points to stays until the
 * call that loads another block: that is the one after rt_snapshot_left() was 0.
 */
int rt_snapshot_next(struct rt_snapshot *snapshot, struct rt_fault *fault,
		     struct rt_state *ret);

RT_INLINE uint32_t rt_snapshot_left(const struct rt_snapshot *snapshot)
{
	return snapshot->left;
}

/*
 * Every byte: each block, each entry, their order and the counts in the footer.
 * @ret_summary (NULL: not wanted) gets header, footer and size; it holds nothing that
 * would have to be closed.
 */
int rt_snapshot_verify(int dir_fd, const char *file, const char *what,
		       struct rt_fault *fault, struct rt_snapshot *ret_summary);

/* The same, with @go_on called before each block; its negative result ends it. */
int rt_snapshot_verify_while(int dir_fd, const char *file, const char *what,
			     int (*go_on)(void *arg), void *arg, struct rt_fault *fault,
			     struct rt_snapshot *ret_summary);

#endif
