/* SPDX-License-Identifier: MIT */
/*
 * renew_parts.h - what the two sides of renew.h share: renew.c is the loop's, and
 * renew_work.c the thread's
 */
#ifndef RINGTAIL_DAEMON_RENEW_PARTS_H
#define RINGTAIL_DAEMON_RENEW_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/renew.h"
#include "store/renew.h"

enum rt_renew_kind {
	RT_RENEW_RESET,
	RT_RENEW_RESTORE,
	RT_RENEW_OPEN,
};

struct rt_renewal {
	/* the loop's */
	struct rt_session *asker; /* NULL: gone */
	rt_renewed *tell;
	pthread_t thread;
	uint64_t begun_ns;
	uint64_t asked;     /* requests for snapshots: those who wait go on */
	uint64_t n_settled; /* batches so far: those who wait count on it */
	/* of both */
	_Atomic bool cancel;
	_Atomic bool done;
	/* the thread's until it is done, then the loop's */
	enum rt_renew_kind kind;
	struct rt_server *server;
	struct rt_feed *feed; /* its retention only */
	struct rt_feed own;   /* the feed, and when it is done what became of it */
	char *path;           /* of the file to restore from; else NULL */
	char log_path[PATH_MAX];
	struct rt_renew renew;
	int lock_fd;      /* of a log that is not open; -1: none */
	uint64_t time_ns; /* of the newest event so far */
	uint64_t beaten_ns;
	struct rt_fault fault;
	int result;    /* negative: the history is the one before */
	bool reopened; /* `own` was opened again, with `opened` as outcome, ... */
	bool rebuilt;  /* ... and so was its table */
	int opened;
};

/* All that the thread does, but for saying that it is done. */
void rt_renewal_work(struct rt_renewal *renewal);

#endif
