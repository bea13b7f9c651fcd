/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "daemon/command.h"

/*
 * ---- Conditions --------------------------------------------------------------
 */

enum condition_kind {
	IF_ANY = 0, /* whatever is there */
	IF_NONE,    /* NX: no such key */
	IF_THERE,   /* XX */
	IF_SEQ,     /* last changed by that seq; 0: no such key */
};

struct condition {
	enum condition_kind kind;
	uint64_t seq;
};

static bool holds(const struct condition *condition, const struct rt_entry *entry)
{
	switch (condition->kind) {
	case IF_NONE:
		return !entry;
	case IF_THERE:
		return entry;
	case IF_SEQ:
		return (entry ? entry->seq : 0) == condition->seq;
	default:
		return true;
	}
}

/* False after an error reply. */
static bool parse_seq(struct rt_session *session, struct rt_arg arg, uint64_t *ret)
{
	int64_t seq;

	if (!rt_arg_int(arg, &seq) || seq < 0) {
		session->refused = true; /* the rest of an EXEC counts on it */
		rt_session_error(session, "ERR the seq behind IFSEQ is not a number "
					  "from 0 on");
		return false;
	}
	*ret = (uint64_t)seq;
	return true;
}

#define KEY_SHOWN 64 /* bytes of a key in an error */

/* "key 'k' is at seq 12, not 7" */
static void why_not(struct rt_arg key, const struct condition *condition,
		    const struct rt_entry *entry, char *ret, size_t size)
{
	int shown = (int)rt_min(key.len, KEY_SHOWN);
	const char *name = (const char *)key.ptr;
	const char *more = key.len > KEY_SHOWN ? "..." : "";

	if (!entry)
		(void)snprintf(ret, size, "there is no key '%.*s%s'", shown, name,
			       more);
	else if (condition->kind == IF_NONE)
		(void)snprintf(ret, size, "key '%.*s%s' is there", shown, name, more);
	else
		(void)snprintf(ret, size, "key '%.*s%s' is at seq %llu, not %llu",
			       shown, name, more, (unsigned long long)entry->seq,
			       (unsigned long long)condition->seq);
}

/*
 * A condition does not hold.  Within EXEC nothing of that happens; else true, if the
 * reply is for the caller to give.
 */
static bool not_held(struct rt_session *session, struct rt_arg key,
		     const struct condition *condition, const struct rt_entry *entry)
{
	char why[192];

	why_not(key, condition, entry, why, sizeof(why));
	if (session->in_exec) {
		session->refused = true;
		rt_session_error(session,
				 "EXECABORT Transaction discarded because of a "
				 "condition: %s",
				 why);
		return false;
	}
	if (condition->kind != IF_SEQ)
		return true;
	rt_session_error(session, "CONFLICT %s", why);
	return false;
}

/*
 * ---- SET ---------------------------------------------------------------------
 */

enum set_flags {
	SET_GET = 1,
	SET_KEEPTTL = 2,
	SET_BIND = 4,
};

struct set_options {
	unsigned flags;
	struct condition condition;
	struct rt_arg seq; /* of IF_SEQ, as written */
	struct rt_until until;
};

/* Is it the word of this condition, and not one beside another? */
static bool set_condition(struct set_options *options, struct rt_arg word,
			  const char *name, enum condition_kind kind)
{
	if (!rt_arg_is(word, name) ||
	    (options->condition.kind != IF_ANY && options->condition.kind != kind))
		return false;
	options->condition.kind = kind;
	return true;
}

/* One of the words behind SET key value; returns how many arguments it takes, or 0. */
static uint32_t set_option(const struct rt_request *request, uint32_t i,
			   struct set_options *options)
{
	struct rt_arg word = rt_arg(request, i);
	enum rt_until_kind kind;

