// The frames of a page's orders sockets, as the browser itself counts them.

/** @typedef {{ url: string, sent: any[], received: any[], batches: number, open: boolean }} Socket */

const objects = (payload) => {
  const parsed = JSON.parse(payload);
  return Array.isArray(parsed) ? parsed : [parsed];
};

/**
 * Every `/ws` socket the page opens from now on, oldest first; frames as objects, batches taken apart.
 * @param {import('@playwright/test').Page} page @returns {Socket[]}
 */
export function watchSockets(page) {
  const sockets = [];
  page.on('websocket', (ws) => {
    if (new URL(ws.url()).pathname !== '/ws') return;
    const socket = { url: ws.url(), sent: [], received: [], batches: 0, open: true };
    sockets.push(socket);
    ws.on('framesent', ({ payload }) => socket.sent.push(...objects(payload)));
    ws.on('framereceived', ({ payload }) => {
      if (payload.startsWith('[')) socket.batches += 1;
      socket.received.push(...objects(payload));
    });
    ws.on('close', () => (socket.open = false));
  });
  return sockets;
}

/** What a socket brought of orders: the event frames, and the parts of snapshots. @param {Socket} socket */
export function brought({ received }) {
  return {
    events: received.filter(({ type, seq }) => type?.startsWith('order:') && seq !== undefined),
    snapshots: received.filter(({ type, payload }) => type === 'sync_complete' && payload?.status === 'snapshot'),
    welcome: received.find(({ type }) => type === 'auth:success'),
  };
}
