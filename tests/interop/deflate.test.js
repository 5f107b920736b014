// Compression over WebSocket with the official clients: agreed by default, both ways, seen by the bytes on the socket.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
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

const TEXT = 'to be or not to be, '.repeat(5_000);
const BYTES = Buffer.from(TEXT);

/** How many bytes went over the wire, each way, while `work` was done. */
async function traffic(peer, work) {
    const { ws } = peer.socket.io.engine.transport;
    const { bytesRead, bytesWritten } = ws._socket;
    await work();
    return [ws._socket.bytesWritten - bytesWritten, ws._socket.bytesRead - bytesRead];
}

for (const generation of GENERATIONS) {
    for (const transport of ['websocket only', 'polling with upgrade']) {
        test(`client ${generation}.x compresses and is sent compressed messages, ${transport}`, async () => {
            const peer = await Peer.connect(server.url, { generation, transport, perMessageDeflate: true });
            if (transport === 'polling with upgrade') await peer.upgraded();
            for (const data of [TEXT, BYTES]) {
                const bytes = await traffic(peer, async () => {
                    const [back] = await peer.callAll('message-with-ack', data);
                    assert.ok(Buffer.from(back).equals(BYTES));
                });
                for (const count of bytes) assert.ok(count < 5_000, `${count} bytes for ${BYTES.length}`);
            }
            // Many at once, small and large, keep their order.
            const lengths = Array.from({ length: 60 }, (_, index) => (index * 977) % 9_000);
            for (const length of lengths) peer.emit('message', TEXT.slice(0, length));
            const heard = () => peer.all('message-back');
            await peer.until(() => heard().length === lengths.length, 'hears all of it');
            assert.deepEqual(heard().map((text) => text.length), lengths);
            peer.close();
        });

        test(`client ${generation}.x without compression gets its messages as they are, ${transport}`, async () => {
            const peer = await Peer.connect(server.url, { generation, transport, perMessageDeflate: false });
            if (transport === 'polling with upgrade') await peer.upgraded();
            const bytes = await traffic(peer, async () => {
                assert.deepEqual(await peer.callAll('message-with-ack', TEXT), [TEXT]);
            });
            for (const count of bytes) assert.ok(count > TEXT.length, `${count} bytes for ${TEXT.length}`);
            peer.close();
        });
    }
}

test('a small message is not compressed', async () => {
    const peer = await Peer.connect(server.url, { transport: 'websocket only', perMessageDeflate: true });
    const text = 'a'.repeat(900);
    const bytes = await traffic(peer, () => peer.callAll('message-with-ack', text));
    for (const count of bytes) assert.ok(count > text.length, `${count} bytes`);
    peer.close();
});

test('clients with and without compression hear the same broadcast', async () => {
    const peers = [];
    for (const generation of GENERATIONS) {
        for (const perMessageDeflate of [true, false]) {
            peers.push(await Peer.connect(server.url, { generation, transport: 'websocket only', perMessageDeflate }));
        }
    }
    for (const peer of peers) await peer.callAll('join', 'all');
    await peers[0].callAll('say', { room: 'all', data: TEXT });
    for (const peer of peers) assert.ok((await peer.hears('said')) === TEXT, `${peer}`);
    for (const peer of peers) peer.close();
});
