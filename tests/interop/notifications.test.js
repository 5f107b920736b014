// Notifications: stored, told to every device, and changed over sockets and REST alike.

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
const rest = (user, method, path = '') => server.rest(user, method, `/api/notifications${path}`);

/** Waits until `user` has `count` unread notifications: they are made a moment after their cause. */
async function unread(user, count) {
    for (const end = Date.now() + 8000; Date.now() < end; ) {
        const { body } = await rest(user, 'GET', '/unread-count');
        assert.equal(body.count, body.unreadCount);
        if (body.count === count) return;
    }
    assert.fail(`${user} has not got ${count} unread notifications in time`);
}

/** Invites `user` to a new group: the quickest way to a notification. */
async function invite(user, name = 'Club', by = `host of ${user}`) {
    const group = { type: 'group', participants: [user], name };
    const { status, body } = await server.rest(by, 'POST', '/api/conversations', group);
    assert.equal(status, 201);
    return body.id;
}

const titles = ({ notifications }) => notifications.map(({ title }) => title);

for (const generation of GENERATIONS) {
    test(`a client ${generation}.x is told, reads and deletes, and all devices follow`, async () => {
        const user = `reader-${generation}`;
        const phone = await connect(user, { generation, namespace: '/notifications', transport: 'polling only' });
        const laptop = await connect(user, { generation, namespace: '/' });
        const other = await connect(`other-${generation}`, { generation, namespace: '/notifications' });
        assert.deepEqual(await phone.hears('notifications:count'), { unread: 0 });

        const groupId = await invite(user, 'Book club');
        for (const peer of [phone, laptop]) {
            const told = await peer.hears('notification:new');
            assert.equal(told._id, told.id);
            assert.deepEqual(
                [told.type, told.title, told.status, told.priority, told.readAt, told.actionUrl],
                ['group_invite', 'Book club', 'unread', 'normal', null, null],
            );
            assert.deepEqual(told.data, { conversationId: groupId, groupId, fromUserId: `host of ${user}` });
            await peer.hears('notifications:count', ({ unread }) => unread === 1);
        }
        const notificationId = phone.all('notification:new')[0].id;
        const shown = await phone.ok('notifications:unread');
        assert.deepEqual([shown.count, shown.notifications.map(({ id }) => id)], [1, [notificationId]]);

        await phone.ok('notification:read', { notificationId });
        await phone.ok('notification:read', { notificationId });
        for (const peer of [phone, laptop]) {
            const read = await peer.hears('notification:read');
            assert.equal(read.notificationId, notificationId);
            assert.ok(Date.parse(read.readAt) > 0);
            assert.deepEqual(await peer.hears('notification:read-confirmed'), read);
            await peer.hears('notifications:count', ({ unread }) => unread === 0);
        }
        assert.deepEqual((await laptop.ok('notifications:unread')).count, 0);

        await invite(user);
        await unread(user, 1);
        assert.equal((await laptop.ok('notifications:mark-all-read', {})).count, 1);
        for (const peer of [phone, laptop]) {
            assert.deepEqual(await peer.hears('notification:all-read'), { count: 1 });
            assert.deepEqual(await peer.hears('notifications:all-read-confirmed'), { count: 1 });
        }

        await laptop.ok('notification:delete', { notificationId });
        await laptop.ok('notification:delete', { notificationId });
        for (const peer of [phone, laptop]) {
            assert.deepEqual(await peer.hears('notification:deleted'), { notificationId });
            assert.deepEqual(await peer.hears('notification:deleted-confirmed'), { notificationId });
        }
        assert.equal((await phone.ok('notifications:list', {})).notifications.length, 1);
        assert.deepEqual(other.all('notification:new').concat(other.all('notification:read')), []);
        for (const peer of [phone, laptop, other]) peer.close();
    });
}

