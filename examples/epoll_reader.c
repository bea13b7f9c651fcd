/* SPDX-License-Identifier: MIT */
/*
 * epoll_reader.c - a feed in an event loop, beside a timer and SIGINT
 *
 *	epoll_reader [FEED]
 *
 * The rule of ringtail_fd(): after it was readable, read until RINGTAIL_NOTHING; that
 * last call arms it again.
 */
#include <errno.h>
#include <ringtail.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum source {
	FEED,
	TIMER,
	SIGNAL
};

static unsigned long n_events;

static void add(int epoll_fd, int fd, enum source source)
{
	struct epoll_event event = { .events = EPOLLIN, .data = { .u32 = source } };

	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		perror("epoll");
}

static int every_second(void)
{
	const struct itimerspec each = { .it_interval = { .tv_sec = 1 },
					 .it_value = { .tv_sec = 1 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd >= 0)
		(void)timerfd_settime(fd, 0, &each, NULL);
	return fd;
}

static int interrupts(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Reads all there is; RINGTAIL_NOTHING, or why it ended. */
static int drain(struct ringtail *reader)
{
	struct ringtail_event event;
	struct ringtail_gap_info gap;
	int r;

	while ((r = ringtail_next(reader, &event, 0)) > 0) {
		if (r == RINGTAIL_EVENT) {
			n_events++;
			printf("%llu %.*s\n", (unsigned long long)event.seq,
			       (int)event.key_len, (const char *)event.key);
		} else if (r == RINGTAIL_GAP && ringtail_gap(reader, &gap) == 0) {
			printf("missed %llu events\n", (unsigned long long)gap.count);
		}
	}
	(void)fflush(stdout);
	return r;
}

static void show_lag(struct ringtail *reader)
{
	struct ringtail_stats stats = { .size = sizeof(stats) };

	if (ringtail_get_stats(reader, &stats) == 0)
		fprintf(stderr, "%lu events, %llu behind\n", n_events,
			(unsigned long long)stats.lag_events);
}

static int loop(struct ringtail *reader)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int timer_fd = every_second();
	struct epoll_event event;
	uint64_t times;
	int r;

	add(epoll_fd, ringtail_fd(reader), FEED);
	add(epoll_fd, timer_fd, TIMER);
	add(epoll_fd, interrupts(), SIGNAL);
	while ((r = drain(reader)) == RINGTAIL_NOTHING) {
		int n = epoll_wait(epoll_fd, &event, 1, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && event.data.u32 == SIGNAL)
			return 0;
		if (n > 0 && event.data.u32 == TIMER &&
		    read(timer_fd, &times, sizeof(times)) > 0)
			show_lag(reader);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail *reader;
	int r;

	options.start = RINGTAIL_START_OLDEST;
	options.on_gap = RINGTAIL_ON_GAP_SKIP;
	r = ringtail_open(argc > 1 ? argv[1] : "main", &options, &reader);
	if (r < 0) {
		fprintf(stderr, "%s\n", ringtail_error(NULL));
		return 1;
	}
	r = loop(reader);
	if (r < 0)
		fprintf(stderr, "end: %s\n", ringtail_strerror(r));
	ringtail_close(reader);
	return r == 0 || r == RINGTAIL_E_CLOSED ? 0 : 1;
}
