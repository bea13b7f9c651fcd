/* SPDX-License-Identifier: MIT */
/*
 * resync.h - the state of a feed first, from a snapshot, and then its changes
 *
 *	              WANTED ----> CHOSEN ----> ENTRIES ----> none: reading changes
 *	               ^   ^   a snapshot,   RESET     SNAPSHOT_END
 *	  open, lapped,|   |   s + 1 held    told         |
 *	  compacted,   |   '------------------------------'
 *	  new history                damaged, or s + 1 is not held any more
 *
 * Until the end of a snapshot position, marker and accounts stay what they were.
 */
#ifndef RINGTAIL_CLIENT_RESYNC_H
#define RINGTAIL_CLIENT_RESYNC_H

#include "client/filter.h"
#include "store/build.h"

enum rt_resync_phase {
	RT_RESYNC_NONE = 0,
	RT_RESYNC_WANTED,
	RT_RESYNC_CHOSEN,
	RT_RESYNC_ENTRIES,
};

struct rt_resync {
	enum rt_resync_phase phase;
	uint32_t cause;   /* enum ringtail_cause; 0: the start */
	bool fresh;       /* nothing was read before: the snapshot is where it starts */
	bool foreign;     /* what was read before is of another history */
	bool answered;    /* the reader's first call had been */
	bool told;        /* RINGTAIL_RESET was: there is no way back */
	bool over;        /* all entries have been given */
	bool skips;       /* goes on at `bound`, which is in another block */
	uint64_t seq;     /* the state is as of this event ... */
	uint64_t time_ns; /* ... which had this time */
	struct rt_snapshot file;
	struct rt_delta delta; /* made of the whole log, when there is no file */
	struct rt_bytes bound; /* nothing below it matches; at NULL: not known */
	uint64_t give_up_ns;   /* a new history has to be there; 0: none is awaited */
	/* Snapshots of an epoch from low to high were found damaged. */
	bool has_bad;
	uint64_t bad_epoch, bad_low, bad_high;
	struct rt_fault damage;
};

#endif
