// The official Python client, from the environment that requirements.txt describes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Peer, TRANSPORTS, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

const PYTHON = fileURLToPath(new URL('.venv/bin/python', import.meta.url));
const CLIENT = fileURLToPath(new URL('client.py', import.meta.url));

let server;
before(async () => {
    server = await Hobnob.start();
});
after(async () => {
    closeAll();
    await server.remove();
});

/** Runs the client, and resolves to what it prints. */
async function python(...args) {
    const { stdout } = await promisify(execFile)(PYTHON, [CLIENT, server.url, ...args], { timeout: 20_000 });
    return JSON.parse(stdout);
}

for (const [index, name] of Object.keys(TRANSPORTS).entries()) {
    const transport = name.replace(' only', '');

    test(`python-socketio chats with the JavaScript client and hears every change, ${name}`, async () => {
        const [snake, script] = [`snake-${index}`, `script-${index}`];
        const peer = await Peer.connect(server.url, { token: server.token(script) });
        const finished = python(transport, server.token(snake), script);
        const { conversationId } = await peer.hears('message:deleted');
        await peer.ok('message:send', { conversationId, content: 'the end' });

        const { heard, acks, answered, transport: used } = await finished;
        assert.ok(answered);
        assert.equal(used, transport === 'polling' ? 'polling' : 'websocket');
        assert.equal(heard[0].event, 'session:ready');
        assert.equal(heard[0].payload.userId, snake);
        for (const name of ['sent', 'edited', 'deleted', 'missed']) assert.equal(acks[name].ok, true, name);
        assert.deepEqual([acks.unknown.ok, acks.unknown.code], [false, 'unknown_event']);
        assert.equal(acks.sent.message.content, 'grüße, 世界 😀');
        const [missed] = acks.missed.messages;
        assert.deepEqual([missed.id, missed.deleted], [acks.sent.id, true]);

        const events = ['message:new', 'message:updated', 'message:deleted', 'message:new'];
        const changes = heard.filter(({ event }) => events.includes(event));
        assert.deepEqual(changes.map(({ event, payload }) => [event, payload.changeSeq]), events.map((event, at) => [event, at + 1]));
        const here = await peer.changesUntil(conversationId, 4);
        assert.deepEqual(here.map(({ event, changeSeq }) => [event, changeSeq]), events.map((event, at) => [event, at + 1]));
        assert.equal(here[0].content, 'grüße, 世界 😀');
        peer.close();
    });
}

for (const transport of ['polling', 'websocket']) {
    test(`python-socketio is refused without a token, ${transport}`, async () => {
        const { error, reasons } = await python(transport);
        assert.match(JSON.stringify([error, reasons]), /Unauthorized/);
    });
}
