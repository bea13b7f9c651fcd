/* SPDX-License-Identifier: MIT */
#include "tools/progress.h"

#include <sys/ioctl.h>
#include <time.h>

#include "tools/units.h"

#define DRAW_EVERY_NS INT64_C(100000000)
#define BAR_MAX       30

static int64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void rt_progress_begin(struct rt_progress *progress, uint64_t total_bytes)
{
	*progress = (struct rt_progress){
		.shown = isatty(STDERR_FILENO),
		.total_bytes = total_bytes,
		.begun_ns = now_ns(),
	};
}

static void draw_bar(char *ret, size_t size, int width, uint64_t bytes, uint64_t total)
{
	const int filled = (int)((double)width * (double)bytes / (double)total);

	(void)snprintf(ret, size, "[%.*s%*s] %3d%%  ", filled,
		       "##############################", width - filled, "",
		       (int)(100 * (double)bytes / (double)total));
}

void rt_progress_line(char *ret, size_t size, int width, uint64_t bytes,
		      uint64_t total_bytes, uint64_t events, int64_t elapsed_ns)
{
	const double seconds = elapsed_ns > 0 ? (double)elapsed_ns / 1e9 : 1e-9;
	char bar[BAR_MAX + 16] = "", eta[48] = "", facts[200];

	if (total_bytes && bytes && bytes <= total_bytes) {
		const double left =
			seconds * (double)(total_bytes - bytes) / (double)bytes;

		(void)snprintf(eta, sizeof(eta), "  %s left",
			       rt_span_words((uint64_t)(left * 1e9 + 5e8) / 1000000000 *
					     1000000000)
				       .text);
		if (left < 0.5)
			eta[0] = '\0';
	}
	(void)snprintf(facts, sizeof(facts), "%s events  %s  %s/s%s",
		       rt_count_words((double)events).text, rt_size_words(bytes).text,
		       rt_count_words((double)events / seconds).text, eta);

	const int room = width - (int)strlen(facts) - 10;

	if (total_bytes && bytes <= total_bytes && room >= 5)
		draw_bar(bar, sizeof(bar), room < BAR_MAX ? room : BAR_MAX, bytes,
			 total_bytes);
	(void)snprintf(ret, size, "%s%s", bar, facts);
}

static int terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return 80;
	return size.ws_col;
}

void rt_progress_at(struct rt_progress *progress, uint64_t bytes, uint64_t events)
{
	char line[256];

	if (!progress->shown)
		return;

	const int64_t now = now_ns();

	if (now < progress->next_ns)
		return;
	progress->next_ns = now + DRAW_EVERY_NS;
	rt_progress_line(line, sizeof(line), terminal_width() - 1, bytes,
			 progress->total_bytes, events, now - progress->begun_ns);
	(void)fprintf(stderr, "\r%s\033[K", line);
}

int64_t rt_progress_end(struct rt_progress *progress)
{
	if (progress->shown && progress->next_ns)
		(void)fputs("\r\033[K", stderr);
	return now_ns() - progress->begun_ns;
}
