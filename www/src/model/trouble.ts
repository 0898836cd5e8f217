/** Trouble a visitor can make, and what will be seen of it. */
export interface Trouble {
  readonly kind: 'cut' | 'stall' | 'expire' | 'restart';
  readonly label: string;
  readonly sentence: string;
  readonly ms?: number;
}

export const TROUBLES: readonly Trouble[] = [
  {
    kind: 'cut',
    label: 'Cut the socket',
    sentence: 'The connection drops without a goodbye. The page dials again and is sent only what it missed.',
  },
  {
    kind: 'stall',
    label: 'Swallow traffic',
    sentence: 'For 20\u00a0s nothing gets through, though the socket stays open. An unanswered ping gives it away within 10\u00a0s.',
    ms: 20_000,
  },
  {
    kind: 'expire',
    label: 'Expire the token',
    sentence: 'The relay closes as if the token had run out. The page fetches a new one and is back at once.',
  },
  {
    kind: 'restart',
    label: 'Restart the relay',
    sentence: 'The relay stops and is started again. Every page reconnects at its own moment and finds every order still there.',
  },
];
