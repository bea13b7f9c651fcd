/* SPDX-License-Identifier: MIT */
/*
 * test_segment.c - shm/segment.c
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void a_name_is_letters_digits_and_three_signs(void **state)
{
	char longest[RT_NAME_MAX + 2];

	(void)state;
	assert_true(rt_name_valid("a"));
	assert_true(rt_name_valid("Prices_2.eu-west"));
	assert_true(rt_name_valid("_"));
	assert_true(rt_name_valid("0"));
	assert_false(rt_name_valid(""));
	assert_false(rt_name_valid("."));
	assert_false(rt_name_valid(".."));
	assert_false(rt_name_valid(".hidden"));
	assert_false(rt_name_valid("-option"));
	assert_false(rt_name_valid("a/b"));
	assert_false(rt_name_valid("a b"));
	assert_false(rt_name_valid("a\n"));
	assert_false(rt_name_valid("\xc3\xa4"));
	memset(longest, 'x', sizeof(longest));
	longest[RT_NAME_MAX] = 0;
	assert_true(rt_name_valid(longest));
	longest[RT_NAME_MAX] = 'x';
	longest[RT_NAME_MAX + 1] = 0;
	assert_false(rt_name_valid(longest));
}

static void check_config(struct rt_ring_config config, int want, const char *word)
{
	struct rt_fault fault = { "" };

	t_is(rt_config_check(&config, &fault), want);
	if (want < 0)
		assert_non_null(strstr(fault.text, word));
	else
		assert_string_equal(fault.text, "");
}

static void sizes_are_powers_of_two_within_their_ranges(void **state)
{
	struct rt_ring_config c = ((struct rig *)*state)->config;

	for (unsigned bit = 0; bit < 32; bit++) {
		c.n_slots = 1u << bit;
		check_config(c, bit >= 6 && bit <= 26 ? 0 : -EINVAL, "slots");
		c.n_slots += 1;
		check_config(c, -EINVAL, "slots");
	}
	c.n_slots = 64;
	for (unsigned bit = 0; bit < 64; bit++) {
		c.payload_size = UINT64_C(1) << bit;
		check_config(c, bit >= 12 && bit <= 34 ? 0 : -EINVAL, "payload");
		c.payload_size -= 8;
		check_config(c, -EINVAL, "payload");
	}
	c.n_slots = 0;
	check_config(c, -EINVAL, "slots");
}

static void keys_and_values_are_at_most_a_quarter_of_the_payload(void **state)
{
	struct rt_ring_config c = ((struct rig *)*state)->config;

	c.max_key = 0;
	check_config(c, -EINVAL, "max_key");
	c.max_key = 1;
	check_config(c, 0, "");
	c.max_key = 1024;
	check_config(c, 0, "");
	c.max_key = 1025;
	check_config(c, -EINVAL, "max_key");
	c.payload_size = 1 << 20;
	c.max_key = 65535;
	check_config(c, 0, "");
	c.max_key = 65536;
	check_config(c, -EINVAL, "max_key");
	c.max_key = 1;
	c.max_value = 1 << 18;
	check_config(c, 0, "");
	c.max_value = (1 << 18) + 1;
	check_config(c, -EINVAL, "max_value");
}

static void a_wrong_name_or_wake_mode_is_refused(void **state)
{
	struct rt_ring_config c = ((struct rig *)*state)->config;

	c.wake_mode = RT_WAKE_ALWAYS;
	check_config(c, 0, "");
	c.wake_mode = RT_WAKE_ALWAYS + 1;
	check_config(c, -EINVAL, "wake");
	c.wake_mode = RT_WAKE_BELL;
	c.name = NULL;
	check_config(c, -EINVAL, "name");
	c.name = "a/b";
	check_config(c, -EINVAL, "a/b");
}

/*
 * ---- Create ----
 */

static int create(struct rig *rig, uint64_t head, struct rt_segment *ret)
{
	int dir_fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = rt_segment_create(dir_fd, "new", &rig->config, 77, head, &rig->fault,
				  ret);

	(void)close(dir_fd);
	return r;
}

