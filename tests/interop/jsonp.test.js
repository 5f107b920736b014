// The clients 1.x and 2.x in an old browser, which has nothing but scripts and forms for another host.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { within } from './support/deadline.js';
import { Page } from './support/page.js';
import { Peer, Refused, closeAll } from './support/peer.js';
import { Echo, Hobnob } from './support/server.js';

let page, echo, server;
before(async () => {
    page = Page.open();
    [echo, server] = await Promise.all([Echo.start(), Hobnob.start()]);
    const first = await Peer.connect(echo.url, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    first.close();
});
after(async () => {
    closeAll();
    await Promise.all([echo.stop(), server.remove()]);
});

const ODD_TEXTS = [
    'plain', '"quoted" \'quoted\'', 'new\nline', 'back\\slash', '\\n', '\\\\n', '\n\\n\n', '\r\n', '\u2028 and \u2029', 'é€😀',
    '</script><script>', '%41+&d=x;y', '___eio[0]("x");', '\u0000\u001f', '',
];
const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => index % 256));
const plain = (args) => args.map((value) => (ArrayBuffer.isView(value) || value instanceof ArrayBuffer ? Buffer.from(value) : value));

for (const generation of [1, 2]) {
    for (const transport of ['polling only', 'polling with upgrade']) {
        const options = { generation, transport, forceJSONP: true };

        test(`client ${generation}.x talks through scripts and forms, ${transport}`, async () => {
            page.log = [];
            const peer = await Peer.connect(echo.url, options);
            if (transport === 'polling with upgrade') await peer.upgraded();
            for (const text of ODD_TEXTS) {
                assert.deepEqual(await peer.callAll('message-with-ack', text, { [text]: [text] }), [text, { [text]: [text] }]);
            }
            const long = 'long "and" odd\n'.repeat(5_000);
            assert.deepEqual(await peer.callAll('message-with-ack', long), [long]);
            const nested = { name: 'picture', data: bytes(300), more: [bytes(1), 'between', Buffer.alloc(0)] };
            const [back] = await peer.callAll('message-with-ack', nested);
            assert.deepEqual({ ...back, data: plain([back.data])[0], more: plain(back.more) }, nested);
            const custom = await peer.join('/custom');
            assert.deepEqual(await custom.callAll('echo', 'elsewhere'), ['elsewhere']);
            const log = page.log.splice(0);
            peer.close();

            const scripts = log.filter(({ kind }) => kind === 'script');
            assert.ok(scripts.some(({ url }) => /[?&]EIO=3&.*\bb64=1\b/.test(url) && !url.includes('sid=')));
            for (const { url, status, type, body } of scripts) {
                const index = /[?&]j=(\d+)/.exec(url)[1];
                assert.equal(status, 200, body);
                assert.equal(type, 'text/javascript; charset=UTF-8');
                assert.ok(body.startsWith(`___eio[${index}]("`) && body.endsWith('");'), body);
            }
            const forms = log.filter(({ kind }) => kind === 'form');
            if (transport === 'polling only') assert.ok(forms.length > ODD_TEXTS.length);
            for (const { status, type } of forms) assert.deepEqual([status, type], [200, 'text/html']);
        });
    }

    test(`messages of client ${generation}.x are in order while it upgrades from scripts`, async () => {
        const peer = Peer.begin(echo.url, { generation, forceJSONP: true });
        await within(peer.connected, 'connects');
        const sent = Array.from({ length: 200 }, (_, index) => index);
        const acks = sent.map((index) => peer.callAll('message-with-ack', index));
        for (const index of sent) peer.emit('message', index);
        assert.deepEqual((await Promise.all(acks)).flat(), sent);
        await peer.upgraded();
        await peer.until(() => peer.all('message-back').length === sent.length, 'hears all of it');
        assert.deepEqual(peer.all('message-back'), sent);
        peer.close();
    });

    test(`client ${generation}.x chats through scripts and forms`, async () => {
        const options = { generation, transport: 'polling only', forceJSONP: true };
        const [ann, ben] = await Promise.all(
            ['ann', 'ben'].map((user) => Peer.connect(server.url, { ...options, token: server.token(`${user}-${generation}`) })),
        );
        const create = { type: 'direct', participants: [`ben-${generation}`] };
        const { conversation } = await ann.ok('conversation:create', create);
        for (const content of ['"hello"\n', 'é€😀\u2028\\n']) {
            await ann.ok('message:send', { conversationId: conversation.id, content });
            await ben.hears('message:new', (message) => message.content === content);
        }
        for (const peer of [ann, ben]) peer.close();

        const refused = await Peer.connect(server.url, options).catch((error) => error);
        assert.ok(refused instanceof Refused, String(refused));
        assert.match(refused.message, /^Unauthorized/);
    });
}

test('a script that is refused is an error for the client', async () => {
    const options = { generation: 2, transport: 'polling only', forceJSONP: true, path: '/nowhere' };
    const refused = await Peer.connect(echo.url, options).catch((error) => error);
    assert.ok(refused instanceof Refused, String(refused));
});
