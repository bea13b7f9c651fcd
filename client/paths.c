/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "client/reader.h"

static int choose(const char *dir, char *ret, size_t size)
{
	const char *from = dir && *dir ? dir : getenv("RINGTAIL_DIR");
	int n;

	if (from && *from) {
		n = snprintf(ret, size, "%s", from);
	} else if (geteuid() == 0) {
		n = snprintf(ret, size, "/dev/shm/ringtail");
	} else {
		from = getenv("XDG_RUNTIME_DIR");
		if (!from || !*from)
			return -ENOENT;
		n = snprintf(ret, size, "%s/ringtail", from);
	}
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int rt_default_dir(const char *dir, char *ret, size_t size, struct rt_fault *fault)
{
	int r = choose(dir, ret, size);

	if (r == -ENOENT)
		rt_fault_set(fault, "no folder of feeds: set RINGTAIL_DIR, or have "
				    "XDG_RUNTIME_DIR set");
	else if (r < 0)
		rt_fault_set(fault, "the path of the folder of feeds is too long");
	return r;
}
