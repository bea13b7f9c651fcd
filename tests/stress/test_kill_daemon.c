/* SPDX-License-Identifier: MIT */
/*
 * test_kill_daemon.c [ROUNDS [SEED]] - kill -9 of the daemon at random moments
 *
 * Three feeds, one for each way to keep a log.  Each has a publisher that counts what
 * was acknowledged, a reader that stays attached all the time, and one that is killed
 * itself and goes on from its marker; now and then one reads everything from the
 * start.  The numbers of a publisher's operations only rise, and the value of an event
 * follows from its operation, so a reader sees at once what is missing, twice or wrong.
 * Some rounds also kill the recovery, or remove, damage or resize a ring.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <ringtail.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define OPS_MAX   (UINT64_C(1) << 22)
#define TXN_MAX   5u
#define IN_FLIGHT 16u
#define VALUE_MAX 3000u
#define PATIENCE  (INT64_C(1000000) * T_PATIENCE_MS)

/* How far a reader is; survives it in two turns, of which one is always whole. */
struct place {
	uint64_t seq;
	uint64_t op;
	char marker[RINGTAIL_MARKER_SIZE];
};

struct follower {
	uint8_t seen[OPS_MAX];
	struct place places[2];
	_Atomic uint32_t turn;
	_Atomic uint64_t seq; /* up to which all was right */
};

struct feed {
	uint8_t acked[OPS_MAX]; /* round in which it was, from 1 up to 255 */
	_Atomic uint64_t n_ops;
	_Atomic uint64_t epoch;
	struct follower attached, resuming, all;
	const char *name;
	int publisher, follower, resumer;
};

struct shared {
	struct feed feeds[3];
	_Atomic uint32_t round;
	_Atomic bool stop_publishing, stop_reading;
};

static const char *const names[] = { "memory", "os", "disk" };
static struct shared *s;
static struct t_daemon d;
static char data[] = "/var/tmp/rt-test-XXXXXX";
static char specs[3][128];
static unsigned n_rounds = 20;
static uint64_t seed;
static struct t_random dice;

/*
 * ---- What an operation is ----
 */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

/* Events of operation @op: mostly one. */
static unsigned size_of(uint64_t op)
{
	uint64_t h = mix(op);

	return h % 4 ? 1 : 2 + (unsigned)(h >> 8) % (TXN_MAX - 1);
}

static size_t value_of(uint64_t op, unsigned i, char *value)
{
	uint64_t h = mix(op * TXN_MAX + i);
	size_t len = h % 32 ? (size_t)(h >> 8) % 90 : (size_t)(h >> 8) % VALUE_MAX;
	size_t at = (size_t)sprintf(value, "%" PRIu64 " %u ", op, i);

	for (; at < len; at++)
		value[at] = (char)('a' + (h + at * op) % 26);
	return at;
}

/*
 * ---- The publisher ----
 */

static redisContext *connect_to(const struct feed *feed)
{
	struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };

	for (;;) {
		redisContext *c = redisConnectUnixWithTimeout(d.socket, patience);

		if (c && !c->err) {
			redisReply *reply = redisCommand(c, "SELECT %s", feed->name);
			bool fine = reply && reply->type == REDIS_REPLY_STATUS;

			freeReplyObject(reply);
			if (fine)
				return c;
		}
		if (c)
			redisFree(c);
		t_sleep_ms(1);
	}
}

/* Returns how many replies there will be. */
static unsigned send_op(redisContext *c, uint64_t op)
{
	unsigned n = size_of(op);
	char value[VALUE_MAX + 64];

	if (n > 1)
		(void)redisAppendCommand(c, "MULTI");
	for (unsigned i = 0; i < n; i++) {
		size_t len = value_of(op, i, value);

		(void)redisAppendCommand(c, "SET k%u %b", (unsigned)mix(op + i) % 97,
					 value, len);
	}
	if (n > 1)
		(void)redisAppendCommand(c, "EXEC");
	return n > 1 ? n + 2 : 1;
}

/* 1 acknowledged, 0 the connection is gone, -1 refused. */
static int take_replies(redisContext *c, unsigned n)
{
	int result = 1;

	while (n--) {
		redisReply *reply = NULL;

		if (redisGetReply(c, (void **)&reply) != REDIS_OK)
			return 0;
		if (reply->type == REDIS_REPLY_ERROR) {
			print_error("refused: %s\n", reply->str);
			result = -1;
		}
		freeReplyObject(reply);
	}
	return result;
}

