/* SPDX-License-Identifier: MIT */
/*
 * test_step_commit.c - a writer stepped through its instructions, or killed there
 *
 * The writer is a child under ptrace(2).  After each of its instructions that changed
 * the ring, readers of every kind look at it: what they see is whole, nothing new, or
 * certainly overwritten.  Then the same again with SIGKILL instead of the next
 * instruction, after which another writer goes on.
 *
 *	test_stress_step_commit [all]	every change, not a sample
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <ringtail.h>

#include "shm/ring.h"
#include "tests/stress/plan.h"
#include "tests/stress/step.h"

#define FEED    "steps"
#define AHEAD   64 /* events that a child prepares */
#define STALES  6
#define MORE    200 /* events of the last writer: several times round */
#define BEAT_NS UINT64_C(3600000000000)

static bool every_change;
static char failure[512];

#define FAIL(...) (void)snprintf(failure, sizeof(failure), __VA_ARGS__)

/*
 * ---- What is to be seen ----
 */

/* A look of long ago, whose bytes are fetched only now. */
struct stale {
	struct rt_event ev;
	bool used;
};

struct scene {
	char *dir;
	struct rt_segment segment; /* read-only */
	uint64_t published;        /* newest seq that was seen to be */
	uint64_t head, floor;      /* as seen last */
	unsigned writer;           /* the present one */
	unsigned n_checks;
	struct stale stales[STALES];
	struct ringtail *follower; /* reads everything at once */
	uint64_t followed;
	struct ringtail *slow; /* now and then an event; is lapped */
	uint64_t slowed;
	unsigned n_gaps;
	uint8_t *image; /* of the ring, after the change before */
};

static unsigned writer_of(const struct scene *s, uint64_t seq)
{
	unsigned writer = 0;

	while (writer < s->writer && plan_base[writer + 1] <= seq)
		writer++;
	return writer;
}

/* Another writer takes over: what is not published by now is its. */
static void next_writer(struct scene *s)
{
	plan_base[++s->writer] = s->published + 1;
}

static void want(const struct scene *s, uint64_t seq, struct plan_event *ret)
{
	plan_event(seq, writer_of(s, seq), ret);
}

/* Is event @ev of the ring the one that was published? */
static bool is_whole(const struct scene *s, const struct rt_event *ev, const char *who)
{
	struct plan_event wanted;
	const char *what;

	want(s, ev->seq, &wanted);
	what = ev->txn_index != wanted.txn_index || ev->txn_size != wanted.txn_size
		       ? "place in its transaction"
		       : plan_differs(&wanted, ev->time_ns, ev->op, ev->flags, ev->key,
				      ev->key_len, ev->value, ev->value_len,
				      ev->value + ev->value_len, ev->prev_len);
	if (what)
		FAIL("%s: seq %" PRIu64 ": wrong %s", who, ev->seq, what);
	return !what;
}

static bool holds(const struct scene *s, uint64_t seq)
{
	struct rt_event ev;
	enum rt_look look = rt_ring_look(&s->segment, seq, &ev);

	if (look == RT_LOOK_EVENT)
		return is_whole(s, &ev, "look");
	FAIL("look: seq %" PRIu64 " of floor %" PRIu64 ", newest %" PRIu64 " gives %d",
	     seq, s->floor, s->published, look);
	return false;
}

/* What has become visible since the last look, by whole transactions. */
static bool see_news(struct scene *s)
{
	struct rt_event ev;
	uint64_t before = s->published;
	enum rt_look look;

	while ((look = rt_ring_look(&s->segment, s->published + 1, &ev)) ==
	       RT_LOOK_EVENT) {
		uint32_t size =
			plan_size_of(s->published + 1, writer_of(s, s->published + 1));

		for (uint32_t i = 0; i < size; i++) {
			if (!holds(s, s->published + 1 + i))
				return false;
		}
		s->published += size;
	}
	if (look != RT_LOOK_NOTHING) {
		FAIL("beyond the newest, %" PRIu64 ": look gives %d", s->published,
		     look);
		return false;
	}
	if (s->head > s->published || s->head < before) {
		FAIL("head is %" PRIu64 ", the newest %" PRIu64, s->head, s->published);
		return false;
	}
	return true;
}

