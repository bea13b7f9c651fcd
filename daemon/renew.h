/* SPDX-License-Identifier: MIT */
/*
 * renew.h - a feed begins a new history, or is opened, while the daemon runs
 *
 *	reset	 the state stays; it is what the new history begins with
 *	restore	 the state is that of a file, whatever the feed had
 *	open	 one that could not be opened before; its history goes on
 *
 * With the first two seq goes on, in a new epoch, so that (epoch, seq) names one event
 * for ever; markers of the past become markers of another epoch.  The log is swapped as
 * a whole (store/renew.h), and the ring is left for one of the new epoch, to which
 * readers move by themselves.
 *
 * A thread does it, one for each such feed, and has the feed meanwhile:
 *
 *	loop	flush, hand over -->               ... other feeds ...     --> take back
 *	thread	                    prepare, let go, swap, open from its folder
 *
 * To the loop it is a feed that is not served, with `renewal` set.  Sessions that ask
 * something of it are held, as is the one that asked for this; all go on when it is
 * done.  Of one that is only opened they are told why it is not served.  Until the
 * thread lets go of what there was it can be canceled, or fail, and nothing was
 * changed; opening can be canceled at any time.
 */
#ifndef RINGTAIL_DAEMON_RENEW_H
#define RINGTAIL_DAEMON_RENEW_H

#include "daemon/server.h"

struct rt_renewal;

/* What is said to who asked, unless it is gone: @fault NULL, it was done. */
typedef void rt_renewed(struct rt_session *session, const struct rt_feed *feed,
			const struct rt_fault *fault);

/*
 * Begins it, and holds @asker until @tell is called.  @path: NULL for a reset, which is
 * for a feed that is served; else a snapshot or a backup, of any feed, in which keys
 * that were bound to connections are over.  Not for a feed that is being renewed.
 * Negative, with a text: it was not begun, and nothing was changed.
 */
int rt_renew_begin(struct rt_session *asker, struct rt_feed *feed, const char *path,
		   rt_renewed *tell, struct rt_fault *fault);

/* Opens one that is not; rt_feeds_adopt() has what comes of it.  Negative: no thread.
 */
int rt_renew_open(struct rt_server *server, struct rt_feed *feed);

/* The asker is gone. */
void rt_renewal_forget(struct rt_renewal *renewal);

/* Takes back what threads are done with; their number.  Held sessions may go on then.
 */
unsigned rt_renewals_take(struct rt_server *server);

/* Those that still can be given up are; does not wait. */
void rt_renewals_cancel(struct rt_server *server);
/* The same, and takes all back; waits for the others. */
void rt_renewals_end(struct rt_server *server);

/* The writer that the calling thread has because of this, or NULL; for a signal. */
struct rt_writer *rt_renewal_writer(void);

#endif
