/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <time.h>

#include "client/reader.h"

#define RETRY_NS     10000000 /* between two looks for a feed that is not there yet */
#define LOG_COMES_NS UINT64_C(1000000000) /* behind its ring, at most */

/*
 * ---- Options ----
 */

static int invalid(const char *what)
{
	rt_fault_set(rt_open_fault(), "invalid options: %s", what);
	return -EINVAL;
}

/* Options that contradict each other are refused, never ignored. */
static int check_start(const struct ringtail_options *o)
{
	if (o->start > RINGTAIL_START_SNAPSHOT)
		return invalid("unknown start");
	if (o->seq && o->start != RINGTAIL_START_AFTER_SEQ)
		return invalid("seq is set, but start is not RINGTAIL_START_AFTER_SEQ");
	if (o->marker && o->start != RINGTAIL_START_MARKER)
		return invalid("marker is set, but start is not RINGTAIL_START_MARKER");
	if (!o->marker && o->start == RINGTAIL_START_MARKER)
		return invalid("start is RINGTAIL_START_MARKER, but marker is not set");
	if (o->time_ns && o->start != RINGTAIL_START_TIME)
		return invalid("time_ns is set, but start is not RINGTAIL_START_TIME");
	if (o->until && o->start == RINGTAIL_START_AFTER_SEQ && o->until < o->seq)
		return invalid("until is below seq, where reading begins");
	return 0;
}

static int check_options(const struct ringtail_options *o)
{
	if (o->size != sizeof(*o))
		return invalid("size is not that of this version's struct; begin with "
			       "RINGTAIL_OPTIONS_INIT");
	if (o->flags & ~(RINGTAIL_WAIT_FOR_FEED | RINGTAIL_ALLOW_FUTURE))
		return invalid("unknown flags");
	if (o->reserved)
		return invalid("reserved is not 0");
	if (o->on_gap > RINGTAIL_ON_GAP_RESYNC)
		return invalid("unknown on_gap");
	if (o->wait > RINGTAIL_WAIT_SPIN)
		return invalid("unknown wait");
	if (o->fd_mode > RINGTAIL_FD_THREAD)
		return invalid("unknown fd_mode");
	if (o->open_timeout_ns && !(o->flags & RINGTAIL_WAIT_FOR_FEED))
		return invalid("open_timeout_ns is set, but flags lack "
			       "RINGTAIL_WAIT_FOR_FEED");
	if (o->open_timeout_ns < 0 && o->open_timeout_ns != RINGTAIL_FOREVER)
		return invalid("open_timeout_ns is below 0, and not RINGTAIL_FOREVER");
	if (o->presence && !rt_presence_name_valid(o->presence))
		return invalid("presence is a name of 1 to 64 bytes, without control "
			       "characters");
	return check_start(o);
}

/* Of an open by name or path, beside the above. */
static int check_path_options(const struct ringtail_options *o)
{
	int e = check_options(o);

	if (!e && o->bell_fd >= 0)
		e = invalid("bell_fd is for ringtail_open_fd(); else it is -1, as "
			    "RINGTAIL_OPTIONS_INIT has it");
	return e;
}

/*
 * ---- Start ----
 */

static void start_after(struct ringtail *r, uint64_t seq)
{
	r->start = seq;
	r->position = seq;
	r->marker_seq = seq;
	r->next = seq + 1;
}

/*
 * The ring no longer holds what follows @seq.  The log may; if not, it is an error or
 * the gap that the first call tells, by policy.
 */
