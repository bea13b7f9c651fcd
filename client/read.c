/* SPDX-License-Identifier: MIT */
/*
 * The calls that read.  Each begins by settling what the call before left open.
 */
#include <errno.h>

#include "client/history.h"

/* A borrowed event is delivered, or was found overwritten and is still to be lost. */
static void settle(struct ringtail *r)
{
	r->borrowed = false;
	if (!r->lent)
		return;
	r->lent = false;
	if (r->overrun)
		return;
	rt_reader_delivered(r, r->next);
	if (r->lent_last)
		r->marker_seq = r->position;
	r->next++;
}

RT_INLINE bool has_buffered(const struct ringtail *r)
{
	return r->buffer.at < r->buffer.n;
}

void rt_reader_answered(struct ringtail *r)
{
	r->answered = true;
	r->direct = r->until == UINT64_MAX && !r->presence;
}

static int tell_gap(struct ringtail *r)
{
	r->gap_due = false;
	rt_reader_answered(r);
	return RINGTAIL_GAP;
}

/* True if there is a state to be told of before anything else, or to be waited for. */
static bool resyncs(struct ringtail *r, int *ret_outcome)
{
	*ret_outcome = r->resync.phase ? rt_reader_resync_next(r) : RINGTAIL_NOTHING;
	return *ret_outcome != RINGTAIL_NOTHING || r->resync.phase;
}

static int try_fetch(struct ringtail *r, void *unused)
{
	int outcome;

	(void)unused;
	return resyncs(r, &outcome) ? outcome : rt_reader_fetch(r);
}

/* One of the buffered events leaves. */
RT_INLINE void hand_out(struct ringtail *r, struct ringtail_event *event)
{
	struct rt_buffer *buffer = &r->buffer;

	*event = buffer->events[buffer->at++];
	rt_reader_delivered(r, event->seq);
	if (buffer->at == buffer->n) {
		event->flags |= RINGTAIL_LAST;
		rt_reader_txn_end(r, buffer->last);
	}
}

/* An entry of the state, or what ends it. */
static void hand_out_state(struct ringtail *r, int outcome,
			   struct ringtail_event *event)
{
	if (outcome == RINGTAIL_SNAPSHOT) {
		*event = r->buffer.events[r->buffer.at++];
		r->entries++;
	} else if (outcome == RINGTAIL_SNAPSHOT_END) {
		*event = (struct ringtail_event){ .seq = r->position,
						  .rev = r->position,
						  .time_ns = r->state_ns };
	}
}

/* An event where it lies (then it is `lent`), or one from the log into the buffer. */
static int lend(struct ringtail *r, struct ringtail_event *event)
{
	int outcome = r->in_log ? RINGTAIL_NOTHING : rt_reader_lend(r, event);

	return outcome == RINGTAIL_NOTHING && r->in_log ? rt_reader_fetch(r) : outcome;
}

static int try_lend(struct ringtail *r, void *event)
{
	int outcome;

	return resyncs(r, &outcome) ? outcome : lend(r, event);
}

/* From nothing at hand to an outcome, waiting if need be. */
static RT_COLD int get_slowly(struct ringtail *r,
			      int (*try)(struct ringtail *r, void *arg), void *arg,
			      int64_t timeout_ns)
{
	int outcome;

	if (r->stop)
		return r->stop;
	if (rt_load32(&r->cancel))
		return rt_reader_canceled(r);
	if (r->gap_due)
		return tell_gap(r);
	rt_pollfd_drain(r->pollfd);
	outcome = try(r, arg);
	if (outcome == RINGTAIL_NOTHING)
		outcome = rt_reader_idle(r);
	if (outcome == RINGTAIL_NOTHING && !r->answered && !r->resync.phase)
		outcome = RINGTAIL_CAUGHT_UP;
	if (outcome == RINGTAIL_NOTHING)
		outcome = rt_reader_wait(r, try, arg, timeout_ns);
	if (!r->answered)
		r->death_due = false; /* it was dead already when we came */
	if (!r->resync.phase)
		rt_reader_answered(r);
	return outcome;
}

