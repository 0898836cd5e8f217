// IndexedDB and Web Locks as the outbox needs them: opened when first used, let go of while the page is in the back/forward cache,
// never waited for without end, everything on the ledger. Plain JavaScript, because the browser tests load it as it is.

const DATABASE = 'tautline';
const ROWS = 'outbox';
/** An owner holds the lock of its name as long as it is there: whoever gets it knows that it is not. */
const LOCK = 'tautline-outbox:';
const CHANNEL = 'tautline-outbox';
/** How long the database may take to open, and a transaction to end, ms. */
const OPEN_MS = 3_000;
const WRITE_MS = 5_000;
/** How long memory has to do after storage has failed, before it is tried again, ms. */
const ILL_MS = 30_000;

class Unavailable extends Error {}

/** The page was put away, or the service ended, meanwhile. */
const GONE = new Unavailable('let go of');

/**
 * What it is given. Nothing of it may lead back to the service: that could never be forgotten.
 * @typedef {object} Env
 * @property {(kind: string, owner: string, release: () => void) => number} enter enters a resource on the ledger
 * @property {(id: number) => void} leave
 * @property {(error: any) => void} failed an error that no call is there to reject
 * @property {(code: 'storage_unavailable', message: string, fields: { cause?: unknown }) => unknown} error makes one
 */

/** Of one owner. */
export class Database {
  /** @type {Env} */
  #env;
  #owner;
  #heard;
  /** @type {Promise<IDBDatabase> | undefined} */
  #ready;
  /** @type {Promise<void> | undefined} */
  #locked;
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** What is let go of when the page is put away or the service ends. @type {(() => void)[]} */
  #held = [];
  /** Changed whenever it is: what was begun before is not to be held. */
  #stay = {};
  /** Owners whose end is waited for. @type {Map<string, () => void>} */
  #heirs = new Map();
  /** While the page is in the back/forward cache. @type {Promise<void> | undefined} */
  #away;
  #back = () => {};
  #illUntil = 0;
  #complained = false;
  #closed = false;

  /** @param {Env} env @param {string} owner @param {() => void} heard told when another page has said that something is new */
  constructor(env, owner, heard) {
    this.#env = env;
    this.#owner = owner;
    this.#heard = heard;
  }

