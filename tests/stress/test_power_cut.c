/* SPDX-License-Identifier: MIT */
/*
 * test_power_cut.c - the machine goes down at any moment
 *
 * Records what a log writes, reserves and syncs.  For each moment of that record a disk
 * is made up: what was synced by then is on it; of what was written since, each sector
 * is or is not.  Recovery must find a prefix of history there that holds all that the
 * mode had promised.
 *
 *	test_power_cut [SEED]
 */
#include "tests/unit/logrig.h"

#include <sys/mman.h>

#define N_BATCHES 70
#define N_ROUNDS  6 /* for each moment */
#define MAX_OPS   1024
#define MAX_FILES 64
#define SECTOR    512u

enum op_kind {
	OP_RESERVE,
	OP_WRITE,
	OP_SYNC
};

struct op {
	enum op_kind kind;
	unsigned file;
	size_t at, len;
	uint8_t *data;
	uint64_t promised; /* seq up to which the mode had promised, after this */
	uint64_t appended; /* and up to which anything had been written at all */
};

static struct {
	struct op ops[MAX_OPS];
	unsigned n;
	ino_t files[MAX_FILES];
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
		if (trace.files[i] == st.st_ino)
			return i;
	}
	if (trace.n_files == MAX_FILES) {
		trace.lost = true;
		return 0;
	}
	trace.files[trace.n_files] = st.st_ino;
	return trace.n_files++;
}

static void record(enum op_kind kind, int fd, const void *data, size_t at, size_t len)
{
	struct op *op = &trace.ops[trace.n];

	if (trace.n == MAX_OPS) {
		trace.lost = true;
		return;
	}
	*op = (struct op){ .kind = kind, .file = file_of(fd), .at = at, .len = len };
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
	struct iovec pages;

	if (t_random_below(random, 3) && rt_log_wants_pages(log, &pages))
		rt_window_got(&log->window, madvise(pages.iov_base, pages.iov_len,
						    MADV_POPULATE_WRITE) < 0
						    ? -errno
						    : 0);
}

static void make_trace(struct logrig *rig, uint32_t mode)
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
		trace.ops[trace.n - 1].promised = rig->log.synced;
		fetch_pages(&rig->log, &random);
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

/*
 * File @file as it is found after a cut before op @cut.  @without: a write that the
 * disk had confirmed and lost all the same.  It has its name once its header is synced.
 */
static void replay_file(struct logrig *rig, unsigned file, unsigned cut,
			unsigned without, struct t_random *random)
{
	struct rt_log_header header;
	uint8_t *content = NULL;
	bool named = false, later = false;
	size_t size = 0, end = 0;

	for (unsigned i = 0; i < cut; i++) {
		const struct op *op = &trace.ops[i];

		later = later || (op->file > file);
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
		if (is_synced(i, cut))
			memcpy(content + op->at, op->data, op->len);
		else
			apply_torn(content, op, random);
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

static void replay(struct logrig *rig, unsigned cut, unsigned without,
		   struct t_random *random, const char *state)
{
	assert_int_equal(t_sh(NULL, "rm -rf '%s'", rig->path), 0);
	assert_int_equal(mkdir(rig->path, 0755), 0);
	t_write_file(t_path(rig->path, "epochs"), trace.epochs, trace.epochs_len);
	lr_left(rig, state, true);
	for (unsigned i = 0; i < trace.n_files; i++)
		replay_file(rig, i, cut, without, random);
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

static void cut_everywhere(struct logrig *rig, uint32_t mode, const char *state)
{
	struct t_random random = { trace.seed + 100 };
	unsigned n_less = 0;

	make_trace(rig, mode);
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

	make_trace(rig, RT_LOG_DISK);
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
	};

	if (argc > 1)
		trace.seed = strtoull(argv[1], NULL, 0);
	print_message("# seed %llu\n", (unsigned long long)trace.seed);
	return cmocka_run_group_tests_name("power_cut", tests, NULL, NULL);
}
