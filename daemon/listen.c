/* SPDX-License-Identifier: MIT */
#include "daemon/listen.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "daemon/systemd.h"

#define KNOCKS     100 /* on a door that is shut again each time */
#define BACKLOG    511
#define NO_SOCKET  "something that is no socket is there"
#define SILENCE_MS 3000 /* who does not answer so long is taken to be busy */

static int fail(struct rt_fault *fault, const char *path, const char *what, int error)
{
	rt_fault_set(fault, "socket %s: %s%s%s", path, what, error ? ": " : "",
		     error ? strerror(error) : "");
	return error ? -error : -EINVAL;
}

static int address_of(const char *path, struct sockaddr_un *ret, struct rt_fault *fault)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path)) {
		rt_fault_set(fault, "socket %s: the path has %zu bytes, %zu at most",
			     path, strlen(path), sizeof(ret->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(ret->sun_path, path, strlen(path));
	return 0;
}

/* Outcomes of knock() beside an errno. */
enum knock {
	KNOCK_ANSWERED = -1, /* or silent for long: somebody is there */
	KNOCK_HUNG_UP = -2,
	KNOCK_NOBODY = -3,
};

static int knock(const struct sockaddr_un *address)
{
	static const char ping[] = "PING\r\n";
	AUTO_CLOSE int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char reply;

	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno == EAGAIN)
			return KNOCK_ANSWERED;
		return errno == ECONNREFUSED || errno == ENOENT ? KNOCK_NOBODY : errno;
	}
	if (send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL) < 0 ||
	    (poll(&wait, 1, SILENCE_MS) > 0 && recv(fd, &reply, 1, 0) <= 0))
		return KNOCK_HUNG_UP;
	return KNOCK_ANSWERED;
}

/*
 * Is somebody there?  A daemon that was killed may seem to listen for some moments
 * more, until the kernel has taken its io_uring down; then it hangs up on us.
 */
static int knock_again(const struct sockaddr_un *address)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (int i = 0; i < KNOCKS; i++) {
		int r = knock(address);

		if (r != KNOCK_HUNG_UP)
			return r;
		(void)nanosleep(&pause, NULL); /* shorter is as good */
	}
	return KNOCK_ANSWERED;
}

/* Makes sure that nothing is at @path, unless somebody uses it. */
static int make_way(const char *path, const struct sockaddr_un *address,
		    struct rt_fault *fault)
{
	struct stat st;
	int there;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : fail(fault, path, "cannot look at it", errno);
	if (!S_ISSOCK(st.st_mode))
		return fail(fault, path, NO_SOCKET, EEXIST);
	there = knock_again(address);
	if (there == KNOCK_ANSWERED)
		return fail(fault, path, "another process listens there", EADDRINUSE);
	if (there > 0)
		return fail(fault, path, "cannot tell whether it is in use", there);
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(fault, path, "cannot remove what a dead daemon left",
			    errno);
	return 0;
}

static int bind_and_listen(int fd, const struct rt_config *config,
			   const struct sockaddr_un *address, struct rt_fault *fault)
{
	const char *path = config->socket;
	mode_t mask = umask(0177); /* nobody connects before the mode is right */
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno
										 : 0;

	(void)umask(mask);
	if (r)
		return fail(fault, path, "cannot bind", r);
	if (config->socket_group.n &&
	    chown(path, (uid_t)-1, config->socket_group.ids[0]) < 0)
		r = fail(fault, path, "cannot set its group", errno);
	else if (chmod(path, (mode_t)config->socket_mode) < 0)
		r = fail(fault, path, "cannot set its mode", errno);
	else if (listen(fd, BACKLOG) < 0)
		r = fail(fault, path, "cannot listen", errno);
	if (r < 0)
		(void)unlink(path); /* as it was before */
	return r;
}

static int open_own(struct rt_listeners *listeners, const struct rt_config *config,
		    struct rt_fault *fault)
{
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address;
	int r = address_of(config->socket, &address, fault);

	if (r < 0)
		return r;
	r = make_way(config->socket, &address, fault);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(fault, config->socket, "cannot make a socket", errno);
	r = bind_and_listen(fd, config, &address, fault);
	if (r < 0)
		return r;
	if (!lstat(config->socket, &listeners->made))
		listeners->path = config->socket;
	listeners->fds[0] = rt_take_fd(&fd);
	listeners->n = 1;
	return 0;
}

static int check_inherited(int fd, struct rt_fault *fault)
{
	int domain = 0, listening = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
	    domain != AF_UNIX || !listening) {
		rt_fault_set(fault,
			     "inherited descriptor %d is no listening Unix socket", fd);
		return -EINVAL;
	}
	return 0;
}

int rt_listeners_check(const struct rt_config *config, struct rt_fault *fault)
{
	struct sockaddr_un address;
	struct stat st;
	int r;

	if (getenv("LISTEN_FDS")) /* to be taken once, by the open */
		return 0;
	r = address_of(config->socket, &address, fault);
	if (r < 0 || lstat(config->socket, &st) < 0 || S_ISSOCK(st.st_mode))
		return r;
	return fail(fault, config->socket, NO_SOCKET, EEXIST);
}

int rt_listeners_open(struct rt_listeners *listeners, const struct rt_config *config,
		      struct rt_fault *fault)
{
	int first, n = rt_inherited_sockets(&first);

	*listeners = (struct rt_listeners){ .n = 0 };
	if (n <= 0)
		return open_own(listeners, config, fault);
	if (n > (int)RT_LISTENERS_MAX) {
		rt_fault_set(fault, "%d inherited sockets, %u at most", n,
			     RT_LISTENERS_MAX);
		return -EINVAL;
	}
	for (int i = 0; i < n; i++) {
		int r = check_inherited(first + i, fault);

		if (r < 0)
			return r;
		listeners->fds[listeners->n++] = first + i;
	}
	return 0;
}

void rt_listeners_close(struct rt_listeners *listeners)
{
	struct stat st;

	for (unsigned i = 0; i < listeners->n; i++)
		(void)close(
			listeners->fds[i]); /* a listening socket has nothing to lose */
	listeners->n = 0;
	if (listeners->path && !lstat(listeners->path, &st) &&
	    st.st_dev == listeners->made.st_dev && st.st_ino == listeners->made.st_ino)
		(void)unlink(listeners->path); /* the next daemon replaces it anyway */
	listeners->path = NULL;
}
