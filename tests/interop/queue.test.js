// Sent while away: an unmodified client gets it all by itself when it comes back, in order, once when it went in order and at least
// once when it was cut in the middle.

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

const connect = (user, options) => Peer.connect(server.url, { ...options, token: server.token(user) });

/** The messages of a conversation that were heard: `[content, redelivered]`. */
const heard = (peer, conversation) =>
    peer.changes(conversation).map(({ content, redelivered }) => [content, redelivered === true]);

const arrivedUpTo = (user, conversation, seq) => (receipt) =>
    receipt.deliveredTo === user && receipt.conversationId === conversation && receipt.upToSeq >= seq;

for (const [index, [generation, transport]] of COMBINATIONS.entries()) {
    const options = { generation, transport };
    const [away, friend] = [`away-${index}`, `friend-${index}`];

    test(`client ${generation}.x gets what it missed, in order and once, ${transport}`, async () => {
        const sender = await connect(friend, options);
        const direct = (await sender.ok('message:send', { to: away, content: 'd0' })).message.conversationId;
        const create = { type: 'group', participants: [away], name: 'Team' };
        const group = (await sender.ok('conversation:create', create)).conversation.id;
        for (let n = 1; n <= 5; n++) {
            await sender.ok('message:send', { conversationId: direct, content: `d${n}` });
            await sender.ok('message:send', { conversationId: group, content: `g${n}` });
        }
        const size = await server.rest(away, 'GET', '/api/queue/size');
        assert.deepEqual([size.body.size, size.body.conversations], [11, 2]);

        const back = await connect(away, options);
        assert.deepEqual((await back.changesUntil(direct, 6)).map(({ seq }) => seq), [1, 2, 3, 4, 5, 6]);
        await back.changesUntil(group, 5);
        assert.deepEqual(heard(back, direct), [0, 1, 2, 3, 4, 5].map((n) => [`d${n}`, false]));
        assert.deepEqual(heard(back, group), [1, 2, 3, 4, 5].map((n) => [`g${n}`, false]));
        const queued = await back.until(() => {
            const pages = back.all('queued-messages');
            return pages.reduce((sum, page) => sum + page.count, 0) === 11 && pages;
        }, 'hears the same as queued-messages');
        const ids = queued.flatMap(({ messages }) => messages.map(({ _id }) => _id));
        assert.deepEqual(new Set(ids), new Set(back.all('message:new').map(({ _id }) => _id)));

        // Live again, and confirmed by the transport alone.
        await sender.ok('message:send', { conversationId: direct, content: 'live' });
        await sender.hears('message:delivered', arrivedUpTo(away, direct, 7));
        await sender.hears('message:delivered', arrivedUpTo(away, group, 5));
        back.close();

        const again = await connect(away, options);
        await sender.ok('message:send', { conversationId: direct, content: 'marker' });
        await sender.ok('message:send', { conversationId: group, content: 'marker' });
        await again.changesUntil(direct, 8);
        await again.changesUntil(group, 6);
        assert.deepEqual(heard(again, direct), [['marker', false]], 'nothing confirmed comes again');
        assert.deepEqual(heard(again, group), [['marker', false]], 'nothing confirmed comes again');
    });

    test(`client ${generation}.x that is cut in the middle misses nothing, ${transport}`, async () => {
        const [cut, writer] = [`cut-${index}`, `writer-${index}`];
        const sender = await connect(writer, options);
        const sends = [];
        const direct = (await sender.ok('message:send', { to: cut, content: '1' })).message.conversationId;
        for (let n = 2; n <= 250; n++) sends.push(sender.ok('message:send', { conversationId: direct, content: `${n}` }));
        await Promise.all(sends);

        const first = await connect(cut, options);
        await first.changesUntil(direct, 60);
        first.close();
        const before = first.changes(direct).map(({ seq }) => seq);
        assert.deepEqual(before, before.map((_, n) => n + 1), 'in order, without a gap');

        const second = await connect(cut, options);
        const after = await second.changesUntil(direct, 250);
        const start = after[0].seq;
        assert.ok(start <= before.length + 1, `nothing is skipped: ${before.length}, then ${start}`);
        assert.deepEqual(after.map(({ seq }) => seq), after.map((_, n) => n + start), 'in order, without a gap');
        for (const { seq, redelivered } of after) {
            assert.ok(seq > before.length || redelivered === true, `a repeat says so: ${seq}`);
        }
    });
}

test('live messages never overtake what was missed', async () => {
    const sender = await connect('bea');
    const direct = (await sender.ok('message:send', { to: 'abe', content: '1' })).message.conversationId;
    const send = (n) => sender.ok('message:send', { conversationId: direct, content: `${n}` });
    for (let n = 2; n <= 300; n++) send(n);
    // The sender goes on while the other one connects.
    const back = await connect('abe');
    for (let n = 301; n <= 600; n++) send(n);
    const changes = await back.changesUntil(direct, 600);
    assert.deepEqual(changes.map(({ seq }) => seq), Array.from({ length: 600 }, (_, n) => n + 1));
});

test('a second namespace of the same client gets what was missed as well', async () => {
    const sender = await connect('carl');
    const direct = (await sender.ok('message:send', { to: 'dora', content: 'hello' })).message.conversationId;
    const chat = await connect('dora');
    await chat.changesUntil(direct, 1);
    await sender.hears('message:delivered', arrivedUpTo('dora', direct, 1));
    const messages = new Peer(chat.socket.io.socket('/messages', { auth: { token: server.token('dora') } }), '/messages');
    await messages.connected;
    assert.equal((await messages.changesUntil(direct, 1))[0].content, 'hello');
});

test('a message deleted while one was away comes as its deletion', async () => {
    const sender = await connect('eva');
    const sent = await sender.ok('message:send', { to: 'finn', content: 'a secret' });
    await sender.ok('message:delete', { messageId: sent.id });
    const back = await connect('finn');
    const deleted = await back.hears('message:deleted');
    assert.equal(deleted.messageId, sent.id);
    assert.ok(!JSON.stringify(back.heard).includes('a secret'));
});
