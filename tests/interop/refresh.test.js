// A token that ends while its user is connected: told in time, exchanged in place, and else the end of the connection.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { COMBINATIONS, Peer, closeAll } from './support/peer.js';
import { Hobnob } from './support/server.js';

let server;
before(async () => {
    server = await Hobnob.start({ env: { HOBNOB_AUTH__LEEWAY_S: '1' } });
});
after(async () => {
    closeAll();
    await server.remove();
});

/** A token that is good for so many seconds. */
const tokenFor = (user, seconds) => server.token(user, { exp: Math.floor(Date.now() / 1000) + seconds });

// All at once: each of them waits for the same few seconds to pass.
describe('auth:refresh', { concurrency: true }, () => {
    for (const [generation, transport] of COMBINATIONS) {
        test(`keeps a client ${generation}.x connected beyond the end of its token, ${transport}`, async () => {
            const user = `alice-${generation}-${transport.replaceAll(' ', '-')}`;
            const begin = () => Peer.connect(server.url, { generation, transport, token: tokenFor(user, 6) });
            const [kept, left] = await Promise.all([begin(), begin()]);
            const inMessages = await kept.join('/messages', { auth: { token: tokenFor(user, 6) }, query: { token: tokenFor(user, 6) } });
            const { expiresAt: end } = await kept.hears('auth:expiring');
            assert.equal(new Date(end).toISOString(), end);
            await left.hears('auth:expiring');

            const refused = await kept.call('auth:refresh', { token: tokenFor('somebody-else', 600) });
            assert.deepEqual([refused.ok, refused.code], [false, 'forbidden']);
            const expired = await kept.call('auth:refresh', { token: tokenFor(user, -60) });
            assert.deepEqual([expired.ok, expired.code], [false, 'token_expired']);
            const wrong = await kept.call('auth:refresh', { token: 5 });
            assert.deepEqual([wrong.ok, wrong.code, wrong.field], [false, 'invalid_payload', 'token']);
            const { expiresAt } = await kept.ok('auth:refresh', { token: tokenFor(user, 600) });
            assert.ok(new Date(expiresAt) > new Date(end), `${expiresAt} comes after ${end}`);

            // The one that did not ask shows that the first end has come.
            const told = await left.hears('auth:expired');
            assert.deepEqual([told.expiresAt, told.reason], [end, 'expired']);
            await left.hears('disconnect');
            await kept.ok('message:send', { to: 'bob', content: 'still here' });
            await inMessages.ok('message:send', { to: 'bob', content: 'here, too' });
            for (const peer of [kept, inMessages]) {
                assert.deepEqual([peer.all('auth:expired'), peer.all('disconnect')], [[], []]);
            }
            kept.close();
        });
    }
});
