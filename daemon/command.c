/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"

#include <errno.h>
#include <stdarg.h>
#include <strings.h>

#include "daemon/log.h"
#include "daemon/release.h"

#define READ     RT_CMD_READ
#define WRITE    RT_CMD_WRITE
#define VALUES   (RT_CMD_WRITE | RT_CMD_VALUES)
#define AT_ONCE  RT_CMD_AT_ONCE
#define NO_MULTI RT_CMD_NO_MULTI

static const struct rt_command commands[] = {
	{ "auth", -2, 0, 0, 0, 0, rt_cmd_auth },
	{ "client", -2, 0, 0, 0, 0, rt_cmd_client },
	{ "command", -1, 0, 0, 0, 0, rt_cmd_command },
	{ "config", -2, 0, 0, 0, 0, rt_cmd_config },
	{ "dbsize", 1, READ, 0, 0, 0, rt_cmd_dbsize },
	{ "del", -2, WRITE, 1, -1, 1, rt_cmd_del },
	{ "discard", 1, AT_ONCE, 0, 0, 0, rt_cmd_discard },
	{ "echo", 2, 0, 0, 0, 0, rt_cmd_echo },
	{ "exec", 1, AT_ONCE, 0, 0, 0, rt_cmd_exec },
	{ "exists", -2, READ, 1, -1, 1, rt_cmd_exists },
	{ "expire", -3, WRITE, 1, 1, 1, rt_cmd_expire },
	{ "expireat", -3, WRITE, 1, 1, 1, rt_cmd_expireat },
	{ "expiretime", 2, READ, 1, 1, 1, rt_cmd_expiretime },
	{ "flushall", -1, WRITE, 0, 0, 0, rt_cmd_flush },
	{ "flushdb", -1, WRITE, 0, 0, 0, rt_cmd_flush },
	{ "get", 2, READ, 1, 1, 1, rt_cmd_get },
	{ "getex", -2, WRITE, 1, 1, 1, rt_cmd_getex },
	{ "hello", -1, 0, 0, 0, 0, rt_cmd_hello },
	{ "info", -1, 0, 0, 0, 0, rt_cmd_info },
	{ "keys", 2, READ, 0, 0, 0, rt_cmd_keys },
	{ "mget", -2, READ, 1, -1, 1, rt_cmd_mget },
	{ "mset", -3, VALUES, 1, -1, 2, rt_cmd_mset },
	{ "msetnx", -3, VALUES, 1, -1, 2, rt_cmd_msetnx },
	{ "multi", 1, AT_ONCE, 0, 0, 0, rt_cmd_multi },
	{ "persist", 2, WRITE, 1, 1, 1, rt_cmd_persist },
	{ "pexpire", -3, WRITE, 1, 1, 1, rt_cmd_pexpire },
	{ "pexpireat", -3, WRITE, 1, 1, 1, rt_cmd_pexpireat },
	{ "pexpiretime", 2, READ, 1, 1, 1, rt_cmd_pexpiretime },
	{ "ping", -1, 0, 0, 0, 0, rt_cmd_ping },
	{ "psetex", 4, WRITE, 1, 1, 1, rt_cmd_psetex },
	{ "psubscribe", -2, NO_MULTI, 0, 0, 0, rt_cmd_subscribe },
	{ "pttl", 2, READ, 1, 1, 1, rt_cmd_pttl },
	{ "publish", 3, VALUES, 1, 1, 1, rt_cmd_publish },
	{ "quit", -1, AT_ONCE, 0, 0, 0, rt_cmd_quit },
	{ "reset", 1, AT_ONCE, 0, 0, 0, rt_cmd_reset },
	{ "ringtail.bind", -2, WRITE, 1, -1, 1, rt_cmd_ringtail_bind },
	{ "ringtail.chmod", 3, NO_MULTI, 0, 0, 0, rt_cmd_ringtail_chmod },
	{ "ringtail.chown", 3, NO_MULTI, 0, 0, 0, rt_cmd_ringtail_chown },
	{ "ringtail.del", 4, WRITE, 1, 1, 1, rt_cmd_ringtail_del },
	{ "ringtail.delprefix", 2, WRITE, 0, 0, 0, rt_cmd_ringtail_delprefix },
	{ "ringtail.feeds", 1, 0, 0, 0, 0, rt_cmd_ringtail_feeds },
	{ "ringtail.marker", 1, READ, 0, 0, 0, rt_cmd_ringtail_marker },
	{ "ringtail.reset", 2, NO_MULTI, 0, 0, 0, rt_cmd_ringtail_reset },
	{ "ringtail.restore", 3, NO_MULTI, 0, 0, 0, rt_cmd_ringtail_restore },
	{ "ringtail.seq", -2, READ, 1, -1, 1, rt_cmd_ringtail_seq },
	{ "ringtail.snapshot", -1, WRITE | NO_MULTI, 0, 0, 0,
	  rt_cmd_ringtail_snapshot },
	{ "ringtail.unbind", -2, WRITE, 1, -1, 1, rt_cmd_ringtail_unbind },
	{ "ringtail.trim", 2, WRITE | NO_MULTI, 0, 0, 0, rt_cmd_ringtail_trim },
	{ "scan", -2, READ, 0, 0, 0, rt_cmd_scan },
	{ "select", 2, NO_MULTI, 0, 0, 0, rt_cmd_select },
	{ "set", -3, VALUES, 1, 1, 1, rt_cmd_set },
	{ "setex", 4, WRITE, 1, 1, 1, rt_cmd_setex },
	{ "setnx", 3, VALUES, 1, 1, 1, rt_cmd_setnx },
	{ "strlen", 2, READ, 1, 1, 1, rt_cmd_strlen },
	{ "subscribe", -2, NO_MULTI, 0, 0, 0, rt_cmd_subscribe },
	{ "time", 1, 0, 0, 0, 0, rt_cmd_time },
	{ "ttl", 2, READ, 1, 1, 1, rt_cmd_ttl },
	{ "type", 2, READ, 1, 1, 1, rt_cmd_type },
	{ "unlink", -2, WRITE, 1, -1, 1, rt_cmd_del },
	{ "unwatch", 1, 0, 0, 0, 0, rt_cmd_unwatch },
	{ "watch", -2, READ | AT_ONCE, 1, -1, 1, rt_cmd_watch },
};

