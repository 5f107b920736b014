// Polling with upgrade while messages flow: each arrives once and in order, in both directions.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { within } from './support/deadline.js';
import { Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

const BURST = 100;

let server;
before(async () => {
    server = await Hobnob.start();
});
after(async () => {
    closeAll();
    await server.remove();
});

const contents = (from) => Array.from({ length: BURST }, (_, index) => `${from} ${index}`);

/** When the burst begins: as soon as the namespace is joined, or when the client has probed and is about to switch, too. */
const MOMENTS = {
    'right after connecting': () => {},
    'at the moment of the switch': (peer) => new Promise((resolve) => peer.socket.io.engine.once('upgrading', resolve)),
};

for (const generation of [1, 2, 3, 4]) {
    for (const [moment, waitFor] of Object.entries(MOMENTS)) {
        test(`a burst during the upgrade of client ${generation}.x arrives once and in order, ${moment}`, async () => {
            for (const round of ['first', 'second', 'third']) {
                const [upgrading, other] = [`u-${generation}-${moment}-${round}`, `o-${generation}-${moment}-${round}`];
                const steady = await Peer.connect(server.url, { transport: 'websocket only', token: server.token(other) });
                const create = { type: 'direct', participants: [upgrading] };
                const conversationId = (await steady.ok('conversation:create', create)).conversation.id;
                const peer = Peer.begin(server.url, { generation, token: server.token(upgrading) });
                await within(Promise.all([peer.connected, waitFor(peer)]), `${peer}: the beginning`);
                const acks = [peer, steady].map((from, index) =>
                    contents(index).map((content) => from.ok('message:send', { conversationId, content })),
                );
                await Promise.all(acks.flat());
                await peer.upgraded();

                for (const hearer of [peer, steady]) {
                    const changes = await hearer.changesUntil(conversationId, 2 * BURST);
                    const seqs = changes.map(({ changeSeq }) => changeSeq);
                    assert.deepEqual(seqs, Array.from(seqs, (_, index) => index + 1), `${hearer}: in order, once`);
                    const heard = changes.map(({ content }) => content);
                    for (const index of [0, 1]) {
                        assert.deepEqual(heard.filter((content) => content.startsWith(`${index} `)), contents(index));
                    }
                }
                for (const each of [peer, steady]) each.close();
            }
        });
    }
}
