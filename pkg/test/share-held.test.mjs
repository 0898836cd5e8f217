// What sharing takes of the browser is let go of: by whoever took it, and by the ledger.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resources } from '../dist/resources.js';
import { Alarm, Channel, listen, Lock } from '../dist/share-held.js';
import { ledger } from '../dist/twin.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const locks = [];

/** The browser's lock manager, of which a lock is granted when a test says so. */
Object.defineProperty(globalThis, 'navigator', {
  value: {
    locks: {
      request(name, { signal }, hold) {
        const lock = { name, waits: true, held: false };
        locks.push(lock);
        signal?.addEventListener('abort', () => (lock.waits = false));
        lock.grant = async () => {
          lock.held = true;
          await hold();
          lock.held = false;
        };
        return new Promise(() => {});
      },
    },
  },
});

/** Both ways to let go: the object's own, and the ledger's for a page whose module has trapped. */
const WAYS = [(taken) => taken.end(), () => [...ledger().entries.values()].forEach(({ release }) => release())];

for (const [n, end] of WAYS.entries()) {
  const by = n === 0 ? 'by its owner' : 'by the ledger';

  test(`a lock that is held is given back, ${by}`, async () => {
    const lock = new Lock('a', false, () => {}, assert.fail);
    const asked = locks.at(-1);
    void asked.grant();
    assert.equal(asked.held, true);
    end(lock);
    await turn();
    assert.equal(asked.held, false);
    assert.deepEqual(resources.list(), []);
  });

  test(`a lock that is waited for is waited for no more, ${by}`, () => {
    const lock = new Lock('a', false, assert.fail, assert.fail);
    end(lock);
    assert.equal(locks.at(-1).waits, false);
    assert.deepEqual(resources.list(), []);
  });

  test(`a channel is closed, ${by}`, () => {
    const channel = new Channel('a', assert.fail);
    end(channel);
    assert.throws(() => channel.post('x'), { name: 'InvalidStateError' });
    assert.deepEqual(resources.list(), []);
  });

  test(`a timer is cleared, ${by}`, async () => {
    const alarm = new Alarm('a');
    alarm.set(1, assert.fail);
    end({ end: () => alarm.clear() });
    assert.deepEqual(resources.list(), []);
    await new Promise((resolve) => setTimeout(resolve, 5));
  });

  test(`a listener is taken off, ${by}`, () => {
    const target = new EventTarget();
    const off = listen(target, 'a', assert.fail);
    end({ end: off });
    target.dispatchEvent(new Event('a'));
    assert.deepEqual(resources.list(), []);
  });
}

test('a lock that is granted when nobody wants it any more is not kept', async () => {
  const lock = new Lock('a', false, assert.fail, assert.fail);
  lock.end();
  const asked = locks.at(-1);
  await asked.grant();
  assert.equal(asked.held, false);
});

test('a timer set anew is one timer', async () => {
  const alarm = new Alarm('a');
  alarm.set(1, assert.fail);
  await new Promise((resolve) => alarm.set(1, resolve));
  assert.deepEqual(resources.list(), []);
});
