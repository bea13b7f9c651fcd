/* SPDX-License-Identifier: MIT */
#include "daemon/retention.h"

#include <errno.h>
#include <fcntl.h>

#include "daemon/feed.h"
#include "daemon/log.h"
#include "store/log_read.h"

#define NS_PER_S UINT64_C(1000000000)
/* Memory for what changed since the last one; more, for fewer steps, if that is much.
 */
#define BUDGET         (UINT64_C(64) << 20)
#define BUDGET_MAX     (UINT64_C(256) << 20)
#define VET_MAX        (UINT64_C(1) << 20) /* of a file that the loop may read */
#define PATIENCE_NS    (2 * NS_PER_S) /* with a job that waits for an idle processor */
#define BACKOFF_MAX_NS (60 * NS_PER_S)
#define LISTED         8u

static bool has_log(const struct rt_feed *feed)
{
	return feed->writer && feed->journal.has_log;
}

uint64_t rt_retention_oldest(const struct rt_feed *feed)
{
	uint64_t oldest, head;

	rt_ring_bounds(&feed->writer->segment, &oldest, &head);
	return feed->journal.has_log ? rt_min(oldest, rt_log_oldest(&feed->journal.log))
				     : oldest;
}

/*
 * ---- Which snapshots there are -----------------------------------------------
 */

/* Those that open and belong to this history, newest first. */
static void look(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	const struct rt_log *log = &feed->journal.log;
	uint64_t limit = log->next - 1;
	struct rt_fault unused;

	keep->n_kept = 0;
	keep->newest = keep->oldest = 0;
	for (;;) {
		AUTO(rt_snapshot_close) struct rt_snapshot snapshot = RT_SNAPSHOT_NONE;

		if (keep->n_kept == LISTED ||
		    rt_snapshot_newest(log->dir_fd, log->what, log->epoch, limit,
				       &unused, &snapshot) != 1)
			return;
		keep->oldest = snapshot.header.seq;
		if (!keep->n_kept++) {
			keep->newest = snapshot.header.seq;
			keep->n_entries = snapshot.footer.n_entries;
			keep->file_size = snapshot.file_size;
			keep->created_ns = snapshot.header.created_ns;
		}
		if (!snapshot.header.seq)
			return;
		limit = snapshot.header.seq - 1;
	}
}

/* A damaged one went, whoever found it; what it stood for is in the log, or in memory.
 */
static void say_removed(struct rt_feed *feed, unsigned n, const char *why)
{
	rt_log(RT_LOG_WARNING, "feed '%s': removed %u damaged snapshots: %s",
	       feed->config->name, n, why);
	feed->retention.verified = UINT64_MAX;
	feed->retention.newest_since = 0; /* who knows: a new one is due early */
}

/*
 * Is every byte of the newest what was written?  Asked before history goes because of
 * it, and found out once for each: at once if that is quick, else by the thread, and
 * then this is false until it is known.  What is damaged goes, and the one before it
 * is asked about.
 */
static bool can_rely(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	const struct rt_log *log = &feed->journal.log;
	struct rt_fault fault = { "out of memory" };

	while (keep->n_kept && keep->verified != keep->newest) {
		int r;

		keep->vet = keep->file_size > VET_MAX;
		if (keep->vet)
			return false;
		r = rt_snapshot_vet(log->dir_fd, log->what, keep->newest, NULL, &fault);
		if (r < 0)
			return false; /* again with the next tick */
		if (r > 0) {
			keep->verified = keep->newest;
		} else {
			say_removed(feed, 1, fault.text);
			look(feed);
		}
	}
	return keep->n_kept;
}

/* Snapshots of which nothing can go on any more. */
static void drop_snapshots_below(struct rt_feed *feed, uint64_t seq)
{
	const struct rt_log *log = &feed->journal.log;
	uint64_t seqs[LISTED];
	char name[32];
	size_t n = 0;

	if (rt_snapshots_list(log->dir_fd, seqs, RT_N(seqs), &n) < 0)
		return; /* they are no harm, but to those who would try them */
	for (size_t i = 0; i < n; i++) {
		if (seqs[i] >= seq)
			continue;
		rt_snapshot_name(seqs[i], name);
		(void)unlinkat(log->dir_fd, name, 0); /* likewise */
	}
}

/*
 * ---- Letting go --------------------------------------------------------------
 */

