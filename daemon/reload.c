/* SPDX-License-Identifier: MIT */
/*
 * Who may do what, changed while the daemon runs: by a command, or since the settings
 * are read again.
 */
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/server.h"
#include "daemon/session.h"

/* Does the ring have it?  All that it does not say is as it is. */
static bool has_access(const struct rt_feed *feed, struct rt_access access)
{
	return access.mode == feed->mode &&
	       (access.uid == (uid_t)-1 || access.uid == feed->uid) &&
	       (access.gid == (gid_t)-1 || access.gid == feed->gid);
}

int rt_server_set_access(struct rt_server *server, struct rt_feed *feed,
			 struct rt_access access, struct rt_fault *fault)
{
	struct rt_feed_config *config = &server->config->feeds[feed - server->feeds];
	int r = rt_feed_set_access(feed, access, fault);

	/* The ring may have moved, and its log not: that is tried again. */
	if (feed->writer && has_access(feed, access)) {
		/* So that a feed that is opened again is as it is now. */
		config->mode = feed->mode;
		config->owner.n = config->group.n = 1;
		config->owner.ids[0] = feed->uid;
		config->group.ids[0] = feed->gid;
	}
	rt_sessions_judge(server, feed);
	return r;
}

static bool is_access(const char *key)
{
	static const char *const keys[] = { "mode", "owner", "group", "publish_users",
					    "publish_groups" };

	for (size_t i = 0; i < RT_N(keys); i++)
		if (!strcmp(keys[i], key))
			return true;
	return false;
}

static void tell_of(void *arg, const struct rt_feed_config *feed, const char *key)
{
	(void)arg;
	if (!feed)
		rt_log(RT_LOG_WARNING, "SIGHUP: %s has changed: needs a restart", key);
	else if (!is_access(key))
		rt_log(RT_LOG_WARNING,
		       "SIGHUP: feed '%s': %s has changed: needs a restart", feed->name,
		       key);
}

static struct rt_feed_config *find(struct rt_config *config, const char *name)
{
	for (unsigned i = 0; i < config->n_feeds; i++)
		if (!strcmp(config->feeds[i].name, name))
			return &config->feeds[i];
	return NULL;
}

/* Feeds that are in one of the two only. */
static void tell_of_feeds(struct rt_config *was, struct rt_config *now)
{
	for (unsigned i = 0; i < was->n_feeds; i++)
		if (!find(now, was->feeds[i].name))
			rt_log(RT_LOG_WARNING,
			       "SIGHUP: feed '%s' is not wanted any more: needs a "
			       "restart",
			       was->feeds[i].name);
	for (unsigned i = 0; i < now->n_feeds; i++)
		if (!find(was, now->feeds[i].name))
			rt_log(RT_LOG_WARNING,
			       "SIGHUP: feed '%s' is new: needs a restart",
			       now->feeds[i].name);
}

static void swap_ids(struct rt_ids *a, struct rt_ids *b)
{
	struct rt_ids kept = *a;

	*a = *b;
	*b = kept;
}

/* @now gets what @was had, and is thrown away. */
static void apply(struct rt_server *server, struct rt_feed *feed,
		  struct rt_feed_config *was, struct rt_feed_config *now)
{
	const struct rt_ring_config ring = rt_config_ring(now);
	const struct rt_access access = { ring.mode, ring.uid, ring.gid };
	struct rt_fault fault;

	swap_ids(&was->publish_users, &now->publish_users);
	swap_ids(&was->publish_groups, &now->publish_groups);
	if (!feed->writer) { /* what it will be opened with */
		was->mode = now->mode;
		swap_ids(&was->owner, &now->owner);
		swap_ids(&was->group, &now->group);
		return;
	}
	if (has_access(feed, access) && !feed->log_access_due)
		return;
	if (rt_server_set_access(server, feed, access, &fault) < 0)
		rt_log(RT_LOG_ERROR, "SIGHUP: %s", fault.text);
}

void rt_server_reload(struct rt_server *server)
{
	struct rt_config *was = server->config, now;
	struct rt_fault fault;
	int outcome = rt_config_load(&now, was->argc, was->argv, &fault);

	if (outcome < 0) {
		rt_log(RT_LOG_ERROR, "SIGHUP: %s; nothing was changed", fault.text);
		rt_config_fini(&now);
		return;
	}
	rt_config_compare(was, &now, tell_of, NULL);
	tell_of_feeds(was, &now);
	for (unsigned i = 0; i < was->n_feeds; i++) {
		struct rt_feed_config *wanted = find(&now, was->feeds[i].name);

		if (wanted)
			apply(server, &server->feeds[i], &was->feeds[i], wanted);
	}
	rt_sessions_judge(server, NULL);
	rt_config_fini(&now);
	rt_log(RT_LOG_INFO, "SIGHUP: settings were read again");
}
