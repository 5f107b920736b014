// The client code of the feature document, run as it is printed there: only the address, the token and the ids of its examples
// are replaced by real ones. Two users, each with the default, `/messages` and `/notifications` sockets, as two browsers would
// have them, under the rate limits of the defaults.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import io2 from 'socket.io-client-2';
import { io } from 'socket.io-client-4';

import { within } from './support/deadline.js';
import { Hobnob } from './support/server.js';

const CONNECTION_EXAMPLES = `
// Default namespace (legacy)
const socket = io('http://localhost:4000', {
  auth: { token: 'your-jwt-token' }
});

// Messages namespace
const messagesSocket = io('http://localhost:4000/messages', {
  auth: { token: 'your-jwt-token' }
});

// Notifications namespace
const notificationsSocket = io('http://localhost:4000/notifications', {
  auth: { token: 'your-jwt-token' }
});
`;

const GETTING_METRICS = `
// Client requests metrics
socket.emit('metrics:get');
`;

const LOCK = `
// Lock before editing
socket.emit('message:lock', { messageId: 'msg123' });

socket.on('message:locked', ({ messageId, lockedBy }) => {
  // Start editing
});

socket.on('lock-failed', ({ messageId, lockedBy, reason }) => {
  alert(\`Message is being edited by \${lockedBy}\`);
});
`;

const UNLOCK = `
// Unlock after editing
socket.emit('message:unlock', { messageId: 'msg123' });
`;

const STATUS = `
// Set custom status
socket.emit('status:set', {
  status: 'busy',
  customStatus: {
    message: 'In a meeting',
    emoji: '📞',
    expiresAt: new Date(Date.now() + 3600000) // 1 hour
  }
});
`;

const VIEW = `
// Track conversation view
socket.emit('conversation:view', {
  conversationId: 'conv123'
});
`;

const STEP_1_OLD = `
const socket = io('http://localhost:4000');
`;

const STEP_1_NEW = `
const messagesSocket = io('http://localhost:4000/messages');
const notificationsSocket = io('http://localhost:4000/notifications');
`;

const STEP_2_OLD = `
socket.on('message:new', handler);
`;

const STEP_2_NEW = `
messagesSocket.on('message:new', handler);
`;

const STEP_3 = `
const messagesSocket = io('http://localhost:4000/messages', {
  auth: { token: localStorage.getItem('token') }
});
`;

const CORRECT = `
const socket = io('http://localhost:4000/messages', { auth: { token } });
`;

const INCORRECT = `
const socket = io('http://localhost:4000', { path: '/messages' });
`;

let server;
before(async () => {
    server = await Hobnob.start({ limited: true });
});
const open = new Set();
after(async () => {
    for (const socket of open) socket.close();
    await server.remove();
});

/** Runs a snippet: `scope` is what its page has, `replaced` its placeholders; gives its variables of these names. */
function run(snippet, { scope = {}, replaced = {}, gives = [] } = {}) {
    let code = snippet.replaceAll('http://localhost:4000', server.url);
    for (const [placeholder, value] of Object.entries(replaced)) {
        assert.ok(code.includes(placeholder), placeholder);
        code = code.replaceAll(placeholder, value);
    }
    const names = Object.keys(scope);
    const variables = new Function(...names, `${code}\nreturn { ${gives.join(', ')} };`)(...Object.values(scope));
    for (const variable of Object.values(variables)) open.add(variable);
    return variables;
}

/** The next `event` that fits; whoever calls this before the cause misses nothing. */
function hears(socket, event, fits = () => true) {
    const heard = new Promise((resolve) => {
        socket.on(event, function listener(payload) {
            if (!fits(payload)) return;
            socket.off(event, listener);
            resolve(payload);
        });
    });
    return within(heard, `${socket.nsp} hears ${event}`);
}

function ok(socket, event, payload) {
    const acked = new Promise((resolve, reject) => {
        socket.emit(event, payload, (ack) => (ack.ok === true ? resolve(ack) : reject(new Error(JSON.stringify(ack)))));
    });
    return within(acked, `an ack of ${event}`);
}

const connected = (...sockets) => Promise.all(sockets.map((socket) => hears(socket, 'connect')));

/** A browser of `user`, with the sockets of "Client Connection Examples". */
async function browser(user) {
    const sockets = run(CONNECTION_EXAMPLES, {
        scope: { io },
        replaced: { 'your-jwt-token': server.token(user) },
        gives: ['socket', 'messagesSocket', 'notificationsSocket'],
    });
    const counted = hears(sockets.notificationsSocket, 'notifications:count');
    const ready = hears(sockets.socket, 'session:ready');
    await connected(...Object.values(sockets));
    await Promise.all([counted, ready]);
    return { user, ...sockets };
}

