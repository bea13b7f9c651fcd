/* SPDX-License-Identifier: MIT */
/*
 * test_presence.c - client/presence.c, store/presence.c: readers that are seen
 */
#include "tests/unit/rig.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utime.h>

#include "store/presence.h"

static int folder_of(const struct rig *rig)
{
	int fd = open(t_path(rig->dir, RIG_FEED "/readers"),
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* The files that are there; the name of the last in @ret. */
static unsigned files(const struct rig *rig, char ret[256])
{
	DIR *dir = fdopendir(folder_of(rig));
	const struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(ret, 256, "%s", entry->d_name);
		n++;
	}
	(void)closedir(dir);
	return n;
}

/* What the only reader says of itself. */
static struct rt_presence the_one(const struct rig *rig)
{
	struct rt_presence presence;
	int fd = folder_of(rig);
	char name[256];

	assert_int_equal(files(rig, name), 1);
	t_ok(rt_presence_look(fd, name, &presence));
	(void)close(fd);
	return presence;
}

static struct ringtail_options seen_as(const char *name, struct ringtail_options o)
{
	o.presence = name;
	return o;
}

static void a_reader_is_seen_from_open_to_close(void **state)
{
	struct rig *rig = *state;
	struct rt_presence seen;
	struct ringtail *r;
	char name[256];

	rig_open(rig);
	rig_put(rig, 5);
	r = rig_read(rig, seen_as("routes", rig_after(2)));
	seen = the_one(rig);
	assert_true(seen.alive);
	assert_int_equal(seen.uid, geteuid());
	assert_string_equal(seen.record.name, "routes");
	assert_int_equal(seen.record.pid, getpid());
	assert_int_equal(seen.record.state, RT_PRESENCE_RUNNING);
	assert_int_equal(seen.record.position, 2);
	assert_int_equal(seen.record.start, 2);
	assert_int_equal(seen.record.epoch, rig->w->segment.geo.epoch);
	assert_true(seen.record.updated_ns <= rt_now_ns(CLOCK_MONOTONIC));
	rig_forget(rig, r);
	assert_int_equal(files(rig, name), 0);
}

static void who_is_not_asked_is_not_seen(void **state)
{
	struct rig *rig = *state;
	char name[256];

	rig_open(rig);
	(void)rig_read(rig, rig_after(0));
	assert_int_equal(files(rig, name), 0);
}

static void before_it_sleeps_it_says_so(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct rt_presence seen;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 5);
	r = rig_read(rig, seen_as("x", rig_after(0)));
	for (uint64_t seq = 1; seq <= 5; seq++)
		rig_next(r, seq);
	t_is(ringtail_next(r, &event, 1000000), RINGTAIL_NOTHING);
	seen = the_one(rig);
	assert_int_equal(seen.record.state, RT_PRESENCE_SLEEPING);
	assert_int_equal(seen.record.position, 5);
	assert_int_equal(seen.record.delivered, 5);
}

static void who_spins_says_where_it_stands(void **state)
{
	struct rig *rig = *state;
	struct ringtail_options o = seen_as("x", rig_after(0));
	struct ringtail_event event;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 5);
	o.wait = RINGTAIL_WAIT_SPIN;
	r = rig_read(rig, o);
	for (uint64_t seq = 1; seq <= 5; seq++)
		rig_next(r, seq);
	t_is(ringtail_next(r, &event, 20000000), RINGTAIL_NOTHING);
	assert_int_equal(the_one(rig).record.position, 5);
	assert_int_equal(the_one(rig).record.state, RT_PRESENCE_RUNNING);
}

/* However it reads: nobody is behind what it says for longer than it takes. */
static void while_it_reads_it_says_how_far(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;
	uint64_t end = rt_now_ns(CLOCK_MONOTONIC) + UINT64_C(30000000000);

	rig_open(rig);
	r = rig_read(rig, seen_as("x", rig_after(0)));
	do {
		struct ringtail_event event;

		rig_put(rig, 1);
		t_is(ringtail_next(r, &event, 0), RINGTAIL_EVENT);
	} while (!the_one(rig).record.position && rt_now_ns(CLOCK_MONOTONIC) < end);
	assert_true(the_one(rig).record.position > 0);
	assert_int_equal(the_one(rig).record.state, RT_PRESENCE_RUNNING);
}

static void a_gap_and_the_end_are_told_at_once(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct rt_presence seen;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, seen_as("x", rig_skip(0)));
	t_is(ringtail_next(r, &event, 0), RINGTAIL_CAUGHT_UP);
	rig_put(rig, 100);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_GAP);
	seen = the_one(rig);
	assert_int_equal(seen.record.gaps, 1);
	assert_true(seen.record.lost > 0);
	assert_int_equal(seen.record.position, seen.record.lost);
	ringtail_cancel(r);
	t_is(ringtail_next(r, &event, 0), RINGTAIL_E_CANCELED);
	assert_int_equal(the_one(rig).record.state, RT_PRESENCE_ENDED);
}

