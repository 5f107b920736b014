// Edit locks, as the feature document's client uses them, and what becomes of them when somebody goes away.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start({ env: { HOBNOB_LOCKS__GRACE_MS: '300', LOCK_TIMEOUT: '1500' } });
});
after(async () => {
    closeAll();
    await server.remove();
});

const connect = (user, options) => Peer.connect(server.url, { ...options, token: server.token(user) });

/** Two members of a group on `/messages`, and a message of the first. */
async function pair(name, generation) {
    const options = { generation, namespace: '/messages' };
    const a = await connect(`${name}-a`, options);
    const b = await connect(`${name}-b`, options);
    const group = { type: 'group', participants: [`${name}-b`], name: 'Team' };
    const conversationId = (await a.ok('conversation:create', group)).conversation.id;
    const { id } = await a.ok('message:send', { conversationId, content: 'draft' });
    await b.hears('message:new', (message) => message.id === id);
    return { a, b, messageId: id };
}

for (const generation of GENERATIONS) {
    test(`client ${generation}.x locks, is refused and unlocks as the document says`, async () => {
        const { a, b, messageId } = await pair(`g${generation}`, generation);
        // Without acks, as the document has it.
        a.emit('message:lock', { messageId });
        const locked = await a.hears('message:locked', (event) => event.messageId === messageId);
        assert.equal(locked.lockedBy, `g${generation}-a`);
        await b.hears('message:locked', (event) => event.messageId === messageId);

        const refused = await b.call('message:lock', { messageId });
        assert.deepEqual([refused.ok, refused.code, refused.lockedBy], [false, 'locked', `g${generation}-a`]);
        const failed = await b.hears('lock-failed');
        assert.deepEqual([failed.messageId, failed.lockedBy], [messageId, `g${generation}-a`]);
        assert.ok(failed.reason.length > 0);

        a.emit('message:unlock', { messageId });
        const unlocked = await b.hears('message:unlocked', (event) => event.messageId === messageId);
        assert.deepEqual([unlocked.reason, unlocked.unlockedBy], ['unlock', `g${generation}-a`]);
        await b.ok('message:lock', { messageId });
        const edit = await a.call('message:edit', { messageId, content: 'mine' });
        assert.equal(edit.code, 'locked');
    });
}

test('a lock ends when its holder has been gone for the grace, and everybody hears of it', async () => {
    const { a, b, messageId } = await pair('gone', 4);
    await a.ok('message:lock', { messageId });
    a.close();
    const unlocked = await b.hears('message:unlocked', (event) => event.messageId === messageId);
    assert.equal(unlocked.reason, 'disconnect');
});

test('a lock ends with its time, and everybody hears of it', async () => {
    const { a, b, messageId } = await pair('slow', 4);
    await a.ok('message:lock', { messageId });
    const unlocked = await b.hears('message:unlocked', (event) => event.messageId === messageId);
    assert.equal(unlocked.reason, 'expired');
});

test('a lock survives that the server is killed', async () => {
    let own = await Hobnob.start();
    const at = (user) => Peer.connect(own.url, { token: own.token(user), namespace: '/messages' });
    const first = await at('kay');
    const { id } = await first.ok('message:send', { to: 'leo', content: 'draft' });
    await first.ok('message:lock', { messageId: id });
    own = await own.crash();
    const other = await at('leo');
    const refused = await other.call('message:lock', { messageId: id });
    assert.deepEqual([refused.code, refused.lockedBy], ['locked', 'kay']);
    other.close();
    await own.remove();
});

test('strangers and bad ids are refused', async () => {
    const { messageId } = await pair('alone', 4);
    const eve = await connect('eve', { namespace: '/messages' });
    assert.equal((await eve.call('message:lock', { messageId })).code, 'not_found');
    assert.equal((await eve.call('message:unlock', { messageId })).code, 'not_found');
    assert.equal((await eve.call('message:lock', { messageId: 7 })).code, 'invalid_payload');
    assert.equal((await eve.call('message:lock', {})).code, 'invalid_payload');
});
