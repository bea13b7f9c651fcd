/* SPDX-License-Identifier: MIT */
#include "bench/bench_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench_common.h"

#define TRIES    1000
#define PAUSE_US 10000

static void become(const char *path, const char *socket_path, const char *feed,
		   const char *data)
{
	if (data)
		(void)execl(path, path, "--dir", b_dir(), "--socket", socket_path,
			    "--feed", feed, "--data", data, (char *)NULL);
	else
		(void)execl(path, path, "--dir", b_dir(), "--socket", socket_path,
			    "--feed", feed, (char *)NULL);
}

int b_daemon_start(const char *path, const char *socket_path, const char *feed,
		   const char *data)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(null, 2);
		if (getppid() == parent)
			become(path, socket_path, feed, data);
		_exit(127);
	}
	return b_check(pid < 0 ? -errno : pid, "fork");
}

void b_daemon_stop(int pid)
{
	if (pid > 0 && kill(pid, SIGKILL) == 0)
		(void)waitpid(pid, NULL, 0);
}

int b_daemon_connect(const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	for (int i = 0; i < TRIES; i++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		(void)usleep(PAUSE_US);
	}
	return b_check(-errno, "connect");
}
