// A TCP proxy that can behave like a bad network: silent without closing, cut, or not there at all.

import { connect, createServer } from 'node:net';

/** @typedef {Awaited<ReturnType<typeof startProxy>>} Proxy */

/** One connection through the proxy. `near` is who called; `far`, the target, is called once traffic may pass. */
class Link {
  #far;
  #held = true;
  #mute = false;
  #broken = false;
  #ends = [];

  constructor(near, targetPort, onCarried, onGone) {
    this.near = near;
    this.targetPort = targetPort;
    this.onCarried = onCarried;
    this.onGone = onGone;
    near.pause();
    this.#watch(near);
  }

  /** While held nothing is read from either side, so no byte and no end of one side reaches the other. */
  hold() {
    this.#held = true;
    this.near.pause();
    this.#far?.pause();
  }

  /** From now on nothing that comes from the target arrives; what goes there does. */
  mute() {
    this.#mute = true;
  }

  /** What was sent meanwhile arrives now, as retransmission would bring it. */
  release() {
    this.#held = false;
    if (this.#broken) return this.cut();
    if (!this.#far) {
      this.#far = connect({ host: '127.0.0.1', port: this.targetPort, allowHalfOpen: true, noDelay: true });
      this.#watch(this.#far);
      this.#forward(this.near, this.#far, 'up');
      this.#forward(this.#far, this.near, 'down');
    }
    this.near.resume();
    this.#far.resume();
    for (const socket of this.#ends.splice(0)) socket.end();
  }

  cut() {
    this.onGone(this);
    for (const socket of [this.near, this.#far]) if (socket && !socket.destroyed) socket.resetAndDestroy();
  }

  /** Ends it without a goodbye, but so that what was carried still arrives. */
  abandon() {
    this.onGone(this);
    this.#far?.destroy();
    this.near.end();
  }

  #forward(from, to, direction) {
    from.on('data', (chunk) => {
      if (this.#mute && direction === 'down') return;
      if (!to.write(chunk)) from.pause();
      this.onCarried(this, direction, chunk.length);
    });
    to.on('drain', () => this.#held || from.resume());
    from.on('end', () => {
      // An end is reported even while paused.
      if (this.#held) this.#ends.push(to);
      else to.end();
    });
  }

  #watch(socket) {
    socket.on('error', () => {
      if (this.#held) this.#broken = true; // the other side hears of it at `release`
      else this.cut();
    });
    socket.on('close', () => {
      if (!this.#held && this.near.destroyed && (!this.#far || this.#far.destroyed)) this.onGone(this);
    });
  }
}

/**
 * Forwards connections to `target` (`http://127.0.0.1:PORT` or a port). It listens on another loopback address but
 * on the same port, because a relay answers only to a `Host` with its own port.
 * @param {string | number} target @param {string} [host] each of several has its own
 */
export async function startProxy(target, host = '127.0.0.2') {
  const targetPort = typeof target === 'number' ? target : Number(new URL(target).port);
  const links = new Set();
  const bytes = { up: 0, down: 0 };
  let silent = false;
  let allowance = Infinity;
  let server;

  function carried(link, direction, length) {
    bytes[direction] += length;
    if (direction === 'up') return;
    allowance -= length;
    if (allowance > 0) return;
    allowance = Infinity;
    link.abandon();
  }

  async function listen() {
    server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (near) => {
      const link = new Link(near, targetPort, carried, (gone) => links.delete(gone));
      links.add(link);
      if (!silent) link.release();
    });
    await new Promise((resolve, reject) => server.once('error', reject).listen(targetPort, host, resolve));
  }

  function cut() {
    for (const link of [...links]) link.cut();
  }

  async function refuse() {
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server = undefined;
    cut();
    await closed;
  }

  await listen();
  return {
    url: `http://${host}:${targetPort}`,
    /** Bytes carried so far from (`up`) and to (`down`) whoever connects here. */
    bytes,
    get connections() {
      return links.size;
    },
    /** From now on nothing passes and nobody is told: connections stay open, new ones open and stay mute. */
    silence() {
      silent = true;
      for (const link of links) link.hold();
    },
    /** Passes everything again, after `silence` and after `refuse`. */
    async resume() {
      silent = false;
      for (const link of [...links]) link.release();
      if (!server) await listen();
    },
    /** The connections of now stay open and mute, as after a router has forgotten them; new ones pass. */
    forget() {
      for (const link of links) link.hold();
    },
    /** On the connections of now nothing comes back any more: what is asked there is done, and the answer lost. */
    mute() {
      for (const link of links) link.mute();
    },
    /** Resets every connection; new ones are welcome. */
    cut,
    /** Ends the connection that brings the `length`th byte from now on to whoever connects here, right after it. */
    cutAfter(length) {
      allowance = length;
    },
    /** Resets every connection and refuses new ones until `resume`. */
    refuse,
    /** Ends the proxy. */
    stop: refuse,
  };
}