/** Client 2.x has no `auth`: its token goes into the query, and the rest of the code stays as it is. */
async function oldSocket(user) {
    const options = { query: { token: server.token(user) }, forceNew: true };
    const socket = io2(`${server.url}/messages`, options);
    open.add(socket);
    await connected(socket);
    return socket;
}

/** Two browsers, and a conversation of their users. */
async function pair(name) {
    const [a, b] = [await browser(`${name}-a`), await browser(`${name}-b`)];
    const created = await ok(a.socket, 'conversation:create', { type: 'direct', participants: [b.user] });
    return { a, b, conversationId: created.conversation.id };
}

test('Client Connection Examples: two browsers with three sockets each', async () => {
    const [a, b] = [await browser('first'), await browser('second')];
    const invited = hears(b.notificationsSocket, 'notification:new', ({ type }) => type === 'group_invite');
    const joined = hears(b.messagesSocket, 'conversation:joined');
    const group = { type: 'group', participants: ['second'], name: 'Team' };
    const { conversation } = await ok(a.messagesSocket, 'conversation:create', group);
    assert.equal((await joined).conversation.id, conversation.id);
    assert.equal((await invited).data.conversationId, conversation.id);

    // Whichever chat socket sends, both chat sockets of both browsers hear.
    for (const sender of [a.socket, a.messagesSocket, b.socket, b.messagesSocket]) {
        const content = `from ${sender.id}`;
        const fits = (message) => message.content === content;
        const receivers = [a.socket, a.messagesSocket, b.socket, b.messagesSocket];
        const heard = receivers.map((receiver) => hears(receiver, 'message:new', fits));
        await ok(sender, 'message:send', { conversationId: conversation.id, content });
        for (const message of await Promise.all(heard)) assert.equal(message.conversationId, conversation.id);
    }

    const typed = hears(b.messagesSocket, 'user:typing');
    a.messagesSocket.emit('typing', { conversationId: conversation.id });
    assert.equal((await typed).userId, 'first');
    const { count, notifications } = await ok(b.notificationsSocket, 'notifications:unread', {});
    assert.equal(count, notifications.length);
    const read = hears(b.socket, 'notification:read');
    await ok(b.notificationsSocket, 'notification:read', { notificationId: notifications[0].id });
    assert.equal((await read).notificationId, notifications[0].id);
});

test('Getting Metrics: the six values of the document come as the event `metrics`', async () => {
    const { messagesSocket, user } = await browser('measured');
    messagesSocket.emit('heartbeat');
    const answered = hears(messagesSocket, 'metrics');
    run(GETTING_METRICS, { scope: { socket: messagesSocket } });
    const metrics = await answered;
    assert.deepEqual([metrics.userId, metrics.socketId], [user, messagesSocket.id]);
    assert.ok(Math.abs(metrics.lastHeartbeat - Date.now()) < 10_000);
    assert.deepEqual([metrics.missedHeartbeats, metrics.consecutiveMissed], [0, 0]);
    // Null until the server has measured the first round trip.
    assert.ok(metrics.avgLatency === null || metrics.avgLatency >= 0);
});

test('Client Integration of locks: A edits, B is told by whom, and may once A has finished', async () => {
    const { a, b, conversationId } = await pair('editor');
    const { id } = await ok(a.socket, 'message:send', { conversationId, content: 'draft' });
    // Read, so that nothing of this conversation waits for the socket of client 2.x: it is in its room from the start.
    await ok(b.socket, 'message:read', { messageId: id });
    const old = await oldSocket(b.user);
    const alerts = [];
    const lock = (socket) =>
        run(LOCK, { scope: { socket, alert: (text) => alerts.push(text) }, replaced: { msg123: id } });

    const locked = [a, b].map(({ messagesSocket }) => hears(messagesSocket, 'message:locked'));
    lock(a.messagesSocket);
    for (const event of await Promise.all(locked)) {
        assert.deepEqual([event.messageId, event.lockedBy], [id, a.user]);
    }
    for (const socket of [b.messagesSocket, b.socket, old]) {
        const failed = hears(socket, 'lock-failed');
        lock(socket);
        const refusal = await failed;
        assert.deepEqual([refusal.messageId, refusal.lockedBy], [id, a.user]);
        assert.ok(refusal.reason.length > 0);
        assert.equal(alerts.at(-1), `Message is being edited by ${a.user}`);
    }
    assert.equal(alerts.length, 3);

    const free = hears(old, 'message:unlocked');
    run(UNLOCK, { scope: { socket: a.messagesSocket }, replaced: { msg123: id } });
    assert.equal((await free).messageId, id);
    const relocked = hears(a.messagesSocket, 'message:locked');
    lock(old);
    assert.equal((await relocked).lockedBy, b.user);
});

