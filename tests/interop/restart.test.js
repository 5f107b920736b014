// The server is told to stop, and another process takes over its address and its data.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

test('clients of all generations are told of a restart, come back by themselves and catch up', async () => {
    let server = await Hobnob.start();
    try {
        const users = COMBINATIONS.map((_, index) => `user-${index}`);
        const peers = await Promise.all(
            COMBINATIONS.map(([generation, transport], index) =>
                Peer.connect(server.url, {
                    generation,
                    transport,
                    token: server.token(users[index]),
                    reconnection: true,
                    reconnectionDelay: 50,
                    reconnectionDelayMax: 200,
                }),
            ),
        );
        const create = { type: 'group', participants: users, name: 'Patience' };
        const conversationId = (await peers[0].ok('conversation:create', create)).conversation.id;
        for (const content of ['one', 'two']) await peers[0].ok('message:send', { conversationId, content });
        await Promise.all(peers.map((peer) => peer.changesUntil(conversationId, 2)));

        await Promise.all(peers.filter(({ transport }) => transport.endsWith('upgrade')).map((peer) => peer.upgraded()));

        const { code, next } = await server.restart();
        server = next;
        assert.equal(code, 0, 'a stop that was asked for is a success');
        for (const content of ['three', 'four', 'five']) {
            const answer = await server.rest(users[0], 'POST', '/api/messages', { conversationId, content });
            assert.equal(answer.status, 201);
        }

        for (const peer of peers) {
            const { retryAfterMs } = await peer.hears('server:restarting');
            assert.ok(retryAfterMs >= 500 && retryAfterMs < 5000, `${retryAfterMs}`);
            const back = () => peer.all('session:ready').length === 2;
            await peer.until(back, 'is greeted by the second process');
            // What came before the second greeting came over the first connection.
            const greeted = peer.heard.findLastIndex(({ event }) => event === 'session:ready');
            const before = peer.heard.slice(0, greeted).filter(({ event }) => event === 'message:new');
            assert.deepEqual(before.map(({ args }) => args[0].content), ['one', 'two']);
            const missed = await peer.ok('get-missed-messages', { cursors: { [conversationId]: 2 } });
            assert.deepEqual(missed.messages.map(({ content }) => content), ['three', 'four', 'five']);
            assert.deepEqual([missed.complete, missed.cursors], [true, { [conversationId]: 5 }]);
        }

        await peers.at(-1).ok('message:send', { conversationId, content: 'six' });
        for (const peer of peers) await peer.hears('message:new', ({ content }) => content === 'six');
    } finally {
        closeAll();
        await server.remove();
    }
});
