/* SPDX-License-Identifier: MIT */
/*
 * test_view_model.c [--steps=N] [--seed=N] - views against a plain list of keys
 *
 * A daemon with a tiny ring and a short log; a publisher that does at random what
 * publishers do; and what else befalls a feed: laps, kill -9, restarts, snapshots that
 * are made, damaged and removed, trims, moves to another ring, new histories.  All that
 * while four look at it: a view that is polled now and then, a view with a thread, a
 * view of a prefix, and a plain reader that is opened anew with its marker each time.
 * Each says what it saw at which seq, and that must be what the plain list was at the
 * end of this transaction.
 *
 * The list itself follows what was published: every transaction that a recorder reads
 * must be the next one that was sent, event by event, or the end of keys whose time was
 * over.
 */
#include "tests/support/t.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/published.h"

#define CHUNK 60u

/* What somebody saw: the digest of a state at a seq. */
struct sight {
	uint64_t seq;
	uint64_t digest;
	bool part;
	const char *who;
};

/* A view and what its callbacks said. */
struct watch {
	const char *who;
	struct ringtail_view *view;
	bool part;
	uint32_t flags;
	struct h_state told;
	const char *_Atomic wrong;
	_Atomic bool opening;
	uint64_t n_resets; /* of those that are closed */
};

static char data[] = "/var/tmp/rt-test-XXXXXX";
static char spec[200];
static unsigned n_steps = 300;

static pthread_mutex_t sights_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sight *sights;
static size_t n_sights, sights_cap;

static struct watch polled = { .who = "the polled view" };
static struct watch threaded = { .who = "the view with a thread",
				 .flags = RINGTAIL_VIEW_THREAD };
static struct watch partial = { .who = "the view of a prefix", .part = true };

static struct {
	char marker[RINGTAIL_MARKER_SIZE];
	struct h_state state, fresh;
	uint64_t n_resets;
} resumer;

static struct {
	int fd; /* of the snapshot that was damaged; -1: none is */
	off_t at;
	uint8_t was[64];
} damage = { .fd = -1 };

static unsigned count[16];

/*
 * ---- What is seen ----
 */

static void see(const char *who, bool part, uint64_t seq, uint64_t digest)
{
	(void)pthread_mutex_lock(&sights_lock);
	if (n_sights == sights_cap) {
		sights_cap = sights_cap * 2 + 64;
		sights = realloc(sights, sights_cap * sizeof(*sights));
		if (!sights)
			abort();
	}
	sights[n_sights++] = (struct sight){ seq, digest, part, who };
	(void)pthread_mutex_unlock(&sights_lock);
}

static void check_sight(const struct sight *sight)
{
	const struct h_moment *moment;

	if (sight->seq > history.seq)
		record_up_to(sight->seq);
	moment = &history.moments[sight->seq];
	if (!moment->end)
		wrong("%s: seen at seq %" PRIu64 ", which ends no transaction\n",
		      sight->who, sight->seq);
	if (sight->digest != (sight->part ? moment->part : moment->all))
		wrong("%s: not the state of seq %" PRIu64 "\n", sight->who, sight->seq);
	count[15]++;
}

static void check_sights(void)
{
	struct sight *mine;
	size_t n;

	(void)pthread_mutex_lock(&sights_lock);
	mine = sights;
	n = n_sights;
	sights = NULL;
	n_sights = sights_cap = 0;
	(void)pthread_mutex_unlock(&sights_lock);
	for (size_t i = 0; i < n; i++)
		check_sight(&mine[i]);
	free(mine);
	for (struct watch *const *w =
		     (struct watch *[]){ &polled, &threaded, &partial, NULL };
	     *w; w++) {
		if ((*w)->wrong)
			wrong("%s: %s\n", (*w)->who, (*w)->wrong);
	}
}

struct walk {
	uint64_t digest;
	unsigned n, next;
	bool wrong;
};

