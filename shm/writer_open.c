/* SPDX-License-Identifier: MIT */
/*
 * How a writer comes to a feed and how it leaves: the lock, the files, recovery of
 * what a dead writer left, and the move to another ring.
 */
#include "shm/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define RING_NAME       "ring"
#define RING_TMP_NAME   ".ring.new"
#define BELL_NAME       "bell"
#define BELL_TMP_NAME   ".bell.new"
#define LOCK_DYING_NS   UINT64_C(20000000000)
#define LOCK_UNKNOWN_NS UINT64_C(1000000000)
#define LOCK_NAME       "lock"
#define SWEEP_NS        UINT64_C(1000000)

static int fail(struct rt_fault *fault, const char *feed, const char *what, int r)
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
		return fail(fault, feed, "make its folder", -errno);

	int fd = openat(top, feed, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? fail(fault, feed, "open its folder", -errno) : fd;
}

/*
 * How long a lock that is held may still be let go of.  A process that was killed keeps
 * its files until the kernel has finished what it does for it, such as a sync; that it
 * is dead already, its ring says.
 */
static uint64_t patience_ns(const struct rt_writer *w)
{
	AUTO_CLOSE int fd =
		openat(w->dir_fd, RING_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint32_t life;

	if (fd < 0 || pread(fd, &life, sizeof(life),
			    RT_PAGE + offsetof(struct rt_hot, life)) != sizeof(life))
		return LOCK_UNKNOWN_NS;
	return life & FUTEX_OWNER_DIED ? LOCK_DYING_NS : 0;
}

static int try_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0
	       : errno == EACCES                  ? -EAGAIN
						  : -errno;
}

/*
 * A file of its own with mode 0600, since a reader can put a read lock on the ring
 * and keep a writer out for ever.
 */
static int take_lock(struct rt_writer *w, struct rt_fault *fault)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t begun = rt_now_ns(CLOCK_MONOTONIC);
	int r;

	w->lock_fd = openat(w->dir_fd, LOCK_NAME,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->lock_fd < 0)
		return fail(fault, w->name, "open its lock", -errno);
	while ((r = try_lock(w->lock_fd)) == -EAGAIN &&
	       rt_now_ns(CLOCK_MONOTONIC) - begun < patience_ns(w))
		(void)nanosleep(&pause, NULL); /* cut short: looks sooner */
	if (!r)
		return 0;
	if (r != -EAGAIN)
		return fail(fault, w->name, "lock it", r);
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

