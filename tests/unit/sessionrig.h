/* SPDX-License-Identifier: MIT */
/*
 * sessionrig.h - a client of the daemon without a socket, for the unit tests
 *
 * SESSION_FEEDS, defined before this, are arguments of the daemon that name its feeds.
 */
#ifndef RINGTAIL_TESTS_UNIT_SESSIONRIG_H
#define RINGTAIL_TESTS_UNIT_SESSIONRIG_H

#include "tests/support/t.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "shm/marker.h"
#include "shm/ring.h"

#ifndef SESSION_FEEDS
#define SESSION_FEEDS strdup("--feed"), strdup("small,size=16K")
#endif

struct fixture {
	struct rt_config config;
	struct rt_server server;
	struct rt_session *session;
	char *dir;
	char text[8192];
};

static struct fixture f;

static const struct rt_peer root = { .uid = 0 };

static int setup(void **state)
{
	char dir[128];
	char *argv[] = {
		strdup("ringtaild"),   dir,          SESSION_FEEDS,
		strdup("--max-query"), strdup("8K"), strdup("--max-pending-out"),
		strdup("64K"),
	};
	struct rt_fault fault = { "" };

	*state = &f;
	rt_log_init(RT_LOG_ERROR);
	f = (struct fixture){ .dir = t_dir_new() };
	(void)snprintf(dir, sizeof(dir), "--dir=%s", f.dir);
	if (rt_config_load(&f.config, T_N(argv), argv, &fault) != RT_CONFIG_RUN)
		fail_msg("%s", fault.text);
	for (size_t i = 0; i < T_N(argv); i++)
		if (i != 1)
			free(argv[i]);
	t_ok(rt_server_open(&f.server, &f.config));
	f.session = rt_session_new(&f.server, &root);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt_server_close(&f.server);
	rt_config_fini(&f.config);
	t_dir_drop(f.dir);
	return 0;
}

__attribute__((unused)) static void send_bytes(struct rt_session *session,
					       const char *bytes, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	memcpy(copy, bytes, len);
	rt_session_input(session, copy, len);
	free(copy);
}

/* Sends lines, and says what came back. */
__attribute__((unused)) static const char *ask_as(struct rt_session *session,
						  const char *lines)
{
	struct rt_buf *out = &session->reply.buf;

	send_bytes(session, lines, strlen(lines));
	assert_true(out->len < sizeof(f.text));
	if (out->len)
		memcpy(f.text, out->data, out->len);
	f.text[out->len] = 0;
	out->len = 0;
	return f.text;
}

__attribute__((unused)) static const char *ask(const char *lines)
{
	return ask_as(f.session, lines);
}

__attribute__((unused)) static void begins(const char *text, const char *want)
{
	if (strncmp(text, want, strlen(want)))
		fail_msg("'%s' does not begin with '%s'", text, want);
}

__attribute__((unused)) static uint64_t head(unsigned feed)
{
	return rt_writer_head(f.server.feeds[feed].writer);
}

/* Event @seq of the first feed as "op flags key=value index/size". */
__attribute__((unused)) static const char *event_text(uint64_t seq)
{
	struct rt_event event;

	if (rt_ring_look(&f.server.feeds[0].writer->segment, seq, &event) !=
	    RT_LOOK_EVENT)
		return "none";
	(void)snprintf(f.text, sizeof(f.text), "%s%s %.*s=%.*s %u/%u",
		       event.op == RT_OP_PUT      ? "put"
		       : event.op == RT_OP_DELETE ? "delete"
						  : "message",
		       event.flags & RT_EVENT_CREATED ? "+" : "", (int)event.key_len,
		       (const char *)event.key, (int)event.value_len,
		       (const char *)event.value, event.txn_index, event.txn_size);
	return f.text;
}

#endif
