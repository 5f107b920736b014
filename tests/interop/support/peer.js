// One socket of an official client of any generation, with a record of everything it hears.

import io1 from 'socket.io-client-1';
import io2 from 'socket.io-client-2';
import { io as io3 } from 'socket.io-client-3';
import { io as io4 } from 'socket.io-client-4';

import { within } from './deadline.js';

const LIBRARIES = { 1: io1, 2: io2, 3: io3, 4: io4 };

/** The generations of the official client. */
export const GENERATIONS = [1, 2, 3, 4];

/** The ways to connect. */
export const TRANSPORTS = {
    'polling only': { transports: ['polling'] },
    'websocket only': { transports: ['websocket'] },
    'polling with upgrade': { transports: ['polling', 'websocket'] },
};

/** Every generation by every transport: `[generation, transport]`. */
export const COMBINATIONS = GENERATIONS.flatMap((generation) =>
    Object.keys(TRANSPORTS).map((transport) => [generation, transport]),
);

const EVENTS = [
    'session:ready', 'message:new', 'message:updated', 'message:deleted', 'conversation:joined', 'conversation:left',
    'conversation:updated', 'missed-messages', 'request-failed', 'server:restarting',
    'message:read', 'message:delivered', 'queue:truncated', 'queued-messages',
    'reaction:updated', 'message:pinned', 'message:unpinned', 'message:locked', 'message:unlocked', 'lock-failed',
    'user:typing', 'typing', 'typing-stopped', 'user-status', 'user-online', 'user-offline', 'metrics',
    'notification:new', 'notification:read', 'notification:read-confirmed', 'notification:all-read',
    'notifications:all-read-confirmed', 'notification:archived', 'notification:deleted', 'notification:deleted-confirmed',
    'notifications:cleared', 'notifications:count', 'rate-limit-exceeded', 'auth:expiring', 'auth:expired',
    'auth', 'message-back', 'emit-with-ack', 'said', 'disconnect',
];
const CHANGES = [
    'message:new', 'message:updated', 'message:deleted', 'reaction:updated', 'message:pinned', 'message:unpinned',
];

const open = new Set();

/** Closes all sockets that a test file has opened. */
export function closeAll() {
    for (const peer of open) peer.close();
    open.clear();
}

/** Was refused: `message` is the server's text, `data` what came along (3.x and 4.x). */
export class Refused extends Error {
    constructor(reason) {
        super(typeof reason === 'string' ? reason : reason.message);
        this.data = reason.data;
    }
}

export class Peer {
    /** What was heard, oldest first: `{event, args}`. */
    heard = [];
    #waiting = new Set();

    /** Connects; rejects with `Refused`. */
    static async connect(url, options = {}) {
        const peer = Peer.begin(url, options);
        await within(peer.connected, () => `${peer} connects`);
        return peer;
    }

    /** Begins to connect; `connected` tells how it went. */
    static begin(url, { generation = 4, transport = 'polling with upgrade', token, namespace = '/', ...options } = {}) {
        const credentials = token === undefined ? {} : generation < 3 ? { query: { token } } : { auth: { token } };
        const settings = { forceNew: true, reconnection: false, ...TRANSPORTS[transport], ...credentials, ...options };
        const socket = LIBRARIES[generation](namespace === '/' ? url : url + namespace, settings);
        const peer = new Peer(socket, `generation ${generation}, ${transport}`);
        return Object.assign(peer, { generation, transport });
    }

    constructor(socket, name) {
        this.socket = socket;
        // With reconnection a failure is not the end: the client tries again by itself.
        const isPatient = socket.io.reconnection();
        this.name = name;
        open.add(this);
        for (const event of EVENTS) socket.on(event, (...args) => this.#hear(event, args));
        this.connected = new Promise((resolve, reject) => {
            socket.once('connect', resolve);
            // 3.x and 4.x call a refusal `connect_error`, 1.x and 2.x `error`.
            for (const event of ['connect_error', 'error']) {
                socket.once(event, (reason) => {
                    if (!isPatient) reject(new Refused(reason));
                });
            }
        });
        // Not everybody waits for it.
        this.connected.catch(() => {});
    }

    toString() {
        return this.name;
    }

    #hear(event, args) {
        // An acknowledgement that the server asks for is not part of what was heard.
        const ack = typeof args.at(-1) === 'function' ? args.at(-1) : undefined;
        this.heard.push({ event, args: ack ? args.slice(0, -1) : args, ack });
        for (const check of this.#waiting) check();
    }

    /** Waits until `find` gives something, which is looked for after each event. */
    async until(find, what) {
        let check;
        const found = new Promise((resolve, reject) => {
            check = () => {
                try {
                    const value = find();
                    if (value !== undefined && value !== false) resolve(value);
                } catch (error) {
                    reject(error);
                }
            };
        });
        this.#waiting.add(check);
        check();
        try {
            return await within(found, () => `${this}: ${what}; heard ${this.heard.map(({ event }) => event)}`);
        } finally {
            this.#waiting.delete(check);
        }
    }

    /** Everything heard under one name: the first argument of each. */
    all(event) {
        return this.heard.filter((entry) => entry.event === event).map(({ args }) => args[0]);
    }

    /** The first `event` that fits, heard already or still to come. */
    hears(event, fits = () => true) {
        return this.until(() => this.all(event).find(fits), `hears ${event}`);
    }

    /** The changes of a conversation's log, in the order in which they came. */
    changes(conversationId) {
        const changes = this.heard.filter(({ event }) => CHANGES.includes(event));
        const mine = changes.filter(({ args }) => args[0].conversationId === conversationId);
        return mine.map(({ event, args }) => ({ event, ...args[0] }));
    }

    /** Waits until change number `last` of a conversation has come, and returns all of them. */
    async changesUntil(conversationId, last) {
        await this.until(
            () => this.changes(conversationId).some(({ changeSeq }) => changeSeq >= last),
            `hears change ${last} of the conversation`,
        );
        return this.changes(conversationId);
    }

    emit(event, ...args) {
        this.socket.emit(event, ...args);
    }

    /** Emits, and resolves to the arguments of the ack. */
    callAll(event, ...args) {
        const acked = new Promise((resolve) => this.socket.emit(event, ...args, (...answer) => resolve(answer)));
        return within(acked, () => `${this}: an ack of ${event}`);
    }

    /** Emits, and resolves to the first argument of the ack. */
    async call(event, ...args) {
        return (await this.callAll(event, ...args))[0];
    }

    /** The same, for what has to succeed. */
    async ok(event, payload) {
        const ack = await this.call(event, payload);
        if (ack?.ok !== true) throw new Error(`${this}: ${event} was refused: ${JSON.stringify(ack)}`);
        return ack;
    }

    /** The transport in use now. */
    get currentTransport() {
        return this.socket.io.engine.transport.name;
    }

    /** Waits until the transport is `websocket`. */
    upgraded() {
        const engine = this.socket.io.engine;
        const upgraded = new Promise((resolve) => {
            if (engine.transport.name === 'websocket') resolve();
            else engine.once('upgrade', resolve);
        });
        return within(upgraded, () => `${this}: the upgrade`);
    }

    /** Another namespace on the same connection. */
    async join(namespace, options = {}) {
        const peer = new Peer(this.socket.io.socket(namespace, options), `${this.name}, ${namespace}`);
        await within(peer.connected, () => `${peer} connects`);
        return peer;
    }

    /** Ends this socket; no reconnection. */
    close() {
        open.delete(this);
        this.socket.close();
    }
}
