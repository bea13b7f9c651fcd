/* SPDX-License-Identifier: MIT */
/*
 * renew.h - a feed begins a new history while it is served
 *
 *	reset	 the state stays; it is what the new history begins with
 *	restore	 the state is that of a file, whatever the feed had
 *
 * seq goes on, in a new epoch, so that (epoch, seq) names one event for ever; markers
 * of the past become markers of another epoch.  The log is swapped as a whole
 * (store/renew.h), and the ring is left for one of the new epoch, to which readers move
 * by themselves.  The daemon does nothing else meanwhile.
 */
#ifndef RINGTAIL_DAEMON_RENEW_H
#define RINGTAIL_DAEMON_RENEW_H

#include "daemon/server.h"

/*
 * Negative, with a text: nothing was changed; unless the feed is not served after that,
 * as its reason says.
 */
int rt_feed_reset(struct rt_server *server, struct rt_feed *feed,
		  struct rt_fault *fault);

/*
 * @path: a snapshot or a backup, of any feed.  Keys in it that were bound to
 * connections are over.  Works for a feed that is not served, too.
 */
int rt_feed_restore(struct rt_server *server, struct rt_feed *feed, const char *path,
		    struct rt_fault *fault);

#endif
