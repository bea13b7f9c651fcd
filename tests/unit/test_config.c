/* SPDX-License-Identifier: MIT */
/*
 * test_config.c - daemon/config.c, config_file.c, settings.c
 */
#include "tests/support/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

struct fixture {
	struct rt_config config;
	struct rt_fault fault;
	char *dir;
	char file[128];
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .dir = t_dir_new() };
	(void)snprintf(f.file, sizeof(f.file), "%s/c", f.dir);
	(void)setenv("RINGTAIL_DIR", "/from/environment", 1);
	(void)unsetenv("RINGTAIL_SOCKET");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rt_config_fini(&f->config);
	t_dir_drop(f->dir);
	return 0;
}

static int load(struct fixture *f, const char *const *args)
{
	char *argv[32] = { strdup("ringtaild") };
	int argc = 1, r;

	for (; args[argc - 1]; argc++)
		argv[argc] = strdup(args[argc - 1]);
	rt_config_fini(&f->config);
	r = rt_config_load(&f->config, argc, argv, &f->fault);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return r;
}

#define LOAD(f, ...) load(f, (const char *const[]){ __VA_ARGS__, NULL })

static int load_file(struct fixture *f, const char *text)
{
	t_write_file(f->file, text, strlen(text));
	return LOAD(f, "--config", f->file);
}

static void says(const struct fixture *f, const char *part)
{
	if (!strstr(f->fault.text, part))
		fail_msg("'%s' is not in '%s'", part, f->fault.text);
}

static void without_anything_there_is_one_feed(void **state)
{
	struct fixture *f = *state;
	const char *const none[] = { NULL };

	assert_int_equal(load(f, none), RT_CONFIG_RUN);
	assert_int_equal(f->config.n_feeds, 1);
	assert_string_equal(f->config.feeds[0].name, "main");
	assert_string_equal(f->config.dir, "/from/environment");
	assert_string_equal(f->config.socket, "/from/environment/ringtail.sock");
	assert_int_equal(f->config.max_clients, 1000);
}

static void flags_name_settings(void **state)
{
	struct fixture *f = *state;
	const struct rt_feed_config *feed;

	assert_int_equal(LOAD(f, "--dir=/d", "--max-clients", "7", "--feed",
			      "a,size=64K,max_value=1K,mode=0600,wake=always", "--feed",
			      "b", "--feed", "a,max_key=9", "--check-config"),
			 RT_CONFIG_PRINT);
	assert_int_equal(f->config.max_clients, 7);
	assert_string_equal(f->config.socket, "/d/ringtail.sock");
	assert_int_equal(f->config.n_feeds, 2);
	feed = &f->config.feeds[0];
	assert_int_equal(feed->size, 65536);
	assert_int_equal(feed->max_value, 1024);
	assert_int_equal(feed->max_key, 9);
	assert_int_equal(feed->mode, 0600);
	assert_int_equal(feed->wake, RT_WAKE_ALWAYS);
	assert_int_equal(rt_config_ring(feed).n_slots, 512);
	assert_int_equal(rt_config_ring(feed).payload_size, 32768);
}

static void a_file_says_the_same_and_flags_win(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load_file(f, "# a comment\n"
				      "max_clients = 12\n"
				      "dir=/x ; another\n"
				      "\n"
				      "[feed quiet]\n"
				      "[feed prices]\n"
				      "size = 128K\n"
				      "publish_users = root 77\n"
				      "publish_groups = 5:6:root\n"),
			 RT_CONFIG_RUN);
	assert_int_equal(f->config.max_clients, 12);
	assert_string_equal(f->config.dir, "/x");
	assert_int_equal(f->config.n_feeds, 2);
	assert_string_equal(f->config.feeds[0].name, "quiet");
	assert_int_equal(f->config.feeds[1].size, 131072);
	assert_int_equal(f->config.feeds[1].publish_users.n, 2);
	assert_int_equal(f->config.feeds[1].publish_users.ids[1], 77);
	assert_int_equal(f->config.feeds[1].publish_groups.n, 3);

	assert_int_equal(LOAD(f, "--max-clients", "3", "--config", f->file),
			 RT_CONFIG_RUN);
	assert_int_equal(f->config.max_clients, 3);
}