static void a_new_ring_says_what_it_is(void **state)
{
	struct rig *rig = *state;
	struct rt_segment s;
	struct stat st;

	rig->config.mode = 0604;
	rig->config.max_value = 100;
	rig->config.wake_mode = RT_WAKE_ALWAYS;
	t_ok(create(rig, 41, &s));
	assert_int_equal(s.geo.n_slots, 64);
	assert_int_equal(s.geo.payload_size, 4096);
	assert_int_equal(s.geo.file_size, 4 * RT_PAGE);
	assert_int_equal(s.geo.max_key, 128);
	assert_int_equal(s.geo.max_value, 100);
	assert_int_equal(s.geo.max_txn_events, 16);
	assert_int_equal(s.geo.max_txn_bytes, 1024);
	assert_int_equal(s.geo.wake_mode, RT_WAKE_ALWAYS);
	assert_int_equal(s.geo.epoch, 77);
	assert_int_equal(s.geo.first_seq, 42);
	assert_true(s.geo.instance != 0);
	assert_string_equal(s.geo.name, RIG_FEED);
	assert_int_equal(rt_load64(&s.hot->head), 41);
	assert_int_equal(rt_load64(&s.hot->floor), 42);
	assert_int_equal(rt_load32(&s.hot->state), RT_STATE_NEW);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(st.st_size, 4 * RT_PAGE);
	assert_int_equal(st.st_blocks * 512, 4 * RT_PAGE); /* no SIGBUS later */
	assert_int_equal(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
	rt_segment_drop(&s);
	rt_segment_drop(&s);
}

static void what_a_dead_writer_left_under_the_name_is_replaced(void **state)
{
	struct rig *rig = *state;
	struct rt_segment s;

	t_write_file(t_path(rig->dir, "new"), "junk", 4);
	assert_int_equal(chmod(t_path(rig->dir, "new"), 0), 0);
	t_ok(create(rig, 0, &s));
	rt_segment_drop(&s);
	assert_int_equal(symlink("/nowhere", t_path(rig->dir, "link")), 0);
	assert_int_equal(rename(t_path(rig->dir, "link"), t_path(rig->dir, "new")), 0);
	t_ok(create(rig, 0, &s));
	rt_segment_drop(&s);
}

static void two_rings_are_two_instances(void **state)
{
	struct rig *rig = *state;
	struct rt_segment a, b;

	t_ok(create(rig, 0, &a));
	t_ok(create(rig, 0, &b));
	assert_true(a.geo.instance != b.geo.instance);
	rt_segment_drop(&a);
	rt_segment_drop(&b);
}

static void nothing_is_left_of_a_ring_that_was_refused(void **state)
{
	struct rig *rig = *state;
	struct rt_segment s;

	rig->config.n_slots = 65;
	t_is(create(rig, 0, &s), -EINVAL);
	rig->config.n_slots = 64;
	rig->config.uid = 1;
	if (geteuid() != 0)
		t_is(create(rig, 0, &s), -EPERM);
	assert_int_not_equal(access(t_path(rig->dir, "new"), F_OK), 0);
}

/* In a mount of its own. */
static int create_where_there_is_no_space(void *arg)
{
	struct rig *rig = arg;
	struct rt_segment s;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", rig->dir, "tmpfs", 0, "size=16k") < 0)
		return 0; /* not here */
	rig->config.payload_size = 1 << 20;
	if (create(rig, 0, &s) != RT_E_NO_SPACE)
		return 1;
	if (!strstr(rig->fault.text, "--shm-size") ||
	    !strstr(rig->fault.text, "1060864") || !strstr(rig->fault.text, "16384"))
		return 2;
	return access(t_path(rig->dir, "new"), F_OK) == 0 ? 3 : 0;
}

static void too_small_a_file_system_is_said_with_numbers(void **state)
{
	if (geteuid() == 0)
		assert_int_equal(t_in_child(create_where_there_is_no_space, *state), 0);
}

/*
 * ---- Check ----
 */

static struct rt_header header_of(struct rig *rig)
{
	struct rt_header h;
	struct rt_segment s;

	t_ok(create(rig, 0, &s));
	memcpy(&h, s.base, sizeof(h));
	rt_segment_drop(&s);
	return h;
}

static void sign(struct rt_header *h)
{
	h->check = XXH64((const uint8_t *)h + 8, offsetof(struct rt_header, check) - 8,
			 RT_MAGIC);
}

static int check(const struct rt_header *h, struct rt_fault *fault)
{
	struct rt_geometry geo;

	return rt_header_check(h, 4 * RT_PAGE, "file", fault, &geo);
}

static void no_byte_of_page_0_can_change_unnoticed(void **state)
{
	struct rig *rig = *state;
	struct rt_header h = header_of(rig);

	t_ok(check(&h, NULL));
	for (size_t at = 0; at < sizeof(h); at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t *byte = (uint8_t *)&h + at;
			int r;

			*byte ^= (uint8_t)(1u << bit);
			rig->fault.text[0] = 0;
			r = check(&h, &rig->fault);
			assert_true(r == RT_E_CORRUPT || r == RT_E_VERSION);
			assert_ptr_equal(strstr(rig->fault.text, "file: "),
					 rig->fault.text);
			*byte ^= (uint8_t)(1u << bit);
		}
	}
}

