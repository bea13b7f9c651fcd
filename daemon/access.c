/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

#include <errno.h>
#include <pwd.h>
#include <sys/socket.h>

int rt_peer_of(int fd, struct rt_peer *ret)
{
	struct ucred cred;
	struct rt_peer peer;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	peer = (struct rt_peer){ .uid = cred.uid, .gid = cred.gid, .pid = cred.pid };
	len = sizeof(peer.groups);
	/* More groups than there is room for: none of them counts. */
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer.groups, &len))
		peer.n_groups = len / (socklen_t)sizeof(gid_t);
	*ret = peer;
	return 0;
}

static bool in_group(const struct rt_peer *peer, gid_t gid)
{
	if (peer->gid == gid)
		return true;
	for (unsigned i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] == gid)
			return true;
	return false;
}

bool rt_may_manage(const struct rt_peer *peer)
{
	return !peer->uid || peer->uid == geteuid();
}

bool rt_may_publish(const struct rt_peer *peer, const struct rt_feed_config *feed)
{
	if (rt_may_manage(peer))
		return true;
	for (unsigned i = 0; i < feed->publish_users.n; i++)
		if (feed->publish_users.ids[i] == peer->uid)
			return true;
	for (unsigned i = 0; i < feed->publish_groups.n; i++)
		if (in_group(peer, feed->publish_groups.ids[i]))
			return true;
	return false;
}

bool rt_may_read(const struct rt_peer *peer, uid_t uid, gid_t gid, mode_t mode)
{
	if (!peer->uid)
		return true;
	if (peer->uid == uid)
		return mode & 0400;
	return mode & (in_group(peer, gid) ? 0040 : 0004);
}

const char *rt_peer_text(const struct rt_peer *peer, char *text, size_t cap)
{
	const struct passwd *pw = getpwuid(peer->uid);

	if (pw)
		(void)snprintf(text, cap, "user '%s' (uid %u)", pw->pw_name, peer->uid);
	else
		(void)snprintf(text, cap, "uid %u", peer->uid);
	return text;
}
