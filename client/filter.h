/* SPDX-License-Identifier: MIT */
/*
 * filter.h - which events a reader wants
 *
 * A union of exact keys, prefixes and ranges, and a choice of operations.  Pure.
 */
#ifndef RINGTAIL_CLIENT_FILTER_H
#define RINGTAIL_CLIENT_FILTER_H

#include <ringtail.h>

#include "shm/base.h"

#define RT_FILTERS_MAX 4096u

struct rt_bytes {
	const uint8_t *at;
	size_t len;
};

struct rt_range {
	struct rt_bytes from;
	struct rt_bytes to; /* at NULL: no upper end */
};

struct rt_filters {
	bool all; /* every key and every operation */
	bool any_key;
	uint32_t ops;          /* bit op - 1 */
	uint32_t topics;       /* that matching keys can have; what to wait for */
	struct rt_bytes *keys; /* sorted */
	size_t n_keys;
	struct rt_bytes *prefixes;
	size_t n_prefixes;
	struct rt_range *ranges;
	size_t n_ranges;
	uint8_t *memory; /* of all bytes above */
};

/* -EINVAL with a text that names the filter; -ENOMEM. */
int rt_filters_init(const struct ringtail_filter *filters, size_t n, uint32_t ops,
		    struct rt_fault *fault, struct rt_filters *ret);
void rt_filters_fini(struct rt_filters *filters);

/* @key may be overwritten meanwhile: the answer is then worthless, not dangerous. */
bool rt_filters_match(const struct rt_filters *filters, uint8_t op, const uint8_t *key,
		      size_t len);

/*
 * For a key that does not match: no key above it and below *ret does.  False: no key
 * above it does at all.  len 0: from the first key on.
 */
bool rt_filters_next(const struct rt_filters *filters, const uint8_t *key, size_t len,
		     struct rt_bytes *ret);

#endif
