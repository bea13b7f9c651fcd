/* SPDX-License-Identifier: MIT */
/*
 * out.h - buffered output of bytes, numbers and escaped text
 *
 * Nothing is written before the buffer is full or rt_out_flush() is called.  The
 * first error stays, later output is dropped, and rt_out_flush() returns it: so
 * only flushing needs to be checked.
 */
#ifndef RINGTAIL_TOOLS_OUT_H
#define RINGTAIL_TOOLS_OUT_H

#include "shm/base.h"

#define RT_OUT_SIZE (128u * 1024)

struct rt_out {
	int fd;
	int error; /* negative errno of the first failed write; 0 */
	size_t len;
	char buf[RT_OUT_SIZE];
};

void rt_out_init(struct rt_out *out, int fd);

/* Writes what is buffered.  0, or the negative errno that stopped this output. */
int rt_out_flush(struct rt_out *out);

void rt_out_bytes(struct rt_out *out, const void *bytes, size_t len);
void rt_out_text(struct rt_out *out, const char *text);
void rt_out_u64(struct rt_out *out, uint64_t value);
__attribute__((format(printf, 2, 3))) void rt_out_format(struct rt_out *out,
							 const char *format, ...);

/* A JSON string with its quotes; @bytes must be UTF-8. */
void rt_out_json_string(struct rt_out *out, const void *bytes, size_t len);

/* "NAME":"..." or, if @bytes are not UTF-8, "NAME_b64":"..." in base64. */
void rt_out_json_member(struct rt_out *out, const char *name, const void *bytes,
			size_t len);

/*
 * For people: UTF-8 as it is, but control characters and bytes that are no text as
 * \n, \t, \\ or \xNN, so that no value can drive the terminal.
 */
void rt_out_escaped(struct rt_out *out, const void *bytes, size_t len);

#endif
