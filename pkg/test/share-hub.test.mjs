// One connection as a connection for each tab: whatever a tab is told, the relay could have told it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hub } from '../dist/share-hub.js';
import { seen } from '../dist/share-log.js';
import { chance, Rig, SERVER_TIME, token } from './share-model.mjs';

const rigOf = (options) => new Rig(Hub, options);
const connected = (rig, name, options) => {
  const tab = rig.tab(name, options);
  rig.attach(tab);
  rig.quiet();
  assert.equal(tab.live, true);
  return tab;
};
const written = (rig, type) => rig.writes.flatMap(({ text }) => (text ? [JSON.parse(text)] : [])).filter((frame) => frame.type === type);
const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + 1 + n);

test('eight tabs, one connection: each has the set, each event, once and in order', () => {
  const rig = rigOf();
  for (let n = 0; n < 7; n += 1) rig.relay.publish(`o${n}`, 'new');
  const tabs = numbers(0, 8).map((n) => connected(rig, `t${n}`));
  for (let n = 0; n < 200; n += 1) rig.relay.publish(`o${n % 9}`, `s${n}`);
  rig.quiet();
  assert.equal(rig.relay.connections, 1);
  assert.equal(written(rig, 'orders:sync').length, 0, 'later tabs are served from the snapshot at hand');
  for (const tab of tabs) {
    assert.deepEqual(tab.told, numbers(7, 207));
    assert.deepEqual(tab.orders, rig.relay.orders);
    assert.deepEqual([tab.snapshots, tab.gaps, tab.greeted], [1, 0, 1]);
  }
});

test('a tab that comes back gets what it missed from the log at hand', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.leave(two, 4103);
  for (let n = 0; n < 100; n += 1) rig.relay.publish('o', `s${n}`);
  rig.quiet();
  rig.attach(two);
  assert.deepEqual(two.told, numbers(0, 100));
  assert.equal(two.resumes, 1);
  assert.deepEqual(one.told, two.told);
  assert.equal(written(rig, 'orders:sync').length, 0);
});

test('one that was away for longer than the log at hand reaches: the relay goes back, and nobody else hears anything twice', () => {
  const rig = rigOf();
  const [one, two, three] = [connected(rig, 'one'), connected(rig, 'two'), connected(rig, 'three')];
  rig.leave(two);
  rig.leave(three);
  for (let n = 0; n < 1_500; n += 1) rig.relay.publish('o', `s${n}`);
  rig.quiet();
  rig.attach(two);
  rig.attach(three);
  rig.quiet();
  assert.deepEqual(written(rig, 'orders:sync').map(({ payload }) => payload), [{ epoch: 'one', seq: 0 }]);
  for (const tab of [one, two, three]) assert.deepEqual(tab.told, numbers(0, 1_500));
  assert.deepEqual([two.resumes, two.gaps, three.resumes, three.gaps], [1, 0, 1, 0]);
});

test('a live tab asks for what it lacks: from the log at hand, or from the relay, which goes back', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  const back = (tab, seq) => {
    tab.position = seq;
    tab.told = tab.told.filter((told) => told <= seq);
    rig.say(tab, tab.sync(false));
  };
  for (let n = 0; n < 1_500; n += 1) rig.relay.publish('o', `s${n}`);
  rig.quiet();
  back(one, 1_400);
  assert.deepEqual([one.resumedAt, written(rig, 'orders:sync').length], [1_500, 0]);
  back(one, 10);
  rig.quiet();
  assert.deepEqual([one.resumedAt, written(rig, 'orders:sync').length], [1_500, 1]);
  for (const tab of [one, two]) assert.deepEqual([tab.told, tab.gaps], [numbers(0, 1_500), 0]);
});

test('a snapshot of one history is for nobody in another', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two', { wantsSet: false })];
  rig.lose();
  rig.relay.renew();
  rig.attach(two);
  rig.quiet();
  rig.attach(one);
  rig.quiet();
  assert.deepEqual([one.epoch, one.live, one.snapshots], ['one+', true, 2]);
});

