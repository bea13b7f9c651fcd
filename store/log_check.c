/* SPDX-License-Identifier: MIT */
#include "store/log_check.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "store/file.h"

/*
 * ---- Of one kind ----
 */

int rt_kind_read(struct rt_kind *kind, int dir_fd)
{
	int r;

	rt_kind_fini(kind);
	r = rt_epochs_read(dir_fd, &kind->epochs, &kind->n_epochs);
	return r == RT_E_CORRUPT ? 0 : r; /* who needs them says so */
}

void rt_kind_fini(struct rt_kind *kind)
{
	free(kind->epochs);
	kind->epochs = NULL;
	kind->n_epochs = 0;
}

/*
 * Did @epoch last when @seq came, which begins a segment?  One that ended before
 * anything happened in it is forgotten, but a segment can have been begun in it: then
 * the next one begins with the same seq.  Before the oldest that is known is any.
 */
static bool is_of_its_time(const struct rt_kind *kind, uint64_t epoch, uint64_t seq)
{
	size_t at = kind->n_epochs;

	while (at && kind->epochs[at - 1].first_seq > seq)
		at--;
	if (!at || kind->epochs[at - 1].epoch == epoch ||
	    kind->epochs[at - 1].first_seq == seq)
		return true;
	return false;
}

int rt_kind_check(struct rt_kind *kind, const struct rt_log_reader *reader,
		  struct rt_fault *fault)
{
	const struct rt_log_header *header = &reader->header;
	char name[32];

	rt_segment_name(header->first_seq, ".log", name);
	if (!kind->name[0])
		memcpy(kind->name, header->name, sizeof(kind->name));
	if (strcmp(kind->name, header->name) != 0) {
		rt_fault_set(fault, "%s/%s: is of feed '%s', expected '%s'",
			     reader->what, name, header->name, kind->name);
		return RT_E_CORRUPT;
	}
	if (!is_of_its_time(kind, header->epoch, header->first_seq)) {
		rt_fault_set(fault,
			     "%s/%s: is of epoch %016" PRIx64
			     ", which is not what %s/epochs has for seq %" PRIu64,
			     reader->what, name, header->epoch, reader->what,
			     header->first_seq);
		return RT_E_CORRUPT;
	}
	return 0;
}

/*
 * ---- One segment ----
 */

/* It is over where its valid batches are: is that where the next one begins? */
static int check_end(const struct rt_log_reader *reader, uint64_t next,
		     struct rt_fault *fault)
{
	char name[32];

	if (reader->next == next)
		return 0;
	rt_segment_name(reader->header.first_seq, ".log", name);
	rt_fault_set(fault,
		     "%s/%s: damaged at byte %" PRIu64
		     ": no valid batch, expected one that begins with seq %" PRIu64
		     "; the next segment begins with seq %" PRIu64,
		     reader->what, name, reader->offset, reader->next, next);
	return RT_E_CORRUPT;
}

static int unreadable(const struct rt_log_reader *reader, int error,
		      struct rt_fault *fault)
{
	char name[32];

	rt_segment_name(reader->header.first_seq, ".log", name);
	rt_fault_set(fault, "%s/%s: cannot read at byte %" PRIu64 ": %s", reader->what,
		     name, reader->offset, strerror(-error));
	return error;
}

/* Up to where the next one begins, by the index: its last batch is there and whole. */
static int check_last(struct rt_log_reader *reader, uint64_t next,
		      struct rt_fault *fault)
{
	const uint8_t *data;
	int r = rt_log_reader_find(reader, next - 1, fault);

	if (r == 1)
		r = rt_log_reader_step(reader, &data);
	return r < 0 ? unreadable(reader, r, fault) : check_end(reader, next, fault);
}