/* Into the buffer, if it is empty. */
RT_INLINE int get(struct ringtail *r, int64_t timeout_ns)
{
	bool going = r->answered && !r->stop && !rt_load32(&r->cancel);
	int outcome;

	if (RT_UNLIKELY(r->borrowed))
		settle(r);
	if (RT_UNLIKELY(r->presence))
		rt_presence_tick(r);
	if (has_buffered(r) && RT_LIKELY(going))
		return RINGTAIL_EVENT;
	if (RT_LIKELY(going)) {
		outcome = rt_reader_fetch(r);
		if (RT_LIKELY(outcome != RINGTAIL_NOTHING))
			return outcome;
	}
	return get_slowly(r, try_fetch, NULL, timeout_ns);
}

RT_INLINE bool next_in_log(struct ringtail *r, struct ringtail_event *event)
{
	size_t size = rt_reader_log_peek(r, event);

	if (RT_UNLIKELY(!size) && rt_reader_log_more(r))
		size = rt_reader_log_peek(r, event);
	if (RT_UNLIKELY(!size))
		return false;
	rt_reader_log_pass(r, size);
	return true;
}

/*
 * The usual case without a detour by the buffer: the next event is there, matches,
 * and is a transaction of its own.  False if anything is not as usual.
 */
RT_INLINE bool next_at_once(struct ringtail *r, struct ringtail_event *event)
{
	struct rt_event ev;

	if (RT_UNLIKELY(!r->direct || r->stop || r->borrowed || has_buffered(r) ||
			rt_load32(&r->cancel)))
		return false;
	if (RT_UNLIKELY(r->in_log))
		return next_in_log(r, event);
	if (rt_ring_look_at(&r->segment, r->next, &ev) != RT_LOOK_EVENT ||
	    RT_UNLIKELY(ev.txn_size != 1) || !rt_reader_wants(r, &ev))
		return false;
	if (RT_UNLIKELY(rt_buffer_room_alone(&ev) > r->buffer.data_cap))
		return false;
	rt_event_describe(&ev, event);
	rt_event_copy_alone(event, &ev, r->buffer.data);
	if (RT_UNLIKELY(!rt_ring_intact(&r->segment, ev.seq)))
		return false;
	event->flags |= RINGTAIL_LAST;
	r->next = ev.seq + 1;
	r->position = ev.seq;
	r->marker_seq = ev.seq;
	r->delivered++;
	return true;
}

int ringtail_next(struct ringtail *r, struct ringtail_event *event, int64_t timeout_ns)
{
	if (RT_LIKELY(next_at_once(r, event)))
		return RINGTAIL_EVENT;

	int outcome = get(r, timeout_ns);

	if (RT_LIKELY(outcome == RINGTAIL_EVENT))
		hand_out(r, event);
	else
		hand_out_state(r, outcome, event);
	return outcome;
}

int ringtail_next_txn(struct ringtail *r, const struct ringtail_event **ret_events,
		      size_t *ret_n, int64_t timeout_ns)
{
	struct rt_buffer *buffer = &r->buffer;
	int outcome = get(r, timeout_ns);

	if (outcome != RINGTAIL_EVENT && outcome != RINGTAIL_SNAPSHOT)
		return outcome;
	*ret_events = buffer->events + buffer->at;
	*ret_n = buffer->n - buffer->at;
	if (outcome == RINGTAIL_SNAPSHOT) {
		r->entries += *ret_n;
		buffer->at = buffer->n;
		return outcome;
	}
	for (size_t i = buffer->at; i < buffer->n; i++)
		rt_reader_delivered(r, buffer->events[i].seq);
	buffer->events[buffer->n - 1].flags |= RINGTAIL_LAST;
	buffer->at = buffer->n;
	rt_reader_txn_end(r, buffer->last);
	return RINGTAIL_EVENT;
}

