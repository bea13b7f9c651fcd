/* SPDX-License-Identifier: MIT */
#include "tools/args.h"

#include <errno.h>

static const struct rt_option *find(const struct rt_option *table, const char *name,
				    size_t len)
{
	if (!table)
		return NULL;
	for (; table->id; table++)
		if (strlen(table->name) == len && !memcmp(table->name, name, len))
			return table;
	return NULL;
}

static const struct rt_option *lookup(const struct rt_args *args, const char *name,
				      size_t len)
{
	const struct rt_option *option = find(args->options, name, len);

	return option ? option : find(args->common, name, len);
}

static int next_word(struct rt_args *args, const struct rt_option *option,
		     const char **ret)
{
	if (args->at >= args->n_words) {
		rt_fault_set(&args->fault, "--%s needs %s", option->name, option->arg);
		return RT_ARGS_BAD;
	}
	*ret = args->words[args->at++];
	return 0;
}

static int take_values(struct rt_args *args, const struct rt_option *option,
		       const char *inlined)
{
	args->value = inlined;
	args->value2 = NULL;
	if (!option->arg) {
		if (!inlined)
			return option->id;
		rt_fault_set(&args->fault, "--%s takes no value", option->name);
		return RT_ARGS_BAD;
	}
	if (option->arg[0] == '[')
		return option->id;
	if (!inlined && next_word(args, option, &args->value) < 0)
		return RT_ARGS_BAD;
	if (strchr(option->arg, ' ') && next_word(args, option, &args->value2) < 0)
		return RT_ARGS_BAD;
	return option->id;
}

static int parse_option(struct rt_args *args, const char *word)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	const size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct rt_option *option;

	if (!strcmp(word, "-h"))
		option = lookup(args, "help", 4);
	else
		option = word[1] == '-' ? lookup(args, name, len) : NULL;
	if (!option) {
		rt_fault_set(&args->fault,
			     word[1] == '-' ? "unknown option '%s'"
					    : "unknown option '%s' (write -- before "
					      "words that begin with '-')",
			     word);
		return RT_ARGS_BAD;
	}
	return take_values(args, option, equals ? equals + 1 : NULL);
}

int rt_args_next(struct rt_args *args)
{
	if (args->at >= args->n_words)
		return RT_ARGS_END;

	char *word = args->words[args->at++];

	if (!args->literal && !strcmp(word, "--")) {
		args->literal = true;
		return rt_args_next(args);
	}
	if (args->literal || word[0] != '-' || !word[1]) {
		args->value = word;
		return RT_ARGS_WORD;
	}
	return parse_option(args, word);
}

static void help_line(FILE *file, const char *left, const char *help)
{
	const char *end = strchrnul(help, '\n');

	(void)fprintf(file, "  %-24s%s%.*s\n", left, strlen(left) < 24 ? "" : " ",
		      (int)(end - help), help);
	if (*end)
		help_line(file, "", end + 1);
}

void rt_args_help(FILE *file, const struct rt_option *options)
{
	for (; options->id; options++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "--%s%s%s", options->name,
			       options->arg && options->arg[0] != '[' ? " " : "",
			       options->arg ? options->arg : "");
		help_line(file, left, options->help);
	}
}

int rt_parse_u64(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

int rt_parse_seconds(const char *text, int64_t *ret_ns)
{
	uint64_t ns = 0, unit = UINT64_C(1000000000);
	const char *point = strchrnul(text, '.');
	char whole[24];

	if ((size_t)(point - text) >= sizeof(whole) || (point == text && !point[0]) ||
	    (point == text && !point[1]))
		return -EINVAL;
	memcpy(whole, text, (size_t)(point - text));
	whole[point - text] = '\0';
	if (point != text && rt_parse_u64(whole, &ns) < 0)
		return -EINVAL;
	if (ns > INT64_MAX / unit - 1)
		return -EINVAL;
	ns *= unit;
	for (const char *digit = *point ? point + 1 : point; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return -EINVAL;
		unit /= 10;
		ns += unit * (uint64_t)(*digit - '0');
	}
	*ret_ns = (int64_t)ns;
	return 0;
}
