/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "daemon/config.h"
#include "daemon/log.h"

enum kind {
	KIND_TEXT,
	KIND_COUNT,
	KIND_BYTES, /* with K, M, G or T behind it */
	KIND_AUTO,  /* likewise, or "auto": RT_AUTO, until it is settled */
	KIND_POW2, /* likewise, a power of two, or 0 if that is what it falls back to */
	KIND_MODE, /* octal */
	KIND_WORD, /* one of `words` */
	KIND_USER,
	KIND_GROUP,
	KIND_USERS,
	KIND_GROUPS,
};

struct setting {
	const char *key;
	enum kind kind;
	size_t offset; /* in struct rt_config or struct rt_feed_config */
	uint64_t min, max;
	const char *fallback; /* NULL: unset */
	const char *const *words;
};

static const char *const level_words[] = { "error", "warning", "info", "debug", NULL };
/* The places of memory, os and disk are those of enum rt_log_mode. */
static const char *const durability_words[] = { "none", "memory", "os",
						"disk", "auto",   NULL };
static const char *const yes_no_words[] = { "no", "yes", NULL };
static const char *const wake_words[] = { "bell", "always", NULL };

#define K               UINT64_C(1024)
#define M               (K * K)
#define G               (K * M)
#define T               (K * G)
#define AT(member)      offsetof(struct rt_config, member)
#define FEED_AT(member) offsetof(struct rt_feed_config, member)

static const struct setting daemon_settings[] = {
	{ "dir", KIND_TEXT, AT(dir), 0, 0, NULL, NULL },
	{ "data", KIND_TEXT, AT(data), 0, 0, NULL, NULL },
	{ "socket", KIND_TEXT, AT(socket), 0, 0, NULL, NULL },
	{ "socket_mode", KIND_MODE, AT(socket_mode), 0, 0777, "0660", NULL },
	{ "socket_group", KIND_GROUP, AT(socket_group), 0, 0, NULL, NULL },
	{ "max_clients", KIND_COUNT, AT(max_clients), 1, 65536, "1000", NULL },
	{ "max_query", KIND_BYTES, AT(max_query), 4 * K, G, "16M", NULL },
	{ "max_pending_out", KIND_BYTES, AT(max_pending_out), 64 * K, 16 * G, "32M",
	  NULL },
	{ "log_level", KIND_WORD, AT(log_level), 0, 0, "info", level_words },
};

static const struct setting feed_settings[] = {
	{ "size", KIND_POW2, FEED_AT(size), 8 * K, 8 * G, "16M", NULL },
	{ "slots", KIND_POW2, FEED_AT(slots), RT_SLOTS_MIN, RT_SLOTS_MAX, "0", NULL },
	{ "payload", KIND_POW2, FEED_AT(payload), RT_PAYLOAD_MIN, RT_PAYLOAD_MAX, "0",
	  NULL },
	{ "max_key", KIND_BYTES, FEED_AT(max_key), 1, RT_KEY_MAX, "1024", NULL },
	{ "max_value", KIND_BYTES, FEED_AT(max_value), 0, UINT32_MAX, "0", NULL },
	{ "max_state", KIND_BYTES, FEED_AT(max_state), K, T, "1G", NULL },
	{ "mode", KIND_MODE, FEED_AT(mode), 0, 0777, "0640", NULL },
	{ "owner", KIND_USER, FEED_AT(owner), 0, 0, NULL, NULL },
	{ "group", KIND_GROUP, FEED_AT(group), 0, 0, NULL, NULL },
	{ "publish_users", KIND_USERS, FEED_AT(publish_users), 0, 0, NULL, NULL },
	{ "publish_groups", KIND_GROUPS, FEED_AT(publish_groups), 0, 0, NULL, NULL },
	{ "wake", KIND_WORD, FEED_AT(wake), 0, 0, "bell", wake_words },
	{ "durability", KIND_WORD, FEED_AT(durability), 0, 0, "auto",
	  durability_words },
	{ "segment", KIND_AUTO, FEED_AT(segment_size), RT_LOG_SEGMENT_MIN,
	  RT_LOG_SEGMENT_MAX, "auto", NULL },
	{ "retain_bytes", KIND_AUTO, FEED_AT(retain_bytes), 0, 1024 * T, "auto", NULL },
	{ "retain_age", KIND_COUNT, FEED_AT(retain_age), 0, UINT32_MAX, "0", NULL },
	{ "prev_value", KIND_WORD, FEED_AT(prev_value), 0, 0, "no", yes_no_words },
	{ "max_age", KIND_COUNT, FEED_AT(max_age), 0, UINT32_MAX, "0", NULL },
	{ "snapshot_bytes", KIND_BYTES, FEED_AT(snapshot_bytes), 64 * K, 1024 * T,
	  "192M", NULL },
	{ "snapshot_age", KIND_COUNT, FEED_AT(snapshot_age), 0, UINT32_MAX, "3600",
	  NULL },
	{ "start_check", KIND_BYTES, FEED_AT(start_check), 0, 1024 * T, "256M", NULL },
};

