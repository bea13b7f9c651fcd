/* SPDX-License-Identifier: MIT */
/*
 * command.h - the commands: which there are, and how one is run, queued or refused
 *
 * cmd_change.c has those that change keys, cmd_keys.c those that ask for them,
 * cmd_expiry.c those on when keys end, cmd_feed.c those on feeds, cmd_access.c those on
 * who may read one, cmd_client.c those on the connection, cmd_server.c those that tell
 * about the daemon.
 */
#ifndef RINGTAIL_DAEMON_COMMAND_H
#define RINGTAIL_DAEMON_COMMAND_H

#include "daemon/session.h"

struct rt_request {
	const uint8_t *base;
	const struct rt_span *args; /* the first is the command's name */
	uint32_t n;
};

struct rt_arg {
	const uint8_t *ptr;
	size_t len;
};

RT_INLINE struct rt_arg rt_arg(const struct rt_request *request, uint32_t i)
{
	return (struct rt_arg){ request->base + request->args[i].at,
				request->args[i].len };
}

/* struct rt_command.flags */
#define RT_CMD_WRITE    0x01u /* needs the right to publish */
#define RT_CMD_READ     0x02u /* needs the right to read */
#define RT_CMD_VALUES   0x04u /* each key is followed by its value */
#define RT_CMD_AT_ONCE  0x08u /* not queued between MULTI and EXEC */
#define RT_CMD_NO_MULTI 0x10u /* refused there */

struct rt_command {
	const char *name; /* in small letters, 24 at most */
	int arity;        /* arguments with the name; negative: at least so many */
	uint32_t flags;
	int first, last, step; /* which arguments are keys; last -1: to the end */
	void (*run)(struct rt_session *session, const struct rt_request *request);
};

/* NULL if there is none of this name. */
const struct rt_command *rt_command_find(const uint8_t *name, size_t len);
const struct rt_command *rt_commands(size_t *ret_n);

/* Runs a request, or queues it, or refuses it. */
void rt_command_dispatch(struct rt_session *session, const struct rt_request *request);

/* Forgets what was queued and watched. */
void rt_multi_reset(struct rt_session *session);
void rt_unwatch(struct rt_session *session);

/* Is it this word, in whatever case?  @word in small letters. */
bool rt_arg_is(struct rt_arg arg, const char *word);
bool rt_arg_int(struct rt_arg arg, int64_t *ret);

/* "unknown subcommand", as Redis says it. */
RT_COLD void rt_unknown_subcommand(struct rt_session *session,
				   const struct rt_request *request,
				   const char *command);
RT_COLD void rt_wrong_arity(struct rt_session *session, const char *name);

/* Formatted text at the end of a buffer. */
void rt_text(struct rt_buf *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The reply to a change that the feed refused with @error; fails the EXEC it is in. */
RT_COLD void rt_change_refused(struct rt_session *session, int error, size_t key_len,
			       size_t value_len);

/* The error for a feed that is not served: why, to who may read it. */
RT_COLD void rt_not_served(struct rt_session *session, const struct rt_feed *feed);

/* The error for a feed that there is not. */
RT_COLD void rt_no_feed(struct rt_session *session, struct rt_arg name);

/*
 * The feed that the first argument names, for what only root and the daemon's own user
 * may do, @what; NULL after an error reply, or if it has to wait.
 */
struct rt_feed *rt_managed_feed(struct rt_session *session,
				const struct rt_request *request, const char *what);

/* The value of a key; @entry NULL: there is none. */
void rt_reply_entry(struct rt_session *session, const struct rt_entry *entry);

#define RT_KEYS_AHEAD 16u

/* Of rt_expect_keys(). */
void rt_expect_some(const struct rt_session *session, const struct rt_request *request,
		    uint32_t i, uint32_t step);

/*
 * Before argument @i is looked up, by who does so with each @step-th from the first on:
 * asks for the memory of some keys at once.
 */
RT_INLINE void rt_expect_keys(const struct rt_session *session,
			      const struct rt_request *request, uint32_t i,
			      uint32_t step)
{
	if (RT_UNLIKELY((i - 1) % (RT_KEYS_AHEAD * step) == 0 && i + step < request->n))
		rt_expect_some(session, request, i, step);
}

/* Several changes are one transaction, unless they are part of one already. */
void rt_begin_several(struct rt_session *session);
/* Returns whether they came to be; if not, there is an error reply. */
bool rt_end_several(struct rt_session *session, bool fine);

/* A moment as clients give it: EX seconds, PX milliseconds, EXAT and PXAT. */
enum rt_until_kind {
	RT_UNTIL_NONE = 0,
	RT_UNTIL_EX,
	RT_UNTIL_PX,
	RT_UNTIL_EXAT,
	RT_UNTIL_PXAT,
};

struct rt_until {
	enum rt_until_kind kind;
	struct rt_arg arg;
};

/* Is it one of these words? */
bool rt_until_word(struct rt_arg word, enum rt_until_kind *ret);
/* As a deadline; false after an error reply that names @command. */
bool rt_until_ms(struct rt_session *session, const struct rt_until *until,
		 const char *command, uint64_t *ret);

/* As in Redis: * ? [a-c] [^a] and backslash. */
bool rt_glob_match(const uint8_t *pattern, size_t pattern_len, const uint8_t *text,
		   size_t len);

#define RT_CMD(name) void rt_cmd_##name(struct rt_session *, const struct rt_request *)
RT_CMD(auth);
RT_CMD(client);
RT_CMD(command);
RT_CMD(config);
RT_CMD(dbsize);
RT_CMD(del);
RT_CMD(discard);
RT_CMD(echo);
RT_CMD(exec);
RT_CMD(exists);
RT_CMD(expire);
RT_CMD(expireat);
RT_CMD(expiretime);
RT_CMD(flush);
RT_CMD(get);
RT_CMD(getex);
RT_CMD(hello);
RT_CMD(info);
RT_CMD(keys);
RT_CMD(mget);
RT_CMD(mset);
RT_CMD(msetnx);
RT_CMD(multi);
RT_CMD(persist);
RT_CMD(pexpire);
RT_CMD(pexpireat);
RT_CMD(pexpiretime);
RT_CMD(ping);
RT_CMD(psetex);
RT_CMD(pttl);
RT_CMD(publish);
RT_CMD(quit);
RT_CMD(reset);
RT_CMD(ringtail_bind);
RT_CMD(ringtail_chmod);
RT_CMD(ringtail_chown);
RT_CMD(ringtail_del);
RT_CMD(ringtail_delprefix);
RT_CMD(ringtail_feeds);
RT_CMD(ringtail_marker);
RT_CMD(ringtail_reset);
RT_CMD(ringtail_restore);
RT_CMD(ringtail_seq);
RT_CMD(ringtail_snapshot);
RT_CMD(ringtail_unbind);
RT_CMD(ringtail_trim);
RT_CMD(scan);
RT_CMD(select);
RT_CMD(set);
RT_CMD(setex);
RT_CMD(setnx);
RT_CMD(strlen);
RT_CMD(subscribe);
RT_CMD(time);
RT_CMD(ttl);
RT_CMD(type);
RT_CMD(unwatch);
RT_CMD(watch);

#endif
