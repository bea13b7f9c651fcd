/* SPDX-License-Identifier: MIT */
/*
 * test_snapshot.c - store/snapshot_write.c and store/snapshot_read.c
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/segment.h"
#include "store/log.h"
#include "store/snapshot.h"

#define FILE_NAME "00000000000000000700.snap"
#define SEQ       700

struct rig {
	char *dir;
	int dir_fd;
	struct rt_snapshot_config config;
	struct rt_fault fault;
	int fds;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->fds = t_count_fds();
	rig->dir = t_dir_new();
	rig->dir_fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->config = (struct rt_snapshot_config){
		.name = "unit",
		.epoch = 0xe1,
		.seq = SEQ,
		.time_ns = 17,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	int fds = rig->fds;

	(void)close(rig->dir_fd);
	t_dir_drop(rig->dir);
	free(rig);
	return t_count_fds() == fds ? 0 : -1;
}

/*
 * ---- What is in them ----
 */

/* The state that number @i has: keys in order of @i, some with terms. */
static struct rt_state state_of(unsigned i, unsigned value_len)
{
	static char key[64];
	static uint8_t value[1 << 16];

	for (unsigned j = 0; j < value_len; j++)
		value[j] = (uint8_t)(i * 31 + j);
	return (struct rt_state){
		.seq = 1 + i % SEQ,
		.time_ns = i,
		.deadline_ms = i % 3 ? 0 : i + 1,
		.flags = (uint8_t)(i % 5 ? 0 : RT_TERMS_BOUND),
		.key = (uint8_t *)key,
		.key_len = (uint16_t)snprintf(key, sizeof(key), "svc/%08u", 2 * i),
		.value = value,
		.value_len = value_len,
	};
}

static void assert_same(const struct rt_state *a, const struct rt_state *b)
{
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->deadline_ms, b->deadline_ms);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->key_len, b->key_len);
	assert_memory_equal(a->key, b->key, a->key_len);
	assert_int_equal(a->value_len, b->value_len);
	if (a->value_len)
		assert_memory_equal(a->value, b->value, a->value_len);
}

static unsigned value_len_of(unsigned i)
{
	return i % 64;
}

static void make(struct rig *rig, unsigned n)
{
	struct rt_snapshot_writer writer;

	t_ok(rt_snapshot_create(rig->dir_fd, FILE_NAME, &rig->config, &rig->fault,
				&writer));
	for (unsigned i = 0; i < n; i++) {
		struct rt_state state = state_of(i, value_len_of(i));

		t_ok(rt_snapshot_put(&writer, &state, &rig->fault));
	}
	t_ok(rt_snapshot_finish(&writer, &rig->fault));
	rt_snapshot_discard(&writer);
}

static int try_open(struct rig *rig, struct rt_snapshot *ret)
{
	rig->fault.text[0] = 0;
	return rt_snapshot_open(rig->dir_fd, FILE_NAME, FILE_NAME, &rig->fault, ret);
}

static int verify(struct rig *rig)
{
	rig->fault.text[0] = 0;
	return rt_snapshot_verify(rig->dir_fd, FILE_NAME, FILE_NAME, &rig->fault, NULL);
}

static const char *path(const struct rig *rig)
{
	return t_path(rig->dir, FILE_NAME);
}

static void what_was_put_is_read_back_in_order(void **state)
{
	static const unsigned counts[] = { 0, 1, 2, 1000, 20000 };
	struct rig *rig = *state;

	for (unsigned c = 0; c < T_N(counts); c++) {
		struct rt_snapshot snapshot;
		struct rt_state got;
		struct stat st;

		make(rig, counts[c]);
		t_ok(verify(rig));
		t_ok(try_open(rig, &snapshot));

		assert_int_equal(snapshot.footer.n_entries, counts[c]);
		assert_int_equal(snapshot.header.seq, SEQ);
		assert_int_equal(snapshot.header.epoch, 0xe1);
		assert_int_equal(snapshot.header.time_ns, 17);
		assert_string_equal(snapshot.header.name, "unit");
		for (unsigned i = 0; i < counts[c]; i++) {
			struct rt_state want = state_of(i, value_len_of(i));

			assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
			assert_same(&got, &want);
		}
		assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 0);
		assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 0);
		assert_int_equal(fstat(snapshot.fd, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0640);
		rt_snapshot_close(&snapshot);
	}
}

