// The voice panel, and what a page's call really holds in the browser: `data-` attributes and patched constructors.

import { expect } from '@playwright/test';

/** A part of the panel. @param {import('@playwright/test').Page} page @param {string} name */
export const part = (page, name) => page.locator(`[data-testid=voice-${name}]`);

/** Keeps every peer connection and microphone track the page makes, from its first script on. @param {import('@playwright/test').Page} page */
export async function watchMedia(page) {
  await page.addInitScript(() => {
    const media = { connections: [], tracks: [], channels: [] };
    window.__media = media;
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...given) {
        super(...given);
        media.connections.push(this);
      }
      createDataChannel(...given) {
        const channel = super.createDataChannel(...given);
        media.channels.push(channel);
        return channel;
      }
    };
    const { mediaDevices } = navigator;
    const ask = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (...given) => {
      const stream = await ask(...given);
      media.tracks.push(...stream.getTracks());
      return stream;
    };
  });
}

/** How many of them are not over. @param {import('@playwright/test').Page} page */
export const liveMedia = (page) =>
  page.evaluate(() => ({
    connections: window.__media.connections.filter((one) => one.connectionState !== 'closed').length,
    channels: window.__media.channels.filter((one) => one.readyState === 'open' || one.readyState === 'connecting').length,
    tracks: window.__media.tracks.filter((one) => one.readyState === 'live').length,
  }));

export const NO_MEDIA = { connections: 0, channels: 0, tracks: 0 };

/** What the client's ledger has of calls. @param {import('@playwright/test').Page} page */
export const voiceLedger = (page) =>
  page.evaluate(() => {
    const counts = window.__tautline.resources.counts();
    return Object.fromEntries(['peer_connection', 'data_channel', 'media_track', 'audio_element', 'audio_context', 'worklet'].map((kind) => [kind, counts[kind]]));
  });

export const EMPTY_LEDGER = { peer_connection: 0, data_channel: 0, media_track: 0, audio_element: 0, audio_context: 0, worklet: 0 };

/** Sound that came in, as the browser's own statistics have it: played energy, in all calls of the page. @param {import('@playwright/test').Page} page */
export const heardEnergy = (page) =>
  page.evaluate(async () => {
    let energy = 0;
    for (const connection of window.__media.connections) {
      for (const report of (await connection.getStats()).values()) {
        if (report.type === 'inbound-rtp' && report.kind === 'audio') energy += report.totalAudioEnergy ?? 0;
      }
    }
    return energy;
  });

/** How far a meter stands out, 0 to 1. @param {import('@playwright/test').Page} page @param {'input' | 'output'} which */
export const meter = (page, which) => part(page, `level-${which}`).locator('.meter-bar').evaluate((bar) => new DOMMatrix(getComputedStyle(bar).transform).a);

/** Opens the panel and begins a call. @param {import('@playwright/test').Page} page */
export async function startCall(page) {
  await part(page, 'open').click();
  await part(page, 'start').click();
  await inCall(page);
}

/** @param {import('@playwright/test').Page} page @param {{ timeout?: number }} [options] */
export const inCall = (page, options) => expect(page.locator('[data-testid=voice]')).toHaveAttribute('data-state', 'connected', options);

/** Voice sessions the relay has. @param {import('./relay.mjs').Relay} relay @param {string} [restaurant] */
export async function voiceSessions(relay, restaurant) {
  return (await relay.sessions({ restaurant })).filter(({ kind }) => kind === 'voice');
}

/** Types something to the other side. @param {import('@playwright/test').Page} page @param {string} text */
export async function say(page, text) {
  await part(page, 'text').fill(text);
  await part(page, 'text').press('Enter');
}
