/** What of a `MediaDeviceInfo` the picker needs. */
export interface DeviceInfo {
  readonly kind: string;
  readonly deviceId: string;
  readonly label: string;
}

/** One line of a device picker. */
export interface DeviceChoice {
  readonly id: string;
  readonly label: string;
}

export interface Devices {
  readonly microphones: readonly DeviceChoice[];
  readonly speakers: readonly DeviceChoice[];
}

export const NO_DEVICES: Devices = { microphones: [], speakers: [] };

/**
 * What can be picked. Until the microphone is allowed a browser tells neither names nor ids: then there is nothing
 * to pick, and the device's own choice is taken. Its aliases for that choice are left to the empty line above them.
 */
export function devicesOf(infos: readonly DeviceInfo[]): Devices {
  return { microphones: choices(infos, 'audioinput', 'Microphone'), speakers: choices(infos, 'audiooutput', 'Speaker') };
}

function choices(infos: readonly DeviceInfo[], kind: string, word: string): readonly DeviceChoice[] {
  const named = infos.filter((info) => info.kind === kind && info.deviceId !== '' && info.deviceId !== 'default' && info.deviceId !== 'communications');
  return named.map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `${word} ${index + 1}` }));
}

/** The pick as it can still be had: a device that is gone gives way to the device's own choice. */
export function stillThere(picked: string, choices: readonly DeviceChoice[]): string {
  return choices.some(({ id }) => id === picked) ? picked : '';
}