test('a relay that goes on further than it has sent has left something out: all get its snapshot', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.relay.publish('o', 'heard');
  rig.quiet();
  for (let n = 0; n < 4; n += 1) rig.relay.publish('o', `s${n}`);
  rig.relay.conn.at = rig.relay.conn.told = 5;
  rig.say(one, one.sync(true));
  rig.quiet();
  for (const tab of [one, two]) assert.deepEqual([tab.snapshots, tab.position, tab.skipped], [2, 5, [[1, 5]]]);
});

test('a snapshot that comes unasked serves who asks meanwhile', () => {
  const rig = rigOf();
  const one = connected(rig, 'one');
  const part = (n) => ({ type: 'sync_complete', payload: { status: 'snapshot', sync_id: 'relay.9', epoch: 'one', seq: 0, part: n, parts: 2, orders: [] } });
  rig.relay.conn.out.push(part(1));
  rig.fall();
  rig.say(one, one.sync(true));
  rig.relay.conn.out.push(part(2));
  rig.quiet();
  assert.deepEqual([written(rig, 'orders:sync').length, one.snapshots], [0, 2]);
});

test('what was seen last, as far as it has no gap', () => {
  const event = (seq, epoch = 'one') => ({ type: 'order:updated', seq, epoch, payload: {} });
  const of = (...messages) => seen(messages.map((message) => JSON.stringify(message)));
  assert.equal(of({ type: 'pong', payload: { seq: 4 } }, { type: 'reset', seq: 3, epoch: 'one' }), undefined);
  const { epoch, entries } = of(event(1), [event(7), { type: 'cursor', from: 7, seq: 9, epoch: 'one' }], { type: 'ack', id: 'a', seq: 5 }, event(10));
  assert.deepEqual([epoch, entries.map(({ from, seq }) => [from, seq])], ['one', [[6, 7], [7, 9], [9, 10]]]);
  assert.deepEqual(of(event(1), event(2), event(3, 'two')).entries.map(({ seq }) => seq), [3]);
});

test('what a filter is told to be unusable is told to each tab', () => {
  const rig = rigOf();
  const one = connected(rig, 'one');
  rig.relay.conn.out.push({ type: 'error', error: { code: 'invalid', message: '' }, ref_type: 'subscribe' });
  rig.fall();
  const two = connected(rig, 'two');
  assert.deepEqual([one.errors, two.errors], [['invalid'], ['invalid']]);
});

test('a connection that does not come about is begun anew for those who wait on', () => {
  const rig = rigOf();
  const [one, two] = [rig.tab('one'), rig.tab('two')];
  rig.attach(one);
  rig.attach(two);
  rig.leave(one, 4102);
  rig.quiet();
  assert.deepEqual([two.live, rig.writes.filter(({ open }) => open).length, rig.writes.some(({ shut }) => shut === 4102)], [true, 2, true]);
});

test('what the relay has no more comes as a snapshot, for the one that lacks it', () => {
  const rig = rigOf({ tail: 100 });
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.leave(two);
  for (let n = 0; n < 1_200; n += 50) {
    for (let i = 0; i < 50; i += 1) rig.relay.publish(`o${i % 5}`, `s${n + i}`);
    rig.quiet();
  }
  rig.attach(two);
  rig.quiet();
  assert.deepEqual([two.resumes, two.gaps, two.snapshots], [0, 1, 2]);
  assert.deepEqual(two.orders, rig.relay.orders);
  assert.deepEqual([one.snapshots, one.gaps, one.told.length], [1, 0, 1_200]);
});

