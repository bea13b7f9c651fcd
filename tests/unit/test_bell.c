/* SPDX-License-Identifier: MIT */
/*
 * test_bell.c - shm/bell.c, and the bell file from its writer's and readers' sides
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ANY (1u << RT_TOPIC_ANY)

static const char *bell_path(const struct rig *rig)
{
	return t_path(rig->dir, RIG_FEED "/bell");
}

/* A sleeper on @topics of the open writer's ring. */
static struct rt_sleeper sleeper_of(struct rig *rig, uint32_t topics)
{
	return (struct rt_sleeper){ .hot = rig->w->hot,
				    .bell = rig->w->bell,
				    .topics = topics };
}

static uint32_t bits(const struct rig *rig)
{
	return rt_load32(&rig->w->bell->bits);
}

static int put_key(struct rig *rig, const char *key)
{
	return rt_writer_one(rig->w, RT_OP_PUT, 0, key, strlen(key), "", 0);
}

/*
 * ---- Topics ----
 */

static void the_topic_is_that_of_the_first_part_of_the_key(void **state)
{
	uint32_t seen = 0;

	(void)state;
	assert_int_equal(rt_topic("web", 3), rt_topic("web/", 4));
	assert_int_equal(rt_topic("web", 3), rt_topic("web/a/b", 7));
	assert_int_equal(rt_topic("/a", 2), rt_topic("/b", 2));
	for (unsigned i = 0; i < 1000; i++) {
		char key[16];
		int len = snprintf(key, sizeof(key), "key%u", i);
		uint32_t topic = rt_topic(key, (size_t)len);

		assert_in_range(topic, 0, RT_TOPIC_HASHED - 1);
		seen |= 1u << topic;
	}
	assert_int_equal(seen, 0x7fffffffu);
}

/* Whatever follows the slash, and wherever it is. */
static void what_follows_has_no_say(void **state)
{
	struct t_random random = { 1 };
	uint32_t seen = 0;
	char key[48];

	(void)state;
	for (unsigned first = 0; first < 40; first++) {
		uint32_t topic;

		for (unsigned i = 0; i < first; i++)
			key[i] = (char)('0' + t_random_below(&random, 64) + 1);
		topic = rt_topic(key, first);
		seen |= 1u << topic;
		key[first] = '/';
		for (unsigned len = first + 1; len <= sizeof(key); len++) {
			for (unsigned i = first + 1; i < len; i++)
				key[i] = (char)t_random_below(&random, 256);
			assert_int_equal(rt_topic(key, len), topic);
		}
		if (first) { /* but every byte before it has */
			uint32_t others = 0;

			for (unsigned i = 0; i < 64; i++) {
				key[t_random_below(&random, first)] = (char)('0' + i);
				others |= 1u << rt_topic(key, first);
			}
			assert_true(__builtin_popcount(others) > 8);
		}
	}
	assert_true(__builtin_popcount(seen) > 8);
}

static void more_than_eight_topics_are_any(void **state)
{
	(void)state;
	assert_int_equal(rt_sleep_topics(0xff), 0xff);
	assert_int_equal(rt_sleep_topics(0x7f800000u), 0x7f800000u);
	assert_int_equal(rt_sleep_topics(0x1ff), ANY);
	assert_int_equal(rt_sleep_topics(1 | ANY), ANY);
	assert_int_equal(rt_sleep_topics(ANY), ANY);
}

static void a_sleeper_waits_on_cancel_life_and_its_topics(void **state)
{
	struct rig *rig = *state;
	struct futex_waitv words[RT_SLEEP_WORDS];
	_Atomic uint32_t cancel = 0;
	struct rt_sleeper s;

	rig_open(rig);
	s = sleeper_of(rig, 0xff);
	t_ok(rt_sleeper_arm(&s));
	assert_int_equal(rt_sleeper_words(&s, words), 9);
	assert_true(words[0].uaddr == (uintptr_t)&rig->w->hot->life);
	assert_int_equal(words[0].flags, FUTEX_32);
	s.cancel = &cancel;
	assert_int_equal(rt_sleeper_words(&s, words), RT_SLEEP_WORDS);
	assert_true(words[0].uaddr == (uintptr_t)&cancel);
	assert_int_equal(words[0].flags, FUTEX_32 | FUTEX_PRIVATE_FLAG);
	assert_true(words[9].uaddr == (uintptr_t)&rig->w->hot->wakes[7]);
}