static void a_seek_finds_the_first_key_that_is_not_below(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	struct rt_state got;

	make(rig, 5000);
	t_ok(try_open(rig, &snapshot));
	assert_true(snapshot.footer.n_blocks > 3);
	for (unsigned i = 0; i < 5000; i += 7) {
		char key[64];
		struct rt_state want;

		/* The key itself, and one between the one before it and it. */
		for (unsigned before = 0; before < 2 && (i || !before); before++) {
			int len =
				snprintf(key, sizeof(key), "svc/%08u", 2 * i - before);

			t_ok(rt_snapshot_seek(&snapshot, (uint8_t *)key, (size_t)len,
					      NULL));
			assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
			want = state_of(i, value_len_of(i));
			assert_same(&got, &want);
		}
	}
	t_ok(rt_snapshot_seek(&snapshot, (const uint8_t *)"z", 1, NULL));
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 0);
	t_ok(rt_snapshot_seek(&snapshot, (const uint8_t *)"a", 1, NULL));
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
	assert_int_equal(got.time_ns, 0);
	t_ok(rt_snapshot_seek(&snapshot, NULL, 0, NULL));
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
	assert_int_equal(got.time_ns, 0);
	rt_snapshot_close(&snapshot);
}

static void what_is_in_a_block_stays_until_the_block_is_over(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	struct rt_state got, first = { 0 };
	unsigned n = 0;

	make(rig, 5000);
	t_ok(try_open(rig, &snapshot));
	while (rt_snapshot_next(&snapshot, NULL, &got) == 1) {
		if (!first.key_len)
			first = got;
		if (!rt_snapshot_left(&snapshot)) {
			struct rt_state want = state_of(n, value_len_of(n));

			assert_memory_equal(first.key, want.key, want.key_len);
			n = (unsigned)got.time_ns + 1;
			first.key_len = 0;
		}
	}
	assert_int_equal(n, 5000);
	rt_snapshot_close(&snapshot);
}

static void keys_and_values_of_any_length_and_bytes(void **state)
{
	static const size_t value_lens[] = { 0, 1, 65535, 65536, 3 << 20, 20 << 20 };
	struct rig *rig = *state;
	struct rt_snapshot_writer writer;
	struct rt_snapshot snapshot;
	struct rt_state got;
	uint8_t *key = malloc(UINT16_MAX), *value = malloc(20 << 20);

	memset(key, 0xff, UINT16_MAX);
	memset(value, 0x5a, 20 << 20);
	t_ok(rt_snapshot_create(rig->dir_fd, FILE_NAME, &rig->config, NULL, &writer));
	for (unsigned i = 0; i < T_N(value_lens); i++) {
		struct rt_state put = {
			.seq = 1,
			.key = key,
			.key_len = (uint16_t)(i + 1 < T_N(value_lens) ? 1 + i * 1000
								      : UINT16_MAX),
			.value = value,
			.value_len = (uint32_t)value_lens[i],
		};

		t_ok(rt_snapshot_put(&writer, &put, NULL));
	}
	t_ok(rt_snapshot_finish(&writer, NULL));
	rt_snapshot_discard(&writer);

	t_ok(verify(rig));
	t_ok(try_open(rig, &snapshot));
	for (unsigned i = 0; i < T_N(value_lens); i++) {
		assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
		assert_int_equal(got.value_len, value_lens[i]);
		assert_memory_equal(got.key, key, got.key_len);
		assert_memory_equal(got.value, value, got.value_len);
	}
	assert_int_equal(got.key_len, UINT16_MAX);
	t_ok(rt_snapshot_seek(&snapshot, key, UINT16_MAX, NULL));
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
	assert_int_equal(got.key_len, UINT16_MAX);
	rt_snapshot_close(&snapshot);
	free(key);
	free(value);
}

static void keys_are_ordered_as_bytes_and_shorter_first(void **state)
{
	static const struct {
		const char *key;
		size_t len;
	} keys[] = {
		{ "\0", 1 },   { "\0\0", 2 },   { "\0\xff", 2 },   { "\1", 1 },
		{ "a", 1 },    { "a\0", 2 },    { "a/", 2 },       { "ab", 2 },
		{ "\xff", 1 }, { "\xff\0", 2 }, { "\xff\xff", 2 },
	};

	(void)state;
	for (size_t i = 0; i < T_N(keys); i++) {
		for (size_t j = 0; j < T_N(keys); j++) {
			int c = rt_key_compare(
				(const uint8_t *)keys[i].key, keys[i].len,
				(const uint8_t *)keys[j].key, keys[j].len);

			assert_true(i < j ? c < 0 : i > j ? c > 0 : c == 0);
		}
	}
}

