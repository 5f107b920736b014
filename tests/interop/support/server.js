// The real binary as a child process, on a data directory of its own.

import { spawn, execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { within } from './deadline.js';

const BINARY = process.env.HOBNOB_BIN ?? fileURLToPath(new URL('../../../target/debug/hobnob', import.meta.url));
const ECHO = join(dirname(BINARY), 'examples', 'echo');

// Most tests ask for more than a user may.
const NO_LIMITS = { RATE_LIMIT_MAX: '0', HOBNOB_RATE_LIMITS__REST_MAX: '0', HOBNOB_RATE_LIMITS__SOCKETS_PER_USER: '0' };

const children = new Set();
process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
});

/** A child process that is asked to stop with SIGTERM. */
class Child {
    constructor(file, args, options) {
        this.process = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
        this.exited = once(this.process, 'exit');
        children.add(this.process);
        this.exited.then(() => children.delete(this.process));
    }

    /** Resolves to the exit code. */
    async stop() {
        this.process.kill('SIGTERM');
        const [code] = await within(this.exited, 'the server ends after SIGTERM', 15_000);
        return code;
    }
}

/** A chat server. `secret: null` lets it make its own; with `limited` it has the rate limits of the defaults. */
export class Hobnob {
    static async start(options = {}) {
        const { secret = randomBytes(33).toString('base64'), dir, listen = '127.0.0.1:0' } = options;
        const { env: settings = {}, limited = false } = options;
        const hobnob = new Hobnob();
        hobnob.limited = limited;
        hobnob.secret = secret;
        hobnob.ownsDir = dir === undefined;
        hobnob.dir = dir ?? (await mkdtemp(join(tmpdir(), 'hobnob-interop-')));
        hobnob.settings = settings;
        const env = { PATH: process.env.PATH, ...(limited ? {} : NO_LIMITS), ...settings };
        if (secret !== null) env.JWT_SECRET = secret;
        // The data directory is the working directory, too: no config.toml or .env of the developer's is read.
        const args = ['serve', '--listen', listen, '--data-dir', hobnob.dir];
        hobnob.child = new Child(BINARY, args, { cwd: hobnob.dir, env });
        hobnob.log = [];
        hobnob.url = await within(hobnob.#listening(), () => `the server listens; it said:\n${hobnob.log.join('\n')}`);
        return hobnob;
    }

    #listening() {
        return new Promise((resolve, reject) => {
            createInterface({ input: this.child.process.stderr }).on('line', (line) => {
                this.log.push(line);
                const url = /"listening"/.test(line) && /"url":"([^"]+)"/.exec(line);
                if (url) resolve(url[1]);
            });
            this.child.exited.then(([code]) => reject(new Error(`exit code ${code}:\n${this.log.join('\n')}`)));
        });
    }

    /** Waits until the log has a line like this. */
    logs(pattern) {
        const found = async () => {
            while (!this.log.some((line) => pattern.test(line))) await new Promise(setImmediate);
        };
        return within(found(), () => `a line like ${pattern}; the log is\n${this.log.join('\n')}`);
    }

    /** Signs a token the way an app's backend does. */
    token(user, claims = {}) {
        const encode = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
        const exp = Math.floor(Date.now() / 1000) + 3600;
        const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ id: user, exp, ...claims })}`;
        return `${text}.${createHmac('sha256', this.secret).update(text).digest('base64url')}`;
    }

    /** Signs a token with the command that the server offers at its start. */
    async signToken(user) {
        const args = ['token', 'sign', '--user', user, '--data-dir', this.dir];
        const { stdout } = await promisify(execFile)(BINARY, args, { cwd: this.dir, env: { PATH: process.env.PATH } });
        return stdout.trim();
    }

    /** A key of the app's backend. */
    async apiKey() {
        const args = ['api-key', 'create', '--name', 'test', '--data-dir', this.dir];
        const { stdout } = await promisify(execFile)(BINARY, args, { cwd: this.dir, env: { PATH: process.env.PATH } });
        return stdout.trim();
    }

    /** A REST request of `user`; resolves to `{status, body}`. */
    async rest(user, method, path, body) {
        const response = await fetch(this.url + path, {
            method,
            headers: { authorization: `Bearer ${this.token(user)}`, 'content-type': 'application/json' },
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: AbortSignal.timeout(8000),
        });
        return { status: response.status, body: await response.json() };
    }

    /** Stops the process and starts another one in its place: same address, same data. */
    async restart() {
        const code = await this.stop();
        return { code, next: await this.#again() };
    }

    /** Kills the process with SIGKILL and starts another one in its place: same address, same data. */
    async crash() {
        this.child.process.kill('SIGKILL');
        await within(this.child.exited, 'the server is dead');
        return this.#again();
    }

    async #again() {
        const { secret, dir, settings: env, limited } = this;
        const next = await Hobnob.start({ secret, dir, env, limited, listen: new URL(this.url).host });
        next.ownsDir = this.ownsDir;
        return next;
    }

    stop() {
        return this.child.stop();
    }

    /** Stops the process and removes its data. */
    async remove() {
        await this.stop();
        await rm(this.dir, { recursive: true, force: true });
    }
}

/** What `hobnob schema` prints. */
export async function schema(document) {
    const { stdout } = await promisify(execFile)(BINARY, ['schema', document], { maxBuffer: 1 << 24 });
    return stdout;
}

/** `examples/echo.rs`. It does not say when it listens: its first client has to try again until it does. */
export class Echo {
    static async start(...flags) {
        const echo = new Echo();
        const port = await freePort();
        echo.address = `127.0.0.1:${port}`;
        echo.url = `http://${echo.address}`;
        echo.child = new Child(ECHO, ['--listen', echo.address, ...flags], { stdio: 'ignore' });
        return echo;
    }

    stop() {
        return this.child.stop();
    }
}

async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}