const struct rt_command *rt_commands(size_t *ret_n)
{
	*ret_n = RT_N(commands);
	return commands;
}

/*
 * ---- Finding -----------------------------------------------------------------
 */

#define NAME_MAX_LEN 24u
#define N_HASHED     256u /* some times the number of commands; a power of two */

/* A name as three words, capitals as small letters, filled up with blanks. */
struct folded {
	uint64_t a, b, c;
	size_t len;
};

static struct folded names[RT_N(commands)];
static uint8_t hashed[N_HASHED]; /* index + 1 into commands; 0: none */

/* Up to eight bytes as a word; reads nothing beyond them. */
RT_INLINE uint64_t load_few(const uint8_t *bytes, size_t len)
{
	uint64_t word = 0;

	if (len >= 8) {
		memcpy(&word, bytes, 8);
	} else if (len >= 4) {
		uint32_t low, high;

		memcpy(&low, bytes, 4);
		memcpy(&high, bytes + len - 4, 4);
		word = low | (uint64_t)high << (8 * (len - 4));
	} else {
		for (size_t i = 0; i < len; i++)
			word |= (uint64_t)bytes[i] << (8 * i);
	}
	return word;
}

/*
 * Setting bit 5 makes small letters of capitals.  What else it makes equal is no
 * part of any name, save for a control character that is taken for the dot.
 */
RT_INLINE struct folded fold(const uint8_t *name, size_t len)
{
	const uint64_t bits = UINT64_C(0x2020202020202020);
	uint64_t b = len > 8 ? load_few(name + 8, len - 8) : 0;
	uint64_t c = len > 16 ? load_few(name + 16, len - 16) : 0;

	return (struct folded){ load_few(name, len) | bits, b | bits, c | bits, len };
}

