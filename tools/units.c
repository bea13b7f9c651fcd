/* SPDX-License-Identifier: MIT */
#include "tools/units.h"

#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

#define SAY(words, ...) \
	((void)snprintf((words).text, sizeof((words).text), __VA_ARGS__), (words))

struct rt_words rt_size_words(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	struct rt_words words;
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < RT_N(units)) {
		value /= 1024;
		i++;
	}

	const bool whole = value == (double)(uint64_t)value || value >= 100;

	return SAY(words, whole ? "%.0f %s" : "%.1f %s", value, units[i]);
}

static struct rt_words two_units(uint64_t n, uint64_t per, const char *large,
				 const char *small)
{
	struct rt_words words;
	const unsigned long long a = n / per, b = n % per;

	if (!b)
		return SAY(words, "%llu %s", a, large);
	return SAY(words, "%llu %s %llu %s", a, large, b, small);
}

struct rt_words rt_span_words(uint64_t ns)
{
	const uint64_t seconds = ns / NS_PER_S;
	struct rt_words words;

	if (ns < 1000)
		return SAY(words, "%u ns", (unsigned)ns);
	if (ns < 1000000)
		return SAY(words, "%.3g us", (double)ns / 1e3);
	if (ns < NS_PER_S)
		return SAY(words, "%.3g ms", (double)ns / 1e6);
	if (seconds < 60)
		return SAY(words, "%.3g s", (double)ns / 1e9);
	if (seconds < 3600)
		return two_units(seconds, 60, "min", "s");
	if (seconds < 86400)
		return two_units(seconds / 60, 60, "h", "min");
	return two_units(seconds / 3600, 24, "d", "h");
}

struct rt_words rt_count_words(double count)
{
	static const char units[] = { '\0', 'k', 'M', 'G', 'T' };
	struct rt_words words;
	size_t i = 0;

	while (count >= 999.5 && i + 1 < RT_N(units)) {
		count /= 1000;
		i++;
	}
	return SAY(words, i ? "%.3g%c" : "%.0f%c", count, units[i]);
}

struct rt_words rt_time_words(uint64_t time_ns)
{
	const time_t seconds = (time_t)(time_ns / NS_PER_S);
	struct rt_words words;
	char clock[24], zone[8];
	struct tm tm;

	if (!localtime_r(&seconds, &tm))
		return SAY(words, "%llu ns", (unsigned long long)time_ns);
	(void)strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &tm);
	(void)strftime(zone, sizeof(zone), "%z", &tm);
	return SAY(words, "%s.%03u %s", clock, (unsigned)(time_ns % NS_PER_S / 1000000),
		   zone);
}