#define BAD(member, value, want) \
	do { \
		struct rt_header h_ = good; \
		h_.member = (value); \
		sign(&h_); \
		t_is(check(&h_, &rig->fault), (want)); \
	} while (0)

/* With the right checksum: by a faulty or hostile writer. */
static void no_member_of_page_0_is_believed(void **state)
{
	struct rig *rig = *state;
	struct rt_header good = header_of(rig);

	BAD(magic, __builtin_bswap64(RT_MAGIC), RT_E_VERSION);
	BAD(magic, 0, RT_E_CORRUPT);
	BAD(format, 2, RT_E_VERSION);
	BAD(format, 0, RT_E_VERSION);
	BAD(incompat, 1, RT_E_VERSION);
	BAD(compat, UINT32_MAX, 0);
	BAD(header_size, 200, RT_E_CORRUPT);
	BAD(file_size, 4 * RT_PAGE + 1, RT_E_CORRUPT);
	BAD(file_size, UINT64_MAX, RT_E_CORRUPT);
	BAD(hot_offset, 0, RT_E_CORRUPT);
	BAD(slots_offset, 2 * RT_PAGE + 64, RT_E_CORRUPT);
	BAD(payload_offset, 2 * RT_PAGE, RT_E_CORRUPT);
	BAD(payload_size, 0, RT_E_CORRUPT);
	BAD(payload_size, 2048, RT_E_CORRUPT);
	BAD(payload_size, 8192, RT_E_CORRUPT);
	BAD(payload_size, UINT64_C(1) << 63, RT_E_CORRUPT);
	BAD(n_slots, 0, RT_E_CORRUPT);
	BAD(n_slots, 32, RT_E_CORRUPT);
	BAD(n_slots, 65, RT_E_CORRUPT);
	BAD(n_slots, 128, RT_E_CORRUPT);
	BAD(n_slots, 1u << 31, RT_E_CORRUPT);
	BAD(slot_size, 128, RT_E_CORRUPT);
	BAD(max_key, 0, RT_E_CORRUPT);
	BAD(max_key, 1024, 0);
	BAD(max_key, 1025, RT_E_CORRUPT);
	BAD(max_value, 1024, 0);
	BAD(max_value, 1025, RT_E_CORRUPT);
	BAD(max_txn_events, 17, RT_E_CORRUPT);
	BAD(max_txn_bytes, 1025, RT_E_CORRUPT);
	BAD(wake_mode, 2, RT_E_CORRUPT);
	BAD(epoch, 0, RT_E_CORRUPT);
	BAD(instance, 0, RT_E_CORRUPT);
	BAD(first_seq, 0, RT_E_CORRUPT);
	BAD(name[0], '/', RT_E_CORRUPT);
	BAD(name[0], 0, RT_E_CORRUPT);
	BAD(name[RT_NAME_MAX], 'x', RT_E_CORRUPT);
}

static void the_text_says_where_and_what(void **state)
{
	struct rig *rig = *state;
	struct rt_header good = header_of(rig);

	BAD(slot_size, 128, RT_E_CORRUPT);
	assert_non_null(strstr(rig->fault.text, "byte 68"));
	assert_non_null(strstr(rig->fault.text, "slot_size is 128, expected 64"));
	BAD(format, 9, RT_E_VERSION);
	assert_non_null(strstr(rig->fault.text, "format 9"));
}

/*
 * ---- Map ----
 */

static int map(struct rig *rig, const char *path, int flags, bool writable)
{
	struct rt_segment s;
	int fd = open(path, flags | O_CLOEXEC);
	int r;

	assert_true(fd >= 0);
	r = rt_segment_map(fd, writable, "what", &rig->fault, &s);
	(void)close(fd);
	if (!r)
		rt_segment_drop(&s);
	return r;
}

