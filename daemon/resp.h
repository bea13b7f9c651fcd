/* SPDX-License-Identifier: MIT */
/*
 * resp.h - requests of the Redis protocol, taken apart where they lie
 *
 * Both forms that clients send:
 *
 *	*2\r\n$3\r\nGET\r\n$4\r\nuser\r\n	an array of counted strings
 *	GET user\r\n				a line, with "quotes" and 'quotes'
 *
 * The parser copies nothing: arguments are spans of the caller's bytes.  It stops
 * anywhere in a request and goes on there when more has come, so the time that a
 * request takes is linear in its length however it arrives.  Pure; knows no
 * commands.  Any bytes lead to an outcome below, never beyond @len.
 */
#ifndef RINGTAIL_DAEMON_RESP_H
#define RINGTAIL_DAEMON_RESP_H

#include "shm/base.h"

#define RT_RESP_INLINE_MAX 65536u     /* bytes of a line, as Redis has it */
#define RT_RESP_ARGS_MAX   (1u << 20) /* arguments of a request, likewise */
#define RT_RESP_ARGS_HELD  8u         /* arguments that need no allocation */

/* Outcomes of rt_resp_parse(). */
enum rt_resp_outcome {
	RT_RESP_MORE = 0,    /* incomplete: call again with the same bytes and more */
	RT_RESP_REQUEST = 1, /* a request of n_args arguments, at least one */
	RT_RESP_EMPTY = 2,   /* an empty line or array: asks nothing, gets no reply */
	RT_RESP_BAD = 3,     /* not the protocol, or over a limit: `error` says what */
};

struct rt_span {
	uint32_t at; /* bytes from the start of the request */
	uint32_t len;
};

struct rt_resp {
	struct rt_span *args; /* `held`, or memory of its own */
	uint32_t n_args;
	uint32_t cap_args;
	uint32_t n_wanted;  /* arguments of an array request; 0 before its first line */
	uint32_t at;        /* everything before it is understood */
	int64_t bulk_len;   /* of the argument being read; -1 before its first line */
	uint32_t max_query; /* bytes of one request */
	bool done;          /* the next call begins a new request */
	struct rt_span held[RT_RESP_ARGS_HELD];
	char error[96];
};

/* @max_query at most UINT32_MAX / 2. */
void rt_resp_init(struct rt_resp *resp, uint32_t max_query);
void rt_resp_fini(struct rt_resp *resp);

/*
 * Goes on with the request that starts at @buf.  *@ret_used is set with REQUEST
 * and EMPTY: the bytes of @buf that it took.  A line is unquoted in place.
 */
enum rt_resp_outcome rt_resp_parse(struct rt_resp *resp, uint8_t *buf, size_t len,
				   size_t *ret_used);

/* A whole number as Redis reads it: no blanks, no plus, no leading zeros. */
bool rt_parse_int(const uint8_t *text, size_t len, int64_t *ret);

#endif
