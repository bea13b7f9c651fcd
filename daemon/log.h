/* SPDX-License-Identifier: MIT */
/*
 * log.h - lines on standard error
 *
 * With the time in front on a terminal or in a file; under systemd with the level in
 * the form that the journal takes, which has the time itself.  Main thread only.
 */
#ifndef RINGTAIL_DAEMON_LOG_H
#define RINGTAIL_DAEMON_LOG_H

#include "shm/base.h"

enum rt_log_level {
	RT_LOG_ERROR = 0,
	RT_LOG_WARNING = 1,
	RT_LOG_INFO = 2,
	RT_LOG_DEBUG = 3,
};

void rt_log_init(enum rt_log_level level);

void rt_log(enum rt_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * For lines that a client can cause at will: a few each second, then only their
 * number, at the next rt_log_tick().
 */
RT_COLD void rt_log_client(enum rt_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Once a second. */
void rt_log_tick(void);

#endif