static const struct setting *find(const struct setting *settings, size_t n,
				  const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

/* A number with an optional K, M, G or T; @ret_end is behind it. */
static bool parse_bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end;
	uint64_t value;
	const char *unit;
	unsigned shift;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return false;
	*ret = value;
	if (!*end)
		return true;
	unit = strchr(units, toupper((unsigned char)*end));
	if (!unit || !*unit || end[1])
		return false;
	shift = 10 * ((unsigned)(unit - units) + 1);
	if (value >> (64 - shift))
		return false;
	*ret = value << shift;
	return true;
}

static void format_bytes(uint64_t value, char *text, size_t cap)
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	unsigned unit = 0;

	while (value && value % K == 0 && unit < RT_N(units) - 1) {
		value /= K;
		unit++;
	}
	(void)snprintf(text, cap, "%llu%s", (unsigned long long)value, units[unit]);
}

static int set_number(const struct setting *s, const char *value, uint64_t *ret,
		      struct rt_fault *fault)
{
	bool pow2 = s->kind == KIND_POW2;
	bool or_zero = pow2 && !strcmp(s->fallback, "0");
	uint64_t number = 0;
	char min[32], max[32];

	if (s->kind == KIND_AUTO && !strcmp(value, "auto")) {
		*ret = RT_AUTO;
		return 0;
	}
	format_bytes(s->min, min, sizeof(min));
	format_bytes(s->max, max, sizeof(max));
	if (!parse_bytes(value, &number)) {
		rt_fault_set(fault, "%s: '%s' is not a number%s%s", s->key, value,
			     s->kind == KIND_COUNT ? "" : " such as 4096, 64K or 16M",
			     s->kind == KIND_AUTO ? ", or auto" : "");
		return -EINVAL;
	}
	if ((number || !or_zero) &&
	    (number < s->min || number > s->max || (pow2 && !rt_is_pow2(number)))) {
		rt_fault_set(fault, "%s: %s is not %s from %s to %s%s", s->key, value,
			     pow2 ? "a power of two" : "a number", min, max,
			     or_zero ? ", or 0 to take it from size" : "");
		return -EINVAL;
	}
	*ret = number;
	return 0;
}

bool rt_config_mode(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (!isdigit((unsigned char)*text) || *end || mode > max)
		return false;
	*ret = mode;
	return true;
}

static int set_mode(const struct setting *s, const char *value, uint64_t *ret,
		    struct rt_fault *fault)
{
	if (!rt_config_mode(value, s->max, ret)) {
		rt_fault_set(fault,
			     "%s: '%s' is not an octal file mode from 0 to 0%llo",
			     s->key, value, (unsigned long long)s->max);
		return -EINVAL;
	}
	return 0;
}

static int set_word(const struct setting *s, const char *value, uint64_t *ret,
		    struct rt_fault *fault)
{
	char known[64] = "";
	size_t len = 0;

	for (unsigned i = 0; s->words[i]; i++) {
		if (!strcmp(s->words[i], value)) {
			*ret = i;
			return 0;
		}
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
					i ? ", " : "", s->words[i]);
	}
	rt_fault_set(fault, "%s: '%s' is none of: %s", s->key, value, known);
	return -EINVAL;
}

bool rt_config_id(bool group, const char *name, uint32_t *ret)
{
	uint64_t number;

	if (parse_bytes(name, &number) && number < UINT32_MAX) {
		*ret = (uint32_t)number;
		return true;
	}
	if (group) {
		const struct group *gr = getgrnam(name);

		if (gr)
			*ret = gr->gr_gid;
		return gr;
	}
	{
		const struct passwd *pw = getpwnam(name);

		if (pw)
			*ret = pw->pw_uid;
		return pw;
	}
}

static int set_ids(const struct setting *s, const char *value, struct rt_ids *ret,
		   struct rt_fault *fault)
{
	bool group = s->kind == KIND_GROUP || s->kind == KIND_GROUPS;
	unsigned max = s->kind == KIND_USER || s->kind == KIND_GROUP ? 1 : RT_IDS_MAX;
	struct rt_ids ids = { .n = 0 };
	AUTO_FREE char *copy = strdup(value);
	AUTO_FREE char *text = strdup(value);
	char *state = NULL;