static void a_key_out_of_order_is_refused(void **state)
{
	static const char *const pairs[][2] = {
		{ "b", "a" },
		{ "b", "b" },
		{ "ab", "a" },
		{ "a", "" },
	};
	struct rig *rig = *state;

	for (unsigned i = 0; i < T_N(pairs); i++) {
		struct rt_snapshot_writer writer;

		t_ok(rt_snapshot_create(rig->dir_fd, FILE_NAME, &rig->config, NULL,
					&writer));
		for (unsigned j = 0; j < 2; j++) {
			struct rt_state put = {
				.seq = 1,
				.key = (const uint8_t *)pairs[i][j],
				.key_len = (uint16_t)strlen(pairs[i][j]),
			};

			t_is(rt_snapshot_put(&writer, &put, &rig->fault),
			     j ? -EINVAL : 0);
		}
		assert_non_null(strstr(rig->fault.text, "out of order"));
		rt_snapshot_discard(&writer);
	}
	/* Nothing of it stays. */
	assert_int_equal(rmdir(rig->dir), 0);
	assert_int_equal(mkdir(rig->dir, 0700), 0);
}

/*
 * ---- Damage ----
 */

static void every_truncation_is_found(void **state)
{
	struct rig *rig = *state;
	size_t len;
	char *bytes;

	make(rig, 40);
	bytes = t_read_file(path(rig), &len);
	assert_non_null(bytes);
	for (size_t cut = 0; cut < len; cut++) {
		t_write_file(path(rig), bytes, cut);
		t_is(verify(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, FILE_NAME));
	}
	t_write_file(path(rig), bytes, len);
	t_ok(verify(rig));
	free(bytes);
}

/* Not only by who verifies it: header, and what is behind it in the page. */
static void its_first_page_is_checked_when_it_is_opened(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	size_t len;
	char *bytes;

	make(rig, 40);
	bytes = t_read_file(path(rig), &len);
	for (size_t at = 0; at < RT_SNAP_START; at++) {
		int r;

		bytes[at] ^= 0x10;
		t_write_file(path(rig), bytes, len);
		r = rt_snapshot_open(rig->dir_fd, FILE_NAME, FILE_NAME, &rig->fault,
				     &snapshot);
		assert_true(r == RT_E_CORRUPT || r == RT_E_VERSION);
		bytes[at] ^= 0x10;
	}
	free(bytes);
}

static void every_flipped_bit_is_found(void **state)
{
	struct rig *rig = *state;
	struct t_random random = { 4 };
	size_t len;
	char *bytes;

	make(rig, 3000);
	bytes = t_read_file(path(rig), &len);
	for (unsigned i = 0; i < 6000; i++) {
		/* All of the header, and anywhere. */
		size_t at = i < 1200 ? i : t_random_below(&random, len * 8);
		uint8_t bit = (uint8_t)(1u << at % 8);
		int fd = open(path(rig), O_RDWR | O_CLOEXEC);
		int r;

		bytes[at / 8] ^= (char)bit;
		assert_int_equal(pwrite(fd, &bytes[at / 8], 1, (off_t)(at / 8)), 1);
		r = verify(rig);
		assert_true(r == RT_E_CORRUPT || r == RT_E_VERSION);
		assert_non_null(strstr(rig->fault.text, FILE_NAME));
		bytes[at / 8] ^= (char)bit;
		assert_int_equal(pwrite(fd, &bytes[at / 8], 1, (off_t)(at / 8)), 1);
		(void)close(fd);
	}
	t_ok(verify(rig));
	free(bytes);
}

/* Index and footer as they are in @bytes now, with checksums that are right. */
static void write_index(struct rig *rig, char *bytes, size_t len)
{
	struct rt_snap_header header;
	struct rt_snap_footer footer;
	char *at = bytes + len - sizeof(footer);

	memcpy(&header, bytes, sizeof(header));
	memcpy(&footer, at, sizeof(footer));
	footer.index_check = XXH3_64bits_withSeed(bytes + footer.index_offset,
						  footer.index_size, header.salt);
	footer.check = XXH3_64bits_withSeed(
		&footer, offsetof(struct rt_snap_footer, check), header.salt);
	memcpy(at, &footer, sizeof(footer));
	t_write_file(path(rig), bytes, len);
}

