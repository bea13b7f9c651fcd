/* SPDX-License-Identifier: MIT */
#include "client/filter.h"

#include <errno.h>

#include "shm/bell.h"
#include "shm/layout.h"
#include "store/snapshot.h"

#define ALL_OPS (RINGTAIL_OPS_PUT | RINGTAIL_OPS_DELETE | RINGTAIL_OPS_MESSAGE)

static int compare(struct rt_bytes a, struct rt_bytes b)
{
	return rt_key_compare(a.at, a.len, b.at, b.len);
}

static int compare_keys(const void *a, const void *b)
{
	return compare(*(const struct rt_bytes *)a, *(const struct rt_bytes *)b);
}

static bool begins_with(struct rt_bytes key, struct rt_bytes prefix)
{
	return key.len >= prefix.len && memcmp(key.at, prefix.at, prefix.len) == 0;
}

static int check(const struct ringtail_filter *f, size_t index, struct rt_fault *fault)
{
	struct rt_bytes a = { f->a, f->a_len };
	struct rt_bytes b = { f->b, f->b_len };

	if (f->kind < RINGTAIL_FILTER_KEY || f->kind > RINGTAIL_FILTER_RANGE ||
	    f->reserved) {
		rt_fault_set(fault, "filter %zu: unknown kind %u", index, f->kind);
		return -EINVAL;
	}
	if ((!f->a && f->a_len) || (!f->b && f->b_len)) {
		rt_fault_set(fault, "filter %zu: a length without bytes", index);
		return -EINVAL;
	}
	if (f->kind != RINGTAIL_FILTER_RANGE && (f->b || f->b_len)) {
		rt_fault_set(fault, "filter %zu: only a range has an upper end", index);
		return -EINVAL;
	}
	if (f->kind == RINGTAIL_FILTER_KEY && !f->a_len) {
		rt_fault_set(fault, "filter %zu: no feed has an empty key", index);
		return -EINVAL;
	}
	if (f->kind == RINGTAIL_FILTER_RANGE && f->b_len &&
	    (f->a_len ? compare(a, b) >= 0 : false)) {
		rt_fault_set(
			fault,
			"filter %zu: an empty range: its lower end is not below its "
			"upper end",
			index);
		return -EINVAL;
	}
	return 0;
}

static struct rt_bytes keep(uint8_t **memory, const void *from, size_t len)
{
	struct rt_bytes kept = { *memory, len };

	if (len)
		memcpy(*memory, from, len);
	*memory += len;
	return kept;
}

/* A filter that fixes the key up to its first '/' knows its topic. */
static uint32_t topics_of(const struct ringtail_filter *f)
{
	if (f->kind == RINGTAIL_FILTER_RANGE)
		return 1u << RT_TOPIC_ANY;
	if (f->kind == RINGTAIL_FILTER_PREFIX &&
	    (!f->a_len || !memchr(f->a, '/', f->a_len)))
		return 1u << RT_TOPIC_ANY;
	return 1u << rt_topic(f->a, f->a_len);
}

static void take(struct rt_filters *ret, const struct ringtail_filter *f,
		 uint8_t **memory)
{
	struct rt_bytes a = keep(memory, f->a, f->a_len);

	switch (f->kind) {
	case RINGTAIL_FILTER_KEY:
		ret->keys[ret->n_keys++] = a;
		break;
	case RINGTAIL_FILTER_PREFIX:
		ret->prefixes[ret->n_prefixes++] = a;
		ret->any_key |= !a.len;
		break;
	default:
		ret->ranges[ret->n_ranges++] = (struct rt_range){
			a,
			f->b_len ? keep(memory, f->b, f->b_len)
				 : (struct rt_bytes){ 0 },
		};
		break;
	}
	ret->topics |= topics_of(f);
}

