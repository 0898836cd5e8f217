/** The agents SDK's default. A session's model cannot be changed: secret, address and settings have to name the same. */
export const MODEL = 'gpt-realtime-2.1';