	if (set_condition(options, word, "nx", IF_NONE) ||
	    set_condition(options, word, "xx", IF_THERE)) {
		return 1;
	} else if (i + 1 < request->n &&
		   set_condition(options, word, "ifseq", IF_SEQ)) {
		options->seq = rt_arg(request, i + 1);
		return 2;
	} else if (rt_arg_is(word, "get")) {
		options->flags |= SET_GET;
	} else if (rt_arg_is(word, "bind")) {
		options->flags |= SET_BIND;
	} else if (rt_arg_is(word, "keepttl") && !options->until.kind) {
		options->flags |= SET_KEEPTTL;
	} else if (rt_until_word(word, &kind) && i + 1 < request->n &&
		   !(options->flags & SET_KEEPTTL) &&
		   (!options->until.kind || options->until.kind == kind)) {
		options->until = (struct rt_until){ kind, rt_arg(request, i + 1) };
		return 2;
	} else {
		return 0;
	}
	return 1;
}

/* False after an error reply. */
static bool set_options(struct rt_session *session, const struct rt_request *request,
			struct set_options *ret)
{
	for (uint32_t i = 3; i < request->n;) {
		uint32_t n = set_option(request, i, ret);

		if (!n) {
			rt_session_error(session, "ERR syntax error");
			return false;
		}
		i += n;
	}
	return ret->condition.kind != IF_SEQ ||
	       parse_seq(session, ret->seq, &ret->condition.seq);
}

/* What a key will be put with; false after an error reply. */
static bool set_terms(struct rt_session *session, const struct set_options *options,
		      const struct rt_entry *entry, struct rt_terms *ret)
{
	if (entry && options->flags & SET_KEEPTTL)
		ret->deadline_ms = rt_feed_terms(session->feed, entry).deadline_ms;
	ret->holder = options->flags & SET_BIND ? rt_session_holder_new(session)
						: rt_session_keeps(session, entry);
	if (options->flags & SET_BIND && !ret->holder) {
		rt_change_refused(session, -ENOMEM, 0, 0);
		return false;
	}
	return true;
}

static void set_with_options(struct rt_session *session,
			     const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	size_t start = session->reply.buf.len;
	struct set_options options = { .flags = 0 };
	struct rt_terms terms = { 0, NULL };
	const struct rt_entry *entry;
	unsigned flags;
	bool wanted;
	int r = 0;

	if (!set_options(session, request, &options) ||
	    (options.until.kind &&
	     !rt_until_ms(session, &options.until, "set", &terms.deadline_ms)))
		return;
	flags = options.flags;
	if (flags & SET_GET && !session->may_read) {
		rt_session_error(session, "NOPERM SET with GET reads feed '%s'",
				 session->feed->config->name);
		return;
	}
	entry = rt_feed_get(session->feed, key.ptr, key.len);
	wanted = holds(&options.condition, entry);
	if (!wanted && !not_held(session, key, &options.condition, entry))
		return;
	if (wanted && !set_terms(session, &options, entry, &terms))
		return;
	if (flags & SET_GET)
		rt_reply_entry(session, entry); /* before it is replaced */
	if (wanted)
		r = rt_feed_put_on(session->feed, key.ptr, key.len, value.ptr,
				   value.len, &terms);
	if (r < 0) {
		session->reply.buf.len = start;
		rt_change_refused(session, r, key.len, value.len);
	} else if (!(flags & SET_GET)) {
		if (wanted)
			rt_reply_ok(&session->reply);
		else
			rt_reply_null(&session->reply);
	}
}

void rt_cmd_set(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r;

	if (RT_UNLIKELY(request->n > 3)) {
		set_with_options(session, request);
		return;
	}
	r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
			rt_session_holder(session));
	if (RT_LIKELY(!r))
		rt_reply_ok(&session->reply);
	else
		rt_change_refused(session, r, key.len, value.len);
}

/* As a condition: refused within EXEC if it is not. */
static bool is_new(struct rt_session *session, struct rt_arg key)
{
	static const struct condition none = { .kind = IF_NONE };
	const struct rt_entry *entry = rt_feed_get(session->feed, key.ptr, key.len);

	if (entry)
		(void)not_held(session, key, &none, entry); /* the reply is a number */
	return !entry;
}

void rt_cmd_setnx(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r;

	if (!is_new(session, key)) {
		if (!session->refused)
			rt_reply_int(&session->reply, 0);
		return;
	}
	r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
			rt_session_holder(session));
	if (r < 0)
		rt_change_refused(session, r, key.len, value.len);
	else
		rt_reply_int(&session->reply, 1);
}

