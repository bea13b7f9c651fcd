/* SPDX-License-Identifier: MIT */
/*
 * Any bytes in any file: an error that names the file, never a crash or a loop.
 *
 * Each kind of damage is tried in a child with an alarm, on a copy of a real ring.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "shm/layout.h"

#define ALARM_S 100 /* a child that needs so long loops */

static const struct t_ring small = { .n_slots = 64, .payload_size = 4096 };

struct damage {
	char dir[256];  /* with the feed "main" in it */
	char path[300]; /* of its ring */
	uint8_t *good, *bad;
	size_t len;
	uint64_t seed;
};

/* What is wrong with a verdict that is not 0. */
enum {
	WRONG_NAME = 20, /* an error does not name the file */
	WRONG_EVENT,
	WRONG_ACCOUNTS,
	WRONG_ACCEPTED, /* what must be refused was not */
	WRONG_REFUSED,
	WRONG_ERROR,
	WRONG_ENDLESS,
};

/* A copy of a ring with transactions of all shapes, lapped once. */
static void damage_init(struct t_feed *feed, struct damage *d)
{
	char *text;

	t_feed_start(feed, small);
	for (uint64_t seq = 1; seq <= 150; seq++) {
		if (seq % 10 == 0)
			t_begin(feed);
		t_put_value(feed, seq);
		if (seq % 10 == 4)
			t_message(feed, "a key that does not fit into a slot", "v");
		if (seq > 10 && seq % 10 == 3)
			t_commit(feed);
		else if (seq == 150)
			t_abort(feed);
	}
	(void)snprintf(d->dir, sizeof(d->dir), "%s/damaged", feed->dir);
	(void)snprintf(d->path, sizeof(d->path), "%s/%s", d->dir, T_FEED);
	assert_int_equal(mkdir(d->dir, 0700), 0);
	assert_int_equal(mkdir(d->path, 0700), 0);
	(void)strcat(d->path, "/ring");
	text = t_read_file(t_feed_file(feed, "ring"), &d->len);
	assert_non_null(text);
	d->good = (uint8_t *)text;
	d->bad = malloc(d->len);
	assert_non_null(d->bad);
	memcpy(d->bad, d->good, d->len);
	d->seed = t_now_ns();
	printf("# seed %" PRIu64 "\n", d->seed);
}

static void damage_fini(struct damage *d)
{
	free(d->good);
	free(d->bad);
}

static void store(const struct damage *d, size_t len)
{
	t_write_file(d->path, d->bad, len);
}

/* Page 0 with a checksum that is right for what it says. */
static void seal(struct damage *d)
{
	uint64_t sum =
		XXH64(d->bad + 8, offsetof(struct rt_header, check) - 8, RT_MAGIC);

	memcpy(d->bad + offsetof(struct rt_header, check), &sum, sizeof(sum));
}

static bool names(const struct damage *d, const char *text)
{
	return strstr(text, d->path) != NULL;
}

/*
 * ---- A reader of whatever is there ----
 */

static volatile unsigned touched;

static void touch(const void *at, size_t len)
{
	const uint8_t *byte = at;

	for (size_t i = 0; i < len; i++)
		touched += byte[i];
}

static bool is_sane(const struct ringtail_event *event)
{
	if (!event->key_len || event->key_len > 1024 || event->value_len > 1024)
		return false;
	touch(event->key, event->key_len);
	touch(event->value, event->value_len);
	return true;
}

/* One call of one kind; its outcome, or WRONG_EVENT as a positive one. */
static int read_once(struct ringtail *reader, unsigned kind)
{
	static struct ringtail_event events[64];
	static char data[8192];
	const struct ringtail_event *txn = events;
	struct ringtail_batch batch = { .events = events,
					.max_events = T_N(events),
					.data = data,
					.data_size = sizeof(data) };
	size_t n = 1;
	int outcome;

	switch (kind % 4) {
	case 0:
		outcome = ringtail_next(reader, events, 0);
		break;
	case 1:
		outcome = ringtail_next_txn(reader, &txn, &n, 1);
		break;
	case 2:
		outcome = ringtail_next_batch(reader, &batch, 0);
		n = batch.n_events;
		break;
	default:
		outcome = ringtail_borrow(reader, events, 0);
		break;
	}
	for (size_t i = 0; outcome == RINGTAIL_EVENT && i < n; i++)
		if (!is_sane(&txn[i]))
			return WRONG_EVENT;
	if (outcome == RINGTAIL_EVENT && kind % 4 == 3)
		(void)ringtail_borrow_valid(reader);
	return outcome;
}

