// The outbox that outlives its service, in the browser's own IndexedDB and Web Locks; nothing is left of it that is live.

import { check, heard, ledger, noneUnhandled, nothingLive, pause, rejection, same, uncounted, until } from '../support/host.js';
import { api, newOrder, restaurant } from '../support/server.js';
import { serviceAt } from '../browser/orders.js';

const STORED = { outboxStored: true };
const order = (name) => JSON.stringify({ order: newOrder(name) });
const send = (service, name, id) => service.send('order:create', order(name), id, undefined, undefined);
const quietly = (sent) => sent.done.catch(() => {});

/** What is on the disk of a restaurant's messages. */
function rows(id) {
  return uncounted(
    () =>
      new Promise((resolve, reject) => {
        const request = indexedDB.open('tautline', 1);
        // Nobody has made it yet.
        request.onupgradeneeded = () => request.transaction.abort();
        request.onerror = () => (request.error.name === 'AbortError' ? resolve([]) : reject(request.error));
        request.onsuccess = () => {
          const database = request.result;
          const all = database.transaction('outbox').objectStore('outbox').getAll();
          all.onsuccess = () => {
            database.close();
            resolve(all.result.filter(({ place }) => place.includes(id)));
          };
        };
      }),
  );
}

const names = async (id) => (await api(id, 'GET', '/orders?limit=200')).orders.map(({ items }) => items[0].name).sort();

