// Who may share a connection: those whose relay, restaurant, filter and token say the same.

import type { Frame } from './share-log.js';

/** What the tabs of a page say to each other; another version shares with its own only. */
const FORMAT = 1;
/** What differs between two tokens of one person: when they were made and until when they hold. */
const FLEETING = ['iat', 'exp', 'nbf', 'jti', 'auth_time'];

/** What a token says of its bearer, unverified: the relay verifies the one that is upstream. `undefined` where it cannot be read. */
export function claimsOf(token: unknown): Record<string, unknown> | undefined {
  try {
    const [, body, ...rest] = String(token).split('.');
    if (!body || rest.length !== 1) return undefined;
    const bytes = Uint8Array.from(atob(body.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === 'object' && claims !== null ? (claims as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** When a token runs out, ms since 1970. */
export function endOf(token: unknown): number | undefined {
  const exp = claimsOf(token)?.['exp'];
  return typeof exp === 'number' ? exp * 1_000 : undefined;
}

/** Whom a token speaks for, as text: the same for all tokens of one person and role. */
export function bearerOf(token: unknown): string {
  const claims = claimsOf(token);
  if (!claims || typeof claims['sub'] !== 'string') return `token ${String(token)}`;
  return canonical(Object.fromEntries(Object.entries(claims).filter(([name]) => !FLEETING.includes(name))));
}

/** The name of what connections like this one share: a hash, since a token may be all that tells them apart. */
export async function keyOf(url: string, protocols: readonly string[], auth: Frame): Promise<string> {
  const { restaurant_id, subscribe, token } = auth;
  const text = canonical([FORMAT, url, [...protocols], restaurant_id ?? null, subscribe ?? null, bearerOf(token)]);
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** JSON, whatever the order that members come in. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  );
}
