/* SPDX-License-Identifier: MIT */
/*
 * fuzz_snapshot.c - a snapshot with changes
 *
 * The first byte of an input: bit 0 repairs all checksums after the changes, bit 1
 * makes them in the end of the file (last block, index, footer) instead of its begin.
 * What follows are changes (patches.h).  Whatever is there: reading ends, what it gives
 * lies in memory that is there, and what verification accepts is in order and whole.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/build.h"
#include "store/snapshot.h"
#include "tests/fuzz/patches.h"

#define FILE_NAME "00000000000000000050.snap"
#define FILE_MAX  (512u << 10)
#define PART      8192u /* in which changes are made */
#define N_ENTRIES 24
#define N_BLOCKS  4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static int dir_fd = -1;
static uint8_t file[FILE_MAX];
static size_t len;

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void clean_up(void)
{
	(void)unlinkat(dir_fd, FILE_NAME, 0);
	(void)close(dir_fd);
	(void)rmdir(dir);
}

/* Blocks of some small entries and a large one; then one of the others. */
static void make_original(void)
{
	const struct rt_snapshot_config config = {
		.name = "fuzz",
		.epoch = 7,
		.seq = 50,
		.file_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	static uint8_t value[70000];
	struct rt_snapshot_writer writer;
	char key[32];
	ssize_t n;

	(void)snprintf(dir, sizeof(dir), "/dev/shm/fuzz_snapshot.XXXXXX");
	must(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)atexit(clean_up);
	must(rt_snapshot_create(dir_fd, FILE_NAME, &config, NULL, &writer) == 0);
	for (unsigned i = 0; i < N_ENTRIES; i++) {
		struct rt_state state = {
			.seq = 1 + i,
			.time_ns = i,
			.deadline_ms = i % 2,
			.key = (uint8_t *)key,
			.key_len = (uint16_t)snprintf(key, sizeof(key), "key/%02u", i),
			.value = value,
			.value_len = i % 6 == 5 && i < 18 ? sizeof(value) : i,
		};

		must(rt_snapshot_put(&writer, &state, NULL) == 0);
	}
	must(rt_snapshot_finish(&writer, NULL) == 0);
	must(writer.n_blocks == N_BLOCKS);
	rt_snapshot_discard(&writer);

	int fd = openat(dir_fd, FILE_NAME, O_RDONLY | O_CLOEXEC);

	n = read(fd, file, sizeof(file));
	must(n > 0 && (size_t)n < sizeof(file));
	len = (size_t)n;
	(void)close(fd);
}

static void repair_block(uint8_t *bytes, size_t at, uint64_t salt)
{
	struct rt_snap_block block;

	memcpy(&block, bytes + at, sizeof(block));
	if (block.size < sizeof(block) || block.size > len - at)
		return;
	block.check = XXH3_64bits_withSeed(bytes + at + 16, block.size - 16,
					   salt ^ block.number);
	memcpy(bytes + at, &block, sizeof(block));
}

static void repair_checks(uint8_t *bytes)
{
	struct rt_snap_header header;
	struct rt_snap_footer footer, original;
	struct rt_snap_block block;
	size_t at = RT_SNAP_START;

	memcpy(&header, bytes, sizeof(header));
	header.check =
		XXH64(bytes, offsetof(struct rt_snap_header, check), RT_SNAP_MAGIC);
	memcpy(bytes, &header, sizeof(header));
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		memcpy(&block, file + at, sizeof(block));
		repair_block(bytes, at, header.salt);
		at += block.size;
	}
	memcpy(&original, file + len - sizeof(original), sizeof(original));
	memcpy(&footer, bytes + len - sizeof(footer), sizeof(footer));
	footer.index_check = XXH3_64bits_withSeed(bytes + original.index_offset,
						  original.index_size, header.salt);
	footer.check = XXH3_64bits_withSeed(
		&footer, offsetof(struct rt_snap_footer, check), header.salt);
	memcpy(bytes + len - sizeof(footer), &footer, sizeof(footer));
}

static void write_file(const uint8_t *data, size_t size, uint8_t how)
{
	static uint8_t bytes[FILE_MAX];
	int fd = openat(dir_fd, FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);

	memcpy(bytes, file, len);
	patch_all(how & 2 ? bytes + len - PART : bytes, PART, data, size);
	if (how & 1)
		repair_checks(bytes);
	must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	(void)close(fd);
}

/* Touches all of it, for who watches over memory. */
static unsigned sum_of(const struct rt_state *state)
{
	unsigned sum = state->flags;

	for (size_t i = 0; i < state->key_len; i++)
		sum += state->key[i];
	for (size_t i = 0; i < state->value_len; i++)
		sum += state->value[i];
	return sum;
}

static uint64_t read_from(struct rt_snapshot *snapshot, const char *key)
{
	struct rt_state state;
	unsigned sum = 0;
	uint64_t n = 0;

	if (rt_snapshot_seek(snapshot, (const uint8_t *)key, strlen(key), NULL) < 0)
		return 0;
	while (rt_snapshot_next(snapshot, NULL, &state) == 1) {
		sum += sum_of(&state);
		must(++n <= snapshot->footer.n_entries);
	}
	must(n || !sum); /* so that nobody leaves the sums out */
	return n;
}

/* One entry, from a block that is read alone. */
static void peek(struct rt_snapshot *snapshot, const char *key)
{
	struct rt_state state;

	if (rt_snapshot_seek(snapshot, (const uint8_t *)key, strlen(key), NULL) == 0 &&
	    rt_snapshot_next(snapshot, NULL, &state) == 1)
		must(sum_of(&state) != UINT_MAX); /* so that nobody leaves it out */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rt_snapshot snapshot;
	bool valid;

	if (!size)
		return 0;
	if (!dir[0])
		make_original();
	write_file(data + 1, size - 1, data[0]);
	valid = rt_snapshot_verify(dir_fd, FILE_NAME, dir, NULL, NULL) == 0;
	if (rt_snapshot_open(dir_fd, FILE_NAME, dir, NULL, &snapshot) < 0) {
		must(!valid);
		return 0;
	}
	must((read_from(&snapshot, "") == snapshot.footer.n_entries) || !valid);
	peek(&snapshot, "key/03");
	peek(&snapshot, "key/14");
	peek(&snapshot, "key/08");
	(void)read_from(&snapshot, "key/03");
	(void)read_from(&snapshot, "key/12");
	(void)read_from(&snapshot, "key/20");
	must(read_from(&snapshot, "\xff\xff\xff") == 0 || !valid ||
	     size > PATCH_HEAD); /* unless a key was changed to one beyond it */
	rt_snapshot_close(&snapshot);
	return 0;
}
