/* SPDX-License-Identifier: MIT */
/*
 * view FEED [PREFIX] - the keys of a feed, and what becomes of them
 *
 * Prints the keys that begin with PREFIX, in their order, and then each change with the
 * value before it.  A thread of the view keeps it up to date; any other may look at it
 * meanwhile.  Ends when the feed is closed.
 */
#include <ringtail.h>
#include <stdio.h>
#include <string.h>

static int show(void *unused, const struct ringtail_view_entry *e)
{
	(void)unused;
	printf("%.*s = %.*s\n", (int)e->key_len, (const char *)e->key,
	       (int)e->value_len, (const char *)e->value);
	return 0;
}

/* In the view's thread, and with the view locked. */
static void changed(void *unused, const struct ringtail_change *c)
{
	(void)unused;
	if (c->flags & RINGTAIL_VIEW_INITIAL)
		return; /* they are shown in their order when all are there */
	printf("%.*s: ", (int)c->key_len, (const char *)c->key);
	if (c->old_value)
		printf("%.*s", (int)c->old_len, (const char *)c->old_value);
	printf(" -> ");
	if (c->value)
		printf("%.*s", (int)c->value_len, (const char *)c->value);
	printf("%s\n", c->flags & RINGTAIL_VIEW_RESYNCED ? " (meanwhile)" : "");
}

int main(int argc, char **argv)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_view_options view_options = RINGTAIL_VIEW_OPTIONS_INIT;
	struct ringtail_filter filter = { RINGTAIL_FILTER_PREFIX, 0, "", 0, NULL, 0 };
	struct ringtail_view *view;
	int r;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: view FEED [PREFIX]\n");
		return 2;
	}
	if (argc == 3) {
		filter.a = argv[2];
		filter.a_len = strlen(argv[2]);
		options.filters = &filter;
		options.n_filters = 1;
	}
	view_options.flags = RINGTAIL_VIEW_THREAD;
	view_options.on_change = changed;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	r = ringtail_view_open(argv[1], &options, &view_options, &view);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], ringtail_error(NULL));
		return 1;
	}
	ringtail_view_lock(view);
	r = ringtail_view_each(view, NULL, 0, show, NULL);
	printf("%zu keys at seq %llu\n", ringtail_view_count(view),
	       (unsigned long long)ringtail_view_seq(view));
	ringtail_view_unlock(view);
	while (r >= 0)
		r = ringtail_view_wait(view, UINT64_MAX, 1000000000);
	fprintf(stderr, "end: %s\n", ringtail_view_error(view));
	ringtail_view_close(view);
	return r != RINGTAIL_E_CLOSED;
}