	if (!copy || !text)
		return -ENOMEM;
	for (char *name = strtok_r(copy, " \t:", &state); name;
	     name = strtok_r(NULL, " \t:", &state)) {
		if (ids.n == max) {
			rt_fault_set(fault, "%s: more than %u in '%s'", s->key, max,
				     value);
			return -EINVAL;
		}
		if (!rt_config_id(group, name, &ids.ids[ids.n++])) {
			rt_fault_set(fault, "%s: no %s '%s' on this host", s->key,
				     group ? "group" : "user", name);
			return -EINVAL;
		}
	}
	free(ret->text);
	*ret = ids;
	ret->text = rt_take_ptr(&text);
	return 0;
}

static int set_text(const struct setting *s, const char *value, char **ret,
		    struct rt_fault *fault)
{
	char *copy;

	if (!*value) {
		rt_fault_set(fault, "%s: is empty", s->key);
		return -EINVAL;
	}
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*ret);
	*ret = copy;
	return 0;
}

static int set(const struct setting *s, void *at, const char *value,
	       struct rt_fault *fault)
{
	switch (s->kind) {
	case KIND_TEXT:
		return set_text(s, value, at, fault);
	case KIND_COUNT:
	case KIND_BYTES:
	case KIND_AUTO:
	case KIND_POW2:
		return set_number(s, value, at, fault);
	case KIND_MODE:
		return set_mode(s, value, at, fault);
	case KIND_WORD:
		return set_word(s, value, at, fault);
	case KIND_USER:
	case KIND_GROUP:
	case KIND_USERS:
	case KIND_GROUPS:
		return set_ids(s, value, at, fault);
	}
	return -EINVAL;
}

int rt_config_set(struct rt_config *config, struct rt_feed_config *feed,
		  const char *key, const char *value, struct rt_fault *fault)
{
	const struct setting *s =
		feed ? find(feed_settings, RT_N(feed_settings), key)
		     : find(daemon_settings, RT_N(daemon_settings), key);

	if (!s) {
		rt_fault_set(fault, "%s: no such setting%s; see ringtaild.conf(5)", key,
			     feed ? " of a feed" : "");
		return -EINVAL;
	}
	if (feed && s->offset == FEED_AT(size))
		feed->size_given = true;
	return set(s, (feed ? (char *)feed : (char *)config) + s->offset, value, fault);
}

bool rt_config_knows(const char *key)
{
	return find(daemon_settings, RT_N(daemon_settings), key);
}

