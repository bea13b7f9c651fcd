/* SPDX-License-Identifier: MIT */
/*
 * session.h - one connected client
 *
 *	              MULTI                       EXEC, DISCARD
 *	   direct  ------------->  queueing  --------------------->  direct
 *	                              |  a command that cannot be queued
 *	                              v
 *	                           failed  --- EXEC (refused), DISCARD --->  direct
 *
 *	   any  --- QUIT, not the protocol, over a limit --->  closing
 *
 *	   any  --- a feed that is being renewed --->  held  --- it is done --->  as
 * before
 *
 * One that is held runs nothing and keeps what comes; renew.h has why.
 *
 * Takes bytes, answers into a buffer; knows neither socket nor loop, so a test can be
 * a client without either.
 */
#ifndef RINGTAIL_DAEMON_SESSION_H
#define RINGTAIL_DAEMON_SESSION_H

#include "daemon/access.h"
#include "daemon/loop.h"
#include "daemon/reply.h"
#include "daemon/resp.h"
#include "daemon/server.h"

#define RT_CLIENT_NAME_MAX 64u
#define RT_WATCH_MAX       1024u /* keys that a client may watch */

struct rt_command;
struct rt_renewal;
struct rt_request;

struct rt_watch {
	struct rt_feed *feed;
	uint64_t seq; /* of the key's value when it was watched; 0: there was none */
	uint32_t key_len;
	uint8_t *key;
};

/* Replies leave when what their commands changed or saw is in history. */
struct rt_gate {
	struct rt_feed *feed; /* NULL: at once */
	bool many;            /* others as well */
	uint64_t round;       /* of the newest command */
};

struct rt_session {
	struct rt_conn conn; /* first: the loop's pointer is ours */
	struct rt_server *server;
	struct rt_session *next, **at; /* among all sessions */
	struct rt_session *next_dirty;
	struct rt_session *next_parked, **parked_at; /* NULL: not among them */
	struct rt_feed *feed;                        /* selected */
	bool may_read, may_publish;                  /* of that feed */
	bool dirty;
	bool closing; /* takes no more input; ends when all is sent */
	bool broken;  /* ends now, whatever is unsent */
	bool held;    /* its next command waits until a feed is renewed */
	bool ended;   /* while it was held: nothing more comes */
	bool in_multi, multi_failed;
	bool in_exec;
	bool refused; /* a change within EXEC was, so all of it is */
	uint8_t close_ticks;
	struct rt_reply reply;     /* of the newest rounds */
	struct rt_gate reply_gate; /* ... opens for them */
	struct rt_buf parked;      /* what goes before it */
	struct rt_gate parked_gate;
	struct rt_resp resp;
	struct rt_renewal *renewal; /* that it has asked for, and waits for */
	struct rt_buf in;           /* the start of a request whose rest has not come */
	struct rt_buf queue;        /* commands between MULTI and EXEC */
	uint32_t n_queued;
	struct rt_watch *watches;
	uint32_t n_watches;
	struct rt_holder *holders; /* of the keys bound to it; one for each feed */
	uint64_t id;
	uint64_t since_ns;
	uint64_t active_ns;
	const struct rt_command *last;
	struct rt_peer peer;
	char name[RT_CLIENT_NAME_MAX + 1];
	char lib_name[RT_CLIENT_NAME_MAX + 1];
	char lib_version[RT_CLIENT_NAME_MAX + 1];
};

/* NULL without memory. */
struct rt_session *rt_session_new(struct rt_server *server, const struct rt_peer *peer);
void rt_session_free(struct rt_session *session);

/* Takes what has come; replies are in reply.buf afterwards. */
void rt_session_input(struct rt_session *session, uint8_t *bytes, size_t len);

/*
 * It goes on with @request, and what came behind it, when a feed is renewed; NULL: with
 * what comes next.
 */
RT_COLD void rt_session_hold(struct rt_session *session,
			     const struct rt_request *request);
/* Runs what was kept; it may be held again by that. */
void rt_session_resume(struct rt_session *session);

/* May it be told what is in this feed, and how far it is? */
bool rt_session_may_read(const struct rt_session *session, const struct rt_feed *feed);

/* Selects a feed. */
void rt_session_select(struct rt_session *session, struct rt_feed *feed);
/* What sessions may do with @feed, or with any (NULL), has changed. */
void rt_sessions_judge(struct rt_server *server, const struct rt_feed *feed);

/* Of the selected feed; NULL: no key was ever bound. */
RT_INLINE struct rt_holder *rt_session_holder(const struct rt_session *session)
{
	struct rt_holder *holder = session->holders;

	while (RT_UNLIKELY(holder && holder->feed != session->feed))
		holder = holder->next;
	return holder;
}

/* Likewise, made if need be; NULL without memory. */
struct rt_holder *rt_session_holder_new(struct rt_session *session);

/* The holder of @entry (or NULL) if that is the session: its puts keep the binding. */
struct rt_holder *rt_session_keeps(const struct rt_session *session,
				   const struct rt_entry *entry);

/* Nothing is bound to it any more: what was is over. */
void rt_session_let_go(struct rt_session *session);

/* The feed has another state: what it held there is over, what it watched has changed.
 */
void rt_session_forget(struct rt_session *session, const struct rt_feed *feed);

/* An error as reply; within MULTI it fails the transaction. */
#define rt_session_error(session, ...) \
	do { \
		(session)->multi_failed |= (session)->in_multi; \
		rt_reply_error(&(session)->reply, __VA_ARGS__); \
	} while (0)

/* Begins to close, and logs why: "closed client 7 (user 'bob' ...): REASON". */
RT_COLD void rt_session_close(struct rt_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