/* Readers learn why before they learn that. */
static void move_ring(struct rt_feed *feed, uint64_t trimmed, uint64_t aged)
{
	struct rt_hot *hot = feed->writer->hot;

	rt_store64(&hot->trimmed, rt_max(rt_own64(&hot->trimmed), trimmed));
	rt_store64(&hot->aged, rt_max(rt_own64(&hot->aged), aged));
	(void)rt_writer_forget(feed->writer, rt_max(trimmed, aged));
}

static void remove_segments(struct rt_feed *feed, uint64_t below)
{
	struct rt_log *log = &feed->journal.log;
	int n = rt_log_drop_below(log, below);

	if (n > 0)
		rt_log(RT_LOG_DEBUG,
		       "feed '%s': %d segments of its log went; the oldest event is "
		       "%llu now",
		       feed->config->name, n, (unsigned long long)rt_log_oldest(log));
}

/*
 * What a trim or age wants gone, as far as a snapshot covers it.  First the file that
 * makes it last, then the ring, then segments.  0, or negative with a text.
 */
static int let_go(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_log *log = &feed->journal.log;
	struct rt_floor floor = { keep->trim_to, keep->age_to };
	uint64_t below = rt_floor_seq(&floor);
	int r;

	if (below <= rt_log_oldest(log)) {
		keep->trim_to = keep->age_to = 0;
		return 0;
	}
	look(feed); /* somebody may have removed, or damaged, one */
	if (!keep->n_kept || keep->newest + 1 < below || !can_rely(feed) ||
	    keep->newest + 1 < below)
		return 0;
	drop_snapshots_below(feed, below - 1);
	r = rt_log_set_floor(log, &floor, &feed->journal.fault);
	if (r < 0)
		return r;
	move_ring(feed, floor.trimmed, floor.aged);
	remove_segments(feed, below);
	keep->trim_to = keep->age_to = 0;
	look(feed);
	return 0;
}

/* The first event that is not older than max_age, if an older one is held; else 0. */
static uint64_t first_young(struct rt_feed *feed, uint64_t cutoff_ns)
{
	const struct rt_segment *ring = &feed->writer->segment;
	uint64_t oldest, head, seq;
	struct rt_event event;

	rt_ring_bounds(ring, &oldest, &head);
	if (oldest > head)
		return 0;
	if (rt_ring_look(ring, oldest, &event) != RT_LOOK_EVENT)
		return 0;
	if (event.time_ns < cutoff_ns)
		return rt_ring_at_time(ring, cutoff_ns);
	if (!feed->journal.has_log || rt_log_oldest(&feed->journal.log) >= oldest)
		return 0;
	return rt_journal_at_time(&feed->journal, cutoff_ns, &seq) == 1 ? seq : 0;
}

static void apply_max_age(struct rt_feed *feed)
{
	uint64_t max_ns = feed->config->max_age * NS_PER_S;
	uint64_t now = rt_now_ns(CLOCK_REALTIME), seq;

	if (!max_ns || now <= max_ns)
		return;
	seq = first_young(feed, now - max_ns);
	if (!seq || seq <= rt_retention_oldest(feed))
		return;
	if (feed->journal.has_log)
		feed->retention.age_to = seq;
	else
		move_ring(feed, 0, seq);
}

/* By the limits of bytes and age, and never beyond the oldest snapshot. */
static void retain(struct rt_feed *feed)
{
	const struct rt_feed_config *config = feed->config;
	struct rt_retention *keep = &feed->retention;
	struct rt_log *log = &feed->journal.log;
	int n;

	if (!config->retain_age &&
	    (!config->retain_bytes || log->n_bytes <= config->retain_bytes))
		return;
	if (log->oldest == log->segment_first)
		return; /* the newest segment stays anyway */
	look(feed);
	if (!can_rely(feed))
		return;
	n = rt_log_retain(log, config->retain_bytes, config->retain_age * NS_PER_S,
			  keep->oldest + 1);
	if (n > 0)
		rt_log(RT_LOG_DEBUG,
		       "feed '%s': %d segments of its log were over the limits; "
		       "the oldest event is %llu now",
		       config->name, n, (unsigned long long)rt_log_oldest(log));
}

