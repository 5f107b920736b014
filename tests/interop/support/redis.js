// A Redis of one's own, on a Unix socket in a directory of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createClient } from 'redis';

import { within } from './deadline.js';

const servers = new Set();
process.on('exit', () => {
    for (const server of servers) server.kill('SIGKILL');
});

export class Redis {
    #clients = [];

    /** Starts one that keeps what it is told; other settings come as arguments of its command line. */
    static async start(...settings) {
        const redis = new Redis();
        redis.dir = await mkdtemp(join(tmpdir(), 'hobnob-redis-'));
        redis.path = join(redis.dir, 'redis.sock');
        redis.url = `unix://${redis.path}`;
        redis.settings = settings;
        await redis.#run();
        return redis;
    }

    async #run() {
        const keep = ['--appendonly', 'yes', '--save', ''];
        const args = ['--port', '0', '--unixsocket', this.path, '--dir', this.dir, ...keep, ...this.settings];
        this.process = spawn('redis-server', args, { stdio: 'ignore' });
        this.exited = once(this.process, 'exit');
        servers.add(this.process);
        const client = await this.client();
        await client.ping();
    }

    /** A connection that comes back by itself. */
    async client() {
        const client = createClient({ socket: { path: this.path, reconnectStrategy: () => 50 } });
        client.on('error', () => {});
        this.#clients.push(client);
        await within(client.connect(), 'Redis answers');
        return client;
    }

    /** Ends it without a word. */
    async kill() {
        this.process.kill('SIGKILL');
        await within(this.exited, 'Redis is dead');
        servers.delete(this.process);
    }

    /** Starts it again on what it has kept. */
    async restart() {
        await this.#run();
    }

    async remove() {
        for (const client of this.#clients) await client.disconnect().catch(() => {});
        await this.kill();
        await rm(this.dir, { recursive: true, force: true });
    }
}
