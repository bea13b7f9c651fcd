/* SPDX-License-Identifier: MIT */
/*
 * release.h - when replies leave
 *
 *	commands  -->  reply.buf  -- not settled -->  parked  -- settled -->  socket
 *	                   |                                                    ^
 *	                   +--------------------- settled ----------------------+
 *
 * A reply leaves when all that its command changed or saw is in history, and replies
 * leave in order.  One batch of a feed is in flight and one gathers, so two stages are
 * enough: what is parked waits for a round that is over and is never added to, so it
 * does leave, however fast commands come.
 */
#ifndef RINGTAIL_DAEMON_RELEASE_H
#define RINGTAIL_DAEMON_RELEASE_H

#include "daemon/session.h"

/* A command of this round changes or sees @feed. */
RT_INLINE void rt_release_note_of(struct rt_session *session, struct rt_feed *feed)
{
	struct rt_gate *gate = &session->reply_gate;

	gate->many |= gate->feed && gate->feed != feed;
	gate->feed = feed;
	gate->round = session->server->round;
}

/* Likewise the feed that is selected. */
RT_INLINE void rt_release_note(struct rt_session *session)
{
	rt_release_note_of(session, session->feed);
}

/* Sends what may leave; parks what may not; ends what is to end. */
void rt_release(struct rt_session *session);

/*
 * Before more input: replies that wait for a disk, and not for the client to take them,
 * must not become so many that it is closed for them.  Waits for the disk then.
 */
void rt_release_relieve(struct rt_session *session);

/*
 * Before a feed gets another history: everybody is told what came of the one so far,
 * as far as that is known.
 */
void rt_release_all(struct rt_server *server);

/* No longer among those that wait. */
void rt_release_forget(struct rt_session *session);

#endif
