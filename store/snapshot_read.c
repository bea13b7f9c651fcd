/* SPDX-License-Identifier: MIT */
#include "store/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/file.h"

#define WINDOW_SIZE (UINT64_C(512) << 10)
#define NAME_DIGITS 20
#define SUFFIX      ".snap"

/* What no block, and no entry of the index, can pass: memory is not spent on it. */
#define ENTRY_MAX \
	(sizeof(struct rt_snap_entry) + UINT16_MAX + (uint64_t)UINT32_MAX + RT_WORD)
#define BLOCK_MAX (sizeof(struct rt_snap_block) + RT_SNAP_BLOCK_FULL + ENTRY_MAX)
#define INDEX_MAX (sizeof(struct rt_snap_index) + UINT16_MAX + RT_WORD)

/*
 * ---- Names ----
 */

void rt_snapshot_name(uint64_t seq, char ret[32])
{
	(void)snprintf(ret, 32, "%0*" PRIu64 SUFFIX, NAME_DIGITS, seq);
}

bool rt_snapshot_parse(const char *name, uint64_t *ret, const char **ret_rest)
{
	uint64_t seq = 0;

	for (unsigned i = 0; i < NAME_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' ||
		    __builtin_mul_overflow(seq, UINT64_C(10), &seq) ||
		    __builtin_add_overflow(seq, (uint64_t)(name[i] - '0'), &seq))
			return false;
	}
	if (strncmp(name + NAME_DIGITS, SUFFIX, strlen(SUFFIX)) != 0)
		return false;
	*ret = seq;
	*ret_rest = name + NAME_DIGITS + strlen(SUFFIX);
	return true;
}

