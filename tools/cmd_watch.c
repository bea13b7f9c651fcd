/* SPDX-License-Identifier: MIT */
/*
 * cmd_watch.c - print events as they come
 *
 *	step: what is ready --------> print, count
 *	  |				|
 *	  | nothing			| enough, gap, closed, signal, error
 *	  v				v
 *	rest: flush, store the cursor,	finish: flush, store the cursor, exit code
 *	      say states, wait
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/print.h"
#include "tools/tool.h"
#include "tools/when.h"

#define NS_PER_MS INT64_C(1000000)

/* How often a waiting watch looks up, for what no event would tell it. */
#define LOOK_STATE_NS (200 * NS_PER_MS)  /* the writer's state */
#define LOOK_PIPE_NS  (1000 * NS_PER_MS) /* nobody reads our output any more */

#define GO_ON (-1) /* no exit code yet */

struct watch {
	struct rt_tool *tool;
	const char *feed;
	struct ringtail_options options;
	struct ringtail_filter *filters;
	const char *cursor;
	const char *from;
	uint64_t until;     /* UINT64_MAX: no end */
	uint64_t count;     /* likewise */
	int64_t timeout_ns; /* RINGTAIL_FOREVER: none */
	bool states;
	bool pipe;     /* output that somebody may stop reading */
	bool failed;   /* to write, and it has been said */
	bool in_state; /* in the middle of a snapshot: no place to go on from */

	struct ringtail *reader;
	struct rt_print print;
	uint64_t printed;
	int64_t quiet_since_ns; /* CLOCK_MONOTONIC */
	bool quiet;             /* nothing came since then */
	bool caught_up;         /* and said so */
	int state;              /* enum ringtail_state that was said last */
	char start[RINGTAIL_MARKER_SIZE];
	char stored[RINGTAIL_MARKER_SIZE]; /* what is in the cursor file */
};

enum {
	OPTION_FROM = RT_OPTION_OWN,
	OPTION_UNTIL,
	OPTION_COUNT,
	OPTION_PREFIX,
	OPTION_KEY,
	OPTION_RANGE,
	OPTION_OP,
	OPTION_ON_GAP,
	OPTION_CURSOR,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_RAW,
	OPTION_STATES,
	OPTION_WAIT,
	OPTION_WAIT_FUTURE,
	OPTION_SPIN,
	OPTION_PRESENCE,
};

static const struct rt_option options[] = {
	{ OPTION_FROM, "from", "WHERE",
	  "now (default), oldest, snapshot, SEQ, MARKER or TIME" },
	{ OPTION_UNTIL, "until", "SEQ", "end when all up to SEQ has been handled" },
	{ OPTION_COUNT, "count", "N", "end after N events; a snapshot's do not count" },
	{ OPTION_PREFIX, "prefix", "P", "only keys that begin with P; filters add up" },
	{ OPTION_KEY, "key", "K", "only the key K" },
	{ OPTION_RANGE, "range", "A B", "only keys from A up to, not including, B" },
	{ OPTION_OP, "op", "OP", "only put, delete or message; repeat for several" },
	{ OPTION_ON_GAP, "on-gap", "HOW", "error (default), skip or resync" },
	{ OPTION_CURSOR, "cursor", "FILE",
	  "go on after the marker in FILE, and keep it" },
	{ OPTION_TIMEOUT, "timeout", "SECONDS",
	  "end when nothing has come for so long" },
	{ OPTION_JSON, "json", NULL, "one JSON object a line" },
	{ OPTION_RAW, "raw", NULL, "values as they are, not escaped" },
	{ OPTION_STATES, "states", NULL,
	  "also say caught-up, closed, stalled, dead, live" },
	{ OPTION_WAIT, "wait", "SECONDS", "wait for a feed that does not exist yet" },
	{ OPTION_WAIT_FUTURE, "wait-future", NULL,
	  "wait for a SEQ that is not there yet" },
	{ OPTION_SPIN, "spin", NULL, "never sleep: least latency, a whole processor" },
	{ OPTION_PRESENCE, "presence", "NAME",
	  "be seen by 'ringtail readers', as NAME" },
	{ 0 },
};

static const char notes[] =
	"Exit: 0 done, 1 failed, 2 usage, 3 gap, 4 feed closed, 5 timed out\n";

