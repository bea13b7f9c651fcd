/* SPDX-License-Identifier: MIT */
/*
 * Who may read a feed: for the daemon's own user and root.
 */
#include <errno.h>

#include "daemon/command.h"

#define WORD_MAX 128u

/* An argument as a text; false if it cannot be one. */
static bool word_of(struct rt_arg arg, char ret[WORD_MAX])
{
	if (!arg.len || arg.len >= WORD_MAX || memchr(arg.ptr, 0, arg.len))
		return false;
	memcpy(ret, arg.ptr, arg.len);
	ret[arg.len] = 0;
	return true;
}

static void set_access(struct rt_session *session, struct rt_feed *feed,
		       struct rt_access access)
{
	struct rt_fault fault;

	if (rt_server_set_access(session->server, feed, access, &fault) < 0)
		rt_session_error(session, "ERR %s", fault.text);
	else
		rt_reply_ok(&session->reply);
}

void rt_cmd_ringtail_chmod(struct rt_session *session, const struct rt_request *request)
{
	struct rt_feed *feed =
		rt_managed_feed(session, request, "change who reads a feed");
	struct rt_access access = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char word[WORD_MAX];
	uint64_t mode;

	if (!feed)
		return;
	if (!word_of(rt_arg(request, 2), word) || !rt_config_mode(word, 0777, &mode)) {
		rt_session_error(session,
				 "ERR a mode is octal, from 0 to 0777, such as 0640");
		return;
	}
	access.mode = (mode_t)mode;
	set_access(session, feed, access);
}

/* USER, USER:GROUP or :GROUP, by name or number; false after an error reply. */
static bool parse_owner(struct rt_session *session, char *word, struct rt_access *ret)
{
	char *group = strchr(word, ':');

	if (group)
		*group++ = 0;
	if ((!*word && !group) || (group && !*group)) {
		rt_session_error(session, "ERR an owner is USER, USER:GROUP or :GROUP");
		return false;
	}
	if (*word && !rt_config_id(false, word, &ret->uid)) {
		rt_session_error(session, "ERR no user '%s' on this host", word);
		return false;
	}
	if (group && !rt_config_id(true, group, &ret->gid)) {
		rt_session_error(session, "ERR no group '%s' on this host", group);
		return false;
	}
	return true;
}

void rt_cmd_ringtail_chown(struct rt_session *session, const struct rt_request *request)
{
	struct rt_feed *feed =
		rt_managed_feed(session, request, "change who reads a feed");
	struct rt_access access = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char word[WORD_MAX];

	if (!feed)
		return;
	if (!word_of(rt_arg(request, 2), word))
		word[0] = 0;
	if (!parse_owner(session, word, &access))
		return;
	access.mode = feed->mode;
	set_access(session, feed, access);
}
