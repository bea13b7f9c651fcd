/* SPDX-License-Identifier: MIT */
#include "daemon/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "shm/segment.h"

#define N_ENTRIES    512u /* submissions gathered between two entries into the kernel */
#define N_CQES       4096u /* completions that wait without overflowing */
#define N_BUFS       64u   /* for receiving, shared by all; a power of two */
#define BUF_SIZE     16384u
#define BUF_GROUP    1
#define LISTEN_MAX   8u
#define ALARM_MAX_MS UINT64_C(8000000000000) /* in the 23rd century */
#define TICK_NS      UINT64_C(1000000000)

/*
 * What a completion is for: in the low bits of user_data.  Above them is a pointer, or
 * for TAG_OWN one of enum own.
 */
enum tag {
	TAG_ACCEPT = 1,
	TAG_RECV = 2,
	TAG_SEND = 3,
	TAG_OWN = 4,
	TAG_SYNC = 5,
	TAG_FETCH = 6,
};

#define TAG_MASK 7u

/* What nobody else is concerned with. */
enum own {
	OWN_NONE,
	OWN_TICK,
	OWN_SIGNAL,
	OWN_ALARM,
	OWN_WATCH,
};

struct listener {
	int fd;
	bool accepting;
	struct rt_loop *loop;
};

struct rt_loop {
	struct io_uring ring;
	const struct rt_loop_ops *ops;
	void *ctx;
	struct io_uring_buf_ring *buf_ring;
	uint8_t *bufs;
	struct rt_conn *rearm;
	struct rt_conn *gone;
	struct listener listeners[LISTEN_MAX];
	unsigned n_listeners;
	int signal_fd;
	int watch_fd;         /* -1: none */
	uint64_t watch_count; /* read from it */
	uint64_t linger_ns;   /* CLOCK_MONOTONIC: no sleep before; 0: sleep */
	bool deaf;
	bool stop;
	struct __kernel_timespec next_tick; /* CLOCK_MONOTONIC */
	struct __kernel_timespec alarm;     /* CLOCK_REALTIME */
	uint64_t alarm_ms;                  /* likewise; UINT64_MAX: not armed */
};

static uint64_t tagged(const void *ptr, enum tag tag)
{
	return (uint64_t)(uintptr_t)ptr | tag;
}

static uint64_t tagged_own(enum own own)
{
	return (uint64_t)own << 3 | TAG_OWN;
}

static struct io_uring_sqe *get_sqe(struct rt_loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	while (!sqe) {
		(void)io_uring_submit(
			&loop->ring); /* makes room; errors come up in run */
		sqe = io_uring_get_sqe(&loop->ring);
	}
	return sqe;
}

/*
 * ---- What is asked of the kernel ---------------------------------------------
 */

static void arm_accept(struct rt_loop *loop, struct listener *listener)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
	sqe->user_data = tagged(listener, TAG_ACCEPT);
	listener->accepting = true;
}

static void arm_recv(struct rt_loop *loop, struct rt_conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	sqe->user_data = tagged(conn, TAG_RECV);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUF_GROUP;
	conn->receiving = true;
}

static void arm_send(struct rt_loop *loop, struct rt_conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_send(sqe, conn->fd, conn->out.data + conn->sent,
			   conn->out.len - conn->sent, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->user_data = tagged(conn, TAG_SEND);
	conn->sending = true;
}

static void arm_tick(struct rt_loop *loop)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_timeout(sqe, &loop->next_tick, 0, IORING_TIMEOUT_ABS);
	sqe->user_data = tagged_own(OWN_TICK);
}

static void arm_signal(struct rt_loop *loop)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_poll_add(sqe, loop->signal_fd, POLLIN);
	sqe->user_data = tagged_own(OWN_SIGNAL);
}

static void arm_watch(struct rt_loop *loop)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_read(sqe, loop->watch_fd, &loop->watch_count,
			   sizeof(loop->watch_count), 0);
	sqe->user_data = tagged_own(OWN_WATCH);
}

/* Ends what goes on with this user_data; that it has ended comes as usual. */
static void cancel(struct rt_loop *loop, uint64_t user_data)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_cancel64(sqe, user_data, 0);
	sqe->user_data = tagged_own(OWN_NONE);
}

