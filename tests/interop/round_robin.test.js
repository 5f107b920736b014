// Several nodes behind a load balancer that sends each request to the next one, whoever it comes from: no sticky sessions.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { after, before, test } from 'node:test';

import { within } from './support/deadline.js';
import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Redis } from './support/redis.js';
import { Hobnob } from './support/server.js';

const secret = randomBytes(33).toString('base64');
const SOON = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
let redis;
let balancer;

/** Sends each request, upgrades too, to the next node that takes connections. */
class Balancer {
    nodes = [];
    #turn = 0;
    #agent = new Agent({ keepAlive: false });

    static async start() {
        const balancer = new Balancer();
        balancer.server = createServer((request, answer) => balancer.#pass(request, answer));
        balancer.server.on('upgrade', (request, socket, head) => balancer.#upgrade(request, socket, head));
        balancer.server.listen(0, '127.0.0.1');
        await once(balancer.server, 'listening');
        balancer.url = `http://127.0.0.1:${balancer.server.address().port}`;
        return balancer;
    }

    #next() {
        return this.nodes[this.#turn++ % this.nodes.length];
    }

    #options(node, { method, url, headers }) {
        const { hostname, port } = new URL(node.url);
        return { hostname, port, method, path: url, headers: { ...headers, 'x-forwarded-for': '203.0.113.7' }, agent: this.#agent };
    }

    #pass(request, answer) {
        const onward = httpRequest(this.#options(this.#next(), request), (response) => {
            answer.writeHead(response.statusCode, response.headers);
            response.pipe(answer);
            response.on('error', () => answer.destroy());
        });
        onward.on('error', () => answer.destroy());
        answer.on('close', () => onward.destroy());
        request.pipe(onward);
    }

    #upgrade(request, socket, head) {
        const onward = httpRequest(this.#options(this.#next(), request));
        const end = () => {
            socket.destroy();
            onward.destroy();
        };
        socket.on('error', end);
        onward.on('error', end);
        onward.on('response', end);
        onward.on('upgrade', (response, other, early) => {
            const lines = Object.entries(response.headers).map(([name, value]) => `${name}: ${value}\r\n`);
            socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
            socket.write(early);
            other.write(head);
            other.on('error', end);
            for (const [from, to] of [[other, socket], [socket, other]]) {
                from.pipe(to);
                from.on('close', () => to.destroy());
            }
        });
        onward.end();
    }

    async stop() {
        this.server.close();
        this.server.closeAllConnections();
    }
}

