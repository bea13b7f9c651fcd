/* SPDX-License-Identifier: MIT */
/*
 * cmd_readers.c - who follows a feed, as far as readers let themselves be seen
 *
 * Whoever may read the feed can put any file there, so nothing of a file is believed
 * but what the kernel says of it: its owner, and whether somebody holds its lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#include <time.h>

#include "shm/ring.h"
#include "store/presence.h"
#include "store/state.h"
#include "tools/out.h"
#include "tools/tool.h"
#include "tools/units.h"

#define SEEN_MAX 65536u /* readers that are shown */

static struct rt_out out;

enum {
	OPTION_JSON = RT_OPTION_OWN,
};

static const struct rt_option options[] = {
	{ OPTION_JSON, "json", NULL, "one JSON object a line for each reader" },
	{ 0 },
};

struct seen {
	struct rt_presence file;
	const char *state;
	bool lag_known; /* its position is one of this history */
	bool at_least; /* the event it needs is not in the ring: the lag in time is more
			*/
	uint64_t lag_events, lag_ns;
	bool age_known; /* of its record */
	uint64_t age_ns;
};

struct listing {
	struct rt_segment segment;
	uint64_t oldest, head;
	uint64_t now_ns, monotonic_ns;
	char boot[RT_BOOT_ID_SIZE];
	struct seen *seen;
	size_t n, cap;
	unsigned n_skipped; /* files that are no reader's */
	unsigned n_removed; /* left over */
};

/*
 * ---- Looking -----------------------------------------------------------------
 */

/* The letter of /proc/PID/stat, if that is a process of user @uid; else 0. */
static char letter_of(uint32_t pid, uid_t uid)
{
	char path[64], text[512];
	const char *end;
	struct stat st;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/stat", pid);

	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != uid)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : 0;
}

static const char *state_of(const struct rt_presence *file)
{
	static const char *const names[] = { [RT_PRESENCE_RUNNING] = "running",
					     [RT_PRESENCE_SLEEPING] = "sleeping",
					     [RT_PRESENCE_ENDED] = "ended" };
	char letter;

	if (!file->alive)
		return "stale";
	letter = letter_of(file->record.pid, file->uid);
	return letter == 'T' || letter == 't' ? "stopped" : names[file->record.state];
}

/* How old the oldest event is that it has not read. */
static void find_lag(const struct listing *list, struct seen *seen)
{
	uint64_t position = seen->file.record.position;
	uint64_t seq = rt_max(position + 1, list->oldest);
	struct rt_event event;

	if (position > list->head)
		return; /* of another history, or made up */
	seen->lag_known = true;
	seen->lag_events = list->head - position;
	seen->at_least = position + 1 < list->oldest;
	if (seen->lag_events &&
	    rt_ring_look(&list->segment, seq, &event) == RT_LOOK_EVENT &&
	    rt_ring_intact(&list->segment, seq) && event.time_ns < list->now_ns)
		seen->lag_ns = list->now_ns - event.time_ns;
}

static void find_age(const struct listing *list, struct seen *seen)
{
	const struct rt_presence_record *record = &seen->file.record;

	seen->age_known = !strcmp(record->boot, list->boot) &&
			  record->updated_ns <= list->monotonic_ns;
	if (seen->age_known)
		seen->age_ns = list->monotonic_ns - record->updated_ns;
}

static int keep(struct listing *list, const struct rt_presence *file)
{
	struct seen *seen;

	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		void *grown = reallocarray(list->seen, cap, sizeof(*list->seen));

		if (!grown)
			return -ENOMEM;
		list->seen = grown;
		list->cap = cap;
	}
	seen = &list->seen[list->n++];
	*seen = (struct seen){ .file = *file, .state = state_of(file) };
	find_lag(list, seen);
	find_age(list, seen);
	return 0;
}

