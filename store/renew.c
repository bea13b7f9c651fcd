/* SPDX-License-Identifier: MIT */
#include "store/renew.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "store/log_read.h"
#include "store/state.h"

#define ASK_EVERY 4096u /* entries */

/* What is damaged may speak of anything; a seq above is none. */
#define PLAUSIBLE (UINT64_MAX / 2)

static int name_new(const char *log_path, char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s.new", log_path);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int fail(const struct rt_renew *renew, struct rt_fault *fault, const char *what,
		int error)
{
	rt_fault_set(fault, "feed '%s': cannot %s %.300s.new: %s", renew->snapshot.name,
		     what, renew->log_path, strerror(-error));
	return error;
}

/*
 * ---- Removing ----
 */

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), end_len = strlen(end);

	return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* Is it a file that a log has? */
static bool is_part(const char *name)
{
	static const char *const names[] = { "epochs", "state", "floor", "lock" };
	static const char *const ends[] = { ".log", ".idx", ".snap", ".new" };

	for (size_t i = 0; i < RT_N(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < RT_N(ends); i++) {
		if (ends_with(name, ends[i]))
			return true;
	}
	return false;
}

/* The oldest first, as readers who still have the folder open expect it. */
static void remove_segments(int dir_fd)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	char name[32];

	if (rt_segments_list(dir_fd, &segments) < 0)
		return;
	for (size_t i = 0; i < segments.n; i++) {
		rt_segment_name(segments.first_seqs[i], ".log", name);
		(void)unlinkat(dir_fd, name, 0); /* else rmdir() fails */
	}
}

void rt_renew_clean(const char *log_path)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (name_new(log_path, path) < 0)
		return;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		rt_close_fd(&fd);
		return;
	}
	remove_segments(fd);
	while ((entry = readdir(dir))) {
		if (is_part(entry->d_name))
			(void)unlinkat(fd, entry->d_name, 0); /* else rmdir() fails */
	}
	(void)closedir(dir);
	(void)rmdir(path); /* or it stays, with what else is in it; no harm */
}

/*
 * ---- Making ----
 */

