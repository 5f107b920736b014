// The Autobahn cases for RFC 6455 and RFC 7692, run by kosoku against a plain echo on the server's WebSocket layer.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { within } from './support/deadline.js';
import { Echo } from './support/server.js';

const KOSOKU = fileURLToPath(new URL('.venv/bin/kosoku', import.meta.url));
// Large enough for every case. All messages are compressed: kosoku 0.1.0 stumbles over plain ones where it has agreed on compression.
const FLAGS = ['--raw-websocket', '--max-payload', '33554432', '--deflate-threshold', '0'];
const PASSED = ['OK', 'INFORMATIONAL'];
/** Bad text within one frame is found with the end of the frame, which is allowed. */
const LATE = ['6.4.3', '6.4.4'];

let server;
let dir;
before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hobnob-autobahn-'));
    server = await Echo.start(...FLAGS);
    const answers = async () => {
        while (!(await fetch(server.url).catch(() => undefined))) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await within(answers(), 'the server listens');
});
after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
});

/** Runs the cases of these patterns; resolves to those that failed, and the number of all. */
async function run(name, options) {
    const out = join(dir, name);
    // What failed stands in the report.
    await promisify(execFile)(KOSOKU, [...options, '-o', out, server.address], { timeout: 60_000 }).catch(() => {});
    const [cases] = Object.values(JSON.parse(await readFile(join(out, 'index.json'), 'utf8')));
    const failed = Object.entries(cases).filter(([id, { behavior, behaviorClose }]) => {
        const isLate = LATE.includes(id) && behavior === 'NON-STRICT';
        return !(PASSED.includes(behavior) || isLate) || !PASSED.includes(behaviorClose);
    });
    return { failed, count: Object.keys(cases).length };
}

test('frames, pings, reserved bits, opcodes, fragments, UTF-8 and closing', async () => {
    const options = ['9', '12', '13'].flatMap((family) => ['-x', `${family}.*`]);
    assert.deepEqual(await run('core', [...options, '-p', '4']), { failed: [], count: 247 });
});

test('large messages, and many fragments of one', async () => {
    const cases = ['9.1.1', '9.1.3', '9.2.1', '9.2.3', '9.3.1', '9.4.1', '9.5.4', '9.6.4', '9.7.1', '9.8.6'];
    const options = cases.flatMap((id) => ['-i', id]);
    assert.deepEqual(await run('limits', [...options, '-p', '4']), { failed: [], count: cases.length });
});

test('compression with each window and with default offers', async () => {
    const cases = ['12.1.1', '12.2.4', '13.1.2', '13.2.2', '13.3.2', '13.4.2', '13.5.2', '13.6.2', '13.7.2'];
    const options = cases.flatMap((id) => ['-i', id]);
    assert.deepEqual(await run('deflate', [...options, '-p', '4']), { failed: [], count: cases.length });
});
