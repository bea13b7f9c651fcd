/* SPDX-License-Identifier: MIT */
/*
 * config.h - what the daemon is told at start: flags, and a file of the same names
 *
 *	max_clients = 200		--max-clients 200
 *	[feed prices]			--feed prices,size=64M,mode=0640
 *	size = 64M
 *
 * One table of settings serves the flags, the file, --check-config and --help's
 * manual, so none can know one that another does not.  Flags win over the file.
 */
#ifndef RINGTAIL_DAEMON_CONFIG_H
#define RINGTAIL_DAEMON_CONFIG_H

#include <sys/types.h>

#include "shm/base.h"
#include "shm/segment.h"
#include "store/log.h"

/* What a feed can have beside enum rt_log_mode: a ring only; and `os` if there is a
 * folder for data, else `memory`. */
#define RT_DURABILITY_NONE 0u
#define RT_DURABILITY_AUTO 4u

/* A number that follows from the durability; settled by rt_config_load(). */
#define RT_AUTO UINT64_MAX

#define RT_FEEDS_MAX 256u
#define RT_IDS_MAX   64u /* users, or groups, that may publish to a feed */

/* A setting of users or groups: as written, and as numbers. */
struct rt_ids {
	char *text; /* NULL: none */
	uint32_t ids[RT_IDS_MAX];
	unsigned n;
};

struct rt_feed_config {
	char name[RT_NAME_MAX + 8];
	uint64_t size;   /* bytes of slots and payload; half for each */
	bool size_given; /* not the default */
	uint64_t slots;  /* 0: from size */
	uint64_t payload;
	uint64_t max_key;
	uint64_t max_value; /* 0: as much as a transaction may have */
	uint64_t max_state; /* bytes of keys and values in the daemon's table */
	uint64_t mode;
	struct rt_ids owner; /* one, or none: as created */
	struct rt_ids group;
	struct rt_ids publish_users;
	struct rt_ids publish_groups;
	uint64_t wake;           /* enum rt_wake */
	uint64_t durability;     /* enum rt_log_mode, RT_DURABILITY_NONE or _AUTO */
	uint64_t segment_size;   /* of the log; bytes */
	uint64_t retain_bytes;   /* 0: no limit */
	uint64_t retain_age;     /* seconds; 0: no limit */
	uint64_t prev_value;     /* 1: events carry the value that they replace */
	uint64_t max_age;        /* of an event, seconds; 0: no limit */
	uint64_t snapshot_bytes; /* of log since the last one; then another is made */
	uint64_t snapshot_age;   /* seconds; likewise, if anything changed; 0: never */
	uint64_t start_check; /* bytes of old log that are read before it is served */
};

struct rt_config {
	char *dir;
	char *data; /* NULL: not given */
	char *socket;
	uint64_t socket_mode;
	struct rt_ids socket_group;
	uint64_t max_clients;
	uint64_t max_query; /* bytes of one request, or of those queued by MULTI */
	uint64_t max_pending_out; /* bytes that wait to be sent to one client */
	uint64_t log_level;       /* enum rt_log_level */
	struct rt_feed_config *feeds;
	unsigned n_feeds;
	int argc; /* how it was given, to read it again */
	char **argv;
	uint64_t clients_limit; /* what the limit of open files leaves; 0: not asked */
};

/* Outcomes of rt_config_load(); never forwarded. */
enum rt_config_outcome {
	RT_CONFIG_RUN = 0,
	RT_CONFIG_PRINT = 1,   /* --check-config */
	RT_CONFIG_HELP = 2,    /* --help */
	RT_CONFIG_VERSION = 3, /* --version */
};

/*
 * Reads flags and file; fills in defaults.  Negative: -EINVAL, or what reading the
 * file gave; @fault says file, line, setting, value and range.
 */
int rt_config_load(struct rt_config *config, int argc, char **argv,
		   struct rt_fault *fault);
void rt_config_fini(struct rt_config *config);

/* Everything in force, in the form of a configuration file. */
void rt_config_print(const struct rt_config *config, FILE *file);

/* As many clients as are wanted and can be. */
RT_INLINE uint64_t rt_config_clients(const struct rt_config *config)
{
	return config->clients_limit
		       ? rt_min(config->max_clients, config->clients_limit)
		       : config->max_clients;
}

/* Tells of each setting in which the daemon, or a feed that is in both, differs. */
void rt_config_compare(const struct rt_config *was, const struct rt_config *now,
		       void (*tell)(void *arg, const struct rt_feed_config *feed,
				    const char *key),
		       void *arg);

/* Of a user, or a group: by name or number.  False: there is none. */
bool rt_config_id(bool group, const char *name, uint32_t *ret);

/* An octal mode of at most @max. */
bool rt_config_mode(const char *text, uint64_t max, uint64_t *ret);

/* What the ring of a feed shall be. */
struct rt_ring_config rt_config_ring(const struct rt_feed_config *feed);

/*
 * Sets the setting @key of @config, or of @feed if that is given.
 * Negative: no such setting, or a value that it cannot have.
 */
int rt_config_set(struct rt_config *config, struct rt_feed_config *feed,
		  const char *key, const char *value, struct rt_fault *fault);

/* Is there such a setting of the daemon? */
bool rt_config_knows(const char *key);

/* The feed of this name, made if need be; NULL with a fault. */
struct rt_feed_config *rt_config_feed(struct rt_config *config, const char *name,
				      struct rt_fault *fault);

/* Every setting at its default. */
int rt_config_init(struct rt_config *config);

/* Reads a file of settings over what is set. */
int rt_config_file(struct rt_config *config, const char *path, struct rt_fault *fault);

#endif
