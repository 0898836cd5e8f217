// The outbox in the browser's storage (`docs/decisions/0041-an-outbox-that-outlives-the-tab.md`): what is written there, and what
// pages that are dead have left. What becomes of a message is the module's to say. Plain JavaScript, because the browser tests
// load it as it is.

import { Database } from './database.js';

/** Whose rows are those that were set aside. */
const NOBODY = '';

/**
 * @typedef {object} Failed
 * @property {string} code
 * @property {string} message
 * @property {string} [nackCode]
 * @property {string} [outcome]
 * @property {number} at ms since 1970
 */

/**
 * A message as it is stored. `key` is its place among those of all pages: when its page began, that page's name, its number there.
 * @typedef {object} Row
 * @property {[number, string, number]} key
 * @property {string} owner who sends it
 * @property {string} who as whom the server must know its sender; `''` before it was ever connected
 * @property {string} place the address and restaurant that the service was made with
 * @property {string} id
 * @property {string} type
 * @property {string} payload JSON
 * @property {number} ttlMs
 * @property {number} madeAt ms since 1970
 * @property {number | null} sentAt when it may first have been sent, ms since 1970
 * @property {Failed | null} failed
 */

/** @typedef {[id: string, type: string, payload: string, ttlMs: number, ageMs: number, sentAgeMs: number | undefined]} Adopted */
/** @typedef {{ code: string, message: string, nackCode?: string, outcome?: string }} Reason */
/** @typedef {{ key: Row['key'], written: boolean, adopted: boolean }} Slot */
/** @typedef {{ run: (rows: IDBObjectStore) => void, ended?: (kept: boolean) => void, slot?: Slot, strict?: boolean }} Write */

/**
 * What the storage is given, beside what a database is.
 * @typedef {object} Answers
 * @property {(id: string, sent: boolean, kept: boolean) => void} stored
 * @property {(answer: boolean, entries: Adopted[], lost: string[]) => void} adopted
 * @property {() => void} changed what is set aside is another
 * @typedef {import('./database.js').Env & Answers} Env
 */

/** Of one service. */
export class OutboxStorage {
  /** @type {Env} */
  #env;
  #database;
  /** The service's own address, where that is no function's to say. @type {string | undefined} */
  #address;
  #place;
  #since = Date.now();
  #name = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('-');
  #count = 0;
  /** Whom the server knows us as. @type {string | undefined} */
  #who;
  /** Messages of the module's outbox. @type {Map<string, Slot>} */
  #slots = new Map();
  /** Those set aside, as far as they are ours. @type {Map<string, Row>} */
  #aside = new Map();
  #asideMost = 0;
  #asideMs = Infinity;
  /** @type {Write[]} */
  #queue = [];
  #running = false;
  #closed = false;
  /** Others know that we are here. */
  #announced = false;
  /** Whether the page was in the back/forward cache, and others may have taken over what is ours. */
  #wasAway = false;
  /** @type {(() => void)[]} */
  #listeners = [];

  /** @param {Env} env @param {string | undefined} address @param {string | undefined} restaurant */
  constructor(env, address, restaurant) {
    this.#env = env;
    this.#database = new Database(env, this.#name, () => void this.#look());
    this.#address = address === undefined ? undefined : plainAddress(address);
    this.#place = JSON.stringify([this.#address ?? null, restaurant ?? null]);
  }

