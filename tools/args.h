/* SPDX-License-Identifier: MIT */
/*
 * args.h - the words of the command line
 *
 * Options are long, may stand before and after other words, and take their value
 * as --name VALUE or --name=VALUE.  "--" ends them.  One table for each command
 * serves the parser and the help.  Knows nothing of what options mean.
 */
#ifndef RINGTAIL_TOOLS_ARGS_H
#define RINGTAIL_TOOLS_ARGS_H

#include <stdint.h>
#include <stdio.h>

#include "shm/base.h"

struct rt_option {
	int id;           /* above 0; 0 ends a table */
	const char *name; /* without dashes */
	/* Its value in the help; "A B": takes two words; "[=A]": may be given, by '='
	 * only; NULL: none. */
	const char *arg;
	const char *help; /* lines after the first are indented by the printer */
};

/* Outcomes of rt_args_next() beside the ids of options. */
enum rt_args_outcome {
	RT_ARGS_WORD = 0, /* not an option; in args->value */
	RT_ARGS_END = -1,
	RT_ARGS_BAD = -2, /* args->fault says what */
};

struct rt_args {
	char **words;
	int n_words;
	int at;
	const struct rt_option *common;  /* options of every command */
	const struct rt_option *options; /* of this command; may be NULL */
	bool literal;                    /* after "--" */
	const char *value;               /* NULL: not given */
	const char *value2;              /* of an option that takes two words */
	struct rt_fault fault;
};

/* The next option or word. */
int rt_args_next(struct rt_args *args);

/* Prints a table of options as a column of names and one of help. */
void rt_args_help(FILE *file, const struct rt_option *options);

/*
 * Numbers of the command line.  0, or -EINVAL for anything but the whole text being
 * a number in range.
 */
int rt_parse_u64(const char *text, uint64_t *ret);
int rt_parse_seconds(const char *text, int64_t *ret_ns); /* fraction allowed; >= 0 */

#endif
