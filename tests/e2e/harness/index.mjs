export { connection, openDisplay, ticket, tickets } from './page.mjs';
export { startProxy } from './proxy.mjs';
export { startRelay } from './relay.mjs';
