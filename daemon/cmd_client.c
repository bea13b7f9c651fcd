/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"

/*
 * ---- Names that clients give themselves --------------------------------------
 */

static bool name_is_fine(struct rt_arg name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] < '!' || name.ptr[i] > '~')
			return false;
	return true;
}

/* Sets @to, of RT_CLIENT_NAME_MAX + 1 bytes; false after an error reply. */
static bool set_name(struct rt_session *session, const char *what, struct rt_arg name,
		     char *to)
{
	if (!name_is_fine(name)) {
		rt_session_error(session,
				 "ERR %s cannot contain spaces, newlines or special "
				 "characters.",
				 what);
		return false;
	}
	if (name.len > RT_CLIENT_NAME_MAX) {
		rt_session_error(session, "ERR %s have %u bytes at most", what,
				 RT_CLIENT_NAME_MAX);
		return false;
	}
	if (name.len)
		memcpy(to, name.ptr, name.len);
	to[name.len] = 0;
	return true;
}

/*
 * ---- The connection ----------------------------------------------------------
 */

void rt_cmd_ping(struct rt_session *session, const struct rt_request *request)
{
	if (request->n > 2) {
		rt_wrong_arity(session, "ping");
	} else if (request->n == 2) {
		struct rt_arg text = rt_arg(request, 1);

		rt_reply_bulk(&session->reply, text.ptr, text.len);
	} else {
		rt_reply_literal(&session->reply, "+PONG\r\n");
	}
}

void rt_cmd_echo(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg text = rt_arg(request, 1);

	rt_reply_bulk(&session->reply, text.ptr, text.len);
}

void rt_cmd_quit(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_reply_ok(&session->reply);
	session->closing = true;
}

void rt_cmd_reset(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_multi_reset(session);
	session->reply.version = 2;
	session->name[0] = 0;
	rt_session_select(session, &session->server->feeds[0]);
	rt_reply_literal(&session->reply, "+RESET\r\n");
}

/* The kernel has said who the client is; the only user there is has no password. */
static bool authenticate(struct rt_session *session, struct rt_arg user)
{
	if (rt_arg_is(user, "default"))
		return true;
	rt_session_error(session, "WRONGPASS invalid username-password pair or user is "
				  "disabled.");
	return false;
}

void rt_cmd_auth(struct rt_session *session, const struct rt_request *request)
{
	if (request->n > 3) {
		rt_session_error(session, "ERR syntax error");
	} else if (request->n == 2) {
		rt_session_error(
			session,
			"ERR AUTH <password> called without any password configured "
			"for the default user. Are you sure your configuration is "
			"correct?");
	} else if (authenticate(session, rt_arg(request, 1))) {
		rt_reply_ok(&session->reply);
	}
}

static void hello_reply(struct rt_session *session)
{
	struct rt_reply *reply = &session->reply;

	rt_reply_map(reply, 7);
	rt_reply_text(reply, "server");
	rt_reply_text(reply, "ringtail");
	rt_reply_text(reply, "version");
	rt_reply_text(reply, RT_VERSION);
	rt_reply_text(reply, "proto");
	rt_reply_int(reply, reply->version);
	rt_reply_text(reply, "id");
	rt_reply_int(reply, (int64_t)session->id);
	rt_reply_text(reply, "mode");
	rt_reply_text(reply, "standalone");
	rt_reply_text(reply, "role");
	rt_reply_text(reply, "master");
	rt_reply_text(reply, "modules");
	rt_reply_array(reply, 0);
}

/* HELLO [version [AUTH user password] [SETNAME name]] */
void rt_cmd_hello(struct rt_session *session, const struct rt_request *request)
{
	char name[RT_CLIENT_NAME_MAX + 1];
	bool named = false;
	int64_t version = session->reply.version;

	if (request->n > 1 && !rt_arg_int(rt_arg(request, 1), &version)) {
		rt_session_error(
			session,
			"ERR Protocol version is not an integer or out of range");
		return;
	}
	if (version < 2 || version > 3) {
		rt_session_error(session, "NOPROTO unsupported protocol version");
		return;
	}
	for (uint32_t i = 2; i < request->n; i++) {
		struct rt_arg word = rt_arg(request, i);

		if (rt_arg_is(word, "auth") && i + 2 < request->n) {
			if (!authenticate(session, rt_arg(request, i + 1)))
				return;
			i += 2;
		} else if (rt_arg_is(word, "setname") && i + 1 < request->n) {
			if (!set_name(session, "Client names", rt_arg(request, ++i),
				      name))
				return;
			named = true;
		} else {
			rt_session_error(
				session, "ERR Syntax error in HELLO option '%.*s'",
				(int)rt_min(word.len, 128), (const char *)word.ptr);
			return;
		}
	}
	if (named)
		memcpy(session->name, name, sizeof(name));
	session->reply.version = (uint8_t)version;
	hello_reply(session);
}

void rt_cmd_subscribe(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 0);

	rt_session_error(
		session,
		"ERR %.*s is not served here: follow feed '%s' in shared memory, "
		"with 'ringtail watch' or libringtail",
		(int)name.len, (const char *)name.ptr, session->feed->config->name);
}

/*
 * ---- CLIENT ------------------------------------------------------------------
 */

static uint64_t seconds_since(const struct rt_session *session, uint64_t then)
{
	uint64_t now = session->server->now_ns;

	return now > then ? (now - then) / 1000000000u : 0;
}

