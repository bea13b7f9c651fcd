/* SPDX-License-Identifier: MIT */
/*
 * A ring of two operations: a futex wait on the sleeper's words, and a timeout, for
 * no sleep is without end.  The descriptor of the io_uring is readable while it has
 * a completion that nobody took.
 */
#include <errno.h>
#include <liburing.h>

#include "client/pollfd.h"
#include "shm/segment.h"

/* liburing 2.3 does not know it yet; include/uapi/linux/io_uring.h of Linux 6.7. */
#define OP_FUTEX_WAITV 53

#define TAG_WAIT   1u
#define TAG_TIMER  2u
#define TAG_CANCEL 3u

struct uring_pollfd {
	struct rt_pollfd base;
	struct io_uring uring;
	struct futex_waitv words[RT_SLEEP_WORDS];
	struct __kernel_timespec timeout;
	bool waiting, timing; /* operations that have not completed */
	uint64_t due_ns;      /* when the timer that was set last ends */
};

static void prepare_wait(struct uring_pollfd *p, const struct rt_sleeper *sleeper)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&p->uring);
	unsigned n = rt_sleeper_words(sleeper, p->words);

	assert(sqe); /* two operations at most in a queue of four */
	io_uring_prep_rw(OP_FUTEX_WAITV, sqe, 0, p->words, n, 0);
	sqe->user_data = TAG_WAIT;
	p->waiting = true;
}

static void prepare_timer(struct uring_pollfd *p, uint64_t timeout_ns)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&p->uring);

	assert(sqe);
	p->timeout.tv_sec = (int64_t)(timeout_ns / 1000000000u);
	p->timeout.tv_nsec = (long long)(timeout_ns % 1000000000u);
	io_uring_prep_timeout(sqe, &p->timeout, 0, 0);
	sqe->user_data = TAG_TIMER;
	p->timing = true;
	p->due_ns = rt_now_ns(CLOCK_MONOTONIC) + timeout_ns;
}

/* Does no timer end by then?  An older one is left alone, it ends for nothing. */
static bool needs_timer(const struct uring_pollfd *p, uint64_t timeout_ns)
{
	return !p->timing || p->due_ns > rt_now_ns(CLOCK_MONOTONIC) + timeout_ns;
}

static int submit(struct uring_pollfd *p)
{
	int e;

	do {
		e = io_uring_submit(&p->uring);
	} while (e == -EINTR);
	return e < 0 ? e : 0;
}

static int arm(struct rt_pollfd *pollfd, const struct rt_sleeper *sleeper,
	       uint64_t timeout_ns)
{
	struct uring_pollfd *p = (struct uring_pollfd *)pollfd;

	int e;

	if (!p->waiting)
		prepare_wait(p, sleeper);
	if (needs_timer(p, timeout_ns))
		prepare_timer(p, timeout_ns);
	e = submit(p);
	pollfd->armed = e >= 0; /* else what was prepared goes with the next one */
	return e;
}

static bool drain(struct rt_pollfd *pollfd)
{
	struct uring_pollfd *p = (struct uring_pollfd *)pollfd;
	struct io_uring_cqe *cqe;
	bool any = false;

	while (io_uring_peek_cqe(&p->uring, &cqe) == 0) {
		if (cqe->user_data == TAG_WAIT)
			p->waiting = false;
		else if (cqe->user_data == TAG_TIMER)
			p->timing = false;
		any = true;
		io_uring_cqe_seen(&p->uring, cqe);
	}
	return any;
}

static void disarm(struct rt_pollfd *pollfd)
{
	struct uring_pollfd *p = (struct uring_pollfd *)pollfd;
	struct io_uring_sqe *sqe;

	if (!p->waiting)
		return;
	sqe = io_uring_get_sqe(&p->uring);
	assert(sqe);
	io_uring_prep_cancel64(sqe, TAG_WAIT, 0);
	sqe->user_data = TAG_CANCEL;
	while (p->waiting) {
		int e = io_uring_submit_and_wait(&p->uring, 1);

		if (e < 0 && e != -EINTR)
			return; /* it goes when the io_uring does */
		(void)drain(pollfd);
	}
}

static void close_uring(struct rt_pollfd *pollfd)
{
	struct uring_pollfd *p = (struct uring_pollfd *)pollfd;

	io_uring_queue_exit(&p->uring);
	free(p);
}

static const struct rt_pollfd_ops uring_ops = {
	.arm = arm,
	.drain = drain,
	.disarm = disarm,
	.close = close_uring,
};

/* Asks the kernel what it would do with the operation, by one that cannot sleep. */
static bool has_futex_waitv(struct io_uring *uring)
{
	_Atomic uint32_t word = 1;
	struct futex_waitv wait = {
		.val = 0, /* not what the word is: the kernel answers at once */
		.uaddr = (uintptr_t)&word,
		.flags = FUTEX_32 | FUTEX_PRIVATE_FLAG,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	struct io_uring_cqe *cqe;
	int result;

	io_uring_prep_rw(OP_FUTEX_WAITV, sqe, 0, &wait, 1, 0);
	if (io_uring_submit(uring) < 0)
		return false;
	do {
		result = io_uring_wait_cqe(uring, &cqe);
	} while (result == -EINTR);
	if (result < 0)
		return false;
	result = cqe->res;
	io_uring_cqe_seen(uring, cqe);
	return result == -EAGAIN;
}

int rt_pollfd_uring_open(struct rt_pollfd **ret)
{
	AUTO_FREE struct uring_pollfd *p = calloc(1, sizeof(*p));
	int e;

	if (!p)
		return -ENOMEM;
	e = io_uring_queue_init(4, &p->uring, 0);
	if (e < 0) /* ENOSYS, or EPERM where io_uring is switched off */
		return e == -EMFILE || e == -ENFILE || e == -ENOMEM
			       ? e
			       : RINGTAIL_E_UNSUPPORTED;
	if (!has_futex_waitv(&p->uring)) {
		io_uring_queue_exit(&p->uring);
		return RINGTAIL_E_UNSUPPORTED;
	}
	p->base.ops = &uring_ops;
	p->base.fd = p->uring.ring_fd;
	*ret = rt_take_ptr(&p);
	return 0;
}