/* Copies what it points to to @to; returns what follows. */
RT_INLINE uint8_t *move_event(struct ringtail_event *event, uint8_t *to)
{
	memcpy(to, event->key, event->key_len);
	event->key = to;
	to += event->key_len;
	if (event->value_len)
		memcpy(to, event->value, event->value_len);
	event->value = to;
	to += event->value_len;
	if (RT_LIKELY(!event->prev_len))
		return to;
	memcpy(to, event->prev, event->prev_len);
	event->prev = to;
	return to + event->prev_len;
}

/* Entries of the state that are at hand, as many as fit; each counts as a transaction.
 */
static int move_entries(struct ringtail *r, struct ringtail_batch *batch)
{
	uint8_t *to = batch->data;
	size_t left = batch->data_size;

	while (has_buffered(r) &&
	       (!batch->max_txns || batch->n_txns < batch->max_txns)) {
		const struct ringtail_event *next = &r->buffer.events[r->buffer.at];
		size_t need = next->key_len + next->value_len;

		batch->need_events = 1;
		batch->need_data = need;
		if (batch->n_events == batch->max_events || need > left)
			break;

		struct ringtail_event *event = &batch->events[batch->n_events++];

		hand_out_state(r, RINGTAIL_SNAPSHOT, event);
		to = move_event(event, to);
		left -= need;
		batch->n_txns++;
	}
	return batch->n_events ? RINGTAIL_SNAPSHOT : -EMSGSIZE;
}

/* Moves the buffered transaction to the caller's memory; false if it does not fit. */
static bool move_txn(struct ringtail *r, struct ringtail_batch *batch, size_t *used)
{
	struct rt_buffer *buffer = &r->buffer;
	uint8_t *to = (uint8_t *)batch->data + *used;
	size_t need = 0;

	for (size_t i = buffer->at; i < buffer->n; i++)
		need += buffer->events[i].key_len + buffer->events[i].value_len +
			buffer->events[i].prev_len;
	batch->need_events = buffer->n - buffer->at;
	batch->need_data = need;
	if (batch->n_events + batch->need_events > batch->max_events ||
	    need > batch->data_size - *used)
		return false;
	while (has_buffered(r)) {
		struct ringtail_event *event = &batch->events[batch->n_events++];

		hand_out(r, event);
		to = move_event(event, to);
	}
	*used += need;
	batch->n_txns++;
	return true;
}

/*
 * More for a batch that has something already.  A gap is left to the next call, which
 * meets it again and tells it: nothing of it may be in the accounts before, or a marker
 * taken now would be behind events that nobody was told about.
 */
static int fetch_more(struct ringtail *r)
{
	int outcome;

	r->leaves_gaps = true;
	outcome = rt_reader_fetch(r);
	r->leaves_gaps = false;
	return outcome;
}

/* Likewise, as many of the usual events of the log as are at hand and fit. */
static void move_log(struct ringtail *r, struct ringtail_batch *batch, size_t *used)
{
	size_t max = batch->max_txns ? batch->max_txns : SIZE_MAX;
	uint8_t *to = (uint8_t *)batch->data + *used;
	size_t left = batch->data_size - *used;

	while (batch->n_txns < max && batch->n_events < batch->max_events) {
		struct ringtail_event *event = &batch->events[batch->n_events];
		size_t size = rt_reader_log_peek(r, event);
		size_t need;

		if (RT_UNLIKELY(!size) && rt_reader_log_more(r))
			size = rt_reader_log_peek(r, event);
		if (RT_UNLIKELY(!size))
			break;
		need = event->key_len + event->value_len;
		if (need > left)
			break;
		memcpy(to, event->key, need); /* they lie together */
		event->key = to;
		event->value = to + event->key_len;
		to += need;
		left -= need;
		rt_reader_log_pass(r, size);
		batch->n_events++;
		batch->n_txns++;
	}
	*used = batch->data_size - left;
}

