/* SPDX-License-Identifier: MIT */
/*
 * listen.h - the sockets that publishers connect to
 *
 * Those of a .socket unit if there are any; else one of our own, which replaces what
 * a dead daemon left behind and never what a living one uses.
 */
#ifndef RINGTAIL_DAEMON_LISTEN_H
#define RINGTAIL_DAEMON_LISTEN_H

#include <sys/stat.h>

#include "daemon/config.h"

#define RT_LISTENERS_MAX 8u

struct rt_listeners {
	int fds[RT_LISTENERS_MAX];
	unsigned n;
	const char *path; /* to be removed at the end; NULL: not ours */
	struct stat made; /* what it was when we made it */
};

/*
 * Before anything is made: could a socket be at that path?  It may have a folder that
 * is made later, and somebody may listen there; negative if it cannot be whatever
 * happens.
 */
int rt_listeners_check(const struct rt_config *config, struct rt_fault *fault);

/* Negative: -EADDRINUSE a daemon listens there, or what a system call gave. */
int rt_listeners_open(struct rt_listeners *listeners, const struct rt_config *config,
		      struct rt_fault *fault);
/* Closes them; removes the path if it still is the socket that was made. */
void rt_listeners_close(struct rt_listeners *listeners);

#endif
