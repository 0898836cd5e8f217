type Listener = (value: never) => void;

/** What a call is told and says, in the place of a connection: no browser is needed to see what the page makes of it. */
export class Line {
  static made: Line[] = [];
  static get last(): Line {
    const line = Line.made.at(-1);
    if (!line) throw new Error('no connection was made');
    return line;
  }

  readonly listeners = new Map<string, Listener>();
  readonly sent: { readonly type: string; readonly [field: string]: unknown }[] = [];
  readonly did: string[] = [];
  state = 'disconnected';
  refusal: unknown = null;

  constructor(readonly options: Record<string, unknown>) {
    Line.made.push(this);
  }

  on(event: string, listener: Listener): void {
    this.listeners.set(event, listener);
  }

  tell(event: string, value: unknown = undefined): void {
    this.listeners.get(event)?.(value as never);
  }

  async connect(): Promise<void> {
    if (this.refusal) throw this.refusal;
    this.state = 'connected';
    this.tell('connected');
  }

  send(event: Line['sent'][number]): string {
    if (this.refusal) throw this.refusal;
    this.sent.push(event);
    return 'event_1';
  }

  disconnect(): void {
    this.state = 'disconnected';
    this.tell('connection.change', 'disconnected');
  }

  getConnectionState = () => this.state;
  transcript = () => [];
  isMuted = () => false;
  dispose = () => void this.did.push('dispose');
  startTalking = () => void this.did.push('startTalking');
  stopTalking = () => void this.did.push('stopTalking');
  enableMicrophone = () => void this.did.push('enableMicrophone');
  disableMicrophone = () => void this.did.push('disableMicrophone');
  reconnect = async ({ transport }: { transport?: string } = {}) => void this.did.push(transport === undefined ? 'reconnect' : `reconnect ${transport}`);
  setOutputDevice = async (id: string) => void this.did.push(`speaker ${id}`);
}
