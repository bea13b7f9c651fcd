/* SPDX-License-Identifier: MIT */
/*
 * slice.h - how soon a thread has a processor when it wakes
 *
 * With more threads that run than there are processors, one that wakes has to wait. The
 * scheduler of Linux 6.6 (EEVDF) takes first whoever's deadline is first, which is the
 * length of a slice away; since 6.12 a thread may ask for a length of its own.  So one
 * that runs shortly and often, and for which others wait, asks for a short one.  It
 * gets no more of a processor than before, only sooner, and nobody has to allow it.
 */
#ifndef RINGTAIL_DAEMON_SLICE_H
#define RINGTAIL_DAEMON_SLICE_H

#include "shm/base.h"

#define RT_SLICE_USUAL 0 /* whatever the scheduler gives those that do not ask */

/*
 * The calling thread's, and of those that it begins afterwards: 100,000 to 100,000,000
 * ns. Its nice value stays; without effect for a policy other than SCHED_OTHER, or
 * where the kernel does not know of it.
 */
void rt_slice_set(uint64_t ns);

/* What the kernel has for the thread @tid; 0 where it does not know of such. */
uint64_t rt_slice_get(pid_t tid);

#endif