/*
 * ---- Announcing ----
 */

static void arming_rings_the_bell_for_the_topics(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	s = sleeper_of(rig, 1u << 3 | 1u << 30);
	t_ok(rt_sleeper_arm(&s));
	assert_int_equal(bits(rig), 1u << 3 | 1u << 30);
	s.topics = ANY;
	t_ok(rt_sleeper_arm(&s));
	assert_int_equal(bits(rig), 1u << 3 | 1u << 30 | ANY);
}

static void who_cannot_announce_itself_learns_it(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	s = sleeper_of(rig, ANY);
	s.bell = NULL;
	assert_int_equal(rt_sleeper_arm(&s), 1);
	s = sleeper_of(rig, ANY);
	s.no_membarrier = true;
	rt_store32(&rig->w->hot->barrier, RT_BARRIER_SLEEPER);
	assert_int_equal(rt_sleeper_arm(&s), 1);
	rt_store32(&rig->w->hot->barrier, RT_BARRIER_WRITER);
	assert_int_equal(rt_sleeper_arm(&s), 0);
	s.bell = NULL;
	rt_store64(&rig->w->hot->sweep_every_ns, 1000000);
	assert_int_equal(rt_sleeper_arm(&s), 0);
	rt_store64(&rig->w->hot->sweep_every_ns, 0);
	s.always = true;
	assert_int_equal(rt_sleeper_arm(&s), 0);
}

static void a_truncated_bell_is_no_signal_for_the_sleeper(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	assert_int_equal(truncate(bell_path(rig), 0), 0);
	s = sleeper_of(rig, ANY | 1);
	assert_int_equal(rt_sleeper_arm(&s), 1);
}

static void a_commit_wakes_what_was_rung_and_matters(void **state)
{
	struct rig *rig = *state;
	uint32_t other = rt_topic("other", 5);
	uint32_t mine = rt_topic("mine", 4);
	struct rt_sleeper s;
	uint32_t before;

	rig_open(rig);
	assert_int_not_equal(mine, other);
	s = sleeper_of(rig, 1u << mine);
	t_ok(rt_sleeper_arm(&s));
	before = rt_load32(&rig->w->hot->wakes[mine]);

	t_ok(put_key(rig, "other/x"));
	assert_int_equal(bits(rig), 1u << mine);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[mine]), before);
	t_ok(put_key(rig, "mine/x"));
	assert_int_equal(bits(rig), 0);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[mine]), before + 1);
	t_ok(put_key(rig, "mine/x"));
	assert_int_equal(rt_load32(&rig->w->hot->wakes[mine]), before + 1);
}

/* Long keys are not in the slot, where the waker could look first. */
static void keys_of_every_length_have_their_topic(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	for (size_t len = 1; len <= 128; len++) {
		char key[129] = { 0 };
		uint32_t topic, before;
		struct rt_sleeper s;

		memset(key, 'a' + (int)(len % 26), len);
		topic = rt_topic(key, len);
		s = sleeper_of(rig, 1u << topic);
		t_ok(rt_sleeper_arm(&s));
		before = rt_load32(&rig->w->hot->wakes[topic]);
		t_ok(put_key(rig, key));
		/* Once for this, and maybe once more at a quarter of the ring. */
		assert_int_not_equal(rt_load32(&rig->w->hot->wakes[topic]), before);
	}
}