static int add_up(void *arg, const struct ringtail_view_entry *entry)
{
	struct walk *walk = arg;
	unsigned number = h_number(entry->key, entry->key_len);

	walk->wrong |= number == H_KEYS || number < walk->next;
	walk->next = number + 1;
	walk->n++;
	walk->digest += h_digest(number, entry->seq,
				 h_value_digest(entry->value, entry->value_len));
	return 0;
}

static uint64_t digest_of(struct watch *w)
{
	struct walk walk = { 0 };

	if (ringtail_view_each(w->view, NULL, 0, add_up, &walk) != 0 || walk.wrong ||
	    walk.n != ringtail_view_count(w->view))
		w->wrong = "a walk is out of order, or not of all keys";
	return walk.digest;
}

static void on_change(void *arg, const struct ringtail_change *change)
{
	struct watch *w = arg;
	unsigned number = h_number(change->key, change->key_len);
	struct h_key *told = &w->told.keys[number % H_KEYS];
	bool put = change->op == RINGTAIL_PUT;

	if (number == H_KEYS || (w->part && !h_is_part(number)))
		w->wrong = "a change of a key that is not its";
	else if ((change->old_value != NULL) != (told->seq != 0) ||
		 (told->seq &&
		  h_value_digest(change->old_value, change->old_len) != told->value))
		w->wrong = "an old value that was not told before";
	else if (put != (change->value != NULL) || (!put && !told->seq))
		w->wrong = "a value for a delete, or none for a put";
	*told = (struct h_key){ 0 };
	if (put)
		*told = (struct h_key){
			change->seq, h_value_digest(change->value, change->value_len)
		};
}

static void on_txn(void *arg, uint64_t seq)
{
	struct watch *w = arg;
	struct h_moment told = h_moment_of(&w->told);
	uint64_t digest = w->part ? told.part : told.all;

	see(w->who, w->part, seq, digest);
	if (w->opening)
		return; /* it cannot be looked at yet */
	if (digest_of(w) != digest)
		w->wrong = "it is not what its changes make it";
	if (ringtail_view_seq(w->view) != seq)
		w->wrong = "another seq than it says";
}

static void open_watch(struct watch *w)
{
	struct ringtail_view_options v = RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail_options o = from();
	const struct ringtail_filter filter = { .kind = RINGTAIL_FILTER_PREFIX,
						.a = H_PREFIX,
						.a_len = strlen(H_PREFIX) };
	struct ringtail_view *view;

	if (w->part) {
		o.filters = &filter;
		o.n_filters = 1;
	}
	v.flags = w->flags;
	v.on_change = on_change;
	v.on_txn = on_txn;
	v.arg = w;
	w->told = (struct h_state){ 0 };
	w->opening = true;
	if (ringtail_view_open(FEED, &o, &v, &view) < 0)
		wrong("%s: %s\n", w->who, ringtail_error(NULL));
	ringtail_view_lock(view);
	w->view = view;
	w->opening = false;
	ringtail_view_unlock(view);
}

static void look(struct watch *w)
{
	ringtail_view_lock(w->view);
	see(w->who, w->part, ringtail_view_seq(w->view), digest_of(w));
	ringtail_view_unlock(w->view);
}

static void poll_watch(struct watch *w)
{
	int r;

	do
		r = ringtail_view_poll(w->view, 0);
	while (r > 0);
	if (r < 0)
		wrong("%s: %s\n", w->who, ringtail_view_error(w->view));
	look(w);
}

static void close_watch(struct watch *w)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };

	ringtail_view_lock(w->view);
	t_ok(ringtail_view_get_stats(w->view, &stats));
	ringtail_view_unlock(w->view);
	if (stats.delivered + stats.filtered + stats.lost !=
	    stats.position - stats.start)
		wrong("%s: its accounts do not add up\n", w->who);
	w->n_resets += stats.resets - 1;
	ringtail_view_close(w->view);
	w->view = NULL;
}