/* On to its end, or @max_bytes and a batch further: 1 there is more, 0, negative. */
static int check_bytes(struct rt_log_reader *reader, uint64_t next, uint64_t max_bytes,
		       const _Atomic bool *cancel, struct rt_fault *fault)
{
	uint64_t from = reader->offset;
	const uint8_t *data;
	int r;

	while ((r = rt_log_reader_step(reader, &data)) == 1) {
		if (rt_is_canceled(cancel))
			return -ECANCELED;
		if (reader->offset - from >= max_bytes)
			return 1;
	}
	return r < 0 ? unreadable(reader, r, fault) : check_end(reader, next, fault);
}

/* Not the fault of the file. */
static bool may_pass(int error)
{
	return error == -ECANCELED || error == -ENOMEM || error == -EMFILE ||
	       error == -ENFILE;
}

/*
 * ---- At the start ----
 */

/* Its newest @bytes of @size, if the index says where they are; its end at least. */
static int check_newest(struct rt_log_reader *reader, uint64_t next, uint64_t size,
			uint64_t bytes, const _Atomic bool *cancel,
			struct rt_fault *fault)
{
	uint64_t from;
	int r;

	if (bytes && rt_log_reader_skip(reader, size - bytes)) {
		from = reader->offset;
		r = check_bytes(reader, next, UINT64_MAX, cancel, fault);
		if (!r || r == -ECANCELED || reader->offset != from)
			return r;
		/* Where the index leads looked right and was not. */
		r = rt_log_reader_enter(reader, reader->header.first_seq, fault);
		if (r < 0)
			return r;
	}
	return check_last(reader, next, fault);
}

/* 1 all of it is read, 0 not, negative. */
static int check_one(struct rt_log_reader *reader, struct rt_kind *kind,
		     uint64_t first_seq, uint64_t next, uint64_t *left,
		     const _Atomic bool *cancel, struct rt_fault *fault)
{
	struct stat st;
	uint64_t size, bytes;
	int r = rt_log_reader_enter(reader, first_seq, fault);

	if (!r)
		r = rt_kind_check(kind, reader, fault);
	if (r < 0)
		return r;
	if (fstat(reader->fd, &st) < 0)
		return unreadable(reader, -errno, fault);
	size = (uint64_t)st.st_size;
	bytes = rt_min(size, *left);
	*left -= bytes;
	r = bytes == size ? check_bytes(reader, next, UINT64_MAX, cancel, fault)
			  : check_newest(reader, next, size, bytes, cancel, fault);
	return r < 0 ? r : bytes == size;
}

int rt_log_check_below(const char *path, struct rt_kind *kind,
		       const struct rt_segments *segments, uint64_t below,
		       uint64_t max_bytes, const _Atomic bool *cancel,
		       struct rt_fault *fault, struct rt_log_check *ret_rest)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	uint64_t left = max_bytes;
	int r = rt_log_reader_open(path, fault, &reader);

	*ret_rest = (struct rt_log_check){ 0 };
	for (size_t i = segments->n; i-- > 1 && r >= 0;) {
		const uint64_t next = segments->first_seqs[i];

		if (next > below)
			continue;
		r = check_one(&reader, kind, segments->first_seqs[i - 1], next, &left,
			      cancel, fault);
		if (r < 0 && !may_pass(r))
			ret_rest->whole_from = next;
		if (!r && !ret_rest->below)
			ret_rest->below = next;
	}
	ret_rest->n_read = max_bytes - left;
	return r < 0 ? r : 0;
}

/*
 * ---- Later ----
 */

/* Into the newest that ends before check->below: 1, 0 there is none, negative. */
static int enter_next(struct rt_log_reader *reader, const struct rt_log_check *check,
		      uint64_t *ret_first_seq, struct rt_fault *fault)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	size_t at;
	int r = rt_segments_list(reader->dir_fd, &segments);

	if (r < 0) {
		rt_fault_set(fault, "%s: %s", reader->what, strerror(-r));
		return r;
	}
	for (at = segments.n; at && segments.first_seqs[at - 1] >= check->below;)
		at--;
	if (!at)
		return 0;
	r = rt_log_reader_enter(reader, segments.first_seqs[at - 1], fault);
	if (r == -ENOENT)
		return 0; /* it went, and before it all that are older */
	*ret_first_seq = segments.first_seqs[at - 1];
	if (!r && check->next > reader->next && check->next <= check->below) {
		reader->next = check->next;
		reader->offset = check->offset;
	}
	return r < 0 ? r : 1;
}

