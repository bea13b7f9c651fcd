/* SPDX-License-Identifier: MIT */
/*
 * step.h - a child that is run instruction by instruction, with ptrace(2)
 *
 * The child calls step_begin() and then stops itself by step_stop() where stepping
 * begins and where it ends; the parent gets it to its first stop by step_start().
 */
#ifndef RINGTAIL_TESTS_STRESS_STEP_H
#define RINGTAIL_TESTS_STRESS_STEP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum step {
	STEP_DONE,   /* one step; there may be more */
	STEP_AT_END, /* the child stopped itself, or has ended */
	STEP_FAILED,
};

/* In the child. */
static inline void step_begin(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(77);
}

static inline void step_stop(void)
{
	(void)raise(SIGSTOP);
}

/* @work does not return.  0: the child did not come to its first stop. */
static inline pid_t step_start(void (*work)(const void *arg), const void *arg)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		step_begin();
		work(arg);
		_exit(70);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return 0;
	(void)ptrace(PTRACE_SETOPTIONS, pid, NULL,
		     (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
	return pid;
}

/* To the next instruction (PTRACE_SINGLESTEP) or system call (PTRACE_SYSCALL). */
static inline enum step step(pid_t pid, int request)
{
	int status;

	if (ptrace((enum __ptrace_request)request, pid, NULL, NULL) < 0 ||
	    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return STEP_FAILED;
	if (WSTOPSIG(status) == SIGSTOP)
		return STEP_AT_END;
	return WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == (SIGTRAP | 0x80)
		       ? STEP_DONE
		       : STEP_FAILED;
}

/* Lets it run to its end; its exit code, or 1000 and the signal. */
static inline int step_finish(pid_t pid)
{
	int status;

	do {
		if (ptrace(PTRACE_CONT, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) != pid)
			return -1;
	} while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	return WIFEXITED(status)    ? WEXITSTATUS(status)
	       : WIFSTOPPED(status) ? 1000 + WSTOPSIG(status)
				    : 1000 + WTERMSIG(status);
}

static inline void step_kill(pid_t pid)
{
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}

static inline void step_nothing(const void *unused)
{
	(void)unused;
	step_stop();
	_exit(0);
}

/* May this process do it at all? */
static inline bool step_permitted(void)
{
	pid_t pid = step_start(step_nothing, NULL);
	bool may = pid && step(pid, PTRACE_SINGLESTEP) == STEP_DONE;

	step_kill(pid);
	return may;
}

#endif
