/* SPDX-License-Identifier: MIT */
/*
 * What another user of the host can do to a feed that it may read: read it.
 *
 * Becomes "nobody" in children, so it runs as root only.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define NOBODY 65534

struct intruder {
	const struct t_feed *feed;
	char ring[300], bell[300], lock[300], folder[300], other[300];
	int writer_pid;
};

/* The number of the first attempt that was not refused as it should; 0 if none. */
#define MUST_FAIL(call, error) \
	do { \
		attempt++; \
		errno = 0; \
		if ((call) || errno != (error)) { \
			print_error("attempt %d, %s: errno %d\n", attempt, #call, \
				    errno); \
			return attempt; \
		} \
	} while (0)

static bool become_nobody(void)
{
	bool became = setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 &&
		      setuid(NOBODY) == 0 && setuid(0) < 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* forgotten with the old user */
	return became;
}

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static bool maps_writable(int fd)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
	       MAP_FAILED;
}

static bool makes_writable(int fd)
{
	void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	return mprotect(map, 4096, PROT_READ | PROT_WRITE) == 0;
}

static bool locks_for_writing(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Refused for the folder or for the file, by the host's settings. */
static bool links(const char *from, const char *to)
{
	bool linked = link(from, to) == 0;

	if (errno == EPERM)
		errno = EACCES;
	return linked;
}

static int try_the_ring(const struct intruder *in, int fd)
{
	struct iovec byte = { (void *)(uintptr_t) "x", 1 };
	char again[64];
	int attempt = 0;

	MUST_FAIL(opens(in->ring, O_RDWR), EACCES);
	MUST_FAIL(opens(in->ring, O_WRONLY), EACCES);
	MUST_FAIL(opens(in->ring, O_RDONLY | O_TRUNC), EACCES);
	MUST_FAIL(maps_writable(fd), EACCES);
	MUST_FAIL(makes_writable(fd), EACCES);
	MUST_FAIL(write(fd, "x", 1) >= 0, EBADF);
	MUST_FAIL(pwrite(fd, "x", 1, 4096) >= 0, EBADF);
	MUST_FAIL(pwritev2(fd, &byte, 1, 4096, 0) >= 0, EBADF);
	MUST_FAIL(ftruncate(fd, 0) >= 0, EINVAL);
	MUST_FAIL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) >=
			  0,
		  EBADF);
	MUST_FAIL(truncate(in->ring, 0) >= 0, EACCES);
	(void)snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	MUST_FAIL(opens(again, O_RDWR), EACCES);
	MUST_FAIL(opens(again, O_WRONLY), EACCES);
	MUST_FAIL(fchmod(fd, 0666) >= 0, EPERM);
	MUST_FAIL(fchown(fd, NOBODY, NOBODY) >= 0, EPERM);
	MUST_FAIL(locks_for_writing(fd), EBADF);
	return 0;
}

static int try_what_is_around(const struct intruder *in)
{
	char memory[64];
	int attempt = 100;

	MUST_FAIL(unlink(in->ring) >= 0, EACCES);
	MUST_FAIL(rename(in->ring, in->other) >= 0, EACCES);
	MUST_FAIL(links(in->ring, in->other), EACCES);
	MUST_FAIL(symlink(in->ring, in->other) >= 0, EACCES);
	MUST_FAIL(opens(in->other, O_RDWR | O_CREAT), EACCES);
	MUST_FAIL(chmod(in->folder, 0777) >= 0, EPERM);
	MUST_FAIL(opens(in->bell, O_RDWR), EACCES);
	MUST_FAIL(truncate(in->bell, 0) >= 0, EACCES);
	MUST_FAIL(opens(in->lock, O_RDONLY), EACCES);
	MUST_FAIL(opens(in->lock, O_RDWR), EACCES);
	if (in->writer_pid) {
		(void)snprintf(memory, sizeof(memory), "/proc/%d/mem", in->writer_pid);
		MUST_FAIL(opens(memory, O_RDWR), EACCES);
		MUST_FAIL(kill(in->writer_pid, SIGSTOP) >= 0, EPERM);
	}
	return 0;
}

