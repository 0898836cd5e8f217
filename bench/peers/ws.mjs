// Node with `ws`, doing nothing but broadcast, as its README does it.

import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
const listeners = new Set();
server.on('connection', (socket, request) => {
  if (request.url.endsWith('?listen')) {
    listeners.add(socket);
    socket.on('close', () => listeners.delete(socket));
  }
  socket.on('message', (message) => {
    for (const listener of listeners) {
      if (listener.readyState === WebSocket.OPEN) listener.send(message, { binary: false });
    }
  });
});
http.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${http.address().port}`));
