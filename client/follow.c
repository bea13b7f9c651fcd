/* SPDX-License-Identifier: MIT */
/*
 * When nothing is there: is the feed closed, its writer dead, or its ring another file
 * by now, to which the reader moves?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sys/stat.h>

#include "client/reader.h"

#define LOOK_NS UINT64_C(100000000) /* between two looks at the path */

/* Takes over @segment, the feed's ring from now on; everything in the old was read. */
static void move_to(struct ringtail *r, const struct rt_segment *segment)
{
	rt_pollfd_disarm(r->pollfd);
	rt_segment_drop(&r->segment);
	r->segment = *segment;
	r->sleeper.hot = segment->hot;
	r->sleeper.always = segment->geo.wake_mode == RT_WAKE_ALWAYS;
	r->relayed_life = 0;
	r->moves++;
}

/*
 * Another epoch, but what this reader has read belongs to it as well?  0 it does;
 * RINGTAIL_E_EPOCH; what hinders to say.
 */
static int continues(struct ringtail *r, const struct rt_segment *segment)
{
	if (segment->geo.epoch == r->segment.geo.epoch)
		return 0;
	return rt_reader_compare_history(r, r->segment.geo.epoch, r->position,
					 segment->geo.epoch);
}

/* Want of memory or descriptors passes; the position stays, the next call tries. */
static int cannot_follow(struct ringtail *r, int e)
{
	return rt_passes(e) ? e : rt_reader_stop(r, e);
}

static int follow_to(struct ringtail *r, int fd, bool retired)
{
	AUTO(rt_segment_drop) struct rt_segment segment = RT_SEGMENT_NONE;
	int e = rt_segment_map(fd, false, r->path, &r->fault, &segment);

	/* Somebody has put a thing there that is no ring: the next writer makes one. */
	if (e == RINGTAIL_E_CORRUPT && !retired)
		return RINGTAIL_NOTHING;
	if (e < 0)
		return cannot_follow(r, e);
	if (segment.geo.instance == r->segment.geo.instance)
		return RINGTAIL_NOTHING;
	e = continues(r, &segment);
	if (e < 0 && e != RINGTAIL_E_EPOCH)
		return cannot_follow(r, e);
	if (e < 0) {
		if (r->on_gap == RINGTAIL_ON_GAP_RESYNC)
			return rt_reader_resync(r, RINGTAIL_CAUSE_EPOCH);
		rt_fault_set(&r->fault,
			     "feed '%s': a new history was begun (epoch %016" PRIx64
			     ", was %016" PRIx64 "); what came after seq %" PRIu64
			     " is unknown",
			     segment.geo.name, segment.geo.epoch, r->segment.geo.epoch,
			     r->position);
		r->gap = (struct ringtail_gap_info){ .first = r->position + 1,
						     .cause = RINGTAIL_CAUSE_EPOCH };
		return rt_reader_stop(r, RINGTAIL_E_EPOCH);
	}
	move_to(r, &segment);
	r->marker_epoch = segment.geo.epoch;
	segment = RT_SEGMENT_NONE;
	/* A ring that began above us has nothing in our slot that would say so. */
	if (!rt_ring_intact(&r->segment, r->next)) {
		int outcome = rt_reader_lapped(r);

		if (outcome != RINGTAIL_NOTHING || r->resync.phase)
			return outcome;
	}
	/* Maybe there is something at once. */
	return rt_reader_fetch(r);
}

/* Is what was opened the ring that we have?  It is for a moment while a feed moves. */
static bool is_own(const struct ringtail *r, int fd)
{
	struct stat own, there;

	return fstat(r->segment.fd, &own) == 0 && fstat(fd, &there) == 0 &&
	       own.st_ino == there.st_ino && own.st_dev == there.st_dev;
}

