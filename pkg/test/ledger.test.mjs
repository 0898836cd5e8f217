// The ledger's twin on its own: what is entered, shared by two copies of the package, and let go of after a trap.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createHost } from '../dist/host.js';
import { resources } from '../dist/resources.js';
import { enter, leave, ledger } from '../dist/twin.js';

const other = await import('../dist/twin.js?another-copy');
const turn = () => new Promise((resolve) => setTimeout(resolve));

test('an entry is on the ledger from enter to leave, in counts and in the list', () => {
  const id = enter('timer', 'wake', () => {});
  assert.equal(resources.counts().timer, 1);
  const [entry] = resources.list();
  assert.deepEqual({ ...entry, ageMs: 0 }, { id, kind: 'timer', owner: 'wake', ageMs: 0 });
  assert.ok(entry.ageMs >= 0);
  leave(id);
  leave(id);
  assert.equal(resources.counts().timer, 0);
});

test('with stacks an entry says where it was made', () => {
  ledger().stacks = true;
  const id = enter('timer', 'wake', () => {});
  ledger().stacks = false;
  assert.match(resources.list()[0].stack, /ledger\.test\.mjs/);
  leave(id);
});

test('two copies of the package share one ledger', () => {
  const ids = [enter('socket', 'a', () => {}), other.enter('socket', 'b', () => {})];
  assert.notEqual(ids[0], ids[1]);
  assert.equal(other.ledger(), ledger());
  assert.equal(globalThis[Symbol.for('tautline.resources')], ledger());
  assert.equal(resources.counts().socket, 2);
  leave(ids[1]);
  other.leave(ids[0]);
  assert.equal(resources.counts().socket, 0);
});

test('onChange is told once a turn, later, until it is taken back', async () => {
  const told = mock.fn();
  const off = resources.onChange(told);
  const ids = [enter('timer', 'a', () => {}), enter('timer', 'b', () => {})];
  assert.equal(told.mock.callCount(), 0);
  await turn();
  assert.equal(told.mock.callCount(), 1);
  off();
  ids.forEach(leave);
  await turn();
  assert.equal(told.mock.callCount(), 1);
});

test('registrations are counted, and cleaned up by priority, one at a time', async () => {
  const order = [];
  const slow = async (name) => {
    order.push(`${name} begins`);
    await turn();
    order.push(`${name} ends`);
  };
  for (const priority of ['low', 'critical', 'medium', 'high']) {
    resources.register({ name: priority, kind: 'camera', priority, cleanup: () => slow(priority) });
  }
  const kept = resources.register({ name: 'kept', kind: 'camera', priority: 'low', cleanup: () => order.push('kept') });
  assert.equal(resources.counts().camera, 5);
  kept();
  await resources.shutdownAll();
  assert.deepEqual(order, ['critical', 'high', 'medium', 'low'].flatMap((name) => [`${name} begins`, `${name} ends`]));
  assert.deepEqual(resources.list(), []);
});

test('a clean-up that throws or does not end keeps nobody waiting for more than a second', async () => {
  const said = mock.method(console, 'error', () => {});
  const done = mock.fn();
  resources.register({ name: 'throws', kind: 'x', priority: 'critical', cleanup: () => { throw new Error('no'); } });
  resources.register({ name: 'hangs', kind: 'x', priority: 'high', cleanup: () => new Promise(() => {}) });
  resources.register({ name: 'fine', kind: 'x', priority: 'low', cleanup: done });
  await resources.shutdownAll();
  said.mock.restore();
  assert.equal(done.mock.callCount(), 1);
  const reports = said.mock.calls.map(({ arguments: [error] }) => `${error.code} ${error.message}: ${error.cause.message}`);
  assert.deepEqual(reports, ['callback shutdownAll: cleaning up throws failed: no', 'callback shutdownAll: cleaning up hangs failed: not done within 1000 ms']);
  assert.deepEqual(resources.list(), []);
});

test('memory() tells a ledger that grows from one that comes and goes, and on what evidence', () => {
  const now = mock.method(performance, 'now');
  let at = 1e6;
  now.mock.mockImplementation(() => at);
  const ids = [];
  const minutes = (count, change) => {
    let report;
    for (let n = 0; n < count; n += 1, at += 60_000) {
      change(n);
      report = resources.memory();
    }
    return report;
  };
  const first = resources.memory();
  assert.deepEqual([first.trend, first.leakWarning, first.evidence.entries], ['stable', false, null]);
  const idle = minutes(30, (n) => (n % 7 ? ids.push(enter('timer', 'busy', () => {})) : ids.splice(0).forEach(leave)));
  assert.deepEqual([idle.trend, idle.leakWarning], ['stable', false]);
  const leak = minutes(30, () => ids.push(enter('timer', 'leak', () => {})));
  assert.deepEqual([leak.trend, leak.leakWarning], ['growing', true]);
  const { perHour, low, high, samples, spanMs } = leak.evidence.entries;
  assert.ok(low > 0 && low <= perHour && perHour <= high && Math.abs(perHour - 60) < 15, JSON.stringify(leak.evidence));
  assert.ok(samples >= 28 && spanMs >= 25 * 60_000);
  assert.equal(resources.counts().timer, ids.length, 'measuring holds nothing itself');
  ids.forEach(leave);
  const after = minutes(31, () => {});
  assert.deepEqual([after.trend, after.leakWarning], ['stable', false]);
  now.mock.restore();
});

test('a trap lets go of everything of this copy, newest first, whatever throws', async () => {
  const order = [];
  const release = (name) => () => {
    order.push(name);
    if (name === 'b') throw new Error('already gone');
  };
  const { shield, twin } = createHost();
  twin.enter('socket', 'a', release('a'));
  twin.enter('listener', 'b', release('b'));
  twin.enter('timer', 'c', release('c'));
  const foreign = other.enter('socket', 'other', release('other'));
  const heard = [];
  const [page, memory] = [new Error('the page threw'), new WebAssembly.RuntimeError('unreachable')];
  const throws = (error) => shield(() => { throw error; });
  assert.throws(throws(page), page);
  assert.deepEqual(order, []);
  const said = mock.method(console, 'error', () => {});
  throws(memory)();
  shield((event) => heard.push(event))('late');
  assert.deepEqual(heard, []);
  await turn();
  said.mock.restore();
  assert.deepEqual(said.mock.calls.map(({ arguments: [error] }) => [error.code, error.cause]), [['internal', memory]]);
  assert.deepEqual(order, ['c', 'b', 'a']);
  assert.deepEqual(resources.list().map(({ owner }) => owner), ['other']);
  other.leave(foreign);
});
