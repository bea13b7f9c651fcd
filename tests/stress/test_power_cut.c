/* SPDX-License-Identifier: MIT */
/*
 * test_power_cut.c - the machine goes down at any moment
 *
 * Records what a log writes, reserves and syncs.  For each moment of that record a disk
 * is made up: what was synced by then is on it; of what was written since, each sector
 * is or is not; and of files that got their names or were removed since, each has or
 * was.  Recovery must find a prefix of history there that holds all that the mode had
 * promised, and the state that it makes.
 *
 *	test_power_cut [SEED]
 */
#include "tests/unit/logrig.h"

#include "store/build.h"

#define N_BATCHES      70
#define N_ROUNDS       6 /* for each moment */
#define MAX_OPS        1024
#define MAX_FILES      64
#define SECTOR         512u
#define SNAPSHOT_EVERY 12 /* batches */

enum op_kind {
	OP_RESERVE,
	OP_WRITE,
	OP_SYNC,
	OP_NAMED,  /* a snapshot: for good */
	OP_REMOVED /* sooner or later */
};

struct op {
	enum op_kind kind;
	unsigned file;
	size_t at, len;
	uint8_t *data;
	uint64_t promised; /* seq up to which the mode had promised, after this */
	uint64_t appended; /* and up to which anything had been written at all */
};

struct file {
	ino_t ino;
	int fd;       /* so that no other gets its number */
	uint64_t seq; /* of the snapshot that it is; 0: it is a segment */
	bool removed; /* from the log that is recorded */
};

static struct {
	struct op ops[MAX_OPS];
	unsigned n;
	struct file files[MAX_FILES];
	unsigned n_files;
	unsigned n_stores;
	bool lost; /* more of something than there is room for */
	uint64_t seed;
	char *epochs;
	size_t epochs_len;
} trace = { .seed = 1 };

/*
 * ---- Record ----
 */

static unsigned file_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		trace.lost = true;
	for (unsigned i = 0; i < trace.n_files; i++) {
		if (trace.files[i].ino == st.st_ino)
			return i;
	}
	if (trace.n_files == MAX_FILES) {
		trace.lost = true;
		return 0;
	}
	trace.files[trace.n_files] = (struct file){
		.ino = st.st_ino,
		.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3),
	};
	return trace.n_files++;
}

static void record_of(enum op_kind kind, unsigned file, const void *data, size_t at,
		      size_t len)
{
	struct op *op = &trace.ops[trace.n];

	if (trace.n == MAX_OPS) {
		trace.lost = true;
		return;
	}
	*op = (struct op){ .kind = kind, .file = file, .at = at, .len = len };
	if (data) {
		op->data = malloc(len);
		memcpy(op->data, data, len);
	}
	if (trace.n) {
		op->promised = op[-1].promised;
		op->appended = op[-1].appended;
	}
	trace.n++;
}

static void record(enum op_kind kind, int fd, const void *data, size_t at, size_t len)
{
	record_of(kind, file_of(fd), data, at, len);
}

static ssize_t record_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	record(OP_WRITE, fd, buf, (size_t)at, len);
	return pwrite(fd, buf, len, at);
}

static int record_fdatasync(int fd)
{
	record(OP_SYNC, fd, NULL, 0, 0);
	return 0;
}

static int record_fallocate(int fd, int mode, off_t at, off_t len)
{
	record(OP_RESERVE, fd, NULL, 0, (size_t)len);
	return fallocate(fd, mode, at, len);
}

static void record_store(int fd, void *to, const void *from, size_t len, off_t at)
{
	record(OP_WRITE, fd, from, (size_t)at, len);
	trace.n_stores++;
	memcpy(to, from, len);
}

static const struct rt_log_io recording = {
	.pwrite = record_pwrite,
	.fdatasync = record_fdatasync,
	.fallocate = record_fallocate,
	.store = record_store,
};

/* As the kernel's worker does it, but for some that come too late. */
static void fetch_pages(struct rt_log *log, struct t_random *random)
{
	if (t_random_below(random, 3))
		(void)lr_fetch(log);
}

