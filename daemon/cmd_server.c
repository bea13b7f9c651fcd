/* SPDX-License-Identifier: MIT */
#include <malloc.h>

#include "daemon/command.h"
#include "shm/marker.h"

void rt_cmd_time(struct rt_session *session, const struct rt_request *request)
{
	char text[24];
	uint64_t now = session->server->now_ns;

	(void)request;
	rt_reply_array(&session->reply, 2);
	(void)snprintf(text, sizeof(text), "%llu",
		       (unsigned long long)(now / 1000000000));
	rt_reply_text(&session->reply, text);
	(void)snprintf(text, sizeof(text), "%llu",
		       (unsigned long long)(now % 1000000000 / 1000));
	rt_reply_text(&session->reply, text);
}

/*
 * ---- INFO --------------------------------------------------------------------
 */

static void info_server(struct rt_buf *text, const struct rt_session *session)
{
	const struct rt_server *server = session->server;
	uint64_t up = (server->now_ns - rt_min(server->now_ns, server->started_ns)) /
		      1000000000;

	rt_text(text, "ringtail_version:%s\r\n", RT_VERSION);
	/* Clients look at this to know which commands to expect. */
	rt_text(text, "redis_version:7.0.0\r\nredis_mode:standalone\r\n");
	rt_text(text, "process_id:%d\r\n", getpid());
	rt_text(text, "tcp_port:0\r\nsocket:%s\r\ndir:%s\r\n", server->config->socket,
		server->config->dir);
	rt_text(text, "data:%s\r\n", server->config->data ? server->config->data : "");
	rt_text(text, "uptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\n",
		(unsigned long long)up, (unsigned long long)up / 86400);
}

static void info_clients(struct rt_buf *text, const struct rt_session *session)
{
	rt_text(text,
		"connected_clients:%u\r\nmaxclients:%llu\r\nblocked_clients:0\r\n",
		session->server->n_sessions,
		(unsigned long long)rt_config_clients(session->server->config));
}

static void info_memory(struct rt_buf *text, const struct rt_session *session)
{
	struct mallinfo2 memory = mallinfo2();

	(void)session;
	rt_text(text, "used_memory:%zu\r\nmaxmemory:0\r\n",
		memory.uordblks + memory.hblkhd);
}

static void info_persistence(struct rt_buf *text, const struct rt_session *session)
{
	(void)session;
	rt_text(text, "loading:0\r\naof_enabled:0\r\nrdb_bgsave_in_progress:0\r\n");
}

static void info_stats(struct rt_buf *text, const struct rt_session *session)
{
	const struct rt_stats *stats = &session->server->stats;

	rt_text(text,
		"total_connections_received:%llu\r\nrejected_connections:%llu\r\n",
		(unsigned long long)stats->accepted,
		(unsigned long long)stats->refused);
	rt_text(text, "closed_for_cause:%llu\r\ntotal_commands_processed:%llu\r\n",
		(unsigned long long)stats->closed_for_cause,
		(unsigned long long)stats->commands);
	rt_text(text, "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n",
		(unsigned long long)stats->bytes_in,
		(unsigned long long)stats->bytes_out);
}

static void info_replication(struct rt_buf *text, const struct rt_session *session)
{
	(void)session;
	rt_text(text, "role:master\r\nconnected_slaves:0\r\n");
}

static void info_snapshots(struct rt_buf *text, const struct rt_feed *feed)
{
	const struct rt_retention *keep = &feed->retention;
	uint64_t now = rt_now_ns(CLOCK_REALTIME);

	rt_text(text, ",snapshots=%u,snapshots_made=%llu,snapshot_failures=%llu",
		keep->n_kept, (unsigned long long)keep->n_made,
		(unsigned long long)keep->n_failed);
	if (keep->n_kept)
		rt_text(text,
			",snapshot_seq=%llu,snapshot_keys=%llu,snapshot_bytes=%llu,"
			"snapshot_age_s=%llu,snapshot_us=%llu",
			(unsigned long long)keep->newest,
			(unsigned long long)keep->n_entries,
			(unsigned long long)keep->file_size,
			(unsigned long long)(now - rt_min(now, keep->created_ns)) /
				1000000000,
			(unsigned long long)keep->duration_ns / 1000);
	if (keep->failing)
		rt_text(text, ",snapshot_error=%s", keep->error);
}

static void info_log(struct rt_buf *text, const struct rt_feed *feed)
{
	const struct rt_journal *journal = &feed->journal;

	static const char *const modes[] = { "none", "memory", "os", "disk" };
	const struct rt_log *log = &journal->log;

	rt_text(text, ",durability=%s", modes[journal->config->durability]);
	if (journal->has_log)
		rt_text(text,
			",log_oldest=%llu,log_bytes=%llu,log_synced=%llu,log_syncs=%"
			"llu,"
			"log_sync_us=%llu",
			(unsigned long long)rt_log_oldest(log),
			(unsigned long long)log->n_bytes,
			(unsigned long long)log->synced,
			(unsigned long long)journal->n_syncs,
			(unsigned long long)journal->sync_ns / 1000);
	if (journal->has_log)
		rt_text(text, ",log_damage=%llu,log_check=%s",
			(unsigned long long)feed->retention.checking.n_damaged,
			feed->retention.checking.rest.below ? "running" : "done");
	if (journal->has_log)
		info_snapshots(text, feed);
	rt_text(text, "\r\n");
}