static int make_folder(const char *path, int *ret_fd)
{
	int fd;

	/* Searchable for all, whatever the umask: its files have modes of their own. */
	if (mkdir(path, 0755) < 0 || chmod(path, 0755) < 0)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* As the folder that it is to replace, if there is one. */
static int set_owner(const struct rt_renew *renew, int fd)
{
	struct stat st, made;

	if (stat(renew->log_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &made) < 0)
		return -errno;
	if (made.st_uid == st.st_uid && made.st_gid == st.st_gid)
		return 0;
	return fchown(fd, st.st_uid, st.st_gid) < 0 ? -errno : 0;
}

static int check_key(const struct rt_renew *renew, const struct rt_state *state,
		     struct rt_fault *fault)
{
	if (!renew->max_key || state->key_len <= renew->max_key)
		return 0;
	rt_fault_set(
		fault,
		"feed '%s': there is a key of %u bytes, and %" PRIu64
		" is what its ring can take, a quarter of its payload; nothing was "
		"changed",
		renew->snapshot.name, state->key_len, renew->max_key);
	return -EINVAL;
}

static int put_all(const struct rt_renew *renew, struct rt_snapshot_writer *writer,
		   struct rt_merge *from, struct rt_fault *fault)
{
	struct rt_state state;
	int r;

	for (uint64_t n = 0; (r = rt_merge_next(from, fault, &state)) == 1; n++) {
		if (renew->go_on && n % ASK_EVERY == 0) {
			r = renew->go_on(renew->go_on_arg);
			if (r < 0)
				return r;
		}
		if (renew->drop_bound && state.flags & RT_TERMS_BOUND)
			continue;
		r = check_key(renew, &state, fault);
		if (!r)
			r = rt_snapshot_put(writer, &state, fault);
		if (r < 0)
			return r;
	}
	return r;
}

static int write_snapshot(struct rt_renew *renew, int dir_fd, struct rt_merge *from,
			  struct rt_fault *fault)
{
	AUTO(rt_snapshot_discard) struct rt_snapshot_writer writer;
	char name[32];
	int r;

	rt_snapshot_name(renew->snapshot.seq, name);
	r = rt_snapshot_create(dir_fd, name, &renew->snapshot, fault, &writer);
	if (!r)
		r = put_all(renew, &writer, from, fault);
	if (!r)
		r = rt_snapshot_finish(&writer, fault);
	renew->n_entries = writer.n_entries; /* the last block's too, by now */
	return r;
}

static int write_texts(const struct rt_renew *renew, int dir_fd)
{
	const uint64_t seq = renew->snapshot.seq;
	/* The snapshot is the first of it: events alone are not the whole history. */
	const struct rt_epoch epoch = { renew->snapshot.epoch, rt_max(seq, 1) };
	int r = rt_epochs_write(dir_fd, &epoch, 1);

	return r < 0 ? r : rt_state_write(dir_fd, "clean", seq + 1);
}

/* The small files are synced by themselves, and are to be of the same owner. */
static int own_texts(int dir_fd)
{
	static const char *const names[] = { "epochs", "state" };
	struct stat st, made;

	if (fstat(dir_fd, &st) < 0)
		return -errno;
	for (size_t i = 0; i < RT_N(names); i++) {
		if (fstatat(dir_fd, names[i], &made, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if ((made.st_uid != st.st_uid || made.st_gid != st.st_gid) &&
		    fchownat(dir_fd, names[i], st.st_uid, st.st_gid,
			     AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	return 0;
}

static int prepare(struct rt_renew *renew, const char *path, struct rt_merge *state,
		   struct rt_fault *fault)
{
	AUTO_CLOSE int dir_fd = -1;
	int r = make_folder(path, &dir_fd);

	if (!r)
		r = set_owner(renew, dir_fd);
	if (r < 0)
		return fail(renew, fault, "make", r);
	r = write_snapshot(renew, dir_fd, state, fault);
	if (r < 0)
		return r;
	r = write_texts(renew, dir_fd);
	if (!r)
		r = own_texts(dir_fd);
	if (!r && renew->snapshot.sync && fsync(dir_fd) < 0)
		r = -errno;
	return r < 0 ? fail(renew, fault, "write", r) : 0;
}

int rt_renew_prepare(struct rt_renew *renew, struct rt_merge *state,
		     struct rt_fault *fault)
{
	struct rt_renew full = *renew;
	char path[PATH_MAX];
	int r = name_new(renew->log_path, path);

	if (r < 0)
		return fail(renew, fault, "make", r);
	if (full.snapshot.seq >= PLAUSIBLE) {
		rt_fault_set(fault,
			     "feed '%s': cannot go on after seq %" PRIu64
			     ", which no feed gets to: what it comes from is damaged",
			     full.snapshot.name, full.snapshot.seq);
		return RT_E_CORRUPT;
	}
	if (!full.snapshot.epoch)
		full.snapshot.epoch = rt_random64();
	rt_renew_clean(renew->log_path); /* of a crash */
	r = prepare(&full, path, state, fault);
	renew->n_entries = full.n_entries;
	if (r < 0)
		rt_renew_clean(renew->log_path);
	return r;
}

/* Of @path, so that what was renamed in it stays so. */
static int sync_parent(const char *path)
{
	char parent[PATH_MAX];
	char *slash;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = '\0';

	AUTO_CLOSE int fd =
		open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int rt_renew_swap(const struct rt_renew *renew, struct rt_fault *fault)
{
	const char *log_path = renew->log_path;
	char path[PATH_MAX];
	bool alone = false; /* there was nothing to be swapped with */
	int r = name_new(log_path, path);

	if (!r && renameat2(AT_FDCWD, path, AT_FDCWD, log_path, RENAME_EXCHANGE) < 0) {
		alone = errno == ENOENT;
		r = alone && rename(path, log_path) == 0 ? 0 : -errno;
	}
	if (!r && renew->snapshot.sync) {
		r = sync_parent(log_path);
		if (r < 0) /* as it was, as far as one can */
			(void)renameat2(AT_FDCWD, log_path, AT_FDCWD, path,
					alone ? RENAME_NOREPLACE : RENAME_EXCHANGE);
	}
	return r < 0 ? fail(renew, fault, "put in place", r) : 0;
}

/*
 * ---- What was ----
 */

static void note(uint64_t *head, uint64_t seq)
{
	if (seq > *head && seq <= PLAUSIBLE)
		*head = seq;
}

/* Up to the last event of the newest segment that can be read. */
static uint64_t last_in_log(struct rt_log_reader *reader)
{
	AUTO(rt_segments_fini) struct rt_segments segments = { 0 };
	const uint8_t *data;

	if (rt_segments_list(reader->dir_fd, &segments) < 0 || !segments.n)
		return 0;
	if (rt_log_reader_enter(reader, segments.first_seqs[segments.n - 1], NULL) < 0)
		return segments.first_seqs[segments.n - 1] - 1;
	while (rt_log_reader_step(reader, &data) == 1)
		;
	return reader->next - 1;
}

int rt_renew_head(const char *log_path, uint64_t *ret)
{
	AUTO(rt_log_reader_close) struct rt_log_reader reader = { .fd = -1 };
	AUTO_FREE struct rt_epoch *epochs = NULL;
	enum rt_stop stop;
	uint64_t seq = 0;
	size_t n = 0;
	int r = rt_log_reader_open(log_path, NULL, &reader);

	*ret = 0;
	if (r < 0)
		return r == RT_E_NO_FEED ? 0 : r;
	note(ret, last_in_log(&reader));
	/* What of the rest cannot be read says nothing. */
	if (rt_snapshots_list(reader.dir_fd, &seq, 1, &n) == 0 && n)
		note(ret, seq);
	if (rt_state_read(reader.dir_fd, &stop, &seq) == 0 && seq)
		note(ret, seq - 1);
	if (rt_epochs_read(reader.dir_fd, &epochs, &n) == 0 && n)
		note(ret, epochs[n - 1].first_seq - 1);
	return 0;
}
