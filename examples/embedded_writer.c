/* SPDX-License-Identifier: MIT */
/*
 * embedded_writer.c - a process that owns a feed, without a daemon
 *
 *	embedded_writer [FEED]
 *
 * Run it, and `ringtail watch FEED --from oldest` beside or after it.
 */
#include <ringtail.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what, int code)
{
	fprintf(stderr, "%s: %s\n", what, ringtail_strerror(code));
	return 1;
}

static int put(struct ringtail_writer *writer, const char *key, const char *value)
{
	return ringtail_put(writer, key, strlen(key), value, strlen(value), 0);
}

/* Readers see both changes or neither. */
static int move(struct ringtail_writer *writer)
{
	int r = ringtail_begin(writer);

	if (r == 0)
		r = ringtail_add(writer, RINGTAIL_DELETE, "seat/4a", 7, NULL, 0, 0);
	if (r == 0)
		r = ringtail_add(writer, RINGTAIL_PUT, "seat/7c", 7, "Ada", 3,
				 RINGTAIL_CREATED);
	if (r == 0)
		return ringtail_commit(writer);
	ringtail_abort(writer);
	return r;
}

/* A large value is made where readers will find it, and never copied. */
static int picture(struct ringtail_writer *writer)
{
	void *room;
	int r = ringtail_begin(writer);

	if (r == 0)
		r = ringtail_claim(writer, "picture", 7, 100000, RINGTAIL_CREATED,
				   &room);
	if (r == 0) {
		memset(room, '#', 100000);
		return ringtail_commit(writer);
	}
	ringtail_abort(writer);
	return r;
}

int main(int argc, char **argv)
{
	struct ringtail_writer_options options = RINGTAIL_WRITER_OPTIONS_INIT;
	const char *feed = argc > 1 ? argv[1] : "embedded";
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail_writer *writer;
	int r;

	options.n_slots = 1024;
	options.payload_size = 1 << 20;
	r = ringtail_writer_open(feed, &options, &writer);
	if (r < 0) {
		fprintf(stderr, "%s\n", ringtail_error(NULL));
		return 1;
	}
	if ((r = put(writer, "seat/4a", "Ada")) < 0 || (r = move(writer)) < 0 ||
	    (r = picture(writer)) < 0)
		return failed(feed, r);

	ringtail_marker_format(ringtail_writer_seq(writer),
			       ringtail_writer_epoch(writer), marker);
	printf("committed up to seq %llu, marker %s\n",
	       (unsigned long long)ringtail_writer_seq(writer), marker);
	ringtail_writer_close(writer); /* readers drain what is there, then end */
	return 0;
}