/* The seq that a segment begins with, as its header says. */
static uint64_t first_seq_of(unsigned file)
{
	struct rt_log_header header = { .first_seq = 0 };

	assert_int_equal(pread(trace.files[file].fd, &header, sizeof(header), 0),
			 sizeof(header));
	return header.first_seq;
}

static void record_removed(unsigned file)
{
	if (trace.files[file].removed)
		return;
	trace.files[file].removed = true;
	record_of(OP_REMOVED, file, NULL, 0, 0);
}

/* All but the newest two snapshots go, and the segments before the older one. */
static void let_go(struct logrig *rig)
{
	uint64_t seqs[RT_SNAPSHOTS_KEPT];
	size_t n = 0;

	assert_true(rt_snapshots_prune(rig->log.dir_fd) >= 0);
	t_ok(rt_snapshots_list(rig->log.dir_fd, seqs, RT_SNAPSHOTS_KEPT, &n));
	for (unsigned i = 0; i < trace.n_files; i++) {
		if (trace.files[i].seq && trace.files[i].seq < seqs[n - 1])
			record_removed(i);
	}
	if (n < RT_SNAPSHOTS_KEPT)
		return;
	(void)rt_log_drop_below(&rig->log, seqs[n - 1] + 1);
	for (unsigned i = 0; i < trace.n_files; i++) {
		if (!trace.files[i].seq && first_seq_of(i) < rig->log.oldest)
			record_removed(i);
	}
}

static void take_snapshot(struct logrig *rig)
{
	const unsigned file = trace.n_files;
	const struct rt_build build = {
		.log_path = rig->path,
		.out_dir_fd = rig->log.dir_fd,
		.name = "unit",
		.epoch = LR_EPOCH,
		.limit = rig->log.next - 1,
		.budget = UINT64_C(16) << 20,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.sync = true,
		.io = &recording,
	};
	struct rt_built built;

	t_ok(rt_snapshot_build(&build, &rig->fault, &built));
	assert_int_equal(built.seq, build.limit);
	assert_int_equal(trace.n_files, file + 1);
	trace.files[file].seq = build.limit;
	record_of(OP_NAMED, file, NULL, 0, 0);
	trace.ops[trace.n - 1].promised = build.limit; /* what it is of is there, too */
	let_go(rig);
}

static void make_trace(struct logrig *rig, uint32_t mode, bool snapshots)
{
	struct t_random random = { trace.seed };

	trace.n = trace.n_files = trace.n_stores = 0;
	rig->config.mode = mode;
	rig->config.io = &recording;
	lr_open(rig);
	for (unsigned i = 0; i < N_BATCHES; i++) {
		unsigned before = trace.n;

		t_ok(lr_try_append(rig, 1 + (unsigned)t_random_below(&random, 60)));
		for (unsigned k = before; k < trace.n; k++)
			trace.ops[k].appended = rig->log.next - 1;
		if (mode == RT_LOG_OS && t_random_below(&random, 5) == 0)
			t_ok(rt_log_sync(&rig->log, &rig->fault));
		trace.ops[trace.n - 1].promised =
			rt_max(rig->log.synced, trace.ops[trace.n - 1].promised);
		fetch_pages(&rig->log, &random);
		if (snapshots && i % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1)
			take_snapshot(rig);
	}
	assert_false(trace.lost);
	assert_true(trace.n_files > 3);
	assert_true(mode == RT_LOG_DISK || rig->log.window.unfit || trace.n_stores);
	trace.epochs = t_read_file(t_path(rig->path, "epochs"), &trace.epochs_len);
	lr_drop(rig);
	rig->config.io = NULL;
}

static void drop_trace(void)
{
	for (unsigned i = 0; i < trace.n; i++)
		free(trace.ops[i].data);
	for (unsigned i = 0; i < trace.n_files; i++)
		(void)close(trace.files[i].fd);
	free(trace.epochs);
	trace.n = 0;
}

/*
 * ---- Replay ----
 */

/* Was write @w on the disk when op @cut was about to begin? */
static bool is_synced(unsigned w, unsigned cut)
{
	for (unsigned i = w + 1; i < cut; i++) {
		if (trace.ops[i].kind == OP_SYNC &&
		    trace.ops[i].file == trace.ops[w].file)
			return true;
	}
	return false;
}

