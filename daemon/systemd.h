/* SPDX-License-Identifier: MIT */
/*
 * systemd.h - what a service manager hands over and wants to hear
 *
 * Does nothing where there is none, or where the daemon was built without libsystemd.
 */
#ifndef RINGTAIL_DAEMON_SYSTEMD_H
#define RINGTAIL_DAEMON_SYSTEMD_H

#include "shm/base.h"

/* Listening sockets from a .socket unit: their number, the first is *@ret_first. */
int rt_inherited_sockets(int *ret_first);

void rt_notify_ready(const char *status);
void rt_notify_stopping(void);
/* For WatchdogSec=; once a second. */
void rt_notify_alive(void);

#endif
