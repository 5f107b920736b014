// The official Socket.IO server on Bun and the engine made for it, the way its documentation starts one.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { flags } from "../node/flags.mjs";

const { port, "ping-interval-ms": pingInterval } = flags("port", "ping-interval-ms");
const engine = new Engine({ path: "/socket.io/", pingInterval: Number(pingInterval) });
const io = new Server();
io.bind(engine);

io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("echo", (argument, ack) => ack(argument));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("say", ({ room, data }, ack) => {
    io.to(room).emit("said", data);
    ack();
  });
});

// A connection that waits longer than this is ended: it has to be more than the time between two pings.
Bun.serve({ hostname: "127.0.0.1", port: Number(port), idleTimeout: 60, ...engine.handler() });