static int start_in_log(struct ringtail *r, uint64_t seq, uint64_t oldest,
			uint64_t head)
{
	struct rt_fault *fault = rt_open_fault();
	uint64_t in_log;
	uint32_t cause;
	int e = rt_reader_enter_log(r, seq + 1, fault);

	if (!e) {
		start_after(r, seq);
		return 0;
	}
	if (e != -ENOENT && e != RINGTAIL_E_COMPACTED)
		return e;
	if (rt_reader_oldest_in_log(r, &in_log) == 0 && in_log > seq + 1)
		oldest = rt_min(oldest, in_log);
	cause = rt_reader_cause(r, oldest, RINGTAIL_CAUSE_COMPACTED);
	if (r->on_gap == RINGTAIL_ON_GAP_RESYNC) {
		start_after(r, seq);
		return rt_reader_resync_open(r, cause);
	}
	if (r->on_gap == RINGTAIL_ON_GAP_ERROR) {
		rt_fault_set(fault,
			     "feed '%s': %s: cannot go on after seq %" PRIu64
			     ", the oldest held is %" PRIu64 " (newest %" PRIu64 ")",
			     r->segment.geo.name, rt_reader_gone(cause), seq, oldest,
			     head);
		return RINGTAIL_E_COMPACTED;
	}
	if (oldest > r->until)
		oldest = r->until + 1; /* what nobody asked for is not missed */
	r->gap = (struct ringtail_gap_info){
		.first = seq + 1,
		.count = oldest - 1 - seq,
		.cause = cause,
	};
	start_after(r, oldest - 1);
	r->start = seq;
	r->lost = r->gap.count;
	r->gaps = 1;
	r->gap_due = true;
	r->resumed_at = oldest;
	return 0;
}

static int start_after_seq(struct ringtail *r, uint64_t seq, uint32_t flags)
{
	uint64_t oldest, head;

	rt_ring_bounds(&r->segment, &oldest, &head);
	if (seq > head && (!(flags & RINGTAIL_ALLOW_FUTURE) || seq == UINT64_MAX)) {
		rt_fault_set(rt_open_fault(),
			     "feed '%s': future: seq %" PRIu64
			     " is above the newest, %" PRIu64,
			     r->segment.geo.name, seq, head);
		return RINGTAIL_E_FUTURE;
	}
	if (seq < oldest - 1)
		return start_in_log(r, seq, oldest, head);
	start_after(r, seq);
	return 0;
}

static int start_after_marker(struct ringtail *r, const struct ringtail_options *o)
{
	uint64_t seq, epoch;
	int e = ringtail_marker_parse(o->marker, &seq, &epoch);

	if (e < 0) {
		rt_fault_set(
			rt_open_fault(),
			"malformed marker '%.60s': a marker has 42 characters, seq, "
			"epoch and check in hexadecimal",
			o->marker);
		return e;
	}
	e = rt_reader_same_history(r, epoch, seq);
	if (e < 0 && e != RINGTAIL_E_EPOCH) {
		*rt_open_fault() = r->fault;
		return e;
	}
	if (e < 0 && r->on_gap == RINGTAIL_ON_GAP_RESYNC) {
		start_after(r, seq);
		r->marker_epoch = epoch;
		return rt_reader_resync_open(r, RINGTAIL_CAUSE_EPOCH);
	}
	if (e < 0) {
		rt_fault_set(rt_open_fault(),
			     "feed '%s': other epoch: the marker (seq %" PRIu64
			     ") is of epoch %016" PRIx64 ", the feed is in %016" PRIx64
			     ": its history was begun anew",
			     r->segment.geo.name, seq, epoch, r->segment.geo.epoch);
		return e;
	}
	if (r->until < seq)
		return invalid("until is below the marker, where reading begins");
	return start_after_seq(r, seq, o->flags);
}

static int start_from_state(struct ringtail *r)
{
	start_after(r, 0);
	return rt_reader_resync_open(r, 0);
}

/* Is what is older than the ring in a log that may not be read?  Then that is said. */
static int check_log(struct ringtail *r, uint64_t oldest)
{
	int e = oldest > 1 ? rt_reader_find_log(r, rt_open_fault()) : 0;

	return e == -EACCES && r->on_gap != RINGTAIL_ON_GAP_SKIP ? e : 0;
}

/* The oldest there is, in the ring or in the log. */
static int start_oldest(struct ringtail *r, uint64_t oldest)
{
	uint64_t in_log;
	int denied = check_log(r, oldest);

	if (denied)
		return denied;
	/* What was the oldest can be gone before it is opened. */
	while (rt_reader_oldest_in_log(r, &in_log) == 0 && in_log < oldest) {
		int e = rt_reader_enter_log(r, in_log, rt_open_fault());

		if (!e)
			oldest = in_log;
		else if (e != RINGTAIL_E_COMPACTED)
			return e;
	}
	start_after(r, oldest - 1);
	return 0;
}

