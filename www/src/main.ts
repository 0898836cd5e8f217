import { resources, type ConnectionManager, type OrderUpdates, type WebSocketService } from 'tautline';
import './style/base.css';
import './style/bar.css';
import './style/board.css';
import './style/rail.css';
import './style/service.css';
import './style/voice.css';
import './style/phone.css';
import { Display } from './display';
import { h } from './dom/h';
import { attachInput } from './input';
import { RelayClock } from './model/clock';
import { errorWords } from './model/words';
import { DevRelay, identityOf, openTautline } from './session';

declare global {
  interface Window {
    /** A handle for debugging, from the console or from a test: the page's own client objects. */
    __tautline?: {
      readonly service: WebSocketService;
      readonly manager: ConnectionManager;
      readonly orders: OrderUpdates;
      readonly resources: typeof resources;
    };
  }
}

async function start(): Promise<void> {
  const clock = new RelayClock();
  const identity = identityOf(location.search, sessionStorage);
  const relay = new DevRelay(identity, clock);
  const tautline = await openTautline(identity, relay);
  const { service, manager, orders } = tautline;
  window.__tautline = { service, manager, orders, resources };
  const display = new Display(tautline, relay, clock, identity);
  // The page's own listeners and timers go the way of the client's: with `resources.shutdownAll()`.
  resources.register({ name: 'kitchen display', kind: 'page', priority: 'high', cleanup: () => display.dispose() });
  display.open();
  attachInput(display);
}

start().catch((error: unknown) => {
  document.body.append(h('p', { class: 'failure', role: 'alert' }, `This display could not start. ${errorWords(error)}`));
});