/* To who may not read it only that it is there. */
static void info_feed(struct rt_buf *text, const struct rt_feed *feed, unsigned index,
		      bool may_read)
{
	const struct rt_writer *writer = feed->writer;
	char marker[RT_MARKER_LEN + 1];
	uint64_t oldest, head;

	if (!may_read || !writer) {
		rt_text(text, "feed%u:name=%s,state=%s%s%s\r\n", index,
			feed->config->name, writer ? "live" : "not-served",
			may_read ? ",reason=" : "", may_read ? feed->reason : "");
		return;
	}
	rt_ring_bounds(&writer->segment, &oldest, &head);
	/* What everybody can see; a newer seq could still be lost. */
	head = rt_writer_head(writer);
	rt_marker_format(head, writer->segment.geo.epoch, marker);
	rt_text(text, "feed%u:name=%s,state=live,seq=%llu,oldest=%llu,floor=%llu",
		index, feed->config->name, (unsigned long long)head,
		(unsigned long long)oldest,
		(unsigned long long)rt_load64(&writer->hot->floor));
	rt_text(text, ",epoch=%016llx,marker=%s",
		(unsigned long long)writer->segment.geo.epoch, marker);
	rt_text(text,
		",keys=%zu,key_value_bytes=%zu,puts=%llu,deletes=%llu,expired=%llu,"
		"messages=%llu",
		feed->table.n, feed->table.n_bytes,
		(unsigned long long)feed->counts.puts,
		(unsigned long long)feed->counts.deletes,
		(unsigned long long)feed->counts.expired,
		(unsigned long long)feed->counts.messages);
	rt_text(text, ",ring_bytes=%llu,wakes=%llu",
		(unsigned long long)writer->segment.geo.file_size,
		(unsigned long long)rt_load64(&writer->hot->n_wakes));
	info_log(text, feed);
}

static void info_feeds(struct rt_buf *text, const struct rt_session *session)
{
	const struct rt_server *server = session->server;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		info_feed(text, &server->feeds[i], i,
			  rt_session_may_read(session, &server->feeds[i]));
}

static void info_keyspace(struct rt_buf *text, const struct rt_session *session)
{
	const struct rt_server *server = session->server;

	for (unsigned i = 0; i < server->config->n_feeds; i++)
		if (server->feeds[i].writer && server->feeds[i].table.n &&
		    rt_session_may_read(session, &server->feeds[i]))
			rt_text(text, "db%u:keys=%zu,expires=%u,avg_ttl=0\r\n", i,
				server->feeds[i].table.n, server->feeds[i].lives.n_due);
}

void rt_cmd_info(struct rt_session *session, const struct rt_request *request)
{
	static const struct {
		const char *name, *title;
		void (*write)(struct rt_buf *text, const struct rt_session *session);
	} sections[] = {
		{ "server", "Server", info_server },
		{ "clients", "Clients", info_clients },
		{ "memory", "Memory", info_memory },
		{ "persistence", "Persistence", info_persistence },
		{ "stats", "Stats", info_stats },
		{ "replication", "Replication", info_replication },
		{ "feeds", "Feeds", info_feeds },
		{ "keyspace", "Keyspace", info_keyspace },
	};
	struct rt_buf text = { .limit = session->reply.buf.limit };

	for (size_t i = 0; i < RT_N(sections); i++) {
		bool wanted = request->n == 1;

		for (uint32_t j = 1; j < request->n; j++) {
			struct rt_arg arg = rt_arg(request, j);

			wanted |= rt_arg_is(arg, sections[i].name) ||
				  rt_arg_is(arg, "all") || rt_arg_is(arg, "default") ||
				  rt_arg_is(arg, "everything");
		}
		if (!wanted)
			continue;
		rt_text(&text, "%s# %s\r\n", text.len ? "\r\n" : "", sections[i].title);
		sections[i].write(&text, session);
	}
	rt_reply_verbatim(&session->reply, text.data, text.len);
	rt_buf_free(&text);
}

/*
 * ---- COMMAND -----------------------------------------------------------------
 */

static void command_flags(struct rt_reply *reply, const struct rt_command *command)
{
	bool write = command->flags & RT_CMD_WRITE, read = command->flags & RT_CMD_READ;

	rt_reply_array(reply, write || read);
	if (write || read)
		rt_reply_status(reply, write ? "write" : "readonly");
}

