// REST and sockets are two doors to the same room.

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

test('what is sent, edited and deleted over REST reaches the sockets of all generations', async () => {
    const users = GENERATIONS.map((generation) => `rest-${generation}`);
    const peers = await Promise.all(
        GENERATIONS.map((generation, index) => Peer.connect(server.url, { generation, token: server.token(users[index]) })),
    );
    const group = { type: 'group', participants: users, name: 'Mirror' };
    const created = await server.rest(users[0], 'POST', '/api/conversations', group);
    assert.equal(created.status, 201);
    const conversationId = created.body.id;
    for (const peer of peers) {
        assert.equal((await peer.hears('conversation:joined')).conversation.id, conversationId);
    }

    const draft = { conversationId, content: 'over REST', clientId: 'rest-key' };
    const sent = await server.rest(users[0], 'POST', '/api/messages', draft);
    assert.equal(sent.status, 201);
    const again = await server.rest(users[0], 'POST', '/api/messages', draft);
    assert.deepEqual([again.status, again.body.id], [200, sent.body.id]);
    const path = `/api/messages/${sent.body.id}`;
    const edited = await server.rest(users[0], 'PUT', path, { content: 'edited over REST' });
    assert.deepEqual([edited.status, edited.body.content, edited.body.edited], [200, 'edited over REST', true]);
    assert.equal((await server.rest(users[0], 'DELETE', path)).status, 200);

    for (const peer of peers) {
        const changes = await peer.changesUntil(conversationId, 3);
        assert.deepEqual(
            changes.map(({ event, changeSeq, messageId, id }) => [event, changeSeq, messageId ?? id]),
            ['message:new', 'message:updated', 'message:deleted'].map((event, index) => [event, index + 1, sent.body.id]),
        );
        peer.close();
    }
});

test('what is sent over a socket is in the history, page by page', async () => {
    const peer = await Peer.connect(server.url, { token: server.token('writer') });
    const contents = ['1', '2', '3', '4', '5'];
    let conversationId;
    for (const content of contents) {
        ({ message: { conversationId } } = await peer.ok('message:send', { to: 'reader', content }));
    }
    const history = async (query) => {
        const path = `/api/messages/conversation/${conversationId}?limit=2&${query}`;
        const { status, body } = await server.rest('reader', 'GET', path);
        assert.equal(status, 200);
        return body.messages.map(({ content }) => content);
    };
    assert.deepEqual(await history('page=1'), ['4', '5']);
    assert.deepEqual(await history('page=2'), ['2', '3']);
    assert.deepEqual(await history('page=3'), ['1']);
    assert.deepEqual(await history('page=4'), []);
    assert.deepEqual(await history('before=4'), ['2', '3']);
    assert.deepEqual(await history('after=3'), ['4', '5']);

    const list = await server.rest('reader', 'GET', '/api/conversations');
    assert.deepEqual(list.body.map(({ id, headSeq }) => [id, headSeq]), [[conversationId, 5]]);
    const foreign = await server.rest('stranger', 'GET', `/api/messages/conversation/${conversationId}`);
    assert.deepEqual([foreign.status, foreign.body.code], [404, 'not_found']);
    peer.close();
});

test('members added and removed over REST hear of it', async () => {
    const peer = await Peer.connect(server.url, { generation: 2, token: server.token('guest') });
    const create = { type: 'group', participants: [], name: 'House' };
    const { body: conversation } = await server.rest('host', 'POST', '/api/conversations', create);
    const path = `/api/conversations/${conversation.id}/members`;
    assert.equal((await server.rest('host', 'POST', path, { members: ['guest'] })).status, 200);
    assert.equal((await peer.hears('conversation:joined')).conversation.id, conversation.id);
    assert.equal((await server.rest('host', 'DELETE', path, { members: ['guest'] })).status, 200);
    assert.equal((await peer.hears('conversation:left')).conversationId, conversation.id);
    peer.close();
});

test('without a token REST answers 401', async () => {
    const response = await fetch(`${server.url}/api/conversations`);
    const body = await response.json();
    assert.deepEqual([response.status, body.code], [401, 'token_missing']);
    assert.match(body.error, /^Unauthorized/);
});
