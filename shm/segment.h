/* SPDX-License-Identifier: MIT */
/*
 * segment.h - the ring file: create, map, check, lock, retire
 *
 * A segment is the file and its mapping.  What is in it belongs to ring.h; this
 * module knows sizes, names, modes and the constant page 0.
 */
#ifndef RINGTAIL_SHM_SEGMENT_H
#define RINGTAIL_SHM_SEGMENT_H

#include <sys/types.h>
#include <time.h>

#include "shm/base.h"
#include "shm/layout.h"

/* Outcomes beside negative errno; the public header has the same numbers. */
enum rt_errors {
	RT_E_MALFORMED = -4096,
	RT_E_EPOCH = -4097,
	RT_E_COMPACTED = -4098,
	RT_E_FUTURE = -4099,
	RT_E_LAPPED = -4100,
	RT_E_CLOSED = -4101,
	RT_E_CANCELED = -4102,
	RT_E_CORRUPT = -4103,
	RT_E_VERSION = -4104,
	RT_E_NO_FEED = -4105,
	RT_E_TOO_BIG = -4106,
	RT_E_BUSY = -4107,
	RT_E_NO_SPACE = -4108,
	RT_E_OVERRUN = -4109,
	RT_E_RETIRED = -4110,
	RT_E_UNSUPPORTED = -4111,
	RT_E_NO_SNAPSHOT = -4112,
};

/*
 * The private copy of page 0, checked once.  Everything computes with this, never
 * with what the segment says later.
 */
struct rt_geometry {
	uint64_t file_size;
	uint64_t payload_size;
	uint64_t payload_offset;
	uint64_t slots_offset;
	uint64_t max_txn_bytes;
	uint64_t epoch;
	uint64_t instance;
	uint64_t first_seq;
	uint64_t created_ns;
	uint32_t n_slots;
	uint32_t max_key;
	uint32_t max_value;
	uint32_t max_txn_events;
	uint32_t wake_mode;
	uint32_t compat;
	char name[RT_NAME_MAX + 8];
};

struct rt_segment {
	void *base; /* the whole file; NULL when dropped */
	struct rt_hot *hot;
	struct rt_slot *slots;
	uint8_t *payload;
	int fd;
	struct rt_geometry geo;
};

#define RT_SEGMENT_NONE ((struct rt_segment){ .base = NULL, .fd = -1 })

/* What a new ring shall be; sizes and limits as in layout.h. */
struct rt_writer;

struct rt_ring_config {
	const char *name;
	uint32_t n_slots;
	uint64_t payload_size;
	uint32_t max_key;
	uint32_t max_value; /* 0: as much as a transaction may have */
	uint32_t wake_mode; /* enum rt_wake */
	mode_t mode;        /* of the ring file */
	mode_t bell_mode;   /* of the bell file */
	uid_t uid;          /* owner of both; (uid_t)-1: as created */
	gid_t gid;          /* likewise */
	uint64_t epoch;     /* for a feed that begins; 0: a random one */
	uint64_t first_seq; /* likewise; 0: 1 */
	/*
	 * For a ring that would begin empty: puts into it, by the calls of ring.h, what
	 * it should hold before anybody sees it.  Negative: it is not made.
	 */
	int (*fill)(struct rt_writer *writer, void *arg);
	void *fill_arg;
};

/* 1 .. RT_NAME_MAX of A-Z a-z 0-9 . _ - and no '.' or '-' in front. */
bool rt_name_valid(const char *name);

/* Negative: -EINVAL with a text that names the member and its range. */
int rt_config_check(const struct rt_ring_config *config, struct rt_fault *fault);

/* The events that a ring of @n_slots promises to hold: all but a floor step. */
uint64_t rt_holds_events(uint32_t n_slots);
uint64_t rt_holds_bytes(uint64_t payload_size);

/*
 * Makes a complete ring in the file @tmp_name of folder @dir_fd: space reserved,
 * page 0 written, hot words as for a feed whose newest seq is @head.  Not visible
 * under its final name until it is renamed.
 */
int rt_segment_create(int dir_fd, const char *tmp_name,
		      const struct rt_ring_config *config, uint64_t epoch,
		      uint64_t head, struct rt_fault *fault, struct rt_segment *ret);

/*
 * Maps and checks a ring.  @fd is duplicated.  @writable: for the writer.  Errors:
 * RT_E_CORRUPT, RT_E_VERSION with a text that begins with @what, the name shown.
 */
int rt_segment_map(int fd, bool writable, const char *what, struct rt_fault *fault,
		   struct rt_segment *ret);

void rt_segment_drop(struct rt_segment *segment);

/* A pure check of page 0 against the size of its file; for rt_segment_map() and
 * fuzzing. */
int rt_header_check(const struct rt_header *header, uint64_t file_size,
		    const char *what, struct rt_fault *fault, struct rt_geometry *ret);

/* The folder and those above it that are missing, as mkdir -p; 0 if it is there. */
int rt_make_folders(const char *path);

uint64_t rt_random64(void); /* never 0 */
uint64_t rt_now_ns(clockid_t clock);

#endif
