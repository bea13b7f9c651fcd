/* SPDX-License-Identifier: MIT */
/*
 * test_access.c - who may read a feed changes while it is being served
 *
 * Two users follow a feed; one of them keeps the right to.  Root only, since it becomes
 * them in children.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ringtail.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define ALICE 54001
#define BOB   54002
#define MS    INT64_C(1000000)

/* One reader in a process of its own, and what it has seen; in shared memory. */
struct follower {
	uint32_t user;
	uint32_t wait; /* enum ringtail_wait */
	bool slowly;   /* so that it is lapped and reads the log */
	int pid;
	_Atomic uint64_t last;
	_Atomic int outcome; /* what ended it; 0 while it goes on */
	_Atomic bool stop;
};

struct scene {
	struct follower f[4];
	_Atomic bool stop_publishing;
	_Atomic uint64_t published;
};

static struct t_daemon d;
static struct scene *scene;
static char config[64];

static int setup(void **state)
{
	(void)state;
	d = (struct t_daemon){ .pid = 0 };
	scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return scene == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	t_daemon_drop(&d);
	if (config[0])
		(void)unlink(config);
	config[0] = 0;
	return munmap(scene, sizeof(*scene));
}

static bool become(uint32_t user)
{
	bool became = setgroups(0, NULL) == 0 && setgid(user) == 0 && setuid(user) == 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* forgotten with the old user */
	return became;
}

/* Reads on; what it returns is told by outcome: an error, or 1 something was wrong. */
static int follow_on(struct follower *f, struct ringtail *reader)
{
	struct ringtail_event event;
	int r = 0;

	while (r >= 0 && !f->stop) {
		r = ringtail_next(reader, &event, 200 * MS);
		if (r == RINGTAIL_EVENT && event.seq != f->last + 1)
			return 1;
		if (r == RINGTAIL_EVENT)
			f->last = event.seq;
		if (r == RINGTAIL_GAP)
			return 2;
		if (f->slowly && f->last % 512 == 0)
			t_sleep_ms(1);
	}
	return r < 0 ? r : 0;
}

static int follow(void *arg)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct follower *f = arg;
	struct ringtail *reader;
	int r;

	if (!become(f->user))
		return 100;
	options.dir = d.dir;
	options.start = RINGTAIL_START_AFTER_SEQ;
	options.wait = f->wait;
	options.presence = f->user == ALICE ? "alice" : "bob";
	r = ringtail_open("main", &options, &reader);
	f->outcome = r < 0 ? r : follow_on(f, reader);
	if (!r && f->outcome == -EACCES && !strstr(ringtail_error(reader), "/main/"))
		return 101; /* it names the file */
	if (!r)
		ringtail_close(reader);
	return 0;
}

static struct follower *begin_following(unsigned i, uint32_t user, uint32_t wait)
{
	struct follower *f = &scene->f[i];

	f->user = user;
	f->wait = wait;
	f->pid = t_spawn(follow, f);
	return f;
}

static bool has_ended(void *arg)
{
	return ((struct follower *)arg)->outcome != 0;
}

static bool is_at_the_end(void *arg)
{
	struct follower *f = arg;

	return f->last >= scene->published && f->last;
}

/* It has read everything, with nothing missing. */
static void end_following(struct follower *f)
{
	assert_true(t_within_ms(T_PATIENCE_MS, is_at_the_end, f));
	f->stop = true;
	assert_int_equal(t_join(f->pid), 0);
	assert_int_equal(f->outcome, 0);
	assert_int_equal(f->last, scene->published);
}

static void was_denied(struct follower *f)
{
	assert_true(t_within_ms(T_PATIENCE_MS, has_ended, f));
	t_is(f->outcome, -EACCES);
	assert_int_equal(t_join(f->pid), 0);
}

/* Puts as fast as they are taken, until told to stop or the daemon is gone. */
static int publish(void *unused)
{
	redisContext *redis = redisConnectUnix(d.socket);
	redisReply *reply;

	(void)signal(SIGPIPE, SIG_IGN);
	while (redis && !redis->err && !scene->stop_publishing) {
		for (unsigned i = 0; i < 64; i++)
			(void)redisAppendCommand(redis, "SET key-%d %064d", i, i);
		for (unsigned i = 0; i < 64; i++) {
			if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
				return 0;
			scene->published += reply->type == REDIS_REPLY_STATUS;
			freeReplyObject(reply);
		}
	}
	if (redis)
		redisFree(redis);
	(void)unused;
	return 0;
}