/* Into its place among the @n newest, of which there is room for @cap. */
static size_t insert_seq(uint64_t *seqs, size_t n, size_t cap, uint64_t seq)
{
	size_t at = n;

	while (at && seqs[at - 1] < seq)
		at--;
	if (at == cap)
		return n;
	if (n == cap)
		n--;
	memmove(seqs + at + 1, seqs + at, (n - at) * sizeof(*seqs));
	seqs[at] = seq;
	return n + 1;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

int rt_snapshots_list(int dir_fd, uint64_t *ret_seqs, size_t cap, size_t *ret_n)
{
	AUTO_CLOSE int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	const char *rest;
	size_t n = 0;
	uint64_t seq;

	if (!dir)
		return -errno;
	(void)rt_take_fd(&fd); /* the stream's now */
	while ((errno = 0, entry = readdir(dir))) {
		if (cap && rt_snapshot_parse(entry->d_name, &seq, &rest) && !*rest)
			n = insert_seq(ret_seqs, n, cap, seq);
	}
	if (errno)
		return -errno;
	*ret_n = n;
	return 0;
}

/*
 * ---- Opening ----
 */

#define damaged(snapshot, fault, at, ...) \
	(damaged_at(snapshot, fault, at), append(fault, __VA_ARGS__), RT_E_CORRUPT)

static void damaged_at(const struct rt_snapshot *s, struct rt_fault *fault, uint64_t at)
{
	rt_fault_set(fault, "%s: damaged at byte %" PRIu64 ": ", s->what, at);
}

__attribute__((format(printf, 2, 3))) static void append(struct rt_fault *fault,
							 const char *format, ...)
{
	va_list args;
	size_t len;

	if (!fault)
		return;
	len = strlen(fault->text);
	va_start(args, format);
	(void)vsnprintf(fault->text + len, sizeof(fault->text) - len, format, args);
	va_end(args);
}

/* All @len bytes, or an error. */
static int read_exactly(const struct rt_snapshot *s, void *to, size_t len, uint64_t at,
			struct rt_fault *fault)
{
	ssize_t n = rt_file_read(s->fd, to, len, at);

	if (n < 0)
		rt_fault_set(fault,
			     "%s: cannot read %zu bytes from byte %" PRIu64 " on: %s",
			     s->what, len, at, strerror((int)-n));
	else if ((size_t)n < len)
		rt_fault_set(fault,
			     "%s: truncated: it ends at byte %" PRIu64
			     ", expected %zu bytes from %" PRIu64 " on",
			     s->what, at + (uint64_t)n, len, at);
	return n < 0 ? (int)n : (size_t)n < len ? RT_E_CORRUPT : 0;
}

static int check_header(const struct rt_snapshot *s, struct rt_fault *fault)
{
	const struct rt_snap_header *h = &s->header;

	if (h->magic == __builtin_bswap64(RT_SNAP_MAGIC)) {
		rt_fault_set(fault, "%s: made on a machine of the other byte order",
			     s->what);
		return RT_E_VERSION;
	}
	if (h->magic != RT_SNAP_MAGIC)
		return damaged(s, fault, 0,
			       "the magic is %016" PRIx64 ", expected %016" PRIx64,
			       h->magic, RT_SNAP_MAGIC);
	if (h->format != RT_SNAP_FORMAT || h->incompat) {
		rt_fault_set(fault,
			     "%s: snapshot format %u, features %#x; this version knows "
			     "%u",
			     s->what, h->format, h->incompat, RT_SNAP_FORMAT);
		return RT_E_VERSION;
	}
	if (h->check !=
		    XXH64(h, offsetof(struct rt_snap_header, check), RT_SNAP_MAGIC) ||
	    h->header_size != sizeof(*h) || h->name[RT_NAME_MAX] ||
	    h->seq == UINT64_MAX)
		return damaged(s, fault, offsetof(struct rt_snap_header, check),
			       "checksum of the header");
	return 0;
}

static int read_header(struct rt_snapshot *s, struct rt_fault *fault)
{
	struct stat st;
	int r;

	if (fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		rt_fault_set(fault, "%s: is not a file", s->what);
		return RT_E_CORRUPT;
	}
	s->file_size = (uint64_t)st.st_size;
	r = read_exactly(s, &s->header, sizeof(s->header), 0, fault);
	return r ? r : check_header(s, fault);
}

static int read_footer(struct rt_snapshot *s, struct rt_fault *fault)
{
	struct rt_snap_footer *f = &s->footer;
	uint64_t at = s->file_size - sizeof(*f);
	int r;

	if (s->file_size < RT_SNAP_START + sizeof(*f) || s->file_size % RT_WORD) {
		rt_fault_set(fault, "%s: truncated: %" PRIu64 " bytes are no snapshot",
			     s->what, s->file_size);
		return RT_E_CORRUPT;
	}
	r = read_exactly(s, f, sizeof(*f), at, fault);
	if (r < 0)
		return r;
	if (f->magic != RT_SNAP_FOOTER_MAGIC ||
	    f->check != XXH3_64bits_withSeed(f, offsetof(struct rt_snap_footer, check),
					     s->header.salt))
		return damaged(s, fault, at, "no valid footer, as if the file was cut");
	if (f->index_offset < RT_SNAP_START || f->index_offset > at ||
	    f->index_offset % RT_WORD || f->index_size != at - f->index_offset ||
	    f->n_blocks > (f->index_offset - RT_SNAP_START) / RT_SNAP_BLOCK_FULL + 1 ||
	    f->index_size > f->n_blocks * INDEX_MAX || !f->n_blocks != !f->n_entries ||
	    f->n_entries >
		    (f->index_offset - RT_SNAP_START) / sizeof(struct rt_snap_entry))
		return damaged(s, fault, at, "the footer makes no sense");
	return 0;
}

/* The rest of the page that the header is in: nothing, so far. */
static int check_page(const struct rt_snapshot *s, struct rt_fault *fault)
{
	uint8_t rest[RT_SNAP_START - sizeof(struct rt_snap_header)];
	uint64_t at = sizeof(struct rt_snap_header);
	int r = read_exactly(s, rest, sizeof(rest), at, fault);

	for (size_t i = 0; !r && i < sizeof(rest); i++) {
		if (rest[i])
			r = damaged(s, fault, at + i, "%#x, expected 0", rest[i]);
	}
	return r;
}

static const uint8_t *index_key(const struct rt_snap_index *entry)
{
	return (const uint8_t *)(entry + 1);
}

/* Behind the last byte of the block. */
static uint64_t end_of(const struct rt_snapshot *s, uint64_t number)
{
	return number + 1 < s->footer.n_blocks ? s->blocks[number + 1]->offset
					       : s->footer.index_offset;
}

/* Is the entry of the index that @number has got in line with the one before it? */
static bool follows(const struct rt_snapshot *s, uint64_t number)
{
	const struct rt_snap_index *entry = s->blocks[number];
	const struct rt_snap_index *before;

	if (entry->offset >= s->footer.index_offset)
		return false; /* so no sum of an offset and a size can wrap */
	if (!number)
		return entry->offset == RT_SNAP_START;
	before = s->blocks[number - 1];
	return entry->offset >= before->offset + RT_SNAP_BLOCK_FULL &&
	       entry->offset % RT_WORD == 0 &&
	       rt_key_compare(index_key(before), before->key_len, index_key(entry),
			      entry->key_len) < 0;
}

/* Fills in where each block is; whatever the index says is checked. */
static bool walk_index(struct rt_snapshot *s)
{
	uint64_t left = s->footer.index_size, n_entries = 0;
	const uint8_t *at = s->index;

	for (uint64_t i = 0; i < s->footer.n_blocks; i++) {
		const struct rt_snap_index *entry = (const void *)at;
		uint64_t size;

		if (left < sizeof(*entry) || !entry->key_len ||
		    entry->key_len > UINT16_MAX || !entry->n_entries ||
		    entry->n_entries > UINT32_MAX)
			return false;
		size = rt_round_up(sizeof(*entry) + entry->key_len, RT_WORD);
		if (size > left)
			return false;
		s->blocks[i] = entry;
		if (!follows(s, i))
			return false;
		n_entries += entry->n_entries;
		at += size;
		left -= size;
	}
	return !left && n_entries == s->footer.n_entries &&
	       (!s->footer.n_blocks || s->blocks[s->footer.n_blocks - 1]->offset +
						       sizeof(struct rt_snap_block) <
					       s->footer.index_offset);
}

static int read_index(struct rt_snapshot *s, struct rt_fault *fault)
{
	const struct rt_snap_footer *f = &s->footer;
	int r;

	s->index = malloc(f->index_size + 1);
	s->blocks = calloc(f->n_blocks + 1, sizeof(void *));
	if (!s->index || !s->blocks)
		return -ENOMEM;
	r = read_exactly(s, s->index, f->index_size, f->index_offset, fault);
	if (r < 0)
		return r;
	if (f->index_check !=
	    XXH3_64bits_withSeed(s->index, f->index_size, s->header.salt))
		return damaged(s, fault, f->index_offset, "checksum of the index");
	if (!walk_index(s))
		return damaged(s, fault, f->index_offset, "the index makes no sense");
	return 0;
}

int rt_snapshot_open(int dir_fd, const char *file, const char *what,
		     struct rt_fault *fault, struct rt_snapshot *ret)
{
	AUTO(rt_snapshot_close) struct rt_snapshot s = RT_SNAPSHOT_NONE;
	int r;

	s.what = strdup(what);
	if (!s.what)
		return -ENOMEM;
	s.fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s.fd < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	r = read_header(&s, fault);
	if (!r)
		r = read_footer(&s, fault);
	if (!r)
		r = check_page(&s, fault);
	if (!r)
		r = read_index(&s, fault);
	if (r < 0)
		return r;
	*ret = s;
	s = RT_SNAPSHOT_NONE;
	return 0;
}

void rt_snapshot_close(struct rt_snapshot *s)
{
	rt_close_fd(&s->fd);
	free(s->what);
	free(s->index);
	free(s->blocks);
	free(s->window);
	*s = RT_SNAPSHOT_NONE;
}

/*
 * ---- Blocks ----
 */

/* The blocks from s->number on into the window; as many as fit, or just the one. */
static int fill_window(struct rt_snapshot *s, bool more, struct rt_fault *fault)
{
	uint64_t from = s->blocks[s->number]->offset;
	uint64_t last = s->number;
	size_t len;
	int r;

	while (more && last + 1 < s->footer.n_blocks &&
	       end_of(s, last + 1) - from <= WINDOW_SIZE)
		last++;
	len = end_of(s, last) - from;
	if (len > s->window_cap) {
		size_t cap = rt_max(len, WINDOW_SIZE);

		free(s->window);
		s->window = malloc(cap);
		s->window_cap = s->window ? cap : 0;
	}
	s->window_len = 0;
	if (!s->window)
		return -ENOMEM;
	r = read_exactly(s, s->window, len, from, fault);
	if (r < 0)
		return r;
	s->window_at = from;
	s->window_len = len;
	return 0;
}

/* The block s->number becomes the one that is being read. */
static int load_block(struct rt_snapshot *s, bool more, struct rt_fault *fault)
{
	const size_t checked = offsetof(struct rt_snap_block, size);
	const struct rt_snap_index *index = s->blocks[s->number];
	uint64_t size = end_of(s, s->number) - index->offset;
	struct rt_snap_block header;
	const uint8_t *block;

	s->left = 0;
	if (size > BLOCK_MAX)
		return damaged(s, fault, index->offset,
			       "block %" PRIu64 " has %" PRIu64 " bytes", s->number,
			       size);
	if (index->offset < s->window_at ||
	    index->offset + size > s->window_at + s->window_len) {
		int r = fill_window(s, more, fault);

		if (r < 0)
			return r;
	}
	block = s->window + (index->offset - s->window_at);
	memcpy(&header, block, sizeof(header));
	if (header.magic != RT_SNAP_BLOCK_MAGIC || header.size != size ||
	    header.number != s->number || header.n_entries != index->n_entries ||
	    header.check != XXH3_64bits_withSeed(block + checked, size - checked,
						 s->header.salt ^ s->number))
		return damaged(s, fault, index->offset,
			       "checksum of block %" PRIu64 ", which has %" PRIu64
			       " bytes",
			       s->number, size);
	s->at = block + sizeof(header);
	s->block_end = block + size;
	s->left = header.n_entries;
	s->number++;
	return 0;
}

static uint64_t offset_of(const struct rt_snapshot *s, const uint8_t *at)
{
	return s->window_at + (uint64_t)(at - s->window);
}

int rt_snapshot_next(struct rt_snapshot *s, struct rt_fault *fault,
		     struct rt_state *ret)
{
	struct rt_snap_entry entry;
	uint64_t size;

	if (!s->left) {
		int r;

		if (s->number == s->footer.n_blocks)
			return 0;
		r = load_block(s, true, fault);
		if (r < 0)
			return r;
	}
	if ((size_t)(s->block_end - s->at) < sizeof(entry))
		return damaged(s, fault, offset_of(s, s->at), "half of an entry");
	memcpy(&entry, s->at, sizeof(entry));
	size = rt_round_up(sizeof(entry) + entry.key_len + (uint64_t)entry.value_len,
			   RT_WORD);
	if (size > (size_t)(s->block_end - s->at) || !entry.key_len ||
	    (s->left == 1 && size != (size_t)(s->block_end - s->at)))
		return damaged(s, fault, offset_of(s, s->at),
			       "an entry with a key of %u bytes and a value of %u",
			       entry.key_len, entry.value_len);
	*ret = (struct rt_state){
		.seq = entry.seq,
		.time_ns = entry.time_ns,
		.deadline_ms = entry.deadline_ms,
		.key = s->at + sizeof(entry),
		.value = s->at + sizeof(entry) + entry.key_len,
		.value_len = entry.value_len,
		.key_len = entry.key_len,
		.flags = entry.flags,
	};
	s->at += size;
	s->left--;
	return 1;
}

/* The last block that begins at or before the key; the first one if none does. */
static uint64_t find_block(const struct rt_snapshot *s, const uint8_t *key, size_t len)
{
	uint64_t low = 0, high = s->footer.n_blocks;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct rt_snap_index *entry = s->blocks[middle];

		if (rt_key_compare(index_key(entry), entry->key_len, key, len) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : 0;
}

int rt_snapshot_seek(struct rt_snapshot *s, const uint8_t *key, size_t len,
		     struct rt_fault *fault)
{
	struct rt_state state;
	int r;

	s->left = 0;
	s->number = len ? find_block(s, key, len) : 0;
	if (!len || !s->footer.n_blocks)
		return 0;
	r = load_block(s, false, fault);
	while (!r && s->left) {
		const uint8_t *before = s->at;

		r = rt_snapshot_next(s, fault, &state);
		if (r < 0)
			return r;
		r = 0;
		if (rt_key_compare(state.key, state.key_len, key, len) >= 0) {
			s->at = before;
			s->left++;
			break;
		}
	}
	return r;
}

/*
 * ---- Verifying ----
 */

/* A key in memory of its own, since blocks come and go. */
struct last_key {
	uint8_t bytes[UINT16_MAX];
	size_t len;
};

static int verify_entry(const struct rt_snapshot *s, const struct rt_state *state,
			bool first, struct last_key *last, struct rt_fault *fault)
{
	const struct rt_snap_index *index = s->blocks[s->number - 1];
	uint64_t at = offset_of(s, state->key) - sizeof(struct rt_snap_entry);

	if (last->len &&
	    rt_key_compare(last->bytes, last->len, state->key, state->key_len) >= 0)
		return damaged(s, fault, at, "a key that is out of order");
	if (first && rt_key_compare(index_key(index), index->key_len, state->key,
				    state->key_len) != 0)
		return damaged(s, fault, at,
			       "the block does not begin with the key that the index "
			       "has for it");
	if (state->seq > s->header.seq)
		return damaged(s, fault, at,
			       "seq %" PRIu64 " in a snapshot as of seq %" PRIu64,
			       state->seq, s->header.seq);
	memcpy(last->bytes, state->key, state->key_len);
	last->len = state->key_len;
	return 0;
}

static int verify_blocks(struct rt_snapshot *s, int (*go_on)(void *arg), void *arg,
			 struct rt_fault *fault)
{
	AUTO_FREE struct last_key *last = malloc(sizeof(*last));
	uint64_t n_bytes = 0;
	struct rt_state state;
	int r;

	if (!last)
		return -ENOMEM;
	last->len = 0;
	for (;;) {
		bool first = !s->left;

		r = first && go_on ? go_on(arg) : 0;
		if (!r)
			r = rt_snapshot_next(s, fault, &state);
		if (r <= 0)
			break;
		r = verify_entry(s, &state, first, last, fault);
		if (r < 0)
			return r;
		n_bytes += state.key_len + (uint64_t)state.value_len;
	}
	if (!r && n_bytes != s->footer.n_bytes)
		return damaged(s, fault, s->file_size - sizeof(s->footer),
			       "it has %" PRIu64 " bytes of keys and values, the "
			       "footer says %" PRIu64,
			       n_bytes, s->footer.n_bytes);
	return r;
}

int rt_snapshot_verify(int dir_fd, const char *file, const char *what,
		       struct rt_fault *fault, struct rt_snapshot *ret_summary)
{
	return rt_snapshot_verify_while(dir_fd, file, what, NULL, NULL, fault,
					ret_summary);
}

int rt_snapshot_verify_while(int dir_fd, const char *file, const char *what,
			     int (*go_on)(void *arg), void *arg, struct rt_fault *fault,
			     struct rt_snapshot *ret_summary)
{
	AUTO(rt_snapshot_close) struct rt_snapshot s = RT_SNAPSHOT_NONE;
	int r = rt_snapshot_open(dir_fd, file, what, fault, &s);

	if (!r)
		r = verify_blocks(&s, go_on, arg, fault);
	if (r < 0)
		return r;
	if (ret_summary) {
		*ret_summary = RT_SNAPSHOT_NONE;
		ret_summary->header = s.header;
		ret_summary->footer = s.footer;
		ret_summary->file_size = s.file_size;
	}
	return 0;
}
