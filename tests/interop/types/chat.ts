// A client that uses the generated types. It is compiled, never run.

import { io, type Socket } from 'socket.io-client-4';

import type {
    Answer,
    ClientToServerEvents,
    ErrorCode,
    MessageNew,
    NotificationsClientToServerEvents,
    NotificationsServerToClientEvents,
    SentAck,
    ServerToClientEvents,
    WithAcks,
} from './types';

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000', { auth: { token: 'token' } });

let last: MessageNew | undefined;
socket.on('session:ready', ({ userId, conversations }) => {
    const heads: number[] = Object.values(conversations);
    console.log(userId.toUpperCase(), Math.max(...heads));
});
socket.on('message:new', (message) => {
    last = message;
    const seq: number = message.changeSeq;
    const reply: string | null = message.replyTo;
    console.log(message.content.trim(), message.type === 'image' ? message.mediaUrl : seq, reply);
});
socket.on('missed-messages', (page) => {
    for (const change of page.changes) {
        if (change.event === 'message:updated') console.log(change.content, change.editedBy);
        else if (change.event === 'message:deleted') console.log(change.deletedBy);
    }
});
socket.on('request-failed', ({ event, code, limit }) => {
    const failed: ErrorCode = code;
    console.log(event, failed, limit);
});
// @ts-expect-error: there is no such event
socket.on('message:nwe', () => {});
// @ts-expect-error: a number is no function
socket.on('message:deleted', ({ messageId }) => messageId.toFixed());

function told(answer: Answer<SentAck>): string {
    if (answer.ok) return answer.message.id;
    return `${answer.error} (${answer.code})`;
}

socket.emit('message:send', { to: 'bob', content: 'Hello' });
socket.emit('message:send', { to: 'bob', content: 'Hello', data: { mood: ['fine'] } }, (answer) => console.log(told(answer)));
socket.emit('send-message', { conversationId: '0'.repeat(24), content: 'Under its old name' });
socket.emit('get-missed-messages');
socket.emit('get-missed-messages', (answer) => answer.ok && console.log(answer.nextCursor));
socket.emit('get-missed-messages', { lastSyncDate: Date.now(), cursors: { id: 7 } });
socket.timeout(1000).emit('message:delete', { messageId: 'id' }, (error, answer) => {
    if (error === null && !answer.ok) console.log(answer.code);
});

// @ts-expect-error: content is a text
socket.emit('message:send', { to: 'bob', content: 5 });
// @ts-expect-error: `messageId` is missing
socket.emit('message:delete', {});
// @ts-expect-error: there is no such type
socket.emit('conversation:create', { type: 'crowd', participants: ['bob'] });

/** With an ack each time, the answer of `emitWithAck` has its type. */
async function send(chat: Socket<ServerToClientEvents, WithAcks<ClientToServerEvents>>): Promise<string | undefined> {
    const answer = await chat.emitWithAck('message:send', { to: 'bob', content: 'Hello' });
    // @ts-expect-error: before it is known to be a success it has no id
    console.log(answer.id.length);
    // @ts-expect-error: the payload is checked here, too
    await chat.emitWithAck('message:edit', { messageId: 'id', content: false });
    return answer.ok ? answer.id : undefined;
}

const notifications: Socket<NotificationsServerToClientEvents, NotificationsClientToServerEvents> = io(
    'http://localhost:4000/notifications',
    { auth: { token: 'token' } },
);
notifications.on('server:restarting', ({ retryAfterMs }) => console.log(retryAfterMs + 1));
notifications.on('notification:new', ({ title, priority }) => {
    if (priority === 'urgent') console.log(title.toUpperCase());
});
notifications.on('notifications:count', ({ unread }) => console.log(unread + 1));
notifications.emit('notifications:unread', (answer) => answer.ok && console.log(answer.notifications[0]?.id));
notifications.emit('notifications:subscribe', { types: ['mention', 'call'] });
// @ts-expect-error: there is no such type of notification
notifications.emit('notifications:subscribe', { types: ['postcard'] });
// @ts-expect-error: chat is not told here
notifications.on('message:new', () => {});

export { last, send };
