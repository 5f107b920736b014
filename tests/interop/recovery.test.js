// Connection state recovery: an unmodified client 4.x has its session back after a cut and after a restart in order, and hears
// every event once and in order.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { COMBINATIONS, Peer, TRANSPORTS, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

const NAMESPACES = ['/', '/messages', '/notifications'];
const SOON = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 };

let server;
before(async () => {
    server = await Hobnob.start();
});
after(async () => {
    closeAll();
    await server.remove();
});

const connect = (user, options) => Peer.connect(server.url, { ...SOON, ...options, token: server.token(user) });

const auth = (user) => ({ auth: { token: server.token(user) } });

/** Waits until the socket is connected again, and tells whether with the same session. */
async function backAgain(peer, before) {
    await peer.until(() => peer.heard.filter(({ event }) => event === 'disconnect').length > before, 'is cut');
    await peer.until(() => peer.socket.connected, 'is back');
    return peer.socket.recovered;
}

const cuts = (peer) => peer.heard.filter(({ event }) => event === 'disconnect').length;
const contents = (peer, conversation) => peer.changes(conversation).map(({ content }) => content);
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`);
const isNoRepeat = (change) => assert.equal(change.redelivered, undefined);

/** Hears about itself when it is connected again; other events do not come at that moment. */
function wakesUp(peer) {
    return new Promise((resolve) => peer.socket.once('connect', resolve));
}

for (const [index, transport] of Object.keys(TRANSPORTS).entries()) {
    test(`what comes while a client is cut off comes once and in order, ${transport}`, async () => {
        const [away, friend] = [`away-${index}`, `friend-${index}`];
        const peer = await connect(away, { transport });
        const others = await Promise.all(NAMESPACES.slice(1).map((namespace) => peer.join(namespace, auth(away))));
        if (transport.endsWith('upgrade')) await peer.upgraded();
        const sender = await connect(friend);
        const direct = (await sender.ok('message:send', { to: away, content: '1' })).message.conversationId;
        const ids = [peer, ...others].map(({ socket }) => socket.id);
        const engine = peer.socket.io.engine.id;
        // Each namespace has to have an offset to come back with.
        await peer.changesUntil(direct, 1);
        await others[0].changesUntil(direct, 1);
        await others[1].hears('notifications:count');
        const first = peer.heard.find(({ event }) => event === 'message:new');
        assert.deepEqual([first.args.length, typeof first.args[1]], [2, 'string'], 'the offset is handed on');

        for (const round of [0, 1]) {
            const [from, to] = [2 + round * 10, 11 + round * 10];
            const sockets = [peer, ...others];
            const awake = sockets.map(wakesUp);
            // The stream goes on all the time; the cut is somewhere in it.
            for (let n = from; n <= to; n++) {
                await sender.ok('message:send', { conversationId: direct, content: `${n}` });
                if (n === from + 3) peer.socket.io.engine.close();
            }
            await Promise.all(awake);
            for (const socket of sockets) assert.equal(socket.socket.recovered, true, `${socket}`);
            for (const socket of [peer, others[0]]) {
                await socket.changesUntil(direct, to);
                assert.deepEqual(contents(socket, direct), numbers(1, to));
                socket.changes(direct).forEach(isNoRepeat);
            }
        }
        assert.deepEqual([peer, ...others].map(({ socket }) => socket.id), ids);
        assert.notEqual(peer.socket.io.engine.id, engine, 'another session of Engine.IO carries it');
        assert.deepEqual(peer.all('session:ready').map(({ recovered }) => recovered), [false, true, true]);
        // It is there for others, too, and what it sends is served.
        await peer.ok('message:send', { conversationId: direct, content: 'back' });
        await sender.hears('message:new', ({ content }) => content === 'back');
        // The delivery is proved as ever; nothing is left for a new session.
        await sender.hears('message:delivered', ({ deliveredTo, upToSeq }) => deliveredTo === away && upToSeq >= 21);
        peer.close();
    });

    test(`after a restart in order a client goes on with its session, ${transport}`, async () => {
        const [away, friend, third] = ['away', 'friend', 'third'].map((name) => `${name}-restart-${index}`);
        const peer = await connect(away, { transport });
        const chat = await peer.join('/messages', auth(away));
        const sender = await connect(friend);
        const direct = (await sender.ok('message:send', { to: away, content: '1' })).message.conversationId;
        const group = (await sender.ok('conversation:create', { type: 'group', participants: [away], name: 'G' })).conversation.id;
        await peer.changesUntil(direct, 1);
        await chat.changesUntil(direct, 1);
        const ids = [peer.socket.id, chat.socket.id];
        const awake = [peer, chat].map(wakesUp);

        // Somebody goes on sending over HTTP: before, while and after the server is restarted.
        let sent = 1;
        const send = async () => {
            const body = { conversationId: direct, content: `${sent + 1}` };
            const answer = await server.rest(friend, 'POST', '/api/messages', body);
            assert.equal(answer.status, 201);
            sent += 1;
        };
        for (let n = 0; n < 5; n++) await send();
        const { code, next } = await server.restart();
        assert.equal(code, 0);
        server = next;
        for (let n = 0; n < 5; n++) await send();
        const rename = await server.rest(friend, 'POST', `/api/conversations/${group}/members`, { members: [third] });
        assert.ok(rename.status < 300, JSON.stringify(rename));
        await Promise.all(awake);
        for (let n = 0; n < 5; n++) await send();

        for (const socket of [peer, chat]) {
            assert.equal(socket.socket.recovered, true, `${socket}`);
            await socket.changesUntil(direct, sent);
            assert.deepEqual(contents(socket, direct), numbers(1, sent));
            socket.changes(direct).forEach(isNoRepeat);
            await socket.hears('conversation:updated', ({ conversation }) => conversation.id === group);
        }
        assert.deepEqual([peer.socket.id, chat.socket.id], ids);
        assert.deepEqual(peer.all('session:ready').map(({ recovered }) => recovered), [false, true]);
        const ready = peer.all('session:ready')[1];
        assert.equal(ready.socketId, peer.socket.id);
        peer.close();
        sender.close();
    });

    test(`after a crash a client has a new session and misses nothing, ${transport}`, async () => {
        const [away, friend] = [`away-crash-${index}`, `friend-crash-${index}`];
        const peer = await connect(away, { transport });
        const sender = await connect(friend, { reconnection: false });
        const direct = (await sender.ok('message:send', { to: away, content: '1' })).message.conversationId;
        for (let n = 2; n <= 5; n++) await sender.ok('message:send', { conversationId: direct, content: `${n}` });
        await peer.changesUntil(direct, 5);
        const { id } = peer.socket;
        const awake = wakesUp(peer);
        server = await server.crash();
        for (let n = 6; n <= 10; n++) {
            const body = { conversationId: direct, content: `${n}` };
            assert.equal((await server.rest(friend, 'POST', '/api/messages', body)).status, 201);
        }
        await awake;
        assert.equal(peer.socket.recovered, false);
        assert.notEqual(peer.socket.id, id);
        await peer.changesUntil(direct, 10);
        // At least once, in order: whatever may be a repeat says so.
        const fresh = peer.changes(direct).filter(({ redelivered }) => redelivered !== true);
        assert.deepEqual(new Set(contents(peer, direct)), new Set(numbers(1, 10)));
        const seqs = fresh.map(({ seq }) => seq);
        assert.deepEqual(seqs, [...seqs].sort((one, other) => one - other));
        peer.close();
    });
}

// P11: neither the message nor what tells of it reaches somebody who was cut off, once it is deleted.
test('what was deleted while a client was cut off comes as deleted, its notifications too', async () => {
    const [away, friend] = ['away-deleted', 'friend-deleted'];
    const text = 'regretted at once';
    const peer = await connect(away, { reconnection: false });
    const news = await peer.join('/notifications', auth(away));
    const sender = await connect(friend);
    const { conversation } = await sender.ok('conversation:create', { type: 'group', participants: [away], name: 'G' });
    await sender.ok('message:send', { conversationId: conversation.id, content: 'before', mentions: [away] });
    await news.hears('notification:new', ({ type }) => type === 'mention');
    await peer.changesUntil(conversation.id, 1);

    peer.socket.io.engine.close();
    await peer.until(() => cuts(peer) === 1 && cuts(news) === 1, 'are cut');
    // Another device sees when the notification was told.
    const other = await connect(away);
    const mention = { conversationId: conversation.id, content: text, mentions: [away] };
    const { message } = await sender.ok('message:send', mention);
    await other.hears('notification:new', (one) => one.type === 'mention' && one.message === text);
    await sender.ok('message:delete', { messageId: message.id });
    await sender.ok('message:send', { conversationId: conversation.id, content: 'after', mentions: [away] });
    await other.hears('notification:new', (one) => one.type === 'mention' && one.message === 'after');

    const heard = [peer, news].map((socket) => socket.heard.length);
    const awake = [peer, news].map(wakesUp);
    [peer, news].forEach((socket) => socket.socket.connect());
    await Promise.all(awake);
    await peer.hears('message:new', ({ content }) => content === 'after');
    await news.hears('notification:new', (one) => one.type === 'mention' && one.message === 'after');
    for (const [index, socket] of [peer, news].entries()) {
        assert.equal(socket.socket.recovered, true, `${socket}`);
        const told = JSON.stringify(socket.heard.slice(heard[index]));
        assert.ok(!told.includes(text), told);
    }
    assert.ok(peer.all('message:deleted').some(({ messageId }) => messageId === message.id));
    [peer, other, sender].forEach((one) => one.close());
});

test('a session is nobody else\'s, and none after its end', async () => {
    const peer = await connect('owner');
    const friend = await connect('friend-of-owner');
    const { conversationId } = (await friend.ok('message:send', { to: 'owner', content: 'secret 1' })).message;
    await peer.changesUntil(conversationId, 1);
    const { _pid: pid, _lastOffset: offset, id } = peer.socket;
    assert.ok(pid && offset);
    peer.socket.io.reconnection(false);
    const cut = new Promise((resolve) => peer.socket.once('disconnect', resolve));
    peer.socket.io.engine.close();
    await cut;
    await friend.ok('message:send', { conversationId, content: 'secret 2' });

    const withTicket = (token) => ({ auth: { token, pid, offset } });
    const thief = await Peer.connect(server.url, { ...withTicket(server.token('thief')) });
    assert.notEqual(thief.socket.id, id);
    assert.equal((await thief.hears('session:ready')).recovered, false);
    await assert.rejects(Peer.connect(server.url, withTicket('bad')), /Unauthorized/);

    // A DISCONNECT ends it for good: the same, once more.
    const back = await Peer.connect(server.url, withTicket(server.token('owner')));
    assert.equal(back.socket.id, id);
    assert.equal((await back.hears('session:ready')).recovered, true);
    await back.changesUntil(conversationId, 2);
    assert.deepEqual(contents(back, conversationId), ['secret 2']);
    assert.deepEqual(thief.all('message:new'), []);
    back.socket.disconnect();
    await friend.until(() => true, 'goes on');
    const again = await Peer.connect(server.url, withTicket(server.token('owner')));
    assert.equal((await again.hears('session:ready')).recovered, false);
    assert.notEqual(again.socket.id, id);
});

test('clients before 4.6 go on as ever: a new session after a cut, and nothing is missed', async () => {
    for (const [index, [generation, transport]] of COMBINATIONS.filter(([generation]) => generation < 4).entries()) {
        const [away, friend] = [`old-${index}`, `old-friend-${index}`];
        const peer = await connect(away, { generation, transport });
        const sender = await connect(friend);
        const direct = (await sender.ok('message:send', { to: away, content: '1' })).message.conversationId;
        await peer.changesUntil(direct, 1);
        const before = cuts(peer);
        peer.socket.io.engine.close();
        await backAgain(peer, before);
        await sender.ok('message:send', { conversationId: direct, content: '2' });
        await peer.changesUntil(direct, 2);
        await peer.until(() => peer.all('session:ready').length === 2, 'is greeted again');
        assert.deepEqual(peer.all('session:ready').map(({ recovered }) => recovered), [false, false]);
        const [first] = peer.heard.filter(({ event }) => event === 'message:new');
        // What 3.x speaks cannot be told from 4.x: its listeners get the offset, too.
        assert.equal(first.args.length, generation < 3 ? 1 : 2);
        peer.close();
        sender.close();
    }
});
