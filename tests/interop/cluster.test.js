// Servers of both kinds on one Redis: Hobnob, and Socket.IO on Node with the official adapter; and the official emitter beside them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Server } from 'socket.io';

import { within } from './support/deadline.js';
import { Peer, closeAll } from './support/peer.js';
import { Redis } from './support/redis.js';
import { Hobnob } from './support/server.js';

const secret = randomBytes(33).toString('base64');
let redis;
let hobnob;
let second;
let node;

/** A Socket.IO server on Node whose sockets are in the rooms that they ask for. */
class NodeServer {
    static async start() {
        const server = new NodeServer();
        server.http = createServer();
        server.io = new Server(server.http, { adapter: createAdapter(await redis.client(), await redis.client()) });
        for (const namespace of ['/', '/messages']) {
            server.io.of(namespace).on('connection', (socket) => socket.join(socket.handshake.auth.rooms ?? []));
        }
        server.http.listen(0, '127.0.0.1');
        await once(server.http, 'listening');
        server.url = `http://127.0.0.1:${server.http.address().port}`;
        return server;
    }

    connect(rooms, options) {
        return Peer.connect(this.url, { ...options, auth: { rooms } });
    }

    stop() {
        return new Promise((resolve) => this.io.close(resolve));
    }
}

before(async () => {
    redis = await Redis.start();
    const env = { USE_REDIS: 'true', REDIS_URL: redis.url };
    hobnob = await Hobnob.start({ secret, env });
    second = await Hobnob.start({ secret, env });
    node = await NodeServer.start();
    // Subscriptions of all three: from here on everybody hears everybody.
    const client = await redis.client();
    const everybody = async () => {
        while ((await client.pubSubNumSub('socket.io-request#/#'))['socket.io-request#/#'] < 3) {
            await new Promise(setImmediate);
        }
    };
    await within(everybody(), 'three servers listen');
});

after(async () => {
    closeAll();
    await node.stop();
    await Promise.all([hobnob.remove(), second.remove()]);
    await redis.remove();
});

const connect = (user, options, server = hobnob) => Peer.connect(server.url, { ...options, token: server.token(user) });

const isOffset = (arg) => typeof arg === 'string' && /^\d+$/.test(arg);

/** The arguments of the next `event` of a peer, without the offset that Hobnob puts behind them for connection state recovery. */
function next(peer, event) {
    const heard = new Promise((resolve) => {
        peer.socket.once(event, (...args) => resolve(isOffset(args.at(-1)) ? args.slice(0, -1) : args));
    });
    return within(heard, `${peer} hears ${event}`);
}

/** Sends an event of the app's own by one Hobnob server. */
const emit = (server, body) => post(server, 'emit', body);

/** A request of the app's backend. */
async function post(server, path, body) {
    server.key ??= await server.apiKey();
    const response = await fetch(`${server.url}/api/server/${path}`, {
        method: 'POST',
        headers: { 'x-api-key': server.key, 'content-type': 'application/json' },
        body: JSON.stringify(body),
    });
    assert.equal(response.status, 200, await response.clone().text());
}

test('a broadcast of a server on Node reaches clients of Hobnob, with everything that JSON has not', async () => {
    const alice = await connect('alice');
    const old = await connect('alice', { generation: 2 });
    const heard = [next(alice, 'news'), next(old, 'news')];
    const when = new Date('2026-11-24T06:00:00.123Z');
    node.io.to('user:alice').emit('news', { text: 'é', n: [1, -1, 2.5, null] }, Buffer.from([1, 2, 255]), when, { in: new Uint8Array([7]) });
    for (const args of await Promise.all(heard)) {
        const [plain, binary, date, nested] = args;
        assert.deepEqual(plain, { text: 'é', n: [1, -1, 2.5, null] });
        assert.deepEqual([...new Uint8Array(binary)], [1, 2, 255]);
        assert.equal(date, when.toISOString());
        assert.deepEqual([...new Uint8Array(nested.in)], [7]);
    }
});

test('rooms, exceptions and namespaces of a broadcast count', async () => {
    const [bob, carol] = await Promise.all([connect('bob'), connect('carol')]);
    const chat = await connect('bob', { namespace: '/messages' });
    const wrong = [];
    for (const peer of [carol, chat]) peer.socket.on('to-bob', () => wrong.push(peer.name));
    const heard = next(bob, 'to-bob');
    node.io.to(['user:bob', 'user:carol']).except('user:carol').emit('to-bob', 1);
    assert.deepEqual(await heard, [1]);
    const inChat = next(chat, 'in-chat');
    node.io.of('/messages').emit('in-chat', 2);
    assert.deepEqual(await inChat, [2]);
    // A socket's id is a room.
    const byId = next(carol, 'by-id');
    node.io.to(carol.socket.id).emit('by-id');
    await byId;
    assert.deepEqual(wrong, []);
});

