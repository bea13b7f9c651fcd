/* SPDX-License-Identifier: MIT */
#include "store/batch.h"

#include <errno.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define KEPT         (UINT64_C(4) << 20) /* bytes of memory, however few are used */
#define CHECKED_FROM (offsetof(struct rt_log_batch, check) + sizeof(uint64_t))

static uint64_t check_of(const uint8_t *data, const struct rt_log_batch *header,
			 uint64_t salt)
{
	return XXH3_64bits_withSeed(data + CHECKED_FROM, header->size - CHECKED_FROM,
				    salt ^ header->n_txns);
}

static int grow(struct rt_batch *batch, size_t more)
{
	size_t need = batch->len + more;
	size_t cap = batch->cap ? batch->cap : 65536;
	void *grown;

	if (need <= batch->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	grown = realloc(batch->data, cap);
	if (!grown)
		return -ENOMEM;
	batch->data = grown;
	batch->cap = cap;
	return 0;
}

void rt_batch_reset(struct rt_batch *batch, uint64_t first_seq)
{
	/* What one busy moment took is not held for ever. */
	if (batch->cap > KEPT && batch->len < batch->cap / 4)
		rt_batch_fini(batch);
	batch->len = sizeof(struct rt_log_batch);
	batch->first_seq = first_seq;
	batch->n_events = 0;
	batch->n_txns = 0;
	batch->txn_at = 0;
	batch->txn_events = 0;
}

void rt_batch_fini(struct rt_batch *batch)
{
	free(batch->data);
	*batch = (struct rt_batch){ 0 };
}

bool rt_batch_is_empty(const struct rt_batch *batch)
{
	return !batch->n_txns;
}

int rt_batch_begin(struct rt_batch *batch)
{
	int r;

	assert(!batch->txn_at);
	r = grow(batch, sizeof(struct rt_log_txn));
	if (r < 0)
		return r;
	batch->txn_at = batch->len;
	batch->txn_events = 0;
	batch->len += sizeof(struct rt_log_txn);
	return 0;
}

int rt_batch_add_extra(struct rt_batch *batch, uint8_t op, uint8_t flags,
		       const void *key, size_t key_len, const void *value,
		       size_t value_len, const struct rt_extra *extra)
{
	const struct rt_log_terms *terms = extra ? extra->terms : NULL;
	size_t prev_len = extra ? extra->prev_len : 0;
	struct rt_log_event event = {
		.value_len = (uint32_t)value_len,
		.prev_len = (uint32_t)prev_len,
		.key_len = (uint16_t)key_len,
		.op = op,
		.flags = flags,
		.ext_len = terms ? (uint32_t)sizeof(*terms) : 0,
	};
	size_t used = sizeof(event) + key_len + value_len + prev_len + event.ext_len;
	size_t size = rt_round_up(used, RT_WORD);
	uint8_t *to;
	int r;

	assert(batch->txn_at && key_len && key_len <= UINT16_MAX &&
	       value_len <= UINT32_MAX && prev_len <= UINT32_MAX);
	r = grow(batch, size);
	if (r < 0)
		return r;
	to = batch->data + batch->len;
	memcpy(to, &event, sizeof(event));
	memcpy(to + sizeof(event), key, key_len);
	to += sizeof(event) + key_len;
	if (value_len)
		memcpy(to, value, value_len);
	if (prev_len)
		memcpy(to + value_len, extra->prev, prev_len);
	if (terms)
		memcpy(to + value_len + prev_len, terms, sizeof(*terms));
	memset(batch->data + batch->len + used, 0, size - used);
	batch->len += size;
	batch->txn_events++;
	return 0;
}

int rt_batch_add(struct rt_batch *batch, uint8_t op, uint8_t flags, const void *key,
		 size_t key_len, const void *value, size_t value_len)
{
	return rt_batch_add_extra(batch, op, flags, key, key_len, value, value_len,
				  NULL);
}

static void count(struct rt_batch *batch, uint32_t n_events, uint64_t time_ns)
{
	if (!batch->n_txns++)
		batch->time_ns = time_ns;
	batch->n_events += n_events;
	batch->last_ns = time_ns;
}

void rt_batch_end(struct rt_batch *batch, uint64_t time_ns)
{
	struct rt_log_txn *txn = (void *)(batch->data + batch->txn_at);

	assert(batch->txn_at);
	if (!batch->txn_events) {
		rt_batch_abort(batch);
		return;
	}
	/* In place: a copy from the stack would wait for all stores before it. */
	txn->n_events = batch->txn_events;
	txn->mark = 0;
	txn->reserved = 0;
	txn->time_ns = time_ns;
	txn->size = batch->len - batch->txn_at;
	batch->txn_at = 0;
	count(batch, batch->txn_events, time_ns);
}

static int add_one(struct rt_batch *batch, uint8_t op, uint8_t flags, const void *key,
		   size_t key_len, const void *value, size_t value_len,
		   uint64_t time_ns)
{
	int r = rt_batch_begin(batch);

	if (r < 0)
		return r;
	r = rt_batch_add(batch, op, flags, key, key_len, value, value_len);
	if (r < 0)
		rt_batch_abort(batch);
	else
		rt_batch_end(batch, time_ns);
	return r;
}

int rt_batch_one(struct rt_batch *batch, uint8_t op, uint8_t flags, const void *key,
		 size_t key_len, const void *value, size_t value_len, uint64_t time_ns)
{
	uint64_t later_ns = batch->n_txns ? time_ns - batch->time_ns : 0;
	size_t size =
		rt_round_up(sizeof(struct rt_log_alone) + key_len + value_len, RT_WORD);
	static const uint64_t zero;
	struct rt_log_alone *alone;
	int r;

	assert(!batch->txn_at && key_len && key_len <= UINT16_MAX &&
	       value_len <= UINT32_MAX);
	if (RT_UNLIKELY(later_ns > UINT32_MAX))
		return add_one(batch, op, flags, key, key_len, value, value_len,
			       time_ns);
	r = grow(batch, size);
	if (r < 0)
		return r;
	alone = (void *)(batch->data + batch->len);
	memcpy((uint8_t *)alone + size - sizeof(zero), &zero, sizeof(zero));
	alone->value_len = (uint32_t)value_len;
	alone->key_len = (uint16_t)key_len;
	alone->op = op;
	alone->flags = flags;
	alone->later_ns = (uint32_t)later_ns;
	memcpy(alone + 1, key, key_len);
	if (value_len)
		memcpy((uint8_t *)(alone + 1) + key_len, value, value_len);
	batch->len += size;
	count(batch, 1, time_ns);
	return 0;
}

void rt_batch_abort(struct rt_batch *batch)
{
	if (batch->txn_at)
		batch->len = batch->txn_at;
	batch->txn_at = 0;
}

void rt_batch_seal(struct rt_batch *batch, uint64_t salt, uint64_t synced_seq)
{
	struct rt_log_batch header = {
		.magic = RT_LOG_BATCH_MAGIC,
		.n_txns = batch->n_txns,
		.size = batch->len,
		.first_seq = batch->first_seq,
		.n_events = batch->n_events,
		.time_ns = batch->time_ns,
		.synced_seq = synced_seq,
	};

	assert(batch->n_txns && !batch->txn_at);
	memcpy(batch->data, &header, sizeof(header));
	header.check = check_of(batch->data, &header, salt);
	memcpy(batch->data, &header, sizeof(header));
}

bool rt_batch_header_valid(const struct rt_log_batch *header, uint64_t seq)
{
	return header->magic == RT_LOG_BATCH_MAGIC && header->first_seq == seq &&
	       header->size > sizeof(*header) && header->size <= RT_LOG_BATCH_MAX &&
	       header->size % RT_WORD == 0 && header->n_txns &&
	       header->n_events >= header->n_txns &&
	       header->n_events <= header->size / sizeof(struct rt_log_event) &&
	       header->n_events <= UINT64_MAX - seq;
}

bool rt_batch_valid(const uint8_t *data, size_t len, uint64_t salt, uint64_t seq)
{
	struct rt_log_batch header;

	if (len < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	if (!rt_batch_header_valid(&header, seq) || header.size > len)
		return false;
	return header.check == check_of(data, &header, salt);
}

void rt_batch_open(const uint8_t *data, struct rt_batch_cursor *ret)
{
	struct rt_log_batch header;

	memcpy(&header, data, sizeof(header));
	*ret = (struct rt_batch_cursor){
		.at = data + sizeof(header),
		.end = data + header.size,
		.txn_end = data + sizeof(header),
		.seq = header.first_seq,
		.batch_ns = header.time_ns,
	};
}

static bool next_txn(struct rt_batch_cursor *c)
{
	size_t left = (size_t)(c->end - c->at);
	uint64_t size;

	if (left < sizeof(struct rt_log_txn))
		return false;
	size = RT_MEMBER(struct rt_log_txn, size, c->at);
	c->txn_size = RT_MEMBER(struct rt_log_txn, n_events, c->at);
	if (RT_MEMBER(struct rt_log_txn, mark, c->at) || size > left ||
	    size <= sizeof(struct rt_log_txn) || size % RT_WORD || !c->txn_size)
		return false;
	c->time_ns = RT_MEMBER(struct rt_log_txn, time_ns, c->at);
	c->txn_end = c->at + size;
	c->at += sizeof(struct rt_log_txn);
	c->txn_index = 0;
	return true;
}

static bool next_alone(struct rt_batch_cursor *c, struct rt_item *ret)
{
	size_t size = rt_batch_peek_alone(c, ret);

	if (!size)
		return false;
	ret->seq = c->seq;
	ret->value = ret->key + ret->key_len;
	ret->prev = ret->value + ret->value_len;
	ret->prev_len = 0;
	ret->ext = ret->prev;
	ret->ext_len = 0;
	ret->txn_index = 0;
	ret->txn_size = 1;
	c->txn_index = c->txn_size = 1;
	rt_batch_pass(c, size);
	return true;
}

int rt_batch_next(struct rt_batch_cursor *c, struct rt_item *ret)
{
	if (c->at == c->txn_end) {
		if (c->txn_index != c->txn_size)
			return -1;
		if (c->at == c->end)
			return 0;
		if (next_alone(c, ret))
			return 1;
		if (!next_txn(c))
			return -1;
	}

	size_t left = (size_t)(c->txn_end - c->at);
	const uint8_t *at = c->at;
	uint64_t used;

	if (left < sizeof(struct rt_log_event) || c->txn_index == c->txn_size)
		return -1;
	ret->key_len = RT_MEMBER(struct rt_log_event, key_len, at);
	ret->value_len = RT_MEMBER(struct rt_log_event, value_len, at);
	ret->prev_len = RT_MEMBER(struct rt_log_event, prev_len, at);
	ret->ext_len = RT_MEMBER(struct rt_log_event, ext_len, at);
	ret->op = RT_MEMBER(struct rt_log_event, op, at);
	ret->flags = RT_MEMBER(struct rt_log_event, flags, at);
	used = sizeof(struct rt_log_event) + (uint64_t)ret->key_len + ret->value_len +
	       ret->prev_len + ret->ext_len;
	if (rt_round_up(used, RT_WORD) > left || !ret->key_len || ret->op < RT_OP_PUT ||
	    ret->op > RT_OP_MESSAGE)
		return -1;
	ret->seq = c->seq++;
	ret->time_ns = c->time_ns;
	ret->key = at + sizeof(struct rt_log_event);
	ret->value = ret->key + ret->key_len;
	ret->prev = ret->value + ret->value_len;
	ret->ext = ret->prev + ret->prev_len;
	ret->txn_index = c->txn_index++;
	ret->txn_size = c->txn_size;
	c->at += rt_round_up(used, RT_WORD);
	return 1;
}

struct rt_log_terms rt_item_terms(const struct rt_item *item)
{
	struct rt_log_terms terms = { 0 };

	if (item->ext_len >= sizeof(terms))
		memcpy(&terms, item->ext, sizeof(terms));
	return terms;
}
