/* SPDX-License-Identifier: MIT */
/*
 * cursor.h - a marker in a file, so that the next run goes on where this one ended
 */
#ifndef RINGTAIL_TOOLS_CURSOR_H
#define RINGTAIL_TOOLS_CURSOR_H

#include <ringtail.h>

#include "shm/base.h"

/*
 * Returns 1 and the marker; 0 if the file is missing or empty; a negative error with
 * a text that names the file.
 */
int rt_cursor_load(const char *path, char ret[RINGTAIL_MARKER_SIZE],
		   struct rt_fault *fault);

/*
 * Puts @marker in place of what the file had: whoever reads it, at whatever moment,
 * finds the old or the new one.  Survives the death of every process; the disk is
 * not waited for.  0, or a negative errno with a text.
 */
int rt_cursor_store(const char *path, const char *marker, struct rt_fault *fault);

#endif
