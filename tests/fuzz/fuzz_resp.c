/* SPDX-License-Identifier: MIT */
/*
 * fuzz_resp.c - any bytes as requests, in pieces of any size
 *
 * The first byte says how long the pieces are.  Whatever the pieces, the requests
 * must be the same, and lie within the bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command.h"
#include "daemon/resp.h"

#define MAX_QUERY 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Folds what a run gave into a number. */
static void mix(uint64_t *sum, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		*sum = (*sum ^ b[i]) * UINT64_C(0x100000001b3);
}

static void mix_request(uint64_t *sum, const struct rt_resp *resp, const uint8_t *buf,
			size_t used)
{
	if (!resp->n_args)
		abort();
	for (uint32_t i = 0; i < resp->n_args; i++) {
		struct rt_span span = resp->args[i];

		if ((size_t)span.at + span.len > used)
			abort();
		mix(sum, &span.len, sizeof(span.len));
		mix(sum, buf + span.at, span.len);
	}
	(void)rt_command_find(buf + resp->args[0].at, resp->args[0].len);
	if (resp->n_args > 1 && resp->args[0].len < 64)
		(void)rt_glob_match(buf + resp->args[0].at, resp->args[0].len,
				    buf + resp->args[1].at, resp->args[1].len);
}

static uint64_t run(const uint8_t *data, size_t size, size_t piece)
{
	/* Of just this size: a sanitizer sees each byte too many. */
	uint8_t *buf = malloc(size ? size : 1);
	size_t start = 0, have = 0;
	uint64_t sum = 0;
	struct rt_resp resp;
	bool bad = false;

	if (size)
		memcpy(buf, data, size);
	rt_resp_init(&resp, MAX_QUERY);
	while (have < size && !bad) {
		have = size - have > piece ? have + piece : size;
		while (start < have) {
			size_t used = 0;
			enum rt_resp_outcome r =
				rt_resp_parse(&resp, buf + start, have - start, &used);

			if (r == RT_RESP_MORE)
				break;
			bad = r == RT_RESP_BAD;
			if (bad)
				break;
			if (!used || used > have - start)
				abort();
			if (r == RT_RESP_REQUEST)
				mix_request(&sum, &resp, buf + start, used);
			start += used;
		}
	}
	mix(&sum, &bad, sizeof(bad));
	rt_resp_fini(&resp);
	free(buf);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece;

	if (!size)
		return 0;
	piece = data[0] ? data[0] : 1;
	if (run(data + 1, size - 1, piece) != run(data + 1, size - 1, size))
		abort();
	return 0;
}