/* In a child. */
static int intrude(void *arg)
{
	const struct intruder *in = arg;
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	struct ringtail_writer *writer;
	struct ringtail_event event;
	struct ringtail *reader;
	int fd, verdict;

	if (!become_nobody())
		return 200;
	fd = open(in->ring, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 201;
	verdict = try_the_ring(in, fd);
	if (!verdict)
		verdict = try_what_is_around(in);
	if (verdict)
		return verdict;

	options.dir = in->feed->dir;
	options.n_slots = in->feed->ring.n_slots;
	options.payload_size = in->feed->ring.payload_size;
	if (ringtail_writer_open(T_FEED, &options, &writer) != -EACCES)
		return 202;
	/* And reading works, though there is no bell for it. */
	if (t_try_open(in->feed, t_after(0), &reader) ||
	    ringtail_next(reader, &event, 0) != RINGTAIL_EVENT || event.seq != 1 ||
	    ringtail_next(reader, &event, 20 * T_MS) != RINGTAIL_NOTHING)
		return 203;
	return t_accounts_add_up(reader) ? 0 : 204;
}

/* Lets everybody look, not write. */
static void let_look(struct t_feed *feed, struct intruder *in)
{
	*in = (struct intruder){ .feed = feed, .writer_pid = t_feed_pid(feed) };
	(void)snprintf(in->ring, sizeof(in->ring), "%s", t_feed_file(feed, "ring"));
	(void)snprintf(in->bell, sizeof(in->bell), "%s", t_feed_file(feed, "bell"));
	(void)snprintf(in->lock, sizeof(in->lock), "%s", t_feed_file(feed, "lock"));
	(void)snprintf(in->other, sizeof(in->other), "%s", t_feed_file(feed, "other"));
	(void)snprintf(in->folder, sizeof(in->folder), "%s", t_feed_file(feed, ""));
	assert_int_equal(chmod(feed->dir, 0755), 0);
	assert_int_equal(chmod(in->ring, 0644), 0);
}

static void i4_another_user_can_read_and_not_write(void **state)
{
	struct t_feed *feed = *state;
	struct intruder in;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	reader = t_open(feed, t_after(0));
	t_put(feed, "k", "1");
	let_look(feed, &in);
	assert_int_equal(t_in_child(intrude, &in), 0);
	t_put(feed, "k", "2");
	t_drained(reader, "1:k=1;2:k=2;");
	t_close(reader);
}

/* In a child. */
static int only_open(void *arg)
{
	const struct intruder *in = arg;
	struct ringtail *reader;

	if (!become_nobody())
		return 200;
	if (t_try_open(in->feed, t_after(0), &reader) != -EACCES)
		return 1;
	return strstr(ringtail_error(NULL), in->ring) ? 0 : 2;
}

static void i4_who_may_not_read_is_told_so(void **state)
{
	struct t_feed *feed = *state;
	struct intruder in;

	t_feed_start(feed, (struct t_ring){ 0 });
	let_look(feed, &in);
	assert_int_equal(chmod(in.ring, 0640), 0);
	assert_int_equal(t_in_child(only_open, &in), 0);
}

static int lock_for_ever(void *arg)
{
	const struct intruder *in = arg;
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd;

	if (!become_nobody())
		return 200;
	fd = open(in->ring, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return 1;
	for (;;)
		(void)pause();
}

static bool holds_lock(void *arg)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct intruder *in = arg;
	int fd = open(in->ring, O_RDWR | O_CLOEXEC);
	bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_RDLCK;

	(void)close(fd);
	return held;
}

/* A reader that locks the ring keeps no writer out. */
static void i4_a_readers_lock_keeps_no_writer_out(void **state)
{
	struct t_feed *feed = *state;
	struct intruder in;
	struct ringtail *reader;
	int pid;

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "1");
	reader = t_open(feed, t_after(0));
	let_look(feed, &in);
	t_feed_kill(feed);
	pid = t_spawn(lock_for_ever, &in);
	assert_true(t_within_ms(60000, holds_lock, &in));

	t_feed_start(feed, (struct t_ring){ 0 });
	t_put(feed, "k", "2");
	t_drained(reader, "1:k=1;2:k=2;");
	assert_true(t_becomes(reader, RINGTAIL_LIVE));
	t_close(reader);
	(void)kill(pid, SIGKILL);
	assert_int_equal(t_join(pid), 1000 + SIGKILL);
}

#ifdef T_HAVE_DAEMON
/* In a child: one command over the socket, and whether the answer begins so. */
static int publish(const struct t_feed *feed, const char *answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *command = "SET k intruder\r\n";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char reply[512] = "";

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		       feed->daemon.socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno;
	if (write(fd, command, strlen(command)) < 0 ||
	    read(fd, reply, sizeof(reply) - 1) <= 0)
		return 201;
	return strncmp(reply, answer, strlen(answer)) ? 202 : 0;
}

static int publish_as_nobody(void *arg)
{
	const struct intruder *in = arg;

	return become_nobody() ? publish(in->feed, "-NOPERM") : 200;
}

static void i4_another_user_may_not_publish(void **state)
{
	struct t_feed *feed = *state;
	struct intruder in;
	struct ringtail *reader;

	t_feed_start(feed, (struct t_ring){ 0 });
	let_look(feed, &in);
	reader = t_open(feed, t_after(0));
	assert_int_equal(chmod(feed->daemon.socket, 0600), 0);
	assert_int_equal(t_in_child(publish_as_nobody, &in), EACCES);
	assert_int_equal(chmod(feed->daemon.socket, 0666), 0);
	assert_int_equal(t_in_child(publish_as_nobody, &in), 0);
	t_put(feed, "k", "1");
	t_drained(reader, "1:k=1;");
	t_close(reader);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(i4_another_user_can_read_and_not_write),
		T_BOTH(i4_who_may_not_read_is_told_so),
		T_KILLABLE(i4_a_readers_lock_keeps_no_writer_out),
#ifdef T_HAVE_DAEMON
		T_DAEMON(i4_another_user_may_not_publish),
#endif
	};

	if (geteuid() != 0)
		t_skip_all("becoming another user needs root");
	return cmocka_run_group_tests_name("conformance I, another user", tests, NULL,
					   NULL);
}