test('Client Usage of statuses: what is set is seen by the other browser', async () => {
    const { a, b } = await pair('status');
    const seen = hears(b.socket, 'user-status', ({ userId, status }) => userId === a.user && status === 'busy');
    run(STATUS, { scope: { socket: a.socket } });
    const { customStatus } = await seen;
    assert.deepEqual([customStatus.message, customStatus.emoji], ['In a meeting', '📞']);
    assert.ok(Math.abs(Date.parse(customStatus.expiresAt) - Date.now() - 3_600_000) < 10_000);

    const old = await oldSocket(b.user);
    const isBusy = ({ userId, status }) => userId === b.user && status === 'busy';
    const seenAgain = hears(a.messagesSocket, 'user-status', isBusy);
    run(STATUS, { scope: { socket: old } });
    assert.equal((await seenAgain).customStatus.message, 'In a meeting');
});

test('Client Usage of last seen: a look at a conversation is known to its members', async () => {
    const { a, b, conversationId } = await pair('viewer');
    run(VIEW, { scope: { socket: a.messagesSocket }, replaced: { conv123: conversationId } });
    // Events of one socket are begun in their order, so the answer to this one comes after the look.
    await ok(a.messagesSocket, 'conversation:view', { conversationId });
    const { body } = await server.rest(b.user, 'GET', `/api/conversations/${conversationId}/last-seen`);
    assert.ok(Math.abs(Date.parse(body.lastSeen[a.user]) - Date.now()) < 10_000, JSON.stringify(body));
});

test('Migration Guide, steps 1 and 3: without a token every namespace refuses, with one it admits', async () => {
    const [old, both] = [
        run(STEP_1_OLD, { scope: { io }, gives: ['socket'] }),
        run(STEP_1_NEW, { scope: { io }, gives: ['messagesSocket', 'notificationsSocket'] }),
    ];
    const sockets = [old.socket, both.messagesSocket, both.notificationsSocket];
    for (const error of await Promise.all(sockets.map((socket) => hears(socket, 'connect_error')))) {
        assert.match(error.message, /^Unauthorized/);
        assert.equal(error.data.code, 'token_missing');
    }
    const localStorage = new Map([['token', server.token('migrated')]]);
    const page = { getItem: (key) => localStorage.get(key) };
    const { messagesSocket } = run(STEP_3, { scope: { io, localStorage: page }, gives: ['messagesSocket'] });
    await connected(messagesSocket);
});

test('Migration Guide, step 2: the handler of `message:new` works on the old and on the new socket', async () => {
    const { a, b, conversationId } = await pair('handler');
    const heard = { old: [], new: [] };
    run(STEP_2_OLD, { scope: { socket: b.socket, handler: ({ content }) => heard.old.push(content) } });
    run(STEP_2_NEW, { scope: { messagesSocket: b.messagesSocket, handler: ({ content }) => heard.new.push(content) } });
    const last = [b.socket, b.messagesSocket].map((socket) =>
        hears(socket, 'message:new', ({ content }) => content === 'two'));
    await ok(a.messagesSocket, 'message:send', { conversationId, content: 'one' });
    await ok(a.socket, 'message:send', { conversationId, content: 'two' });
    await Promise.all(last);
    assert.deepEqual(heard, { old: ['one', 'two'], new: ['one', 'two'] });
});

test('Migration Guide, step 4: subscriptions in `/notifications`, heartbeats in `/messages`', async () => {
    const { a, b } = await pair('step4');
    const { subscribedTo } = await ok(b.notificationsSocket, 'notifications:subscribe', { types: ['group_invite'] });
    assert.deepEqual(subscribedTo, ['group_invite']);
    const told = hears(b.notificationsSocket, 'notification:new');
    await ok(a.socket, 'conversation:create', { type: 'group', participants: [b.user], name: 'Step four' });
    assert.deepEqual([(await told).type, (await told).title], ['group_invite', 'Step four']);
    const beat = await ok(b.messagesSocket, 'heartbeat', { timestamp: Date.now() });
    assert.ok(Math.abs(beat.serverTimestamp - Date.now()) < 10_000);
});

test('Connection Issues: the correct line connects, the incorrect one is told the line to write', async () => {
    const token = server.token('lost');
    const { socket } = run(CORRECT, { scope: { io, token }, gives: ['socket'] });
    await connected(socket);
    assert.equal(socket.nsp, '/messages');

    const { socket: lost } = run(INCORRECT, { scope: { io }, gives: ['socket'] });
    await hears(lost, 'connect_error');
    lost.close();
    const answer = await fetch(`${server.url}/messages/?EIO=4&transport=polling`);
    assert.equal(answer.status, 404);
    const { error, code } = await answer.json();
    assert.equal(code, 'not_found');
    assert.ok(error.includes(`io('${server.url}/messages', { auth: { token } })`), error);
});
