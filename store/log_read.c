/* SPDX-License-Identifier: MIT */
#include "store/log_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/state.h"

#define WINDOW_SIZE (UINT64_C(1) << 19) /* stays in the cache while it is read */
#define NAME_DIGITS 20

/*
 * ---- Segments ----
 */

void rt_segment_name(uint64_t first_seq, const char *suffix, char ret[32])
{
	(void)snprintf(ret, 32, "%0*" PRIu64 "%s", NAME_DIGITS, first_seq, suffix);
}

static bool parse_name(const char *name, uint64_t *ret)
{
	uint64_t seq = 0;

	if (strlen(name) != NAME_DIGITS + 4 || strcmp(name + NAME_DIGITS, ".log") != 0)
		return false;
	for (unsigned i = 0; i < NAME_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' ||
		    __builtin_mul_overflow(seq, UINT64_C(10), &seq) ||
		    __builtin_add_overflow(seq, (uint64_t)(name[i] - '0'), &seq))
			return false;
	}
	*ret = seq;
	return seq > 0;
}

static int compare_seqs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

int rt_segments_list(int dir_fd, struct rt_segments *ret)
{
	AUTO(rt_segments_fini) struct rt_segments made = { 0 };
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t cap = 0;

	if (!dir) {
		int e = -errno;

		if (fd >= 0)
			(void)close(fd);
		return e;
	}
	while ((errno = 0, entry = readdir(dir))) {
		uint64_t seq;

		if (!parse_name(entry->d_name, &seq))
			continue;
		if (made.n == cap) {
			void *grown =
				reallocarray(made.first_seqs, cap + 64, sizeof(seq));

			if (!grown)
				return -ENOMEM;
			made.first_seqs = grown;
			cap += 64;
		}
		made.first_seqs[made.n++] = seq;
	}
	if (errno)
		return -errno;
	if (made.n)
		qsort(made.first_seqs, made.n, sizeof(uint64_t), compare_seqs);
	*ret = made;
	made = (struct rt_segments){ 0 };
	return 0;
}

void rt_segments_fini(struct rt_segments *segments)
{
	free(segments->first_seqs);
	*segments = (struct rt_segments){ 0 };
}

static int check_header(const struct rt_log_header *h, const char *what,
			const char *name, uint64_t first_seq, struct rt_fault *fault)
{
	if (h->magic == __builtin_bswap64(RT_LOG_MAGIC)) {
		rt_fault_set(fault, "%s/%s: made on a machine of the other byte order",
			     what, name);
		return RT_E_VERSION;
	}
	if (h->magic != RT_LOG_MAGIC) {
		rt_fault_set(fault,
			     "%s/%s: damaged at byte 0: the magic is %016" PRIx64
			     ", expected %016" PRIx64,
			     what, name, h->magic, RT_LOG_MAGIC);
		return RT_E_CORRUPT;
	}
	if (h->format != RT_LOG_FORMAT || h->incompat) {
		rt_fault_set(
			fault,
			"%s/%s: log format %u, features %#x; this version knows %u",
			what, name, h->format, h->incompat, RT_LOG_FORMAT);
		return RT_E_VERSION;
	}
	if (h->check != XXH64(h, offsetof(struct rt_log_header, check), RT_LOG_MAGIC) ||
	    h->header_size != sizeof(*h) || h->name[RT_NAME_MAX]) {
		rt_fault_set(fault,
			     "%s/%s: damaged at byte %zu: checksum of the header", what,
			     name, offsetof(struct rt_log_header, check));
		return RT_E_CORRUPT;
	}
	if (h->first_seq != first_seq) {
		rt_fault_set(fault,
			     "%s/%s: damaged at byte %zu: it begins with seq %" PRIu64
			     ", its name says %" PRIu64,
			     what, name, offsetof(struct rt_log_header, first_seq),
			     h->first_seq, first_seq);
		return RT_E_CORRUPT;
	}
	return 0;
}

int rt_segment_open(int dir_fd, uint64_t first_seq, const char *what,
		    struct rt_fault *fault, struct rt_log_header *ret_header,
		    int *ret_fd)
{
	struct rt_log_header header;
	char name[32];
	ssize_t n;
	int r;

	rt_segment_name(first_seq, ".log", name);

	AUTO_CLOSE int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0) {
		r = -errno;
		rt_fault_set(fault, "%s/%s: %s", what, name, strerror(-r));
		return r;
	}
	n = pread(fd, &header, sizeof(header), 0);
	if (n < 0) {
		r = -errno;
		rt_fault_set(fault, "%s/%s: cannot read at byte 0: %s", what, name,
			     strerror(-r));
		return r;
	}
	if ((size_t)n < sizeof(header)) {
		rt_fault_set(fault,
			     "%s/%s: truncated: %zd bytes, a segment begins with %zu",
			     what, name, n, sizeof(header));
		return RT_E_CORRUPT;
	}
	r = check_header(&header, what, name, first_seq, fault);
	if (r < 0)
		return r;
	*ret_header = header;
	*ret_fd = rt_take_fd(&fd);
	return 0;
}