test('whoever was away is told how many are unread and reads the list page by page', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await invite('absent', name);
    await unread('absent', 5);
    const peer = await connect('absent', { namespace: '/notifications' });
    assert.deepEqual(await peer.hears('notifications:count'), { unread: 5 });
    const first = await peer.ok('notifications:list', { limit: 2, status: 'unread', type: 'group_add' });
    const second = await peer.ok('notifications:list', { limit: 2, cursor: first.nextCursor });
    const third = await peer.ok('notifications:list', { limit: 2, cursor: second.nextCursor });
    assert.deepEqual([first, second, third].map(titles), [['e', 'd'], ['c', 'b'], ['a']]);
    assert.equal(third.nextCursor, null);
    assert.deepEqual((await peer.ok('notifications:list', { type: 'mention' })).notifications, []);
    peer.close();
});

test('a socket filters by type for itself, and unknown types are refused', async () => {
    const [all, some, none] = await Promise.all(
        ['/notifications', '/notifications', '/'].map((namespace) => connect('picky', { namespace })),
    );
    const subscribed = await some.ok('notifications:subscribe', { types: ['group_update', 'contact_accepted'] });
    assert.deepEqual(subscribed.subscribedTo, ['group_update', 'contact_accept']);
    assert.deepEqual(subscribed.types, ['group_update', 'contact_accept']);
    const left = await none.ok('notifications:unsubscribe', { types: ['group_invite', 'group_update'] });
    assert.deepEqual(left.unsubscribedFrom, ['group_invite', 'group_update']);
    assert.equal(left.types.length, 8);

    const groupId = await invite('picky', 'Old name');
    await all.hears('notification:new', ({ type }) => type === 'group_invite');
    await server.rest('picky', 'GET', `/api/conversations/${groupId}`);
    const host = await connect('host of picky');
    await host.ok('conversation:rename', { conversationId: groupId, name: 'New name' });
    for (const peer of [all, some]) {
        const told = await peer.hears('notification:new', ({ type }) => type === 'group_update');
        assert.equal(told.title, 'New name');
    }
    // The number is told whatever the filter, after what it counts.
    await none.hears('notifications:count', ({ unread }) => unread === 2);
    assert.deepEqual(some.all('notification:new').map(({ type }) => type), ['group_update']);
    assert.deepEqual(none.all('notification:new'), []);

    const more = await some.ok('notifications:subscribe', { types: ['mention'] });
    assert.deepEqual(more.types, ['mention', 'group_update', 'contact_accept']);
    for (const types of [['gossip'], 'mention', undefined, [7]]) {
        const refused = await some.call('notifications:subscribe', { types });
        assert.deepEqual([refused.ok, refused.code], [false, 'invalid_payload']);
        assert.match(refused.error, /^types/);
        assert.equal((await some.call('notifications:unsubscribe', { types })).code, 'invalid_payload');
    }
    for (const peer of [all, some, none, host]) peer.close();
});

test('bad input and what is somebody else\'s is refused', async () => {
    await invite('owner');
    await unread('owner', 1);
    const { body } = await rest('owner', 'GET');
    const foreign = body.notifications[0].id;
    const eve = await connect('eve', { namespace: '/notifications' });
    for (const event of ['notification:read', 'notification:delete']) {
        for (const notificationId of [foreign, 'x'.repeat(24), '', '6'.repeat(24)]) {
            const refused = await eve.call(event, { notificationId });
            assert.deepEqual([refused.ok, refused.code, refused.error], [false, 'not_found', 'Notification not found']);
        }
        for (const payload of [{}, { notificationId: 5 }, [], 'x']) {
            assert.equal((await eve.call(event, payload)).code, 'invalid_payload');
        }
    }
    for (const payload of [{ status: 'seen' }, { type: 'gossip' }, { limit: -1 }, { cursor: 'x' }, { cursor: 5 }]) {
        assert.equal((await eve.call('notifications:list', payload)).code, 'invalid_payload');
    }
    assert.equal((await eve.call('message:send', { to: 'owner', content: 'x' })).code, 'unknown_event');
    const elsewhere = await connect('eve', { namespace: '/messages' });
    assert.equal((await elsewhere.call('notifications:unread', {})).code, 'unknown_event');

    for (const id of [foreign, 'nonsense', '6'.repeat(24)]) {
        const requests = [['GET', ''], ['POST', '/read'], ['PUT', '/read'], ['PUT', '/archive'], ['DELETE', '']];
        for (const [method, action] of requests) {
            const refused = await rest('eve', method, `/${id}${action}`);
            assert.deepEqual([refused.status, refused.body.code], [404, 'not_found']);
        }
    }
    for (const query of ['?status=seen', '?type=gossip', '?page=x', '?limit=-1', '?cursor=x']) {
        assert.deepEqual((await rest('eve', 'GET', query)).status, 400);
    }
    const anonymous = await fetch(`${server.url}/api/notifications`);
    assert.equal(anonymous.status, 401);
    assert.equal((await rest('owner', 'GET', '/unread')).body.count, 1);
    for (const peer of [eve, elsewhere]) peer.close();
});

