/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <ini.h>

#include "daemon/config.h"

#define SEEN_MAX 1024 /* for all settings that there are */
#define LINE_MAX 198  /* of inih as Debian builds it: its buffer less the line end */

struct reading {
	struct rt_config *config;
	FILE *file;
	const char *path;
	unsigned line;
	int error;
	struct rt_fault *fault;
	char seen[SEEN_MAX]; /* keys of this section, each with a space on both sides */
};

/* The first fault is the one that is told. */
static void fail(struct reading *r, int error, const char *text)
{
	if (r->error)
		return;
	r->error = error;
	rt_fault_set(r->fault, "%.80s:%u: %.400s", r->path, r->line, text);
}

/* The name in "[feed NAME]"; NULL if that is not what @section says. */
static const char *feed_name(const char *section)
{
	if (strncmp(section, "feed", 4) || !isblank((unsigned char)section[4]))
		return NULL;
	section += 5;
	while (isblank((unsigned char)*section))
		section++;
	return *section ? section : NULL;
}

static bool has_section(const struct reading *r, const char *name)
{
	for (unsigned i = 0; i < r->config->n_feeds; i++)
		if (!strcmp(r->config->feeds[i].name, name))
			return true;
	return false;
}

/* Was it given in this section?  It is from now on. */
static bool see_key(struct reading *r, const char *key)
{
	char word[LINE_MAX + 4];
	size_t len = strlen(r->seen);

	(void)snprintf(word, sizeof(word), " %s ", key);
	if (strstr(r->seen, word))
		return true;
	(void)snprintf(r->seen + len, sizeof(r->seen) - len, "%s", word);
	return false;
}

/* inih tells nothing of a section without settings; such a feed is still one. */
static void see_section(struct reading *r, const char *line)
{
	struct rt_fault fault;
	char section[LINE_MAX + 2];
	const char *name, *end;

	while (isspace((unsigned char)*line))
		line++;
	if (*line != '[')
		return;
	end = strchr(line, ']');
	if (!end)
		return; /* inih will say so */
	(void)snprintf(section, sizeof(section), "%.*s", (int)(end - line - 1),
		       line + 1);
	name = feed_name(section);
	r->seen[0] = 0;
	if (name && has_section(r, name)) {
		rt_fault_set(&fault, "feed '%.80s' has a section already", name);
		fail(r, -EINVAL, fault.text);
	} else if (!name)
		fail(r, -EINVAL,
		     "a section is [feed NAME]; other settings precede them all");
	else if (!rt_config_feed(r->config, name, &fault))
		fail(r, -EINVAL, fault.text);
}

static char *read_line(char *buf, int cap, void *stream)
{
	struct reading *r = stream;
	size_t len;

	if (r->error || !fgets(buf, cap, r->file))
		return NULL;
	r->line++;
	len = strlen(buf);
	if ((!len || buf[len - 1] != '\n') && !feof(r->file)) {
		fail(r, -EINVAL, "the line is too long, or has a zero byte in it");
		return NULL;
	}
	see_section(r, buf);
	return r->error ? NULL : buf;
}

static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct reading *r = user;
	struct rt_feed_config *feed = NULL;
	struct rt_fault fault = { "out of memory" };
	int error;

	if (r->error)
		return 0;
	if (*section)
		feed = rt_config_feed(r->config, feed_name(section), &fault);
	error = *section && !feed ? -EINVAL
				  : rt_config_set(r->config, feed, key, value, &fault);
	if (!error && see_key(r, key)) {
		rt_fault_set(&fault, "%s: is given twice", key);
		error = -EINVAL;
	}
	if (error < 0)
		fail(r, error, fault.text);
	return error == 0;
}

static void close_file(FILE **file)
{
	if (*file)
		(void)fclose(*file); /* only read from */
}

int rt_config_file(struct rt_config *config, const char *path, struct rt_fault *fault)
{
	AUTO(close_file) FILE *file = fopen(path, "re");
	struct reading r = { config, file, path, 0, 0, fault, "" };
	int bad_line;

	if (!file) {
		int error = -errno;

		rt_fault_set(fault, "cannot read %s: %s", path, strerror(errno));
		return error;
	}
	bad_line = ini_parse_stream(read_line, &r, handle, &r);
	if (!r.error && ferror(file)) {
		rt_fault_set(fault, "cannot read %s: %s", path, strerror(EIO));
		return -EIO;
	}
	if (!r.error && bad_line) {
		r.line = (unsigned)bad_line;
		fail(&r, -EINVAL, "neither a section nor key = value");
	}
	return r.error;
}