/*
 * ---- The reader ----
 */

int rt_log_reader_open(const char *path, struct rt_fault *fault,
		       struct rt_log_reader *ret)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *what;

	if (fd < 0) {
		int r = errno == ENOENT || errno == ENOTDIR ? RT_E_NO_FEED : -errno;

		rt_fault_set(fault, "%s: %s", path, strerror(errno));
		return r;
	}
	what = strdup(path);
	if (!what)
		return -ENOMEM;
	*ret = (struct rt_log_reader){ .dir_fd = rt_take_fd(&fd),
				       .what = what,
				       .fd = -1 };
	return 0;
}

static void leave_segment(struct rt_log_reader *reader)
{
	rt_close_fd(&reader->fd);
	reader->fd = -1;
	reader->window_len = 0;
}

void rt_log_reader_close(struct rt_log_reader *reader)
{
	if (!reader->what)
		return;
	leave_segment(reader);
	(void)close(reader->dir_fd);
	free(reader->what);
	free(reader->window);
	*reader = (struct rt_log_reader){ .dir_fd = -1, .fd = -1 };
}

/* Not below what was let go; that file is not worth a failure by itself. */
static int above_floor(const struct rt_log_reader *reader, uint64_t *seq)
{
	struct rt_floor floor = { 0 };
	int r = rt_floor_read(reader->dir_fd, &floor);

	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	*seq = rt_max(*seq, rt_floor_seq(&floor));
	return 0;
}

int rt_log_reader_oldest(struct rt_log_reader *reader, uint64_t *ret)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	int r = rt_segments_list(reader->dir_fd, &segments);

	if (r < 0)
		return r;
	*ret = segments.n ? segments.first_seqs[0] : 0;
	return segments.n ? above_floor(reader, ret) : 0;
}

int rt_log_reader_enter(struct rt_log_reader *reader, uint64_t first_seq,
			struct rt_fault *fault)
{
	int fd = -1;
	int r = rt_segment_open(reader->dir_fd, first_seq, reader->what, fault,
				&reader->header, &fd);

	if (r < 0)
		return r;
	leave_segment(reader);
	reader->fd = fd;
	reader->next = first_seq;
	reader->offset = RT_LOG_START;
	return 0;
}

