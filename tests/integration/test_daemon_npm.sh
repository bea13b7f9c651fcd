#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_daemon_npm.sh - the npm package `redis`, as its users use it
#
# The package is fetched once into the build folder.
# shellcheck source=tests/support/daemon.sh
. "$RINGTAIL_SOURCE_ROOT/tests/support/daemon.sh"

skip()
{
	echo "skipped: $*"
	exit 77
}

command -v node npm >/dev/null || skip "node or npm is missing"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 18 ] || skip "node is older than 18"
cache=$RINGTAIL_BUILD_ROOT/tests/npm
if [ ! -d "$cache/node_modules/redis" ]; then
	fresh=$(mktemp -d "$RINGTAIL_BUILD_ROOT/tests/npm-XXXXXX")
	(cd "$fresh" && timeout 60 npm install --no-audit --no-fund --silent redis@5) >"$work/npm" 2>&1 || {
		rm -rf "$fresh"
		skip "npm cannot fetch the package: $(tail -1 "$work/npm")"
	}
	mv -T "$fresh" "$cache" 2>/dev/null || rm -rf "$fresh"
fi

daemon_start --feed main,size=1M --feed prices,size=64K
cat >"$work/client.mjs" <<'END'
import assert from 'node:assert';
import { createRequire } from 'node:module';

const { createClient } = createRequire(process.env.CACHE + '/')('redis');

for (const RESP of [2, 3]) {
	const client = createClient({
		RESP, name: 'tester', socket: { path: process.env.RINGTAIL_SOCKET },
	});
	client.on('error', (error) => { throw error; });
	await client.connect();
	await client.del(['user:1', 'user:2', 'a', 'b']);

	assert.equal(await client.ping(), 'PONG');
	assert.equal(await client.clientGetName(), 'tester');
	assert.equal(await client.set('user:1', 'Ada'), 'OK');
	assert.equal(await client.get('user:1'), 'Ada');
	assert.equal(await client.get('user:2'), null);
	assert.equal(await client.set('user:1', 'Eve', { condition: 'NX' }), null);
	assert.equal(await client.mSet({ a: '1', b: '2' }), 'OK');
	assert.deepEqual(await client.mGet(['a', 'none', 'b']), ['1', null, '2']);
	assert.equal(await client.exists(['a', 'b', 'none']), 2);
	assert.equal(await client.publish('news', 'hello'), 0);
	assert.equal(await client.dbSize(), 3);

	assert.deepEqual(await client.multi().set('a', '3').get('a').del('b').exec(), ['OK', '3', 1]);
	await assert.rejects(client.multi().set('a', '4').set('', 'x').exec(), /a key of feed/);
	assert.equal(await client.get('a'), '3');
	await assert.rejects(client.sendCommand(['NOSUCH']), /unknown command 'NOSUCH'/);
	assert.equal(await client.set('a', 'x', { expiration: { type: 'EX', value: 900 } }), 'OK');
	assert.ok(await client.ttl('a') > 800);
	assert.equal(await client.persist('a'), 1);
	assert.equal(await client.ttl('a'), -1);

	const many = await Promise.all(Array.from({ length: 2000 }, (_, i) =>
		client.set('many:' + i % 100, String(i))));
	assert.equal(many.filter((reply) => reply === 'OK').length, 2000);
	const keys = new Set();
	for await (const found of client.scanIterator({ MATCH: 'many:*', COUNT: 50 }))
		for (const key of found)
			keys.add(key);
	assert.equal(keys.size, 100);
	await client.del([...keys]);

	await client.select(1);
	assert.equal(await client.get('a'), null);
	assert.match(await client.info(), /redis_version:7/);
	assert.equal((await client.configGet('save')).save, '');
	assert.equal((await client.clientInfo()).name, 'tester');
	await client.close();
}
console.log('fine');
END
CACHE=$cache timeout 60 node "$work/client.mjs" >"$work/said" 2>&1 || fail "$(cat "$work/said")"
same fine "$(tail -1 "$work/said")" "the client"