/* Offsets that lie outside, and that come back in when a size is added to them. */
static void an_index_that_leads_outside_is_refused(void **state)
{
	static const uint64_t low[] = { 0, RT_SNAP_BLOCK_FULL, 8, UINT64_MAX / 2 + 1 };
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	size_t len;

	make(rig, 5000);
	t_ok(try_open(rig, &snapshot));
	assert_true(snapshot.footer.n_blocks >= 4);
	for (size_t i = 0; i < T_N(low); i++) {
		AUTO_FREE char *bytes = t_read_file(path(rig), &len);
		AUTO_FREE char *was = t_read_file(path(rig), &len);
		const uint8_t *index = snapshot.index;
		char *to = bytes + snapshot.footer.index_offset;
		uint64_t high = 0 - low[i], inside = RT_SNAP_START + 64;
		struct rt_snapshot bad;

		memcpy(to + ((const uint8_t *)snapshot.blocks[2] - index), &high,
		       sizeof(high));
		memcpy(to + ((const uint8_t *)snapshot.blocks[3] - index), &inside,
		       sizeof(inside));
		write_index(rig, bytes, len);
		t_is(try_open(rig, &bad), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "index makes no sense"));
		write_index(rig, was, len);
	}
	t_ok(verify(rig));
	rt_snapshot_close(&snapshot);
}

static void write_header(struct rig *rig, struct rt_snap_header *header)
{
	int fd = open(path(rig), O_RDWR | O_CLOEXEC);

	header->check =
		XXH64(header, offsetof(struct rt_snap_header, check), RT_SNAP_MAGIC);
	assert_int_equal(pwrite(fd, header, sizeof(*header), 0), (int)sizeof(*header));
	(void)close(fd);
}

static void other_versions_are_told_from_damage(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	struct rt_snap_header header;

	make(rig, 10);
	t_ok(try_open(rig, &snapshot));
	rt_snapshot_close(&snapshot);
	t_ok(rt_snapshot_verify(rig->dir_fd, FILE_NAME, "it", NULL, &snapshot));

	header = snapshot.header;
	header.format = 2;
	write_header(rig, &header);
	t_is(try_open(rig, &snapshot), RT_E_VERSION);
	assert_non_null(strstr(rig->fault.text, "format 2"));

	header.format = 1;
	header.incompat = 4;
	write_header(rig, &header);
	t_is(try_open(rig, &snapshot), RT_E_VERSION);

	header.incompat = 0;
	header.compat = 4;
	write_header(rig, &header);
	t_ok(try_open(rig, &snapshot));
	rt_snapshot_close(&snapshot);

	header.magic = __builtin_bswap64(RT_SNAP_MAGIC);
	write_header(rig, &header);
	t_is(try_open(rig, &snapshot), RT_E_VERSION);
	assert_non_null(strstr(rig->fault.text, "byte order"));

	header.magic++;
	write_header(rig, &header);
	t_is(try_open(rig, &snapshot), RT_E_CORRUPT);
}

static void what_is_no_file_is_refused(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;

	t_is(try_open(rig, &snapshot), -ENOENT);
	assert_int_equal(mkfifo(path(rig), 0600), 0);
	t_is(try_open(rig, &snapshot), RT_E_CORRUPT);
	assert_int_equal(unlink(path(rig)), 0);
	assert_int_equal(symlink("/etc/passwd", path(rig)), 0);
	t_is(try_open(rig, &snapshot), -ELOOP);
	assert_int_equal(unlink(path(rig)), 0);
	assert_int_equal(mkdir(path(rig), 0700), 0);
	t_is(try_open(rig, &snapshot), RT_E_CORRUPT);
}

static void one_that_is_cut_while_it_is_read_is_an_error(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot snapshot;
	struct rt_state got;
	int r;

	make(rig, 60000);
	t_ok(try_open(rig, &snapshot));
	assert_int_equal(rt_snapshot_next(&snapshot, NULL, &got), 1);
	assert_int_equal(truncate(path(rig), 4096 + 100000), 0);
	while ((r = rt_snapshot_next(&snapshot, &rig->fault, &got)) == 1)
		;
	t_is(r, RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "truncated"));
	rt_snapshot_close(&snapshot);
}

/*
 * ---- Files ----
 */

static unsigned calls_left;
static int error;

static ssize_t failing_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	if (!calls_left) {
		errno = error;
		return -1;
	}
	calls_left--;
	return pwrite(fd, buf, len, at);
}

static int failing_fdatasync(int fd)
{
	(void)fd;
	errno = error;
	return -1;
}

