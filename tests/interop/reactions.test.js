// Reactions, pins and forwards: told to everybody in order, kept, caught up on, and the same over REST.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
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
const counts = (reactions) => reactions.map(({ emoji, count, userIds }) => [emoji, count, userIds]);

for (const generation of GENERATIONS) {
    test(`clients ${generation}.x react, pin and forward, and hear of it in order`, async () => {
        const [a, b, c] = ['a', 'b', 'c'].map((letter) => `${letter}${generation}`);
        const [host, guest] = [await connect(a, { generation }), await connect(b, { generation, namespace: '/messages' })];
        const { conversation } = await host.ok('conversation:create', { type: 'group', participants: [b], name: 'Team' });
        const conversationId = conversation.id;
        const { id: messageId } = await host.ok('message:send', { conversationId, content: 'hello' });

        const added = await guest.ok('message:react', { messageId, emoji: '👍🏽' });
        assert.deepEqual(counts(added.reactions), [['👍🏽', 1, [b]]]);
        await guest.ok('message:react', { messageId, emoji: '👍🏽', action: 'add' });
        assert.deepEqual(counts((await host.ok('message:react', { messageId, emoji: '👍🏽' })).reactions), [['👍🏽', 2, [b, a]]]);
        assert.deepEqual(counts((await guest.ok('message:react', { messageId, emoji: '👍🏽' })).reactions), [['👍🏽', 1, [a]]]);
        await host.ok('message:pin', { messageId });
        await host.ok('message:pin', { messageId });
        await host.ok('message:unpin', { messageId });
        for (const peer of [host, guest]) {
            const changes = (await peer.changesUntil(conversationId, 6)).slice(1);
            assert.deepEqual(
                changes.map(({ event, changeSeq, userId, pinnedBy, action }) => [event, changeSeq, userId ?? pinnedBy, action]),
                [
                    ['reaction:updated', 2, b, 'added'],
                    ['reaction:updated', 3, a, 'added'],
                    ['reaction:updated', 4, b, 'removed'],
                    ['message:pinned', 5, a, undefined],
                    ['message:unpinned', 6, a, undefined],
                ],
                `${peer}: what changes nothing is not told`,
            );
            assert.ok(changes.every((change) => change.messageId === messageId));
            assert.deepEqual([changes[0].emoji, counts(changes[2].reactions)], ['👍🏽', [['👍🏽', 1, [a]]]]);
            assert.deepEqual([changes[3].groupId, changes[4].groupId], [conversationId, conversationId]);
        }

        const there = await host.ok('conversation:create', { type: 'direct', participants: [c] });
        const reader = await connect(c, { generation });
        const wish = { messageId, conversationIds: [there.conversation.id], clientId: 'once' };
        const { messages } = await host.ok('message:forward', wish);
        assert.deepEqual((await host.ok('message:forward', wish)).messages.map(({ id }) => id), [messages[0].id]);
        const copy = await reader.hears('message:new', ({ id }) => id === messages[0].id);
        assert.deepEqual(
            [copy.content, copy.forwardedFrom, copy.senderId, copy.reactions, copy.isPinned],
            ['hello', messageId, a, [], false],
        );
        for (const peer of [host, guest, reader]) peer.close();
    });
}

test('who was away gets reactions and pins with the queue and by cursor, and of what was deleted the tombstone', async () => {
    const [host, guest] = [await connect('present'), await connect('away')];
    const { message } = await host.ok('message:send', { to: 'away', content: 'kept' });
    const { conversationId } = message;
    const { id: gone } = await host.ok('message:send', { conversationId, content: 'secret' });
    await guest.changesUntil(conversationId, 2);
    await guest.ok('message:delivered', { conversationId, upToSeq: 2 });
    guest.close();
    await host.ok('message:react', { messageId: message.id, emoji: '🎉' });
    await host.ok('message:pin', { messageId: message.id });
    await host.ok('message:react', { messageId: gone, emoji: '🙈' });
    await host.ok('message:delete', { messageId: gone });

    const back = await connect('away');
    const told = (await back.changesUntil(conversationId, 6)).map(({ event, changeSeq }) => [event, changeSeq]);
    const expected = [
        ['reaction:updated', 3], ['message:pinned', 4], ['message:deleted', 5], ['message:deleted', 6],
    ];
    assert.deepEqual(told, expected);
    const missed = await back.ok('get-missed-messages', { cursors: { [conversationId]: 2 } });
    assert.deepEqual(missed.changes.map(({ event, changeSeq }) => [event, changeSeq]), expected);
    assert.equal(JSON.stringify(missed).includes('secret') || JSON.stringify(missed).includes('🙈'), false);
    assert.deepEqual([missed.changes[0].userId, missed.changes[0].action, missed.changes[1].pinnedBy], ['present', 'added', 'present']);

    await host.ok('conversation:create', { type: 'direct', participants: ['third'] });
    const { id: foreign } = host.all('conversation:joined').at(-1).conversation;
    const stranger = await back.ok('get-missed-messages', { cursors: { [foreign]: 0, [conversationId]: 6 } });
    assert.deepEqual([stranger.count, stranger.changes, stranger.gone], [0, [], [foreign]]);
    for (const peer of [host, back]) peer.close();
});

