// Who is here and how: told to those who share a conversation, kept over reconnects and restarts.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

// Short enough to be waited for, long enough for a reconnect.
const env = { HOBNOB_PRESENCE__OFFLINE_GRACE_MS: '1500' };

let server;
before(async () => {
    server = await Hobnob.start({ env });
});
after(async () => {
    closeAll();
    await server.remove();
});

const connect = (user, options) => Peer.connect(server.url, { ...options, token: server.token(user) });

const PRESENCE = ['user-status', 'user-online', 'user-offline'];
/** What was heard of one user: the name and the status. */
const told = (peer, user) =>
    peer.heard
        .filter(({ event, args }) => PRESENCE.includes(event) && args[0].userId === user)
        .map(({ event, args }) => [event, args[0].status]);
const aboutUser = (user) => ({ userId }) => userId === user;
const ONLINE = [['user-status', 'online'], ['user-online', 'online']];
const OFFLINE = [['user-status', 'offline'], ['user-offline', 'offline']];

/** Direct conversations of `user` with each of `others`. */
const befriend = async (user, others) => {
    for (const other of others) {
        const create = { type: 'direct', participants: [other] };
        const { status } = await server.rest(user, 'POST', '/api/conversations', create);
        assert.equal(status, 201);
    }
};

for (const generation of GENERATIONS) {
    const options = { generation };

    test(`client ${generation}.x hears who comes and goes, and nothing of a quick reconnect`, async () => {
        const [mover, other, watcher] = ['mover', 'other', 'watcher'].map((name) => `${name}-${generation}`);
        await befriend(watcher, [mover, other]);
        const eyes = await connect(watcher, options);
        const phone = await connect(mover, options);
        await eyes.hears('user-online', aboutUser(mover));
        const laptop = await connect(mover, { ...options, namespace: '/messages' });
        const brief = await connect(other, options);

        for (const peer of [phone, laptop]) peer.close();
        const again = await connect(mover, options);
        brief.close();
        // The other one went later: by now the grace of the first one would be over, too.
        await eyes.hears('user-offline', aboutUser(other));
        assert.deepEqual(told(eyes, mover), ONLINE);
        again.close();
        const gone = await eyes.hears('user-offline', aboutUser(mover));
        assert.deepEqual(told(eyes, mover), [...ONLINE, ...OFFLINE]);
        assert.ok(Math.abs(Date.parse(gone.lastSeen) - Date.now()) < 10_000, gone.lastSeen);
        for (const peer of [phone, laptop, again]) assert.deepEqual(told(peer, mover), [], 'not to oneself');
        eyes.close();
    });

    test(`a status set by client ${generation}.x holds on all devices and over a reconnect`, async () => {
        const [setter, watcher] = [`setter-${generation}`, `eyes-${generation}`];
        await befriend(watcher, [setter]);
        const [eyes, phone, tablet] = [
            await connect(watcher, options),
            await connect(setter, options),
            await connect(setter, { ...options, namespace: '/messages' }),
        ];
        const customStatus = {
            message: 'In a meeting', emoji: '📞', expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
        };
        const ack = await phone.ok('status:set', { status: 'busy', customStatus });
        assert.deepEqual([ack.status, ack.customStatus], ['busy', customStatus]);
        const isBusy = ({ status }) => status === 'busy';
        const busy = { userId: setter, status: 'busy', customStatus, lastSeen: null };
        for (const peer of [eyes, phone, tablet]) assert.deepEqual(await peer.hears('user-status', isBusy), busy);

        for (const peer of [phone, tablet]) peer.close();
        await eyes.hears('user-offline', aboutUser(setter));
        const away = await eyes.ok('status:get', { userIds: [setter, 'nobody'] });
        assert.deepEqual(Object.keys(away.statuses), [setter]);
        assert.equal(away.statuses[setter].status, 'offline');

        const back = await connect(setter, options);
        await eyes.until(() => eyes.all('user-online').filter(aboutUser(setter)).length === 2, 'hears of the return');
        assert.deepEqual(eyes.all('user-online').at(-1), busy);
        const seen = await server.rest(watcher, 'GET', `/api/users/${setter}/status`);
        assert.deepEqual([seen.status, seen.body], [200, busy]);
        const foreign = await server.rest('stranger', 'GET', `/api/users/${setter}/status`);
        const absent = await server.rest('stranger', 'GET', '/api/users/nobody/status');
        assert.deepEqual([foreign.status, foreign.body], [404, absent.body]);

        await back.ok('status:set', { status: 'offline' });
        await eyes.until(() => eyes.all('user-offline').length === 2, 'takes the invisible for offline');
        for (const peer of [back, eyes]) peer.close();
    });
}

test('a custom status ends on time', async () => {
    await befriend('busy-bee', ['observer']);
    const [bee, observer] = [await connect('busy-bee'), await connect('observer')];
    const expiresAt = new Date(Date.now() + 1500).toISOString();
    await bee.ok('status:set', { customStatus: { message: 'back in a second', expiresAt } });
    await observer.hears('user-status', ({ customStatus }) => customStatus?.message === 'back in a second');
    const hasEnded = (peer) => () => {
        const last = peer.all('user-status').filter(aboutUser('busy-bee')).at(-1);
        return last.customStatus === null;
    };
    for (const peer of [bee, observer]) await peer.until(hasEnded(peer), 'hears the end');
    assert.ok(Date.now() >= Date.parse(expiresAt) && Date.now() < Date.parse(expiresAt) + 5000);
    for (const peer of [bee, observer]) peer.close();
});

test('after a restart nobody is online who has not come back, and what was chosen holds', async () => {
    let process = await Hobnob.start({ env });
    try {
        const join = (user) => Peer.connect(process.url, { token: process.token(user) });
        const ghost = await join('ghost');
        await ghost.ok('conversation:create', { type: 'direct', participants: ['witness'] });
        await ghost.ok('status:set', { status: 'dnd', customStatus: { message: 'haunting' } });
        process = (await process.restart()).next;
        const witness = await join('witness');
        const before = (await witness.ok('status:get', { userIds: ['ghost'] })).statuses.ghost;
        assert.deepEqual([before.status, before.customStatus.message], ['offline', 'haunting']);
        assert.ok(Math.abs(Date.parse(before.lastSeen) - Date.now()) < 15_000, before.lastSeen);
        await join('ghost');
        const back = await witness.hears('user-online', aboutUser('ghost'));
        assert.deepEqual([back.status, back.customStatus.message, back.lastSeen], ['dnd', 'haunting', null]);
    } finally {
        await process.remove();
    }
});
