import { ConnectionManager as GlueManager } from '../wasm/tautline.js';
import { optionalMs, optionalSignal, optionsOf } from './check.js';
import { Handle } from './handle.js';
import { Lease } from './lease.js';
import { serviceHandle, type WebSocketService } from './service.js';
import { dispose } from './symbols.js';
import { stackHere } from './twin.js';
import type { ManagerOptions, ManagerStatus } from './types.js';

const NOTHING: ManagerStatus = { isConnected: false, isConnecting: false, connectionCount: 0 };

/**
 * Shares one connection among any number of holders: the first opens it, the last closes it after `lingerMs`, so
 * that a component that unmounts and mounts again does not reconnect.
 *
 * A manager that nobody can reach any more, nor any lease of it, is disposed of with one warning: who came by
 * `connect()` held by the manager.
 */
export class ConnectionManager {
  readonly #handle: Handle<GlueManager>;

  constructor(service: WebSocketService, options?: ManagerOptions) {
    const under = serviceHandle('new ConnectionManager(service)', service);
    const lingerMs = optionalMs('new ConnectionManager(service, {lingerMs})', optionsOf('new ConnectionManager()', options).lingerMs);
    const kind = { priority: 'high', under, shutdown: () => this.dispose() } as const;
    this.#handle = new Handle('ConnectionManager', kind, () => new GlueManager(under.glue(), lingerMs));
  }

  /** Resolves with a share in the connection once it is up. An aborted call holds nothing and ends only itself. */
  async acquire(options?: { signal?: AbortSignal | undefined }): Promise<Lease> {
    const signal = optionalSignal('acquire({signal})', optionsOf('acquire()', options).signal);
    const madeAt = stackHere();
    const number = await this.#handle.later((glue) => glue.acquire(signal) as Promise<number>);
    const handle = this.#handle;
    return new Lease({ holds: () => handle.live, release: () => handle.clean((glue) => glue.release(number)), madeAt });
  }

  /** Counts a holder and resolves when connected; `disconnect()` is its counterpart. */
  async connect(): Promise<void> {
    await this.#handle.later((glue) => glue.connect());
  }

  /** Lets go of one `connect()`; without one to match it does nothing but warn once. */
  disconnect(): void {
    this.#handle.clean((glue) => glue.disconnect());
  }

  /** Closes now, whoever holds it; what they release later does nothing. */
  forceDisconnect(): void {
    this.#handle.clean((glue) => glue.forceDisconnect());
  }

  /** Whether there is a connection, and how many hold it. */
  getStatus(): ManagerStatus {
    return this.#handle.ask((glue) => glue.getStatus() as ManagerStatus, NOTHING);
  }

  /** Lets go of all its holders and ends the object; the service stays. Twice does nothing. */
  dispose(): void {
    this.#handle.dispose();
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }
}