static int set_defaults(const struct setting *settings, size_t n, void *base)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &settings[i];
		int r = 0;

		if (s->fallback)
			r = set(s, (char *)base + s->offset, s->fallback, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int rt_config_init(struct rt_config *config)
{
	*config = (struct rt_config){ .n_feeds = 0 };
	return set_defaults(daemon_settings, RT_N(daemon_settings), config);
}

struct rt_feed_config *rt_config_feed(struct rt_config *config, const char *name,
				      struct rt_fault *fault)
{
	struct rt_feed_config *feeds, *feed;

	for (unsigned i = 0; i < config->n_feeds; i++)
		if (!strcmp(config->feeds[i].name, name))
			return &config->feeds[i];
	if (!rt_name_valid(name)) {
		rt_fault_set(fault,
			     "feed '%.80s': a name is 1 to %u of A-Z a-z 0-9 . _ - and "
			     "no '.' or '-' in front",
			     name, RT_NAME_MAX);
		return NULL;
	}
	if (config->n_feeds == RT_FEEDS_MAX) {
		rt_fault_set(fault, "feed '%s': more than %u feeds", name,
			     RT_FEEDS_MAX);
		return NULL;
	}
	feeds = realloc(config->feeds, (config->n_feeds + 1) * sizeof(*feeds));
	if (!feeds) {
		rt_fault_set(fault, "out of memory");
		return NULL;
	}
	config->feeds = feeds;
	feed = &feeds[config->n_feeds];
	*feed = (struct rt_feed_config){ .size = 0 };
	(void)snprintf(feed->name, sizeof(feed->name), "%s", name);
	if (set_defaults(feed_settings, RT_N(feed_settings), feed) < 0) {
		rt_fault_set(fault, "out of memory");
		return NULL;
	}
	config->n_feeds++;
	return feed;
}

static void print(FILE *file, const struct setting *s, const void *at)
{
	const struct rt_ids *ids = at;
	const uint64_t *number = at;
	char text[32];

	switch (s->kind) {
	case KIND_TEXT:
		if (*(char *const *)at)
			(void)fprintf(file, "%s = %s\n", s->key, *(char *const *)at);
		break;
	case KIND_COUNT:
		(void)fprintf(file, "%s = %llu\n", s->key, (unsigned long long)*number);
		break;
	case KIND_BYTES:
	case KIND_AUTO:
	case KIND_POW2:
		format_bytes(*number, text, sizeof(text));
		(void)fprintf(file, "%s = %s\n", s->key, text);
		break;
	case KIND_MODE:
		(void)fprintf(file, "%s = %04llo\n", s->key,
			      (unsigned long long)*number);
		break;
	case KIND_WORD:
		(void)fprintf(file, "%s = %s\n", s->key, s->words[*number]);
		break;
	case KIND_USER:
	case KIND_GROUP:
	case KIND_USERS:
	case KIND_GROUPS:
		if (ids->text)
			(void)fprintf(file, "%s = %s\n", s->key, ids->text);
		break;
	}
}

static void print_feed(const struct rt_feed_config *feed, FILE *file)
{
	const struct rt_ring_config ring = rt_config_ring(feed);
	struct rt_feed_config shown = *feed;
	bool by_parts = feed->slots || feed->payload;

	if (by_parts) { /* both of them then, and no size beside them */
		shown.slots = ring.n_slots;
		shown.payload = ring.payload_size;
	}
	for (size_t i = 0; i < RT_N(feed_settings); i++)
		if (!by_parts || feed_settings[i].offset != FEED_AT(size))
			print(file, &feed_settings[i],
			      (const char *)&shown + feed_settings[i].offset);
}

void rt_config_print(const struct rt_config *config, FILE *file)
{
	for (size_t i = 0; i < RT_N(daemon_settings); i++)
		print(file, &daemon_settings[i],
		      (const char *)config + daemon_settings[i].offset);
	for (unsigned n = 0; n < config->n_feeds; n++) {
		const struct rt_feed_config *feed = &config->feeds[n];

		(void)fprintf(file, "\n[feed %s]\n", feed->name);
		print_feed(feed, file);
	}
}

static bool same_ids(const struct rt_ids *a, const struct rt_ids *b)
{
	return a->n == b->n && !memcmp(a->ids, b->ids, a->n * sizeof(a->ids[0]));
}

static bool same(const struct setting *s, const void *a, const void *b)
{
	const char *text_a, *text_b;

	switch (s->kind) {
	case KIND_TEXT:
		text_a = *(char *const *)a;
		text_b = *(char *const *)b;
		return text_a && text_b ? !strcmp(text_a, text_b) : text_a == text_b;
	case KIND_USER:
	case KIND_GROUP:
	case KIND_USERS:
	case KIND_GROUPS:
		return same_ids(a, b);
	default:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	}
}

static void compare_feeds(const struct rt_feed_config *was,
			  const struct rt_feed_config *now,
			  void (*tell)(void *arg, const struct rt_feed_config *feed,
				       const char *key),
			  void *arg)
{
	for (size_t i = 0; i < RT_N(feed_settings); i++) {
		const struct setting *s = &feed_settings[i];

		if (!same(s, (const char *)was + s->offset,
			  (const char *)now + s->offset))
			tell(arg, was, s->key);
	}
}

void rt_config_compare(const struct rt_config *was, const struct rt_config *now,
		       void (*tell)(void *arg, const struct rt_feed_config *feed,
				    const char *key),
		       void *arg)
{
	for (size_t i = 0; i < RT_N(daemon_settings); i++) {
		const struct setting *s = &daemon_settings[i];

		if (!same(s, (const char *)was + s->offset,
			  (const char *)now + s->offset))
			tell(arg, NULL, s->key);
	}
	for (unsigned i = 0; i < was->n_feeds; i++)
		for (unsigned j = 0; j < now->n_feeds; j++)
			if (!strcmp(was->feeds[i].name, now->feeds[j].name))
				compare_feeds(&was->feeds[i], &now->feeds[j], tell,
					      arg);
}

void rt_config_fini(struct rt_config *config)
{
	for (unsigned i = 0; i < config->n_feeds; i++) {
		free(config->feeds[i].owner.text);
		free(config->feeds[i].group.text);
		free(config->feeds[i].publish_users.text);
		free(config->feeds[i].publish_groups.text);
	}
	free(config->feeds);
	free(config->socket_group.text);
	free(config->dir);
	free(config->data);
	free(config->socket);
	*config = (struct rt_config){ .n_feeds = 0 };
}
