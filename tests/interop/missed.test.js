// Sent while away: every message comes by `get-missed-messages`, by cursor and by date, over many pages.

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

/** All pages: the first one by `request`, the others by `nextCursor` alone. */
async function pages(peer, request) {
    const found = [await peer.ok('get-missed-messages', { ...request, limit: 2 })];
    while (found.at(-1).hasMore) {
        assert.ok(found.length < 20, 'it comes to an end');
        found.push(await peer.ok('get-missed-messages', { cursor: found.at(-1).nextCursor, limit: 2 }));
    }
    for (const page of found) {
        assert.equal(page.count, page.messages.length);
        assert.ok(page.messages.length + page.changes.length <= 2);
        assert.equal(page.complete, !page.hasMore);
    }
    return found;
}

const contents = (found) => found.flatMap(({ messages }) => messages.map(({ content }) => content));

for (const [index, [generation, transport]] of COMBINATIONS.entries()) {
    test(`client ${generation}.x catches up after it was away, ${transport}`, async () => {
        const [away, friend] = [`away-${index}`, `friend-${index}`];
        const options = { generation, transport };
        const sender = await connect(friend, options);
        let absent = await connect(away, options);

        const first = await sender.ok('message:send', { to: away, content: 'seen' });
        const direct = first.message.conversationId;
        const own = await absent.ok('message:send', { conversationId: direct, content: 'my own' });
        const create = { type: 'group', participants: [away], name: 'Team' };
        const group = (await sender.ok('conversation:create', create)).conversation.id;
        await absent.changesUntil(direct, 2);
        absent.close();

        for (const number of [1, 2, 3]) {
            await sender.ok('message:send', { conversationId: direct, content: `direct ${number}` });
            await sender.ok('message:send', { conversationId: group, content: `group ${number}` });
        }
        // From another device of the absent user.
        const other = await server.rest(away, 'POST', '/api/messages', { conversationId: direct, content: 'not here' });
        assert.equal(other.status, 201);
        await sender.ok('message:edit', { messageId: first.id, content: 'seen, then edited' });
        const gone = await sender.ok('message:send', { conversationId: group, content: 'gone' });
        await sender.ok('message:delete', { messageId: gone.id });

        absent = await connect(away, options);
        const ready = await absent.hears('session:ready');
        assert.deepEqual(ready.conversations, { [direct]: 7, [group]: 5 });
        const expected = ['direct 1', 'group 1', 'direct 2', 'group 2', 'direct 3', 'group 3'];

        const byCursor = await pages(absent, { cursors: { [direct]: own.seq } });
        assert.deepEqual(contents(byCursor).filter((content) => content !== ''), [...expected, 'not here']);
        const tombstone = byCursor.flatMap(({ messages }) => messages).at(-1);
        assert.deepEqual([tombstone.id, tombstone.content, tombstone.deleted], [gone.id, '', true]);
        const changes = byCursor.flatMap((page) => page.changes);
        const edit = changes.find(({ event }) => event === 'message:updated');
        assert.deepEqual([edit.messageId, edit.changeSeq, edit.content], [first.id, 7, 'seen, then edited']);
        assert.deepEqual(byCursor.at(-1).cursors, ready.conversations);
        const nothing = await absent.ok('get-missed-messages', { cursors: ready.conversations });
        assert.deepEqual([nothing.count, nothing.changes, nothing.complete], [0, [], true]);

        const byDate = await pages(absent, { lastSyncDate: own.message.createdAt });
        assert.deepEqual(contents(byDate).filter((content) => content !== ''), expected);
        const mine = byDate.flatMap(({ messages }) => messages).filter(({ senderId }) => senderId === away);
        assert.deepEqual(mine, [], 'by date only what others have sent');
        assert.deepEqual(byDate.flatMap((page) => page.changes), [], 'by date only messages');
        const since = await absent.ok('get-missed-messages', { since: Date.parse(own.message.createdAt) });
        assert.deepEqual(contents([since]).filter((content) => content !== ''), expected);

        const one = await absent.ok('sync-messages', { conversationId: group });
        assert.equal(one.conversationId, group);
        assert.deepEqual(contents([one]), ['group 1', 'group 2', 'group 3', '']);

        absent.emit('get-missed-messages', { cursors: {} });
        const event = await absent.hears('missed-messages');
        assert.equal(event.count, 10, 'without an ack the answer comes as an event');
        for (const peer of [absent, sender]) peer.close();
    });
}
