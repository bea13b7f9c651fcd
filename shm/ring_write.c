/* SPDX-License-Identifier: MIT */
/*
 * Who stores what in which order is drawn in ring.h; the numbers in the comments
 * here are the steps there.
 */
#include "shm/ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "slots are packed by shifts; see layout.h");

/* Bytes of payload that an event takes; @rest_len: value and previous value. */
RT_INLINE uint32_t payload_of(size_t key_len, size_t rest_len)
{
	size_t total = key_len + rest_len;

	if (RT_LIKELY(key_len <= RT_INLINE_MAX))
		total = total <= RT_INLINE_MAX ? 0 : rest_len;
	return (uint32_t)rt_round_up(total, RT_WORD);
}

RT_INLINE struct rt_slot *slot_of(const struct rt_writer *w, uint64_t seq)
{
	return &w->slots[seq & w->slot_mask];
}

RT_INLINE void store_word(struct rt_slot *slot, unsigned index, uint64_t value)
{
	rt_store64((_Atomic uint64_t *)(void *)slot + index, value);
}

/*
 * ---- Making room (step 1) ----
 */

/* Payload position of event @seq, as a full 64-bit count. */
static uint64_t pos_of(const struct rt_writer *w, uint64_t seq)
{
	uint32_t back = (uint32_t)(w->pos / RT_WORD) - slot_of(w, seq)->pos;

	return w->pos - (uint64_t)back * RT_WORD;
}

