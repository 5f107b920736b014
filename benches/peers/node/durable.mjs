// Socket.IO and SQLite as a chat that loses nothing: a message is acknowledged after its own transaction has
// been synced to disk (WAL, synchronous=FULL). Accounts and conversations live in memory, so that the
// statement measured is the INSERT alone.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import Database from "better-sqlite3";
import { Server } from "socket.io";
import { flags } from "./flags.mjs";

const { port, "data-dir": directory } = flags("port", "data-dir");
const secret = process.env.JWT_SECRET;

const database = new Database(join(directory, "chat.sqlite"));
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
// As lean as history can be read from: rows in the order they arrive, one index by conversation.
database.exec(`
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, seq INTEGER NOT NULL, sender TEXT NOT NULL,
    content TEXT NOT NULL, created_at INTEGER NOT NULL);
  CREATE UNIQUE INDEX by_conversation ON messages (conversation, seq);`);
const insert = database.prepare(
  "INSERT INTO messages (conversation, seq, sender, content, created_at) VALUES (?, ?, ?, ?, ?)",
);

/** The conversations: id to members and the last seq. */
const conversations = new Map();
/** 12 bytes that sort by time, as hexadecimal. */
const newId = () => Date.now().toString(16).padStart(12, "0") + randomBytes(6).toString("hex");

/** The user a token names; undefined unless the signature is right and the token has not expired. */
function userOf(token) {
  const [header, claims, signature] = String(token).split(".");
  const expected = createHmac("sha256", secret).update(`${header}.${claims}`).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const { id, exp } = JSON.parse(Buffer.from(claims, "base64url"));
  return exp * 1000 > Date.now() ? id : undefined;
}

function create(user, { name, participants }) {
  const conversation = { id: newId(), name, members: new Set([user, ...participants]), seq: 0 };
  conversations.set(conversation.id, conversation);
  for (const member of conversation.members) io.in(`user:${member}`).socketsJoin(conversation.id);
  return { ok: true, conversation: { ...conversation, members: [...conversation.members] } };
}

function send(user, { conversationId, content }) {
  const conversation = conversations.get(conversationId);
  if (!conversation?.members.has(user)) return { ok: false, code: "not_member" };
  if (typeof content !== "string" || content.length > 5000) return { ok: false, code: "too_long" };
  const seq = ++conversation.seq;
  const createdAt = new Date();
  const { lastInsertRowid } = insert.run(conversationId, seq, user, content, createdAt.getTime());
  const message = { id: String(lastInsertRowid), conversationId, seq, senderId: user, content, createdAt };
  io.to(conversationId).emit("message:new", message);
  return { ok: true, id: message.id, seq, message };
}

const http = createServer();
const io = new Server(http, { serveClient: false });

io.use((socket, next) => {
  socket.data.user = userOf(socket.handshake.auth.token);
  next(socket.data.user ? undefined : new Error("Unauthorized"));
});

io.on("connection", (socket) => {
  const { user } = socket.data;
  socket.join(`user:${user}`);
  socket.on("conversation:create", (request, ack) => ack(create(user, request)));
  socket.on("message:send", (request, ack) => ack(send(user, request)));
});

http.listen(Number(port), "127.0.0.1");