/* The same without a view, and each time from a marker. */
static bool resume_one(struct ringtail *r)
{
	const struct ringtail_event *events;
	size_t n;
	int outcome = ringtail_next_txn(r, &events, &n, 0);

	switch (outcome) {
	case RINGTAIL_RESET:
		resumer.fresh = (struct h_state){ 0 };
		resumer.n_resets++;
		return true;
	case RINGTAIL_SNAPSHOT:
		for (size_t i = 0; i < n; i++)
			assert_true(h_apply(&resumer.fresh, &events[i]));
		return true;
	case RINGTAIL_SNAPSHOT_END:
		resumer.state = resumer.fresh;
		break;
	case RINGTAIL_EVENT:
		for (size_t i = 0; i < n; i++)
			assert_true(h_apply(&resumer.state, &events[i]));
		break;
	default:
		if (outcome < 0 && outcome != RINGTAIL_E_CLOSED)
			wrong("the resumer: %s\n", ringtail_error(r));
		return false;
	}
	see("the resumer", false, ringtail_position(r),
	    h_moment_of(&resumer.state).all);
	return true;
}

static void resume(uint64_t most)
{
	struct ringtail_options o = from();
	struct ringtail *r;

	o.start = resumer.marker[0] ? RINGTAIL_START_MARKER : RINGTAIL_START_SNAPSHOT;
	o.marker = resumer.marker[0] ? resumer.marker : NULL;
	o.on_gap = RINGTAIL_ON_GAP_RESYNC;
	if (ringtail_open(FEED, &o, &r) < 0)
		wrong("the resumer: %s\n", ringtail_error(NULL));
	while (most-- && resume_one(r))
		;
	if (ringtail_position(r)) /* else it is in the middle of its first state */
		t_ok(ringtail_marker(r, resumer.marker));
	ringtail_close(r);
}

/*
 * ---- What befalls the feed ----
 */

static void publish(void)
{
	struct op *op = queue_op(random_op());

	take_replies(send_op(op));
	op->acked = true;
	settle();
}

/* More than the ring holds. */
static void lap(void)
{
	unsigned n_chunks = 4 + (unsigned)below(30);

	while (n_chunks--) {
		unsigned n_replies = 0;

		for (unsigned i = 0; i < CHUNK; i++) {
			struct op op = random_op();

			n_replies += send_op(queue_op(op));
		}
		take_replies(n_replies);
		for (size_t i = first_op; i < n_ops; i++)
			ops[i].acked = true;
		settle();
	}
}

static void reconnect(void)
{
	if (redis)
		redisFree(redis);
	redis = t_daemon_connect(&d);
}

/* With some transactions on the way, of which any first ones may arrive. */
static void kill_it(void)
{
	unsigned n = (unsigned)below(6);
	int done = 0;

	while (n--)
		(void)send_op(queue_op(random_op()));
	while (!done && redisBufferWrite(redis, &done) == REDIS_OK)
		;
	if (below(2))
		(void)usleep((useconds_t)below(2000));
	t_daemon_kill(&d);
	(void)unlink(d.socket);
	if (below(3)) {
		/* Readers look at the dead as well. */
		poll_watch(&polled);
		resume(below(2000));
	}
	t_daemon_restart(&d);
	reconnect();
	settle();
}

static void is_over(struct watch *w)
{
	if (ringtail_view_wait(w->view, UINT64_MAX, PATIENCE) != RINGTAIL_E_CLOSED)
		wrong("%s: %s\n", w->who, ringtail_view_error(w->view));
	look(w);
}

static void restart_it(void)
{
	assert_int_equal(t_daemon_stop(&d), 0);
	is_over(&polled);
	is_over(&partial);
	is_over(&threaded);
	/* What ended because the daemon did is not known before. */
	record_up_to(head());
	if (ringtail_view_seq(polled.view) != history.seq)
		wrong("%s ends at %" PRIu64 ", not %" PRIu64 "\n", polled.who,
		      ringtail_view_seq(polled.view), history.seq);
	check_sights();
	close_watch(&polled);
	close_watch(&partial);
	close_watch(&threaded);
	t_daemon_restart(&d);
	reconnect();
	open_recorder();
	settle();
	open_watch(&polled);
	open_watch(&partial);
	open_watch(&threaded);
}