void rt_begin_several(struct rt_session *session)
{
	if (!session->in_exec)
		rt_feed_begin(session->feed);
}

bool rt_end_several(struct rt_session *session, bool fine)
{
	if (session->in_exec)
		return fine; /* a refusal takes all of the EXEC back */
	if (!fine)
		rt_feed_abort(session->feed);
	else if (rt_feed_commit(session->feed) < 0) {
		rt_change_refused(session, RT_FEED_E_LOG, 0, 0);
		return false;
	}
	return fine;
}

/* All of them as one transaction; false after an error reply. */
static bool put_pairs(struct rt_session *session, const struct rt_request *request)
{
	int r = 0;

	rt_begin_several(session);
	for (uint32_t i = 1; i < request->n && !r; i += 2) {
		struct rt_arg key = rt_arg(request, i), value = rt_arg(request, i + 1);

		rt_expect_keys(session, request, i, 2);
		r = rt_feed_put(session->feed, key.ptr, key.len, value.ptr, value.len,
				rt_session_holder(session));
		if (r < 0)
			rt_change_refused(session, r, key.len, value.len);
	}
	return rt_end_several(session, !r);
}

void rt_cmd_mset(struct rt_session *session, const struct rt_request *request)
{
	if (!(request->n & 1))
		rt_wrong_arity(session, "mset");
	else if (put_pairs(session, request))
		rt_reply_ok(&session->reply);
}

void rt_cmd_msetnx(struct rt_session *session, const struct rt_request *request)
{
	if (!(request->n & 1)) {
		rt_wrong_arity(session, "msetnx");
		return;
	}
	for (uint32_t i = 1; i < request->n; i += 2) {
		rt_expect_keys(session, request, i, 2);
		if (is_new(session, rt_arg(request, i)))
			continue;
		if (!session->refused)
			rt_reply_int(&session->reply, 0);
		return;
	}
	if (put_pairs(session, request))
		rt_reply_int(&session->reply, 1);
}

void rt_cmd_del(struct rt_session *session, const struct rt_request *request)
{
	bool several = request->n > 2;
	int64_t n = 0;
	int r = 0;

	if (several)
		rt_begin_several(session);
	for (uint32_t i = 1; i < request->n && r >= 0; i++) {
		struct rt_arg key = rt_arg(request, i);

		rt_expect_keys(session, request, i, 1);
		r = rt_feed_delete(session->feed, key.ptr, key.len);
		if (r < 0)
			rt_change_refused(session, r, key.len, 0);
		else
			n += r;
	}
	if (several && !rt_end_several(session, r >= 0))
		return; /* which has been told */
	if (r >= 0)
		rt_reply_int(&session->reply, n);
}

/* One key, if it is as it is said to be. */
void rt_cmd_ringtail_del(struct rt_session *session, const struct rt_request *request)
{
	struct condition condition = { .kind = IF_SEQ };
	struct rt_arg key = rt_arg(request, 1);
	const struct rt_entry *entry;
	int r;

	if (!rt_arg_is(rt_arg(request, 2), "ifseq")) {
		rt_session_error(session, "ERR syntax error");
		return;
	}
	if (!parse_seq(session, rt_arg(request, 3), &condition.seq))
		return;
	entry = rt_feed_get(session->feed, key.ptr, key.len);
	if (!holds(&condition, entry)) {
		(void)not_held(session, key, &condition, entry); /* an error, always */
		return;
	}
	r = rt_feed_delete(session->feed, key.ptr, key.len);
	if (r < 0)
		rt_change_refused(session, r, key.len, 0);
	else
		rt_reply_int(&session->reply, r);
}

/*
 * ---- DELPREFIX ---------------------------------------------------------------
 */

/* Keys that are to be deleted; of more than a transaction takes only their number. */
struct doomed {
	const struct rt_feed *feed;
	struct rt_arg prefix;
	const struct rt_entry **entries;
	size_t n, cap;
	uint64_t n_bytes; /* as they count in a transaction */
	bool no_memory;
};