static int ask_all(struct ringtail *reader)
{
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail_gap_info gap;
	char marker[RINGTAIL_MARKER_SIZE];

	(void)ringtail_get_info(reader, &info);
	(void)ringtail_state(reader);
	(void)ringtail_gap(reader, &gap);
	(void)ringtail_marker(reader, marker);
	return t_accounts_add_up(reader) ? 0 : WRONG_ACCOUNTS;
}

/* Reads until nothing comes any more, which it must some time. */
static int read_all(const struct damage *d, struct ringtail *reader, unsigned kind)
{
	for (int i = 0; i < 2000; i++) {
		int outcome = read_once(reader, kind);
		int wrong = ask_all(reader);

		if (outcome == WRONG_EVENT || wrong)
			return outcome == WRONG_EVENT ? WRONG_EVENT : wrong;
		if (outcome == RINGTAIL_NOTHING)
			return 0;
		if (outcome == RINGTAIL_E_CORRUPT && !names(d, ringtail_error(reader)))
			return WRONG_NAME;
		if (outcome < 0)
			return 0;
	}
	return WRONG_ENDLESS;
}

/* Opens and reads in every way; *@ret is how opening from the oldest ended. */
static int read_in_every_way(const struct damage *d, int *ret)
{
	for (unsigned way = 0; way < 8; way++) {
		static const uint32_t starts[] = { RINGTAIL_START_OLDEST,
						   RINGTAIL_START_AFTER_SEQ,
						   RINGTAIL_START_TIME,
						   RINGTAIL_START_NOW };
		struct ringtail_options options = t_from(starts[way % 4]);
		struct ringtail *reader = NULL;
		int e, wrong;

		if (options.start == RINGTAIL_START_TIME)
			options.time_ns = 1;
		options.on_gap = way & 1 ? RINGTAIL_ON_GAP_SKIP : RINGTAIL_ON_GAP_ERROR;
		e = ringtail_open_path(d->path, &options, &reader);
		if (way == 0)
			*ret = e;
		if ((e == RINGTAIL_E_CORRUPT || e == RINGTAIL_E_VERSION) &&
		    !names(d, ringtail_error(NULL)))
			return WRONG_NAME;
		if (e)
			continue;
		wrong = read_all(d, reader, way / 2);
		ringtail_close(reader);
		if (wrong)
			return wrong;
	}
	return 0;
}

/* A writer that goes on with it, or refuses. */
static int write_on(const struct damage *d)
{
	static const uint8_t value[1000];
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer;

	options.dir = d->dir;
	options.n_slots = small.n_slots;
	options.payload_size = small.payload_size;
	options.max_key = 1024;
	if (ringtail_writer_open(T_FEED, &options, &writer))
		return strlen(ringtail_error(NULL)) > 10 ? 0 : WRONG_ERROR;
	for (size_t i = 0; i < 200; i++) {
		(void)ringtail_put(writer, "k", 1, value, i * 37 % sizeof(value), 0);
		(void)ringtail_begin(writer);
		for (size_t j = 0; j < i % 16; j++)
			(void)ringtail_add(writer, RINGTAIL_PUT, "k", 1, value, i % 60,
					   0);
		(void)ringtail_commit(writer);
	}
	ringtail_writer_close(writer);
	return 0;
}

/* Both, on what is in @d->bad now. */
static int try_it(const struct damage *d, int *ret)
{
	int wrong;

	store(d, d->len);
	wrong = read_in_every_way(d, ret);
	return wrong ? wrong : write_on(d);
}

static void run(int (*child)(void *damage), struct damage *d)
{
	int verdict = t_in_child(child, d);

	if (verdict)
		fail_msg("verdict %d, seed %" PRIu64, verdict, d->seed);
}

/*
 * ---- Rings ----
 */

static int truncated(void *arg)
{
	struct damage *d = arg;
	const size_t lens[] = { 0,         1,    7,    8,    100,  207,   208,
				4095,      4096, 4097, 8191, 8192, 12288, d->len - 4096,
				d->len - 1 };
	int e = 0, wrong;

	(void)alarm(ALARM_S);
	for (size_t i = 0; i < T_N(lens); i++) {
		store(d, lens[i]);
		wrong = read_in_every_way(d, &e);
		if (wrong || e != RINGTAIL_E_CORRUPT)
			return wrong ? wrong : WRONG_ACCEPTED;
		wrong = write_on(d);
		if (wrong)
			return wrong;
	}
	return 0;
}