/* Sector by sector, as the disk pleases: all, none, or some. */
static void apply_torn(uint8_t *content, const struct op *op, struct t_random *random)
{
	uint64_t whim = t_random_below(random, 3);

	for (size_t done = 0; done < op->len;) {
		size_t n = SECTOR - (op->at + done) % SECTOR;

		if (n > op->len - done)
			n = op->len - done;
		if (whim == 0 || (whim == 1 && t_random64(random) & 1))
			memcpy(content + op->at + done, op->data + done, n);
		done += n;
	}
}

/* What a write has left in a file, after a cut before op @cut. */
static void apply(uint8_t *content, unsigned i, unsigned cut, struct t_random *random)
{
	const struct op *op = &trace.ops[i];

	if (is_synced(i, cut))
		memcpy(content + op->at, op->data, op->len);
	else
		apply_torn(content, op, random);
}

/*
 * Segment @file as it is found after a cut before op @cut.  @without: a write that the
 * disk had confirmed and lost all the same.  It has its name once its header is synced.
 */
static void replay_segment(struct logrig *rig, unsigned file, unsigned cut,
			   unsigned without, struct t_random *random)
{
	struct rt_log_header header;
	uint8_t *content = NULL;
	bool named = false, later = false;
	size_t size = 0, end = 0;

	for (unsigned i = 0; i < cut; i++) {
		const struct op *op = &trace.ops[i];

		later = later || (op->file > file && !trace.files[op->file].seq);
		if (op->file != file)
			continue;
		if (op->kind == OP_RESERVE) {
			size = op->len;
			content = calloc(1, size);
		}
		if (op->kind == OP_SYNC)
			named = true;
		if (op->kind != OP_WRITE || i == without)
			continue;
		end = op->at + op->len;
		assert_true(content && end <= size);
		apply(content, i, cut, random);
	}
	if (named) {
		memcpy(&header, content, sizeof(header));
		/* Of one that is complete, what was not used may have been given back.
		 */
		if (later && t_random64(random) & 1)
			size = end;
		t_write_file(lr_segment(rig, header.first_seq, ".log"), content, size);
	}
	free(content);
}

/* Has @kind happened to the file before op @cut?  If that is it: it may have. */
static bool has(enum op_kind kind, unsigned file, unsigned cut, struct t_random *random)
{
	for (unsigned i = 0; i <= cut && i < trace.n; i++) {
		if (trace.ops[i].kind == kind && trace.ops[i].file == file)
			return i < cut || t_random64(random) & 1;
	}
	return false;
}

/* Under its name, or the one that it has while it is made. */
static void replay_snapshot(struct logrig *rig, unsigned file, unsigned cut,
			    struct t_random *random)
{
	size_t size = 0;
	uint8_t *content;
	char name[40];

	for (unsigned i = 0; i < cut; i++) {
		if (trace.ops[i].file == file && trace.ops[i].kind == OP_WRITE)
			size = rt_max(size, trace.ops[i].at + trace.ops[i].len);
	}
	if (!size || (has(OP_REMOVED, file, cut, random) && t_random64(random) & 1))
		return;
	content = calloc(1, size);
	for (unsigned i = 0; i < cut; i++) {
		if (trace.ops[i].file == file && trace.ops[i].kind == OP_WRITE)
			apply(content, i, cut, random);
	}
	rt_snapshot_name(trace.files[file].seq, name);
	if (!has(OP_NAMED, file, cut, random))
		strcat(name, ".new");
	t_write_file(t_path(rig->path, name), content, size);
	free(content);
}

/* As many segments as have gone of those that were removed, the oldest first. */
static uint64_t n_gone(unsigned cut, struct t_random *random)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < cut; i++) {
		const struct op *op = &trace.ops[i];

		n += op->kind == OP_REMOVED && !trace.files[op->file].seq;
	}
	return t_random_below(random, n + 1);
}

static void replay(struct logrig *rig, unsigned cut, unsigned without,
		   struct t_random *random, const char *state)
{
	uint64_t gone = n_gone(cut, random);