int rt_retention_trim(struct rt_feed *feed, uint64_t seq, uint64_t *ret)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_journal *journal = &feed->journal;
	uint64_t asked = keep->trim_to; /* by somebody before */
	int r;

	if (!journal->has_log) {
		rt_fault_set(&journal->fault,
			     "feed '%s' has no log to trim (durability)",
			     feed->config->name);
		return -ENOENT;
	}
	*ret = rt_log_oldest(&journal->log);
	if (seq <= *ret)
		return 1;
	/* It may be of this round. */
	r = seq > rt_writer_head(feed->writer) ? rt_feed_flush(feed) : 0;
	if (r < 0)
		return r;
	r = rt_journal_begin_of(journal, seq, &seq);
	if (r < 0)
		return r;
	if (seq <= *ret)
		return 1;
	keep->trim_to = rt_max(asked, seq);
	r = let_go(feed);
	if (r < 0) {
		keep->trim_to = asked; /* what was refused is not done later */
		return r;
	}
	if (keep->trim_to)
		rt_retention_tick(feed);
	if (!feed->writer) { /* its flush failed */
		rt_fault_set(&journal->fault, "%s", feed->reason);
		return -EIO;
	}
	*ret = keep->trim_to ? keep->trim_to : rt_log_oldest(&journal->log);
	return !keep->trim_to;
}

/*
 * ---- Making snapshots --------------------------------------------------------
 */

static int submit(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	keep->job.urgent = rt_retention_is_urgent(feed);
	keep->begun_ns = rt_now_ns(CLOCK_MONOTONIC);
	return rt_snapshotter_submit(keep->snapshotter, &keep->job);
}

/* What was begun while there was time, and now there is none. */
static void hurry(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_snap_job *job = &keep->job;

	if (atomic_load(&job->stage) != RT_SNAP_IDLE && !job->urgent &&
	    (rt_retention_is_urgent(feed) ||
	     rt_now_ns(CLOCK_MONOTONIC) - keep->begun_ns >= PATIENCE_NS))
		rt_snapshotter_hurry(keep->snapshotter, job);
}

static int prepare(const struct rt_feed *feed, struct rt_snap_job *job)
{
	const struct rt_ring_config ring = rt_config_ring(feed->config);
	const struct rt_log *log = &feed->journal.log;
	uint64_t since = log->n_since - feed->retention.newest_since;

	job->log_path = strdup(log->what);
	job->build = (struct rt_build){
		.log_path = job->log_path,
		.out_dir_fd = fcntl(log->dir_fd, F_DUPFD_CLOEXEC, 3),
		.name = feed->config->name,
		.epoch = log->epoch,
		.limit = rt_writer_head(feed->writer),
		.budget = rt_min(rt_max(since / 2, BUDGET), BUDGET_MAX),
		.file_mode = ring.mode,
		.uid = ring.uid,
		.gid = ring.gid,
		.sync = log->config.mode != RT_LOG_MEMORY,
		.cancel = &job->cancel,
	};
	if (job->build.out_dir_fd < 0)
		return -errno;
	if (!job->log_path) {
		rt_close_fd(&job->build.out_dir_fd);
		return -ENOMEM;
	}
	return 0;
}

static void failed(struct rt_feed *feed, const char *text)
{
	struct rt_retention *keep = &feed->retention;

	(void)snprintf(keep->error, sizeof(keep->error), "%.*s",
		       (int)sizeof(keep->error) - 1, text);
	keep->n_failed++;
	keep->answered = keep->answers;
	keep->backoff_ns =
		rt_min(rt_max(2 * keep->backoff_ns, NS_PER_S), BACKOFF_MAX_NS);
	keep->retry_ns = rt_now_ns(CLOCK_MONOTONIC) + keep->backoff_ns;
	if (!keep->failing)
		rt_log(RT_LOG_ERROR,
		       "feed '%s': no snapshot: %s; its history is kept, and it is "
		       "tried again",
		       feed->config->name, keep->error);
	keep->failing = true;
}

/* What was prepared, with result @r, goes to the thread. */
static void begin_job(struct rt_feed *feed, int r)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_snap_job *job = &keep->job;

	keep->answers = keep->asked;
	keep->n_since = feed->journal.log.n_since;
	job->build.synced = keep->newest;
	job->verify = keep->asked > keep->answered;
	if (!r)
		r = submit(feed);
	if (r < 0) {
		rt_snap_job_clear(job);
		failed(feed, strerror(-r));
	}
}

