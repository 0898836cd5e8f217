import { memoryBytes } from '../wasm/tautline.js';
import { functionOf, oneOf, text } from './check.js';
import { TautlineError, invalid } from './errors.js';
import { isLoaded } from './handle.js';
import { trap } from './trap.js';
import { enter, leave, type Ledger, ledger, type Managed, watch } from './twin.js';
import type { MemoryReport, Priority, Registration, Resource, ResourceKind } from './types.js';

const KINDS: readonly ResourceKind[] = [
  'socket',
  'socket_closing',
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
const SAMPLES_MS = 10 * 60_000;
const SAMPLE_EVERY_MS = 10_000;
const RISES = 5;

interface Sample {
  readonly at: number;
  readonly entries: number;
  readonly wasmBytes: number;
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

  /** How much memory is in use, and which way that goes. Measures nothing between calls. */
  memory(): MemoryReport {
    const now = performance.now();
    const wasmBytes = isLoaded() && !trap() ? memoryBytes() : (samples.at(-1)?.wasmBytes ?? 0);
    const sample = { at: now, entries: ledger().entries.size, wasmBytes };
    const before = samples.filter(({ at }) => now - at <= SAMPLES_MS);
    const last = before.at(-1);
    samples = last && now - last.at < SAMPLE_EVERY_MS ? before : [...before, sample];
    const report = { wasmBytes, trend: trendOf(before[0], sample), leakWarning: rises([...before.slice(-RISES), sample]) };
    const jsHeapBytes = (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize;
    return jsHeapBytes === undefined ? report : { ...report, jsHeapBytes };
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

function trendOf(first: Sample | undefined, now: Sample): MemoryReport['trend'] {
  if (!first) return 'stable';
  const change = Math.sign(now.entries - first.entries) || Math.sign(now.wasmBytes - first.wasmBytes);
  return change > 0 ? 'growing' : change < 0 ? 'shrinking' : 'stable';
}

function rises(recent: readonly Sample[]): boolean {
  return recent.length > RISES && recent.every((sample, n) => n === 0 || sample.entries > (recent[n - 1]?.entries ?? 0));
}
