/* SPDX-License-Identifier: MIT */
/*
 * The embedded writer: the ring's writer behind the public interface.
 */
#include <errno.h>
#include <limits.h>

#include "client/reader.h"

#define DEFAULT_SLOTS     65536u
#define DEFAULT_PAYLOAD   (UINT64_C(8) << 20)
#define DEFAULT_MAX_KEY   1024u
#define DEFAULT_MODE      0640u
#define DEFAULT_BELL_MODE 0600u
#define DEFAULT_BEAT_MS   1000u

/* What the public header numbers and what the ring numbers are the same. */
static_assert((int)RINGTAIL_PUT == RT_OP_PUT && (int)RINGTAIL_DELETE == RT_OP_DELETE &&
		      (int)RINGTAIL_MESSAGE == RT_OP_MESSAGE &&
		      RINGTAIL_CREATED == RT_EVENT_CREATED &&
		      RINGTAIL_EXPIRED == RT_EVENT_EXPIRED &&
		      (int)RINGTAIL_WAKE_ALWAYS == RT_WAKE_ALWAYS &&
		      (int)RINGTAIL_LIVE == RT_LIVE &&
		      (int)RINGTAIL_CLOSED == RT_CLOSED &&
		      (int)RINGTAIL_E_MALFORMED == RT_E_MALFORMED &&
		      (int)RINGTAIL_E_UNSUPPORTED == RT_E_UNSUPPORTED &&
		      RINGTAIL_MARKER_SIZE == RT_MARKER_LEN + 1 &&
		      RINGTAIL_NAME_MAX == RT_NAME_MAX,
	      "ringtail.h and shm/ agree");

/* The public type is the ring's writer and nothing more, so that a call costs no hop.
 */
static struct rt_writer *ring_of(struct ringtail_writer *writer)
{
	return (struct rt_writer *)(void *)writer;
}

static const struct rt_writer *const_ring_of(const struct ringtail_writer *writer)
{
	return (const struct rt_writer *)(const void *)writer;
}

static int check_options(const struct ringtail_writer_options *o)
{
	const char *what = NULL;

	if (o->size != sizeof(*o))
		what = "size is not that of this version's struct; begin with "
		       "RINGTAIL_WRITER_OPTIONS_INIT";
	else if (o->flags & ~RINGTAIL_WRITER_NEW_EPOCH || o->reserved)
		what = "unknown flags";
	else if (o->mode & ~0777u || o->bell_mode & ~0777u)
		what = "mode and bell_mode are permission bits, 0777 at most";
	else if (o->clock > RINGTAIL_CLOCK_PRECISE)
		what = "unknown clock";
	else
		return 0;
	rt_fault_set(rt_open_fault(), "invalid options: %s", what);
	return -EINVAL;
}

int ringtail_writer_open(const char *feed,
			 const struct ringtail_writer_options *options,
			 struct ringtail_writer **ret)
{
	static const struct ringtail_writer_options defaults =
		RINGTAIL_WRITER_OPTIONS_INIT;
	const struct ringtail_writer_options *o = options ? options : &defaults;
	struct rt_fault *fault = rt_open_fault();
	char dir[PATH_MAX];
	struct rt_writer *w;
	int e = check_options(o);

	if (e < 0)
		return e;
	e = rt_default_dir(o->dir, dir, sizeof(dir), fault);
	if (e < 0)
		return e;