static void what_is_printed_is_read_again(void **state)
{
	struct fixture *f = *state;
	char printed[2][8192];

	for (int i = 0; i < 2; i++) {
		FILE *file;

		if (!i)
			assert_int_equal(LOAD(f, "--dir", "/d", "--max-query", "5000",
					      "--feed",
					      "a,slots=128,owner=0,publish_users=0:1",
					      "--feed", "b,max_state=3M,mode=0604"),
					 RT_CONFIG_RUN);
		else
			assert_int_equal(load_file(f, printed[0]), RT_CONFIG_RUN);
		file = fmemopen(printed[i], sizeof(printed[i]), "w");
		rt_config_print(&f->config, file);
		(void)fclose(file);
	}
	assert_string_equal(printed[0], printed[1]);
	assert_non_null(strstr(printed[0], "max_query = 5000\n"));
	assert_non_null(strstr(printed[0], "mode = 0604\n"));
}

static void what_a_log_takes_follows_from_where_it_is(void **state)
{
	struct fixture *f = *state;
	const struct rt_feed_config *feed;

	t_ok(LOAD(f, "--feed", "a"));
	feed = f->config.feeds;
	assert_int_equal(feed->durability, RT_LOG_MEMORY);
	assert_int_equal(feed->segment_size, 4 << 20);
	assert_int_equal(feed->retain_bytes, 32 << 20);
	assert_int_equal(feed->snapshot_bytes, 192 << 20);
	assert_int_equal(feed->snapshot_age, 3600);
	assert_int_equal(feed->max_age, 0);

	t_ok(LOAD(f, "--data", "/d", "--feed", "a"));
	feed = f->config.feeds;
	assert_int_equal(feed->durability, RT_LOG_OS);
	assert_int_equal(feed->segment_size, 64 << 20);
	assert_int_equal(feed->retain_bytes, 0);

	t_ok(LOAD(f, "--feed", "a,segment=auto,retain_bytes=0,max_age=60"));
	feed = f->config.feeds;
	assert_int_equal(feed->segment_size, 4 << 20);
	assert_int_equal(feed->retain_bytes, 0); /* as was said: no limit */
	assert_int_equal(feed->max_age, 60);

	t_ok(LOAD(f, "--data", "/d", "--feed", "a,durability=memory,segment=1M"));
	feed = f->config.feeds;
	assert_int_equal(feed->segment_size, 1 << 20);
	assert_int_equal(feed->retain_bytes, 32 << 20);
}