static bool is_first(const struct scene *s, uint64_t seq, const char *who)
{
	if (seq <= s->published + 1 && plan_first_of(seq, writer_of(s, seq)) == seq)
		return true;
	FAIL("%s is %" PRIu64 ", not the first of a transaction (newest %" PRIu64 ")",
	     who, seq, s->published);
	return false;
}

/* The calls that find a place to read from. */
static bool find_places(const struct scene *s)
{
	uint64_t oldest, head, middle = s->floor + (s->published - s->floor) / 2;
	struct plan_event ev;

	rt_ring_bounds(&s->segment, &oldest, &head);
	if (head != s->head || oldest != rt_min(s->floor, head + 1)) {
		FAIL("bounds are %" PRIu64 " .. %" PRIu64, oldest, head);
		return false;
	}
	for (uint64_t seq = s->floor; seq <= s->head; seq += 5) {
		uint64_t at = rt_ring_align(&s->segment, seq);

		if (!is_first(s, at, "align") || at < seq)
			return false;
	}
	want(s, middle, &ev);
	if (middle <= s->head && middle >= s->floor &&
	    rt_ring_at_time(&s->segment, ev.time_ns) !=
		    plan_first_of(middle, writer_of(s, middle))) {
		FAIL("at_time finds %" PRIu64 ", not %" PRIu64,
		     rt_ring_at_time(&s->segment, ev.time_ns),
		     plan_first_of(middle, writer_of(s, middle)));
		return false;
	}
	return is_first(s, rt_ring_half(&s->segment), "half");
}

/* Who was stopped between its look and its copy is told so, or has what it saw. */
static bool copy_late(struct scene *s)
{
	for (size_t i = 0; i < STALES; i++) {
		struct stale *stale = &s->stales[i];
		bool intact = stale->used && rt_ring_intact(&s->segment, stale->ev.seq);

		if (intact && !is_whole(s, &stale->ev, "late copy"))
			return false;
		if (!intact && s->floor + i <= s->published)
			stale->used = rt_ring_look(&s->segment, s->floor + i,
						   &stale->ev) == RT_LOOK_EVENT;
	}
	return true;
}

/*
 * ---- The library's readers ----
 */

static struct ringtail *open_reader(const struct scene *s, uint32_t start,
				    uint32_t on_gap)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader = NULL;
	int r;

	options.dir = s->dir;
	options.start = start;
	options.on_gap = on_gap;
	r = ringtail_open(FEED, &options, &reader);
	if (r < 0)
		FAIL("cannot open a reader: %s", ringtail_error(NULL));
	return reader;
}

static bool is_event(const struct scene *s, const struct ringtail_event *ev,
		     uint64_t seq, const char *who)
{
	struct plan_event wanted;
	const char *what;

	want(s, seq, &wanted);
	what = ev->seq != seq ? "seq"
	       : ev->txn_index != wanted.txn_index || ev->txn_size != wanted.txn_size
		       ? "place in its transaction"
		       : plan_differs(&wanted, ev->time_ns, ev->op,
				      ev->flags & ~RINGTAIL_LAST, ev->key, ev->key_len,
				      ev->value, ev->value_len, ev->prev, ev->prev_len);
	if (what)
		FAIL("%s: seq %" PRIu64 " instead of %" PRIu64 ": wrong %s", who,
		     ev->seq, seq, what);
	return !what;
}

static bool refused(struct ringtail *reader, int r, const char *who)
{
	FAIL("%s: %d (%s)", who, r, ringtail_error(reader));
	return false;
}

/* Reads until there is nothing; *@seq is where it stands. */
static bool read_all(const struct scene *s, struct ringtail *reader, uint64_t *seq,
		     const char *who)
{
	struct ringtail_event ev;
	int r;

	while ((r = ringtail_next(reader, &ev, 0)) == RINGTAIL_EVENT) {
		if (!is_event(s, &ev, *seq + 1, who))
			return false;
		(*seq)++;
	}
	return r == RINGTAIL_NOTHING || r == RINGTAIL_CAUGHT_UP
		       ? true
		       : refused(reader, r, who);
}

