/* SPDX-License-Identifier: MIT */
/*
 * cmd_load.c - put what is in a file into a feed
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "tools/conn.h"
#include "tools/lines.h"
#include "tools/progress.h"
#include "tools/sender.h"
#include "tools/units.h"

#define READ_SIZE (256u * 1024)

enum {
	OPTION_TXN = RT_OPTION_OWN,
	OPTION_FORMAT,
	OPTION_KEEP_GOING,
	OPTION_JSON,
};

static const struct rt_option options[] = {
	{ OPTION_TXN, "txn", "N",
	  "so many events a transaction (1); or 'rev': as the\n"
	  "lines' rev says" },
	{ OPTION_FORMAT, "format", "HOW", "tab or json; else the first line tells" },
	{ OPTION_KEEP_GOING, "keep-going", NULL, "go on after errors" },
	{ OPTION_JSON, "json", NULL, "print the summary as a JSON object" },
	{ 0 },
};

static const char notes[] =
	"Lines are KEY TAB VALUE, or JSON as 'ringtail watch --json' prints it.\n"
	"FILE '-', or none, is standard input.\n";

struct load {
	struct rt_tool *tool;
	const char *feed;
	const char *file;
	uint64_t txn; /* events a transaction */
	bool by_rev;
	bool keep_going;
	bool json;
	struct rt_lines lines;
	struct rt_sender *sender;
	struct rt_progress progress;
	uint64_t n_lines;
	uint64_t n_bytes; /* of input */
	uint64_t n_bad;   /* lines that make no sense */
	uint64_t n_gaps;  /* lines that say that events are missing */
	uint64_t n_events;
	uint64_t rev; /* of the transaction being gathered */
	uint64_t n_in_txn;
};

static void take_option(struct load *l, int id)
{
	const char *value = l->tool->args.value;

	if (id == OPTION_KEEP_GOING)
		l->keep_going = true;
	else if (id == OPTION_JSON)
		l->json = true;
	else if (id == OPTION_TXN && !strcmp(value, "rev"))
		l->by_rev = true;
	else if (id == OPTION_TXN && (rt_parse_u64(value, &l->txn) < 0 || !l->txn))
		rt_usage(l->tool, "--txn takes a number above 0, or rev, not '%s'",
			 value);
	else if (id == OPTION_FORMAT && !strcmp(value, "tab"))
		l->lines.format = RT_FORMAT_TAB;
	else if (id == OPTION_FORMAT && !strcmp(value, "json"))
		l->lines.format = RT_FORMAT_JSON;
	else if (id == OPTION_FORMAT)
		rt_usage(l->tool, "--format is tab or json, not '%s'", value);
}

static void parse(struct load *l)
{
	int id;

	while ((id = rt_tool_next(l->tool)) != RT_ARGS_END) {
		if (id != RT_ARGS_WORD)
			take_option(l, id);
		else if (!l->feed)
			l->feed = l->tool->args.value;
		else if (!l->file)
			l->file = l->tool->args.value;
		else
			rt_usage(l->tool, "one file at a time: '%s'",
				 l->tool->args.value);
	}
	if (!l->feed)
		rt_usage(l->tool, "which feed?");
	if (l->file && !strcmp(l->file, "-"))
		l->file = NULL;
}

static FILE *open_input(struct load *l, uint64_t *ret_size)
{
	static char buf[READ_SIZE];
	FILE *file = l->file ? fopen(l->file, "re") : stdin;
	struct stat st;

	if (!file) {
		rt_say("cannot open %s: %s", l->file, strerror(errno));
		return NULL;
	}
	(void)setvbuf(file, buf, _IOFBF, sizeof(buf)); /* slower without, no worse */
	*ret_size = 0;
	if (!fstat(fileno(file), &st) && S_ISREG(st.st_mode))
		*ret_size = (uint64_t)st.st_size;
	return file;
}

/* Ends the transaction where it is full, or where the next line is of another. */
static int commit(struct load *l)
{
	l->n_in_txn = 0;
	return rt_sender_commit(l->sender);
}

static int take_event(struct load *l, const struct rt_load_event *event)
{
	int r = 0;

	if (l->by_rev && l->n_in_txn && (!event->rev || event->rev != l->rev))
		r = commit(l);
	if (!r)
		r = rt_sender_add(l->sender, event, l->n_lines);
	if (r < 0)
		return r;
	l->rev = event->rev;
	l->n_events++;
	l->n_in_txn++;
	return !l->by_rev && l->n_in_txn >= l->txn ? commit(l) : 0;
}

