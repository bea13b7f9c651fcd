/* SPDX-License-Identifier: MIT */
#include "daemon/slice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/sched/types.h, which does not go together with sched.h of every libc. */
struct attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* of SCHED_OTHER: the slice */
	uint64_t deadline;
	uint64_t period;
};

static bool get(pid_t tid, struct attr *ret)
{
	*ret = (struct attr){ .size = sizeof(*ret) };
	return syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) == 0 &&
	       ret->policy == SCHED_OTHER;
}

void rt_slice_set(uint64_t ns)
{
	struct attr attr;

	if (!get(0, &attr))
		return;
	attr.runtime = ns;
	/* Refused: then it is as it was, which is good enough. */
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

uint64_t rt_slice_get(pid_t tid)
{
	struct attr attr;

	return get(tid, &attr) ? attr.runtime : 0;
}
