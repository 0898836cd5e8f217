import type { Scope } from './dom/scope';
import { isTalkKey } from './model/voice-talk';
import type { VoiceView } from './view/voice';
import type { VoicePanel } from './voice-panel';

/** What the space bar already means something to. */
const TAKES_SPACE = 'button, a, summary, input, select, textarea, [contenteditable]';

/** Touch and keys of the voice panel, for as long as it is open. What was meant is read off `data-voice`. */
export function attachVoiceInput(panel: VoicePanel, view: VoiceView, scope: Scope): void {
  const { element } = view;
  scope.listen(element, 'click', (event) => {
    const control = closest(event.target, '[data-voice]');
    if (control?.dataset['voice'] === 'devices') view.toggleDevices();
    else if (control) act(panel, control, event);
  });
  scope.listen(element, 'submit', (event) => {
    event.preventDefault();
    panel.say();
  });
  scope.listen(element, 'change', (event) => {
    if (!(event.target instanceof HTMLSelectElement)) return;
    if (event.target.dataset['voice'] === 'microphone') panel.pickMicrophone(event.target.value);
    if (event.target.dataset['voice'] === 'speaker') panel.pickSpeaker(event.target.value);
  });
  scope.listen(element, 'pointerdown', (event) => {
    if (panel.talkMode !== 'hold' || event.button !== 0 || !view.isTalk(event.target)) return;
    panel.press(`pointer ${event.pointerId}`);
  });
  // A long touch on the button means to talk, not to be offered a menu.
  scope.listen(element, 'contextmenu', (event) => {
    if (view.isTalk(event.target)) event.preventDefault();
  });
  // Let go of anywhere: a finger slides off the button while somebody speaks.
  const released = (event: PointerEvent) => panel.release(`pointer ${event.pointerId}`);
  scope.listen(window, 'pointerup', released);
  scope.listen(window, 'pointercancel', released);
  scope.listen(window, 'click', () => panel.touched());
  scope.listen(window, 'keydown', (event) => {
    panel.touched();
    if (event.defaultPrevented || !isTalkKey(event) || !spaceIsFree(event.target, view)) return;
    if (document.querySelector('dialog[open]') || !panel.canTalk) return;
    event.preventDefault();
    if (panel.talkMode === 'hold') panel.press('key');
    else if (!event.repeat) panel.toggleTalk();
  });
  scope.listen(window, 'keyup', (event) => {
    if (!isTalkKey(event)) return;
    // A button is clicked when the space bar comes up, which would end one hold and begin the next.
    if (view.isTalk(event.target)) event.preventDefault();
    panel.release('key');
  });
  // What is let go of elsewhere is not told here.
  scope.listen(window, 'blur', () => panel.releaseAll());
  scope.listen(document, 'visibilitychange', () => {
    if (document.hidden) panel.releaseAll();
  });
}

function act(panel: VoicePanel, control: HTMLElement, event: MouseEvent): void {
  switch (control.dataset['voice']) {
    case 'start':
      panel.start();
      break;
    case 'type-instead':
      panel.start(false);
      break;
    case 'hang-up':
      panel.hangUp();
      break;
    case 'talk':
      // A hold ends in a click too; a press by assistive technology, or by Enter, has no pointer and counts no clicks.
      if (panel.talkMode === 'open' || event.detail === 0) panel.toggleTalk();
      break;
    case 'mode':
      panel.setMode(control.dataset['mode'] === 'open' ? 'open' : 'hold');
      break;
    case 'transport':
      panel.pickTransport(control.dataset['transport'] === 'websocket' ? 'websocket' : 'webrtc');
      break;
    case 'submit':
      panel.submit();
      break;
    case 'interrupt':
      panel.interrupt();
      break;
    case 'close':
      panel.close();
      break;
  }
}

function spaceIsFree(target: EventTarget | null, view: VoiceView): boolean {
  return view.isTalk(target) || closest(target, TAKES_SPACE) === null;
}

function closest(target: EventTarget | null, selector: string): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>(selector) : null;
}