int rt_filters_init(const struct ringtail_filter *filters, size_t n, uint32_t ops,
		    struct rt_fault *fault, struct rt_filters *ret)
{
	AUTO(rt_filters_fini) struct rt_filters made = { .ops = ops ? ops : ALL_OPS };
	size_t bytes = 1;

	if (ops & ~ALL_OPS) {
		rt_fault_set(fault, "unknown operations %#x in ops", ops & ~ALL_OPS);
		return -EINVAL;
	}
	if (n && !filters) {
		rt_fault_set(fault, "n_filters is %zu, but filters is NULL", n);
		return -EINVAL;
	}
	if (n > RT_FILTERS_MAX) {
		rt_fault_set(fault, "%zu filters; %u at most", n, RT_FILTERS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		int r = check(&filters[i], i, fault);

		if (r < 0)
			return r;
		bytes += filters[i].a_len + filters[i].b_len;
	}
	if (!n) {
		made.any_key = true;
		made.topics = 1u << RT_TOPIC_ANY;
	} else {
		made.keys = calloc(n, sizeof(*made.keys));
		made.prefixes = calloc(n, sizeof(*made.prefixes));
		made.ranges = calloc(n, sizeof(*made.ranges));
		made.memory = malloc(bytes);
		if (!made.keys || !made.prefixes || !made.ranges || !made.memory)
			return -ENOMEM;
	}

	uint8_t *memory = made.memory;

	for (size_t i = 0; i < n; i++)
		take(&made, &filters[i], &memory);
	if (made.n_keys)
		qsort(made.keys, made.n_keys, sizeof(*made.keys), compare_keys);
	made.topics = rt_sleep_topics(made.topics);
	made.all = made.any_key && made.ops == ALL_OPS;
	*ret = made;
	made = (struct rt_filters){ 0 };
	return 0;
}

void rt_filters_fini(struct rt_filters *filters)
{
	free(filters->keys);
	free(filters->prefixes);
	free(filters->ranges);
	free(filters->memory);
	*filters = (struct rt_filters){ 0 };
}

static bool in_range(struct rt_bytes key, const struct rt_range *range)
{
	if (range->from.len && compare(key, range->from) < 0)
		return false;
	return !range->to.at || compare(key, range->to) < 0;
}

bool rt_filters_match(const struct rt_filters *filters, uint8_t op, const uint8_t *key,
		      size_t len)
{
	struct rt_bytes k = { key, len };

	if (!(filters->ops & 1u << (op - 1)))
		return false;
	if (filters->any_key)
		return true;
	for (size_t i = 0; i < filters->n_prefixes; i++) {
		if (begins_with(k, filters->prefixes[i]))
			return true;
	}
	for (size_t i = 0; i < filters->n_ranges; i++) {
		if (in_range(k, &filters->ranges[i]))
			return true;
	}
	return filters->n_keys && bsearch(&k, filters->keys, filters->n_keys,
					  sizeof(*filters->keys), compare_keys);
}

/* The lower of two bounds that are above @key; @found: is there one already? */
static bool lower(struct rt_bytes key, struct rt_bytes bound, bool found,
		  struct rt_bytes *ret)
{
	if (key.len && compare(bound, key) <= 0)
		return found;
	if (!found || compare(bound, *ret) < 0)
		*ret = bound;
	return true;
}

bool rt_filters_next(const struct rt_filters *filters, const uint8_t *key, size_t len,
		     struct rt_bytes *ret)
{
	struct rt_bytes k = { key, len };
	bool found = false;

	for (size_t i = 0; i < filters->n_prefixes; i++)
		found = lower(k, filters->prefixes[i], found, ret);
	for (size_t i = 0; i < filters->n_ranges; i++)
		found = lower(k, filters->ranges[i].from, found, ret);
	/* Keys are sorted: the first above it is the lowest. */
	for (size_t i = 0; i < filters->n_keys; i++) {
		if (len && compare(filters->keys[i], k) <= 0)
			continue;
		return lower(k, filters->keys[i], found, ret);
	}
	return found;
}
