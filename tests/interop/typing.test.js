// Who types is heard by the others of the conversation, in time, and never by the one who types.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    // Short enough to be waited for.
    server = await Hobnob.start({ env: { HOBNOB_TYPING__EXPIRE_MS: '4000' } });
});
after(async () => {
    closeAll();
    await server.remove();
});

const connect = (user, options) => Peer.connect(server.url, { ...options, token: server.token(user) });

const TYPING = ['user:typing', 'typing', 'typing-stopped'];
/** What was heard of typing: the name and whether it goes on. */
const typing = (peer) =>
    peer.heard.filter(({ event }) => TYPING.includes(event)).map(({ event, args }) => [event, args[0].isTyping]);
const START = [['user:typing', true], ['typing', true]];
const END = [['user:typing', false], ['typing', false], ['typing-stopped', undefined]];

for (const [index, [generation, transport]] of COMBINATIONS.entries()) {
    const options = { generation, transport };

    test(`client ${generation}.x hears who types, and not itself on any device, ${transport}`, async () => {
        const [writer, reader] = [`writer-${index}`, `reader-${index}`];
        const phone = await connect(writer, options);
        const laptop = await connect(writer, { ...options, namespace: '/messages' });
        const listeners = [await connect(reader, options), await connect(reader, { ...options, namespace: '/messages' })];
        const { conversation } = await phone.ok('conversation:create', { type: 'direct', participants: [reader] });
        const conversationId = conversation.id;

        for (let beat = 0; beat < 5; beat++) await phone.ok('user:typing', { conversationId });
        const event = {
            from: writer, userId: writer, conversationId, groupId: null, isTyping: true, activity: 'typing',
        };
        for (const listener of listeners) {
            assert.deepEqual(await listener.hears('user:typing'), event);
            assert.deepEqual(await listener.hears('typing'), event);
        }
        await phone.ok('message:send', { conversationId, content: 'here it is' });
        for (const listener of listeners) {
            await listener.hears('typing-stopped');
            assert.deepEqual(typing(listener), [...START, ...END], 'five beats are told once, and the message ends it');
        }

        // The way of the reference app's pages: the older name, and the other user as `to`.
        await laptop.ok('typing', { to: reader, activity: 'recording-audio' });
        const recording = ({ isTyping, activity }) => isTyping && activity === 'recording-audio';
        for (const listener of listeners) await listener.hears('user:typing', recording);
        laptop.close();
        for (const listener of listeners) await listener.until(() => typing(listener).length === 10, 'hears the end');

        // Whoever hears this would have heard what was told before.
        await phone.ok('message:send', { conversationId, content: 'the end' });
        await phone.hears('message:new', ({ content }) => content === 'the end');
        assert.deepEqual([typing(phone), typing(laptop)], [[], []]);
        for (const peer of [phone, ...listeners]) peer.close();
    });
}

test('typing that is not repeated ends by itself, after the time that the greeting tells', async () => {
    const [writer, reader] = await Promise.all(['silent', 'patient'].map((user) => connect(user)));
    assert.deepEqual((await writer.hears('session:ready')).typing, { heartbeatMs: 3000, expireMs: 4000 });
    const create = { type: 'group', participants: ['patient'], name: 'Quiet' };
    const groupId = (await writer.ok('conversation:create', create)).conversation.id;
    const begun = performance.now();
    await writer.ok('user:typing', { groupId });
    const ended = await reader.hears('user:typing', ({ isTyping }) => !isTyping);
    const after = performance.now() - begun;
    assert.deepEqual([ended.conversationId, ended.groupId], [groupId, groupId]);
    assert.ok(after >= 3900 && after < 7000, `after ${after} ms`);
    for (const peer of [writer, reader]) peer.close();
});

test('strangers neither type in a conversation nor hear of it', async () => {
    const [writer, reader, stranger] = await Promise.all(['one', 'two', 'three'].map((user) => connect(user)));
    const { conversation } = await writer.ok('conversation:create', { type: 'direct', participants: ['two'] });
    for (const place of [{ conversationId: conversation.id }, { to: conversation.id }, { to: 'one' }]) {
        const refused = await stranger.call('user:typing', place);
        assert.deepEqual([refused.ok, refused.code], [false, 'not_found']);
    }
    await writer.ok('user:typing', { conversationId: conversation.id });
    await reader.hears('user:typing');
    await stranger.ok('status:get', { userIds: [] });
    assert.deepEqual([typing(stranger), typing(reader)], [[], START]);
    for (const peer of [writer, reader, stranger]) peer.close();
});
