/* SPDX-License-Identifier: MIT */
/*
 * text.h - UTF-8 and base64
 */
#ifndef RINGTAIL_TOOLS_TEXT_H
#define RINGTAIL_TOOLS_TEXT_H

#include "shm/base.h"

/*
 * Length of the well-formed character at the start of @bytes (no surrogates, nothing
 * overlong), 0 if there is none.  @len > 0.
 */
size_t rt_utf8_char(const uint8_t *bytes, size_t len);

bool rt_utf8_valid(const void *bytes, size_t len);

/* Room for the base64 of @len bytes, without a terminating zero. */
#define RT_BASE64_SIZE(len) (((len) + 2) / 3 * 4)

/* Returns the characters written. */
size_t rt_base64_encode(const void *bytes, size_t len, char *ret);

/*
 * Strict: padded, nothing but the alphabet.  @ret has room for @len / 4 * 3.
 * Returns the bytes, or -EINVAL.
 */
int64_t rt_base64_decode(const char *text, size_t len, void *ret);

#endif
