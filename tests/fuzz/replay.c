/* SPDX-License-Identifier: MIT */
/*
 * replay.c - runs a fuzz target once on each stored input
 *
 * Stands in for libFuzzer's main() where there is none, and takes the same
 * arguments: files and folders of inputs; options are ignored.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;

/* Of just the file's size: a sanitizer sees each byte too many. */
static void run_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);

	if (!file || !data || fread(data, 1, size, file) != size) {
		(void)fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	(void)fprintf(stderr, "%s\n", path); /* the last one seen is the guilty one */
	(void)LLVMFuzzerTestOneInput(data, size);
	n_inputs++;
	free(data);
	(void)fclose(file);
}

static void run_path(const char *path)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (stat(path, &st) < 0) {
		(void)fprintf(stderr, "cannot look at %s\n", path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return;
	}
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char child[4096];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		run_path(child);
	}
	if (dir)
		(void)closedir(dir);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (argv[i][0] != '-')
			run_path(argv[i]);
	(void)printf("%u inputs\n", n_inputs);
	return n_inputs ? 0 : 1;
}