/* Who has asked while it was made is answered by it as well. */
static void take_copy(struct rt_feed *feed)
{
	struct rt_snap_job *job = &feed->retention.job;
	int r;

	if (!rt_copying_take(feed, &job->copy, &job->copied_ns))
		return; /* what it has is on its way: with a look to come */
	r = prepare(feed, job);
	job->build.copy = &job->copy;
	job->build.budget = 0; /* few events came since: they are one step */
	begin_job(feed, r);
}

static void copy_on(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	int r = feed->in_txn ? 0 : rt_copying_step(feed);

	if (r > 0)
		take_copy(feed);
	if (r < 0) {
		keep->answers = keep->asked;
		failed(feed, strerror(-r));
	}
}

static void begin_copy(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	int r;

	/* All of the table has to be history if the log is not to say the rest. */
	if (keep->from_table && !feed->in_txn && rt_feed_flush(feed) < 0)
		return;
	r = keep->from_table ? rt_copying_at_once(feed) : rt_copying_begin(feed);
	if (!r)
		copy_on(feed);
	if (r == -ENOMEM) {
		keep->answers = keep->asked;
		failed(feed, strerror(-r));
	}
}

static void begin(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	uint64_t since = feed->journal.log.n_since - keep->newest_since;

	if (!rt_writer_head(feed->writer)) /* nothing to be known of it */
		keep->answered = keep->asked;
	else if (keep->from_table || rt_copying_pays(feed, since))
		begin_copy(feed); /* -EAGAIN: with the next look */
	else
		begin_job(feed, prepare(feed, &keep->job));
}

/* Has the thread read the newest snapshot, since something is to go because of it. */
static void begin_vet(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_snap_job *job = &keep->job;
	int r = prepare(feed, job);

	job->vet = true;
	job->build.limit = keep->newest;
	if (!r)
		r = submit(feed);
	if (r < 0)
		rt_snap_job_clear(job); /* again with the next tick */
}

static void take_vet(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_snap_job *job = &keep->job;

	if (job->result > 0)
		keep->verified = job->build.limit;
	else if (!job->result)
		say_removed(feed, 1, job->fault.text);
	look(feed);
	rt_snap_job_clear(job);
}

static void made(struct rt_feed *feed, const struct rt_snap_job *job)
{
	struct rt_retention *keep = &feed->retention;

	if (keep->failing)
		rt_log(RT_LOG_INFO, "feed '%s': its snapshots are made again",
		       feed->config->name);
	keep->failing = false;
	keep->from_table = false;
	keep->error[0] = 0;
	keep->retry_ns = keep->backoff_ns = 0;
	keep->answered = keep->answers;
	keep->newest_since = keep->n_since;
	keep->duration_ns = job->copied_ns + job->duration_ns;
	keep->peak_bytes = job->built.peak_bytes;
	keep->n_events = job->built.n_events;
	keep->n_made++;
	look(feed);
	if (keep->verified == keep->newest)
		keep->verified = UINT64_MAX; /* that may have been another file */
	rt_log(RT_LOG_DEBUG, "feed '%s': a snapshot of seq %llu, %llu keys",
	       feed->config->name, (unsigned long long)keep->newest,
	       (unsigned long long)keep->n_entries);
}

/* It was done before it could be canceled, for those who could read before. */
static void mind_access(const struct rt_feed *feed, const struct rt_build *build)
{
	const struct rt_log *log = &feed->journal.log;
	struct rt_fault fault;

	if (build->file_mode == log->config.file_mode &&
	    build->uid == log->config.uid && build->gid == log->config.gid)
		return;
	if (rt_log_give_files(log, &fault) < 0)
		rt_log(RT_LOG_ERROR, "feed '%s': %s", feed->config->name, fault.text);
}

/* What the thread has done. */
static void take(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	struct rt_snap_job *job = &keep->job;
	int r = job->result;

	if (r >= 0)
		mind_access(feed, &job->build);
	if (job->n_removed)
		say_removed(feed, job->n_removed, job->fault.text);
	if (r >= 0) {
		made(feed, job);
	} else if (!keep->from_table && (r == RT_E_NO_SNAPSHOT || r == RT_E_CORRUPT ||
					 r == RT_E_COMPACTED || r == RT_E_VERSION)) {
		rt_log(RT_LOG_WARNING, "%s; the next snapshot is made from memory",
		       job->fault.text);
		keep->from_table = true;
	} else if (r != -ECANCELED) {
		failed(feed, job->fault.text);
	}
	if (job->build.copy)
		rt_copying_give_back(feed, &job->copy);
	rt_snap_job_clear(job);
}

