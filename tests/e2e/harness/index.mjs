export { freeze, openBrowser } from './browser.mjs';
export { connectLab, LAB_ORIGIN, openLab, startLab } from './lab.mjs';
export { connection, openDisplay, ticket, tickets } from './page.mjs';
export { startProxy } from './proxy.mjs';
export { faults, NO_FAULTS, orderSet, record, relaySet, seen } from './record.mjs';
export { startRelay } from './relay.mjs';
export { brought, watchSockets } from './sockets.mjs';
export { freePort, startUdpProxy } from './udp.mjs';