  /** The service is there. */
  begin() {
    this.#listen('pagehide', ({ persisted }) => {
      if (!persisted) return;
      this.#wasAway = true;
      this.#announced = false;
      this.#database.putAway();
    });
    this.#listen('pageshow', () => this.#database.comeBack());
  }

  // What the module says

  /** Whether it is an event of the module's for the storage. @param {string} event @param {any} value */
  heard(event, value) {
    if (event === 'store') this.store(value);
    else if (event === 'unstore') this.unstore(value);
    else if (event === 'aside') this.aside(value);
    else if (event === 'adopt') void this.adopt(value);
    else return false;
    return true;
  }

  /** @param {[id: string, sent: boolean, type: string, payload: string, ttlMs: number, ageMs: number, sentAgeMs?: number]} given */
  store([id, sent, type, payload, ttlMs, ageMs, sentAgeMs]) {
    const slot = this.#slots.get(id) ?? { key: /** @type {Row['key']} */ ([this.#since, this.#name, this.#count++]), written: false, adopted: false };
    this.#slots.set(id, slot);
    const now = Date.now();
    /** @type {Row} */
    const row = {
      key: slot.key, owner: this.#name, who: this.#who ?? '', place: this.#place, id, type, payload, ttlMs, madeAt: now - ageMs,
      sentAt: sent ? now - (sentAgeMs ?? 0) : null, failed: null,
    };
    this.#write({
      run: (rows) => rows.put(row),
      slot,
      strict: true,
      ended: (kept) => {
        if (kept && !this.#announced) {
          this.#announced = true;
          this.#database.say();
        }
        // A message that is over, or another of its name, is not what was written.
        if (this.#slots.get(id) === slot) this.#env.stored(id, sent, kept);
      },
    });
  }

  /** @param {string} id */
  unstore(id) {
    const slot = this.#taken(id);
    if (slot) this.#write({ run: (rows) => rows.delete(slot.key) });
  }

  /** @param {[id: string, error: Reason]} given */
  aside([id, error]) {
    const slot = this.#taken(id);
    if (!slot) return;
    const { code, message, nackCode, outcome } = error;
    /** @type {Failed} */
    const failed = { code, message, ...(nackCode && { nackCode }), ...(outcome && { outcome }), at: Date.now() };
    /** @type {Row | undefined} */
    let found;
    this.#write({
      run: (rows) =>
        answer(rows.get(slot.key), (/** @type {Row | undefined} */ row) => {
          if (!row) return;
          found = { ...row, owner: NOBODY, who: this.#who ?? row.who, failed };
          rows.put(found);
        }),
      strict: true,
      ended: (kept) => {
        if (!kept || !found) return;
        this.#aside.set(id, found);
        this.#trim();
        this.#env.changed();
        this.#database.say();
      },
    });
    // Whoever sent it is no more: there is no promise to reject.
    if (slot.adopted) this.#env.failed(error);
  }

  /**
   * Connected: takes over what dead pages of this user left, and waits for the end of those that live.
   * @param {[address: string, frame: { restaurant_id?: unknown, user_id?: unknown } | undefined, asideMost: number, asideMs: number]} given
   */
  async adopt([address, frame, asideMost, asideMs]) {
    this.#who = JSON.stringify([this.#address ?? plainAddress(address), frame?.restaurant_id ?? null, frame?.user_id ?? null]);
    this.#asideMost = asideMost;
    this.#asideMs = asideMs;
    /** @type {[Adopted[], string[]]} */
    const found = [[], []];
    try {
      found[1] = await this.#lost();
      found[0] = asAdopted(await this.#sweep());
    } catch (cause) {
      this.#database.complain(cause);
    }
    this.#env.adopted(true, ...found);
  }

  // What the page asks

  /** What is set aside, oldest first. */
  entries() {
    const now = Date.now();
    return [...this.#aside.values()].sort(inOrder).map(({ id, type, madeAt, failed }) => {
      const { at, ...reason } = /** @type {Failed} */ (failed);
      return { id, type, status: 'failed', ageMs: Math.max(0, now - madeAt), reason: { ...reason, atMs: at } };
    });
  }

  /**
   * Takes one that is set aside for another try: its row is written over when `send` stores it.
   * @template T @param {string} id @param {(type: string, payload: string, ttlMs: number) => T} send @returns {T | undefined}
   */
  retry(id, send) {
    const row = this.#aside.get(id);
    if (!row) return undefined;
    this.#aside.delete(id);
    this.#slots.set(id, { key: row.key, written: true, adopted: false });
    try {
      return send(row.type, row.payload, row.ttlMs);
    } catch (error) {
      this.#slots.delete(id);
      this.#aside.set(id, row);
      throw error;
    }
  }

  /** Throws one away that is set aside. @param {string} id */
  discard(id) {
    const row = this.#aside.get(id);
    if (!row) return false;
    this.#aside.delete(id);
    this.#write({ run: (rows) => rows.delete(row.key), ended: () => this.#database.say() });
    this.#env.changed();
    return true;
  }

  /** Ends it, when all is written: what waits is the next page's. */
  end() {
    if (this.#closed) return;
    this.#closed = true;
    for (const off of this.#listeners) off();
    this.#database.comeBack();
    if (!this.#running) this.#database.close();
  }

  // Writing: what is said in one turn, or while a transaction is under way, goes into the next one.

  /** @param {Write} write */
  #write(write) {
    this.#queue.push(write);
    if (this.#running) return;
    this.#running = true;
    queueMicrotask(() => void this.#run());
  }

  async #run() {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0);
      const written = batch.flatMap(({ slot }) => (slot?.written ? [slot.key] : []));
      const insist = written.length > 0;
      // What a power cut takes of removals is only sent again, and known by its id.
      const durability = batch.some(({ strict }) => strict) ? 'strict' : 'relaxed';
      const kept = await this.#transact(batch.map(({ run }) => run), { durability, insist });
      // A row that could not be marked says what is not so: it is taken out.
      if (!kept && insist) await this.#transact(written.map((key) => (rows) => rows.delete(key)), { insist });
      for (const { slot, ended } of batch) {
        if (slot) slot.written = kept;
        ended?.(kept);
      }
    }
    this.#running = false;
    if (this.#closed) this.#database.close();
  }

  /**
   * @param {((rows: IDBObjectStore) => void)[]} runs @param {{ durability?: IDBTransactionDurability, insist: boolean }} how
   * @returns {Promise<boolean>} whether it is done
   */
  async #transact(runs, how) {
    try {
      await this.#database.transact('readwrite', (rows) => runs.forEach((run) => run(rows)), how);
      return true;
    } catch (cause) {
      this.#database.complain(cause);
      return false;
    }
  }

  // Others

  /** Our messages that another page has taken over while this one was in the back/forward cache. */
  async #lost() {
    if (!this.#wasAway) return [];
    /** @type {string[]} */
    const lost = [];
    await this.#database.transact('readonly', (rows) => {
      for (const [id, { key, written }] of this.#slots) {
        if (written) answer(rows.get(key), (/** @type {Row | undefined} */ row) => row?.owner !== this.#name && lost.push(id));
      }
    });
    this.#wasAway = false;
    for (const id of lost) this.#slots.delete(id);
    return lost;
  }

  /** Another page has said that something is new. */
  async #look() {
    if (this.#who === undefined || this.#closed) return;
    try {
      this.#inherited(await this.#sweep());
    } catch (cause) {
      this.#database.complain(cause);
    }
  }

  /** Takes over from all who are dead. */
  async #sweep() {
    /** @type {string[]} */
    const owners = [];
    await this.#database.transact('readonly', (rows) => {
      const request = rows.index('owner').openKeyCursor(null, 'nextunique');
      answer(request, (/** @type {IDBCursor | null} */ cursor) => {
        if (!cursor) return;
        owners.push(/** @type {string} */ (cursor.key));
        cursor.continue();
      });
    });
    /** @type {Row[]} */
    const found = [];
    for (const owner of owners.filter((name) => name !== NOBODY)) {
      found.push(...((await this.#database.inherit(owner, () => this.#take(owner), (rows) => this.#inherited(rows))) ?? []));
    }
    await this.#loadAside();
    return found;
  }

  /** Takes over from one who is dead. @param {string} owner */
  async #take(owner) {
    /** @type {Row[]} */
    let taken = [];
    const now = Date.now();
    await this.#database.transact('readwrite', (rows) =>
      answer(rows.index('owner').getAll(owner), (/** @type {Row[]} */ all) => {
        const ours = all.filter(({ who, place }) => who === this.#who || (who === '' && place === this.#place));
        taken = ours.filter(({ id }) => !this.#slots.has(id)).map((row) => ({ ...row, owner: this.#name, who: this.#who ?? '' }));
        for (const row of taken) rows.put(row);
        // Of one whose user does not come back nothing stays on the disk for ever.
        const over = all.filter((row) => (ours.includes(row) ? this.#slots.has(row.id) : now - row.madeAt > this.#asideMs));
        for (const { key } of over) rows.delete(key);
      }),
    );
    for (const { id, key } of taken) this.#slots.set(id, { key, written: true, adopted: true });
    return taken;
  }

  /** @param {Row[]} rows */
  #inherited(rows) {
    if (rows.length > 0) this.#env.adopted(false, asAdopted(rows), []);
  }

  async #loadAside() {
    /** @type {Row[]} */
    let all = [];
    await this.#database.transact('readonly', (rows) => answer(rows.index('owner').getAll(NOBODY), (/** @type {Row[]} */ found) => (all = found)));
    const before = [...this.#aside.keys()].join();
    this.#aside = new Map(all.filter(({ who, id }) => who === this.#who && !this.#slots.has(id)).map((row) => [row.id, row]));
    this.#trim();
    if ([...this.#aside.keys()].join() !== before) this.#env.changed();
  }

  /** Keeps what is set aside to its bounds; the oldest go. */
  #trim() {
    const rows = [...this.#aside.values()].sort(inOrder);
    const old = Date.now() - this.#asideMs;
    for (const [index, { id, key, failed }] of rows.entries()) {
      if (index >= rows.length - this.#asideMost && (failed?.at ?? 0) >= old) continue;
      this.#aside.delete(id);
      this.#write({ run: (store) => store.delete(key) });
    }
  }

  /** @param {string} event @param {(event: any) => void} heard */
  #listen(event, heard) {
    if (typeof addEventListener !== 'function') return;
    addEventListener(event, heard);
    const off = () => removeEventListener(event, heard);
    const entry = this.#env.enter('listener', event, off);
    this.#listeners.push(() => {
      off();
      this.#env.leave(entry);
    });
  }

  /** The slot of a message that is over. @param {string} id */
  #taken(id) {
    const slot = this.#slots.get(id);
    this.#slots.delete(id);
    return slot;
  }
}

/** @param {IDBRequest} request @param {(result: any) => void} then */
function answer(request, then) {
  request.onsuccess = () => then(request.result);
}

/** The rows as the module takes them over. @param {Row[]} rows @returns {Adopted[]} */
function asAdopted(rows) {
  const now = Date.now();
  const age = (/** @type {number} */ at) => Math.max(0, now - at);
  return rows.sort(inOrder).map(({ id, type, payload, ttlMs, madeAt, sentAt }) => [id, type, payload, ttlMs, age(madeAt), sentAt === null ? undefined : age(sentAt)]);
}

/** @param {Row} one @param {Row} other */
function inOrder({ key: one }, { key: other }) {
  return indexedDB.cmp(one, other);
}

/** An address without what may differ between two visits. @param {string} address */
function plainAddress(address) {
  const { protocol, host, pathname } = new URL(address, globalThis.location?.href ?? 'ws://nowhere');
  return protocol.replace('http', 'ws') + host + pathname;
}
