// The generated documents: they are valid, complete, and a TypeScript client compiles with them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv';

import { Hobnob, schema } from './support/server.js';

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL('.', import.meta.url));

const OPTIONS = [
    ...['--noEmit', '--strict', '--noUncheckedIndexedAccess', '--skipLibCheck'],
    ...['--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler'],
];

let server;
before(async () => {
    server = await Hobnob.start();
});
after(() => server.remove());

async function get(path, headers = {}) {
    const response = await fetch(server.url + path, { headers, signal: AbortSignal.timeout(8000) });
    return { response, text: await response.text() };
}

test('a client written with /types.d.ts compiles, and its mistakes do not', async () => {
    const { response, text } = await get('/types.d.ts');
    assert.equal(response.status, 200);
    // Within this folder, so that the client library is found from there.
    const dir = await mkdtemp(join(here, 'types', 'compiled-'));
    try {
        await cp(join(here, 'types', 'chat.ts'), join(dir, 'chat.ts'));
        // Not as .d.ts: the compiler would not look into it, as it does not into those of the libraries.
        await writeFile(join(dir, 'types.ts'), text);
        const output = await new Promise((resolve) => {
            execFile(process.execPath, [require.resolve('typescript/bin/tsc'), ...OPTIONS, join(dir, 'chat.ts')], (error, stdout) => {
                resolve(error === null ? '' : stdout);
            });
        });
        assert.equal(output, '');
    } finally {
        await rm(dir, { recursive: true });
    }
});

test('/openapi.json is valid OpenAPI 3.1', async () => {
    const { text } = await get('/openapi.json');
    const document = JSON.parse(text);
    const validator = new Validator();
    const { valid, errors } = await validator.validate(document);
    assert.ok(valid, JSON.stringify(errors, null, 2));
    assert.equal(validator.version, '3.1');
    assert.ok(document.paths['/api/messages'].post);
});

test('/asyncapi.json is valid AsyncAPI 3.0', async () => {
    const { text } = await get('/asyncapi.json');
    const document = JSON.parse(text);
    const definition = JSON.parse(await readFile(require.resolve('@asyncapi/specs/schemas/3.0.0.json'), 'utf8'));
    const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, validateFormats: false });
    const validate = ajv.compile(definition);
    assert.ok(validate(document), JSON.stringify(validate.errors?.slice(0, 5), null, 2));
    const names = Object.values(document.components.messages).map(({ name }) => name);
    assert.ok(names.includes('message:send') && names.includes('message:new'));
});

test('a document comes once per version', async () => {
    const first = await get('/openapi.json');
    assert.equal(first.response.headers.get('content-type'), 'application/json');
    const again = await get('/openapi.json', { 'if-none-match': first.response.headers.get('etag') });
    assert.equal(again.response.status, 304);
    assert.equal(again.text, '');
});

test('the command prints what the server serves', async () => {
    for (const [document, path] of [['openapi', '/openapi.json'], ['asyncapi', '/asyncapi.json'], ['types', '/types.d.ts']]) {
        assert.equal(await schema(document), (await get(path)).text, document);
    }
});
