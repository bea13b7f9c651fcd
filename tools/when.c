/* SPDX-License-Identifier: MIT */
#include "tools/when.h"

#include <errno.h>
#include <time.h>

#include "tools/args.h"

#define NS_PER_S UINT64_C(1000000000)

/* What a mistyped or shortened marker may still look like: the library says more. */
static bool like_marker(const char *text)
{
	const size_t len = strlen(text);

	if (!len)
		return true;
	if (len > RINGTAIL_MARKER_SIZE / 2 &&
	    strspn(text, "0123456789abcdefABCDEF-") == len)
		return true;
	return len + 4 > RINGTAIL_MARKER_SIZE && len < RINGTAIL_MARKER_SIZE + 4u;
}

static bool digits(const char **at, int n, int *ret)
{
	int value = 0;

	for (int i = 0; i < n; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		value = value * 10 + (**at - '0');
	}
	*ret = value;
	return true;
}

static bool literal(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* Digits after a point; further ones than nanoseconds are dropped. */
static bool fraction(const char **at, uint64_t *ret_ns)
{
	uint64_t unit = NS_PER_S / 10;

	if (**at < '0' || **at > '9')
		return false;
	for (*ret_ns = 0; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*ret_ns += unit * (uint64_t)(**at - '0');
	return true;
}

static bool day_exists(const struct tm *tm)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const int year = tm->tm_year + 1900;
	const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 &&
	       tm->tm_mday <= days[tm->tm_mon] + (tm->tm_mon == 1 && leap);
}

static bool parse_day(const char **at, struct tm *tm)
{
	if (!digits(at, 4, &tm->tm_year) || !literal(at, '-') ||
	    !digits(at, 2, &tm->tm_mon) || !literal(at, '-') ||
	    !digits(at, 2, &tm->tm_mday))
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return day_exists(tm);
}

static bool parse_clock(const char **at, struct tm *tm, uint64_t *ret_ns)
{
	if (!digits(at, 2, &tm->tm_hour) || !literal(at, ':') ||
	    !digits(at, 2, &tm->tm_min))
		return false;
	if (literal(at, ':')) {
		if (!digits(at, 2, &tm->tm_sec))
			return false;
		if (literal(at, '.') && !fraction(at, ret_ns))
			return false;
	}
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

static bool parse_zone(const char **at, bool *ret_local, int *ret_seconds)
{
	int hours, minutes;
	const int sign = **at == '-' ? -1 : 1;

	*ret_local = **at == '\0';
	*ret_seconds = 0;
	if (*ret_local || literal(at, 'Z') || literal(at, 'z'))
		return **at == '\0';
	if (!literal(at, '+') && !literal(at, '-'))
		return false;
	if (!digits(at, 2, &hours) || !literal(at, ':') || !digits(at, 2, &minutes))
		return false;
	*ret_seconds = sign * (hours * 3600 + minutes * 60);
	return **at == '\0' && hours < 24 && minutes < 60;
}

static bool parse_rfc3339(const char *text, uint64_t *ret_ns)
{
	struct tm tm = { .tm_isdst = -1 };
	uint64_t ns = 0;
	bool local = true;
	int offset = 0;
	time_t seconds;

	if (!parse_day(&text, &tm))
		return false;
	if (*text) {
		if (!literal(&text, 'T') && !literal(&text, 't') &&
		    !literal(&text, ' '))
			return false;
		if (!parse_clock(&text, &tm, &ns) ||
		    !parse_zone(&text, &local, &offset))
			return false;
	}
	seconds = local ? mktime(&tm) : timegm(&tm) - offset;
	if (seconds < 0 || (uint64_t)seconds > UINT64_MAX / NS_PER_S - 1)
		return false;
	*ret_ns = (uint64_t)seconds * NS_PER_S + ns;
	return true;
}

static bool parse_ago(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = {
		{ "ms", NS_PER_S / 1000 }, { "s", NS_PER_S },
		{ "m", 60 * NS_PER_S },    { "h", 3600 * NS_PER_S },
		{ "d", 86400 * NS_PER_S },
	};
	const size_t n = strspn(text, "0123456789");
	char number[24];
	uint64_t count, span;

	if (!n || n >= sizeof(number))
		return false;
	memcpy(number, text, n);
	number[n] = '\0';
	if (rt_parse_u64(number, &count) < 0)
		return false;
	for (size_t i = 0; i < RT_N(units); i++) {
		if (strcmp(text + n, units[i].suffix) != 0)
			continue;
		if (__builtin_mul_overflow(count, units[i].ns, &span))
			span = UINT64_MAX;
		*ret_ns = span < now_ns ? now_ns - span : 0;
		return true;
	}
	return false;
}

static bool parse_time(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
	int64_t ns;

	if (text[0] == '-')
		return parse_ago(text + 1, now_ns, ret_ns);
	if (text[0] != '@')
		return parse_rfc3339(text, ret_ns);
	if (rt_parse_seconds(text + 1, &ns) < 0)
		return false;
	*ret_ns = (uint64_t)ns;
	return true;
}

static int parse_word(const char *text, uint32_t *ret)
{
	if (!strcmp(text, "now"))
		*ret = RINGTAIL_START_NOW;
	else if (!strcmp(text, "oldest"))
		*ret = RINGTAIL_START_OLDEST;
	else if (!strcmp(text, "snapshot"))
		*ret = RINGTAIL_START_SNAPSHOT;
	else
		return -EINVAL;
	return 0;
}

int rt_when_parse(const char *text, uint64_t now_ns, struct ringtail_options *options,
		  struct rt_fault *fault)
{
	if (!parse_word(text, &options->start))
		return 0;
	if (!rt_parse_u64(text, &options->seq)) {
		options->start = RINGTAIL_START_AFTER_SEQ;
		return 0;
	}
	if (parse_time(text, now_ns, &options->time_ns)) {
		options->start = RINGTAIL_START_TIME;
		return 0;
	}
	if (like_marker(text)) {
		options->start = RINGTAIL_START_MARKER;
		options->marker = text;
		return 0;
	}
	rt_fault_set(
		fault,
		"'%.80s' is no place to start from; expected now, oldest, snapshot, "
		"a seq, a marker, or a time such as 2026-01-31T08:30:00Z, "
		"@1769848200.5 or -30s",
		text);
	return -EINVAL;
}
