/* SPDX-License-Identifier: MIT */
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shm/order.h"

/* Mapping a larger file does not touch all its pages at once. */
#define POPULATE_MAX (UINT64_C(256) << 20)

uint64_t rt_now_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0; /* only for a clock that does not exist */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t rt_random64(void)
{
	uint64_t value = 0;

	while (!value) {
		if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
			value = rt_now_ns(CLOCK_REALTIME) * 0x9e3779b97f4a7c15u ^
				(uint64_t)getpid();
	}
	return value;
}

int rt_make_folders(const char *path)
{
	char part[PATH_MAX];
	int n = snprintf(part, sizeof(part), "%s", path);

	if (n < 0 || (size_t)n >= sizeof(part))
		return -ENAMETOOLONG;
	for (char *at = strchr(part + 1, '/'); n && at; at = strchr(at + 1, '/')) {
		*at = 0;
		/* One that is there may be nobody's to write to: the next says so. */
		if (mkdir(part, 0755) < 0 && errno != EEXIST && errno != EROFS &&
		    errno != EACCES)
			return -errno;
		*at = '/';
	}
	return mkdir(part, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

bool rt_name_valid(const char *name)
{
	size_t len = strnlen(name, RT_NAME_MAX + 1);

	if (!len || len > RT_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789._-") == len;
}

uint64_t rt_holds_events(uint32_t n_slots)
{
	return n_slots - n_slots / RT_STEPS;
}

uint64_t rt_holds_bytes(uint64_t payload_size)
{
	return payload_size - payload_size / RT_STEPS;
}

static uint64_t txn_bytes_of(uint64_t payload_size)
{
	return payload_size / RT_TXN_SHARE;
}

int rt_config_check(const struct rt_ring_config *config, struct rt_fault *fault)
{
	if (!config->name || !rt_name_valid(config->name)) {
		rt_fault_set(
			fault,
			"invalid feed name '%.80s': 1 to %u of A-Z a-z 0-9 . _ -, and "
			"no '.' or '-' in front",
			config->name ? config->name : "", RT_NAME_MAX);
		return -EINVAL;
	}
	if (!rt_is_pow2(config->n_slots) || config->n_slots < RT_SLOTS_MIN ||
	    config->n_slots > RT_SLOTS_MAX) {
		rt_fault_set(fault,
			     "feed '%s': slots=%" PRIu32
			     " is invalid: a power of two from "
			     "%u to %u",
			     config->name, config->n_slots, RT_SLOTS_MIN, RT_SLOTS_MAX);
		return -EINVAL;
	}
	if (!rt_is_pow2(config->payload_size) ||
	    config->payload_size < RT_PAYLOAD_MIN ||
	    config->payload_size > RT_PAYLOAD_MAX) {
		rt_fault_set(fault,
			     "feed '%s': payload=%" PRIu64
			     " is invalid: a power of two "
			     "from %u to %" PRIu64 " bytes",
			     config->name, config->payload_size, RT_PAYLOAD_MIN,
			     RT_PAYLOAD_MAX);
		return -EINVAL;
	}
	uint64_t limit = txn_bytes_of(config->payload_size);

	if (config->max_key < 1 || config->max_key > rt_min(RT_KEY_MAX, limit)) {
		rt_fault_set(fault,
			     "feed '%s': max_key=%" PRIu32 " is invalid: 1 to %" PRIu64
			     " bytes, a quarter of the payload at most",
			     config->name, config->max_key, rt_min(RT_KEY_MAX, limit));
		return -EINVAL;
	}
	if (config->max_value > limit) {
		rt_fault_set(fault,
			     "feed '%s': max_value=%" PRIu32 " is invalid: %" PRIu64
			     " bytes at most, a quarter of the payload",
			     config->name, config->max_value, limit);
		return -EINVAL;
	}
	if (config->wake_mode > RT_WAKE_ALWAYS) {
		rt_fault_set(fault, "feed '%s': unknown wake mode %" PRIu32,
			     config->name, config->wake_mode);
		return -EINVAL;
	}
	return 0;
}

static uint64_t header_sum(const struct rt_header *header)
{
	const uint8_t *bytes = (const uint8_t *)header;

	return XXH64(bytes + sizeof(header->magic),
		     offsetof(struct rt_header, check) - sizeof(header->magic),
		     RT_MAGIC);
}

static uint64_t payload_offset_of(uint64_t n_slots)
{
	return rt_round_up(2 * RT_PAGE + n_slots * sizeof(struct rt_slot), RT_PAGE);
}

static int corrupt(struct rt_fault *fault, const char *what, const char *member,
		   uint64_t offset, uint64_t found, uint64_t expected)
{
	rt_fault_set(fault,
		     "%s: damaged at byte %" PRIu64 ": %s is %" PRIu64
		     ", expected %" PRIu64,
		     what, offset, member, found, expected);
	return RT_E_CORRUPT;
}

static int check_identity(const struct rt_header *h, const char *what,
			  struct rt_fault *fault)
{
	uint64_t magic = rt_own64(&h->magic);

	if (magic == __builtin_bswap64(RT_MAGIC)) {
		rt_fault_set(fault, "%s: made on a machine of the other byte order",
			     what);
		return RT_E_VERSION;
	}
	if (magic != RT_MAGIC) {
		rt_fault_set(fault,
			     "%s: not a ring: its first 8 bytes are %016" PRIx64
			     ", expected %016" PRIx64,
			     what, magic, RT_MAGIC);
		return RT_E_CORRUPT;
	}
	if (h->format != RT_FORMAT) {
		rt_fault_set(fault,
			     "%s: ring format %" PRIu32 "; this version knows %u", what,
			     h->format, RT_FORMAT);
		return RT_E_VERSION;
	}
	if (h->incompat) {
		rt_fault_set(fault,
			     "%s: needs features %#" PRIx32 " that this version lacks",
			     what, h->incompat);
		return RT_E_VERSION;
	}
	return 0;
}

#define EXPECT(member, value) \
	do { \
		uint64_t expected_ = (value); \
		if (h->member != expected_) \
			return corrupt(fault, what, #member, \
				       offsetof(struct rt_header, member), h->member, \
				       expected_); \
	} while (0)

static int check_sizes(const struct rt_header *h, uint64_t file_size, const char *what,
		       struct rt_fault *fault)
{
	EXPECT(header_size, sizeof(*h));
	EXPECT(slot_size, sizeof(struct rt_slot));
	EXPECT(hot_offset, RT_PAGE);
	EXPECT(slots_offset, 2 * RT_PAGE);
	if (!rt_is_pow2(h->n_slots) || h->n_slots < RT_SLOTS_MIN ||
	    h->n_slots > RT_SLOTS_MAX)
		return corrupt(fault, what, "n_slots",
			       offsetof(struct rt_header, n_slots), h->n_slots,
			       RT_SLOTS_MIN);
	if (!rt_is_pow2(h->payload_size) || h->payload_size < RT_PAYLOAD_MIN ||
	    h->payload_size > RT_PAYLOAD_MAX)
		return corrupt(fault, what, "payload_size",
			       offsetof(struct rt_header, payload_size),
			       h->payload_size, RT_PAYLOAD_MIN);
	EXPECT(payload_offset, payload_offset_of(h->n_slots));
	EXPECT(file_size, h->payload_offset + h->payload_size);
	if (file_size < h->file_size) {
		rt_fault_set(fault,
			     "%s: truncated: %" PRIu64 " bytes, expected %" PRIu64,
			     what, file_size, h->file_size);
		return RT_E_CORRUPT;
	}
	return 0;
}

static int check_limits(const struct rt_header *h, const char *what,
			struct rt_fault *fault)
{
	uint64_t limit = txn_bytes_of(h->payload_size);

	EXPECT(max_txn_events, h->n_slots / RT_TXN_SHARE);
	EXPECT(max_txn_bytes, limit);
	if (h->max_key < 1 || h->max_key > rt_min(RT_KEY_MAX, limit))
		return corrupt(fault, what, "max_key",
			       offsetof(struct rt_header, max_key), h->max_key,
			       rt_min(RT_KEY_MAX, limit));
	if (h->max_value > limit)
		return corrupt(fault, what, "max_value",
			       offsetof(struct rt_header, max_value), h->max_value,
			       limit);
	if (h->wake_mode > RT_WAKE_ALWAYS)
		return corrupt(fault, what, "wake_mode",
			       offsetof(struct rt_header, wake_mode), h->wake_mode,
			       RT_WAKE_ALWAYS);
	if (!h->epoch || !h->instance || !h->first_seq)
		return corrupt(fault, what, "epoch, instance or first_seq",
			       offsetof(struct rt_header, epoch), 0, 1);
	if (h->name[RT_NAME_MAX] || !rt_name_valid(h->name)) {
		rt_fault_set(fault,
			     "%s: damaged at byte %zu: the feed's name is invalid",
			     what, offsetof(struct rt_header, name));
		return RT_E_CORRUPT;
	}
	return 0;
}

int rt_header_check(const struct rt_header *h, uint64_t file_size, const char *what,
		    struct rt_fault *fault, struct rt_geometry *ret)
{
	int r = check_identity(h, what, fault);

	if (r < 0)
		return r;
	if (h->check != header_sum(h)) {
		rt_fault_set(fault,
			     "%s: damaged: checksum of page 0 is %016" PRIx64
			     ", its content gives %016" PRIx64,
			     what, h->check, header_sum(h));
		return RT_E_CORRUPT;
	}
	r = check_sizes(h, file_size, what, fault);
	if (r < 0)
		return r;
	r = check_limits(h, what, fault);
	if (r < 0)
		return r;

	*ret = (struct rt_geometry){
		.file_size = h->file_size,
		.payload_size = h->payload_size,
		.payload_offset = h->payload_offset,
		.slots_offset = h->slots_offset,
		.max_txn_bytes = h->max_txn_bytes,
		.epoch = h->epoch,
		.instance = h->instance,
		.first_seq = h->first_seq,
		.created_ns = h->created_ns,
		.n_slots = h->n_slots,
		.max_key = h->max_key,
		.max_value = h->max_value,
		.max_txn_events = h->max_txn_events,
		.wake_mode = h->wake_mode,
		.compat = h->compat,
	};
	memcpy(ret->name, h->name, sizeof(ret->name));
	return 0;
}

/* Maps @size bytes of @segment->fd and points into them. */
static int map_parts(struct rt_segment *segment, bool writable)
{
	const struct rt_geometry *geo = &segment->geo;
	int flags = MAP_SHARED | (geo->file_size <= POPULATE_MAX ? MAP_POPULATE : 0);
	uint8_t *base =
		mmap(NULL, geo->file_size, PROT_READ | (writable ? PROT_WRITE : 0),
		     flags, segment->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	segment->base = base;
	segment->hot = (struct rt_hot *)(void *)(base + RT_PAGE);
	segment->slots = (struct rt_slot *)(void *)(base + geo->slots_offset);
	segment->payload = base + geo->payload_offset;
	return 0;
}

int rt_segment_map(int fd, bool writable, const char *what, struct rt_fault *fault,
		   struct rt_segment *ret)
{
	struct rt_segment segment = RT_SEGMENT_NONE;
	struct rt_header header;
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(fd, &st) < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	if (!S_ISREG(st.st_mode)) {
		rt_fault_set(fault, "%s: not a regular file", what);
		return RT_E_CORRUPT;
	}
	n = pread(fd, &header, sizeof(header), 0);
	if (n < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	if ((size_t)n < sizeof(header)) {
		rt_fault_set(fault, "%s: truncated: %zd bytes, a ring begins with %zu",
			     what, n, sizeof(header));
		return RT_E_CORRUPT;
	}
	r = rt_header_check(&header, (uint64_t)st.st_size, what, fault, &segment.geo);
	if (r < 0)
		return r;

	AUTO_CLOSE int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (own < 0) {
		r = -errno;
		rt_fault_set(fault, "%s: %s", what, strerror(-r));
		return r;
	}
	segment.fd = own;
	r = map_parts(&segment, writable);
	if (r < 0) {
		rt_fault_set(fault, "%s: cannot map %" PRIu64 " bytes: %s", what,
			     segment.geo.file_size, strerror(-r));
		return r;
	}
	(void)rt_take_fd(&own);
	*ret = segment;
	return 0;
}

void rt_segment_drop(struct rt_segment *segment)
{
	if (segment->base)
		(void)munmap(segment->base, segment->geo.file_size);
	if (segment->fd >= 0)
		(void)close(segment->fd);
	*segment = RT_SEGMENT_NONE;
}

static int no_space(int fd, const struct rt_ring_config *config, uint64_t size,
		    struct rt_fault *fault)
{
	struct statvfs vfs = { 0 };
	uint64_t available = 0;

	if (fstatvfs(fd, &vfs) == 0)
		available = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	rt_fault_set(fault,
		     "feed '%s': its ring needs %" PRIu64
		     " bytes and the file system has %" PRIu64
		     " left: make the ring smaller (slots, payload), or the file "
		     "system larger (mount -o remount,size=...; for a container: "
		     "--shm-size)",
		     config->name, size, available);
	return RT_E_NO_SPACE;
}

static void fill_header(struct rt_header *h, const struct rt_ring_config *config,
			uint64_t epoch, uint64_t head)
{
	uint64_t limit = txn_bytes_of(config->payload_size);
	uint64_t payload_offset = payload_offset_of(config->n_slots);

	h->format = RT_FORMAT;
	h->header_size = sizeof(*h);
	h->file_size = payload_offset + config->payload_size;
	h->hot_offset = RT_PAGE;
	h->slots_offset = 2 * RT_PAGE;
	h->payload_offset = payload_offset;
	h->payload_size = config->payload_size;
	h->n_slots = config->n_slots;
	h->slot_size = sizeof(struct rt_slot);
	h->max_key = config->max_key;
	h->max_value = config->max_value ? config->max_value
					 : (uint32_t)rt_min(limit, UINT32_MAX);
	h->max_txn_events = config->n_slots / RT_TXN_SHARE;
	h->wake_mode = config->wake_mode;
	h->max_txn_bytes = limit;
	h->epoch = epoch;
	h->instance = rt_random64();
	h->first_seq = head + 1;
	h->created_ns = rt_now_ns(CLOCK_REALTIME);
	memcpy(h->name, config->name, strlen(config->name));
	h->check = header_sum(h);
}

static int set_access(int fd, mode_t mode, uid_t uid, gid_t gid, const char *what,
		      struct rt_fault *fault)
{
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0) {
		int r = -errno;

		rt_fault_set(fault,
			     "feed '%s': cannot give it to user %d, group %d: %s", what,
			     (int)uid, (int)gid, strerror(-r));
		return r;
	}
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

int rt_segment_create(int dir_fd, const char *tmp_name,
		      const struct rt_ring_config *config, uint64_t epoch,
		      uint64_t head, struct rt_fault *fault, struct rt_segment *ret)
{
	struct rt_segment segment = RT_SEGMENT_NONE;
	int r = rt_config_check(config, fault);

	if (r < 0)
		return r;

	uint64_t size = payload_offset_of(config->n_slots) + config->payload_size;

	(void)unlinkat(dir_fd, tmp_name, 0); /* of a writer that died here */

	AUTO_CLOSE int fd =
		openat(dir_fd, tmp_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		r = -errno;
		rt_fault_set(fault, "feed '%s': cannot create its ring: %s",
			     config->name, strerror(-r));
		return r;
	}
	do {
		r = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
	} while (r == -EINTR);
	if (r == -ENOSPC)
		r = no_space(fd, config, size, fault);
	else if (r < 0)
		rt_fault_set(fault,
			     "feed '%s': cannot reserve %" PRIu64
			     " bytes: %s (the folder "
			     "should be on a tmpfs)",
			     config->name, size, strerror(-r));
	if (!r)
		r = set_access(fd, config->mode, config->uid, config->gid, config->name,
			       fault);
	if (!r) {
		segment.fd = fd;
		segment.geo.file_size = size;
		segment.geo.slots_offset = 2 * RT_PAGE;
		segment.geo.payload_offset = size - config->payload_size;
		r = map_parts(&segment, true);
	}
	if (r < 0) {
		(void)unlinkat(dir_fd, tmp_name, 0);
		return r;
	}

	struct rt_header *header = segment.base;

	fill_header(header, config, epoch, head);
	rt_store64(&segment.hot->head, head);
	rt_store64(&segment.hot->floor, head + 1);
	/* Who sees the magic sees everything above. */
	rt_store64(&header->magic, RT_MAGIC);
	r = rt_header_check(header, size, config->name, fault, &segment.geo);
	assert(!r);
	(void)rt_take_fd(&fd);
	*ret = segment;
	return 0;
}
