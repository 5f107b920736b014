// With `socketio.check_origin`, pages of foreign origins open no session; everybody else does.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

const OWN = 'https://chat.example.org';

let server;
before(async () => {
    server = await Hobnob.start({ env: { CLIENT_ORIGIN: OWN, HOBNOB_SOCKETIO__CHECK_ORIGIN: 'true' } });
});
after(async () => {
    closeAll();
    await server.remove();
});

for (const [generation, transport] of COMBINATIONS) {
    test(`client ${generation}.x is no page and connects, ${transport}`, async () => {
        const peer = await Peer.connect(server.url, { generation, transport, token: server.token('ann') });
        await peer.hears('session:ready');
        peer.close();
    });
}

test('a page of a foreign origin is told Forbidden, and one that is listed is let in', async () => {
    const open = async (headers, query = '') => {
        const response = await fetch(`${server.url}/socket.io/?EIO=3&transport=polling${query}`, { headers });
        return [response.status, await response.text()];
    };
    const forbidden = [403, '{"code":4,"message":"Forbidden"}'];
    assert.equal((await open({ origin: OWN }))[0], 200);
    assert.equal((await open({ origin: 'https://other.example', 'sec-fetch-site': 'same-origin' }))[0], 200);
    for (const origin of ['https://evil.example', 'null', `${OWN}.evil.example`, 'http://chat.example.org']) {
        assert.deepEqual(await open({ origin }), forbidden, origin);
    }
    assert.deepEqual(await open({ 'sec-fetch-site': 'cross-site' }, '&j=0'), forbidden, 'a script');
});

test('a WebSocket of a foreign page is refused before it is one', async () => {
    for (const [origin, fits] of [[OWN, true], ['https://evil.example', false]]) {
        const options = { transport: 'websocket only', token: server.token('ben'), extraHeaders: { origin } };
        const outcome = await Peer.connect(server.url, options).catch((error) => error);
        assert.equal(outcome instanceof Peer, fits, `${origin}: ${outcome}`);
    }
});
