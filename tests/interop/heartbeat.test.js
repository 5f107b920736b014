// Heartbeats and the metrics of a connection, measured by the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GENERATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start({ env: { SOCKET_PING_INTERVAL: '200' } });
});
after(async () => {
    closeAll();
    await server.remove();
});

const KEYS = [
    'userId', 'socketId', 'avgLatency', 'minLatency', 'maxLatency', 'lastLatency', 'lastHeartbeat', 'missedHeartbeats',
    'consecutiveMissed', 'totalHeartbeats',
];

for (const generation of GENERATIONS) {
    test(`client ${generation}.x beats and reads its metrics`, async () => {
        const user = `beat-${generation}`;
        const options = { generation, transport: 'websocket only', namespace: '/messages', token: server.token(user) };
        const peer = await Peer.connect(server.url, options);
        const before = Date.now();
        const beat = await peer.ok('heartbeat', { timestamp: 1 });
        assert.ok(Math.abs(beat.serverTimestamp - before) < 5000, 'the clock of the server');
        for (const key of KEYS) assert.ok(key in beat.metrics, key);
        assert.equal(beat.metrics.userId, user);

        // As the feature document has it: no ack, the answer is an event.
        const measured = await peer.until(() => {
            peer.emit('metrics:get');
            return peer.all('metrics').find(({ lastLatency }) => lastLatency !== null);
        }, 'hears a measured latency');
        for (const key of KEYS) assert.deepEqual(measured[key], measured.metrics[key]);
        assert.ok(measured.minLatency <= measured.avgLatency && measured.avgLatency <= measured.maxLatency);
        assert.ok(measured.lastLatency >= 0 && measured.lastLatency < 5000);
        assert.ok(measured.totalHeartbeats >= 2 && measured.lastHeartbeat >= before - 5000);
        const acked = await peer.ok('metrics:get');
        assert.deepEqual(acked.metrics.userId, acked.userId);
    });
}