static void give_buffer(struct rt_loop *loop, unsigned id)
{
	io_uring_buf_ring_add(loop->buf_ring, loop->bufs + (size_t)id * BUF_SIZE,
			      BUF_SIZE, (unsigned short)id,
			      io_uring_buf_ring_mask(N_BUFS), 0);
	io_uring_buf_ring_advance(loop->buf_ring, 1);
}

/*
 * ---- Opening and closing -----------------------------------------------------
 */

static int open_ring(struct io_uring *ring)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CLAMP,
		.cq_entries = N_CQES,
	};

	return io_uring_queue_init_params(N_ENTRIES, ring, &params);
}

static int open_buffers(struct rt_loop *loop)
{
	struct io_uring_buf_reg reg = { .ring_entries = N_BUFS, .bgid = BUF_GROUP };
	void *memory;
	int r;

	if (posix_memalign(&memory, 4096, N_BUFS * sizeof(struct io_uring_buf)))
		return -ENOMEM;
	loop->buf_ring = memory;
	if (posix_memalign(&memory, 4096, (size_t)N_BUFS * BUF_SIZE))
		return -ENOMEM;
	loop->bufs = memory;
	io_uring_buf_ring_init(loop->buf_ring);
	reg.ring_addr = (uint64_t)(uintptr_t)loop->buf_ring;
	r = io_uring_register_buf_ring(&loop->ring, &reg, 0);
	if (r < 0)
		return r;
	for (unsigned id = 0; id < N_BUFS; id++)
		give_buffer(loop, id);
	return 0;
}

static void set_first_tick(struct rt_loop *loop)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	loop->next_tick.tv_sec = now.tv_sec + 1;
	loop->next_tick.tv_nsec = now.tv_nsec;
}

int rt_loop_open(const struct rt_loop_ops *ops, void *ctx, int signal_fd,
		 struct rt_loop **ret)
{
	struct rt_loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->ops = ops;
	loop->ctx = ctx;
	loop->signal_fd = signal_fd;
	loop->watch_fd = -1;
	loop->alarm_ms = UINT64_MAX;
	r = open_ring(&loop->ring);
	if (r < 0) {
		free(loop);
		return r;
	}
	r = open_buffers(loop);
	if (r < 0) {
		rt_loop_close(loop);
		return r;
	}
	set_first_tick(loop);
	arm_tick(loop);
	if (signal_fd >= 0)
		arm_signal(loop);
	*ret = loop;
	return 0;
}

void rt_loop_close(struct rt_loop *loop)
{
	if (!loop)
		return;
	io_uring_queue_exit(&loop->ring);
	free(loop->buf_ring);
	free(loop->bufs);
	free(loop);
}

void rt_loop_listen(struct rt_loop *loop, int fd)
{
	struct listener *listener = &loop->listeners[loop->n_listeners];

	assert(loop->n_listeners < LISTEN_MAX);
	loop->n_listeners++;
	*listener = (struct listener){ .fd = fd, .loop = loop };
	arm_accept(loop, listener);
}

void rt_loop_deafen(struct rt_loop *loop)
{
	loop->deaf = true;
	for (unsigned i = 0; i < loop->n_listeners; i++)
		if (loop->listeners[i].accepting)
			cancel(loop, tagged(&loop->listeners[i], TAG_ACCEPT));
}

void rt_loop_start(struct rt_loop *loop, struct rt_conn *conn, int fd)
{
	conn->fd = fd;
	arm_recv(loop, conn);
}

static void rearm_later(struct rt_loop *loop, struct rt_conn *conn)
{
	if (conn->rearm)
		return;
	conn->rearm = true;
	conn->next_rearm = loop->rearm;
	loop->rearm = conn;
}

void rt_loop_pause(struct rt_loop *loop, struct rt_conn *conn)
{
	if (conn->paused)
		return;
	conn->paused = true;
	if (conn->receiving)
		cancel(loop, tagged(conn, TAG_RECV));
}

void rt_loop_resume(struct rt_loop *loop, struct rt_conn *conn)
{
	if (!conn->paused)
		return;
	conn->paused = false;
	/* Else that it was canceled is still to come. */
	if (!conn->receiving && !conn->told)
		rearm_later(loop, conn);
}

void rt_loop_send(struct rt_loop *loop, struct rt_conn *conn, struct rt_buf *out)
{
	struct rt_buf sent = conn->out;

	assert(!conn->sending);
	sent.limit = out->limit;
	sent.len = 0;
	conn->out = *out;
	*out = sent;
	conn->sent = 0;
	arm_send(loop, conn);
}