	assert_int_equal(t_sh(NULL, "rm -rf '%s'", rig->path), 0);
	assert_int_equal(mkdir(rig->path, 0755), 0);
	t_write_file(t_path(rig->path, "epochs"), trace.epochs, trace.epochs_len);
	lr_left(rig, state, true);
	for (unsigned i = 0; i < trace.n_files; i++) {
		if (trace.files[i].seq)
			replay_snapshot(rig, i, cut, random);
		else if (gone)
			gone--;
		else
			replay_segment(rig, i, cut, without, random);
	}
}

/* What the next writer finds, and that it can go on. */
static void check(struct logrig *rig, unsigned cut)
{
	const struct op *last = &trace.ops[cut - 1];
	bool disk = rig->config.mode == RT_LOG_DISK;
	int r = lr_try(rig);

	if (r < 0 || rig->wrong || rig->seen < last->promised)
		print_error("seed %llu, cut before op %u: %d '%s', seen %llu of %llu\n",
			    (unsigned long long)trace.seed, cut, r, rig->fault.text,
			    (unsigned long long)rig->seen,
			    (unsigned long long)last->promised);
	t_ok(r);
	assert_false(rig->wrong);
	assert_true(rig->seen >= last->promised);
	assert_true(rig->seen <= last->appended);
	assert_int_equal(rig->first, rig->seen ? 1 : 0);
	if (rig->seen)
		assert_int_equal(rig->report.new_epoch, !disk);
	if (cut % 7 == 0) {
		lr_append(rig, 3);
		lr_close(rig);
		lr_open(rig);
	}
	lr_drop(rig);
}

/*
 * ---- The state ----
 */

/* The seq of the newest put of each key. */
struct keys {
	uint64_t seqs[3][1000];
};

static struct keys found, wanted;
static bool is_wrong;

static void fold(struct keys *keys, uint64_t seq)
{
	if (lr_op(seq) == RT_OP_PUT)
		keys->seqs[seq % 3][lr_hash(seq) % 1000] = seq;
}

static int on_begin(void *arg, uint64_t seq, uint64_t n_entries)
{
	(void)arg;
	(void)seq;
	(void)n_entries;
	found = (struct keys){ 0 };
	return 0;
}

static int on_state(void *arg, const struct rt_state *state)
{
	uint8_t value[64];
	char key[32];

	(void)arg;
	is_wrong |= lr_op(state->seq) != RT_OP_PUT ||
		    state->key_len != lr_key(state->seq, key) ||
		    memcmp(state->key, key, state->key_len) != 0 ||
		    state->value_len != lr_value(state->seq, value) ||
		    memcmp(state->value, value, state->value_len) != 0 ||
		    state->time_ns != lr_time(state->seq);
	fold(&found, state->seq);
	return 0;
}

static int on_event(void *arg, const struct rt_item *item)
{
	fold(&found, item->seq);
	return lr_visit(arg, item);
}

static const struct rt_log_base base = { on_begin, on_state, NULL, UINT64_MAX, NULL };

static int open_state(struct logrig *rig)
{
	is_wrong = rig->wrong = false;
	rig->first = rig->seen = 0;
	rig->fault.text[0] = 0;
	return rt_log_open(rig->path, &rig->config, on_event, rig, &rig->fault,
			   &rig->report, &rig->log);
}

/* That of the events up to where the log says that it ends. */
static void is_state(const struct logrig *rig)
{
	wanted = (struct keys){ 0 };
	for (uint64_t seq = 1; seq < rig->log.next; seq++)
		fold(&wanted, seq);
	assert_memory_equal(&found, &wanted, sizeof(wanted));
	assert_false(is_wrong);
	assert_false(rig->wrong);
	assert_int_equal(rig->report.bad_snapshot.text[0], 0);
	if (rig->seen) {
		assert_int_equal(rig->first, rig->report.base + 1);
		assert_int_equal(rig->seen, rig->log.next - 1);
	}
}

/* The newest snapshot that had its name for good. */
static uint64_t newest_snapshot(unsigned cut)
{
	uint64_t seq = 0;

	for (unsigned i = 0; i < cut; i++) {
		if (trace.ops[i].kind == OP_NAMED)
			seq = trace.files[trace.ops[i].file].seq;
	}
	return seq;
}