/* As Redis 7 has it; the parts that have no meaning here are empty. */
static void command_entry(struct rt_reply *reply, const struct rt_command *command)
{
	rt_reply_array(reply, 10);
	rt_reply_text(reply, command->name);
	rt_reply_int(reply, command->arity);
	command_flags(reply, command);
	rt_reply_int(reply, command->first);
	rt_reply_int(reply, command->last);
	rt_reply_int(reply, command->step);
	for (int i = 0; i < 4; i++)
		rt_reply_array(reply, 0);
}

static void command_all(struct rt_session *session, bool names)
{
	size_t n;
	const struct rt_command *all = rt_commands(&n);

	rt_reply_array(&session->reply, n);
	for (size_t i = 0; i < n; i++) {
		if (names)
			rt_reply_text(&session->reply, all[i].name);
		else
			command_entry(&session->reply, &all[i]);
	}
}

static void command_info(struct rt_session *session, const struct rt_request *request)
{
	rt_reply_array(&session->reply, request->n - 2);
	for (uint32_t i = 2; i < request->n; i++) {
		struct rt_arg name = rt_arg(request, i);
		const struct rt_command *command = rt_command_find(name.ptr, name.len);

		if (command)
			command_entry(&session->reply, command);
		else
			rt_reply_null(&session->reply);
	}
}

void rt_cmd_command(struct rt_session *session, const struct rt_request *request)
{
	size_t n;

	if (request->n == 1) {
		command_all(session, false);
	} else if (rt_arg_is(rt_arg(request, 1), "count")) {
		(void)rt_commands(&n);
		rt_reply_int(&session->reply, (int64_t)n);
	} else if (rt_arg_is(rt_arg(request, 1), "list")) {
		command_all(session, true);
	} else if (rt_arg_is(rt_arg(request, 1), "docs")) {
		rt_reply_map(&session->reply, 0); /* they are in the manual */
	} else if (rt_arg_is(rt_arg(request, 1), "info")) {
		if (request->n == 2)
			command_all(session, false);
		else
			command_info(session, request);
	} else {
		rt_unknown_subcommand(session, request, "COMMAND");
	}
}

/*
 * ---- CONFIG ------------------------------------------------------------------
 */

struct parameter {
	const char *name;
	char value[128];
};

/* What clients and benchmarks of Redis ask for, as it is here. */
static size_t parameters(const struct rt_server *server, struct parameter *p)
{
	const struct rt_config *config = server->config;
	size_t n = 0;

#define ADD(key, ...) \
	do { \
		p[n].name = (key); \
		(void)snprintf(p[n].value, sizeof(p[n].value), __VA_ARGS__); \
		n++; \
	} while (0)
	ADD("appendonly", "no");
	ADD("databases", "%u", config->n_feeds);
	ADD("dir", "%s", config->dir);
	ADD("maxclients", "%llu", (unsigned long long)rt_config_clients(config));
	ADD("maxmemory", "0");
	ADD("port", "0");
	ADD("proto-max-bulk-len", "%llu", (unsigned long long)config->max_query);
	ADD("save", "%s", "");
	ADD("timeout", "0");
	ADD("unixsocket", "%s", config->socket);
#undef ADD
	return n;
}

static void config_get(struct rt_session *session, const struct rt_request *request)
{
	struct parameter p[16];
	size_t n = parameters(session->server, p), n_wanted = 0;
	bool wanted[RT_N(p)] = { false };

	for (size_t i = 0; i < n; i++) {
		for (uint32_t j = 2; j < request->n; j++) {
			struct rt_arg arg = rt_arg(request, j);

			wanted[i] |= arg.len <= sizeof(p[i].value) &&
				     rt_glob_match(arg.ptr, arg.len,
						   (const uint8_t *)p[i].name,
						   strlen(p[i].name));
		}
		n_wanted += wanted[i];
	}
	rt_reply_map(&session->reply, n_wanted);
	for (size_t i = 0; i < n; i++) {
		if (!wanted[i])
			continue;
		rt_reply_text(&session->reply, p[i].name);
		rt_reply_text(&session->reply, p[i].value);
	}
}

void rt_cmd_config(struct rt_session *session, const struct rt_request *request)
{
	struct rt_arg sub = rt_arg(request, 1);

	if (rt_arg_is(sub, "get")) {
		if (request->n < 3)
			rt_wrong_arity(session, "config|get");
		else
			config_get(session, request);
	} else if (rt_arg_is(sub, "resetstat")) {
		session->server->stats = (struct rt_stats){ .commands = 0 };
		rt_reply_ok(&session->reply);
	} else if (rt_arg_is(sub, "set") || rt_arg_is(sub, "rewrite")) {
		rt_session_error(session, "ERR settings are read at start: change the "
					  "configuration file or flags and restart; "
					  "SIGHUP is enough for who may read and "
					  "publish");
	} else {
		rt_unknown_subcommand(session, request, "CONFIG");
	}
}