static void command(const char *format, uint64_t number)
{
	redisReply *reply = redisCommand(redis, format, number);

	if (!reply || reply->type == REDIS_REPLY_ERROR)
		wrong("%s: %s\n", format, reply ? reply->str : redis->errstr);
	freeReplyObject(reply);
}

static bool is_idle(void *unused)
{
	redisReply *reply = redisCommand(redis, "RINGTAIL.SNAPSHOT STATUS");
	bool idle =
		reply && reply->elements > 1 && !strcmp(reply->element[1]->str, "idle");

	(void)unused;
	freeReplyObject(reply);
	return idle;
}

static void make_snapshot(void)
{
	command("RINGTAIL.SNAPSHOT", 0);
	if (below(2) && !t_within_ms(T_PATIENCE_MS, is_idle, NULL))
		wrong("a snapshot takes for ever\n");
}

static void repair(void)
{
	if (damage.fd < 0)
		return;
	assert_int_equal(pwrite(damage.fd, damage.was, sizeof(damage.was), damage.at),
			 sizeof(damage.was));
	(void)close(damage.fd);
	damage.fd = -1;
}

/* Not on the word of a snapshot that is damaged: it would be the only one. */
static void trim(void)
{
	uint64_t to = history.seq - below(history.seq < 400 ? history.seq + 1 : 400);

	repair();
	command("RINGTAIL.TRIM %llu", to);
}

/* To another ring, which all follow; or to another history, with the same state. */
static void move(void)
{
	command("RINGTAIL.CHMOD " FEED " %llo", below(2) ? 0640 : 0644);
}

static void begin_anew(void)
{
	repair();
	command("RINGTAIL.RESET " FEED, 0);
	settle();
}

/* Names of snapshots, newest first; returns how many, two at most. */
static unsigned list_snapshots(char names[2][64])
{
	DIR *dir = opendir(t_path(d.dir, FEED "/log"));
	const struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len != 25 || strcmp(entry->d_name + 20, ".snap") != 0)
			continue;
		n++;
		if (strcmp(entry->d_name, names[0]) > 0) {
			memcpy(names[1], names[0], 64);
			memcpy(names[0], entry->d_name, len + 1);
		} else if (strcmp(entry->d_name, names[1]) > 0) {
			memcpy(names[1], entry->d_name, len + 1);
		}
	}
	if (dir)
		(void)closedir(dir);
	return n < 2 ? n : 2;
}

static const char *snapshot_path(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), FEED "/log/%s", name);
	return t_path(d.dir, path);
}

/* One of two at a time, so there is always one that is good. */
static void damage_a_snapshot(void)
{
	char names[2][64] = { "", "" };
	uint8_t noise[sizeof(damage.was)];
	struct stat st;

	repair();
	if (!t_within_ms(T_PATIENCE_MS, is_idle, NULL) || list_snapshots(names) < 2)
		return;
	damage.fd = open(snapshot_path(names[below(4) == 0]), O_RDWR | O_CLOEXEC);
	if (damage.fd < 0)
		return; /* it has gone meanwhile */
	assert_int_equal(fstat(damage.fd, &st), 0);
	damage.at = (off_t)below((uint64_t)st.st_size - sizeof(noise));
	assert_int_equal(pread(damage.fd, damage.was, sizeof(noise), damage.at),
			 sizeof(noise));
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)below(256);
	assert_int_equal(pwrite(damage.fd, noise, sizeof(noise), damage.at),
			 sizeof(noise));
}

static void remove_a_snapshot(void)
{
	char names[2][64] = { "", "" };

	repair();
	if (t_within_ms(T_PATIENCE_MS, is_idle, NULL) && list_snapshots(names) == 2)
		(void)unlink(snapshot_path(names[below(4) == 0]));
}

