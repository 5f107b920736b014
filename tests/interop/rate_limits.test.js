// Rate limits, as official clients and plain HTTP meet them.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start({
        limited: true,
        env: {
            HOBNOB_RATE_LIMITS__ROLES: '{"bot": {"max": 60, "window_ms": 10000}}',
            HOBNOB_RATE_LIMITS__EVENTS: '{"conversation:rename": {"max": 2, "window_ms": 60000}}',
            HOBNOB_RATE_LIMITS__SOCKETS_PER_USER: '3',
            HOBNOB_RATE_LIMITS__SESSIONS_PER_ADDRESS: '2',
            HOBNOB_RATE_LIMITS__ADDRESS_MAX: '6',
            HOBNOB_RATE_LIMITS__REST_MAX: '5',
            HOBNOB_SERVER__TRUSTED_PROXIES: '127.0.0.1',
        },
    });
});
after(async () => {
    closeAll();
    await server.remove();
});

const connect = (user, options = {}) => Peer.connect(server.url, { token: server.token(user, options.claims), ...options });

/** A refusal of an event, without what depends on the moment. */
function assertLimited(ack, limit) {
    const { retryAfterMs, ...rest } = ack;
    const expected = { ok: false, error: 'Rate limit exceeded', code: 'rate_limited', limit, windowMs: 10_000, remaining: 0 };
    assert.deepEqual(rest, expected);
    assert.ok(retryAfterMs > 0 && retryAfterMs <= 10_000, `${retryAfterMs} ms`);
}

for (const generation of GENERATIONS) {
    test(`two sockets and two namespaces of client ${generation}.x share the limit of their user`, async () => {
        const user = `loud-${generation}`;
        const [phone, laptop] = [await connect(user, { generation }), await connect(user, { generation, namespace: '/messages' })];
        const neighbour = await connect(`quiet-${generation}`, { generation });
        const send = (peer) => peer.call('message:send', { to: 'somebody', content: 'x' });
        const acks = await Promise.all(Array.from({ length: 60 }, (_, n) => send(n % 2 ? phone : laptop)));
        const refused = acks.filter(({ ok }) => !ok);
        // Three come back in each second that this takes.
        assert.ok(refused.length >= 20 && refused.length <= 30, `${refused.length} refused`);
        assertLimited(refused[0], 30);
        // The event comes before the ack.
        const [told] = [phone, laptop].flatMap((peer) => peer.all('rate-limit-exceeded'));
        assert.deepEqual([told.event, told.limit, told.windowMs, told.remaining], ['message:send', 30, 10_000, 0]);
        assert.ok(told.retryAfter >= 1 && told.retryAfterMs > 0 && told.message.length > 0);
        for (let n = 0; n < 10; n += 1) await neighbour.ok('message:send', { to: 'somebody', content: 'x' });
        assert.deepEqual(neighbour.all('rate-limit-exceeded'), []);
        for (const peer of [phone, laptop, neighbour]) peer.close();
    });
}

test('a client that confirms each message does not lock itself out', async () => {
    const sender = await connect('writer', { claims: { roles: ['bot'] } });
    const reader = await connect('reader');
    for (let n = 0; n < 50; n += 1) {
        const { id } = await sender.ok('message:send', { to: 'reader', content: String(n) });
        await reader.hears('message:new', (message) => message.id === id);
        await reader.ok('message:delivered', { messageId: id });
        await reader.ok('message:read', { messageId: id });
    }
    await reader.ok('message:send', { to: 'writer', content: 'all read' });
    for (const peer of [sender, reader]) peer.close();
});

test('an event with a limit of its own is counted by that alone', async () => {
    const peer = await connect('namer');
    const group = { type: 'group', participants: [], name: 'One' };
    const { conversation } = await peer.ok('conversation:create', group);
    const rename = (name) => peer.call('conversation:rename', { conversationId: conversation.id, name });
    assert.deepEqual([(await rename('Two')).ok, (await rename('Three')).ok], [true, true]);
    const refused = await rename('Four');
    assert.deepEqual([refused.code, refused.limit, refused.windowMs], ['rate_limited', 2, 60_000]);
    await peer.ok('message:send', { conversationId: conversation.id, content: 'still there' });
    peer.close();
});