static void client_line(struct rt_buf *text, const struct rt_session *session)
{
	rt_text(text,
		"id=%llu addr=%s:0 fd=%d name=%s age=%llu idle=%llu flags=%s db=%td "
		"feed=%s "
		"uid=%u gid=%u pid=%d multi=%d qbuf=%zu omem=%zu cmd=%s resp=%u "
		"lib-name=%s lib-ver=%s\n",
		(unsigned long long)session->id, session->server->config->socket,
		session->conn.fd, session->name,
		(unsigned long long)seconds_since(session, session->since_ns),
		(unsigned long long)seconds_since(session, session->active_ns),
		session->in_multi ? "xU" : "U", session->feed - session->server->feeds,
		session->feed->config->name, session->peer.uid, session->peer.gid,
		session->peer.pid, session->in_multi ? (int)session->n_queued : -1,
		session->in.len, session->reply.buf.len + session->conn.out.len,
		session->last ? session->last->name : "NULL", session->reply.version,
		session->lib_name, session->lib_version);
}

static void client_info(struct rt_session *session, bool all)
{
	struct rt_buf text = { .limit = session->reply.buf.limit };

	if (all)
		for (const struct rt_session *s = session->server->sessions; s;
		     s = s->next)
			client_line(&text, s);
	else
		client_line(&text, session);
	rt_reply_verbatim(&session->reply, text.data, text.len);
	rt_buf_free(&text);
}

static void client_setinfo(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg what = rt_arg(request, 2), value = rt_arg(request, 3);
	char name[RT_CLIENT_NAME_MAX + 1];
	bool version = rt_arg_is(what, "lib-ver");

	if (!version && !rt_arg_is(what, "lib-name")) {
		rt_session_error(session, "ERR Unrecognized option '%.*s'",
				 (int)rt_min(what.len, 128), (const char *)what.ptr);
		return;
	}
	if (!set_name(session, version ? "lib-ver" : "lib-name", value, name))
		return;
	memcpy(version ? session->lib_version : session->lib_name, name, sizeof(name));
	rt_reply_ok(&session->reply);
}

static void client_setname(struct rt_session *session, const struct rt_request *request)
{
	char name[RT_CLIENT_NAME_MAX + 1];

	if (!set_name(session, "Client names", rt_arg(request, 2), name))
		return;
	memcpy(session->name, name, sizeof(name));
	rt_reply_ok(&session->reply);
}

static void client_getname(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	if (session->name[0])
		rt_reply_text(&session->reply, session->name);
	else
		rt_reply_null(&session->reply);
}

static void client_id(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_reply_int(&session->reply, (int64_t)session->id);
}

static void client_this(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	client_info(session, false);
}

static void client_list(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	client_info(session, true);
}

/* ON is how it is; OFF and SKIP would leave refused changes unnoticed. */
static void client_reply(struct rt_session *session, const struct rt_request *request)
{
	if (rt_arg_is(rt_arg(request, 2), "on"))
		rt_reply_ok(&session->reply);
	else
		rt_session_error(session, "ERR CLIENT REPLY can only be ON here");
}

static void client_switch(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg arg = rt_arg(request, 2);

	if (rt_arg_is(arg, "on") || rt_arg_is(arg, "off"))
		rt_reply_ok(&session->reply);
	else
		rt_session_error(session, "ERR syntax error");
}

static void client_redir(struct rt_session *session, const struct rt_request *request)
{
	(void)request;
	rt_reply_int(&session->reply, -1);
}

static void client_help(struct rt_session *session, const struct rt_request *request)
{
	static const char *const lines[] = {
		"CLIENT <subcommand> [<arg> ...]. Subcommands are:",
		"GETNAME, SETNAME <name>",
		"SETINFO LIB-NAME|LIB-VER <value>",
		"ID, INFO, LIST",
		"NO-EVICT ON|OFF, NO-TOUCH ON|OFF, REPLY ON: accepted, of no effect",
	};

	(void)request;
	rt_reply_array(&session->reply, RT_N(lines));
	for (size_t i = 0; i < RT_N(lines); i++)
		rt_reply_status(&session->reply, lines[i]);
}

void rt_cmd_client(struct rt_session *session, const struct rt_request *request)
{
	static const struct {
		const char *name;
		const char *full;
		int arity; /* negative: at least */
		void (*run)(struct rt_session *session,
			    const struct rt_request *request);
	} subs[] = {
		{ "getname", "client|getname", 2, client_getname },
		{ "getredir", "client|getredir", 2, client_redir },
		{ "help", "client|help", 2, client_help },
		{ "id", "client|id", 2, client_id },
		{ "info", "client|info", 2, client_this },
		{ "list", "client|list", -2, client_list },
		{ "no-evict", "client|no-evict", 3, client_switch },
		{ "no-touch", "client|no-touch", 3, client_switch },
		{ "reply", "client|reply", 3, client_reply },
		{ "setinfo", "client|setinfo", 4, client_setinfo },
		{ "setname", "client|setname", 3, client_setname },
	};

	for (size_t i = 0; i < RT_N(subs); i++) {
		uint32_t least = (uint32_t)abs(subs[i].arity);

		if (!rt_arg_is(rt_arg(request, 1), subs[i].name))
			continue;
		if (request->n < least || (subs[i].arity > 0 && request->n > least))
			rt_wrong_arity(session, subs[i].full);
		else
			subs[i].run(session, request);
		return;
	}
	rt_unknown_subcommand(session, request, "CLIENT");
}