RT_INLINE unsigned hash_name(struct folded name)
{
	uint64_t mixed = name.a ^ (name.b << 23 | name.b >> 41) ^ name.c;

	return (unsigned)(mixed * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static void fill_hash(void)
{
	for (unsigned i = 0; i < RT_N(commands); i++) {
		const char *name = commands[i].name;
		unsigned at;

		names[i] = fold((const uint8_t *)name, strlen(name));
		at = hash_name(names[i]);
		while (hashed[at])
			at = (at + 1) & (N_HASHED - 1);
		hashed[at] = (uint8_t)(i + 1);
	}
}

const struct rt_command *rt_command_find(const uint8_t *name, size_t len)
{
	struct folded wanted;

	if (RT_UNLIKELY(!names[0].len))
		fill_hash();
	if (RT_UNLIKELY(!len || len > NAME_MAX_LEN))
		return NULL;
	wanted = fold(name, len);
	for (unsigned at = hash_name(wanted); hashed[at];
	     at = (at + 1) & (N_HASHED - 1)) {
		unsigned i = hashed[at] - 1u;

		if (names[i].a == wanted.a && names[i].b == wanted.b &&
		    names[i].c == wanted.c && names[i].len == wanted.len)
			return &commands[i];
	}
	return NULL;
}

/*
 * ---- Small things that commands share ----------------------------------------
 */

bool rt_arg_is(struct rt_arg arg, const char *word)
{
	return arg.len == strlen(word) &&
	       !strncasecmp((const char *)arg.ptr, word, arg.len);
}

bool rt_arg_int(struct rt_arg arg, int64_t *ret)
{
	return rt_parse_int(arg.ptr, arg.len, ret);
}

void rt_expect_some(const struct rt_session *session, const struct rt_request *request,
		    uint32_t i, uint32_t step)
{
	const struct rt_table *table = &session->feed->table;
	uint64_t hashes[RT_KEYS_AHEAD];
	size_t n = 0;

	for (; i < request->n && n < RT_KEYS_AHEAD; i += step) {
		struct rt_arg key = rt_arg(request, i);

		hashes[n++] = rt_table_hash(table, key.ptr, key.len);
	}
	rt_table_expect(table, hashes, n);
}

void rt_text(struct rt_buf *buf, const char *format, ...)
{
	char text[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len > 0)
		(void)rt_buf_add(buf, text, rt_min((uint64_t)len, sizeof(text) - 1));
}

void rt_unknown_subcommand(struct rt_session *session, const struct rt_request *request,
			   const char *command)
{
	struct rt_arg arg = rt_arg(request, 1);

	rt_session_error(session, "ERR unknown subcommand '%.*s'. Try %s HELP.",
			 (int)rt_min(arg.len, 128), (const char *)arg.ptr, command);
}

void rt_wrong_arity(struct rt_session *session, const char *name)
{
	rt_session_error(session, "ERR wrong number of arguments for '%s' command",
			 name);
}

static void unknown_command(struct rt_session *session,
			    const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 0);
	char args[160];
	size_t len = 0;

	args[0] = 0;
	for (uint32_t i = 1; i < request->n && len < 128; i++) {
		struct rt_arg arg = rt_arg(request, i);

		len += (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ",
					(int)rt_min(arg.len, 128 - len),
					(const char *)arg.ptr);
		if (len >= sizeof(args))
			break;
	}
	rt_session_error(session,
			 "ERR unknown command '%.*s', with args beginning with: %s",
			 (int)rt_min(name.len, 128), (const char *)name.ptr, args);
}

void rt_change_refused(struct rt_session *session, int error, size_t key_len,
		       size_t value_len)
{
	const struct rt_feed *feed = session->feed;
	const struct rt_writer *writer = feed->writer;
	const char *name = feed->config->name;

	session->refused = true;
	if (error == RT_FEED_E_LOG)
		rt_session_error(session, "ERR %s", feed->journal.fault.text);
	else if (error == RT_FEED_E_FULL)
		rt_session_error(
			session,
			"OOM feed '%s' holds %zu bytes of keys and values, and may "
			"hold %llu with what each key costs beside (max_state)",
			name, feed->table.n_bytes,
			(unsigned long long)feed->config->max_state);
	else if (error == -ENOMEM)
		rt_session_error(session, "OOM no memory for a key of feed '%s'", name);
	else if (!key_len)
		rt_session_error(session,
				 "ERR a key of feed '%s' has 1 to %u bytes, not 0",
				 name, writer->max_key);
	else if (key_len > writer->max_key)
		rt_session_error(
			session,
			"ERR key is %zu bytes long, the limit of feed '%s' is %u "
			"(max_key)",
			key_len, name, writer->max_key);
	else if (value_len > writer->max_value)
		rt_session_error(
			session,
			"ERR value is %zu bytes long, the limit of feed '%s' is %u "
			"(max_value)",
			value_len, name, writer->max_value);
	else
		rt_session_error(
			session,
			"ERR transaction is too large: feed '%s' takes %u events "
			"and %llu bytes of keys and values%s in one",
			name, writer->max_txn_events,
			(unsigned long long)writer->max_txn_bytes,
			feed->keeps_prev ? ", replaced ones too (prev_value)," : "");
}

/*
 * ---- Running, queueing, refusing ---------------------------------------------
 */

RT_COLD static void not_permitted(struct rt_session *session, bool publish)
{
	const char *feed = session->feed->config->name;
	char who[128];

	(void)rt_peer_text(&session->peer, who, sizeof(who));
	if (publish)
		rt_session_error(
			session,
			"NOPERM %s may not publish to feed '%s'; allow it with "
			"publish_users or publish_groups",
			who, feed);
	else
		rt_session_error(session,
				 "NOPERM %s may not read feed '%s'; its ring has mode "
				 "%04o, owner %u and group %u",
				 who, feed, session->feed->mode, session->feed->uid,
				 session->feed->gid);
}

void rt_not_served(struct rt_session *session, const struct rt_feed *feed)
{
	bool may_read = rt_session_may_read(session, feed);

	rt_session_error(session, "ERR feed '%s' is not served%s%s", feed->config->name,
			 may_read ? ": " : "", may_read ? feed->reason : "");
}

/* May the session do this to the feed, and can the feed do it? */
RT_INLINE bool is_allowed(struct rt_session *session, const struct rt_command *command)
{
	if (!(command->flags & (RT_CMD_WRITE | RT_CMD_READ)))
		return true;
	if (RT_UNLIKELY(!session->feed->writer)) {
		rt_not_served(session, session->feed);
		return false;
	}
	if (RT_LIKELY(command->flags & RT_CMD_WRITE ? session->may_publish
						    : session->may_read)) {
		rt_release_note(session);
		return true;
	}
	not_permitted(session, command->flags & RT_CMD_WRITE);
	return false;
}

/* Would the ring take each key and value, whatever else is in the transaction? */
static bool sizes_fit(struct rt_session *session, const struct rt_command *command,
		      const struct rt_request *request)
{
	const struct rt_writer *writer = session->feed->writer;
	bool values = command->flags & RT_CMD_VALUES;
	uint32_t last = command->last < 0 ? request->n - 1 : (uint32_t)command->last;

	if (!(command->flags & RT_CMD_WRITE) || !command->step)
		return true;
	for (uint32_t i = (uint32_t)command->first; i <= last;
	     i += (uint32_t)command->step) {
		size_t key_len = request->args[i].len, value_len = 0;

		if (values && i + 1 < request->n)
			value_len = request->args[i + 1].len;
		if (!key_len || key_len > writer->max_key ||
		    value_len > writer->max_value ||
		    rt_writer_fits(writer, 1, key_len + value_len) < 0) {
			rt_change_refused(session, RT_E_TOO_BIG, key_len, value_len);
			return false;
		}
	}
	return true;
}

/* A queued command: the number of its arguments, their lengths, their bytes. */
static void enqueue(struct rt_session *session, const struct rt_command *command,
		    const struct rt_request *request)
{
	struct rt_buf *queue = &session->queue;
	size_t before = queue->len;

	if (!sizes_fit(session, command, request))
		return;
	(void)rt_buf_add(queue, &request->n, sizeof(request->n));
	for (uint32_t i = 0; i < request->n; i++)
		(void)rt_buf_add(queue, &request->args[i].len, sizeof(uint32_t));
	for (uint32_t i = 0; i < request->n; i++)
		(void)rt_buf_add(queue, request->base + request->args[i].at,
				 request->args[i].len);
	if (queue->overflow) {
		queue->len = before;
		queue->overflow = false;
		rt_session_error(
			session,
			"ERR commands between MULTI and EXEC are limited to %zu "
			"bytes together (max_query)",
			queue->limit);
		return;
	}
	session->n_queued++;
	rt_reply_literal(&session->reply, "+QUEUED\r\n");
}

static bool arity_fits(const struct rt_command *command, uint32_t n)
{
	return command->arity < 0 ? n >= (uint32_t)-command->arity
				  : n == (uint32_t)command->arity;
}

/* An EXEC that cannot be one ends the transaction all the same. */
RT_COLD static void exec_misused(struct rt_session *session)
{
	rt_multi_reset(session);
	rt_reply_error(&session->reply,
		       "EXECABORT Transaction discarded because of: wrong "
		       "number of arguments for 'exec' command");
}

/* Does it, or one before it, have to do with a feed that is being renewed? */
RT_COLD static bool waits(const struct rt_session *session,
			  const struct rt_command *command)
{
	if (session->held)
		return true;
	if (!command)
		return false;
	if (command->run == rt_cmd_exec)
		for (uint32_t i = 0; i < session->n_watches; i++)
			if (session->watches[i].feed->is_awaited)
				return true;
	return session->feed->is_awaited &&
	       (command->flags & (RT_CMD_WRITE | RT_CMD_READ) ||
		command->run == rt_cmd_exec);
}

void rt_command_dispatch(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 0);
	const struct rt_command *command = rt_command_find(name.ptr, name.len);

	if (RT_UNLIKELY(session->server->n_renewals) && waits(session, command)) {
		rt_session_hold(session, request);
		return;
	}
	session->server->stats.commands++;
	session->active_ns = session->server->now_ns;
	session->refused = false;
	if (RT_UNLIKELY(!command)) {
		unknown_command(session, request);
		return;
	}
	session->last = command;
	if (RT_UNLIKELY(!arity_fits(command, request->n))) {
		if (command->run == rt_cmd_exec)
			exec_misused(session);
		else
			rt_wrong_arity(session, command->name);
		return;
	}
	if (RT_UNLIKELY(!is_allowed(session, command)))
		return;
	if (RT_LIKELY(!session->in_multi || command->flags & RT_CMD_AT_ONCE))
		command->run(session, request);
	else if (command->flags & RT_CMD_NO_MULTI)
		rt_session_error(session,
				 "ERR Command not allowed inside a transaction");
	else
		enqueue(session, command, request);
}

