/* SPDX-License-Identifier: MIT */
/*
 * journal_parts.h - what journal.c (changes), journal_flush.c (their way into log and
 * ring) and journal_open.c (opening) share
 */
#ifndef RINGTAIL_DAEMON_JOURNAL_PARTS_H
#define RINGTAIL_DAEMON_JOURNAL_PARTS_H

#include "daemon/journal.h"

#define RT_BATCH_FULL (UINT64_C(1) << 20) /* bytes; then it goes in mid-round */
/* Bytes that are worth waiting for, if the disk is fast. */
#define RT_BATCH_SMALL (UINT64_C(16) << 10)
#define RT_FAST_NS     UINT64_C(2000000)
#define RT_BATCH_MAX \
	(UINT64_C(16) << 20) /* while it cannot; then all waits for that \
			      */

/*
 * Lets the transactions of a batch out into the ring, from seq @from on.  One that is
 * too big for it, which only the past can hold, ends that: RT_E_TOO_BIG, and
 * too_big_for_ring is set.
 */
int rt_journal_play(struct rt_journal *journal, const uint8_t *data, uint64_t from);

/* The one that was offered as number @i of those that are in flight. */
RT_INLINE struct rt_flight *rt_journal_flight(struct rt_journal *journal, unsigned i)
{
	return &journal->flights[(journal->first_flight + i) % RT_N(journal->flights)];
}

/* Room for what gathers, as large as it may become: see rt_journal_make_room(). */
uint64_t rt_journal_room_left(const struct rt_journal *journal);

/*
 * Room for a batch of @need bytes more than there are; what gathers may leave for it,
 * but not a part of a transaction that is open.  Negative as rt_journal_room().
 */
int rt_journal_make_room(struct rt_journal *journal, size_t need);

/* While batches are in flight, before a change: what gathers goes if the disk is idle.
 */
int rt_journal_pass_on(struct rt_journal *journal);

/* What readers are shown of the log. */
void rt_journal_show(const struct rt_journal *journal);

/* Has it a log that is ever synced? */
bool rt_journal_is_synced(const struct rt_journal *journal);

#endif