static void add_filter(struct watch *w, uint32_t kind, const char *a, const char *b)
{
	const size_t n = w->options.n_filters;
	struct ringtail_filter *more = reallocarray(w->filters, n + 1, sizeof(*more));

	if (!more) {
		rt_say("%s", strerror(ENOMEM));
		exit(RT_EXIT_FAILED);
	}
	more[n] = (struct ringtail_filter){ .kind = kind, .a = a, .a_len = strlen(a) };
	if (b) {
		more[n].b = b;
		more[n].b_len = strlen(b);
	}
	w->filters = more;
	w->options.filters = more;
	w->options.n_filters = n + 1;
}

static void add_range(struct watch *w, const char *a, const char *b)
{
	if (*b && strcmp(a, b) >= 0)
		rt_usage(w->tool, "--range '%s' '%s' is empty: A must be below B", a,
			 b);
	add_filter(w, RINGTAIL_FILTER_RANGE, a, b);
}

static void add_op(struct watch *w, const char *op)
{
	if (!strcmp(op, "put"))
		w->options.ops |= RINGTAIL_OPS_PUT;
	else if (!strcmp(op, "delete"))
		w->options.ops |= RINGTAIL_OPS_DELETE;
	else if (!strcmp(op, "message"))
		w->options.ops |= RINGTAIL_OPS_MESSAGE;
	else
		rt_usage(w->tool, "--op is put, delete or message, not '%s'", op);
}

static void set_on_gap(struct watch *w, const char *how)
{
	if (!strcmp(how, "error"))
		w->options.on_gap = RINGTAIL_ON_GAP_ERROR;
	else if (!strcmp(how, "skip"))
		w->options.on_gap = RINGTAIL_ON_GAP_SKIP;
	else if (!strcmp(how, "resync"))
		w->options.on_gap = RINGTAIL_ON_GAP_RESYNC;
	else
		rt_usage(w->tool, "--on-gap is error, skip or resync, not '%s'", how);
}

static void set_number(struct watch *w, const char *option, uint64_t *ret)
{
	const char *text = w->tool->args.value;

	if (rt_parse_u64(text, ret) < 0)
		rt_usage(w->tool, "--%s takes a number, not '%s'", option, text);
}

static void set_seconds(struct watch *w, const char *option, int64_t *ret)
{
	const char *text = w->tool->args.value;

	if (rt_parse_seconds(text, ret) < 0)
		rt_usage(w->tool, "--%s takes seconds, as in 5 or 0.25, not '%s'",
			 option, text);
}

/* Options that need no more than to be noted; false if @id is none of them. */
static bool take_switch(struct watch *w, int id)
{
	if (id == OPTION_JSON)
		w->print.json = true;
	else if (id == OPTION_RAW)
		w->print.raw = true;
	else if (id == OPTION_STATES)
		w->states = true;
	else if (id == OPTION_WAIT_FUTURE)
		w->options.flags |= RINGTAIL_ALLOW_FUTURE;
	else if (id == OPTION_SPIN)
		w->options.wait = RINGTAIL_WAIT_SPIN;
	else if (id == OPTION_PRESENCE)
		w->options.presence = w->tool->args.value;
	else
		return false;
	return true;
}

static void take_option(struct watch *w, int id)
{
	const char *value = w->tool->args.value;

	if (id == OPTION_FROM)
		w->from = value;
	else if (id == OPTION_UNTIL)
		set_number(w, "until", &w->until);
	else if (id == OPTION_COUNT)
		set_number(w, "count", &w->count);
	else if (id == OPTION_PREFIX)
		add_filter(w, RINGTAIL_FILTER_PREFIX, value, NULL);
	else if (id == OPTION_KEY)
		add_filter(w, RINGTAIL_FILTER_KEY, value, NULL);
	else if (id == OPTION_RANGE)
		add_range(w, value, w->tool->args.value2);
	else if (id == OPTION_OP)
		add_op(w, value);
	else if (id == OPTION_ON_GAP)
		set_on_gap(w, value);
	else if (id == OPTION_CURSOR)
		w->cursor = value;
	else if (id == OPTION_TIMEOUT)
		set_seconds(w, "timeout", &w->timeout_ns);
	else if (id == OPTION_WAIT)
		set_seconds(w, "wait", &w->options.open_timeout_ns);
	if (id == OPTION_WAIT)
		w->options.flags |= RINGTAIL_WAIT_FOR_FEED;
}

