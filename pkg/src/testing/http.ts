// The relay's HTTP, for the `fetch` of the global scope and for a page of Playwright's.

/** An answer, as the module gives it. */
export interface Answered {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** A request, taken apart. */
export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly token: string | undefined;
  readonly key: string | undefined;
  readonly body: string;
}

/** A page of another host asks for leave first, and may read what it is answered. */
const CORS = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization, content-type, idempotency-key', 'access-control-allow-methods': 'GET, POST, PATCH, DELETE' };
const BEARER = /^Bearer (.+)$/i;

/** What a request says. */
export function asked(method: string, url: URL, header: (name: string) => string | null | undefined, body: string): Asked {
  return { method, url, token: BEARER.exec(header('authorization') ?? '')?.[1], key: header('idempotency-key') ?? undefined, body };
}

/** Whether a path is the relay's: its API, and what tells its health. */
export function isOurs(path: string): boolean {
  return path.startsWith('/api/v1/') || path === '/healthz' || path === '/readyz';
}

/** The path with its escapes undone, and the query as an object. */
export function parts({ url }: Asked): { path: string; query: string } {
  const path = url.pathname.split('/').map(decodeURIComponent).join('/');
  return { path, query: JSON.stringify(Object.fromEntries(url.searchParams)) };
}

export function headers({ type }: Answered): Record<string, string> {
  return { 'content-type': type, 'cache-control': 'no-store', ...CORS };
}

/** A `fetch` that asks `answer` for the relay's addresses, and `real` for any other. */
export function fetchFor(real: typeof fetch | undefined, serves: (url: URL) => boolean, answer: (asked: Asked, signal: AbortSignal) => Promise<Answered>): typeof fetch {
  return async (input, init) => {
    const address = input instanceof Request ? input.url : String(input);
    const url = new URL(address, (globalThis as { location?: { href: string } }).location?.href);
    if (!serves(url)) {
      if (!real) throw new TypeError(`only the test relay is there, and ${url.href} is not its address`);
      return real(input, init);
    }
    const request = new Request(input instanceof Request ? input : url.href, init);
    request.signal.throwIfAborted();
    const body = await request.text();
    const answered = await answer(asked(request.method, url, (name) => request.headers.get(name), body), request.signal);
    return new Response(answered.status === 204 ? null : answered.body, { status: answered.status, headers: headers(answered) });
  };
}