static void a_write_that_fails_leaves_what_was_there(void **state)
{
	static const struct rt_log_io full = { failing_pwrite, fdatasync, NULL };
	static const struct rt_log_io broken = { pwrite, failing_fdatasync, NULL };
	struct rig *rig = *state;
	unsigned done = 0;

	make(rig, 7);
	rig->config.sync = true;
	for (unsigned at = 0; !done; at++) {
		struct rt_snapshot_writer writer;
		int r;

		rig->config.io = at < 20 ? &full : &broken;
		calls_left = at;
		error = at < 20 ? ENOSPC : EIO;
		r = rt_snapshot_create(rig->dir_fd, FILE_NAME, &rig->config,
				       &rig->fault, &writer);
		for (unsigned i = 0; !r && i < 9000; i++) {
			struct rt_state put = state_of(i, value_len_of(i));

			r = rt_snapshot_put(&writer, &put, &rig->fault);
		}
		if (!r)
			r = rt_snapshot_finish(&writer, &rig->fault);
		rt_snapshot_discard(&writer);
		if (!r) {
			at = 20; /* there were not as many writes */
			continue;
		}
		t_is(r, -error);
		assert_non_null(strstr(rig->fault.text, strerror(error)));
		assert_non_null(strstr(rig->fault.text, FILE_NAME));
		done = at > 20;
	}
	assert_int_not_equal(access(t_path(rig->dir, FILE_NAME ".new"), F_OK), 0);
}

static void an_existing_file_is_kept_if_wanted(void **state)
{
	struct rig *rig = *state;
	struct rt_snapshot_writer writer;
	size_t len;
	char *text;

	rig->config.keep = true;
	t_write_file(t_path(rig->dir, "backup"), "mine", 4);
	t_is(rt_snapshot_create(rig->dir_fd, "backup", &rig->config, NULL, &writer),
	     -EEXIST);
	rt_snapshot_discard(&writer);
	assert_int_equal(unlink(t_path(rig->dir, "backup")), 0);

	/* It comes while the snapshot is being written. */
	t_ok(rt_snapshot_create(rig->dir_fd, "backup", &rig->config, NULL, &writer));
	t_write_file(t_path(rig->dir, "backup"), "mine", 4);
	t_is(rt_snapshot_finish(&writer, NULL), -EEXIST);
	rt_snapshot_discard(&writer);

	/* What has the name of the temporary file is somebody's, too. */
	assert_int_equal(unlink(t_path(rig->dir, "backup")), 0);
	t_write_file(t_path(rig->dir, "backup.new"), "mine", 4);
	t_is(rt_snapshot_create(rig->dir_fd, "backup", &rig->config, NULL, &writer),
	     -EEXIST);
	rt_snapshot_discard(&writer);
	text = t_read_file(t_path(rig->dir, "backup.new"), &len);
	assert_string_equal(text, "mine");
	free(text);
}

static void the_newest_are_listed_newest_first(void **state)
{
	static const char *const names[] = {
		"00000000000000000007.snap",     "00000000000000000100.snap",
		"00000000000000000000.snap",     "00000000000000000031.snap",
		"00000000000000000099.snap.new", "18446744073709551616.snap",
		"0000000000000000000x.snap",     "00000000000000000005.log",
		"18446744073709551615.snap",
	};
	struct rig *rig = *state;
	uint64_t seqs[8];
	size_t n;

	for (unsigned i = 0; i < T_N(names); i++)
		t_write_file(t_path(rig->dir, names[i]), "", 0);

	t_ok(rt_snapshots_list(rig->dir_fd, seqs, 8, &n));
	assert_int_equal(n, 5);
	assert_true(seqs[0] == UINT64_MAX && seqs[1] == 100 && seqs[2] == 31 &&
		    seqs[3] == 7 && seqs[4] == 0);
	t_ok(rt_snapshots_list(rig->dir_fd, seqs, 2, &n));
	assert_int_equal(n, 2);
	assert_true(seqs[0] == UINT64_MAX && seqs[1] == 100);
	t_ok(rt_snapshots_list(rig->dir_fd, seqs, 0, &n));
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_put_is_read_back_in_order),
		T(a_seek_finds_the_first_key_that_is_not_below),
		T(what_is_in_a_block_stays_until_the_block_is_over),
		T(keys_and_values_of_any_length_and_bytes),
		T0(keys_are_ordered_as_bytes_and_shorter_first),
		T(a_key_out_of_order_is_refused),
		T(every_truncation_is_found),
		T(its_first_page_is_checked_when_it_is_opened),
		T(every_flipped_bit_is_found),
		T(an_index_that_leads_outside_is_refused),
		T(other_versions_are_told_from_damage),
		T(what_is_no_file_is_refused),
		T(one_that_is_cut_while_it_is_read_is_an_error),
		T(a_write_that_fails_leaves_what_was_there),
		T(an_existing_file_is_kept_if_wanted),
		T(the_newest_are_listed_newest_first),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