/* Once nothing is in flight, the owner may free it: at the end of the round. */
static void check_gone(struct rt_loop *loop, struct rt_conn *conn)
{
	if (!conn->shut || conn->receiving || conn->sending || conn->fd < 0)
		return;
	(void)close(conn->fd); /* a socket that is shut down already */
	conn->fd = -1;
	conn->next_gone = loop->gone;
	loop->gone = conn;
}

void rt_loop_shut(struct rt_loop *loop, struct rt_conn *conn)
{
	if (conn->shut)
		return;
	conn->shut = true;
	/* Ends what is in flight; fails only if the peer was faster. */
	(void)shutdown(conn->fd, SHUT_RDWR);
	check_gone(loop, conn);
}

/*
 * ---- What the kernel answers -------------------------------------------------
 */

static void on_accept(struct rt_loop *loop, struct listener *listener,
		      const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		listener->accepting = false;
	if (cqe->res < 0)
		return; /* no descriptors or memory: again at the next tick */
	loop->ops->accepted(loop->ctx, cqe->res);
	if (!listener->accepting && !loop->deaf)
		arm_accept(loop, listener);
}

static void on_recv(struct rt_loop *loop, struct rt_conn *conn,
		    const struct io_uring_cqe *cqe)
{
	int len = cqe->res;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		conn->receiving = false;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

		if (len > 0 && !conn->shut)
			loop->ops->received(loop->ctx, conn,
					    loop->bufs + (size_t)id * BUF_SIZE,
					    (size_t)len);
		give_buffer(loop, id);
	}
	if (!conn->receiving && !conn->shut) {
		if (len > 0 || len == -ENOBUFS || len == -EINTR || len == -ECANCELED) {
			rearm_later(loop, conn);
		} else if (!conn->told) {
			conn->told = true;
			loop->ops->ended(loop->ctx, conn, len);
		}
	}
	check_gone(loop, conn);
}

static void on_send(struct rt_loop *loop, struct rt_conn *conn,
		    const struct io_uring_cqe *cqe)
{
	conn->sending = false;
	if (cqe->res > 0)
		conn->sent += (size_t)cqe->res;
	if (conn->shut) {
		check_gone(loop, conn);
		return;
	}
	if (cqe->res < 0 && cqe->res != -EINTR && cqe->res != -EAGAIN) {
		if (!conn->told) {
			conn->told = true;
			loop->ops->ended(loop->ctx, conn, cqe->res);
		}
		rt_loop_shut(loop, conn);
		return;
	}
	if (conn->sent < conn->out.len) {
		arm_send(loop, conn);
		return;
	}
	rt_buf_clear(&conn->out);
	loop->ops->sent(loop->ctx, conn);
}

static void on_tick(struct rt_loop *loop)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	loop->ops->tick(loop->ctx);
	loop->next_tick.tv_sec++;
	if (loop->next_tick.tv_sec <= now.tv_sec) /* stopped for a while */
		set_first_tick(loop);
	arm_tick(loop);
	for (unsigned i = 0; i < loop->n_listeners; i++)
		if (!loop->listeners[i].accepting && !loop->deaf)
			arm_accept(loop, &loop->listeners[i]);
}

static void on_signal(struct rt_loop *loop)
{
	struct signalfd_siginfo info;

	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop->ops->signalled(loop->ctx, (int)info.ssi_signo);
	arm_signal(loop);
}

static void on_own(struct rt_loop *loop, enum own own)
{
	switch (own) {
	case OWN_TICK:
		on_tick(loop);
		break;
	case OWN_SIGNAL:
		on_signal(loop);
		break;
	case OWN_ALARM:
		loop->alarm_ms = UINT64_MAX; /* what is due is seen by any round */
		break;
	case OWN_WATCH:
		arm_watch(loop); /* likewise */
		break;
	case OWN_NONE:
		break;
	}
}

static void dispatch(struct rt_loop *loop, const struct io_uring_cqe *cqe)
{
	void *ptr = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)TAG_MASK);

	switch ((enum tag)(cqe->user_data & TAG_MASK)) {
	case TAG_RECV:
		on_recv(loop, ptr, cqe);
		break;
	case TAG_SEND:
		on_send(loop, ptr, cqe);
		break;
	case TAG_ACCEPT:
		on_accept(loop, ptr, cqe);
		break;
	case TAG_SYNC:
		loop->ops->synced(loop->ctx, ptr, cqe->res);
		break;
	case TAG_FETCH:
		loop->ops->fetched(loop->ctx, ptr, cqe->res);
		break;
	case TAG_OWN:
		on_own(loop, (enum own)(cqe->user_data >> 3));
		break;
	}
}

