/* SPDX-License-Identifier: MIT */
/*
 * Any bytes in the bell: nobody sleeps through an event, and nobody dies of it.
 */
#include "tests/support/waiter.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/layout.h"

static const struct t_ring small = { .n_slots = 64, .payload_size = 4096 };

/* A reader that sleeps gets the next event long before its time is over. */
static void is_woken(struct t_feed *feed, struct ringtail *reader)
{
	struct t_waiter w;
	uint64_t begun = t_now_ns();

	(void)t_drain(reader);
	t_waiter_start(&w, reader, T_AGES_NS);
	(void)t_within_ms(20, t_waiter_sleeps, &w);
	t_put(feed, "k", "v");
	t_waiter_join(&w);
	t_is(w.outcome, RINGTAIL_EVENT);
	assert_true(t_now_ns() - begun < 30000 * (uint64_t)T_MS);
	assert_true(t_accounts_add_up(reader));
}

static void i3_no_bell_keeps_an_event_from_a_sleeper(void **state)
{
	struct t_feed *feed = *state;
	struct t_random random = { 0x13 };
	char path[300];
	uint8_t page[RT_PAGE];

	t_feed_start(feed, small);
	(void)snprintf(path, sizeof(path), "%s", t_feed_file(feed, "bell"));
	for (int kind = 0; kind < 9; kind++) {
		struct ringtail *attached = t_open(feed, t_from(RINGTAIL_START_NOW));

		is_woken(feed, attached);
		for (size_t i = 0; i < sizeof(page); i++)
			page[i] = kind < 3 ? 0 : (uint8_t)t_random64(&random);
		/* Beside the one that the writer has mapped, which is its own. */
		(void)remove(path);
		if (kind == 0)
			t_write_file(path, page, 0);
		else if (kind <= 5)
			t_write_file(path, page, kind & 1 ? sizeof(page) : 100);
		else if (kind == 6)
			assert_int_equal(mkdir(path, 0700), 0);
		else if (kind == 7)
			assert_int_equal(mkfifo(path, 0600), 0);
		/* else there is none */

		struct ringtail *later = t_open(feed, t_from(RINGTAIL_START_NOW));

		is_woken(feed, attached);
		is_woken(feed, later);
		t_close(attached);
		t_close(later);
	}
}

#ifdef T_HAVE_DAEMON
/* ringtaild shares its bell; whoever may write it may also cut it off. */
static void i3_a_truncated_bell_does_not_kill_ringtaild(void **state)
{
	struct t_feed *feed = *state;

	t_feed_start(feed, small);
	for (int i = 0; i < 3; i++) {
		struct ringtail *attached = t_open(feed, t_from(RINGTAIL_START_NOW));

		is_woken(feed, attached);
		assert_int_equal(truncate(t_feed_file(feed, "bell"), 0), 0);

		struct ringtail *later = t_open(feed, t_from(RINGTAIL_START_NOW));

		for (int j = 0; j < 20; j++) {
			is_woken(feed, attached);
			is_woken(feed, later);
		}
		t_close(attached);
		t_close(later);
	}
}

/* And somebody who clears it again and again only delays, by a sweep. */
static void i3_a_bell_that_is_cleared_delays_by_a_sweep(void **state)
{
	struct t_feed *feed = *state;
	struct rt_bell *bell;
	struct ringtail *reader;
	struct t_waiter w;
	int fd;

	t_feed_start(feed, small);
	reader = t_open(feed, t_from(RINGTAIL_START_NOW));
	fd = open(t_feed_file(feed, "bell"), O_RDWR | O_CLOEXEC);
	bell = mmap(NULL, sizeof(*bell), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(bell != MAP_FAILED);
	for (int i = 0; i < 50; i++) {
		(void)t_drain(reader);
		t_waiter_start(&w, reader, T_AGES_NS);
		assert_true(t_within_ms(60000, t_waiter_sleeps, &w));
		atomic_store(&bell->bits, 0);
		t_put(feed, "k", "v");
		t_waiter_join(&w);
		t_is(w.outcome, RINGTAIL_EVENT);
	}
	(void)munmap(bell, sizeof(*bell));
	(void)close(fd);
	t_close(reader);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(i3_no_bell_keeps_an_event_from_a_sleeper),
#ifdef T_HAVE_DAEMON
		T_DAEMON(i3_a_truncated_bell_does_not_kill_ringtaild),
		T_DAEMON(i3_a_bell_that_is_cleared_delays_by_a_sweep),
#endif
	};

	return cmocka_run_group_tests_name("conformance I, bells", tests, NULL, NULL);
}
