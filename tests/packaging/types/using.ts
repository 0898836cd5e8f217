// Compiled, never run: what TypeScript knows since 5.2, with no more than ES2022 and the DOM.

import { createTautline, WebSocketService, type Message } from 'tautline';

export async function evening(): Promise<void> {
  using tautline = await createTautline();
  using service = new WebSocketService();
  using lease = await tautline.manager.acquire();
  lease.release();
  service.disconnect();
}

export async function heard(service: WebSocketService): Promise<Message[]> {
  const all: Message[] = [];
  service.on('message', (message) => all.push(message));
  return all;
}