async function freePort() {
    const server = createTcpServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

/** A node that says where it is. */
async function startNode(settings = {}, options = {}) {
    const listen = options.listen ?? `127.0.0.1:${await freePort()}`;
    const env = {
        USE_REDIS: 'true',
        REDIS_URL: redis.url,
        HOBNOB_CLUSTER__ADVERTISE_URL: `http://${listen}`,
        HOBNOB_CLUSTER__LEASE_MS: '2000',
        HOBNOB_SERVER__TRUSTED_PROXIES: '127.0.0.1',
        ...settings,
    };
    return Hobnob.start({ secret, env, ...options, listen });
}

/** Waits until each of `nodes` has heard of all others. */
async function meet(nodes) {
    for (const node of nodes) {
        const others = async () => {
            for (;;) {
                const text = await (await fetch(`${node.url}/metrics`)).text();
                if (Number(/cluster_nodes\S* (\d+)/.exec(text)?.[1]) >= nodes.length) return;
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
        };
        await within(others(), () => `${node.url} hears of ${nodes.length} nodes\n${node.log.join('\n')}`);
    }
}

async function startBalanced(count) {
    balancer.nodes = [await startNode()];
    await balancer.nodes[0].logs(/in step/);
    while (balancer.nodes.length < count) balancer.nodes.push(await startNode());
    await meet(balancer.nodes);
}

/** The id of a new session on `node`. */
async function openSession(node) {
    const text = await (await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`)).text();
    return JSON.parse(text.slice(1)).sid;
}

/** Takes all but the last entries out of the log. */
async function trim(entries) {
    await (await redis.client()).xTrim('hobnob:log', 'MAXLEN', entries);
}

const token = (user) => balancer.nodes[0].token(user);
const connect = (user, options) => Peer.connect(balancer.url, { ...options, token: token(user) });
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`);

before(async () => {
    redis = await Redis.start();
    balancer = await Balancer.start();
    await startBalanced(2);
});

after(async () => {
    closeAll();
    await Promise.all(balancer.nodes.map((node) => node.remove()));
    await balancer.stop();
    await redis.remove();
});

for (const [index, [generation, transport]] of COMBINATIONS.entries()) {
    test(`every request may go to another node: client ${generation}.x, ${transport}`, async () => {
        const [alice, bob] = [`alice-${index}`, `bob-${index}`];
        const [here, there] = await Promise.all([alice, bob].map((user) => connect(user, { generation, transport })));
        if (transport.endsWith('upgrade')) await Promise.all([here, there].map((peer) => peer.upgraded()));
        let conversation;
        for (const content of numbers(1, 10)) {
            conversation = (await here.ok('message:send', { to: bob, content })).message.conversationId;
        }
        assert.deepEqual((await there.changesUntil(conversation, 10)).map(({ content }) => content), numbers(1, 10));
        here.close();
        there.close();
    });
}

test('a session that no node has is unknown, and a header that a client makes up is worth nothing', async () => {
    const url = `${balancer.nodes[0].url}/socket.io/?EIO=4&transport=polling`;
    const [own, foreign] = [await openSession(balancer.nodes[0]), await openSession(balancer.nodes[1])];
    assert.notEqual(own.slice(-6), foreign.slice(-6));
    const unknown = { code: 1, message: 'Session ID unknown' };
    for (const sid of ['x', `${'A'.repeat(20)}${own.slice(-6)}`, `${'A'.repeat(20)}${foreign.slice(-6)}`, 'é'.repeat(9)]) {
        const response = await fetch(`${url}&sid=${encodeURIComponent(sid)}`);
        assert.deepEqual([response.status, await response.json()], [400, unknown], sid);
    }
    const marked = await fetch(`${url}&sid=${foreign}`, { headers: { 'hobnob-call': '1 2 3 4 5' } });
    assert.deepEqual([marked.status, await marked.json()], [400, unknown], 'passed on once at most');
    const passed = await fetch(`${url}&sid=${foreign}`, { method: 'POST', body: '40' });
    assert.deepEqual([passed.status, await passed.text()], [200, 'ok']);
    assert.equal(passed.headers.get('content-type'), 'text/html');
});

test('the answer for a page of another origin has each header once', async () => {
    const node = await startNode({ CLIENT_ORIGIN: 'https://chat.example' });
    const [first] = balancer.nodes;
    await meet([first, node]);
    const sid = await openSession(first);
    const url = `${node.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    const response = await fetch(url, { method: 'POST', body: '40', headers: { origin: 'https://chat.example' } });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('access-control-allow-origin'), 'https://chat.example');
    await node.remove();
});

test('nobody but a node gets a copy of the database', async () => {
    for (const headers of [{}, { 'hobnob-call': `1 ${Date.now()} 00000000000000000000000000000007 - AAAA` }]) {
        const response = await fetch(`${balancer.nodes[0].url}/cluster/copy`, { headers });
        assert.equal(response.status, 404);
    }
});

test('a new node copies the database while messages go on', async () => {
    const sender = await connect('writer', { transport: 'websocket only' });
    let conversation;
    let sent = 0;
    const send = async () => {
        sent += 1;
        conversation = (await sender.ok('message:send', { to: 'reader', content: `${sent}` })).message.conversationId;
    };
    while (sent < 300) await send();
    // The log does not begin at the beginning any more.
    await trim(10);
    const joining = startNode();
    let isThere = false;
    joining.then(() => (isThere = true));
    while (!isThere) await send();
    const node = await joining;
    await within(node.logs(/the copy is the database now/), 'the copy', 20_000);
    await node.logs(/in step/);
    await send();
    await agree(conversation, 'reader', [node, balancer.nodes[0]]);
    assert.equal((await fetch(`${node.url}/readyz`)).status, 200);
    balancer.nodes.push(node);
    await meet(balancer.nodes);
});

/** Waits until two nodes say the same of a conversation. */
function agree(conversation, user, nodes) {
    const path = `/api/messages/conversation/${conversation}?limit=50`;
    const views = async () => {
        for (;;) {
            const all = await Promise.all(nodes.map((node) => node.rest(user, 'GET', path)));
            const texts = all.map(({ body }) => JSON.stringify(body));
            if (all[0].status === 200 && texts.every((text) => text === texts[0])) return;
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    };
    return within(views(), 'the same on all nodes', 15_000);
}

test('a node that has missed what was trimmed copies the database and goes on, the same process', async () => {
    const node = await startNode();
    await meet([...balancer.nodes, node]);
    const sender = await connect('steady', { transport: 'websocket only' });
    const send = (content) => sender.ok('message:send', { to: 'absent', content });
    const { conversationId } = (await send('before')).message;
    const peer = await Peer.connect(node.url, { ...SOON, token: token('absent') });
    await peer.hears('session:ready');
    node.child.process.kill('SIGSTOP');
    for (const content of numbers(1, 200)) await send(content);
    await trim(100);
    node.child.process.kill('SIGCONT');
    await within(node.logs(/the copy is the database now/), 'the copy', 20_000);
    await agree(conversationId, 'absent', [node, balancer.nodes[0]]);
    await send('after');
    await peer.until(() => peer.socket.connected && peer.all('message:new').some(({ content }) => content === 'after'), 'is back');
    const { code, next } = await node.restart();
    assert.equal(code, 0);
    await next.logs(/in step/);
    await next.remove();
});

test('a node that was away for too long copies the database before it serves anybody', async () => {
    const node = await startNode();
    await node.logs(/in step/);
    await node.stop();
    const sender = await connect('steady', { transport: 'websocket only' });
    const send = (content) => sender.ok('message:send', { to: 'late', content });
    const { conversationId } = (await send('1')).message;
    await send('2');
    await trim(1);
    const { dir, url } = node;
    const again = await startNode({}, { dir, listen: new URL(url).host });
    await within(again.logs(/the copy is the database now/), 'the copy', 20_000);
    await agree(conversationId, 'late', [again, balancer.nodes[0]]);
    again.ownsDir = true;
    await again.remove();
});

test('a database from elsewhere is neither mixed in nor thrown away: the node does not start', async () => {
    const alone = await Hobnob.start({ secret });
    const peer = await Peer.connect(alone.url, { token: token('stranger') });
    const { conversationId } = (await peer.ok('message:send', { to: 'friend', content: 'mine' })).message;
    peer.close();
    await alone.stop();
    await assert.rejects(startNode({}, { dir: alone.dir }), /exit code 65[^]*not from this cluster/);
    const back = await Hobnob.start({ secret, dir: alone.dir });
    back.ownsDir = true;
    const { body } = await back.rest('stranger', 'GET', `/api/messages/conversation/${conversationId}`);
    assert.match(JSON.stringify(body), /mine/);
    await back.remove();
});

test('a node that finds nobody to copy from says so, takes no clients, and tries again', async () => {
    const settings = { HOBNOB_CLUSTER__PREFIX: 'apart', REDIS_KEY: 'apart' };
    const alone = await Hobnob.start({ secret });
    const peer = await Peer.connect(alone.url, { token: token('first') });
    const { conversationId } = (await peer.ok('message:send', { to: 'second', content: 'x' })).message;
    peer.close();
    await alone.stop();
    // The first node brings what it has, and does not say where it is.
    const env = { USE_REDIS: 'true', REDIS_URL: redis.url, ...settings };
    const first = await Hobnob.start({ secret, dir: alone.dir, env });
    await first.logs(/in step/);
    const second = await startNode(settings);
    await second.logs(/set cluster.advertise_url/);
    const ready = await fetch(`${second.url}/readyz`);
    assert.equal(ready.status, 503);
    assert.match(await ready.text(), /advertise_url/);
    assert.equal((await fetch(`${second.url}/socket.io/?EIO=4&transport=polling`)).status, 503);
    await first.stop();
    const again = await startNode(settings, { dir: alone.dir });
    await within(second.logs(/the copy is the database now/), 'the copy', 20_000);
    await agree(conversationId, 'first', [again, second]);
    assert.equal((await fetch(`${second.url}/readyz`)).status, 200);
    again.ownsDir = true;
    await Promise.all([again.remove(), second.remove()]);
});

/** The node that has the session of a peer: its ids end like those of the node's other sessions. */
async function ownerOf(peer) {
    const tag = peer.socket.io.engine.id.slice(-6);
    for (const node of balancer.nodes) {
        if ((await openSession(node)).endsWith(tag)) return node;
    }
    throw new Error(`${peer}: no node has its session`);
}

for (const transport of ['polling only', 'websocket only']) {
    test(`a client whose node is killed begins anew on another one and misses nothing, ${transport}`, async () => {
        const user = `survivor-${transport.slice(0, 4)}`;
        const peer = await connect(user, { ...SOON, transport });
        const owner = await ownerOf(peer);
        const others = balancer.nodes.filter((node) => node !== owner);
        const sender = await Peer.connect(others[0].url, { token: token('steady') });
        let conversation;
        const send = async (content) => {
            conversation = (await sender.ok('message:send', { to: user, content })).message.conversationId;
        };
        for (const content of numbers(1, 5)) await send(content);
        await peer.changesUntil(conversation, 5);
        const connected = new Promise((resolve) => peer.socket.once('connect', resolve));
        owner.child.process.kill('SIGKILL');
        balancer.nodes = others;
        for (const content of numbers(6, 10)) await send(content);
        await within(connected, 'is connected again');
        await send('11');
        const all = await peer.changesUntil(conversation, 11);
        assert.deepEqual([...new Set(all.map(({ content }) => content))], numbers(1, 11));
        assert.notEqual(await ownerOf(peer), owner);
    });
}
