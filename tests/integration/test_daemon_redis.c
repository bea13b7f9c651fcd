/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_redis.c - the same bytes to ringtaild and to redis-server
 *
 * Each script goes to both over a connection of its own; every byte that comes back
 * must be the same.  Scripts use keys of their own, so none depends on another.
 */
#include "tests/support/t.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/daemon.h"

#define REPLY_MAX 65536

struct fixture {
	struct t_daemon daemon;
	char *redis_dir;
	char redis_socket[96];
	int redis_pid;
};

static struct fixture f;

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		(void)close(fd);
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/*
 * Everything that comes back for @len bytes of @script: until the reply to a last
 * ECHO, or until the server closes, which it must if @ends.
 */
static char *talk(const char *path, const char *script, size_t len, bool ends)
{
	static const char last[] = "*2\r\n$4\r\nECHO\r\n$9\r\nthat-is-a\r\n";
	static const char end[] = "$9\r\nthat-is-a\r\n";
	char *reply = calloc(1, REPLY_MAX);
	int fd = connect_to(path);
	size_t n = 0;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, script, len, MSG_NOSIGNAL), len);
	/* Fails where the script has ended the connection. */
	if (!ends)
		(void)send(fd, last, sizeof(last) - 1, MSG_NOSIGNAL);
	for (;;) {
		ssize_t got = recv(fd, reply + n, REPLY_MAX - 1 - n, 0);

		if (got < 0 && errno == ECONNRESET)
			got = 0;
		assert_true(got >= 0);
		if (!got)
			break;
		n += (size_t)got;
		if (n >= sizeof(end) - 1 &&
		    !memcmp(reply + n - (sizeof(end) - 1), end, sizeof(end) - 1))
			break;
		assert_true(n < REPLY_MAX - 1);
	}
	(void)close(fd);
	return reply;
}

