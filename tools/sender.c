/* SPDX-License-Identifier: MIT */
#include "tools/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <ringtail.h>
#include <sys/socket.h>

#include "tools/conn.h"
#include "tools/tool.h"

#define OUT_HIGH  65536u /* bytes that wait before they are written */
#define SAY_MAX   10     /* refusals that are printed; the rest is counted */
#define RECV_SIZE 65536u

void rt_sender_init(struct rt_sender *sender, redisContext *conn, bool keep_going)
{
	memset(sender, 0, sizeof(*sender));
	sender->conn = conn;
	sender->keep_going = keep_going;
	sender->only_puts = true;
}

void rt_sender_fini(struct rt_sender *sender)
{
	free(sender->args);
	free(sender->parts);
	free(sender->out);
}

static int fail(int error)
{
	rt_say("%s", strerror(-error));
	return error;
}

/* Room for @more bytes behind @len of *@buf. */
static int grow(char **buf, size_t len, size_t more, size_t *size)
{
	size_t want = *size ? *size : 4096;

	if (RT_LIKELY(len + more <= *size))
		return 0;
	while (want < len + more)
		want *= 2;

	char *larger = realloc(*buf, want);

	if (!larger)
		return fail(-ENOMEM);
	*buf = larger;
	*size = want;
	return 0;
}