static bool follow(struct scene *s)
{
	if (!read_all(s, s->follower, &s->followed, "follower"))
		return false;
	if (s->followed != s->published) {
		FAIL("follower is at %" PRIu64 ", the newest is %" PRIu64, s->followed,
		     s->published);
		return false;
	}
	return true;
}

/* One event; after a gap the first of a transaction. */
static bool follow_slowly(struct scene *s)
{
	struct ringtail_gap_info gap;
	struct ringtail_event ev;
	int r = ringtail_next(s->slow, &ev, 0);

	if (r == RINGTAIL_GAP) {
		(void)ringtail_gap(s->slow, &gap);
		if (gap.first != s->slowed + 1 || gap.first + gap.count < s->floor ||
		    gap.skipped > gap.count || gap.cause != RINGTAIL_CAUSE_LAPPED) {
			FAIL("slow reader at %" PRIu64 ": gap of %" PRIu64
			     " from %" PRIu64,
			     s->slowed, gap.count, gap.first);
			return false;
		}
		s->slowed += gap.count;
		s->n_gaps++;
		return is_first(s, s->slowed + 1, "end of the gap");
	}
	if (r == RINGTAIL_NOTHING || r == RINGTAIL_CAUGHT_UP)
		return true;
	if (r != RINGTAIL_EVENT)
		return refused(s->slow, r, "slow reader");
	return is_event(s, &ev, ++s->slowed, "slow reader");
}

/* Opened at this moment, from the oldest and from the newest. */
static bool join(const struct scene *s)
{
	struct ringtail *reader =
		open_reader(s, RINGTAIL_START_OLDEST, RINGTAIL_ON_GAP_ERROR);
	uint64_t seq = rt_min(s->floor, s->head + 1) - 1;
	bool fine = reader && read_all(s, reader, &seq, "joiner from the oldest");

	ringtail_close(reader);
	if (fine && seq != s->published) {
		FAIL("joiner from the oldest ends at %" PRIu64 ", not %" PRIu64, seq,
		     s->published);
		return false;
	}
	if (!fine)
		return false;
	reader = open_reader(s, RINGTAIL_START_NOW, RINGTAIL_ON_GAP_ERROR);
	seq = s->head;
	fine = reader && read_all(s, reader, &seq, "joiner from now");
	ringtail_close(reader);
	return fine;
}

/* Everything, at a moment at which the writer stands still. */
static bool look_around(struct scene *s)
{
	uint64_t head = rt_load64(&s->segment.hot->head);
	uint64_t floor = rt_load64(&s->segment.hot->floor);

	s->n_checks++;
	if (head < s->head || floor < s->floor) {
		FAIL("head or floor went back, to %" PRIu64 " and %" PRIu64, head,
		     floor);
		return false;
	}
	s->head = head;
	s->floor = floor;
	if (!see_news(s) || !is_first(s, floor, "floor"))
		return false;
	for (uint64_t seq = floor; seq <= s->published; seq++) {
		if (!holds(s, seq) || !rt_ring_intact(&s->segment, seq))
			return false;
	}
	if (!find_places(s) || !copy_late(s) || !follow(s))
		return false;
	if (s->n_checks % 7 == 0 && !join(s))
		return false;
	return s->n_checks % 23 != 0 || follow_slowly(s);
}

/* Has an instruction changed the ring?  Remembers what it looks like now. */
static bool has_changed(struct scene *s)
{
	size_t size = s->segment.geo.file_size;

	if (memcmp(s->image, s->segment.base, size) == 0)
		return false;
	memcpy(s->image, s->segment.base, size);
	return true;
}

/*
 * ---- The writer under ptrace ----
 */

struct job {
	const char *dir;
	uint32_t n_slots;
	unsigned writer; /* whose events */
	uint64_t warm;   /* commits up to this seq before the first stop */
	unsigned n_txns; /* between the two stops; 0: opening is between them */
};

