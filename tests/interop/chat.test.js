// Chatting: two users of each generation over each transport, and all generations in one conversation.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, GENERATIONS, Peer, TRANSPORTS, closeAll } from './support/peer.js';
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

/** The numbers 1 to `last`: what a client that misses nothing hears, in this order. */
const upTo = (last) => Array.from({ length: last }, (_, index) => index + 1);

const TEXT = 'grüße, 世界 😀';

/** Sends, edits and deletes in a conversation, and checks what all `peers` hear of it; they take turns. */
async function converse(conversationId, peers) {
    const sent = [];
    for (const [index, peer] of peers.entries()) {
        sent.push(await peer.ok('message:send', { conversationId, content: `from ${index}: ${TEXT}` }));
    }
    const { id: messageId } = sent[0];
    const edited = await peers[0].ok('message:edit', { messageId, content: 'edited', rev: sent[0].message.rev });
    assert.equal(edited.message.content, 'edited');
    const deleted = await peers.at(-1).ok('message:delete', { messageId: sent.at(-1).id });
    assert.equal(deleted.messageId, sent.at(-1).id);

    const count = peers.length;
    for (const peer of peers) {
        const changes = await peer.changesUntil(conversationId, count + 2);
        assert.deepEqual(changes.map(({ changeSeq }) => changeSeq), upTo(count + 2), `${peer}: in order, no gaps`);
        assert.deepEqual(
            changes.map(({ event }) => event),
            [...Array(count).fill('message:new'), 'message:updated', 'message:deleted'],
        );
        for (const [index, { id, content, seq }] of changes.slice(0, count).entries()) {
            assert.equal(id, sent[index].id);
            assert.equal(content, `from ${index}: ${TEXT}`);
            assert.equal(seq, index + 1);
        }
        const [update, deletion] = changes.slice(count);
        assert.deepEqual([update.messageId, update.content, update.edited], [messageId, 'edited', true]);
        assert.deepEqual([deletion.messageId, deletion.conversation], [sent.at(-1).id, conversationId]);
    }
}

for (const [index, [generation, transport]] of COMBINATIONS.entries()) {
    const options = { generation, transport };

    test(`two users of client ${generation}.x chat in a direct conversation, ${transport}`, async () => {
        const [anna, ben] = [`anna-${index}`, `ben-${index}`];
        const peers = await Promise.all([connect(anna, options), connect(ben, options)]);
        const { conversation } = await peers[0].ok('conversation:create', { type: 'direct', participants: [ben] });
        const joined = await peers[1].hears('conversation:joined');
        assert.equal(joined.conversation.id, conversation.id);
        await converse(conversation.id, peers);

        const again = await peers[1].ok('conversation:create', { type: 'direct', participants: [anna] });
        assert.equal(again.conversation.id, conversation.id, 'a pair has one direct conversation');
        const { message } = await peers[1].ok('message:send', { to: anna, content: 'by name' });
        assert.equal(message.conversationId, conversation.id);
        assert.deepEqual([message.senderId, message.recipient, message.group], [ben, anna, null]);
        for (const peer of peers) peer.close();
    });

    test(`three users of client ${generation}.x chat in a group, ${transport}`, async () => {
        const users = [`carl-${index}`, `dora-${index}`, `emil-${index}`];
        const peers = await Promise.all(users.map((user) => connect(user, options)));
        const create = { type: 'group', participants: users.slice(1), name: 'Chess' };
        const { conversation } = await peers[0].ok('conversation:create', create);
        assert.equal(conversation.name, 'Chess');
        assert.deepEqual(conversation.participants.map(({ id }) => id).sort(), users);
        await Promise.all(peers.map((peer) => peer.hears('conversation:joined')));
        await converse(conversation.id, peers);
        for (const peer of peers) peer.close();
    });

    test(`client ${generation}.x repeats itself with its client id and is stored once, ${transport}`, async () => {
        const [fred, gina] = [`fred-${index}`, `gina-${index}`];
        const peers = await Promise.all([connect(fred, options), connect(gina, options)]);
        const draft = { to: gina, content: 'once', clientId: 'key-1' };
        const first = await peers[0].ok('message:send', draft);
        assert.equal(first.duplicate, undefined);
        const second = await peers[0].ok('message:send', draft);
        assert.deepEqual([second.id, second.seq, second.duplicate], [first.id, first.seq, true]);
        const other = await peers[0].call('message:send', { ...draft, content: 'something else' });
        assert.deepEqual([other.ok, other.code], [false, 'conflict']);
        await peers[0].ok('message:send', { to: gina, content: 'the end' });
        const changes = await peers[1].changesUntil(first.message.conversationId, 2);
        assert.deepEqual(changes.map(({ content }) => content), ['once', 'the end']);
        for (const peer of peers) peer.close();
    });

    test(`client ${generation}.x chats in the namespace /messages as in /, ${transport}`, async () => {
        const [hans, ines] = [`hans-${index}`, `ines-${index}`];
        const peers = await Promise.all([connect(hans, { ...options, namespace: '/messages' }), connect(ines, options)]);
        const { conversation } = await peers[0].ok('conversation:create', { type: 'direct', participants: [ines] });
        await converse(conversation.id, peers);
        const missed = await peers[0].ok('get-missed-messages', { cursors: {} });
        assert.equal(missed.count, 2);
        assert.deepEqual(peers[0].all('session:ready'), [], 'the greeting belongs to /');
        for (const peer of peers) peer.close();
    });
}

