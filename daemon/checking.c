/* SPDX-License-Identifier: MIT */
#include "daemon/checking.h"

#include <errno.h>

#include "daemon/feed.h"
#include "daemon/log.h"

#define EVERY_NS UINT64_C(1000000000)

/* For readers of the ring, who ask no daemon. */
static void show(struct rt_feed *feed)
{
	rt_store64(&feed->writer->hot->log_damage, feed->retention.checking.n_damaged);
}

void rt_checking_open(struct rt_feed *feed, struct rt_snapshotter *snapshotter)
{
	feed->retention.checking = (struct rt_checking){
		.snapshotter = snapshotter,
		.rest = feed->journal.log.unchecked,
	};
	show(feed);
}

static void begin(struct rt_feed *feed)
{
	struct rt_checking *checking = &feed->retention.checking;
	struct rt_snap_job *job = &checking->job;
	int r;

	job->check = true;
	job->rest = checking->rest;
	job->build.out_dir_fd = -1;
	job->log_path = strdup(feed->journal.log.what);
	r = job->log_path ? rt_snapshotter_submit(checking->snapshotter, job) : -ENOMEM;
	if (r < 0)
		rt_snap_job_clear(job); /* again with a later tick */
}

static void found(struct rt_feed *feed, const struct rt_snap_job *job)
{
	struct rt_checking *checking = &feed->retention.checking;

	checking->n_damaged++;
	checking->whole_from = rt_max(checking->whole_from, job->rest.whole_from);
	show(feed);
	rt_log(RT_LOG_ERROR,
	       "feed '%s': %s; its state and what is newer are whole: restore the "
	       "file, or let go of it with 'ringtail trim %s %llu'",
	       feed->config->name, job->fault.text, feed->config->name,
	       (unsigned long long)job->rest.whole_from);
}

static void take(struct rt_feed *feed)
{
	struct rt_checking *checking = &feed->retention.checking;
	struct rt_snap_job *job = &checking->job;

	/* What came to no result says nothing, and is done again. */
	if (job->result < 0 && job->rest.below != checking->rest.below)
		found(feed, job);
	checking->rest = job->rest;
	if (!checking->rest.below)
		rt_log(RT_LOG_INFO, "feed '%s': its old history was read: %llu damaged",
		       feed->config->name, (unsigned long long)checking->n_damaged);
	rt_snap_job_clear(job);
}

void rt_checking_tick(struct rt_feed *feed)
{
	struct rt_checking *checking = &feed->retention.checking;
	uint32_t stage = atomic_load(&checking->job.stage);
	uint64_t now;

	if (RT_LIKELY(!checking->rest.below && !checking->n_damaged))
		return;
	if (checking->n_damaged &&
	    rt_log_oldest(&feed->journal.log) >= checking->whole_from) {
		checking->n_damaged = 0; /* it went */
		show(feed);
	}
	if (stage == RT_SNAP_DONE)
		take(feed);
	now = rt_now_ns(CLOCK_MONOTONIC);
	if (!checking->rest.below || !checking->snapshotter ||
	    now < checking->next_ns ||
	    atomic_load(&checking->job.stage) != RT_SNAP_IDLE)
		return;
	checking->next_ns = now + EVERY_NS;
	begin(feed);
}

void rt_checking_cancel(struct rt_feed *feed)
{
	struct rt_checking *checking = &feed->retention.checking;

	if (atomic_load(&checking->job.stage) == RT_SNAP_IDLE)
		return;
	atomic_store(&checking->job.cancel, true);
	rt_snapshotter_hurry(checking->snapshotter, &checking->job);
}

void rt_checking_close(struct rt_feed *feed)
{
	struct rt_checking *checking = &feed->retention.checking;

	if (!checking->snapshotter)
		return;
	rt_snapshotter_cancel(checking->snapshotter, &checking->job);
	rt_snap_job_clear(&checking->job);
	checking->snapshotter = NULL;
}
