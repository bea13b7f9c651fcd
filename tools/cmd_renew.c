/* SPDX-License-Identifier: MIT */
/*
 * cmd_renew.c - a new history for a feed: with the state of a backup, or its own
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "store/lock.h"
#include "store/log_read.h"
#include "store/renew.h"
#include "tools/conn.h"
#include "tools/folder.h"

/*
 * ---- By the daemon ----
 */

static long long number_of(const redisReply *reply, const char *name)
{
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *value = reply->element[i + 1];

		if (reply->element[i]->type == REDIS_REPLY_STRING &&
		    !strcmp(reply->element[i]->str, name) &&
		    value->type == REDIS_REPLY_INTEGER)
			return value->integer;
	}
	return 0;
}

static void say(const char *feed, const char *what, uint64_t seq, uint64_t keys)
{
	printf("%s %s: %" PRIu64 " key%s; a new history begins after seq %" PRIu64 "\n",
	       feed, what, keys, keys == 1 ? "" : "s", seq);
}

static int ask(struct rt_tool *tool, const char *feed, const char **words, int n,
	       const char *what)
{
	AUTO_CONN redisContext *conn = NULL;
	AUTO_REPLY redisReply *reply = NULL;
	int r = rt_conn_dial(tool, feed, &conn);

	if (!r)
		r = rt_conn_command(conn, n, words, NULL, &reply);
	if (r)
		return r;
	say(feed, what, (uint64_t)number_of(reply, "seq"),
	    (uint64_t)number_of(reply, "keys"));
	return fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

/*
 * ---- By ourselves, a log that nobody writes ----
 */

struct offline {
	const char *log_path;
	int dir_fd, lock_fd;
	struct rt_snapshot from;
	struct rt_renew renew;
	char name[RT_NAME_MAX + 8];
	struct rt_fault fault;
};

static void end_offline(struct offline *o)
{
	rt_snapshot_close(&o->from);
	rt_close_fd(&o->dir_fd);
	rt_close_fd(&o->lock_fd);
	if (o->renew.log_path)
		rt_renew_clean(o->log_path);
}

static int lock(struct offline *o)
{
	int r;

	o->dir_fd = open(o->log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dir_fd < 0) {
		r = -errno;
		rt_fault_set(&o->fault, "%.400s: %s", o->log_path, strerror(-r));
		return r;
	}
	r = rt_log_lock(o->dir_fd, true, 0);
	if (r == RINGTAIL_E_BUSY)
		rt_fault_set(&o->fault,
			     "%.400s is being written; give the name of the feed",
			     o->log_path);
	else if (r < 0)
		rt_fault_set(&o->fault, "%.400s: cannot lock it: %s", o->log_path,
			     strerror(-r));
	if (r < 0)
		return r;
	o->lock_fd = r;
	return 0;
}

/* Name and access of the files are those that the log had. */
static void take_looks(struct offline *o)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	struct rt_snapshot_config *ret = &o->renew.snapshot;
	struct rt_log_header header;
	struct stat st;
	int fd = -1;

	memcpy(o->name, o->from.header.name, sizeof(o->name));
	ret->name = o->name;
	ret->file_mode = 0600;
	ret->uid = (uid_t)-1;
	ret->gid = (gid_t)-1;
	if (fstat(o->dir_fd, &st) == 0) {
		ret->uid = st.st_uid;
		ret->gid = st.st_gid;
	}
	if (rt_segments_list(o->dir_fd, &segments) < 0 || !segments.n ||
	    rt_segment_open(o->dir_fd, segments.first_seqs[segments.n - 1], o->log_path,
			    NULL, &header, &fd) < 0)
		return; /* nothing that could be told */
	memcpy(o->name, header.name, sizeof(o->name));
	if (fstat(fd, &st) == 0) {
		ret->file_mode = st.st_mode & 0777;
		ret->uid = st.st_uid;
		ret->gid = st.st_gid;
	}
	rt_close_fd(&fd);
}

static int restore_offline(struct offline *o, const char *file)
{
	struct rt_merge merge;
	uint64_t head = 0;
	int r = rt_snapshot_verify(AT_FDCWD, file, file, &o->fault, NULL);

	if (!r)
		r = rt_snapshot_open(AT_FDCWD, file, file, &o->fault, &o->from);
	if (!r)
		r = lock(o);
	if (!r)
		r = rt_renew_head(o->log_path, &head);
	if (r < 0)
		return r;
	take_looks(o);
	o->renew.log_path = o->log_path;
	o->renew.drop_bound = true;
	o->renew.snapshot.seq = rt_max(head, o->from.header.seq);
	o->renew.snapshot.time_ns = o->from.header.time_ns;
	o->renew.snapshot.sync = true;
	rt_merge_begin(&merge, &o->from, NULL);
	r = rt_renew_prepare(&o->renew, &merge, &o->fault);
	return r < 0 ? r : rt_renew_swap(&o->renew, &o->fault);
}

/*
 * ---- The commands ----
 */

static int run_restore(struct rt_tool *tool)
{
	AUTO(end_offline)
	struct offline o = {
		.dir_fd = -1,
		.lock_fd = -1,
		.from = RT_SNAPSHOT_NONE,
	};
	const char *given[2], *words[3];
	char folder[PATH_MAX], file[PATH_MAX];
	int r, code;

	rt_tool_words(tool, 0, NULL, given, 2, 2);
	if (!realpath(given[1], file)) {
		rt_say("%s: %s", given[1], strerror(errno));
		return RT_EXIT_FAILED;
	}
	if (!strchr(given[0], '/')) {
		words[0] = "RINGTAIL.RESTORE";
		words[1] = given[0];
		words[2] = file;
		return ask(tool, given[0], words, 3, "restored");
	}
	code = rt_tool_log_folder(tool, given[0], folder);
	if (code)
		return code;
	o.log_path = folder;
	r = restore_offline(&o, file);
	if (r < 0) {
		rt_say("not restored: %s",
		       o.fault.text[0] ? o.fault.text : ringtail_strerror(r));
		return RT_EXIT_FAILED;
	}
	say(o.name, "restored", o.renew.snapshot.seq, o.renew.n_entries);
	return fflush(stdout) ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

const struct rt_command rt_cmd_restore = {
	.name = "restore",
	.synopsis = "FEED|DIR FILE",
	.summary = "give a feed the state of a backup",
	.notes = "All that it has is replaced, and its history begins anew: seq goes "
		 "on, "
		 "markers\nof before are of another epoch.  FEED: by the daemon.  DIR: "
		 "the "
		 "folder of a log\nthat nobody writes\n",
	.run = run_restore,
};

enum {
	OPTION_YES = RT_OPTION_OWN,
};

static const struct rt_option reset_options[] = {
	{ OPTION_YES, "yes", NULL, "it is meant; without it nothing is done" },
	{ 0 },
};

static int run_reset(struct rt_tool *tool)
{
	const char *words[2] = { "RINGTAIL.RESET", NULL };
	bool yes = false;

	rt_tool_words(tool, OPTION_YES, &yes, &words[1], 1, 1);
	if (!yes)
		rt_usage(tool,
			 "what '%s' has of its past goes, and markers with it; if "
			 "that is meant, say --yes",
			 words[1]);
	return ask(tool, words[1], words, 2, "reset");
}

const struct rt_command rt_cmd_reset = {
	.name = "reset",
	.synopsis = "FEED",
	.summary = "begin a new history with the state that a feed has",
	.options = reset_options,
	.notes = "Keys and values stay.  seq goes on, markers of before are of another "
		 "epoch, and\nreaders get that or the state anew, as they wish\n",
	.run = run_reset,
};