/* A few operations at once; as take_replies(). */
static int publish_some(struct feed *feed, redisContext *c, struct t_random *random)
{
	uint64_t from = atomic_load(&feed->n_ops);
	uint64_t n = 1 + t_random_below(random, IN_FLIGHT);
	unsigned n_replies[IN_FLIGHT];
	int result = 1;

	if (from + n > OPS_MAX)
		return 1;
	atomic_store(&feed->n_ops, from + n); /* none is ever tried again */
	for (uint64_t i = 0; i < n; i++)
		n_replies[i] = send_op(c, from + i);
	for (uint64_t i = 0; i < n && result == 1; i++) {
		result = take_replies(c, n_replies[i]);
		if (result == 1)
			feed->acked[from + i] = (uint8_t)(1 + s->round % 255);
	}
	return result;
}

static int publish(void *arg)
{
	struct feed *feed = arg;
	struct t_random random = { seed ^ mix((uint64_t)getpid()) };
	redisContext *c = NULL;
	int result = 1;

	(void)signal(SIGPIPE, SIG_IGN);
	while (!atomic_load(&s->stop_publishing) && result >= 0) {
		if (!c)
			c = connect_to(feed);
		result = publish_some(feed, c, &random);
		if (result == 0) {
			redisFree(c);
			c = NULL;
		}
		if (t_random_below(&random, 4) == 0)
			t_sleep_ms(1);
	}
	if (c)
		redisFree(c);
	return result < 0;
}

/*
 * ---- Readers ----
 */

static struct place *place_of(struct follower *f)
{
	return &f->places[atomic_load(&f->turn) % 2];
}

static int wrong(const struct feed *feed, const struct place *at, const char *what)
{
	print_error("feed %s, round %u, after seq %" PRIu64 " (operation %" PRIu64
		    "): %s\n",
		    feed->name, s->round, at->seq, at->op, what);
	return -1;
}

/* A whole transaction, against the place before it. */
static int check_txn(struct feed *feed, struct follower *f, struct place *at,
		     const struct ringtail_event *events, size_t n)
{
	char want[VALUE_MAX + 64];
	uint64_t op;

	if (sscanf(events[0].value, "%" SCNu64, &op) != 1 || op >= OPS_MAX)
		return wrong(feed, at, "a value without a number");
	if (events[0].seq != at->seq + 1)
		return wrong(feed, at, "a hole, or something twice");
	if (at->seq && op <= at->op)
		return wrong(feed, at, "an operation that was before");
	for (uint64_t lost = at->seq ? at->op + 1 : 0; lost < op; lost++) {
		if (feed->acked[lost])
			return wrong(feed, at, "what was acknowledged is not there");
	}
	if (n != size_of(op) || n != events[0].txn_size)
		return wrong(feed, at, "not a whole transaction");
	for (unsigned i = 0; i < n; i++) {
		size_t len = value_of(op, i, want);

		if (events[i].value_len != len ||
		    memcmp(events[i].value, want, len) != 0 || events[i].txn_index != i)
			return wrong(feed, at, "a wrong value");
	}
	f->seen[op] = 1;
	at->seq = events[n - 1].seq;
	at->op = op;
	return 0;
}

/* Keeps the place, in the turn that is not the valid one. */
static int keep(struct feed *feed, struct follower *f, struct ringtail *reader,
		const struct place *at)
{
	uint32_t turn = atomic_load(&f->turn) + 1;
	struct place *place = &f->places[turn % 2];
	uint64_t seq, epoch, none = 0;

	*place = *at;
	if (ringtail_marker(reader, place->marker) < 0 ||
	    ringtail_marker_parse(place->marker, &seq, &epoch) < 0 || seq != at->seq)
		return wrong(feed, at, "a marker of another place");
	if (!atomic_compare_exchange_strong(&feed->epoch, &none, epoch) &&
	    none != epoch)
		return wrong(feed, at, "another epoch");
	atomic_store(&f->turn, turn);
	atomic_store(&f->seq, at->seq);
	return 0;
}

/* Reads up to @n_txns transactions; ends early when nothing comes for @wait_ns. */
static int read_some(struct feed *feed, struct follower *f, struct ringtail *reader,
		     uint64_t n_txns, int64_t wait_ns)
{
	struct place at = *place_of(f);
	const struct ringtail_event *events;
	size_t n;

	while (n_txns) {
		int r = ringtail_next_txn(reader, &events, &n, wait_ns);

		if (r == RINGTAIL_NOTHING)
			return 0;
		if (r == RINGTAIL_CAUGHT_UP)
			continue;
		if (r != RINGTAIL_EVENT)
			return wrong(feed, &at,
				     r < 0 ? ringtail_error(reader)
					   : "not what was asked for");
		if (check_txn(feed, f, &at, events, n) < 0 ||
		    keep(feed, f, reader, &at) < 0)
			return -1;
		n_txns--;
	}
	return 0;
}

