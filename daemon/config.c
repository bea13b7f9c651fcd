/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <errno.h>

#define DISK_SEGMENT   (UINT64_C(64) << 20)
#define MEMORY_SEGMENT (UINT64_C(4) << 20)
#define MEMORY_RETAIN  (UINT64_C(32) << 20)

/* "--max-clients" names the setting max_clients. */
static void key_of_flag(const char *flag, size_t len, char *key, size_t cap)
{
	size_t i;

	for (i = 0; i < len && i + 1 < cap; i++)
		key[i] = (char)(flag[i] == '-' ? '_' : flag[i]);
	key[i] = 0;
}

static bool is_flag(const char *flag, size_t len)
{
	char key[64];

	if ((len == 6 && !memcmp(flag, "config", len)) ||
	    (len == 4 && !memcmp(flag, "feed", len)))
		return true;
	key_of_flag(flag, len, key, sizeof(key));
	return rt_config_knows(key);
}

/* NAME[,key=value...] */
static int set_feed(struct rt_config *config, const char *text, struct rt_fault *fault)
{
	AUTO_FREE char *copy = strdup(text);
	struct rt_feed_config *feed;
	struct rt_fault inner = { "out of memory" };
	char *state = NULL, *name, *part;

	if (!copy)
		return -ENOMEM;
	name = strtok_r(copy, ",", &state);
	feed = rt_config_feed(config, name ? name : "", fault);
	if (!feed)
		return -EINVAL;
	while ((part = strtok_r(NULL, ",", &state))) {
		char *equals = strchr(part, '=');

		if (!equals) {
			rt_fault_set(fault, "--feed %s: '%s' is not key=value", name,
				     part);
			return -EINVAL;
		}
		*equals = 0;
		if (rt_config_set(config, feed, part, equals + 1, &inner) < 0) {
			rt_fault_set(fault, "--feed %.64s: %.400s", name, inner.text);
			return -EINVAL;
		}
	}
	return 0;
}

/* @text without "@key: " in front. */
static const char *without(const char *text, const char *key)
{
	size_t len = strlen(key);

	return !strncmp(text, key, len) && !strncmp(text + len, ": ", 2)
		       ? text + len + 2
		       : text;
}

/* One flag and its value.  Those that are no settings have been dealt with. */
static int set_flag(struct rt_config *config, const char *flag, size_t len,
		    const char *value, struct rt_fault *fault)
{
	struct rt_fault inner = { "out of memory" };
	char key[64];
	int r;

	if (len == 6 && !memcmp(flag, "config", len))
		return 0;
	if (len == 4 && !memcmp(flag, "feed", len))
		return set_feed(config, value, fault);
	key_of_flag(flag, len, key, sizeof(key));
	r = rt_config_set(config, NULL, key, value, &inner);
	if (r < 0) /* its text begins with the key, which the flag is already */
		rt_fault_set(fault, "--%.*s: %.400s", (int)rt_min(len, 64), flag,
			     without(inner.text, key));
	return r;
}

/*
 * Walks over the flags.  @config NULL: only looks for what must be known first, and
 * checks the form.  Returns an outcome of rt_config_load().
 */
static int walk_flags(struct rt_config *config, int argc, char **argv,
		      const char **ret_file, struct rt_fault *fault)
{
	int outcome = RT_CONFIG_RUN;

	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i] + 2, *value;
		size_t len;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return RT_CONFIG_HELP;
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V"))
			return RT_CONFIG_VERSION;
		if (!strcmp(argv[i], "--check-config")) {
			outcome = RT_CONFIG_PRINT;
			continue;
		}
		if (strncmp(argv[i], "--", 2) || !argv[i][2]) {
			rt_fault_set(fault, "unexpected argument '%s'; see --help",
				     argv[i]);
			return -EINVAL;
		}
		len = strcspn(flag, "=");
		if (!is_flag(flag, len)) {
			rt_fault_set(fault, "unknown flag '%.*s'; see --help",
				     (int)len + 2, argv[i]);
			return -EINVAL;
		}
		value = flag[len] ? flag + len + 1 : argv[++i];
		if (!value) {
			rt_fault_set(fault, "--%s needs a value", flag);
			return -EINVAL;
		}
		if (len == 6 && !memcmp(flag, "config", len))
			*ret_file = value;
		if (config) {
			int r = set_flag(config, flag, len, value, fault);

			if (r < 0)
				return r;
		}
	}
	return outcome;
}

/* A folder and file below it, in memory of the caller; NULL without memory. */
static char *join(const char *folder, const char *file)
{
	char *path;

	return asprintf(&path, "%s/%s", folder, file) < 0 ? NULL : path;
}

