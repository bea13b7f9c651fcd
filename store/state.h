/* SPDX-License-Identifier: MIT */
/*
 * state.h - the small text files of a log: epochs, state and floor
 *
 *	epochs	a line for each epoch, oldest first: epoch in hexadecimal, the seq at
 *		which it began in decimal
 *	state	"clean", "open", "synced" (open, and nothing is visible before it is on
 *		disk) or "cut", the boot it was written in, and with "clean" the seq
 * that was to come next: then a log that ends elsewhere has lost something
 *	floor	two seqs: everything below the first was let go by a trim, below the
 *		second for its age, though segments may still hold it; no file: nothing
 *
 * Each is replaced as a whole by rename.
 */
#ifndef RINGTAIL_STORE_STATE_H
#define RINGTAIL_STORE_STATE_H

#include "shm/base.h"

struct rt_epoch {
	uint64_t epoch;
	uint64_t first_seq;
};

#define RT_EPOCHS_MAX 4096u

/* *@ret is malloc()ed, oldest first; 0 of them when there is no file. */
int rt_epochs_read(int dir_fd, struct rt_epoch **ret, size_t *ret_n);
int rt_epochs_write(int dir_fd, const struct rt_epoch *epochs, size_t n);

enum rt_stop {
	RT_STOP_NONE = 0,        /* no file: a new log */
	RT_STOP_CLEAN = 1,       /* closed properly */
	RT_STOP_CRASH = 2,       /* of the writer, in this boot */
	RT_STOP_CUT = 3,         /* history was cut by repair */
	RT_STOP_BOOT = 4,        /* of the machine: in another boot, not closed */
	RT_STOP_BOOT_SYNCED = 5, /* the same, but all that was visible is on disk */
};

#define RT_BOOT_ID_SIZE 37

/* What the kernel calls this boot; "-" if it does not tell. */
void rt_boot_id(char ret[RT_BOOT_ID_SIZE]);

/* How the log was left; *@ret_next is 0 unless it was closed properly. */
int rt_state_read(int dir_fd, enum rt_stop *ret, uint64_t *ret_next);

/* @word: one of the four; @next: with "clean" the seq to come, else 0. */
int rt_state_write(int dir_fd, const char *word, uint64_t next);

/* What counts as gone.  A reader that does not know of it reads what is there. */
struct rt_floor {
	uint64_t trimmed; /* events below it; 0: none */
	uint64_t aged;    /* likewise */
};

RT_INLINE uint64_t rt_floor_seq(const struct rt_floor *floor)
{
	return rt_max(floor->trimmed, floor->aged);
}

/* Zeros if there is no file; RT_E_CORRUPT. */
int rt_floor_read(int dir_fd, struct rt_floor *ret);

/*
 * @sync: whatever happens to the machine, the file is whole; @name_too: and it is this
 * one, not the one before.
 */
int rt_floor_write(int dir_fd, const struct rt_floor *floor, bool sync, bool name_too);

#endif