test('what Hobnob broadcasts reaches clients of a server on Node, and those of another Hobnob', async () => {
    const there = await node.connect(['user:dora']);
    const dora = await connect('dora', {}, second);
    const heard = [next(there, 'greeting'), next(dora, 'greeting')];
    await emit(hobnob, { users: ['dora'], event: 'greeting', args: [{ a: { b: [1, 'two', null, 1.5, -7, true] } }, 'x'] });
    for (const args of await Promise.all(heard)) assert.deepEqual(args, [{ a: { b: [1, 'two', null, 1.5, -7, true] } }, 'x']);
});

test('a user is disconnected from all servers', async () => {
    const [one, other] = [await connect('pia'), await connect('pia', {}, second)];
    const there = await node.connect(['user:pia']);
    await post(hobnob, 'users/pia/disconnect', {});
    for (const peer of [one, other, there]) await peer.hears('disconnect');
});

test('a message comes to servers on Node, which pass over that it is from the log', async () => {
    const erik = await connect('erik');
    const create = { type: 'group', participants: ['fred'], name: 'Club' };
    const conversationId = (await erik.ok('conversation:create', create)).conversation.id;
    const there = await node.connect([`conversation:${conversationId}`]);
    const heard = next(there, 'message:new');
    await erik.ok('message:send', { conversationId, content: 'hello' });
    assert.equal((await heard)[0].content, 'hello');
});

test('the emitter reaches clients of Hobnob', async () => {
    const gina = await connect('gina');
    const chat = await connect('gina', { namespace: '/messages' });
    const emitter = new Emitter(await redis.client());
    const heard = [next(gina, 'plain'), next(chat, 'binary')];
    emitter.to('user:gina').emit('plain', { a: 1 });
    emitter.of('/messages').to('user:gina').volatile.emit('binary', Buffer.from([9]));
    const [[plain], [binary]] = await Promise.all(heard);
    assert.deepEqual(plain, { a: 1 });
    assert.deepEqual([...new Uint8Array(binary)], [9]);
});

for (const [who, remote] of [
    ['a server on Node', async () => node.io],
    ['the emitter', async () => new Emitter(await redis.client())],
]) {
    test(`${who} moves and disconnects clients of Hobnob`, async () => {
        const io = await remote();
        const user = `hugo-${who.length}`;
        const hugo = await connect(user);
        const chat = await connect(user, { namespace: '/messages' });
        io.in(`user:${user}`).socketsJoin(['vip', 'club']);
        // Requests of one connection are carried out in order, and so are broadcasts; this one comes by another channel.
        const joined = async () => {
            while (!(await node.io.in('vip').fetchSockets()).some(({ id }) => id === hugo.socket.id));
        };
        await within(joined(), 'he is in the room');
        const heard = next(hugo, 'for-vips');
        io.to('vip').emit('for-vips', 1);
        assert.deepEqual(await heard, [1]);

        io.in('vip').socketsLeave('club');
        const left = async () => {
            while ((await node.io.in('club').fetchSockets()).length > 0);
        };
        await within(left(), 'he has left the room');

        // Only the namespace: the connection, and what else goes by it, goes on.
        io.in('vip').disconnectSockets();
        await hugo.hears('disconnect', (reason) => reason === 'io server disconnect');
        assert.ok(chat.socket.connected);
        hugo.socket.connect();
        await within(once(hugo.socket, 'connect'), 'he comes back');
        await hugo.until(() => hugo.all('session:ready').length === 2, 'is served again');

        io.of('/messages').in(`user:${user}`).disconnectSockets(true);
        await chat.hears('disconnect');
    });
}

test('a server on Node sees the sockets and rooms of Hobnob', async () => {
    const ines = await connect('ines');
    const [shown] = await node.io.in('user:ines').fetchSockets();
    assert.equal(shown.id, ines.socket.id);
    assert.deepEqual(shown.data, { userId: 'ines' });
    assert.ok(shown.rooms.has('user:ines') && shown.rooms.has(ines.socket.id));
    assert.equal(shown.handshake.address, '127.0.0.1');
    assert.doesNotMatch(JSON.stringify(shown.handshake), /eyJ/, 'no token leaves the server');
    const rooms = await node.io.of('/').adapter.allRooms();
    assert.ok(rooms.has('user:ines') && rooms.has(ines.socket.id));
});

test('clients of Hobnob answer a server on Node', async () => {
    const jana = await connect('jana');
    jana.socket.on('question', (n, answer) => answer({ double: 2 * n, raw: Buffer.from([n]) }));
    const [answer] = await within(node.io.to('user:jana').timeout(4000).emitWithAck('question', 21), 'she answers');
    assert.equal(answer.double, 42);
    assert.deepEqual([...answer.raw], [21]);
    // Somebody who does not answer costs nothing but the asker's time.
    const silent = await connect('kurt');
    await assert.rejects(node.io.to('user:kurt').timeout(100).emitWithAck('unheard'));
    silent.close();
});

