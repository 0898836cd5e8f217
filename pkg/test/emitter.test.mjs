// The one emitter that every object's events and subscriptions go through.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Audience } from '../dist/audience.js';
import { Emitter } from '../dist/emitter.js';

/** An emitter, and what its owner was told. */
function heard() {
  const told = { failed: [], warned: [], changes: 0 };
  const owner = {
    named: () => 'Thing made at here',
    failed: (cause, event) => told.failed.push([cause.message, event]),
    warn: (text) => told.warned.push(text),
    full: (message) => Object.assign(new Error(message), { code: 'overflow' }),
    changed: () => void (told.changes += 1),
  };
  return { emitter: new Emitter(owner), told };
}

const add = (emitter, count, event = 'a') => Array.from({ length: count }, () => emitter.add(event, () => {}, false));

test('delivery goes on whatever a listener does', async () => {
  const { emitter, told } = heard();
  const heardOf = [];
  emitter.add('a', () => { throw new Error('sync'); }, false);
  emitter.add('a', async () => { throw new Error('async'); }, false);
  const off = emitter.add('a', () => heardOf.push('taken off by the next'), false);
  emitter.add('a', () => { off(); emitter.add('a', () => heardOf.push('added'), true); heardOf.push('told'); }, true);
  const last = () => heardOf.push('last');
  emitter.add('a', last, false);
  assert.equal(emitter.emit('a', 1), true);
  await Promise.resolve();
  assert.deepEqual(heardOf, ['taken off by the next', 'told', 'last']);
  assert.deepEqual(told.failed, [['sync', 'a'], ['async', 'a']]);
  emitter.emit('a', 2);
  assert.deepEqual(heardOf.slice(3), ['last', 'added']);
  assert.equal(emitter.count('a'), 3);
  emitter.off('a', last);
  emitter.clear('b');
  assert.equal(emitter.count('a'), 2);
  emitter.clear();
  assert.equal(emitter.emit('a', 3), false);
  assert.equal(emitter.silent, true);
});

test('one taken off, or cut short, in the middle of an event is passed by', () => {
  const { emitter } = heard();
  const heardOf = [];
  let off = () => {};
  emitter.add('a', () => { heardOf.push('first'); off(); }, false);
  off = emitter.add('a', () => heardOf.push('second'), false);
  emitter.emit('a');
  assert.deepEqual(heardOf, ['first']);
  emitter.add('b', () => { heardOf.push('b'); emitter.cut(); }, false);
  emitter.add('b', () => heardOf.push('not reached'), false);
  emitter.emit('b');
  emitter.emit('b');
  assert.deepEqual(heardOf, ['first', 'b', 'b'], 'it stays for the next event');
});

test('what is added again and again is warned of once, with the owner\'s name', () => {
  const { emitter, told } = heard();
  add(emitter, 100);
  assert.deepEqual(told.warned, [], 'a hundred are not many');
  add(emitter, 100);
  assert.equal(told.warned.length, 1);
  assert.match(told.warned[0], /over 100 listeners of a on a Thing made at here/);
  add(emitter, 101, 'b');
  assert.equal(told.warned.length, 2, 'once for each event');
});

test('many that come and go are not warned of', () => {
  const { emitter, told } = heard();
  const offs = add(emitter, 60);
  for (let n = 0; n < 200; n += 1) {
    offs.push(...add(emitter, 40));
    for (const off of offs.splice(0, 40)) off();
  }
  offs.push(...add(emitter, 45));
  assert.equal(emitter.count('a'), 105);
  assert.deepEqual(told.warned, []);
  for (const off of offs) off();
  assert.equal(emitter.silent, true);
  add(emitter, 101);
  assert.equal(told.warned.length, 1, 'only from now on they only come');
});

test('a listener that goes because it was called does not hide those that stay', () => {
  const { emitter, told } = heard();
  for (let n = 0; n < 101; n += 1) {
    emitter.add('a', () => {}, true);
    emitter.emit('a');
    add(emitter, 1);
  }
  assert.equal(told.warned.length, 1);
});

test('a thousand listeners of an event, and not one more', () => {
  const { emitter } = heard();
  const offs = add(emitter, 1_000);
  assert.throws(() => emitter.add('a', () => {}, false), (error) => error.code === 'overflow' && /over 1000 listeners of a on a Thing/.test(error.message));
  assert.equal(emitter.count('a'), 1_000, 'those there are stay');
  emitter.add('b', () => {}, false);
  offs[0]();
  emitter.add('a', () => {}, false);
  assert.equal(emitter.count('a'), 1_000);
});

test('its owner hears when listeners come or go, and only then', () => {
  const { emitter, told } = heard();
  const off = emitter.add('a', () => {}, false);
  assert.equal(told.changes, 1);
  off();
  off();
  emitter.clear();
  emitter.emit('a');
  assert.equal(told.changes, 2);
  emitter.add('a', () => {}, true);
  emitter.emit('a');
  assert.equal(told.changes, 4, 'once');
});

test('messages go to listeners whole, to subscribers by their type with the payload first', () => {
  const [events, subscribers] = [heard(), heard()];
  const audience = new Audience(events.emitter, subscribers.emitter);
  const heardOf = [];
  const say = (who) => (...values) => heardOf.push([who, ...values]);
  events.emitter.add('message', say('message'), false);
  events.emitter.add('message:order:created', say('message:order:created'), false);
  events.emitter.add('order:created', say('on order:created'), false);
  for (const pattern of ['*', 'order:*', 'order:created', 'order', 'kds:*']) audience.subscribe(pattern, say(pattern));
  audience.onOutbox(say('outbox'));
  const message = { type: 'order:created', payload: { n: 1 } };
  audience.deliver(message);
  assert.deepEqual(heardOf, [
    ['message', message],
    ['message:order:created', message],
    ['on order:created', message],
    ['*', message.payload, message],
    ['order:*', message.payload, message],
    ['order:created', message.payload, message],
  ]);
  heardOf.length = 0;
  audience.outboxChanged();
  assert.deepEqual(heardOf, [['outbox', undefined]]);
  // Who takes a type is remembered until somebody comes or goes.
  audience.subscribe('order:created', say('late'));
  audience.changed();
  audience.deliver(message);
  assert.equal(heardOf.at(-1)[0], 'late');
  // A message whose type is empty is not the outbox's.
  heardOf.length = 0;
  audience.deliver({ type: '', payload: 1 });
  assert.deepEqual(heardOf.map(([who]) => who), ['message', '*']);
});