static int open_at(struct feed *feed, const struct place *at, struct ringtail **ret)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	int r;

	options.dir = d.dir;
	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = PATIENCE;
	options.start =
		at->marker[0] ? RINGTAIL_START_MARKER : RINGTAIL_START_AFTER_SEQ;
	options.marker = at->marker[0] ? at->marker : NULL;
	r = ringtail_open(feed->name, &options, ret);
	return r < 0 ? wrong(feed, at, ringtail_error(NULL)) : 0;
}

static int stay_attached(void *arg)
{
	struct feed *feed = arg;
	struct follower *f = &feed->attached;
	struct ringtail *reader;
	int r = open_at(feed, place_of(f), &reader);

	while (!r && !atomic_load(&s->stop_reading))
		r = read_some(feed, f, reader, 100, 1000000);
	if (!r)
		ringtail_close(reader);
	return r < 0;
}

static int resume(void *arg)
{
	struct feed *feed = arg;
	struct follower *f = &feed->resuming;
	struct t_random random = { seed ^ mix((uint64_t)getpid()) };
	struct ringtail *reader;
	int r = 0;

	while (!r && !atomic_load(&s->stop_reading)) {
		r = open_at(feed, place_of(f), &reader);
		if (r < 0)
			break;
		r = read_some(feed, f, reader, 1 + t_random_below(&random, 2000),
			      1000000);
		ringtail_close(reader);
	}
	return r < 0;
}

/* Everything that is there now, from the start. */
static int read_all(void *arg)
{
	struct feed *feed = arg;
	struct follower *f = &feed->all;
	struct ringtail_info info = { .size = sizeof(info) };
	struct ringtail *reader;
	int r;

	memset(f, 0, sizeof(*f));
	if (open_at(feed, place_of(f), &reader) < 0)
		return 1;
	r = ringtail_get_info(reader, &info);
	while (!r && atomic_load(&f->seq) < info.head) {
		uint64_t before = atomic_load(&f->seq);

		r = read_some(feed, f, reader, 1, PATIENCE);
		if (!r && atomic_load(&f->seq) == before)
			r = wrong(feed, place_of(f), "an end before the newest event");
	}
	ringtail_close(reader);
	return r < 0;
}

/*
 * ---- Rounds ----
 */

static void spec(unsigned i, const char *size)
{
	(void)snprintf(specs[i], sizeof(specs[i]),
		       "%s,size=%s,segment=256K,durability=%s,retain_bytes=0,snapshot_"
		       "bytes=512K",
		       names[i], size, names[i]);
}

static void start_all(void)
{
	static char data_path[64];

	(void)snprintf(data_path, sizeof(data_path), "%s", data);
	for (unsigned i = 0; i < 3; i++) {
		spec(i, "256K");
		s->feeds[i].name = names[i];
	}
	t_daemon_start(&d, "--data", data_path, "--feed", specs[0], "--feed", specs[1],
		       "--feed", specs[2], NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct feed *feed = &s->feeds[i];

		feed->publisher = t_spawn(publish, feed);
		feed->follower = t_spawn(stay_attached, feed);
		feed->resumer = t_spawn(resume, feed);
	}
}

static void sleep_up_to_us(uint64_t us)
{
	(void)usleep((useconds_t)t_random_below(&dice, us));
}

static const char *ring_of(unsigned i)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s/ring", names[i]);
	return t_path(d.dir, name);
}

/* In place, or by a file that is too short; who is attached has the old one. */
static void damage(unsigned i)
{
	uint64_t noise[32];
	const char *path = ring_of(i);
	int fd;

	for (unsigned k = 0; k < T_N(noise); k++)
		noise[k] = t_random64(&dice);
	if (t_random_below(&dice, 2))
		assert_int_equal(unlink(path), 0);
	fd = open(path, O_WRONLY | O_CREAT, 0640);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, noise, sizeof(noise), 0), sizeof(noise));
	(void)close(fd);
}

/* Something else that happens while it is dead. */
static void misfortune(unsigned round, unsigned i)
{
	static const char *const sizes[] = { "128K", "256K", "512K", "1M" };

	switch (round % 8) {
	case 4:
		for (unsigned n = 0; n < 3; n++) {
			t_daemon_spawn(&d);
			sleep_up_to_us(8000);
			t_daemon_kill(&d);
		}
		break;
	case 5:
		assert_int_equal(unlink(ring_of(i)), 0);
		break;
	case 6:
		damage(i);
		break;
	case 7:
		spec(i, sizes[t_random_below(&dice, 4)]);
		break;
	default:
		break;
	}
}

/* A child that ended by itself has found something. */
static bool has_ended(const struct feed *feed, const char *who, int pid)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    !info.si_pid)
		return false;
	print_error("feed %s: the %s ended, %s %d\n", feed->name, who,
		    info.si_code == CLD_EXITED ? "code" : "signal", info.si_status);
	return true;
}