static void parse_start(struct watch *w)
{
	struct rt_fault fault;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	if (rt_when_parse(w->from,
			  (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
			  &w->options, &fault) < 0)
		rt_usage(w->tool, "--from %s", fault.text);
}

static void parse(struct watch *w)
{
	int id;

	while ((id = rt_tool_next(w->tool)) != RT_ARGS_END) {
		if (id != RT_ARGS_WORD) {
			if (!take_switch(w, id))
				take_option(w, id);
		} else if (!w->feed) {
			w->feed = w->tool->args.value;
		} else {
			rt_usage(w->tool, "one feed at a time: '%s'",
				 w->tool->args.value);
		}
	}
	if (!w->feed)
		rt_usage(w->tool, "which feed? 'ringtail ls' shows what there is");
	if (w->print.json && w->print.raw)
		rt_usage(w->tool, "--json and --raw contradict each other");
	parse_start(w);
	if (w->options.start == RINGTAIL_START_AFTER_SEQ && w->options.seq > w->until)
		rt_usage(w->tool, "--until %llu is below --from %llu",
			 (unsigned long long)w->until,
			 (unsigned long long)w->options.seq);
	if (w->until != UINT64_MAX)
		w->options.until = w->until;
}

static int64_t monotonic_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/*
 * ---- Signals: the first one ends in good order, the second at once -------------
 */

static struct ringtail *stop_reader;

static void on_signal(int number)
{
	(void)number;
	ringtail_cancel(stop_reader);
}

static void catch_signals(struct ringtail *reader)
{
	const struct sigaction action = {
		.sa_handler = reader ? on_signal : SIG_DFL,
		.sa_flags = (int)SA_RESETHAND,
	};
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

	if (reader)
		stop_reader = reader;
	for (size_t i = 0; i < RT_N(numbers); i++)
		(void)sigaction(numbers[i], &action, NULL); /* cannot fail */
}

/*
 * ---- The cursor ------------------------------------------------------------------
 */

/* What cannot be written later shall fail now, before anything is printed. */
static int try_cursor(const struct watch *w)
{
	char beside[PATH_MAX];
	struct stat st;
	int fd;

	if (!w->cursor)
		return 0;
	if (!stat(w->cursor, &st) && !S_ISREG(st.st_mode)) {
		rt_say("cannot write cursor file %s: it is no regular file", w->cursor);
		return -EINVAL;
	}
	(void)snprintf(beside, sizeof(beside), "%s.new", w->cursor);
	fd = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		  0666);
	if (fd < 0) {
		rt_say("cannot write cursor file %s: %s", w->cursor, strerror(errno));
		return -EINVAL;
	}
	(void)close(fd);
	(void)unlink(beside); /* else the cursor replaces it */
	return 0;
}

static int load_cursor(struct watch *w)
{
	const int r = w->cursor ? ringtail_cursor_load(w->cursor, w->start) : -ENOENT;

	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		rt_say("%s", ringtail_error(NULL));
		return r;
	}
	w->options.start = RINGTAIL_START_MARKER;
	w->options.marker = w->start;
	memcpy(w->stored, w->start, sizeof(w->stored));
	return 0;
}

/* After what it stands for has left this process. */
static int store_cursor(struct watch *w)
{
	char marker[RINGTAIL_MARKER_SIZE];

	if (!w->cursor || w->in_state || ringtail_marker(w->reader, marker) < 0 ||
	    !strcmp(marker, w->stored))
		return 0;
	if (ringtail_cursor_store(w->cursor, marker, 0) < 0) {
		rt_say("%s", ringtail_error(NULL));
		return -EIO;
	}
	memcpy(w->stored, marker, sizeof(w->stored));
	return 0;
}

/* Returns GO_ON or an exit code. */
static int flush(struct watch *w)
{
	const int r = w->failed ? 0 : rt_out_flush(w->print.out);

	if (r == -EPIPE)
		return RT_EXIT_DONE; /* whoever asked has seen enough */
	if (r < 0)
		rt_say("cannot write: %s", strerror(-r));
	w->failed = w->failed || r < 0 || store_cursor(w) < 0;
	return w->failed ? RT_EXIT_FAILED : GO_ON;
}

