// Three nodes of a cluster on one Redis: what crosses users crosses nodes, and what is acknowledged is there afterwards, once and in
// the same order for everybody, whatever breaks in between.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { within } from './support/deadline.js';
import { Peer, closeAll } from './support/peer.js';
import { Redis } from './support/redis.js';
import { Hobnob } from './support/server.js';

const secret = randomBytes(33).toString('base64');
const LEASE = 3_000;
const SOON = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 };
let redis;
let nodes;

before(async () => {
    redis = await Redis.start();
    const start = (id) => {
        const cluster = { HOBNOB_CLUSTER__NODE_ID: id, HOBNOB_CLUSTER__LEASE_MS: `${LEASE}` };
        const grace = { HOBNOB_PRESENCE__OFFLINE_GRACE_MS: '1000', HOBNOB_LOCKS__GRACE_MS: '1000' };
        return Hobnob.start({ secret, env: { USE_REDIS: 'true', REDIS_URL: redis.url, ...cluster, ...grace } });
    };
    nodes = await Promise.all(['a', 'b', 'c'].map(start));
    await Promise.all(nodes.map((node) => node.logs(/in step with the other nodes/)));
});

after(async () => {
    closeAll();
    for (const node of nodes) await node.remove();
    await redis.remove();
});

const connect = (node, user, options) => Peer.connect(nodes[node].url, { ...options, token: nodes[node].token(user) });

/** A group of these users, all of them on their nodes. */
async function group(...peers) {
    const [first, ...others] = peers;
    const participants = others.map(({ user }) => user);
    const { conversation } = await first.peer.ok('conversation:create', { type: 'group', participants, name: 'G' });
    await Promise.all(others.map(({ peer }) => peer.hears('conversation:joined', (joined) => joined.conversation.id === conversation.id)));
    return conversation.id;
}

const on = async (node, user, options) => ({ user, node, peer: await connect(node, user, options) });

const contents = (peer, conversation) => peer.changes(conversation).map(({ content }) => content);

