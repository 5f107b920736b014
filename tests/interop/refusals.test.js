// Bad input: each is answered with its code, and the socket goes on.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start();
});
after(async () => {
    closeAll();
    await server.remove();
});

const CASES = [
    ['no-such-event', { some: 'thing' }, 'unknown_event', /no-such-event/],
    ['message:send', { conversationId: 5, content: 'x' }, 'invalid_payload', /^conversationId: expected a string/],
    ['message:send', { content: 'x' }, 'invalid_payload', /^conversationId: required/],
    ['message:send', { to: 'bob', content: '' }, 'invalid_payload', /^content: /],
    ['message:send', { to: 'bob', content: 'x'.repeat(5001) }, 'too_long', /^content: at most 5000/],
    ['message:send', { conversationId: '0123456789abcdef01234567', content: 'x' }, 'not_found', /conversation/],
    ['message:send', ['to', 'bob'], 'invalid_payload', /^payload: expected an object/],
    ['message:send', 'text', 'invalid_payload', /^payload: expected an object/],
    ['message:edit', { content: 'x' }, 'invalid_payload', /^messageId: required/],
    ['message:delete', { messageId: '0123456789abcdef01234567' }, 'not_found', /message/],
    ['conversation:create', { type: 'party', participants: [] }, 'invalid_payload', /^type: /],
    ['conversation:create', { type: 'direct', participants: ['a', 'b'] }, 'invalid_payload', /^participants: /],
    ['get-missed-messages', { limit: 'many' }, 'invalid_payload', /^limit: /],
    ['get-missed-messages', { cursor: '!' }, 'invalid_payload', /^cursor: /],
];

for (const [generation, transport] of COMBINATIONS) {
    test(`client ${generation}.x is told what is wrong with a request and goes on, ${transport}`, async () => {
        const options = { generation, transport, token: server.token('alice') };
        const peer = await Peer.connect(server.url, options);
        for (const [event, payload, code, error] of CASES) {
            const ack = await peer.call(event, payload);
            assert.deepEqual([ack.ok, ack.code], [false, code], `${event} ${JSON.stringify(payload)}: ${ack.error}`);
            assert.match(ack.error, error);
        }
        // Without an ack the refusal is an event.
        peer.emit('no-such-event');
        peer.emit('message:send', { content: 7 });
        const unknown = await peer.hears('request-failed', ({ event }) => event === 'no-such-event');
        assert.equal(unknown.code, 'unknown_event');
        const invalid = await peer.hears('request-failed', ({ event }) => event === 'message:send');
        assert.equal(invalid.code, 'invalid_payload');
        const binary = await peer.call('message:send', { to: 'bob', content: Buffer.from([1, 2, 3]) });
        assert.deepEqual([binary.ok, binary.code], [false, 'invalid_payload']);
        await peer.ok('message:send', { to: 'bob', content: 'and on' });
        peer.close();
    });
}
