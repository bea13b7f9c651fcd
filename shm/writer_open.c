/* SPDX-License-Identifier: MIT */
/*
 * How a writer comes to a feed and how it leaves: the folder, the lock, the ring that
 * is there, the begin and the end of its life.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/lock.h"
#include "shm/writer_parts.h"

#define LOCK_NAME "lock"
#define SWEEP_NS  UINT64_C(1000000)

int rt_writer_fail(struct rt_fault *fault, const char *feed, const char *what, int r)
{
	rt_fault_set(fault, "feed '%s': cannot %s: %s", feed, what, strerror(-r));
	return r;
}

/*
 * ---- Folder and lock ----
 */

static int open_folder(const char *dir, const char *feed, struct rt_fault *fault)
{
	int r = rt_make_folders(dir);

	if (r < 0) {
		rt_fault_set(fault, "cannot make the folder %s: %s", dir, strerror(-r));
		return r;
	}

	AUTO_CLOSE int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (top < 0) {
		r = -errno;
		rt_fault_set(fault, "cannot open the folder %s: %s", dir, strerror(-r));
		return r;
	}
	if (mkdirat(top, feed, 0755) < 0 && errno != EEXIST)
		return rt_writer_fail(fault, feed, "make its folder", -errno);

	int fd = openat(top, feed, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? rt_writer_fail(fault, feed, "open its folder", -errno) : fd;
}

static uint64_t patience_ns(const void *w)
{
	return rt_lock_patience(((const struct rt_writer *)w)->dir_fd);
}

/*
 * A file of its own with mode 0600, since a reader can put a read lock on the ring
 * and keep a writer out for ever.
 */
static int take_lock(struct rt_writer *w, struct rt_fault *fault)
{
	int r;

	w->lock_fd = openat(w->dir_fd, LOCK_NAME,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->lock_fd < 0)
		return rt_writer_fail(fault, w->name, "open its lock", -errno);
	r = rt_lock_take(w->lock_fd, patience_ns, w);
	if (!r)
		return 0;
	if (r != RT_E_BUSY)
		return rt_writer_fail(fault, w->name, "lock it", r);
	rt_fault_set(fault,
		     "feed '%s' has a writer already; only one at a time may write it",
		     w->name);
	return RT_E_BUSY;
}

/*
 * On the ring too, so that readers can ask whether a silent writer lives.  If a
 * reader's lock is in the way they cannot, and take silence for death.
 */
static void mark_lock(const struct rt_writer *w)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	(void)fcntl(w->segment.fd, F_OFD_SETLK, &lock);
}

static bool same_access(const struct rt_segment *segment,
			const struct rt_ring_config *config)
{
	struct stat st;

	return fstat(segment->fd, &st) == 0 && (st.st_mode & 07777) == config->mode &&
	       (config->uid == (uid_t)-1 || config->uid == st.st_uid) &&
	       (config->gid == (gid_t)-1 || config->gid == st.st_gid);
}

static bool is_as_asked(const struct rt_segment *segment,
			const struct rt_ring_config *config)
{
	const struct rt_geometry *geo = &segment->geo;
	uint64_t max_value = config->max_value ? config->max_value
					       : rt_min(geo->max_txn_bytes, UINT32_MAX);

	return geo->n_slots == config->n_slots &&
	       geo->payload_size == config->payload_size &&
	       geo->max_key == config->max_key && geo->max_value == max_value &&
	       geo->wake_mode == config->wake_mode && same_access(segment, config);
}

