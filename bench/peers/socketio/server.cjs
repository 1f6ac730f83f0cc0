// Whoever says something tells it to everyone in the room: one `io.to(room).emit` a message.
const { Server } = require("socket.io");

// No pings while we measure; what it sends is not compressed, as is its default.
const io = new Server(Number(process.argv[2]), { pingInterval: 600000, transports: ["websocket"] });

io.on("connection", (socket) => {
  if (!socket.handshake.auth.speaks) {
    socket.join("general");
  }
  socket.on("say", (message) => io.to("general").emit("said", message));
});