test('mentions, reactions and forwards are notified to those they concern, and to nobody else', async () => {
    const [ann, bob, eve] = await Promise.all(
        ['n-ann', 'n-bob', 'n-eve'].map((user) => connect(user, { namespace: '/notifications' })),
    );
    const chat = await connect('n-ann', { namespace: '/messages' });
    const group = { type: 'group', participants: ['n-bob'], name: 'Team' };
    const conversationId = (await chat.ok('conversation:create', group)).conversation.id;
    const mentions = ['n-bob', 'n-eve', 'n-ann'];
    const { id, message } = await chat.ok('message:send', { conversationId, content: '@n-carol look', mentions });
    assert.deepEqual(message.mentions, ['n-bob', 'n-ann'], 'a stranger is left out');
    const mention = await bob.hears('notification:new', ({ type }) => type === 'mention');
    assert.deepEqual([mention.data.messageId, mention.data.fromUserId], [id, 'n-ann']);

    const bobs = await connect('n-bob');
    await bobs.ok('message:react', { messageId: id, emoji: '👀' });
    const reaction = await ann.hears('notification:new', ({ type }) => type === 'reaction');
    assert.deepEqual([reaction.data.messageId, reaction.data.fromUserId], [id, 'n-bob']);
    await chat.ok('message:react', { messageId: id, emoji: '👀' });

    const { conversation } = await bobs.ok('conversation:create', { type: 'direct', participants: ['n-eve'] });
    await bobs.ok('message:forward', { messageId: id, conversationIds: [conversation.id] });
    const forward = await eve.hears('notification:new', ({ type }) => type === 'forward');
    assert.deepEqual([forward.data.conversationId, forward.data.fromUserId], [conversation.id, 'n-bob']);
    const causes = ['mention', 'reaction', 'forward'];
    const types = (peer) => peer.all('notification:new').map(({ type }) => type).filter((type) => causes.includes(type));
    assert.deepEqual([types(ann), types(bob), types(eve)], [['reaction'], ['mention'], ['forward']]);
    for (const peer of [ann, bob, eve, chat, bobs]) peer.close();
});

test('strangers, wrong hands and bad input are refused', async () => {
    const [host, guest, eve] = [await connect('r-host'), await connect('r-guest'), await connect('r-eve')];
    const group = { type: 'group', participants: ['r-guest'], name: 'Team' };
    const conversationId = (await host.ok('conversation:create', group)).conversation.id;
    const { id: messageId } = await host.ok('message:send', { conversationId, content: 'x' });
    const foreign = (await eve.ok('conversation:create', { type: 'group', participants: [], name: 'Own' })).conversation.id;
    const code = async (peer, event, payload) => (await peer.call(event, payload)).code;
    for (const event of ['message:react', 'message:forward', 'message:pin', 'message:unpin']) {
        const payload = { messageId, emoji: '👍', conversationIds: [foreign] };
        assert.equal(await code(eve, event, payload), 'not_found', event);
        assert.equal(await code(eve, event, { ...payload, messageId: 'f'.repeat(24) }), 'not_found', event);
        assert.equal(await code(host, event, { ...payload, messageId: 7 }), 'invalid_payload', event);
        assert.equal(await code(host, event), 'invalid_payload', event);
    }
    assert.equal(await code(guest, 'message:pin', { messageId }), 'forbidden');
    assert.equal(await code(host, 'message:forward', { messageId, conversationIds: [conversationId, foreign] }), 'not_found');
    assert.equal(await code(host, 'message:forward', { messageId, conversationIds: [] }), 'invalid_payload');
    assert.equal(await code(host, 'message:forward', { messageId, conversationIds: Array(21).fill(conversationId) }), 'too_long');
    assert.equal(await code(host, 'message:react', { messageId, emoji: '' }), 'invalid_payload');
    assert.equal(await code(host, 'message:react', { messageId, emoji: 'x'.repeat(33) }), 'too_long');
    assert.equal(await code(host, 'message:react', { messageId, emoji: '👍', action: 'maybe' }), 'invalid_payload');
    const { body } = await server.rest('r-host', 'GET', `/api/messages/conversation/${conversationId}`);
    assert.deepEqual([body.messages.length, body.messages[0].reactions], [1, []], 'nothing of it happened');
    for (const peer of [host, guest, eve]) peer.close();
});

