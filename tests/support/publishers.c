/* SPDX-License-Identifier: MIT */
/*
 * The embedded writer as a publisher: in this process, and in one of its own that
 * takes requests over a socket pair.
 */
#include "tests/support/feed.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_writer(const struct t_feed *feed, struct ringtail_writer **ret)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;

	options.dir = feed->dir;
	options.n_slots = feed->ring.n_slots;
	options.payload_size = feed->ring.payload_size;
	options.max_key = feed->ring.max_key;
	options.max_value = feed->ring.max_value;
	options.wake_mode = feed->ring.wake_mode;
	options.beat_ms = feed->ring.beat_ms;
	return ringtail_writer_open(T_FEED, &options, ret);
}

static int add_to(struct ringtail_writer *writer, bool in_txn, uint32_t op,
		  const void *key, size_t key_len, const void *value, size_t value_len,
		  uint32_t flags)
{
	if (in_txn)
		return ringtail_add(writer, op, key, key_len, value, value_len, flags);
	if (op == RINGTAIL_PUT)
		return ringtail_put(writer, key, key_len, value, value_len, flags);
	if (op == RINGTAIL_DELETE)
		return ringtail_delete(writer, key, key_len, flags);
	return ringtail_message(writer, key, key_len, value, value_len);
}

/*
 * ---- In this process ----
 */

static void embedded_start(struct t_feed *feed)
{
	int e = open_writer(feed, &feed->writer);

	if (e)
		fail_msg("no writer: %d: %s", e, ringtail_error(NULL));
}

static int embedded_begin(struct t_feed *feed)
{
	return ringtail_begin(feed->writer);
}

static int embedded_add(struct t_feed *feed, uint32_t op, const void *key,
			size_t key_len, const void *value, size_t value_len,
			uint32_t flags)
{
	return add_to(feed->writer, feed->in_txn, op, key, key_len, value, value_len,
		      flags);
}

static int embedded_commit(struct t_feed *feed)
{
	return ringtail_commit(feed->writer);
}

static int embedded_abort(struct t_feed *feed)
{
	ringtail_abort(feed->writer);
	return 0;
}

static uint64_t embedded_seq(struct t_feed *feed)
{
	return ringtail_writer_seq(feed->writer);
}

static void embedded_marker(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE])
{
	t_ok(ringtail_marker_format(ringtail_writer_seq(feed->writer),
				    ringtail_writer_epoch(feed->writer), ret));
}

static void embedded_close(struct t_feed *feed)
{
	ringtail_writer_close(feed->writer);
	feed->writer = NULL;
}

const struct t_publisher t_embedded = {
	.name = "embedded",
	.start = embedded_start,
	.begin = embedded_begin,
	.add = embedded_add,
	.commit = embedded_commit,
	.abort = embedded_abort,
	.seq = embedded_seq,
	.marker = embedded_marker,
	.close = embedded_close,
};

/*
 * ---- In a process of its own ----
 */

enum {
	ASK_BEGIN,
	ASK_ADD,
	ASK_COMMIT,
	ASK_ABORT,
	ASK_SEQ,
	ASK_CLOSE
};

struct request {
	uint32_t what, op, flags, in_txn;
	size_t key_len, value_len;
};

struct answer {
	int64_t result;
	uint64_t seq, epoch;
};

static struct answer serve_one(struct ringtail_writer *writer, const struct request *r,
			       const uint8_t *bytes)
{
	struct answer a = { 0 };

	switch (r->what) {
	case ASK_BEGIN:
		a.result = ringtail_begin(writer);
		break;
	case ASK_ADD:
		a.result = add_to(writer, r->in_txn, r->op, bytes, r->key_len,
				  bytes + r->key_len, r->value_len, r->flags);
		break;
	case ASK_COMMIT:
		a.result = ringtail_commit(writer);
		break;
	case ASK_ABORT:
		ringtail_abort(writer);
		break;
	default:
		break;
	}
	a.seq = ringtail_writer_seq(writer);
	a.epoch = ringtail_writer_epoch(writer);
	return a;
}