/*
 * ---- MULTI, EXEC, DISCARD, WATCH ---------------------------------------------
 */

void rt_unwatch(struct rt_session *session)
{
	for (uint32_t i = 0; i < session->n_watches; i++)
		free(session->watches[i].key);
	free(session->watches);
	session->watches = NULL;
	session->n_watches = 0;
}

void rt_multi_reset(struct rt_session *session)
{
	session->in_multi = false;
	session->multi_failed = false;
	session->n_queued = 0;
	rt_buf_clear(&session->queue);
	if (session->n_watches)
		rt_unwatch(session);
}

void rt_cmd_multi(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	if (session->in_multi) {
		rt_reply_error(&session->reply, "ERR MULTI calls can not be nested");
		return;
	}
	session->in_multi = true;
	session->multi_failed = false;
	rt_reply_ok(&session->reply);
}

void rt_cmd_discard(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	if (!session->in_multi) {
		rt_reply_error(&session->reply, "ERR DISCARD without MULTI");
		return;
	}
	rt_multi_reset(session);
	rt_reply_ok(&session->reply);
}

void rt_cmd_unwatch(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_unwatch(session);
	rt_reply_ok(&session->reply);
}

static uint64_t seq_of(const struct rt_feed *feed, const void *key, size_t len)
{
	const struct rt_entry *entry = rt_feed_get(feed, key, len);

	return entry ? entry->seq : 0;
}

