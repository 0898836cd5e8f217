// Bun's server, doing nothing but broadcast, as its own documentation does it: topics in native code.

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    const listens = new URL(request.url).search === '?listen';
    return server.upgrade(request, { data: { listens } }) ? undefined : new Response('not found', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    open(socket) {
      if (socket.data.listens) socket.subscribe('all');
    },
    message(_, message) {
      server.publish('all', message);
    },
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