test('events for servers are answered, so that nobody waits for Hobnob', async () => {
    const answers = await within(node.io.serverSideEmitWithAck('anybody?'), 'all have answered');
    assert.deepEqual(answers, [null, null]);
    node.io.serverSideEmit('no answer wanted');
});

test('whatever is on the channels of the bus, the server goes on', async () => {
    // On a Redis of its own: a server on Node would end.
    const redis = await Redis.start();
    const hobnob = await Hobnob.start({ env: { USE_REDIS: 'true', REDIS_URL: redis.url } });
    await hobnob.logs(/Redis is connected/);
    const lena = await connect('lena', {}, hobnob);
    const client = await redis.client();
    const whole = Buffer.from('93a64c4e3848564783a47479706502a46461746192a568656c6c6f82a16101a162a2c3a9a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380', 'hex');
    const request = Buffer.from(JSON.stringify({ uid: 'x', requestId: 'y', type: 5, opts: { rooms: [], except: [] } }));
    const sent = [];
    for (let round = 0; round < 2500; round++) {
        const [broken, asked] = [Buffer.from(whole), Buffer.from(request)];
        for (const message of [broken, asked]) message[(round * 7919) % message.length] = (round * 31) % 256;
        // The first byte says what it is: another event of any name is none that a client could complain of.
        sent.push(client.publish('socket.io#/#user:nobody-is-here#', broken), client.publish('socket.io#/#', broken.subarray(0, round % broken.length)));
        sent.push(client.publish('socket.io-request#/#', asked), client.publish('hobnob:nodes', broken));
    }
    for (const deep of [0x91, 0x81]) sent.push(client.publish('socket.io#/#', Buffer.alloc(1 << 20, deep)));
    sent.push(client.publish('socket.io#/#', Buffer.alloc(17 << 20, 0xc0)), client.publish('socket.io-request#/#', `{"type":0,"opts":${'['.repeat(1 << 20)}`));
    await Promise.all(sent);
    const heard = next(lena, 'after');
    new Emitter(client).to('user:lena').emit('after');
    await heard;
    const metrics = await (await fetch(`${hobnob.url}/metrics`)).text();
    assert.match(metrics, /^hobnob_panics_total 0$/m);
    const malformed = Number(/^hobnob_bus_messages_total\{outcome="malformed"\} (\d+)$/m.exec(metrics)[1]);
    assert.ok(malformed > 2500, `${malformed} were counted`);
    assert.doesNotMatch(hobnob.log.join('\n'), /mistake of the program/);
    lena.close();
    await hobnob.remove();
    await redis.remove();
});

test('while Redis is away each server goes on alone, and soon after it is back they hear each other', async () => {
    const [mia, nils] = await Promise.all([connect('mia'), connect('nils', {}, second)]);
    const ready = async () => (await fetch(`${hobnob.url}/readyz`)).json();
    assert.deepEqual(await ready(), { ready: true });
    await redis.kill();
    const degraded = async () => {
        while (!(await ready()).degraded) await new Promise(setImmediate);
    };
    await within(degraded(), 'it says that it is alone');
    assert.equal((await ready()).ready, true);
    const heard = next(mia, 'local');
    await emit(hobnob, { users: ['mia'], event: 'local' });
    await heard;
    await redis.restart();
    const back = Date.now();
    const arrived = next(nils, 'across');
    let done = false;
    arrived.finally(() => (done = true)).catch(() => {});
    while (!done) await emit(hobnob, { users: ['nils'], event: 'across' });
    await arrived;
    assert.ok(Date.now() - back < 5000, `after ${Date.now() - back} ms`);
    const restored = async () => {
        while ((await ready()).degraded) await new Promise(setImmediate);
    };
    await within(restored(), 'it is whole again');
});

test('without Redis a server starts alone and says so', async () => {
    const env = { USE_REDIS: 'true', REDIS_URL: 'redis://:hunter2@127.0.0.1:1' };
    const alone = await Hobnob.start({ env });
    await alone.logs(/Redis initialization failed/);
    const log = alone.log.join('\n');
    assert.match(log, /127\.0\.0\.1:1/);
    assert.doesNotMatch(log, /hunter2/);
    const otto = await connect('otto', {}, alone);
    otto.close();
    await alone.remove();
});

test('a Redis that forgets is refused unless that is wanted', async () => {
    const forgetful = await Redis.start('--appendonly', 'no');
    const env = { USE_REDIS: 'true', REDIS_URL: forgetful.url };
    await assert.rejects(Hobnob.start({ env }), /exit code 78[^]*appendonly/);
    const warned = await Hobnob.start({ env: { ...env, HOBNOB_CLUSTER__ALLOW_VOLATILE_REDIS: 'true' } });
    await warned.logs(/appendonly/);
    await warned.remove();
    await forgetful.remove();
});