int rt_reader_renew(struct ringtail *r)
{
	AUTO(rt_segment_drop) struct rt_segment segment = RT_SEGMENT_NONE;
	AUTO_CLOSE int fd =
		r->path ? open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
			: -1;
	int e;

	if (fd < 0 && r->path && errno != ENOENT) {
		e = -errno;
		rt_fault_set(&r->fault, "%s: %s", r->path, strerror(-e));
		return e;
	}
	if (fd < 0 || is_own(r, fd))
		return 0;
	e = rt_segment_map(fd, false, r->path, &r->fault, &segment);
	if (e == RINGTAIL_E_CORRUPT ||
	    (!e && segment.geo.instance == r->segment.geo.instance))
		return 0;
	if (e < 0)
		return e;
	move_to(r, &segment);
	segment = RT_SEGMENT_NONE;
	return 0;
}

/* The feed has another ring file; 0 when it is not there yet. */
static int follow(struct ringtail *r, bool retired)
{
	if (!r->path) {
		rt_fault_set(
			&r->fault,
			"feed '%s': moved to another ring file, and this reader was "
			"given a descriptor, not a path",
			r->segment.geo.name);
		return rt_reader_stop(r, RINGTAIL_E_RETIRED);
	}

	AUTO_CLOSE int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0)
		return is_own(r, fd) ? RINGTAIL_NOTHING : follow_to(r, fd, retired);
	if (errno == ENOENT)
		return RINGTAIL_NOTHING;

	int e = -errno;

	rt_fault_set(&r->fault, "%s: %s", r->path, strerror(-e));
	return cannot_follow(r, e);
}

int rt_reader_check_path(struct ringtail *r)
{
	struct stat own, there;

	if (!r->path || fstat(r->segment.fd, &own) < 0 || stat(r->path, &there) < 0)
		return RINGTAIL_NOTHING;
	if (own.st_ino == there.st_ino && own.st_dev == there.st_dev)
		return RINGTAIL_NOTHING;
	return follow(r, false);
}

/*
 * A dead writer's ring is told nothing more, not even that another one took its place.
 * So who looks at it without sleeping looks at the path too, now and then.
 */
static int look_elsewhere(struct ringtail *r)
{
	uint64_t now = rt_now_ns(CLOCK_MONOTONIC_COARSE);

	if (now - r->looked_ns < LOOK_NS)
		return RINGTAIL_NOTHING;
	r->looked_ns = now;
	return rt_reader_check_path(r);
}

/* Passes the writer's death on: the kernel wakes only one of those who sleep. */
static int notice_death(struct ringtail *r)
{
	uint32_t life = rt_load32(&r->segment.hot->life);
	uint64_t moves = r->moves;
	int outcome;

	if (!(life & FUTEX_OWNER_DIED)) {
		r->relayed_life = 0;
		return RINGTAIL_NOTHING;
	}
	if (r->relayed_life == life)
		return look_elsewhere(r);
	rt_wake_life(r->segment.hot);
	outcome = rt_reader_check_path(r);
	if (r->moves != moves)
		return outcome; /* it has a writer elsewhere */
	r->relayed_life = life;
	r->death_due = true;
	return outcome;
}

int rt_reader_idle(struct ringtail *r)
{
	uint32_t state = rt_load32(&r->segment.hot->state);
	int outcome;

	if (RT_UNLIKELY(rt_load32(&r->cancel)))
		return rt_reader_canceled(r);
	if (RT_UNLIKELY(r->resync.phase))
		return RINGTAIL_NOTHING; /* there is no ring to go by */
	if (RT_LIKELY(state == RT_STATE_LIVE || state == RT_STATE_NEW))
		return notice_death(r);

	/* What was committed before the state changed is visible now at the latest. */
	outcome = rt_reader_fetch(r);
	if (outcome != RINGTAIL_NOTHING || r->resync.phase)
		return outcome;
	if (!rt_ring_makes_sense(&r->segment))
		return rt_reader_senseless(r);
	if (state == RT_STATE_RETIRED)
		return follow(r, true);
	if (rt_load32(&r->segment.hot->state) != state)
		return RINGTAIL_NOTHING;
	rt_fault_set(&r->fault, "feed '%s': closed by its writer at seq %" PRIu64,
		     r->segment.geo.name, r->position);
	return rt_reader_stop(r, RINGTAIL_E_CLOSED);
}