static bool redis_answers(void *arg)
{
	int fd = connect_to(arg);

	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

static int run_redis(void *arg)
{
	const char *path = arg;

	(void)freopen("/dev/null", "w", stdout);
	(void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
		     path, "--save", "", "--appendonly", "no", (char *)NULL);
	return 127;
}

static int open_both(void **state)
{
	(void)state;
	t_daemon_start(&f.daemon, "--feed", "main,size=1M", NULL);
	f.redis_dir = t_dir_new();
	(void)snprintf(f.redis_socket, sizeof(f.redis_socket), "%s/redis.sock",
		       f.redis_dir);
	f.redis_pid = t_spawn(run_redis, f.redis_socket);
	assert_true(t_within_ms(T_PATIENCE_MS, redis_answers, f.redis_socket));
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	t_daemon_drop(&f.daemon);
	(void)kill(f.redis_pid, SIGKILL);
	(void)t_join(f.redis_pid);
	t_dir_drop(f.redis_dir);
	return 0;
}

static void compare(const char *script, size_t len, bool ends)
{
	char *ours = talk(f.daemon.socket, script, len, ends);
	char *theirs = talk(f.redis_socket, script, len, ends);

	if (strcmp(ours, theirs))
		fail_msg("\n--- script\n%s\n--- ringtaild\n%s\n--- "
			 "redis-server\n%s\n---",
			 script, ours, theirs);
	free(ours);
	free(theirs);
}

static void compare_all(const char *const *scripts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		compare(scripts[i], strlen(scripts[i]), false);
}

static void keys_are_set_read_and_deleted_alike(void **state)
{
	static const char *const scripts[] = {
		"SET a1 x\r\nGET a1\r\nGET a1-none\r\nDEL a1 a1-none\r\nDEL a1\r\nGET "
		"a1\r\n",
		"set a2 x\r\nSeT a2 y\r\nget a2\r\nSTRLEN a2\r\nSTRLEN a2-none\r\n",
		"SET a3 x NX\r\nSET a3 y NX\r\nGET a3\r\nSET a3-none x XX\r\nSET a3 z "
		"XX\r\nGET a3\r\n",
		"SET a4 x GET\r\nSET a4 y GET\r\nSET a4 z NX GET\r\nGET a4\r\nSET a4-2 "
		"x XX GET\r\n",
		"SET a5 x KEEPTTL\r\nSET a5 x NX XX\r\nSET a5 x FOO\r\nSET a5 x "
		"EX\r\nSET a5\r\nSET\r\n",
		"SETNX a6 x\r\nSETNX a6 y\r\nGET a6\r\nSETNX a6\r\n",
		"MSETNX e6 x f6 y\r\nMSETNX g6 x f6 z\r\nMGET e6 f6 g6\r\nMSETNX e6\r\n"
		"MSETNX h6 x h6 y\r\nGET h6\r\nMSETNX e6 x f6\r\n",
		"MSET a7 1 b7 2\r\nMGET a7 none7 b7\r\nMSET a7\r\nMSET a7 1 "
		"b7\r\nMGET\r\n",
		"MSET a8 1 a8 2 a8 3\r\nGET a8\r\nEXISTS a8 a8 "
		"none8\r\nEXISTS\r\nUNLINK a8 a8\r\n",
		"SET a9 \"\"\r\nGET a9\r\nSTRLEN a9\r\nEXISTS a9\r\nTYPE a9\r\nTYPE "
		"none9\r\n",
		"TTL none10\r\nSET a10 x\r\nTTL a10\r\nPTTL a10\r\nGET a10 "
		"b\r\nTTL\r\n",
		"SET a11 \"q\\x41\\n\\\"z\"\r\nGET a11\r\nSET a11 'it\\'s'\r\nGET "
		"a11\r\n",
		"PUBLISH c12 x\r\nPUBLISH c12\r\nPUBLISH\r\n",
	};

	(void)state;
	compare_all(scripts, T_N(scripts));
}

static void keys_expire_alike(void **state)
{
	static const char *const scripts[] = {
		"SET x1 v EX 100\r\nTTL x1\r\nGET x1\r\nSET x1 w\r\nTTL x1\r\n",
		"SET x2 v PX 100000\r\nTTL x2\r\nSET x2 w KEEPTTL\r\nTTL x2\r\nGET "
		"x2\r\n",
		"SET x3 v EXAT 4000000000\r\nEXPIRETIME x3\r\nPEXPIRETIME x3\r\n",
		"SET x4 v PXAT 4000000000123\r\nEXPIRETIME x4\r\nPEXPIRETIME x4\r\n",
		"SET x5 v EX 0\r\nSET x5 v EX -1\r\nSET x5 v PX 0\r\nSET x5 v EX x\r\n"
		"SET x5 v EX 9223372036854775807\r\nSET x5 v PX "
		"9223372036854775807\r\nSET x5 v PXAT 9223372036854775807\r\n"
		"PEXPIRETIME x5\r\nSET x5 v EX 9223372036854775\r\nSET x5 v EXAT "
		"9223372036854775\r\nSET x5 v EXAT 9223372036854776\r\n",
		"SET x6 v EX 10 KEEPTTL\r\nSET x6 v KEEPTTL EX 10\r\nSET x6 v EX 10 PX "
		"10\r\nSET x6 v EX\r\nSET x6 v PXAT\r\nSET x6 v PERSIST\r\nGET x6\r\n",
		"SET x7 v NX EX 100\r\nSET x7 w NX EX 200\r\nTTL x7\r\nSET x7 w XX GET "
		"EX 300\r\nTTL x7\r\nGET x7\r\n",
		"SETEX x8 100 v\r\nTTL x8\r\nPSETEX x8 200000 w\r\nTTL x8\r\nGET "
		"x8\r\n",
		"SETEX x9 0 v\r\nSETEX x9 x v\r\nSETEX x9 10\r\nPSETEX x9 -1 "
		"v\r\nPSETEX "
		"x9\r\nGET x9\r\n",
		"SET x10 v\r\nEXPIRE x10 100\r\nTTL x10\r\nPEXPIRE x10 200000\r\nTTL "
		"x10\r\nEXPIREAT x10 4000000000\r\nEXPIRETIME x10\r\nPEXPIREAT x10 "
		"4000000000999\r\nPEXPIRETIME x10\r\nPERSIST x10\r\nPERSIST "
		"x10\r\nTTL x10\r\nGET x10\r\n",
		"EXPIRE none 10\r\nPERSIST none\r\nTTL none\r\nPTTL none\r\nEXPIRETIME "
		"none\r\nPEXPIRETIME none\r\nSET x11 v\r\nEXPIRETIME "
		"x11\r\nPEXPIRETIME "
		"x11\r\n",
		"SET x12 v\r\nEXPIRE x12 x\r\nEXPIRE x12 "
		"9223372036854775807\r\nPEXPIRE "
		"x12 9223372036854775807\r\nEXPIRE x12\r\nEXPIREAT x12 "
		"9223372036854775807\r\nPEXPIREAT x12 9223372036854775807\r\n"
		"PEXPIRETIME x12\r\n",
		"SET x13 v\r\nEXPIRE x13 -1\r\nGET x13\r\nSET x13 v\r\nEXPIRE x13 0\r\n"
		"EXISTS x13\r\nSET x13 v\r\nEXPIREAT x13 0\r\nGET x13\r\nSET x13 "
		"v\r\nPEXPIREAT x13 1000\r\nGET x13\r\nPEXPIRE x13 -5\r\n",
		"SET x14 v\r\nEXPIRE x14 10 XX\r\nEXPIRE x14 10 GT\r\nEXPIRE x14 100 "
		"LT\r\nEXPIRE x14 50 NX\r\nTTL x14\r\nEXPIRE x14 50 GT\r\nEXPIRE x14 "
		"200 gt\r\nEXPIRE x14 300 LT\r\nEXPIRE x14 20 LT\r\nEXPIRE x14 70 "
		"XX\r\nTTL x14\r\n",
		"SET x15 v\r\nEXPIRE x15 10 NX XX\r\nEXPIRE x15 10 GT LT\r\nEXPIRE x15 "
		"10 "
		"NX GT\r\nEXPIRE x15 10 FOO\r\nEXPIRE x15 x FOO\r\nEXPIRE x15 10 XX "
		"LT\r\nTTL x15\r\nEXPIRE x15 -1 LT\r\nGET x15\r\n",
		"SET x16 v\r\nGETEX x16\r\nTTL x16\r\nGETEX x16 EX 100\r\nTTL "
		"x16\r\nGETEX x16\r\nTTL x16\r\nGETEX x16 PERSIST\r\nTTL x16\r\nGETEX "
		"x16 PX 200000\r\nTTL x16\r\nGETEX x16 EXAT 4000000000\r\nEXPIRETIME "
		"x16\r\nGETEX x16 PXAT 1000\r\nGET x16\r\n",
		"GETEX none\r\nGETEX none EX 0\r\nGETEX\r\nSET x17 v\r\nGETEX x17 "
		"EX\r\n"
		"GETEX x17 EX 0\r\nGETEX x17 EX x\r\nGETEX x17 KEEPTTL\r\nGETEX x17 "
		"NX\r\nTTL x17\r\n",
		"MULTI\r\nSET x18 v EX 100\r\nTTL x18\r\nEXPIRE x18 200\r\nTTL "
		"x18\r\nPERSIST x18\r\nTTL x18\r\nEXPIRE x18 -1\r\nGET x18\r\nEXEC\r\n",
		"SET x19 v EX 100\r\nMSET x19 w\r\nTTL x19\r\nSET x19 v EX 100\r\nDEL "
		"x19\r\nSETNX x19 v\r\nTTL x19\r\n",
		"SET x20 v\r\nWATCH x20\r\nEXPIRE x20 100\r\nMULTI\r\nGET "
		"x20\r\nEXEC\r\n",
		"SET x21 v PXAT 1000\r\nGET x21\r\nEXISTS x21\r\nTTL x21\r\nSET x21 w "
		"XX\r\nSET x21 w NX GET\r\nGET x21\r\nDEL x21\r\n",
		"SET x22 v PXAT 1000\r\nDEL x22\r\nSET x22 v EXAT 1\r\nSETNX x22 "
		"w\r\nGET "
		"x22\r\nSET x22 v EXAT 1\r\nPERSIST x22\r\nEXPIRE x22 100\r\n",
	};

	(void)state;
	compare_all(scripts, T_N(scripts));
}

static void transactions_fail_alike(void **state)
{
	static const char *const scripts[] = {
		"MULTI\r\nSET b1 x\r\nGET b1\r\nDEL b1 none\r\nEXEC\r\nGET b1\r\n",
		"MULTI\r\nEXEC\r\nMULTI\r\nDISCARD\r\nEXEC\r\nDISCARD\r\n",
		"MULTI\r\nMULTI\r\nSET b2 x\r\nEXEC\r\nGET b2\r\n",
		"MULTI\r\nSET b3 x\r\nNOSUCH\r\nSET b3 y\r\nEXEC\r\nGET b3\r\nEXEC\r\n",
		"MULTI\r\nSET b4\r\nEXEC\r\nGET b4\r\n",
		"MULTI\r\nSET b6 x\r\nDISCARD\r\nGET b6\r\n",
		"WATCH b7\r\nMULTI\r\nWATCH b7\r\nSET b7 x\r\nEXEC\r\nGET b7\r\n",
		"WATCH b8\r\nSET b8 x\r\nMULTI\r\nSET b8 y\r\nEXEC\r\nGET "
		"b8\r\nMULTI\r\nEXEC\r\n",
		"WATCH b9\r\nSET b9 x\r\nUNWATCH\r\nMULTI\r\nSET b9 y\r\nEXEC\r\nGET "
		"b9\r\n",
		"WATCH b10\r\nSET b10 x\r\nDISCARD\r\nMULTI\r\nDISCARD\r\nMULTI\r\nGET "
		"b10\r\nEXEC\r\n",
		"MULTI\r\nMSET b11 1 c11 2\r\nMGET b11 c11\r\nDEL b11 c11\r\nMGET b11 "
		"c11\r\nEXEC\r\n",
		"MULTI\r\nSET b13 x\r\nRESET\r\nEXEC\r\nGET b13\r\n",
		"MULTI\r\nSET b14 x\r\nQUIT\r\n",
		"MULTI\r\nPING\r\nPING x\r\nECHO y\r\nEXEC\r\n",
		"EXEC x\r\nMULTI x\r\nDISCARD x\r\n",
		"MULTI\r\nEXEC x\r\nEXEC\r\n",
		"MULTI\r\nUNWATCH\r\nSETNX b15 1\r\nSET b15 2 XX\r\nMSETNX c15 1 d15 "
		"2\r\nEXEC\r\n",
	};

	(void)state;
	compare_all(scripts, T_N(scripts));
}

static void connections_are_managed_alike(void **state)
{
	static const char *const scripts[] = {
		"PING\r\nPING x\r\nPING x y\r\nECHO\r\nECHO x\r\n\r\n   \r\nPING\r\n",
		"NOSUCH\r\nNOSUCH a b c\r\n",
		"SELECT 0\r\nSELECT 99\r\nSELECT -1\r\nSELECT\r\n",
		"AUTH x\r\nAUTH default x\r\nAUTH other x\r\nAUTH a b c\r\nAUTH\r\n",
		"HELLO 4\r\nHELLO 1\r\nHELLO x\r\nHELLO 3 FOO\r\nHELLO 2 AUTH "
		"x\r\nHELLO 2 SETNAME \"a b\"\r\n",
		"CLIENT SETNAME me\r\nCLIENT GETNAME\r\nCLIENT SETNAME \"a "
		"b\"\r\nCLIENT GETNAME\r\n",
		"CLIENT GETNAME\r\nCLIENT SETNAME\r\nCLIENT\r\nCLIENT NOSUCH\r\nCLIENT "
		"ID x\r\n",
		"CLIENT NO-EVICT on\r\nCLIENT NO-EVICT x\r\nCLIENT GETREDIR\r\nCLIENT "
		"REPLY ON\r\n",
		"CONFIG GET save\r\nCONFIG GET appendonly\r\nCONFIG GET "
		"nosuch\r\nCONFIG GET\r\nCONFIG\r\n",
		"CONFIG NOSUCH\r\nCONFIG RESETSTAT\r\nCOMMAND INFO nosuch\r\nCOMMAND "
		"NOSUCH\r\n",
		"RESET\r\nQUIT\r\n",
		"SCAN x\r\nSCAN 0 FOO\r\nSCAN 0 COUNT\r\nSCAN 0 COUNT x\r\nSCAN 0 "
		"COUNT 0\r\nSCAN\r\n",
		"KEYS\r\nKEYS a b\r\nDBSIZE x\r\nTIME x\r\n",
	};

	(void)state;
	compare_all(scripts, T_N(scripts));
}

static void broken_requests_end_alike(void **state)
{
	static const char *const scripts[] = {
		"*1\r\n+PING\r\n",        "*x\r\n",           "*99999999999\r\n",
		"*2147483648\r\n",        "*1\r\n$-1\r\n",    "*1\r\n$x\r\n",
		"*1\r\n$99999999999\r\n", "SET \"a\r\n",      "SET \"a\"b c\r\n",
		"*0\r\n*-1\r\nPING\r\n",  "*03\r\n",          "*1\r\n$04\r\nPING\r\n",
		"*1\r\n$4\r\nPINGxx",     "*1\r\n$0\r\n\r\n", "*+1\r\n$4\r\nPING\r\n",
	};
	char *line = malloc(70000);

	(void)state;
	compare_all(scripts, T_N(scripts));
	memset(line, 'x', 70000);
	compare(line, 70000, true);
	free(line);
}

static void the_third_version_answers_alike(void **state)
{
	/* The reply to HELLO tells the server's name; the rest is the same. */
	static const char script[] =
		"HELLO 3\r\nGET none\r\nMGET none none\r\nSET d1 x NX\r\n"
		"SET d1 y NX\r\nCONFIG GET save\r\nWATCH d1\r\nSET d1 z\r\n"
		"MULTI\r\nEXEC\r\nCLIENT GETNAME\r\nCOMMAND INFO nosuch\r\n";
	char *ours = talk(f.daemon.socket, script, sizeof(script) - 1, false);
	char *theirs = talk(f.redis_socket, script, sizeof(script) - 1, false);
	const char *a = strstr(ours, "modules\r\n*0\r\n"), *b;

	(void)state;
	b = strstr(theirs, "modules\r\n*0\r\n");
	assert_non_null(a);
	assert_non_null(b);
	assert_memory_equal(ours, "%7\r\n$6\r\nserver\r\n", 16);
	assert_string_equal(a, b);
	free(ours);
	free(theirs);
}

static void patterns_match_alike(void **state)
{
	static const char *const patterns[] = {
		"e:*",     "e:?", "e:[ab]",  "e:[^ab]", "e:[a-c]", "e:[c-a]",
		"e:\\*",   "*b",  "e:**b",   "e:[",     "e:[a",    "e:[a-",
		"e:a*c*e", "",    "e:a?c*",  "*:*:*",   "e:[\\]]", "e:[^]x",
		"e:\\",    "E:*", "?:abcde",
	};
	char script[512];

	(void)state;
	for (size_t i = 0; i < T_N(patterns); i++) {
		/* One key at a time: the order of several is nobody's promise. */
		static const char *const keys[] = { "e:a", "e:b",     "e:c", "e:*",
						    "e:]", "e:abcde", "e:\\" };

		for (size_t k = 0; k < T_N(keys); k++) {
			(void)snprintf(script, sizeof(script),
				       "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$1\r\nx\r\n"
				       "*2\r\n$4\r\nKEYS\r\n$%zu\r\n%s\r\n"
				       "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n",
				       strlen(keys[k]), keys[k], strlen(patterns[i]),
				       patterns[i], strlen(keys[k]), keys[k]);
			compare(script, strlen(script), false);
		}
	}
}

int main(void)
{
	/* Patterns first: their KEYS must find nothing else. */
	const struct CMUnitTest tests[] = {
		T0(patterns_match_alike),
		T0(keys_are_set_read_and_deleted_alike),
		T0(transactions_fail_alike),
		T0(connections_are_managed_alike),
		T0(keys_expire_alike),
		T0(broken_requests_end_alike),
		T0(the_third_version_answers_alike),
	};

	if (t_sh(NULL, "command -v redis-server") != 0)
		t_skip_all("redis-server is not installed");
	(void)t_daemon_program();
	return cmocka_run_group_tests_name("daemon_redis", tests, open_both,
					   close_both);
}
