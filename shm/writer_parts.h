/* SPDX-License-Identifier: MIT */
/*
 * writer_parts.h - a writer's coming, moving and leaving, for the files of it only
 *
 *	writer_open.c     folder, lock, the ring that is there; open and close
 *	writer_recover.c  what a dead writer left in its ring
 *	writer_move.c     rings that are made, and the move from one to another
 *	writer_bell.c     the files of the bell
 *	writer_readers.c  the folder for those who let themselves be seen
 */
#ifndef RINGTAIL_SHM_WRITER_PARTS_H
#define RINGTAIL_SHM_WRITER_PARTS_H

#include "shm/ring.h"

#define RT_READERS_NAME  "readers"
#define RT_RING_NAME     "ring"
#define RT_RING_TMP_NAME ".ring.new" /* that no reader looks for */

/* Sets "feed: cannot WHAT: reason" and returns @error. */
int rt_writer_fail(struct rt_fault *fault, const char *feed, const char *what,
		   int error);

/* Sets "its ring is damaged: WHAT at SEQ" and returns RT_E_CORRUPT. */
int rt_writer_damaged(const struct rt_writer *writer, struct rt_fault *fault,
		      const char *what, uint64_t seq);

/* Finds the end of the ring that is mapped, and makes it good. */
int rt_writer_recover(struct rt_writer *writer, struct rt_fault *fault);

/* The writer writes to @segment from now on, and owns it. */
void rt_writer_adopt(struct rt_writer *writer, const struct rt_segment *segment);

/* A ring where there is none, or none that can be gone on with. */
int rt_writer_begin_ring(struct rt_writer *writer, struct rt_fault *fault);

/* What is there makes no sense: its readers are sent to what takes its name. */
int rt_writer_begin_anew(struct rt_writer *writer, struct rt_fault *fault);

/*
 * From the ring that is mapped, and recovered, to a new one as the configuration wants
 * it.  Negative: the old one is let go of, and as it was for everybody else.
 */
int rt_writer_replace(struct rt_writer *writer, bool new_epoch, struct rt_fault *fault);

/* Signs of life in the ring: lock, keeper, heartbeat, state. */
int rt_writer_start(struct rt_writer *writer, struct rt_fault *fault);

/* The bell that is there, or a new one; none for RT_WAKE_ALWAYS. */
int rt_writer_open_bell(struct rt_writer *writer, struct rt_fault *fault);

/* A new bell unless the one in use is as it should be: 1; 0 nothing to do. */
int rt_writer_renew_bell(struct rt_writer *writer, struct rt_fault *fault);

/* The folder for those who let themselves be seen, for those who may read the ring. */
void rt_writer_open_readers(struct rt_writer *writer);

/* Everybody looks up and, finding nothing, announces itself afresh. */
void rt_writer_wake_everybody(struct rt_hot *hot);

#endif
