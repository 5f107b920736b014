// Coming in: with a token, without one, into a namespace, and by a mistaken path.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { within } from './support/deadline.js';
import { COMBINATIONS, GENERATIONS, Peer, Refused, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start();
});
after(async () => {
    closeAll();
    await server.remove();
});

for (const [generation, transport] of COMBINATIONS) {
    test(`client ${generation}.x connects with a token and is greeted, ${transport}`, async () => {
        const user = `greeted-${generation}`;
        const peer = await Peer.connect(server.url, { generation, transport, token: server.token(user) });
        const ready = await peer.hears('session:ready');
        assert.equal(ready.userId, user);
        assert.equal(ready.recovered, false);
        assert.ok(!Number.isNaN(Date.parse(ready.serverTime)), ready.serverTime);
        assert.deepEqual(ready.conversations, {});
        // Clients 1.x and 2.x put the namespace in front of the id that the server knows.
        if (generation >= 3) assert.equal(ready.socketId, peer.socket.id);
        assert.equal(peer.heard[0].event, 'session:ready', 'nothing comes before the greeting');
        if (transport === 'polling with upgrade') await peer.upgraded();
        else assert.equal(peer.currentTransport, transport.split(' ')[0]);
        peer.close();
    });

    test(`client ${generation}.x is refused without a token and told why, ${transport}`, async () => {
        const refused = await Peer.connect(server.url, { generation, transport }).catch((error) => error);
        assert.ok(refused instanceof Refused, String(refused));
        assert.match(refused.message, /^Unauthorized/);
        if (generation >= 3) assert.equal(refused.data.code, 'token_missing');
    });
}

for (const generation of GENERATIONS) {
    test(`client ${generation}.x is refused with a token that is expired, forged or none at all`, async () => {
        const good = server.token('mallory');
        const tokens = {
            token_expired: server.token('mallory', { exp: 1_000_000_000 }),
            token_invalid: good.slice(0, -4) + (good.endsWith('AAAA') ? 'BBBB' : 'AAAA'),
            token_malformed: 'letmein',
        };
        for (const [code, token] of Object.entries(tokens)) {
            const refused = await Peer.connect(server.url, { generation, token }).catch((error) => error);
            assert.ok(refused instanceof Refused, String(refused));
            assert.match(refused.message, /^Unauthorized - /, code);
            if (generation >= 3) assert.equal(refused.data.code, code);
        }
    });

    test(`client ${generation}.x is told Invalid namespace, and its other namespaces go on`, async () => {
        const token = server.token('lost');
        const options = generation < 3 ? { query: `token=${token}` } : {};
        const peer = await Peer.connect(server.url, { generation, token });
        const refused = await peer.join('/nope', options).catch((error) => error);
        assert.ok(refused instanceof Refused, String(refused));
        assert.match(refused.message, /Invalid namespace/);
        const ack = await peer.ok('get-missed-messages', {});
        assert.equal(ack.count, 0);
        peer.close();
    });
}

for (const generation of [3, 4]) {
    test(`an app that calls connect() once too often with client ${generation}.x keeps its connection`, async () => {
        const token = server.token('hasty');
        const peer = await Peer.connect(server.url, { generation, token });
        const messages = peer.socket.io.socket('/messages', { auth: { token } });
        const connected = new Promise((resolve) => messages.once('connect', resolve));
        messages.connect();
        messages.connect();
        await within(connected, 'the socket connects');
        const ack = new Promise((resolve) => messages.emit('get-missed-messages', {}, resolve));
        assert.equal((await within(ack, 'an ack in /messages')).ok, true);
        await peer.ok('get-missed-messages', {});
        peer.close();
    });
}

test('a token of the command line opens a server that made its own secret', async () => {
    const own = await Hobnob.start({ secret: null });
    try {
        const peer = await Peer.connect(own.url, { token: await own.signToken('alice') });
        assert.equal((await peer.hears('session:ready')).userId, 'alice');
        peer.close();
    } finally {
        await own.remove();
    }
});

test('a client that takes the namespace for the path is told what to write', async () => {
    for (const engine of [3, 4]) {
        const response = await fetch(`${server.url}/messages/?EIO=${engine}&transport=polling`);
        const body = await response.json();
        assert.equal(response.status, 404);
        assert.equal(body.code, 'not_found');
        assert.ok(body.error.includes(`io('${server.url}/messages', { auth: { token } })`), body.error);
    }
});

test('a client with a mistaken path does not connect', async () => {
    for (const generation of GENERATIONS) {
        const options = { generation, path: '/messages', token: server.token('alice') };
        const refused = await Peer.connect(server.url, options).catch((error) => error);
        assert.ok(refused instanceof Refused, String(refused));
    }
});

test('the sid, with which polling requests prove who they are, is in no log line', async () => {
    const logging = await Hobnob.start({ env: { SOCKET_LOGGING: 'true' } });
    try {
        for (const generation of GENERATIONS) {
            const token = logging.token(`logged-${generation}`);
            const peer = await Peer.connect(logging.url, { generation, transport: 'polling', token });
            await peer.join('/messages', generation < 3 ? { query: `token=${token}` } : { auth: { token } });
            await peer.ok('get-missed-messages', {});
            const sid = peer.socket.io.engine.id;
            assert.ok(sid.length >= 20, sid);
            peer.close();
            await logging.logs(new RegExp(`Socket disconnected.*logged-${generation}|logged-${generation}.*Socket disconnected`));
            assert.ok(!logging.log.some((line) => line.includes(sid)), `${sid} is in the log:\n${logging.log.join('\n')}`);
        }
    } finally {
        await logging.remove();
    }
});