test('a snapshot that a tab asks for goes to that tab, and two that ask share one', () => {
  const rig = rigOf();
  const [one, two, three] = [connected(rig, 'one'), connected(rig, 'two'), connected(rig, 'three', { wantsSet: false })];
  for (let n = 0; n < 9; n += 1) rig.relay.publish(`o${n}`, 'new');
  rig.quiet();
  rig.say(one, one.sync(true));
  rig.say(three, three.sync(true));
  rig.relay.publish('o1', 'later');
  rig.quiet();
  assert.equal(written(rig, 'orders:sync').length, 1);
  assert.deepEqual([one.snapshots, two.snapshots, three.snapshots], [2, 1, 1]);
  for (const tab of [one, two]) assert.deepEqual(tab.orders, rig.relay.orders);
  // The relay takes one in five seconds: the next waits, and nothing is refused.
  rig.relay.publish('o2', 'later still');
  rig.quiet();
  rig.say(two, two.sync(true));
  rig.quiet();
  assert.equal(two.snapshots, 1);
  rig.pass(5_250);
  rig.quiet();
  assert.equal(two.snapshots, 2);
  assert.deepEqual(rig.relay.refusals, []);
});

test('a filter: what is skipped is accounted for, to tabs that come later and in snapshots too', () => {
  const rig = rigOf({ filtered: true });
  const one = connected(rig, 'one');
  for (let n = 0; n < 20; n += 1) rig.relay.publish('o', `s${n}`);
  rig.quiet();
  const two = connected(rig, 'two', { wantsSet: false });
  for (let n = 0; n < 7; n += 1) rig.relay.publish('o', `r${n}`);
  rig.say(one, one.sync(true));
  rig.quiet();
  rig.say(one, JSON.stringify({ type: 'ping', payload: { timestamp: 5 } }));
  rig.say(two, JSON.stringify({ type: 'ping', payload: { timestamp: 6 } }));
  rig.pass(600);
  rig.quiet();
  rig.pass(600);
  rig.quiet();
  const visible = numbers(0, 27).filter((seq) => seq % 3 !== 0);
  assert.deepEqual([one.told, one.position, one.head, one.pongs], [visible, 27, 27, 1]);
  assert.deepEqual([two.told, two.position, two.gaps, two.snapshots], [visible.filter((seq) => seq > two.began), 27, 0, 0]);
});

test('a command is answered to the tab whose it was; two of one id leave one after the other', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.say(one, one.command('a', 'o1', 'ready'));
  rig.say(two, two.command('b', 'o2', 'ready'));
  rig.say(one, one.command('same', 'o3', 'ready'));
  rig.say(two, two.command('same', 'o3', 'done'));
  rig.quiet();
  assert.deepEqual([one.answers.get('a').type, two.answers.get('b').type, one.answers.get('same').type], ['ack', 'ack', 'ack']);
  assert.equal(two.answers.get('same').error.code, 'id_reused');
  assert.deepEqual([one.pending.size, two.pending.size], [0, 0]);
});

test('a tab that leaves before its answer gets it when it asks again, and it was done once', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.say(one, one.command('a', 'o1', 'ready'));
  rig.leave(one);
  rig.attach(one);
  rig.say(one, one.pending.get('a'));
  rig.quiet();
  assert.equal(one.answers.get('a').type, 'ack');
  assert.equal(rig.relay.head, 1);
  assert.deepEqual([one.told, two.told], [[1], [1]]);
});

test('a tab that has gone says nothing more', () => {
  const rig = rigOf({ rate: { rate_per_s: 20, burst: 20 } });
  const [one] = [connected(rig, 'one'), connected(rig, 'two')];
  for (let n = 0; n < 50; n += 1) rig.say(one, one.command(`a${n}`, 'o', `s${n}`));
  rig.leave(one);
  rig.pass(10_000);
  rig.quiet();
  assert.ok(rig.relay.head < 25);
});

test('tabs together stay below the rate, and one that floods leaves room for the others', () => {
  const rig = rigOf({ rate: { rate_per_s: 20, burst: 20 } });
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  for (let n = 0; n < 200; n += 1) rig.say(one, one.command(`a${n}`, 'o', `s${n}`));
  rig.say(two, two.command('b', 'p', 'ready'));
  rig.pass(120);
  rig.quiet();
  assert.equal(two.answers.get('b').type, 'ack');
  assert.ok(one.pending.size > 150);
  const began = rig.now;
  while (one.pending.size > 0) {
    rig.pass(50);
    rig.quiet();
  }
  assert.deepEqual(rig.relay.refusals, []);
  assert.ok(rig.now - began < 12_000);
  assert.deepEqual([...one.answers.keys()], numbers(-1, 199).map((n) => `a${n}`));
});

