/* SPDX-License-Identifier: MIT */
#include "daemon/systemd.h"

#if HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

int rt_inherited_sockets(int *ret_first)
{
	*ret_first = SD_LISTEN_FDS_START;
	return sd_listen_fds(1);
}

void rt_notify_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status); /* nobody may be listening */
}

void rt_notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1"); /* likewise */
}

void rt_notify_alive(void)
{
	static int wanted = -1;
	uint64_t every_us;

	if (wanted < 0)
		wanted = sd_watchdog_enabled(0, &every_us) > 0;
	if (wanted)
		(void)sd_notify(0, "WATCHDOG=1"); /* likewise */
}

#else

int rt_inherited_sockets(int *ret_first)
{
	*ret_first = -1;
	return 0;
}

void rt_notify_ready(const char *status)
{
	(void)status;
}

void rt_notify_stopping(void)
{
}

void rt_notify_alive(void)
{
}

#endif