static int start_at_time(struct ringtail *r, uint64_t time_ns, uint64_t oldest,
			 uint64_t head)
{
	uint64_t seq = rt_ring_at_time(&r->segment, time_ns);
	uint64_t in_log;
	int denied = seq <= oldest ? check_log(r, oldest) : 0;

	if (denied)
		return denied;
	/* If it is the oldest of the ring, the log may have an older one that is it. */
	if (seq <= oldest && rt_reader_seek_log_time(r, time_ns, &in_log) == 0 &&
	    in_log < seq)
		return start_in_log(r, in_log - 1, oldest, head);
	start_after(r, seq - 1);
	return 0;
}

static int find_start(struct ringtail *r, const struct ringtail_options *o)
{
	uint64_t oldest, head;

	rt_ring_bounds(&r->segment, &oldest, &head);
	if (!rt_ring_makes_sense(&r->segment)) {
		rt_fault_set(rt_open_fault(),
			     "%s: damaged: what the writer says at byte %u makes no "
			     "sense: newest seq %" PRIu64 ", oldest %" PRIu64,
			     r->path ? r->path : r->segment.geo.name, RT_PAGE, head,
			     oldest);
		return RINGTAIL_E_CORRUPT;
	}
	if (o->start == RINGTAIL_START_SNAPSHOT ||
	    o->on_gap == RINGTAIL_ON_GAP_RESYNC) {
		int e = rt_reader_can_resync(r);

		if (e < 0)
			return e;
	}
	switch (o->start) {
	case RINGTAIL_START_SNAPSHOT:
		return start_from_state(r);
	case RINGTAIL_START_AFTER_SEQ:
		return start_after_seq(r, o->seq, o->flags);
	case RINGTAIL_START_MARKER:
		return start_after_marker(r, o);
	case RINGTAIL_START_TIME:
		return start_at_time(r, o->time_ns, oldest, head);
	case RINGTAIL_START_OLDEST:
		return start_oldest(r, oldest);
	default:
		start_after(r, head);
		return 0;
	}
}

/*
 * ---- Open ----
 */

static void close_reader(struct ringtail **r)
{
	ringtail_close(*r);
}

static int open_with(int fd, const char *path, const struct ringtail_options *o,
		     struct ringtail **ret)
{
	struct rt_fault *fault = rt_open_fault();
	AUTO(close_reader) struct ringtail *r = NULL;
	int e;

	r = aligned_alloc(RT_LINE, rt_round_up(sizeof(*r), RT_LINE));
	if (!r)
		return -ENOMEM;
	*r = (struct ringtail){ .segment = RT_SEGMENT_NONE,
				.log = { .dir_fd = -1, .fd = -1 },
				.resync = { .file = RT_SNAPSHOT_NONE } };
	e = rt_filters_init(o->filters, o->n_filters, o->ops, fault, &r->filters);
	if (e < 0)
		return e;
	e = rt_segment_map(fd, false, path ? path : "ring", fault, &r->segment);
	if (e < 0)
		return e;
	if (path) {
		r->path = strdup(path);
		if (!r->path)
			return -ENOMEM;
	} else if (o->bell_fd >= 0) {
		rt_reader_use_bell(r, o->bell_fd);
	}
	r->start_kind = o->start;
	r->on_gap = o->on_gap;
	r->wait = o->wait;
	r->spin_ns = o->spin_ns;
	r->until = o->until ? o->until : UINT64_MAX;
	r->fd_mode = o->fd_mode;
	r->marker_epoch = r->segment.geo.epoch;
	r->sleeper.hot = r->segment.hot;
	r->sleeper.bell = r->bell;
	r->sleeper.cancel = &r->cancel;
	r->sleeper.always = r->segment.geo.wake_mode == RT_WAKE_ALWAYS;
	e = find_start(r, o);
	if (e < 0)
		return e;
	if (o->presence)
		rt_presence_open(r, o->presence);
	*ret = rt_take_ptr(&r);
	return 0;
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR) {
		rt_fault_set(rt_open_fault(), "no such feed: there is no ring at %s",
			     path);
		return RINGTAIL_E_NO_FEED;
	}

	int e = -errno;

	rt_fault_set(rt_open_fault(), "%s: %s", path, strerror(-e));
	return e;
}