static void every_commit_concerns_who_waits_for_any(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	s = sleeper_of(rig, ANY);
	t_ok(rt_sleeper_arm(&s));
	t_ok(put_key(rig, "whatever"));
	assert_int_equal(bits(rig), 0);
	t_ok(rt_sleeper_wait(&s, 1000000000));
}

static void what_is_aborted_wakes_nobody(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	s = sleeper_of(rig, ANY);
	t_ok(rt_sleeper_arm(&s));
	rt_writer_begin(rig->w);
	t_ok(rt_writer_add(rig->w, RT_OP_PUT, 0, "k", 1, "", 0));
	rt_writer_abort(rig->w);
	rt_writer_begin(rig->w);
	rt_writer_commit(rig->w);
	assert_int_equal(bits(rig), ANY);
}

static void held_wake_ups_come_together_at_the_end(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	struct rt_sleeper s;
	uint32_t any, other, topic = rt_topic("other", 5);

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	s = sleeper_of(rig, ANY | 1u << topic);
	t_ok(rt_sleeper_arm(&s));
	any = rt_load32(&rig->w->hot->wakes[RT_TOPIC_ANY]);
	other = rt_load32(&rig->w->hot->wakes[topic]);
	rt_writer_hold(rig->w);
	rig_put(rig, 3);
	rig_drain(r, 1, 3); /* who looks sees it */
	t_ok(put_key(rig, "other/x"));
	assert_int_equal(bits(rig), ANY | 1u << topic);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[RT_TOPIC_ANY]), any);
	rt_writer_release(rig->w);
	assert_int_equal(bits(rig), 0);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[RT_TOPIC_ANY]), any + 1);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[topic]), other + 1);
	t_ok(rt_sleeper_arm(&s));
	rt_writer_hold(rig->w);
	rt_writer_release(rig->w); /* of nothing */
	assert_int_equal(bits(rig), ANY | 1u << topic);
	rig_put(rig, 1);
	assert_int_equal(bits(rig), 1u << topic);
}

static void of_more_keys_than_topics_none_is_lost(void **state)
{
	const uint32_t topics = ANY | 1u << rt_topic("other", 5);
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	for (unsigned round = 0; round < 2; round++) {
		s = sleeper_of(rig, topics);
		t_ok(rt_sleeper_arm(&s));
		rt_writer_hold(rig->w);
		for (unsigned i = 0; i < 500; i++) {
			char key[16];

			(void)snprintf(key, sizeof(key), "%u", i);
			t_ok(put_key(rig, key));
		}
		assert_int_equal(rig->w->held, UINT32_MAX);
		t_ok(put_key(rig, "other/x"));
		assert_int_equal(bits(rig), topics);
		rt_writer_release(rig->w);
		assert_int_equal(bits(rig), 0);
	}
}

static void always_wakes_at_every_commit_and_has_no_bell(void **state)
{
	struct rig *rig = *state;
	uint32_t before;

	rig->config.wake_mode = RT_WAKE_ALWAYS;
	rig_open(rig);
	assert_int_not_equal(access(bell_path(rig), F_OK), 0);
	assert_int_equal(rt_load64(&rig->w->hot->bell_id), 0);
	before = rt_load32(&rig->w->hot->wakes[RT_TOPIC_ANY]);
	rig_put(rig, 3);
	assert_int_equal(rt_load32(&rig->w->hot->wakes[RT_TOPIC_ANY]), before + 3);
	assert_int_equal(rt_writer_bell_check(rig->w), 0);
	assert_false(rt_writer_bell_fault(rig->w, rig->w));
}

static void sleepers_are_woken_in_the_mode_always(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s[6];

	rig->config.wake_mode = RT_WAKE_ALWAYS;
	rig_open(rig);
	for (size_t i = 0; i < T_N(s); i++) {
		struct ringtail *r = rig_read(rig, rig_after(0));

		t_is(ringtail_next(r, &s[i].event, 0), RINGTAIL_CAUGHT_UP);
		rig_sleep_begin(&s[i], r);
	}
	rig_put(rig, 1);
	for (size_t i = 0; i < T_N(s); i++)
		t_is(rig_sleep_end(&s[i]), RINGTAIL_EVENT);
}

