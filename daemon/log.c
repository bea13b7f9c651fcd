/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#define CLIENT_LINES 20u /* a second */

static struct {
	enum rt_log_level level;
	bool journal;
	unsigned client_lines;
	unsigned left_out;
} log_state = { .level = RT_LOG_INFO };

/* $JOURNAL_STREAM names the device and inode that the journal reads from. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

void rt_log_init(enum rt_log_level level)
{
	log_state.level = level;
	log_state.journal = is_journal();
}

static size_t prefix(enum rt_log_level level, char *line, size_t cap)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	static const int priorities[] = { 3, 4, 6, 7 };
	struct timespec now;
	struct tm tm;
	size_t len;

	if (log_state.journal)
		return (size_t)snprintf(line, cap, "<%d>", priorities[level]);
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	(void)localtime_r(&now.tv_sec, &tm);
	len = strftime(line, cap, "%Y-%m-%d %H:%M:%S", &tm);
	return len + (size_t)snprintf(line + len, cap - len,
				      ".%03ld %s: ", now.tv_nsec / 1000000,
				      names[level]);
}

static void write_line(enum rt_log_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static void write_line(enum rt_log_level level, const char *format, va_list args)
{
	char line[1024];
	size_t start = prefix(level, line, sizeof(line)), len = start;
	int more = vsnprintf(line + len, sizeof(line) - len - 1, format, args);

	if (more > 0)
		len += rt_min((uint64_t)more, sizeof(line) - len - 2);
	for (size_t i = start; i < len; i++)
		if ((uint8_t)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere to say so */
}

void rt_log(enum rt_log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_state.level)
		return;
	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}

void rt_log_client(enum rt_log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_state.level)
		return;
	if (log_state.client_lines++ >= CLIENT_LINES) {
		log_state.left_out++;
		return;
	}
	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}

void rt_log_tick(void)
{
	if (log_state.left_out)
		rt_log(RT_LOG_WARNING, "%u more lines about clients in this second",
		       log_state.left_out);
	log_state.client_lines = 0;
	log_state.left_out = 0;
}
