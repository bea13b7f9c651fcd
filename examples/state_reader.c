/* SPDX-License-Identifier: MIT */
/*
 * state_reader FEED CURSOR - the state of a feed, then its changes, across restarts
 *
 * The first run is given the state, and so is any later one that was away for longer
 * than history is kept, or that finds another history.  All others go on where the one
 * before ended: CURSOR keeps the marker.  Ends when the feed is closed.
 */
#include <errno.h>
#include <ringtail.h>
#include <stdio.h>

static void show(const char *what, const struct ringtail_event *e)
{
	printf("%s %.*s", what, (int)e->key_len, (const char *)e->key);
	if (e->op != RINGTAIL_DELETE)
		printf(" = %.*s", (int)e->value_len, (const char *)e->value);
	printf("\n");
}

static int handle(int outcome, const struct ringtail_event *e)
{
	switch (outcome) {
	case RINGTAIL_RESET:
		printf("forget everything\n");
		return 0;
	case RINGTAIL_SNAPSHOT:
		show("there is", e);
		return 0;
	case RINGTAIL_SNAPSHOT_END:
		printf("that was all as of seq %llu\n", (unsigned long long)e->seq);
		return 1;
	case RINGTAIL_EVENT:
		show(e->op == RINGTAIL_DELETE ? "gone" : "now", e);
		return (e->flags & RINGTAIL_LAST) != 0;
	default:
		return 0;
	}
}

/* What was shown must have left this process before the cursor says so. */
static int keep_place(struct ringtail *reader, const char *cursor)
{
	char marker[RINGTAIL_MARKER_SIZE];

	if (fflush(stdout) != 0)
		return -EIO;
	ringtail_marker(reader, marker);
	return ringtail_cursor_store(cursor, marker, 0);
}

int main(int argc, char **argv)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	char marker[RINGTAIL_MARKER_SIZE];
	struct ringtail *reader = NULL;
	struct ringtail_event e;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: state_reader FEED CURSOR\n");
		return 2;
	}
	r = ringtail_cursor_load(argv[2], marker);
	options.start = r < 0 ? RINGTAIL_START_SNAPSHOT : RINGTAIL_START_MARKER;
	options.marker = r < 0 ? NULL : marker;
	options.on_gap = RINGTAIL_ON_GAP_RESYNC;
	if (r == 0 || r == -ENOENT)
		r = ringtail_open(argv[1], &options, &reader);
	while (r >= 0 && (r = ringtail_next(reader, &e, RINGTAIL_FOREVER)) >= 0)
		if (handle(r, &e))
			r = keep_place(reader, argv[2]);
	fprintf(stderr, "end: %s\n", ringtail_error(reader));
	ringtail_close(reader);
	return r != RINGTAIL_E_CLOSED;
}