/*
 * ---- Sleeping ----
 */

/* What both ways to sleep must do. */
static void check_waits(struct rig *rig, bool no_waitv)
{
	_Atomic uint32_t cancel = 0;
	struct rt_sleeper s = sleeper_of(rig, ANY | 1u << 2);

	s.cancel = &cancel;
	s.no_waitv = no_waitv;
	t_ok(rt_sleeper_arm(&s));
	t_is(rt_sleeper_wait(&s, 0), -ETIMEDOUT);
	t_is(rt_sleeper_wait(&s, 500000), -ETIMEDOUT);
	t_ok(rt_sleeper_arm(&s));
	(void)rt_add32(&rig->w->hot->wakes[2], 1);
	t_ok(rt_sleeper_wait(&s, 1000000000));
	t_ok(rt_sleeper_arm(&s));
	rt_store32(&cancel, 1);
	t_ok(rt_sleeper_wait(&s, 1000000000));
}

static void a_sleep_ends_when_a_word_moved_or_time_is_over(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;

	rig_open(rig);
	check_waits(rig, false);
	check_waits(rig, true);
	s = sleeper_of(rig, ANY);
	t_ok(rt_sleeper_arm(&s));
	(void)rt_sleeper_wait(&s, 0);
	rt_store32(&rig->w->hot->life, 7);
	t_is(rt_sleeper_wait(&s, 10000000), s.no_waitv ? -ETIMEDOUT : 0);
}

static void without_waitv_a_sleep_is_short(void **state)
{
	struct rig *rig = *state;
	struct rt_sleeper s;
	uint64_t began = t_now_ns();

	rig_open(rig);
	s = sleeper_of(rig, 1u << 4 | 1u << 5);
	s.no_waitv = true;
	t_ok(rt_sleeper_arm(&s));
	t_is(rt_sleeper_wait(&s, RT_SLEEP_MAX_NS), -ETIMEDOUT);
	s.topics = 1u << 4;
	t_is(rt_sleeper_wait(&s, RT_SLEEP_MAX_NS), -ETIMEDOUT);
	assert_true(t_now_ns() - began < 500000000);
}

/*
 * ---- The bell's file ----
 */

static uint64_t file_id(const struct rig *rig)
{
	size_t len;
	char *bytes = t_read_file(bell_path(rig), &len);
	struct rt_bell bell;

	assert_non_null(bytes);
	assert_int_equal(len, sizeof(bell));
	memcpy(&bell, bytes, sizeof(bell));
	free(bytes);
	assert_true(rt_load64(&bell.magic) == RT_BELL_MAGIC);
	return bell.id;
}

static void the_bell_file_has_the_id_that_the_ring_says(void **state)
{
	struct rig *rig = *state;
	struct stat st;
	uint64_t id;

	rig->config.bell_mode = 0660;
	rig_open(rig);
	id = file_id(rig);
	assert_true(id == rt_load64(&rig->w->hot->bell_id));
	assert_int_equal(stat(bell_path(rig), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_size, RT_PAGE);

	rig_close(rig);
	rig_open(rig);
	assert_true(file_id(rig) == id); /* sleepers may have rung it */
}

static void a_bell_that_is_not_whole_is_replaced_by_the_next_writer(void **state)
{
	struct rig *rig = *state;
	uint64_t id, zero = 0;
	int fd;

	rig_open(rig);
	id = file_id(rig);
	rig_close(rig);
	assert_int_equal(truncate(bell_path(rig), 100), 0);
	rig_open(rig);
	assert_true(file_id(rig) != id);

	id = file_id(rig);
	rig_close(rig);
	fd = open(bell_path(rig), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &zero, sizeof(zero), 0), sizeof(zero));
	(void)close(fd);
	rig_open(rig);
	assert_true(file_id(rig) != id);

	id = file_id(rig);
	rig_close(rig);
	rig->config.bell_mode = 0640;
	rig_open(rig);
	assert_true(file_id(rig) != id);
	assert_true(file_id(rig) == rt_load64(&rig->w->hot->bell_id));
}

