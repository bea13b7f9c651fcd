/* SPDX-License-Identifier: MIT */
/*
 * A new history for a feed: for the daemon's own user and root.
 */
#include "daemon/command.h"
#include "daemon/renew.h"
#include "shm/marker.h"

static void reply_history(struct rt_session *session, const struct rt_feed *feed)
{
	char marker[RT_MARKER_LEN + 1];

	rt_marker_format(rt_feed_seq(feed), feed->writer->segment.geo.epoch, marker);
	rt_reply_map(&session->reply, 3);
	rt_reply_text(&session->reply, "seq");
	rt_reply_int(&session->reply, (int64_t)rt_feed_seq(feed));
	rt_reply_text(&session->reply, "keys");
	rt_reply_int(&session->reply, (int64_t)feed->table.n);
	rt_reply_text(&session->reply, "marker");
	rt_reply_text(&session->reply, marker);
}

static void tell(struct rt_session *session, const struct rt_feed *feed,
		 const struct rt_fault *fault)
{
	if (fault)
		rt_session_error(session, "ERR %s", fault->text);
	else
		reply_history(session, feed);
}

/* The reply comes when it is done. */
static void begin(struct rt_session *session, struct rt_feed *feed, const char *path)
{
	struct rt_fault fault = { "out of memory" };

	if (rt_renew_begin(session, feed, path, tell, &fault) < 0)
		tell(session, feed, &fault);
}

void rt_cmd_ringtail_reset(struct rt_session *session, const struct rt_request *request)
{
	struct rt_feed *feed = rt_managed_feed(session, request, "reset feeds");

	if (feed)
		begin(session, feed, NULL);
}

void rt_cmd_ringtail_restore(struct rt_session *session,
			     const struct rt_request *request)
{
	struct rt_feed *feed = rt_managed_feed(session, request, "restore feeds");
	struct rt_arg file = rt_arg(request, 2);
	char path[PATH_MAX];

	if (!feed)
		return;
	if (!file.len || file.len >= sizeof(path) || file.ptr[0] != '/' ||
	    memchr(file.ptr, 0, file.len)) {
		rt_session_error(session,
				 "ERR the file is given by its whole path, from / on");
		return;
	}
	memcpy(path, file.ptr, file.len);
	path[file.len] = '\0';
	begin(session, feed, path);
}