/* Makes @size bytes from @reader->offset on available; returns how many there are. */
static ssize_t fill_window(struct rt_log_reader *reader, size_t size)
{
	if (size > reader->window_cap || !reader->window) {
		size_t cap = rt_round_up(rt_max(size, WINDOW_SIZE), 4096);
		void *grown = realloc(reader->window, cap);

		if (!grown)
			return -ENOMEM;
		reader->window = grown;
		reader->window_cap = cap;
	}
	reader->window_at = reader->offset;
	reader->window_len = 0;
	while (reader->window_len < reader->window_cap) {
		ssize_t n = pread(reader->fd, reader->window + reader->window_len,
				  reader->window_cap - reader->window_len,
				  (off_t)(reader->offset + reader->window_len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		reader->window_len += (size_t)n;
		if (reader->window_len >= size)
			break;
	}
	return (ssize_t)reader->window_len;
}

static size_t in_window(const struct rt_log_reader *reader)
{
	uint64_t end = reader->window_at + reader->window_len;

	if (reader->offset < reader->window_at || reader->offset > end)
		return 0;
	return (size_t)(end - reader->offset);
}

static const uint8_t *at_offset(const struct rt_log_reader *reader)
{
	return reader->window + (reader->offset - reader->window_at);
}

/* Does the file hold that much behind the offset?  Else no memory is spent on it. */
static bool is_in_file(const struct rt_log_reader *reader, uint64_t size)
{
	struct stat st;

	return fstat(reader->fd, &st) == 0 && (uint64_t)st.st_size >= reader->offset &&
	       (uint64_t)st.st_size - reader->offset >= size;
}

/* 1 a whole valid batch is in the window at the offset; 0 not; negative errno. */
static int load_batch(struct rt_log_reader *reader)
{
	struct rt_log_batch header;

	/* First with what is there; then afresh, since it may be older than the batch.
	 */
	for (unsigned again = 0; again < 2; again++) {
		ssize_t n = (ssize_t)in_window(reader);

		if ((size_t)n < sizeof(header) || again)
			n = fill_window(reader, sizeof(header));
		if (n < 0)
			return (int)n;
		if ((size_t)n < sizeof(header))
			return 0;
		memcpy(&header, at_offset(reader), sizeof(header));
		if (!rt_batch_header_valid(&header, reader->next))
			continue;
		if (header.size > (uint64_t)n) {
			if (!is_in_file(reader, header.size))
				continue;
			n = fill_window(reader, header.size);
			if (n < 0)
				return (int)n;
		}
		if (rt_batch_valid(at_offset(reader), (size_t)n, reader->header.salt,
				   reader->next))
			return 1;
	}
	return 0;
}

int rt_log_reader_step(struct rt_log_reader *reader, const uint8_t **ret)
{
	struct rt_log_batch header;
	int r = load_batch(reader);

	if (r <= 0)
		return r;
	memcpy(&header, at_offset(reader), sizeof(header));
	*ret = at_offset(reader);
	reader->offset += header.size;
	reader->next += header.n_events;
	return 1;
}

static int compacted(struct rt_log_reader *reader, uint64_t seq, struct rt_fault *fault)
{
	uint64_t oldest = 0;

	(void)rt_log_reader_oldest(reader, &oldest);
	rt_fault_set(fault,
		     "%s: compacted: seq %" PRIu64
		     " is gone, the oldest held is %" PRIu64,
		     reader->what, seq, oldest);
	return RT_E_COMPACTED;
}

static int damaged(const struct rt_log_reader *reader, struct rt_fault *fault)
{
	char name[32];

	rt_segment_name(reader->header.first_seq, ".log", name);
	rt_fault_set(fault,
		     "%s/%s: damaged at byte %" PRIu64
		     ": no valid batch that begins with seq "
		     "%" PRIu64,
		     reader->what, name, reader->offset, reader->next);
	return RT_E_CORRUPT;
}

/*
 * The segment is over, or its next batch is not valid: is there one that goes on? While
 * segments are removed, the oldest first, a list can have an old one and lack a newer
 * one; the next list then has neither.
 */
static int next_segment(struct rt_log_reader *reader, struct rt_fault *fault)
{
	for (unsigned n_lacking = 0; n_lacking < 2;) {
		AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
		int r = rt_segments_list(reader->dir_fd, &segments);
		size_t i = 0;

		if (r < 0)
			return r;
		if (!segments.n || segments.first_seqs[0] > reader->next)
			return compacted(reader, reader->next, fault);
		while (i < segments.n && segments.first_seqs[i] != reader->next)
			i++;
		if (i == segments.n) {
			n_lacking++;
			continue;
		}
		r = rt_log_reader_enter(reader, reader->next, fault);
		if (r != -ENOENT)
			return r;
	}
	return damaged(reader, fault);
}

int rt_log_reader_next(struct rt_log_reader *reader, uint64_t limit,
		       struct rt_fault *fault, const uint8_t **ret)
{
	int r;

	if (reader->next > limit)
		return 0;
	r = rt_log_reader_step(reader, ret);
	if (r)
		return r;
	r = next_segment(reader, fault);
	if (r < 0)
		return r;
	r = rt_log_reader_step(reader, ret);
	return r ? r : damaged(reader, fault);
}

/*
 * ---- Seeking ----
 */

/* Reads the index of the segment; what it says is checked where it points. */
static ssize_t read_index(const struct rt_log_reader *reader, struct rt_log_index **ret)
{
	char name[32];
	struct stat st;
	ssize_t n;

	rt_segment_name(reader->header.first_seq, ".idx", name);

	AUTO_CLOSE int fd = openat(reader->dir_fd, name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > 64 << 20)
		return 0;

	AUTO_FREE struct rt_log_index *entries = malloc((size_t)st.st_size);

	if (!entries)
		return 0;
	n = pread(fd, entries, (size_t)st.st_size, 0);
	if (n <= 0)
		return 0;
	*ret = rt_take_ptr(&entries);
	return n / (ssize_t)sizeof(**ret);
}

static bool entry_is_true(struct rt_log_reader *reader,
			  const struct rt_log_index *entry)
{
	struct rt_log_batch header;

	return entry->offset >= RT_LOG_START && entry->offset % RT_WORD == 0 &&
	       entry->offset < INT64_MAX &&
	       pread(reader->fd, &header, sizeof(header), (off_t)entry->offset) ==
		       (ssize_t)sizeof(header) &&
	       rt_batch_header_valid(&header, entry->seq) &&
	       header.time_ns == entry->time_ns;
}

/* What is looked for in an index. */
enum aim {
	AIM_SEQ,
	AIM_TIME,
	AIM_OFFSET
};

/* Does the batch begin at or before it; for a time, before it? */
static bool is_before(const struct rt_log_index *entry, enum aim aim, uint64_t value)
{
	switch (aim) {
	case AIM_SEQ:
		return entry->seq <= value;
	case AIM_TIME:
		return entry->time_ns < value;
	case AIM_OFFSET:
		break;
	}
	return entry->offset <= value;
}

/* Moves to the last indexed batch that does.  Returns whether it moved. */
static bool use_index(struct rt_log_reader *reader, enum aim aim, uint64_t value)
{
	AUTO_FREE struct rt_log_index *entries = NULL;
	ssize_t low = 0, high = read_index(reader, &entries);

	while (low < high) {
		ssize_t middle = low + (high - low) / 2;

		if (is_before(&entries[middle], aim, value))
			low = middle + 1;
		else
			high = middle;
	}
	if (low && entry_is_true(reader, &entries[low - 1])) {
		reader->next = entries[low - 1].seq;
		reader->offset = entries[low - 1].offset;
		reader->window_len = 0;
		return true;
	}
	return false;
}

bool rt_log_reader_skip(struct rt_log_reader *reader, uint64_t offset)
{
	return use_index(reader, AIM_OFFSET, offset);
}

/* The last segment that begins at or before @seq. */
static int seek_segment(struct rt_log_reader *reader, uint64_t seq,
			struct rt_fault *fault)
{
	/* A segment can be removed between listing and opening: list again. */
	for (;;) {
		AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
		int r = rt_segments_list(reader->dir_fd, &segments);
		size_t at = 0;

		if (r < 0)
			return r;
		if (!segments.n || segments.first_seqs[0] > seq)
			return compacted(reader, seq, fault);
		while (at + 1 < segments.n && segments.first_seqs[at + 1] <= seq)
			at++;
		r = rt_log_reader_enter(reader, segments.first_seqs[at], fault);
		if (r != -ENOENT)
			return r;
	}
}

/* On to the batch that holds @seq.  1; 0 the valid ones end before; negative errno. */
static int walk_to(struct rt_log_reader *reader, uint64_t seq)
{
	struct rt_log_batch header;
	int r;

	while ((r = load_batch(reader)) == 1) {
		memcpy(&header, at_offset(reader), sizeof(header));
		if (header.n_events > seq - reader->next)
			return 1;
		reader->offset += header.size;
		reader->next += header.n_events;
	}
	return r;
}

int rt_log_reader_find(struct rt_log_reader *reader, uint64_t seq,
		       struct rt_fault *fault)
{
	bool indexed = use_index(reader, AIM_SEQ, seq);
	uint64_t from = reader->offset;
	int r = walk_to(reader, seq);

	if (r || !indexed || (reader->next == seq && reader->offset != from))
		return r;
	/* Where the index leads looked right and was not. */
	r = rt_log_reader_enter(reader, reader->header.first_seq, fault);
	return r < 0 ? r : walk_to(reader, seq);
}

int rt_log_reader_seek(struct rt_log_reader *reader, uint64_t seq,
		       struct rt_fault *fault)
{
	uint64_t oldest = 0;
	int r;

	r = above_floor(reader, &oldest);
	if (r < 0)
		return r;
	if (seq < oldest)
		return compacted(reader, seq, fault);
	if (reader->fd >= 0 && reader->next == seq)
		return 0;
	r = seek_segment(reader, seq, fault);
	if (!r)
		r = rt_log_reader_find(reader, seq, fault);
	if (r < 0)
		return r;
	return r || reader->next == seq ? 0 : damaged(reader, fault);
}

static uint64_t segment_time(struct rt_log_reader *reader, uint64_t first_seq)
{
	struct rt_log_batch header;

	if (rt_log_reader_enter(reader, first_seq, NULL) < 0 || load_batch(reader) != 1)
		return UINT64_MAX; /* empty or gone: not before anything */
	memcpy(&header, at_offset(reader), sizeof(header));
	return header.time_ns;
}

int rt_log_reader_seek_time(struct rt_log_reader *reader, uint64_t time_ns,
			    struct rt_fault *fault)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	int r = rt_segments_list(reader->dir_fd, &segments);
	size_t low = 0, high;

	if (r < 0)
		return r;
	if (!segments.n)
		return compacted(reader, 1, fault);
	/* The last segment whose first batch is older than the time. */
	for (high = segments.n; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (segment_time(reader, segments.first_seqs[middle]) < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	r = rt_log_reader_enter(reader, segments.first_seqs[low ? low - 1 : 0], fault);
	if (r < 0)
		return r;
	(void)use_index(reader, AIM_TIME,
			time_ns); /* else from the begin of the segment */
	return 0;
}
