// The server core without chat, `examples/echo.rs`: what any application on it can do.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Echo } from './support/server.js';

let server;
before(async () => {
    server = await Echo.start();
    const first = await Peer.connect(server.url, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    first.close();
});
after(async () => {
    closeAll();
    await server.stop();
});

const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => index % 256));
const args = (heard) => heard.map((value) => (value instanceof ArrayBuffer ? Buffer.from(value) : value));

/** Everything heard under one name, all arguments. */
const heard = (peer, event) => peer.heard.filter((entry) => entry.event === event);

for (const [generation, transport] of COMBINATIONS) {
    const options = { generation, transport };

    test(`client ${generation}.x sends and gets binary attachments, ${transport}`, async () => {
        const peer = await Peer.connect(server.url, options);
        const packets = [
            ['text', 1, { deep: [true, null] }],
            [bytes(300)],
            [bytes(1), 'between', bytes(2)],
            [Buffer.alloc(0)],
            [bytes(100_000)],
            ['no binary again'],
        ];
        for (const packet of packets) peer.emit('message', ...packet);
        await peer.until(() => heard(peer, 'message-back').length === packets.length, 'hears all of it');
        assert.deepEqual(heard(peer, 'message-back').map((entry) => args(entry.args)), packets);
        const nested = { name: 'picture', data: bytes(50), more: [bytes(3)] };
        peer.emit('message', nested);
        await peer.until(() => heard(peer, 'message-back').length > packets.length, 'hears the nested one');
        const [back] = heard(peer, 'message-back').at(-1).args;
        assert.deepEqual({ ...back, data: args([back.data])[0], more: args(back.more) }, nested);
        peer.close();
    });

    test(`client ${generation}.x gets acks and gives them, with and without attachments, ${transport}`, async () => {
        const peer = await Peer.connect(server.url, options);
        assert.deepEqual(await peer.callAll('message-with-ack', 1, 'two', { three: 3 }), [1, 'two', { three: 3 }]);
        assert.deepEqual(args(await peer.callAll('message-with-ack', bytes(20), 'x', bytes(5))), [bytes(20), 'x', bytes(5)]);
        assert.deepEqual(await peer.callAll('message-with-ack'), []);
        for (const answer of [['plain', 7], [bytes(10), 'and text']]) {
            const before = heard(peer, 'emit-with-ack').length;
            peer.emit('emit-with-ack', 'question', bytes(4));
            const asked = await peer.until(() => heard(peer, 'emit-with-ack')[before], 'is asked');
            assert.deepEqual(args(asked.args), ['question', bytes(4)]);
            asked.ack(...answer);
            const told = await peer.until(() => heard(peer, 'emit-with-ack')[before + 1], 'hears its own answer');
            assert.deepEqual(args(told.args), answer);
        }
        peer.close();
    });

    test(`client ${generation}.x uses several namespaces on one connection, ${transport}`, async () => {
        const root = await Peer.connect(server.url, options);
        const custom = await root.join('/custom');
        for (const peer of [root, custom]) assert.deepEqual(await peer.callAll('join', 'room'), []);
        root.emit('message', 'in /');
        custom.emit('message', 'in /custom', bytes(3));
        assert.equal(await root.hears('message-back'), 'in /');
        assert.equal(await custom.hears('message-back'), 'in /custom');
        await custom.callAll('say', { room: 'room', data: 'hello' });
        assert.equal(await custom.hears('said'), 'hello');
        // A room belongs to its namespace, and the other one goes on when one is left.
        custom.close();
        assert.deepEqual(await root.callAll('echo', 'still here'), ['still here']);
        assert.deepEqual(heard(root, 'said'), []);
        assert.equal(heard(root, 'message-back').length, 1);
        root.close();
    });
}

test('the client of 3.x and later gets its auth object back', async () => {
    for (const generation of [3, 4]) {
        const peer = await Peer.connect(server.url, { generation, auth: { token: 'abc', n: 1 } });
        assert.deepEqual(await peer.hears('auth'), { token: 'abc', n: 1 });
        peer.close();
    }
});