static void it_goes_along_when_the_feed_moves(void **state)
{
	struct rig *rig = *state;
	struct ringtail_event event;
	struct ringtail *r;
	struct stat st;

	rig->config.mode = 0640;
	rig_open(rig);
	r = rig_read(rig, seen_as("x", rig_after(0)));
	rig_put(rig, 1);
	rig_next(r, 1);
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/readers"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 01770);
	rig->config.mode = 0604;
	t_ok(rt_writer_move(rig->w, &rig->config, &rig->fault));
	assert_int_equal(stat(t_path(rig->dir, RIG_FEED "/readers"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 01707);
	rig_put(rig, 1);
	rig_next(r, 2);
	t_is(ringtail_next(r, &event, 1000000), RINGTAIL_NOTHING);
	assert_int_equal(the_one(rig).record.position, 2);
	assert_int_equal(the_one(rig).record.moves, 1);
}

static void what_cannot_be_seen_reads_all_the_same(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	rig_put(rig, 1);
	t_ok(rmdir(t_path(rig->dir, RIG_FEED "/readers")));
	r = rig_read(rig, seen_as("x", rig_after(0)));
	assert_non_null(strstr(ringtail_error(r), "/readers: No such file"));
	rig_next(r, 1);
}

static void names_that_cannot_be_are_refused(void **state)
{
	static const char *const names[] = {
		"",
		"a\nb",
		"\x7f",
		"123456789012345678901234567890123456789012345678901234567890 2345",
	};
	struct rig *rig = *state;
	struct ringtail_options o = seen_as("x", rig_after(0));
	struct ringtail *r;
	int fd;

	rig_open(rig);
	for (size_t i = 0; i < T_N(names); i++) {
		t_is(rig_try(rig, seen_as(names[i], rig_after(0)), &r), -EINVAL);
		assert_non_null(strstr(ringtail_error(NULL), "presence"));
	}
	fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	t_is(ringtail_open_fd(fd, &o, &r), -EINVAL);
	(void)close(fd);
}

/*
 * ---- What is left over, and what is hostile ----
 */

static int read_and_die(void *arg)
{
	struct rig *rig = arg;
	struct ringtail_options o = seen_as("gone", rig_after(0));
	struct ringtail *r;

	o.dir = rig->dir;
	if (ringtail_open(RIG_FEED, &o, &r) < 0)
		return 1;
	(void)kill(getpid(), SIGKILL);
	return 2;
}

static void age(const struct rig *rig, const char *name)
{
	struct utimbuf long_ago = { .actime = 1000, .modtime = 1000 };
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/" RIG_FEED "/readers/%s", rig->dir,
		       name);
	t_ok(utime(path, &long_ago));
}

static void what_is_left_over_is_known_and_removed(void **state)
{
	struct rig *rig = *state;
	char name[256], none[256];
	struct ringtail *r;

	rig_open(rig);
	assert_int_equal(t_in_child(read_and_die, rig), 1000 + SIGKILL);
	assert_int_equal(files(rig, name), 1);
	assert_false(the_one(rig).alive);
	/* A young one may be about to be locked. */
	assert_int_equal(rt_presence_sweep(rig->w->dir_fd, 100), 0);
	age(rig, name);
	r = rig_read(rig, seen_as("lives", rig_after(0)));
	assert_int_equal(rt_presence_sweep(rig->w->dir_fd, 100), 1);
	assert_int_equal(files(rig, name), 1);
	age(rig, name); /* old, and locked */
	assert_int_equal(rt_presence_sweep(rig->w->dir_fd, 100), 0);
	assert_int_equal(files(rig, none), 1);
	rig_forget(rig, r);
}

static int close_in_child(void *arg)
{
	ringtail_close(arg);
	return 0;
}

static void a_forked_child_leaves_it_alone(void **state)
{
	struct rig *rig = *state;
	struct ringtail *r;

	rig_open(rig);
	r = rig_read(rig, seen_as("x", rig_after(0)));
	assert_int_equal(t_in_child(close_in_child, r), 0);
	assert_true(the_one(rig).alive);
}

static void put_file(const struct rig *rig, const char *name, const void *data,
		     size_t len)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/" RIG_FEED "/readers/%s", rig->dir,
		       name);
	t_write_file(path, data, len);
}

static void hostile_files_are_errors(void **state)
{
	struct rig *rig = *state;
	struct rt_presence_record record = { .state = RT_PRESENCE_RUNNING,
					     .name = "x" };
	struct rt_presence seen;
	int fd, huge;

	rig_open(rig);
	fd = folder_of(rig);
	t_ok(mkfifoat(fd, "fifo", 0666));
	t_ok(symlinkat("/dev/zero", fd, "link"));
	t_ok(mkdirat(fd, "folder", 0777));
	huge = openat(fd, "huge", O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	t_ok(ftruncate(huge, (off_t)1 << 40));
	(void)close(huge);
	put_file(rig, "empty", "", 0);
	rt_presence_seal(&record);
	put_file(rig, "short", &record, sizeof(record) - 1);
	record.position++;
	put_file(rig, "check", &record, sizeof(record));
	memset(record.name, 'x', sizeof(record.name));
	rt_presence_seal(&record);
	put_file(rig, "name", &record, sizeof(record));
	t_is(rt_presence_look(fd, "fifo", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "link", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "folder", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "huge", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "empty", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "short", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "check", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "name", &seen), RT_E_CORRUPT);
	t_is(rt_presence_look(fd, "none", &seen), -ENOENT);
	assert_int_equal(rt_presence_sweep(rig->w->dir_fd, 100), 0);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_reader_is_seen_from_open_to_close),
		T(who_is_not_asked_is_not_seen),
		T(before_it_sleeps_it_says_so),
		T(who_spins_says_where_it_stands),
		T(while_it_reads_it_says_how_far),
		T(a_gap_and_the_end_are_told_at_once),
		T(it_goes_along_when_the_feed_moves),
		T(what_cannot_be_seen_reads_all_the_same),
		T(names_that_cannot_be_are_refused),
		T(what_is_left_over_is_known_and_removed),
		T(a_forked_child_leaves_it_alone),
		T(hostile_files_are_errors),
	};

	return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
