/* SPDX-License-Identifier: MIT */
#include "daemon/command.h"

/*
 * One class "[...]" from behind its bracket at *@at, which ends behind its end.  A
 * class that is not closed ends with the pattern.
 */
static bool in_class(const uint8_t *pattern, size_t len, size_t *at, uint8_t c)
{
	bool negated = *at < len && pattern[*at] == '^';
	bool found = false;

	*at += negated;
	while (*at < len && pattern[*at] != ']') {
		uint8_t low = pattern[*at], high;

		if (low == '\\' && *at + 1 < len)
			low = pattern[++*at];
		high = low;
		if (len - *at > 2 && pattern[*at + 1] == '-') {
			*at += 2;
			high = pattern[*at];
		}
		found |= low <= high ? c >= low && c <= high : c >= high && c <= low;
		(*at)++;
	}
	*at += *at < len;
	return found != negated;
}

/* Does the one pattern element at *@at match @c?  *@at moves behind it. */
static bool match_one(const uint8_t *pattern, size_t len, size_t *at, uint8_t c)
{
	uint8_t p = pattern[(*at)++];

	if (p == '?')
		return true;
	if (p == '[')
		return in_class(pattern, len, at, c);
	if (p == '\\' && *at < len)
		p = pattern[(*at)++];
	return p == c;
}

/*
 * Goes back only to the last star, so the time is at most the product of the two
 * lengths, whatever the pattern.
 */
bool rt_glob_match(const uint8_t *pattern, size_t pattern_len, const uint8_t *text,
		   size_t len)
{
	size_t at = 0, i = 0, star = SIZE_MAX, star_i = 0;

	while (i < len) {
		if (at < pattern_len && pattern[at] == '*') {
			star = ++at;
			star_i = i;
			continue;
		}
		if (at < pattern_len && match_one(pattern, pattern_len, &at, text[i])) {
			i++;
			continue;
		}
		if (star == SIZE_MAX)
			return false;
		at = star;
		i = ++star_i;
	}
	while (at < pattern_len && pattern[at] == '*')
		at++;
	return at == pattern_len;
}