/* Returns 0, or negative when no further line shall be taken. */
static int take_line(struct load *l, const char *line, size_t len)
{
	struct rt_load_event event;
	struct rt_fault fault;
	const int r = rt_lines_parse(&l->lines, line, len, &event, &fault);

	if (r == RT_LINE_EVENT)
		return take_event(l, &event);
	if (r == RT_LINE_GAP)
		l->n_gaps++;
	if (r >= 0)
		return 0;
	if (r == -ENOMEM)
		rt_say("line %" PRIu64 ": %s", l->n_lines, strerror(ENOMEM));
	else if (l->n_bad < 10)
		rt_say("line %" PRIu64 ": %s", l->n_lines, fault.text);
	l->n_bad++;
	return l->keep_going && r != -ENOMEM ? 0 : r;
}

static int take_lines(struct load *l, FILE *input)
{
	AUTO_FREE char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int r = 0;

	while (!r && !rt_sender_stopped(l->sender) &&
	       (n = getline(&line, &size, input)) > 0) {
		l->n_lines++;
		l->n_bytes += (uint64_t)n;
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		r = take_line(l, line, (size_t)n);
		if (!(l->n_lines & 255))
			rt_progress_at(&l->progress, l->n_bytes, l->n_events);
	}
	if (ferror(input)) {
		rt_say("cannot read %s: %s", l->file ? l->file : "standard input",
		       strerror(errno));
		return -EIO;
	}
	if (r < 0 || rt_sender_stopped(l->sender)) {
		rt_sender_abort(l->sender); /* an unfinished transaction is none */
		return r;
	}
	return commit(l);
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void summarize(const struct load *l, int64_t elapsed_ns)
{
	const struct rt_sender *s = l->sender;
	const double seconds = (double)elapsed_ns / 1e9;

	if (l->json) {
		printf("{\"events\":%" PRIu64 ",\"transactions\":%" PRIu64
		       ",\"lines\":%" PRIu64 ",\"bytes\":%" PRIu64
		       ",\"bad_lines\":%" PRIu64 ",\"refused_transactions\":%" PRIu64
		       ",\"seconds\":%.6f}\n",
		       s->committed_events, s->committed_txns, l->n_lines, l->n_bytes,
		       l->n_bad, s->refused_txns, seconds);
		return;
	}
	(void)fprintf(
		stderr,
		"%" PRIu64 " event%s in %" PRIu64 " transaction%s, %s, in %s (%s/s)\n",
		s->committed_events, plural(s->committed_events), s->committed_txns,
		plural(s->committed_txns), rt_size_words(l->n_bytes).text,
		rt_span_words((uint64_t)elapsed_ns).text,
		rt_count_words((double)s->committed_events / (seconds + 1e-9)).text);
	if (l->n_bad || s->refused_txns)
		(void)fprintf(stderr,
			      "%" PRIu64 " line%s made no sense, %" PRIu64
			      " transaction%s refused\n",
			      l->n_bad, plural(l->n_bad), s->refused_txns,
			      plural(s->refused_txns));
}

static int load(struct load *l, FILE *input, uint64_t size)
{
	rt_progress_begin(&l->progress, size);

	int r = take_lines(l, input);

	/* What is on its way is answered, and then counted, whatever happened. */
	if (r != -ECONNRESET && r != -EPROTO) {
		const int drained = rt_sender_drain(l->sender);

		r = r ? r : drained;
	}
	summarize(l, rt_progress_end(&l->progress));
	if (l->n_gaps)
		rt_say("note: %" PRIu64
		       " lines tell of events that were missed when this "
		       "was recorded",
		       l->n_gaps);
	if (fflush(stdout) && errno != EPIPE) {
		rt_say("cannot write: %s", strerror(errno));
		return RT_EXIT_FAILED;
	}
	return r || l->n_bad || l->sender->refused_txns ? RT_EXIT_FAILED : RT_EXIT_DONE;
}

static int run(struct rt_tool *tool)
{
	static struct rt_sender sender;
	struct load l = { .tool = tool, .txn = 1, .sender = &sender };
	AUTO_CONN redisContext *conn = NULL;
	uint64_t size;

	rt_lines_init(&l.lines, RT_FORMAT_AUTO);
	parse(&l);

	FILE *input = open_input(&l, &size);

	if (!input)
		return RT_EXIT_FAILED;

	int code = rt_conn_open(tool, l.feed, &conn);

	if (!code) {
		rt_sender_init(&sender, conn, l.keep_going);
		code = load(&l, input, size);
		rt_sender_fini(&sender);
	}
	rt_lines_fini(&l.lines);
	(void)fclose(input); /* only read from */
	return code;
}

const struct rt_command rt_cmd_load = {
	.name = "load",
	.synopsis = "FEED [FILE]",
	.summary = "put many keys, from lines of text or JSON",
	.options = options,
	.notes = notes,
	.run = run,
};
