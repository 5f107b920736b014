// Clients with `socket.io-msgpack-parser`, unmodified, beside clients without it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import parser from 'socket.io-msgpack-parser';
import parser2 from 'socket.io-msgpack-parser-2';

import { Peer, Refused, TRANSPORTS, closeAll } from './support/peer.js';
import { Echo, Hobnob } from './support/server.js';

let echo;
let server;
before(async () => {
    [echo, server] = await Promise.all([Echo.start(), Hobnob.start()]);
    const first = await Peer.connect(echo.url, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    first.close();
});
after(async () => {
    closeAll();
    await Promise.all([echo.stop(), server.remove()]);
});

/** Options for a client that speaks MessagePack. The server speaks first to clients 2.x, so they have to say it in the query. */
function packed(generation, { token, ...options } = {}) {
    if (generation > 2) return { generation, parser, token, ...options };
    const query = token === undefined ? { parser: 'msgpack' } : { parser: 'msgpack', token };
    return { generation, parser: parser2, query, ...options };
}

const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => index % 256));
const plain = (value) => (value instanceof ArrayBuffer ? Buffer.from(value) : value);
const heard = (peer, event) => peer.heard.filter((entry) => entry.event === event).map(({ args }) => args.map(plain));
const COMBINATIONS = [2, 3, 4].flatMap((generation) =>
    Object.keys(TRANSPORTS).map((transport) => [generation, transport]),
);

for (const [generation, transport] of COMBINATIONS) {
    const options = packed(generation, { transport });

    test(`client ${generation}.x sends and gets MessagePack, ${transport}`, async () => {
        const peer = await Peer.connect(echo.url, options);
        const packets = [
            ['text', 1, { deep: [true, null, { list: Array.from({ length: 20 }, (_, n) => n) }] }],
            [bytes(300)],
            [bytes(1), 'between', bytes(2)],
            [Buffer.alloc(0)],
            [bytes(100_000)],
            [{ name: 'picture', data: bytes(50), more: [bytes(3)] }],
            [-1, -33, -129, -40_000, -3_000_000_000, 127, 128, 256, 65_536, Number.MAX_SAFE_INTEGER, 0.5, -1.5e-300],
            ['é€😀 "\\\n\u0001', 'x'.repeat(40), 'y'.repeat(300), 'z'.repeat(70_000)],
            [Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`key ${n}`, [n]]))],
            [],
        ];
        for (const packet of packets) peer.emit('message', ...packet);
        await peer.until(() => heard(peer, 'message-back').length === packets.length, 'hears all of it');
        assert.deepEqual(heard(peer, 'message-back'), packets);
        peer.close();
    });

    test(`what JSON cannot say comes back as JSON.stringify would have it, client ${generation}.x, ${transport}`, async () => {
        const peer = await Peer.connect(echo.url, options);
        const odd = [new Date(1_700_000_000_123), undefined, { gone: undefined, kept: 1 }, NaN, -Infinity, -0, 2 ** 60];
        assert.deepEqual(await peer.callAll('echo', ...odd), JSON.parse(JSON.stringify(odd)));
        const [buffer] = await peer.callAll('echo', new Uint8Array([1, 2, 3]).buffer);
        assert.deepEqual(buffer, Buffer.from([1, 2, 3]));
        peer.close();
    });

    test(`acks go both ways, client ${generation}.x, ${transport}`, async () => {
        const peer = await Peer.connect(echo.url, options);
        assert.deepEqual(await peer.callAll('message-with-ack', 1, 'two', { three: 3 }), [1, 'two', { three: 3 }]);
        assert.deepEqual(await peer.callAll('message-with-ack', bytes(20), 'x', bytes(5)), [bytes(20), 'x', bytes(5)]);
        assert.deepEqual(await peer.callAll('message-with-ack'), []);
        for (const answer of [['plain', 7], [bytes(10), 'and text']]) {
            const before = heard(peer, 'emit-with-ack').length;
            peer.emit('emit-with-ack', 'question', bytes(4));
            const asked = await peer.until(
                () => peer.heard.filter(({ event }) => event === 'emit-with-ack')[before], 'is asked',
            );
            assert.deepEqual(asked.args.map(plain), ['question', bytes(4)]);
            asked.ack(...answer);
            const told = await peer.until(() => heard(peer, 'emit-with-ack')[before + 1], 'hears its own answer');
            assert.deepEqual(told, answer);
        }
        peer.close();
    });

    test(`a room is for clients of both kinds, client ${generation}.x, ${transport}`, async () => {
        const room = `room ${generation} ${transport}`;
        const one = await Peer.connect(echo.url, options);
        const other = await Peer.connect(echo.url, packed(generation, { transport }));
        const json = await Peer.connect(echo.url, { generation, transport });
        const peers = [one, other, json];
        const custom = await Promise.all(peers.map((peer) => peer.join('/custom')));
        for (const peer of [...peers, ...custom]) await peer.callAll('join', room);
        const said = [{ room, data: { n: [1, 2], text: 'é' } }, { room, data: { file: bytes(2000), more: [bytes(1)] } }];
        for (const sender of [one, json]) {
            for (const what of said) await sender.callAll('say', what);
        }
        const expected = [...said, ...said].map(({ data }) => [data]);
        for (const peer of peers) {
            await peer.until(() => heard(peer, 'said').length === expected.length, 'hears all that was said');
            const deep = heard(peer, 'said').map(([data]) => [
                'file' in data ? { file: plain(data.file), more: data.more.map(plain) } : data,
            ]);
            assert.deepEqual(deep, expected, `${peer}`);
        }
        for (const peer of custom) assert.deepEqual(heard(peer, 'said'), [], 'another namespace');
        // The session goes on when one namespace is left.
        custom[0].close();
        assert.deepEqual(await one.callAll('echo', 'still here'), ['still here']);
        for (const peer of peers) peer.close();
    });

    test(`a conversation of clients of both kinds, client ${generation}.x, ${transport}`, async () => {
        const [ann, ben] = [`ann-${generation}-${transport}`, `ben-${generation}-${transport}`];
        const one = await Peer.connect(server.url, packed(generation, { transport, token: server.token(ann) }));
        const json = await Peer.connect(server.url, { generation, transport, token: server.token(ben) });
        const { message } = await one.ok('message:send', { to: ben, content: 'hello', metadata: { n: 3, at: 2.5 } });
        const again = await json.ok('message:send', { to: ann, content: 'hello yourself 😀' });
        assert.equal(again.message.conversationId, message.conversationId);
        const views = await Promise.all([one, json].map((peer) => peer.changesUntil(message.conversationId, 2)));
        assert.deepEqual(views.map((view) => view.map(({ content }) => content)), [
            ['hello', 'hello yourself 😀'], ['hello', 'hello yourself 😀'],
        ]);
        const refused = await Promise.all([one, json].map((peer) => peer.call('message:send', { to: ben, content: 5 })));
        assert.equal(refused[0].ok, false);
        assert.deepEqual(refused[0], refused[1]);
        for (const peer of [one, json]) peer.close();
    });

    test(`a refusal says why, client ${generation}.x, ${transport}`, async () => {
        const bad = packed(generation, { transport, token: 'nonsense' });
        const said = await Peer.connect(server.url, bad).catch((error) => error);
        const expected = await Peer.connect(server.url, { generation, transport, token: 'nonsense' }).catch((error) => error);
        assert.ok(said instanceof Refused, `${said}`);
        assert.deepEqual([said.message, said.data], [expected.message, expected.data]);
    });
}