static int try_open(const char *path, const struct ringtail_options *o,
		    struct ringtail **ret)
{
	AUTO_CLOSE int fd = open_file(path);

	return fd < 0 ? fd : open_with(fd, path, o, ret);
}

/*
 * A feed that was waited for shows its ring a moment before its log, without which
 * there can be no snapshots.  @since: when the ring came; 0: not yet, or it was there
 * already.
 */
static bool is_beginning(int e, uint64_t since, uint64_t now)
{
	return e == RINGTAIL_E_UNSUPPORTED && since && now - since < LOG_COMES_NS;
}

static int open_path(const char *path, const struct ringtail_options *o,
		     struct ringtail **ret)
{
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC), waited = 0, since = 0;

	for (;;) {
		int e = try_open(path, o, ret);
		struct timespec pause = { .tv_nsec = RETRY_NS };
		uint64_t now = rt_now_ns(CLOCK_MONOTONIC);

		if (!(o->flags & RINGTAIL_WAIT_FOR_FEED))
			return e;
		if (e != RINGTAIL_E_NO_FEED && waited && !since)
			since = now;
		if (e != RINGTAIL_E_NO_FEED && !is_beginning(e, since, now))
			return e;
		if (o->open_timeout_ns >= 0 &&
		    now - begun >= (uint64_t)o->open_timeout_ns)
			return e;
		waited++;
		(void)nanosleep(&pause, NULL); /* cut short by a signal: look sooner */
	}
}

int ringtail_open_path(const char *path, const struct ringtail_options *options,
		       struct ringtail **ret)
{
	static const struct ringtail_options defaults = RINGTAIL_OPTIONS_INIT;
	const struct ringtail_options *o = options ? options : &defaults;
	int e = check_path_options(o);

	return e < 0 ? e : open_path(path, o, ret);
}

int ringtail_open(const char *feed, const struct ringtail_options *options,
		  struct ringtail **ret)
{
	struct rt_fault *fault = rt_open_fault();
	char dir[PATH_MAX - RT_NAME_MAX - 8], path[PATH_MAX];
	int e = options ? check_path_options(options) : 0;

	if (e < 0)
		return e;
	if (!feed || !rt_name_valid(feed)) {
		rt_fault_set(
			fault,
			"invalid feed name '%.80s': 1 to %u of A-Z a-z 0-9 . _ -, and "
			"no '.' or '-' in front",
			feed ? feed : "", RT_NAME_MAX);
		return -EINVAL;
	}
	e = rt_default_dir(options ? options->dir : NULL, dir, sizeof(dir), fault);
	if (e < 0)
		return e;
	(void)snprintf(path, sizeof(path), "%s/%s/ring", dir, feed);
	return ringtail_open_path(path, options, ret);
}

int ringtail_open_fd(int fd, const struct ringtail_options *options,
		     struct ringtail **ret)
{
	static const struct ringtail_options defaults = RINGTAIL_OPTIONS_INIT;
	const struct ringtail_options *o = options ? options : &defaults;
	int e = check_options(o);

	if (!e && o->presence)
		e = invalid(
			"presence is set, but a descriptor says not where the feed is");
	return e < 0 ? e : open_with(fd, NULL, o, ret);
}

void ringtail_close(struct ringtail *r)
{
	if (!r)
		return;
	rt_pollfd_close(r->pollfd);
	rt_presence_close(r);
	if (r->bell)
		rt_reader_drop_bell(r);
	rt_resync_fini(&r->resync);
	rt_log_reader_close(&r->log);
	rt_segment_drop(&r->segment);
	rt_filters_fini(&r->filters);
	free(r->buffer.events);
	free(r->buffer.data);
	free(r->path);
	free(r);
}