/*
 * ---- When --------------------------------------------------------------------
 */

void rt_retention_open(struct rt_feed *feed, struct rt_snapshotter *snapshotter)
{
	struct rt_retention *keep = &feed->retention;

	*keep = (struct rt_retention){
		.snapshotter = snapshotter,
		.opened_ns = rt_now_ns(CLOCK_REALTIME),
		.verified = UINT64_MAX,
		.look_at = UINT64_MAX,
	};
	if (feed->writer)
		rt_checking_open(feed, snapshotter);
	if (!has_log(feed))
		return;
	keep->segment = feed->journal.log.segment_first;
	look(feed);
	/* A crash may have come between the two. */
	move_ring(feed, feed->journal.log.floor.trimmed, feed->journal.log.floor.aged);
}

void rt_retention_close(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	if (!keep->snapshotter)
		return;
	rt_checking_close(feed);
	rt_copying_close(feed);
	rt_snapshotter_cancel(keep->snapshotter, &keep->job);
	rt_snap_job_clear(&keep->job);
	keep->snapshotter = NULL;
}

/* Of trims and ages: said once, since it is tried with each tick. */
static void let_go_or_say(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;
	int r = let_go(feed);

	if (r < 0 && !keep->floor_failing)
		rt_log(RT_LOG_ERROR,
		       "feed '%s': what is to go of its history stays: %s; it is tried "
		       "again",
		       feed->config->name, feed->journal.fault.text);
	else if (r >= 0 && keep->floor_failing)
		rt_log(RT_LOG_INFO, "feed '%s': its history can be let go again",
		       feed->config->name);
	keep->floor_failing = r < 0;
}

/* Who asks comes first, then what cannot go before its snapshot was read. */
static void begin_one(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	if (atomic_load(&keep->job.stage) != RT_SNAP_IDLE || keep->copying.stage)
		return;
	if (keep->asked > keep->answered)
		begin(feed);
	else if (keep->vet)
		begin_vet(feed);
	else if (rt_retention_is_due(feed) &&
		 rt_now_ns(CLOCK_MONOTONIC) >= keep->retry_ns)
		begin(feed);
}

/* As soon as so much was logged; what could not be begun then waits for ticks. */
static void set_look(struct rt_feed *feed)
{
	uint64_t at = rt_retention_due_at(feed);

	feed->retention.look_at = at > feed->journal.log.n_since ? at : UINT64_MAX;
}

void rt_retention_tick(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	if (!feed->writer)
		return;
	if (atomic_load(&keep->job.stage) == RT_SNAP_DONE)
		keep->job.vet ? take_vet(feed) : take(feed);
	apply_max_age(feed);
	if (!feed->journal.has_log || !keep->snapshotter)
		return;
	keep->segment = feed->journal.log.segment_first;
	keep->vet = false;
	let_go_or_say(feed);
	retain(feed);
	begin_one(feed);
	set_look(feed);
	hurry(feed);
	if (feed->writer) /* else a flush within has failed */
		rt_checking_tick(feed);
}

void rt_retention_look(struct rt_feed *feed)
{
	const struct rt_retention *keep = &feed->retention;

	if (RT_UNLIKELY(keep->copying.stage))
		copy_on(feed);
	if (RT_LIKELY(!keep->snapshotter ||
		      (keep->segment == feed->journal.log.segment_first &&
		       feed->journal.log.n_since < keep->look_at &&
		       atomic_load_explicit(&keep->job.stage, memory_order_relaxed) !=
			       RT_SNAP_DONE)))
		return;
	rt_retention_tick(feed);
}

void rt_retention_cancel(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	rt_checking_cancel(feed);
	rt_copying_end(feed);
	/* What is canceled is still due, and begun with the next look. */
	if (atomic_load(&keep->job.stage) == RT_SNAP_IDLE)
		return;
	atomic_store(&keep->job.cancel, true);
	rt_snapshotter_hurry(keep->snapshotter, &keep->job);
}

uint64_t rt_retention_ask(struct rt_feed *feed)
{
	struct rt_retention *keep = &feed->retention;

	keep->asked++;
	rt_retention_tick(feed);
	return keep->asked;
}
