import { expect, it } from 'vitest';
import { devicesOf, stillThere } from './voice-devices';

it('lists what has an id, by name or by number, without the aliases of the default', () => {
  const devices = devicesOf([
    { kind: 'audioinput', deviceId: 'default', label: 'Default' },
    { kind: 'audioinput', deviceId: 'a', label: 'Headset' },
    { kind: 'audioinput', deviceId: 'b', label: '' },
    { kind: 'videoinput', deviceId: 'c', label: 'Camera' },
    { kind: 'audiooutput', deviceId: 'communications', label: 'Communications' },
    { kind: 'audiooutput', deviceId: 'd', label: 'Counter' },
  ]);
  expect(devices.microphones).toEqual([{ id: 'a', label: 'Headset' }, { id: 'b', label: 'Microphone 2' }]);
  expect(devices.speakers).toEqual([{ id: 'd', label: 'Counter' }]);
});

it('has nothing to pick before the microphone is allowed', () => {
  expect(devicesOf([{ kind: 'audioinput', deviceId: '', label: '' }])).toEqual({ microphones: [], speakers: [] });
});

it('gives up a pick that was unplugged', () => {
  const choices = [{ id: 'a', label: 'Headset' }];
  expect(stillThere('a', choices)).toBe('a');
  expect(stillThere('gone', choices)).toBe('');
});