test('a flood is cut off, and others go on', async () => {
    const [flood, neighbour] = [await connect('flood'), await connect('dry')];
    for (let n = 0; n < 400; n += 1) flood.emit('message:send', { to: 'dry', content: 'x' });
    await flood.hears('disconnect');
    await neighbour.ok('message:send', { to: 'flood', content: 'calm down' });
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^hobnob_sessions_closed_total\{reason="flood"\} 1$/m);
    neighbour.close();
});

test('a user has only so many sockets in a namespace', async () => {
    const peers = [await connect('many'), await connect('many'), await connect('many')];
    await assert.rejects(connect('many'), (refused) => {
        assert.deepEqual([refused.data.code, refused.data.limit], ['rate_limited', 3]);
        return true;
    });
    peers.push(await connect('many', { namespace: '/messages' }));
    peers.shift().close();
    // Whoever waits until the other one has gone is let in.
    for (;;) {
        const again = await connect('many').catch(() => undefined);
        if (again) break;
    }
    for (const peer of peers) peer.close();
});

test('REST tells what is left and answers 429 with the time to wait', async () => {
    const get = (user) =>
        fetch(`${server.url}/api/conversations`, { headers: { authorization: `Bearer ${server.token(user)}` } });
    const first = await get('visitor');
    assert.equal(first.status, 200);
    const header = (response, name) => response.headers.get(name);
    assert.deepEqual(
        ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'ratelimit-policy', 'ratelimit'].map((name) => header(first, name)),
        ['5', '4', '2', '"user";q=5;w=10', '"user";r=4;t=2'],
    );
    for (let n = 0; n < 4; n += 1) await get('visitor');
    const refused = await get('visitor');
    const body = await refused.json();
    assert.deepEqual([refused.status, body.code, body.limit], [429, 'rate_limited', 5]);
    assert.ok(Number(header(refused, 'retry-after')) >= 1);
    assert.equal((await get('another')).status, 200);
});

/** A handshake as a proxy passes it on. */
const handshake = (address) =>
    fetch(`${server.url}/socket.io/?EIO=4&transport=polling`, { headers: { 'x-forwarded-for': address } });

test('sessions of one address are counted, by /64 with IPv6', async () => {
    assert.equal((await handshake('2001:db8:1::1')).status, 200);
    assert.equal((await handshake('2001:db8:1::2')).status, 200);
    const refused = await handshake('2001:db8:1::3');
    const body = await refused.json();
    assert.deepEqual([refused.status, body.error, body.limit], [429, 'rate_limited', 2]);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.equal((await handshake('2001:db8:2::1')).status, 200);
    const through = await connect('behind', { extraHeaders: { 'x-forwarded-for': '2001:db8:3::1' } });
    through.close();
});

test('an address from which only bad tokens come is kept out for a while, and nobody else', async () => {
    const from = (address, token) =>
        fetch(`${server.url}/api/conversations`, { headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': address } });
    for (let n = 0; n < 6; n += 1) assert.equal((await from('203.0.113.9', 'bad')).status, 401);
    const refused = await from('203.0.113.9', 'bad');
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.equal((await handshake('203.0.113.9')).status, 429);
    assert.equal((await from('203.0.113.9', server.token('neighbour'))).status, 200, 'a good token is good');
    assert.equal((await from('203.0.113.10', 'bad')).status, 401);
});

test('limits change while the server runs', async () => {
    const own = await Hobnob.start({ limited: true });
    const peer = await Peer.connect(own.url, { token: own.token('ann') });
    const send = () => peer.call('message:send', { to: 'bob', content: 'x' });
    assert.equal((await send()).ok, true);
    await writeFile(join(own.dir, 'config.toml'), '[rate_limits]\nmax = 2\nwindow_ms = 60000\n');
    own.child.process.kill('SIGHUP');
    await own.logs(/"settings reloaded"/);
    assert.equal((await send()).ok, true, 'the second of two');
    const refused = await send();
    assert.deepEqual([refused.code, refused.limit, refused.windowMs], ['rate_limited', 2, 60_000]);
    peer.close();
    await own.remove();
});