int ringtail_next_batch(struct ringtail *r, struct ringtail_batch *batch,
			int64_t timeout_ns)
{
	size_t used = 0;
	int outcome;

	batch->n_events = 0;
	batch->n_txns = 0;
	if (!batch->events || !batch->max_events || (!batch->data && batch->data_size))
		return -EINVAL;
	outcome = get(r, timeout_ns);
	if (outcome == RINGTAIL_SNAPSHOT)
		return move_entries(r, batch);
	if (outcome != RINGTAIL_EVENT)
		return outcome;
	if (!move_txn(r, batch, &used))
		return -EMSGSIZE;
	for (;;) {
		if (r->in_log && r->direct)
			move_log(r, batch, &used);
		if (batch->max_txns && batch->n_txns >= batch->max_txns)
			break;
		if (!r->in_log && (!rt_ring_ready(&r->segment, r->next) ||
				   !rt_ring_intact(&r->segment, r->next)))
			break;
		if (fetch_more(r) != RINGTAIL_EVENT || !move_txn(r, batch, &used))
			break;
	}
	return RINGTAIL_EVENT;
}

static int borrow(struct ringtail *r, struct ringtail_event *event, int64_t timeout_ns)
{
	bool going = r->answered && !r->stop && !rt_load32(&r->cancel);
	int outcome = RINGTAIL_NOTHING;

	if (has_buffered(r) && going) {
		/* What another call left of a transaction is copied already. */
		hand_out(r, event);
		return RINGTAIL_EVENT;
	}
	if (going)
		outcome = lend(r, event);
	if (outcome == RINGTAIL_NOTHING)
		outcome = get_slowly(r, try_lend, event, timeout_ns);
	/* From the log, or on the way to another ring or to the end: it is a copy. */
	if (outcome == RINGTAIL_EVENT && !r->lent)
		hand_out(r, event);
	else
		hand_out_state(r, outcome, event);
	return outcome;
}

int ringtail_borrow(struct ringtail *r, struct ringtail_event *event,
		    int64_t timeout_ns)
{
	int outcome;

	settle(r);
	r->overrun = false;
	if (RT_UNLIKELY(r->presence))
		rt_presence_tick(r);
	outcome = borrow(r, event, timeout_ns);
	r->borrowed = outcome == RINGTAIL_EVENT || outcome == RINGTAIL_SNAPSHOT;
	return outcome;
}

int ringtail_borrow_valid(struct ringtail *r)
{
	if (!r->borrowed)
		return -EINVAL;
	if (!r->lent || (!r->overrun && rt_ring_intact(&r->segment, r->next)))
		return 0;
	r->overrun = true;
	return RINGTAIL_E_OVERRUN;
}

int ringtail_gap(const struct ringtail *r, struct ringtail_gap_info *ret)
{
	if (!r->gap.cause)
		return -ENOENT;
	*ret = r->gap;
	return 0;
}

uint64_t ringtail_position(const struct ringtail *r)
{
	return r->lent && !r->overrun ? r->next : r->position;
}

int ringtail_marker(const struct ringtail *r, char ret[RINGTAIL_MARKER_SIZE])
{
	bool whole = r->lent && !r->overrun && r->lent_last;

	rt_marker_format(whole ? r->next : r->marker_seq, r->marker_epoch, ret);
	return 0;
}

int ringtail_marker_parse(const char *marker, uint64_t *ret_seq, uint64_t *ret_epoch)
{
	uint64_t seq, epoch;
	int e = marker ? rt_marker_parse(marker, strnlen(marker, RINGTAIL_MARKER_SIZE),
					 &seq, &epoch)
		       : RINGTAIL_E_MALFORMED;

	if (e < 0)
		return e;
	if (ret_seq)
		*ret_seq = seq;
	if (ret_epoch)
		*ret_epoch = epoch;
	return 0;
}

int ringtail_marker_format(uint64_t seq, uint64_t epoch, char ret[RINGTAIL_MARKER_SIZE])
{
	rt_marker_format(seq, epoch, ret);
	return 0;
}