/* In the child: answers until it is told to close, or the test is gone. */
static int serve(void *arg)
{
	struct t_feed *feed = arg;
	struct ringtail_writer *writer = NULL;
	struct answer answer = { .result = open_writer(feed, &writer) };
	static uint8_t message[sizeof(struct request) + 65536];
	struct request r;

	if (send(feed->channel, &answer, sizeof(answer), MSG_NOSIGNAL) < 0 ||
	    answer.result)
		return 1;
	while (recv(feed->channel, message, sizeof(message), 0) >= (ssize_t)sizeof(r)) {
		memcpy(&r, message, sizeof(r));
		if (r.what == ASK_CLOSE)
			break;
		answer = serve_one(writer, &r, message + sizeof(r));
		(void)send(feed->channel, &answer, sizeof(answer), MSG_NOSIGNAL);
	}
	ringtail_writer_close(writer);
	return 0;
}

static void child_start(struct t_feed *feed)
{
	struct answer answer = { .result = -EPIPE };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair),
			 0);
	feed->channel = pair[1];
	feed->pid = t_spawn(serve, feed);
	assert_true(feed->pid > 0);
	(void)close(pair[1]);
	feed->channel = pair[0];
	(void)recv(feed->channel, &answer, sizeof(answer), 0);
	t_is((int)answer.result, 0);
}

static struct answer ask(struct t_feed *feed, struct request r, const void *key,
			 const void *value)
{
	struct answer answer = { .result = -EPIPE };
	size_t len = sizeof(r) + r.key_len + r.value_len;
	uint8_t *message = malloc(len);

	assert_non_null(message);
	memcpy(message, &r, sizeof(r));
	if (key && r.key_len)
		memcpy(message + sizeof(r), key, r.key_len);
	if (value && r.value_len)
		memcpy(message + sizeof(r) + r.key_len, value, r.value_len);
	assert_int_equal(send(feed->channel, message, len, MSG_NOSIGNAL), len);
	free(message);
	if (r.what != ASK_CLOSE)
		assert_int_equal(recv(feed->channel, &answer, sizeof(answer), 0),
				 sizeof(answer));
	return answer;
}

static int child_begin(struct t_feed *feed)
{
	return (int)ask(feed, (struct request){ .what = ASK_BEGIN }, NULL, NULL).result;
}

static int child_add(struct t_feed *feed, uint32_t op, const void *key, size_t key_len,
		     const void *value, size_t value_len, uint32_t flags)
{
	struct request r = {
		.what = ASK_ADD,
		.op = op,
		.flags = flags,
		.in_txn = feed->in_txn,
		.key_len = key_len,
		.value_len = value_len,
	};

	return (int)ask(feed, r, key, value).result;
}

static int child_commit(struct t_feed *feed)
{
	return (int)ask(feed, (struct request){ .what = ASK_COMMIT }, NULL, NULL)
		.result;
}

static int child_abort(struct t_feed *feed)
{
	return (int)ask(feed, (struct request){ .what = ASK_ABORT }, NULL, NULL).result;
}

static uint64_t child_seq(struct t_feed *feed)
{
	return ask(feed, (struct request){ .what = ASK_SEQ }, NULL, NULL).seq;
}

static void child_marker(struct t_feed *feed, char ret[RINGTAIL_MARKER_SIZE])
{
	struct answer a = ask(feed, (struct request){ .what = ASK_SEQ }, NULL, NULL);

	t_ok(ringtail_marker_format(a.seq, a.epoch, ret));
}

static void child_gone(struct t_feed *feed)
{
	(void)close(feed->channel);
	feed->channel = -1;
	feed->pid = 0;
}

static void child_close(struct t_feed *feed)
{
	(void)ask(feed, (struct request){ .what = ASK_CLOSE }, NULL, NULL);
	assert_int_equal(t_join(feed->pid), 0);
	child_gone(feed);
}

static void child_kill(struct t_feed *feed)
{
	(void)kill(feed->pid, SIGKILL);
	(void)t_join(feed->pid);
	child_gone(feed);
}

const struct t_publisher t_child = {
	.name = "child",
	.start = child_start,
	.begin = child_begin,
	.add = child_add,
	.commit = child_commit,
	.abort = child_abort,
	.seq = child_seq,
	.marker = child_marker,
	.close = child_close,
	.kill = child_kill,
};
