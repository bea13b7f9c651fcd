/* SPDX-License-Identifier: MIT */
/*
 * loop.h - the event loop: connections, signals, and a tick each second
 *
 * All input and output of the daemon, by io_uring.  Each round takes everything that
 * has completed, tells the owner of each, then the owner's `round`, and enters the
 * kernel once to start what was asked for and wait for more.  Calls nothing back
 * from within rt_loop_*() but rt_loop_run().
 */
#ifndef RINGTAIL_DAEMON_LOOP_H
#define RINGTAIL_DAEMON_LOOP_H

#include <sys/uio.h>

#include "daemon/buf.h"

struct rt_loop;

/* A connection; lives in memory of its owner until `gone`. */
struct rt_conn {
	int fd;
	bool receiving;    /* a receive is in flight */
	bool sending;      /* a send is */
	bool rearm;        /* receive again at the end of the round */
	bool paused;       /* do not: rt_loop_pause() */
	bool shut;         /* both ways; gone as soon as nothing is in flight */
	bool told;         /* of its end */
	struct rt_buf out; /* being sent, from `sent` on */
	size_t sent;
	struct rt_conn *next_rearm;
	struct rt_conn *next_gone;
};

struct rt_loop_ops {
	/* Completions follow. */
	void (*begin)(void *ctx);
	/* Somebody has connected: @fd is the callee's. */
	void (*accepted)(void *ctx, int fd);
	/* @bytes are the callee's to change until it returns. */
	void (*received)(void *ctx, struct rt_conn *conn, uint8_t *bytes, size_t len);
	/* Nothing more comes: 0 the peer is done, or a negative errno. */
	void (*ended)(void *ctx, struct rt_conn *conn, int error);
	/* All of the last send is out. */
	void (*sent)(void *ctx, struct rt_conn *conn);
	/* Nothing is in flight, the descriptor is closed: @conn may be freed. */
	void (*gone)(void *ctx, struct rt_conn *conn);
	void (*tick)(void *ctx);
	void (*signalled)(void *ctx, int signo);
	/* What rt_loop_sync() was asked for is done: 0 or a negative errno. */
	void (*synced)(void *ctx, void *arg, int result);
	/* Likewise rt_loop_fetch(). */
	void (*fetched)(void *ctx, void *arg, int result);
	/* All completions of this round have been told. */
	void (*round)(void *ctx);
};

/*
 * @signal_fd: of signalfd(2), or -1; stays the caller's.  Negative errno: -ENOSYS or
 * -EPERM where io_uring is not there or not allowed.
 */
int rt_loop_open(const struct rt_loop_ops *ops, void *ctx, int signal_fd,
		 struct rt_loop **ret);
void rt_loop_close(struct rt_loop *loop);

/* Accepts connections; @fd stays the caller's. */
void rt_loop_listen(struct rt_loop *loop, int fd);
/* No more of them, on any socket. */
void rt_loop_deafen(struct rt_loop *loop);

/* Begins to receive; takes @fd over. */
void rt_loop_start(struct rt_loop *loop, struct rt_conn *conn, int fd);

/*
 * Sends all of @out, which is empty afterwards: the buffers are swapped.  Only while
 * not conn->sending.
 */
void rt_loop_send(struct rt_loop *loop, struct rt_conn *conn, struct rt_buf *out);

/*
 * Takes no more input, so that a peer that sends has to wait, until rt_loop_resume();
 * what is on its way already still comes.
 */
void rt_loop_pause(struct rt_loop *loop, struct rt_conn *conn);
void rt_loop_resume(struct rt_loop *loop, struct rt_conn *conn);

/* Ends the connection now, whatever is still to be sent. */
void rt_loop_shut(struct rt_loop *loop, struct rt_conn *conn);

/*
 * Syncs the data of a file meanwhile; @arg comes back with the result and is aligned to
 * 8.  @fd stays the caller's.
 */
void rt_loop_sync(struct rt_loop *loop, int fd, void *arg);

/*
 * Makes pages of a shared map ready to be stored to, meanwhile; @arg likewise.  -EINVAL
 * where the kernel does not know how.
 */
void rt_loop_fetch(struct rt_loop *loop, const struct iovec *pages, void *arg);

/*
 * Closes @fd meanwhile: the last close of a large file that was removed takes
 * milliseconds.
 */
void rt_loop_close_file(struct rt_loop *loop, int fd);

/* A round whenever @fd, a non-blocking eventfd, has counted; it stays the caller's. */
void rt_loop_watch(struct rt_loop *loop, int fd);

/*
 * A round at the latest when CLOCK_REALTIME is at @at_ms; the earliest of those asked
 * for since the last one that came counts.
 */
void rt_loop_alarm(struct rt_loop *loop, uint64_t at_ms);

/* Something will come within @ns, probably: no sleep before that has passed. */
void rt_loop_linger(struct rt_loop *loop, uint64_t ns);

/* Runs until rt_loop_stop(); 0 or a negative errno. */
int rt_loop_run(struct rt_loop *loop);
void rt_loop_stop(struct rt_loop *loop);

#endif