test('pongs are the relay\'s; a relay that says nothing is left, by the word of one tab', () => {
  const rig = rigOf();
  const tabs = numbers(0, 3).map((n) => connected(rig, `t${n}`));
  for (const tab of tabs) rig.say(tab, JSON.stringify({ type: 'ping', payload: { timestamp: 1 } }));
  rig.pass(600);
  rig.quiet();
  rig.pass(600);
  rig.quiet();
  assert.deepEqual(tabs.map(({ pongs }) => pongs), [1, 1, 1]);
  assert.equal(written(rig, 'ping').length, 2, 'those that come while one is under way share the next');

  rig.pass(10_000);
  rig.say(tabs[0], JSON.stringify({ type: 'ping', payload: { timestamp: 2 } }));
  rig.rise();
  rig.leave(tabs[0], 4100);
  assert.deepEqual(tabs.map(({ ended }) => ended?.code), [4100, 4104, 4104]);
  for (const tab of tabs) rig.attach(tab);
  rig.quiet();
  assert.equal(rig.relay.connections, 2);
  assert.deepEqual(tabs.map(({ resumes }) => resumes), [1, 1, 1]);
});

test('a tab that was not heard is no reason to leave a relay that speaks', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.say(one, JSON.stringify({ type: 'ping', payload: { timestamp: 1 } }));
  rig.rise();
  rig.relay.publish('o', 'new');
  rig.fall();
  rig.leave(one, 4100);
  assert.equal(two.ended, undefined);
});

test('renewals: the longest token is in force, those it covers are answered at once, nothing is too soon', () => {
  const rig = rigOf();
  const at = (ms) => SERVER_TIME + rig.now + ms;
  const tabs = numbers(0, 4).map((n) => connected(rig, `t${n}`, { ends: at(600_000) }));
  for (const tab of tabs) {
    tab.ends = at(1_200_000);
    rig.say(tab, tab.auth(rig.now));
    tab.live = true;
  }
  rig.quiet();
  assert.deepEqual([tabs.map(({ renewed }) => renewed), written(rig, 'auth').length], [[1, 1, 1, 1], 2]);
  // A later one has to wait for the relay's bound.
  tabs[2].ends = at(1_800_000);
  rig.say(tabs[2], tabs[2].auth(rig.now));
  tabs[2].live = true;
  rig.quiet();
  assert.equal(tabs[2].renewed, 1);
  rig.pass(10_250);
  rig.quiet();
  assert.deepEqual([tabs[2].renewed, rig.relay.refusals], [2, []]);
});

test('a tab that goes before its renewal was looked at is not answered', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  for (const tab of [one, two]) {
    tab.ends += tab === one ? 60_000 : 120_000;
    rig.say(tab, tab.auth(rig.now));
    tab.live = true;
    rig.quiet();
  }
  assert.deepEqual([one.renewed, two.renewed], [1, undefined]);
  rig.leave(two);
  rig.pass(20_000);
  rig.quiet();
  assert.equal(written(rig, 'auth').length, 2);
});

test('the tab whose token is in force goes: another\'s takes its place before it runs out', () => {
  const rig = rigOf();
  const ends = SERVER_TIME + rig.now;
  const one = connected(rig, 'one', { ends: ends + 120_000 });
  const two = connected(rig, 'two', { ends: ends + 900_000 });
  assert.deepEqual([one.life, two.life], [0, 0]);
  rig.leave(one);
  rig.pass(74_000);
  rig.quiet();
  assert.equal(written(rig, 'auth').length, 1);
  rig.pass(2_000);
  rig.quiet();
  assert.equal(rig.relay.conn.ends, ends + 900_000);
  assert.equal(two.live, true);
});

test('a token that is refused ends its own tab only; one that has run out is not let in', () => {
  const rig = rigOf();
  const [old, good] = [rig.tab('old', { ends: SERVER_TIME - 60_000 }), rig.tab('good')];
  rig.attach(old);
  rig.attach(good);
  rig.quiet();
  assert.deepEqual([old.ended.code, good.live], [1008, true]);
  rig.attach(old);
  assert.equal(old.ended.code, 1008);
  rig.lose(4001, 'token expired');
  assert.equal(good.ended.code, 4001);
});

