/* SPDX-License-Identifier: MIT */
/*
 * feedrig.h - a feed and the disk below it, without loop and sessions
 *
 * Rounds are made by hand.  What is in flight may land at any moment, so nobody asks
 * whether it has not yet, but where a gate holds the disk.
 */
#ifndef RINGTAIL_TESTS_UNIT_FEEDRIG_H
#define RINGTAIL_TESTS_UNIT_FEEDRIG_H

#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/feed.h"
#include "daemon/log.h"
#include "daemon/server.h"

/* As T(), for a feed of another kind. */
#define TS(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, teardown)

struct fixture {
	struct rt_config config;
	struct rt_server server;
	char *dir;
	int wake_fd;
	uint64_t round;
};

static struct fixture f;

__attribute__((unused)) static struct rt_feed *feed(void)
{
	return &f.server.feeds[0];
}

__attribute__((unused)) static uint64_t head(void)
{
	return rt_writer_head(feed()->writer);
}

__attribute__((unused)) static void open_server(void)
{
	t_ok(rt_server_open(&f.server, &f.config));
	f.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f.wake_fd >= 0);
	t_ok(rt_feed_detach(feed(), f.wake_fd, NULL));
}

__attribute__((unused)) static void close_server(void)
{
	rt_server_close(&f.server);
	(void)close(f.wake_fd);
}

/* The disk, as the test wants it. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_shut; /* writes wait */
	int sync_error;
	int reserve_error;
	unsigned n_writes;
} disk = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static ssize_t write_when_open(int fd, const void *buf, size_t len, off_t at)
{
	(void)pthread_mutex_lock(&disk.mutex);
	disk.n_writes++;
	(void)pthread_cond_broadcast(&disk.changed);
	while (disk.is_shut)
		(void)pthread_cond_wait(&disk.changed, &disk.mutex);
	(void)pthread_mutex_unlock(&disk.mutex);
	return pwrite(fd, buf, len, at);
}

static int sync_or_fail(int fd)
{
	errno = disk.sync_error;
	return disk.sync_error ? -1 : fdatasync(fd);
}

static int reserve_or_fail(int fd, int mode, off_t at, off_t len)
{
	errno = disk.reserve_error;
	return disk.reserve_error ? -1 : fallocate(fd, mode, at, len);
}

static const struct rt_log_io disk_io = {
	.pwrite = write_when_open,
	.fdatasync = sync_or_fail,
	.fallocate = reserve_or_fail,
};

__attribute__((unused)) static void open_disk(void)
{
	(void)pthread_mutex_lock(&disk.mutex);
	disk.is_shut = false;
	(void)pthread_cond_broadcast(&disk.changed);
	(void)pthread_mutex_unlock(&disk.mutex);
}

/* Until the thread has begun that many. */
__attribute__((unused)) static void wait_for_writes(unsigned n)
{
	(void)pthread_mutex_lock(&disk.mutex);
	while (disk.n_writes < n)
		(void)pthread_cond_wait(&disk.changed, &disk.mutex);
	(void)pthread_mutex_unlock(&disk.mutex);
}

__attribute__((unused)) static int setup_mode(const char *mode, const char *segment)
{
	char dir[128], data[128], one[64];
	char program[] = "ringtaild", option[] = "--feed";
	char *argv[] = { program, dir, data, option, one };
	struct rt_fault fault = { "" };

	rt_log_init(RT_LOG_ERROR);
	f = (struct fixture){ .dir = t_dir_new() };
	disk.sync_error = disk.reserve_error = 0;
	(void)snprintf(one, sizeof(one), "f,size=4M,segment=%s,durability=%s", segment,
		       mode);
	(void)snprintf(dir, sizeof(dir), "--dir=%s/shm", f.dir);
	(void)snprintf(data, sizeof(data), "--data=%s/data", f.dir);
	t_ok(t_sh(NULL, "mkdir %s/shm %s/data", f.dir, f.dir));
	if (rt_config_load(&f.config, T_N(argv), argv, &fault) != RT_CONFIG_RUN)
		fail_msg("%s", fault.text);
	open_server();
	return 0;
}

__attribute__((unused)) static int setup(void **state)
{
	(void)state;
	return setup_mode("disk", "64K");
}

__attribute__((unused)) static int teardown(void **state)
{
	(void)state;
	open_disk(); /* else the end waits for it */
	close_server();
	rt_config_fini(&f.config);
	t_dir_drop(f.dir);
	return 0;
}

/* Key number @i of some; its value is the number. */
__attribute__((unused)) static void put(unsigned i)
{
	char key[16], value[16];

	(void)snprintf(key, sizeof(key), "key%u", i % 100);
	(void)snprintf(value, sizeof(value), "%u", i);
	t_ok(rt_feed_put(feed(), key, strlen(key), value, strlen(value), NULL));
}

/* Event 1 has passed: a segment has begun. */
__attribute__((unused)) static void shut_disk(void)
{
	put(1);
	t_ok(rt_feed_flush(feed()));
	feed()->journal.log.config.io = &disk_io;
	(void)pthread_mutex_lock(&disk.mutex);
	disk.is_shut = true;
	disk.n_writes = 0;
	(void)pthread_mutex_unlock(&disk.mutex);
}

__attribute__((unused)) static void push(void)
{
	(void)rt_feed_push(feed(), ++f.round, false);
}

/* What a loop does: sleeps until something has been done, and takes it in. */
__attribute__((unused)) static void wait_for(uint64_t round)
{
	while (!rt_feed_is_settled(feed(), round)) {
		struct pollfd poll_fd = { .fd = f.wake_fd, .events = POLLIN };
		eventfd_t n;

		assert_int_equal(poll(&poll_fd, 1, 30000), 1);
		t_ok(eventfd_read(f.wake_fd, &n));
		rt_feed_settle(feed());
	}
}

#endif