static const struct {
	void (*what)(void);
	unsigned per_mille;
	const char *name;
} events[] = {
	{ lap, 60, "laps" },
	{ kill_it, 30, "kills" },
	{ restart_it, 10, "restarts" },
	{ make_snapshot, 70, "snapshots asked for" },
	{ trim, 60, "trims" },
	{ move, 15, "moves" },
	{ begin_anew, 10, "new histories" },
	{ damage_a_snapshot, 30, "damages" },
	{ repair, 30, NULL },
	{ remove_a_snapshot, 20, "removals" },
	{ publish, 1000, "other operations" },
};

static void one_step(void)
{
	uint64_t at = below(1000);

	for (unsigned i = 0; i < T_N(events); i++) {
		if (at < events[i].per_mille) {
			count[i]++;
			events[i].what();
			break;
		}
		at -= events[i].per_mille;
	}
	if (!below(8))
		poll_watch(&polled);
	if (!below(12))
		poll_watch(&partial);
	if (!below(4))
		look(&threaded);
	if (!below(10))
		resume(1 + below(below(2) ? 20 : 3000));
	check_sights();
}

/* All of them at the newest event, and the bytes of every value. */
static void check_values(struct watch *w)
{
	uint64_t seq = history.seq;
	int r = ringtail_view_wait(w->view, seq, PATIENCE);

	if (r <= 0)
		wrong("%s: %s\n", w->who,
		      r ? ringtail_view_error(w->view) : "it does not get to the end");
	look(w);
	check_sights();
}

static void begin(void)
{
	static const char *const durabilities[] = { "memory", "os" };
	static const unsigned retains[] = { 0, 131072, 262144, 1048576 };

	(void)snprintf(spec, sizeof(spec),
		       FEED ",slots=256,payload=32768,segment=65536,snapshot_bytes=64K,"
			    "durability=%s,retain_bytes=%u,prev_value=%s",
		       durabilities[below(2)], retains[below(4)],
		       below(2) ? "yes" : "no");
	print_message("# seed %" PRIu64 ", %u steps, %s\n", seed, n_steps, spec);
	h_record(&history, 0);
	t_daemon_start(&d, "--data", data, "--feed", spec, NULL);
	reconnect();
	open_recorder();
	open_watch(&polled);
	open_watch(&partial);
	open_watch(&threaded);
}

static void d8_views_are_what_the_feed_was(void **state)
{
	(void)state;
	begin();
	for (step = 1; step <= n_steps; step++)
		one_step();
	repair();
	settle();
	check_values(&polled);
	check_values(&partial);
	check_values(&threaded);
	resume(UINT64_MAX);
	check_sights();
	close_watch(&polled);
	close_watch(&partial);
	close_watch(&threaded);
	for (unsigned i = 0; i < T_N(events); i++) {
		if (events[i].name)
			print_message("# %u %s\n", count[i], events[i].name);
	}
	print_message("# %" PRIu64 " events; %u sights; states anew: %" PRIu64
		      " polled, %" PRIu64 " thread, %" PRIu64 " prefix, %" PRIu64
		      " resumer\n",
		      history.seq, count[15], polled.n_resets, threaded.n_resets,
		      partial.n_resets, resumer.n_resets);
	assert_int_equal(t_daemon_stop(&d), 0);
}

static int setup(void **state)
{
	(void)state;
	return !mkdtemp(data);
}

static int teardown(void **state)
{
	(void)state;
	ringtail_view_close(polled.view);
	ringtail_view_close(partial.view);
	ringtail_view_close(threaded.view);
	ringtail_close(recorder);
	if (redis)
		redisFree(redis);
	repair();
	t_daemon_drop(&d);
	t_dir_drop(strdup(data));
	free(ops);
	free(sights);
	free(history.moments);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { T(d8_views_are_what_the_feed_was) };

	(void)t_daemon_program();
	seed = t_now_ns();
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--steps=", 8))
			n_steps = (unsigned)strtoul(argv[i] + 8, NULL, 10);
		else if (!strncmp(argv[i], "--seed=", 7))
			seed = strtoull(argv[i] + 7, NULL, 10);
	}
	dice.state = seed;
	return cmocka_run_group_tests_name("view_model", tests, NULL, NULL);
}