test('all generations over all transports chat in one group', async () => {
    const users = COMBINATIONS.map((_, index) => `guest-${index}`);
    const peers = await Promise.all(
        COMBINATIONS.map(([generation, transport], index) => connect(users[index], { generation, transport })),
    );
    const create = { type: 'group', participants: users, name: 'Everybody' };
    const { conversation } = await peers[0].ok('conversation:create', create);
    await converse(conversation.id, peers);
    for (const peer of peers) peer.close();
});

test('everybody hears what all generations send at the same moment in one order without gaps', async () => {
    const users = GENERATIONS.map((generation) => `crowd-${generation}`);
    const transports = Object.keys(TRANSPORTS);
    const peers = await Promise.all(
        GENERATIONS.map((generation, index) =>
            connect(users[index], { generation, transport: transports[index % transports.length] }),
        ),
    );
    const create = { type: 'group', participants: users, name: 'Crowd' };
    const conversationId = (await peers[0].ok('conversation:create', create)).conversation.id;
    const rounds = upTo(25);
    const acks = await Promise.all(
        peers.flatMap((peer, index) =>
            rounds.map((round) => peer.ok('message:send', { conversationId, content: `${index}/${round}` })),
        ),
    );
    const last = peers.length * rounds.length;
    assert.deepEqual(acks.map(({ seq }) => seq).sort((a, b) => a - b), upTo(last));
    const logs = [];
    for (const peer of peers) {
        const changes = await peer.changesUntil(conversationId, last);
        assert.deepEqual(changes.map(({ changeSeq }) => changeSeq), upTo(last), `${peer}: in order, no gaps`);
        logs.push(changes.map(({ content }) => content));
    }
    for (const log of logs) assert.deepEqual(log, logs[0]);
    for (const index of peers.keys()) {
        const own = logs[0].filter((content) => content.startsWith(`${index}/`));
        assert.deepEqual(own, rounds.map((round) => `${index}/${round}`), 'each in the order in which it was sent');
    }
    for (const peer of peers) peer.close();
});

test('a user hears on every device what was sent from one of them', async () => {
    const devices = await Promise.all(GENERATIONS.map((generation) => connect('jana', { generation })));
    const { message } = await devices[0].ok('message:send', { to: 'kurt', content: 'from one' });
    for (const device of devices) {
        const [heard] = await device.changesUntil(message.conversationId, 1);
        assert.deepEqual([heard.id, heard.content], [message.id, 'from one']);
    }
    for (const device of devices) device.close();
});

test('the legacy event send-message sends, and tells the sender by plain id', async () => {
    for (const generation of GENERATIONS) {
        const [lena, max] = [`lena-${generation}`, `max-${generation}`];
        const peers = await Promise.all([connect(lena, { generation }), connect(max, { generation })]);
        const ack = await peers[0].ok('send-message', { to: max, content: 'the old way' });
        const heard = await peers[1].hears('message:new');
        assert.deepEqual([heard._id, heard.content, heard.sender], [ack.id, 'the old way', lena]);
        for (const peer of peers) peer.close();
    }
});

test('client 1.x over polling, which encodes text twice, and a modern one read what the other wrote', async () => {
    const old = await connect('olga', { generation: 1, transport: 'polling only' });
    const modern = await connect('paul', { generation: 4 });
    const { message } = await old.ok('message:send', { to: 'paul', content: TEXT });
    await modern.ok('message:send', { to: 'olga', content: TEXT });
    for (const peer of [old, modern]) {
        const changes = await peer.changesUntil(message.conversationId, 2);
        assert.deepEqual(changes.map(({ content }) => content), [TEXT, TEXT], `${peer}`);
        peer.close();
    }
});
