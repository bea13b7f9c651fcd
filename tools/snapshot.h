/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - waiting for a snapshot that the daemon makes
 */
#ifndef RINGTAIL_TOOLS_SNAPSHOT_H
#define RINGTAIL_TOOLS_SNAPSHOT_H

#include "tools/conn.h"

struct rt_snapshot_status {
	bool running;
	long long asked, answered; /* numbers of requests */
	long long seq, keys, bytes, duration_us;
	char error[512]; /* of the newest attempt; empty: it worked */
};

/* RINGTAIL.SNAPSHOT, or with @look its STATUS.  0, or an exit code after a message. */
int rt_snapshot_ask(redisContext *conn, bool look, struct rt_snapshot_status *ret);

/* Waits until request @number is answered, with 0 until none is being made. */
int rt_snapshot_wait(redisContext *conn, long long number);

#endif