  /**
   * Runs a transaction to its end. @param {IDBTransactionMode} mode @param {(rows: IDBObjectStore) => unknown} run
   * @param {{ durability?: IDBTransactionDurability, insist?: boolean }} [how] `strict`: it outlives a power cut, too; `insist`: even
   *   though storage has failed a moment ago
   */
  async transact(mode, run, { durability = 'relaxed', insist = false } = {}) {
    const database = await this.#open(insist);
    const transaction = database.transaction(ROWS, mode, { durability });
    const over = new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = () => failed(transaction.error ?? GONE);
    });
    run(transaction.objectStore(ROWS));
    await this.#within(WRITE_MS, over, 'the browser does not end a transaction');
    this.#complained = false;
  }

  /** Tells other pages that something is new. */
  say() {
    this.#channel?.postMessage(null);
  }

  /**
   * Inherits from an owner who is dead: at once, or when it dies.
   * @template T @param {string} owner @param {() => Promise<T>} take @param {(taken: T) => void} later told what came of it then
   * @returns {Promise<T | undefined>}
   */
  async inherit(owner, take, later) {
    if (owner === this.#owner || this.#heirs.has(owner)) return undefined;
    const dead = await navigator.locks.request(LOCK + owner, { ifAvailable: true }, (lock) => lock && take().then((taken) => ({ taken })));
    if (dead) return dead.taken;
    this.#wait(owner, async () => later(await take()));
    return undefined;
  }

  /** Into the back/forward cache: what it has is not to wait for its return. */
  putAway() {
    this.#away ??= new Promise((done) => (this.#back = done));
    this.#letGo();
  }

  comeBack() {
    this.#away = undefined;
    this.#back();
  }

  close() {
    this.#closed = true;
    this.comeBack();
    this.#letGo();
  }

  /** Says once what is wrong with storage, until it works again. @param {unknown} cause */
  complain(cause) {
    if (cause === GONE || this.#isIll()) return;
    this.#illUntil = performance.now() + ILL_MS;
    if (this.#complained) return;
    this.#complained = true;
    const message = `the outbox is not kept in storage: ${saying(cause)}. What is sent waits in memory, and is lost with the page`;
    this.#env.failed(this.#env.error('storage_unavailable', message, { cause }));
  }

  #isIll() {
    return performance.now() < this.#illUntil;
  }

  /** @param {boolean} insist @returns {Promise<IDBDatabase>} */
  async #open(insist) {
    for (;;) {
      if (this.#closed) throw GONE;
      if (this.#isIll() && !insist) throw new Unavailable('it failed a moment ago');
      const ready = (this.#ready ??= this.#begin());
      try {
        return await ready;
      } catch (cause) {
        if (this.#ready === ready) this.#ready = undefined;
        if (cause !== GONE) throw cause;
      }
    }
  }

  async #begin() {
    await this.#away;
    const stay = this.#stay;
    const { locks } = globalThis.navigator ?? {};
    if (!globalThis.indexedDB || !locks) throw new Unavailable('there is no IndexedDB, or no Web Locks, here: a page has both where it comes by https:, or from localhost');
    // First: others take what has an owner without a lock.
    await this.#within(OPEN_MS, (this.#locked ??= this.#lock(locks)), 'the browser gives no lock');
    const opening = openDatabase();
    const shut = () => opening.then((database) => database.close(), () => {});
    try {
      await this.#within(OPEN_MS, opening, 'the browser does not open the database: close or reload other tabs of this site');
    } catch (cause) {
      void shut();
      throw cause;
    }
    const database = await opening;
    if (stay !== this.#stay) {
      database.close();
      throw GONE;
    }
    this.#hold('database', () => database.close());
    // A later version of this package wants to change it.
    database.onversionchange = () => this.#letGo();
    database.onclose = () => this.#letGo();
    if (globalThis.BroadcastChannel) {
      const channel = (this.#channel = new BroadcastChannel(CHANNEL));
      channel.onmessage = () => this.#heard();
      this.#hold('channel', () => channel.close());
    }
    return database;
  }

  /** @param {LockManager} locks @returns {Promise<void>} */
  #lock(locks) {
    const stay = this.#stay;
    return new Promise((granted, failed) => {
      const hold = () =>
        new Promise((/** @type {(value?: undefined) => void} */ release) => {
          if (stay !== this.#stay) return release();
          this.#hold('lock', () => release());
          return granted();
        });
      locks.request(LOCK + this.#owner, hold).then(() => failed(GONE), failed);
    });
  }

  /** @param {string} owner @param {() => Promise<void>} then */
  #wait(owner, then) {
    const stop = new AbortController();
    const entry = this.#env.enter('lock', 'outbox', () => stop.abort());
    const end = () => {
      this.#env.leave(entry);
      this.#heirs.delete(owner);
    };
    this.#heirs.set(owner, () => {
      end();
      stop.abort();
    });
    const dead = () => {
      if (stop.signal.aborted) return undefined;
      end();
      return then();
    };
    navigator.locks.request(LOCK + owner, { signal: stop.signal }, dead).catch((cause) => {
      if (stop.signal.aborted) return;
      end();
      this.complain(cause);
    });
  }

  /** @param {string} kind @param {() => void} release */
  #hold(kind, release) {
    const entry = this.#env.enter(kind, 'outbox', release);
    this.#held.push(() => {
      release();
      this.#env.leave(entry);
    });
  }

  #letGo() {
    this.#stay = {};
    for (const abort of [...this.#heirs.values()]) abort();
    for (const end of this.#held.splice(0).reverse()) end();
    this.#channel = this.#ready = this.#locked = undefined;
  }

  /** @template T @param {number} ms @param {Promise<T>} promise @param {string} message @returns {Promise<T>} */
  async #within(ms, promise, message) {
    let end = () => {};
    const late = new Promise((_, failed) => {
      const timer = setTimeout(() => failed(new Unavailable(message)), ms);
      const stop = () => clearTimeout(timer);
      const entry = this.#env.enter('timer', 'outbox', stop);
      end = () => {
        stop();
        this.#env.leave(entry);
      };
    });
    try {
      return /** @type {T} */ (await Promise.race([promise, late]));
    } finally {
      end();
    }
  }
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  return new Promise((done, failed) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(ROWS, { keyPath: 'key' }).createIndex('owner', 'owner');
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

/** @param {unknown} cause */
function saying(cause) {
  const { name = '', message = String(cause) } = /** @type {{ name?: string, message?: string }} */ (cause ?? {});
  if (cause instanceof Unavailable) return message;
  if (name === 'QuotaExceededError') return 'the disk, or what the browser gives this site of it, is full';
  if (name === 'VersionError') return 'a later version of this package has been here: reload the page';
  return `${name} ${message}`;
}
