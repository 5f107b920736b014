// Groups change while people are connected: their sockets move at that moment.

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

for (const generation of GENERATIONS) {
    test(`all sockets of a user of client ${generation}.x move into and out of a group at once`, async () => {
        const [admin, member] = [`admin-${generation}`, `member-${generation}`];
        const chief = await connect(admin, { generation });
        const phone = await connect(member, { generation, transport: 'polling only' });
        const laptop = await connect(member, { generation, transport: 'websocket only' });
        const tablet = await connect(member, { generation, namespace: '/messages' });
        const devices = [phone, laptop, tablet];
        const say = (content) => chief.ok('message:send', { conversationId, content });

        const create = { type: 'group', participants: [], name: 'Club' };
        const conversationId = (await chief.ok('conversation:create', create)).conversation.id;
        await say('before');
        await chief.ok('conversation:add-members', { conversationId, members: [member] });
        await say('during');
        for (const device of devices) {
            assert.equal((await device.hears('conversation:joined')).conversation.id, conversationId);
            await device.hears('message:new', ({ content }) => content === 'during');
        }

        await chief.ok('conversation:remove-members', { conversationId, members: [member] });
        await say('after');
        // What is committed later is heard later: whoever hears this would have heard the message to the group.
        await chief.ok('message:send', { to: member, content: 'in private' });
        for (const device of devices) {
            await device.hears('message:new', ({ content }) => content === 'in private');
            const left = await device.hears('conversation:left');
            assert.deepEqual([left.conversationId, left.reason], [conversationId, 'removed']);
            assert.deepEqual(device.changes(conversationId).map(({ content }) => content), ['during']);
        }

        const refused = await phone.call('message:send', { conversationId, content: 'still here?' });
        assert.deepEqual([refused.ok, refused.code], [false, 'not_found']);
        const missed = await phone.ok('get-missed-messages', { cursors: {} });
        assert.ok(missed.messages.every((message) => message.conversationId !== conversationId));
        for (const peer of [chief, ...devices]) peer.close();
    });
}

test('only an admin changes a group, and whoever is not in it is told that it does not exist', async () => {
    const [chief, member, stranger] = await Promise.all(['chief', 'mate', 'stranger'].map((user) => connect(user)));
    const create = { type: 'group', participants: ['mate'], name: 'Crew' };
    const conversationId = (await chief.ok('conversation:create', create)).conversation.id;
    for (const event of ['conversation:add-members', 'conversation:remove-members']) {
        const byMember = await member.call(event, { conversationId, members: ['stranger'] });
        assert.deepEqual([byMember.ok, byMember.code], [false, 'forbidden']);
        const byStranger = await stranger.call(event, { conversationId, members: ['stranger'] });
        assert.deepEqual([byStranger.ok, byStranger.code], [false, 'not_found']);
    }
    const joining = await stranger.call('join-conversation', { conversationId });
    assert.deepEqual([joining.ok, joining.code], [false, 'not_found']);
    await member.ok('join-conversation', { conversationId });
    for (const peer of [chief, member, stranger]) peer.close();
});

test('a group tells its members of its new name, and of one who leaves', async () => {
    const [chief, member] = await Promise.all(['skipper', 'sailor'].map((user) => connect(user)));
    const create = { type: 'group', participants: ['sailor'], name: 'Boat' };
    const conversationId = (await chief.ok('conversation:create', create)).conversation.id;
    await chief.ok('conversation:rename', { conversationId, name: 'Ship' });
    await member.hears('conversation:updated', ({ conversation }) => conversation.name === 'Ship');
    await member.ok('conversation:leave', { conversationId });
    assert.equal((await member.hears('conversation:left')).reason, 'left');
    await chief.hears('conversation:updated', ({ conversation }) => conversation.participants.length === 1);
    for (const peer of [chief, member]) peer.close();
});
