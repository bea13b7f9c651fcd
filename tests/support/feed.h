/* SPDX-License-Identifier: MIT */
/*
 * feed.h - a feed of the test's own, whoever writes it
 *
 * The same test body runs with three publishers: an embedded writer in this process,
 * one in a process of its own (which can be killed and stopped), and a ringtaild that
 * is spoken to over its socket, without a log and with one.  Readers are opened in this
 * process.
 *
 * Everything here fails the test by itself where it says so; not to be used in
 * threads and children, but for what is marked.
 */
#ifndef RINGTAIL_TESTS_SUPPORT_FEED_H
#define RINGTAIL_TESTS_SUPPORT_FEED_H

#include <ringtail.h>

#include "tests/support/t.h"
#ifdef T_HAVE_DAEMON
#include "tests/support/daemon.h"
#endif

#define T_MS      INT64_C(1000000)
#define T_AGES_NS (INT64_C(60000) * T_MS) /* a wait that ends has failed */
#define T_FEED    "main"

/* What the ring shall be; 0: 1024 slots, 64 KiB, 1 KiB keys, beats of a second. */
struct t_ring {
	uint32_t n_slots;
	uint32_t payload_size;
	uint32_t max_key;
	uint32_t max_value;
	uint32_t wake_mode; /* enum ringtail_wake_mode */
	uint32_t beat_ms;   /* ringtaild: always a second */
};

struct t_feed;

struct t_publisher {
	const char *name;
	void (*start)(struct t_feed *feed);
	int (*begin)(struct t_feed *feed);
	int (*add)(struct t_feed *feed, uint32_t op, const void *key, size_t key_len,
		   const void *value, size_t value_len, uint32_t flags);
	int (*commit)(struct t_feed *feed);
	int (*abort)(struct t_feed *feed);
	uint64_t (*seq)(struct t_feed *feed);
	void (*marker)(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE]);
	void (*close)(struct t_feed *feed); /* cleanly */
	void (*kill)(struct t_feed *feed);  /* -9; NULL if it cannot be killed */
};

extern const struct t_publisher t_embedded, t_child, t_daemon_publisher,
	t_logging_publisher;

struct t_feed {
	const struct t_publisher *by;
	struct t_ring ring;
	char *dir;
	bool running, in_txn;
	int fds; /* open before the test */
	struct ringtail_writer *writer;
	int pid, channel; /* t_child */
#ifdef T_HAVE_DAEMON
	struct t_daemon daemon;
	redisContext *redis;
	char spec[200];
#endif
};

/* A test that runs once for each publisher; inside of an array of tests. */
#define T_BY(test, publisher, suffix) \
	{ \
#test suffix, test, t_feed_setup, t_feed_teardown, \
			(void *)(uintptr_t) & (publisher) \
	}
#ifdef T_HAVE_DAEMON
#define T_BOTH(test) \
	T_BY(test, t_embedded, " (embedded)"), \
		T_BY(test, t_daemon_publisher, " (daemon)")
#define T_KILLABLE(test) \
	T_BY(test, t_child, " (embedded)"), T_BY(test, t_daemon_publisher, " (daemon)")
#define T_DAEMON(test) T_BY(test, t_daemon_publisher, " (daemon)")
#define T_LOG(test)    T_BY(test, t_logging_publisher, " (log)")
/* As T_BOTH, and with a log: for what does not say when history is gone. */
#define T_EACH(test) T_BOTH(test), T_LOG(test)
#else
#define T_EACH(test)     T_BOTH(test)
#define T_BOTH(test)     T_BY(test, t_embedded, " (embedded)")
#define T_KILLABLE(test) T_BY(test, t_child, " (embedded)")
#endif
#define T_EMBEDDED(test) T_BY(test, t_embedded, " (embedded)")

/* Set the state to a struct t_feed that is not started; end whatever was. */
int t_feed_setup(void **state);
int t_feed_teardown(void **state);

/* Creates the feed, or goes on with it after t_feed_close() and t_feed_kill(). */
void t_feed_start(struct t_feed *feed, struct t_ring ring);
void t_feed_close(struct t_feed *feed);
void t_feed_kill(struct t_feed *feed);
int t_feed_pid(const struct t_feed *feed); /* of t_child and t_daemon_publisher */

/* Events with text for key and value; they must succeed. */
void t_put(struct t_feed *feed, const char *key, const char *value);
void t_delete(struct t_feed *feed, const char *key);
void t_message(struct t_feed *feed, const char *key, const char *value);
void t_begin(struct t_feed *feed);
void t_commit(struct t_feed *feed);
void t_abort(struct t_feed *feed);
/* @n puts of key "k" with their number, from 1, as value; each a transaction. */
void t_puts(struct t_feed *feed, unsigned n);

/* Any event; returns 0 or an error. */
int t_add(struct t_feed *feed, uint32_t op, const void *key, size_t key_len,
	  const void *value, size_t value_len, uint32_t flags);

/* A value of 0 .. T_VALUE_MAX bytes that only event @seq has; any thread or child. */
#define T_VALUE_MAX 200u
size_t t_value(uint64_t seq, uint8_t value[T_VALUE_MAX]);
bool t_is_value(const void *value, size_t len, uint64_t seq);
/* A put of key "key" with that value. */
void t_put_value(struct t_feed *feed, uint64_t seq);

uint64_t t_feed_seq(struct t_feed *feed); /* newest committed, says the publisher */
void t_feed_marker(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE]);
const char *t_feed_file(const struct t_feed *feed, const char *name);

/*
 * ---- Readers ----
 */

struct ringtail_options t_from(uint32_t start);
struct ringtail_options t_after(uint64_t seq);
struct ringtail_options t_after_marker(const char *marker);

/* Opens, and must succeed; t_try_open() returns the error.  Any thread. */
struct ringtail *t_open(const struct t_feed *feed, struct ringtail_options options);
int t_try_open(const struct t_feed *feed, struct ringtail_options options,
	       struct ringtail **ret);

/*
 * Reads all there is without waiting and writes it down: "1:a=x 2:-b 3:!c=y;" is one
 * transaction of a put, a delete and a message.  Then, unless it is just nothing,
 * how it ended: "caught-up", "gap 4+3/1" (first, count, skipped), "error -4100".
 * In a static buffer, for use at once.
 */
const char *t_drain(struct ringtail *reader);
void t_drained(struct ringtail *reader, const char *want);

/* The next event; it must come within T_AGES_NS and be this one. */
void t_next_is(struct ringtail *reader, uint64_t seq);

struct ringtail_stats t_stats(struct ringtail *reader);
struct ringtail_info t_info(struct ringtail *reader);

/* delivered + filtered + lost == position - start?  Any thread. */
bool t_accounts_add_up(struct ringtail *reader);

/* Checks the accounts, then closes. */
void t_close(struct ringtail *reader);

/* Is thread (or process) @id asleep?  For t_within_ms(); @id points to an int. */
bool t_is_asleep(void *id);

/* Is the writer in that state, or gets there?  A slow machine's heartbeats are late. */
bool t_becomes(struct ringtail *reader, enum ringtail_state state);

/* Its processor time in nanoseconds, all threads. */
uint64_t t_cpu_ns(int pid);

#endif