static int default_dir(struct rt_config *config, struct rt_fault *fault)
{
	const char *dir = getenv("RINGTAIL_DIR"), *run = getenv("XDG_RUNTIME_DIR");

	if (config->dir)
		return 0;
	if (dir && *dir) {
		config->dir = strdup(dir);
	} else if (!geteuid()) {
		config->dir = strdup("/dev/shm/ringtail");
	} else if (run && *run) {
		config->dir = join(run, "ringtail");
	} else {
		rt_fault_set(fault, "no directory for the feeds: give --dir, or set "
				    "RINGTAIL_DIR or XDG_RUNTIME_DIR");
		return -EINVAL;
	}
	return config->dir ? 0 : -ENOMEM;
}

static int default_socket(struct rt_config *config)
{
	const char *path = getenv("RINGTAIL_SOCKET");

	if (config->socket)
		return 0;
	config->socket =
		path && *path ? strdup(path) : join(config->dir, "ringtail.sock");
	return config->socket ? 0 : -ENOMEM;
}

struct rt_ring_config rt_config_ring(const struct rt_feed_config *feed)
{
	return (struct rt_ring_config){
		.name = feed->name,
		.n_slots = (uint32_t)(feed->slots ? feed->slots
						  : feed->size / 2 /
							    sizeof(struct rt_slot)),
		.payload_size = feed->payload ? feed->payload : feed->size / 2,
		.max_key = (uint32_t)feed->max_key,
		.max_value = (uint32_t)feed->max_value,
		.wake_mode = (uint32_t)feed->wake,
		.mode = (mode_t)feed->mode,
		.bell_mode = 0660,
		/* Named even by default: what was given away comes back. */
		.uid = feed->owner.n ? feed->owner.ids[0] : geteuid(),
		.gid = feed->group.n ? feed->group.ids[0] : getegid(),
	};
}

/*
 * In memory a log shares /dev/shm with rings and with what else is there, so it is kept
 * short; on a disk it is kept as long as nobody says otherwise.
 */
static void settle_sizes(struct rt_feed_config *feed)
{
	bool in_memory = feed->durability == RT_LOG_MEMORY;

	if (feed->segment_size == RT_AUTO)
		feed->segment_size = in_memory ? MEMORY_SEGMENT : DISK_SEGMENT;
	if (feed->retain_bytes == RT_AUTO)
		feed->retain_bytes = in_memory ? MEMORY_RETAIN : 0;
}

/* What `auto` means; os and disk need a folder. */
static int settle_durability(const struct rt_config *config,
			     struct rt_feed_config *feed, struct rt_fault *fault)
{
	if (feed->durability == RT_DURABILITY_AUTO)
		feed->durability = config->data ? RT_LOG_OS : RT_LOG_MEMORY;
	settle_sizes(feed);
	if (config->data || feed->durability == RT_DURABILITY_NONE ||
	    feed->durability == RT_LOG_MEMORY)
		return 0;
	rt_fault_set(
		fault,
		"feed '%s': durability os and disk keep a log on disk; say where with "
		"--data DIR",
		feed->name);
	return -EINVAL;
}

/* A size and its parts: one of them would mean nothing. */
static int check_size(const struct rt_feed_config *feed, struct rt_fault *fault)
{
	if (!feed->size_given || (!feed->slots && !feed->payload))
		return 0;
	rt_fault_set(
		fault,
		"feed '%s': size is slots and payload together: give either size, or "
		"slots and payload",
		feed->name);
	return -EINVAL;
}

static int check_feeds(struct rt_config *config, struct rt_fault *fault)
{
	for (unsigned i = 0; i < config->n_feeds; i++) {
		struct rt_ring_config ring = rt_config_ring(&config->feeds[i]);
		int r = check_size(&config->feeds[i], fault);

		if (!r)
			r = rt_config_check(&ring, fault);
		if (!r)
			r = settle_durability(config, &config->feeds[i], fault);
		if (r < 0)
			return r;
	}
	return 0;
}

static int complete(struct rt_config *config, struct rt_fault *fault)
{
	int r = default_dir(config, fault);

	if (r < 0)
		return r;
	r = default_socket(config);
	if (r < 0)
		return r;
	if (!config->n_feeds && !rt_config_feed(config, "main", fault))
		return -ENOMEM;
	return check_feeds(config, fault);
}

int rt_config_load(struct rt_config *config, int argc, char **argv,
		   struct rt_fault *fault)
{
	const char *file = NULL;
	int outcome, r;

	*config = (struct rt_config){ .n_feeds = 0 };
	rt_fault_set(fault, "out of memory");
	outcome = walk_flags(NULL, argc, argv, &file, fault);
	if (outcome < 0 || outcome == RT_CONFIG_HELP || outcome == RT_CONFIG_VERSION)
		return outcome;
	r = rt_config_init(config);
	if (r < 0)
		return r;
	config->argc = argc;
	config->argv = argv;
	if (file) {
		r = rt_config_file(config, file, fault);
		if (r < 0)
			return r;
	}
	r = walk_flags(config, argc, argv, &file, fault);
	if (r < 0)
		return r;
	r = complete(config, fault);
	return r < 0 ? r : outcome;
}