static bool add_watch(struct rt_session *session, struct rt_arg key)
{
	struct rt_watch *watches = session->watches, *watch;
	uint32_t n = session->n_watches;

	/* Room doubles whenever the number is a power of two. */
	if (!(n & (n - 1)))
		watches = realloc(watches, (n ? n * 2 : 1) * sizeof(*watches));
	if (!watches)
		return false;
	session->watches = watches;
	watch = &watches[n];
	watch->key = malloc(key.len + 1);
	if (!watch->key)
		return false;
	memcpy(watch->key, key.ptr, key.len);
	watch->key_len = (uint32_t)key.len;
	watch->feed = session->feed;
	watch->seq = seq_of(session->feed, key.ptr, key.len);
	session->n_watches++;
	return true;
}

void rt_cmd_watch(struct rt_session *session, const struct rt_request *request)
{
	if (session->in_multi) {
		rt_reply_error(&session->reply,
			       "ERR WATCH inside MULTI is not allowed");
		return;
	}
	if (session->n_watches + request->n - 1 > RT_WATCH_MAX) {
		rt_reply_error(&session->reply,
			       "ERR a client may watch %u keys at most", RT_WATCH_MAX);
		return;
	}
	for (uint32_t i = 1; i < request->n; i++)
		if (rt_arg(request, i).len > session->feed->writer->max_key) {
			rt_change_refused(session, RT_E_TOO_BIG, rt_arg(request, i).len,
					  0);
			return;
		}
	for (uint32_t i = 1; i < request->n; i++)
		if (!add_watch(session, rt_arg(request, i))) {
			rt_reply_error(&session->reply, "OOM no memory to watch a key");
			return;
		}
	rt_reply_ok(&session->reply);
}