test('another history: a reset and its snapshot for everybody; a lost connection resumes for everybody', () => {
  const rig = rigOf();
  const tabs = [connected(rig, 'one'), connected(rig, 'two'), connected(rig, 'three', { wantsSet: false })];
  for (let n = 0; n < 9; n += 1) rig.relay.publish(`o${n}`, 'new');
  rig.relay.renew();
  rig.quiet();
  rig.relay.publish('o1', 'later');
  rig.quiet();
  for (const tab of tabs) assert.deepEqual([tab.epoch, tab.position], ['one+', 10]);
  rig.lose();
  assert.deepEqual(tabs.map(({ ended }) => ended.code), [1006, 1006, 1006]);
  rig.relay.publish('o2', 'later');
  for (const tab of tabs) rig.attach(tab);
  rig.quiet();
  assert.deepEqual(tabs.map(({ position, resumes }) => [position, resumes]), Array(3).fill([11, 1]));
  assert.equal(written(rig, 'auth').at(-1).resume.seq, 10);
});

test('a server without numbers is not shared', () => {
  const rig = rigOf({ speaks: 'plain' });
  const tab = rig.tab('one');
  rig.attach(tab);
  rig.quiet();
  assert.deepEqual([rig.alone, tab.ended.code], [true, 4104]);
  rig.attach(tab);
  assert.equal(tab.ended.code, 4104);
});

test('a frame that makes no sense begins everything anew', () => {
  const rig = rigOf();
  const tab = connected(rig, 'one');
  rig.perform(rig.hub.hear('no JSON', rig.now));
  assert.equal(tab.ended.code, 4104);
  rig.attach(tab);
  rig.quiet();
  rig.relay.conn.out.push({ type: 'order:updated', payload: { order: { id: 'x' } }, seq: 9, epoch: 'one' });
  rig.fall();
  assert.equal(tab.ended.code, 4104);
  assert.ok(rig.up.some(({ shut }) => shut === 4101));
});

test('what has no number goes to everybody, behind what came before it', () => {
  const rig = rigOf();
  const [one, two] = [connected(rig, 'one'), connected(rig, 'two')];
  rig.relay.conn.out.push({ type: 'hint', payload: {} });
  rig.fall();
  for (const tab of [one, two]) assert.equal(JSON.parse(tab.trail.at(-1)).type, 'hint');
});

