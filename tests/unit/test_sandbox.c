/* SPDX-License-Identifier: MIT */
/*
 * test_sandbox.c - readers and writers where the kernel refuses what is newer
 *
 * A filter in a child makes futex_waitv(2), membarrier(2) and io_uring_setup(2) fail
 * as on an older kernel (ENOSYS) or in a container (EPERM).
 */
#include "tests/unit/rig.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define NO_WAITV      0x1u
#define NO_MEMBARRIER 0x2u
#define NO_URING      0x4u
#define NOTHING_NEW   (NO_WAITV | NO_MEMBARRIER | NO_URING)

static int forbid(unsigned what, int error)
{
	static const uint32_t calls[] = { SYS_futex_waitv, SYS_membarrier,
					  SYS_io_uring_setup };
	uint32_t refuse = SECCOMP_RET_ERRNO | (uint32_t)error;
	struct sock_filter code[2 + 2 * T_N(calls)];
	struct sock_fprog program = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < T_N(calls); i++) {
		if (!(what & 1u << i))
			continue;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refuse);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0;
}

/* What a child does, and how it says that it is about to wait. */
struct box {
	struct rig *rig;
	unsigned what;
	int error;
	int (*run)(struct box *box, struct ringtail *r);
	int ready;
	uint32_t fd_mode;
};

static int run_box(void *arg)
{
	struct box *box = arg;
	struct ringtail_options o = rig_after(0);
	struct ringtail_event event;
	struct ringtail *r;
	int result;

	o.fd_mode = box->fd_mode;
	if (forbid(box->what, box->error) || rig_try(box->rig, o, &r) < 0 ||
	    ringtail_next(r, &event, 0) != RINGTAIL_CAUGHT_UP)
		return 1;
	result = box->run(box, r);
	ringtail_close(r);
	return result;
}

static int say_ready(struct box *box)
{
	return write(box->ready, "x", 1) == 1 ? 0 : 1;
}

/* Runs a box; puts one event, or closes the feed, when it is ready. */
static void check_box(struct rig *rig, struct box box, bool closes)
{
	int ends[2], pid;
	char byte;

	rig_open(rig);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	box.rig = rig;
	box.ready = ends[1];
	pid = t_spawn(run_box, &box);
	(void)close(ends[1]);
	if (read(ends[0], &byte, 1) == 1) {
		t_sleep_ms(3); /* most likely it sleeps now; it must work either way */
		if (closes)
			rig_close(rig);
		else
			rig_put(rig, 1);
	}
	assert_int_equal(t_join(pid), 0);
	(void)close(ends[0]);
	rig_close(rig);
	assert_int_equal(unlink(rig->path), 0);
}

/* Each set of refusals, by both errors. */
static void check_all(struct rig *rig, struct box box, bool closes)
{
	static const int errors[] = { ENOSYS, EPERM };

	for (unsigned what = 1; what <= NOTHING_NEW; what++) {
		box.what = what;
		box.error = errors[what % 2];
		check_box(rig, box, closes);
	}
	box.error = ENOSYS;
	check_box(rig, box, closes);
}

static int sleep_for_an_event(struct box *box, struct ringtail *r)
{
	struct ringtail_event event;
	uint64_t began;

	if (say_ready(box))
		return 2;
	began = t_now_ns();
	if (ringtail_next(r, &event, RINGTAIL_FOREVER) != RINGTAIL_EVENT)
		return 3;
	return t_now_ns() - began < 500000000 ? 0 : 4;
}

static void a_sleeper_gets_its_event(void **state)
{
	check_all(*state, (struct box){ .run = sleep_for_an_event }, false);
}

static int sleep_for_the_end(struct box *box, struct ringtail *r)
{
	struct ringtail_event event;
	uint64_t began;

	if (say_ready(box))
		return 2;
	began = t_now_ns();
	if (ringtail_next(r, &event, RINGTAIL_FOREVER) != RINGTAIL_E_CLOSED)
		return 3;
	return t_now_ns() - began < 500000000 ? 0 : 4;
}

static void a_sleeper_learns_of_the_end(void **state)
{
	check_all(*state, (struct box){ .run = sleep_for_the_end }, true);
}

static void *cancel_soon(void *r)
{
	t_sleep_ms(3);
	ringtail_cancel(r);
	return NULL;
}

static int sleep_and_be_canceled(struct box *box, struct ringtail *r)
{
	struct ringtail_event event;
	pthread_t thread;
	uint64_t began = t_now_ns();

	(void)box;
	if (pthread_create(&thread, NULL, cancel_soon, r) != 0)
		return 2;
	if (ringtail_next(r, &event, RINGTAIL_FOREVER) != RINGTAIL_E_CANCELED)
		return 3;
	(void)pthread_join(thread, NULL);
	return t_now_ns() - began < 500000000 ? 0 : 4;
}