export async function storedAcrossServices({ WebSocketService }) {
  const id = restaurant('stored');
  const first = serviceAt(WebSocketService, id, STORED);
  const sent = ['One', 'Two', 'Three'].map((name) => send(first, name));
  await until('they are written', async () => (await rows(id)).length === 3);
  check((await rows(id)).every(({ sentAt }) => sentAt === null), 'none is marked as sent');
  first.dispose();
  const gone = await rejection(sent[0].done);
  same([gone.code, gone.outcome], ['disposed', 'unknown'], 'a promise of a disposed service');
  await Promise.all(sent.map(quietly));

  const second = serviceAt(WebSocketService, id, STORED);
  const mine = send(second, 'Four');
  await second.connect(undefined, 20_000);
  await mine.done;
  // Behind those of the dead one.
  same(second.outbox(), [], 'outbox');
  same(await names(id), ['Four', 'One', 'Three', 'Two'], 'orders at the relay');
  await until('the disk is empty', async () => (await rows(id)).length === 0);
  check(ledger().lock === 1 && ledger().database === 1, `on the ledger: ${JSON.stringify(ledger())}`);
  second.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function storedInherits({ WebSocketService }) {
  const id = restaurant('heir');
  const heir = serviceAt(WebSocketService, id, STORED);
  await heir.connect(undefined, 20_000);
  const other = serviceAt(WebSocketService, id, STORED);
  const sent = ['One', 'Two'].map((name) => send(other, name));
  await until('the heir waits for its end', () => ledger().lock === 3);
  same(await names(id), [], 'nothing of one that lives');
  let most = 0;
  heir.onOutbox(() => (most = Math.max(most, heir.outbox().filter(({ adopted }) => adopted).length)));
  other.dispose();
  await Promise.all(sent.map(quietly));
  await until('they are made', async () => (await names(id)).length === 2);
  same(most, 2, 'shown as taken over');
  await until('the disk is empty', async () => (await rows(id)).length === 0);

  // One that waits for another's end may go first.
  const third = serviceAt(WebSocketService, id, STORED);
  const kept = send(third, 'Three');
  await until('the heir waits again', () => ledger().lock === 3);
  heir.dispose();
  await until('it waits no more', () => ledger().lock === 1);
  third.dispose();
  await quietly(kept);
  await nothingLive();
  await noneUnhandled();
}

export async function storedPoison({ WebSocketService }) {
  const id = restaurant('poison');
  const first = serviceAt(WebSocketService, id, STORED);
  await first.connect(undefined, 20_000);
  const poison = first.send('order:create', '{"order":{"type":"dine-in","items":[]}}', 'poison', undefined, undefined);
  const refused = await rejection(poison.done);
  same([refused.code, refused.nackCode], ['nack', 'invalid'], 'its promise');
  const aside = (service) => service.storage.entries();
  await until('it is set aside', () => aside(first).length === 1);
  const [{ reason, ...entry }] = aside(first);
  same([entry.id, entry.type, entry.status], ['poison', 'order:create', 'failed'], 'entry');
  same([reason.code, reason.nackCode, reason.outcome, reason.message], ['nack', 'invalid', 'not_applied', refused.message], 'reason');
  check(Math.abs(Date.now() - reason.atMs) < 60_000, 'when');
  first.dispose();

  const second = serviceAt(WebSocketService, id, STORED);
  same(aside(second), [], 'nobody has signed in yet');
  await second.connect(undefined, 20_000);
  await until('it is still there', () => aside(second).length === 1);
  const again = second.storage.retry('poison', (type, payload, ttlMs) => second.send(type, payload, 'poison', ttlMs, undefined));
  same(aside(second), [], 'while it is tried');
  same((await rejection(again.done)).nackCode, 'invalid', 'another try');
  await until('it is set aside again', () => aside(second).length === 1);
  same((await rows(id)).length, 1, 'rows');
  check(second.storage.discard('poison') && !second.storage.discard('poison'), 'thrown away once');
  await until('the disk is empty', async () => (await rows(id)).length === 0);
  second.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function storedTooOld({ WebSocketService }) {
  const id = restaurant('old');
  const first = serviceAt(WebSocketService, id, { ...STORED, outboxTtlMs: 1 });
  const late = send(first, 'Late', 'late');
  await until('it is written', async () => (await rows(id)).length === 1);
  first.dispose();
  await quietly(late);
  const second = serviceAt(WebSocketService, id, STORED);
  const errors = [];
  second.on('error', (error) => errors.push([error.code, error.outcome]), false);
  await second.connect(undefined, 20_000);
  await until('it is reported', () => second.storage.entries().length === 1);
  same(errors, [['outbox_expired', 'not_sent']], 'errors');
  same(await names(id), [], 'never sent');
  second.storage.discard('late');
  second.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function storedWithout({ WebSocketService }) {
  const id = restaurant('without');
  const open = IDBFactory.prototype.open;
  for (const broken of [
    () => {
      throw new DOMException('full', 'QuotaExceededError');
    },
    // A browser that never answers.
    () => ({}),
  ]) {
    IDBFactory.prototype.open = broken;
    const service = serviceAt(WebSocketService, id, STORED);
    const errors = [];
    service.on('error', ({ code }) => errors.push(code), false);
    const sent = [send(service, 'One'), send(service, 'Two')];
    await service.connect(undefined, 20_000);
    await Promise.all(sent.map(({ done }) => done));
    await send(service, 'Three').done;
    same(errors, ['storage_unavailable'], 'said once');
    service.dispose();
    IDBFactory.prototype.open = open;
    await nothingLive();
  }
  same((await names(id)).length, 6, 'each sent from memory');
  await noneUnhandled();
}

export async function storedRounds({ WebSocketService }) {
  const id = restaurant('rounds');
  for (let round = 0; round < 60; round += 1) {
    const service = serviceAt(WebSocketService, id, STORED);
    service.on('error', () => {}, false);
    const sent = round % 2 ? [send(service, `Round ${round}`)] : [];
    const waits = [round % 3 ? service.connect(undefined, 20_000) : undefined, ...sent.map(({ done }) => done)];
    const settled = Promise.allSettled(waits);
    if (round % 5) await Promise.race([settled, pause(round % 23)]);
    service.dispose();
    await settled;
    service.free();
  }
  const last = serviceAt(WebSocketService, id, STORED);
  last.on('error', () => {}, false);
  await last.connect(undefined, 20_000);
  await until('all are made', async () => (await names(id)).length === 30);
  await until('the disk is empty', async () => (await rows(id)).length === 0);
  same(heard.errors, [], 'errors');
  last.dispose();
  await nothingLive();
  // Nobody holds it open.
  await uncounted(
    () =>
      new Promise((resolve, reject) => {
        const request = indexedDB.deleteDatabase('tautline');
        request.onsuccess = resolve;
        request.onblocked = () => reject(new Error('the database is held open'));
      }),
  );
  await noneUnhandled();
}
