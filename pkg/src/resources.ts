import { memoryBytes } from '../wasm/tautline.js';
import { functionOf, oneOf, text } from './check.js';
import { TautlineError, invalid } from './errors.js';
import { isLoaded } from './handle.js';
import { trap } from './trap.js';
import { direction, slopeOf } from './trend.js';
import { enter, leave, type Ledger, ledger, type Managed, watch } from './twin.js';
import type { MemoryReport, Priority, Registration, Resource, ResourceKind } from './types.js';

const KINDS: readonly ResourceKind[] = [
  'socket',
  'socket_closing',
  'shared_socket',
  'lock',
  'channel',
  'worker',
  'timer',
  'listener',
  'closure',
  'fetch',
  'peer_connection',
  'data_channel',
  'media_track',
  'audio_element',
  'audio_context',
  'worklet',
  'lease',
  'iterator',
];
const PRIORITIES: readonly Priority[] = ['critical', 'high', 'medium', 'low'];
/** What one clean-up may take at `shutdownAll()`. */
const CLEANUP_MS = 1_000;
/** How far back is looked, and the least between two samples. */
const SAMPLES_MS = 30 * 60_000;
const SAMPLE_EVERY_MS = 10_000;
/** What each has to rise by, at least, to be called growing. */
const LEAST = { entries: 5, wasmBytes: 1_000_000, jsHeapBytes: 1_000_000 } as const;
const MEASURED = ['entries', 'wasmBytes', 'jsHeapBytes'] as const;

interface Sample {
  readonly at: number;
  readonly entries: number;
  readonly wasmBytes: number;
  readonly jsHeapBytes?: number;
}

let samples: readonly Sample[] = [];

/** Every browser resource the package holds, on one ledger from before it exists until it is let go. */
export const resources = {
  /** How many there are of each kind; 0 for those there are none of. */
  counts(): Record<ResourceKind, number> & Record<string, number> {
    const counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<ResourceKind, number> & Record<string, number>;
    for (const { kind } of ledger().entries.values()) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  },

  /** Each of them, oldest first. */
  list(): Resource[] {
    const now = performance.now();
    return [...ledger().entries].map(([id, { kind, owner, since, stack }]) => {
      const resource = { id, kind, owner, ageMs: now - since };
      return stack === undefined ? resource : { ...resource, stack };
    });
  },

  /** Calls back soon after the ledger has changed, once for any number of changes in a turn. */
  onChange(callback: () => void): () => void {
    return watch(functionOf('resources.onChange()', callback));
  },

  /**
   * Ends everything, by priority: this package's objects (services are critical), then what the page registered
   * with the same priority, a second for each. Failures are reported on the console. Afterwards new objects can
   * be made as if nothing had been.
   */
  async shutdownAll(): Promise<void> {
    const book = ledger();
    const objects = [...book.objects.values()].map((ref) => ref.deref()).filter((object) => object !== undefined);
    const all: Managed[] = [...objects, ...book.registrations.values()];
    for (const priority of PRIORITIES) {
      for (const managed of all) if (managed.priority === priority) await within(managed);
    }
    await closed(book);
  },

  /**
   * How much memory is in use, and which way that goes: measured when it is asked for and at no other time, so that an idle
   * page has no timer. Asked for every minute or so it can tell a leak after some minutes; `evidence` is what that rests on.
   */
  memory(): MemoryReport {
    const now = performance.now();
    const wasmBytes = isLoaded() && !trap() ? memoryBytes() : (samples.at(-1)?.wasmBytes ?? 0);
    const jsHeapBytes = (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize;
    const heap = jsHeapBytes === undefined ? {} : { jsHeapBytes };
    const before = samples.filter(({ at }) => now - at <= SAMPLES_MS);
    const last = before.at(-1);
    const sample = { at: now, entries: ledger().entries.size, wasmBytes, ...heap };
    samples = last && now - last.at < SAMPLE_EVERY_MS ? before : [...before, sample];
    const found = MEASURED.map((what) => evidenceOf(what, samples));
    const goes = found.map(({ goes }) => goes).find((one) => one !== 0) ?? 0;
    return {
      wasmBytes,
      ...heap,
      trend: goes > 0 ? 'growing' : goes < 0 ? 'shrinking' : 'stable',
      leakWarning: found.some(({ goes }) => goes > 0),
      evidence: Object.fromEntries(found.map(({ what, slope }) => [what, slope])) as unknown as MemoryReport['evidence'],
    };
  },

  /** Puts something of the page's own on the ledger; the function returned takes it off without cleaning it up. */
  register(registration: Registration): () => void {
    if (typeof registration !== 'object' || registration === null) {
      throw invalid('resources.register() takes {name, kind, priority, cleanup}', registration);
    }
    const name = text('resources.register({name})', registration.name);
    const kind = text('resources.register({kind})', registration.kind);
    const priority = oneOf('resources.register({priority})', PRIORITIES, registration.priority);
    const cleanup = functionOf('resources.register({cleanup})', registration.cleanup);
    const book = ledger();
    const entry = enter(kind, name, () => {});
    const unregister = () => {
      book.registrations.delete(entry);
      leave(entry);
    };
    book.registrations.set(entry, {
      name,
      priority,
      shutdown: () => {
        unregister();
        return cleanup();
      },
    });
    return unregister;
  },
};

/** One clean-up, its end awaited for a second at most. */
async function within(managed: Managed): Promise<void> {
  const limit = deadline();
  try {
    const late = limit.passed.then(() => Promise.reject(new Error(`not done within ${CLEANUP_MS} ms`)));
    await Promise.race([managed.shutdown(), late]);
  } catch (cause) {
    console.error(new TautlineError('callback', `shutdownAll: cleaning up ${managed.name} failed`, { cause }));
  } finally {
    limit.clear();
  }
}

/** Until the browser has reported the last close, a second at most. */
async function closed(book: Ledger): Promise<void> {
  const closing = () => [...book.entries.values()].some(({ kind }) => kind === 'socket_closing');
  const limit = deadline();
  let unwatch = () => {};
  const last = new Promise<void>((resolve) => {
    if (!closing()) return resolve();
    unwatch = watch(() => {
      if (!closing()) resolve();
    });
  });
  await Promise.race([last, limit.passed]);
  unwatch();
  limit.clear();
}

/** A timer, on the ledger as any other. */
function deadline(): { readonly passed: Promise<void>; clear(): void } {
  let clear = () => {};
  const passed = new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      leave(entry);
      resolve();
    }, CLEANUP_MS);
    const entry = enter('timer', 'resources', () => clearTimeout(timer));
    clear = () => {
      clearTimeout(timer);
      leave(entry);
    };
  });
  return { passed, clear: () => clear() };
}

/** How one of the things measured goes. */
function evidenceOf(what: (typeof MEASURED)[number], from: readonly Sample[]) {
  const points = from.flatMap((sample) => (sample[what] === undefined ? [] : [{ at: sample.at, value: sample[what] }]));
  const slope = slopeOf(points);
  return { what, slope, goes: direction(slope, points[0]?.value ?? 0, LEAST[what]) };
}