static void what_is_no_ring_is_not_mapped(void **state)
{
	struct rig *rig = *state;
	const char *path = t_path(rig->dir, "new");
	struct rt_segment s;
	char byte[400] = { 0 };
	int ends[2];

	t_is(map(rig, "/dev/null", O_RDONLY, false), RT_E_CORRUPT);
	t_is(map(rig, rig->dir, O_RDONLY | O_DIRECTORY, false), RT_E_CORRUPT);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	t_is(rt_segment_map(ends[0], false, "what", &rig->fault, &s), RT_E_CORRUPT);
	(void)close(ends[0]);
	(void)close(ends[1]);
	t_is(rt_segment_map(-1, false, "what", &rig->fault, &s), -EBADF);
	for (size_t len = 0; len < sizeof(byte); len += 40) {
		t_write_file(path, byte, len);
		t_is(map(rig, path, O_RDONLY, false), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, "what: "));
	}
	t_ok(create(rig, 0, &s));
	for (off_t size = 0; size < 4 * RT_PAGE; size += 100) {
		assert_int_equal(ftruncate(s.fd, 4 * RT_PAGE - 1 - size), 0);
		t_is(map(rig, path, O_RDONLY, false), RT_E_CORRUPT);
	}
	rt_segment_drop(&s);
}

static int store(void *hot)
{
	(void)signal(SIGSEGV, SIG_DFL); /* not for cmocka or a sanitizer */
	rt_store64(&((struct rt_hot *)hot)->head, 1);
	return 0;
}

static int make_writable(void *arg)
{
	const struct rt_segment *s = arg;

	return mprotect(s->base, s->geo.file_size, PROT_READ | PROT_WRITE) < 0 ? errno
									       : 0;
}

static int write_to(void *arg)
{
	const struct rt_segment *s = arg;

	return pwrite(s->fd, "x", 1, 0) < 0 ? errno : 0;
}

static int shrink(void *arg)
{
	const struct rt_segment *s = arg;

	return ftruncate(s->fd, 0) < 0 ? errno : 0;
}

static void a_readers_mapping_cannot_be_written(void **state)
{
	struct rig *rig = *state;
	struct rt_segment made, s;
	int fd;

	t_ok(create(rig, 0, &made));
	fd = open(t_path(rig->dir, "new"), O_RDONLY | O_CLOEXEC);
	t_ok(rt_segment_map(fd, false, "what", &rig->fault, &s));
	assert_int_not_equal(s.fd, fd);
	assert_int_equal(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
	(void)close(fd);
	assert_int_equal(t_in_child(store, s.hot), 1000 + SIGSEGV);
	assert_int_equal(t_in_child(make_writable, &s), EACCES);
	assert_int_equal(t_in_child(write_to, &s), EBADF);
	assert_int_equal(t_in_child(shrink, &s), EINVAL);
	rt_segment_drop(&s);
	rt_segment_drop(&made);
}

static void a_longer_file_is_fine(void **state)
{
	struct rig *rig = *state;
	struct rt_segment s;

	t_ok(create(rig, 0, &s));
	assert_int_equal(ftruncate(s.fd, 10 * RT_PAGE), 0);
	t_ok(map(rig, t_path(rig->dir, "new"), O_RDWR, true));
	rt_segment_drop(&s);
}

static void a_ring_promises_all_but_a_sixteenth(void **state)
{
	(void)state;
	assert_int_equal(rt_holds_events(64), 60);
	assert_int_equal(rt_holds_events(1u << 26), 15u << 22);
	assert_int_equal(rt_holds_bytes(4096), 3840);
}

static void random_numbers_are_not_zero_and_differ(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		uint64_t a = rt_random64();

		assert_true(a != 0 && a != rt_random64());
	}
}

static void a_clock_that_does_not_exist_says_zero(void **state)
{
	(void)state;
	assert_true(rt_now_ns(CLOCK_MONOTONIC) > 0);
	assert_int_equal(rt_now_ns((clockid_t)999), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(a_name_is_letters_digits_and_three_signs),
		T(sizes_are_powers_of_two_within_their_ranges),
		T(keys_and_values_are_at_most_a_quarter_of_the_payload),
		T(a_wrong_name_or_wake_mode_is_refused),
		T(a_new_ring_says_what_it_is),
		T(what_a_dead_writer_left_under_the_name_is_replaced),
		T(two_rings_are_two_instances),
		T(nothing_is_left_of_a_ring_that_was_refused),
		T(too_small_a_file_system_is_said_with_numbers),
		T(no_byte_of_page_0_can_change_unnoticed),
		T(no_member_of_page_0_is_believed),
		T(the_text_says_where_and_what),
		T(what_is_no_ring_is_not_mapped),
		T(a_readers_mapping_cannot_be_written),
		T(a_longer_file_is_fine),
		T0(a_ring_promises_all_but_a_sixteenth),
		T0(random_numbers_are_not_zero_and_differ),
		T0(a_clock_that_does_not_exist_says_zero),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