for (const transport of Object.keys(TRANSPORTS)) {
    test(`a cut is recovered, ${transport}`, async () => {
        const [away, friend] = [`away ${transport}`, `friend ${transport}`];
        const soon = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 };
        const peer = await Peer.connect(server.url, packed(4, { ...soon, transport, token: server.token(away) }));
        const sender = await Peer.connect(server.url, { token: server.token(friend) });
        const direct = (await sender.ok('message:send', { to: away, content: '1' })).message.conversationId;
        await peer.changesUntil(direct, 1);
        const { id } = peer.socket;
        const back = new Promise((resolve) => peer.socket.once('connect', resolve));
        for (let n = 2; n <= 10; n++) {
            await sender.ok('message:send', { conversationId: direct, content: `${n}` });
            if (n === 4) peer.socket.io.engine.close();
        }
        await back;
        assert.deepEqual([peer.socket.recovered, peer.socket.id], [true, id]);
        const contents = (await peer.changesUntil(direct, 10)).map(({ content }) => content);
        assert.deepEqual(contents, Array.from({ length: 10 }, (_, n) => `${n + 1}`));
        await peer.ok('message:send', { conversationId: direct, content: 'back' });
        peer.close();
        sender.close();
    });
}

test('after a restart, a session that is taken up again gets MessagePack', async () => {
    const soon = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100, randomizationFactor: 0 };
    let own = await Hobnob.start();
    const peer = await Peer.connect(own.url, packed(4, { ...soon, token: own.token('ann') }));
    await peer.hears('session:ready');
    const back = new Promise((resolve) => peer.socket.once('connect', resolve));
    own = (await own.restart()).next;
    await back;
    assert.equal(peer.socket.recovered, true);
    const [first] = peer.all('session:ready');
    assert.equal(first.recovered, false);
    await peer.hears('session:ready', ({ recovered }) => recovered);
    peer.close();
    await own.remove();
});