static int open_writer(const char *dir, uint32_t n_slots, struct rt_writer **ret)
{
	struct rt_ring_config config = {
		.name = FEED,
		.n_slots = n_slots,
		.payload_size = n_slots * 64,
		.max_key = PLAN_KEY_MAX,
		.mode = 0640,
		.bell_mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct rt_fault fault = { "" };
	int r = rt_writer_open(dir, &config, 0, BEAT_NS, &fault, ret);

	if (r < 0)
		FAIL("cannot open a writer: %d (%s)", r, fault.text);
	return r;
}

static struct plan_event prepared[AHEAD];

static void prepare(uint64_t first, unsigned writer)
{
	for (unsigned i = 0; i < AHEAD; i++)
		plan_event(first + i, writer, &prepared[i]);
}

/* In the child.  What is between the stops is stepped. */
static void work(const void *arg)
{
	const struct job *job = arg;
	const struct plan_event *next = prepared;
	struct rt_writer *writer = NULL;

	if (!job->n_txns)
		step_stop();
	if (open_writer(job->dir, job->n_slots, &writer) < 0)
		_exit(1);
	if (job->n_txns) {
		if (plan_commit_to(writer, job->warm, job->writer) < 0)
			_exit(2);
		prepare(rt_writer_head(writer) + 1, job->writer);
		step_stop();
		for (unsigned i = 0; i < job->n_txns; i++) {
			if (plan_commit(writer, next) < 0)
				_exit(3);
			next += next->txn_size;
		}
	}
	step_stop();
	_exit(0);
}

static pid_t start(const struct job *job)
{
	pid_t pid = step_start(work, job);

	if (!pid)
		FAIL("the writer did not come to its first stop");
	return pid;
}

/*
 * ---- Scenes ----
 */

static bool map_ring(const char *dir, struct rt_segment *ret)
{
	struct rt_fault fault = { "" };

	AUTO_CLOSE int fd = open(t_path(dir, FEED "/ring"), O_RDONLY | O_CLOEXEC);

	if (fd < 0 || rt_segment_map(fd, false, "ring", &fault, ret) < 0) {
		FAIL("cannot map the ring: %s", fault.text);
		return false;
	}
	return true;
}

static void scene_fini(struct scene *s)
{
	ringtail_close(s->follower);
	ringtail_close(s->slow);
	rt_segment_drop(&s->segment);
	free(s->image);
	t_dir_drop(s->dir);
	*s = (struct scene){ .segment = RT_SEGMENT_NONE };
}

static void scene_init(struct scene *s)
{
	*s = (struct scene){ .dir = t_dir_new(), .segment = RT_SEGMENT_NONE };
}

/* When the ring is there: readers attach, and all is as it should be. */
static bool scene_begin(struct scene *s, uint64_t published)
{
	if (!map_ring(s->dir, &s->segment))
		return false;
	s->image = malloc(s->segment.geo.file_size);
	s->published = published;
	s->head = rt_load64(&s->segment.hot->head);
	s->floor = rt_load64(&s->segment.hot->floor);
	s->follower = open_reader(s, RINGTAIL_START_NOW, RINGTAIL_ON_GAP_ERROR);
	s->slow = open_reader(s, RINGTAIL_START_OLDEST, RINGTAIL_ON_GAP_SKIP);
	if (!s->image || !s->follower || !s->slow)
		return false;
	s->followed = s->head;
	s->slowed = rt_min(s->floor, s->head + 1) - 1;
	memcpy(s->image, s->segment.base, s->segment.geo.file_size);
	/* Who was lapped before its first call would begin at the oldest then. */
	return look_around(s) && follow_slowly(s);
}

/* The ring may be another file now. */
static bool scene_remap(struct scene *s)
{
	struct rt_segment segment;

	if (!map_ring(s->dir, &segment))
		return false;
	if (segment.geo.instance == s->segment.geo.instance) {
		rt_segment_drop(&segment);
		return true;
	}
	rt_segment_drop(&s->segment);
	s->segment = segment;
	s->floor = rt_load64(&segment.hot->floor);
	memset(s->stales, 0, sizeof(s->stales));
	return true;
}

/*
 * A next writer, in this process, which is to find what was published and nothing
 * else, and goes on until the ring has gone round.
 */
static bool go_on(struct scene *s, uint32_t n_slots)
{
	struct rt_writer *writer = NULL;
	uint64_t last;
	bool fine = true;

	next_writer(s);
	if (open_writer(s->dir, n_slots, &writer) < 0)
		return false;
	if (rt_writer_head(writer) != s->published) {
		FAIL("the next writer goes on after %" PRIu64 ", published is %" PRIu64,
		     rt_writer_head(writer), s->published);
		fine = false;
	}
	fine = fine && scene_remap(s) && look_around(s);
	last = s->published + MORE;
	while (fine && s->published < last) {
		if (plan_commit_to(writer, s->published + 1, s->writer) < 0) {
			FAIL("the next writer cannot commit");
			fine = false;
		}
		fine = fine && look_around(s);
	}
	rt_writer_drop(writer);
	return fine;
}

/*
 * Steps on to the change number @n of the ring; 0: looks around at each of them, to
 * the end.  Returns how many there were, or -1.
 */
static int step_to_change(struct scene *s, pid_t pid, int n)
{
	int changes = 0;
	enum step at;

	while ((at = step(pid, PTRACE_SINGLESTEP)) == STEP_DONE) {
		if (!has_changed(s))
			continue;
		if (++changes == n)
			return changes;
		if (!n && !look_around(s))
			return -1;
	}
	return at == STEP_FAILED ? -1 : changes;
}

static int verdict(bool fine)
{
	if (!fine)
		print_error("%s\n", failure[0] ? failure : "failed without a reason");
	failure[0] = 0;
	return fine;
}

/*
 * ---- The tests ----
 */

static void every_instruction_leaves_the_ring_whole(void **state)
{
	struct scene s;
	int changes = 0;
	bool fine;

	(void)state;
	scene_init(&s);
	/* Twice round the slots, and more often round the payload. */
	for (uint64_t warm = 0; warm < 140; warm = s.published) {
		struct job job = { s.dir, 64, 0, warm, 8 };
		pid_t pid = start(&job);
		int n = -1;

		fine = pid && (s.follower || scene_begin(&s, s.published));
		if (fine)
			n = step_to_change(&s, pid, 0);
		step_kill(pid);
		assert_true(verdict(fine && n > 0));
		changes += n;
	}
	print_message("# %d changes, %u looks, %u gaps of the slow reader\n", changes,
		      s.n_checks, s.n_gaps);
	assert_true(changes > 1000);
	assert_true(s.n_gaps > 0);
	scene_fini(&s);
}

/* Kills the writer at change @n of the transaction after @warm; false at its end. */
static bool kill_in_commit(uint64_t warm, int n, bool *ret_fine)
{
	struct scene s;
	struct job job = { NULL, 64, 0, warm, 1 };
	int changes = -1;
	pid_t pid;

	scene_init(&s);
	job.dir = s.dir;
	pid = start(&job);
	*ret_fine = pid && scene_begin(&s, warm);
	if (*ret_fine)
		changes = step_to_change(&s, pid, n);
	step_kill(pid);
	*ret_fine = *ret_fine && changes > 0 && look_around(&s) && go_on(&s, 64);
	scene_fini(&s);
	return changes == n;
}

static void a_writer_killed_in_a_commit_leaves_whole_transactions(void **state)
{
	uint64_t warm = 2 * plan_cycle_events();
	unsigned kills = 0;
	bool fine = true;

	(void)state;
	for (size_t i = 0; i < RT_N(plan_cycle); i++) {
		int stride = every_change ? 1 : 1 + (int)plan_cycle[i].n / 2;

		if (!every_change && plan_cycle[i].shape == PLAN_LARGE)
			stride = 16;
		for (int n = 1; kill_in_commit(warm, n, &fine) && fine; n += stride)
			kills++;
		if (!fine)
			print_error("at transaction %zu of the cycle\n", i);
		assert_true(verdict(fine));
		warm += plan_cycle[i].n;
	}
	print_message("# %u kills\n", kills);
	assert_true(kills > 100);
}

/* Leaves a ring whose writer died with most of a transaction of 16 in its slots. */
static bool die_in_the_middle(struct scene *s)
{
	uint64_t warm = 2 * plan_cycle_events();
	struct job job = { s->dir, 64, 0, 0, 1 };
	bool fine;
	pid_t pid;
	int size = 0;

	while (plan_size_of(warm + 1, 0) != 16)
		warm += plan_size_of(warm + 1, 0);
	job.warm = warm;
	pid = start(&job);
	fine = pid && scene_begin(s, warm);
	/* The seq word of its second event is the last but one to be stored. */
	while (fine && !rt_ring_ready(&s->segment, warm + 2) && !size)
		size = step(pid, PTRACE_SINGLESTEP) != STEP_DONE;
	step_kill(pid);
	return fine && !size && look_around(s) && s->published == warm;
}

/* Kills the next writer at change @n of its opening, then lets another one go on. */
static bool kill_in_recovery(int n, bool *ret_fine)
{
	struct scene s;
	struct job job = { NULL, 64, 1, 0, 0 };
	int changes = -1;
	pid_t pid = 0;

	scene_init(&s);
	job.dir = s.dir;
	*ret_fine = die_in_the_middle(&s);
	if (*ret_fine) {
		(void)has_changed(&s);
		next_writer(&s);
		pid = start(&job);
		*ret_fine = pid;
	}
	if (*ret_fine)
		changes = step_to_change(&s, pid, n);
	step_kill(pid);
	*ret_fine = *ret_fine && changes > 0 && look_around(&s) && go_on(&s, 64);
	scene_fini(&s);
	return changes == n;
}

static void a_writer_killed_in_its_recovery_changes_nothing(void **state)
{
	unsigned kills = 0;
	bool fine = true;

	(void)state;
	for (int n = 1; kill_in_recovery(n, &fine) && fine; n += every_change ? 1 : 5)
		kills++;
	print_message("# %u kills\n", kills);
	assert_true(verdict(fine));
	assert_true(kills > 4);
}

/*
 * Kills a writer that moves the feed to a larger ring: at system call stop @n, or,
 * when the new ring has its name, at that and @n more changes of the old ring.
 */
static bool kill_in_move(int n, bool after_rename, uint32_t next_slots, bool *ret_fine)
{
	struct scene s;
	struct job job = { NULL, 128, 1, 0, 0 };
	enum step at = STEP_FAILED;
	int stops = 0;
	pid_t pid = 0;
	bool renamed = false;

	scene_init(&s);
	job.dir = s.dir;
	*ret_fine = die_in_the_middle(&s);
	if (*ret_fine) {
		(void)has_changed(&s);
		next_writer(&s);
		pid = start(&job);
	}
	while (*ret_fine && pid) {
		struct user_regs_struct regs;

		if (after_rename && renamed) {
			at = step_to_change(&s, pid, n) == n ? STEP_DONE : STEP_AT_END;
			break;
		}
		at = step(pid, PTRACE_SYSCALL);
		if (at != STEP_DONE || (++stops == n && !after_rename))
			break;
		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0 &&
		    regs.orig_rax == SYS_renameat)
			renamed = access(t_path(s.dir, FEED "/.ring.new"), F_OK) < 0;
	}
	step_kill(pid);
	*ret_fine = *ret_fine && pid && at != STEP_FAILED && follow(&s) &&
		    go_on(&s, next_slots);
	scene_fini(&s);
	return at == STEP_DONE;
}

static void a_writer_killed_in_a_move_loses_nobody(void **state)
{
	unsigned kills = 0;
	bool fine = true;

	(void)state;
	for (int n = 1; kill_in_move(n, false, n & 2 ? 64 : 128, &fine) && fine;
	     n += every_change ? 1 : 3)
		kills++;
	assert_true(verdict(fine));
	for (int n = 1; kill_in_move(n, true, n & 1 ? 64 : 128, &fine) && fine;
	     n += every_change || n < 5 ? 1 : 9)
		kills++;
	assert_true(verdict(fine));
	print_message("# %u kills\n", kills);
	assert_true(kills > 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T0(every_instruction_leaves_the_ring_whole),
		T0(a_writer_killed_in_a_commit_leaves_whole_transactions),
		T0(a_writer_killed_in_its_recovery_changes_nothing),
		T0(a_writer_killed_in_a_move_loses_nobody),
	};

	every_change = argc > 1 && strcmp(argv[1], "all") == 0;
	if (!step_permitted())
		t_skip_all("no single-stepping here: ptrace(2) is not permitted");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