static int look(struct listing *list, int dir_fd, const char *name)
{
	struct rt_presence file;
	int r = rt_presence_look(dir_fd, name, &file);

	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		list->n_skipped++;
		return 0;
	}
	r = keep(list, &file);
	if (!r && !file.alive && rt_presence_is_stale(dir_fd, name) &&
	    unlinkat(dir_fd, name, 0) == 0)
		list->n_removed++;
	return r;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int look_at_all(struct listing *list, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = errno == ENOENT ? 0 : -errno; /* 0: none has ever been seen */
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (!r && list->n < SEEN_MAX && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = look(list, fd, entry->d_name);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct rt_presence_record *x = &((const struct seen *)a)->file.record;
	const struct rt_presence_record *y = &((const struct seen *)b)->file.record;
	int order = strcmp(x->name, y->name);

	return order ? order : x->pid < y->pid ? -1 : x->pid > y->pid;
}

/*
 * ---- Showing -----------------------------------------------------------------
 */

static const char *user_name(uid_t uid, char *text, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		return pw->pw_name;
	(void)snprintf(text, size, "%u", uid);
	return text;
}

static void say(const struct seen *seen)
{
	const struct rt_presence_record *record = &seen->file.record;
	const size_t len = strlen(record->name);
	char lag[24] = "-", user[16];

	if (seen->lag_known)
		(void)snprintf(lag, sizeof(lag), "%" PRIu64, seen->lag_events);
	rt_out_escaped(&out, record->name, len);
	rt_out_format(&out, "%*s %8" PRIu32 " %-12s %-8s %14" PRIu64 " %12s",
		      (int)(len < 24 ? 24 - len : 0), "", record->pid,
		      user_name(seen->file.uid, user, sizeof(user)), seen->state,
		      record->position, lag);
	rt_out_format(&out, " %2s%-12s %6" PRIu64 " %10" PRIu64 "\n",
		      seen->at_least ? "> " : "",
		      seen->lag_known ? rt_span_words(seen->lag_ns).text : "-",
		      record->gaps, record->lost);
}

static void member(const char *name, uint64_t value)
{
	rt_out_format(&out, ",\"%s\":%" PRIu64, name, value);
}

static void say_json(const struct seen *seen)
{
	const struct rt_presence_record *record = &seen->file.record;
	char user[16];
	const char *name = user_name(seen->file.uid, user, sizeof(user));

	rt_out_text(&out, "{");
	rt_out_json_member(&out, "name", record->name, strlen(record->name));
	member("pid", record->pid);
	rt_out_text(&out, ",");
	rt_out_json_member(&out, "user", name, strlen(name));
	member("uid", seen->file.uid);
	rt_out_format(&out, ",\"state\":\"%s\"", seen->state);
	member("position", record->position);
	if (seen->lag_known) {
		member("lag_events", seen->lag_events);
		member("lag_ns", seen->lag_ns);
		rt_out_format(&out, ",\"lag_ns_at_least\":%s",
			      seen->at_least ? "true" : "false");
	}
	member("start", record->start);
	member("delivered", record->delivered);
	member("filtered", record->filtered);
	member("lost", record->lost);
	member("gaps", record->gaps);
	member("resets", record->resets);
	member("moves", record->moves);
	member("sleeps", record->sleeps);
	rt_out_format(&out, ",\"epoch\":\"%016" PRIx64 "\"", record->epoch);
	member("opened_ns", record->opened_ns);
	if (seen->age_known)
		member("updated_age_ns", seen->age_ns);
	rt_out_text(&out, "}\n");
}

static void say_all(const struct listing *list, bool json)
{
	if (list->n && !json)
		rt_out_format(&out, "%-24s %8s %-12s %-8s %14s %12s   %-12s %6s %10s\n",
			      "NAME", "PID", "USER", "STATE", "POSITION", "LAG", "AGE",
			      "GAPS", "LOST");
	for (size_t i = 0; i < list->n; i++)
		(json ? say_json : say)(&list->seen[i]);
	if (json && list->n_skipped)
		rt_out_format(&out, "{\"skipped\":%u}\n", list->n_skipped);
	if (!json && list->n_skipped)
		rt_say("%u other files in the readers' folder are no reader's",
		       list->n_skipped);
	if (!json && list->n_removed)
		rt_say("removed what %u of them left behind", list->n_removed);
}

/*
 * ---- The command -------------------------------------------------------------
 */

/* @name of the folder in which the ring of @feed is, or a failure. */
static int path_beside(struct rt_tool *tool, const char *feed, const char *name,
		       char ret[PATH_MAX])
{
	const char *slash = strrchr(feed, '/');
	int n;

	if (slash) {
		n = snprintf(ret, PATH_MAX, "%.*s/%s", (int)(slash - feed), feed, name);
	} else {
		const char *dir = rt_tool_dir(tool);

		if (!dir)
			return -ENOENT;
		n = snprintf(ret, PATH_MAX, "%s/%s/%s", dir, feed, name);
	}
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The ring, for what its events say of lags; the feed was opened a moment ago. */
static int map_ring(struct rt_tool *tool, const char *feed, struct listing *list)
{
	struct rt_fault fault;
	char path[PATH_MAX];
	int r = path_beside(tool, feed, "ring", path);

	AUTO_CLOSE int fd = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (r < 0 || fd < 0)
		return r < 0 ? r : -errno;
	r = rt_segment_map(fd, false, path, &fault, &list->segment);
	if (!r)
		rt_ring_bounds(&list->segment, &list->oldest, &list->head);
	return r;
}

static int fill(struct rt_tool *tool, const char *feed, struct listing *list)
{
	char path[PATH_MAX];
	int r = map_ring(tool, feed, list);

	if (!r)
		r = path_beside(tool, feed, RT_PRESENCE_FOLDER, path);
	if (r < 0)
		return r;
	rt_boot_id(list->boot);
	list->now_ns = rt_now_ns(CLOCK_REALTIME);
	list->monotonic_ns = rt_now_ns(CLOCK_MONOTONIC);
	r = look_at_all(list, path);
	if (list->n)
		qsort(list->seen, list->n, sizeof(*list->seen), compare);
	return r;
}

static void fini(struct listing *list)
{
	rt_segment_drop(&list->segment);
	free(list->seen);
}

static int run(struct rt_tool *tool)
{
	struct ringtail_options how = RINGTAIL_OPTIONS_INIT;
	AUTO(fini) struct listing list = { .segment = RT_SEGMENT_NONE };
	AUTO_READER struct ringtail *reader = NULL;
	const char *feed;
	bool json = false;
	int r;

	rt_tool_words(tool, OPTION_JSON, &json, &feed, 1, 1);
	r = rt_tool_open(tool, feed, &how, &reader);
	if (r < 0)
		return rt_tool_open_failed(tool, feed, r);
	r = fill(tool, feed, &list);
	if (r < 0) {
		rt_say("cannot list the readers of %s: %s", feed, ringtail_strerror(r));
		return RT_EXIT_FAILED;
	}
	rt_out_init(&out, STDOUT_FILENO);
	say_all(&list, json);
	if (!list.n && !json)
		rt_say("no reader of %s lets itself be seen (options.presence)", feed);
	r = rt_out_flush(&out);
	if (!r || r == -EPIPE)
		return RT_EXIT_DONE;
	rt_say("cannot write: %s", strerror(-r));
	return RT_EXIT_FAILED;
}

const struct rt_command rt_cmd_readers = {
	.name = "readers",
	.synopsis = "FEED",
	.summary = "who follows a feed, and how far behind",
	.options = options,
	.notes = "Those that let themselves be seen.  Owner and lock are true, the "
		 "rest is "
		 "what\nthey say of themselves\n",
	.run = run,
};
