/* SPDX-License-Identifier: MIT */
/*
 * When a snapshot is made without being asked for.
 *
 * Each takes a processor, and writes the whole state, whatever has changed: so they
 * should be rare.  A start reads the newest one and replays the log behind it: so that
 * should not be long.  Where the state is small, a start has time for much log; where
 * it is large, the snapshot is most of what a start has to do, and half as much log may
 * be beside it.
 */
#include "daemon/retention.h"

#include "daemon/feed.h"

#define NS_PER_S     UINT64_C(1000000000)
#define STATE_COUNTS 4u /* times as much as log, by the byte, for a start */
#define LEAST_PART   4u /* of snapshot_bytes and retain_bytes: one for so much */
#define MUCH_MORE    (UINT64_C(48) << 20) /* behind that: a start has to be quick */

/* Is one wanted so that the limits, or somebody, can let go of more? */
static bool is_in_the_way(const struct rt_feed *feed, uint64_t since, uint64_t age_ns)
{
	const struct rt_feed_config *config = feed->config;
	const struct rt_retention *keep = &feed->retention;
	const struct rt_log *log = &feed->journal.log;
	uint64_t below = rt_max(keep->trim_to, keep->age_to);

	if (below && (!keep->n_kept || keep->newest + 1 < below))
		return true;
	if (feed->journal.out_of_space && since)
		return true;
	if (log->oldest == log->segment_first && !config->max_age)
		return false; /* the newest segment stays anyway */
	if (config->retain_bytes && log->n_bytes > config->retain_bytes &&
	    since >= rt_max(config->retain_bytes / LEAST_PART, RT_LOG_SEGMENT_MIN))
		return true;
	if (config->retain_age && age_ns >= config->retain_age * NS_PER_S / LEAST_PART)
		return true;
	return config->max_age && age_ns >= config->max_age * NS_PER_S / 2;
}

/*
 * Bytes of log that a snapshot is made of, if nothing else asks for one: where a copy
 * can be made, so many that one pays; and so few that the two that are kept are no
 * reason to have more log than is wanted, which goes by whole segments.
 */
static uint64_t due_bytes(const struct rt_feed *feed)
{
	const struct rt_feed_config *config = feed->config;
	uint64_t most = config->snapshot_bytes, size = feed->retention.file_size;
	uint64_t segment_size = feed->journal.log.config.segment_size;
	uint64_t counts = rt_min(STATE_COUNTS * size, most);
	uint64_t due = rt_max(rt_max(most - counts, size / 2), most / LEAST_PART);

	if (rt_copying_is_small(feed))
		due = rt_max(due, rt_copying_worth(feed));
	if (config->retain_bytes)
		due = rt_min(due, rt_max(config->retain_bytes / 2, segment_size));
	return rt_min(due, most);
}

uint64_t rt_retention_due_at(const struct rt_feed *feed)
{
	return feed->retention.newest_since + due_bytes(feed);
}

bool rt_retention_is_due(const struct rt_feed *feed)
{
	const struct rt_feed_config *config = feed->config;
	const struct rt_retention *keep = &feed->retention;
	uint64_t since = feed->journal.log.n_since - keep->newest_since;
	uint64_t now = rt_now_ns(CLOCK_REALTIME);
	uint64_t begun = keep->n_kept ? keep->created_ns : keep->opened_ns;
	uint64_t age_ns = now > begun ? now - begun : 0;

	if (keep->asked > keep->answered)
		return true;
	if (keep->n_kept && keep->newest == rt_writer_head(feed->writer))
		return false;
	if (since >= due_bytes(feed))
		return true;
	if (config->snapshot_age && age_ns >= config->snapshot_age * NS_PER_S)
		return true;
	return is_in_the_way(feed, since, age_ns);
}

bool rt_retention_is_urgent(const struct rt_feed *feed)
{
	const struct rt_retention *keep = &feed->retention;
	const struct rt_journal *journal = &feed->journal;
	uint64_t most = feed->config->retain_bytes, due = due_bytes(feed);

	return keep->asked > keep->answered || keep->trim_to || keep->age_to ||
	       journal->out_of_space ||
	       (most && journal->log.n_bytes > most + most / LEAST_PART) ||
	       journal->log.n_since - keep->newest_since >=
		       due + rt_min(2 * due, MUCH_MORE);
}
