/* SPDX-License-Identifier: MIT */
/*
 * pollfd.h - a descriptor that becomes readable when a sleeper would be woken
 *
 * Two ways to the same thing: a small io_uring with a futex wait in it
 * (pollfd_uring.c, Linux 6.7), or a thread of the process that sleeps for all such
 * readers and writes an eventfd (pollfd_thread.c).
 */
#ifndef RINGTAIL_CLIENT_POLLFD_H
#define RINGTAIL_CLIENT_POLLFD_H

#include <ringtail.h>

#include "shm/bell.h"

struct rt_pollfd; /* one of the two */

/* What the two ways do; each struct rt_pollfd begins with a pointer to its own. */
struct rt_pollfd_ops {
	/* Readable when a word of @sleeper has moved from what it saw, or after
	 * @timeout_ns.  Once: then it has to be armed again.  Negative errno. */
	int (*arm)(struct rt_pollfd *pollfd, const struct rt_sleeper *sleeper,
		   uint64_t timeout_ns);
	/* Makes it unreadable again; true if it had become readable since armed. */
	bool (*drain)(struct rt_pollfd *pollfd);
	/* Forgets the words it waits for: they are about to be unmapped. */
	void (*disarm)(struct rt_pollfd *pollfd);
	void (*close)(struct rt_pollfd *pollfd);
};

struct rt_pollfd {
	const struct rt_pollfd_ops *ops;
	int fd;
	bool armed;
};

int rt_pollfd_uring_open(struct rt_pollfd **ret);
int rt_pollfd_thread_open(struct rt_pollfd **ret);

/* @mode: enum ringtail_fd_mode. */
int rt_pollfd_open(uint32_t mode, struct rt_pollfd **ret);

/* Before each read: takes note of what woke us.  NULL is fine. */
void rt_pollfd_drain(struct rt_pollfd *pollfd);

/* Before the ring is unmapped.  NULL is fine. */
void rt_pollfd_disarm(struct rt_pollfd *pollfd);

/* Safe with NULL. */
void rt_pollfd_close(struct rt_pollfd *pollfd);

#endif
