/* SPDX-License-Identifier: MIT */
/*
 * access.h - who a client is, and what it may do with a feed
 *
 * The kernel says who is at the other end of a socket; nothing that a client sends
 * changes that.  To publish: root, the daemon's own user, and who is named by
 * publish_users or publish_groups.  To read through the socket: those, and whoever
 * may open the ring file, so that the socket is no way around its mode.
 */
#ifndef RINGTAIL_DAEMON_ACCESS_H
#define RINGTAIL_DAEMON_ACCESS_H

#include <sys/types.h>

#include "daemon/config.h"

#define RT_PEER_GROUPS 64u /* supplementary groups that are looked at */

struct rt_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* to show only */
	unsigned n_groups;
	gid_t groups[RT_PEER_GROUPS];
};

/* 0 or a negative errno. */
int rt_peer_of(int fd, struct rt_peer *ret);

/* Root, or the daemon's own user: may do what concerns a feed as such. */
bool rt_may_manage(const struct rt_peer *peer);

bool rt_may_publish(const struct rt_peer *peer, const struct rt_feed_config *feed);
/* @uid, @gid, @mode: of the ring file. */
bool rt_may_read(const struct rt_peer *peer, uid_t uid, gid_t gid, mode_t mode);

/* "user 'bob' (uid 1001)" */
const char *rt_peer_text(const struct rt_peer *peer, char *text, size_t cap);

#endif
