import { createTautline, TautlineError, type Tautline, type TokenReason } from 'tautline';
import type { RelayClock } from './model/clock';

/** Who this page is, from its address: `?restaurant_id=` and `?role=`. */
export interface Identity {
  readonly restaurantId: string;
  readonly role: string;
  /** Of this tab alone, so that the trouble it makes for itself reaches no other page. */
  readonly sub: string;
}

export function identityOf(search: string, storage: Storage): Identity {
  const query = new URLSearchParams(search);
  return {
    restaurantId: query.get('restaurant_id') || 'demo',
    role: query.get('role') || 'manager',
    sub: subOf(storage),
  };
}

function subOf(storage: Storage): string {
  const key = 'tautline.demo.sub';
  const known = storage.getItem(key);
  if (known) return known;
  const made = `screen-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`;
  storage.setItem(key, made);
  return made;
}

/** A request that finds a connection the network has forgotten would otherwise wait for minutes. */
const TOKEN_WAIT_MS = 4_000;
/** How long a token is used again; the relay's live for hours. */
const TOKEN_KEPT_MS = 10 * 60_000;

/** The relay's development endpoints: tokens for the demo, and trouble on demand (`tautline-relay serve --dev`). */
export class DevRelay {
  #tokenFailure: string | null = null;
  #kept: { readonly token: string; readonly since: number } | null = null;

  constructor(
    private readonly identity: Identity,
    private readonly clock: RelayClock,
  ) {}

  /** Why the last token could not be had; null when it could. */
  get tokenFailure(): string | null {
    return this.#tokenFailure;
  }

  /**
   * A token for the service. A reconnect gets the last one again, so that being back takes one socket and no
   * request before it; every other reason means that the last one will not do.
   */
  async serviceToken(reason: TokenReason): Promise<string> {
    const kept = this.#kept;
    if (reason === 'connect' && kept && Date.now() - kept.since < TOKEN_KEPT_MS) return kept.token;
    this.#kept = null;
    const token = await this.token();
    if (reason !== 'rejected') this.#kept = { token, since: Date.now() };
    return token;
  }

  /** A fresh token; throws where the relay has none to give, which the service takes as "try again". */
  async token(role: string = this.identity.role): Promise<string> {
    const { restaurantId, sub } = this.identity;
    const query = new URLSearchParams({ restaurant_id: restaurantId, role, sub });
    const response = await fetch(`/dev/token?${query}`, { cache: 'no-store', signal: AbortSignal.timeout(TOKEN_WAIT_MS) });
    this.clock.observe(response.headers.get('date'), Date.now());
    this.#tokenFailure = response.ok ? null : tokenWords(response.status);
    if (this.#tokenFailure !== null) throw new Error(this.#tokenFailure);
    const { token } = (await response.json()) as { token: string };
    return token;
  }

  /** Makes trouble for this page's own connection, or, where the relay itself is to restart, for everybody's. */
  async trouble(kind: string, ms?: number): Promise<void> {
    if (kind === 'restart') return this.#make({ kind });
    const response = await fetch('/api/v1/sessions', { headers: { authorization: `Bearer ${await this.token('manager')}` } });
    if (!response.ok) throw new Error(`The relay would not say which connection is this page’s (${response.status}).`);
    const { sessions } = (await response.json()) as { sessions: readonly { readonly id: string; readonly kind: string; readonly user_id: string }[] };
    const own = sessions.filter(({ kind, user_id }) => kind === 'orders' && user_id === this.identity.sub);
    await Promise.all(own.map(({ id }) => this.#make({ kind, ms, session_id: id })));
  }

  async #make(trouble: object): Promise<void> {
    const response = await fetch('/dev/trouble', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(trouble) });
    if (!response.ok) throw new Error(`The relay would not make this trouble (${response.status}).`);
  }
}

function tokenWords(status: number): string {
  return status === 404
    ? 'This relay gives out no demo tokens: it was not started with --dev.'
    : `The relay gave no token (${status}).`;
}

/** Loads the client and makes its objects; nothing is connected yet. */
export function openTautline(identity: Identity, relay: DevRelay): Promise<Tautline> {
  return createTautline({
    restaurantId: identity.restaurantId,
    getToken: ({ reason }) => relay.serviceToken(reason),
    // A kitchen would rather know within ten seconds than within forty.
    heartbeatInterval: 5_000,
    pongTimeoutMs: 5_000,
    client: { name: 'tautline-demo', version: '0.1.0' },
  });
}

/** Whether a failure is the page's own doing and needs no words. */
export function isQuiet(error: unknown): boolean {
  return error instanceof TautlineError && (error.code === 'aborted' || error.code === 'disposed');
}
