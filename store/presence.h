/* SPDX-License-Identifier: MIT */
/*
 * presence.h - the files by which readers let themselves be seen
 *
 * A reader that was given a name for it makes a file in <dir>/<feed>/readers/, holds an
 * OFD lock on it while it lives, and writes a record to it now and then, all of it with
 * one pwrite().  Nobody has to have one, and nothing depends on one: they are for tools
 * to show, which believe nothing.  What the kernel says of a file, its owner and
 * whether it is locked, is true; the record is what a process claims.
 *
 * A file that nobody locks is left over, and whoever may removes it; not in its first
 * seconds, when its maker may not have come to lock it.
 */
#ifndef RINGTAIL_STORE_PRESENCE_H
#define RINGTAIL_STORE_PRESENCE_H

#include <sys/types.h>

#include "shm/base.h"

#define RT_PRESENCE_FOLDER "readers"
#define RT_PRESENCE_MAGIC  UINT64_C(0x3172656452676e52) /* "RngRder1" in memory, LE */
#define RT_PRESENCE_FORMAT 1u
#define RT_PRESENCE_NAME   64u /* bytes of a name, at most */
#define RT_PRESENCE_GRACE  10u /* seconds in which a file may not be locked yet */

enum rt_presence_state {
	RT_PRESENCE_RUNNING = 1,
	RT_PRESENCE_SLEEPING = 2,
	RT_PRESENCE_ENDED = 3, /* it has been told a final error, or the end */
};

/* Format 1, in host order: a file on tmpfs never leaves its machine. */
struct rt_presence_record {
	uint64_t magic;  /* RT_PRESENCE_MAGIC */
	uint32_t format; /* RT_PRESENCE_FORMAT */
	uint32_t size;   /* of the record, and of the file */
	uint32_t pid;    /* in the reader's pid namespace */
	uint32_t state;  /* enum rt_presence_state */
	uint64_t epoch;
	uint64_t start; /* as in struct ringtail_stats, and those below */
	uint64_t position;
	uint64_t delivered;
	uint64_t filtered;
	uint64_t lost;
	uint64_t gaps;
	uint64_t resets;
	uint64_t moves;
	uint64_t sleeps;
	uint64_t opened_ns;  /* CLOCK_REALTIME */
	uint64_t updated_ns; /* CLOCK_MONOTONIC, of this boot: */
	char boot[40];       /* rt_boot_id() */
	char name[RT_PRESENCE_NAME + 8];
	uint8_t pad[16];
	uint64_t check; /* XXH64 of all above */
};
static_assert(sizeof(struct rt_presence_record) == 256, "presence format 1");

/* 1 to 64 bytes, none of them a control character. */
bool rt_presence_name_valid(const char *name);

/* Fills in what is the same for all, and the checksum. */
void rt_presence_seal(struct rt_presence_record *record);

/*
 * Any bytes as a record: pure.  RT_E_CORRUPT, RT_E_VERSION; *@ret is set only on 0.
 */
int rt_presence_parse(const void *bytes, size_t len, struct rt_presence_record *ret);

/*
 * Makes a file in the folder @dir_fd, locks it and writes @record to it; its name in
 * @ret_name.  A descriptor that holds the lock, or a negative errno.
 */
int rt_presence_make(int dir_fd, struct rt_presence_record *record, char ret_name[40]);

/* One file as it was found. */
struct rt_presence {
	uid_t uid;
	bool alive; /* it is locked */
	struct rt_presence_record record;
};

/*
 * Looks at one file of the folder.  0; RT_E_CORRUPT or RT_E_VERSION: it is none, or
 * makes no sense; -ENOENT it is gone; negative errno.
 */
int rt_presence_look(int dir_fd, const char *name, struct rt_presence *ret);

/* Is it left over?  Then it may be removed. */
bool rt_presence_is_stale(int dir_fd, const char *name);

/*
 * Removes what is left over in the readers' folder of the feed whose folder is
 * @feed_fd; looks at @max entries, so that a folder that was filled up costs nobody
 * more.  How many went.
 */
unsigned rt_presence_sweep(int feed_fd, unsigned max);

#endif
