/* SPDX-License-Identifier: MIT */
/*
 * ringtaild - owns feeds, and takes what publishers send into them
 *
 * Exit status: 0 ended by a signal, 1 failed, 2 wrong usage or configuration.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "daemon/config.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/renew.h"
#include "daemon/server.h"
#include "daemon/slice.h"
#include "daemon/systemd.h"

#define FDS_BESIDE 64u /* descriptors that are no clients, feeds aside */
#define FDS_A_FEED 8u

/* Publishers wait for the loop, and so does the disk; shorter ones gave them less. */
#define SLICE_NS UINT64_C(500000)

static struct rt_server server;

static const char usage[] =
	"ringtaild - change feeds in shared memory, fed by any Redis client\n"
	"\n"
	"usage: ringtaild [--config FILE] [--feed NAME[,key=value...]]... [options]\n"
	"\n"
	"  --config FILE          settings, as key = value and [feed NAME] sections\n"
	"  --dir DIR              where the feeds are; else $RINGTAIL_DIR, else\n"
	"                         /dev/shm/ringtail for root, "
	"$XDG_RUNTIME_DIR/ringtail\n"
	"  --socket PATH          else $RINGTAIL_SOCKET, else DIR/ringtail.sock\n"
	"  --socket-mode MODE     --socket-group GROUP     who may connect (0660)\n"
	"  --feed NAME[,size=16M][,mode=0640][,publish_users=U:V][,...]\n"
	"                         serve this feed; without any: one that is called "
	"main\n"
	"  --max-clients N        --max-query BYTES        --max-pending-out BYTES\n"
	"  --log-level LEVEL      error, warning, info or debug\n"
	"  --data DIR             keep a log of every feed here, so that nothing is "
	"lost\n"
	"  --check-config         print the settings in force, or what is wrong; exit\n"
	"  --help  --version\n"
	"\n"
	"Runs in the foreground; SIGTERM ends it. Feed settings and their ranges are "
	"in\n"
	"ringtaild.conf(5). Try: redis-cli -s DIR/ringtail.sock SET key value\n";

/* A bell, or a log, that somebody truncated under us is replaced; anything else is
 * fatal. */
static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	struct rt_writer *own = rt_renewal_writer();

	(void)context;
	if (own && rt_writer_bell_fault(own, info->si_addr))
		return;
	for (unsigned i = 0; server.feeds && i < server.config->n_feeds; i++)
		if ((server.feeds[i].journal.writer &&
		     rt_writer_bell_fault(server.feeds[i].journal.writer,
					  info->si_addr)) ||
		    rt_window_fault(&server.feeds[i].journal.log.window, info->si_addr))
			return;
	(void)signal(signo, SIG_DFL); /* and the same instruction again */
}

/* Signals come by descriptor; blocked before the first thread starts. */
static int open_signals(void)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	sigset_t set;
	int fd;

	(void)sigemptyset(&set); /* these cannot fail */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
	    sigaction(SIGBUS, &bus, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void raise_fd_limit(struct rt_config *config)
{
	uint64_t beside = FDS_BESIDE + (uint64_t)FDS_A_FEED * config->n_feeds;
	uint64_t need = config->max_clients + beside;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
		return;
	limit.rlim_cur = rt_min(limit.rlim_max, need);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		(void)getrlimit(RLIMIT_NOFILE, &limit); /* go by what there is */
	if (limit.rlim_cur >= need)
		return;
	config->clients_limit = limit.rlim_cur > beside ? limit.rlim_cur - beside : 1;
	rt_log(RT_LOG_WARNING, "max_clients is %llu: the limit of open files is %llu",
	       (unsigned long long)config->clients_limit,
	       (unsigned long long)limit.rlim_cur);
}

static int serve(struct rt_loop *loop, struct rt_listeners *listeners)
{
	char status[128];
	int r = rt_server_attach(&server, loop);

	if (r < 0) {
		rt_log(RT_LOG_ERROR, "cannot start a thread: %s", strerror(-r));
		return r;
	}
	for (unsigned i = 0; i < listeners->n; i++)
		rt_loop_listen(loop, listeners->fds[i]);
	(void)snprintf(status, sizeof(status), "%u of %u feeds served",
		       rt_feeds_served(&server), server.config->n_feeds);
	rt_log(RT_LOG_INFO, "ready: %s, socket %s", status,
	       listeners->path ? listeners->path : "inherited");
	rt_notify_ready(status);
	rt_slice_set(SLICE_NS);
	r = rt_loop_run(loop);
	rt_notify_stopping();
	if (r < 0)
		rt_log(RT_LOG_ERROR, "the event loop failed: %s", strerror(-r));
	return r;
}

static int run(struct rt_config *config, int signal_fd)
{
	struct rt_listeners listeners = { .n = 0 };
	struct rt_loop *loop = NULL;
	struct rt_fault fault = { "" };
	int r = rt_listeners_check(config, &fault);

	if (r < 0) {
		rt_log(RT_LOG_ERROR, "%s", fault.text);
		return 1;
	}
	r = rt_server_open(&server, config);
	if (r < 0) {
		rt_log(RT_LOG_ERROR, "no feed can be served");
	} else {
		r = rt_listeners_open(&listeners, config, &fault);
		if (r < 0)
			rt_log(RT_LOG_ERROR, "%s", fault.text);
	}
	if (r >= 0) {
		r = rt_loop_open(&rt_server_ops, &server, signal_fd, &loop);
		if (r < 0)
			rt_log(RT_LOG_ERROR,
			       "io_uring is not available: %s; it needs Linux 6.1, "
			       "sysctl "
			       "kernel.io_uring_disabled=0 and a sandbox that allows "
			       "it",
			       strerror(-r));
	}
	if (r >= 0)
		r = serve(loop, &listeners);
	rt_listeners_close(&listeners);
	rt_loop_close(loop);
	rt_server_leave(&server);
	if (r >= 0)
		rt_log(RT_LOG_INFO, "ended");
	return r < 0 ? 1 : 0;
}

static int start(struct rt_config *config)
{
	AUTO_CLOSE int signal_fd = -1;

	rt_log_init((enum rt_log_level)config->log_level);
	raise_fd_limit(config);
	signal_fd = open_signals();
	if (signal_fd < 0) {
		rt_log(RT_LOG_ERROR, "cannot take signals: %s", strerror(-signal_fd));
		return 1;
	}
	return run(config, signal_fd);
}

int main(int argc, char **argv)
{
	struct rt_config config;
	struct rt_fault fault;
	int status = 0;

	switch (rt_config_load(&config, argc, argv, &fault)) {
	case RT_CONFIG_RUN:
		status = start(&config);
		break;
	case RT_CONFIG_PRINT:
		rt_config_print(&config, stdout);
		break;
	case RT_CONFIG_HELP:
		(void)fputs(usage, stdout); /* checked by the flush below */
		break;
	case RT_CONFIG_VERSION:
		(void)puts("ringtaild " RT_VERSION); /* likewise */
		break;
	default:
		(void)fprintf(stderr, "ringtaild: %s\n", fault.text);
		status = 2;
		break;
	}
	rt_config_fini(&config);
	if (fflush(stdout) || ferror(stdout))
		status = 1;
	return status;
}
