// A browser's WebSocket for Node that notes what passes.

import { WebSocket } from 'ws';

/** What a recording says in place of a token. */
export const TOKEN = '<token>';

const clean = (frame) => (frame?.token ? { ...frame, token: TOKEN } : frame);
const read = (text) => {
  const value = JSON.parse(text);
  return Array.isArray(value) ? value.map(clean) : clean(value);
};

/**
 * @param {(step: object) => void} note gets `{open}`, `{client}`, `{relay}`, `{close}`, each with its connection's number
 * @param {{ plain?: boolean }} [options] `plain`: `auth` leaves without what belongs to v1, as an older page sends it
 */
export function notingWebSocket(note, { plain = false } = {}) {
  let count = 0;
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      count += 1;
      this.connection = count;
      this.addEventListener('open', () => note({ open: this.connection }));
      this.addEventListener('message', ({ data }) => note({ relay: read(data), on: this.connection }));
      this.addEventListener('close', ({ code, reason }) => note({ close: this.connection, code, reason }));
    }

    send(text) {
      let sent = text;
      if (plain && JSON.parse(text).type === 'auth') {
        const { token, type, restaurant_id } = JSON.parse(text);
        sent = JSON.stringify({ type, token, restaurant_id });
      }
      note({ client: read(sent), on: this.connection });
      super.send(sent);
    }
  };
}