static void stop_publishing(int pid)
{
	scene->stop_publishing = true;
	assert_int_equal(t_join(pid), 0);
	scene->stop_publishing = false;
}

static void tool_says(int code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void tool_says(int code, const char *format, ...)
{
	char words[200], *text;
	va_list args;
	int r;

	va_start(args, format);
	(void)vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	r = t_sh(&text, "%s --dir %s --socket %s %s", t_tool_program(), d.dir, d.socket,
		 words);
	if (r != code)
		print_error("%s: %s", words, text);
	free(text);
	assert_int_equal(r, code);
}

static bool two_have_begun(void *unused)
{
	(void)unused;
	return scene->f[0].last > 200 && scene->f[1].last > 200;
}

static bool more_came(void *target)
{
	return scene->published >= *(uint64_t *)target;
}

static void let_more_come(uint64_t n)
{
	uint64_t target = scene->published + n;

	assert_true(t_within_ms(T_PATIENCE_MS, more_came, &target));
}

/* Alice keeps what Bob loses, while events come as fast as they can. */
static void one_goes_on_and_the_other_is_denied(uint32_t wait, const char *durability)
{
	struct follower *alice, *bob;
	char feed[100];
	int publisher;

	(void)snprintf(feed, sizeof(feed), "main,mode=0644,size=2M,durability=%s",
		       durability);
	t_daemon_start(&d, "--feed", feed, NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	alice = begin_following(0, ALICE, wait);
	bob = begin_following(1, BOB, wait);
	publisher = t_spawn(publish, NULL);
	assert_true(t_within_ms(T_PATIENCE_MS, two_have_begun, NULL));

	tool_says(0, "chown :%d main", ALICE);
	let_more_come(500);
	tool_says(0, "chmod 0640 main");
	was_denied(bob);
	for (unsigned i = 0; i < 6; i++) {
		let_more_come(200);
		tool_says(0, "chmod %s main", i % 2 ? "0640" : "0440");
	}
	let_more_come(500);
	stop_publishing(publisher);
	end_following(alice);
}

static void sleeping_with_a_log(void **state)
{
	(void)state;
	one_goes_on_and_the_other_is_denied(RINGTAIL_WAIT_SLEEP, "memory");
}

static void busy_with_a_log(void **state)
{
	(void)state;
	one_goes_on_and_the_other_is_denied(RINGTAIL_WAIT_SPIN, "memory");
}

struct shown {
	const char *name, *what;
};

/* Does one of the lines of `ringtail readers` have both? */
static bool is_shown(void *arg)
{
	const struct shown *shown = arg;

	return t_sh(NULL,
		    "%s --dir %s readers main --json | grep '\"%s\"' | grep -q '%s'",
		    t_tool_program(), d.dir, shown->name, shown->what) == 0;
}

static void readers_shows(const char *name, const char *what)
{
	struct shown shown = { name, what };

	if (!t_within_ms(T_PATIENCE_MS, is_shown, &shown))
		fail_msg("no %s with %s", name, what);
}

/* In a feed where nothing happens, the move itself has to wake them. */
static void in_a_quiet_feed_too(void **state)
{
	struct follower *alice, *bob;

	(void)state;
	t_daemon_start(&d, "--feed", "main,mode=0644,size=1M,durability=none", NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	tool_says(0, "put main k v");
	scene->published = 1;
	alice = begin_following(0, ALICE, RINGTAIL_WAIT_SLEEP);
	bob = begin_following(1, BOB, RINGTAIL_WAIT_SLEEP);
	assert_true(t_within_ms(T_PATIENCE_MS, is_at_the_end, alice));
	assert_true(t_within_ms(T_PATIENCE_MS, is_at_the_end, bob));
	readers_shows("alice", "\"uid\":54001");
	readers_shows("bob", "\"uid\":54002");
	tool_says(0, "chown %d:%d main", ALICE, ALICE);
	tool_says(0, "chmod 0600 main");
	was_denied(bob);
	readers_shows("alice", "\"moves\":[12]");
	tool_says(0, "put main k w");
	scene->published = 2;
	end_following(alice);
}

/* What is behind the ring is in the log, which changes with it. */
static void readers_of_the_log_come_along(void **state)
{
	struct follower *alice;
	int publisher;

	(void)state;
	t_daemon_start(&d, "--feed",
		       "main,mode=0644,size=64K,durability=memory,segment=64K", NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	scene->f[0].slowly = true;
	alice = begin_following(0, ALICE, RINGTAIL_WAIT_SLEEP);
	publisher = t_spawn(publish, NULL);
	let_more_come(3000);
	tool_says(0, "chown %d main", ALICE);
	tool_says(0, "chmod 0600 main");
	let_more_come(3000);
	tool_says(0, "chmod 0640 main");
	tool_says(0, "chown root:%d main", ALICE);
	let_more_come(3000);
	stop_publishing(publisher);
	scene->f[0].slowly = false;
	end_following(alice);
}

/* In a child: how it ends for who may read the ring and not the log. */
static int read_without_log(void *way)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_event event;
	struct ringtail *reader;
	const char *text;
	int r;

	if (!become(BOB))
		return 100;
	options.dir = d.dir;
	options.start = *(char *)way == 'o'   ? RINGTAIL_START_OLDEST
			: *(char *)way == 't' ? RINGTAIL_START_TIME
			: *(char *)way == 's' ? RINGTAIL_START_SNAPSHOT
					      : RINGTAIL_START_AFTER_SEQ;
	options.time_ns = *(char *)way == 't';
	if (*(char *)way == 'k')
		options.on_gap = RINGTAIL_ON_GAP_SKIP;
	r = ringtail_open("main", &options, &reader);
	text = ringtail_error(NULL);
	if (*(char *)way == 'k')
		return r < 0 || ringtail_next(reader, &event, 0) != RINGTAIL_GAP;
	if (r != -EACCES)
		return 1;
	return strstr(text, "/main/log") && strstr(text, "ermission denied") ? 0 : 2;
}

/* What it may not read is neither gone nor not there. */
static void a_log_that_may_not_be_read_is_no_missing_one(void **state)
{
	static const char *const ways[] = { "oldest", "time", "snapshot", "after",
					    "kip" };
	int publisher;

	(void)state;
	t_daemon_start(&d, "--feed", "main,mode=0644,size=64K,durability=memory", NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	publisher = t_spawn(publish, NULL);
	let_more_come(3000);
	stop_publishing(publisher);
	assert_int_equal(chmod(t_path(d.dir, "main/log"), 0700), 0);
	for (size_t i = 0; i < T_N(ways); i++) {
		int verdict = t_in_child(read_without_log, (void *)(uintptr_t)ways[i]);

		if (verdict)
			fail_msg("%s: %d", ways[i], verdict);
	}
}

static int keep_moving(void *unused)
{
	redisContext *redis = redisConnectUnix(d.socket);

	(void)unused;
	(void)signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; redis && !redis->err; i++) {
		redisReply *reply = redisCommand(redis, "RINGTAIL.CHMOD main %s",
						 i % 2 ? "0644" : "0604");

		if (reply)
			freeReplyObject(reply);
	}
	if (redis)
		redisFree(redis);
	return 0;
}

static bool got_to(void *arg)
{
	return scene->f[0].last >= *(uint64_t *)arg;
}

/* The configuration says 0644: who may read after a restart may follow all the way. */
static void killed_in_the_middle_nobody_loses_anything(void **state)
{
	struct t_random random = { (uint64_t)getpid() };
	struct follower *alice;

	(void)state;
	t_daemon_start(&d, "--feed", "main,mode=0644,size=256K,durability=memory",
		       NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	alice = begin_following(0, ALICE, RINGTAIL_WAIT_SLEEP);
	for (unsigned round = 0; round < 10; round++) {
		int publisher = t_spawn(publish, NULL);
		int mover = t_spawn(keep_moving, NULL);

		let_more_come(200);
		usleep((useconds_t)t_random_below(&random, 20000));
		t_daemon_kill(&d);
		assert_int_equal(t_join(publisher), 0);
		assert_int_equal(t_join(mover), 0);
		t_daemon_restart(&d);
		assert_int_equal(alice->outcome, 0);
	}
	/* More may be in the feed than was answered. */
	{
		redisContext *redis = t_daemon_connect(&d);
		redisReply *reply = redisCommand(redis, "RINGTAIL.MARKER");
		char seq[17];
		uint64_t newest;

		assert_int_equal(reply->type, REDIS_REPLY_STRING);
		(void)snprintf(seq, sizeof(seq), "%.16s", reply->str);
		newest = strtoull(seq, NULL, 16);
		freeReplyObject(reply);
		redisFree(redis);
		assert_true(newest >= scene->published);
		assert_true(t_within_ms(T_PATIENCE_MS, got_to, &newest));
		scene->published = newest;
	}
	end_following(alice);
}

static int command_as_bob(void *command)
{
	redisContext *redis;
	redisReply *reply;
	int verdict = 3;

	if (!become(BOB))
		return 100;
	redis = redisConnectUnix(d.socket);
	if (!redis || redis->err)
		return 101;
	reply = redisCommand(redis, command);
	if (reply && reply->type == REDIS_REPLY_ERROR)
		verdict = strncmp(reply->str, "NOPERM", 6) ? 2 : 1;
	else if (reply)
		verdict = 0;
	return verdict;
}

static void only_root_and_the_daemons_user_may(void **state)
{
	struct stat st;

	(void)state;
	t_daemon_start(&d, "--feed", "main,mode=0640,publish_users=54002",
		       "--socket-mode", "0666", NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	assert_int_equal(t_in_child(command_as_bob, (void *)(uintptr_t) "SET k v"), 0);
	assert_int_equal(t_in_child(command_as_bob,
				    (void *)(uintptr_t) "RINGTAIL.CHMOD main 0666"),
			 1);
	assert_int_equal(t_in_child(command_as_bob,
				    (void *)(uintptr_t) "RINGTAIL.CHOWN main 54002"),
			 1);
	assert_int_equal(stat(t_path(d.dir, "main/ring"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, 0);
}

static void nonsense_is_refused(void **state)
{
	redisContext *redis;
	struct stat was, is;

	(void)state;
	t_daemon_start(&d, NULL);
	redis = t_daemon_connect(&d);
	assert_int_equal(stat(t_path(d.dir, "main/ring"), &was), 0);
	t_reply(redis, "-ERR a mode is octal, from 0 to 0777, such as 0640",
		"RINGTAIL.CHMOD main 1777");
	t_reply(redis, "-ERR a mode is octal, from 0 to 0777, such as 0640",
		"RINGTAIL.CHMOD main u+r");
	t_reply(redis, "-ERR no feed 'nix'; RINGTAIL.FEEDS lists them",
		"RINGTAIL.CHMOD nix 0640");
	/* The words the wrong way round, and an index, which is no name. */
	t_reply(redis, "-ERR no feed '640'; RINGTAIL.FEEDS lists them",
		"RINGTAIL.CHMOD 640 main");
	t_reply(redis, "-ERR no feed '0'; RINGTAIL.FEEDS lists them",
		"RINGTAIL.CHMOD 0 640");
	t_reply(redis, "-ERR no user 'no-such-user' on this host",
		"RINGTAIL.CHOWN main no-such-user:root");
	t_reply(redis, "-ERR no group 'no-such-group' on this host",
		"RINGTAIL.CHOWN main root:no-such-group");
	t_reply(redis, "-ERR an owner is USER, USER:GROUP or :GROUP",
		"RINGTAIL.CHOWN main :");
	t_reply(redis, "-ERR an owner is USER, USER:GROUP or :GROUP",
		"RINGTAIL.CHOWN main %s", "");
	assert_int_equal(stat(t_path(d.dir, "main/ring"), &is), 0);
	assert_int_equal(was.st_ino, is.st_ino);
	redisFree(redis);
}

static void write_config(const char *text)
{
	t_write_file(config, text, strlen(text));
}

static bool ring_has_mode(void *mode)
{
	struct stat st;

	return stat(t_path(d.dir, "main/ring"), &st) == 0 &&
	       (st.st_mode & 07777) == *(mode_t *)mode;
}

static bool was_logged(void *text)
{
	return t_daemon_logged(&d, text);
}

static void assert_logged(const char *text)
{
	assert_true(t_within_ms(T_PATIENCE_MS, was_logged, (void *)(uintptr_t)text));
}

/* SIGHUP: access at once, also for who is connected; the rest is named. */
static void settings_are_read_again(void **state)
{
	struct follower *alice;
	mode_t mode = 0600;

	(void)state;
	(void)snprintf(config, sizeof(config), "/tmp/ringtail-access-%d.conf",
		       getpid());
	write_config("socket_mode = 0666\n[feed main]\nmode = 0644\nsize = 1M\n");
	t_daemon_start(&d, "--config", config, NULL);
	assert_int_equal(chmod(d.dir, 0755), 0);
	tool_says(0, "put main k v");
	scene->published = 1;
	alice = begin_following(0, ALICE, RINGTAIL_WAIT_SLEEP);
	assert_true(t_within_ms(T_PATIENCE_MS, is_at_the_end, alice));
	assert_int_equal(t_in_child(command_as_bob, (void *)(uintptr_t) "SET k v"), 1);

	write_config("socket_mode = 0666\nmax_clients = 7\n[feed main]\nmode = 0600\n"
		     "owner = 54001\nsize = 2M\npublish_users = 54002\n[feed more]\n");
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	assert_logged("SIGHUP: settings were read again");
	assert_true(t_within_ms(T_PATIENCE_MS, ring_has_mode, &mode));
	assert_true(t_daemon_logged(&d, "max_clients has changed: needs a restart"));
	assert_true(
		t_daemon_logged(&d, "feed 'main': size has changed: needs a restart"));
	assert_true(t_daemon_logged(&d, "feed 'more' is new: needs a restart"));
	assert_int_equal(t_in_child(command_as_bob, (void *)(uintptr_t) "SET k v"), 0);
	scene->published = 2;
	end_following(alice);

	write_config("[feed main]\nmode = 9\n");
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	assert_logged("; nothing was changed");
	assert_true(ring_has_mode(&mode));
}

struct owner {
	uid_t uid;
	gid_t gid;
};

/* Of everything that readers open. */
static bool has_owner(void *arg)
{
	const struct owner *owner = arg;
	static const char *const names[] = { "ring", "bell",
					     "log/00000000000000000001.log" };
	struct stat st;

	for (size_t i = 0; i < T_N(names); i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "main/%s", names[i]);
		if (stat(t_path(d.dir, path), &st) < 0 || st.st_uid != owner->uid ||
		    st.st_gid != owner->gid)
			return false;
	}
	return true;
}

/* Where the settings name nobody, it is the daemon's. */
static void what_was_given_away_comes_back(void **state)
{
	struct owner alice = { ALICE, ALICE }, own = { geteuid(), getegid() };

	(void)state;
	t_daemon_start(&d, "--feed", "main,size=64K,durability=memory", NULL);
	tool_says(0, "put main k v");
	assert_true(has_owner(&own));
	tool_says(0, "chown %d:%d main", ALICE, ALICE);
	assert_true(has_owner(&alice));
	assert_int_equal(kill(d.pid, SIGHUP), 0);
	assert_true(t_within_ms(T_PATIENCE_MS, has_owner, &own));

	tool_says(0, "chown %d:%d main", ALICE, ALICE);
	assert_int_equal(t_daemon_stop(&d), 0);
	t_daemon_restart(&d);
	assert_true(has_owner(&own));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sleeping_with_a_log),
		T(busy_with_a_log),
		T(in_a_quiet_feed_too),
		T(readers_of_the_log_come_along),
		T(a_log_that_may_not_be_read_is_no_missing_one),
		T(killed_in_the_middle_nobody_loses_anything),
		T(only_root_and_the_daemons_user_may),
		T(nonsense_is_refused),
		T(settings_are_read_again),
		T(what_was_given_away_comes_back),
	};

	if (geteuid() != 0)
		t_skip_all("becoming two other users needs root");
	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
