import { describe, expect, it } from 'vitest';
import { isTalkKey, TalkHold } from './voice-talk';

describe('holding to talk', () => {
  it('begins with the first and ends with the last of those who hold', () => {
    const hold = new TalkHold();
    expect(hold.press('pointer 1')).toBe(true);
    expect(hold.press('key')).toBe(false);
    expect(hold.press('key')).toBe(false); // repeats
    expect(hold.release('pointer 1')).toBe(false);
    expect(hold.release('key')).toBe(true);
    expect(hold.held).toBe(false);
  });

  it('knows no release without a press', () => {
    const hold = new TalkHold();
    expect(hold.release('key')).toBe(false);
    expect(hold.releaseAll()).toBe(false);
  });

  it('can be pressed once to begin and once to end, however it began', () => {
    const hold = new TalkHold();
    expect(hold.toggle()).toBe(true);
    expect(hold.toggle()).toBe(false);
    hold.press('key');
    expect(hold.toggle()).toBe(false);
    expect(hold.release('key')).toBe(false);
  });

  it('ends when the page goes out of sight', () => {
    const hold = new TalkHold();
    hold.press('key');
    expect(hold.releaseAll()).toBe(true);
    expect(hold.held).toBe(false);
  });
});

it('takes the plain space bar, on every layout', () => {
  const key = { code: 'Space', ctrlKey: false, altKey: false, metaKey: false };
  expect(isTalkKey(key)).toBe(true);
  expect(isTalkKey({ ...key, ctrlKey: true })).toBe(false);
  expect(isTalkKey({ ...key, code: 'Enter' })).toBe(false);
});