static void check_alive(void)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct feed *feed = &s->feeds[i];

		if (has_ended(feed, "publisher", feed->publisher) ||
		    has_ended(feed, "attached reader", feed->follower) ||
		    has_ended(feed, "resuming reader", feed->resumer))
			fail_msg("seed %" PRIu64 ", round %u", seed, s->round);
	}
}

static void one_round(unsigned round)
{
	unsigned i = (unsigned)t_random_below(&dice, 3);
	struct feed *feed = &s->feeds[i];

	atomic_store(&s->round, round);
	sleep_up_to_us(60000);
	(void)kill(feed->resumer, SIGKILL);
	if (t_join(feed->resumer) != 1000 + SIGKILL)
		fail_msg("seed %" PRIu64 ", round %u: a resuming reader", seed, round);
	t_daemon_kill(&d);
	(void)unlink(d.socket); /* the kernel may go on listening for the dead */
	misfortune(round, i);
	if (round % 8 != 6) /* a damaged ring cannot be opened */
		feed->resumer = t_spawn(resume, feed);
	t_daemon_restart(&d);
	if (round % 8 == 6)
		feed->resumer = t_spawn(resume, feed);
	if (round % 16 == 9)
		assert_int_equal(t_in_child(read_all, feed), 0);
	check_alive();
}

static uint64_t head_of(struct feed *feed)
{
	struct ringtail_info info = { .size = sizeof(info) };
	struct place now = { .seq = 0 };
	struct ringtail *reader;

	t_ok(open_at(feed, &now, &reader));
	t_ok(ringtail_get_info(reader, &info));
	ringtail_close(reader);
	return info.head;
}

static void await(const struct feed *feed, struct follower *f, uint64_t head)
{
	uint64_t end = t_now_ns() + PATIENCE;

	while (atomic_load(&f->seq) < head && t_now_ns() < end)
		t_sleep_ms(1);
	if (atomic_load(&f->seq) != head)
		fail_msg("seed %" PRIu64 ": a reader of feed %s is at %" PRIu64
			 " of %" PRIu64,
			 seed, feed->name, f->seq, head);
}

static uint64_t count_acked(const struct feed *feed, const struct follower *f)
{
	uint64_t n = 0;

	for (uint64_t op = 0; op < feed->n_ops; op++) {
		n += feed->acked[op] != 0;
		if (feed->acked[op] && !f->seen[op])
			fail_msg("feed %s: operation %" PRIu64
				 ", acknowledged in round %u, is lost",
				 feed->name, op, feed->acked[op] - 1u);
	}
	return n;
}

static void end_feed(struct feed *feed)
{
	uint64_t head = head_of(feed);

	await(feed, &feed->attached, head);
	await(feed, &feed->resuming, head);
	assert_int_equal(t_in_child(read_all, feed), 0);
	await(feed, &feed->all, head);
	(void)count_acked(feed, &feed->attached);
	(void)count_acked(feed, &feed->all);
	print_message("# %s: %" PRIu64 " events, %" PRIu64 " of %" PRIu64
		      " operations acknowledged\n",
		      feed->name, head, count_acked(feed, &feed->resuming),
		      (uint64_t)feed->n_ops);
}

static void nothing_acknowledged_is_lost(void **state)
{
	(void)state;
	start_all();
	for (unsigned round = 1; round <= n_rounds; round++)
		one_round(round);
	atomic_store(&s->stop_publishing, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(t_join(s->feeds[i].publisher), 0);
	for (unsigned i = 0; i < 3; i++)
		end_feed(&s->feeds[i]);
	atomic_store(&s->stop_reading, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(t_join(s->feeds[i].follower), 0);
		assert_int_equal(t_join(s->feeds[i].resumer), 0);
	}
	assert_int_equal(t_daemon_stop(&d), 0);
}

static int setup(void **state)
{
	(void)state;
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0);
	return s == MAP_FAILED || !mkdtemp(data);
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		const struct feed *feed = &s->feeds[i];
		const int pids[] = { feed->publisher, feed->follower, feed->resumer };

		for (unsigned k = 0; k < T_N(pids); k++) {
			if (pids[k] > 0)
				(void)kill(pids[k], SIGKILL);
		}
	}
	t_daemon_drop(&d);
	t_dir_drop(strdup(data));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { T(nothing_acknowledged_is_lost) };

	(void)t_daemon_program();
	seed = t_now_ns();
	if (argc > 1)
		n_rounds = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	dice.state = seed;
	return cmocka_run_group_tests_name("kill_daemon", tests, NULL, NULL);
}