/* First seq in [low, high] whose payload lies at or above @pos. */
static uint64_t seq_at_pos(const struct rt_writer *w, uint64_t low, uint64_t high,
			   uint64_t pos)
{
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (pos_of(w, middle) >= pos)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static uint64_t align_up(const struct rt_writer *w, uint64_t seq, uint64_t end)
{
	if (seq >= end)
		return end;

	const struct rt_slot *slot = slot_of(w, seq);

	return slot->txn_index ? seq - slot->txn_index + slot->txn_size : seq;
}

/* Where the payload of what is held begins. */
static uint64_t held_pos(const struct rt_writer *w)
{
	uint64_t end = w->in_txn ? w->txn_first : w->next;

	if (w->floor == end)
		return w->in_txn ? w->txn_pos : w->pos;
	return pos_of(w, w->floor);
}

/* What may be reached before the floor has to move, or sleepers to look, again. */
static void set_limits(struct rt_writer *w)
{
	w->next_max = rt_min(w->floor + w->slot_mask, w->quarter_seq);
	w->pos_max = rt_min(held_pos(w) + w->payload_mask + 1, w->quarter_pos);
}

/*
 * Sleepers of every topic look up once in a quarter of the ring, or those of a
 * quiet topic would be lapped asleep by topics that are not theirs.
 */
static void wake_each_quarter(struct rt_writer *w, uint64_t pos_end)
{
	uint32_t all = UINT32_MAX;

	if (w->next <= w->quarter_seq && pos_end <= w->quarter_pos)
		return;
	w->quarter_seq = w->next + (w->slot_mask + 1) / RT_TXN_SHARE;
	w->quarter_pos = pos_end + (w->payload_mask + 1) / RT_TXN_SHARE;
	if (w->sweep) {
		rt_keeper_note(w->keeper, all);
		return;
	}
	if (w->bell && !w->always)
		all = rt_load32(&w->bell->bits);
	if (all)
		rt_keeper_wake(w->keeper, all);
}

/*
 * Moves the floor so that the next event fits, and a step further, so that the
 * line readers check is rarely stored to.  Step 1; a successor that finds the floor
 * ahead of what was overwritten has only lost that step.
 */
static RT_COLD void move_floor(struct rt_writer *w, uint64_t pos_end)
{
	uint64_t n_slots = w->slot_mask + 1;
	uint64_t payload_size = w->payload_mask + 1;
	uint64_t end = w->in_txn ? w->txn_first : w->next;
	uint64_t floor = w->floor;

	if (w->next > floor + w->slot_mask)
		floor = rt_max(floor, w->next - n_slots + n_slots / RT_STEPS);
	if (pos_end > held_pos(w) + payload_size)
		floor = rt_max(floor, seq_at_pos(w, w->floor, end,
						 pos_end - payload_size +
							 payload_size / RT_STEPS));
	floor = align_up(w, rt_min(floor, end), end);
	if (floor != w->floor) {
		w->floor = floor;
		rt_store64(&w->hot->floor, floor);
	}
	wake_each_quarter(w, pos_end);
	set_limits(w);
	assert(w->next <= w->next_max && pos_end <= w->pos_max);
}

uint64_t rt_writer_forget(struct rt_writer *w, uint64_t seq)
{
	assert(!w->in_txn);
	if (seq <= w->floor)
		return w->floor;
	seq = rt_min(seq, w->next);
	if (seq < w->next)
		seq -= slot_of(w, seq)->txn_index; /* the floor is at such a one, too */
	if (seq > w->floor) {
		w->floor = seq;
		rt_store64(&w->hot->floor, seq);
		set_limits(w);
	}
	return w->floor;
}

/* Where the payload of the next event goes: contiguous, so maybe at the start again. */
RT_INLINE uint64_t reserve(struct rt_writer *w, uint32_t need)
{
	uint64_t pos = w->pos;

	if (RT_UNLIKELY((pos & w->payload_mask) + need > w->payload_mask + 1))
		pos = rt_round_up(pos, w->payload_mask + 1);
	if (RT_UNLIKELY(w->next > w->next_max || pos + need > w->pos_max))
		move_floor(w, pos + need);
	return pos;
}

/*
 * ---- Waking (step 6) ----
 */

static uint32_t topics_of(const struct rt_writer *w, uint64_t first, uint64_t last)
{
	uint32_t topics = 1u << RT_TOPIC_ANY;

	for (uint64_t seq = first; seq <= last; seq++) {
		const struct rt_slot *slot = slot_of(w, seq);
		uint64_t offset = (uint64_t)slot->pos * RT_WORD & w->payload_mask;

		topics |= 1u << rt_topic(slot->key_len <= RT_INLINE_MAX
						 ? slot->bytes
						 : w->payload + offset,
					 slot->key_len);
	}
	return topics;
}

/* Wakes a few sleepers of each topic; returns the topics that may have more. */
static uint32_t wake_some(struct rt_writer *w, uint32_t topics)
{
	uint32_t more = 0;

	for (; topics; topics &= topics - 1) {
		unsigned topic = (unsigned)__builtin_ctz(topics);
		long n;

		(void)rt_add32(&w->hot->wakes[topic], 1);
		n = syscall(SYS_futex, &w->hot->wakes[topic], FUTEX_WAKE,
			    RT_WAKE_INLINE, NULL, NULL, 0);
		if (n > 0)
			w->wakes += (uint64_t)n;
		if (n == RT_WAKE_INLINE)
			more |= 1u << topic;
		w->wake_calls++;
	}
	rt_store64(&w->hot->n_wakes, w->wakes);
	rt_store64(&w->hot->n_wake_calls, w->wake_calls);
	return more;
}

static void wake_topics(struct rt_writer *w, uint32_t topics)
{
	uint32_t rung = topics;

	/* Pairs with that of rt_sleeper_arm(); and "noted already" must not be read
	 * before the events are visible, or the sweep wakes for what is not there. */
	if (w->fence || w->sweep)
		rt_full_barrier();
	if (w->sweep)
		rt_keeper_note(w->keeper, topics);
	if (!w->always) {
		rung = rt_load32(&w->bell->bits) & topics;
		if (!rung)
			return;
		/* Before the words move: see bell.h. */
		(void)rt_clear32(&w->bell->bits, rung);
	}
	rung = wake_some(w, rung);
	if (rung)
		rt_keeper_wake(w->keeper, rung);
}

static __attribute__((noinline)) void wake(struct rt_writer *w, uint64_t first,
					   uint64_t last)
{
	if (w->holding && w->held == UINT32_MAX)
		return; /* it cannot become more */

	uint32_t topics = topics_of(w, first, last);

	if (w->holding)
		w->held |= topics;
	else
		wake_topics(w, topics);
}

void rt_writer_hold(struct rt_writer *w)
{
	w->holding = true;
}

void rt_writer_release(struct rt_writer *w)
{
	uint32_t topics = w->held;

	w->holding = false;
	w->held = 0;
	if (topics)
		wake_topics(w, topics);
}

RT_INLINE void wake_sleepers(struct rt_writer *w, uint64_t first, uint64_t last)
{
	/* On the processor this store-load pair is ordered by the sleepers. */
	rt_compiler_barrier();
	if (RT_LIKELY(!w->fence && !w->always && !w->sweep && !w->holding &&
		      !atomic_load_explicit(&w->bell->bits, memory_order_relaxed)))
		return;
	wake(w, first, last);
}

/*
 * ---- Events ----
 */

RT_INLINE uint64_t now_of(struct rt_writer *w)
{
	uint64_t now = w->fixed_ns;

	if (!now) {
		struct timespec ts;

		(void)clock_gettime(w->clock, &ts); /* a clock that exists */
		now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	}
	if (RT_UNLIKELY(now < w->last_ns))
		now = w->last_ns;
	w->last_ns = now;
	return now;
}

/* Step 2, but for time, transaction and seq.  @value may be NULL: left to the caller.
 */
RT_INLINE uint8_t *fill(struct rt_writer *w, struct rt_slot *slot, uint64_t pos,
			uint32_t kind, const void *key, size_t key_len,
			const void *value, size_t value_len, const void *prev,
			size_t prev_len)
{
	uint8_t *to = w->payload + (pos & w->payload_mask);

	store_word(slot, 2, (pos / RT_WORD & UINT32_MAX) | (uint64_t)value_len << 32);
	store_word(slot, 3, (uint64_t)key_len | kind | (uint64_t)prev_len << 32);
	if (RT_LIKELY(key_len <= RT_INLINE_MAX)) {
		rt_copy_in_short(slot->bytes, key, key_len);
		if (key_len + value_len + prev_len <= RT_INLINE_MAX) {
			to = slot->bytes + key_len;
			if (value)
				rt_copy_in_short(to, value, value_len);
			if (prev_len)
				rt_copy_in_short(to + value_len, prev, prev_len);
			return to;
		}
	} else {
		rt_copy_in(to, key, key_len);
		to += key_len;
	}
	if (value)
		rt_copy_in(to, value, value_len);
	if (prev_len)
		rt_copy_in(to + value_len, prev, prev_len);
	return to;
}

/* Which rule an event broke: every one but this is about a limit. */
RT_INLINE int refuse(size_t key_len)
{
	return key_len ? RT_E_TOO_BIG : -EINVAL;
}

RT_INLINE bool is_fine(const struct rt_writer *w, size_t key_len, size_t value_len,
		       size_t prev_len)
{
	return key_len - 1 < w->max_key && value_len <= w->max_value &&
	       prev_len <= w->max_value &&
	       key_len + value_len + prev_len <= w->max_txn_bytes;
}

static bool is_kind(uint8_t op, uint8_t flags, size_t value_len)
{
	return op >= RT_OP_PUT && op <= RT_OP_MESSAGE && !(flags & ~RT_EVENT_FLAGS) &&
	       (op != RT_OP_DELETE || !value_len);
}

int rt_writer_one_kind(struct rt_writer *w, uint32_t kind, const void *key,
		       size_t key_len, const void *value, size_t value_len)
{
	if (RT_UNLIKELY(w->in_txn))
		return -EINVAL;
	if (RT_UNLIKELY(!is_fine(w, key_len, value_len, 0)))
		return refuse(key_len);

	uint32_t need = payload_of(key_len, value_len);
	uint64_t pos = reserve(w, need);
	uint64_t seq = w->next;
	struct rt_slot *slot = slot_of(w, seq);

	store_word(slot, 1, now_of(w));
	store_word(slot, 4, UINT64_C(1) << 32);
	(void)fill(w, slot, pos, kind, key, key_len, value_len ? value : NULL,
		   value_len, NULL, 0);
	rt_store64(&slot->seq, seq);    /* step 4: visible */
	rt_store64(&w->hot->head, seq); /* step 5 */
	w->next = seq + 1;
	w->pos = pos + need;
	w->n_bytes += key_len + value_len;
	rt_store64(&w->hot->n_txns, ++w->n_txns);
	rt_store64(&w->hot->n_bytes, w->n_bytes);
	wake_sleepers(w, seq, seq);
	return 0;
}

int rt_writer_accepts(const struct rt_writer *w, uint8_t op, uint8_t flags,
		      size_t key_len, size_t value_len, size_t prev_len)
{
	if (!is_kind(op, flags, value_len))
		return -EINVAL;
	return is_fine(w, key_len, value_len, prev_len) ? 0 : refuse(key_len);
}

int rt_writer_one(struct rt_writer *w, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len)
{
	if (!is_kind(op, flags, value_len))
		return -EINVAL;
	return rt_writer_one_kind(w, rt_kind(op, flags), key, key_len, value,
				  value_len);
}

int rt_writer_one_prev(struct rt_writer *w, uint8_t op, uint8_t flags, const void *key,
		       size_t key_len, const void *value, size_t value_len,
		       const void *prev, size_t prev_len)
{
	int r;

	if (w->in_txn)
		return -EINVAL;
	rt_writer_begin(w);
	r = rt_writer_add_prev(w, op, flags, key, key_len, value, value_len, prev,
			       prev_len);
	if (r < 0)
		rt_writer_abort(w);
	else
		rt_writer_commit(w);
	return r;
}

void rt_writer_begin(struct rt_writer *w)
{
	assert(!w->in_txn);
	w->in_txn = true;
	w->txn_first = w->next;
	w->txn_pos = w->pos;
	w->txn_bytes = 0;
}

int rt_writer_fits(const struct rt_writer *w, uint64_t n_events, uint64_t n_bytes)
{
	return n_events > w->max_txn_events || n_bytes > w->max_txn_bytes ? RT_E_TOO_BIG
									  : 0;
}

RT_INLINE int add(struct rt_writer *w, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len, const void *prev,
		  size_t prev_len, uint8_t **ret)
{
	assert(w->in_txn);
	if (!is_kind(op, flags, value_len))
		return -EINVAL;
	if (!is_fine(w, key_len, value_len, prev_len))
		return refuse(key_len);
	if (rt_writer_fits(w, w->next - w->txn_first + 1,
			   w->txn_bytes + key_len + value_len + prev_len) < 0)
		return RT_E_TOO_BIG;

	uint32_t need = payload_of(key_len, value_len + prev_len);
	uint64_t pos = reserve(w, need);

	*ret = fill(w, slot_of(w, w->next), pos, rt_kind(op, flags), key, key_len,
		    value, value_len, prev, prev_len);
	w->next++;
	w->pos = pos + need;
	w->txn_bytes += key_len + value_len + prev_len;
	return 0;
}

int rt_writer_add(struct rt_writer *w, uint8_t op, uint8_t flags, const void *key,
		  size_t key_len, const void *value, size_t value_len)
{
	uint8_t *unused;

	return add(w, op, flags, key, key_len, value_len ? value : NULL, value_len,
		   NULL, 0, &unused);
}

int rt_writer_add_prev(struct rt_writer *w, uint8_t op, uint8_t flags, const void *key,
		       size_t key_len, const void *value, size_t value_len,
		       const void *prev, size_t prev_len)
{
	uint8_t *unused;

	return add(w, op, flags, key, key_len, value_len ? value : NULL, value_len,
		   prev, prev_len, &unused);
}

int rt_writer_claim(struct rt_writer *w, uint8_t flags, const void *key, size_t key_len,
		    size_t value_len, void **ret)
{
	uint8_t *room;
	int r = add(w, RT_OP_PUT, flags, key, key_len, NULL, value_len, NULL, 0, &room);

	if (!r)
		*ret = room;
	return r;
}

void rt_writer_commit(struct rt_writer *w)
{
	uint64_t first = w->txn_first;
	uint64_t n = w->next - first;

	assert(w->in_txn);
	w->in_txn = false;
	if (!n)
		return;

	uint64_t now = now_of(w);

	for (uint64_t i = n; i--;) {
		struct rt_slot *slot = slot_of(w, first + i);

		store_word(slot, 1, now);
		store_word(slot, 4, i | n << 32);
		rt_store64(&slot->seq, first + i); /* step 3, and at last step 4 */
	}
	rt_store64(&w->hot->head, first + n - 1); /* step 5 */
	w->n_bytes += w->txn_bytes;
	rt_store64(&w->hot->n_txns, ++w->n_txns);
	rt_store64(&w->hot->n_bytes, w->n_bytes);
	wake_sleepers(w, first, first + n - 1);
}

/* What was written is overwritten by the next event; nobody can have seen it. */
void rt_writer_abort(struct rt_writer *w)
{
	if (!w->in_txn)
		return;
	w->in_txn = false;
	w->next = w->txn_first;
	w->pos = w->txn_pos;
}

void rt_writer_set_time(struct rt_writer *w, uint64_t time_ns)
{
	w->fixed_ns = time_ns;
}

void rt_writer_beat(struct rt_writer *w)
{
	rt_store64(&w->hot->heartbeat_ns, rt_now_ns(CLOCK_MONOTONIC));
}

void rt_writer_init_limits(struct rt_writer *w)
{
	w->quarter_seq = w->next + (w->slot_mask + 1) / RT_TXN_SHARE;
	w->quarter_pos = w->pos + (w->payload_mask + 1) / RT_TXN_SHARE;
	set_limits(w);
}