/** The texts of a conversation in the history of a node. */
async function history(node, user, conversation) {
    const { status, body } = await nodes[node].rest(user, 'GET', `/api/messages/conversation/${conversation}?limit=100`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.messages.map(({ content }) => content);
}

/** Waits until every node has so many messages, and gives them: the same ones everywhere, in one order. */
async function everywhere(user, conversation, count, at = [0, 1, 2]) {
    const all = async () => {
        for (;;) {
            const found = await Promise.all(at.map((node) => history(node, user, conversation)));
            if (found.every((texts) => texts.length >= count)) return found;
            await new Promise(setImmediate);
        }
    };
    const found = await within(all(), `${count} messages on every node`, 30_000);
    for (const texts of found) assert.deepEqual(texts, found[0]);
    assert.equal(found[0].length, count);
    assert.equal(new Set(found[0]).size, count, 'each once');
    return found[0];
}

test('messages of clients of every generation reach those on other nodes once and in one order', async () => {
    const members = await Promise.all([
        on(0, 'one', { generation: 1, transport: 'websocket only' }),
        on(1, 'two', { generation: 2, transport: 'polling only' }),
        on(2, 'three', { generation: 3, transport: 'polling with upgrade' }),
        on(1, 'four', { generation: 4 }),
    ]);
    const id = await group(...members.toReversed());
    for (let round = 0; round < 5; round++) {
        await Promise.all(members.map(({ peer, user }) => peer.ok('message:send', { conversationId: id, content: `${user} ${round}` })));
    }
    for (const { peer } of members) await peer.changesUntil(id, 20);
    const [first, ...others] = members.map(({ peer }) => contents(peer, id));
    assert.equal(first.length, 20);
    for (const other of others) assert.deepEqual(other, first);
    assert.deepEqual(await everywhere('one', id, 20), first);
    // Edits, deletions, reactions and receipts as well.
    const [one, , three] = members.map(({ peer }) => peer);
    const { message } = await one.ok('message:send', { conversationId: id, content: 'wrong' });
    await three.hears('message:new', ({ content }) => content === 'wrong');
    await one.ok('message:edit', { messageId: message.id, content: 'right' });
    await three.hears('message:updated', ({ content }) => content === 'right');
    await three.ok('message:react', { messageId: message.id, emoji: '👍' });
    await one.hears('reaction:updated', (reaction) => reaction.messageId === message.id);
    await one.ok('message:delete', { messageId: message.id });
    await three.hears('message:deleted', ({ messageId }) => messageId === message.id);
});

test('presence, statuses, typing, notifications and locks cross nodes', async () => {
    const [ann, bob] = [await on(0, 'ann'), await on(1, 'bob')];
    const id = await group(ann, bob);
    const second = await connect(2, 'bob');
    await ann.peer.ok('user:typing', { conversationId: id });
    await second.hears('user:typing', ({ userId }) => userId === 'ann');
    await second.ok('status:set', { status: 'dnd' });
    await ann.peer.hears('user-status', ({ userId, status }) => userId === 'bob' && status === 'dnd');
    await second.ok('status:set', { status: 'online' });

    const news = await second.join('/notifications', { auth: { token: nodes[2].token('bob') } });
    const mention = { conversationId: id, content: 'look, bob', mentions: ['bob'] };
    const { message } = await ann.peer.ok('message:send', mention);
    await news.hears('notification:new', ({ type, message: text }) => type === 'mention' && text === 'look, bob');

    await ann.peer.ok('message:lock', { messageId: message.id });
    await bob.peer.hears('message:locked', ({ messageId, lockedBy }) => messageId === message.id && lockedBy === 'ann');
    const refused = await bob.peer.call('message:lock', { messageId: message.id });
    assert.deepEqual([refused.ok, refused.code], [false, 'locked']);
    await ann.peer.ok('message:unlock', { messageId: message.id });
    await bob.peer.hears('message:unlocked', ({ messageId }) => messageId === message.id);

    // Online as long as he is on any node.
    const heard = () => ann.peer.all('user-offline').filter(({ userId }) => userId === 'bob').length;
    bob.peer.close();
    await ann.peer.ok('message:send', { conversationId: id, content: 'still there?' });
    await second.hears('message:new', ({ content }) => content === 'still there?');
    assert.equal(heard(), 0);
    [news, second].forEach((one) => one.close());
    await within(ann.peer.until(() => heard() === 1, 'bob is offline'), 'bob is offline', 20_000);
    ann.peer.close();
});

test('p26: the users of a node that is killed go offline everywhere, and miss nothing on another', async () => {
    const [eva, fay] = [await on(0, 'eva'), await on(2, 'fay', { reconnection: false })];
    const id = await group(eva, fay);
    const { message } = await eva.peer.ok('message:send', { conversationId: id, content: '1' });
    await fay.peer.changesUntil(id, 1);
    await fay.peer.ok('message:lock', { messageId: message.id });
    await eva.peer.hears('message:locked', ({ messageId }) => messageId === message.id);
    const isKnown = async () => {
        while ((await nodes[0].rest('eva', 'GET', '/api/users/fay/status')).body.status !== 'online') await new Promise(setImmediate);
    };
    await within(isKnown(), 'the other node knows that fay is there');
    nodes[2].child.process.kill('SIGKILL');
    await within(nodes[2].child.exited, 'the node is dead');
    await eva.peer.ok('message:send', { conversationId: id, content: '2' });
    const offline = eva.peer.until(() => eva.peer.all('user-offline').some(({ userId }) => userId === 'fay'), 'fay is offline');
    const unlocked = eva.peer.hears('message:unlocked', ({ messageId }) => messageId === message.id);
    await within(Promise.all([offline, unlocked]), 'its users and locks are gone', 30_000);
    const again = await connect(1, 'fay');
    await again.changesUntil(id, 2);
    assert.deepEqual(contents(again, id).at(-1), '2');
    nodes[2] = await nodes[2].crash();
    await nodes[2].logs(/in step with the other nodes/);
    assert.deepEqual(await everywhere('eva', id, 2), ['1', '2']);
});

for (const [how, breaks, mends] of [
    ['killed and started again', () => redis.kill(), () => redis.restart()],
    ['stopped for a while', () => redis.process.kill('SIGSTOP'), () => redis.process.kill('SIGCONT')],
]) {
    test(`p24: with Redis ${how}, each node serves its own users, and everybody has everything afterwards`, async () => {
        const name = how.split(' ')[0];
        const [gus, hal, ida] = [
            await on(0, `gus-${name}`, SOON), await on(0, `hal-${name}`, SOON), await on(1, `ida-${name}`, SOON),
        ];
        const id = await group(gus, hal, ida);
        await gus.peer.ok('message:send', { conversationId: id, content: 'before' });
        await ida.peer.changesUntil(id, 1);
        await breaks();
        // Acknowledged by this node alone, and told to those who are on it. Until it knows, the node waits.
        const send = (one, content) => within(one.peer.ok('message:send', { conversationId: id, content }), content, 20_000);
        await send(gus, 'gus alone');
        await hal.peer.hears('message:new', ({ content }) => content === 'gus alone');
        await send(ida, 'ida alone');
        const ready = await fetch(`${nodes[0].url}/readyz`);
        assert.match(await ready.text(), /P24|degraded/);
        await mends();
        const texts = await everywhere(gus.user, id, 3);
        assert.equal(texts[0], 'before');
        // Whoever was connected begins anew and is told what he has missed.
        await ida.peer.hears('message:new', ({ content }) => content === 'gus alone');
        await gus.peer.hears('message:new', ({ content }) => content === 'ida alone');
        await within(gus.peer.until(() => gus.peer.socket.connected, 'gus is back'), 'gus is back');
        [gus, hal, ida].forEach(({ peer }) => peer.close());
    });
}

test('nodes that are restarted one by one lose nothing and double nothing', async () => {
    const members = await Promise.all([0, 1, 2].map((node) => on(node, `rolling-${node}`, SOON)));
    const id = await group(...members);
    let sent = 0;
    let stopping = false;
    // Over HTTP, by whichever node answers: what is not acknowledged is sent again under the same key.
    const sender = (async () => {
        while (!stopping) {
            const body = { conversationId: id, content: `${sent}`, clientId: `rolling-${sent}` };
            const answers = async () => {
                for (let at = sent; ; at++) {
                    const node = nodes[at % 3];
                    const answer = await node?.rest('rolling-0', 'POST', '/api/messages', body).catch(() => undefined);
                    if (answer?.status === 201 || answer?.status === 200) return;
                    await new Promise(setImmediate);
                }
            };
            await within(answers(), `message ${sent} is taken`, 30_000);
            sent += 1;
        }
    })();
    for (const at of [0, 1, 2]) {
        const { code, next } = await nodes[at].restart();
        assert.equal(code, 0);
        nodes[at] = next;
        await next.logs(/in step with the other nodes/);
    }
    stopping = true;
    await sender;
    await everywhere('rolling-0', id, Math.min(sent, 100));
    for (const { peer } of members.slice(1)) {
        await within(peer.until(() => new Set(contents(peer, id)).size === sent, 'all messages'), `${peer} has all ${sent}`, 30_000);
        const seqs = peer.changes(id).filter(({ redelivered }) => redelivered !== true).map(({ seq }) => seq);
        assert.deepEqual(seqs, [...new Set(seqs)].sort((one, other) => one - other));
    }
});