static void a_sleeper_can_be_canceled(void **state)
{
	check_all(*state, (struct box){ .run = sleep_and_be_canceled }, false);
}

static int sleep_until_it_is_over(struct box *box, struct ringtail *r)
{
	struct ringtail_event event;
	uint64_t began = t_now_ns();
	uint64_t ns;

	(void)box;
	if (ringtail_next(r, &event, 25000000) != RINGTAIL_NOTHING)
		return 2;
	ns = t_now_ns() - began;
	return ns >= 25000000 && ns < 500000000 ? 0 : 3;
}

static void a_timeout_is_kept(void **state)
{
	check_all(*state, (struct box){ .run = sleep_until_it_is_over }, false);
}

static int poll_for_an_event(struct box *box, struct ringtail *r)
{
	struct ringtail_event event;
	struct pollfd p = { .fd = ringtail_fd(r), .events = POLLIN };
	uint64_t began;
	int outcome = ringtail_next(r, &event, 0);

	if (p.fd < 0 || outcome != RINGTAIL_NOTHING || say_ready(box))
		return 2;
	began = t_now_ns();
	while ((outcome = ringtail_next(r, &event, 0)) == RINGTAIL_NOTHING)
		(void)poll(&p, 1, 2000);
	if (outcome != RINGTAIL_EVENT)
		return 3;
	return t_now_ns() - began < 500000000 ? 0 : 4;
}

static void a_descriptor_becomes_readable(void **state)
{
	check_all(*state,
		  (struct box){ .run = poll_for_an_event, .fd_mode = RINGTAIL_FD_AUTO },
		  false);
	check_all(
		*state,
		(struct box){ .run = poll_for_an_event, .fd_mode = RINGTAIL_FD_THREAD },
		false);
}

static int ask_for_an_io_uring(struct box *box, struct ringtail *r)
{
	(void)box;
	if (ringtail_fd(r) != RINGTAIL_E_UNSUPPORTED)
		return 2;
	return *ringtail_error(r) ? 0 : 3;
}

static void without_io_uring_who_insists_is_told(void **state)
{
	check_box(*state,
		  (struct box){ .run = ask_for_an_io_uring,
				.what = NO_URING,
				.error = EPERM,
				.fd_mode = RINGTAIL_FD_URING },
		  false);
	check_box(*state,
		  (struct box){ .run = ask_for_an_io_uring,
				.what = NO_URING,
				.error = ENOSYS,
				.fd_mode = RINGTAIL_FD_URING },
		  false);
}

/*
 * ---- The writer ----
 */

static int write_without_membarrier(void *arg)
{
	struct rig_child *child = arg;

	if (forbid(NO_MEMBARRIER | NO_WAITV, EPERM))
		return 9;
	return rig_child_run(child);
}

static void a_writer_without_membarrier_has_the_barrier_itself(void **state)
{
	struct rig *rig = *state;
	struct rig_child child = { .rig = rig };
	struct rig_sleeper s[6];
	int answer = -1;

	assert_int_equal(pipe2(child.commands, O_CLOEXEC), 0);
	assert_int_equal(pipe2(child.answers, O_CLOEXEC), 0);
	child.pid = t_spawn(write_without_membarrier, &child);
	(void)close(child.commands[0]);
	(void)close(child.answers[1]);
	assert_int_equal(read(child.answers[0], &answer, sizeof(answer)),
			 sizeof(answer));
	t_ok(answer);
	assert_int_equal(rt_load32(&rig_map(rig)->hot->barrier), RT_BARRIER_WRITER);

	for (size_t i = 0; i < T_N(s); i++) {
		struct ringtail *r = rig_read(rig, rig_after(0));

		t_is(ringtail_next(r, &s[i].event, 0), RINGTAIL_CAUGHT_UP);
		rig_sleep_begin(&s[i], r);
	}
	rig_child_put(&child);
	for (size_t i = 0; i < T_N(s); i++)
		t_is(rig_sleep_end(&s[i]), RINGTAIL_EVENT);
	rig_child_end(&child, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_sleeper_gets_its_event),
		T(a_sleeper_learns_of_the_end),
		T(a_sleeper_can_be_canceled),
		T(a_timeout_is_kept),
		T(a_descriptor_becomes_readable),
		T(without_io_uring_who_insists_is_told),
		T(a_writer_without_membarrier_has_the_barrier_itself),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
