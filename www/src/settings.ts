import { DEFAULT_LIMITS, sanitizeLimits, type AgeLimits } from './model/ageing';

/** What this screen remembers about itself, in this browser only. */
export interface Settings {
  readonly theme: 'auto' | 'light' | 'dark';
  /** Big type: by the width of the screen, or as chosen. */
  readonly type: 'auto' | 'normal' | 'big';
  readonly limits: AgeLimits;
  readonly station: string | null;
  readonly sound: boolean;
  readonly flash: boolean;
  /** Whether number keys bump; off for those whose assistive technology types. */
  readonly keys: boolean;
  /** Whether the service panel is unfolded; null = by the height of the screen. */
  readonly service: boolean | null;
}

const DEFAULTS: Settings = {
  theme: 'auto',
  type: 'auto',
  limits: DEFAULT_LIMITS,
  station: null,
  sound: false,
  flash: true,
  keys: true,
  service: null,
};

/** Reads stored settings; anything that is not what it should be gives way to its default. */
export function parseSettings(text: string | null): Settings {
  const stored = parseRecord(text);
  const limits = record(stored['limits']);
  return {
    theme: oneOf(stored['theme'], ['auto', 'light', 'dark'], DEFAULTS.theme),
    type: oneOf(stored['type'], ['auto', 'normal', 'big'], DEFAULTS.type),
    limits: sanitizeLimits(Number(limits['warm'] ?? DEFAULT_LIMITS.warm), Number(limits['late'] ?? DEFAULT_LIMITS.late)),
    station: typeof stored['station'] === 'string' ? stored['station'] : null,
    sound: flag(stored['sound'], DEFAULTS.sound),
    flash: flag(stored['flash'], DEFAULTS.flash),
    keys: flag(stored['keys'], DEFAULTS.keys),
    service: typeof stored['service'] === 'boolean' ? stored['service'] : null,
  };
}

/** Settings in `localStorage`; where that is refused (a private window) they last as long as the page. */
export class SettingsStore {
  #current: Settings;

  constructor(
    private readonly key: string,
    private readonly onChange: () => void,
  ) {
    this.#current = parseSettings(this.#read());
  }

  get current(): Settings {
    return this.#current;
  }

  change(change: Partial<Settings>): void {
    this.#current = { ...this.#current, ...change };
    try {
      localStorage.setItem(this.key, JSON.stringify(this.#current));
    } catch {
      // Refused or full: the change still holds for this page.
    }
    this.onChange();
  }

  changeLimits(warm: number, late: number): void {
    this.change({ limits: sanitizeLimits(warm, late) });
  }

  #read(): string | null {
    try {
      return localStorage.getItem(this.key);
    } catch {
      return null;
    }
  }
}

function parseRecord(text: string | null): Record<string, unknown> {
  if (text === null) return {};
  try {
    return record(JSON.parse(text));
  } catch {
    return {};
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function flag(value: unknown, fallback: boolean): boolean {
  return typeof value === 'boolean' ? value : fallback;
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], fallback: T): T {
  return allowed.find((candidate) => candidate === value) ?? fallback;
}
