export { freeze, openBrowser } from './browser.mjs';
export { connectLab, LAB_ORIGIN, openLab, startLab } from './lab.mjs';
export { connection, openDisplay, ticket, tickets } from './page.mjs';
export { SAID } from './planted.mjs';
export { startProxy } from './proxy.mjs';
export { faults, NO_FAULTS, orderSet, record, relaySet, seen } from './record.mjs';
export { startRelay } from './relay.mjs';
export { brought, watchSockets } from './sockets.mjs';
export { EMPTY_LEDGER, heardEnergy, inCall, liveMedia, meter, NO_MEDIA, part, say, startCall, voiceLedger, voiceSessions, watchMedia } from './voice.mjs';
