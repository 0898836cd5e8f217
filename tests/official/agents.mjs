// A waiter made with `@openai/agents-realtime`, as its users write one: over a WebSocket in Node and in a page, over WebRTC
// in a page.

import { OpenAIRealtimeWebRTC, OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { Heard } from './heard.mjs';
import { MODEL } from './model.mjs';

const INSTRUCTIONS = 'Take the order.';
const items = z.array(z.object({ name: z.string(), quantity: z.number() }));

export class Waiter {
  /** What the transport was told. */
  heard = new Heard();
  /** What the session made of it: `audio_interrupted`, `agent_end` and the like, as `{type}`. */
  told = new Heard();
  /** The arguments of each run of `add_to_order`. */
  ran = [];
  /** The sound that came, over a WebSocket. */
  sound = [];

  /**
   * @param {'websocket' | 'webrtc'} kind
   * @param {string} relay its address
   * @param {{ config?: object, submits?: boolean }} [options] `config` of the session; `submits`: it answers `submit_order` itself
   */
  constructor(kind, relay, { config = {}, submits = false } = {}) {
    const transport =
      kind === 'webrtc'
        ? new OpenAIRealtimeWebRTC({ baseUrl: `${relay}/v1/realtime/calls` })
        : new OpenAIRealtimeWebSocket({ url: `${relay.replace(/^http/, 'ws')}/v1/realtime?model=${MODEL}` });
    const agent = new RealtimeAgent({
      name: 'Waiter',
      instructions: INSTRUCTIONS,
      tools: [
        tool({
          name: 'add_to_order',
          description: 'Adds to the order.',
          parameters: z.object({ items }),
          execute: (given) => {
            this.ran.push(given);
            return 'added';
          },
        }),
        // The relay's to run: what nobody approves is never answered by the client.
        tool({ name: 'submit_order', description: 'Sends the order.', parameters: z.object({ items }), needsApproval: !submits, execute: () => 'sent' }),
      ],
    });
    this.session = new RealtimeSession(agent, { transport, model: MODEL, config });
    this.session.on('transport_event', (event) => this.heard.add(event));
    this.session.on('audio', ({ data }) => this.sound.push(data));
    this.session.on('agent_end', (_context, _agent, text) => this.told.add({ type: 'agent_end', text }));
    this.session.on('tool_approval_requested', (_context, _agent, { tool: { name } }) => this.told.add({ type: 'tool_approval_requested', name }));
    for (const type of ['audio_start', 'audio_stopped', 'audio_interrupted']) this.session.on(type, () => this.told.add({ type }));
    this.session.on('error', ({ error }) => this.told.add({ type: 'error', error: error?.error ?? { message: String(error) } }));
    this.session.transport.on('connection_change', (state) => this.told.add({ type: `connection ${state}` }));
  }

  /** @param {string} apiKey */
  async connect(apiKey) {
    await this.session.connect({ apiKey });
    // The SDK sends two updates, the agent's and one about tracing, in either order.
    const ours = ({ session }) => session.instructions === INSTRUCTIONS;
    return (await this.heard.next('session.updated', ours)).session;
  }

  /** Says something in writing; the finished response that it was answered with. @param {string} text */
  async say(text) {
    this.heard.pass();
    this.session.sendMessage(text);
    return this.done();
  }

  async done() {
    return (await this.heard.next('response.done')).response;
  }

  /** Who said what, as the session tells it. */
  get history() {
    return this.session.history.map((item) =>
      item.type === 'message'
        ? { role: item.role, status: item.status, text: item.content.map((part) => part.text ?? part.transcript ?? null).join(' ') }
        : { call: item.name, status: item.status, output: item.output },
    );
  }

  /** What must hold of every conversation, whatever was in it. */
  get faults() {
    return {
      errors: [...this.heard.all('error').map(({ error }) => error), ...this.told.all('error').map(({ error }) => error)],
      withoutId: this.heard.all().filter(({ type, event_id }) => typeof type !== 'string' || typeof event_id !== 'string').map(({ type }) => type),
    };
  }
}