static void a_wrong_flag_is_explained(void **state)
{
	static const struct {
		const char *flag, *value, *want;
	} cases[] = {
		{ "--nonsense", "1", "unknown flag '--nonsense'; see --help" },
		{ "--nonsense=1", NULL, "unknown flag '--nonsense'; see --help" },
		{ "--nonsense", NULL, "unknown flag '--nonsense'; see --help" },
		{ "--max-clients", "0",
		  "--max-clients: 0 is not a number from 1 to 64K" },
		{ "--max-clients", "x", "--max-clients: 'x' is not a number" },
		{ "--max-clients", "-1", "'-1' is not a number" },
		{ "--max-clients", "18446744073709551616", "is not a number" },
		{ "--max-query", "16777216T", "is not a number" },
		{ "--socket-mode", "9", "'9' is not an octal file mode" },
		{ "--socket-mode", "01777", "is not an octal file mode" },
		{ "--log-level", "loud", "none of: error, warning, info, debug" },
		{ "--dir", "", "--dir: is empty" },
		{ "--feed", "", "feed '': a name is" },
		{ "--feed", "a/b", "feed 'a/b': a name is" },
		{ "--feed", ".a", "a name is" },
		{ "--feed", "a,size", "--feed a: 'size' is not key=value" },
		{ "--feed", "a,size=0", "size: 0 is not a power of two from 8K to 8G" },
		{ "--feed", "a,size=3M", "size: 3M is not a power of two" },
		{ "--feed", "a,size=4K", "size: 4K is not a power of two from 8K" },
		{ "--feed", "a,size=16G", "not a power of two from 8K to 8G" },
		{ "--feed", "a,slots=63", "slots: 63 is not a power of two" },
		{ "--feed", "a,slots=32",
		  "slots: 32 is not a power of two from 64 to" },
		{ "--feed", "a,payload=1K",
		  "payload: 1K is not a power of two from 4K to 16G, or 0 to" },
		{ "--feed", "a,max_key=0", "max_key: 0 is not a number from 1" },
		{ "--feed", "a,max_key=64K",
		  "max_key: 64K is not a number from 1 to 65535" },
		{ "--feed", "a,size=8K,max_key=8K", "max_key=8192 is invalid" },
		{ "--feed", "a,size=8K,max_value=8K", "max_value=8192 is invalid" },
		{ "--feed", "a,size=8K,slots=64",
		  "feed 'a': size is slots and payload together" },
		{ "--feed", "a,size=8K,payload=4K",
		  "feed 'a': size is slots and payload together" },
		{ "--feed", "a,segment=8K",
		  "segment: 8K is not a number from 64K to 4G" },
		{ "--feed", "a,retain_bytes=x",
		  "retain_bytes: 'x' is not a number such as 4096, 64K or 16M" },
		{ "--feed", "a,snapshot_bytes=auto", "snapshot_bytes: 'auto' is not" },
		{ "--feed", "a,max_age=-1", "max_age: '-1' is not a number" },
		{ "--feed", "a,wake=never", "wake: 'never' is none of: bell, always" },
		{ "--feed", "a,owner=no-such-user", "owner: no user 'no-such-user'" },
		{ "--feed", "a,owner=0 1", "owner: more than 1" },
		{ "--feed", "a,durability=disk",
		  "durability os and disk keep a log on disk" },
		{ "--feed", "a,max_clients=3",
		  "max_clients: no such setting of a feed" },
		{ "--feed", NULL, "--feed needs a value" },
		{ "serve", NULL, "unexpected argument 'serve'" },
		{ "--", NULL, "unexpected argument '--'" },
		{ "-x", NULL, "unexpected argument '-x'" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < T_N(cases); i++) {
		assert_true(LOAD(f, cases[i].flag, cases[i].value) < 0);
		says(f, cases[i].want);
	}
}

static void a_wrong_line_is_named(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "max_clients = 1\nmax_client = 2\n",
		  "c:2: max_client: no such setting" },
		{ "\n\n[feed a]\nsize = 3\n", "c:4: size: 3 is not a power of two" },
		{ "[feeds]\nsize = 8K\n", "c:1: a section is [feed NAME]" },
		{ "[feed]\n", "c:1: a section is [feed NAME]" },
		{ "[feed a b]\n", "c:1: feed 'a b': a name is" },
		{ "[feed a\n", "c:1: neither a section nor key = value" },
		{ "dir = /a\n[feed a]\n[feed b]\n[feed a]\n",
		  "c:4: feed 'a' has a section already" },
		{ "dir = /a\nmax_clients = 3\ndir = /b\n", "c:3: dir: is given twice" },
		{ "[feed b]\nsize = 8K\n[feed a]\nsize = 8K\nslots = 0\nsize = 8K\n",
		  "c:6: size: is given twice" },
		{ "# fine\nnonsense\n", "c:2: neither a section nor key = value" },
	};
	struct fixture *f = *state;
	char line[400];

	for (size_t i = 0; i < T_N(cases); i++) {
		assert_true(load_file(f, cases[i].text) < 0);
		says(f, cases[i].want);
	}
	memset(line, 'x', sizeof(line));
	memcpy(line, "\ndir = ", 7);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = 0;
	assert_true(load_file(f, line) < 0);
	says(f, "c:2: the line is too long");
}

static void a_missing_file_is_named(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(LOAD(f, "--config", "/no/such/file"), -ENOENT);
	says(f, "/no/such/file: No such file");
}

static void any_bytes_as_a_file_are_read_to_an_end(void **state)
{
	struct fixture *f = *state;
	struct t_random random = { 3 };

	for (int i = 0; i < 300; i++) {
		static const char some[] = "[feed a]\nsize=8K;#:\0\xff \t";
		char text[300];

		for (size_t k = 0; k < sizeof(text); k++)
			text[k] = some[t_random_below(&random, sizeof(some) - 1)];
		t_write_file(f->file, text, sizeof(text));
		(void)LOAD(f, "--config", f->file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_anything_there_is_one_feed),
		T(flags_name_settings),
		T(a_file_says_the_same_and_flags_win),
		T(what_is_printed_is_read_again),
		T(what_a_log_takes_follows_from_where_it_is),
		T(a_wrong_flag_is_explained),
		T(a_wrong_line_is_named),
		T(a_missing_file_is_named),
		T(any_bytes_as_a_file_are_read_to_an_end),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
