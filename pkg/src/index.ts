/**
 * The client of a Tautline relay: live orders and voice. Whoever needs no voice imports `tautline/core`, a smaller
 * module with all the rest.
 */
export { default } from './loader.js';
export * from './core.js';
export { VoiceConnection, VoiceConnection as WebRTCConnection } from './voice.js';
export * from './voice-types.js';