static bool doomed_room(struct doomed *d)
{
	size_t cap = d->cap ? d->cap * 2 : 64;
	void *grown;

	if (d->n < d->cap || d->no_memory)
		return !d->no_memory;
	grown = realloc(d->entries, cap * sizeof(struct rt_entry *));
	d->no_memory = !grown;
	if (!grown)
		return false;
	d->entries = grown;
	d->cap = cap;
	return true;
}

static void doom(void *ctx, const struct rt_entry *entry)
{
	struct doomed *d = ctx;

	if (entry->key_len < d->prefix.len ||
	    (d->prefix.len &&
	     memcmp(rt_entry_key(entry), d->prefix.ptr, d->prefix.len) != 0) ||
	    rt_feed_is_over(d->feed, entry))
		return;
	if (d->n < d->feed->writer->max_txn_events) {
		if (!doomed_room(d))
			return;
		d->entries[d->n] = entry;
	}
	d->n++;
	d->n_bytes += entry->key_len + (d->feed->keeps_prev ? entry->value_len : 0);
}

static int by_key(const void *a, const void *b)
{
	const struct rt_entry *one = *(const struct rt_entry *const *)a;
	const struct rt_entry *other = *(const struct rt_entry *const *)b;
	int order = memcmp(rt_entry_key(one), rt_entry_key(other),
			   rt_min(one->key_len, other->key_len));

	return order ? order
		     : (one->key_len > other->key_len) -
			       (one->key_len < other->key_len);
}

RT_COLD static void too_many(struct rt_session *session, const struct doomed *d)
{
	const struct rt_writer *writer = d->feed->writer;

	session->refused = true;
	rt_session_error(
		session,
		"ERR %zu keys begin with '%.*s', %llu bytes to delete: feed '%s' takes "
		"%u events and %llu bytes in one transaction; nothing was deleted",
		d->n, (int)rt_min(d->prefix.len, KEY_SHOWN),
		(const char *)d->prefix.ptr, (unsigned long long)d->n_bytes,
		d->feed->config->name, writer->max_txn_events,
		(unsigned long long)writer->max_txn_bytes);
}

/* In a transaction, so the entries that were found stay until its end. */
static void delete_all(struct rt_session *session, const struct doomed *d)
{
	int r = 0;

	rt_begin_several(session);
	for (size_t i = 0; i < d->n && r >= 0; i++) {
		const struct rt_entry *entry = d->entries[i];

		r = rt_feed_delete(session->feed, rt_entry_key(entry), entry->key_len);
		if (r < 0)
			rt_change_refused(session, r, entry->key_len, 0);
	}
	if (rt_end_several(session, r >= 0))
		rt_reply_int(&session->reply, (int64_t)d->n);
}

/* All keys of a prefix, in their order, or none. */
void rt_cmd_ringtail_delprefix(struct rt_session *session,
			       const struct rt_request *request)
{
	struct rt_feed *feed = session->feed;
	struct doomed d = { .feed = feed, .prefix = rt_arg(request, 1) };
	uint64_t cursor = 0;

	do {
		cursor = rt_table_walk(&feed->table, cursor, doom, &d);
	} while (cursor);
	if (d.no_memory) {
		rt_change_refused(session, -ENOMEM, 0, 0);
	} else if (rt_writer_fits(feed->writer, d.n, d.n_bytes) < 0) {
		too_many(session, &d);
	} else {
		if (d.n)
			qsort(d.entries, d.n, sizeof(struct rt_entry *), by_key);
		delete_all(session, &d);
	}
	free(d.entries);
}

/*
 * ---- Others ------------------------------------------------------------------
 */

/* Nobody is connected who could receive it: those who follow the feed are not known. */
void rt_cmd_publish(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg key = rt_arg(request, 1), value = rt_arg(request, 2);
	int r = rt_feed_message(session->feed, key.ptr, key.len, value.ptr, value.len);

	if (r < 0)
		rt_change_refused(session, r, key.len, value.len);
	else
		rt_reply_int(&session->reply, 0);
}

void rt_cmd_flush(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 0);

	rt_session_error(
		session,
		"ERR %.*s is not supported: a feed is a history; delete keys with DEL "
		"or, all of them, RINGTAIL.DELPREFIX \"\", which those who follow it "
		"will see",
		(int)name.len, (const char *)name.ptr);
}
