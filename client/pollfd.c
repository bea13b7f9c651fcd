/* SPDX-License-Identifier: MIT */
#include "client/pollfd.h"

#include <errno.h>

#include "client/reader.h"

int rt_pollfd_open(uint32_t mode, struct rt_pollfd **ret)
{
	int e = RINGTAIL_E_UNSUPPORTED;

	if (mode != RINGTAIL_FD_THREAD)
		e = rt_pollfd_uring_open(ret);
	if (mode == RINGTAIL_FD_THREAD || (e < 0 && mode == RINGTAIL_FD_AUTO))
		e = rt_pollfd_thread_open(ret);
	return e;
}

void rt_pollfd_drain(struct rt_pollfd *pollfd)
{
	if (pollfd && pollfd->armed && pollfd->ops->drain(pollfd))
		pollfd->armed = false;
}

void rt_pollfd_disarm(struct rt_pollfd *pollfd)
{
	if (!pollfd || !pollfd->armed)
		return;
	pollfd->ops->disarm(pollfd);
	pollfd->armed = false;
}

void rt_pollfd_close(struct rt_pollfd *pollfd)
{
	if (pollfd)
		pollfd->ops->close(pollfd);
}

int ringtail_fd(struct ringtail *r)
{
	if (!r->pollfd) {
		int e = rt_pollfd_open(r->fd_mode, &r->pollfd);

		if (e < 0) {
			rt_fault_set(&r->fault, "feed '%s': no descriptor to poll: %s",
				     r->segment.geo.name, ringtail_strerror(e));
			return e;
		}
	}
	return r->pollfd->fd;
}
