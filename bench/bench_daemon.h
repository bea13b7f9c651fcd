/* SPDX-License-Identifier: MIT */
/*
 * bench_daemon.h - a ringtaild of its own for a benchmark
 */
#ifndef RINGTAIL_BENCH_BENCH_DAEMON_H
#define RINGTAIL_BENCH_BENCH_DAEMON_H

/*
 * Starts the daemon at @path with one feed, as --feed has it, below b_dir(); it dies
 * with this process.  @data: folder for --data, or NULL.  Its pid.
 */
int b_daemon_start(const char *path, const char *socket_path, const char *feed,
		   const char *data);
void b_daemon_stop(int pid); /* nothing if it is 0 */

/* Waits until it listens; ends the program if it does not. */
int b_daemon_connect(const char *socket_path);

#endif
