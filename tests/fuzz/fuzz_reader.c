/* SPDX-License-Identifier: MIT */
/*
 * fuzz_reader.c - the library's reader on a ring with changes
 *
 * An input: one byte that picks where to begin and how to read, then changes
 * (patches.h) to a small ring behind its page 0.  Whatever is in it, reading ends, the
 * accounts add up, and no two events come out of order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <ringtail.h>

#include "shm/ring.h"
#include "tests/fuzz/patches.h"

#define FILE_MAX  65536u
#define CALLS_MAX 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t good[FILE_MAX];
static size_t good_size;

/* A ring with events of all shapes, lapped once; made with the writer itself. */
static void make_good(void)
{
	char dir[] = "/dev/shm/fuzz_reader.XXXXXX";
	struct rt_ring_config config = {
		.name = "feed",
		.n_slots = 64,
		.payload_size = 4096,
		.max_key = 64,
		.mode = 0640,
		.bell_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.epoch = 1,
	};
	struct rt_writer *w;
	char command[80];

	if (!mkdtemp(dir) || rt_writer_open(dir, &config, 0, 0, NULL, &w) < 0)
		abort();
	rt_writer_set_time(w, 1000);
	for (unsigned i = 0; i < 50; i++) {
		(void)rt_writer_one(w, RT_OP_PUT, 0, "a/key", 5, "value", 5);
		(void)rt_writer_one(w, RT_OP_PUT, 0, "b/key", 5, dir, sizeof(dir));
		rt_writer_begin(w);
		(void)rt_writer_add(w, RT_OP_DELETE, 0, "a/key", 5, NULL, 0);
		(void)rt_writer_add(w, RT_OP_MESSAGE, 0, dir, sizeof(dir), dir, 20);
		rt_writer_commit(w);
	}
	good_size = w->segment.geo.file_size;
	if (good_size > sizeof(good))
		abort();
	memcpy(good, w->segment.base, good_size);
	rt_writer_drop(w);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command) != 0) /* NOLINT: a folder of our own making */
		abort();
}

static int make_bad(const uint8_t *data, size_t size)
{
	int fd = memfd_create("bad", MFD_CLOEXEC);
	uint8_t *bytes;

	if (fd < 0 || ftruncate(fd, (off_t)good_size) < 0)
		abort();
	bytes = mmap(NULL, good_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		abort();
	memcpy(bytes, good, good_size);
	patch_all(bytes + RT_PAGE, good_size - RT_PAGE, data, size);
	(void)munmap(bytes, good_size);
	return fd;
}

static int read_one(struct ringtail *reader, unsigned how, struct ringtail_event *event)
{
	const struct ringtail_event *events;
	size_t n = 0;
	int r;

	switch (how % 3) {
	case 0:
		return ringtail_next(reader, event, 0);
	case 1:
		r = ringtail_borrow(reader, event, 0);
		if (r == RINGTAIL_EVENT)
			(void)ringtail_borrow_valid(reader);
		return r;
	default:
		r = ringtail_next_txn(reader, &events, &n, 0);
		if (r == RINGTAIL_EVENT)
			*event = events[n - 1];
		return r;
	}
}

/* Touches all of it, for the sanitizers. */
static void look_at(const struct ringtail_event *event)
{
	const uint8_t *key = event->key, *value = event->value;
	uint64_t sum = 0;

	for (size_t i = 0; i < event->key_len; i++)
		sum = sum * 31 + key[i];
	for (size_t i = 0; i < event->value_len; i++)
		sum = sum * 31 + value[i];
	__asm__ volatile("" : : "r"(sum)); /* or nobody would look */
}

static void read_all(struct ringtail *reader, unsigned how)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };
	uint64_t newest = 0;
	unsigned calls = 0;
	int r;

	do {
		struct ringtail_event event;

		r = read_one(reader, how, &event);
		if (r == RINGTAIL_EVENT) {
			if (event.seq <= newest)
				abort();
			newest = event.seq;
			look_at(&event);
		}
		if (++calls == CALLS_MAX)
			abort(); /* no end */
	} while (r == RINGTAIL_EVENT || r == RINGTAIL_GAP);
	(void)ringtail_get_stats(reader, &stats);
	if (how % 3 != 1 && stats.delivered + stats.filtered + stats.lost !=
				    stats.position - stats.start)
		abort();
	(void)ringtail_state(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_filter filter = { RINGTAIL_FILTER_PREFIX, 0, "a/", 2, NULL, 0 };
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *reader;
	int fd;

	if (!good_size)
		make_good();
	if (!size)
		return 0;
	fd = make_bad(data + 1, size - 1);
	options.start =
		data[0] >> 4 & 1 ? RINGTAIL_START_AFTER_SEQ : RINGTAIL_START_OLDEST;
	options.start = data[0] >> 4 == 2 ? RINGTAIL_START_TIME : options.start;
	options.time_ns = options.start == RINGTAIL_START_TIME ? 1000 : 0;
	options.seq = options.start == RINGTAIL_START_AFTER_SEQ ? 170 : 0;
	options.on_gap = data[0] & 8 ? RINGTAIL_ON_GAP_ERROR : RINGTAIL_ON_GAP_SKIP;
	options.filters = data[0] & 4 ? &filter : NULL;
	options.n_filters = data[0] & 4 ? 1 : 0;
	if (ringtail_open_fd(fd, &options, &reader) == 0) {
		(void)ringtail_get_info(reader, &info);
		read_all(reader, data[0] & 3);
		ringtail_close(reader);
	}
	(void)close(fd);
	return 0;
}
