// The official Socket.IO server as the echo fixture, the way its documentation starts one.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { flags } from "./flags.mjs";

const { port, "ping-interval-ms": pingInterval } = flags("port", "ping-interval-ms");
const http = createServer();
const io = new Server(http, { pingInterval: Number(pingInterval), serveClient: false });

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

http.listen(Number(port), "127.0.0.1");