/*
 * ---- What comes ------------------------------------------------------------------
 */

static int take_event(struct watch *w, const struct ringtail_event *event)
{
	const bool last = event->flags & RINGTAIL_LAST;
	char marker[RINGTAIL_MARKER_SIZE];

	if (last && w->print.json)
		(void)ringtail_marker(w->reader, marker); /* cannot fail */
	rt_print_event(&w->print, event, last && w->print.json ? marker : NULL);
	w->printed++;
	w->quiet = false;
	if (w->printed >= w->count)
		return RT_EXIT_DONE;

	/* With a cursor, so that what it stands for is all that was printed. */
	if (last && w->cursor && w->print.out->len > RT_OUT_SIZE / 2)
		return flush(w);
	if (w->print.out->error)
		return flush(w);
	return GO_ON;
}

static int take_gap(struct watch *w)
{
	struct ringtail_gap_info gap;

	if (!ringtail_gap(w->reader, &gap))
		rt_print_gap(&w->print, &gap);
	w->quiet = false;
	return GO_ON;
}

/* The state anew; what it stands in for is told with it. */
static int take_reset(struct watch *w)
{
	struct ringtail_gap_info gap;
	const bool known = !ringtail_gap(w->reader, &gap);

	rt_print_snapshot_begin(&w->print, known ? &gap : NULL);
	w->in_state = true;
	w->quiet = false;
	return GO_ON;
}

static int take_entry(struct watch *w, const struct ringtail_event *event)
{
	rt_print_entry(&w->print, event);
	return w->print.out->error ? flush(w) : GO_ON;
}

static int take_snapshot_end(struct watch *w, uint64_t seq)
{
	rt_print_snapshot_end(&w->print, seq);
	w->in_state = false;
	w->quiet = false;
	return GO_ON;
}

/* Up to where all is printed: a start may be above what there is. */
static uint64_t done_up_to(struct watch *w)
{
	struct ringtail_info info = { .size = sizeof(info) };
	const uint64_t position = ringtail_position(w->reader);

	if (ringtail_get_info(w->reader, &info) < 0 || position < info.head)
		return position;
	return info.head;
}

static void say_caught_up(struct watch *w)
{
	if (w->caught_up || ringtail_position(w->reader) > done_up_to(w))
		return;
	rt_print_state(&w->print, "caught-up", ringtail_position(w->reader));
	w->caught_up = true;
}

static int take_error(struct watch *w, int error)
{
	const char *text = ringtail_error(w->reader);

	if (error == -EINTR)
		return GO_ON;
	if (error == RINGTAIL_E_CANCELED || error == RINGTAIL_E_END)
		return RT_EXIT_DONE;
	if (error == RINGTAIL_E_CLOSED && w->states) {
		say_caught_up(w);
		rt_print_state(&w->print, "closed", done_up_to(w));
	}
	(void)rt_out_flush(w->print.out); /* first things first; an error stays */
	rt_say("%s", text && *text ? text : ringtail_strerror(error));
	if (error == RINGTAIL_E_CLOSED)
		return RT_EXIT_CLOSED;
	if (error == RINGTAIL_E_LAPPED || error == RINGTAIL_E_COMPACTED)
		return RT_EXIT_GAP;
	return RT_EXIT_FAILED;
}

/* Outcomes other than "nothing". */
static int take(struct watch *w, int outcome, const struct ringtail_event *event)
{
	switch (outcome) {
	case RINGTAIL_EVENT:
		return take_event(w, event);
	case RINGTAIL_GAP:
		return take_gap(w);
	case RINGTAIL_RESET:
		return take_reset(w);
	case RINGTAIL_SNAPSHOT:
		return take_entry(w, event);
	case RINGTAIL_SNAPSHOT_END:
		return take_snapshot_end(w, event->seq);
	default:
		return outcome < 0 ? take_error(w, outcome) : GO_ON;
	}
}

/*
 * ---- When nothing comes -----------------------------------------------------------
 */