/* One segment, or a part of it: 1 there is more of it, 0 it is read, negative. */
static int check_next(struct rt_log_reader *reader, struct rt_log_check *check,
		      uint64_t *left, const _Atomic bool *cancel,
		      struct rt_fault *fault)
{
	uint64_t first_seq = 0; /* there is none: then this was all */
	int r = enter_next(reader, check, &first_seq, fault);

	if (r == 1) {
		uint64_t from = reader->offset;

		r = check_bytes(reader, check->below, *left, cancel, fault);
		*left -= rt_min(*left, reader->offset - from);
	}
	if (r == 1) {
		check->next = reader->next;
		check->offset = reader->offset;
		return 1;
	}
	if (may_pass(r))
		return r;
	if (r < 0)
		check->whole_from = check->below;
	check->below = first_seq;
	check->next = check->offset = 0;
	return r;
}

int rt_log_check_on(const char *path, struct rt_log_check *check, uint64_t max_bytes,
		    const _Atomic bool *cancel, struct rt_fault *fault)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	int r = check->below ? rt_log_reader_open(path, fault, &reader) : 0;

	while (!r && check->below && max_bytes)
		r = check_next(&reader, check, &max_bytes, cancel, fault);
	return r ? r : check->below != 0;
}

/*
 * ---- Behind damage ----
 */

#define SCAN_SIZE  (UINT64_C(64) << 10)
#define SCAN_TIMES 16u /* the size of the file: so much is read of what is no batch */

/* The next that looks like a batch at or before @seq, from @at on: its offset; 0. */
static uint64_t find_batch(const struct rt_log_reader *reader, uint64_t at,
			   uint64_t seq, uint8_t *chunk, struct rt_log_batch *ret)
{
	ssize_t n;

	while ((n = rt_file_read(reader->fd, chunk, SCAN_SIZE, at)) >=
	       (ssize_t)sizeof(*ret)) {
		uint64_t i = 0;

		for (; i + sizeof(*ret) <= (uint64_t)n; i += RT_WORD) {
			memcpy(ret, chunk + i, sizeof(*ret));
			if (ret->magic == RT_LOG_BATCH_MAGIC &&
			    ret->first_seq > reader->next && ret->first_seq <= seq &&
			    rt_batch_header_valid(ret, ret->first_seq))
				return at + i;
		}
		at += i;
	}
	return 0;
}

int rt_log_pass_damage(struct rt_log_reader *reader, uint64_t seq)
{
	AUTO_FREE uint8_t *chunk = malloc(SCAN_SIZE);
	uint64_t at = reader->offset, looked = 0;
	struct rt_log_batch header;
	const uint8_t *data;
	struct stat st;
	int r = 0;

	if (!chunk)
		return -ENOMEM;
	if (fstat(reader->fd, &st) < 0)
		return -errno;
	while (looked / SCAN_TIMES <= (uint64_t)st.st_size &&
	       (at = find_batch(reader, at + RT_WORD, seq, chunk, &header))) {
		const uint64_t damage = reader->next;

		reader->offset = at;
		reader->next = header.first_seq;
		while ((r = rt_log_reader_step(reader, &data)) == 1)
			;
		if (r < 0)
			return r;
		if (reader->offset != at && reader->next >= seq) {
			reader->offset = at;
			reader->next = header.first_seq;
			return 1;
		}
		looked += SCAN_SIZE + rt_min(header.size, (uint64_t)st.st_size);
		if (reader->offset == at)
			reader->next = damage; /* it was none */
		else
			at = reader->offset - RT_WORD;
	}
	return 0;
}
