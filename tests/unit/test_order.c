/* SPDX-License-Identifier: MIT */
/*
 * test_order.c - shm/order.h and shm/base.h: copies to the byte, bounds, ownership
 */
#include "tests/support/t.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/base.h"
#include "shm/order.h"

#define AROUND 64
#define MOST   300

typedef void copy_fn(void *to, const void *from, size_t len);

static void copy_in(void *to, const void *from, size_t len)
{
	rt_copy_in(to, from, len);
}

static void copy_out(void *to, const void *from, size_t len)
{
	rt_copy_out(to, from, len);
}

static void copy_in_short(void *to, const void *from, size_t len)
{
	rt_copy_in_short(to, from, len);
}

static void copy_out_short(void *to, const void *from, size_t len)
{
	rt_copy_out_short(to, from, len);
}

/* Every length at every alignment of both sides: these bytes and no others. */
static void check_copy(copy_fn *copy, size_t most)
{
	static uint8_t from[MOST + 2 * AROUND] __attribute__((aligned(64)));
	static uint8_t to[MOST + 2 * AROUND] __attribute__((aligned(64)));

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 7 + 1);
	for (size_t len = 0; len <= most; len++) {
		for (size_t at = 0; at < 64; at++) {
			size_t s = AROUND + at % 8, d = AROUND + at / 8;

			memset(to, 0xee, sizeof(to));
			copy(to + d, from + s, len);
			assert_memory_equal(to + d, from + s, len);
			for (size_t i = 0; i < AROUND; i++)
				assert_true(to[d - 1 - i] == 0xee &&
					    to[d + len + i] == 0xee);
		}
	}
}

static void a_copy_is_of_its_bytes_and_no_others(void **state)
{
	(void)state;
	check_copy(copy_in, MOST - 8);
	check_copy(copy_out, MOST - 8);
	check_copy(copy_in_short, 32);
	check_copy(copy_out_short, 32);
}

/* At both ends of mapped memory: one byte more would be a signal. */
static void a_copy_does_not_touch_what_is_beside_it(void **state)
{
	uint8_t *map =
		mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *page = map + 4096;
	uint8_t buffer[MOST];

	(void)state;
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
	memset(page, 'p', 4096);
	memset(buffer, 'b', sizeof(buffer));
	for (size_t len = 0; len <= MOST; len++) {
		rt_copy_out(buffer, page, len);
		rt_copy_out(buffer, page + 4096 - len, len);
		rt_copy_in(page, buffer, len);
		rt_copy_in(page + 4096 - len, buffer, len);
	}
	for (size_t len = 0; len <= 32; len++) {
		rt_copy_out_short(buffer, page, len);
		rt_copy_out_short(buffer, page + 4096 - len, len);
		rt_copy_in_short(page, buffer, len);
		rt_copy_in_short(page + 4096 - len, buffer, len);
	}
	(void)munmap(map, 3 * 4096);
}

static void a_large_copy_is_whole(void **state)
{
	size_t len = (8 << 20) + 5;
	uint8_t *from = malloc(len + 1), *to = malloc(len + 1);

	(void)state;
	for (size_t i = 0; i < len; i++)
		from[i] = (uint8_t)(i ^ i >> 8);
	to[len] = 77;
	rt_copy_in(to, from, len);
	assert_int_equal(memcmp(to, from, len), 0);
	memset(to, 0, len);
	rt_copy_out(to, from, len);
	assert_int_equal(memcmp(to, from, len), 0);
	assert_int_equal(to[len], 77);
	free(from);
	free(to);
}

static void words_do_what_they_say(void **state)
{
	_Atomic uint64_t wide = 0;
	_Atomic uint32_t word = 0;

	(void)state;
	rt_store64(&wide, UINT64_MAX - 1);
	assert_true(rt_load64(&wide) == UINT64_MAX - 1);
	assert_true(rt_own64(&wide) == UINT64_MAX - 1);
	rt_store32(&word, 0xf0);
	assert_int_equal(rt_or32(&word, 0x0f), 0xf0);
	assert_int_equal(rt_clear32(&word, 0xc3), 0xff);
	assert_int_equal(rt_load32(&word), 0x3c);
	assert_int_equal(rt_add32(&word, 2), 0x3c);
	assert_int_equal(rt_load32(&word), 0x3e);
	rt_full_barrier();
}

static void bounds_and_powers(void **state)
{
	(void)state;
	assert_false(rt_is_pow2(0));
	for (unsigned bit = 0; bit < 64; bit++)
		assert_true(rt_is_pow2(UINT64_C(1) << bit));
	assert_false(rt_is_pow2(3));
	assert_false(rt_is_pow2(UINT64_MAX));
	assert_int_equal(rt_round_up(0, 8), 0);
	assert_int_equal(rt_round_up(1, 8), 8);
	assert_int_equal(rt_round_up(8, 8), 8);
	assert_int_equal(rt_min(1, UINT64_MAX), 1);
	assert_true(rt_max(1, UINT64_MAX) == UINT64_MAX);
}

static void take_and_leave(bool take, int *ret_fd, void **ret_ptr)
{
	AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_FREE void *ptr = malloc(8);

	*ret_fd = take ? rt_take_fd(&fd) : fd;
	*ret_ptr = take ? rt_take_ptr(&ptr) : NULL;
}

static void what_is_owned_is_released_and_what_is_taken_is_not(void **state)
{
	int before = t_count_fds();
	void *ptr;
	int fd;

	(void)state;
	take_and_leave(false, &fd, &ptr);
	assert_int_equal(t_count_fds(), before);
	take_and_leave(true, &fd, &ptr);
	assert_int_equal(t_count_fds(), before + 1);
	(void)close(fd);
	free(ptr);
}

static void a_fault_is_cut_to_its_room(void **state)
{
	struct rt_fault fault;
	char *text = calloc(1, 1000);

	(void)state;
	memset(text, 'x', 999);
	rt_fault_set(&fault, "%s", text);
	assert_int_equal(strlen(fault.text), sizeof(fault.text) - 1);
	rt_fault_set((struct rt_fault *)NULL, "%s", text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(a_copy_is_of_its_bytes_and_no_others),
		T0(a_copy_does_not_touch_what_is_beside_it),
		T0(a_large_copy_is_whole),
		T0(words_do_what_they_say),
		T0(bounds_and_powers),
		T0(what_is_owned_is_released_and_what_is_taken_is_not),
		T0(a_fault_is_cut_to_its_room),
	};

	return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
