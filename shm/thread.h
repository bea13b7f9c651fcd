/* SPDX-License-Identifier: MIT */
/*
 * thread.h - how a thread of ours begins
 */
#ifndef RINGTAIL_SHM_THREAD_H
#define RINGTAIL_SHM_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "shm/base.h"

/*
 * Signals are for the program's own threads, so all are blocked in it, but for those
 * that say what the thread itself did.  0 or a negative errno.
 */
static inline int rt_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	static const int own[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL };
	sigset_t others, before;
	int error;

	(void)sigfillset(&others); /* these cannot fail */
	for (size_t i = 0; i < RT_N(own); i++)
		(void)sigdelset(&others, own[i]);
	(void)pthread_sigmask(SIG_SETMASK, &others, &before);
	error = pthread_create(thread, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

#endif
