/* SPDX-License-Identifier: MIT */
#include "client/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "client/reader.h"
#include "store/state.h"

#define EVERY_NS UINT64_C(100000000) /* between two records of who is busy */
#define STEP_MAX 256u                /* calls; a look costs as much as one of them */
#define STEP_NS  UINT64_C(10000000)  /* that calls between two looks should take */

/*
 * ---- Making the file ----
 */

static int open_folder(const struct ringtail *r, char *path, size_t size)
{
	const char *slash = strrchr(r->path, '/');
	int n = snprintf(path, size, "%.*s" RT_PRESENCE_FOLDER,
			 slash ? (int)(slash - r->path) + 1 : 0, r->path);
	int fd;

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void fill(const struct ringtail *r, struct rt_presence_record *record)
{
	record->epoch = r->marker_epoch; /* that of the position */
	record->start = r->start;
	record->position = ringtail_position(r);
	record->delivered = r->delivered;
	record->filtered = r->filtered;
	record->lost = r->lost;
	record->gaps = r->gaps;
	record->resets = r->resets;
	record->moves = r->moves;
	record->sleeps = r->sleeps;
	record->updated_ns = rt_now_ns(CLOCK_MONOTONIC);
}

static int make(struct ringtail *r, struct rt_presence_keeper *p, const char *name,
		char *path, size_t size)
{
	struct rt_presence_record *record = &p->record;

	p->dir_fd = open_folder(r, path, size);
	if (p->dir_fd < 0)
		return p->dir_fd;
	record->pid = (uint32_t)getpid();
	record->state = RT_PRESENCE_RUNNING;
	record->opened_ns = rt_now_ns(CLOCK_REALTIME);
	rt_boot_id(record->boot);
	memcpy(record->name, name, strlen(name));
	fill(r, record);
	p->fd = rt_presence_make(p->dir_fd, record, p->file);
	return p->fd < 0 ? p->fd : 0;
}

void rt_presence_open(struct ringtail *r, const char *name)
{
	struct rt_presence_keeper *p = calloc(1, sizeof(*p));
	char path[PATH_MAX] = "";
	int e = -ENOMEM;

	if (p) {
		p->dir_fd = p->fd = -1;
		p->calls = p->step = 1;
		e = make(r, p, name, path, sizeof(path));
	}
	if (!e) {
		r->presence = p;
		return;
	}
	rt_fault_set(&r->fault,
		     "feed '%s': is read unseen: cannot make a file in %s: %s",
		     r->segment.geo.name, path, strerror(-e));
	if (p) {
		rt_close_fd(&p->dir_fd);
		free(p);
	}
}

void rt_presence_close(struct ringtail *r)
{
	struct rt_presence_keeper *p = r->presence;

	if (!p)
		return;
	/* A child that was forked lets go of what is its parent's. */
	if (p->record.pid == (uint32_t)getpid())
		(void)unlinkat(p->dir_fd, p->file, 0); /* gone already, maybe */
	(void)close(p->fd);
	(void)close(p->dir_fd);
	free(p);
	r->presence = NULL;
}

/*
 * ---- Keeping it up to date ----
 */

void rt_presence_write(struct ringtail *r, uint32_t state)
{
	struct rt_presence_keeper *p = r->presence;

	p->record.state = state;
	fill(r, &p->record);
	rt_presence_seal(&p->record);
	p->looked_ns = p->record.updated_ns;
	p->calls = p->step = 1;
	/* Nobody depends on it; the next one may be written again. */
	if (pwrite(p->fd, &p->record, sizeof(p->record), 0) < 0)
		return;
}

void rt_presence_rest(struct ringtail *r, uint32_t state)
{
	const struct rt_presence_record *was = &r->presence->record;

	if (was->state != state || was->moves != r->moves ||
	    was->position != ringtail_position(r) ||
	    rt_now_ns(CLOCK_MONOTONIC) - was->updated_ns >= RT_SLEEP_MAX_NS)
		rt_presence_write(r, state);
}

/* A step is as many calls as take a hundredth of a second, and not too many. */
void rt_presence_tick(struct ringtail *r)
{
	struct rt_presence_keeper *p = r->presence;
	uint64_t now;

	if (--p->calls)
		return;
	now = rt_now_ns(CLOCK_MONOTONIC_COARSE);
	if (now - p->looked_ns > STEP_NS && now > p->looked_ns)
		p->step = p->step > 4 ? p->step / 4 : 1;
	else
		p->step = (unsigned)rt_min(2 * (uint64_t)p->step, STEP_MAX);
	p->looked_ns = now;
	p->calls = p->step;
	if (now > p->record.updated_ns && now - p->record.updated_ns >= EVERY_NS)
		rt_presence_write(r, r->stop ? RT_PRESENCE_ENDED : RT_PRESENCE_RUNNING);
}