static void a_bell_in_use_is_renewed_when_it_is_damaged(void **state)
{
	struct rig *rig = *state;
	struct rt_bell *at;
	uint64_t id;

	rig_open(rig);
	at = rig->w->bell;
	assert_int_equal(rt_writer_bell_check(rig->w), 0);

	id = file_id(rig);
	assert_int_equal(truncate(bell_path(rig), 0), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_true(file_id(rig) != id);
	assert_true(file_id(rig) == rt_load64(&rig->w->hot->bell_id));
	assert_ptr_equal(rig->w->bell, at); /* where a SIGBUS handler looks */
	rig_put(rig, 1);

	assert_int_equal(unlink(bell_path(rig)), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_int_equal(rt_writer_bell_check(rig->w), 0);

	assert_int_equal(truncate(bell_path(rig), 2 * RT_PAGE), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_int_equal(chmod(bell_path(rig), 0666), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_int_equal(rt_writer_bell_check(rig->w), 0);
	rig_put(rig, 1);
}

/* What a copy under the same name rings nobody hears. */
static void a_copy_in_the_place_of_the_bell_is_noticed(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	assert_int_equal(t_sh(NULL, "cp -p '%s' '%s.copy' && mv '%s.copy' '%s'",
			      bell_path(rig), bell_path(rig), bell_path(rig),
			      bell_path(rig)),
			 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_int_equal(rt_writer_bell_check(rig->w), 0);
}

static struct rt_writer *faulting;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (!rt_writer_bell_fault(faulting, info->si_addr))
		_exit(9);
}

static int commit_with_a_truncated_bell(void *arg)
{
	struct rig *rig = arg;
	struct sigaction action = { .sa_sigaction = on_bus_error,
				    .sa_flags = SA_SIGINFO };
	const char *path = bell_path(rig);

	if (rt_writer_open(rig->dir, &rig->config, 0, RIG_BEAT_NS, NULL, &rig->w) < 0)
		return 1;
	faulting = rig->w;
	if (sigaction(SIGBUS, &action, NULL) < 0 || truncate(path, 0) < 0)
		return 2;
	for (int i = 0; i < 200; i++) {
		if (rt_writer_one(rig->w, RT_OP_PUT, 0, "k", 1, "", 0) < 0)
			return 3;
	}
	if (rt_writer_bell_check(rig->w) != 1)
		return 4;
	rt_writer_close(rig->w);
	return 0;
}

static void a_handler_gets_a_writer_over_a_truncated_bell(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(t_in_child(commit_with_a_truncated_bell, rig), 0);
	rig_open(rig);
	assert_int_equal(rt_writer_head(rig->w), 200);
	assert_false(rt_writer_bell_fault(rig->w, rig->w->hot));
	assert_false(rt_writer_bell_fault(rig->w, NULL));
	assert_false(rt_writer_bell_fault(rig->w, rig->w->bell + 1));
}

/*
 * ---- A reader's bell ----
 */

static void a_reader_finds_the_renewed_bell(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	assert_int_equal(ringtail_next(r, &s.event, 0), RINGTAIL_CAUGHT_UP);
	t_ok(rt_reader_arm(r));
	assert_int_equal(truncate(bell_path(rig), 0), 0);
	assert_int_equal(rt_reader_arm(r), 1);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	t_ok(rt_reader_arm(r));
	assert_int_equal(bits(rig), ANY);
	rig_sleep_begin(&s, r);
	rig_put(rig, 1);
	t_is(rig_sleep_end(&s), RINGTAIL_EVENT);
}

static void a_sleeper_is_woken_by_the_renewal(void **state)
{
	struct rig *rig = *state;
	struct rig_sleeper s;
	struct ringtail *r;
	struct ringtail_event event;

	rig_open(rig);
	r = rig_read(rig, rig_after(0));
	assert_int_equal(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	rig_sleep_begin(&s, r);
	assert_int_equal(unlink(bell_path(rig)), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);
	assert_true(t_within_ms(900, rig_is_asleep, &s));
	rig_put(rig, 1);
	t_is(rig_sleep_end(&s), RINGTAIL_EVENT);
}

static struct ringtail *read_by_fd(struct rig *rig, int bell_fd)
{
	struct ringtail_options o = rig_after(0);
	struct ringtail *r;
	int fd = open(rig->path, O_RDONLY | O_CLOEXEC);

	o.bell_fd = bell_fd;
	t_ok(ringtail_open_fd(fd, &o, &r));
	(void)close(fd);
	return rig_keep(rig, r);
}

static void a_reader_by_descriptor_rings_the_bell_it_was_given(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	int bell_fd;

	rig_open(rig);
	bell_fd = open(bell_path(rig), O_RDWR | O_CLOEXEC);
	r = read_by_fd(rig, bell_fd);
	(void)close(bell_fd);
	t_ok(rt_reader_arm(r));
	assert_int_equal(bits(rig), ANY);
	assert_int_equal(rt_reader_arm(read_by_fd(rig, -1)), 1);
}

static void a_bell_that_is_not_the_feeds_is_not_believed(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	int bell_fd;

	rig_open(rig);
	bell_fd = open(bell_path(rig), O_RDWR | O_CLOEXEC);
	r = read_by_fd(rig, bell_fd);
	assert_int_equal(unlink(bell_path(rig)), 0);
	assert_int_equal(rt_writer_bell_check(rig->w), 1);

	assert_int_equal(rt_reader_arm(r), 1); /* the bell of before */
	assert_int_equal(rt_reader_arm(r), 1);
	assert_int_equal(rt_reader_arm(read_by_fd(rig, bell_fd)), 1);
	(void)close(bell_fd);
	bell_fd = open(bell_path(rig), O_RDONLY | O_CLOEXEC);
	assert_int_equal(rt_reader_arm(read_by_fd(rig, bell_fd)), 1);
	(void)close(bell_fd);
	bell_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(rt_reader_arm(read_by_fd(rig, bell_fd)), 1);
	(void)close(bell_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T0(the_topic_is_that_of_the_first_part_of_the_key),
		T0(what_follows_has_no_say),
		T0(more_than_eight_topics_are_any),
		T(a_sleeper_waits_on_cancel_life_and_its_topics),
		T(arming_rings_the_bell_for_the_topics),
		T(who_cannot_announce_itself_learns_it),
		T(a_truncated_bell_is_no_signal_for_the_sleeper),
		T(a_commit_wakes_what_was_rung_and_matters),
		T(keys_of_every_length_have_their_topic),
		T(every_commit_concerns_who_waits_for_any),
		T(what_is_aborted_wakes_nobody),
		T(held_wake_ups_come_together_at_the_end),
		T(of_more_keys_than_topics_none_is_lost),
		T(always_wakes_at_every_commit_and_has_no_bell),
		T(sleepers_are_woken_in_the_mode_always),
		T(a_sleep_ends_when_a_word_moved_or_time_is_over),
		T(without_waitv_a_sleep_is_short),
		T(the_bell_file_has_the_id_that_the_ring_says),
		T(a_bell_that_is_not_whole_is_replaced_by_the_next_writer),
		T(a_bell_in_use_is_renewed_when_it_is_damaged),
		T(a_copy_in_the_place_of_the_bell_is_noticed),
		T(a_handler_gets_a_writer_over_a_truncated_bell),
		T(a_reader_finds_the_renewed_bell),
		T(a_sleeper_is_woken_by_the_renewal),
		T(a_reader_by_descriptor_rings_the_bell_it_was_given),
		T(a_bell_that_is_not_the_feeds_is_not_believed),
	};

	return cmocka_run_group_tests_name("bell", tests, NULL, NULL);
}
