/* SPDX-License-Identifier: MIT */
/*
 * presence.h - a reader that lets itself be seen; for the files of client/ only
 *
 * With ringtail_options.presence the reader keeps a file (store/presence.h) up to date:
 * when it is opened, once in a tenth of a second while it reads, before it sleeps, at
 * gaps and at its end.  A reader without one pays a look at a pointer in the calls that
 * do not go the shortest way, and nothing in that.
 */
#ifndef RINGTAIL_CLIENT_PRESENCE_H
#define RINGTAIL_CLIENT_PRESENCE_H

#include "store/presence.h"

struct ringtail;

struct rt_presence_keeper {
	int dir_fd; /* of the folder */
	int fd;     /* of the file, which is locked by it */
	char file[40];
	unsigned calls; /* until the clock is looked at again */
	unsigned step;  /* between two such looks */
	uint64_t looked_ns;
	struct rt_presence_record record; /* as it was written last */
};

/* Makes the file.  What fails is told in the reader's fault only: it reads on unseen.
 */
void rt_presence_open(struct ringtail *r, const char *name);
void rt_presence_close(struct ringtail *r);

/* Writes what the reader is now. */
void rt_presence_write(struct ringtail *r, uint32_t state);

/* It will do nothing for a while: writes, unless that is known. */
void rt_presence_rest(struct ringtail *r, uint32_t state);

/* Some time has passed maybe: writes, if it was a tenth of a second. */
void rt_presence_tick(struct ringtail *r);

#endif
