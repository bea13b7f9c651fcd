/* SPDX-License-Identifier: MIT */
#include <ringtail.h>
#include <stdio.h>

int main(void)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	struct ringtail_event e;
	struct ringtail *reader = NULL;
	int r;

	options.start = RINGTAIL_START_OLDEST;
	r = ringtail_open("main", &options, &reader);
	while (r >= 0 && (r = ringtail_next(reader, &e, RINGTAIL_FOREVER)) >= 0)
		if (r == RINGTAIL_EVENT)
			printf("%.*s = %.*s\n", (int)e.key_len, (const char *)e.key,
			       (int)e.value_len, (const char *)e.value);
	fprintf(stderr, "end: %s\n", ringtail_strerror(r));
	ringtail_close(reader);
	return r != RINGTAIL_E_CLOSED;
}
