/* SPDX-License-Identifier: MIT */
/*
 * From "nothing there" to an outcome: spin, sleep, or arm the descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <time.h>

#include "client/reader.h"

/* Looks between two of the clock, which costs more than a look. */
#define SPINS_PER_CLOCK 64
#define SHOW_NS         UINT64_C(1000000)

/*
 * ---- The bell ----
 */

static int open_bell(const struct ringtail *r)
{
	const char *slash = strrchr(r->path, '/');
	int dir_len = slash ? (int)(slash - r->path) + 1 : 0;
	char path[4096];
	int n = snprintf(path, sizeof(path), "%.*sbell", dir_len, r->path);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -1;
	return open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
}

/* Only the kernel stores to it on our behalf, so a hostile size is no danger here. */
void rt_reader_use_bell(struct ringtail *r, int fd)
{
	struct rt_bell *bell;

	r->bell_id = rt_load64(&r->segment.hot->bell_id);
	if (!rt_bell_is(fd, r->bell_id))
		return; /* another feed's, or one that was renewed since */
	bell = mmap(NULL, sizeof(*bell), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	r->bell = bell == MAP_FAILED ? NULL : bell;
	r->sleeper.bell = r->bell;
}

void rt_reader_drop_bell(struct ringtail *r)
{
	if (r->bell)
		(void)munmap(r->bell, sizeof(*r->bell));
	r->bell = NULL;
	r->sleeper.bell = NULL;
}

void rt_reader_map_bell(struct ringtail *r)
{
	uint64_t id = rt_load64(&r->segment.hot->bell_id);

	if (id == r->bell_id)
		return;
	rt_reader_drop_bell(r);
	r->bell_id = id;
	if (!id || !r->path)
		return;

	AUTO_CLOSE int fd = open_bell(r);

	if (fd >= 0)
		rt_reader_use_bell(r, fd);
}

int rt_reader_arm(struct ringtail *r)
{
	/* A seq that is waited for, and the end, can be reached by any commit. */
	bool by_any = rt_load64(&r->wanted) || r->until != UINT64_MAX;

	r->sleeper.topics = by_any ? 1u << RT_TOPIC_ANY : r->filters.topics;
	rt_reader_map_bell(r);

	int e = rt_sleeper_arm(&r->sleeper);

	if (e && r->bell && r->path) {
		/* Truncated, maybe renewed under the same id: open it again next time.
		 */
		rt_reader_drop_bell(r);
		r->bell_id = 0;
	}
	return e;
}

/*
 * ---- Waiting ----
 */

/*
 * Where the payload of the next event will most likely be: behind that of the one
 * before. To ask for that line while waiting for the slot lets both come at once; where
 * it was a wrong guess nothing is lost but a line.
 */
static const uint8_t *expected_payload(const struct ringtail *r)
{
	const struct rt_segment *segment = &r->segment;
	struct rt_event ev;
	uint64_t end;

	if (rt_ring_look(segment, r->next - 1, &ev) != RT_LOOK_EVENT)
		return segment->payload;
	end = (uint64_t)ev.pos * RT_WORD + rt_ring_payload_of(&ev);
	return segment->payload + (end & (segment->geo.payload_size - 1));
}

/* Nothing is delivered, but the position is where somebody waits for it to be. */
static bool is_where_wanted(const struct ringtail *r)
{
	uint64_t wanted = rt_load64(&r->wanted);

	return wanted && r->position >= wanted;
}

/* Looks at the one line that the next commit changes, until @until. */
static bool spin(struct ringtail *r, uint64_t until)
{
	const uint8_t *expected = expected_payload(r);

	do {
		for (unsigned i = 0; i < SPINS_PER_CLOCK; i++) {
			if (rt_ring_ready(&r->segment, r->next))
				return true;
			__builtin_prefetch(expected);
		}
		if (rt_load32(&r->segment.hot->state) != RT_STATE_LIVE ||
		    rt_load32(&r->cancel) || is_where_wanted(r) ||
		    !rt_ring_intact(&r->segment, r->next) ||
		    (rt_load32(&r->segment.hot->life) & FUTEX_OWNER_DIED))
			return false;
	} while (until == UINT64_MAX || rt_now_ns(CLOCK_MONOTONIC) < until);
	return false;
}

/* Nothing, and the news that the writer died: the caller may want to look. */
static bool just_died(struct ringtail *r)
{
	bool died = r->death_due;

	r->death_due = false;
	return died;
}

static int look(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		void *arg)
{
	int outcome = try(r, arg);

	if (outcome == RINGTAIL_NOTHING)
		outcome = rt_reader_idle(r);
	return outcome == RINGTAIL_NOTHING && is_where_wanted(r) ? RINGTAIL_CAUGHT_UP
								 : outcome;
}

/* Nobody rings when the state of a new history can be read. */
static void pause_for_state(uint64_t timeout_ns)
{
	const struct timespec pause = {
		.tv_nsec = (long)rt_min(timeout_ns, RT_POLL_NS),
	};

	(void)nanosleep(&pause, NULL); /* cut short by a signal: look sooner */
}

/* One sleep.  A second look after announcing: see bell.h. */
static int sleep_once(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		      void *arg, uint64_t timeout_ns)
{
	int unannounced, outcome, e;

	if (r->resync.phase) {
		pause_for_state(timeout_ns);
		return look(r, try, arg);
	}
	unannounced = rt_reader_arm(r);
	outcome = look(r, try, arg);
	if (outcome != RINGTAIL_NOTHING || r->resync.phase)
		return outcome;
	r->sleeps++;
	if (r->presence)
		rt_presence_rest(r, RT_PRESENCE_SLEEPING);
	e = rt_sleeper_wait(
		&r->sleeper,
		rt_min(timeout_ns, unannounced ? RT_POLL_NS : RT_SLEEP_MAX_NS));
	outcome = look(r, try, arg);
	if (outcome == RINGTAIL_NOTHING && e == 0)
		r->spurious++;
	if (outcome == RINGTAIL_NOTHING && e == -ETIMEDOUT && !unannounced)
		outcome = rt_reader_check_path(r);
	return outcome;
}

static int sleep_until(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		       void *arg, uint64_t deadline)
{
	for (;;) {
		uint64_t now = rt_now_ns(CLOCK_MONOTONIC);
		int outcome;

		if (now >= deadline)
			return RINGTAIL_NOTHING;
		outcome = sleep_once(r, try, arg, deadline - now);
		if (outcome != RINGTAIL_NOTHING || just_died(r))
			return outcome;
	}
}

static int spin_until(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		      void *arg, uint64_t until)
{
	/* Who spins is soon on its way again; if not, it says where it stands. */
	uint64_t show_at =
		r->presence ? rt_now_ns(CLOCK_MONOTONIC) + SHOW_NS : UINT64_MAX;

	for (;;) {
		uint64_t now = 0;
		int outcome;

		if (r->resync.phase)
			pause_for_state(RT_POLL_NS);
		if (r->resync.phase || !spin(r, rt_min(until, show_at)))
			now = rt_now_ns(CLOCK_MONOTONIC);

		if (now >= show_at) {
			rt_presence_rest(r, RT_PRESENCE_RUNNING);
			show_at = now + RT_SLEEP_MAX_NS;
		}
		if (now >= until)
			return RINGTAIL_NOTHING;
		outcome = look(r, try, arg);
		if (outcome != RINGTAIL_NOTHING || just_died(r))
			return outcome;
		if (r->presence)
			rt_presence_tick(r);
	}
}

/* The descriptor becomes readable when sleep_once() would have returned. */
static int arm_descriptor(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
			  void *arg)
{
	int unannounced, outcome, e;

	if (r->pollfd->armed)
		return RINGTAIL_NOTHING;
	unannounced = rt_reader_arm(r);
	outcome = look(r, try, arg);
	if (outcome != RINGTAIL_NOTHING)
		return outcome;
	r->sleeps++;
	if (r->presence)
		rt_presence_rest(r, RT_PRESENCE_SLEEPING);
	e = r->pollfd->ops->arm(r->pollfd, &r->sleeper,
				unannounced || r->resync.phase ? RT_POLL_NS
							       : RT_SLEEP_MAX_NS);
	if (e < 0) {
		rt_fault_set(&r->fault, "feed '%s': cannot arm its descriptor: %s",
			     r->segment.geo.name, strerror(-e));
		return e;
	}
	return RINGTAIL_NOTHING;
}

int rt_reader_wait(struct ringtail *r, int (*try)(struct ringtail *r, void *arg),
		   void *arg, int64_t timeout_ns)
{
	uint64_t now, deadline, until;
	bool died = just_died(r);
	int outcome;

	if (!timeout_ns)
		return r->pollfd ? arm_descriptor(r, try, arg) : RINGTAIL_NOTHING;
	if (died)
		return RINGTAIL_NOTHING;

	now = rt_now_ns(CLOCK_MONOTONIC);
	deadline = rt_deadline(now, timeout_ns);
	if (r->wait == RINGTAIL_WAIT_SPIN)
		return spin_until(r, try, arg, deadline);
	if (r->wait == RINGTAIL_WAIT_SPIN_SLEEP) {
		until = rt_min(deadline, rt_deadline(now, (int64_t)rt_min(r->spin_ns,
									  INT64_MAX)));
		outcome = spin_until(r, try, arg, until);
		if (outcome != RINGTAIL_NOTHING)
			return outcome;
	}
	return sleep_until(r, try, arg, deadline);
}

void ringtail_cancel(struct ringtail *r)
{
	rt_store32(&r->cancel, 1);
	rt_wake_private(&r->cancel);
}