/* "$LEN\r\nBYTES\r\n"; there is room. */
static char *put_string(char *at, const char *bytes, size_t len)
{
	char digits[20];
	size_t n = 0, rest = len;

	do {
		digits[n++] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	*at++ = '$';
	while (n)
		*at++ = digits[--n];
	*at++ = '\r';
	*at++ = '\n';
	if (len)
		memcpy(at, bytes, len);
	at[len] = '\r';
	at[len + 1] = '\n';
	return at + len + 2;
}

static int add_part(struct rt_sender *sender, uint32_t op)
{
	if (sender->n_parts == sender->parts_size) {
		const size_t size = sender->parts_size ? sender->parts_size * 2 : 64;
		struct rt_part *larger =
			reallocarray(sender->parts, size, sizeof(*larger));

		if (!larger)
			return fail(-ENOMEM);
		sender->parts = larger;
		sender->parts_size = size;
	}
	sender->parts[sender->n_parts++] = (struct rt_part){ sender->args_len, op };
	return 0;
}

int rt_sender_add(struct rt_sender *sender, const struct rt_load_event *event,
		  uint64_t line)
{
	const size_t room = event->key_len + event->value_len + 64;
	int r = grow(&sender->args, sender->args_len, room, &sender->args_size);

	if (r < 0)
		return r;

	char *at =
		put_string(sender->args + sender->args_len, event->key, event->key_len);

	if (event->op != RINGTAIL_DELETE)
		at = put_string(at, event->value, event->value_len);
	sender->args_len = (size_t)(at - sender->args);
	if (!sender->n_parts)
		sender->first_line = line;
	sender->last_line = line;
	sender->only_puts &= event->op == RINGTAIL_PUT;
	return add_part(sender, event->op);
}

void rt_sender_abort(struct rt_sender *sender)
{
	sender->args_len = 0;
	sender->n_parts = 0;
	sender->only_puts = true;
}

static int queue(struct rt_sender *sender, const char *bytes, size_t len)
{
	const int r = grow(&sender->out, sender->out_len, len, &sender->out_size);

	if (r < 0)
		return r;
	memcpy(sender->out + sender->out_len, bytes, len);
	sender->out_len += len;
	return 0;
}

static int queue_text(struct rt_sender *sender, const char *text)
{
	return queue(sender, text, strlen(text));
}

static int queue_parts(struct rt_sender *sender)
{
	size_t begin = 0;
	int r = 0;

	for (size_t i = 0; i < sender->n_parts && !r; i++) {
		const struct rt_part *part = &sender->parts[i];

		if (part->op == RINGTAIL_PUT)
			r = queue_text(sender, "*3\r\n$3\r\nSET\r\n");
		else if (part->op == RINGTAIL_DELETE)
			r = queue_text(sender, "*2\r\n$3\r\nDEL\r\n");
		else
			r = queue_text(sender, "*3\r\n$7\r\nPUBLISH\r\n");
		if (!r)
			r = queue(sender, sender->args + begin, part->end - begin);
		begin = part->end;
	}
	return r;
}

/* One command if there is one that does it, else MULTI .. EXEC. */
static int queue_transaction(struct rt_sender *sender, uint32_t *ret_replies)
{
	char head[48];
	int r;

	*ret_replies = 1;
	if (sender->n_parts == 1)
		return queue_parts(sender);
	if (sender->only_puts) {
		(void)snprintf(head, sizeof(head), "*%zu\r\n$4\r\nMSET\r\n",
			       2 * sender->n_parts + 1);
		r = queue_text(sender, head);
		return r ? r : queue(sender, sender->args, sender->args_len);
	}
	*ret_replies = (uint32_t)sender->n_parts + 2;
	r = queue_text(sender, "*1\r\n$5\r\nMULTI\r\n");
	if (!r)
		r = queue_parts(sender);
	return r ? r : queue_text(sender, "*1\r\n$4\r\nEXEC\r\n");
}

/*
 * ---- Replies -----------------------------------------------------------------
 */

static void refuse(struct rt_sender *sender, struct rt_request *request,
		   const char *text)
{
	if (request->refused)
		return; /* the first error of a transaction is the one that tells */
	request->refused = true;
	sender->refused_txns++;
	if (sender->said++ >= SAY_MAX)
		return;
	if (request->first_line == request->last_line)
		rt_say("line %" PRIu64 ": %s", request->first_line, text);
	else
		rt_say("lines %" PRIu64 " to %" PRIu64 ": %s", request->first_line,
		       request->last_line, text);
	if (sender->said == SAY_MAX)
		rt_say("further refusals are only counted");
}

static void take_reply(struct rt_sender *sender, const redisReply *reply)
{
	struct rt_request *request = &sender->flight[sender->head % RT_SENDER_REQUESTS];

	if (reply->type == REDIS_REPLY_ERROR)
		refuse(sender, request, rt_reply_text(reply));
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		if (reply->element[i]->type == REDIS_REPLY_ERROR)
			refuse(sender, request, rt_reply_text(reply->element[i]));
	if (--request->n_replies)
		return;
	if (!request->refused) {
		sender->committed_events += request->n_events;
		sender->committed_txns++;
	}
	sender->head++;
}

static int take_replies(struct rt_sender *sender)
{
	redisReader *reader = sender->conn->reader;

	while (sender->head != sender->tail) {
		AUTO_REPLY redisReply *reply = NULL;

		if (redisReaderGetReply(reader, (void **)&reply) != REDIS_OK) {
			rt_say("the daemon's reply makes no sense: %s", reader->errstr);
			return -EPROTO;
		}
		if (!reply)
			return 0;
		take_reply(sender, reply);
	}
	return 0;
}

static int lost(int error)
{
	rt_say("lost the connection to the daemon: %s",
	       error ? strerror(error) : "it was closed");
	return -ECONNRESET;
}

/* Reads what is there.  1 something, 0 nothing, or negative. */
static int receive(struct rt_sender *sender)
{
	static char buf[RECV_SIZE];
	const ssize_t n = recv(sender->conn->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return lost(n < 0 ? errno : 0);
	if (redisReaderFeed(sender->conn->reader, buf, (size_t)n) != REDIS_OK)
		return fail(-ENOMEM);

	const int r = take_replies(sender);

	return r < 0 ? r : 1;
}

/* Writes what the socket takes. */
static int transmit(struct rt_sender *sender)
{
	const size_t len = sender->out_len - sender->out_at;
	const ssize_t n = len ? send(sender->conn->fd, sender->out + sender->out_at,
				     len, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		const int error = errno;

		while (receive(sender) > 0)
			; /* what it said before it hung up tells more */
		return error == EPIPE ? -ECONNRESET : lost(error);
	}
	if (n > 0)
		sender->out_at += (size_t)n;
	if (sender->out_at == sender->out_len)
		sender->out_at = sender->out_len = 0;
	return 0;
}

/* Goes on until at most @bytes are to be written and @requests are unanswered. */
static int pump(struct rt_sender *sender, size_t bytes, uint64_t requests)
{
	for (;;) {
		int r = transmit(sender);

		if (!r)
			r = receive(sender);
		if (r < 0)
			return r;

		const size_t waiting = sender->out_len - sender->out_at;
		struct pollfd fd = {
			.fd = sender->conn->fd,
			.events = (short)(waiting ? POLLIN | POLLOUT : POLLIN),
		};

		if (waiting <= bytes && sender->tail - sender->head <= requests)
			return 0;
		if (!r && poll(&fd, 1, -1) < 0 && errno != EINTR)
			return fail(-errno);
	}
}

int rt_sender_commit(struct rt_sender *sender)
{
	struct rt_request *request = &sender->flight[sender->tail % RT_SENDER_REQUESTS];
	uint32_t n_replies;

	if (!sender->n_parts)
		return 0;

	const int r = queue_transaction(sender, &n_replies);

	if (r < 0)
		return r;
	*request = (struct rt_request){
		.first_line = sender->first_line,
		.last_line = sender->last_line,
		.n_events = (uint32_t)sender->n_parts,
		.n_replies = n_replies,
	};
	sender->tail++;
	rt_sender_abort(sender); /* it is on its way */
	if (sender->out_len - sender->out_at < OUT_HIGH &&
	    sender->tail - sender->head < RT_SENDER_REQUESTS)
		return 0;
	return pump(sender, 0, RT_SENDER_REQUESTS / 2);
}

int rt_sender_drain(struct rt_sender *sender)
{
	return pump(sender, 0, 0);
}
