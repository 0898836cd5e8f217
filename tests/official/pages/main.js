// The official clients that run in a page, for the tests to take hold of.

import { OpenAIRealtimeWebRTC } from 'openai/realtime/webrtc';
import { Waiter } from '../agents.mjs';
import { Heard } from '../heard.mjs';

window.official = { Heard, OpenAIRealtimeWebRTC, Waiter };