	const struct rt_ring_config config = {
		.name = feed,
		.n_slots = o->n_slots ? o->n_slots : DEFAULT_SLOTS,
		.payload_size = o->payload_size ? o->payload_size : DEFAULT_PAYLOAD,
		.max_key = o->max_key ? o->max_key : DEFAULT_MAX_KEY,
		.max_value = o->max_value,
		.wake_mode = o->wake_mode,
		.mode = o->mode ? o->mode : DEFAULT_MODE,
		.bell_mode = o->bell_mode ? o->bell_mode : DEFAULT_BELL_MODE,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	unsigned flags =
		(o->flags & RINGTAIL_WRITER_NEW_EPOCH ? RT_WRITER_NEW_EPOCH : 0) |
		(o->clock == RINGTAIL_CLOCK_PRECISE ? RT_WRITER_PRECISE : 0);

	e = rt_writer_open(dir, &config, flags,
			   (o->beat_ms ? o->beat_ms : DEFAULT_BEAT_MS) *
				   UINT64_C(1000000),
			   fault, &w);
	if (e < 0)
		return e;
	*ret = (struct ringtail_writer *)(void *)w;
	return 0;
}

void ringtail_writer_close(struct ringtail_writer *writer)
{
	rt_writer_close(ring_of(writer));
}

int ringtail_put(struct ringtail_writer *writer, const void *key, size_t key_len,
		 const void *value, size_t value_len, uint32_t flags)
{
	if (RT_UNLIKELY(flags & ~RINGTAIL_CREATED || (!value && value_len)))
		return -EINVAL;
	return rt_writer_one_kind(ring_of(writer), rt_kind(RT_OP_PUT, (uint8_t)flags),
				  key, key_len, value, value_len);
}

int ringtail_delete(struct ringtail_writer *writer, const void *key, size_t key_len,
		    uint32_t flags)
{
	if (flags & ~RINGTAIL_EXPIRED)
		return -EINVAL;
	return rt_writer_one(ring_of(writer), RT_OP_DELETE, (uint8_t)flags, key,
			     key_len, NULL, 0);
}

int ringtail_message(struct ringtail_writer *writer, const void *key, size_t key_len,
		     const void *value, size_t value_len)
{
	if (!value && value_len)
		return -EINVAL;
	return rt_writer_one(ring_of(writer), RT_OP_MESSAGE, 0, key, key_len, value,
			     value_len);
}

int ringtail_begin(struct ringtail_writer *writer)
{
	struct rt_writer *w = ring_of(writer);

	if (w->in_txn)
		return -EINVAL;
	rt_writer_begin(w);
	return 0;
}

/* Which flags go with which operation. */
static bool is_valid_kind(uint32_t op, uint32_t flags)
{
	switch (op) {
	case RINGTAIL_PUT:
		return !(flags & ~RINGTAIL_CREATED);
	case RINGTAIL_DELETE:
		return !(flags & ~RINGTAIL_EXPIRED);
	case RINGTAIL_MESSAGE:
		return !flags;
	default:
		return false;
	}
}

int ringtail_add(struct ringtail_writer *writer, uint32_t op, const void *key,
		 size_t key_len, const void *value, size_t value_len, uint32_t flags)
{
	struct rt_writer *w = ring_of(writer);

	if (!w->in_txn || !is_valid_kind(op, flags) || (!value && value_len))
		return -EINVAL;
	return rt_writer_add(w, (uint8_t)op, (uint8_t)flags, key, key_len, value,
			     value_len);
}

int ringtail_claim(struct ringtail_writer *writer, const void *key, size_t key_len,
		   size_t value_len, uint32_t flags, void **ret)
{
	struct rt_writer *w = ring_of(writer);

	if (!w->in_txn || !is_valid_kind(RINGTAIL_PUT, flags))
		return -EINVAL;
	return rt_writer_claim(w, (uint8_t)flags, key, key_len, value_len, ret);
}

int ringtail_commit(struct ringtail_writer *writer)
{
	struct rt_writer *w = ring_of(writer);

	if (!w->in_txn)
		return -EINVAL;
	rt_writer_commit(w);
	return 0;
}

void ringtail_abort(struct ringtail_writer *writer)
{
	rt_writer_abort(ring_of(writer));
}

void ringtail_writer_set_time(struct ringtail_writer *writer, uint64_t time_ns)
{
	rt_writer_set_time(ring_of(writer), time_ns);
}

uint64_t ringtail_writer_seq(const struct ringtail_writer *writer)
{
	return rt_writer_head(const_ring_of(writer));
}

uint64_t ringtail_writer_epoch(const struct ringtail_writer *writer)
{
	return const_ring_of(writer)->segment.geo.epoch;
}
