// What of Playwright's is used, by shape: the package does not depend on it.

/** Playwright's `WebSocketRoute`, as `page.routeWebSocket()` hands it over. */
export interface WebSocketRouteLike {
  /** The address that the page asked for. */
  url(): string;
  /** Hears the page's messages. */
  onMessage(handler: (message: string | Uint8Array) => unknown): void;
  /** Hears the page close. */
  onClose(handler: (code: number | undefined, reason: string | undefined) => unknown): void;
  /** Sends the page a message. */
  send(message: string): void;
  /** Closes the page's socket. */
  close(options?: { code?: number; reason?: string }): Promise<void>;
}

/** Playwright's `Route`, as `page.route()` hands it over. */
export interface RouteLike {
  /** What the page asks. */
  request(): { method(): string; url(): string; headers(): Record<string, string>; postData(): string | null };
  /** Answers it. */
  fulfill(answer: { status: number; headers: Record<string, string>; body: string }): Promise<void>;
  /** Lets it fail. */
  abort(code?: string): Promise<void>;
}

/** Playwright's `Page` or `BrowserContext`. */
export interface PageLike {
  /** Takes the page's sockets. */
  routeWebSocket(url: (url: URL) => boolean, handler: (route: WebSocketRouteLike) => unknown): Promise<unknown>;
  /** Takes the page's requests. */
  route(url: (url: URL) => boolean, handler: (route: RouteLike) => unknown): Promise<unknown>;
}