static void i3_a_truncated_ring_is_an_error(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(truncated, &d);
	damage_fini(&d);
}

static int zeroed(void *arg)
{
	struct damage *d = arg;
	int e = 0, wrong;

	(void)alarm(ALARM_S);
	memset(d->bad, 0, d->len);
	wrong = try_it(d, &e);
	if (wrong || e != RINGTAIL_E_CORRUPT)
		return wrong ? wrong : WRONG_ACCEPTED;
	for (size_t page = 0; page < d->len; page += RT_PAGE) {
		memcpy(d->bad, d->good, d->len);
		memset(d->bad + page, 0, RT_PAGE);
		wrong = try_it(d, &e);
		if (wrong || (page == 0 && e != RINGTAIL_E_CORRUPT))
			return wrong ? wrong : WRONG_ACCEPTED;
	}
	return 0;
}

static void i3_a_zeroed_ring_is_an_error(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(zeroed, &d);
	damage_fini(&d);
}

static int other_versions(void *arg)
{
	static const struct {
		size_t offset;
		uint64_t value;
		size_t len;
		int want;
	} cases[] = {
		{ offsetof(struct rt_header, magic), 0x6169, 2, RINGTAIL_E_CORRUPT },
		{ offsetof(struct rt_header, format), 2, 4, RINGTAIL_E_VERSION },
		{ offsetof(struct rt_header, format), UINT32_MAX, 4,
		  RINGTAIL_E_VERSION },
		{ offsetof(struct rt_header, incompat), 1, 4, RINGTAIL_E_VERSION },
		{ offsetof(struct rt_header, incompat), 1u << 31, 4,
		  RINGTAIL_E_VERSION },
		{ offsetof(struct rt_header, compat), UINT32_MAX, 4, 0 },
	};
	struct damage *d = arg;
	uint64_t magic = __builtin_bswap64(RT_MAGIC);
	int e = 0, wrong;

	(void)alarm(ALARM_S);
	for (size_t i = 0; i < T_N(cases); i++) {
		memcpy(d->bad, d->good, d->len);
		memcpy(d->bad + cases[i].offset, &cases[i].value, cases[i].len);
		if (cases[i].offset)
			seal(d);
		wrong = try_it(d, &e);
		if (wrong || (e != cases[i].want &&
			      !(cases[i].offset == 0 && e == RINGTAIL_E_CORRUPT)))
			return wrong ? wrong : WRONG_ERROR;
	}
	memcpy(d->bad, d->good, d->len);
	memcpy(d->bad, &magic, sizeof(magic));
	wrong = try_it(d, &e);
	return wrong ? wrong : e == RINGTAIL_E_VERSION ? 0 : WRONG_ERROR;
}

static void i3_other_versions_and_byte_orders_are_refused(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(other_versions, &d);
	damage_fini(&d);
}

static int flipped(void *arg)
{
	struct damage *d = arg;
	int e = 0, wrong;

	(void)alarm(ALARM_S);
	for (size_t bit = 0; bit < 8 * sizeof(struct rt_header); bit++) {
		memcpy(d->bad, d->good, d->len);
		d->bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
		store(d, d->len);
		wrong = read_in_every_way(d, &e);
		if (wrong || (e != RINGTAIL_E_CORRUPT && e != RINGTAIL_E_VERSION))
			return wrong ? wrong : WRONG_ACCEPTED;
	}
	return 0;
}

static void i3_any_flipped_bit_of_page_0_is_an_error(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(flipped, &d);
	damage_fini(&d);
}

/* Values that lengths, offsets and counts should not have. */
static uint64_t odd_value(struct t_random *random, uint64_t old)
{
	static const uint64_t values[] = { 0,
					   3,
					   7,
					   63,
					   65,
					   4095,
					   4097,
					   UINT16_MAX,
					   UINT32_MAX,
					   UINT64_MAX,
					   UINT64_MAX - 1 };

	switch (t_random_below(random, 8)) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return old * 2;
	case 3:
		return t_random64(random);
	case 4:
	case 5:
		return UINT64_C(1) << t_random_below(random, 64);
	default:
		return values[t_random_below(random, T_N(values))];
	}
}