/** Everything that can happen, in random order; afterwards every tab is where the log is, and was told all of it once. */
function play(seed) {
  const luck = chance(seed);
  const filtered = luck.is(0.3);
  const rig = rigOf({ filtered, tail: luck.one([60, 10_000]), part: 1 + luck.below(5), rate: luck.one([{ rate_per_s: 20, burst: 100 }, { rate_per_s: 5, burst: 5 }]) });
  const tabs = numbers(0, 5).map((n) => rig.tab(`t${n}`, { wantsSet: luck.is(0.7) }));
  let commands = 0;
  const away = () => tabs.filter(({ ended, port }) => ended || !port);
  const connect = (tab) => {
    rig.attach(tab);
    tab.resent = false;
  };
  // What a client does: commands without an answer leave again when it is back.
  const resend = () => {
    for (const tab of tabs) {
      if (!tab.live || tab.resent) continue;
      tab.resent = true;
      for (const text of tab.pending.values()) rig.say(tab, text);
    }
  };
  const steps = {
    publish: () => rig.relay.publish(`o${luck.below(8)}`, `s${rig.relay.head}`),
    burst: () => Array.from({ length: luck.below(80) }, () => steps.publish()),
    rise: () => rig.rise(),
    fall: () => rig.fall(1 + luck.below(10)),
    commit: () => rig.relay.commit(luck.below),
    pass: () => rig.pass(luck.one([10, 300, 3_000])),
    attach: () => away().length > 0 && connect(luck.one(away())),
    leave: () => [luck.one(tabs)].filter(({ port, ended }) => port && !ended).forEach((tab) => rig.leave(tab, luck.one([1000, 4100, 4102, 4103]))),
    lose: () => rig.lose(),
    hand: () => {
      const heir = luck.one(tabs);
      rig.hand(luck.is(0.8) ? seen(heir.trail) : undefined);
    },
    renew: () => luck.is(0.1) && rig.relay.renew(),
    ping: () => [luck.one(tabs)].filter(({ live }) => live).forEach((tab) => rig.say(tab, JSON.stringify({ type: 'ping', payload: { timestamp: 1 } }))),
    sync: () => [luck.one(tabs)].filter(({ live }) => live).forEach((tab) => rig.say(tab, tab.sync(luck.is(0.5) || tab.position === undefined))),
    command: () => [luck.one(tabs)].filter(({ live }) => live).forEach((tab) => rig.say(tab, tab.command(`c${(commands += 1)}`, `o${luck.below(8)}`, `c${commands}`))),
  };
  const often = ['publish', 'rise', 'rise', 'rise', 'fall', 'fall', 'fall', 'fall', 'commit', 'commit', 'attach', 'attach', 'command', 'pass'];
  const seldom = ['burst', 'leave', 'lose', 'hand', 'renew', 'ping', 'sync'];
  for (let n = 0; n < 400; n += 1) {
    steps[luck.is(0.9) ? luck.one(often) : luck.one(seldom)]();
    resend();
  }
  for (let n = 0; n < 200; n += 1) {
    away().forEach(connect);
    rig.quiet();
    resend();
    rig.pass(1_000);
  }
  steps.publish();
  for (const tab of tabs) rig.say(tab, JSON.stringify({ type: 'ping', payload: { timestamp: 1 } }));
  for (let n = 0; n < 20; n += 1) {
    rig.quiet();
    rig.pass(600);
  }
  const { relay } = rig;
  const visible = (seq) => !filtered || seq % 3 !== 0;
  for (const tab of tabs) {
    assert.deepEqual([tab.live, tab.position, tab.pending.size], [true, relay.head, 0], `${tab.name} of seed ${seed}`);
    assert.deepEqual(tab.told, [...new Set(tab.told)].sort((one, other) => one - other));
    const skipped = (seq) => tab.skipped.some(([from, to]) => seq > from && seq <= to);
    // Without a gap that the relay itself made, nothing is missing.
    if (tab.gaps === 0 && relay.tail > 1_000) assert.deepEqual(numbers(tab.began, relay.head).filter((seq) => visible(seq) && !tab.told.includes(seq)), [], `${tab.name} of seed ${seed}`);
    else assert.deepEqual(numbers(tab.skipped.at(-1)?.[1] ?? tab.began, relay.head).filter((seq) => visible(seq) && !skipped(seq) && !tab.told.includes(seq) && tab.gaps === 0), []);
    if (tab.wantsSet && !filtered) assert.deepEqual(tab.orders, relay.orders);
  }
  assert.equal(tabs.reduce((sum, { answers }) => sum + answers.size, 0), commands);
  assert.deepEqual(relay.refusals, [], `refused in seed ${seed}`);
  return { commands, events: relay.head, resumes: tabs.reduce((sum, tab) => sum + tab.resumes, 0), gaps: tabs.reduce((sum, tab) => sum + tab.gaps, 0) };
}

test('random attaching, loss, hand-over, other histories, syncs and commands: no gap, no repeat, one answer each', () => {
  const first = Number(process.env.TAUTLINE_SEED ?? 1);
  const count = process.env.TAUTLINE_SEED ? 1 : Number(process.env.TAUTLINE_SEEDS ?? 200);
  const sum = { commands: 0, events: 0, resumes: 0, gaps: 0 };
  for (let seed = first; seed < first + count; seed += 1) {
    try {
      for (const [name, value] of Object.entries(play(seed))) sum[name] += value;
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
  console.log(`${count} seeds: ${JSON.stringify(sum)}`);
  assert.ok(count === 1 || (sum.resumes > count && sum.commands > count));
});