static void say_states(struct watch *w)
{
	const int state = ringtail_state(w->reader);

	say_caught_up(w);

	/* Closed is said once all has been read: by the error of a read. */
	if (state != w->state && state != RINGTAIL_CLOSED) {
		w->state = state;
		rt_print_state(&w->print, rt_state_name((uint32_t)state),
			       done_up_to(w));
	}
}

static bool nobody_reads(struct watch *w)
{
	struct pollfd fd = { .fd = STDOUT_FILENO };

	return w->pipe && poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR);
}

static int64_t shorter(int64_t a, int64_t b)
{
	return a == RINGTAIL_FOREVER || b < a ? b : a;
}

/* How long to wait; 0 when the time is over. */
static int64_t waiting_time(struct watch *w)
{
	int64_t wait = RINGTAIL_FOREVER;

	if (w->timeout_ns != RINGTAIL_FOREVER) {
		const int64_t now = monotonic_ns();

		if (!w->quiet)
			w->quiet_since_ns = now;
		if (now - w->quiet_since_ns >= w->timeout_ns)
			return 0;
		wait = w->timeout_ns - (now - w->quiet_since_ns);
	}
	w->quiet = true;
	if (w->states)
		wait = shorter(wait, LOOK_STATE_NS);
	if (w->pipe)
		wait = shorter(wait, LOOK_PIPE_NS);
	return wait;
}

static int rest(struct watch *w)
{
	struct ringtail_event event;

	if (w->states)
		say_states(w);

	const int code = flush(w);

	if (code != GO_ON)
		return code;
	if (nobody_reads(w))
		return RT_EXIT_DONE;

	const int64_t wait = waiting_time(w);

	if (!wait)
		return RT_EXIT_TIMEOUT;
	return take(w, ringtail_next(w->reader, &event, wait), &event);
}

static int step(struct watch *w)
{
	struct ringtail_event event;
	const int r = ringtail_next(w->reader, &event, 0);

	return r == RINGTAIL_NOTHING || r == RINGTAIL_CAUGHT_UP ? rest(w)
								: take(w, r, &event);
}

static int finish(struct watch *w, int code)
{
	const int flushed = flush(w);

	catch_signals(NULL);
	return flushed == RT_EXIT_FAILED ? flushed : code;
}

/* Does the cursor stand behind the end? */
static bool has_all(const struct watch *w)
{
	uint64_t seq;

	return *w->start && !ringtail_marker_parse(w->start, &seq, NULL) &&
	       seq > w->until;
}

static int open_feed(struct watch *w)
{
	if (try_cursor(w) < 0 || load_cursor(w) < 0)
		return RT_EXIT_FAILED;
	if (has_all(w))
		return RT_EXIT_DONE;

	const int r = rt_tool_open(w->tool, w->feed, &w->options, &w->reader);

	if (r < 0) {
		const int code = rt_tool_open_failed(w->tool, w->feed, r);
		const bool waited = w->options.flags & RINGTAIL_WAIT_FOR_FEED;

		return waited && r == RINGTAIL_E_NO_FEED ? RT_EXIT_TIMEOUT : code;
	}
	catch_signals(w->reader);
	return GO_ON;
}

static void look_at_output(struct watch *w)
{
	const char *no_color = getenv("NO_COLOR");
	struct stat st;

	w->print.color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	w->pipe = !fstat(STDOUT_FILENO, &st) &&
		  (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static int run(struct rt_tool *tool)
{
	static struct rt_out out;
	struct watch w = {
		.tool = tool,
		.options = RINGTAIL_OPTIONS_INIT,
		.from = "now",
		.until = UINT64_MAX,
		.count = UINT64_MAX,
		.timeout_ns = RINGTAIL_FOREVER,
		.state = RINGTAIL_LIVE,
	};

	rt_out_init(&out, STDOUT_FILENO);
	rt_print_init(&w.print, &out);
	parse(&w);
	look_at_output(&w);

	int code = open_feed(&w);

	if (code == GO_ON) {
		code = !w.count || !w.until ? RT_EXIT_DONE : GO_ON;
		while (code == GO_ON)
			code = step(&w);
		code = finish(&w, code);
		ringtail_close(w.reader);
	}
	free(w.filters);
	return code;
}

const struct rt_command rt_cmd_watch = {
	.name = "watch",
	.synopsis = "FEED",
	.summary = "print events as they come",
	.options = options,
	.notes = notes,
	.run = run,
};