/* Whether something was lost that could be. */
static bool check_state(struct logrig *rig, unsigned cut)
{
	const struct op *last = &trace.ops[cut - 1];
	int r = open_state(rig);
	bool lost;

	if (r < 0)
		print_error("seed %llu, cut before op %u: %d '%s'\n",
			    (unsigned long long)trace.seed, cut, r, rig->fault.text);
	t_ok(r);
	is_state(rig);
	assert_in_range(rig->log.next - 1, last->promised, last->appended);
	lost = rig->log.next - 1 < last->appended;
	assert_true(rig->report.base >= newest_snapshot(cut));
	if (rig->log.next > 1)
		assert_int_equal(rig->report.new_epoch,
				 rig->config.mode != RT_LOG_DISK);
	if (cut % 7 == 0) {
		lr_append(rig, 3);
		lr_close(rig);
		t_ok(open_state(rig));
		is_state(rig);
	}
	lr_drop(rig);
	return lost;
}

static void cut_snapshots(struct logrig *rig, uint32_t mode, const char *state)
{
	struct t_random random = { trace.seed + 300 };
	unsigned n_less = 0, n_states = 0;

	make_trace(rig, mode, true);
	rig->config.base = &base;
	for (unsigned cut = 1; cut <= trace.n; cut++) {
		for (unsigned round = 0; round < N_ROUNDS; round++) {
			replay(rig, cut, UINT32_MAX, &random, state);
			n_less += check_state(rig, cut);
			n_states += rig->report.base != 0;
		}
	}
	assert_true(n_less > 50 && n_states > 500);
	drop_trace();
}

static void the_state_of_mode_disk_is_that_of_its_events(void **state)
{
	cut_snapshots(*state, RT_LOG_DISK, "synced");
}

static void so_it_is_in_mode_os(void **state)
{
	cut_snapshots(*state, RT_LOG_OS, "open");
}

/*
 * ---- History ----
 */

static void cut_everywhere(struct logrig *rig, uint32_t mode, const char *state)
{
	struct t_random random = { trace.seed + 100 };
	unsigned n_less = 0;

	make_trace(rig, mode, false);
	for (unsigned cut = 1; cut <= trace.n; cut++) {
		for (unsigned round = 0; round < N_ROUNDS; round++) {
			replay(rig, cut, UINT32_MAX, &random, state);
			check(rig, cut);
			n_less += rig->seen < trace.ops[cut - 1].appended;
		}
	}
	assert_true(n_less > 50); /* else nothing was lost that could be */
	drop_trace();
}

static void nothing_acknowledged_is_lost_in_mode_disk(void **state)
{
	cut_everywhere(*state, RT_LOG_DISK, "synced");
}

static void nothing_synced_is_lost_in_mode_os(void **state)
{
	cut_everywhere(*state, RT_LOG_OS, "open");
}

/* A disk that confirms and loses: then recovery says so, and names the place. */
static void a_disk_that_lies_is_found_out(void **state)
{
	struct logrig *rig = *state;
	struct t_random random = { trace.seed + 200 };
	unsigned n = 0;

	make_trace(rig, RT_LOG_DISK, false);
	for (unsigned i = 0; i + 6 < trace.n; i++) {
		if (trace.ops[i].kind != OP_WRITE || !trace.ops[i].at)
			continue;
		replay(rig, trace.n, i, &random, "synced");
		t_is(lr_try(rig), RT_E_CORRUPT);
		assert_non_null(strstr(rig->fault.text, ".log: damaged at byte"));
		n++;
	}
	assert_true(n > 40);
	drop_trace();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(nothing_acknowledged_is_lost_in_mode_disk),
		T(nothing_synced_is_lost_in_mode_os),
		T(a_disk_that_lies_is_found_out),
		T(the_state_of_mode_disk_is_that_of_its_events),
		T(so_it_is_in_mode_os),
	};

	if (argc > 1)
		trace.seed = strtoull(argv[1], NULL, 0);
	print_message("# seed %llu\n", (unsigned long long)trace.seed);
	return cmocka_run_group_tests_name("power_cut", tests, NULL, NULL);
}