/* Puts odd values into 4 or 8 bytes somewhere between @from and @to. */
static void spoil(struct damage *d, struct t_random *random, size_t from, size_t to)
{
	size_t len = t_random_below(random, 2) ? 4 : 8;
	size_t at = from + t_random_below(random, (to - from) / len) * len;
	uint64_t value = 0;

	memcpy(&value, d->bad + at, len);
	value = odd_value(random, value);
	memcpy(d->bad + at, &value, len);
}

static int sealed_lies(void *arg)
{
	struct damage *d = arg;
	struct t_random random = { d->seed };
	int e = 0, wrong = 0;

	(void)alarm(ALARM_S);
	for (int i = 0; i < 1500 && !wrong; i++) {
		memcpy(d->bad, d->good, d->len);
		for (uint64_t n = 1 + t_random_below(&random, 3); n--;)
			spoil(d, &random, 8, offsetof(struct rt_header, check));
		seal(d);
		wrong = try_it(d, &e);
	}
	return wrong;
}

static void i3_page_0_that_lies_with_a_right_checksum(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(sealed_lies, &d);
	damage_fini(&d);
}

/* Hot words, slots or payload with odd values in them, few or many. */
static int odd_contents(void *arg)
{
	struct damage *d = arg;
	struct t_random random = { d->seed };
	const size_t slots = 2 * RT_PAGE, payload = slots + 64 * sizeof(struct rt_slot);
	int e = 0, wrong = 0;

	(void)alarm(ALARM_S);
	for (int i = 0; i < 3000 && !wrong; i++) {
		uint64_t n = 1 + t_random_below(&random, i % 5 ? 4 : 200);

		memcpy(d->bad, d->good, d->len);
		while (n--) {
			if (t_random_below(&random, 3) == 0)
				spoil(d, &random, RT_PAGE,
				      RT_PAGE + sizeof(struct rt_hot));
			else
				spoil(d, &random, slots, payload);
		}
		wrong = try_it(d, &e);
	}
	return wrong;
}

static void i3_odd_values_in_hot_words_and_slots(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(odd_contents, &d);
	damage_fini(&d);
}

static int random_contents(void *arg)
{
	struct damage *d = arg;
	struct t_random random = { d->seed };
	int e = 0, wrong = 0;

	(void)alarm(ALARM_S);
	for (int i = 0; i < 300 && !wrong; i++) {
		size_t from = i % 3 == 0 ? 0 : i % 3 == 1 ? RT_PAGE : 2 * RT_PAGE;

		memcpy(d->bad, d->good, d->len);
		for (size_t at = from; at + 8 <= d->len; at += 8) {
			uint64_t value = t_random64(&random);

			memcpy(d->bad + at, &value, sizeof(value));
		}
		wrong = try_it(d, &e);
		if (!wrong && from <= RT_PAGE && e != RINGTAIL_E_CORRUPT)
			wrong = WRONG_ACCEPTED;
	}
	return wrong;
}

static void i3_random_bytes(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(random_contents, &d);
	damage_fini(&d);
}

static void spoil_hot_words(const struct damage *d, struct t_random *random)
{
	uint64_t words[RT_PAGE / 8];
	int fd = open(d->path, O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < T_N(words); i++)
		words[i] = t_random64(random);
	if (fd < 0 || pwrite(fd, words, sizeof(words), RT_PAGE) != sizeof(words))
		abort();
	(void)close(fd);
}

/* In a child: what is read until then is right, and then the ring is damaged; it was
 * neither closed, nor has it moved, nor are events lost. */
static int random_hot_words(void *arg)
{
	struct damage *d = arg;
	struct t_random random = { d->seed };

	(void)alarm(ALARM_S);
	for (unsigned i = 0; i < 200; i++) {
		struct ringtail_options options = t_from(RINGTAIL_START_OLDEST);
		struct ringtail *reader;
		int outcome = RINGTAIL_EVENT;

		memcpy(d->bad, d->good, d->len);
		store(d, d->len);
		options.on_gap = i & 1 ? RINGTAIL_ON_GAP_SKIP : RINGTAIL_ON_GAP_ERROR;
		if (ringtail_open_path(d->path, &options, &reader))
			return WRONG_REFUSED;
		for (unsigned n = i % 70; n && outcome > 0; n--)
			outcome = read_once(reader, i);
		spoil_hot_words(d, &random);
		do
			outcome = read_once(reader, i);
		while (outcome == RINGTAIL_EVENT || outcome == RINGTAIL_CAUGHT_UP);
		if (outcome != RINGTAIL_E_CORRUPT)
			return WRONG_ERROR;
		if (!names(d, ringtail_error(reader)))
			return WRONG_NAME;
		if (!t_accounts_add_up(reader))
			return WRONG_ACCOUNTS;
		ringtail_close(reader);
	}
	return 0;
}