test('every route of REST changes what the sockets see', async () => {
    const user = 'restful';
    for (const name of ['a', 'b', 'c', 'd']) await invite(user, name);
    await unread(user, 4);
    const peer = await connect(user, { namespace: '/notifications' });
    const list = async (query = '') => (await rest(user, 'GET', query)).body;

    const all = await list();
    assert.deepEqual(titles(all), ['d', 'c', 'b', 'a']);
    const { notifications: [d, c, b, a], ...numbers } = all;
    const expected = { total: 4, unreadCount: 4, page: 1, limit: 50, totalPages: 1, nextCursor: null };
    assert.deepEqual(numbers, expected);
    const page = await list('?page=2&limit=3');
    assert.deepEqual([titles(page), page.totalPages, page.page, page.limit], [['a'], 2, 2, 3]);
    const first = await list('?limit=3&status=&type=all');
    assert.deepEqual(titles(await list(`?limit=3&cursor=${first.nextCursor}`)), ['a']);
    assert.deepEqual((await rest(user, 'GET', `/${a.id}`)).body, a);

    for (const method of ['POST', 'PUT', 'PUT']) {
        const { status, body } = await rest(user, method, `/${a.id}/read`);
        assert.deepEqual([status, body.notification.status], [200, 'read']);
    }
    await peer.hears('notification:read', ({ notificationId }) => notificationId === a.id);
    const aside = await rest(user, 'PUT', `/${b.id}/archive`);
    assert.deepEqual([aside.status, aside.body.notification.status], [200, 'archived']);
    await peer.hears('notification:archived', ({ notificationId }) => notificationId === b.id);
    await peer.hears('notifications:count', ({ unread }) => unread === 2);
    for (const [status, title] of [['read', 'a'], ['archived', 'b']]) {
        const found = await list(`?status=${status}`);
        assert.deepEqual([titles(found), found.total, found.unreadCount], [[title], 1, 2]);
    }

    for (const repeat of [1, 2]) {
        const { status } = await rest(user, 'DELETE', `/${c.id}`);
        assert.equal(status, 200, `time ${repeat}`);
    }
    await peer.hears('notification:deleted', ({ notificationId }) => notificationId === c.id);
    assert.equal((await rest(user, 'GET', `/${c.id}`)).status, 404);

    assert.equal((await rest(user, 'POST', '/mark-all-read')).body.modifiedCount, 1);
    assert.deepEqual((await rest(user, 'PUT', '/mark-all-read')).body.count, 0);
    await peer.hears('notification:all-read', ({ count }) => count === 1);
    assert.equal((await rest(user, 'DELETE', '/clear-read')).body.deletedCount, 2);
    assert.deepEqual(await peer.hears('notifications:cleared'), { count: 2, readOnly: true });
    assert.deepEqual(titles(await list()), ['b']);
    assert.equal((await rest(user, 'DELETE')).body.deletedCount, 1);
    await peer.hears('notifications:cleared', ({ count, readOnly }) => count === 1 && !readOnly);
    assert.equal((await list()).total, 0);
    assert.equal(d.title, 'd');
    peer.close();
});

test('what was told before a restart is there after it', async () => {
    await invite('keeper', 'kept');
    await unread('keeper', 1);
    const { next } = await server.restart();
    server = next;
    const peer = await connect('keeper', { namespace: '/notifications' });
    assert.deepEqual(await peer.hears('notifications:count'), { unread: 1 });
    assert.deepEqual(titles(await peer.ok('notifications:unread', {})), ['kept']);
    peer.close();
});