/* 1 a ring is there and mapped; 0 none; negative: it is there and cannot be used. */
static int map_existing(struct rt_writer *w, struct rt_fault *fault)
{
	struct rt_segment segment;
	int r;

	AUTO_CLOSE int fd =
		openat(w->dir_fd, RT_RING_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return rt_writer_fail(fault, w->name, "open its ring", -errno);
	r = rt_segment_map(fd, true, w->name, fault, &segment);
	if (r < 0)
		return r;
	rt_writer_adopt(w, &segment);
	if (strcmp(segment.geo.name, w->name) != 0) {
		rt_fault_set(fault, "feed '%s': its ring belongs to a feed '%s'",
			     w->name, segment.geo.name);
		return RT_E_CORRUPT;
	}
	return 1;
}

static int open_ring(struct rt_writer *w, unsigned flags, struct rt_fault *fault)
{
	bool new_epoch = flags & RT_WRITER_NEW_EPOCH;
	int r = map_existing(w, fault);

	if (!r)
		return rt_writer_begin_ring(w, fault);
	if (r > 0)
		r = rt_writer_recover(w, fault);
	if ((r == RT_E_CORRUPT || r == RT_E_VERSION) && flags & RT_WRITER_ANEW)
		return rt_writer_begin_anew(w, fault);
	if (r < 0)
		return r;
	if (new_epoch || !is_as_asked(&w->segment, &w->config))
		return rt_writer_replace(w, new_epoch, fault);
	return 0;
}

int rt_writer_start(struct rt_writer *w, struct rt_fault *fault)
{
	struct rt_hot *hot = w->hot;
	struct rt_keeping keeping = {
		.ring_fd = w->segment.fd,
		.lock_fd = w->lock_fd,
		.hot = hot,
		.beat_every_ns = w->self_beat ? 0 : w->beat_every_ns,
		.sweep = w->sweep,
	};
	int r;

	mark_lock(w);
	w->fence = !rt_barrier_register();
	rt_store32(&hot->barrier, w->fence ? RT_BARRIER_WRITER : RT_BARRIER_SLEEPER);
	rt_store64(&hot->beat_every_ns, w->beat_every_ns);
	rt_store64(&hot->sweep_every_ns, w->sweep ? SWEEP_NS : 0);
	rt_store32(&hot->writer_pid, (uint32_t)getpid());
	rt_writer_beat(w);
	r = rt_keeper_add(&keeping, &w->keeper);
	if (r < 0)
		return rt_writer_fail(fault, w->name, "start its keeper", r);
	rt_store32(&hot->state, RT_STATE_LIVE);
	return 0;
}

static void release(struct rt_writer *w)
{
	if (w->keeper)
		rt_keeper_remove(w->keeper);
	if (w->bell)
		(void)munmap(w->bell, sizeof(*w->bell));
	rt_segment_drop(&w->segment);
	if (w->lock_fd >= 0)
		(void)close(w->lock_fd);
	if (w->dir_fd >= 0)
		(void)close(w->dir_fd);
	free(w);
}

static void release_ptr(struct rt_writer **w)
{
	if (*w)
		release(*w);
}

int rt_writer_open(const char *dir, const struct rt_ring_config *config, unsigned flags,
		   uint64_t beat_every_ns, struct rt_fault *fault,
		   struct rt_writer **ret)
{
	int r = rt_config_check(config, fault);

	if (r < 0)
		return r;

	AUTO(release_ptr)
	struct rt_writer *w =
		aligned_alloc(RT_LINE, rt_round_up(sizeof(struct rt_writer), RT_LINE));

	if (!w)
		return -ENOMEM;
	*w = (struct rt_writer){ .lock_fd = -1,
				 .dir_fd = -1,
				 .segment = RT_SEGMENT_NONE };
	w->config = *config;
	w->self_beat = flags & RT_WRITER_SELF_BEAT;
	w->beat_every_ns = beat_every_ns;
	w->clock = flags & RT_WRITER_PRECISE ? CLOCK_REALTIME : CLOCK_REALTIME_COARSE;
	memcpy(w->name, config->name, strlen(config->name) + 1);
	w->config.name = w->name;

	w->dir_fd = open_folder(dir, w->name, fault);
	if (w->dir_fd < 0)
		return w->dir_fd;
	r = take_lock(w, fault);
	if (r < 0)
		return r;
	/* What was not finished, by a writer that died or by this one, keeps memory. */
	(void)unlinkat(w->dir_fd, RT_RING_TMP_NAME, 0);
	r = open_ring(w, flags, fault);
	if (r < 0) {
		(void)unlinkat(w->dir_fd, RT_RING_TMP_NAME, 0);
		return r;
	}
	r = rt_writer_open_bell(w, fault);
	if (r < 0)
		return r;
	rt_writer_open_readers(w);
	w->sweep = !w->always && (config->bell_mode & 0022) != 0;
	rt_writer_init_limits(w);
	rt_store64(&w->hot->opened_ns, rt_now_ns(CLOCK_REALTIME));
	rt_store64(&w->hot->n_writers, rt_own64(&w->hot->n_writers) + 1);
	rt_store32(&w->hot->durability, 0); /* until a log is known to be there */
	r = rt_writer_start(w, fault);
	if (r < 0)
		return r;
	rt_writer_wake_everybody(w->hot);
	*ret = rt_take_ptr(&w);
	return 0;
}

void rt_writer_close(struct rt_writer *w)
{
	if (!w)
		return;
	rt_writer_abort(w);
	rt_store32(&w->hot->writer_pid, 0);
	rt_store32(&w->hot->state, RT_STATE_CLOSED);
	rt_writer_wake_everybody(w->hot);
	release(w);
}

void rt_writer_drop(struct rt_writer *w)
{
	if (!w)
		return;
	rt_keeper_remove(w->keeper);
	w->keeper = NULL;
	rt_store32(&w->hot->life, FUTEX_OWNER_DIED); /* what the kernel would store */
	rt_wake_life(w->hot);
	release(w);
}
