/* SPDX-License-Identifier: MIT */
/*
 * snapshotter.h - the thread that makes snapshots, one after the other, for all feeds,
 *                 and reads what should be whole
 *
 *	idle  --submit-->  waiting  --thread-->  running  -->  done  --take-->  idle
 *
 * It reads files and writes files, and shares nothing with the event loop but the jobs,
 * each of which belongs to the thread from submit until it is done.  The loop looks at
 * a job's stage when it has something else to do anyway; nobody wakes it.
 *
 * While it runs a job the thread is one of SCHED_IDLE: the scheduler then takes its
 * processor for an idle one when it looks for a place for a thread that wakes, as the
 * loop does.  With all processors busy it gets next to nothing, so who waits for a job
 * hurries it: the thread is an ordinary one again, with a lower priority.  Where the
 * kernel would refuse that (it asks for RLIMIT_NICE, or CAP_SYS_NICE) it always is.
 */
#ifndef RINGTAIL_DAEMON_SNAPSHOTTER_H
#define RINGTAIL_DAEMON_SNAPSHOTTER_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/build.h"
#include "store/log_check.h"

enum rt_snap_stage {
	RT_SNAP_IDLE = 0,
	RT_SNAP_WAITING = 1,
	RT_SNAP_RUNNING = 2,
	RT_SNAP_DONE = 3,
};

struct rt_snap_job {
	struct rt_snap_job *next;
	_Atomic uint32_t stage; /* enum rt_snap_stage */
	_Atomic bool cancel;
	bool urgent; /* somebody waits; when it was submitted rt_snapshotter_hurry() */
	struct rt_build build;
	char *log_path; /* build.log_path; of the job, as the descriptor is */
	bool verify;    /* those that are there, first; what is damaged is removed */
	bool vet;       /* only that of build.limit, and nothing is made */
	bool check;     /* only what `rest` says of the log, a part of it */
	struct rt_log_check rest;
	struct rt_copy copy; /* build.copy, or not used */
	uint64_t copied_ns;  /* how long that took */
	/* what came of it */
	int result;
	struct rt_built built;
	struct rt_fault fault;
	uint64_t duration_ns;
	unsigned n_removed; /* damaged ones */
};

struct rt_snapshotter {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a job came, or is done, or it is to end */
	struct rt_snap_job *first, *last;
	unsigned n_copying; /* feeds; the loop's, see copying.h */
	bool ending;
	pid_t tid;            /* 0: not known yet */
	bool may_idle;        /* it may be of SCHED_IDLE, and come back from that */
	_Atomic bool hurried; /* what runs, or something behind it, is urgent */
};

void rt_snapshotter_init(struct rt_snapshotter *snapshotter);
/* Whatever was submitted has to be done, or taken back, before. */
void rt_snapshotter_fini(struct rt_snapshotter *snapshotter);

/* The thread starts with the first one.  0, or a negative errno. */
int rt_snapshotter_submit(struct rt_snapshotter *snapshotter, struct rt_snap_job *job);

/* The job, and what runs before it, gets its share of a processor from now on. */
void rt_snapshotter_hurry(struct rt_snapshotter *snapshotter, struct rt_snap_job *job);

/* Cancels; waits if it runs, and not for others. The job is done or idle then. */
void rt_snapshotter_cancel(struct rt_snapshotter *snapshotter, struct rt_snap_job *job);

/* Frees what the job has; it is idle again. */
void rt_snap_job_clear(struct rt_snap_job *job);

/*
 * Reads all of the snapshot of @seq, since its blocks are not looked at when it is
 * opened: 1 it is what was written; 0 it was not, with the text in @fault, and is
 * removed, since it is as good as none.  Negative: that is not known.  @cancel: NULL
 * for none.
 */
int rt_snapshot_vet(int dir_fd, const char *log_path, uint64_t seq,
		    _Atomic bool *cancel, struct rt_fault *fault);

/* What the thread does; in the caller's thread. */
void rt_snap_job_run(struct rt_snap_job *job);

#endif