/*
 * ---- The bell ----
 */

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static int make_bell(struct rt_writer *w, struct rt_fault *fault)
{
	const struct rt_ring_config *config = &w->config;

	(void)unlinkat(w->dir_fd, BELL_TMP_NAME, 0);

	AUTO_CLOSE int fd = openat(w->dir_fd, BELL_TMP_NAME,
				   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(fault, w->name, "create its bell", -errno);
	if (fallocate(fd, 0, 0, sizeof(struct rt_bell)) < 0)
		return fail(fault, w->name, "reserve its bell", -errno);
	if ((config->uid != (uid_t)-1 || config->gid != (gid_t)-1) &&
	    fchown(fd, config->uid, config->gid) < 0)
		return fail(fault, w->name, "give its bell to its owner", -errno);
	if (fchmod(fd, config->bell_mode) < 0)
		return fail(fault, w->name, "set the mode of its bell", -errno);

	/* Over an older bell's address if there is one: a SIGBUS handler may look. */
	struct rt_bell *bell =
		mmap(w->bell, sizeof(*bell), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE | (w->bell ? MAP_FIXED : 0), fd, 0);

	if (bell == MAP_FAILED)
		return fail(fault, w->name, "map its bell", -errno);
	bell->id = rt_random64();
	rt_store64(&bell->magic, RT_BELL_MAGIC);
	w->bell = bell;
	w->bell_id = bell->id;
	w->bell_ino = inode_of(fd);
	if (renameat(w->dir_fd, BELL_TMP_NAME, w->dir_fd, BELL_NAME) < 0)
		return fail(fault, w->name, "publish its bell", -errno);
	return 0;
}

static bool bell_is_whole(const struct rt_writer *w, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == sizeof(struct rt_bell) &&
	       (st.st_mode & 07777) == w->config.bell_mode;
}

/* The bell that is there, since sleepers of the last writer may have rung it. */
static bool reuse_bell(struct rt_writer *w)
{
	uint64_t id = rt_own64(&w->hot->bell_id);
	AUTO_CLOSE int fd =
		openat(w->dir_fd, BELL_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || !bell_is_whole(w, fd) || !rt_bell_is(fd, id))
		return false;

	struct rt_bell *bell = mmap(NULL, sizeof(*bell), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_POPULATE, fd, 0);

	if (bell == MAP_FAILED)
		return false;
	w->bell = bell;
	w->bell_id = id;
	w->bell_ino = inode_of(fd);
	return true;
}

static int open_bell(struct rt_writer *w, struct rt_fault *fault)
{
	int r;

	if (w->always) {
		rt_store64(&w->hot->bell_id, 0);
		return 0;
	}
	if (!reuse_bell(w)) {
		r = make_bell(w, fault);
		if (r < 0)
			return r;
	}
	rt_store64(&w->hot->bell_id, w->bell_id);
	return 0;
}

/* Everybody looks up and, finding nothing, announces itself afresh. */
static void wake_everybody(struct rt_hot *hot)
{
	for (unsigned topic = 0; topic < RT_TOPICS; topic++) {
		(void)rt_add32(&hot->wakes[topic], 1);
		rt_wake_word(&hot->wakes[topic]);
	}
	rt_wake_life(hot);
}

int rt_writer_bell_check(struct rt_writer *w)
{
	int r;

	if (!w->bell)
		return 0;

	AUTO_CLOSE int fd =
		openat(w->dir_fd, BELL_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && bell_is_whole(w, fd) && inode_of(fd) == w->bell_ino &&
	    w->bell->id == w->bell_id)
		return 0;
	r = make_bell(w, NULL);
	if (r < 0)
		return r;
	rt_store64(&w->hot->bell_id, w->bell_id);
	wake_everybody(w->hot);
	return 1;
}

bool rt_writer_bell_fault(struct rt_writer *w, const void *addr)
{
	const uint8_t *bell = (const uint8_t *)w->bell;
	const uint8_t *at = addr;

	if (!bell || at < bell || at >= bell + sizeof(struct rt_bell))
		return false;
	return mmap(w->bell, sizeof(struct rt_bell), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/*
 * ---- Recovery ----
 */

static int damaged(const struct rt_writer *w, struct rt_fault *fault, const char *what,
		   uint64_t seq)
{
	rt_fault_set(fault,
		     "feed '%s': its ring is damaged: %s at seq %" PRIu64
		     "; remove the file '%s' in its folder to begin a new history",
		     w->name, what, seq, RING_NAME);
	return RT_E_CORRUPT;
}

/* Is the transaction that begins at @seq published?  Its size; 0 no; -1 nonsense. */
static int64_t published_at(const struct rt_writer *w, uint64_t seq)
{
	struct rt_event ev;
	enum rt_look look = rt_ring_look(&w->segment, seq, &ev);

	if (look == RT_LOOK_NOTHING)
		return 0;
	if (look != RT_LOOK_EVENT || ev.txn_index)
		return -1;
	for (uint32_t i = 1; i < ev.txn_size; i++) {
		struct rt_event next;

		if (rt_ring_look(&w->segment, seq + i, &next) != RT_LOOK_EVENT ||
		    next.txn_index != i || next.txn_size != ev.txn_size)
			return -1;
	}
	return ev.txn_size;
}

/*
 * Seq words of events that were never published would come to life as soon as the
 * one before them is: they go before anything else is stored.
 */
static void clear_beyond(struct rt_writer *w, uint64_t head)
{
	for (uint64_t i = 1; i <= w->segment.geo.max_txn_events; i++) {
		struct rt_slot *slot = &w->slots[(head + i) & w->slot_mask];

		if (rt_own64(&slot->seq) > head)
			rt_store64(&slot->seq, 0);
	}
}

/*
 * Stores, in order: seq words beyond the end become 0, head becomes the last
 * published seq.  A reader sees no change but head; a successor that comes after
 * any of the stores does the same again.
 */
static int recover(struct rt_writer *w, struct rt_fault *fault)
{
	uint64_t head = rt_own64(&w->hot->head);
	uint64_t first_seq = w->segment.geo.first_seq;
	uint64_t nonsense;
	struct rt_event ev;
	int64_t n;

	w->floor = rt_own64(&w->hot->floor);
	if (head > UINT64_MAX / 2 || head + 1 < first_seq)
		return damaged(w, fault, "head is out of range", head);
	if (head >= first_seq &&
	    (rt_ring_look(&w->segment, head, &ev) != RT_LOOK_EVENT ||
	     ev.txn_index + 1 != ev.txn_size)) {
		/* Everything may lie below the floor; the slot is then still there. */
		return damaged(w, fault, "the newest event makes no sense", head);
	}
	while ((n = published_at(w, head + 1)) > 0)
		head += (uint64_t)n;
	if (n < 0)
		return damaged(w, fault, "an event makes no sense", head + 1);
	if (w->floor < first_seq || w->floor > head + 1 ||
	    (w->floor <= head && head - w->floor > w->slot_mask))
		return damaged(w, fault, "floor is out of range", w->floor);
	nonsense = rt_ring_nonsense(&w->segment, w->floor, head);
	if (nonsense)
		return damaged(w, fault, "an event makes no sense", nonsense);

	clear_beyond(w, head);
	rt_store64(&w->hot->head, head);
	w->next = head + 1;
	if (head >= first_seq) {
		const struct rt_slot *last = &w->slots[head & w->slot_mask];
		uint64_t total =
			(uint64_t)last->key_len + last->value_len + last->prev_len;
		uint64_t in_slot = last->key_len <= RT_INLINE_MAX ? last->key_len : 0;
		uint64_t need = total <= RT_INLINE_MAX
					? 0
					: rt_round_up(total - in_slot, RT_WORD);

		/* Counted on from 2^32 words, so that older positions stay positive. */
		w->pos = (UINT64_C(1) << 32) * RT_WORD + (uint64_t)last->pos * RT_WORD +
			 need;
		w->last_ns = last->time_ns;
	}
	return 0;
}

/*
 * ---- Open ----
 */

static void adopt(struct rt_writer *w, const struct rt_segment *segment)
{
	w->segment = *segment;
	w->slots = segment->slots;
	w->payload = segment->payload;
	w->hot = segment->hot;
	w->slot_mask = segment->geo.n_slots - 1;
	w->payload_mask = segment->geo.payload_size - 1;
	w->max_txn_bytes = segment->geo.max_txn_bytes;
	w->max_txn_events = segment->geo.max_txn_events;
	w->max_key = segment->geo.max_key;
	w->max_value = segment->geo.max_value;
	w->always = segment->geo.wake_mode == RT_WAKE_ALWAYS;
	w->n_txns = rt_own64(&w->hot->n_txns);
	w->n_bytes = rt_own64(&w->hot->n_bytes);
	w->wakes = rt_own64(&w->hot->n_wakes);
	w->wake_calls = rt_own64(&w->hot->n_wake_calls);
}

/* A ring of its own under a name that no reader looks for. */
static int make_ring(struct rt_writer *w, uint64_t epoch, uint64_t head,
		     struct rt_fault *fault)
{
	struct rt_segment segment;
	int r = rt_segment_create(w->dir_fd, RING_TMP_NAME, &w->config, epoch, head,
				  fault, &segment);

	if (r < 0)
		return r;
	adopt(w, &segment);
	w->next = head + 1;
	w->floor = head + 1;
	w->pos = 0;
	return 0;
}

static int publish_ring(struct rt_writer *w, struct rt_fault *fault)
{
	if (renameat(w->dir_fd, RING_TMP_NAME, w->dir_fd, RING_NAME) < 0)
		return fail(fault, w->name, "publish its ring", -errno);
	return 0;
}

/* For a ring that is being made: nobody can look yet, so nothing needs to be woken. */
static void be_quiet(struct rt_writer *w, struct rt_bell *quiet)
{
	w->bell = quiet;
	w->always = false;
	w->fence = false;
	w->sweep = false;
	w->quarter_seq = UINT64_MAX;
	w->quarter_pos = UINT64_MAX;
}

static void end_quiet(struct rt_writer *w)
{
	rt_writer_set_time(w, 0);
	w->bell = NULL;
	w->always = w->segment.geo.wake_mode == RT_WAKE_ALWAYS;
}

/* What a ring that would begin empty is to hold. */
static int fill_ring(struct rt_writer *w, struct rt_fault *fault)
{
	static struct rt_bell quiet;
	int r;

	if (!w->config.fill)
		return 0;
	rt_fault_set(fault, "feed '%s': cannot fill its ring", w->name);
	rt_writer_init_limits(w);
	be_quiet(w, &quiet);
	r = w->config.fill(w, w->config.fill_arg);
	end_quiet(w);
	return r;
}

/* Head of a ring that begins: one below the first seq it was asked for. */
static uint64_t first_head(const struct rt_writer *w)
{
	return w->config.first_seq ? w->config.first_seq - 1 : 0;
}

/* A ring that nobody has seen yet, with what it is to hold. */
static int make_filled(struct rt_writer *w, uint64_t epoch, struct rt_fault *fault)
{
	int r = make_ring(w, epoch, first_head(w), fault);

	return r < 0 ? r : fill_ring(w, fault);
}

/*
 * Takes over one transaction of the old ring.  One that the new ring cannot take
 * empties it: what is older cannot be kept without a hole.
 */
static int carry_txn(struct rt_writer *w, const struct rt_segment *old, uint64_t first,
		     uint32_t n)
{
	struct rt_event ev = { .seq = 0 };

	rt_writer_begin(w);
	for (uint32_t i = 0; i < n; i++) {
		int r = -EINVAL;

		if (rt_ring_look(old, first + i, &ev) == RT_LOOK_EVENT)
			r = rt_writer_add(w, ev.op, ev.flags, ev.key, ev.key_len,
					  ev.value, ev.value_len);
		if (r < 0) {
			rt_writer_abort(w);
			return r;
		}
	}
	rt_writer_set_time(w, ev.time_ns);
	rt_writer_commit(w);
	return 0;
}

/* The newest events of the old ring, as many as the new one holds. */
static int carry_over(struct rt_writer *w, const struct rt_segment *old, uint64_t from,
		      uint64_t head, struct rt_fault *fault)
{
	struct rt_event ev;

	for (uint64_t seq = from; seq <= head; seq += ev.txn_size) {
		if (rt_ring_look(old, seq, &ev) != RT_LOOK_EVENT || ev.txn_index)
			return damaged(w, fault, "an event makes no sense", seq);
		if (carry_txn(w, old, seq, ev.txn_size) < 0) {
			uint64_t epoch = w->segment.geo.epoch;
			int r;

			rt_segment_drop(&w->segment);
			r = make_ring(w, epoch, seq + ev.txn_size - 1, fault);
			if (r < 0)
				return r;
			rt_writer_init_limits(w);
			be_quiet(w, w->bell);
		}
	}
	return 0;
}

/* From here on readers look for the successor at the ring's name. */
static void retire(struct rt_segment *old, uint64_t successor)
{
	rt_store64(&old->hot->successor, successor);
	rt_store32(&old->hot->state, RT_STATE_RETIRED);
}

/*
 * Moves the feed from @old, recovered already, to a new file.  Readers see: the old
 * ring retired, while the name still leads to it, so that they look again; the new
 * file under the name; a wake-up.  A writer that dies after the first leaves a ring
 * that the next one takes up as if it had never been retired; one that dies after
 * the second leaves nobody behind, since the old ring says where to look.
 */
static int replace(struct rt_writer *w, bool new_epoch, struct rt_fault *fault)
{
	AUTO(rt_segment_drop) struct rt_segment old = w->segment;
	static struct rt_bell quiet;
	uint64_t head = w->next - 1;
	uint64_t from = w->floor;
	uint64_t epoch = new_epoch ? w->config.epoch : old.geo.epoch;
	uint64_t last_ns = w->last_ns;
	uint32_t state;
	int r;

	w->segment = RT_SEGMENT_NONE;
	if (!epoch)
		epoch = rt_random64();
	r = new_epoch ? make_filled(w, epoch, fault)
		      : make_ring(w, epoch, from - 1, fault);
	if (!r && !new_epoch) {
		rt_writer_init_limits(w);
		be_quiet(w, &quiet);
		w->last_ns = 0; /* what is carried keeps its own times */
		r = carry_over(w, &old, from, head, fault);
		end_quiet(w);
		w->last_ns = last_ns;
	}
	if (r < 0)
		return r;
	rt_store64(&w->hot->n_writers, rt_own64(&old.hot->n_writers));
	rt_store64(&w->hot->n_txns, w->n_txns = rt_own64(&old.hot->n_txns));
	rt_store64(&w->hot->n_bytes, w->n_bytes = rt_own64(&old.hot->n_bytes));
	state = rt_load32(&old.hot->state);
	retire(&old, w->segment.geo.instance);
	r = publish_ring(w, fault);
	if (r < 0) {
		rt_store32(&old.hot->state, state);
		return r;
	}
	wake_everybody(old.hot);
	return 0;
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
		openat(w->dir_fd, RING_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return fail(fault, w->name, "open its ring", -errno);
	r = rt_segment_map(fd, true, w->name, fault, &segment);
	if (r < 0)
		return r;
	adopt(w, &segment);
	if (strcmp(segment.geo.name, w->name) != 0) {
		rt_fault_set(fault, "feed '%s': its ring belongs to a feed '%s'",
			     w->name, segment.geo.name);
		return RT_E_CORRUPT;
	}
	return 1;
}

/* A ring where there is none, or none that can be gone on with. */
static int begin_ring(struct rt_writer *w, struct rt_fault *fault)
{
	uint64_t epoch = w->config.epoch ? w->config.epoch : rt_random64();
	int r = make_filled(w, epoch, fault);

	return r < 0 ? r : publish_ring(w, fault);
}

/* What is there makes no sense: its readers are sent to what takes its name. */
static int begin_anew(struct rt_writer *w, struct rt_fault *fault)
{
	AUTO(rt_segment_drop) struct rt_segment old = w->segment;
	int r;

	w->segment = RT_SEGMENT_NONE;
	r = begin_ring(w, fault);
	if (!r && old.base) {
		retire(&old, w->segment.geo.instance);
		wake_everybody(old.hot);
	}
	return r;
}

static int open_ring(struct rt_writer *w, unsigned flags, struct rt_fault *fault)
{
	bool new_epoch = flags & RT_WRITER_NEW_EPOCH;
	int r = map_existing(w, fault);

	if (!r)
		return begin_ring(w, fault);
	if (r > 0)
		r = recover(w, fault);
	if ((r == RT_E_CORRUPT || r == RT_E_VERSION) && flags & RT_WRITER_ANEW)
		return begin_anew(w, fault);
	if (r < 0)
		return r;
	if (new_epoch || !is_as_asked(&w->segment, &w->config))
		return replace(w, new_epoch, fault);
	return 0;
}

static int start(struct rt_writer *w, unsigned flags, uint64_t beat_every_ns,
		 struct rt_fault *fault)
{
	struct rt_hot *hot = w->hot;
	struct rt_keeping keeping = {
		.ring_fd = w->segment.fd,
		.lock_fd = w->lock_fd,
		.hot = hot,
		.beat_every_ns = flags & RT_WRITER_SELF_BEAT ? 0 : beat_every_ns,
		.sweep = w->sweep,
	};
	int r;

	w->fence = !rt_barrier_register();
	rt_store32(&hot->barrier, w->fence ? RT_BARRIER_WRITER : RT_BARRIER_SLEEPER);
	rt_store64(&hot->beat_every_ns, beat_every_ns);
	rt_store64(&hot->sweep_every_ns, w->sweep ? SWEEP_NS : 0);
	rt_store32(&hot->writer_pid, (uint32_t)getpid());
	rt_store64(&hot->opened_ns, rt_now_ns(CLOCK_REALTIME));
	rt_store64(&hot->n_writers, rt_own64(&hot->n_writers) + 1);
	rt_store32(&hot->durability, 0); /* until a log is known to be there */
	rt_writer_beat(w);
	r = rt_keeper_add(&keeping, &w->keeper);
	if (r < 0)
		return fail(fault, w->name, "start its keeper", r);
	rt_store32(&hot->state, RT_STATE_LIVE);
	wake_everybody(hot);
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
	w->clock = flags & RT_WRITER_PRECISE ? CLOCK_REALTIME : CLOCK_REALTIME_COARSE;
	memcpy(w->name, config->name, strlen(config->name) + 1);
	w->config.name = w->name;

	w->dir_fd = open_folder(dir, w->name, fault);
	if (w->dir_fd < 0)
		return w->dir_fd;
	r = take_lock(w, fault);
	if (r < 0)
		return r;
	r = open_ring(w, flags, fault);
	if (r < 0) {
		/* What was not finished would keep its memory. */
		(void)unlinkat(w->dir_fd, RING_TMP_NAME, 0);
		return r;
	}
	mark_lock(w);
	r = open_bell(w, fault);
	if (r < 0)
		return r;
	w->sweep = !w->always && (config->bell_mode & 0022) != 0;
	rt_writer_init_limits(w);
	r = start(w, flags, beat_every_ns, fault);
	if (r < 0)
		return r;
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
	wake_everybody(w->hot);
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
