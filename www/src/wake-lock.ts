/**
 * Keeps the screen on while the page is in view, where the browser can: a kitchen display that dims is none. The
 * browser takes the lock back when the page is hidden, so it is asked for again at each return. The function
 * returned lets go.
 */
export function keepAwake(): () => void {
  let wanted = true;
  let lock: WakeLockSentinel | null = null;
  const ask = async () => {
    if (document.visibilityState !== 'visible' || !('wakeLock' in navigator)) return;
    try {
      const given = await navigator.wakeLock.request('screen');
      if (wanted) lock = given;
      else await given.release();
    } catch {
      // Refused (a low battery, a policy): the screen follows the device's own rules.
    }
  };
  const returned = () => void ask();
  document.addEventListener('visibilitychange', returned);
  void ask();
  return () => {
    wanted = false;
    document.removeEventListener('visibilitychange', returned);
    void lock?.release();
  };
}
