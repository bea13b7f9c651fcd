/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"
#include "shm/marker.h"

void rt_no_feed(struct rt_session *session, struct rt_arg name)
{
	rt_session_error(session, "ERR no feed '%.*s'; RINGTAIL.FEEDS lists them",
			 (int)rt_min(name.len, 80), (const char *)name.ptr);
}

struct rt_feed *rt_managed_feed(struct rt_session *session,
				const struct rt_request *request, const char *what)
{
	struct rt_arg name = rt_arg(request, 1);
	struct rt_feed *feed = rt_server_feed(session->server, name.ptr, name.len);
	char who[128];

	if (!rt_may_manage(&session->peer)) {
		rt_session_error(
			session,
			"NOPERM %s may not %s; root and the daemon's own user may",
			rt_peer_text(&session->peer, who, sizeof(who)), what);
		return NULL;
	}
	/* By its name alone: an index that was meant as something else does harm here.
	 */
	if (feed && (strlen(feed->config->name) != name.len ||
		     memcmp(feed->config->name, name.ptr, name.len) != 0))
		feed = NULL;
	if (!feed)
		rt_no_feed(session, name);
	if (feed && feed->renewal) { /* one after the other */
		rt_session_hold(session, request);
		return NULL;
	}
	return feed;
}

void rt_cmd_select(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg name = rt_arg(request, 1);
	struct rt_feed *feed = rt_server_feed(session->server, name.ptr, name.len);
	int64_t number;

	if (!feed && rt_arg_int(name, &number))
		rt_session_error(session, "ERR DB index is out of range");
	else if (!feed)
		rt_no_feed(session, name);
	else if (!feed->writer && !feed->is_awaited)
		rt_not_served(session, feed);
	else {
		rt_session_select(session, feed);
		rt_reply_ok(&session->reply);
	}
}

/* Everything so far: what a reader that starts after it does not see again. */
void rt_cmd_ringtail_marker(struct rt_session *session,
			    const struct rt_request *request)
{
	const struct rt_feed *feed = session->feed;
	const struct rt_writer *writer = feed->writer;
	char marker[RT_MARKER_LEN + 1];

	(void)request;
	rt_marker_format(rt_feed_seq(feed), writer->segment.geo.epoch, marker);
	rt_reply_text(&session->reply, marker);
}

/*
 * Older than an event?  Then it may go, as soon as a snapshot covers it.  Where history
 * begins now, and where it will then.
 */
void rt_cmd_ringtail_trim(struct rt_session *session, const struct rt_request *request)
{
	struct rt_feed *feed = session->feed;
	uint64_t newest = rt_feed_seq(feed), target;
	int64_t seq;

	if (!rt_arg_int(rt_arg(request, 1), &seq) || seq < 0) {
		rt_session_error(session,
				 "ERR value is not an integer or out of range");
		return;
	}
	if ((uint64_t)seq > newest) {
		rt_session_error(
			session,
			"ERR seq %lld is not there yet: the newest event of feed "
			"'%s' is %llu; nothing was dropped",
			(long long)seq, feed->config->name, (unsigned long long)newest);
		return;
	}
	if (rt_retention_trim(feed, (uint64_t)seq, &target) < 0) {
		rt_session_error(session, "ERR %s", feed->journal.fault.text);
		return;
	}
	rt_reply_array(&session->reply, 2);
	rt_reply_int(&session->reply, (int64_t)rt_retention_oldest(feed));
	rt_reply_int(&session->reply, (int64_t)target);
}

static void text_pair(struct rt_reply *reply, const char *name, const char *value)
{
	rt_reply_text(reply, name);
	rt_reply_text(reply, value);
}

static void int_pair(struct rt_reply *reply, const char *name, uint64_t value)
{
	rt_reply_text(reply, name);
	rt_reply_int(reply, (int64_t)value);
}

/* STATUS only looks. */
void rt_cmd_ringtail_snapshot(struct rt_session *session,
			      const struct rt_request *request)
{
	struct rt_feed *feed = session->feed;
	const struct rt_retention *keep = &feed->retention;
	bool look = request->n == 2;

	if (request->n > 2 || (look && !rt_arg_is(rt_arg(request, 1), "status"))) {
		rt_session_error(session,
				 "ERR syntax error: RINGTAIL.SNAPSHOT [STATUS]");
		return;
	}
	if (!feed->journal.has_log || !keep->snapshotter) {
		rt_session_error(session,
				 "ERR feed '%s' keeps no log, and so no snapshots "
				 "(durability)",
				 feed->config->name);
		return;
	}
	if (look)
		rt_retention_look(feed);
	else
		(void)rt_retention_ask(feed); /* its number is in the reply */
	rt_reply_map(&session->reply, 11);
	text_pair(&session->reply, "state",
		  keep->asked > keep->answered || keep->copying.stage || keep->job.stage
			  ? "running"
			  : "idle");
	int_pair(&session->reply, "asked", keep->asked);
	int_pair(&session->reply, "answered", keep->answered);
	int_pair(&session->reply, "kept", keep->n_kept);
	int_pair(&session->reply, "seq", keep->newest);
	int_pair(&session->reply, "keys", keep->n_kept ? keep->n_entries : 0);
	int_pair(&session->reply, "bytes", keep->n_kept ? keep->file_size : 0);
	int_pair(&session->reply, "duration_us", keep->duration_ns / 1000);
	int_pair(&session->reply, "peak_bytes", keep->peak_bytes);
	int_pair(&session->reply, "failures", keep->n_failed);
	text_pair(&session->reply, "error", keep->error);
}

/* To who may not read it only that it is there. */
static void describe(struct rt_reply *reply, const struct rt_feed *feed, uint64_t index,
		     bool may_read)
{
	const struct rt_writer *writer = feed->writer;
	char marker[RT_MARKER_LEN + 1], epoch[17];

	rt_reply_map(reply, !may_read ? 3 : writer ? 8 : 4);
	text_pair(reply, "name", feed->config->name);
	int_pair(reply, "index", index);
	text_pair(reply, "state", writer ? "live" : "not served");
	if (!may_read)
		return;
	if (!writer) {
		text_pair(reply, "reason", feed->reason);
		return;
	}
	/* What everybody can see; a newer seq could still be lost. */
	rt_marker_format(rt_writer_head(writer), writer->segment.geo.epoch, marker);
	(void)snprintf(epoch, sizeof(epoch), "%016llx",
		       (unsigned long long)writer->segment.geo.epoch);
	int_pair(reply, "seq", rt_writer_head(writer));
	int_pair(reply, "floor", rt_load64(&writer->hot->floor));
	text_pair(reply, "epoch", epoch);
	text_pair(reply, "marker", marker);
	int_pair(reply, "keys", feed->table.n);
}

void rt_cmd_ringtail_feeds(struct rt_session *session, const struct rt_request *request)
{
	const struct rt_server *server = session->server;

	(void)request;
	rt_reply_array(&session->reply, server->config->n_feeds);
	for (unsigned i = 0; i < server->config->n_feeds; i++)
		describe(&session->reply, &server->feeds[i], i,
			 rt_session_may_read(session, &server->feeds[i]));
}
