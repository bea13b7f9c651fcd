/* SPDX-License-Identifier: MIT */
/*
 * rebuild.h - the keys of a feed from a snapshot and the events since, or from events
 *
 * Most of what it costs is waiting for memory, since each event changes an entry that
 * is somewhere else.  So events queue up here, and the memory that all of them will
 * need is asked for at once.
 */
#ifndef RINGTAIL_DAEMON_REBUILD_H
#define RINGTAIL_DAEMON_REBUILD_H

#include "daemon/feed.h"
#include "store/snapshot.h"

#define RT_REBUILD_AHEAD 32u  /* events that wait */
#define RT_REBUILD_SMALL 232u /* key and value of one that may wait */

struct rt_rebuild {
	struct rt_feed *feed;
	size_t n; /* in the queue */
	uint64_t hashes[RT_REBUILD_AHEAD];
	struct {
		struct rt_item item;
		uint8_t bytes[RT_REBUILD_SMALL];
	} queue[RT_REBUILD_AHEAD];
};

/*
 * Forgets all so far: the state as of @seq follows, @n_entries of it; with 0 and 0
 * events only.  These two are a struct rt_log_base.
 */
int rt_rebuild_begin(void *rebuild, uint64_t seq, uint64_t n_entries);
int rt_rebuild_state(void *rebuild, const struct rt_state *state);

/* One event, oldest first; @rebuild is a struct rt_rebuild.  0 or -ENOMEM. */
int rt_rebuild_event(void *rebuild, const struct rt_item *item);

/* Those that still wait. */
int rt_rebuild_end(struct rt_rebuild *rebuild);

#endif
