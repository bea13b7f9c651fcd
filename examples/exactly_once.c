/* SPDX-License-Identifier: MIT */
/*
 * exactly_once FEED DATABASE [LAST] - effects that happen once, whoever dies when
 *
 * The effects of some transactions of the feed and the marker behind them go into a
 * database in one transaction of its own: so both are there or none.  After a crash
 * this goes on after the marker, which stands for just those effects that are there.
 *
 * Here an effect is a row for each event and a count for each key, which nobody could
 * repeat unnoticed.  Ends at event LAST, or when the feed is closed.
 */
#include <ringtail.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define AT_ONCE 100 /* transactions of the feed in one of the database */

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS effects (seq INTEGER, key BLOB, value BLOB);"
	"CREATE TABLE IF NOT EXISTS counts (key BLOB PRIMARY KEY, n INTEGER);"
	"CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY, marker TEXT);";

struct consumer {
	sqlite3 *db;
	sqlite3_stmt *effect, *count, *place;
	struct ringtail *reader;
};

static int failed(const struct consumer *c, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(c->db));
	return -1;
}

static int open_database(struct consumer *c, const char *path)
{
	if (sqlite3_open(path, &c->db) || sqlite3_busy_timeout(c->db, 10000) ||
	    sqlite3_exec(c->db, schema, NULL, NULL, NULL) ||
	    sqlite3_prepare_v2(c->db, "INSERT INTO effects VALUES (?, ?, ?)", -1,
			       &c->effect, NULL) ||
	    sqlite3_prepare_v2(c->db,
			       "INSERT INTO counts VALUES (?, 1) "
			       "ON CONFLICT (key) DO UPDATE SET n = n + 1",
			       -1, &c->count, NULL) ||
	    sqlite3_prepare_v2(c->db, "INSERT OR REPLACE INTO place VALUES (1, ?)", -1,
			       &c->place, NULL))
		return failed(c, path);
	return 0;
}

/* Where the effects end that are in the database; from the oldest event if none are. */
static int open_feed(struct consumer *c, const char *feed)
{
	struct ringtail_options options = RINGTAIL_OPTIONS_INIT;
	sqlite3_stmt *query = NULL;
	int r;

	options.start = RINGTAIL_START_OLDEST;
	options.flags = RINGTAIL_WAIT_FOR_FEED;
	options.open_timeout_ns = RINGTAIL_FOREVER;
	if (sqlite3_prepare_v2(c->db, "SELECT marker FROM place", -1, &query, NULL))
		return failed(c, "place");
	if (sqlite3_step(query) == SQLITE_ROW) {
		options.start = RINGTAIL_START_MARKER;
		options.marker = (const char *)sqlite3_column_text(query, 0);
	}
	r = ringtail_open(feed, &options, &c->reader);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", feed, ringtail_error(NULL));
	sqlite3_finalize(query); /* and with it the text of the marker */
	return r;
}

static int do_step(sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);

	sqlite3_reset(statement);
	return r == SQLITE_DONE ? 0 : -1;
}

static int take(struct consumer *c, const struct ringtail_event *e)
{
	sqlite3_bind_int64(c->effect, 1, (sqlite3_int64)e->seq);
	sqlite3_bind_blob(c->effect, 2, e->key, (int)e->key_len, SQLITE_STATIC);
	sqlite3_bind_blob(c->effect, 3, e->value, (int)e->value_len, SQLITE_STATIC);
	sqlite3_bind_blob(c->count, 1, e->key, (int)e->key_len, SQLITE_STATIC);
	return do_step(c->effect) || do_step(c->count) ? -1 : 0;
}

/* Waits for a transaction of the feed; takes those that are there with it. */
static int take_some(struct consumer *c)
{
	const struct ringtail_event *events;
	char marker[RINGTAIL_MARKER_SIZE];
	size_t n, taken = 0;
	int r;

	r = ringtail_next_txn(c->reader, &events, &n, RINGTAIL_FOREVER);
	if (r != RINGTAIL_EVENT)
		return r;
	if (sqlite3_exec(c->db, "BEGIN", NULL, NULL, NULL))
		return failed(c, "begin");
	while (r == RINGTAIL_EVENT) {
		for (size_t i = 0; i < n; i++)
			if (take(c, &events[i]))
				return failed(c, "effect");
		if (++taken == AT_ONCE)
			break;
		r = ringtail_next_txn(c->reader, &events, &n, 0);
	}
	ringtail_marker(c->reader, marker);
	sqlite3_bind_text(c->place, 1, marker, -1, SQLITE_STATIC);
	if (do_step(c->place) || sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL))
		return failed(c, "commit");
	return r;
}

int main(int argc, char **argv)
{
	struct consumer c = { 0 };
	uint64_t last = argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
	int r;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: exactly_once FEED DATABASE [LAST]\n");
		return 2;
	}
	r = open_database(&c, argv[2]);
	if (!r)
		r = open_feed(&c, argv[1]);
	while (r >= 0 && ringtail_position(c.reader) < last)
		r = take_some(&c);
	if (r < -1 && c.reader)
		fprintf(stderr, "end: %s\n", ringtail_error(c.reader));
	ringtail_close(c.reader);
	sqlite3_finalize(c.effect);
	sqlite3_finalize(c.count);
	sqlite3_finalize(c.place);
	sqlite3_close(c.db);
	return r < 0 && r != RINGTAIL_E_CLOSED;
}