/* If not, the reply tells of a change that may not be history yet. */
static bool watches_hold(struct rt_session *session)
{
	for (uint32_t i = 0; i < session->n_watches; i++) {
		const struct rt_watch *watch = &session->watches[i];

		if (!watch->feed->writer ||
		    seq_of(watch->feed, watch->key, watch->key_len) != watch->seq) {
			rt_release_note_of(session, watch->feed);
			return false;
		}
	}
	return true;
}

/* Is the reply that begins at @start an error? */
static bool is_error(const struct rt_buf *out, size_t start)
{
	return out->len > start && out->data[start] == '-';
}

/* Runs one of the queue, which it takes from @at on; returns where the next begins. */
static size_t run_queued(struct rt_session *session, size_t at, struct rt_span **spans,
			 uint32_t *cap)
{
	const uint8_t *base = session->queue.data;
	struct rt_request request = { .base = base };
	const struct rt_command *command;
	size_t before = session->reply.buf.len, bytes;

	memcpy(&request.n, base + at, sizeof(request.n));
	bytes = at + sizeof(uint32_t) * (1 + (size_t)request.n);
	if (request.n > *cap) {
		struct rt_span *more = realloc(*spans, request.n * sizeof(*more));

		if (!more) {
			rt_change_refused(session, -ENOMEM, 0, 0);
			return at;
		}
		*spans = more;
		*cap = request.n;
	}
	for (uint32_t i = 0; i < request.n; i++) {
		uint32_t len;

		memcpy(&len, base + at + sizeof(uint32_t) * (1 + (size_t)i),
		       sizeof(len));
		(*spans)[i] = (struct rt_span){ (uint32_t)bytes, len };
		bytes += len;
	}
	request.args = *spans;
	command = rt_command_find(base + request.args[0].at, request.args[0].len);
	/* The feed may have failed, and rights may have gone, since it was queued. */
	if (!is_allowed(session, command)) {
		session->refused = true;
		return at;
	}
	command->run(session, &request);
	if (command->flags & RT_CMD_WRITE && is_error(&session->reply.buf, before))
		session->refused = true;
	return bytes;
}

/* All of the queue as one transaction: replies and changes stay, or neither does. */
static void exec(struct rt_session *session)
{
	struct rt_feed *feed = session->feed->writer ? session->feed : NULL;
	struct rt_buf *out = &session->reply.buf;
	AUTO_FREE struct rt_span *spans = NULL;
	size_t start = out->len, before = start, at = 0;
	uint32_t cap = 0;

	session->in_exec = true;
	if (feed)
		rt_feed_begin(feed);
	rt_reply_array(&session->reply, session->n_queued);
	for (uint32_t i = 0; i < session->n_queued && !session->refused; i++) {
		before = out->len;
		at = run_queued(session, at, &spans, &cap);
	}
	session->in_exec = false;
	if (feed && session->refused) {
		rt_feed_abort(feed);
	} else if (feed && rt_feed_commit(feed) < 0) {
		before = out->len;
		rt_change_refused(session, RT_FEED_E_LOG, 0, 0);
	}
	if (session->refused && !out->overflow) {
		/* Only the refusal is told, as the reply to EXEC. */
		memmove(out->data + start, out->data + before, out->len - before);
		out->len = start + (out->len - before);
	}
}

void rt_cmd_exec(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	if (!session->in_multi) {
		rt_reply_error(&session->reply, "ERR EXEC without MULTI");
		return;
	}
	session->in_multi = false;
	if (session->multi_failed)
		rt_reply_error(&session->reply,
			       "EXECABORT Transaction discarded because "
			       "of previous errors.");
	else if (!watches_hold(session))
		rt_reply_null_array(&session->reply);
	else
		exec(session);
	rt_multi_reset(session);
}