static void i3_random_hot_words_are_damage_and_nothing_else(void **state)
{
	struct damage d;

	damage_init(*state, &d);
	run(random_hot_words, &d);
	damage_fini(&d);
}

/* In a child: readers attached to a ring that changes under them at random. */
static int read_while_scribbled(void *arg)
{
	struct damage *d = arg;
	int wrong = 0, e;

	(void)alarm(ALARM_S);
	for (uint64_t end = t_now_ns() + 700 * (uint64_t)T_MS;
	     !wrong && t_now_ns() < end;)
		wrong = read_in_every_way(d, &e);
	/* Who gets new events all the time does not come to an end. */
	return wrong == WRONG_ENDLESS ? 0 : wrong;
}

static bool has_ended(void *arg)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t) * (int *)arg, &info, WEXITED | WNOHANG | WNOWAIT) ==
		       0 &&
	       info.si_pid;
}

static void i3_a_ring_that_changes_at_random_while_it_is_read(void **state)
{
	const size_t slots = 2 * RT_PAGE;
	struct damage d;
	uint8_t *map;
	int fd, pid;

	damage_init(*state, &d);
	store(&d, d.len);
	fd = open(d.path, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, d.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	pid = t_spawn(read_while_scribbled, &d);
	for (struct t_random random = { d.seed }; !has_ended(&pid);) {
		for (int i = 0; i < 10000; i++) {
			bool hot = t_random_below(&random, 4) == 0;
			size_t at = hot ? RT_PAGE + t_random_below(&random, 96) * 8
					: slots + t_random_below(&random, 64 * 8) * 8;
			uint64_t old;

			memcpy(&old, map + at, 8);
			old = t_random_below(&random, 2) ? odd_value(&random, old) : 0;
			if (!old) /* and at times it makes sense again */
				memcpy(&old, d.good + at, 8);
			memcpy(map + at, &old, 8);
		}
	}
	assert_int_equal(t_join(pid), 0);
	(void)munmap(map, d.len);
	(void)close(fd);
	damage_fini(&d);
}

static void i3_what_is_no_file_is_no_ring(void **state)
{
	struct t_feed *feed = *state;
	struct ringtail_options options = t_after(0);
	struct ringtail *reader = NULL;
	char path[300];
	int e;

	(void)snprintf(path, sizeof(path), "%s/ring", feed->dir);
	for (int kind = 0; kind < 4; kind++) {
		(void)remove(path);
		if (kind == 0)
			assert_int_equal(mkdir(path, 0700), 0);
		else if (kind == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else if (kind == 2)
			assert_int_equal(symlink("/dev/zero", path), 0);
		else
			assert_int_equal(symlink(path, path), 0);
		e = ringtail_open_path(path, &options, &reader);
		t_is(e, kind == 3 ? -ELOOP : RINGTAIL_E_CORRUPT);
		assert_non_null(strstr(ringtail_error(NULL), path));
	}
	(void)remove(path);
	t_is(ringtail_open_fd(-1, &options, &reader), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_EMBEDDED(i3_a_truncated_ring_is_an_error),
		T_EMBEDDED(i3_a_zeroed_ring_is_an_error),
		T_EMBEDDED(i3_other_versions_and_byte_orders_are_refused),
		T_EMBEDDED(i3_any_flipped_bit_of_page_0_is_an_error),
		T_EMBEDDED(i3_page_0_that_lies_with_a_right_checksum),
		T_EMBEDDED(i3_odd_values_in_hot_words_and_slots),
		T_EMBEDDED(i3_random_hot_words_are_damage_and_nothing_else),
		T_EMBEDDED(i3_random_bytes),
		T_EMBEDDED(i3_a_ring_that_changes_at_random_while_it_is_read),
		T_EMBEDDED(i3_what_is_no_file_is_no_ring),
	};

	return cmocka_run_group_tests_name("conformance I, hostile bytes", tests, NULL,
					   NULL);
}