test('the same is done and read over REST', async () => {
    const peer = await connect('rest-b');
    const { message } = await peer.ok('message:send', { to: 'rest-a', content: 'over REST' });
    const { id, conversationId } = message;
    const rest = (user, method, path, body) => server.rest(user, method, path, body);
    const reactions = `/api/reactions/messages/${id}`;
    const put = await rest('rest-a', 'POST', reactions, { emoji: '👍' });
    assert.deepEqual([put.status, put.body.userId, put.body.emoji, put.body.message], [200, 'rest-a', '👍', id]);
    assert.equal((await peer.hears('reaction:updated')).userId, 'rest-a');
    await rest('rest-b', 'POST', reactions, { emoji: '👍' });
    const list = await rest('rest-b', 'GET', `${reactions}?limit=1`);
    assert.deepEqual([list.body.reactions.map(({ user }) => user), counts(list.body.grouped)], [['rest-a'], [['👍', 2, ['rest-a', 'rest-b']]]]);
    const rest2 = await rest('rest-b', 'GET', `${reactions}?limit=1&cursor=${list.body.nextCursor}`);
    assert.deepEqual([rest2.body.reactions.map(({ user }) => user), rest2.body.nextCursor], [['rest-b'], null]);
    assert.equal((await rest('rest-b', 'DELETE', `/api/reactions/${put.body.id}`)).status, 404, 'not his');
    const removed = await rest('rest-a', 'DELETE', `/api/reactions/${put.body.id}`);
    assert.deepEqual([removed.body.message, counts(removed.body.reactions)], ['Reaction removed', [['👍', 1, ['rest-b']]]]);
    const toggled = await rest('rest-b', 'POST', reactions, { emoji: '👍' });
    assert.deepEqual([toggled.body.message, toggled.body.reactions], ['Reaction removed', []]);

    const pins = `/api/messages/conversation/${conversationId}/pinned`;
    assert.equal((await rest('rest-a', 'POST', `/api/messages/${id}/pin`)).status, 200);
    const { body: { pinnedMessages } } = await rest('rest-b', 'GET', pins);
    assert.deepEqual(pinnedMessages.map((one) => [one.id, one.isPinned, one.pinnedBy]), [[id, true, 'rest-a']]);
    assert.ok(Date.parse(pinnedMessages[0].pinnedAt) > 0);
    assert.equal((await rest('rest-b', 'DELETE', `/api/messages/${id}/pin`)).status, 200);
    assert.deepEqual((await rest('rest-a', 'GET', pins)).body.pinnedMessages, []);

    const target = await rest('rest-a', 'POST', '/api/conversations/direct', { participantId: 'rest-c' });
    const sent = await rest('rest-a', 'POST', `/api/messages/${id}/forward`, { conversationIds: [target.body.id] });
    assert.deepEqual([sent.status, sent.body.count, sent.body.messages[0].forwardedFrom], [200, 1, id]);

    for (const [method, path, body] of [
        ['POST', reactions, { emoji: '👍' }],
        ['GET', reactions],
        ['DELETE', `/api/reactions/${put.body.id}`],
        ['POST', `/api/messages/${id}/pin`],
        ['DELETE', `/api/messages/${id}/pin`],
        ['GET', pins],
        ['POST', `/api/messages/${id}/forward`, { conversationIds: [target.body.id] }],
        ['GET', '/api/reactions/messages/nonsense'],
        ['DELETE', '/api/reactions/nonsense'],
        ['POST', '/api/messages/nonsense/pin'],
    ]) {
        const { status, body: { code } } = await rest('rest-eve', method, path, body);
        assert.deepEqual([status, code], [404, 'not_found'], `${method} ${path}`);
    }
    assert.equal((await rest('rest-a', 'POST', reactions, { emoji: 7 })).status, 400);
    assert.equal((await rest('rest-a', 'GET', `${reactions}?cursor=x`)).status, 400);
    peer.close();
});