/* Those whose receive ended for want of a buffer, now that all are given back, or while
 * they were paused. */
static void rearm_all(struct rt_loop *loop)
{
	struct rt_conn *conn = loop->rearm;

	loop->rearm = NULL;
	while (conn) {
		struct rt_conn *next = conn->next_rearm;

		conn->rearm = false;
		if (!conn->shut && !conn->paused)
			arm_recv(loop, conn);
		conn = next;
	}
}

static void tell_gone(struct rt_loop *loop)
{
	while (loop->gone) {
		struct rt_conn *conn = loop->gone;

		loop->gone = conn->next_gone;
		rt_buf_free(&conn->out);
		loop->ops->gone(loop->ctx, conn);
	}
}

static void one_round(struct rt_loop *loop)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	loop->ops->begin(loop->ctx);
	io_uring_for_each_cqe(&loop->ring, head, cqe)
	{
		dispatch(loop, cqe);
		n++;
	}
	io_uring_cq_advance(&loop->ring, n);
	loop->ops->round(loop->ctx);
	rearm_all(loop);
	tell_gone(loop);
}

void rt_loop_sync(struct rt_loop *loop, int fd, void *arg)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	sqe->user_data = tagged(arg, TAG_SYNC);
}

void rt_loop_fetch(struct rt_loop *loop, const struct iovec *pages, void *arg)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_madvise(sqe, pages->iov_base, (off_t)pages->iov_len,
			      MADV_POPULATE_WRITE);
	sqe->user_data = tagged(arg, TAG_FETCH);
}

void rt_loop_close_file(struct rt_loop *loop, int fd)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_ASYNC; /* a thread of the kernel frees the blocks */
	sqe->user_data = tagged_own(OWN_NONE);
}

void rt_loop_watch(struct rt_loop *loop, int fd)
{
	loop->watch_fd = fd;
	arm_watch(loop);
}

void rt_loop_alarm(struct rt_loop *loop, uint64_t at_ms)
{
	struct io_uring_sqe *sqe;

	at_ms = rt_min(at_ms, ALARM_MAX_MS);
	if (loop->alarm_ms <= at_ms)
		return;
	sqe = get_sqe(loop);
	loop->alarm.tv_sec = (long long)(at_ms / 1000);
	loop->alarm.tv_nsec = (long long)(at_ms % 1000 * 1000000);
	if (loop->alarm_ms == UINT64_MAX) {
		io_uring_prep_timeout(sqe, &loop->alarm, 0,
				      IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME);
		sqe->user_data = tagged_own(OWN_ALARM);
	} else {
		/* Keeps its clock.  If it has just come, that was early enough. */
		io_uring_prep_timeout_update(sqe, &loop->alarm, tagged_own(OWN_ALARM),
					     IORING_TIMEOUT_ABS);
		sqe->user_data = tagged_own(OWN_NONE);
	}
	loop->alarm_ms = at_ms;
}

void rt_loop_linger(struct rt_loop *loop, uint64_t ns)
{
	loop->linger_ns = rt_now_ns(CLOCK_MONOTONIC) + ns;
}

/* Sends off what was asked for, and looks for a while whether something comes. */
static void look_around(struct rt_loop *loop)
{
	(void)io_uring_submit(&loop->ring); /* errors come up in run */
	while (!io_uring_cq_ready(&loop->ring)) {
		if (rt_now_ns(CLOCK_MONOTONIC) >= loop->linger_ns) {
			loop->linger_ns = 0;
			break;
		}
		(void)io_uring_get_events(&loop->ring); /* likewise */
	}
}

int rt_loop_run(struct rt_loop *loop)
{
	while (!loop->stop) {
		int r;

		if (loop->linger_ns)
			look_around(loop);
		r = io_uring_submit_and_wait(&loop->ring, 1);
		if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
			return r;
		one_round(loop);
	}
	return 0;
}

void rt_loop_stop(struct rt_loop *loop)
{
	loop->stop = true;
}
